//! Output, syslog and native messages as entries of a journal, by way of the recorder, read by journalctl.
use super::*;
use hence_host::journal::Logging;
use hence_ledger::Stream;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;
use std::sync::Arc;

const RUN: Invocation = Invocation([0xab; 16]);

fn owner(folder: &Path) -> Owner {
    let ring = open(folder, 64 << 10);
    let mut command = recorder_command(folder, None);
    command.environment.push((JOURNAL.into(), folder.into()));
    let link = RecorderLink::start(command, now_us()).unwrap();
    Owner { ring, pids: vec![link.pid().unwrap()], link }
}

fn pipe() -> (OwnedFd, std::fs::File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read, write.into())
}

/// A captured stream of a unit.
fn stream(owner: &mut Owner, unit: &str, of: Stream, logging: &Logging) -> std::fs::File {
    let (read, write) = pipe();
    let unit = Text::from(unit);
    owner.link.send_logged_stream(read, &unit, RUN, (of, std::process::id()), &logging.encode());
    write
}

/// journalctl's answer; `None`: there is none on this machine.
fn asked(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("journalctl");
    command.arg("-D").arg(folder.join("journal")).args(["-q", "--no-pager"]).args(arguments);
    match command.output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(_) => {
            eprintln!("skipped: no journalctl");
            None
        }
    }
}

/// Waits until a field is in the journal; that needs no journalctl.
fn logged(owner: &mut Owner, folder: &Path, field: &str) {
    owner.until(field, |_| holds(folder, field.as_bytes()));
}

fn holds(folder: &Path, field: &[u8]) -> bool {
    let files = std::fs::read_dir(folder.join("journal")).into_iter().flatten().flatten();
    files.filter_map(|f| std::fs::read(f.path()).ok()).any(|b| b.windows(field.len()).any(|w| w == field))
}

fn value(json: &str, field: &str) -> Option<String> {
    let at = json.find(&format!("\"{field}\":\""))? + field.len() + 4;
    Some(json[at..].split('"').next()?.to_owned())
}

/// The fields that systemd-journald 252 gives a line of a service's output, as far as a process outside of
/// any unit's control group has them.
#[test]
fn lines_have_the_fields_of_journald() {
    let folder = Folder::new("entries");
    let mut owner = owner(&folder.0);
    let logging =
        Logging { extra_fields: vec!["COLOR=red".into()], level_max: 6, ..Logging::of("web", None) };
    let mut out = stream(&mut owner, "a.service", Stream::Stdout, &logging);
    let mut err = stream(&mut owner, "a.service", Stream::Stderr, &logging);
    out.write_all(b"one\n<3>bad\n<7>too much\n\nnul\0la").unwrap();
    logged(&mut owner, &folder.0, "MESSAGE=nul");
    out.write_all(b"st").unwrap();
    err.write_all(&[b'e'; 50_000]).unwrap();
    drop((out, err));
    logged(&mut owner, &folder.0, "MESSAGE=last");
    logged(&mut owner, &folder.0, "_LINE_BREAK=line-max");
    assert!(!holds(&folder.0, b"MESSAGE=too much"));
    assert!(!folder.0.join("logs/a.service.log").exists());
    owner.end();
    let Some(json) = asked(&folder.0, &["-u", "a.service", "-o", "json", "MESSAGE=one"]) else { return };
    for (field, expected) in [
        ("MESSAGE", "one"),
        ("PRIORITY", "6"),
        ("SYSLOG_FACILITY", "3"),
        ("SYSLOG_IDENTIFIER", "web"),
        ("COLOR", "red"),
        ("_TRANSPORT", "stdout"),
        ("_SYSTEMD_UNIT", "a.service"),
        ("_SYSTEMD_INVOCATION_ID", &"ab".repeat(16)),
        ("_PID", &std::process::id().to_string()),
        ("_RUNTIME_SCOPE", "system"),
    ] {
        assert_eq!(value(&json, field).as_deref(), Some(expected), "{field}: {json}");
    }
    for field in
        ["_STREAM_ID", "_BOOT_ID", "_MACHINE_ID", "_HOSTNAME", "_COMM", "_EXE", "_CMDLINE", "_UID", "_GID"]
    {
        assert!(value(&json, field).is_some(), "{field}: {json}");
    }
    let text = asked(&folder.0, &["-p", "err", "-o", "cat"]).unwrap();
    assert_eq!(text, "bad\n");
    let breaks = asked(&folder.0, &["-o", "json", "MESSAGE=nul", "MESSAGE=last"]).unwrap();
    assert!(breaks.contains("\"nul\"") && breaks.contains("\"eof\""), "{breaks}");
    assert!(asked(&folder.0, &["--verify"]).is_some());
}

