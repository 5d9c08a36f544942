//! What is said of the incident that this project comes from.

mod build;

use build::incident::{COLLECTOR, FOO, incident, incident_with};
use hence_ledger::{graph, history, index, json, leaks, loops, path::RootKind, why};

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

#[test]
fn a_bad_run_on_a_busy_machine_is_no_good_one() {
    let scene = incident_with(7, |cycle| if cycle == 3 { 600 } else { 30 });
    let answer = why::why(&scene.index(), FOO, None, scene.now()).expect("an answer");
    let changed: Vec<&str> = answer.changed.iter().map(|c| &*c.path).collect();
    assert_eq!(changed, ["/usr/bin/aws-otel-collector"]);
}

#[test]
fn why_the_collector_failed() {
    let scene = incident(42);
    let answer = why::why(&scene.index(), COLLECTOR, None, scene.now()).expect("an answer");
    assert_eq!((answer.event, answer.times), ("failed", 42));
    let told: Vec<&str> = answer.chain.iter().map(|s| s.what.as_str()).collect();
    assert_eq!(told, ["failed", "main process 1122 exited with status 1"]);
    assert!(answer.up_again.is_some());
    let words = answer.last_words.expect("last words");
    assert!(words.text.contains("has invalid keys: address"));
    assert_eq!(answer.changed.len(), 1);
    assert_eq!(&*answer.changed[0].path, "/usr/bin/aws-otel-collector");
    assert_eq!(answer.left_behind.processes, 0);
}

#[test]
fn a_past_time_is_answered_as_it_was_then() {
    let scene = incident(42);
    let index = scene.index();
    // Two hours in: all is well, since the boot.
    let then = build::scene::stamp(7_200_000_000);
    let answer = why::why(&index, FOO, Some(then), scene.now()).expect("an answer");
    assert_eq!(answer.event, "started");
    assert_eq!(answer.roots[0].kind, RootKind::Boot);
    assert_eq!(answer.left_behind.processes, 0);
    assert_eq!(answer.chain[0].rule.as_ref().map(|r| &*r.directive), Some("Wants=foo.service"));
    assert!(answer.advice.is_empty());
    // In the tenth cycle.
    let then = build::scene::stamp(3 * 3_600_000_000 + 52_000_000);
    let answer = why::why(&index, FOO, Some(then), scene.now()).expect("an answer");
    assert_eq!((answer.event, answer.times, answer.left_behind.processes), ("stopped", 10, 11));
    // Before anything was there.
    assert_eq!(why::why(&index, FOO, Some(hence_ledger::Stamp::default()), scene.now()), None);
    assert_eq!(why::why(&index, "other.service", None, scene.now()), None);
}

#[test]
fn why_a_process_is_there() {
    let scene = incident(42);
    let index = scene.index();
    let left = why::why_process(&index, 1124, None, scene.now()).expect("an answer");
    assert_eq!((left.event, left.pid, &*left.unit), ("left behind", Some(1124), FOO));
    let told: Vec<&str> = left.chain.iter().map(|s| s.what.as_str()).collect();
    assert_eq!(
        told,
        ["left behind", "stopped", "restarted, 5 s after it ended", "main process 1122 exited with status 1"]
    );
    assert_eq!(left.chain[0].rule.as_ref().map(|r| &*r.directive), Some("KillMode=process"));
    assert_eq!(left.chain[1].rule.as_ref().map(|r| r.line), Some(3));

    let main = why::why_process(&index, 1126, None, scene.now()).expect("an answer");
    assert_eq!((main.event, &*main.unit, main.roots[0].kind), ("started", FOO, RootKind::Exit));
    let killed = why::why_process(&index, 101, None, scene.now()).expect("an answer");
    assert_eq!(
        (killed.event, killed.roots[0].kind, killed.roots[0].pid),
        ("killed", RootKind::Request, Some(812))
    );
    assert_eq!(why::why_process(&index, 77, None, scene.now()), None);
}

