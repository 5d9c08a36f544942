//! Commands of mount units: the environment that they run in, and how one that takes too long is ended. The
//! helper of a file system of our own stands for mount(8)'s, in a mount namespace of this hence.

use crate::rig::{Level, Site, asked, root_for, said};
use hence_ledger::{Fact, SignalReason, SubState};
use std::path::Path;

/// Starts hence where /usr/sbin has the helper `mount.witness`.
fn boxed(site: &Site, helper: &str) -> String {
    std::fs::create_dir(site.folder.join("sbin")).expect("a folder");
    site.script("sbin/mount.witness", &format!("#!/bin/sh\n{helper}\n"));
    let program = env!("CARGO_BIN_EXE_hence");
    let overlay = "mount -t overlay overlay -o lowerdir=FOLDER/sbin:/usr/sbin /usr/sbin";
    site.script(
        "boxed",
        &format!("#!/bin/sh\nexec unshare --mount sh -c '{overlay} && exec {program} \"$@\"' hence \"$@\"\n"),
    )
}

/// A mount unit of the site's folder; its name.
fn mount_at(site: &Site, place: &str, settings: &str) -> String {
    let at = site.path(place);
    let name = hence_unit::mount::unit_of(&at).expect("a name").to_string();
    site.unit(&name, &format!("[Mount]\nWhat={place}\nWhere={at}\nType=witness\n{settings}\n"));
    name
}

fn overlays() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let there = known.lines().any(|line| line.ends_with("\toverlay"));
    if !there {
        eprintln!("skipped: commands of mounts: the kernel has no overlays");
    }
    there
}

#[test]
fn a_mount_has_the_environment_of_its_section() {
    if !root_for("mounts") || !overlays() {
        return;
    }
    let site = Site::new("mount-environment", Level::Best);
    let helper = "{ echo $FOO $(ulimit -n) $(umask) $(pwd) $(id -u)\nls -d /run/hence-MARK\n\
                  cat /proc/self/cgroup | grep -o '[^/]*.slice/[^/]*.mount'; } >> FOLDER/said 2>&1\n\
                  exec mount -i -t tmpfs \"$1\" \"$2\"";
    let program = boxed(&site, helper);
    let settings = "Environment=FOO=bar\nLimitNOFILE=77\nUMask=0027\nWorkingDirectory=/usr\n\
                    RuntimeDirectory=hence-MARK\nSlice=deep.slice";
    let name = mount_at(&site, "given", settings);
    // What is mounted in another namespace is mounted nowhere.
    let elsewhere = mount_at(&site, "elsewhere", "PrivateMounts=yes");
    site.unit("idle.service", "[Service]\nExecStart=/bin/sleep MARK\n");
    let _hence = site.start_program(Path::new(&program), &["--stay", "--quiet"]);
    site.until_serving();
    let started = asked(&site, &["start", &name]);
    assert!(started.status.success(), "{}{}", said(&started), site.said());
    let told = site.read("said");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "bar 77 0027 /usr 0");
    assert_eq!(lines[1], format!("/run/hence-{}", site.mark));
    assert_eq!(lines[2], format!("deep.slice/{name}"));
    assert!(asked(&site, &["stop", &name]).status.success());
    assert!(!Path::new(lines[1]).exists(), "the folder went with the mount");
    assert!(!asked(&site, &["start", &elsewhere]).status.success());
    let shown = said(&asked(&site, &["show", "-P", "Result", &elsewhere]));
    assert_eq!(shown.trim(), "protocol");
}

#[test]
fn a_mount_that_takes_too_long_is_ended_as_its_section_says() {
    if !root_for("mounts") || !overlays() {
        return;
    }
    let site = Site::new("mount-slow", Level::Best);
    let helper = "trap '' USR1\nsleep MARK &\nwhile :; do wait; done";
    let program = boxed(&site, helper);
    let name = mount_at(&site, "slow", "TimeoutSec=400ms\nKillSignal=SIGUSR1\nKillMode=process");
    site.unit("idle.service", "[Service]\nExecStart=/bin/sleep MARK\n");
    let _hence = site.start_program(Path::new(&program), &["--stay", "--quiet"]);
    site.until_serving();
    assert!(!asked(&site, &["start", &name]).status.success());
    let shown = said(&asked(&site, &["show", "-P", "Result", &name]));
    assert_eq!(shown.trim(), "timeout", "{}", site.said());
    let sent = site.recorded("a signal", |record| match record.fact {
        Fact::SignalSent { signal, reason: SignalReason::Stop, control: true, .. } => {
            Some((signal, record.causes.clone()))
        }
        _ => None,
    });
    assert_eq!(sent.0, 10, "SIGUSR1");
    let rule = sent.1[0].rule.as_ref().expect("the line that says so");
    assert!(rule.directive.starts_with("KillSignal="), "{rule:?}");
    site.recorded("its state", |record| match record.fact {
        Fact::StateChanged { to: SubState::UnmountingSigterm, .. } => Some(()),
        _ => None,
    });
    // The helper was not signalled, and nobody waits for it.
    let left = site.recorded("who is left", |record| match &record.fact {
        Fact::LeftBehind { processes, .. } => Some(processes.len()),
        _ => None,
    });
    assert!(left >= 1, "{left}");
}
