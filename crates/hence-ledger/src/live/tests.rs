//! Worlds in a few lines, and the verdicts that come of them.

use super::*;
use crate::record::{Cause, Certainty, LeftOver, RecordId};
use crate::word::*;
use std::vec;

const S: u64 = 1_000_000;

struct World {
    live: Live,
    next: u64,
    now: u64,
}

impl World {
    fn new(rules: &str) -> World {
        let (list, said) = AllowList::parse("f", rules);
        assert!(said.is_empty());
        World { live: Live::new(10 * S, Arc::new(list)), next: 1, now: 100 * S }
    }

    fn stamp(&self) -> Stamp {
        Stamp { realtime_us: 1_700_000_000 * S + self.now, monotonic_us: self.now }
    }

    fn record(&mut self, unit: &str, causes: &[u64], fact: Fact) -> u64 {
        let id = self.next;
        self.next += 1;
        let rule = matches!(fact, Fact::LeftBehind { .. }).then(|| Rule {
            directive: "KillMode=process".into(),
            file: Some("/etc/foo.service".into()),
            line: 7,
        });
        let cause = |id: &u64| Cause { record: RecordId(*id), rule: rule.clone() };
        self.live.take(&Record {
            id: RecordId(id),
            at: self.stamp(),
            unit: (!unit.is_empty()).then(|| unit.into()),
            invocation: None,
            causes: causes.iter().map(cause).collect(),
            certainty: Certainty::Observed,
            fact,
        });
        id
    }

    fn state(&mut self, unit: &str, cause: u64, up: bool, failed: bool) -> u64 {
        let (a, d) = ((ActiveState::Active, SubState::Running), (ActiveState::Inactive, SubState::Dead));
        let (from, to) = if up { (d, a) } else { (a, d) };
        let result = if failed { UnitResult::ExitCode } else { UnitResult::Success };
        let fact =
            Fact::StateChanged { from_active: from.0, from: from.1, to_active: to.0, to: to.1, result };
        self.record(unit, &[cause], fact)
    }

    fn exit(&mut self, unit: &str, status: i32) -> u64 {
        let exit = Exit { kind: ExitKind::Exited, status };
        let pid = 4000 + self.next as u32;
        let role = ProcessRole::Main;
        self.record(unit, &[], Fact::ProcessExited { pid, role, exit, cpu_us: 1000, peak_bytes: 0 })
    }

    /// The collector of the incident fails and takes foo along; both come up again.
    fn turn(&mut self, status: i32) {
        let exit = self.exit("collector.service", status);
        let down = self.state("collector.service", exit, false, true);
        let stop = self.record("foo.service", &[down], job(JobType::Stop));
        self.state("foo.service", stop, false, false);
        let reason = RestartReason::Policy;
        let fact = Fact::RestartScheduled { reason, delay_us: 100, restarts: 1 };
        let scheduled = self.record("collector.service", &[down], fact);
        let deadline = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: 100 };
        let reached = self.record("collector.service", &[scheduled], deadline);
        let start = self.record("collector.service", &[reached], job(JobType::Start));
        self.state("collector.service", start, true, false);
        self.state("foo.service", start, true, false);
        self.wait(5 * S);
    }

    fn leave(&mut self, unit: &str, pid: u32, command: &str) {
        let process = LeftOver { pid, start_ticks: 1, command: command.into(), bytes: Some(1 << 20) };
        let fact = Fact::LeftBehind { processes: vec![process], total: 1, allowed: false };
        self.record(unit, &[1], fact);
    }

    fn gone(&mut self, unit: &str, pid: u32) {
        self.record(unit, &[], Fact::LeftOverGone { pid, start_ticks: 1, exit: None });
    }

    fn wait(&mut self, us: u64) {
        self.now += us;
        let now = self.stamp();
        self.live.settle(now);
    }

    fn told(&mut self) -> Vec<Alert> {
        core::iter::from_fn(|| self.live.poll_alert()).collect()
    }

    fn kinds(&mut self) -> Vec<&'static str> {
        self.told().iter().map(|alert| alert.kind.as_str()).collect()
    }
}

fn job(job_type: JobType) -> Fact {
    Fact::JobQueued { job: 1, job_type }
}

