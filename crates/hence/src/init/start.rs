//! Before units run: the machine is set up, and it is found out what is to be brought up.

use super::Boot;
use crate::cli::LedgerOption;
use crate::cli::init::{Init, runlevel};
use hence_engine::Role;
use hence_host::machine;
use hence_host::machine::generators::Scope;
use hence_host::store::default_ledger;
use std::path::{Path, PathBuf};

/// Sets the machine up.
pub fn boot(init: &Init) -> Boot {
    let (place, mut notes) = machine::set_up();
    notes.extend(machine::runtime_folders());
    let (id, said) = machine::machine_id(&place);
    notes.extend(said);
    notes.extend(machine::missing_rights(&place));
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let by_id = id == machine::MachineId::Made { first_boot: true };
    let first_boot = by_kernel(&place, &line, "systemd.condition-first-boot").unwrap_or(by_id);
    let mut presets = Vec::new();
    if first_boot {
        notes.extend(machine::note_first_boot());
        let (changed, said) = super::first_boot::presets();
        presets = changed;
        notes.extend(said);
    }
    of_place(init, place, first_boot, notes, presets)
}

/// Where an earlier program has set the machine up already.
pub fn again(init: &Init) -> Boot {
    let place = machine::Place::find();
    of_place(init, place, false, Vec::new(), Vec::new())
}

fn of_place(
    init: &Init,
    place: machine::Place,
    first_boot: bool,
    mut notes: Vec<String>,
    presets: Vec<hence_unit::install::Step>,
) -> Boot {
    let (environment, said) = crate::run::generate(Scope::System, &place, first_boot);
    notes.extend(said);
    let role = if place.is_machine() { Role::Machine } else { Role::Container };
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    // The kernel's command line is the host's business in a container.
    let by_kernel = if place.is_machine() { asked_by_kernel(&line) } else { None };
    let unit = init.unit.clone().or(by_kernel).unwrap_or_else(|| "default.target".into());
    let unit = if unit.contains('.') { unit } else { format!("{unit}.target") };
    Boot { place, role, unit, environment, presets, notes }
}

/// What the kernel's command line says of a switch: alone it is on; kernel-command-line(7).
fn by_kernel(place: &machine::Place, line: &str, name: &str) -> Option<bool> {
    let value = |word: &str| match word.strip_prefix(name)? {
        "" => Some(true),
        rest => hence_unit::value::boolean(rest.strip_prefix('=')?),
    };
    line.split_whitespace().filter(|_| place.is_machine()).filter_map(value).next_back()
}

/// `systemd.unit=`, or a word such as `single`; kernel-command-line(7). The last one wins.
fn asked_by_kernel(line: &str) -> Option<String> {
    let word = |word: &str| match word.strip_prefix("systemd.unit=") {
        Some(unit) => Some(unit.to_owned()),
        None => runlevel(word).map(str::to_owned),
    };
    line.split_whitespace().filter_map(word).next_back()
}

/// The ledger, or where that can't be written yet, one in /run: a root that is still read-only must not keep
/// the system from coming up.
pub fn ledger(asked: &LedgerOption, notes: &mut Vec<String>) -> LedgerOption {
    let wanted = asked.ledger.clone().unwrap_or_else(default_ledger);
    if is_writable(&wanted) {
        return LedgerOption { ledger: Some(wanted) };
    }
    let instead = PathBuf::from("/run/hence/ledger");
    notes.push(format!(
        "the ledger {} can't be written; this boot's is {} and is lost when the machine goes down",
        wanted.display(),
        instead.display()
    ));
    LedgerOption { ledger: Some(instead) }
}

fn is_writable(ledger: &Path) -> bool {
    let made = std::fs::create_dir_all(ledger);
    made.is_ok() && rustix::fs::access(ledger, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_command_line_names_the_unit() {
        assert_eq!(asked_by_kernel("root=/dev/vda ro quiet"), None);
        assert_eq!(asked_by_kernel("ro single").as_deref(), Some("rescue.target"));
        assert_eq!(asked_by_kernel("single systemd.unit=a.target").as_deref(), Some("a.target"));
    }
}
