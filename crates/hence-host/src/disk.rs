//! Folders on bounded disks of their own, for this process and all that it starts: a disk that can be filled
//! without harm to anybody else.

use crate::sys::namespace;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Puts a file system in memory over each of these folders, with a copy of what is there. Only a process with
/// one thread can.
///
/// # Errors
/// It is not permitted, a folder isn't there, or what it holds has no room: then nothing is mounted over it.
pub fn bound_folders(folders: &[PathBuf], bytes: u64) -> io::Result<()> {
    namespace::unshare_mounts().or_else(|_| namespace::unshare_users_and_mounts())?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    folders.iter().try_for_each(|folder| bound(folder, bytes))
}

fn bound(folder: &Path, bytes: u64) -> io::Result<()> {
    let below = File::open(folder)?;
    let mode = below.metadata()?.permissions().mode() & 0o7777;
    let there = PathBuf::from(format!("/proc/self/fd/{}", below.as_raw_fd()));
    let size = size(&there)?;
    if size > bytes / 2 {
        let message = format!("{}: its {size} bytes have no room on a disk of {bytes}", folder.display());
        return Err(io::Error::new(io::ErrorKind::StorageFull, message));
    }
    let options = std::ffi::CString::new(format!("size={bytes},mode={mode:o}"))?;
    mount("hence-soak", folder, "tmpfs", MountFlags::empty(), options.as_c_str())?;
    copy(&there, folder)
}

fn size(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        sum += if about.is_dir() { size(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}

/// Files, folders and links; what else there is, sockets mostly, is made anew by who needs it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (about, target) = (entry.metadata()?, to.join(entry.file_name()));
        if about.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
            fs::set_permissions(&target, about.permissions())?;
        } else if about.is_file() {
            fs::copy(entry.path(), &target)?;
        } else if about.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
            continue;
        } else {
            continue;
        }
        // Only root can, and for others all is theirs.
        let _ = chown(&target, Some(about.uid()), Some(about.gid()));
    }
    Ok(())
}
