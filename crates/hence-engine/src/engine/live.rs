//! What clients ask of units while they run, beside jobs: units made without a file, changed settings,
//! processes handed over, freezing, cleaning, and holding on to a unit.

use super::Engine;
use crate::job::is_down;
use crate::unit::State;
use crate::{Effect, Freezer, JobId, Kill, KillScope, LiveRequest, Refusal, Transient, UnitId};
use alloc::{format, sync::Arc, vec, vec::Vec};
use hence_ledger::{Cause, Fact, FileIdentity, JobType, SignalReason, SubState, Text};
use hence_unit::{Atom, Config, Kind, config::JobMode};

/// A unit that a client made, waiting until all that it depends on is read.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    token: u64,
    unit: UnitId,
    mode: JobMode,
    cause: Cause,
}

impl Engine {
    /// Does what a client asks beside jobs. `None`: the answer comes later.
    pub(super) fn request_live(
        &mut self,
        token: u64,
        unit: Option<UnitId>,
        kind: LiveRequest,
        cause: &Cause,
    ) -> Option<Result<Option<JobId>, Refusal>> {
        let unit = unit.unwrap_or(UnitId(0));
        let later = |result: Result<(), Refusal>| result.err().map(Err);
        let now = |result: Result<(), Refusal>| Some(result.map(|()| None));
        match kind {
            LiveRequest::Transient(transient) => {
                self.make(token, *transient, cause);
                None
            }
            LiveRequest::Reconfigure { config, files } => {
                self.reconfigure(*config, files, cause);
                Some(Ok(None))
            }
            LiveRequest::Attach { group, processes, .. } => {
                later(self.request_attach(token, unit, (&group, processes), cause))
            }
            LiveRequest::Abandon(_) => now(self.abandon(unit, cause)),
            LiveRequest::Freeze { freeze, .. } => later(self.request_freeze(token, unit, freeze, cause)),
            LiveRequest::Clean { kinds, .. } => now(self.request_clean(unit, kinds, cause)),
            LiveRequest::Environment { unset, set } => {
                self.effect(Effect::Environment { unset, set });
                Some(Ok(None))
            }
        }
    }

    /// Makes units without files of their own, and starts the first when all that they need is loaded.
    fn make(&mut self, token: u64, transient: Transient, cause: &Cause) {
        let Transient { unit, mode, units, processes, controller } = transient;
        for (config, files) in units {
            self.loaded_by(*config, files, vec![cause.clone()]);
        }
        let unit = self.reference(&unit);
        self.scope_takes(unit, processes, controller);
        self.made.push(Made { token, unit, mode, cause: cause.clone() });
    }

    /// Starts what clients made, once nothing is left to be read.
    pub(super) fn start_made(&mut self) {
        if self.made.is_empty() || !self.loading.is_empty() {
            return;
        }
        for Made { token, unit, mode, cause } in core::mem::take(&mut self.made) {
            // As `request_job` does, but that scopes may be started by whom they come from.
            let result = match self.ending {
                Some(_) => Err(Refusal::ShuttingDown("Operation refused, hence is ending.".into())),
                None => self.add_job(JobType::Start, unit, mode, vec![cause.clone()]),
            };
            if let Err(refusal) = &result {
                self.refused(Some(unit), vec![cause], refusal);
            }
            self.effect(Effect::Reply { token, result });
        }
    }

    /// A unit's settings were changed in files beside it: they hold at once.
    fn reconfigure(&mut self, config: Config, files: Vec<FileIdentity>, cause: &Cause) {
        let name = config.id().clone();
        self.loaded_by(config, files, vec![cause.clone()]);
        let unit = self.reference(&name);
        let config = Arc::clone(&self.units[unit.0 as usize].config);
        self.effect(Effect::Limits(unit, config));
    }

    /// Whether a unit that a client made waits to be started.
    pub(super) fn is_being_made(&self, unit: UnitId) -> bool {
        self.made.iter().any(|made| made.unit == unit)
    }

    /// Moves processes into a unit's group. The answer comes when they are there.
    fn request_attach(
        &mut self,
        token: u64,
        unit: UnitId,
        (group, processes): (&str, Vec<u32>),
        cause: &Cause,
    ) -> Result<(), Refusal> {
        let u = &self.units[unit.0 as usize];
        let name = u.name();
        let delegate = match &u.config.kind {
            Kind::Service(service) => service.resources.delegate,
            Kind::Scope(scope) => scope.resources.delegate || group.is_empty(),
            _ => {
                let text = "Unit type does not support attaching processes.";
                return Err(Refusal::NotSupported(text.into()));
            }
        };
        if is_down(u.active_state()) {
            let text = format!("Unit {name} is not active, can't attach processes to it.");
            return Err(Refusal::UnitInactive(text.into()));
        }
        if !delegate {
            let text = "Process migration not available on non-delegated units.";
            return Err(Refusal::NotSupported(text.into()));
        }
        self.units[unit.0 as usize].adopting = Some(cause.record);
        self.adopt(unit, Some(token), group, processes);
        Ok(())
    }

    fn request_freeze(
        &mut self,
        token: u64,
        unit: UnitId,
        freeze: bool,
        cause: &Cause,
    ) -> Result<(), Refusal> {
        let u = &mut self.units[unit.0 as usize];
        if !matches!(u.state, State::Service(_) | State::Scope(_) | State::Slice { .. }) {
            let text = format!("Unit '{}' does not support freezing.", u.name());
            return Err(Refusal::NotSupported(text.into()));
        }
        if is_down(u.active_state()) {
            return Err(Refusal::UnitInactive(format!("Unit '{}' is inactive.", u.name()).into()));
        }
        if u.job.is_some() || matches!(u.freezer, Freezer::Freezing | Freezer::Thawing) {
            return Err(Refusal::UnitBusy(format!("Unit '{}' has a pending job.", u.name()).into()));
        }
        u.freezer = if freeze { Freezer::Freezing } else { Freezer::Thawing };
        u.adopting = Some(cause.record);
        let config = Arc::clone(&u.config);
        if matches!(u.state, State::Slice { .. }) {
            self.freeze_members(unit, freeze);
        }
        self.effect(Effect::Freeze { unit, config, freeze, token: Some(token) });
        Ok(())
    }

