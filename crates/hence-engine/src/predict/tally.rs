//! Records summed up as they come: what happens to each unit and how often. A day of a loop is a million
//! records; what is kept of them doesn't grow with it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use hence_ledger::{
    ActiveState, DeadlineKind, Exit, Fact, JobResult, JobType, ProcessRole, Record, SubState, UnitResult,
};
use hence_unit::{Text, UnitName};

/// Records that are kept as they are, to be asked why.
const KEPT: usize = 6_000;
const SIGTERM: i32 = 15;
/// Starts and ends that are kept.
const EVENTS: usize = 256;
/// Instances of one template that are counted each; further ones count as their template.
const INSTANCES: u32 = 16;
/// Moments at which it is noted how far things have come, in microseconds.
const MARKS_US: [u64; 9] = {
    const MIN: u64 = 60_000_000;
    [MIN, 10 * MIN, 60 * MIN, 360 * MIN, 720 * MIN, 1_440 * MIN, 2_880 * MIN, 10_080 * MIN, 43_200 * MIN]
};
/// Points of a curve.
const POINTS: usize = 240;

/// One kind of thing that happens to a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It comes up.
    Up,
    /// It goes down, and nothing is wrong.
    Down,
    /// It fails, with this result.
    Fails(UnitResult),
    /// Its main process ends: whether by a signal, and the status or number.
    Exits(bool, i32),
    /// Processes outlive it.
    Leaves,
    /// It has been started too often.
    StartLimit,
    /// A time is over: which directive's.
    Deadline(&'static str),
    /// A job ends otherwise than it should.
    Job(JobType, JobResult),
    /// Something was asked for and refused: the sentence.
    Refused(Text),
    /// A job was dropped, with the reason.
    Dropped(Text),
    /// A client comes.
    Traffic,
    /// A process can't be started.
    NotStarted(&'static str),
}

/// A main process started or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// When, in microseconds since the prediction began.
    pub at_us: u64,
    /// Of which unit.
    pub unit: Text,
    /// Which of them.
    pub kind: MomentKind,
}

/// What a main process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MomentKind {
    /// It is there.
    Starts,
    /// It ends because hence told it to, by SIGTERM.
    IsStopped,
    /// The same, by another signal.
    IsKilled,
    /// It ends by itself.
    Ends,
}

/// How often something happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// To which unit; empty: to hence.
    pub unit: Text,
    /// What.
    pub what: What,
    /// When first and last, in microseconds since the prediction began.
    pub first_us: u64,
    /// The last time.
    pub last_us: u64,
    /// How often.
    pub times: u64,
    /// How many processes in all, where it is about processes.
    pub processes: u64,
    /// The shortest and the longest pause.
    pub pauses: Option<(u64, u64)>,
    /// Its place in the order of first times.
    pub order: u64,
}

impl Line {
    /// The pause between two times, where it is about the same each time.
    pub fn period_us(&self) -> Option<u64> {
        let (shortest, longest) = self.pauses.filter(|_| self.times > 2)?;
        let mean = (self.last_us - self.first_us) / (self.times - 1);
        (longest - shortest <= (mean / 10).max(20_000)).then_some(mean)
    }
}

