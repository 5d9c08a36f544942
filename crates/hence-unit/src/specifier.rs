//! Specifiers. It expands none so far.

use crate::{UnitName, config::Environs};
use alloc::string::String;

/// Why a specifier could not be expanded.
pub type SpecifierError = String;

/// The text with its specifiers expanded.
pub fn expand(text: &str, _unit: &UnitName, _environs: &Environs) -> Result<String, SpecifierError> {
    Ok(text.into())
}
