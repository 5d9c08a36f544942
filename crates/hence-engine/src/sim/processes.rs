//! Modelled processes: how they are started, forked, signalled and ended.

use super::behaviour::{Behaviour, Child, signal};
use super::{Act, Happening, Whom, World};
use crate::{DescriptorsId, Event, Keeping, Notification, Spawn, UnitId};
use alloc::{string::String, vec::Vec};
use hence_ledger::{Exit, ExitKind, Fact, LeftOver, ProcessRole, Record, SpawnStep, record::Invocation};
use hence_unit::{UnitName, config::ExecPhase, config::ServiceType};

/// What a program takes beside what it does, in microseconds.
const PROGRAM_US: u64 = 5_000;

/// A process that is alive.
#[derive(Clone, Debug)]
pub(super) struct Modelled {
    pub unit: UnitId,
    pub invocation: Invocation,
    pub start_ticks: u64,
    /// hence started it; otherwise another process did.
    pub direct: bool,
    pub parent: u32,
    pub children: Vec<u32>,
    behaviour: Behaviour,
    /// Only SIGKILL ends it.
    stubborn: bool,
    command: String,
}

impl Modelled {
    pub fn left_over(&self, pid: u32) -> crate::Process {
        crate::Process {
            process: LeftOver {
                pid,
                start_ticks: self.start_ticks,
                command: self.command.as_str().into(),
                bytes: None,
            },
            invocation: Some(self.invocation),
        }
    }
}

impl World {
    pub(super) fn spawn(&mut self, spawn: &Spawn) -> Event {
        let behaviour = self.behaviour_of(spawn);
        let commands = match (spawn.config.service(), spawn.config.socket()) {
            (Some(service), _) => service.commands(spawn.phase),
            (None, socket) => socket.map_or(&[][..], |s| s.commands(spawn.phase)),
        };
        let command = commands.get(spawn.index as usize);
        let command: String = command.map(|c| (*c.path).into()).unwrap_or_default();
        if let Some((step, errno)) = behaviour.fails
            && (spawn.confirm || crate::unit::status_of(step).is_none())
        {
            let subject = command.as_str().into();
            return Event::SpawnFailed { exec: spawn.exec, step, errno, subject };
        }
        if !self.caps.admit_start(spawn.unit) {
            let (step, errno) = (SpawnStep::Fork, 11);
            return Event::SpawnFailed { exec: spawn.exec, step, errno, subject: command.as_str().into() };
        }
        if !behaviour.deaf {
            for socket in &spawn.sockets {
                self.waiting_traffic.remove(socket);
            }
        }
        let start_ticks = self.now_us / 10_000;
        let modelled = Modelled {
            unit: spawn.unit,
            invocation: spawn.invocation,
            start_ticks,
            direct: true,
            parent: 1,
            children: Vec::new(),
            behaviour: Behaviour::default(),
            stubborn: false,
            command,
        };
        let pid = self.begin(modelled, &behaviour);
        if let Some((step, errno)) = behaviour.fails {
            self.spawn_errors.insert(pid, (step, errno));
            let status = crate::unit::status_of(step).unwrap_or(1);
            let lag = self.lag(100);
            self.happen(self.now_us + lag, Happening::End(pid, Exit { kind: ExitKind::Exited, status }));
        }
        Event::Spawned { exec: spawn.exec, pid, start_ticks, inputs: Vec::new(), executed: true }
    }

