//! Power cuts, made up: of what was written since the last sync, each page of the file is on the disk or
//! isn't, in any mixture. What was synced is read all the same, the next writer goes on, and `journalctl
//! --verify` names the file that is damaged and no other.

use crate::folder::Folder;
use hence_host::journal::reader::{Query, Reader};
use hence_host::journal::{Bounds, Fields, Journal, JournalOptions, Place};
use hence_ledger::Stamp;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PAGE: usize = 4096;

/// The same row of numbers each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

fn journal(folder: &Path) -> Journal {
    let bounds = Bounds { max_use: Some(1 << 30), keep_free: Some(0), ..Bounds::default() };
    Journal::new(JournalOptions { bounds, ..JournalOptions::new(Place::Folder(folder.to_owned())) })
}

fn fill(journal: &mut Journal, lines: std::ops::Range<u64>, chance: &mut Chance) {
    let mut units: Vec<Fields> = (0..5).map(|_| Fields::new()).collect();
    for (nth, fields) in units.iter_mut().enumerate() {
        fields.push("_SYSTEMD_UNIT", format!("u{nth}.service")).push("PRIORITY", "6").push("_PID", "7");
    }
    for n in lines {
        let at = Stamp { realtime_us: 1_700_000_000_000_000 + n * 100, monotonic_us: 5_000_000 + n * 100 };
        let fields = &mut units[chance.below(5) as usize];
        let turn = format!("TURN={}", n / 1000);
        journal.append(fields, &[format!("MESSAGE=line {n}").as_bytes(), turn.as_bytes()], at);
        if chance.below(300) == 0 {
            journal.commit();
        }
    }
    journal.commit();
}

/// The numbers of all lines that are read, forwards.
fn read(folder: &Path) -> BTreeSet<u64> {
    let mut reader = Reader::open(&[folder.to_owned()]);
    reader.forwards(Query::default());
    let numbers = std::iter::from_fn(|| reader.next_entry()).filter_map(|entry| {
        std::str::from_utf8(entry.get("MESSAGE")?).ok()?.strip_prefix("line ")?.parse().ok()
    });
    numbers.collect()
}

fn journalctl(folder: &Path, arguments: &[&str]) -> Option<(String, String)> {
    let output = Command::new("journalctl").arg("-D").arg(folder).args(arguments).output().ok()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&output.stdout), text(&output.stderr)))
}

#[test]
fn what_was_synced_stays() {
    const SYNCED: u64 = 20_000;
    const WRITTEN: u64 = 32_000;
    let source = Folder::new("cuts-source");
    let mut chance = Chance(7);
    let mut writer = journal(&source.0);
    fill(&mut writer, 0..SYNCED, &mut chance);
    let path = source.0.join("system.journal");
    let synced = std::fs::read(&path).unwrap();
    fill(&mut writer, SYNCED..WRITTEN, &mut chance);
    let mut written = std::fs::read(&path).unwrap();
    let used = written.iter().rposition(|byte| *byte != 0).unwrap();
    written.truncate(used.next_multiple_of(PAGE));
    drop(writer);
    let mut worst = (SYNCED as usize, SYNCED as usize);
    for round in 0..40u64 {
        let folder = Folder::new("cuts-mixed");
        let mut mixed = written.clone();
        for (at, page) in mixed.chunks_mut(PAGE).enumerate() {
            // From nothing of it to all but little of it.
            if chance.below(40) >= round {
                let old = synced.get(at * PAGE..).unwrap_or(&[]);
                let old = &old[..old.len().min(page.len())];
                page[..old.len()].copy_from_slice(old);
                page[old.len()..].fill(0);
            }
        }
        std::fs::write(folder.0.join("system.journal"), &mixed).unwrap();
        let ours = read(&folder.0).range(..SYNCED).count();
        let mut next = journal(&folder.0);
        fill(&mut next, WRITTEN..WRITTEN + 100, &mut chance);
        next.close();
        assert_eq!(next.take_lost(), None);
        let after = read(&folder.0);
        assert_eq!(after.range(WRITTEN..).count(), 100, "round {round}");
        let Some((text, _)) = journalctl(&folder.0, &["-q", "-o", "cat"]) else { continue };
        let theirs: BTreeSet<u64> =
            text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
        assert_eq!(theirs.range(WRITTEN..).count(), 100, "round {round}");
        worst = (worst.0.min(ours), worst.1.min(theirs.range(..SYNCED).count()));
        let (said, wrong) = journalctl(&folder.0, &["--verify"]).unwrap();
        let verdicts = said + &wrong;
        let passed = |line: &str| line.starts_with("PASS: ") && line.ends_with("/system.journal");
        assert!(verdicts.lines().any(passed), "round {round}: {verdicts}");
        let failed = |line: &str| line.starts_with("FAIL: ") && !line.contains(".journal~ ");
        assert!(!verdicts.lines().any(failed), "round {round}: {verdicts}");
    }
    assert_eq!(worst, (SYNCED as usize, SYNCED as usize), "ours, journalctl");
}
