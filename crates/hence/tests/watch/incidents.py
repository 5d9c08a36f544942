"""Incidents whose causes are known, for a machine that hence watches.

Each has unit files, a script that makes it happen, the unit that is asked about, and what the answer's root
has to be: its kind, and where they are given its unit, a part of the client's command line, the exit, and the
directive that the chain has to name."""

SLEEP = "[Service]\nExecStart=/bin/sleep 1000\n"


def service(name, text="", unit="", **more):
    """A service that sleeps, with these further lines."""
    body = f"[Unit]\nDescription={name}\n{unit}\n[Service]\nExecStart=/bin/sleep 1000\n{text}"
    return {f"{name}.service": body, **more}


def incident(name, files, do, ask, kind, *, unit=None, command=None, rule=None, pid_of=None, event=None,
             needs=None, left=None, what=None, parent=None, check=None):
    """`left` 0: nobody must be said to be left behind. `check`: what the script prints where it worked."""
    return {"name": name, "files": files, "do": do, "ask": ask, "kind": kind, "unit": unit, "left": left,
            "command": command, "rule": rule, "pid_of": pid_of, "event": event, "needs": needs, "what": what, "parent": parent, "check": check}


COLLECTOR = """[Unit]
Description=AWS OTEL collector
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c 'sleep 0.7; echo "Error: failed to get config: has invalid keys: address" >&2; exit 1'
Restart=always
RestartSec=0.6
"""
FOO = """[Unit]
Description=foo
Requires=aws-otel-collector.service
StartLimitIntervalSec=0
[Service]
Type=simple
ExecStart=/bin/sh -c 'sleep 4000 & exec sleep 3000'
Restart=always
KillMode=process
RestartSec=3
"""


def pair(name, directive, other_text="", own="", after=False):
    """`name`-a with a dependency on `name`-b."""
    order = f"After={name}-b.service\n" if after else ""
    a = f"[Unit]\n{directive}={name}-b.service\n{order}\n{SLEEP}{own}"
    return {f"{name}-a.service": a, f"{name}-b.service": f"[Unit]\n\n{SLEEP}{other_text}"}


def start(*units):
    return "systemctl start " + " ".join(units) + "; sleep 0.7; "


CALL = "busctl --system call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "

