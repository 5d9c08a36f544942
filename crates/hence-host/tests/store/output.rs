//! What services write, what files are: logs, last words, digests.
use super::*;
use hence_ledger::{FileIdentity, FileRole, Stream, Version};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

fn pipe() -> (OwnedFd, std::fs::File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read, write.into())
}

fn log(ledger: &Path, name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(ledger.join("logs").join(name)).unwrap_or_default()).into_owned()
}

fn last_words(ledger: &Path) -> Vec<(Stream, String, RecordId)> {
    let words = read(ledger).into_iter().filter_map(|r| match r.fact {
        Fact::LastWords { stream, text } => Some((stream, text, r.causes[0].record)),
        _ => None,
    });
    words.collect()
}

/// Lines become log lines; the last of them become last words though a child holds the pipe open; and both
/// go on through a killed recorder.
#[test]
fn lines_and_last_words() {
    let folder = Folder::new("words");
    let mut owner = Owner::start(&folder.0, 64 << 10, None);
    let unit = Text::from("a.service");
    let run = Invocation([0xab; 16]);
    let (read_out, mut out) = pipe();
    let (read_err, mut err) = pipe();
    owner.link.send_stream(read_out, &unit, run, Stream::Stdout, 41);
    owner.link.send_stream(read_err, &unit, run, Stream::Stderr, 41);
    out.write_all(b"one\ntw").unwrap();
    owner.until("the first line", |_| log(&folder.0, "a.service.log").contains("stdout 41: one\n"));
    out.write_all(b"o\n\xff\x00raw\n").unwrap();
    owner.until("the second line", |_| log(&folder.0, "a.service.log").contains("stdout 41: two\n"));
    owner.until("bytes as they are", |_| {
        let bytes = std::fs::read(folder.0.join("logs/a.service.log")).unwrap();
        bytes.windows(6).any(|w| w == b"\xff\x00raw\n")
    });
    // A killed recorder loses no pipe: no SIGPIPE, and the next one reads on.
    let pid = owner.link.pid().unwrap();
    kill(pid);
    reap(pid);
    owner.pids.clear();
    out.write_all(b"between\n").unwrap();
    owner.link.exited(pid, now_us());
    owner.until("the recorder", |owner| owner.link.pid().is_some());
    owner.until("reading on", |_| log(&folder.0, "a.service.log").contains("stdout 41: between\n"));
    err.write_all(b"cannot open /etc/x.conf\nexiting").unwrap();
    owner.append(&[record(7)]);
    owner.link.ended_badly(&unit, run, RecordId(7));
    owner.until("last words", |_| last_words(&folder.0).len() == 2);
    let words = last_words(&folder.0);
    assert_eq!(words[0], (Stream::Stderr, "cannot open /etc/x.conf\nexiting".into(), RecordId(7)));
    // That tail was the killed recorder's in part; the rest came after it.
    assert_eq!((words[1].0, words[1].1.as_str()), (Stream::Stdout, "between"));
    // All ended before they are asked for: the tail is kept.
    drop((out, err));
    let (read_end, mut write) = pipe();
    let other = Text::from("b.service");
    write.write_all(b"gone at once\n").unwrap();
    drop(write);
    owner.link.send_stream(read_end, &other, run, Stream::Stderr, 42);
    owner.until("the line", |_| log(&folder.0, "b.service.log").contains("gone at once"));
    owner.link.ended_badly(&other, run, RecordId(7));
    owner.until("last words of b", |_| last_words(&folder.0).len() == 3);
    assert_eq!(last_words(&folder.0)[2].1, "gone at once");
    assert_eq!(owner.link.dropped(), 0);
    owner.end();
}

/// Without its owner the recorder still reads the pipes, and ends with the last of them.
#[test]
fn pipes_outlive_the_owner() {
    let folder = Folder::new("outlive");
    let mut owner = Owner::start(&folder.0, 64 << 10, None);
    let (read_end, mut write) = pipe();
    owner.link.send_stream(read_end, &Text::from("c.service"), Invocation::default(), Stream::Stdout, 9);
    write.write_all(b"before\n").unwrap();
    owner.append(&[record(1)]);
    let pids = owner.pids.clone();
    drop(owner);
    // The next owner writes while the first one's recorder still reads.
    let mut second = Owner::start(&folder.0, 64 << 10, None);
    second.append(&[record(2)]);
    second.drained();
    write.write_all(b"after\n").unwrap();
    second.until("the line", |_| log(&folder.0, "c.service.log").contains("stdout 9: after\n"));
    drop(write);
    pids.into_iter().for_each(reap);
    second.end();
    assert_eq!(ids(&read(&folder.0)), [1, 2]);
}

