//! Rows of [Mount]; systemd.mount(5). Their values are kept as text, of which `crate::mount`
//! makes the commands when all files of a unit were applied.

use super::{Row, Section, Shape, Take, Take::Keep, row};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Mount.only(), "systemd.mount(5)", take, doc)
}

pub(super) const ROWS: &[Row] = &[
    r("What", Keep(Shape::TextOrDefault), "The device or other source that is mounted."),
    r("Where", Keep(Shape::Path), "The mount point."),
    r("Type", Keep(Shape::TextOrDefault), "The type of the file system."),
    r("Options", Keep(Shape::TextOrDefault), "Mount options."),
    r("SloppyOptions", Keep(Shape::Boolean), "Tolerate unknown mount options.").since(215),
    r("LazyUnmount", Keep(Shape::Boolean), "Detach the file system even while it is in use.").since(232),
    r("ReadWriteOnly", Keep(Shape::Boolean), "Fail rather than mount read-only.").since(246),
    r("ForceUnmount", Keep(Shape::Boolean), "Force the unmount of an unreachable file system.").since(232),
    r("DirectoryMode", Keep(Shape::Mode), "The mode of folders that are created for the mount point."),
    r("TimeoutSec", Keep(Shape::Span), "How long mounting and unmounting may take."),
];
