//! The state of an engine goes out as text and into another engine: from then on it behaves as the first
//! would have. systemctl(1), daemon-reexec.

use hence_engine::carry::{Carried, Writer};
use hence_engine::sim::{World, behaviour::Script, scenario::Scenario};
use hence_engine::{Effect, Engine, Event, Settings, TakenUp, Time};
use hence_ledger::{ActiveState, Fact, Record, RecordId, Text, Verb};
use hence_unit::{Config, UnitName};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What happened to units, in words, each with its causes in words.
fn story(records: &[Record]) -> Vec<String> {
    let known: BTreeMap<RecordId, &Record> = records.iter().map(|r| (r.id, r)).collect();
    let words = |r: &Record| format!("{} {:?} {:?}", r.at.monotonic_us, r.unit, r.fact);
    let own = |r: &&Record| r.unit.is_some() && !matches!(r.fact, Fact::Loaded { .. });
    let of = |r: &Record| {
        let causes = r.causes.iter().map(|c| match known.get(&c.record) {
            Some(cause) => format!("<- {} by {:?}", words(cause), c.rule),
            None => "<- nothing known".to_owned(),
        });
        std::iter::once(words(r)).chain(causes).collect::<Vec<_>>().join("\n    ")
    };
    records.iter().filter(own).map(of).collect()
}

fn differ(name: &str, scenario: &Scenario, at: &[u64]) {
    let plain = scenario.run();
    let mut other = scenario.clone();
    for at_us in at {
        // Behind everything else of its time.
        let place = other.steps.partition_point(|(step, _)| step <= at_us);
        other.steps.insert(place, (*at_us, "daemon-reexec".into()));
    }
    let seen = other.run();
    assert_eq!(seen.failures, plain.failures, "{name} at {at:?}");
    let (expected, seen) = (story(&plain.world.records), story(&seen.world.records));
    if let Some(first) = expected.iter().zip(&seen).position(|(a, b)| a != b) {
        panic!("{name} at {at:?}:\n- {}\n+ {}", expected[first], seen[first]);
    }
    assert_eq!(expected.len(), seen.len(), "{name} at {at:?}");
}

#[test]
fn every_scenario_goes_on_as_without() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<_> =
        fs::read_dir(&folder).expect("scenarios").map(|e| e.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "the scenarios are missing");
    for path in paths {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let scenario = Scenario::parse(&fs::read_to_string(&path).expect("text")).expect("a scenario");
        let last = scenario.steps.last().map_or(0, |(at, _)| *at);
        let other = ["edit", "remove", "fault"];
        if scenario.steps.iter().any(|(_, what)| other.iter().any(|word| what.starts_with(word))) {
            // What is read anew is another thing there, and what is asked anew may be granted.
            continue;
        }
        let world = scenario.run().world;
        let mut times: Vec<u64> =
            world.records.iter().map(|r| r.at.monotonic_us - 1_000_000).filter(|at| *at < last).collect();
        times.dedup();
        differ(&name, &scenario, &times);
        for at in times.iter().step_by(times.len() / 40 + 1) {
            differ(&name, &scenario, &[*at, *at]);
        }
    }
}

/// Units of each kind, up and on their way.
fn world() -> World {
    let service = "[Unit]\nDefaultDependencies=no\n[Service]\nTimeoutStartSec=9\nExecStart=/bin/x\n";
    let units = [
        ("a.service", service.to_owned()),
        ("b.service", format!("{service}Type=notify\nWatchdogSec=7\n")),
        ("c.service", format!("{service}ExecStartPre=/bin/y\n")),
        (
            "d.service",
            "[Unit]\nDefaultDependencies=no\nAfter=c.service\n[Service]\nExecStart=/bin/x\n".into(),
        ),
        ("a.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/a\n".into()),
        ("b.timer", "[Unit]\nDefaultDependencies=no\n[Timer]\nOnActiveSec=1h\n".into()),
        ("c.path", "[Unit]\nDefaultDependencies=no\n[Path]\nPathExists=/c\n".into()),
        ("e.target", "[Unit]\nDefaultDependencies=no\n".into()),
    ];
    let units = units.map(|(name, text)| (name.to_owned(), text));
    let script = |unit: &str, directive: &str, text: &str| {
        (unit.to_owned(), directive.to_owned(), Script::parse(text).expect("a script"))
    };
    let scripts = [
        script("a.service", "ExecStart", "runs"),
        script("b.service", "ExecStart", "runs, says READY=1 after 1ms"),
        script("c.service", "ExecStartPre", "exits 0 after 5s"),
        script("c.service", "ExecStart", "runs"),
        script("d.service", "ExecStart", "runs"),
    ];
    let mut world = World::new(0, &units, &scripts);
    for unit in
        ["a.socket", "b.timer", "c.path", "e.target", "a.service", "b.service", "c.service", "d.service"]
    {
        let _ = world.request(Verb::Start, unit);
    }
    world.run_until(world.now_us + 10_000);
    world
}

