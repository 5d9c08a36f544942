//! Which files are looked at together: the units of a folder, of a package's files, of an image. Paths are
//! those
//! inside of the image; people are shown them as they wrote them.

use crate::exit::{Trouble, USAGE};
use hence_host::RootFiles;
use hence_unit::lint::{Ground, Machine, Prepared, Scope, World, prepare};
use hence_unit::unit_path::{Entry, EntryKind, Files, UnitPath, UserRoots, system_folders, user_folders};
use hence_unit::{Place, Text, UnitName, config::Environs, system};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;
use std::vec::IntoIter;

/// Units of a folder from which on a second thread reads some of them.
const MANY: usize = 128;
/// With more folders than this, units of one are not searched in the others.
const FOLDERS_MAX: usize = 32;
/// How deep folders of folders are searched for unit files.
const DEPTH_MAX: usize = 12;
/// Folders by which the files of a package or an image are known.
const TREES: [&str; 7] = [
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "etc/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/user",
    "lib/systemd/user",
    "etc/systemd/user",
];

/// A unit that was read.
type Read = (UnitName, Prepared);

/// What the command line names.
pub struct Paths<'a> {
    pub given: &'a [PathBuf],
    pub root: Option<&'a Path>,
    pub host: bool,
    pub user: bool,
}

/// Something to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    /// All units of a folder, with their drop-ins, and scripts.
    Folder(String),
    /// One unit.
    Unit(UnitName),
    /// One drop-in.
    DropIn(UnitName, String),
    Script(String),
}

/// Files that are looked at together.
#[derive(Debug)]
pub struct Group {
    /// The image's folder; empty where paths are the machine's.
    root: String,
    /// Where units are searched.
    folders: Vec<String>,
    scope: Scope,
    user: bool,
    host: bool,
    items: Vec<Item>,
    /// Beginnings of paths, and how they were written.
    written: Vec<(String, String)>,
}

fn trouble(message: String) -> Trouble {
    Trouble::new(USAGE, message)
}

fn absolute(path: &Path) -> Result<String, Trouble> {
    let path = std::path::absolute(path).map_err(|e| trouble(format!("{}: {e}", path.display())))?;
    let text = path.into_os_string().into_string();
    let text = text.map_err(|p| trouble(format!("{}: not UTF-8", p.display())))?;
    Ok(if text.len() > 1 { text.trim_end_matches('/').into() } else { text })
}

