"""A real systemd as process 1 of its own namespaces, with journald and a message bus, for incidents to be
scripted in. What it writes to /etc /opt /var /srv /home /root /tmp /usr/local is thrown away; the rest of the
file system is the host's. It touches nothing outside of its folder, its namespaces and its control groups.

Needs root and Linux with cgroup2 (v1 `pids` and `memory` beside it where v2 lacks those controllers)."""
import os, re, shlex, signal, subprocess, tempfile, time
from pathlib import Path

MANAGER = "/lib/systemd/systemd"
STOCK = Path("/lib/systemd/system")
# Units of the distribution that the machine has besides those of TARGETS.
TAKEN = ["systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket",
         "dbus.service", "dbus.socket"]
TARGETS = {
    "sysinit.target": "[Unit]\nConflicts=emergency.service emergency.target\nWants=systemd-journald.service\n",
    "basic.target": "[Unit]\nRequires=sysinit.target\nWants=sockets.target timers.target paths.target "
                    "slices.target\nAfter=sysinit.target sockets.target paths.target slices.target\n",
    "sockets.target": "[Unit]\nWants=dbus.socket\n",
    "timers.target": "[Unit]\nDefaultDependencies=no\nConflicts=shutdown.target\n",
    "paths.target": "[Unit]\nDescription=Path Units\n",
    "slices.target": "[Unit]\nDescription=Slice Units\n",
    "multi-user.target": "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"
                         "Wants=dbus.service\n",
    "rescue.target": "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\nAllowIsolate=yes\n",
    "shutdown.target": "[Unit]\nDefaultDependencies=no\nRefuseManualStart=yes\n",
    "umount.target": "[Unit]\nDefaultDependencies=no\n",
    "final.target": "[Unit]\nDefaultDependencies=no\nRefuseManualStart=yes\nAfter=shutdown.target umount.target\n",
    "poweroff.target": "[Unit]\nDefaultDependencies=no\nRequires=systemd-poweroff.service\n"
                       "After=systemd-poweroff.service\nAllowIsolate=yes\n",
    "systemd-poweroff.service": "[Unit]\nDefaultDependencies=no\nRequires=shutdown.target umount.target "
                                "final.target\nAfter=shutdown.target umount.target final.target\n"
                                "SuccessAction=poweroff-force\n",
}
# Where it runs the manager tells its signals on the bus, as on most machines.
LOGIND = {"logind.service": "[Service]\nType=dbus\nBusName=org.freedesktop.login1\n"
                            "ExecStart=/lib/systemd/systemd-logind\n"}
FOLDERS = ("etc", "opt", "var", "srv", "home", "root", "usr/local")
CLEAN = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
         "SYSTEMD_PAGER=cat", "SYSTEMD_COLORS=0"]


def groups(name):
    """Our own folder in each hierarchy that the machine's systemd uses."""
    root = Path("/sys/fs/cgroup")
    if not (root / "unified").is_dir():
        return [root / name]
    found = [root / kind / name for kind in ("unified", "pids", "systemd") if (root / kind).is_dir()]
    own = re.search(r"^\d+:memory:(/.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    if own and (root / "memory").is_dir():
        found.append(Path(f"{root}/memory{own[1]}") / name)
    return found


def put(target, text):
    """Writes a file; scripts and programs can be executed."""
    data = text.encode() if isinstance(text, str) else text
    target.write_bytes(data)
    if data[:2] == b"#!" or data[:4] == b"\x7fELF":
        target.chmod(0o755)


class Here:
    """This machine, whose process 1 is a systemd already; for a virtual machine of no other use."""

    def __init__(self, files, hence, scratch=None):
        self.files, self.hence, self.pid = files, Path(hence).resolve(), 1
        self.dir = self.keep = Path(tempfile.mkdtemp(prefix="hence-watch-", dir=scratch)).resolve()

    def __enter__(self):
        for name, text in self.files.items():
            target = Path("/etc/systemd/system") / name
            target.parent.mkdir(parents=True, exist_ok=True)
            put(target, text)
        put(Path("/run/hence-bin"), self.hence.read_bytes())
        self.call("systemctl daemon-reload")
        return self

    def enter(self):
        return list(CLEAN)

    def call(self, command, timeout=30):
        """Runs a shell command."""
        return called(self.enter() + ["bash", "-c", command], timeout)

    def start(self, command):
        """Begins a shell command."""
        return subprocess.Popen(self.enter() + ["bash", "-c", command], stdout=subprocess.PIPE, text=True, cwd="/")

    def alive(self):
        return True

    def __exit__(self, *_):
        subprocess.run(["rm", "-rf", str(self.dir)])


def go_on(process):
    """Has nsenter(1) go on. It stops itself when what it started is stopped, as a shutdown stops everything for a
    moment; but the SIGCONT of the shutdown reaches only what is inside, and nobody would wait for its end."""
    try:
        if Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
            process.send_signal(signal.SIGCONT)
    except OSError:
        pass


def called(argv, timeout):
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                               stdin=subprocess.DEVNULL, cwd="/")
    until = time.monotonic() + timeout
    while True:
        try:
            out, err = process.communicate(timeout=min(1, max(until - time.monotonic(), 0.01)))
            return subprocess.CompletedProcess(argv, process.returncode, out, err)
        except subprocess.TimeoutExpired:
            go_on(process)
        if time.monotonic() >= until:
            process.kill()
            out, _ = process.communicate()
            return subprocess.CompletedProcess(argv, 124, out, "timed out")


