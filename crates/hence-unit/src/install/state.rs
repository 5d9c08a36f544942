//! The state that a unit file is in: whether and how it is enabled; systemctl(1), "is-enabled".

use super::{
    Fault, Install,
    subject::{Mode, Search, Subject, Subjects},
    tree::{base, split},
};
use crate::{UnitName, unit_path::EntryKind};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

/// systemd's UnitFileState.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitFileState {
    /// Links of `[Install]` are there.
    Enabled,
    /// They are there until the next boot.
    EnabledRuntime,
    /// The file lies elsewhere, and its name is a link to it.
    Linked,
    /// Such a link that is there until the next boot.
    LinkedRuntime,
    /// Another name of a unit.
    Alias,
    /// Linked to /dev/null, or empty.
    Masked,
    /// That, until the next boot.
    MaskedRuntime,
    /// `[Install]` says nothing.
    Static,
    /// `[Install]` asks for links, and none is there.
    Disabled,
    /// Not itself, but under another name or by other units that it names in `Also=`.
    Indirect,
    /// Made by a generator.
    Generated,
    /// Made without a file.
    Transient,
    /// It can't be read.
    Bad,
}

impl UnitFileState {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            UnitFileState::Enabled => "enabled",
            UnitFileState::EnabledRuntime => "enabled-runtime",
            UnitFileState::Linked => "linked",
            UnitFileState::LinkedRuntime => "linked-runtime",
            UnitFileState::Alias => "alias",
            UnitFileState::Masked => "masked",
            UnitFileState::MaskedRuntime => "masked-runtime",
            UnitFileState::Static => "static",
            UnitFileState::Disabled => "disabled",
            UnitFileState::Indirect => "indirect",
            UnitFileState::Generated => "generated",
            UnitFileState::Transient => "transient",
            UnitFileState::Bad => "bad",
        }
    }
}

/// How links are looked for.
#[derive(Clone, Copy)]
struct Look {
    /// In a folder of dependencies: only the links' own names count.
    dependencies: bool,
    /// Only links that enabling makes count.
    known_only: bool,
    /// The folder is searched after the one that has the unit file: links of the same name mean nothing.
    below: bool,
}

