//! A week of a busy machine within less than a minute: what sources would have seen is told to the observer
//! with a clock that runs as fast, and goes through the ring and the recorder to the disk.

use hence_engine::Time;
use hence_engine::observe::seen::{Asked, Change, Evidence, Portrait, Seen, What};
use hence_engine::observe::{Observer, Settings, Sources};
use hence_host::store::{Reader, RecorderCommand, RecorderLink, Ring, RingOptions, RingPlace};
use hence_ledger::{
    ActiveState, Client, Exit, ExitKind, Invocation, JobResult, JobType, Record, Text, UnitResult, Verb,
};
use hence_unit::{DependencyKind as K, JobMode};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000_000;
const WEEK: u64 = 7 * 24 * 3600 * SECOND;
/// Every so often each of so many units is restarted by somebody with a long command line.
const EVERY: u64 = 300 * SECOND;
const UNITS: u32 = 20;
/// The bound of a ledger, and what a batch may go over it.
const BOUND: u64 = (64 << 20) + (256 << 10);

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A machine whose clock is ours, and the ledger that is kept of it.
struct Week {
    observer: Observer,
    began_us: u64,
    now_us: u64,
    ring: Ring,
    link: RecorderLink,
    records: u64,
    job: u32,
}

fn monotonic_us() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * SECOND + t.tv_nsec as u64 / 1000
}

impl Week {
    fn begin(ledger: &Path) -> Week {
        let today = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
        let began_us = today - WEEK - 60 * SECOND;
        let place = RingPlace::Ledger;
        let ring = Ring::open(ledger, &RingOptions { place, ..RingOptions::default() }).expect("a ring");
        let command = RecorderCommand {
            program: env!("CARGO_BIN_EXE_hence").into(),
            arguments: vec!["recorder".into(), ledger.into()],
            environment: Vec::new(),
        };
        let link = RecorderLink::start(command, monotonic_us()).expect("a recorder");
        let settings = Settings {
            first_record: began_us,
            version: "1".into(),
            pid: 7,
            boot: Invocation([1; 16]),
            cgroup: "/".into(),
            command: "hence watch".into(),
            after_crash: false,
            sources: Sources { manager: true, journal: true, cgroups: true, ..Sources::default() },
        };
        let now_us = SECOND;
        let at = Time { realtime_us: began_us + now_us, monotonic_us: now_us };
        Week { observer: Observer::new(settings, at), began_us, now_us, ring, link, records: 0, job: 1 }
    }

    fn at(&self) -> Time {
        Time { realtime_us: self.began_us + self.now_us, monotonic_us: self.now_us }
    }

    fn see(&mut self, what: What) {
        self.now_us += 500;
        let at = self.at();
        self.observer.see(Seen { at, what });
    }

