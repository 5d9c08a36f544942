//! Full rings, full disks, retention.
use super::*;
use hence_ledger::GapReason;
use std::process::Command;

/// A full ring drops, counts, and says so in its place as soon as there is room.
#[test]
fn a_full_ring() {
    let folder = Folder::new("full-ring");
    let mut ring = Ring::open(&folder.0, &ring_options(64 << 10)).unwrap();
    let mut next = 1;
    while ring.lost() == 0 {
        ring.append(&[record(next)]);
        next += 1;
    }
    for _ in 0..10 {
        ring.append(&[record(next), record(next + 1)]);
        next += 2;
    }
    assert_eq!((ring.lost(), ring.last_id()), (21, Some(RecordId(next - 1))));
    drop(ring);
    let mut owner = Owner::start(&folder.0, 64 << 10, None);
    owner.drained();
    while owner.ring.lost() == 0 {
        owner.ring.append(&[record(next)]);
        next += 1;
    }
    owner.link.appended(&mut owner.ring);
    owner.drained();
    owner.append(&[record(next)]);
    owner.drained();
    owner.end();
    let records = read(&folder.0);
    let gap = &records[records.len() - 2];
    assert_eq!(gap.fact, Fact::Gap { lost: 1, reason: GapReason::RingFull });
    assert_eq!(gap.id, RecordId(next - 1));
    assert_eq!(records.last().unwrap().id, RecordId(next));
}

/// What is longer than the ring can hold is lost and counted, what follows is not.
#[test]
fn a_record_too_long() {
    let folder = Folder::new("long");
    let mut ring = Ring::open(&folder.0, &ring_options(64 << 10)).unwrap();
    let mut long = record(2);
    long.fact = Fact::Notified { message: Text::from("y".repeat(40_000)), pid: 1 };
    assert_eq!(ring.append(&[record(1), long, record(3)]), 1);
    drop(ring);
    let records = read(&folder.0);
    assert_eq!(ids(&records), [1, 2, 3]);
    from_the_end(&folder.0, &records);
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|e| e.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}

/// 200 MiB of records stay within 16 MiB, and the count of all of them is kept.
#[test]
fn retention() {
    let folder = Folder::new("retention");
    let (segment, total) = (1 << 20, 16 << 20);
    let mut owner = Owner::start(&folder.0, 2 << 20, Some((segment, total)));
    let (mut written, mut next, mut most) = (0_u64, 1, 0);
    while written < 200 << 20 {
        let batch: Vec<Record> = (0..40)
            .map(|n| {
                let message = Text::from("z".repeat(4000));
                Record { fact: Fact::Notified { message, pid: 1 }, ..record(next + n) }
            })
            .collect();
        next += 40;
        written += 40 * 4040;
        owner.until("room", |owner| !owner.ring.needs_wake());
        assert_eq!(owner.append(&batch), 0);
        if next % 2000 < 40 {
            let folded = std::fs::metadata(folder.0.join("folded.hl")).map_or(0, |m| m.len());
            most = most.max(size(&folder.0.join("segments")) + folded);
        }
    }
    owner.drained();
    owner.end();
    most = most.max(size(&folder.0.join("segments")));
    // A batch of the recorder may go over the end of a segment.
    assert!(most <= total + (128 << 10), "{most} bytes");
    assert!(most > total / 2);
    let records = read(&folder.0);
    let all: u64 =
        records.iter().map(|r| if let Fact::Tally { times, .. } = r.fact { times } else { 1 }).sum();
    assert_eq!(all, next - 1);
    assert!(Reader::open(&folder.0).unwrap().verify().unwrap().breaks.is_empty());
    from_the_end(&folder.0, &records);
}

/// From its end on a ledger has the same records, whether they are in the ring, in segments or folded.
fn from_the_end(folder: &Path, forward: &[Record]) {
    let backward: Vec<Record> = Reader::open(folder).unwrap().newest_first().collect();
    let mut expected = ids(forward);
    expected.reverse();
    assert_eq!(ids(&backward), expected);
    assert_eq!(backward.last(), forward.first());
}

/// Runs in a mount namespace of its own, with a small file system in memory at the folder given.
#[test]
fn child_full_disk() {
    let Some(folder) = std::env::var_os("HENCE_TEST_FULL_DISK") else { return };
    let disk = PathBuf::from(folder);
    let ledger = disk.join("ledger");
    let mut owner = Owner::start(&ledger, 256 << 10, None);
    let fill = disk.join("fill");
    owner.append(&[record(1)]);
    owner.drained();
    // Nothing is left on the device.
    let mut file = std::fs::File::create(&fill).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    let mut next = 2;
    while owner.ring.lost() < 500 {
        owner.append(&(next..next + 10).map(record).collect::<Vec<_>>());
        next += 10;
        std::thread::sleep(Duration::from_micros(200));
    }
    let lost = owner.ring.lost();
    let seen = ids(&read(&ledger)).len() as u64;
    assert!(seen > 100 && seen + lost == next - 1, "{seen} of {next}, {lost} lost");
    drop(file);
    std::fs::remove_file(&fill).unwrap();
    // The recorder looks again every 5 s while something waits.
    owner.drained();
    owner.append(&[record(next)]);
    owner.drained();
    owner.end();
    let records = read(&ledger);
    let gaps: Vec<&Fact> =
        records.iter().map(|r| &r.fact).filter(|f| matches!(f, Fact::Gap { .. })).collect();
    assert_eq!(gaps, [&Fact::Gap { lost, reason: GapReason::DiskFull }]);
    assert_eq!(records.last().unwrap().id, RecordId(next));
    assert_eq!(records.len() as u64, seen + 2);
    assert!(Reader::open(&ledger).unwrap().verify().unwrap().breaks.is_empty());
    println!("full disk survived");
}

#[test]
fn a_full_disk() {
    let folder = Folder::new("full-disk");
    std::fs::create_dir_all(&folder.0).unwrap();
    let script = "mount -t tmpfs -o size=1m,mode=700 none \"$HENCE_TEST_FULL_DISK\" || exit 77; \
                  exec \"$0\" --exact bounds::child_full_disk --nocapture";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("HENCE_TEST_FULL_DISK", &folder.0)
        .output();
    match output {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("full disk survived"));
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
        other => println!("skipped: a mount namespace needs root and unshare(1): {other:?}"),
    }
}
