//! The transition tables of each kind of unit, as the scenarios walk through them: state, what made it
//! change, next states. `HENCE_BLESS=1` rewrites `transitions/KIND.txt`, where they are read as differences.

use hence_engine::sim::scenario::Scenario;
use hence_ledger::{Fact, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::{fmt::Write, fs, path::Path};

type Table = BTreeMap<(String, String), BTreeSet<String>>;

#[test]
fn transition_tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for entry in fs::read_dir(root.join("scenarios")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let world = Scenario::parse(&text).unwrap().run().world;
        let by_id: BTreeMap<u64, &Record> = world.records.iter().map(|r| (r.id.0, r)).collect();
        for record in &world.records {
            let Fact::StateChanged { from, to, .. } = &record.fact else { continue };
            let unit = record.unit.as_deref().unwrap();
            let kind = unit.rsplit('.').next().unwrap().to_string();
            let cause = record.causes.first().and_then(|c| by_id.get(&c.record.0));
            let event = cause.map_or("nothing".to_string(), |c| event_of(c));
            let row = tables.entry(kind).or_default().entry((from.to_string(), event)).or_default();
            row.insert(to.to_string());
        }
    }
    let bless = std::env::var_os("HENCE_BLESS").is_some();
    let folder = root.join("transitions");
    let mut differ = Vec::new();
    for (kind, table) in tables {
        let mut text = format!("# {kind}: state | what made it change | next states\n");
        for ((from, event), to) in table {
            let to: Vec<String> = to.into_iter().collect();
            writeln!(text, "{from} | {event} | {}", to.join(", ")).unwrap();
        }
        let path = folder.join(format!("{kind}.txt"));
        if bless {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            println!("{}:\n{text}", path.display());
            differ.push(kind);
        }
    }
    assert!(differ.is_empty(), "tables differ: {differ:?}");
}

/// The kind of thing that a record says happened.
fn event_of(record: &Record) -> String {
    match &record.fact {
        Fact::JobQueued { job_type, .. } | Fact::JobMerged { job_type, .. } => format!("{job_type} job"),
        Fact::JobFinished { result, .. } => format!("job {result}"),
        Fact::ProcessStarted { role, .. } => format!("{role} started"),
        Fact::ProcessExited { role, exit, .. } => {
            format!("{role} {}", if exit.status == 0 { "exited 0" } else { "ended badly or by a signal" })
        }
        Fact::SpawnFailed { role, .. } => format!("{role} not started"),
        Fact::DeadlineReached { deadline, .. } => format!("{} over", deadline.as_str()),
        Fact::Notified { message, .. } => format!("says {}", message.split('=').next().unwrap_or("")),
        Fact::Request { verb, .. } => format!("request {verb}"),
        Fact::StateChanged { to, .. } => format!("{} {to}", record.unit.as_deref().map_or("", |u| kind(u))),
        Fact::SignalSent { reason, .. } => format!("all gone after the signal ({reason})"),
        other => other.name().to_string(),
    }
}

fn kind(unit: &str) -> &str {
    unit.rsplit('.').next().unwrap_or(unit)
}
