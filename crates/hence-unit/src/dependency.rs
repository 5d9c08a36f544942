//! Dependency kinds as sums of atoms, and where a dependency was declared.
//!
//! Each kind is a set of [`Atom`]s; jobs and states look for an atom, never for a kind. The inverse of a
//! kind is what the other unit carries. Measured against systemd 252; systemd.unit(5), "[Unit] Section".

use crate::{Position, Text, UnitName, directive};

/// One effect of a dependency of A on B, as A carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Atom {
    /// Start of A adds a start of B; B's failure to be added fails A's transaction.
    PullInStart = 1 << 0,
    /// Start of A adds a start of B; errors are ignored.
    PullInStartIgnored = 1 << 1,
    /// Start of A adds a check that B is active.
    PullInVerify = 1 << 2,
    /// Start of A adds a stop of B; errors fail the transaction.
    PullInStop = 1 << 3,
    /// Start of A adds a stop of B; errors are ignored.
    PullInStopIgnored = 1 << 4,
    /// A stop of A adds a stop of B.
    PropagateStop = 1 << 5,
    /// A restart of A adds a try-restart of B.
    PropagateRestart = 1 << 6,
    /// A reload of A adds a try-reload of B; errors are ignored.
    PropagateReload = 1 << 7,
    /// A failed start job of A fails B's start job with `dependency`.
    PropagateStartFailure = 1 << 8,
    /// A failed stop job of A fails B's start job with `dependency`.
    PropagateStopFailure = 1 << 9,
    /// A's start "done" without A active fails B's start job.
    PropagateInactiveStartAsFailure = 1 << 10,
    /// A came up without a job: start B (replace), unless A is ordered after B.
    RetroactiveStartReplace = 1 << 11,
    /// A came up without a job: start B (fail), unless A is ordered after B.
    RetroactiveStartFail = 1 << 12,
    /// A came up without a job: stop B.
    RetroactiveStopOnStart = 1 << 13,
    /// A went down without a job: stop B.
    RetroactiveStopOnStop = 1 << 14,
    /// A may not start or stay up while B is down (BindsTo= with After=).
    CannotBeActiveWithout = 1 << 15,
    /// While A is active, B is started again whenever it is down.
    StartSteadily = 1 << 16,
    /// A keeps B from being stopped by StopWhenUnneeded=.
    PinsStopWhenUnneeded = 1 << 17,
    /// A's job waits for B's: start after, stop before.
    After = 1 << 18,
    /// B's job waits for A's.
    Before = 1 << 19,
    /// A's failure starts B.
    OnFailure = 1 << 20,
    /// A's success starts B.
    OnSuccess = 1 << 21,
    /// A starts B on traffic, time or file system events.
    Triggers = 1 << 22,
    /// B starts A on traffic, time or file system events.
    TriggeredBy = 1 << 23,
    /// A belongs to slice B.
    InSlice = 1 << 24,
    /// The slice A has member B.
    SliceOf = 1 << 25,
    /// A stop added through this link is dropped last when it conflicts with a start.
    Conflicts = 1 << 26,
    /// As [`Atom::Conflicts`], from the other side.
    ConflictedBy = 1 << 27,
    /// A is in B's namespaces.
    JoinsNamespace = 1 << 28,
}

macro_rules! kinds {
    ($($kind:ident $name:literal $inverse:ident $atoms:expr, $doc:literal;)*) => {
        /// A kind of dependency; its name is systemd's directive or property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DependencyKind { $(#[doc = $doc] $kind,)* }
        impl DependencyKind {
            /// Every kind.
            pub const ALL: &'static [DependencyKind] = &[$(DependencyKind::$kind,)*];
            /// The name of the directive or property.
            pub const fn name(self) -> &'static str { match self { $(DependencyKind::$kind => $name,)* } }
            /// What the other unit carries.
            pub const fn inverse(self) -> DependencyKind {
                match self { $(DependencyKind::$kind => DependencyKind::$inverse,)* }
            }
            /// The sum of its atoms.
            pub const fn atoms(self) -> u32 {
                use Atom::*;
                match self { $(DependencyKind::$kind => $atoms,)* }
            }
        }
    };
}

