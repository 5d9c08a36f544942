//! Starting processes: failures, ends, environment, streams, notify, sockets, the executor.

use crate::rig::*;
use hence_engine::{Effect, Event, KillScope, UnitId};
use hence_host::{Capture, HostOptions, Interest};
use hence_ledger::{Exit, ExitKind, FileRole, SpawnStep, Stream, Text, record::Invocation};
use hence_unit::{
    Config, Kind, Place, SocketConfig, UnitName,
    config::{
        DirectoryKind, EnvironmentFile, Listen, ListenKind, ManagedDirectory, PathConfig, ResourceLimit,
        Stdio,
    },
};
use std::{
    cell::RefCell,
    fs,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{SocketAddr, UnixDatagram, UnixStream},
        },
    },
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

fn own_path() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().to_owned()
}

/// What this binary does as a service.
pub fn helper(what: &str) -> ExitCode {
    match what {
        "notify" => {
            let address = std::env::var("NOTIFY_SOCKET").unwrap();
            let socket = UnixDatagram::unbound().unwrap();
            let message = b"READY=1\nSTATUS=up\nX_UNKNOWN=1";
            match address.strip_prefix('@') {
                Some(name) => {
                    let address = SocketAddr::from_abstract_name(name).unwrap();
                    socket.send_to_addr(message, &address).unwrap();
                }
                None => {
                    socket.send_to(message, &address).unwrap();
                }
            }
            ExitCode::SUCCESS
        }
        "listen" => {
            let own = std::process::id().to_string();
            let right = std::env::var("LISTEN_PID") == Ok(own)
                && std::env::var("LISTEN_FDS").as_deref() == Ok("1")
                && std::env::var("LISTEN_FDNAMES").as_deref() == Ok("web.socket");
            if !right {
                return ExitCode::from(3);
            }
            let listener = fs::metadata("/proc/self/fd/3").is_ok_and(|m| m.file_type().is_socket());
            ExitCode::from(if listener { 0 } else { 4 })
        }
        _ => ExitCode::from(99),
    }
}

