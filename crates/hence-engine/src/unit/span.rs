//! Spans of time in the words of unit files. Reading them is the loader's part.

use alloc::{format, string::String};
use hence_unit::config::INFINITY;

/// A span in the words of a unit file: `5s`, `100ms`, `infinity`.
pub(crate) fn span_text(us: u64) -> String {
    match us {
        INFINITY => "infinity".into(),
        us if us % 1_000_000 == 0 => format!("{}s", us / 1_000_000),
        us if us % 1_000 == 0 => format!("{}ms", us / 1_000),
        us => format!("{us}us"),
    }
}
