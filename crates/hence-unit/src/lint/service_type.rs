//! Rules about Type=: whether it fits what the program does.

use super::{Check, Findings, Level, LintUnit, Rule, World, script::Starter};
use crate::config::{Command, ExecPhase, NotifyAccess, Restart, ServiceConfig, ServiceType};
use alloc::format;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "forking-in-foreground",
        level: Level::Error,
        says: "Type=forking, and the program is told to stay in the foreground.",
        why: "The start is over when the first process ends, which it never does: after TimeoutStartSec= \
              systemd \
              kills it and calls the start failed. Write Type=exec, or notify where the program can.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=forking\nPIDFile=/run/foo.pid\nExecStart=/usr/sbin/foo --foreground\n",
        good: "[Service]\nType=exec\nExecStart=/usr/sbin/foo --foreground\n",
        check: Check::Unit(forking_in_foreground),
    },
    Rule {
        id: "forking-without-pidfile",
        level: Level::Note,
        says: "Type=forking without PIDFile=.",
        why: "systemd guesses which process is the main one, which fails as soon as there are several: \
              then its \
              end isn't seen, Restart= does nothing, and reloads have no main process. Better is a program \
              that \
              stays in the foreground.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=forking\nExecStart=/usr/sbin/foo\n",
        good: "[Service]\nType=forking\nPIDFile=/run/foo.pid\nExecStart=/usr/sbin/foo\n",
        check: Check::Unit(forking_without_pidfile),
    },
    Rule {
        id: "daemonizing-in-simple",
        level: Level::Warning,
        says: "The program puts itself into the background, and Type= expects it to stay.",
        why: "The process that systemd started ends, which is the end of the service: what it forked is \
              killed, or \
              with KillMode=process left behind. Leave the option out, or write Type=forking with PIDFile=.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=exec\nExecStart=/usr/sbin/foo --daemonize\n",
        good: "[Service]\nType=exec\nExecStart=/usr/sbin/foo\n",
        check: Check::Unit(daemonizing),
    },
    Rule {
        id: "notify-from-script",
        level: Level::Warning,
        says: "Type=notify, and the shell script that is started never says that it is ready.",
        why: "The start waits for READY=1 until TimeoutStartSec=, and then fails. The script has to call \
              systemd-notify --ready, or exec a program that does; with NotifyAccess=all its children may.",
        page: "sd_notify(3)",
        bad: "-- image --\n-- foo.service --\n[Service]\nType=notify\nExecStart=/usr/bin/start-foo\n\
              -- /usr/bin/start-foo --\n#!/bin/sh\nwhile true; do\n  /usr/bin/foo-once\n  sleep 10\ndone\n",
        good: "-- image --\n-- foo.service --\n[Service]\nType=notify\nNotifyAccess=all\n\
               ExecStart=/usr/bin/start-foo\n\
               -- /usr/bin/start-foo --\n#!/bin/sh\nsystemd-notify --ready\nwhile true; do\n  \
               /usr/bin/foo-once\n  \
               sleep 10\ndone\n",
        check: Check::Unit(notify_from_script),
    },
    Rule {
        id: "notify-access-none",
        level: Level::Note,
        says: "NotifyAccess=none does not hold beside Type=notify or WatchdogSec=.",
        why: "systemd raises it to main, so that the line says what isn't so.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=notify\nNotifyAccess=none\nExecStart=/usr/bin/foo\n",
        good: "[Service]\nType=notify\nNotifyAccess=main\nExecStart=/usr/bin/foo\n",
        check: Check::Unit(notify_access_none),
    },
    Rule {
        id: "remain-after-exit",
        level: Level::Note,
        says: "RemainAfterExit=yes keeps a service active whose program has ended.",
        why: "Of a daemon that ended nobody is told; a command that is to run once is Type=oneshot, whose \
              start is \
              over when the command is, so that what comes after it can rely on it.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=exec\nExecStart=/usr/bin/set-up-foo\nRemainAfterExit=yes\n",
        good: "[Service]\nType=oneshot\nExecStart=/usr/bin/set-up-foo\nRemainAfterExit=yes\n",
        check: Check::Unit(remain_after_exit),
    },
    Rule {
        id: "oneshot-with-many-restarts",
        level: Level::Note,
        says: "A oneshot service is restarted at once for ever when it fails.",
        why: "A oneshot service that is pulled in by a target keeps its start job while it is retried: \
              what is \
              ordered after it waits.",
        page: "systemd.service(5)",
        bad: "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/usr/bin/foo\n\
              Restart=on-failure\n",
        good: "[Service]\nType=oneshot\nExecStart=/usr/bin/foo\nRestart=on-failure\nRestartSec=1s\n",
        check: Check::Unit(oneshot_restarts),
    },
    Rule {
        id: "pid-file-without-forking",
        level: Level::Note,
        says: "PIDFile= has no use in a service that doesn't fork.",
        why: "The main process is the one that systemd started. systemd only removes the file when the \
              service \
              stops.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=exec\nPIDFile=/run/foo.pid\nExecStart=/usr/sbin/foo\n",
        good: "[Service]\nType=exec\nExecStart=/usr/sbin/foo\n",
        check: Check::Unit(pid_file_without_forking),
    },
];

