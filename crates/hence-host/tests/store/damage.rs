//! Damaged bytes, newer versions, torn ends, what is no ledger.
use super::*;
use hence_ledger::GapReason;
use std::os::unix::fs::{FileExt, PermissionsExt};

/// A ledger with several segments and records that are only in the ring.
fn sample(ledger: &Path) -> u64 {
    let mut owner = Owner::start(ledger, 64 << 10, Some((16 << 10, 1 << 30)));
    for start in (1..400).step_by(20) {
        owner.append(&(start..start + 20).map(record).collect::<Vec<_>>());
        owner.drained();
    }
    owner.end();
    let mut ring = open(ledger, 64 << 10);
    assert_eq!(ring.last_id(), Some(RecordId(400)));
    assert_eq!(ring.append(&(401..450).map(record).collect::<Vec<_>>()), 0);
    450
}

fn segments(ledger: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(ledger.join("segments")).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to.join("segments")).unwrap();
    for path in segments(from).into_iter().chain([from.join("ring")]) {
        std::fs::copy(&path, to.join(path.strip_prefix(from).unwrap())).unwrap();
    }
}

/// Flips a byte in the middle of the sealed segment: stated, skipped, the rest read, the chain broken there.
#[test]
fn a_flipped_byte() {
    let folder = Folder::new("flip");
    let end = sample(&folder.0);
    assert!(Reader::open(&folder.0).unwrap().verify().unwrap().breaks.is_empty());
    let path = &segments(&folder.0)[1];
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
    let items: Vec<_> = Reader::open(&folder.0).unwrap().records().collect();
    let damage: Vec<_> = items.iter().filter_map(|i| i.as_ref().err()).collect();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert_eq!(damage[0].path, *path);
    assert!(damage[0].offset <= at as u64 && damage[0].offset + 256 > at as u64);
    assert_ne!(damage[0].expected, damage[0].found);
    assert!(matches!(damage[0].fact(), Fact::Gap { reason: GapReason::Damaged, .. }));
    assert_eq!(items.iter().filter(|i| i.is_ok()).count() as u64, end - 2);
    let breaks = Reader::open(&folder.0).unwrap().verify().unwrap().breaks;
    assert!(!breaks.is_empty() && breaks.iter().all(|b| b.path == *path), "{breaks:?}");
}

/// A whole record changed with a right checksum: only the chain shows it.
#[test]
fn a_forged_record() {
    let folder = Folder::new("forge");
    sample(&folder.0);
    let path = &segments(&folder.0)[0];
    let mut bytes = std::fs::read(path).unwrap();
    let length = u32::from_le_bytes(bytes[64..68].try_into().unwrap()) as usize;
    let at = bytes[72..72 + length].windows(6).position(|w| w == b"record").unwrap();
    bytes[72 + at] = b'R';
    let crc = crc32c::crc32c(&bytes[72..72 + length]);
    bytes[68..72].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(path, bytes).unwrap();
    assert!(Reader::open(&folder.0).unwrap().records().all(|i| i.is_ok()));
    let breaks = Reader::open(&folder.0).unwrap().verify().unwrap().breaks;
    assert_eq!((breaks.len(), breaks[0].offset), (1, 64));
}

/// Torn at every length: all intact records are read, and the recorder goes on behind them.
#[test]
fn torn_ends() {
    let (folder, torn) = (Folder::new("torn"), Folder::new("torn-copy"));
    sample(&folder.0);
    let last = segments(&folder.0).pop().unwrap();
    let whole = std::fs::metadata(&last).unwrap().len();
    let mut chance = Chance(5);
    for n in 0..25 {
        copy(&folder.0, &torn.0);
        let length = if n < 4 { n * 20 } else { 64 + chance.below(whole - 64) };
        let path = torn.0.join(last.strip_prefix(&folder.0).unwrap());
        std::fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        let before = read(&torn.0);
        let mut owner = Owner::start(&torn.0, 64 << 10, None);
        owner.append(&[record(1000 + n)]);
        owner.drained();
        owner.end();
        let after = read(&torn.0);
        assert_eq!(ids(&after)[..before.len()], ids(&before), "cut at {length}");
        assert_eq!(ids(&after).last(), Some(&(1000 + n)));
        let breaks = Reader::open(&torn.0).unwrap().verify().unwrap().breaks;
        assert!(breaks.is_empty(), "cut at {length}: {breaks:?}");
    }
}

/// A damaged ring is put aside, read for what is intact, and stated.
#[test]
fn a_damaged_ring() {
    for (at, what) in [(0, "header"), (130, "tail"), (24, "capacity")] {
        let folder = Folder::new(&format!("ring-{what}"));
        let end = sample(&folder.0);
        let ring = std::fs::File::options().write(true).open(folder.0.join("ring")).unwrap();
        ring.write_all_at(&[0xff; 3], at).unwrap();
        let items: Vec<_> = Reader::open(&folder.0).unwrap().records().collect();
        assert!(items.iter().any(|i| i.is_err()), "{what}: not stated");
        let mut owner = Owner::start(&folder.0, 64 << 10, None);
        assert_eq!(owner.ring.last_id(), Some(RecordId(end - 1)), "{what}");
        owner.append(&[record(end)]);
        owner.drained();
        owner.end();
        let records = read(&folder.0);
        assert_eq!(ids(&records), (1..=end).collect::<Vec<_>>(), "{what}");
        let gap = |r: &Record| matches!(r.fact, Fact::Gap { reason: GapReason::Damaged, .. });
        assert!(records.iter().any(gap), "{what}");
    }
}

