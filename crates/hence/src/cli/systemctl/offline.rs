//! Unit files where no hence or systemd runs: in a folder that will be a root, in a chroot, in an image.

use super::files::Changed;
use super::{Args, Failed, exit_status};
use crate::units::with_user_roots;
use hence_host::{DiskFiles, change_unit_files};
use hence_unit::config::Environs;
use hence_unit::install::{Install, InstallPaths, Options, Outcome, PresetMode, Presets, Step};
use hence_unit::unit_path::{Entry, FileError, Files, UnitPath};
use hence_unit::{SourceRole, UnitName};

/// Whether the environment says so, or we are in a chroot.
pub fn is_offline() -> bool {
    match std::env::var("SYSTEMD_OFFLINE").as_deref() {
        Ok("1" | "yes" | "true" | "on") => return true,
        Ok("0" | "no" | "false" | "off") => return false,
        _ => {}
    }
    if std::env::var("SYSTEMD_IGNORE_CHROOT").is_ok_and(|v| ["1", "yes", "true", "on"].contains(&&*v)) {
        return false;
    }
    let of = |path: &str| rustix::fs::stat(path).ok().map(|s| (s.st_dev, s.st_ino));
    match (of("/proc/1/root"), of("/")) {
        (Some(first), Some(own)) => first != own,
        _ => false,
    }
}

/// Whether a verb about unit files is to ask nobody.
pub fn wanted(args: &Args) -> bool {
    args.root.is_some() || is_offline()
}

/// The files below a folder.
struct Below(String);

impl Files for Below {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        DiskFiles.list(&format!("{}{folder}", self.0))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        // A link's target counts from the root, too.
        let mut at = path.to_owned();
        for _ in 0..16 {
            let Some(target) = DiskFiles.link(&format!("{}{at}", self.0)) else { break };
            at = match target.strip_prefix('/') {
                Some(_) => target,
                None => format!("{}/{target}", at.rsplit_once('/').map_or("", |(folder, _)| folder)),
            };
        }
        if at == "/dev/null" {
            return Ok(Vec::new());
        }
        DiskFiles.read(&format!("{}{at}", self.0))
    }

    fn link(&self, path: &str) -> Option<String> {
        DiskFiles.link(&format!("{}{path}", self.0))
    }
}

struct Place {
    files: Below,
    paths: InstallPaths,
    environs: Environs,
}

fn place(args: &Args) -> Place {
    let root = args.root.as_ref().map_or(String::new(), |root| root.to_string_lossy().into_owned());
    let root = if root.is_empty() || root.starts_with('/') {
        root
    } else {
        std::path::absolute(&root).map_or(root, |path| path.to_string_lossy().into_owned())
    };
    let paths = match (args.global, args.user) {
        (true, _) => of_all_users(),
        (false, true) => with_user_roots(InstallPaths::user),
        (false, false) => InstallPaths::system(),
    };
    let environs = Environs { user: args.user, ..Environs::default() };
    Place { files: Below(root.trim_end_matches('/').to_owned()), paths, environs }
}

/// The folders that hold for the units of all users.
fn of_all_users() -> InstallPaths {
    let all = with_user_roots(InstallPaths::user);
    let of_all = |path: &String| ["/etc/", "/run/", "/usr/", "/lib/"].iter().any(|top| path.starts_with(top));
    let own = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let keep = |paths: Vec<String>| {
        let paths = paths.into_iter().filter(|path| of_all(path));
        paths.filter(|path| own.is_empty() || !path.starts_with(&own)).collect()
    };
    InstallPaths {
        search: keep(all.search),
        persistent: Some("/etc/systemd/user".into()),
        runtime: Some("/run/systemd/user".into()),
        control: Vec::new(),
        attached: Vec::new(),
        transient: None,
        generators: Vec::new(),
        presets: all.presets,
        global: Vec::new(),
    }
}

impl Place {
    fn install(&self) -> Install<'_> {
        Install::new(&self.files, &self.paths, &self.environs)
    }

    /// The path on this machine of one below the root.
    fn real(&self, path: &str) -> String {
        format!("{}{path}", self.files.0)
    }

    fn real_step(&self, step: &Step) -> Step {
        let mut step = step.clone();
        match &mut step {
            Step::Unlink { path, below } => {
                *path = self.real(path);
                if let Some(below) = below {
                    *below = self.real(below);
                }
            }
            Step::Link { path, .. } | Step::RemoveAll { path } => *path = self.real(path),
        }
        step
    }
}

/// The state of a unit file, or why it has none.
pub fn state(args: &Args, unit: &str) -> Result<String, String> {
    let place = place(args);
    let state = place.install().state(unit);
    state.map(|state| state.as_str().to_owned()).map_err(|fault| fault.description().to_owned())
}

/// The files of a unit, the fragment first; a unit that is masked has none.
pub struct Sources {
    /// As they are called below the root.
    pub fragment: Option<String>,
    /// In their order.
    pub drop_ins: Vec<String>,
}