impl Paths<'_> {
    /// Sorts out what is looked at together.
    ///
    /// # Errors
    /// A path that doesn't exist, or is nothing that can be looked at.
    pub fn groups(&self) -> Result<Vec<Group>, Trouble> {
        if let Some(root) = self.root {
            if !root.is_dir() {
                return Err(trouble(format!("{}: no such folder (--root)", root.display())));
            }
            return self.image(absolute(root)?.trim_end_matches('/'), root);
        }
        if self.host {
            return self.image("", Path::new(""));
        }
        if self.given.is_empty() {
            return Err(trouble("name unit files or folders, or an image with --root; see --help".into()));
        }
        let (mut groups, mut plain) = (Vec::new(), Plain::default());
        for path in self.given {
            if !path.exists() {
                return Err(trouble(format!("{}: no such file or folder", path.display())));
            }
            let at = absolute(path)?;
            if path.is_dir() && TREES.iter().any(|folder| path.join(folder).is_dir()) {
                groups.extend(self.tree(&at, path));
            } else {
                plain.take(&at, path)?;
            }
        }
        groups.extend(plain.groups(self.user));
        Ok(groups)
    }

    /// The units of a whole system.
    fn image(&self, root: &str, written: &Path) -> Result<Vec<Group>, Trouble> {
        let mut groups = both(root, Scope::System, self.user);
        let shown = written.display().to_string();
        for group in &mut groups {
            group.host = self.host;
            if !root.is_empty() {
                group.written.push((root.into(), shown.trim_end_matches('/').into()));
            }
        }
        if self.given.is_empty() {
            return Ok(groups);
        }
        let mut plain = Plain::default();
        for path in self.given {
            // As it is written, or as the image has it.
            let inside = Path::new(root).join(path.strip_prefix("/").unwrap_or(path));
            let found = [path.as_path(), &inside]
                .into_iter()
                .find(|p| p.exists() && absolute(p).is_ok_and(|p| p.starts_with(root)));
            let found = found.or_else(|| Some(path.as_path()).filter(|p| p.exists()));
            let found =
                found.ok_or_else(|| trouble(format!("{}: no such file or folder", path.display())))?;
            plain.take(&absolute(found)?, found)?;
        }
        let named = plain.groups(self.user);
        Ok(named
            .into_iter()
            .map(|mut group| {
                let user = group.user;
                let system = groups.iter().find(|g| g.user == user);
                let below = |path: &str| path.strip_prefix(root).map(str::to_owned);
                // Files from elsewhere are looked at as if they were in the image's first folder: as they
                // are.
                let inside = group.folders.iter().all(|f| below(f).is_some());
                if inside {
                    let cut = |path: &String| below(path).unwrap_or_else(|| path.clone());
                    group.folders = group.folders.iter().map(cut).collect();
                    for item in &mut group.items {
                        match item {
                            Item::Folder(path) | Item::DropIn(_, path) | Item::Script(path) => {
                                *path = cut(path)
                            }
                            Item::Unit(_) => {}
                        }
                    }
                    group.root = root.into();
                    group.scope = Scope::System;
                    group.host = self.host;
                    let whole = || (root.to_owned(), shown.trim_end_matches('/').to_owned());
                    group.written = (!root.is_empty()).then(whole).into_iter().collect();
                    for folder in system.into_iter().flat_map(|g| &g.folders) {
                        if !group.folders.contains(folder) {
                            group.folders.push(folder.clone());
                        }
                    }
                }
                group
            })
            .collect())
    }

    /// The files of a package or an image of which nobody says that it is whole.
    fn tree(&self, at: &str, written: &Path) -> Vec<Group> {
        let mut groups = both(at, Scope::Tree, self.user);
        for group in &mut groups {
            group.written.push((at.into(), written.display().to_string().trim_end_matches('/').into()));
        }
        groups
    }
}

/// The groups of the system's units and of the users', as far as there are any.
fn both(root: &str, scope: Scope, user_only: bool) -> Vec<Group> {
    let roots = UserRoots { home: "/root", ..UserRoots::default() };
    let kinds = [(false, system_folders()), (true, user_folders(&roots))];
    let there = |folder: &&String| Path::new(&format!("{root}{folder}")).is_dir();
    let mut groups = Vec::new();
    for (user, folders) in kinds.into_iter().filter(|(user, _)| *user || !user_only) {
        let items: Vec<Item> = folders.iter().filter(there).map(|f| Item::Folder(f.clone())).collect();
        if !items.is_empty() {
            let root = root.to_owned();
            groups.push(Group { root, folders, scope, user, host: false, items, written: Vec::new() });
        }
    }
    groups
}

/// Files and folders that are no tree.
#[derive(Default)]
struct Plain {
    folders: Vec<String>,
    items: Vec<Item>,
    written: Vec<(String, String)>,
}

impl Plain {
    fn take(&mut self, at: &str, written: &Path) -> Result<(), Trouble> {
        self.written.push((at.to_owned(), written.display().to_string().trim_end_matches('/').to_owned()));
        if written.is_relative()
            && let Ok(here) = std::env::current_dir()
            && let Some(here) = here.to_str().filter(|here| at.starts_with(&format!("{here}/")))
        {
            // Files beside those that were named are shown like them.
            self.written.push((here.to_owned(), String::new()));
        }
        if written.is_dir() {
            if let Some(unit) = at.strip_suffix(".d").and_then(unit_of_path) {
                return self.drop_ins(at, &unit, written);
            }
            let before = self.items.len();
            self.folder(at, 0);
            if self.items.len() == before {
                return Err(trouble(format!("{}: no unit files there", written.display())));
            }
            return Ok(());
        }
        let (folder, name) = at.rsplit_once('/').unwrap_or(("", at));
        if let Some(unit) = UnitName::new(name) {
            self.search(folder);
            self.items.push(Item::Unit(unit));
            return Ok(());
        }
        if name.ends_with(".conf")
            && let Some(unit) = folder.strip_suffix(".d").and_then(unit_of_path)
        {
            self.search(folder.rsplit_once('/').map_or("", |(above, _)| above));
            self.items.push(Item::DropIn(unit, at.into()));
            return Ok(());
        }
        if RootFiles::new("").script(at).is_some() {
            self.items.push(Item::Script(at.into()));
            return Ok(());
        }
        let message = "neither a unit file, nor a drop-in (NAME.d/*.conf), nor a script that begins with #!";
        Err(trouble(format!("{}: {message}", written.display())))
    }

