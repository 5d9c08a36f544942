//! What systemctl(1) does to unit files: enable, disable, preset, mask, link, revert and so on, and the state
//! that each is in. Answers are lists of changes, for people, and of steps, for the host.
//!
//! Nothing is changed here: files are read through [`Files`], and what an operation decides first is seen by
//! what it decides next. No loaded unit is looked at.

mod apply;
mod preset;
mod remove;
mod state;
mod subject;
mod tree;
mod verbs;

pub use preset::{Presets, Verdict};
pub use state::UnitFileState;

use crate::{
    config::Environs,
    unit_path::{Files, UserRoots, system_folders, user_folders},
};
use alloc::{format, string::String, vec::Vec};
use core::fmt;
use tree::{Tree, split};

/// The folders that unit files are searched in, and what some of them are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallPaths {
    /// All, first the ones that win.
    pub search: Vec<String>,
    /// Where links are made.
    pub persistent: Option<String>,
    /// Where links are made that the next boot forgets.
    pub runtime: Option<String>,
    /// The folders of settings that were made by `set-property`.
    pub control: Vec<String>,
    /// The folders of portable services: persistent, then until the next boot.
    pub attached: Vec<String>,
    /// The folder of units that were made without a file.
    pub transient: Option<String>,
    /// The folders that generators write to.
    pub generators: Vec<String>,
    /// The folders of preset files, first the ones that win; systemd.preset(5).
    pub presets: Vec<String>,
    /// Further folders whose links mean that a unit is enabled: those that hold for all users.
    pub global: Vec<String>,
}

impl InstallPaths {
    /// Those of the system's units.
    pub fn system() -> InstallPaths {
        let of = |paths: &[&str]| paths.iter().map(|path| String::from(*path)).collect::<Vec<_>>();
        InstallPaths {
            search: system_folders(),
            persistent: Some("/etc/systemd/system".into()),
            runtime: Some("/run/systemd/system".into()),
            control: of(&["/etc/systemd/system.control", "/run/systemd/system.control"]),
            attached: of(&["/etc/systemd/system.attached", "/run/systemd/system.attached"]),
            transient: Some("/run/systemd/transient".into()),
            generators: of(&[
                "/run/systemd/generator.early",
                "/run/systemd/generator",
                "/run/systemd/generator.late",
            ]),
            presets: of(&[
                "/etc/systemd/system-preset",
                "/run/systemd/system-preset",
                "/usr/local/lib/systemd/system-preset",
                "/usr/lib/systemd/system-preset",
                "/lib/systemd/system-preset",
            ]),
            global: Vec::new(),
        }
    }

    /// Those of a user's units.
    pub fn user(roots: &UserRoots<'_>) -> InstallPaths {
        let config = roots.config_home.map_or_else(|| format!("{}/.config", roots.home), String::from);
        let runtime = |name: &str| roots.runtime.map(|root| format!("{root}/systemd/{name}"));
        let dirs = roots.config_dirs.unwrap_or("/etc/xdg").split(':').filter(|dir| !dir.is_empty());
        let mut global: Vec<String> = dirs.map(|dir| format!("{dir}/systemd/user")).collect();
        global.push("/etc/systemd/user".into());
        let presets = ["/etc", "/run", "/usr/local/lib", "/usr/lib"];
        InstallPaths {
            search: user_folders(roots),
            persistent: Some(format!("{config}/systemd/user")),
            runtime: runtime("user"),
            control: [Some(format!("{config}/systemd/user.control")), runtime("user.control")]
                .into_iter()
                .flatten()
                .collect(),
            attached: Vec::new(),
            transient: runtime("transient"),
            generators: ["generator.early", "generator", "generator.late"]
                .into_iter()
                .filter_map(runtime)
                .collect(),
            presets: presets.map(|root| format!("{root}/systemd/user-preset")).into(),
            global,
        }
    }

    /// Those of a run of folders: links are made in the first one, and there are no presets.
    pub fn folders(search: Vec<String>) -> InstallPaths {
        InstallPaths { persistent: search.first().cloned(), search, ..InstallPaths::default() }
    }

    fn is_config(&self, folder: &str) -> bool {
        [&self.persistent, &self.runtime].into_iter().flatten().any(|config| config == folder)
    }

    fn is_generator(&self, folder: &str) -> bool {
        self.generators.iter().any(|generator| generator == folder)
    }

    fn is_transient(&self, folder: &str) -> bool {
        self.transient.as_deref() == Some(folder)
    }

    fn is_runtime(&self, folder: &str) -> bool {
        let runtime = self.runtime.as_deref() == Some(folder) || self.is_transient(folder);
        let control = self.control.get(1).is_some_and(|control| control == folder);
        folder.starts_with("/run/") || runtime || control || self.is_generator(folder)
    }

