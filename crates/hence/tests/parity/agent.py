"""Runs inside of a machine and does what it is told, one line of JSON each way: the sequences of a batch run at
the same time, each in a thread, so that a machine has the same load under both managers. One more thread looks at
all of their units' states and jobs, again and again; each sequence waits until nothing of its own changes any more.

It prints nothing of its own and knows no difference between the managers. The steps are in `STEPS` and `play`;
whatever is none of them is a verb of systemctl.
"""
import errno
import glob
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time

TRACE = '/run/trace'
UNITS = '/etc/systemd/system/'
BASE = '/sys/fs/cgroup/unified' if os.path.isdir('/sys/fs/cgroup/unified') else '/sys/fs/cgroup'
ENVIRON = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG': 'C.UTF-8',
           'SYSTEMD_PAGER': 'cat', 'SYSTEMD_COLORS': '0'}
SHOWN = ['ActiveState', 'SubState', 'Result', 'NRestarts', 'ExecMainCode', 'ExecMainStatus', 'NAccepted', 'NRefused']
# These only where they are not what they mostly are.
SELDOM = {'LoadState': 'loaded', 'ConditionResult': 'yes', 'AssertResult': 'yes', 'StatusText': '',
          'FreezerState': 'running'}
DEPENDENCIES = ('Requires Requisite Wants BindsTo PartOf Upholds RequiredBy RequisiteOf WantedBy BoundBy ConsistsOf '
                'UpheldBy Conflicts ConflictedBy Before After OnFailure OnFailureOf OnSuccess OnSuccessOf Triggers '
                'TriggeredBy PropagatesReloadTo ReloadPropagatedFrom PropagatesStopTo StopPropagatedFrom SliceOf '
                'RequiresMountsFor').split()
# Unchanged for so long counts as at rest; a start limit or a timeout ends whatever goes on.
REST, LONGEST, BETWEEN = 0.45, 12.0, 0.06


def run(*words):
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, env=ENVIRON, timeout=40, check=False)
    except subprocess.TimeoutExpired as expired:
        return 124, (expired.stdout or b'').decode(errors='replace')
    return done.returncode, done.stdout.decode(errors='replace')


def systemctl(*words):
    return run('systemctl', *words)


def shown(units, *names):
    """What the manager shows of each unit, in the units' order."""
    _, said = systemctl('show', *(['-p', ','.join(names)] if names else []), *units)
    return [dict(line.split('=', 1) for line in block.splitlines() if '=' in line) for block in said.split('\n\n')]


class Watch:
    """The states and jobs of all that is played, looked at together: a question for each would be most of the load."""

    def __init__(self):
        self.looks, self.found, self.over = 0, {}, False
        self.changed = threading.Condition()
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while not self.over:
            _, units = systemctl('list-units', '--all', '--plain', '--no-legend', '--full', '*q[0-9]*x-*')
            _, jobs = systemctl('list-jobs', '--no-legend', '--plain', '--full')
            found = {}
            for line in units.splitlines():
                name, _, active, sub = (line.split() + ['', '', '', ''])[:4]
                if prefix := re.search(r'q\d+x', name):
                    moves = active in ('activating', 'deactivating', 'reloading', 'maintenance')
                    found.setdefault(prefix[0], []).append((name, active, sub, moves))
            for line in jobs.splitlines():
                words = line.split()
                if len(words) >= 4 and (prefix := re.search(r'q\d+x', words[1])):
                    found.setdefault(prefix[0], []).append((words[1], words[2], words[3], True))
            with self.changed:
                self.looks, self.found = self.looks + 1, found
                self.changed.notify_all()
            time.sleep(BETWEEN)

    def settle(self, prefix, end):
        """Waits until nothing changes any more; whether that was so."""
        with self.changed:
            # One that began before this question says nothing.
            first, last, since = self.looks + 2, None, 0
            while time.monotonic() < end:
                self.changed.wait(1)
                now = self.found.get(prefix, [])
                if self.looks < first or now != last or any(row[3] for row in now):
                    last, since = now, time.monotonic()
                elif time.monotonic() - since > REST:
                    return True
        return False


