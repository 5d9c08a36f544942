//! Rows of [Automount]; systemd.automount(5). Their values are kept as text, which `crate::automount`
//! reads when all files of a unit were applied.

use super::{Row, Section, Shape, Take, Take::Keep, row};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Automount.only(), "systemd.automount(5)", take, doc)
}

pub(super) const ROWS: &[Row] = &[
    r("Where", Keep(Shape::Path), "The mount point."),
    r("ExtraOptions", Keep(Shape::TextOrDefault), "Further options of the autofs mount.").since(250),
    r("DirectoryMode", Keep(Shape::Mode), "The mode of folders that are created for the mount point."),
    r("TimeoutIdleSec", Keep(Shape::Span), "After how long without use it is unmounted.").since(220),
];
