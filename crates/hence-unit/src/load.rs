//! One unit from its files: fragment, drop-ins, folders of dependencies, defaults and implied dependencies;
//! systemd.unit(5).
//!
//! It never fails: what can't be used becomes a diagnostic, and [`LoadState`] says whether the unit can be
//! started. It knows no directive; those are the rows of [`crate::directive`].

use crate::{
    Config, Dependency, DependencyKind, Diagnostic, Level, LoadState, Origin, Place, Position, Source,
    SourceRole, Text, UnitKind, UnitName,
    config::{Environs, Setting},
    directive::{self, Loading},
    implied, mount, settle, syntax,
    unit_path::{Beside, BesideFile, EntryKind, FileError, Files, UnitPath},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

/// Most files that one unit is loaded from; settings name their file with 16 bits.
const SOURCES_MAX: usize = u16::MAX as usize;

/// Most settings that room is made for in advance.
const SETTINGS_EXPECTED: usize = 64;

/// Loads a unit. The configuration has the unit's own name, which differs from `name` where that is an
/// alias; `name` is then among its aliases.
pub fn load(path: &UnitPath, files: &dyn Files, environs: &Environs, name: &UnitName) -> Config {
    if name.is_template() {
        // A template is what units are made of; systemd refuses to load one.
        let mut config = Config::stub(name.clone());
        config.load = LoadState::BadSetting;
        let message = format!("{name} is a template and no unit by itself");
        let fix = format!("name an instance: {}@NAME.{}", name.prefix(), name.kind().suffix());
        let place = Place { file: name.text().clone(), line: 0, column: 0 };
        let level = Level::Error;
        config.diagnostics.push(Diagnostic { rule: "template", level, place, message, fix: Some(fix) });
        return config;
    }
    let (unit, fragment) = match path.resolve(name) {
        Some((unit, fragment)) => (unit, Some(fragment)),
        None => (name.clone(), None),
    };
    let mut config = Config::stub(unit.clone());
    config.aliases = path.aliases_of(&unit);
    if let Some(system) = &environs.system {
        system.give(&mut config);
    }
    if unit != *name && !config.aliases.contains(name) {
        config.aliases.push(name.clone());
    }
    config.load = LoadState::Loaded;
    let is_device = unit.kind() == UnitKind::Device && mount::begin_device(&mut config);
    if is_device {
        // DefaultDeviceTimeoutSec=
        config.job_running_timeout = environs.system.as_ref().map_or(mount::TIMEOUT_US, |s| s.device_timeout);
    }
    let mut loader = Loader { files, environs, unit: &unit, config: &mut config };
    match fragment {
        Some(fragment) if fragment.masked => {
            loader.source(fragment.path.as_str().into(), SourceRole::Fragment);
            loader.config.load = LoadState::Masked;
        }
        Some(fragment) => loader.fragment(&fragment.path),
        // Slices and devices need no file.
        None if unit.kind() == UnitKind::Slice || is_device => {}
        None => loader.config.load = LoadState::NotFound,
    }
    // Of what is refused already nothing more is read.
    if matches!(loader.config.load, LoadState::Loaded | LoadState::Masked) {
        loader.beside(path);
    }
    if matches!(loader.config.load, LoadState::Loaded | LoadState::BadSetting) {
        // systemd adds them before it looks at combinations, and not where the fragment itself is refused.
        let implies = loader.config.load == LoadState::Loaded;
        settle::settle(loader.config);
        if implies {
            implied::add(loader.config, environs);
        }
        settle::dependencies(loader.config);
    }
    config.shrink();
    config
}

/// Whether a unit would be loaded from the same files as it was, under the same names; what they say is not
/// looked at. Where links beside the unit make dependencies this is never said: a link that leads elsewhere
/// keeps its name.
pub fn has_same_files(path: &UnitPath, config: &Config) -> bool {
    let name = config.id();
    if !matches!(config.load, LoadState::Loaded | LoadState::BadSetting) {
        return false;
    }
    let Some((unit, fragment)) = path.resolve(name).filter(|(_, fragment)| !fragment.masked) else {
        return false;
    };
    let of = config.sources.first().filter(|source| source.role == SourceRole::Fragment);
    if unit != *name || of.is_none_or(|source| *source.path != *fragment.path) {
        return false;
    }
    let beside = |role| path.beside(name, &config.aliases, role);
    let links = [Beside::Wants, Beside::Requires, Beside::Upholds];
    path.aliases_of(name) == config.aliases
        && drop_ins(config)
            .into_iter()
            .map(|path| &**path)
            .eq(beside(Beside::DropIns).iter().map(|f| &*f.path))
        && links.into_iter().all(|role| beside(role).is_empty())
}

struct Loader<'a> {
    files: &'a dyn Files,
    environs: &'a Environs,
    unit: &'a UnitName,
    config: &'a mut Config,
}