pub fn exec_failure_confirmed() {
    let mut rig = Rig::new();
    for (argv, errno) in
        [("/no/such/program", libc::ENOENT), ("/etc", libc::EACCES), ("no-such", libc::ENOENT)]
    {
        let config = Arc::new(service("bad.service", &[argv]));
        let mut spawn = spawn_of(0, &config);
        spawn.confirm = true;
        match rig.ask(Effect::Spawn(Box::new(spawn))) {
            Event::SpawnFailed { step: SpawnStep::Exec, errno: e, subject, .. } => {
                assert_eq!((e, &*subject), (errno, argv));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut config = service("bad.service", &["/bin/true"]);
    part(&mut config).context.working_directory = Some("/no/such".into());
    let mut spawn = spawn_of(0, &Arc::new(config));
    spawn.confirm = true;
    let answer = rig.ask(Effect::Spawn(Box::new(spawn)));
    assert!(
        matches!(answer, Event::SpawnFailed { step: SpawnStep::Chdir, errno: libc::ENOENT, .. }),
        "{answer:?}"
    );
    // The failed children are reaped already.
    assert!(fs::read_to_string("/proc/thread-self/children").unwrap_or_default().trim().is_empty());
    rig.host.close();
}

fn failed_end(rig: &mut Rig, pid: u32) -> (Exit, Option<(SpawnStep, i32)>) {
    rig.until("a failed start's end", |e| match e {
        Event::Exited { pid: p, exit: Some(exit), spawn_error, .. } if *p == pid => {
            Some((*exit, *spawn_error))
        }
        _ => None,
    })
}

pub fn exec_failure_unconfirmed() {
    failures_are_told(Rig::new());
}

pub fn exec_failure_without_clone3() {
    let mut rig = Rig::new();
    rig.host.without_clone3();
    failures_are_told(rig);
}

fn failures_are_told(mut rig: Rig) {
    let (_, pid) = rig.start(service("bad.service", &["/no/such/program"]));
    let end = failed_end(&mut rig, pid);
    assert_eq!(end, (Exit { kind: ExitKind::Exited, status: 203 }, Some((SpawnStep::Exec, libc::ENOENT))));
    let mut config = service("bad2.service", &["/bin/true"]);
    part(&mut config).context.working_directory = Some("/no/such".into());
    let (_, pid) = rig.start(config);
    let end = failed_end(&mut rig, pid);
    assert_eq!(end, (Exit { kind: ExitKind::Exited, status: 200 }, Some((SpawnStep::Chdir, libc::ENOENT))));
    // A program's own status of that value is no failed start.
    let (_, pid) = rig.start(shell("own.service", "exit 203"));
    assert_eq!(failed_end(&mut rig, pid), (Exit { kind: ExitKind::Exited, status: 203 }, None));
    rig.host.close();
}

pub fn many_failures_keep_apart() {
    let mut rig = Rig::new();
    let mut started = Vec::new();
    for i in 0..200 {
        let name = format!("n{i}.service");
        let config = match i % 3 {
            0 => service(&name, &["/no/such/program"]),
            1 => service(&name, &["/etc"]),
            _ => service(&name, &["/bin/sh", "-c", &format!("exit {}", i % 7)]),
        };
        // Above the pool the host waits for the exec and knows at once.
        let unit = i as u32;
        let config = Arc::new(config);
        match rig.ask(Effect::Spawn(Box::new(spawn_of(unit, &config)))) {
            Event::Spawned { pid, .. } => started.push((i, pid)),
            Event::SpawnFailed { step, errno, .. } => {
                let expected = if i % 3 == 0 { libc::ENOENT } else { libc::EACCES };
                assert!(i % 3 != 2 && (step, errno) == (SpawnStep::Exec, expected), "{i} {step} {errno}");
            }
            other => panic!("{other:?}"),
        }
    }
    for (i, pid) in started {
        let expected = match i % 3 {
            0 => (203, Some((SpawnStep::Exec, libc::ENOENT))),
            1 => (203, Some((SpawnStep::Exec, libc::EACCES))),
            _ => (i % 7, None),
        };
        let (exit, error) = failed_end(&mut rig, pid);
        assert_eq!((exit.status, error), expected, "start {i}");
    }
    rig.host.close();
}

pub fn ends_are_told() {
    let mut rig = Rig::new();
    let (_, pid) = rig.start(shell("a.service", "exit 7"));
    let (cpu, peak) = rig.until("end", |e| match e {
        Event::Exited { pid: p, exit: Some(x), cpu_us, peak_bytes, .. } if *p == pid => {
            assert_eq!(*x, Exit { kind: ExitKind::Exited, status: 7 });
            Some((*cpu_us, *peak_bytes))
        }
        _ => None,
    });
    assert!(cpu < 5_000_000 && peak > 100_000, "{cpu} us, {peak} bytes");
    let (_, pid) = rig.start(shell("b.service", "kill -USR1 $$$$; sleep 1000"));
    let end = rig.exited(pid);
    assert_eq!(end, Exit { kind: ExitKind::Killed, status: libc::SIGUSR1 });
    rig.host.close();
}

pub fn child_is_clean() {
    let folder = Folder::new();
    let mut rig = Rig::new();
    let script = format!(
        "exec > {}; grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls -l /proc/self/fd | wc -l; umask; pwd; \
         cut -d' ' -f6 /proc/self/stat; echo $$$$; echo done",
        folder.path("out")
    );
    let (_, pid) = rig.start(shell("clean.service", &script));
    rig.exited(pid);
    let out = folder.read("out");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "SigBlk:\t0000000000000000");
    assert_eq!(lines[1], "SigIgn:\t0000000000001000", "SIGPIPE alone is ignored");
    // "total", three standard streams, the folder itself.
    assert_eq!(lines[3].trim(), "5");
    assert_eq!(lines[4..6], ["0022", "/"]);
    assert_eq!(lines[6], lines[7], "it leads its session");
    rig.host.close();
}

pub fn environment() {
    let folder = Folder::new();
    fs::write(folder.path("env"), "# c\nA=file\nQ=\"a b\"\n").unwrap();
    let mut rig = Rig::new();
    let mut config = service(
        "e.service",
        &["/usr/bin/env", "sh", "-c", "env > $OUT.tmp; echo ${Q} >> $OUT.tmp; mv $OUT.tmp $OUT"],
    );
    let context = &mut part(&mut config).context;
    context.environment = vec!["A=unit".into(), "B=1".into(), format!("OUT={}", folder.path("out")).into()];
    context.unset_environment = vec!["B".into()];
    context.environment_files = [("env", false), ("none", true)]
        .map(|(f, optional)| EnvironmentFile { path: folder.path(f).into(), optional })
        .into();
    let config = Arc::new(config);
    let mut spawn = spawn_of(0, &config);
    spawn.environment = vec![("MAINPID", "5".into()), ("WATCHDOG_USEC", "7".into())];
    let Event::Spawned { pid, inputs, .. } = rig.ask(Effect::Spawn(Box::new(spawn))) else {
        panic!("not started")
    };
    let id = spawn_of(0, &config).invocation.to_string();
    assert!(inputs.iter().any(|f| f.role == FileRole::Environment && f.version.is_some()));
    let out = folder.read("out");
    for line in [
        "A=file",
        "Q=a b",
        "MAINPID=5",
        "WATCHDOG_USEC=7",
        &format!("WATCHDOG_PID={pid}"),
        &format!("SYSTEMD_EXEC_PID={pid}"),
        &format!("INVOCATION_ID={id}"),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ] {
        assert!(out.lines().any(|l| l == line), "{line} in {out}");
    }
    assert!(out.lines().any(|l| l.starts_with("NOTIFY_SOCKET=")) && !out.contains("\nB=1"));
    let mut bad = (*config).clone();
    part(&mut bad).context.environment_files =
        vec![EnvironmentFile { path: "/no/such/env".into(), optional: false }];
    let answer = rig.ask(Effect::Spawn(Box::new(spawn_of(1, &Arc::new(bad)))));
    assert!(
        matches!(&answer, Event::SpawnFailed { step: SpawnStep::Environment, errno, subject, .. }
            if *errno == libc::ENOENT && &**subject == "/no/such/env"),
        "{answer:?}"
    );
    rig.exited(pid);
    rig.host.close();
}

pub fn inputs_are_found() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let script = folder.path("script");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let option = format!("--config={script}");
    let mut rig = Rig::new();
    let config = Arc::new(service("i.service", &[&script, "/etc/passwd", &option, "plain"]));
    let Event::Spawned { pid, inputs, .. } = rig.ask(Effect::Spawn(Box::new(spawn_of(0, &config)))) else {
        panic!("not started")
    };
    let found: Vec<(&str, FileRole)> = inputs.iter().map(|f| (&*f.path, f.role)).collect();
    assert_eq!(
        found,
        [
            (script.as_str(), FileRole::Executable),
            ("/bin/sh", FileRole::Interpreter),
            ("/etc/passwd", FileRole::Argument)
        ]
    );
    assert_eq!(inputs[0].version.unwrap().inode, fs::metadata(&script).unwrap().ino());
    assert_eq!(rig.exited(pid).status, 0);
    rig.host.close();
}

pub fn limits_and_nice() {
    let folder = Folder::new();
    let mut rig = Rig::new();
    let script = format!(
        "exec > {}; ulimit -n; ulimit -c; nice; umask; cat /proc/self/oom_score_adj; \
                          grep NoNewPrivs /proc/self/status; grep SigIgn /proc/self/status",
        folder.path("out")
    );
    let mut config = shell("l.service", &script);
    let context = &mut part(&mut config).context;
    context.limits = vec![
        ResourceLimit { resource: libc::RLIMIT_NOFILE as u8, soft: 77, hard: 88 },
        ResourceLimit { resource: libc::RLIMIT_CORE as u8, soft: 0, hard: 0 },
    ];
    context.nice = Some(5);
    context.umask = Some(0o077);
    context.oom_score_adjust = Some(300);
    context.no_new_privileges = true;
    context.keep_sigpipe = true;
    let (_, pid) = rig.start(config);
    assert_eq!(rig.exited(pid).status, 0);
    let expected = "77\n0\n5\n0077\n300\nNoNewPrivs:\t1\nSigIgn:\t0000000000000000\n";
    assert_eq!(folder.read("out"), expected);
    let mut config = service("bad.service", &["/bin/true"]);
    part(&mut config).context.limits =
        vec![ResourceLimit { resource: libc::RLIMIT_NOFILE as u8, soft: 9, hard: 8 }];
    let (_, pid) = rig.start(config);
    let end = failed_end(&mut rig, pid);
    assert_eq!((end.0.status, end.1), (205, Some((SpawnStep::Limits, libc::EINVAL))));
    rig.host.close();
}

/// Captured read ends: unit, stream, pipe.
type Taken = Rc<RefCell<Vec<(Text, Stream, OwnedFd)>>>;

struct Taker(Taken);

impl Capture for Taker {
    fn stream(&mut self, read_end: OwnedFd, unit: &Text, _: Invocation, stream: Stream, pid: u32) {
        assert!(pid > 1);
        self.0.borrow_mut().push((unit.clone(), stream, read_end));
    }
}

fn capturing() -> (Rig, Taken) {
    let taken = Taken::default();
    let capture: Option<Box<dyn Capture>> = Some(Box::new(Taker(taken.clone())));
    (Rig::with(HostOptions { capture, ..options() }), taken)
}

pub fn streams_are_captured() {
    let folder = Folder::new();
    let (mut rig, taken) = capturing();
    let (_, pid) = rig.start(shell("out.service", "echo to out; echo to err >&2"));
    rig.exited(pid);
    let mut texts = Vec::new();
    for (unit, stream, fd) in taken.borrow_mut().drain(..) {
        let mut text = String::new();
        fs::File::from(fd).read_to_string(&mut text).unwrap();
        texts.push((unit.to_string(), stream, text));
    }
    assert_eq!(
        texts,
        [
            ("out.service".to_owned(), Stream::Stdout, "to out\n".to_owned()),
            ("out.service".to_owned(), Stream::Stderr, "to err\n".to_owned())
        ]
    );
    for (to, expected) in [
        (Stdio::Append(folder.path("f").into()), "to out\nto err\n"),
        (Stdio::Append(folder.path("f").into()), "to out\nto err\nto out\nto err\n"),
        (Stdio::Truncate(folder.path("f").into()), "to out\nto err\n"),
    ] {
        let mut config = shell("file.service", "echo to out; echo to err >&2");
        part(&mut config).context.stdout = to;
        let (_, pid) = rig.start(config);
        rig.exited(pid);
        assert_eq!(fs::read_to_string(folder.path("f")).unwrap(), expected);
    }
    assert!(taken.borrow().is_empty());
    let mut config = shell("in.service", "test \"$(cat)\" = given");
    part(&mut config).context.stdin = Stdio::Data;
    part(&mut config).context.stdin_data = b"given\n".to_vec();
    let (_, pid) = rig.start(config);
    assert_eq!(rig.exited(pid).status, 0);
    rig.host.close();
}

pub fn no_descriptors_left() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let (mut rig, taken) = capturing();
    let (_, pid) = rig.start(service("full.service", &["/bin/true"]));
    rig.exited(pid);
    taken.borrow_mut().clear();
    let before = getrlimit(Resource::Nofile);
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    // Room for one pipe, not for two.
    setrlimit(Resource::Nofile, Rlimit { current: Some(open + 1), maximum: before.maximum }).unwrap();
    let config = Arc::new(service("full.service", &["/bin/true"]));
    for _ in 0..3 {
        let answer = rig.ask(Effect::Spawn(Box::new(spawn_of(0, &config))));
        assert!(
            matches!(answer, Event::SpawnFailed { step: SpawnStep::Stdio, errno: libc::EMFILE, .. }),
            "{answer:?}"
        );
    }
    setrlimit(Resource::Nofile, before).unwrap();
    let (_, pid) = rig.start(service("full.service", &["/bin/true"]));
    assert_eq!(rig.exited(pid).status, 0);
    taken.borrow_mut().clear();
    assert_eq!(fs::read_dir("/proc/self/fd").unwrap().count() as u64, open, "nothing leaked");
    rig.host.close();
}

