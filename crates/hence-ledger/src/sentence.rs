//! One English sentence for each fact, in words that an operator knows.

use crate::record::*;
use crate::speech::{count, duration, errno, exit, rfc3339, signal};
use crate::word::*;
use alloc::{format, string::String, vec::Vec};

impl Record {
    /// The fact as one sentence without a full stop; names its unit where it is about one.
    pub fn sentence(&self) -> String {
        let unit = self.unit.as_deref().unwrap_or("hence");
        let inferred = if self.certainty == Certainty::Inferred { " (concluded, not seen)" } else { "" };
        let sentence = match &self.fact {
            Fact::Started { .. }
            | Fact::Ended { .. }
            | Fact::Request { .. }
            | Fact::Refused { .. }
            | Fact::ManagerSignal { .. }
            | Fact::ClockJump { .. }
            | Fact::TimeZoneChanged { .. }
            | Fact::Gap { .. }
            | Fact::Away { .. }
            | Fact::Reexecuted { .. }
            | Fact::Newer { .. } => of_the_whole(&self.fact, self.unit.as_deref()),
            Fact::JobQueued { .. }
            | Fact::JobMerged { .. }
            | Fact::JobFinished { .. }
            | Fact::JobDropped { .. } => of_jobs(&self.fact, unit),
            Fact::Starting { .. }
            | Fact::ProcessStarted { .. }
            | Fact::ProcessExited { .. }
            | Fact::SpawnFailed { .. }
            | Fact::SignalSent { .. }
            | Fact::Notified { .. }
            | Fact::LastWords { .. }
            | Fact::OomKill { .. }
            | Fact::LeftBehind { .. }
            | Fact::TakenUp { .. }
            | Fact::LeftOverGone { .. } => of_processes(&self.fact, unit),
            fact => of_units(fact, unit),
        };
        format!("{sentence}{inferred}")
    }
}

/// `process 812 of user 0 (systemctl restart foo) in cron.service, called by process 800 (/bin/sh x)`.
pub(crate) fn client(client: &Client) -> String {
    let mut text = format!("process {} of user {}", client.pid, client.uid);
    if !client.command.is_empty() {
        text.push_str(&format!(" ({})", client.command));
    }
    if let Some(unit) = &client.unit {
        text.push_str(&format!(" in {unit}"));
    }
    if let Some(parent) = &client.parent {
        text.push_str(&format!(", called by process {} ({})", parent.pid, parent.command));
    }
    if let Some(uid) = client.login_uid {
        text.push_str(&format!(", logged in as user {uid}"));
    }
    // What they wanted follows.
    if client.parent.is_some() || client.login_uid.is_some() {
        text.push(',');
    }
    text
}

fn of_the_whole(fact: &Fact, unit: Option<&str>) -> String {
    match fact {
        Fact::Started { version, pid, tracking, after_crash, .. } => {
            let crash = if *after_crash { "; the run before it did not end in order" } else { "" };
            format!("hence {version} began to run as process {pid}, tracking processes by {tracking}{crash}")
        }
        Fact::Ended { status } => format!("hence ended with status {status}"),
        Fact::Request { verb, client: who, .. } => {
            let of = unit.map(|u| format!(" of {u}")).unwrap_or_default();
            format!("{} asked for {verb}{of}", client(who))
        }
        Fact::Refused { error, message } => format!("the request was refused: {message} ({error})"),
        Fact::ManagerSignal { signal: number, pid, uid } => {
            let from = match pid {
                0 => String::from("the kernel or from outside of its pid namespace"),
                _ => format!("process {pid} of user {uid}"),
            };
            format!("{} reached hence from {from}", signal(i32::from(*number)))
        }
        Fact::ClockJump { by_us } => {
            let direction = if *by_us < 0 { "back" } else { "forward" };
            format!("the wall clock was set {direction} by {}", duration(by_us.unsigned_abs()))
        }
        Fact::TimeZoneChanged { zone } => format!("the time zone became {zone}"),
        Fact::Gap { lost: 0, reason } => format!("records are missing here: {reason}"),
        Fact::Gap { lost, reason } => {
            format!("{} missing here: {reason}", count(*lost, "record is", "records are"))
        }
        Fact::Away { what, from, to, how } => away(*what, *from, *to, how),
        Fact::Reexecuted { version, units, unread } => {
            let kept = count(u64::from(*units), "unit was kept", "units were kept");
            let lost = match unread.len() as u64 {
                0 => String::new(),
                n => format!("; {} of the state could not be read: {}", count(n, "part", "parts"), unread[0]),
            };
            format!("hence executed its program anew, which is version {version}: {kept} as they were{lost}")
        }
        Fact::Newer { tag, .. } => {
            format!("a newer hence recorded a fact that this one doesn't know (number {tag})")
        }
        _ => String::from(fact.name()),
    }
}

