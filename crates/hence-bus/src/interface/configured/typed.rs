//! Values of directives that have a typed field in a unit's configuration, by the property's name.

use crate::wire::Value;
use hence_unit::config::{
    Command, DirectoryKind, EmergencyAction, ExitStatusSet, ExitType, Kind, OomPolicy, ScopeConfig,
    ServiceConfig, SocketConfig, Stdio, TimeoutFailureMode,
};
use hence_unit::mount::MountConfig;
use hence_unit::{Config, ExecConfig, KillConfig, UnitConfig};

/// The value of a property whose directive has a field; `None` where the text of the setting has to do.
pub fn value(config: &Config, name: &str) -> Option<Value> {
    let own = match &config.kind {
        Kind::Service(service) => of_service(service, name),
        Kind::Socket(socket) => of_socket(socket, name),
        Kind::Scope(scope) => of_scope(scope, name),
        Kind::Mount(mount) => of_mount(mount, name),
        Kind::Timer(timer) if name == "RemainAfterElapse" => Some(timer.remain_after_elapse.into()),
        Kind::Path(path) => match name {
            "MakeDirectory" => Some(path.make_directory.into()),
            "DirectoryMode" => Some(path.directory_mode.into()),
            "TriggerLimitIntervalUSec" => Some(path.trigger_limit_interval.into()),
            "TriggerLimitBurst" => Some(path.trigger_limit_burst.into()),
            "Paths" => {
                let row = |(kind, watched): &(&'static str, Box<str>)| {
                    Value::Struct(vec![(*kind).into(), watched.to_string().into()])
                };
                Some(Value::array("(ss)", path.watches.iter().map(row).collect()))
            }
            _ => None,
        },
        _ => None,
    };
    own.or_else(|| of_unit(&config.unit, name))
}

fn of_unit(unit: &UnitConfig, name: &str) -> Option<Value> {
    let flags = &unit.flags;
    Some(match name {
        "StopWhenUnneeded" => flags.stop_when_unneeded.into(),
        "RefuseManualStart" => flags.refuse_manual_start.into(),
        "RefuseManualStop" => flags.refuse_manual_stop.into(),
        "AllowIsolate" => flags.allow_isolate.into(),
        "DefaultDependencies" => flags.default_dependencies.into(),
        "IgnoreOnIsolate" => flags.ignore_on_isolate.into(),
        "CollectMode" => if flags.collect_failed { "inactive-or-failed" } else { "inactive" }.into(),
        "OnFailureJobMode" => unit.on_failure_job_mode.as_str().into(),
        "JobTimeoutUSec" => unit.job_timeout.into(),
        "JobRunningTimeoutUSec" => unit.job_running_timeout.into(),
        "JobTimeoutAction" => action(unit.job_timeout_action).into(),
        "StartLimitAction" => action(unit.start_limit_action).into(),
        "FailureAction" => action(unit.failure_action).into(),
        "SuccessAction" => action(unit.success_action).into(),
        "FailureActionExitStatus" => unit.failure_action_exit_status.map_or(-1, i32::from).into(),
        "SuccessActionExitStatus" => unit.success_action_exit_status.map_or(-1, i32::from).into(),
        _ => return None,
    })
}

fn action(action: EmergencyAction) -> &'static str {
    match action {
        EmergencyAction::None => "none",
        EmergencyAction::Reboot => "reboot",
        EmergencyAction::RebootForce => "reboot-force",
        EmergencyAction::RebootImmediate => "reboot-immediate",
        EmergencyAction::Poweroff => "poweroff",
        EmergencyAction::PoweroffForce => "poweroff-force",
        EmergencyAction::PoweroffImmediate => "poweroff-immediate",
        EmergencyAction::Exit => "exit",
        EmergencyAction::ExitForce => "exit-force",
    }
}

fn failure_mode(mode: TimeoutFailureMode) -> &'static str {
    match mode {
        TimeoutFailureMode::Terminate => "terminate",
        TimeoutFailureMode::Abort => "abort",
        TimeoutFailureMode::Kill => "kill",
    }
}

/// `(aiai)` of exit statuses and signals.
fn statuses(set: &ExitStatusSet) -> Value {
    let numbers = |list: &[u8]| Value::array("i", list.iter().map(|&n| i32::from(n).into()).collect());
    Value::Struct(vec![numbers(&set.codes), numbers(&set.signals)])
}

