//! What process 1 finds and what it makes of it before it runs anything: the kind of machine, the kernel's
//! file systems, host name, machine id, loopback; and, in [`down`], the way back. Whatever is impossible is
//! a sentence for the operator and no error. It does not decide when any of this happens.

pub mod down;
pub mod environment_generators;
pub mod generators;
mod mounts;

use rustix::fs::{Mode, OFlags, StatxAttributes, StatxFlags};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Where this process 1 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What made the container: `docker`, `podman`, `lxc`; `None` in a machine.
    pub container: Option<String>,
}

impl Place {
    /// A container says so in `container=` (container interface), by a file, or by a pid namespace that is
    /// not the first one.
    pub fn find() -> Place {
        // The number of the first pid namespace is a constant of the kernel's.
        const FIRST: &str = "pid:[4026531836]";
        let variable = std::env::var("container").ok().filter(|c| !c.is_empty());
        let file = |path: &str, name: &str| Path::new(path).exists().then(|| name.to_owned());
        let namespace = || {
            let own = fs::read_link("/proc/self/ns/pid").ok()?;
            (own.to_str() != Some(FIRST)).then(|| "namespaces".to_owned())
        };
        let container = variable
            .or_else(|| file("/run/.containerenv", "podman"))
            .or_else(|| file("/.dockerenv", "docker"))
            .or_else(namespace);
        Place { container }
    }

    /// Whether this is a machine of its own.
    pub fn is_machine(&self) -> bool {
        self.container.is_none()
    }
}

/// Makes what is missing and can be made. Returns what could not, in sentences.
pub fn set_up() -> (Place, Vec<String>) {
    let mut notes = Vec::new();
    // Where this is cannot be said before /proc is there.
    mounts::mount_missing(&mut notes);
    let place = Place::find();
    device_links();
    if place.is_machine() {
        load_modules();
    }
    if let Some(container) = &place.container {
        // Units look for it here: ConditionVirtualization= and others; systemd's container interface.
        note_container(container);
    }
    if place.is_machine() || has_own_name() {
        host_name(&mut notes);
    }
    if place.is_machine() {
        if let Err(e) = crate::sys::machine::loopback_up() {
            notes.push(format!("the loopback interface can't be taken up: {e}"));
        }
        let console = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/tty0");
        if let Err(e) = crate::sys::machine::keys_as_signals(console.ok().as_ref()) {
            notes.push(format!("Ctrl-Alt-Del reboots at once: {e}"));
        }
    }
    (place, notes)
}

/// Folders and files that others look for to know that the system runs under systemd's rules.
pub fn runtime_folders() -> Vec<String> {
    let mut notes = Vec::new();
    for folder in ["/run/systemd/system", "/run/systemd/units", "/run/lock"] {
        if let Err(e) = fs::DirBuilder::new().recursive(true).mode(0o755).create(folder) {
            notes.push(format!("{folder} can't be made: {e}"));
        }
    }
    notes
}

fn note_container(container: &str) {
    let file = Path::new("/run/systemd/container");
    if !file.exists() && fs::create_dir_all("/run/systemd").is_ok() {
        let _ = fs::write(file, container);
    }
}

/// The links that programs expect in /dev and that devtmpfs has not.
fn device_links() {
    let links = [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ];
    for (target, link) in links {
        // It is there already, or /dev is not ours.
        let _ = std::os::unix::fs::symlink(target, link);
    }
}

/// Asks for what process 1 itself uses and kernels often have as modules; systemd has them loaded before its
/// units too. Without modprobe(8), or without the module, what needs it says so later.
fn load_modules() {
    let missing = [("/dev/autofs", "autofs4"), ("/proc/net/if_inet6", "ipv6"), ("/proc/net/unix", "unix")];
    let missing = missing.iter().filter(|(sign, _)| !Path::new(sign).exists()).map(|(_, module)| *module);
    let modules: Vec<&str> = missing.collect();
    if !modules.is_empty() {
        let null = std::process::Stdio::null;
        let mut modprobe = std::process::Command::new("/sbin/modprobe");
        modprobe.args(["-abq", "--"]).args(modules).stdin(null()).stdout(null()).stderr(null());
        let _ = modprobe.status();
    }
}

/// Whether a container has a host name that is not the machine's.
fn has_own_name() -> bool {
    // As that of the first pid namespace.
    const FIRST: &str = "uts:[4026531838]";
    fs::read_link("/proc/self/ns/uts").is_ok_and(|own| own.to_str() != Some(FIRST))
}

fn host_name(notes: &mut Vec<String>) {
    let text = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let Some(name) = name.filter(|n| n.len() <= 64 && n.chars().all(plain)) else {
        if name.is_some() {
            notes.push("/etc/hostname is no host name and has no effect".into());
        }
        return;
    };
    if let Err(e) = rustix::system::sethostname(name.as_bytes()) {
        notes.push(format!("the host name can't be set: {e}"));
    }
}

/// What /etc/machine-id says about this boot; machine-id(5), "First boot semantics".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineId {
    /// It was there.
    Known,
    /// It was made; the first boot is the one for which there was no file, or one that said so.
    Made {
        /// Presets and the like apply now.
        first_boot: bool,
    },
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Lets units know that this is the first boot: ConditionFirstBoot=.
pub fn note_first_boot() -> Option<String> {
    const FILE: &str = "/run/systemd/first-boot";
    let made = fs::create_dir_all("/run/systemd").and_then(|()| fs::write(FILE, ""));
    made.err().map(|e| format!("{FILE}: {e}; units with ConditionFirstBoot= don't notice the first boot"))
}

