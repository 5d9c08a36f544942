//! A user's own instance, `hence init --user`, with the stock clients and a real bus: as an ordinary user in
//! a mount namespace where no user's units of this machine are enabled. Needs root, which becomes that user.

use super::rig::{NOBODY, root_for, send, until};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Another ordinary user, one that /etc/passwd has: the bus asks for its groups.
const OTHER: u32 = 1;

/// Hides what is enabled for users of this machine, with generators of the test's own instead.
const HIDE: &str = r#"
set -e
mount --make-rprivate /
for folder in /etc/systemd/user /usr/lib/systemd/user-generators /usr/lib/systemd/user-environment-generators
do
    [ ! -d $folder ] || mount -t tmpfs none $folder
done
[ ! -d /usr/lib/systemd ] || cp -r "$1/generators/." /usr/lib/systemd/
shift
exec "$@"
"#;

struct Instance {
    folder: PathBuf,
    child: Child,
    notified: UnixDatagram,
}

fn as_user(uid: u32, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let id = uid.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", program]);
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Instance {
    /// Starts it with these units; FOLDER stands for the instance's. `None`: what is needed is not here.
    fn start(name: &str, units: &[(&str, &str)], environment: &[(&str, &str)]) -> Option<Instance> {
        if !root_for("a user's own instance") {
            return None;
        }
        for tool in ["/usr/bin/systemctl", "/usr/bin/dbus-daemon", "/usr/lib/systemd/user/dbus.socket"] {
            if !Path::new(tool).exists() {
                eprintln!("skipped: {name}: {tool} is not here");
                return None;
            }
        }
        let folder = std::env::temp_dir().join(format!("hence-user-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let own = folder.join("home/.config/systemd/user");
        for made in [&own, &folder.join("run"), &folder.join("generators")] {
            fs::create_dir_all(made).expect("a folder");
        }
        let program = |path: &str, script: &str| {
            let path = folder.join("generators").join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        };
        program("user-environment-generators/10-own", "echo GENERATED=by-$USER");
        let line = "echo \"$SYSTEMD_SCOPE $GENERATED\" > $HOME/generated\n\
                    printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n' \
                    > $1/made.service\n\
                    mkdir $1/default.target.wants; ln -s ../made.service $1/default.target.wants/";
        program("user-generators/own", line);
        for (unit, text) in units {
            let text = text.replace("FOLDER", folder.to_str().expect("UTF-8"));
            fs::write(own.join(unit), text).expect("a unit");
        }
        let given = ["run", "home", "home/.config", "home/.config/systemd", "home/.config/systemd/user"];
        for path in given {
            let path = folder.join(path);
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("a chown");
        }
        fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o700)).expect("a mode");
        let notified = UnixDatagram::bind(folder.join("run/supervisor")).expect("a socket");
        notified.set_nonblocking(true).expect("a socket");
        std::os::unix::fs::chown(folder.join("run/supervisor"), Some(NOBODY), None).expect("a chown");
        let mut command = Command::new("unshare");
        command.args(["--mount", "/bin/sh", "-c", HIDE, "hide"]).arg(&folder);
        let id = NOBODY.to_string();
        command.args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
        command.args([env!("CARGO_BIN_EXE_hence"), "init", "--user"]);
        command.env_clear().envs(Instance::variables(&folder)).envs(environment.iter().copied());
        command.env("NOTIFY_SOCKET", folder.join("run/supervisor"));
        let file = |name: &str| fs::File::create(folder.join(name)).expect("a file");
        let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn();
        let instance = Instance { child: child.expect("unshare"), folder, notified };
        let socket = instance.folder.join("run/systemd/private");
        until(&format!("{}", socket.display()), || socket.exists().then_some(()));
        Some(instance)
    }

    fn variables(folder: &Path) -> Vec<(&'static str, String)> {
        let path = |name: &str| folder.join(name).display().to_string();
        vec![
            ("HOME", path("home")),
            ("XDG_RUNTIME_DIR", path("run")),
            ("PATH", "/usr/bin:/bin".into()),
            ("USER", "nobody".into()),
            ("LC_ALL", "C".into()),
            ("SYSTEMD_PAGER", "cat".into()),
        ]
    }

    /// A program of this user, or of another one with this user's variables.
    fn client(&self, uid: u32, line: &[&str]) -> Command {
        let mut command = as_user(uid, line[0]);
        command.args(&line[1..]).env_clear().envs(Instance::variables(&self.folder)).stdin(Stdio::null());
        command
    }

    fn output(&self, line: &[&str]) -> Output {
        self.client(NOBODY, line).output().expect("a client")
    }

    /// `systemctl --user`; what it prints, where it succeeds.
    fn systemctl(&self, line: &[&str]) -> String {
        let output = self.output(&[&["systemctl", "--user"], line].concat());
        assert!(output.status.success(), "{line:?}: {}{}", text(&output), self.said());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(name)).ok()
    }

    fn said(&self) -> String {
        format!("\nit said: {:?}{:?}", self.read("out"), self.read("err"))
    }

    /// Waits for what it tells its supervisor.
    fn notified(&self, what: &str) {
        let mut buffer = [0; 1024];
        until(&format!("{what}{}", self.said()), || {
            let length = self.notified.recv(&mut buffer).ok()?;
            String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == what).then_some(())
        });
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    fn ended(&mut self) -> Option<i32> {
        let said = self.said();
        until(&format!("the end{said}"), || self.child.try_wait().expect("a wait")).code()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What is left of a test that failed, and what an immediate end leaves: told by its environment.
        let mark = format!("XDG_RUNTIME_DIR={}\0", self.path("run"));
        for pid in hence_host::processes() {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(&mark) {
                send(pid, rustix::process::Signal::KILL);
            }
        }
        if !std::thread::panicking() || std::env::var_os("HENCE_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A bus; it ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const FOO: (&str, &str) = (
    "foo.service",
    "[Unit]\nDescription=Foo\n[Service]\nExecStartPre=/bin/sh -c 'env > FOLDER/home/env'\n\
     ExecStart=/bin/sleep 1000\nExecStop=/bin/sh -c 'echo stopped > FOLDER/home/stopped'\n\
     [Install]\nWantedBy=default.target\n",
);

#[test]
fn systemctl_drives_a_users_own_instance() {
    let Some(mut own) = Instance::start("driven", &[FOO], &[]) else { return };
    own.notified("READY=1");
    until("the generated unit", || (own.systemctl(&["list-units"]).contains("made.service")).then_some(()));
    assert_eq!(own.read("home/generated").as_deref(), Some("user by-nobody\n"));
    assert!(!own.output(&["systemctl", "--user", "is-active", "foo.service"]).status.success());
    own.systemctl(&["start", "foo.service"]);
    assert_eq!(own.systemctl(&["is-active", "foo.service"]), "active\n");
    assert!(own.systemctl(&["status", "foo.service"]).contains("Active: active (running)"));
    let shown = own.systemctl(&["show", "-p", "Slice,Conflicts,Requires,FragmentPath", "foo.service"]);
    for line in ["Slice=app.slice", "Conflicts=shutdown.target", "/home/.config/systemd/user/foo.service"] {
        assert!(shown.contains(line), "{line} is missing: {shown}");
    }
    assert!(shown.lines().any(|l| l.starts_with("Requires=") && l.contains("basic.target")), "{shown}");
    let environment = own.read("home/env").expect("it ran");
    let has = |line: &str| environment.lines().any(|have| have == line);
    let manager = format!("MANAGERPID={}", own.child.id());
    assert!(has(&manager) && has("GENERATED=by-nobody") && has("USER=nobody"), "{environment}");
    assert!(!environment.contains("NOTIFY_SOCKET="), "{environment}");
    assert!(has(&format!("PWD={}", own.path("home"))), "it begins at home: {environment}");
    let shown = own.systemctl(&["show-environment"]);
    assert_eq!(shown.lines().filter(|line| line.starts_with("LC_ALL=")).count(), 1, "{shown}");
    let units = own.systemctl(&["list-units"]);
    for unit in ["foo.service", "basic.target", "default.target", "dbus.socket", "app.slice"] {
        assert!(units.contains(unit), "{unit} is missing: {units}");
    }
    own.systemctl(&["enable", "foo.service"]);
    let link = own.folder.join("home/.config/systemd/user/default.target.wants/foo.service");
    assert!(link.symlink_metadata().is_ok() && own.systemctl(&["is-enabled", "foo"]) == "enabled\n");
    fs::write(own.folder.join("home/.config/systemd/user/new.service"), "[Service]\nExecStart=/bin/true\n")
        .expect("a unit");
    own.systemctl(&["daemon-reload"]);
    own.systemctl(&["start", "new.service"]);
    own.systemctl(&["stop", "foo.service"]);
    assert_eq!(own.read("home/stopped").as_deref(), Some("stopped\n"));
    // Nobody else is let in, whatever path it knows.
    let refused = own.client(OTHER, &["systemctl", "--user", "start", "foo.service"]).output().expect("it");
    assert!(!refused.status.success());
    assert!(!own.output(&["systemctl", "--user", "is-active", "foo.service"]).status.success());

    own.systemctl(&["start", "foo.service"]);
    own.systemctl(&["daemon-reexec"]);
    until("the new program", || {
        let asked = own.output(&["systemctl", "--user", "is-active", "foo.service"]);
        (text(&asked) == "active\n").then_some(())
    });
    fs::remove_file(own.folder.join("home/stopped")).expect("a file");
    own.signal("TERM");
    own.notified("STOPPING=1");
    assert_eq!(own.ended(), Some(0), "{}", own.said());
    assert_eq!(own.read("home/stopped").as_deref(), Some("stopped\n"), "units end in order");
}

#[test]
fn it_serves_on_the_bus_that_its_own_units_bring() {
    let Some(mut own) = Instance::start("bus", &[FOO], &[]) else { return };
    // Its own dbus.socket, dbus.service on demand: the client starts it.
    until("the socket", || own.folder.join("run/bus").exists().then_some(()));
    let served = || own.output(&["busctl", "--user", "status", "org.freedesktop.systemd1"]);
    until(&format!("the name{}", own.said()), || served().status.success().then_some(()));
    assert_eq!(own.systemctl(&["is-active", "dbus.service"]), "active\n");
    let run = |line: &[&str]| own.output(&[&["systemd-run", "--user"], line].concat());
    let waited = run(&["--wait", "--pipe", "sh", "-c", "echo said; exit 3"]);
    assert_eq!(waited.status.code(), Some(3), "{}{}", text(&waited), own.said());
    assert_eq!(String::from_utf8_lossy(&waited.stdout), "said\n");
    let scope = run(&["--scope", "--unit=s", "sh", "-c", "systemctl --user is-active s.scope"]);
    assert!(scope.status.success() && text(&scope).contains("active\n"), "{}", text(&scope));
    let file = own.path("home/timer");
    let timer = run(&["--unit=t", "--on-active=200ms", "--timer-property=AccuracySec=1ms", "touch", &file]);
    assert!(timer.status.success(), "{}", text(&timer));
    until("the timer", || Path::new(&file).exists().then_some(()));
    // The bus is gone, and comes again.
    own.systemctl(&["restart", "dbus.service"]);
    until(&format!("the name, again{}", own.said()), || served().status.success().then_some(()));
    own.systemctl(&["exit", "7"]);
    assert_eq!(own.ended(), Some(7), "{}", own.said());
}

#[test]
fn of_a_bus_that_lets_anybody_in_it_serves_its_user_and_root() {
    let address = std::env::temp_dir().join(format!("hence-user-open-{}.bus", std::process::id()));
    let named = format!("unix:path={}", address.display());
    let Some(mut own) = Instance::start("open", &[FOO], &[("DBUS_SESSION_BUS_ADDRESS", &named)]) else {
        return;
    };
    own.notified("READY=1");
    // The bus comes after it.
    let config = own.path("bus.conf");
    let text_of = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>session</type>\
         <listen>{named}</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/>\
         <allow own=\"*\"/><allow send_destination=\"*\" eavesdrop=\"true\"/>\
         <allow eavesdrop=\"true\"/></policy></busconfig>\n"
    );
    fs::write(&config, text_of).expect("a file");
    let config = format!("--config-file={config}");
    let mut daemon = as_user(NOBODY, "dbus-daemon");
    let daemon = daemon.args([&config, "--nofork", "--nopidfile"]).stdout(Stdio::null()).spawn();
    let daemon = Daemon(daemon.expect("dbus-daemon"));
    let call = |uid: u32, method: &str, arguments: &[&str]| {
        let to = "org.freedesktop.systemd1";
        let address = format!("--address={named}");
        let line = [
            "busctl",
            &address,
            "--",
            "call",
            to,
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
        ];
        own.client(uid, &[&line, &[method][..], arguments].concat()).output().expect("busctl")
    };
    until(&format!("the name{}", own.said()), || {
        call(NOBODY, "ListJobs", &[]).status.success().then_some(())
    });
    let start = &["ss", "foo.service", "replace"];
    for (method, arguments) in [("ListUnits", &[][..]), ("GetUnit", &["s", "-.slice"]), ("StartUnit", start)]
    {
        // The words of the refusal are ours, not the bus'.
        let (bus, member) = (format!("--bus={named}"), format!("org.freedesktop.systemd1.Manager.{method}"));
        let (to, at) = ("--dest=org.freedesktop.systemd1", "/org/freedesktop/systemd1");
        let words: Vec<String> = arguments.iter().skip(1).map(|text| format!("string:{text}")).collect();
        let mut line = vec!["dbus-send", &bus, "--print-reply", to, at, &member];
        line.extend(words.iter().map(String::as_str));
        let refused = own.client(OTHER, &line).output().expect("dbus-send");
        assert!(text(&refused).contains("its own user only"), "{method}: {}", text(&refused));
        assert!(call(0, method, arguments).status.success(), "root may");
        assert!(call(NOBODY, method, arguments).status.success());
    }
    until("foo.service", || {
        own.output(&["systemctl", "--user", "is-active", "foo"]).status.success().then_some(())
    });
    // What is told goes to no one else either, and the end leaves what runs to whoever runs this.
    own.signal("RTMIN+24");
    assert_eq!(own.ended(), Some(0), "{}", own.said());
    assert!(own.read("home/stopped").is_none(), "at once");
    drop(daemon);
    let _ = fs::remove_file(address);
}
