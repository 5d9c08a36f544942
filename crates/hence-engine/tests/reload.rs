//! What a reload of all unit files changes, and what it leaves as it is; systemctl(1), daemon-reload.

use hence_engine::sim::{Act, World, behaviour::Script};
use hence_ledger::{ActiveState, Fact, JobResult, Record, Verb};
use hence_unit::{LoadState, UnitName, config::JobMode};

fn name(text: &str) -> UnitName {
    UnitName::new(text).expect("a unit's name")
}

fn world(units: &[(&str, &str)]) -> World {
    let text = |(name, text): &(&str, &str)| {
        let service = if name.ends_with(".service") { "[Service]\nExecStart=/bin/x\n" } else { "" };
        ((*name).to_string(), format!("[Unit]\nDefaultDependencies=no\n{service}{text}"))
    };
    let units: Vec<(String, String)> = units.iter().map(text).collect();
    let script = |(unit, _): &(String, String)| {
        (unit.clone(), "ExecStart".to_string(), Script::parse("runs").expect("a script"))
    };
    let scripts: Vec<_> = units.iter().map(script).collect();
    World::new(0, &units, &scripts)
}

fn edit(world: &mut World, unit: &str, section: &str, line: &str) {
    world.act(Act::Edit(name(unit), section.into(), line.into()));
}

/// The records of a reload.
fn reload(world: &mut World) -> Vec<Record> {
    let before = world.records.len();
    world.act(Act::DaemonReload);
    assert_eq!(world.violations, Vec::<String>::new());
    world.records[before..].to_vec()
}

#[test]
fn what_runs_goes_on_and_its_stop_follows_the_new_lines() {
    let mut w = world(&[("a.service", "")]);
    w.request(Verb::Start, "a.service").expect("a job");
    let id = w.engine.find("a.service").expect("it is up");
    let pid = w.engine.unit(id).service().and_then(|s| s.main_pid());
    edit(&mut w, "a.service", "Service", "KillSignal=HUP");
    let records = reload(&mut w);
    let [request, read] = &records[..] else { panic!("{records:?}") };
    assert!(matches!(request.fact, Fact::Request { verb: Verb::DaemonReload, .. }));
    assert!(matches!(read.fact, Fact::Loaded { .. }) && read.causes[0].record == request.id);
    assert_eq!(w.engine.unit(id).service().and_then(|s| s.main_pid()), pid);
    w.request(Verb::Stop, "a.service").expect("a job");
    assert!(w.records.iter().any(|r| matches!(r.fact, Fact::SignalSent { signal: 1, .. })));
    assert_eq!(reload(&mut w).len(), 1, "nothing changed but that it was asked for");
}

#[test]
fn new_dependencies_hold_for_what_runs_and_old_ones_no_longer() {
    let mut w = world(&[("a.service", ""), ("b.service", ""), ("c.service", "")]);
    for unit in ["a.service", "b.service", "c.service"] {
        w.request(Verb::Start, unit).expect("a job");
    }
    edit(&mut w, "b.service", "Unit", "PartOf=a.service");
    edit(&mut w, "c.service", "Unit", "PartOf=a.service");
    reload(&mut w);
    edit(&mut w, "c.service", "Unit", "Description=on its own again");
    reload(&mut w);
    w.request(Verb::Stop, "a.service").expect("a job");
    w.run_until(w.now_us + 1_000_000);
    let state = |unit: &str| w.engine.find(unit).map(|id| w.engine.active_state(id));
    assert_eq!(state("b.service"), None, "stopped along");
    assert_eq!(state("c.service"), Some(ActiveState::Active));
}

#[test]
fn a_unit_whose_file_is_gone_stays_as_long_as_it_is_up() {
    let mut w = world(&[("a.service", "")]);
    w.request(Verb::Start, "a.service").expect("a job");
    w.act(Act::Remove(name("a.service")));
    reload(&mut w);
    let id = w.engine.find("a.service").expect("it is up");
    assert_eq!(w.engine.unit(id).config.load, LoadState::NotFound);
    assert_eq!(w.engine.active_state(id), ActiveState::Active);
    assert!(w.request(Verb::Start, "a.service").is_err());
    w.request(Verb::Stop, "a.service").expect("a job");
    w.run_until(w.now_us + 1_000_000);
    assert_eq!(w.engine.find("a.service"), None);
}

#[test]
fn timers_follow_their_new_lines_at_once() {
    let mut w = world(&[("a.timer", "[Timer]\nOnActiveSec=1h\n"), ("a.service", "")]);
    w.request(Verb::Start, "a.timer").expect("a job");
    edit(&mut w, "a.timer", "Timer", "OnActiveSec=2s");
    reload(&mut w);
    w.run_until(w.now_us + 3_000_000);
    let id = w.engine.find("a.service").expect("it is up");
    assert_eq!(w.engine.active_state(id), ActiveState::Active);
}

