//! `hence systemctl` beside the stock systemctl: the same verbs to the same running hence print the same and
//! end with the same status; so do those of unit files where nothing runs.

use crate::rig::{Level, Site, root_for, until};
use std::fs;
use std::process::{Command, Output};

/// Makes /run look like that of a machine booted with systemd, for one command.
const BOOTED: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec \"$@\"";

fn can() -> bool {
    let namespace = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/run"]).output();
    let client = Command::new("systemctl").arg("--version").output();
    let can = namespace.is_ok_and(|o| o.status.success())
        && client.is_ok_and(|o| o.status.success() && o.stdout.starts_with(b"systemd 252 "));
    if !can {
        eprintln!("skipped: no systemctl 252, or no mount namespace for it");
    }
    can
}

fn environment(command: &mut Command, site: &Site) {
    command.env("XDG_RUNTIME_DIR", &site.folder).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
    command.env("SYSTEMD_IGNORE_CHROOT", "1").env("SYSTEMD_COLORS", "0").env("LC_ALL", "C.UTF-8");
    command.env_remove("SYSTEMD_OFFLINE");
}

fn stock(site: &Site, line: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", BOOTED, "sh", "systemctl", "--user", "--no-pager"]).args(line);
    environment(&mut command, site);
    command.output().expect("unshare runs")
}

/// Ours, called as systemctl.
fn own(site: &Site, line: &[&str]) -> Output {
    let mut command = Command::new(site.path("systemctl"));
    command.args(["--user", "--no-pager", "--socket", &site.path("bus")]).args(line);
    environment(&mut command, site);
    command.output().expect("hence runs")
}

/// What was said, without how long ago things were.
fn said(output: &Output) -> String {
    let ago = |line: &str| match line.find("; ").filter(|_| line.ends_with(" ago") || line.ends_with(" left"))
    {
        Some(at) => line[..at].to_owned(),
        None => line.to_owned(),
    };
    let out = String::from_utf8_lossy(&output.stdout);
    // Consumed time goes on between two questions.
    let steady = |line: &&str| {
        // Each job has a number of its own.
        !line.starts_with("Enqueued ")
            && !line.starts_with("        CPU: ")
            && !line.starts_with("CPUUsageNSec=")
            && !line.starts_with("UserspaceTimestamp")
    };
    let lines: Vec<String> = out.lines().filter(steady).map(ago).collect();
    let error = String::from_utf8_lossy(&output.stderr);
    let error: Vec<&str> = error.lines().filter(steady).collect();
    format!("{}\n{}\nexit status {:?}", lines.join("\n"), error.join("\n"), output.status.code())
}

/// What both say, where it is not the same.
fn differs(site: &Site, line: &[&str]) -> Option<String> {
    let look = || (said(&stock(site, line)), said(&own(site, line)));
    // What moves between the two looks, a clock's second for one, is looked at again.
    let again = (0..3).map(|_| look()).find(|(theirs, ours)| theirs == ours);
    let (theirs, ours) = again.unwrap_or_else(look);
    (theirs != ours).then(|| format!("{line:?}\nsystemctl:\n{theirs}\nhence:\n{ours}\n"))
}

#[track_caller]
fn same(site: &Site, line: &[&str]) {
    if let Some(text) = differs(site, line) {
        panic!("{text}");
    }
}

