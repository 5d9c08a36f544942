//! Who may call which method. Root and the uid that we run as may call all; who else the bus lets in may
//! look, and change nothing. It doesn't know callers; the front asks it for those without privilege.
//!
//! Polkit decides on what changes something, where it is on the bus; else that is refused. A method that
//! isn't listed is refused too, so that a new one is open only once somebody said so.

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it only looks.
    Open,
    /// What polkit grants to administrators under this action of org.freedesktop.systemd1.
    Action(&'static str),
    /// Privilege, whatever polkit says.
    Privileged,
}

use Access::{Action, Open, Privileged};

const UNITS: Access = Action("manage-units");
const FILES: Access = Action("manage-unit-files");
const ENVIRONMENT: Access = Action("set-environment");
const DAEMON: Access = Action("reload-daemon");

type Entries = &'static [(&'static str, Access)];

/// org.freedesktop.systemd1.Manager.
pub const MANAGER: Entries = &[
    ("GetUnit", Open),
    ("GetUnitByPID", Open),
    ("GetUnitByInvocationID", Open),
    ("GetUnitByControlGroup", Open),
    ("LoadUnit", Open),
    ("StartUnit", UNITS),
    ("StartUnitWithFlags", UNITS),
    ("StartUnitReplace", UNITS),
    ("StopUnit", UNITS),
    ("ReloadUnit", UNITS),
    ("RestartUnit", UNITS),
    ("TryRestartUnit", UNITS),
    ("ReloadOrRestartUnit", UNITS),
    ("ReloadOrTryRestartUnit", UNITS),
    ("EnqueueUnitJob", UNITS),
    ("EnqueueMarkedJobs", UNITS),
    ("KillUnit", UNITS),
    ("CleanUnit", UNITS),
    ("FreezeUnit", UNITS),
    ("ThawUnit", UNITS),
    ("ResetFailedUnit", UNITS),
    ("SetUnitProperties", UNITS),
    ("BindMountUnit", UNITS),
    ("MountImageUnit", UNITS),
    ("RefUnit", UNITS),
    // Only who holds a reference can give one up.
    ("UnrefUnit", Open),
    ("StartTransientUnit", UNITS),
    ("GetUnitProcesses", Open),
    ("AttachProcessesToUnit", UNITS),
    ("AbandonScope", UNITS),
    ("GetJob", Open),
    ("GetJobAfter", Open),
    ("GetJobBefore", Open),
    ("CancelJob", UNITS),
    ("ClearJobs", UNITS),
    ("ResetFailed", UNITS),
    ("SetShowStatus", Privileged),
    ("ListUnits", Open),
    ("ListUnitsFiltered", Open),
    ("ListUnitsByPatterns", Open),
    ("ListUnitsByNames", Open),
    ("ListJobs", Open),
    ("Subscribe", Open),
    ("Unsubscribe", Open),
    ("Dump", Open),
    ("DumpUnitsMatchingPatterns", Open),
    ("DumpByFileDescriptor", Open),
    ("DumpUnitsMatchingPatternsByFileDescriptor", Open),
    ("Reload", DAEMON),
    ("Reexecute", DAEMON),
    ("Exit", Privileged),
    ("Reboot", Privileged),
    ("PowerOff", Privileged),
    ("Halt", Privileged),
    ("KExec", Privileged),
    ("SwitchRoot", Privileged),
    ("SetEnvironment", ENVIRONMENT),
    ("UnsetEnvironment", ENVIRONMENT),
    ("UnsetAndSetEnvironment", ENVIRONMENT),
    ("ListUnitFiles", Open),
    ("ListUnitFilesByPatterns", Open),
    ("GetUnitFileState", Open),
    ("GetUnitFileLinks", Open),
    ("GetDefaultTarget", Open),
    ("EnableUnitFiles", FILES),
    ("EnableUnitFilesWithFlags", FILES),
    ("DisableUnitFiles", FILES),
    ("DisableUnitFilesWithFlags", FILES),
    ("ReenableUnitFiles", FILES),
    ("LinkUnitFiles", FILES),
    ("PresetUnitFiles", FILES),
    ("PresetUnitFilesWithMode", FILES),
    ("PresetAllUnitFiles", FILES),
    ("MaskUnitFiles", FILES),
    ("UnmaskUnitFiles", FILES),
    ("RevertUnitFiles", FILES),
    ("SetDefaultTarget", FILES),
    ("AddDependencyUnitFiles", FILES),
    ("SetExitCode", Privileged),
    ("LookupDynamicUserByName", Open),
    ("LookupDynamicUserByUID", Open),
    ("GetDynamicUsers", Open),
];

/// org.freedesktop.systemd1.Unit and the interfaces of its kinds.
pub const UNIT: Entries = &[
    ("Start", UNITS),
    ("Stop", UNITS),
    ("Reload", UNITS),
    ("Restart", UNITS),
    ("TryRestart", UNITS),
    ("ReloadOrRestart", UNITS),
    ("ReloadOrTryRestart", UNITS),
    ("EnqueueJob", UNITS),
    ("Kill", UNITS),
    ("ResetFailed", UNITS),
    ("SetProperties", UNITS),
    ("Ref", UNITS),
    ("Unref", Open),
    ("Clean", UNITS),
    ("Freeze", UNITS),
    ("Thaw", UNITS),
    ("GetProcesses", Open),
    ("AttachProcesses", UNITS),
    ("BindMount", UNITS),
    ("MountImage", UNITS),
    ("Abandon", UNITS),
];

/// org.freedesktop.systemd1.Job.
pub const JOB: Entries = &[("Cancel", UNITS), ("GetAfter", Open), ("GetBefore", Open)];

/// The interfaces that all objects have. Properties that can be set are settings of the whole.
pub const STANDARD: Entries = &[
    ("Ping", Open),
    ("GetMachineId", Open),
    ("Introspect", Open),
    ("Get", Open),
    ("GetAll", Open),
    ("Set", Privileged),
];

/// What the method of this name asks for.
pub fn of(entries: Entries, method: &str) -> Access {
    let found = entries.iter().find(|(name, _)| *name == method);
    found.map_or(Privileged, |(_, access)| *access)
}
