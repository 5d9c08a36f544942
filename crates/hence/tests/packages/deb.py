#!/usr/bin/env python3
"""hence's own Debian package: built twice to the same bytes, looked at by lintian, and installed, upgraded, disabled,
removed and purged by dpkg in a root of its own whose process 1 is a real systemd.

    python3 deb.py target/debug/hence [--cache DIR] [--keep FOLDER]

It needs root, debootstrap and a Debian mirror; what is missing is said, nothing is run then and the exit status is 77.
The root folder is made once and kept in the cache folder; everything else happens in a layer above it."""
import argparse
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from packages import BOOT, chroot, mirror, own_group, remove_groups, sh, skip  # noqa: E402

ROOT = Path(__file__).resolve().parents[4]
NEEDED = 'systemd systemd-sysv dbus procps python3-prometheus-client lintian curl'
LEAK = '1deddfe6fde44be08a3540c0cdbfc55b'
# What lintian says and we mean: nobody filed a bug for it, and a debug build holds what a release does not.
MEANT = ('initial-upload-closes-no-bugs', 'unknown-field', 'hardening-no-', 'bad-distribution', 'mail-address-is-')
SYSTEMD = BOOT[:BOOT.index('exec env -i')] + """exec env -i container=docker \\
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
"""
LEAVER = """[Service]
Type=oneshot
KillMode=process
ExecStart=/bin/sh -c '/bin/sleep 5000 & exit 0'
"""
DROP_IN = """[Service]
ExecStart=
ExecStart=/usr/bin/hence watch --metrics 9755 --alert-after 2s --alert-command 'cat >> /run/hence/told'
RestrictAddressFamilies=AF_INET AF_INET6
"""
PARSE = """import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
names = {family.name for family in parse(sys.stdin.read())}
assert {'hence_unit_restarts', 'hence_left_over_processes', 'hence_source_available', 'hence_build'} <= names, names
print(len(names))
"""
failed = []


def check(what, good, found=''):
    print(('ok    ' if good else 'WRONG ') + what + ('' if good else f': {str(found)[-1500:]}'), flush=True)
    if not good:
        failed.append(what)


def make_base(cache):
    base = cache / 'base-systemd'
    mark = cache / 'made-systemd'
    if mark.exists() and mark.read_text() == NEEDED:
        return base
    if not (base / 'usr/bin/apt-get').exists():
        if not shutil.which('debootstrap') and sh('apt-get', '-qy', 'install', 'debootstrap')[0] != 0:
            skip('debootstrap is missing and cannot be installed')
        begun = cache / 'begun-systemd'
        shutil.rmtree(begun, ignore_errors=True)
        status, said = sh('debootstrap', '--variant=minbase', 'bookworm', str(begun), *mirror())
        if status != 0:
            skip('debootstrap cannot make a root (no network?): ' + said[-300:])
        begun.rename(base)
    for path in ('resolv.conf', 'hosts'):
        shutil.copyfile(Path('/etc') / path, base / 'etc' / path)
    for source in Path('/etc/apt').glob('**/*'):
        if source.is_file() and source.suffix in ('.list', '.sources') or 'proxy' in source.name \
                or 'registry' in source.name:
            shutil.copyfile(source, base / 'etc/apt' / source.relative_to('/etc/apt'))
    status, said = chroot(base, 'apt-get -q update && apt-get -qy install --no-install-recommends ' + NEEDED)
    if status != 0:
        skip('packages cannot be fetched (no network?): ' + said[-500:])
    mark.write_text(NEEDED)
    return base


def build(program, folder, dist=ROOT / 'dist'):
    folder.mkdir(parents=True, exist_ok=True)
    status, said = sh(str(dist / 'deb/build.sh'), str(program), str(folder))
    if status != 0:
        raise SystemExit(f'the package is not built: {said}')
    return Path(said.splitlines()[-1])


def newer(program, folder):
    """The same with a later version."""
    copy = folder / 'copy'
    shutil.copytree(ROOT / 'dist', copy / 'dist')
    shutil.copytree(ROOT / 'docs', copy / 'docs')
    log = copy / 'dist/deb/changelog'
    text = log.read_text()
    log.write_text(text.replace('-1)', '-2)', 1).replace('The first package', 'The second') + '\n' + text)
    return build(program, folder / 'newer', copy / 'dist')


