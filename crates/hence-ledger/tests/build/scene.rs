//! Records in the order in which the engine makes them, with less writing.

use hence_ledger::*;
use hence_unit::JobMode;

pub const BOOT_US: u64 = 1_765_324_800_000_000; // 2025-12-10T00:00:00Z

/// A ledger in the making.
#[derive(Clone)]
pub struct Scene {
    pub records: Vec<Record>,
    pub now_us: u64,
    pub runs: u32,
    pub jobs: u32,
}

pub fn rule(directive: &str, file: &str, line: u32) -> Rule {
    Rule { directive: directive.into(), file: Some(file.into()), line }
}

pub fn by(record: RecordId) -> Vec<Cause> {
    vec![Cause { record, rule: None }]
}

pub fn by_rule(record: RecordId, rule: Rule) -> Vec<Cause> {
    vec![Cause { record, rule: Some(rule) }]
}

pub fn stamp(us: u64) -> Stamp {
    Stamp { realtime_us: BOOT_US + us, monotonic_us: us }
}

/// A file of this size, written at this second of the epoch.
pub fn version(inode: u64, size: u64, modified_s: i64) -> Version {
    Version {
        device: 2049,
        inode,
        size,
        modified_ns: modified_s * 1_000_000_000,
        changed_ns: modified_s * 1_000_000_000,
    }
}

pub fn client(pid: u32, command: &str) -> Client {
    Client { pid, uid: 0, command: command.into(), unit: None, ..Client::default() }
}

use ActiveState::*;

impl Scene {
    /// A fresh boot.
    pub fn new() -> Scene {
        let mut scene = Scene { records: Vec::new(), now_us: 0, runs: 0, jobs: 0 };
        scene.boot(1, 1, false);
        scene
    }

    pub fn boot(&mut self, boot: u8, pid: u32, after_crash: bool) -> RecordId {
        self.add(
            None,
            Vec::new(),
            Fact::Started {
                version: "0.1.0".into(),
                pid,
                boot: Invocation([boot; 16]),
                tracking: Tracking::Cgroup,
                cgroup: "/".into(),
                command: "hence init".into(),
                after_crash,
            },
        )
    }

    pub fn wait(&mut self, ms: u64) -> &mut Scene {
        self.now_us += ms * 1000;
        self
    }

    pub fn now(&self) -> Stamp {
        stamp(self.now_us)
    }

    pub fn index(&self) -> index::Index {
        index::Index::new(self.records.iter().cloned())
    }

    pub fn add(&mut self, unit: Option<&str>, causes: Vec<Cause>, fact: Fact) -> RecordId {
        self.add_to(unit, None, causes, fact)
    }

