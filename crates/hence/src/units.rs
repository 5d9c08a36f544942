//! Which units a run knows and which it starts: the search path, the loader, and the units that need no
//! file. It knows nothing of jobs.

mod ahead;
mod unchanged;

use crate::live_files::LiveFolders;
use crate::model::files::state_of;
use ahead::{Ahead, Read};
use hence_host::{DiskFiles, mountinfo, swaps, version};
use hence_ledger::{FileIdentity, Version};
use hence_unit::Text;
use hence_unit::install::InstallPaths;
use hence_unit::system::{self, SystemConfig};
use hence_unit::unit_path::{Files, UnitPath, UserRoots, system_folders, user_folders};
use hence_unit::{Config, Level, LoadState, UnitKind, UnitName, config::Environs, load, mount, swap};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unchanged::Reading;

/// Targets that default dependencies name. Where nobody brings a file for one, an empty one stands in, so
/// that a folder of units is enough to run.
const BUILT_IN: [&str; 14] = [
    "basic.target",
    "default.target",
    "exit.target",
    "halt.target",
    "kexec.target",
    "multi-user.target",
    "network.target",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "shutdown.target",
    "sockets.target",
    "sysinit.target",
    "timers.target",
];

/// What is to be run, and from where.
#[derive(Debug, Default)]
pub struct Sources {
    folders: Vec<String>,
    /// Folders of files that clients make, which come before.
    live: Vec<String>,
    /// Files that were named one by one.
    named: Vec<UnitName>,
    /// Units of these folders are started.
    started: Vec<String>,
    /// Search the system's folders as well, and give units the system's default dependencies.
    pub system: bool,
    /// The units are those of a user's own instance, whoever that user is.
    pub user: bool,
    /// Units of mounts and devices are there without files: hence is the system's process 1.
    pub machine: bool,
}

