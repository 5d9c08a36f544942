#!/usr/bin/env python3
"""`hence watch --install` and `--uninstall` in a machine whose process 1 is systemd, and what the sandbox of
the unit permits and denies.

    install.py --hence target/debug/hence

Prints a line for each check. Exit status: 0; 1 where one failed, 77 where the machine can't be had."""
import argparse, json, os, subprocess, sys, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from machine import CLEAN, Machine  # noqa: E402

UNIT = Path(__file__).resolve().parents[4] / "dist" / "hence-watch.service"
HENCE = "/usr/local/bin/hence"
ETC = "/etc/systemd/system/hence-watch.service"
USR = "/usr/lib/systemd/system/hence-watch.service"
NOBODY = "[Service]\nUser=nobody\nExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 0.6\n"
# What a process of the unit tries: each says what came of it.
PROBE = r"""#!/usr/bin/python3 -S
import ctypes, json, os, socket, sys
def tried(name, what):
    try:
        what(); told[name] = "ok"
    except Exception as e:
        told[name] = type(e).__name__ + " " + str(getattr(e, "errno", ""))
told = {}
def write(path):
    def do():
        with open(path, "a") as f: f.write("x" if not path.startswith(("/proc", "/sys")) else "1")
    return do
def read(path): return lambda: open(path, "rb").read(1)
pid = int(open("/run/probe-pid").read())
for path in ("/etc/probe", "/home/probe", "/root/probe", "/usr/local/probe", "/opt/probe", "/srv/probe",
             "/tmp/probe", "/var/tmp/probe", "/run/probe", "/var/lib/probe", "/proc/sys/kernel/panic"):
    tried("write " + path, write(path))
tried("make a control group", lambda: os.mkdir(sys.argv[1] + "/probe"))
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    def do():
        if getattr(libc, name)(*args) < 0: raise OSError(ctypes.get_errno(), name)
    return do
tried("mount", call("mount", b"x", b"/mnt", b"tmpfs", 0, None))
tried("unshare a namespace", call("unshare", 0x04000000))
# settimeofday(2) of nothing: only whether that is allowed is told.
tried("set the clock", call("syscall", 164, None, None) if os.uname().machine == "x86_64" else call("mount"))
tried("talk to the network", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
tried("make a device", lambda: os.mknod("/var/lib/hence/probe", 0o600 | 0o020000, os.makedev(1, 3)))
tried("give a file away", lambda: os.chown("/var/lib/hence/own", 1, 1))
tried("write the ledger", write("/var/lib/hence/own"))
tried("read of another's process its environment", read(f"/proc/{pid}/environ"))
tried("read of another's process its program", lambda: os.readlink(f"/proc/{pid}/exe"))
tried("read of another's process its memory map", read(f"/proc/{pid}/smaps_rollup"))
tried("read a file of another's home", read("/root/secret"))
tried("open another's process", lambda: os.close(os.pidfd_open(pid)))
tried("reach the manager", lambda: socket.socket(socket.AF_UNIX).connect("/run/systemd/private"))
tried("reach the bus", lambda: socket.socket(socket.AF_UNIX).connect("/run/dbus/system_bus_socket"))
tried("read the journal", lambda: os.listdir("/var/log/journal"))
tried("hear of processes", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 11).bind((0, 1)))
trace = "/sys/kernel/tracing/instances/probe"
tried("trace in an instance of its own", lambda: (os.mkdir(trace), os.rmdir(trace)))
told["nice"] = int(open("/proc/self/stat").read().rsplit(")", 1)[1].split()[16])
told["capabilities"] = [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapBnd")][0]
json.dump(told, open("/var/lib/hence/" + sys.argv[2], "w"))
"""
DENIED = ["write /etc/probe", "write /home/probe", "write /root/probe", "write /usr/local/probe",
          "write /opt/probe", "write /srv/probe", "write /tmp/probe", "write /var/tmp/probe", "write /run/probe",
          "write /var/lib/probe", "write /proc/sys/kernel/panic", "make a control group", "mount",
          "unshare a namespace", "set the clock", "talk to the network", "make a device", "give a file away"]
GRANTED = ["write the ledger", "read of another's process its environment",
           "read of another's process its program", "read of another's process its memory map",
           "read a file of another's home", "open another's process", "reach the manager", "reach the bus",
           "read the journal", "hear of processes", "trace in an instance of its own"]
failed = []


def check(name, good, told=""):
    print(f"{'ok    ' if good else 'FAILED'} {name}{': ' if told != '' else ''}{told}", flush=True)
    if not good:
        failed.append(name)


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