impl Loader<'_> {
    fn source(&mut self, path: Text, role: SourceRole) -> u16 {
        let index = self.config.sources.len() as u16;
        self.config.sources.push(Source { path, role });
        index
    }

    fn diagnose(
        &mut self,
        rule: &'static str,
        level: Level,
        file: &str,
        message: String,
        fix: Option<String>,
    ) {
        let place = Place { file: file.into(), line: 0, column: 0 };
        self.config.diagnostics.push(Diagnostic { rule, level, place, message, fix });
    }

    fn fragment(&mut self, path: &str) {
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(FileError::NotFound) => {
                let message = "the link to the unit file leads nowhere".into();
                self.diagnose("dangling-link", Level::Error, path, message, None);
                self.config.load = LoadState::NotFound;
                return;
            }
            Err(FileError::Unreadable(why)) => {
                self.diagnose("unreadable", Level::Error, path, format!("cannot read the file: {why}"), None);
                self.source(path.into(), SourceRole::Fragment);
                self.config.load = LoadState::Error;
                return;
            }
        };
        if bytes.is_empty() {
            self.source(path.into(), SourceRole::Fragment);
            self.config.load = LoadState::Masked;
            return;
        }
        self.config.load = match self.apply(path, SourceRole::Fragment, &bytes) {
            Applied::Whole => LoadState::Loaded,
            Applied::Refused => LoadState::BadSetting,
            Applied::Broken => LoadState::Error,
        };
    }

    /// Applies the assignments of a file.
    fn apply(&mut self, path: &str, role: SourceRole, bytes: &[u8]) -> Applied {
        let path: Text = path.into();
        let source = self.source(path.clone(), role);
        let (text, valid) = match core::str::from_utf8(bytes) {
            Ok(text) => (text, true),
            Err(error) => {
                // What precedes the line with the bad bytes is applied, as systemd does.
                let good = &bytes[..error.valid_up_to()];
                let end = good.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1);
                let line = good.iter().filter(|&&b| b == b'\n').count() as u32 + 1;
                let place = Place { file: path.clone(), line, column: 0 };
                self.config.diagnostics.push(Diagnostic {
                    rule: "not-utf8",
                    level: Level::Error,
                    place,
                    message: "the line is not UTF-8".into(),
                    fix: Some("save the file as UTF-8".into()),
                });
                (core::str::from_utf8(&good[..end]).unwrap_or(""), false)
            }
        };
        let found = self.config.diagnostics.len();
        // Once rather than bit by bit: lines are about so long.
        self.config.settings.reserve((bytes.len() / 32).min(SETTINGS_EXPECTED));
        let mut refused = false;
        let diagnostics = syntax::each(&path, text, &mut |assignment| {
            let before = self.config.diagnostics.len();
            let mut loading =
                Loading { unit: self.unit, environs: self.environs, config: &mut *self.config, source };
            directive::apply(&mut loading, &assignment);
            if assignment.continued {
                for diagnostic in &mut self.config.diagnostics[before..] {
                    diagnostic.place.column = diagnostic.place.column.min(assignment.value_column);
                }
            }
            refused |= self.config.diagnostics[before..].iter().any(|d| d.level == Level::Error);
            !(refused && role == SourceRole::DropIn)
        });
        let broken = !valid || diagnostics.iter().any(|d| d.level == Level::Error);
        // What is wrong with the file as a whole comes before what is wrong with its directives.
        self.config.diagnostics.splice(found..found, diagnostics);
        match (broken, refused) {
            (true, _) => Applied::Broken,
            (false, true) => Applied::Refused,
            (false, false) => Applied::Whole,
        }
    }

    /// Drop-ins and folders of dependencies.
    fn beside(&mut self, path: &UnitPath) {
        let aliases = core::mem::take(&mut self.config.aliases);
        for file in path.beside(self.unit, &aliases, Beside::DropIns) {
            self.drop_in(&file);
        }
        for (role, kind) in [
            (Beside::Wants, DependencyKind::Wants),
            (Beside::Requires, DependencyKind::Requires),
            (Beside::Upholds, DependencyKind::Upholds),
        ] {
            for file in path.beside(self.unit, &aliases, role) {
                self.folder_dependency(kind, file);
            }
        }
        self.config.aliases = aliases;
    }

    /// A drop-in with errors is applied up to the first one, and does not make the unit unusable.
    fn drop_in(&mut self, file: &BesideFile) {
        if self.config.sources.len() >= SOURCES_MAX {
            return;
        }
        if file.kind == EntryKind::Link && self.files.link(&file.path).as_deref() == Some("/dev/null") {
            self.source(file.path.as_str().into(), SourceRole::DropIn);
            return;
        }
        match self.files.read(&file.path) {
            Ok(bytes) => {
                self.apply(&file.path, SourceRole::DropIn, &bytes);
            }
            Err(error) => {
                let why = match error {
                    FileError::NotFound => "it leads nowhere".to_owned(),
                    FileError::Unreadable(why) => why,
                };
                let message = format!("cannot read the drop-in, which has no effect: {why}");
                self.diagnose("unreadable", Level::Warning, &file.path, message, None);
            }
        }
    }

    fn folder_dependency(&mut self, kind: DependencyKind, file: BesideFile) {
        let entry = file.path.rsplit_once('/').map_or("", |(_, name)| name);
        let Some(other) = UnitName::new(entry) else {
            let message = format!("{entry:?} is not the name of a unit, and the link has no effect");
            self.diagnose("not-a-unit", Level::Warning, &file.path, message, None);
            return;
        };
        let target = if file.kind == EntryKind::Link { self.files.link(&file.path) } else { None };
        match target.as_deref() {
            Some("/dev/null") => {}
            Some(_) => {
                self.config.dependencies.push(Dependency {
                    kind,
                    other,
                    origin: Origin::Folder(file.path.into()),
                });
            }
            None => {
                let message = "it is no link, and has no effect".into();
                let fix = Some(format!("replace it with a link to {other}"));
                self.diagnose("not-a-link", Level::Warning, &file.path, message, fix);
            }
        }
    }
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    Whole,
    /// A directive that the unit can't do without has no usable value.
    Refused,
    /// Its syntax makes systemd give it up.
    Broken,
}