/// What happened to one unit.
#[derive(Clone, Debug, Default)]
pub struct OfUnit {
    /// How often it was started.
    pub starts: u64,
    /// How often it was started again by a restart.
    pub restarts: u64,
    /// How often of these by Restart=.
    pub automatic: u64,
    /// When it was first and last started again by a restart.
    pub restarted_us: Option<(u64, u64)>,
    /// The shortest and longest pause between restarts.
    pub pauses: Option<(u64, u64)>,
    /// When it was first taken down by a job.
    pub taken_down_us: Option<u64>,
    /// When it first went down.
    pub down_us: Option<u64>,
    /// The most processes left behind at one time.
    pub left_peak: u64,
    /// How many of the processes it leaves behind it means to leave.
    pub allowed: bool,
    /// Processes left behind: (microseconds since the beginning, how many), not more than a picture needs.
    pub curve: Vec<(u64, u64)>,
    /// How far it had come when: (microseconds since the beginning, restarts, processes left behind).
    pub marks: Vec<(u64, u64, u64)>,
    left: u64,
    stride: u64,
    skipped: u64,
    job: Option<JobType>,
    /// Its job is one that starts it again.
    restarting: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The moment that is 0, in microseconds of the monotonic clock.
    pub begin_us: u64,
    /// By the names of units.
    pub units: BTreeMap<Text, OfUnit>,
    /// What happened to them.
    pub lines: BTreeMap<(Text, What), Line>,
    /// The first records.
    pub kept: Vec<Record>,
    /// The first starts and ends of main processes.
    pub events: Vec<Moment>,
    /// Units that were taken down by jobs that others' states brought about.
    pub taken_down: BTreeSet<Text>,
    /// How many lines there have been.
    pub order: u64,
    instances: BTreeMap<Text, u32>,
}

impl Tally {
    /// Nothing yet, from this moment on.
    pub fn from(begin_us: u64) -> Tally {
        Tally { begin_us, ..Tally::default() }
    }

    /// Notes how far all units have come.
    pub fn mark(&mut self, at_us: u64) {
        self.units.values_mut().for_each(|unit| unit.mark(at_us));
    }

    /// Counts from this moment on. What the units are doing stays known.
    pub fn begin(&mut self, at_us: u64) {
        self.begin_us = at_us;
        self.lines.clear();
        self.taken_down.clear();
        self.events.clear();
        for unit in self.units.values_mut() {
            let (job, restarting, starts) = (unit.job, unit.restarting, unit.starts.min(1));
            *unit = OfUnit { job, restarting, starts, ..OfUnit::default() };
        }
    }

    /// Takes a record.
    pub fn take(&mut self, mut record: Record) {
        if let Some(name) = record.unit.as_ref().filter(|name| name.contains('@')) {
            record.unit = Some(self.shown(name));
        }
        let at_us = record.at.monotonic_us.saturating_sub(self.begin_us);
        self.moment(&record, at_us);
        if let Some(what) = self.of_unit(&record, at_us) {
            self.note(&record, what, at_us);
        }
        if self.kept.len() < KEPT && !matches!(record.fact, Fact::Loaded { .. }) {
            self.kept.push(record);
        }
    }

    /// The name that an instance is counted under: a socket may make one for each connection.
    fn shown(&mut self, name: &Text) -> Text {
        let template = UnitName::new(name).and_then(|n| n.template());
        let Some(template) = template.filter(|_| !self.units.contains_key(name)) else { return name.clone() };
        let known = self.instances.entry(template.text().clone()).or_default();
        if *known >= INSTANCES {
            return template.text().clone();
        }
        *known += 1;
        name.clone()
    }

    fn moment(&mut self, record: &Record, at_us: u64) {
        use ProcessRole::{Main, Start};
        let Some(unit) = record.unit.clone().filter(|_| self.events.len() < EVENTS) else { return };
        let kind = match &record.fact {
            Fact::ProcessStarted { role: Main | Start, .. } => MomentKind::Starts,
            Fact::ProcessExited { role: Main, exit, .. } if record.causes.is_empty() || exited(*exit) => {
                MomentKind::Ends
            }
            Fact::ProcessExited { role: Main, exit, .. } => match exit.status {
                SIGTERM => MomentKind::IsStopped,
                _ => MomentKind::IsKilled,
            },
            _ => return,
        };
        self.events.push(Moment { at_us, unit, kind });
    }

