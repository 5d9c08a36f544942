//! Units that clients make, change and hand over while hence runs, by the stock `systemd-run`, `systemctl`
//! and `busctl`: services, scopes, timers, settings, freezing, cleaning. Skipped where those are missing.

use crate::rig::*;
use hence_ledger::{ActiveState, Fact, ProcessRole, RecordId, SubState, Verb};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Whether systemd's clients are there.
fn has_clients() -> bool {
    let there = |tool: &str| Path::new("/usr/bin").join(tool).exists();
    let all = ["systemd-run", "systemctl", "busctl"].into_iter().all(there);
    if !all {
        eprintln!("skipped: systemd-run, systemctl or busctl is missing");
    }
    all
}

/// A site whose hence the clients take for a user's instance, without a bus and with one.
fn site(name: &str, level: Level) -> Site {
    let site = Site::new(name, level);
    std::fs::create_dir_all(site.folder.join("systemd")).expect("a folder");
    std::os::unix::fs::symlink(site.path("bus"), site.folder.join("systemd/private")).expect("a link");
    site.unit("keep.service", "[Service]\nExecStart=sleep 1MARK\n");
    site
}

/// A client, as the user whose hence it is: it speaks to nobody else's.
fn client(site: &Site, tool: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(if site.level == Level::User { "setpriv" } else { tool });
    if site.level == Level::User {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", tool]);
    }
    command.arg("--user").args(arguments).env("XDG_RUNTIME_DIR", &site.folder);
    command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", site.path("bus")));
    command.env("SYSTEMD_PAGER", "").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn ask(site: &Site, tool: &str, arguments: &[&str]) -> Output {
    client(site, tool, arguments).output().expect("the client runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn succeeds(site: &Site, tool: &str, arguments: &[&str]) -> String {
    let output = ask(site, tool, arguments);
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{}", said(&output), site.said());
    said(&output)
}

fn property(site: &Site, unit: &str, name: &str) -> String {
    succeeds(site, "systemctl", &["show", "-P", name, unit]).trim().to_owned()
}

fn serving<'a>(site: &'a Site, more: &[&str]) -> Hence<'a> {
    let hence = site.start(&[&["--stay"], more].concat());
    site.until_serving();
    hence
}

fn request_of(site: &Site, verb: Verb) -> RecordId {
    site.recorded("a request", |record| match &record.fact {
        Fact::Request { verb: asked, client, .. } if *asked == verb => {
            assert!(client.command.contains("system") || client.command.contains("busctl"), "{client:?}");
            Some(record.id)
        }
        _ => None,
    })
}

#[test]
fn a_service_is_made_run_and_forgotten() {
    for level in levels().into_iter().filter(|_| has_clients()) {
        let site = site("transient", level);
        let hence = serving(&site, &[]);
        let (out, go) = (site.path("answer"), site.path("go"));
        let line = format!("echo \"$X-$Y 100%\" > {out}; until [ -e {go} ]; do sleep 0.05; done");
        let text = succeeds(
            &site,
            "systemd-run",
            &["--unit=once", "-p", "Environment=X=1 \"Y=a b\"", "--setenv=Z=%n", "/bin/sh", "-c", &line],
        );
        assert!(text.contains("once.service"), "{text}");
        let path = property(&site, "once.service", "FragmentPath");
        assert_eq!(path, site.path("ledger/units/transient/once.service"));
        let shown = std::fs::read_to_string(&path).expect("its file");
        for wanted in ["programmatically", "Environment=\"X=1\" \"Y=a b\"", "Environment=\"Z=%%n\""] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
        assert_eq!(property(&site, "once.service", "Transient"), "yes");
        let twice = ask(&site, "systemd-run", &["--unit=once", "true"]);
        assert!(said(&twice).contains("was already loaded or has a fragment file"), "{}", said(&twice));
        let taken = ask(&site, "systemd-run", &["--unit=keep", "true"]);
        assert!(said(&taken).contains("was already loaded or has a fragment file"), "{}", said(&taken));
        assert_eq!(site.written("answer"), "1-a b 100%\n");
        std::fs::write(&go, "").expect("a write");
        until("the unit to be gone", || {
            (property(&site, "once.service", "LoadState") == "not-found").then_some(())
        });
        assert!(!site.folder.join("ledger/units/transient/once.service").exists());
        // The name is free again.
        succeeds(&site, "systemd-run", &["--unit=once", "true"]);

        let request = request_of(&site, Verb::StartTransient);
        site.recorded("its files and its job, because of the request", |record| {
            let caused = record.causes.iter().any(|cause| cause.record == request);
            matches!(&record.fact, Fact::Loaded { load, .. } if &**load == "loaded" && caused).then_some(())
        });
        site.recorded("its job", |record| {
            let caused = record.causes.iter().any(|cause| cause.record == request);
            (caused && matches!(record.fact, Fact::JobQueued { .. })).then_some(())
        });
        hence.interrupt();
    }
}

