//! A hence with one unit of each sort, what stirs them all, and what must be true of it afterwards.

use crate::rig::{Hence, Level, Site, asked, send, start_ticks, systemctl, until};
use hence_host::store::Reader;
use hence_ledger::{ActiveState, Fact, Record};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the system refuses.
const REFUSING: Duration = Duration::from_millis(700);
/// How long hence may take to end.
const ENDING: Duration = Duration::from_secs(25);

const NAMES: &str = "simple.service forking.service notified.service several.service user.service \
                     leaves.service";

fn units(site: &Site) {
    let unlimited = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=on-failure\nRestartSec=100ms\n\
                     TimeoutStopSec=2\nTimeoutStartSec=3\n";
    site.unit("simple.service", &format!("{unlimited}ExecStart=/bin/sleep 1000 MARK\n"));
    site.unit(
        "forking.service",
        &format!(
            "{unlimited}Type=forking\nPIDFile=FOLDER/forking.pid\n\
             ExecStart=/bin/sh -c 'sleep 1000 MARK & echo $$! > FOLDER/forking.pid'\n"
        ),
    );
    site.unit(
        "notified.service",
        &format!(
            "{unlimited}Type=notify\nNotifyAccess=all\n\
             ExecStart=/bin/sh -c 'systemd-notify --ready; exec sleep 1000 MARK'\n"
        ),
    );
    site.unit(
        "several.service",
        &format!(
            "{unlimited}Type=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/bin/true\nExecStart=/bin/sh -c 'sleep 0.1 MARK'\n\
             ExecStart=/bin/true\nExecStop=/bin/true\n"
        ),
    );
    site.unit("user.service", &format!("{unlimited}User=nobody\nExecStart=/bin/sleep 1000 MARK\n"));
    site.unit(
        "leaves.service",
        &format!(
            "{unlimited}KillMode=process\n\
             ExecStart=/bin/sh -c 'setsid sleep 6 MARK & exec sleep 1000 MARK'\n"
        ),
    );
    site.unit(
        "always.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=50ms\n\
         ExecStart=/bin/sh -c 'sleep 0.1 MARK'\n",
    );
    site.unit("echo.socket", "[Socket]\nListenStream=FOLDER/echo\nAccept=yes\n[Install]\n");
    site.unit("echo@.service", "[Service]\nStandardInput=socket\nExecStart=/bin/sh -c 'sleep 0.1 MARK'\n");
    site.unit("tick.timer", "[Timer]\nOnActiveSec=200ms\nOnUnitInactiveSec=200ms\nAccuracySec=1ms\n");
    site.unit(
        "tick.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
    );
    site.unit("seen.path", "[Path]\nPathChanged=FOLDER/seen\nTriggerLimitIntervalSec=0\n");
    site.unit(
        "seen.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
    );
}

/// A hence that runs.
pub struct World<'s> {
    pub site: &'s Site,
    pub hence: Hence<'s>,
}

