//! The state of an engine goes out as text and into another engine: from then on it behaves as the first
//! would have. systemctl(1), daemon-reexec.

use hence_engine::carry::{Carried, Writer};
use hence_engine::sim::{Act, World, behaviour::Script, scenario::Scenario};
use hence_engine::{Effect, Engine, Event, Settings};
use hence_ledger::{ActiveState, Fact, Record, RecordId, Text, Verb};
use hence_unit::{Config, LoadState, UnitName, config::JobMode};
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
        let edited =
            scenario.steps.iter().any(|(_, what)| what.starts_with("edit") || what.starts_with("remove"));
        if edited {
            // What is read anew is another thing there.
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
