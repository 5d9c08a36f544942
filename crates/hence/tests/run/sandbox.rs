//! What services see of the machine, and what of it they may change: looked at from inside of them. As root,
//! but for what an ordinary user is refused.

use crate::rig::{Level, Site, asked, root_for, until};
use hence_ledger::{ExitKind, Fact, Record};
use std::fs;
use std::path::Path;

/// A service that runs once and says what these commands print.
fn service(site: &Site, name: &str, settings: &str, commands: &str) {
    // Opened before the service is in its own namespaces, where its path may mean nothing.
    site.script(&format!("{name}.sh"), &format!("exec 2>&1\n{commands}\necho done\n"));
    let (unit, settings) = match settings.split_once("[Unit]") {
        Some((settings, unit)) => (format!("[Unit]\n{unit}\n"), settings),
        None => (String::new(), settings),
    };
    site.unit(
        &format!("{name}.service"),
        &format!(
            "{unit}[Service]\nType=oneshot\nStandardInput=file:FOLDER/{name}.sh\n\
             StandardOutput=append:FOLDER/{name}.out\n{settings}\nExecStart=/bin/sh -s\n"
        ),
    );
}

/// What a service has said once it is done.
fn said(site: &Site, name: &str) -> Vec<String> {
    let text = until(&format!("{name}\n{}", site.said()), || {
        Some(site.read(&format!("{name}.out"))).filter(|text| text.ends_with("done\n"))
    });
    text.lines().map(str::to_owned).collect()
}

/// Runs all units to their end, and tells what each has said.
fn run(site: &Site, names: &[&str]) -> Vec<Vec<String>> {
    assert_eq!(site.run(&[]), 0, "{}", site.said());
    names.iter().map(|name| said(site, name)).collect()
}

fn has(lines: &[String], what: &str) -> bool {
    lines.iter().any(|line| line.contains(what))
}

fn namespace(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace").display().to_string()
}

#[test]
fn a_dev_with_pseudo_devices_only() {
    if !root_for("devices of a unit's own") {
        return;
    }
    let site = Site::new("devices", Level::Best);
    service(
        &site,
        "own",
        "PrivateDevices=yes\nProtectKernelModules=yes\nProtectKernelLogs=yes\nProtectClock=yes",
        "ls /dev\ntouch /dev/new\necho x > /dev/null && echo null\ngrep CapBnd /proc/self/status\n\
         cp /bin/true /dev/shm/MARK && /dev/shm/MARK && echo executed; rm -f /dev/shm/MARK\n\
         grep ' /dev ' /proc/self/mountinfo",
    );
    let [lines] = &run(&site, &["own"])[..] else { unreachable!() };
    for node in ["null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "fd", "log"] {
        assert!(lines.iter().any(|line| line == node), "{node}: {lines:?}");
    }
    for node in ["mem", "kmsg", "vda", "sda", "loop0", "console", "kvm"] {
        assert!(!lines.iter().any(|line| line == node), "{node}: {lines:?}");
    }
    assert!(has(lines, "Read-only file system"), "{lines:?}");
    assert!(lines.iter().filter(|line| *line == "null").count() == 2, "{lines:?}");
    assert!(has(lines, "ro,nosuid,noexec"), "{lines:?}");
    let bounding = lines.iter().find_map(|line| line.strip_prefix("CapBnd:")).expect("a set");
    let bounding = u64::from_str_radix(bounding.trim(), 16).expect("a number");
    // CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_TIME, CAP_MKNOD, CAP_SYSLOG, CAP_WAKE_ALARM.
    for capability in [16, 17, 25, 27, 34, 35] {
        assert_eq!(bounding >> capability & 1, 0, "{capability}");
    }
    assert_eq!(bounding >> 21 & 1, 1, "CAP_SYS_ADMIN is not taken");
}

