//! Sequences as sources see them, and what is concluded.

use super::seen::{Asked, Change, Evidence, Member, Message, Portrait, Seen, What};
use super::{Before, Last, Observer, Settings, Sources, Wanted};
use crate::Time;
use alloc::{boxed::Box, format, string::String, vec, vec::Vec};
use hence_ledger::{
    ActiveState, Client, Exit, ExitKind, Fact, Invocation, JobResult, JobType, LeftOver, Record, Stamp, Text,
    UnitResult, Verb, index::Index, why,
};
use hence_unit::{DependencyKind as K, JobMode};

const SECOND: u64 = 1_000_000;
const BASE: u64 = 1_765_324_800 * SECOND;

fn at(us: u64) -> Time {
    Stamp { realtime_us: BASE + us, monotonic_us: us }
}

/// A machine in which things are seen.
struct Scene {
    observer: Observer,
    now: u64,
    records: Vec<Record>,
}

impl Scene {
    fn new() -> Scene {
        let sources = Sources { manager: true, journal: true, cgroups: true, ..Sources::default() };
        Scene::with(sources)
    }

    fn with(sources: Sources) -> Scene {
        let settings = Settings {
            first_record: BASE,
            version: "1".into(),
            pid: 7,
            boot: Invocation([1; 16]),
            cgroup: "/".into(),
            command: "hence watch".into(),
            after_crash: false,
            sources,
        };
        Scene { observer: Observer::new(settings, at(SECOND)), now: SECOND, records: Vec::new() }
    }

    /// So much later.
    fn wait(&mut self, ms: u64) -> &mut Scene {
        self.now += ms * 1000;
        self
    }

    fn see(&mut self, what: What) -> &mut Scene {
        self.now += 100;
        self.observer.see(Seen { at: at(self.now), what });
        self.observer.settle(at(self.now));
        self
    }

    fn known(&mut self, name: &str, edges: &[(K, &str)], active: bool) -> &mut Scene {
        let (state, sub) =
            if active { (ActiveState::Active, "running") } else { (ActiveState::Inactive, "dead") };
        let state = Change { active: Some(state), sub: Some(sub.into()), ..Change::default() };
        let edges = edges.iter().map(|(kind, other)| (*kind, Text::from(*other))).collect();
        let portrait = Portrait { name: name.into(), edges, state, config: None, files: Vec::new() };
        self.see(What::Known(Box::new(portrait)))
    }

    fn state(&mut self, name: &str, active: ActiveState, sub: &str) -> &mut Scene {
        self.change(name, Change { active: Some(active), sub: Some(sub.into()), ..Change::default() })
    }

    fn change(&mut self, name: &str, change: Change) -> &mut Scene {
        self.see(What::Changed(name.into(), Box::new(change)))
    }

    fn job(&mut self, id: u32, unit: &str, job_type: JobType) -> &mut Scene {
        self.see(What::JobNew(id, unit.into())).see(What::JobIs(id, job_type))
    }

    fn done(&mut self, id: u32, unit: &str, result: JobResult) -> &mut Scene {
        self.see(What::JobRemoved(id, unit.into(), result))
    }

    /// The main process ends by itself, and the manager waits to start the unit again.
    fn fails(&mut self, name: &str, pid: u32, status: i32) -> &mut Scene {
        let exit = Exit { kind: ExitKind::Exited, status };
        let change = Change {
            active: Some(ActiveState::Failed),
            sub: Some("failed".into()),
            result: Some(UnitResult::ExitCode),
            main_pid: Some(0),
            main_exit: Some((pid, self.now, exit)),
            ..Change::default()
        };
        self.change(name, change).state(name, ActiveState::Activating, "auto-restart")
    }

    fn asked(&mut self, verb: Verb, unit: &str, pid: u32, evidence: Evidence) -> &mut Scene {
        let client = Client { pid, command: format!("systemctl {verb} {unit}").into(), ..Client::default() };
        let asked = Asked { verb, mode: JobMode::Replace, units: vec![unit.into()], client, evidence };
        self.see(What::Asked(Box::new(asked)))
    }

    fn said(&mut self, unit: &str, text: &str, restarts: Option<u32>) -> &mut Scene {
        let message = Message { unit: Some(unit.into()), text: text.into(), restarts, ..Message::default() };
        self.see(What::Said(Box::new(message)))
    }

