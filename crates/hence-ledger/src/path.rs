//! From an event back along its causes: the chain that is told, and every root.
//!
//! Pure walking and wording. Which event is asked about, and what else is worth telling, is `why`'s.

use crate::basis;
use crate::index::{At, EventKind, Index};
use crate::record::*;
use crate::sentence;
use crate::speech;
use crate::word::*;
use alloc::{
    collections::{BTreeSet, VecDeque},
    format,
    string::{String, ToString},
    vec::Vec,
};
use hence_unit::Text;

/// More records than this are not followed from one event.
const FOLLOWED: usize = 10_000;

/// One step of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The record behind it.
    pub record: RecordId,
    /// The unit that it happened to.
    pub unit: Option<Text>,
    /// What happened, as the predicate of a sentence: `restarted`, `main process 4711 exited with status 1`.
    pub what: String,
    /// The same without process ids, so that like steps are alike.
    pub kind: String,
    /// When.
    pub at: Stamp,
    /// Whether it was seen or concluded.
    pub certainty: Certainty,
    /// What it was concluded from, where it was.
    pub basis: Option<String>,
    /// The directive that made the step after this one (its cause) lead to this one.
    pub rule: Option<Rule>,
    /// Further directives that had a part in that: RestartSec= beside Restart=.
    pub other_rules: Vec<Rule>,
}

/// What a root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootKind {
    /// hence began to run, and this is what it was to bring up.
    Boot,
    /// A client asked.
    Request,
    /// A process ended by itself.
    Exit,
    /// A deadline or timer.
    Deadline,
    /// Traffic on a socket.
    Traffic,
    /// A file.
    File,
    /// The kernel.
    Kernel,
    /// A signal: to hence, or from one process to another.
    Signal,
    /// The wall clock was set.
    Clock,
    /// Not known.
    Unknown,
}

impl RootKind {
    /// The word that people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            RootKind::Boot => "boot",
            RootKind::Request => "request",
            RootKind::Exit => "exit",
            RootKind::Deadline => "deadline",
            RootKind::Traffic => "traffic",
            RootKind::File => "file",
            RootKind::Kernel => "kernel",
            RootKind::Signal => "signal",
            RootKind::Clock => "clock",
            RootKind::Unknown => "unknown",
        }
    }
}

/// Where a chain of causes ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// What it is.
    pub kind: RootKind,
    /// The unit that it happened to.
    pub unit: Option<Text>,
    /// The process: the one that ended, or the client's.
    pub pid: Option<u32>,
    /// The client's user.
    pub uid: Option<u32>,
    /// The client's command line.
    pub command: Option<Text>,
    /// The unit that the client runs in.
    pub client_unit: Option<Text>,
    /// What had the client ask.
    pub parent: Option<Parent>,
    /// The user who logged in, where that is another one than the client's.
    pub login_uid: Option<u32>,
    /// The whole of it as a sentence.
    pub what: String,
    /// When; `None` where the record is missing.
    pub at: Option<Stamp>,
}

/// The main path from an event to its root: from each record to the latest of its causes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    /// The records, effect first.
    pub places: Vec<At>,
    /// The rule by which the next record led to this one.
    rules: Vec<Option<Rule>>,
    /// Why it ends without a root.
    pub broken: Option<&'static str>,
}

const MISSING: &str = "the record of its cause is no longer there";
const CIRCLE: &str = "its records name each other as causes in a circle";
const NO_CAUSE: &str = "no cause was recorded";

/// The causes of a record that are worth following, latest first; `None` for causes that are missing.
fn causes(index: &Index, at: At) -> Vec<(Option<At>, Option<Rule>)> {
    let record = &index.records[at];
    let followed = |cause: &&Cause| match &record.fact {
        // An exit is explained by the signal that brought it, not by the start of the process.
        Fact::ProcessExited { .. } => index.record(cause.record).is_none_or(|r| {
            matches!(
                r.fact,
                Fact::SignalSent { .. }
                    | Fact::Signalled { .. }
                    | Fact::OomKill { .. }
                    | Fact::SpawnFailed { .. }
                    | Fact::Unknown { .. }
            ) || is_step(record) && matches!(r.fact, Fact::StateChanged { .. })
        }),
        // Their ends are why they were armed.
        Fact::DeadlineReached { deadline, .. } => {
            matches!(deadline, DeadlineKind::RestartDelay | DeadlineKind::TriggerLimit)
        }
        // What was refused is why.
        Fact::SpawnFailed { .. } => {
            index.record(cause.record).is_some_and(|r| matches!(r.fact, Fact::Deprived { .. }))
        }
        fact => !ends(fact),
    };
    let mut found: Vec<(Option<At>, Option<Rule>)> =
        record.causes.iter().filter(followed).map(|c| (index.place(c.record), c.rule.clone())).collect();
    if found.is_empty()
        && let Some(oom) = killed_for_memory(index, at)
    {
        found.push((Some(oom), None));
    }
    found.sort_by_key(|(place, _)| core::cmp::Reverse(*place));
    found
}

