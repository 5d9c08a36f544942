//! Scopes, step by step: what the host answers is given by hand. systemd.scope(5).

use hence_engine::{
    Adopted, Effect, Engine, Event, JobId, KillScope, LiveRequest, Request, RequestKind, Settings, Time,
    Transient,
};
use hence_ledger::{
    ActiveState, Client, Fact, JobResult, LeftOver, ProcessRole, Record, SubState, UnitResult, Verb,
};
use hence_unit::config::JobMode;
use hence_unit::{Config, Kind, LoadState, UnitName};

fn name(text: &str) -> UnitName {
    UnitName::new(text).expect("a unit's name")
}

/// An engine whose every effect and record is kept; units without a file are read at once.
struct World {
    engine: Engine,
    now: Time,
    effects: Vec<Effect>,
    records: Vec<Record>,
}

impl World {
    fn new() -> World {
        let settings = Settings { first_record: 1, ..Settings::default() };
        let now = Time { realtime_us: 1, monotonic_us: 1 };
        World { engine: Engine::new(settings), now, effects: Vec::new(), records: Vec::new() }
    }

    fn handle(&mut self, event: Event) {
        self.engine.handle(self.now, event);
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                if let Effect::Load(name) = &effect {
                    let mut config = Config::stub(name.clone());
                    config.load = LoadState::Loaded;
                    let event = Event::Loaded { config: Box::new(config), files: Vec::new() };
                    self.engine.handle(self.now, event);
                }
                self.effects.push(effect);
            }
            while let Some(record) = self.engine.poll_record() {
                self.records.push(record);
            }
            if !self.engine.go_on(self.now) {
                break;
            }
        }
    }

    fn request(&mut self, verb: Verb, kind: RequestKind) {
        let client = Client { pid: 7, command: "client".into(), ..Client::default() };
        self.handle(Event::Request(Request { token: 1, client, verb, kind }));
    }

    /// A scope of one process that wants to take it up.
    fn made(change: impl FnOnce(&mut hence_unit::config::ScopeConfig)) -> World {
        World::made_by(None, change)
    }

    /// The same with a controller.
    fn made_by(controller: Option<&str>, change: impl FnOnce(&mut hence_unit::config::ScopeConfig)) -> World {
        let mut world = World::new();
        let mut config = Config::stub(name("s.scope"));
        config.load = LoadState::Loaded;
        let Kind::Scope(scope) = &mut config.kind else { panic!("a scope's configuration") };
        change(scope);
        let units = vec![(Box::new(config), Vec::new())];
        let transient = Transient {
            unit: name("s.scope"),
            mode: JobMode::Fail,
            units,
            processes: vec![42],
            controller: controller.map(Into::into),
        };
        let live = LiveRequest::Transient(Box::new(transient));
        world.request(live.verb(), RequestKind::Live(live));
        world
    }

    fn adopted(&mut self, error: Option<&str>) {
        let unit = self.engine.find("s.scope").expect("it is known");
        let process = LeftOver { pid: 42, start_ticks: 9, command: "sleep".into(), bytes: None };
        let processes = if error.is_some() { Vec::new() } else { vec![process] };
        let adopted = Adopted { processes, error: error.map(Into::into) };
        self.handle(Event::Adopted { unit, token: None, adopted });
    }

    fn state(&self) -> (ActiveState, SubState, UnitResult) {
        let unit = self.engine.unit(self.engine.find("s.scope").expect("it is known"));
        (unit.active_state(), unit.sub_state(), unit.result())
    }

    fn signals(&self) -> Vec<u8> {
        let signal = |effect: &Effect| match effect {
            Effect::Kill(kill) => {
                assert_eq!((kill.scope, kill.report_empty), (KillScope::Group, true));
                Some(kill.signal)
            }
            _ => None,
        };
        self.effects.iter().filter_map(signal).collect()
    }

    fn controller(&mut self, owned: Option<bool>) {
        let unit = self.engine.find("s.scope").expect("it is known");
        self.handle(Event::BusName { unit, name: CONTROLLER.into(), owned });
    }

    fn emptied(&mut self) {
        let unit = self.engine.find("s.scope").expect("it is known");
        self.handle(Event::Emptied(unit));
    }

    fn wait(&mut self, us: u64) {
        self.now.monotonic_us += us;
        self.handle(Event::Deadline);
    }

    fn job_result(&self) -> Option<JobResult> {
        self.effects.iter().rev().find_map(|effect| match effect {
            Effect::JobRemoved { result, .. } => Some(*result),
            _ => None,
        })
    }

    /// Every record but roots has causes, and causes come before.
    fn causes_are_whole(&self) {
        for record in &self.records {
            assert!(!record.causes.is_empty() || record.fact.is_root(), "{record:?}");
            assert!(record.causes.iter().all(|cause| cause.record < record.id), "{record:?}");
        }
    }
}