class Machine:
    def __init__(self, base, files):
        self.folder = Path(tempfile.mkdtemp(prefix='hence-deb.', dir='/var/tmp'))
        for name in ('root', 'layer', 'own/etc/systemd/system'):
            (self.folder / name).mkdir(parents=True)
        for name in ('console-getty.service', 'getty.target', 'systemd-logind.service', 'e2scrub_reap.service'):
            (self.folder / 'own/etc/systemd/system' / name).symlink_to('/dev/null')
        (self.folder / 'own/etc/machine-id').write_text('0123456789abcdef0123456789abcdef\n')
        for name, source in files.items():
            path = self.folder / 'own' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, Path):
                shutil.copyfile(source, path)
            else:
                path.write_text(source)
        self.group = own_group(f'hence-deb-{os.getpid()}')
        self.log = open(self.folder / 'log', 'w+', encoding='utf-8')
        join = f'echo $$ > {self.group}/cgroup.procs; ' if self.group else ''
        self.first = 0
        self.unshare = subprocess.Popen(
            ['bash', '-c', join + 'exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup '
             'bash -c "$@"', 'boot', SYSTEMD, 'boot', str(self.folder), 'rw', '', f'{self.folder}/own:{base}'],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        children = Path(f'/proc/{self.unshare.pid}/task/{self.unshare.pid}/children')
        end = time.monotonic() + 60
        while time.monotonic() < end and self.unshare.poll() is None:
            words = children.read_text().split()
            self.first = int(words[0]) if words else 0
            if self.first and Path(f'/proc/{self.first}/comm').read_text().strip() == 'systemd' \
                    and self.run('systemctl is-active multi-user.target')[0] == 0:
                return
            time.sleep(0.2)
        said = (self.folder / 'log').read_text()
        self.close()
        skip('systemd does not come up in namespaces here: ' + said[-400:])

    def run(self, command, limit=60):
        environ = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C',
                   'DEBIAN_FRONTEND': 'noninteractive', 'SYSTEMD_PAGER': 'cat'}
        enter = ['nsenter', '--target', str(self.first), '--mount', '--pid', '--uts', '--ipc', '--net', '--root', '--wd']
        status, said = sh('timeout', '-k', '5', str(limit), *enter, 'sh', '-c', command, env=environ)
        return status, said.strip()

    def good(self, what, command, limit=60):
        status, said = self.run(command, limit)
        check(what, status == 0, said)
        return said

    def close(self):
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


def look(base, package):
    shutil.copyfile(package, base / 'tmp' / package.name)
    try:
        status, said = chroot(base, f'lintian --no-tag-display-limit /tmp/{package.name}')
    finally:
        (base / 'tmp' / package.name).unlink()
    lines = [line for line in said.splitlines() if line[:3] in ('E: ', 'W: ')]
    wrong = [line for line in lines if not any(tag in line for tag in MEANT)]
    check(f'lintian finds nothing (exit status {status})', not wrong and status in (0, 1, 2), '\n'.join(wrong) or said)


