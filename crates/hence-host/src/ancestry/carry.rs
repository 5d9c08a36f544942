//! By what processes are recognized is handed to the program that takes hence's place.

use super::Ancestry;
use crate::carry::{Names, Out, Taking};
use hence_engine::carry::{Section, Unread};
use hence_ledger::record::Invocation;

impl Ancestry {
    pub(crate) fn carry(&self, out: &mut Out<'_>, names: Names<'_>) {
        out.text.section("ancestry", "");
        let named = |key: &str, pid: u32, out: &mut Out<'_>, unit| {
            if let Some(name) = names(unit) {
                out.text.field(key, &(pid, name));
            }
        };
        for pid in &self.leaders {
            if let Some(unit) = self.by_leader.get(pid) {
                named("leader", *pid, out, *unit);
            }
        }
        for (pid, unit) in &self.handed_over {
            named("handed_over", *pid, out, *unit);
        }
        for invocation in &self.invocations {
            if let Some(name) = self.by_invocation.get(invocation).and_then(|unit| names(*unit)) {
                out.text.field("invocation", &(*invocation, name));
            }
        }
    }

    pub(crate) fn take_up(&mut self, taking: &mut Taking<'_, '_>) {
        let carried = taking.carried;
        if let Some(from) = carried.one("ancestry") {
            let taken = self.take_section(from, taking);
            taking.note("ancestry", taken);
        }
    }

    fn take_section(&mut self, from: &Section<'_>, taking: &Taking<'_, '_>) -> Result<(), Unread> {
        for (pid, name) in from.all::<(u32, String)>("leader")? {
            if let Some((unit, _)) = (taking.find)(&name) {
                self.found(unit, pid);
            }
        }
        for (pid, name) in from.all::<(u32, String)>("handed_over")? {
            if let Some((unit, _)) = (taking.find)(&name) {
                self.handed_over(unit, pid);
            }
        }
        for (invocation, name) in from.all::<(Invocation, String)>("invocation")? {
            if let Some((unit, _)) = (taking.find)(&name)
                && self.by_invocation.insert(invocation, unit).is_none()
            {
                self.invocations.push_back(invocation);
            }
        }
        Ok(())
    }
}
