//! Rows of [Slice] alone; systemd.slice(5). What it shares with other kinds is in `resource`.

use super::{Row, Section, Shape, Take, Take::Keep, row};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Slice.only(), "systemd.slice(5)", take, doc)
}

const ANY: Shape = Shape::UnsignedOr(u32::MAX as u64, "infinity");

pub(super) const ROWS: &[Row] = &[
    r("ConcurrencySoftMax", Keep(ANY), "How many units may be active below it before others wait.")
        .since(258),
    r("ConcurrencyHardMax", Keep(ANY), "How many units may be active below it before others fail.")
        .since(258),
    r("ActivatingConcurrencyMax", Keep(ANY), "How many units below it may be starting at a time.").since(262),
];