#[test]
fn a_client_waits_and_lends_its_streams() {
    for level in levels().into_iter().filter(|_| has_clients()) {
        let site = site("wait", level);
        let hence = serving(&site, &[]);
        let descriptors =
            || std::fs::read_dir(format!("/proc/{}/fd", hence.pid())).map_or(0, Iterator::count);
        let waited = ask(&site, "systemd-run", &["--wait", "--unit=w", "/bin/sh", "-c", "sleep 0.2; exit 7"]);
        assert_eq!(waited.status.code(), Some(7), "{}", said(&waited));
        assert!(said(&waited).contains("Finished with result: exit-code"), "{}", said(&waited));
        let before = descriptors();
        let mut command = client(&site, "systemd-run", &["--pipe", "--wait", "-q", "/bin/sh", "-c"]);
        command.arg("tr a-z A-Z; echo err >&2; exit 3");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client runs");
        child.stdin.take().expect("a pipe").write_all(b"hello\n").expect("a write");
        let output = child.wait_with_output().expect("an end");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "HELLO\n", "{}", said(&output));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
        assert_eq!(output.status.code(), Some(3));
        // Whoever waited held on to the unit; with the client it goes, and so do the descriptors.
        until("descriptors to be closed", || (descriptors() <= before).then_some(()));
        hence.interrupt();
    }
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    for level in levels().into_iter().take(1).filter(|_| has_clients()) {
        let site = site("refused", level);
        let hence = serving(&site, &[]);
        let address = format!("--address=unix:path={}", site.path("bus"));
        let start = |unit: &str, property: &[&str]| {
            let mut call = vec!["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"];
            call.extend(["org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"]);
            call.extend([unit, "replace", "1"]);
            call.extend(property);
            call.push("0");
            let output = Command::new("busctl").arg(&address).args(&call).output().expect("busctl runs");
            assert!(!output.status.success(), "{}", said(&output));
            said(&output)
        };
        for (unit, property, text) in [
            ("a.service", ["Foo", "s", "bar"], "Cannot set property Foo, or unknown property."),
            ("a.timer", ["User", "s", "root"], "Cannot set property User, or unknown property."),
            ("a.service", ["User", "s", "a:b"], "Invalid User setting: a:b"),
            ("a.service", ["Description", "s", "a\n[Service]"], "Invalid Description setting"),
            ("a.target", ["Description", "s", "a"], "does not support transient units"),
            ("a.scope", ["Description", "s", "a"], "no process"),
        ] {
            let said = start(unit, &property);
            assert!(said.contains(text), "{unit} {property:?}: {said}");
        }
        let transient = site.folder.join("ledger/units/transient");
        assert_eq!(std::fs::read_dir(&transient).map_or(0, Iterator::count), 0);
        hence.interrupt();
    }
}

