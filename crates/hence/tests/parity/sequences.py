"""Makes sequences: small sets of units and what is asked of them, by chance, each from its seed alone.

Whatever is made has an end that only one thing decides: orderings have no cycles, what restarts has a start limit,
and what ends by itself ends sooner than `agent.py` calls it at rest. It runs nothing.
"""
import random
import re

# Names in files and steps. They are given a prefix when they are played; `z` never has a file.
UNIT = re.compile(r'\b([a-ez])(@\w*)?\.(service|target|socket|timer|path|slice|mount)\b')
# Steps that stop or cancel what belongs to others too: such a sequence has its machines for itself.
ALONE = re.compile(r'^(isolate|daemon-reexec)\b|--job-mode=(isolate|flush)\b')

# Steps after which the manager reads everything anew.
RELOADS = re.compile(r'^(daemon-re|enable|disable|mask|unmask|revert|preset)')


def say(word):
    """What programs do when they run: they say so on the trace."""
    return f'echo %n {word} >> /run/trace'


def maybe(chance, share):
    return chance.random() < share


def some(chance, rows):
    """Of rows of a share and what makes a line, the lines that chance took."""
    return [make() for share, make in rows if maybe(chance, share)]


def program(chance, kind):
    """A command line for ExecStart=; `sleep 9999` is what goes on."""
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
        f"{say('main')}; sleep 0.2; exit {chance.choice([0, 0, 1])}",
        f"{say('main')}; kill -{chance.choice(['KILL', 'TERM', 'ABRT', 'HUP'])} $$$$",
        f"{say('main')}; sleep 9999 & exit {chance.choice([0, 1])}",
    ]
    if kind == 'oneshot':
        body = chance.choice(ends[:4] + ends)
    elif kind == 'forking':
        body = chance.choice([f"{say('main')}; sleep 9999 & exit 0", f"{say('main')}; exit 1",
                              f"{say('main')}; (sleep 0.2; exit 1) & exit 0", f"{say('main')}; exit 0",
                              f"{say('main')}; sleep 9999 & echo $$! > /run/pid-%n; exit 0"])
    elif kind == 'notify':
        ready = f"{say('main')}; systemd-notify --ready"
        body = chance.choice([
            f"{ready}; exec sleep 9999", f"{ready}; exec sleep 9999", f"{ready}; sleep 0.2; exit 1",
            f"{say('main')}; exit 0", f"{say('main')}; exec sleep 9999",
            f"{ready} --status=here; exec sleep 9999",
            f"{ready}; systemd-notify STOPPING=1; sleep 0.2; exit {chance.choice([0, 1])}",
            f"{ready}; systemd-notify STOPPING=1; exec sleep 9999",
            f"{say('main')}; systemd-notify EXTEND_TIMEOUT_USEC=1500000; sleep 1.3; systemd-notify --ready; "
            'exec sleep 9999',
            f"(sleep 9999 & echo $$! > /run/pid-%n); {say('main')}; systemd-notify --ready "
            "MAINPID=$$(cat /run/pid-%n); exit 0",
            f"trap '{say('hup')}; systemd-notify RELOADING=1; systemd-notify --ready' HUP; {ready}; "
            'while :; do sleep 0.1; done',
            f"{ready}; systemd-notify WATCHDOG=trigger; exec sleep 9999"])
    else:
        # Whether a program that ends at once was executed in time to have its start succeed is chance.
        body = chance.choice(stays + stays + (ends if kind == 'simple' else ends[3:4]))
    return f'/bin/sh -c "{body}"'


def side(chance, word):
    """A command line for the other Exec directives."""
    end = chance.choice(['true', 'true', 'true', 'exit 1', 'sleep 0.2', 'kill -KILL $$$$'])
    return chance.choice(['', '', '-']) + f'/bin/sh -c "{say(word)}; {end}"'


