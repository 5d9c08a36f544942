//! D-Bus marshalling: values, signatures and messages; bytes in, bytes out. It reads both byte orders and
//! writes little-endian. It does no I/O, carries file descriptors by index only, and knows no interface.
//!
//! Nothing here allocates from a length that the peer declares: buffers grow only with bytes that arrived.
//! A decoded message costs at most about 64 times its encoded size.

mod entries;
mod message;
mod names;
mod reader;
mod signature;
#[cfg(test)]
mod tests;
mod value;
mod writer;

pub use entries::Entries;
pub use message::{ALLOW_INTERACTIVE, Fields, Kind, Message, NO_REPLY_EXPECTED, frame_length};
pub use names::{is_bus_name, is_error_name, is_interface, is_member, is_object_path};
pub use reader::Wanted;
pub use signature::{alignment, complete_types, is_signature};
pub use value::{Array, Value};

use std::fmt;

/// Longest message taken from a client of ours, in bytes. systemctl's largest requests are lists of unit
/// names.
pub const MESSAGE_MAX: usize = 128 * 1024;

/// Longest message taken from a server, in bytes: the list of all units of a large machine fits.
pub const REPLY_MAX: usize = 16 * 1024 * 1024;

/// Longest message that there is, by the specification.
pub const FRAME_MAX: usize = 128 * 1024 * 1024;

/// Why bytes are not a D-Bus message. The connection they came from cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError(pub &'static str);

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message: {}", self.0)
    }
}

impl std::error::Error for WireError {}