    fn is_vendor(&self, folder: &str) -> bool {
        self.is_generator(folder) || folder.starts_with("/usr/") || folder == "/lib/systemd/system"
    }

    /// Whether a file lies directly in one of the folders.
    fn holds(&self, path: &str) -> bool {
        self.search.iter().any(|folder| folder == split(path).0)
    }
}

/// Why an operation on a unit file fails; systemd has an errno for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// ENOENT: no such unit file.
    NotFound,
    /// EEXIST: something else stands at the place of a link.
    Exists,
    /// ERFKILL: the unit is masked.
    Masked,
    /// EADDRNOTAVAIL: the unit was made by a generator, or has no file of its own.
    Generated,
    /// ELOOP: the name is that of a link, where a file is needed.
    Linked,
    /// EXDEV: a unit of this name can't be an alias of the other.
    BadAlias,
    /// EUCLEAN: not the name of a unit.
    BadName,
    /// EIDRM: a template can't be a dependency of a unit without an instance.
    NotTemplate,
    /// ENOLINK: a link leads to nothing.
    Dangling,
    /// EBADSLT: an unknown specifier.
    BadSpecifier,
    /// EINVAL: an argument that has no meaning, or a line of `[Install]` that has none.
    Invalid,
    /// EBADMSG: the file can't be parsed.
    BadFile,
    /// EISDIR: a folder where a file is needed.
    IsFolder,
    /// EBADFD: something else where a file is needed.
    NotRegular,
    /// EACCES: the file can't be read.
    Unreadable,
    /// ENXIO: there is no folder to make such links in.
    NoFolder,
}

impl Fault {
    /// The name of systemd's errno.
    pub fn errno(self) -> &'static str {
        self.row().0
    }

    /// What strerror(3) says of it.
    pub fn description(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (&'static str, &'static str) {
        match self {
            Fault::NotFound => ("ENOENT", "No such file or directory"),
            Fault::Exists => ("EEXIST", "File exists"),
            Fault::Masked => ("ERFKILL", "Operation not possible due to RF-kill"),
            Fault::Generated => ("EADDRNOTAVAIL", "Cannot assign requested address"),
            Fault::Linked => ("ELOOP", "Too many levels of symbolic links"),
            Fault::BadAlias => ("EXDEV", "Invalid cross-device link"),
            Fault::BadName => ("EUCLEAN", "Structure needs cleaning"),
            Fault::NotTemplate => ("EIDRM", "Identifier removed"),
            Fault::Dangling => ("ENOLINK", "Link has been severed"),
            Fault::BadSpecifier => ("EBADSLT", "Invalid slot"),
            Fault::Invalid => ("EINVAL", "Invalid argument"),
            Fault::BadFile => ("EBADMSG", "Bad message"),
            Fault::IsFolder => ("EISDIR", "Is a directory"),
            Fault::NotRegular => ("EBADFD", "File descriptor in bad state"),
            Fault::Unreadable => ("EACCES", "Permission denied"),
            Fault::NoFolder => ("ENXIO", "No such device or address"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// What became of a link or a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A link is made.
    Symlink,
    /// A link or file is removed.
    Unlink,
    /// The unit is masked, so nothing is done with it.
    Masked,
    /// A generator masks the unit, so unmasking has no effect.
    MaskedByGenerator,
    /// The name leads to nothing.
    Dangling,
    /// The unit becomes a dependency of one that there is no file of.
    DestinationNotPresent,
    /// A unit of `Also=` can't be enabled.
    AuxiliaryFailed,
    /// It can't be done.
    Failed(Fault),
}

impl ChangeKind {
    /// systemd's word for it, where it isn't a failure.
    pub fn word(self) -> Option<&'static str> {
        Some(match self {
            ChangeKind::Symlink => "symlink",
            ChangeKind::Unlink => "unlink",
            ChangeKind::Masked => "masked",
            ChangeKind::MaskedByGenerator => "masked by generator",
            ChangeKind::Dangling => "dangling",
            ChangeKind::DestinationNotPresent => "destination not present",
            ChangeKind::AuxiliaryFailed => "auxiliary unit failed",
            ChangeKind::Failed(_) => return None,
        })
    }
}

/// One change, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub kind: ChangeKind,
    /// The link, or the unit's name or file.
    pub path: String,
    /// Where the link points, or what is in the way.
    pub source: Option<String>,
}

/// Why something failed, as clients are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong.
    pub fault: Fault,
    /// The error of org.freedesktop.systemd1, without its prefix, where it has a name there.
    pub name: Option<&'static str>,
    /// One sentence.
    pub text: String,
}

