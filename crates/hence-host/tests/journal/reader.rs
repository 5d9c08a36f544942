//! The reader of journal files: what is written is read, in order, by unit and from the end; damaged, torn
//! and hostile files end no reader and cost no more than their size.

use crate::folder::Folder;
use hence_host::journal::reader::{Entry, Payload, Query, Reader, of_unit};
use hence_host::journal::{Bounds, Fields, Journal, JournalOptions, Place};
use hence_ledger::Stamp;
use std::path::Path;
use std::time::Instant;

fn service(name: &str) -> Fields {
    let mut fields = Fields::new();
    fields.push("_SYSTEMD_UNIT", name).push("PRIORITY", "6").push("_HOSTNAME", "vm").push("_COMM", "x");
    fields
}

/// Lines 0.. of three units by turns; every hundredth one is of rare.service.
fn write(folder: &Path, lines: u64, compact: bool, max_file: u64) {
    let mut options = JournalOptions::new(Place::Folder(folder.into()));
    options.compact = compact;
    options.bounds =
        Bounds { max_use: Some(1 << 30), keep_free: Some(0), max_file: Some(max_file), max_files: Some(500) };
    let mut journal = Journal::new(options);
    let mut units = [service("a.service"), service("b.service"), service("rare.service")];
    for n in 0..lines {
        let unit = if n % 100 == 7 { 2 } else { (n % 2) as usize };
        let at = Stamp { realtime_us: 1_700_000_000_000_000 + n * 1000, monotonic_us: 5_000_000 + n * 1000 };
        journal.append(&mut units[unit], &[format!("MESSAGE=line {n}").as_bytes()], at);
        if n % 50 == 0 {
            journal.commit();
        }
    }
    journal.close();
    assert_eq!(journal.take_lost(), None);
}

fn number(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(entry.get("MESSAGE").unwrap()).unwrap();
    text.strip_prefix("line ").unwrap().parse().unwrap()
}

fn all(reader: &mut Reader) -> Vec<u64> {
    std::iter::from_fn(|| reader.next_entry()).map(|entry| number(&entry)).collect()
}

fn of(unit: &str) -> Query {
    Query { of_each: vec![of_unit(unit)], ..Query::default() }
}

#[test]
fn entries_come_in_order_from_both_ends() {
    for compact in [true, false] {
        let folder = Folder::new(&format!("reader-order-{compact}"));
        // So small that there are several files.
        write(&folder.0, 20_000, compact, 1 << 20);
        let mut reader = Reader::open(std::slice::from_ref(&folder.0));
        assert!(reader.files() > 3 && reader.troubles().is_empty(), "{}", reader.files());
        reader.forwards(Query::default());
        assert_eq!(all(&mut reader), (0..20_000).collect::<Vec<_>>());
        reader.backwards(Query::default());
        assert_eq!(all(&mut reader), (0..20_000).rev().collect::<Vec<_>>());
        let rare: Vec<u64> = (0..20_000).filter(|n| n % 100 == 7).collect();
        reader.forwards(of("rare.service"));
        assert_eq!(all(&mut reader), rare);
        reader.backwards(of("rare.service"));
        assert_eq!(all(&mut reader), rare.iter().rev().copied().collect::<Vec<_>>());
        // From one time to another, both included.
        let at = |n: u64| Some(1_700_000_000_000_000 + n * 1000);
        let between = Query { since_us: at(5_000), until_us: at(6_000), ..of("a.service") };
        let expected: Vec<u64> = (5_000..=6_000).filter(|n| n % 2 == 0 && n % 100 != 7).collect();
        reader.forwards(between.clone());
        assert_eq!(all(&mut reader), expected);
        reader.backwards(between);
        assert_eq!(all(&mut reader), expected.into_iter().rev().collect::<Vec<_>>());
        assert_eq!(reader.values("_SYSTEMD_UNIT").len(), 3);
        reader.forwards(of("nobody.service"));
        assert_eq!(all(&mut reader), []);
    }
}

