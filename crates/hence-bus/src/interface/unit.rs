//! org.freedesktop.systemd1.Unit: the rows that all kinds share; org.freedesktop.systemd1(5).

use super::row::{Group, rows};
use super::shown::{Shown, monotonic, realtime, text, texts};
use super::{Call, Interface, Methods, Turn, configured, method::methods, owned};
use crate::front::{Command, ConditionView, ErrorName, Refusal, UnitView, Verb, Whom};
use crate::front::{job_path, unit_path};
use crate::wire::Value;
use hence_unit::JobMode;

/// Properties that clients ask for one by one, again and again, and that are known without measuring.
pub const KNOWN: &[&str] = &[
    "Id",
    "Names",
    "Following",
    "LoadState",
    "ActiveState",
    "FreezerState",
    "SubState",
    "Job",
    "InvocationID",
    "MainPID",
    "ControlPID",
    "Result",
    "CanReload",
    "TriggeredBy",
    "Triggers",
];

/// The interface.
pub static INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Unit",
    properties: &[&NAMES, &DEPENDENCIES, &FILES, &STATE, &ABILITIES, &TESTS, &configured::UNIT],
    methods: &[&METHODS],
    signals: &[],
};

static NAMES: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("Id", "s", |v| text(&v.row.id)),
        fixed("Names", "as", |v| texts(&v.names)),
        quiet("Following", "s", |v| text(&v.row.following)),
    ]
);

macro_rules! dependencies {
    ($($name:literal,)*) => {
        rows!(UnitView, [$(fixed($name, "as", |v| texts(v.dependency($name))),)*])
    };
}

static DEPENDENCIES: Group<UnitView> = dependencies! {
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "PartOf",
    "Upholds",
    "RequiredBy",
    "RequisiteOf",
    "WantedBy",
    "BoundBy",
    "UpheldBy",
    "ConsistsOf",
    "Conflicts",
    "ConflictedBy",
    "Before",
    "After",
    "OnSuccess",
    "OnSuccessOf",
    "OnFailure",
    "OnFailureOf",
    "Triggers",
    "TriggeredBy",
    "PropagatesReloadTo",
    "ReloadPropagatedFrom",
    "PropagatesStopTo",
    "StopPropagatedFrom",
    "JoinsNamespaceOf",
    "SliceOf",
    "RequiresMountsFor",
};

static FILES: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("Documentation", "as", |v| texts(&v.documentation)),
        fixed("Description", "s", |v| text(&v.row.description)),
        fixed("LoadState", "s", |v| v.row.load_state.into()),
        live("ActiveState", "s", |v| v.row.active_state.into()),
        live("FreezerState", "s", |v| v.freezer_state.into()),
        live("SubState", "s", |v| v.row.sub_state.into()),
        fixed("FragmentPath", "s", |v| text(&v.fragment_path)),
        fixed("SourcePath", "s", |v| text(&v.source_path)),
        fixed("DropInPaths", "as", |v| texts(&v.drop_in_paths)),
        quiet("UnitFileState", "s", |v| text(&v.unit_file_state)),
        quiet("UnitFilePreset", "s", |v| text(&v.unit_file_preset)),
    ]
);

static STATE: Group<UnitView> = rows!(
    UnitView,
    [
        live("StateChangeTimestamp", "t", |v| realtime(v.state_change)),
        live("StateChangeTimestampMonotonic", "t", |v| monotonic(v.state_change)),
        live("InactiveExitTimestamp", "t", |v| realtime(v.inactive_exit)),
        live("InactiveExitTimestampMonotonic", "t", |v| monotonic(v.inactive_exit)),
        live("ActiveEnterTimestamp", "t", |v| realtime(v.active_enter)),
        live("ActiveEnterTimestampMonotonic", "t", |v| monotonic(v.active_enter)),
        live("ActiveExitTimestamp", "t", |v| realtime(v.active_exit)),
        live("ActiveExitTimestampMonotonic", "t", |v| monotonic(v.active_exit)),
        live("InactiveEnterTimestamp", "t", |v| realtime(v.inactive_enter)),
        live("InactiveEnterTimestampMonotonic", "t", |v| monotonic(v.inactive_enter)),
    ]
);

static ABILITIES: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("CanStart", "b", |v| v.can_start.into()),
        fixed("CanStop", "b", |v| v.can_stop.into()),
        fixed("CanReload", "b", |v| v.can_reload.into()),
        fixed("CanIsolate", "b", |v| v.can_isolate.into()),
        live("Job", "(uo)", job),
        quiet("NeedDaemonReload", "b", |v| v.need_daemon_reload.into()),
    ]
);

static TESTS: Group<UnitView> = rows!(
    UnitView,
    [
        live("ConditionResult", "b", |v| v.conditions.result.into()),
        live("AssertResult", "b", |v| v.asserts.result.into()),
        live("ConditionTimestamp", "t", |v| realtime(v.conditions.at)),
        live("ConditionTimestampMonotonic", "t", |v| monotonic(v.conditions.at)),
        live("AssertTimestamp", "t", |v| realtime(v.asserts.at)),
        live("AssertTimestampMonotonic", "t", |v| monotonic(v.asserts.at)),
        stale("Conditions", "a(sbbsi)", |v| conditions(&v.conditions.conditions)),
        stale("Asserts", "a(sbbsi)", |v| conditions(&v.asserts.conditions)),
        fixed("LoadError", "(ss)", load_error),
        fixed("Transient", "b", |v| v.transient.into()),
        fixed("StartLimitIntervalUSec", "t", |v| v.start_limit_interval_us.into()),
        fixed("StartLimitBurst", "u", |v| v.start_limit_burst.into()),
        live("InvocationID", "ay", |v| Shown::Bytes(v.invocation_id.as_ref().map_or(&[], |id| id))),
    ]
);

