//! Processes that outlive their invocation: who they are, what left them, when they are gone.

use super::{Rules, State};
use crate::event::Process;
use crate::job::is_down;
use crate::{Engine, UnitId};
use alloc::{sync::Arc, vec, vec::Vec};
use hence_ledger::{Cause, Exit, Fact, LeftOver, SubState, allow::AllowList, record::Invocation};
use hence_unit::{UnitName, config::KillMode};

/// Processes that one record names; a record has a longest length, and none may be lost for it.
const TOLD_AT_ONCE: usize = 256;

impl Engine {
    /// Processes that may outlive units whose files don't say so.
    pub fn allow_left_behind(&mut self, allowed: Arc<AllowList>) {
        self.left_behind_allowed = allowed;
    }

    /// Who is left in a unit's group: either a kill waits for this, or the unit is down and whoever is
    /// there was left behind.
    ///
    /// Where nobody could look, somebody is taken to be there: a kill goes out to whom it finds, and who was
    /// left behind is told once that can be seen, unless the unit has been started anew by then. Its next
    /// end counts them then.
    pub(crate) fn census(&mut self, unit: UnitId, processes: Vec<Process>, known: u32, unread: bool) {
        let all = known.saturating_add(processes.len() as u32).saturating_add(unread.into());
        if let State::Service(s) = &mut self.units[unit.0 as usize].state {
            // A start that was asked for meanwhile isn't in the count.
            s.group_empty = all == 0 && s.is_alone();
            if let Some(awaited) = s.awaiting.take() {
                self.kill_after_census(unit, *awaited, all);
                return;
            }
        }
        let late = core::mem::replace(&mut self.units[unit.0 as usize].uncounted, unread);
        let left_by = match &mut self.units[unit.0 as usize].state {
            State::Service(_) | State::Scope(_) if unread => None,
            State::Service(s) => s.left_by.take().map(|left_by| *left_by),
            State::Socket(_) => self.socket_census(unit, all, unread),
            State::Mount(_) | State::Swap(_) if unread => None,
            State::Mount(a) | State::Swap(a) => a.left_by.take().map(|left_by| *left_by),
            State::Scope(_) => {
                let u = &mut self.units[unit.0 as usize];
                u.adopting.take().map(|record| (u.invocation, record))
            }
            _ => None,
        };
        let Some((invocation, record)) = left_by else { return };
        self.may_go(unit);
        let u = &self.units[unit.0 as usize];
        if late && !is_down(u.active_state()) && u.sub_state() != SubState::AutoRestart {
            return;
        }
        let config = u.config.clone();
        let rule = match config.kill().mode {
            KillMode::ControlGroup | KillMode::Mixed => config.rule_with("SendSIGKILL", "no"),
            mode => config.rule_with("KillMode", mode.as_str()),
        };
        let cause = Cause { record, rule: Some(rule) };
        self.left_behind(unit, invocation, processes, cause);
    }

    fn left_behind(
        &mut self,
        unit: UnitId,
        invocation: Option<Invocation>,
        processes: Vec<Process>,
        cause: Cause,
    ) {
        let u = &mut self.units[unit.0 as usize];
        let known = |p: &LeftOver| u.left_over.contains_key(&(p.pid, p.start_ticks));
        let new: Vec<LeftOver> = processes.into_iter().map(|p| p.process).filter(|p| !known(p)).collect();
        if new.is_empty() {
            return;
        }
        let all = u.config.flags.left_behind_allowed;
        let list = self.left_behind_allowed.clone();
        let name = u.name().text().clone();
        let is_meant = |p: &LeftOver| all || list.allows(&name, &p.command).is_some();
        let (meant, not): (Vec<LeftOver>, Vec<LeftOver>) = new.into_iter().partition(is_meant);
        // The record belongs to the invocation that left them, which may not be the current one.
        let current = core::mem::replace(&mut u.invocation, invocation);
        let parts = not.chunks(TOLD_AT_ONCE).map(|part| (part, false));
        for (part, allowed) in parts.chain(meant.chunks(TOLD_AT_ONCE).map(|part| (part, true))) {
            let u = &mut self.units[unit.0 as usize];
            u.left_over.extend(part.iter().map(|p| ((p.pid, p.start_ticks), p.clone())));
            let total = u.left_over.len() as u32;
            let fact = Fact::LeftBehind { processes: part.to_vec(), total, allowed };
            self.record(Some(unit), vec![cause.clone()], fact);
        }
        self.units[unit.0 as usize].invocation = current;
    }

    /// At start: processes that an earlier hence, which was killed, left running.
    pub(crate) fn survivors(
        &mut self,
        name: UnitName,
        invocation: Option<Invocation>,
        processes: Vec<Process>,
    ) {
        let unit = self.reference(&name);
        let Some(record) = self.started else { return };
        self.left_behind(unit, invocation, processes, Cause { record, rule: None });
    }

    pub(crate) fn left_over_gone(&mut self, unit: UnitId, pid: u32, start_ticks: u64, exit: Option<Exit>) {
        let u = &mut self.units[unit.0 as usize];
        if u.left_over.remove(&(pid, start_ticks)).is_none() {
            return;
        }
        let signal = u.service().and_then(|s| s.signal_record);
        let causes = signal.map(|record| Cause { record, rule: None }).into_iter().collect();
        self.record(Some(unit), causes, Fact::LeftOverGone { pid, start_ticks, exit });
        self.may_go(unit);
    }
}
