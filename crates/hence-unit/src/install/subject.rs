//! A unit file that an operation is about: found by its name or path, links followed, its `[Install]` read.

use super::{
    Fault, Install,
    apply::validate_alias,
    tree::{base, split},
};
use crate::{
    UnitKind, UnitName, specifier,
    syntax::{self, Assignment},
    unit_path::EntryKind,
    words,
};
use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String, vec::Vec};

/// How often a link may lead to another one.
const FOLLOW_MAX: usize = 64;
/// Most units that one operation is about, those of `Also=` included.
const SUBJECTS_MAX: usize = 100_000;

/// What a name was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Not looked at yet.
    Unread,
    /// A file.
    Regular,
    /// A link out of the search path.
    Linked,
    /// A link within the search path.
    Alias,
    /// A link to /dev/null, or an empty file.
    Masked,
}

/// How to look.
#[derive(Clone, Copy)]
pub(super) struct Search {
    /// Read `[Install]`.
    pub load: bool,
    /// Follow links that people made, not only those that came with the system.
    pub follow_config: bool,
}

impl Search {
    pub(super) const LOAD: Search = Search { load: true, follow_config: false };
    pub(super) const FOLLOW: Search = Search { load: false, follow_config: true };
    pub(super) const BOTH: Search = Search { load: true, follow_config: true };
    pub(super) const NEITHER: Search = Search { load: false, follow_config: false };
}

#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub name: UnitName,
    pub path: Option<String>,
    /// Where the link leads that the name is.
    pub target: Option<String>,
    pub mode: Mode,
    /// Whether only `Also=` named it.
    pub auxiliary: bool,
    pub aliases: Vec<String>,
    pub wanted_by: Vec<String>,
    pub required_by: Vec<String>,
    pub upheld_by: Vec<String>,
    pub also: Vec<String>,
    pub default_instance: Option<String>,
}

impl Subject {
    pub(super) fn has_rules(&self) -> bool {
        self.rules() > 0
    }

    fn rules(&self) -> usize {
        self.aliases.len() + self.wanted_by.len() + self.required_by.len() + self.upheld_by.len()
    }

    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.name)
    }
}

/// The subjects of an operation, in the order in which they are dealt with; more may come while it runs.
#[derive(Default)]
pub(super) struct Subjects {
    pub list: Vec<Subject>,
    names: BTreeMap<UnitName, usize>,
}

impl Subjects {
    /// The one of this name, new or known.
    pub(super) fn add(&mut self, name: &str, path: Option<&str>, auxiliary: bool) -> Result<usize, Fault> {
        let name = UnitName::new(name).ok_or(Fault::Invalid)?;
        if let Some(&at) = self.names.get(&name) {
            self.list[at].auxiliary &= auxiliary;
            return Ok(at);
        }
        if self.list.len() >= SUBJECTS_MAX {
            return Err(Fault::Invalid);
        }
        self.names.insert(name.clone(), self.list.len());
        self.list.push(Subject {
            name,
            path: path.map(String::from),
            target: None,
            mode: Mode::Unread,
            auxiliary,
            aliases: Vec::new(),
            wanted_by: Vec::new(),
            required_by: Vec::new(),
            upheld_by: Vec::new(),
            also: Vec::new(),
            default_instance: None,
        });
        Ok(self.list.len() - 1)
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }
}

/// systemd's types of units that may have further names.
pub(super) fn may_alias(kind: UnitKind) -> bool {
    use UnitKind::{Device, Path, Service, Socket, Target, Timer};
    matches!(kind, Service | Socket | Target | Device | Timer | Path)
}

/// systemd's types of units that may be templates.
pub(super) fn may_template(kind: UnitKind) -> bool {
    use UnitKind::{Path, Service, Socket, Target, Timer};
    matches!(kind, Service | Socket | Target | Timer | Path)
}

pub(super) fn is_plain(name: &UnitName) -> bool {
    name.instance().is_none() && !name.is_template()
}

