//! Values of directives that have a typed field in a unit's configuration.

use super::Field;
use crate::interface::shown::Shown;
use crate::wire::Value;
use hence_unit::config::{
    Bind, Command, DirectoryKind, ExitStatusSet, Kind, Protection, ScopeConfig, ServiceConfig, SocketConfig,
    Stdio,
};
use hence_unit::mount::MountConfig;
use hence_unit::swap::SwapConfig;
use hence_unit::{Config, ExecConfig, KillConfig, UnitConfig};

/// The value of a property whose directive has a field; `None` where the text of the setting has to do.
pub fn value(config: &Config, field: Field) -> Option<Shown<'_>> {
    let own = match &config.kind {
        Kind::Service(service) => of_service(service, field),
        Kind::Socket(socket) => of_socket(socket, field),
        Kind::Scope(scope) => of_scope(scope, field),
        Kind::Mount(mount) => of_mount(mount, field),
        Kind::Swap(swap) => of_swap(swap, field),
        Kind::Timer(timer) => match field {
            Field::RemainAfterElapse => Some(timer.remain_after_elapse.into()),
            Field::OnClockChange => Some(timer.on_clock_change.into()),
            Field::OnTimezoneChange => Some(timer.on_timezone_change.into()),
            Field::FixedRandomDelay => Some(timer.fixed_random_delay.is_some().into()),
            _ => None,
        },
        Kind::Path(path) => match field {
            Field::MakeDirectory => Some(path.make_directory.into()),
            Field::DirectoryMode => Some(path.directory_mode.into()),
            Field::TriggerLimitIntervalUSec => Some(path.trigger_limit_interval.into()),
            Field::TriggerLimitBurst => Some(path.trigger_limit_burst.into()),
            Field::Paths => {
                let row = |(kind, watched): &(&'static str, Box<str>)| {
                    Value::Struct(vec![(*kind).into(), watched.to_string().into()])
                };
                Some(Value::array("(ss)", path.watches.iter().map(row).collect()).into())
            }
            _ => None,
        },
        _ => None,
    };
    own.or_else(|| of_unit(&config.unit, field))
}

fn of_unit(unit: &UnitConfig, field: Field) -> Option<Shown<'_>> {
    let flags = &unit.flags;
    Some(match field {
        Field::StopWhenUnneeded => flags.stop_when_unneeded.into(),
        Field::RefuseManualStart => flags.refuse_manual_start.into(),
        Field::RefuseManualStop => flags.refuse_manual_stop.into(),
        Field::AllowIsolate => flags.allow_isolate.into(),
        Field::DefaultDependencies => flags.default_dependencies.into(),
        Field::IgnoreOnIsolate => flags.ignore_on_isolate.into(),
        Field::CollectMode => if flags.collect_failed { "inactive-or-failed" } else { "inactive" }.into(),
        Field::OnFailureJobMode => unit.on_failure_job_mode.as_str().into(),
        Field::JobTimeoutUSec => unit.job_timeout.into(),
        Field::JobRunningTimeoutUSec => unit.job_running_timeout.into(),
        Field::JobTimeoutAction => unit.job_timeout_action.as_str().into(),
        Field::StartLimitAction => unit.start_limit_action.as_str().into(),
        Field::FailureAction => unit.failure_action.as_str().into(),
        Field::SuccessAction => unit.success_action.as_str().into(),
        Field::FailureActionExitStatus => unit.failure_action_exit_status.map_or(-1, i32::from).into(),
        Field::SuccessActionExitStatus => unit.success_action_exit_status.map_or(-1, i32::from).into(),
        _ => return None,
    })
}

/// `(aiai)` of exit statuses and signals.
fn statuses(set: &ExitStatusSet) -> Shown<'static> {
    let numbers = |list: &[u8]| Value::array("i", list.iter().map(|&n| i32::from(n).into()).collect());
    if set.codes.is_empty() && set.signals.is_empty() {
        return Shown::Default;
    }
    Value::Struct(vec![numbers(&set.codes), numbers(&set.signals)]).into()
}

