//! Descriptors that services leave in keeping: passed to the next start, over a new program too, and let go
//! when the unit is down for good; systemd.service(5), FileDescriptorStoreMax=.

use crate::rig::*;
use hence_ledger::{Fact, Record};
use std::process::Command;

/// Says what it was passed, then does as its arguments say.
const SERVICE: &str = r#"#!/usr/bin/python3
import array, os, signal, socket, sys
def notify(text, *fds):
    a = os.environ["NOTIFY_SOCKET"]
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.connect("\0" + a[1:] if a[0] == "@" else a)
    s.sendmsg([text.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
def memory(text):
    fd = os.memfd_create(text)
    os.write(fd, text.encode())
    return fd
def read(fd):
    os.lseek(fd, 0, 0)
    return os.read(fd, 100).decode()
names = os.environ.get("LISTEN_FDNAMES", "").split(":")
count = int(os.environ.get("LISTEN_FDS", "0"))
with open(sys.argv[1], "a") as said:
    said.write(" ".join("%s=%s" % (names[i], read(3 + i)) for i in range(count)) + "\n")
for word in sys.argv[2:]:
    name, _, text = word.partition("=")
    if name == "hangs":
        reading, writing = os.pipe()
        notify("FDSTORE=1\nFDNAME=pipe", reading)
        os.close(reading)
        signal.signal(signal.SIGUSR1, lambda *_: os.close(writing))
    else:
        notify("FDSTORE=1\nFDNAME=" + name, memory(text))
notify("READY=1")
while True:
    signal.pause()
"#;

fn property(site: &Site, unit: &str, name: &str) -> String {
    said(&asked(site, &["show", "-P", name, unit])).trim().to_owned()
}

fn of_unit(site: &Site, unit: &str) -> Vec<Record> {
    let kept = |r: &Record| matches!(r.fact, Fact::DescriptorsKept { .. } | Fact::DescriptorsDropped { .. });
    site.records_so_far().into_iter().filter(|r| r.unit.as_deref() == Some(unit) && kept(r)).collect()
}

#[test]
fn they_are_passed_on_until_the_unit_is_down() {
    if Command::new("python3").arg("--version").output().is_err() {
        return eprintln!("skipped: python3 is missing");
    }
    let site = Site::new("kept", Level::Best);
    let program = site.script("service", SERVICE);
    let unit = |more: &str, arguments: &str| {
        format!(
            "[Service]\nType=notify\nFileDescriptorStoreMax=2\n{more}ExecStart={program} FOLDER/{arguments}\n"
        )
    };
    site.unit("keeps.service", &unit("", "keeps a=one b=two c=three"));
    site.unit("hangs.service", &unit("", "hangs hangs"));
    site.unit("stays.service", &unit("FileDescriptorStorePreserve=yes\n", "stays a=one"));
    site.unit("holds.service", "[Unit]\nWants=stays.service\n[Service]\nExecStart=sleep 1000 MARK\n");
    let hence = site.start(&["--stay", "--quiet"]);
    site.until_serving();
    for unit in ["keeps.service", "hangs.service", "stays.service"] {
        until("it is up", || (property(&site, unit, "ActiveState") == "active").then_some(()));
    }
    assert_eq!(property(&site, "keeps.service", "NFileDescriptorStore"), "2");

    // What is kept goes along to a new program, and is still waited for there.
    assert!(asked(&site, &["daemon-reexec"]).status.success());
    until("the new program", || {
        site.records_so_far().iter().any(|r| matches!(r.fact, Fact::Reexecuted { .. })).then_some(())
    });
    assert_eq!(property(&site, "keeps.service", "NFileDescriptorStore"), "2");
    assert!(asked(&site, &["restart", "keeps.service"]).status.success());
    assert_eq!(site.written("keeps"), "\nb=two a=one\n");
    let pid = property(&site, "hangs.service", "MainPID").parse().expect("a main process");
    send(pid, rustix::process::Signal::USR1);
    until("it hung up", || (property(&site, "hangs.service", "NFileDescriptorStore") == "0").then_some(()));
    let hung_up = of_unit(&site, "hangs.service");
    let [.., Record { causes, fact: Fact::DescriptorsDropped { hung_up: true, .. }, .. }] = &hung_up[..]
    else {
        panic!("{hung_up:?}");
    };
    assert!(causes.is_empty());

    assert!(asked(&site, &["stop", "keeps.service", "stays.service"]).status.success());
    assert_eq!(property(&site, "keeps.service", "NFileDescriptorStore"), "0");
    assert_eq!(property(&site, "stays.service", "NFileDescriptorStore"), "1");
    assert!(asked(&site, &["start", "keeps.service", "stays.service"]).status.success());
    assert_eq!(site.written("keeps"), "\nb=two a=one\n\n");
    assert_eq!(site.written("stays"), "\na=one\n");
    let sentences: Vec<String> = of_unit(&site, "keeps.service").iter().map(Record::sentence).collect();
    let is = |part: &str| sentences.iter().any(|s| s.contains(part));
    assert!(is("left 1 file descriptor in keeping as a; 1 in all"), "{sentences:?}");
    assert!(is("FileDescriptorStoreMax= leaves no room"), "{sentences:?}");
    assert!(is("2 file descriptors in keeping closed, for the unit is down"), "{sentences:?}");
    hence.interrupt();
}
