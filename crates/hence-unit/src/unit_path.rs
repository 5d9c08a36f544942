//! Where unit files lie: the search path, and an index over it that is made once; systemd.unit(5), "Unit
//! File Load Path".
//!
//! The index holds names, links and the folders beside units (`.d`, `.wants`, ...). It reads no unit file:
//! [`crate::load`] does, through [`Files`], which the host implements.

use crate::{Diagnostic, Level, Place, Text, UnitName};
use alloc::{
    borrow::Cow,
    boxed::Box,
    collections::{BTreeMap, btree_map::Entry as Slot},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// Why a file or folder can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is none.
    NotFound,
    /// There is one; what the system says.
    Unreadable(String),
}

/// What a folder's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are what file systems hold")]
pub enum EntryKind {
    File,
    Folder,
    Link,
    Other,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; entries whose names aren't UTF-8 can't be units and are left out.
    pub name: String,
    /// What it is; a link isn't followed.
    pub kind: EntryKind,
}

/// A file system to be read. The host implements it; tests use a map.
pub trait Files {
    /// The entries of a folder, in any order, without `.` and `..`; links to folders are followed.
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError>;
    /// The content of a file, links followed.
    fn read(&self, path: &str) -> Result<Vec<u8>, FileError>;
    /// Where a link points, as it is written; `None` where the path is no link.
    fn link(&self, path: &str) -> Option<String>;
}

/// The folders of the system's units, first the ones that win.
pub fn system_folders() -> Vec<String> {
    [
        "/etc/systemd/system.control",
        "/run/systemd/system.control",
        "/run/systemd/transient",
        "/run/systemd/generator.early",
        "/etc/systemd/system",
        "/etc/systemd/system.attached",
        "/run/systemd/system",
        "/run/systemd/system.attached",
        "/run/systemd/generator",
        "/usr/local/lib/systemd/system",
        "/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/run/systemd/generator.late",
    ]
    .map(String::from)
    .into()
}

/// What the environment of a user's instance says of its folders.
#[derive(Clone, Debug, Default)]
pub struct UserRoots<'a> {
    /// `$HOME`
    pub home: &'a str,
    /// `$XDG_RUNTIME_DIR`, where set.
    pub runtime: Option<&'a str>,
    /// `$XDG_CONFIG_HOME`, where set.
    pub config_home: Option<&'a str>,
    /// `$XDG_CONFIG_DIRS`, where set: separated by colons.
    pub config_dirs: Option<&'a str>,
    /// `$XDG_DATA_HOME`, where set.
    pub data_home: Option<&'a str>,
    /// `$XDG_DATA_DIRS`, where set: separated by colons.
    pub data_dirs: Option<&'a str>,
}

/// The folders of a user's units, first the ones that win.
pub fn user_folders(roots: &UserRoots<'_>) -> Vec<String> {
    let config = roots.config_home.map_or_else(|| format!("{}/.config", roots.home), String::from);
    let data = roots.data_home.map_or_else(|| format!("{}/.local/share", roots.home), String::from);
    let config_dirs = roots.config_dirs.unwrap_or("/etc/xdg");
    let data_dirs = roots.data_dirs.unwrap_or("/usr/local/share:/usr/share");
    let mut folders: Vec<String> = Vec::new();
    let mut add = |folder: String| {
        if folder.starts_with('/') && !folders.contains(&folder) {
            folders.push(folder);
        }
    };
    let each = |list: &str| -> Vec<String> {
        list.split(':').filter(|d| !d.is_empty()).map(|d| format!("{d}/systemd/user")).collect()
    };
    let runtime = |name: &str| roots.runtime.map(|root| format!("{root}/systemd/{name}"));
    add(format!("{config}/systemd/user.control"));
    ["user.control", "transient", "generator.early"].into_iter().filter_map(runtime).for_each(&mut add);
    add(format!("{config}/systemd/user"));
    each(config_dirs).into_iter().for_each(&mut add);
    add("/etc/systemd/user".into());
    runtime("user").into_iter().for_each(&mut add);
    add("/run/systemd/user".into());
    runtime("generator").into_iter().for_each(&mut add);
    add(format!("{data}/systemd/user"));
    each(data_dirs).into_iter().for_each(&mut add);
    add("/usr/local/lib/systemd/user".into());
    add("/usr/lib/systemd/user".into());
    runtime("generator.late").into_iter().for_each(&mut add);
    folders
}

