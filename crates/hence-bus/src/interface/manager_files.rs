//! org.freedesktop.systemd1.Manager: the methods about unit files. It looks at no file.

use super::manager::matches_any;
use super::{Call, Turn};
use crate::front::{Command, FileVerb, Refusal};
use crate::wire::Value;

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
    let name = call.unit_name(0)?;
    Ok(Turn::Reply(vec![call.model.unit_file_state(&name)?.into()]))
}

pub(super) fn set_default(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    Ok(Turn::Ask(Command::SetDefaultTarget { unit: call.unit_name(0)?, force: call.truth(1) }))
}

/// Names, runtime, force.
fn files(call: &Call<'_>, verb: FileVerb) -> Result<Turn, Refusal> {
    let (names, runtime, force) = (call.texts(0), call.truth(1), call.truth(2));
    Ok(Turn::Ask(Command::UnitFiles { verb, names, runtime, force }))
}

pub(super) fn enable(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Enable)
}

pub(super) fn disable(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Disable)
}

pub(super) fn reenable(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Reenable)
}

pub(super) fn preset(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Preset)
}

pub(super) fn link(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Link)
}

pub(super) fn mask(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Mask)
}

pub(super) fn unmask(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Unmask)
}

pub(super) fn revert(call: &mut Call<'_>) -> Result<Turn, Refusal> {
    files(call, FileVerb::Revert)
}
