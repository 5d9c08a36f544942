//! Automount units: systemd.automount(5). The kernel tells who comes by, and lets them wait until the mount
//! unit is up; that is the host's part.

use super::{Rules, State, span_text};
use crate::carry::carry_machine;
use crate::deadline::{Armed, DeadlineFor};
use crate::job::{Performed, is_down};
use crate::{Effect, Engine, Refusal, UnitId};
use alloc::{format, vec};
use hence_ledger::{Cause, DeadlineKind, Fact, JobResult, JobType, RecordId, SubState, Text, UnitResult};
use hence_unit::{Atom, Kind, automount::AutomountConfig, config::JobMode};

/// errno of who came by, where nothing could be mounted.
const ENODEV: i32 = 19;
/// The same where the automount point goes away.
const EHOSTDOWN: i32 = 112;
/// errno of an automount point at which something is mounted already.
const EEXIST: i32 = 17;
/// errno of a kernel that has no automount points.
const EOPNOTSUPP: i32 = 95;

/// The machine of an automount unit.
#[derive(Clone, Debug)]
pub struct Automount {
    pub(crate) sub: SubState,
    pub(crate) result: UnitResult,
    /// When the kernel is asked for what nobody uses.
    idle: Option<Armed>,
    /// Why it is being set up.
    asks: Option<Cause>,
}

impl Default for Automount {
    fn default() -> Self {
        Automount { sub: SubState::Dead, result: UnitResult::Success, idle: None, asks: None }
    }
}

carry_machine! { Automount { sub, result, idle } }

impl Engine {
    fn automount(&mut self, unit: UnitId) -> Option<&mut Automount> {
        match &mut self.units[unit.0 as usize].state {
            State::Automount(a) => Some(a),
            _ => None,
        }
    }

    fn automount_config(&self, unit: UnitId) -> Option<&AutomountConfig> {
        match &self.units[unit.0 as usize].config.kind {
            Kind::Automount(config) => Some(config),
            _ => None,
        }
    }

    fn automount_state(&mut self, unit: UnitId, to: SubState, result: UnitResult, cause: Cause) -> RecordId {
        if to != SubState::TriggerRunning {
            let mut idle = self.automount(unit).and_then(|a| a.idle.take());
            self.deadlines.disarm(&mut idle);
        }
        let put = |state: &mut State| {
            if let State::Automount(a) = state {
                a.sub = to;
                a.result = result;
            }
        };
        self.set_state(unit, put, vec![cause], false, false)
    }

    pub(crate) fn start_automount(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        if let Err(record) = self.test_start_limit(unit, cause) {
            let cause = Cause { record, rule: None };
            self.automount_state(unit, SubState::Failed, self.limited_result(unit), cause);
            return Performed::End(JobResult::Failed);
        }
        if self.refuses_trigger(unit, cause) {
            return Performed::End(JobResult::Failed);
        }
        self.units[unit.0 as usize].invocation = Some(self.next_invocation());
        if let Some(automount) = self.automount(unit) {
            automount.result = UnitResult::Success;
            automount.asks = Some(cause.clone());
        }
        let config = self.units[unit.0 as usize].config.clone();
        self.effect(Effect::OpenAutomount(unit, config));
        Performed::Begun
    }

    /// The kernel holds whoever comes by from now on, or refused to: errno, and what it was about.
    pub(crate) fn automount_opened(&mut self, unit: UnitId, result: Result<(), (i32, Text)>) {
        let Some(cause) = self.automount(unit).and_then(|a| a.asks.take()) else { return };
        let (errno, subject) = match result {
            Ok(()) => {
                self.automount_state(unit, SubState::Waiting, UnitResult::Success, cause);
                return;
            }
            Err(failure) => failure,
        };
        let name = self.units[unit.0 as usize].name();
        let text = match errno {
            EEXIST => format!("{name}: {subject} is already a mount point, refusing start."),
            EOPNOTSUPP => format!("{name} can't be set up: the kernel has no automount points, {subject}"),
            _ => format!("{name} can't be set up, {subject}: {}", hence_ledger::speech::errno(errno)),
        };
        let record = self.refused(Some(unit), vec![cause], &Refusal::Failed(text.into()));
        let cause = Cause { record, rule: None };
        let refused = match errno {
            EEXIST => Some(JobResult::Failed),
            EOPNOTSUPP => Some(JobResult::Unsupported),
            _ => None,
        };
        if let Some(result) = refused {
            if let Some(job) = self.units[unit.0 as usize].job {
                self.finish_job(job, result, true, vec![cause]);
            }
            return;
        }
        self.automount_state(unit, SubState::Failed, UnitResult::Resources, cause);
    }

    pub(crate) fn stop_automount(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        self.take_automount_down(unit, SubState::Dead, UnitResult::Success, cause.clone());
        Performed::Begun
    }

