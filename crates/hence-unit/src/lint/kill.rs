//! Rules about what a stop leaves behind, and what bounds it: KillMode=, TasksMax=, ExecStop=.

use super::{Check, Findings, Level, LintUnit, Rule, World, script::is_shell_program};
use crate::{
    DependencyKind,
    config::{Command, ExecPhase, INFINITY, KillMode, Limit, Restart, ServiceConfig, ServiceType},
    value,
};
use alloc::{format, string::String};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "kill-mode",
        level: Level::Warning,
        says: "KillMode=process or none leaves processes behind when the service stops.",
        why: "Only the main process is ended (with none, not even that). What it has started stays, \
              belongs to \
              nobody, and is joined by more with each restart: a loop of restarts fills the machine. The \
              default, control-group, ends them all; mixed ends the main process first. Keep process only \
              where \
              children are to outlive the service, as sessions do, and say so with `# hence: allow`.",
        page: "systemd.kill(5)",
        bad: "[Service]\nExecStart=/usr/bin/start-foo\nRestart=always\nRestartSec=3\nKillMode=process\n\
              TasksMax=64\n",
        good: "[Service]\nExecStart=/usr/bin/start-foo\nRestart=always\nRestartSec=3\n",
        check: Check::Unit(kill_mode),
    },
    Rule {
        id: "kill-without-end",
        level: Level::Note,
        says: "SendSIGKILL=no: a process that ignores the signal is never ended.",
        why: "After TimeoutStopSec= systemd gives up and marks the unit failed; the process stays, and the \
              next \
              start runs beside it.",
        page: "systemd.kill(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nSendSIGKILL=no\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nTimeoutStopSec=5min\n",
        check: Check::Unit(without_end),
    },
    Rule {
        id: "tasks-unbounded",
        level: Level::Warning,
        says: "A service that can leave processes behind has no TasksMax= of its own, or one that bounds \
               nothing.",
        why: "Left-over processes stay in the service's control group and count against TasksMax=. The \
              default \
              is 15 % of what the kernel allows, which is tens of thousands: memory is used up long \
              before. A \
              number that fits the service turns a leak into an error that somebody sees.",
        page: "systemd.resource-control(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nRestart=always\n# hence: allow kill-mode: sessions \
        outlive the daemon\n\
              KillMode=process\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nRestart=always\n# hence: allow kill-mode: sessions \
        outlive the daemon\n\
               KillMode=process\nTasksMax=256\n",
        check: Check::Unit(tasks_unbounded),
    },
    Rule {
        id: "tasks-max-high",
        level: Level::Note,
        says: "TasksMax= is so high that it bounds nothing.",
        why: "A leak of processes or threads takes the machine's memory before it meets the limit. \
              Services that \
              run others' work in control groups of their own (Delegate=yes) are exempt.",
        page: "systemd.resource-control(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nTasksMax=infinity\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nTasksMax=4096\n",
        check: Check::Unit(tasks_max_high),
    },
    Rule {
        id: "stop-returns-early",
        level: Level::Note,
        says: "ExecStop= only asks the service to end, and returns before it has.",
        why: "As soon as ExecStop= is over, what is left gets KillSignal=: another signal than the polite \
              one is \
              followed by SIGTERM at once. Name the signal in KillSignal= and leave ExecStop= out, or have \
              the \
              command wait.",
        page: "systemd.service(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nExecStop=/bin/kill -QUIT $MAINPID\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nKillSignal=SIGQUIT\n",
        check: Check::Unit(stop_returns_early),
    },
    Rule {
        id: "stop-kills-by-name",
        level: Level::Warning,
        says: "ExecStop= kills processes by their name.",
        why: "It also ends processes of that name outside of the service: another instance, or one in \
              somebody's \
              shell. systemd knows the service's processes: leave ExecStop= out, or use $MAINPID.",
        page: "systemd.service(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nExecStop=/usr/bin/killall foo\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nKillSignal=SIGINT\n",
        check: Check::Unit(stop_kills_by_name),
    },
];