impl Install<'_> {
    /// The state of a unit file.
    ///
    /// # Errors
    /// The name isn't one ([`Fault::Invalid`]), there is no such file, or it can't be used.
    pub fn state(&self, name: &str) -> Result<UnitFileState, Fault> {
        let mut subjects = Subjects::default();
        let at = subjects.add(name, None, false)?;
        let at = self.traverse(&mut subjects, at, Search::BOTH)?;
        let subject = &subjects.list[at];
        let folder = split(subject.path()).0;
        if subject.mode == Mode::Masked {
            let runtime = self.paths.is_runtime(folder);
            return Ok(if runtime { UnitFileState::MaskedRuntime } else { UnitFileState::Masked });
        }
        if name != base(subject.path()) && subject.name.instance().is_none() {
            return Ok(UnitFileState::Alias);
        }
        if self.paths.is_generator(folder) {
            return Ok(UnitFileState::Generated);
        }
        if self.paths.is_transient(folder) {
            return Ok(UnitFileState::Transient);
        }
        let names = self.known_names(subject);
        if let Some(state) = self.linked(subject, Some(&names)) {
            return Ok(state);
        }
        if self.linked(subject, None).is_some() {
            return Ok(UnitFileState::Indirect);
        }
        Ok(match () {
            () if subject.has_rules() => UnitFileState::Disabled,
            () if !subject.also.is_empty() => UnitFileState::Indirect,
            () => UnitFileState::Static,
        })
    }

    /// The paths of all unit files, each where it wins, and their states.
    pub fn list(&self) -> Vec<(String, UnitFileState)> {
        let mut found: BTreeMap<UnitName, &String> = BTreeMap::new();
        for folder in &self.paths.search {
            let Some(listing) = self.tree.list(folder) else { continue };
            for (name, kind) in listing.iter() {
                if matches!(kind, EntryKind::File | EntryKind::Link)
                    && let Some(name) = UnitName::new(name)
                {
                    found.entry(name).or_insert(folder);
                }
            }
        }
        let state = |(name, folder): (UnitName, &String)| {
            (format!("{folder}/{name}"), self.state(&name).unwrap_or(UnitFileState::Bad))
        };
        found.into_iter().map(state).collect()
    }

    /// The names of the links that enabling makes.
    fn known_names(&self, subject: &Subject) -> Vec<String> {
        let mut names: Vec<String> = Vec::from([String::from(subject.name.as_str())]);
        for alias in &subject.aliases {
            let Ok(alias) = self.expand(subject, alias) else { continue };
            let template = UnitName::new(&alias).filter(UnitName::is_template);
            let instance = template.zip(subject.name.instance());
            let instantiated = instance.and_then(|(template, instance)| template.with_instance(instance));
            names.push(instantiated.map_or(alias, |name| name.as_str().into()));
        }
        let default = subject.default_instance.as_deref();
        names.extend(default.and_then(|d| subject.name.with_instance(d)).map(|n| n.as_str().into()));
        names
    }

    /// Which links to a unit there are: of these names, or of any.
    fn linked(&self, subject: &Subject, names: Option<&[String]>) -> Option<UnitFileState> {
        let own = split(subject.path()).0;
        let (mut runtime, mut anywhere) = (false, false);
        let (mut same_config, mut same_runtime) = (false, false);
        let mut below = false;
        for folder in &self.paths.search {
            let mut same_name = false;
            let is_runtime = self.paths.is_runtime(folder);
            if self.linked_in(folder, subject, names, below, &mut same_name) {
                if self.paths.persistent.as_ref() == Some(folder) || self.paths.global.contains(folder) {
                    return Some(UnitFileState::Enabled);
                }
                runtime |= is_runtime;
                anywhere |= !is_runtime;
            } else if same_name {
                let is_config = self.paths.persistent.as_ref() == Some(folder);
                same_config |= is_config;
                same_runtime |= !is_config && is_runtime;
            }
            below |= own == folder;
        }
        match () {
            () if runtime => Some(UnitFileState::EnabledRuntime),
            // What came with the system instantiates it.
            () if anywhere && subject.name.instance().is_some() => Some(UnitFileState::Static),
            () if same_config => Some(UnitFileState::Linked),
            () if same_runtime => Some(UnitFileState::LinkedRuntime),
            () => None,
        }
    }

    fn linked_in(
        &self,
        folder: &str,
        subject: &Subject,
        names: Option<&[String]>,
        below: bool,
        same_name: &mut bool,
    ) -> bool {
        let Some(listing) = self.tree.list(folder) else { return false };
        let known_only = names.is_some();
        for (name, kind) in listing.iter() {
            let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
            if *kind == EntryKind::Folder && matches!(suffix, "wants" | "requires" | "upholds") {
                let look = Look { dependencies: true, known_only, below };
                let folder = format!("{folder}/{name}");
                if self.linked_at(&folder, subject, names.unwrap_or(&[]), look, same_name) {
                    return true;
                }
            }
        }
        let look = Look { dependencies: false, known_only, below };
        self.linked_at(folder, subject, names.unwrap_or(&[]), look, same_name)
    }

    fn linked_at(
        &self,
        folder: &str,
        subject: &Subject,
        names: &[String],
        look: Look,
        same_name: &mut bool,
    ) -> bool {
        let Some(listing) = self.tree.list(folder) else { return false };
        for (name, _) in listing.iter().filter(|(_, kind)| **kind == EntryKind::Link) {
            let target = if look.dependencies { None } else { self.tree.link(&format!("{folder}/{name}")) };
            let by_target = target.as_deref().is_some_and(|target| base(target) == &*subject.name);
            let mut by_name = (look.dependencies || !look.below) && name == &*subject.name;
            if !by_name && look.dependencies {
                let template = UnitName::new(name).and_then(|name| name.template());
                by_name = template.is_some_and(|template| template == subject.name);
            }
            if by_name && by_target {
                *same_name = true;
            } else if (by_name || by_target) && (!look.known_only || names.contains(name)) {
                return true;
            }
        }
        false
    }
}