/// Whether this is a control process that ended well: a step between two others where its causes say so.
fn is_step(record: &Record) -> bool {
    const GOOD: Exit = Exit { kind: ExitKind::Exited, status: 0 };
    matches!(record.fact, Fact::ProcessExited { role, exit: GOOD, .. } if role != ProcessRole::Main)
        && !record.causes.is_empty()
}

/// Whether a chain ends with this fact: with roots, and with what the system refused.
fn ends(fact: &Fact) -> bool {
    fact.is_root() || matches!(fact, Fact::SpawnFailed { .. } | Fact::Deprived { .. })
}

/// The kernel's kill of the same run that a process's end by SIGKILL of unknown sender is put down to.
fn killed_for_memory(index: &Index, at: At) -> Option<At> {
    const SIGKILL: i32 = 9;
    let record = &index.records[at];
    match record.fact {
        Fact::ProcessExited { exit: Exit { kind: ExitKind::Killed, status: SIGKILL }, .. } => {
            let records = index.units.get(record.unit.as_ref()?)?;
            records.runs[records.run(record.invocation)?].oom.filter(|&oom| oom < at)
        }
        _ => None,
    }
}

/// The main path of the record at this place.
pub(crate) fn path(index: &Index, from: At) -> Path {
    let mut path = Path::default();
    let mut seen = BTreeSet::new();
    let mut at = from;
    loop {
        seen.insert(at);
        path.places.push(at);
        let causes = causes(index, at);
        let next = causes.iter().find(|(place, _)| place.is_none_or(|p| !seen.contains(&p)));
        // A deadline that is a root still names the directive that set it.
        let own = || match index.records[at].fact {
            Fact::DeadlineReached { .. } => index.records[at].causes.iter().find_map(|c| c.rule.clone()),
            _ => None,
        };
        path.rules.push(match next {
            Some((_, rule)) => rule.clone(),
            None => own(),
        });
        path.broken = match next {
            Some((Some(place), _)) if path.places.len() < FOLLOWED => {
                at = *place;
                continue;
            }
            Some(_) => Some(MISSING),
            None if !causes.is_empty() => Some(CIRCLE),
            None if !ends(&index.records[at].fact) => Some(NO_CAUSE),
            None => None,
        };
        return path;
    }
}

/// Every root of a record, the main path's first; none where it is not there.
pub fn roots_of(index: &Index, record: RecordId) -> Vec<Root> {
    index.place(record).map(|at| roots(index, at)).unwrap_or_default()
}

/// Every root of the record at this place, the main path's first.
pub(crate) fn roots(index: &Index, from: At) -> Vec<Root> {
    let main = path(index, from);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut queue: VecDeque<At> = VecDeque::from([from]);
    let mut missing = main.broken;
    while let Some(at) = queue.pop_front() {
        if !seen.insert(at) || seen.len() > FOLLOWED {
            continue;
        }
        let causes = causes(index, at);
        if causes.is_empty() {
            found.push(at);
        }
        for (place, _) in causes {
            match place {
                Some(place) => queue.push_back(place),
                None => missing = Some(MISSING),
            }
        }
    }
    let first = main.places.last().copied();
    found.sort_by_key(|&at| (Some(at) != first, core::cmp::Reverse(at)));
    let mut roots: Vec<Root> = found
        .into_iter()
        .filter(|&at| ends(&index.records[at].fact))
        .map(|at| root(&index.records[at]))
        .collect();
    if roots.is_empty() || missing == Some(MISSING) {
        let last = first.map(|at| &index.records[at]);
        roots.push(Root {
            kind: RootKind::Unknown,
            unit: last.and_then(|r| r.unit.clone()),
            pid: None,
            uid: None,
            command: None,
            client_unit: None,
            parent: None,
            login_uid: None,
            what: missing.unwrap_or(NO_CAUSE).into(),
            at: None,
        });
    }
    roots
}

/// Whether it is about an automount unit, whose traffic is who looks at the path.
fn is_automount(record: &Record) -> bool {
    record.unit.as_deref().is_some_and(|unit| unit.ends_with(".automount"))
}