kinds! {
    Requires "Requires" RequiredBy PullInStart as u32 | RetroactiveStartReplace as u32, "B is started with A, and takes A down when it is stopped.";
    Requisite "Requisite" RequisiteOf PullInVerify as u32, "B must be active already.";
    Wants "Wants" WantedBy PullInStartIgnored as u32 | RetroactiveStartFail as u32, "B is started with A, if it can be.";
    BindsTo "BindsTo" BoundBy PullInStart as u32 | RetroactiveStartReplace as u32 | CannotBeActiveWithout as u32, "As Requires=, and A goes down whenever B does.";
    PartOf "PartOf" ConsistsOf 0, "Stop and restart of B are passed to A.";
    Upholds "Upholds" UpheldBy PullInStartIgnored as u32 | RetroactiveStartReplace as u32 | StartSteadily as u32, "B is kept up while A is up.";
    RequiredBy "RequiredBy" Requires PropagateStop as u32 | PropagateRestart as u32 | PropagateStartFailure as u32 | PinsStopWhenUnneeded as u32, "Inverse of Requires=.";
    RequisiteOf "RequisiteOf" Requisite PropagateStop as u32 | PropagateRestart as u32 | PropagateStartFailure as u32 | PropagateInactiveStartAsFailure as u32 | PinsStopWhenUnneeded as u32, "Inverse of Requisite=.";
    WantedBy "WantedBy" Wants PinsStopWhenUnneeded as u32, "Inverse of Wants=.";
    BoundBy "BoundBy" BindsTo PropagateStop as u32 | PropagateRestart as u32 | PropagateStartFailure as u32 | RetroactiveStopOnStop as u32 | PinsStopWhenUnneeded as u32, "Inverse of BindsTo=.";
    ConsistsOf "ConsistsOf" PartOf PropagateStop as u32 | PropagateRestart as u32, "Inverse of PartOf=.";
    UpheldBy "UpheldBy" Upholds PinsStopWhenUnneeded as u32, "Inverse of Upholds=.";
    Conflicts "Conflicts" ConflictedBy PullInStop as u32 | RetroactiveStopOnStart as u32 | Atom::Conflicts as u32, "A and B are never up together.";
    ConflictedBy "ConflictedBy" Conflicts PullInStopIgnored as u32 | RetroactiveStopOnStart as u32 | PropagateStopFailure as u32 | Atom::ConflictedBy as u32, "Inverse of Conflicts=.";
    Before "Before" After Atom::Before as u32, "A starts before B and stops after it.";
    After "After" Before Atom::After as u32, "A starts after B and stops before it.";
    OnFailure "OnFailure" OnFailureOf Atom::OnFailure as u32, "B is started when A fails.";
    OnFailureOf "OnFailureOf" OnFailure 0, "Inverse of OnFailure=.";
    OnSuccess "OnSuccess" OnSuccessOf Atom::OnSuccess as u32, "B is started when A ends well.";
    OnSuccessOf "OnSuccessOf" OnSuccess 0, "Inverse of OnSuccess=.";
    Triggers "Triggers" TriggeredBy Atom::Triggers as u32, "A starts B by itself.";
    TriggeredBy "TriggeredBy" Triggers Atom::TriggeredBy as u32, "Inverse of Triggers.";
    PropagatesReloadTo "PropagatesReloadTo" ReloadPropagatedFrom PropagateReload as u32, "A's reload reloads B.";
    ReloadPropagatedFrom "ReloadPropagatedFrom" PropagatesReloadTo 0, "Inverse of PropagatesReloadTo=.";
    PropagatesStopTo "PropagatesStopTo" StopPropagatedFrom PropagateStop as u32 | RetroactiveStopOnStop as u32, "A's stop stops B.";
    StopPropagatedFrom "StopPropagatedFrom" PropagatesStopTo 0, "Inverse of PropagatesStopTo=.";
    JoinsNamespaceOf "JoinsNamespaceOf" JoinsNamespaceOf JoinsNamespace as u32, "A shares B's namespaces.";
    InSlice "InSlice" SliceOf Atom::InSlice as u32, "A belongs to slice B.";
    SliceOf "SliceOf" InSlice Atom::SliceOf as u32, "Inverse of InSlice.";
}

impl DependencyKind {
    /// Whether it has this atom.
    pub const fn has(self, atom: Atom) -> bool {
        self.atoms() & atom as u32 != 0
    }

    /// Whether it is one that a file of unit A may declare (the rest are inverses or implied).
    pub fn from_directive(name: &str) -> Option<DependencyKind> {
        DependencyKind::ALL.iter().copied().find(|k| k.name() == name)
    }
}

/// Why a dependency exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a unit file: the directive is the kind's name.
    Directive(Position),
    /// A link in a folder `foo.target.wants/`, `.requires/` or `.upholds/`; the path of the link.
    Folder(Text),
    /// DefaultDependencies=yes of the unit's kind.
    Default,
    /// Implied by another directive (Slice=, Sockets=, a socket's service).
    Implied(Implied),
}

/// What implies a dependency. Small, for there may be thousands of dependencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Implied {
    /// The directive's row.
    row: u16,
    /// Where it stands; `None` where the implication needs no line.
    pub position: Option<Position>,
}

impl Implied {
    /// The directive that implies it.
    pub fn directive(&self) -> &'static str {
        directive::name_of(self.row)
    }
}

impl Origin {
    pub(crate) fn implied(directive: &'static str, position: Option<Position>) -> Origin {
        // A name of several rows is that of each.
        let row = directive::row_named(directive);
        debug_assert!(row.is_some(), "there is no directive {directive}");
        Origin::Implied(Implied { row: row.unwrap_or(u16::MAX), position })
    }
}

/// "This unit KIND other", with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The kind, always as this unit carries it.
    pub kind: DependencyKind,
    /// The other unit.
    pub other: UnitName,
    /// Where it comes from.
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_are_inverse() {
        for &k in DependencyKind::ALL {
            assert_eq!(k.inverse().inverse(), k, "{k:?}");
            assert_eq!(DependencyKind::from_directive(k.name()), Some(k));
        }
    }
}