fn of_service(service: &ServiceConfig, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::ExitType => service.exit_type.as_str().into(),
        Field::TimeoutAbortUSec => service.timeout_abort.unwrap_or(service.timeout_stop).into(),
        Field::TimeoutStartFailureMode => service.timeout_start_failure_mode.as_str().into(),
        Field::TimeoutStopFailureMode => service.timeout_stop_failure_mode.as_str().into(),
        Field::RuntimeRandomizedExtraUSec => service.runtime_randomized_extra.into(),
        Field::RootDirectoryStartOnly => service.root_directory_start_only.into(),
        Field::GuessMainPID => service.guess_main_pid.into(),
        Field::RestartPreventExitStatus => statuses(&service.restart_prevent_exit_status),
        Field::RestartForceExitStatus => statuses(&service.restart_force_exit_status),
        Field::FileDescriptorStoreMax => service.fd_store_max.into(),
        Field::OOMPolicy => service.oom_policy?.as_str().into(),
        Field::NonBlocking => service.non_blocking.into(),
        Field::IOWeight => service.resources.io_weight.unwrap_or(u64::MAX).into(),
        _ => return of_kill(&service.kill, field).or_else(|| of_execution(&service.context, field)),
    })
}

fn of_scope(scope: &ScopeConfig, field: Field) -> Option<Shown<'_>> {
    match field {
        Field::IOWeight => Some(scope.resources.io_weight.unwrap_or(u64::MAX).into()),
        _ => of_kill(&scope.kill, field),
    }
}

fn of_kill(kill: &KillConfig, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::KillMode => kill.mode.as_str().into(),
        Field::KillSignal => i32::from(kill.signal).into(),
        Field::RestartKillSignal => i32::from(kill.restart_signal.unwrap_or(kill.signal)).into(),
        Field::FinalKillSignal => i32::from(kill.final_signal).into(),
        Field::WatchdogSignal => i32::from(kill.watchdog_signal).into(),
        Field::SendSIGKILL => kill.send_sigkill.into(),
        Field::SendSIGHUP => kill.send_sighup.into(),
        _ => return None,
    })
}

fn of_mount(mount: &MountConfig, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::Where => (&*mount.at).into(),
        Field::What => (&*mount.what).into(),
        Field::Type => (&*mount.fs_type).into(),
        Field::Options => (&*mount.options).into(),
        Field::TimeoutUSec => mount.timeout.into(),
        Field::IOWeight => mount.resources.io_weight.unwrap_or(u64::MAX).into(),
        _ => return of_kill(&mount.kill, field).or_else(|| of_execution(&mount.context, field)),
    })
}

fn of_swap(swap: &SwapConfig, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::What => (&*swap.what).into(),
        Field::TimeoutUSec => swap.timeout.into(),
        Field::IOWeight => swap.resources.io_weight.unwrap_or(u64::MAX).into(),
        _ => return of_kill(&swap.kill, field).or_else(|| of_execution(&swap.context, field)),
    })
}

