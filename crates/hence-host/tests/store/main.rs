//! The ledger's storage with real processes, kills, full disks and damage. What records mean is not
//! tested here.
//!
//! Children are this same test binary: a test of a child's name does a child's work when it was started
//! as one.

mod bounds;
mod damage;
mod entries;
mod kills;
mod output;

use hence_host::journal::{Bounds, IntakeOptions, JournalOptions, Place};
use hence_host::store::JournalSetup;
use hence_host::store::{Reader, StoreError, recorder_main};
use hence_host::store::{RecorderCommand, RecorderLink, RecorderOptions, Ring, RingOptions, RingPlace};
use hence_ledger::{Certainty, Fact, Invocation, Record, RecordId, Stamp, Text};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const CHILD: &str = "HENCE_TEST_CHILD_LEDGER";
const JOURNAL: &str = "HENCE_TEST_JOURNAL";
const SEGMENT: &str = "HENCE_TEST_SEGMENT_BYTES";
const TOTAL: &str = "HENCE_TEST_TOTAL_BYTES";

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("hence-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn now_us() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

fn ring_options(bytes: u64) -> RingOptions {
    RingOptions { bytes, place: RingPlace::Ledger }
}

/// A record that says its own number.
fn record(id: u64) -> Record {
    let message = format!("STATUS=record {id} {}", "x".repeat((id % 97) as usize));
    Record {
        id: RecordId(id),
        at: Stamp { realtime_us: id, monotonic_us: id },
        unit: Some(Text::from(format!("u{}.service", id % 7))),
        invocation: Some(Invocation([id as u8; 16])),
        causes: Vec::new(),
        certainty: Certainty::Observed,
        fact: Fact::Notified { message: Text::from(message), pid: 1 },
    }
}

/// Sums up: one tally per unit, whatever it is.
fn fold(old: Vec<Record>, new: Vec<Record>, _limit: usize) -> Vec<Record> {
    let mut tallies: BTreeMap<Option<Text>, Record> = BTreeMap::new();
    for record in old.into_iter().chain(new) {
        let (id, unit, at) = (record.id, record.unit.clone(), record.at);
        let count = if let Fact::Tally { times, .. } = &record.fact { *times } else { 1 };
        let tally = tallies.entry(unit).or_insert_with(|| Record {
            fact: Fact::Tally {
                what: "record".into(),
                times: 0,
                first: at,
                last: at,
                rule: None,
                chain: Vec::new(),
                left_behind: 0,
            },
            ..record
        });
        tally.id = id;
        if let Fact::Tally { times, last, .. } = &mut tally.fact {
            *times += count;
            *last = at;
        }
    }
    tallies.into_values().collect()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// The recorder's process.
#[test]
fn child_recorder() {
    let Some(ledger) = std::env::var_os(CHILD) else { return };
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut options = RecorderOptions::new(fold);
    options.segment_bytes = number(SEGMENT, options.segment_bytes);
    options.total_bytes = number(TOTAL, options.total_bytes);
    options.folded_bytes = options.folded_bytes.min(options.segment_bytes);
    options.delay_us = 5_000;
    options.journal = std::env::var_os(JOURNAL).map(|folder| JournalSetup {
        options: JournalOptions {
            bounds: Bounds { keep_free: Some(0), ..Bounds::default() },
            ..JournalOptions::new(Place::Folder(Path::new(&folder).join("journal")))
        },
        intake: IntakeOptions::default(),
        sockets: Some((Path::new(&folder).join("sockets"), Path::new(&folder).join("log"))),
    });
    recorder_main(Path::new(&ledger), socket, options);
    std::process::exit(0);
}

fn recorder_command(ledger: &Path, bounds: Option<(u64, u64)>) -> RecorderCommand {
    let mut environment = vec![(CHILD.into(), ledger.into())];
    if let Some((segment, total)) = bounds {
        environment.push((SEGMENT.into(), segment.to_string().into()));
        environment.push((TOTAL.into(), total.to_string().into()));
    }
    RecorderCommand {
        program: std::env::current_exe().unwrap(),
        arguments: ["--exact", "child_recorder", "--nocapture"].map(Into::into).to_vec(),
        environment,
    }
}

/// An owner with its recorder, as the run loop drives them.
struct Owner {
    ring: Ring,
    link: RecorderLink,
    pids: Vec<u32>,
}

/// Opens a ring. A child that another test's thread is about to start may hold a copy of the lock for a
/// moment.
fn open(ledger: &Path, bytes: u64) -> Ring {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match Ring::open(ledger, &ring_options(bytes)) {
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

impl Owner {
    fn start(ledger: &Path, ring_bytes: u64, bounds: Option<(u64, u64)>) -> Owner {
        let ring = open(ledger, ring_bytes);
        let link = RecorderLink::start(recorder_command(ledger, bounds), now_us()).unwrap();
        Owner { ring, pids: vec![link.pid().unwrap()], link }
    }

    fn append(&mut self, records: &[Record]) -> u64 {
        let lost = self.ring.append(records);
        self.link.appended(&mut self.ring);
        self.link.ready(&mut self.ring, now_us());
        self.restart();
        lost
    }

    fn restart(&mut self) {
        if self.link.restart(now_us()) {
            self.pids.extend(self.link.pid());
        }
    }

    /// Goes on until a condition holds.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Owner) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited too long for: {what}");
            std::thread::sleep(Duration::from_millis(2));
            self.link.ready(&mut self.ring, now_us());
            self.restart();
        }
    }

    /// Until the recorder has stored all.
    fn drained(&mut self) {
        self.until("draining", |owner| !owner.ring.has_news());
    }

    /// Ends the owner, waits for its recorders.
    fn end(self) {
        let pids = self.pids.clone();
        drop(self);
        pids.into_iter().for_each(reap);
    }
}

fn reap(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32);
    while let Err(rustix::io::Errno::INTR) =
        rustix::process::waitpid(pid, rustix::process::WaitOptions::empty())
    {}
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// All records; panics at damage.
fn read(ledger: &Path) -> Vec<Record> {
    Reader::open(ledger).unwrap().records().map(|item| item.unwrap()).collect()
}

/// The ids of the owner's records.
fn ids(records: &[Record]) -> Vec<u64> {
    let own = |r: &&Record| r.id.0 & hence_host::store::OWN == 0;
    records.iter().filter(own).map(|r| r.id.0).collect()
}

/// A small generator, so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
}
