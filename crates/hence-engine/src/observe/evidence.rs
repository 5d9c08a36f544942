//! What sources said that is no event by itself, kept until an event is looked for that it explains. Bounded:
//! what is older than anything that could still need it is forgotten.

use super::seen::{Asked, Evidence, Message, Seen, What};
use super::unit::{Unit, sub_state};
use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
};
use hence_ledger::{Certainty, Client, Exit, JobResult, JobType, SubState, Text, Verb};

/// How long evidence is kept, in microseconds.
const MEMORY_US: u64 = 20_000_000;
/// Most pieces of one kind.
const PIECES: usize = 4096;
/// Units whose restarts are counted.
const COUNTED: usize = 65_536;
/// How long before a job its client may have been executed: it has to be loaded, and may be asked for a
/// password.
const CLIENT_US: u64 = 10_000_000;
/// How much earlier a call may be than the signal of its job.
const CALL_US: u64 = 1_000_000;
/// Clocks of sources differ by no more than this.
pub(super) const SKEW_US: u64 = 300_000;

/// A request that was seen, and what it has been used for.
#[derive(Debug)]
pub(super) struct Request {
    pub at_us: u64,
    pub asked: Asked,
    /// Units whose job it has explained.
    used: alloc::vec::Vec<Text>,
}

/// A signal that was seen to be sent.
#[derive(Debug)]
pub(super) struct Signal {
    pub at_us: u64,
    pub signal: u8,
    pub pid: u32,
    pub sender: Client,
}

/// A process of a unit that is no main process and ended badly, as the manager says.
#[derive(Debug)]
pub(super) struct Control {
    pub at_us: u64,
    pub unit: Text,
    pub command: String,
    pub exit: Exit,
    pub pid: u32,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    types: BTreeMap<u32, JobType>,
    transactions: BTreeMap<u32, u64>,
    requests: VecDeque<Request>,
    signals: VecDeque<Signal>,
    pub controls: VecDeque<Control>,
    /// Units whose restart the manager said that it scheduled.
    scheduled: VecDeque<(u64, Text)>,
    /// Units that trigger others and did something; whether it is sure that they did trigger.
    triggers: VecDeque<(u64, Text, bool)>,
    ooms: VecDeque<(u64, Option<u32>, Option<Text>)>,
    /// Lines that say that something took too long.
    timeouts: VecDeque<(u64, Text, String)>,
    exits: VecDeque<(u64, u32, Exit)>,
    /// Executions that failed before the program ran.
    spawns: VecDeque<(u64, Text, String)>,
    /// How often units were started again by themselves, as was told last.
    restarts: BTreeMap<Text, u32>,
    /// Clients that were gone before they could be looked at.
    passed: VecDeque<(u64, u32, Text)>,
}

fn push<T>(queue: &mut VecDeque<T>, piece: T) {
    if queue.len() >= PIECES {
        queue.pop_front();
    }
    queue.push_back(piece);
}

/// How sure a request is, by how it came to be known.
pub(super) fn certainty(evidence: Evidence) -> Certainty {
    match evidence {
        Evidence::Call => Certainty::Observed,
        Evidence::CommandLine => Certainty::Inferred,
    }
}

/// The type of job that a verb makes.
fn makes(verb: Verb, job_type: JobType) -> bool {
    use JobType as J;
    match verb {
        Verb::Start | Verb::Isolate | Verb::StartTransient | Verb::Enable | Verb::Reenable => {
            job_type == J::Start
        }
        Verb::Stop | Verb::Disable => job_type == J::Stop,
        Verb::Restart | Verb::TryRestart => matches!(job_type, J::Restart | J::TryRestart | J::Start),
        Verb::Reload => matches!(job_type, J::Reload | J::TryReload),
        Verb::ReloadOrRestart | Verb::ReloadOrTryRestart => !matches!(job_type, J::Stop | J::Nop),
        Verb::PowerOff | Verb::Reboot | Verb::Halt | Verb::Kexec | Verb::Exit => job_type == J::Start,
        _ => false,
    }
}

