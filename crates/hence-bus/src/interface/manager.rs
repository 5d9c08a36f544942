//! org.freedesktop.systemd1.Manager: the whole, its units and jobs. Unit files are in `manager_files`.

use super::row::{Group, rows};
use super::shown::{monotonic, or_max, realtime, text, texts};
use super::unit::{enqueue, kill, list_row, mode, verb};
use super::{
    Call, Interface, Methods, Signal, Turn, job, manager_files, manager_settings, method::methods, slice,
};
use crate::front::{Command, ErrorName, ManagerView, Power, Refusal, UnitRow, Verb};
use crate::front::{job_path, matches, unit_path};
use crate::wire::Value;

/// The interface.
pub static INTERFACE: Interface<ManagerView> = Interface {
    name: "org.freedesktop.systemd1.Manager",
    properties: &[&PROPERTIES, &manager_settings::SETTINGS, &manager_settings::LIMITS],
    methods: &[&METHODS],
    signals: SIGNALS,
};

static PROPERTIES: Group<ManagerView> = rows!(
    ManagerView,
    [
        fixed("Version", "s", |m| text(&m.version)),
        fixed("Virtualization", "s", |m| text(&m.virtualization)),
        fixed("Architecture", "s", |m| text(&m.architecture)),
        fixed("Tainted", "s", |m| text(&m.tainted)),
        fixed("KernelTimestamp", "t", |m| realtime(m.kernel)),
        fixed("KernelTimestampMonotonic", "t", |m| monotonic(m.kernel)),
        fixed("UserspaceTimestamp", "t", |m| realtime(m.userspace)),
        fixed("UserspaceTimestampMonotonic", "t", |m| monotonic(m.userspace)),
        fixed("FinishTimestamp", "t", |m| realtime(m.finish)),
        fixed("FinishTimestampMonotonic", "t", |m| monotonic(m.finish)),
        fixed("UnitsLoadStartTimestamp", "t", |m| realtime(m.units_load_start)),
        fixed("UnitsLoadStartTimestampMonotonic", "t", |m| monotonic(m.units_load_start)),
        fixed("UnitsLoadFinishTimestamp", "t", |m| realtime(m.units_load_finish)),
        fixed("UnitsLoadFinishTimestampMonotonic", "t", |m| monotonic(m.units_load_finish)),
        quiet("LogLevel", "s", |m| m.log_level.into()),
        quiet("LogTarget", "s", |m| m.log_target.into()),
        quiet("NNames", "u", |m| m.n_names.into()),
        live("NFailedUnits", "u", |m| m.n_failed_units.into()),
        quiet("NJobs", "u", |m| m.n_jobs.into()),
        quiet("NInstalledJobs", "u", |m| m.n_installed_jobs.into()),
        quiet("NFailedJobs", "u", |m| m.n_failed_jobs.into()),
        quiet("Progress", "d", |m| m.progress.into()),
        quiet("Environment", "as", |m| texts(&m.environment)),
        fixed("UnitPath", "as", |m| texts(&m.unit_path)),
        quiet("ControlGroup", "s", |m| text(&m.control_group)),
        quiet("SystemState", "s", |m| m.system_state.into()),
        fixed("DefaultTimeoutStartUSec", "t", |m| m.default_timeout_start_us.into()),
        fixed("DefaultTimeoutStopUSec", "t", |m| m.default_timeout_stop_us.into()),
        fixed("DefaultRestartUSec", "t", |m| m.default_restart_us.into()),
        fixed("DefaultStartLimitIntervalUSec", "t", |m| m.default_start_limit_interval_us.into()),
        fixed("DefaultStartLimitBurst", "u", |m| m.default_start_limit_burst.into()),
        quiet("DefaultTasksMax", "t", |m| or_max(m.default_tasks_max)),
    ]
);

const SIGNALS: &[Signal] = &[
    ("UnitNew", "so"),
    ("UnitRemoved", "so"),
    ("JobNew", "uos"),
    ("JobRemoved", "uoss"),
    ("StartupFinished", "tttttt"),
    ("UnitFilesChanged", ""),
    ("Reloading", "b"),
];

