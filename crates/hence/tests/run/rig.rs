//! What the tests share: a folder with units and a ledger, a running hence, waiting with a bound, and the
//! processes of units as /proc has them, found by a marker in their command lines.

use crate::roots::cgroup_roots;
use hence_host::store::Reader;
use hence_ledger::{Fact, LeftOver, Record};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest that a test waits for one thing.
const PATIENCE: Duration = Duration::from_secs(20);
/// The ordinary user that root runs tests as.
pub const NOBODY: u32 = 65534;

/// Who runs hence, and how it tracks processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The best there is.
    Best,
    /// Asked for.
    Ancestry,
    /// An ordinary user, at the best level that there is for one.
    User,
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The levels that can be tested here.
pub fn levels() -> Vec<Level> {
    if is_root() {
        return vec![Level::Best, Level::Ancestry, Level::User];
    }
    eprintln!(
        "skipped: running as root and as another user; these tests run as {NOBODY} where root runs them"
    );
    vec![Level::Best, Level::Ancestry]
}

/// Whether root is there; says what is skipped where it is not.
pub fn root_for(what: &str) -> bool {
    if !is_root() {
        eprintln!("skipped: {what}: only root can");
    }
    is_root()
}

/// Waits until there is something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process as /proc has it: pid and start time.
pub fn start_ticks(pid: u32) -> Option<u64> {
    hence_host::stat(pid).filter(|s| !s.zombie).map(|s| s.start_ticks)
}

/// A folder with units, a ledger and what a hence said, and the processes of all of it. All go at the end.
pub struct Site {
    pub folder: PathBuf,
    /// An argument that `sleep` takes and that no other process has.
    pub mark: String,
    pub level: Level,
    started: std::cell::RefCell<Vec<u32>>,
}

impl Site {
    pub fn new(name: &str, level: Level) -> Site {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = std::process::id();
        let folder = std::env::temp_dir().join(format!("hence-run-{name}-{own}-{number}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("units")).expect("a folder");
        let site = Site {
            folder,
            mark: format!("0.000{own}9{number:04}"),
            level,
            started: std::cell::RefCell::default(),
        };
        if level == Level::User {
            for folder in [&site.folder, &site.units()] {
                std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).expect("a chown");
            }
        }
        site
    }

    pub fn units(&self) -> PathBuf {
        self.folder.join("units")
    }

    pub fn ledger(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Waits until clients are served: between the making of the socket and that lies a moment.
    pub fn until_serving(&self) {
        let socket = self.folder.join("bus");
        until("the socket", || std::os::unix::net::UnixStream::connect(&socket).ok().map(drop));
    }

    /// Writes a file of the units' folder; MARK and FOLDER stand for this site's.
    pub fn unit(&self, name: &str, text: &str) -> &Site {
        let text = text.replace("MARK", &self.mark).replace("FOLDER", self.path("").trim_end_matches('/'));
        fs::write(self.units().join(name), text).expect("a unit");
        self
    }

    /// Writes a program.
    pub fn script(&self, name: &str, text: &str) -> String {
        let text = text.replace("MARK", &self.mark).replace("FOLDER", self.path("").trim_end_matches('/'));
        let path = self.path(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// A file's content once it ends with a line's end.
    pub fn written(&self, name: &str) -> String {
        until(name, || Some(self.read(name)).filter(|text| text.ends_with('\n')))
    }

    /// Waits until a field is in the ledger's journal, as NAME=VALUE.
    pub fn logged(&self, field: &str) {
        let holds = |path: PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            bytes.windows(field.len()).any(|there| there == field.as_bytes())
        };
        until(field, || {
            let files = fs::read_dir(self.ledger().join("journal")).ok()?;
            files.flatten().any(|file| holds(file.path())).then_some(())
        });
    }

    /// A command line of hence, as the user of this level.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_hence");
        let mut command = if self.level == Level::User {
            let mut command = Command::new("setpriv");
            let id = NOBODY.to_string();
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", program]);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).arg("--ledger").arg(self.ledger());
        command.env("HOME", &self.folder).env("NO_COLOR", "1").env_remove("XDG_RUNTIME_DIR");
        command.env_remove("XDG_STATE_HOME").stdin(Stdio::null());
        command
    }

    /// `hence run` of the site's units.
    pub fn run_command(&self, more: &[&str]) -> Command {
        let mut arguments = vec!["run".to_owned(), self.path("units")];
        if !more.contains(&"--socket") {
            arguments.extend(["--socket".to_owned(), self.path("bus")]);
        }
        if self.level == Level::Ancestry {
            arguments.push("--tracking=ancestry".to_owned());
        }
        arguments.extend(more.iter().map(|a| (*a).to_owned()));
        self.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts `hence run`; what it says goes to the files `out` and `err`.
    pub fn start(&self, more: &[&str]) -> Hence<'_> {
        self.start_with(more, &[])
    }

    /// The same with these environment variables.
    pub fn start_with(&self, more: &[&str], environment: &[(&str, &str)]) -> Hence<'_> {
        let file = |name| File::create(self.folder.join(name)).expect("a file");
        let mut command = self.run_command(more);
        command.envs(environment.iter().copied());
        let child = command.stdout(file("out")).stderr(file("err")).spawn().expect("hence starts");
        self.started.borrow_mut().push(child.id());
        Hence { child, site: self }
    }

    /// The same by this program.
    pub fn start_program(&self, program: &Path, more: &[&str]) -> Hence<'_> {
        let file = |name| File::create(self.folder.join(name)).expect("a file");
        let plain = self.run_command(more);
        let mut command = Command::new(program);
        command
            .args(plain.get_args())
            .env("NO_COLOR", "1")
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::null());
        let child = command.stdout(file("out")).stderr(file("err")).spawn().expect("hence starts");
        self.started.borrow_mut().push(child.id());
        Hence { child, site: self }
    }

