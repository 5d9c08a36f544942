//! Killed at any instant: what was acknowledged is there, in order, once, and nothing is damaged.
use super::*;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

const WITHOUT: &str = "HENCE_TEST_WITHOUT_RECORDER";

/// An owner that writes for its life and acknowledges each record after it is appended.
#[test]
fn child_writer() {
    let Some(ledger) = std::env::var_os(CHILD) else { return };
    let ledger = PathBuf::from(ledger);
    let mut acknowledge = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut ring = loop {
        let ring_bytes = if std::env::var_os(WITHOUT).is_some() { 8 << 20 } else { 64 << 10 };
        match Ring::open(&ledger, &ring_options(ring_bytes)) {
            Ok(ring) => break ring,
            Err(e) => assert!(Instant::now() < deadline, "{e}"),
        }
    };
    let without = std::env::var_os(WITHOUT).is_some();
    let mut link = (!without).then(|| {
        RecorderLink::start(recorder_command(&ledger, Some((128 << 10, 1 << 30))), now_us()).unwrap()
    });
    let mut next = ring.last_id().map_or(1, |id| id.0 + 1);
    let mut chance = Chance(next | 1);
    loop {
        let batch: Vec<Record> = (0..1 + chance.below(8)).map(|n| record(next + n)).collect();
        next += batch.len() as u64;
        if ring.append(&batch) == 0 {
            let acks: Vec<u8> = batch.iter().flat_map(|r| r.id.0.to_le_bytes()).collect();
            if acknowledge.write_all(&acks).is_err() {
                return;
            }
        }
        if let Some(link) = &mut link {
            link.appended(&mut ring);
            link.ready(&mut ring, now_us());
        }
    }
}

fn start_writer(ledger: &Path, without: bool) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "kills::child_writer", "--nocapture"])
        .env(CHILD, ledger)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null());
    if without {
        command.env(WITHOUT, "1");
    }
    (command.spawn().unwrap(), ours)
}