def service(chance):
    """The lines of [Service]."""
    kind = chance.choice(['simple', 'simple', 'exec', 'oneshot', 'oneshot', 'forking', 'notify'])
    lines = [f'Type={kind}']
    if kind == 'oneshot':
        lines += ['ExecStart=' + chance.choice(['', '', '-']) + program(chance, kind)
                  for _ in range(chance.choice([0, 0, 0, 1, 2]))]
    lines.append('ExecStart=' + program(chance, kind))
    if kind == 'notify':
        lines.append('NotifyAccess=' + chance.choice(['all'] * 5 + ['main', 'exec', 'none']))
    if '/run/pid-' in lines[-1]:
        lines.append('PIDFile=/run/pid-%n')
    # Long enough for a loaded machine, short enough to be waited for.
    lines += ['TimeoutStartSec=1.2', 'TimeoutStopSec=0.8', 'RestartSec=' + chance.choice(['0', '100ms', '300ms'])]
    restarts = ['no', 'on-failure', 'always', 'on-abnormal', 'on-success', 'on-abort', 'on-watchdog']
    if kind == 'oneshot':
        restarts = ['no', 'on-failure', 'on-abnormal', 'on-abort']
    lines.append('Restart=' + chance.choice(restarts))
    conditions = ['0', '0', '1', '255', '254']
    return lines + some(chance, [
        (0.3, lambda: 'RemainAfterExit=yes'),
        (0.4, lambda: 'KillMode=' + chance.choice(['process', 'mixed', 'none', 'control-group'])),
        (0.15, lambda: 'KillSignal=' + chance.choice(['SIGINT', 'SIGHUP', 'SIGKILL', 'SIGUSR1'])),
        (0.05, lambda: 'RestartKillSignal=SIGKILL'),
        (0.05, lambda: 'FinalKillSignal=SIGABRT'),
        (0.1, lambda: 'SendSIGKILL=no'),
        (0.1, lambda: 'SendSIGHUP=yes'),
        (0.15, lambda: 'SuccessExitStatus=' + chance.choice(['1', '7 SIGKILL', 'SIGABRT', '3'])),
        (0.1, lambda: 'RestartPreventExitStatus=' + chance.choice(['1', 'SIGKILL', '7'])),
        (0.1, lambda: 'RestartForceExitStatus=' + chance.choice(['0', '1', 'SIGTERM'])),
        (0.2, lambda: 'ExecStartPre=' + side(chance, 'pre')),
        (0.06, lambda: 'ExecStartPre=' + side(chance, 'pre2')),
        (0.2, lambda: 'ExecStartPost=' + side(chance, 'post')),
        (0.2, lambda: 'ExecStop=' + side(chance, 'stop')),
        (0.05, lambda: 'ExecStop=' + side(chance, 'stop2')),
        (0.2, lambda: 'ExecStopPost=' + side(chance, 'stoppost')),
        (0.2, lambda: 'ExecReload=' + side(chance, 'reload')),
        (0.1, lambda: f'ExecCondition=/bin/sh -c "{say("condition")}; exit {chance.choice(conditions)}"'),
        (0.06, lambda: 'ExecStart=/bin/nothing-there' if kind == 'oneshot' else 'ExecStartPre=/bin/nothing-there'),
        (0.06, lambda: 'RuntimeMaxSec=250ms'),
        (0.05, lambda: 'WatchdogSec=250ms'),
        (0.06, lambda: 'GuessMainPID=no'),
        (0.06, lambda: 'TimeoutStartFailureMode=' + chance.choice(['abort', 'kill'])),
        (0.06, lambda: 'TimeoutStopFailureMode=' + chance.choice(['abort', 'kill'])),
        (0.05, lambda: 'TimeoutAbortSec=300ms'),
        (0.05, lambda: 'OOMPolicy=stop'),
        (0.05, lambda: 'ExitType=cgroup' if kind not in ('oneshot', 'forking') else 'ExitType=main'),
        (0.05, lambda: 'User=nobody'),
        (0.03, lambda: 'User=nobody-of-this-name'),
        (0.03, lambda: 'WorkingDirectory=/nothing-there'),
        (0.03, lambda: 'EnvironmentFile=' + chance.choice(['', '-']) + '/nothing-there'),
        (0.05, lambda: 'RuntimeDirectory=q-%p'),
        # systemd waits for the file of a daemon that is gone (ARCHITECTURE.md, "Where we differ").
        (0.03, lambda: 'PIDFile=/run/pid-%n' if not any('(sleep 0.2' in line for line in lines) else 'OOMPolicy=stop'),
    ])