/// The root that a record is.
pub(crate) fn root(record: &Record) -> Root {
    let (mut pid, mut uid, mut command) = (None, None, None);
    let mut asked = None;
    let kind = match &record.fact {
        Fact::Started { pid: own, .. } => {
            pid = Some(*own);
            RootKind::Boot
        }
        Fact::Request { client, verb, .. } => {
            pid = Some(client.pid);
            uid = Some(client.uid);
            command = Some(client.command.clone());
            asked = Some(client);
            if *verb == Verb::Run { RootKind::Boot } else { RootKind::Request }
        }
        Fact::ProcessExited { pid: ended, .. } => {
            pid = Some(*ended);
            RootKind::Exit
        }
        Fact::DeadlineReached { .. } => RootKind::Deadline,
        // A path unit's traffic is what happens to the path.
        Fact::Traffic { .. } if record.unit.as_deref().is_some_and(|u| u.ends_with(".path")) => {
            RootKind::File
        }
        Fact::Traffic { .. } => RootKind::Traffic,
        Fact::OomKill { .. } | Fact::Device { .. } | Fact::Deprived { .. } => RootKind::Kernel,
        Fact::ManagerSignal { pid: sender, uid: user, .. } => {
            pid = Some(*sender);
            uid = Some(*user);
            RootKind::Signal
        }
        Fact::Signalled { sender, .. } => {
            pid = Some(sender.pid);
            uid = Some(sender.uid);
            command = Some(sender.command.clone());
            asked = Some(sender);
            RootKind::Signal
        }
        Fact::ClockJump { .. } | Fact::TimeZoneChanged { .. } => RootKind::Clock,
        Fact::SpawnFailed { step, .. } => match step {
            SpawnStep::Exec
            | SpawnStep::Chdir
            | SpawnStep::Stdio
            | SpawnStep::Environment
            | SpawnStep::Credentials
            | SpawnStep::Directories => RootKind::File,
            SpawnStep::Fork
            | SpawnStep::Cgroup
            | SpawnStep::Limits
            | SpawnStep::Filter
            | SpawnStep::Attributes
            | SpawnStep::Scheduling
            | SpawnStep::Namespace
            | SpawnStep::Network => RootKind::Kernel,
            SpawnStep::User | SpawnStep::Session | SpawnStep::Sockets | SpawnStep::Executor => RootKind::Exit,
        },
        Fact::Failed { .. } => RootKind::Kernel,
        _ => RootKind::Unknown,
    };
    Root {
        kind,
        unit: record.unit.clone(),
        pid,
        uid,
        command,
        client_unit: asked.and_then(|client| client.unit.clone()),
        parent: asked.and_then(|client| client.parent.clone()),
        login_uid: asked.and_then(|client| client.login_uid),
        what: record.sentence(),
        at: Some(record.at),
    }
}