static METHODS: Methods = methods!([
    method("GetUnit", "s", "o", |c| {
        let name = name_or_own(c)?;
        match c.model.unit(&name, false)? {
            Some(view) => reply_path(unit_path(&view.row.id)),
            None => Err(not_loaded(&name)),
        }
    }),
    method("LoadUnit", "s", "o", |c| {
        let name = name_or_own(c)?;
        match c.load(&name)? {
            Some(view) => reply_path(unit_path(&view.row.id)),
            None => Err(not_loaded(&name)),
        }
    }),
    method("GetUnitByPID", "u", "o", |c| {
        let pid = if c.number(0) == 0 { c.caller.pid } else { c.number(0) };
        reply_path(unit_path(&super::unit_of_pid(c.model, pid)?))
    }),
    method("StartUnit", "ss", "o", |c| enqueue_named(c, Verb::Start)),
    method("StartUnitWithFlags", "sst", "o", |c| match c.arguments.get(2) {
        Some(Value::Uint64(0)) => enqueue_named(c, Verb::Start),
        _ => Err(Refusal::new(ErrorName::InvalidArgs, "Invalid 'flags' parameter.")),
    }),
    method("StopUnit", "ss", "o", |c| enqueue_named(c, Verb::Stop)),
    method("ReloadUnit", "ss", "o", |c| enqueue_named(c, Verb::Reload)),
    method("RestartUnit", "ss", "o", |c| enqueue_named(c, Verb::Restart)),
    method("TryRestartUnit", "ss", "o", |c| enqueue_named(c, Verb::TryRestart)),
    method("ReloadOrRestartUnit", "ss", "o", |c| enqueue_named(c, Verb::ReloadOrRestart)),
    method("ReloadOrTryRestartUnit", "ss", "o", |c| enqueue_named(c, Verb::ReloadOrTryRestart)),
    method("EnqueueUnitJob", "sss", "uososa(uosos)", |c| {
        enqueue(c.unit_name(0)?, verb(c.text(1))?, c.text(2), true)
    }),
    method("KillUnit", "ssi", "", |c| kill(c.unit_name(0)?, c.text(1), c.arguments.get(2))),
    method("CleanUnit", "sas", "", |c| {
        let (unit, what) = (c.unit_name(0)?, c.texts(1));
        Ok(Turn::Ask(Command::Clean { unit, what }))
    }),
    method("FreezeUnit", "s", "", |c| Ok(Turn::Ask(Command::Freeze { unit: c.unit_name(0)?, thaw: false }))),
    method("ThawUnit", "s", "", |c| Ok(Turn::Ask(Command::Freeze { unit: c.unit_name(0)?, thaw: true }))),
    method("ResetFailedUnit", "s", "", |c| {
        Ok(Turn::Ask(Command::ResetFailed { unit: Some(c.unit_name(0)?) }))
    }),
    method("SetUnitProperties", "sba(sv)", "", |c| {
        let (unit, runtime, properties) = (c.unit_name(0)?, c.truth(1), c.pairs(2));
        Ok(Turn::Ask(Command::SetProperties { unit, runtime, properties }))
    }),
    method("StartTransientUnit", "ssa(sv)a(sa(sv))", "o", |c| {
        let (unit, mode, properties) = (c.unit_name(0)?, mode(c.text(1))?, c.pairs(2));
        let (others, descriptors) = (c.named_pairs(3), c.descriptors.to_vec());
        Ok(Turn::Ask(Command::StartTransient { unit, mode, properties, others, descriptors }))
    }),
    method("RefUnit", "s", "", |c| Ok(Turn::Ask(Command::Hold { unit: c.unit_name(0)?, hold: true }))),
    method("UnrefUnit", "s", "", |c| Ok(Turn::Ask(Command::Hold { unit: c.unit_name(0)?, hold: false }))),
    method("AbandonScope", "s", "", |c| Ok(Turn::Ask(Command::Abandon { unit: c.unit_name(0)? }))),
    method("AttachProcessesToUnit", "ssau", "", |c| {
        let unit = name_or_own(c)?;
        slice::attach(unit, c.text(1), c.numbers(2))
    }),
    method("GetUnitByInvocationID", "ay", "o", |c| {
        let bytes = match c.arguments.first() {
            Some(Value::Bytes(bytes)) => &bytes[..],
            _ => &[],
        };
        let id = match bytes.len() {
            // None names the caller's unit.
            0 => return reply_path(unit_path(&super::unit_of_pid(c.model, c.caller.pid)?)),
            16 => <[u8; 16]>::try_from(bytes).unwrap_or_default(),
            _ => return Err(Refusal::new(ErrorName::InvalidArgs, "Invalid invocation ID")),
        };
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let none = || {
            let text = format!("No unit with the specified invocation ID {hex} known.");
            Refusal::new(ErrorName::NoUnitForInvocation, text)
        };
        reply_path(unit_path(&c.model.unit_of_invocation(id).ok_or_else(none)?))
    }),
    // Units are not marked, for `SetUnitProperties` refuses that.
    method("EnqueueMarkedJobs", "", "ao", |_| Ok(Turn::Reply(vec![Value::array("o", Vec::new())]))),
    // There are no users that exist only while their unit runs.
    method("GetDynamicUsers", "", "a(us)", |_| Ok(Turn::Reply(vec![Value::array("(us)", Vec::new())]))),
    method("LookupDynamicUserByName", "s", "u", |c| Err(no_such_user(c.text(0).to_owned()))),
    method("LookupDynamicUserByUID", "u", "s", |c| Err(no_such_user(c.number(0).to_string()))),
    method("GetUnitByControlGroup", "s", "o", |c| {
        let path = c.text(0).to_owned();
        let none = || {
            let text = format!("Control group '{path}' is not valid or not managed by this instance");
            Refusal::new(ErrorName::NoSuchUnit, text)
        };
        reply_path(unit_path(&c.model.unit_of_group(&path).ok_or_else(none)?))
    }),
    method("GetUnitProcesses", "s", "a(sus)", |c| {
        let name = name_or_own(c)?;
        if c.model.unit(&name, false)?.is_none() {
            return Err(not_loaded(&name));
        }
        Ok(Turn::Reply(vec![super::slice::processes(c.model, &name)]))
    }),
    method("GetJob", "u", "o", |c| {
        let id = c.number(0);
        match c.model.jobs().iter().any(|job| job.id == id) {
            true => reply_path(job_path(id)),
            false => Err(job::no_such_job(id)),
        }
    }),
    method("GetJobAfter", "u", "a(usssoo)", |c| job::related(c, c.number(0), true)),
    method("GetJobBefore", "u", "a(usssoo)", |c| job::related(c, c.number(0), false)),
    method("CancelJob", "u", "", |c| Ok(Turn::Ask(Command::Cancel { job: c.number(0) }))),
    method("ClearJobs", "", "", |_| Ok(Turn::Ask(Command::ClearJobs))),
    method("ResetFailed", "", "", |_| Ok(Turn::Ask(Command::ResetFailed { unit: None }))),
    method("ListUnits", "", "a(ssssssouso)", |c| list(c, |_| true)),
    method("ListUnitsFiltered", "as", "a(ssssssouso)", |c| {
        let states = c.texts(0);
        list(c, |row| has_state(row, &states))
    }),
    method("ListUnitsByPatterns", "asas", "a(ssssssouso)", |c| {
        let (states, patterns) = (c.texts(0), c.texts(1));
        list(c, |row| has_state(row, &states) && matches_any(&patterns, &row.id))
    }),
    method("ListUnitsByNames", "as", "a(ssssssouso)", |c| {
        let mut rows = Vec::new();
        for name in c.texts(0) {
            if let Some(view) = c.load(&name)? {
                rows.push(list_row(&view.row));
            }
        }
        Ok(Turn::Reply(vec![Value::array("(ssssssouso)", rows)]))
    }),
    method("ListJobs", "", "a(usssoo)", |c| {
        let jobs = c.model.jobs();
        Ok(Turn::Reply(vec![Value::array("(usssoo)", jobs.iter().map(super::job_row).collect())]))
    }),
    // Every peer on a private socket gets all signals.
    method("Subscribe", "", "", |_| Ok(Turn::Subscribe(true))),
    method("Unsubscribe", "", "", |_| Ok(Turn::Subscribe(false))),
    method("Reload", "", "", |_| Ok(Turn::Ask(Command::Reload))),
    method("Reexecute", "", "", |_| Ok(Turn::Ask(Command::Reexecute))),
    method("Exit", "", "", |_| Ok(Turn::Ask(Command::Exit))),
    method("SetExitCode", "y", "", |c| Ok(Turn::Ask(Command::SetExitCode { status: c.byte(0) }))),
    method("Reboot", "", "", |_| Ok(Turn::Ask(Command::Power(Power::Reboot)))),
    method("PowerOff", "", "", |_| Ok(Turn::Ask(Command::Power(Power::PowerOff)))),
    method("Halt", "", "", |_| Ok(Turn::Ask(Command::Power(Power::Halt)))),
    method("KExec", "", "", |_| Ok(Turn::Ask(Command::Power(Power::Kexec)))),
    method("SetEnvironment", "as", "", |c| environment(Vec::new(), c.texts(0))),
    method("UnsetEnvironment", "as", "", |c| environment(c.texts(0), Vec::new())),
    method("UnsetAndSetEnvironment", "asas", "", |c| environment(c.texts(0), c.texts(1))),
    method("ListUnitFiles", "", "a(ss)", |c| manager_files::list(c, &[], &[])),
    method("ListUnitFilesByPatterns", "asas", "a(ss)", |c| {
        let (states, patterns) = (c.texts(0), c.texts(1));
        manager_files::list(c, &states, &patterns)
    }),
    method("GetUnitFileState", "s", "s", manager_files::state),
    method("GetDefaultTarget", "", "s", |c| Ok(Turn::Reply(vec![c.model.default_target()?.into()]))),
    method("SetDefaultTarget", "sb", "a(sss)", manager_files::set_default),
    method("EnableUnitFiles", "asbb", "ba(sss)", manager_files::enable),
    method("DisableUnitFiles", "asb", "a(sss)", manager_files::disable),
    method("EnableUnitFilesWithFlags", "ast", "ba(sss)", manager_files::enable_flagged),
    method("DisableUnitFilesWithFlags", "ast", "a(sss)", manager_files::disable_flagged),
    method("DisableUnitFilesWithFlagsAndInstallInfo", "ast", "ba(sss)", manager_files::disable_flagged),
    method("ReenableUnitFiles", "asbb", "ba(sss)", manager_files::reenable),
    method("PresetUnitFiles", "asbb", "ba(sss)", manager_files::preset),
    method("PresetUnitFilesWithMode", "assbb", "ba(sss)", manager_files::preset_mode),
    method("PresetAllUnitFiles", "sbb", "a(sss)", manager_files::preset_all),
    method("AddDependencyUnitFiles", "asssbb", "a(sss)", manager_files::add_dependency),
    method("GetUnitFileLinks", "sb", "as", manager_files::links),
    method("LinkUnitFiles", "asbb", "a(sss)", manager_files::link),
    method("MaskUnitFiles", "asbb", "a(sss)", manager_files::mask),
    method("UnmaskUnitFiles", "asb", "a(sss)", manager_files::unmask),
    method("RevertUnitFiles", "as", "a(sss)", manager_files::revert),
]);

