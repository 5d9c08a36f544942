//! The front: org.freedesktop.systemd1 on a private socket. It holds the connections, answers questions from
//! a [`Model`] and hands out what changes something as [`Request`]s, to be answered later. It does no I/O,
//! knows no clock (closing those who never authenticate is the host's) and decides nothing about units.
//!
//! Everything an outsider feeds is bounded: peers, bytes in and out of each and of all, and open requests.

mod command;
mod dispatch;
mod introspect;
mod model;
mod on_bus;
mod path;
mod policy;
mod refusal;
pub mod setting;

pub use crate::peer::{Caller, DESCRIPTORS_MAX, Descriptor, Fatal};
pub use command::{
    Answer, Command, FileChange, FileVerb, Holder, Power, Properties, Request, Token, Verb, Whom,
};
pub use hence_unit::pattern::matches;
#[cfg(test)]
pub(crate) use introspect::interface as describe_interface;
pub use model::{
    CgroupView, ConditionView, ExecView, JobView, ManagerView, Model, MoreProperty, ProcessView, ScopeView,
    ServiceView, SocketView, TestView, TimerView, Timestamp, UnitFileView, UnitRow, UnitView,
};
pub use path::{Object, ROOT, job_path, unit_path};
pub use policy::bus_policy;
pub use refusal::{ErrorName, Refusal};

use crate::bus::{Bus, Call};
pub use crate::interface::configured::setting_value;
use crate::interface::{self, Emits, Interface};
use crate::peer::Peer;
use crate::wire::{Entries, Kind, Message, NO_REPLY_EXPECTED, Value};
use dispatch::{Standing, Step};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;

/// Most connections at a time; further ones are refused.
pub const PEERS_MAX: usize = 128;
/// Most requests of one peer that wait for their answer; further ones are refused.
pub const OPEN_REQUESTS_MAX: u32 = 64;
/// Most unread bytes of all peers together; beyond, those with most are closed.
pub const OUTGOING_TOTAL_MAX: usize = 64 * 1024 * 1024;

/// Most units that callers without privilege have us load, all of them together.
pub const GUEST_LOADS_MAX: u32 = 4096;

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

/// Where a request came from.
#[derive(Clone, Debug)]
enum Origin {
    /// A connection of ours.
    Peer(PeerId),
    /// The caller of this name on the bus.
    Bus(String),
    /// The bus itself, which wants this unit.
    Activation(String),
}

#[derive(Debug)]
struct Pending {
    origin: Origin,
    serial: u32,
    output: &'static str,
    silent: bool,
}