/// Has it suffer `what`, and says what is wrong afterwards.
pub fn run(name: &str, what: impl FnOnce(&World<'_>) -> Option<String>) -> Vec<String> {
    let site = Site::new(name, Level::Best);
    run_in(&site, what)
}

/// The same with the ledger on a disk of 12 MiB.
pub fn run_on_small_disk(name: &str, what: impl FnOnce(&World<'_>) -> Option<String>) -> Vec<String> {
    let site = Site::new(name, Level::Best);
    std::fs::create_dir_all(site.ledger()).expect("a folder");
    let disk = Disk(site.ledger());
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(&disk.0);
    assert!(mount.status().expect("mount").success());
    run_in(&site, what)
}

/// A file system that goes at the end.
struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A file of a control group that can't be read: reading any process' memory from its beginning is an error.
pub struct Cover(PathBuf);

impl Cover {
    pub fn new(file: &Path) -> Cover {
        let memory = format!("/proc/{}/mem", std::process::id());
        let mounted = Command::new("mount").args(["--bind", &memory]).arg(file).status();
        assert!(mounted.expect("mount").success());
        Cover(file.to_owned())
    }
}

impl Drop for Cover {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn run_in(site: &Site, what: impl FnOnce(&World<'_>) -> Option<String>) -> Vec<String> {
    units(site);
    let hence = site.start(&["--quiet", "--stay"]);
    let world = World { site, hence };
    for unit in NAMES.split_whitespace() {
        site.recorded(unit, |r| is_up(r, unit).then_some(()));
    }
    let mut wrong: Vec<String> = what(&world).into_iter().collect();
    let over = hence_host::Host::now().monotonic_us;
    let begun = Instant::now();
    let back = |r: &Record| is_up(r, "always.service") && r.at.monotonic_us > over;
    while !site.records_so_far().iter().any(back) {
        if begun.elapsed() > ENDING {
            wrong.push("always.service doesn't come back".into());
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    wrong.extend(world.ended());
    if !wrong.is_empty() {
        wrong.push(format!("hence said:\n{}", site.said()));
    }
    wrong
}

fn is_up(record: &Record, unit: &str) -> bool {
    let up = matches!(record.fact, Fact::StateChanged { to_active: ActiveState::Active, .. });
    up && record.unit.as_deref() == Some(unit)
}

impl World<'_> {
    pub fn pid(&self) -> u32 {
        self.hence.pid()
    }

    /// Asks for something; the answer may be an error.
    pub fn ask(&self, line: &[&str]) {
        let mut command = systemctl(self.site, line);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("hence systemctl");
        let begun = Instant::now();
        while child.try_wait().expect("a wait").is_none() {
            if begun.elapsed() > Duration::from_secs(3) {
                let _ = child.kill();
                let _ = child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has every unit do something.
    pub fn stir(&self) {
        let names: Vec<&str> = NAMES.split_whitespace().collect();
        for _ in 0..6 {
            if let Ok(mut stream) = UnixStream::connect(self.site.folder.join("echo")) {
                let _ = stream.write_all(b"x");
            }
        }
        let _ = std::fs::write(self.site.folder.join("seen"), "x");
        let mut line = vec!["restart", "--no-block"];
        line.extend(&names);
        self.ask(&line);
        for pid in self.site.marked().into_iter().take(2) {
            send(pid, Signal::KILL);
        }
    }

    /// What hence itself has used of CPU time.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        number(11) + number(12)
    }

    /// The control group of a unit.
    pub fn group(&self, unit: &str) -> Option<PathBuf> {
        let root = self.site.recorded("the start of hence", |r| match &r.fact {
            Fact::Started { cgroup, .. } => Some(PathBuf::from(&**cgroup)),
            _ => None,
        });
        let folders = ["app.slice", "system.slice", ""].map(|slice| root.join(slice).join(unit));
        folders.into_iter().find(|f| f.join("cgroup.events").exists())
    }

    /// Calls of this process fail for a while.
    pub fn under_strace(&self, pid: u32, injection: &str) -> Option<String> {
        let log = self.site.path("strace");
        let mut strace = Command::new("strace");
        let calls = injection.split(':').next().unwrap_or("");
        strace.args(["-qq", "-o", &log, "-e", &format!("trace={calls}")]);
        strace.args(["-e", &format!("inject={injection}"), "-p", &pid.to_string()]);
        let mut strace = strace.stderr(Stdio::null()).spawn().expect("strace");
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let tracer = status.lines().find_map(|l| l.strip_prefix("TracerPid:"))?.trim().to_owned();
            (tracer != "0").then_some(())
        };
        until("strace", traced);
        self.stir();
        std::thread::sleep(REFUSING);
        send(strace.id(), Signal::TERM);
        let _ = strace.wait();
        None
    }

    /// Ends it; what is wrong then.
    fn ended(self) -> Vec<String> {
        let mut wrong = Vec::new();
        let (pid, site) = (self.pid(), self.site);
        self.hence.signal(Signal::TERM);
        let begun = Instant::now();
        while start_ticks(pid).is_some() && begun.elapsed() < ENDING {
            std::thread::sleep(Duration::from_millis(20));
        }
        if start_ticks(pid).is_some() {
            let jobs = asked(site, &["list-units", "--all"]);
            wrong.push(format!("it doesn't end\n{}", String::from_utf8_lossy(&jobs.stdout)));
            self.hence.kill();
            return wrong;
        }
        let status = self.hence.ended();
        if status.code().is_none() {
            wrong.push(format!("it ended by {status}"));
        }
        let said = site.said();
        if said.contains("panicked") || said.contains("defect") {
            wrong.push("it has a defect".into());
        }
        wrong.extend(self::lost(site));
        wrong.extend(self::untrue(site));
        wrong
    }
}

/// Processes of units that are alive and that no record says to be left behind.
fn lost(site: &Site) -> Option<String> {
    let left = site.left_behind();
    let known = |pid: &u32| left.iter().any(|(_, p)| p.pid == *pid);
    let line = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let lost: Vec<String> = site
        .marked()
        .iter()
        .filter(|pid| !known(pid) && start_ticks(**pid).is_some())
        .map(|pid| format!("{pid}: {}", line(pid).replace('\0', " ")))
        // hence's own command line has the mark in none of its arguments; strace's has it in its log's path.
        .collect();
    (!lost.is_empty()).then(|| format!("processes are lost: {lost:?}"))
}

/// What the ledger says that isn't so.
fn untrue(site: &Site) -> Vec<String> {
    let mut wrong = Vec::new();
    // The recorder may still be at the last records.
    let begun = Instant::now();
    let records = loop {
        let reader = Reader::open(&site.ledger()).map(|r| r.records().collect::<Vec<_>>());
        let records: Vec<Record> = match reader {
            Ok(records) => records.into_iter().flatten().collect(),
            Err(e) => return vec![format!("the ledger can't be read: {e}")],
        };
        let ended = records.iter().any(|r| matches!(r.fact, Fact::Ended { .. }));
        if ended || begun.elapsed() > Duration::from_secs(5) {
            break records;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let gap = records.iter().any(|r| matches!(r.fact, Fact::Gap { lost, .. } if lost > 0));
    if !gap && !records.iter().any(|r| matches!(r.fact, Fact::Ended { .. })) {
        wrong.push("no record says that hence ended, and no gap that it is missing".into());
    }
    let mut last = BTreeMap::new();
    for record in &records {
        if let (Fact::StateChanged { to_active, .. }, Some(unit)) = (&record.fact, &record.unit) {
            last.insert(unit.to_string(), *to_active);
        }
    }
    let up = last.iter().filter(|(unit, state)| {
        let down = matches!(state, ActiveState::Inactive | ActiveState::Failed);
        !down && !unit.ends_with(".slice")
    });
    let up: Vec<_> = up.collect();
    if !gap && !up.is_empty() {
        wrong.push(format!("by the ledger these are up after the end: {up:?}"));
    }
    let verified = site.ask(&["verify"]);
    if !verified.status.success() && !gap {
        wrong.push(format!("hence verify: {}", crate::rig::said(&verified)));
    }
    wrong
}
