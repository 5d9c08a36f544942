//! Section names of unit files, and sets of them. It does not know which directives they hold.

use crate::UnitKind;
use core::fmt;

/// A section that has rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are the sections' names")]
pub enum Section {
    Unit,
    Service,
    Socket,
    Timer,
    Path,
    Slice,
    Scope,
    Mount,
    Automount,
    Swap,
    Install,
    XHence,
}

impl Section {
    /// Every section.
    pub const ALL: [Section; 12] = [
        Section::Unit,
        Section::Service,
        Section::Socket,
        Section::Timer,
        Section::Path,
        Section::Slice,
        Section::Scope,
        Section::Mount,
        Section::Automount,
        Section::Swap,
        Section::Install,
        Section::XHence,
    ];

    /// The name without its brackets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Section::Unit => "Unit",
            Section::Service => "Service",
            Section::Socket => "Socket",
            Section::Timer => "Timer",
            Section::Path => "Path",
            Section::Slice => "Slice",
            Section::Scope => "Scope",
            Section::Mount => "Mount",
            Section::Automount => "Automount",
            Section::Swap => "Swap",
            Section::Install => "Install",
            Section::XHence => "X-Hence",
        }
    }

    /// The section of this name.
    pub fn parse(name: &str) -> Option<Section> {
        Some(match name {
            "Unit" => Section::Unit,
            "Service" => Section::Service,
            "Socket" => Section::Socket,
            "Timer" => Section::Timer,
            "Path" => Section::Path,
            "Slice" => Section::Slice,
            "Scope" => Section::Scope,
            "Mount" => Section::Mount,
            "Automount" => Section::Automount,
            "Swap" => Section::Swap,
            "Install" => Section::Install,
            "X-Hence" => Section::XHence,
            _ => return None,
        })
    }

    /// Whether it may stand in a unit of this kind.
    pub fn belongs_to(self, kind: UnitKind) -> bool {
        matches!(self, Section::Unit | Section::Install | Section::XHence)
            || kind.section() == Some(self.as_str())
    }

    /// The set of this section alone.
    pub const fn only(self) -> Sections {
        Sections(1 << self as u16)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sections(pub(crate) u16);

impl Sections {
    /// Those of the kinds that run processes of their own; systemd.exec(5).
    pub const EXEC: Sections = Section::Service
        .only()
        .and(Section::Socket.only())
        .and(Section::Mount.only())
        .and(Section::Swap.only());
    /// Those of the kinds whose processes are killed; systemd.kill(5).
    pub const KILL: Sections = Sections::EXEC.and(Section::Scope.only());
    /// Those of the kinds with a control group; systemd.resource-control(5).
    pub const RESOURCES: Sections = Sections::KILL.and(Section::Slice.only());

    /// Both sets.
    pub const fn and(self, other: Sections) -> Sections {
        Sections(self.0 | other.0)
    }

    /// Whether the section is in the set.
    pub const fn has(self, section: Section) -> bool {
        self.0 & section.only().0 != 0
    }
}
