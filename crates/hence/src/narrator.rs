//! Tells a person at a terminal what happens in a foreground run: calm lines, and one line for a loop
//! rather than one per turn. It runs in a thread of its own, so that a terminal that is held back (^S)
//! holds nobody up; what it can't keep up with is dropped and counted.

use hence_ledger::speech;
use hence_ledger::{
    ActiveState, DeadlineKind, Exit, ExitKind, Fact, ProcessRole, Record, RecordId, SubState, Text,
};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records that may wait to be told.
const QUEUE: usize = 4096;
/// Records that are remembered as reasons.
const REMEMBERED: usize = 2048;
/// Like turns after which a unit's events are told as a loop.
const LOOP: u64 = 3;

/// The sending half, in the run loop.
#[derive(Debug)]
pub struct Narrator {
    sender: Sender<Vec<Record>>,
    /// What is handed over next: a wake-up of the thread costs more than many records.
    batch: Vec<Record>,
    /// Records that wait. A channel that bounds itself would hold room for all of them from the start.
    waiting: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
    dropped: u64,
}

impl Narrator {
    /// Starts to tell. `quiet`: only what a person must know.
    pub fn start(quiet: bool) -> std::io::Result<Narrator> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let told = waiting.clone();
        let thread = std::thread::Builder::new()
            .name("narrator".into())
            .stack_size(256 << 10)
            .spawn(move || Story::new(quiet).tell_all(&receiver, &told))?;
        Ok(Narrator { sender, batch: Vec::new(), waiting, thread, dropped: 0 })
    }

    /// Takes one record, if there is anything in it for a person; it is told after [`Narrator::flush`].
    pub fn tell(&mut self, record: &Record) {
        if !is_told(&record.fact) {
            return;
        }
        if self.waiting.load(Ordering::Relaxed) >= QUEUE {
            self.dropped += 1;
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.batch.push(record.clone());
    }

    /// Has told what was taken.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            // Fails only where the thread has ended early, and then there is nobody to tell.
            let _ = self.sender.send(std::mem::take(&mut self.batch));
        }
    }

    /// Waits until all is told, at most so long: a terminal may be held back.
    pub fn told_within(&mut self, longest: Duration) {
        self.flush();
        let begun = Instant::now();
        while self.waiting.load(Ordering::Acquire) > 0 && begun.elapsed() < longest {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until all is told.
    pub fn close(mut self) {
        self.flush();
        drop(self.sender);
        // A thread that panicked has said so itself.
        let _ = self.thread.join();
        if self.dropped > 0 {
            eprintln!("hence: {} events were not told here; the ledger has them", self.dropped);
        }
    }
}

fn is_told(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::StateChanged { .. }
            | Fact::ProcessExited { .. }
            | Fact::SpawnFailed { .. }
            | Fact::LeftBehind { .. }
            | Fact::LeftOverGone { .. }
            | Fact::StartLimitHit { .. }
            | Fact::ConditionFailed { .. }
            | Fact::Refused { .. }
            | Fact::RestartScheduled { .. }
            | Fact::DeadlineReached { .. }
            | Fact::ManagerSignal { .. }
            | Fact::OomKill { .. }
            | Fact::JobQueued { .. }
            | Fact::JobMerged { .. }
            | Fact::JobDropped { .. }
            | Fact::Traffic { .. }
            | Fact::SignalSent { .. }
            | Fact::Request { .. }
            | Fact::Loaded { .. }
    )
}

/// What is known of one unit.
#[derive(Default)]
struct Thread {
    /// Turns: how often it went down by the same reason in a row, and when.
    reason: String,
    turns: u64,
    first_us: u64,
    last_us: u64,
    told: bool,
    left: u64,
    left_bytes: u64,
}

struct Story {
    quiet: bool,
    colour: bool,
    live: bool,
    begun_us: Option<u64>,
    units: BTreeMap<Text, Thread>,
    /// By the record, whose numbers only rise. Records that hand a reason on share its text.
    reasons: VecDeque<(RecordId, Text, Text)>,
    shown_live: bool,
    ending: bool,
    /// Diagnostics that were told, by their hash.
    told: HashSet<u64>,
}

impl Story {
    fn new(quiet: bool) -> Story {
        let terminal = std::io::stdout().is_terminal();
        Story {
            quiet,
            colour: terminal && std::env::var_os("NO_COLOR").is_none(),
            live: terminal,
            begun_us: None,
            units: BTreeMap::new(),
            reasons: VecDeque::new(),
            shown_live: false,
            ending: false,
            told: HashSet::new(),
        }
    }

