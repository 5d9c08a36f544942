//! The exit statuses of every verb, and the error that carries one. Where systemctl has a status it is that
//! one; systemctl(1), "Exit status".

use hence_host::store::StoreError;
use std::fmt;

/// Something could not be done.
pub const TROUBLE: u8 = 1;
/// The command line can't be understood; clap ends with it too.
pub const USAGE: u8 = 2;
/// The answer is no: a unit is not active, or `--check` found what should not be.
pub const NO: u8 = 3;
/// There is no such unit, or no record of it.
pub const NO_UNITS: u8 = 4;
/// The ledger can't be used: missing, forbidden, in use, of a newer format.
pub const LEDGER: u8 = 5;
/// The host refuses what hence needs to run processes.
pub const HOST: u8 = 6;
/// The ledger was damaged or changed.
pub const BROKEN_CHAIN: u8 = 7;

/// The list for `--help` and the man page.
pub const HELP: &str = "\
Exit status:
  0  done
  1  it could not be done; the message says why
  2  the command line can't be understood
  3  the answer is no: a unit is not active, --check found leaks or loops
  4  no such unit, or no record of it
  5  the ledger can't be used: missing, forbidden, in use, of a newer format
  6  the host refuses what hence needs to run processes
  7  the ledger was damaged or changed (verify)";

/// Why a verb ends without having done its work.
#[derive(Debug)]
pub struct Trouble {
    /// The exit status.
    pub status: u8,
    /// A sentence without a full stop; may have further lines.
    pub message: String,
}

impl Trouble {
    /// Trouble with this exit status.
    pub fn new(status: u8, message: impl Into<String>) -> Trouble {
        Trouble { status, message: message.into() }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::new(LEDGER, error.to_string())
    }
}