class Machine:
    """A booted machine; `files` are unit files by name and other files by absolute path."""

    def __init__(self, files, hence, scratch=None, root=None):
        # Another Debian's root, whose systemd it is then; nothing is written to it.
        self.root = Path(root).resolve() if root else None
        self.name = f"hence-watch-{os.getpid()}-{time.monotonic_ns() % 10**8}"
        self.files, self.hence = files, Path(hence).resolve()
        self.dir = Path(tempfile.mkdtemp(prefix="hence-watch-", dir=scratch)).resolve()
        # What is at /run/keep in the machine.
        self.keep = self.dir / "keep"
        self.cgroups = groups(self.name)
        self.proc = self.pid = self.log = None

    def __enter__(self):
        try:
            return self.boot()
        except BaseException:
            self.__exit__()
            raise

    def script(self):
        etc, usr, rest = self.dir / "etc", self.dir / "usr", self.dir / "abs"
        for folder in (etc, usr, rest, self.dir / "scratch"):
            folder.mkdir()
        for name, text in TARGETS.items():
            (usr / name).write_text(text)
        stock = self.root / "usr/lib/systemd/system" if self.root else STOCK
        for name in TAKEN:
            if (stock / name).exists():
                (usr / name).write_bytes((stock / name).read_bytes())
        placed = []
        for name, text in self.files.items():
            target = rest / str(len(placed)) if name.startswith("/") else etc / name
            if name.startswith("/"):
                placed.append((target, name))
            target.parent.mkdir(parents=True, exist_ok=True)
            put(target, text)
        at = self.dir / "scratch/root" if self.root else ""
        if len(self.cgroups) > 1:
            kinds = [c for c in ("pids", "memory") if any(f"/{c}/" in f"{g}" for g in self.cgroups)]
            mounts = f"mount -t tmpfs -o mode=755 tmpfs {at}/sys/fs/cgroup\ncd {at}/sys/fs/cgroup\n" \
                     "mkdir unified systemd\nmount -t cgroup2 cgroup2 unified\n" \
                     "mount -t cgroup -o none,name=systemd systemd systemd\n"
            mounts += "".join(f"mkdir {k}\nmount -t cgroup -o {k} {k} {k}\n" for k in kinds) + "cd /\n"
            rows = "".join(f"{k}\\t1\\t1\\t1\\n" for k in kinds)
            mounts += f"printf '#subsys_name\\thierarchy\\tnum_cgroups\\tenabled\\n{rows}' >{at}/run/controllers\n" \
                      f"mount --bind {at}/run/controllers {at}/proc/cgroups\n"
        else:
            mounts = f"mount -t cgroup2 cgroup2 {at}/sys/fs/cgroup\n"
        copies = "\n".join(f"mkdir -p {at}{shlex.quote(os.path.dirname(n))}; cp -p {t} {at}{shlex.quote(n)}"
                           for t, n in placed)
        masked = " ".join(f"{at}/usr/lib/systemd/{d}" for d in (
            "system-generators", "system-environment-generators", "system-preset"))
        upper = self.dir / "scratch"
        if self.root:
            layers = f"""mkdir {upper}/{{upper,work,tmp,root}}
mount -t overlay overlay -o lowerdir={self.root},upperdir={upper}/upper,workdir={upper}/work {at}
mount -t proc proc {at}/proc
mount --rbind /dev {at}/dev
mount --rbind /sys {at}/sys
"""
            over, tmp = f"cd {at}\npivot_root . mnt\ncd /\numount -l /mnt\n", f"{at}/tmp"
        else:
            layers = f"""mount -t proc proc /proc
for d in {' '.join(FOLDERS)}; do
    mkdir -p {upper}/{{upper,work}}/$d
    mount -t overlay overlay -o lowerdir=/$d,upperdir={upper}/upper/$d,workdir={upper}/work/$d /$d
done
"""
            over, tmp = "", "/tmp"
        return f"""#!/bin/bash
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs {upper}
{layers}umount -R {at}/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs {at}/run
{mounts}
mkdir -p {at}/run/lock {at}/run/systemd/system {at}/run/dbus {at}/etc/systemd/system
mount --bind {etc} {at}/etc/systemd/system
mount --bind {usr} {at}/usr/lib/systemd/system
for d in {masked} {at}/etc/systemd/system.conf.d {at}/usr/lib/systemd/system.conf.d; do
    [ ! -d $d ] || mount -t tmpfs -o mode=755 tmpfs $d
done
rm -rf {at}/var/log/journal {at}/var/lib/hence
mkdir -p {at}/var/log/journal
cp {self.hence} {at}/run/hence-bin
mkdir -p {self.dir}/keep {at}/run/keep
mount --bind {self.dir}/keep {at}/run/keep
mkdir -p {upper}/tmp
mount -t tmpfs -o mode=1777 tmpfs {upper}/tmp
echo watched > {at}/etc/hostname; hostname watched
rm -f {at}/etc/machine-id; echo 0123456789abcdef0123456789abcdef > {at}/etc/machine-id
{copies}
ip link set lo up 2>/dev/null || true
mount --move {upper}/tmp {tmp}
{over}mount --make-rshared /
exec env -i container=hence-watch PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    LANG=C.UTF-8 {MANAGER} --unit=multi-user.target SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
"""

    def boot(self):
        boot = self.dir / "boot"
        boot.write_text(self.script())
        boot.chmod(0o755)
        for group in self.cgroups:
            group.mkdir()
        join = "; ".join(f"echo $$ > {group}/cgroup.procs" for group in self.cgroups)
        unshare = "unshare --pid --fork --mount --uts --ipc --cgroup --net --kill-child"
        self.log = open(self.dir / "log", "wb")
        self.proc = subprocess.Popen(["bash", "-c", f"{join}; exec {unshare} {boot}"], stdout=self.log,
                                     stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 40
        while time.monotonic() < until:
            if self.proc.poll() is not None:
                break
            kids = Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children")
            words = kids.read_text().split() if kids.exists() else []
            if words:
                self.pid = int(words[0])
                name = Path(f"/proc/{self.pid}/comm")
                if name.exists() and name.read_text().strip() == "systemd" \
                        and self.call("systemctl is-active multi-user.target").stdout.strip() == "active":
                    return self
            time.sleep(0.05)
        raise RuntimeError("the machine is not up: " + (self.dir / "log").read_text()[-2000:])

    def enter(self):
        return ["nsenter", "-t", str(self.pid), "-p", "-m", "-u", "-i", "-n", "-C"] + CLEAN

    def call(self, command, timeout=30):
        """Runs a shell command in the machine."""
        return called(self.enter() + ["bash", "-c", command], timeout)

    def start(self, command):
        """Begins a shell command in the machine."""
        return subprocess.Popen(self.enter() + ["bash", "-c", command], stdout=subprocess.PIPE, text=True, cwd="/")

    def alive(self):
        return self.proc.poll() is None

    def __exit__(self, *_):
        if self.proc:
            for pid in filter(None, (self.pid, self.proc.pid)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.proc.wait()
            self.log.close()
        until = time.monotonic() + 5
        for root in self.cgroups:
            while root.exists() and time.monotonic() < until:
                for folder in sorted(root.rglob("*/"), key=lambda p: -len(p.parts)):
                    try:
                        folder.rmdir()
                    except OSError:
                        pass
                try:
                    root.rmdir()
                except OSError:
                    time.sleep(0.05)
        subprocess.run(["rm", "-rf", str(self.dir)])