    /// Counts what a record says of its unit; what of it is a line of the timeline.
    fn of_unit(&mut self, record: &Record, at_us: u64) -> Option<What> {
        let Some(name) = &record.unit else {
            return match &record.fact {
                Fact::Refused { message, .. } => Some(What::Refused(message.clone())),
                _ => None,
            };
        };
        if !self.units.contains_key(name) {
            self.units.insert(name.clone(), OfUnit::default());
        }
        let unit = self.units.get_mut(name)?;
        match &record.fact {
            Fact::JobQueued { job_type, .. } | Fact::JobMerged { job_type, .. } => {
                unit.job = Some(*job_type);
                unit.restarting = matches!(job_type, JobType::Restart | JobType::TryRestart);
                None
            }
            Fact::JobFinished { job_type, result, .. } => {
                unit.job = None;
                unit.restarting = false;
                let bad = !matches!(result, JobResult::Done | JobResult::Skipped);
                // What a merged or replaced job wanted goes on in another one.
                (bad && *result != JobResult::Canceled).then_some(What::Job(*job_type, *result))
            }
            Fact::StateChanged { from_active, from, to_active, to, result } => {
                let left = matches!(from, SubState::Dead | SubState::Failed | SubState::AutoRestart);
                let begins = left && !matches!(to, SubState::Dead | SubState::Failed | SubState::AutoRestart);
                if begins {
                    unit.begun(at_us);
                }
                let down = |s: ActiveState| !matches!(s, ActiveState::Active | ActiveState::Reloading);
                if !down(*from_active) && down(*to_active) {
                    unit.down_us.get_or_insert(at_us);
                    if matches!(unit.job, Some(JobType::Stop | JobType::Restart | JobType::TryRestart)) {
                        unit.taken_down_us.get_or_insert(at_us);
                        self.taken_down.insert(name.clone());
                    }
                }
                state_line(*from_active, *to_active, *to, *result)
            }
            Fact::ProcessExited { role: ProcessRole::Main, exit, .. } => {
                Some(exit_line(*exit)).filter(|_| record.causes.is_empty() || exit_is_news(*exit))
            }
            Fact::LeftBehind { total, allowed, .. } => {
                unit.allowed |= allowed;
                unit.mark(at_us);
                unit.left = u64::from(*total);
                unit.left_peak = unit.left_peak.max(u64::from(*total));
                unit.point(at_us, u64::from(*total));
                Some(What::Leaves)
            }
            Fact::LeftOverGone { .. } => {
                unit.mark(at_us);
                unit.left = unit.left.saturating_sub(1);
                None
            }
            Fact::StartLimitHit { .. } => Some(What::StartLimit),
            Fact::DeadlineReached { deadline, .. } => {
                let restart = *deadline == DeadlineKind::RestartDelay;
                unit.automatic += u64::from(restart);
                (!restart).then_some(What::Deadline(deadline.as_str()))
            }
            Fact::Refused { message, .. } => Some(What::Refused(message.clone())),
            Fact::JobDropped { reason, .. } => Some(What::Dropped(reason.clone())),
            Fact::Traffic { .. } => Some(What::Traffic),
            Fact::SpawnFailed { step, .. } => Some(What::NotStarted(step.as_str())),
            _ => None,
        }
    }

    fn note(&mut self, record: &Record, what: What, at_us: u64) {
        let processes = match &record.fact {
            Fact::LeftBehind { processes, .. } => processes.len() as u64,
            _ => 0,
        };
        let unit = record.unit.clone().unwrap_or_default();
        if let Some(line) = self.lines.get_mut(&(unit.clone(), what.clone())) {
            let pause = at_us.saturating_sub(line.last_us);
            line.pauses = Some(wider(line.pauses, pause));
            line.last_us = at_us;
            line.times += 1;
            line.processes += processes;
            return;
        }
        self.order += 1;
        let (times, order) = (1, self.order);
        let line = Line {
            unit: unit.clone(),
            what: what.clone(),
            first_us: at_us,
            last_us: at_us,
            times,
            processes,
            pauses: None,
            order,
        };
        self.lines.insert((unit, what), line);
    }
}