def of_others(chance, own, names, ranks):
    """Dependencies on others. Orderings make no cycles: which of its jobs a manager gives up is its own affair."""
    lines = []

    def order(other):
        return f'{"After" if ranks[other] < ranks[own] else "Before"}={other}'

    others = [name for name in names if name != own and name in ranks and own in ranks]
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
    if maybe(chance, 0.05):
        lines.append(chance.choice(['Wants', 'Requires', 'BindsTo', 'Requisite', 'After', 'Upholds']) + '=z.service')
    return lines


CONDITIONS = [
    'PathExists=/nothing', 'PathExists=/etc', 'PathExists=!/nothing', 'PathExistsGlob=/et*', 'PathIsDirectory=/etc',
    'PathIsDirectory=/etc/passwd', 'PathIsSymbolicLink=/bin', 'PathIsMountPoint=/proc', 'PathIsMountPoint=/usr/bin',
    'PathIsReadWrite=/run', 'DirectoryNotEmpty=/etc', 'FileNotEmpty=/etc/passwd', 'FileNotEmpty=/nothing',
    'FileIsExecutable=/bin/sh', 'FileIsExecutable=/etc/passwd', 'User=root', 'User=!@system', 'User=4711', 'Group=root',
    'Host=parity', 'Host=!parity', 'Virtualization=container', 'Virtualization=vm', 'Virtualization=!yes',
    'Architecture=x86-64', 'Architecture=native', 'Architecture=arm64', 'Capability=CAP_SYS_ADMIN',
    'Security=selinux', 'Environment=PATH', 'Environment=NOTHING=1', 'CPUs=>=1', 'CPUs=>9000', 'Memory=>1M',
    'KernelVersion=>=3.0', 'KernelVersion=<3.0', 'FirstBoot=no', 'NeedsUpdate=/nothing', 'ACPower=false',
    'ControlGroupController=pids', 'OSRelease=ID=debian', 'OSRelease=ID=none', 'CPUFeature=sse2',
    'PathIsEncrypted=/nothing', 'KernelCommandLine=no-such-word',
]


def common(chance, name, names, ranks, triggered):
    """The lines of [Unit]."""
    lines = of_others(chance, name, names, ranks)
    kind = name.rpartition('.')[2]
    lines += some(chance, [
        (0.08, lambda: 'StopWhenUnneeded=yes'),
        (0.05, lambda: 'RefuseManualStop=yes'),
        (0.05, lambda: 'RefuseManualStart=yes'),
        (0.04, lambda: 'JobTimeoutSec=1'),
        (0.02, lambda: 'JobRunningTimeoutSec=500ms'),
        (0.04, lambda: 'IgnoreOnIsolate=yes'),
        (0.04, lambda: 'AllowIsolate=yes'),
        (0.04, lambda: 'OnFailureJobMode=' + chance.choice(['fail', 'replace-irreversibly', 'ignore-dependencies'])),
        (0.05, lambda: 'CollectMode=inactive-or-failed'),
    ])
    lines += ['DefaultDependencies=no'] if maybe(chance, 0.1) and kind != 'slice' else []
    if maybe(chance, 0.14):
        how = chance.choice(['Condition', 'Condition', 'Assert'])
        for row in chance.sample(CONDITIONS, chance.choice([1, 1, 2, 3])):
            which, _, value = row.partition('=')
            # One that doesn't hold keeps most sequences from saying anything more.
            lines.append(f'{how}{which}={chance.choice(["", "", "|"])}{value}')
    if kind == 'service' or name in triggered:
        # Whatever restarts comes to an end.
        lines += [f'StartLimitIntervalSec={chance.choice([100, 100, 1000])}',
                  f'StartLimitBurst={chance.choice([1, 2, 3, 4])}']
    elif maybe(chance, 0.1) and kind in ('timer', 'path', 'socket', 'mount'):
        lines += ['StartLimitIntervalSec=100', f'StartLimitBurst={chance.choice([1, 2])}']
    return lines


def timer(chance, to):
    return some(chance, [
        (0.2, lambda: 'OnUnitActiveSec=' + chance.choice(['150ms', '30'])),
        (0.2, lambda: 'OnUnitInactiveSec=' + chance.choice(['150ms', '30'])),
        (0.1, lambda: 'OnBootSec=1ms'),
        (0.1, lambda: 'OnCalendar=' + chance.choice(['2001-01-01', '2040-01-01', 'weekly'])),
        (0.2, lambda: 'RemainAfterElapse=no'),
    ]) + [f'OnActiveSec={chance.choice(["200ms", "200ms", "0", "30"])}', 'AccuracySec=1ms'] + \
        ([f'Unit={to}'] if to else [])