    /// Runs units to their end.
    pub fn run(&self, more: &[&str]) -> i32 {
        self.start(more).ended().code().expect("a status")
    }

    /// Another verb on the ledger.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("hence answers")
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|e| {
            panic!("{arguments:?}: {e}: {text}{}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// All records; damage fails the test.
    pub fn records(&self) -> Vec<Record> {
        let reader = Reader::open(&self.ledger()).unwrap_or_else(|e| panic!("{e}\n{}", self.said()));
        reader.records().map(|r| r.unwrap_or_else(|damage| panic!("{damage}"))).collect()
    }

    /// Records of a ledger that may not be there yet.
    pub fn records_so_far(&self) -> Vec<Record> {
        match Reader::open(&self.ledger()) {
            Ok(_) => self.records(),
            Err(_) => Vec::new(),
        }
    }

    /// Waits for a record.
    pub fn recorded<T>(&self, what: &str, pick: impl Fn(&Record) -> Option<T>) -> T {
        until(&format!("a record of {what}\n{}", self.said()), || {
            self.records_so_far().iter().find_map(&pick)
        })
    }

    /// Every process that was told to be left behind, with its record.
    pub fn left_behind(&self) -> Vec<(Record, LeftOver)> {
        let mut found = Vec::new();
        for record in self.records_so_far() {
            if let Fact::LeftBehind { processes, .. } = &record.fact {
                found.extend(processes.iter().map(|p| (record.clone(), p.clone())));
            }
        }
        found
    }

    /// Processes with the mark on their command line, none of them hence's own.
    pub fn marked(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for pid in hence_host::processes() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&line);
            if text.contains(&self.mark) && start_ticks(pid).is_some() {
                found.push(pid);
            }
        }
        found
    }

    pub fn said(&self) -> String {
        format!("out:\n{}err:\n{}", self.read("out"), self.read("err"))
    }

    /// Kills what is marked until nothing is, however fast it forks.
    pub fn kill_marked(&self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let marked = self.marked();
            if marked.is_empty() {
                return;
            }
            // Stopped first: what is stopped does not fork.
            for signal in [rustix::process::Signal::STOP, rustix::process::Signal::KILL] {
                marked.iter().for_each(|&pid| send(pid, signal));
            }
        }
    }
}

pub fn send(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let ledger = self.path("ledger");
        for &pid in self.started.borrow().iter() {
            // Only a hence that a failed test left: those that ended were waited for.
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&ledger) {
                send(pid, rustix::process::Signal::KILL);
            }
        }
        self.kill_marked();
        // Recorders end when nobody is left who writes to them; this is for those that don't.
        for pid in hence_host::processes() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&format!("recorder\0{ledger}")) {
                send(pid, rustix::process::Signal::KILL);
            }
        }
        for &pid in self.started.borrow().iter() {
            for root in cgroup_roots(pid) {
                hence_host::sweep(&root);
            }
        }
        if std::thread::panicking() {
            eprintln!("what hence said:\n{}", self.said());
            if std::env::var_os("HENCE_KEEP").is_some() {
                return;
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `hence systemctl` to the site's hence, as its user.
pub fn systemctl(site: &Site, line: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_hence");
    let mut command = Command::new(if site.level == Level::User { "setpriv" } else { program });
    if site.level == Level::User {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", program]);
    }
    command.args(["systemctl", "--socket", &site.path("bus")]).args(line).stdin(Stdio::null());
    command
}

/// What it says.
pub fn asked(site: &Site, line: &[&str]) -> Output {
    systemctl(site, line).output().expect("an answer")
}

/// All that was printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A hence that runs.
pub struct Hence<'a> {
    child: Child,
    site: &'a Site,
}

impl Hence<'_> {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        send(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn ended(mut self) -> ExitStatus {
        let site = self.site;
        let child = &mut self.child;
        until(&format!("the end of hence\n{}", site.said()), || child.try_wait().expect("a wait"))
    }

    /// Kills it, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("a kill");
        self.child.wait().expect("a wait");
    }

    /// Asks it to end as ^C does; its exit status.
    pub fn interrupt(self) -> i32 {
        self.signal(rustix::process::Signal::INT);
        let site = self.site;
        self.ended().code().unwrap_or_else(|| panic!("killed\n{}", site.said()))
    }

    /// Its recorder.
    pub fn recorder(&self) -> Option<u32> {
        let mine = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|&b| b == 0).nth(1) == Some(b"recorder")
                && hence_host::stat(*pid).is_some_and(|s| s.parent == self.pid() && !s.zombie)
        };
        hence_host::processes().into_iter().find(mine)
    }
}

impl Drop for Hence<'_> {
    fn drop(&mut self) {
        // Still running only where its test failed.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