fn notified(rig: &mut Rig) {
    let (unit, pid) = rig.start(service("n.service", &[&own_path(), "helper", "notify"]));
    // What it says comes before its end, though it ends at once.
    rig.until("end", |e| matches!(e, Event::Exited { pid: p, .. } if *p == pid).then_some(()));
    let told = rig.events.iter().find_map(|e| match e {
        Event::Notify { unit: u, pid: p, message, uid } => {
            Some((*u, *p, *uid, message.ready, message.status.clone()))
        }
        _ => None,
    });
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(told, Some((UnitId(unit), pid, me, true, Some("up".into()))));
}

pub fn notify() {
    let mut rig = Rig::new();
    assert!(rig.host.notify_address().starts_with('@'));
    notified(&mut rig);
    // A stranger's message is dropped and counted.
    let name = rig.host.notify_address()[1..].to_owned();
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to_addr(b"READY=1", &SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    rig.events.clear();
    let soon = hence_host::Host::now().monotonic_us + 100_000;
    rig.wait(soon);
    assert_eq!(rig.host.dropped_messages(), 1);
    assert!(!rig.events.iter().any(|e| matches!(e, Event::Notify { .. })));
    rig.host.close();
}

pub fn notify_by_path() {
    let folder = Folder::new();
    let runtime_directory = Some(folder.0.join("run"));
    let mut rig = Rig::with(HostOptions { runtime_directory, ..options() });
    notified(&mut rig);
    let path = rig.host.notify_address().to_owned();
    rig.host.close();
    assert!(!std::path::Path::new(&path).exists());
}

fn socket_unit(address: &str, change: impl FnOnce(&mut SocketConfig)) -> Arc<Config> {
    let mut config = Config::stub(UnitName::new("web.socket").unwrap());
    let place = Place { file: "/test".into(), line: 1, column: 1 };
    let listen = Listen { kind: ListenKind::Stream, address: address.into(), place };
    let mut socket = SocketConfig { listen: vec![listen], ..SocketConfig::default() };
    change(&mut socket);
    config.kind = Kind::Socket(Box::new(socket));
    Arc::new(config)
}

const SOCKET: UnitId = UnitId(90);

fn opened(rig: &mut Rig, config: &Arc<Config>) {
    match rig.ask(Effect::OpenSockets(SOCKET, config.clone())) {
        Event::SocketsOpened { unit: SOCKET, result: Ok(()) } => {}
        other => panic!("{other:?}"),
    }
    rig.tell(Effect::WatchSockets { unit: SOCKET, watch: true });
}

fn traffic(rig: &mut Rig) -> (Option<Text>, Option<(hence_engine::ConnectionId, Text)>) {
    rig.until("traffic", |e| match e {
        Event::Traffic { unit: SOCKET, peer, connection, .. } => Some((peer.clone(), connection.clone())),
        _ => None,
    })
}

pub fn socket_is_passed() {
    let folder = Folder::new();
    let (path, link) = (folder.path("d/web"), folder.path("link"));
    let config = socket_unit(&path, |s| {
        s.mode = 0o620;
        s.remove_on_stop = true;
        s.symlinks = vec![link.as_str().into()];
    });
    let mut rig = Rig::new();
    opened(&mut rig, &config);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o620);
    let soon = hence_host::Host::now().monotonic_us + 20_000;
    rig.wait(soon);
    assert!(!rig.events.iter().any(|e| matches!(e, Event::Traffic { .. })));
    let _client = UnixStream::connect(&link).unwrap();
    assert_eq!(traffic(&mut rig), (None, None));
    rig.tell(Effect::WatchSockets { unit: SOCKET, watch: false });
    let service = Arc::new(service("web.service", &[&own_path(), "helper", "listen"]));
    let mut spawn = spawn_of(0, &service);
    spawn.sockets = vec![SOCKET];
    let Event::Spawned { pid, .. } = rig.ask(Effect::Spawn(Box::new(spawn))) else { panic!("not started") };
    assert_eq!(rig.exited(pid).status, 0);
    rig.tell(Effect::CloseSockets { unit: SOCKET, remove: true });
    assert!(!std::path::Path::new(&path).exists() && fs::symlink_metadata(&link).is_err());
    fs::create_dir_all(folder.path("taken")).unwrap();
    let taken = socket_unit(&folder.path("taken"), |_| {});
    let answer = rig.ask(Effect::OpenSockets(SOCKET, taken));
    let address = folder.path("taken");
    assert!(
        matches!(&answer, Event::SocketsOpened { result: Err((libc::EADDRINUSE, a)), .. } if **a == *address),
        "{answer:?}"
    );
    rig.host.close();
}

