//! org.freedesktop.systemd1.Socket.

use super::service::LIMITS;
use super::slice::{METHODS, RESOURCES};
use super::{Interface, Property, configured, fixed, live, quiet, text};
use crate::front::UnitView;
use crate::wire::Value;

/// The interface.
pub const INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Socket",
    properties: &[
        OWN,
        RESOURCES,
        LIMITS,
        configured::SOCKET,
        configured::EXECUTION_OF_OTHERS,
        configured::EXECUTION,
        configured::RESOURCES,
    ],
    methods: METHODS,
    signals: &[],
};

const OWN: &[Property<UnitView>] = &[
    fixed("Accept", "b", |v| v.socket.accept.into()),
    fixed("Listen", "a(ss)", listen),
    live("ControlPID", "u", |v| v.socket.control_pid.into()),
    live("Result", "s", |v| v.result.into()),
    quiet("NConnections", "u", |v| v.socket.n_connections.into()),
    quiet("NAccepted", "u", |v| v.socket.n_accepted.into()),
    quiet("NRefused", "u", |v| v.socket.n_refused.into()),
    quiet("FileDescriptorName", "s", |v| text(&v.socket.descriptor_name)),
];

fn listen(view: &UnitView) -> Value {
    let row = |(kind, address): &(&'static str, String)| Value::Struct(vec![(*kind).into(), text(address)]);
    Value::array("(ss)", view.socket.listen.iter().map(row).collect())
}
