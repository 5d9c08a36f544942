//! Condition...= and Assert...=; systemd.unit(5), "Conditions and Asserts". What follows from them is the
//! engine's.
//!
//! A check that isn't known here counts as holding, so that a unit isn't kept down by it; [`unknown`] names
//! such checks, for the unit's diagnostics.

mod rare;

use crate::glob;
use hence_engine::Checked;
use hence_unit::{Config, config::Condition, directive};
use rustix::fs::{Access, AtFlags, CWD};
use std::{cmp::Ordering, fs, os::unix::fs::MetadataExt, path::Path};

/// What checks need to know beside the file system.
pub struct Machine<'a> {
    /// The environment that every process gets.
    pub environment: &'a [Box<str>],
    /// Whether a cgroup controller can be used.
    pub controllers: Box<dyn Fn(&str) -> bool + 'a>,
}

/// A controller that ConditionControlGroupController= knows beside those of DisableControllers=.
const ALSO_KNOWN: &str = "bpf-restrict-network-interfaces";

/// The outcome of all of a unit's conditions and asserts. A missing condition is told before an assert.
pub fn check(config: &Config, machine: &Machine<'_>) -> Checked {
    if let Some(failed) = failing(&config.conditions, machine) {
        return Checked::ConditionFailed(written("Condition", failed).into());
    }
    if let Some(failed) = failing(&config.asserts, machine) {
        return Checked::AssertFailed(written("Assert", failed).into());
    }
    Checked::Holds
}

/// Conditions and asserts of a unit that nothing here can check; they count as holding.
pub fn unknown(config: &Config) -> Vec<&Condition> {
    let machine = Machine { environment: &[], controllers: Box::new(|_| false) };
    config.conditions.iter().chain(&config.asserts).filter(|c| holds(c, &machine).is_none()).collect()
}

/// The first that keeps the list from holding: one without `|` that fails, or the last of those with it
/// where none of them holds.
fn failing<'c>(list: &'c [Condition], machine: &Machine<'_>) -> Option<&'c Condition> {
    let mut triggers = None;
    let mut triggered = false;
    for condition in list {
        let holds = holds(condition, machine).is_none_or(|h| h != condition.negate);
        if condition.trigger {
            triggered |= holds;
            triggers = Some(condition);
        } else if !holds {
            return Some(condition);
        }
    }
    if triggered { None } else { triggers }
}

fn written(prefix: &str, c: &Condition) -> String {
    let (trigger, negate) = (if c.trigger { "|" } else { "" }, if c.negate { "!" } else { "" });
    format!("{prefix}{}={trigger}{negate}{}", c.check, c.argument)
}

/// Whether the check itself holds, its `!` left out; `None` where it isn't known.
fn holds(condition: &Condition, machine: &Machine<'_>) -> Option<bool> {
    let argument = &*condition.argument;
    let path = Path::new(argument);
    Some(match condition.check {
        "PathExists" => path.exists(),
        "PathExistsGlob" => !glob::expand(argument).is_empty(),
        "PathIsDirectory" => path.is_dir(),
        "PathIsSymbolicLink" => path.is_symlink(),
        "PathIsMountPoint" => is_mount_point(path),
        "PathIsReadWrite" => {
            path.exists() && rustix::fs::statvfs(path).is_ok_and(|s| !s.f_flag.contains(READ_ONLY))
        }
        "DirectoryNotEmpty" => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()),
        "FileNotEmpty" => fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() > 0),
        "FileIsExecutable" => {
            fs::metadata(path).is_ok_and(|m| m.is_file())
                && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
        }
        "KernelCommandLine" => kernel_option(&read("/proc/cmdline"), argument),
        "KernelVersion" => compares_all(argument, &rustix::system::uname().release().to_string_lossy()),
        "Architecture" => architecture(argument),
        "Virtualization" => virtualization(argument),
        "Host" => host(argument),
        "FirstBoot" => boolean(argument)? == Path::new("/run/systemd/first-boot").exists(),
        "NeedsUpdate" => needs_update(argument),
        "ACPower" => boolean(argument)? == on_ac_power(),
        "User" => user(argument),
        "Group" => group(argument),
        "Environment" => environment(machine.environment, argument),
        "ControlGroupController" => argument.split_whitespace().all(|c| match c {
            "v2" => Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            "v1" => !Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            // What is no controller is passed over.
            other => {
                let known = directive::CONTROLLERS.contains(&other) || other == ALSO_KNOWN;
                !known || (machine.controllers)(other)
            }
        }),
        "Memory" => compares(argument, memory_bytes(), parse_bytes),
        "CPUs" => {
            let count = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
            compares(argument, count, |t| t.trim().parse().ok())
        }
        "Capability" => capability(argument)?,
        "Security" => security(argument)?,
        "CPUFeature" => {
            let text = read("/proc/cpuinfo");
            let flags = text.lines().find(|l| l.starts_with("flags") || l.starts_with("Features"));
            flags.is_some_and(|f| f.split_whitespace().any(|w| w == argument))
        }
        "OSRelease" => os_release(argument),
        "PathIsEncrypted" => rare::is_encrypted(path),
        "Firmware" => rare::firmware(argument)?,
        "Credential" => rare::credential(argument),
        "MemoryPressure" => rare::pressure("memory", argument)?,
        "CPUPressure" => rare::pressure("cpu", argument)?,
        "IOPressure" => rare::pressure("io", argument)?,
        _ => return None,
    })
}