pub fn connection_is_accepted() {
    let folder = Folder::new();
    let path = folder.path("inetd");
    let config = socket_unit(&path, |s| s.accept = true);
    let mut rig = Rig::new();
    opened(&mut rig, &config);
    for round in 0..3u32 {
        let mut client = UnixStream::connect(&path).unwrap();
        let (_, connection) = traffic(&mut rig);
        let (connection, instance) = connection.unwrap();
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(&*instance, format!("{round}-{}-{uid}", std::process::id()));
        let mut config = shell(&format!("inetd@{round}.service"), "read line; echo got $line");
        part(&mut config).context.stdin = Stdio::Socket;
        part(&mut config).context.stdout = Stdio::Socket;
        let mut spawn = spawn_of(round, &Arc::new(config));
        spawn.connection = Some(connection);
        let Event::Spawned { pid, .. } = rig.ask(Effect::Spawn(Box::new(spawn))) else {
            panic!("not started")
        };
        client.write_all(b"this\n").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut text = String::new();
        // To its end: no copy of the connection is left open here.
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "got this\n");
        rig.exited(pid);
    }
    let client = UnixStream::connect(&path).unwrap();
    let (_, connection) = traffic(&mut rig);
    rig.tell(Effect::CloseConnection(connection.unwrap().0));
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    rig.tell(Effect::CloseSockets { unit: SOCKET, remove: false });
    assert!(std::path::Path::new(&path).exists());
    rig.host.close();
}

