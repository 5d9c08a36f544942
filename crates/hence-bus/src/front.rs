//! The front: org.freedesktop.systemd1 on a private socket. It holds the connections, answers questions from
//! a [`Model`] and hands out what changes something as [`Request`]s, to be answered later. It does no I/O,
//! knows no clock (closing those who never authenticate is the host's) and decides nothing about units.
//!
//! Everything an outsider feeds is bounded: peers, bytes in and out of each and of all, and open requests.

mod command;
mod dispatch;
mod introspect;
mod model;
mod path;
mod refusal;
pub mod setting;

pub use crate::peer::{Caller, DESCRIPTORS_MAX, Descriptor, Fatal};
pub use command::{
    Answer, Command, FileChange, FileVerb, Mode, Power, Properties, Request, Token, Verb, Whom,
};
pub use hence_unit::pattern::matches;
#[cfg(test)]
pub(crate) use introspect::interface as describe_interface;
pub use model::{
    CgroupView, ConditionView, ExecView, JobView, ManagerView, Model, MoreProperty, ProcessView, ScopeView,
    ServiceView, SocketView, TestView, TimerView, Timestamp, UnitFileView, UnitRow, UnitView,
};
pub use path::{Object, ROOT, job_path, unit_path};
pub use refusal::{ErrorName, Refusal};

use crate::interface::{self, Emits, Interface};
use crate::peer::Peer;
use crate::wire::{Kind, Message, NO_REPLY_EXPECTED, Value};
use dispatch::Step;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

/// Most connections at a time; further ones are refused.
pub const PEERS_MAX: usize = 128;
/// Most requests of one peer that wait for their answer; further ones are refused.
pub const OPEN_REQUESTS_MAX: u32 = 64;
/// Most unread bytes of all peers together; beyond, those with most are closed.
pub const OUTGOING_TOTAL_MAX: usize = 64 * 1024 * 1024;

const BUS_NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(u64);

#[derive(Debug)]
struct Entry {
    peer: Peer,
    open_requests: u32,
}

#[derive(Debug)]
struct Pending {
    peer: PeerId,
    serial: u32,
    output: &'static str,
    silent: bool,
}

/// The server's side of all connections.
#[derive(Debug)]
pub struct Front {
    guid: [u8; 16],
    owner: u32,
    peers: BTreeMap<PeerId, Entry>,
    pending: BTreeMap<Token, Pending>,
    requests: VecDeque<Request>,
    last_peer: u64,
    last_token: u64,
}

impl Front {
    /// A front without connections. `guid` names this server; root and `owner`, our own uid, may connect.
    pub fn new(guid: [u8; 16], owner: u32) -> Front {
        Front {
            guid,
            owner,
            peers: BTreeMap::new(),
            pending: BTreeMap::new(),
            requests: VecDeque::new(),
            last_peer: 0,
            last_token: 0,
        }
    }

    /// A connection was accepted; `None` when there are too many and it has to be closed.
    pub fn connect(&mut self, caller: Caller) -> Option<PeerId> {
        if self.peers.len() >= PEERS_MAX {
            return None;
        }
        self.last_peer += 1;
        let id = PeerId(self.last_peer);
        let peer = Peer::new(caller, self.owner, self.guid);
        self.peers.insert(id, Entry { peer, open_requests: 0 });
        Some(id)
    }

    /// A connection was closed. What it asked for is still done, but not answered.
    pub fn disconnect(&mut self, id: PeerId) {
        self.peers.remove(&id);
        self.pending.retain(|_, pending| pending.peer != id);
    }

    /// All connections.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// Connections that have to be closed, and why. They stay until [`Front::disconnect`].
    pub fn condemned(&self) -> impl Iterator<Item = (PeerId, Fatal)> {
        self.peers.iter().filter_map(|(id, entry)| entry.peer.fatal().map(|fatal| (*id, fatal)))
    }

    /// Whether a connection has been authenticated and may go on.
    pub fn is_open(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_some_and(|entry| entry.peer.is_open())
    }

    /// Whether to read from a connection now.
    pub fn wants_input(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_some_and(|entry| entry.peer.wants_input())
    }

