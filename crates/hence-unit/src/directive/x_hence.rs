//! Rows of [X-Hence], the section that systemd ignores and hence reads.

use super::{Row, Section, Take::Act, row, typed::flag, typed::unit};

pub(super) const ROWS: &[Row] = &[row(
    "LeftBehindAllowed",
    Section::XHence.only(),
    "hence.unit(5)",
    Act(|l, a| flag(l, a, unit, |c, v| c.flags.left_behind_allowed = v)),
    "Processes that outlive this unit are intended and are not reported as left behind.",
)];