pub fn ip_connection_is_accepted() {
    // A port that is free now; nobody else on this machine is expected to take it meanwhile.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let mut rig = Rig::new();
    opened(
        &mut rig,
        &socket_unit(&address.to_string(), |s| {
            s.accept = true;
            s.no_delay = true;
            s.keep_alive = true;
        }),
    );
    let client = std::net::TcpStream::connect(address).unwrap();
    let local = client.local_addr().unwrap();
    let (peer, connection) = traffic(&mut rig);
    assert_eq!(peer.as_deref(), Some(local.to_string().as_str()));
    assert_eq!(&*connection.unwrap().1, format!("0-{address}-{local}"));
    rig.host.close();
}

pub fn fifo_wakes() {
    let folder = Folder::new();
    let config = socket_unit(&folder.path("fifo"), |s| s.listen[0].kind = ListenKind::Fifo);
    let mut rig = Rig::new();
    opened(&mut rig, &config);
    fs::OpenOptions::new().write(true).open(folder.path("fifo")).unwrap().write_all(b"x").unwrap();
    traffic(&mut rig);
    rig.host.close();
}

pub fn executor_switches_user() {
    let folder = Folder::new();
    let mut roots = options().directory_roots;
    roots[0] = folder.0.join("run");
    let root = roots[0].clone();
    fs::create_dir_all(&root).unwrap();
    fs::File::create(folder.path("out")).unwrap();
    std::os::unix::fs::chown(folder.path("out"), Some(65534), None).unwrap();
    let mut rig = Rig::with(HostOptions { directory_roots: roots, ..options() });
    let script = format!(
        "(id -u; id -g; pwd; echo $USER $RUNTIME_DIRECTORY; ls /proc/self/fd | wc -w; \
         grep SigBlk /proc/self/status; \
         cut -d' ' -f1 /proc/self/stat > /dev/null; echo $SYSTEMD_EXEC_PID) > {}",
        folder.path("out")
    );
    let mut config = shell("u.service", &script);
    let context = &mut part(&mut config).context;
    context.user = Some("nobody".into());
    context.working_directory = Some("/tmp".into());
    let directory = ManagedDirectory { kind: DirectoryKind::Runtime, name: "mine/sub".into(), mode: 0o750 };
    context.directories = vec![directory];
    let (unit, pid) = rig.start(config);
    let end = failed_end(&mut rig, pid);
    assert_eq!((end.0.status, end.1), (0, None));
    let out = fs::read_to_string(folder.path("out")).unwrap();
    let mine = root.join("mine/sub");
    let expected =
        format!("65534\n65534\n/tmp\nnobody {}\n4\nSigBlk:\t0000000000000000\n{pid}\n", mine.display());
    assert_eq!(out, expected);
    let made = fs::metadata(&mine).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (65534, 65534, 0o750));
    rig.tell(Effect::Release { unit: UnitId(unit), keep_directories: true });
    assert!(mine.exists());
    rig.tell(Effect::Release { unit: UnitId(unit), keep_directories: false });
    assert!(!mine.exists());
    rig.host.close();
}

