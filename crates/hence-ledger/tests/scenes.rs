//! Other reasons for starts, stops and refusals than the incident's.

mod build;

use ActiveState::*;
use build::scene::*;
use hence_ledger::answer::Answer;
use hence_ledger::path::RootKind;
use hence_ledger::*;

const WEB: &str = "web.service";

fn up(scene: &mut Scene, unit: &str, pid: u32) -> u32 {
    let request = scene.request(unit, Verb::Start, client(50, "systemctl start"));
    let job = scene.job(unit, JobType::Start, by(request));
    scene.start(unit, pid, job, None)
}

fn why(scene: &Scene, unit: &str) -> Answer {
    hence_ledger::why::why(&scene.index(), unit, None, scene.now()).expect("an answer")
}

fn told(answer: &Answer) -> Vec<String> {
    answer.chain.iter().map(|s| format!("{}: {}", s.unit.as_deref().unwrap_or("-"), s.what)).collect()
}

fn names(answer: &Answer) -> Vec<&str> {
    answer.advice.iter().map(|a| a.name).collect()
}

#[test]
fn a_client_stopped_it() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let request = scene.wait(60_000).request(WEB, Verb::Stop, client(4711, "systemctl stop web"));
    let job = scene.job(WEB, JobType::Stop, by(request));
    scene.stop(WEB, run, 100, job);
    let answer = why(&scene, WEB);
    assert_eq!(answer.event, "stopped");
    assert_eq!(
        told(&answer),
        ["web.service: stopped", "web.service: process 4711 of user 0 (systemctl stop web) asked for stop"]
    );
    let root = &answer.roots[0];
    assert_eq!(
        (root.kind, root.pid, root.uid, root.command.as_deref()),
        (RootKind::Request, Some(4711), Some(0), Some("systemctl stop web"))
    );
    assert_eq!((answer.times, answer.period_us, answer.up_again), (1, None, None));
    assert_eq!(answer.state.map(|s| (s.active, s.main_pid)), Some((Inactive, None)));
    assert!(answer.advice.is_empty());
}

#[test]
fn what_went_well_on_the_way_up_is_no_reason_of_its_own() {
    let mut scene = Scene::new();
    let request = scene.request(WEB, Verb::Start, client(50, "systemctl start web"));
    let job = scene.job(WEB, JobType::Start, by(request));
    let state = |from_active, from, to_active, to| Fact::StateChanged {
        from_active,
        from,
        to_active,
        to,
        result: UnitResult::Success,
    };
    let checks = state(Inactive, SubState::Dead, Activating, SubState::StartPre);
    let before = scene.add(Some(WEB), by(job), checks);
    let ended = |status| Fact::ProcessExited {
        pid: 7,
        role: ProcessRole::StartPre,
        exit: Exit { kind: ExitKind::Exited, status },
        cpu_us: 0,
        peak_bytes: 0,
    };
    let checked = scene.add(Some(WEB), by(before), ended(0));
    scene.add(Some(WEB), by(checked), state(Activating, SubState::StartPre, Active, SubState::Running));
    let answer = why(&scene, WEB);
    assert_eq!(answer.event, "started");
    assert_eq!(
        told(&answer),
        ["web.service: started", "web.service: process 50 of user 0 (systemctl start web) asked for start"]
    );
    // One that went wrong is.
    let wrong = scene.add(Some(WEB), by(before), ended(1));
    scene.add(Some(WEB), by(wrong), state(Active, SubState::Running, Failed, SubState::Failed));
    let answer = why(&scene, WEB);
    assert_eq!(answer.roots[0].kind, RootKind::Exit);
    assert!(told(&answer)[1].contains("exited with status 1"), "{:?}", told(&answer));
}

#[test]
fn a_client_restarted_it_then_it_was_started_by_another() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let request = scene.wait(60_000).request(WEB, Verb::Restart, client(4711, "systemctl restart web"));
    let job = scene.job(WEB, JobType::Restart, by(request));
    scene.stop(WEB, run, 100, job);
    let run = scene.start(WEB, 101, job, None);
    assert_eq!(why(&scene, WEB).event, "restarted");
    let request = scene.request(WEB, Verb::Stop, client(1, "systemctl stop web"));
    let job = scene.job(WEB, JobType::Stop, by(request));
    scene.stop(WEB, run, 101, job);
    up(&mut scene, WEB, 102);
    let answer = why(&scene, WEB);
    assert_eq!((answer.event, answer.roots[0].pid), ("started", Some(50)));
    assert_eq!(answer.state.and_then(|s| s.main_pid), Some(102));
}

