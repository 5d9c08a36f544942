//! hence is killed at random instants and started again on the same ledger: nothing that was on record is
//! lost, and no process that it left is missed.

use crate::rig::{Level, Site, levels, start_ticks, until};
use hence_host::store::Reader;
use hence_ledger::{Fact, Record};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Chance that can be told afterwards: splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn units(site: &Site) {
    site.unit(
        "restarts.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=5ms\n\
         ExecStart=/bin/sh -c 'sleep 0.02 MARK'\n",
    );
    site.unit(
        "leaves.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nKillMode=process\nRestart=always\nRestartSec=40ms\n\
         ExecStart=/bin/sh -c 'setsid sleep 3 MARK & sleep 0.02'\n",
    );
    site.unit(
        "forks.service",
        "[Service]\nExecStart=/bin/sh -c 'sleep 1000 MARK & sleep 1000 MARK & wait'\n",
    );
    site.unit("still.service", "[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    site.unit(
        "double.service",
        "[Service]\nType=forking\nTimeoutStartSec=20\n\
         ExecStart=/bin/sh -c '(setsid sleep 2 MARK &) & exit 0'\n",
    );
}

/// What must be true of the records of any run: ids rise, and none that was seen before is missing.
fn unbroken(site: &Site, seen: &mut Vec<u64>, round: u64) -> Vec<Record> {
    let records = site.records();
    // The recorder's own records have a number range of their own.
    let own = |r: &&Record| r.id.0 & hence_host::store::OWN == 0;
    let ids: Vec<u64> = records.iter().filter(own).map(|r| r.id.0).collect();
    for pair in ids.windows(2) {
        assert!(pair[0] < pair[1], "round {round}: ids don't rise: {pair:?}");
    }
    let all: BTreeSet<u64> = records.iter().map(|r| r.id.0).collect();
    assert_eq!(all.len(), records.len(), "round {round}: an id twice");
    let missing: Vec<&u64> = seen.iter().filter(|id| !all.contains(id)).collect();
    assert!(missing.is_empty(), "round {round}: {} records are gone: {missing:?}", missing.len());
    let gap = records.iter().find(|r| matches!(r.fact, Fact::Gap { .. }));
    assert!(gap.is_none(), "round {round}: {gap:?}");
    *seen = all.into_iter().collect();
    records
}

/// The last run's first record, once it is there.
fn last_started(records: &[Record], pid: u32) -> Option<usize> {
    records.iter().rposition(|r| matches!(r.fact, Fact::Started { pid: p, .. } if p == pid))
}

/// Every marked process that was alive before this run began is named in its records.
fn all_named(site: &Site, records: &[Record], from: usize, alive: &[(u32, u64)], round: u64) {
    let mut named = BTreeSet::new();
    for record in &records[from..] {
        if let Fact::LeftBehind { processes, .. } | Fact::TakenUp { processes, .. } = &record.fact {
            named.extend(processes.iter().map(|p| (p.pid, p.start_ticks)));
        }
    }
    let missed: Vec<String> = alive
        .iter()
        // One that ended meanwhile can't be named.
        .filter(|(pid, ticks)| !named.contains(&(*pid, *ticks)) && start_ticks(*pid) == Some(*ticks))
        .map(|(pid, _)| {
            let read =
                |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let environ = read("environ");
            let id =
                environ.split('\0').find(|v| v.starts_with("INVOCATION_ID")).unwrap_or("no id").to_owned();
            format!("{pid}: {} in {} with {id}", read("cmdline").replace('\0', " "), read("cgroup"))
        })
        .collect();
    assert!(missed.is_empty(), "round {round}: not named: {missed:#?}\n{}", site.said());
}