    fn tell_all(mut self, receiver: &Receiver<Vec<Record>>, waiting: &AtomicUsize) {
        while let Ok(records) = receiver.recv() {
            records.iter().for_each(|record| self.tell(record));
            waiting.fetch_sub(records.len(), Ordering::Release);
        }
        self.summary();
    }

    fn tell(&mut self, record: &Record) {
        self.begun_us.get_or_insert(record.at.monotonic_us);
        if let Some(reason) = self.reason_of(record) {
            self.remember(record.id, record.unit.clone().unwrap_or_else(|| "hence".into()), reason);
        }
        let Some(unit) = record.unit.clone() else {
            if let Fact::ManagerSignal { signal, .. } = record.fact {
                self.ending = true;
                self.line(
                    record,
                    "hence",
                    &format!(
                        "asked to end by {}: stopping everything in order",
                        speech::signal(i32::from(signal))
                    ),
                    Tone::Plain,
                );
            } else if let Fact::DeadlineReached { deadline: DeadlineKind::RunFor, after_us } = record.fact {
                self.ending = true;
                self.line(
                    record,
                    "hence",
                    &format!("{} are over: stopping everything in order", span(after_us)),
                    Tone::Plain,
                );
            }
            return;
        };
        match &record.fact {
            Fact::Loaded { load, diagnostics, .. } => self.loaded(record, &unit, load, diagnostics),
            Fact::StateChanged { from_active, to_active, to, result, .. } => {
                self.state(record, &unit, (*from_active, *to_active), *to, result.as_str());
            }
            Fact::SpawnFailed { role, step, errno, subject } => {
                let why = std::io::Error::from_raw_os_error(*errno);
                self.once(
                    record,
                    &unit,
                    &format!("{role} could not be started: {step}: {subject}: {why}"),
                    Tone::Bad,
                );
            }
            Fact::LeftBehind { processes, total, allowed } => {
                let thread = self.units.entry(unit.clone()).or_default();
                thread.left = u64::from(*total);
                thread.left_bytes += processes.iter().filter_map(|p| p.bytes).sum::<u64>();
                if thread.turns < LOOP && !*allowed {
                    let names: Vec<String> = processes
                        .iter()
                        .take(3)
                        .map(|p| format!("{} ({})", p.pid, clean(&p.command)))
                        .collect();
                    let rule = record
                        .causes
                        .first()
                        .and_then(|c| c.rule.as_ref())
                        .map(rule_text)
                        .unwrap_or_default();
                    let text = format!(
                        "left {} behind: {}{}",
                        speech::count(processes.len() as u64, "process", "processes"),
                        names.join(", "),
                        rule
                    );
                    self.line(record, &unit, &text, Tone::Bad);
                }
            }
            Fact::StartLimitHit { burst, interval_us } => {
                let text =
                    format!("started more than {burst} times in {}: not started again", span(*interval_us));
                self.line(record, &unit, &text, Tone::Bad);
            }
            Fact::ConditionFailed { condition, .. } => {
                self.line(record, &unit, &format!("not started: {condition} does not hold"), Tone::Plain);
            }
            Fact::Refused { message, .. } => self.line(record, &unit, message, Tone::Bad),
            Fact::JobDropped { job_type, reason } => {
                self.line(record, &unit, &format!("{job_type} left out: {reason}"), Tone::Bad);
            }
            Fact::OomKill { .. } => {
                self.line(record, &unit, "out of memory: the kernel killed a process", Tone::Bad)
            }
            _ => {}
        }
    }

    /// What is wrong with a unit's files, each thing once, though units are read again and again.
    fn loaded(&mut self, record: &Record, unit: &Text, load: &Text, diagnostics: &[Text]) {
        if &**load == "masked" {
            self.line(record, unit, "masked: it will not be started", Tone::Bad);
        }
        for text in diagnostics {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
            let new = self.told.len() < REMEMBERED && self.told.insert(hash);
            if new && !text.contains(": note: ") {
                if std::mem::take(&mut self.shown_live) {
                    let _ = writeln!(std::io::stdout());
                }
                let _ = writeln!(std::io::stderr(), "hence: {}", clean(text));
            }
        }
    }

