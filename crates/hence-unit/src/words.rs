//! Words of a value. It knows no quotes so far.

use alloc::{string::String, vec::Vec};

/// A word and where it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its text.
    pub text: String,
    /// Column within the value, from 1.
    pub column: u32,
}

/// Why a value could not be split to its end.
pub type WordError = String;

/// The words of a value.
pub fn split(value: &str) -> (Vec<Word>, Option<WordError>) {
    (value.split_whitespace().map(|w| Word { text: w.into(), column: 1 }).collect(), None)
}
