//! `hence watch`: joins the sources, the observer and the ledger. It decides nothing, and asks the manager
//! that it watches for nothing but what it is to know.

mod bus;
pub mod install;
mod link;
mod request;

use crate::cli::watch::{Source, Watch as Args};
use crate::exit;
use crate::run::{boot_id, command, recorder_command};
use crate::units::{Sources as UnitSources, Units};
use bus::Bus;
use hence_engine::Time;
use hence_engine::observe::seen::{Asked, Change, Evidence, Portrait, Seen, What};
use hence_engine::observe::{Observer, Settings, Sources, Wanted};
use hence_host::client::CommandLine;
use hence_host::store::{RecorderLink, Ring, RingOptions, default_ledger};
use hence_host::sys::connector::Did;
use hence_host::sys::signal;
use hence_host::watch::connector::Connector;
use hence_host::watch::lines::Lines;
use hence_host::watch::trace::{Trace, Traced};
use hence_host::watch::{Place, Turns, groups, people};
use hence_host::{Host, Inputs};
use hence_ledger::{ActiveState, Client, Exit, ExitKind, Record, RecordId, Text};
use hence_unit::UnitName;
use link::Link;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const SIGNALS: u64 = 0;
const RECORDER: u64 = 1;
const MANAGER: u64 = 2;
const JOURNAL: u64 = 3;
const PROCESSES: u64 = 4;
const TRACE: u64 = 5;
const EAR: u64 = 6;
const MOUTH: u64 = 7;
/// First token of processes that were left behind.
const LEFT_OVER: u64 = 1 << 32;
/// Records that are written at once.
const BATCH: usize = 64;
/// Processes that were left behind whose end is waited for.
const WATCHED: usize = 16_384;
/// Clients that were looked at already.
const CLIENTS: usize = 1024;
/// Senders of signals that are remembered.
const SENDERS: usize = 256;

/// Why it can't go on: an exit status and the sentence.
pub type Refused = (u8, String);

/// Watches until it is asked to end.
///
/// # Errors
/// What ends it before it begins.
pub fn main(args: &Args) -> Result<(), Refused> {
    let mut watch = Watch::open(args)?;
    watch.run();
    watch.close();
    Ok(())
}

struct Watch {
    place: Place,
    turns: Turns,
    signals: OwnedFd,
    observer: Observer,
    ring: Ring,
    recorder: RecorderLink,
    recorder_known: Option<(u32, bool)>,
    link: Link,
    bus: Option<Bus>,
    lines: Option<Lines>,
    connector: Option<Connector>,
    trace: Option<Trace>,
    groups: bool,
    units: Units,
    /// What paths of unit files begin with where they are another machine's.
    prefix: String,
    inputs: Inputs,
    left_over: BTreeMap<u64, LeftOver>,
    next_token: u64,
    /// What we call processes of the machine that were seen in control groups.
    here: BTreeMap<u32, u32>,
    clients: BTreeSet<(u32, u64)>,
    senders: BTreeMap<u32, (u64, Client)>,
    /// When clients were looked for last.
    looked_us: u64,
    running: PathBuf,
    more: bool,
    ended: bool,
}

/// A process that was left behind and whose end is waited for.
struct LeftOver {
    /// What its machine calls it.
    there: u32,
    /// What we call it.
    here: u32,
    start_ticks: u64,
    fd: OwnedFd,
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Refused + '_ {
    move |error| (exit::HOST, format!("{what}: {error}"))
}

