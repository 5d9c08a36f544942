//! What may happen to units, as the engine would record it: the stories of the golden pages.

use super::build::incident::{FOO, incident};
use super::build::scene::*;
use ActiveState::*;
use hence_ledger::*;

const WEB: &str = "web.service";
const FILE: &str = "/etc/systemd/system/web.service";

/// Name, the unit that is asked about, and what happened.
pub fn all() -> Vec<(&'static str, &'static str, Scene)> {
    vec![
        ("incident", FOO, incident(42)),
        ("incident-collector", "aws-otel-collector.service", incident(42)),
        ("request", WEB, request()),
        ("watchdog", WEB, watchdog()),
        ("start-limit", WEB, start_limit()),
        ("memory", WEB, memory()),
        ("no-program", WEB, no_program()),
        ("dependency", WEB, dependency()),
        ("two-requests", WEB, two_requests()),
        ("gap", WEB, gap()),
        ("hanging-stop", WEB, hanging_stop()),
        ("inferred", WEB, inferred()),
        ("hostile", WEB, hostile()),
        ("running", WEB, running()),
        ("timer", "backup.service", timer()),
        ("summed-up", WEB, summed_up()),
        ("long-chain", "unit12.service", long_chain()),
    ]
}

fn up(scene: &mut Scene, unit: &str, pid: u32) -> u32 {
    let request = scene.request(unit, Verb::Start, client(50, &format!("systemctl start {unit}")));
    let job = scene.job(unit, JobType::Start, by(request));
    scene.start(unit, pid, job, None)
}

fn running() -> Scene {
    let mut scene = Scene::new();
    up(&mut scene, WEB, 100);
    scene.wait(3 * 3_600_000 + 240_000);
    scene
}

fn request() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let asked = scene.wait(60_000).request(WEB, Verb::Stop, client(4711, "systemctl stop web"));
    let job = scene.job(WEB, JobType::Stop, by(asked));
    scene.stop(WEB, run, 100, job);
    scene.wait(2 * 86_400_000);
    scene
}

fn watchdog() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let armed = scene.records.last().expect("started").id;
    let fact = Fact::DeadlineReached { deadline: DeadlineKind::Watchdog, after_us: 30_000_000 };
    let by_row = by_rule(armed, rule("WatchdogSec=30", FILE, 8));
    let deadline = scene.wait(30_000).add_to(Some(WEB), Some(run), by_row, fact);
    let change = (Active, SubState::Running, Deactivating, SubState::StopWatchdog, UnitResult::Watchdog);
    let stopping = scene.state(WEB, run, by(deadline), change);
    let reason = SignalReason::Watchdog;
    let sent = Fact::SignalSent { signal: 6, reason, main: true, control: false, others: 0 };
    let by_row = by_rule(stopping, rule("WatchdogSignal=SIGABRT", FILE, 9));
    let sent = scene.add_to(Some(WEB), Some(run), by_row, sent);
    let exit = scene.exited(WEB, run, 100, ExitKind::Dumped, 6, by(sent));
    let change = (Deactivating, SubState::StopWatchdog, Failed, SubState::Failed, UnitResult::Watchdog);
    scene.state(WEB, run, by(exit), change);
    scene.wait(4_000);
    scene
}

fn start_limit() -> Scene {
    let mut scene = Scene::new();
    let mut run = up(&mut scene, WEB, 100);
    for pid in 100..105 {
        let restart = Some((rule("Restart=on-failure", FILE, 5), 100_000));
        let (_, scheduled) = scene.wait(50).fail(WEB, run, pid, 3, restart);
        let deadline = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: 100_000 };
        let deadline = scene.wait(100).add_to(Some(WEB), Some(run), by(scheduled), deadline);
        let job = scene.job(WEB, JobType::Restart, by(deadline));
        if pid < 104 {
            run = scene.start(WEB, pid + 1, job, None);
            continue;
        }
        let hit = Fact::StartLimitHit { burst: 5, interval_us: 10_000_000 };
        let hit = scene.add_to(Some(WEB), None, by_rule(job, rule("StartLimitBurst=5", FILE, 2)), hit);
        let change = (Activating, SubState::AutoRestart, Failed, SubState::Failed, UnitResult::StartLimitHit);
        scene.state(WEB, run, by(hit), change);
    }
    scene.wait(900_000);
    scene
}

fn memory() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let oom = scene.wait(9_000).add_to(Some(WEB), Some(run), Vec::new(), Fact::OomKill { kills: 1 });
    let exit = scene.exited(WEB, run, 100, ExitKind::Killed, 9, by(oom));
    let change = (Active, SubState::Running, Failed, SubState::Failed, UnitResult::OomKill);
    scene.state(WEB, run, by(exit), change);
    scene.wait(1_000);
    scene
}

fn no_program() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let state = scene.records.last().expect("up").id;
    let subject = "/usr/bin/web".into();
    let failed = Fact::SpawnFailed { role: ProcessRole::Main, step: SpawnStep::Exec, errno: 2, subject };
    let failed = scene.add_to(Some(WEB), Some(run), by(state), failed);
    let exit = scene.exited(WEB, run, 100, ExitKind::Exited, 203, by(failed));
    let change = (Active, SubState::Running, Failed, SubState::Failed, UnitResult::ExitCode);
    scene.state(WEB, run, by(exit), change);
    scene.wait(300);
    scene
}