    fn answer(&mut self, unit: &str) -> String {
        self.wait(2_000);
        self.observer.settle(at(self.now));
        while let Some(record) = self.observer.poll_record() {
            self.records.push(record);
        }
        let index = Index::new(self.records.iter().cloned());
        let Some(answer) = why::why(&index, unit, None, at(self.now)) else { return "nothing".into() };
        let roots: Vec<String> = answer
            .roots
            .iter()
            .map(|r| format!("{} {}", r.kind.as_str(), r.unit.as_deref().unwrap_or("-")))
            .collect();
        let steps: Vec<String> = answer
            .chain
            .iter()
            .map(|step| {
                let rule = step.rule.as_ref().map(|r| format!(" [{}]", r.directive)).unwrap_or_default();
                let mark = match step.certainty {
                    hence_ledger::Certainty::Observed => "",
                    hence_ledger::Certainty::Inferred => "?",
                };
                format!("{}{mark}{rule}", step.what)
            })
            .collect();
        format!("{} <- {}: {}", answer.event, roots.join(", "), steps.join(" < "))
    }
}

#[test]
fn the_incident() {
    let mut scene = Scene::new();
    scene.known("col.service", &[(K::RequiredBy, "foo.service")], true);
    scene.known("foo.service", &[(K::Requires, "col.service")], true).see(What::Attached);
    for turn in 0..4 {
        scene.wait(2_000).fails("col.service", 100 + turn, 1);
        scene.wait(3_000).said("col.service", "Scheduled restart job", Some(turn));
        scene.job(20 + 3 * turn, "foo.service", JobType::Restart);
        scene.job(19 + 3 * turn, "col.service", JobType::Restart);
        scene.state("foo.service", ActiveState::Deactivating, "stop-sigterm");
        scene.state("foo.service", ActiveState::Inactive, "dead");
        scene.state("col.service", ActiveState::Inactive, "dead");
        scene.state("col.service", ActiveState::Active, "running");
        scene.state("foo.service", ActiveState::Active, "running");
        scene.done(19 + 3 * turn, "col.service", JobResult::Done);
        scene.done(20 + 3 * turn, "foo.service", JobResult::Done);
    }
    let told = scene.answer("foo.service");
    assert_eq!(
        told,
        "stopped <- exit col.service: stopped? [Requires=col.service] < restarted, 100 ms after \
         it ended < main process 103 exited with status 1"
    );
}

/// A unit that is up, in a machine that was looked at.
fn one(edges: &[(K, &str)]) -> Scene {
    let mut scene = Scene::new();
    scene.known("a.service", edges, true).see(What::Attached);
    scene.wait(1_000);
    scene
}

fn killed(scene: &mut Scene, name: &str, pid: u32, signal: i32, result: UnitResult) {
    let exit = Exit { kind: ExitKind::Killed, status: signal };
    let change = Change {
        active: Some(ActiveState::Failed),
        sub: Some("failed".into()),
        result: Some(result),
        main_exit: Some((pid, scene.now, exit)),
        ..Change::default()
    };
    scene.change(name, change);
}

fn stopped(scene: &mut Scene, id: u32, name: &str) {
    scene.job(id, name, JobType::Stop);
    scene.state(name, ActiveState::Deactivating, "stop-sigterm");
    scene.state(name, ActiveState::Inactive, "dead").done(id, name, JobResult::Done);
}

#[test]
fn what_is_forgotten_is_down() {
    let mut scene = one(&[]);
    scene.asked(Verb::Stop, "a.service", 7, Evidence::Call);
    scene.job(5, "a.service", JobType::Stop).done(5, "a.service", JobResult::Done);
    scene.see(What::Forgotten("a.service".into()));
    let told = scene.answer("a.service");
    assert!(told.starts_with("stopped <- request"), "{told}");
}

#[test]
fn a_command_line_is_concluded_from_and_a_call_is_seen() {
    let mut scene = one(&[]);
    scene.asked(Verb::Stop, "a", 12, Evidence::CommandLine);
    stopped(&mut scene, 5, "a.service");
    let told = scene.answer("a.service");
    assert!(told.starts_with("stopped <- request a.service: stopped? < "), "{told}");
    let mut scene = one(&[]);
    // The same client is seen twice: the call counts.
    scene.asked(Verb::Stop, "a", 12, Evidence::CommandLine);
    scene.asked(Verb::Stop, "a.service", 12, Evidence::Call);
    stopped(&mut scene, 5, "a.service");
    let told = scene.answer("a.service");
    assert!(told.starts_with("stopped <- request a.service: stopped < "), "{told}");
}

