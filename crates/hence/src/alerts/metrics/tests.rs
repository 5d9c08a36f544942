//! A strict reader of OpenMetrics text, and what it says of ours.

use super::*;
use hence_ledger::{ActiveState, Cause, SubState, UnitResult, allow::AllowList};
use hence_ledger::{Certainty, Exit, ExitKind, Fact, LeftOver, ProcessRole, Record, RecordId, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A sample: its name, its labels in order, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// Reads a page; what it breaks of the format's rules ends it.
fn read(text: &str) -> Vec<Sample> {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut family, mut kind) = (String::new(), String::new());
    let (mut families, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut samples = Vec::new();
    for line in body.lines() {
        assert!(!line.is_empty() && line.trim() == line, "{line:?}");
        if let Some(meta) = line.strip_prefix("# ") {
            let (word, rest) = meta.split_once(' ').expect("a word");
            let (name, rest) = rest.split_once(' ').expect("a name");
            match word {
                "TYPE" => {
                    assert!(families.insert(name.to_owned()), "{name} comes twice");
                    assert!(["counter", "gauge", "info"].contains(&rest), "{rest}");
                    assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}");
                    (family, kind) = (name.to_owned(), rest.to_owned());
                }
                "UNIT" => assert!(name == family && name.ends_with(&format!("_{rest}")), "{line}"),
                "HELP" => assert!(name == family && rest.ends_with('.'), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (name, labels, value) = sample(line);
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert_eq!(name, format!("{family}{suffix}"), "{line}");
        assert!(value >= 0.0 && (kind != "counter" || value.fract() == 0.0), "{line}");
        assert!(seen.insert((name.clone(), labels.clone())), "{line} comes twice");
        samples.push((name, labels, value));
    }
    samples
}

fn sample(line: &str) -> Sample {
    let is_name = |n: &str| {
        !n.is_empty()
            && n.bytes()
                .enumerate()
                .all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || i > 0 && b.is_ascii_digit())
    };
    let end = line.find(['{', ' ']).expect("a value");
    let name = &line[..end];
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = &line[end..];
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let mut value = String::new();
            let mut chars = after.char_indices();
            let closed = loop {
                match chars.next().expect("a closing quote") {
                    (at, '"') => break at + 1,
                    (_, '\\') => match chars.next().expect("an escaped character").1 {
                        'n' => value.push('\n'),
                        c @ ('"' | '\\') => value.push(c),
                        c => panic!("\\{c} in {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &after[closed..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("a closing brace");
    }
    let value = rest.strip_prefix(' ').expect("a space");
    assert!(!value.contains(' '), "{line}");
    (name.to_owned(), labels, value.parse().expect("a number"))
}

/// So many units that restarted and left a process behind.
fn world(units: u32) -> Live {
    let mut live = Live::new(0, Arc::new(AllowList::default()));
    for nth in 0..units {
        let name: Text = format!("odd \"\\\n-{nth}@{}.service", if nth % 2 == 0 { "a" } else { "b" }).into();
        let mut id = u64::from(nth) * 10;
        let mut record = |causes: &[u64], fact| {
            id += 1;
            let at = Stamp { realtime_us: 1 << 50, monotonic_us: 1 << 30 };
            let causes = causes.iter().map(|id| Cause { record: RecordId(*id), rule: None }).collect();
            let certainty = Certainty::Observed;
            let unit = Some(name.clone());
            live.take(&Record { id: RecordId(id), at, unit, invocation: None, causes, certainty, fact });
            id
        };
        let exit = Exit { kind: ExitKind::Exited, status: 1 };
        let (pid, role) = (nth, ProcessRole::Main);
        let exit = record(&[], Fact::ProcessExited { pid, role, exit, cpu_us: 0, peak_bytes: 0 });
        let (up, down) = ((ActiveState::Active, SubState::Running), (ActiveState::Failed, SubState::Failed));
        for (from, to) in [(up, down), (down, up)] {
            let (result, (from_active, from), (to_active, to)) = (UnitResult::ExitCode, from, to);
            record(&[exit], Fact::StateChanged { from_active, from, to_active, to, result });
        }
        let process = LeftOver { pid: nth, start_ticks: 1, command: "x".into(), bytes: Some(10) };
        record(&[exit], Fact::LeftBehind { processes: vec![process], total: 1, allowed: nth % 2 == 0 });
    }
    live
}

fn sum(samples: &[Sample], name: &str) -> f64 {
    samples.iter().filter(|(known, ..)| known == name).map(|(.., value)| value).sum()
}

#[test]
fn the_page_keeps_to_the_format_and_counts_everybody() {
    let outside = Outside { dropped: 3, ledger_bytes: 4096, sources: vec![("bus", true), ("trace", false)] };
    for units in [0, 3, 2000] {
        let samples = read(&text(&world(units), &outside, &Told::default()));
        assert_eq!(sum(&samples, "hence_unit_restarts_total"), f64::from(units));
        assert_eq!(sum(&samples, "hence_left_over_processes"), f64::from(units));
        assert_eq!(sum(&samples, "hence_left_over_bytes"), f64::from(units * 10));
        assert_eq!(sum(&samples, "hence_source_available"), 1.0);
        assert_eq!(sum(&samples, "hence_ledger_dropped_records_total"), 3.0);
        // 512 pairs of restarts, two times 256 units with two numbers each, and the rest that is fixed.
        assert!(samples.len() < 512 + 2 * 2 * 257 + 60, "{} series", samples.len());
        if units > 0 {
            let first =
                &samples.iter().find(|(name, ..)| name == "hence_left_over_processes").expect("one").1;
            assert!(first["unit"].starts_with("odd \"\\\n-"), "{first:?}");
        }
    }
}

#[test]
fn the_reader_is_strict() {
    for wrong in [
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a gauge\na 1\na 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"\\x\"} 1\n# EOF\n",
        "# TYPE a gauge\na 1\n",
        "# TYPE a gauge\nb 1\n# EOF\n",
        "# TYPE a_total counter\na_total_total 1\n# EOF\n",
    ] {
        assert!(std::panic::catch_unwind(|| read(wrong)).is_err(), "{wrong:?}");
    }
}