fn of_socket(socket: &SocketConfig, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::BindIPv6Only => {
            ["default", "both", "ipv6-only"][usize::from(socket.bind_ipv6_only.min(2))].into()
        }
        Field::Backlog => socket.backlog.into(),
        Field::TimeoutUSec => socket.timeout.into(),
        Field::SocketUser => optional(socket.user.as_deref()),
        Field::SocketGroup => optional(socket.group.as_deref()),
        Field::SocketMode => socket.mode.into(),
        Field::DirectoryMode => socket.directory_mode.into(),
        Field::FlushPending => socket.flush_pending.into(),
        Field::Writable => socket.writable.into(),
        Field::KeepAlive => socket.keep_alive.into(),
        Field::NoDelay => socket.no_delay.into(),
        Field::ReceiveBuffer => socket.receive_buffer.unwrap_or(0).into(),
        Field::SendBuffer => socket.send_buffer.unwrap_or(0).into(),
        Field::PipeSize => socket.pipe_size.unwrap_or(0).into(),
        Field::FreeBind => socket.free_bind.into(),
        Field::ReusePort => socket.reuse_port.into(),
        Field::PassCredentials => socket.pass_credentials.into(),
        Field::PassSecurity => socket.pass_security.into(),
        Field::RemoveOnStop => socket.remove_on_stop.into(),
        Field::Symlinks => texts(&socket.symlinks),
        Field::MaxConnections => socket.max_connections.into(),
        Field::MaxConnectionsPerSource => socket.max_connections_per_source.into(),
        Field::TriggerLimitIntervalUSec => socket.trigger_limit_interval.into(),
        Field::TriggerLimitBurst => {
            socket.trigger_limit_burst.unwrap_or(if socket.accept { 200 } else { 20 }).into()
        }
        Field::ExecStartPre => commands(&socket.exec[0]),
        Field::ExecStartPost => commands(&socket.exec[1]),
        Field::ExecStopPre => commands(&socket.exec[2]),
        Field::ExecStopPost => commands(&socket.exec[3]),
        Field::IOWeight => socket.resources.io_weight.unwrap_or(u64::MAX).into(),
        _ => return of_kill(&socket.kill, field).or_else(|| of_execution(&socket.context, field)),
    })
}

/// `a(sasbttttuii)`: nothing is kept of how these commands ran.
fn commands(commands: &[Command]) -> Shown<'static> {
    if commands.is_empty() {
        return Shown::Default;
    }
    let row = |command: &Command| {
        let mut fields =
            vec![command.path.to_string().into(), strings(&command.argv), command.ignore_failure.into()];
        fields.extend([0u64; 4].map(Value::from));
        fields.extend([Value::Uint32(0), Value::Int32(0), Value::Int32(0)]);
        Value::Struct(fields)
    };
    Value::array("(sasbttttuii)", commands.iter().map(row).collect()).into()
}

fn strings(texts: &[Box<str>]) -> Value {
    Value::strings(texts.iter().map(|text| text.to_string()))
}

fn texts(texts: &[Box<str>]) -> Shown<'_> {
    Shown::Boxes(texts)
}

fn optional(text: Option<&str>) -> Shown<'_> {
    Shown::Text(text.unwrap_or_default())
}