#[test]
fn a_stop_that_hangs_is_explained_while_it_hangs() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let request = scene.request(WEB, Verb::Stop, client(4711, "systemctl stop web"));
    let job = scene.job(WEB, JobType::Stop, by(request));
    let change = (Active, SubState::Running, Deactivating, SubState::StopSigterm, UnitResult::Success);
    let stopping = scene.state(WEB, run, by(job), change);
    let fact = Fact::DeadlineReached { deadline: DeadlineKind::TimeoutStop, after_us: 90_000_000 };
    let deadline = scene.wait(90_000).add_to(Some(WEB), Some(run), by(stopping), fact);
    let change =
        (Deactivating, SubState::StopSigterm, Deactivating, SubState::StopSigkill, UnitResult::Timeout);
    scene.state(WEB, run, by(deadline), change);
    let answer = why(&scene, WEB);
    assert_eq!((answer.event, answer.roots[0].pid), ("stopping", Some(4711)));
    assert_eq!(answer.ago_us / 1_000_000, 90);
}

#[test]
fn a_first_job_that_waits_is_explained() {
    let mut scene = Scene::new();
    let request = scene.request(WEB, Verb::Start, client(60, "systemctl start web"));
    let job = scene.job(WEB, JobType::Start, by(request));
    scene.job("db.service", JobType::Start, by_rule(job, rule("Requires=db.service", "/w", 4)));
    let answer = why(&scene, "db.service");
    assert_eq!((answer.event, answer.roots[0].pid, answer.chain.len()), ("waiting", Some(60), 2));
}

#[test]
fn the_watchdog_killed_it() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let fact = Fact::DeadlineReached { deadline: DeadlineKind::Watchdog, after_us: 30_000_000 };
    let armed = scene.records.last().expect("started").id;
    let deadline = scene.wait(30_000).add_to(
        Some(WEB),
        Some(run),
        by_rule(armed, rule("WatchdogSec=30", "/w", 8)),
        fact,
    );
    let change = (Active, SubState::Running, Deactivating, SubState::StopWatchdog, UnitResult::Watchdog);
    let stopping = scene.state(WEB, run, by(deadline), change);
    let sent =
        Fact::SignalSent { signal: 6, reason: SignalReason::Watchdog, main: true, control: false, others: 0 };
    let sent =
        scene.add_to(Some(WEB), Some(run), by_rule(stopping, rule("WatchdogSignal=SIGABRT", "/w", 9)), sent);
    let exit = scene.exited(WEB, run, 100, ExitKind::Dumped, 6, by(sent));
    let change = (Deactivating, SubState::StopWatchdog, Failed, SubState::Failed, UnitResult::Watchdog);
    scene.state(WEB, run, by(exit), change);
    let answer = why(&scene, WEB);
    assert_eq!(answer.event, "failed");
    assert_eq!(
        told(&answer),
        [
            "web.service: failed",
            "web.service: SIGABRT was sent to it",
            "web.service: 30 s after: WatchdogSec= is over"
        ]
    );
    assert_eq!(answer.roots.iter().map(|r| r.kind).collect::<Vec<_>>(), [RootKind::Deadline]);
    assert_eq!(names(&answer), ["deadline"]);
    assert_eq!(answer.chain[2].rule.as_ref().map(|r| r.line), Some(8));
    assert!(answer.advice[0].text.contains("WATCHDOG=1"));
}

