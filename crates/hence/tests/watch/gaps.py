#!/usr/bin/env python3
"""What `hence watch` says of times in which it, the manager or the message bus was away, under a real systemd.

    gaps.py --hence target/debug/hence [--show]

Prints a line for each check. Exit status: 0; 1 where one failed, 77 where the machine can't be had."""
import argparse, json, os, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from machine import Machine  # noqa: E402

HENCE = "/usr/local/bin/hence"
SLEEP = "[Service]\nExecStart=/bin/sleep 1000\n"
NAMES = ("down", "up", "again", "killed", "same", "limit", "busy", "seen")
FILES = {f"g-{name}.service": SLEEP for name in NAMES}
FILES["g-killed.service"] += "Restart=always\nRestartSec=0.2\n"
FILES["g-dies.service"] = "[Service]\nExecStart=/bin/sh -c 'while [ ! -e /run/die ]; do sleep 0.1; done; exit 7'\n"
FILES["g-left.service"] = "[Service]\nKillMode=process\nExecStart=/bin/sh -c 'sleep 4711 & exec sleep 1000'\n"
FILES["g-born.service"] = FILES["g-left.service"].replace("4711", "4712")
FILES["g-slow.service"] = "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 0.6\n"
failed = []


def check(name, good, told=""):
    print(f"{'ok    ' if good else 'FAILED'} {name}{': ' if told != '' else ''}{told}", flush=True)
    if not good:
        failed.append(name)


class Told:
    def __init__(self, machine, show):
        self.m, self.show = machine, show

    def why(self, unit):
        done = self.m.call(f"{HENCE} why --json {unit}")
        if self.show:
            print(self.m.call(f"{HENCE} why {unit}").stdout)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"event": "none", "chain": [], "roots": [], "notes": [done.stderr.strip()]}

    def gap(self, unit, event, basis, root="unknown", what="hence was not watching"):
        """The event of a unit in a gap: what it is, what it was concluded from, where its chain ends."""
        answer = self.why(unit)
        steps = answer["chain"]
        bases = " / ".join(str(step.get("inferred_from")) for step in steps)
        roots = [r["kind"] for r in answer["roots"]]
        ends = answer["roots"][0]["what"] if answer["roots"] else ""
        good = answer["event"] == event and roots == [root] and basis in bases and what in (ends if root == "unknown" else str(answer["notes"]))
        inferred = steps and steps[0]["certainty"] == "inferred"
        if event == "stopped":
            check("the page says it as well", "not seen: hence was not watching from" in
                  " ".join(self.m.call(f"{HENCE} why {unit}").stdout.split()))
        check(f"{unit} {event} in the gap is said, and from what", good and inferred,
              f"{answer['event']} {roots}: {ends[:150]}; from {bases}")

    def history(self):
        return self.m.call(f"{HENCE} history --json").stdout

    def leaks(self):
        return self.m.call(f"{HENCE} leaks --json").stdout


def settled(m):
    time.sleep(2.8)


def restart_of_watch(m, told, how):
    """`how`: the command that ends hence; the machine goes on, then it is started again."""
    m.call("rm -f /run/die; systemctl stop g-up g-left g-born; systemctl start g-down g-again g-killed g-same g-dies g-left g-born")
    m.call("systemctl stop g-left")
    settled(m)
    left = m.call("pgrep -f '^sleep 4711'").stdout.split()
    check(f"{how}: a process is left behind before", str(left[:1] and left[0]) in told.leaks(), left)
    again = m.call("systemctl show -P InvocationID g-same").stdout
    m.call(how)
    time.sleep(0.5)
    check(f"{how}: hence is away", m.call("systemctl is-active hence-watch").stdout.strip() != "active")
    m.call("systemctl stop g-down g-born; systemctl start g-up; systemctl restart g-again; touch /run/die")
    m.call("kill -9 $(systemctl show -P MainPID g-killed); pkill -f '^sleep 4711'; sleep 1.2")
    m.call("systemctl start hence-watch")
    settled(m)
    told.gap("g-down", "stopped", "Stopped g-down")
    told.gap("g-up", "started", "Started g-up")
    told.gap("g-again", "stopped", "Stopped g-again")
    told.gap("g-dies", "failed", "Main process exited, code=exited, status=7", root="exit")
    told.gap("g-killed", "failed", "Main process exited, code=killed, status=9", root="exit")
    same = told.why("g-same")
    check("what stayed up has nothing to be told of the gap", again == m.call("systemctl show -P InvocationID g-same").stdout
          and "not watching" not in json.dumps(same["roots"]), same["event"])
    leaks = told.leaks()
    check("a process left behind that ended in the gap is gone", left and f'"pid": {left[0]},' not in leaks)
    check("one that was left behind in the gap is told", "4712" in leaks, leaks.replace("\n", " ")[:200])
    m.call("pkill -f '^sleep 4712'")
    check("the gap is a line of the history", "hence was not watching from" in told.history())


