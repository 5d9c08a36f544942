//! `hence init` as process 1 of namespaces of its own: a root of its own that has nothing of the machine's
//! but its programs, so that no unit of the machine is ever run. Needs root and unshare(1); says what is
//! missing and skips. The virtual machine is another test, below `tests/vm`.

#[path = "../shared/group.rs"]
mod group;

use group::own_group;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Makes the root and becomes process 1 of it. `$1`: a folder that holds `etc`, `out` and the program.
const BOOT: &str = r#"
set -e
mount --make-rprivate /
base=$1
root=$base/root
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir usr etc out var tmp root proc sys dev run old
for link in bin sbin lib lib64; do [ ! -e /usr/$link ] || ln -s usr/$link $link; done
mount --rbind /usr usr
mount --bind "$base/etc" etc
mount --bind "$base/out" out
touch hence
mount --bind "$base/hence" hence
# Nothing of the machine's own units and generators.
for folder in usr/lib/systemd/system usr/lib/systemd/system-generators usr/local/lib/systemd; do
    [ ! -d $folder ] || mount -t tmpfs tmpfs $folder
done
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
pivot_root . old
cd /
mount -t proc proc /proc
umount -l /old
umount /proc
exec env -i container=test PATH=/usr/bin:/usr/sbin:/bin:/sbin /hence init --quiet --ledger /out/ledger
"#;

struct Rig {
    base: PathBuf,
    cgroup: Option<PathBuf>,
    child: Child,
    first: u32,
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let tools = ["unshare", "nsenter", "mount", "pivot_root", "bash"];
    let has = |tool: &&&str| {
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|d| Path::new(d).join(tool).exists())
    };
    if tools.iter().filter(has).count() < tools.len() {
        return Some("needs util-linux and bash");
    }
    let refused = !Command::new("unshare")
        .args(["--fork", "--pid", "--mount", "--uts", "--cgroup", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success());
    refused.then_some("may not make namespaces")
}