/// Runs a writer, kills it after a while; the ids that it acknowledged.
fn round(ledger: &Path, without: bool, chance: &mut Chance) -> Vec<u64> {
    let (mut child, mut acks) = start_writer(ledger, without);
    let mut first = [0; 8];
    acks.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Killed also before it wrote anything, now and then.
    let early = chance.below(10) == 0;
    let mut bytes = Vec::new();
    if early {
        std::thread::sleep(Duration::from_micros(chance.below(4000)));
    } else {
        acks.read_exact(&mut first).unwrap();
        bytes.extend_from_slice(&first);
        std::thread::sleep(Duration::from_micros(chance.below(3000)));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    acks.read_to_end(&mut bytes).unwrap();
    bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect()
}

fn check(ledger: &Path, acknowledged: &[u64], round: u64) {
    let records = read(ledger);
    let found = ids(&records);
    assert!(found.is_sorted_by(|a, b| a < b), "round {round}: out of order or twice");
    for id in acknowledged {
        let at = found.binary_search(id);
        assert!(at.is_ok(), "round {round}: acknowledged record {id} is missing");
    }
    for r in records.iter().filter(|r| matches!(r.fact, Fact::Notified { .. })) {
        assert_eq!(*r, record(r.id.0));
    }
}

/// How many kills; `HENCE_KILLS` names more.
fn kills(least: u64) -> u64 {
    number("HENCE_KILLS", 0).max(least)
}

/// 120 kills of an owner with a recorder that drains all the while.
#[test]
fn owner_killed_while_the_recorder_drains() {
    let folder = Folder::new("kill-draining");
    let mut chance = Chance(0x9e37_79b9);
    let mut acknowledged = Vec::new();
    let mut most = 0;
    for n in 0..kills(120) {
        let new = round(&folder.0, false, &mut chance);
        most = most.max(new.len());
        acknowledged.extend(new);
        if n % 4 == 0 || n > 110 {
            check(&folder.0, &acknowledged, n);
        } else if let Some(last) = acknowledged.last() {
            assert!(ids(&read(&folder.0)).contains(last));
        }
    }
    assert!(acknowledged.len() > 1000 && most > 10, "too little was written to prove anything");
    assert!(Reader::open(&folder.0).unwrap().verify().unwrap().breaks.is_empty());
}

/// 120 kills of an owner whose ring nobody drains until the end of each round.
#[test]
fn owner_killed_without_a_recorder() {
    let folder = Folder::new("kill-alone");
    let mut chance = Chance(0x1234_5678);
    let mut acknowledged = Vec::new();
    for n in 0..kills(120) {
        acknowledged.extend(round(&folder.0, true, &mut chance));
        check(&folder.0, &acknowledged, n);
        if n % 3 == 2 {
            // Room for the next rounds; what is carried over stays readable.
            let mut owner = Owner::start(&folder.0, 64 << 10, None);
            owner.drained();
            owner.end();
            check(&folder.0, &acknowledged, n);
        }
    }
    assert!(acknowledged.len() > 1000, "only {} records", acknowledged.len());
}

/// 60 kills of the recorder; its owner starts it again.
#[test]
fn recorder_killed() {
    let folder = Folder::new("kill-recorder");
    let mut owner = Owner::start(&folder.0, 4 << 20, Some((64 << 10, 1 << 30)));
    let mut chance = Chance(77);
    let mut next = 1;
    for _ in 0..kills(60) {
        let before = next;
        while next < before + 300 {
            let batch: Vec<Record> = (0..10).map(|n| record(next + n)).collect();
            next += 10;
            assert_eq!(owner.append(&batch), 0);
            std::thread::sleep(Duration::from_micros(chance.below(400)));
        }
        let Some(pid) = owner.link.pid() else { continue };
        kill(pid);
        reap(pid);
        owner.pids.retain(|p| *p != pid);
        assert!(owner.link.exited(pid, now_us()));
        // It starts again after a pause; here as if that was over.
        assert!(owner.link.restart(owner.link.deadline_us().unwrap()));
        owner.pids.extend(owner.link.pid());
    }
    owner.drained();
    assert_eq!(owner.ring.lost(), 0);
    assert_eq!(ids(&read(&folder.0)), (1..next).collect::<Vec<_>>());
    owner.end();
    let verified = Reader::open(&folder.0).unwrap().verify().unwrap();
    assert_eq!((verified.breaks, verified.records), (Vec::new(), next - 1));
}

/// The lock tells who owns it and goes with its process.
#[test]
fn two_owners() {
    let folder = Folder::new("two");
    let (mut child, mut acks) = start_writer(&folder.0, true);
    acks.read_exact(&mut [0; 8]).unwrap();
    let error = Ring::open(&folder.0, &ring_options(64 << 10)).unwrap_err().to_string();
    assert!(error.contains(&format!("process {}", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    open(&folder.0, 64 << 10);
}

/// Read again and again while it is written and drained: always in order, nothing missing in between.
#[test]
fn read_while_written() {
    let folder = Folder::new("live");
    let mut owner = Owner::start(&folder.0, 64 << 10, Some((64 << 10, 1 << 30)));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let ledger = folder.0.clone();
    let reading = std::thread::spawn(move || {
        let (mut rounds, mut before) = (0, 0);
        while stopped.try_recv().is_err() {
            let found = ids(&read(&ledger));
            assert!(found.iter().copied().eq(1..=found.len() as u64), "a hole after {rounds} rounds");
            assert!(found.len() >= before);
            (rounds, before) = (rounds + 1, found.len());
        }
        rounds
    });
    let mut next = 1;
    while next < 20_000 {
        let batch: Vec<Record> = (0..7).map(|n| record(next + n)).collect();
        next += 7;
        owner.until("room", |owner| !owner.ring.needs_wake());
        assert_eq!(owner.append(&batch), 0);
    }
    owner.drained();
    stop.send(()).unwrap();
    assert!(reading.join().unwrap() > 5);
    assert_eq!(ids(&read(&folder.0)).len() as u64, next - 1);
    owner.end();
}
