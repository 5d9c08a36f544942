//! The units that are looked at, those that they speak of, and the files of both. Units that nobody gave are
//! loaded when a rule asks for them, and never reported.

use super::names::Names;
use crate::{
    Config, DependencyKind, LoadState, Origin, Place, Position, SourceRole, Text, UnitKind, UnitName,
    config::{Command, Environs, ExecPhase, Kind, ServiceConfig, Setting},
    directive::{self, Loading},
    load,
    syntax::{self, Assignment},
    unit_path::{Entry, FileError, Files, UnitPath},
};
use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    rc::Rc,
    string::String,
    vec::Vec,
};
use core::cell::{OnceCell, RefCell};

/// The file system that is looked at: that of an image, or of this machine.
pub trait Ground: Files {
    /// Kind and permissions of what a path leads to, as stat(2) has them; `None` where there is nothing.
    fn mode(&self, path: &str) -> Option<u32>;
    /// The text of a program that begins with `#!` and isn't long; `None` for any other.
    fn script(&self, path: &str) -> Option<String>;
}

/// How much of a system is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Some units: what they speak of may be elsewhere.
    #[default]
    Units,
    /// The files of a package or more: programs that are there can be read.
    Tree,
    /// A whole system: what isn't there doesn't exist.
    System,
}

/// What default limits are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// kernel.pid_max
    pub pid_max: u64,
    /// kernel.threads-max
    pub threads_max: u64,
    /// Whether these are read from a machine; otherwise they are what Linux takes with 16 GiB of memory.
    pub known: bool,
}

impl Default for Machine {
    fn default() -> Self {
        Machine { pid_max: 4_194_304, threads_max: 131_072, known: false }
    }
}

impl Machine {
    /// The smaller of both, of which TasksMax= takes its share.
    pub fn tasks(&self) -> u64 {
        self.pid_max.min(self.threads_max)
    }
}

/// What part a file plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// The file of a unit.
    Fragment,
    /// A drop-in.
    DropIn,
    /// A program in the shell's language.
    Script,
}

/// A file that is looked at.
#[derive(Clone, Debug)]
pub struct UnitFile {
    /// Its path.
    pub path: Text,
    /// Its part.
    pub role: FileRole,
    /// What it holds.
    pub text: String,
    /// Its assignments; none for a script.
    pub assignments: Vec<Assignment<'static>>,
    /// Kind and permissions, where they are known.
    pub mode: Option<u32>,
}

impl UnitFile {
    /// The line of a section's first header, from 1.
    pub fn section_line(&self, section: &str) -> Option<u32> {
        let is = |line: &str| {
            line.trim().strip_prefix('[').and_then(|l| l.strip_suffix(']')).is_some_and(|s| s == section)
        };
        self.text.lines().zip(1..).find(|(line, _)| is(line)).map(|(_, number)| number)
    }

    /// A line, from 1.
    pub fn line(&self, number: u32) -> Option<&str> {
        self.text.lines().nth(number.checked_sub(1)? as usize)
    }

    /// The last line of what begins at this one and goes on behind backslashes.
    pub fn end_of(&self, first: u32) -> u32 {
        let mut last = first;
        for line in self.text.lines().skip(first.saturating_sub(1) as usize) {
            let comment = last > first && line.trim_start().starts_with(['#', ';']);
            if !line.ends_with('\\') && !comment {
                break;
            }
            last += 1;
        }
        last
    }
}

/// A unit that is looked at.
#[derive(Debug)]
pub struct LintUnit {
    /// The unit as it is loaded. A template is loaded as one of its instances.
    pub config: Rc<Config>,
    /// Its files, in the order of [`Config::sources`].
    pub files: Vec<UnitFile>,
    /// Whether it was given as a template.
    pub template: bool,
    /// Where any are named, only what is found in these of its files is told.
    pub only: BTreeSet<Text>,
}

impl LintUnit {
    /// Whether its file could be used, wholly or in part.
    pub fn is_loaded(&self) -> bool {
        matches!(self.config.load, LoadState::Loaded | LoadState::BadSetting)
    }

    /// The name as a person knows it: that of the template, not of the instance that stands for it.
    pub fn shown(&self) -> String {
        match self.config.id().template().filter(|_| self.template) {
            Some(template) => template.as_str().to_owned(),
            None => self.config.id().as_str().to_owned(),
        }
    }

    /// The service part.
    pub fn service(&self) -> Option<&ServiceConfig> {
        self.config.service()
    }

