//! Rows of systemd.kill(5): how processes are ended. Nothing is killed here.

use super::{
    Row, Sections, Take,
    Take::Act,
    row,
    typed::{choice, flag, kill, parsed},
};
use crate::{config::KillMode, value};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Sections::KILL, "systemd.kill(5)", take, doc)
}

const MODES: &[(&str, KillMode)] = &[
    ("control-group", KillMode::ControlGroup),
    ("process", KillMode::Process),
    ("mixed", KillMode::Mixed),
    ("none", KillMode::None),
];

pub(super) const ROWS: &[Row] = &[
    r(
        "KillMode",
        Act(|l, a| choice(l, a, kill, MODES, |k, v| k.mode = v)),
        "Which processes of the unit are ended when it stops.",
    ),
    r(
        "KillSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.signal = v)),
        "The first signal of a stop.",
    ),
    r(
        "RestartKillSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.restart_signal = Some(v))),
        "The first signal of a stop that is part of a restart.",
    ),
    r(
        "FinalKillSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.final_signal = v)),
        "The last signal of a stop.",
    ),
    r(
        "WatchdogSignal",
        Act(|l, a| parsed(l, a, kill, (value::signal, value::SIGNAL), |k, v| k.watchdog_signal = v)),
        "The signal after the watchdog or an abort.",
    ),
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
