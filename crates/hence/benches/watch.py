#!/usr/bin/env python3
"""What `hence watch` costs a machine whose process 1 is systemd, and what it costs systemd; in one run.

    cargo build --release -p hence
    crates/hence/benches/watch.py --hence target/release/hence [--here] [--seconds N] [--idle N] [--units N]
                                  [--forks N] [--executions N] [--rounds N] [--without SOURCE]...

The machine is a real systemd with journald, a message bus and logind as process 1 of its own namespaces, watched
from the host, with every source; with --here it is this machine, which should be a virtual one of no other use.
logind listens to what systemd says of units, as on most machines; --no-logind leaves it out.

Idle: nothing happens for N seconds (hence watches from within the machine
then, for on the host others are busy); how often watch and its recorder woke up, and their memory (PSS).
Busy: so many units end and are started again by Restart=always that there are about 200 restarts a second,
and processes are forked (5,000 a second; of them 100 execute /bin/true), without watch and with it in turns.
Said are the CPU time (user and system, /proc/PID/task/*/schedstat) of systemd, journald and watch, for each
second and for each restart; and what of the restarts that systemd counted is in the ledger."""
import argparse, json, os, re, signal, statistics, subprocess, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "watch"))
from machine import LOGIND, Here, Machine  # noqa: E402

FORKS = r"""
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    long rate = atol(argv[1]), seconds = atol(argv[2]), executions = argc > 3 ? atol(argv[3]) : 0, done = 0;
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (;;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        double t = now.tv_sec - begun.tv_sec + (now.tv_nsec - begun.tv_nsec) / 1e9;
        if (t > seconds) break;
        if (done >= t * rate) { usleep(2000); continue; }
        int run = executions > 0 && done % (rate / executions) == 0;
        pid_t pid = vfork();
        if (pid == 0) {
            if (run) execl("/bin/true", "true", (char *)0);
            _exit(0);
        }
        if (pid > 0) waitpid(pid, 0, 0);
        done++;
    }
    char text[32];
    int n = 0;
    for (long d = done; d; d /= 10) text[31 - n++] = '0' + d % 10;
    return write(1, text + 32 - n, n) != n;
}
"""
UNIT = ("[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/true\nRestart=always\n"
        "RestartSec={delay}ms\nSyslogLevel=debug\n")


def cpu_ns(pid):
    """CPU time of all threads of a process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except OSError:
            pass
    return total


def switches(pid):
    """How often a process went to sleep by itself: so often it was woken."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/status"):
        total += sum(int(l.split()[1]) for l in task.read_text().splitlines() if l.startswith("voluntary"))
    return total


def pss_kib(pid):
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))


def name(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2]
    except OSError:
        return [b""]


