//! The kernel's file systems that every system needs: mounted where nothing is mounted, as systemd has them.

use super::is_mount_point;
use rustix::mount::{MountFlags, mount};
use std::ffi::CString;

struct Row {
    what: &'static str,
    at: &'static str,
    kind: &'static str,
    flags: MountFlags,
    options: &'static str,
}

fn rows() -> [Row; 7] {
    let (suid, exec, dev) = (MountFlags::NOSUID, MountFlags::NOEXEC, MountFlags::NODEV);
    let row = |what, at, kind, flags, options| Row { what, at, kind, flags, options };
    [
        row("proc", "/proc", "proc", suid | exec | dev, ""),
        row("sysfs", "/sys", "sysfs", suid | exec | dev, ""),
        row("devtmpfs", "/dev", "devtmpfs", suid | MountFlags::STRICTATIME, "mode=755"),
        row("tmpfs", "/dev/shm", "tmpfs", suid | dev | MountFlags::STRICTATIME, "mode=1777"),
        row("devpts", "/dev/pts", "devpts", suid | exec, "mode=620,gid=5"),
        row("tmpfs", "/run", "tmpfs", suid | dev | MountFlags::STRICTATIME, "mode=755,size=20%"),
        row("cgroup2", "/sys/fs/cgroup", "cgroup2", suid | exec | dev, "nsdelegate,memory_recursiveprot"),
    ]
}

/// Mounts what is missing. What can't be is told.
pub fn mount_missing(notes: &mut Vec<String>) {
    for Row { what, at, kind, flags, options } in rows() {
        if is_mount_point(at) || (at == "/dev/pts" && std::path::Path::new("/dev/pts/ptmx").exists()) {
            continue;
        }
        // Refused on a read-only root that lacks the folder: then the mount says so.
        let _ = std::fs::create_dir(at);
        let with = |options: &str| {
            let options = CString::new(options).unwrap_or_default();
            mount(what, at, kind, flags, options.as_c_str())
        };
        let mounted = match with(options) {
            // Options that this kernel doesn't know.
            Err(rustix::io::Errno::INVAL) if !options.is_empty() => with(""),
            other => other,
        };
        if let Err(e) = mounted {
            notes.push(format!("{at} can't be mounted: {e}"));
        }
    }
}