    /// Assignments of a directive that are in effect, in file order.
    pub(crate) fn effective<'u>(&'u self, name: &'u str) -> impl Iterator<Item = &'u Assignment<'u>> {
        let named = move |s: &&Setting| directive::name_of(s.row) == name;
        self.config.settings.iter().filter(named).filter_map(|s| self.assignment(s.source, s.line))
    }

    /// The assignment of a directive that counts.
    pub(crate) fn last(&self, name: &str) -> Option<&Assignment<'_>> {
        let named = |s: &&Setting| directive::name_of(s.row) == name;
        let setting = self.config.settings.iter().rev().find(named)?;
        self.assignment(setting.source, setting.line)
    }

    /// The assignment that begins in this line of a file.
    pub(crate) fn assignment(&self, source: u16, line: u32) -> Option<&Assignment<'_>> {
        let assignments = &self.files.get(usize::from(source))?.assignments;
        let at = assignments.partition_point(|a| a.place.line < line);
        assignments.get(at).filter(|a| a.place.line == line)
    }

    /// The place of a directive, or of the unit.
    pub(crate) fn place(&self, directive: &str) -> Place {
        self.last(directive).map_or_else(|| self.head(), |a| a.place.clone())
    }

    /// The place of a position.
    pub(crate) fn at(&self, position: Position) -> Place {
        match self.assignment(position.source, position.line) {
            Some(assignment) => assignment.place.clone(),
            None => self.config.place(position),
        }
    }

    /// The place of what concerns the unit as a whole: the header of its kind's section, or of the first.
    pub(crate) fn head(&self) -> Place {
        let Some(file) = self.files.first() else {
            return Place { file: self.config.id().text().clone(), line: 0, column: 0 };
        };
        let own = self.config.id().kind().section().and_then(|section| file.section_line(section));
        let first = || file.assignments.first().and_then(|a| file.section_line(&a.section));
        let line = own.or_else(first).unwrap_or(0);
        Place { file: file.path.clone(), line, column: u32::from(line > 0) }
    }

    /// Every command of a service or socket.
    pub(crate) fn commands(&self) -> impl Iterator<Item = (ExecPhase, &Command)> {
        let of = |phase| match &self.config.kind {
            Kind::Service(service) => service.commands(phase),
            Kind::Socket(socket) => socket.commands(phase),
            _ => &[],
        };
        ExecPhase::ALL.into_iter().flat_map(move |phase| of(phase).iter().map(move |c| (phase, c)))
    }

    /// The assignment that a command stands in.
    pub(crate) fn line_of(&self, command: &Command) -> Option<&Assignment<'_>> {
        self.assignment(command.position.source, command.position.line)
    }
}

/// All that is looked at.
pub struct World<'a> {
    /// Where unit files lie.
    pub path: &'a UnitPath,
    /// The file system.
    pub files: &'a dyn Ground,
    /// What specifiers stand for, and the defaults of the whole.
    pub environs: Environs,
    /// How much is there.
    pub scope: Scope,
    /// The version of systemd that the units are for; 0 for any.
    pub systemd: u16,
    /// What default limits are made of.
    pub machine: Machine,
    given: Vec<LintUnit>,
    names: Names<usize>,
    drop_ins: BTreeSet<Text>,
    scripts: Vec<UnitFile>,
    others: RefCell<Names<Option<Rc<Config>>>>,
    programs: RefCell<BTreeMap<String, Option<Rc<UnitFile>>>>,
    dependents: OnceCell<Names<Vec<(UnitName, DependencyKind)>>>,
}

/// Keeps what is read, so that no file is read twice.
struct Keeping<'a> {
    files: &'a dyn Ground,
    read: RefCell<Vec<(String, Vec<u8>)>>,
}

impl Files for Keeping<'_> {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        self.files.list(folder)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let bytes = self.files.read(path)?;
        self.read.borrow_mut().push((path.to_owned(), bytes.clone()));
        Ok(bytes)
    }

    fn link(&self, path: &str) -> Option<String> {
        self.files.link(path)
    }
}

/// A unit and its files, read.
#[derive(Debug)]
pub struct Prepared {
    config: Config,
    files: Vec<UnitFile>,
}

