//! Rows of systemd.kill(5): how processes are ended. Nothing is killed here.

use super::{
    Loading, Outcome, Row, Sections, Take,
    Take::Act,
    row,
    typed::{choice, flag, kill, parsed, put},
};
use crate::{config::KillMode, syntax::Assignment, value};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Sections::KILL, "systemd.kill(5)", take, doc)
}

/// A mode; an empty value is the default.
fn mode(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, kill, |k| k.mode = KillMode::default());
        return Outcome::Reset;
    }
    choice(loading, assignment, kill, KillMode::WORDS, |k, v| k.mode = v)
}

pub(super) const ROWS: &[Row] = &[
    r("KillMode", Act(mode), "Which processes of the unit are ended when it stops."),
    r(
        "KillSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.signal = v)),
        "The first signal of a stop.",
    ),
    r(
        "RestartKillSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.restart_signal = Some(v))),
        "The first signal of a stop that is part of a restart.",
    )
    .since(244),
    r(
        "FinalKillSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.final_signal = v)),
        "The last signal of a stop.",
    ),
    r(
        "WatchdogSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.watchdog_signal = v)),
        "The signal after the watchdog or an abort.",
    )
    .since(240),
    r(
        "SendSIGKILL",
        Act(|l, a| flag(l, a, kill, |k, v| k.send_sigkill = v)),
        "Whether processes that outlive the timeout get FinalKillSignal=.",
    ),
    r(
        "SendSIGHUP",
        Act(|l, a| flag(l, a, kill, |k, v| k.send_sighup = v)),
        "Whether SIGHUP follows KillSignal= at once.",
    ),
];
