//! Clients that mean harm, on the private socket of a hence that runs: whatever they do, stock `systemctl`
//! is answered in time, the service runs on, and memory and descriptors stay bounded.

use super::rig::{Hence, Level, Site, until};
use hence_bus::wire::Message;
use hence_ledger::Fact;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

const HANDSHAKE: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// Most memory that clients may make hence hold, in KiB.
const GROWTH_KIB: u64 = 48 * 1024;

fn connect(site: &Site) -> UnixStream {
    until("a connection", || UnixStream::connect(site.path("systemd/private")).ok())
}

fn calls(times: u32, member: &'static str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for serial in 1..=times {
        Message::call("/org/freedesktop/systemd1", MANAGER, member).encode(serial, &mut bytes);
    }
    bytes
}

/// How long `systemctl is-active` takes; `None` where there is no systemctl.
fn asked(site: &Site) -> Option<Duration> {
    let begun = Instant::now();
    let mut command = Command::new("systemctl");
    command.args(["--user", "is-active", "foo.service"]).env("XDG_RUNTIME_DIR", &site.folder);
    command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent").env("SYSTEMD_IGNORE_CHROOT", "1");
    let output = command.output().ok()?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "active\n", "{output:?}");
    Some(begun.elapsed())
}

fn resident_kib(hence: &Hence) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hence.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn descriptors(hence: &Hence) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", hence.pid())).expect("ours").count()
}

#[test]
fn hostile_clients_disturb_nobody() {
    let site = Site::new("hostile", Level::Best);
    site.unit("foo.service", "[Service]\nExecStart=/bin/sleep 300 MARK\n");
    let socket = site.path("systemd/private");
    let hence = site.start_with(&["--stay", "--socket", &socket], &[]);
    site.recorded("the start", |r| matches!(r.fact, Fact::ProcessStarted { .. }).then_some(()));
    if asked(&site).is_none() {
        eprintln!("skipped: systemctl is not installed");
        assert_eq!(hence.interrupt(), 0);
        return;
    }
    let (before_kib, before_fds) = (resident_kib(&hence), descriptors(&hence));
    let in_time = |what: &str, seconds: u64| {
        let took = asked(&site).expect("it is there");
        assert!(took < Duration::from_secs(seconds), "{what}: {took:?}");
        let grown = resident_kib(&hence).saturating_sub(before_kib);
        assert!(grown < GROWTH_KIB, "{what}: {grown} KiB more");
    };

    // Garbage, before and after the handshake, and messages that claim to be long.
    for bytes in [&[0xff; 4096][..], &[&[0][..], &[b'A'; 8192]].concat(), b"GET / HTTP/1.1\r\n\r\n"] {
        let _ = connect(&site).write_all(bytes);
        let _ = connect(&site).write_all(&[HANDSHAKE, bytes].concat());
    }
    let mut long = calls(1, "ListUnits");
    long[4..8].copy_from_slice(&(120u32 << 20).to_le_bytes());
    let mut claims = connect(&site);
    claims.write_all(&[HANDSHAKE, &long].concat()).expect("written");
    let mut rest = Vec::new();
    let _ = claims.read_to_end(&mut rest);
    in_time("garbage", 2);

    // Half messages, and a handshake byte by byte.
    let halves: Vec<UnixStream> = (0..40)
        .map(|cut| {
            let mut half = connect(&site);
            let whole = [HANDSHAKE, &calls(1, "ListUnits")].concat();
            half.write_all(&whole[..HANDSHAKE.len() + 1 + cut]).expect("written");
            half
        })
        .collect();
    let mut slow: Vec<UnixStream> = (0..20).map(|_| connect(&site)).collect();
    for byte in &HANDSHAKE[..12] {
        slow.iter_mut().for_each(|stream| stream.write_all(&[*byte]).expect("written"));
        in_time("slow handshakes", 2);
    }
    drop((halves, slow));

    // Those that ask and never read.
    let ask = [HANDSHAKE, &calls(20_000, "ListUnits")].concat();
    let deaf: Vec<UnixStream> = (0..60)
        .map(|_| {
            let mut stream = connect(&site);
            stream.set_nonblocking(true).expect("set");
            let mut sent = 0;
            let begun = Instant::now();
            while sent < ask.len() && begun.elapsed() < Duration::from_millis(50) {
                match stream.write(&ask[sent..]) {
                    Ok(length) => sent += length,
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
            stream
        })
        .collect();
    in_time("who doesn't read", 2);
    drop(deaf);

    // Descriptors that nobody asked for.
    let gift = std::fs::File::open("/dev/null").expect("there");
    let mut giver = connect(&site);
    giver.write_all(HANDSHAKE).expect("written");
    let message = calls(1, "Subscribe");
    for _ in 0..200 {
        let fds = [gift.as_fd(); 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        // Who sends more of them than any call takes may be shown the door.
        let sent = sendmsg(&giver, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL);
        let mut answer = [0; 4096];
        if sent.is_err() || giver.read(&mut answer).is_ok_and(|length| length == 0) {
            giver = connect(&site);
            giver.write_all(HANDSHAKE).expect("written");
        }
    }
    in_time("descriptors", 2);
    assert!(descriptors(&hence) < before_fds + 32, "{} of {before_fds}", descriptors(&hence));
    drop(giver);

    // A crowd that connects and says nothing, then one that says who it is and then nothing.
    let crowd: Vec<UnixStream> = (0..1000).map(|_| connect(&site)).collect();
    in_time("a silent crowd", 8);
    drop(crowd);
    let crowd: Vec<UnixStream> = (0..300)
        .map(|_| {
            let mut stream = connect(&site);
            stream.write_all(HANDSHAKE).expect("written");
            stream
        })
        .collect();
    in_time("an idle crowd", 20);
    drop(crowd);

    until("all connections to be closed", || (descriptors(&hence) <= before_fds + 2).then_some(()));
    in_time("afterwards", 2);
    assert_eq!(site.marked().len(), 1, "the service runs");
    let exited = site.records_so_far().iter().any(|r| matches!(r.fact, Fact::ProcessExited { .. }));
    assert!(!exited);
    assert_eq!(hence.interrupt(), 0);
}

/// Only root and the uid that hence runs as are let in, whatever the file's mode says.
#[test]
fn strangers_are_not_let_in() {
    if !super::rig::root_for("to connect as another user") {
        return;
    }
    let site = Site::new("strangers", Level::Best);
    site.unit("foo.service", "[Service]\nExecStart=/bin/sleep 300 MARK\n");
    let hence = site.start(&["--stay"]);
    site.recorded("the start", |r| matches!(r.fact, Fact::ProcessStarted { .. }).then_some(()));
    let socket = site.path("bus");
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).expect("there").permissions().mode() & 0o777
    };
    assert_eq!(mode(&socket), 0o600);
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).expect("a mode");
    let address = format!("--address=unix:path={socket}");
    let list = ["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", MANAGER, "ListJobs"];
    let as_user = |uid: u32| {
        let id = uid.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "busctl", &address]).args(list);
        command.output().ok().map(|output| output.status.success())
    };
    match (as_user(0), as_user(65534)) {
        (Some(root), Some(other)) => assert_eq!((root, other), (true, false)),
        _ => eprintln!("skipped: setpriv or busctl is not installed"),
    }
    assert_eq!(hence.interrupt(), 0);
}
