//! Bad input: a clear sentence, the exit status that `exit` documents, and nothing left running.

use crate::rig::{Level, Site, is_root, root_for, until};
use hence_ledger::{Fact, SpawnStep};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Runs `hence run` with these arguments; its status and what it said on stderr.
fn refused(site: &Site, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["run"];
    all.extend(arguments);
    let output = site.ask(&all);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().expect("a status"), said)
}

#[test]
fn folders_and_files_that_are_none() {
    let site = Site::new("none", Level::Best);
    let missing = site.path("missing");
    let (status, said) = refused(&site, &[&missing]);
    assert_eq!(status, 4, "{said}");
    assert_eq!(said, format!("hence: {missing}: no such file or folder; name a folder of unit files\n"));

    let (status, said) = refused(&site, &[&site.path("units")]);
    assert_eq!((status, said.contains("no unit to start there")), (4, true), "{said}");

    std::fs::write(site.folder.join("notes.txt"), "hello").expect("a file");
    let (status, said) = refused(&site, &[&site.path("notes.txt")]);
    assert_eq!((status, said.contains("not a unit file's name")), (4, true), "{said}");

    let (status, said) = refused(&site, &["--for", "soon", &site.path("units")]);
    assert_eq!((status, said.contains("30s, 5min")), (2, true), "{said}");

    site.unit("a.service", "[Service]\nExecStart=/bin/true\n");
    let (status, said) = refused(&site, &["--unit", "nosuch.service", &site.path("units")]);
    assert_ne!(status, 0, "{said}");
}

#[test]
fn a_unit_that_may_not_be_read() {
    let level = if is_root() { Level::User } else { Level::Best };
    let site = Site::new("mode", level);
    site.unit("secret.service", "[Service]\nExecStart=/bin/true\n");
    let file = site.units().join("secret.service");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).expect("a mode");
    assert_ne!(site.run(&[]), 0, "{}", site.said());
    let said = site.said();
    assert!(said.contains("secret.service") && said.contains("ermission denied"), "{said}");

    let folder = site.units();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o000)).expect("a mode");
    let (status, said) = refused(&site, &[&site.path("units")]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    assert_eq!((status, said.contains("ermission denied")), (4, true), "{said}");
}

#[test]
fn a_file_that_holds_no_unit() {
    let site = Site::new("binary", Level::Best);
    std::fs::write(site.units().join("x.service"), [0u8, 159, 146, 150, 10, 0xff]).expect("a file");
    site.unit("empty.service", "[Unit]\nDescription=nothing to do\n");
    assert_ne!(site.run(&[]), 0, "{}", site.said());
    let said = site.said();
    assert!(said.contains("x.service:1"), "{said}");
    assert!(said.contains("empty.service"), "{said}");
}

