//! Rows of [Path]; systemd.path(5). Nothing is watched here.

use super::{
    Loading, Outcome, Row, Section, Take,
    Take::Act,
    row,
    typed::{flag, number, parsed, path_unit, put, single_unit, span},
};
use crate::{UnitKind, syntax::Assignment, value};
use alloc::format;

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Path.only(), "systemd.path(5)", take, doc)
}

const WATCHES: [&str; 5] =
    ["PathExists", "PathExistsGlob", "PathChanged", "PathModified", "DirectoryNotEmpty"];

/// A watch; an empty value of any of them removes those of all.
fn watch(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, path_unit, |p| p.watches.clear());
        loading.forget(|name| WATCHES.contains(&name));
        return Outcome::Reset;
    }
    let Some(path) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    let kind = WATCHES.into_iter().find(|w| *w == &*assignment.key);
    let (Some(path), Some(kind)) = (value::absolute_path(&path), kind) else {
        loading.bad_value(assignment, format!("{}= takes {}", assignment.key, value::ABSOLUTE), None);
        return Outcome::Rejected;
    };
    put(loading, path_unit, |p| p.watches.push((kind, path.into())));
    Outcome::Added
}

fn unit(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let fits = |name: &crate::UnitName| name.kind() != UnitKind::Path;
    let Some(name) = single_unit(loading, assignment, fits, "a unit that is no path unit") else {
        return Outcome::Rejected;
    };
    put(loading, path_unit, |p| p.unit = Some(name));
    Outcome::Replaced
}

pub(super) const ROWS: &[Row] = &[
    r("PathExists", Act(watch), "Start the unit while this path exists."),
    r("PathExistsGlob", Act(watch), "Start the unit while a path matches this pattern."),
    r("PathChanged", Act(watch), "Start the unit when this file was changed and closed."),
    r("PathModified", Act(watch), "Start the unit whenever this file is written to."),
    r("DirectoryNotEmpty", Act(watch), "Start the unit while this folder holds something."),
    r("Unit", Act(unit), "The unit that is started."),
    r(
        "MakeDirectory",
        Act(|l, a| flag(l, a, path_unit, |p, v| p.make_directory = v)),
        "Create the folders that are watched.",
    ),
    r(
        "DirectoryMode",
        Act(|l, a| parsed(l, a, path_unit, (value::mode, value::MODE), |p, v| p.directory_mode = v)),
        "The mode of folders that MakeDirectory= creates.",
    ),
    r(
        "TriggerLimitIntervalSec",
        Act(|l, a| span(l, a, path_unit, |p, us| p.trigger_limit_interval = us)),
        "The time in which the unit may be started TriggerLimitBurst= times.",
    )
    .since(250),
    r(
        "TriggerLimitBurst",
        Act(|l, a| number(l, a, path_unit, |p, n| p.trigger_limit_burst = n)),
        "How often the unit may be started in TriggerLimitIntervalSec=.",
    )
    .since(250),
];