/// Reads a unit of the search path, by its own name, for [`World::give_prepared`]: in another thread, too.
pub fn prepare(path: &UnitPath, ground: &dyn Ground, environs: &Environs, own: &UnitName) -> Prepared {
    let keeping = Keeping { files: ground, read: RefCell::default() };
    let config = load(path, &keeping, environs, own);
    let mut read = keeping.read.into_inner();
    let files = config
        .sources
        .iter()
        .map(|source| {
            let at = read.iter().position(|(path, _)| **path == *source.path);
            let bytes = at.map(|at| read.swap_remove(at).1).unwrap_or_default();
            let role = match source.role {
                SourceRole::Fragment => FileRole::Fragment,
                SourceRole::DropIn => FileRole::DropIn,
            };
            file(ground, source.path.clone(), role, bytes)
        })
        .collect();
    Prepared { config, files }
}

fn file(ground: &dyn Ground, path: Text, role: FileRole, bytes: Vec<u8>) -> UnitFile {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    };
    let (assignments, _) = syntax::parse(&path, &text);
    let assignments = assignments.into_iter().map(owned).collect();
    let mode = ground.mode(&path);
    UnitFile { path, role, text, assignments, mode }
}

impl<'a> World<'a> {
    /// A world of these files, in which nothing is given yet.
    pub fn new(path: &'a UnitPath, files: &'a dyn Ground, environs: Environs) -> World<'a> {
        World {
            path,
            files,
            environs,
            scope: Scope::default(),
            systemd: 0,
            machine: Machine::default(),
            given: Vec::new(),
            names: Names::default(),
            drop_ins: BTreeSet::new(),
            scripts: Vec::new(),
            others: RefCell::default(),
            programs: RefCell::default(),
            dependents: OnceCell::new(),
        }
    }

    /// Adds a unit of the search path. With `only`, the path of one of its files, nothing that is found in
    /// another file is told. Returns whether there is such a unit.
    pub fn give(&mut self, name: &UnitName, only: Option<Text>) -> bool {
        let instance = if name.is_template() { name.with_instance(INSTANCE) } else { None };
        let asked = instance.as_ref().unwrap_or(name);
        let Some((own, _)) = self.path.resolve(asked) else {
            return false;
        };
        if let Some(known) = self.names.get(&own) {
            let said = &mut self.given[*known].only;
            match only {
                None => said.clear(),
                Some(file) if !said.is_empty() => drop(said.insert(file)),
                Some(_) => {}
            }
            return true;
        }
        let prepared = prepare(self.path, self.files, &self.environs, &own);
        self.add(prepared, instance.is_some(), only);
        true
    }

    /// Adds a unit of the search path that was read before, as [`World::give`] would; `name` is the unit's
    /// own, and no template.
    pub fn give_prepared(&mut self, name: &UnitName, prepared: Prepared) {
        if self.names.get(name).is_some() || prepared.config.id() != name {
            self.give(name, None);
            return;
        }
        self.add(prepared, false, None);
    }

    fn add(&mut self, prepared: Prepared, template: bool, only: Option<Text>) {
        let Prepared { config, files } = prepared;
        let unit = LintUnit { config: Rc::new(config), files, template, only: only.into_iter().collect() };
        let at = self.given.len();
        for name in core::iter::once(unit.config.id()).chain(&unit.config.aliases) {
            *self.names.entry(name, || at) = at;
        }
        self.given.push(unit);
    }

    /// Adds a drop-in. Its unit is loaded with it where it is there; else the drop-in is looked at alone.
    pub fn give_drop_in(&mut self, unit: &UnitName, path: Text) {
        if !self.drop_ins.insert(path.clone()) {
            return;
        }
        let instance = if unit.is_template() { unit.with_instance(INSTANCE) } else { None };
        let asked = instance.as_ref().unwrap_or(unit);
        if self.give(unit, Some(path.clone())) {
            return;
        }
        let Ok(bytes) = self.files.read(&path) else { return };
        let file = file(self.files, path.clone(), FileRole::DropIn, bytes);
        let mut config = Config::stub(asked.clone());
        config.sources.push(crate::Source { path: path.clone(), role: SourceRole::DropIn });
        let (_, diagnostics) = syntax::parse(&path, &file.text);
        config.diagnostics = diagnostics;
        for assignment in &file.assignments {
            let mut loading =
                Loading { unit: asked, environs: &self.environs, config: &mut config, source: 0 };
            directive::apply(&mut loading, assignment);
        }
        let template = instance.is_some();
        self.given.push(LintUnit {
            config: Rc::new(config),
            files: Vec::from([file]),
            template,
            only: BTreeSet::new(),
        });
    }

    /// Adds a starter script.
    pub fn give_script(&mut self, path: Text, text: String) {
        let mode = self.files.mode(&path);
        self.scripts.push(UnitFile { path, role: FileRole::Script, text, assignments: Vec::new(), mode });
    }

    /// The given units.
    pub fn given(&self) -> &[LintUnit] {
        &self.given
    }

    /// The given scripts.
    pub fn scripts(&self) -> &[UnitFile] {
        &self.scripts
    }

    /// A given unit, by any of its names.
    pub(crate) fn given_unit(&self, name: &UnitName) -> Option<&LintUnit> {
        self.names.get(name).map(|at| &self.given[*at])
    }

    /// Whether there is a file for a unit of this name.
    pub(crate) fn exists(&self, name: &UnitName) -> bool {
        self.path.resolve(name).is_some()
    }

    /// A unit that has a file, by any of its names.
    pub(crate) fn config(&self, name: &UnitName) -> Option<Rc<Config>> {
        if let Some(unit) = self.given_unit(name) {
            return Some(unit.config.clone());
        }
        if let Some(known) = self.others.borrow().get(name) {
            return known.clone();
        }
        let loads = !name.is_template() && self.exists(name);
        let config = loads.then(|| Rc::new(load(self.path, self.files, &self.environs, name)));
        let config = config.filter(|c| matches!(c.load, LoadState::Loaded | LoadState::BadSetting));
        *self.others.borrow_mut().entry(name, || None) = config.clone();
        config
    }

    /// Which given units depend on a unit, and how.
    pub(crate) fn dependents(&self, name: &UnitName) -> &[(UnitName, DependencyKind)] {
        let all = self.dependents.get_or_init(|| {
            let mut all: Names<Vec<(UnitName, DependencyKind)>> = Names::default();
            for unit in &self.given {
                for d in &unit.config.dependencies {
                    // Nobody asks who is in a slice, or who is stopped with the whole.
                    use DependencyKind::{After, Before, Conflicts, InSlice};
                    if !matches!(d.kind, After | Before | Conflicts | InSlice) && d.origin != Origin::Default
                    {
                        all.entry(&d.other, Vec::new).push((unit.config.id().clone(), d.kind));
                    }
                }
            }
            all
        });
        all.get(name).map_or(&[], |found| &found[..])
    }

    /// The script that a command runs, where it is one that can be read.
    pub(crate) fn script(&self, program: &str) -> Option<Rc<UnitFile>> {
        if let Some(known) = self.programs.borrow().get(program) {
            return known.clone();
        }
        let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let given = self.scripts.iter().find(|s| name(&s.path) == name(program)).cloned();
        let read = || {
            if self.scope == Scope::Units || !program.starts_with('/') {
                return None;
            }
            let text = self.files.script(program)?;
            let (path, role) = (program.into(), FileRole::Script);
            Some(UnitFile { path, role, text, assignments: Vec::new(), mode: None })
        };
        let script = given.or_else(read).filter(|s| crate::lint::script::is_shell(&s.text)).map(Rc::new);
        self.programs.borrow_mut().insert(program.to_owned(), script.clone());
        script
    }
}

