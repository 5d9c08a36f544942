//! org.freedesktop.systemd1.Slice, and the rows of resources that every kind with a cgroup shares.

use super::{Interface, Method, Property, Turn, method, or_max, quiet, text};
use crate::front::{Model, ProcessView, UnitView};
use crate::wire::Value;

/// The interface.
pub const INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Slice",
    properties: &[RESOURCES],
    methods: METHODS,
    signals: &[],
};

/// What cgroups tell and limit.
pub const RESOURCES: &[Property<UnitView>] = &[
    quiet("Slice", "s", |v| text(&v.cgroup.slice)),
    quiet("ControlGroup", "s", |v| text(&v.cgroup.control_group)),
    quiet("MemoryCurrent", "t", |v| or_max(v.cgroup.memory_current)),
    quiet("CPUUsageNSec", "t", |v| or_max(v.cgroup.cpu_usage_ns)),
    quiet("TasksCurrent", "t", |v| or_max(v.cgroup.tasks_current)),
    quiet("Delegate", "b", |v| v.cgroup.delegate.into()),
    quiet("CPUAccounting", "b", |v| v.cgroup.accounting.into()),
    quiet("CPUWeight", "t", |v| or_max(v.cgroup.cpu_weight)),
    quiet("CPUQuotaPerSecUSec", "t", |v| or_max(v.cgroup.cpu_quota_us)),
    quiet("MemoryAccounting", "b", |v| v.cgroup.accounting.into()),
    quiet("MemoryMin", "t", |v| v.cgroup.memory_min.into()),
    quiet("MemoryLow", "t", |v| v.cgroup.memory_low.into()),
    quiet("MemoryHigh", "t", |v| or_max(v.cgroup.memory_high)),
    quiet("MemoryMax", "t", |v| or_max(v.cgroup.memory_max)),
    quiet("MemorySwapMax", "t", |v| or_max(v.cgroup.memory_swap_max)),
    quiet("TasksAccounting", "b", |v| v.cgroup.accounting.into()),
    quiet("TasksMax", "t", |v| or_max(v.cgroup.tasks_max)),
];

/// What every kind with a cgroup answers.
pub const METHODS: &[Method] = &[method("GetProcesses", "", "a(sus)", |c| {
    let unit = c.own_unit()?;
    Ok(Turn::Reply(vec![processes(c.model, &unit)]))
})];

/// `a(sus)` of a unit.
pub(super) fn processes(model: &mut dyn Model, unit: &str) -> Value {
    let row = |p: ProcessView| Value::Struct(vec![p.cgroup.into(), p.pid.into(), p.command.into()]);
    Value::array("(sus)", model.processes(unit).into_iter().map(row).collect())
}
