//! The stock systemctl, busctl and dbus-send against the front, over a real socket. Skipped, and said so,
//! where a tool is missing. The units are a toy's: what the engine does with requests is tested elsewhere.

mod toy;

use hence_bus::front::{Caller, Command, FileVerb, Front, JobView, PeerId, Verb, Whom};
use hence_unit::JobMode;
use hence_unit::install::{Options, PresetMode};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command as Process;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use toy::Toy;

struct World {
    front: Front,
    toy: Toy,
    streams: BTreeMap<PeerId, UnixStream>,
}

/// A server in threads of its own, in a folder of its own that goes with it.
struct Server {
    folder: PathBuf,
    world: Arc<Mutex<World>>,
}

fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").expect("/proc").uid()
}

impl Server {
    fn start(name: &str) -> Server {
        let folder = std::env::temp_dir().join(format!("hence-bus-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join("systemd")).expect("folder");
        let listener = UnixListener::bind(folder.join("systemd/private")).expect("socket");
        let front = Front::new([0xcd; 16], own_uid());
        let world = World { front, toy: Toy::new(), streams: BTreeMap::new() };
        let world = Arc::new(Mutex::new(world));
        let shared = Arc::clone(&world);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.expect("connection"), Arc::clone(&shared));
                thread::spawn(move || converse(stream, &shared));
            }
        });
        Server { folder, world }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test thread panicked")
    }

    fn asked(&self) -> Vec<Command> {
        self.world().toy.asked.drain(..).map(|(_, command)| command).collect()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Outcome {
        let output = Process::new(program)
            .args(arguments)
            .env("XDG_RUNTIME_DIR", &self.folder)
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
            // Where /proc/1/root cannot be read, systemctl believes to be in a chroot.
            .env("SYSTEMD_IGNORE_CHROOT", "1")
            .env("SYSTEMD_PAGER", "")
            .env("SYSTEMD_COLORS", "0")
            .env("LC_ALL", "C")
            .output()
            .expect("the tool runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn systemctl(&self, arguments: &[&str]) -> Outcome {
        let mut all = vec!["--user", "--no-pager"];
        all.extend(arguments);
        self.run("systemctl", &all)
    }
}

/// Makes a machine that was booted with systemd, in a mount namespace: root's tools and some verbs want that.
const BOOTED: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && \
    ln -s \"$XDG_RUNTIME_DIR/systemd/private\" /run/systemd/private && exec \"$@\"";

impl Server {
    /// As [`Server::run`] on a booted machine; `None` where we may not make a namespace.
    fn run_booted(&self, arguments: &[&str]) -> Option<Outcome> {
        let can = Process::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/run"]).output();
        if !can.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: no mount namespace here for {arguments:?}");
            return None;
        }
        Some(self.run("unshare", &[&["-m", "sh", "-c", BOOTED, "sh"], arguments].concat()))
    }

    fn systemctl_booted(&self, arguments: &[&str]) -> Option<Outcome> {
        self.run_booted(&[&["systemctl", "--user"], arguments].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Outcome {
    #[track_caller]
    fn is(&self, code: i32) -> &Outcome {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    fn says(&self, texts: &[&str]) -> &Outcome {
        for text in texts {
            assert!(self.out.contains(text) || self.err.contains(text), "no {text:?} in {self:#?}");
        }
        self
    }

    #[track_caller]
    fn is_silent(&self) -> &Outcome {
        assert_eq!((self.out.as_str(), self.err.as_str()), ("", ""));
        self
    }
}

fn converse(mut stream: UnixStream, shared: &Mutex<World>) {
    let id = {
        let mut world = shared.lock().expect("no test thread panicked");
        let id = world.front.connect(Caller { pid: 4242, uid: own_uid() }).expect("few peers");
        world.streams.insert(id, stream.try_clone().expect("descriptor"));
        id
    };
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).unwrap_or(0);
        let mut world = shared.lock().expect("no test thread panicked");
        let World { front, toy, streams } = &mut *world;
        let fatal = front.receive(id, &buffer[..length], toy).err();
        toy.serve(front);
        for (peer, stream) in streams.iter_mut() {
            while !front.outgoing(*peer).is_empty() {
                // A peer that has gone gets nothing; its own thread notices.
                let _ = stream.write_all(front.outgoing(*peer));
                front.sent(*peer, front.outgoing(*peer).len(), toy).expect("valid peers");
            }
        }
        if length == 0 || fatal.is_some() {
            front.disconnect(id);
            if let Some(stream) = streams.remove(&id) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            return;
        }
    }
}

fn has(program: &str) -> bool {
    let found = Process::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no {program} here");
    }
    found
}

#[test]
fn questions_about_one_unit() {
    if !has("systemctl") {
        return;
    }
    let server = Server::start("one");
    server.systemctl(&["is-active", "foo"]).is(0).says(&["active\n"]);
    server.systemctl(&["is-active", "bar"]).is(3).says(&["inactive\n"]);
    server.systemctl(&["is-active", "never-heard-of"]).is(3).says(&["inactive\n"]);
    server.systemctl(&["is-failed", "broken"]).is(0).says(&["failed\n"]);
    server.systemctl(&["is-failed", "foo"]).is(1).says(&["active\n"]);
    let shown = server.systemctl(&["show", "-p", "MainPID,NRestarts,InvocationID,TasksMax", "foo"]);
    let id = "5a".repeat(16);
    assert_eq!(shown.is(0).out, format!("MainPID=4242\nNRestarts=41\nTasksMax=512\nInvocationID={id}\n"));
    server.systemctl(&["show", "--value", "-p", "Job", "foo"]).is(0);
    let all = server.systemctl(&["show", "foo"]);
    all.is(0).says(&[
        "Type=notify\n",
        "ExecStart={ path=/usr/bin/food ; argv[]=food --port 80 ; ignore_errors=no ;",
        "MemoryCurrent=5242880\n",
        "TasksCurrent=3\n",
        "Requires=bar.service system.slice\n",
        "LoadState=loaded\n",
        "ActiveEnterTimestamp=Tue 2023-11-14 ",
    ]);
    assert_eq!(all.err, "");
    server.systemctl(&["show", "-p", "LoadState", "never-heard-of"]).is(0).says(&["LoadState=not-found\n"]);
    server.systemctl(&["status", "foo"]).is(0).says(&[
        "foo.service - The foo.service of the toy",
        "Loaded: loaded (/usr/lib/systemd/system/foo.service; enabled; preset: enabled)",
        "Active: active (running) since",
        "Drop-In: /etc/systemd/system/foo.service.d",
        "TriggeredBy: ",
        "Main PID: 4242",
        "Status: \"Serving 7 requests\"",
        "Tasks: 3 (limit: 512)",
        "Memory: 5.0M",
        "4242 food --port 80",
    ]);
    server.systemctl(&["status", "broken"]).is(3).says(&["Active: failed (Result: exit-code)"]);
    server.systemctl(&["status", "bar"]).is(3);
    server.systemctl(&["status", "never-heard-of"]).is(4).says(&["could not be found"]);
    server.systemctl(&["status", "4242"]).is(0).says(&["foo.service"]);
    server.systemctl(&["status", "4"]).is(1).says(&["PID 4 does not belong to any loaded unit."]);
    assert_eq!(server.asked(), []);
}

#[test]
fn questions_about_all() {
    if !has("systemctl") {
        return;
    }
    let server = Server::start("all");
    let list = server.systemctl(&["list-units", "--all"]);
    list.is(0).says(&["bar.service", "loaded inactive dead", "7 loaded units listed."]);
    server
        .systemctl(&["list-units", "--plain", "--no-legend", "--state=failed"])
        .is(0)
        .says(&["broken.service"]);
    let sockets = server.systemctl(&["list-units", "--plain", "--no-legend", "*.socket"]);
    assert_eq!(sockets.is(0).out.lines().count(), 1, "{sockets:#?}");
    server.systemctl(&["list-jobs"]).is(0).says(&["No jobs running."]);
    server.world().toy.jobs.push(JobView {
        id: 7,
        unit: "bar.service".into(),
        job_type: "start",
        state: "waiting",
    });
    server.systemctl(&["list-jobs"]).is(0).says(&["bar.service", "start", "waiting", "1 jobs listed."]);
    server.systemctl(&["cancel", "8"]).is(1).says(&["Job 8 does not exist."]);
    server.systemctl(&["cancel", "7"]).is(0);
    server.systemctl(&["list-jobs"]).is(0).says(&["No jobs running."]);
    let booted = |verb: &str| server.systemctl_booted(&[verb]);
    booted("is-system-running").inspect(|outcome| {
        outcome.is(0).says(&["running\n"]);
    });
    server.world().toy.state = "degraded";
    booted("is-system-running").inspect(|outcome| {
        outcome.is(1).says(&["degraded\n"]);
    });
    server.systemctl(&["status"]).is(0).says(&["State: degraded", "Failed: 1 units"]);
    server.systemctl(&["show"]).is(0).says(&["Version=hence 0.1.0\n", "NFailedUnits=1\n"]);
    server.systemctl(&["show-environment"]).is(0).says(&["LANG=C\n"]);
    server.systemctl(&["list-sockets"]).is(0).says(&["/run/foo.sock", "2 sockets listed."]);
    server.systemctl(&["list-timers"]).is(0).says(&["daily.timer", "bar.service", "1 timers listed."]);
    server.systemctl(&["list-dependencies", "foo"]).is(0).says(&["bar.service", "system.slice"]);
}

#[test]
fn jobs_wait_for_their_end_and_set_the_exit_status() {
    if !has("systemctl") {
        return;
    }
    let server = Server::start("jobs");
    let enqueue =
        |unit: &str, verb, mode, detailed| vec![Command::Enqueue { unit: unit.into(), verb, mode, detailed }];
    server.systemctl(&["start", "bar"]).is(0).is_silent();
    assert_eq!(server.asked(), enqueue("bar.service", Verb::Start, JobMode::Replace, false));
    server.systemctl(&["is-active", "bar"]).is(0);
    for (word, verb) in [
        ("restart", Verb::Restart),
        ("try-restart", Verb::TryRestart),
        ("reload", Verb::Reload),
        ("reload-or-restart", Verb::ReloadOrRestart),
        ("try-reload-or-restart", Verb::ReloadOrTryRestart),
    ] {
        server.systemctl(&[word, "bar"]).is(0).is_silent();
        assert_eq!(server.asked(), enqueue("bar.service", verb, JobMode::Replace, false));
    }
    server.systemctl(&["stop", "bar"]).is(0).is_silent();
    server.systemctl(&["is-active", "bar"]).is(3);
    server.asked();
    server.systemctl(&["--job-mode=fail", "--no-block", "start", "bar"]).is(0);
    assert_eq!(server.asked(), enqueue("bar.service", Verb::Start, JobMode::Fail, false));
    server.systemctl(&["isolate", "multi-user.target"]).is(0);
    assert_eq!(server.asked(), enqueue("multi-user.target", Verb::Start, JobMode::Isolate, false));
    server.systemctl(&["start", "-T", "bar"]).is(0).says(&["Enqueued anchor job", "bar.service/start"]);
    assert_eq!(server.asked(), enqueue("bar.service", Verb::Start, JobMode::Replace, true));
    server
        .systemctl(&["start", "broken"])
        .is(1)
        .says(&["Job for broken.service failed", "systemctl --user status"]);
    server
        .systemctl(&["stop", "foo"])
        .is(0)
        .says(&["Stopping foo.service, but it can still be activated by"]);
    server.systemctl(&["start", "never-heard-of"]).is(5).says(&["Unit never-heard-of.service not found."]);
    server.systemctl(&["reload", "foo.socket"]).is(3).says(&["not applicable for unit foo.socket"]);
    server.systemctl(&["--job-mode=never", "start", "bar"]).is(1).says(&["Job mode never invalid"]);
}

#[test]
fn commands_carry_what_was_asked() {
    if !has("systemctl") {
        return;
    }
    let server = Server::start("commands");
    server.systemctl(&["kill", "-s", "HUP", "--kill-whom=main", "foo"]).is(0).is_silent();
    let kill = Command::Kill { unit: "foo.service".into(), whom: Whom::Main, signal: 1 };
    let asked = server.world().toy.asked.clone();
    assert_eq!(asked, [(Caller { pid: 4242, uid: own_uid() }, kill)]);
    server.asked();
    server.systemctl(&["reset-failed", "broken"]).is(0).is_silent();
    assert_eq!(server.asked(), [Command::ResetFailed { unit: Some("broken.service".into()) }]);
    server.systemctl(&["is-failed", "broken"]).is(1);
    server.systemctl(&["reset-failed"]).is(0).is_silent();
    server.systemctl(&["daemon-reload"]).is(0).is_silent();
    server.systemctl(&["cancel"]).is(0);
    assert_eq!(server.asked(), [Command::ResetFailed { unit: None }, Command::Reload, Command::ClearJobs]);
    server.systemctl(&["set-environment", "A=1", "B=2"]).is(0);
    let set = vec!["A=1".into(), "B=2".into()];
    assert_eq!(server.asked(), [Command::Environment { unset: vec![], set }]);
    server.systemctl(&["set-property", "--runtime", "foo", "TasksMax=100"]).is(0);
    let properties = vec![("TasksMax".into(), 100u64.into())];
    let set = Command::SetProperties { unit: "foo.service".into(), runtime: true, properties };
    assert_eq!(server.asked(), [set]);
}

/// Where systemd did not boot, systemctl looks at unit files itself; otherwise it asks us.
#[test]
fn unit_files() {
    if !has("systemctl") || !has("unshare") {
        return;
    }
    let server = Server::start("files");
    let Some(enabled) = server.systemctl_booted(&["is-enabled", "foo"]) else { return };
    enabled.is(0).says(&["enabled\n"]);
    let booted = |arguments: &[&str]| server.systemctl_booted(arguments).expect("it could just now");
    booted(&["is-enabled", "never-heard-of"]).is(1).says(&["No such file or directory"]);
    booted(&["list-unit-files", "foo*"]).is(0).says(&["foo.service enabled", "2 unit files listed."]);
    booted(&["get-default"]).is(0).says(&["multi-user.target\n"]);
    assert_eq!(server.asked(), []);
    booted(&["enable", "foo"]).is(0).says(&["Created symlink", "multi-user.target.wants/foo.service"]);
    let names = vec!["foo.service".into()];
    let (options, mode) = (Options::default(), PresetMode::Full);
    let enable = Command::UnitFiles { verb: FileVerb::Enable, names, options, mode };
    assert_eq!(server.asked(), [enable, Command::Reload]);
    booted(&["disable", "--runtime", "foo"]).is(0);
    let names = vec!["foo.service".into()];
    let options = Options { runtime: true, ..options };
    let disable = Command::UnitFiles { verb: FileVerb::Disable, names, options, mode };
    assert_eq!(server.asked()[0], disable);
    let fragment = server.folder.join("foo.service");
    std::fs::write(&fragment, "[Service]\nExecStart=/usr/bin/food\n").expect("fragment");
    {
        let mut world = server.world();
        let view = world.toy.units.get_mut("foo.service").expect("known");
        view.fragment_path = fragment.display().to_string();
        view.drop_in_paths.clear();
    }
    booted(&["cat", "foo"]).is(0).says(&["ExecStart=/usr/bin/food"]);
}

#[test]
fn busctl_and_libdbus_understand_us() {
    let server = Server::start("busctl");
    let address = format!("--address=unix:path={}", server.folder.join("systemd/private").display());
    let root = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1"];
    let object = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1/unit/foo_2eservice"];
    if has("busctl") {
        let busctl = |arguments: &[&str]| server.run("busctl", &[&[address.as_str()], arguments].concat());
        let unit = "org.freedesktop.systemd1.Unit";
        busctl(&["get-property", object[0], object[1], unit, "ActiveState"]).is(0).says(&["s \"active\"\n"]);
        busctl(&["get-property", object[0], object[1], unit, "Nonsense"]).is(1).says(&["Unknown interface"]);
        busctl(&["set-property", object[0], object[1], unit, "Id", "s", "x"]).is(1).says(&["not writable"]);
        busctl(&["call", object[0], object[1], unit, "Nonsense"]).is(1).says(&["Unknown method Nonsense"]);
        busctl(&["call", object[0], object[1], unit, "Start", "u", "1"]).is(1).says(&["expecting 's'"]);
        busctl(&["call", object[0], "/nowhere", unit, "Start", "s", "fail"]).is(1).says(&["Unknown object"]);
        busctl(&["call", object[0], object[1], unit, "Stop", "s", "fail"]).is(0).says(&["systemd1/job/71"]);
        busctl(&["introspect", object[0], object[1]]).is(0).says(&[
            ".MainPID",
            ".GetProcesses",
            ".ResetFailed",
        ]);
        busctl(&["tree", root[0]]).is(0).says(&["/org/freedesktop/systemd1/unit/foo_2eservice"]);
        let manager = "org.freedesktop.systemd1.Manager";
        busctl(&["call", root[0], root[1], manager, "GetUnitByPID", "u", "0"])
            .is(0)
            .says(&["unit/foo_2eservice"]);
    }
    if has("dbus-send") {
        let peer = format!("--peer=unix:path={}", server.folder.join("systemd/private").display());
        let list = "org.freedesktop.systemd1.Manager.ListUnitsFiltered";
        server
            .run("dbus-send", &[&peer, "--print-reply", root[1], list, "array:string:failed"])
            .is(0)
            .says(&["string \"broken.service\"", "uint32 0", "object path \"/\""]);
    }
}

/// Root's tools take the private socket of the system, not of a user.
#[test]
fn roots_tools() {
    if !has("systemctl") || !has("systemd-run") || !has("unshare") {
        return;
    }
    let server = Server::start("root");
    let Some(active) = server.run_booted(&["systemctl", "is-active", "foo"]) else { return };
    active.is(0).says(&["active\n"]);
    let booted = |arguments: &[&str]| server.run_booted(arguments).expect("it could just now");
    booted(&["systemctl", "restart", "bar"]).is(0).is_silent();
    booted(&["systemctl", "status", "foo"]).is(0).says(&["Active: active (running)", "4243 worker"]);
    booted(&["systemctl", "start", "never-heard-of"]).is(5);
    server.asked();
    booted(&["systemd-run", "--unit=once", "-p", "TasksMax=9", "true", "x"]).is(0).says(&["once.service"]);
    match server.asked().as_slice() {
        [Command::StartTransient { unit, mode: JobMode::Fail, properties, .. }] => {
            assert_eq!(unit, "once.service");
            assert!(properties.contains(&("TasksMax".into(), 9u64.into())), "{properties:?}");
            assert!(properties.iter().any(|(name, _)| name == "ExecStart"), "{properties:?}");
        }
        other => panic!("{other:?}"),
    }
}