def path(chance, to):
    kind = chance.choice(['PathExists', 'PathExists', 'PathExistsGlob', 'PathChanged', 'PathModified',
                          'DirectoryNotEmpty'])
    return [f'{kind}=/run/hint-%n'] + some(chance, [
        (0.2, lambda: 'MakeDirectory=yes'),
        (0.2, lambda: f'TriggerLimitIntervalSec=100\nTriggerLimitBurst={chance.choice([1, 2])}'),
    ]) + ([f'Unit={to}'] if to else [])


def socket(chance, to, accept):
    kind = 'ListenStream' if accept else chance.choice(['ListenStream', 'ListenStream', 'ListenDatagram', 'ListenFIFO',
                                                        'ListenSequentialPacket'])
    return [f'{kind}=/run/sock-%n'] + (['Accept=yes'] if accept else []) + some(chance, [
        (0.2, lambda: 'RemoveOnStop=yes'),
        (0.2, lambda: f'TriggerLimitIntervalSec=100\nTriggerLimitBurst={chance.choice([1, 2])}'),
        (0.1, lambda: 'MaxConnections=1' if accept else 'FlushPending=yes'),
        (0.1, lambda: 'ExecStartPre=' + side(chance, 'socket-pre')),
        (0.1, lambda: 'ExecStartPost=' + side(chance, 'socket-post')),
        (0.1, lambda: 'ExecStopPre=' + side(chance, 'socket-stop')),
        (0.1, lambda: 'ExecStopPost=' + side(chance, 'socket-stoppost')),
        (0.2, lambda: f'SocketMode=06{chance.choice("0246")}0'),
        (0.1, lambda: 'FileDescriptorName=here'),
        (0.1, lambda: 'Symlinks=/run/link-%n'),
    ]) + ([f'Service={to}'] if to and not accept else []) + ['TimeoutSec=1.2']


def mount(chance):
    return ['What=' + chance.choice(['tmpfs', 'tmpfs', 'tmpfs', '/nothing-there', '/run']),
            'Where=/run/@prefix@/e', 'TimeoutSec=1.2'] + some(chance, [
                (0.5, lambda: 'Type=tmpfs'), (0.3, lambda: 'Options=' + chance.choice(['bind', 'ro', 'size=1M', 'bad=no'])),
                (0.2, lambda: 'DirectoryMode=0700'), (0.1, lambda: 'LazyUnmount=yes'), (0.1, lambda: 'ForceUnmount=yes'),
                (0.1, lambda: 'ReadWriteOnly=yes')])


def text(chance, name, names, ranks, triggers):
    """One unit file."""
    kind = name.rpartition('.')[2]
    to = triggers.get(name)
    said = '[Unit]\n' + ''.join(line + '\n' for line in common(chance, name, names, ranks, triggers.values()))
    same = to == re.sub(r'\..*', '.service', name)
    lines = {
        'service': lambda: service(chance),
        'timer': lambda: timer(chance, None if same and maybe(chance, 0.5) else to),
        'path': lambda: path(chance, None if same and maybe(chance, 0.5) else to),
        'socket': lambda: socket(chance, None if same else to, '@' in (to or '')),
        'mount': lambda: mount(chance),
        'slice': lambda: some(chance, [(0.2, lambda: 'TasksMax=50'), (0.2, lambda: 'CPUWeight=20')]),
        'target': lambda: [],
    }[kind]()
    if kind == 'service':
        slices = [other for other in names if other.endswith('.slice')]
        lines += [f'Slice={chance.choice(slices)}'] if slices and maybe(chance, 0.6) else []
    if lines:
        said += f'[{kind.capitalize()}]\n' + ''.join(line + '\n' for line in lines)
    if maybe(chance, 0.15):
        said += '[Install]\n' + chance.choice(['WantedBy=default.target\n', f'WantedBy={chance.choice(names)}\n',
                                               f'RequiredBy={chance.choice(names)}\n', 'Alias=e.service\n',
                                               f'Also={chance.choice(names)}\n'])
    return said


