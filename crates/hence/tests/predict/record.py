#!/usr/bin/env python3
"""Records what the unit sets beside this do under a real systemd, for `cargo test -p hence --test predict`.

    record.py RIG.PY [SET...]     run the sets (default: all) and write sets/NAME.recorded

RIG.PY is the program that boots the real systemd as process 1 of its own namespaces (see CONTRIBUTING.md); it
needs root. Each set runs for the time that it says, counted from the moment its units are started or, where
it has a request, from that. Recorded are for each unit how often its program started, NRestarts, its state
at the end, how many processes are in its control group and how many of these are orphans; the order in which
programs started (+), were told to end (-) and ended by themselves (!), with their times; and when TasksMax=
was reached. A busy machine is late: look at the times before they are committed.
"""
import importlib.util, json, re, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHOWN = ["Id", "NRestarts", "ActiveState", "SubState", "Result", "MainPID"]
CLIENT = """perl -MIO::Socket::UNIX -MTime::HiRes=sleep -e 'while (1) { sleep %s;
  my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "%s"); }' >/dev/null 2>&1 </dev/null &"""


def sections(path):
    found, name = {}, None
    for line in path.read_text().splitlines():
        m = re.fullmatch(r"-- (.+) --", line)
        if m:
            name = m[1]
            found[name] = ""
        elif name:
            found[name] += line + "\n"
    return found


def watch(units):
    """A loop that notes when TasksMax= of a unit is reached."""
    return "".join(f"""
( while sleep 0.05; do for d in pids unified .; do
    f=/sys/fs/cgroup/$d/system.slice/{unit}/pids.current
    [ -r $f ] && [ "$(cat $f)" -ge {most} ] && {{ date +%s.%N > /run/reached; exit; }}
  done; done ) >/dev/null 2>&1 </dev/null &
""" for unit, most in units)


def record(rig, path):
    parts = sections(path)
    start, asked = parts.pop("start").split(), parts.pop("ask", "").split()
    sentences, seconds = parts.pop("if", ""), float(parts.pop("for"))
    units = sorted(name for name in parts if "/" not in name)
    files = dict(parts, **{"/opt/payload": (HERE / "payload.pl").read_text()})
    limited = [(u, re.search(r"^TasksMax=(\d+)", t, re.M)) for u, t in parts.items()]
    client = re.search(r"traffic on (\S+) every (\d+)s", sentences)
    listens = client and re.search(r"ListenStream=(\S+)", parts[client[1]])[1]
    ask = f"sleep 1; : > /run/trace; date +%s.%N > /run/begin; systemctl --no-block {' '.join(asked)}" if asked else ":"
    script = f"""
date +%s.%N > /run/begin
{CLIENT % (client[2], listens) if client else ':'}
systemctl start --no-block {' '.join(start)}
{watch([(u, m[1]) for u, m in limited if m])}
{ask}
python3 -c 'import time, sys; b = float(open("/run/begin").read()); time.sleep(max(0, b + {seconds} - time.time()))'
systemctl show -p {','.join(SHOWN)} {' '.join(units)}
echo ----
for root in /sys/fs/cgroup/unified /sys/fs/cgroup; do
  [ -d $root/system.slice ] || continue
  for u in {' '.join(units)}; do
    for p in $(cat $root/system.slice/$u/cgroup.procs 2>/dev/null); do echo $u $p $(cut -d' ' -f4 /proc/$p/stat); done
  done
  break
done
echo ----
cat /run/begin /run/trace
echo ----
cat /run/reached 2>/dev/null
"""
    with rig.Machine(rig.ORACLE, files) as m:
        out = m.call(script, timeout=seconds + 60).stdout
        shown, groups, trace, reached = out.split("----\n")
        members = [line.split() for line in groups.splitlines()]
        begin, *lines = trace.splitlines()
        begin = float(begin)
        events = [[line.split()[0], round(float(line.split()[1]) - begin, 3)] for line in lines]
        found = {}
        for block in shown.split("\n\n"):
            d = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            name = d["Id"]
            own = [(pid, parent) for unit, pid, parent in members if unit == name]
            stem = name.rsplit(".", 1)[0]
            found[name] = {
                "starts": sum(1 for e, _ in events if e == "+" + stem),
                "n_restarts": int(d.get("NRestarts", 0)),
                "state": d["ActiveState"], "sub": d["SubState"], "result": d.get("Result", "success"),
                "processes": len(own),
                "orphans": sum(1 for pid, parent in own if parent == "1" and pid != d.get("MainPID")),
            }
        version = m.call("systemctl --version").stdout.split()[1]
    kept = {"systemd": version, "units": found, "events": events}
    if reached.strip():
        kept["tasks_max_reached_s"] = round(float(reached) - begin, 3)
    return kept


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    spec = importlib.util.spec_from_file_location("rig", sys.argv[1])
    rig = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rig)
    for path in [HERE / "sets" / f"{n}.set" for n in sys.argv[2:]] or sorted((HERE / "sets").glob("*.set")):
        kept = record(rig, path)
        lines = ",\n".join(f"    {json.dumps(n)}: {json.dumps(u)}" for n, u in kept["units"].items())
        events = ",\n".join("    " + json.dumps(e) for e in kept["events"])
        rest = "".join(f',\n  "{k}": {json.dumps(v)}' for k, v in kept.items() if k not in ("units", "events"))
        text = f'{{\n  "units": {{\n{lines}\n  }},\n  "events": [\n{events}\n  ]{rest}\n}}\n'
        path.with_suffix(".recorded").write_text(text)
        print(path.stem, kept["units"], len(kept["events"]), "events", flush=True)


if __name__ == "__main__":
    main()
