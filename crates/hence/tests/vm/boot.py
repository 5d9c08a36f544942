#!/usr/bin/env python3
"""Boots a virtual machine whose process 1 is hence, to a login prompt, and powers it off again.

    boot.py --hence BINARY [--cache FOLDER] [--keep] [--log FILE]

Everything is made here: a small Debian by debootstrap, Debian's cloud kernel, an initrd with the modules of
the virtual disk, a disk image; the machine is emulated, no KVM is needed. What takes long (Debian, the
kernel) is kept in the cache folder and used again; without --cache it is made anew and thrown away. It needs
root, qemu-system-x86_64, debootstrap, mkfs.ext4 and an apt-get that can download. What lacks is said, with
exit status 77 (skipped). The rest of the machine isn't touched: no mounts, no services, no packages.

What must happen: multi-user.target is reached; a login prompt stands on ttyS0; somebody logs in there; PID 1
is hence; a generator's unit, a mount and a swap file of /etc/fstab have done their work, and the root has the
options that it has there; it was a first boot, with presets, and its machine id was kept; environment
generators were run; a service waited for a device that came late; none of Debian's own units failed;
`systemctl poweroff` ends the machine; services were stopped in order; the file system is clean afterwards.
"""
import argparse, os, re, selectors, shutil, subprocess, sys, tempfile, time
from pathlib import Path

TOOLS = ["qemu-system-x86_64", "debootstrap", "mkfs.ext4", "e2fsck", "debugfs", "apt-get", "dpkg-deb"]
PACKAGES = "systemd,udev,util-linux,mount,login,kmod,procps,dbus"
MODULES = ["virtio_blk", "virtio_pci"]
BOOT_S, STEP_S, END_S = 300, 90, 120
PASSWORD = "hence"


def skip(why):
    print(f"vm: skipped: {why}")
    sys.exit(77)


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.exit(f"vm: {' '.join(map(str, command))}: {done.stdout[-2000:]}")
    return done.stdout


def mirror():
    """The first mirror that this machine's apt uses for the release itself."""
    sites = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)"], capture_output=True,
                           text=True).stdout.splitlines()
    return [line.split()[0] for line in sites if line.endswith(" bookworm")][:1]


def kernel_package():
    """The package behind the name that always stands for the newest kernel."""
    asked = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True)
    found = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", asked.stdout)
    return found and found[1]


def debian(cache):
    """A small Debian, and the kernel unpacked; made once."""
    root, kernel = cache / "root", cache / "kernel"
    if not (cache / "root.done").exists():
        shutil.rmtree(root, ignore_errors=True)
        made = subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", root,
                               *mirror()], capture_output=True, text=True)
        if made.returncode:
            skip("debootstrap can't make a root (no mirror?): " + " ".join(made.stdout[-300:].split()))
        (cache / "root.done").touch()
    if not (cache / "kernel.done").exists():
        shutil.rmtree(kernel, ignore_errors=True)
        kernel.mkdir()
        name = kernel_package()
        if not name:
            subprocess.run(["apt-get", "-q", "update"], capture_output=True)
            name = kernel_package() or skip("apt knows no linux-image-cloud-amd64")
        for package in (name, "busybox-static"):
            got = subprocess.run(["apt-get", "download", package], cwd=kernel, capture_output=True, text=True)
            if got.returncode:
                skip(f"{package} can't be downloaded: " + " ".join(got.stderr[-300:].split()))
        for package in kernel.glob("*.deb"):
            run("dpkg-deb", "-x", package, kernel / "files")
        (cache / "kernel.done").touch()
    return root, kernel / "files"


def entry(name, mode, data=b""):
    """One file of a cpio archive of the kind that the kernel unpacks."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initrd(files, target):
    """Loads the disk's modules and goes to the root there."""
    paths = {path.stem.replace("-", "_"): path for path in (files / "lib/modules").rglob("*.ko")}
    order = []

    def need(module):
        depends = re.search(rb"\0depends=([^\0]*)\0", b"\0" + paths[module].read_bytes())[1].decode()
        for other in filter(None, depends.split(",")):
            need(other.replace("-", "_"))
        if paths[module] not in order:
            order.append(paths[module])

    for module in MODULES:
        need(module)
    script = "#!/busybox sh\n" + "".join(f"/busybox insmod /{p.name}\n" for p in order)
    script += """/busybox mount -t devtmpfs dev /dev
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; /busybox sleep 0.2; done
/busybox mount -t ext4 -o rw /dev/vda /root || exec /busybox sh
/busybox umount /dev
exec /busybox switch_root /root /sbin/init
"""
    data = b"".join(entry(d, 0o40755) for d in ("dev", "root", "proc"))
    data += entry("init", 0o100755, script.encode())
    data += entry("busybox", 0o100755, (files / "bin/busybox").read_bytes())
    for path in order:
        data += entry(path.name, 0o100644, path.read_bytes())
    target.write_bytes(data + entry("TRAILER!!!", 0))