fn of_service(service: &ServiceConfig, name: &str) -> Option<Value> {
    Some(match name {
        "ExitType" => match service.exit_type {
            ExitType::Main => "main".into(),
            ExitType::Cgroup => "cgroup".into(),
        },
        "TimeoutAbortUSec" => service.timeout_abort.unwrap_or(service.timeout_stop).into(),
        "TimeoutStartFailureMode" => failure_mode(service.timeout_start_failure_mode).into(),
        "TimeoutStopFailureMode" => failure_mode(service.timeout_stop_failure_mode).into(),
        "RuntimeRandomizedExtraUSec" => service.runtime_randomized_extra.into(),
        "RootDirectoryStartOnly" => service.root_directory_start_only.into(),
        "GuessMainPID" => service.guess_main_pid.into(),
        "RestartPreventExitStatus" => statuses(&service.restart_prevent_exit_status),
        "RestartForceExitStatus" => statuses(&service.restart_force_exit_status),
        "FileDescriptorStoreMax" => service.fd_store_max.into(),
        "OOMPolicy" => match service.oom_policy? {
            OomPolicy::Continue => "continue".into(),
            OomPolicy::Stop => "stop".into(),
            OomPolicy::Kill => "kill".into(),
        },
        "NonBlocking" => service.non_blocking.into(),
        "IOWeight" => service.resources.io_weight.unwrap_or(u64::MAX).into(),
        _ => return of_kill(&service.kill, name).or_else(|| of_execution(&service.context, name)),
    })
}

fn of_scope(scope: &ScopeConfig, name: &str) -> Option<Value> {
    match name {
        "IOWeight" => Some(scope.resources.io_weight.unwrap_or(u64::MAX).into()),
        _ => of_kill(&scope.kill, name),
    }
}

fn of_kill(kill: &KillConfig, name: &str) -> Option<Value> {
    Some(match name {
        "KillMode" => kill.mode.as_str().into(),
        "KillSignal" => i32::from(kill.signal).into(),
        "RestartKillSignal" => i32::from(kill.restart_signal.unwrap_or(kill.signal)).into(),
        "FinalKillSignal" => i32::from(kill.final_signal).into(),
        "WatchdogSignal" => i32::from(kill.watchdog_signal).into(),
        "SendSIGKILL" => kill.send_sigkill.into(),
        "SendSIGHUP" => kill.send_sighup.into(),
        _ => return None,
    })
}

fn of_mount(mount: &MountConfig, name: &str) -> Option<Value> {
    Some(match name {
        "Where" => mount.at.to_string().into(),
        "What" => mount.what.to_string().into(),
        "Type" => mount.fs_type.to_string().into(),
        "Options" => mount.options.to_string().into(),
        "TimeoutUSec" => mount.timeout.into(),
        "IOWeight" => mount.resources.io_weight.unwrap_or(u64::MAX).into(),
        _ => return of_execution(&mount.context, name),
    })
}

fn of_socket(socket: &SocketConfig, name: &str) -> Option<Value> {
    let optional = |text: &Option<Box<str>>| Value::from(text.as_deref().unwrap_or("").to_owned());
    Some(match name {
        "BindIPv6Only" => ["default", "both", "ipv6-only"][usize::from(socket.bind_ipv6_only.min(2))].into(),
        "Backlog" => socket.backlog.into(),
        "TimeoutUSec" => socket.timeout.into(),
        "SocketUser" => optional(&socket.user),
        "SocketGroup" => optional(&socket.group),
        "SocketMode" => socket.mode.into(),
        "DirectoryMode" => socket.directory_mode.into(),
        "FlushPending" => socket.flush_pending.into(),
        "Writable" => socket.writable.into(),
        "KeepAlive" => socket.keep_alive.into(),
        "NoDelay" => socket.no_delay.into(),
        "ReceiveBuffer" => socket.receive_buffer.unwrap_or(0).into(),
        "SendBuffer" => socket.send_buffer.unwrap_or(0).into(),
        "PipeSize" => socket.pipe_size.unwrap_or(0).into(),
        "FreeBind" => socket.free_bind.into(),
        "ReusePort" => socket.reuse_port.into(),
        "PassCredentials" => socket.pass_credentials.into(),
        "PassSecurity" => socket.pass_security.into(),
        "RemoveOnStop" => socket.remove_on_stop.into(),
        "Symlinks" => texts(&socket.symlinks),
        "MaxConnections" => socket.max_connections.into(),
        "MaxConnectionsPerSource" => socket.max_connections_per_source.into(),
        "TriggerLimitIntervalUSec" => socket.trigger_limit_interval.into(),
        "TriggerLimitBurst" => {
            socket.trigger_limit_burst.unwrap_or(if socket.accept { 200 } else { 20 }).into()
        }
        "ExecStartPre" => commands(&socket.exec[0]),
        "ExecStartPost" => commands(&socket.exec[1]),
        "ExecStopPre" => commands(&socket.exec[2]),
        "ExecStopPost" => commands(&socket.exec[3]),
        "IOWeight" => socket.resources.io_weight.unwrap_or(u64::MAX).into(),
        _ => return of_kill(&socket.kill, name).or_else(|| of_execution(&socket.context, name)),
    })
}