    /// The units of a slice, and of the slices in it, go with it: each has a state of its own.
    fn freeze_members(&mut self, slice: UnitId, freeze: bool) {
        let mut slices = vec![slice];
        while let Some(slice) = slices.pop() {
            for (member, _) in self.linked(slice, Atom::SliceOf) {
                let u = &mut self.units[member.0 as usize];
                let kind = matches!(u.state, State::Service(_) | State::Scope(_) | State::Slice { .. });
                let there = match u.freezer {
                    Freezer::Running => !freeze,
                    Freezer::Frozen => freeze,
                    Freezer::Freezing | Freezer::Thawing => true,
                };
                if !kind || there || is_down(u.active_state()) {
                    continue;
                }
                u.freezer = if freeze { Freezer::Freezing } else { Freezer::Thawing };
                if matches!(u.state, State::Slice { .. }) {
                    slices.push(member);
                }
                let config = Arc::clone(&u.config);
                self.effect(Effect::Freeze { unit: member, config, freeze, token: None });
            }
        }
    }

    /// A unit's processes are suspended now or go on, or neither could be done.
    pub(super) fn froze(&mut self, unit: UnitId, frozen: Result<bool, Text>, token: Option<u64>) {
        let u = &mut self.units[unit.0 as usize];
        let failed = match frozen {
            Ok(frozen) => {
                u.freezer = if frozen { Freezer::Frozen } else { Freezer::Running };
                None
            }
            Err(message) => {
                u.freezer = if u.freezer == Freezer::Thawing { Freezer::Frozen } else { Freezer::Running };
                Some(Refusal::Failed(message))
            }
        };
        let cause = u.adopting.map(|record| Cause { record, rule: None });
        if let Some(refusal) = failed.as_ref().filter(|_| token.is_some()) {
            self.refused(Some(unit), cause.into_iter().collect(), refusal);
        }
        if let Some(token) = token {
            self.effect(Effect::Reply { token, result: failed.map_or(Ok(None), Err) });
        }
    }

    /// A unit that is to go down goes on running first, so that it sees its signals.
    pub(crate) fn thaw_to_stop(&mut self, unit: UnitId) {
        let u = &mut self.units[unit.0 as usize];
        if core::mem::take(&mut u.freezer) != Freezer::Running {
            let config = Arc::clone(&u.config);
            self.effect(Effect::Freeze { unit, config, freeze: false, token: None });
        }
    }

    /// Removes folders of a unit that is down; `kinds`: by their numbers, a bit each.
    fn request_clean(&mut self, unit: UnitId, kinds: u8, cause: &Cause) -> Result<(), Refusal> {
        let u = &self.units[unit.0 as usize];
        let name = u.name();
        let Some(service) = u.config.service() else {
            let text = format!("Unit '{name}' does not support cleaning.");
            return Err(Refusal::NotSupported(text.into()));
        };
        if u.job.is_some() || !matches!(u.sub_state(), SubState::Dead | SubState::Failed) {
            let text = "Unit is not inactive or has pending job.";
            return Err(Refusal::UnitBusy(text.into()));
        }
        if !service.context.directories.iter().any(|d| kinds >> d.kind as u8 & 1 == 1) {
            return Err(Refusal::NothingToClean("No matching resources found.".into()));
        }
        let config = Arc::clone(&u.config);
        self.put_cleaning(unit, SubState::Cleaning, cause.clone());
        self.effect(Effect::Clean { unit, config, kinds });
        Ok(())
    }

    fn put_cleaning(&mut self, unit: UnitId, to: SubState, cause: Cause) {
        let put = |state: &mut State| {
            if let State::Service(service) = state {
                service.sub = to;
            }
        };
        self.set_state(unit, put, vec![cause], false, false);
    }

    /// Who removes the folders of a unit, if anybody could be found.
    pub(super) fn cleaning(&mut self, unit: UnitId, cleaner: Option<u32>) {
        match cleaner {
            Some(pid) => {
                self.processes.insert(pid, unit);
                self.rearm_service(unit);
            }
            None => self.cleaned(unit),
        }
    }

    /// TimeoutCleanSec= is over: who removes the folders is ended, and what is left stays.
    pub(crate) fn cleaning_takes_too_long(&mut self, unit: UnitId, cause: Cause) {
        let cleaner = self.processes.iter().find(|(_, of)| **of == unit).map(|(pid, _)| *pid);
        let (signal, reason) = (9, SignalReason::Final);
        let fact = Fact::SignalSent { signal, reason, main: false, control: true, others: 0 };
        self.record(Some(unit), vec![cause], fact);
        self.effect(Effect::Kill(Kill {
            unit,
            scope: KillScope::Known,
            main: None,
            control: cleaner,
            signal,
            then_continue: false,
            hangup: false,
            reason,
            report_empty: false,
        }));
    }

    /// The folders are gone, as far as they could be removed.
    pub(crate) fn cleaned(&mut self, unit: UnitId) {
        let u = &self.units[unit.0 as usize];
        if u.sub_state() == SubState::Cleaning {
            let cause = Cause { record: u.record, rule: None };
            self.put_cleaning(unit, SubState::Dead, cause);
        }
    }
}