#[test]
fn who_follows_misses_nothing_and_sees_nothing_twice() {
    let folder = Folder::new("reader-follow");
    let mut options = JournalOptions::new(Place::Folder(folder.0.clone()));
    options.bounds.max_file = Some(512 << 10);
    options.bounds.keep_free = Some(0);
    let mut journal = Journal::new(options);
    let mut unit = service("a.service");
    let mut put = |journal: &mut Journal, n: u64| {
        let at = Stamp { realtime_us: 1_700_000_000_000_000 + n, monotonic_us: n };
        journal.append(&mut unit, &[format!("MESSAGE=line {n}").as_bytes()], at);
    };
    (0..5).for_each(|n| put(&mut journal, n));
    journal.commit();
    let mut reader = Reader::open(std::slice::from_ref(&folder.0));
    reader.backwards(of("a.service"));
    assert_eq!(number(&reader.next_entry().unwrap()), 4);
    (5..7).for_each(|n| put(&mut journal, n));
    journal.commit();
    reader.follow();
    let mut seen = Vec::new();
    for turn in 0..100 {
        reader.refresh();
        seen.extend(all(&mut reader));
        // More than a file holds in the end: it is archived and another begun.
        (7 + turn * 100..107 + turn * 100).for_each(|n| put(&mut journal, n));
        journal.commit();
    }
    reader.refresh();
    seen.extend(all(&mut reader));
    assert_eq!(seen, (5..10_007).collect::<Vec<_>>());
    assert!(std::fs::read_dir(&folder.0).unwrap().count() > 2);
}

#[test]
fn the_last_lines_of_a_unit_are_found_at_once() {
    let folder = Folder::new("reader-last");
    write(&folder.0, 200_000, true, 128 << 20);
    let begun = Instant::now();
    let mut reader = Reader::open(std::slice::from_ref(&folder.0));
    reader.backwards(of("rare.service"));
    let last: Vec<u64> =
        std::iter::from_fn(|| reader.next_entry()).take(10).map(|entry| number(&entry)).collect();
    let took = begun.elapsed();
    assert_eq!(last[0], 199_907);
    assert_eq!(last.len(), 10);
    println!("the last 10 lines of one unit of 200,000 lines: {took:?}");
    assert!(took.as_millis() < 500, "{took:?}");
}

/// Any file: it is read to its end or refused; nothing is read twice, and it takes no time to speak of.
fn endure(path: &Path, what: &str) -> usize {
    let begun = Instant::now();
    let mut reader = Reader::open(&[path.parent().unwrap().to_owned()]);
    let mut count = 0;
    for query in [Query::default(), of("a.service")] {
        for backwards in [false, true] {
            if backwards {
                reader.backwards(query.clone())
            } else {
                reader.forwards(query.clone())
            }
            let mut here = 0;
            while let Some(entry) = reader.next_entry() {
                here += 1;
                assert!(
                    entry.fields.iter().all(|f| !matches!(f, Payload::Plain(p) if p.len() > 1 << 20)),
                    "{what}"
                );
                assert!(here < 100_000, "{what}");
            }
            count = count.max(here);
        }
    }
    reader.values("_SYSTEMD_UNIT");
    assert!(begun.elapsed().as_secs() < 20, "{what}: {:?}", begun.elapsed());
    count
}

#[test]
fn damage_is_passed_over() {
    let folder = Folder::new("reader-damage");
    write(&folder.0, 2_000, true, 8 << 20);
    let path = folder.0.join("system.journal");
    let sound = std::fs::read(&path).unwrap();
    // What was reserved and never written takes no part, but for what may belong to the last array.
    let used = (sound.iter().rposition(|b| *b != 0).unwrap() + (64 << 10)).min(sound.len());
    let torn = Folder::new("reader-torn");
    let place = torn.0.join("system@0.journal~");
    let mut state = 11u64;
    let mut chance = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for length in
        (0..20).map(|_| chance(used)).chain([0, 1, 100, 207, 208, 264, 4096, used]).collect::<Vec<_>>()
    {
        std::fs::write(&place, &sound[..length]).unwrap();
        let count = endure(&place, &format!("cut to {length}"));
        assert!(count <= 2_000 && (length < used || count == 2_000), "{length}: {count}");
    }
    let mut most = 0;
    for round in 0..60 {
        let mut bytes = sound[..used].to_vec();
        for _ in 0..1 + chance(20) {
            // Headers and tables more often than texts.
            let below = if round % 2 == 0 { 300 } else { used };
            let at = chance(below);
            bytes[at] = match chance(3) {
                0 => 0xff,
                1 => 0,
                _ => chance(256) as u8,
            };
        }
        std::fs::write(&place, &bytes).unwrap();
        most = most.max(endure(&place, &format!("round {round}")));
    }
    assert!(most > 1_900, "{most}");
    std::fs::write(&place, [b"LPKSHHRH".as_slice(), &[0xff; 4096]].concat()).unwrap();
    assert_eq!(endure(&place, "all ones"), 0);
}