impl Sources {
    /// Sorts out what the command line names: folders of units, unit files, further folders to search.
    /// `user`: they are a user's own.
    ///
    /// # Errors
    /// The sentence for the user: what isn't there or isn't a unit file.
    pub fn new(paths: &[PathBuf], search: &[PathBuf], user: bool) -> Result<Sources, String> {
        let mut sources = Sources { system: paths.is_empty(), user, ..Sources::default() };
        let text = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.into_os_string().into_string().map_err(|p| format!("{}: not UTF-8", p.display()))
        };
        for path in paths {
            let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => {
                    format!("{}: no such file or folder; name a folder of unit files", path.display())
                }
                _ => format!("{}: {e}", path.display()),
            })?;
            if metadata.is_dir() {
                std::fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()))?;
                sources.folders.push(text(path)?);
                sources.started.push(text(path)?);
                continue;
            }
            let name = path.file_name().and_then(|n| n.to_str()).and_then(UnitName::new);
            let name = name.ok_or_else(|| {
                format!(
                    "{}: not a unit file's name; it must end in .service, .socket, .target or another kind",
                    path.display()
                )
            })?;
            sources.named.push(name);
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let parent = text(parent)?;
            if !sources.folders.contains(&parent) {
                sources.folders.push(parent);
            }
        }
        for folder in search {
            if !folder.is_dir() {
                return Err(format!("{}: no such folder (--unit-path)", folder.display()));
            }
            sources.folders.push(text(folder)?);
        }
        if sources.system {
            sources.folders.extend(sources.default_folders());
        }
        Ok(sources)
    }

    /// Searches these folders, the first ones win.
    pub fn search(&mut self, folders: Vec<String>) {
        self.folders = folders;
    }

    /// The system's units of a machine whose files are below `root`.
    pub fn of_machine(root: &str) -> Sources {
        let below = |folder: String| format!("{}{folder}", root.trim_end_matches('/'));
        let folders = system_folders().into_iter().map(below).collect();
        Sources { folders, system: true, ..Sources::default() }
    }

    /// Where unit files go that clients make: for the system's own units, beside those; else into the
    /// ledger's folder, but for a user who has a folder for such things. They are searched first.
    /// `again`: those that are there are still in use.
    pub fn live_folders(&mut self, ledger: &Path, again: bool) -> LiveFolders {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|v| v.is_absolute());
        let live = match (self.system, self.of_root(), variable("XDG_RUNTIME_DIR")) {
            (true, true, _) => LiveFolders::system(),
            (true, false, Some(runtime)) => {
                let home = variable("HOME").unwrap_or_else(|| "/".into());
                let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
                LiveFolders::user(&config, &runtime)
            }
            _ => {
                let live = LiveFolders::of_ledger(ledger);
                if !again {
                    live.clear();
                }
                live
            }
        };
        self.live = live.search();
        self.live.retain(|folder| !self.folders.contains(folder));
        live
    }

    /// Where links to unit files are made: for the system's units where systemd makes them, else in the
    /// first folder.
    fn install_paths(&self) -> InstallPaths {
        if !self.system {
            return InstallPaths::folders(self.folders.clone());
        }
        let paths = match self.of_root() {
            true => InstallPaths::system(),
            false => with_user_roots(InstallPaths::user),
        };
        InstallPaths { search: self.folders.clone(), ..paths }
    }

    /// Whether what is root's own is meant.
    fn of_root(&self) -> bool {
        !self.user && rustix::process::geteuid().is_root()
    }

    fn default_folders(&self) -> Vec<String> {
        if self.of_root() { system_folders() } else { with_user_roots(user_folders) }
    }

    /// Scans the folders and makes the loader.
    pub fn loader(&self) -> Units {
        let mut units = Units {
            folders: [&self.live[..], &self.folders[..]].concat(),
            whose: match (self.user, self.system) {
                (true, _) => Whose::User,
                (false, true) => Whose::System,
                (false, false) => Whose::Folder,
            },
            machine: self.machine,
            path: Arc::default(),
            scanned: Vec::new(),
            environs: Environs::default(),
            file_states: BTreeMap::new(),
            install: self.install_paths(),
            before_scan: None,
            generated: Vec::new(),
            reading: Reading::default(),
            ahead: None,
        };
        units.rescan();
        // Nothing was read with others.
        units.reading.others = false;
        units
    }

    /// The units to start: those that were asked for; else `default.target` if the folder has one; else
    /// all of the folder that can be started, but for templates and what only traffic or time starts.
    ///
    /// # Errors
    /// The sentence for the user, where nothing is left to start.
    pub fn to_start(&self, asked: &[String], units: &Units) -> Result<Vec<UnitName>, String> {
        let mut start: Vec<UnitName> = Vec::new();
        for name in asked {
            let full = if name.contains('.') { name.clone() } else { format!("{name}.service") };
            start.push(UnitName::new(&full).ok_or_else(|| format!("{name}: not a unit's name"))?);
        }
        start.extend(self.named.iter().cloned());
        if start.is_empty() && self.system {
            start.push(UnitName::new("default.target").expect("a valid name"));
        }
        if !start.is_empty() {
            return Ok(start);
        }
        let own: Vec<UnitName> = units.names_in(&self.started);
        if let Some(default) = own.iter().find(|n| n.as_str() == "default.target") {
            return Ok(vec![default.clone()]);
        }
        let mut loaded: Vec<(UnitName, LoadState)> = Vec::new();
        let mut triggered: BTreeSet<UnitName> = BTreeSet::new();
        let mut wanted: BTreeSet<UnitName> = BTreeSet::new();
        for config in own.iter().filter(|n| !n.is_template()).map(|n| units.read(n).0) {
            for dependency in &config.dependencies {
                use hence_unit::DependencyKind as K;
                let named = match dependency.kind {
                    K::Triggers => &mut triggered,
                    K::Wants | K::Requires | K::BindsTo | K::Upholds => &mut wanted,
                    _ => continue,
                };
                if !named.contains(&dependency.other) {
                    named.insert(dependency.other.clone());
                }
            }
            loaded.push((config.id().clone(), config.load));
        }
        for (name, load) in &loaded {
            let kind = matches!(
                name.kind(),
                UnitKind::Service | UnitKind::Socket | UnitKind::Target | UnitKind::Timer | UnitKind::Path
            );
            let by_itself = !triggered.contains(name) || wanted.contains(name);
            if kind && by_itself && *load != LoadState::Masked && !start.contains(name) {
                start.push(name.clone());
            }
        }
        // Each is asked for by itself: what listens comes first, as basic.target has it, for a socket can't
        // be opened any more once its service runs.
        start.sort_by_key(|name| match name.kind() {
            UnitKind::Socket => 0,
            UnitKind::Path | UnitKind::Timer => 1,
            _ => 2,
        });
        if start.is_empty() {
            let folders = self.started.join(", ");
            return Err(format!(
                "{folders}: no unit to start there (units end in .service, .socket, .target)"
            ));
        }
        Ok(start)
    }
}

