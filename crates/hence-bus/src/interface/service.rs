//! org.freedesktop.systemd1.Service.

use super::slice::{METHODS, RESOURCES};
use super::{Interface, Property, fixed, live, monotonic, quiet, realtime, stale, text, texts};
use crate::front::{ExecView, UnitView};
use crate::wire::Value;

/// The interface.
pub const INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Service",
    properties: &[SETTINGS, STATE, COMMANDS, RESOURCES, EXECUTION],
    methods: METHODS,
    signals: &[],
};

const SETTINGS: &[Property<UnitView>] = &[
    fixed("Type", "s", |v| v.service.service_type.into()),
    fixed("Restart", "s", |v| v.service.restart.into()),
    fixed("PIDFile", "s", |v| text(&v.service.pid_file)),
    fixed("NotifyAccess", "s", |v| v.service.notify_access.into()),
    fixed("RestartUSec", "t", |v| v.service.restart_us.into()),
    fixed("TimeoutStartUSec", "t", |v| v.service.timeout_start_us.into()),
    fixed("TimeoutStopUSec", "t", |v| v.service.timeout_stop_us.into()),
    quiet("WatchdogUSec", "t", |v| v.service.watchdog_us.into()),
    fixed("RemainAfterExit", "b", |v| v.service.remain_after_exit.into()),
];

const STATE: &[Property<UnitView>] = &[
    live("MainPID", "u", |v| v.service.main_pid.into()),
    live("ControlPID", "u", |v| v.service.control_pid.into()),
    fixed("BusName", "s", |v| text(&v.service.bus_name)),
    live("StatusText", "s", |v| text(&v.service.status_text)),
    live("StatusErrno", "i", |v| v.service.status_errno.into()),
    live("Result", "s", |v| v.result.into()),
    live("NRestarts", "u", |v| v.service.n_restarts.into()),
    live("ExecMainStartTimestamp", "t", |v| realtime(v.service.exec_main.start)),
    live("ExecMainStartTimestampMonotonic", "t", |v| monotonic(v.service.exec_main.start)),
    live("ExecMainExitTimestamp", "t", |v| realtime(v.service.exec_main.exit)),
    live("ExecMainExitTimestampMonotonic", "t", |v| monotonic(v.service.exec_main.exit)),
    live("ExecMainPID", "u", |v| v.service.exec_main.pid.into()),
    live("ExecMainCode", "i", |v| v.service.exec_main.code.into()),
    live("ExecMainStatus", "i", |v| v.service.exec_main.status.into()),
];

macro_rules! commands {
    ($($plain:literal $extended:literal,)*) => {
        &[$(
            stale($plain, "a(sasbttttuii)", |v| commands(v, $plain, false)),
            stale($extended, "a(sasasttttuii)", |v| commands(v, $plain, true)),
        )*]
    };
}

const COMMANDS: &[Property<UnitView>] = commands! {
    "ExecCondition" "ExecConditionEx",
    "ExecStartPre" "ExecStartPreEx",
    "ExecStart" "ExecStartEx",
    "ExecStartPost" "ExecStartPostEx",
    "ExecReload" "ExecReloadEx",
    "ExecStop" "ExecStopEx",
    "ExecStopPost" "ExecStopPostEx",
};

const EXECUTION: &[Property<UnitView>] = &[
    fixed("Environment", "as", |v| texts(&v.service.environment)),
    fixed("WorkingDirectory", "s", |v| text(&v.service.working_directory)),
    fixed("User", "s", |v| text(&v.service.user)),
    fixed("KillMode", "s", |v| v.service.kill_mode.into()),
    fixed("KillSignal", "i", |v| v.service.kill_signal.into()),
    fixed("SendSIGKILL", "b", |v| v.service.send_sigkill.into()),
];

fn commands(view: &UnitView, directive: &str, extended: bool) -> Value {
    let found = view.service.exec.iter().find(|(name, _)| *name == directive);
    let runs = found.map_or(&[][..], |(_, runs)| runs);
    let element = if extended { "(sasasttttuii)" } else { "(sasbttttuii)" };
    Value::array(element, runs.iter().map(|run| command(run, extended)).collect())
}

fn command(run: &ExecView, extended: bool) -> Value {
    let flags = if extended {
        Value::strings(run.flags.iter().copied())
    } else {
        Value::Bool(run.flags.contains(&"ignore-failure"))
    };
    Value::Struct(vec![
        text(&run.path),
        texts(&run.argv),
        flags,
        realtime(run.start),
        monotonic(run.start),
        realtime(run.exit),
        monotonic(run.exit),
        run.pid.into(),
        run.code.into(),
        run.status.into(),
    ])
}