#[test]
fn the_start_limit_refused_it() {
    let mut scene = Scene::new();
    let mut run = up(&mut scene, WEB, 100);
    for pid in 100..105 {
        let (_, scheduled) =
            scene.wait(50).fail(WEB, run, pid, 3, Some((rule("Restart=on-failure", "/w", 5), 100_000)));
        let deadline = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: 100_000 };
        let deadline = scene.wait(100).add_to(Some(WEB), Some(run), by(scheduled), deadline);
        let job = scene.job(WEB, JobType::Restart, by(deadline));
        if pid < 104 {
            run = scene.start(WEB, pid + 1, job, None);
            continue;
        }
        let hit = Fact::StartLimitHit { burst: 5, interval_us: 10_000_000 };
        let hit = scene.add_to(Some(WEB), None, by_rule(job, rule("StartLimitBurst=5", "/w", 2)), hit);
        let change = (Activating, SubState::AutoRestart, Failed, SubState::Failed, UnitResult::StartLimitHit);
        scene.state(WEB, run, by(hit), change);
    }
    let answer = why(&scene, WEB);
    assert_eq!(answer.event, "not started");
    assert_eq!(
        told(&answer),
        [
            "web.service: not started: started 5 times within 10 s, which is the limit",
            "web.service: main process 104 exited with status 3"
        ]
    );
    assert_eq!(answer.roots[0].kind, RootKind::Exit);
    assert_eq!(answer.chain[0].rule.as_ref().map(|r| &*r.directive), Some("Restart=on-failure"));
    assert!(answer.chain[0].other_rules.iter().any(|r| &*r.directive == "StartLimitBurst=5"));
}

#[test]
fn the_kernel_ran_out_of_memory() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let oom = scene.wait(9_000).add_to(Some(WEB), Some(run), Vec::new(), Fact::OomKill { kills: 1 });
    let exit = scene.exited(WEB, run, 100, ExitKind::Killed, 9, by(oom));
    let change = (Active, SubState::Running, Failed, SubState::Failed, UnitResult::OomKill);
    scene.state(WEB, run, by(exit), change);
    let answer = why(&scene, WEB);
    assert_eq!((answer.event, answer.roots.len(), answer.roots[0].kind), ("failed", 1, RootKind::Kernel));
    assert_eq!(answer.chain.len(), 3, "{:?}", told(&answer));
    assert_eq!(names(&answer), ["memory"]);
}

#[test]
fn an_end_by_sigkill_after_an_oom_kill_is_put_down_to_it() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    scene.add_to(Some(WEB), Some(run), Vec::new(), Fact::OomKill { kills: 1 });
    let exit = scene.exited(WEB, run, 100, ExitKind::Killed, 9, Vec::new());
    let change = (Active, SubState::Running, Failed, SubState::Failed, UnitResult::OomKill);
    scene.state(WEB, run, by(exit), change);
    assert_eq!(why(&scene, WEB).roots.iter().map(|r| r.kind).collect::<Vec<_>>(), [RootKind::Kernel]);
}

#[test]
fn the_program_is_not_there() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let state = scene.records.last().expect("up").id;
    let subject = "/usr/bin/web".into();
    let failed = Fact::SpawnFailed { role: ProcessRole::Main, step: SpawnStep::Exec, errno: 2, subject };
    let failed = scene.add_to(Some(WEB), Some(run), by(state), failed);
    let exit = scene.exited(WEB, run, 100, ExitKind::Exited, 203, by(failed));
    let change = (Active, SubState::Running, Failed, SubState::Failed, UnitResult::ExitCode);
    scene.state(WEB, run, by(exit), change);
    let answer = why(&scene, WEB);
    assert_eq!(
        told(&answer),
        [
            "web.service: failed",
            "web.service: main process 100 exited with status 203",
            "web.service: main process could not be started, exec failed (/usr/bin/web): no such file or \
             directory"
        ]
    );
    assert_eq!(answer.roots.iter().map(|r| r.kind).collect::<Vec<_>>(), [RootKind::File]);
    assert_eq!(names(&answer), ["spawn-failed"]);
}

#[test]
fn of_several_rules_the_one_nearest_to_the_cause_counts() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let (always, seconds) = (rule("Restart=always", "/w", 7), rule("RestartSec=5", "/w", 8));
    let (_, scheduled) = scene.fail(WEB, run, 100, 1, Some((always.clone(), 5_000_000)));
    let deadline = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: 5_000_000 };
    let deadline = scene.add_to(Some(WEB), Some(run), by_rule(scheduled, seconds.clone()), deadline);
    let job = scene.job(WEB, JobType::Restart, by_rule(deadline, always.clone()));
    scene.start(WEB, 101, job, None);
    let index = scene.index();
    let answer = hence_ledger::why::why_process(&index, 101, None, scene.now()).expect("an answer");
    assert_eq!(
        (answer.chain[0].rule.as_ref(), &answer.chain[0].other_rules),
        (Some(&always), &vec![seconds])
    );
}

