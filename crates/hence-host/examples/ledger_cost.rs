//! Prints what the ledger's storage costs: the owner's time per record in batches of 1, 10 and 100, the
//! recorder's CPU time per record, and its memory with 1,000 units' pipes while idle. Measures nothing else.
//!
//! `cargo run --release -p hence-host --example ledger_cost`
use hence_host::store::{RecorderCommand, RecorderLink, RecorderOptions, Ring, RingOptions, RingPlace};
use hence_ledger::*;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

fn record(id: u64) -> Record {
    Record {
        id: RecordId(id),
        at: Stamp { realtime_us: 1_763_826_408_000_000 + id, monotonic_us: 9_000_000 + id },
        unit: Some(Text::from("aws-otel-collector.service")),
        invocation: Some(Invocation([7; 16])),
        causes: vec![Cause {
            record: RecordId(id - 1),
            rule: Some(Rule {
                directive: "Restart=always".into(),
                file: Some("/etc/systemd/system/aws-otel-collector.service".into()),
                line: 12,
            }),
        }],
        certainty: Certainty::Observed,
        fact: Fact::StateChanged {
            from_active: ActiveState::Active,
            from: SubState::Running,
            to_active: ActiveState::Activating,
            to: SubState::AutoRestart,
            result: UnitResult::ExitCode,
        },
    }
}

fn now_us() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

/// User and system time of a process in clock ticks, and voluntary switches: the times it was woken.
fn used(pid: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("voluntary_ctxt")).unwrap();
    (ticks, line.split_whitespace().last().unwrap().parse().unwrap())
}

fn private_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let of = |name: &str| -> u64 {
        let line = rollup.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    of("Private_Clean:") + of("Private_Dirty:")
}

fn drain(ring: &mut Ring, link: &mut RecorderLink) {
    while ring.has_news() {
        std::thread::sleep(Duration::from_millis(1));
        link.ready(ring, now_us());
    }
}

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|a| a == "recorder") {
        let ledger = arguments.next().unwrap();
        let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let options = RecorderOptions::new(|old, _, _| old);
        hence_host::store::recorder_main(Path::new(&ledger), socket, options);
        return;
    }
    let folder = std::env::temp_dir().join(format!("hence-ledger-cost-{}", std::process::id()));
    let options = RingOptions { bytes: 32 << 20, place: RingPlace::Ledger };
    let mut ring = Ring::open(&folder, &options).unwrap();
    let command = RecorderCommand {
        program: std::env::current_exe().unwrap(),
        arguments: vec!["recorder".into(), folder.clone().into()],
        environment: Vec::new(),
    };
    let mut link = RecorderLink::start(command, now_us()).unwrap();
    let pid = link.pid().unwrap();
    drain(&mut ring, &mut link);
    std::thread::sleep(Duration::from_millis(200));
    println!("recorder idle after its start: {} KiB private", private_kib(pid));
    let mut next = 1;
    for batch in [1, 10, 100] {
        let mut best = f64::MAX;
        for _ in 0..5 {
            let records: Vec<Vec<Record>> = (0..20_000 / batch)
                .map(|b| (0..batch).map(|n| record(next + b * batch + n)).collect())
                .collect();
            next += 20_000;
            let start = Instant::now();
            for records in &records {
                ring.append(records);
            }
            best = best.min(start.elapsed().as_nanos() as f64 / 20_000.0);
            link.appended(&mut ring);
            drain(&mut ring, &mut link);
        }
        println!("append, batch of {batch:>3}: {best:>6.0} ns per record (best of 5 x 20,000)");
    }
    let before = used(pid);
    let first = next;
    for _ in 0..20 {
        for _ in 0..200 {
            ring.append(&(next..next + 100).map(record).collect::<Vec<_>>());
            next += 100;
        }
        link.appended(&mut ring);
        drain(&mut ring, &mut link);
    }
    let after = used(pid);
    let ns = (after.0 - before.0) * 10_000_000 / (next - first);
    println!("recorder: {ns} ns CPU per record ({} records), lost {}", next - first, ring.lost());
    let mut writers = Vec::new();
    for n in 0..1000 {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let unit = Text::from(format!("service-number-{n}.service"));
            link.send_stream(read, &unit, Invocation([n as u8; 16]), stream, 1000 + n);
            link.ready(&mut ring, now_us());
            rustix::io::write(&write, b"a line of output that a service writes as it starts\n").unwrap();
            writers.push(write);
        }
    }
    while link.wants_write() {
        std::thread::sleep(Duration::from_millis(1));
        link.ready(&mut ring, now_us());
    }
    std::thread::sleep(Duration::from_secs(1));
    let before = used(pid);
    std::thread::sleep(Duration::from_secs(3));
    let after = used(pid);
    println!(
        "recorder idle with 2,000 pipes: {} KiB private, {} wakeups in 3 s",
        private_kib(pid),
        after.1 - before.1
    );
    drop((link, writers, ring));
    std::thread::sleep(Duration::from_millis(300));
    let _ = std::fs::remove_dir_all(&folder);
}
