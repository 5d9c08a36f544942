//! Ends of main processes: by themselves, by a stop that was asked for, by a deadline, by the kernel, by
//! another process.

use super::Observer;
use super::evidence::certainty;
use super::states::Step;
use crate::Time;
use alloc::{vec, vec::Vec};
use hence_ledger::{
    Cause, Certainty, Exit, ExitKind, Fact, JobType, ProcessRole, RecordId, SignalReason, SpawnStep,
    SubState, Text, UnitResult,
};

/// Signals that programs are asked to end by, and that many turn into an exit status.
const ASKING: [u8; 4] = [1, 2, 3, 15];
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// What a command's process is to its unit.
pub(super) fn role(command: &str) -> ProcessRole {
    match command {
        "ExecCondition" => ProcessRole::Condition,
        "ExecStartPre" => ProcessRole::StartPre,
        "ExecStart" => ProcessRole::Start,
        "ExecStartPost" => ProcessRole::StartPost,
        "ExecReload" => ProcessRole::Reload,
        "ExecStop" => ProcessRole::Stop,
        "ExecStopPost" => ProcessRole::StopPost,
        "ExecStopPre" => ProcessRole::StopPre,
        _ => ProcessRole::Other,
    }
}

/// Which step of a start failed where the manager's child ended with this status; systemd.exec(5).
fn step_of(status: i32) -> Option<SpawnStep> {
    Some(match status {
        200 => SpawnStep::Chdir,
        203 => SpawnStep::Exec,
        205 => SpawnStep::Limits,
        208 | 209 | 222 => SpawnStep::Stdio,
        216 | 217 => SpawnStep::User,
        219 => SpawnStep::Cgroup,
        202 => SpawnStep::Sockets,
        206 | 210 | 211 | 214 | 215 => SpawnStep::Scheduling,
        224 => SpawnStep::Session,
        225 => SpawnStep::Network,
        226 => SpawnStep::Namespace,
        228 | 232 => SpawnStep::Filter,
        243 => SpawnStep::Credentials,
        212 | 213 | 227 | 230 | 237 | 242 => SpawnStep::Attributes,
        233 | 238..=241 => SpawnStep::Directories,
        _ => return None,
    })
}

impl Observer {
    /// The main process of a unit ended.
    pub(super) fn main_exited(
        &mut self,
        at: Time,
        name: &Text,
        pid: u32,
        at_us: u64,
        exit: Exit,
        now: &Step,
    ) -> RecordId {
        // When it ended is known better than when that was told.
        let lag = at.monotonic_us.saturating_sub(at_us).min(5_000_000);
        let then = Time { realtime_us: at.realtime_us - lag.min(at.realtime_us), monotonic_us: at_us };
        let causes = self.causes_of_exit(then, name, pid, exit, now);
        let certainty = match causes.iter().any(|(_, certainty)| *certainty == Certainty::Inferred) {
            true => Certainty::Inferred,
            false => Certainty::Observed,
        };
        let causes = causes.into_iter().map(|(record, _)| Cause { record, rule: None }).collect();
        let role = ProcessRole::Main;
        let fact = Fact::ProcessExited { pid, role, exit, cpu_us: 0, peak_bytes: 0 };
        self.record(then, Some(name), causes, certainty, fact)
    }

