//! The host: Linux as the engine's effects and events see it. The only crate with `unsafe` (below `sys`),
//! libc and a clock. It has no policy: what is done, when and why is the engine's.
//!
//! [`Host::perform`] does one effect without blocking, [`Host::wait`] brings the events. [`DiskFiles`] and
//! [`load`] serve loading, [`executor_main`] is the process that does what a manager must not: name
//! service lookups and what needs another user.
#![deny(unsafe_code)]

mod again;
mod ancestry;
pub mod arrival;
mod attributes;
mod automounts;
pub mod calendar;
pub mod carry;
mod cgroup;
pub mod client;
mod clock;
mod conditions;
mod credentials;
mod devices;
pub mod disk;
pub mod environment;
mod error;
mod executor;
mod files;
mod filter;
mod folders;
mod glob;
mod ground;
mod groups;
mod host;
mod inputs;
pub mod journal;
mod keep;
mod keeping;
pub mod limited;
mod limits;
mod live;
pub mod machine;
mod made_up;
pub mod mountinfo;
mod notify;
mod paths;
mod privileges;
mod process;
mod protection;
mod refused;
mod reserve;
mod runtime;
mod sockets;
mod start;
mod stdio;
pub mod store;
pub mod swaps;
#[allow(unsafe_code)]
pub mod sys;
mod terminal;
mod unit_files;
mod wait;
pub mod watch;
mod zone;

pub use cgroup::{remove_empty_groups, subfolders, sweep};
pub use clock::{boot_ticks, ticks};
pub use conditions::unknown as unknown_conditions;
pub use error::{HostError, HostStep};
pub use executor::executor_main;
pub use files::{DiskFiles, load};
pub use ground::RootFiles;
pub use host::{Capture, Host, HostOptions, Loader, TrackingReport};
pub use inputs::{Inputs, version};
pub use live::{SentStreams, UnitGroup};
pub use process::own_limits;
pub use process::{InvocationMark, Stat, describe, invocation as invocation_of, invocation_mark, is_alive};
pub use process::{processes, stat, unit_in};
pub use sockets::found::of_process as passed_to;
pub use unit_files::{StepError, change_unit_files};
pub use wait::{Interest, Ready};
