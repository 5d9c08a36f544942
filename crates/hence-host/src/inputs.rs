//! Which files a start depends on, and which content they had, told by their metadata. Content is read
//! elsewhere, later; only the first bytes of a program are, once per version, for its interpreter.

use hence_ledger::{FileIdentity, FileRole, Text, Version};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Most arguments that are taken for files.
const ARGUMENTS: usize = 32;
/// Programs whose interpreter is remembered.
const REMEMBERED: usize = 1024;

/// The state of a file, links followed; `None` where there is none or it may not be looked at.
pub fn version(path: &Path) -> Option<Version> {
    fs::metadata(path).ok().map(|m| version_of(&m))
}

pub(crate) fn version_of(m: &fs::Metadata) -> Version {
    Version {
        device: m.dev(),
        inode: m.ino(),
        size: m.size(),
        modified_ns: m.mtime().saturating_mul(1_000_000_000).saturating_add(m.mtime_nsec()),
        changed_ns: m.ctime().saturating_mul(1_000_000_000).saturating_add(m.ctime_nsec()),
    }
}

/// Collects the files of starts.
#[derive(Debug, Default)]
pub struct Inputs {
    interpreters: BTreeMap<Version, Option<Text>>,
}

impl Inputs {
    /// The program, its interpreter if it is a script, environment files and files named as arguments.
    pub fn of_start(
        &mut self,
        program: &str,
        arguments: &[String],
        environment: &[Text],
    ) -> Vec<FileIdentity> {
        let mut found = Vec::with_capacity(1 + environment.len());
        let now = version(Path::new(program));
        found.push(FileIdentity { path: program.into(), role: FileRole::Executable, version: now });
        if let Some(interpreter) = now.and_then(|v| self.interpreter(program, v)) {
            let version = version(Path::new(&*interpreter));
            found.push(FileIdentity { path: interpreter, role: FileRole::Interpreter, version });
        }
        found.extend(environment.iter().map(|path| FileIdentity {
            path: path.clone(),
            role: FileRole::Environment,
            version: version(Path::new(&**path)),
        }));
        for path in arguments.iter().skip(1).filter_map(|a| path_in(a)).take(ARGUMENTS) {
            let Some(m) = fs::metadata(path).ok().filter(fs::Metadata::is_file) else { continue };
            if found.iter().all(|f| *f.path != *path) {
                let version = Some(version_of(&m));
                found.push(FileIdentity { path: path.into(), role: FileRole::Argument, version });
            }
        }
        found
    }

    fn interpreter(&mut self, program: &str, version: Version) -> Option<Text> {
        if let Some(known) = self.interpreters.get(&version) {
            return known.clone();
        }
        if self.interpreters.len() >= REMEMBERED {
            self.interpreters.clear();
        }
        let mut first = [0u8; 256];
        let read = File::open(program).and_then(|mut f| f.read(&mut first)).unwrap_or(0);
        let found = interpreter_in(&first[..read]).map(Text::from);
        self.interpreters.insert(version, found.clone());
        found
    }
}

/// The path after `#!`.
fn interpreter_in(first: &[u8]) -> Option<&str> {
    let line = first.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()
}

/// An argument that is an absolute path, or an option whose value is one.
fn path_in(argument: &str) -> Option<&str> {
    if argument.starts_with('/') {
        return Some(argument);
    }
    let (option, value) = argument.split_once('=')?;
    (option.starts_with('-') && value.starts_with('/')).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_and_paths() {
        assert_eq!(interpreter_in(b"#! /bin/sh -e\nx"), Some("/bin/sh"));
        assert_eq!(interpreter_in(b"\x7fELF"), None);
        assert_eq!(interpreter_in(b"#!\n"), None);
        assert_eq!(path_in("--config=/etc/x"), Some("/etc/x"));
        assert_eq!(path_in("/a"), Some("/a"));
        assert_eq!(path_in("a=/b"), None);
        assert_eq!(path_in("--x=y"), None);
    }

    #[test]
    fn a_script_and_its_arguments() {
        let folder = std::env::temp_dir().join(format!("hence-inputs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let script = folder.join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let path = script.to_str().unwrap();
        let arguments = ["x".into(), format!("--file={path}"), "/does/not/exist".into(), "/".into()];
        let found = Inputs::default().of_start(path, &arguments, &[Text::from("/no/env")]);
        let roles: Vec<_> = found.iter().map(|f| (f.role, f.version.is_some())).collect();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            roles,
            [(FileRole::Executable, true), (FileRole::Interpreter, true), (FileRole::Environment, false)]
        );
    }
}