    fn behaviour_of(&mut self, spawn: &Spawn) -> Behaviour {
        let directive = match spawn.phase {
            ExecPhase::Condition => "ExecCondition",
            ExecPhase::StartPre => "ExecStartPre",
            ExecPhase::Start => "ExecStart",
            ExecPhase::StartPost => "ExecStartPost",
            ExecPhase::Reload => "ExecReload",
            ExecPhase::Stop if spawn.config.socket().is_some() => "ExecStopPre",
            ExecPhase::Stop => "ExecStop",
            ExecPhase::StopPost => "ExecStopPost",
        };
        let unit = String::from(spawn.config.id().as_str());
        let starts = self.starts.entry((unit, directive.into())).or_default();
        let start = core::mem::replace(starts, *starts + 1);
        let name = self.engine.unit(spawn.unit).name();
        let key = |name: &str| (String::from(name), String::from(directive));
        if let Some(source) = &self.source
            && !self.scripts.contains_key(&key(name.as_str()))
            && let Some(script) = source.script(&spawn.config, spawn.phase)
        {
            self.scripts.insert(key(name.as_str()), script);
        }
        let template = name.template();
        let script = self
            .scripts
            .get(&key(name.as_str()))
            .or_else(|| template.and_then(|t| self.scripts.get(&key(t.as_str()))));
        if let Some(behaviour) = script.and_then(|s| s.of(start)) {
            return behaviour.clone();
        }
        let ends = |after_us| Some((after_us, Exit { kind: ExitKind::Exited, status: 0 }));
        let kind = spawn.config.service().map(|s| s.service_type);
        match (spawn.role, kind) {
            (ProcessRole::Main, Some(ServiceType::Oneshot)) => {
                Behaviour { ends: ends(1_000), ..Behaviour::default() }
            }
            (ProcessRole::Main, Some(ServiceType::Notify)) => {
                Behaviour { says: [(1_000, "READY=1".into())].into(), ..Behaviour::default() }
            }
            (ProcessRole::Main, _) => Behaviour::default(),
            (ProcessRole::Start, _) => Behaviour {
                ends: ends(2_000),
                children: [Child::default()].into(),
                writes_pid: Some(1_000),
                ..Behaviour::default()
            },
            _ => Behaviour { ends: ends(1_000), ..Behaviour::default() },
        }
    }

    fn begin(&mut self, mut modelled: Modelled, behaviour: &Behaviour) -> u32 {
        let pid = self.next_pid;
        self.next_pid += 1;
        modelled.behaviour = behaviour.clone();
        let child = |stubborn| Modelled {
            unit: modelled.unit,
            invocation: modelled.invocation,
            start_ticks: modelled.start_ticks,
            direct: false,
            parent: pid,
            children: Vec::new(),
            behaviour: Behaviour::default(),
            stubborn,
            command: modelled.command.clone(),
        };
        let children: Vec<_> = behaviour.children.iter().map(|c| (child(c.stubborn), c.ends)).collect();
        self.join(pid, modelled);
        let now_us = self.now_us;
        for (child, ends) in children {
            if !self.caps.admit(child.unit) {
                continue;
            }
            let child = self.begin(child, &Behaviour::default());
            if let Some(parent) = self.processes.get_mut(&pid) {
                parent.children.push(child);
            }
            if let Some((after_us, exit)) = ends {
                self.happen(now_us + after_us, Happening::End(child, exit));
            }
        }
        if let Some((after_us, exit)) = behaviour.ends {
            // Where deadlines wait for a slot, it matters that no program ends in no time.
            let after_us = after_us + if self.slot_us.is_some() { PROGRAM_US } else { 0 };
            self.happen(now_us + after_us, Happening::End(pid, exit));
        }
        for (after_us, text) in &behaviour.says {
            self.happen(now_us + after_us, Happening::Say(pid, text.clone()));
        }
        if let Some((every, lasts)) = behaviour.pings {
            self.happen(now_us + every, Happening::Ping { pid, every, until: now_us.saturating_add(lasts) });
        }
        if let Some(after_us) = behaviour.writes_pid {
            self.happen(now_us + after_us, Happening::WritePid(pid));
        }
        pid
    }

    /// A process is there from now on.
    fn join(&mut self, pid: u32, process: Modelled) {
        let unit = process.unit;
        self.groups.entry(unit).or_default().fresh.insert(pid);
        self.caps.joined(unit, &self.engine, self.now_us);
        self.processes.insert(pid, process);
    }

    /// A process is there no more.
    fn leave(&mut self, pid: u32) -> Option<Modelled> {
        let process = self.processes.remove(&pid)?;
        if let Some(group) = self.groups.get_mut(&process.unit) {
            let fresh = group.fresh.remove(&pid);
            let _ = fresh || group.left_over.remove(&pid);
        }
        self.caps.left(process.unit);
        Some(process)
    }

    pub(super) fn is_group_empty(&self, unit: UnitId) -> bool {
        self.groups.get(&unit).is_none_or(|g| g.fresh.is_empty() && g.left_over.is_empty())
    }

    pub(super) fn is_of(&self, pid: u32, unit: UnitId) -> bool {
        self.processes.get(&pid).is_some_and(|p| p.unit == unit)
    }

