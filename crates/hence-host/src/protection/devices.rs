//! PrivateDevices=: a /dev with nothing but pseudo devices. That nobody can make others is a matter of
//! capabilities, not decided here.

use rustix::{
    fs::{CWD, FileType, Mode, makedev, mknodat},
    mount::{MountFlags, mount, mount_bind},
};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};

const OPTIONS: &std::ffi::CStr = c"mode=755,size=4m,nr_inodes=64k";
/// The devices, each with its numbers.
const NODES: [(&str, u32, u32); 7] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("ptmx", 5, 2),
];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("log", "/run/systemd/journal/dev-log"),
];

/// Mounts it here; the machine's is still at /dev.
pub(super) fn make(at: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::STRICTATIME;
    mount("tmpfs", at, "tmpfs", flags, OPTIONS)?;
    let before = rustix::process::umask(Mode::empty());
    let filled = fill(at);
    rustix::process::umask(before);
    filled
}

fn fill(at: &Path) -> io::Result<()> {
    let folder = |name: &str, mode: u32| fs::DirBuilder::new().mode(mode).create(at.join(name));
    folder("char", 0o755)?;
    for (name, major, minor) in NODES {
        node(&at.join(name), &Path::new("/dev").join(name), (major, minor))?;
        symlink(format!("../{name}"), at.join(format!("char/{major}:{minor}")))?;
    }
    folder("pts", 0o755)?;
    mount_bind("/dev/pts", at.join("pts"))?;
    folder("shm", 0o755)?;
    mount_bind("/dev/shm", at.join("shm"))?;
    // Not every machine has these.
    for name in ["mqueue", "hugepages"] {
        folder(name, 0o755)?;
        let _ = mount_bind(Path::new("/dev").join(name), at.join(name));
    }
    for (name, target) in LINKS {
        symlink(target, at.join(name))?;
    }
    Ok(())
}

/// A node as the machine has it; what the machine lacks is left out.
fn node(at: &Path, from: &Path, (major, minor): (u32, u32)) -> io::Result<()> {
    let Ok(there) = fs::symlink_metadata(from) else { return Ok(()) };
    if there.is_symlink() {
        return symlink(fs::read_link(from)?, at);
    }
    let mode = Mode::from_raw_mode(there.mode() & 0o777);
    match mknodat(CWD, at, FileType::CharacterDevice, mode, makedev(major, minor)) {
        // In a user namespace nobody may make one: the machine's is shown there.
        Err(rustix::io::Errno::PERM) => {
            fs::File::create(at)?;
            Ok(mount_bind(from, at)?)
        }
        result => {
            result?;
            fs::set_permissions(at, fs::Permissions::from_mode(there.mode() & 0o777))
        }
    }
}