ALL = [
    incident("seed: foo follows the collector", {"aws-otel-collector.service": COLLECTOR, "foo.service": FOO},
             "systemctl start foo; sleep 7", "foo.service", "exit", unit="aws-otel-collector.service",
             rule="Requires=aws-otel-collector.service", left=2),
    incident("stop, private socket", service("m1"), start("m1") + "systemctl stop m1", "m1", "request",
             command="systemctl stop m1"),
    incident("stop, bus", service("m2"), start("m2") + CALL + "StopUnit ss m2.service replace", "m2", "request",
             command="busctl", needs="bus"),
    incident("stop, without waiting", service("m3"), start("m3") + "systemctl --no-block stop m3", "m3",
             "request", command="systemctl --no-block stop m3", needs="processes"),
    incident("restart", service("m4"), start("m4") + "systemctl restart m4", "m4", "request",
             command="systemctl restart m4"),
    incident("start", service("m5"), "systemctl start m5", "m5", "request", command="systemctl start m5"),
    incident("stop by a script", {**service("m6"), "/opt/tidy-up": "#!/bin/bash\nsystemctl stop m6\nsleep 0.1\n"},
             start("m6") + "/opt/tidy-up", "m6", "request", command="systemctl stop m6"),
    incident("stop by another unit", {**service("m7"),
             "m7-janitor.service": "[Service]\nType=oneshot\nExecStart=/bin/systemctl stop m7\n"},
             start("m7") + "systemctl start m7-janitor", "m7", "request", command="systemctl stop m7"),
    incident("stop by a pattern", service("m8"), start("m8") + "systemctl stop 'm8*'", "m8", "request",
             command="systemctl stop m8*"),
    incident("start, bus", service("m9"), CALL + "StartUnit ss m9.service replace", "m9", "request",
             command="busctl", needs="bus"),
    incident("restart, bus", service("m10"), start("m10") + CALL + "RestartUnit ss m10.service replace", "m10",
             "request", command="busctl", needs="bus"),
    incident("stop of several", {**service("m11"), **service("m12")},
             start("m11", "m12") + "systemctl stop m11 m12", "m12", "request", command="stop m11 m12"),
    incident("try-restart", service("m13"), start("m13") + "systemctl try-restart m13", "m13", "request",
             command="try-restart"),
    incident("reload-or-restart", service("m14"), start("m14") + "systemctl reload-or-restart m14", "m14",
             "request", command="reload-or-restart"),
    incident("systemd-run", {}, "systemd-run --unit=m15 sleep 1000", "m15", "request", command="systemd-run",
             needs="processes"),
    incident("crash", service("c1", "ExecStart=\nExecStart=/bin/sh -c 'sleep 0.5; exit 3'\n"),
             "systemctl start c1; sleep 1", "c1", "exit", unit="c1.service", event="failed"),
    incident("end in order", service("c2", "ExecStart=\nExecStart=/bin/sh -c 'sleep 0.5; exit 0'\n"),
             "systemctl start c2; sleep 1", "c2", "exit", unit="c2.service", event="finished"),
    incident("crash by a fault", service("c3", "ExecStart=\nExecStart=/bin/sh -c 'sleep 0.5; kill -SEGV $$$$'\n"),
             "systemctl start c3; sleep 1", "c3", ("exit", "signal"), unit="c3.service", event="failed"),
    incident("restart after a crash", service(
        "c4", "ExecStart=\nExecStart=/bin/sh -c 'sleep 0.5; exit 1'\nRestart=on-failure\nRestartSec=0.5\n",
        unit="StartLimitIntervalSec=0"), "systemctl start c4; sleep 3", "c4", "exit", unit="c4.service"),
    incident("a program that isn't there", service("c5", "ExecStart=\nExecStart=/opt/not-there\n"),
             "systemctl start c5; true", "c5", ("file", "exit"), unit="c5.service"),
    incident("ExecStartPre fails", service("c6", "ExecStartPre=/bin/sh -c 'sleep 0.2; exit 7'\n"),
             "systemctl start c6; true", "c6", "exit", unit="c6.service", event="failed", what="ExecStartPre"),
    incident("oneshot fails", service("c7", "Type=oneshot\nExecStart=\nExecStart=/bin/sh -c 'exit 4'\n"),
             "systemctl start c7; true", "c7", "exit", unit="c7.service", event="failed"),
    incident("restart at once", service(
        "c8", "ExecStart=\nExecStart=/bin/sh -c 'sleep 0.8; exit 1'\nRestart=always\nRestartSec=0\n",
        unit="StartLimitIntervalSec=0"), "systemctl start c8; sleep 4", "c8", "exit", unit="c8.service"),
    incident("kill -9 by another process", service("k1"),
             start("k1") + "/bin/kill -9 $(systemctl show -P MainPID k1)", "k1", ("signal", "exit"),
             unit="k1.service", event="failed", command="kill -9"),
    incident("kill -TERM by another process", service("k2"),
             start("k2") + "bash -c 'kill -TERM '$(systemctl show -P MainPID k2)'; sleep 0.5'", "k2",
             ("signal", "exit"), unit="k2.service"),
    incident("systemctl kill", service("k3"), start("k3") + "systemctl kill -s KILL k3", "k3",
             ("request", "exit"), unit="k3.service", command="systemctl kill"),
    incident("pkill", service("k4", "ExecStart=\nExecStart=/bin/sleep 4321\n"),
             start("k4") + "pkill -9 -f 'sleep 4321'", "k4", ("signal", "exit"), unit="k4.service"),
    incident("killed and started again", service("k5", "Restart=always\nRestartSec=0.3\n"),
             start("k5") + "/bin/kill -9 $(systemctl show -P MainPID k5); sleep 1", "k5", ("signal", "exit"),
             unit="k5.service"),
    incident("Requires=, stop", pair("d1", "Requires"), start("d1-a") + "systemctl stop d1-b", "d1-a",
             "request", unit="d1-b.service", command="stop d1-b", rule="Requires=d1-b.service"),
    incident("Requires=, restart", pair("d2", "Requires", after=True),
             start("d2-a") + "systemctl restart d2-b", "d2-a", "request", unit="d2-b.service",
             command="restart d2-b", rule="Requires=d2-b.service"),
    incident("BindsTo=, crash", pair("d3", "BindsTo", after=True), start("d3-a") +
             "/bin/kill -9 $(systemctl show -P MainPID d3-b)", "d3-a", ("signal", "exit"), unit="d3-b.service",
             rule="BindsTo=d3-b.service"),
    incident("PartOf=, restart", pair("d4", "PartOf"), start("d4-a", "d4-b") + "systemctl restart d4-b",
             "d4-a", "request", unit="d4-b.service", command="restart d4-b", rule="PartOf=d4-b.service"),
    incident("PartOf=, stop", pair("d5", "PartOf"), start("d5-a", "d5-b") + "systemctl stop d5-b", "d5-a",
             "request", unit="d5-b.service", rule="PartOf=d5-b.service"),
    incident("Conflicts=", pair("d6", "Conflicts"), start("d6-b") + "systemctl start d6-a", "d6-b", "request",
             unit="d6-a.service", command="start d6-a", rule="Conflicts=d6-b.service"),
    incident("Wants=", pair("d7", "Wants"), "systemctl start d7-a", "d7-b", "request", unit="d7-a.service",
             command="start d7-a", rule="Wants=d7-b.service"),
    incident("Requires=, start", pair("d8", "Requires"), "systemctl start d8-a", "d8-b", "request",
             unit="d8-a.service", command="start d8-a", rule="Requires=d8-b.service"),
    incident("Requires=, the other fails", pair("d9", "Requires", "Type=oneshot\nExecStart=\n"
             "ExecStart=/bin/false\n", after=True), "systemctl start d9-a; true", "d9-a", "exit",
             unit="d9-b.service", rule="Requires=d9-b.service", event="not started"),
    incident("Requisite=", pair("d10", "Requisite", after=True), start("d10-b") + "systemctl start d10-a; "
             "systemctl stop d10-b", "d10-a", "request", unit="d10-b.service", rule="Requisite=d10-b.service"),
    incident("PropagatesStopTo=", {"d11-a.service": "[Unit]\nPropagatesStopTo=d11-b.service\n" + SLEEP,
             **service("d11-b")}, start("d11-a", "d11-b") + "systemctl stop d11-a", "d11-b", "request",
             unit="d11-a.service", rule="PropagatesStopTo=d11-b.service"),
    incident("Upholds=", pair("d12", "Upholds"), start("d12-a") + "systemctl stop d12-b; sleep 1", "d12-b",
             "request", command="stop d12-b"),
    incident("BindsTo=, chain of three", {"d13-a.service": "[Unit]\nBindsTo=d13-b.service\nAfter=d13-b.service\n"
             + SLEEP, "d13-b.service": "[Unit]\nRequires=d13-c.service\nAfter=d13-c.service\n" + SLEEP,
             "d13-c.service": SLEEP}, start("d13-a") + "systemctl stop d13-c", "d13-a", "request",
             unit="d13-c.service", command="stop d13-c", rule="BindsTo=d13-b.service"),
    incident("OnFailure=", {"d14-a.service": "[Unit]\nOnFailure=d14-b.service\n[Service]\n"
             "ExecStart=/bin/sh -c 'sleep 0.4; exit 2'\n", **service("d14-b")}, "systemctl start d14-a; sleep 1",
             "d14-b", "exit", unit="d14-a.service", rule="OnFailure=d14-b.service"),
    incident("OnSuccess=", {"d15-a.service": "[Unit]\nOnSuccess=d15-b.service\n[Service]\n"
             "ExecStart=/bin/sh -c 'sleep 0.4; exit 0'\n", **service("d15-b")}, "systemctl start d15-a; sleep 1",
             "d15-b", "exit", unit="d15-a.service", rule="OnSuccess=d15-b.service"),
    incident("StopWhenUnneeded=", {"d16-a.service": "[Unit]\nRequires=d16-b.service\n" + SLEEP,
             "d16-b.service": "[Unit]\nStopWhenUnneeded=yes\n" + SLEEP}, start("d16-a") +
             "systemctl stop d16-a; sleep 0.5", "d16-b", "request", unit="d16-a.service",
             rule="StopWhenUnneeded"),
    incident("a target with two services", {"d17.target": "[Unit]\nRequires=d17-a.service d17-b.service\n",
             **service("d17-a", unit="PartOf=d17.target"), **service("d17-b", unit="PartOf=d17.target")},
             start("d17.target") + "systemctl stop d17.target", "d17-b", "request", unit="d17.target",
             rule="PartOf=d17.target"),
    incident("timer", {"t1.timer": "[Timer]\nOnActiveSec=1\nAccuracySec=10ms\n",
             "t1.service": "[Service]\nType=oneshot\nExecStart=/bin/sleep 0.3\n"},
             "systemctl start t1.timer; sleep 2.2", "t1.service", "exit", unit="t1.service"),
    incident("timer, a long service", {"t2.timer": "[Timer]\nOnActiveSec=1\nAccuracySec=10ms\n",
             **service("t2")}, "systemctl start t2.timer; sleep 2", "t2.service", "deadline", unit="t2.timer"),
    incident("timer, again and again", {"t3.timer": "[Timer]\nOnActiveSec=0.5\nOnUnitActiveSec=1\nAccuracySec=10ms\n",
             "t3.service": "[Service]\nType=oneshot\nRemainAfterExit=no\nExecStart=/bin/false\n"},
             "systemctl start t3.timer; sleep 3; systemctl stop t3.timer", "t3.service", "exit",
             unit="t3.service"),
    incident("socket", {"s1.socket": "[Socket]\nListenStream=/run/s1.sock\n", **service("s1")},
             "systemctl start s1.socket; python3 -c 'import socket; s=socket.socket(1); "
             "s.connect(\"/run/s1.sock\")'; sleep 0.5", "s1.service", "traffic", unit="s1.socket"),
    incident("socket, Accept=yes", {"s2.socket": "[Socket]\nListenStream=/run/s2.sock\nAccept=yes\n",
             "s2@.service": "[Service]\nExecStart=/bin/sleep 300\n"},
             "systemctl start s2.socket; python3 -c 'import socket,time; s=socket.socket(1); "
             "s.connect(\"/run/s2.sock\"); time.sleep(1)'; "
             "systemctl list-units --plain --no-legend 's2@*' | cut -d' ' -f1 > /run/s2-name", "@/run/s2-name",
             "traffic", unit="s2.socket"),
    incident("path", {"p1.path": "[Path]\nPathExists=/run/p1-flag\n", **service("p1")},
             "systemctl start p1.path; sleep 0.3; touch /run/p1-flag; sleep 0.6", "p1.service", "file",
             unit="p1.path"),
    incident("path, changed", {"p2.path": "[Path]\nPathChanged=/run/p2-file\n", **service("p2")},
             "touch /run/p2-file; systemctl start p2.path; sleep 0.3; echo x > /run/p2-file; sleep 0.6",
             "p2.service", "file", unit="p2.path"),
    incident("watchdog", service("w1", "WatchdogSec=1\n"), "systemctl start w1; sleep 2.2", "w1", "deadline",
             unit="w1.service", rule="WatchdogSec", event="failed"),
    incident("runtime limit", service("w2", "RuntimeMaxSec=1\n"), "systemctl start w2; sleep 2", "w2",
             "deadline", unit="w2.service", rule="RuntimeMaxSec", event="failed"),
    incident("start takes too long", service("w3", "Type=notify\nTimeoutStartSec=1\n"),
             "systemctl start w3; true", "w3", "deadline", unit="w3.service", rule="TimeoutStartSec"),
    incident("stop takes too long", service("w4", "ExecStart=\nExecStart=/bin/sh -c 'trap \"\" TERM; "
             "while :; do sleep 0.2; done'\nTimeoutStopSec=1\n"), start("w4") + "systemctl stop w4", "w4",
             "request", command="stop w4"),
    incident("start limit", service("w5", "ExecStart=\nExecStart=/bin/sh -c 'sleep 0.1; exit 1'\nRestart=always\n"
             "RestartSec=0.1\n", unit="StartLimitBurst=3\nStartLimitIntervalSec=30\n"),
             "systemctl start w5; sleep 3", "w5", "exit", unit="w5.service", rule="StartLimitBurst"),
    incident("condition", service("w6", unit="ConditionPathExists=/opt/nothing"),
             "systemctl start w6; true", "w6", "request", command="start w6", event="not started"),
    incident("OOM in its group", service("o1", "ExecStart=\nExecStart=/usr/bin/python3 -Sc 'import time; "
             "time.sleep(0.5); x=bytearray(200000000); time.sleep(9)'\nMemoryMax=20M\nMemorySwapMax=0\n"),
             "systemctl start o1; sleep 2.5", "o1", "kernel", unit="o1.service", event="failed"),
    incident("daemon-reload with an edited unit", service("e1"), start("e1") +
             "printf '[Unit]\\nDescription=e1 edited\\n[Service]\\nExecStart=/bin/sleep 2000\\n' "
             "> /etc/systemd/system/e1.service; systemctl daemon-reload; sleep 0.5; systemctl restart e1",
             "e1", "request", command="restart e1"),
    incident("a new unit after daemon-reload", {}, "printf '[Service]\\nExecStart=/bin/sleep 2000\\n"
             "RuntimeMaxSec=1\\n' > /etc/systemd/system/e2.service; systemctl daemon-reload; "
             "systemctl start e2; sleep 2.2", "e2", "deadline", unit="e2.service", rule="RuntimeMaxSec"),
    incident("left over by a double fork", service("l1", "ExecStart=\nExecStart=/bin/sh -c '"
             "setsid -f sleep 5000; exec sleep 3000'\nKillMode=process\n"), start("l1") + "systemctl stop l1",
             "l1", "request", command="stop l1", left=1),
    incident("a service that forks", service("f1", "Type=forking\nExecStart=\nExecStart=/bin/sh -c "
             "'sleep 2222 & echo $! > /run/f1.pid'\nPIDFile=/run/f1.pid\n"),
             "systemctl start f1; sleep 0.5; /bin/kill -9 $(cat /run/f1.pid)", "f1", ("signal", "exit"),
             unit="f1.service", event="failed"),
    incident("control group emptied by hand", service("g1"), start("g1") +
             "echo 1 > /sys/fs/cgroup/unified/system.slice/g1.service/cgroup.kill", "g1", ("exit", "signal"),
             unit="g1.service", event="failed"),
    incident("a package's maintainer script", {**service("a1"), "/opt/a1.postinst":
             "#!/bin/sh\nset -e\nsystemctl --system daemon-reload >/dev/null || true\n"
             "systemctl try-restart a1.service >/dev/null || true\n"},
             start("a1") + "sh /opt/a1.postinst", "a1", "request", command="restart"),
]
# A package that brings a service, made by dpkg-deb and installed by apt; its scripts are debhelper's.
PACKAGE = """#!/bin/bash
set -e
name=$1 version=$2 says=$3 d=$(mktemp -d)
mkdir -p $d/DEBIAN $d/usr/lib/systemd/system $d/opt/$name
printf '#!/bin/sh\\n%s\\n' "$says" > $d/opt/$name/daemon
chmod 755 $d $d/opt/$name/daemon
printf '[Unit]\\nStartLimitIntervalSec=0\\n[Service]\\nExecStart=/opt/%s/daemon\\nRestart=always\\nRestartSec=700ms\\n[Install]\\nWantedBy=multi-user.target\\n' \\
    $name > $d/usr/lib/systemd/system/$name.service
printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: n <n@example.org>\\nDescription: a service\\n' \\
    $name $version > $d/DEBIAN/control
cat > $d/DEBIAN/postinst <<'EOF'
#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
    deb-systemd-helper enable NAME.service >/dev/null || true
    systemctl --system daemon-reload >/dev/null || true
    if [ -n "$2" ]; then _dh_action=restart; else _dh_action=start; fi
    deb-systemd-invoke $_dh_action NAME.service >/dev/null || true
fi
EOF
cat > $d/DEBIAN/prerm <<'EOF'
#!/bin/sh
set -e
if [ -d /run/systemd/system ] && [ "$1" = remove ]; then deb-systemd-invoke stop NAME.service >/dev/null || true; fi
EOF
sed -i s/NAME/$name/ $d/DEBIAN/p*
chmod 755 $d/DEBIAN/p*
dpkg-deb --root-owner-group -b $d /tmp/${name}_$version.deb >/dev/null
"""
ALLOWED = "printf '#!/bin/sh\nexit 0\n' > /run/allow; chmod 755 /run/allow; " \
          "[ ! -e /usr/sbin/policy-rc.d ] || mount --bind /run/allow /usr/sbin/policy-rc.d; "
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y --allow-downgrades -o Dpkg::Use-Pty=0 " \
      "-o DPkg::Lock::Timeout=20 install "