#[test]
fn what_it_requires_failed_to_start() {
    let mut scene = Scene::new();
    let request = scene.request(WEB, Verb::Start, client(60, "systemctl start web"));
    let job = scene.job(WEB, JobType::Start, by(request));
    let requires = rule("Requires=db.service", "/etc/systemd/system/web.service", 4);
    let db_job = scene.job("db.service", JobType::Start, by_rule(job, requires.clone()));
    let run = scene.start("db.service", 300, db_job, None);
    let (_, failed) = scene.fail("db.service", run, 300, 2, None);
    let finish = |result| Fact::JobFinished { job: 1, job_type: JobType::Start, result };
    let ended = scene.add(Some("db.service"), by(failed), finish(JobResult::Failed));
    scene.add(Some(WEB), by_rule(ended, requires), finish(JobResult::Dependency));
    let answer = why(&scene, WEB);
    assert_eq!(answer.event, "not started");
    assert_eq!(
        told(&answer),
        [
            "web.service: not started",
            "db.service: its start failed",
            "db.service: main process 300 exited with status 2"
        ]
    );
    assert_eq!(answer.chain[0].rule.as_ref().map(|r| r.line), Some(4));
    assert_eq!(answer.roots.iter().map(|r| r.kind).collect::<Vec<_>>(), [RootKind::Exit]);
}

#[test]
fn traffic_and_timers_start_it() {
    let mut scene = Scene::new();
    let traffic = Fact::Traffic { listen: "/run/web.sock".into(), peer: Some("pid 81".into()) };
    let traffic = scene.add(Some("web.socket"), Vec::new(), traffic);
    let job = scene.job(WEB, JobType::Start, by_rule(traffic, rule("Sockets=web.socket", "/w", 3)));
    scene.start(WEB, 100, job, None);
    let answer = why(&scene, WEB);
    assert_eq!(told(&answer), ["web.service: started", "web.socket: traffic on /run/web.sock from pid 81"]);
    assert_eq!(answer.roots[0].kind, RootKind::Traffic);

    let deadline = Fact::DeadlineReached { deadline: DeadlineKind::Timer, after_us: 3_600_000_000 };
    let elapsed = scene.add(Some("job.timer"), by(RecordId(BOOT_US)), deadline);
    let job = scene.job("job.service", JobType::Start, by_rule(elapsed, rule("OnCalendar=hourly", "/t", 2)));
    scene.start("job.service", 101, job, None);
    let answer = why(&scene, "job.service");
    assert_eq!(
        answer.roots.iter().map(|r| (r.kind, r.unit.as_deref())).collect::<Vec<_>>(),
        [(RootKind::Deadline, Some("job.timer"))]
    );
    assert_eq!(told(&answer)[1], "job.timer: the timer elapsed");
}

#[test]
fn a_timer_is_no_loop() {
    let mut scene = Scene::new();
    for pid in 0..10 {
        let deadline = Fact::DeadlineReached { deadline: DeadlineKind::Timer, after_us: 60_000_000 };
        let elapsed = scene.wait(60_000).add(Some("job.timer"), Vec::new(), deadline);
        let job = scene.job("job.service", JobType::Start, by(elapsed));
        let run = scene.start("job.service", 200 + pid, job, None);
        scene.fail("job.service", run, 200 + pid, 0, None);
    }
    assert_eq!(loops::loops(&scene.index(), scene.now()), []);
    let answer = why(&scene, "job.service");
    assert_eq!((answer.event, answer.times), ("finished", 10));
}