impl core::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "World of {} units, {:?}", self.given.len(), self.scope)
    }
}

/// An assignment that outlives the text it was read from.
pub(crate) fn owned(assignment: Assignment<'_>) -> Assignment<'static> {
    let Assignment { section, key, value, place, value_column, continued } = assignment;
    let own = |text: alloc::borrow::Cow<'_, str>| alloc::borrow::Cow::Owned(text.into_owned());
    Assignment { section: own(section), key: own(key), value: own(value), place, value_column, continued }
}

/// The instance that stands for a template.
pub(crate) const INSTANCE: &str = "instance";

/// Whether a unit is one that systemd itself makes or that its own packages ship, so that it may be there
/// though no file of it is.
pub(crate) fn is_systems_own(name: &UnitName) -> bool {
    let kind = matches!(name.kind(), UnitKind::Target | UnitKind::Slice | UnitKind::Device | UnitKind::Scope);
    kind || name.as_str().starts_with("systemd-")
        || ["dbus.service", "dbus.socket", "-.mount", "tmp.mount"].contains(&name.as_str())
}

/// A list of names for a sentence: "a, b and c", the first few of them.
pub(crate) fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = names.collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] if names.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        _ => format!("{} and {} others", names[..SHOWN - 1].join(", "), names.len() - SHOWN + 1),
    }
}
