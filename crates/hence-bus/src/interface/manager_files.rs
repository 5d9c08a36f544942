//! org.freedesktop.systemd1.Manager: the methods about unit files. It looks at no file.

use super::manager::matches_any;
use super::{Call, Turn};
use crate::front::{Command, ErrorName, FileVerb, Refusal};
use crate::wire::Value;
use hence_unit::{
    UnitName,
    install::{Options, PresetMode},
};

/// Links that the next boot forgets, in the flags of the methods that take some.
const RUNTIME: u64 = 1;
/// Links that are in the way are replaced.
const FORCE: u64 = 2;
/// Links of portable services.
const PORTABLE: u64 = 4;

/// `a(ss)` of the unit files in one of the states, whose names match one of the patterns.
pub(super) fn list(call: &mut Call<'_>, states: &[String], patterns: &[String]) -> Result<Turn, Refusal> {
    let mut files = call.model.unit_files();
    files.retain(|file| {
        let name = file.path.rsplit('/').next().unwrap_or("");
        (states.is_empty() || states.contains(&file.state)) && matches_any(patterns, name)
    });
    let rows = files.into_iter().map(|file| Value::Struct(vec![file.path.into(), file.state.into()]));
    Ok(Turn::Reply(vec![Value::array("(ss)", rows.collect())]))
}

pub(super) fn state(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    let name = call.text(0).to_owned();
    if UnitName::new(&name).is_none() {
        return Err(Refusal::new(ErrorName::InvalidArgs, "Invalid argument"));
    }
    Ok(Turn::Reply(vec![call.model.unit_file_state(&name)?.into()]))
}

pub(super) fn links(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    let name = call.unit_name(0)?;
    let links = call.model.unit_file_links(&name, call.truth(1))?;
    Ok(Turn::Reply(vec![Value::strings(links)]))
}

pub(super) fn set_default(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    Ok(Turn::Ask(Command::SetDefaultTarget { unit: call.unit_name(0)?, force: call.truth(1) }))
}

/// Names, runtime, and force where `forces`.
fn files(call: &Call<'_>, verb: FileVerb, forces: bool) -> Result<Turn, Refusal> {
    let force = forces && call.truth(2);
    let options = Options { runtime: call.truth(1), force, portable: false };
    Ok(Turn::Ask(Command::UnitFiles { verb, names: call.texts(0), options, mode: PresetMode::Full }))
}

/// Names, flags.
fn flagged(call: &Call<'_>, verb: FileVerb) -> Result<Turn, Refusal> {
    let flags = match call.arguments.get(1) {
        Some(Value::Uint64(flags)) if flags & !(RUNTIME | FORCE | PORTABLE) == 0 => *flags,
        _ => return Err(Refusal::new(ErrorName::InvalidArgs, "Invalid argument")),
    };
    let has = |flag| flags & flag != 0;
    let options = Options { runtime: has(RUNTIME), force: has(FORCE), portable: has(PORTABLE) };
    Ok(Turn::Ask(Command::UnitFiles { verb, names: call.texts(0), options, mode: PresetMode::Full }))
}

pub(super) fn enable(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Enable, true)
}

pub(super) fn enable_flagged(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    flagged(call, FileVerb::Enable)
}

pub(super) fn disable(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Disable, false)
}

pub(super) fn disable_flagged(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    flagged(call, FileVerb::Disable)
}

pub(super) fn reenable(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Reenable, true)
}

pub(super) fn preset(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Preset, true)
}

fn mode(text: &str) -> Result<PresetMode, Refusal> {
    match text {
        "" | "full" => Ok(PresetMode::Full),
        "enable-only" => Ok(PresetMode::EnableOnly),
        "disable-only" => Ok(PresetMode::DisableOnly),
        _ => Err(Refusal::new(ErrorName::InvalidArgs, "Invalid argument")),
    }
}

/// Names, mode, runtime, force.
pub(super) fn preset_mode(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    let options = Options { runtime: call.truth(2), force: call.truth(3), portable: false };
    let (names, mode) = (call.texts(0), mode(call.text(1))?);
    Ok(Turn::Ask(Command::UnitFiles { verb: FileVerb::Preset, names, options, mode }))
}

/// Mode, runtime, force.
pub(super) fn preset_all(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    let options = Options { runtime: call.truth(1), force: call.truth(2), portable: false };
    let mode = mode(call.text(0))?;
    Ok(Turn::Ask(Command::UnitFiles { verb: FileVerb::PresetAll, names: Vec::new(), options, mode }))
}

pub(super) fn link(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Link, true)
}

pub(super) fn mask(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Mask, true)
}

pub(super) fn unmask(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Unmask, false)
}

pub(super) fn revert(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Revert, false)
}

/// Names, target, `Wants` or `Requires`, runtime, force.
pub(super) fn add_dependency(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    let required = match call.text(2) {
        "Wants" => false,
        "Requires" => true,
        _ => return Err(Refusal::new(ErrorName::InvalidArgs, "Invalid argument")),
    };
    let options = Options { runtime: call.truth(3), force: call.truth(4), portable: false };
    let (names, target) = (call.texts(0), call.text(1).to_owned());
    Ok(Turn::Ask(Command::AddDependency { names, target, required, options }))
}