impl Watch {
    fn open(args: &Args) -> Result<Watch, Refused> {
        hence_host::sys::heap::share();
        if !rustix::process::geteuid().is_root() {
            let text = "only root may see what a system's manager and its processes do";
            return Err((exit::HOST, text.into()));
        }
        let place = match args.machine {
            None => Place::here(),
            Some(leader) => Place::of(leader).map_err(failed("--machine"))?,
        };
        let ledger = args.ledger.ledger.clone().unwrap_or_else(default_ledger);
        let ledger = std::path::absolute(&ledger).unwrap_or(ledger);
        let bad = |e: hence_host::store::StoreError| (exit::LEDGER, e.to_string());
        let ring = Ring::open(&ledger, &RingOptions::default()).map_err(bad)?;
        let signals = signal::take_over().map_err(failed("signals"))?;
        let now = Host::now();
        let recorder = recorder_command(&ledger, Vec::new());
        let recorder = RecorderLink::start(recorder, now.monotonic_us).map_err(bad)?;
        let turns = Turns::new().map_err(failed("epoll"))?;
        let with = |source| !args.without.contains(&source);
        let tell = |name: &str, error: &dyn std::fmt::Display| println!("  no {name}: {error}");
        println!("hence {} watches; ledger {}", env!("CARGO_PKG_VERSION"), ledger.display());
        let mut lines = None;
        if with(Source::Journal) {
            lines = Lines::follow(&place).map_err(|e| tell("journal", &e)).ok();
        }
        let mut connector = None;
        if with(Source::Processes) {
            connector = Connector::open().map_err(|e| tell("process connector", &e)).ok();
        }
        let mut trace = None;
        if with(Source::Trace) {
            trace = Trace::open().map_err(|e| tell("tracepoints", &e)).ok();
        }
        let link = Link::open(&place);
        let bus = with(Source::Bus).then(|| Bus::new(place.path("/run/dbus/system_bus_socket")));
        let groups = with(Source::Cgroups) && place.groups.is_some();
        let running = ledger.join("watching");
        let sources = Sources {
            manager: link.is_open(),
            bus_calls: bus.is_some(),
            journal: lines.is_some(),
            cgroups: groups,
            processes: connector.is_some(),
            trace: trace.is_some(),
        };
        sources.limits().iter().for_each(|limit| println!("  {limit}"));
        let settings = Settings {
            first_record: ring.last_id().map_or(0, |RecordId(id)| id + 1).max(now.realtime_us),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            boot: boot_id(),
            cgroup: place.groups.as_ref().map(|g| g.display().to_string()).unwrap_or_default().into(),
            command: command(),
            after_crash: running.exists(),
            sources,
        };
        let _ = std::fs::write(&running, format!("{}\n", std::process::id()));
        let prefix = if place.depth == 0 { String::new() } else { place.root.display().to_string() };
        let units = UnitSources::of_machine(&prefix).loader();
        let mut watch = Watch {
            observer: Observer::new(settings, now),
            place,
            turns,
            signals,
            ring,
            recorder,
            recorder_known: None,
            link,
            bus,
            lines,
            connector,
            trace,
            groups,
            units,
            prefix,
            inputs: Inputs::default(),
            left_over: BTreeMap::new(),
            next_token: LEFT_OVER,
            here: BTreeMap::new(),
            clients: BTreeSet::new(),
            senders: BTreeMap::new(),
            looked_us: 0,
            running,
            more: true,
            ended: false,
        };
        watch.register().map_err(failed("epoll"))?;
        Ok(watch)
    }

    fn register(&mut self) -> std::io::Result<()> {
        self.turns.add(&self.signals, SIGNALS, false)?;
        if let Some(lines) = &self.lines {
            self.turns.add(lines.descriptor(), JOURNAL, false)?;
        }
        if let Some(connector) = &self.connector {
            self.turns.add(connector.descriptor(), PROCESSES, false)?;
        }
        if let Some(trace) = &self.trace {
            self.turns.add(trace.descriptor(), TRACE, false)?;
        }
        Ok(())
    }

    fn run(&mut self) {
        let mut said = false;
        while !self.ended {
            if std::mem::take(&mut self.more) {
                self.read_lines();
            }
            let now = Host::now();
            self.link.keep(&self.turns, MANAGER, now.monotonic_us);
            if let Some(bus) = &mut self.bus {
                bus.keep(&self.turns, (EAR, MOUTH), now.monotonic_us);
            }
            self.observer.settle(now);
            self.store();
            self.look();
            self.store();
            self.keep_recorder(now.monotonic_us);
            if !std::mem::replace(&mut said, true) {
                hence_host::machine::notify("READY=1\nSTATUS=Watching.");
            }
            let most = if self.more { Some(Duration::ZERO) } else { self.rest(now.monotonic_us) };
            match self.turns.wait(most) {
                Ok(turns) => turns.iter().for_each(|turn| self.turn(turn.token)),
                Err(error) => {
                    eprintln!("hence: {error}");
                    return;
                }
            }
        }
    }