    fn causes_of_exit(
        &mut self,
        at: Time,
        name: &Text,
        pid: u32,
        exit: Exit,
        now: &Step,
    ) -> Vec<(RecordId, Certainty)> {
        let at_us = at.monotonic_us;
        let killed = exit.kind != ExitKind::Exited;
        let by_signal = killed.then_some(exit.status as u8);
        if killed
            && exit.status == SIGKILL
            && (now.result == UnitResult::OomKill || self.store.oom(name, pid, at_us))
        {
            let fact = Fact::OomKill { kills: 1 };
            return vec![(
                self.record(at, Some(name), Vec::new(), Certainty::Observed, fact),
                Certainty::Observed,
            )];
        }
        let on_its_way = matches!(
            now.from,
            SubState::Stop
                | SubState::StopSigterm
                | SubState::StopSigkill
                | SubState::StopWatchdog
                | SubState::FinalSigterm
                | SubState::FinalSigkill
                | SubState::FinalWatchdog
                | SubState::StopPost
        );
        let stops = |t: JobType| matches!(t, JobType::Stop | JobType::Restart | JobType::TryRestart);
        let job = self.job_of(name).or_else(|| self.last_job_of(name, at_us));
        // A restart stops the run that there was, not the one that it brings.
        let began_us = self.units.get(name).map_or(0, |unit| unit.main_began_us);
        let job =
            job.filter(|job| stops(job.job_type) && job.at_us <= at_us + 1_000 && began_us <= job.at_us);
        let job = job.map(|job| job.record);
        if now.result == UnitResult::Watchdog && killed && exit.status == SIGABRT && !on_its_way {
            let deadline = self.deadline_reached(at, name, now);
            return deadline
                .map(|record| self.signal_sent(at, name, record, exit, SignalReason::Watchdog))
                .into_iter()
                .collect();
        }
        // Whoever was seen to send it did.
        let sender = self.store.sender(pid, by_signal, at_us).map(|s| (s.signal, s.sender.clone()));
        if let Some((signal, sender)) = sender.filter(|(signal, _)| killed || ASKING.contains(signal)) {
            if sender.pid > 1 {
                let certain = if killed { Certainty::Observed } else { Certainty::Inferred };
                if let Some(asked) = self.asked_to_kill(at, name) {
                    return vec![self.signal_sent(at, name, asked, exit, SignalReason::Request)];
                }
                let fact = Fact::Signalled { signal, pid, sender };
                return vec![(self.record(at, Some(name), Vec::new(), Certainty::Observed, fact), certain)];
            }
            if let Some(record) = job.or_else(|| self.state_of(name).filter(|_| on_its_way)) {
                let (record, _) = self.signal_sent(at, name, record, exit, SignalReason::Stop);
                return vec![(record, Certainty::Observed)];
            }
        }
        if let Some(record) = job {
            return vec![self.signal_sent(at, name, record, exit, SignalReason::Stop)];
        }
        if on_its_way && let Some(record) = self.state_of(name) {
            let reason = match (now.from, now.result) {
                (SubState::StopWatchdog | SubState::FinalWatchdog, _) => SignalReason::Watchdog,
                _ => SignalReason::Stop,
            };
            return vec![self.signal_sent(at, name, record, exit, reason)];
        }
        if killed && let Some(record) = self.asked_to_kill(at, name) {
            return vec![self.signal_sent(at, name, record, exit, SignalReason::Request)];
        }
        if matches!(now.result, UnitResult::Timeout)
            && let Some(record) = self.deadline_reached(at, name, now)
        {
            return vec![self.signal_sent(at, name, record, exit, SignalReason::Stop)];
        }
        // Nobody ends itself so; without that source the sender can be anybody.
        if killed && exit.status == SIGKILL && !self.sources.trace {
            let what =
                "without tracepoints it was not seen who sent the signal, or whether memory was lacking";
            let fact = Fact::Unknown { ruled_out: what.into() };
            let record = self.record(at, Some(name), Vec::new(), Certainty::Observed, fact);
            return vec![(record, Certainty::Observed)];
        }
        match step_of(exit.status).filter(|_| exit.kind == ExitKind::Exited) {
            Some(step) => self.not_executed(at, name, step),
            None => Vec::new(),
        }
    }

    fn state_of(&self, name: &str) -> Option<RecordId> {
        self.units.get(name)?.record
    }

    fn not_executed(&mut self, at: Time, name: &Text, step: SpawnStep) -> Vec<(RecordId, Certainty)> {
        let said = self.store.spawn(name, at.monotonic_us).is_some();
        let command = self.units.get(name).and_then(|u| u.command.as_ref());
        let subject = command.and_then(|argv| argv.first()).cloned().unwrap_or_default();
        let fact = Fact::SpawnFailed { role: ProcessRole::Main, step, errno: 0, subject: subject.into() };
        let certainty = if said { Certainty::Observed } else { Certainty::Inferred };
        let cause = self.last_job_of(name, at.monotonic_us).map(|job| job.record);
        let causes = cause.map(|record| Cause { record, rule: None }).into_iter().collect();
        vec![(self.record(at, Some(name), causes, certainty, fact), certainty)]
    }

    fn asked_to_kill(&mut self, at: Time, name: &Text) -> Option<RecordId> {
        let asked = self.store.kill_request(name, at.monotonic_us)?;
        let fact = Fact::Request { verb: asked.verb, mode: asked.mode, client: asked.client.clone() };
        let certainty = certainty(asked.evidence);
        Some(self.record(at, Some(name), Vec::new(), certainty, fact))
    }

    /// A signal that the manager sent, as is concluded from what it led to.
    fn signal_sent(
        &mut self,
        at: Time,
        name: &Text,
        record: RecordId,
        exit: Exit,
        reason: SignalReason,
    ) -> (RecordId, Certainty) {
        let signal = if exit.kind == ExitKind::Exited { 15 } else { exit.status as u8 };
        let fact = Fact::SignalSent { signal, reason, main: true, control: false, others: 0 };
        let causes = vec![Cause { record, rule: None }];
        (self.record(at, Some(name), causes, Certainty::Inferred, fact), Certainty::Inferred)
    }
}