#[test]
fn the_loop_is_one_loop() {
    let mut scene = incident(42);
    let found = loops::loops(&scene.index(), scene.now());
    assert_eq!(found.len(), 1, "{found:#?}");
    let units: Vec<&str> = found[0].units.iter().map(|u| &**u).collect();
    assert_eq!(units, [COLLECTOR, FOO]);
    assert_eq!((found[0].times, found[0].ongoing, found[0].root.kind), (42, true, RootKind::Exit));
    let text = json::loops(&found).to_string();
    assert!(text.contains("\"period_s\": 5.0"), "{text}");
    scene.wait(60_000);
    assert!(!loops::loops(&scene.index(), scene.now())[0].ongoing);
    // Two like cycles are none yet.
    let scene = incident(2);
    assert_eq!(loops::loops(&scene.index(), scene.now()), []);
}

#[test]
fn what_leaks_and_what_happened() {
    let scene = incident(42);
    let index = scene.index();
    let found = leaks::leaks(&index);
    assert_eq!(found.len(), 43);
    assert_eq!((found[0].pid, found[42].pid), (102, 1124));
    assert!(found.iter().all(|l| l.bytes == Some(75 << 20) && l.invocation.is_some()));

    let filter = history::Filter { unit: Some(FOO), ..Default::default() };
    let entries = history::history(&index, filter);
    let lines: Vec<(&str, u64, &str)> =
        entries.iter().map(|e| (e.event, e.times, e.because.as_str())).collect();
    let asked = "aws-otel-collector.service process 812 of user 0 (systemctl restart aws-otel-collector) \
        asked for restart";
    let restarted = "aws-otel-collector.service restarted, 5 s after it ended";
    assert_eq!(
        lines,
        [
            ("started", 1, "incident.target process 1 of user 0 (hence init) asked for run"),
            ("stopped", 1, asked),
            ("started", 1, asked),
            ("stopped", 42, restarted),
            ("started", 42, restarted),
        ]
    );
    assert_eq!(history::history(&index, history::Filter { unfolded: true, ..filter }).len(), 3 + 84);
}

#[test]
fn graphs_are_escaped() {
    let scene = incident(4);
    let mut answer = why::why(&scene.index(), FOO, None, scene.now()).expect("an answer");
    golden("why.mmd", include_str!("golden/why.mmd"), &graph::mermaid(&answer));
    golden("why.dot", include_str!("golden/why.dot"), &graph::dot(&answer));
    answer.chain[0].what = "a \"b\" \\ <c> | [d] #e;\u{7}".into();
    assert!(graph::dot(&answer).contains(r#"a \"b\" \\ <c> | [d] #e; "#));
    assert!(graph::mermaid(&answer).contains("a #34;b#34; #92; #60;c#62; #124; #91;d#93; #35;e#59; "));
}

#[test]
fn asked_in_the_middle_of_a_cycle_it_is_the_same_loop() {
    let scene = incident(42);
    let stop =
        scene.records.iter().rposition(|r| r.unit.as_deref() == Some(FOO) && r.fact.name() == "SignalSent");
    let stopping = index::Index::new(scene.records[..=stop.expect("a stop")].iter().cloned());
    let answer = why::why(&stopping, FOO, None, scene.now()).expect("an answer");
    assert_eq!((answer.event, answer.times, answer.roots[0].kind), ("stopping", 42, RootKind::Exit));
    assert!(answer.period_us.is_some());

    let mut records = scene.records.clone();
    records.pop();
    let state = records.iter().rposition(|r| r.unit.as_deref() == Some(FOO) && r.fact.name() == "JobQueued");
    let mut starting = scene.records.last().expect("up").clone();
    starting.causes = build::scene::by(records[state.expect("a job")].id);
    starting.fact = hence_ledger::Fact::StateChanged {
        from_active: hence_ledger::ActiveState::Inactive,
        from: hence_ledger::SubState::Dead,
        to_active: hence_ledger::ActiveState::Activating,
        to: hence_ledger::SubState::Start,
        result: hence_ledger::UnitResult::Success,
    };
    records.push(starting);
    let answer = why::why(&index::Index::new(records), FOO, None, scene.now()).expect("an answer");
    assert_eq!((answer.event, answer.times), ("stopped", 42));
}