def settle(watch, prefix, units):
    """What is shown of all units when nothing changes any more, and whether that came to be."""
    end = time.monotonic() + LONGEST
    while True:
        quiet = watch.settle(prefix, end)
        # What bounces between two looks is seen by what counts its starts.
        rows = shown(units)
        time.sleep(0.1)
        again = shown(units, *SHOWN, 'MainPID')
        if all(row.get(name) == other.get(name) for row, other in zip(rows, again) for name in [*SHOWN, 'MainPID']):
            return rows, quiet
        if not quiet:
            return rows, False


def processes(unit, row):
    """How many processes the unit's control group has."""
    group = row.get('ControlGroup')
    if not group:
        if row.get('Slice', 'system.slice') == 'system.slice':
            group = f'/system.slice/{unit}'
        else:
            # a-b.slice is below a.slice.
            parts = row['Slice'].removesuffix('.slice').split('-')
            group = ''.join(f'/{"-".join(parts[:end + 1])}.slice' for end in range(len(parts))) + '/' + unit
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
                # Instances of accepting sockets are called after processes.
                said.setdefault(re.sub(r'@\d+-\d+-\d+\.', '@N.', unit), []).append(text)
    return {unit: lines for unit, lines in sorted(said.items())}


def connect(name):
    """Traffic for a socket unit: what came of it."""
    path = f'/run/sock-{name}'
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(pipe, b'x\n')
            os.close(pipe)
            return 'written'
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as client:
                client.settimeout(2)
                try:
                    client.connect(path)
                    client.send(b'x\n')
                    return 'connected'
                except OSError as error:
                    if error.errno != errno.EPROTOTYPE:
                        raise
        return 'of no kind'
    except OSError as error:
        # Whether the other side is already gone when we write is chance.
        return 'connected' if error.errno in (errno.EPIPE, errno.ECONNRESET) else errno.errorcode.get(error.errno, 'error')


def main_signal(words):
    """A signal to the main process from outside."""
    pid = int(shown(words[1:2], 'MainPID')[0].get('MainPID') or 0)
    if pid:
        try:
            os.kill(pid, int(words[0]))
        except ProcessLookupError:
            pass
    return []


def write(words):
    path = UNITS + words[0]
    if os.path.islink(path):
        os.unlink(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'a', encoding='utf-8') as file:
        file.write(' '.join(words[1:]).replace('\\n', '\n') + '\n')
    return None


def remove(words):
    if os.path.lexists(UNITS + words[0]):
        os.unlink(UNITS + words[0])
    return None


def hint(words):
    """What a path unit waits for: a file of its own, or one in a folder."""
    path = f'/run/hint-{words[0]}'
    if os.path.isdir(path):
        path += '/inside'
    with open(path, 'a', encoding='utf-8') as file:
        file.write('x')
    return []


def unhint(words):
    path = f'/run/hint-{words[0]}'
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)
    return []


def fill(words):
    path = f'/run/hint-{words[0]}'
    if not os.path.exists(path):
        os.mkdir(path)
    return hint(words)


def say(words):
    rows = shown(words[:1], *words[1].split(','))
    return [f'  = {name}={value}' for name, value in sorted(rows[0].items())]


def deps(words):
    rows = shown(words[:1], *DEPENDENCIES)
    return [f'  = {name}={" ".join(sorted(value.split()))}' for name, value in sorted(rows[0].items()) if value]


def transient(words):
    name, *properties, command = words
    script = f'echo {name} main >> {TRACE}; exec {command.replace("_", " ")}'
    status, _ = run('systemd-run', '--quiet', f'--unit={name}', '--property=TimeoutStopSec=800ms',
                    *(f'--property={row}' for row in properties), '/bin/sh', '-c', script)
    return [f'  exit {status}']