def package(name, good, bad):
    """Two versions of a package are made, and one after the other installed."""
    pack = f"bash /opt/pack {name}"
    return (f"{ALLOWED}{pack} 0.43.3 '{good}' && {pack} 0.45.1 '{bad}' && "
            f"{APT} /tmp/{name}_0.43.3.deb >/run/apt.log 2>&1 && sleep 1.2 && "
            f"{APT} /tmp/{name}_0.45.1.deb >>/run/apt.log 2>&1 && echo both-are-installed || cat /run/apt.log; sleep 2.5")


ALL += [
    incident("apt upgrades a package", {"/opt/pack": PACKAGE},
             package("pkgd", "exec sleep 1000", "exec sleep 2000"), "pkgd", "request", unit="pkgd.service",
             command="restart pkgd.service", parent="postinst", check="both-are-installed", left=0),
    incident("apt removes a package", {"/opt/pack": PACKAGE}, package("pkgr", "exec sleep 1000", "exec sleep 2000")
             + "; DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 remove pkgr >>/run/apt.log 2>&1",
             "pkgr", "request", unit="pkgr.service", command="stop pkgr.service", parent="prerm", check="both-are-installed"),
    incident("seed: an upgrade that breaks", {"/opt/pack": PACKAGE},
             package("otel", "exec sleep 1000", "sleep 0.4; echo invalid keys: address >&2; exit 1"), "otel",
             "exit", unit="otel.service", check="both-are-installed"),
    incident("seed: a starter", {"foo1.service": "[Service]\nExecStart=/opt/start-foo\nKillMode=process\n"
             "Restart=always\nRestartSec=0.3\n", "/opt/start-foo": "#!/bin/sh\nsleep 7000 &\nsleep 7001\n"},
             start("foo1") + "systemctl restart foo1", "foo1", "request", command="restart foo1", left=1),
    incident("seed: KillMode=process, again and again", service(
             "foo2", "ExecStart=\nExecStart=/bin/sh -c 'sleep 7100 & sleep 0.4; exit 1'\nKillMode=process\n"
             "Restart=always\nRestartSec=0.3\n", unit="StartLimitIntervalSec=0"),
             "systemctl start foo2; sleep 4", "foo2", "exit", unit="foo2.service", left=3),
    incident("seed: TasksMax= is reached", service(
             "foo3", "ExecStart=\nExecStart=/bin/bash -c 'for i in 1 2 3 4 5 6 7 8; do sleep 7200 & done; "
             "sleep 0.2; exec sleep 7201'\nKillMode=process\nTasksMax=5\nRestart=always\nRestartSec=0.5\n",
             unit="StartLimitIntervalSec=0"), "systemctl start foo3; sleep 3; /bin/kill -9 $(systemctl show -P "
             "MainPID foo3); sleep 2", "foo3", ("exit", "signal"), unit="foo3.service", left=3),
    incident("seed: asked when the journal is gone", pair("foo4", "Requires", "Restart=no\n", after=True),
             start("foo4-a") + "systemctl stop foo4-b; sleep 1; journalctl --rotate -q; journalctl -q "
             "--vacuum-time=1us; systemctl reset-failed", "foo4-a", "request", unit="foo4-b.service",
             command="stop foo4-b", rule="Requires=foo4-b.service"),
    incident("late clients on a busy machine", service("late"), start("late") +
             "for i in 1 2 3 4; do timeout 4 sh -c 'while :; do :; done' & done; sleep 0.3; "
             "systemctl --no-block stop late; wait; sleep 0.5", "late", "request",
             command="systemctl --no-block stop late"),
]
LAST = [
    incident("isolate", service("z1"), start("z1") + "systemctl isolate rescue.target; sleep 1", "z1",
             "request", command="isolate rescue.target", rule="isolate"),
    incident("shutdown", service("z2"), start("z2") + "systemctl --no-block start poweroff.target; sleep 2", "z2",
             "request", command="poweroff.target", rule="Conflicts="),
]
