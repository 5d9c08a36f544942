//! Log entries in native journal files, which the stock `journalctl` reads: systemd.io/JOURNAL_FILE_FORMAT.
//!
//! [`Journal`] is the folder with the file that is written and the archived ones, within bounds; [`Fields`]
//! are what the entries of a stream have in common. Nothing is mapped into memory, so a full disk is an
//! error and no signal. Reading is `journalctl`'s business.

mod copies;
mod fields;
mod file;
mod filter;
mod folder;
mod growth;
mod intake;
mod layout;
mod limit;
mod parse;
mod patches;
pub mod reader;
mod settings;
mod sockets;
mod speaker;
mod table;
mod tail;
mod varlink;

pub(crate) use copies::{CONSOLE, KERNEL};
pub use fields::{Fields, is_name};
pub use folder::{Bounds, Journal, JournalOptions, Place};
pub use intake::IntakeOptions;
pub(crate) use intake::{Intake, Source, lines};
#[cfg(test)]
pub(crate) use parse::native as native_fields;
pub(crate) use settings::LONGEST as LONGEST_LOGGING;
pub use settings::Logging;
pub(crate) use sockets::{Sockets, Turn as SocketTurn};
pub(crate) use speaker::Speaker;
pub(crate) use tail::tail;
pub(crate) use varlink::Ask;

use std::sync::atomic::{AtomicU64, Ordering};

/// What of this machine every file says.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub machine: [u8; 16],
    pub boot: [u8; 16],
    /// The layout that systemd reads since 252, and that takes half of the room.
    pub compact: bool,
}

/// An id that nothing else has.
pub(crate) fn random_id() -> [u8; 16] {
    use rustix::rand::{GetRandomFlags, getrandom};
    let mut id = [0; 16];
    if !getrandom(&mut id[..], GetRandomFlags::NONBLOCK).is_ok_and(|n| n == 16) {
        // So early that the kernel has no chance to give: the time and the process must do.
        let now = crate::store::now();
        let number = now.realtime_us ^ now.monotonic_us.rotate_left(40) ^ next_serial().rotate_left(20);
        id[..8].copy_from_slice(&number.to_le_bytes());
        id[8..].copy_from_slice(&(number.rotate_left(29) ^ u64::from(std::process::id())).to_le_bytes());
    }
    // A UUID of version 4, as the kernel makes them.
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// A number that no file had before in this process.
pub(crate) fn next_serial() -> u64 {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// An id as 32 hexadecimal digits.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

/// An id from its hexadecimal digits, with or without dashes.
pub fn id_of(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.trim().bytes().filter(|b| *b != b'-').collect();
    if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(id)
}
