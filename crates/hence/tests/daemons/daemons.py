#!/usr/bin/env python3
"""Debian's daemons, their packages and units unmodified, in one root: each is started under the real systemd and under
`hence init`, asked by its own client, looked at and stopped, and what came of it is compared.

    daemons.py HENCE --cache DIR [--few] [-d PACKAGE]... [--sandbox] [-v]

HENCE is the program. The root is made once with debootstrap and apt-get and kept in the cache folder, for --few a
smaller one; everything else happens in layers above it, in namespaces whose network is `lo` alone, and is gone
afterwards. The daemons are in `table.py`, what is looked at in `agent.py`.

Compared are: ActiveState, SubState and Result, the main process and its control group, what is listened on, whether
the daemon's own client (or its port) is answered, the status of start and stop, and what is left after the stop.
Beside that it is said who the main process is and what it may; with --sandbox a difference in that counts too.

Needs root, namespaces, debootstrap, a Debian mirror and systemd in the root; exit status 77 where these lack, 1 with
differences.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / 'packages')]
from packages import chroot, mirror, own_group, remove_groups, sh  # noqa: E402
from table import DAEMONS, FEW_TOOLS, TOOLS  # noqa: E402

MANAGERS = {'systemd': '/lib/systemd/systemd --log-target=null', 'hence': '/usr/local/bin/hence init'}
TARGET = '[Unit]\nDescription=What daemons need\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n'

# $1: our folder with root, layer and own; $2: the root below all; then the manager.
BOOT = r"""
set -e
mount --make-rprivate /
cd "$1"
base=$2
shift 2
mount -t tmpfs -o mode=755 tmpfs layer
mkdir layer/upper layer/work
mount -t overlay -o "lowerdir=own:$base,upperdir=layer/upper,workdir=layer/work" overlay root
ip link set lo up
cd root
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/lock
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir old
pivot_root . old
cd /
mount -t proc proc /proc
umount -l /old
rmdir /old
# What is enabled is started one by one.
rm -rf /etc/systemd/system/*.target.wants
hostname daemons
mount --make-rshared /
exec env -i container=daemons PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


def skip(why):
    print('daemons: skipped: ' + ' '.join(why.split()))
    sys.exit(77)


def make_root(cache, few, packages):
    """The root with all packages installed and nothing ever started."""
    root, mark = cache / ('few' if few else 'all'), cache / ('few.made' if few else 'all.made')
    wanted = ' '.join(sorted(packages))
    if mark.exists() and mark.read_text() == wanted:
        return root
    if not shutil.which('debootstrap') and sh('apt-get', '-qy', 'install', 'debootstrap')[0] != 0:
        skip('debootstrap is missing and cannot be installed')
    begun = cache / 'begun'
    shutil.rmtree(begun, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)
    status, said = sh('debootstrap', '--variant=minbase', 'bookworm', str(begun), *mirror())
    if status != 0:
        skip('debootstrap cannot make a root (no network?): ' + said[-300:])
    # As this machine reaches its mirror.
    for path in ['resolv.conf', 'hosts']:
        shutil.copyfile(Path('/etc') / path, begun / 'etc' / path)
    for source in Path('/etc/apt').glob('**/*'):
        if source.is_file() and source.suffix in ('.list', '.sources') or 'proxy' in source.name \
                or 'registry' in source.name:
            shutil.copyfile(source, begun / 'etc/apt' / source.relative_to('/etc/apt'))
    policy = begun / 'usr/sbin/policy-rc.d'
    policy.write_text('#!/bin/sh\nexit 101\n')
    policy.chmod(0o755)
    status, said = chroot(begun, 'apt-get -q update && apt-get -qy install --no-install-recommends ' + wanted)
    if status != 0:
        skip('packages cannot be installed (no network?): ' + said[-700:])
    chroot(begun, 'apt-get clean; : > /etc/machine-id')
    policy.unlink()
    begun.rename(root)
    mark.write_text(wanted)
    return root


