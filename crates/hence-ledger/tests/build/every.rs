//! A fact of every kind with chosen-at-random fields.

use super::chance::Chance;
use hence_ledger::*;
use hence_unit::{DependencyKind, JobMode};

/// The tags of the kinds that `fact` knows.
pub const TAGS: [u32; 48] = {
    let mut tags = [0; 48];
    let mut at = 0;
    while at < tags.len() {
        tags[at] = at as u32 + 1;
        at += 1;
    }
    tags
};

pub fn text(c: &mut Chance) -> Text {
    c.string().into()
}

pub fn stamp(c: &mut Chance) -> Stamp {
    Stamp { realtime_us: c.number(), monotonic_us: c.number() }
}

pub fn invocation(c: &mut Chance) -> Invocation {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&c.next().to_le_bytes());
    bytes[8..].copy_from_slice(&c.next().to_le_bytes());
    Invocation(bytes)
}

pub fn rule(c: &mut Chance) -> Rule {
    Rule { directive: text(c), file: c.maybe(text), line: c.number() as u32 }
}

fn exit(c: &mut Chance) -> Exit {
    Exit { kind: c.pick(ExitKind::ALL), status: c.number() as i32 }
}

fn version(c: &mut Chance) -> Version {
    Version {
        device: c.number(),
        inode: c.number(),
        size: c.number(),
        modified_ns: c.number() as i64,
        changed_ns: -(c.number() as i64 >> 1),
    }
}

fn file(c: &mut Chance) -> FileIdentity {
    const ROLES: [FileRole; 5] = [
        FileRole::UnitFile,
        FileRole::Executable,
        FileRole::Interpreter,
        FileRole::Environment,
        FileRole::Argument,
    ];
    FileIdentity { path: text(c), role: c.pick(&ROLES), version: c.maybe(version) }
}

fn left_over(c: &mut Chance) -> LeftOver {
    LeftOver {
        pid: c.number() as u32,
        start_ticks: c.number(),
        command: text(c),
        bytes: c.maybe(Chance::number),
    }
}

fn client(c: &mut Chance) -> Client {
    Client {
        pid: c.number() as u32,
        uid: c.number() as u32,
        command: text(c),
        unit: c.maybe(text),
        ..Client::default()
    }
}

/// A fact of the kind with this tag. Of the words only those that there were when the golden bytes were made:
/// the others would change which are chosen.
pub fn fact(tag: u32, c: &mut Chance) -> Fact {
    match tag {
        1..=17 => earlier(tag, c),
        _ => later(tag, c),
    }
}

fn earlier(tag: u32, c: &mut Chance) -> Fact {
    match tag {
        1 => Fact::Started {
            version: text(c),
            pid: c.number() as u32,
            boot: invocation(c),
            tracking: c.pick(Tracking::ALL),
            cgroup: text(c),
            command: text(c),
            after_crash: c.below(2) == 0,
        },
        2 => Fact::Ended { status: c.next() as u8 },
        3 => Fact::Request {
            verb: c.pick(&Verb::ALL[..15]),
            mode: c.pick(JobMode::WORDS).1,
            client: client(c),
        },
        4 => Fact::Refused { error: text(c), message: text(c) },
        5 => Fact::ProcessExited {
            pid: c.number() as u32,
            role: c.pick(&ProcessRole::ALL[..10]),
            exit: exit(c),
            cpu_us: c.number(),
            peak_bytes: c.number(),
        },
        6 => Fact::DeadlineReached { deadline: c.pick(&DeadlineKind::ALL[..14]), after_us: c.number() },
        7 => Fact::Traffic { listen: text(c), peer: c.maybe(text) },
        8 => Fact::OomKill { kills: c.number() },
        9 => Fact::ManagerSignal { signal: c.next() as u8, pid: c.number() as u32, uid: c.number() as u32 },
        10 => Fact::ClockJump { by_us: c.number() as i64 },
        11 => Fact::Unknown { ruled_out: text(c) },
        12 => Fact::Loaded { load: text(c), files: c.list(file), diagnostics: c.list(text) },
        13 => Fact::JobQueued { job: c.number() as u32, job_type: c.pick(JobType::ALL) },
        14 => Fact::JobMerged { job: c.number() as u32, job_type: c.pick(JobType::ALL) },
        15 => Fact::JobFinished {
            job: c.number() as u32,
            job_type: c.pick(JobType::ALL),
            result: c.pick(JobResult::ALL),
        },
        16 => Fact::JobDropped { job_type: c.pick(JobType::ALL), reason: text(c) },
        17 => Fact::StateChanged {
            from_active: c.pick(ActiveState::ALL),
            from: c.pick(&SubState::ALL[..29]),
            to_active: c.pick(ActiveState::ALL),
            to: c.pick(&SubState::ALL[..29]),
            result: c.pick(&UnitResult::ALL[..14]),
        },
        _ => unreachable!("no fact has the tag {tag}"),
    }
}

