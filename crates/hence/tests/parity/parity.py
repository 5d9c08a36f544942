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
made as small as it can be made, played again, and kept as a file, unless systemd itself ends that now so, now so.

Needs root, namespaces and systemd; exit status 77 where they lack, 1 with differences.
"""
import argparse
import difflib
import os
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
from sequences import ALONE, UNIT, make, parse, parts, text_of, units_of, without  # noqa: E402

TOGETHER = 16
REPEATS = 3
# How often what was made small is played: systemd has to end it the same way each time.
SETTLED = 4


def named(text, prefix):
    """Under names of its own: managers remember."""
    def one(found):
        letter, instance, kind = found[1], found[2] or '', found[3]
        # A mount is called after its place.
        return f'{"run-" if kind == "mount" else ""}{prefix}-{letter}{instance}.{kind}'

    return UNIT.sub(one, text).replace('@prefix@', prefix)


def plain(trace, prefix):
    """A trace with the sequence's own names, and without what chance decides: whether a simple service's program or
    its ExecStartPost= is first to say something, and what is seen of units that never come to rest."""
    lines, run = [], []
    for line in trace:
        line = line.replace(f'run-{prefix}-', '').replace(f'{prefix}-', '').replace(prefix, '@prefix@')
        # Without TasksMax= systemd has a share of the machine, hence no limit (ARCHITECTURE.md, "Where we differ").
        line = re.sub(r'TasksMax=\d{4,}$', 'TasksMax=infinity', line)
        if re.match(r'    \| \S+ (main|post)$', line):
            run.append(line)
            continue
        lines += sorted(run) + [line]
        run = []
    lines += sorted(run)
    return lines


def alone(sequence):
    """Whether it would take others along."""
    return any(ALONE.search(step) for step in sequence[1])


def upto(ours, theirs):
    """Both, up to the step after which systemd never comes to rest: nothing is determined from there on. Where units
    start each other for ever hence leaves it at that (ARCHITECTURE.md, "Where we differ")."""
    restless = '  does not come to rest'
    if restless not in theirs:
        return ours, theirs
    steps = sum(line.startswith('> ') for line in theirs[:theirs.index(restless)])

    def first(trace):
        at = [index for index, line in enumerate(trace) if line.startswith('> ')]
        return trace[:at[steps - 1]] if len(at) >= steps else trace

    return first(ours), first(theirs)


STATE = re.compile(r'  (\S+): (ActiveState=\S+ SubState=\S+ Result=\S+)')


def limited(trace):
    """Without how a unit came down whose start limit was hit while it was stopping: systemd has it down at once and
    leaves its processes to themselves, hence ends them first (ARCHITECTURE.md, "Where we differ")."""
    limits = {found[1] for line in trace if (found := STATE.match(line)) and 'start-limit-hit' in found[2]}
    lines = []
    for line in trace:
        found = STATE.match(line)
        if found and found[1] in limits:
            line = f'  {found[1]}: {found[2]}'
        said = re.match(r'    \| (\S+) (stop|stop2|stoppost|term)$', line)
        if not (said and said[1] in limits):
            lines.append(line)
    return lines


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

            for machine in self.both:
                for name, text in files.items():
                    path = machine.units / named(name, prefix)
                    path.parent.mkdir(exist_ok=True)
                    text = named(text, prefix)
                    if text.startswith('-> '):
                        path.symlink_to(text[3:].strip())
                    else:
                        path.write_text(text)
            asked.append({'prefix': prefix, 'units': [named(name, prefix) for name in units_of(files, steps)],
                          'steps': [named(step, prefix) for step in steps]})

        def one(machine):
            machine.call('systemctl', words=['daemon-reload'])
            traces = machine.call('batch', sequences=asked)
            machine.call('clean', units=[name for sequence in asked for name in sequence['units']])
            return [plain(traces[s['prefix']], s['prefix']) for s in asked]

        pool = ThreadPoolExecutor(2)
        try:
            ours, theirs = pool.map(one, self.both)
        finally:
            # Who ends us by a signal waits for nobody.
            pool.shutdown(wait=False)
        return [tuple(map(limited, upto(*both))) for both in zip(ours, theirs)]

    def differing(self, sequence, choices, until):
        """Which of these parts can be left out with a difference left."""
        choices = [choice for choice in choices if without(*sequence, choice)]
        together = 1 if alone(sequence) else TOGETHER
        found = []
        for at in range(0, len(choices), together):
            if time.monotonic() > until:
                break
            some = choices[at:at + together]
            traces = self.play([without(*sequence, choice) for choice in some])
            found += [choice for choice, (ours, theirs) in zip(some, traces) if ours != theirs]
        return found

    def differ(self, sequence, repeats=REPEATS, settled=False):
        """The two traces where they differ each time, else nothing. `settled`: and systemd ends it in one way only."""
        return next(iter(self.differ_all([sequence], repeats, settled)), (0, None))[1]

    def differ_all(self, sequences, repeats=REPEATS, settled=False):
        """Which of these differ each time, by their places, with their traces."""
        left = [(at, set(), set()) for at in range(len(sequences))]
        last = {}
        for _ in range(repeats):
            if not left:
                break
            together = 1 if any(alone(sequences[at]) for at, *_ in left) else TOGETHER
            for begin in range(0, len(left), together):
                some = left[begin:begin + together]
                for (at, ours, theirs), both in zip(some, self.play([sequences[at] for at, *_ in some])):
                    ours.add(tuple(both[0]))
                    theirs.add(tuple(both[1]))
                    last[at] = both
            left = [one for one in left if not (one[1] & one[2] or settled and len(one[2]) > 1)]
        return [(at, last[at]) for at, *_ in left]


def first_part(sequence, ours, theirs):
    """Without the steps after the first that ends differently."""
    files, steps = sequence
    same = 0
    while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
        same += 1
    played = sum(line.startswith('> ') for line in theirs[:same + 1])
    return files, steps[:max(played, 1)]


def minimise(pair, files, steps, until):
    """The smallest that still differs, as far as time allows. All that is one thing less is played at once."""
    sequence, last = (files, steps), pair.differ((files, steps))
    if not last:
        return files, steps, None
    less = first_part(sequence, *last)
    if now := pair.differ(less, 2):
        sequence, last = less, now
    while time.monotonic() < until:
        good = pair.differing(sequence, [[part] for part in parts(*sequence)], until)
        if not good:
            break
        # Most can go together.
        every = [part for [part] in good]
        choices, size = [every], len(every)
        while size > 1:
            size = (size + 1) // 2
            choices += [every[at:at + size] for at in range(0, len(every), size)]
        best = max(pair.differing(sequence, choices[:TOGETHER], until) or good[:1], key=len)
        less = without(*sequence, best)
        now = pair.differ(less, 2)
        if not now:
            break
        sequence, last = less, now
    return *sequence, last


RELOADS = re.compile(r'(daemon-reload|enable|disable|mask|unmask|preset|set-property|link|revert)\b')


def unlimited(files, steps):
    """The same without start limits, where units are read anew: systemd 252 forgets then how often they were started,
    hence doesn't (ARCHITECTURE.md, "Where we differ")."""
    if not any(RELOADS.match(step) for step in steps):
        return None
    return {name: re.sub(r'StartLimitIntervalSec=\d+', 'StartLimitIntervalSec=0', text)
            for name, text in files.items()}, steps


