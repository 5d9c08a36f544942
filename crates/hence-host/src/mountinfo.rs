//! What is mounted: /proc/self/mountinfo, proc(5). It only reads.

use hence_unit::{UnitName, mount};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where; absolute.
    pub at: String,
    /// What: a device, or what the file system calls itself.
    pub what: String,
    /// Type of the file system.
    pub kind: String,
    /// Options of the mount, then those of the file system.
    pub options: String,
}

impl Mounted {
    /// Whether nothing of it is on a disk.
    pub fn is_virtual(&self) -> bool {
        const VIRTUAL: [&str; 24] = [
            "autofs",
            "bdev",
            "binfmt_misc",
            "bpf",
            "cgroup",
            "cgroup2",
            "configfs",
            "debugfs",
            "devpts",
            "devtmpfs",
            "efivarfs",
            "fusectl",
            "hugetlbfs",
            "mqueue",
            "nsfs",
            "overlay",
            "proc",
            "pstore",
            "ramfs",
            "rpc_pipefs",
            "securityfs",
            "sysfs",
            "tmpfs",
            "tracefs",
        ];
        VIRTUAL.contains(&&*self.kind)
    }

    /// Whether it is an automount point: something is to be mounted there, and isn't by that.
    pub fn is_automount(&self) -> bool {
        self.kind == "autofs"
    }

    /// Whether it is mounted read-only.
    pub fn read_only(&self) -> bool {
        self.options.split(',').next() == Some("ro")
    }
}

/// Mounts in the order in which they were made; of several at one place the last hides the others.
pub fn read() -> Vec<Mounted> {
    try_read().unwrap_or_default()
}

/// The same.
///
/// # Errors
/// Where the kernel doesn't tell: nothing says then that nothing is mounted.
pub fn try_read() -> std::io::Result<Vec<Mounted>> {
    Ok(parse(&crate::reserve::with(|| std::fs::read_to_string("/proc/self/mountinfo"))?))
}

/// Most mounts that become units.
const UNITS: usize = 4096;

/// Whether this is one of the kernel's file systems that every system has: they have no units, as under
/// systemd.
pub fn is_api(at: &str) -> bool {
    const API: [&str; 17] = [
        "/proc",
        "/proc/kmsg",
        "/proc/sys",
        "/proc/sys/kernel/random/boot_id",
        "/sys",
        "/sys/firmware/efi/efivars",
        "/sys/fs/bpf",
        "/sys/fs/cgroup",
        "/sys/fs/pstore",
        "/sys/fs/selinux",
        "/sys/fs/smackfs",
        "/sys/kernel/security",
        "/dev",
        "/dev/console",
        "/dev/pts",
        "/dev/shm",
        "/run",
    ];
    API.contains(&at) || at.starts_with("/sys/fs/cgroup/")
}

/// The names of the units of what is mounted.
///
/// # Errors
/// As [`try_read`].
pub fn units() -> std::io::Result<Vec<UnitName>> {
    let mounted = try_read()?;
    let shown = mounted.iter().filter(|m| !is_api(&m.at) && !m.is_automount()).take(UNITS);
    let mut names: Vec<UnitName> = shown.filter_map(|m| mount::unit_of(&m.at)).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Reads the lines; those that are none are passed over.
pub fn parse(text: &str) -> Vec<Mounted> {
    let line = |line: &str| {
        let (fields, of_system) = line.split_once(" - ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let mut of_system = of_system.split(' ');
        let (kind, what) = (of_system.next()?, of_system.next()?);
        let mut options = (*fields.get(5)?).to_owned();
        for option in of_system.next().unwrap_or_default().split(',') {
            if !option.is_empty() && !options.split(',').any(|o| o == option) {
                options.push(',');
                options.push_str(option);
            }
        }
        Some(Mounted { at: unescape(fields.get(4)?), what: unescape(what), kind: kind.into(), options })
    };
    text.lines().filter_map(line).collect()
}

/// `\040` and its kin as the bytes they stand for.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten();
        let number =
            octal.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match number {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
                    broken line\n22 1 0:5 / /dev ro - devtmpfs udev ro\n";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!((&*found[0].at, &*found[0].what, &*found[0].kind), ("/mnt 2", "/dev/root", "ext3"));
        assert_eq!(found[0].options, "rw,noatime,errors=continue");
        assert!(found[1].is_virtual() && found[1].read_only() && !found[0].read_only());
        assert_eq!(unescape("a\\134b\\"), "a\\b\\");
        assert!(is_api("/sys/fs/cgroup/memory") && is_api("/proc") && !is_api("/") && !is_api("/run/user/0"));
    }
}