#[test]
fn paths_that_lie_elsewhere_or_are_empty() {
    if !root_for("mounts of a unit's own") {
        return;
    }
    let site = Site::new("binds", Level::Best);
    for folder in ["a/below", "b", "empty/kept", "hidden"] {
        fs::create_dir_all(site.folder.join(folder)).expect("a folder");
    }
    fs::write(site.folder.join("a/file"), "content\n").expect("a file");
    fs::write(site.folder.join("empty/kept/file"), "kept\n").expect("a file");
    service(
        &site,
        "seen",
        "BindPaths=FOLDER/a:FOLDER/b -FOLDER/missing\n\
         BindReadOnlyPaths=FOLDER/a:FOLDER/new/deep FOLDER/empty/kept\n\
         TemporaryFileSystem=FOLDER/empty:ro,mode=711 FOLDER/scratch\n\
         InaccessiblePaths=FOLDER/hidden\nNoExecPaths=FOLDER/a",
        "cat FOLDER/b/file; echo more > FOLDER/b/more; touch FOLDER/new/deep/x\n\
         ls FOLDER/empty; cat FOLDER/empty/kept/file; touch FOLDER/empty/x; stat -c %a FOLDER/empty\n\
         touch FOLDER/scratch/x && echo scratch; ls FOLDER/hidden | wc -l; stat -c %a FOLDER/hidden\n\
         cp /bin/true FOLDER/a/true; FOLDER/a/true || echo not executed",
    );
    service(&site, "missing", "SuccessExitStatus=226\nBindPaths=FOLDER/none:FOLDER/b", "true");
    site.run(&[]);
    let lines = said(&site, "seen");
    let expected = ["content", "kept", "711", "scratch", "0", "not executed"];
    for line in expected {
        assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
    }
    assert_eq!(lines.iter().filter(|l| l.contains("Read-only file system")).count(), 2, "{lines:?}");
    assert_eq!(fs::read_to_string(site.folder.join("a/more")).expect("written through"), "more\n");
    assert!(!site.folder.join("scratch/x").exists(), "the machine's folder has nothing of it");
    // Without its paths a unit is not started.
    let failed = site.records().iter().any(|r| {
        let own = r.unit.as_deref() == Some("missing.service");
        own && matches!(&r.fact, Fact::ProcessExited { exit, .. }
            if exit.kind == ExitKind::Exited && exit.status == 226)
    });
    assert!(failed, "{}", site.said());
}

#[test]
fn the_kernels_files_are_read_only() {
    if !root_for("mounts of a unit's own") {
        return;
    }
    let site = Site::new("kernel", Level::Best);
    service(
        &site,
        "kernel",
        "ProtectKernelTunables=yes\nProtectControlGroups=yes\nProtectProc=invisible\n\
         ProtectKernelLogs=yes\nProtectSystem=strict\nReadWritePaths=FOLDER",
        "for f in /proc/sys/kernel/x /sys/x /sys/fs/cgroup/x /usr/x /var/x FOLDER/x; do\n\
         touch $f 2>/dev/null && echo wrote $f || echo refused $f; done\n\
         grep -c hidepid=invisible /proc/self/mountinfo > /dev/null && echo invisible\n\
         head -c1 /proc/kmsg 2>/dev/null | wc -c",
    );
    let [lines] = &run(&site, &["kernel"])[..] else { unreachable!() };
    for path in ["/proc/sys/kernel/x", "/sys/x", "/sys/fs/cgroup/x", "/usr/x", "/var/x"] {
        assert!(has(lines, &format!("refused {path}")), "{path}: {lines:?}");
    }
    assert!(has(lines, "wrote") && has(lines, "invisible"), "{lines:?}");
}

#[test]
fn namespaces_are_the_units_own_and_shared_by_its_commands() {
    if !root_for("namespaces") {
        return;
    }
    let site = Site::new("namespaces", Level::Best);
    let look = "readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts /proc/self/ns/user\n\
                grep . /proc/self/net/dev | grep -c : ; cat /proc/self/uid_map; ping -c1 -W1 127.0.0.1 \
                >/dev/null 2>&1; cat /proc/self/net/fib_trie | grep -c 127.0.0.1";
    service(
        &site,
        "own",
        "PrivateNetwork=yes\nPrivateIPC=yes\nProtectHostname=yes\nPrivateUsers=yes\nUser=daemon\n\
         ExecStartPre=/bin/sh -c 'readlink /proc/self/ns/net /proc/self/ns/ipc'\n\
         ExecStartPre=+/bin/sh -c 'readlink /proc/self/ns/net'",
        look,
    );
    let [lines] = &run(&site, &["own"])[..] else { unreachable!() };
    assert_eq!(lines[0], lines[3], "both commands have one network: {lines:?}");
    assert_eq!(lines[1], lines[4], "and one IPC: {lines:?}");
    assert_eq!(lines[2], namespace("net"), "with + it is the machine's");
    for (at, kind) in [(3, "net"), (4, "ipc"), (5, "uts"), (6, "user")] {
        assert_ne!(lines[at], namespace(kind), "{kind}");
    }
    assert_eq!(lines[7], "1", "only lo: {lines:?}");
    let maps: Vec<&str> = lines[8..10].iter().flat_map(|line| line.split_whitespace()).collect();
    assert_eq!(maps, ["0", "0", "1", "1", "1", "1"], "root and the user are who they are");
    assert!(lines[10].parse::<u32>().is_ok_and(|n| n > 0), "lo is up: {lines:?}");
}