/// Where a unit's files are, found in the folders.
pub fn sources(args: &Args, unit: &UnitName) -> Sources {
    let place = place(args);
    let index = UnitPath::scan(&place.files, &place.paths.search);
    let config = hence_unit::load(&index, &place.files, &place.environs, unit);
    let of = |role: SourceRole| config.sources.iter().filter(move |source| source.role == role);
    let fragment = of(SourceRole::Fragment).next().map(|source| source.path.to_string());
    Sources { fragment, drop_ins: of(SourceRole::DropIn).map(|source| source.path.to_string()).collect() }
}

/// The text of a file below the root, links followed there.
pub fn read(args: &Args, path: &str) -> Result<Vec<u8>, String> {
    place(args).files.read(path).map_err(|error| match error {
        FileError::NotFound => "No such file or directory".to_owned(),
        FileError::Unreadable(text) => text,
    })
}

/// The path on this machine of one below the root.
pub fn real(args: &Args, path: &str) -> String {
    place(args).real(path)
}

/// The unit that default.target leads to.
pub fn default_target(args: &Args) -> Result<String, Failed> {
    place(args).install().default_target().map_err(|fault| {
        Failed(exit_status::FAILURE, format!("Failed to get default target: {}", fault.description()))
    })
}

/// All unit files: path, state, preset.
pub fn list(args: &Args) -> Vec<(String, String, Option<String>)> {
    let place = place(args);
    let presets = Presets::of(&place.files, &place.paths);
    let row = |(path, state): (String, hence_unit::install::UnitFileState)| {
        let name = path.rsplit('/').next().and_then(UnitName::new);
        (path, state.as_str().to_owned(), name.map(|name| presets.state(&name).to_owned()))
    };
    place.install().list().into_iter().map(row).collect()
}

/// Carries a verb out.
pub fn change(args: &Args, names: &[String]) -> Result<Changed, Failed> {
    let place = place(args);
    let options = Options { runtime: args.runtime, force: args.force > 0, portable: false };
    let mode = match args.preset_mode.as_str() {
        "full" => PresetMode::Full,
        "enable-only" => PresetMode::EnableOnly,
        "disable-only" => PresetMode::DisableOnly,
        mode => return Err(Failed(exit_status::FAILURE, format!("Failed to parse preset mode: {mode}."))),
    };
    let mut install = place.install();
    let outcome: Outcome = match args.verb.as_str() {
        "enable" => install.enable(names, options),
        "disable" => install.disable(names, options),
        "reenable" => install.reenable(names, options),
        "preset" => install.preset(names, options, mode),
        "preset-all" => install.preset_all(options, mode),
        "mask" => install.mask(names, options),
        "unmask" => install.unmask(names, options),
        "link" => install.link(names, options),
        "revert" => install.revert(names),
        "set-default" => install.set_default(&names[0], Options { force: true, ..options }),
        verb => install.add_dependency(&names[1..], &names[0], verb == "add-requires", options),
    };
    if let Some(failure) = outcome.failure() {
        let what = match args.verb.as_str() {
            "set-default" => "set default target".to_owned(),
            "add-wants" | "add-requires" => "add dependency".to_owned(),
            verb => format!("{verb} unit"),
        };
        let absent =
            failure.text.strip_prefix("Unit file ").filter(|text| text.ends_with(" does not exist."));
        let text = match (absent, args.verb.as_str()) {
            (Some(unit), "set-default") => format!("Failed to set default unit, unit {unit}"),
            (Some(unit), "add-wants" | "add-requires") => {
                format!("Failed to add dependency on unit, unit {unit}")
            }
            (Some(unit), verb) => format!("Failed to {verb} unit, unit {unit}"),
            (None, _) => format!("Failed to {what}: {}", failure.text),
        };
        return Err(Failed(exit_status::FAILURE, text));
    }
    let paths = &place.paths;
    let folders = paths.search.iter().chain(&paths.persistent).chain(&paths.runtime).chain(&paths.control);
    let folders: Vec<String> = folders.map(|folder| place.real(folder)).collect();
    let steps: Vec<Step> = outcome.steps.iter().map(|step| place.real_step(step)).collect();
    change_unit_files(&steps, &folders)
        .map_err(|error| Failed(exit_status::FAILURE, format!("Failed to {}: {error}", args.verb)))?;
    let asks = ["enable", "disable", "reenable"].contains(&args.verb.as_str());
    let rows = outcome.changes.iter().filter_map(|change| {
        let word = change.kind.word()?.to_owned();
        let (path, source) = (change.path.clone(), change.source.clone().unwrap_or_default());
        Some(match word.as_str() {
            "symlink" | "unlink" => (word, place.real(&path), source),
            _ if source.starts_with('/') => (word, path, place.real(&source)),
            _ => (word, path, source),
        })
    });
    Ok(Changed { install: outcome.result.ok().filter(|_| asks), rows: rows.collect() })
}