impl Rig {
    /// Boots with these files below /etc/systemd; `system/` holds units. Those with `#!` are made executable.
    fn boot(name: &str, files: &[(&str, &str)]) -> Option<Rig> {
        if let Some(why) = missing() {
            println!("{name}: skipped: {why}");
            return None;
        }
        let base = std::env::temp_dir().join(format!("hence-init-{name}-{}", std::process::id()));
        for folder in ["root", "etc/systemd/system", "out"] {
            fs::create_dir_all(base.join(folder)).unwrap();
        }
        fs::write(base.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        fs::copy(env!("CARGO_BIN_EXE_hence"), base.join("hence")).unwrap();
        for (path, text) in files {
            let path = base.join("etc/systemd").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let cgroup = own_group(&format!("hence-init-{name}-{}", std::process::id()));
        let join = match &cgroup {
            Some(group) => format!("echo $$ > {}/cgroup.procs; ", group.display()),
            None => String::new(),
        };
        let unshare =
            "exec unshare --fork --pid --mount --uts --ipc --cgroup --kill-child bash -c \"$1\" boot \"$2\"";
        let child = Command::new("bash")
            .arg("-c")
            .arg(format!("{join}{unshare}"))
            .args(["boot", BOOT])
            .arg(&base)
            .stdin(Stdio::null())
            .stdout(fs::File::create(base.join("log")).unwrap())
            .stderr(fs::File::create(base.join("errors")).unwrap())
            .spawn()
            .unwrap();
        let mut rig = Rig { base, cgroup, child, first: 0 };
        let children = format!("/proc/{0}/task/{0}/children", rig.child.id());
        rig.until("process 1 of the namespaces is hence", |rig| {
            let list = fs::read_to_string(&children).unwrap_or_default();
            rig.first = list.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
            let name = fs::read_to_string(format!("/proc/{}/comm", rig.first)).unwrap_or_default();
            name.trim() == "hence"
        });
        Some(rig)
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Rig) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            let over = Instant::now() > end || matches!(self.child.try_wait(), Ok(Some(_)));
            if over && !holds(self) {
                panic!("{what}: it did not come so; {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.base.join(name)).unwrap_or_default();
        format!("it said: {}{}", read("log"), read("errors"))
    }

    fn out(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.base.join("out").join(name)).ok()
    }

    /// Runs a shell command inside.
    fn inside(&self, command: &str) -> std::process::Output {
        let first = self.first.to_string();
        Command::new("nsenter")
            .args(["--target", &first, "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"])
            .args(["env", "-i", "PATH=/usr/bin:/usr/sbin", "SYSTEMD_PAGER=cat", "bash", "-c", command])
            .output()
            .unwrap()
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it did not end; {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn history(&self) -> String {
        let ledger = self.base.join("out/ledger");
        let asked = Command::new(env!("CARGO_BIN_EXE_hence"))
            .args(["history", "--all", "--ledger"])
            .arg(&ledger)
            .output()
            .unwrap();
        let asked = match asked.status.success() {
            true => asked,
            false => Command::new(env!("CARGO_BIN_EXE_hence"))
                .args(["history", "--ledger"])
                .arg(&ledger)
                .output()
                .unwrap(),
        };
        String::from_utf8_lossy(&asked.stdout).into_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // With process 1 everything in its namespaces goes; unshare(1) takes it along.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let end = Instant::now() + Duration::from_secs(5);
        while let Some(group) = &self.cgroup {
            remove_groups(group);
            if !group.exists() || Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.base);
    }
}

fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

const A: (&str, &str) = (
    "system/a.service",
    "[Service]\nExecStart=/bin/sleep 1000\nExecStartPost=/bin/sh -c 'echo up > /out/a'\n\
     ExecStop=/bin/sh -c 'echo down > /out/a'\n",
);

#[test]
fn a_container_starts_and_ends_in_order() {
    let generator = "#!/bin/sh\nprintf '[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"echo made > \
                     /out/made\"\\n' > $1/made.service\nmkdir $1/default.target.wants\n\
                     ln -s ../made.service $1/default.target.wants/\n";
    let orphan = "[Service]\nType=oneshot\nKillMode=none\n\
                  ExecStart=/bin/sh -c '(setsid sh -c \"sleep 0.2; echo gone > /out/orphan\" &)'\n";
    let files = [
        ("system/default.target", "[Unit]\nWants=a.service orphan.service\n"),
        A,
        ("system/orphan.service", orphan),
        ("system-generators/made", generator),
        ("system.conf", "[Manager]\nDefaultEnvironment=FROM=system.conf\nDefaultTaskMax=3\n"),
    ];
    let Some(mut rig) = Rig::boot("order", &files) else { return };
    rig.until("units run", |rig| {
        rig.out("a").is_some() && rig.out("made").is_some() && rig.out("orphan").is_some()
    });
    assert_eq!(rig.out("a").as_deref(), Some("up\n"));
    // What was adopted and has ended is reaped: nothing in these namespaces is a zombie.
    let first = rig.first;
    rig.until("orphans are reaped", |_| {
        let list = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
        !list
            .split_whitespace()
            .any(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z ")))
    });
    let mounts = String::from_utf8(rig.inside("cat /proc/mounts").stdout).unwrap();
    for at in [" /proc proc ", " /sys sysfs ", " /dev/shm tmpfs ", " /run tmpfs "] {
        assert!(mounts.contains(at), "{at} is missing: {mounts}");
    }
    let id = String::from_utf8(rig.inside("cat /etc/machine-id").stdout).unwrap();
    assert!(id.trim().len() == 32 && id.trim().bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first as i32).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let status = rig.ended();
    assert_eq!(status.code(), Some(0), "{status:?} {:?} {}", status.signal(), rig.said());
    assert_eq!(rig.out("a").as_deref(), Some("down\n"));
    assert!(rig.said().contains("DefaultTaskMax= is no setting"), "{}", rig.said());
    let history = rig.history();
    assert!(history.contains("SIGTERM"), "the end has no cause: {history}");
}

/// Who comes by at an automount point has it mounted, and the ledger says who that was.
#[test]
fn who_comes_by_has_it_mounted() {
    use std::os::unix::fs::MetadataExt;
    let Ok(node) = fs::metadata("/dev/autofs") else { return eprintln!("skipped: no /dev/autofs") };
    let (major, minor) = (rustix::fs::major(node.rdev()), rustix::fs::minor(node.rdev()));
    let node = format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/mknod /dev/autofs c {major} {minor}\n"
    );
    let files = [
        ("system/default.target", "[Unit]\nWants=see.service\n"),
        ("system/node.service", &*node),
        (
            "system/srv.automount",
            "[Unit]\nDefaultDependencies=no\nRequires=node.service\nAfter=node.service\n\
             [Automount]\nWhere=/srv\n",
        ),
        ("system/srv.mount", "[Unit]\nDefaultDependencies=no\n[Mount]\nWhat=tmpfs\nWhere=/srv\nType=tmpfs\n"),
        (
            "system/see.service",
            "[Unit]\nRequires=srv.automount\nAfter=srv.automount\n[Service]\nType=oneshot\n\
             ExecStart=/bin/sh -c 'ls -d /srv/. && grep -c \" /srv \" /proc/mounts > /out/seen'\n",
        ),
    ];
    let Some(mut rig) = Rig::boot("automount", &files) else { return };
    rig.until("somebody has looked", |rig| rig.out("seen").is_some_and(|text| !text.is_empty()));
    assert_eq!(rig.out("seen").as_deref(), Some("2\n"), "an autofs and what is mounted over it");
    let why = rig.inside("/hence why srv.mount --ledger /out/ledger");
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("came by at /srv") && why.contains("see.service"), "{why}");
}

#[test]
fn the_exit_status_is_the_one_that_was_asked_for() {
    let Some(mut rig) = Rig::boot("exit", &[("system/default.target", "[Unit]\nWants=a.service\n"), A])
    else {
        return;
    };
    if !Path::new("/usr/bin/systemctl").exists() {
        println!("exit: skipped: needs systemctl");
        return;
    }
    rig.until("a.service is up", |rig| rig.out("a").is_some());
    // It may be ended itself before it can say that it succeeded.
    let asked = rig.inside("systemctl exit 7");
    assert!(asked.stderr.is_empty(), "{asked:?}");
    assert_eq!(rig.ended().code(), Some(7), "{}", rig.said());
    assert_eq!(rig.out("a").as_deref(), Some("down\n"));
}

#[test]
fn poweroff_of_a_container_is_its_end() {
    let Some(mut rig) = Rig::boot("poweroff", &[("system/default.target", "[Unit]\nWants=a.service\n"), A])
    else {
        return;
    };
    rig.until("a.service is up", |rig| rig.out("a").is_some());
    // SIGRTMIN+4, as container runtimes send it to systemd's images; without a unit file for the target.
    let sent = Command::new("kill").args(["-s", "RTMIN+4", &rig.first.to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(rig.ended().code(), Some(0), "{}", rig.said());
    assert_eq!(rig.out("a").as_deref(), Some("down\n"));
}

#[test]
fn a_failure_action_ends_the_container() {
    let worker = "[Unit]\nFailureAction=exit\nFailureActionExitStatus=9\n[Service]\n\
                  ExecStart=/bin/sh -c 'sleep 0.3; exit 1'\n";
    let files =
        [("system/default.target", "[Unit]\nWants=a.service w.service\n"), A, ("system/w.service", worker)];
    let Some(mut rig) = Rig::boot("action", &files) else { return };
    assert_eq!(rig.ended().code(), Some(9), "{}", rig.said());
    assert_eq!(rig.out("a").as_deref(), Some("down\n"));
}

#[test]
fn mount_units_mount_and_unmount() {
    let mount = "[Mount]\nWhat=tmpfs\nWhere=/tmp/data\nType=tmpfs\nOptions=size=1M,mode=700\n";
    let user = "[Unit]\nRequiresMountsFor=/tmp/data/x\n[Service]\nExecStart=/bin/sleep 1000\n\
                ExecStartPre=/bin/sh -c 'stat -f -c %%T /tmp/data > /out/type'\n";
    let device = "[Unit]\nBindsTo=dev-null.device\nAfter=dev-null.device\n[Service]\nType=oneshot\n\
                  RemainAfterExit=yes\nExecStart=/bin/true\n";
    let files = [
        ("system/default.target", "[Unit]\nWants=u.service d.service\n"),
        ("system/tmp-data.mount", mount),
        ("system/u.service", user),
        ("system/d.service", device),
    ];
    let Some(mut rig) = Rig::boot("mount", &files) else { return };
    rig.until("the service ran on its mount", |rig| rig.out("type").is_some_and(|t| !t.is_empty()));
    assert_eq!(rig.out("type").as_deref(), Some("tmpfs\n"));
    if !Path::new("/usr/bin/systemctl").exists() {
        println!("mount: skipped: needs systemctl");
        return;
    }
    let is = |units: &str| {
        let asked = rig.inside(&format!("systemctl is-active {units}"));
        String::from_utf8_lossy(&asked.stdout).split_whitespace().map(String::from).collect::<Vec<_>>()
    };
    let units = "tmp-data.mount u.service dev-null.device d.service -- -.mount";
    assert_eq!(is(units), ["active"; 5]);
    assert_eq!(is("proc.mount"), ["inactive"], "the kernel's own have no units");
    assert!(rig.inside("systemctl stop tmp-data.mount").status.success());
    assert_eq!(is("tmp-data.mount u.service"), ["inactive", "inactive"]);
    assert!(!rig.inside("mountpoint -q /tmp/data").status.success());
    // What others mount and unmount is followed.
    assert!(rig.inside("systemctl start tmp-data.mount && umount /tmp/data && sleep 0.5").status.success());
    assert_eq!(is("tmp-data.mount"), ["inactive"]);
    assert!(rig.inside("mkdir -p /tmp/other && mount -t tmpfs x /tmp/other && sleep 0.5").status.success());
    assert_eq!(is("tmp-other.mount"), ["active"]);
    // A device that comes late is waited for, and one that doesn't come no longer than it is said.
    let absent = "cd /etc/systemd/system; mkdir -p dev-nonsense.device.d; \
                  printf '[Unit]\\nJobRunningTimeoutSec=1s\\n' > dev-nonsense.device.d/t.conf; \
                  systemctl daemon-reload; systemctl start dev-nonsense.device";
    assert!(!rig.inside(absent).status.success());
    let late = "systemctl start dev-late.device & sleep 0.5; ln -s null /dev/late; wait $!";
    assert!(rig.inside(late).status.success());
    assert_eq!(is("dev-late.device"), ["active"]);
    assert!(rig.inside("rm /dev/late; sleep 0.5").status.success());
    assert_eq!(is("dev-late.device"), ["inactive"]);
    // The swap space of the machine is none of a container's business.
    let swap = "printf '[Swap]\\nWhat=/swapfile\\n' > /etc/systemd/system/swapfile.swap; \
                systemctl start swapfile.swap";
    assert!(!rig.inside(swap).status.success());
    assert_eq!(is("swapfile.swap"), ["inactive"]);
}

/// What was missed while the machine was off is made up for, by a stamp that an earlier one left.
#[test]
fn calendar_timers_elapse_by_the_clock_and_leave_stamps() {
    let timer = |more| format!("[Timer]\nAccuracySec=1us\n{more}\n");
    let (often, late) = (timer("OnCalendar=*:*:*"), timer("OnCalendar=yearly\nPersistent=yes"));
    let service = |name| format!("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /out/{name}'\n");
    let (often_runs, late_runs) = (service("often"), service("late"));
    let stamp = "/var/lib/systemd/timers/stamp-late.timer";
    let begins = format!(
        "[Unit]\nDefaultDependencies=no\nBefore=late.timer\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh -c 'mkdir -p $(dirname {stamp}); touch -d 2001-02-03 {stamp}'\n"
    );
    let files = [
        ("system/default.target", "[Unit]\nWants=begins.service often.timer late.timer\n"),
        ("system/begins.service", &begins),
        ("system/often.timer", &often),
        ("system/often.service", &often_runs),
        ("system/late.timer", &late),
        ("system/late.service", &late_runs),
    ];
    let Some(mut rig) = Rig::boot("calendar", &files) else { return };
    rig.until("the year's timer makes up for what was missed", |rig| rig.out("late").is_some());
    rig.until("each second's timer elapses", |rig| {
        rig.out("often").is_some_and(|out| out.lines().count() >= 3)
    });
    rig.until("the stamp is new", |rig| {
        let found = rig.inside(&format!("find {stamp} -newermt 2001-02-04")).stdout;
        !found.is_empty()
    });
    assert_eq!(rig.out("late").as_deref(), Some("x\n"), "once");
    let records = rig.inside("/hence history --raw --ledger /out/ledger late.timer").stdout;
    let records = String::from_utf8_lossy(&records).into_owned();
    assert!(records.contains("(OnCalendar=*-01-01 00:00:00, /etc/systemd/system/late.timer:3)"), "{records}");
    if Path::new("/usr/bin/systemctl").exists() {
        let listed = rig.inside("systemctl list-timers --no-legend late.timer").stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        assert!(listed.contains("-01-01 00:00:00") && listed.contains("late.service"), "{listed}");
        rig.inside("systemctl exit 0");
    }
}

#[test]
fn a_first_boot_has_presets_and_generators_make_the_environment() {
    let files = [
        ("system/default.target", "[Unit]\n"),
        (
            "system/a.service",
            "[Service]\nExecStart=/bin/sh -c 'echo $MADE > /out/a; exec sleep 1000'\n\
                              [Install]\nWantedBy=default.target\n",
        ),
        ("system/b.service", "[Service]\nExecStart=/bin/touch /out/b\n[Install]\nWantedBy=default.target\n"),
        (
            "system/c.service",
            "[Unit]\nConditionFirstBoot=yes\n[Service]\nExecStart=/bin/touch /out/c\n\
                              [Install]\nWantedBy=default.target\n",
        ),
        ("system-preset/10-a.preset", "enable a.service\nenable c.service\ndisable *\n"),
        ("system-environment-generators/10-made", "#!/bin/sh\necho MADE=first\n"),
        ("system-environment-generators/20-more", "#!/bin/sh\necho \"MADE='$MADE and second'\"\n"),
    ];
    let Some(mut rig) = Rig::boot("first", &files) else { return };
    rig.until("the preset's services ran", |rig| {
        rig.out("a").is_some_and(|text| !text.is_empty()) && rig.out("c").is_some()
    });
    assert_eq!(rig.out("a").as_deref(), Some("first and second\n"));
    assert_eq!(rig.out("b"), None, "what presets disable is not enabled");
    let link = |name: &str| rig.base.join("etc/systemd/system/default.target.wants").join(name);
    assert!(
        fs::symlink_metadata(link("a.service")).is_ok() && fs::symlink_metadata(link("b.service")).is_err()
    );
    let id = fs::read_to_string(rig.base.join("etc/machine-id")).unwrap();
    assert_eq!(id.trim().len(), 32, "{id}");
    let told = rig.inside("/hence history a.service --ledger /out/ledger");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("became a link to"), "{told}");
    // A reload runs them anew.
    let changed = "cd /etc/systemd/system-environment-generators; \
                   printf '#!/bin/sh\\necho OTHER=x\\n' > 10-made; \
                   /hence systemctl daemon-reload; /hence systemctl show-environment";
    let shown = String::from_utf8_lossy(&rig.inside(changed).stdout).into_owned();
    assert!(
        shown.contains("OTHER=x") && !shown.contains("first") && shown.contains(" and second"),
        "{shown}"
    );
}

#[test]
fn process_1_is_executed_anew() {
    let socket = "[Socket]\nListenStream=/run/s\n";
    let served = "[Service]\nExecStart=/bin/sh -c 'echo $LISTEN_FDS > /out/fds; exec sleep 1000'\n";
    let files = [
        ("system/default.target", "[Unit]\nWants=a.service s.socket\n"),
        A,
        ("system/s.socket", socket),
        ("system/s.service", served),
    ];
    let Some(mut rig) = Rig::boot("reexec", &files) else { return };
    rig.until("a.service is up", |rig| rig.out("a").is_some());
    if !Path::new("/usr/bin/systemctl").exists() {
        println!("reexec: skipped: needs systemctl");
        return;
    }
    let show = |rig: &Rig| {
        let what = "systemctl show -P MainPID -P InvocationID -P ControlGroup a.service; \
                    systemctl show -P ActiveEnterTimestamp -P NRestarts a.service; \
                    systemctl show -P NNames -P NJobs; systemctl is-active s.socket default.target";
        String::from_utf8(rig.inside(what).stdout).unwrap()
    };
    let before = show(&rig);
    assert!(before.contains("/system.slice/a.service"), "{before}");
    for round in 1..=3 {
        let asked = rig.inside("systemctl daemon-reexec");
        assert!(asked.status.success() && asked.stderr.is_empty(), "{asked:?}");
        rig.until("the new program", |rig| {
            rig.history().matches("executed its program anew").count() == round
        });
        assert_eq!(show(&rig), before);
    }
    let history = rig.history();
    assert!(!history.contains("could not be read"), "{history}");
    let began = |line: &&str| line.contains("began to run") && !line.contains(" was ");
    assert_eq!(history.lines().filter(began).count(), 1, "{history}");
    rig.inside(
        "exec 3<>/dev/null; python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/run/s\")' \
                || echo | timeout 1 nc -U /run/s",
    );
    rig.until("the socket's service ran", |rig| rig.out("fds").is_some_and(|text| !text.is_empty()));
    assert_eq!(rig.out("fds").as_deref(), Some("1\n"));
    let asked = rig.inside("systemctl daemon-reexec; systemctl restart a.service; systemctl exit 3");
    assert!(asked.stderr.is_empty(), "{asked:?}");
    assert_eq!(rig.ended().code(), Some(3), "{}", rig.said());
    assert_eq!(rig.out("a").as_deref(), Some("down\n"));
}

/// Debian's user@.service as it is, with this program where systemd's is.
#[test]
fn a_users_own_instance_is_a_service_of_the_system() {
    let Ok(user) = fs::read_to_string("/usr/lib/systemd/system/user@.service") else {
        return println!("user: skipped: needs systemd's user@.service");
    };
    let folder = "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                  ExecStart=/bin/sh -c 'install -d -o %i -g %i -m 700 /run/user/%i'\n";
    let files = [
        ("system/default.target", "[Unit]\nWants=a.service\n"),
        A,
        ("system/user@.service", user.as_str()),
        ("system/user-runtime-dir@.service", folder),
        (
            "user/foo.service",
            "[Service]\nExecStart=/bin/sleep 1000\n\
             ExecStop=/bin/sh -c 'echo %u $MANAGERPID > /out/stopped'\n[Install]\nWantedBy=default.target\n",
        ),
    ];
    let Some(mut rig) = Rig::boot("user", &files) else { return };
    rig.until("a.service is up", |rig| rig.out("a").is_some());
    let said = |output: std::process::Output| {
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let begun = rig.inside(
        "mount --bind /hence /usr/lib/systemd/systemd; chmod 777 /out; install -d -o 1234 /tmp/home; \
         echo u:x:1234:1234::/tmp/home:/bin/sh >> /etc/passwd; mkdir -p /etc/pam.d; \
         printf 'account required pam_permit.so\nsession required pam_permit.so\n' >/etc/pam.d/systemd-user; \
         mkdir /etc/systemd/user/default.target.wants; \
         ln -s ../foo.service /etc/systemd/user/default.target.wants/; \
         systemctl start user@1234.service && systemctl is-active user@1234.service",
    );
    assert_eq!(said(begun), "active\n", "{}", rig.said());
    let as_user = |line: &str| {
        let prefix = "setpriv --reuid 1234 --regid 1234 --clear-groups env XDG_RUNTIME_DIR=/run/user/1234";
        said(rig.inside(&format!("{prefix} systemctl --user {line}")))
    };
    assert_eq!(as_user("start foo.service default.target"), "");
    assert_eq!(as_user("is-active foo.service default.target"), "active\nactive\n");
    let main = said(rig.inside("systemctl show -P MainPID user@1234.service")).trim().to_owned();
    let group = as_user("show -P ControlGroup foo.service");
    if rig.cgroup.is_some() && !said(rig.inside("systemctl show -P ControlGroup a.service")).trim().is_empty()
    {
        let below = "/user.slice/user-1234.slice/user@1234.service/app.slice/foo.service\n";
        assert!(group.ends_with(below), "the group was delegated: {group}{}", rig.said());
    }
    let again =
        rig.inside(&format!("kill -s RTMIN+25 {main}; sleep 1; systemctl is-active user@1234.service"));
    assert_eq!(said(again), "active\n", "{}", rig.said());
    assert_eq!(as_user("is-active foo.service"), "active\n");
    assert_eq!(as_user("show -P ControlGroup foo.service"), group);
    let ended = "systemctl stop user@1234.service; systemctl is-failed user@1234.service; \
                 systemctl show -P Result user@1234.service";
    assert_eq!(said(rig.inside(ended)), "inactive\nsuccess\n", "{}", rig.said());
    assert_eq!(rig.out("stopped"), Some(format!("u {main}\n")), "a user's units end in order");
}