const READ_ONLY: rustix::fs::StatVfsMountFlags = rustix::fs::StatVfsMountFlags::RDONLY;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

fn is_mount_point(path: &Path) -> bool {
    let mounts = read("/proc/self/mountinfo");
    let Ok(real) = fs::canonicalize(path) else { return false };
    let wanted = real.to_string_lossy().replace(' ', "\\040");
    mounts.lines().any(|l| l.split(' ').nth(4) == Some(&wanted))
}

/// A word alone, or NAME=VALUE; quotes around values are taken off.
fn kernel_option(line: &str, wanted: &str) -> bool {
    line.split_whitespace().any(|word| {
        let word = word.replace('"', "");
        if wanted.contains('=') { word == wanted } else { word.split('=').next() == Some(wanted) }
    })
}

/// `>=5.10 <6`, or a shell pattern.
fn compares_all(argument: &str, version: &str) -> bool {
    argument.split_whitespace().all(|part| {
        let digits = part.trim_start_matches(['<', '>', '=', '!']);
        match &part[..part.len() - digits.len()] {
            "" => glob::matches(part, version),
            operator => ordered(operator, version_order(version, digits)),
        }
    })
}

fn version_order(a: &str, b: &str) -> Ordering {
    let numbers = |t: &str| -> Vec<u64> {
        t.split(|c: char| !c.is_ascii_digit()).filter_map(|p| p.parse().ok()).collect()
    };
    let (a, b) = (numbers(a), numbers(b));
    // Only as far as is written: 6.1.0-5 equals 6.1.
    a.iter().take(b.len()).cmp(b.iter())
}

fn ordered(operator: &str, order: Ordering) -> bool {
    match operator {
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        "=" | "==" => order.is_eq(),
        "!=" | "<>" => order.is_ne(),
        ">=" => order.is_ge(),
        ">" => order.is_gt(),
        _ => false,
    }
}

fn compares(argument: &str, value: u64, parse: impl Fn(&str) -> Option<u64>) -> bool {
    let number = argument.trim_start_matches(['<', '>', '=', '!']);
    let operator = match &argument[..argument.len() - number.len()] {
        "" => ">=",
        written => written,
    };
    parse(number).is_some_and(|n| ordered(operator, value.cmp(&n)))
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_shl(shift)
}

fn memory_bytes() -> u64 {
    let i = rustix::system::sysinfo();
    i.totalram as u64 * u64::from(i.mem_unit)
}

fn architecture(wanted: &str) -> bool {
    let name = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    };
    wanted == name || wanted == "native"
}

