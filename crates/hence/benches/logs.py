#!/usr/bin/env python3
"""Floods of output under hence and under systemd with systemd-journald, in one run.

    cargo build --release -p hence -p hence-host --example say --bin hence
    crates/hence/benches/logs.py --build target/release [--folder DIR] [--rounds N] [--work a,b,c] [--only hence]

Each cell is one workload under one of them as process 1 of fresh namespaces, with its journal in a folder of
DIR (a disk, 3 GiB free). Both write native journal files that are large enough to hold all of it, and limit
no rates. Workloads, in lines of 100 bytes:

    a   1,000,000 lines of one service, in pieces of 4 KiB as stdio writes to a pipe
    b   50 services, each 10,000 lines a second for 4 s
    c   50,000 lines of one service, each with a write of its own

Said of each: lines per second until the last line is in the journal's header; CPU of the journal's writer and
of the manager for each line (user and system time of all their threads); lines that are missing or out of
order, by what journalctl reads back; `systemctl is-active` meanwhile, with the client's own start, and of that
while nothing happens and while two processes spin instead. Needs root, Linux with cgroup v2, python 3.11.
"""
import argparse, json, os, shlex, shutil, signal, statistics, subprocess, sys, threading, time
from pathlib import Path

MANAGERS = {
    "systemd": "/lib/systemd/systemd --log-target=null --unit=bench.target",
    "hence": "{hence} run --quiet --stay --journal=system --ledger /run/ledger --unit=bench.target",
}
UNITS = {
    "bench.target": "[Unit]\nAllowIsolate=yes\n{wants}",
    "sysinit.target": "[Unit]\n", "basic.target": "[Unit]\n", "sockets.target": "[Unit]\n",
    "shutdown.target": "[Unit]\nDefaultDependencies=no\n",
    "quiet.service": "[Service]\nExecStart=/bin/sleep infinity\n",
}
JOURNALD = ["systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"]
CONF = "[Journal]\nStorage=persistent\nSystemMaxUse=16G\nSystemKeepFree=1M\nRateLimitIntervalSec=0\nReadKMsg=no\nForwardToSyslog=no\n"
SERVICE = ("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart={say} {args}\nSyslogIdentifier=say\n"
           "LogRateLimitIntervalSec=0\n{more}\n")
CLIENT = """
import json, subprocess, sys, time
took = []
for _ in range(int(sys.argv[1])):
    began = time.monotonic_ns()
    subprocess.run(["systemctl", "is-active", "quiet.service"], stdout=subprocess.DEVNULL)
    took.append(time.monotonic_ns() - began)
    time.sleep(0.005)
print(json.dumps(took))
"""
BOOT = """#!/bin/bash
set -e
mount --make-rprivate /
mount -t proc proc /proc
mkdir {dir}/dev
mount -t tmpfs -o mode=755 tmpfs {dir}/dev
for n in null zero full random urandom tty; do : > {dir}/dev/$n; mount --bind /dev/$n {dir}/dev/$n; done
mkdir {dir}/dev/shm {dir}/dev/pts
mount --rbind {dir}/dev /dev
umount -R /sys/fs/cgroup
{cgroups}
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/bench /run/systemd/system
mount -t tmpfs -o mode=755 tmpfs /etc/systemd
mkdir -p /etc/systemd/system
cp {dir}/journald.conf /etc/systemd/
mount --bind {dir}/units /usr/lib/systemd/system
for d in /usr/lib/systemd/system-{{generators,environment-generators,preset}}; do
    [ ! -d $d ] || mount -t tmpfs -o mode=755 tmpfs $d
done
mount -t tmpfs tmpfs /var/log
mkdir -p /var/log/journal
mount --bind {dir}/journal /var/log/journal
hostname bench
mount --make-rshared /
exec env -i container=bench PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 {manager}
"""


