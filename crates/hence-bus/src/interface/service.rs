//! org.freedesktop.systemd1.Service.

use super::row::{Group, rows};
use super::shown::{Shown, monotonic, realtime, text, texts};
use super::slice::{METHODS, RESOURCES};
use super::{Interface, configured, owned};
use crate::front::{ExecView, UnitView};
use crate::wire::Value;

/// The interface.
pub static INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Service",
    properties: &[
        &SETTINGS,
        &STATE,
        &COMMANDS,
        &RESOURCES,
        &ENVIRONMENT,
        &LIMITS,
        &EXECUTION,
        &configured::SERVICE,
        &configured::KILL,
        &configured::EXECUTION,
        &configured::RESOURCES,
    ],
    methods: &[&METHODS],
    signals: &[],
};

static SETTINGS: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("Type", "s", |v| v.service.service_type.into()),
        fixed("Restart", "s", |v| v.service.restart.into()),
        fixed("PIDFile", "s", |v| text(&v.service.pid_file)),
        fixed("NotifyAccess", "s", |v| v.service.notify_access.into()),
        fixed("RestartUSec", "t", |v| v.service.restart_us.into()),
        fixed("TimeoutStartUSec", "t", |v| v.service.timeout_start_us.into()),
        fixed("TimeoutStopUSec", "t", |v| v.service.timeout_stop_us.into()),
        quiet("WatchdogUSec", "t", |v| v.service.watchdog_us.into()),
        fixed("RuntimeMaxUSec", "t", |v| v.service.runtime_max_us.into()),
        fixed("RemainAfterExit", "b", |v| v.service.remain_after_exit.into()),
        fixed("SuccessExitStatus", "(aiai)", |v| {
            let numbers =
                |list: &[u8]| Value::array("i", list.iter().map(|&n| i32::from(n).into()).collect());
            Value::Struct(vec![numbers(&v.service.success_codes), numbers(&v.service.success_signals)]).into()
        }),
    ]
);

static STATE: Group<UnitView> = rows!(
    UnitView,
    [
        live("MainPID", "u", |v| v.service.main_pid.into()),
        live("ControlPID", "u", |v| v.service.control_pid.into()),
        fixed("BusName", "s", |v| text(&v.service.bus_name)),
        live("StatusText", "s", |v| text(&v.service.status_text)),
        live("StatusErrno", "i", |v| v.service.status_errno.into()),
        live("Result", "s", |v| v.result.into()),
        live("NRestarts", "u", |v| v.service.n_restarts.into()),
        quiet("NFileDescriptorStore", "u", |v| v.service.n_file_descriptor_store.into()),
        live("ExecMainStartTimestamp", "t", |v| realtime(v.service.exec_main.start)),
        live("ExecMainStartTimestampMonotonic", "t", |v| monotonic(v.service.exec_main.start)),
        live("ExecMainExitTimestamp", "t", |v| realtime(v.service.exec_main.exit)),
        live("ExecMainExitTimestampMonotonic", "t", |v| monotonic(v.service.exec_main.exit)),
        live("ExecMainPID", "u", |v| v.service.exec_main.pid.into()),
        live("ExecMainCode", "i", |v| v.service.exec_main.code.into()),
        live("ExecMainStatus", "i", |v| v.service.exec_main.status.into()),
    ]
);

macro_rules! commands {
    ($($plain:literal $extended:literal,)*) => {
        rows!(UnitView, [$(
            stale($plain, "a(sasbttttuii)", |v| commands(v, $plain, false)),
            stale($extended, "a(sasasttttuii)", |v| commands(v, $plain, true)),
        )*])
    };
}

static COMMANDS: Group<UnitView> = commands! {
    "ExecCondition" "ExecConditionEx",
    "ExecStartPre" "ExecStartPreEx",
    "ExecStart" "ExecStartEx",
    "ExecStartPost" "ExecStartPostEx",
    "ExecReload" "ExecReloadEx",
    "ExecStop" "ExecStopEx",
    "ExecStopPost" "ExecStopPostEx",
};

static ENVIRONMENT: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("Environment", "as", |v| texts(&v.service.environment)),
        fixed("UMask", "u", |v| v.service.umask.into()),
    ]
);

macro_rules! limits {
    ($($hard:literal $soft:literal $number:literal,)*) => {
        rows!(UnitView, [$(
            fixed($hard, "t", |v| v.service.limits[$number][1].into()),
            fixed($soft, "t", |v| v.service.limits[$number][0].into()),
        )*])
    };
}

/// setrlimit(2), of all kinds that run commands.
pub static LIMITS: Group<UnitView> = limits! {
    "LimitCPU" "LimitCPUSoft" 0,
    "LimitFSIZE" "LimitFSIZESoft" 1,
    "LimitDATA" "LimitDATASoft" 2,
    "LimitSTACK" "LimitSTACKSoft" 3,
    "LimitCORE" "LimitCORESoft" 4,
    "LimitRSS" "LimitRSSSoft" 5,
    "LimitNOFILE" "LimitNOFILESoft" 7,
    "LimitAS" "LimitASSoft" 9,
    "LimitNPROC" "LimitNPROCSoft" 6,
    "LimitMEMLOCK" "LimitMEMLOCKSoft" 8,
    "LimitLOCKS" "LimitLOCKSSoft" 10,
    "LimitSIGPENDING" "LimitSIGPENDINGSoft" 11,
    "LimitMSGQUEUE" "LimitMSGQUEUESoft" 12,
    "LimitNICE" "LimitNICESoft" 13,
    "LimitRTPRIO" "LimitRTPRIOSoft" 14,
    "LimitRTTIME" "LimitRTTIMESoft" 15,
};

static EXECUTION: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("WorkingDirectory", "s", |v| text(&v.service.working_directory)),
        fixed("OOMScoreAdjust", "i", |v| v.service.oom_score_adjust.into()),
        fixed("Nice", "i", |v| v.service.nice.into()),
        fixed("User", "s", |v| text(&v.service.user)),
        fixed("KillMode", "s", |v| v.service.kill_mode.into()),
        fixed("KillSignal", "i", |v| v.service.kill_signal.into()),
        fixed("SendSIGKILL", "b", |v| v.service.send_sigkill.into()),
    ]
);

fn commands(view: &UnitView, directive: &str, extended: bool) -> Shown<'static> {
    let found = view.service.exec.iter().find(|(name, _)| *name == directive);
    let runs = found.map_or(&[][..], |(_, runs)| runs);
    if runs.is_empty() {
        return Shown::Default;
    }
    let element = if extended { "(sasasttttuii)" } else { "(sasbttttuii)" };
    Value::array(element, runs.iter().map(|run| command(run, extended)).collect()).into()
}

fn command(run: &ExecView, extended: bool) -> Value {
    let flags = if extended {
        Value::strings(run.flags.iter().copied())
    } else {
        Value::Bool(run.flags.contains(&"ignore-failure"))
    };
    Value::Struct(vec![
        owned(&run.path),
        Value::strings(run.argv.iter().cloned()),
        flags,
        run.start.realtime_us.into(),
        run.start.monotonic_us.into(),
        run.exit.realtime_us.into(),
        run.exit.monotonic_us.into(),
        run.pid.into(),
        run.code.into(),
        run.status.into(),
    ])
}
