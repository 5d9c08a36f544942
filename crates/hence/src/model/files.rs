//! Unit files as they lie in their folders, and whether they are enabled; systemctl(1), "is-enabled". It
//! reads files when a client asks and remembers nothing.

use hence_bus::front::UnitFileView;
use hence_unit::{Config, LoadState, SourceRole, UnitName, syntax};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Longest unit file that is looked into, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// What `[Install]` asks for.
#[derive(Default)]
struct Install {
    /// Units whose folders get a link, with the folder's suffix.
    wanted_by: Vec<(String, &'static str)>,
    aliases: Vec<String>,
    also: bool,
}

impl Install {
    fn is_empty(&self) -> bool {
        self.wanted_by.is_empty() && self.aliases.is_empty()
    }
}

/// UnitFileState of a loaded unit; empty where it has no file.
pub fn state_of(config: &Config, folders: &[String]) -> String {
    let Some(fragment) = config.sources.iter().find(|source| source.role == SourceRole::Fragment) else {
        return String::new();
    };
    if config.load == LoadState::Masked {
        return masked(&fragment.path).into();
    }
    let words = |list: &[Box<str>], suffix| list.iter().map(move |unit| (unit.to_string(), suffix)).collect();
    let mut wanted_by: Vec<(String, &'static str)> = words(&config.install.wanted_by, "wants");
    wanted_by.extend::<Vec<_>>(words(&config.install.required_by, "requires"));
    wanted_by.extend::<Vec<_>>(words(&config.install.upheld_by, "upholds"));
    let aliases = config.install.alias.iter().map(|alias| alias.to_string()).collect();
    let install = Install { wanted_by, aliases, also: !config.install.also.is_empty() };
    state(&fragment.path, config.id(), &install, folders).into()
}

fn masked(path: &str) -> &'static str {
    if path.starts_with("/run/") { "masked-runtime" } else { "masked" }
}

fn state(path: &str, name: &UnitName, install: &Install, folders: &[String]) -> &'static str {
    if path.starts_with("/run/systemd/transient/") {
        return "transient";
    }
    if path.split('/').any(|part| part.starts_with("generator")) {
        return "generated";
    }
    let linked = |folder: &String| {
        let names = [Some(name.clone()), name.template()];
        let wanted = install.wanted_by.iter().any(|(unit, suffix)| {
            let folder = Path::new(folder).join(format!("{unit}.{suffix}"));
            names.iter().flatten().any(|name| folder.join(name.as_str()).is_symlink())
        });
        wanted || install.aliases.iter().any(|alias| Path::new(folder).join(alias).is_symlink())
    };
    match folders.iter().find(|folder| linked(folder)) {
        Some(folder) if folder.starts_with("/run/") => "enabled-runtime",
        Some(_) => "enabled",
        None if !install.is_empty() => "disabled",
        None if install.also => "indirect",
        None => "static",
    }
}

/// A unit file by its name, in the first folder that has it.
pub fn find(folders: &[String], name: &str) -> Option<UnitFileView> {
    let unit = UnitName::new(name)?;
    let names = [Some(unit.clone()), unit.template()];
    let paths = names.iter().flatten().flat_map(|name| folders.iter().map(move |f| format!("{f}/{name}")));
    paths.into_iter().find(|path| Path::new(path).symlink_metadata().is_ok()).map(|path| {
        let state = state_in(&path, &unit, folders).into();
        UnitFileView { path, state }
    })
}

/// All unit files, each where it wins.
pub fn all(folders: &[String]) -> Vec<UnitFileView> {
    let mut found: BTreeMap<UnitName, String> = BTreeMap::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let Some(name) = entry.file_name().to_str().and_then(UnitName::new) else { continue };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_folder {
                found.entry(name.clone()).or_insert_with(|| format!("{folder}/{name}"));
            }
        }
    }
    let view = |(name, path): (UnitName, String)| {
        let state = state_in(&path, &name, folders).into();
        UnitFileView { path, state }
    };
    found.into_iter().map(view).collect()
}

/// The unit that `default.target` leads to.
pub fn default_target(folders: &[String]) -> Option<String> {
    let path = folders.iter().map(|folder| Path::new(folder).join("default.target"));
    let path = path.into_iter().find(|path| path.symlink_metadata().is_ok())?;
    let target = fs::read_link(&path).unwrap_or(path);
    target.file_name()?.to_str().map(str::to_owned)
}

/// The state of a file that is not loaded.
fn state_in(path: &str, name: &UnitName, folders: &[String]) -> &'static str {
    if let Ok(target) = fs::read_link(path) {
        let end = fs::canonicalize(path);
        return match (target.to_str(), target.file_name()) {
            _ if end.as_deref().is_ok_and(|end| end == Path::new("/dev/null")) => masked(path),
            // A link within the folders under another name is an alias; to anywhere else, a linked file.
            (_, Some(file)) if file != name.as_str() => "alias",
            (Some(target), _) if folders.iter().any(|folder| target.starts_with(&**folder)) => "alias",
            _ if path.starts_with("/run/") => "linked-runtime",
            _ => "linked",
        };
    }
    match fs::metadata(path) {
        Ok(about) if about.is_file() && about.len() == 0 => return masked(path),
        Ok(about) if about.is_file() && about.len() <= FILE_MAX => {}
        _ => return "bad",
    }
    let Ok(text) = fs::read_to_string(path) else { return "bad" };
    let mut install = Install::default();
    for assignment in syntax::parse(&path.into(), &text).0 {
        if &*assignment.section != "Install" {
            continue;
        }
        let words = assignment.value.split_whitespace().map(str::to_owned);
        match &*assignment.key {
            "WantedBy" => install.wanted_by.extend(words.map(|unit| (unit, "wants"))),
            "RequiredBy" => install.wanted_by.extend(words.map(|unit| (unit, "requires"))),
            "UpheldBy" => install.wanted_by.extend(words.map(|unit| (unit, "upholds"))),
            "Alias" => install.aliases.extend(words),
            "Also" => install.also = true,
            _ => {}
        }
    }
    state(path, name, &install, folders)
}
