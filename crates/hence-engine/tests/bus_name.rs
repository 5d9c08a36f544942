//! Type=dbus: a service is up while somebody owns its name, as systemd 252 was seen to do it; where there is
//! no bus it is up when its program runs.

use hence_engine::*;
use hence_ledger::{Client, Exit, ExitKind, SubState, UnitResult, Verb};
use hence_unit::config::Environs;
use hence_unit::unit_path::{Entry, EntryKind, FileError, Files, UnitPath};
use hence_unit::{JobMode, UnitName};

const NAME: &str = "org.example.A";

/// One unit file.
struct One(String);

impl Files for One {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let entry = Entry { name: "a.service".into(), kind: EntryKind::File };
        if folder == "/units" { Ok(vec![entry]) } else { Err(FileError::NotFound) }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        if path == "/units/a.service" { Ok(self.0.clone().into_bytes()) } else { Err(FileError::NotFound) }
    }

    fn link(&self, _path: &str) -> Option<String> {
        None
    }
}

/// An engine, the service's start asked for and its program running.
struct Bus {
    engine: Engine,
    files: One,
    now: Time,
    unit: UnitId,
    /// The answer to what the engine asks of the bus; none: it comes later.
    there: Option<Option<bool>>,
}

impl Bus {
    fn start(more: &str, there: Option<Option<bool>>) -> Bus {
        let text = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nType=dbus\nBusName={NAME}\nExecStart=/bin/a\n\
             TimeoutStartSec=30\n{more}"
        );
        let engine = Engine::new(Settings { first_record: 1, seed: [1; 16], ..Settings::default() });
        let now = Time { realtime_us: 1_000_000, monotonic_us: 1_000_000 };
        let mut bus = Bus { engine, files: One(text), now, unit: UnitId(0), there };
        let name = UnitName::new("a.service").expect("valid");
        bus.handle(Event::Referenced(name.clone()));
        bus.unit = bus.engine.find("a.service").expect("known");
        let kind = RequestKind::Job { unit: name, mode: JobMode::IgnoreDependencies };
        bus.handle(Event::Request(Request { token: 1, client: Client::default(), verb: Verb::Start, kind }));
        bus
    }

    fn handle(&mut self, event: Event) {
        let mut events = std::collections::VecDeque::from([event]);
        loop {
            if let Some(event) = events.pop_front() {
                self.engine.handle(self.now, event);
            } else if !self.engine.go_on(self.now) {
                break;
            }
            while self.engine.poll_record().is_some() {}
            while let Some(effect) = self.engine.poll_effect() {
                events.extend(self.answer(effect));
            }
        }
    }

    fn answer(&self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Load(name) => {
                let path = UnitPath::scan(&self.files, &["/units".to_owned()]);
                let config = hence_unit::load(&path, &self.files, &Environs::default(), &name);
                Some(Event::Loaded { config: Box::new(config), files: Vec::new() })
            }
            Effect::Check(unit, _) => Some(Event::Checked { unit, outcome: Checked::Holds }),
            Effect::Spawn(spawn) => {
                let inputs = Vec::new();
                Some(Event::Spawned { exec: spawn.exec, pid: 7, start_ticks: 1, inputs, executed: true })
            }
            Effect::WatchName { unit, name } => {
                assert_eq!(&*name, NAME);
                self.there.map(|owned| Event::BusName { unit, name, owned })
            }
            Effect::Kill(kill) => Some(Event::Killed { unit: kill.unit, others: 0, empty: false }),
            Effect::Census { unit, .. } => {
                Some(Event::Census { unit, processes: Vec::new(), known: 0, unread: false })
            }
            _ => None,
        }
    }

    fn owned(&mut self, owned: bool) -> &mut Bus {
        self.handle(Event::BusName { unit: self.unit, name: NAME.into(), owned: Some(owned) });
        self
    }

    fn exited(&mut self, status: i32) -> &mut Bus {
        let exit = Some(Exit { kind: ExitKind::Exited, status });
        self.handle(Event::Exited { pid: 7, exit, cpu_us: 0, peak_bytes: 0, spawn_error: None });
        self.handle(Event::Emptied(self.unit));
        self
    }

    fn is(&self, sub: SubState, result: UnitResult) {
        let unit = self.engine.unit(self.unit);
        assert_eq!((unit.sub_state(), unit.result()), (sub, result));
    }
}

#[test]
fn it_is_up_while_its_name_is_owned() {
    let mut bus = Bus::start("", Some(Some(false)));
    bus.is(SubState::Start, UnitResult::Success);
    bus.handle(Event::BusName { unit: bus.unit, name: "org.example.Other".into(), owned: Some(true) });
    bus.is(SubState::Start, UnitResult::Success);
    bus.owned(true).is(SubState::Running, UnitResult::Success);
    bus.owned(true).is(SubState::Running, UnitResult::Success);
    bus.owned(false).is(SubState::StopSigterm, UnitResult::Success);
    bus.exited(0).is(SubState::Dead, UnitResult::Success);
    // What the bus says of a service that is down changes nothing.
    bus.owned(true).is(SubState::Dead, UnitResult::Success);
}

#[test]
fn without_a_bus_it_is_up_when_its_program_runs() {
    Bus::start("", Some(None)).is(SubState::Running, UnitResult::Success);
}

#[test]
fn a_bus_that_says_nothing_is_waited_for_until_the_timeout() {
    let mut bus = Bus::start("", None);
    bus.is(SubState::Start, UnitResult::Success);
    bus.now.monotonic_us = bus.engine.deadline().expect("TimeoutStartSec=");
    bus.handle(Event::Deadline);
    bus.is(SubState::StopSigterm, UnitResult::Timeout);
}

#[test]
fn a_program_that_ends_before_it_has_its_name() {
    let gone = |more: &str, status: i32| {
        let mut bus = Bus::start(more, Some(Some(false)));
        bus.exited(status);
        bus
    };
    gone("", 0).is(SubState::Dead, UnitResult::Success);
    gone("", 3).is(SubState::Failed, UnitResult::ExitCode);
    gone("RemainAfterExit=yes\n", 0).is(SubState::Exited, UnitResult::Success);
}