def sources(text):
    """The sources of a line that says which there are."""
    found = [line.split("sources:")[1].strip(" .") for line in text.splitlines() if "sources:" in line]
    return found[-1] if found else None


def install(m):
    m.call(f"mkdir -p /usr/local/bin; cp /run/hence-bin {HENCE}; echo x > /root/secret; chmod 600 /root/secret")
    mounted = m.call("mount -t tracefs tracefs /sys/kernel/tracing")
    if mounted.returncode:
        print(f"note   tracefs can't be mounted here: {mounted.stderr.strip()}")
    # Without the sandbox, from a shell.
    plain = m.call(f"timeout -s TERM 4 {HENCE} watch --ledger /var/lib/plain").stdout
    outside = sources(plain)
    refused = m.call(f"setpriv --reuid 65534 --clear-groups {HENCE} watch --install")
    check("only root installs", refused.returncode and "only root" in refused.stderr, refused.stderr.strip())
    done = m.call(f"{HENCE} watch --install")
    check("--install", done.returncode == 0, (done.stdout + done.stderr).replace("\n", " | "))
    status = m.call("systemctl status --no-pager hence-watch").stdout
    check("systemctl status says active (running)", "Active: active (running)" in status, status.split("\n")[2].strip())
    check("it is enabled", m.call("systemctl is-enabled hence-watch").stdout.strip() == "enabled")
    inside = sources(m.call("systemctl show -P StatusText hence-watch").stdout)
    check("the sandbox takes no source away", inside and inside == outside, f"inside {inside}; outside {outside}")
    said = sources(m.call("journalctl -b -o cat -u hence-watch").stdout)
    check("the journal has the sources", said == inside, said)
    pid = m.call("systemctl show -P MainPID hence-watch").stdout
    again = m.call(f"{HENCE} watch --install")
    same = m.call("systemctl show -P MainPID hence-watch").stdout == pid
    check("--install again changes nothing", again.returncode == 0 and same and "wrote" not in again.stdout,
          again.stdout.replace("\n", " | "))


def incident(m):
    m.call("systemctl start probe-nobody; sleep 1; systemctl stop probe-nobody; sleep 2")
    done = m.call(f"{HENCE} why --json probe-nobody")
    try:
        roots = [root.get("command") for root in json.loads(done.stdout)["roots"]]
    except (ValueError, KeyError):
        roots = [done.stdout[:200] + done.stderr[:200]]
    check("an incident under the installed unit is answered", any("stop probe-nobody" in str(r) for r in roots), roots)
    times = m.call("systemctl show -P NRestarts hence-watch").stdout.strip()
    check("it was not restarted", times == "0", times)


def sandbox(m):
    m.call("systemctl start probe-nobody; systemctl show -P MainPID probe-nobody > /run/probe-pid")
    keep = [line for line in UNIT.read_text().splitlines()]
    service = "\n".join(keep[keep.index("[Service]"):keep.index("[Install]")])
    group = "/sys/fs/cgroup/unified" if m.call("test -d /sys/fs/cgroup/unified").returncode == 0 else "/sys/fs/cgroup"
    run = f"/usr/local/bin/probe {group}"
    boxed = service.replace("Type=notify", "Type=oneshot").replace("Restart=always", "Restart=no")
    boxed = boxed.replace("/usr/bin/hence watch", f"{run} boxed").replace("MemoryDenyWriteExecute=yes", "")
    free = f"[Service]\nType=oneshot\nExecStart={run} free\n"
    for name, text in (("probe-boxed", boxed), ("probe-free", free)):
        m.call(f"cat > /etc/systemd/system/{name}.service <<'EOF'\n{text}\nEOF")
    m.call("systemctl daemon-reload; touch /var/lib/hence/own")
    told = {}
    for name in ("boxed", "free"):
        ended = m.call(f"systemctl start probe-{name}")
        try:
            told[name] = json.loads(m.call(f"cat /var/lib/hence/{name}").stdout)
        except ValueError:
            check(f"the probe runs ({name})", False, ended.stderr + m.call(f"journalctl -b -o cat -u probe-{name}").stdout[-600:])
            return
        m.call(f"rmdir {group}/probe; rm -f /var/lib/hence/probe")
    for name in DENIED:
        if told["free"][name] != "ok":
            print(f"note   can't be told here, for it is denied without the sandbox too: {name}: {told['free'][name]}")
        check(f"denied: {name}", told["boxed"][name] != "ok", told["boxed"][name])
    for name in GRANTED:
        if told["free"][name] != "ok":
            print(f"note   can't be told here, for it is denied without the sandbox too: {name}: {told['free'][name]}")
            continue
        check(f"granted: {name}", told["boxed"][name] == "ok", told["boxed"][name])
    check("Nice= took effect", told["boxed"]["nice"] == -10, told["boxed"]["nice"])
    check("CapabilityBoundingSet= took effect", told["boxed"]["capabilities"] != told["free"]["capabilities"],
          told["boxed"]["capabilities"])


