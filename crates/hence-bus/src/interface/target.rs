//! org.freedesktop.systemd1.Target: nothing beyond what all units have.

use super::Interface;
use crate::front::UnitView;

/// The interface.
pub static INTERFACE: Interface<UnitView> =
    Interface { name: "org.freedesktop.systemd1.Target", properties: &[], methods: &[], signals: &[] };
