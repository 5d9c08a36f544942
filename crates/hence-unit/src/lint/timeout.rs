//! Rules about time limits: starts and stops that can hang for ever, and limits that contradict each other.

use super::{Change, Check, Edit, Findings, Level, LintUnit, Rule, World, span};
use crate::config::{ExecPhase, INFINITY, ServiceConfig, ServiceType};
use alloc::format;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "start-without-timeout",
        level: Level::Warning,
        says: "The start of the service may last for ever.",
        why: "The start waits until the program says that it is ready. With TimeoutStartSec=infinity, or \
              0, which \
              means the same, a program that hangs keeps everything that is ordered after it waiting: \
              often the \
              whole boot.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=notify\nExecStart=/usr/bin/foo\nTimeoutStartSec=infinity\n",
        good: "[Service]\nType=notify\nExecStart=/usr/bin/foo\nTimeoutStartSec=10min\n",
        check: Check::Unit(start_without_timeout),
    },
    Rule {
        id: "stop-without-timeout",
        level: Level::Warning,
        says: "The stop of the service may last for ever.",
        why: "With TimeoutStopSec=infinity, or 0, which means the same and not \"at once\", a process that \
              ignores \
              the signal is never killed: restarts and the shutdown of the machine wait for it.",
        page: "systemd.service(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nTimeoutStopSec=0\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nTimeoutStopSec=10s\n",
        check: Check::Unit(stop_without_timeout),
    },
    Rule {
        id: "start-timeout-without-effect",
        level: Level::Note,
        says: "TimeoutStartSec= limits nothing here.",
        why: "The start of a service of Type=simple is over as soon as its process is there: without \
              commands in \
              front of it or behind it there is nothing that could last.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=simple\nExecStart=/usr/bin/foo\nTimeoutStartSec=30\n",
        good: "[Service]\nType=notify\nExecStart=/usr/bin/foo\nTimeoutStartSec=30\n",
        check: Check::Unit(start_timeout_without_effect),
    },
    Rule {
        id: "job-timeout-shorter",
        level: Level::Warning,
        says: "JobTimeoutSec= ends the start before TimeoutStartSec= does.",
        why: "The job is given up while the service goes on starting: what waits for it fails although it \
              may \
              still come up.",
        page: "systemd.unit(5)",
        bad: "[Unit]\nJobTimeoutSec=10\n[Service]\nType=notify\nExecStart=/usr/bin/foo\nTimeoutStartSec=60\n",
        good: "[Unit]\nJobTimeoutSec=2min\n[Service]\nType=notify\nExecStart=/usr/bin/foo\n\
               TimeoutStartSec=60\n",
        check: Check::Unit(job_timeout_shorter),
    },
    Rule {
        id: "watchdog-short",
        level: Level::Note,
        says: "WatchdogSec= is so short that a busy machine looks like a hanging service.",
        why: "A service has to answer twice as often as WatchdogSec= says. Below a second a pause of the \
              machine, \
              a disk that spins up, or a virtual machine that is moved ends a sound service.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=notify\nExecStart=/usr/bin/foo\nRestart=on-failure\nWatchdogSec=500ms\n",
        good: "[Service]\nType=notify\nExecStart=/usr/bin/foo\nRestart=on-failure\nWatchdogSec=30s\n",
        check: Check::Unit(watchdog_short),
    },
];

/// The directive that sets a limit: its own name, or the one for both.
fn source(unit: &LintUnit, own: &'static str) -> Option<&'static str> {
    let line = |name: &str| unit.last(name).map(|a| a.place.clone());
    match (line(own), line("TimeoutSec")) {
        (None, None) => None,
        (Some(own_at), Some(both)) if both.file == own_at.file && both.line > own_at.line => {
            Some("TimeoutSec")
        }
        (Some(_), _) => Some(own),
        (None, Some(_)) => Some("TimeoutSec"),
    }
}

fn waits(service: &ServiceConfig) -> bool {
    matches!(
        service.service_type,
        ServiceType::Notify | ServiceType::NotifyReload | ServiceType::Forking | ServiceType::Dbus
    )
}

fn written(unit: &LintUnit, directive: &str) -> alloc::string::String {
    let value = unit.last(directive).map_or("infinity", |a| &a.value);
    match value {
        "infinity" => format!("{directive}=infinity"),
        value => format!("{directive}={value}, which means infinity,"),
    }
}

fn start_without_timeout(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| waits(s) && s.timeout_start == INFINITY) else { return };
    let Some(directive) = source(unit, "TimeoutStartSec") else { return };
    let waits = match service.service_type {
        ServiceType::Forking => "its first process to end",
        ServiceType::Dbus => "its name on the bus",
        _ => "READY=1",
    };
    let message = format!("{} lets the start wait for {waits} for ever", written(unit, directive));
    findings.add(unit.place(directive), message, "give it the time that it may need");
}

fn stop_without_timeout(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| s.timeout_stop == INFINITY) else { return };
    let Some(directive) = source(unit, "TimeoutStopSec") else { return };
    // Nothing runs in it once it is up.
    let idle = service.service_type == ServiceType::Oneshot && service.commands(ExecPhase::Stop).is_empty();
    if idle || !service.kill.send_sigkill {
        return;
    }
    let message =
        format!("{} lets a stop, and the machine's shutdown, wait for ever", written(unit, directive));
    findings.add(unit.place(directive), message, "give it the time that it may need");
}

fn start_timeout_without_effect(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service() else { return };
    let Some(line) = unit.last("TimeoutStartSec") else { return };
    let phases = [ExecPhase::Condition, ExecPhase::StartPre, ExecPhase::StartPost, ExecPhase::Reload];
    let lasts = phases.iter().any(|phase| !service.commands(*phase).is_empty());
    let simple = matches!(service.service_type, ServiceType::Simple | ServiceType::Idle);
    if !simple || lasts {
        return;
    }
    let message = "TimeoutStartSec= limits nothing: with Type=simple the start is over at once".into();
    let file = unit.files.iter().find(|f| f.path == line.place.file);
    let finding = findings.add(line.place.clone(), message, "remove it, or write Type=notify or exec");
    if let Some(file) = file {
        let (first, last) = (line.place.line, file.end_of(line.place.line));
        finding.mended_by(Edit { file: file.path.clone(), change: Change::Remove { first, last } });
    }
}

fn job_timeout_shorter(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| waits(s)) else { return };
    let (Some(_), job) = (unit.last("JobTimeoutSec"), unit.config.job_timeout) else { return };
    if job < service.timeout_start && job > 0 && service.timeout_start != INFINITY {
        let message = format!(
            "JobTimeoutSec={} gives the start up before TimeoutStartSec={} does",
            span(job),
            span(service.timeout_start)
        );
        findings.add(unit.place("JobTimeoutSec"), message, "remove it, or make it longer");
    }
}

fn watchdog_short(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| (1..1_000_000).contains(&s.watchdog)) else { return };
    let message = format!("WatchdogSec={}: a pause of the machine ends the service", span(service.watchdog));
    findings.add(unit.place("WatchdogSec"), message, "write some seconds");
}
