#!/usr/bin/env python3
"""Debian's packages in a root of their own whose process 1 is `hence init`: each is installed by apt-get, enabled,
started by its unmodified unit, answers its own client, and is restarted by a second installation.

    python3 packages.py target/debug/hence [-p nginx ...] [-s systemd-writable ...] [--cache DIR] [--keep]

It needs root, debootstrap and a Debian mirror; what is missing is said, nothing is run then and
the exit status is 77. The root folder is
made once and kept in the cache folder, with the packages; everything else happens in a layer above it, in namespaces
without a network, and is gone afterwards. The settings are how hence is run there:

    systemd-writable    systemd's package is there for its systemctl and its units; control groups can be written
    systemd-read-only   the same with control groups that can't be, and the capabilities that docker leaves
    alone-writable      without systemd's package: systemctl is `hence systemctl`
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Lets hence have its name on the system bus where systemd's package, which has such a file, isn't there.
POLICY = Path(__file__).resolve().parents[4] / 'dist/dbus/org.freedesktop.systemd1.conf'

# What docker leaves to a container that asks for nothing.
CAPABILITIES = ('chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot '
                'mknod audit_write setfcap')
TOOLS = 'curl iproute2 procps systemd'
SETTINGS = {
    # name: systemd's package, cgroups can be written, all capabilities
    'systemd-writable': (True, True, True),
    'systemd-read-only': (True, False, False),
    'alone-writable': (False, True, True),
}

# package: its unit, how it is asked something, whether a second installation restarts it. dbus never is: its
# package says so, as clients don't survive that.
# cron looks at whole seconds of the folder's time: what comes in the second in which it has read the folder, it never
# sees.
CRON = """umask 022; sleep 1; echo '* * * * * root date > /run/cron-ran' > /etc/cron.d/try; for i in $(seq 130); do
[ -s /run/cron-ran ] && exit; sleep 1; done; date; ls -l --full-time -d /etc/cron.d /etc/cron.d/*
grep -ai cron /var/log/syslog | tail -20; ps -eo pid,ppid,stat,etime,wchan,args | grep -i cron; exit 1"""
SYSLOG = 'logger said-by-a-test; for i in 1 2 3 4 5; do grep said-by-a-test /var/log/syslog && exit; sleep 1; done; exit 1'
PACKAGES = {
    'nginx': ('nginx.service', 'curl -fsS http://127.0.0.1/ | grep -i nginx', True),
    'redis-server': ('redis-server.service', 'redis-cli ping | grep PONG', True),
    'postgresql': ('postgresql@15-main.service',
                   "su postgres -c \"psql -Atc 'select 40 + 2'\" | grep 42", True),
    'openssh-server': ('ssh.service', 'ssh-keyscan 127.0.0.1 | grep ssh-ed25519', True),
    'rsyslog': ('rsyslog.service', SYSLOG, True),
    'dbus': ('dbus.service', 'dbus-send --system --print-reply --dest=org.freedesktop.DBus / '
             'org.freedesktop.DBus.ListNames | grep org.freedesktop.systemd1', False),
    'cron': ('cron.service', CRON, True),
}
# What is enabled where it is another unit than the one that runs.
ENABLED = {'postgresql': ('postgresql.service', 'enabled'), 'dbus': ('dbus.service', 'static')}

# $1: the folder with root, lower and the like; $2: rw or ro; $3: options of setpriv
BOOT = r"""
set -e
mount --make-rprivate /
cd "$1"
mount -t tmpfs -o mode=755 tmpfs layer
mkdir layer/upper layer/work
mount -t overlay -o "lowerdir=$4,upperdir=layer/upper,workdir=layer/work" overlay root
ip link set lo up
cd root
mount -t sysfs -o ro sysfs sys
if [ "$2" = rw ]; then mount -t cgroup2 cgroup2 sys/fs/cgroup; else mount -t cgroup2 -o ro cgroup2 sys/fs/cgroup; fi
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir old
pivot_root . old
cd /
mount -t proc proc /proc
umount -l /old
rmdir /old
hostname packages
exec env -i container=docker PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv $3 /usr/local/bin/hence init
"""


def skip(why):
    print('packages: skipped: ' + ' '.join(why.split()))
    sys.exit(77)


def sh(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          stdin=subprocess.DEVNULL, **options)
    lines = [line for line in done.stdout.splitlines(keepends=True) if not line.startswith('(Reading database')]
    return done.returncode, ''.join(lines)


def chroot(root, command):
    environ = {'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C'}
    script = f'mount -t proc proc {root}/proc; exec chroot {root} sh -c "$1"'
    return sh('unshare', '--mount', '--pid', '--fork', 'sh', '-c', script, 'sh', command, env=environ)


def make_base(cache, names):
    """The root folder that all share, with all packages that will be installed."""
    base = cache / 'base'
    wanted = ' '.join([TOOLS, *names])
    mark = cache / 'made'
    if mark.exists() and mark.read_text() == wanted:
        return base
    if not (base / 'usr/bin/apt-get').exists():
        if not shutil.which('debootstrap') and sh('apt-get', '-qy', 'install', 'debootstrap')[0] != 0:
            skip('debootstrap is missing and cannot be installed')
        shutil.rmtree(base, ignore_errors=True)
        begun = cache / 'begun'
        shutil.rmtree(begun, ignore_errors=True)
        status, said = sh('debootstrap', '--variant=minbase', 'bookworm', str(begun), *mirror())
        if status != 0:
            skip('debootstrap cannot make a root (no network?): ' + said[-300:])
        begun.rename(base)
    # As this machine reaches its mirror; not what Docker's images do to apt's cache, which is needed here.
    for path in ['resolv.conf', 'hosts']:
        shutil.copyfile(Path('/etc') / path, base / 'etc' / path)
    for source in Path('/etc/apt').glob('**/*'):
        if source.is_file() and source.suffix in ('.list', '.sources') or 'proxy' in source.name \
                or 'registry' in source.name:
            shutil.copyfile(source, base / 'etc/apt' / source.relative_to('/etc/apt'))
    status, said = chroot(base, 'apt-get -q update && apt-get -qy install --download-only ' + wanted)
    if status != 0:
        skip('packages cannot be fetched (no network?): ' + said[-500:])
    mark.write_text(wanted)
    return base


