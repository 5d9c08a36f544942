//! The files of an image, or of this machine, for who only looks: unit files, programs and links, with links
//! resolved inside of the image. It writes nothing.

use crate::DiskFiles;
use hence_unit::lint::Ground;
use hence_unit::unit_path::{Entry, FileError, Files};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

/// Links that may follow each other; as Linux has it.
const LINKS_MAX: u32 = 40;
/// Longest script that is read, in bytes.
const SCRIPT_BYTES: u64 = 256 << 10;

/// A file system below a folder.
#[derive(Debug, Default)]
pub struct RootFiles {
    /// The folder without a slash at its end; empty for the machine itself.
    root: String,
    /// Folders of the image, and where they really are.
    folders: RefCell<HashMap<String, Option<String>>>,
}

impl RootFiles {
    /// The files below this folder, an absolute path; of the machine for `/`.
    pub fn new(root: &str) -> RootFiles {
        RootFiles { root: root.trim_end_matches('/').into(), folders: RefCell::default() }
    }

    /// Where a path of the image really is, its last link followed; `None` where links go in circles.
    pub fn real(&self, path: &str) -> Option<String> {
        if self.root.is_empty() {
            return Some(path.into());
        }
        self.follow(path, 0)
    }

    fn follow(&self, path: &str, links: u32) -> Option<String> {
        if links > LINKS_MAX {
            return None;
        }
        let path = path.trim_end_matches('/');
        let Some((folder, name)) = path.rsplit_once('/') else {
            return Some(format!("{}/", self.root));
        };
        match name {
            "" | "." => return self.follow(folder, links),
            ".." => return self.follow(folder.rsplit_once('/').map_or("", |(above, _)| above), links),
            _ => {}
        }
        let at = format!("{}/{name}", self.folder(folder, links)?);
        match fs::read_link(&at) {
            Err(_) => Some(at),
            Ok(target) => {
                let target = target.to_str()?;
                let next = if target.starts_with('/') { target.into() } else { format!("{folder}/{target}") };
                self.follow(&plain(&next), links + 1)
            }
        }
    }

    /// Where a folder of the image really is, without a slash at its end.
    fn folder(&self, folder: &str, links: u32) -> Option<String> {
        if folder.is_empty() {
            return Some(self.root.clone());
        }
        if let Some(known) = self.folders.borrow().get(folder) {
            return known.clone();
        }
        let real = self.follow(folder, links + 1).map(|real| real.trim_end_matches('/').to_owned());
        self.folders.borrow_mut().insert(folder.into(), real.clone());
        real
    }

    /// Where the entry itself is, links in front of it followed.
    fn entry(&self, path: &str) -> Option<String> {
        if self.root.is_empty() {
            return Some(path.into());
        }
        let (folder, name) = path.trim_end_matches('/').rsplit_once('/')?;
        Some(format!("{}/{name}", self.folder(folder, 0)?))
    }
}

/// An absolute path without `.`, `..` and doubled slashes.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Files for RootFiles {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        DiskFiles.list(&self.real(folder).ok_or(FileError::NotFound)?)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        DiskFiles.read(&self.real(path).ok_or(FileError::NotFound)?)
    }

    fn link(&self, path: &str) -> Option<String> {
        DiskFiles.link(&self.entry(path)?)
    }
}

impl Ground for RootFiles {
    fn mode(&self, path: &str) -> Option<u32> {
        Some(fs::metadata(self.real(path)?).ok()?.permissions().mode())
    }

    fn script(&self, path: &str) -> Option<String> {
        let path = self.real(path)?;
        let metadata = fs::metadata(&path).ok().filter(|m| m.is_file() && m.len() <= SCRIPT_BYTES)?;
        let mut file = File::open(&path).ok()?;
        let mut head = [0; 2];
        file.read_exact(&mut head).ok().filter(|()| head == *b"#!")?;
        let mut bytes = head.to_vec();
        file.take(metadata.len()).read_to_end(&mut bytes).ok()?;
        String::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_of_the_image() {
        let root = std::env::temp_dir().join(format!("hence-ground-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("usr/lib/systemd/system")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        fs::write(root.join("usr/lib/systemd/system/a.service"), "#!/bin/sh\nx").unwrap();
        symlink("/lib/systemd/system/a.service", root.join("etc/b")).unwrap();
        symlink("../../../../../../etc/b", root.join("etc/c")).unwrap();
        symlink("d", root.join("etc/d")).unwrap();
        symlink("/etc/passwd", root.join("etc/e")).unwrap();
        let ground = RootFiles::new(root.to_str().unwrap());
        for path in ["/lib/systemd/system/a.service", "/etc/b", "/etc/c", "/etc/../etc/./b"] {
            assert_eq!(ground.read(path).as_deref(), Ok(&b"#!/bin/sh\nx"[..]), "{path}");
        }
        assert_eq!(ground.script("/etc/c").as_deref(), Some("#!/bin/sh\nx"));
        assert_eq!(ground.link("/etc/b").as_deref(), Some("/lib/systemd/system/a.service"));
        // What leads out of it, or in circles, isn't there: the machine's own passwd is not looked at.
        assert!(ground.read("/etc/d").is_err() && ground.read("/etc/e").is_err());
        assert_eq!(ground.list("/lib/systemd/system").unwrap().len(), 1);
        assert!(ground.mode("/etc/b").is_some() && ground.mode("/etc/none").is_none());
        fs::remove_dir_all(&root).unwrap();
    }
}