/// What a unit's name stands for in the search path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// A file, or a link to one outside of the search path; the index of its folder.
    File(u16),
    /// A link to /dev/null; the index of its folder.
    Masked(u16),
    /// A link to another unit of the search path.
    Alias(UnitName),
}

/// Which kind of folder stands beside a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// `foo.service.d`: drop-ins.
    DropIns,
    /// `foo.service.wants`
    Wants,
    /// `foo.service.requires`
    Requires,
    /// `foo.service.upholds`
    Upholds,
}

impl Beside {
    const ALL: [(&'static str, Beside); 4] = [
        (".d", Beside::DropIns),
        (".wants", Beside::Wants),
        (".requires", Beside::Requires),
        (".upholds", Beside::Upholds),
    ];

    /// Whether a folder's entry means something there.
    fn takes(self, entry: &Entry) -> bool {
        !is_hidden(&entry.name) && (self != Beside::DropIns || entry.name.ends_with(".conf"))
    }

    fn suffix(self) -> &'static str {
        Beside::ALL.iter().find(|(_, role)| *role == self).map_or("", |(suffix, _)| suffix)
    }
}

#[derive(Clone, Debug)]
struct BesideFolder {
    folder: u16,
    role: Beside,
    entries: Vec<Entry>,
}

/// A file or link that stands beside a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BesideFile {
    pub path: String,
    pub kind: EntryKind,
}

/// The unit file that a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Its path; of a link out of the search path, that of the link.
    pub path: String,
    /// Whether it is a link to /dev/null.
    pub masked: bool,
}

/// How often an alias may lead to another one.
const HOPS_MAX: usize = 8;

/// An index over the folders of the search path.
#[derive(Clone, Debug, Default)]
pub struct UnitPath {
    folders: Vec<Text>,
    units: BTreeMap<UnitName, Named>,
    aliases: BTreeMap<UnitName, Vec<UnitName>>,
    beside: BTreeMap<Box<str>, Vec<BesideFolder>>,
    diagnostics: Vec<Diagnostic>,
}

impl UnitPath {
    /// Lists each folder, and each folder of drop-ins or dependencies in it, once. Folders that don't
    /// exist are passed over.
    pub fn scan(files: &dyn Files, folders: &[String]) -> UnitPath {
        let mut path = UnitPath::default();
        let merged = files.link("/lib").is_some();
        for folder in folders {
            // With a merged /usr both are the same folder.
            if merged && folder.starts_with("/lib/") && folders.contains(&format!("/usr{folder}")) {
                continue;
            }
            let folder = if folder.len() > 1 { folder.trim_end_matches('/') } else { folder };
            path.folders.push(folder.into());
        }
        for index in 0..path.folders.len() {
            path.scan_folder(files, index);
        }
        // Made in one go, a map has no room to spare.
        path.units = core::mem::take(&mut path.units).into_iter().collect();
        path.index_aliases();
        path
    }

    /// Looks anew at one unit: at its file, and at the folders beside it. All others stay as they were found.
    pub fn look_at(&mut self, files: &dyn Files, name: &UnitName) {
        let before = self.units.remove(name);
        self.beside.remove(name.as_str());
        for index in 0..self.folders.len() {
            let path = format!("{}/{name}", self.folders[index]);
            let kind = match files.link(&path) {
                Some(_) => Some(EntryKind::Link),
                None => files.read(&path).is_ok().then_some(EntryKind::File),
            };
            if let Some(kind) = kind {
                self.scan_unit(files, index as u16, name.clone(), kind);
            }
            // In the order of a folder's entries.
            let mut suffixes: Vec<&str> = Beside::ALL.iter().map(|(suffix, _)| *suffix).collect();
            suffixes.sort_unstable();
            for suffix in suffixes {
                self.scan_beside(files, index as u16, &format!("{name}{suffix}"));
            }
        }
        let is_alias = |named: Option<&Named>| matches!(named, Some(Named::Alias(_)));
        if is_alias(before.as_ref()) || is_alias(self.units.get(name)) {
            self.index_aliases();
        }
    }