/// Whether a unit is there that writes the machine id when the first boot is complete.
fn commits_later() -> bool {
    const UNIT: &str = "systemd-machine-id-commit.service";
    ["/usr/lib/systemd/system", "/lib/systemd/system"].iter().any(|f| Path::new(f).join(UNIT).exists())
}

/// Makes a machine id where there is none: written where /etc can be written, else only until the next boot
/// and laid over the file that is there. At a first boot the file says that it is one until all of it has
/// been done, so that a boot that was cut off is a first one again.
pub fn machine_id(place: &Place) -> (MachineId, Vec<String>) {
    const FILE: &str = "/etc/machine-id";
    let now = fs::read_to_string(FILE);
    if now.as_ref().is_ok_and(|text| is_id(text.trim())) {
        return (MachineId::Known, Vec::new());
    }
    let missing = now.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
    let first_boot = missing || now.as_ref().is_ok_and(|t| t.trim() == "uninitialized");
    let made = MachineId::Made { first_boot };
    let given = std::env::var("container_uuid").ok().map(|id| id.replace('-', "").to_ascii_lowercase());
    let id = given.filter(|id| is_id(id)).unwrap_or_else(|| new_id(place));
    let text = format!("{id}\n");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let later = first_boot && commits_later();
    let now = if later { "uninitialized\n" } else { &text };
    let written = rustix::fs::open(FILE, flags, Mode::from_raw_mode(0o444)).and_then(|file| {
        rustix::io::write(&file, now.as_bytes())?;
        rustix::fs::ftruncate(&file, now.len() as u64)
    });
    if written.is_ok() && !later {
        return (made, Vec::new());
    }
    let transient = || -> io::Result<()> {
        fs::write("/run/machine-id", &text)?;
        rustix::mount::mount_bind("/run/machine-id", FILE)?;
        let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
        Ok(rustix::mount::mount_remount(FILE, flags, c"")?)
    };
    let note = match transient() {
        Ok(()) if written.is_ok() => return (made, Vec::new()),
        Ok(()) => format!("{FILE} has no id and can't be written; this boot's is {id}"),
        Err(e) => format!("{FILE} has no id and can't be given one: {e}"),
    };
    (made, vec![note])
}

/// 32 hexadecimal digits, of the virtual machine's own id where it has one, else by chance.
fn new_id(place: &Place) -> String {
    let read = |path: &str| fs::read_to_string(path).ok().map(|t| t.trim().replace('-', "").to_lowercase());
    let product = place.is_machine().then(|| read("/sys/class/dmi/id/product_uuid")).flatten();
    let product = product.filter(|id| is_id(id) && id.bytes().any(|b| b != b'0'));
    let random = || read("/proc/sys/kernel/random/uuid").filter(|id| is_id(id));
    product.or_else(random).unwrap_or_else(|| format!("{:032x}", crate::clock::now().realtime_us))
}

/// What hence may not do here though a system needs it, in sentences.
pub fn missing_rights(place: &Place) -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let Some(held) = effective.and_then(|v| u64::from_str_radix(v.trim(), 16).ok()) else {
        return vec!["/proc/self/status doesn't say which capabilities there are".into()];
    };
    let wanted: [(u32, &str, bool); 11] = [
        (0, "CAP_CHOWN", false),
        (1, "CAP_DAC_OVERRIDE", false),
        (3, "CAP_FOWNER", false),
        (5, "CAP_KILL", false),
        (6, "CAP_SETGID", false),
        (7, "CAP_SETUID", false),
        (8, "CAP_SETPCAP", false),
        (24, "CAP_SYS_RESOURCE", false),
        (21, "CAP_SYS_ADMIN", false),
        (12, "CAP_NET_ADMIN", true),
        (22, "CAP_SYS_BOOT", true),
    ];
    let lacks =
        |&&(bit, _, machine): &&(u32, &str, bool)| held & (1 << bit) == 0 && (!machine || place.is_machine());
    let lacking: Vec<&str> = wanted.iter().filter(lacks).map(|w| w.1).collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    vec![format!("capabilities that are missing here: {}", lacking.join(" "))]
}

/// Whether a path is where something is mounted.
pub(crate) fn is_mount_point(path: &str) -> bool {
    let statx = rustix::fs::statx(
        rustix::fs::CWD,
        path,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW | rustix::fs::AtFlags::NO_AUTOMOUNT,
        StatxFlags::BASIC_STATS,
    );
    statx.is_ok_and(|s| s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Says something to whom hence itself is a service of: sd_notify(3). Nothing where nobody listens.
pub fn notify(state: &str) {
    use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    let address = match bytes.first() {
        Some(b'@') => SocketAddrUnix::new_abstract_name(&bytes[1..]),
        Some(b'/') => SocketAddrUnix::new(Path::new(&path)),
        _ => return,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let Ok(address) = address else { return };
    if let Ok(socket) = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None) {
        // Whoever doesn't read what its service says must not hold us up.
        let _ = rustix::net::sendto(&socket, state.as_bytes(), SendFlags::NOSIGNAL, &address);
    }
}
