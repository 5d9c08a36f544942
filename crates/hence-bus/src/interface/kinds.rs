//! The interface of each kind of unit. The kinds with a table of a few rows have it here; what more they have
//! to show comes with the snapshot.

use super::row::{Group, rows};
use super::service::LIMITS;
use super::slice::{METHODS, RESOURCES};
use super::{Interface, configured, scope, service, slice, socket, target, timer};
use crate::front::UnitView;
use hence_unit::UnitKind;

static RESULT: Group<UnitView> = rows!(UnitView, [live("Result", "s", |v| v.result.into())]);

static PATH: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Path",
    properties: &[&RESULT, &configured::PATH],
    methods: &[],
    signals: &[],
};
static MOUNT: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Mount",
    properties: &[
        &RESULT,
        &RESOURCES,
        &LIMITS,
        &configured::MOUNT,
        &configured::EXECUTION_OF_OTHERS,
        &configured::EXECUTION,
        &configured::RESOURCES,
    ],
    methods: &[&METHODS],
    signals: &[],
};
static AUTOMOUNT: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Automount",
    properties: &[&RESULT, &configured::AUTOMOUNT],
    methods: &[],
    signals: &[],
};
static SWAP: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Swap",
    properties: &[
        &RESULT,
        &RESOURCES,
        &LIMITS,
        &configured::SWAP,
        &configured::EXECUTION_OF_OTHERS,
        &configured::EXECUTION,
        &configured::RESOURCES,
    ],
    methods: &[&METHODS],
    signals: &[],
};
static DEVICE: Interface<UnitView> =
    Interface { name: "org.freedesktop.systemd1.Device", properties: &[], methods: &[], signals: &[] };

/// The interface of a kind.
pub fn interface(kind: UnitKind) -> &'static Interface<UnitView> {
    match kind {
        UnitKind::Service => &service::INTERFACE,
        UnitKind::Socket => &socket::INTERFACE,
        UnitKind::Target => &target::INTERFACE,
        UnitKind::Slice => &slice::INTERFACE,
        UnitKind::Timer => &timer::INTERFACE,
        UnitKind::Path => &PATH,
        UnitKind::Mount => &MOUNT,
        UnitKind::Automount => &AUTOMOUNT,
        UnitKind::Swap => &SWAP,
        UnitKind::Device => &DEVICE,
        UnitKind::Scope => &scope::INTERFACE,
    }
}