    /// How long nothing is to be done unless something happens.
    fn rest(&self, now_us: u64) -> Option<Duration> {
        let bus = self.bus.as_ref().and_then(Bus::deadline_us);
        let due = [self.observer.deadline(), self.link.deadline_us(), self.recorder.deadline_us(), bus];
        let next = due.into_iter().flatten().min()?;
        Some(Duration::from_micros(next.saturating_sub(now_us)))
    }

    fn turn(&mut self, token: u64) {
        let now = Host::now();
        match token {
            SIGNALS => self.signalled(now),
            RECORDER => self.recorder.ready(&mut self.ring, now.monotonic_us),
            MANAGER => self.heard(now),
            JOURNAL => self.read_lines(),
            PROCESSES => self.processes(now),
            TRACE => self.traced(now),
            EAR | MOUTH => {
                if let Some(bus) = &mut self.bus {
                    let place = &self.place;
                    let found = bus.turn(now, |pid| people::client(place, place.pid_here(pid)?));
                    found.into_iter().for_each(|seen| self.observer.see(seen));
                }
            }
            _ => self.gone(now, token),
        }
    }

    fn signalled(&mut self, now: Time) {
        for received in signal::receive(self.signals.as_fd()) {
            // SIGCHLD is the recorder's.
            match received.signal {
                2 | 15 => self.ended = true,
                17 => {
                    while let Some(reaped) = signal::reap() {
                        self.recorder.exited(reaped.pid, now.monotonic_us);
                    }
                }
                _ => {}
            }
        }
    }

    /// What the manager told.
    fn heard(&mut self, now: Time) {
        self.link.receive();
        let mut looked = false;
        while let Some(mut seen) = self.link.next_seen(now) {
            match &mut seen.what {
                What::Known(portrait) => {
                    self.portrait(portrait);
                    let name = portrait.name.clone();
                    let up =
                        matches!(portrait.state.active, Some(ActiveState::Active | ActiveState::Activating));
                    let cgroup = portrait.state.cgroup.clone();
                    self.observer.see(seen);
                    self.observer.settle(now);
                    if let Some(cgroup) = cgroup.filter(|c| up && !c.is_empty()) {
                        self.members(now, &name, &cgroup);
                    }
                    continue;
                }
                What::JobNew(..) if !looked && self.may_look(now) => {
                    looked = true;
                    self.look_for_clients(now);
                }
                What::Reloading(false) => self.units.rescan(),
                What::Changed(name, change) => {
                    let (name, change) = (name.clone(), change.clone());
                    self.observer.see(seen);
                    self.after_change(now, &name, &change);
                    continue;
                }
                _ => {}
            }
            self.observer.see(seen);
        }
    }

    /// A unit as we read its files ourselves, for their lines.
    fn portrait(&mut self, portrait: &mut Portrait) {
        let Some(name) = UnitName::new(&portrait.name) else { return };
        let (mut config, mut files) = self.units.load(&name);
        if !self.prefix.is_empty() {
            let cut = |path: &Text| path.strip_prefix(&*self.prefix).map_or_else(|| path.clone(), Text::from);
            config.sources.iter_mut().for_each(|source| source.path = cut(&source.path));
            files.iter_mut().for_each(|file| file.path = cut(&file.path));
        }
        config.shrink();
        (portrait.config, portrait.files) = (Some(Arc::new(config)), files);
    }

    /// Looks at what may be gone soon: who is in the unit's group, what its start depended on.
    fn after_change(&mut self, now: Time, name: &Text, change: &Change) {
        let down = matches!(change.active, Some(ActiveState::Inactive | ActiveState::Failed));
        let waits = change.sub.as_deref().is_some_and(|sub| sub.starts_with("auto-restart"));
        let began = change.main_pid.is_some_and(|pid| pid != 0);
        let group =
            change.cgroup.clone().filter(|c| !c.is_empty()).or_else(|| self.observer.group(name).cloned());
        if let Some(cgroup) = group.filter(|_| down || waits || began) {
            self.members(now, name, &cgroup);
        }
        if began && self.place.depth == 0 {
            let command = change.command.clone().or_else(|| self.observer.command(name).map(<[_]>::to_vec));
            if let Some(argv) = command.filter(|argv| !argv.is_empty()) {
                let files = self.inputs.of_start(&argv[0], &argv, &[]);
                self.observer.see(Seen { at: now, what: What::Inputs(name.clone(), files) });
            }
        }
    }

