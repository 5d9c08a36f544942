#!/usr/bin/env python3
"""Alerts and metrics of `hence watch` under a real systemd with its own journald, in namespaces of its own.

    watch.py --hence target/debug/hence

Prints what it found; exit status 0, 1 where something is not as it has to be, 77 where there is no such machine."""
import argparse, json, os, signal, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "watch"))
from incidents import COLLECTOR, FOO  # noqa: E402
from machine import Machine  # noqa: E402

ROOT = Path(__file__).resolve().parents[4]
LOOP, LEAK = "9c973023a77f4220a86be64dc0354608", "1deddfe6fde44be08a3540c0cdbfc55b"
SCREEN = """[Service]
Type=oneshot
KillMode=process
ExecStart=/bin/sh -c '/bin/sleep 5000 & exit 0'
"""
FILES = {
    "aws-otel-collector.service": COLLECTOR, "foo.service": FOO, "screen.service": SCREEN,
    "/etc/hence/left-behind.conf": "screen.service /bin/sleep it is meant to\n",
    "/usr/lib/systemd/catalog/hence.catalog": (ROOT / "dist/hence.catalog").read_text(),
}
failed = []


def check(what, good, found=""):
    print(("ok    " if good else "WRONG ") + what + ("" if good else f": {found}"), flush=True)
    if not good:
        failed.append(what)


def entries(machine, *match):
    said = machine.call("journalctl -o json " + " ".join(match)).stdout
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def prometheus(page):
    """What Prometheus' own reader of OpenMetrics says, where it is installed."""
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        print("--    python3-prometheus-client is missing: its reader is not asked")
        return
    families = {f.name: f for f in text_string_to_metric_families(page)}
    check("prometheus_client reads the page", "hence_unit_restarts" in families, sorted(families))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hence", required=True)
    parser.add_argument("--page", help="keep the page of metrics here")
    args = parser.parse_args()
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
        print("needs root and systemd")
        return 77
    with Machine(FILES, args.hence) as machine:
        machine.call("journalctl --update-catalog")
        log = open(machine.dir / "watch.log", "wb")
        argv = machine.enter() + ["/run/hence-bin", "watch", "--ledger", "/var/lib/hence", "--alert-after", "5s",
                                  "--metrics", "/run/metrics.socket", "--alert-command", "cat >> /run/alerts.json"]
        watch = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")
        time.sleep(2)
        machine.call("systemctl start screen.service; systemctl start foo.service")
        until = time.monotonic() + 45
        while time.monotonic() < until:
            if entries(machine, f"MESSAGE_ID={LOOP}") and entries(machine, f"MESSAGE_ID={LEAK}"):
                break
            time.sleep(0.5)
        time.sleep(6)
        loops, leaks = entries(machine, f"MESSAGE_ID={LOOP}"), entries(machine, f"MESSAGE_ID={LEAK}")
        check("one entry for the loop", len(loops) == 1, loops)
        check("one entry for the leak", len(leaks) == 1, leaks)
        if loops and leaks:
            loop, leak = loops[0], leaks[0]
            print("--    " + loop["MESSAGE"] + "\n--    " + leak["MESSAGE"])
            check("the loop's unit", loop["UNIT"] == "aws-otel-collector.service", loop["UNIT"])
            check("its root", "exited with status 1" in loop["HENCE_ROOT"] and loop["HENCE_ROOT_KIND"] == "exit", loop)
            check("its count and period", int(loop["HENCE_TIMES"]) >= 4 and int(loop["HENCE_PERIOD_USEC"]) > 0, loop)
            check("its start limit", loop.get("HENCE_START_LIMIT") == "never", loop)
            check("its priority", loop["PRIORITY"] == "4", loop["PRIORITY"])
            check("the leak's unit", leak["UNIT"] == "foo.service", leak["UNIT"])
            check("its rule", leak["HENCE_RULE"].startswith("KillMode=process ("), leak)
        said = machine.call("journalctl -u foo.service SYSLOG_IDENTIFIER=hence -o cat").stdout
        check("journalctl -u shows it", "left processes behind" in said, said)
        said = machine.call(f"journalctl -x MESSAGE_ID={LEAK}").stdout
        check("journalctl -x explains it", "LeftBehindAllowed=yes" in said and "foo.service" in said, said)
        page = machine.call("curl -sS --unix-socket /run/metrics.socket http://hence/metrics").stdout
        if args.page:
            Path(args.page).write_text(page)
        lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        restarts = lines.get('hence_unit_restarts_total{unit="aws-otel-collector.service",cause="exit"}', "0")
        check("restarts are counted by unit and root cause", int(restarts) >= 4, page)
        check("left-over processes are counted",
              int(lines.get('hence_left_over_processes{unit="foo.service",allowed="no"}', "0")) >= 2, page)
        check("intended ones apart",
              lines.get('hence_left_over_processes{unit="screen.service",allowed="yes"}') == "1", page)
        check("no stop without a cause", lines.get("hence_unattributed_stops_total") == "0", page)
        check("sources are shown", lines.get('hence_source_available{source="manager"}') == "1", page)
        prometheus(page)
        text = machine.call("cat /run/alerts.json").stdout
        kinds = [json.loads(part + "}")["alert"] for part in text.split("\n}\n") if part.strip()]
        check("the command was told once of each", sorted(kinds) == ["leak", "loop"], kinds)
        said = machine.call("/run/hence-bin leaks").stdout
        check("leaks shows intended ones apart", "it is meant to" in said.split("Intended:")[-1], said)
        # They were told of; now it ends.
        machine.call("systemctl stop foo aws-otel-collector; systemctl reset-failed; pkill -f 'sleep 4000'")
        until = time.monotonic() + 20
        while time.monotonic() < until and not entries(machine, "HENCE_ALERT=loop-over"):
            time.sleep(0.5)
        check("the loop's end is told", len(entries(machine, "HENCE_ALERT=loop-over")) == 1)
        kids = Path(f"/proc/{watch.pid}/task/{watch.pid}/children").read_text().split()
        os.kill(int(kids[0]) if kids else watch.pid, signal.SIGTERM)
        check("it ends in order", watch.wait(20) == 0, watch.returncode)
        said = (machine.dir / "watch.log").read_text(errors="replace")
        if failed:
            print(said[-1500:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