/// A unit that says too much is cut off, and it is said; another one isn't touched by that.
#[test]
fn floods_are_limited() {
    let folder = Folder::new("flood");
    let mut owner = owner(&folder.0);
    let limited = Logging { interval_us: Some(300_000), burst: Some(10), ..Logging::of("loud", None) };
    let mut loud = stream(&mut owner, "loud.service", Stream::Stdout, &limited);
    let mut quiet = stream(&mut owner, "quiet.service", Stream::Stdout, &Logging::of("quiet", None));
    for n in 0..5000 {
        writeln!(loud, "noise {n}").unwrap();
    }
    quiet.write_all(b"still heard\n").unwrap();
    logged(&mut owner, &folder.0, "MESSAGE=still heard");
    std::thread::sleep(Duration::from_millis(400));
    loud.write_all(b"later\n").unwrap();
    logged(&mut owner, &folder.0, "MESSAGE=later");
    assert!(holds(&folder.0, b"messages from loud.service"));
    drop((loud, quiet));
    owner.end();
    let Some(text) = asked(&folder.0, &["-u", "loud.service", "_TRANSPORT=stdout", "-o", "cat"]) else {
        return;
    };
    assert!(text.lines().count() < 200, "{}", text.lines().count());
}

/// Last words come with or without log files, and lines keep their order.
#[test]
fn order_and_last_words() {
    let folder = Folder::new("order");
    let mut owner = owner(&folder.0);
    let free = Logging { interval_us: Some(0), ..Logging::of("many", None) };
    let mut out = stream(&mut owner, "many.service", Stream::Stdout, &free);
    let writing = std::thread::spawn(move || {
        let mut text = Vec::new();
        for n in 0..20_000 {
            writeln!(text, "number {n}").unwrap();
        }
        out.write_all(&text).unwrap();
        out
    });
    owner.until("the writer", |_| writing.is_finished());
    let out = writing.join().unwrap();
    logged(&mut owner, &folder.0, "MESSAGE=number 19999");
    owner.append(&[record(7)]);
    owner.link.ended_badly(&Text::from("many.service"), RUN, RecordId(7));
    owner.until("last words", |_| {
        read(&folder.0)
            .iter()
            .any(|r| matches!(&r.fact, Fact::LastWords { text, .. } if text.ends_with("19999")))
    });
    drop(out);
    owner.end();
    let Some(text) = asked(&folder.0, &["-u", "many.service", "-o", "cat"]) else { return };
    assert!(text.lines().enumerate().all(|(n, line)| line == format!("number {n}")));
    assert_eq!(text.lines().count(), 20_000);
}

/// What programs send to the sockets, and what nobody should: binary garbage, forged fields, half messages.
#[test]
fn sockets_take_what_programs_send() {
    let folder = Folder::new("sockets");
    let mut owner = owner(&folder.0);
    let native = folder.0.join("sockets/socket");
    owner.until("the sockets", |_| folder.0.join("sockets/stdout").exists() && folder.0.join("log").exists());
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(b"<27>Nov 22 21:12:02 cron[12]: by syslog\n", folder.0.join("log")).unwrap();
    client
        .send_to(b"MESSAGE=by native\nPRIORITY=4\n_UID=4711\n_SYSTEMD_UNIT=forged.service\nA=b\n", &native)
        .unwrap();
    let mut chance = Chance(3);
    for turn in 0..3000u64 {
        let mut bytes: Vec<u8> = (0..chance.below(400)).map(|_| chance.next() as u8).collect();
        if turn % 2 == 0 {
            bytes = [b"MESSAGE\n", &chance.next().to_le_bytes()[..], &bytes].concat();
        }
        client.send_to(&bytes, if turn % 3 == 0 { folder.0.join("log") } else { native.clone() }).unwrap();
    }
    let mut connected = UnixStream::connect(folder.0.join("sockets/stdout")).unwrap();
    connected.write_all(b"tagged\n\n5\n1\n0\n0\n0\n<2>by stream\nrest").unwrap();
    // One that never says who it is, and one that says too much.
    let silent = UnixStream::connect(folder.0.join("sockets/stdout")).unwrap();
    let mut noisy = UnixStream::connect(folder.0.join("sockets/stdout")).unwrap();
    let _ = noisy.write_all(&[b'x'; 100_000]);
    // Large ones come in memory that is sealed.
    let memory = rustix::fs::memfd_create("m", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    let large = [&b"MESSAGE=by memory\nLARGE="[..], &vec![b'l'; 300_000], b"\n"].concat();
    let mut file = std::fs::File::from(memory.try_clone().unwrap());
    file.write_all(&large).unwrap();
    drop(file);
    let seals = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&memory, seals).unwrap();
    client.connect(&native).unwrap();
    while hence_host::sys::store::send(client.as_fd(), b"", Some(memory.as_fd())).is_err() {
        std::thread::yield_now();
    }
    drop(connected);
    for text in ["by syslog", "by native", "by stream", "rest", "by memory"] {
        logged(&mut owner, &folder.0, &format!("MESSAGE={text}"));
    }
    assert!(!holds(&folder.0, b"forged.service") && !holds(&folder.0, b"_UID=4711"));
    drop((silent, noisy));
    owner.end();
    assert!(!native.exists(), "the sockets go with the recorder");
    let Some(json) = asked(&folder.0, &["-o", "json", "-t", "cron"]) else { return };
    assert_eq!(value(&json, "SYSLOG_PID").as_deref(), Some("12"));
    assert_eq!(value(&json, "PRIORITY").as_deref(), Some("3"));
    assert_eq!(value(&json, "_PID"), Some(std::process::id().to_string()), "what the kernel says");
    assert!(value(&json, "_SOURCE_REALTIME_TIMESTAMP").is_some());
    let json = asked(&folder.0, &["-o", "json", "-t", "tagged", "-p", "crit"]).unwrap();
    assert!(json.contains("by stream"), "{json}");
    let output = Command::new("journalctl").arg("-D").arg(folder.0.join("journal")).arg("--verify").output();
    assert!(output.unwrap().status.success());
}