fn dependency() -> Scene {
    let mut scene = Scene::new();
    let asked = scene.request(WEB, Verb::Start, client(60, "systemctl start web"));
    let job = scene.job(WEB, JobType::Start, by(asked));
    let requires = rule("Requires=db.service", FILE, 4);
    let db_job = scene.job("db.service", JobType::Start, by_rule(job, requires.clone()));
    let run = scene.start("db.service", 300, db_job, None);
    let (exit, failed) = scene.fail("db.service", run, 300, 2, None);
    let words =
        Fact::LastWords { stream: Stream::Stderr, text: "FATAL: data directory has wrong owner\n".into() };
    scene.add_to(Some("db.service"), Some(run), by(exit), words);
    let finish = |result| Fact::JobFinished { job: 1, job_type: JobType::Start, result };
    let ended = scene.add(Some("db.service"), by(failed), finish(JobResult::Failed));
    scene.add(Some(WEB), by_rule(ended, requires), finish(JobResult::Dependency));
    scene.wait(5_000);
    scene
}

fn two_requests() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let first = scene.request(WEB, Verb::Stop, client(71, "systemctl stop web"));
    let job = scene.job(WEB, JobType::Stop, by(first));
    let second = scene.request(WEB, Verb::Stop, client(72, "shutdown-hook"));
    let causes = vec![Cause { record: second, rule: None }, Cause { record: job, rule: None }];
    let merged = scene.add(Some(WEB), causes, Fact::JobMerged { job: 1, job_type: JobType::Stop });
    scene.stop(WEB, run, 100, merged);
    scene.wait(5_000);
    scene
}

fn gap() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    scene.stop(WEB, run, 100, RecordId(999));
    scene.add(None, Vec::new(), Fact::Gap { lost: 12, reason: GapReason::RingFull });
    scene.wait(5_000);
    scene
}

fn hanging_stop() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let asked = scene.request(WEB, Verb::Stop, client(4711, "systemctl stop web"));
    let job = scene.job(WEB, JobType::Stop, by(asked));
    let change = (Active, SubState::Running, Deactivating, SubState::StopSigterm, UnitResult::Success);
    scene.state(WEB, run, by(job), change);
    scene.wait(75_000);
    scene
}

fn inferred() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let asked = scene.wait(60_000).request(WEB, Verb::Stop, client(1, "systemd"));
    let job = scene.job(WEB, JobType::Stop, by(asked));
    scene.records.iter_mut().rev().take(2).for_each(|record| record.certainty = Certainty::Inferred);
    scene.stop(WEB, run, 100, job);
    scene.wait(5_000);
    scene
}

/// Texts that were chosen to do harm to a terminal, and long ones.
fn hostile() -> Scene {
    let mut scene = Scene::new();
    let run = up(&mut scene, WEB, 100);
    let command = format!("sh -c \x1b[2J\x1b]0;owned\x07 \u{202e}txt.exe {}", "A".repeat(900));
    let asked = scene.wait(60_000).request(WEB, Verb::Kill, client(666, &command));
    let (exit, _) = scene.fail(WEB, run, 100, 1, None);
    let text = format!(
        "line 1\nline 2\r\n\x1b[1;1Hall is well\n\n{}\na\tb\nlast \u{9b}31mred\n",
        "wide ".repeat(400)
    );
    scene.add_to(Some(WEB), Some(run), by(exit), Fact::LastWords { stream: Stream::Stderr, text });
    let cause = Cause { record: asked, rule: Some(rule("KillMode=none\x1b[31m", FILE, 9)) };
    scene.left_behind(WEB, run, cause, 102, 3 << 20, 1);
    scene.wait(5_000);
    scene
}

/// Every hour, and foreign to loops.
fn timer() -> Scene {
    let mut scene = Scene::new();
    let unit = "backup.service";
    for nth in 0..6 {
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::Timer, after_us: 0 };
        let elapsed = scene.wait(3_600_000).add(Some("backup.timer"), Vec::new(), fact);
        let starts = rule("OnCalendar=hourly", "/etc/systemd/system/backup.timer", 5);
        let job = scene.job(unit, JobType::Start, by_rule(elapsed, starts));
        let run = scene.start(unit, 200 + nth, job, None);
        scene.wait(2_000).fail(unit, run, 200 + nth, 0, None);
    }
    scene.wait(600_000);
    scene
}

/// The single records had to make room.
fn summed_up() -> Scene {
    let mut scene = Scene::new();
    let first = scene.now();
    scene.wait(40 * 86_400_000);
    let last = scene.now();
    let chain = ["web.service: failed (Restart=always)", "web.service: main process exited with status 1"];
    let fact = Fact::Tally {
        what: "failed".into(),
        times: 691_200,
        first,
        last,
        rule: Some(rule("Restart=always", FILE, 5)),
        chain: chain.map(Text::from).to_vec(),
        left_behind: 0,
    };
    scene.add(Some(WEB), Vec::new(), fact);
    scene.wait(3 * 86_400_000);
    scene
}

/// A restart that twelve units pass on, and a process that ended at its root.
fn long_chain() -> Scene {
    let mut scene = Scene::new();
    let name = |nth: u32| format!("unit{nth}.service");
    let runs: Vec<u32> = (0..=12).map(|nth| up(&mut scene, &name(nth), 100 + nth)).collect();
    let restart = Some((rule("Restart=always", "/etc/systemd/system/unit0.service", 7), 100_000));
    let (_, scheduled) = scene.wait(60_000).fail(&name(0), runs[0], 100, 1, restart);
    let deadline = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: 100_000 };
    let deadline = scene.wait(100).add_to(Some(&name(0)), Some(runs[0]), by(scheduled), deadline);
    let mut job = scene.job(&name(0), JobType::Restart, by(deadline));
    for nth in 1..=12 {
        let part_of = format!("PartOf={}", name(nth - 1));
        let file = format!("/etc/systemd/system/{}", name(nth));
        job = scene.job(&name(nth), JobType::Restart, by_rule(job, rule(&part_of, &file, 3)));
    }
    scene.stop(&name(12), runs[12], 112, job);
    scene.wait(5_000);
    scene
}