fn reply_path(path: String) -> Result<Turn, Refusal> {
    Ok(Turn::Reply(vec![Value::path(path)]))
}

fn environment(unset: Vec<String>, set: Vec<String>) -> Result<Turn, Refusal> {
    use hence_unit::value::assignment_is_valid;
    if set.iter().all(|text| assignment_is_valid(text)) {
        return Ok(Turn::Ask(Command::Environment { unset, set }));
    }
    Err(Refusal::new(ErrorName::InvalidArgs, "Invalid environment assignments"))
}

/// The unit that is named, or the caller's where the name is empty.
fn name_or_own(call: &mut Call<'_>) -> Result<String, Refusal> {
    if call.text(0).is_empty() {
        return super::unit_of_pid(call.model, call.caller.pid);
    }
    call.unit_name(0)
}

fn not_loaded(name: &str) -> Refusal {
    Refusal::new(ErrorName::NoSuchUnit, format!("Unit {name} not loaded."))
}

fn enqueue_named(call: &mut Call<'_>, verb: Verb) -> Result<Turn, Refusal> {
    enqueue(call.unit_name(0)?, verb, call.text(1), false)
}

fn list(call: &mut Call<'_>, wanted: impl Fn(&UnitRow) -> bool) -> Result<Turn, Refusal> {
    let rows = call.model.units();
    let rows = rows.iter().filter(|row| wanted(row)).map(list_row).collect();
    Ok(Turn::Reply(vec![Value::array("(ssssssouso)", rows)]))
}

fn has_state(row: &UnitRow, states: &[String]) -> bool {
    states.is_empty()
        || states.iter().any(|s| [row.load_state, row.active_state, row.sub_state].contains(&&**s))
}

/// Whether a name matches one of the patterns, or there are none.
pub(super) fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name))
}

fn no_such_user(user: String) -> Refusal {
    Refusal::new(ErrorName::NoSuchDynamicUser, format!("Dynamic user {user} does not exist."))
}
