//! What a line costs in the journal: 1,000,000 lines of 100 bytes with the fields of a service, from one
//! stream and from 50, through the writer alone. `journal_cost [FOLDER [LINES [STREAMS BATCH]]]`; the folder
//! is filled.

use hence_host::journal::{Bounds, Fields, Journal, JournalOptions, Place};
use hence_ledger::Stamp;
use rustix::time::{ClockId, clock_gettime};

fn us(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

/// The fields that journald writes for a line of a service's output.
fn service(n: usize) -> Fields {
    let unit = format!("bench-{n}.service");
    let mut fields = Fields::new();
    fields
        .push("_TRANSPORT", "stdout")
        .push("_STREAM_ID", format!("{n:032x}"))
        .push("PRIORITY", "6")
        .push("SYSLOG_FACILITY", "3")
        .push("SYSLOG_IDENTIFIER", format!("bench-{n}"))
        .push("_PID", (1000 + n).to_string())
        .push("_UID", "0")
        .push("_GID", "0")
        .push("_COMM", "bench")
        .push("_EXE", "/usr/bin/bench")
        .push("_CMDLINE", format!("/usr/bin/bench --number {n}"))
        .push("_CAP_EFFECTIVE", "1ffffffffff")
        .push("_SELINUX_CONTEXT", "unconfined\n")
        .push("_SYSTEMD_CGROUP", format!("/system.slice/{unit}"))
        .push("_SYSTEMD_UNIT", &unit)
        .push("_SYSTEMD_SLICE", "system.slice")
        .push("_SYSTEMD_INVOCATION_ID", format!("{n:032x}"))
        .push("_BOOT_ID", format!("{:032x}", 7))
        .push("_MACHINE_ID", format!("{:032x}", 8))
        .push("_HOSTNAME", "vm")
        .push("_RUNTIME_SCOPE", "system");
    fields
}

fn run(folder: &std::path::Path, lines: usize, streams: usize, batch: usize) {
    let _ = std::fs::remove_dir_all(folder);
    let mut journal = Journal::new(JournalOptions {
        bounds: Bounds { max_use: Some(2 << 30), keep_free: Some(0), ..Bounds::default() },
        ..JournalOptions::new(Place::Folder(folder.to_owned()))
    });
    let mut fields: Vec<Fields> = (0..streams).map(service).collect();
    let mut message = format!("MESSAGE={}", "x".repeat(100)).into_bytes();
    let (wall, cpu) = (us(ClockId::Monotonic), us(ClockId::ProcessCPUTime));
    for n in 0..lines {
        // 100 bytes, none like another.
        let number = format!("{n:020}");
        message[8..28].copy_from_slice(number.as_bytes());
        let at = Stamp { realtime_us: us(ClockId::Realtime), monotonic_us: us(ClockId::Monotonic) };
        journal.append(&mut fields[n / 8 % streams], &[&message], at);
        if n % batch == batch - 1 {
            journal.commit();
        }
    }
    journal.close();
    let (wall, cpu) = (us(ClockId::Monotonic) - wall, us(ClockId::ProcessCPUTime) - cpu);
    assert!(journal.take_lost().is_none(), "lines were lost");
    let (mut bytes, mut files) = (0, 0);
    for entry in std::fs::read_dir(folder).expect("the folder").flatten() {
        bytes += entry.metadata().expect("a file").len();
        files += 1;
    }
    println!(
        "{lines} lines of {streams:>2} streams, {batch:>4} a commit: {:>7.0} lines/s, {:.2} us CPU and {} \
         bytes a line, {files} files",
        lines as f64 * 1e6 / wall as f64,
        cpu as f64 / lines as f64,
        bytes / lines as u64,
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("hence-journal-cost"), Into::into);
    let mut number = || arguments.next().and_then(|n| n.parse::<usize>().ok());
    let lines = number().unwrap_or(1_000_000);
    if let Some(streams) = number() {
        run(&folder, lines, streams.max(1), number().unwrap_or(600).max(1));
        let _ = std::fs::remove_dir_all(&folder);
        return;
    }
    for (streams, batch) in [(1, 600), (50, 600), (1, 50), (50, 50)] {
        run(&folder, lines, streams, batch);
    }
    run(&folder, lines.min(20_000), 1, 1);
    let _ = std::fs::remove_dir_all(&folder);
}
