//! Whether a service is started again, and how often a unit may be: decisions that return their reason.

mod grow;

use crate::carry::carry_fields;
use hence_ledger::{Exit, ExitKind, RestartReason, UnitResult};
use hence_unit::config::{ExitStatusSet, INFINITY, Restart, ServiceSettings};

/// At most `burst` times in an interval that begins with the first; systemd's rate limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateLimit {
    begin_us: u64,
    count: u32,
    told: bool,
}

carry_fields! { RateLimit { begin_us, count, told } }

impl RateLimit {
    /// Counts one; `false` where it is one too many. An interval or a burst of 0 never limits.
    pub fn allows(&mut self, now_us: u64, interval_us: u64, burst: u32) -> bool {
        if interval_us == 0 || burst == 0 {
            return true;
        }
        if self.count == 0 || now_us.saturating_sub(self.begin_us) >= interval_us {
            self.begin_us = now_us;
            self.count = 0;
            self.told = false;
        }
        // One more than the burst is enough to know: the count never grows without bound.
        if self.count >= burst {
            return false;
        }
        self.count += 1;
        true
    }

    /// Whether nobody has been told yet that it doesn't allow more; from now on somebody has.
    pub fn is_news(&mut self) -> bool {
        !core::mem::replace(&mut self.told, true)
    }

    /// Forgets what was counted.
    pub fn reset(&mut self) {
        *self = RateLimit::default();
    }
}

/// Whether an exit is listed.
pub(crate) fn lists(set: &ExitStatusSet, exit: Exit) -> bool {
    let number = u8::try_from(exit.status).ok();
    number.is_some_and(|n| match exit.kind {
        ExitKind::Exited => set.codes.contains(&n),
        ExitKind::Killed | ExitKind::Dumped => set.signals.contains(&n),
    })
}

/// How an exit counts. `daemon`: signals that end daemons in order are clean; systemd.service(5),
/// SuccessExitStatus=.
pub(crate) fn result_of(exit: Exit, daemon: bool, success: &ExitStatusSet) -> UnitResult {
    const CLEAN_SIGNALS: [i32; 4] = [1, 2, 15, 13];
    let clean = match exit.kind {
        ExitKind::Exited => exit.status == 0,
        ExitKind::Killed => daemon && CLEAN_SIGNALS.contains(&exit.status),
        ExitKind::Dumped => false,
    };
    match exit.kind {
        _ if clean || lists(success, exit) => UnitResult::Success,
        ExitKind::Exited => UnitResult::ExitCode,
        ExitKind::Killed => UnitResult::Signal,
        ExitKind::Dumped => UnitResult::CoreDump,
    }
}

/// Whether a service that ended is to be started again; systemd.service(5), Restart= and the exceptions
/// from it, in their order of precedence.
pub(crate) fn shall_restart(
    service: &ServiceSettings,
    result: UnitResult,
    main_exit: Option<Exit>,
    stop_requested: bool,
) -> (bool, RestartReason) {
    if stop_requested {
        return (false, RestartReason::ManualStop);
    }
    if main_exit.is_some_and(|e| lists(&service.restart_prevent_exit_status, e)) {
        return (false, RestartReason::PreventExitStatus);
    }
    if main_exit.is_some_and(|e| lists(&service.restart_force_exit_status, e)) {
        return (true, RestartReason::ForceExitStatus);
    }
    use UnitResult::*;
    let covered = match service.restart {
        Restart::No => false,
        Restart::Always => result != ExecCondition,
        Restart::OnSuccess => result == Success,
        Restart::OnFailure => !matches!(result, Success | ExecCondition),
        Restart::OnAbnormal => !matches!(result, Success | ExitCode | ExecCondition),
        Restart::OnWatchdog => result == Watchdog,
        Restart::OnAbort => matches!(result, Signal | CoreDump),
    };
    (covered, if covered { RestartReason::Policy } else { RestartReason::PolicyNo })
}

/// How long is waited before a service is started again that was so often before: RestartSec=, which grows up
/// to RestartMaxDelaySec= where that is asked for. And whether it has grown.
pub(crate) fn delay(service: &ServiceSettings, restarts: u32) -> (u64, bool) {
    let (first, last, steps) = (service.restart_delay, service.restart_max_delay, service.restart_steps);
    if steps == 0 || last == INFINITY || first == 0 {
        return (first, false);
    }
    let delay = grow::grown(first.min(last), last, restarts, steps);
    (delay, delay != first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_lets_the_burst_through_and_begins_anew_after_its_interval() {
        let mut limit = RateLimit::default();
        let allowed = (0..8).filter(|i| limit.allows(i * 1_000_000, 10_000_000, 5)).count();
        assert_eq!(allowed, 5);
        assert!(limit.allows(10_000_000, 10_000_000, 5));
        assert!(limit.allows(0, 0, 5));
    }

    #[test]
    fn exceptions_go_before_the_policy() {
        let exit = Exit { kind: ExitKind::Exited, status: 3 };
        let codes = ExitStatusSet { codes: [3].into(), signals: [].into() };
        let mut s = ServiceSettings { restart: Restart::Always, ..ServiceSettings::default() };
        assert!(shall_restart(&s, UnitResult::ExitCode, Some(exit), false).0);
        assert_eq!(
            shall_restart(&s, UnitResult::ExitCode, Some(exit), true),
            (false, RestartReason::ManualStop)
        );
        s.restart_prevent_exit_status = codes.clone();
        assert_eq!(
            shall_restart(&s, UnitResult::ExitCode, Some(exit), false),
            (false, RestartReason::PreventExitStatus)
        );
        s = ServiceSettings { restart_force_exit_status: codes, ..ServiceSettings::default() };
        assert_eq!(
            shall_restart(&s, UnitResult::Success, Some(exit), false),
            (true, RestartReason::ForceExitStatus)
        );
    }
}
