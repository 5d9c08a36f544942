#!/usr/bin/env python3
"""Incidents under a real systemd that `hence watch` watches, and what it says of them afterwards.

    watch.py --hence target/debug/hence [--without SOURCE]... [--outside | --here] [--logind] [--only TEXT] [--keep FILE]
             [--root FOLDER]

Prints a line for each incident: right, partial (the root is among others, or said to be unknown) or wrong;
then their numbers. Exit status: 0; 1 where an answer is wrong, 77 where the machine can't be had.

`--outside` has hence watch from the host, with the kernel's process connector and tracepoints, which tell
only the first namespaces; without it hence runs in the machine. With --here the machine is this one, which
should be a virtual one of no other use."""
import argparse, atexit, json, os, signal, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from incidents import ALL, LAST  # noqa: E402
from machine import LOGIND, Here, Machine, go_on  # noqa: E402


class Watch:
    """hence watch, in the machine or outside of it."""

    def __init__(self, machine, hence, outside, without, on_bus):
        self.machine, self.outside = machine, outside
        self.ledger = machine.keep / "ledger"
        here = isinstance(machine, Here)
        self.inside = not (outside or here)
        options = [w for source in without for w in ("--without", source)] + ["--on-bus"] * on_bus
        out = open(machine.dir / "watch.log", "wb")
        if outside or here:
            watched = [] if here else ["--machine", str(machine.pid)]
            script = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec \"$@\""
            argv = ["nice", "-n", "-10", "unshare", "-m", "bash", "-c", script, "-", str(hence), "watch", *watched, "--ledger", str(self.ledger), *options]
        else:
            argv = ["nice", "-n", "-10"] + machine.enter() + \
                ["/run/hence-bin", "watch", "--ledger", "/run/keep/ledger", *options]
        self.proc = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd="/")
        self.hence = hence
        time.sleep(0.5)
        kids = Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children")
        words = kids.read_text().split() if not (outside or here) and kids.exists() else []
        self.pid = int(words[0]) if words else self.proc.pid
        # Also where this script is ended.
        atexit.register(self.close)

    def why(self, unit):
        argv = [str(self.hence), "why", "--json", "--ledger", str(self.ledger), unit]
        if self.inside and self.machine.alive():
            # Who is still there is looked up by the numbers that processes have there.
            argv = self.machine.enter() + ["/run/hence-bin", "why", "--json", "--ledger", "/run/keep/ledger", unit]
        done = subprocess.run(argv, capture_output=True, text=True, cwd="/", timeout=60)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"error": done.stderr.strip() or done.stdout[:200]}

    def close(self):
        if self.proc.poll() is not None:
            return self.proc.returncode
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        try:
            self.proc.wait(10)
        except subprocess.TimeoutExpired:
            self.proc.kill()
        return self.proc.returncode


def rules(answer):
    found = []
    for step in answer.get("chain", []):
        for rule in [step.get("rule")] + (step.get("other_rules") or []):
            if rule:
                found.append((rule.get("directive", ""), rule.get("file"), rule.get("line")))
    return found


def judge(case, answer):
    """The verdict, whether it was stated as certain, and why."""
    if "error" in answer:
        return "wrong" if "no record" not in answer["error"] else "partial", False, answer["error"]
    kinds = case["kind"] if isinstance(case["kind"], tuple) else (case["kind"],)
    roots = answer.get("roots", [])
    spurious = 0 if case["left"] else (answer.get("left_behind") or {}).get("processes", 0)
    certain = all(step.get("certainty") == "observed" for step in answer.get("chain", []))

    def gone(root):
        # Who had left the bus before it could be asked is said to have.
        return "gone from the bus" in (root.get("command") or "")

    def named(root):
        # Of a sender that was gone at once the kernel tells the program's name alone.
        return case["command"] in (root.get("command") or "")

    def fits(root):
        only_name = root["kind"] == "signal" and (case["command"] or "").split(" ")[0] == root.get("command")
        command = case["command"] is None or root["kind"] == "exit" or named(root) or only_name or gone(root)
        unit = case["unit"] is None or root.get("unit") == case["unit"]
        return root["kind"] in kinds and unit and command

    good = [root for root in roots if fits(root)]
    told = "; ".join(f"{r['kind']} {r.get('unit')} {r.get('command') or ''}".strip() for r in roots)
    told = f"{answer.get('event')} <- {told}"
    if not good:
        unknown = any(root["kind"] == "unknown" for root in roots)
        return ("partial" if unknown else "wrong"), certain and not unknown, told
    lacks = []
    if case["rule"] and not any(case["rule"] in rule[0] for rule in rules(answer)):
        lacks.append(f"no {case['rule']} in {[r[0] for r in rules(answer)]}")
    if case["event"] and answer.get("event") != case["event"]:
        lacks.append(f"{answer.get('event')} instead of {case['event']}")
    if case["left"] and (answer.get("left_behind") or {}).get("processes", 0) < case["left"]:
        lacks.append(f"{answer.get('left_behind')} left behind")
    if spurious and case["left"] is not None:
        lacks.append(f"{spurious} said to be left behind")
    if case["what"] and not any(case["what"] in str(step.get("what")) for step in answer.get("chain", [])):
        lacks.append(f"no {case['what']}")
    if len(good) < len(roots):
        lacks.append(f"{len(roots) - len(good)} other roots")
    if case["command"] and gone(good[0]):
        lacks.append("the caller was gone")
    if case["command"] and good[0]["kind"] == "signal" and not named(good[0]):
        lacks.append("the sender's name alone")
    if case["parent"] and case["parent"] not in ((good[0].get("parent") or {}).get("command") or ""):
        lacks.append(f"not by {case['parent']}, but {good[0].get('parent')}")
    if case["kind"] == ("signal", "exit") and good[0]["kind"] == "exit":
        lacks.append("sender not known")
    return ("partial" if lacks else "right"), certain, "; ".join(lacks + [told])


