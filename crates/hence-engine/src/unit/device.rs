//! Device units: systemd.device(5). They follow what the host tells of their nodes; a start waits until the
//! node is there, for JobRunningTimeoutSec= at most, and a stop until it is gone. hence does neither itself.

use super::State;
use crate::job::Performed;
use crate::{Effect, Engine, UnitId};
use alloc::vec;
use hence_ledger::{Cause, Fact, JobResult, JobType, Text};
use hence_unit::{LoadState, UnitKind, mount::path_of};

/// The machine of a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Device {
    /// Its node is there.
    pub(crate) up: bool,
    /// Nobody here tells when devices come.
    pub(super) unheard: bool,
}

impl Engine {
    fn device(&mut self, unit: UnitId) -> Option<&mut Device> {
        match &mut self.units[unit.0 as usize].state {
            State::Device(device) => Some(device),
            _ => None,
        }
    }

    /// The unit is known from now on: what becomes of its node is to be told.
    pub(crate) fn follow_device(&mut self, unit: UnitId) {
        let config = &self.units[unit.0 as usize].config;
        if config.id().kind() != UnitKind::Device || config.load != LoadState::Loaded {
            return;
        }
        if let Some(path) = path_of(config.id()) {
            self.effect(Effect::WatchDevice { unit, path: path.into() });
        }
    }

    /// Whether its node is there; `None`: nobody here can tell.
    pub(crate) fn device_told(&mut self, unit: UnitId, there: Option<bool>) {
        let Some(device) = self.device(unit) else { return };
        device.unheard = there.is_none();
        let up = there.unwrap_or(false);
        if device.up != up {
            let name = self.units[unit.0 as usize].name();
            let path: Text = path_of(name).unwrap_or_default().as_str().into();
            let record = self.record(Some(unit), vec![], Fact::Device { path, there: up });
            let put = |state: &mut State| {
                if let State::Device(device) = state {
                    device.up = up;
                }
            };
            self.set_state(unit, put, vec![Cause { record, rule: None }], false, false);
            return;
        }
        let job = self.units[unit.0 as usize].job.filter(|_| there.is_none());
        if let Some(id) = job
            && self.jobs.get(&id).is_some_and(|job| job.job_type == JobType::Start)
        {
            self.finish_job(id, JobResult::Unsupported, true, vec![]);
        }
    }

    pub(crate) fn start_device(&mut self, unit: UnitId) -> Performed {
        match self.device(unit) {
            Some(Device { unheard: true, .. }) => Performed::End(JobResult::Unsupported),
            _ => Performed::Begun,
        }
    }
}
