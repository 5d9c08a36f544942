//! A seeded world with a clock of its own, in which units' processes are modelled: what the engine does
//! is seen without a kernel, in virtual time, and the same seed gives the same records.
//!
//! A [`World`] answers every [`Effect`] as the host does and lets modelled processes run, fork, speak, obey
//! signals and end as their scripts say ([`behaviour`]). After each step [`check`] looks for what must
//! never be. [`scenario`] is the text form: units, scripts, steps, expected trace.
//! It doesn't model memory, files beside PIDFile=, users, or time that processes take to be started.

pub mod behaviour;
pub mod caps;
pub mod chance;
pub mod check;
pub mod faults;
pub mod files;
mod host;
mod processes;
pub mod scenario;
pub mod trace;

use crate::carry::{Carried, Writer};
use crate::deadline::DeadlineFor;
use crate::{
    Checked, ConnectionId, Effect, Engine, Event, LiveRequest, Request, RequestKind, Settings, State, Time,
    UnitId,
};
use alloc::{
    borrow::ToOwned,
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use behaviour::Script;
use caps::Caps;
use chance::Chance;
use check::Check;
use faults::{Fault, Faults};
use files::Memory;
use hence_ledger::{Client, Exit, Fact, Record, Verb, record::Invocation};
use hence_unit::{
    Config, JobMode, UnitKind, UnitName, config::Environs, config::ExecPhase, unit_path::UnitPath,
};
use processes::Modelled;

/// When a world begins, in microseconds of its monotonic clock.
pub const BEGIN_US: u64 = 1_000_000;

/// The wall clock when the monotonic clock is at 0.
pub(crate) const EPOCH_US: u64 = 1_700_000_000_000_000;

/// Most answers and effects that one event may lead to at once.
const TURNS_MAX: u32 = 20_000;

/// What somebody outside does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Asks for a job.
    Job(Verb, UnitName, JobMode),
    /// Signals a unit's processes: unit, whom (`main`, `control`, `all`), signal.
    Kill(UnitName, Whom, u8),
    /// Signals modelled processes behind hence's back, as kill(1) does.
    Strike(UnitName, Whom, u8),
    /// Asks to forget failures.
    ResetFailed(Option<UnitName>),
    /// Cancels the job of a unit, or every job.
    Cancel(Option<UnitName>),
    /// Connects to a socket unit.
    Traffic(UnitName),
    /// Makes what a path unit waits for happen.
    Touch(UnitName),
    /// From now on the conditions of a unit hold, or the first of them doesn't.
    Conditions(UnitName, bool),
    /// From now on its sockets can be opened, or can't.
    Sockets(UnitName, bool),
    /// The node of a device comes or goes.
    Device(UnitName, bool),
    /// The wall clock is set.
    ClockJump,
    /// The time zone becomes another one.
    TimeZone,
    /// The kernel kills the main process of a unit for lack of memory.
    Oom(UnitName),
    /// The system refuses the next so many of what the unit needs.
    Fault(UnitName, Fault, u32),
    /// Asks to suspend the unit's processes, or to let them go on.
    Freeze(UnitName, bool),
    /// Asks to remove the unit's folders.
    Clean(UnitName),
    /// The unit's files are read again.
    Reload(UnitName),
    /// A line is added to the unit's files, in a section: (unit, section, line).
    Edit(UnitName, String, String),
    /// The unit's file is removed.
    Remove(UnitName),
    /// All unit files are read again.
    DaemonReload,
    /// The program is executed anew.
    DaemonReexec,
    /// Ends hence.
    Exit(u8),
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemctl's words")]
pub enum Whom {
    Main,
    Control,
    All,
}

/// Where a world's units come from, where that isn't a list of texts.
pub trait Source: core::fmt::Debug {
    /// The unit as its files say it.
    fn read(&self, name: &UnitName) -> Config;

    /// What successive starts of the commands of a phase do; `None`: what is usual for the phase.
    fn script(&self, config: &Config, phase: ExecPhase) -> Option<Script>;
}

/// The processes of a unit, by their pids.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Those that no record says to be left behind.
    fresh: BTreeSet<u32>,
    left_over: BTreeSet<u32>,
}