/// Whether a drop-in that was given up at a line is newer than all that were applied whole: systemd counts
/// it as not read.
fn has_newer_broken(config: &Config, files: &[FileIdentity]) -> bool {
    let is_broken = |path: &str| {
        // None counts where the unit is refused.
        if config.load == LoadState::BadSetting {
            return true;
        }
        let mut found = config.diagnostics.iter().filter(|d| d.level == Level::Error);
        found.any(|d| *d.place.file == *path)
    };
    let modified = |path: &str| {
        let file = files.iter().find(|file| *file.path == *path);
        file.and_then(|file| file.version.as_ref()).map(|version| version.modified_ns)
    };
    let drop_ins = || load::drop_ins(config).into_iter();
    let read = drop_ins().filter(|path| !is_broken(path)).filter_map(|path| modified(path)).max();
    drop_ins().any(|path| is_broken(path) && modified(path) > read)
}

/// Whose units they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// The system's.
    System,
    /// A user's own.
    User,
    /// Those of a folder that is run by itself.
    Folder,
}

/// The units that a run may load.
pub struct Units {
    folders: Vec<String>,
    whose: Whose,
    path: Arc<UnitPath>,
    /// The folders as they were at the scan.
    scanned: Vec<Option<Version>>,
    environs: Environs,
    machine: bool,
    /// What is known of unit files' states and presets since the scan.
    file_states: BTreeMap<UnitName, (String, String)>,
    install: InstallPaths,
    /// Makes unit files, before a reload scans the folders: generators.
    pub before_scan: Option<Box<dyn FnMut() -> Vec<Box<str>>>>,
    /// What environment generators said, as NAME=VALUE.
    pub generated: Vec<Box<str>>,
    reading: Reading,
    /// Units that are being read before they are asked for.
    ahead: Option<Ahead>,
}

impl Units {
    /// Looks anew at which unit files there are, as a reload does: what makes unit files is run first. All
    /// units that are known are to be read then, but for those that are unchanged.
    pub fn refresh(&mut self) {
        if let Some(before_scan) = &mut self.before_scan {
            self.generated = before_scan();
        }
        self.rescan();
        self.reading.begins();
    }

    /// Whether reading a unit again, after [`Units::refresh`], would show what it showed when it was read:
    /// then that can be left out.
    pub fn is_unchanged(&self, config: &Config, files: &[FileIdentity]) -> bool {
        let mounts = self.machine && needs_mounts(config);
        !mounts && self.reading.is_unchanged(&self.path, config, files)
    }

    /// Looks anew at which unit files there are.
    pub fn rescan(&mut self) {
        // First the moment, then the look: what changes meanwhile is seen the next time.
        self.file_states.clear();
        self.scanned = self.versions();
        // What was read ahead was found by the former look.
        self.ahead = None;
        self.path = Arc::new(UnitPath::scan(&DiskFiles, &self.folders));
        let mut environs = environs(self.whose);
        if self.whose != Whose::Folder {
            let config = system_config(self.whose, &environs);
            environs.system = Some(Arc::new(config));
        }
        self.reading.others |= environs != self.environs;
        self.environs = environs;
    }

    /// Looks anew at the files of one unit, one of which we made or removed in this folder.
    pub fn look_at(&mut self, name: &UnitName, folder: &Path) {
        self.file_states.remove(name);
        // What others do to the folder meanwhile is seen by the next reload.
        let changed = self.folders.iter().position(|known| Path::new(known) == folder);
        if let Some(scanned) = changed.and_then(|at| self.scanned.get_mut(at)) {
            *scanned = version(folder);
        }
        self.ahead = None;
        Arc::make_mut(&mut self.path).look_at(&DiskFiles, name);
    }

    fn versions(&self) -> Vec<Option<Version>> {
        self.folders.iter().map(|folder| version(Path::new(folder))).collect()
    }