/// Whether this word of a request means the unit.
fn means(word: &str, unit: &str) -> bool {
    if word.contains(['*', '?', '[']) {
        return hence_unit::pattern::matches(word, unit);
    }
    word == unit || !word.contains('.') && unit.strip_suffix(".service") == Some(word)
}

impl Store {
    /// Keeps evidence; gives back what is an event.
    pub fn keep(&mut self, seen: Seen, units: &BTreeMap<Text, Unit>) -> Option<Seen> {
        let at_us = seen.at.monotonic_us;
        match seen.what {
            What::JobIs(job, job_type) => self.is(job, job_type),
            What::Asked(asked) => {
                let used = alloc::vec::Vec::new();
                push(&mut self.requests, Request { at_us, asked: *asked, used });
            }
            What::Passed { pid, program } => push(&mut self.passed, (at_us, pid, program)),
            What::Signalled { signal, pid, sender } => {
                push(&mut self.signals, Signal { at_us, signal, pid, sender: *sender });
            }
            What::OomKill { pid, unit } => push(&mut self.ooms, (at_us, pid, unit)),
            What::Ended { pid, exit } => push(&mut self.exits, (at_us, pid, exit)),
            What::Said(ref message) => {
                self.said(at_us, message);
                let refuses = is_start_limit(&message.text) || condition(&message.text).is_some();
                return (message.unit.is_some() && refuses).then_some(seen);
            }
            What::Changed(ref name, ref change) => {
                if let Some(count) = change.restarts {
                    self.count_restarts(at_us, name, count, units);
                }
                if matches!(name.rsplit('.').next(), Some("timer" | "path" | "socket")) {
                    let known = units.get(name);
                    let elapsed = change.triggered_us.is_some_and(|at| {
                        at != 0 && known.is_none_or(|u| u.triggered_us != at) && at + MEMORY_US > at_us
                    });
                    let accepted = change.accepted.is_some_and(|n| known.is_none_or(|u| u.accepted < n));
                    let sub = change.sub.as_deref().and_then(|word| sub_state(name, word));
                    let was = known.map(|u| u.sub);
                    let runs = |s| matches!(s, SubState::SocketRunning | SubState::TriggerRunning);
                    let began = sub.is_some_and(runs) && !was.is_some_and(runs);
                    push(&mut self.triggers, (at_us, name.clone(), elapsed || accepted || began));
                }
                return Some(seen);
            }
            _ => return Some(seen),
        }
        None
    }

    /// A restart is counted when it is queued.
    fn count_restarts(&mut self, at_us: u64, name: &Text, count: u32, units: &BTreeMap<Text, Unit>) {
        while self.restarts.len() >= COUNTED {
            self.restarts.pop_first();
        }
        let known = self.restarts.insert(name.clone(), count);
        let known = known.or_else(|| units.get(name).map(|u| u.restarts));
        if known.is_some_and(|known| known + 1 == count) {
            push(&mut self.scheduled, (at_us, name.clone()));
        }
    }

    fn is(&mut self, job: u32, job_type: JobType) {
        // The second half of a restart is called a start.
        let known = self.types.entry(job).or_insert(job_type);
        if matches!(job_type, JobType::Restart | JobType::TryRestart)
            || *known == JobType::Stop && job_type == JobType::Start
        {
            *known = JobType::Restart;
        }
        while self.types.len() > PIECES {
            self.types.pop_first();
        }
    }