#[test]
fn a_loop_is_told_once_with_those_it_takes_along() {
    let mut world = World::new("");
    (0..3).for_each(|_| world.turn(1));
    assert!(world.told().is_empty());
    (0..2000).for_each(|_| world.turn(1));
    let told = world.told();
    assert_eq!(told.len(), 1, "{told:?}");
    let alert = &told[0];
    assert_eq!((alert.kind, &*alert.unit, alert.times), (AlertKind::Loop, "collector.service", 4));
    assert_eq!(alert.period_us, Some(5 * S));
    let root = alert.root.as_ref().expect("a root");
    assert!(root.what.contains("exited with status 1"), "{}", root.what);
    assert_eq!(alert.cpu_us, 4000);
    let now = world.live.loops_now();
    assert_eq!((now.len(), now[0].turns), (1, 2003));
    // It ends: after three periods of rest, and not before.
    world.wait(9 * S);
    assert!(world.told().is_empty());
    world.wait(3 * S);
    let told = world.told();
    assert_eq!((told.len(), told[0].kind, told[0].times), (1, AlertKind::LoopOver, 2003));
    assert_eq!(&*told[0].followers[0], "foo.service");
    assert_eq!(world.live.deadline(), None, "nothing wakes anybody up then");
    // And comes back.
    (0..4).for_each(|_| world.turn(1));
    assert_eq!(world.kinds(), ["loop"]);
}

#[test]
fn another_root_is_another_loop() {
    let mut world = World::new("");
    (0..6).for_each(|_| world.turn(1));
    assert_eq!(world.kinds(), ["loop"]);
    (0..6).for_each(|_| world.turn(2));
    assert_eq!(world.kinds(), ["loop-over", "loop"]);
}

#[test]
fn what_clients_do_is_no_loop_and_what_is_brief_alarms_nobody() {
    let mut world = World::new("");
    for _ in 0..20 {
        let fact = Fact::Request {
            verb: Verb::Restart,
            mode: hence_unit::JobMode::Replace,
            client: crate::Client::default(),
        };
        let request = world.record("", &[], fact);
        let job = world.record("a.service", &[request], job(JobType::Restart));
        world.state("a.service", job, false, false);
        world.state("a.service", job, true, false);
        world.wait(S);
    }
    for _ in 0..5 {
        let exit = world.exit("b.service", 1);
        world.state("b.service", exit, false, true);
        world.wait(S / 10);
    }
    world.wait(10_000 * S);
    assert!(world.told().is_empty());
    let counts = world.live.counts();
    assert_eq!(counts.restarts.values().sum::<u64>(), 20);
    assert_eq!(counts.failures[&RootKind::Exit], 5);
    assert_eq!(counts.unattributed, 0);
}

#[test]
fn left_over_processes_are_told_when_they_stay_and_again_when_they_are_many() {
    let mut world = World::new("ok.service * they are meant to\n");
    world.leave("foo.service", 1, "a");
    world.wait(9 * S);
    world.gone("foo.service", 1);
    world.leave("ok.service", 900, "b");
    world.wait(100 * S);
    assert!(world.told().is_empty());
    for pid in 2..13 {
        world.leave("foo.service", pid, "worker --x");
        world.wait(11 * S);
    }
    let told = world.told();
    let kinds: Vec<AlertKind> = told.iter().map(|a| a.kind).collect();
    assert_eq!(kinds, [AlertKind::Leak, AlertKind::LeakGrown], "once, and at ten times as many");
    assert_eq!((told[1].processes, told[1].bytes), (10, 10 << 20));
    assert_eq!(told[0].rule_text().as_deref(), Some("KillMode=process (/etc/foo.service:7)"));
    // Gone for a moment is not gone.
    (2..13).for_each(|pid| world.gone("foo.service", pid));
    world.wait(30 * S);
    world.leave("foo.service", 99, "worker --x");
    world.wait(50 * S);
    assert!(world.told().is_empty());
    world.gone("foo.service", 99);
    world.wait(61 * S);
    assert_eq!(world.kinds(), ["leak-over"]);
    assert_eq!(world.live.deadline(), None);
    let left = world.live.left_now();
    assert_eq!((left.len(), left[0].allowed, left[0].processes), (1, true, 1));
    // Without the rule they are what they are.
    world.live.allow(Arc::new(AllowList::default()), world.stamp());
    world.wait(0);
    assert_eq!(world.kinds(), ["leak"]);
}

#[test]
fn memory_is_bounded() {
    let mut world = World::new("");
    for nth in 0..30_000u32 {
        let unit = std::format!("run-{nth}.service");
        let exit = world.exit(&unit, 1);
        world.state(&unit, exit, false, true);
        world.state(&unit, exit, true, true);
        world.leave(&unit, nth, "x");
        world.wait(1000);
    }
    assert!(world.live.units.len() <= UNITS && world.live.processes <= PROCESSES);
    assert!(world.live.alerts.len() <= ALERTS && world.live.due.len() <= UNITS);
    let counts = world.live.counts();
    assert!(counts.restarts.len() <= count::RESTART_SERIES + 1);
    assert_eq!(counts.restarts.values().sum::<u64>(), 30_000);
    assert!(counts.unheard > 0 || counts.leaks < ALERTS as u64);
}
