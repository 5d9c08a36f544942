//! Rows of [X-Hence], the section that systemd ignores and hence reads.

use super::{
    Row, Section,
    Take::Act,
    row,
    typed::{choice, flag, unit},
};

pub(super) const ROWS: &[Row] = &[
    row(
        "LeftBehindAllowed",
        Section::XHence.only(),
        "hence.unit(5)",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.left_behind_allowed = v)),
        "Processes that outlive this unit are intended and are not reported as left behind.",
    ),
    row(
        "Sandbox",
        Section::XHence.only(),
        "hence.unit(5)",
        Act(|l, a| {
            let words = &[("required", false), ("best-effort", true)];
            choice(l, a, unit, words, |c, v| c.flags.sandbox_best_effort = v)
        }),
        "Whether the unit starts without what of its sandbox the kernel refuses.",
    ),
];
