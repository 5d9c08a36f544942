//! The run loop: joins engine, host and ledger. It decides nothing.
//!
//! The order is the promise of the ledger: what happened goes into the engine; its records go into the ring;
//! only then are its effects done. Answers of effects go back before anything that happened later.

mod reexec;
mod unit_files;

use crate::alerts::{Outside, Vigil, ledger_bytes};
use crate::front_link::FrontLink;
use crate::init::signals;
use crate::live_files::{self, LiveFolders};
use crate::narrator::Narrator;
use crate::units::Units;
use hence_engine::{Effect, Engine, Event, Process, Request, Resumed, Role, UnitId};
use hence_host::machine::{self, down};
use hence_host::store::{RecorderLink, Ring};
use hence_host::{Host, Interest, Ready};
use hence_ledger::{
    ActiveState, Cause, Client, Fact, Record, RecordId, SignalReason, SubState, record::Invocation,
};
use hence_unit::UnitName;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Effects done between two writes to the ring. Bounds how long a wave keeps messages and signals waiting.
const WAVE: usize = 128;
/// Answers that may wait for the end of a wave.
const ANSWERS: usize = 16;
/// Units to be read from which on a second thread is worth its while.
const MANY: usize = 512;
/// Records that are encoded at once.
const BATCH: usize = 64;
/// Records after which memory is given back as soon as it is quiet.
const BURST: usize = 512;
/// How long nothing must happen for it to be quiet, in microseconds.
const QUIET_US: u64 = 300_000;
/// Tokens of the loop's own descriptors; those above belong to the front.
const RECORDER: u32 = 0;
const VIGIL: u32 = 1;
/// First token that the front may use.
pub const FRONT: u32 = 16;

/// What went wrong in a run, for its exit status.
#[derive(Debug, Default)]
pub struct Trouble {
    /// Units that failed and were not started again.
    pub failed: BTreeSet<hence_ledger::Text>,
    /// Automatic restarts after a failure.
    pub restarts: u64,
    /// Processes left behind that no unit says it intends.
    pub left_behind: u64,
    /// Starts that were refused.
    pub refused: u64,
}

impl Trouble {
    /// Whether there was any.
    pub fn any(&self) -> bool {
        !self.failed.is_empty() || self.restarts > 0 || self.left_behind > 0 || self.refused > 0
    }

    fn note(&mut self, record: &Record) {
        match &record.fact {
            Fact::StateChanged { to_active, .. } => {
                if let Some(unit) = &record.unit {
                    match to_active {
                        hence_ledger::ActiveState::Failed => drop(self.failed.insert(unit.clone())),
                        hence_ledger::ActiveState::Active => drop(self.failed.remove(unit)),
                        _ => {}
                    }
                }
            }
            Fact::RestartScheduled { .. } => self.restarts += 1,
            Fact::LeftBehind { processes, allowed: false, .. } => self.left_behind += processes.len() as u64,
            Fact::Refused { .. } => self.refused += 1,
            _ => {}
        }
    }
}

/// What clients are to be told and the front could not hear.
#[derive(Debug, Default)]
struct Unheard {
    /// There is a front.
    wanted: bool,
    /// Units that records are about.
    units: Vec<hence_ledger::Text>,
    effects: Vec<Effect>,
}

/// What a supervisor of hence's own was told; sd_notify(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Ready,
    Stopping,
}

/// Everything that a running hence consists of.
pub struct Pump {
    /// Decides.
    pub engine: Engine,
    /// Does.
    pub host: Host,
    ring: Ring,
    recorder: Rc<RefCell<RecorderLink>>,
    /// For what the recorder's socket is waited for; `None`: not yet.
    recorder_interest: Option<Interest>,
    /// Tells people what happens.
    pub narrator: Option<Narrator>,
    front: Option<FrontLink>,
    /// Tells of loops and left-over processes.
    vigil: Option<Vigil>,
    units: Option<Rc<RefCell<Units>>>,
    live: Option<LiveFolders>,
    /// What came up while the front was at work, and is told to it then.
    unheard: Unheard,
    events: VecDeque<Event>,
    batch: Vec<Record>,
    finished: Option<u8>,
    /// The first jobs are all over.
    up: bool,
    run_until_us: Option<(u64, u64)>,
    /// Records since memory was last given back.
    told: usize,
    end_when_idle: bool,
    said: Said,
    /// How this program is executed anew; `None`: nobody knows.
    program: Option<crate::reexec::Program>,
    ledger: std::path::PathBuf,
    /// What went wrong so far.
    pub trouble: Trouble,
}

