//! Processes that outlive the run that they belong to.

use super::seen::{Member, What};
use super::{Observer, Wanted};
use crate::Time;
use crate::job::is_down;
use alloc::{vec, vec::Vec};
use hence_ledger::{Cause, Certainty, Exit, Fact, Invocation, LeftOver, SubState, Text};
use hence_unit::config::KillMode;

/// Processes that one record names.
const TOLD_AT_ONCE: usize = 256;
/// Start times are told in hundredths of a second.
const TICK_US: u64 = 20_000;

impl Observer {
    /// Who is in a unit's control group now.
    pub(super) fn members(&mut self, at: Time, name: &Text, members: Vec<Member>) {
        let started = self.started;
        // The run that is told of after this is nobody's left-over, though it may be in the group already.
        let next: Vec<(Option<u32>, Option<Invocation>)> = self
            .waiting
            .iter()
            .filter_map(|seen| match &seen.what {
                What::Changed(of, change) if of == name => Some((change.main_pid, change.invocation)),
                _ => None,
            })
            .collect();
        let Some(unit) = self.units.get_mut(name) else { return };
        let down = is_down(unit.active) || unit.sub == SubState::AutoRestart;
        let (current, began_us) = (unit.invocation, unit.began_us);
        let is_left = |m: &Member| match (down, m.invocation, current) {
            (true, Some(of), Some(current)) if of == current => true,
            // By the time that the group was read the next run may have begun.
            (true, ..) => unit.state_at_us == 0 || m.started_us + TICK_US < unit.state_at_us,
            // The environment of a process says whose it is, but for those that cleared it.
            (false, Some(of), Some(current)) => of != current,
            _ => m.started_us + TICK_US < began_us,
        };
        let own = |m: &Member| !down && (m.process.pid == unit.main_pid || m.process.pid == unit.control_pid);
        let control = |m: &Member| m.process.pid == unit.control_pid && unit.control_pid != 0;
        // The manager's own child that is about to execute a command: its pid is told in a moment.
        let about_to = |m: &Member| m.process.command.starts_with('(') && m.process.command.ends_with(')');
        let current_run = unit.invocation;
        let comes = |m: &Member| {
            next.iter().any(|(pid, run)| {
                *pid == Some(m.process.pid) || run.is_some() && *run == m.invocation && *run != current_run
            })
        };
        let fresh = |m: &Member| !unit.left_over.contains_key(&(m.process.pid, m.process.start_ticks));
        let stays = |m: &Member| is_left(m) && !own(m) && !control(m) && !about_to(m) && !comes(m);
        let left: Vec<&Member> = members.iter().filter(|m| stays(m) && fresh(m)).collect();
        if left.is_empty() {
            return;
        }
        let of = left.iter().find_map(|m| m.invocation).or(current);
        let processes: Vec<LeftOver> = left.iter().map(|m| m.process.clone()).collect();
        for process in &processes {
            unit.left_over.insert((process.pid, process.start_ticks), process.clone());
            let (pid, start_ticks) = (process.pid, process.start_ticks);
            self.wanted.push_back(Wanted::Watch { pid, start_ticks });
        }
        let total = unit.left_over.len() as u32;
        let mode = unit.config.as_ref().map(|c| c.kill().mode);
        let rule = match mode {
            Some(KillMode::ControlGroup | KillMode::Mixed) => unit.rule_with("SendSIGKILL", "no"),
            Some(mode) => unit.rule_with("KillMode", mode.as_str()),
            None => None,
        };
        let rule = rule.filter(|rule| rule.line != 0 || &*rule.directive != "SendSIGKILL=no");
        let all = unit.config.as_ref().is_some_and(|c| c.flags.left_behind_allowed);
        let list = self.left_behind_allowed.clone();
        let is_meant = |p: &LeftOver| all || list.allows(name, &p.command).is_some();
        let (meant, not): (Vec<LeftOver>, Vec<LeftOver>) = processes.into_iter().partition(is_meant);
        let record = unit.down.map_or(started, |(_, record)| record);
        let parts = not.chunks(TOLD_AT_ONCE).map(|part| (part, false));
        for (part, allowed) in parts.chain(meant.chunks(TOLD_AT_ONCE).map(|part| (part, true))) {
            let fact = Fact::LeftBehind { processes: part.to_vec(), total, allowed };
            let causes = vec![Cause { record, rule: rule.clone() }];
            self.record(at, Some(name), causes, Certainty::Observed, fact);
            if let Some(record) = self.records.back_mut() {
                record.invocation = of;
            }
        }
    }

    /// A process that was left behind has ended.
    pub(super) fn gone(&mut self, at: Time, pid: u32, start_ticks: u64, exit: Option<Exit>) {
        let exit = exit.or_else(|| self.store.exit_of(pid));
        let held = self
            .units
            .iter_mut()
            .find_map(|(name, unit)| unit.left_over.remove(&(pid, start_ticks)).map(|_| name.clone()));
        let Some(name) = held else { return };
        let fact = Fact::LeftOverGone { pid, start_ticks, exit };
        let unseen = exit.is_none() && self.gap.is_some();
        let certainty = if unseen { Certainty::Inferred } else { Certainty::Observed };
        let record = self.record(at, Some(&name), Vec::new(), certainty, fact);
        if unseen {
            let basis = "its not being there when it was looked again; when it ended was not seen";
            self.basis(at, &name, record, basis);
        }
    }
}
