//! Predictions compared with what the same units did under systemd 252. The sets beside this say what is
//! started, supposed and asked for; the recorded figures stand in files beside them.

use super::{Folder, json};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Events that are so close together, in seconds, happen in any order.
const TOGETHER: f64 = 0.12;

/// A set of units.
struct Set {
    name: String,
    units: Vec<(String, String)>,
    start: Vec<String>,
    ask: Vec<String>,
    suppose: String,
    seconds: String,
    recorded: Value,
}

fn sets() -> Vec<Set> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/predict/sets");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of the sets")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "set"))
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Set {
    let text = std::fs::read_to_string(path).expect("a set");
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("-- ").and_then(|l| l.strip_suffix(" --")) {
            Some(name) => parts.push((name.to_owned(), String::new())),
            None => {
                if let Some((_, part)) = parts.last_mut() {
                    part.push_str(line);
                    part.push('\n');
                }
            }
        }
    }
    let mut take = |name: &str| {
        let at = parts.iter().position(|(n, _)| n == name);
        at.map(|at| parts.remove(at).1.trim().to_owned()).unwrap_or_default()
    };
    let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (start, ask, suppose, seconds) = (words(take("start")), words(take("ask")), take("if"), take("for"));
    let recorded = path.with_extension("recorded");
    let recorded =
        std::fs::read_to_string(&recorded).unwrap_or_else(|e| panic!("{}: {e}", recorded.display()));
    Set {
        name: path.file_stem().and_then(|n| n.to_str()).expect("a name").to_owned(),
        units: parts,
        start,
        ask,
        suppose,
        seconds,
        recorded: serde_json::from_str(&recorded).expect("recorded JSON"),
    }
}

fn predicted(set: &Set) -> Value {
    let files: Vec<(&str, &str)> = set.units.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let folder = Folder::of(&set.name, &files);
    let mut arguments = vec![folder.path(), "--under", "systemd", "--for", &set.seconds];
    for unit in &set.start {
        arguments.extend(["--unit", unit]);
    }
    if !set.suppose.is_empty() {
        arguments.extend(["--if", &set.suppose]);
    }
    let ask = set.ask.first().map(|verb| format!("--{verb}"));
    if let Some(ask) = &ask {
        arguments.extend([ask.as_str(), set.ask[1].as_str()]);
    }
    json(&arguments).0
}

/// The marks of the recorded trace for a prediction's events: (time, mark with the unit's stem). Who is
/// killed can't say so.
fn events(prediction: &Value) -> Vec<(f64, String)> {
    let list = prediction["events"].as_array().expect("events");
    let one = |event: &Value| {
        let mark = match event["what"].as_str().expect("what") {
            "starts" => '+',
            "is stopped" => '-',
            "is killed" => return None,
            _ => '!',
        };
        let unit = event["unit"].as_str().expect("a unit");
        let stem = unit.rsplit_once('.').expect("a kind").0;
        Some((event["at_s"].as_f64().expect("a time"), format!("{mark}{stem}")))
    };
    list.iter().filter_map(one).collect()
}

