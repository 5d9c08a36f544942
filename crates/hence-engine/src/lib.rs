//! The engine: jobs, transactions and one state machine per unit kind. Nothing else decides.
//!
//! Pure: no clock, chance, I/O, async or unsafe; the same events give the same records and effects.
//! Time is an argument, files and processes are somebody else's business ([`Effect`], [`Event`]).
//! See [`Engine`] for the model.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod effect;
pub mod event;
pub mod invocation;

pub use effect::{Effect, Kill, KillScope, Spawn};
pub use event::{
    Adopted, Checked, Event, Freezer, Keeping, LiveRequest, Notification, Process, Refusal, Request,
    RequestKind, Resumed, Transient,
};

/// A unit's number in this engine. Units are never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u32);

/// A job's number; systemd's job id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u32);

/// The number of one process start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecId(pub u32);

/// A connection that an Accept=yes socket accepted and that waits for its service instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// Descriptors that came with a message and wait to be taken into keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DescriptorsId(pub u32);

/// A moment, on both clocks.
pub type Time = hence_ledger::Stamp;

mod alike;
pub mod carry;
mod deadline;
pub mod engine;
mod job;
mod names;
pub mod observe;
pub mod predict;
mod queue;
mod restart;
pub mod sim;
mod transaction;
pub mod unit;

pub use engine::{Engine, Objective, Role, Settings, TakenUp};
pub use job::{Job, JobState};
pub use unit::{State, Unit};
