//! The command line: answers, exit statuses, errors.

use super::{Folder, incident, json, predict};

fn said(arguments: &[&str]) -> (String, String, i32) {
    let output = predict(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code().expect("it ends by itself"))
}

#[test]
fn a_day_of_the_incident() {
    let (answer, status) = json(&[
        &incident(),
        "--if",
        "aws-otel-collector.service exits 1",
        "--machine-pids",
        "124680",
        "--machine-memory",
        "64G",
        "--memory-per-process",
        "2.4M",
    ]);
    assert_eq!(status, 1);
    assert_eq!(answer["verdict"], "trouble");
    let collector = &answer["units"]["aws-otel-collector.service"];
    assert_eq!((collector["restarts"].as_u64(), collector["period_s"].as_f64()), (Some(17_280), Some(5.0)));
    let foo = &answer["units"]["foo.service"];
    assert_eq!((foo["restarts"].as_u64(), foo["left_behind"].as_u64()), (Some(17_280), Some(17_280)));
    let growth = foo["growth"].as_array().unwrap();
    assert_eq!(growth[2], serde_json::json!({"at_s": 3600.0, "restarts": 719, "left_behind": 719}));
    assert_eq!(answer["takes_down"], serde_json::json!(["foo.service"]));
    let one = &answer["loops"][0];
    assert_eq!(one["units"], serde_json::json!(["aws-otel-collector.service", "foo.service"]));
    assert_eq!((one["times"].as_u64(), one["ongoing"].as_bool()), (Some(17_280), Some(true)));
    let rules: Vec<&str> =
        one["chain"].as_array().unwrap().iter().filter_map(|s| s["rule"]["directive"].as_str()).collect();
    assert_eq!(rules, ["Requires=aws-otel-collector.service", "Restart=always"]);
    // 18,702 tasks are 15 % of 124,680; at one every 5 s that is after 25 h 58 min.
    assert_eq!(answer["limits"], serde_json::json!([]));
    let later = answer["limits_later"].as_array().unwrap();
    let tasks = later.iter().find(|l| l["what"] == "TasksMax").expect("TasksMax= later");
    assert_eq!(tasks["processes"], 18_702);
    assert!((tasks["at_s"].as_f64().unwrap() - 93_500.0).abs() < 10.0, "{tasks}");
}

#[test]
fn limits_are_reached_when_they_are() {
    let (answer, _) = json(&[
        &incident(),
        "--if",
        "aws-otel-collector exits 1",
        "--for",
        "48h",
        "--machine-pids",
        "124680",
        "--machine-memory",
        "3G",
        "--memory-per-process",
        "2.4M",
    ]);
    let limits = answer["limits"].as_array().unwrap();
    let of = |what: &str| limits.iter().find(|l| l["what"] == what).expect(what);
    let near = |limit: &serde_json::Value, s: f64| (limit["at_s"].as_f64().unwrap() - s).abs() < 0.1;
    assert!(of("TasksMax")["unit"] == "foo.service" && near(of("TasksMax"), 93_500.0), "{limits:?}");
    // 1,280 processes of 2.4 MiB are 3 GiB; two of them are no left-overs.
    assert!(of("memory")["processes"] == 1280 && near(of("memory"), 6390.0), "{limits:?}");
    // What can't fork leaves nothing behind.
    assert!(answer["units"]["foo.service"]["left_behind"].as_u64().unwrap() <= 18_702);
}

#[test]
fn the_mended_incident_is_quiet_but_for_the_collector() {
    let mended = format!("{}-mended", incident());
    let (answer, status) = json(&[&mended, "--if", "aws-otel-collector.service exits 1"]);
    assert_eq!(status, 1);
    assert_eq!(answer["units"]["foo.service"]["restarts"], 0);
    assert_eq!(answer["units"]["foo.service"]["left_behind"], 0);
    assert_eq!(answer["units"]["aws-otel-collector.service"]["final_state"], "failed");
    assert_eq!(answer["units"]["aws-otel-collector.service"]["starts"], 3);
    let (answer, status) = json(&[&mended]);
    assert_eq!(
        (status, answer["verdict"].as_str(), answer["troubles"].as_array().map(Vec::len)),
        (0, Some("fine"), Some(0))
    );
}