/// The kind of container or machine, as far as it shows without special instructions.
fn detected() -> Option<(&'static str, bool)> {
    let container = std::env::var("container").ok().filter(|c| !c.is_empty());
    let container = container.or_else(|| Some(read("/run/systemd/container")).filter(|c| !c.is_empty()));
    if let Some(name) = container {
        let known = ["docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "rkt", "wsl", "proot"];
        return Some((known.into_iter().find(|k| *k == name.trim()).unwrap_or("container-other"), true));
    }
    if Path::new("/.dockerenv").exists() {
        return Some(("docker", true));
    }
    if Path::new("/run/.containerenv").exists() {
        return Some(("podman", true));
    }
    let vendor = ["sys_vendor", "product_name", "bios_vendor"]
        .map(|f| read(&format!("/sys/class/dmi/id/{f}")))
        .concat();
    for (mark, name) in [
        ("KVM", "kvm"),
        ("QEMU", "qemu"),
        ("VMware", "vmware"),
        ("VirtualBox", "oracle"),
        ("innotek", "oracle"),
        ("Xen", "xen"),
        ("Microsoft", "microsoft"),
        ("Amazon EC2", "amazon"),
    ] {
        if vendor.contains(mark) {
            return Some((name, false));
        }
    }
    let hypervisor = read("/proc/cpuinfo")
        .lines()
        .any(|l| l.starts_with("flags") && l.split_whitespace().any(|f| f == "hypervisor"));
    hypervisor.then_some(("vm-other", false))
}

fn virtualization(wanted: &str) -> bool {
    let found = detected();
    match wanted {
        "vm" => found.is_some_and(|(_, container)| !container),
        "container" => found.is_some_and(|(_, container)| container),
        "private-users" => !read("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]),
        word => match boolean(word) {
            Some(any) => any == found.is_some(),
            None => found.is_some_and(|(name, _)| name == word),
        },
    }
}

fn host(wanted: &str) -> bool {
    let id = read("/etc/machine-id");
    let plain = wanted.replace('-', "").to_ascii_lowercase();
    let is_id = plain.len() == 32 && plain.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        return id.trim() == plain;
    }
    glob::matches(wanted, &rustix::system::uname().nodename().to_string_lossy())
}

/// The folder is older than /usr, by its stamp file.
fn needs_update(folder: &str) -> bool {
    let Ok(usr) = fs::metadata("/usr") else { return false };
    let stamp = fs::metadata(Path::new(folder).join(".updated"));
    stamp.map_or(true, |s| (s.mtime(), s.mtime_nsec()) < (usr.mtime(), usr.mtime_nsec()))
}

/// On AC unless a mains supply is there and none is online.
fn on_ac_power() -> bool {
    let entries = fs::read_dir("/sys/class/power_supply").into_iter().flatten().flatten();
    let online: Vec<bool> = entries
        .filter(|e| read(&e.path().join("type").to_string_lossy()).trim() == "Mains")
        .map(|e| read(&e.path().join("online").to_string_lossy()).trim() == "1")
        .collect();
    online.is_empty() || online.contains(&true)
}

/// Names by the local files only: the name service may wait for the network, and this process must not.
fn named_id(file: &str, name: &str) -> Option<u32> {
    let of_name = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    read(file).lines().find_map(of_name)
}

fn user(wanted: &str) -> bool {
    let me = rustix::process::geteuid().as_raw();
    match wanted {
        "@system" => me < 1000,
        name => name.parse().ok().or_else(|| named_id("/etc/passwd", name)) == Some(me),
    }
}

fn group(wanted: &str) -> bool {
    let Some(gid) = wanted.parse().ok().or_else(|| named_id("/etc/group", wanted)) else { return false };
    rustix::process::getegid().as_raw() == gid
        || rustix::process::getgroups().is_ok_and(|all| all.iter().any(|g| g.as_raw() == gid))
}

fn environment(variables: &[Box<str>], wanted: &str) -> bool {
    if wanted.contains('=') {
        return variables.iter().any(|v| **v == *wanted);
    }
    variables.iter().any(|v| v.split('=').next() == Some(wanted))
}

/// Whether a capability is in the bounding set.
fn capability(wanted: &str) -> Option<bool> {
    const NAMES: [&str; 41] = [
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "setpcap",
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
        "bpf",
        "checkpoint_restore",
    ];
    let name = wanted.to_ascii_lowercase();
    let name = name.strip_prefix("cap_").unwrap_or(&name);
    let bit = NAMES.iter().position(|n| *n == name)?;
    let status = read("/proc/self/status");
    let set = status.lines().find_map(|l| l.strip_prefix("CapBnd:"))?;
    Some(u64::from_str_radix(set.trim(), 16).ok()? & 1 << bit != 0)
}

/// Whether the kernel has audit, and lets this process near it.
fn has_audit() -> bool {
    use rustix::{io::Errno, net};
    let (family, kind) = (net::AddressFamily::NETLINK, net::SocketType::RAW);
    let protocol = Some(net::netlink::AUDIT);
    let opened = net::socket_with(family, kind, net::SocketFlags::CLOEXEC, protocol);
    !matches!(opened, Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::PERM))
}