#[test]
fn it_is_up_while_its_processes_are() {
    let mut world = World::made(|_| {});
    assert!(matches!(
        world.effects.iter().find(|e| matches!(e, Effect::Adopt { .. })),
        Some(Effect::Adopt { processes, token: None, .. }) if *processes == [42]
    ));
    assert_eq!(world.job_result(), None);
    world.adopted(None);
    assert_eq!(world.state(), (ActiveState::Active, SubState::Running, UnitResult::Success));
    assert_eq!(world.job_result(), Some(JobResult::Done));
    let attached =
        |r: &Record| matches!(r.fact, Fact::ProcessStarted { pid: 42, role: ProcessRole::Attached, .. });
    assert!(world.records.iter().any(attached));
    world.emptied();
    assert_eq!(world.state(), (ActiveState::Inactive, SubState::Dead, UnitResult::Success));
    assert_eq!(world.signals(), [0u8; 0]);
    world.causes_are_whole();
}

#[test]
fn without_a_process_it_fails() {
    let mut world = World::made(|_| {});
    world.adopted(Some("No such process"));
    assert_eq!(world.state(), (ActiveState::Failed, SubState::Failed, UnitResult::Resources));
    assert_eq!(world.job_result(), Some(JobResult::Failed));
    assert!(
        world.records.iter().any(|r| matches!(&r.fact, Fact::Refused { error, .. } if &**error == "Failed"))
    );
    world.causes_are_whole();
}

#[test]
fn a_stop_signals_all_and_kills_who_stays() {
    let mut world = World::made(|scope| scope.timeout_stop = 1_000_000);
    world.adopted(None);
    world.request(Verb::Stop, RequestKind::Job { unit: name("s.scope"), mode: JobMode::Replace });
    assert_eq!(world.state().1, SubState::StopSigterm);
    assert_eq!(world.signals(), [15]);
    world.wait(1_000_000);
    assert_eq!(world.state(), (ActiveState::Deactivating, SubState::StopSigkill, UnitResult::Timeout));
    assert_eq!(world.signals(), [15, 9]);
    world.emptied();
    assert_eq!(world.state(), (ActiveState::Failed, SubState::Failed, UnitResult::Timeout));
    assert_eq!(world.job_result(), Some(JobResult::Done));
    world.causes_are_whole();
}

const CONTROLLER: &str = ":1.7";

