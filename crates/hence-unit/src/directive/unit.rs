//! Rows of [Unit]; systemd.unit(5). Conditions and asserts are in `condition`.

use super::{
    Outcome, Row, Section, Shape,
    Take::{Act, Keep},
    row, typed,
    typed::{choice, flag, list, number, path, span, text, timeout, unit, unit_names},
};
use crate::{
    Config, Dependency, DependencyKind, Origin, UnitKind,
    config::{EmergencyAction, JobMode},
    syntax::Assignment,
    value,
};
use alloc::format;

const fn r(name: &'static str, take: super::Take, doc: &'static str) -> Row {
    row(name, Section::Unit.only(), "systemd.unit(5)", take, doc)
}

/// Adds the units of a dependency directive; nothing takes one away again.
fn depend(loading: &mut super::Loading<'_>, assignment: &Assignment) -> Outcome {
    let name = match &*assignment.key {
        "BindTo" => "BindsTo",
        "PropagateReloadTo" => "PropagatesReloadTo",
        "PropagateReloadFrom" => "ReloadPropagatedFrom",
        name => name,
    };
    let Some(kind) = DependencyKind::from_directive(name) else {
        return Outcome::Rejected;
    };
    if assignment.value.is_empty() {
        loading.note(assignment, format!("{name}= can not be emptied; dependencies are only ever added"));
        return Outcome::Rejected;
    }
    let kind_of_unit = loading.config.id().kind();
    if kind == DependencyKind::OnFailure && matches!(kind_of_unit, UnitKind::Slice | UnitKind::Device) {
        loading.note(assignment, format!("{name}= has no effect: a {} never fails", kind_of_unit.suffix()));
        return Outcome::Rejected;
    }
    unit_names(loading, assignment, |loading, other| {
        let origin = Origin::Directive(loading.position(&assignment.place));
        loading.config.dependencies.push(Dependency { kind, other, origin });
    })
}

/// Actions that exist since 254 and are taken as the nearest one that is known here.
const LATER_ACTIONS: [&str; 8] = [
    "halt",
    "halt-force",
    "halt-immediate",
    "kexec",
    "kexec-force",
    "soft-reboot",
    "soft-reboot-force",
    "reboot-kexec",
];

/// An action of FailureAction= and its kin.
pub(super) fn action(
    loading: &mut super::Loading<'_>,
    assignment: &Assignment,
    set: impl FnOnce(&mut Config, EmergencyAction),
) -> Outcome {
    if LATER_ACTIONS.contains(&&*assignment.value) {
        let message = format!("{}={} is not supported; none is in effect", assignment.key, assignment.value);
        loading.bad_value(assignment, message, None);
        return Outcome::Rejected;
    }
    choice(loading, assignment, unit, EmergencyAction::WORDS, set)
}

fn job_mode(
    loading: &mut super::Loading<'_>,
    assignment: &Assignment,
    set: impl FnOnce(&mut Config, JobMode),
) -> Outcome {
    choice(loading, assignment, unit, JobMode::WORDS, set)
}

fn exit_code(
    loading: &mut super::Loading<'_>,
    assignment: &Assignment,
    set: impl FnOnce(&mut Config, Option<u8>),
) -> Outcome {
    let parse = |text: &str| value::unsigned(text).and_then(|n| u8::try_from(n).ok());
    typed::optional(loading, assignment, unit, (parse, "an exit status from 0 to 255"), set)
}

fn documentation(loading: &mut super::Loading<'_>, assignment: &Assignment) -> Outcome {
    let take = |uri: alloc::string::String| {
        let known = ["http://", "https://", "file:/", "info:", "man:"];
        if known.iter().any(|scheme| uri.starts_with(scheme) && uri.len() > scheme.len()) {
            Ok(uri.into_boxed_str())
        } else {
            Err(format!("{uri:?} is no address with http://, https://, file:, info: or man:"))
        }
    };
    list(loading, assignment, take, |config, uri| typed::extend(&mut config.documentation, uri))
}