/// Options that mean the foreground whichever program has them.
const FOREGROUND: [&str; 13] = [
    "--foreground",
    "--nodaemon",
    "--no-daemon",
    "--no-daemonize",
    "--nodaemonize",
    "--no-fork",
    "--nofork",
    "--no-detach",
    "--nodetach",
    "--no-background",
    "-nodaemon",
    "--foreground=yes",
    "-DFOREGROUND",
];
/// Programs with an option of one letter for it.
const FOREGROUND_OF: [(&str, &[&str]); 11] = [
    ("sshd", &["-D"]),
    ("cron", &["-f"]),
    ("crond", &["-f", "-n"]),
    ("atd", &["-f"]),
    ("dhcpd", &["-f"]),
    ("named", &["-f", "-g"]),
    ("rsyslogd", &["-n"]),
    ("snmpd", &["-f"]),
    ("smartd", &["-n"]),
    ("dnsmasq", &["-k", "--keep-in-foreground"]),
    ("lldpd", &["-d"]),
];
/// Options that mean the background whichever program has them.
const BACKGROUND: [&str; 5] = ["--daemonize", "--detach", "--fork", "--background", "-daemonize"];

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn foreground(command: &Command) -> Option<&str> {
    let program = name(&command.path);
    let own = FOREGROUND_OF.iter().find(|(name, _)| *name == program).map_or(&[][..], |(_, options)| options);
    let words = command.argv.iter().skip(1).map(|w| &**w).take_while(|w| *w != "--");
    words.into_iter().find(|w| FOREGROUND.contains(w) || own.contains(w) || w.contains("daemon off;"))
}

fn background(command: &Command) -> Option<&str> {
    if super::script::is_shell_program(&command.path) || foreground(command).is_some() {
        return None;
    }
    // The options of a program that starts another one may be the other one's.
    const STARTERS: [&str; 8] =
        ["env", "nice", "ionice", "taskset", "setpriv", "systemd-run", "unshare", "podman"];
    if STARTERS.contains(&name(&command.path)) || name(&command.path) == "docker" {
        return None;
    }
    let words = || command.argv.iter().skip(1).map(|w| &**w).take_while(|w| *w != "--");
    // `--daemonize no`
    let denied =
        |at: usize| words().nth(at + 1).is_some_and(|next| crate::value::boolean(next) == Some(false));
    let found = words().enumerate().find(|(at, w)| {
        (BACKGROUND.contains(w) && !denied(*at)) || *w == "--daemonize=yes" || *w == "--daemonize=true"
    });
    found.map(|(_, word)| word)
}

fn start(service: &ServiceConfig) -> Option<&Command> {
    service.commands(ExecPhase::Start).first()
}

fn stays(service: &ServiceConfig) -> bool {
    !matches!(service.service_type, ServiceType::Oneshot | ServiceType::Forking)
}

fn forking_in_foreground(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| s.service_type == ServiceType::Forking) else { return };
    let Some(command) = start(service) else { return };
    if let Some(option) = foreground(command) {
        let message = format!(
            "{option} keeps {} in the foreground; Type=forking waits for it to end",
            name(&command.path)
        );
        findings.add(unit.at(command.position), message, "write Type=exec, or leave the option out");
    }
}