/// Logs stay within their bound, with lines cut where they are too long.
#[test]
fn logs_are_bounded() {
    let folder = Folder::new("logs");
    let mut owner = Owner::start(&folder.0, 64 << 10, None);
    let (read_end, mut write) = pipe();
    owner.link.send_stream(read_end, &Text::from("d.service"), Invocation::default(), Stream::Stdout, 9);
    let writing = std::thread::spawn(move || {
        write.write_all(&vec![b'l'; 100 << 10]).unwrap();
        for n in 0..80_000 {
            writeln!(write, "line {n} of a service that says more than anyone wants to keep").unwrap();
        }
    });
    owner.until("the writer", |_| writing.is_finished());
    writing.join().unwrap();
    owner.until("the last line", |_| log(&folder.0, "d.service.log").contains("line 79999 of"));
    for name in ["d.service.log", "d.service.log.1"] {
        let text = log(&folder.0, name);
        assert!(text.len() <= 1 << 20 && text.len() > 100_000, "{name}: {}", text.len());
        assert!(text.lines().all(|line| line.len() < (48 << 10) + 80));
    }
    owner.end();
}

fn version(path: &Path) -> Version {
    let m = std::fs::metadata(path).unwrap();
    Version {
        device: m.dev(),
        inode: m.ino(),
        size: m.size(),
        modified_ns: m.mtime() * 1_000_000_000 + m.mtime_nsec(),
        changed_ns: m.ctime() * 1_000_000_000 + m.ctime_nsec(),
    }
}

/// Files of a start are digested once per version; a changed one and a missing one are told apart.
#[test]
fn digests() {
    let folder = Folder::new("digests");
    let mut owner = Owner::start(&folder.0, 64 << 10, None);
    let file = folder.0.join("plain");
    std::fs::write(&file, b"abc").unwrap();
    let big = folder.0.join("big");
    std::fs::write(&big, vec![0; 5 << 20]).unwrap();
    let identity = |path: &Path, version| FileIdentity {
        path: Text::from(path.to_str().unwrap()),
        role: FileRole::Executable,
        version,
    };
    let stale = Version { size: 1, ..version(&file) };
    let shell = Path::new("/bin/sh");
    let files = vec![
        identity(&file, Some(version(&file))),
        identity(&file, Some(stale)),
        identity(&big, Some(version(&big))),
        identity(Path::new("/nowhere"), None),
        identity(shell, Some(version(shell))),
    ];
    owner.append(&[Record { fact: Fact::Inputs { files: files.clone() }, ..record(1) }]);
    owner.append(&[Record { fact: Fact::Inputs { files }, ..record(2) }]);
    type Found = (String, Version, Option<[u8; 32]>, Option<Text>, RecordId);
    let found = |ledger: &Path| -> Vec<Found> {
        let digests = read(ledger).into_iter().filter_map(|r| match r.fact {
            Fact::Digest { path, version, sha256, package } => {
                Some((path.to_string(), version, sha256, package, r.causes[0].record))
            }
            _ => None,
        });
        digests.collect()
    };
    owner.until("digests", |_| found(&folder.0).len() >= 4);
    std::thread::sleep(Duration::from_millis(50));
    let found = found(&folder.0);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found.iter().all(|f| f.4 == RecordId(1)));
    let hex = |b: [u8; 32]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(found[0].2.map(hex).as_deref(), Some(abc));
    assert_eq!((found[1].1, found[1].2), (stale, None));
    // sha256sum of 5 MiB of zeros.
    let zeros = "c036cbb7553a909f8b8877d4461924307f27ecb66cff928eeeafd569c3887e29";
    assert_eq!(found[2].2.map(hex).as_deref(), Some(zeros));
    assert_eq!(found[0].3, None);
    if Path::new("/var/lib/dpkg/status").exists() {
        let package = found[3].3.as_deref().unwrap_or_default();
        assert!(package.starts_with("dash ") && package.len() > 5, "{package:?}");
    }
    owner.end();
}
