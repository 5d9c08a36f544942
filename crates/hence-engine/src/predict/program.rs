//! What the processes of a unit are taken to do: a model for each Type=, what its script says of children,
//! and what the sentences suppose. Each guess is also told in words.

use super::sentence::{Fault, Sentence};
use crate::sim::behaviour::{Behaviour, Child, Script};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use hence_ledger::{Exit, ExitKind, SpawnStep};
use hence_unit::Config;
use hence_unit::config::{ExecPhase, KillMode, ServiceConfig, ServiceType};

/// A moment: what a short program takes, in microseconds.
const MOMENT_US: u64 = 1_000;
/// ENOENT
const NO_FILE: i32 = 2;

/// What is known of a program.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    /// The text of a script.
    Script(String),
    /// It is there, and no script.
    Binary,
    /// It isn't there, or can't be read.
    Nothing,
}

/// What the main program does about a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starter {
    /// It is the only process.
    No,
    /// It has a child, and waits for it: `foo` or `foo & wait` in a shell script.
    Waits,
    /// The same, but only KillMode= says so.
    Supposed,
}

/// Whether the main program has a child that it waits for.
pub fn starter(service: &ServiceConfig, known: impl Fn(&str) -> Known) -> Starter {
    let Some(command) = service.commands(ExecPhase::Start).first() else { return Starter::No };
    if service.service_type == ServiceType::Forking || service.service_type == ServiceType::Oneshot {
        return Starter::No;
    }
    let shell = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        matches!(name, "sh" | "bash" | "dash" | "ksh" | "ash" | "busybox")
    };
    let inline = || {
        let at = command.argv.iter().position(|a| a.starts_with('-') && a.ends_with('c'))?;
        command.argv.get(at + 1).map(|text| &**text)
    };
    let from_text = |text: &str, inline: bool| match keeps_child(text, inline) {
        true => Starter::Waits,
        false => Starter::No,
    };
    if shell(&command.path) {
        if let Some(text) = inline() {
            return from_text(text, true);
        }
        let script = command.argv.get(1).filter(|a| a.starts_with('/'));
        if let Some(Known::Script(text)) = script.map(|path| known(path)) {
            return from_text(&text, false);
        }
    }
    match known(&command.path) {
        Known::Script(text) if text.lines().next().is_some_and(|line| line.contains("sh")) => {
            from_text(&text, false)
        }
        Known::Script(_) | Known::Binary | Known::Nothing => match service.kill.mode {
            // Nobody would write it for a service of one process.
            KillMode::Process | KillMode::None => Starter::Supposed,
            KillMode::ControlGroup | KillMode::Mixed => Starter::No,
        },
    }
}

/// Whether a shell script has a process of its own while it waits: something in the background, or a last
/// command that isn't `exec`.
fn keeps_child(text: &str, inline: bool) -> bool {
    const OWN: [&str; 25] = [
        "echo", "exit", "true", "false", ":", "cd", "set", "export", "trap", "read", "return", "fi", "done",
        "esac", "}", "wait", "printf", "shift", "unset", "local", "umask", "test", "[", "kill", "ulimit",
    ];
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let commands: Vec<&str> =
        lines.flat_map(|l| l.split(';')).map(str::trim).filter(|c| !c.is_empty()).collect();
    let background = |command: &&str| {
        let bare = command.replace("&&", "  ");
        bare.split_whitespace().any(|word| word == "&") || bare.ends_with('&')
    };
    if commands.iter().any(background) {
        return true;
    }
    let Some(last) = commands.iter().rev().find(|c| !matches!(**c, "fi" | "done" | "esac" | "}")) else {
        return false;
    };
    let words: Vec<&str> = last.split_whitespace().filter(|w| !w.contains('=')).collect();
    match words.first() {
        None => false,
        // A shell that has only this one command to run becomes it.
        Some(_) if inline && commands.len() == 1 => false,
        Some(word) => *word != "exec" && !OWN.contains(word),
    }
}

/// What the successive starts of a command do. `None`: what the simulator has for a command of its phase.
pub fn script(config: &Config, phase: ExecPhase, starter: Starter, sentences: &[Sentence]) -> Option<Script> {
    let service = config.service()?;
    if phase != ExecPhase::Start {
        return None;
    }
    let usual = usual(service, starter);
    let own: Vec<&Sentence> = sentences.iter().filter(|s| is_about(s, config)).collect();
    if own.is_empty() {
        return Some(Script([usual].into()));
    }
    // As many starts as differ, and the last one again and again.
    let differ = own.iter().filter_map(|s| s.times).max().unwrap_or(0).min(10_000);
    let start = |nth: u32| {
        let mut behaviour = usual.clone();
        for sentence in own.iter().filter(|s| s.times.is_none_or(|times| nth < times)) {
            apply(&mut behaviour, &sentence.fault, service, starter);
        }
        behaviour
    };
    Some(Script((0..=differ).map(start).collect()))
}

/// Whether a sentence is about a unit, by one of its names.
pub fn is_about(sentence: &Sentence, config: &Config) -> bool {
    sentence.unit == *config.id() || config.aliases.contains(&sentence.unit)
}

