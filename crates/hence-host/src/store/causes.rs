//! What happens to units as entries of the journal: the words, ids and fields that systemd writes for it
//! (systemd.journal-fields(7), `journalctl --catalog`), and what only hence knows: the cause, and the record.
//!
//! Made of the records on their way to the disk, so that it costs nothing where decisions are made. How
//! entries get into a journal is decided elsewhere.

mod words;

use hence_ledger::word::*;
use hence_ledger::{DeadlineKind, Fact, FileRole, JobResult, JobType, LeftOver, Record, Text};
use hence_unit::{UnitName, config::Environs, specifier, syntax};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use words::{Job, Kind};

/// Records whose causes are known.
const KNOWN: usize = 4096;
/// Units that are described.
const UNITS: usize = 4096;
/// Records that are still known after a burst.
const KEPT: usize = 512;
/// Jobs of a unit that are remembered.
const JOBS: usize = 8;
/// Rules that a cause names.
const RULES: usize = 3;
/// Left-over processes that are named one by one.
const NAMED: usize = 16;
/// The longest unit file that is read for its description, in bytes, and the longest description.
const LONGEST_FILE: u64 = 64 << 10;
const LONGEST: usize = 1024;

/// An entry to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Its fields, as `NAME=VALUE`.
    pub fields: Vec<String>,
    /// When it happened, in microseconds since 1970.
    pub realtime_us: u64,
}

/// Where causes lead back to.
#[derive(Debug)]
struct Root {
    sentence: String,
    rules: Vec<String>,
}

#[derive(Debug, Default)]
struct Unit {
    description: Option<String>,
    /// Type=simple and its kin are up as soon as they are born: nobody says that they are starting.
    at_once: bool,
    oneshot: bool,
    sub: Option<SubState>,
    jobs: VecDeque<(u32, JobType)>,
    /// The job whose beginning was said.
    said: Option<(u32, Job)>,
    condition: Option<(String, bool)>,
    /// Restarts, once the next one is scheduled.
    restarts: Option<u32>,
}

/// Makes entries of records.
#[derive(Debug, Default)]
pub(crate) struct Causes {
    /// With each record, whether it can explain that a process ended.
    known: BTreeMap<u64, (bool, Rc<Root>)>,
    units: HashMap<Text, Unit>,
    /// For units of a user's own hence, fields have other names.
    user: bool,
    /// The last record that was told: after a stalled disk they come again.
    last: u64,
}

impl Causes {
    /// None so far. `user`: this hence is no system's.
    pub fn new(user: bool) -> Causes {
        Causes { user, ..Causes::default() }
    }

    /// Gives back the memory that a burst needed. What happens after a quiet while is seldom caused by what
    /// is many records back; where it is, the entry goes without that.
    pub fn shrink(&mut self) {
        while self.known.len() > KEPT {
            self.known.pop_first();
        }
        self.units.values_mut().for_each(|unit| unit.jobs.shrink_to_fit());
        self.units.shrink_to_fit();
    }

    /// What a record is to be told as, in order.
    pub fn take(&mut self, record: &Record) -> Vec<Notice> {
        let own = record.id.0 >= super::OWN;
        if !own && record.id.0 <= self.last {
            return Vec::new();
        }
        if !own {
            self.last = record.id.0;
        }
        let root = self.root(record);
        let Some(name) = record.unit.clone() else { return Vec::new() };
        if self.units.len() >= UNITS && !self.units.contains_key(&name) {
            self.units.clear();
        }
        let mut unit = self.units.remove(&name).unwrap_or_default();
        let mut told = Told { name: &name, unit: &mut unit, notices: Vec::new() };
        told.record(record);
        let notices = std::mem::take(&mut told.notices);
        self.units.insert(name.clone(), unit);
        notices.into_iter().map(|notice| self.finish(record, &name, notice, root.as_deref())).collect()
    }

