//! One assignment of a unit file. It does not read files.

use crate::{Place, Text};
use alloc::string::String;

/// A line `Key=value` of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The section it stands in.
    pub section: Text,
    /// The directive.
    pub key: Text,
    /// The value after continuation lines were joined.
    pub value: String,
    /// Place of the key.
    pub place: Place,
    /// Column of the value.
    pub value_column: u32,
}
