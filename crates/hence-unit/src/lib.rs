//! Unit files: names, syntax with spans, drop-ins, specifiers, directive rows, dependency atoms.
//!
//! Pure: no file is opened here, no clock is read. Loading never fails as a whole: what cannot be used
//! becomes a [`Diagnostic`] with its place, and the rest of the unit stands.
//! Behaviour: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.socket(5).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod attributes;
pub mod automount;
mod bytes;
pub mod calendar;
pub mod calls;
pub mod config;
pub mod dependency;
pub mod diagnostic;
pub mod directive;
pub mod exec_line;
pub mod implied;
pub mod install;
pub mod limits;
pub mod lint;
pub mod load;
pub mod mount;
pub mod name;
pub mod pattern;
mod protection;
pub mod restrict;
mod settle;
pub mod socket_options;
pub mod specifier;
pub mod swap;
pub mod syntax;
pub mod system;
pub mod unit_path;
pub mod value;
pub mod words;

pub use config::{
    Config, ExecConfig, JobMode, KillConfig, Kind, LoadState, ServiceConfig, ServiceSettings, SocketConfig,
    Source, SourceRole, UnitConfig,
};
pub use dependency::{Atom, Dependency, DependencyKind, Origin};
pub use diagnostic::{Diagnostic, Level, Place, Position};
pub use load::load;
pub use name::{UnitKind, UnitName};
pub use settle::slice_parent;

/// Text that is shared rather than copied: names and paths that many values refer to.
pub type Text = alloc::sync::Arc<str>;