/// `a(sasbttttuii)`: nothing is kept of how these commands ran.
fn commands(commands: &[Command]) -> Value {
    let row = |command: &Command| {
        let mut fields =
            vec![command.path.to_string().into(), texts(&command.argv), command.ignore_failure.into()];
        fields.extend([0u64; 4].map(Value::from));
        fields.extend([Value::Uint32(0), Value::Int32(0), Value::Int32(0)]);
        Value::Struct(fields)
    };
    Value::array("(sasbttttuii)", commands.iter().map(row).collect())
}

fn texts(texts: &[Box<str>]) -> Value {
    Value::strings(texts.iter().map(|text| text.to_string()))
}

fn optional(text: Option<&str>) -> Value {
    text.unwrap_or_default().to_owned().into()
}

fn of_execution(context: &ExecConfig, name: &str) -> Option<Value> {
    let protection = context.protection.as_deref();
    let word = |words: [&'static str; 4], at: Option<u8>| -> Value {
        words[usize::from(at.unwrap_or(0).min(3))].into()
    };
    Some(match name {
        "User" => optional(context.user.as_deref()),
        "Group" => optional(context.group.as_deref()),
        "SupplementaryGroups" => texts(&context.supplementary_groups),
        "WorkingDirectory" => optional(context.working_directory.as_deref()),
        "RootDirectory" => optional(context.root_directory.as_deref()),
        "Environment" => texts(&context.environment),
        "EnvironmentFiles" => {
            let files = context.environment_files.iter();
            let row = |file: &hence_unit::config::EnvironmentFile| {
                Value::Struct(vec![file.path.to_string().into(), file.optional.into()])
            };
            Value::array("(sb)", files.map(row).collect())
        }
        "PassEnvironment" => texts(&context.pass_environment),
        "UnsetEnvironment" => texts(&context.unset_environment),
        "UMask" => context.umask.unwrap_or(0o022).into(),
        "Nice" => context.nice.map_or(0, i32::from).into(),
        "OOMScoreAdjust" => context.oom_score_adjust.map_or(0, i32::from).into(),
        "CPUSchedulingPolicy" => context.scheduling_policy.map_or(0, i32::from).into(),
        "CPUSchedulingPriority" => context.scheduling_priority.map_or(0, i32::from).into(),
        // As ioprio_set(2) has it: the class above thirteen bits of the level in it.
        "IOSchedulingClass" => i32::from(context.io_priority? >> 13).into(),
        "IOSchedulingPriority" => i32::from(context.io_priority? & 0x1fff).into(),
        "CPUAffinity" => super::mask(context.cpu_affinity.iter().map(|cpu| usize::from(*cpu))),
        "CapabilityBoundingSet" => context.capability_bounding_set.unwrap_or(u64::MAX).into(),
        "AmbientCapabilities" => context.ambient_capabilities.into(),
        "NoNewPrivileges" => context.no_new_privileges.into(),
        "IgnoreSIGPIPE" => (!context.keep_sigpipe).into(),
        "StandardInput" => stream(&context.stdin, "null").into(),
        "StandardOutput" => stream(&context.stdout, "journal").into(),
        "StandardError" => stream(&context.stderr, "inherit").into(),
        "StandardInputFileDescriptorName" => descriptor(&context.stdin),
        "StandardOutputFileDescriptorName" => descriptor(&context.stdout),
        "StandardErrorFileDescriptorName" => descriptor(&context.stderr),
        "StandardInputData" => Value::Bytes(context.stdin_data.clone()),
        "TTYPath" => optional(context.tty_path.as_deref()),
        "SyslogIdentifier" => optional(context.syslog_identifier.as_deref()),
        "PrivateTmp" => protection.is_some_and(|p| p.private_tmp).into(),
        "ProtectSystem" => word(["no", "yes", "full", "strict"], protection.map(|p| p.system)),
        "ProtectHome" => word(["no", "yes", "read-only", "tmpfs"], protection.map(|p| p.home)),
        "ReadWritePaths" => texts(protection.map_or(&[], |p| &p.read_write_paths)),
        "ReadOnlyPaths" => texts(protection.map_or(&[], |p| &p.read_only_paths)),
        "InaccessiblePaths" => texts(protection.map_or(&[], |p| &p.inaccessible_paths)),
        "RuntimeDirectoryPreserve" => {
            ["no", "restart", "yes"][usize::from(context.runtime_directory_preserve.min(2))].into()
        }
        _ => return logging(context, name).or_else(|| directories(context, name)),
    })
}

