//! Where a soak runs: a folder of its own with ledger, socket and TMPDIR, the hence that runs there, and
//! the end of all that was started. Disks that are bounded for a run belong here too.

use super::story::Story;
use crate::exit::{HOST, Trouble};
use hence_ledger::Tracking;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The size of a bounded disk.
pub const DISK_BYTES: u64 = 64 << 20;
/// How long hence may take until it listens.
const LISTENS: Duration = Duration::from_secs(20);

/// In the hence that is soaked: it ends with the soak, and has the disks that were asked for.
pub fn prepare(bounded: &[PathBuf]) {
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    if bounded.is_empty() {
        return;
    }
    if let Err(error) = hence_host::disk::bound_folders(bounded, DISK_BYTES) {
        eprintln!("hence: no disk can be bounded here: {error}");
    }
}

/// The folder of a run, removed at its end.
#[derive(Debug)]
pub struct Scratch {
    pub folder: PathBuf,
    pub ledger: PathBuf,
}

impl Scratch {
    /// Makes it; the ledger is elsewhere where the command line says so.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(ledger: Option<PathBuf>) -> Result<Scratch, Trouble> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let name = format!("hence-soak-{}-{:x}", std::process::id(), nanos.map_or(0, |n| n.subsec_nanos()));
        let folder = std::env::temp_dir().join(name);
        let said = |e: std::io::Error| Trouble::new(HOST, format!("{}: {e}", folder.display()));
        // Services of every user find TMPDIR, and nothing else.
        std::fs::DirBuilder::new().mode(0o711).create(&folder).map_err(said)?;
        let tmp = folder.join("tmp");
        std::fs::create_dir(&tmp).map_err(said)?;
        std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o1777)).map_err(said)?;
        let own = folder.join("ledger");
        Ok(Scratch { folder, ledger: ledger.unwrap_or(own) })
    }

    pub fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// What hence said on stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("said")).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The hence that runs the units.
#[derive(Debug)]
pub struct Soaked {
    child: Child,
}

impl Soaked {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It doesn't come up: what it said.
    pub fn start(arguments: &[std::ffi::OsString], scratch: &Scratch) -> Result<Soaked, Trouble> {
        let failed = |message: String| Trouble::new(HOST, message);
        let program = std::env::current_exe().map_err(|e| failed(format!("this program: {e}")))?;
        let said = std::fs::File::create(scratch.folder.join("said"));
        let said = said.map_err(|e| failed(format!("{}: {e}", scratch.folder.display())))?;
        let mut command = Command::new(program);
        command.arg("run").args(arguments).args(["--stay", "--quiet", "--journal", "none"]);
        command.arg("--ledger").arg(&scratch.ledger).arg("--socket").arg(scratch.socket());
        command.arg("--soak").arg(scratch.tmp());
        // A ^C is for the soak, which ends this one.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().map_err(|e| failed(format!("hence can't be started: {e}")))?;
        let mut soaked = Soaked { child };
        let until = Instant::now() + LISTENS;
        loop {
            if std::os::unix::net::UnixStream::connect(scratch.socket()).is_ok() {
                return Ok(soaked);
            }
            if let Some(status) = soaked.ended() {
                let status = status.code().and_then(|c| u8::try_from(c).ok()).filter(|c| *c > 1);
                let said = scratch.said();
                let said = said.lines().map(|l| l.strip_prefix("hence: ").unwrap_or(l));
                let message: Vec<&str> = said.collect();
                return Err(Trouble::new(status.unwrap_or(HOST), message.join("\n")));
            }
            if Instant::now() > until {
                soaked.kill();
                return Err(failed(format!("hence does not listen: {}", scratch.said())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What its mounts look like from here.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.child.id()))
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Tells it to end in order.
    pub fn stop(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Soaked {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.kill();
        }
    }
}

/// Ends what units left behind. Returns how many processes that were.
pub fn end_all(story: &Story) -> usize {
    let mut ended = 0;
    for _ in 0..20 {
        let mut left: Vec<u32> = Vec::new();
        let known = story.units.values().flat_map(|u| &u.left);
        left.extend(known.filter(|l| hence_host::is_alive(l.pid, l.start_ticks)).map(|l| l.pid));
        let of_run = |pid: &u32| {
            let invocation = hence_host::invocation_of(*pid);
            invocation.is_some_and(|i| story.invocations.contains(&i))
        };
        let others = hence_host::processes().into_iter().filter(of_run);
        left.extend(others.filter(|pid| hence_host::stat(*pid).is_some_and(|s| !s.zombie)));
        left.sort_unstable();
        left.dedup();
        if left.is_empty() {
            break;
        }
        ended = ended.max(left.len());
        for pid in left.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    if let (Some(Tracking::Cgroup), Some(folder)) = (story.tracking, &story.cgroup)
        && is_own(folder)
    {
        hence_host::sweep(folder);
    }
    ended
}

/// Whether a control group was made for one hence alone.
fn is_own(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("hence-"))
}
