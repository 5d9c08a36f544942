//! Unit files on disk, for the loader; and which content they had.

use crate::inputs;
use hence_ledger::{FileIdentity, FileRole, Version};
use hence_unit::{
    Config, UnitName,
    config::Environs,
    unit_path::{Entry, EntryKind, FileError, Files, UnitPath},
};
use rustix::{
    buffer::spare_capacity,
    fs::{Mode, OFlags},
};
use std::{
    cell::RefCell,
    fs::{self, File},
    io,
    os::unix::fs::FileTypeExt,
    path::Path,
};

/// Largest unit file that is read, in bytes.
const FILE_BYTES: u64 = 4 << 20;
/// By how much the buffer grows for a file that grew since it was opened, in bytes.
const READ_BYTES: usize = 16 << 10;
/// Entries of one folder that are listed.
const ENTRIES: usize = 100_000;

/// The file system of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

fn error(e: &io::Error) -> FileError {
    match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileError::NotFound,
        _ => FileError::Unreadable(e.to_string()),
    }
}

impl Files for DiskFiles {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| error(&e))?.take(ENTRIES) {
            let entry = entry.map_err(|e| error(&e))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = match entry.file_type() {
                Ok(t) if t.is_file() => EntryKind::File,
                Ok(t) if t.is_dir() => EntryKind::Folder,
                Ok(t) if t.is_symlink() => EntryKind::Link,
                _ => EntryKind::Other,
            };
            found.push(Entry { name, kind });
        }
        Ok(found)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        read(path).map(|(bytes, _)| bytes)
    }

    fn link(&self, path: &str) -> Option<String> {
        fs::read_link(path).ok()?.into_os_string().into_string().ok()
    }
}

/// The content of a file, and which version of it that is. Devices count as empty, as with systemd: a link
/// to /dev/null masks.
fn read(path: &str) -> Result<(Vec<u8>, Version), FileError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty()) {
        Err(rustix::io::Errno::LOOP) => {
            // To open a device may do something, so that what a link leads to is looked at first.
            let metadata = fs::metadata(path).map_err(|e| error(&e))?;
            if metadata.file_type().is_char_device() || metadata.file_type().is_block_device() {
                return Ok((Vec::new(), inputs::version_of(&metadata)));
            }
            rustix::fs::open(path, flags, Mode::empty())
        }
        opened => opened,
    };
    let file = File::from(fd.map_err(|e| error(&e.into()))?);
    let metadata = file.metadata().map_err(|e| error(&e))?;
    if !metadata.is_file() {
        return Err(FileError::Unreadable("not a regular file".into()));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(FILE_BYTES) as usize + 1);
    loop {
        let room = bytes.capacity() - bytes.len();
        let read = rustix::io::read(&file, spare_capacity(&mut bytes)).map_err(|e| error(&e.into()))?;
        if bytes.len() as u64 > FILE_BYTES {
            return Err(FileError::Unreadable("larger than 4 MiB".into()));
        }
        if read < room {
            // The end of a regular file: it needs no second look.
            break;
        }
        bytes.reserve(READ_BYTES);
    }
    Ok((bytes, inputs::version_of(&metadata)))
}

/// Notes the versions of the files that are read.
#[derive(Default)]
struct Noting(RefCell<Vec<(Box<str>, Version)>>);

impl Files for Noting {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        DiskFiles.list(folder)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let (bytes, version) = read(path)?;
        self.0.borrow_mut().push((path.into(), version));
        Ok(bytes)
    }

    fn link(&self, path: &str) -> Option<String> {
        DiskFiles.link(path)
    }
}

/// Loads a unit, with the identities of the files that it was loaded from.
pub fn load(path: &UnitPath, environs: &Environs, name: &UnitName) -> (Config, Vec<FileIdentity>) {
    let noting = Noting::default();
    let config = hence_unit::load(path, &noting, environs, name);
    let read = noting.0.into_inner();
    let identity = |path: &hence_ledger::Text| {
        let known = read.iter().find(|(of, _)| **of == **path).map(|(_, version)| *version);
        let version = known.or_else(|| inputs::version(Path::new(&**path)));
        FileIdentity { path: path.clone(), role: FileRole::UnitFile, version }
    };
    let files = config.sources.iter().map(|s| identity(&s.path)).collect();
    (config, files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_files_and_links() {
        let folder = std::env::temp_dir().join(format!("hence-files-{}", std::process::id()));
        fs::create_dir_all(folder.join("d")).unwrap();
        fs::write(folder.join("f"), "[Unit]\n").unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.join("l")).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let mut listed = DiskFiles.list(folder.to_str().unwrap()).unwrap();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let kinds: Vec<_> = listed.iter().map(|e| (e.name.as_str(), e.kind)).collect();
        assert_eq!(kinds, [("d", EntryKind::Folder), ("f", EntryKind::File), ("l", EntryKind::Link)]);
        assert_eq!(DiskFiles.read(&path("f")).unwrap(), b"[Unit]\n");
        assert_eq!(DiskFiles.read(&path("l")).unwrap(), b"");
        assert_eq!(DiskFiles.link(&path("l")).as_deref(), Some("/dev/null"));
        assert_eq!(DiskFiles.read(&path("none")), Err(FileError::NotFound));
        assert!(matches!(DiskFiles.read(&path("d")), Err(FileError::Unreadable(_))));
        fs::remove_dir_all(&folder).unwrap();
    }
}