#[test]
fn a_scope_takes_up_its_client() {
    for level in levels().into_iter().filter(|_| has_clients()) {
        let site = site("scope", level);
        let hence = serving(&site, &[]);
        let sleep = format!("2{}", site.mark);
        let mut child = client(&site, "systemd-run", &["--scope", "--unit=s", "-q", "sleep", &sleep])
            .spawn()
            .expect("the client runs");
        until("the scope", || (property(&site, "s.scope", "SubState") == "running").then_some(()));
        site.recorded("the process in it", |record| match &record.fact {
            Fact::ProcessStarted { pid, role: ProcessRole::Attached, .. } => {
                assert_eq!(*pid, child.id());
                Some(())
            }
            _ => None,
        });
        let restart = ask(&site, "systemctl", &["restart", "s.scope"]);
        assert!(said(&restart).contains("not applicable"), "{}", said(&restart));
        assert!(child.try_wait().expect("a look").is_none());
        succeeds(&site, "systemctl", &["stop", "s.scope"]);
        let ended = child.wait().expect("an end");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(15));
        until("the scope to be gone", || {
            (property(&site, "s.scope", "LoadState") == "not-found").then_some(())
        });

        let long = ["--scope", "--unit=t", "-q", "-p", "RuntimeMaxSec=200ms", "sleep", &sleep];
        let ended = client(&site, "systemd-run", &long).status().expect("the client runs");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(15));
        until("its failure", || (property(&site, "t.scope", "Result") == "timeout").then_some(()));
        assert_eq!(property(&site, "t.scope", "ActiveState"), "failed");
        // A scope whose processes end by themselves is over.
        succeeds(&site, "systemd-run", &["--scope", "--unit=v", "-q", "true"]);
        site.recorded("its end", |record| {
            let of_scope = record.unit.as_deref() == Some("v.scope");
            let dead = matches!(
                record.fact,
                Fact::StateChanged { to: SubState::Dead, to_active: ActiveState::Inactive, .. }
            );
            (of_scope && dead).then_some(())
        });
        hence.interrupt();
    }
}

#[test]
fn a_timer_brings_its_service() {
    for level in levels().into_iter().take(1).filter(|_| has_clients()) {
        let site = site("timer", level);
        let hence = serving(&site, &[]);
        let out = site.path("tick");
        let line = format!("echo tick > {out}");
        let accuracy = "--timer-property=AccuracySec=1ms";
        let arguments = ["--on-active=300ms", accuracy, "--unit=t", "/bin/sh", "-c", &line];
        succeeds(&site, "systemd-run", &arguments);
        assert_eq!(property(&site, "t.timer", "ActiveState"), "active");
        assert_eq!(property(&site, "t.service", "LoadState"), "loaded");
        assert_eq!(site.written("tick"), "tick\n");
        for unit in ["t.timer", "t.service"] {
            until("both to be gone", || (property(&site, unit, "LoadState") == "not-found").then_some(()));
        }
        hence.interrupt();
    }
}

#[test]
fn settings_change_while_it_runs() {
    for level in levels().into_iter().filter(|_| has_clients()) {
        let site = site("settings", level);
        let hence = serving(&site, &[]);
        until("the service", || (property(&site, "keep.service", "SubState") == "running").then_some(()));
        succeeds(&site, "systemctl", &["set-property", "keep.service", "TasksMax=7", "Description=Kept"]);
        assert_eq!(property(&site, "keep.service", "TasksMax"), "7");
        assert_eq!(property(&site, "keep.service", "Description"), "Kept");
        let folder = site.folder.join("ledger/units/control/keep.service.d");
        let text = std::fs::read_to_string(folder.join("50-TasksMax.conf")).expect("a drop-in");
        assert!(text.ends_with("[Service]\nTasksMax=7\n"), "{text}");
        let refused = ask(&site, "systemctl", &["set-property", "keep.service", "KillMode=none"]);
        assert!(said(&refused).contains("Cannot set property KillMode"), "{}", said(&refused));
        if level == Level::Best {
            let group = property(&site, "keep.service", "ControlGroup");
            let limit = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"]
                .map(|root| std::fs::read_to_string(format!("{root}{group}/pids.max")).unwrap_or_default());
            assert!(
                limit.iter().any(|limit| limit == "7\n") || !group.contains("hence"),
                "{limit:?} {group}"
            );
        }
        let request = request_of(&site, Verb::SetProperty);
        site.recorded("what it says now", |record| {
            let caused = record.causes.iter().any(|cause| cause.record == request);
            (caused && matches!(record.fact, Fact::Loaded { .. })).then_some(())
        });
        hence.interrupt();
        // It stays set.
        let hence = serving(&site, &[]);
        until("the service", || (property(&site, "keep.service", "SubState") == "running").then_some(()));
        assert_eq!(property(&site, "keep.service", "TasksMax"), "7");
        hence.interrupt();
    }
}