    /// Where operations on unit files look and make links, and what specifiers stand for.
    pub fn install(&self) -> (InstallPaths, Environs) {
        (self.install.clone(), self.environs.clone())
    }

    /// UnitFileState and UnitFilePreset of a unit, as they were when they were first asked for since the
    /// last scan.
    pub fn file_state(&mut self, unit: &UnitName) -> (String, String) {
        if let Some(known) = self.file_states.get(unit) {
            return known.clone();
        }
        let state = state_of(unit, &self.install, &self.environs);
        self.file_states.insert(unit.clone(), state.clone());
        state
    }

    /// Unit files changed.
    pub fn forget_file_states(&mut self) {
        self.file_states.clear();
    }

    /// The folders of unit files, first the ones that win.
    pub fn folders(&self) -> Vec<String> {
        self.path.folders().iter().map(|folder| folder.to_string()).collect()
    }

    /// Reads a unit's files. Where a folder changed since the scan, all are looked for anew, so that a new
    /// unit file or drop-in of what wasn't loaded needs no reload.
    pub fn load(&mut self, name: &UnitName) -> (Config, Vec<FileIdentity>) {
        // What is read ahead was looked for only just before.
        let ahead = self.ahead.is_some();
        if !ahead && !self.path.is_beside_unchanged(&DiskFiles, name) {
            self.rescan();
        }
        let (config, files) = self.read_in_turn(name);
        if (ahead && config.load != LoadState::NotFound) || self.versions() == self.scanned {
            return (config, files);
        }
        self.rescan();
        self.read(name)
    }

    /// Whether files that a unit was loaded from are newer or gone, or it would have other drop-ins now;
    /// systemctl(1), "daemon-reload". Content is not compared.
    pub fn is_stale(&self, config: &Config, files: &[FileIdentity]) -> bool {
        let newer = |file: &FileIdentity| {
            let modified = |version: &Version| version.modified_ns;
            let now = version(Path::new(&*file.path));
            now.is_none() || now.as_ref().map(modified) > file.version.as_ref().map(modified)
        };
        if config.load == LoadState::Masked {
            return config
                .sources
                .first()
                .is_some_and(|mask| DiskFiles.read(&mask.path).map_or(true, |content| !content.is_empty()));
        }
        if files.iter().any(newer) {
            return true;
        }
        if has_newer_broken(config, files) {
            return true;
        }
        let now = || self.path.drop_ins_now(&DiskFiles, config.id(), &config.aliases);
        let then = load::drop_ins(config).into_iter().map(|path| &**path);
        config.load == LoadState::Loaded && !then.eq(now().iter().map(String::as_str))
    }

    /// Whether the unit's file is one that a client made.
    pub fn is_transient(&self, folders: &LiveFolders, name: &UnitName) -> bool {
        self.path.folder_of(name).is_some_and(|folder| Path::new(folder) == folders.transient)
    }

    /// Reads a unit's files, of those that there were at the last scan.
    pub fn read(&self, name: &UnitName) -> (Config, Vec<FileIdentity>) {
        self.complete(ahead::read(&self.path, &self.environs, name), name)
    }

    /// The same, where these units will be asked for next, in this order: they are read by two threads.
    /// Nothing is lost where there can be none.
    pub fn will_be_asked_for(&mut self, names: Vec<UnitName>) {
        if std::thread::available_parallelism().is_ok_and(|n| n.get() > 1) {
            self.read_ahead(names, ahead::STACK);
        }
    }

    fn read_ahead(&mut self, names: Vec<UnitName>, stack: usize) {
        self.ahead = Ahead::begin(self.path.clone(), self.environs.clone(), names, stack).ok();
    }

    /// Whether units are being read before they are asked for.
    pub fn is_reading_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    fn read_in_turn(&mut self, name: &UnitName) -> (Config, Vec<FileIdentity>) {
        // Whatever else is asked for ends it: nobody relies on that it is not.
        self.ahead.take_if(|ahead| !ahead.is_next(name));
        let Some(read) = self.ahead.as_mut().and_then(Ahead::take_next) else { return self.read(name) };
        self.ahead.take_if(|ahead| ahead.is_over());
        self.complete(read, name)
    }

