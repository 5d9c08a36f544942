//! Ten megabytes of records are indexed and answered within a moment. Times count in release builds only.

mod build;

use build::incident::{FOO, incident};
use hence_ledger::{decode, encode, fold::fold, history, index::Index, loops, why};
use std::time::{Duration, Instant};

#[test]
fn ten_megabytes_are_answered_in_a_moment() {
    let cycles = if cfg!(debug_assertions) { 300 } else { 6_500 };
    let scene = incident(cycles);
    let time = |what: &str, limit_ms: u64, since: Instant| {
        let took = since.elapsed();
        println!("{what}: {took:?}");
        assert!(cfg!(debug_assertions) || took < Duration::from_millis(limit_ms), "{what} took {took:?}");
    };
    let began = Instant::now();
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for record in &scene.records {
        encode(record, &mut bytes);
        ends.push(bytes.len());
    }
    println!("{} records, {} bytes", ends.len(), bytes.len());
    assert!(cfg!(debug_assertions) || bytes.len() > 10_000_000);
    time("encode", 500, began);

    let began = Instant::now();
    let mut start = 0;
    let records = ends.iter().map(|&end| {
        let record = decode(&bytes[start..end]).expect("what was encoded");
        start = end;
        record
    });
    let index = Index::new(records);
    time("decode and index", 1_000, began);

    let began = Instant::now();
    let answer = why::why(&index, FOO, None, scene.now()).expect("an answer");
    assert_eq!((answer.times, answer.left_behind.processes), (u64::from(cycles), u64::from(cycles) + 1));
    time("why", 1_000, began);

    let began = Instant::now();
    assert_eq!(loops::loops(&index, scene.now()).len(), 1);
    time("loops", 1_000, began);

    let began = Instant::now();
    assert!(history::history(&index, history::Filter::default()).len() < 50);
    time("history", 1_000, began);

    let began = Instant::now();
    let kept = fold(Vec::new(), scene.records.iter().cloned(), 4 << 20);
    assert!(kept.len() < scene.records.len() / 2);
    time("fold", 3_000, began);
}