/// The setting that is in effect for a directive, by its name.
fn setting<'c>(config: &'c Config, directive: &str) -> Option<&'c Setting> {
    let rows = directive::named(directive);
    config.settings.iter().rev().find(|setting| rows.contains(&(setting.row + 1)))
}

/// The position of the setting that is in effect for a directive, by its name.
pub(crate) fn position_of(config: &Config, directive: &str) -> Option<Position> {
    let Setting { source, line, column, .. } = *setting(config, directive)?;
    Some(Position::new(source, line, column))
}

/// The same, with the path of its file.
pub(crate) fn place_of(config: &Config, directive: &str) -> Option<Place> {
    position_of(config, directive).map(|position| config.place(position))
}

/// The value in effect of a directive that has no typed field, by its name.
pub(crate) fn text_of<'c>(config: &'c Config, directive: &str) -> Option<&'c str> {
    setting(config, directive)?.value.as_deref()
}

/// Whether any of these directives is set.
pub(crate) fn is_set(config: &Config, directives: &[&str]) -> bool {
    directives.iter().any(|directive| setting(config, directive).is_some())
}

/// Sources that are drop-ins, in the order in which they were applied.
pub fn drop_ins(config: &Config) -> Vec<&Text> {
    config.sources.iter().filter(|s| s.role == SourceRole::DropIn).map(|s| &s.path).collect()
}