impl Install<'_> {
    /// Finds a unit by its name or its path, and follows links; the answer may have another name.
    pub(super) fn discover(
        &mut self,
        subjects: &mut Subjects,
        name_or_path: &str,
        search: Search,
    ) -> Result<usize, Fault> {
        let added = if name_or_path.starts_with('/') {
            subjects.add(base(name_or_path), Some(name_or_path), false)
        } else {
            subjects.add(name_or_path, None, false)
        };
        let found = added.and_then(|at| self.traverse(subjects, at, search));
        found.map_err(|fault| self.fail(fault, name_or_path, None))
    }

    /// The same, where only a file that people may enable will do.
    pub(super) fn discover_file(
        &mut self,
        subjects: &mut Subjects,
        name_or_path: &str,
        search: Search,
    ) -> Result<usize, Fault> {
        let at = self.discover(subjects, name_or_path, search)?;
        let path = subjects.list[at].path().to_owned();
        if subjects.list[at].mode == Mode::Masked {
            return Err(self.fail(Fault::Masked, &path, None));
        }
        let folder = split(&path).0;
        if self.paths.is_generator(folder) || self.paths.is_transient(folder) {
            return Err(self.fail(Fault::Generated, &path, None));
        }
        Ok(at)
    }

    /// Finds a subject's file, through links.
    pub(super) fn traverse(
        &self,
        subjects: &mut Subjects,
        start: usize,
        search: Search,
    ) -> Result<usize, Fault> {
        self.search(subjects, start, search)?;
        let mut at = start;
        for _ in 0..FOLLOW_MAX {
            let subject = &subjects.list[at];
            if !matches!(subject.mode, Mode::Alias | Mode::Linked) {
                return Ok(at);
            }
            if !search.follow_config && self.paths.is_config(split(subject.path()).0) {
                return Err(Fault::Linked);
            }
            let Some(target) = subject.target.clone() else { return Err(Fault::Invalid) };
            // A file that lies elsewhere is known by the name of the link, whatever its own is.
            if subject.mode == Mode::Linked {
                self.follow(subjects, at, target, search)?;
                continue;
            }
            let mut name = base(&target).to_owned();
            let template = UnitName::new(&name).filter(UnitName::is_template);
            let instance = template.zip(subject.name.instance());
            if let Some(name_of) = instance.and_then(|(template, instance)| template.with_instance(instance))
            {
                name = String::from(name_of.as_str());
            }
            if name == *subject.name {
                self.follow(subjects, at, target, search)?;
                continue;
            }
            // An alias: the file is dealt with under its own name.
            at = subjects.add(&name, None, false)?;
            self.search(subjects, at, search).map_err(|fault| match fault {
                Fault::NotFound => Fault::Dangling,
                fault => fault,
            })?;
        }
        Err(Fault::Linked)
    }

    fn follow(
        &self,
        subjects: &mut Subjects,
        at: usize,
        target: String,
        search: Search,
    ) -> Result<(), Fault> {
        subjects.list[at].mode = Mode::Unread;
        subjects.list[at].path = Some(target.clone());
        self.load(subjects, at, &target, search)
    }

    /// Finds what a subject's name stands for in the search path, and its drop-ins.
    fn search(&self, subjects: &mut Subjects, at: usize, search: Search) -> Result<(), Fault> {
        let subject = &subjects.list[at];
        if subject.mode != Mode::Unread {
            return Ok(());
        }
        if let Some(path) = subject.path.clone() {
            return self.load(subjects, at, &path, search);
        }
        let name = subject.name.clone();
        let names: Vec<UnitName> = [Some(name.clone()), name.template()].into_iter().flatten().collect();
        let mut found = None;
        'names: for name in &names {
            for folder in &self.paths.search {
                let path = format!("{folder}/{name}");
                match self.load(subjects, at, &path, search) {
                    Ok(()) => {
                        found = Some(path);
                        break 'names;
                    }
                    Err(Fault::NotFound | Fault::Unreadable) => {}
                    Err(fault) => return Err(fault),
                }
            }
        }
        subjects.list[at].path = Some(found.ok_or(Fault::NotFound)?);
        if search.load && subjects.list[at].mode != Mode::Masked {
            self.drop_ins(subjects, at, &names)?;
        }
        Ok(())
    }

    fn drop_ins(&self, subjects: &mut Subjects, at: usize, names: &[UnitName]) -> Result<(), Fault> {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for name in names {
            for folder in &self.paths.search {
                let folder = format!("{folder}/{name}.d");
                let Some(listing) = self.tree.list(&folder) else { continue };
                for (file, _) in listing.iter().filter(|(file, _)| file.ends_with(".conf")) {
                    if !file.starts_with('.') {
                        files.entry(file.clone()).or_insert_with(|| format!("{folder}/{file}"));
                    }
                }
            }
        }
        for path in files.values() {
            let bytes = match self.tree.read(path) {
                Ok(bytes) => bytes,
                Err(Fault::NotFound) => continue,
                Err(fault) => return Err(fault),
            };
            if !bytes.is_empty() {
                self.section(subjects, at, path, &bytes)?;
            }
        }
        Ok(())
    }

    /// Looks at the file or link at a path.
    fn load(&self, subjects: &mut Subjects, at: usize, path: &str, search: Search) -> Result<(), Fault> {
        let name = &subjects.list[at].name;
        if !is_plain(name) && !may_template(name.kind()) {
            return Err(Fault::Invalid);
        }
        match self.tree.kind(path) {
            None => return Err(Fault::NotFound),
            Some(EntryKind::Link) => return self.load_link(subjects, at, path),
            Some(EntryKind::Folder) => return Err(Fault::IsFolder),
            Some(EntryKind::Other) => return Err(Fault::NotRegular),
            Some(EntryKind::File) => {}
        }
        let bytes = self.tree.read(path)?;
        if bytes.is_empty() {
            subjects.list[at].mode = Mode::Masked;
            return Ok(());
        }
        if search.load {
            self.section(subjects, at, path, &bytes)?;
        }
        subjects.list[at].mode = Mode::Regular;
        Ok(())
    }

    fn load_link(&self, subjects: &mut Subjects, at: usize, path: &str) -> Result<(), Fault> {
        let target = self.tree.link(path).ok_or(Fault::NotFound)?;
        let absolute = if target.starts_with('/') { target } else { format!("{}/{target}", split(path).0) };
        let target = self.tree.resolve(&absolute, false).ok_or(Fault::Linked)?;
        let inside = self
            .paths
            .search
            .iter()
            .any(|folder| target.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/')));
        if inside {
            let unit = UnitName::new(base(&target)).ok_or(Fault::Invalid)?;
            validate_alias(base(path), &unit)?;
        }
        let empty = match self.tree.is_empty(&target) {
            Ok(empty) => empty,
            Err(Fault::NotFound) => false,
            Err(fault) => return Err(fault),
        };
        let subject = &mut subjects.list[at];
        subject.mode = match (empty, inside) {
            (true, _) => Mode::Masked,
            (false, true) => Mode::Alias,
            (false, false) => Mode::Linked,
        };
        subject.target = Some(target);
        Ok(())
    }

    /// Reads `[Install]`.
    fn section(&self, subjects: &mut Subjects, at: usize, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let text = core::str::from_utf8(bytes).map_err(|_| Fault::Invalid)?;
        let mut assigned = Ok(());
        let diagnostics = syntax::each(&path.into(), text, &mut |assignment| {
            if assignment.section == "Install" {
                assigned = self.assign(subjects, at, &assignment);
            }
            assigned.is_ok()
        });
        assigned?;
        if diagnostics.iter().any(|diagnostic| diagnostic.level == crate::Level::Error) {
            return Err(Fault::BadFile);
        }
        Ok(())
    }

    fn assign(&self, subjects: &mut Subjects, at: usize, assignment: &Assignment) -> Result<(), Fault> {
        let value = &*assignment.value;
        let subject = &mut subjects.list[at];
        let list = match &*assignment.key {
            "Alias" if !may_alias(subject.name.kind()) => return Ok(()),
            "Alias" => &mut subject.aliases,
            "WantedBy" => &mut subject.wanted_by,
            "RequiredBy" => &mut subject.required_by,
            "UpheldBy" => &mut subject.upheld_by,
            "DefaultInstance" => return self.default_instance(subject, value),
            "Also" => {
                for word in value.split_whitespace() {
                    let name = self.expand(&subjects.list[at], word)?;
                    subjects.add(&name, None, true)?;
                    subjects.list[at].also.push(name);
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        if value.is_empty() {
            list.clear();
            return Ok(());
        }
        let (found, error) = words::split_names(value);
        // A value with an open quote is ignored as a whole.
        if error.is_none() {
            list.extend(found.into_iter().map(|word| word.text.into_owned()));
        }
        Ok(())
    }

    fn default_instance(&self, subject: &mut Subject, value: &str) -> Result<(), Fault> {
        if !subject.name.is_template() {
            return Ok(());
        }
        let instance = self.expand(subject, value)?;
        let odd = |c: char| !(c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
        if instance.chars().any(odd) {
            return Err(Fault::Invalid);
        }
        subject.default_instance = Some(instance).filter(|instance| !instance.is_empty());
        Ok(())
    }

    /// Replaces the specifiers that `[Install]` knows; a template stands for its default instance.
    pub(super) fn expand(&self, subject: &Subject, text: &str) -> Result<String, Fault> {
        let mut rest = text;
        while let Some(percent) = rest.find('%') {
            let Some(c) = rest[percent + 1..].chars().next() else { break };
            if c.is_ascii_alphanumeric() && !"aAbBgGHijlmMnNopquUvwW".contains(c) {
                return Err(Fault::BadSpecifier);
            }
            rest = &rest[percent + 1 + c.len_utf8()..];
        }
        let instance = subject.default_instance.as_deref();
        let instantiated = instance.and_then(|instance| subject.name.with_instance(instance));
        let name = instantiated.as_ref().unwrap_or(&subject.name);
        specifier::expand(text, name, self.environs).map_err(|_| Fault::BadSpecifier)
    }
}
