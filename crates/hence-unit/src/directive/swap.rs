//! Rows of [Swap]; systemd.swap(5). Their values are kept as text, of which
//! `crate::swap` makes the commands when all files of a unit were applied.

use super::{Row, Section, Shape, Take, Take::Keep, row};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Swap.only(), "systemd.swap(5)", take, doc)
}

pub(super) const ROWS: &[Row] = &[
    r("What", Keep(Shape::Path), "The device or file that is swapped to."),
    r("Priority", Keep(Shape::Between(-1, 32767)), "The priority among swap spaces."),
    r("Options", Keep(Shape::TextOrDefault), "Options of the swap space."),
    r("TimeoutSec", Keep(Shape::Span), "How long swapon and swapoff may take."),
];
