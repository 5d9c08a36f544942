//! Rows of [Service]; systemd.service(5). Defaults that depend on several directives (the timeout of
//! Type=oneshot, the default of NotifyAccess=) are not set here.

use super::{
    Loading, Outcome, Row, Section, Shape, Take,
    Take::{Act, Keep},
    row,
    typed::{
        self, checked_text, choice, commands, flag, number, put, service, span, split, timeout, unit_names,
    },
    unit,
};
use crate::{
    ServiceConfig, UnitKind,
    config::{
        ExecPhase, ExitStatusSet, ExitType, INFINITY, NotifyAccess, OomPolicy, OpenFile, Restart,
        RestartMode, ServiceType, TimeoutFailureMode,
    },
    syntax::Assignment,
    value,
};
use alloc::format;

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Service.only(), "systemd.service(5)", take, doc)
}

fn exec(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let phase = ExecPhase::ALL.into_iter().find(|p| p.directive() == &*assignment.key);
    let Some(phase) = phase else {
        return Outcome::Rejected;
    };
    commands(loading, assignment, |config| service(config).map(|s| &mut s.exec[phase as usize]))
}

fn timeout_both(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    timeout(loading, assignment, service, |s, us| {
        s.timeout_start = us;
        s.timeout_stop = us;
    })
}

fn timeout_abort(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, service, |s| s.timeout_abort = None);
        return Outcome::Reset;
    }
    timeout(loading, assignment, service, |s, us| s.timeout_abort = Some(us))
}

/// A path of a PID file; a relative one lies in the folder of runtime files.
fn pid_file(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, service, |s| s.pid_file = None);
        return Outcome::Reset;
    }
    let Some(path) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    let root = match loading.environs.runtime_root.as_str() {
        "" => "/run",
        root => root,
    };
    let path = if path.starts_with('/') { path.into_owned() } else { format!("{root}/{path}") };
    let Some(mut path) = value::absolute_path(&path) else {
        loading.bad_value(assignment, format!("{}= takes {}", assignment.key, value::ABSOLUTE), None);
        return Outcome::Rejected;
    };
    if let Some(rest) = path.strip_prefix("/var/run/") {
        let now = format!("/run/{rest}");
        loading.note(assignment, format!("{path} lies below the former /var/run; {now} is taken"));
        path = now;
    }
    put(loading, service, |s| s.pid_file = Some(path.into()));
    Outcome::Replaced
}

/// Whether this is a well-known name on the bus.
fn is_bus_name(name: &str) -> bool {
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with(|c: char| c.is_ascii_digit())
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    name.len() <= 255 && name.contains('.') && name.split('.').all(part)
}

/// Exit statuses by number or name, and signals by name; systemd.service(5), SuccessExitStatus=.
fn statuses(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    set: fn(&mut ServiceConfig) -> &mut ExitStatusSet,
) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, service, |s| *set(s) = ExitStatusSet::default());
        return Outcome::Reset;
    }
    let mut taken = false;
    for word in split(loading, assignment) {
        let (list, number): (fn(&mut ExitStatusSet) -> &mut alloc::vec::Vec<u8>, u8) =
            match (value::exit_status(&word.text), value::signal(&word.text)) {
                (Some(code), _) => (|s| &mut s.codes, code),
                (None, Some(signal)) => (|s| &mut s.signals, signal),
                (None, None) => {
                    let column = loading.column_of(assignment, &word);
                    let message = format!(
                        "{}=: {:?} is neither an exit status (0 to 255 or a name) nor a signal",
                        assignment.key, word.text
                    );
                    let names = value::EXIT_STATUSES.iter().map(|(name, _)| *name);
                    let fix = super::nearest(&word.text, names).map(|n| format!("did you mean {n}?"));
                    loading.bad_value_at(assignment, column, message, fix);
                    continue;
                }
            };
        put(loading, service, |s| {
            let list = list(set(s));
            if !list.contains(&number) {
                list.push(number);
            }
        });
        taken = true;
    }
    if taken { Outcome::Added } else { Outcome::Rejected }
}

fn parsed_signal(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let parse = (value::signal, "a signal, such as SIGUSR1");
    typed::parsed(loading, assignment, service, parse, |s, signal| s.reload_signal = signal)
}

fn sockets(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    unit_names(loading, assignment, |loading, name| {
        if name.kind() != UnitKind::Socket {
            loading.bad_value(assignment, format!("Sockets= takes sockets, not {name}"), None);
            return;
        }
        put(loading, service, |s| s.sockets.push(name));
    })
}

