//! Reports for people: pages of text, and what they need from the terminal. What is true is decided in
//! hence-ledger; here it is only said.

pub mod answer;
pub mod directives;
pub mod history;
pub mod html;
pub mod leaks;
pub mod ledger;
pub mod lint;
pub mod logs;
pub mod loops;
pub mod name;
pub mod page;
pub mod predict;
pub mod style;
pub mod time;

use crate::cli::Outcome;
use crate::exit::{TROUBLE, Trouble};
use std::io::{ErrorKind, Write, stdout};

/// Writes to stdout. A reader that has gone away, as `head` does, is no trouble.
pub fn print(bytes: &[u8]) -> Outcome {
    write(bytes).map(|_| 0)
}

/// Writes to stdout. `false`: nobody reads any further.
pub fn write(bytes: &[u8]) -> Result<bool, Trouble> {
    let mut out = stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Trouble::new(TROUBLE, format!("cannot write to stdout: {e}"))),
    }
}