/// The recorder is killed in a flood: the next one goes on, in order, and what was published stays.
#[test]
fn a_killed_recorder() {
    let folder = Folder::new("killed");
    let mut owner = owner(&folder.0);
    let free = Arc::new(Logging { interval_us: Some(0), ..Logging::of("many", None) });
    let mut out = stream(&mut owner, "many.service", Stream::Stdout, &free);
    let (go, wait) = std::sync::mpsc::channel();
    let writing = std::thread::spawn(move || {
        for n in 0..30_000 {
            if n % 10_000 == 0 && n > 0 {
                wait.recv().unwrap();
            }
            writeln!(out, "number {n}").unwrap();
        }
    });
    for n in [5_000, 15_000] {
        logged(&mut owner, &folder.0, &format!("MESSAGE=number {n}"));
        let pid = owner.link.pid().unwrap();
        kill(pid);
        reap(pid);
        owner.pids.retain(|p| *p != pid);
        owner.link.exited(pid, now_us());
        owner.until("the next recorder", |owner| owner.link.pid().is_some());
        go.send(()).unwrap();
    }
    owner.until("the writer", |_| writing.is_finished());
    writing.join().unwrap();
    logged(&mut owner, &folder.0, "MESSAGE=number 29999");
    owner.end();
    let Some(text) = asked(&folder.0, &["-u", "many.service", "-o", "cat"]) else { return };
    let numbers: Vec<u32> = text.lines().filter_map(|l| l.strip_prefix("number ")?.parse().ok()).collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]));
    // Only what a killed process had read and not yet written is missing: two turns of a stream.
    let missing = 30_000 - numbers.len();
    assert!(missing < 2 * (64 << 10) / 8, "{missing}");
    assert!([5_000, 15_000].iter().all(|n| numbers.binary_search(n).is_ok()));
}

/// What a recorder hasn't seen itself it finds in the journal.
#[test]
fn last_words_from_the_journal() {
    let folder = Folder::new("tail");
    let mut owner = owner(&folder.0);
    let mut err = stream(&mut owner, "w.service", Stream::Stderr, &Logging::of("w", None));
    for n in 0..200 {
        writeln!(err, "step {n}").unwrap();
    }
    err.write_all(b"the disk is on fire\n").unwrap();
    logged(&mut owner, &folder.0, "MESSAGE=the disk is on fire");
    let pid = owner.link.pid().unwrap();
    kill(pid);
    reap(pid);
    owner.pids.clear();
    owner.link.exited(pid, now_us());
    owner.until("the next recorder", |owner| owner.link.pid().is_some());
    owner.append(&[record(7)]);
    owner.link.ended_badly(&Text::from("w.service"), RUN, RecordId(7));
    let mut words = String::new();
    owner.until("last words", |_| {
        let found = read(&folder.0).into_iter().find_map(|r| match r.fact {
            Fact::LastWords { text, .. } => Some(text),
            _ => None,
        });
        words = found.unwrap_or_default();
        !words.is_empty()
    });
    assert!(words.ends_with("step 198\nstep 199\nthe disk is on fire"), "{words}");
    drop(err);
    owner.end();
}