/// What is going to happen.
#[derive(Clone, Debug)]
enum Happening {
    /// A process ends.
    End(u32, Exit),
    /// hence hears of it.
    Reaped {
        unit: UnitId,
        pid: u32,
        start_ticks: u64,
        exit: Option<Exit>,
        spawn_error: bool,
    },
    /// A group may have run empty.
    Empty(UnitId),
    /// It is looked at from now on whether a group has run empty.
    Report(UnitId),
    /// Who is in a group can be seen again.
    Recount(UnitId),
    Say(u32, String),
    Ping {
        pid: u32,
        every: u64,
        until: u64,
    },
    WritePid(u32),
    /// A socket that has traffic is looked at.
    Readable(UnitId),
    Act(Act),
}

/// Units, their modelled processes, and the engine.
#[derive(Clone, Debug)]
pub struct World {
    /// The engine.
    pub engine: Engine,
    /// Now, in microseconds of the monotonic clock.
    pub now_us: u64,
    /// Every record so far.
    pub records: Vec<Record>,
    /// Every effect so far that isn't a question to the host, in words: `start a.service main`.
    pub effects: Vec<(u64, String)>,
    /// The answers to requests, by token, which count from 1.
    pub replies: BTreeMap<u64, Result<Option<crate::JobId>, crate::Refusal>>,
    /// hence has ended, with this status.
    pub finished: Option<u8>,
    /// What must never be and was, with the time.
    pub violations: Vec<String>,
    check: Check,
    /// Whether each step is checked, and its effects are kept. It costs more than the step.
    checked: bool,
    /// Deadlines are looked at in such slots only; systemd's are a quarter of a second, see
    /// sd_event_add_time(3).
    pub slot_us: Option<u64>,
    /// What may be had of processes.
    pub caps: Caps,
    source: Option<Rc<dyn Source>>,
    files: Memory,
    path: UnitPath,
    environs: Environs,
    scripts: BTreeMap<(String, String), Script>,
    starts: BTreeMap<(String, String), usize>,
    processes: BTreeMap<u32, Modelled>,
    groups: BTreeMap<UnitId, Group>,
    next_pid: u32,
    queue: BTreeMap<(u64, u64), Happening>,
    number: u64,
    /// How much happened at this moment.
    at_once: u32,
    chance: Chance,
    /// Whether delays vary and answers come in bundles.
    unsteady: bool,
    tokens: u64,
    spawn_errors: BTreeMap<u32, (hence_ledger::SpawnStep, i32)>,
    reports: BTreeSet<UnitId>,
    watched: BTreeSet<UnitId>,
    waiting_traffic: BTreeMap<UnitId, u32>,
    connections: u32,
    pid_files: BTreeMap<UnitId, u32>,
    /// The names of descriptors in keeping.
    kept: BTreeMap<UnitId, Vec<hence_ledger::Text>>,
    pid_files_awaited: BTreeSet<UnitId>,
    paths_watched: BTreeSet<UnitId>,
    devices: BTreeSet<UnitName>,
    conditions_fail: BTreeSet<UnitName>,
    sockets_fail: BTreeSet<UnitName>,
    /// errno of an automount point whose sockets fail: something is mounted there.
    pub automount_errno: i32,
    faults: Faults,
}

