#!/usr/bin/env python3
"""Random small sets of units and random sequences of requests and faults, run under the real systemd and under
hence, and compared.

    parity.py fuzz HENCE [--seed N] [--count N | --for SECONDS] [--keep DIR]
    parity.py run HENCE FILE...        the sequences of these files, compared
    parity.py show HENCE FILE          both traces of one
    parity.py make SEED                prints one sequence

HENCE is the program, `hence init` is what runs. What is compared: the exit status of each request; then, when all
has come to rest, what `systemctl show` says of each unit, how many processes its control group has, and what its
programs wrote, in each unit's order. A difference counts when it is there in each of three repetitions, in none of
which systemd's trace was one of hence's: two things that happen at the same time may well end in two ways. It is then
made as small as it can be made, and kept as a file.

Needs root, namespaces and systemd; exit status 77 where they lack, 1 with differences.
"""
import argparse
import difflib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from machine import SYSTEMD, Machine  # noqa: E402

TOGETHER = 8
REPEATS = 3
UNIT = re.compile(r'\b([a-e])\.(service|target|socket|timer|path)\b')


# What programs do. Each says on the trace that it ran; `sleep 9999` is what goes on.
def say(word):
    return f'echo %n {word} >> /run/trace'


def program(chance, kind):
    """A command line for ExecStart=."""
    stays = [
        f"{say('main')}; exec sleep 9999",
        f"{say('main')}; exec sleep 9999",
        f"trap '{say('term')}; exit 0' TERM; {say('main')}; while :; do sleep 0.1; done",
        f"trap '{say('term')}; exit 3' TERM; {say('main')}; while :; do sleep 0.1; done",
        f"trap '' TERM; {say('main')}; while :; do sleep 0.2; done",
        f"{say('main')}; sleep 9999 & exec sleep 9999",
        f"{say('main')}; setsid sleep 9999 & exec sleep 9999",
    ]
    ends = [
        f"{say('main')}; exit 0",
        f"{say('main')}; exit 1",
        f"{say('main')}; exit {chance.choice([2, 7, 200])}",
        f"{say('main')}; sleep 0.4; exit {chance.choice([0, 0, 1])}",
        f"{say('main')}; kill -{chance.choice(['KILL', 'TERM', 'ABRT', 'HUP'])} $$$$",
        f"{say('main')}; sleep 9999 & exit {chance.choice([0, 1])}",
    ]
    if kind == 'oneshot':
        body = chance.choice(ends[:4] + ends)
    elif kind == 'forking':
        body = chance.choice([f"{say('main')}; sleep 9999 & exit 0", f"{say('main')}; exit 1",
                              f"{say('main')}; (sleep 0.4; exit 1) & exit 0", f"{say('main')}; exit 0"])
    elif kind == 'notify':
        body = chance.choice([f"{say('main')}; systemd-notify --ready; exec sleep 9999",
                              f"{say('main')}; systemd-notify --ready; sleep 0.3; exit 1",
                              f"{say('main')}; exit 0", f"{say('main')}; exec sleep 9999"])
    else:
        body = chance.choice(stays + stays + ends)
    return f'/bin/sh -c "{body}"'


def side(chance, word):
    """A command line for the other Exec directives."""
    end = chance.choice(['true', 'true', 'true', 'exit 1', 'sleep 0.2', 'kill -KILL $$$$'])
    return chance.choice(['', '', '-']) + f'/bin/sh -c "{say(word)}; {end}"'


def maybe(chance, share):
    return chance.random() < share