fn of_execution(context: &ExecConfig, field: Field) -> Option<Shown<'_>> {
    let protection = context.protection.as_deref();
    let word = |words: [&'static str; 4], at: Option<u8>| -> Shown<'static> {
        words[usize::from(at.unwrap_or(0).min(3))].into()
    };
    Some(match field {
        Field::User => optional(context.user.as_deref()),
        Field::Group => optional(context.group.as_deref()),
        Field::SupplementaryGroups => texts(&context.supplementary_groups),
        Field::WorkingDirectory => optional(context.working_directory.as_deref()),
        Field::RootDirectory => optional(context.root_directory.as_deref()),
        Field::Environment => texts(&context.environment),
        Field::EnvironmentFiles => {
            let files = context.environment_files.iter();
            if files.len() == 0 {
                return Some(Shown::Default);
            }
            let row = |file: &hence_unit::config::EnvironmentFile| {
                Value::Struct(vec![file.path.to_string().into(), file.optional.into()])
            };
            Value::array("(sb)", files.map(row).collect()).into()
        }
        Field::PassEnvironment => texts(&context.pass_environment),
        Field::UnsetEnvironment => texts(&context.unset_environment),
        Field::UMask => context.umask.unwrap_or(0o022).into(),
        Field::Nice => context.nice.map_or(0, i32::from).into(),
        Field::OOMScoreAdjust => context.oom_score_adjust.map_or(0, i32::from).into(),
        Field::CPUSchedulingPolicy => context.scheduling_policy.map_or(0, i32::from).into(),
        Field::CPUSchedulingPriority => context.scheduling_priority.map_or(0, i32::from).into(),
        // As ioprio_set(2) has it: the class above thirteen bits of the level in it.
        Field::IOSchedulingClass => i32::from(context.io_priority? >> 13).into(),
        Field::IOSchedulingPriority => i32::from(context.io_priority? & 0x1fff).into(),
        Field::CPUAffinity => super::mask(context.cpu_affinity.iter().map(|cpu| usize::from(*cpu))).into(),
        Field::CapabilityBoundingSet => context.capability_bounding_set.unwrap_or(u64::MAX).into(),
        Field::AmbientCapabilities => context.ambient_capabilities.into(),
        Field::NoNewPrivileges => context.no_new_privileges.into(),
        Field::IgnoreSIGPIPE => (!context.keep_sigpipe).into(),
        Field::StandardInput => stream(&context.stdin, "null"),
        Field::StandardOutput => stream(&context.stdout, "journal"),
        Field::StandardError => stream(&context.stderr, "inherit"),
        Field::StandardInputFileDescriptorName => descriptor(&context.stdin),
        Field::StandardOutputFileDescriptorName => descriptor(&context.stdout),
        Field::StandardErrorFileDescriptorName => descriptor(&context.stderr),
        Field::StandardInputData => Shown::Bytes(&context.stdin_data),
        Field::TTYPath => optional(context.tty_path.as_deref()),
        Field::SyslogIdentifier => optional(context.syslog_identifier.as_deref()),
        Field::RemoveIPC => context.remove_ipc.into(),
        Field::MountAPIVFS => {
            protection.and_then(|p| p.mount_api).unwrap_or(context.root_directory.is_some()).into()
        }
        Field::PrivateTmp => protection.is_some_and(|p| p.private_tmp).into(),
        Field::ProtectSystem => word(["no", "yes", "full", "strict"], protection.map(|p| p.system)),
        Field::ProtectHome => word(["no", "yes", "read-only", "tmpfs"], protection.map(|p| p.home)),
        Field::ReadWritePaths => texts(protection.map_or(&[], |p| &p.read_write_paths)),
        Field::ReadOnlyPaths => texts(protection.map_or(&[], |p| &p.read_only_paths)),
        Field::InaccessiblePaths => texts(protection.map_or(&[], |p| &p.inaccessible_paths)),
        Field::RuntimeDirectoryPreserve => {
            ["no", "restart", "yes"][usize::from(context.runtime_directory_preserve.min(2))].into()
        }
        _ => {
            let restricted = || super::restricted::value(context, field);
            return logging(context, field)
                .or_else(|| directories(context, field))
                .or_else(restricted)
                .or_else(|| shielded(protection?, field));
        }
    })
}

/// What of the machine is the unit's own, and what is out of its reach.
fn shielded(protection: &Protection, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::DynamicUser => protection.dynamic_user.into(),
        Field::ExecPaths => texts(&protection.exec_paths),
        Field::NoExecPaths => texts(&protection.no_exec_paths),
        // As mount(2) has them.
        Field::MountFlags => {
            [0u64, 1 << 20, 1 << 19, 1 << 18][usize::from(protection.propagation.min(3))].into()
        }
        Field::PrivateDevices => protection.private_devices.into(),
        Field::ProtectClock => protection.clock.into(),
        Field::ProtectKernelTunables => protection.kernel_tunables.into(),
        Field::ProtectKernelModules => protection.kernel_modules.into(),
        Field::ProtectKernelLogs => protection.kernel_logs.into(),
        Field::ProtectControlGroups => protection.control_groups.into(),
        Field::PrivateNetwork => protection.private_network.into(),
        Field::PrivateUsers => protection.private_users.into(),
        Field::PrivateMounts => protection.private_mounts.into(),
        Field::PrivateIPC => protection.private_ipc.into(),
        Field::ProtectHostname => protection.hostname.into(),
        Field::ProtectProc => Protection::PROC[usize::from(protection.proc.min(3))].into(),
        Field::ProcSubset => if protection.proc_of_processes { "pid" } else { "all" }.into(),
        Field::NetworkNamespacePath => optional(protection.network_path.as_deref()),
        Field::IPCNamespacePath => optional(protection.ipc_path.as_deref()),
        Field::BindPaths => binds(protection, false),
        Field::BindReadOnlyPaths => binds(protection, true),
        Field::TemporaryFileSystem => {
            let row = |(path, options): &(Box<str>, Box<str>)| {
                Value::Struct(vec![path.to_string().into(), options.to_string().into()])
            };
            Value::array("(ss)", protection.temporary.iter().map(row).collect()).into()
        }
        _ => return None,
    })
}

