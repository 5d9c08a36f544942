//! The link against a real engine whose processes are imagined, over real sockets: stock systemctl where it
//! is installed, and clients of our own, kind and unkind.

pub(crate) mod world;

use super::*;
use std::io::Read;
use std::process::Command as Process;
use std::time::{Duration, Instant};
use world::{Server, dialogue};

#[track_caller]
fn systemctl(server: &Server, arguments: &[&str]) -> (i32, String) {
    let output = Process::new("systemctl")
        .args(["--user", "--no-pager"])
        .args(arguments)
        .env("XDG_RUNTIME_DIR", server.folder())
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
        // Where /proc/1/root cannot be read, systemctl believes to be in a chroot.
        .env("SYSTEMD_IGNORE_CHROOT", "1")
        .env("SYSTEMD_COLORS", "0")
        .env("LC_ALL", "C")
        .output()
        .expect("systemctl runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

fn has_systemctl() -> bool {
    let found = Process::new("systemctl").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no systemctl here");
    }
    found
}

#[test]
fn stock_systemctl_drives_the_engine() {
    if !has_systemctl() {
        return;
    }
    let server = Server::start("stock");
    let run = |arguments: &[&str]| systemctl(&server, arguments);
    let is = |arguments: &[&str], code: i32, text: &str| {
        let outcome = run(arguments);
        assert!(outcome.0 == code && outcome.1.contains(text), "{arguments:?}: {outcome:#?}");
    };
    is(&["is-active", "foo"], 3, "inactive\n");
    assert_eq!(run(&["start", "foo"]), (0, String::new()));
    is(&["is-active", "foo"], 0, "active\n");
    is(&["show", "-p", "SubState,NRestarts,ExecMainStatus", "foo"], 0, "NRestarts=0\nExecMainStatus=0\n");
    let pid = run(&["show", "--value", "-p", "MainPID", "foo"]).1;
    assert!(pid.trim().parse::<u32>().expect("a number") >= 1_000_000);
    is(&["show", "-p", "Requires", "foo"], 0, " bar.service ");
    is(&["show", "-p", "RequiredBy", "bar"], 0, "RequiredBy=foo.service\n");
    is(&["show", "-p", "FragmentPath", "foo"], 0, "FragmentPath=/u/foo.service\n");
    is(&["show", "-p", "TasksCurrent,ControlGroup", "foo"], 0, "TasksCurrent=1\n");
    is(&["show", "-p", "ExecStart", "foo"], 0, "argv[]=/usr/bin/food --port 80 ; ignore_errors=yes ;");
    let status = run(&["status", "foo"]);
    for text in [
        "foo.service - Serves foo",
        "Loaded: loaded (/u/foo.service; ",
        "Active: active (running) since",
        "Main PID:",
        "Tasks: 1",
        "CGroup: /hence/foo.service",
    ] {
        assert!(status.0 == 0 && status.1.contains(text), "{text}: {status:#?}");
    }
    is(&["is-active", "bar"], 0, "active\n");
    is(&["list-units", "--all", "--plain"], 0, "foo.service");
    is(&["restart", "foo"], 0, "");
    assert_ne!(run(&["show", "--value", "-p", "MainPID", "foo"]).1, pid);
    is(&["reload", "foo"], 3, "not applicable");
    is(&["try-restart", "foo"], 0, "");
    is(&["stop", "bar"], 0, "");
    is(&["is-active", "foo", "bar"], 3, "inactive\ninactive\n");
    is(&["try-restart", "foo"], 0, "");
    is(&["is-active", "foo"], 3, "inactive\n");
    is(&["start", "broken"], 1, "Job for broken.service failed");
    is(&["is-failed", "broken"], 0, "failed\n");
    is(
        &["show", "-p", "Result,ExecMainCode,ExecMainStatus", "broken"],
        0,
        "Result=exit-code\nExecMainCode=1\n",
    );
    is(&["show", "-p", "NFailedUnits,SystemState"], 0, "NFailedUnits=1\n");
    is(&["reset-failed", "broken"], 0, "");
    is(&["is-failed", "broken"], 1, "inactive\n");
    is(&["kill", "-s", "HUP", "--kill-whom=main", "foo"], 1, "No main process to kill");
    is(&["start", "never-heard-of"], 5, "Unit never-heard-of.service not found.");
    is(&["stop", "never-heard-of"], 5, "Unit never-heard-of.service not loaded.");
    is(&["is-active", "never-heard-of"], 3, "inactive\n");
    is(&["list-jobs"], 0, "No jobs running.");
    is(&["start", "-T", "foo"], 0, "Enqueued auxiliary job");
    is(&["start", "slow", "--no-block"], 0, "");
    is(&["list-jobs"], 0, "slow.service");
    is(&["cancel", "9999"], 1, "Job 9999 does not exist.");
    is(&["cancel"], 0, "");
    is(&["list-jobs"], 0, "No jobs running.");
    is(&["daemon-reload"], 0, "");
    is(&["set-property", "foo", "TasksMax=7"], 1, "can't be written");
    is(&["set-environment", "1A=1"], 1, "Invalid environment assignments");
    let names = server.names();
    assert!(!names.iter().any(|name| name.contains("never-heard-of")), "{names:?}");
    let requests = server.requests();
    let first = requests.first().expect("foo was started");
    assert!(first.command.starts_with("systemctl --user --no-pager start foo"), "{first:?}");
    assert_eq!((first.uid, first.unit.as_deref()), (world::own_uid(), None));
}

#[test]
fn a_thousand_connections_are_served() {
    let server = Server::start("thousand");
    for _ in 0..10 {
        let mut clients: Vec<UnixStream> = (0..100).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.write_all(&dialogue()).expect("written");
        }
        for client in &mut clients {
            world::expect_pong(client);
        }
    }
    // Far more at a time than there are places, and all silent: who speaks is served all the same.
    let crowd: Vec<UnixStream> = (0..1000).map(|_| server.connect()).collect();
    let mut late = server.connect();
    late.write_all(&dialogue()).expect("written");
    world::expect_pong(&mut late);
    drop((crowd, late));
    server.settles_to_no_connections();
}