    /// The folders that are searched, first the ones that win.
    pub fn folders(&self) -> &[Text] {
        &self.folders
    }

    /// Every name that has a file or a link in the search path, templates among them.
    pub fn names(&self) -> impl Iterator<Item = &UnitName> {
        self.units.keys()
    }

    /// The folder that has the unit's file or mask; none for an alias and for what wasn't there.
    pub fn folder_of(&self, name: &UnitName) -> Option<&str> {
        match self.units.get(name)? {
            Named::File(folder) | Named::Masked(folder) => Some(&self.folders[usize::from(*folder)]),
            Named::Alias(_) => None,
        }
    }

    /// What was wrong with folders and links; what is wrong in a unit is found in its configuration.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    fn scan_folder(&mut self, files: &dyn Files, index: usize) {
        let folder = self.folders[index].clone();
        let mut entries = match files.list(&folder) {
            Ok(entries) => entries,
            Err(FileError::NotFound) => return,
            Err(FileError::Unreadable(why)) => {
                self.diagnose("unreadable", Level::Error, &folder, format!("cannot list the folder: {why}"));
                return;
            }
        };
        // Diagnostics then come in the same order whatever the file system says.
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let index = index as u16;
        for entry in entries {
            match (entry.kind, UnitName::new(&entry.name)) {
                (EntryKind::File | EntryKind::Link, Some(name)) => {
                    self.scan_unit(files, index, name, entry.kind);
                }
                (EntryKind::Folder | EntryKind::Link, None) => self.scan_beside(files, index, &entry.name),
                _ => {}
            }
        }
    }

    fn scan_unit(&mut self, files: &dyn Files, index: u16, name: UnitName, kind: EntryKind) {
        let Slot::Vacant(slot) = self.units.entry(name) else {
            return;
        };
        if kind == EntryKind::File {
            slot.insert(Named::File(index));
            return;
        }
        let name = slot.key();
        let folder = &self.folders[usize::from(index)];
        let link = format!("{folder}/{name}");
        let Some(target) = files.link(&link).and_then(|target| resolve_link(folder, &target)) else {
            return;
        };
        if target == "/dev/null" {
            slot.insert(Named::Masked(index));
            return;
        }
        let inside = target.rsplit_once('/').filter(|(at, _)| self.folders.iter().any(|f| same(f, at)));
        let Some((_, target)) = inside else {
            slot.insert(Named::File(index));
            return;
        };
        match alias_target(name, target) {
            Ok(target) => {
                slot.insert(Named::Alias(target));
            }
            Err(why) => {
                let message = format!("the link to {target} is no valid alias and is ignored: {why}");
                self.diagnose("bad-alias", Level::Warning, &link, message);
            }
        }
    }

    fn scan_beside(&mut self, files: &dyn Files, index: u16, name: &str) {
        let split = Beside::ALL.iter().find_map(|(suffix, role)| Some((name.strip_suffix(suffix)?, *role)));
        let Some((stem, role)) = split.filter(|(stem, _)| !stem.is_empty()) else {
            return;
        };
        let path = format!("{}/{name}", self.folders[usize::from(index)]);
        match files.list(&path) {
            Ok(mut entries) => {
                entries.retain(|entry| role.takes(entry));
                // An empty folder of drop-ins is known as well: what is put into it later is looked for.
                if !entries.is_empty() || role == Beside::DropIns {
                    let folder = BesideFolder { folder: index, role, entries };
                    self.beside.entry(stem.into()).or_default().push(folder);
                }
            }
            Err(FileError::NotFound) => {}
            Err(FileError::Unreadable(why)) => {
                self.diagnose("unreadable", Level::Warning, &path, format!("cannot list the folder: {why}"));
            }
        }
    }

    fn diagnose(&mut self, rule: &'static str, level: Level, file: &str, message: String) {
        let place = Place { file: file.into(), line: 0, column: 0 };
        self.diagnostics.push(Diagnostic { rule, level, place, message, fix: None });
    }

    fn index_aliases(&mut self) {
        let mut aliases: BTreeMap<UnitName, Vec<UnitName>> = BTreeMap::new();
        for (name, named) in &self.units {
            let mut named = named;
            let mut last = None;
            for _ in 0..HOPS_MAX {
                let Named::Alias(target) = named else {
                    break;
                };
                last = Some(target);
                match self.units.get(target) {
                    Some(next) => named = next,
                    None => break,
                }
            }
            if let Some(target) = last {
                aliases.entry(target.clone()).or_default().push(name.clone());
            }
        }
        self.aliases = aliases;
    }

    /// The name that the unit really has, and its file.
    pub fn resolve(&self, name: &UnitName) -> Option<(UnitName, Fragment)> {
        let mut name = name.clone();
        for _ in 0..=HOPS_MAX {
            let template = name.template();
            let template = template.as_ref();
            let (file, named) = match (self.units.get(&name), template) {
                (Some(named), _) => (&name, named),
                (None, Some(template)) => (template, self.units.get(template)?),
                (None, None) => return None,
            };
            let (folder, masked) = match named {
                Named::File(folder) => (*folder, false),
                Named::Masked(folder) => (*folder, true),
                Named::Alias(target) => {
                    name = match name.instance() {
                        Some(instance) if target.is_template() => target.with_instance(instance)?,
                        _ => target.clone(),
                    };
                    continue;
                }
            };
            let path = format!("{}/{file}", self.folders[usize::from(folder)]);
            return Some((name, Fragment { path, masked }));
        }
        None
    }

    /// The other names of a unit, by its own name.
    pub(crate) fn aliases_of(&self, name: &UnitName) -> Vec<UnitName> {
        let mut names: Vec<UnitName> = self.aliases.get(name).cloned().unwrap_or_default();
        if let (Some(template), Some(instance)) = (name.template(), name.instance())
            && let Some(templates) = self.aliases.get(&template)
        {
            for alias in templates.iter().filter_map(|alias| alias.with_instance(instance)) {
                if alias != *name && !names.contains(&alias) {
                    names.push(alias);
                }
            }
        }
        names
    }

    /// The drop-ins that a unit would have if its files were read now, in the order in which they would
    /// apply. As with systemd, folders that weren't there at the scan are not looked into.
    pub fn drop_ins_now(&self, files: &dyn Files, name: &UnitName, aliases: &[UnitName]) -> Vec<String> {
        let live = |folder: &BesideFolder, stem: &str| {
            let path = format!("{}/{stem}.d", self.folders[usize::from(folder.folder)]);
            let mut entries = files.list(&path).unwrap_or_default();
            entries.retain(|entry| Beside::DropIns.takes(entry));
            Cow::Owned(entries)
        };
        let found = self.beside_in(name, aliases, Beside::DropIns, &live);
        found.into_iter().map(|file| file.path).collect()
    }

    /// Whether the folders beside a unit hold what they held at the scan; folders that weren't there then are
    /// not looked for.
    pub fn is_beside_unchanged(&self, files: &dyn Files, name: &UnitName) -> bool {
        let resolved = self.resolve(name).map(|(name, _)| name);
        let name = resolved.as_ref().unwrap_or(name);
        let mut stems = vec![name.kind().suffix().to_string()];
        for name in core::iter::once(name).chain(&self.aliases_of(name)) {
            collect_stems(name, &mut stems);
        }
        let known = stems.iter().filter_map(|stem| self.beside.get_key_value(stem.as_str()));
        known.flat_map(|(stem, folders)| folders.iter().map(move |folder| (stem, folder))).all(
            |(stem, beside)| {
                let folder = &self.folders[usize::from(beside.folder)];
                let path = format!("{folder}/{stem}{}", beside.role.suffix());
                let mut entries = files.list(&path).unwrap_or_default();
                entries.retain(|entry| beside.role.takes(entry));
                entries.len() == beside.entries.len()
                    && entries.iter().all(|entry| beside.entries.contains(entry))
            },
        )
    }

    /// The files beside a unit, by their names over all folders; of several with the same name, the one
    /// of the unit's own name, of the earlier folder of the search path, of the more specific name wins.
    pub(crate) fn beside(&self, name: &UnitName, aliases: &[UnitName], role: Beside) -> Vec<BesideFile> {
        self.beside_in(name, aliases, role, &|folder, _| Cow::Borrowed(&folder.entries))
    }

    fn beside_in<'a>(
        &'a self,
        name: &UnitName,
        aliases: &[UnitName],
        role: Beside,
        entries: &dyn Fn(&'a BesideFolder, &str) -> Cow<'a, [Entry]>,
    ) -> Vec<BesideFile> {
        if self.beside.is_empty() {
            return Vec::new();
        }
        // Folders in the order in which they win: (rank of the name, search path, how specific).
        let mut ranked: Vec<(usize, u16, usize, &str, &BesideFolder)> = Vec::new();
        let mut stems = Vec::new();
        let mut add = |rank: usize, specific: usize, stem: &str| {
            if let Some((stem, folders)) = self.beside.get_key_value(stem) {
                for folder in folders.iter().filter(|folder| folder.role == role) {
                    ranked.push((rank, folder.folder, specific, stem, folder));
                }
            }
        };
        for (rank, name) in core::iter::once(name).chain(aliases).enumerate() {
            stems.clear();
            collect_stems(name, &mut stems);
            for (specific, stem) in stems.iter().enumerate() {
                add(rank, specific, stem);
            }
        }
        add(usize::MAX, 0, name.kind().suffix());
        ranked.sort_by_key(|(rank, folder, specific, ..)| (*rank, *folder, *specific));
        let mut found: BTreeMap<String, BesideFile> = BTreeMap::new();
        for (_, _, _, stem, beside) in ranked {
            let folder = &self.folders[usize::from(beside.folder)];
            for entry in entries(beside, stem).iter() {
                if !found.contains_key(&entry.name) {
                    let path = format!("{folder}/{stem}{}/{}", role.suffix(), entry.name);
                    found.insert(entry.name.clone(), BesideFile { path, kind: entry.kind });
                }
            }
        }
        found.into_values().collect()
    }
}