    fn said(&mut self, at_us: u64, message: &Message) {
        if let Some(job) = message.job {
            // A restart is called a stop while it stops.
            let first_half = message.job_type == Some(JobType::Stop) && message.job_result.is_none();
            if let Some(job_type) = message.job_type.filter(|_| !first_half || !self.types.contains_key(&job))
            {
                self.is(job, job_type);
            }
            if let Some(transaction) = message.transaction {
                self.transactions.insert(job, transaction);
                while self.transactions.len() > PIECES {
                    self.transactions.pop_first();
                }
            }
        }
        let Some(unit) = message.unit.clone() else { return };
        if message.restarts.is_some() {
            push(&mut self.scheduled, (at_us, unit.clone()));
        }
        if let (Some(command), Some(exit)) = (&message.command, message.exit)
            && !message.text.contains("Main process")
        {
            let command = command.clone();
            push(&mut self.controls, Control { at_us, unit: unit.clone(), command, exit, pid: 0 });
        }
        let text = &message.text;
        if text.contains("timed out")
            || text.contains("runtime time limit")
            || text.contains("Watchdog timeout")
            || text.contains("maximum runtime")
        {
            push(&mut self.timeouts, (at_us, unit, text.clone()));
        } else if text.contains("Failed at step ") || text.contains("Failed to execute") {
            push(&mut self.spawns, (at_us, unit, text.clone()));
        } else if text.contains("killed by the OOM killer") {
            push(&mut self.ooms, (at_us, None, Some(unit)));
        }
    }

    /// The type of a job, where one was told.
    pub fn type_of(&self, job: u32) -> Option<JobType> {
        self.types.get(&job).copied()
    }

    /// Whether two jobs are known to be of one transaction, or of two.
    pub fn together(&self, a: u32, b: u32) -> Option<bool> {
        Some(self.transactions.get(&a)? == self.transactions.get(&b)?)
    }

    /// Whether somebody was seen to ask for a job of this type.
    pub fn asks(&self, unit: &Text, job_type: JobType, at_us: u64) -> bool {
        self.requests.iter().any(|r| {
            r.asked.units.iter().any(|word| means(word, unit))
                && makes(r.asked.verb, job_type)
                && r.at_us <= at_us + SKEW_US
                && r.at_us + CLIENT_US >= at_us
                && !r.used.contains(unit)
        })
    }

    /// Requests that explain a job: those that were seen as calls, else those that command lines tell.
    pub fn requests(&mut self, unit: &Text, job_type: JobType, at_us: u64) -> alloc::vec::Vec<(u64, Asked)> {
        let fits = |r: &Request| {
            let early = if r.asked.evidence == Evidence::Call { CALL_US } else { CLIENT_US };
            let whole = r.asked.units.is_empty() && ends(r.asked.verb, unit);
            (whole || r.asked.units.iter().any(|word| means(word, unit)))
                && makes(r.asked.verb, job_type)
                && r.at_us <= at_us + SKEW_US
                && r.at_us + early >= at_us
                && !r.used.contains(unit)
        };
        let called = self.requests.iter().any(|r| r.asked.evidence == Evidence::Call && fits(r));
        let mut found = alloc::vec::Vec::new();
        for request in self.requests.iter_mut() {
            if fits(request) && (!called || request.asked.evidence == Evidence::Call) {
                request.used.push(unit.clone());
                let known = |(_, a): &(u64, Asked)| a.client.pid == request.asked.client.pid;
                if !found.iter().any(known) {
                    found.push((request.at_us, request.asked.clone()));
                }
            }
        }
        // One that left the bus at once may have been seen to be executed: if only one can have been it.
        let unknown = found.iter().position(|(_, a)| a.client.pid == 0 && a.evidence == Evidence::Call);
        if let Some(nth) = unknown {
            let mut others = self.requests.iter().filter(|r| {
                r.asked.evidence == Evidence::CommandLine
                    && r.asked.units.iter().any(|word| means(word, unit))
                    && makes(r.asked.verb, job_type)
                    && r.at_us <= at_us + SKEW_US
                    && r.at_us + CALL_US >= at_us
            });
            if let (Some(only), None) = (others.next(), others.next()) {
                found[nth].1.client = only.asked.client.clone();
                found[nth].1.evidence = Evidence::CommandLine;
            } else if let (Some((pid, program)), None) = {
                let mut passed = self.passed(at_us);
                (passed.next(), passed.next())
            } {
                let command = alloc::format!("{program}, gone before it was looked at").into();
                found[nth].1.client = hence_ledger::Client { pid, command, ..Default::default() };
                found[nth].1.evidence = Evidence::CommandLine;
            }
        }
        // A caller that was gone when it was looked for may have been seen before.
        for (_, asked) in found.iter_mut().filter(|(_, asked)| asked.client.command.is_empty()) {
            let known =
                |r: &&Request| r.asked.client.pid == asked.client.pid && !r.asked.client.command.is_empty();
            if let Some(known) = self.requests.iter().find(known) {
                asked.client = known.asked.client.clone();
            }
        }
        // A command line that was seen as a call as well explains nothing else.
        if called {
            let pids: alloc::vec::Vec<u32> = found.iter().map(|(_, a)| a.client.pid).collect();
            for request in self.requests.iter_mut().filter(|r| pids.contains(&r.asked.client.pid)) {
                request.used.push(unit.clone());
            }
        }
        found
    }