    /// Where a record's causes lead back to.
    fn root(&mut self, record: &Record) -> Option<Rc<Root>> {
        let explained = match &record.fact {
            // As `why` has it: what was armed or started earlier doesn't explain that it ended.
            Fact::ProcessExited { .. } => record.causes.iter().any(|cause| {
                self.known.get(&cause.record.0).is_some_and(|(ends_processes, _)| *ends_processes)
            }),
            Fact::DeadlineReached { deadline, .. } => {
                matches!(deadline, DeadlineKind::RestartDelay | DeadlineKind::TriggerLimit)
            }
            fact => !fact.is_root(),
        };
        let latest = record.causes.iter().max_by_key(|cause| cause.record).filter(|_| explained);
        let root = match latest {
            None => Some(Rc::new(Root { sentence: record.sentence(), rules: Vec::new() })),
            Some(cause) => self.known.get(&cause.record.0).map(|(_, root)| match &cause.rule {
                Some(rule) if root.rules.len() < RULES => {
                    let place = rule.file.as_ref().map(|file| format!(" ({file}:{})", rule.line));
                    let rule = format!("{}{}", rule.directive, place.unwrap_or_default());
                    match root.rules.contains(&rule) {
                        true => root.clone(),
                        false => {
                            let mut rules = root.rules.clone();
                            rules.push(rule);
                            Rc::new(Root { sentence: root.sentence.clone(), rules })
                        }
                    }
                }
                _ => root.clone(),
            }),
        };
        if let Some(root) = &root {
            let ends_processes = matches!(
                record.fact,
                Fact::SignalSent { .. } | Fact::OomKill { .. } | Fact::SpawnFailed { .. }
            );
            self.known.insert(record.id.0, (ends_processes, root.clone()));
            if self.known.len() > KNOWN {
                self.known.pop_first();
            }
        }
        root
    }

    fn finish(&self, record: &Record, name: &str, said: Said, root: Option<&Root>) -> Notice {
        let (unit, invocation) =
            if self.user { ("USER_UNIT", "USER_INVOCATION_ID") } else { ("UNIT", "INVOCATION_ID") };
        let mut fields = vec![format!("MESSAGE={}", said.text), format!("PRIORITY={}", said.level)];
        if !said.id.is_empty() {
            fields.push(format!("MESSAGE_ID={}", said.id));
        }
        fields.push(format!("{unit}={name}"));
        let id = record.invocation.map(|id| id.to_string()).unwrap_or_default();
        fields.push(format!("{invocation}={id}"));
        fields.extend(said.more);
        fields.push(format!("CODE_FILE={}", file!()));
        fields.push(format!("CODE_LINE={}", said.line));
        fields.push(format!("CODE_FUNC={}", said.by));
        fields.push(format!("HENCE_RECORD={}", record.id.0));
        if let Some(root) = root {
            let rules: Vec<String> = root.rules.iter().map(|rule| format!(", by {rule}")).collect();
            fields.push(format!("HENCE_CAUSE={}{}", root.sentence, rules.concat()));
        }
        // A field of a message ends with its line.
        fields.iter_mut().filter(|f| f.contains('\n')).for_each(|f| *f = f.replace('\n', " "));
        Notice { fields, realtime_us: record.at.realtime_us }
    }
}

/// What is said.
#[derive(Debug)]
struct Said {
    level: u8,
    id: &'static str,
    text: String,
    more: Vec<String>,
    by: &'static str,
    line: u32,
}

struct Told<'a> {
    name: &'a Text,
    unit: &'a mut Unit,
    notices: Vec<Said>,
}

macro_rules! say {
    ($told:expr, $by:literal, $level:expr, $id:expr, $text:expr, [$($more:expr),* $(,)?]) => {
        $told.notices.push(Said {
            level: $level, id: $id, text: $text, more: vec![$($more),*], by: $by, line: line!(),
        })
    };
}

