//! What a conclusion rests on, in words: as it was recorded with it, else by what kind of conclusion it is.

use crate::index::{At, Index};
use crate::record::*;
use crate::word::*;
use alloc::string::String;

const OF_A_STOP: &str = "how the process ended while the unit was being stopped; no signal was seen";
const OF_A_REQUEST: &str = "a request for it just before its job was queued";

/// Whether that is so with every stop and start, and need not be said to people each time.
pub fn is_ordinary(basis: &str) -> bool {
    basis == OF_A_STOP || basis == OF_A_REQUEST
}

/// What the record at this place was concluded from, as it goes on after "inferred from"; `None`: it was
/// seen.
pub(crate) fn of(index: &Index, at: At) -> Option<String> {
    let record = &index.records[at];
    if record.certainty == Certainty::Observed {
        return None;
    }
    if let Some(Fact::Basis { text }) = index.basis.get(&at).map(|&at| &index.records[at].fact) {
        return Some(String::from(&**text));
    }
    Some(String::from(by_kind(index, record)))
}

fn by_kind(index: &Index, record: &Record) -> &'static str {
    let by_rule = record.causes.iter().any(|cause| cause.rule.is_some());
    let mut causes = record.causes.iter().filter_map(|cause| index.record(cause.record));
    let asked = causes.any(|cause| matches!(cause.fact, Fact::Request { .. }));
    match &record.fact {
        Fact::Request { .. } => "its command line, as it ran just then; the call itself was not seen",
        Fact::SignalSent { reason: SignalReason::Stop, .. } => OF_A_STOP,
        Fact::SignalSent { reason: SignalReason::Watchdog, .. } => {
            "an end by SIGABRT with the result watchdog; no signal was seen"
        }
        Fact::SignalSent { .. } => "a request to kill just before the end; no signal was seen",
        Fact::ProcessExited { .. } if index.ordered_exit(record) => sent(index, record),
        Fact::ProcessExited { .. } => "a signal just before the end, which the program may have caught",
        Fact::JobQueued { .. } if asked => OF_A_REQUEST,
        Fact::JobQueued { .. } if by_rule => of_a_job(index, record),
        Fact::JobQueued { .. } => "what happened just before its job was queued",
        Fact::JobFinished { .. } => "a unit that it depends on and that came to nothing just before",
        Fact::StateChanged { .. } => "the state before; no job and no end of a process was seen",
        Fact::DeadlineReached { deadline: DeadlineKind::Timer, .. } => {
            "the timer's change of state at that moment; that it elapsed was not told"
        }
        Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, .. } => {
            "the time that it waited for its restart; nobody else was seen to ask"
        }
        Fact::Traffic { .. } => "a change of state at that moment; what arrived was not seen",
        Fact::SpawnFailed { .. } => "the exit status that stands for that step; systemd.exec(5)",
        Fact::LeftOverGone { .. } => "its not being there any more",
        _ => "what was seen just before",
    }
}

/// Of a job that a directive brought: from what it was, and what the other unit did.
fn of_a_job(index: &Index, record: &Record) -> &'static str {
    let by = record.causes.iter().find(|cause| cause.rule.is_some());
    match by.and_then(|cause| index.record(cause.record)).map(|cause| &cause.fact) {
        Some(Fact::JobQueued { .. }) => {
            "both jobs being queued at the same moment, and the line that leads from one to the other"
        }
        Some(Fact::DeadlineReached { .. } | Fact::Traffic { .. }) => {
            "its trigger's acting just before, and nobody else being seen to ask"
        }
        Some(Fact::StateChanged { .. }) => {
            "the other unit's change of state just before, and the line that leads from it"
        }
        _ => "what happened to the other unit just before, and the line that leads from it",
    }
}

/// Of an end that a signal of the manager's is taken to have brought: from what that was concluded.
fn sent(index: &Index, record: &Record) -> &'static str {
    let causes = record.causes.iter().filter_map(|cause| index.record(cause.record));
    let mut signals = causes.filter(|cause| matches!(cause.fact, Fact::SignalSent { .. }));
    signals.next().map_or(OF_A_STOP, |signal| by_kind(index, signal))
}