#[test]
fn one_unit_joins_the_namespaces_of_another() {
    if !root_for("namespaces") {
        return;
    }
    let site = Site::new("joined", Level::Best);
    let name = format!("one{}.service", std::process::id());
    let look = "readlink /proc/self/ns/net; ls /tmp";
    let settings = "PrivateNetwork=yes\nPrivateTmp=yes";
    site.unit(
        &name,
        &format!(
            "[Service]\nType=exec\n{settings}\nExecStartPre=/bin/touch /tmp/of-one\n\
             ExecStart=/bin/sleep 1000 MARK\n"
        ),
    );
    let after = format!("[Unit]After={name}\nRequires={name}");
    let joining = format!("{settings}\n{after}\nJoinsNamespaceOf={name}");
    service(&site, "joins", &joining, look);
    service(&site, "apart", &format!("{settings}\n{after}"), look);
    let hence = site.start(&["--stay"]);
    let (joins, apart) = (said(&site, "joins"), said(&site, "apart"));
    assert!(has(&joins, "of-one") && !has(&apart, "of-one"), "{joins:?} {apart:?}");
    assert_ne!(joins[0], apart[0]);
    let main = until("its main process", || site.marked().first().copied());
    let own = |kind: &str| fs::read_link(format!("/proc/{main}/ns/{kind}")).expect("a link");
    assert_eq!(own("net").display().to_string(), joins[0]);
    // What is shared outlives another execution of hence.
    assert!(asked(&site, &["daemon-reexec"]).status.success(), "{}", site.said());
    fs::write(site.folder.join("joins.out"), "").expect("an empty file");
    let again = asked(&site, &["restart", "joins.service"]);
    assert!(again.status.success(), "{}", crate::rig::said(&again));
    assert_eq!(said(&site, "joins"), joins, "it joins the same");
    hence.interrupt();
    let own = format!("-{name}");
    let left = |folder: &str| {
        let entries = fs::read_dir(folder).expect("a folder").flatten();
        entries.filter(|e| e.file_name().to_string_lossy().ends_with(&own)).count()
    };
    assert_eq!((left("/tmp"), left("/var/tmp")), (0, 0), "its folders are gone with it");
}

/// A program that runs hence with a /run and folders for state of its own.
fn inside(site: &Site) -> String {
    site.script(
        "inside",
        &format!(
            "#!/bin/sh\nexec unshare -m sh -c 'for f in /run /var/lib /var/cache /var/log; do mount -t tmpfs \
             -o mode=755 tmpfs $f || exit 1; done; exec {} \"$@\"' sh \"$@\"\n",
            env!("CARGO_BIN_EXE_hence")
        ),
    )
}

#[test]
fn a_user_that_is_made_up() {
    if !root_for("users that are made up") {
        return;
    }
    let site = Site::new("made-up", Level::Best);
    let look = "id -u; id -g; ls -ld /var/lib/hence-test /var/lib/private; stat -c %u /var/lib/hence-test/ \
                /run/hence-test; touch /var/lib/hence-test/f /run/hence-test/f && echo wrote\n\
                touch /etc/x /home/x /usr/x || echo refused\n\
                grep NoNewPrivs /proc/self/status; cat /run/systemd/dynamic-uid/$(id -u) || echo locked; \
                ls /run/systemd/dynamic-uid; env";
    let settings = "DynamicUser=yes\nStateDirectory=hence-test\nRuntimeDirectory=hence-test";
    service(&site, "first", settings, look);
    service(&site, "second", &format!("{settings}\nUser=first\n[Unit]After=first.service"), "id -u");
    service(
        &site,
        "third",
        "[Unit]After=second.service\n",
        "ls /run/systemd/dynamic-uid | wc -l; ls /run/userdb | wc -l; ls -d /run/hence-test",
    );
    let hence = site.start_program(Path::new(&inside(&site)), &[]);
    let (first, second, third) = (said(&site, "first"), said(&site, "second"), said(&site, "third"));
    assert!(hence.ended().success(), "{}", site.said());
    let uid: u32 = first[0].parse().expect("a number");
    assert!((61184..=65519).contains(&uid), "{first:?}");
    assert_eq!(first[1], first[0], "the group is of the same number");
    assert!(has(&first, "/var/lib/hence-test -> private/hence-test"), "{first:?}");
    assert!(first.iter().filter(|line| **line == first[0]).count() >= 4, "it owns its folders: {first:?}");
    assert!(has(&first, "wrote") && has(&first, "refused") && has(&first, "NoNewPrivs:\t1"), "{first:?}");
    assert!(has(&first, "USER=first") && has(&first, &format!("direct:{uid}")), "{first:?}");
    assert_eq!(second[0], first[0], "the name has the same number again");
    assert_eq!((&*third[0], &*third[1]), ("0", "0"), "nothing is left of it: {third:?}");
    assert!(has(&third, "No such file"), "{third:?}");
}