impl World {
    /// A world of these units, (name, text of the file), and scripts, (unit, directive, script); the
    /// directive is that of the command, `ExecStart` for the main process. Seed 0 is a world without
    /// chance: each signal takes 1 ms, everything else no time.
    pub fn new(seed: u64, units: &[(String, String)], scripts: &[(String, String, Script)]) -> World {
        let files = Memory::new(units);
        let path = UnitPath::scan(&files, &[files::FOLDER.to_owned()]);
        let mut invocations = [0; 16];
        invocations[..8].copy_from_slice(&seed.to_be_bytes());
        let settings =
            Settings { first_record: 1, seed: invocations, boot_us: BEGIN_US, ..Settings::default() };
        let mut world = World {
            engine: Engine::new(settings),
            now_us: BEGIN_US,
            records: Vec::new(),
            effects: Vec::new(),
            replies: BTreeMap::new(),
            finished: None,
            violations: Vec::new(),
            check: Check::default(),
            checked: true,
            slot_us: None,
            caps: Caps::default(),
            source: None,
            files,
            path,
            environs: Environs { user: true, ..Environs::default() },
            scripts: scripts.iter().map(|(u, d, s)| ((u.clone(), d.clone()), s.clone())).collect(),
            starts: BTreeMap::new(),
            processes: BTreeMap::new(),
            groups: BTreeMap::new(),
            next_pid: 100,
            queue: BTreeMap::new(),
            number: 0,
            at_once: 0,
            chance: Chance::new(seed),
            unsteady: seed != 0,
            tokens: 0,
            spawn_errors: BTreeMap::new(),
            reports: BTreeSet::new(),
            watched: BTreeSet::new(),
            waiting_traffic: BTreeMap::new(),
            connections: 0,
            pid_files: BTreeMap::new(),
            kept: BTreeMap::new(),
            pid_files_awaited: BTreeSet::new(),
            paths_watched: BTreeSet::new(),
            devices: BTreeSet::new(),
            conditions_fail: BTreeSet::new(),
            sockets_fail: BTreeSet::new(),
            automount_errno: 17,
            faults: Faults::default(),
        };
        let started = Fact::Started {
            version: "0".into(),
            pid: 1,
            boot: Invocation::default(),
            tracking: hence_ledger::Tracking::Cgroup,
            cgroup: "".into(),
            command: "".into(),
            after_crash: false,
        };
        let now = world.time();
        world.engine.note(now, Vec::new(), started);
        let names: Vec<UnitName> = units.iter().filter_map(|(name, _)| UnitName::new(name)).collect();
        for name in names.into_iter().filter(|n| !n.is_template()) {
            world.handle(Event::Referenced(name));
        }
        world
    }

    /// A world without chance whose units are read from `source` when they are first needed. Its steps
    /// aren't checked, and its effects aren't kept: who drives it takes [`World::records`] as they come.
    pub fn of(source: Rc<dyn Source>) -> World {
        let mut world = World::new(0, &[], &[]);
        (world.checked, world.source) = (false, Some(source));
        world
    }

    /// These devices, mounts and swaps are there, and have been.
    pub fn place(&mut self, present: &[UnitName]) {
        let of = |kind: UnitKind| present.iter().filter(move |n| n.kind() == kind).cloned();
        self.devices.extend(of(UnitKind::Device));
        self.handle(Event::Mounts(of(UnitKind::Mount).collect()));
        self.handle(Event::Swaps { on: of(UnitKind::Swap).collect(), aliases: Vec::new() });
    }

    /// Now, on both clocks.
    pub fn time(&self) -> Time {
        Time { realtime_us: EPOCH_US + self.now_us, monotonic_us: self.now_us }
    }

    /// Has something happen at a later time, in microseconds of the monotonic clock.
    pub fn schedule(&mut self, at_us: u64, act: Act) {
        self.happen(at_us, Happening::Act(act));
    }

    /// A request for a job in mode replace, now. Returns the answer.
    pub fn request(&mut self, verb: Verb, unit: &str) -> Result<Option<crate::JobId>, crate::Refusal> {
        let Some(name) = UnitName::new(unit) else {
            return Err(crate::Refusal::NoSuchUnit(format!("{unit:?} is no unit's name.").into()));
        };
        self.act(Act::Job(verb, name, JobMode::Replace));
        self.replies.get(&self.tokens).cloned().unwrap_or(Ok(None))
    }