fn killed_again_and_again(level: Level, kills: u64) {
    let seed = std::env::var("HENCE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").subsec_nanos().into()
    });
    eprintln!("{level:?}: {kills} kills with HENCE_SEED={seed}");
    let mut chance = Chance(seed);
    let site = Site::new("kills", level);
    units(&site);
    let mut seen = Vec::new();
    let mut was_running = false;
    for round in 0..kills {
        let alive: Vec<(u32, u64)> =
            site.marked().into_iter().filter_map(|pid| Some((pid, start_ticks(pid)?))).collect();
        let hence = site.start(&["--quiet"]);
        let pid = hence.pid();
        std::thread::sleep(Duration::from_millis(chance.below(300)));
        // Seen by a reader while hence runs: from here on it must stay.
        if let Ok(reader) = Reader::open(&site.ledger()) {
            seen.extend(reader.records().flatten().map(|r| r.id.0));
        }
        hence.kill();
        let records = match Reader::open(&site.ledger()) {
            Ok(_) => unbroken(&site, &mut seen, round),
            Err(_) if seen.is_empty() => continue,
            Err(error) => panic!("round {round}: {error}"),
        };
        let Some(started) = last_started(&records, pid) else { continue };
        let Fact::Started { after_crash, .. } = records[started].fact else { unreachable!() };
        assert_eq!(after_crash, was_running, "round {round}: {}", site.said());
        was_running = true;
        // Where it came to start units, it was done with looking for survivors.
        let requested = records[started..].iter().any(|r| matches!(r.fact, Fact::Request { .. }));
        if requested {
            all_named(&site, &records, started, &alive, round);
        }
        if round % 8 == 7 {
            site.kill_marked();
        }
    }
    // The last one runs long enough to say everything, and ends in order.
    let alive: Vec<(u32, u64)> =
        site.marked().into_iter().filter_map(|pid| Some((pid, start_ticks(pid)?))).collect();
    let hence = site.start(&["--quiet"]);
    let pid = hence.pid();
    until("units that start", || {
        let records = site.records();
        let started = last_started(&records, pid)?;
        records[started..].iter().any(|r| matches!(r.fact, Fact::Request { .. })).then_some(())
    });
    let records = unbroken(&site, &mut seen, kills);
    all_named(&site, &records, last_started(&records, pid).expect("a start"), &alive, kills);
    hence.interrupt();
    unbroken(&site, &mut seen, kills + 1);
    let verify = site.ask(&["verify"]);
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

fn kills() -> u64 {
    std::env::var("HENCE_KILLS").ok().and_then(|k| k.parse().ok()).unwrap_or(30)
}

#[test]
fn killed_with_control_groups() {
    killed_again_and_again(Level::Best, kills());
}

#[test]
fn killed_without_control_groups() {
    let level = *levels().last().expect("a level");
    killed_again_and_again(level, kills());
}

/// A unit's processes that this run says were left behind or are taken up.
fn named_by(site: &Site, pid: u32, unit: &str) -> Option<Vec<u32>> {
    let records = site.records_so_far();
    let from = last_started(&records, pid)?;
    let of_unit = records[from..].iter().filter(|r| r.unit.as_deref() == Some(unit));
    let mut found = Vec::new();
    for record in of_unit {
        if let Fact::LeftBehind { processes, .. } | Fact::TakenUp { processes, .. } = &record.fact {
            found.extend(processes.iter().map(|p| p.pid));
        }
    }
    (!found.is_empty()).then_some(found)
}

/// What cleared its environment is known by what is on record of it, however many hences were killed since.
#[test]
fn a_survivor_without_environment() {
    for level in levels() {
        let site = Site::new("bare", level);
        site.unit("bare.service", "[Service]\nExecStart=/usr/bin/env -i /bin/sleep 1000 MARK\n");
        let first = site.start(&["--quiet", "--stay"]);
        let bare = until("a process", || {
            let environment = |pid: &u32| std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            site.marked().into_iter().find(|pid| start_ticks(*pid).is_some() && environment(pid).is_empty())
        });
        site.recorded("its start", |r| matches!(r.fact, Fact::ProcessStarted { .. }).then_some(()));
        first.kill();
        for _ in 0..3 {
            // It would start another one; what is looked at is the one that is there.
            let next = site.start(&["--quiet", "--stay"]);
            let named = until("its name", || named_by(&site, next.pid(), "bare.service"));
            assert!(named.contains(&bare), "{level:?}: {named:?}\n{}", site.said());
            next.kill();
        }
    }
}

/// Where the ledger is lost, a process is still known to be an earlier hence's, and it is said.
#[test]
fn a_survivor_that_the_ledger_knows_nothing_of() {
    let site = Site::new("unknown", *levels().last().expect("a level"));
    site.unit("one.service", "[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    let first = site.start(&["--quiet", "--stay"]);
    site.recorded("a start", |r| matches!(r.fact, Fact::ProcessStarted { .. }).then_some(()));
    let survivor = until("a process", || site.marked().first().copied());
    first.kill();
    // Its recorder may still write.
    until("the end of its recorder", || {
        let recorder = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&format!("recorder\0{}", site.path("ledger")))
        };
        let mut recorders = hence_host::processes().into_iter().filter(recorder).peekable();
        recorders.peek().is_none().then_some(()).or_else(|| {
            recorders.for_each(|pid| crate::rig::send(pid, rustix::process::Signal::KILL));
            None
        })
    });
    std::fs::remove_dir_all(site.ledger().join("segments")).expect("segments");
    std::fs::remove_file(site.ledger().join("ring")).expect("a ring");
    let next = site.start(&["--quiet", "--stay"]);
    let said = until("a word of it", || Some(site.read("err")).filter(|e| e.contains("does not say")));
    assert!(said.contains(&format!("process {survivor} (/bin/sleep 1000")), "{said}");
    next.kill();
}
