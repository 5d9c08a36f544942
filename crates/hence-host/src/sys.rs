//! System calls that need `unsafe`. Everything else in this crate is safe code; no policy lives here.

pub mod attributes;
pub mod autofs;
pub mod clone;
pub mod connector;
pub mod datagram;
pub mod heap;
pub mod inherited;
pub mod ipc;
pub mod machine;
pub mod namespace;
pub mod nss;
pub mod pam;
pub mod pidfd;
pub mod queue;
pub mod same_file;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod store;
pub mod terminal;
