#!/usr/bin/env python3
"""Records what the real systemd makes of the settings of cases.txt.

    record.py RIG.PY

Each block of cases.txt has settings, and indented the calls that end otherwise than without any setting; those are
written anew. RIG.PY runs a systemd of its own: see its head.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

here = Path(__file__).parent
head, *blocks = (here / "cases.txt").read_text().rstrip("\n").split("\n\n")
cases = [[line for line in block.splitlines() if not line.startswith(" ")] for block in blocks]
files = ["-- /usr/local/bin/probe --", (here / "probe.py").read_text()]
steps = ["-- steps --"]
for number, settings in enumerate([[], *cases]):
    files += [f"-- c{number}.service --", "[Service]", "Type=oneshot"]
    files += [f"ExecStart=/usr/local/bin/probe /run/trace c{number}", *settings]
    steps.append(f"start c{number}.service")
with tempfile.NamedTemporaryFile("w", suffix=".scn") as scenario:
    scenario.write("\n".join([*steps, *files]) + "\n")
    scenario.flush()
    said = subprocess.run([sys.argv[1], "show", scenario.name], capture_output=True, text=True, check=True).stdout
found = {}
for line in said.splitlines():
    if line.startswith("  | c") and ": " in line:
        unit, rest = line[4:].split(" ", 1)
        key, value = rest.split(": ", 1)
        found.setdefault(unit, {})[key] = value
text = [head]
for number, settings in enumerate(cases, 1):
    own = found.get(f"c{number}") or sys.exit(f"{settings} did not run to its end")
    other = [f"    {key}: {value}" for key, value in own.items() if found["c0"].get(key) != value]
    text.append("\n".join(settings + other))
(here / "cases.txt").write_text("\n\n".join(text) + "\n")
