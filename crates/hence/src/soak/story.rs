//! What the ledger of a run tells of each unit: starts and how long they took, stops, failures, restarts,
//! processes left behind; and of each whether a fault of the soak led to it. It judges nothing.

use super::fault::NAME;
use hence_host::store::{Reader, StoreError, digest_of};
use hence_ledger::index::Index;
use hence_ledger::loops::{Loop, loops};
use hence_ledger::path::{Root, RootKind, roots_of};
use hence_ledger::{
    ActiveState, DeadlineKind, Exit, ExitKind, Fact, Invocation, JobResult, JobType, ProcessRole, Record,
    Rule, Stamp, SubState, Tracking, UnitResult, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What led to something.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// A fault of the soak, in its words.
    Fault(String),
    /// The end of the run, or its beginning.
    Run,
    /// Somebody else asked.
    Client(String),
    /// Nobody asked: the sentence of the root.
    Itself(String),
}

impl Why {
    /// Whether the soak has nothing to do with it.
    pub fn is_unrequested(&self) -> bool {
        matches!(self, Why::Itself(_))
    }

    /// Whether it is a fault that holds a stop.
    pub fn holds_stop(&self) -> bool {
        matches!(self, Why::Fault(words) if words.contains("holds its stop"))
    }

    /// Whether it is the signal of a limit on the size of files.
    pub fn is_file_limit(&self) -> bool {
        matches!(self, Why::Itself(root) if root.contains("SIGXFSZ"))
    }

    fn of(roots: &[Root]) -> Why {
        let fault = |root: &Root| {
            let command = root.command.as_deref()?;
            command.strip_prefix(NAME).map(|rest| rest.trim().to_owned())
        };
        if let Some(words) = roots.iter().find_map(fault) {
            return Why::Fault(words);
        }
        let Some(root) = roots.first() else { return Why::Itself("its cause is not on record".into()) };
        match root.kind {
            RootKind::Boot => Why::Run,
            RootKind::Signal if root.unit.is_none() => Why::Run,
            RootKind::Request => Why::Client(root.what.clone()),
            _ => Why::Itself(root.what.clone()),
        }
    }
}

/// A start or a stop.
#[derive(Clone, Debug)]
pub struct Span {
    pub from_us: u64,
    /// When it was over; `None`: it was not.
    pub to_us: Option<u64>,
    /// It came up, or went down without a timeout.
    pub well: bool,
    /// Its timeout was over.
    pub timed_out: bool,
    pub why: Why,
}

/// A unit failed.
#[derive(Clone, Debug)]
pub struct Failure {
    pub at_us: u64,
    /// How: systemd's word.
    pub result: UnitResult,
    pub why: Why,
    /// How long it had been up; `None`: it had not come up.
    pub up_us: Option<u64>,
    /// The first run of the unit.
    pub first: bool,
    /// It is a stop that took too long.
    pub stop: bool,
}

/// An automatic restart.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    pub at_us: u64,
    /// A fault led to it.
    pub asked: bool,
    /// Its main process had ended with status 0.
    pub clean: bool,
}

/// A process that outlived its run.
#[derive(Clone, Debug)]
pub struct Left {
    pub pid: u32,
    pub start_ticks: u64,
    pub command: String,
    pub rule: Option<Rule>,
    pub allowed: bool,
    pub gone: bool,
}

/// A file that a unit starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub path: String,
    /// As it was then; `None`: not there.
    pub version: Option<Version>,
    /// SHA-256; `None`: not there, or not read.
    pub sha256: Option<[u8; 32]>,
    pub package: Option<String>,
}