fn binds(protection: &Protection, read_only: bool) -> Shown<'_> {
    const MS_REC: u64 = 0x4000;
    let row = |bind: &Bind| {
        let flags = if bind.recursive { MS_REC } else { 0 };
        let (source, destination) = (bind.source.to_string(), bind.destination.to_string());
        Value::Struct(vec![source.into(), destination.into(), bind.optional.into(), flags.into()])
    };
    let all = protection.binds.iter().filter(|bind| bind.read_only == read_only);
    Value::array("(ssbt)", all.map(row).collect()).into()
}

/// How output is logged, where the unit says so.
fn logging(context: &ExecConfig, field: Field) -> Option<Shown<'_>> {
    let log = context.log.as_deref()?;
    Some(match field {
        Field::SyslogLevel => i32::from(log.level?).into(),
        Field::SyslogFacility => i32::from(log.facility?).into(),
        Field::SyslogLevelPrefix => (!log.no_level_prefix).into(),
        Field::LogLevelMax => i32::from(log.level_max?).into(),
        Field::LogRateLimitIntervalUSec => log.rate_interval_us?.into(),
        Field::LogRateLimitBurst => log.rate_burst?.into(),
        Field::LogExtraFields => {
            let fields = log.extra_fields.iter().map(|field| Value::Bytes(field.as_bytes().to_vec()));
            Value::array("ay", fields.collect()).into()
        }
        _ => return None,
    })
}

/// `RuntimeDirectory=` and so on, and their modes.
fn directories(context: &ExecConfig, field: Field) -> Option<Shown<'_>> {
    let (kind, is_mode) = match field {
        Field::RuntimeDirectory => (DirectoryKind::Runtime, false),
        Field::RuntimeDirectoryMode => (DirectoryKind::Runtime, true),
        Field::StateDirectory => (DirectoryKind::State, false),
        Field::StateDirectoryMode => (DirectoryKind::State, true),
        Field::CacheDirectory => (DirectoryKind::Cache, false),
        Field::CacheDirectoryMode => (DirectoryKind::Cache, true),
        Field::LogsDirectory => (DirectoryKind::Logs, false),
        Field::LogsDirectoryMode => (DirectoryKind::Logs, true),
        Field::ConfigurationDirectory => (DirectoryKind::Configuration, false),
        Field::ConfigurationDirectoryMode => (DirectoryKind::Configuration, true),
        _ => return None,
    };
    if is_mode {
        return Some(context.directory_modes[kind as usize].unwrap_or(0o755).into());
    }
    let names = context.directories.iter().filter(|folder| folder.kind == kind);
    Some(Value::strings(names.map(|folder| folder.name.to_string())).into())
}

/// The word of a stream, without the file that it names.
fn stream(stream: &Stdio, default: &'static str) -> Shown<'static> {
    match stream {
        Stdio::Default => default.into(),
        Stdio::Inherit => "inherit".into(),
        Stdio::Null => "null".into(),
        Stdio::Journal => "journal".into(),
        Stdio::JournalConsole => "journal+console".into(),
        Stdio::Kmsg => "kmsg".into(),
        Stdio::KmsgConsole => "kmsg+console".into(),
        Stdio::Tty => "tty".into(),
        Stdio::Socket => "socket".into(),
        Stdio::Data => "data".into(),
        Stdio::Fd(_) => "fd".into(),
        Stdio::File(path) => format!("file:{path}").into(),
        Stdio::Append(path) => format!("append:{path}").into(),
        Stdio::Truncate(path) => format!("truncate:{path}").into(),
    }
}

fn descriptor(stream: &Stdio) -> Shown<'_> {
    match stream {
        Stdio::Fd(name) => (&**name).into(),
        _ => "".into(),
    }
}