    fn members(&mut self, now: Time, name: &Text, cgroup: &str) {
        if !self.groups {
            return;
        }
        let found = groups::members(&self.place, cgroup);
        if found.is_empty() {
            return;
        }
        if self.here.len() > WATCHED {
            self.here.clear();
        }
        self.here.extend(found.iter().map(|(here, member)| (member.process.pid, *here)));
        let members = found.into_iter().map(|(_, member)| member).collect();
        self.observer.see(Seen { at: now, what: What::Members(name.clone(), members) });
    }

    /// Whether clients are looked for again: seldom where the kernel tells what is executed, which is
    /// then only
    /// for those that were gone when it was their turn.
    fn may_look(&mut self, now: Time) -> bool {
        let rest = if self.connector.is_some() { 200_000 } else { 20_000 };
        let may = now.monotonic_us >= self.looked_us + rest;
        self.looked_us = if may { now.monotonic_us } else { self.looked_us };
        may
    }

    /// Clients that still run; for where the kernel doesn't tell what is executed.
    fn look_for_clients(&mut self, now: Time) {
        for pid in people::asking() {
            self.client(now, pid);
        }
    }

    fn client(&mut self, now: Time, pid: u32) {
        let Some(stat) = hence_host::stat(pid) else { return };
        if self.clients.contains(&(pid, stat.start_ticks)) {
            return;
        }
        let line = CommandLine::of(pid);
        let Some(client) = people::client_with(&self.place, pid, &line) else { return };
        if self.clients.len() >= CLIENTS {
            self.clients.clear();
        }
        self.clients.insert((pid, stat.start_ticks));
        if self.senders.len() >= SENDERS {
            let oldest = self.senders.iter().min_by_key(|(_, (at, _))| *at).map(|(pid, _)| *pid);
            oldest.and_then(|pid| self.senders.remove(&pid));
        }
        self.senders.insert(pid, (now.monotonic_us, client.clone()));
        if let Some((verb, mode, units)) = request::of(&line.words()) {
            let asked = Asked { verb, mode, units, client, evidence: Evidence::CommandLine };
            self.observer.see(Seen { at: now, what: What::Asked(Box::new(asked)) });
        }
    }

    fn read_lines(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        let mut seen = Vec::new();
        self.more |= lines.read(&mut seen);
        seen.into_iter().for_each(|seen| self.observer.see(seen));
    }

    fn processes(&mut self, now: Time) {
        let Some(connector) = &self.connector else { return };
        let mut found = Vec::new();
        if connector.read(&mut found).is_err() {
            self.observer.see(Seen { at: now, what: What::Lost { count: 0 } });
        }
        for did in found {
            match did {
                Did::Execute { pid } => {
                    if people::name(pid).is_some_and(|name| people::ASKING.contains(&&*name)) {
                        self.client(now, pid);
                    }
                }
                Did::End { pid, status } => {
                    if let Some(left) = self.left_over.values().find(|left| left.here == pid) {
                        let what = What::Ended { pid: left.there, exit: exit_of(status) };
                        self.observer.see(Seen { at: now, what });
                    }
                }
            }
        }
    }

    fn traced(&mut self, now: Time) {
        let Some(trace) = &mut self.trace else { return };
        let mut found = Vec::new();
        trace.read(&mut found);
        for traced in found {
            let back = |at_us: u64| {
                let lag = now.monotonic_us.saturating_sub(at_us).min(now.realtime_us);
                Time { realtime_us: now.realtime_us - lag, monotonic_us: at_us }
            };
            let seen = match traced {
                Traced::Signal { at_us, signal, to, from, name } => {
                    let Some(pid) = self.there(to).or_else(|| self.place.pid_there(to)) else { continue };
                    let sender = Box::new(self.sender(from, &name));
                    Seen { at: back(at_us), what: What::Signalled { signal, pid, sender } }
                }
                Traced::OomKill { at_us, pid } => {
                    let Some(pid) = self.there(pid).or_else(|| self.place.pid_there(pid)) else { continue };
                    Seen { at: back(at_us), what: What::OomKill { pid: Some(pid), unit: None } }
                }
                Traced::Lost { events } => Seen { at: now, what: What::Lost { count: events } },
            };
            self.observer.see(seen);
        }
    }