/// What is told of a unit.
#[derive(Clone, Debug, Default)]
pub struct UnitStory {
    pub starts: Vec<Span>,
    pub stops: Vec<Span>,
    pub failures: Vec<Failure>,
    pub restarts: Vec<Restart>,
    pub left: Vec<Left>,
    pub inputs: Vec<Input>,
    /// Its last words before a failure.
    pub words: Option<String>,
    /// A start limit was reached.
    pub limited: Option<(u32, u64)>,
    /// When it was up: from and to, in microseconds.
    pub up: Vec<(u64, Option<u64>)>,
    pub state: Option<(ActiveState, SubState)>,
    /// What kept it from starting at all.
    pub refused: Option<String>,
    /// How a start job ended that came to nothing.
    pub not_started: Option<JobResult>,
    failing: bool,
}

/// A run.
#[derive(Debug, Default)]
pub struct Story {
    pub units: BTreeMap<String, UnitStory>,
    pub loops: Vec<Loop>,
    pub tracking: Option<Tracking>,
    pub cgroup: Option<PathBuf>,
    pub invocations: BTreeSet<Invocation>,
    pub last: Stamp,
}

impl Story {
    /// Reads the ledger, while it is written or not.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(ledger: &Path) -> Result<Story, StoreError> {
        let index = Index::new(Reader::open(ledger)?.records().flatten());
        let mut story = Story::default();
        for record in index.records() {
            story.record(record, &index);
        }
        story.loops = loops(&index, story.last);
        Ok(story)
    }

    /// Reads what the ledger's own recorder had no time to read.
    pub fn read_inputs(&mut self) {
        self.units.values_mut().for_each(UnitStory::read_inputs);
    }

    fn record(&mut self, record: &Record, index: &Index) {
        self.last = self.last.max(record.at);
        self.invocations.extend(record.invocation);
        if let Fact::Started { tracking, cgroup, .. } = &record.fact {
            self.tracking = Some(*tracking);
            self.cgroup = Some(PathBuf::from(&**cgroup)).filter(|path| path.is_absolute());
        }
        let Some(name) = &record.unit else { return };
        let unit = self.units.entry(name.to_string()).or_default();
        unit.record(record, index);
    }
}

impl UnitStory {
    /// Reads the files whose digests the recorder had no time for.
    fn read_inputs(&mut self) {
        for input in self.inputs.iter_mut().filter(|input| input.sha256.is_none()) {
            let version = input.version.as_ref();
            input.sha256 = version.and_then(|version| digest_of(&input.path, version));
        }
    }