impl Pump {
    /// Puts the parts together; nothing runs yet.
    pub fn new(
        engine: Engine,
        host: Host,
        ring: Ring,
        recorder: Rc<RefCell<RecorderLink>>,
        narrator: Option<Narrator>,
        end_when_idle: bool,
    ) -> Pump {
        let mut pump = Pump {
            engine,
            host,
            ring,
            recorder,
            recorder_interest: None,
            narrator,
            front: None,
            vigil: None,
            units: None,
            live: None,
            unheard: Unheard::default(),
            events: VecDeque::new(),
            batch: Vec::with_capacity(BATCH),
            finished: None,
            up: false,
            run_until_us: None,
            // Starting up is a burst too.
            told: BURST,
            end_when_idle,
            said: Said::Nothing,
            program: None,
            ledger: std::path::PathBuf::new(),
            trouble: Trouble::default(),
        };
        pump.watch_recorder();
        pump
    }

    /// Where unit files are read, for a reload of all; and where those go that clients make.
    pub fn reads(&mut self, units: Rc<RefCell<Units>>, live: LiveFolders) {
        self.units = Some(units);
        self.live = Some(live);
    }

    /// Where unit files are read, and where those go that clients make.
    pub fn live_files(&self) -> Option<(&LiveFolders, RefMut<'_, Units>)> {
        Some((self.live.as_ref()?, self.units.as_ref()?.borrow_mut()))
    }

    /// Where unit files are read.
    pub fn units(&self) -> Option<&Rc<RefCell<Units>>> {
        self.units.as_ref()
    }

    /// Tells of loops and left-over processes from now on, and of those there are.
    pub fn watches(&mut self, vigil: Option<Vigil>) {
        let Some(mut vigil) = vigil else { return };
        let interest = Interest { read: true, write: false };
        if let Err(error) = self.host.register(vigil.descriptor(), VIGIL, interest) {
            eprintln!("hence: {error}; nobody is alarmed");
        }
        let now = Host::now();
        for unit in self.engine.units() {
            let allowed = unit.config.flags.left_behind_allowed;
            let left = unit.left_over.values();
            left.for_each(|process| vigil.left_before(unit.name().text(), now, process, allowed));
        }
        self.vigil = Some(vigil);
    }

    /// Serves clients on this socket.
    pub fn serve(&mut self, mut front: FrontLink) {
        front.register(&mut self.host);
        self.front = Some(front);
        self.unheard.wanted = true;
    }

    /// Ends the run in order after this many microseconds.
    pub fn run_for(&mut self, after_us: u64) {
        let at = Host::now().monotonic_us.saturating_add(after_us);
        self.run_until_us = Some((at, after_us));
    }

    /// Records a fact of hence's own.
    pub fn note(&mut self, causes: Vec<Cause>, fact: Fact) -> RecordId {
        self.engine.note(Host::now(), causes, fact)
    }

    /// Lets something happen, with all that follows from it at once.
    pub fn happen(&mut self, event: Event) {
        self.engine.handle(Host::now(), event);
        self.settle();
    }

    /// A client's request, or one of the command line.
    pub fn request(&mut self, request: Request) {
        self.happen(Event::Request(request));
    }