fn later(tag: u32, c: &mut Chance) -> Fact {
    match tag {
        18 => Fact::Starting { role: c.pick(&ProcessRole::ALL[..10]), command: text(c) },
        19 => Fact::ProcessStarted {
            pid: c.number() as u32,
            start_ticks: c.number(),
            role: c.pick(&ProcessRole::ALL[..10]),
        },
        20 => Fact::SpawnFailed {
            role: c.pick(&ProcessRole::ALL[..10]),
            step: c.pick(&SpawnStep::ALL[..12]),
            errno: c.number() as i32,
            subject: text(c),
        },
        21 => Fact::Inputs { files: c.list(file) },
        22 => Fact::Digest {
            path: text(c),
            version: version(c),
            sha256: c.maybe(|c| core::array::from_fn(|_| c.next() as u8)),
            package: c.maybe(text),
        },
        23 => Fact::SignalSent {
            signal: c.next() as u8,
            reason: c.pick(&SignalReason::ALL[..6]),
            main: c.below(2) == 0,
            control: c.below(2) == 0,
            others: c.number() as u32,
        },
        24 => Fact::RestartScheduled {
            reason: c.pick(RestartReason::ALL),
            delay_us: c.number(),
            restarts: c.number() as u32,
        },
        25 => Fact::RestartRefused { reason: c.pick(RestartReason::ALL) },
        26 => Fact::StartLimitHit { burst: c.number() as u32, interval_us: c.number() },
        27 => Fact::ConditionFailed { condition: text(c), assert: c.below(2) == 0 },
        28 => Fact::Notified { message: text(c), pid: c.number() as u32 },
        29 => Fact::LastWords { stream: c.pick(Stream::ALL), text: c.string() },
        30 => Fact::LeftBehind {
            processes: c.list(left_over),
            total: c.number() as u32,
            allowed: c.below(2) == 0,
        },
        31 => Fact::LeftOverGone { pid: c.number() as u32, start_ticks: c.number(), exit: c.maybe(exit) },
        32 => Fact::Retroactive { kind: c.pick(DependencyKind::ALL), other: text(c) },
        33 => Fact::Gap { lost: c.number(), reason: c.pick(GapReason::ALL) },
        34 => Fact::Tally {
            what: text(c),
            times: c.number(),
            first: stamp(c),
            last: stamp(c),
            rule: c.maybe(rule),
            chain: c.list(text),
            left_behind: c.number(),
        },
        35 => Fact::UnitFileChanged { path: text(c), target: c.maybe(text) },
        36 => Fact::BusName { name: text(c), owned: c.below(2) == 0 },
        37 => Fact::Reexecuted { version: text(c), units: c.number() as u32, unread: c.list(text) },
        38 => Fact::TakenUp {
            main: c.maybe(|c| c.number() as u32),
            processes: c.list(left_over),
            evidence: text(c),
        },
        39 => Fact::Device { path: text(c), there: c.below(2) == 0 },
        40 => Fact::StopAsked { controller: text(c) },
        41 => Fact::Signalled { signal: c.below(64) as u8, pid: c.below(99_999) as u32, sender: client(c) },
        42 => Fact::Away { what: c.pick(Absence::ALL), from: stamp(c), to: stamp(c), how: text(c) },
        43 => Fact::Basis { text: text(c) },
        44 => Fact::DescriptorsKept {
            name: text(c),
            kept: c.number() as u32,
            refused: c.number() as u32,
            total: c.number() as u32,
            pid: c.number() as u32,
        },
        45 => Fact::DescriptorsDropped {
            name: text(c),
            dropped: c.number() as u32,
            total: c.number() as u32,
            pid: c.number() as u32,
            hung_up: c.below(2) == 0,
        },
        46 => Fact::Deprived {
            what: text(c),
            missing: text(c),
            errno: c.below(133) as i32,
            without: c.below(2) == 0,
        },
        47 => Fact::TimeZoneChanged { zone: text(c) },
        48 => {
            Fact::Failed { operation: c.pick(Operation::ALL), errno: c.below(133) as i32, subject: text(c) }
        }
        _ => unreachable!("no fact has the tag {tag}"),
    }
}

/// A record around a fact of the kind with this tag.
pub fn record(tag: u32, c: &mut Chance) -> Record {
    let id = c.number();
    Record {
        id: RecordId(id),
        at: stamp(c),
        unit: c.maybe(text),
        invocation: c.maybe(invocation),
        causes: c.list(|c| {
            let near = c.number() & 0xff;
            let record = if c.below(4) == 0 { c.next() } else { id.wrapping_sub(near) };
            Cause { record: RecordId(record), rule: c.maybe(rule) }
        }),
        certainty: if c.below(4) == 0 { Certainty::Inferred } else { Certainty::Observed },
        fact: fact(tag, c),
    }
}