pub fn executor_failure_is_told() {
    let mut rig = Rig::new();
    let mut config = service("u.service", &["/bin/true"]);
    part(&mut config).context.user = Some("no-such-user-here".into());
    part(&mut config).context.stderr = Stdio::Null;
    let (_, pid) = rig.start(config);
    let end = failed_end(&mut rig, pid);
    assert_eq!((end.0.status, end.1), (217, Some((SpawnStep::User, libc::ESRCH))));
    let mut config = service("v.service", &["/no/such/program"]);
    part(&mut config).context.user = Some("nobody".into());
    part(&mut config).context.stderr = Stdio::Null;
    let (_, pid) = rig.start(config);
    let end = failed_end(&mut rig, pid);
    assert_eq!((end.0.status, end.1), (203, Some((SpawnStep::Exec, libc::ENOENT))));
    rig.host.close();
}

pub fn pid_file() {
    let folder = Folder::new();
    let path = folder.path("run/daemon.pid");
    let mut rig = Rig::new();
    let script = format!("sleep 1007 & sleep 0.1; mkdir -p {}; echo $! > {path}", folder.path("run"));
    let (unit, pid) = rig.start(shell("d.service", &script));
    let read = Effect::ReadPidFile { unit: UnitId(unit), path: path.as_str().into(), wait: true };
    assert!(matches!(rig.ask(read), Event::PidFile { pid: None, .. }));
    let main = rig.until("pid file", |e| match e {
        Event::PidFile { pid: Some(pid), .. } => Some(*pid),
        _ => None,
    });
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), main.to_string());
    rig.exited(pid);
    let guess = Effect::GuessMainPid(UnitId(unit));
    assert!(matches!(rig.ask(guess), Event::PidFile { pid: Some(p), .. } if p == main));
    rig.tell(Effect::WatchProcess { unit: UnitId(unit), pid: main });
    rig.ask(Effect::Kill(kill_of(unit, KillScope::Known, Some(main), libc::SIGTERM)));
    assert_eq!(rig.exited(main), Exit { kind: ExitKind::Killed, status: libc::SIGTERM });
    rig.emptied(unit);
    rig.host.close();
}