impl Told<'_> {
    fn record(&mut self, record: &Record) {
        let name = self.name;
        match &record.fact {
            Fact::Loaded { files, .. } => {
                let paths = files.iter().filter(|f| f.role == FileRole::UnitFile).map(|f| &f.path);
                describe(self.unit, name, paths);
            }
            Fact::JobQueued { job, job_type } | Fact::JobMerged { job, job_type } => {
                self.unit.jobs.retain(|(known, _)| known != job);
                self.unit.jobs.push_back((*job, *job_type));
                if self.unit.jobs.len() > JOBS {
                    self.unit.jobs.pop_front();
                }
                if let (JobType::Restart, Some(restarts)) = (job_type, self.unit.restarts.take()) {
                    let text = format!("{name}: Scheduled restart job, restart counter is at {restarts}.");
                    let more = format!("N_RESTARTS={restarts}");
                    say!(self, "restart", 6, words::RESTART_SCHEDULED, text, [more]);
                }
            }
            Fact::RestartScheduled { restarts, .. } => self.unit.restarts = Some(restarts.saturating_add(1)),
            Fact::ConditionFailed { condition, assert } => {
                self.unit.condition = Some((condition.to_string(), *assert));
            }
            Fact::StateChanged { from_active, from, to_active, to, result } => {
                self.state((*from_active, *from), (*to_active, *to), *result);
            }
            Fact::JobFinished { job, job_type, result } => self.finished(*job, *job_type, *result),
            Fact::ProcessExited { role, exit, .. } => self.exited(*role, *exit),
            Fact::SpawnFailed { step, errno, subject, .. } => {
                let why = match errno {
                    0 => "unknown error".to_owned(),
                    errno => words::errno(*errno),
                };
                let step = words::step(*step);
                let text = format!("{name}: Failed at step {step} spawning {subject}: {why}");
                let more = format!("EXECUTABLE={subject}");
                say!(self, "spawn", 3, words::SPAWN_FAILED, text, [more, format!("ERRNO={errno}")]);
            }
            Fact::StartLimitHit { .. } => {
                let text = format!("{name}: Start request repeated too quickly.");
                say!(self, "start_limit", 4, "", text, []);
            }
            Fact::DeadlineReached { deadline, after_us } => self.deadline(*deadline, *after_us),
            Fact::OomKill { .. } => {
                let text = format!("{name}: A process of this unit has been killed by the OOM killer.");
                say!(self, "oom_kill", 5, words::OOM_KILL, text, []);
            }
            Fact::LeftBehind { processes, .. } => self.left_behind(processes),
            // Not about a state, or nothing that systemd would say.
            _ => {}
        }
    }

    fn state(&mut self, from: (ActiveState, SubState), to: (ActiveState, SubState), result: UnitResult) {
        let name = self.name;
        self.unit.sub = Some(to.1);
        let kind = Kind::of(name);
        match to.0 {
            ActiveState::Activating if to.1 != SubState::AutoRestart => {
                let born = to.1 == SubState::Start && self.unit.at_once;
                if !born {
                    self.begins(Job::Start, kind);
                }
            }
            ActiveState::Deactivating => self.begins(Job::Stop, kind),
            ActiveState::Reloading => self.begins(Job::Reload, kind),
            ActiveState::Failed if from.0 != ActiveState::Failed => {
                let text = format!("{name}: Failed with result '{result}'.");
                say!(self, "failed", 4, words::FAILED, text, [format!("UNIT_RESULT={result}")]);
            }
            // One that had failed was only reset.
            ActiveState::Inactive
                if from.1 != SubState::AutoRestart && from.0 != ActiveState::Failed && kind.has_result() =>
            {
                if result == UnitResult::Success {
                    let text = format!("{name}: Deactivated successfully.");
                    say!(self, "ended", 6, words::SUCCESS, text, []);
                } else if result == UnitResult::ExecCondition {
                    let text = format!("{name}: Skipped due to '{result}'.");
                    say!(self, "skipped", 6, words::SKIPPED, text, [format!("UNIT_RESULT={result}")]);
                }
            }
            _ => {}
        }
        let is_down = |state| matches!(state, ActiveState::Inactive | ActiveState::Failed);
        if is_down(to.0)
            && !is_down(from.0)
            && let Some((job, JobType::Restart)) = self.unit.jobs.back().copied()
        {
            // It is up again before the job ends.
            self.ended(Job::Stop, job, JobType::Restart, JobResult::Done);
        }
    }

    /// A job has begun to work.
    fn begins(&mut self, what: Job, kind: Kind) {
        let fits = |job: JobType| match what {
            Job::Start => matches!(job, JobType::Start | JobType::Restart),
            Job::Stop => matches!(job, JobType::Stop | JobType::Restart),
            Job::Reload => job == JobType::Reload,
        };
        let Some((job, job_type)) = self.unit.jobs.iter().rev().find(|(_, t)| fits(*t)).copied() else {
            return;
        };
        let Some(text) = kind.begins(what, &self.full_name()) else { return };
        if self.unit.said == Some((job, what)) {
            return;
        }
        self.unit.said = Some((job, what));
        // A restart is a stop on its way down, and a start on its way up.
        let job_type = match what {
            Job::Start => JobType::Start,
            Job::Stop => JobType::Stop,
            Job::Reload => job_type,
        };
        let more = [format!("JOB_ID={job}"), format!("JOB_TYPE={job_type}")];
        let [id, kind] = more;
        say!(self, "job_begins", 6, what.begin_id(), text, [id, kind]);
    }

    fn finished(&mut self, job: u32, job_type: JobType, result: JobResult) {
        let what = match job_type {
            JobType::Start => Job::Start,
            JobType::Stop => Job::Stop,
            JobType::Reload => Job::Reload,
            JobType::Restart if result != JobResult::Done => Job::Stop,
            _ => {
                self.unit.jobs.retain(|(known, _)| *known != job);
                return;
            }
        };
        self.ended(what, job, job_type, result);
        self.unit.jobs.retain(|(known, _)| *known != job);
        if matches!(result, JobResult::Timeout | JobResult::Dependency) {
            let name = self.name;
            let text = format!("{name}: Job {name}/{job_type} failed with result '{result}'.");
            let more = [format!("JOB_TYPE={job_type}"), format!("JOB_RESULT={result}")];
            let [kind, result] = more;
            say!(self, "job_failed", 5, "", text, [kind, result]);
        }
    }

    fn ended(&mut self, what: Job, job: u32, job_type: JobType, result: JobResult) {
        let condition = self.unit.condition.take().filter(|_| what == Job::Start);
        let full = self.full_name();
        let said = match condition {
            Some((condition, false)) if result == JobResult::Done => {
                let kind = "was skipped because of an unmet condition check";
                Some((6, format!("{full} {kind} ({condition}).")))
            }
            _ => Kind::of(self.name).ended(what, result, &full, self.unit.oneshot),
        };
        let Some((level, text)) = said else { return };
        let more = [format!("JOB_ID={job}"), format!("JOB_TYPE={job_type}"), format!("JOB_RESULT={result}")];
        let [id, kind, how] = more;
        say!(self, "job_ended", level, what.end_id(result), text, [id, kind, how]);
    }

    fn exited(&mut self, role: ProcessRole, exit: Exit) {
        let (name, main) = (self.name, role == ProcessRole::Main);
        let command = match role {
            ProcessRole::Main => "ExecStart",
            ProcessRole::Other | ProcessRole::Attached => return,
            role => role.as_str(),
        };
        let exited = exit.kind == ExitKind::Exited;
        // HUP, INT, PIPE and TERM are how daemons end; nobody says so.
        let clean = if exited { exit.status == 0 } else { main && [1, 2, 13, 15].contains(&exit.status) };
        if clean {
            return;
        }
        let status = words::status(exit);
        let which = if main { "Main" } else { "Control" };
        let text = format!("{name}: {which} process exited, code={}, status={status}", exit.kind);
        let more = [format!("COMMAND={command}"), format!("EXIT_CODE={}", exit.kind)];
        let [command, code] = more;
        let level = if exited { 5 } else { 4 };
        let status = format!("EXIT_STATUS={}", exit.status);
        say!(self, "process_exited", level, words::PROCESS_EXITED, text, [command, code, status]);
    }

    fn deadline(&mut self, deadline: DeadlineKind, after_us: u64) {
        let name = self.name;
        let sub = self.unit.sub.map_or("stop-sigterm", |sub| sub.as_str());
        let (level, text) = match deadline {
            DeadlineKind::TimeoutStart => (4, "start operation timed out. Terminating.".to_owned()),
            DeadlineKind::TimeoutReload => {
                (4, "Reload operation timed out. Killing reload process.".to_owned())
            }
            DeadlineKind::TimeoutStop => match sub {
                "stop" | "stop-post" => (4, format!("State '{sub}' timed out. Terminating.")),
                "stop-sigkill" => (4, "Processes still around after SIGKILL. Ignoring.".to_owned()),
                _ => (4, format!("State '{sub}' timed out. Killing.")),
            },
            DeadlineKind::TimeoutAbort => (4, format!("State '{sub}' timed out. Killing.")),
            DeadlineKind::RuntimeMax => (4, "Service reached runtime time limit. Stopping.".to_owned()),
            DeadlineKind::Watchdog => (3, format!("Watchdog timeout (limit {})!", words::span(after_us))),
            _ => return,
        };
        say!(self, "deadline", level, "", format!("{name}: {text}"), []);
    }

    fn left_behind(&mut self, processes: &[LeftOver]) {
        let name = self.name;
        for process in processes.iter().take(NAMED) {
            let program = process.command.split(' ').next().unwrap_or_default();
            let comm: String = program.rsplit('/').next().unwrap_or_default().chars().take(15).collect();
            let (pid, rest) = (process.pid, "remains running after unit stopped.");
            let text = format!("{name}: Unit process {pid} ({comm}) {rest}");
            say!(self, "left_behind", 6, "", text, []);
        }
    }

    /// As `StatusUnitFormat=combined` has it.
    fn full_name(&self) -> String {
        match &self.unit.description {
            Some(text) if text != &**self.name => format!("{} - {text}", self.name),
            _ => self.name.to_string(),
        }
    }
}