/// Another engine that has taken up what could be read of this text, files aside.
fn taken(text: &str, configs: &BTreeMap<UnitName, Config>, now: Time) -> (Engine, TakenUp, Vec<Text>) {
    let carried = Carried::read(text);
    let mut engine = Engine::new(Settings { first_record: 1 << 40, ..Settings::default() }.carried(&carried));
    engine.prepare(&carried);
    while let Some(effect) = engine.poll_effect() {
        if let Effect::Load(name) = effect {
            let config = configs.get(&name).cloned().unwrap_or_else(|| Config::stub(name));
            engine.handle(now, Event::Loaded { config: Box::new(config), files: Vec::new() });
        }
    }
    let taken = engine.take_up(now, &carried, "0", true);
    let mut unread = Vec::new();
    while let Some(record) = engine.poll_record() {
        if let Fact::Reexecuted { unread: parts, .. } = record.fact {
            unread = parts;
        }
    }
    (engine, taken, unread)
}

/// Whatever becomes of the text on its way: no panic, what is lost is said, and nothing is asked to be
/// started or ended that is known to be up.
#[test]
fn damaged_text_loses_what_it_says_and_no_more() {
    let world = world();
    let mut out = Writer::new();
    world.engine.carry(&mut out);
    let text = out.finish();
    let configs: BTreeMap<UnitName, Config> =
        world.engine.units().map(|unit| (unit.name().clone(), (*unit.config).clone())).collect();
    let (engine, whole, unread) = taken(&text, &configs, world.time());
    assert!(whole.lost.is_empty() && unread.is_empty(), "{unread:?}");
    let state = |engine: &Engine, name: &str| engine.find(name).map(|unit| engine.active_state(unit));
    assert_eq!(state(&engine, "a.service"), Some(ActiveState::Active));
    assert_eq!(state(&engine, "c.service"), Some(ActiveState::Activating));
    assert_eq!(engine.jobs().count(), world.engine.jobs().count());
    assert!(engine.jobs().count() >= 2);
    assert_eq!(engine.deadline(), world.engine.deadline());
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut chance = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for round in 0..3000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=chance(4) {
            let at = chance(bytes.len());
            match chance(4) {
                0 => bytes[at] = b"0123456789[]=\n '-+"[chance(18)],
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at + 1),
                _ => bytes[at] ^= 1 << chance(7),
            }
        }
        if bytes == text.as_bytes() {
            continue;
        }
        let damaged = String::from_utf8_lossy(&bytes);
        let (engine, taken, unread) = taken(&damaged, &configs, world.time());
        // A sum in other letters is the same sum.
        assert_eq!(taken.whole, unread.is_empty());
        if unread.iter().any(|part| &**part == "the end" || part.starts_with("the whole state")) {
            // Who knows what came after that.
            continue;
        }
        let up = world.engine.units().filter(|u| u.active_state() == ActiveState::Active);
        let lost = up.filter(|u| state(&engine, u.name()) != Some(ActiveState::Active)).count();
        assert!(lost <= unread.len(), "round {round}: {lost} units are not up any more: {unread:?}");
    }
}

/// Values that an older or newer hence writes: keys and sections that nobody knows are passed over, and a
/// state that this one doesn't know makes its unit be looked for, not be guessed.
#[test]
fn what_another_version_writes() {
    let world = world();
    let configs: BTreeMap<UnitName, Config> =
        world.engine.units().map(|unit| (unit.name().clone(), (*unit.config).clone())).collect();
    let edited = |edit: &dyn Fn(&str, &mut Vec<String>)| {
        let mut out = Writer::new();
        world.engine.carry(&mut out);
        let text = out.finish();
        let mut again = String::new();
        let mut section: Vec<String> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix('=') {
                Some(_) => {
                    let head = section[0].clone();
                    edit(&head, &mut section);
                    let body: String = section.drain(..).map(|line| line + "\n").collect();
                    let sum = body.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                    });
                    again.push_str(&format!("{body}={sum:016x}\n"));
                }
                None if line.starts_with("hence-state") => {
                    again.push_str("hence-state 1\n[news '1]\nx=y\n=0\n")
                }
                None => section.push(line.to_owned()),
            }
        }
        again
    };
    let newer = edited(&|_, section| section.push("colour='blue + 7 7 7".to_owned()));
    let newer = newer.replace("[news '1]\nx=y\n=0\n", "");
    let (engine, whole, unread) = taken(&newer, &configs, world.time());
    assert!(whole.lost.is_empty() && unread.is_empty(), "{unread:?}");
    assert_eq!(engine.jobs().count(), world.engine.jobs().count());
    let unknown = edited(&|head, section| {
        if head == "[unit 'a.service]" {
            section.iter_mut().filter(|l| l.starts_with("sub=")).for_each(|l| *l = "sub=250".to_owned());
        }
    });
    let (_, some, unread) = taken(&unknown, &configs, world.time());
    assert_eq!(some.lost, [UnitName::new("a.service").expect("a name")]);
    assert!(unread.iter().any(|part| part.contains("a.service")), "{unread:?}");
    let older =
        edited(&|_, section| section.retain(|l| !l.starts_with("limits=") && !l.starts_with("freezer=")));
    let older = older.replace("[news '1]\nx=y\n=0\n", "");
    let (_, whole, unread) = taken(&older, &configs, world.time());
    assert!(whole.lost.is_empty() && unread.is_empty(), "{unread:?}");
}