    /// Nobody is held any more, and what is mounted there goes with it.
    fn take_automount_down(&mut self, unit: UnitId, to: SubState, result: UnitResult, cause: Cause) {
        for expired in [false, true] {
            self.effect(Effect::AnswerAutomount { unit, expired, errno: EHOSTDOWN });
        }
        self.effect(Effect::CloseAutomount(unit));
        let record = self.automount_state(unit, to, result, cause);
        for (mount, _) in self.linked(unit, Atom::Triggers) {
            self.detached_with(mount, Cause { record, rule: None });
        }
    }

    /// Somebody came by, and waits.
    pub(crate) fn automount_wanted(&mut self, unit: UnitId, path: Text, who: Text) {
        let Some(automount) = self.automount(unit) else { return };
        let up = matches!(automount.sub, SubState::Waiting | SubState::TriggerRunning);
        let stopping = self.is_to_stop(unit);
        let Some((mount, rule)) = self.linked(unit, Atom::Triggers).first().cloned() else { return };
        if !up || stopping {
            self.effect(Effect::AnswerAutomount { unit, expired: false, errno: EHOSTDOWN });
            return;
        }
        let fact = Fact::Traffic { listen: path, peer: Some(who) };
        let root = self.record(Some(unit), vec![], fact);
        let cause = Cause { record: root, rule };
        match self.add_job(JobType::Start, mount, JobMode::Replace, vec![cause.clone()]) {
            Ok(_) => {
                self.automount_state(unit, SubState::TriggerRunning, UnitResult::Success, cause);
                self.automount_follows(unit, mount, root);
            }
            Err(refusal) => {
                let record = self.refused(Some(mount), vec![cause], &refusal);
                let cause = Cause { record, rule: None };
                self.take_automount_down(unit, SubState::Failed, UnitResult::Resources, cause);
            }
        }
    }

    /// Nobody has used what is mounted there for a while.
    pub(crate) fn automount_idle(&mut self, unit: UnitId) {
        let after_us = self.automount_config(unit).map_or(0, |config| config.timeout_idle);
        let Some((mount, rule)) = self.linked(unit, Atom::Triggers).first().cloned() else { return };
        let u = &self.units[unit.0 as usize];
        let by = u.config.rule_with("TimeoutIdleSec", &span_text(after_us));
        let own = Cause { record: u.record, rule: Some(by) };
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::TimeoutIdle, after_us };
        let record = self.record(Some(unit), vec![own], fact);
        let causes = vec![Cause { record, rule }];
        if let Err(refusal) = self.add_job(JobType::Stop, mount, JobMode::Replace, causes.clone()) {
            self.refused(Some(mount), causes, &refusal);
            self.effect(Effect::AnswerAutomount { unit, expired: true, errno: ENODEV });
        }
    }

    /// The kernel is asked again for what nobody uses: it tells only who asks.
    pub(crate) fn automount_deadline(&mut self, unit: UnitId) {
        if let Some(automount) = self.automount(unit) {
            automount.idle = None;
        }
        self.effect(Effect::ExpireAutomount(unit));
        self.watch_for_idleness(unit);
    }

    fn watch_for_idleness(&mut self, unit: UnitId) {
        let timeout = self.automount_config(unit).map_or(0, |config| config.timeout_idle);
        let now_us = self.now.monotonic_us;
        let State::Automount(automount) = &mut self.units[unit.0 as usize].state else { return };
        if timeout > 0 && automount.idle.is_none() {
            let after_us = (timeout / 3).max(1_000_000);
            automount.idle = self.deadlines.arm(now_us, after_us, DeadlineFor::State(unit));
        }
    }

    /// The mount unit changed its state or lost its job.
    pub(crate) fn automount_sees_mount(&mut self, unit: UnitId, mount: UnitId, record: RecordId) {
        let Some(automount) = self.automount(unit) else { return };
        if !matches!(automount.sub, SubState::Waiting | SubState::TriggerRunning) {
            return;
        }
        if self.units[mount.0 as usize].result() == UnitResult::StartLimitHit {
            let result = UnitResult::MountStartLimitHit;
            let cause = Cause { record, rule: None };
            return self.take_automount_down(unit, SubState::Failed, result, cause);
        }
        self.automount_follows(unit, mount, record);
    }

    /// Lets those go on who wait, as soon as it is decided what they get.
    fn automount_follows(&mut self, unit: UnitId, mount: UnitId, record: RecordId) {
        let other = &self.units[mount.0 as usize];
        if other.job.is_some() {
            return;
        }
        let cause = Cause { record, rule: None };
        let answers = match other.sub_state() {
            SubState::Mounted => [0, ENODEV],
            sub if is_down(self.active_state(mount)) => {
                [ENODEV, if sub == SubState::Dead { 0 } else { ENODEV }]
            }
            _ => return,
        };
        for (expired, errno) in [(false, answers[0]), (true, answers[1])] {
            self.effect(Effect::AnswerAutomount { unit, expired, errno });
        }
        if answers[0] == 0 {
            self.automount_state(unit, SubState::TriggerRunning, UnitResult::Success, cause);
            self.watch_for_idleness(unit);
        } else {
            self.automount_state(unit, SubState::Waiting, UnitResult::Success, cause);
        }
    }
}