    /// Bytes to write to a connection.
    pub fn outgoing(&self, id: PeerId) -> &[u8] {
        self.peers.get(&id).map_or(&[], |entry| entry.peer.outgoing())
    }

    /// Bytes arrived, at most [`crate::peer::READ_MAX`].
    ///
    /// # Errors
    /// The connection has to be closed.
    pub fn receive(&mut self, id: PeerId, bytes: &[u8], model: &mut dyn Model) -> Result<(), Fatal> {
        let Some(entry) = self.peers.get_mut(&id) else { return Ok(()) };
        entry.peer.receive(bytes)?;
        self.drain(id, model)
    }

    /// Descriptors arrived, with the bytes that the next [`Front::receive`] gets.
    ///
    /// # Errors
    /// The connection has to be closed.
    pub fn attach(&mut self, id: PeerId, descriptors: Vec<OwnedFd>) -> Result<(), Fatal> {
        self.peers.get_mut(&id).map_or(Ok(()), |entry| entry.peer.attach(descriptors))
    }

    /// The first `n` bytes of [`Front::outgoing`] were written. Requests that waited for that are served.
    ///
    /// # Errors
    /// The connection has to be closed.
    pub fn sent(&mut self, id: PeerId, n: usize, model: &mut dyn Model) -> Result<(), Fatal> {
        let Some(entry) = self.peers.get_mut(&id) else { return Ok(()) };
        let held_back = !entry.peer.wants_input();
        entry.peer.sent(n);
        if held_back { self.drain(id, model) } else { Ok(()) }
    }

    /// The next request, in the order they arrived. Each has to be answered by [`Front::reply`].
    pub fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Answers a request. Nothing happens where its connection is gone or waits for no answer.
    pub fn reply(&mut self, token: Token, answer: Result<Answer, Refusal>) {
        let Some(pending) = self.pending.remove(&token) else { return };
        let Some(entry) = self.peers.get_mut(&pending.peer) else { return };
        entry.open_requests -= 1;
        if !pending.silent {
            let answer = answer.and_then(|answer| interface::body(&answer, pending.output));
            respond(&mut entry.peer, pending.serial, answer);
            self.limit_total();
        }
    }

    fn drain(&mut self, id: PeerId, model: &mut dyn Model) -> Result<(), Fatal> {
        while let Some(entry) = self.peers.get_mut(&id) {
            let Some(message) = entry.peer.next_message()? else { break };
            let descriptors = entry.peer.take_descriptors(message.fields.fds)?;
            if message.kind != Kind::Call {
                continue;
            }
            let silent = message.flags & NO_REPLY_EXPECTED != 0;
            let caller = entry.peer.caller();
            let hello = message.fields.member.as_deref() == Some("Hello")
                && message.fields.path.as_deref() == Some("/org/freedesktop/DBus");
            if hello {
                // Clients take names of transient units from the name that a bus would give them.
                let name = format!(":1.{}", id.0);
                respond(&mut entry.peer, message.serial, Ok(vec![name.into()]));
                continue;
            }
            let answer = match dispatch::dispatch(&message, &descriptors, caller, model) {
                Ok(Step::Reply(body)) => Ok(body),
                Ok(Step::Ask(..)) if entry.open_requests >= OPEN_REQUESTS_MAX => {
                    Err(Refusal::new(ErrorName::LimitsExceeded, "Too many requests wait for their answer."))
                }
                Ok(Step::Ask(command, output)) => {
                    entry.open_requests += 1;
                    self.last_token += 1;
                    let token = Token(self.last_token);
                    let pending = Pending { peer: id, serial: message.serial, output, silent };
                    self.pending.insert(token, pending);
                    self.requests.push_back(Request { token, peer: id, caller, command });
                    continue;
                }
                Err(refusal) => Err(refusal),
            };
            if !silent {
                respond(&mut entry.peer, message.serial, answer);
            }
        }
        self.limit_total();
        self.peers.get(&id).and_then(|entry| entry.peer.fatal()).map_or(Ok(()), Err)
    }