def drop_in(chance, name, names, ranks):
    """What a drop-in or an edit adds."""
    rows = ['[Unit]\nDescription=edited', '[Unit]\nStartLimitBurst=5']
    rows += ['[Unit]\n' + line for line in of_others(chance, name, names, ranks) if 'z.service' not in line]
    if name.endswith('.service'):
        rows += ['[Service]\nExecStart=\nExecStart=' + program(chance, 'simple'),
                 '[Service]\nRestart=' + chance.choice(['no', 'on-failure', 'always']),
                 '[Service]\nExecStop=' + side(chance, 'stop-edited'),
                 '[Service]\nExecStopPost=\nExecStopPost=' + side(chance, 'stoppost-edited'),
                 '[Service]\nKillMode=' + chance.choice(['process', 'control-group', 'mixed']),
                 '[Service]\nRemainAfterExit=' + chance.choice(['yes', 'no']),
                 '[Service]\nType=' + chance.choice(['simple', 'oneshot', 'bogus']),
                 '[Service]\nExecStart=relative/path',
                 '[Service]\nNoSuchDirective=1\nTimeoutStopSec=bogus']
    return chance.choice(rows)


SETTABLE = ['CPUWeight=50', 'MemoryMax=900M', 'CPUQuota=90%', 'IOWeight=50', 'MemoryMax=bogus', 'Restart=no', 'Description=set']
# TasksMax= only where it is set: ARCHITECTURE.md says what it is where it isn't.
SHOWN = 'CPUWeight,MemoryMax,CPUQuotaPerSecUSec,IOWeight,Description,Slice'


