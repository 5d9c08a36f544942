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

/// What each method of some interfaces asks for.
pub type Rule = fn(&str) -> Access;

/// org.freedesktop.systemd1.Manager.
pub fn manager(method: &str) -> Access {
    match method {
        // Only who holds a reference can give one up.
        "UnrefUnit" => Open,
        "GetUnit"
        | "GetUnitByPID"
        | "GetUnitByInvocationID"
        | "GetUnitByControlGroup"
        | "LoadUnit"
        | "GetUnitProcesses"
        | "GetJob"
        | "GetJobAfter"
        | "GetJobBefore"
        | "ListUnits"
        | "ListUnitsFiltered"
        | "ListUnitsByPatterns"
        | "ListUnitsByNames"
        | "ListJobs"
        | "Subscribe"
        | "Unsubscribe"
        | "Dump"
        | "DumpUnitsMatchingPatterns"
        | "DumpByFileDescriptor"
        | "DumpUnitsMatchingPatternsByFileDescriptor"
        | "ListUnitFiles"
        | "ListUnitFilesByPatterns"
        | "GetUnitFileState"
        | "GetUnitFileLinks"
        | "GetDefaultTarget"
        | "LookupDynamicUserByName"
        | "LookupDynamicUserByUID"
        | "GetDynamicUsers" => Open,
        "StartUnit"
        | "StartUnitWithFlags"
        | "StartUnitReplace"
        | "StopUnit"
        | "ReloadUnit"
        | "RestartUnit"
        | "TryRestartUnit"
        | "ReloadOrRestartUnit"
        | "ReloadOrTryRestartUnit"
        | "EnqueueUnitJob"
        | "EnqueueMarkedJobs"
        | "KillUnit"
        | "CleanUnit"
        | "FreezeUnit"
        | "ThawUnit"
        | "ResetFailedUnit"
        | "SetUnitProperties"
        | "BindMountUnit"
        | "MountImageUnit"
        | "RefUnit"
        | "StartTransientUnit"
        | "AttachProcessesToUnit"
        | "AbandonScope"
        | "CancelJob"
        | "ClearJobs"
        | "ResetFailed" => UNITS,
        "EnableUnitFiles"
        | "EnableUnitFilesWithFlags"
        | "DisableUnitFiles"
        | "DisableUnitFilesWithFlags"
        | "ReenableUnitFiles"
        | "LinkUnitFiles"
        | "PresetUnitFiles"
        | "PresetUnitFilesWithMode"
        | "PresetAllUnitFiles"
        | "MaskUnitFiles"
        | "UnmaskUnitFiles"
        | "RevertUnitFiles"
        | "SetDefaultTarget"
        | "AddDependencyUnitFiles" => FILES,
        "SetEnvironment" | "UnsetEnvironment" | "UnsetAndSetEnvironment" => ENVIRONMENT,
        "Reload" | "Reexecute" => DAEMON,
        _ => Privileged,
    }
}

/// org.freedesktop.systemd1.Unit and the interfaces of its kinds.
pub fn unit(method: &str) -> Access {
    match method {
        "Unref" | "GetProcesses" => Open,
        "Start" | "Stop" | "Reload" | "Restart" | "TryRestart" | "ReloadOrRestart" | "ReloadOrTryRestart"
        | "EnqueueJob" | "Kill" | "ResetFailed" | "SetProperties" | "Ref" | "Clean" | "Freeze" | "Thaw"
        | "AttachProcesses" | "BindMount" | "MountImage" | "Abandon" => UNITS,
        _ => Privileged,
    }
}

/// org.freedesktop.systemd1.Job.
pub fn job(method: &str) -> Access {
    match method {
        "GetAfter" | "GetBefore" => Open,
        "Cancel" => UNITS,
        _ => Privileged,
    }
}

/// The interfaces that all objects have. Properties that can be set are settings of the whole.
pub fn standard(method: &str) -> Access {
    match method {
        "Ping" | "GetMachineId" | "Introspect" | "Get" | "GetAll" => Open,
        _ => Privileged,
    }
}
