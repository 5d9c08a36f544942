//! Rules about programs that start a service's program instead of being it.

use super::{
    Check, Findings, Level, LintUnit, Rule, World,
    script::{Fate, Starter, fate, inline, is_shell},
    shell::{End, outline},
};
use crate::{
    Place,
    config::{Command, ExecPhase, KillMode, ServiceConfig, ServiceType},
};
use alloc::format;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "starter-waits",
        level: Level::Note,
        says: "A starter script runs the service's program as its child and waits, instead of exec.",
        why: "The main process is then the shell: signals, the exit status and sd_notify go to and come from \
              it. With KillMode=process or none a stop ends the shell and leaves the program behind, once \
              with \
              every restart. Write `exec` in front of the program: it takes the shell's place.",
        page: "systemd.kill(5)",
        bad: "-- image --\n-- foo.service --\n[Service]\nExecStart=/usr/bin/start-foo\nKillMode=process\n\
              TasksMax=64\n\
              -- /usr/bin/start-foo --\n#!/bin/sh\nset -e\n. /etc/default/foo\n/usr/bin/foo --port \
              \"$PORT\"\n\
              -- /usr/bin/foo --\n",
        good: "-- image --\n-- foo.service --\n[Service]\nExecStart=/usr/bin/start-foo\n\
               -- /usr/bin/start-foo --\n#!/bin/sh\nset -e\n. /etc/default/foo\nexec /usr/bin/foo --port \
               \"$PORT\"\n\
               -- /usr/bin/foo --\n",
        check: Check::Unit(waits),
    },
    Rule {
        id: "starter-abandons",
        level: Level::Warning,
        says: "The starter puts the service's program into the background and ends.",
        why: "The end of the main process is the end of the service: systemd then kills the program at \
              once, or, \
              with KillMode=process or none, loses sight of it. Leave the `&` out and write `exec` in \
              front of \
              the program.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=exec\nExecStart=/bin/sh -c '/usr/bin/foo --serve &'\n",
        good: "[Service]\nType=exec\nExecStart=/bin/sh -c 'exec /usr/bin/foo --serve'\n",
        check: Check::Unit(abandons),
    },
    Rule {
        id: "starter-pipes",
        level: Level::Note,
        says: "The service's program runs in a pipe behind a shell.",
        why: "The main process is a shell that waits for all parts of the pipe. The exit status is that of \
              the \
              last part, so that Restart=on-failure doesn't see the program fail. What a service writes \
              goes to \
              the journal by itself; for files there is StandardOutput=append:.",
        page: "systemd.exec(5)",
        bad: "[Service]\nType=exec\nExecStart=/bin/sh -c '/usr/bin/foo 2>&1 | logger -t foo'\n",
        good: "[Service]\nType=exec\nExecStart=/usr/bin/foo\nSyslogIdentifier=foo\n",
        check: Check::Unit(pipes),
    },
    Rule {
        id: "script-waits",
        level: Level::Note,
        says: "A script that was given without a unit runs its last program as a child, instead of exec.",
        why: "Where a service starts it, its main process is the shell and not the program; see \
              starter-waits.",
        page: "systemd.kill(5)",
        bad: "-- /usr/bin/start-foo --\n#!/bin/sh\n/usr/bin/foo &\nwait\n",
        good: "-- /usr/bin/start-foo --\n#!/bin/sh\nexec /usr/bin/foo\n",
        check: Check::World(given_scripts),
    },
];

/// The main command of a service whose main process is to be its program, with its starter.
fn starter<'u>(unit: &'u LintUnit, world: &World<'_>) -> Option<(&'u ServiceConfig, &'u Command, Starter)> {
    let service = unit.service()?;
    if matches!(service.service_type, ServiceType::Oneshot | ServiceType::Forking) {
        return None;
    }
    let command = service.commands(ExecPhase::Start).first()?;
    Some((service, command, Starter::of(command, world)?))
}

fn leaves_behind(mode: KillMode) -> bool {
    matches!(mode, KillMode::Process | KillMode::None)
}

fn waits(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Some((service, command, starter)) = starter(unit, world) else { return };
    let Fate::Waited(line, program) = fate(starter.outline()) else { return };
    let (place, forks) = match &starter {
        Starter::Script(script, outline) => {
            let forks = outline.statements.iter().any(|s| s.line == line && s.end == End::Background);
            (Place { file: script.path.clone(), line, column: 1 }, forks)
        }
        // A shell that has nothing else to do execs the last command of its text by itself.
        Starter::Inline(outline) if outline.statements.iter().any(|s| s.command() == "wait") => {
            (unit.at(command.position), true)
        }
        Starter::Inline(_) => return,
    };
    let mode = service.kill.mode;
    let level = if leaves_behind(mode) { Level::Warning } else { Level::Note };
    let how = if forks { "forks and waits for" } else { "runs and waits for" };
    let end = match leaves_behind(mode) {
        true => format!("; with KillMode={} each stop leaves {program} behind", mode.as_str()),
        false => format!(", so that a shell is the main process and not {program}"),
    };
    let message = format!("the starter of {} {how} {program}{end}", unit.shown());
    findings.add_at(level, place, message, &format!("write `exec {program} ...`"));
}

fn abandons(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Some((service, command, starter)) = starter(unit, world) else { return };
    let Fate::Abandoned(line, program) = fate(starter.outline()) else { return };
    if service.remain_after_exit || service.exit_type == crate::config::ExitType::Cgroup {
        return;
    }
    let place = match &starter {
        Starter::Script(script, _) => Place { file: script.path.clone(), line, column: 1 },
        Starter::Inline(_) => unit.at(command.position),
    };
    let becomes = if leaves_behind(service.kill.mode) { "is left behind" } else { "is killed with it" };
    let message = format!(
        "the starter of {} puts {program} into the background and ends: {program} {becomes}",
        unit.shown()
    );
    findings.add(place, message, &format!("write `exec {program} ...` without the &"));
}

fn pipes(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(service) = unit.service().filter(|s| s.service_type != ServiceType::Oneshot) else { return };
    let Some(command) = service.commands(ExecPhase::Start).first() else { return };
    let Some(text) = inline(command) else { return };
    let outline = outline(text);
    let [.., piped, last] = outline.statements.as_slice() else { return };
    let outputs = ["logger", "tee", "cat", "systemd-cat", "cronolog", "rotatelogs", "multilog", "svlogd"];
    if piped.end == End::Pipe && last.depth == 0 && outputs.contains(&last.command()) {
        let message = format!("{} runs in a pipe to {} behind a shell", piped.command(), last.command());
        findings.add(unit.at(command.position), message, "run it alone: its output goes to the journal");
    }
}

fn given_scripts(world: &World<'_>, findings: &mut Findings<'_>) {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let runs = |path: &str| {
        let units = world.given().iter();
        units
            .flat_map(LintUnit::commands)
            .any(|(_, c)| c.argv.iter().chain([&c.path]).any(|w| name(w) == name(path)))
    };
    for script in world.scripts().iter().filter(|s| is_shell(&s.text) && !runs(&s.path)) {
        let outline = outline(&script.text);
        let Fate::Waited(line, program) = fate(&outline) else { continue };
        let forks = outline.statements.iter().any(|s| s.line == line && s.end == End::Background);
        if forks {
            let message = format!("the script forks {program} and waits for it");
            let place = Place { file: script.path.clone(), line, column: 1 };
            findings.add(place, message, &format!("write `exec {program} ...` without the &"));
        }
    }
}