    pub fn add_to(
        &mut self,
        unit: Option<&str>,
        run: Option<u32>,
        causes: Vec<Cause>,
        fact: Fact,
    ) -> RecordId {
        self.now_us += 100;
        let id = RecordId(BOOT_US + self.records.len() as u64);
        let invocation = run.map(|n| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Invocation(bytes)
        });
        let (at, certainty) = (self.now(), Certainty::Observed);
        self.records.push(Record { id, at, unit: unit.map(Text::from), invocation, causes, certainty, fact });
        id
    }

    pub fn state(
        &mut self,
        unit: &str,
        run: u32,
        causes: Vec<Cause>,
        change: (ActiveState, SubState, ActiveState, SubState, UnitResult),
    ) -> RecordId {
        let (from_active, from, to_active, to, result) = change;
        let fact = Fact::StateChanged { from_active, from, to_active, to, result };
        self.add_to(Some(unit), Some(run), causes, fact)
    }

    pub fn request(&mut self, unit: &str, verb: Verb, client: Client) -> RecordId {
        self.add(Some(unit), Vec::new(), Fact::Request { verb, mode: JobMode::Replace, client })
    }

    pub fn job(&mut self, unit: &str, job_type: JobType, causes: Vec<Cause>) -> RecordId {
        self.jobs += 1;
        let job = self.jobs;
        self.add(Some(unit), causes, Fact::JobQueued { job, job_type })
    }

    /// Starts a Type=simple service for a job; the run and the record of being up.
    pub fn start(&mut self, unit: &str, pid: u32, job: RecordId, files: Option<Vec<FileIdentity>>) -> u32 {
        self.runs += 1;
        let run = self.runs;
        let role = ProcessRole::Main;
        let starting = Fact::Starting { role, command: format!("/usr/bin/{unit}").into() };
        let starting = self.add_to(Some(unit), Some(run), by(job), starting);
        let started = Fact::ProcessStarted { pid, start_ticks: u64::from(pid) * 7, role };
        self.add_to(Some(unit), Some(run), by(starting), started);
        if let Some(files) = files {
            self.add_to(Some(unit), Some(run), by(starting), Fact::Inputs { files });
        }
        let change = (Inactive, SubState::Dead, Active, SubState::Running, UnitResult::Success);
        self.state(unit, run, by(job), change);
        run
    }

    /// Stops it for a job, by SIGTERM; the record of being down.
    pub fn stop(&mut self, unit: &str, run: u32, pid: u32, job: RecordId) -> RecordId {
        let change = (Active, SubState::Running, Deactivating, SubState::StopSigterm, UnitResult::Success);
        let stopping = self.state(unit, run, by(job), change);
        let reason = SignalReason::Stop;
        let sent = Fact::SignalSent { signal: 15, reason, main: true, control: false, others: 0 };
        let sent = self.add_to(Some(unit), Some(run), by(stopping), sent);
        let exited = self.exited(unit, run, pid, ExitKind::Killed, 15, by(sent));
        let change = (Deactivating, SubState::StopSigterm, Inactive, SubState::Dead, UnitResult::Success);
        self.state(unit, run, by(exited), change)
    }

    pub fn exited(
        &mut self,
        unit: &str,
        run: u32,
        pid: u32,
        kind: ExitKind,
        status: i32,
        causes: Vec<Cause>,
    ) -> RecordId {
        let exit = Exit { kind, status };
        let role = ProcessRole::Main;
        let fact = Fact::ProcessExited { pid, role, exit, cpu_us: 12_000, peak_bytes: 9 << 20 };
        self.add_to(Some(unit), Some(run), causes, fact)
    }

    /// The main process ends by itself, the unit fails and is scheduled to be restarted: the exit and the
    /// schedule.
    pub fn fail(
        &mut self,
        unit: &str,
        run: u32,
        pid: u32,
        status: i32,
        restart: Option<(Rule, u64)>,
    ) -> (RecordId, RecordId) {
        let exit = self.exited(unit, run, pid, ExitKind::Exited, status, Vec::new());
        let result = if status == 0 { UnitResult::Success } else { UnitResult::ExitCode };
        let down = if status == 0 { (Inactive, SubState::Dead) } else { (Failed, SubState::Failed) };
        let failed = self.state(unit, run, by(exit), (Active, SubState::Running, down.0, down.1, result));
        let Some((rule, delay_us)) = restart else { return (exit, failed) };
        let fact = Fact::RestartScheduled { reason: RestartReason::Policy, delay_us, restarts: self.runs };
        let scheduled = self.add_to(Some(unit), Some(run), by_rule(failed, rule), fact);
        let change = (down.0, down.1, Activating, SubState::AutoRestart, result);
        self.state(unit, run, by(scheduled), change);
        (exit, scheduled)
    }

    pub fn left_behind(&mut self, unit: &str, run: u32, cause: Cause, pid: u32, bytes: u64, total: u32) {
        let command = "/usr/bin/foo".into();
        let processes = vec![LeftOver { pid, start_ticks: u64::from(pid) * 7, command, bytes: Some(bytes) }];
        let fact = Fact::LeftBehind { processes, total, allowed: false };
        self.add_to(Some(unit), Some(run), vec![cause], fact);
    }
}