class Maker:
    """One sequence on its way."""

    def __init__(self, seed):
        self.chance = chance = random.Random(seed)
        letters = 'abcde'[:chance.choice([1, 2, 2, 3, 3, 4, 5])]
        self.names = [f'{letter}.{chance.choice(["service"] * 8 + ["target"])}' for letter in letters]
        self.triggers, self.extra = {}, {}
        if maybe(chance, 0.3) and self.names[0].endswith('.service'):
            self.trigger()
        if maybe(chance, 0.1):
            self.names.append(chance.choice(['e.slice', 'e.slice', 'e.mount']))
        # A trigger is ordered before what it starts, a slice and a mount before what is in them.
        order = chance.sample(self.names, len(self.names))
        order.sort(key=lambda name: (name not in self.triggers, not name.endswith(('.slice', '.mount'))))
        self.ranks = {name: rank for rank, name in enumerate(order)}
        for name in list(self.triggers.values()):
            if '@' in name:
                self.extra[name] = text(chance, name, self.names, {**self.ranks, name: 99}, {})
        self.files = {name: text(chance, name, self.names, self.ranks, self.triggers) for name in self.names}
        self.files.update(self.extra)
        self.with_files()

    def trigger(self):
        """A timer, socket or path of the first service."""
        kind = self.chance.choice(['timer', 'socket', 'path'])
        name = f'a.{kind}'
        if len(self.names) == 1 or maybe(self.chance, 0.5):
            self.names.append(name)
        else:
            self.names[-1] = name
        accepts = kind == 'socket' and maybe(self.chance, 0.3)
        self.triggers[name] = 'a@.service' if accepts else 'a.service'

    def with_files(self):
        """Templates, masks, aliases, drop-ins."""
        chance = self.chance
        services = [name for name in self.names if name.endswith('.service')]
        if services and maybe(chance, 0.08) and 'a@.service' not in self.files:
            # One becomes a template of which there are instances.
            self.files['b@.service'] = '[Unit]\nStartLimitIntervalSec=100\nStartLimitBurst=3\n[Service]\n' + \
                ''.join(line + '\n' for line in service(chance))
            self.names += ['b@one.service', 'b@two.service']
            self.ranks.update({'b@one.service': 50, 'b@two.service': 51})
            self.files[services[0]] = self.files[services[0]].replace(
                '[Unit]\n', f'[Unit]\n{chance.choice(["Wants", "Requires", "PartOf"])}=b@one.service\n', 1)
            if maybe(chance, 0.3):
                self.files['b@one.service.d/10-one.conf'] = drop_in(chance, 'b@one.service', self.names, self.ranks) + '\n'
        for name in list(self.files):
            if '@' not in name and '/' not in name and maybe(chance, 0.06):
                self.files[f'{name}.d/10-first.conf'] = drop_in(chance, name, self.names, self.ranks) + '\n'
        if len(self.names) > 1 and maybe(chance, 0.04):
            # Not what is triggered: a trigger of nothing is another question.
            masked = chance.choice(self.names[1:])
            if masked in self.files and masked not in self.triggers:
                self.files[masked] = '-> /dev/null\n'
        if 'e' not in ''.join(name[0] for name in self.names) and maybe(chance, 0.04):
            self.files['e.service'] = f'-> {self.names[0]}\n' if self.names[0].endswith('.service') else '-> /dev/null\n'

    def unit(self):
        if maybe(self.chance, 0.02):
            return 'z.service'
        return self.chance.choice(self.names)

    def service(self):
        services = [name for name in self.names if name.endswith('.service')]
        return self.chance.choice(services or self.names)

    def traffic(self):
        """What triggers wait for."""
        chance = self.chance
        for name in self.triggers:
            if name.endswith('.socket'):
                return [f'connect {name}']
            if name.endswith('.path'):
                return [chance.choice([f'touch {name}', f'touch {name}', f'unlink {name}', f'fill {name}'])]
        return [f'start {self.unit()}']

    def edits(self):
        chance, name = self.chance, self.unit()
        kind = name.rpartition('.')[2]
        if '@' in name or name.startswith('z') or maybe(chance, 0.7):
            lines = drop_in(chance, name, self.names, self.ranks)
            write = f'write {name}.d/20-later.conf ' + lines.replace('\n', '\\n')
        elif maybe(chance, 0.6) or kind == 'mount':
            write = f'write {name} ' + drop_in(chance, name, self.names, self.ranks).replace('\n', '\\n')
        else:
            write = f'remove {name}'
        after = ['daemon-reload'] if maybe(chance, 0.85) else []
        # Whether one that was not loaded before is found to be outdated at once is of no use to anybody.
        # A drop-in that can't be used counts there as one that was never read, and one of a masked unit as new.
        masked = self.files.get(name, '').startswith('-> /dev/null')
        outdated = '' if 'relative/path' in write or masked else 'NeedDaemonReload,'
        return [f'start {name}', write, *after, f'say {name} {outdated}LoadState,Description']

    def rare(self):
        """What is seldom asked."""
        chance, name, service_of = self.chance, self.unit(), self.service()
        return chance.choice([
            lambda: [f'set-property --runtime {name} {chance.choice(SETTABLE)}', f'say {name} {SHOWN}'],
            lambda: [f'set-property {name} {chance.choice(SETTABLE)}', f'say {name} {SHOWN}', 'daemon-reload',
                     f'say {name} {SHOWN}'],
            lambda: [f'set-property --runtime {service_of} TasksMax=20', f'say {service_of} TasksMax'],
            lambda: [f'mask --runtime {name}', f'{chance.choice(["start", "stop", "restart"])} {name}',
                     f'unmask --runtime {name}'],
            lambda: [f'mask {name}', f'say {name} LoadState,UnitFileState'],
            lambda: [f'enable {name}', f'is-enabled {name}', f'say {name} UnitFileState'],
            lambda: [f'enable --now {name}', f'disable {chance.choice(["", "--now "])}{name}'],
            lambda: [f'disable {name}'],
            lambda: [f'is-active {name}', f'is-failed {name}'],
            lambda: [f'clean --what=runtime {service_of}'],
            lambda: [f'freeze {service_of}', f'thaw {service_of}'],
            lambda: [f'revert {name}'],
            lambda: [f'deps {name}'],
            lambda: [f'deps {name}'],
            lambda: [f'transient c.service {chance.choice(["", "RemainAfterExit=yes ", "Type=oneshot "])}'
                     f'{chance.choice(["true", "false", "sleep_9999"])}'],
            lambda: [f'isolate {name}'],
            lambda: ['daemon-reexec'],
            lambda: [f'start --job-mode={chance.choice(["isolate", "flush"])} {name}'],
        ])()

    def step(self):
        chance, name, pick = self.chance, self.unit(), self.chance.random()
        # Not one twice: whether the second request finds the first one's job is chance.
        others = [other for other in self.names if other != name]
        more = ' ' + chance.choice(others) if others and maybe(chance, 0.1) else ''
        if self.triggers and maybe(chance, 0.3):
            return self.traffic()
        if pick < 0.32:
            return [f'start {name}{more}']
        if pick < 0.44:
            return [f'stop {name}{more}']
        if pick < 0.53:
            return [f'restart {name}{more}']
        if pick < 0.59:
            return [chance.choice(['try-restart', 'reload', 'reload-or-restart', 'try-reload-or-restart']) + f' {name}']
        if pick < 0.66:
            return [f'main {chance.choice([9, 15, 6, 1])} {self.service()}']
        if pick < 0.71:
            who = chance.choice(['', '--kill-who=main ', '--kill-who=all ', '--kill-who=control '])
            return [f'kill {who}--signal={chance.choice(["TERM", "KILL", "HUP"])} {self.service()}']
        if pick < 0.75:
            return [f'reset-failed {name}']
        if pick < 0.81:
            mode = chance.choice(['fail', 'ignore-dependencies', 'ignore-requirements', 'replace-irreversibly'])
            return [f'{chance.choice(["start", "stop", "restart"])} --job-mode={mode} {name}']
        if pick < 0.84:
            return [f'{chance.choice(["start", "stop", "restart"])} --no-block {name}',
                    f'{chance.choice(["start", "stop", "restart"])} {self.unit()}']
        if pick < 0.91:
            return self.edits()
        if pick < 0.93 and any(name.endswith('.mount') for name in self.names):
            return ['umount e.mount']
        return self.rare()