pub fn path_changes() {
    let folder = Folder::new();
    let mut rig = Rig::new();
    let watch = |rig: &mut Rig, check: &'static str, path: String| {
        let mut config = Config::stub(UnitName::new("p.path").unwrap());
        let paths = PathConfig { watches: vec![(check, path.into())], ..PathConfig::default() };
        config.kind = Kind::Path(Box::new(paths));
        rig.tell(Effect::WatchPaths { unit: UnitId(5), config: Some(Arc::new(config)) });
    };
    let changed = |rig: &mut Rig| {
        rig.until("a changed path", |e| matches!(e, Event::PathChanged { .. }).then_some(()));
        rig.events.clear();
    };
    watch(&mut rig, "PathExists", folder.path("a/b/c"));
    fs::create_dir_all(folder.path("a")).unwrap();
    let soon = hence_host::Host::now().monotonic_us + 20_000;
    rig.wait(soon);
    fs::create_dir_all(folder.path("a/b")).unwrap();
    fs::write(folder.path("a/b/c"), "").unwrap();
    changed(&mut rig);
    watch(&mut rig, "PathExists", folder.path("a/b/c"));
    changed(&mut rig);
    watch(&mut rig, "PathModified", folder.path("a/b/c"));
    fs::write(folder.path("a/b/c"), "new").unwrap();
    changed(&mut rig);
    watch(&mut rig, "DirectoryNotEmpty", folder.path("a/empty"));
    fs::create_dir_all(folder.path("a/empty/x")).unwrap();
    changed(&mut rig);
    watch(&mut rig, "PathExistsGlob", folder.path("a/*.done"));
    fs::write(folder.path("a/1.done"), "").unwrap();
    changed(&mut rig);
    watch(&mut rig, "PathChanged", folder.path("a/later"));
    fs::write(folder.path("a/later"), "x").unwrap();
    changed(&mut rig);
    rig.tell(Effect::WatchPaths { unit: UnitId(5), config: None });
    fs::write(folder.path("a/later"), "y").unwrap();
    let soon = hence_host::Host::now().monotonic_us + 50_000;
    rig.wait(soon);
    assert!(!rig.events.iter().any(|e| matches!(e, Event::PathChanged { .. })));
    rig.host.close();
}

