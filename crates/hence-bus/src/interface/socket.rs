//! org.freedesktop.systemd1.Socket.

use super::row::{Group, rows};
use super::service::LIMITS;
use super::shown::{Shown, text};
use super::slice::{METHODS, RESOURCES};
use super::{Interface, configured, owned};
use crate::front::UnitView;
use crate::wire::Value;

/// The interface.
pub static INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Socket",
    properties: &[
        &OWN,
        &RESOURCES,
        &LIMITS,
        &configured::SOCKET,
        &configured::EXECUTION_OF_OTHERS,
        &configured::EXECUTION,
        &configured::RESOURCES,
    ],
    methods: &[&METHODS],
    signals: &[],
};

static OWN: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("Accept", "b", |v| v.socket.accept.into()),
        fixed("Listen", "a(ss)", listen),
        live("ControlPID", "u", |v| v.socket.control_pid.into()),
        live("Result", "s", |v| v.result.into()),
        quiet("NConnections", "u", |v| v.socket.n_connections.into()),
        quiet("NAccepted", "u", |v| v.socket.n_accepted.into()),
        quiet("NRefused", "u", |v| v.socket.n_refused.into()),
        quiet("FileDescriptorName", "s", |v| text(&v.socket.descriptor_name)),
    ]
);

fn listen(view: &UnitView) -> Shown<'_> {
    let row = |(kind, address): &(&'static str, String)| Value::Struct(vec![(*kind).into(), owned(address)]);
    Value::array("(ss)", view.socket.listen.iter().map(row).collect()).into()
}