def make(seed):
    """One sequence: its files and its steps."""
    maker = Maker(seed)
    steps = []
    if maker.triggers and maybe(maker.chance, 0.8):
        steps.append(f'start {next(iter(maker.triggers))}')
    for _ in range(maker.chance.randint(2, 6)):
        steps += maker.step()
    return with_limits(maker.chance, maker.files, steps)


def without_loops(said):
    """Without a start limit, and without what would need one."""
    said = re.sub(r'^(OnFailure|OnSuccess|Upholds)=.*\n', '', said, flags=re.M)
    said = re.sub(r'^StartLimitIntervalSec=.*$', 'StartLimitIntervalSec=0', said, flags=re.M)
    return re.sub(r'\bRestart=[a-z-]+', 'Restart=no', said)


def with_limits(chance, files, steps):
    """Start limits outlive a reload here and not there (ARCHITECTURE.md, "Where we differ"). So either nothing of a
    sequence that reloads has any, and nothing restarts, or all are reset before."""
    if not any(RELOADS.match(step) for step in steps):
        return files, steps
    loops = any(name.endswith(('.socket', '.path', '.timer')) for name in files)
    if maybe(chance, 0.5) and not loops:
        free = {name: without_loops(said) for name, said in files.items()}
        return free, [re.sub(r'(OnFailure|OnSuccess|Upholds)=\S+', 'Wants=z.service', without_loops(step)) for step in steps]
    names = ' '.join(units_of(files, []))
    return files, [more for step in steps
                   for more in ([f'reset-failed {names}', step] if RELOADS.match(step) else [step])]


def units_of(files, steps):
    """Every unit that is named, in order, but for templates, which can't be up."""
    found = {}
    for said in [*files, *files.values(), *steps]:
        for match in UNIT.finditer(said):
            if match[2] != '@':
                found[match[0]] = True
    return sorted(found)


def text_of(files, steps):
    return ''.join(f'-- {name} --\n{said}' for name, said in files.items()) + '-- steps --\n' + '\n'.join(steps) + '\n'


def parse(said):
    files, steps, name = {}, [], None
    for line in said.splitlines():
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


def parts(files, steps):
    """What can be left out, each by its place: steps, files, lines of files."""
    found = [('step', index) for index in range(len(steps))]
    found += [('file', name) for name in files if len(files) > 1]
    for name, said in files.items():
        lines = said.splitlines()
        starts = sum(line.startswith('ExecStart=') for line in lines)
        found += [('line', name, index) for index, line in enumerate(lines)
                  if not line.startswith(('[', '-> ', 'Timeout', 'StartLimit', 'Where=', 'What='))
                  and not (line.startswith('ExecStart=') and starts == 1)]
    return found


def without(files, steps, left_out):
    """The sequence without these parts; nothing where no sequence is left."""
    kept_steps = [step for index, step in enumerate(steps) if ('step', index) not in left_out]
    kept = {}
    for name, said in files.items():
        if ('file', name) not in left_out:
            kept[name] = ''.join(line for index, line in enumerate(said.splitlines(keepends=True))
                                 if ('line', name, index) not in left_out)
    return (kept, kept_steps) if kept and kept_steps else None
