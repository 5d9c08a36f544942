//! What the tests share: a host, units made in memory, and waiting for events with a bound.

use hence_engine::{Effect, Event, ExecId, Kill, KillScope, Spawn, UnitId};
use hence_host::{Host, HostOptions, Ready};
use hence_ledger::{Exit, ProcessRole, SignalReason, Tracking, record::Invocation};
use hence_unit::{
    Config, Kind, Position, ServiceConfig, UnitName,
    config::{Command, ExecPhase, Privilege},
};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// Longest that a test waits for one event, in microseconds.
const PATIENCE_US: u64 = 20_000_000;

pub struct Rig {
    pub host: Host,
    pub events: VecDeque<Event>,
    pub foreign: Vec<Ready>,
    next: u32,
}

pub fn options() -> HostOptions {
    HostOptions::default()
}

pub fn command(argv: &[&str]) -> Command {
    Command {
        path: argv[0].into(),
        argv: argv.iter().map(|a| Box::from(*a)).collect(),
        ignore_failure: false,
        no_substitution: false,
        privilege: Privilege::Unit,
        position: Position { source: 0, line: 1, column: 1 },
    }
}

/// A service that runs this.
pub fn service(name: &str, argv: &[&str]) -> Config {
    let mut config = Config::stub(UnitName::new(name).unwrap());
    let mut service = ServiceConfig::default();
    service.exec[ExecPhase::Start as usize].push(command(argv));
    config.kind = Kind::Service(Arc::new(service));
    config
}

pub fn part(config: &mut Config) -> &mut ServiceConfig {
    match &mut config.kind {
        Kind::Service(service) => Arc::make_mut(service),
        _ => panic!("not a service"),
    }
}

/// A shell that runs this script.
pub fn shell(name: &str, script: &str) -> Config {
    service(name, &["/bin/sh", "-c", script])
}

pub fn spawn_of(unit: u32, config: &Arc<Config>) -> Spawn {
    let mut id = [unit as u8; 16];
    id[..4].copy_from_slice(&std::process::id().to_le_bytes());
    Spawn {
        exec: ExecId(unit),
        unit: UnitId(unit),
        config: config.clone(),
        role: ProcessRole::Main,
        phase: ExecPhase::Start,
        index: 0,
        invocation: Invocation(id),
        environment: Vec::new(),
        confirm: false,
        notify: true,
        sockets: Vec::new(),
        connection: None,
        first_of_invocation: true,
    }
}

pub fn kill_of(unit: u32, scope: KillScope, main: Option<u32>, signal: i32) -> Kill {
    Kill {
        unit: UnitId(unit),
        scope,
        main,
        control: None,
        signal: signal as u8,
        then_continue: true,
        hangup: false,
        reason: SignalReason::Stop,
        report_empty: true,
    }
}

impl Rig {
    pub fn new() -> Rig {
        Rig::with(options())
    }

    pub fn by_ancestry() -> Rig {
        Rig::with(HostOptions { tracking: Some(Tracking::Ancestry), ..options() })
    }

    pub fn with(options: HostOptions) -> Rig {
        let host = Host::new(options).expect("a host");
        Rig { host, events: VecDeque::new(), foreign: Vec::new(), next: 0 }
    }

    /// Does an effect and gives its answer.
    pub fn ask(&mut self, effect: Effect) -> Event {
        let mut answers = VecDeque::new();
        assert!(self.host.perform(effect, &mut answers).is_none(), "not handed back");
        let answer = answers.pop_front().expect("an answer");
        self.events.extend(answers);
        answer
    }

    pub fn tell(&mut self, effect: Effect) {
        assert!(self.host.perform(effect, &mut self.events).is_none(), "not handed back");
    }

    /// Starts a service's main process; its unit and pid.
    pub fn start(&mut self, config: Config) -> (u32, u32) {
        let unit = self.next;
        self.next += 1;
        let config = Arc::new(config);
        match self.ask(Effect::Spawn(Box::new(spawn_of(unit, &config)))) {
            Event::Spawned { pid, exec, .. } => {
                assert_eq!(exec, ExecId(unit));
                (unit, pid)
            }
            other => panic!("not started: {other:?}"),
        }
    }

    /// Waits once, until the deadline at most.
    pub fn wait(&mut self, deadline_us: u64) {
        self.host.wait(Some(deadline_us), &mut self.events, &mut self.foreign).expect("a wait");
    }

    /// Waits for the first event that `pick` takes; others stay.
    pub fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let start = Instant::now();
        let deadline = Host::now().monotonic_us + PATIENCE_US;
        loop {
            for i in 0..self.events.len() {
                if let Some(found) = pick(&self.events[i]) {
                    self.events.remove(i);
                    return found;
                }
            }
            let patient = start.elapsed().as_micros() < u128::from(PATIENCE_US);
            assert!(patient, "no {what}; there are {:?}", self.events);
            self.wait(deadline);
        }
    }

    pub fn exited(&mut self, wanted: u32) -> Exit {
        self.until(&format!("end of {wanted}"), |e| match e {
            Event::Exited { pid, exit: Some(exit), .. } if *pid == wanted => Some(*exit),
            _ => None,
        })
    }

    pub fn emptied(&mut self, unit: u32) {
        self.until("emptied group", |e| matches!(e, Event::Emptied(u) if u.0 == unit).then_some(()));
    }

    /// Kills a unit's processes and waits until none is left.
    pub fn end(&mut self, unit: u32) {
        let killed = self.ask(Effect::Kill(kill_of(unit, KillScope::Group, None, libc::SIGKILL)));
        if matches!(killed, Event::Killed { empty: false, .. }) {
            self.emptied(unit);
        }
        self.tell(Effect::Release { unit: UnitId(unit), keep_directories: false });
    }
}

/// A folder of this test's own, removed at its end. Others may enter it.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("hence-test-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A file's content once it is there and not empty.
    pub fn read(&self, name: &str) -> String {
        for _ in 0..2000 {
            match std::fs::read_to_string(self.path(name)) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        panic!("{} was not written", self.path(name));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