/// The names whose `.d` folders hold for a unit, the most specific first: itself, its template, and both
/// cut off behind each dash.
fn collect_stems(name: &UnitName, stems: &mut Vec<String>) {
    let suffix = name.kind().suffix();
    stems.push(name.as_str().into());
    let template = name.template();
    if let Some(template) = &template {
        stems.push(template.as_str().into());
    }
    let prefix = name.prefix();
    // What follows the prefix in names of this form.
    let own = &name.stem()[prefix.len()..];
    let mut end = prefix.len();
    while let Some(dash) = prefix[..end].rfind('-').filter(|&dash| dash > 0) {
        // A dash at the end, or one that another dash follows, has nothing to cut off.
        if dash + 1 < end {
            let cut = &prefix[..=dash];
            stems.push(format!("{cut}{own}.{suffix}"));
            if template.is_some() {
                stems.push(format!("{cut}@.{suffix}"));
            }
        }
        end = dash;
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~')
}

/// Whether two folders are one where /lib is /usr/lib.
fn same(a: &str, b: &str) -> bool {
    let plain =
        |path| -> &str { str::strip_prefix(path, "/usr").filter(|p| p.starts_with("/lib/")).unwrap_or(path) };
    a == b || plain(a) == plain(b)
}

/// The absolute path that a link in this folder points to, without `.`, `..` and doubled slashes.
fn resolve_link(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    let from = if target.starts_with('/') { "" } else { folder };
    for part in from.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return None;
    }
    let mut path = String::with_capacity(folder.len() + target.len());
    for part in parts {
        path.push('/');
        path.push_str(part);
    }
    Some(path)
}