/// What it does where nothing is supposed.
fn usual(service: &ServiceConfig, starter: Starter) -> Behaviour {
    let mut b = Behaviour::default();
    match service.service_type {
        ServiceType::Oneshot => b.ends = Some((MOMENT_US, exited(0))),
        ServiceType::Forking => {
            b.ends = Some((2 * MOMENT_US, exited(0)));
            b.children.push(Child::default());
            b.writes_pid = Some(MOMENT_US);
        }
        ServiceType::Notify | ServiceType::NotifyReload => {
            b.says.push((MOMENT_US, "READY=1".to_owned()));
        }
        ServiceType::Simple | ServiceType::Exec | ServiceType::Dbus | ServiceType::Idle => {}
    }
    if starter != Starter::No {
        b.children.push(Child::default());
    }
    if service.watchdog > 0 && service.watchdog != u64::MAX {
        b.pings = Some(((service.watchdog / 2).max(1), u64::MAX));
    }
    b
}

fn apply(b: &mut Behaviour, fault: &Fault, service: &ServiceConfig, starter: Starter) {
    let forks = service.service_type == ServiceType::Forking;
    match *fault {
        Fault::Exits(status, after_us) => {
            let end = (after_us, exited(status));
            // The main process of a forking service is its child, and a starter ends with what it waits for.
            if forks || starter != Starter::No {
                let least = if forks { 3 * MOMENT_US } else { 0 };
                for child in b.children.iter_mut().take(1) {
                    child.ends = Some((end.0.max(least), if forks { end.1 } else { exited(status) }));
                }
            }
            if !forks {
                b.ends = Some(end);
            }
            if matches!(service.service_type, ServiceType::Notify | ServiceType::NotifyReload)
                && after_us <= MOMENT_US
            {
                b.says.clear();
            }
        }
        Fault::Killed(signal, after_us) => {
            let exit = Exit { kind: ExitKind::Killed, status: i32::from(signal) };
            match b.children.first_mut().filter(|_| forks) {
                Some(child) => child.ends = Some((after_us.max(3 * MOMENT_US), exit)),
                None => b.ends = Some((after_us, exit)),
            }
        }
        Fault::Hangs => {
            b.ends = None;
            b.says.clear();
            b.pings = None;
            b.writes_pid = None;
            b.ignores = (1..=31).filter(|s| ![9, 17, 18, 23].contains(s)).collect();
            b.deaf = true;
        }
        Fault::FailsToStart => b.fails = Some((SpawnStep::Exec, NO_FILE)),
        Fault::StopsAnswering(after_us) => {
            b.pings = b.pings.filter(|_| after_us > 0).map(|(every, _)| (every, after_us));
        }
        Fault::Forks(number) => {
            b.children.extend(core::iter::repeat_n(Child::default(), usize::from(number)));
        }
        Fault::Traffic(_) => {}
    }
}

fn exited(status: u8) -> Exit {
    Exit { kind: ExitKind::Exited, status: i32::from(status) }
}

/// What is taken for granted of a unit that was started, where it isn't plain.
pub fn assumptions(config: &Config, starter: Starter, sentences: &[Sentence]) -> Vec<String> {
    let mut told = Vec::new();
    let Some(service) = config.service() else { return told };
    let name = config.id();
    let program = service.commands(ExecPhase::Start).first().map_or("", |c| &*c.path);
    let mode = service.kill.mode.as_str();
    match starter {
        Starter::Waits if !matches!(service.kill.mode, KillMode::ControlGroup | KillMode::Mixed) => {
            told.push(format!(
                "{name}: {program} starts a process and waits for it, by what its script says; \
                 KillMode={mode} spares that process"
            ));
        }
        Starter::Supposed => told.push(format!(
            "{name}: {program} can't be read as a script; as KillMode={mode} is set, it is taken to start \
             a process that it waits for"
        )),
        Starter::Waits | Starter::No => {}
    }
    if service.service_type == ServiceType::Dbus {
        told.push(format!("{name}: its bus name is there as soon as its program is"));
    }
    let own = |fault: fn(&Fault) -> bool| sentences.iter().any(|s| is_about(s, config) && fault(&s.fault));
    if service.watchdog == 0 && own(|f| matches!(f, Fault::StopsAnswering(_))) {
        told.push(format!("{name}: it has no WatchdogSec=, so nobody notices that it stops answering"));
    }
    if !config.conditions.is_empty() || !config.asserts.is_empty() {
        told.push(format!("{name}: its conditions hold"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_tell_whether_they_keep_a_child() {
        for (text, inline, keeps) in [
            ("#!/bin/sh\nset -eu\n\"$foo\" </dev/null &\nwait \"$!\"\n", false, true),
            ("#!/bin/sh\nset -eu\nexec \"$foo\"\n", false, false),
            ("#!/bin/sh\nif a; then\n  exec b <&3 3<&-\nfi\nexec c </dev/null\n", false, false),
            ("#!/bin/sh\ncd /x && prepare\nfoo --daemon 2>&1\n", false, true),
            ("#!/bin/bash\necho hello\nexit 0\n", false, false),
            ("exec sleep 5", true, false),
            ("sleep 5", true, false),
            ("echo a; sleep 5", true, true),
            ("sleep 100 & wait", true, true),
            ("", false, false),
        ] {
            assert_eq!(keeps_child(text, inline), keeps, "{text}");
        }
    }
}