/// Whether it may leave processes behind when it stops.
pub(super) fn leaks(unit: &LintUnit, service: &ServiceConfig) -> bool {
    let mode = matches!(service.kill.mode, KillMode::Process | KillMode::None);
    mode && !service.resources.delegate && !unit.config.flags.left_behind_allowed
}

/// Whether something stops and starts it again without anybody asking, and what.
fn comes_again(unit: &LintUnit, service: &ServiceConfig) -> Option<String> {
    if service.restart != Restart::No && unit.last("Restart").is_some() {
        return Some(format!("Restart={}", service.restart.as_str()));
    }
    let passes = |d: &&crate::Dependency| {
        matches!(d.kind, DependencyKind::Requires | DependencyKind::BindsTo | DependencyKind::PartOf)
            && matches!(d.origin, crate::Origin::Directive(_))
            && d.other.kind() == crate::UnitKind::Service
    };
    unit.config.dependencies.iter().find(passes).map(|d| format!("{}={}", d.kind.name(), d.other))
}

/// Programs whose children are others' sessions and jobs, which are meant to outlive them.
const SESSIONS: [&str; 23] = [
    "systemd-sulogin-shell",
    "sshd",
    "dropbear",
    "cron",
    "crond",
    "fcron",
    "anacron",
    "bcron-start",
    "atd",
    "inetd",
    "inetutils-inetd",
    "xinetd",
    "telnetd",
    "libvirtd",
    "virtqemud",
    "virtlxcd",
    "dockerd",
    "containerd",
    "lxcfs",
    "screen",
    "tmux",
    "agetty",
    "login",
];

/// Whether the children are meant to outlive the service, as far as its program tells.
fn has_sessions(service: &ServiceConfig) -> bool {
    let name = |c: &Command| {
        let shell = is_shell_program(&c.path) && c.argv.len() == 1;
        shell || c.path.rsplit('/').next().is_some_and(|name| SESSIONS.contains(&name))
    };
    service.commands(ExecPhase::Start).iter().any(name)
}

fn kill_mode(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| leaks(unit, s)) else { return };
    if has_sessions(service) && service.kill.mode == KillMode::Process {
        let message =
            "KillMode=process: sessions outlive a stop of the service, and stay in its control group".into();
        let fix = "say so with a comment: # hence: allow kill-mode: sessions outlive the daemon";
        findings.add_at(Level::Note, unit.place("KillMode"), message, fix);
        return;
    }
    let mode = service.kill.mode;
    let again = comes_again(unit, service);
    let what = match mode {
        KillMode::None => "a stop ends no process at all",
        _ => "a stop ends the main process only",
    };
    let mut message = format!("KillMode={}: {what}, and leaves its children behind", mode.as_str());
    if let Some(again) = &again {
        message += &format!(", again with each restart by {again}");
    }
    let fix = "remove the line, or write KillMode=mixed where the main process ends its children itself";
    // Without restarts it is at most one set of processes for each stop that somebody asks for.
    let level = if again.is_some() || mode == KillMode::None { Level::Warning } else { Level::Note };
    findings.add_at(level, unit.place("KillMode"), message, fix);
}

fn without_end(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let kill = unit.config.kill();
    if kill.send_sigkill || unit.last("SendSIGKILL").is_none() {
        return;
    }
    let message = "a process that doesn't end by the signal is left running when the stop times out".into();
    findings.add(unit.place("SendSIGKILL"), message, "raise TimeoutStopSec= instead, where it needs time");
}

fn tasks(limit: Limit, most: u64) -> u64 {
    match limit {
        Limit::Absolute(n) => n.min(most),
        Limit::Share(hundredths) => (u128::from(most) * u128::from(hundredths) / 10_000) as u64,
    }
}

/// The effective limit in words.
fn shown_limit(limit: Option<Limit>, world: &World<'_>) -> (u64, String) {
    let most = world.machine.tasks();
    let count = tasks(limit.unwrap_or(Limit::Share(1_500)), most);
    let of = match world.machine.known {
        true => "on this machine".into(),
        false => format!("on a machine of 16 GiB, where the kernel allows {most}"),
    };
    (count, of)
}