/// What is told of a path: the event, and each record that isn't only the machinery between two others.
pub(crate) fn steps(index: &Index, path: &Path, event: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut delay = None;
    for (nth, &at) in path.places.iter().enumerate() {
        let record = &index.records[at];
        if let Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us } = record.fact {
            delay = Some(after_us);
        }
        let told = if nth == 0 {
            let refusal = match record.fact {
                Fact::StartLimitHit { .. } | Fact::ConditionFailed { .. } => phrase(index, record, false),
                _ => None,
            };
            let what = refusal.map_or_else(|| event.to_string(), |(why, _)| format!("{event}: {why}"));
            Some((what.clone(), what))
        } else {
            let moved = steps.last().is_some_and(|s| s.unit != record.unit);
            let asked = matches!(
                path.places.get(nth + 1).map(|&p| &index.records[p].fact),
                Some(Fact::Request { .. })
            );
            let left_behind =
                nth == 1 && matches!(index.records[path.places[0]].fact, Fact::LeftBehind { .. });
            phrase(index, record, (moved && !asked) || left_behind)
        };
        if let Some((what, kind)) = told {
            let before = steps.get_mut(1..).and_then(<[Step]>::last_mut);
            if let (Some(after_us), Some(step)) = (delay.take(), before)
                && step.unit == record.unit
                && matches!(record.fact, Fact::ProcessExited { .. } | Fact::StateChanged { .. })
            {
                step.what.push_str(&format!(", {} after it ended", speech::duration(after_us)));
            }
            steps.push(Step {
                record: record.id,
                unit: record.unit.clone(),
                what,
                kind,
                at: match record.fact {
                    Fact::Away { from, .. } => from,
                    _ => record.at,
                },
                certainty: record.certainty,
                basis: basis::of(index, at),
                rule: None,
                other_rules: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut().filter(|_| record.certainty == Certainty::Inferred) {
            // The way to the next step that is told leads through something that was concluded.
            step.certainty = Certainty::Inferred;
            // Of several conclusions that is told which is not so every time.
            let known = step.basis.take().filter(|known| !basis::is_ordinary(known));
            step.basis = known.or_else(|| basis::of(index, at));
        }
        if let (Some(rule), Some(step)) = (&path.rules[nth], steps.last_mut())
            && step.rule.as_ref() != Some(rule)
        {
            // The rule nearest to the cause says why, those before it how.
            step.other_rules.retain(|other| other != rule);
            step.other_rules.extend(step.rule.replace(rule.clone()));
        }
    }
    steps
}

/// The past participle of a job, for a unit that it was done to.
fn done(job_type: JobType) -> &'static str {
    match job_type {
        JobType::Start | JobType::VerifyActive | JobType::Nop => "started",
        JobType::Stop => "stopped",
        JobType::Restart | JobType::TryRestart => "restarted",
        JobType::Reload | JobType::TryReload | JobType::ReloadOrStart => "reloaded",
    }
}

/// What is told of a record within a chain, and the same without pids. `moved`: it is the first that is
/// told of its unit.
fn phrase(index: &Index, record: &Record, moved: bool) -> Option<(String, String)> {
    let plain = |text: String| Some((text.clone(), text));
    match &record.fact {
        Fact::ProcessExited { .. } if index.ordered_exit(record) || is_step(record) => None,
        Fact::ProcessExited { pid, role, exit, .. } => {
            let end = speech::exit(*exit);
            Some((format!("{} {end}", sentence::process(*role, *pid)), format!("{role} {end}")))
        }
        Fact::Request { verb, client, .. } => Some((
            format!("{} asked for {verb}", sentence::client(client)),
            match &client.parent {
                Some(parent) => {
                    let (uid, command, by) = (client.uid, &client.command, &parent.command);
                    format!("user {uid} asked for {verb}: {command}, called by {by}")
                }
                None => format!("user {} asked for {verb}: {}", client.uid, client.command),
            },
        )),
        Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, .. } => None,
        Fact::DeadlineReached { deadline, after_us } => plain(sentence::deadline(*deadline, *after_us)),
        Fact::Traffic { listen, peer: Some(who) } if is_automount(record) => {
            Some((format!("{who} came by at {listen}"), format!("somebody came by at {listen}")))
        }
        Fact::Traffic { listen, peer } => {
            let from = peer.as_deref().map(|p| format!(" from {p}")).unwrap_or_default();
            Some((format!("traffic on {listen}{from}"), format!("traffic on {listen}")))
        }
        Fact::OomKill { .. } => plain("the kernel ran out of memory and killed a process".into()),
        Fact::Started { .. } => Some((record.sentence(), "hence began to run".into())),
        Fact::ManagerSignal { signal, .. } => {
            Some((record.sentence(), format!("{} reached hence", speech::signal(i32::from(*signal)))))
        }
        Fact::Signalled { signal, sender, .. } => Some((
            format!("{} came from {}", speech::signal(i32::from(*signal)), sentence::client(sender)),
            format!("{} came from {}", speech::signal(i32::from(*signal)), sender.command),
        )),
        Fact::Reexecuted { .. } => plain("hence executed its program anew".into()),
        Fact::TakenUp { .. } => plain("it was taken up as it still ran".into()),
        Fact::TimeZoneChanged { .. } => plain(record.sentence()),
        Fact::ClockJump { .. } => Some((record.sentence(), "the wall clock was set".into())),
        Fact::Away { what, from, to, how } => {
            let away = sentence::away(*what, *from, *to, how);
            Some((format!("something that was not seen: {away}"), what.as_str().into()))
        }
        Fact::Unknown { .. } => plain("no cause is known".into()),
        Fact::Refused { message, .. } => plain(format!("the request was refused: {message}")),
        Fact::SignalSent { signal, reason: SignalReason::Watchdog | SignalReason::Request, .. } => {
            plain(format!("{} was sent to it", speech::signal(i32::from(*signal))))
        }
        Fact::SpawnFailed { role, step, errno, subject } => {
            plain(sentence::spawn_failure(*role, *step, *errno, subject))
        }
        Fact::Deprived { what, missing, errno, without } => {
            plain(sentence::deprived(what, missing, *errno, *without))
        }
        Fact::BusName { name, owned: false } => plain(format!("its name {name} is gone from the bus")),
        Fact::Device { path, there: true } => plain(format!("the device {path} came")),
        Fact::Device { path, there: false } => plain(format!("the device {path} went")),
        Fact::Failed { operation, errno, subject } => plain(sentence::failure(*operation, *errno, subject)),
        Fact::StopAsked { controller } => plain(format!("its controller {controller} was asked to stop it")),
        Fact::StartLimitHit { burst, interval_us } => plain(sentence::start_limit(*burst, *interval_us)),
        Fact::ConditionFailed { condition, .. } => plain(format!("{condition} didn't hold")),
        Fact::JobDropped { job_type, reason } => plain(format!("its {job_type} job was dropped: {reason}")),
        Fact::JobFinished { job_type, result, .. } if moved => match result {
            JobResult::Done => None,
            JobResult::Failed => plain(format!("its {job_type} failed")),
            JobResult::Timeout => plain(format!("its {job_type} took too long")),
            JobResult::Dependency => plain("not started, for a unit that it requires failed".into()),
            _ => plain(format!("its {job_type} job ended: {result}")),
        },
        Fact::JobQueued { job_type, .. } | Fact::JobMerged { job_type, .. } if moved => {
            plain(done(*job_type).into())
        }
        Fact::StateChanged { to_active, to, result, .. } if moved => {
            plain(state_phrase(*to_active, *to, *result))
        }
        Fact::LeftBehind { .. } if moved => plain("left processes behind".into()),
        _ => None,
    }
}

