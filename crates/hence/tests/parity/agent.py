"""Runs inside of a machine and does what it is told, one line of JSON each way: the sequences of a batch run at
the same time, each in a thread, so that a machine has the same load under both managers.

It prints nothing of its own and knows no difference between the managers.
"""
import json
import os
import subprocess
import sys
import threading
import time

TRACE = '/run/trace'
BASE = '/sys/fs/cgroup/unified' if os.path.isdir('/sys/fs/cgroup/unified') else '/sys/fs/cgroup'
ENVIRON = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8',
           'SYSTEMD_PAGER': 'cat', 'SYSTEMD_COLORS': '0'}
SHOWN = ['ActiveState', 'SubState', 'Result', 'NRestarts', 'ExecMainCode', 'ExecMainStatus', 'Job', 'MainPID',
         'ControlGroup', 'LoadState']
# Unchanged for so long counts as at rest; a start limit or a timeout ends whatever goes on.
REST, LONGEST = 0.45, 14.0


def systemctl(*words):
    try:
        done = subprocess.run(['systemctl', *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=ENVIRON, timeout=40, check=False)
    except subprocess.TimeoutExpired as expired:
        return 124, (expired.stdout or b'').decode(errors='replace')
    return done.returncode, done.stdout.decode(errors='replace')


def states(units):
    """What the manager shows of each unit."""
    _, said = systemctl('show', '-p', 'Id,' + ','.join(SHOWN), *units)
    found = {}
    for block in said.split('\n\n'):
        row = dict(line.split('=', 1) for line in block.splitlines() if '=' in line)
        if 'Id' in row:
            found[row['Id']] = row
    return found


def settle(units):
    """Waits until nothing changes any more; whether that was so."""
    last, since, end = None, time.monotonic(), time.monotonic() + LONGEST
    while time.monotonic() < end:
        now = states(units)
        moves = any(row.get('Job', '0') not in ('', '0') or row.get('ActiveState') in ('activating', 'deactivating')
                    for row in now.values())
        if now != last or moves:
            last, since = now, time.monotonic() if now != last else since
            if not moves:
                since = time.monotonic()
        elif time.monotonic() - since > REST:
            return now, True
        time.sleep(0.06)
    return states(units), False


def processes(unit, row):
    """How many processes the unit's control group has."""
    group = row.get('ControlGroup') or f'/system.slice/{unit}'
    try:
        with open(f'{BASE}{group}/cgroup.procs', encoding='ascii') as file:
            return len(file.read().split())
    except OSError:
        return 0


def payloads(prefix):
    """What the sequence's programs said so far, unit by unit, in each one's order."""
    said = {}
    with open(TRACE, encoding='utf-8', errors='replace') as file:
        for line in file:
            unit, _, text = line.rstrip('\n').partition(' ')
            if line.endswith('\n') and unit.startswith(prefix):
                said.setdefault(unit, []).append(text)
    return said


def play(prefix, units, steps):
    """The trace of one sequence."""
    trace, seen = [], {}
    for step in steps:
        trace.append('> ' + step)
        verb, *words = step.split()
        if verb == 'main':
            # A signal to the main process from outside.
            pid = int(states(words[1:]).get(words[1], {}).get('MainPID') or 0)
            if pid:
                try:
                    os.kill(pid, int(words[0]))
                except ProcessLookupError:
                    pass
        elif verb == 'write':
            with open('/etc/systemd/system/' + words[0], 'a', encoding='utf-8') as file:
                file.write(' '.join(words[1:]).replace('\\n', '\n') + '\n')
            continue
        else:
            status, said = systemctl(verb, *words)
            trace.append(f'  exit {status}')
            if verb.startswith('is-'):
                trace.extend('  = ' + line for line in said.splitlines())
        if '--no-block' in words:
            continue
        rows, quiet = settle(units)
        if not quiet:
            trace.append('  does not come to rest')
        said = payloads(prefix)
        for unit in units:
            row = rows.get(unit, {})
            shown = ' '.join(f'{name}={row[name]}' for name in SHOWN[:6] if name in row)
            trace.append(f'  {unit}: {shown} processes={processes(unit, row)}')
            lines = said.get(unit, [])
            trace.extend(f'    | {unit} {line}' for line in lines[seen.get(unit, 0):])
            seen[unit] = len(lines)
    return trace


def batch(sequences):
    """All of them at the same time: their traces by prefix."""
    traces = {}

    def one(sequence):
        try:
            traces[sequence['prefix']] = play(sequence['prefix'], sequence['units'], sequence['steps'])
        except Exception as error:  # Told to the one who asked; the others go on.
            traces[sequence['prefix']] = [f'agent: {error!r}']

    threads = [threading.Thread(target=one, args=(sequence,)) for sequence in sequences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return traces


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        if asked['what'] == 'systemctl':
            status, said = systemctl(*asked['words'])
            answer = {'status': status, 'said': said}
        else:
            answer = batch(asked['sequences'])
        print(json.dumps(answer), flush=True)


main()