def reexec(m, told):
    m.call("rm -f /run/die; systemctl start g-down g-same g-dies; systemctl stop g-up")
    settled(m)
    # Things happen while the manager is being executed anew, and right after it.
    m.call("systemctl daemon-reexec & touch /run/die; systemctl stop g-down; wait; systemctl start g-up")
    settled(m)
    history = told.history()
    check("the manager's being away is a line of the history", "the connection to the manager was away from" in history)
    for turn in range(3):
        m.call("(for n in 1 2 3 4 5 6; do systemctl start g-busy; systemctl restart g-again; systemctl stop g-busy g-limit; "
               "systemctl start g-limit; done) & sleep 0.3; systemctl daemon-reexec; wait")
        settled(m)
        for unit in ("g-down", "g-dies", "g-up", "g-busy", "g-again", "g-limit"):
            answer = told.why(unit)
            state = m.call(f"systemctl show -P ActiveState {unit}").stdout.strip()
            known = (answer.get("state") or {}).get("active")
            check(f"after daemon-reexec {turn} {unit} is known to be {state}", known == state,
                  [answer["event"], [r["what"][:90] for r in answer["roots"]]])
    m.call("systemctl stop g-slow; systemctl start g-slow; sleep 1; systemctl stop g-slow")
    settled(m)
    answer = told.why("g-slow")
    check("afterwards it is seen as before", "stop g-slow" in json.dumps(answer["roots"]), [r["what"][:100] for r in answer["roots"]])


def bus(m, told):
    check("the bus is heard", "bus" in m.call("systemctl show -P StatusText hence-watch").stdout)
    m.call("kill -9 $(systemctl show -P MainPID dbus)")
    time.sleep(1.5)
    state = m.call("systemctl show -P ActiveState dbus").stdout.strip()
    check("hence does not start the bus", state in ("failed", "inactive"), state)
    m.call("systemctl start g-slow; sleep 1; systemctl stop g-slow")
    settled(m)
    answer = told.why("g-slow")
    check("without the bus the manager is heard on its private socket", "stop g-slow" in json.dumps(answer["roots"])
          and answer["state"]["active"] == "inactive", [r["what"][:100] for r in answer["roots"]])
    check("that the bus is away is on record", "the message bus was away since" in told.history())
    m.call("systemctl reset-failed dbus; systemctl start dbus")
    time.sleep(1)
    m.call("systemctl start g-seen; sleep 0.5; busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 "
           "org.freedesktop.systemd1.Manager StopUnit ss g-seen.service replace")
    settled(m)
    answer = told.why("g-seen")
    check("the bus is heard again", answer["event"] == "stopped", [r["what"][:100] for r in answer["roots"]])
    check("from when to when the bus was away is on record", "the message bus was away from" in told.history())
    m.call("systemctl restart dbus; sleep 1")
    settled(m)
    check("a restart of the bus as well", told.history().count("the message bus was away from") >= 2
          or '"times": 2' in told.history())


def sleeps(m):
    """Nothing is polled while the bus is away: hence sleeps without a time to wake up at, or until what it has
    to look at minutes later. What others do wakes it (the kernel tells of the signals of all), so that wakeups are
    not counted."""
    m.call("systemctl stop dbus.socket dbus; sleep 8")
    pid = m.call("systemctl show -P MainPID hence-watch").stdout.strip()
    waits = []
    for _ in range(10):
        # Number of the system call, then its arguments: epoll_pwait(2) has the timeout in the fourth.
        words = m.call(f"cat /proc/{pid}/syscall; sleep 0.3").stdout.split()
        waits.append(words[4] if len(words) > 4 else "running")
    m.call("systemctl start dbus.socket dbus")
    never = ("0xffffffffffffffff", "0xffffffff")
    asleep = sum(word in never or word != "running" and int(word, 16) >= 60_000 for word in waits)
    check("nothing is polled while the bus is away", asleep >= 7, waits)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hence", required=True)
    parser.add_argument("--scratch")
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
        print("skipped: needs root and systemd")
        return 77
    with Machine(FILES, args.hence, args.scratch) as m:
        m.call(f"mkdir -p /usr/local/bin; cp /run/hence-bin {HENCE}")
        done = m.call(f"{HENCE} watch --install")
        check("it is installed", done.returncode == 0, done.stderr.strip())
        time.sleep(3)
        told = Told(m, args.show)
        restart_of_watch(m, told, "systemctl stop hence-watch")
        told.show = False
        m.call("mkdir -p /run/systemd/system/hence-watch.service.d; printf '[Service]\\nRestart=no\\n' > "
               "/run/systemd/system/hence-watch.service.d/no.conf; systemctl daemon-reload")
        restart_of_watch(m, told, "kill -9 $(systemctl show -P MainPID hence-watch)")
        reexec(m, told)
        bus(m, told)
        sleeps(m)
        check("the ledger is sound", m.call(f"{HENCE} verify").returncode == 0)
        again = m.call("systemctl show -P NRestarts hence-watch").stdout.strip()
        check("hence itself did not fall over", again == "0", again)
        if failed:
            print(told.history()[-3000:])
            print(m.call("journalctl -b -o cat -u hence-watch | tail -20").stdout)
    print(f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
