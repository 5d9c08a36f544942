//! `hence watch`: joins the sources, the observer and the ledger. It decides nothing, and asks the manager
//! that it watches for nothing but what it is to know.

mod bus;
pub mod install;
mod link;
mod mark;
mod request;

use crate::alerts::{Outside, Vigil, ledger_bytes};
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
use hence_ledger::{ActiveState, Client, Exit, ExitKind, Invocation, Record, RecordId, Text};
use hence_unit::UnitName;
use link::Link;
use mark::Mark;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
const MANAGER_CAME: u64 = 8;
const BUS_CAME: u64 = 9;
const VIGIL: u64 = 10;
/// First token of processes that were left behind.
const LEFT_OVER: u64 = 1 << 32;
/// How long it is not looked again for clients that the kernel doesn't tell, in microseconds.
const LOOK_US: u64 = 20_000;
/// How old a process has to be that is in the group of a unit that was found down, in microseconds.
const YOUNG_US: u64 = 1_000_000;
/// As exactly it is known when a process began, in microseconds.
const TICK_US: u64 = 10_000;
/// Records that are written at once.
const BATCH: usize = 64;
/// Processes that were left behind whose end is waited for.
const WATCHED: usize = 16_384;
/// Clients that were looked at already.
const CLIENTS: usize = 1024;
/// The journal is read back no further than this, in microseconds.
const READ_BACK_US: u64 = 86_400_000_000;
/// When all there is has been told, the mark is written this much later.
const MARK_US: u64 = 1_500_000;
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
    sources: Sources,
    units: Units,
    /// What paths of unit files begin with where they are another machine's.
    prefix: String,
    inputs: Inputs,
    left_over: BTreeMap<u64, LeftOver>,
    /// What we call them; while an end is waited for the number can't be another's.
    held: BTreeSet<u32>,
    next_token: u64,
    /// What we call processes of the machine that were seen in control groups.
    here: BTreeMap<u32, u32>,
    clients: BTreeSet<(u32, u64)>,
    senders: BTreeMap<u32, (u64, Client)>,
    /// When clients were looked for last.
    looked_us: u64,
    mark: Mark,
    boot: Invocation,
    /// The first record that is not made yet.
    next_record: u64,
    /// The journal was read up to the present.
    read_back: bool,
    vigil: Vigil,
    /// What units did last that their groups were looked at for.
    looked_at: BTreeMap<Text, Step>,
    /// Clients may run that were not told.
    untold: bool,
    /// Groups that are looked at again, and when: who was in them may have been of a start that just began.
    young: VecDeque<(u64, Text, Text)>,
    /// The kernel is to be told again which ends matter.
    stale: bool,
    more: bool,
    ended: bool,
}