def write(path, text, link=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if link:
        path.unlink(missing_ok=True)
        path.symlink_to(link)
    else:
        path.write_text(text)


def image(base, hence, work):
    """The root with hence in it, as a disk."""
    root = work / "root"
    run("cp", "-a", "--reflink=auto", base, root)
    for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / folder, ignore_errors=True)
    run("strip", "-o", root / "usr/bin/hence", hence)
    (root / "usr/bin/hence").chmod(0o755)
    write(root / "usr/sbin/init", None, "/usr/bin/hence")
    write(root / "etc/hostname", "henceling\n")
    write(root / "etc/fstab", "/dev/vda / ext4 defaults,noatime 0 0\ntmpfs /srv tmpfs size=1M,mode=700 0 0\n"
          "/swapfile none swap sw,pri=5 0 0\n")
    write(root / "etc/machine-id", "uninitialized\n")
    units = root / "etc/systemd/system"
    write(units / "proof.service", "[Unit]\nRequiresMountsFor=/srv\n[Service]\nType=oneshot\n"
          "RemainAfterExit=yes\nExecStart=/bin/sh -c 'stat -f -c %%T /srv >/srv/proof'\n"
          "ExecStop=/bin/touch /root/stopped-in-order\n")
    write(units / "multi-user.target.wants/proof.service", None, "/etc/systemd/system/proof.service")
    write(units / "preset.service", "[Service]\nExecStart=/bin/sleep infinity\n[Install]\n"
          "WantedBy=multi-user.target\n")
    write(units / "other.service", "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n")
    write(root / "etc/systemd/system-preset/10-own.preset", "enable preset.service\ndisable other.service\n")
    write(units / "late.service", "[Unit]\nBindsTo=dev-late.device\nAfter=dev-late.device\n[Service]\n"
          "ExecStart=/bin/sleep infinity\n")
    write(units / "comes.service", "[Unit]\nAfter=proof.service\n[Service]\n"
          "ExecStart=/bin/sh -c 'sleep 2; ln -s null /dev/late; exec sleep infinity'\n")
    for name in ("late", "comes"):
        write(units / f"multi-user.target.wants/{name}.service", None, f"/etc/systemd/system/{name}.service")
    write(units / "default.target", None, "/lib/systemd/system/multi-user.target")
    generator = root / "etc/systemd/system-generators/made"
    write(generator, "#!/bin/sh\nprintf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n'"
          " > \"$1/made.service\"\nmkdir -p \"$1/multi-user.target.wants\"\n"
          "ln -s ../made.service \"$1/multi-user.target.wants/made.service\"\n")
    generator.chmod(0o755)
    generator = root / "etc/systemd/system-environment-generators/50-made"
    write(generator, "#!/bin/sh\necho \"MADE='by a generator'\"\n")
    generator.chmod(0o755)
    # Zeros would become holes, which a swap file must not have.
    run("chroot", root, "sh", "-c", "touch /swapfile && chmod 600 /swapfile && "
        "dd if=/dev/urandom of=/swapfile bs=1M count=8 status=none && mkswap /swapfile")
    run("chroot", root, "sh", "-c", f"echo root:{PASSWORD} | chpasswd")
    disk = work / "disk"
    run("mkfs.ext4", "-q", "-d", root, "-L", "root", disk, "1200M")
    shutil.rmtree(root)
    return disk


