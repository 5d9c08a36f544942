//! Rows of [Scope]; systemd.scope(5). Scope units are loaded and shown, not acted on.

use super::{Row, Section, Shape, Take, Take::Keep, row};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Scope.only(), "systemd.scope(5)", take, doc)
}

pub(super) const ROWS: &[Row] = &[
    r("RuntimeMaxSec", Keep(Shape::Span), "How long the scope may exist.").since(244),
    r("RuntimeRandomizedExtraSec", Keep(Shape::Span), "A random time that is added to RuntimeMaxSec=.")
        .since(250),
    r("TimeoutStopSec", Keep(Shape::Span), "How long its processes may take to end."),
    r("OOMPolicy", Keep(Shape::Words(&["continue", "stop", "kill"])), "What happens when memory runs out.")
        .since(251),
];
