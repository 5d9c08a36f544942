//! Errors by the names that systemctl knows. It does not decide when to refuse.

use std::borrow::Cow;
use std::fmt;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The name of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorName {
            $($(#[$doc])* $name,)*
        }

        impl ErrorName {
            /// Every error.
            pub const ALL: &[ErrorName] = &[$(ErrorName::$name,)*];

            /// The name on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ErrorName::$name => $text,)*
                }
            }
        }
    };
}

errors! {
    /// No unit of that name is loaded, or can be.
    NoSuchUnit = "org.freedesktop.systemd1.NoSuchUnit",
    /// No unit has this invocation.
    NoUnitForInvocation = "org.freedesktop.systemd1.NoUnitForInvocationID",
    /// The scope does not run.
    ScopeNotRunning = "org.freedesktop.systemd1.ScopeNotRunning",
    /// Nothing that could be cleaned.
    NothingToClean = "org.freedesktop.systemd1.NothingToClean",
    /// Somebody would have to be asked, and the caller did not say that there is anybody.
    InteractiveAuthorizationRequired = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
    /// There is no such dynamic user.
    NoSuchDynamicUser = "org.freedesktop.systemd1.NoSuchDynamicUser",
    /// The client does not hold on to the unit.
    NotReferenced = "org.freedesktop.systemd1.NotReferenced",
    /// The process belongs to no unit.
    NoUnitForPid = "org.freedesktop.systemd1.NoUnitForPID",
    /// A transient unit of that name exists.
    UnitExists = "org.freedesktop.systemd1.UnitExists",
    /// The unit could not be loaded.
    LoadFailed = "org.freedesktop.systemd1.LoadFailed",
    /// A setting of the unit is bad.
    BadUnitSetting = "org.freedesktop.systemd1.BadUnitSetting",
    /// The unit is masked.
    UnitMasked = "org.freedesktop.systemd1.UnitMasked",
    /// No such job.
    NoSuchJob = "org.freedesktop.systemd1.NoSuchJob",
    /// The kind of unit has no such job.
    JobTypeNotApplicable = "org.freedesktop.systemd1.JobTypeNotApplicable",
    /// The unit refuses to be isolated.
    NoIsolation = "org.freedesktop.systemd1.NoIsolation",
    /// The system is shutting down.
    ShuttingDown = "org.freedesktop.systemd1.ShuttingDown",
    /// The unit refuses to be started or stopped by hand.
    OnlyByDependency = "org.freedesktop.systemd1.OnlyByDependency",
    /// Jobs of the transaction contradict each other.
    TransactionJobsConflicting = "org.freedesktop.systemd1.TransactionJobsConflicting",
    /// The transaction has an ordering cycle.
    TransactionOrderIsCyclic = "org.freedesktop.systemd1.TransactionOrderIsCyclic",
    /// The transaction contradicts a job that may not be replaced.
    TransactionIsDestructive = "org.freedesktop.systemd1.TransactionIsDestructive",
    /// No process to send a signal to.
    NoSuchProcess = "org.freedesktop.systemd1.NoSuchProcess",
    /// The unit is not active.
    UnitInactive = "org.freedesktop.systemd1.UnitInactive",
    /// The unit is active.
    UnitBusy = "org.freedesktop.systemd1.UnitBusy",
    /// The unit was made by a generator, or without a file.
    UnitGenerated = "org.freedesktop.systemd1.UnitGenerated",
    /// The name is that of a link, where a file is needed.
    UnitLinked = "org.freedesktop.systemd1.UnitLinked",
    /// No such unit file.
    NoSuchUnitFile = "org.freedesktop.systemd1.NoSuchUnitFile",
    /// Too many starts in a short time; sent by reload and re-exec.
    RateLimited = "org.freedesktop.systemd1.RateLimited",
    /// The caller is told of everything already.
    AlreadySubscribed = "org.freedesktop.systemd1.AlreadySubscribed",
    /// The caller isn't told of anything.
    NotSubscribed = "org.freedesktop.systemd1.NotSubscribed",
    /// An argument has no meaning.
    InvalidArgs = "org.freedesktop.DBus.Error.InvalidArgs",
    /// No such method.
    UnknownMethod = "org.freedesktop.DBus.Error.UnknownMethod",
    /// No such object.
    UnknownObject = "org.freedesktop.DBus.Error.UnknownObject",
    /// No such interface.
    UnknownInterface = "org.freedesktop.DBus.Error.UnknownInterface",
    /// No such property.
    UnknownProperty = "org.freedesktop.DBus.Error.UnknownProperty",
    /// The property cannot be set.
    PropertyReadOnly = "org.freedesktop.DBus.Error.PropertyReadOnly",
    /// The caller may not do that.
    AccessDenied = "org.freedesktop.DBus.Error.AccessDenied",
    /// Too much at once.
    LimitsExceeded = "org.freedesktop.DBus.Error.LimitsExceeded",
    /// Known, but not possible here.
    NotSupported = "org.freedesktop.DBus.Error.NotSupported",
    /// No such file.
    FileNotFound = "org.freedesktop.DBus.Error.FileNotFound",
    /// Anything else.
    Failed = "org.freedesktop.DBus.Error.Failed",
}

/// A refusal: what systemctl prints and turns into its exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which error.
    pub name: ErrorName,
    /// One sentence for people.
    pub text: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with this text.
    pub fn new(name: ErrorName, text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { name, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