/// Files that the service is passed; an empty value removes all.
fn open_file(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, service, |s| s.open_files.clear());
        return Outcome::Reset;
    }
    let Some(text) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    match OpenFile::parse(&text) {
        Ok(file) => {
            put(loading, service, |s| s.open_files.push(file));
            Outcome::Added
        }
        Err(wrong) => {
            loading.bad_value(
                assignment,
                format!("OpenFile= takes a path, a name and options: {wrong}"),
                None,
            );
            Outcome::Rejected
        }
    }
}

const MOVED: &str = "move it to [Unit]";

pub(super) const ROWS: &[Row] = &[
    r(
        "Type",
        Act(|l, a| choice(l, a, service, ServiceType::WORDS, |s, v| s.service_type = v)),
        "When the service counts as started.",
    ),
    r(
        "ExitType",
        Act(|l, a| choice(l, a, service, ExitType::WORDS, |s, v| s.exit_type = v)),
        "Whether the service ends with its main process or with its last one.",
    )
    .since(250),
    r("PIDFile", Act(pid_file), "The file that a forking service writes its main PID to."),
    r("ExecCondition", Act(exec), "Commands that decide whether the service is started at all.").since(243),
    r("ExecStartPre", Act(exec), "Commands before the main one."),
    r("ExecStart", Act(exec), "The main command; several for Type=oneshot."),
    r("ExecStartPost", Act(exec), "Commands after the start succeeded."),
    r("ExecReload", Act(exec), "Commands that make the service reload its configuration."),
    r("ExecReloadPost", Keep(Shape::List), "Commands after a reload succeeded.").since(259),
    r("ExecStop", Act(exec), "Commands that stop the service."),
    r("ExecStopPost", Act(exec), "Commands after the service went down, however it did."),
    r(
        "RestartSec",
        Act(|l, a| span(l, a, service, |s, us| s.restart_delay = us)),
        "How long to wait before an automatic restart.",
    ),
    r(
        "RestartSteps",
        Act(|l, a| number(l, a, service, |s, n| s.restart_steps = n)),
        "In how many steps the restart delay grows.",
    )
    .since(254),
    r(
        "RestartMaxDelaySec",
        Act(|l, a| span(l, a, service, |s, us| s.restart_max_delay = us)),
        "Up to what the restart delay grows.",
    )
    .since(254),
    r(
        "RestartRandomizedDelaySec",
        Act(|l, a| span(l, a, service, |s, us| s.restart_randomized_delay = us)),
        "A random time that is added to the restart delay.",
    )
    .since(262),
    r(
        "RestartMode",
        Act(|l, a| choice(l, a, service, RestartMode::WORDS, |s, v| s.restart_mode = v)),
        "Whether dependents see the service go down during an automatic restart.",
    )
    .since(254),
    r(
        "TimeoutStartSec",
        Act(|l, a| timeout(l, a, service, |s, us| s.timeout_start = us)),
        "How long the start may take.",
    ),
    r(
        "TimeoutStopSec",
        Act(|l, a| timeout(l, a, service, |s, us| s.timeout_stop = us)),
        "How long each command of the stop, and then the processes after KillSignal=, may take.",
    ),
    r("TimeoutAbortSec", Act(timeout_abort), "How long processes may take to die after WatchdogSignal=.")
        .since(243),
    r("TimeoutSec", Act(timeout_both), "TimeoutStartSec= and TimeoutStopSec= in one."),
    r(
        "TimeoutStartFailureMode",
        Act(|l, a| choice(l, a, service, TimeoutFailureMode::WORDS, |s, v| s.timeout_start_failure_mode = v)),
        "How the service is stopped when its start takes too long.",
    )
    .since(246),
    r(
        "TimeoutStopFailureMode",
        Act(|l, a| choice(l, a, service, TimeoutFailureMode::WORDS, |s, v| s.timeout_stop_failure_mode = v)),
        "How the service is stopped when its stop takes too long.",
    )
    .since(246),
    r(
        "RuntimeMaxSec",
        Act(|l, a| span(l, a, service, |s, us| s.runtime_max = us)),
        "How long the service may run before it is stopped as failed.",
    )
    .since(229),
    r(
        "RuntimeRandomizedExtraSec",
        Act(|l, a| span(l, a, service, |s, us| s.runtime_randomized_extra = us)),
        "A random time that is added to RuntimeMaxSec=.",
    )
    .since(250),
    r(
        "WatchdogSec",
        Act(|l, a| span(l, a, service, |s, us| s.watchdog = if us == INFINITY { 0 } else { us })),
        "How long the service may be silent before it counts as hung.",
    ),
    r(
        "Restart",
        Act(|l, a| choice(l, a, service, Restart::WORDS, |s, v| s.restart = v)),
        "After which ends the service is started again.",
    ),
    r(
        "SuccessExitStatus",
        Act(|l, a| statuses(l, a, |s| &mut s.success_exit_status)),
        "Further exit statuses and signals that count as a good end.",
    )
    .since(189),
    r(
        "RestartPreventExitStatus",
        Act(|l, a| statuses(l, a, |s| &mut s.restart_prevent_exit_status)),
        "Exit statuses and signals after which Restart= does nothing.",
    )
    .since(189),
    r(
        "RestartForceExitStatus",
        Act(|l, a| statuses(l, a, |s| &mut s.restart_force_exit_status)),
        "Exit statuses and signals after which the service is always started again.",
    )
    .since(215),
    r(
        "RemainAfterExit",
        Act(|l, a| flag(l, a, service, |s, v| s.remain_after_exit = v)),
        "The service stays active after its processes ended well.",
    ),
    r(
        "GuessMainPID",
        Act(|l, a| flag(l, a, service, |s, v| s.guess_main_pid = v)),
        "Guess the main process of a forking service without PIDFile=.",
    ),
    r(
        "RootDirectoryStartOnly",
        Act(|l, a| flag(l, a, service, |s, v| s.root_directory_start_only = v)),
        "RootDirectory= counts for ExecStart= alone.",
    ),
    r(
        "PermissionsStartOnly",
        Act(|l, a| flag(l, a, service, |s, v| s.permissions_start_only = v)),
        "User= counts for ExecStart= alone.",
    )
    .replaced_by("write + before the commands that need full privileges"),
    r(
        "NonBlocking",
        Act(|l, a| flag(l, a, service, |s, v| s.non_blocking = v)),
        "Passed sockets do not block.",
    ),
    r(
        "BusName",
        Act(|l, a| {
            checked_text(
                l,
                a,
                service,
                (is_bus_name, "a name on the bus, such as org.example.Foo"),
                |s, v| s.bus_name = v,
            )
        }),
        "The bus name that a Type=dbus service takes.",
    ),
    r(
        "NotifyAccess",
        Act(|l, a| choice(l, a, service, NotifyAccess::WORDS, |s, v| s.notify_access = v)),
        "Which processes may send notifications.",
    ),
    r(
        "FileDescriptorStoreMax",
        Act(|l, a| number(l, a, service, |s, n| s.fd_store_max = n)),
        "How many file descriptors the service may leave in keeping.",
    ),
    r(
        "FileDescriptorStorePreserve",
        Act(|l, a| {
            let allowed = (super::exec::preserve, "a boolean or restart");
            typed::parsed(l, a, service, allowed, |s, v| s.fd_store_preserve = v)
        }),
        "When file descriptors in keeping are dropped.",
    )
    .since(254),
    r("Sockets", Act(sockets), "Sockets that are passed besides the one of the same name."),
    r(
        "OOMPolicy",
        Act(|l, a| choice(l, a, service, OomPolicy::WORDS, |s, v| s.oom_policy = Some(v))),
        "What happens when the kernel kills a process for lack of memory.",
    )
    .since(243),
    r("ReloadSignal", Act(parsed_signal), "The signal that reloads a Type=notify-reload service.").since(253),
    r(
        "TimeoutCleanSec",
        Act(|l, a| span(l, a, service, |s, us| s.timeout_clean = us)),
        "How long `systemctl clean` may take.",
    )
    .since(244),
    r("OpenFile", Act(open_file), "Files that are opened and passed as file descriptors.").since(253),
    r("RefreshOnReload", Keep(Shape::List), "What is refreshed when the service is reloaded.").since(260),
    r("USBFunctionDescriptors", Keep(Shape::Path), "A file with USB descriptors for FunctionFS."),
    r("USBFunctionStrings", Keep(Shape::Path), "A file with USB strings for FunctionFS."),
    r("StartLimitInterval", Act(unit::start_limit_interval), "As StartLimitIntervalSec= of [Unit].")
        .replaced_by("move it to [Unit] as StartLimitIntervalSec="),
    r("StartLimitBurst", Act(unit::start_limit_burst), "As StartLimitBurst= of [Unit].").replaced_by(MOVED),
    r(
        "StartLimitAction",
        Act(|l, a| unit::action(l, a, |c, v| c.start_limit_action = v)),
        "As StartLimitAction= of [Unit].",
    )
    .replaced_by(MOVED),
    r(
        "FailureAction",
        Act(|l, a| unit::action(l, a, |c, v| c.failure_action = v)),
        "As FailureAction= of [Unit].",
    )
    .replaced_by(MOVED),
    r("RebootArgument", Keep(Shape::TextOrDefault), "As RebootArgument= of [Unit].").replaced_by(MOVED),
];