    fn drop_ins(&mut self, at: &str, unit: &UnitName, written: &Path) -> Result<(), Trouble> {
        self.search(at.rsplit_once('/').map_or("", |(above, _)| above));
        let before = self.items.len();
        for entry in list(at).iter().filter(|e| e.name.ends_with(".conf")) {
            self.items.push(Item::DropIn(unit.clone(), format!("{at}/{}", entry.name)));
        }
        match self.items.len() == before {
            true => Err(trouble(format!("{}: no drop-ins there", written.display()))),
            false => Ok(()),
        }
    }

    fn search(&mut self, folder: &str) {
        let folder = if folder.is_empty() { "/" } else { folder };
        if !self.folders.iter().any(|known| known == folder) {
            self.folders.push(folder.into());
        }
    }

    /// A folder and those below it that hold unit files.
    fn folder(&mut self, at: &str, depth: usize) {
        let entries = list(at);
        let is_unit = |e: &Entry| e.kind != EntryKind::Folder && UnitName::new(&e.name).is_some();
        let is_drop_ins = |e: &Entry| {
            e.kind == EntryKind::Folder
                && e.name.strip_suffix(".d").is_some_and(|unit| unit_of(unit).is_some())
        };
        if entries.iter().any(|e| is_unit(e) || is_drop_ins(e)) {
            self.search(at);
            self.items.push(Item::Folder(at.into()));
        }
        for entry in entries.iter().filter(|e| e.kind == EntryKind::Folder && depth < DEPTH_MAX) {
            let beside = [".d", ".wants", ".requires", ".upholds"].iter().any(|s| entry.name.ends_with(s));
            if !beside && !entry.name.starts_with('.') {
                self.folder(&format!("{at}/{}", entry.name), depth + 1);
            }
        }
    }

    /// One group for each folder: units of one name in two folders are different units.
    fn groups(self, user: bool) -> Vec<Group> {
        let mut by_folder: BTreeMap<Option<String>, Vec<Item>> = BTreeMap::new();
        let above = |path: &str| path.rsplit_once('/').map(|(above, _)| above.to_owned());
        let mut scripts = Vec::new();
        let mut names: BTreeMap<String, Vec<UnitName>> = BTreeMap::new();
        for (path, _) in &self.written {
            if let Some((folder, name)) = path.rsplit_once('/') {
                names.entry(folder.to_owned()).or_default().extend(UnitName::new(name));
            }
        }
        for item in self.items {
            let folders = match &item {
                Item::Folder(path) => vec![Some(path.clone())],
                Item::DropIn(_, path) => vec![above(path).as_deref().and_then(above)],
                Item::Unit(unit) => names
                    .iter()
                    .filter(|(_, units)| units.contains(unit))
                    .map(|(f, _)| Some(f.clone()))
                    .collect(),
                Item::Script(_) => {
                    scripts.push(item);
                    continue;
                }
            };
            for folder in folders {
                by_folder.entry(folder).or_default().push(item.clone());
            }
        }
        if by_folder.is_empty() {
            by_folder.insert(None, Vec::new());
        }
        let folders = self.folders;
        let mut groups = Vec::new();
        for (own, mut items) in by_folder {
            items.extend(scripts.iter().cloned());
            let of_user = user || own.as_ref().is_some_and(|f| f.ends_with("/systemd/user"));
            // Its own folder wins; what its units speak of may be in the others.
            let mut search: Vec<String> = own.into_iter().collect();
            if folders.len() <= FOLDERS_MAX {
                search.extend(folders.iter().filter(|f| !search.contains(f)).cloned().collect::<Vec<_>>());
            }
            groups.push(Group {
                root: String::new(),
                folders: search,
                scope: Scope::Units,
                user: of_user,
                host: false,
                items,
                written: self.written.clone(),
            });
        }
        groups
    }
}