fn job(view: &UnitView) -> Shown<'_> {
    let (id, path) = match view.row.job {
        Some((id, _)) => (id, job_path(id)),
        None => (0, "/".into()),
    };
    Value::Struct(vec![Value::Uint32(id), Value::path(path)]).into()
}

fn load_error(view: &UnitView) -> Shown<'_> {
    match &view.load_error {
        None => Shown::Default,
        Some((name, message)) => Value::Struct(vec![owned(name), owned(message)]).into(),
    }
}

fn conditions(conditions: &[ConditionView]) -> Shown<'_> {
    if conditions.is_empty() {
        return Shown::Default;
    }
    let row = |c: &ConditionView| {
        Value::Struct(vec![
            c.directive.into(),
            c.trigger.into(),
            c.negate.into(),
            owned(&c.parameter),
            c.state.into(),
        ])
    };
    Value::array("(sbbsi)", conditions.iter().map(row).collect()).into()
}

static METHODS: Methods = methods!([
    method("Start", "s", "o", |c| enqueue_own(c, Verb::Start)),
    method("Stop", "s", "o", |c| enqueue_own(c, Verb::Stop)),
    method("Reload", "s", "o", |c| enqueue_own(c, Verb::Reload)),
    method("Restart", "s", "o", |c| enqueue_own(c, Verb::Restart)),
    method("TryRestart", "s", "o", |c| enqueue_own(c, Verb::TryRestart)),
    method("ReloadOrRestart", "s", "o", |c| enqueue_own(c, Verb::ReloadOrRestart)),
    method("ReloadOrTryRestart", "s", "o", |c| enqueue_own(c, Verb::ReloadOrTryRestart)),
    method("EnqueueJob", "ss", "uososa(uosos)", |c| {
        let unit = c.own_unit()?;
        enqueue(unit, verb(c.text(0))?, c.text(1), true)
    }),
    method("Kill", "si", "", |c| {
        let unit = c.own_unit()?;
        kill(unit, c.text(0), c.arguments.get(1))
    }),
    method("ResetFailed", "", "", |c| Ok(Turn::Ask(Command::ResetFailed { unit: Some(c.own_unit()?) }))),
    method("SetProperties", "ba(sv)", "", |c| {
        let (unit, runtime, properties) = (c.own_unit()?, c.truth(0), c.pairs(1));
        Ok(Turn::Ask(Command::SetProperties { unit, runtime, properties }))
    }),
    method("Ref", "", "", |c| Ok(Turn::Ask(Command::Hold { unit: c.own_unit()?, hold: true }))),
    method("Unref", "", "", |c| Ok(Turn::Ask(Command::Hold { unit: c.own_unit()?, hold: false }))),
    method("Clean", "as", "", |c| {
        let (unit, what) = (c.own_unit()?, c.texts(0));
        Ok(Turn::Ask(Command::Clean { unit, what }))
    }),
    method("Freeze", "", "", |c| Ok(Turn::Ask(Command::Freeze { unit: c.own_unit()?, thaw: false }))),
    method("Thaw", "", "", |c| Ok(Turn::Ask(Command::Freeze { unit: c.own_unit()?, thaw: true }))),
]);

fn enqueue_own(call: &mut Call<'_>, verb: Verb) -> Result<Turn, Refusal> {
    let unit = call.own_unit()?;
    enqueue(unit, verb, call.text(0), false)
}

/// A job request with its mode as a word.
pub(super) fn enqueue(unit: String, verb: Verb, mode: &str, detailed: bool) -> Result<Turn, Refusal> {
    Ok(Turn::Ask(Command::Enqueue { unit, verb, mode: self::mode(mode)?, detailed }))
}

pub(super) fn mode(word: &str) -> Result<JobMode, Refusal> {
    JobMode::parse(word)
        .ok_or_else(|| Refusal::new(ErrorName::InvalidArgs, format!("Job mode {word} invalid")))
}

pub(super) fn verb(word: &str) -> Result<Verb, Refusal> {
    Verb::of(word).ok_or_else(|| Refusal::new(ErrorName::InvalidArgs, format!("Job type {word} invalid")))
}

/// A signal request. No word for the processes means all.
pub(super) fn kill(unit: String, word: &str, signal: Option<&Value>) -> Result<Turn, Refusal> {
    let whom = if word.is_empty() { Some(Whom::All) } else { Whom::of(word) };
    let whom =
        whom.ok_or_else(|| Refusal::new(ErrorName::InvalidArgs, format!("Invalid who argument {word}")))?;
    match signal {
        Some(&Value::Int32(signal @ 1..=64)) => Ok(Turn::Ask(Command::Kill { unit, whom, signal })),
        _ => Err(Refusal::new(ErrorName::InvalidArgs, "Signal number out of range.")),
    }
}

/// `(ssssssouso)` of the lists of units.
pub(super) fn list_row(row: &crate::front::UnitRow) -> Value {
    let (id, job_type, path) = match row.job {
        Some((id, job_type)) => (id, job_type, job_path(id)),
        None => (0, "", "/".into()),
    };
    Value::Struct(vec![
        owned(&row.id),
        owned(&row.description),
        row.load_state.into(),
        row.active_state.into(),
        row.sub_state.into(),
        owned(&row.following),
        Value::path(unit_path(&row.id)),
        id.into(),
        job_type.into(),
        Value::path(path),
    ])
}