/// `hence was not watching from 2026-11-23 05:04:25 to 05:04:30 UTC (it was killed)`.
pub(crate) fn away(what: Absence, from: Stamp, to: Stamp, how: &str) -> String {
    // `2026-11-23T05:04:25.164000Z`
    let (begin, end) = (rfc3339(from.realtime_us), rfc3339(to.realtime_us));
    let [day, time] = [begin.get(..10), begin.get(11..19)].map(Option::unwrap_or_default);
    let [last_day, last] = [end.get(..10), end.get(11..19)].map(Option::unwrap_or_default);
    let how = if how.is_empty() { String::new() } else { format!(" ({how})") };
    match from == to {
        true => format!("{what} since {day} {time} UTC{how}"),
        false if day == last_day => format!("{what} from {day} {time} to {last} UTC{how}"),
        false => format!("{what} from {day} {time} to {last_day} {last} UTC{how}"),
    }
}

fn of_jobs(fact: &Fact, unit: &str) -> String {
    match fact {
        Fact::JobQueued { job, job_type } => format!("{unit}: {job_type} job {job} was queued"),
        Fact::JobMerged { job, job_type } => {
            format!("{unit}: a job was merged into job {job}, which is {job_type} now")
        }
        Fact::JobFinished { job, job_type, result } => {
            format!("{unit}: {job_type} job {job} ended: {result}")
        }
        Fact::JobDropped { job_type, reason } => format!("{unit}: a {job_type} job was dropped: {reason}"),
        _ => String::from(fact.name()),
    }
}

/// `main process 4711`.
pub(crate) fn process(role: ProcessRole, pid: u32) -> String {
    match role {
        ProcessRole::Main | ProcessRole::Other | ProcessRole::Attached => format!("{role} {pid}"),
        _ => format!("{role}= process {pid}"),
    }
}

/// What a failed start of a process failed at.
pub(crate) fn spawn_failure(role: ProcessRole, step: SpawnStep, number: i32, subject: &str) -> String {
    let reason = if number == 0 { String::new() } else { format!(": {}", errno(number)) };
    let subject = if subject.is_empty() { String::new() } else { format!(" ({subject})") };
    format!("{role} could not be started, {step} failed{subject}{reason}")
}

/// What the system refused beside a start.
pub(crate) fn failure(operation: Operation, number: i32, subject: &str) -> String {
    let reason = if number == 0 { String::new() } else { format!(": {}", errno(number)) };
    let subject = if subject.is_empty() { String::new() } else { format!(" ({subject})") };
    format!("{operation} failed{subject}{reason}")
}

/// What of a sandbox was refused, and why.
pub(crate) fn deprived(what: &str, missing: &str, number: i32, without: bool) -> String {
    let lacks = if missing.is_empty() { String::new() } else { format!(", for {missing} is missing here") };
    let then = if without { "; it runs without" } else { "" };
    format!("{what} was refused ({}){lacks}{then}", errno(number))
}