    /// A request to kill processes of a unit.
    pub fn kill_request(&self, unit: &str, at_us: u64) -> Option<&Asked> {
        let fits = |r: &&Request| {
            r.asked.verb == Verb::Kill
                && r.asked.units.iter().any(|word| means(word, unit))
                && r.at_us <= at_us + SKEW_US
                && r.at_us + 2_000_000 >= at_us
        };
        self.requests.iter().rev().find(fits).map(|r| &r.asked)
    }

    /// A request that is for no unit.
    pub fn asked_of_whole(&self, verb: Verb, at_us: u64) -> Option<&Asked> {
        let fits =
            |r: &&Request| r.asked.verb == verb && r.at_us <= at_us + SKEW_US && r.at_us + CLIENT_US >= at_us;
        let called = self.requests.iter().rev().filter(|r| r.asked.evidence == Evidence::Call).find(fits);
        called.or_else(|| self.requests.iter().rev().find(fits)).map(|r| &r.asked)
    }

    /// Who asked for the manager to execute itself anew, in this time.
    pub fn reexec(&self, from_us: u64, to_us: u64) -> Option<&str> {
        let near = |r: &&Request| r.at_us + CLIENT_US >= from_us && r.at_us <= to_us;
        let asked = self.requests.iter().rev().filter(near).find(|r| r.asked.verb == Verb::DaemonReexec);
        asked.map(|r| &*r.asked.client.command).filter(|command| !command.is_empty())
    }

    /// Whether an isolate was asked for that explains stops beside this unit's start.
    pub fn isolates(&self, unit: &str, at_us: u64) -> bool {
        self.requests.iter().any(|r| {
            r.asked.verb == Verb::Isolate
                && r.asked.units.iter().any(|word| means(word, unit))
                && r.at_us <= at_us + SKEW_US
                && r.at_us + CLIENT_US >= at_us
        })
    }

    /// Who sent this process this signal.
    pub fn sender(&self, pid: u32, signal: Option<u8>, at_us: u64) -> Option<&Signal> {
        let fits = |s: &&Signal| {
            s.pid == pid
                && signal.is_none_or(|n| n == s.signal)
                && s.at_us <= at_us + 50_000
                && s.at_us + 5_000_000 >= at_us
        };
        self.signals.iter().rev().find(fits)
    }

    /// Whether the kernel killed processes of this unit for lack of memory just before.
    pub fn oom(&self, unit: &str, pid: u32, at_us: u64) -> bool {
        self.ooms.iter().any(|(at, killed, of)| {
            let near = *at <= at_us + SKEW_US && *at + 2_000_000 >= at_us;
            near && (of.as_deref() == Some(unit) || killed.is_some() && *killed == Some(pid))
        })
    }

    /// Whether the manager said that it schedules a restart of this unit.
    pub fn scheduled(&self, unit: &str, at_us: u64) -> bool {
        let near = |at: u64| at <= at_us + SKEW_US && at + SKEW_US >= at_us;
        self.scheduled.iter().any(|(at, of)| near(*at) && &**of == unit)
    }

    /// Whether a unit that triggers others did so, and whether that is sure.
    pub fn triggered(&self, unit: &str, at_us: u64) -> Option<bool> {
        let near = |at: u64| at <= at_us + SKEW_US && at + SKEW_US >= at_us;
        self.triggers.iter().filter(|(at, of, _)| near(*at) && &**of == unit).map(|(.., sure)| *sure).max()
    }

