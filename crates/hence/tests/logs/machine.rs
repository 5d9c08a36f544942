//! hence as process 1 of namespaces of its own, with the machine's journal, its sockets and /dev/log, and
//! none of the machine's units. Needs root, unshare(1) and the stock systemctl and journalctl; says what is
//! missing.

use crate::group::own_group;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Becomes process 1. `$1`: a folder that holds `units` and the program; `$2`: what is to be done before.
const BOOT: &str = r#"
set -e
base=$1
mount --make-rprivate /
mount -t proc proc /proc
mkdir "$base/dev"
mount -t tmpfs -o mode=755 tmpfs "$base/dev"
for node in null zero full random urandom tty; do
    : > "$base/dev/$node"
    mount --bind /dev/$node "$base/dev/$node"
done
mkdir "$base/dev/shm"
two=; [ ! -d /sys/fs/cgroup/unified ] || two=1
umount -R /sys/fs/cgroup
if [ "$two" ]; then
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/unified
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir /var/log/journal
eval "$2"
mount --rbind "$base/dev" /dev
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
mount -t tmpfs -o mode=755 tmpfs /etc/systemd
mkdir /etc/systemd/system
[ ! -f "$base/units/journald.conf" ] || cp "$base/units/journald.conf" /etc/systemd/
mount --bind "$base/units" /etc/systemd/system
for folder in /usr/lib/systemd/system /usr/lib/systemd/system-generators /usr/local/lib/systemd; do
    [ ! -d $folder ] || mount -t tmpfs -o mode=755 tmpfs $folder
done
hostname rig
exec env -i container=rig PATH=/usr/sbin:/usr/bin:/sbin:/bin "$base/hence" run --quiet --stay \
    --journal=system --ledger /run/ledger --unit=rig.target
"#;

pub struct Machine {
    pub folder: PathBuf,
    cgroup: Option<PathBuf>,
    child: Child,
    pub first: u32,
    /// To be done inside before it ends.
    pub at_end: &'static str,
}

fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    let has = |tool: &&str| {
        ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].iter().any(|d| Path::new(d).join(tool).exists())
    };
    let tools = ["unshare", "nsenter", "mount", "bash", "journalctl", "systemctl", "logger", "systemd-cat"];
    if !tools.iter().all(has) {
        return Some("needs util-linux, bash, and systemd's own tools");
    }
    if !Path::new("/etc/machine-id").exists() {
        return Some("needs a machine id");
    }
    let made = Command::new("unshare")
        .args(["--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "true"])
        .stderr(Stdio::null())
        .status();
    (!made.is_ok_and(|status| status.success())).then_some("may not make namespaces")
}

impl Machine {
    /// Boots with these units, among which may be journald.conf; `before`: shell commands in
    /// its namespaces, before anything is started.
    pub fn boot(name: &str, units: &[(&str, &str)], before: &str) -> Option<Machine> {
        if let Some(why) = missing() {
            eprintln!("{name}: skipped: {why}");
            return None;
        }
        let name = format!("logs-machine-{name}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("units")).unwrap();
        fs::hard_link(env!("CARGO_BIN_EXE_hence"), folder.join("hence")).unwrap();
        let stock = [
            ("rig.target", "[Unit]\nAllowIsolate=yes\nRequires=basic.target\nAfter=basic.target\n"),
            ("basic.target", "[Unit]\n"),
            ("sysinit.target", "[Unit]\n"),
            ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
        ];
        let own = std::env::current_exe().unwrap();
        for (unit, text) in stock.iter().chain(units) {
            fs::write(folder.join("units").join(unit), text.replace("SELF", own.to_str().unwrap())).unwrap();
        }
        let cgroup = own_group(&name);
        let join = match &cgroup {
            Some(group) => format!("echo $$ > {}/cgroup.procs; ", group.display()),
            None => String::new(),
        };
        let unshare = "exec unshare --fork --pid --mount --uts --ipc --cgroup --kill-child \
                       bash -c \"$1\" boot \"$2\" \"$3\"";
        let child = Command::new("bash")
            .args(["-c", &format!("{join}{unshare}"), "boot", BOOT])
            .arg(&folder)
            .arg(before)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("log")).unwrap())
            .stderr(fs::File::create(folder.join("errors")).unwrap())
            .spawn()
            .unwrap();
        let mut machine = Machine { folder, cgroup, child, first: 0, at_end: "" };
        let children = format!("/proc/{0}/task/{0}/children", machine.child.id());
        until("process 1", || {
            let list = fs::read_to_string(&children).unwrap_or_default();
            machine.first = list.split_whitespace().next().and_then(|pid| pid.parse().ok())?;
            let name = fs::read_to_string(format!("/proc/{}/comm", machine.first)).unwrap_or_default();
            let over = matches!(machine.child.try_wait(), Ok(Some(_)));
            assert!(!over, "{}", fs::read_to_string(machine.folder.join("errors")).unwrap_or_default());
            (name.trim() == "hence").then_some(())
        });
        until("rig.target", || {
            (machine.text("systemctl is-active rig.target").trim() == "active").then_some(())
        });
        Some(machine)
    }

    /// What a shell command inside says.
    pub fn call(&self, command: &str) -> Output {
        Command::new("nsenter")
            .args(["-t", &self.first.to_string(), "-p", "-m", "-u", "-i", "-C", "--"])
            .args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_PAGER=cat", "TZ=UTC"])
            .args(["LC_ALL=C.UTF-8", "bash", "-c", command])
            .stdin(Stdio::null())
            .current_dir("/")
            .output()
            .unwrap()
    }

    pub fn text(&self, command: &str) -> String {
        String::from_utf8_lossy(&self.call(command).stdout).into_owned()
    }

    /// Waits until journalctl, asked so, says so much.
    pub fn journal(&self, arguments: &str, holds: impl Fn(&str) -> bool) -> String {
        let command = format!("journalctl -q --no-pager {arguments}");
        until(&command, || Some(self.text(&command)).filter(|text| holds(text)))
    }

    /// The recorder's process.
    pub fn recorder(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.first);
        until("the recorder", || {
            let list = fs::read_to_string(&children).ok()?;
            list.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                line.windows(8).any(|word| word == b"recorder")
            })
        })
    }
}

/// The most that a process had in memory so far, in KiB.
pub fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Waits until there is something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if !self.at_end.is_empty() {
            let _ = self.call(self.at_end);
        }
        // Process 1 takes all that is below it along.
        for pid in [self.first, self.child.id()] {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
        if let Some(group) = &self.cgroup {
            for _ in 0..50 {
                let _ = Command::new("find")
                    .arg(group)
                    .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"])
                    .stderr(Stdio::null())
                    .status();
                if !group.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