    /// Lets the next thing happen. Returns whether there was one.
    pub fn step(&mut self) -> bool {
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.deadline();
        match (next, deadline) {
            (None, None) => false,
            (next, Some(at)) if next.is_none_or(|n| at <= n) => {
                let late = if self.unsteady { self.chance.below(500) } else { 0 };
                let late = late.min(next.map_or(late, |n| n - at.min(n)));
                self.advance(at + late);
                self.handle(Event::Deadline);
                true
            }
            _ => {
                let Some(((at, _), happening)) = self.queue.pop_first() else { return false };
                self.advance(at);
                self.occur(happening);
                true
            }
        }
    }

    /// It is this time now. What goes around without taking any time takes a millisecond after a while:
    /// no real process starts and ends in none.
    fn advance(&mut self, to_us: u64) {
        const AT_ONCE: u32 = 500;
        if to_us > self.now_us {
            (self.now_us, self.at_once) = (to_us, 0);
            return;
        }
        self.at_once += 1;
        if self.at_once > AT_ONCE && !self.checked {
            (self.now_us, self.at_once) = (self.now_us + 1_000, 0);
        }
    }

    fn deadline(&self) -> Option<u64> {
        match self.slot_us {
            None => self.engine.deadline(),
            Some(slot_us) => self.deadline_in_slots(slot_us),
        }
    }

    /// Each deadline is put off to the end of its slot, but for those of timer units.
    fn deadline_in_slots(&self, slot_us: u64) -> Option<u64> {
        let of_timer = |what| match what {
            DeadlineFor::State(unit) => matches!(self.engine.unit(unit).state, State::Timer(_)),
            DeadlineFor::Watchdog(_) | DeadlineFor::Job(_) | DeadlineFor::RunningJob(_) => false,
        };
        let end = |at_us: u64| (at_us / slot_us.max(1) + 1).saturating_mul(slot_us.max(1));
        let all = self.engine.deadlines.all();
        all.map(|(armed, what, _)| if of_timer(what) { armed.at_us() } else { end(armed.at_us()) }).min()
    }

    /// When the next thing happens.
    pub fn next_us(&self) -> Option<u64> {
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        next.into_iter().chain(self.deadline()).min()
    }

    /// Lets everything happen up to a time; then it is that time.
    pub fn run_until(&mut self, at_us: u64) {
        while self.violations.is_empty() && self.next_us().is_some_and(|next| next <= at_us) {
            self.step();
        }
        self.now_us = self.now_us.max(at_us);
    }

    /// Looks for what can never end by itself, if nothing more will happen.
    pub fn check_rest(&mut self) {
        if self.queue.is_empty() && self.engine.deadline().is_none() {
            let found = check::stuck(self);
            self.violations.extend(found);
        }
    }

    /// After [`Act::Exit`]: lets everything end, and looks whether it does in order.
    pub fn check_end(&mut self) {
        for _ in 0..100_000 {
            if !self.violations.is_empty() || self.finished.is_some() || !self.step() {
                break;
            }
        }
        let found = check::after_end(self);
        self.violations.extend(found);
    }

    fn happen(&mut self, at_us: u64, happening: Happening) {
        self.number += 1;
        self.queue.insert((at_us.max(self.now_us), self.number), happening);
    }

    /// Some time that things take: `usual` where there is no chance, else around it.
    fn lag(&mut self, usual: u64) -> u64 {
        if self.unsteady { self.chance.below(usual * 2 + 2_000) } else { usual }
    }

    /// Gives the engine an event and does everything that it wants then. Units that nobody needs are gone
    /// afterwards.
    fn handle(&mut self, event: Event) {
        let now = self.time();
        self.engine.handle(now, event);
        self.settle();
        self.engine.collect(now);
        self.settle();
        if self.checked {
            let found = check::settled(self);
            self.violations.extend(found);
        }
    }