#[test]
fn the_unkind_harm_only_themselves() {
    let server = Server::start("unkind");
    let mut garbage = server.connect();
    garbage.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\nthis is no message at all").expect("written");
    let mut at_once = server.connect();
    at_once.write_all(&[0xff; 4096]).expect("written");
    let mut half = server.connect();
    let whole = dialogue();
    half.write_all(&whole[..whole.len() - 3]).expect("written");
    let mut deaf = server.connect();
    deaf.set_nonblocking(true).expect("set");
    deaf.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").expect("written");
    let (mut sent, until) = (0, Instant::now() + Duration::from_secs(3));
    let lists = world::list_calls(200);
    // It asks for lists until the server takes no more.
    while Instant::now() < until {
        match deaf.write(&lists) {
            Ok(length) => sent += length,
            Err(_) if sent > 0 => break,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    for _ in 0..20 {
        let mut kind = server.connect();
        kind.write_all(&dialogue()).expect("written");
        world::expect_pong(&mut kind);
    }
    let mut rest = Vec::new();
    assert!(garbage.read_to_end(&mut rest).is_ok(), "closed by the server");
    assert!(matches!(at_once.read(&mut [0; 16]), Ok(0) | Err(_)), "closed by the server");
    half.write_all(&whole[whole.len() - 3..]).expect("written");
    world::expect_pong(&mut half);
    assert!(server.outgoing() < hence_bus::front::OUTGOING_TOTAL_MAX);
    drop(deaf);
    drop(half);
    server.settles_to_no_connections();
}

#[test]
fn who_never_authenticates_is_closed_at_the_deadline() {
    let server = Server::start("silent");
    let mut silent = server.connect();
    silent.write_all(b"\0AUTH").expect("written");
    let mut open = server.connect();
    open.write_all(&dialogue()).expect("written");
    world::expect_pong(&mut open);
    assert!(server.deadline_us().is_some());
    server.advance(AUTHENTICATE_US);
    let mut rest = Vec::new();
    assert_eq!(silent.read_to_end(&mut rest).expect("closed"), 0);
    open.write_all(&world::ping()).expect("written");
    world::expect_pong(&mut open);
    assert_eq!(server.deadline_us(), None);
}

#[test]
fn a_socket_is_replaced_only_where_nobody_listens() {
    let server = Server::start("stale");
    let path = server.folder().join("systemd/private");
    let again = FrontLink::open(&path, 0).err().expect("in use");
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(path.parent().expect("folder"))), (0o600, 0o700));
    let other = server.folder().join("other");
    drop(std::os::unix::net::UnixListener::bind(&other).expect("bound"));
    let link = FrontLink::open(&other, 0).expect("stale socket replaced");
    drop(link);
    assert!(!other.exists());
    std::fs::write(&other, "text").expect("written");
    let refused = FrontLink::open(&other, 0).err().expect("no socket");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(&other).expect("kept"), b"text");
}