#[test]
fn an_ordering_cycle_is_named_and_what_was_dropped_is_recorded() {
    let site = Site::new("cycle", Level::Best);
    site.unit("all.target", "[Unit]\nWants=a.service b.service c.service\n");
    site.unit("a.service", "[Unit]\nAfter=c.service\n[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    site.unit("b.service", "[Unit]\nAfter=a.service\n[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    site.unit("c.service", "[Unit]\nAfter=b.service\n[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    let hence = site.start(&["--unit", "all.target"]);
    let reason = site.recorded("a dropped job", |r| match &r.fact {
        Fact::JobDropped { reason, .. } => Some(reason.to_string()),
        _ => None,
    });
    for unit in ["a.service", "b.service", "c.service"] {
        assert!(reason.contains(unit), "{reason}");
    }
    assert!(reason.starts_with("ordering cycle "), "{reason}");
    // The others run.
    until("two services", || (site.marked().len() == 2).then_some(()));
    hence.interrupt();
    assert!(site.read("out").contains(&reason), "{}", site.said());
}

#[test]
fn units_that_cannot_be_spawned() {
    let site = Site::new("spawn", Level::Best);
    site.unit("missing.service", "[Service]\nExecStart=/no/such/program\n");
    site.unit("nobody.service", "[Service]\nUser=no-such-user-here\nExecStart=/bin/true\n");
    site.unit("folder.service", "[Service]\nWorkingDirectory=/no/such/folder\nExecStart=/bin/true\n");
    assert_eq!(site.run(&[]), 1, "{}", site.said());
    let steps: Vec<(String, SpawnStep, String)> = site
        .records()
        .iter()
        .filter_map(|r| match &r.fact {
            Fact::SpawnFailed { step, subject, .. } => {
                Some((r.unit.as_deref()?.to_owned(), *step, subject.to_string()))
            }
            _ => None,
        })
        .collect();
    let of =
        |unit: &str| steps.iter().find(|(u, ..)| u == unit).unwrap_or_else(|| panic!("{unit}: {steps:?}"));
    assert_eq!(of("missing.service").2, "/no/such/program");
    assert!(of("folder.service").2.contains("/no/such/folder"), "{steps:?}");
    let said = site.said();
    assert!(said.contains("/no/such/program") && said.contains("No such file"), "{said}");
    if is_root() {
        assert!(of("nobody.service").2.contains("no-such-user-here"), "{steps:?}");
        assert!(said.contains("no-such-user-here"), "{said}");
    }
    let why = site.json(&["why", "missing.service", "--json"]);
    assert!(why.to_string().contains("/no/such/program"), "{why}");
}

#[test]
fn what_is_wrong_with_a_unit_is_said_once_at_its_place() {
    let site = Site::new("typo", Level::Best);
    site.unit("a.service", "[Unit]\nDescripton=typo\n[Service]\nExecStart=/bin/true\nType=oneshot\n");
    assert_eq!(site.run(&[]), 0, "{}", site.said());
    let err = site.read("err");
    let place = format!("{}:2:1: ", site.units().join("a.service").display());
    assert_eq!(err.matches("Descripton").count(), 1, "{err}");
    assert!(err.contains(&place) && err.contains("Description="), "{err}");
}

#[test]
fn masked_units_and_templates() {
    let site = Site::new("masked", Level::Best);
    std::os::unix::fs::symlink("/dev/null", site.units().join("masked.service")).expect("a link");
    site.unit("t@.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %i >>FOLDER/said'\n");
    let (status, said) = refused(&site, &[&site.path("units")]);
    assert_eq!((status, said.contains("no unit to start there")), (4, true), "{said}");

    let status = site.run(&["--unit", "masked.service"]);
    assert_ne!(status, 0, "{}", site.said());
    assert!(site.said().contains("masked"), "{}", site.said());

    let (status, said) = refused(&site, &["--unit", "t@.service", &site.path("units")]);
    assert_ne!(status, 0, "{said}");
    let output = site.run_command(&["--unit", "t@.service"]).output().expect("hence");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("t@.service") && said.contains("instance"), "{said}");

    assert_eq!(site.run(&["--unit", "t@one.service"]), 0, "{}", site.said());
    assert_eq!(site.read("said"), "one\n");
}

#[test]
fn a_ledger_in_use() {
    let site = Site::new("inuse", Level::Best);
    site.unit("a.service", "[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    let hence = site.start(&[]);
    until("a service", || (site.marked().len() == 1).then_some(()));
    let (status, said) = refused(&site, &[&site.path("units")]);
    assert_eq!(status, 5, "{said}");
    assert!(said.contains(&format!("in use by process {}", hence.pid())), "{said}");
    assert!(said.contains("--ledger"), "{said}");
    assert_eq!(site.marked().len(), 1, "the second one started nothing");
    assert_eq!(hence.interrupt(), 0);
}

#[test]
fn a_ledger_of_a_newer_version() {
    let site = Site::new("newer", Level::Best);
    site.unit("a.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    assert_eq!(site.run(&[]), 0, "{}", site.said());
    // The recorder writes it, and may still be at it.
    let (segment, mut bytes) = until("a segment", || {
        let mut segments = std::fs::read_dir(site.ledger().join("segments")).ok()?.flatten();
        let path = segments.next()?.path();
        let bytes = std::fs::read(&path).ok().filter(|bytes| bytes.len() > 200)?;
        Some((path, bytes))
    });
    until("the recorder's end", || {
        let recorder = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&format!("recorder\0{}", site.ledger().display()))
        };
        (!hence_host::processes().iter().any(recorder)).then_some(())
    });
    // The version stands behind the magic, in every file of the ledger.
    let version = hence_ledger::FORMAT_VERSION.to_le_bytes();
    let at = bytes[..32].windows(version.len()).position(|w| w == version).expect("a version");
    bytes[at] = 250;
    std::fs::write(&segment, &bytes).expect("a segment");
    let before = bytes;
    let (status, said) = refused(&site, &[&site.path("units")]);
    assert_eq!(status, 5, "{said}");
    assert!(said.contains("newer") && said.contains("version 250"), "{said}");
    assert!(std::fs::read(&segment).expect("a segment") == before, "it was changed");
    let output = site.ask(&["why", "a.service"]);
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn no_room_for_the_ledger() {
    let level = if is_root() { Level::User } else { Level::Best };
    let site = Site::new("forbidden", level);
    site.unit("a.service", "[Service]\nExecStart=/bin/true\n");
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        command.arg(env!("CARGO_BIN_EXE_hence"));
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_hence"))
    };
    let output =
        command.args(["run", &site.path("units"), "--ledger", "/proc/nowhere"]).output().expect("hence");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("/proc"), "{said}");

    if !root_for("a full and a read-only file system") {
        return;
    }
    let site = Site::new("full", Level::Best);
    site.unit("a.service", "[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    let hence = env!("CARGO_BIN_EXE_hence");
    let (units, room) = (site.path("units"), site.path("room"));
    for (options, sentence) in [("size=64k", "No space left"), ("ro", "ead-only")] {
        let script = format!(
            "mkdir -p {room} && mount -t tmpfs -o {options} none {room} && exec {hence} run {units} \
             --socket {room}.bus --ledger {room}/l"
        );
        let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().expect("unshare");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{options}: {said}");
        assert!(said.contains(sentence) && said.contains("--ledger"), "{options}: {said}");
        assert_eq!(site.marked(), [0; 0]);
    }
}