fn of_processes(fact: &Fact, unit: &str) -> String {
    match fact {
        Fact::Starting { role, command } => format!("{unit}: {role} is being started: {command}"),
        Fact::ProcessStarted { pid, role: ProcessRole::Attached, .. } => {
            format!("{unit}: process {pid} was put into its group")
        }
        Fact::ProcessStarted { pid, role, .. } => format!("{unit}: {} was started", process(*role, *pid)),
        Fact::ProcessExited { pid, role, exit: end, .. } => {
            format!("{unit}: {} {}", process(*role, *pid), exit(*end))
        }
        Fact::SpawnFailed { role, step, errno, subject } => {
            format!("{unit}: {}", spawn_failure(*role, *step, *errno, subject))
        }
        Fact::SignalSent { signal: number, reason, main, control, others } => {
            let mut to: Vec<String> = Vec::new();
            if *main {
                to.push("the main process".into());
            }
            if *control {
                to.push("the control process".into());
            }
            if *others > 0 {
                to.push(count(u64::from(*others), "other process", "other processes"));
            }
            let to = if to.is_empty() { String::from("no process") } else { to.join(" and ") };
            format!("{unit}: {} was sent to {to} ({reason})", signal(i32::from(*number)))
        }
        Fact::Notified { message, pid } => format!("{unit}: process {pid} said {message}"),
        Fact::LastWords { stream, text } => {
            let last = text.trim_end().lines().next_back().unwrap_or_default();
            format!("{unit}: the last words on {stream} were: {last}")
        }
        Fact::OomKill { kills } => {
            let killed = count(*kills, "process", "processes");
            format!("{unit}: the kernel ran out of memory and has killed {killed} of this invocation")
        }
        Fact::LeftBehind { processes, total, allowed } => {
            let new = count(processes.len() as u64, "process", "processes");
            let meant = if *allowed { ", as the unit intends" } else { "" };
            format!("{unit}: {new} left behind{meant}; {total} in all")
        }
        Fact::TakenUp { processes, evidence, .. } if processes.is_empty() => {
            format!("{unit}: taken up from an earlier run of hence: {evidence}")
        }
        Fact::TakenUp { main, processes, evidence } => {
            let all = count(processes.len() as u64, "process", "processes");
            let main = main.map(|pid| format!(", the main process {pid} among them")).unwrap_or_default();
            format!("{unit}: {all} of an earlier run of hence taken up as they still run{main}: {evidence}")
        }
        Fact::LeftOverGone { pid, exit: end, .. } => match end {
            Some(end) => format!("{unit}: left-over process {pid} {}", exit(*end)),
            None => format!("{unit}: left-over process {pid} is gone"),
        },
        _ => String::from(fact.name()),
    }
}

/// `5 s after: RestartSec= is over`.
pub(crate) fn deadline(kind: DeadlineKind, after_us: u64) -> String {
    match kind {
        DeadlineKind::Timer => String::from("the timer elapsed"),
        DeadlineKind::RunFor => format!("{} after: the time of {kind} is over", duration(after_us)),
        _ => format!("{} after: {kind}= is over", duration(after_us)),
    }
}

