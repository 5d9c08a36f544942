//! org.freedesktop.systemd1.Slice, and the rows of resources that every kind with a cgroup shares.

use super::row::{Group, rows};
use super::shown::{or_max, text};
use super::{Interface, Methods, Turn, configured, method::methods};
use crate::front::{Command, ErrorName, Model, ProcessView, Refusal, UnitView};
use crate::wire::Value;

/// The interface.
pub static INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Slice",
    properties: &[&RESOURCES, &configured::RESOURCES],
    methods: &[&METHODS],
    signals: &[],
};

/// What cgroups tell and limit.
pub static RESOURCES: Group<UnitView> = rows!(
    UnitView,
    [
        quiet("Slice", "s", |v| text(&v.cgroup.slice)),
        quiet("ControlGroup", "s", |v| text(&v.cgroup.control_group)),
        quiet("MemoryCurrent", "t", |v| or_max(v.cgroup.memory_current)),
        quiet("CPUUsageNSec", "t", |v| or_max(v.cgroup.cpu_usage_ns)),
        quiet("TasksCurrent", "t", |v| or_max(v.cgroup.tasks_current)),
        quiet("IPIngressBytes", "t", |_| or_max(None)),
        quiet("IPIngressPackets", "t", |_| or_max(None)),
        quiet("IPEgressBytes", "t", |_| or_max(None)),
        quiet("IPEgressPackets", "t", |_| or_max(None)),
        quiet("IOReadBytes", "t", |_| or_max(None)),
        quiet("IOReadOperations", "t", |_| or_max(None)),
        quiet("IOWriteBytes", "t", |_| or_max(None)),
        quiet("IOWriteOperations", "t", |_| or_max(None)),
        quiet("IPAccounting", "b", |v| v.cgroup.ip_accounting.into()),
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
    ]
);

/// What every kind with a cgroup answers: who is in its group, and what puts processes into it.
pub static METHODS: Methods = methods!([
    method("GetProcesses", "", "a(sus)", |c| {
        let unit = c.own_unit()?;
        Ok(Turn::Reply(vec![processes(c.model, &unit)]))
    }),
    method("AttachProcesses", "sau", "", |c| {
        let unit = c.own_unit()?;
        attach(unit, c.text(0), c.numbers(1))
    }),
]);

/// Processes are to be moved into a unit's group or one below it.
pub(super) fn attach(unit: String, group: &str, processes: Vec<u32>) -> Result<Turn, Refusal> {
    if !group.is_empty() && !group.starts_with('/') {
        let text = format!("Control group path is not absolute: {group}");
        return Err(Refusal::new(ErrorName::InvalidArgs, text));
    }
    if group.split('/').any(|part| part == ".." || part == ".") {
        let text = format!("Control group path is not normalized: {group}");
        return Err(Refusal::new(ErrorName::InvalidArgs, text));
    }
    let group = group.trim_end_matches('/').to_owned();
    Ok(Turn::Ask(Command::Attach { unit, group, processes }))
}

/// `a(sus)` of a unit.
pub(super) fn processes(model: &mut dyn Model, unit: &str) -> Value {
    let row = |p: ProcessView| Value::Struct(vec![p.cgroup.into(), p.pid.into(), p.command.into()]);
    Value::array("(sus)", model.processes(unit).into_iter().map(row).collect())
}