    /// What the machine calls a process of ours that is gone already.
    fn there(&self, here: u32) -> Option<u32> {
        self.here.iter().find(|(_, known)| **known == here).map(|(there, _)| *there)
    }

    /// Who sent a signal: what was seen of it when it was executed says more than what is left.
    fn sender(&mut self, pid: u32, name: &str) -> Client {
        if pid == 0 {
            return Client { command: "the kernel".into(), ..Client::default() };
        }
        let known = self.senders.get(&pid).map(|(_, client)| client.clone());
        let known = known.or_else(|| people::client(&self.place, pid));
        known.unwrap_or_else(|| Client { pid, command: name.into(), ..Client::default() })
    }

    fn gone(&mut self, now: Time, token: u64) {
        if let Some(left) = self.left_over.remove(&token) {
            self.turns.remove(&left.fd);
            let (pid, start_ticks) = (left.there, left.start_ticks);
            self.observer.see(Seen { at: now, what: What::Gone { pid, start_ticks, exit: None } });
        }
    }

    /// Looks at what the observer would like to know.
    fn look(&mut self) {
        while let Some(wanted) = self.observer.poll_wanted() {
            match wanted {
                Wanted::LastWords { unit, invocation, record } => {
                    let found = self.lines.as_ref().and_then(|lines| lines.last_words(&invocation));
                    if let Some((stream, text)) = found {
                        self.observer.last_words(&unit, invocation, record, stream, text);
                    }
                }
                Wanted::Watch { pid, start_ticks } => self.watch_process(pid, start_ticks),
            }
        }
    }

    fn watch_process(&mut self, pid: u32, start_ticks: u64) {
        if self.left_over.len() >= WATCHED {
            return;
        }
        let here = self.here.get(&pid).copied().unwrap_or(pid);
        let opened = hence_host::watch::open_process(here, start_ticks);
        let token = self.next_token;
        self.next_token += 1;
        match opened {
            Some(fd) if self.turns.add(&fd, token, false).is_ok() => {
                self.left_over.insert(token, LeftOver { there: pid, here, start_ticks, fd });
            }
            Some(_) => {}
            None => {
                let what = What::Gone { pid, start_ticks, exit: None };
                self.observer.see(Seen { at: Host::now(), what });
            }
        }
    }

    /// Puts the observer's records into the ring.
    fn store(&mut self) {
        let mut batch: Vec<Record> = Vec::new();
        loop {
            while batch.len() < BATCH
                && let Some(record) = self.observer.poll_record()
            {
                batch.push(record);
            }
            if batch.is_empty() {
                return;
            }
            self.ring.append(&batch);
            batch.clear();
            self.recorder.appended(&mut self.ring);
        }
    }

    fn keep_recorder(&mut self, now_us: u64) {
        if self.recorder.restart(now_us) {
            self.recorder_known = None;
        }
        let Some((pid, socket)) = self.recorder.pid().zip(self.recorder.socket()) else { return };
        let wanted = (pid, self.recorder.wants_write());
        if self.recorder_known != Some(wanted) && self.turns.add(socket, RECORDER, wanted.1).is_ok() {
            self.recorder_known = Some(wanted);
        }
    }

    fn close(mut self) {
        hence_host::machine::notify("STOPPING=1\nSTATUS=Ending.");
        self.read_lines();
        self.observer.finish(Host::now(), 0);
        self.look();
        self.store();
        let _ = std::fs::remove_file(&self.running);
    }
}

/// As wait(2) has it.
fn exit_of(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit { kind: ExitKind::Exited, status: (status >> 8) & 0xff },
        signal if status & 0x80 != 0 => Exit { kind: ExitKind::Dumped, status: signal },
        signal => Exit { kind: ExitKind::Killed, status: signal },
    }
}
