//! Files that are written here are read by the stock journalctl.

use super::*;
use hence_ledger::Stamp;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("hence-journal-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
        max_use: Some(64 << 20),
        keep_free: Some(0),
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