/// The unit that a link of this name makes it an alias of; systemd.unit(5) has the rules.
fn alias_target(name: &UnitName, target: &str) -> Result<UnitName, &'static str> {
    let Some(target) = UnitName::new(target) else {
        return Err("its target is not the name of a unit");
    };
    if target == *name {
        return Err("it points to its own name");
    }
    if target.kind() != name.kind() {
        return Err("its target is a unit of another kind");
    }
    match (name.instance(), target.instance()) {
        (Some(a), Some(b)) if a == b => Ok(target),
        (Some(_), Some(_)) => Err("its target is another instance"),
        (Some(instance), None) if target.is_template() => {
            target.with_instance(instance).ok_or("the name of its target is too long")
        }
        (None, None) if name.is_template() == target.is_template() => Ok(target),
        _ => Err("only one of both names is a template or an instance"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(name: &str) -> Vec<String> {
        let mut stems = Vec::new();
        collect_stems(&UnitName::new(name).unwrap(), &mut stems);
        stems
    }

    #[test]
    fn names_of_drop_in_folders() {
        assert_eq!(stems("foo-bar-baz.service"), ["foo-bar-baz.service", "foo-bar-.service", "foo-.service"]);
        assert_eq!(
            stems("foo-bar@x-y.service"),
            ["foo-bar@x-y.service", "foo-bar@.service", "foo-@x-y.service", "foo-@.service"]
        );
        assert_eq!(stems("-.slice"), ["-.slice"]);
        assert_eq!(stems("foo-.slice"), ["foo-.slice"]);
        assert_eq!(stems("a--b.slice"), ["a--b.slice", "a--.slice"]);
    }

    #[test]
    fn links() {
        let folder = "/etc/systemd/system";
        for (target, path) in [
            ("a.service", Some("/etc/systemd/system/a.service")),
            ("../../../lib/systemd/system/./a.service", Some("/lib/systemd/system/a.service")),
            ("/dev//null", Some("/dev/null")),
            ("/..", None),
        ] {
            assert_eq!(resolve_link(folder, target).as_deref(), path, "{target}");
        }
        assert!(same("/usr/lib/systemd/system", "/lib/systemd/system"));
        assert!(!same("/usr/local/lib/systemd/system", "/lib/systemd/system"));
        let alias = |name: &str, target| alias_target(&UnitName::new(name).unwrap(), target).is_ok();
        assert!(alias("a.service", "b.service") && alias("a@.service", "b@.service"));
        assert!(alias("a@x.service", "b@x.service") && alias("a@x.service", "b@.service"));
        assert!(!alias("a.service", "a.service") && !alias("a.service", "b.socket"));
        assert!(!alias("a@x.service", "b@y.service") && !alias("a.service", "b@.service"));
        assert!(!alias("a@.service", "b@x.service") && !alias("a@x.service", "b.service"));
        assert!(!alias("a.service", "b.conf"));
    }

    #[test]
    fn folders_of_a_user() {
        let roots = UserRoots { home: "/home/a", runtime: Some("/run/user/7"), ..UserRoots::default() };
        let folders = user_folders(&roots);
        assert_eq!(folders[0], "/home/a/.config/systemd/user.control");
        assert_eq!(folders[1], "/run/user/7/systemd/user.control");
        assert_eq!(folders[4], "/home/a/.config/systemd/user");
        assert!(folders.contains(&"/etc/xdg/systemd/user".into()));
        assert_eq!(folders.last().unwrap(), "/run/user/7/systemd/generator.late");
    }
}