/// A damaged record in the ring costs that record alone.
#[test]
fn a_damaged_record_in_the_ring() {
    let folder = Folder::new("ring-record");
    let end = sample(&folder.0);
    let path = folder.0.join("ring");
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|w| w == b"record 420").unwrap();
    let ring = std::fs::File::options().write(true).open(&path).unwrap();
    ring.write_all_at(b"X", at as u64).unwrap();
    let mut owner = Owner::start(&folder.0, 64 << 10, None);
    assert_eq!(owner.ring.last_id(), Some(RecordId(end - 1)));
    owner.append(&[record(end)]);
    owner.drained();
    owner.end();
    let records = read(&folder.0);
    assert_eq!(ids(&records), (1..=end).filter(|n| *n != 420).collect::<Vec<_>>());
    assert!(records.iter().any(|r| matches!(r.fact, Fact::Gap { reason: GapReason::Damaged, .. })));
}

/// A newer hence's files are left as they are.
#[test]
fn newer_versions() {
    for (file, at) in [("ring", 16), ("segment", 13)] {
        let folder = Folder::new(&format!("newer-{file}"));
        sample(&folder.0);
        let path = if file == "ring" { folder.0.join(file) } else { segments(&folder.0).remove(0) };
        let handle = std::fs::File::options().write(true).open(&path).unwrap();
        handle.write_all_at(&99_u16.to_le_bytes(), at).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = Reader::open(&folder.0).unwrap_err();
        assert!(matches!(error, StoreError::Newer { version: 99, .. }), "{error}");
        assert!(error.to_string().contains("version 99"));
        if file == "ring" {
            let error = Ring::open(&folder.0, &ring_options(64 << 10)).unwrap_err();
            assert!(matches!(error, StoreError::Newer { version: 99, .. }), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[test]
fn what_is_no_ledger() {
    let folder = Folder::new("none");
    let missing = Reader::open(&folder.0).unwrap_err();
    assert!(matches!(missing, StoreError::NotALedger { .. }), "{missing}");
    std::fs::create_dir(&folder.0).unwrap();
    let empty = Reader::open(&folder.0).unwrap_err().to_string();
    assert!(empty.contains("no ledger") && empty.contains("--ledger"), "{empty}");
    sample(&folder.0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0.join("segments")), 0o700);
    assert_eq!((mode(&folder.0.join("ring")), mode(&segments(&folder.0)[0])), (0o600, 0o600));
}

/// Mutated bytes anywhere: readers and openers answer or state damage, and never panic or hang.
#[test]
fn mutated_bytes() {
    let (folder, mutant) = (Folder::new("fuzz"), Folder::new("fuzz-copy"));
    sample(&folder.0);
    let mut chance = Chance(0xfeed);
    let start = Instant::now();
    let least = Duration::from_secs(number("HENCE_FUZZ_SECONDS", 0));
    let (mut damaged, mut rounds) = (0, 0);
    while rounds < 400 && start.elapsed() < Duration::from_secs(60) || start.elapsed() < least {
        rounds += 1;
        copy(&folder.0, &mutant.0);
        for path in segments(&mutant.0).into_iter().chain([mutant.0.join("ring")]) {
            let mut bytes = std::fs::read(&path).unwrap();
            for _ in 0..chance.below(12) {
                let at = chance.below(bytes.len() as u64) as usize;
                match chance.below(5) {
                    0 => bytes[at] = chance.next() as u8,
                    1 => bytes[at] ^= 1 << chance.below(8),
                    2 => bytes.truncate(at.max(1)),
                    3 => {
                        let end = bytes.len().min(at + chance.below(64) as usize);
                        bytes[at..end].fill([0, 0xff][chance.below(2) as usize]);
                    }
                    _ => {
                        let from = chance.below(bytes.len() as u64) as usize;
                        let n = (chance.below(300) as usize).min(bytes.len() - at.max(from));
                        bytes.copy_within(from..from + n, at);
                    }
                }
            }
            std::fs::write(&path, bytes).unwrap();
        }
        if let Ok(reader) = Reader::open(&mutant.0) {
            damaged += u64::from(reader.records().any(|item| item.is_err()));
        }
        if let Ok(reader) = Reader::open(&mutant.0) {
            reader.verify().unwrap();
        }
        if let Ok(mut ring) = Ring::open(&mutant.0, &ring_options(64 << 10)) {
            ring.append(&[record(1 << 40)]);
            let found = Reader::open(&mutant.0).map(|r| r.records().filter_map(Result::ok).count());
            assert!(found.is_err() || found.unwrap() > 0);
        }
        if rounds % 10 == 0 && Ring::open(&mutant.0, &ring_options(64 << 10)).is_ok() {
            let mut owner = Owner::start(&mutant.0, 64 << 10, None);
            let newer = Reader::open(&mutant.0).is_err();
            owner.append(&[record(1 << 41)]);
            if !newer {
                owner.drained();
            }
            owner.end();
        }
    }
    assert!(rounds > 50 && damaged > rounds / 4, "{damaged} of {rounds} rounds showed damage");
}