    fn wait(&mut self, us: u64) {
        self.now_us += us;
        self.observer.settle(self.at());
        let mut batch: Vec<Record> = Vec::new();
        while let Some(record) = self.observer.poll_record() {
            batch.push(record);
        }
        while self.observer.poll_wanted().is_some() {}
        self.records += batch.len() as u64;
        for part in batch.chunks(64) {
            // A week has time for the recorder to keep up.
            let until = Instant::now() + Duration::from_secs(20);
            while self.ring.needs_wake() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
                self.link.ready(&mut self.ring, monotonic_us());
            }
            assert_eq!(self.ring.append(part), 0, "records were dropped");
            self.link.appended(&mut self.ring);
            self.link.ready(&mut self.ring, monotonic_us());
        }
    }

    fn known(&mut self, name: &str, edges: &[(K, &str)]) {
        let (active, sub) = (Some(ActiveState::Active), Some("running".into()));
        let state = Change { active, sub, ..Change::default() };
        let edges = edges.iter().map(|(kind, other)| (*kind, Text::from(*other))).collect();
        let portrait = Portrait { name: name.into(), edges, state, config: None, files: Vec::new() };
        self.see(What::Known(Box::new(portrait)));
    }

    fn state(&mut self, name: &str, active: ActiveState, sub: &str) {
        let change = Change { active: Some(active), sub: Some(sub.into()), ..Change::default() };
        self.see(What::Changed(name.into(), Box::new(change)));
    }

    /// The collector ends with an error, and takes foo with it when it is started again.
    fn incident(&mut self) {
        let exit = Exit { kind: ExitKind::Exited, status: 1 };
        let change = Change {
            active: Some(ActiveState::Activating),
            sub: Some("auto-restart".into()),
            result: Some(UnitResult::ExitCode),
            main_exit: Some((4000 + self.job, self.now_us, exit)),
            restarts: Some(self.job),
            ..Change::default()
        };
        self.see(What::Changed("collector.service".into(), Box::new(change)));
        self.wait(5 * SECOND);
        for (id, unit) in [(self.job, "collector.service"), (self.job + 1, "foo.service")] {
            self.see(What::JobNew(id, unit.into()));
            self.see(What::JobIs(id, JobType::Restart));
        }
        self.state("foo.service", ActiveState::Deactivating, "stop-sigterm");
        self.state("foo.service", ActiveState::Inactive, "dead");
        self.state("collector.service", ActiveState::Active, "running");
        self.state("foo.service", ActiveState::Active, "running");
        self.see(What::JobRemoved(self.job, "collector.service".into(), JobResult::Done));
        self.see(What::JobRemoved(self.job + 1, "foo.service".into(), JobResult::Done));
        self.job += 2;
        self.wait(2 * SECOND);
    }

    /// Somebody restarts a unit.
    fn restart(&mut self, unit: &str) {
        let command = format!("systemctl restart {unit} --no-ask-password {}", "--quiet ".repeat(210));
        let client = Client { pid: self.job + 10, command: command.into(), ..Client::default() };
        let (verb, mode, evidence) = (Verb::Restart, JobMode::Replace, Evidence::Call);
        let units = vec![unit.into()];
        self.see(What::Asked(Box::new(Asked { verb, mode, units, client, evidence })));
        self.see(What::JobNew(self.job, unit.into()));
        self.see(What::JobIs(self.job, JobType::Restart));
        self.state(unit, ActiveState::Deactivating, "stop-sigterm");
        self.state(unit, ActiveState::Active, "running");
        self.see(What::JobRemoved(self.job, unit.into(), JobResult::Done));
        self.job += 1;
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let of = |path: PathBuf| if path.is_dir() { size(&path) } else { path.metadata().map_or(0, |m| m.len()) };
    entries.map(|entry| of(entry.path())).sum()
}

fn ask(ledger: &Path, words: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_hence")).args(words).arg("--ledger").arg(ledger).output();
    let done = done.expect("hence runs");
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[test]
fn a_week_stays_within_the_bound_and_its_first_incident_explains_itself() {
    let name = format!("hence-week-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    let ledger = folder.0.join("ledger");
    let mut week = Week::begin(&ledger);
    week.known("collector.service", &[(K::RequiredBy, "foo.service")]);
    week.known("foo.service", &[(K::Requires, "collector.service")]);
    let units: Vec<String> = (0..UNITS).map(|n| format!("u{n}.service")).collect();
    units.iter().for_each(|unit| week.known(unit, &[]));
    week.see(What::Attached);
    week.wait(SECOND);
    (0..4).for_each(|_| week.incident());
    let (mut most, mut rounds) = (0, 0);
    while week.now_us < WEEK {
        for unit in &units {
            week.restart(unit);
            week.wait(EVERY / u64::from(UNITS));
        }
        rounds += 1;
        if rounds % 32 == 0 {
            most = most.max(size(&ledger));
        }
    }
    week.wait(2 * SECOND);
    let (now, restarts, records) = (week.at(), rounds * u64::from(UNITS), week.records);
    week.observer.finish(now, 0);
    week.wait(0);
    let until = Instant::now() + Duration::from_secs(20);
    while week.ring.has_news() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
        week.link.ready(&mut week.ring, monotonic_us());
    }
    drop(week);
    std::thread::sleep(Duration::from_millis(500));
    most = most.max(size(&ledger));
    println!("{restarts} restarts, {records} records, {:.1} MiB at most", most as f64 / f64::from(1 << 20));
    // The ring is of a fixed size beside the bound.
    assert!(most < BOUND + (3 << 20), "{most} bytes");
    assert!(ledger.join("folded.hl").exists(), "so little was written that nothing had to go");
    let verified = Reader::open(&ledger).expect("a ledger").verify().expect("it can be read");
    assert!(verified.breaks.is_empty());
    let told = ask(&ledger, &["why", "foo.service", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&told).unwrap_or_else(|e| panic!("{e}: {told}"));
    let root = &answer["roots"][0];
    assert_eq!(root["kind"], "exit", "{told}");
    assert_eq!(root["unit"], "collector.service", "{told}");
    assert!(answer["chain"].to_string().contains("Requires=collector.service"), "{told}");
    let told = ask(&ledger, &["why", "u7.service"]);
    assert!(told.contains("systemctl restart u7.service"), "{told}");
}
