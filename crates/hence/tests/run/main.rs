//! `hence run` end to end: the built binary, real processes, real ledgers. Every test says which unit files
//! it runs, and cleans up after itself by process id, also where it fails.
//!
//! As root the tests run at both levels of tracking and as an ordinary user; else as who they are.
//! `HENCE_KILLS=1000` kills hence that often.

mod aliases;
mod bus;
mod controller;
mod hostile;
mod input;
mod kills;
mod leaks;
mod orderly;
mod polkit;
mod reexec;
mod resumed;
mod rig;
mod services;
mod systemctl;
mod transient;
mod unit_files;
mod user;
mod versions;
