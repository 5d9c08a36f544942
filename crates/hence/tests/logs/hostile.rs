//! Who logs too much, garbage or lies, and a disk that stands still: others are still heard, nobody else
//! waits, and memory has a bound.

use crate::machine::{Machine, peak_kib, until};
use std::time::{Duration, Instant};

/// What a recorder in a flood may have in memory, in KiB: in a debug build, with all of its program.
const MOST_KIB: u64 = 64 << 10;

#[test]
fn garbage_and_lies() {
    let evil = "[Service]\nExecStart=/bin/bash -c 'head -c 300000 /dev/urandom; echo; \
        head -c 3000000 /dev/zero | tr \"\\\\0\" x; echo; \
        printf \"trick\\\\n_PID=1\\\\n_SYSTEMD_UNIT=good.service\\\\n\"; \
        HENCE_LOGS_CHILD=forger SELF --exact fields::child_native >/dev/null 2>&1; \
        head -c 100000 /dev/urandom | systemd-cat; echo over'\nLogRateLimitIntervalSec=0\n";
    let good =
        "[Service]\nExecStart=/bin/sh -c 'for n in 1 2 3 4 5 6 7 8 9; do echo good $n; sleep 0.1; done'\n";
    let units = [("evil.service", evil), ("good.service", good)];
    let Some(machine) = Machine::boot("garbage", &units, "") else { return };
    machine.text("systemctl start --no-block evil.service good.service");
    machine.journal("-u evil -o cat", |text| text.ends_with("over\n") || text.contains("\nover\n"));
    machine.journal("-u good -o cat", |text| text.contains("good 9"));
    let good = machine.text("journalctl -q -o cat _SYSTEMD_UNIT=good.service _TRANSPORT=stdout");
    let expected: String = (1..10).map(|n| format!("good {n}\n")).collect();
    assert_eq!(good, expected, "nobody speaks for others");
    assert_eq!(machine.text("journalctl -q -o cat _UID=4711 + _TRANSPORT=kernel + _PID=666"), "");
    let forged = machine.text("journalctl -q -o json MESSAGE=forged");
    assert!(forged.contains("\"_SYSTEMD_UNIT\":\"evil.service\""), "{forged}");
    assert!(!forged.contains("lower") && !forged.contains("WITH SPACE"), "{forged}");
    // A value with its length may hold anything; what is in it is no field.
    assert!(forged.contains(r#""SYSLOG_IDENTIFIER":"one\nMESSAGE=two\n_PID=66""#), "{forged}");
    let tricks = machine.text("journalctl -q -o cat -u evil MESSAGE=_PID=1 + MESSAGE=trick");
    assert_eq!(tricks, "trick\n_PID=1\n", "a line is a line");
    let long = machine.text("journalctl -q -o json -u evil _LINE_BREAK=line-max | wc -l");
    assert!(long.trim().parse::<u32>().unwrap() >= 61, "{long}");
    assert!(peak_kib(machine.recorder()) < MOST_KIB);
    machine.text("systemctl stop evil.service good.service");
    let verified = machine.call("sleep 2; journalctl --verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn a_flood_of_one_keeps_nobody_waiting() {
    let flood =
        "[Service]\nLogRateLimitIntervalSec=0\nExecStart=/usr/bin/yes a line of one that never ends\n";
    let limited =
        "[Service]\nLogRateLimitBurst=50\nExecStart=/bin/sh -c 'yes too much | head -n 100000; sleep 100'\n";
    let good = "[Service]\n\
        ExecStart=/bin/sh -c 'for n in $(seq 40); do echo good $n; sleep 0.05; done; sleep 100'\n";
    let units = [("flood.service", flood), ("limited.service", limited), ("good.service", good)];
    let Some(machine) = Machine::boot("flood", &units, "") else { return };
    machine.text("systemctl start flood.service limited.service good.service");
    let begun = Instant::now();
    let count = |unit: &str| {
        let command = format!("journalctl -q -o cat _SYSTEMD_UNIT={unit} _TRANSPORT=stdout");
        machine.text(&command)
    };
    let text =
        until("the quiet one's lines", || Some(count("good.service")).filter(|t| t.contains("good 40")));
    let expected: String = (1..41).map(|n| format!("good {n}\n")).collect();
    assert_eq!(text, expected);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let said = machine.text("journalctl -q -u flood -o cat -n 1");
    assert!(said.contains("never ends"), "{said}");
    let asked = Instant::now();
    assert_eq!(machine.text("systemctl is-active good.service").trim(), "active");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    machine.text("systemctl stop flood.service");
    let limited = count("limited.service").lines().count();
    assert!((50..=400).contains(&limited), "{limited}");
    assert!(peak_kib(machine.recorder()) < MOST_KIB, "{}", peak_kib(machine.recorder()));
}

/// The file system of the journal is frozen in a flood: services may wait for their pipes, but hence answers,
/// starts and stops; memory stays; and when it goes on, each line comes once and in order.
#[test]
fn a_disk_that_stands_still() {
    let loud = "[Service]\nLogRateLimitIntervalSec=0\n\
        ExecStart=/bin/sh -c 'seq -f \"number %%.0f of %i\" 30000; sleep 1000'\n";
    let calm = "[Service]\nExecStart=/bin/sleep 1000\n";
    let roomy = "[Journal]\nSystemMaxUse=480M\nSystemKeepFree=1M\n";
    let units = [("loud@.service", loud), ("calm.service", calm), ("journald.conf", roomy)];
    let disk = "truncate -s 512M \"$base/disk\"; mkfs.ext4 -q -F \"$base/disk\" && \
                mount -o loop \"$base/disk\" /var/log/journal || touch \"$base/none\"";
    let Some(mut machine) = Machine::boot("still", &units, disk) else { return };
    if machine.folder.join("none").exists() {
        eprintln!("a_disk_that_stands_still: skipped: no file system in a file can be mounted");
        return;
    }
    machine.at_end = "fsfreeze -u /var/log/journal";
    machine.journal("-u rig.target -o cat", |text| !text.is_empty());
    let recorder = machine.recorder();
    machine.text("systemctl start loud@0.service");
    assert!(machine.call("fsfreeze -f /var/log/journal").status.success());
    let before = (peak_kib(machine.first), peak_kib(recorder));
    let all: Vec<String> = (1..9).map(|n| format!("loud@{n}.service")).collect();
    machine.text(&format!("systemctl start --no-block {}", all.join(" ")));
    std::thread::sleep(Duration::from_secs(2));
    for _ in 0..5 {
        let asked = Instant::now();
        machine.text("systemctl start calm.service");
        assert_eq!(machine.text("systemctl is-active calm.service").trim(), "active");
        machine.text("systemctl stop calm.service");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    }
    let after = (peak_kib(machine.first), peak_kib(recorder));
    assert!(after.0 < before.0 + (16 << 10) && after.1 < MOST_KIB, "{before:?} {after:?}");
    assert!(machine.call("fsfreeze -u /var/log/journal").status.success());
    for nth in 0..9 {
        let command = format!("journalctl -q -o cat _SYSTEMD_UNIT=loud@{nth}.service _TRANSPORT=stdout");
        let text =
            until("its lines", || Some(machine.text(&command)).filter(|t| t.contains("number 30000 of")));
        let expected = |(at, line): (usize, &str)| line == format!("number {} of {nth}", at + 1);
        assert!(text.lines().enumerate().all(expected), "loud@{nth}");
        assert_eq!(text.lines().count(), 30_000, "loud@{nth}");
    }
    assert_eq!(machine.recorder(), recorder, "the same all the time");
}
