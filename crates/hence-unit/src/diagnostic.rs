//! What is wrong in a unit file, and where. It does not print: loader, linter and `why` render these.

use crate::Text;
use alloc::string::String;
use core::fmt;

/// A position in a unit file. Lines and columns count from 1; a column counts characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Path of the file as it was opened.
    pub file: Text,
    /// Line, from 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// Column of the first character, from 1; 0 where the line as a whole is meant.
    pub column: u32,
}

/// A position in one of the files of a unit; [`crate::Config::place`] has its path. Small, and alike in units
/// whose files are alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Index into [`crate::Config::sources`].
    pub source: u16,
    /// Line, from 1; 0 where the file as a whole is meant.
    pub line: u32,
    /// Column, as of [`Place`]; the last one that fits for those further right.
    pub column: u16,
}

impl Position {
    /// A place in the file of this index.
    pub(crate) fn new(source: u16, line: u32, column: u32) -> Position {
        Position { source, line, column: u16::try_from(column).unwrap_or(u16::MAX) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.line > 0 && self.column > 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The unit works; a person may want to know.
    Note,
    /// Something in the file has no effect or an unexpected one.
    Warning,
    /// The unit can't be used as written.
    Error,
}

/// A finding in a unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable identifier, in kebab case: `unknown-directive`.
    pub rule: &'static str,
    /// How bad it is.
    pub level: Level,
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The likely mend, in one sentence, where one is known.
    pub fix: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "{}: {level}: {}", self.place, self.message)?;
        if let Some(fix) = &self.fix {
            write!(f, " ({fix})")?;
        }
        Ok(())
    }
}
