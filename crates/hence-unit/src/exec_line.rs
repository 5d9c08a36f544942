//! Command lines. It parses none so far.

use crate::{Diagnostic, Place, config::Command, specifier::SpecifierError};
use alloc::{string::String, vec::Vec};

/// The commands of a value.
pub fn parse(
    _value: &str,
    _place: &Place,
    _specify: &mut dyn FnMut(&str) -> Result<String, SpecifierError>,
) -> (Vec<Command>, Vec<Diagnostic>) {
    (Vec::new(), Vec::new())
}
