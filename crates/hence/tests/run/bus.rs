//! The system bus, with a real `dbus-daemon` of the test's own: who is served and who asked, a bus that comes
//! late and comes back, services that are up while they have their name, and units that the bus asks for.

use super::rig::{Hence, Level, Site, root_for, until};
use hence_bus::wire::{Message, Value};
use hence_ledger::{Fact, SubState};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const ROOT: &str = "/org/freedesktop/systemd1";
const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Whether the tools are there.
fn tools() -> bool {
    let there = |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok();
    let all = there("dbus-daemon") && there("busctl");
    if !all {
        eprintln!("skipped: dbus-daemon or busctl is not installed");
    }
    all && root_for("the system bus")
}

fn site(name: &str) -> Site {
    let site = Site::new(name, Level::Best);
    let config = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>system</type>\
         <listen>unix:path={0}</listen><auth>EXTERNAL</auth><servicedir>{1}</servicedir>\
         <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_type=\"signal\"/>\
         <allow send_type=\"method_call\"/><allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
         <allow send_requested_reply=\"true\" send_type=\"error\"/>\
         <allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>\
         <allow receive_type=\"error\"/><allow receive_type=\"signal\"/></policy></busconfig>\n",
        site.path("system_bus"),
        site.path("services"),
    );
    std::fs::write(site.folder.join("bus.conf"), config).expect("a file");
    std::fs::create_dir(site.folder.join("services")).expect("a folder");
    site
}

fn start<'a>(site: &'a Site) -> Hence<'a> {
    let address = format!("unix:path={}", site.path("system_bus"));
    site.start_with(&["--stay"], &[("DBUS_SYSTEM_BUS_ADDRESS", &address)])
}

