//! Which units are forgotten and which stay; systemd.unit(5), "Unit garbage collection".

use hence_engine::Event;
use hence_engine::sim::{Act, World, behaviour::Script};
use hence_ledger::{Fact, Verb};
use hence_unit::{UnitName, config::JobMode};

const PLAIN: &str = "[Unit]\nDefaultDependencies=no\n";

fn name(text: &str) -> UnitName {
    UnitName::new(text).expect("a unit's name")
}

fn world_units(units: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |(name, text): &(&str, &str)| {
        let service = if name.ends_with(".service") { "[Service]\nExecStart=/bin/x\n" } else { "" };
        ((*name).into(), format!("{PLAIN}{text}\n{service}"))
    };
    units.iter().map(text).collect()
}

fn world(units: &[(&str, &str)], scripts: &[(&str, &str)]) -> World {
    let units = world_units(units);
    let script = |(unit, text): &(&str, &str)| {
        ((*unit).to_string(), "ExecStart".to_string(), Script::parse(text).expect("a script"))
    };
    let scripts: Vec<_> = scripts.iter().map(script).collect();
    World::new(0, &units, &scripts)
}

fn known(world: &World) -> Vec<String> {
    let own = |u: &&hence_engine::Unit| !u.name().as_str().ends_with(".slice");
    let mut names: Vec<String> = world.engine.units().filter(own).map(|u| u.name().to_string()).collect();
    names.sort();
    names
}

fn ok(world: &World) {
    assert_eq!(world.violations, Vec::<String>::new());
}

#[test]
fn nobody_needs_what_is_down_and_what_is_up_keeps_what_it_names() {
    let mut w = world(&[("a.service", "After=b.service"), ("b.service", "")], &[("a.service", "runs")]);
    assert_eq!(known(&w), [""; 0], "nothing is up yet");
    w.request(Verb::Start, "a.service").expect("a job");
    assert_eq!(known(&w), ["a.service", "b.service"]);
    w.request(Verb::Stop, "a.service").expect("a job");
    w.run_until(w.now_us + 1_000_000);
    assert_eq!(known(&w), [""; 0]);
    ok(&w);
}

#[test]
fn a_ring_of_units_that_are_down_goes_as_a_whole() {
    let ring = [
        ("a.service", "After=b.service"),
        ("b.service", "After=c.service"),
        ("c.service", "After=a.service"),
    ];
    let mut w = world(&ring, &[("b.service", "runs")]);
    w.request(Verb::Start, "b.service").expect("a job");
    assert_eq!(known(&w), ["a.service", "b.service", "c.service"]);
    w.request(Verb::Stop, "b.service").expect("a job");
    w.run_until(w.now_us + 1_000_000);
    assert_eq!(known(&w), [""; 0]);
    ok(&w);
}

#[test]
fn what_failed_stays_unless_its_collect_mode_says_otherwise() {
    let units = [("a.service", ""), ("b.service", "CollectMode=inactive-or-failed")];
    let mut w = world(&units, &[("a.service", "exits 1 after 1s"), ("b.service", "exits 1 after 1s")]);
    w.request(Verb::Start, "a.service").expect("a job");
    w.request(Verb::Start, "b.service").expect("a job");
    w.run_until(w.now_us + 2_000_000);
    assert_eq!(known(&w), ["a.service"]);
    w.act(Act::ResetFailed(None));
    assert_eq!(known(&w), [""; 0]);
    ok(&w);
}

#[test]
fn an_order_that_both_declare_keeps_both() {
    let units = [("a.service", "After=b.service"), ("b.service", "Before=a.service")];
    for first in ["a.service", "b.service"] {
        let mut w = world(&units, &[("a.service", "exits 1 after 1s"), ("b.service", "exits 0 after 1s")]);
        w.request(Verb::Start, first).expect("a job");
        w.request(Verb::Start, "b.service").expect("a job");
        w.request(Verb::Start, "a.service").expect("a job");
        w.run_until(w.now_us + 5_000_000);
        // One of them failed, and it names the other.
        assert_eq!(known(&w), ["a.service", "b.service"], "{first} first");
        ok(&w);
    }
}

#[test]
fn what_on_success_started_keeps_who_asked_for_it() {
    let scripts = [("a.service", "exits 0 after 1s"), ("b.service", "runs")];
    let mut w = world(&[("a.service", "OnSuccess=b.service"), ("b.service", "")], &scripts);
    w.request(Verb::Start, "a.service").expect("a job");
    w.run_until(w.now_us + 2_000_000);
    assert_eq!(known(&w), ["a.service", "b.service"]);
    w.request(Verb::Stop, "b.service").expect("a job");
    w.run_until(w.now_us + 1_000_000);
    assert_eq!(known(&w), [""; 0]);
    ok(&w);
    // That it was up before anyway changes nothing.
    w.request(Verb::Start, "b.service").expect("a job");
    w.request(Verb::Start, "a.service").expect("a job");
    w.run_until(w.now_us + 2_000_000);
    assert_eq!(known(&w), ["a.service", "b.service"]);
    ok(&w);
}