fn requires_mounts_for(loading: &mut super::Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        loading.note(assignment, format!("{}= can not be emptied", assignment.key));
        return Outcome::Rejected;
    }
    let take = |path: alloc::string::String| match value::absolute_path(&path) {
        Some(path) => Ok(path.into_boxed_str()),
        None => Err(format!("{path:?} is not {}", value::ABSOLUTE)),
    };
    list(loading, assignment, take, |config, path| typed::extend(&mut config.requires_mounts_for, path))
}

fn job_timeout(loading: &mut super::Loading<'_>, assignment: &Assignment) -> Outcome {
    timeout(loading, assignment, unit, |c, us| c.job_timeout = us)
}

/// The start limit's interval, under all its names.
pub(super) fn start_limit_interval(loading: &mut super::Loading<'_>, assignment: &Assignment) -> Outcome {
    span(loading, assignment, unit, |c, us| c.start_limit_interval = us)
}

/// The start limit's count.
pub(super) fn start_limit_burst(loading: &mut super::Loading<'_>, assignment: &Assignment) -> Outcome {
    number(loading, assignment, unit, |c, n| c.start_limit_burst = n)
}

pub(super) const ROWS: &[Row] = &[
    r(
        "Description",
        Act(|l, a| text(l, a, unit, |c, v| c.description = v.unwrap_or_default())),
        "A title for people.",
    ),
    r("Documentation", Act(documentation), "Addresses of documentation: http, https, file, info or man."),
    r(
        "SourcePath",
        Act(|l, a| path(l, a, unit, |_, _| ())),
        "The file that a generator made this unit from.",
    )
    .accepted("it is shown only"),
    r("Requires", Act(depend), "Units that are started with this one and whose stop stops it."),
    r("Requisite", Act(depend), "Units that must be active already, or the start fails."),
    r("Wants", Act(depend), "Units that are started with this one, whatever comes of them."),
    r("BindsTo", Act(depend), "As Requires=, and this unit goes down whenever they do."),
    r("BindTo", Act(depend), "As BindsTo=.").replaced_by("BindsTo"),
    r("Upholds", Act(depend), "Units that are started again and again while this one is up.").since(249),
    r("Conflicts", Act(depend), "Units that are never up together with this one."),
    r("Before", Act(depend), "Units that start after this one and stop before it."),
    r("After", Act(depend), "Units that start before this one and stop after it."),
    r("OnSuccess", Act(depend), "Units that are started when this one ends well.").since(249),
    r("OnFailure", Act(depend), "Units that are started when this one fails."),
    r("PropagatesReloadTo", Act(depend), "Units that are reloaded with this one."),
    r("PropagateReloadTo", Act(depend), "As PropagatesReloadTo=.").replaced_by("PropagatesReloadTo"),
    r("ReloadPropagatedFrom", Act(depend), "Units whose reload reloads this one."),
    r("PropagateReloadFrom", Act(depend), "As ReloadPropagatedFrom=.").replaced_by("ReloadPropagatedFrom"),
    r("PropagatesStopTo", Act(depend), "Units that are stopped with this one.").since(249),
    r("StopPropagatedFrom", Act(depend), "Units whose stop stops this one.").since(249),
    r("PartOf", Act(depend), "Units whose stop and restart are passed on to this one.").since(188),
    r("JoinsNamespaceOf", Act(depend), "Units whose network, IPC and /tmp namespaces this one shares.")
        .since(209)
        .not_yet(),
    r("RequiresOverridable", Keep(Shape::Text), "A dependency that no longer exists.")
        .accepted("systemd ignores it too")
        .replaced_by("write Requires= or Wants="),
    r("RequisiteOverridable", Keep(Shape::Text), "A dependency that no longer exists.")
        .accepted("systemd ignores it too")
        .replaced_by("write Requisite="),
    r("RequiresMountsFor", Act(requires_mounts_for), "Paths whose mount points this unit needs."),
    r("WantsMountsFor", Keep(Shape::Paths), "Paths whose mount points this unit would like.").since(256),
    r(
        "StopWhenUnneeded",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.stop_when_unneeded = v)),
        "Stop it when nothing that is up needs it.",
    ),
    r(
        "RefuseManualStart",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.refuse_manual_start = v)),
        "Only dependencies may start it, not people.",
    ),
    r(
        "RefuseManualStop",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.refuse_manual_stop = v)),
        "Only dependencies may stop it, not people.",
    ),
    r(
        "AllowIsolate",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.allow_isolate = v)),
        "It may be isolated: started while all else is stopped.",
    ),
    r(
        "DefaultDependencies",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.default_dependencies = v)),
        "Add the dependencies that its kind usually has.",
    ),
    r(
        "OnSuccessJobMode",
        Act(|l, a| job_mode(l, a, |c, v| c.on_success_job_mode = v)),
        "The job mode of units that OnSuccess= starts.",
    )
    .since(249),
    r(
        "OnFailureJobMode",
        Act(|l, a| job_mode(l, a, |c, v| c.on_failure_job_mode = v)),
        "The job mode of units that OnFailure= starts.",
    ),
    r(
        "OnFailureIsolate",
        Act(|l, a| {
            flag(l, a, unit, |c, v| {
                c.on_failure_job_mode = if v { JobMode::Isolate } else { JobMode::Replace }
            })
        }),
        "Whether units of OnFailure= are isolated.",
    )
    .replaced_by("write OnFailureJobMode=isolate"),
    r(
        "IgnoreOnIsolate",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.ignore_on_isolate = v)),
        "Isolating another unit does not stop this one.",
    ),
    r("JobTimeoutSec", Act(job_timeout), "How long a job of this unit may last, waiting included."),
    r(
        "JobRunningTimeoutSec",
        Act(|l, a| timeout(l, a, unit, |c, us| c.job_running_timeout = us)),
        "How long a job of this unit may last once it runs.",
    ),
    r(
        "JobTimeoutAction",
        Act(|l, a| action(l, a, |c, v| c.job_timeout_action = v)),
        "What is done to the machine when a job times out.",
    )
    .since(217),
    r(
        "JobTimeoutRebootArgument",
        Keep(Shape::TextOrDefault),
        "The argument of a reboot that JobTimeoutAction= asks for.",
    )
    .since(217),
    r(
        "StartLimitIntervalSec",
        Act(start_limit_interval),
        "The time in which at most StartLimitBurst= starts may happen; 0 means no limit.",
    )
    .since(229),
    r("StartLimitInterval", Act(start_limit_interval), "As StartLimitIntervalSec=.")
        .replaced_by("StartLimitIntervalSec"),
    r("StartLimitBurst", Act(start_limit_burst), "How many starts may happen in StartLimitIntervalSec=."),
    r(
        "StartLimitAction",
        Act(|l, a| action(l, a, |c, v| c.start_limit_action = v)),
        "What is done to the machine when the start limit is hit.",
    ),
    r(
        "FailureAction",
        Act(|l, a| action(l, a, |c, v| c.failure_action = v)),
        "What is done to the machine when this unit fails.",
    ),
    r(
        "SuccessAction",
        Act(|l, a| action(l, a, |c, v| c.success_action = v)),
        "What is done to the machine when this unit ends well.",
    )
    .since(236),
    r(
        "FailureActionExitStatus",
        Act(|l, a| exit_code(l, a, |c, v| c.failure_action_exit_status = v)),
        "The exit status to leave with when FailureAction= says exit.",
    )
    .since(240),
    r(
        "SuccessActionExitStatus",
        Act(|l, a| exit_code(l, a, |c, v| c.success_action_exit_status = v)),
        "The exit status to leave with when SuccessAction= says exit.",
    )
    .since(240),
    r(
        "RebootArgument",
        Keep(Shape::TextOrDefault),
        "The argument of a reboot that one of the actions asks for.",
    ),
    r(
        "CollectMode",
        Act(|l, a| {
            choice(l, a, unit, &[("inactive", false), ("inactive-or-failed", true)], |c, v| {
                c.flags.collect_failed = v
            })
        }),
        "When a unit that nobody refers to is forgotten.",
    )
    .since(236),
    r(
        "SurviveFinalKillSignal",
        Act(|l, a| flag(l, a, unit, |c, v| c.flags.survive_final_kill_signal = v)),
        "Its processes are left alone by the last kill of a soft reboot.",
    )
    .since(255),
];
