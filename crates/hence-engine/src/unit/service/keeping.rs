//! Descriptors that a service leaves in keeping for its next start, and when they are let go;
//! systemd.service(5), FileDescriptorStoreMax= and FileDescriptorStorePreserve=.
//!
//! The host has them. Here is how many there are, and why there are no more.

use crate::event::Keeping;
use crate::unit::{Rules, State};
use crate::{Effect, Engine, Event, UnitId};
use alloc::vec;
use hence_ledger::{Cause, Fact, SubState, Text};

impl Engine {
    /// FDSTORE=1 or FDSTOREREMOVE=1 of a process that may speak for the service.
    pub(super) fn keep_or_drop(&mut self, unit: UnitId, pid: u32, keeping: &Keeping) {
        let effect = match keeping {
            Keeping::Keep { descriptors, name, poll } => Effect::KeepDescriptors {
                unit,
                pid,
                descriptors: *descriptors,
                name: name.clone().unwrap_or_else(|| Text::from("stored")),
                poll: *poll,
                limit: self.service_config(unit).fd_store_max,
            },
            Keeping::Drop(name) => Effect::DropDescriptors { unit, name: Some((name.clone(), pid)) },
        };
        self.effect(effect);
    }

    /// What became of descriptors.
    pub(crate) fn descriptors_told(&mut self, event: Event) {
        match event {
            Event::DescriptorsKept { unit, pid, name, numbers } => {
                self.descriptors_kept(unit, pid, name, numbers);
            }
            Event::DescriptorsDropped { unit, pid, name, numbers } => {
                self.descriptors_dropped(unit, pid, name, numbers);
            }
            _ => {}
        }
    }

    /// What became of descriptors that came with a message. What changes nothing, and a second refusal in a
    /// row, is no news.
    fn descriptors_kept(&mut self, unit: UnitId, pid: u32, name: Text, numbers: [u32; 3]) {
        let State::Service(service) = &mut self.units[unit.0 as usize].state else { return };
        let [kept, refused, total] = numbers;
        service.kept = total;
        let told = core::mem::replace(&mut service.kept_all, refused > 0);
        if kept == 0 && (refused == 0 || told) {
            service.kept_all = told;
            return;
        }
        let config = &self.units[unit.0 as usize].config;
        let rule = if refused > 0 { config.rule("FileDescriptorStoreMax") } else { None };
        let cause = Cause { record: self.units[unit.0 as usize].record, rule };
        self.record(Some(unit), vec![cause], Fact::DescriptorsKept { name, kept, refused, total, pid });
    }

    /// Descriptors were closed because a process asked for that, or because they hung up.
    fn descriptors_dropped(&mut self, unit: UnitId, pid: Option<u32>, name: Text, numbers: [u32; 2]) {
        let State::Service(service) = &mut self.units[unit.0 as usize].state else { return };
        let [dropped, total] = numbers;
        service.kept = total;
        if dropped == 0 {
            return;
        }
        service.kept_all = false;
        let own = Self::here(self.units[unit.0 as usize].record);
        let hung_up = pid.is_none();
        let causes = if hung_up { vec![] } else { vec![own] };
        let fact = Fact::DescriptorsDropped { name, dropped, total, pid: pid.unwrap_or(0), hung_up };
        self.record(Some(unit), causes, fact);
    }

    /// Closes what is kept once the service is down for good and nothing is queued for it, unless it is to be
    /// kept then, too.
    pub(crate) fn let_descriptors_go(&mut self, unit: UnitId) {
        let u = &self.units[unit.0 as usize];
        let State::Service(service) = &u.state else { return };
        let down = matches!(service.sub, SubState::Dead | SubState::Failed) && !service.will_restart;
        let queued = u.job.is_some_and(|job| self.jobs[&job].job_type != hence_ledger::JobType::Stop);
        if down && !queued && self.service_config(unit).fd_store_preserve < 2 {
            self.drop_all_descriptors(unit);
        }
    }

    pub(super) fn drop_all_descriptors(&mut self, unit: UnitId) {
        let service = self.service_mut(unit);
        let dropped = core::mem::take(&mut service.kept);
        service.kept_all = false;
        if dropped == 0 {
            return;
        }
        let u = &self.units[unit.0 as usize];
        let rule = u.config.rule("FileDescriptorStorePreserve");
        let cause = Cause { record: u.record, rule };
        let name = Text::from("");
        let fact = Fact::DescriptorsDropped { name, dropped, total: 0, pid: 0, hung_up: false };
        self.record(Some(unit), vec![cause], fact);
        self.effect(Effect::DropDescriptors { unit, name: None });
    }
}
