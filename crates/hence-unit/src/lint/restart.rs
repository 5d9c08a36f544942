//! Rules about restarts: loops without an end, and services that give up before what they need is back.

use super::{Check, Findings, Level, LintUnit, Rule, World, kill, span};
use crate::{
    Config, DependencyKind, Origin, UnitKind,
    config::{INFINITY, Restart, ServiceConfig, ServiceType},
};
use alloc::{format, string::String};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "restart-without-end",
        level: Level::Note,
        says: "The service is restarted for ever: its start limit is off or can never be reached.",
        why: "A service that fails at each start then fails for as long as the machine runs, without ever \
              being \
              `failed`. The limit is reached when a start follows more than StartLimitBurst= others within \
              StartLimitIntervalSec=; restarts that are RestartSec= apart have to fit into the interval. \
              That is \
              well for a service that must come back by itself, and bad where each round leaves something \
              behind.",
        page: "systemd.unit(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nRestart=always\nRestartSec=5\n",
        good: "[Unit]\nStartLimitIntervalSec=5min\n[Service]\nExecStart=/usr/bin/foo\nRestart=always\n\
               RestartSec=5\n",
        check: Check::Unit(without_end),
    },
    Rule {
        id: "restart-shorter-than-dependency",
        level: Level::Warning,
        says: "The service gives up before what it depends on is restarted.",
        why: "Both fail together; the service uses up its start limit while the other one still waits for \
              its \
              RestartSec=, and stays down after that has come back. With After= its restarts wait for the \
              other \
              one.",
        page: "systemd.service(5)",
        bad: "-- foo.service --\n[Unit]\nWants=db.service\n[Service]\nExecStart=/usr/bin/foo\n\
              Restart=always\n\
              -- db.service --\n[Unit]\nStartLimitIntervalSec=5min\n[Service]\nExecStart=/usr/bin/db\n\
              Restart=always\nRestartSec=10\n",
        good: "-- foo.service --\n[Unit]\nWants=db.service\nAfter=db.service\n[Service]\n\
               ExecStart=/usr/bin/foo\n\
               Restart=always\n-- db.service --\n[Unit]\nStartLimitIntervalSec=5min\n[Service]\n\
               ExecStart=/usr/bin/db\nRestart=always\nRestartSec=10\n",
        check: Check::Unit(shorter_than_dependency),
    },
    Rule {
        id: "restart-without-effect",
        level: Level::Note,
        says: "The restart settings have no effect without Restart=.",
        why: "RestartSec= is the pause before a restart that Restart=no, the default, rules out.",
        page: "systemd.service(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nRestartSec=5\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nRestart=on-failure\nRestartSec=5\n[Unit]\n\
               StartLimitIntervalSec=1h\n",
        check: Check::Unit(without_effect),
    },
    Rule {
        id: "restart-prevented",
        level: Level::Warning,
        says: "The service ends well with each restart that Restart= asks for, as RemainAfterExit=yes \
               keeps it up.",
        why: "With RemainAfterExit=yes a service whose process ended well stays active, so that \
              Restart=always \
              restarts it after failures only: a daemon that ends with status 0 is gone and nobody sees it.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=exec\nExecStart=/usr/bin/foo\nRestart=always\nRemainAfterExit=yes\n",
        good: "[Service]\nType=exec\nExecStart=/usr/bin/foo\nRestart=always\n",
        check: Check::Unit(prevented),
    },
    Rule {
        id: "watchdog-without-restart",
        level: Level::Note,
        says: "The watchdog ends the service, and nothing starts it again.",
        why: "WatchdogSec= kills a service that hangs; without Restart= it stays down.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=notify\nExecStart=/usr/bin/foo\nWatchdogSec=30\n",
        good: "[Service]\nType=notify\nExecStart=/usr/bin/foo\nWatchdogSec=30\nRestart=on-failure\n",
        check: Check::Unit(watchdog_without_restart),
    },
];

/// Whether restarts that follow each other at once can ever reach the start limit.
pub(super) fn limit_fires(config: &Config, service: &ServiceConfig) -> bool {
    let (interval, burst) = (config.start_limit_interval, u64::from(config.start_limit_burst));
    if interval == 0 || burst == 0 {
        return false;
    }
    // The start behind the last one that is allowed comes this long after the first, at the soonest.
    interval == INFINITY || burst.saturating_mul(service.restart_delay) < interval
}

/// Why the start limit never fires, with the sum.
fn arithmetic(config: &Config, service: &ServiceConfig) -> String {
    let (interval, burst) = (config.start_limit_interval, u64::from(config.start_limit_burst));
    if interval == 0 || burst == 0 {
        let which = if interval == 0 { "StartLimitIntervalSec=0" } else { "StartLimitBurst=0" };
        return format!("{which} switches the start limit off");
    }
    let delay = service.restart_delay;
    format!(
        "the start limit needs {} starts within {}, and {burst} restarts {} apart take {}",
        burst + 1,
        span(interval),
        span(delay),
        span(burst.saturating_mul(delay)),
    )
}