def unmount(words):
    prefix, letter = re.match(r'run-(q\d+x)-(\w)\.mount', words[0]).groups()
    status, _ = run('umount', f'/run/{prefix}/{letter}')
    return [f'  exit {status}']


# None says that nothing came of it yet.
STEPS = {'main': main_signal, 'write': write, 'remove': remove, 'touch': hint, 'unlink': unhint, 'fill': fill,
         'say': say, 'deps': deps, 'transient': transient, 'umount': unmount,
         'connect': lambda words: ['  ' + connect(words[0])]}


def play(watch, prefix, units, steps):
    """The trace of one sequence."""
    trace, seen = [], {}
    for step in steps:
        trace.append('> ' + step)
        verb, *words = step.split()
        if verb in STEPS:
            lines = STEPS[verb](words)
            if lines is None:
                continue
            trace.extend(lines)
        else:
            status, said = systemctl(verb, *words)
            trace.append(f'  exit {status}')
            if verb.startswith('is-'):
                trace.extend('  = ' + line for line in said.splitlines())
        if '--no-block' in words:
            continue
        rows, quiet = settle(watch, prefix, units)
        if not quiet:
            # Nothing is determined from here on, and a manager that is busy with these has no time for the others.
            trace.append('  does not come to rest')
            end(units)
            break
        for unit, row in zip(units, rows):
            facts = [f'{name}={row[name]}' for name in SHOWN if name in row]
            facts += [f'{name}={row[name]}' for name, mostly in SELDOM.items() if row.get(name, mostly) != mostly]
            trace.append(f'  {unit}: {" ".join(facts)} processes={processes(unit, row)}')
        for unit, lines in payloads(prefix).items():
            trace.extend(f'    | {unit} {line}' for line in lines[seen.get(unit, 0):])
            seen[unit] = len(lines)
    return trace


def batch(sequences):
    """All of them at the same time: their traces by prefix."""
    traces, watch = {}, Watch()

    def one(sequence):
        try:
            traces[sequence['prefix']] = play(watch, sequence['prefix'], sequence['units'], sequence['steps'])
        except Exception as error:  # Told to the one who asked; the others go on.
            traces[sequence['prefix']] = [f'agent: {error!r}']

    threads = [threading.Thread(target=one, args=(sequence,)) for sequence in sequences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch.over = True
    return traces


def end(units):
    systemctl('thaw', *[unit for unit in units if unit.endswith('.service')])
    systemctl('kill', '--signal=KILL', *units)
    systemctl('stop', '--job-mode=replace-irreversibly', *units)
    systemctl('reset-failed', *units)


def clean(units):
    """Ends all that a batch leaves and takes its files away."""
    end(units)
    for prefix in {re.search(r'q\d+x', unit)[0] for unit in units}:
        for mounted in glob.glob(f'/run/{prefix}/*'):
            run('umount', '-l', mounted)
        for folder in ('/run/systemd/system', '/run/systemd/system.control', '/run/systemd/transient', UNITS,
                       '/etc/systemd/system.control', '/run'):
            for left in glob.glob(f'{folder}/*{prefix}*') + glob.glob(f'{folder}/*.wants/*{prefix}*') + \
                    glob.glob(f'{folder}/*.requires/*{prefix}*'):
                if os.path.isdir(left) and not os.path.islink(left):
                    shutil.rmtree(left, ignore_errors=True)
                elif os.path.lexists(left):
                    os.unlink(left)
    systemctl('start', 'default.target')


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        answer = {}
        if asked['what'] == 'systemctl':
            status, said = systemctl(*asked['words'])
            answer = {'status': status, 'said': said}
        elif asked['what'] == 'clean':
            clean(asked['units'])
        else:
            answer = batch(asked['sequences'])
        print(json.dumps(answer), flush=True)


main()
