//! Unit files on disk, for the loader; and which content they had.

use crate::inputs;
use hence_ledger::{FileIdentity, FileRole};
use hence_unit::{
    Config,
    unit_path::{Entry, EntryKind, FileError, Files},
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Largest unit file that is read, in bytes.
const FILE_BYTES: u64 = 4 << 20;
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
        let metadata = fs::metadata(path).map_err(|e| error(&e))?;
        let null = path == "/dev/null" || fs::canonicalize(path).is_ok_and(|p| p == Path::new("/dev/null"));
        if null {
            return Ok(Vec::new());
        }
        if !metadata.is_file() {
            // A FIFO would make us wait, a device never end.
            return Err(FileError::Unreadable("not a regular file".into()));
        }
        let mut bytes = Vec::with_capacity(metadata.len().min(FILE_BYTES) as usize);
        let file = File::open(path).map_err(|e| error(&e))?;
        file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| error(&e))?;
        if bytes.len() as u64 > FILE_BYTES {
            return Err(FileError::Unreadable("larger than 4 MiB".into()));
        }
        Ok(bytes)
    }

    fn link(&self, path: &str) -> Option<String> {
        fs::read_link(path).ok()?.into_os_string().into_string().ok()
    }
}

/// The files that a unit was loaded from, as they are now.
pub fn identities(config: &Config) -> Vec<FileIdentity> {
    let identity = |path: &hence_ledger::Text| FileIdentity {
        path: path.clone(),
        role: FileRole::UnitFile,
        version: inputs::version(Path::new(&**path)),
    };
    config.sources.iter().map(|s| identity(&s.path)).collect()
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
