//! Journal files that are written here are read by the stock journalctl; kills, torn files and full disks.
//! Where there is no journalctl, what it would say is not looked at.

mod cuts;
mod folder;
mod reader;

use folder::Folder;
use hence_host::journal::{Bounds, Fields, Journal, JournalOptions, Place};
use hence_ledger::Stamp;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn journalctl(folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let run = Command::new("journalctl").arg("-D").arg(folder).args(arguments).env("TZ", "UTC").output();
    let Ok(output) = run else {
        eprintln!("skipped: no journalctl");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn options(folder: &Path, compact: bool) -> JournalOptions {
    JournalOptions {
        bounds: Bounds { max_use: Some(64 << 20), keep_free: Some(0), ..Bounds::default() },
        compact,
        ..JournalOptions::new(Place::Folder(folder.to_owned()))
    }
}

fn stream(unit: &str, pid: u32) -> Fields {
    let mut fields = Fields::new();
    fields.push("_TRANSPORT", "stdout").push("PRIORITY", "6").push("_PID", pid.to_string());
    fields.push("_SYSTEMD_UNIT", unit).push("SYSLOG_IDENTIFIER", unit.split('.').next().unwrap());
    fields
}

fn stamp(n: u64) -> Stamp {
    Stamp { realtime_us: 1_763_826_408_000_000 + n * 1000, monotonic_us: 1_000_000 + n * 1000 }
}

fn verify(folder: &Path) {
    if let Some((good, text)) = journalctl(folder, &["--verify"]) {
        assert!(good && text.contains("PASS"), "{text}");
    }
}

fn count(folder: &Path, arguments: &[&str]) -> Option<usize> {
    let all = [&["-o", "cat", "-q"], arguments].concat();
    journalctl(folder, &all).map(|(good, text)| {
        assert!(good, "{text}");
        text.lines().count()
    })
}

fn fill(journal: &mut Journal, from: u64, lines: u64) {
    let (mut a, mut b) = (stream("a.service", 10), stream("b.service", 11));
    for n in from..from + lines {
        let fields = if n % 3 == 0 { &mut a } else { &mut b };
        let text = if n % 10 == 0 { "MESSAGE=again".into() } else { format!("MESSAGE=line {n}") };
        journal.append(fields, &[text.as_bytes()], stamp(n));
        if n % 7 == 0 {
            journal.commit();
        }
    }
    journal.settle();
}

#[test]
fn journalctl_reads_what_is_written() {
    for compact in [true, false] {
        let folder = Folder::new(if compact { "compact" } else { "regular" });
        let mut journal = Journal::new(options(&folder.0, compact));
        fill(&mut journal, 0, 3000);
        verify(&folder.0);
        assert!(count(&folder.0, &[]).is_none_or(|n| n == 3000));
        assert!(count(&folder.0, &["_SYSTEMD_UNIT=a.service"]).is_none_or(|n| n == 1000));
        assert!(count(&folder.0, &["MESSAGE=again"]).is_none_or(|n| n == 300));
        assert!(count(&folder.0, &["MESSAGE=line 2999"]).is_none_or(|n| n == 1));
        assert!(count(&folder.0, &["-F", "_PID"]).is_none_or(|n| n == 2));
        // Closed and gone on with.
        journal.close();
        let mut journal = Journal::new(options(&folder.0, compact));
        fill(&mut journal, 3000, 3000);
        verify(&folder.0);
        assert!(count(&folder.0, &["_SYSTEMD_UNIT=a.service"]).is_none_or(|n| n == 2000));
        assert!(count(&folder.0, &["MESSAGE=again"]).is_none_or(|n| n == 600));
        journal.close();
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
        verify(&folder.0);
    }
}

/// Between bursts the file is closed in order, so that memory can be given back, and then gone on with.
#[test]
fn a_quiet_while_in_between() {
    let folder = Folder::new("quiet");
    let mut journal = Journal::new(options(&folder.0, true));
    for turn in 0..4 {
        fill(&mut journal, turn * 500, 500);
        journal.shrink();
        journal.shrink();
        verify(&folder.0);
        journal.sync();
        assert!(journal.sync_at_us().is_none());
    }
    assert_eq!(files(&folder.0).len(), 1);
    assert!(count(&folder.0, &["_SYSTEMD_UNIT=a.service"]).is_none_or(|n| n == 667));
    assert!(count(&folder.0, &["MESSAGE=again"]).is_none_or(|n| n == 200));
    // Somebody else went on with the file meanwhile, or took it away: it stays, and another is begun.
    let path = folder.0.join("system.journal");
    std::fs::rename(&path, folder.0.join("system@away.journal")).unwrap();
    fill(&mut journal, 2000, 500);
    journal.close();
    verify(&folder.0);
    assert!(count(&folder.0, &["_SYSTEMD_UNIT=a.service"]).is_none_or(|n| n == 834));
}

/// A small generator, so that a failure comes again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// The lines "line N" of a unit, in journalctl's order.
fn numbers(folder: &Path, arguments: &[&str]) -> Option<Vec<u64>> {
    let (_, text) = journalctl(folder, &[&["-o", "cat", "-q"], arguments].concat())?;
    Some(text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect())
}

#[test]
fn what_journalctl_can_ask() {
    let folder = Folder::new("ask");
    let mut journal = Journal::new(options(&folder.0, true));
    let mut a = stream("a.service", 10);
    a.push("_BOOT_ID", hence_host::journal::hex(&journal.boot_id()));
    let mut b = Fields::new();
    b.push("PRIORITY", "3").push("_SYSTEMD_UNIT", "b.service").push("_PID", "11");
    for n in 0..100 {
        journal.append(&mut a, &[format!("MESSAGE=line {n}").as_bytes()], stamp(n));
    }
    journal.append(&mut b, &[b"MESSAGE=two\nlines", b"BINARY=\x00\x01\xff"], stamp(2000));
    journal.append(&mut b, &[b"MESSAGE=same", b"MESSAGE=same", b"N=1"], stamp(2001));
    journal.append(&mut b, &[b"MESSAGE=same", b"MESSAGE=same", b"MESSAGE=other"], stamp(2002));
    journal.close();
    verify(&folder.0);
    assert!(count(&folder.0, &["-u", "a.service"]).is_none_or(|n| n == 100));
    assert!(count(&folder.0, &["-p", "err", "MESSAGE=same"]).is_none_or(|n| n == 2));
    assert!(count(&folder.0, &["MESSAGE=other"]).is_none_or(|n| n == 1));
    assert!(count(&folder.0, &["-F", "_SYSTEMD_UNIT"]).is_none_or(|n| n == 2));
    assert!(count(&folder.0, &["-n", "7"]).is_none_or(|n| n == 8));
    assert!(count(&folder.0, &["-b", "-u", "a.service"]).is_none_or(|n| n == 100));
    let since = format!("--since=@{}", 1_763_826_408 + 1);
    assert!(count(&folder.0, &[&since]).is_none_or(|n| n == 4));
    let Some((_, json)) = journalctl(&folder.0, &["-o", "json", "-u", "b.service", "-n", "3"]) else {
        return;
    };
    assert!(json.contains("\"BINARY\":[0,1,255]") && json.contains("two\\nlines"), "{json}");
    let line = json.lines().next().unwrap();
    let cursor = line.split("\"__CURSOR\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(count(&folder.0, &["--after-cursor", cursor]).is_some_and(|n| n == 2));
    assert!(journalctl(&folder.0, &["--list-boots"]).unwrap().0);
}

/// The persistent folder is used as soon as it is there; what was written before stays where it is.
#[test]
fn the_persistent_folder_may_come_later() {
    let folder = Folder::new("places");
    let (persistent, volatile) = (folder.0.join("var"), folder.0.join("run"));
    let place = Place::System { persistent: persistent.clone(), volatile: volatile.clone() };
    let mut journal = Journal::new(JournalOptions { place, ..options(&folder.0, true) });
    let mut a = stream("a.service", 1);
    journal.append(&mut a, &[b"MESSAGE=early"], stamp(0));
    assert!(journal.folder().starts_with(&volatile));
    std::fs::create_dir_all(&persistent).unwrap();
    journal.append(&mut a, &[b"MESSAGE=late"], stamp(20_000));
    journal.close();
    assert!(journal.folder().starts_with(&persistent));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(journal.folder().join("system.journal")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o7777, 0o640);
    assert!(count(&volatile, &["MESSAGE=early"]).is_none_or(|n| n == 1));
    assert!(count(&persistent, &["MESSAGE=late"]).is_none_or(|n| n == 1));
}

#[test]
fn journalctl_follows() {
    let folder = Folder::new("follow");
    let mut journal = Journal::new(options(&folder.0, true));
    let mut a = stream("a.service", 1);
    // It follows this boot only.
    a.push("_BOOT_ID", hence_host::journal::hex(&journal.boot_id()));
    journal.append(&mut a, &[b"MESSAGE=line 0"], stamp(0));
    journal.commit();
    let mut command = Command::new("journalctl");
    command
        .arg("-D")
        .arg(&folder.0)
        .args(["-f", "-q", "-o", "cat", "-u", "a.service"])
        .stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "line 0");
    for n in 1..200 {
        journal.append(&mut a, &[format!("MESSAGE=line {n}").as_bytes()], stamp(n));
        journal.commit();
        assert_eq!(lines.next().unwrap().unwrap(), format!("line {n}"));
    }
    // Over to the next file.
    journal.rotate(stamp(200));
    journal.append(&mut a, &[b"MESSAGE=line 200"], stamp(200));
    journal.commit();
    assert_eq!(lines.next().unwrap().unwrap(), "line 200");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn files_are_rotated_within_bounds() {
    let folder = Folder::new("bounds");
    let bounds =
        Bounds { max_use: Some(4 << 20), max_file: Some(512 << 10), keep_free: Some(0), max_files: None };
    let small = JournalOptions { bounds, ..options(&folder.0, true) };
    let mut journal = Journal::new(small.clone());
    let mut a = stream("a.service", 1);
    for n in 0..60_000 {
        journal.append(&mut a, &[format!("MESSAGE=line {n}").as_bytes()], stamp(n));
        if n % 100 == 0 {
            journal.commit();
        }
    }
    journal.close();
    assert!(journal.take_lost().is_none());
    let bytes: u64 = files(&folder.0).iter().map(|f| std::fs::metadata(f).unwrap().len()).sum();
    assert!(bytes <= 4 << 20 && bytes > 2 << 20, "{bytes}");
    verify(&folder.0);
    if let Some(lines) = numbers(&folder.0, &["-u", "a.service"]) {
        assert_eq!(lines.last(), Some(&59_999));
        assert!(lines.len() > 3000 && lines.windows(2).all(|w| w[0] + 1 == w[1]), "{}", lines.len());
    }
    // As many files as may be.
    let few = JournalOptions { bounds: Bounds { max_files: Some(3), ..bounds }, ..small };
    let mut journal = Journal::new(few);
    for n in 60_000..80_000 {
        journal.append(&mut a, &[format!("MESSAGE=line {n}").as_bytes()], stamp(n));
    }
    journal.close();
    assert_eq!(files(&folder.0).len(), 3);
}

/// MaxFileSec= and MaxRetentionSec=: files end by their age, and are removed by it.
#[test]
fn files_have_an_age() {
    const DAY: u64 = 86_400_000;
    let folder = Folder::new("age");
    let mut wanted = options(&folder.0, true);
    (wanted.max_file_us, wanted.max_retention_us) = (DAY * 1000, 3 * DAY * 1000);
    let mut journal = Journal::new(wanted);
    // Twice a day.
    for n in 0..12 {
        journal.append(
            &mut stream("a.service", 1),
            &[format!("MESSAGE=line {n}").as_bytes()],
            stamp(n * DAY / 2),
        );
        journal.commit();
    }
    journal.close();
    verify(&folder.0);
    let Some(left) = numbers(&folder.0, &[]) else { return };
    assert!(!left.contains(&0) && left.contains(&11), "{left:?}");
    assert!((5..=8).contains(&left.len()), "{left:?}");
    assert!((2..=3).contains(&files(&folder.0).len()), "{:?}", files(&folder.0));
}

const CHILD: &str = "HENCE_TEST_JOURNAL_FOLDER";

/// Writes until it is killed; says what it has published.
#[test]
fn child_writer() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    // Nothing is to be lost to bounds: times are made up, so what is oldest is, too.
    let bounds = Bounds { max_use: Some(4 << 30), keep_free: Some(0), ..Bounds::default() };
    let mut journal = Journal::new(JournalOptions { bounds, ..options(Path::new(&folder), true) });
    let from: u64 = std::env::var("HENCE_TEST_FROM").unwrap().parse().unwrap();
    let mut streams = [stream("a.service", 1), stream("b.service", 2), stream("c.service", 3)];
    let mut chance = Chance(from);
    println!();
    for n in from.. {
        let which = chance.below(3) as usize;
        journal.append(&mut streams[which], &[format!("MESSAGE=line {n}").as_bytes()], stamp(n));
        // Few or many at once: with many, what nobody finds entries by is written later.
        if chance.below(if from.is_multiple_of(2) { 50 } else { 400 }) == 0 {
            journal.commit();
            println!("published {n}");
        }
    }
}

#[test]
fn kills_lose_nothing_that_was_published() {
    let folder = Folder::new("kills");
    // All that was written so far is read after each kill: twice as many take four times as long.
    let kills = std::env::var("HENCE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12).min(25);
    let (mut chance, mut from) = (Chance(5), 0);
    let mut published = Vec::new();
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writer", "--nocapture"])
            .env(CHILD, &folder.0)
            .env("HENCE_TEST_FROM", from.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut last, mut left) = (None, chance.below(200) + 1);
        let number = |line: &str| line.strip_prefix("published ")?.parse::<u64>().ok();
        while left > 0 {
            last = number(&lines.next().unwrap().unwrap()).or(last);
            left -= u64::from(last.is_some());
        }
        child.kill().unwrap();
        // What it said before it was killed counts.
        let last = lines.map_while(Result::ok).filter_map(|l| number(&l)).last().or(last).unwrap();
        child.wait().unwrap();
        published.push((from, last));
        if let Some(all) = numbers(&folder.0, &["-u", "a.service", "-u", "b.service", "-u", "c.service"]) {
            let all: std::collections::BTreeSet<u64> = all.into_iter().collect();
            for (from, last) in &published {
                let missing = (*from..=*last).find(|n| !all.contains(n));
                assert_eq!(missing, None, "kill {kill}: published up to {last}");
            }
        }
        from = last + 1_000_000 + chance.below(2);
    }
    // The next one puts it aside and goes on.
    let bounds = Bounds { max_use: Some(4 << 30), keep_free: Some(0), ..Bounds::default() };
    let mut journal = Journal::new(JournalOptions { bounds, ..options(&folder.0, true) });
    journal.append(&mut stream("a.service", 1), &[b"MESSAGE=at last"], stamp(from));
    journal.close();
    assert!(count(&folder.0, &["MESSAGE=at last"]).is_none_or(|n| n == 1));
    let aside = files(&folder.0).iter().filter(|f| f.to_str().unwrap().ends_with(".journal~")).count();
    assert_eq!(aside, kills as usize);
    // What is said to be damaged was put aside.
    let verdicts = journalctl(&folder.0, &["--verify"]).map(|(_, text)| text).unwrap_or_default();
    let failed: Vec<&str> = verdicts.lines().filter(|line| line.starts_with("FAIL: ")).collect();
    assert!(failed.iter().all(|line| line.contains(".journal~ ")), "{verdicts}");
    assert!(verdicts.is_empty() || verdicts.lines().any(|l| l.ends_with("/system.journal")), "{verdicts}");
}

#[test]
fn torn_and_damaged_files_are_survived() {
    let folder = Folder::new("torn");
    let mut journal = Journal::new(options(&folder.0, true));
    fill(&mut journal, 0, 500);
    journal.close();
    let path = folder.0.join("system.journal");
    let sound = std::fs::read(&path).unwrap();
    let mut chance = Chance(11);
    for turn in 0..200u64 {
        for file in files(&folder.0) {
            std::fs::remove_file(file).unwrap();
        }
        let mut bytes = sound.clone();
        if turn % 2 == 0 {
            bytes.truncate(chance.below(bytes.len() as u64) as usize);
        } else {
            // The tables are mostly empty: damage is to meet what is used as well.
            for _ in 0..20 {
                let at = chance.below(if turn % 4 == 1 { 264 } else { bytes.len() as u64 });
                bytes[at as usize] = chance.below(256) as u8;
                let at = bytes.len() as u64 - 1 - chance.below(100_000);
                bytes[at as usize] = chance.below(256) as u8;
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let mut journal = Journal::new(options(&folder.0, true));
        fill(&mut journal, 1000, 200);
        journal.close();
        // At most the entry that met the damage is lost, and it is counted.
        assert!(journal.take_lost().is_none_or(|(lost, _)| lost <= 2));
        if turn % 20 == 0 {
            let found = journalctl(&folder.0, &["MESSAGE=line 1199"]);
            assert!(found.is_none_or(|(_, text)| text.contains("line 1199")), "{turn}");
        }
    }
}

/// What a small file system holds, and what happens when it holds no more.
#[test]
fn child_full_disk() {
    let Some(folder) = std::env::var_os("HENCE_TEST_FULL") else { return };
    let folder = Path::new(&folder).join("journal");
    let mut journal = Journal::new(JournalOptions {
        bounds: Bounds { keep_free: Some(0), ..Bounds::default() },
        ..options(&folder, true)
    });
    let mut a = stream("a.service", 1);
    let hog = folder.parent().unwrap().join("hog");
    let mut n = 0;
    let mut write = |journal: &mut Journal, lines: u64| {
        for _ in 0..lines {
            journal.append(&mut a, &[format!("MESSAGE=line {n}").as_bytes()], stamp(n * 1000));
            n += 1;
            journal.commit();
        }
    };
    write(&mut journal, 100);
    // Somebody else takes all that is left, to the last byte.
    let mut file = std::fs::File::create(&hog).unwrap();
    while std::io::Write::write_all(&mut file, &[7; 100]).is_ok() {}
    drop(file);
    write(&mut journal, 30_000);
    verify(&folder);
    std::fs::remove_file(&hog).unwrap();
    write(&mut journal, 2000);
    let lost = journal.take_lost().map_or(0, |(lost, _)| lost);
    journal.close();
    verify(&folder);
    if let Some(lines) = numbers(&folder, &["-u", "a.service"]) {
        assert!(lost > 0 && lines.last() == Some(&32_099), "{lost} {:?}", lines.last());
        assert!(lines.len() as u64 + lost >= 100, "{} {lost}", lines.len());
    }
    println!("full disk survived");
}

#[test]
fn a_full_disk_is_no_end() {
    let folder = Folder::new("full");
    std::fs::create_dir_all(&folder.0).unwrap();
    let script = "mount -t tmpfs -o size=4m,mode=700 none \"$HENCE_TEST_FULL\" || exit 77; \
                  exec \"$0\" --exact child_full_disk --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("HENCE_TEST_FULL", &folder.0)
        .output();
    match output {
        Ok(output) if output.status.code() == Some(77) => eprintln!("skipped: no mounts"),
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains("full disk survived"), "{text}");
        }
        Err(_) => eprintln!("skipped: no unshare"),
    }
}