    /// Runs until everything is down; the exit status that was asked for.
    pub fn run(&mut self) -> u8 {
        let mut foreign = Vec::new();
        loop {
            self.settle();
            self.up |= self.engine.jobs().next().is_none();
            self.host.set_starting(!self.up || self.engine.is_ending());
            self.announce();
            self.collect();
            self.tell_clients();
            self.tell_supervisor();
            if self.engine.reexecution().is_some() {
                self.reexecute();
            }
            if let Some(status) = self.finished {
                return status;
            }
            if self.end_when_idle && self.engine.is_idle() {
                return 0;
            }
            let quiet_at = (self.told >= BURST).then(|| Host::now().monotonic_us + QUIET_US);
            let told = (!self.events.is_empty()).then_some(0);
            let deadline = [self.deadline(), quiet_at, told].into_iter().flatten().min();
            if let Err(error) = self.host.wait(deadline, &mut self.events, &mut foreign) {
                // Without its event loop hence is deaf; what it can still do is to end in order.
                eprintln!("hence: {error}");
                self.engine.handle(Host::now(), Event::Signal { signal: 15, pid: 0, uid: 0 });
            }
            let nothing = foreign.is_empty() && self.events.iter().all(|e| matches!(e, Event::Deadline));
            self.guarded();
            for ready in foreign.drain(..) {
                self.foreign(ready);
            }
            self.overdue();
            if nothing && quiet_at.is_some_and(|at| at <= Host::now().monotonic_us) {
                self.told = 0;
                self.engine.shrink();
                self.recorder.borrow_mut().shrink();
                self.host.shrink();
            }
        }
    }

    /// Forgets units that nobody needs, now that whoever asked for them has been answered.
    fn collect(&mut self) {
        if !self.engine.may_collect() {
            return;
        }
        let collected = catch_unwind(AssertUnwindSafe(|| self.engine.collect(Host::now())));
        if collected.is_err() {
            eprintln!("hence: this is a defect of hence; what it was doing is left as it stands");
        }
        self.settle();
    }

    /// Says to whom hence is a service of that it is ready, once nothing is queued any more, and that it
    /// ends.
    fn tell_supervisor(&mut self) {
        let said = match (self.said, self.engine.is_ending()) {
            (Said::Nothing, false) if self.is_ready() => Said::Ready,
            (Said::Nothing | Said::Ready, true) => Said::Stopping,
            _ => return,
        };
        self.said = said;
        machine::notify(match said {
            Said::Stopping => "STOPPING=1\nSTATUS=Stopping units.",
            _ => "READY=1\nSTATUS=Units are up.",
        });
    }

    /// Whether what was asked for at the start is up: nothing is queued any more, or a user's basic.target is
    /// there, behind which logins wait.
    fn is_ready(&self) -> bool {
        let basic = || {
            let unit = self.engine.find("basic.target").map(|unit| self.engine.unit(unit));
            unit.is_some_and(|unit| unit.active_state() == ActiveState::Active)
        };
        self.engine.jobs().next().is_none() || (self.engine.role() == Role::User && basic())
    }

    /// When to wake up without an event, on the monotonic clock.
    fn deadline(&self) -> Option<u64> {
        let front = self.front.as_ref().and_then(FrontLink::deadline_us);
        let run = self.run_until_us.map(|(at, _)| at);
        let recorder = self.recorder.borrow().deadline_us();
        let vigil = self.vigil.as_ref().and_then(Vigil::deadline_us);
        [self.engine.deadline(), front, run, recorder, vigil].into_iter().flatten().min()
    }

    fn overdue(&mut self) {
        let now_us = Host::now().monotonic_us;
        if let Some((_, after_us)) = self.run_until_us.take_if(|(at, _)| *at <= now_us) {
            self.happen(Event::TimeUp { after_us });
        }
        if let Some(vigil) = &mut self.vigil {
            let engine = &self.engine;
            vigil.keep(Host::now(), |unit| {
                let config = &engine.unit(engine.find(&UnitName::new(unit)?)?).config;
                Some((config.start_limit_burst, config.start_limit_interval))
            });
        }
        let restarted = self.recorder.borrow_mut().restart(now_us);
        if restarted {
            self.recorder_interest = None;
            self.watch_recorder();
        }
        if let Some(mut front) = self.front.take() {
            front.overdue(now_us, self);
            self.front = Some(front);
        }
    }