def service(chance):
    kind = chance.choice(['simple', 'simple', 'exec', 'oneshot', 'oneshot', 'forking', 'notify'])
    lines = [f'Type={kind}']
    if kind == 'oneshot' and maybe(chance, 0.25):
        lines.append('ExecStart=' + program(chance, kind))
    lines.append('ExecStart=' + program(chance, kind))
    if kind == 'notify':
        lines.append('NotifyAccess=all')
    # Long enough for a loaded machine, short enough to be waited for.
    lines += ['TimeoutStartSec=2', 'TimeoutStopSec=1.5', 'RestartSec=' + chance.choice(['0', '100ms', '300ms'])]
    restarts = ['no', 'on-failure', 'always', 'on-abnormal', 'on-success', 'on-abort']
    if kind == 'oneshot':
        restarts = ['no', 'on-failure', 'on-abnormal', 'on-abort']
    lines.append('Restart=' + chance.choice(restarts))
    for share, make in [
            (0.3, lambda: 'RemainAfterExit=yes'),
            (0.4, lambda: 'KillMode=' + chance.choice(['process', 'mixed', 'none', 'control-group'])),
            (0.15, lambda: 'KillSignal=' + chance.choice(['SIGINT', 'SIGHUP', 'SIGKILL', 'SIGUSR1'])),
            (0.1, lambda: 'SendSIGKILL=no'),
            (0.1, lambda: 'SendSIGHUP=yes'),
            (0.15, lambda: 'SuccessExitStatus=' + chance.choice(['1', '7 SIGKILL', 'SIGABRT', '3'])),
            (0.1, lambda: 'RestartPreventExitStatus=' + chance.choice(['1', 'SIGKILL', '7'])),
            (0.1, lambda: 'RestartForceExitStatus=' + chance.choice(['0', '1', 'SIGTERM'])),
            (0.2, lambda: 'ExecStartPre=' + side(chance, 'pre')),
            (0.2, lambda: 'ExecStartPost=' + side(chance, 'post')),
            (0.2, lambda: 'ExecStop=' + side(chance, 'stop')),
            (0.2, lambda: 'ExecStopPost=' + side(chance, 'stoppost')),
            (0.2, lambda: 'ExecReload=' + side(chance, 'reload')),
            (0.1, lambda: f'ExecCondition=/bin/sh -c "{say("condition")}; exit {chance.choice([0, 0, 1, 255])}"'),
            (0.08, lambda: 'ExecStart=/bin/nothing-there' if kind == 'oneshot' else 'ExecStartPre=/bin/nothing-there'),
            (0.06, lambda: 'RuntimeMaxSec=1'),
            (0.06, lambda: 'GuessMainPID=no'),
            (0.06, lambda: 'TimeoutStartFailureMode=' + chance.choice(['abort', 'kill'])),
            (0.05, lambda: 'OOMPolicy=stop'),
            (0.05, lambda: 'ExitType=cgroup' if kind not in ('oneshot', 'forking') else 'ExitType=main'),
            (0.05, lambda: 'User=nobody'),
    ]:
        if maybe(chance, share):
            lines.append(make())
    return lines


def of_others(chance, own, names, ranks):
    """Dependencies on others. Orderings make no cycles: which of its jobs a manager gives up is its own affair."""
    lines = []

    def order(other):
        return f'{"After" if ranks[other] < ranks[own] else "Before"}={other}'

    others = [name for name in names if name != own]
    kinds = ['Requires', 'Requires', 'Wants', 'Wants', 'BindsTo', 'PartOf', 'Requisite', 'Conflicts', 'OnFailure',
             'OnSuccess', 'PropagatesStopTo', 'StopPropagatedFrom', 'PropagatesReloadTo', 'ReloadPropagatedFrom',
             'Upholds', 'After', 'Before']
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        if not others:
            break
        kind, other = chance.choice(kinds), chance.choice(others)
        lines.append(order(other) if kind in ('After', 'Before') else f'{kind}={other}')
        if kind not in ('After', 'Before', 'OnFailure', 'OnSuccess') and maybe(chance, 0.6):
            lines.append(order(other))
    return lines


def unit(chance, name, names, ranks):
    common = of_others(chance, name, names, ranks)
    for share, line in [(0.08, 'StopWhenUnneeded=yes'), (0.05, 'RefuseManualStop=yes'), (0.05, 'RefuseManualStart=yes'),
                        (0.05, 'ConditionPathExists=/nothing'), (0.05, 'AssertPathExists=/nothing'),
                        (0.04, 'JobTimeoutSec=1'), (0.1, 'DefaultDependencies=no'),
                        (0.05, 'ConditionPathExists=|/nothing\nConditionPathExists=|/etc')]:
        if maybe(chance, share):
            common.append(line)
    # Whatever restarts comes to an end.
    common += [f'StartLimitIntervalSec={chance.choice([100, 100, 1000])}',
               f'StartLimitBurst={chance.choice([2, 3, 4])}'] if name.endswith('.service') else []
    text = '[Unit]\n' + ''.join(line + '\n' for line in common)
    kind = name.rpartition('.')[2]
    if kind == 'service':
        text += '[Service]\n' + ''.join(line + '\n' for line in service(chance))
    elif kind == 'timer':
        text += f'[Timer]\nOnActiveSec={chance.choice(["200ms", "500ms"])}\nAccuracySec=1ms\n'
        text += 'RemainAfterElapse=no\n' if maybe(chance, 0.2) else ''
    elif kind == 'path':
        text += f'[Path]\n{chance.choice(["PathExists", "PathExistsGlob"])}=/run/hint-{name}\n'
    return text