/// What differs between a prediction and what was recorded.
fn differences(set: &Set, prediction: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let predicted = events(prediction);
    let recorded: Vec<(f64, String)> = set.recorded["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|e| (e[1].as_f64().expect("a time"), e[0].as_str().expect("a mark").to_owned()))
        .collect();
    for (name, unit) in set.recorded["units"].as_object().expect("units") {
        let own = &prediction["units"][name];
        let stem = name.rsplit_once('.').expect("a kind").0;
        let starts = predicted.iter().filter(|(_, e)| *e == format!("+{stem}")).count();
        // A program that isn't there says nothing.
        let silent = set.name == "no-program";
        let service = name.ends_with(".service");
        let mut compare = |what: &str, own: Value, real: &Value| {
            if own != *real {
                found.push(format!("{name} {what}: predicted {own}, was {real}"));
            }
        };
        if service && !silent {
            compare("starts", starts.into(), &unit["starts"]);
        }
        if service && own.is_null() {
            // Nobody needs it: it is as if it had never been loaded.
            compare("NRestarts", 0.into(), &unit["n_restarts"]);
            compare("processes", 0.into(), &unit["processes"]);
            compare("state", "inactive".into(), &unit["state"]);
        } else if service {
            compare("NRestarts", own["n_restarts"].clone(), &unit["n_restarts"]);
            compare("processes", own["processes"].clone(), &unit["processes"]);
            compare("left behind", own["left_behind"].clone(), &unit["orphans"]);
        }
        // What nobody needs any more is not on record.
        if !own.is_null() {
            compare("state", own["final_state"].clone(), &unit["state"]);
            compare("sub-state", own["final_sub_state"].clone(), &unit["sub"]);
            compare("result", own["result"].clone(), &unit["result"]);
        }
    }
    if set.name != "no-program" {
        found.extend(order(&predicted, &recorded));
    }
    found
}

/// Compares the order, where what is predicted to happen together may have happened in any order.
fn order(predicted: &[(f64, String)], recorded: &[(f64, String)]) -> Option<String> {
    let mut left = recorded;
    let mut at = 0;
    while at < predicted.len() {
        let begin = predicted[at].0;
        let together = predicted[at..].iter().take_while(|(time, _)| time - begin <= TOGETHER).count();
        if left.len() < together {
            return Some(format!("order: {:?} is predicted and didn't happen", &predicted[at..]));
        }
        let sorted = |events: &[(f64, String)]| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            events.iter().for_each(|(_, e)| *counts.entry(e.clone()).or_default() += 1);
            counts
        };
        let (own, real) = (sorted(&predicted[at..at + together]), sorted(&left[..together]));
        if own != real {
            return Some(format!("order at {begin} s: predicted {own:?}, was {:?}", &left[..together]));
        }
        (left, at) = (&left[together..], at + together);
    }
    left.first().map(|event| format!("order: {event:?} happened and is not predicted"))
}

#[test]
fn counts_and_order_are_those_of_systemd() {
    let sets = sets();
    assert!(sets.len() >= 20, "only {} sets", sets.len());
    let mut wrong = Vec::new();
    for set in &sets {
        let prediction = predicted(set);
        for difference in differences(set, &prediction) {
            wrong.push(format!("{}: {difference}", set.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// In real time, under a real systemd: restarts, processes left behind, and the moment when TasksMax= was
/// reached, all within 1 %.
#[test]
fn the_incident_is_predicted_within_one_percent() {
    let set = sets().into_iter().find(|s| s.name == "incident-in-real-time").expect("the set");
    let prediction = predicted(&set);
    let near = |what: &str, own: f64, real: f64| {
        assert!((own - real).abs() <= real * 0.01, "{what}: predicted {own}, was {real}");
    };
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    let (own, real) = (&prediction["units"], &set.recorded["units"]);
    near(
        "restarts",
        number(&own["collector.service"]["restarts"]),
        number(&real["collector.service"]["n_restarts"]),
    );
    near("left behind", number(&own["foo.service"]["left_behind"]), number(&real["foo.service"]["orphans"]));
    let limits = prediction["limits"].as_array().expect("limits");
    let limit = limits.iter().find(|l| l["what"] == "TasksMax" && l["unit"] == "foo.service");
    let at = number(&limit.expect("TasksMax= is reached")["at_s"]);
    near("TasksMax=", at, number(&set.recorded["tasks_max_reached_s"]));
}

#[test]
fn a_wrong_count_would_be_seen() {
    let mut set = sets().into_iter().find(|s| s.name == "restart-on-failure").expect("the set");
    let prediction = predicted(&set);
    set.recorded["units"]["a.service"]["n_restarts"] = 999.into();
    assert!(differences(&set, &prediction).iter().any(|d| d.contains("NRestarts")));
    let mut events = set.recorded["events"].as_array().expect("events").clone();
    events.swap(0, 1);
    set.recorded["events"] = events.into();
    assert!(differences(&set, &prediction).iter().any(|d| d.contains("order")));
}
