//! org.freedesktop.systemd1.Scope.

use super::slice::{self, RESOURCES};
use super::{Interface, Method, Property, Turn, configured, fixed, live, method, text};
use crate::front::{Command, UnitView};

/// The interface.
pub const INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Scope",
    properties: &[ROWS, RESOURCES, KILL, configured::SCOPE, configured::RESOURCES],
    methods: METHODS,
    signals: &[("RequestStop", "")],
};

const ROWS: &[Property<UnitView>] = &[
    live("Controller", "s", |v| text(&v.scope.controller)),
    fixed("TimeoutStopUSec", "t", |v| v.scope.timeout_stop_us.into()),
    live("Result", "s", |v| v.result.into()),
    fixed("RuntimeMaxUSec", "t", |v| v.scope.runtime_max_us.into()),
];

const KILL: &[Property<UnitView>] = &[
    fixed("KillMode", "s", |v| v.scope.kill_mode.into()),
    fixed("KillSignal", "i", |v| v.scope.kill_signal.into()),
    fixed("SendSIGKILL", "b", |v| v.scope.send_sigkill.into()),
    fixed("SendSIGHUP", "b", |v| v.scope.send_sighup.into()),
];

const METHODS: &[Method] = &[
    method("Abandon", "", "", |c| Ok(Turn::Ask(Command::Abandon { unit: c.own_unit()? }))),
    slice::PROCESSES,
    slice::ATTACH,
];