fn tasks_unbounded(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| leaks(unit, s) && !has_sessions(s)) else { return };
    // One that nothing restarts leaves a few behind, not thousands.
    if comes_again(unit, service).is_none() {
        return;
    }
    let own = unit.last("TasksMax").is_some();
    let limit = service.resources.tasks_max;
    let (count, of) = shown_limit(limit, world);
    if own && count < 4_096 {
        return;
    }
    let message = match own {
        true => format!("TasksMax= lets {count} processes be left behind {of}"),
        false => format!("no TasksMax=: {count} processes can be left behind {of} before anything stops it"),
    };
    let place = unit.place(if own { "TasksMax" } else { "KillMode" });
    findings.add(place, message, "set TasksMax= to a few times what the service needs");
}

fn tasks_max_high(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| !s.resources.delegate && !leaks(unit, s)) else { return };
    let Some(assignment) = unit.last("TasksMax") else { return };
    let Some(limit) = service.resources.tasks_max else { return };
    let most = world.machine.tasks();
    let count = tasks(limit, most);
    let message = match limit {
        Limit::Absolute(INFINITY) => {
            format!("TasksMax=infinity: a leak goes on to the kernel's limit, {most}")
        }
        _ if count >= most / 2 => {
            format!("TasksMax={}: {count} of {most} that the kernel allows", assignment.value)
        }
        _ => return,
    };
    findings.add(assignment.place.clone(), message, "give the number that the service may need");
}

/// The signal that a kill(1) command sends, and whether it is for the main process.
fn kill_signal(command: &Command) -> Option<u8> {
    let mut words = command.argv.iter().map(|w| &**w);
    if words.next()?.rsplit('/').next()? != "kill" {
        return None;
    }
    let (mut signal, mut main) = (15, false);
    while let Some(word) = words.next() {
        let named = match word {
            "-s" | "--signal" => Some(words.next()?),
            "$MAINPID" | "${MAINPID}" => {
                main = true;
                None
            }
            word => {
                word.strip_prefix("--signal=").or_else(|| word.strip_prefix('-')).filter(|w| !w.is_empty())
            }
        };
        if let Some(name) = named {
            signal = value::signal(&name.to_ascii_uppercase())?;
        }
    }
    main.then_some(signal)
}

fn stop_returns_early(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service() else { return };
    let [command] = service.commands(ExecPhase::Stop) else { return };
    if service.service_type == ServiceType::Oneshot || service.kill.mode == KillMode::None {
        return;
    }
    let Some(signal) = kill_signal(command) else { return };
    let place = unit.at(command.position);
    let own = value::signal_name(service.kill.signal).unwrap_or_default();
    if signal == 9 {
        let message = "ExecStop= kills the main process at once: it can't end in order".into();
        findings.add_at(Level::Warning, place, message, "remove the line: SIGTERM comes first, then SIGKILL");
    } else if signal == service.kill.signal {
        let message = format!("ExecStop= sends {own}, which systemd sends anyway");
        findings.add(place, message, "remove the line");
    } else {
        let name = value::signal_name(signal).unwrap_or_default();
        let message = format!("ExecStop= sends {name} and returns at once: {own} follows without a pause");
        let fix = format!("write KillSignal={name} instead");
        findings.add_at(Level::Warning, place, message, &fix);
    }
}

fn stop_kills_by_name(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service() else { return };
    for command in service.commands(ExecPhase::Stop) {
        let program = command.path.rsplit('/').next().unwrap_or_default();
        if is_shell_program(program) || !["killall", "pkill"].contains(&program) {
            continue;
        }
        let narrow =
            command.argv.iter().any(|w| w.contains("MAINPID") || matches!(&**w, "-P" | "-F" | "-s" | "-g"));
        if !narrow {
            let message =
                format!("{program} ends every process of that name, not only those of {}", unit.shown());
            findings.add(unit.at(command.position), message, "remove the line, or use $MAINPID");
        }
    }
}