    /// Adds what no file says.
    fn complete(&self, read: Read, name: &UnitName) -> (Config, Vec<FileIdentity>) {
        let Read { mut config, files, since_ns } = read;
        self.reading.was_read(config.id(), &files, since_ns);
        if config.load == LoadState::NotFound && BUILT_IN.contains(&name.as_str()) {
            config.load = LoadState::Loaded;
            config.description = "built in: there is no file for it".into();
            config.flags.allow_isolate = true;
            config.flags.default_dependencies = false;
        }
        if self.machine {
            self.add_machine(&mut config);
        }
        (config, files)
    }

    /// What no file says: devices, what is mounted, and which mounts the unit's paths need.
    fn add_machine(&self, config: &mut Config) {
        let missing = config.load == LoadState::NotFound;
        let name = config.id().clone();
        let built_in = match name.kind() {
            UnitKind::Swap if missing => {
                swaps::read().0.contains(&name).then(|| swap::of_active(&name)).flatten()
            }
            UnitKind::Mount if missing => mount::path_of(&name).and_then(|at| {
                let shown =
                    |m: &mountinfo::Mounted| m.at == at && !mountinfo::is_api(&m.at) && !m.is_automount();
                let mounted = mountinfo::read().into_iter().rev().find(shown)?;
                mount::of_mounted(&name, &mounted.what, &mounted.kind, &mounted.options)
            }),
            _ => None,
        };
        if let Some(built_in) = built_in {
            *config = built_in;
        }
        if !needs_mounts(config) || config.load != LoadState::Loaded {
            return;
        }
        let mounted = mountinfo::read();
        let shown = |m: &&mountinfo::Mounted| !mountinfo::is_api(&m.at) && !m.is_automount();
        let mounted: Vec<_> = mounted.iter().filter(shown).collect();
        let is_mounted =
            |name: &UnitName| mount::path_of(name).is_some_and(|at| mounted.iter().any(|m| m.at == at));
        mount::add_mounts(config, |name| match self.path.resolve(name) {
            Some(_) => Some(true),
            None if is_mounted(name) => Some(false),
            None => None,
        });
    }

    fn names_in(&self, folders: &[String]) -> Vec<UnitName> {
        let mut names: Vec<UnitName> = Vec::new();
        for folder in folders {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                names.extend(entry.file_name().to_str().and_then(UnitName::new));
            }
        }
        names.sort();
        names.dedup();
        names
    }

    /// What was wrong with the folders themselves, and with system.conf.
    pub fn diagnostics(&self) -> impl Iterator<Item = &hence_unit::Diagnostic> {
        let system = self.system().into_iter().flat_map(|s| &s.diagnostics);
        self.path.diagnostics().iter().chain(system)
    }

    /// Settings of the whole, where the system's units are run.
    pub fn system(&self) -> Option<&SystemConfig> {
        self.environs.system.as_deref()
    }
}

/// Whether the unit's dependencies follow from what is mounted, too.
fn needs_mounts(config: &Config) -> bool {
    !config.requires_mounts_for.is_empty() || config.id().kind() == UnitKind::Mount
}

/// system.conf, or of an ordinary user's instance user.conf.
fn system_config(whose: Whose, environs: &Environs) -> SystemConfig {
    if whose != Whose::User && rustix::process::geteuid().is_root() {
        return system::parse(&conf_files("systemd/system.conf", "systemd/system.conf.d"), environs);
    }
    let mut files = conf_files("systemd/user.conf", "systemd/user.conf.d");
    let own = format!("{}/systemd/user.conf", environs.configuration_root);
    if let Ok(bytes) = DiskFiles.read(&own) {
        // In place of the one for all users.
        files.retain(|(path, _)| !path.ends_with("/user.conf"));
        files.insert(0, (Text::from(own.as_str()), String::from_utf8_lossy(&bytes).into_owned()));
    }
    system::parse(&files, environs)
}

