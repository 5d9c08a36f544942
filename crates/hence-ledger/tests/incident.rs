//! What is said of the incident that this project comes from.

mod build;

use build::incident::{COLLECTOR, FOO, incident};
use hence_ledger::{graph, history, json, leaks, loops, path::RootKind, why};

fn golden(name: &str, old: &str, new: &str) {
    for (line, (old, new)) in old.lines().zip(new.lines()).enumerate() {
        assert_eq!(old, new, "{name} line {}; all of it:\n{new}", line + 1);
    }
    assert_eq!(old.trim_end(), new.trim_end(), "{name} differs in length:\n<<<\n{new}\n>>>");
}

#[test]
fn why_foo_was_stopped() {
    let scene = incident(42);
    let index = scene.index();
    let answer = why::why(&index, FOO, None, scene.now()).expect("an answer");
    golden("why.json", include_str!("golden/why.json"), &json::answer(&answer).to_string());
    assert_eq!(answer.event, "stopped");
    assert_eq!(answer.times, 42);
    assert_eq!(answer.period_us.map(|us| us / 100_000), Some(49));
    assert_eq!(answer.roots.len(), 1);
    assert_eq!(answer.roots[0].kind, RootKind::Exit);
    let names: Vec<&str> = answer.advice.iter().map(|a| a.name).collect();
    for name in ["program-changed", "wants-instead-of-requires", "kill-mode"] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
}