    /// What the manager said of this unit's taking too long.
    pub fn timeout(&self, unit: &str, at_us: u64) -> Option<&str> {
        let near = |at: u64| at <= at_us + SKEW_US && at + 2_000_000 >= at_us;
        self.timeouts.iter().rev().find(|(at, of, _)| near(*at) && &**of == unit).map(|(.., text)| &**text)
    }

    /// Why a program of this unit was not executed.
    pub fn spawn(&self, unit: &str, at_us: u64) -> Option<&str> {
        let near = |at: u64| at <= at_us + SKEW_US && at + 2_000_000 >= at_us;
        self.spawns.iter().rev().find(|(at, of, _)| near(*at) && &**of == unit).map(|(.., text)| &**text)
    }

    /// A process of this unit, other than the main one, that ended badly.
    pub fn control(&mut self, unit: &str, at_us: u64) -> Option<Control> {
        let near = |at: u64| at <= at_us + SKEW_US && at + 2_000_000 >= at_us;
        let found = self.controls.iter().position(|c| near(c.at_us) && &*c.unit == unit)?;
        self.controls.remove(found)
    }

    /// How a process ended.
    pub fn exit_of(&self, pid: u32) -> Option<Exit> {
        self.exits.iter().rev().find(|(_, ended, _)| *ended == pid).map(|(.., exit)| *exit)
    }

    /// Clients that may have asked just before, and were gone before they could be looked at.
    pub fn passed(&self, at_us: u64) -> impl Iterator<Item = (u32, &Text)> {
        let near = move |at: u64| at <= at_us + SKEW_US && at + CALL_US >= at_us;
        self.passed.iter().filter(move |(at, ..)| near(*at)).map(|(_, pid, program)| (*pid, program))
    }

    /// Forgets what is too old to explain anything.
    pub fn forget(&mut self, now_us: u64) {
        let old = now_us.saturating_sub(MEMORY_US);
        self.requests.retain(|r| r.at_us >= old);
        self.signals.retain(|s| s.at_us >= old);
        self.controls.retain(|c| c.at_us >= old);
        self.scheduled.retain(|(at, _)| *at >= old);
        self.triggers.retain(|(at, ..)| *at >= old);
        self.ooms.retain(|(at, ..)| *at >= old);
        self.timeouts.retain(|(at, ..)| *at >= old);
        self.exits.retain(|(at, ..)| *at >= old);
        self.spawns.retain(|(at, ..)| *at >= old);
        self.passed.retain(|(at, ..)| *at >= old);
    }
}

/// The unit that a request for the whole starts.
fn ends(verb: Verb, unit: &str) -> bool {
    match verb {
        Verb::PowerOff => unit == "poweroff.target",
        Verb::Reboot => unit == "reboot.target",
        Verb::Halt => unit == "halt.target",
        Verb::Kexec => unit == "kexec.target",
        Verb::Exit => unit == "exit.target",
        _ => false,
    }
}

/// What a line says that refuses a start.
pub(super) const START_LIMIT: &str = "Start request repeated too quickly";

/// Whether a line refuses a start for its being one too many.
pub(super) fn is_start_limit(text: &str) -> bool {
    text.contains(START_LIMIT)
}

/// The condition that a line says did not hold, and whether it is an assertion.
pub(super) fn condition(text: &str) -> Option<(&str, bool)> {
    // As newer managers say it.
    if let Some((_, check)) = text.split_once(" skipped, unmet condition check ") {
        return Some((check, false));
    }
    let skipped = text.contains("was skipped because") || text.contains("being skipped");
    let asserted = text.contains("Assertion failed") || text.contains("unmet assertion");
    if !skipped && !asserted {
        return None;
    }
    let inner = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inner, _)| inner);
    Some((inner.unwrap_or(if asserted { "an assertion" } else { "a condition" }), asserted))
}

/// Results of a job that say that it came to nothing.
pub(super) fn came_to_nothing(result: JobResult) -> bool {
    !matches!(result, JobResult::Done | JobResult::Canceled | JobResult::Skipped)
}