    /// Handles the events that came. A defect of the engine must not end the manager of everything else: it
    /// is caught, said, and the rest goes on.
    fn guarded(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let signal = match event {
                Event::Signal { signal, pid, uid } => Some((signal, pid, uid)),
                _ => None,
            };
            let handled = catch_unwind(AssertUnwindSafe(|| self.engine.handle(Host::now(), event)));
            if let Some((signal, pid, uid)) = signal.filter(|_| self.engine.role() != Role::Foreground) {
                signals::act(self, signal, pid, uid);
            }
            if handled.is_err() {
                eprintln!("hence: this is a defect of hence; what it was doing is left as it stands");
            }
        }
        if catch_unwind(AssertUnwindSafe(|| self.settle())).is_err() {
            eprintln!("hence: this is a defect of hence; what it was doing is left as it stands");
        }
    }

    /// Records, then effects, then their answers and the next step, until nothing is left.
    fn settle(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            self.store();
            self.read_ahead();
            let mut done = 0;
            let mut read = false;
            while done < WAVE && !read && answers.len() < ANSWERS {
                let Some(effect) = self.engine.poll_effect() else { break };
                done += 1;
                // What a unit's files say takes a good deal of memory until the engine has compared it with
                // what others say: it is not kept waiting, lest the heap be full of holes afterwards.
                read = matches!(effect, Effect::Load(_));
                self.perform(effect, &mut answers);
            }
            let now = Host::now();
            while let Some(event) = answers.pop_front() {
                self.engine.handle(now, event);
            }
            // What the next step has to record is written with what the answers had.
            if self.engine.effect_count() == 0 && !self.engine.go_on(now) {
                break;
            }
        }
    }

    /// Has many units read by two threads, where they are next: nothing but that is done until they are
    /// known.
    fn read_ahead(&mut self) {
        let Some(units) = &self.units else { return };
        if self.engine.effect_count() < MANY || units.borrow().is_reading_ahead() {
            return;
        }
        let names = self.engine.next_loads();
        if names.len() >= MANY {
            units.borrow_mut().will_be_asked_for(names);
        }
    }

    /// Puts the engine's records into the ring.
    fn store(&mut self) {
        loop {
            while self.batch.len() < BATCH
                && let Some(record) = self.engine.poll_record()
            {
                self.trouble.note(&record);
                if let Some(narrator) = &mut self.narrator {
                    narrator.tell(&record);
                }
                if let Some(vigil) = &mut self.vigil {
                    vigil.record(&record);
                }
                match &mut self.front {
                    Some(front) => front.record(&record, &self.engine),
                    None if self.unheard.wanted => self.unheard.units.extend(FrontLink::concerns(&record)),
                    None => {}
                }
                self.batch.push(record);
            }
            if self.batch.is_empty() {
                break;
            }
            self.ring.append(&self.batch);
            self.told = self.told.saturating_add(self.batch.len());
            self.batch.clear();
            self.recorder.borrow_mut().appended(&mut self.ring);
        }
        if let Some(narrator) = &mut self.narrator {
            narrator.flush();
        }
        self.watch_recorder();
    }

    fn perform(&mut self, effect: Effect, answers: &mut VecDeque<Event>) {
        if let Effect::Forget { unit, name } = &effect {
            if let Some(front) = &mut self.front {
                front.unit_removed(*unit, name);
            }
            self.host.drop_streams(name);
            if let Some((folders, mut units)) = self.live_files()
                && units.is_transient(folders, name)
            {
                live_files::remove(folders, &mut units, name);
            }
        }
        let Some(effect) = self.host.perform(effect, answers) else { return };
        match effect {
            Effect::LastWords { unit, invocation, record } => {
                let name = self.engine.unit(unit).name().text().clone();
                self.recorder.borrow_mut().ended_badly(&name, invocation, record);
            }
            Effect::Stamp { config, realtime_us } => {
                let path = self.host.stamp_path(config.id());
                self.recorder.borrow_mut().leave_stamp(path, realtime_us);
            }
            Effect::Finished(status) => self.finished = Some(status),
            Effect::WatchName { unit, name } => {
                let answer = match &mut self.front {
                    Some(front) => front.watch_name(unit, &name),
                    None => Some(Event::BusName { unit, name, owned: None }),
                };
                answers.extend(answer);
            }
            effect @ (Effect::UnitNew(_)
            | Effect::JobNew { .. }
            | Effect::JobRemoved { .. }
            | Effect::RequestStop { .. }
            | Effect::Reply { .. }) => {
                if let Some(mut front) = self.front.take() {
                    front.effect(&effect, self);
                    answers.extend(front.take_events());
                    self.front = Some(front);
                } else if self.unheard.wanted {
                    self.unheard.effects.push(effect);
                } else if let Effect::RequestStop { unit, controller } = effect {
                    answers.push_back(Event::BusName { unit, name: controller, owned: None });
                }
            }
            _ => {}
        }
    }

    fn foreign(&mut self, ready: Ready) {
        if ready.token == RECORDER {
            let now_us = Host::now().monotonic_us;
            self.recorder.borrow_mut().ready(&mut self.ring, now_us);
            self.watch_recorder();
            return;
        }
        if ready.token == VIGIL {
            if let Some(vigil) = &mut self.vigil {
                let (ring, ledger) = (&self.ring, &self.ledger);
                let outside = || Outside {
                    dropped: ring.lost(),
                    ledger_bytes: ledger_bytes(ledger),
                    sources: Vec::new(),
                };
                vigil.ready(Host::now(), outside);
            }
            return;
        }
        let Some(mut front) = self.front.take() else { return };
        let requests = front.ready(ready, self);
        let events = front.take_events();
        self.back_at_rest(front);
        for event in events {
            self.happen(event);
        }
        for request in requests {
            self.request(request);
        }
    }

    /// Queues for clients what changed in this turn, while it is there to be looked at.
    fn announce(&mut self) {
        if let Some(mut front) = self.front.take_if(|f| f.has_news()) {
            front.announce(self);
            self.back_at_rest(front);
        }
    }

    /// Sends clients what changed in this turn.
    fn tell_clients(&mut self) {
        if let Some(mut front) = self.front.take_if(|f| f.has_news()) {
            front.flush(self);
            self.back_at_rest(front);
        }
    }

    /// The front has done its work: it is told what came up meanwhile.
    fn back_at_rest(&mut self, mut front: FrontLink) {
        for unit in std::mem::take(&mut self.unheard.units) {
            front.changed(&unit, &self.engine);
        }
        for effect in std::mem::take(&mut self.unheard.effects) {
            front.effect(&effect, self);
        }
        self.events.extend(front.take_events());
        self.front = Some(front);
    }

    fn watch_recorder(&mut self) {
        let recorder = self.recorder.borrow();
        if let Some(socket) = recorder.socket() {
            let interest = Interest { read: true, write: recorder.wants_write() };
            if self.recorder_interest != Some(interest) {
                // Refused only where epoll itself has no room: then the ring holds what the recorder misses.
                let registered = self.host.register(socket, RECORDER, interest);
                self.recorder_interest = registered.ok().map(|()| interest);
            }
        }
    }

    /// Takes note of processes of a unit that an earlier hence left, and watches for their ends.
    pub fn survivors(&mut self, unit: UnitName, invocation: Option<Invocation>, processes: Vec<Process>) {
        let known: Vec<(u32, u64)> =
            processes.iter().map(|p| (p.process.pid, p.process.start_ticks)).collect();
        self.happen(Event::Survivors { unit: unit.clone(), invocation, processes });
        if let Some(unit) = self.engine.find(&unit) {
            self.host.watch_left_over(unit, &known);
        }
    }

    /// Takes up units of an earlier hence that go on. Those that can't be are returned.
    pub fn resume(&mut self, units: Vec<Resumed>) -> Vec<Resumed> {
        let (mut up, mut refused) = (Vec::new(), Vec::new());
        for resumed in units {
            self.load(&resumed.unit);
            let known = self.engine.find(&resumed.unit).filter(|unit| self.engine.may_resume(*unit));
            let config = known.map(|unit| (unit, self.engine.unit(unit).config.clone()));
            let processes: Vec<(u32, u64)> =
                resumed.processes.iter().map(|p| (p.pid, p.start_ticks)).collect();
            let taken = config.is_some_and(|(unit, config)| {
                self.host.take_in(unit, &config, resumed.invocation, &processes)
            });
            if taken {
                up.extend(self.resume_sockets(&resumed));
                up.push(resumed);
            } else {
                refused.push(resumed);
            }
        }
        if !up.is_empty() {
            self.happen(Event::Resumed(up));
        }
        refused
    }

    /// Socket units whose sockets a service that goes on has open.
    fn resume_sockets(&mut self, of: &Resumed) -> Vec<Resumed> {
        let main = of.processes.iter().find(|p| Some(p.pid) == of.main);
        let mut found = main.map_or_else(Vec::new, |p| hence_host::passed_to(p.pid, p.start_ticks));
        if found.is_empty() {
            return Vec::new();
        }
        let own = UnitName::new(&format!("{}.socket", of.unit.as_str().trim_end_matches(".service")));
        let service = self.engine.find(&of.unit).map(|unit| self.engine.unit(unit).config.clone());
        let more = service.iter().filter_map(|config| config.service()).flat_map(|s| s.sockets.clone());
        let names: Vec<UnitName> = own.into_iter().chain(more).collect();
        let mut up = Vec::new();
        for name in names {
            self.load(&name);
            let Some(unit) = self.engine.find(&name).filter(|unit| self.engine.may_resume(*unit)) else {
                continue;
            };
            let config = self.engine.unit(unit).config.clone();
            if !self.host.take_in_sockets(unit, &config, &mut found) {
                continue;
            }
            let main = of.main.unwrap_or_default();
            up.push(Resumed {
                unit: name,
                state: SubState::SocketRunning,
                main: None,
                processes: Vec::new(),
                evidence: format!("process {main} of {} has its sockets open", of.unit).as_str().into(),
                observed: true,
                ..of.clone()
            });
        }
        up
    }

    /// Reads all unit files anew, because this client asked for it; `false` where nobody knows how.
    pub fn reload(&mut self, client: Client) -> bool {
        let Some(units) = self.units.clone() else { return false };
        self.engine.handle(Host::now(), Event::ReloadBegun(client));
        self.store();
        let before = std::mem::take(&mut units.borrow_mut().generated);
        units.borrow_mut().refresh();
        self.host.regenerate_environment(&before, units.borrow().generated.clone());
        let allowed = self.vigil.as_mut().and_then(|vigil| vigil.allow_again(Host::now()));
        allowed.into_iter().for_each(|list| self.engine.allow_left_behind(list));
        let known: Vec<(UnitId, UnitName)> =
            self.engine.units().map(|unit| (unit.id, unit.name().clone())).collect();
        for (unit, name) in known {
            let now = self.engine.unit(unit);
            if units.borrow().is_unchanged(&now.config, now.files()) {
                continue;
            }
            let (config, files) = units.borrow().read(&name);
            self.engine.handle(Host::now(), Event::Reread { unit, config: Box::new(config), files });
        }
        self.happen(Event::ReloadEnded);
        // All configurations were held twice.
        self.told = self.told.saturating_add(BURST);
        true
    }

    /// Makes a unit known, its files read.
    pub fn load(&mut self, name: &UnitName) {
        if self.engine.find(name).is_none() {
            self.happen(Event::Referenced(name.clone()));
        }
    }

    /// Ends what no unit knows any more or units left behind, before the last records are made.
    pub fn end_others(&mut self, recorder: Option<u32>) {
        let spared: Vec<u32> = recorder.into_iter().collect();
        let killed = down::kill_all(&spared, down::TERM);
        if killed.processes.is_empty() {
            return;
        }
        let causes = self.engine.end_cause().cloned().into_iter().collect();
        let others = killed.processes.len() as u32;
        let (main, control) = (false, false);
        let reason = SignalReason::Final;
        self.note(causes, Fact::SignalSent { signal: 15, reason, main, control, others });
        if killed.left > 0 {
            eprintln!("hence: {} processes did not end though they were killed", killed.left);
        }
    }

    /// Takes the parts apart after the run: the last records are stored, then the host's groups go.
    pub fn close(mut self, status: u8) -> u64 {
        let causes = self.engine.end_cause().cloned().into_iter().collect();
        self.note(causes, Fact::Ended { status });
        self.store();
        drop(self.front.take());
        if let Some(narrator) = self.narrator.take() {
            narrator.close();
        }
        let lost = self.ring.lost();
        self.host.close();
        lost
    }
}
