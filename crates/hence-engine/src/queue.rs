//! Which of the jobs that can run goes first: as systemd has it, by the kind of unit (what others need to be
//! there first: slices, triggers, targets, sockets, last services), then by CPUWeight= and Nice=, then by name.
//! It decides nothing about what a job waits for.

use crate::JobId;
use alloc::collections::BinaryHeap;
use core::cmp::Reverse;
use hence_unit::UnitKind;
use hence_unit::config::{Config, Kind};
use hence_unit::name::UnitName;

/// The kernel's default of cpu.weight.
const WEIGHT: u64 = 100;

/// The smallest goes first, and a heap gives its largest. Equal ones are one job's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(Reverse<(u8, Reverse<u64>, i8, UnitName, JobId)>);

/// The jobs that can be looked at.
#[derive(Debug, Default)]
pub(crate) struct RunQueue {
    heap: BinaryHeap<Entry>,
}

impl RunQueue {
    /// Puts a job in, once: that is the caller's affair.
    pub(crate) fn push(&mut self, id: JobId, name: &UnitName, config: &Config) {
        let (weight, nice) = match &config.kind {
            Kind::Service(service) => (service.resources.cpu_weight, service.context.nice),
            Kind::Socket(socket) => (socket.resources.cpu_weight, socket.context.nice),
            Kind::Slice(resources) => (resources.cpu_weight, None),
            Kind::Scope(scope) => (scope.resources.cpu_weight, None),
            _ => (None, None),
        };
        let weight = Reverse(weight.unwrap_or(WEIGHT));
        let key = (rank(name.kind()), weight, nice.unwrap_or(0), name.clone(), id);
        self.heap.push(Entry(Reverse(key)));
    }

    /// The one that goes first.
    pub(crate) fn pop(&mut self) -> Option<JobId> {
        self.heap.pop().map(|Entry(Reverse((.., id)))| id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub(crate) fn contains(&self, wanted: JobId) -> bool {
        self.heap.iter().any(|Entry(Reverse((.., id)))| *id == wanted)
    }

    /// Gives back the room that a burst of work needed.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.heap.shrink_to_fit();
    }
}

fn rank(kind: UnitKind) -> u8 {
    match kind {
        UnitKind::Scope => 0,
        UnitKind::Slice => 1,
        UnitKind::Path => 2,
        UnitKind::Timer => 3,
        UnitKind::Automount => 4,
        UnitKind::Device => 5,
        UnitKind::Target => 6,
        UnitKind::Socket => 7,
        UnitKind::Swap => 8,
        UnitKind::Mount => 9,
        UnitKind::Service => 10,
    }
}