/// system.conf and the files beside it, first those that yield: the main file of the first folder that has
/// one, then drop-ins by their names, of which the one in the first folder hides the others.
pub(crate) fn conf_files(file: &str, folder: &str) -> Vec<(Text, String)> {
    const ROOTS: [&str; 5] = ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"];
    let read = |path: &Path| {
        let bytes = DiskFiles.read(path.to_str()?).ok()?;
        Some((Text::from(path.to_str()?), String::from_utf8_lossy(&bytes).into_owned()))
    };
    let mut found: Vec<(Text, String)> = Vec::new();
    found.extend(ROOTS.iter().find_map(|root| read(&Path::new(root).join(file))));
    let mut drop_ins: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for root in ROOTS {
        for entry in std::fs::read_dir(Path::new(root).join(folder)).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "conf") {
                drop_ins.entry(entry.file_name()).or_insert_with(|| entry.path());
            }
        }
    }
    found.extend(drop_ins.values().filter_map(|path| read(path)));
    found
}

pub(crate) fn with_user_roots<T>(paths: impl Fn(&UserRoots<'_>) -> T) -> T {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| v.starts_with('/'));
    let home = variable("HOME").unwrap_or_else(|| "/".into());
    let (runtime, config_home, config_dirs, data_home, data_dirs) = (
        variable("XDG_RUNTIME_DIR"),
        variable("XDG_CONFIG_HOME"),
        variable("XDG_CONFIG_DIRS"),
        variable("XDG_DATA_HOME"),
        variable("XDG_DATA_DIRS"),
    );
    paths(&UserRoots {
        home: &home,
        runtime: runtime.as_deref(),
        config_home: config_home.as_deref(),
        config_dirs: config_dirs.as_deref(),
        data_home: data_home.as_deref(),
        data_dirs: data_dirs.as_deref(),
    })
}

/// What specifiers stand for in units of the system.
pub fn system_environs() -> Environs {
    environs(Whose::System)
}

/// What specifiers stand for here.
fn environs(whose: Whose) -> Environs {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let system = rustix::system::uname();
    let name = |s: &std::ffi::CStr| s.to_string_lossy().into_owned();
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let root = uid == 0 && whose != Whose::User;
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let home = variable("HOME", if uid == 0 { "/root" } else { "/" });
    let under = |var: &str, below: &str, system: &str| {
        if root { system.to_owned() } else { variable(var, &format!("{home}/{below}")) }
    };
    let release = os_release();
    let field =
        |key: &str| release.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default();
    Environs {
        user: whose != Whose::System,
        user_instance: whose == Whose::User,
        host_name: name(system.nodename()),
        machine_id: read("/etc/machine-id"),
        boot_id: read("/proc/sys/kernel/random/boot_id").replace('-', ""),
        kernel_release: name(system.release()),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "x86-64".into(),
            "aarch64" => "arm64".into(),
            other => other.into(),
        },
        user_name: variable("USER", if uid == 0 { "root" } else { "" }),
        uid,
        group_name: if gid == 0 { "root".into() } else { gid.to_string() },
        gid,
        shell: std::env::var("SHELL").ok().or_else(|| shell_of(uid)).unwrap_or_else(|| "/bin/sh".into()),
        runtime_root: if root { "/run".into() } else { variable("XDG_RUNTIME_DIR", "/tmp") },
        state_root: under("XDG_STATE_HOME", ".local/state", "/var/lib"),
        cache_root: under("XDG_CACHE_HOME", ".cache", "/var/cache"),
        logs_root: if root {
            "/var/log".into()
        } else {
            format!("{}/log", under("XDG_STATE_HOME", ".local/state", ""))
        },
        configuration_root: under("XDG_CONFIG_HOME", ".config", "/etc"),
        tmp: variable("TMPDIR", "/tmp"),
        var_tmp: variable("TMPDIR", "/var/tmp"),
        os_release: ["ID", "VERSION_ID", "BUILD_ID", "VARIANT_ID", "IMAGE_ID", "IMAGE_VERSION"].map(field),
        home,
        ..Environs::default()
    }
}

/// The login shell that /etc/passwd has for a user. Name services are not asked: they may hang.
fn shell_of(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let shell = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let of = fields.next()?.parse::<u32>().ok()?;
        fields.nth(3).filter(|shell| of == uid && shell.starts_with('/')).map(str::to_owned)
    };
    text.lines().find_map(shell)
}

fn os_release() -> Vec<(String, String)> {
    let text =
        ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|p| std::fs::read_to_string(p).ok());
    let line = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
    };
    text.unwrap_or_default().lines().filter_map(line).collect()
}