class Machine:
    """The emulated machine and its serial line."""

    def __init__(self, kernel, initrd, disk, log):
        self.text, self.log = "", open(log, "w")
        line = "console=ttyS0 root=/dev/vda rw panic=1 loglevel=4 systemd.firstboot=off"
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-M", "pc", "-cpu", "max", "-m", "768", "-smp", "1", "-display", "none",
             "-no-reboot", "-nic", "none", "-serial", "stdio", "-monitor", "none", "-kernel", kernel,
             "-initrd", initrd, "-append", line, "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def until(self, pattern, seconds, what):
        """Waits for a text of this kind; what came before it is forgotten."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text)
            if found:
                self.text = self.text[found.end():]
                return found
            left = end - time.monotonic()
            if left <= 0 or not self.read(left) and self.process.poll() is not None:
                sys.exit(f"vm: FAILED: {what}; the end of the console:\n{self.text[-3000:]}")

    def read(self, seconds):
        if not self.selector.select(seconds):
            return False
        data = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
        if not data:
            self.process.wait()
        self.log.write(data)
        self.log.flush()
        self.text += data
        return bool(data)

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def shell(self, command):
        """Runs a command there; what it printed."""
        self.say(f"echo BE''GIN; {command}; echo E''ND")
        return self.until(r"(?s)BEGIN\r?\n(.*?)END", STEP_S, f"`{command}` did not end")[1].replace("\r", "")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()


def check(what, holds, shown=""):
    if not holds:
        sys.exit(f"vm: FAILED: {what}: {shown}")
    print(f"vm: {what}", flush=True)


def story(machine, disk):
    begun = time.monotonic()
    machine.until(r"login: ", BOOT_S, "no login prompt on ttyS0")
    print(f"vm: login prompt after {time.monotonic() - begun:.0f} s", flush=True)
    machine.say("root")
    machine.until(r"assword: ", STEP_S, "no question for the password")
    machine.say(PASSWORD)
    machine.until(r"# ", STEP_S, "no shell after the login")
    # What hence tells on the console would stand between the answers.
    machine.shell("kill -s RTMIN+21 1; stty -echo; export TERM=dumb SYSTEMD_PAGER=cat SYSTEMD_COLORS=0")
    check("process 1 is hence", "/usr/bin/hence" in machine.shell("readlink /proc/1/exe"))
    for _ in range(60):
        if machine.shell("systemctl is-active multi-user.target").strip() == "active":
            break
        time.sleep(1)
    units = "multi-user.target made.service proof.service srv.mount -- -.mount"
    state = machine.shell(f"systemctl is-active {units}")
    check("multi-user.target, a generator's unit and mounts are up", state.split() == ["active"] * 5,
          state + machine.shell("systemctl list-jobs; systemctl --failed --no-legend"))
    check("the mount of fstab is there", machine.shell("cat /srv/proof").strip() == "tmpfs")
    check("the host name is set", machine.shell("uname -n").strip() == "henceling")
    check("a machine id was made", re.fullmatch(r"[0-9a-f]{32}", machine.shell("cat /etc/machine-id").strip()))
    state = machine.shell("systemctl is-active preset.service other.service first-boot-complete.target; "
                          "systemctl is-enabled preset.service other.service")
    check("presets were applied at this first boot",
          state.split() == ["active", "inactive", "active", "enabled", "disabled"], state)
    check("the machine id was kept", not machine.shell("findmnt -no TARGET /etc/machine-id").strip(),
          machine.shell("systemctl status systemd-machine-id-commit.service"))
    check("environment generators were run",
          "MADE='by a generator'" in machine.shell("systemctl show-environment").replace("$'", "'"),
          machine.shell("systemctl show-environment"))
    check("the root has fstab's options", "noatime" in machine.shell("findmnt -no OPTIONS /"))
    check("the swap file of fstab is used", "/swapfile" in machine.shell("cat /proc/swaps")
          and machine.shell("systemctl is-active swapfile.swap").strip() == "active",
          machine.shell("systemctl status swapfile.swap"))
    state = machine.shell("systemctl stop swapfile.swap; cat /proc/swaps; systemctl is-active swapfile.swap; "
                          "swapon /swapfile; sleep 1; systemctl is-active swapfile.swap")
    check("it is switched off and, by others, on again", state.split()[-2:] == ["inactive", "active"], state)
    state = machine.shell("systemctl is-active dev-late.device late.service dev-vda.device dev-ttyS0.device")
    check("a service waited for a device that came late", state.split() == ["active"] * 4, state)
    state = machine.shell("rm /dev/late; sleep 1; systemctl is-active dev-late.device late.service")
    check("and it went with the device", state.split() == ["inactive"] * 2, state)
    check("the terminal is the login's own", machine.shell("tty").strip() == "/dev/ttyS0")
    failed = machine.shell("systemctl --failed --no-legend --plain")
    names = [line.split()[0] for line in failed.splitlines() if line]
    check("none of Debian's own units failed", not names,
          failed + "".join(machine.shell(f"systemctl status {name}; hence why {name}") for name in names))
    print("vm: " + machine.shell("free -m | sed -n 2p; grep VmRSS /proc/1/status").replace("\n", "; "))
    machine.say("systemctl poweroff")
    end = time.monotonic() + END_S
    while machine.process.poll() is None and time.monotonic() < end:
        machine.read(1)
    check("systemctl poweroff ended the machine", machine.process.poll() is not None, machine.text[-3000:])
    # A file system that was not made read-only has its journal to be replayed.
    features = run("debugfs", "-R", "stats -h", disk)
    check("the file system is clean", "needs_recovery" not in features, features[:600])
    run("e2fsck", "-fn", disk)
    found = subprocess.run(["debugfs", "-R", "stat /root/stopped-in-order", disk], capture_output=True, text=True)
    check("services were stopped in order", "Inode:" in found.stdout, found.stdout + found.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hence", required=True, type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the disk and the console's log")
    parser.add_argument("--log", type=Path, help="write the console's log there")
    options = parser.parse_args()
    if os.geteuid() != 0:
        skip("needs root")
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        skip("not installed: " + " ".join(missing))
    work = Path(tempfile.mkdtemp(prefix="hence-vm-", dir=options.cache))
    machine = None
    try:
        cache = options.cache or work / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        root, files = debian(cache)
        initrd(files, work / "initrd")
        disk = image(root, options.hence, work)
        kernel = next((files / "boot").glob("vmlinuz-*"))
        machine = Machine(kernel, work / "initrd", disk, options.log or work / "console.log")
        story(machine, disk)
        print("1 passed, 0 failed")
    finally:
        if machine:
            machine.close()
        if options.keep:
            print(f"vm: kept: {work}")
        else:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