/// Reads what the unit's files say about it.
fn describe<'a>(unit: &mut Unit, name: &str, paths: impl Iterator<Item = &'a Text>) {
    use std::io::Read;
    let (mut description, mut kind, mut starts) = (None, None, false);
    for path in paths {
        let mut text = String::new();
        let file = std::fs::File::open(&**path).and_then(|f| f.take(LONGEST_FILE).read_to_string(&mut text));
        if file.is_err() {
            continue;
        }
        for line in syntax::parse(path, &text).0 {
            match (&*line.section, &*line.key) {
                ("Unit", "Description") => {
                    description = Some(line.value.clone().into_owned()).filter(|v| !v.is_empty())
                }
                ("Service", "Type") => kind = Some(line.value.clone().into_owned()).filter(|v| !v.is_empty()),
                ("Service", "BusName") if kind.is_none() => kind = Some("dbus".into()),
                ("Service", "ExecStart") => starts |= !line.value.is_empty(),
                _ => {}
            }
        }
    }
    unit.description = description.map(|text| {
        let unit = UnitName::new(name);
        let expanded = unit.and_then(|unit| specifier::expand(&text, &unit, &Environs::default()).ok());
        let mut text = expanded.unwrap_or(text);
        while text.len() > LONGEST {
            text.pop();
        }
        text
    });
    unit.oneshot = kind.as_deref() == Some("oneshot") || (kind.is_none() && !starts);
    unit.at_once = !unit.oneshot && kind.as_deref().is_none_or(|kind| matches!(kind, "simple" | "idle"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_ledger::{Cause, Certainty, Invocation, RecordId, Rule, Stamp};

    fn record(id: u64, fact: Fact, causes: &[u64]) -> Record {
        let rule = |id: u64| {
            (id == 5).then(|| Rule { directive: "Restart=always".into(), file: Some("/u/a".into()), line: 3 })
        };
        Record {
            id: RecordId(id),
            at: Stamp { realtime_us: id, monotonic_us: id },
            unit: Some("a.service".into()),
            invocation: Some(Invocation([7; 16])),
            causes: causes.iter().map(|id| Cause { record: RecordId(*id), rule: rule(*id) }).collect(),
            certainty: Certainty::Observed,
            fact,
        }
    }

    fn state(from: (ActiveState, SubState), to: (ActiveState, SubState), result: UnitResult) -> Fact {
        let ((from_active, from), (to_active, to)) = (from, to);
        Fact::StateChanged { from_active, from, to_active, to, result }
    }

    const DEAD: (ActiveState, SubState) = (ActiveState::Inactive, SubState::Dead);
    const UP: (ActiveState, SubState) = (ActiveState::Active, SubState::Running);
    const FAILED: (ActiveState, SubState) = (ActiveState::Failed, SubState::Failed);

    /// A service is started, its process ends badly, and it is to be started again.
    fn a_bad_run() -> Vec<Record> {
        let start = (ActiveState::Activating, SubState::Start);
        let wait = (ActiveState::Activating, SubState::AutoRestart);
        let exit = Exit { kind: ExitKind::Exited, status: 3 };
        let ended = Fact::ProcessExited { pid: 9, role: ProcessRole::Main, exit, cpu_us: 0, peak_bytes: 0 };
        let scheduled = Fact::RestartScheduled { reason: RestartReason::Policy, delay_us: 1, restarts: 0 };
        let delay = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: 1 };
        let (done, bad) = (JobResult::Done, UnitResult::ExitCode);
        vec![
            record(1, Fact::JobQueued { job: 4, job_type: JobType::Start }, &[]),
            record(2, state(DEAD, start, UnitResult::Success), &[1]),
            record(3, state(start, UP, UnitResult::Success), &[2]),
            record(4, Fact::JobFinished { job: 4, job_type: JobType::Start, result: done }, &[3]),
            record(5, ended, &[2]),
            record(6, state(UP, FAILED, bad), &[5]),
            record(7, scheduled, &[6]),
            record(8, state(FAILED, wait, bad), &[7]),
            record(9, delay, &[8]),
            record(10, Fact::JobQueued { job: 5, job_type: JobType::Restart }, &[9]),
            record(11, state(wait, DEAD, bad), &[10]),
        ]
    }

    #[test]
    fn a_restart_is_told_with_its_cause() {
        let mut causes = Causes::new(false);
        let told: Vec<Notice> = a_bad_run().iter().flat_map(|record| causes.take(record)).collect();
        let field = |notice: &Notice, name: &str| {
            let found = notice.fields.iter().find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
            found.unwrap_or_default().to_owned()
        };
        let texts: Vec<String> = told.iter().map(|notice| field(notice, "MESSAGE")).collect();
        assert_eq!(
            texts,
            [
                "Starting a.service...",
                "Started a.service.",
                "a.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED",
                "a.service: Failed with result 'exit-code'.",
                "a.service: Scheduled restart job, restart counter is at 1.",
                "Stopped a.service.",
            ]
        );
        let stopped = told.last().unwrap();
        assert_eq!(
            field(stopped, "HENCE_CAUSE"),
            "a.service: main process 9 exited with status 3, by Restart=always (/u/a:3)"
        );
        assert_eq!(
            (field(stopped, "HENCE_RECORD"), field(stopped, "JOB_TYPE")),
            ("11".into(), "restart".into())
        );
        assert_eq!(field(stopped, "INVOCATION_ID"), "07".repeat(16));
        assert_eq!(stopped.realtime_us, 11);
        // What comes again after a full disk is told once.
        assert!(a_bad_run().iter().all(|record| causes.take(record).is_empty()));
        let own = Causes::new(true).take(&a_bad_run()[5]);
        assert!(own[0].fields.contains(&"USER_UNIT=a.service".to_owned()), "{own:?}");
    }

    #[test]
    fn words() {
        assert_eq!(words::span(90_000_000), "1min 30s");
        assert_eq!(words::span(1_000_000), "1s");
        assert_eq!(words::errno(2), "No such file or directory");
        assert_eq!(words::status(Exit { kind: ExitKind::Killed, status: 9 }), "9/KILL");
    }
}