impl Change {
    /// What a client is told of a failure; `None` for what is none.
    pub fn failure(&self) -> Option<Failure> {
        let ChangeKind::Failed(fault) = self.kind else { return None };
        let path = &self.path;
        let (name, text) = match (fault, &self.source) {
            (Fault::Exists, Some(source)) => {
                ("UnitExists", format!("File {path} already exists and is a symlink to {source}."))
            }
            (Fault::Exists, None) => ("UnitExists", format!("File {path} already exists.")),
            (Fault::Masked, _) => ("UnitMasked", format!("Unit file {path} is masked.")),
            (Fault::Generated, _) => ("UnitGenerated", format!("Unit {path} is transient or generated.")),
            (Fault::Linked, _) => {
                let text = format!("Refusing to operate on alias name or linked unit file: {path}");
                ("UnitLinked", text)
            }
            (Fault::BadAlias, Some(source)) => {
                ("BadUnitSetting", format!("Cannot alias {source} as {path}."))
            }
            (Fault::BadAlias, None) => ("BadUnitSetting", format!("Invalid unit reference {path}.")),
            (Fault::NotFound, _) => ("NoSuchUnit", format!("Unit file {path} does not exist.")),
            (Fault::BadName, _) => ("BadUnitSetting", format!("\"{path}\" is not a valid unit name.")),
            (Fault::NotTemplate, _) => {
                ("BadUnitSetting", format!("Destination unit {path} is a non-template unit."))
            }
            (fault, _) => ("", format!("File {path}: {fault}")),
        };
        Some(Failure { fault, name: Some(name).filter(|name| !name.is_empty()), text })
    }
}

/// Something for the host to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a link, with the folders above it.
    Link {
        /// Where.
        path: String,
        /// Where it points.
        target: String,
        /// Whether it takes the place of one that is there.
        replace: bool,
    },
    /// Remove a file or link.
    Unlink {
        /// Which.
        path: String,
        /// The folders above it that become empty by that are removed, those below this one.
        below: Option<String>,
    },
    /// Remove a file, or a folder with all that is in it.
    RemoveAll {
        /// Which.
        path: String,
    },
}

/// What an operation comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Changes and failures, in order.
    pub changes: Vec<Change>,
    /// What is to be done for that.
    pub steps: Vec<Step>,
    /// Whether the units say in `[Install]` how they are enabled; or why it failed, in whole or in part.
    pub result: Result<bool, Fault>,
}

impl Outcome {
    /// What a client is told, where the operation failed or nothing else came of it than failures.
    pub fn failure(&self) -> Option<Failure> {
        let first = self.changes.iter().find_map(Change::failure);
        let nothing = || self.changes.iter().all(|change| change.failure().is_some());
        match self.result {
            Err(fault) => {
                first.or_else(|| Some(Failure { fault, name: None, text: fault.description().into() }))
            }
            Ok(_) if nothing() => first,
            Ok(_) => None,
        }
    }
}

/// How an operation is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Links that the next boot forgets; `--runtime`.
    pub runtime: bool,
    /// Links that are in the way are replaced; `--force`.
    pub force: bool,
    /// Links in the folders of portable services.
    pub portable: bool,
}

/// Which half of a preset is carried out; `--preset-mode=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PresetMode {
    /// Both.
    #[default]
    Full,
    /// Enabling.
    EnableOnly,
    /// Disabling.
    DisableOnly,
}

/// The unit files of a search path, for one operation or some questions. What it read once it doesn't read
/// again.
pub struct Install<'a> {
    tree: Tree<'a>,
    paths: &'a InstallPaths,
    environs: &'a Environs,
    changes: Vec<Change>,
}

impl<'a> Install<'a> {
    /// Reads nothing yet.
    pub fn new(files: &'a dyn Files, paths: &'a InstallPaths, environs: &'a Environs) -> Install<'a> {
        Install { tree: Tree::new(files), paths, environs, changes: Vec::new() }
    }

    fn note(&mut self, kind: ChangeKind, path: &str, source: Option<&str>) {
        self.changes.push(Change { kind, path: path.into(), source: source.map(String::from) });
    }

    /// Notes a failure and returns it.
    fn fail(&mut self, fault: Fault, path: &str, source: Option<&str>) -> Fault {
        self.note(ChangeKind::Failed(fault), path, source);
        fault
    }

    fn finish(&mut self, result: Result<u32, Fault>) -> Outcome {
        Outcome {
            changes: core::mem::take(&mut self.changes),
            steps: self.tree.take_steps(),
            result: result.map(|count| count > 0),
        }
    }
}
