//! What may be had of processes: TasksMax= of units and slices, the pids of the machine, memory at an
//! estimate per process. Without caps anything may be had. It counts; what follows from a refusal is the
//! others' part.

use crate::{Engine, UnitId};
use alloc::{collections::BTreeMap, vec::Vec};
use hence_unit::config::{Kind, Limit, ResourceConfig};
use hence_unit::{Config, Text, UnitKind, UnitName};

/// What there may be only so many processes for.
#[derive(Clone, Debug, PartialEq)]
pub struct Cap {
    /// Which limit.
    pub kind: CapKind,
    /// The unit or slice; `None`: the machine.
    pub unit: Option<Text>,
    /// So many processes.
    pub most: u64,
    /// So many there are.
    pub count: u64,
    /// The most there have been.
    pub peak: u64,
    /// When that was first reached, in microseconds of the monotonic clock.
    pub reached_us: Option<u64>,
    /// How many weren't made for it.
    pub refused: u64,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CapKind {
    /// TasksMax=
    Tasks,
    /// MemoryMax=
    Memory,
    /// kernel.pid_max and the like.
    MachinePids,
    /// The memory of the machine.
    MachineMemory,
}

/// The caps of a unit that has processes: which limit, of whom, how many.
pub type CapsOf = Vec<(CapKind, Option<Text>, u64)>;

/// All caps.
#[derive(Clone, Debug, Default)]
pub struct Caps {
    /// Those that are in force somewhere.
    pub all: Vec<Cap>,
    of: BTreeMap<UnitId, Vec<usize>>,
    rule: Option<Rule>,
}

/// Which limits there are.
#[derive(Clone, Debug)]
pub struct Rule {
    /// TasksMax= where a unit says nothing; in processes.
    pub tasks_default: u64,
    /// What a share of TasksMax= is of.
    pub tasks_total: u64,
    /// How many processes the machine can have.
    pub pids: u64,
    /// Memory of the machine, in bytes.
    pub memory: u64,
    /// Memory of each process, in bytes.
    pub per_process: u64,
}

impl Caps {
    /// From now on these limits are in force.
    pub fn enforce(&mut self, rule: Rule) {
        self.rule = Some(rule);
    }

    /// Whether a process of the unit may fork once more.
    pub(super) fn admit(&mut self, unit: UnitId) -> bool {
        self.admit_where(unit, |kind| matches!(kind, CapKind::Tasks | CapKind::MachinePids))
    }

    /// Whether a process may be started for the unit. TasksMax= doesn't hinder that: the process is moved
    /// into its group when it is there.
    pub(super) fn admit_start(&mut self, unit: UnitId) -> bool {
        self.admit_where(unit, |kind| kind == CapKind::MachinePids)
    }

    fn admit_where(&mut self, unit: UnitId, binding: impl Fn(CapKind) -> bool) -> bool {
        let Some(of) = self.of.get(&unit) else { return true };
        let full = of.iter().copied().find(|&at| {
            let cap = &self.all[at];
            binding(cap.kind) && cap.count >= cap.most
        });
        if let Some(at) = full {
            self.all[at].refused += 1;
        }
        full.is_none()
    }

    pub(super) fn joined(&mut self, unit: UnitId, engine: &Engine, now_us: u64) {
        let Some(rule) = &self.rule else { return };
        if !self.of.contains_key(&unit) {
            let wanted = caps_of(rule, unit, engine);
            let mut of = Vec::new();
            for (kind, name, most) in wanted {
                let known = self.all.iter().position(|c| c.kind == kind && c.unit == name);
                of.push(known.unwrap_or_else(|| {
                    let (count, peak, reached_us, refused) = (0, 0, None, 0);
                    self.all.push(Cap { kind, unit: name, most, count, peak, reached_us, refused });
                    self.all.len() - 1
                }));
            }
            self.of.insert(unit, of);
        }
        for &at in self.of.get(&unit).into_iter().flatten() {
            let cap = &mut self.all[at];
            cap.count += 1;
            cap.peak = cap.peak.max(cap.count);
            if cap.count >= cap.most && cap.reached_us.is_none() {
                cap.reached_us = Some(now_us);
            }
        }
    }

    pub(super) fn left(&mut self, unit: UnitId) {
        for &at in self.of.get(&unit).into_iter().flatten() {
            let cap = &mut self.all[at];
            cap.count = cap.count.saturating_sub(1);
        }
    }

    /// A unit is gone, and its number may be another one's.
    pub(super) fn forget(&mut self, unit: UnitId) {
        self.of.remove(&unit);
    }
}

fn caps_of(rule: &Rule, unit: UnitId, engine: &Engine) -> CapsOf {
    let share = |limit: Limit, total: u64| match limit {
        Limit::Absolute(most) => most,
        Limit::Share(hundredths) => {
            u64::try_from(u128::from(total) * u128::from(hundredths) / 10_000).unwrap_or(u64::MAX)
        }
    };
    let mut caps = CapsOf::new();
    let mut add = |kind, name: Option<Text>, most: u64| {
        if most != u64::MAX && most > 0 {
            caps.push((kind, name, most));
        }
    };
    let processes = |bytes: u64| if bytes == u64::MAX { bytes } else { bytes / rule.per_process.max(1) };
    let unit = engine.unit(unit);
    let own = resources(&unit.config);
    let tasks = own.and_then(|r| r.tasks_max).map_or(rule.tasks_default, |l| share(l, rule.tasks_total));
    add(CapKind::Tasks, Some(unit.name().text().clone()), tasks);
    if let Some(memory) = own.and_then(|r| r.memory_max) {
        add(CapKind::Memory, Some(unit.name().text().clone()), processes(share(memory, rule.memory)).max(1));
    }
    let mut slice = own.and_then(|r| r.slice.clone()).or_else(|| UnitName::new("system.slice"));
    while let Some(name) = slice {
        let resources = engine.find(&name).and_then(|id| resources(&engine.unit(id).config).cloned());
        if let Some(tasks) = resources.as_ref().and_then(|r| r.tasks_max) {
            add(CapKind::Tasks, Some(name.text().clone()), share(tasks, rule.tasks_total));
        }
        if let Some(memory) = resources.as_ref().and_then(|r| r.memory_max) {
            add(CapKind::Memory, Some(name.text().clone()), processes(share(memory, rule.memory)).max(1));
        }
        slice = above(&name);
    }
    add(CapKind::MachinePids, None, rule.pids);
    add(CapKind::MachineMemory, None, processes(rule.memory).max(1));
    caps
}

fn resources(config: &Config) -> Option<&ResourceConfig> {
    match &config.kind {
        Kind::Service(service) => Some(&service.resources),
        Kind::Socket(socket) => Some(&socket.resources),
        Kind::Slice(resources) => Some(resources),
        _ => None,
    }
}

/// The slice that a slice is in: `a-b.slice` is in `a.slice`; systemd.slice(5).
fn above(slice: &UnitName) -> Option<UnitName> {
    let (parent, _) = slice.prefix().rsplit_once('-')?;
    let mut name = alloc::string::String::from(parent);
    name.push_str(".slice");
    UnitName::new(&name).filter(|n| n.kind() == UnitKind::Slice)
}