    fn settle(&mut self) {
        let now = self.time();
        let mut answers = VecDeque::new();
        let bundled = self.unsteady && self.chance.percent(50);
        for turn in 0.. {
            if turn > TURNS_MAX {
                let last: Vec<String> =
                    self.records[self.records.len().saturating_sub(40)..].iter().map(trace::line).collect();
                let text = format!("{}: it never comes to rest:\n{}", self.now_us, last.join("\n"));
                self.violations.push(text);
                return;
            }
            self.take_records();
            if let Some(effect) = self.engine.poll_effect() {
                if self.checked {
                    self.check.effect(&effect, &self.engine, &mut self.violations);
                    self.note_effect(&effect);
                }
                let refused = self.refuse(&effect);
                let before = answers.len();
                match refused {
                    Some(refused) => answers.extend(refused),
                    None => answers.extend(self.perform(effect)),
                }
                let asked = answers.len() > before;
                if bundled || !asked {
                    continue;
                }
            }
            match answers.pop_front() {
                Some(answer) => self.engine.handle(now, answer),
                None if self.engine.go_on(now) => {}
                None => break,
            }
        }
    }

    fn take_records(&mut self) {
        while let Some(record) = self.engine.poll_record() {
            if self.checked {
                self.check.record(&record, &self.engine, &mut self.violations);
            }
            self.set_apart(&record);
            self.records.push(record);
        }
    }

    fn occur(&mut self, happening: Happening) {
        match happening {
            Happening::End(pid, exit) => self.end_process(pid, exit),
            Happening::Reaped { unit, pid, start_ticks, exit, spawn_error } => {
                if self.engine.unit_of_process(pid).is_some() {
                    let spawn_error = if spawn_error { self.spawn_errors.remove(&pid) } else { None };
                    self.handle(Event::Exited { pid, exit, cpu_us: 0, peak_bytes: 0, spawn_error });
                } else {
                    self.handle(Event::Gone { unit, pid, start_ticks, exit });
                }
            }
            Happening::Empty(unit) => {
                if self.reports.contains(&unit) && self.is_group_empty(unit) {
                    self.reports.remove(&unit);
                    self.handle(Event::Emptied(unit));
                }
            }
            Happening::Report(unit) => {
                self.reports.insert(unit);
                self.happen(self.now_us, Happening::Empty(unit));
            }
            Happening::Recount(unit) => {
                let known = self.engine.units().any(|u| u.id == unit);
                if let Some(event) = known.then(|| self.count(unit, &[])) {
                    self.handle(event);
                }
            }
            Happening::Say(pid, text) => self.say(pid, &text),
            Happening::Ping { pid, every, until } => {
                if self.processes.contains_key(&pid) && self.now_us <= until {
                    self.say(pid, "WATCHDOG=1");
                    self.happen(self.now_us + every, Happening::Ping { pid, every, until });
                }
            }
            Happening::WritePid(pid) => self.write_pid(pid),
            Happening::Readable(unit) => self.readable(unit),
            Happening::Act(act) => self.act(act),
        }
    }