#[test]
fn jobs_that_new_dependencies_put_into_a_cycle_do_not_wait_for_ever() {
    let slow = "[Service]\nType=notify\nTimeoutStartSec=1h\n";
    let mut w = world(&[
        ("first.service", slow),
        ("a.service", "[Unit]\nAfter=first.service\n"),
        ("b.service", "[Unit]\nAfter=first.service a.service\n"),
    ]);
    for unit in ["first.service", "a.service", "b.service"] {
        w.act(Act::Job(Verb::Start, name(unit), JobMode::Replace));
    }
    edit(&mut w, "a.service", "Unit", "After=b.service");
    let records = reload(&mut w);
    assert!(records.iter().any(|r| matches!(r.fact, Fact::JobDropped { .. })), "{records:?}");
    assert_eq!(w.engine.jobs().count(), 2);
}

#[test]
fn armed_timeouts_follow_their_new_lines_from_when_they_began() {
    let slow = "[Service]\nType=notify\nTimeoutStartSec=1h\n";
    let mut w = world(&[("a.service", slow), ("b.service", slow)]);
    for unit in ["a.service", "b.service"] {
        w.request(Verb::Start, unit).expect("a job");
    }
    let a = w.engine.find("a.service").expect("it starts");
    let began = w.engine.unit(a).times.state_change.monotonic_us;
    assert_eq!(w.engine.deadline(), Some(began + 3_600_000_000));
    edit(&mut w, "a.service", "Service", "TimeoutStartSec=90");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), Some(began + 90_000_000));
    edit(&mut w, "a.service", "Service", "TimeoutStartSec=infinity");
    reload(&mut w);
    // The other one's is what it was.
    assert_eq!(w.engine.deadline(), Some(began + 3_600_000_000));
    edit(&mut w, "b.service", "Service", "TimeoutStartSec=2h");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), Some(began + 7_200_000_000));
}

#[test]
fn timeouts_of_jobs_follow_their_new_lines() {
    let slow = "[Unit]\nJobTimeoutSec=1h\n[Service]\nType=notify\nTimeoutStartSec=infinity\n";
    let mut w = world(&[("a.service", slow), ("b.service", "[Unit]\nAfter=a.service\n")]);
    w.act(Act::Job(Verb::Start, name("a.service"), JobMode::Replace));
    let began = w.now_us;
    assert_eq!(w.engine.deadline(), Some(began + 3_600_000_000));
    w.run_until(began + 5_000_000);
    w.act(Act::Job(Verb::Start, name("b.service"), JobMode::Replace));
    edit(&mut w, "a.service", "Unit", "JobTimeoutSec=60");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), Some(began + 60_000_000));
    // A job that had none counts from when it was queued; one that waits doesn't run.
    edit(&mut w, "b.service", "Unit", "JobTimeoutSec=20\nJobRunningTimeoutSec=1");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), Some(began + 25_000_000));
    edit(&mut w, "a.service", "Unit", "JobRunningTimeoutSec=7");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), Some(began + 7_000_000));
    w.run_until(began + 7_000_000);
    let timeout = |r: &&Record| matches!(r.fact, Fact::JobFinished { result: JobResult::Timeout, .. });
    assert_eq!(w.records.iter().find(timeout).and_then(|r| r.unit.as_deref()), Some("a.service"));
}

#[test]
fn a_watchdog_follows_its_new_line_from_the_last_sign_of_life() {
    let mut w = world(&[("a.service", "[Service]\nWatchdogSec=1h\n"), ("b.service", "")]);
    for unit in ["a.service", "b.service"] {
        w.request(Verb::Start, unit).expect("a job");
    }
    let a = w.engine.find("a.service").expect("it is up");
    let began = w.engine.unit(a).times.active_enter.monotonic_us;
    let armed = w.engine.deadline().expect("a watchdog");
    w.run_until(began + 5_000_000);
    edit(&mut w, "a.service", "Service", "WatchdogSec=10");
    // It was started without one, and does not know that it has to say anything.
    edit(&mut w, "b.service", "Service", "WatchdogSec=1");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), Some(armed - 3_600_000_000 + 10_000_000));
    edit(&mut w, "a.service", "Service", "WatchdogSec=0");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), None);
}

#[test]
fn a_command_that_mounts_has_as_long_as_its_new_line_says() {
    let unit = "[Unit]\nDefaultDependencies=no\n[Mount]\nWhat=tmpfs\nWhere=/srv\nTimeoutSec=1h\n";
    let script = Script::parse("exits 0 after 7200s").expect("a script");
    let scripts = [("srv.mount".to_owned(), "ExecStart".to_owned(), script)];
    let mut w = World::new(0, &[("srv.mount".to_owned(), unit.to_owned())], &scripts);
    w.act(Act::Job(Verb::Start, name("srv.mount"), JobMode::Replace));
    let began = w.now_us;
    assert_eq!(w.engine.deadline(), Some(began + 3_600_000_000));
    edit(&mut w, "srv.mount", "Mount", "TimeoutSec=9");
    reload(&mut w);
    assert_eq!(w.engine.deadline(), Some(began + 9_000_000));
    w.run_until(began + 10_000_000);
    let id = w.engine.find("srv.mount").expect("it failed");
    assert_eq!(w.engine.active_state(id), ActiveState::Failed);
    assert_eq!(w.engine.deadline(), None);
}