#[test]
fn the_environment_of_what_is_started_changes() {
    for level in levels().into_iter().take(1).filter(|_| has_clients()) {
        let site = site("environment", level);
        let hence = serving(&site, &[]);
        succeeds(&site, "systemctl", &["set-environment", "AA=1", "BB=x y"]);
        let shown = succeeds(&site, "systemctl", &["show-environment"]);
        assert!(shown.contains("AA=1\n") && shown.contains("BB=$'x y'\n"), "{shown}");
        succeeds(&site, "systemctl", &["unset-environment", "AA"]);
        let bad = ask(&site, "systemctl", &["set-environment", "1A=3"]);
        assert!(said(&bad).contains("Invalid environment assignments"), "{}", said(&bad));
        let line = format!("echo \"$AA-$BB\" > {}", site.path("answer"));
        succeeds(&site, "systemd-run", &["/bin/sh", "-c", &line]);
        assert_eq!(site.written("answer"), "-x y\n");
        hence.interrupt();
    }
}

#[test]
fn units_are_frozen_and_thawed() {
    if !has_clients() || !root_for("freezing control groups") {
        return;
    }
    let site = site("freeze", Level::Best);
    for (unit, slice) in [("one.service", "deep.slice"), ("two.service", "deep-er.slice")] {
        site.unit(unit, &format!("[Service]\nSlice={slice}\nExecStart=/bin/sleep 300 MARK\n"));
    }
    let hence = serving(&site, &[]);
    until("the service", || (property(&site, "keep.service", "SubState") == "running").then_some(()));
    if property(&site, "keep.service", "ControlGroup").is_empty() {
        eprintln!("skipped: no control groups here");
        hence.interrupt();
        return;
    }
    succeeds(&site, "systemctl", &["freeze", "keep.service"]);
    assert_eq!(property(&site, "keep.service", "FreezerState"), "frozen");
    succeeds(&site, "systemctl", &["thaw", "keep.service"]);
    assert_eq!(property(&site, "keep.service", "FreezerState"), "running");
    succeeds(&site, "systemctl", &["freeze", "keep.service"]);
    // What is frozen goes on to see its signal.
    succeeds(&site, "systemctl", &["stop", "keep.service"]);
    assert_eq!(property(&site, "keep.service", "Result"), "success");
    let down = ask(&site, "systemctl", &["freeze", "keep.service"]);
    assert!(said(&down).contains("is inactive"), "{}", said(&down));
    request_of(&site, Verb::Freeze);
    // A slice takes along what is in it, and has done so when the answer comes.
    for unit in ["one.service", "two.service"] {
        succeeds(&site, "systemctl", &["start", unit]);
    }
    let state = |unit: &str| property(&site, unit, "FreezerState");
    succeeds(&site, "systemctl", &["freeze", "deep.slice"]);
    assert_eq!([state("deep.slice"), state("one.service"), state("two.service")], ["frozen"; 3]);
    assert_eq!(state("deep-er.slice"), "frozen");
    succeeds(&site, "systemctl", &["thaw", "deep.slice"]);
    assert_eq!([state("deep.slice"), state("one.service"), state("two.service")], ["running"; 3]);
    succeeds(&site, "systemctl", &["freeze", "deep-er.slice"]);
    assert_eq!(
        [state("deep.slice"), state("one.service"), state("two.service")],
        ["running", "running", "frozen"]
    );
    succeeds(&site, "systemctl", &["thaw", "deep-er.slice"]);
    hence.interrupt();
}