def difference(ours, theirs):
    return '\n'.join(difflib.unified_diff(theirs, ours, 'systemd', 'hence', lineterm='', n=40))


def batches(seed, count):
    """Names and sequences of a batch, again and again; one that would take others along is a batch of its own."""
    waiting, index = [], 0
    while index < count:
        batch = []
        while len(batch) < TOGETHER and index < count:
            name = f'{seed}-{index}'
            sequence = make(name)
            (waiting if alone(sequence) else batch).append((name, sequence))
            index += 1
        yield batch
        while waiting:
            yield [waiting.pop()]


class Fuzz:
    """What came of a run so far."""

    def __init__(self, hence, args):
        self.hence, self.args, self.pair = hence, args, Pair(hence)
        self.played = self.either = self.lost = 0
        self.found = []

    def one(self, batch):
        """A batch; what differs is played again, made smaller and kept."""
        traces = self.pair.play([sequence for _, sequence in batch])
        self.played += len(batch)
        suspects = [one for one, (ours, theirs) in zip(batch, traces) if ours != theirs]
        again = [suspects[at] for at, _ in self.pair.differ_all([sequence for _, sequence in suspects])]
        self.either += len(suspects) - len(again)
        for name, sequence in again:
            files, steps, last = minimise(self.pair, *sequence, time.monotonic() + self.args.minimise)
            free = unlimited(files, steps)
            meant = last and free and not self.pair.differ(free, 2)
            if not last or meant or not self.pair.differ((files, steps), SETTLED, settled=True):
                self.either += 1
                continue
            self.found.append(name)
            print(f'\n== {name}\n{text_of(files, steps)}\n{difference(*last)}', flush=True)
            if self.args.keep:
                self.args.keep.mkdir(parents=True, exist_ok=True)
                (self.args.keep / f'{name}.scn').write_text(text_of(files, steps))

    def anew(self, why):
        """Both machines once more, after one of them was lost."""
        if str(self.hence) in str(why):
            self.found.append('lost')
            print(f'\n== {why}', flush=True)
        self.lost += 1
        self.pair.__exit__()
        self.pair = Pair(self.hence)
        self.pair.__enter__()


def fuzz(hence, args):
    seed = args.seed if args.seed is not None else int.from_bytes(os.urandom(4), 'big')
    print(f'seed {seed}', flush=True)
    begun = time.monotonic()
    run = Fuzz(hence, args)
    run.pair.__enter__()
    try:
        for batch in batches(seed, sys.maxsize if args.seconds else args.count):
            if args.seconds and time.monotonic() - begun > args.seconds:
                break
            before = run.played
            try:
                run.one(batch)
            except RuntimeError as error:
                run.anew(error)
            # One that is ended before its time has said how far it came.
            if run.played // 160 > before // 160:
                print(f'  ... {run.played} played, {len(run.found)} differ', flush=True)
    finally:
        run.pair.__exit__()
    minutes = (time.monotonic() - begun) / 60
    print(f'parity: {run.played} sequences in {minutes:.1f} min, {len(run.found)} differ; {run.either} may end in two '
          f'ways, {run.lost} batches were not finished')
    return 1 if run.found else 0


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