#[test]
fn who_holds_a_unit_keeps_it() {
    let mut w = world(&[("a.service", "")], &[]);
    for _ in 0..2 {
        w.engine.handle(w.time(), Event::Held(name("a.service")));
    }
    w.request(Verb::Stop, "nobody.service").ok();
    assert_eq!(known(&w), ["a.service"]);
    w.engine.handle(w.time(), Event::Released(name("a.service")));
    w.request(Verb::Stop, "nobody.service").ok();
    assert_eq!(known(&w), ["a.service"]);
    w.engine.handle(w.time(), Event::Released(name("a.service")));
    w.request(Verb::Stop, "nobody.service").ok();
    assert_eq!(known(&w), [""; 0]);
    ok(&w);
}

#[test]
fn counters_go_with_the_unit_and_the_ledger_keeps_what_happened() {
    let mut w = world(&[("a.service", "StartLimitBurst=2")], &[("a.service", "exits 0 after 1ms")]);
    for _ in 0..5 {
        w.request(Verb::Start, "a.service").expect("its limit is forgotten with it");
        w.run_until(w.now_us + 1_000);
    }
    let exits = w.records.iter().filter(|r| matches!(r.fact, Fact::ProcessExited { .. })).count();
    assert_eq!(exits, 5);
    ok(&w);
}

#[test]
fn slots_are_used_again_and_given_back() {
    let mut w =
        world(&[("keeper.target", ""), ("a@.service", "After=keeper.target")], &[("a@.service", "runs")]);
    w.request(Verb::Start, "keeper.target").expect("a job");
    let most = |w: &World| w.engine.units().map(|u| u.id.0).max().unwrap_or(0);
    for round in 0..20 {
        for n in 0..50 {
            let unit = name(&format!("a@{round}-{n}.service"));
            w.act(Act::Job(Verb::Start, unit, JobMode::Replace));
        }
        assert_eq!(known(&w).len(), 51);
        assert!(most(&w) < 60, "{}", most(&w));
        for n in 0..50 {
            let unit = name(&format!("a@{round}-{n}.service"));
            w.act(Act::Job(Verb::Stop, unit, JobMode::Replace));
        }
        w.run_until(w.now_us + 1_000_000);
        assert_eq!(known(&w), ["keeper.target"]);
        w.engine.shrink();
        assert!(w.engine.find("keeper.target").is_some_and(|id| w.engine.unit(id).edges.is_empty()));
    }
    ok(&w);
}

#[test]
fn who_only_asks_leaves_no_record() {
    let mut w = world(&[("a.service", "After=b.service"), ("b.service", "")], &[]);
    let before = w.records.len();
    for _ in 0..3 {
        w.act(Act::Reload(name("a.service")));
    }
    assert_eq!((known(&w), w.records.len()), (Vec::new(), before));
    ok(&w);
}

/// What the kernel says is mounted.
fn mounted(w: &mut World, units: &[&str]) {
    let all = units.iter().map(|unit| name(unit)).collect();
    w.engine.handle(w.time(), Event::Mounts(all));
    w.request(Verb::Stop, "nobody.service").ok();
}

#[test]
fn what_is_mounted_or_there_stays_and_goes_with_it() {
    let units = [("mnt.mount", "[Mount]\nWhat=tmpfs\nWhere=/mnt"), ("x.slice", "")];
    let mut w = world(&units, &[]);
    mounted(&mut w, &["mnt.mount", "other.mount"]);
    // A unit of its own names the journal's socket.
    assert_eq!(known(&w), ["mnt.mount", "other.mount", "systemd-journald.socket"], "by others than units");
    mounted(&mut w, &["other.mount"]);
    assert_eq!(known(&w), ["other.mount"]);
    mounted(&mut w, &[]);
    assert_eq!(known(&w), [""; 0]);
    w.request(Verb::Start, "x.slice").expect("a job");
    assert!(w.engine.find("x.slice").is_some());
    w.request(Verb::Stop, "x.slice").expect("a job");
    assert!(w.engine.find("x.slice").is_none());
    // The simulator calls it unasked when others mount: that, and nothing else, is what it says.
    assert!(w.violations.iter().all(|said| said.contains("to: Mounted")), "{:?}", w.violations);
}

#[test]
fn a_socket_stays_as_long_as_its_commands_and_connections() {
    let slow = "[Socket]\nListenStream=/run/a\nExecStopPost=/bin/x\n";
    let units = [("a.socket", slow), ("a.service", "")];
    let scripts =
        [("a.socket".into(), "ExecStopPost".into(), Script::parse("exits 0 after 5s").expect("a script"))];
    let units: Vec<_> = world_units(&units);
    let mut w = World::new(0, &units, &scripts);
    w.request(Verb::Start, "a.socket").expect("a job");
    assert_eq!(known(&w), ["a.service", "a.socket"], "it keeps what it triggers");
    w.request(Verb::Stop, "a.socket").expect("a job");
    w.run_until(w.now_us + 2_000_000);
    assert!(known(&w).contains(&"a.socket".to_owned()), "its command runs");
    w.run_until(w.now_us + 10_000_000);
    assert_eq!(known(&w), [""; 0]);
    ok(&w);
}