/// Whether it is restarted when it ends with an error.
fn restarts(service: &ServiceConfig) -> bool {
    matches!(service.restart, Restart::Always | Restart::OnFailure)
}

fn without_end(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    let Some(service) = unit.service().filter(|s| restarts(s) && !limit_fires(config, s)) else { return };
    let level = if kill::leaks(unit, service) { Level::Warning } else { Level::Note };
    let every = match service.restart_delay {
        INFINITY => return,
        delay => span(delay),
    };
    let mut message = format!(
        "a service that fails at once is started again every {every} for ever: {}",
        arithmetic(config, service)
    );
    if level == Level::Warning {
        message += "; each round leaves processes behind";
    }
    let needed = u64::from(config.start_limit_burst.max(1)).saturating_mul(service.restart_delay);
    let fix = match config.start_limit_interval {
        0 => "set StartLimitIntervalSec= where it should give up some time".into(),
        _ if config.start_limit_burst == 0 => "set StartLimitBurst= where it should give up some time".into(),
        _ => {
            let enough = needed.saturating_mul(2).max(60_000_000);
            format!(
                "set StartLimitIntervalSec={} where it should give up some time",
                span(enough).replace(' ', "")
            )
        }
    };
    findings.add_at(level, unit.place("Restart"), message, &fix);
}

fn shorter_than_dependency(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    let Some(service) = unit.service().filter(|s| restarts(s) && limit_fires(config, s)) else { return };
    // How long it goes on trying, where each start fails at once.
    let tries = u64::from(config.start_limit_burst).saturating_mul(service.restart_delay);
    let needs = config.dependencies.iter().filter(|d| {
        matches!(d.kind, DependencyKind::Requires | DependencyKind::BindsTo | DependencyKind::Wants)
            && matches!(d.origin, Origin::Directive(_))
            && d.other.kind() == UnitKind::Service
    });
    for need in needs {
        let Some(other) = world.config(&need.other) else { continue };
        // A restart pulls the other one in again, and waits for it where it is ordered after it.
        let after = |d: &crate::Dependency| d.kind == DependencyKind::After && d.other == need.other;
        let before = |d: &crate::Dependency| d.kind == DependencyKind::Before && d.other == *config.id();
        if config.dependencies.iter().any(after) || other.dependencies.iter().any(before) {
            continue;
        }
        let Some(others) = other.service().filter(|s| restarts(s) && s.restart_delay != INFINITY) else {
            continue;
        };
        if others.restart_delay <= tries || others.service_type == ServiceType::Oneshot {
            continue;
        }
        let message = format!(
            "gives up after {} starts in {}, before {} is started again after its RestartSec={}",
            config.start_limit_burst,
            span(tries),
            need.other,
            span(others.restart_delay)
        );
        let fix = format!("add After={}, so that restarts wait for it", need.other);
        findings.add(unit.place("Restart"), message, &fix);
    }
}

fn without_effect(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service() else { return };
    let forced = &service.restart_force_exit_status;
    let forces = !forced.codes.is_empty() || !forced.signals.is_empty();
    if service.restart != Restart::No || forces || unit.last("RestartSec").is_none() {
        return;
    }
    let message = "RestartSec= has no effect: the service is not restarted, as Restart= is no".into();
    findings.add(unit.place("RestartSec"), message, "add Restart=on-failure, or remove it");
}

fn prevented(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service() else { return };
    let wants = matches!(service.restart, Restart::Always | Restart::OnSuccess);
    if wants && service.remain_after_exit {
        let message = format!(
            "Restart={} does not restart a service that ended well: RemainAfterExit=yes keeps it active",
            service.restart.as_str()
        );
        findings.add(unit.place("RemainAfterExit"), message, "remove RemainAfterExit=yes");
    }
}

fn watchdog_without_restart(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service() else { return };
    let set = service.watchdog != 0 && service.watchdog != INFINITY && unit.last("WatchdogSec").is_some();
    // Others start it when it is needed.
    let on_demand = service.bus_name.is_some()
        || unit.config.dependencies.iter().any(|d| d.kind == DependencyKind::TriggeredBy)
        || world.dependents(unit.config.id()).iter().any(|(_, kind)| *kind == DependencyKind::Triggers);
    if set && service.restart == Restart::No && !on_demand {
        let message = "the watchdog ends a service that hangs, and Restart=no leaves it down".into();
        findings.add(unit.place("WatchdogSec"), message, "add Restart=on-failure");
    }
}
