//! org.freedesktop.systemd1.Scope.

use super::row::{Group, rows};
use super::shown::text;
use super::slice::{self, RESOURCES};
use super::{Interface, Methods, Turn, configured, method::methods};
use crate::front::{Command, UnitView};

/// The interface.
pub static INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Scope",
    properties: &[&ROWS, &RESOURCES, &KILL, &configured::SCOPE, &configured::RESOURCES],
    methods: &[&METHODS, &slice::METHODS],
    signals: &[("RequestStop", "")],
};

static ROWS: Group<UnitView> = rows!(
    UnitView,
    [
        live("Controller", "s", |v| text(&v.scope.controller)),
        fixed("TimeoutStopUSec", "t", |v| v.scope.timeout_stop_us.into()),
        live("Result", "s", |v| v.result.into()),
        fixed("RuntimeMaxUSec", "t", |v| v.scope.runtime_max_us.into()),
    ]
);

static KILL: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("KillMode", "s", |v| v.scope.kill_mode.into()),
        fixed("KillSignal", "i", |v| v.scope.kill_signal.into()),
        fixed("SendSIGKILL", "b", |v| v.scope.send_sigkill.into()),
        fixed("SendSIGHUP", "b", |v| v.scope.send_sighup.into()),
    ]
);

static METHODS: Methods =
    methods!([method("Abandon", "", "", |c| Ok(Turn::Ask(Command::Abandon { unit: c.own_unit()? }))),]);