pub fn foreign_descriptors() {
    let mut rig = Rig::new();
    let (a, mut b) = UnixStream::pair().unwrap();
    rig.host.register(&a, 42, Interest { read: true, write: false }).unwrap();
    b.write_all(b"x").unwrap();
    let soon = || hence_host::Host::now().monotonic_us + 5_000_000;
    rig.wait(soon());
    assert_eq!(rig.foreign.len(), 1);
    assert!(rig.foreign[0].token == 42 && rig.foreign[0].read && !rig.foreign[0].write);
    rig.host.register(&a, 42, Interest { read: false, write: true }).unwrap();
    rig.foreign.clear();
    rig.wait(soon());
    assert!(rig.foreign[0].write && !rig.foreign[0].read);
    rig.host.unregister(&a);
    rig.foreign.clear();
    let soon = hence_host::Host::now().monotonic_us + 10_000;
    rig.wait(soon);
    assert!(rig.foreign.is_empty());
    rig.host.close();
}

pub fn deadline_and_signal() {
    let mut rig = Rig::new();
    let at = hence_host::Host::now().monotonic_us + 30_000;
    while !rig.events.iter().any(|e| matches!(e, Event::Deadline)) {
        rig.wait(at);
    }
    let late = hence_host::Host::now().monotonic_us - at;
    assert!(late < 1_000_000, "{late} us late");
    rig.events.clear();
    rig.wait(1);
    assert!(matches!(rig.events.back(), Some(Event::Deadline)), "a deadline in the past");
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::HUP).unwrap();
    let (pid, uid) = rig.until("a signal", |e| match e {
        Event::Signal { signal, pid, uid } if i32::from(*signal) == libc::SIGHUP => Some((*pid, *uid)),
        _ => None,
    });
    assert_eq!((pid, uid), (std::process::id(), rustix::process::getuid().as_raw()));
    rig.host.close();
}
