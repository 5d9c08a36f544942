//! Between the D-Bus front and everything else: sockets, connections and the translation of what clients
//! ask for and of what the engine answers. It decides nothing about units, and it never waits.
//!
//! With nobody connected it holds its listener and nothing more: no buffer, no list of changed units.

mod ask;
mod client;
mod listener;
mod live;
mod machine;
mod system_bus;
#[cfg(test)]
pub(crate) mod tests;

use crate::model::{EngineModel, Runtime, changing_view, files, job_view};
use crate::pump;
use ask::Want;
use hence_bus::front::{
    Answer, Caller, Command, DESCRIPTORS_MAX, ErrorName, Front, Holder, JobView, PEERS_MAX, PeerId, Refusal,
    Token,
};
use hence_engine::carry::{Carried, Unread};
use hence_engine::{Effect, Engine, Event, Request, UnitId};
use hence_host::carry::Out;
use hence_host::sys::inherited::Inherited;
use hence_host::{Interest, Ready};
use hence_ledger::{Fact, Record, Text};
use hence_unit::UnitName;
use listener::Listener;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
pub use system_bus::{address as system_bus_address, session_address as session_bus_address};

/// Who waits for descriptors: the host's event loop.
pub trait Registry {
    /// Waits for a descriptor from now on; again with another interest to change it.
    ///
    /// # Errors
    /// What the system says.
    fn register(&mut self, fd: BorrowedFd<'_>, token: u32, interest: Interest) -> io::Result<()>;
    /// No longer waits for it; called before it is closed.
    fn unregister(&mut self, fd: BorrowedFd<'_>);
}

/// How long a connection may take to authenticate.
const AUTHENTICATE_US: u64 = 10_000_000;
/// How long a connection may take where all places are taken and others wait.
const AUTHENTICATE_FULL_US: u64 = 200_000;
/// How long a connection may ask nothing where all places are taken by such and others wait.
const IDLE_FULL_US: u64 = 5_000_000;
/// How long accepting pauses where the system has no descriptors left and none of ours can be closed.
const PAUSE_US: u64 = 1_000_000;
/// After how long it is looked whether polkit keeps callers waiting.
const POLKIT_TICK_US: u64 = 10_000_000;
/// Most bytes that one wake takes from a connection.
const READ_BYTES: usize = 4 * 1024;
/// The listener's token; those of connections follow.
const LISTENER: u32 = pump::FRONT;
/// The tokens of the listener and its connections.
const TOKENS: std::ops::RangeInclusive<u32> = LISTENER..=LISTENER + PEERS_MAX as u32;
/// The system bus.
const BUS: u32 = LISTENER + PEERS_MAX as u32 + 1;
/// What tells that there is one.
const BUS_WATCH: u32 = BUS + 1;
/// Most jobs of one transaction that are named to a client that asked for them.
const OTHERS_MAX: usize = 1024;
/// Most units that one client holds on to.
const HELD_MAX: usize = 256;
/// Numbers of jobs that never were: for clients that wait for the end of what turned out to need none.
const NO_JOB: u32 = 1 << 31;

struct Connection {
    stream: UnixStream,
    peer: PeerId,
    interest: Interest,
    /// When it has to be authenticated, in microseconds of the monotonic clock.
    authenticate_by_us: u64,
    /// When it last said anything, on the same clock.
    said_us: u64,
}

/// A request whose answer is outstanding.
struct Waiting {
    token: Token,
    /// For jobs: the unit and the type that was asked for.
    job: Option<(String, &'static str)>,
    /// Whether the other jobs of the transaction are to be named.
    detailed: bool,
    /// Who holds on to which unit when it is granted.
    held: Option<(Holder, UnitName)>,
}

/// The private socket.
pub struct FrontLink {
    front: Front,
    listener: Listener,
    bus: Option<system_bus::SystemBus>,
    connections: BTreeMap<u32, Connection>,
    waiting: BTreeMap<u64, Waiting>,
    last_request: u64,
    last_no_job: u32,
    /// Units whose change nobody has been told of yet.
    changed: BTreeSet<UnitId>,
    /// Jobs that came up while a detailed answer is outstanding.
    fresh: Vec<JobView>,
    /// Units that clients hold on to.
    held: BTreeMap<PeerId, Vec<UnitName>>,
    /// Units that clients who are gone held on to.
    let_go: Vec<UnitName>,
    /// What an earlier program kept for callers on the bus, until there is a connection to it.
    kept: Vec<(String, bool, Vec<String>)>,
    /// Who asked for the program to be executed anew.
    reexecuting: Vec<Token>,
    accepting: bool,
    /// When to try to accept again, where the system refused.
    accept_at_us: Option<u64>,
    /// When to refuse whom polkit keeps waiting, as long as it does.
    polkit_tick_us: Option<u64>,
    /// A user's own: nobody else is served.
    owner_only: bool,
    /// What the engine is to know.
    events: Vec<Event>,
}

impl FrontLink {
    /// Listens on this path, for root and for `owner_uid`, our own. Folders that lack are made, for the owner
    /// only. A socket that is there is replaced only if nobody listens on it. Nothing is waited for until
    /// [`FrontLink::register`].
    ///
    /// # Errors
    /// Somebody listens there already (`AddrInUse`), or what the system says.
    pub fn open(path: &Path, owner_uid: u32) -> io::Result<FrontLink> {
        FrontLink::at(Listener::open(path)?, owner_uid)
    }

    /// Writes what a successor needs, in a section of its own. Connections aren't handed on.
    pub fn carry<'h>(&'h self, out: &mut Out<'h>) {
        out.text.section("front", "");
        self.listener.carry(out);
        for kept in self.front.kept_on_bus() {
            out.text.field("kept_on_bus", &kept);
        }
    }

    /// Listens as an earlier program did. `None`: it did not, or that can't be read; then that is said.
    pub fn take_up(
        carried: &Carried<'_>,
        inherited: &mut Inherited,
        unread: &mut Vec<String>,
        owner_uid: u32,
    ) -> Option<FrontLink> {
        let from = carried.one("front")?;
        let taken = Listener::take_up(from, inherited).and_then(|l| Ok((l, from.all("kept_on_bus")?)));
        match taken {
            Ok((listener, kept)) => {
                let mut link = FrontLink::at(listener, owner_uid).ok()?;
                link.kept = kept;
                Some(link)
            }
            Err(Unread(key)) => {
                unread.push(format!("front: {key}"));
                None
            }
        }
    }

    fn at(listener: Listener, owner_uid: u32) -> io::Result<FrontLink> {
        let mut guid = [0; 16];
        rustix::rand::getrandom(&mut guid, rustix::rand::GetRandomFlags::NONBLOCK)?;
        Ok(FrontLink {
            front: Front::new(guid, owner_uid),
            listener,
            bus: None,
            connections: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_request: 0,
            last_no_job: NO_JOB,
            changed: BTreeSet::new(),
            fresh: Vec::new(),
            held: BTreeMap::new(),
            let_go: Vec::new(),
            kept: Vec::new(),
            reexecuting: Vec::new(),
            accepting: false,
            accept_at_us: None,
            polkit_tick_us: None,
            owner_only: false,
            events: Vec::new(),
        })
    }

    /// Begins to wait for connections. Where the system refuses, that is tried again.
    pub fn register(&mut self, registry: &mut dyn Registry) {
        if self.set_accepting(true, registry).is_err() {
            self.accept_at_us = Some(0);
        }
    }

    /// When to call [`FrontLink::overdue`] at the latest, in microseconds of the monotonic clock: somebody
    /// has to authenticate by then, or accepting is to be tried again.
    pub fn deadline_us(&self) -> Option<u64> {
        let silent = self.connections.values().filter(|c| !self.front.is_open(c.peer));
        let bus = self.bus.as_ref().and_then(system_bus::SystemBus::deadline_us);
        let polkit = self.polkit_tick_us.filter(|_| self.front.waits_for_polkit());
        silent.map(|c| c.authenticate_by_us).chain(self.accept_at_us).chain(bus).chain(polkit).min()
    }

    /// Whether anybody is connected, or the bus is.
    pub fn is_connected(&self) -> bool {
        !self.connections.is_empty() || self.is_on_bus()
    }

    /// Whether there is anything to do at the end of a turn.
    pub fn has_news(&self) -> bool {
        self.is_connected() || !self.let_go.is_empty()
    }

    /// Units that callers on the bus held when an earlier program ended.
    pub fn still_held(&self) -> Vec<UnitName> {
        self.kept.iter().flat_map(|(_, _, held)| held).filter_map(|unit| UnitName::new(unit)).collect()
    }

    /// Whether units' ends of being held are still to be told.
    pub fn has_news_to_tell(&self) -> bool {
        !self.let_go.is_empty()
    }

    /// The program could not be executed anew: who asked for it is told why.
    pub fn reexecution_failed(&mut self, why: &str) {
        for token in std::mem::take(&mut self.reexecuting) {
            let text = format!("The program can't be executed anew: {why}");
            self.front.reply(token, Err(Refusal::new(ErrorName::Failed, text)));
        }
    }

    /// A client holds on to a unit, or lets go of it.
    fn hold(
        &mut self,
        holder: Option<&Holder>,
        unit: &str,
        hold: bool,
        runtime: &mut dyn Runtime,
    ) -> Result<(), Refusal> {
        let name = ask::valid(unit)?;
        if hold && !ask::is_known(&name, runtime) {
            return Err(Refusal::new(ErrorName::NoSuchUnit, format!("Unit {name} not loaded.")));
        }
        let news = match holder {
            None => false,
            Some(Holder::Caller(caller)) => self.front.hold_on_bus(caller, name.as_str(), hold)?,
            Some(Holder::Peer(peer)) => self.hold_for_peer(*peer, &name, hold)?,
        };
        if news {
            runtime.hold(&name, hold);
        }
        Ok(())
    }

    fn hold_for_peer(&mut self, peer: PeerId, name: &UnitName, hold: bool) -> Result<bool, Refusal> {
        let held = self.held.entry(peer).or_default();
        if hold && held.len() >= HELD_MAX {
            return Err(Refusal::new(ErrorName::LimitsExceeded, "Too many references."));
        }
        if hold {
            held.push(name.clone());
        } else if let Some(at) = held.iter().position(|known| known == name) {
            held.swap_remove(at);
        } else {
            let text = format!("Unit {name} is not referenced by this client.");
            return Err(Refusal::new(ErrorName::NotReferenced, text));
        }
        Ok(true)
    }

    fn set_accepting(&mut self, accept: bool, registry: &mut dyn Registry) -> io::Result<()> {
        if self.accepting == accept {
            return Ok(());
        }
        if accept {
            let interest = Interest { read: true, write: false };
            registry.register(self.listener.as_fd(), LISTENER, interest)?;
        } else {
            registry.unregister(self.listener.as_fd());
        }
        self.accepting = accept;
        Ok(())
    }

    /// A descriptor of this link is ready. Does what can be done without waiting and returns what clients
    /// ask of the engine; each is answered by an [`Effect::Reply`] that [`FrontLink::effect`] is shown.
    pub fn ready(&mut self, ready: Ready, runtime: &mut dyn Runtime) -> Vec<Request> {
        if ready.token == LISTENER {
            // Clients speak first: most have done so by now, and are authenticated without a wait.
            if let Some(token) = self.accept(runtime.now_us(), runtime) {
                self.read(token, runtime);
                self.settle(token, runtime);
            }
            return self.take_requests(runtime);
        }
        match ready.token {
            BUS_WATCH => self.bus_may_be_there(),
            BUS => {
                if ready.read {
                    self.read_bus(runtime);
                }
                let requests = self.take_requests(runtime);
                self.settle_bus(runtime);
                return requests;
            }
            _ => {}
        }
        if !TOKENS.contains(&ready.token) {
            return Vec::new();
        }
        if ready.write && !self.write(ready.token, runtime) {
            self.close(ready.token, runtime);
        }
        if ready.read {
            self.read(ready.token, runtime);
        }
        let requests = self.take_requests(runtime);
        self.settle(ready.token, runtime);
        requests
    }

    /// Accepts one of those who wait, and returns its token. Where there are more, the next wait tells so;
    /// mostly there is one, and it needs not be asked whether there are.
    fn accept(&mut self, now_us: u64, registry: &mut dyn Registry) -> Option<u32> {
        if self.connections.len() >= PEERS_MAX && !self.make_room(now_us, registry) {
            return None;
        }
        match self.listener.accept() {
            Ok(accepted) => {
                accepted.and_then(|(stream, caller)| self.admit(stream, caller, now_us, registry))
            }
            Err(_) => {
                self.pause(Some(now_us + PAUSE_US), registry);
                None
            }
        }
    }

    /// Closes who is connected for long and says nothing, for the sake of who waits; who never authenticated
    /// goes first. Without such a one, accepting pauses until there is, or until somebody leaves.
    fn make_room(&mut self, now_us: u64, registry: &mut dyn Registry) -> bool {
        let over = self.connections.iter().filter_map(|(token, c)| {
            if !self.front.is_open(c.peer) {
                return Some((c.authenticate_by_us - AUTHENTICATE_US + AUTHENTICATE_FULL_US, *token));
            }
            (!self.front.is_busy(c.peer)).then_some((c.said_us + IDLE_FULL_US, *token))
        });
        match over.min() {
            Some((over_us, token)) if over_us <= now_us => self.close(token, registry),
            over => self.pause(over.map(|(over_us, _)| over_us), registry),
        }
        self.connections.len() < PEERS_MAX
    }

    /// Leaves further clients in the kernel's queue until a connection is closed, or until then.
    fn pause(&mut self, until_us: Option<u64>, registry: &mut dyn Registry) {
        // Unregistering can't fail.
        let _ = self.set_accepting(false, registry);
        self.accept_at_us = until_us;
    }

    fn admit(
        &mut self,
        stream: UnixStream,
        caller: Caller,
        now_us: u64,
        registry: &mut dyn Registry,
    ) -> Option<u32> {
        let token = TOKENS.skip(1).find(|token| !self.connections.contains_key(token))?;
        let peer = self.front.connect(caller)?;
        let interest = Interest { read: true, write: false };
        if registry.register(stream.as_fd(), token, interest).is_err() {
            self.front.disconnect(peer);
            return None;
        }
        let authenticate_by_us = now_us + AUTHENTICATE_US;
        self.connections
            .insert(token, Connection { stream, peer, interest, authenticate_by_us, said_us: now_us });
        Some(token)
    }

    fn read(&mut self, token: u32, runtime: &mut dyn Runtime) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if !self.front.wants_input(connection.peer) {
            return;
        }
        let mut buffer = [0; READ_BYTES];
        match receive(&connection.stream, &mut buffer) {
            Ok((0, _)) => self.close(token, runtime),
            Ok((length, descriptors)) => {
                connection.said_us = runtime.now_us();
                let mut model = EngineModel { runtime };
                // Whoever is condemned by that is closed at the end of the turn.
                let _ = self.front.attach(connection.peer, descriptors);
                let _ = self.front.receive(connection.peer, &buffer[..length], &mut model);
            }
            Err(error) if is_transient(&error) => {}
            Err(_) => self.close(token, runtime),
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

    /// Writes, then closes the connection or waits for what it needs next. Whoever is held back is written
    /// to when it is ready only, for it may go on asking then.
    fn settle(&mut self, token: u32, runtime: &mut dyn Runtime) {
        let Some(connection) = self.connections.get(&token) else { return };
        if self.front.wants_input(connection.peer) && !self.write(token, runtime) {
            return self.close(token, runtime);
        }
        self.wait(token, runtime);
    }

    fn wait(&mut self, token: u32, registry: &mut dyn Registry) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let read = self.front.wants_input(connection.peer);
        let write = !self.front.outgoing(connection.peer).is_empty();
        let interest = Interest { read, write };
        if interest != connection.interest {
            connection.interest = interest;
            if registry.register(connection.stream.as_fd(), token, interest).is_err() {
                self.close(token, registry);
            }
        }
    }

    fn close(&mut self, token: u32, registry: &mut dyn Registry) {
        let Some(connection) = self.connections.remove(&token) else { return };
        registry.unregister(connection.stream.as_fd());
        self.front.disconnect(connection.peer);
        self.let_go.extend(self.held.remove(&connection.peer).into_iter().flatten());
        drop(connection);
        if !self.is_connected() {
            self.changed.clear();
            self.fresh = Vec::new();
        }
        self.accept_at_us = None;
        if self.set_accepting(true, registry).is_err() {
            self.accept_at_us = Some(0);
        }
    }

    /// Whether polkit owes any answer.
    pub fn waits_for_polkit(&self) -> bool {
        self.front.waits_for_polkit()
    }

    /// This program ends before polkit has answered: who waits for that is told.
    pub fn refuse_who_waits_for_polkit(&mut self) {
        self.front.refuse_who_waits_for_polkit();
    }

    /// Sees to it that nobody waits for polkit without end.
    fn watch_polkit(&mut self, now_us: u64) {
        match self.front.waits_for_polkit() {
            true => drop(self.polkit_tick_us.get_or_insert(now_us + POLKIT_TICK_US)),
            false => self.polkit_tick_us = None,
        }
    }

    /// Queues for clients which units changed. To be called when the effects of everything that was ready
    /// are done, and before units are forgotten.
    pub fn announce(&mut self, runtime: &mut dyn Runtime) {
        for unit in std::mem::take(&mut self.let_go) {
            runtime.hold(&unit, false);
        }
        if self.is_connected() {
            for unit in std::mem::take(&mut self.changed) {
                self.front.unit_changed(&changing_view(runtime.engine(), unit));
            }
        }
    }

    /// Ends a turn: writes what clients take, closes those that broke the protocol or do not read.
    pub fn flush(&mut self, runtime: &mut dyn Runtime) {
        self.announce(runtime);
        if !self.is_connected() {
            return;
        }
        self.settle_bus(runtime);
        self.watch_polkit(runtime.now_us());
        let tokens: Vec<u32> = self.connections.keys().copied().collect();
        for token in tokens {
            self.settle(token, runtime);
        }
        self.close_where(runtime, |link, connection| {
            link.front.condemned().any(|(peer, _)| peer == connection.peer)
        });
    }

    /// Closes who took too long to authenticate and goes on accepting where the system had no room.
    pub fn overdue(&mut self, now_us: u64, runtime: &mut dyn Runtime) {
        self.try_bus(now_us, runtime);
        if self.polkit_tick_us.take_if(|at_us| *at_us <= now_us).is_some() {
            self.front.polkit_tick();
            self.watch_polkit(now_us);
            self.settle_bus(runtime);
        }
        let registry: &mut dyn Registry = runtime;
        if self.accept_at_us.take_if(|at_us| *at_us <= now_us).is_some() {
            let again = self.set_accepting(true, registry);
            self.accept_at_us = again.err().map(|_| now_us + PAUSE_US);
        }
        self.close_where(registry, |link, connection| {
            now_us >= connection.authenticate_by_us && !link.front.is_open(connection.peer)
        });
    }

    fn close_where(&mut self, registry: &mut dyn Registry, over: impl Fn(&FrontLink, &Connection) -> bool) {
        let over = self.connections.iter().filter(|(_, connection)| over(self, connection));
        let over: Vec<u32> = over.map(|(token, _)| *token).collect();
        for token in over {
            self.close(token, registry);
        }
    }

    fn take_requests(&mut self, runtime: &mut dyn Runtime) -> Vec<Request> {
        let mut requests = Vec::new();
        while let Some(asked) = self.front.poll_request() {
            if let Command::Hold { unit, hold } = &asked.command {
                let held = self.hold(asked.holder.as_ref(), unit, *hold, runtime);
                self.front.reply(asked.token, held.map(|()| Answer::Done));
                continue;
            }
            let on_bus = matches!(asked.holder, Some(Holder::Caller(_)));
            let translated = live::translate(asked.command, (asked.caller, on_bus), runtime)
                .unwrap_or_else(|command| ask::translate(command, runtime));
            let mut held = None;
            let (verb, kind, job, detailed) = match translated {
                Ok((Want::Request(verb, kind), job, detailed)) => (verb, kind, job, detailed),
                Ok((Want::HeldRequest(verb, kind, unit), job, detailed)) => {
                    held = asked.holder.map(|holder| (holder, unit));
                    (verb, kind, job, detailed)
                }
                Ok((Want::Reload, ..)) => {
                    self.front.reloading(true);
                    let done = runtime.reload(client::of(asked.caller, runtime));
                    self.front.reloading(false);
                    self.front.unit_files_changed();
                    self.front.reply(asked.token, done.map(|()| Answer::Done));
                    continue;
                }
                Ok((Want::Reexecute, ..)) => {
                    match runtime.reexecute(client::of(asked.caller, runtime)) {
                        Ok(()) => self.reexecuting.push(asked.token),
                        Err(refusal) => self.front.reply(asked.token, Err(refusal)),
                    }
                    continue;
                }
                Ok((Want::Files(command), ..)) => {
                    let client = client::of(asked.caller, runtime);
                    let (answer, changed) = files::change(&command, client, runtime);
                    if changed {
                        self.front.unit_files_changed();
                    }
                    self.front.reply(asked.token, answer);
                    continue;
                }
                Err(refusal) => {
                    self.front.reply(asked.token, Err(refusal));
                    continue;
                }
            };
            self.last_request += 1;
            let token = self.last_request;
            self.waiting.insert(token, Waiting { token: asked.token, job, detailed, held });
            requests.push(Request { token, client: client::of(asked.caller, runtime), verb, kind });
        }
        requests
    }

    /// A record was made: whose state it changes is told to clients when the turn ends.
    pub fn record(&mut self, record: &Record, engine: &Engine) {
        if let Some(bus) = &mut self.bus {
            bus.record(record);
        }
        if self.front.has_listeners()
            && let Some(unit) = FrontLink::concerns(record)
        {
            self.changed(&unit, engine);
        }
    }

    /// The unit whose visible state a record says to be another one.
    pub fn concerns(record: &Record) -> Option<Text> {
        let visible = matches!(
            record.fact,
            Fact::StateChanged { .. }
                | Fact::Loaded { .. }
                | Fact::Notified { .. }
                | Fact::ProcessExited { .. }
                | Fact::ProcessStarted { .. }
        );
        record.unit.clone().filter(|_| visible)
    }

    /// A unit changed: clients are told when the turn ends.
    pub fn changed(&mut self, unit: &str, engine: &Engine) {
        if self.is_connected() {
            self.changed.extend(engine.find(unit));
        }
    }

    /// A unit was unloaded.
    pub fn unit_removed(&mut self, unit: UnitId, name: &UnitName) {
        self.changed.remove(&unit);
        self.forget_names(unit);
        if self.is_connected() {
            self.front.unit_removed(name.as_str());
        }
    }

    /// The engine has an effect that clients are to hear of; the others are not for the link.
    pub fn effect(&mut self, effect: &Effect, runtime: &mut dyn Runtime) {
        if let Effect::Reply { token, result: Ok(_) } = effect
            && let Some((holder, unit)) = self.waiting.get_mut(token).and_then(|waiting| waiting.held.take())
        {
            let there = match &holder {
                Holder::Peer(peer) => self.connections.values().any(|connection| connection.peer == *peer),
                Holder::Caller(_) => true,
            };
            // Who holds too much gets its unit all the same.
            let _ = if there { self.hold(Some(&holder), unit.as_str(), true, runtime) } else { Ok(()) };
        }
        self.tell(effect, runtime.engine());
    }

    fn tell(&mut self, effect: &Effect, engine: &Engine) {
        match effect {
            Effect::UnitNew(unit) if self.is_connected() => {
                self.front.unit_new(engine.unit(*unit).name().as_str());
            }
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
                if self.front.has_listeners() {
                    self.front.unit_changed(&changing_view(engine, *unit));
                }
                let name = engine.unit(*unit).name().as_str();
                self.front.job_removed(job.0, name, result.as_str());
            }
            Effect::RequestStop { unit, controller } => {
                let name = engine.unit(*unit).name().as_str();
                if !self.is_on_bus() || !self.front.request_stop(name, controller) {
                    let name = controller.clone();
                    self.events.push(Event::BusName { unit: *unit, name, owned: None });
                }
            }
            Effect::Reply { token, result } => match result {
                Ok(job) => self.reply(*token, job.map(|job| job.0), engine),
                Err(refusal) => {
                    let (name, text) = refusal.parts();
                    if let Some(waiting) = self.waiting.remove(token) {
                        let refusal = Refusal::new(error_name(name), text.to_string());
                        self.front.reply(waiting.token, Err(refusal));
                    }
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
}

/// Bytes, and the descriptors that came with them. What there is no room for is closed by the kernel, and
/// the message that names it is refused then.
fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let received = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    Ok((received.bytes, descriptors))
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The error of this name within org.freedesktop.systemd1, or of D-Bus itself.
fn error_name(name: &str) -> ErrorName {
    let full = |error: &&ErrorName| error.as_str().rsplit('.').next() == Some(name);
    ErrorName::ALL.iter().find(full).copied().unwrap_or(ErrorName::Failed)
}