#[test]
fn the_answer_comes_first() {
    let (text, _, status) = said(&[&incident(), "--if", "aws-otel-collector.service exits 1", "--for", "1h"]);
    assert_eq!(status, 1);
    let head = "Trouble within 1 h: aws-otel-collector.service restarts 720 times, every 5.0 s, and takes";
    assert!(text.starts_with(head), "{text}");
    for part in [
        "Requires=aws-otel-collector.service,",
        "foo.service:3",
        "KillMode=process,",
        "720 times, every 5.0 s",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    // A loop is one entry, however long it goes on.
    assert!(text.lines().count() < 80, "{text}");
}

const UNITS: [(&str, &str); 4] = [
    ("a.service", "[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/bin/a\n"),
    ("b.service", "[Service]\nExecStart=/bin/b\n"),
    ("c.service", "[Unit]\nWants=b.service\n[Service]\nExecStart=/bin/c\n"),
    ("small.target", "[Unit]\nAllowIsolate=yes\nWants=c.service\n"),
];

#[test]
fn what_a_request_takes_down() {
    let folder = Folder::of("asks", &UNITS);
    let (answer, status) = json(&[folder.path(), "--stop", "b.service"]);
    assert_eq!((&answer["takes_down"], status), (&serde_json::json!(["a.service"]), 1));
    assert_eq!(answer["taken_down"][0]["chain"][0]["rule"]["directive"], "Requires=b.service");
    assert!(answer["taken_down"][0]["chain"][0]["rule"]["file"].as_str().unwrap().ends_with("a.service"));
    let (answer, status) = json(&[folder.path(), "--restart", "b"]);
    assert_eq!((&answer["takes_down"], status), (&serde_json::json!(["a.service"]), 0));
    assert_eq!(answer["taken_down"][0]["comes_back"], true);
    let (answer, status) = json(&[folder.path(), "--stop", "c.service"]);
    assert_eq!((&answer["takes_down"], status), (&serde_json::json!([]), 0));
    let (answer, _) = json(&[folder.path(), "--isolate", "small.target"]);
    assert_eq!(answer["takes_down"], serde_json::json!(["a.service"]));
    let (text, ..) = said(&[folder.path(), "--stop", "b.service"]);
    assert!(text.starts_with("Trouble within 24 h: stopping b.service takes down a.service."), "{text}");
}

#[test]
fn the_reach_of_every_unit() {
    let folder = Folder::of("blast", &UNITS);
    let (answer, _) = json(&[folder.path(), "--blast"]);
    let rows = answer["blast"].as_array().unwrap();
    let row = |unit: &str| rows.iter().find(|r| r["unit"] == unit).expect(unit);
    assert_eq!(row("b.service")["stop"], serde_json::json!(["a.service"]));
    assert_eq!(row("b.service")["restart"], serde_json::json!(["a.service"]));
    // A failure is no stop: Requires= doesn't follow it.
    assert_eq!(row("b.service")["killed"], serde_json::json!([]));
    assert_eq!(row("b.service")["recovers"], false);
    assert_eq!(row("a.service")["stop"], serde_json::json!([]));
    assert_eq!(rows[0]["unit"], "b.service");
    let (text, ..) = said(&[folder.path(), "--blast"]);
    assert!(text.contains("UNIT") && text.contains("STOPPED"), "{text}");
}

#[test]
fn misuse_ends_with_2_and_says_how_it_was_meant() {
    let folder = Folder::of("misuse", &UNITS);
    for (arguments, told) in [
        (vec![], "name a folder of unit files"),
        (vec!["/there/is/none"], "no such file or folder"),
        (vec![folder.path(), "--if", "b exits"], "with which status? Write: b exits 1"),
        (
            vec![folder.path(), "--if", "bb.service exits 1"],
            "there is no unit bb.service; did you mean b.service?",
        ),
        (vec![folder.path(), "--if", "b sings"], "it has one of these forms"),
        (vec![folder.path(), "--stop", "nobody.service"], "there is no unit nobody.service"),
        (vec![folder.path(), "--stop", "@"], "not a unit's name"),
        (vec![folder.path(), "--for", "soon"], "write it as 24h"),
        (vec![folder.path(), "--memory-per-process", "much"], "write it as 512K"),
        (vec![folder.path(), "--html", "/there/is/none/x.html"], "cannot write"),
        (vec!["--live", "--socket", "/there/is/none"], "neither hence nor systemd answers"),
    ] {
        let (_, error, status) = said(&arguments);
        assert_eq!(status, 2, "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
    }
}

#[test]
fn what_is_asked_for_and_refused_is_trouble() {
    let folder = Folder::of(
        "refused",
        &[("a.service", "[Unit]\nRefuseManualStop=yes\n[Service]\nExecStart=/bin/a\n")],
    );
    let (answer, status) = json(&[folder.path(), "--stop", "a.service"]);
    assert_eq!((answer["troubles"][0]["kind"].as_str(), status), (Some("refused"), 1), "{answer}");
}

/// Each connection is an instance of its own; a day of them is one entry.
#[test]
fn many_instances_count_as_one() {
    let folder = Folder::of(
        "instances",
        &[
            ("a.socket", "[Socket]\nListenStream=/run/a\nAccept=yes\n"),
            ("a@.service", "[Service]\nExecStart=/bin/a\n"),
        ],
    );
    let (answer, _) = json(&[folder.path(), "--if", "traffic on a.socket every 10s", "--for", "2h"]);
    let units = answer["units"].as_object().unwrap();
    assert!(units.len() < 20, "{:?}", units.keys());
}

/// Loops that take no time, and ones that are too fast for a day, end the prediction and not the patience.
#[test]
fn too_much_is_said_to_be() {
    let text = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/a\nRestart=always\nRestartSec=0\n";
    let folder = Folder::of("fast", &[("a.service", text)]);
    let (answer, status) = json(&[folder.path(), "--if", "a exits 1", "--for", "1s"]);
    assert_eq!(status, 1, "{answer}");
    assert!(answer["units"]["a.service"]["restarts"].as_u64().unwrap() > 100);
}