def make(seed):
    """One sequence: its files and its steps."""
    chance = random.Random(seed)
    letters = 'abcde'[:chance.choice([1, 2, 2, 3, 3, 4, 5])]
    names = [f'{letter}.{chance.choice(["service"] * 7 + ["target"])}' for letter in letters]
    if maybe(chance, 0.12) and names[0].endswith('.service') and len(names) > 1:
        names[-1] = 'a.timer'
    ranks = dict(zip(names, chance.sample(range(len(names)), len(names))))
    files = {name: unit(chance, name, names, ranks) for name in names}
    steps = []
    for _ in range(chance.randint(2, 6)):
        name = chance.choice(names)
        more = ' ' + chance.choice(names) if maybe(chance, 0.1) else ''
        services = [name for name in names if name.endswith('.service')] or names
        pick = chance.random()
        if pick < 0.38:
            steps.append(f'start {name}{more}')
        elif pick < 0.52:
            steps.append(f'stop {name}{more}')
        elif pick < 0.62:
            steps.append(f'restart {name}{more}')
        elif pick < 0.67:
            steps.append(chance.choice(['try-restart', 'reload', 'reload-or-restart', 'try-reload-or-restart']) + f' {name}')
        elif pick < 0.76:
            steps.append(f'main {chance.choice([9, 15, 6, 1])} {chance.choice(services)}')
        elif pick < 0.82:
            who = chance.choice(['', '--kill-who=main ', '--kill-who=all '])
            steps.append(f'kill {who}--signal={chance.choice(["TERM", "KILL", "HUP"])} {chance.choice(services)}')
        elif pick < 0.86:
            steps.append(f'reset-failed {name}')
        elif pick < 0.92:
            mode = chance.choice(['fail', 'ignore-dependencies', 'ignore-requirements', 'replace-irreversibly'])
            steps.append(f'{chance.choice(["start", "stop", "restart"])} --job-mode={mode} {name}')
        elif pick < 0.96:
            other = chance.choice(names)
            steps.append(f'{chance.choice(["start", "stop", "restart"])} --no-block {name}')
            steps.append(f'{chance.choice(["start", "stop", "restart"])} {other}')
        else:
            steps.append(f'write {chance.choice(names)} [Unit]\\nDescription=edited')
            steps.append('daemon-reload')
    return files, steps


def text_of(files, steps):
    return ''.join(f'-- {name} --\n{text}' for name, text in files.items()) + '-- steps --\n' + '\n'.join(steps) + '\n'


def parse(text):
    files, steps, name = {}, [], None
    for line in text.splitlines():
        if found := re.fullmatch(r'-- (.+) --', line):
            name = found[1]
            if name != 'steps':
                files[name] = ''
        elif name == 'steps':
            if line.strip() and not line.startswith('#'):
                steps.append(line)
        elif name:
            files[name] += line + '\n'
    return files, steps


class Pair:
    """Both machines, one beside the other."""

    def __init__(self, hence):
        self.both = [Machine(f'{hence} init'), Machine(SYSTEMD)]
        self.runs = 0

    def __enter__(self):
        for machine in self.both:
            machine.__enter__()
        return self

    def __exit__(self, *_):
        for machine in self.both:
            machine.__exit__()

    def play(self, sequences):
        """The traces of each, ours and systemd's. Names are new each time: managers remember."""
        asked = []
        for files, steps in sequences:
            self.runs += 1
            prefix = f'q{self.runs}x'

            def named(text, prefix=prefix):
                return UNIT.sub(lambda found: f'{prefix}-{found[1]}.{found[2]}', text)

            for machine in self.both:
                for name, text in files.items():
                    (machine.units / named(name)).write_text(named(text))
            asked.append({'prefix': prefix, 'units': [named(name) for name in files],
                          'steps': [named(step) for step in steps]})

        def one(machine):
            machine.call('systemctl', words=['daemon-reload'])
            traces = machine.call('batch', sequences=asked)
            units = [name for sequence in asked for name in sequence['units']]
            machine.call('systemctl', words=['kill', '--signal=KILL', *units])
            machine.call('systemctl', words=['stop', '--job-mode=replace-irreversibly', *units])
            machine.call('systemctl', words=['reset-failed', *units])
            for name in units:
                (machine.units / name).unlink(missing_ok=True)
            return [[line.replace(s['prefix'] + '-', '') for line in traces[s['prefix']]] for s in asked]

        with ThreadPoolExecutor(2) as pool:
            ours, theirs = pool.map(one, self.both)
        return list(zip(ours, theirs))

    def differ(self, sequence, repeats=REPEATS):
        """The two traces where they differ each time, else nothing."""
        ours, theirs, last = set(), set(), None
        for _ in range(repeats):
            for mine, real in self.play([sequence]):
                ours.add(tuple(mine))
                theirs.add(tuple(real))
                last = (mine, real)
            if ours & theirs:
                return None
        return last


