//! What is asked of hence: clients' requests, signals, and its own end. What a job takes is decided by
//! transactions.

use super::Engine;
use crate::job::is_up;
use crate::unit::State;
use crate::{Effect, JobId, LiveRequest, Refusal, Request, RequestKind, UnitId};
use alloc::{format, vec, vec::Vec};
use hence_ledger::{ActiveState, Cause, DeadlineKind, Fact, JobResult, JobType, RecordId, Verb};
use hence_unit::{LoadState, config::JobMode};

impl Engine {
    /// The time that the run was given is over.
    pub(super) fn time_up(&mut self, after_us: u64) {
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::RunFor, after_us };
        let causes = self.started.map(|record| Cause { record, rule: None }).into_iter().collect();
        let record = self.record(None, causes, fact);
        self.end(record, 0);
    }

    pub(crate) fn refused(
        &mut self,
        unit: Option<UnitId>,
        causes: Vec<Cause>,
        refusal: &Refusal,
    ) -> RecordId {
        let (error, message) = refusal.parts();
        self.record(unit, causes, Fact::Refused { error: error.into(), message: message.clone() })
    }

    pub(super) fn request(&mut self, request: Request) {
        let Request { token, client, verb, kind } = request;
        let unit = match &kind {
            RequestKind::Job { unit, .. } | RequestKind::Kill { unit, .. } => Some(self.reference(unit)),
            RequestKind::ResetFailed(name) => name.as_ref().map(|n| self.reference(n)),
            RequestKind::Cancel(_)
            | RequestKind::Exit(_)
            | RequestKind::ExitStatus(_)
            | RequestKind::Power(_) => None,
            // What its files say comes with the request: they need not be read.
            RequestKind::Live(live @ (LiveRequest::Transient(_) | LiveRequest::Reconfigure { .. })) => {
                let name = live.unit().cloned();
                name.map(|name| self.find(&name).unwrap_or_else(|| self.make_known(&name)))
            }
            RequestKind::Live(live) => live.unit().cloned().map(|name| self.reference(&name)),
        };
        let mode = match kind {
            RequestKind::Job { mode, .. } => mode,
            RequestKind::Live(LiveRequest::Transient(ref transient)) => transient.mode,
            _ => JobMode::default(),
        };
        let root = self.record(unit, Vec::new(), Fact::Request { verb, mode, client });
        let cause = Cause { record: root, rule: None };
        let result = match (kind, unit) {
            (RequestKind::Job { mode, .. }, Some(unit)) => self.request_job(unit, verb, mode, &cause),
            (RequestKind::Kill { main, control, others, signal, .. }, Some(unit)) => {
                self.request_kill(unit, (main, control, others), signal, &cause).map(|()| None)
            }
            (RequestKind::ResetFailed(_), unit) => {
                let all: Vec<UnitId> = match unit {
                    Some(unit) => vec![unit],
                    None => self.units.iter().map(|u| u.id).collect(),
                };
                all.into_iter().for_each(|unit| self.reset_failed(unit, &cause));
                Ok(None)
            }
            (RequestKind::Cancel(Some(number)), _) if !self.jobs.contains_key(&JobId(number)) => {
                Err(Refusal::NoSuchJob(format!("Job {number} does not exist.").into()))
            }
            (RequestKind::Cancel(number), _) => {
                let all: Vec<JobId> =
                    self.jobs.keys().copied().filter(|id| number.is_none_or(|n| n == id.0)).collect();
                for id in all {
                    self.finish_job(id, JobResult::Canceled, true, vec![cause.clone()]);
                }
                Ok(None)
            }
            (RequestKind::Exit(status), _) => {
                self.end(root, status);
                Ok(None)
            }
            (RequestKind::ExitStatus(status), _) => self.set_exit_status(status).map(|()| None),
            (RequestKind::Power(objective), _) => self.power_request(objective, root).map(|()| None),
            (RequestKind::Live(live), unit) => match self.request_live(token, unit, live, &cause) {
                Some(result) => result,
                // The answer comes later.
                None => return,
            },
            (RequestKind::Job { .. } | RequestKind::Kill { .. }, None) => Ok(None),
        };
        if let Err(refusal) = &result {
            self.refused(unit, vec![cause], refusal);
        }
        self.effect(Effect::Reply { token, result });
    }

    pub(super) fn request_job(
        &mut self,
        unit: UnitId,
        verb: Verb,
        mode: JobMode,
        cause: &Cause,
    ) -> Result<Option<JobId>, Refusal> {
        let can_reload = self.can_reload(unit);
        let job_type = match verb {
            Verb::Stop => JobType::Stop,
            Verb::Restart => JobType::Restart,
            Verb::TryRestart => JobType::TryRestart,
            Verb::Reload => JobType::Reload,
            Verb::ReloadOrRestart if can_reload => JobType::ReloadOrStart,
            Verb::ReloadOrRestart => JobType::Restart,
            Verb::ReloadOrTryRestart if can_reload => JobType::TryReload,
            Verb::ReloadOrTryRestart => JobType::TryRestart,
            Verb::Verify => JobType::VerifyActive,
            _ => JobType::Start,
        };
        if self.ending.is_some() && job_type != JobType::Stop {
            return Err(Refusal::ShuttingDown("Operation refused, hence is ending.".into()));
        }
        let flags = self.units[unit.0 as usize].config.flags;
        // Where it is up already it would only be reloaded; one that is restarted is stopped and started.
        let or_start = job_type == JobType::ReloadOrStart && !is_up(self.active_state(unit));
        let starts = matches!(job_type, JobType::Start | JobType::Restart | JobType::TryRestart) || or_start;
        let stops = matches!(job_type, JobType::Stop | JobType::Restart | JobType::TryRestart);
        if starts && job_type != JobType::TryRestart {
            self.check_startable(unit, job_type)?;
        }
        if (flags.refuse_manual_start && starts) || (flags.refuse_manual_stop && stops) {
            let name = self.units[unit.0 as usize].name();
            let text = format!(
                "Operation refused, unit {name} may be requested by dependency only (it is configured to \
                 refuse manual start/stop)."
            );
            return Err(Refusal::OnlyByDependency(text.into()));
        }
        // One that can't be used and isn't up has nothing to stop; a masked one is stopped like any other.
        let load = self.units[unit.0 as usize].config.load;
        let unusable = matches!(load, LoadState::NotFound | LoadState::Error | LoadState::BadSetting);
        if job_type == JobType::Stop && unusable {
            let name = self.units[unit.0 as usize].name();
            if self.active_state(unit) == ActiveState::Inactive {
                return Err(Refusal::NoSuchUnit(format!("Unit {name} not loaded.").into()));
            }
        }
        self.add_job(job_type, unit, mode, vec![cause.clone()])
    }

    pub(super) fn reset_failed(&mut self, unit: UnitId, cause: &Cause) {
        let u = &mut self.units[unit.0 as usize];
        u.start_limit.reset();
        if let State::Service(s) = &mut u.state {
            s.restarts = 0;
        }
        if self.active_state(unit) == ActiveState::Failed {
            let reset = |state: &mut State| state.reset_failed();
            self.set_state(unit, reset, vec![cause.clone()], false, false);
        } else {
            // No state changes by it, so there is nothing to record.
            self.units[unit.0 as usize].state.reset_failed();
        }
    }

    /// Ends hence in order: everything is stopped, for `record`; asked a second time, what still runs is
    /// killed at once.
    pub(super) fn end(&mut self, record: RecordId, status: u8) {
        let again = self.ending.is_some();
        if !again {
            self.ending = Some((record, status));
            self.stop_everything(&Cause { record, rule: None });
            return;
        }
        for i in 0..self.units.len() {
            self.hurry(UnitId(i as u32), record);
        }
    }
}
