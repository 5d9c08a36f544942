//! Unit files for clients: their states, and what is asked to be done with them; systemctl(1), "Unit File
//! Commands". It reads files when a client asks and remembers nothing.

use super::Runtime;
use hence_bus::front::{Answer, Command, ErrorName, FileChange, FileVerb, Refusal, UnitFileView};
use hence_host::DiskFiles;
use hence_ledger::{Client, Verb};
use hence_unit::{
    UnitName,
    config::Environs,
    install::{Failure, Fault, Install, InstallPaths, Options, Outcome, Presets},
};

/// The refusal that a client is told.
fn refusal(failure: Failure) -> Refusal {
    let name = failure.name.and_then(|name| {
        let full =
            |error: &&ErrorName| error.as_str().strip_prefix("org.freedesktop.systemd1.") == Some(name);
        ErrorName::ALL.iter().find(full).copied()
    });
    let name = name.unwrap_or(match failure.fault {
        Fault::NotFound => ErrorName::FileNotFound,
        Fault::Invalid => ErrorName::InvalidArgs,
        Fault::Unreadable => ErrorName::AccessDenied,
        Fault::NoFolder => ErrorName::NotSupported,
        _ => ErrorName::Failed,
    });
    if failure.fault == Fault::NoFolder {
        let text = "This hence has no folder for links that the next boot forgets (--runtime).";
        return Refusal::new(name, text);
    }
    Refusal::new(name, failure.text)
}

fn fault_refusal(fault: Fault) -> Refusal {
    refusal(Failure { fault, name: None, text: fault.description().into() })
}

/// UnitFileState and UnitFilePreset of a unit.
pub fn state_of(name: &UnitName, paths: &InstallPaths, environs: &Environs) -> (String, String) {
    let state = Install::new(&DiskFiles, paths, environs).state(name);
    let preset = Presets::of(&DiskFiles, paths).state(name);
    (state.map_or(String::new(), |state| state.as_str().into()), preset.into())
}

/// The state of a unit file.
pub fn state(name: &str, runtime: &dyn Runtime) -> Result<String, Refusal> {
    let (paths, environs) = runtime.install();
    let state = Install::new(&DiskFiles, &paths, &environs).state(name);
    state.map(|state| state.as_str().into()).map_err(fault_refusal)
}

/// All unit files, each where it wins.
pub fn all(runtime: &dyn Runtime) -> Vec<UnitFileView> {
    let (paths, environs) = runtime.install();
    let listed = Install::new(&DiskFiles, &paths, &environs).list();
    listed.into_iter().map(|(path, state)| UnitFileView { path, state: state.as_str().into() }).collect()
}

/// The links that disabling a unit would remove.
pub fn links(name: &str, only_runtime: bool, runtime: &dyn Runtime) -> Result<Vec<String>, Refusal> {
    let (paths, environs) = runtime.install();
    let options = Options { runtime: only_runtime, ..Options::default() };
    let links = Install::new(&DiskFiles, &paths, &environs).links(name, options);
    links.map_err(|outcome| outcome.failure().map_or(fault_refusal(Fault::Invalid), refusal))
}

/// The unit that default.target leads to.
pub fn default_target(runtime: &dyn Runtime) -> Result<String, Refusal> {
    let (paths, environs) = runtime.install();
    let target = Install::new(&DiskFiles, &paths, &environs).default_target();
    target.map_err(fault_refusal)
}

/// What a command comes to: the verb, the names that it was about.
fn decide<'c>(command: &'c Command, install: &mut Install<'_>) -> Option<(Verb, &'c [String], Outcome)> {
    Some(match command {
        Command::UnitFiles { verb, names, options, mode } => {
            let (word, outcome) = match verb {
                FileVerb::Enable => (Verb::Enable, install.enable(names, *options)),
                FileVerb::Disable => (Verb::Disable, install.disable(names, *options)),
                FileVerb::Reenable => (Verb::Reenable, install.reenable(names, *options)),
                FileVerb::Preset => (Verb::Preset, install.preset(names, *options, *mode)),
                FileVerb::PresetAll => (Verb::Preset, install.preset_all(*options, *mode)),
                FileVerb::Mask => (Verb::Mask, install.mask(names, *options)),
                FileVerb::Unmask => (Verb::Unmask, install.unmask(names, *options)),
                FileVerb::Link => (Verb::Link, install.link(names, *options)),
                FileVerb::Revert => (Verb::Revert, install.revert(names)),
            };
            (word, names, outcome)
        }
        Command::AddDependency { names, target, required, options } => {
            let outcome = install.add_dependency(names, target, *required, *options);
            (Verb::AddDependency, names, outcome)
        }
        Command::SetDefaultTarget { unit, force } => {
            let outcome = install.set_default(unit, Options { force: *force, ..Options::default() });
            (Verb::SetDefault, std::slice::from_ref(unit), outcome)
        }
        _ => return None,
    })
}

/// Does what a client asks for with unit files. The answer, and whether anything changed.
pub fn change(
    command: &Command,
    client: Client,
    runtime: &mut dyn Runtime,
) -> (Result<Answer, Refusal>, bool) {
    let (paths, environs) = runtime.install();
    let decided = decide(command, &mut Install::new(&DiskFiles, &paths, &environs));
    let Some((verb, names, outcome)) = decided else { return (Err(fault_refusal(Fault::Invalid)), false) };
    let changes = !outcome.steps.is_empty();
    if changes {
        let name = |name: &String| UnitName::new(name.rsplit('/').next().unwrap_or(name));
        let units: Vec<UnitName> = names.iter().filter_map(name).collect();
        if let Err(refusal) = runtime.change_files(client, verb, &units, (&paths, &outcome.steps)) {
            return (Err(refusal), true);
        }
    }
    if let Some(failure) = outcome.failure() {
        return (Err(refusal(failure)), changes);
    }
    let installable = outcome.result == Ok(true);
    let change = |change: hence_unit::install::Change| {
        let kind = change.kind.word()?;
        Some(FileChange { kind, path: change.path, source: change.source.unwrap_or_default() })
    };
    let changed = outcome.changes.into_iter().filter_map(change).collect();
    (Ok(Answer::Files { installable, changes: changed }), changes)
}