    fn limit_total(&mut self) {
        let total = |front: &Front| front.peers.values().map(|e| e.peer.outgoing().len()).sum::<usize>();
        while total(self) > OUTGOING_TOTAL_MAX {
            let most = self.peers.values_mut().max_by_key(|entry| entry.peer.outgoing().len());
            let Some(entry) = most else { return };
            entry.peer.close_unread();
        }
    }

    fn broadcast(&mut self, mut message: Message) {
        message.fields.sender = Some(Cow::Borrowed(BUS_NAME));
        self.peers.values_mut().for_each(|entry| entry.peer.queue(&message));
        self.limit_total();
    }

    fn has_listeners(&self) -> bool {
        self.peers.values().any(|entry| entry.peer.is_open())
    }

    fn announce(&mut self, member: &'static str, body: impl FnOnce() -> Vec<Value>) {
        if self.has_listeners() {
            self.broadcast(Message::signal(ROOT, MANAGER, member).with(body()));
        }
    }

    /// Tells all peers that a unit was loaded.
    pub fn unit_new(&mut self, unit: &str) {
        self.announce("UnitNew", || vec![interface::text(unit), Value::path(unit_path(unit))]);
    }

    /// Tells all peers that a unit was unloaded.
    pub fn unit_removed(&mut self, unit: &str) {
        self.announce("UnitRemoved", || vec![interface::text(unit), Value::path(unit_path(unit))]);
    }

    /// Tells all peers that a job was installed.
    pub fn job_new(&mut self, id: u32, unit: &str) {
        self.announce("JobNew", || vec![id.into(), Value::path(job_path(id)), interface::text(unit)]);
    }

    /// Tells all peers that a job ended: `done`, `canceled`, `timeout`, `failed`, `dependency`, `skipped`,
    /// `invalid`, `assert`, `unsupported`, `collected`, `once`. Has to come after the reply that named the
    /// job, for systemctl waits for it only from then on.
    pub fn job_removed(&mut self, id: u32, unit: &str, result: &'static str) {
        self.announce("JobRemoved", || {
            vec![id.into(), Value::path(job_path(id)), interface::text(unit), result.into()]
        });
    }

    /// Tells all peers that the first transaction is over; microseconds in firmware, loader, kernel, initrd,
    /// userspace and in total.
    pub fn startup_finished(&mut self, times_us: [u64; 6]) {
        self.announce("StartupFinished", || times_us.map(Value::from).to_vec());
    }

    /// Tells all peers that unit files are loaded anew, at the begin and at the end.
    pub fn reloading(&mut self, active: bool) {
        self.announce("Reloading", || vec![active.into()]);
    }

    /// Tells all peers that unit files were enabled, disabled, masked or so.
    pub fn unit_files_changed(&mut self) {
        self.announce("UnitFilesChanged", Vec::new);
    }

    /// Tells all peers the properties of a unit that change: its kind's, then those of all units.
    pub fn unit_changed(&mut self, view: &UnitView) {
        if self.has_listeners() {
            let path = unit_path(&view.row.id);
            self.changed(path.clone(), interface::kinds::interface(view.kind), view);
            self.changed(path, &interface::unit::INTERFACE, view);
        }
    }

    fn changed(&mut self, path: String, interface: &Interface<UnitView>, view: &UnitView) {
        let live = interface.rows().filter(|row| row.emits == Emits::Change);
        let live: Vec<Value> = live.map(|row| Value::property(row.name, (row.value)(view))).collect();
        let stale = interface.rows().filter(|row| row.emits == Emits::Invalidation);
        let stale: Vec<Value> = stale.map(|row| Value::from(row.name)).collect();
        if live.is_empty() && stale.is_empty() {
            return;
        }
        let body = vec![interface.name.into(), Value::array("{sv}", live), Value::array("s", stale)];
        self.broadcast(Message::signal(path, PROPERTIES, "PropertiesChanged").with(body));
    }
}

fn respond(peer: &mut Peer, serial: u32, answer: Result<Vec<Value>, Refusal>) {
    let mut message = match answer {
        Ok(body) => Message::reply(serial, body),
        Err(refusal) => Message::error(serial, refusal.name.as_str(), refusal.text),
    };
    message.fields.sender = Some(Cow::Borrowed(BUS_NAME));
    peer.queue(&message);
}