def play(machine):
    def pid():
        return machine.run('systemctl show -P MainPID hence-watch')[1]

    machine.good('it is installed', 'dpkg -i /srv/first.deb', 120)
    machine.good('enabled', 'systemctl is-enabled hence-watch')
    machine.good('and started', 'systemctl is-active hence-watch')
    machine.good('its files are as they were packed', 'test -z "$(dpkg --verify hence)"')
    machine.good('the catalog has its messages', f'journalctl --list-catalog {LEAK} | grep -q hence')
    machine.good('completions can be read by bash', 'bash -n /usr/share/bash-completion/completions/hence')
    machine.good('it answers', 'systemctl start leaver; sleep 3; hence why leaver; hence leaks | grep -q leaver')
    machine.good('with metrics and alerts as the page says',
                 'mkdir -p /etc/systemd/system/hence-watch.service.d; cp /srv/drop-in.conf '
                 '/etc/systemd/system/hence-watch.service.d/; systemctl daemon-reload; systemctl restart hence-watch; '
                 'systemctl start leaver; for i in $(seq 40); do test -s /run/hence/told && break; sleep 0.5; done; '
                 'grep -q leaver /run/hence/told || { systemctl status hence-watch; exit 1; }')
    machine.good('the journal has them', f'journalctl MESSAGE_ID={LEAK} UNIT=leaver.service | grep leaver')
    machine.good("and Prometheus' reader takes the page",
                 'ip link set lo up 2>/dev/null; curl -fsS http://127.0.0.1:9755/metrics > /run/page && '
                 'python3 /srv/parse.py < /run/page')
    before = pid()
    machine.run('echo "leaver.service sleep it is meant to" >> /etc/hence/left-behind.conf')
    machine.good('it is upgraded', 'dpkg -i /srv/second.deb', 120)
    check('and restarted', pid() not in (before, '0'), before)
    machine.good('what was edited stays', 'grep -q "meant to" /etc/hence/left-behind.conf')
    machine.good('and counts', 'hence leaks | grep -A9 Intended: | grep -q "meant to"')
    machine.run('systemctl disable --now hence-watch')
    machine.good('again', 'dpkg -i /srv/second.deb', 120)
    check('what was disabled stays so', machine.run('systemctl is-enabled hence-watch')[1] == 'disabled')
    machine.run('systemctl enable --now hence-watch')
    machine.good('it is removed', 'dpkg -r hence', 120)
    check('and stopped', machine.run('systemctl is-active hence-watch')[0] != 0)
    machine.good('the ledger stays', 'test -d /var/lib/hence/segments')
    machine.good('it is installed once more', 'dpkg -i /srv/second.deb && systemctl is-active hence-watch', 120)
    machine.run('rm -r /etc/systemd/system/hence-watch.service.d')
    machine.good('it is purged', 'dpkg -P hence', 120)
    said = machine.run('find /etc /usr /lib/systemd /var/lib -xdev -name "*hence*" -not -path "/var/lib/dpkg/*"; '
                       'ls -d /run/hence')[1]
    left = [line for line in said.splitlines() if 'No such' not in line]
    check('and nothing is left', not left, left)
    check('nothing failed meanwhile', machine.run('systemctl --failed --no-legend | grep hence')[0] != 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('hence', type=Path)
    parser.add_argument('--cache', type=Path, default=Path('/var/cache/hence-packages'))
    parser.add_argument('--keep', type=Path, help='the package is kept in this folder')
    args = parser.parse_args()
    if os.geteuid() != 0:
        skip('needs root')
    for tool in ('unshare', 'nsenter', 'pivot_root', 'ip', 'bash', 'dpkg-deb', 'strip'):
        if not shutil.which(tool):
            skip(f'{tool} is missing')
    if sh('unshare', '--fork', '--pid', '--mount', '--uts', '--ipc', '--net', '--cgroup', 'true')[0] != 0:
        skip('may not make namespaces')
    args.cache.mkdir(parents=True, exist_ok=True)
    os.environ['HENCE_DEB_LEVEL'] = '0'
    work = Path(tempfile.mkdtemp(prefix='hence-deb.', dir='/var/tmp'))
    try:
        # Once stripped there is nothing to wait for.
        program = work / 'hence'
        subprocess.run(['strip', '--strip-unneeded', '-o', program, args.hence.resolve()], check=True)
        first = build(program, work / 'first')
        again = build(program, work / 'again')
        check('the same bytes twice', filecmp.cmp(first, again, shallow=False))
        second = newer(program, work)
        if args.keep:
            shutil.copy2(first, args.keep)
        base = make_base(args.cache.resolve())
        look(base, first)
        machine = Machine(base, {'srv/first.deb': first, 'srv/second.deb': second, 'srv/drop-in.conf': DROP_IN,
                                 'srv/parse.py': PARSE, 'etc/systemd/system/leaver.service': LEAVER})
        try:
            play(machine)
            if failed:
                print(machine.run('systemctl status hence-watch; journalctl -u hence-watch | tail -30')[1])
        finally:
            machine.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f'{len(failed)} of the checks of the package failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