    fn record(&mut self, record: &Record, index: &Index) {
        let at_us = record.at.monotonic_us;
        let why = || Why::of(&roots_of(index, record.id));
        match &record.fact {
            Fact::StateChanged { from_active, from, to_active, to, result } => {
                self.state = Some((*to_active, *to));
                self.changed(at_us, (*from_active, *from), (*to_active, *to), &why);
                if *result == UnitResult::Success {
                    self.failing = false;
                } else if !self.failing {
                    self.failing = true;
                    let up_us = self.up.last().filter(|_| *from_active != ActiveState::Activating);
                    self.failures.push(Failure {
                        at_us,
                        result: *result,
                        why: why(),
                        up_us: up_us.map(|(from, to)| to.unwrap_or(at_us).saturating_sub(*from)),
                        stop: self
                            .stops
                            .last()
                            .is_some_and(|s| s.timed_out && s.to_us.is_none_or(|to| to >= at_us)),
                        first: self.starts.len() <= 1 && self.failures.is_empty(),
                    });
                }
            }
            Fact::RestartScheduled { .. } => {
                let roots = roots_of(index, record.id);
                let clean = roots.first().and_then(|root| root.at).is_some() && is_clean(record, index);
                let asked = !Why::of(&roots).is_unrequested();
                self.restarts.push(Restart { at_us, asked, clean });
            }
            Fact::DeadlineReached { deadline, .. } => {
                let span = match deadline {
                    DeadlineKind::TimeoutStart => self.starts.last_mut(),
                    DeadlineKind::TimeoutStop | DeadlineKind::TimeoutAbort => self.stops.last_mut(),
                    _ => None,
                };
                if let Some(span) = span.filter(|span| span.to_us.is_none()) {
                    span.timed_out = true;
                }
            }
            Fact::StartLimitHit { burst, interval_us } => self.limited = Some((*burst, *interval_us)),
            Fact::LastWords { text, .. } => self.words = Some(text.clone()),
            Fact::JobFinished {
                job_type: JobType::Start,
                result:
                    result @ (JobResult::Failed
                    | JobResult::Dependency
                    | JobResult::Timeout
                    | JobResult::Assert
                    | JobResult::Unsupported
                    | JobResult::Invalid),
                ..
            } => self.not_started = Some(*result),
            Fact::Refused { message, .. } => self.refused = Some(message.to_string()),
            Fact::LeftBehind { processes, allowed, .. } => {
                let rule = record.causes.iter().find_map(|cause| cause.rule.clone());
                self.left.extend(processes.iter().map(|process| Left {
                    pid: process.pid,
                    start_ticks: process.start_ticks,
                    command: process.command.to_string(),
                    rule: rule.clone(),
                    allowed: *allowed,
                    gone: false,
                }));
            }
            Fact::LeftOverGone { pid, start_ticks, .. } => {
                for left in self.left.iter_mut().filter(|l| (l.pid, l.start_ticks) == (*pid, *start_ticks)) {
                    left.gone = true;
                }
            }
            Fact::Inputs { files } => {
                self.inputs = files
                    .iter()
                    .map(|file| {
                        let known = file.version.as_ref().map(|version| index.content(&file.path, version));
                        let (sha256, package) = known.unwrap_or_default();
                        let package = package.map(|package| package.to_string());
                        Input { path: file.path.to_string(), version: file.version, sha256, package }
                    })
                    .collect();
            }
            _ => {}
        }
    }

    fn changed(
        &mut self,
        at_us: u64,
        from: (ActiveState, SubState),
        to: (ActiveState, SubState),
        why: &dyn Fn() -> Why,
    ) {
        use ActiveState::{Activating, Active, Deactivating, Reloading};
        let starting = |(active, sub)| active == Activating && sub != SubState::AutoRestart;
        let up = |(active, _)| matches!(active, Active | Reloading);
        let span = || Span { from_us: at_us, to_us: None, well: false, timed_out: false, why: why() };
        if starting(from)
            && !starting(to)
            && let Some(start) = self.starts.last_mut().filter(|s| s.to_us.is_none())
        {
            start.to_us = Some(at_us);
            // A oneshot without RemainAfterExit= is never up.
            start.well = up(to) || to.0 == ActiveState::Inactive && !start.timed_out;
        }
        if from.0 == Deactivating
            && to.0 != Deactivating
            && let Some(stop) = self.stops.last_mut().filter(|s| s.to_us.is_none())
        {
            stop.to_us = Some(at_us);
            stop.well = !stop.timed_out;
        }
        if up(from)
            && !up(to)
            && let Some(last) = self.up.last_mut()
        {
            last.1 = Some(at_us);
        }
        if starting(to) && !starting(from) {
            self.starts.push(span());
        }
        if up(to) && !up(from) {
            if !starting(from) {
                self.starts.push(Span { to_us: Some(at_us), well: true, ..span() });
            }
            self.up.push((at_us, None));
        }
        if to.0 == Deactivating && from.0 != Deactivating {
            self.stops.push(span());
        }
    }
}

/// Whether what led to a restart is a main process that ended with status 0.
fn is_clean(record: &Record, index: &Index) -> bool {
    const GOOD: Exit = Exit { kind: ExitKind::Exited, status: 0 };
    let mut queue: Vec<&Record> = vec![record];
    for _ in 0..32 {
        let Some(record) = queue.pop() else { break };
        if let Fact::ProcessExited { role: ProcessRole::Main, exit, .. } = &record.fact {
            return *exit == GOOD;
        }
        queue.extend(record.causes.iter().filter_map(|cause| index.record(cause.record)));
    }
    false
}