fn site() -> Site {
    let site = Site::new("systemctl", Level::Best);
    site.unit(
        "many.target",
        "[Unit]\nDescription=Many\nWants=web.service tick.timer sock.socket sh.service\n",
    );
    site.unit(
        "web.service",
        "[Unit]\nDescription=The web\nDocumentation=man:web(8) https://example.org/\n[Service]\n\
         ExecStart=/bin/sleep 600 MARK\nExecReload=/bin/true\nRestartSec=1500ms\n\
         Environment=A=1 \"B=two words\"\n[Install]\nWantedBy=many.target\nAlias=www.service\n",
    );
    site.unit("sh.service", "[Service]\nExecStart=/bin/sh -c \"sleep 600 MARK & sleep 601 MARK\"\n");
    site.unit("bad.service", "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=many.target\n");
    site.unit("once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    site.unit("tick.timer", "[Unit]\nDescription=Tick\n[Timer]\nOnActiveSec=30h\n");
    site.unit("tick.service", "[Service]\nExecStart=/bin/true\n");
    site.unit("sock.socket", "[Socket]\nListenStream=FOLDER/s.sock\nListenFIFO=FOLDER/f.fifo\n");
    site.unit("sock.service", "[Service]\nExecStart=/bin/sleep 600 MARK\n");
    fs::create_dir_all(site.units().join("web.service.d")).expect("a folder");
    for (name, text) in [("a.conf", "TimeoutStopSec=7"), ("b.conf", "Nice=3")] {
        fs::write(site.units().join("web.service.d").join(name), format!("[Service]\n{text}\n"))
            .expect("a file");
    }
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hence"), site.path("systemctl")).expect("a link");
    site
}

#[test]
fn it_says_what_the_stock_systemctl_says() {
    if !root_for("hence systemctl beside systemctl") || !can() {
        return;
    }
    let site = site();
    let hence = site.start(&["--stay", "--unit", "many.target"]);
    site.until_serving();
    fs::create_dir_all(site.path("systemd")).expect("a folder");
    std::os::unix::fs::symlink(site.path("bus"), site.path("systemd/private")).expect("a link");
    until("the start", || own(&site, &["is-active", "many.target", "-q"]).status.success().then_some(()));
    own(&site, &["start", "bad"]);
    until("the failure", || own(&site, &["is-failed", "bad", "-q"]).status.success().then_some(()));

    let lines = include_str!("systemctl_lines.txt").lines();
    let words = |line: &'static str| line.split_whitespace().collect::<Vec<_>>();
    let wrong: Vec<String> = lines.filter_map(|line| differs(&site, &words(line))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The very calls of configuration tools and of maintainer scripts.
    let lines = include_str!("tool_lines.txt").lines().filter(|line| !line.starts_with('#'));
    let words =
        |line: &'static str| line.split_whitespace().map(|w| w.trim_matches('\'')).collect::<Vec<_>>();
    let wrong: Vec<String> = lines.filter_map(|line| differs(&site, &words(line))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What changes something can't be done twice: their link is removed, then made by us, and so on.
    let link = site.units().join("many.target.wants/web.service");
    for verbs in [["enable", "disable"], ["disable", "enable"]] {
        let theirs: Vec<String> = verbs.iter().map(|verb| said(&stock(&site, &[verb, "web"]))).collect();
        let ours: Vec<String> = verbs.iter().map(|verb| said(&own(&site, &[verb, "web"]))).collect();
        assert_eq!(theirs, ours);
        assert_eq!(fs::symlink_metadata(&link).is_ok(), verbs[1] == "enable");
        own(&site, &["enable", "web"]);
    }
    assert_eq!(own(&site, &["set-property", "web", "CPUWeight=50"]).status.code(), Some(0));
    same(&site, &["show", "-p", "CPUWeight,DropInPaths", "web"]);
    hence.interrupt();
}

/// What a unit sets is what it shows, whether a field holds it or its text; as systemd 252 shows it.
#[test]
fn settings_are_shown() {
    if !root_for("settings as systemctl shows them") {
        return;
    }
    let site = site();
    let settings = [
        ("RestrictAddressFamilies", "AF_INET AF_UNIX", "AF_INET AF_UNIX"),
        ("MountFlags", "slave", "slave"),
        ("AmbientCapabilities", "CAP_KILL CAP_CHOWN", "cap_chown cap_kill"),
        ("DeviceAllow", "/dev/null rw", "/dev/null rw"),
        ("IODeviceWeight", "/dev/vda 200", "/dev/vda 200"),
        ("IOReadBandwidthMax", "/dev/vda 5M", "/dev/vda 5000000"),
        ("BindPaths", "/a:/b:norbind -/c", "/a:/b -/c:/c:rbind"),
        ("AllowedCPUs", "0-1", "0-1"),
        ("CPUAffinity", "0", "0"),
        ("SyslogFacility", "local1", "17"),
        ("SyslogLevel", "debug", "7"),
        ("LogLevelMax", "info", "6"),
        ("LogExtraFields", "A=b", "A=b"),
        ("SecureBits", "keep-caps", "16"),
        ("SELinuxContext", "-foo", "-foo"),
        ("TemporaryFileSystem", "/t:ro", "/t:ro"),
        ("RestrictNetworkInterfaces", "~eth0", "~eth0"),
        ("RestartForceExitStatus", "3 SIGKILL", "3 KILL"),
        ("PrivateDevices", "yes", "yes"),
        ("ProtectHome", "tmpfs", "tmpfs"),
        ("RuntimeDirectory", "a b", "a b"),
        ("RuntimeDirectoryMode", "0700", "0700"),
        ("OOMPolicy", "continue", "continue"),
        ("FinalKillSignal", "SIGQUIT", "3"),
        ("SystemCallFilter", "~mkdir:EACCES @swap:3 rmdir", "~mkdir:EACCES rmdir swapoff:ESRCH swapon:ESRCH"),
        ("SystemCallErrorNumber", "EUCLEAN", "117"),
        ("SystemCallLog", "~read", "~read"),
        ("SystemCallArchitectures", "x86 native", "native x86"),
        ("RestrictNamespaces", "~net ipc", "cgroup mnt pid user uts"),
        ("Personality", "x86", "x86"),
        ("NUMAPolicy", "bind", "bind"),
        ("NUMAMask", "0", "0"),
        ("CoredumpFilter", "private-anonymous elf-headers", "0x11"),
        ("TimerSlackNSec", "5us", "5000"),
        ("ExecSearchPath", "/bin:/usr/local/bin", "/bin /usr/local/bin"),
        ("KeyringMode", "shared", "shared"),
        ("SetCredential", "foo:bar", "[unprintable]"),
    ];
    let lines: Vec<String> = settings.iter().map(|(name, text, _)| format!("{name}={text}\n")).collect();
    site.unit("set.service", &format!("[Service]\nExecStart=/bin/true\n{}", lines.concat()));
    let hence = site.start(&["--stay", "--unit", "many.target"]);
    until("the start", || own(&site, &["is-active", "many.target", "-q"]).status.success().then_some(()));
    let mut wrong = Vec::new();
    for (name, _, shown) in settings {
        let output = own(&site, &["show", "-P", name, "set"]);
        let own = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if own != shown {
            wrong.push(format!("{name}: {own:?}, not {shown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    hence.interrupt();
}

#[test]
fn unit_files_of_an_image() {
    if !can() {
        return;
    }
    let site = site();
    let root = site.path("image");
    let option = format!("--root={root}");
    let vendor = format!("{root}/usr/lib/systemd/system");
    let mut said_by = Vec::new();
    for program in ["systemctl".to_owned(), site.path("systemctl")] {
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&vendor).expect("a folder");
        fs::create_dir_all(format!("{root}/etc/systemd/system")).expect("a folder");
        for name in ["web.service", "bad.service", "once.service"] {
            fs::copy(site.units().join(name), format!("{vendor}/{name}")).expect("a copy");
        }
        // Two scripts of the old kind, one of them with links.
        for folder in ["etc/init.d", "etc/rc5.d"] {
            fs::create_dir_all(format!("{root}/{folder}")).expect("a folder");
        }
        for name in ["old", "older"] {
            fs::write(format!("{root}/etc/init.d/{name}"), "#!/bin/sh\n").expect("a script");
        }
        std::os::unix::fs::symlink("../init.d/old", format!("{root}/etc/rc5.d/S01old")).expect("a link");
        let mut all = Vec::new();
        for line in [
            "enable web",
            "is-enabled web bad",
            "is-enabled absent",
            "is-enabled old",
            "is-enabled older",
            "-q is-enabled old",
            "start web",
            "mask bad",
            "is-enabled bad",
            "unmask bad",
            "list-unit-files",
            "set-default many.target",
            "disable web",
            "enable absent",
            "preset bad",
            "disable bad",
            "enable once",
            "add-wants multi-user.target bad",
        ] {
            let mut command = Command::new(&program);
            command.arg(&option).args(line.split(' '));
            environment(&mut command, &site);
            // In which order links are removed is chance.
            let text = said(&command.output().expect("it runs"));
            let mut lines: Vec<String> = text.lines().map(String::from).collect();
            lines.sort();
            all.push((line, lines));
        }
        said_by.push(all);
    }
    assert_eq!(said_by[0], said_by[1]);
    // What the stock one refuses: the files of a unit that nobody runs.
    let mut command = Command::new(site.path("systemctl"));
    command.args(["cat", &option, "web", "absent"]);
    environment(&mut command, &site);
    let output = command.output().expect("it runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.starts_with(&format!("# {vendor}/web.service\n[Unit]\nDescription=The web\n")), "{shown}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "No files found for absent.service.\n");
}

#[test]
fn offline_it_ignores_what_only_a_running_one_can_do() {
    let site = site();
    let output = Command::new(site.path("systemctl"))
        .args(["start", "web"])
        .env("SYSTEMD_OFFLINE", "1")
        .output()
        .expect("hence runs");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "Running in chroot, ignoring command 'start'\n");
}
