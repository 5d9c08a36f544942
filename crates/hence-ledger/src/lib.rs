//! The ledger's vocabulary: what is recorded, what caused it, and the answer to "why".
//!
//! Pure: no file, no clock. The engine speaks in these words and has no state, result or reason that is
//! not one of them; every word here is one that an operator may see.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod advice;
pub mod allow;
pub mod answer;
pub mod basis;
mod changes;
pub mod encoding;
pub mod fold;
pub mod graph;
pub mod history;
pub mod index;
pub mod json;
pub mod leaks;
pub mod live;
pub mod loops;
pub mod path;
pub mod record;
pub mod sentence;
pub mod series;
pub mod speech;
pub mod why;
pub mod word;

pub use encoding::{DecodeError, FORMAT_VERSION, decode, encode};
pub use record::{
    Cause, Certainty, Client, Fact, FileIdentity, FileRole, Invocation, LeftOver, Parent, Record, RecordId,
    Rule, Stamp, Version,
};
pub use word::*;

/// Text that many records share.
pub use hence_unit::Text;