    fn state(
        &mut self,
        record: &Record,
        unit: &Text,
        (from, to): (ActiveState, ActiveState),
        sub: SubState,
        result: &str,
    ) {
        use ActiveState::*;
        let service = unit.ends_with(".service") || unit.ends_with(".socket");
        let up = |s| matches!(s, Active | Reloading);
        if !service {
            return;
        }
        if up(to) && !up(from) {
            let looping = self.units.get(unit).is_some_and(|t| t.turns >= 2);
            if !looping {
                let word = match sub {
                    SubState::Listening => "listening",
                    SubState::Exited => "done",
                    _ => "up",
                };
                self.line(record, unit, word, Tone::Good);
            }
        } else if to == Failed || (to == Inactive && !matches!(from, Failed | Activating)) {
            self.down(record, unit, to == Failed, result);
        } else if to == Activating
            && sub == SubState::AutoRestart
            && self.units.get(unit).is_some_and(|t| t.turns < 2)
        {
            let delay =
                record.causes.first().and_then(|c| c.rule.as_ref()).map(rule_text).unwrap_or_default();
            self.line(record, unit, &format!("will be started again{delay}"), Tone::Plain);
        }
    }

    fn down(&mut self, record: &Record, unit: &Text, failed: bool, result: &str) {
        let reason = self.because(record, unit);
        let word = if failed { format!("failed ({result})") } else { "down".to_owned() };
        let thread = self.units.entry(unit.clone()).or_default();
        if thread.reason == reason && !self.ending {
            thread.turns += 1;
        } else {
            thread.turns = 1;
            thread.reason.clone_from(&reason);
            thread.first_us = record.at.monotonic_us;
            thread.told = false;
        }
        thread.last_us = record.at.monotonic_us;
        let (turns, told) = (thread.turns, thread.told);
        let period = thread.last_us.saturating_sub(thread.first_us) / (turns - 1).max(1);
        if turns < LOOP {
            self.line(record, unit, &format!("{word}{reason}"), if failed { Tone::Bad } else { Tone::Plain });
        } else if !told {
            thread.told = true;
            let text = format!("in a loop, every {}: {word}{reason}; ask: hence why {unit}", span(period));
            self.line(record, unit, &text, Tone::Bad);
        } else if self.live {
            self.live_line();
        } else if turns.is_power_of_two() {
            let left = thread.left;
            let left = if left > 0 { format!(", {left} left behind so far") } else { String::new() };
            self.line(record, unit, &format!("still in its loop, {turns} times now{left}"), Tone::Plain);
        }
    }

    /// The reason in the chain of causes that says most: the first that belongs to another unit or to a
    /// process, a deadline or a client.
    fn because(&self, record: &Record, unit: &Text) -> String {
        let mut best = String::new();
        for cause in &record.causes {
            if let Some((of, text)) = self.reason(cause.record) {
                let rule = cause.rule.as_ref().map(rule_text).unwrap_or_default();
                best = if of == unit || of.is_empty() {
                    format!(": {text}{rule}")
                } else {
                    format!(": {of} {text}{rule}")
                };
                break;
            }
        }
        best
    }

