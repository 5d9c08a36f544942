//! The first boot of a root: units are enabled as the presets say, before any is loaded; machine-id(5),
//! "First boot semantics", and systemd.preset(5). Like systemd 252, it enables and does not disable.

use crate::units;
use hence_host::{DiskFiles, change_unit_files};
use hence_unit::config::Environs;
use hence_unit::install::{Install, InstallPaths, Options, PresetMode, Step};

/// Applies all presets. What was changed, to be recorded, and what went wrong, in sentences.
pub fn presets() -> (Vec<Step>, Vec<String>) {
    let paths = InstallPaths::system();
    let environs: Environs = units::system_environs();
    let mut install = Install::new(&DiskFiles, &paths, &environs);
    let outcome = install.preset_all(Options::default(), PresetMode::EnableOnly);
    let mut notes = Vec::new();
    if let Err(fault) = outcome.result {
        notes.push(format!("the presets can't be applied: {}", fault.description()));
    }
    let folders: Vec<String> = paths.persistent.iter().cloned().collect();
    match change_unit_files(&outcome.steps, &folders) {
        Ok(()) => (outcome.steps, notes),
        Err(error) => {
            notes.push(format!("the presets can't be applied: {error}"));
            (Vec::new(), notes)
        }
    }
}