#[test]
fn a_restart_without_delay_is_told_after_its_job() {
    let mut scene = one(&[]);
    let change = Change { main_pid: Some(40), ..Change::default() };
    scene.change("a.service", change).wait(2_000);
    let exit = Exit { kind: ExitKind::Exited, status: 3 };
    let ended = scene.now;
    scene.said("a.service", "Scheduled restart job, restart counter is at 1.", Some(1));
    scene.job(5, "a.service", JobType::Restart);
    let change = Change {
        active: Some(ActiveState::Active),
        sub: Some("running".into()),
        main_pid: Some(41),
        main_exit: Some((40, ended, exit)),
        ..Change::default()
    };
    scene.change("a.service", change).done(5, "a.service", JobResult::Done);
    let told = scene.answer("a.service");
    assert!(told.starts_with("failed <- exit a.service: failed? < main process 40 exited"), "{told}");
}

#[test]
fn all_that_fits_is_told() {
    let mut scene = one(&[]);
    scene.asked(Verb::Stop, "a", 12, Evidence::CommandLine);
    scene.asked(Verb::Stop, "a.service", 13, Evidence::CommandLine);
    stopped(&mut scene, 5, "a.service");
    let told = scene.answer("a.service");
    assert!(told.starts_with("stopped <- request a.service, request a.service: "), "{told}");
}

#[test]
fn a_client_that_asked_for_something_else_is_none() {
    let mut scene = one(&[]);
    scene.asked(Verb::Start, "a", 12, Evidence::CommandLine);
    scene.asked(Verb::Stop, "b", 13, Evidence::CommandLine);
    stopped(&mut scene, 5, "a.service");
    let told = scene.answer("a.service");
    assert_eq!(told, "stopped <- unknown a.service: stopped < no cause is known");
    let unknown = scene.records.iter().find_map(|record| match &record.fact {
        Fact::Unknown { ruled_out } => Some(ruled_out.clone()),
        _ => None,
    });
    let said = unknown.as_deref().unwrap_or_default();
    assert!(said.contains("a client that was seen") && said.contains("process connector"), "{said}");
}

#[test]
fn a_kill_has_a_sender_where_one_was_seen() {
    let mut scene = one(&[]);
    killed(&mut scene, "a.service", 40, 9, UnitResult::Signal);
    let told = scene.answer("a.service");
    // Without tracepoints it can have been anybody, and nobody ends itself so.
    assert!(told.starts_with("failed <- unknown a.service: failed < main process 40 was killed"), "{told}");
    let mut scene = one(&[]);
    let sender = Box::new(Client { pid: 77, command: "kill -9 40".into(), ..Client::default() });
    scene.see(What::Signalled { signal: 9, pid: 40, sender });
    killed(&mut scene, "a.service", 40, 9, UnitResult::Signal);
    let told = scene.answer("a.service");
    assert!(told.starts_with("failed <- signal a.service: failed < main process 40 was killed"), "{told}");
    assert!(told.contains("kill -9 40"), "{told}");
}

#[test]
fn the_kernel_kills_for_memory() {
    let mut scene = one(&[]);
    killed(&mut scene, "a.service", 40, 9, UnitResult::Signal);
    // The kernel's line comes later than what the manager tells.
    scene.wait(200).see(What::OomKill { pid: None, unit: Some("a.service".into()) });
    let told = scene.answer("a.service");
    assert!(told.starts_with("failed <- kernel a.service: failed"), "{told}");
}

#[test]
fn what_was_queued_at_once_by_chance_is_not_tied() {
    let mut scene = Scene::new();
    scene.known("a.service", &[], true).known("b.service", &[], true).see(What::Attached).wait(1_000);
    scene.asked(Verb::Stop, "a", 12, Evidence::CommandLine);
    scene.see(What::JobNew(5, "a.service".into())).see(What::JobNew(6, "b.service".into()));
    scene.see(What::JobIs(5, JobType::Stop)).see(What::JobIs(6, JobType::Stop));
    scene.state("a.service", ActiveState::Inactive, "dead");
    scene.state("b.service", ActiveState::Inactive, "dead");
    assert!(scene.answer("a.service").starts_with("stopped <- request a.service"));
    assert!(scene.answer("b.service").starts_with("stopped <- unknown b.service"));
}

