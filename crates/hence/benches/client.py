#!/usr/bin/env python3
"""What one question of the stock systemctl costs: `is-active` and `show`, of systemd and of hence in one run.

Each manager is process 1 of namespaces of its own with one service up. The clients run one after the other; the
manager's own CPU is the kernel's account of all its threads, in ns. It doesn't measure questions to many units.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests' / 'parity'))
from machine import SYSTEMD, Machine  # noqa: E402

UNIT = '[Unit]\nDescription=Sleeps\n[Service]\nExecStart=/bin/sleep infinity\n'


def cpu_ns(pid):
    """CPU of all threads so far."""
    return sum(int((task / 'schedstat').read_text().split()[0]) for task in Path(f'/proc/{pid}/task').iterdir())


def ask(machine, verb, calls, pause):
    """Means over the calls: ms for the person who asks, with the client's own start; us of the manager's CPU."""
    rest = f'sleep {pause}' if pause else ':'
    script = f'for call in $(seq {calls}); do systemctl {verb} sleeps.service || exit; {rest}; done'
    own, begin = cpu_ns(machine.first), time.monotonic_ns()
    subprocess.run(['nsenter', '-t', str(machine.first), '-p', '-m', '-n', 'bash', '-c', script],
                   stdout=subprocess.DEVNULL, check=True)
    took = (time.monotonic_ns() - begin) / calls / 1e6 - pause * 1e3
    return took, (cpu_ns(machine.first) - own) / calls / 1e3


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--hence', required=True, help='the program, as built')
    options.add_argument('--calls', type=int, default=200)
    options.add_argument('--rounds', type=int, default=5)
    options.add_argument('--pause', type=float, default=0, help='seconds between two clients')
    options = options.parse_args()
    if os.geteuid():
        raise SystemExit('client.py: needs root, for namespaces')
    managers = {'systemd': SYSTEMD, 'hence': f'{os.path.abspath(options.hence)} init'}
    found = {}
    for turn in range(options.rounds):
        for name, command in managers.items():
            with Machine(command) as machine:
                (machine.units / 'sleeps.service').write_text(UNIT)
                for words in (['daemon-reload'], ['start', 'sleeps.service']):
                    machine.call('systemctl', words=words)
                # What follows a start is not the questions' cost.
                time.sleep(1)
                for verb in ('is-active', 'show'):
                    ms, us = ask(machine, verb, options.calls, options.pause)
                    found.setdefault((verb, name), []).append((ms, us))
                    print(f'round {turn}: {verb:9} {name:7} {ms:6.2f} ms {us:8.1f} us', flush=True)
    for (verb, name), rows in found.items():
        us = sorted(us for _, us in rows)
        print(f'{verb:9} {name:7} {statistics.median(ms for ms, _ in rows):6.2f} ms, of the manager '
              f'{statistics.median(us):.0f} us ({us[0]:.0f} to {us[-1]:.0f})')


if __name__ == '__main__':
    main()
