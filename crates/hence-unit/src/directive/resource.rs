//! Rows of systemd.resource-control(5): limits, weights and access of a control group. Nothing is set here.

use super::{
    Loading, Outcome, Row, Sections, Shape, Take,
    Take::{Act, Keep},
    row,
    typed::{optional, put, resources, single_unit, split},
};
use crate::limits::PerDevice;
use crate::{UnitKind, config::Limit, syntax::Assignment, value};
use alloc::{format, vec::Vec};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Sections::RESOURCES, "systemd.resource-control(5)", take, doc)
}

const COUNTED: &str = "what the control groups can count is counted of every unit";
const OOMD: &str = "systemd-oomd is not told; what it looks for on the control groups is there";
const V1: &str = "control groups of version 1 only";

/// A row of control groups of version 1.
const fn former(name: &'static str, now: &'static str, doc: &'static str) -> Row {
    r(name, Keep(Shape::List), doc).accepted(V1).replaced_by(now)
}

fn slice(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let fits = |name: &crate::UnitName| name.kind() == UnitKind::Slice;
    let Some(name) = single_unit(loading, assignment, fits, "a slice") else {
        return Outcome::Rejected;
    };
    put(loading, resources, |r| r.slice = Some(name));
    Outcome::Replaced
}

fn weight(text: &str) -> Option<u64> {
    match text {
        "idle" => Some(0),
        _ => value::unsigned(text).filter(|w| (1..=10_000).contains(w)),
    }
}

/// A limit above 0: at 0 nothing could run.
fn memory(text: &str) -> Option<Limit> {
    value::memory_limit(text).filter(|l| !matches!(l, Limit::Absolute(0) | Limit::Share(0)))
}

/// What MemoryMin= and its kin take: 0 is an amount, too.
const AMOUNT: (fn(&str) -> Option<Limit>, &str) = (value::memory_limit, value::MEMORY_LIMIT);

/// A boolean, or the controllers that are delegated; an empty value delegates without any.
fn delegate(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if !matches!(loading.kind(), UnitKind::Service | UnitKind::Scope) {
        loading.bad_value(assignment, "Delegate= is for services and scopes only".into(), None);
        return Outcome::Rejected;
    }
    let mut delegated = Vec::new();
    let delegate = match value::boolean(&assignment.value) {
        Some(delegate) => delegate,
        None => {
            for word in split(loading, assignment) {
                if let Some(known) = CONTROLLERS.into_iter().find(|known| *known == &*word.text) {
                    delegated.push(known);
                } else {
                    let column = loading.column_of(assignment, &word);
                    let message =
                        format!("Delegate= takes a boolean or controllers; {:?} is neither", word.text);
                    let fix = super::nearest(&word.text, CONTROLLERS.into_iter());
                    let fix = fix.map(|n| format!("did you mean {n}?"));
                    loading.bad_value_at(assignment, column, message, fix);
                }
            }
            true
        }
    };
    put(loading, resources, |r| (r.delegate, r.delegated) = (delegate, delegated));
    Outcome::Replaced
}

/// The control group controllers that units may name: DisableControllers=, Delegate=.
pub const CONTROLLERS: [&str; 12] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "io",
    "blkio",
    "memory",
    "devices",
    "pids",
    "bpf-firewall",
    "bpf-devices",
    "bpf-foreign",
    "bpf-socket-bind",
];

const WEIGHT: Shape = Shape::Between(1, 10_000);
const CPU_WEIGHT: Shape = Shape::BetweenOr(1, 10_000, "idle");
const AUTO_KILL: &[&str] = &["auto", "kill"];

