//! The incident: a collector that a version bump broke restarts every 5 s and takes foo.service with it,
//! which leaves a process behind each time.

use super::scene::*;
use hence_ledger::*;

pub const FOO: &str = "foo.service";
pub const COLLECTOR: &str = "aws-otel-collector.service";
const FOO_FILE: &str = "/etc/systemd/system/foo.service";
const COLLECTOR_FILE: &str = "/etc/systemd/system/aws-otel-collector.service";
const PROGRAM: &str = "/usr/bin/aws-otel-collector";
const CONFIG: &str = "/etc/otel.yaml";

const LAST_WORDS: &str = "Error: failed to get config: cannot unmarshal the configuration: decoding failed \
    due to the following error(s):\n'service.telemetry.metrics' decoding failed due to the following \
    error(s):\n'' has invalid keys: address\n";

fn files(program: Version) -> Vec<FileIdentity> {
    let file = |path: &str, role, version| FileIdentity { path: path.into(), role, version: Some(version) };
    vec![
        file(COLLECTOR_FILE, FileRole::UnitFile, version(3, 240, 1_750_000_000)),
        file(PROGRAM, FileRole::Executable, program),
        file(CONFIG, FileRole::Argument, version(5, 512, 1_751_000_000)),
    ]
}

fn digest(scene: &mut Scene, path: &str, version: Version, sha: u8, package: &str) {
    let cause = scene.records.iter().rfind(|r| matches!(r.fact, Fact::Inputs { .. })).expect("inputs").id;
    let (sha256, package) = (Some([sha; 32]), Some(package.into()));
    scene.add(Some(COLLECTOR), by(cause), Fact::Digest { path: path.into(), version, sha256, package });
}

/// A good run of three hours, then `cycles` cycles of 5 s; ends 2 s after the last stop of foo.
pub fn incident(cycles: u32) -> Scene {
    incident_with(cycles, |_| 30)
}

/// The same, where the collector takes so many milliseconds to fail in each cycle.
pub fn incident_with(cycles: u32, fails_after_ms: impl Fn(u32) -> u64) -> Scene {
    let mut scene = Scene::new();
    let run = scene.request("incident.target", Verb::Run, client(1, "hence init"));
    let target = scene.job("incident.target", JobType::Start, by(run));
    let wants = |unit: &str| rule(&format!("Wants={unit}"), "/etc/systemd/system/incident.target", 4);
    let foo_job = scene.job(FOO, JobType::Start, by_rule(target, wants(FOO)));
    let requires = || rule(&format!("Requires={COLLECTOR}"), FOO_FILE, 3);
    let job = scene.job(COLLECTOR, JobType::Start, by_rule(foo_job, requires()));
    let old = version(4, 52_000_000, 1_752_000_000);
    let mut collector_run = scene.start(COLLECTOR, 100, job, Some(files(old)));
    let mut foo_run = scene.start(FOO, 101, foo_job, None);
    digest(&mut scene, PROGRAM, old, 0x43, "aws-otel-collector 0.43.3-1");

    // The update comes with an orderly restart of the collector, which foo follows.
    scene.wait(3 * 3600 * 1000);
    let request =
        scene.request(COLLECTOR, Verb::Restart, client(812, "systemctl restart aws-otel-collector"));
    let mut collector_pid = 900;
    let mut foo_pid = 901;
    let job = scene.job(COLLECTOR, JobType::Restart, by(request));
    let foo_job = scene.job(FOO, JobType::Restart, by_rule(job, requires()));
    let down = scene.stop(FOO, foo_run, 101, foo_job);
    let kill_mode = |record| Cause { record, rule: Some(rule("KillMode=process", FOO_FILE, 9)) };
    scene.left_behind(FOO, foo_run, kill_mode(down), 102, 75 << 20, 1);
    scene.stop(COLLECTOR, collector_run, 100, job);
    let new = version(44, 55_000_000, 1_765_330_000);
    collector_run = scene.start(COLLECTOR, collector_pid, job, Some(files(new)));
    foo_run = scene.start(FOO, foo_pid, foo_job, None);
    digest(&mut scene, PROGRAM, new, 0x45, "aws-otel-collector 0.45.1-1");

    for cycle in 0..cycles {
        scene.wait(fails_after_ms(cycle));
        let restart = rule("Restart=always", COLLECTOR_FILE, 7);
        let (exit, scheduled) =
            scene.fail(COLLECTOR, collector_run, collector_pid, 1, Some((restart, 5_000_000)));
        let text = LAST_WORDS.into();
        scene.add_to(
            Some(COLLECTOR),
            Some(collector_run),
            by(exit),
            Fact::LastWords { stream: Stream::Stderr, text },
        );
        scene.wait(4_960);
        let deadline = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: 5_000_000 };
        let seconds = rule("RestartSec=5", COLLECTOR_FILE, 8);
        let deadline =
            scene.add_to(Some(COLLECTOR), Some(collector_run), by_rule(scheduled, seconds), deadline);
        let job = scene.job(COLLECTOR, JobType::Restart, by(deadline));
        let foo_job = scene.job(FOO, JobType::Restart, by_rule(job, requires()));
        let down = scene.stop(FOO, foo_run, foo_pid, foo_job);
        scene.left_behind(FOO, foo_run, kill_mode(down), 1001 + 3 * cycle, 75 << 20, cycle + 2);
        let waited = (
            ActiveState::Activating,
            SubState::AutoRestart,
            ActiveState::Inactive,
            SubState::Dead,
            UnitResult::Success,
        );
        scene.state(COLLECTOR, collector_run, by(job), waited);
        collector_pid = 1002 + 3 * cycle;
        foo_pid = 1003 + 3 * cycle;
        collector_run = scene.start(COLLECTOR, collector_pid, job, None);
        foo_run = scene.start(FOO, foo_pid, foo_job, None);
    }
    scene.wait(2_000);
    scene
}