    /// Somebody outside does something, now.
    pub fn act(&mut self, act: Act) {
        let request = |world: &mut World, verb: Verb, kind: RequestKind| {
            world.tokens += 1;
            let unit = match &kind {
                RequestKind::Job { unit, .. } | RequestKind::Kill { unit, .. } => Some(unit),
                RequestKind::ResetFailed(unit) => unit.as_ref(),
                RequestKind::Live(live) => live.unit(),
                _ => None,
            };
            // As the front does: files are read before the request is looked at.
            if let Some(unit) = unit.filter(|unit| world.engine.find(unit).is_none()) {
                world.engine.handle(world.time(), Event::Referenced(unit.clone()));
                world.settle();
            }
            let client = Client { pid: 1000, uid: 0, command: "client".into(), ..Client::default() };
            world.handle(Event::Request(Request { token: world.tokens, client, verb, kind }));
        };
        match act {
            Act::Job(verb, unit, mode) => request(self, verb, RequestKind::Job { unit, mode }),
            Act::Kill(unit, whom, signal) => {
                let (main, control, others) = match whom {
                    Whom::Main => (true, false, false),
                    Whom::Control => (false, true, false),
                    Whom::All => (true, true, true),
                };
                request(self, Verb::Kill, RequestKind::Kill { unit, main, control, others, signal });
            }
            Act::Strike(unit, whom, signal) => self.strike(&unit, whom, signal),
            Act::ResetFailed(unit) => request(self, Verb::ResetFailed, RequestKind::ResetFailed(unit)),
            Act::Cancel(unit) => {
                let job = unit.and_then(|u| self.engine.find(&u)).map(|u| self.engine.unit(u).job);
                match job {
                    Some(Some(job)) => request(self, Verb::Cancel, RequestKind::Cancel(Some(job.0))),
                    Some(None) => {}
                    None => request(self, Verb::Cancel, RequestKind::Cancel(None)),
                }
            }
            Act::Traffic(unit) => {
                if let Some(unit) = self.engine.find(&unit) {
                    *self.waiting_traffic.entry(unit).or_default() += 1;
                    self.readable(unit);
                }
            }
            Act::Touch(unit) => {
                if let Some(unit) = self.engine.find(&unit).filter(|u| self.paths_watched.contains(u)) {
                    let path = hence_ledger::Text::from("/touched");
                    match self.engine.unit(unit).state {
                        State::Automount(_) => {
                            self.handle(Event::AutomountWanted { unit, path, who: "somebody".into() });
                        }
                        _ => self.handle(Event::PathChanged { unit, path }),
                    }
                }
            }
            Act::ClockJump => self.handle(Event::ClockJump { by_us: 60_000_000 }),
            Act::TimeZone => self.handle(Event::TimeZoneChanged { zone: "Zone/Other".into() }),
            Act::Conditions(unit, true) => drop(self.conditions_fail.remove(&unit)),
            Act::Conditions(unit, false) => drop(self.conditions_fail.insert(unit)),
            Act::Sockets(unit, true) => drop(self.sockets_fail.remove(&unit)),
            Act::Sockets(unit, false) => drop(self.sockets_fail.insert(unit)),
            Act::Oom(unit) => {
                if let Some(id) = self.engine.find(&unit) {
                    self.strike(&unit, Whom::Main, 9);
                    self.handle(Event::OomKill { unit: id, kills: 1 });
                }
            }
            Act::Fault(unit, fault, times) => self.faults.add(unit, fault, times),
            Act::Freeze(unit, freeze) => {
                let verb = if freeze { Verb::Freeze } else { Verb::Thaw };
                request(self, verb, RequestKind::Live(LiveRequest::Freeze { unit, freeze }));
            }
            Act::Clean(unit) => {
                let kinds = u8::MAX;
                request(self, Verb::Clean, RequestKind::Live(LiveRequest::Clean { unit, kinds }));
            }
            Act::Reload(unit) => {
                let event = self.load(&unit);
                self.handle(event);
            }
            Act::Device(unit, there) => {
                if there {
                    self.devices.insert(unit.clone());
                } else {
                    self.devices.remove(&unit);
                }
                if let Some(unit) = self.engine.find(unit.as_str()) {
                    self.handle(Event::Device { unit, there: Some(there) });
                }
            }
            Act::Edit(unit, section, line) => self.files.edit(&unit, format!("[{section}]\n{line}\n")),
            Act::Remove(unit) => self.files.remove(&unit),
            Act::DaemonReload => self.reload_all(),
            Act::DaemonReexec => self.reexecute(),
            Act::Exit(status) => request(self, Verb::Exit, RequestKind::Exit(status)),
        }
    }

