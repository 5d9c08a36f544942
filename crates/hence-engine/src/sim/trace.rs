//! Records as lines of a trace, for scenarios: time, number, unit, fact, causes with their rules.
//!
//! `1.003 8 a.service: start -> running  <- 7 3[Requires=b.service]`: time in seconds since the world began.
//! Sentences for people are the ledger's; these lines are to be compared.

use super::BEGIN_US;
use alloc::{format, string::String, vec::Vec};
use hence_ledger::{Cause, Exit, Fact, Record, UnitResult};

/// One record as a line.
pub fn line(record: &Record) -> String {
    let us = record.at.monotonic_us.saturating_sub(BEGIN_US);
    let unit = record.unit.as_deref().unwrap_or("hence");
    let mut line = format!(
        "{}.{:03} {} {unit}: {}",
        us / 1_000_000,
        us / 1_000 % 1_000,
        record.id.0,
        fact(&record.fact)
    );
    if !record.causes.is_empty() {
        let causes: Vec<String> = record.causes.iter().map(cause).collect();
        line.push_str("  <- ");
        line.push_str(&causes.join(" "));
    }
    line
}

fn cause(cause: &Cause) -> String {
    match &cause.rule {
        Some(rule) => format!("{}[{}]", cause.record.0, rule.directive),
        None => format!("{}", cause.record.0),
    }
}

fn exit(exit: &Exit) -> String {
    format!("{} {}", exit.kind, exit.status)
}

fn millis(us: u64) -> String {
    crate::unit::span_text(us)
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Request { verb, mode, .. } => format!("asked to {verb}, {}", mode.as_str()),
        Fact::Refused { error, .. } => format!("refused: {error}"),
        Fact::ProcessExited { pid, role, exit: e, .. } => format!("{role} {pid} {}", exit(e)),
        Fact::DeadlineReached { deadline, after_us } => {
            format!("{deadline} over after {}", millis(*after_us))
        }
        Fact::Traffic { listen, peer: Some(who) } if who.as_ref() == "somebody" => {
            format!("{who} at {listen}")
        }
        Fact::Traffic { listen, .. } => format!("traffic on {listen}"),
        Fact::OomKill { kills } => format!("out of memory, kills {kills}"),
        Fact::Loaded { load, .. } => format!("{load}"),
        Fact::JobQueued { job, job_type } => format!("job {job} {job_type} queued"),
        Fact::JobMerged { job, job_type } => format!("job {job} merged to {job_type}"),
        Fact::JobFinished { job, job_type, result } => format!("job {job} {job_type} {result}"),
        Fact::JobDropped { job_type, reason } => format!("{job_type} dropped: {reason}"),
        Fact::StateChanged { from, to, result, .. } if *result == UnitResult::Success => {
            format!("{from} -> {to}")
        }
        Fact::StateChanged { from, to, result, .. } => format!("{from} -> {to} ({result})"),
        Fact::Starting { role, command } => format!("starting {role} {command}"),
        Fact::ProcessStarted { pid, role, .. } => format!("{role} is {pid}"),
        Fact::SpawnFailed { role, step, errno, .. } => format!("{role} not started: {step}, errno {errno}"),
        Fact::SignalSent { signal, reason, main, control, others } => {
            let mut text = format!("signal {signal} ({reason})");
            text.push_str(if *main { " main" } else { "" });
            text.push_str(if *control { " control" } else { "" });
            if *others > 0 {
                text.push_str(&format!(" {others} others"));
            }
            text
        }
        Fact::RestartScheduled { reason, delay_us, restarts } => {
            format!("restart in {} after {restarts} ({reason})", millis(*delay_us))
        }
        Fact::RestartRefused { reason } => format!("no restart ({reason})"),
        Fact::StartLimitHit { burst, interval_us } => {
            format!("start limit hit: {burst} in {}", millis(*interval_us))
        }
        Fact::ConditionFailed { condition, assert } => {
            format!("{} failed: {condition}", if *assert { "assert" } else { "condition" })
        }
        Fact::Failed { operation, errno, .. } => format!("{operation} failed, errno {errno}"),
        Fact::Notified { message, pid } => format!("{pid} says {message}"),
        Fact::DescriptorsKept { name, kept, refused, total, pid } => {
            let refused = if *refused > 0 { format!(" but not {refused}") } else { String::new() };
            format!("{pid} has {kept} kept as {name}{refused}, {total} in all")
        }
        Fact::DescriptorsDropped { name, dropped, total, .. } => {
            format!("{dropped} kept as {name:?} dropped, {total} in all")
        }
        Fact::LeftBehind { processes, total, .. } => {
            let pids: Vec<String> = processes.iter().map(|p| format!("{}", p.pid)).collect();
            format!("left behind {}, {total} in all", pids.join(" "))
        }
        Fact::LeftOverGone { pid, exit: Some(e), .. } => format!("left-over {pid} {}", exit(e)),
        Fact::LeftOverGone { pid, exit: None, .. } => format!("left-over {pid} gone"),
        other => other.name().into(),
    }
}