def run(cases, args, last):
    files = {}
    for case in cases:
        files.update(case["files"])
    results = []
    if args.logind:
        files.update(LOGIND)
    kind = Here if args.here else Machine
    more = {} if args.here else {"root": args.root}
    with kind(files, args.hence, args.scratch, **more) as machine:
        if args.logind:
            machine.call("systemctl start logind")
        watch = Watch(machine, Path(args.hence).resolve(), args.outside, args.without, args.logind)
        time.sleep(2.0)
        print("-- " + machine.call("systemctl --version | head -1").stdout.strip(), flush=True)
        for case in cases:
            began = time.time()
            done = machine.call(case["do"], timeout=240)
            if case["check"] and case["check"] not in done.stdout:
                results.append((case, "wrong", False, f"it did not happen: {done.stdout[-300:]}{done.stderr[-300:]}"))
                print(*results[-1][1:], flush=True)
                continue
            time.sleep(1.8)
            ask = case["ask"]
            if ask.startswith("@"):
                ask = machine.call(f"cat {ask[1:]}").stdout.strip() or "none"
            until = time.monotonic() + 20
            while case["name"] == "shutdown" and machine.alive() and time.monotonic() < until:
                go_on(watch.proc)
                time.sleep(0.2)
            answer = watch.why(ask)
            results.append((case, *judge(case, answer)))
            own = " ".join(name for name in case["files"] if not name.startswith("/"))
            if own and not last:
                # What goes on for ever would cost those that follow.
                machine.call(f"systemctl stop --no-block {own}; systemctl kill -s KILL {own} 2>/dev/null; true")
            if args.keep:
                with open(args.keep, "a") as out:
                    out.write(json.dumps({"case": case["name"], "answer": answer}) + "\n")
            line = results[-1]
            print(f"{line[1]:8} {'certain ' if line[2] else 'inferred'} {case['name']:34} {line[3][:150]}"
                  f" [{time.time() - began:.1f} s]", flush=True)
        usage = "gone"
        if watch.proc.poll() is None and Path(f"/proc/{watch.pid}/schedstat").exists():
            ns = int(Path(f"/proc/{watch.pid}/schedstat").read_text().split()[0])
            status = Path(f"/proc/{watch.pid}/status").read_text()
            peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
            usage = f"cpu {ns / 1e9:.2f} s, resident {peak} KiB"
        code = watch.close()
        log = (machine.dir / "watch.log").read_text(errors="replace")
        print(f"-- watch: {usage}; ended with {code}\n" + "".join(f"-- {l}\n" for l in log.splitlines()[:12]))
    return results


def main():
    # Whoever ends it has the machine ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser()
    parser.add_argument("--hence", required=True)
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--outside", action="store_true")
    parser.add_argument("--here", action="store_true")
    parser.add_argument("--logind", action="store_true", help="logind runs, and hence hears the manager on the bus")
    parser.add_argument("--root", help="another Debian's root, whose systemd it is then")
    parser.add_argument("--only")
    parser.add_argument("--keep")
    parser.add_argument("--scratch")
    args = parser.parse_args()
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
        print("skipped: needs root and systemd")
        return 77
    wanted = lambda case: not args.only or any(o in case["name"] for o in args.only.split(","))  # noqa: E731
    results = []
    cases = [case for case in ALL if wanted(case)]
    if cases:
        results += run(cases, args, False)
    for case in LAST:
        # This machine can't be shut down by its own test.
        if wanted(case) and not args.here:
            results += run([case], args, True)
    count = {word: sum(r[1] == word for r in results) for word in ("right", "partial", "wrong")}
    sure = sum(r[1] == "wrong" and r[2] for r in results)
    print(f"{len(results)} incidents: {count['right']} right, {count['partial']} partial, {count['wrong']} wrong,"
          f" {sure} of them stated as certain; without {args.without or 'nothing'},"
          f" {'here' if args.here else 'outside' if args.outside else 'inside'}")
    return 1 if count["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