/// A bus; it ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(site: &Site) -> Daemon {
        let config = format!("--config-file={}", site.path("bus.conf"));
        let mut command = Command::new("dbus-daemon");
        command.args([&config, "--nofork", "--nopidfile", "--systemd-activation"]);
        Daemon(command.stderr(Stdio::null()).spawn().expect("dbus-daemon"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn busctl(site: &Site, uid: u32, arguments: &[&str]) -> Output {
    let address = format!("--address=unix:path={}", site.path("system_bus"));
    let mut command = match uid {
        0 => Command::new("busctl"),
        uid => {
            let id = uid.to_string();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", "busctl"]);
            command
        }
    };
    command.arg(address).args(arguments).output().expect("busctl")
}

fn call(site: &Site, uid: u32, method: &str, arguments: &[&str]) -> Result<String, String> {
    let mut all = vec!["--", "call", NAME, ROOT, MANAGER, method];
    all.extend(arguments);
    let output = busctl(site, uid, &all);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn until_served(site: &Site) {
    until("hence on the bus", || call(site, 0, "ListJobs", &[]).ok());
}

/// Members of an interface in introspection XML: kind, name, types.
fn members(xml: &str, interface: &str) -> BTreeSet<String> {
    let value = |line: &str, name: &str| {
        let rest = line.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest.split('"').next());
        rest.flatten().unwrap_or("").to_owned()
    };
    let (mut inside, mut member, mut found) = (false, String::new(), BTreeSet::new());
    for line in xml.lines().map(str::trim) {
        if line.starts_with("<interface") {
            inside = value(line, "name") == interface;
        }
        if line.starts_with("<method") || line.starts_with("<property") || line.starts_with("<signal") {
            let kind = line.split_whitespace().next().unwrap_or("");
            member = format!("{kind} {} {}", value(line, "name"), value(line, "type"));
        } else if line.starts_with("<arg") {
            member.push_str(&format!(" {}{}", value(line, "direction"), value(line, "type")));
        }
        let over = line.ends_with("/>") && !line.starts_with("<arg") && !line.starts_with("<annotation");
        if inside && (over || line.starts_with("</")) && !member.is_empty() {
            found.insert(std::mem::take(&mut member));
        }
    }
    found
}

#[test]
fn clients_on_the_bus_are_served_as_who_they_are() {
    if !tools() {
        return;
    }
    let site = site("bus-served");
    site.unit("foo.service", "[Service]\nExecStart=/bin/sleep 300 MARK\n");
    let hence = start(&site);
    site.recorded("the start", |r| matches!(r.fact, Fact::ProcessStarted { .. }).then_some(()));
    // The bus comes later, and comes again.
    drop(Daemon::start(&site));
    std::fs::remove_file(site.folder.join("system_bus")).unwrap_or(());
    let daemon = Daemon::start(&site);
    until_served(&site);

    let object = "/org/freedesktop/systemd1/unit/foo_2eservice";
    let introspected = busctl(&site, 65534, &["--xml-interface", "introspect", NAME, object]);
    let ours = String::from_utf8_lossy(&introspected.stdout).into_owned();
    let systemd = Path::new("/usr/lib/systemd/systemd");
    let version = Command::new(systemd).arg("--version").output();
    if version.is_ok_and(|output| output.stdout.starts_with(b"systemd 252 ")) {
        for interface in ["org.freedesktop.systemd1.Unit", "org.freedesktop.systemd1.Service"] {
            let output = Command::new(systemd).arg(format!("--bus-introspect={interface}")).output();
            let theirs = String::from_utf8_lossy(&output.expect("it just ran").stdout).into_owned();
            let (ours, theirs) = (members(&ours, interface), members(&theirs, interface));
            assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), Vec::<&String>::new(), "{interface}");
            assert!(ours.len() > 50, "{ours:?}");
        }
    } else {
        eprintln!("skipped: comparing with systemd 252, which is not here");
    }

    let pid = || {
        let service = "org.freedesktop.systemd1.Service";
        let output = busctl(&site, 65534, &["get-property", NAME, object, service, "MainPID"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(pid(), format!("u {}", site.marked()[0]), "everybody may look");
    for (method, arguments) in
        [("StopUnit", &["ss", "foo.service", "replace"][..]), ("Exit", &[]), ("ResetFailed", &[])]
    {
        let refused = call(&site, 65534, method, arguments).expect_err(method);
        assert!(refused.contains("Access denied") || refused.contains("not permitted"), "{refused}");
    }
    assert_eq!(site.marked().len(), 1, "nothing of that was done");

    // A script that calls a client: both are told.
    let script = site.script(
        "postinst",
        "#!/bin/sh\nbusctl --address=unix:path=FOLDER/system_bus call org.freedesktop.systemd1 \
         /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StopUnit ss foo.service replace\ntrue\n",
    );
    let status = Command::new(&script).arg("configure").stdout(Stdio::null()).status();
    assert!(status.expect("a script").success());
    let client = site.recorded("the request", |record| match &record.fact {
        Fact::Request { client, .. } if client.command.contains("busctl") => Some(client.clone()),
        _ => None,
    });
    assert_eq!((client.uid, client.command.contains("StopUnit")), (0, true));
    let parent = client.parent.expect("the script");
    assert_eq!(&*parent.command, format!("/bin/sh {script} configure"));
    until("the stop", || site.marked().is_empty().then_some(()));
    let why = site.json(&["why", "--json", "foo.service"]);
    let root = &why["roots"][0];
    assert_eq!((&root["kind"], &root["pid"]), (&"request".into(), &client.pid.into()), "{why}");
    assert_eq!(root["parent"]["command"], format!("/bin/sh {script} configure"));
    let page = String::from_utf8_lossy(&site.ask(&["why", "foo.service"]).stdout).into_owned();
    assert!(
        page.split_whitespace().collect::<Vec<_>>().join(" ").contains("postinst configure), "),
        "{page}"
    );
    drop(daemon);
    assert_eq!(hence.interrupt(), 0);
}

/// Not a test of its own: the program of a service that takes a name on the bus, and gives it up when a file
/// appears.
#[test]
fn takes_a_name() {
    let (Ok(bus), Ok(release)) = (std::env::var("TEST_BUS"), std::env::var("TEST_RELEASE")) else { return };
    let mut stream = UnixStream::connect(bus).expect("a bus");
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").expect("the bus reads");
    let mut serial = 0;
    let mut ask = |member: &'static str, body: Vec<Value>| {
        serial += 1;
        let mut bytes = Vec::new();
        let bus = "org.freedesktop.DBus";
        let mut call = Message::call("/org/freedesktop/DBus", bus, member).with(body);
        call.fields.destination = Some(bus.into());
        call.encode(serial, &mut bytes);
        stream.write_all(&bytes).expect("the bus reads");
    };
    ask("Hello", Vec::new());
    std::thread::sleep(Duration::from_millis(300));
    ask("RequestName", vec!["org.example.Hence".into(), 4u32.into()]);
    while !Path::new(&release).exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    ask("ReleaseName", vec!["org.example.Hence".into()]);
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_service_is_up_while_it_has_its_name_and_starts_when_it_is_called() {
    if !tools() {
        return;
    }
    let site = site("bus-name");
    let own = std::env::current_exe().expect("a test");
    let own = own.to_str().expect("UTF-8");
    site.unit("dbus.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=FOLDER/system_bus\n");
    site.unit(
        "dbus.service",
        "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\nExecStart=dbus-daemon \
         --config-file=FOLDER/bus.conf --address=systemd: --nofork --nopidfile --systemd-activation\n",
    );
    let service = format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=dbus\nBusName=org.example.Hence\n\
         Environment=TEST_BUS=FOLDER/system_bus TEST_RELEASE=FOLDER/release\n\
         ExecStart={own} --exact bus::takes_a_name\n"
    );
    site.unit("named.service", &service);
    site.unit(
        "exits.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=dbus\nBusName=org.example.Exits\n\
         ExecStart=/bin/false\n",
    );
    for (name, unit) in
        [("org.example.Hence", "named"), ("org.example.Exits", "exits"), ("org.example.Gone", "gone")]
    {
        let text = format!(
            "[D-BUS Service]\nName={name}\nExec=/bin/false\nUser=root\nSystemdService={unit}.service\n"
        );
        std::fs::write(site.folder.join(format!("services/{name}.service")), text).expect("a file");
    }
    let address = format!("unix:path={}", site.path("system_bus"));
    let hence = site.start_with(&["--stay", "--unit=dbus.socket"], &[("DBUS_SYSTEM_BUS_ADDRESS", &address)]);
    until("the socket", || site.folder.join("system_bus").exists().then_some(()));
    let state = |unit: &str, to: SubState| {
        site.recorded(&format!("{unit} {to}"), |record| match &record.fact {
            Fact::StateChanged { to: now, .. } if record.unit.as_deref() == Some(unit) && *now == to => {
                Some(record.clone())
            }
            _ => None,
        })
    };

    // Nobody has the name: the bus asks for the service, which is up when it has the name and not before.
    let ping = |name: &str| busctl(&site, 65534, &["call", name, "/", "org.freedesktop.DBus.Peer", "Ping"]);
    let called = Command::new("busctl")
        .args([&format!("--address={address}"), "call", "org.example.Hence", "/", "a.b", "C"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut called = called.expect("busctl");
    let up = state("named.service", SubState::Running);
    let taken = site
        .recorded("the name", |r| matches!(&r.fact, Fact::BusName { owned: true, .. }).then(|| r.clone()));
    assert_eq!(up.causes[0].record, taken.id);
    let started = state("named.service", SubState::Start);
    assert!(taken.at.monotonic_us - started.at.monotonic_us >= 300_000, "it waits for the name");
    let asked = site.recorded("who asked", |record| match &record.fact {
        Fact::Request { client, .. } if record.unit.as_deref() == Some("named.service") => {
            Some(client.clone())
        }
        _ => None,
    });
    assert!(
        asked.command.contains("dbus-daemon") && asked.unit.as_deref() == Some("dbus.service"),
        "{asked:?}"
    );

    // The name is given up: it goes down.
    std::fs::write(site.folder.join("release"), "").expect("a file");
    state("named.service", SubState::Dead);
    let down = state("named.service", SubState::StopSigterm);
    let lost = site
        .recorded("the loss", |r| matches!(&r.fact, Fact::BusName { owned: false, .. }).then(|| r.clone()));
    assert_eq!(down.causes[0].record, lost.id);
    called.wait().expect("busctl");

    // What can't be started is told at once, not after the bus' own timeout.
    let begun = std::time::Instant::now();
    for name in ["org.example.Exits", "org.example.Gone"] {
        let output = ping(name);
        assert!(!output.status.success(), "{name}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_ne!(hence.interrupt(), 101);
}

/// `systemd-run`, over the bus. It wants to see that systemd was booted: in a mount namespace of its own it
/// does.
fn systemd_run(site: &Site, uid: u32, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "1", "20", "unshare"]);
    let line = "mount -t tmpfs none /run && mkdir -p /run/systemd/system && \
                exec setpriv --reuid $0 --regid $0 --clear-groups systemd-run \"$@\"";
    command.args(["--mount", "/bin/sh", "-c", line, &uid.to_string()]).args(arguments);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", site.path("system_bus")));
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn has_run() -> bool {
    let there = Command::new("systemd-run").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: systemd-run is not installed");
    }
    there
}

/// A connection that says who it is, asks this of hence and takes one answer to it.
fn connection(site: &Site, member: &'static str, unit: &str) -> UnixStream {
    let mut stream = UnixStream::connect(site.path("system_bus")).expect("a bus");
    let mut bytes = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec();
    let driver = "org.freedesktop.DBus";
    let mut hello = Message::call("/org/freedesktop/DBus", driver, "Hello");
    hello.fields.destination = Some(driver.into());
    hello.encode(1, &mut bytes);
    let mut call = Message::call(ROOT, MANAGER, member).with(vec![unit.to_owned().into()]);
    call.fields.destination = Some(NAME.into());
    call.encode(2, &mut bytes);
    stream.write_all(&bytes).expect("the bus reads");
    stream
}

#[test]
fn who_refers_to_a_unit_over_the_bus_keeps_it_until_it_is_gone() {
    if !tools() {
        return;
    }
    let site = site("bus-held");
    site.unit("keep.service", "[Service]\nExecStart=sleep 1MARK\n");
    let hence = start(&site);
    let daemon = Daemon::start(&site);
    until_served(&site);
    let known = |unit: &str| call(&site, 0, "GetUnit", &["s", unit]).is_ok();
    let go = site.path("go");
    let line = format!("until [ -e {go} ]; do sleep 0.05; done");
    for unit in ["once", "lost"] {
        let unit = format!("{unit}.service");
        let made = ["ssa(sv)a(sa(sv))", &unit, "fail", "1", "ExecStart", "a(sasb)", "1", "/bin/sh"];
        let made = [&made[..], &["3", "/bin/sh", "-c", &line, "false", "0"]].concat();
        call(&site, 0, "StartTransientUnit", &made).expect("a job");
    }
    let (once, _lost) =
        (connection(&site, "RefUnit", "once.service"), connection(&site, "RefUnit", "lost.service"));
    // It is served in the order in which it asked: after this, both have been.
    until_served(&site);
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(&go, "").expect("a file");
    for unit in ["once.service", "lost.service"] {
        site.recorded("its end", |record| match record.fact {
            Fact::StateChanged { to: SubState::Dead, .. } if record.unit.as_deref() == Some(unit) => Some(()),
            _ => None,
        });
    }
    std::thread::sleep(Duration::from_millis(300));
    assert!(known("once.service") && known("lost.service"), "{}", site.said());
    // A program that takes this one's place keeps them for the same holders.
    let _ = call(&site, 0, "Reexecute", &[]);
    site.recorded("the new program", |r| matches!(r.fact, Fact::Reexecuted { .. }).then_some(()));
    until_served(&site);
    std::thread::sleep(Duration::from_millis(300));
    assert!(known("once.service") && known("lost.service"), "{}", site.said());
    drop(once);
    until("the first to be forgotten", || (!known("once.service")).then_some(()));
    assert!(known("lost.service"), "somebody holds it");
    // All holders are gone with the bus.
    drop(daemon);
    std::fs::remove_file(site.folder.join("system_bus")).unwrap_or(());
    let _daemon = Daemon::start(&site);
    until_served(&site);
    until("the second to be forgotten", || (!known("lost.service")).then_some(()));
    assert_eq!(hence.interrupt(), 0);
}

#[test]
fn systemd_run_waits_and_lends_its_streams_over_the_bus() {
    if !tools() || !has_run() {
        return;
    }
    let site = site("bus-pipe");
    site.unit("keep.service", "[Service]\nExecStart=sleep 1MARK\n");
    let hence = start(&site);
    let _daemon = Daemon::start(&site);
    until_served(&site);
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", hence.pid())).map_or(0, Iterator::count);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let arguments = ["--wait", "--unit=w", "/bin/sh", "-c", "sleep 0.2; exit 7"];
    let waited = systemd_run(&site, 0, &arguments).output().expect("systemd-run");
    assert_eq!(waited.status.code(), Some(7), "{}{}", text(&waited.stderr), site.said());
    assert!(text(&waited.stderr).contains("Finished with result: exit-code"), "{}", text(&waited.stderr));

    let before = descriptors();
    for round in 0..3 {
        let mut command = systemd_run(&site, 0, &["--pipe", "--wait", "-q", "cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("systemd-run");
        let said = format!("round {round}\n").repeat(20_000);
        let mut pipe = child.stdin.take().expect("a pipe");
        let given = said.clone();
        let writer = std::thread::spawn(move || pipe.write_all(given.as_bytes()));
        let output = child.wait_with_output().expect("an end");
        assert!(writer.join().expect("no panic").is_ok(), "{}{}", text(&output.stderr), site.said());
        assert!(output.status.success() && text(&output.stdout) == said, "{}", text(&output.stderr));
    }
    // Who may not start units leaves nothing open either.
    let refused = systemd_run(&site, 65534, &["--pipe", "--wait", "-q", "cat"]).output().expect("setpriv");
    assert!(text(&refused.stderr).contains("denied"), "{}", text(&refused.stderr));
    assert!(!refused.status.success());
    until("descriptors to be closed", || (descriptors() <= before).then_some(()));
    assert_eq!(hence.interrupt(), 1, "w.service failed");
}

/// A message that is longer than we take, through a real bus.
#[test]
fn a_hostile_client_of_the_bus_harms_nobody() {
    if !tools() {
        return;
    }
    let site = site("bus-hostile");
    site.unit("foo.service", "[Service]\nExecStart=/bin/sleep 300 MARK\n");
    let hence = start(&site);
    let _daemon = Daemon::start(&site);
    until_served(&site);
    let mut stream = UnixStream::connect(site.path("system_bus")).expect("a bus");
    let mut bytes = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec();
    let mut hello = Message::call("/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello");
    hello.fields.destination = Some("org.freedesktop.DBus".into());
    hello.encode(1, &mut bytes);
    let mut deep = Value::from(1u32);
    (0..60).for_each(|_| deep = Value::variant(deep.clone()));
    for (serial, argument) in (2..).zip([Value::from("x".repeat(4 << 20)), deep]) {
        let mut call = Message::call(ROOT, MANAGER, "GetUnit").with(vec![argument]);
        call.fields.destination = Some(NAME.into());
        call.encode(serial, &mut bytes);
    }
    // Questions whose answers nobody reads.
    for serial in 10..3000 {
        let mut call = Message::call(ROOT, MANAGER, "ListUnits");
        call.fields.destination = Some(NAME.into());
        call.encode(serial, &mut bytes);
    }
    stream.write_all(&bytes).expect("the bus takes it");
    for _ in 0..20 {
        let begun = std::time::Instant::now();
        call(&site, 65534, "GetUnit", &["s", "foo.service"]).expect("others are served");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    assert_eq!(hence.interrupt(), 0);
}

/// The program is executed anew: its connection to the bus ends and comes back with its name.
#[test]
fn the_program_is_executed_anew() {
    if !tools() {
        return;
    }
    let site = site("bus-reexec");
    site.unit("plain.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    let _bus = Daemon::start(&site);
    let hence = start(&site);
    until_served(&site);
    let owner = || {
        let all =
            ["--", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetNameOwner", "s", NAME];
        String::from_utf8_lossy(&busctl(&site, 0, &all).stdout).trim().to_owned()
    };
    let pid = |unit: &str| {
        let path = call(&site, 0, "GetUnit", &["s", unit]).expect("a unit");
        let path = path.split('"').nth(1).expect("a path").to_owned();
        let service = "org.freedesktop.systemd1.Service";
        let output = busctl(&site, 0, &["--", "get-property", NAME, &path, service, "MainPID"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let (before, plain) = (owner(), pid("plain.service"));
    assert!(before.contains(':') && plain != "u 0", "{before} {plain}");
    for _ in 0..3 {
        // Whoever asked is not answered.
        let _ = call(&site, 0, "Reexecute", &[]);
        until("another connection", || Some(owner()).filter(|now| now.contains(':') && *now != before));
        until_served(&site);
        assert_eq!(pid("plain.service"), plain);
    }
    hence.interrupt();
}