#[test]
fn a_bound_unit_follows_a_crash() {
    let mut scene = Scene::new();
    scene.known("b.service", &[], true);
    scene.known("a.service", &[(K::BindsTo, "b.service")], true).see(What::Attached).wait(1_000);
    killed(&mut scene, "b.service", 40, 11, UnitResult::CoreDump);
    stopped(&mut scene, 5, "a.service");
    let told = scene.answer("a.service");
    assert!(told.starts_with("stopped <- exit b.service: stopped? [BindsTo=b.service] < failed"), "{told}");
}

#[test]
fn processes_stay_behind_and_go() {
    let mut scene = one(&[]);
    let run = Invocation([3; 16]);
    scene.change("a.service", Change { invocation: Some(run), ..Change::default() });
    scene.asked(Verb::Stop, "a", 12, Evidence::CommandLine);
    stopped(&mut scene, 5, "a.service");
    let process = LeftOver { pid: 66, start_ticks: 9, command: "sleep".into(), bytes: Some(1) };
    let member = Member { process, started_us: 1, invocation: Some(run) };
    scene.see(What::Members("a.service".into(), vec![member.clone()]));
    scene.see(What::Members("a.service".into(), vec![member]));
    scene.answer("a.service");
    let left =
        |scene: &Scene| scene.records.iter().filter(|r| matches!(r.fact, Fact::LeftBehind { .. })).count();
    assert_eq!(left(&scene), 1, "it is told once");
    let wanted = core::iter::from_fn(|| scene.observer.poll_wanted());
    let watched: Vec<Wanted> = wanted.filter(|w| matches!(w, Wanted::Watch { .. })).collect();
    assert_eq!(watched, [Wanted::Watch { pid: 66, start_ticks: 9 }]);
    scene.see(What::Gone { pid: 66, start_ticks: 9, exit: None });
    scene.answer("a.service");
    assert!(scene.records.iter().any(|r| matches!(r.fact, Fact::LeftOverGone { pid: 66, .. })));
}

/// The unit is told again as it is now, after a time in which nothing was seen.
fn told_again(scene: &mut Scene, name: &str, active: ActiveState, sub: &str, change: Change) {
    let state = Change { active: Some(active), sub: Some(sub.into()), ..change };
    let portrait = Portrait { name: name.into(), state, ..Portrait::default() };
    scene.see(What::Known(Box::new(portrait)));
}

#[test]
fn what_happened_while_the_manager_was_away_is_concluded() {
    let mut scene = Scene::new();
    for name in ["a.service", "b.service", "c.service", "d.service"] {
        scene.known(name, &[], true);
    }
    scene.see(What::Attached).wait(1_000).see(What::Disconnected).wait(300);
    let line = |text: &str, exit| Message {
        unit: Some("b.service".into()),
        text: text.into(),
        exit,
        ..Message::default()
    };
    let exit = Exit { kind: ExitKind::Exited, status: 7 };
    let said = line("b.service: Main process exited, code=exited, status=7/NOTRUNNING", Some(exit));
    scene.see(What::Said(Box::new(said))).wait(200).see(What::Reconnected);
    let gone_at = scene.now - 100_000;
    let down = Change { state_at_us: Some(gone_at), ..Change::default() };
    told_again(&mut scene, "a.service", ActiveState::Inactive, "dead", down.clone());
    let failed = Change { result: Some(UnitResult::ExitCode), ..down };
    told_again(&mut scene, "b.service", ActiveState::Failed, "failed", failed);
    told_again(&mut scene, "c.service", ActiveState::Active, "running", Change::default());
    let began = Change { began_us: Some(gone_at), main_pid: Some(9), ..Change::default() };
    told_again(&mut scene, "e.service", ActiveState::Active, "running", began);
    scene.see(What::Attached);
    let told = scene.answer("a.service");
    assert!(told.starts_with("stopped <- unknown -: stopped? < something that was not seen"), "{told}");
    let told = scene.answer("b.service");
    assert!(
        told.starts_with("failed <- exit b.service: failed? < main process 0 exited with status 7?"),
        "{told}"
    );
    let told = scene.answer("e.service");
    assert!(told.starts_with("started <- unknown -: started? < something that was not seen"), "{told}");
    // The manager has forgotten this one: it was stopped.
    assert!(scene.answer("d.service").starts_with("stopped <- unknown -: stopped? <"), "d");
    assert_eq!(scene.answer("c.service"), "nothing");
    let bases = scene.records.iter().filter(|r| matches!(r.fact, Fact::Basis { .. })).count();
    let inferred = scene.records.iter().filter(|r| r.certainty == hence_ledger::Certainty::Inferred).count();
    assert_eq!(bases, inferred, "each conclusion says what it rests on");
}