/// The server's side of all connections.
#[derive(Debug)]
pub struct Front {
    guid: [u8; 16],
    owner: u32,
    /// Others than root and the owner may not even look.
    owner_only: bool,
    peers: BTreeMap<PeerId, Entry>,
    bus: Option<Bus>,
    /// Jobs that callers on the bus asked for.
    bus_jobs: BTreeSet<u32>,
    /// Jobs of units that the bus asked for.
    activations: BTreeMap<u32, String>,
    /// Units that callers without privilege may still have us load.
    guest_loads: u32,
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
            owner_only: false,
            peers: BTreeMap::new(),
            bus: None,
            bus_jobs: BTreeSet::new(),
            activations: BTreeMap::new(),
            guest_loads: GUEST_LOADS_MAX,
            pending: BTreeMap::new(),
            requests: VecDeque::new(),
            last_peer: 0,
            last_token: 0,
        }
    }

    /// Refuses others than root and the owner, also on a bus: they may not even look, and nobody else is
    /// asked about them.
    pub fn serve_owner_only(&mut self) {
        self.owner_only = true;
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
        self.pending.retain(|_, pending| !matches!(pending.origin, Origin::Peer(peer) if peer == id));
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

    /// Whether a connection waits for an answer or has one to read.
    pub fn is_busy(&self, id: PeerId) -> bool {
        self.peers.get(&id).is_some_and(|e| e.open_requests > 0 || !e.peer.outgoing().is_empty())
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
        let id = match &pending.origin {
            Origin::Peer(id) => *id,
            Origin::Bus(_) | Origin::Activation(_) => return self.reply_on_bus(pending, answer),
        };
        let Some(entry) = self.peers.get_mut(&id) else { return };
        entry.open_requests -= 1;
        if !pending.silent {
            let answer = answer.and_then(|answer| interface::body(&answer, pending.output));
            respond(&mut entry.peer, pending.serial, answer);
            self.limit_total();
        }
    }

    /// Serves a call, or hands it out as a request where it gives `None`.
    fn serve(
        &mut self,
        origin: &Origin,
        caller: Caller,
        open_requests: u32,
        (message, descriptors): (&Message, &[Descriptor]),
        granted: bool,
        model: &mut dyn Model,
    ) -> Option<Result<Vec<Value>, Refusal>> {
        let standing = match granted || caller.uid == 0 || caller.uid == self.owner {
            true => Standing::Privileged,
            false if self.owner_only => {
                let text = "Access denied: this service manager serves its own user only.";
                return Some(Err(Refusal::new(ErrorName::AccessDenied, text)));
            }
            false => Standing::Guest { loads: &mut self.guest_loads },
        };
        Some(match dispatch::dispatch(message, descriptors, caller, standing, model) {
            Ok(Step::Reply(body)) => Ok(body),
            Ok(Step::Subscribe(subscribe)) => self.subscribe(origin, subscribe),
            Ok(Step::Authorize(_)) if open_requests >= OPEN_REQUESTS_MAX => {
                Err(Refusal::new(ErrorName::LimitsExceeded, "Too many requests wait for their answer."))
            }
            Ok(Step::Authorize(action)) => match (origin, &mut self.bus) {
                (Origin::Bus(sender), Some(bus)) => {
                    let call = Call { message: message.clone(), descriptors: descriptors.to_vec() };
                    let details = on_bus::details(message);
                    match bus.ask_polkit(sender, caller, call, action, &details) {
                        Ok(()) => return None,
                        Err(refusal) => Err(refusal),
                    }
                }
                _ => Err(Refusal::new(ErrorName::AccessDenied, "Permission denied")),
            },
            Ok(Step::Ask(..)) if open_requests >= OPEN_REQUESTS_MAX => {
                Err(Refusal::new(ErrorName::LimitsExceeded, "Too many requests wait for their answer."))
            }
            Ok(Step::Ask(command, output)) => {
                let silent = message.flags & NO_REPLY_EXPECTED != 0;
                let pending = Pending { origin: origin.clone(), serial: message.serial, output, silent };
                self.hand_out(pending, caller, command);
                return None;
            }
            Err(refusal) => Err(refusal),
        })
    }

    fn hand_out(&mut self, pending: Pending, caller: Caller, command: Command) {
        self.last_token += 1;
        let token = Token(self.last_token);
        let holder = match &pending.origin {
            Origin::Peer(id) => Some(Holder::Peer(*id)),
            Origin::Bus(sender) => Some(Holder::Caller(sender.clone())),
            Origin::Activation(_) => None,
        };
        self.pending.insert(token, pending);
        self.requests.push_back(Request { token, holder, caller, command });
    }

    fn drain(&mut self, id: PeerId, model: &mut dyn Model) -> Result<(), Fatal> {
        while let Some(entry) = self.peers.get_mut(&id) {
            let Some(message) = entry.peer.next_message()? else { break };
            let descriptors = entry.peer.take_descriptors(message.fields.fds)?;
            if message.kind != Kind::Call {
                continue;
            }
            let silent = message.flags & NO_REPLY_EXPECTED != 0;
            let hello = message.fields.member.as_deref() == Some("Hello")
                && message.fields.path.as_deref() == Some("/org/freedesktop/DBus");
            if hello {
                // Clients take names of transient units from the name that a bus would give them.
                let name = format!(":1.{}", id.0);
                respond(&mut entry.peer, message.serial, Ok(vec![name.into()]));
                continue;
            }
            let (caller, open_requests) = (entry.peer.caller(), entry.open_requests);
            let answer =
                self.serve(&Origin::Peer(id), caller, open_requests, (&message, &descriptors), false, model);
            let Some(entry) = self.peers.get_mut(&id) else { break };
            match answer {
                None => entry.open_requests += 1,
                Some(answer) if !silent => respond(&mut entry.peer, message.serial, answer),
                Some(_) => {}
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

    /// Tells all peers, and callers on the bus that follow this unit, or everything.
    fn broadcast(&mut self, mut message: Message, unit: Option<&str>) {
        let wanted = |bus: &Bus| unit.map_or_else(|| bus.has_subscribers(), |unit| bus.follows(unit));
        if let Some(bus) = self.bus.as_mut().filter(|bus| wanted(bus)) {
            bus.queue(&message);
        }
        message.fields.sender = Some(Cow::Borrowed(BUS_NAME));
        self.peers.values_mut().for_each(|entry| entry.peer.queue(&message));
        self.limit_total();
    }

    /// Whether anybody is told of what changes.
    pub fn has_listeners(&self) -> bool {
        self.bus.as_ref().is_some_and(Bus::has_followers)
            || self.peers.values().any(|entry| entry.peer.is_open())
    }

    fn announce(&mut self, member: &'static str, body: impl FnOnce() -> Vec<Value>) {
        if self.has_listeners() {
            self.broadcast(Message::signal(ROOT, MANAGER, member).with(body()), None);
        }
    }

    /// Tells all peers that a unit was loaded.
    pub fn unit_new(&mut self, unit: &str) {
        self.announce("UnitNew", || vec![interface::owned(unit), Value::path(unit_path(unit))]);
    }

    /// Tells all peers that a unit was unloaded.
    pub fn unit_removed(&mut self, unit: &str) {
        self.announce("UnitRemoved", || vec![interface::owned(unit), Value::path(unit_path(unit))]);
    }

    /// Tells all peers that a job was installed.
    pub fn job_new(&mut self, id: u32, unit: &str) {
        self.announce("JobNew", || vec![id.into(), Value::path(job_path(id)), interface::owned(unit)]);
    }

    /// Tells all peers that a job ended: `done`, `canceled`, `timeout`, `failed`, `dependency`, `skipped`,
    /// `invalid`, `assert`, `unsupported`, `collected`, `once`. Has to come after the reply that named the
    /// job, for systemctl waits for it only from then on.
    pub fn job_removed(&mut self, id: u32, unit: &str, result: &'static str) {
        let body = || vec![id.into(), Value::path(job_path(id)), interface::owned(unit), result.into()];
        self.job_removed_on_bus(id, result, body);
        self.announce("JobRemoved", body);
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
        let mut live = Entries::default();
        interface.tell_live(view, &mut live);
        let stale = interface.rows().filter(|row| row.emits() == Emits::Invalidation);
        let stale: Vec<Value> = stale.map(|row| Value::from(row.name())).collect();
        if live.is_empty() && stale.is_empty() {
            return;
        }
        let body = vec![interface.name.into(), live.into_value(), Value::array("s", stale)];
        let signal = Message::signal(path, PROPERTIES, "PropertiesChanged").with(body);
        self.broadcast(signal, Some(&view.row.id));
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
