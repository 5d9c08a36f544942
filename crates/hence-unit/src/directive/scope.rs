//! Rows of [Scope]; systemd.scope(5). Scopes come from clients, which also say what processes they have.

use super::{
    Row, Section, Shape, Take,
    Take::{Act, Keep},
    row,
    typed::{scope, span, timeout},
};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Scope.only(), "systemd.scope(5)", take, doc)
}

pub(super) const ROWS: &[Row] = &[
    r(
        "RuntimeMaxSec",
        Act(|l, a| span(l, a, scope, |s, us| s.runtime_max = us)),
        "How long the scope may exist.",
    )
    .since(244),
    r("RuntimeRandomizedExtraSec", Keep(Shape::Span), "A random time that is added to RuntimeMaxSec=.")
        .since(250),
    r(
        "TimeoutStopSec",
        Act(|l, a| timeout(l, a, scope, |s, us| s.timeout_stop = us)),
        "How long its processes may take to end.",
    ),
    r("OOMPolicy", Keep(Shape::Words(&["continue", "stop", "kill"])), "What happens when memory runs out.")
        .since(251),
];