def first_namespaces(hence, folder):
    """The process connector tells only the first namespaces: there the capabilities of the unit, as far as
    they can be taken without systemd."""
    held = "-all,+sys_ptrace,+dac_read_search,+net_admin"
    box = ["setpriv", f"--bounding-set={held}", "--inh-caps=-all", "--no-new-privs"]
    told = []
    for nth, by in enumerate(([], box)):
        script = "mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null; exec \"$@\""
        argv = ["unshare", "-m", "bash", "-c", script, "-", "timeout", "-s", "TERM", "3", *by, str(hence), "watch",
                "--ledger", str(folder / f"first-{nth}")]
        told.append(sources(subprocess.run(argv, capture_output=True, text=True, timeout=30).stdout))
    check("the unit's capabilities take no source away in the first namespaces", told[0] and told[0] == told[1], told)


def packaged(m):
    gone = m.call(f"{HENCE} watch --uninstall")
    check("--uninstall", gone.returncode == 0 and m.call(f"test -e {ETC}").returncode != 0
          and m.call("systemctl is-active hence-watch").stdout.strip() != "active", gone.stdout.replace("\n", " | ") + gone.stderr)
    check("the ledger stays", m.call(f"{HENCE} why probe-nobody").returncode == 0)
    check("--uninstall again", "not installed" in m.call(f"{HENCE} watch --uninstall").stdout)
    m.call(f"printf '[Service]\\nExecStart=/bin/true\\n' > {ETC}")
    done = m.call(f"{HENCE} watch --install")
    kept = m.call(f"cat {ETC}").stdout
    check("a unit of somebody else's is not overwritten", done.returncode and "/bin/true" in kept, done.stderr.strip())
    m.call(f"ln -sf /dev/null {ETC}")
    done = m.call(f"{HENCE} watch --install")
    check("a masked unit stays masked", done.returncode and "masked" in done.stderr, done.stderr.strip())
    unit = UNIT.read_text().replace("/usr/bin/hence", HENCE)
    m.call(f"rm {ETC}; cat > {USR} <<'EOF'\n{unit}\nEOF\nsystemctl daemon-reload")
    done = m.call("/run/hence-bin watch --install")
    check("a packaged unit of another program is not overridden", done.returncode and "package" in done.stderr,
          done.stderr.strip().replace("\n", " | "))
    done = m.call(f"{HENCE} watch --install --ledger '/var/lib/my ledger'")
    shown = m.call("systemctl show -p FragmentPath -p DropInPaths hence-watch").stdout
    check("a packaged unit is enabled as it is; another ledger is a drop-in", done.returncode == 0
          and m.call(f"test -e {ETC}").returncode != 0 and "/lib/systemd/system/hence-watch.service" in shown
          and "50-ledger.conf" in shown,
          shown.replace("\n", " | ") + (done.stdout + done.stderr).replace("\n", " | "))
    m.call("systemctl start probe-nobody; sleep 1; systemctl stop probe-nobody; sleep 2")
    why = m.call(f"{HENCE} why --json --ledger '/var/lib/my ledger' probe-nobody").stdout
    check("that ledger answers", "stop probe-nobody" in why, why[:300])
    done = m.call(f"{HENCE} watch --uninstall")
    check("--uninstall leaves a packaged unit", done.returncode == 0 and m.call(f"test -e {USR}").returncode == 0
          and m.call("systemctl is-enabled hence-watch").stdout.strip() == "disabled", done.stdout.replace("\n", " | "))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hence", required=True)
    parser.add_argument("--scratch")
    args = parser.parse_args()
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
        print("skipped: needs root and systemd")
        return 77
    score = subprocess.run(CLEAN + ["systemd-analyze", "security", "--offline=yes", str(UNIT)], capture_output=True, text=True)
    print("note   systemd-analyze:", (score.stdout.strip().split("\n") or [""])[-1])
    files = {"probe-nobody.service": NOBODY, "/usr/local/bin/probe": PROBE}
    with Machine(files, args.hence, args.scratch) as machine:
        install(machine)
        incident(machine)
        sandbox(machine)
        packaged(machine)
        first_namespaces(Path(args.hence).resolve(), machine.dir)
    print(f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
