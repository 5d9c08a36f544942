//! File systems for tests: a map, and the machine's own.

#![allow(dead_code, reason = "each test uses a part of this module")]

use hence_unit::{
    Config, Dependency, UnitName,
    config::Environs,
    unit_path::{Entry, EntryKind, FileError, Files, UnitPath},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

/// A file or a link.
pub enum Node {
    File(Vec<u8>),
    Link(String),
    Unreadable,
}

/// A file system in memory.
#[derive(Default)]
pub struct Map {
    pub nodes: BTreeMap<String, Node>,
    /// How often a folder was listed.
    pub listed: Cell<usize>,
}

impl Map {
    pub fn file(&mut self, path: &str, text: &str) -> &mut Map {
        self.nodes.insert(absolute(path), Node::File(text.into()));
        self
    }

    pub fn link(&mut self, path: &str, target: &str) -> &mut Map {
        self.nodes.insert(absolute(path), Node::Link(target.into()));
        self
    }

    /// The files of a rig scenario: sections that begin with `-- NAME --`, without the steps.
    pub fn scenario(text: &str) -> Map {
        let mut map = Map::default();
        let mut name: Option<&str> = None;
        let mut content = String::new();
        for line in text.lines().chain(["-- steps --"]) {
            let header = line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"));
            let Some(header) = header else {
                content.push_str(line);
                content.push('\n');
                continue;
            };
            if let Some(name) = name.filter(|name| *name != "steps") {
                map.file(name, &content);
            }
            content.clear();
            name = Some(header);
        }
        map
    }

    pub fn load(&self, name: &str) -> Config {
        let path = UnitPath::scan(self, &folders());
        load(&path, self, name)
    }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.into() } else { format!("/etc/systemd/system/{path}") }
}

pub fn folders() -> Vec<String> {
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"].map(String::from).into()
}

pub fn load(path: &UnitPath, files: &dyn Files, name: &str) -> Config {
    hence_unit::load(path, files, &environs(), &UnitName::new(name).unwrap())
}

impl Files for Map {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        self.listed.set(self.listed.get() + 1);
        let prefix = format!("{folder}/");
        let mut seen = BTreeSet::new();
        let mut entries = Vec::new();
        for (path, node) in &self.nodes {
            let Some(rest) = path.strip_prefix(&prefix) else {
                continue;
            };
            let name = rest.split('/').next().unwrap();
            if seen.insert(name) {
                let kind = match node {
                    _ if name.len() < rest.len() => EntryKind::Folder,
                    Node::Link(_) => EntryKind::Link,
                    Node::File(_) | Node::Unreadable => EntryKind::File,
                };
                entries.push(Entry { name: name.into(), kind });
            }
        }
        if entries.is_empty() { Err(FileError::NotFound) } else { Ok(entries) }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        match self.nodes.get(path) {
            Some(Node::File(bytes)) => Ok(bytes.clone()),
            Some(Node::Link(target)) if target == "/dev/null" => Ok(Vec::new()),
            Some(Node::Link(target)) => self.read(target),
            Some(Node::Unreadable) => Err(FileError::Unreadable("permission denied".into())),
            None => Err(FileError::NotFound),
        }
    }

    fn link(&self, path: &str) -> Option<String> {
        match self.nodes.get(path) {
            Some(Node::Link(target)) => Some(target.clone()),
            _ => None,
        }
    }
}

/// The file system of this machine.
pub struct Machine;

fn error(error: std::io::Error) -> FileError {
    match error.kind() {
        std::io::ErrorKind::NotFound => FileError::NotFound,
        _ => FileError::Unreadable(error.to_string()),
    }
}

impl Files for Machine {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(error)?.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let kind = match entry.file_type() {
                Ok(kind) if kind.is_symlink() => EntryKind::Link,
                Ok(kind) if kind.is_dir() => EntryKind::Folder,
                Ok(kind) if kind.is_file() => EntryKind::File,
                _ => EntryKind::Other,
            };
            entries.push(Entry { name, kind });
        }
        Ok(entries)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        std::fs::read(path).map_err(error)
    }

    fn link(&self, path: &str) -> Option<String> {
        std::fs::read_link(path).ok()?.into_os_string().into_string().ok()
    }
}

pub fn environs() -> Environs {
    Environs {
        host_name: "rig".into(),
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        boot_id: "00000000000000000000000000000001".into(),
        user_name: "root".into(),
        group_name: "root".into(),
        home: "/root".into(),
        shell: "/bin/bash".into(),
        runtime_root: "/run".into(),
        state_root: "/var/lib".into(),
        cache_root: "/var/cache".into(),
        logs_root: "/var/log".into(),
        configuration_root: "/etc".into(),
        tmp: "/tmp".into(),
        var_tmp: "/var/tmp".into(),
        ..Environs::default()
    }
}

/// `Kind=other` of each dependency, sorted.
pub fn dependencies(config: &Config) -> Vec<String> {
    let text = |d: &Dependency| format!("{}={}", d.kind.name(), d.other);
    let mut list: Vec<String> = config.dependencies.iter().map(text).collect();
    list.sort();
    list
}