/// How output is logged, where the unit says so.
fn logging(context: &ExecConfig, name: &str) -> Option<Value> {
    let log = context.log.as_deref()?;
    Some(match name {
        "SyslogLevel" => i32::from(log.level?).into(),
        "SyslogFacility" => i32::from(log.facility?).into(),
        "SyslogLevelPrefix" => (!log.no_level_prefix).into(),
        "LogLevelMax" => i32::from(log.level_max?).into(),
        "LogRateLimitIntervalUSec" => log.rate_interval_us?.into(),
        "LogRateLimitBurst" => log.rate_burst?.into(),
        "LogExtraFields" => {
            let fields = log.extra_fields.iter().map(|field| Value::Bytes(field.as_bytes().to_vec()));
            Value::array("ay", fields.collect())
        }
        _ => return None,
    })
}

/// `RuntimeDirectory=` and so on, and their modes.
fn directories(context: &ExecConfig, name: &str) -> Option<Value> {
    let (kind, rest) = [
        ("Runtime", DirectoryKind::Runtime),
        ("State", DirectoryKind::State),
        ("Cache", DirectoryKind::Cache),
        ("Logs", DirectoryKind::Logs),
        ("Configuration", DirectoryKind::Configuration),
    ]
    .into_iter()
    .find_map(|(word, kind)| Some((kind, name.strip_prefix(word)?.strip_prefix("Directory")?)))?;
    match rest {
        "" => {
            let names = context.directories.iter().filter(|folder| folder.kind == kind);
            Some(Value::strings(names.map(|folder| folder.name.to_string())))
        }
        "Mode" => Some(context.directory_modes[kind as usize].unwrap_or(0o755).into()),
        _ => None,
    }
}

/// The word of a stream, without the file that it names.
fn stream(stream: &Stdio, default: &'static str) -> String {
    match stream {
        Stdio::Default => default.to_owned(),
        Stdio::Inherit => "inherit".to_owned(),
        Stdio::Null => "null".to_owned(),
        Stdio::Journal => "journal".to_owned(),
        Stdio::JournalConsole => "journal+console".to_owned(),
        Stdio::Kmsg => "kmsg".to_owned(),
        Stdio::KmsgConsole => "kmsg+console".to_owned(),
        Stdio::Tty => "tty".to_owned(),
        Stdio::Socket => "socket".to_owned(),
        Stdio::Data => "data".to_owned(),
        Stdio::Fd(_) => "fd".to_owned(),
        Stdio::File(path) => format!("file:{path}"),
        Stdio::Append(path) => format!("append:{path}"),
        Stdio::Truncate(path) => format!("truncate:{path}"),
    }
}

fn descriptor(stream: &Stdio) -> Value {
    match stream {
        Stdio::Fd(name) => name.to_string().into(),
        _ => "".into(),
    }
}