#[test]
fn an_earlier_hence_is_gone_on_from() {
    let mut scene = Scene::new();
    let last = |name: &str, invocation| Last {
        name: name.into(),
        active: ActiveState::Active,
        sub: hence_ledger::SubState::Running,
        invocation: Some(Invocation([invocation; 16])),
        main_pid: 5,
        record: 0,
        left_over: vec![(66, 9)],
    };
    scene.wait(5_000);
    let until = at(scene.now - 2 * SECOND);
    let units = vec![last("a.service", 1), last("b.service", 2)];
    scene.observer.goes_on(at(scene.now), Before { until, how: "it was killed".into(), units });
    let watched = core::iter::from_fn(|| scene.observer.poll_wanted()).count();
    assert_eq!(watched, 2, "processes that were left behind are looked for");
    scene.see(What::Gone { pid: 66, start_ticks: 9, exit: None });
    let run = |id| Change { invocation: Some(Invocation([id; 16])), ..Change::default() };
    told_again(&mut scene, "a.service", ActiveState::Active, "running", run(1));
    told_again(&mut scene, "b.service", ActiveState::Active, "running", run(3));
    scene.see(What::Attached).wait(2_000);
    // Nothing is concluded before the journal was read.
    assert_eq!(scene.answer("b.service"), "nothing");
    scene.observer.journal_was_read();
    assert!(scene.answer("b.service").starts_with("stopped <- unknown -: stopped? <"), "b");
    let gone = scene.records.iter().find(|r| matches!(r.fact, Fact::LeftOverGone { .. }));
    assert!(gone.is_some_and(|r| r.certainty == hence_ledger::Certainty::Inferred));
    // The other one stayed as it was.
    let states = |r: &&Record| matches!(r.fact, Fact::StateChanged { .. });
    let of: Vec<_> = scene.records.iter().filter(states).filter_map(|r| r.unit.as_deref()).collect();
    assert!(!of.contains(&"a.service"), "{of:?}");
}

#[test]
fn the_bus_goes_and_comes() {
    let mut scene = one(&[]);
    scene.see(What::Bus(false)).wait(500);
    stopped(&mut scene, 5, "a.service");
    let told = scene.answer("a.service");
    assert!(told.starts_with("stopped <- unknown a.service"), "{told}");
    scene.see(What::Bus(true));
    scene.answer("a.service");
    let away: Vec<bool> = scene
        .records
        .iter()
        .filter_map(|r| match &r.fact {
            Fact::Away { from, to, .. } => Some(from == to),
            Fact::Unknown { ruled_out } => Some(ruled_out.contains("the message bus was away")),
            _ => None,
        })
        .collect();
    assert_eq!(away, [true, true, false], "away, unknown for that, there again");
}