/// What a unit did, as far as its group is looked at for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is down, for good or until it is started again, after a run that began then.
    Down(Option<u64>),
    /// It has this main process.
    Began(u32),
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
        let (boot, began) = (boot_id(), Host::now());
        let (mark, found) = Mark::open(&ledger, boot, began);
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
            let oldest = now.realtime_us.saturating_sub(READ_BACK_US);
            let until = found.before.as_ref().filter(|before| !before.units.is_empty());
            let since_us = until.map_or(now.realtime_us, |b| b.until.realtime_us.saturating_sub(100_000));
            lines = Lines::follow(&place, since_us.max(oldest)).map_err(|e| tell("journal", &e)).ok();
        }
        let mut connector = None;
        if with(Source::Processes) {
            connector = Connector::open().map_err(|e| tell("process connector", &e)).ok();
        }
        let mut trace = None;
        if with(Source::Trace) {
            trace = Trace::open().map_err(|e| tell("tracepoints", &e)).ok();
        }
        let socket = with(Source::Bus).then(|| place.path("/run/dbus/system_bus_socket"));
        let link = Link::open(&place, socket.clone().filter(|_| args.on_bus), MANAGER_CAME);
        let bus = socket.map(|socket| Bus::new(socket, BUS_CAME));
        let groups = with(Source::Cgroups) && place.groups.is_some();
        let refused = |what: String| (exit::USAGE, what);
        let allowed = args.alerts.allow_list().map_err(refused)?;
        let journal = Some(PathBuf::from("/run/systemd/journal/socket"));
        let mut vigil = Vigil::open(&args.alerts, allowed.clone(), journal, false, now).map_err(refused)?;
        let sources = Sources {
            manager: link.is_open(),
            bus_calls: bus.is_some(),
            journal: lines.is_some(),
            cgroups: groups,
            processes: connector.is_some(),
            trace: trace.is_some(),
        };
        println!("  {}", sources.line());
        sources.limits().iter().for_each(|limit| println!("  {limit}"));
        let settings = Settings {
            first_record: ring.last_id().map_or(0, |RecordId(id)| id + 1).max(now.realtime_us),
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            boot,
            cgroup: place.groups.as_ref().map(|g| g.display().to_string()).unwrap_or_default().into(),
            command: command(),
            after_crash: found.crashed,
            sources,
        };
        let next_record = settings.first_record;
        let mut observer = Observer::new(settings, now);
        // Alerts and metrics go by what is there, whoever found it.
        for last in found.before.iter().flat_map(|before| &before.units) {
            for &(pid, start_ticks) in &last.left_over {
                let process = place.pid_here(pid).and_then(hence_host::describe);
                if let Some(process) = process.filter(|process| process.start_ticks == start_ticks) {
                    vigil.left_before(&last.name, now, &hence_ledger::LeftOver { pid, ..process }, false);
                }
            }
        }
        found.before.into_iter().for_each(|before| observer.goes_on(now, before));
        let prefix = if place.depth == 0 { String::new() } else { place.root.display().to_string() };
        let units = UnitSources::of_machine(&prefix).loader();
        let mut watch = Watch {
            observer,
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
            sources,
            units,
            prefix,
            inputs: Inputs::default(),
            left_over: BTreeMap::new(),
            held: BTreeSet::new(),
            next_token: LEFT_OVER,
            here: BTreeMap::new(),
            clients: BTreeSet::new(),
            senders: BTreeMap::new(),
            looked_us: 0,
            mark,
            boot,
            next_record,
            read_back: false,
            vigil,
            looked_at: BTreeMap::new(),
            untold: true,
            young: VecDeque::new(),
            stale: true,
            more: true,
            ended: false,
        };
        watch.observer.allow_left_behind(allowed);
        watch.register().map_err(failed("epoll"))?;
        Ok(watch)
    }

    fn register(&mut self) -> std::io::Result<()> {
        self.turns.add(&self.signals, SIGNALS, false)?;
        self.turns.add(self.vigil.descriptor(), VIGIL, false)?;
        if let Some(lines) = &self.lines {
            self.turns.add(lines.descriptor(), JOURNAL, false)?;
        }
        if let Some(connector) = &self.connector {
            self.turns.add_urgent(connector.descriptor(), PROCESSES)?;
        }
        if let Some(trace) = &self.trace {
            self.turns.add_urgent(trace.descriptor(), TRACE)?;
        }
        Ok(())
    }

    fn run(&mut self) {
        let mut said = false;
        while !self.ended {
            if std::mem::take(&mut self.more) {
                self.read_lines();
            }
            if !self.more && !std::mem::replace(&mut self.read_back, true) {
                self.observer.journal_was_read();
            }
            let now = Host::now();
            self.link.keep(&self.turns, MANAGER, now.monotonic_us);
            if let Some(bus) = &mut self.bus {
                bus.keep(&self.turns, (EAR, MOUTH), now.monotonic_us);
            }
            while self.young.front().is_some_and(|(at, ..)| *at <= now.monotonic_us) {
                let Some((_, name, cgroup)) = self.young.pop_front() else { break };
                self.members(now, &name, &cgroup, 0);
            }
            self.observer.settle(now);
            self.store();
            self.look();
            self.store();
            self.keep_mark(now, false);
            let observer = &self.observer;
            self.vigil.keep(now, |unit| observer.start_limit(unit));
            self.keep_recorder(now.monotonic_us);
            self.narrow();
            if !std::mem::replace(&mut said, true) {
                hence_host::machine::notify(&format!("READY=1\nSTATUS=Watching; {}.", self.sources.line()));
            }
            let most = if self.more { Some(Duration::ZERO) } else { self.rest(now.monotonic_us) };
            match self.turns.wait(most) {
                Ok(mut turns) => {
                    // Processes that were executed may be gone soon.
                    turns.sort_by_key(|turn| !matches!(turn.token, TRACE | PROCESSES));
                    turns.iter().for_each(|turn| self.turn(turn.token));
                }
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
        let (link, mark) = (self.link.deadline_us(), self.mark.deadline_us());
        let recorder = self.recorder.deadline_us();
        let young = self.young.front().map(|(at, ..)| *at);
        let due = [self.observer.deadline(), link, recorder, bus, mark, young, self.vigil.deadline_us()];
        let next = due.into_iter().flatten().min()?;
        Some(Duration::from_micros(next.saturating_sub(now_us)))
    }

    fn turn(&mut self, token: u64) {
        let now = Host::now();
        match token {
            SIGNALS => self.signalled(now),
            VIGIL => self.asked_for_metrics(now),
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
            MANAGER_CAME => self.link.may_be_there(),
            BUS_CAME => self.bus.iter_mut().for_each(Bus::may_be_there),
            _ => self.gone(now, token),
        }
    }

    fn asked_for_metrics(&mut self, now: Time) {
        let sources = [
            ("manager", self.link.is_open()),
            ("bus", self.bus.is_some()),
            ("journal", self.lines.is_some()),
            ("cgroups", self.groups),
            ("processes", self.connector.is_some()),
            ("trace", self.trace.is_some()),
        ];
        let (ring, mark) = (&self.ring, &self.mark);
        let outside = || Outside {
            dropped: ring.lost(),
            ledger_bytes: mark.ledger().map_or(0, ledger_bytes),
            sources: sources.to_vec(),
        };
        self.vigil.ready(now, outside);
    }

    /// Reads anew which left-over processes are intended.
    fn allow_again(&mut self, now: Time) {
        if let Some(list) = self.vigil.allow_again(now) {
            self.observer.allow_left_behind(list);
        }
    }

    fn signalled(&mut self, now: Time) {
        let received: Vec<_> = signal::receive(self.signals.as_fd()).collect();
        for received in received {
            // SIGCHLD is the recorder's.
            match received.signal {
                2 | 15 => self.ended = true,
                1 => self.allow_again(now),
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
        self.link.receive(now.monotonic_us);
        let mut looked = false;
        while let Some(mut seen) = self.link.next_seen(now) {
            match &mut seen.what {
                What::Known(portrait) => {
                    self.portrait(portrait);
                    let name = portrait.name.clone();
                    self.bus_service(&name, portrait.state.active);
                    let up =
                        matches!(portrait.state.active, Some(ActiveState::Active | ActiveState::Activating));
                    let cgroup = portrait.state.cgroup.clone();
                    self.observer.see(seen);
                    self.observer.settle(now);
                    // Who is in the group of a unit that is down was left there, but for those of a start
                    // that begins just now.
                    let aged_us = if up { 0 } else { YOUNG_US };
                    if let Some(cgroup) = cgroup.filter(|c| !c.is_empty()) {
                        self.members(now, &name, &cgroup, aged_us);
                    }
                    continue;
                }
                What::JobNew(..) if !looked && self.may_look(now) => {
                    looked = true;
                    self.look_for_clients(now);
                }
                What::Attached => self.mark.at(now.monotonic_us + MARK_US),
                What::Reloading(false) => {
                    self.units.rescan();
                    self.allow_again(now);
                }
                What::Changed(name, change) => {
                    let (name, change) = (name.clone(), change.clone());
                    self.bus_service(&name, change.active);
                    self.observer.see(seen);
                    self.after_change(now, &name, &change);
                    continue;
                }
                _ => {}
            }
            self.observer.see(seen);
        }
    }

    /// Whether the bus is up: its service says so before it can be heard.
    fn bus_service(&mut self, name: &str, active: Option<ActiveState>) {
        let up = active.map(|active| matches!(active, ActiveState::Active | ActiveState::Reloading));
        if let Some((bus, up)) = self.bus.as_mut().zip(up) {
            bus.told(name, up);
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
        let step = match change.main_pid {
            _ if down || waits => Step::Down(change.main_began_us.filter(|us| *us != 0).or(change.began_us)),
            None | Some(0) => return,
            Some(pid) => Step::Began(pid),
        };
        if self.looked_at.len() >= WATCHED {
            self.looked_at.clear();
        }
        let before = self.looked_at.insert(name.clone(), step);
        // All that is known of a unit is told again with whatever becomes of it.
        if before == Some(step) {
            return;
        }
        let began = matches!(step, Step::Began(_));
        // Whoever is there when it begins was there when it went down, if that was looked at.
        let fresh = !matches!(before, Some(Step::Down(..)));
        let group =
            change.cgroup.clone().filter(|c| !c.is_empty()).or_else(|| self.observer.group(name).cloned());
        if let Some(cgroup) = group.filter(|_| !began || fresh) {
            // Who came after it went down belongs to its next start, which may have begun by now.
            let since_us =
                change.state_at_us.filter(|_| !began).map(|at| now.monotonic_us.saturating_sub(at));
            self.members(now, name, &cgroup, since_us.map_or(0, |us| us.min(YOUNG_US) + TICK_US));
        }
        if began && self.place.depth == 0 {
            let command = change.command.clone().or_else(|| self.observer.command(name).map(<[_]>::to_vec));
            if let Some(argv) = command.filter(|argv| !argv.is_empty()) {
                let files = self.inputs.of_start(&argv[0], &argv, &[]);
                self.observer.see(Seen { at: now, what: What::Inputs(name.clone(), files) });
            }
        }
    }

    /// Looks at who is in a unit's group for at least that long.
    fn members(&mut self, now: Time, name: &Text, cgroup: &Text, aged_us: u64) {
        // Those of a slice are other units' processes, and init.scope is the manager.
        if !self.groups || name.ends_with(".slice") || &**name == "init.scope" {
            return;
        }
        let until_us = if aged_us == 0 { u64::MAX } else { now.monotonic_us.saturating_sub(aged_us) };
        let (found, young) = groups::members(&self.place, cgroup, &self.held, until_us);
        if young > 0 && self.young.len() < WATCHED {
            self.young.push_back((now.monotonic_us + aged_us, name.clone(), cgroup.clone()));
        }
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

    /// Whether clients are looked for again: where the kernel tells what is executed, only once after it may
    /// have told less.
    fn may_look(&mut self, now: Time) -> bool {
        if self.connector.is_some() || self.trace_tells() {
            return std::mem::take(&mut self.untold);
        }
        let may = now.monotonic_us >= self.looked_us + LOOK_US;
        self.looked_us = if may { now.monotonic_us } else { self.looked_us };
        may
    }

    fn trace_tells(&self) -> bool {
        self.trace.as_ref().is_some_and(Trace::tells_executions)
    }

    /// Tells the kernel which processes' ends matter, and whether executions do that are told elsewhere.
    fn narrow(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        if let Some(connector) = &self.connector {
            let ends_of: Vec<u32> = self.left_over.values().map(|left| left.here).collect();
            connector.narrow(!self.trace_tells(), &ends_of);
        }
    }

    /// Clients that still run; for where the kernel doesn't tell what is executed.
    fn look_for_clients(&mut self, now: Time) {
        for pid in people::asking() {
            self.client(now, pid, None);
        }
    }

    /// A client that was executed just now, or is there; `program` is what it executed, where that was told.
    fn client(&mut self, now: Time, pid: u32, program: Option<&str>) {
        let Some(stat) = hence_host::stat(pid) else {
            if let Some(program) = program {
                let what = What::Passed { pid, program: program.into() };
                self.observer.see(Seen { at: now, what });
            }
            return;
        };
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
            self.untold = true;
            self.observer.see(Seen { at: now, what: What::Lost { count: 0 } });
        }
        for did in found {
            match did {
                Did::Execute { pid } => {
                    if people::asks(pid) {
                        self.client(now, pid, None);
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
                Traced::Executed { at_us, pid, program } => {
                    self.client(back(at_us), pid, Some(&program));
                    continue;
                }
                Traced::Lost { events } => {
                    self.untold = true;
                    Seen { at: now, what: What::Lost { count: events } }
                }
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
            self.stale = true;
            self.held.remove(&left.here);
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
        let here = self.here.get(&pid).copied().or_else(|| self.place.pid_here(pid)).unwrap_or(0);
        let opened = hence_host::watch::open_process(here, start_ticks);
        let token = self.next_token;
        self.next_token += 1;
        match opened {
            Some(fd) if self.turns.add(&fd, token, false).is_ok() => {
                self.stale = true;
                self.held.insert(here);
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
            self.next_record = batch.last().map_or(self.next_record, |record| record.id.0 + 1);
            self.mark.count(batch.len());
            batch.iter().for_each(|record| self.vigil.record(record));
            batch.clear();
            self.recorder.appended(&mut self.ring);
        }
    }

    /// Leaves word for the next run, where that is due, and at the end.
    fn keep_mark(&mut self, now: Time, ends: bool) {
        if ends || self.mark.deadline_us().is_some_and(|at| at <= now.monotonic_us) {
            let units = self.observer.last_known();
            if let Err(error) = self.mark.write(self.boot, self.next_record, units, ends.then_some(now)) {
                eprintln!("hence: what is known of units can't be kept for the next run: {error}");
            }
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
        self.keep_mark(Host::now(), true);
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