    /// What a record says as the reason of a later one. A state change hands on the reason it has itself.
    fn reason_of(&self, record: &Record) -> Option<Text> {
        let handed_on = || record.causes.iter().find_map(|c| self.reason(c.record).map(|r| (c, r)));
        match &record.fact {
            Fact::ProcessExited { role, exit, .. } => {
                let signal = record.causes.iter().find_map(|c| self.reason(c.record));
                match signal {
                    Some((_, text)) if exit.kind != ExitKind::Exited || exit.status == 0 => {
                        Some(text.clone())
                    }
                    _ => Some(exit_text(*role, *exit).into()),
                }
            }
            Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, .. } => {
                handed_on().map(|(_, (_, text))| text.clone())
            }
            Fact::DeadlineReached { deadline: DeadlineKind::RunFor, .. } => Some("the run is over".into()),
            Fact::DeadlineReached { deadline, after_us } => {
                Some(format!("{deadline}={} is over", span(*after_us)).into())
            }
            Fact::ManagerSignal { .. } => Some("hence was asked to end".into()),
            Fact::Request { verb, client, .. } => {
                Some(format!("{verb} asked for by pid {} ({})", client.pid, clean(&client.command)).into())
            }
            Fact::OomKill { .. } => Some("out of memory".into()),
            Fact::StartLimitHit { .. } => Some("the start limit was hit".into()),
            Fact::SpawnFailed { step, .. } => Some(format!("could not be started ({step})").into()),
            Fact::JobQueued { .. } | Fact::JobMerged { .. } => {
                let (cause, (of, text)) = handed_on()?;
                let unit = record.unit.as_ref()?;
                let rule = cause.rule.as_ref().map(rule_text).unwrap_or_default();
                if of == unit || of.as_ref() == "hence" || text.contains("asked for by") {
                    Some(text.clone())
                } else {
                    Some(format!("{of} is restarted or stopped{rule}").into())
                }
            }
            _ => handed_on().map(|(_, (_, text))| text.clone()),
        }
    }

    /// What a record that is remembered says as a reason, and the unit it says it of.
    fn reason(&self, id: RecordId) -> Option<(&Text, &Text)> {
        let at = self.reasons.binary_search_by_key(&id, |(known, ..)| *known).ok()?;
        self.reasons.get(at).map(|(_, unit, reason)| (unit, reason))
    }

    fn remember(&mut self, id: RecordId, unit: Text, reason: Text) {
        if self.reasons.len() >= REMEMBERED {
            self.reasons.pop_front();
        }
        self.reasons.push_back((id, unit, reason));
    }

    /// A line that is told again only when it changes.
    fn once(&mut self, record: &Record, unit: &Text, text: &str, tone: Tone) {
        if self.units.get(unit).is_some_and(|t| t.turns >= 2) {
            return;
        }
        self.line(record, unit, text, tone);
    }

    fn line(&mut self, record: &Record, unit: &str, text: &str, tone: Tone) {
        if self.quiet && tone != Tone::Bad {
            return;
        }
        let since = record.at.monotonic_us.saturating_sub(self.begun_us.unwrap_or_default());
        let (on, off) = match tone {
            Tone::Good if self.colour => ("\x1b[32m", "\x1b[0m"),
            Tone::Bad if self.colour => ("\x1b[31m", "\x1b[0m"),
            _ => ("", ""),
        };
        let clear = if std::mem::take(&mut self.shown_live) { "\r\x1b[K" } else { "" };
        let at = format!("{:>3}.{:01}s", since / 1_000_000, since / 100_000 % 10);
        // A reader that is gone is no reason to end anything.
        let _ = writeln!(std::io::stdout(), "{clear}{at}  {on}{unit}{off}  {}", clean(text));
    }

    /// One line at the bottom of a terminal that counts the turns of what loops.
    fn live_line(&mut self) {
        let mut parts = Vec::new();
        for (unit, thread) in self.units.iter().filter(|(_, t)| t.told) {
            let left = match thread.left {
                0 => String::new(),
                n => format!(", {n} left behind, {}", bytes(thread.left_bytes)),
            };
            parts.push(format!("{unit} {}x{left}", thread.turns));
        }
        let text: String = parts.join("; ").chars().take(100).collect();
        let mut out = std::io::stdout();
        let _ = write!(out, "\r\x1b[K  {text}");
        let _ = out.flush();
        self.shown_live = true;
    }

    fn summary(&mut self) {
        if std::mem::take(&mut self.shown_live) {
            let _ = writeln!(std::io::stdout());
        }
        for (unit, thread) in &self.units {
            if thread.left > 0 {
                let count = speech::count(thread.left, "process", "processes");
                let _ = writeln!(
                    std::io::stdout(),
                    "        {unit}  leaves {count} behind, {}; ask: hence leaks",
                    bytes(thread.left_bytes)
                );
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Good,
    Bad,
}

fn exit_text(role: ProcessRole, exit: Exit) -> String {
    match exit.kind {
        ExitKind::Exited => format!("{role} exited with status {}", exit.status),
        ExitKind::Killed => format!("{role} was killed by {}", speech::signal(exit.status)),
        ExitKind::Dumped => format!("{role} dumped core on {}", speech::signal(exit.status)),
    }
}

fn rule_text(rule: &hence_ledger::Rule) -> String {
    match &rule.file {
        Some(file) => {
            let name = file.rsplit('/').next().unwrap_or(file);
            format!(" ({}, {name}:{})", rule.directive, rule.line)
        }
        None => format!(" ({})", rule.directive),
    }
}

fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..100_000_000 => format!("{}.{} s", us / 1_000_000, us / 100_000 % 10),
        _ => format!("{} min", us / 60_000_000),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{} KiB", count >> 10),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// What services wrote or are called may hold anything: control characters don't reach the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}