impl OfUnit {
    /// It was started.
    fn begun(&mut self, at_us: u64) {
        self.mark(at_us);
        self.starts += 1;
        if !self.restarting || self.starts == 1 {
            return;
        }
        self.restarts += 1;
        match &mut self.restarted_us {
            None => self.restarted_us = Some((at_us, at_us)),
            Some((_, last)) => {
                self.pauses = Some(wider(self.pauses, at_us - *last));
                *last = at_us;
            }
        }
    }

    /// Notes how far it has come at each moment of interest before this one.
    fn mark(&mut self, at_us: u64) {
        while let Some(&mark) = MARKS_US.get(self.marks.len()).filter(|mark| **mark < at_us) {
            self.marks.push((mark, self.restarts, self.left));
        }
    }

    /// Adds a point to the curve; every second one goes where there are too many.
    fn point(&mut self, at_us: u64, count: u64) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        self.curve.push((at_us, count));
        if self.curve.len() > POINTS {
            let mut nth = 0;
            self.curve.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.stride = self.stride.max(1) * 2;
        }
        self.skipped = self.stride.saturating_sub(1);
    }

    /// The pause between restarts, where it is about the same each time.
    pub fn period_us(&self) -> Option<u64> {
        let ((first, last), (shortest, longest)) = (self.restarted_us?, self.pauses?);
        let mean = (last - first) / (self.restarts - 1).max(1);
        (self.restarts > 2 && longest - shortest <= (mean / 10).max(20_000)).then_some(mean)
    }
}

fn wider(pauses: Option<(u64, u64)>, pause: u64) -> (u64, u64) {
    pauses.map_or((pause, pause), |(low, high)| (low.min(pause), high.max(pause)))
}

fn state_line(from: ActiveState, to_active: ActiveState, to: SubState, result: UnitResult) -> Option<What> {
    let was_up = matches!(from, ActiveState::Active | ActiveState::Reloading);
    match to_active {
        ActiveState::Active if !was_up => Some(What::Up),
        ActiveState::Failed => Some(What::Fails(result)),
        ActiveState::Inactive if to == SubState::Dead && result == UnitResult::Success => Some(What::Down),
        _ => None,
    }
}

fn exited(exit: Exit) -> bool {
    exit.kind == hence_ledger::ExitKind::Exited
}

/// An end that hence's own signal brought about is none of the service's doing.
fn exit_is_news(exit: Exit) -> bool {
    exited(exit) && exit.status != 0
}

fn exit_line(exit: Exit) -> What {
    What::Exits(!exited(exit), exit.status)
}

impl What {
    /// As the predicate of a sentence about the unit.
    pub fn sentence(&self, line: &Line) -> String {
        use alloc::format;
        use hence_ledger::speech::{count, signal};
        match self {
            What::Up => "comes up".to_string(),
            What::Down => "goes down".to_string(),
            What::Fails(result) => format!("fails ({result})"),
            What::Exits(false, status) => format!("its main process exits with status {status}"),
            What::Exits(true, number) => format!("its main process is killed by {}", signal(*number)),
            What::Leaves => format!("leaves {} behind", count(line.processes, "process", "processes")),
            What::StartLimit => "has been started too often and stays down".to_string(),
            What::Deadline("timer") => "its time has come".to_string(),
            What::Deadline(directive) => format!("{directive}= is over"),
            What::Job(job, JobResult::Dependency) => {
                format!("its {job} job fails because of another unit")
            }
            What::Job(job, result) => format!("its {job} job ends: {result}"),
            What::Refused(message) => format!("refused: {message}"),
            What::Dropped(reason) => format!("a job is dropped: {reason}"),
            What::Traffic => "a client comes".to_string(),
            What::NotStarted(step) => format!("its process can't be started ({step})"),
        }
    }

    /// Whether it is trouble in itself.
    pub fn is_bad(&self) -> bool {
        match self {
            What::Up | What::Down | What::Exits(..) | What::Traffic => false,
            What::Deadline(directive) => *directive != "timer",
            _ => true,
        }
    }
}
