//! Between the D-Bus front and everything else: sockets, connections and the translation of what clients
//! ask for and of what the engine answers. It decides nothing about units, and it never waits.
//!
//! With nobody connected it holds its listeners and nothing more: no buffer, no list of changed units.

mod ask;
mod client;
mod listener;
#[cfg(test)]
mod tests;

pub use ask::Ask;

use crate::model::{EngineModel, Runtime, job_view, unit_view};
use hence_bus::front::{Answer, Caller, ErrorName, Front, JobView, PeerId, Refusal, Token};
use hence_engine::{Effect, Engine, UnitId};
use hence_ledger::{Fact, Record};
use listener::Listener;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As it was given to [`Registry::register`].
    pub token: u32,
    /// It can be read, or reading will show the error.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

/// Who waits for descriptors: the host's event loop.
pub trait Registry {
    /// Waits for a descriptor from now on.
    ///
    /// # Errors
    /// What the system says.
    fn register(&mut self, fd: BorrowedFd<'_>, token: u32, interest: Interest) -> io::Result<()>;
    /// Waits for something else of it.
    ///
    /// # Errors
    /// What the system says.
    fn modify(&mut self, fd: BorrowedFd<'_>, token: u32, interest: Interest) -> io::Result<()>;
    /// No longer waits for it; called before it is closed.
    fn unregister(&mut self, fd: BorrowedFd<'_>);
}

/// How long a connection may take to authenticate.
const AUTHENTICATE_US: u64 = 10_000_000;
/// How long accepting pauses where the system has no descriptors left and none of ours can be closed.
const PAUSE_US: u64 = 1_000_000;
/// Most connections that one wake accepts.
const ACCEPT_BATCH: usize = 32;
/// Most bytes that one wake takes from a connection.
const READ_BYTES: usize = 16 * 1024;
/// Most listeners; their tokens come first.
const LISTENERS_MAX: u32 = 4;
/// Tokens that a link needs: listeners, then connections.
pub const TOKENS: u32 = LISTENERS_MAX + hence_bus::front::PEERS_MAX as u32;
/// Most jobs of one transaction that are named to a client that asked for them.
const OTHERS_MAX: usize = 1024;
/// Numbers of jobs that never were: for clients that wait for the end of what turned out to need none.
const NO_JOB: u32 = 1 << 31;

struct Connection {
    stream: UnixStream,
    peer: PeerId,
    interest: Interest,
    /// When it has to be authenticated, in microseconds of the monotonic clock.
    authenticate_by_us: u64,
}

/// A request whose answer is outstanding.
struct Waiting {
    token: Token,
    /// For jobs: the unit and the type that was asked for.
    job: Option<(String, &'static str)>,
    /// Whether the other jobs of the transaction are to be named.
    detailed: bool,
}

/// The private socket.
pub struct FrontLink {
    front: Front,
    first_token: u32,
    listeners: Vec<Listener>,
    connections: BTreeMap<u32, Connection>,
    waiting: BTreeMap<u64, Waiting>,
    last_request: u64,
    last_no_job: u32,
    /// Units whose change nobody has been told of yet.
    changed: BTreeSet<UnitId>,
    /// Jobs that came up while a detailed answer is outstanding.
    fresh: Vec<JobView>,
    accepting: bool,
    /// When to try to accept again, where the system refused.
    accept_at_us: Option<u64>,
}

impl FrontLink {
    /// Listens on these paths, at most 4, for root and for `owner_uid`, our own. Folders that lack are made,
    /// for the owner only. A socket that is there is replaced only if nobody listens on it. Descriptors get
    /// the [`TOKENS`] numbers from `first_token` on; nothing is waited for until [`FrontLink::start`].
    ///
    /// # Errors
    /// Somebody listens there already (`AddrInUse`), or what the system says.
    pub fn open(paths: &[&Path], owner_uid: u32, first_token: u32) -> io::Result<FrontLink> {
        if paths.len() > LISTENERS_MAX as usize {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many sockets to listen on"));
        }
        let mut guid = [0; 16];
        rustix::rand::getrandom(&mut guid, rustix::rand::GetRandomFlags::NONBLOCK)?;
        let listeners: io::Result<Vec<Listener>> = paths.iter().map(|path| Listener::open(path)).collect();
        Ok(FrontLink {
            front: Front::new(guid, owner_uid),
            first_token,
            listeners: listeners?,
            connections: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_request: 0,
            last_no_job: NO_JOB,
            changed: BTreeSet::new(),
            fresh: Vec::new(),
            accepting: false,
            accept_at_us: None,
        })
    }

    /// Begins to wait for connections.
    ///
    /// # Errors
    /// What the registry says.
    pub fn start(&mut self, registry: &mut dyn Registry) -> io::Result<()> {
        self.set_accepting(true, registry)
    }

    /// Whether a token is one of this link's.
    pub fn owns(&self, token: u32) -> bool {
        token.wrapping_sub(self.first_token) < TOKENS
    }

    /// When to call [`FrontLink::flush`] at the latest, in microseconds of the monotonic clock: somebody has
    /// to authenticate by then, or accepting is to be tried again.
    pub fn deadline_us(&self) -> Option<u64> {
        let silent = self.connections.values().filter(|c| !self.front.is_open(c.peer));
        silent.map(|c| c.authenticate_by_us).chain(self.accept_at_us).min()
    }

    /// Whether anybody is connected.
    pub fn is_connected(&self) -> bool {
        !self.connections.is_empty()
    }

    fn set_accepting(&mut self, accept: bool, registry: &mut dyn Registry) -> io::Result<()> {
        if self.accepting == accept {
            return Ok(());
        }
        for (token, listener) in (self.first_token..).zip(&self.listeners) {
            if accept {
                registry.register(listener.as_fd(), token, Interest { read: true, write: false })?;
            } else {
                registry.unregister(listener.as_fd());
            }
        }
        self.accepting = accept;
        Ok(())
    }

    /// A descriptor of this link is ready. Does what can be done without waiting and returns what clients
    /// ask for, each to be answered: the requests by [`FrontLink::effect`], a reload by
    /// [`FrontLink::answer`].
    pub fn ready(
        &mut self,
        ready: Ready,
        runtime: &mut dyn Runtime,
        registry: &mut dyn Registry,
    ) -> Vec<Ask> {
        let index = ready.token.wrapping_sub(self.first_token);
        if index < LISTENERS_MAX {
            self.accept(index as usize, runtime.now_us(), registry);
            return Vec::new();
        }
        if ready.write && !self.write(ready.token, runtime) {
            self.close(ready.token, registry);
        }
        if ready.read {
            self.read(ready.token, runtime, registry);
        }
        let asks = self.take_asks(runtime);
        self.settle(ready.token, runtime, registry);
        asks
    }

    fn accept(&mut self, index: usize, now_us: u64, registry: &mut dyn Registry) {
        for _ in 0..ACCEPT_BATCH {
            let Some(listener) = self.listeners.get(index).filter(|_| self.accepting) else { return };
            let (stream, caller) = match listener.accept() {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(_) => return self.pause(Some(now_us + PAUSE_US), registry),
            };
            self.admit(stream, caller, now_us, registry);
            if self.connections.len() >= hence_bus::front::PEERS_MAX {
                return self.pause(None, registry);
            }
        }
    }

    /// Leaves further clients in the kernel's queue until a connection is closed, or until then.
    fn pause(&mut self, until_us: Option<u64>, registry: &mut dyn Registry) {
        // Unregistering can't fail.
        let _ = self.set_accepting(false, registry);
        self.accept_at_us = until_us;
    }

    fn admit(&mut self, stream: UnixStream, caller: Caller, now_us: u64, registry: &mut dyn Registry) {
        let first = self.first_token + LISTENERS_MAX;
        let token = (first..).find(|token| !self.connections.contains_key(token));
        let (Some(token), Some(peer)) = (token, self.front.connect(caller)) else { return };
        let interest = Interest { read: true, write: false };
        if registry.register(stream.as_fd(), token, interest).is_err() {
            self.front.disconnect(peer);
            return;
        }
        let authenticate_by_us = now_us + AUTHENTICATE_US;
        self.connections.insert(token, Connection { stream, peer, interest, authenticate_by_us });
    }

    fn read(&mut self, token: u32, runtime: &mut dyn Runtime, registry: &mut dyn Registry) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if !self.front.wants_input(connection.peer) {
            return;
        }
        let mut buffer = [0; READ_BYTES];
        match connection.stream.read(&mut buffer) {
            Ok(0) => self.close(token, registry),
            Ok(length) => {
                let mut model = EngineModel { runtime };
                // Whoever is condemned by that is closed at the end of the turn.
                let _ = self.front.receive(connection.peer, &buffer[..length], &mut model);
            }
            Err(error) if is_transient(&error) => {}
            Err(_) => self.close(token, registry),
        }
    }

    /// Writes what a connection takes now; false where it is broken.
    fn write(&mut self, token: u32, runtime: &mut dyn Runtime) -> bool {
        let Some(connection) = self.connections.get_mut(&token) else { return true };
        while !self.front.outgoing(connection.peer).is_empty() {
            match connection.stream.write(self.front.outgoing(connection.peer)) {
                Ok(length) => {
                    let mut model = EngineModel { runtime: &mut *runtime };
                    // As in `read`.
                    let _ = self.front.sent(connection.peer, length, &mut model);
                }
                Err(error) => return is_transient(&error),
            }
        }
        true
    }

    /// Writes, then closes the connection or waits for what it needs next.
    fn settle(&mut self, token: u32, runtime: &mut dyn Runtime, registry: &mut dyn Registry) {
        if !self.write(token, runtime) {
            return self.close(token, registry);
        }
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let read = self.front.wants_input(connection.peer);
        let write = !self.front.outgoing(connection.peer).is_empty();
        let interest = Interest { read, write };
        if interest != connection.interest {
            connection.interest = interest;
            if registry.modify(connection.stream.as_fd(), token, interest).is_err() {
                self.close(token, registry);
            }
        }
    }

    fn close(&mut self, token: u32, registry: &mut dyn Registry) {
        let Some(connection) = self.connections.remove(&token) else { return };
        registry.unregister(connection.stream.as_fd());
        self.front.disconnect(connection.peer);
        drop(connection);
        if self.connections.is_empty() {
            self.changed.clear();
            self.fresh = Vec::new();
        }
        self.accept_at_us = None;
        if self.set_accepting(true, registry).is_err() {
            self.accept_at_us = Some(0);
        }
    }

    /// Ends a turn: tells clients which units changed, writes what they take, closes those that broke the
    /// protocol, do not read or took too long to authenticate. To be called after the effects of everything
    /// that was ready are done, and again until it returns nothing: clients that were held back go on asking
    /// as soon as they have read.
    pub fn flush(&mut self, runtime: &mut dyn Runtime, registry: &mut dyn Registry) -> Vec<Ask> {
        if let Some(at_us) = self.accept_at_us
            && at_us <= runtime.now_us()
        {
            let again = self.set_accepting(true, registry);
            self.accept_at_us = again.err().map(|_| runtime.now_us() + PAUSE_US);
        }
        if self.connections.is_empty() {
            return Vec::new();
        }
        for unit in std::mem::take(&mut self.changed) {
            self.front.unit_changed(&unit_view(runtime.engine(), unit));
        }
        let now_us = runtime.now_us();
        let tokens: Vec<u32> = self.connections.keys().copied().collect();
        for &token in &tokens {
            self.settle(token, runtime, registry);
        }
        let condemned: Vec<PeerId> = self.front.condemned().map(|(peer, _)| peer).collect();
        for token in tokens {
            let Some(connection) = self.connections.get(&token) else { continue };
            let late = now_us >= connection.authenticate_by_us && !self.front.is_open(connection.peer);
            if late || condemned.contains(&connection.peer) {
                self.close(token, registry);
            }
        }
        self.take_asks(runtime)
    }

    fn take_asks(&mut self, runtime: &mut dyn Runtime) -> Vec<Ask> {
        let mut asks = Vec::new();
        while let Some(request) = self.front.poll_request() {
            self.last_request += 1;
            let number = self.last_request;
            let (token, caller) = (request.token, request.caller);
            let translated = ask::translate(request.command, runtime);
            match translated {
                Ok((want, job, detailed)) => {
                    self.waiting.insert(number, Waiting { token, job, detailed });
                    asks.push(want.ask(number, client::of(caller, runtime)));
                }
                Err(refusal) => self.front.reply(token, Err(refusal)),
            }
        }
        asks
    }

    /// A record was made: whose state it changes is told to clients when the turn ends.
    pub fn record(&mut self, record: &Record, engine: &Engine) {
        if self.connections.is_empty() {
            return;
        }
        let visible = matches!(
            record.fact,
            Fact::StateChanged { .. }
                | Fact::Loaded { .. }
                | Fact::Notified { .. }
                | Fact::ProcessExited { .. }
                | Fact::ProcessStarted { .. }
        );
        if visible && let Some(unit) = record.unit.as_deref().and_then(|name| engine.find(name)) {
            self.changed.insert(unit);
        }
    }

    /// The engine has an effect that clients are to hear of; the others are not for the link.
    pub fn effect(&mut self, effect: &Effect, engine: &Engine) {
        match effect {
            Effect::JobNew { job, unit } if self.is_connected() => {
                let name = engine.unit(*unit).name().as_str();
                self.front.job_new(job.0, name);
                self.changed.insert(*unit);
                let wanted = self.waiting.values().any(|waiting| waiting.detailed);
                if wanted && self.fresh.len() < OTHERS_MAX {
                    let ended =
                        || JobView { id: job.0, unit: name.into(), job_type: "nop", state: "running" };
                    let view = engine.job(*job).map_or_else(ended, |job| job_view(engine, job));
                    self.fresh.push(view);
                }
            }
            Effect::JobRemoved { job, unit, result, .. } if self.is_connected() => {
                // Who waits for the job looks at the unit as soon as it is over.
                self.changed.remove(unit);
                let view = unit_view(engine, *unit);
                self.front.unit_changed(&view);
                self.front.job_removed(job.0, &view.row.id, result.as_str());
            }
            Effect::Reply { token, result } => match result {
                Ok(job) => self.reply(*token, job.map(|job| job.0), engine),
                Err(refusal) => {
                    let (name, text) = refusal.parts();
                    self.answer(*token, Err(Refusal::new(error_name(name), text.to_string())));
                }
            },
            _ => {}
        }
    }

    fn reply(&mut self, number: u64, job: Option<u32>, engine: &Engine) {
        let others = std::mem::take(&mut self.fresh);
        let Some(waiting) = self.waiting.remove(&number) else { return };
        let Some((unit, job_type)) = waiting.job else {
            return self.front.reply(waiting.token, Ok(Answer::Done));
        };
        let id = job.unwrap_or_else(|| {
            self.last_no_job = self.last_no_job.checked_add(1).unwrap_or(NO_JOB);
            self.last_no_job
        });
        let known = engine.job(hence_engine::JobId(id)).map(|job| job_view(engine, job));
        let view = known.unwrap_or(JobView { id, unit: unit.clone(), job_type, state: "running" });
        let others = others.into_iter().filter(|other| other.id != id && waiting.detailed).collect();
        self.front.reply(waiting.token, Ok(Answer::Job { job: view, others }));
        if job.is_none() {
            self.front.job_removed(id, &unit, "done");
        }
    }

    /// Answers a request that the engine does not answer: a reload.
    pub fn answer(&mut self, number: u64, result: Result<(), Refusal>) {
        if let Some(waiting) = self.waiting.remove(&number) {
            self.front.reply(waiting.token, result.map(|()| Answer::Done));
        }
    }

    /// Tells clients that unit files are read anew, at the begin and at the end.
    pub fn reloading(&mut self, active: bool) {
        self.front.reloading(active);
    }

    /// Tells clients that the first transaction is over; microseconds in firmware, loader, kernel, initrd,
    /// userspace and in total.
    pub fn startup_finished(&mut self, times_us: [u64; 6]) {
        self.front.startup_finished(times_us);
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The error of this name within org.freedesktop.systemd1.
fn error_name(name: &str) -> ErrorName {
    let full = |error: &&ErrorName| error.as_str().strip_prefix("org.freedesktop.systemd1.") == Some(name);
    ErrorName::ALL.iter().find(full).copied().unwrap_or(ErrorName::Failed)
}