#[test]
fn its_controller_is_asked_to_stop_it_before_it_is_killed() {
    let mut world = World::made_by(Some(CONTROLLER), |scope| scope.timeout_stop = 1_000_000);
    world.adopted(None);
    let watched = |e: &Effect| matches!(e, Effect::WatchName { name, .. } if &**name == CONTROLLER);
    assert!(world.effects.iter().any(watched));
    world.controller(Some(true));
    let stop = || RequestKind::Job { unit: name("s.scope"), mode: JobMode::Replace };
    world.request(Verb::Stop, stop());
    let asked =
        |e: &Effect| matches!(e, Effect::RequestStop { controller, .. } if &**controller == CONTROLLER);
    assert_eq!((world.state().1, world.signals()), (SubState::StopSigterm, vec![]));
    assert_eq!(world.effects.iter().filter(|e| asked(e)).count(), 1);
    let said = |r: &Record| matches!(&r.fact, Fact::StopAsked { controller } if &**controller == CONTROLLER);
    let asked = world.records.iter().find(|r| said(r)).expect("it is on record").id;
    let mut obedient = World::made_by(Some(CONTROLLER), |_| {});
    obedient.adopted(None);
    obedient.request(Verb::Stop, stop());
    obedient.emptied();
    assert_eq!(obedient.state(), (ActiveState::Inactive, SubState::Dead, UnitResult::Success));
    assert_eq!(obedient.signals(), [0u8; 0]);
    let dead = |r: &&Record| matches!(r.fact, Fact::StateChanged { to: SubState::Dead, .. });
    assert_eq!(obedient.records.iter().rev().find(dead).expect("its end").causes[0].record, asked);
    // One that does nothing has as long as the processes would have had.
    world.wait(1_000_000);
    assert_eq!((world.state().1, world.signals()), (SubState::StopSigkill, vec![9]));
    world.emptied();
    assert_eq!(world.state(), (ActiveState::Failed, SubState::Failed, UnitResult::Timeout));
    world.causes_are_whole();
    obedient.causes_are_whole();
}

#[test]
fn where_no_controller_can_be_asked_its_processes_are_signalled() {
    let stop = || RequestKind::Job { unit: name("s.scope"), mode: JobMode::Replace };
    // It has left the bus before, or nobody can be told on it.
    for (before, after) in [(Some(Some(false)), None), (None, Some(None))] {
        let mut world = World::made_by(Some(CONTROLLER), |_| {});
        world.adopted(None);
        before.into_iter().for_each(|owned| world.controller(owned));
        world.request(Verb::Stop, stop());
        after.into_iter().for_each(|owned| world.controller(owned));
        assert_eq!((world.state().1, world.signals()), (SubState::StopSigterm, vec![15]), "{before:?}");
        world.controller(None);
        assert_eq!(world.signals(), [15], "once");
        world.emptied();
        assert_eq!(world.state().1, SubState::Dead);
        world.causes_are_whole();
    }
}

#[test]
fn it_ends_when_its_time_is_over_also_where_it_was_abandoned() {
    let mut world = World::made(|scope| scope.runtime_max = 3_000_000);
    world.adopted(None);
    world.wait(1_000_000);
    let abandon = LiveRequest::Abandon(name("s.scope"));
    world.request(abandon.verb(), RequestKind::Live(abandon));
    assert_eq!(world.state().1, SubState::Abandoned);
    world.wait(1_999_999);
    assert_eq!(world.state().1, SubState::Abandoned);
    world.wait(1);
    assert_eq!(world.state(), (ActiveState::Deactivating, SubState::StopSigterm, UnitResult::Timeout));
    world.emptied();
    let refused = LiveRequest::Abandon(name("s.scope"));
    world.request(refused.verb(), RequestKind::Live(refused));
    assert!(matches!(
        world.effects.last(),
        Some(Effect::Reply { result: Err(hence_engine::Refusal::ScopeNotRunning(_)), .. })
    ));
    world.causes_are_whole();
}

#[test]
fn it_can_neither_be_started_nor_restarted_by_others() {
    let mut world = World::made(|_| {});
    world.adopted(None);
    for verb in [Verb::Start, Verb::Restart] {
        world.effects.clear();
        world.request(verb, RequestKind::Job { unit: name("s.scope"), mode: JobMode::Replace });
        let reply = world.effects.iter().find_map(|effect| match effect {
            Effect::Reply { result, .. } => Some(result.clone()),
            _ => None,
        });
        let refused: Result<Option<JobId>, _> = reply.expect("an answer");
        let refused = refused.expect_err("refused");
        assert_eq!(refused.parts().0, "JobTypeNotApplicable");
    }
}