    fn reload_all(&mut self) {
        let now = self.time();
        let client = Client { pid: 1000, uid: 0, command: "client".into(), ..Client::default() };
        self.engine.handle(now, Event::ReloadBegun(client));
        self.path = UnitPath::scan(&self.files, &[files::FOLDER.to_owned()]);
        let known: Vec<_> = self.engine.units().map(|u| (u.id, u.name().clone())).collect();
        for (unit, name) in known {
            let config = hence_unit::load(&self.path, &self.files, &self.environs, &name);
            let config = Box::new(config);
            self.engine.handle(now, Event::Reread { unit, config, files: Vec::new() });
        }
        self.handle(Event::ReloadEnded);
    }

    /// Hands everything on to another engine, as text.
    fn reexecute(&mut self) {
        let now = self.time();
        let client = Client { pid: 1000, uid: 0, command: "client".into(), ..Client::default() };
        self.engine.ask_to_reexecute(now, client);
        self.settle();
        if !self.engine.is_quiet() {
            self.violations.push("there is something under way after everything has settled".into());
        }
        let mut out = Writer::new();
        self.engine.carry(&mut out);
        let text = out.finish();
        self.path = UnitPath::scan(&self.files, &[files::FOLDER.to_owned()]);
        let carried = Carried::read(&text);
        self.engine = Engine::new(Settings::default().carried(&carried));
        self.engine.prepare(&carried);
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Load(name) = effect {
                let loaded = self.load(&name);
                self.engine.handle(now, loaded);
            }
        }
        self.engine.take_up(now, &carried, "0", true);
        self.settle();
    }

    fn load(&mut self, name: &UnitName) -> Event {
        if let Some(source) = &self.source {
            return Event::Loaded { config: Box::new(source.read(name)), files: Vec::new() };
        }
        let config = hence_unit::load(&self.path, &self.files, &self.environs, name);
        Event::Loaded { config: Box::new(config), files: Vec::new() }
    }

    fn name(&self, unit: UnitId) -> String {
        self.engine.unit(unit).name().to_string()
    }

    fn note_effect(&mut self, effect: &Effect) {
        let text = match effect {
            Effect::Spawn(s) => format!("start {} {}[{}]", self.name(s.unit), s.role, s.index),
            Effect::Kill(k) => format!("signal {} {} {:?}", self.name(k.unit), k.signal, k.scope),
            Effect::OpenSockets(unit, _) => format!("open {}", self.name(*unit)),
            Effect::CloseSockets { unit, .. } => format!("close {}", self.name(*unit)),
            Effect::Finished(status) => format!("finished {status}"),
            _ => return,
        };
        self.effects.push((self.now_us, text));
    }

    fn condition(&self, unit: UnitId) -> Checked {
        let u = self.engine.unit(unit);
        if !self.conditions_fail.contains(u.name()) {
            return Checked::Holds;
        }
        let text = |of: &str, c: &hence_unit::config::Condition| {
            format!("{of}{}={}{}", c.check, if c.negate { "!" } else { "" }, c.argument).into()
        };
        match (u.config.conditions.first(), u.config.asserts.first()) {
            (Some(c), _) => Checked::ConditionFailed(text("Condition", c)),
            (None, Some(c)) => Checked::AssertFailed(text("Assert", c)),
            (None, None) => Checked::Holds,
        }
    }

    /// The pids of a unit's modelled processes that are alive.
    pub fn group(&self, unit: UnitId) -> Vec<u32> {
        let Some(group) = self.groups.get(&unit) else { return Vec::new() };
        let mut all: Vec<u32> = group.fresh.iter().chain(&group.left_over).copied().collect();
        all.sort_unstable();
        all
    }

    /// How many processes of a unit there are.
    pub fn group_size(&self, unit: UnitId) -> usize {
        self.groups.get(&unit).map_or(0, |g| g.fresh.len() + g.left_over.len())
    }

    /// How many processes there are, of all units.
    pub fn process_count(&self) -> usize {
        self.processes.len()
    }

    fn connection(&mut self) -> (ConnectionId, String) {
        self.connections += 1;
        (ConnectionId(self.connections), format!("{}-client", self.connections))
    }
}