def smaller(files, steps):
    """All that is one thing less."""
    for index in range(len(steps)):
        if len(steps) > 1:
            yield files, steps[:index] + steps[index + 1:]
    for name in files:
        if len(files) > 1 and not any(name in step for step in steps):
            yield {other: text for other, text in files.items() if other != name}, steps
    for name, text in files.items():
        lines = text.splitlines(keepends=True)
        starts = sum(line.startswith('ExecStart=') for line in lines)
        for index, line in enumerate(lines):
            if line.startswith('[') or (line.startswith('ExecStart=') and starts == 1) or line.startswith('Timeout'):
                continue
            yield {**files, name: ''.join(lines[:index] + lines[index + 1:])}, steps


def minimise(pair, files, steps, until):
    """The smallest that still differs, as far as time allows."""
    last = pair.differ((files, steps))
    again = True
    while again and last and time.monotonic() < until:
        again = False
        for less in smaller(files, steps):
            if time.monotonic() > until:
                break
            found = pair.differ(less, 2)
            if found:
                (files, steps), last, again = less, found, True
                break
    return files, steps, last


def difference(ours, theirs):
    return '\n'.join(difflib.unified_diff(theirs, ours, 'systemd', 'hence', lineterm='', n=40))


def fuzz(hence, args):
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), 'big')
    print(f'seed {seed}', flush=True)
    begun = time.monotonic()
    played, either, found = 0, 0, []
    with Pair(hence) as pair:
        while (time.monotonic() - begun < args.seconds) if args.seconds else played < args.count:
            seeds = [f'{seed}-{played + index}' for index in range(TOGETHER)]
            sequences = [make(one) for one in seeds]
            for name, sequence, (ours, theirs) in zip(seeds, sequences, pair.play(sequences)):
                if ours == theirs:
                    continue
                if not pair.differ(sequence):
                    either += 1
                    continue
                files, steps, last = minimise(pair, *sequence, time.monotonic() + args.minimise)
                if not last:
                    either += 1
                    continue
                found.append(name)
                print(f'\n== {name}\n{text_of(files, steps)}\n{difference(*last)}', flush=True)
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f'{name}.scn').write_text(text_of(files, steps))
            played += len(seeds)
    minutes = (time.monotonic() - begun) / 60
    print(f'parity: {played} sequences in {minutes:.1f} min, {len(found)} differ; {either} may end in two ways')
    return 1 if found else 0


def rerun(hence, paths, show):
    wrong = 0
    with Pair(hence) as pair:
        for path in paths:
            sequence = parse(path.read_text())
            last = pair.play([sequence])[0] if show else pair.differ(sequence)
            wrong += bool(last) and not show
            if show:
                print('\n'.join(last[0]))
            print(f'{"FAIL" if last and not show else "ok  "} {path.stem}')
            if last:
                print(difference(*last), flush=True)
    print(f'parity: {len(paths) - wrong} sequences end as under systemd, {wrong} do not')
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest='verb', required=True)
    verb = verbs.add_parser('fuzz')
    verb.add_argument('hence', type=Path)
    verb.add_argument('--seed', type=int)
    verb.add_argument('--count', type=int, default=200)
    verb.add_argument('--for', dest='seconds', type=float)
    verb.add_argument('--keep', type=Path)
    verb.add_argument('--minimise', type=float, default=120, help='seconds for each difference')
    for name in ('run', 'show'):
        verb = verbs.add_parser(name)
        verb.add_argument('hence', type=Path)
        verb.add_argument('file', type=Path, nargs='+')
    verbs.add_parser('make').add_argument('seed')
    args = parser.parse_args()
    # Whoever ends it by a signal leaves nothing behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.verb == 'make':
        print(text_of(*make(args.seed)), end='')
        return 0
    lacking = [tool for tool in ('unshare', 'nsenter', 'ip', 'bash', 'systemctl') if not shutil.which(tool)]
    if os.geteuid() != 0 or lacking or not Path(SYSTEMD.split()[0]).exists():
        print('parity: skipped: needs root, systemd and ' + ', '.join(lacking or ['namespaces']))
        return 77
    if subprocess.run(['unshare', '--fork', '--pid', '--mount', 'true'], check=False).returncode != 0:
        print('parity: skipped: may not make namespaces')
        return 77
    hence = args.hence.resolve()
    if args.verb == 'fuzz':
        return fuzz(hence, args)
    return rerun(hence, args.file, args.verb == 'show')


if __name__ == '__main__':
    sys.exit(main())