pub(super) const ROWS: &[Row] = &[
    r("Slice", Act(slice), "The slice that the unit's control group lies in."),
    r("AllowedCPUs", Keep(Shape::Numbers), "The processors its processes may run on.").since(244).acted(),
    r("StartupAllowedCPUs", Keep(Shape::Numbers), "As AllowedCPUs=, while the machine starts or stops.")
        .since(250)
        .acted(),
    r("AllowedMemoryNodes", Keep(Shape::Numbers), "The memory nodes its processes may use.")
        .since(244)
        .acted(),
    r(
        "StartupAllowedMemoryNodes",
        Keep(Shape::Numbers),
        "As AllowedMemoryNodes=, while the machine starts or stops.",
    )
    .since(250)
    .acted(),
    r("CPUAccounting", Keep(Shape::Boolean), "Count processor time.").since(220).accepted(COUNTED),
    r(
        "CPUWeight",
        Act(|l, a| {
            let allowed = "a weight from 1 to 10000, or idle";
            optional(l, a, resources, (weight, allowed), |r, v| r.cpu_weight = v)
        }),
        "The share of processor time beside its neighbours.",
    )
    .since(232),
    r("StartupCPUWeight", Keep(CPU_WEIGHT), "As CPUWeight=, while the machine starts or stops.")
        .since(232)
        .acted(),
    former("CPUShares", "CPUWeight", "The share of processor time, on the former scale."),
    former("StartupCPUShares", "StartupCPUWeight", "As CPUShares=, while the machine starts or stops.")
        .since(213),
    r(
        "CPUQuota",
        Act(|l, a| {
            let parse = |text: &str| value::share(text).filter(|share| *share > 0);
            optional(l, a, resources, (parse, "a percentage above 0"), |r, v| r.cpu_quota = v)
        }),
        "How much processor time it may use, in percent of one processor.",
    )
    .since(213),
    r("CPUQuotaPeriodSec", Keep(Shape::SpanOrDefault), "The period over which CPUQuota= is measured.")
        .since(242)
        .acted(),
    r("CPUSetPartition", Keep(Shape::Words(&["member", "root", "isolated"])), "The kind of processor set.")
        .since(261)
        .acted(),
    r("MemoryAccounting", Keep(Shape::Boolean), "Count memory.").accepted(COUNTED),
    r(
        "MemoryMin",
        Act(|l, a| optional(l, a, resources, AMOUNT, |r, v| r.memory_min = v)),
        "Memory that is never taken from it.",
    )
    .since(240),
    r("DefaultMemoryMin", Keep(Shape::MemoryLimit), "MemoryMin= of its children without one.")
        .since(243)
        .acted(),
    r("DefaultMemoryLow", Keep(Shape::MemoryLimit), "MemoryLow= of its children without one.")
        .since(243)
        .acted(),
    r(
        "DefaultStartupMemoryLow",
        Keep(Shape::MemoryLimit),
        "As DefaultMemoryLow=, while the machine starts or stops.",
    )
    .since(254)
    .acted(),
    r(
        "MemoryLow",
        Act(|l, a| optional(l, a, resources, AMOUNT, |r, v| r.memory_low = v)),
        "Memory that is taken from it only when none is left elsewhere.",
    )
    .since(231),
    r("StartupMemoryLow", Keep(Shape::MemoryLimit), "As MemoryLow=, while the machine starts or stops.")
        .since(254)
        .acted(),
    r(
        "MemoryHigh",
        Act(|l, a| {
            let parser = (memory, value::MEMORY_LIMIT);
            optional(l, a, resources, parser, |r, v| r.memory_high = v)
        }),
        "Memory above which its processes are slowed down and memory is taken back.",
    )
    .since(231),
    r("StartupMemoryHigh", Keep(Shape::MemoryLimit), "As MemoryHigh=, while the machine starts or stops.")
        .since(254)
        .acted(),
    r(
        "MemoryMax",
        Act(|l, a| optional(l, a, resources, (memory, value::MEMORY_LIMIT), |r, v| r.memory_max = v)),
        "Memory above which its processes are killed.",
    )
    .since(231),
    r("StartupMemoryMax", Keep(Shape::MemoryLimit), "As MemoryMax=, while the machine starts or stops.")
        .since(254)
        .acted(),
    r(
        "MemorySwapMax",
        Act(|l, a| optional(l, a, resources, AMOUNT, |r, v| r.memory_swap_max = v)),
        "How much swap space it may use.",
    )
    .since(232),
    r(
        "StartupMemorySwapMax",
        Keep(Shape::MemoryLimit),
        "As MemorySwapMax=, while the machine starts or stops.",
    )
    .since(254)
    .acted(),
    r("MemoryZSwapMax", Keep(Shape::MemoryLimit), "How much compressed swap it may use.").since(253).acted(),
    r(
        "StartupMemoryZSwapMax",
        Keep(Shape::MemoryLimit),
        "As MemoryZSwapMax=, while the machine starts or stops.",
    )
    .since(254)
    .acted(),
    r("MemoryZSwapWriteback", Keep(Shape::Boolean), "Whether compressed swap may be written to disk.")
        .since(256)
        .acted(),
    former("MemoryLimit", "MemoryMax", "How much memory it may use."),
    r("DeviceAllow", Keep(Shape::List), "Devices that it may use, and how."),
    r("DevicePolicy", Keep(Shape::Words(&["auto", "closed", "strict"])), "Which devices it may use at all."),
    r("IOAccounting", Keep(Shape::Boolean), "Count input and output.").since(230).acted(),
    r(
        "IOWeight",
        Act(|l, a| {
            let parse = |text: &str| value::unsigned(text).filter(|w| (1..=10_000).contains(w));
            optional(l, a, resources, (parse, "a weight from 1 to 10000"), |r, v| r.io_weight = v)
        }),
        "The share of input and output beside its neighbours.",
    )
    .since(230),
    r("StartupIOWeight", Keep(WEIGHT), "As IOWeight=, while the machine starts or stops.").since(230).acted(),
    r("IODeviceWeight", Keep(Shape::PerDevice(PerDevice::Weight)), "IOWeight= of single devices.")
        .since(230)
        .acted(),
    r(
        "IOReadBandwidthMax",
        Keep(Shape::PerDevice(PerDevice::Rate)),
        "Bytes it may read from a device in a second.",
    )
    .since(230)
    .acted(),
    r(
        "IOWriteBandwidthMax",
        Keep(Shape::PerDevice(PerDevice::Rate)),
        "Bytes it may write to a device in a second.",
    )
    .since(230)
    .acted(),
    r("IOReadIOPSMax", Keep(Shape::PerDevice(PerDevice::Rate)), "Reads it may make on a device in a second.")
        .since(230)
        .acted(),
    r(
        "IOWriteIOPSMax",
        Keep(Shape::PerDevice(PerDevice::Rate)),
        "Writes it may make on a device in a second.",
    )
    .since(230)
    .acted(),
    r(
        "IODeviceLatencyTargetSec",
        Keep(Shape::PerDevice(PerDevice::Span)),
        "The latency that is aimed at on a device.",
    )
    .since(240)
    .acted(),
    former("BlockIOAccounting", "IOAccounting", "Count input and output."),
    former("BlockIOWeight", "IOWeight", "The share of input and output, on the former scale."),
    former(
        "StartupBlockIOWeight",
        "StartupIOWeight",
        "As BlockIOWeight=, while the machine starts or stops.",
    )
    .since(213),
    former("BlockIODeviceWeight", "IODeviceWeight", "BlockIOWeight= of single devices."),
    former("BlockIOReadBandwidth", "IOReadBandwidthMax", "Bytes it may read from a device in a second."),
    former("BlockIOWriteBandwidth", "IOWriteBandwidthMax", "Bytes it may write to a device in a second."),
    r("TasksAccounting", Keep(Shape::Boolean), "Count processes and threads.").since(227).accepted(COUNTED),
    r(
        "TasksMax",
        Act(|l, a| {
            optional(l, a, resources, (value::tasks_limit, value::TASKS_LIMIT), |r, v| r.tasks_max = v)
        }),
        "How many processes and threads it may have.",
    )
    .since(227),
    r("Delegate", Act(delegate), "The unit's processes manage their part of the tree themselves."),
    r("DelegateSubgroup", Keep(Shape::TextOrDefault), "The group below its own that its processes start in.")
        .since(254),
    r(
        "DisableControllers",
        Keep(Shape::WordList(&CONTROLLERS)),
        "Controllers that its children must do without.",
    )
    .since(240)
    .acted(),
    r("IPAccounting", Keep(Shape::Boolean), "Count network traffic.").since(235),
    r("IPAddressAllow", Keep(Shape::List), "Addresses that traffic is allowed with.").since(235),
    r("IPAddressDeny", Keep(Shape::List), "Addresses that traffic is refused with.").since(235),
    r("IPIngressFilterPath", Keep(Shape::Paths), "BPF programs that filter incoming traffic.").since(243),
    r("IPEgressFilterPath", Keep(Shape::Paths), "BPF programs that filter outgoing traffic.").since(243),
    r("BPFProgram", Keep(Shape::List), "BPF programs that are attached to its group.").since(249),
    r("SocketBindAllow", Keep(Shape::List), "Ports and protocols that it may bind sockets to.").since(249),
    r("SocketBindDeny", Keep(Shape::List), "Ports and protocols that it may not bind sockets to.").since(249),
    r("BindNetworkInterface", Keep(Shape::TextOrDefault), "The network interface its sockets are bound to.")
        .since(260),
    r("RestrictNetworkInterfaces", Keep(Shape::List), "Network interfaces that it may use.").since(250),
    r("NFTSet", Keep(Shape::List), "Sets of the packet filter that its group or users are added to.")
        .since(255),
    r("ManagedOOMSwap", Keep(Shape::Words(AUTO_KILL)), "Whether systemd-oomd acts on its use of swap.")
        .since(247)
        .accepted(OOMD),
    r(
        "ManagedOOMMemoryPressure",
        Keep(Shape::Words(AUTO_KILL)),
        "Whether systemd-oomd acts on its memory pressure.",
    )
    .since(247)
    .accepted(OOMD),
    r(
        "ManagedOOMMemoryPressureLimit",
        Keep(Shape::TextOrDefault),
        "The pressure at which systemd-oomd acts.",
    )
    .since(247)
    .accepted(OOMD),
    r(
        "ManagedOOMMemoryPressureDurationSec",
        Keep(Shape::TextOrDefault),
        "For how long that pressure must last.",
    )
    .since(257)
    .accepted(OOMD),
    r(
        "ManagedOOMPreference",
        Keep(Shape::Word(&["none", "avoid", "omit"])),
        "Whether systemd-oomd should rather take another unit.",
    )
    .since(248)
    .acted(),
    r(
        "MemoryPressureWatch",
        Keep(Shape::BooleanOr(&["auto", "skip"])),
        "Whether the service is told how to watch memory pressure.",
    )
    .since(254),
    r("MemoryPressureThresholdSec", Keep(Shape::TextOrDefault), "The pressure that the service is told of.")
        .since(254),
    r("CoredumpReceive", Keep(Shape::Boolean), "Core dumps of its processes are handed to it.").since(255),
];