class Machine:
    """A manager as process 1 of the root, running. `ask` asks the agent in it."""

    def __init__(self, name, base, hence):
        self.name, self.base = name, base
        self.folder = Path(tempfile.mkdtemp(prefix='hence-daemons.', dir='/var/tmp'))
        for folder in ('root', 'layer', 'own/usr/local/bin', 'own/etc/systemd/system'):
            (self.folder / folder).mkdir(parents=True)
        shutil.copy2(hence, self.folder / 'own/usr/local/bin/hence')
        (self.folder / 'own/etc/systemd/system/default.target').write_text(TARGET)
        (self.folder / 'own/etc/machine-id').write_text('0123456789abcdef0123456789abcdef\n')
        self.group = own_group(f'hence-daemons-{name}-{os.getpid()}')
        self.process = self.agent = None
        self.first = 0

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def boot(self):
        join = f'echo $$ > {self.group}/cgroup.procs; ' if self.group else ''
        with open(self.folder / 'log', 'wb') as log:
            self.process = subprocess.Popen(
                ['bash', '-c', join + 'exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup '
                 'bash -c "$@"', 'boot', BOOT, 'boot', str(self.folder), str(self.base), *MANAGERS[self.name].split()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        children = Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children')
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.first = int(children.read_text().split()[0])
                if Path(f'/proc/{self.first}/root/run/systemd/private').exists():
                    break
            except (OSError, IndexError):
                pass
            time.sleep(0.1)
        else:
            raise RuntimeError(f'{self.name} did not come up: ' + self.said())
        enter = ['nsenter', '-t', str(self.first), '-p', '-m', '-u', '-i', '-n', '-C', '--root', '--wd']
        self.agent = subprocess.Popen(
            [*enter, '/usr/bin/python3', '-c', Path(__file__).with_name('agent.py').read_text()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
        while time.monotonic() < end:
            if self.ask(run='systemctl is-active default.target')['said'].strip() == 'active':
                return
            time.sleep(0.2)
        raise RuntimeError(f'{self.name} does not reach its target: ' + self.said() +
                           self.ask(run='systemctl list-jobs; systemctl --failed')['said'])

    def said(self):
        return (self.folder / 'log').read_text(errors='replace')[-2000:]

    def ask(self, **what):
        try:
            self.agent.stdin.write(json.dumps(what) + '\n')
            self.agent.stdin.flush()
            answer = self.agent.stdout.readline()
        except OSError:
            answer = ''
        if not answer:
            raise RuntimeError(f'{self.name} is gone: ' + self.said())
        return json.loads(answer)

    def __exit__(self, *_):
        for pid in [self.first, self.process.pid if self.process else 0]:
            try:
                if pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()
        if self.agent:
            self.agent.kill()
            self.agent.wait()
        end = time.monotonic() + 5
        while self.group and self.group.exists() and time.monotonic() < end:
            remove_groups(self.group)
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)


def compare(theirs, ours):
    """What differs, a line each: in what a manager brings about, and in what the main process may."""
    wrong, may = [], []
    if 'error' in theirs or 'error' in ours:
        return [f'systemd: {theirs.get("error", "-")}; hence: {ours.get("error", "-")}'], []

    def same(what, one, other):
        if one != other:
            wrong.append(f'{what}: systemd {one}, hence {other}')

    same('start', theirs['start'], ours['start'])
    same('probe', theirs['probe'], ours['probe'])
    for unit, one in theirs['units'].items():
        other = ours['units'][unit]
        for what in ('state', 'main', 'group', 'processes'):
            same(f'{unit}, {what}', one.get(what), other.get(what))
        for name, value in one.get('may', {}).items():
            if other.get('may', {}).get(name) != value:
                may.append(f'{unit}, {name}: systemd {value}, hence {other.get("may", {}).get(name)}')
    same('listens', ' '.join(sorted(set(theirs['listens']) - set(ours['listens']))) or '-',
         ' '.join(sorted(set(ours['listens']) - set(theirs['listens']))) or '-')
    for what in ('stop', 'stopped', 'left', 'still listens'):
        same(what, theirs[what], ours[what])
    return wrong, may


def row(daemon, theirs, ours, wrong, may):
    """A line of the table."""
    def state(seen):
        units = seen.get('units', {})
        return (units[max(units, key=lambda unit: unit.endswith('.service'))]['state'] if units else 'error')

    def answered(seen):
        return {None: '-', 0: 'yes'}.get(seen.get('probe'), 'no')

    unit = next((unit for unit in daemon.units + daemon.more if unit.endswith('.service')), daemon.units[0])
    kind = theirs.get('units', {}).get(unit, {}).get('type') or unit.rpartition('.')[2]
    verdict = 'DIFFERS' if wrong else f'same ({len(may)})' if may else 'same'
    return (f'{daemon.units[0]:34} {kind:8} {state(theirs):32} {state(ours):32} '
            f'{answered(theirs):3} {answered(ours):3} {verdict}')


def play(machines, daemon, at_once=2):
    """What came of it under both."""
    asked = {'units': daemon.units, 'more': daemon.more, 'prepare': daemon.prepare, 'probe': daemon.probe,
             'patience': daemon.patience}
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda machine: machine.ask(**asked), machines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('hence', type=Path)
    parser.add_argument('--cache', type=Path, default=Path('/var/cache/hence-daemons'))
    parser.add_argument('--few', action='store_true', help='some fifteen of them, in a root that is made sooner')
    parser.add_argument('-d', '--daemon', action='append', help='only those of this package')
    parser.add_argument('--sandbox', action='store_true', help='what main processes may counts too')
    parser.add_argument('-v', '--verbose', action='store_true', help='all that was seen of those that differ')
    args = parser.parse_args()
    if os.geteuid() != 0:
        skip('needs root')
    for tool in ('unshare', 'nsenter', 'pivot_root', 'ip', 'bash'):
        if not shutil.which(tool):
            skip(f'{tool} is missing')
    if sh('unshare', '--fork', '--pid', '--mount', '--uts', '--ipc', '--net', '--cgroup', 'true')[0] != 0:
        skip('may not make namespaces')
    # Whoever ends it by a signal leaves nothing behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    args.cache.mkdir(parents=True, exist_ok=True)
    all_of_them = [daemon for daemon in DAEMONS if daemon.few or not args.few]
    packages = {daemon.package for daemon in all_of_them} | set(FEW_TOOLS if args.few else TOOLS)
    base = make_root(args.cache.resolve(), args.few, packages)
    chosen = [daemon for daemon in all_of_them if not args.daemon or daemon.package in args.daemon]
    print(f'{"unit":34} {"type":8} {"systemd":32} {"hence":32} ask  ed')
    differ, beside, up = [], 0, 0
    begun = time.monotonic()
    with Machine('systemd', base, args.hence) as systemd, Machine('hence', base, args.hence) as hence:
        for daemon in chosen:
            theirs, ours = play((systemd, hence), daemon)
            wrong, may = compare(theirs, ours)
            if wrong:
                # Daemons have their moods; what differs twice is ours. One at a time, for what a user may have at
                # most is counted over both.
                theirs, ours = play((systemd, hence), daemon, at_once=1)
                wrong, may = compare(theirs, ours)
            print(row(daemon, theirs, ours, wrong, may), flush=True)
            for line in wrong + may:
                print('    ' + line)
            if wrong and args.verbose:
                print(json.dumps({'systemd': theirs, 'hence': ours}, indent=1))
            up += any(unit.get('main') for unit in theirs.get('units', {}).values())
            beside += bool(may)
            if wrong or (may and args.sandbox):
                differ.append(daemon.units[0])
        if 'panicked' in hence.said():
            differ.append('hence itself: ' + hence.said())
    minutes = (time.monotonic() - begun) / 60
    print(f'daemons: {len(chosen)} in {minutes:.1f} min, {up} have a main process under systemd; {len(differ)} differ, '
          f'{beside} in what the main process may' + (': ' + ' '.join(differ) if differ else ''))
    sys.exit(1 if differ else 0)


if __name__ == '__main__':
    main()