/// What was refused, by unit: what, what is missing, whether it starts without.
fn refused(records: &[Record]) -> Vec<(String, String, String, bool)> {
    let of = |r: &Record| match &r.fact {
        Fact::Deprived { what, missing, without, .. } => {
            Some((r.unit.as_deref()?.to_owned(), what.to_string(), missing.to_string(), *without))
        }
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

#[test]
fn what_an_ordinary_user_is_refused_is_on_record() {
    if !root_for("running as an ordinary user") {
        return;
    }
    let site = Site::new("refused", Level::User);
    let keeps = "ExecStart=/bin/sleep 1000 MARK\n";
    // Less protected than asked for, but in the same world: it starts, as under systemd.
    site.unit("less.service", &format!("[Service]\nPrivateTmp=yes\nPrivateNetwork=yes\n{keeps}"));
    // Another world than asked for.
    site.unit("other.service", &format!("[Service]\nTemporaryFileSystem=/srv\n{keeps}"));
    site.unit(
        "best.service",
        &format!("[Service]\nTemporaryFileSystem=/srv\n{keeps}[X-Hence]\nSandbox=best-effort\n"),
    );
    let hence = site.start(&["--stay"]);
    site.recorded("a failure", |r| {
        let failed = matches!(&r.fact, Fact::ProcessExited { exit, .. } if exit.status == 226);
        (failed && r.unit.as_deref() == Some("other.service")).then_some(())
    });
    until("two services", || (site.marked().len() == 2).then_some(()));
    let found = until("what was refused", || Some(refused(&site.records_so_far())).filter(|f| f.len() >= 4));
    let row = |unit: &str, what: &str, without| {
        (unit.to_owned(), what.to_owned(), "CAP_SYS_ADMIN".to_owned(), without)
    };
    assert!(found.contains(&row("less.service", "PrivateNetwork=", true)), "{found:?}");
    assert!(found.contains(&row("less.service", "a mount namespace", true)), "{found:?}");
    assert!(found.contains(&row("other.service", "a mount namespace", false)), "{found:?}");
    assert!(found.contains(&row("best.service", "a mount namespace", true)), "{found:?}");
    let why = |unit: &str| site.json(&["why", unit, "--json"]).to_string();
    for unit in ["less.service", "other.service", "best.service"] {
        assert!(why(unit).contains("CAP_SYS_ADMIN"), "{unit}: {}", why(unit));
    }
    hence.interrupt();
}

#[test]
fn only_the_main_command_is_in_another_root() {
    if !root_for("another root") {
        return;
    }
    let site = Site::new("start-only", Level::Best);
    fs::create_dir(site.folder.join("root")).expect("a folder");
    let look = |name: &str| format!("/bin/sh -c 'ls -d /root-of-*; : > /said-{name}-MARK'");
    fs::create_dir(site.folder.join("root/root-of-unit")).expect("a folder");
    let text = format!(
        "[Service]\nType=oneshot\nRootDirectory=FOLDER/root\nRootDirectoryStartOnly=yes\n\
         BindReadOnlyPaths=/usr /bin /lib -/lib64\nStandardOutput=append:FOLDER/said\n\
         ExecStartPre=/bin/sh -c 'ls -d FOLDER/units'\nExecStart={}\n\
         ExecStartPost=/bin/sh -c 'ls -d FOLDER/units'\n",
        look("main")
    );
    site.unit("only.service", &text);
    assert_eq!(site.run(&[]), 0, "{}", site.said());
    let outside = site.path("units");
    assert_eq!(site.read("said").lines().collect::<Vec<_>>(), [&*outside, "/root-of-unit", &*outside]);
    assert!(site.folder.join(format!("root/said-main-{}", site.mark)).exists());
}

#[test]
fn credentials_that_are_refused_are_done_without_where_the_unit_says_so() {
    if !root_for("running as an ordinary user") {
        return;
    }
    let site = Site::new("no-secret", Level::User);
    fs::write(site.folder.join("secret"), "x").expect("a file");
    std::os::unix::fs::chown(site.folder.join("secret"), Some(0), Some(0)).expect("a chown");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(site.folder.join("secret"), mode).expect("a mode");
    let service = "[Service]\nLoadCredential=a:FOLDER/secret\nExecStart=/bin/sleep 1000 MARK\n";
    site.unit("less.service", service);
    site.unit("best.service", &format!("{service}[X-Hence]\nSandbox=best-effort\n"));
    let hence = site.start(&["--stay"]);
    site.recorded("a failure", |r| {
        let failed = matches!(&r.fact, Fact::ProcessExited { exit, .. } if exit.status == 243);
        (failed && r.unit.as_deref() == Some("less.service")).then_some(())
    });
    until("a service", || (site.marked().len() == 1).then_some(()));
    let found = until("what was refused", || Some(refused(&site.records_so_far())).filter(|f| f.len() >= 2));
    let what = "LoadCredential= or SetCredential=";
    for (unit, without) in [("less.service", false), ("best.service", true)] {
        let row = (unit.to_owned(), what.to_owned(), "CAP_DAC_OVERRIDE".to_owned(), without);
        assert!(found.contains(&row), "{found:?}");
    }
    hence.interrupt();
}

#[test]
fn filters_that_are_refused_are_done_without_where_the_unit_says_so() {
    if !root_for("a hence that may not filter") {
        return;
    }
    let inner = Site::new("no-filters", Level::Best);
    let service = "[Service]\nType=oneshot\nRestrictAddressFamilies=AF_UNIX\nExecStart=/bin/true\n";
    inner.unit("less.service", service);
    let calls = "[Service]\nType=oneshot\nSystemCallFilter=~mkdir\nExecStart=/bin/true\n";
    inner.unit("calls.service", calls);
    inner.unit(
        "best.service",
        &format!("{service}{}[X-Hence]\nSandbox=best-effort\n", "SystemCallFilter=~mkdir\n"),
    );
    let program = env!("CARGO_BIN_EXE_hence");
    let outer = Site::new("filters-off", Level::Best);
    let (units, ledger, bus) = (inner.path("units"), inner.path("ledger"), inner.path("bus"));
    outer.unit(
        "inner.service",
        &format!(
            "[Service]\nType=oneshot\nSystemCallFilter=~seccomp\nSystemCallErrorNumber=EPERM\nDelegate=yes\n\
             ExecStart=-{program} run {units} --ledger {ledger} --socket {bus}\n"
        ),
    );
    assert_eq!(outer.run(&[]), 0, "{}", outer.said());
    let records = inner.records();
    let ended = |unit: &str| {
        records.iter().find_map(|r| match &r.fact {
            Fact::ProcessExited { exit, .. } if r.unit.as_deref() == Some(unit) => Some(exit.status),
            _ => None,
        })
    };
    let ends = ["less.service", "calls.service", "best.service"].map(ended);
    assert_eq!(ends, [Some(232), Some(228), Some(0)]);
    let found = refused(&records);
    let row = |unit: &str, what: &str, without| (unit.to_owned(), what.to_owned(), String::new(), without);
    for row in [
        row("less.service", "RestrictAddressFamilies=", false),
        row("calls.service", "a filter of system calls", false),
        row("best.service", "RestrictAddressFamilies=", true),
    ] {
        assert!(found.contains(&row), "{found:?}");
    }
}

#[test]
fn a_limit_that_can_not_be_enforced_is_on_record_and_no_failure() {
    if !root_for("limits of devices") {
        return;
    }
    let site = Site::new("limits", Level::Best);
    site.unit("limited.slice", "[Slice]\nTasksMax=77\nIOReadBandwidthMax=/dev/nothing-there 5M\n");
    let limited = "[Service]\nType=oneshot\nSlice=limited.slice\nIODeviceWeight=/proc 50\n\
                   ExecStart=/bin/sh FOLDER/look\n";
    site.unit("limited.service", limited);
    // The controller is version 2's or version 1's.
    site.script(
        "look",
        "while IFS=: read -r _ kind path; do\ncase $kind in ''|pids) for base in /sys/fs/cgroup/unified \
         /sys/fs/cgroup/pids /sys/fs/cgroup; do cat $base$path/../pids.max 2>/dev/null; done;; esac\n\
         done < /proc/self/cgroup > FOLDER/most; true\n",
    );
    assert_eq!(site.run(&[]), 0, "{}", site.said());
    assert!(site.read("most").lines().any(|line| line == "77"), "{}", site.read("most"));
    let found = refused(&site.records());
    for (unit, what) in [("limited.slice", "IOReadBandwidthMax="), ("limited.service", "IODeviceWeight=")] {
        let row = (unit.to_owned(), what.to_owned(), String::new(), true);
        assert!(found.contains(&row), "{found:?}");
    }
}