/// The unit, or the name that stands for many of them, that a folder of drop-ins is named after.
fn unit_of(stem: &str) -> Option<UnitName> {
    // service.d holds for all services; its drop-ins are looked at with any of them.
    UnitName::new(stem).or_else(|| UnitName::new(&format!("all.{stem}")).filter(|_| !stem.contains('.')))
}

fn unit_of_path(path: &str) -> Option<UnitName> {
    unit_of(path.rsplit('/').next()?)
}

/// A path without `./` in front.
fn plain(path: &str) -> String {
    let rest = path.strip_prefix("./").map(|rest| rest.trim_start_matches('/'));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(path).to_owned()
}

fn list(folder: &str) -> Vec<Entry> {
    let mut entries = RootFiles::new("").list(folder).unwrap_or_default();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

impl Group {
    /// Calls back with the world of the group, and with how places are shown: the path, and the line's text.
    pub fn with_world(
        &self,
        systemd: u16,
        look: impl FnOnce(&World<'_>, &dyn Fn(&Place) -> (String, Option<String>)),
    ) {
        let ground = RootFiles::new(&self.root);
        let path = UnitPath::scan(&ground, &self.folders);
        let mut environs = environs(self.user);
        if self.scope == Scope::System && !self.user {
            environs.system = Some(Arc::new(system_config(&ground, &environs)));
        }
        let mut world = World::new(&path, &ground, environs);
        world.scope = self.scope;
        world.systemd = systemd;
        if self.host {
            world.machine = machine().unwrap_or_default();
        }
        for item in &self.items {
            self.give(item, &ground, &mut world);
        }
        let units = world.given().iter().flat_map(|u| &u.files);
        let texts: HashMap<&str, &str> =
            units.chain(world.scripts()).map(|file| (&*file.path, file.text.as_str())).collect();
        // Programs that units start.
        let others: RefCell<HashMap<Text, Option<String>>> = RefCell::default();
        let shown = |place: &Place| {
            let nth = place.line.checked_sub(1).map(|n| n as usize);
            let of = |text: &str| text.lines().nth(nth?).map(str::to_owned);
            let line = match texts.get(&*place.file) {
                Some(text) => of(text),
                None => {
                    let mut others = others.borrow_mut();
                    let text = others.entry(place.file.clone()).or_insert_with(|| ground.script(&place.file));
                    text.as_deref().and_then(of)
                }
            };
            (self.shown(&place.file), line)
        };
        look(&world, &shown);
    }

    /// A path as the person wrote its beginning.
    fn shown(&self, path: &str) -> String {
        let whole = format!("{}{path}", self.root);
        let begins = |(at, _): &&(String, String)| {
            whole.strip_prefix(at.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match self.written.iter().filter(begins).max_by_key(|(at, _)| at.len()) {
            Some((at, written)) => {
                let shown = format!("{written}{}", &whole[at.len()..]);
                if written.is_empty() { shown.trim_start_matches('/').to_owned() } else { plain(&shown) }
            }
            None => whole,
        }
    }

    fn give(&self, item: &Item, ground: &RootFiles, world: &mut World<'_>) {
        match item {
            Item::Unit(name) => drop(world.give(name, None)),
            Item::DropIn(unit, path) => world.give_drop_in(unit, path.as_str().into()),
            Item::Script(path) => {
                if let Some(text) = ground.script(path) {
                    world.give_script(path.as_str().into(), text);
                }
            }
            Item::Folder(folder) => self.give_folder(folder, ground, world),
        }
    }

    /// Reads the units of a folder that has many, in two threads; in their order.
    fn prepare(&self, entries: &[Entry], ground: &RootFiles, world: &World<'_>) -> Peekable<IntoIter<Read>> {
        let of_file = |entry: &Entry| (entry.kind == EntryKind::File).then(|| UnitName::new(&entry.name))?;
        let is_own = |name: &UnitName| {
            !name.is_template() && world.path.resolve(name).is_some_and(|(own, _)| own == *name)
        };
        let names: Vec<UnitName> = entries.iter().filter_map(of_file).filter(is_own).collect();
        let (mut units, mut others) = (Vec::new(), Vec::new());
        if names.len() >= MANY {
            let (path, environs) = (world.path, &world.environs);
            let read = |ground: &RootFiles, names: &[UnitName]| -> Vec<Read> {
                names.iter().map(|name| (name.clone(), prepare(path, ground, environs, name))).collect()
            };
            let (first, second) = names.split_at(names.len() / 2);
            std::thread::scope(|scope| {
                let thread = Builder::new().spawn_scoped(scope, || read(&RootFiles::new(&self.root), second));
                units = read(ground, first);
                // Those that no thread read are read when their turn comes.
                others = thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_default();
            });
        }
        units.append(&mut others);
        units.into_iter().peekable()
    }

    fn give_folder(&self, folder: &str, ground: &RootFiles, world: &mut World<'_>) {
        let mut entries = ground.list(folder).unwrap_or_default();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut prepared = self.prepare(&entries, ground, world);
        for entry in &entries {
            let path = format!("{folder}/{}", entry.name);
            if entry.kind != EntryKind::Folder
                && let Some(name) = UnitName::new(&entry.name)
            {
                match prepared.next_if(|(of, _)| *of == name) {
                    Some((_, prepared)) => world.give_prepared(&name, prepared),
                    None => drop(world.give(&name, None)),
                }
            } else if entry.kind == EntryKind::File && self.scope == Scope::Units {
                if let Some(text) = ground.script(&path) {
                    world.give_script(path.into(), text);
                }
            } else if entry.kind == EntryKind::Folder
                && let Some(unit) = entry.name.strip_suffix(".d").and_then(unit_of)
            {
                // With those of whole kinds of units and of name prefixes, which no unit here may have.
                for drop_in in ground.list(&path).unwrap_or_default() {
                    if drop_in.name.ends_with(".conf") && !drop_in.name.starts_with('.') {
                        world.give_drop_in(&unit, format!("{path}/{}", drop_in.name).as_str().into());
                    }
                }
            }
        }
    }
}

/// What specifiers stand for: nothing of this machine, so that the same files give the same findings
/// anywhere.
fn environs(user: bool) -> Environs {
    let text = |value: &str| value.to_owned();
    Environs {
        user,
        host_name: text("host"),
        machine_id: "0".repeat(32),
        boot_id: "0".repeat(32),
        kernel_release: text("6.1"),
        architecture: text("x86-64"),
        user_name: text(if user { "user" } else { "root" }),
        uid: if user { 1000 } else { 0 },
        group_name: text(if user { "user" } else { "root" }),
        gid: if user { 1000 } else { 0 },
        home: text(if user { "/home/user" } else { "/root" }),
        shell: text("/bin/sh"),
        runtime_root: text(if user { "/run/user/1000" } else { "/run" }),
        state_root: text(if user { "/home/user/.local/state" } else { "/var/lib" }),
        cache_root: text(if user { "/home/user/.cache" } else { "/var/cache" }),
        logs_root: text(if user { "/home/user/.local/state/log" } else { "/var/log" }),
        configuration_root: text(if user { "/home/user/.config" } else { "/etc" }),
        tmp: text("/tmp"),
        var_tmp: text("/var/tmp"),
        ..Environs::default()
    }
}

/// system.conf of the image and its drop-ins.
fn system_config(ground: &RootFiles, environs: &Environs) -> system::SystemConfig {
    const ROOTS: [&str; 4] = ["/usr/lib", "/usr/local/lib", "/run", "/etc"];
    let read = |path: String| {
        let text = String::from_utf8_lossy(&ground.read(&path).ok()?).into_owned();
        Some((Text::from(path.as_str()), text))
    };
    let main = ROOTS.iter().rev().find_map(|root| read(format!("{root}/systemd/system.conf")));
    let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
    for root in ROOTS {
        let folder = format!("{root}/systemd/system.conf.d");
        for entry in ground.list(&folder).unwrap_or_default() {
            if entry.name.ends_with(".conf") {
                drop_ins.insert(entry.name.clone(), format!("{folder}/{}", entry.name));
            }
        }
    }
    let files: Vec<(Text, String)> =
        main.into_iter().chain(drop_ins.into_values().filter_map(read)).collect();
    system::parse(&files, environs)
}

/// The limits of this machine.
fn machine() -> Option<Machine> {
    let read =
        |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok();
    Some(Machine { pid_max: read("pid_max")?, threads_max: read("threads-max")?, known: true })
}