#[test]
fn hence_crashed_and_processes_survived() {
    let mut scene = Scene::new();
    up(&mut scene, WEB, 100);
    let again = scene.wait(5_000).boot(1, 4000, true);
    let cause = Cause { record: again, rule: None };
    scene.left_behind(WEB, 1, cause, 100, 1 << 20, 1);
    let index = scene.index();
    assert_eq!(leaks::leaks(&index).len(), 1);
    let answer = hence_ledger::why::why_process(&index, 100, None, scene.now()).expect("an answer");
    assert_eq!((answer.event, answer.roots[0].kind), ("left behind", RootKind::Boot));
    assert!(answer.roots[0].what.contains("did not end in order"));
    // Nothing survives another boot.
    scene.boot(2, 4000, false);
    assert_eq!(leaks::leaks(&scene.index()), []);
}

#[test]
fn merged_jobs_keep_both_requests() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let first = scene.request(WEB, Verb::Stop, client(71, "systemctl stop web"));
    let job = scene.job(WEB, JobType::Stop, by(first));
    let second = scene.request(WEB, Verb::Stop, client(72, "shutdown-hook"));
    let causes = vec![Cause { record: second, rule: None }, Cause { record: job, rule: None }];
    let merged = scene.add(Some(WEB), causes, Fact::JobMerged { job: 1, job_type: JobType::Stop });
    scene.stop(WEB, run, 100, merged);
    let answer = why(&scene, WEB);
    let pids: Vec<Option<u32>> = answer.roots.iter().map(|r| r.pid).collect();
    assert_eq!(pids, [Some(72), Some(71)]);
    assert!(told(&answer)[1].contains("shutdown-hook"));
}

#[test]
fn gaps_and_missing_records_are_said() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let lost = RecordId(999);
    scene.add(None, Vec::new(), Fact::Gap { lost: 12, reason: GapReason::RingFull });
    scene.stop(WEB, run, 100, lost);
    let answer = why(&scene, WEB);
    assert_eq!(answer.event, "stopped");
    assert_eq!(answer.roots.iter().map(|r| r.kind).collect::<Vec<_>>(), [RootKind::Unknown]);
    assert!(answer.notes[0].contains("no longer there"), "{:?}", answer.notes);
    scene.add(None, Vec::new(), Fact::Gap { lost: 0, reason: GapReason::Damaged });
    assert_eq!(why(&scene, WEB).gaps.len(), 1);
}

#[test]
fn records_that_name_each_other_end() {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let next = RecordId(BOOT_US + scene.records.len() as u64 + 1);
    let job = scene.job(WEB, JobType::Stop, by(next));
    scene.job(WEB, JobType::Stop, by(job));
    scene.stop(WEB, run, 100, job);
    let answer = why(&scene, WEB);
    assert_eq!(answer.roots[0].kind, RootKind::Unknown);
    assert!(answer.notes[0].contains("circle"), "{:?}", answer.notes);
    let own = RecordId(BOOT_US + scene.records.len() as u64);
    let change = (Inactive, SubState::Dead, Active, SubState::Running, UnitResult::Success);
    scene.state(WEB, run, by(own), change);
    assert_eq!(why(&scene, WEB).event, "started");
}

#[test]
fn any_records_are_answered() {
    let mut chance = build::chance::Chance(23);
    const UNITS: [&str; 3] = ["a.service", "b.service", "c.socket"];
    for _ in 0..60 {
        let mut records = Vec::new();
        for id in 0..200u64 {
            let tag = chance.pick(&build::every::TAGS);
            let mut record = build::every::record(tag, &mut chance);
            record.id = RecordId(id);
            record.unit = Some(chance.pick(&UNITS).into());
            record.invocation = Some(Invocation([chance.below(5) as u8; 16]));
            for cause in &mut record.causes {
                cause.record = RecordId(chance.below(220) as u64);
            }
            assert!(!record.sentence().is_empty());
            records.push(record);
        }
        let now = build::every::stamp(&mut chance);
        let index = index::Index::new(records.clone());
        for unit in UNITS {
            if let Some(answer) = hence_ledger::why::why(&index, unit, None, now) {
                assert!(!answer.roots.is_empty());
                assert!(!json::answer(&answer).to_string().is_empty());
                assert!(graph::mermaid(&answer).starts_with("flowchart"));
            }
        }
        loops::loops(&index, now);
        leaks::leaks(&index);
        history::history(&index, history::Filter::default());
        let kept = fold::fold(Vec::new(), records.iter().cloned(), 10_000);
        fold::fold(kept, records.into_iter(), 5_000);
    }
}
