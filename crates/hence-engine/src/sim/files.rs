//! Unit files in memory. It knows no links.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use hence_unit::unit_path::{Entry, EntryKind, FileError, Files};

/// The folder that the files are in.
pub const FOLDER: &str = "/units";

/// Targets that default dependencies name; they are there unless a file of the name is.
const TARGETS: [&str; 7] = [
    "basic.target",
    "sysinit.target",
    "shutdown.target",
    "sockets.target",
    "timers.target",
    "paths.target",
    "default.target",
];

/// Files by their paths.
#[derive(Clone, Debug, Default)]
pub struct Memory(BTreeMap<String, String>);

impl Memory {
    /// The given units, (name, text), and the targets that default dependencies name. A name may be that
    /// of a drop-in: `a.service.d/x.conf`.
    pub fn new(units: &[(String, String)]) -> Memory {
        let mut files = BTreeMap::new();
        for name in TARGETS {
            files.insert(path(name), "[Unit]\nDefaultDependencies=no\n".to_owned());
        }
        files.extend(units.iter().map(|(name, text)| (path(name), text.clone())));
        Memory(files)
    }

    /// Writes a drop-in of a unit, over the one that this has written before.
    pub fn edit(&mut self, name: &str, text: String) {
        let mut path = path(name);
        path.push_str(".d/edit.conf");
        self.0.insert(path, text);
    }

    /// Removes the file of a unit.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(&path(name));
    }
}

fn path(name: &str) -> String {
    let mut path = FOLDER.to_string();
    path.push('/');
    path.push_str(name);
    path
}

impl Files for Memory {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let mut entries: BTreeMap<&str, EntryKind> = BTreeMap::new();
        for path in self.0.keys() {
            let below = path.strip_prefix(folder).and_then(|p| p.strip_prefix('/'));
            match below.map(|p| p.split_once('/').map_or((p, false), |(folder, _)| (folder, true))) {
                Some((name, true)) => entries.insert(name, EntryKind::Folder),
                Some((name, false)) => entries.insert(name, EntryKind::File),
                None => None,
            };
        }
        if entries.is_empty() {
            return Err(FileError::NotFound);
        }
        Ok(entries.into_iter().map(|(name, kind)| Entry { name: name.to_owned(), kind }).collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or(FileError::NotFound)
    }

    fn link(&self, _path: &str) -> Option<String> {
        None
    }
}