def mirror():
    """The first mirror that this machine's apt uses for bookworm itself."""
    _, said = sh('apt-get', 'indextargets', '--format', '$(SITE) $(CODENAME)')
    sites = [line.split()[0] for line in said.splitlines() if line.endswith(' bookworm')]
    return sites[:1]


class Machine:
    def __init__(self, hence, base, setting):
        self.name = setting
        systemd, writable, capable = SETTINGS[setting]
        self.folder = Path(tempfile.mkdtemp(prefix='hence-packages.', dir='/var/tmp'))
        for name in ('root', 'layer', 'own/usr/local/bin'):
            (self.folder / name).mkdir(parents=True)
        shutil.copy2(hence, self.folder / 'own/usr/local/bin/hence')
        # invoke-rc.d starts nothing where there is no init.
        (self.folder / 'own/usr/sbin').mkdir()
        (self.folder / 'own/usr/sbin/init').symlink_to('/usr/local/bin/hence')
        if not systemd:
            front = self.folder / 'own/usr/bin/systemctl'
            front.parent.mkdir()
            front.write_text('#!/bin/sh\nexec /usr/local/bin/hence systemctl "$@"\n')
            front.chmod(0o755)
            # As a package of hence's would bring it.
            policy = self.folder / 'own/usr/share/dbus-1/system.d' / POLICY.name
            policy.parent.mkdir(parents=True)
            shutil.copyfile(POLICY, policy)
        self.group = own_group(f'hence-packages-{os.getpid()}')
        bounding = '' if capable else '--bounding-set=-all,+' + ',+'.join(CAPABILITIES.split())
        self.log = open(self.folder / 'log', 'w+', encoding='utf-8')
        join = f'echo $$ > {self.group}/cgroup.procs; ' if self.group else ''
        self.first = 0
        self.unshare = subprocess.Popen(
            ['bash', '-c', join + 'exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup '
             'bash -c "$@"', 'boot', BOOT, 'boot', str(self.folder), 'rw' if writable else 'ro', bounding,
             f'{self.folder}/own:{base}'],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        self.until_up()
        self.tools = TOOLS if systemd else TOOLS.replace(' systemd', '')
        status, said = self.run(f'apt-get install -y --no-install-recommends {self.tools}')
        if status != 0:
            print(said)

    def until_up(self):
        children = Path(f'/proc/{self.unshare.pid}/task/{self.unshare.pid}/children')
        end = time.monotonic() + 60
        while time.monotonic() < end and self.unshare.poll() is None:
            try:
                self.first = int(children.read_text().split()[0])
                if Path(f'/proc/{self.first}/comm').read_text().strip() == 'hence' and \
                        Path(f'/proc/{self.first}/root/run/systemd/private').exists():
                    return
            except (OSError, IndexError):
                pass
            time.sleep(0.1)
        raise SystemExit(f'{self.name}: hence did not come up: {self.said()}')

    def said(self):
        return (self.folder / 'log').read_text()

    def run(self, command, limit=180):
        """Runs a shell command inside, as somebody who came in by `docker exec`."""
        environ = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
                   'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C', 'SYSTEMD_PAGER': 'cat'}
        enter = ['nsenter', '--target', str(self.first), '--mount', '--pid', '--uts', '--ipc', '--net', '--root',
                 '--wd']
        try:
            return sh('timeout', '-k', '5', str(limit), *enter, 'sh', '-c', command, env=environ)
        except OSError as error:
            return 1, str(error)

    def close(self):
        # Process 1's end is that of everything in its namespaces.
        if self.first:
            try:
                os.kill(self.first, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.unshare.kill()
        self.unshare.wait()
        end = time.monotonic() + 5
        while self.group and self.group.exists() and time.monotonic() < end:
            remove_groups(self.group)
            time.sleep(0.05)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def own_group(name):
    """A control group of our own, so that nothing is made beside those of others."""
    mounts = Path('/proc/self/mountinfo').read_text().splitlines()
    mounts = [line.split()[4] for line in mounts if ' - cgroup2 ' in line]
    own = [line[4:] for line in Path('/proc/self/cgroup').read_text().splitlines() if line.startswith('0::/')]
    if not mounts or not own:
        return None
    group = Path(mounts[0]) / own[0] / name
    try:
        group.mkdir()
    except OSError:
        return None
    return group


def remove_groups(group):
    for entry in group.iterdir():
        if entry.is_dir():
            remove_groups(entry)
    try:
        group.rmdir()
    except OSError:
        pass


def settle(machine, unit):
    """The unit's main process and invocation, as soon as it is neither starting nor stopping."""
    for _ in range(100):
        _, said = machine.run(f'systemctl show -p ActiveState -p MainPID -p InvocationID {unit}')
        if 'activating' not in said:
            break
        time.sleep(0.2)
    return dict(line.split('=', 1) for line in said.splitlines() if '=' in line)


def try_package(machine, name):
    """One row of the table: each step is 'yes', or what was said instead."""
    unit, ask, restarts = PACKAGES[name]
    row = {}

    def step(title, command, limit=180):
        status, said = machine.run(command, limit)
        row[title] = 'yes' if status == 0 else f'exit status {status}: {said.strip()[-1500:]}'
        return status == 0, said

    recommends = '' if SETTINGS[machine.name][0] else '--no-install-recommends '
    step('installed', f'apt-get install -y {recommends}{name}')
    if row['installed'] != 'yes':
        return row
    enabled, state = ENABLED.get(name, (unit, 'enabled'))
    step('enabled', f'test "$(systemctl is-enabled {enabled})" = {state}')
    if name == 'dbus':
        # Its package starts nothing that is static: a boot does.
        machine.run('systemctl start dbus.socket dbus.service')
    before = settle(machine, unit)
    good, _ = step('started', f'systemctl is-active {unit}')
    if not good:
        row['started'] += '\n' + machine.run(f'systemctl status {unit}; hence why {unit}')[1][-3000:]
    step('answers', ask)
    good, said = step('why', f'hence why {unit}')
    if good and 'apt' not in said and 'dpkg' not in said and name != 'dbus':
        row['why'] = 'neither apt nor dpkg is named: ' + said
    row['page'] = said
    good, said = step('restarted', f'apt-get install -y --reinstall {recommends}$(dpkg-query -W -f '
                      f"'${{Package}} ${{Conffiles}}\\n' | awk '/^{name}/ {{ print $1 }}')")
    if good:
        after = settle(machine, unit)
        same = after.get('MainPID') == before.get('MainPID')
        if after.get('ActiveState') != 'active':
            row['restarted'] = f'it is {after} now: ' + said[-1500:]
        elif same == restarts:
            row['restarted'] = 'it was not restarted' if restarts else 'it was restarted'
        else:
            again = machine.run(ask)
            if again[0] != 0:
                row['restarted'] = 'afterwards it does not answer: ' + again[1]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('hence', type=Path)
    parser.add_argument('-p', '--package', action='append', choices=list(PACKAGES))
    parser.add_argument('-s', '--setting', action='append', choices=list(SETTINGS))
    parser.add_argument('--cache', type=Path, default=Path('/var/cache/hence-packages'))
    parser.add_argument('-v', '--verbose', action='store_true', help='show the pages of hence why')
    parser.add_argument('--shell', action='store_true', help='a shell inside before all is removed')
    args = parser.parse_args()
    if os.geteuid() != 0:
        skip('needs root')
    for tool in ('unshare', 'nsenter', 'setpriv', 'pivot_root', 'ip', 'bash'):
        if not shutil.which(tool):
            skip(f'{tool} is missing')
    if sh('unshare', '--fork', '--pid', '--mount', '--uts', '--ipc', '--net', '--cgroup', 'true')[0] != 0:
        skip('may not make namespaces')
    args.cache.mkdir(parents=True, exist_ok=True)
    base = make_base(args.cache.resolve(), list(PACKAGES))
    steps = ('installed', 'enabled', 'started', 'answers', 'restarted', 'why')
    failed = passed = again = 0
    for setting in args.setting or SETTINGS:
        names, panicked = args.package or list(PACKAGES), False
        for attempt in ('', ', those that were not as they should be once more'):
            print(f'{setting}{attempt}:')
            wrong = {}
            machine = Machine(args.hence, base, setting)
            try:
                if args.verbose:
                    print(machine.said())
                for name in names:
                    row = try_package(machine, name)
                    print(f'  {name:15}', '  '.join(f'{s} {"yes" if row.get(s) == "yes" else "NO"}' for s in steps),
                          flush=True)
                    for title in steps:
                        if title in row and row[title] != 'yes':
                            print(f'    {title}: ' + row[title].replace('\n', '\n      '))
                    bad = sum(row.get(title) != 'yes' for title in steps)
                    passed += len(steps) - bad if not bad or attempt else 0
                    if bad:
                        wrong[name] = bad
                    if args.verbose:
                        print(row.get('page', ''))
                if args.shell:
                    subprocess.run(['nsenter', '--target', str(machine.first), '--all', 'bash'], check=False)
                if 'panicked' in machine.said():
                    panicked = True
                    print(machine.said())
            finally:
                machine.close()
            if not wrong or attempt:
                break
            names, again = list(wrong), again + len(wrong)
        failed += sum(wrong.values()) + panicked
    # Daemons, clocks and loaded machines have their moods; what fails twice, or much that fails once, is ours.
    print(f'packages: {passed} steps are as they should be, {failed} are not; {again} packages were tried twice')
    sys.exit(1 if failed or again > 2 else 0)


if __name__ == '__main__':
    main()