fn state_phrase(active: ActiveState, sub: SubState, result: UnitResult) -> String {
    match active {
        ActiveState::Failed => format!("failed ({result})"),
        ActiveState::Inactive if result == UnitResult::Success => "stopped".into(),
        ActiveState::Active => "started".into(),
        _ => format!("became {active} ({sub})"),
    }
}

/// What the event is called: `stopped`, `restarted`, `finished`, `failed`, `started`, `not started`.
pub(crate) fn event_word(index: &Index, kind: EventKind, path: &Path) -> &'static str {
    let unit = path.places.first().and_then(|&at| index.records[at].unit.as_ref());
    match kind {
        EventKind::Up => "started",
        EventKind::Failed => "failed",
        EventKind::NotStarted => "not started",
        EventKind::Down => {
            for (nth, &at) in path.places.iter().enumerate() {
                let record = &index.records[at];
                if record.unit.as_ref() != unit {
                    break;
                }
                match &record.fact {
                    Fact::ProcessExited { .. } if !index.ordered_exit(record) && !is_step(record) => {
                        return "finished";
                    }
                    // Asked for by name, so that it is the unit's own restart and not another's.
                    Fact::JobQueued { job_type: JobType::Restart | JobType::TryRestart, .. }
                    | Fact::JobMerged { job_type: JobType::Restart | JobType::TryRestart, .. } => {
                        let asked = path.places.get(nth + 1).map(|&p| &index.records[p].fact);
                        return if matches!(asked, Some(Fact::Request { .. })) {
                            "restarted"
                        } else {
                            "stopped"
                        };
                    }
                    _ => {}
                }
            }
            "stopped"
        }
    }
}

/// An event with its main path, told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub at: At,
    pub word: &'static str,
    pub path: Path,
    pub steps: Vec<Step>,
}

/// Tells an event of a unit.
pub(crate) fn tell(index: &Index, at: At, kind: EventKind) -> Told {
    let path = path(index, at);
    let word = event_word(index, kind, &path);
    let steps = steps(index, &path, word);
    Told { at, word, path, steps }
}

impl Told {
    /// The steps as sentences without pids: alike for like events.
    pub(crate) fn signature(&self) -> Vec<Text> {
        let mut lines: Vec<Text> = self
            .steps
            .iter()
            .map(|s| {
                let rule = s.rule.as_ref().map(|r| format!(" ({})", r.directive)).unwrap_or_default();
                format!("{}: {}{rule}", s.unit.as_deref().unwrap_or("hence"), s.kind).into()
            })
            .collect();
        if let Some(broken) = self.path.broken {
            lines.push(broken.into());
        }
        lines
    }
}

/// The event word that a tally names; words of a newer hence read as `stopped`.
pub(crate) fn known_word(word: &str) -> &'static str {
    const WORDS: [&str; 6] = ["started", "failed", "not started", "finished", "restarted", "stopped"];
    WORDS.into_iter().find(|known| *known == word).unwrap_or("stopped")
}
