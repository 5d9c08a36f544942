"""A service manager as process 1 of namespaces of its own, for comparisons: systemd or hence, the same in both.

It has its own control groups, /etc, /run, /tmp and unit folders, and no network; the rest of the file system is
the machine's. It doesn't know what is compared.
"""
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Longer than any batch takes on a loaded machine, in seconds.
PATIENCE = 400
SYSTEMD = '/lib/systemd/systemd --log-target=null'

# Enough for default dependencies, with nothing behind it.
TARGETS = {
    'sysinit.target': '',
    'basic.target': 'Requires=sysinit.target\nWants=sockets.target timers.target paths.target slices.target\n'
                    'After=sysinit.target sockets.target paths.target slices.target\n',
    'sockets.target': '',
    'timers.target': '',
    'paths.target': '',
    'slices.target': '',
    'multi-user.target': 'Requires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n',
    'shutdown.target': 'DefaultDependencies=no\n',
    'umount.target': 'DefaultDependencies=no\n',
    'default.target': 'Requires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n',
}

# $1: a folder of ours with units, usr and scratch; then the manager and its arguments.
BOOT = r"""
set -e
work=$1; shift
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs "$work/scratch"
layer() {
    mkdir -p "$work/scratch/$1/upper" "$work/scratch/$1/work"
    mount -t overlay overlay \
        -o "lowerdir=/$1,upperdir=$work/scratch/$1/upper,workdir=$work/scratch/$1/work" "/$1"
}
layer etc
layer root
mount --bind "$work/units" /etc/systemd/system
mount --bind "$work/usr" /usr/lib/systemd/system
# Our own folder is below it.
layer var
hybrid=; [ ! -d /sys/fs/cgroup/unified ] || hybrid=1
umount -R /sys/fs/cgroup
if [ -n "$hybrid" ]; then
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    cd /sys/fs/cgroup
    mkdir unified pids systemd
    mount -t cgroup2 cgroup2 unified
    mount -t cgroup -o pids pids pids
    mount -t cgroup -o none,name=systemd systemd systemd
    cd /
else
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system /run/lock
mount -t tmpfs -o mode=1777 tmpfs /tmp
for folder in /usr/lib/systemd/system-generators /usr/lib/systemd/system-environment-generators \
        /usr/lib/systemd/system-preset /etc/systemd/system.conf.d /usr/lib/systemd/system.conf.d; do
    [ ! -d "$folder" ] || mount -t tmpfs -o mode=755 tmpfs "$folder"
done
: > /run/trace
chmod 666 /run/trace
# Process 1 takes the name from there.
echo parity > /etc/hostname
ip link set lo up
mount --make-rshared /
exec env -i container=parity PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"
"""


def groups(name):
    """Where control groups of ours are made, one in each hierarchy that the managers use."""
    top = Path('/sys/fs/cgroup')
    if (top / 'unified').is_dir():
        return [top / part / name for part in ('unified', 'pids', 'systemd') if (top / part).is_dir()]
    return [top / name]


class Machine:
    """The manager, running. `call` asks the agent in it."""

    def __init__(self, manager):
        self.folder = Path(tempfile.mkdtemp(prefix='hence-parity.', dir='/var/tmp'))
        self.groups = groups(f'hence-{self.folder.name}')
        self.manager = manager
        self.process = self.agent = None
        self.first = 0
        for name in ('units', 'usr', 'scratch'):
            (self.folder / name).mkdir()
        self.units = self.folder / 'units'
        for name, text in TARGETS.items():
            (self.folder / 'usr' / name).write_text(f'[Unit]\nDescription={name}\n{text}')

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def boot(self):
        for group in self.groups:
            group.mkdir()
        join = ''.join(f'echo $$ > {group}/cgroup.procs; ' for group in self.groups)
        with open(self.folder / 'log', 'wb') as log:
            self.process = subprocess.Popen(
                ['bash', '-c', join + 'exec unshare --pid --fork --mount --uts --ipc --cgroup --net --kill-child '
                 'bash -c "$@"', 'join', BOOT, 'boot', str(self.folder), *self.manager.split()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        children = Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children')
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.first = int(children.read_text().split()[0])
                if Path(f'/proc/{self.first}/root/run/systemd/private').exists():
                    break
            except (OSError, IndexError):
                pass
            time.sleep(0.05)
        else:
            raise RuntimeError(f'{self.manager} did not come up: ' + (self.folder / 'log').read_text()[-2000:])
        enter = ['nsenter', '-t', str(self.first), '-p', '-m', '-u', '-i', '-n', '-C']
        self.agent = subprocess.Popen(
            [*enter, sys.executable, '-c', Path(__file__).with_name('agent.py').read_text()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd='/')
        while self.call('systemctl', words=['is-active', 'default.target'])['said'].strip() != 'active':
            if time.monotonic() > end:
                raise RuntimeError(f'{self.manager} does not reach its target')
            time.sleep(0.1)

    def call(self, what, **arguments):
        """One question to the agent; a manager that is gone is a RuntimeError."""
        try:
            self.agent.stdin.write(json.dumps({'what': what, **arguments}) + '\n')
            self.agent.stdin.flush()
            # Units that start each other for ever may leave a manager no time for anybody.
            if not select.select([self.agent.stdout], [], [], PATIENCE)[0]:
                raise RuntimeError(f'{self.manager} answers nobody any more')
            answer = self.agent.stdout.readline()
        except OSError:
            answer = ''
        if not answer:
            raise RuntimeError(f'{self.manager} is gone: ' + (self.folder / 'log').read_text()[-2000:])
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
        for group in self.groups:
            while group.exists() and time.monotonic() < end:
                for inner in sorted(group.rglob('*/'), key=lambda path: -len(path.parts)):
                    remove(inner)
                remove(group) or time.sleep(0.05)
        subprocess.run(['rm', '-rf', str(self.folder)], check=False)


def remove(group):
    try:
        group.rmdir()
    except OSError:
        return False
    return True
