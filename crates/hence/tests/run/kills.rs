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
        if let Fact::LeftBehind { processes, .. } = &record.fact {
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