#[test]
fn records_come_after_their_causes_whatever_is_seen() {
    // Sequences that no manager tells: nothing panics, and no record names a later one.
    let mut number = 0x9e37_79b9_u64;
    let mut next = |below: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) % below
    };
    let names = ["a.service", "b.service", "c.socket", "d.timer", "e.target", "f.device", "g.path"];
    let subs = ["dead", "running", "auto-restart", "failed", "stop-sigterm", "listening", "nonsense"];
    for _ in 0..300 {
        let mut scene = Scene::new();
        for _ in 0..40 {
            let name = names[next(7) as usize];
            let other = names[next(7) as usize];
            match next(13) {
                9 => drop(scene.see(What::Disconnected)),
                10 => drop(scene.see(What::Reconnected)),
                11 => drop(scene.see(What::Attached)),
                12 => {
                    let began_us = Some(scene.now);
                    let change = Change { main_pid: Some(next(9) as u32), began_us, ..Change::default() };
                    told_again(&mut scene, name, ActiveState::ALL[next(7) as usize], "running", change);
                }
                0 => drop(scene.known(name, &[(K::ALL[next(20) as usize], other)], next(2) == 0)),
                1 => {
                    let job_type = JobType::ALL[next(9) as usize];
                    scene.job(next(30) as u32, name, job_type);
                }
                2 => drop(scene.done(next(30) as u32, name, JobResult::ALL[next(11) as usize])),
                3 => drop(scene.state(name, ActiveState::ALL[next(7) as usize], subs[next(7) as usize])),
                4 => drop(scene.fails(name, next(9) as u32, next(250) as i32)),
                5 => drop(scene.asked(Verb::ALL[next(30) as usize], name, next(9) as u32, Evidence::Call)),
                6 => drop(scene.said(name, "Start request repeated too quickly.", Some(1))),
                7 => drop(scene.see(What::Forgotten(name.into()))),
                _ => drop(scene.wait(next(3_000)).see(What::Reloading(next(2) == 0))),
            }
        }
        scene.answer(names[0]);
        let mut known = alloc::collections::BTreeSet::new();
        for record in &scene.records {
            assert!(record.causes.iter().all(|c| known.contains(&c.record)), "{record:?}");
            let stands = record.fact.is_root() || !record.causes.is_empty() || may_stand_alone(&record.fact);
            assert!(stands, "{record:?}");
            known.insert(record.id);
        }
    }
}

fn may_stand_alone(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Gap { .. }
            | Fact::Starting { .. }
            | Fact::SpawnFailed { .. }
            | Fact::RestartScheduled { .. }
            | Fact::StartLimitHit { .. }
            | Fact::Inputs { .. }
            | Fact::LeftOverGone { .. }
    )
}

#[test]
fn a_restart_does_not_stop_the_run_that_it_brings() {
    let mut scene = one(&[]);
    let change = Change { restarts: Some(3), ..Change::default() };
    scene.change("a.service", change).state("a.service", ActiveState::Activating, "auto-restart").wait(200);
    scene.said("a.service", "Scheduled restart job, restart counter is at 4.", Some(4));
    scene.job(5, "a.service", JobType::Restart);
    let began = scene.now + 2_000;
    scene.wait(4).state("a.service", ActiveState::Active, "running").done(5, "a.service", JobResult::Done);
    let exit = Exit { kind: ExitKind::Exited, status: 0 };
    let change = Change {
        active: Some(ActiveState::Inactive),
        sub: Some("dead".into()),
        main_began_us: Some(began),
        main_exit: Some((77, began + 1_500, exit)),
        ..Change::default()
    };
    scene.wait(2).change("a.service", change);
    let told = scene.answer("a.service");
    assert_eq!(told, "finished <- exit a.service: finished < main process 77 exited with status 0");
}

#[test]
fn the_next_run_is_not_left_behind() {
    let member = |pid: u32, started_us: u64, of: u8| Member {
        process: LeftOver { pid, start_ticks: u64::from(pid), command: "x".into(), bytes: None },
        started_us,
        invocation: (of != 0).then_some(Invocation([of; 16])),
    };
    let mut scene = one(&[]);
    let run = Change { invocation: Some(Invocation([7; 16])), ..Change::default() };
    scene.change("a.service", run);
    stopped(&mut scene, 5, "a.service");
    let down = scene.now;
    let change = Change { state_at_us: Some(down), ..Change::default() };
    scene.change("a.service", change);
    // Of that run, of the one after it, and two that say nothing: an old one and a new one.
    let members = vec![
        member(20, down - 5_000, 7),
        member(21, down + 3_000, 8),
        member(22, down - SECOND / 2, 0),
        member(23, down - 4_000, 0),
    ];
    scene.see(What::Members("a.service".into(), members));
    scene.answer("a.service");
    let left: Vec<u32> = scene
        .records
        .iter()
        .filter_map(|record| match &record.fact {
            Fact::LeftBehind { processes, .. } => Some(processes.iter().map(|p| p.pid)),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(left, [20, 22]);
}