fn forking_without_pidfile(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| s.service_type == ServiceType::Forking) else { return };
    let Some(command) = start(service) else { return };
    // Wrappers of scripts of System V have no main process, and say so.
    let init = command.path.starts_with("/etc/init.d/") || command.path.starts_with("/etc/rc");
    let guesses = service.guess_main_pid && !service.remain_after_exit;
    if service.pid_file.is_some() || !guesses || init {
        return;
    }
    let message = "Type=forking without PIDFile=: which process is the main one is guessed".into();
    let fix = "add PIDFile=, or keep the program in the foreground with Type=exec";
    findings.add(unit.place("Type"), message, fix);
}

fn daemonizing(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| stays(s)) else { return };
    if service.remain_after_exit || service.exit_type == crate::config::ExitType::Cgroup {
        return;
    }
    let Some(command) = start(service) else { return };
    if let Some(option) = background(command) {
        let message = format!(
            "{option} puts {} into the background; with Type={} the service then ends",
            name(&command.path),
            service.service_type.as_str()
        );
        findings.add(unit.at(command.position), message, "leave the option out, or write Type=forking");
    }
}

fn notify_from_script(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let notifies = |s: &&ServiceConfig| {
        matches!(s.service_type, ServiceType::Notify | ServiceType::NotifyReload) || s.watchdog > 0
    };
    let Some(service) = unit.service().filter(notifies) else { return };
    let Some(starter) = start(service).and_then(|command| Starter::of(command, world)) else { return };
    let outline = starter.outline();
    let says = ["systemd-notify", "NOTIFY_SOCKET", "sd_notify", "socat"].iter().any(|w| starter.mentions(w));
    let execs = outline.statements.iter().any(|s| matches!(s.command(), "exec" | "." | "source" | "eval"));
    // Behind `-c` the shell execs its last command by itself.
    let inline = matches!(starter, Starter::Inline(_)) && outline.statements.iter().all(|s| !s.in_loop);
    if says || execs || inline || service.notify_access == NotifyAccess::All || outline.statements.is_empty()
    {
        return;
    }
    let ready = matches!(service.service_type, ServiceType::Notify | ServiceType::NotifyReload);
    let what = if ready { "Type=notify waits for READY=1" } else { "WatchdogSec= waits for WATCHDOG=1" };
    let message = format!("{what}, and the script that is started never calls systemd-notify or exec");
    let place = unit.place(if ready { "Type" } else { "WatchdogSec" });
    findings.add(place, message, "exec a program that tells it, or call systemd-notify");
}

fn notify_access_none(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service() else { return };
    let Some(line) = unit.last("NotifyAccess").filter(|a| a.value == "none") else { return };
    if service.notify_access != NotifyAccess::None {
        let message = "NotifyAccess=none has no effect: what else the unit says makes it main".into();
        findings.add(line.place.clone(), message, "write NotifyAccess=main");
    }
}

fn remain_after_exit(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| s.remain_after_exit) else { return };
    let fits = matches!(service.service_type, ServiceType::Oneshot | ServiceType::Forking);
    let restarts = matches!(service.restart, Restart::Always | Restart::OnSuccess);
    if fits || restarts || unit.last("RemainAfterExit").is_none() {
        return;
    }
    let message = format!(
        "RemainAfterExit=yes with Type={}: the service stays active without a process",
        service.service_type.as_str()
    );
    findings.add(unit.place("RemainAfterExit"), message, "write Type=oneshot, or remove RemainAfterExit=");
}

fn oneshot_restarts(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| s.service_type == ServiceType::Oneshot) else { return };
    let off = unit.config.start_limit_interval == 0 || unit.config.start_limit_burst == 0;
    if service.restart != Restart::No && off && service.restart_delay < 1_000_000 {
        let message = format!(
            "Restart={} every {} without a start limit: a command that fails is repeated for ever",
            service.restart.as_str(),
            super::span(service.restart_delay)
        );
        findings.add(unit.place("Restart"), message, "set RestartSec= to some seconds");
    }
}

fn pid_file_without_forking(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| stays(s) && s.pid_file.is_some()) else { return };
    // It is read again after these.
    let read = [ExecPhase::StartPost, ExecPhase::Reload];
    if read.iter().any(|phase| !service.commands(*phase).is_empty()) {
        return;
    }
    let message = format!(
        "PIDFile= has no use with Type={}: systemd knows its main process",
        service.service_type.as_str()
    );
    findings.add(unit.place("PIDFile"), message, "remove it");
}
