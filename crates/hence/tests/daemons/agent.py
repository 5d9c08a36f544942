"""Runs inside of the root, beside the manager, and plays what it is told: one daemon a line of JSON, one answer a line.

A daemon is started by its unmodified units, asked by its own client, looked at and stopped. What is looked at is
what both managers have to bring about: states, the main process and its group, who it is and what it may, sockets
that are listened on, and what is left after the stop.
"""
import json
import os
import pwd
import re
import subprocess
import sys
import time

ENVIRON = {'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL': 'C',
           'SYSTEMD_PAGER': 'cat', 'HOME': '/root'}
GROUPS = '/sys/fs/cgroup'
STATE = ['ActiveState', 'SubState', 'Result', 'LoadState']
# Longer than any of these daemons takes to come up on a loaded machine.
LONGEST = 40


def run(command, limit=20):
    try:
        done = subprocess.run(['sh', '-c', command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=ENVIRON, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return 124, ''
    return done.returncode, done.stdout.decode(errors='replace')


def shown(unit, *names):
    _, said = run(f'systemctl show -p {",".join(names)} {unit}')
    return dict(line.split('=', 1) for line in said.splitlines() if '=' in line)


def settle(units):
    """Waits until none is on its way any more."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        rows = [shown(unit, 'ActiveState', 'Job') for unit in units]
        if all(row.get('Job', '0') in ('', '0') and row.get('ActiveState') not in ('activating', 'deactivating')
               for row in rows):
            return
        time.sleep(0.1)


def listeners():
    """Everything that is listened on, whoever does."""
    found = set()
    for kind in ('tcp', 'tcp6', 'udp', 'udp6'):
        try:
            with open(f'/proc/net/{kind}', encoding='ascii') as file:
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            port, state = int(words[1].rsplit(':', 1)[1], 16), words[3]
            # Ports that nobody chose are of no meaning.
            if port < 32768 and state == ('0A' if kind.startswith('tcp') else '07'):
                found.add(f'{kind}:{port}')
    with open('/proc/net/unix', encoding='utf-8', errors='replace') as file:
        for line in file.read().splitlines()[1:]:
            words = line.split(None, 7)
            # Of streams only those that accept; of datagrams those that have a name.
            if len(words) == 8 and words[7].startswith('/') and (words[4] == '0002' or int(words[3], 16) & 0x10000):
                found.add('unix:' + re.sub(r'\d{3,}|\.[A-Za-z0-9]{6}$', 'N', words[7]))
    return found


def members(group):
    """The processes of a control group and of what is below it."""
    found = []
    for folder, _, files in os.walk(GROUPS + group):
        if 'cgroup.procs' in files:
            with open(folder + '/cgroup.procs', encoding='ascii') as file:
                found += [int(pid) for pid in file.read().split()]
    return found


def read(path):
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read()
    except OSError:
        return ''


def may(pid):
    """Who a process is and what it may."""
    status = dict(line.split(':', 1) for line in read(f'/proc/{pid}/status').splitlines() if ':' in line)
    if not status:
        return {}
    try:
        user = pwd.getpwuid(int(status['Uid'].split()[1])).pw_name
    except KeyError:
        user = 'dynamic'
    found = {'user': user, 'umask': status.get('Umask', '').strip(), 'NoNewPrivs': status['NoNewPrivs'].strip(),
             'seccomp': str(int(status['Seccomp']) > 0), 'CapBnd': status['CapBnd'].strip(),
             'CapEff': status['CapEff'].strip(), 'groups': ' '.join(sorted(status['Groups'].split()))}
    for kind in ('mnt', 'net', 'user', 'uts', 'ipc', 'pid'):
        try:
            found[f'own {kind}'] = str(os.readlink(f'/proc/{pid}/ns/{kind}') != os.readlink(f'/proc/1/ns/{kind}'))
        except OSError:
            pass
    limits = read(f'/proc/{pid}/limits')
    for name in ('Max open files', 'Max locked memory', 'Max core file size', 'Max processes'):
        line = next((line for line in limits.splitlines() if line.startswith(name)), '')
        found[name[4:]] = ' '.join(line[len(name):].split()[:2])
    found['oom score'] = read(f'/proc/{pid}/oom_score_adj').strip()
    environ = read(f'/proc/{pid}/environ').split('\0')
    # hence's services write into pipes rather than a journal's sockets, and nothing of it resolves names for the bus.
    own = {'_', 'JOURNAL_STREAM', 'SYSTEMD_NSS_DYNAMIC_BYPASS'}
    found['environment'] = ' '.join(sorted({entry.split('=')[0] for entry in environ if '=' in entry} - own))
    return found


def group_of(pid):
    line = next((line for line in read(f'/proc/{pid}/cgroup').splitlines() if line.startswith('0::')), '0::')
    return line[3:]


def look(units):
    """What is to be seen of each unit."""
    found = {}
    for unit in units:
        row = shown(unit, *STATE, 'MainPID', 'ControlGroup', 'Type')
        seen = {'state': ' '.join(row.get(name, '') for name in STATE[:3] if row.get(name)), 'type': row.get('Type', '')}
        if row.get('LoadState') != 'loaded':
            seen['state'] += ' ' + row.get('LoadState', '')
        pid = int(row.get('MainPID') or 0)
        if pid:
            seen['main'] = read(f'/proc/{pid}/comm').strip() or 'gone'
            seen['group'] = group_of(pid)
            seen['may'] = may(pid)
        inside = members(row['ControlGroup']) if row.get('ControlGroup') else []
        seen['processes'] = sorted({re.sub(r'\d+', 'N', read(f'/proc/{one}/comm').strip()) for one in inside} - {''})
        found[unit] = seen
    return found


def play(daemon):
    """One daemon, from before its start to after its stop."""
    units, seen = daemon['units'], {}
    if daemon['prepare']:
        status, said = run(daemon['prepare'], 60)
        if status:
            return {'error': 'it can\'t be prepared: ' + said[-500:]}
    before = listeners()
    seen['start'], said = run('systemctl start ' + ' '.join(units), LONGEST + 20)
    seen['said'] = said[-1500:]
    looked_at = units + daemon['more']
    settle(looked_at)
    status = None
    if daemon['probe']:
        end = time.monotonic() + daemon['patience']
        while True:
            status, said = run(daemon['probe'])
            if status == 0 or time.monotonic() > end:
                break
            time.sleep(0.3)
        seen['probe said'] = said[-500:]
    seen['probe'] = status
    settle(looked_at)
    time.sleep(0.3)
    seen['units'] = look(looked_at)
    seen['listens'] = sorted(listeners() - before)
    if any('failed' in unit['state'] for unit in seen['units'].values()):
        seen['log'] = run(f'journalctl --no-pager -q -n 15 -u {units[0]}; hence why {units[0]} 2>&1 | head -40')[1][-3000:]
    groups = [shown(unit, 'ControlGroup').get('ControlGroup', '') for unit in looked_at]
    seen['stop'], _ = run('systemctl stop ' + ' '.join(reversed(looked_at)), LONGEST + 20)
    settle(looked_at)
    seen['stopped'] = {unit: row['state'] for unit, row in look(looked_at).items()}
    seen['left'] = sum(len(members(group)) for group in groups if group)
    seen['still listens'] = sorted(listeners() - before)
    run('systemctl reset-failed')
    return seen


def main():
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = play(asked) if 'units' in asked else dict(zip(('status', 'said'), run(asked['run'], 60)))
        except Exception as error:  # Told to the one who asked; the next daemon is another.
            answer = {'error': repr(error)}
        print(json.dumps(answer), flush=True)


main()