fn security(wanted: &str) -> Option<bool> {
    let exists = |path: &str| Path::new(path).exists();
    Some(match wanted {
        "selinux" => exists("/sys/fs/selinux/enforce"),
        "apparmor" => read("/sys/module/apparmor/parameters/enabled").trim() == "Y",
        "smack" => exists("/sys/fs/smackfs"),
        "ima" => exists("/sys/kernel/security/ima"),
        "tomoyo" => exists("/sys/kernel/security/tomoyo/version"),
        "audit" => has_audit(),
        "tpm2" => exists("/dev/tpmrm0"),
        "uefi-secureboot" => {
            let variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
            fs::read(variable).is_ok_and(|b| b.last() == Some(&1))
        }
        _ => return None,
    })
}

/// `ID=debian VERSION_ID>=12`
fn os_release(argument: &str) -> bool {
    let text = match read("/etc/os-release") {
        t if t.is_empty() => read("/usr/lib/os-release"),
        t => t,
    };
    argument.split_whitespace().all(|part| {
        let name = part.split(['<', '>', '=', '!', '$']).next().unwrap_or("");
        let rest = &part[name.len()..];
        let wanted = rest.trim_start_matches(['<', '>', '=', '!', '$']);
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
        let found = line.unwrap_or("").trim_matches(['"', '\'']);
        match &rest[..rest.len() - wanted.len()] {
            "=" => found == wanted,
            "!=" => found != wanted,
            "=$" => glob::matches(wanted, found),
            "!=$" => !glob::matches(wanted, found),
            operator => ordered(operator, version_order(found, wanted)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_unit::{Position, UnitName};

    fn condition(check: &'static str, argument: &str) -> Condition {
        let position = Position { source: 0, line: 1, column: 1 };
        let negate = argument.starts_with('!');
        Condition {
            check,
            argument: argument.trim_start_matches('!').into(),
            negate,
            trigger: false,
            position,
        }
    }

    fn machine() -> Machine<'static> {
        Machine { environment: &[], controllers: Box::new(|c| c == "pids") }
    }

    #[test]
    fn single_checks() {
        for (check, argument, is) in [
            ("PathExists", "/proc/self/stat", true),
            ("PathExists", "/no/such", false),
            ("PathExistsGlob", "/proc/sel*", true),
            ("PathIsDirectory", "/proc", true),
            ("PathIsDirectory", "/proc/stat", false),
            ("PathIsSymbolicLink", "/proc/self", true),
            ("PathIsMountPoint", "/proc", true),
            ("PathIsMountPoint", "/proc/self", false),
            ("DirectoryNotEmpty", "/proc", true),
            ("FileNotEmpty", "/etc/passwd", true),
            ("FileIsExecutable", "/bin/sh", true),
            ("FileIsExecutable", "/etc/passwd", false),
            ("KernelVersion", ">=3.0 <99", true),
            ("KernelVersion", "<3.0", false),
            ("Memory", ">=1M", true),
            ("Memory", "<1M", false),
            ("CPUs", "1", true),
            ("CPUs", ">100000", false),
            ("ControlGroupController", "pids", true),
            ("ControlGroupController", "memory pids", false),
            ("ControlGroupController", "no-such-controller pids", true),
            ("Environment", "NO_SUCH", false),
            ("Architecture", "native", true),
            ("OSRelease", "ID!=nothing", true),
        ] {
            assert_eq!(holds(&condition(check, argument), &machine()), Some(is), "{check}={argument}");
        }
        assert_eq!(holds(&condition("Novelty", "x"), &machine()), None);
        assert!(kernel_option("quiet root=/dev/x a=\"b\"", "a=b"));
        assert!(kernel_option("quiet root=/dev/x", "root"));
        assert!(!kernel_option("quietly", "quiet"));
    }

    #[test]
    fn lists() {
        let mut config = Config::stub(UnitName::new("a.service").unwrap());
        config.conditions = vec![condition("PathExists", "/proc"), condition("PathExists", "!/proc")];
        let failed = Checked::ConditionFailed("ConditionPathExists=!/proc".into());
        assert_eq!(check(&config, &machine()), failed);
        config.conditions.pop();
        config.conditions.push(Condition { trigger: true, ..condition("PathExists", "/no/such") });
        assert!(matches!(check(&config, &machine()), Checked::ConditionFailed(t) if t.contains("=|/no")));
        config.conditions.push(Condition { trigger: true, ..condition("PathExists", "/proc") });
        assert_eq!(check(&config, &machine()), Checked::Holds);
        config.asserts = vec![condition("FileNotEmpty", "/no/such"), condition("Novelty", "")];
        assert!(matches!(check(&config, &machine()), Checked::AssertFailed(_)));
        assert_eq!(unknown(&config).len(), 1);
    }
}
