//! What units ask for is what their processes get: sockets, environment, folders, users.

use crate::rig::{Level, Site, is_root, levels, root_for, until};
use hence_ledger::Fact;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

#[test]
fn a_socket_with_accept_starts_an_instance_for_each_client() {
    for level in levels() {
        let site = Site::new("accept", level);
        site.unit("echo.socket", "[Socket]\nListenStream=FOLDER/talk\nAccept=yes\n");
        site.unit("echo@.service", "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n");
        let hence = site.start(&["--stay"]);
        for text in ["one", "two", "three"] {
            let mut client = until("a socket", || UnixStream::connect(site.path("talk")).ok());
            client.write_all(text.as_bytes()).expect("a write");
            client.shutdown(Shutdown::Write).expect("a shutdown");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("an answer");
            assert_eq!(answer, text, "{level:?}");
        }
        assert_eq!(hence.interrupt(), 0, "{}", site.said());
        let records = site.records();
        let traffic = records.iter().filter(|r| matches!(r.fact, Fact::Traffic { .. })).count();
        assert_eq!(traffic, 3);
        let started = |r: &&hence_ledger::Record| {
            matches!(r.fact, Fact::ProcessStarted { .. })
                && r.unit.as_deref().is_some_and(|u| u.starts_with("echo@"))
        };
        assert_eq!(records.iter().filter(started).count(), 3);
    }
}

#[test]
fn a_socket_starts_its_service_on_the_first_traffic() {
    let site = Site::new("socket", Level::Best);
    // The listening socket is its standard input: perl takes one client after the other from it.
    let program = site.script(
        "serve",
        "#!/usr/bin/perl\nuse Socket; $| = 1;\nopen(my $l, '+<&=', 3) or die;\n\
         while (accept(my $c, $l)) { my $line = <$c>; syswrite($c, \"$ENV{LISTEN_FDS} $line\"); close $c }\n",
    );
    site.unit("talk.socket", "[Socket]\nListenStream=FOLDER/talk\n");
    site.unit("talk.service", &format!("[Service]\nExecStart={program} MARK\n"));
    let hence = site.start(&[]);
    until("a socket", || std::fs::metadata(site.path("talk")).ok());
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(site.marked(), [0; 0], "nothing runs before the first client");
    for text in ["hello\n", "again\n"] {
        let mut client = UnixStream::connect(site.path("talk")).expect("a connection");
        client.write_all(text.as_bytes()).expect("a write");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, format!("1 {text}"));
    }
    assert_eq!(site.marked().len(), 1);
    let why = site.json(&["why", "talk.service", "--json"]);
    assert_eq!((&why["event"], &why["roots"][0]["kind"]), (&"started".into(), &"traffic".into()), "{why}");
    assert_eq!(hence.interrupt(), 0, "{}", site.said());
    assert_eq!(site.marked(), [0; 0]);
}

#[test]
fn environment_files_and_folders() {
    for level in levels() {
        let site = Site::new("environment", level);
        std::fs::write(site.folder.join("env"), "# a comment\nONE=1\nTWO=\"two words\"\n").expect("a file");
        site.unit(
            "e.service",
            "[Service]\nType=oneshot\nEnvironment=ZERO=0\nEnvironmentFile=FOLDER/env\n\
             EnvironmentFile=-FOLDER/none\nWorkingDirectory=FOLDER/units\n\
             ExecStart=/bin/sh -c 'echo \"$ZERO $ONE $TWO $PWD $$INVOCATION_ID\" >FOLDER/said'\n",
        );
        assert_eq!(site.run(&[]), 0, "{level:?} {}", site.said());
        let said = site.written("said");
        let invocation = said.split_whitespace().last().expect("an id").to_owned();
        let folder = site.units();
        assert_eq!(said, format!("0 1 two words {} {invocation}\n", folder.display()));
        let recorded =
            site.records().iter().any(|r| r.invocation.is_some_and(|i| i.to_string() == invocation));
        assert!(recorded, "{invocation}");
    }
}

#[test]
fn users_and_runtime_directories() {
    if !root_for("User= and RuntimeDirectory=") {
        return;
    }
    let site = Site::new("user", Level::Best);
    let name = format!("hence-test-{}", std::process::id());
    std::os::unix::fs::chown(&site.folder, Some(65534), None).expect("a chown");
    site.unit(
        "u.service",
        &format!(
            "[Service]\nType=oneshot\nUser=nobody\nRuntimeDirectory={name}\nRuntimeDirectoryMode=0750\n\
        ExecStart=/bin/sh -c 'id -un >FOLDER/said; stat -c \"%%U %%a\" $RUNTIME_DIRECTORY >>FOLDER/said'\n"
        ),
    );
    assert!(is_root());
    assert_eq!(site.run(&[]), 0, "{}", site.said());
    assert_eq!(site.written("said"), "nobody\nnobody 750\n");
    assert!(!std::path::Path::new("/run").join(&name).exists(), "it goes with the service");
}

/// OpenFile=: a file that only root may read is passed to a service of another user.
#[test]
fn files_are_opened_for_a_service_and_passed() {
    if !root_for("files of root's") {
        return;
    }
    let site = Site::new("open-file", Level::Best);
    std::fs::write(site.folder.join("secret"), "secret\n").expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(site.folder.join("secret"), mode).expect("a mode");
    site.unit(
        "reader.service",
        "[Service]\nType=oneshot\nUser=nobody\nStandardOutput=append:FOLDER/said\n\
         OpenFile=FOLDER/nothing:none:graceful\nOpenFile=FOLDER/secret:mine:read-only\n\
         ExecStart=/bin/sh -c 'echo $LISTEN_FDS $LISTEN_FDNAMES; cat <&3; \\\n\
         cat FOLDER/secret 2>/dev/null || echo refused'\n",
    );
    site.unit("missing.service", "[Service]\nType=oneshot\nOpenFile=FOLDER/nothing\nExecStart=/bin/true\n");
    assert_ne!(site.run(&[]), 0, "one has no file");
    assert_eq!(site.read("said"), "1 mine\nsecret\nrefused\n");
    let failed = site.records().into_iter().any(|record| match &record.fact {
        Fact::SpawnFailed { subject, errno, .. } => subject.ends_with("/nothing") && *errno == libc_enoent(),
        _ => false,
    });
    assert!(failed, "{}", site.said());
}

fn libc_enoent() -> i32 {
    rustix::io::Errno::NOENT.raw_os_error()
}