class Machine:
    """A manager as process 1 of its own namespaces and control groups."""

    def __init__(self, name, command, folder, say, services):
        self.name, self.command, self.say, self.services = name, command, say, services
        self.dir = folder / f"logs-bench-{os.getpid()}-{name}"
        roots = [Path("/sys/fs/cgroup") / k for k in ("unified", "pids", "systemd")]
        roots = [r for r in roots if r.is_dir()] or [Path("/sys/fs/cgroup")]
        self.cgroups = [r / f"logs-bench-{os.getpid()}" for r in roots]
        self.process = None

    def __enter__(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        units, journal = self.dir / "units", self.dir / "journal"
        units.mkdir(parents=True)
        journal.mkdir()
        for unit, text in {**UNITS, **self.services}.items():
            wants = "Wants=systemd-journald.service quiet.service\n" if self.name == "systemd" else "Wants=quiet.service\n"
            (units / unit).write_text(text.replace("{wants}", wants))
        for unit in JOURNALD if self.name == "systemd" else []:
            shutil.copy(f"/usr/lib/systemd/system/{unit}", units)
        (self.dir / "journald.conf").write_text(CONF)
        two = len(self.cgroups) > 1
        mounts = ["tmpfs -o mode=755 tmpfs /sys/fs/cgroup", "cgroup2 cgroup2 /sys/fs/cgroup/unified",
                  "cgroup -o pids pids /sys/fs/cgroup/pids", "cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd"]
        cgroups = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        if two:
            cgroups = "\n".join([f"mount -t {mounts[0]}", "mkdir /sys/fs/cgroup/{unified,pids,systemd}"] +
                                [f"mount -t {m}" for m in mounts[1:]])
        boot = self.dir / "boot"
        boot.write_text(BOOT.format(dir=self.dir, cgroups=cgroups, manager=self.command))
        boot.chmod(0o755)
        for c in self.cgroups:
            c.mkdir()
        join = "; ".join(f"echo $$ > {c}/cgroup.procs" for c in self.cgroups)
        self.log = open(self.dir / "log", "wb")
        self.process = subprocess.Popen(
            ["bash", "-c", f"{join}; exec unshare --pid --fork --mount --uts --ipc --cgroup --net --kill-child {boot}"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            kids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            words = kids.read_text().split() if kids.exists() else []
            self.pid = int(words[0]) if words else None
            if self.pid and self.call("systemctl is-active bench.target quiet.service").stdout.split() == ["active"] * 2:
                return self
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} did not come up: " + (self.dir / "log").read_text()[-2000:])

    def inside(self, *argv):
        return ["nsenter", "-t", str(self.pid), "-p", "-m", "-u", "-i", "-n", "-C", *argv]

    def call(self, command):
        return subprocess.run(self.inside("sh", "-c", command), capture_output=True, text=True, timeout=600, cwd="/")

    def writer(self):
        """The process that writes the journal."""
        kids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        wanted = "systemd-journald" if self.name == "systemd" else "recorder"
        for kid in kids:
            if wanted in Path(f"/proc/{kid}/cmdline").read_bytes().replace(b"\0", b" ").decode():
                return int(kid)
        raise RuntimeError(f"no {wanted} among {kids}")

    def entries(self):
        """How many entries the headers of all files tell of."""
        count = 0
        for path in (self.dir / "journal").glob("*/*.journal*"):
            try:
                with open(path, "rb") as file:
                    count += int.from_bytes(file.read(160)[152:160], "little")
            except FileNotFoundError:
                pass
        return count

    def __exit__(self, *_):
        for pid in filter(None, (getattr(self, "pid", None), self.process and self.process.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()
            self.log.close()
        until = time.monotonic() + 10
        for root in self.cgroups:
            while root.exists() and time.monotonic() < until:
                for d in sorted(root.rglob("*/"), key=lambda p: -len(p.parts)):
                    try: d.rmdir()
                    except OSError: pass
                try: root.rmdir()
                except OSError: time.sleep(0.05)
        shutil.rmtree(self.dir, ignore_errors=True)


def cpu_us(pid):
    """User and system time of all threads of a process."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * 1_000_000 // os.sysconf("SC_CLK_TCK")


def percentiles(took):
    took = sorted(took)
    return {"p50_ms": took[len(took) // 2] / 1e6, "p99_ms": took[min(len(took) - 1, len(took) * 99 // 100)] / 1e6}


def clients(machine, count):
    done = subprocess.run(machine.inside("python3", "-c", CLIENT, str(count)), capture_output=True, text=True, cwd="/")
    return json.loads(done.stdout)


def measure(name, work, options):
    plan = {"a": [("a", 1_000_000, 0, 4096)], "b": [(f"s{n}", 40_000, 10_000, 1 << 20) for n in range(50)],
            "c": [("c", 50_000, 0, 0)]}[work]
    say = options.build / "examples/say"
    services = {f"say-{n}.service": SERVICE.format(say=say, args=f"{n} {l} {r} {p}", more="") for n, l, r, p in plan}
    services["spin@.service"] = SERVICE.format(say=say, args="spin 6", more="StandardOutput=null")
    command = MANAGERS[name].format(hence=options.build / "hence")
    with Machine(name, command, options.folder, say, services) as machine:
        if name == "systemd":
            machine.call("journalctl --flush")
        time.sleep(1)
        total, result = sum(lines for _, lines, _, _ in plan), {}
        if work == "b":
            result["idle"] = percentiles(clients(machine, 200))
            machine.call("systemctl start --no-block spin@1 spin@2")
            result["spin"] = percentiles(clients(machine, 200))
            machine.call("systemctl stop spin@1 spin@2")
        writer = machine.writer()
        before, cpu, own = machine.entries(), cpu_us(writer), cpu_us(machine.pid)
        took = []
        asking = threading.Thread(target=lambda: took.extend(clients(machine, 200)))
        machine.call("systemctl start --no-block " + " ".join(u for u in services if u.startswith("say-")))
        if work == "b":
            asking.start()
        last = (time.monotonic(), 0)
        while (count := machine.entries() - before) < total:
            if count > last[1]:
                last = (time.monotonic(), count)
            elif time.monotonic() > last[0] + 10:
                break
            time.sleep(0.005)
        end = time.monotonic_ns() if count >= total else int(last[0] * 1e9)
        result["cpu_us"] = (cpu_us(writer) - cpu) / total
        result["manager_us"] = (cpu_us(machine.pid) - own) / total
        result["rss_mib"] = int(next(l for l in Path(f"/proc/{writer}/status").read_text().splitlines()
                                     if l.startswith("VmHWM")).split()[1]) / 1024
        if work == "b":
            asking.join()
            result["flood"] = percentiles(took)
        stamps = [Path(f"/proc/{machine.pid}/root/run/bench/{n}").read_text().split() for n, *_ in plan]
        result["lines_s"] = total * 1e9 / (end - min(int(first) for first, _ in stamps))
        result["written_s"] = total * 1e9 / (max(int(l) for _, l in stamps) - min(int(f) for f, _ in stamps))
        result["missing"], result["disorder"] = check(machine, plan)
        size = sum(p.stat().st_blocks * 512 for p in (machine.dir / "journal").glob("*/*"))
        result["bytes"] = size / total
        return result


def check(machine, plan):
    """What journalctl reads back: lines that are missing, and lines that aren't where they belong."""
    machine.call("journalctl --sync 2>/dev/null")
    reading = subprocess.Popen(["journalctl", "-D", str(next((machine.dir / "journal").iterdir())), "-q", "--no-pager",
                                "-o", "cat", "SYSLOG_IDENTIFIER=say", "_TRANSPORT=stdout"], stdout=subprocess.PIPE)
    expected, disorder = {name: 0 for name, *_ in plan}, 0
    got = dict(expected)
    for line in reading.stdout:
        name, number, _ = line.split()
        name, number = name.decode(), int(number)
        disorder += number != expected[name]
        expected[name], got[name] = number + 1, got[name] + 1
    reading.wait()
    return sum(lines for _, lines, *_ in plan) - sum(got.values()), disorder


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--build", type=Path, required=True, help="folder with hence and examples/say")
    ap.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the journals lie meanwhile")
    ap.add_argument("--rounds", type=int, default=1)
    ap.add_argument("--work", default="a,b,c")
    ap.add_argument("--only", help="only this one: systemd or hence")
    ap.add_argument("--json", action="store_true", help="print every result as it comes")
    options = ap.parse_args()
    options.build = options.build.resolve()
    names = [options.only] if options.only else list(MANAGERS)
    results = {}
    for _ in range(options.rounds):
        for work in options.work.split(","):
            for name in names:
                result = measure(name, work, options)
                results.setdefault((work, name), []).append(result)
                if options.json:
                    print(work, name, json.dumps(result), flush=True)
    rows = [("lines/s until they are in the journal", "lines_s", "{:,.0f}"), ("lines/s as the services could write", "written_s", "{:,.0f}"),
            ("CPU of the journal's writer, us a line", "cpu_us", "{:.2f}"), ("CPU of the manager, us a line", "manager_us", "{:.2f}"),
            ("lines missing", "missing", "{:,.0f}"), ("lines out of order", "disorder", "{:,.0f}"),
            ("bytes on the disk a line", "bytes", "{:.0f}"), ("the writer's memory at most, MiB", "rss_mib", "{:.1f}")]
    print(f"\n| work | | {' | '.join(names)} |\n|---|---|{'---:|' * len(names)}")
    for work in options.work.split(","):
        def row(text, value):
            print(f"| {work} | {text} | " + " | ".join(value(results[work, name]) for name in names) + " |")
        for text, key, form in rows:
            row(text, lambda rs: form.format(statistics.median(r[key] for r in rs)))
        for when in ("idle", "spin", "flood") if work == "b" else ():
            row(f"`systemctl is-active` p50 / p99, ms: {when}", lambda rs: " / ".join(
                "{:.1f}".format(statistics.median(r[when][k] for r in rs)) for k in ("p50_ms", "p99_ms")))


if __name__ == "__main__":
    main()