fn of_units(fact: &Fact, unit: &str) -> String {
    match fact {
        Fact::DeadlineReached { deadline: kind, after_us } => {
            format!("{unit}: {}", deadline(*kind, *after_us))
        }
        Fact::Traffic { listen, peer: Some(who) } if unit.ends_with(".automount") => {
            format!("{unit}: {who} came by at {listen}")
        }
        Fact::Traffic { listen, peer } => match peer {
            Some(peer) => format!("{unit}: traffic on {listen} from {peer}"),
            None => format!("{unit}: traffic on {listen}"),
        },
        Fact::Unknown { ruled_out } if ruled_out.is_empty() => format!("{unit}: no cause is known"),
        Fact::Unknown { ruled_out } => format!("{unit}: no cause is known; it was not {ruled_out}"),
        Fact::Loaded { load, files, diagnostics } => {
            let complaints = match diagnostics.len() as u64 {
                0 => String::new(),
                n => format!(", {}", count(n, "diagnostic", "diagnostics")),
            };
            format!("{unit}: {load} from {}{complaints}", count(files.len() as u64, "file", "files"))
        }
        Fact::StateChanged { from_active, from, to_active, to, result } => {
            let result = match result {
                UnitResult::Success => String::new(),
                _ => format!(", result {result}"),
            };
            format!("{unit}: {from_active} ({from}) became {to_active} ({to}){result}")
        }
        Fact::Inputs { files } => {
            format!("{unit}: its start depends on {}", count(files.len() as u64, "file", "files"))
        }
        Fact::Digest { path, package, sha256, .. } => {
            let read = if sha256.is_some() { "was read" } else { "changed before it could be read" };
            let package = package.as_deref().map(|p| format!(", of package {p}")).unwrap_or_default();
            format!("{path} {read}{package}")
        }
        Fact::RestartScheduled { reason, delay_us, restarts } => format!(
            "{unit}: will be started again in {} ({reason}), restarted {} before",
            duration(*delay_us),
            count(u64::from(*restarts), "time", "times")
        ),
        Fact::RestartRefused { reason } => {
            let why = match reason {
                RestartReason::PolicyNo => "its Restart= doesn't cover how it ended",
                RestartReason::PreventExitStatus => "RestartPreventExitStatus= names how it ended",
                other => other.as_str(),
            };
            format!("{unit}: will not be started again: {why}")
        }
        Fact::StartLimitHit { burst, interval_us } => {
            format!("{unit}: {}", start_limit(*burst, *interval_us))
        }
        Fact::ConditionFailed { condition, .. } => format!("{unit}: {condition} didn't hold"),
        Fact::Retroactive { kind, other } => {
            format!("{unit}: {}={other} acted, for the other unit changed without a job", kind.name())
        }
        Fact::UnitFileChanged { path, target: Some(target) } => {
            format!("{unit}: {path} became a link to {target}")
        }
        Fact::UnitFileChanged { path, target: None } => format!("{unit}: {path} was removed"),
        Fact::BusName { name, owned: true } => format!("{unit}: its name {name} is on the bus"),
        Fact::BusName { name, owned: false } => format!("{unit}: its name {name} is gone from the bus"),
        Fact::Signalled { signal: number, pid, sender } => {
            format!("{unit}: {} for process {pid} came from {}", signal(i32::from(*number)), client(sender))
        }
        Fact::Device { path, there: true } => format!("{unit}: {path} is there"),
        Fact::Device { path, there: false } => format!("{unit}: {path} is gone"),
        Fact::Deprived { what, missing, errno, without } => {
            format!("{unit}: {}", deprived(what, missing, *errno, *without))
        }
        Fact::Basis { text } => format!("{unit}: the record before was concluded from {text}"),
        Fact::Failed { operation, errno, subject } => {
            format!("{unit}: {}", failure(*operation, *errno, subject))
        }
        Fact::DescriptorsKept { .. } | Fact::DescriptorsDropped { .. } => {
            format!("{unit}: {}", of_descriptors(fact))
        }
        Fact::StopAsked { controller } => format!("{unit}: its controller {controller} was asked to stop it"),
        Fact::Tally { what, times, .. } => {
            format!("{unit}: {what} {}, summed up", count(*times, "time", "times"))
        }
        _ => format!("{unit}: {}", fact.name()),
    }
}

/// What became of descriptors that are kept for a service.
fn of_descriptors(fact: &Fact) -> String {
    let descriptors = |n: u32| count(u64::from(n), "file descriptor", "file descriptors");
    match fact {
        Fact::DescriptorsKept { name, kept, refused, total, pid } => {
            let full = match refused {
                0 => String::new(),
                n => format!("; {} closed, for FileDescriptorStoreMax= leaves no room", descriptors(*n)),
            };
            format!("process {pid} left {} in keeping as {name}{full}; {total} in all", descriptors(*kept))
        }
        Fact::DescriptorsDropped { name, dropped, total, hung_up: true, .. } => {
            format!("{} kept as {name} hung up and closed; {total} left", descriptors(*dropped))
        }
        Fact::DescriptorsDropped { name, dropped, total, pid, .. } if *pid != 0 => {
            let left = descriptors(*dropped);
            format!("process {pid} had {left} kept as {name} closed; {total} left")
        }
        Fact::DescriptorsDropped { dropped, .. } => {
            format!("{} in keeping closed, for the unit is down", descriptors(*dropped))
        }
        _ => String::from(fact.name()),
    }
}

/// Why the start limit refused.
pub(crate) fn start_limit(burst: u32, interval_us: u64) -> String {
    let times = count(u64::from(burst), "time", "times");
    format!("started {times} within {}, which is the limit", duration(interval_us))
}