#[test]
fn folders_of_a_unit_are_cleaned() {
    for level in levels().into_iter().filter(|_| has_clients()) {
        // Root's would lie in the machine's own folders.
        if level != Level::User && is_root() {
            continue;
        }
        let site = site("clean", level);
        site.unit(
            "dirs.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo > $STATE_DIRECTORY/s; \
             echo > $CACHE_DIRECTORY/c'\n\
             StateDirectory=dirs\nCacheDirectory=dirs\n",
        );
        let hence = serving(&site, &["--unit", "keep"]);
        succeeds(&site, "systemctl", &["start", "dirs.service"]);
        let (state, cache) = (site.folder.join(".local/state/dirs"), site.folder.join(".cache/dirs"));
        assert!(state.exists() && cache.exists());
        let busy = ask(&site, "systemctl", &["clean", "keep.service"]);
        assert!(said(&busy).contains("Unit is not inactive or has pending job"), "{}", said(&busy));
        succeeds(&site, "systemctl", &["clean", "dirs.service"]);
        until("the cache to be gone", || (!cache.exists()).then_some(()));
        assert!(state.exists());
        until("its rest", || (property(&site, "dirs.service", "ActiveState") == "inactive").then_some(()));
        succeeds(&site, "systemctl", &["clean", "--what=state", "dirs.service"]);
        until("the state to be gone", || (!state.exists()).then_some(()));
        until("its rest", || (property(&site, "dirs.service", "ActiveState") == "inactive").then_some(()));
        let target = ask(&site, "systemctl", &["clean", "basic.target"]);
        assert!(said(&target).contains("does not support cleaning"), "{}", said(&target));
        let nothing = ask(&site, "systemctl", &["clean", "--what=logs", "dirs.service"]);
        assert!(said(&nothing).contains("No matching resources found"), "{}", said(&nothing));
        hence.interrupt();
    }
}

/// Scopes and units without files of their own stay as they are when the program is executed anew, frozen
/// ones frozen; and go on when hence was killed.
#[test]
fn what_clients_made_outlives_the_program() {
    for level in levels().into_iter().filter(|_| has_clients()) {
        let site = site("outlives", level);
        let mut hence = serving(&site, &["--quiet"]);
        let mark = site.mark.clone();
        succeeds(&site, "systemd-run", &["--unit=made", "-p", "TimeoutStopSec=33", "sleep", "1000", &mark]);
        let scope = ["--scope", "--unit=group", "sleep", "1000", &mark];
        let mut group = client(&site, "systemd-run", &scope).stderr(Stdio::null()).spawn().expect("a client");
        until("a scope", || {
            let up = ask(&site, "systemctl", &["is-active", "group.scope", "made.service"]);
            (String::from_utf8_lossy(&up.stdout) == "active\nactive\n").then_some(())
        });
        let pid = property(&site, "made.service", "MainPID");
        let by_groups = !property(&site, "group.scope", "ControlGroup").is_empty();
        if by_groups {
            succeeds(&site, "systemctl", &["freeze", "group.scope"]);
        }
        for round in 0..2 {
            match round {
                0 => {
                    succeeds(&site, "systemctl", &["daemon-reexec"]);
                    site.recorded("it", |r| matches!(r.fact, Fact::Reexecuted { .. }).then_some(()));
                }
                _ => {
                    if by_groups {
                        assert_eq!(property(&site, "group.scope", "FreezerState"), "frozen");
                        succeeds(&site, "systemctl", &["thaw", "group.scope"]);
                    }
                    hence.kill();
                    std::fs::remove_file(site.folder.join("bus")).expect("its socket");
                    hence = serving(&site, &["--quiet"]);
                }
            }
            until("both", || {
                let up = ask(&site, "systemctl", &["is-active", "group.scope", "made.service"]);
                (String::from_utf8_lossy(&up.stdout) == "active\nactive\n").then_some(())
            });
            assert_eq!(property(&site, "made.service", "MainPID"), pid, "{level:?} {round}");
            assert_eq!(property(&site, "made.service", "TimeoutStopUSec"), "33s");
        }
        assert_eq!(site.left_behind().len(), 0);
        succeeds(&site, "systemctl", &["stop", "group.scope", "made.service"]);
        group.wait().expect("its end");
        until("the end of all", || {
            let sleeps = |pid: &u32| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.starts_with(b"sleep\x001000")
            };
            (!site.marked().iter().any(sleeps)).then_some(())
        });
        hence.interrupt();
    }
}
