//! Runs every scenario file in `scenarios/` and compares its trace; `HENCE_BLESS=1` rewrites the traces.

use hence_engine::sim::scenario::Scenario;
use std::{fs, path::Path};

#[test]
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let bless = std::env::var_os("HENCE_BLESS").is_some();
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let mut failed = Vec::new();
    for path in &paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let mut scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            Scenario::parse(&scenario.to_string()).unwrap().to_string(),
            scenario.to_string(),
            "{name}"
        );
        let outcome = scenario.run();
        for failure in &outcome.failures {
            println!("{name}: {failure}");
        }
        if !outcome.failures.is_empty() {
            println!("{}", outcome.trace);
            failed.push(name);
            continue;
        }
        if bless {
            scenario.trace = outcome.trace;
            let head = text.split("-- trace --\n").next().unwrap();
            fs::write(path, format!("{head}-- trace --\n{}", scenario.trace)).unwrap();
        } else if scenario.trace != outcome.trace {
            println!("{name}: the trace differs:");
            print_difference(&scenario.trace, &outcome.trace);
            failed.push(name);
        }
    }
    assert!(paths.len() > 20, "the scenarios are missing");
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn print_difference(expected: &str, seen: &str) {
    let (expected, seen): (Vec<_>, Vec<_>) = (expected.lines().collect(), seen.lines().collect());
    let same = expected.iter().zip(&seen).take_while(|(a, b)| a == b).count();
    for line in &expected[same.saturating_sub(2)..same] {
        println!("  {line}");
    }
    for line in expected.iter().skip(same).take(12) {
        println!("- {line}");
    }
    for line in seen.iter().skip(same).take(12) {
        println!("+ {line}");
    }
}
