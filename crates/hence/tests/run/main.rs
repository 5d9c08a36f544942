//! `hence run` end to end: the built binary, real processes, real ledgers. Every test says which unit files
//! it runs, and cleans up after itself by process id, also where it fails.
//!
//! As root the tests run at both levels of tracking and as an ordinary user; else as who they are.
//! `HENCE_KILLS=1000` kills hence that often.

mod aliases;
mod attached;
mod bus;
mod controller;
mod filters;
mod hostile;
mod input;
mod kept;
mod kills;
mod leaks;
mod orderly;
mod polkit;
mod reexec;
mod resumed;
mod rig;
#[path = "../shared/roots.rs"]
mod roots;
mod sandbox;
mod services;
mod systemctl;
mod transient;
mod unit_files;
mod user;
mod versions;