class Watch:
    """hence watch, outside of the machine, or in it."""

    def __init__(self, machine, options, inside=False):
        self.ledger = Path(tempfile.mkdtemp(prefix="hence-ledger-", dir=options.scratch))
        argv = [str(options.hence), "watch", "--ledger", str(self.ledger)]
        argv += [] if options.here else ["--machine", str(machine.pid)]
        argv += ["--on-bus"] if options.on_bus and not inside else []
        argv += [word for source in options.without for word in ("--without", source)]
        script = "mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing; exec \"$@\""
        self.log = open(self.ledger / "log", "wb")
        argv = ["unshare", "-m", "bash", "-c", script, "-", *argv]
        if inside:
            argv = [*machine.enter(), "/run/hence-bin", "watch", "--ledger", "/run/keep/ledger"]
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, cwd="/")
        time.sleep(3)
        kids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        self.pid = int(kids[0]) if inside else self.process.pid
        if self.process.poll() is not None:
            sys.exit("hence watch ended: " + (self.ledger / "log").read_text())

    def processes(self):
        """Its own and the recorder; what hands on bytes between pid namespaces is told by itself."""
        pid, found, relays = self.pid, [self.pid], []
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, task.read_text().split()):
                (relays if b"relay" in name(child) else found).append(child)
        return found, relays

    def limits(self):
        return [line for line in (self.ledger / "log").read_text().splitlines() if line.startswith("  ")]

    def records(self):
        """Every record, as a sentence."""
        done = subprocess.run([self.exe, "history", "--raw", "--ledger", self.ledger], capture_output=True, text=True,
                              cwd="/")
        return done.stdout.splitlines()

    def hence(self):
        return Path(f"/proc/{self.pid}/exe").resolve() if self.process.poll() is None else self.exe

    def close(self):
        self.exe = self.hence()
        os.kill(self.pid, signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


def pid_of(machine, unit):
    """The main process of a unit, as the host calls it."""
    there = machine.call(f"systemctl show -P MainPID {unit}").stdout.strip()
    if isinstance(machine, Here):
        return int(there)
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            row = next(l for l in status.read_text().splitlines() if l.startswith("NSpid:")).split()[1:]
            spaces = [os.readlink(f"/proc/{pid}/ns/pid") for pid in (machine.pid, int(row[0]))]
        except (OSError, StopIteration):
            continue
        if row[-1] == there and spaces[0] == spaces[1]:
            return int(row[0])
    return None


def restarts(machine, units):
    names = " ".join(f"b{n}.service" for n in range(units))
    return sum(map(int, machine.call(f"systemctl show -P NRestarts {names}").stdout.split()))


def busy(machine, options, watch):
    """One stretch of work; the figures of it."""
    names = " ".join(f"b{n}.service" for n in range(options.units))
    machine.call(f"systemctl reset-failed {names}; systemctl start --no-block {names}", timeout=60)
    time.sleep(3)
    who = {"systemd": [machine.pid], "journald": [pid_of(machine, "systemd-journald.service")],
           "bus": [pid_of(machine, "dbus.service")]}
    if watch:
        who["watch"], who["relay"] = watch.processes()
    forks = machine.start(f"/run/forks {options.forks} {options.seconds} {options.executions}")
    before, counted, begun = {w: sum(map(cpu_ns, p)) for w, p in who.items()}, restarts(machine, options.units), time.monotonic()
    while time.monotonic() < begun + options.seconds:
        time.sleep(0.2)
    after, counted = {w: sum(map(cpu_ns, p)) for w, p in who.items()}, restarts(machine, options.units) - counted
    took = time.monotonic() - begun
    forked = int(forks.communicate()[0] or 0)
    machine.call(f"systemctl stop {names}", timeout=120)
    result = {w: (after[w] - before[w]) / 1e9 / took for w in who}
    return {**result, "restarts_s": counted / took, "forks_s": forked / options.seconds,
            "systemd_us": (after["systemd"] - before["systemd"]) / 1e3 / max(counted, 1)}


def idle(watch, seconds):
    time.sleep(8)
    own, relays = watch.processes()
    before, ns = {p: switches(p) for p in own + relays}, sum(map(cpu_ns, own))
    time.sleep(seconds)
    woken = {p: switches(p) - before[p] for p in own + relays}
    return {"watch": woken[own[0]], "recorder": sum(woken[p] for p in own[1:]),
            "relay": sum(woken[p] for p in relays), "cpu_ms": (sum(map(cpu_ns, own)) - ns) / 1e6,
            "pss_mib": sum(map(pss_kib, own)) / 1024}


def lost(watch, machine, options):
    """What systemd counted and what the ledger has, of the units' restarts; and the losses that it names."""
    counted = restarts(machine, options.units)
    time.sleep(3)
    watch.close()
    told, gaps = 0, []
    for line in watch.records():
        told += bool(re.search(r"\bb\d+\.service\b.*will be started again", line))
        if re.search(r"records? (is|are) missing|\blost\b|gap", line):
            gaps.append(line)
    return counted, told, gaps


def main():
    # Whoever ends it has the machine ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--hence", type=Path, required=True)
    ap.add_argument("--here", action="store_true", help="watch this machine")
    ap.add_argument("--seconds", type=int, default=20)
    ap.add_argument("--idle", type=int, default=60)
    ap.add_argument("--units", type=int, default=50)
    ap.add_argument("--delay", type=int, default=200, help="RestartSec= of the units, in ms")
    ap.add_argument("--forks", type=int, default=5000)
    ap.add_argument("--executions", type=int, default=100)
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--scratch")
    ap.add_argument("--tool", type=Path, help="the compiled program that forks")
    ap.add_argument("--no-logind", action="store_true")
    ap.add_argument("--on-bus", action="store_true", help="hence hears systemd on the bus")
    ap.add_argument("--without", action="append", default=[])
    options = ap.parse_args()
    options.hence = options.hence.resolve()
    options.scratch = options.scratch and str(Path(options.scratch).resolve())
    work = Path(tempfile.mkdtemp(prefix="hence-bench-", dir=options.scratch))
    tool = options.tool or work / "forks"
    if not options.tool:
        (work / "forks.c").write_text(FORKS)
        subprocess.run(["cc", "-O2", "-static", "-o", tool, work / "forks.c"], check=True)
    files = {f"b{n}.service": UNIT.format(delay=options.delay) for n in range(options.units)}
    files["/run/forks"] = tool.read_bytes()
    if not (options.here or options.no_logind):
        files.update(LOGIND)
    kind = Here if options.here else Machine
    with kind(files, options.hence, options.scratch) as machine:
        if "logind.service" in files:
            machine.call("systemctl start logind")
        if options.idle:
            watch = Watch(machine, options, inside=not options.here)
            print("sources that lack: " + ("; ".join(l.strip() for l in watch.limits()) or "none"))
            print(f"idle, {options.idle} s: {json.dumps(idle(watch, options.idle))}", flush=True)
            watch.close()
        rows = {"without": [], "with": []}
        for _ in range(options.rounds):
            rows["without"].append(busy(machine, options, None))
            watch = Watch(machine, options)
            rows["with"].append(busy(machine, options, watch))
            machine.call("sleep 1")
            told = lost(watch, machine, options)
            rows["with"][-1]["told"] = told[:2]
            print(json.dumps(rows["without"][-1]), json.dumps(rows["with"][-1]), f"losses told: {told[2][:3]}",
                  sep="\n", flush=True)
        middle = lambda which, key: statistics.median(r[key] for r in rows[which])  # noqa: E731
        print("\n| | without | with |\n|---|---:|---:|")
        for text, key, scale, form in (
                ("unit restarts a second", "restarts_s", 1, "{:.0f}"), ("forks a second", "forks_s", 1, "{:.0f}"),
                ("systemd, % of a CPU", "systemd", 100, "{:.1f}"), ("systemd, us of CPU a restart", "systemd_us", 1, "{:.0f}"),
                ("journald, % of a CPU", "journald", 100, "{:.1f}"),
                ("dbus-daemon, % of a CPU", "bus", 100, "{:.1f}"), ("hence watch with its recorder, % of a CPU", "watch", 100, "{:.2f}")):
            cells = [form.format(middle(w, key) * scale) if key in rows[w][0] else "-" for w in rows]
            print(f"| {text} | {cells[0]} | {cells[1]} |")
    subprocess.run(["rm", "-rf", str(work)])


if __name__ == "__main__":
    main()