    /// A record may say that processes were left behind: from now on a census counts them only.
    pub(super) fn set_apart(&mut self, record: &Record) {
        let Fact::LeftBehind { processes, .. } = &record.fact else { return };
        for process in processes {
            let Some(unit) = self.processes.get(&process.pid).map(|p| p.unit) else { continue };
            let group = self.groups.entry(unit).or_default();
            if group.fresh.remove(&process.pid) {
                group.left_over.insert(process.pid);
            }
        }
    }

    /// A process ends. hence hears of it, and of an empty group, in either order.
    pub(super) fn end_process(&mut self, pid: u32, exit: Exit) {
        let Some(ended) = self.leave(pid) else { return };
        let (unit, start_ticks) = (ended.unit, ended.start_ticks);
        let orphan = !self.processes.contains_key(&ended.parent);
        let exit = (ended.direct || orphan).then_some(exit);
        let spawn_error = self.spawn_errors.contains_key(&pid);
        let lag = self.lag(0);
        let reaped = Happening::Reaped { unit, pid, start_ticks, exit, spawn_error };
        self.happen(self.now_us + lag, reaped);
        let lag = self.lag(0);
        self.happen(self.now_us + lag, Happening::Empty(unit));
    }

    /// A process gets a signal.
    pub(super) fn hit(&mut self, pid: u32, number: u8) {
        const HARMLESS: [u8; 4] = [0, 17, 18, 23];
        let Some(process) = self.processes.get(&pid) else { return };
        let killed = Exit { kind: ExitKind::Killed, status: number.into() };
        let answer = process.behaviour.answers.iter().find(|(s, ..)| *s == number).copied();
        let ignored = process.stubborn || process.behaviour.ignores.contains(&number);
        match (number, answer) {
            (9, _) => {
                let lag = self.lag(0);
                self.happen(self.now_us + lag, Happening::End(pid, killed));
            }
            (n, _) if HARMLESS.contains(&n) => {}
            (_, Some((_, after_us, exit))) => {
                self.happen(self.now_us + after_us, Happening::End(pid, exit));
            }
            (_, None) if ignored => {}
            (_, None) => {
                let lag = self.lag(1_000);
                self.happen(self.now_us + lag, Happening::End(pid, killed));
            }
        }
    }

    pub(super) fn strike(&mut self, unit: &UnitName, whom: Whom, number: u8) {
        let Some(unit) = self.engine.find(unit) else { return };
        let (main, control) = self.engine.known_processes(unit);
        let pids = match whom {
            Whom::Main => main.into_iter().collect(),
            Whom::Control => control.into_iter().collect(),
            Whom::All => self.group(unit),
        };
        for pid in pids {
            self.hit(pid, number);
        }
    }

    pub(super) fn say(&mut self, pid: u32, text: &str) {
        let Some(process) = self.processes.get(&pid) else { return };
        let unit = process.unit;
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let mut message = Notification::default();
        match key {
            "READY" => message.ready = true,
            "RELOADING" => {
                message.reloading = true;
                message.monotonic_us = Some(self.now_us);
            }
            "STOPPING" => message.stopping = true,
            "WATCHDOG" if value == "trigger" => message.watchdog_trigger = true,
            "WATCHDOG" => message.watchdog = true,
            "STATUS" => message.status = Some(value.into()),
            "EXTEND_TIMEOUT_USEC" => message.extend_timeout_us = value.parse().ok(),
            "WATCHDOG_USEC" => message.watchdog_us = value.parse().ok(),
            "FDSTORE" => {
                let (descriptors, name) = (DescriptorsId(0), Some(value.into()));
                message.keeping = Some(Keeping::Keep { descriptors, name, poll: true });
            }
            "FDSTOREREMOVE" => message.keeping = Some(Keeping::Drop(value.into())),
            "MAINPID" => message.main_pid = process.children.first().copied(),
            _ => {}
        }
        self.handle(Event::Notify { unit, pid, uid: 0, message });
    }

    pub(super) fn write_pid(&mut self, pid: u32) {
        let Some(process) = self.processes.get(&pid) else { return };
        let unit = process.unit;
        let named = process.children.first().copied().unwrap_or(pid);
        self.pid_files.insert(unit, named);
        if self.pid_files_awaited.remove(&unit) {
            let pid = Some(named).filter(|p| self.processes.contains_key(p));
            self.handle(Event::PidFile { unit, pid });
        }
    }
}

impl Act {
    /// A signal by its name, as a step of a scenario has it.
    pub fn signal(name: &str) -> Option<u8> {
        signal(name.strip_prefix("SIG").unwrap_or(name))
    }
}
