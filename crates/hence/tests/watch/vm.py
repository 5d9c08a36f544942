#!/usr/bin/env python3
"""Incidents in a virtual machine whose process 1 is the systemd of another Debian, watched by hence in it.

    vm.py --hence target/debug/hence [--release trixie] [--cache FOLDER] [--without SOURCE]... [--only TEXT]
          [--bench] [--log FILE]

The machine is Debian's, made by debootstrap, with Debian's cloud kernel; see ../vm/boot.py, whose parts it
uses. hence watches there as on any machine: all sources are there, nothing lies between it and systemd. With
--bench the costs are measured there too (benches/watch.py). What lacks is said, with exit status 77."""
import argparse, importlib.util, os, re, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "vm"), str(HERE)]
import boot  # noqa: E402

PACKAGES = ("systemd,systemd-sysv,udev,util-linux,mount,login,kmod,procps,dbus,python3-minimal,"
            "libpython3-stdlib,psmisc,iproute2")
MEMORY_MIB, STEP_S, ALL_S = 1024, 120, 2400


def debian(cache, release):
    """The root, made once for each release; and the kernel."""
    root = cache / f"root-{release}"
    if not (cache / f"root-{release}.done").exists():
        shutil.rmtree(root, ignore_errors=True)
        made = subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, root,
                               *boot.mirror()], capture_output=True, text=True)
        if made.returncode:
            boot.skip("debootstrap can't make a root (no mirror?): " + " ".join(made.stdout[-300:].split()))
        (cache / f"root-{release}.done").touch()
    return root, boot.kernel(cache)


def image(base, options, work):
    """The root as a disk, with hence and these tests in it."""
    root = work / "root"
    boot.run("cp", "-a", "--reflink=auto", base, root)
    for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)
    tests = root / "opt/hence"
    for name in ("watch", "benches"):
        (tests / "tests" / name if name == "watch" else tests / name).mkdir(parents=True)
    for path in HERE.glob("*.py"):
        shutil.copy(path, tests / "tests/watch")
    shutil.copy(HERE.parent.parent / "benches/watch.py", tests / "benches")
    if options.bench:
        spec = importlib.util.spec_from_file_location("bench", HERE.parent.parent / "benches/watch.py")
        bench = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(bench)
        (work / "forks.c").write_text(bench.FORKS)
        boot.run("cc", "-O2", "-static", "-o", tests / "forks", work / "forks.c")
    boot.run("strip", "-o", root / "usr/bin/hence", options.hence)
    (root / "usr/bin/hence").chmod(0o755)
    boot.write(root / "etc/hostname", "watched\n")
    boot.write(root / "etc/fstab", "/dev/vda / ext4 defaults,noatime 0 0\n")
    boot.write(root / "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    boot.write(root / "etc/systemd/system/default.target", None, "/lib/systemd/system/multi-user.target")
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
    boot.run("chroot", root, "sh", "-c", f"echo root:{boot.PASSWORD} | chpasswd")
    disk = work / "disk"
    boot.run("mkfs.ext4", "-q", "-d", root, "-L", "root", disk, "2500M")
    shutil.rmtree(root)
    return disk


class Machine(boot.Machine):
    """The virtual machine, emulated: nothing of the processor is needed."""

    def __init__(self, kernel, initrd, disk, log):
        self.text, self.log = "", open(log, "w")
        line = "console=ttyS0 root=/dev/vda rw panic=1 loglevel=4 systemd.firstboot=off systemd.show_status=no no_timer_check"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "pc", "-cpu", "max", "-m", f"{MEMORY_MIB}", "-smp", "1", "-display", "none",
             "-no-reboot", "-nic", "none", "-serial", "stdio", "-monitor", "none", "-kernel", kernel, "-initrd",
             initrd, "-append", line, "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.selector = boot.selectors.DefaultSelector()
        self.selector.register(self.process.stdout, boot.selectors.EVENT_READ)

    def long(self, command):
        """Runs a command that takes long; its output as it comes."""
        self.say(f"echo BE''GIN; {command}; echo E''ND $?")
        self.until(r"BEGIN\r?\n", STEP_S, "no shell")
        end, shown = time.monotonic() + ALL_S, []
        while time.monotonic() < end:
            found = self.until(r"([^\n]*?)\r?\n", ALL_S, f"`{command}` did not end")[1]
            over = re.match(r"END (\d+)", found)
            if over:
                return int(over[1]), shown
            shown.append(found)
            print(found, flush=True)
        sys.exit(f"vm: FAILED: `{command}` took too long")


def story(machine, options):
    machine.until(r"login: ", boot.BOOT_S, "no login prompt on ttyS0")
    machine.say("root")
    machine.until(r"assword: ", STEP_S, "no question for the password")
    machine.say(boot.PASSWORD)
    machine.until(r"# ", STEP_S, "no shell after the login")
    machine.shell("stty -echo cols 400; export TERM=dumb SYSTEMD_PAGER=cat SYSTEMD_COLORS=0; bind 'set enable-bracketed-paste off'")
    version = machine.shell("systemctl --version | head -1; uname -r").split("\n")
    print(f"vm: {version[0]}, Linux {version[1]}", flush=True)
    without = "".join(f" --without {source}" for source in options.without)
    code = 0
    if not options.no_incidents:
        only = f" --only '{options.only}'" if options.only else ""
        code, _ = machine.long("PYTHONDONTWRITEBYTECODE=1 python3 /opt/hence/tests/watch/watch.py "
                               f"--hence /usr/bin/hence --here --scratch /var/tmp{without}{only} 2>&1")
    if options.bench:
        machine.long("python3 /opt/hence/benches/watch.py --hence /usr/bin/hence --here --tool /opt/hence/forks"
                     f" --scratch /var/tmp{without} {options.bench} 2>&1")
    machine.say("systemctl poweroff")
    return code


def main():
    # Whoever ends it has the machine ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hence", required=True, type=Path)
    parser.add_argument("--release", default="trixie")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--only")
    parser.add_argument("--bench", nargs="?", const=" ", help="measure costs too, with these options")
    parser.add_argument("--no-incidents", action="store_true")
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    if os.geteuid() != 0:
        boot.skip("needs root")
    missing = [tool for tool in boot.TOOLS if not shutil.which(tool)]
    if missing:
        boot.skip("not installed: " + " ".join(missing))
    work = Path(tempfile.mkdtemp(prefix="hence-vm-", dir=options.cache))
    machine = None
    try:
        cache = options.cache or work / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        root, files = debian(cache, options.release)
        boot.initrd(files, work / "initrd")
        disk = image(root, options, work)
        kernel = next((files / "boot").glob("vmlinuz-*"))
        machine = Machine(kernel, work / "initrd", disk, options.log or work / "console.log")
        return story(machine, options)
    finally:
        if machine:
            machine.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
