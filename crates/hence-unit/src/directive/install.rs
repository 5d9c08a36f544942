//! Rows of [Install]; systemd.unit(5). Only enable and disable act on them; specifiers are expanded then.

use super::{Loading, Outcome, Row, Section, Take, Take::Act, row, typed};
use crate::{Config, config::Install, syntax::Assignment};
use alloc::{boxed::Box, format, vec::Vec};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Install.only(), "systemd.unit(5)", take, doc)
}

fn install(config: &mut Config) -> Option<&mut Install> {
    Some(&mut config.install)
}

/// Names as they are written: specifiers belong to the instance that is enabled.
fn names(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    list: fn(&mut Install) -> &mut Vec<Box<str>>,
) -> Outcome {
    if assignment.value.is_empty() {
        list(&mut loading.config.install).clear();
        return Outcome::Reset;
    }
    let mut taken = false;
    for word in typed::split(loading, assignment) {
        if !word.text.contains('%') && crate::UnitName::new(&word.text).is_none() {
            let column = loading.column_of(assignment, &word);
            let message = format!("{}=: {:?} is not the name of a unit", assignment.key, word.text);
            loading.bad_value_at(assignment, column, message, None);
            continue;
        }
        list(&mut loading.config.install).push(word.text.into());
        taken = true;
    }
    if taken { Outcome::Added } else { Outcome::Rejected }
}

fn default_instance(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let valid = |text: &str| {
        let odd = |c: char| !(c.is_ascii_alphanumeric() || ":-_.\\@%".contains(c));
        (!text.chars().any(odd)).then(|| Box::from(text))
    };
    let allowed = "the instance part of a unit name";
    typed::optional(loading, assignment, install, (valid, allowed), |i, v| i.default_instance = v)
}

pub(super) const ROWS: &[Row] = &[
    r("Alias", Act(|l, a| names(l, a, |i| &mut i.alias)), "Further names that enabling it links to it."),
    r("WantedBy", Act(|l, a| names(l, a, |i| &mut i.wanted_by)), "Units that want it once it is enabled."),
    r(
        "RequiredBy",
        Act(|l, a| names(l, a, |i| &mut i.required_by)),
        "Units that require it once it is enabled.",
    ),
    r("UpheldBy", Act(|l, a| names(l, a, |i| &mut i.upheld_by)), "Units that uphold it once it is enabled.")
        .since(254),
    r("Also", Act(|l, a| names(l, a, |i| &mut i.also)), "Units that are enabled and disabled with it."),
    r(
        "DefaultInstance",
        Act(default_instance),
        "The instance that is meant when a template is enabled as such.",
    )
    .since(215),
];
