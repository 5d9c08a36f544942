//! Rows of systemd.exec(5): the process that a command becomes. Nothing is started here; what is not
//! applied to processes is named in `ExecConfig::not_applied`.

use super::{
    Loading, Outcome, Row, Section, Sections, Shape, Take,
    Take::{Act, Keep, Sandbox},
    attribute, capability, logging, protection, restrict, row, stdio,
    typed::{context, extend, flag, list, optional, parsed, path, put, text},
};
use crate::{
    ExecConfig,
    config::{DirectoryKind, EnvironmentFile, ManagedDirectory, ResourceLimit},
    syntax::Assignment,
    value,
};
use alloc::{boxed::Box, format, string::String, vec::Vec};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Sections::EXEC, "systemd.exec(5)", take, doc)
}

/// A directive of a sandbox that is off by default.
const fn off(name: &'static str, doc: &'static str) -> Row {
    r(name, Sandbox(Shape::Boolean, "no"), doc)
}

/// A directive of a sandbox with a list that is empty by default.
const fn none(name: &'static str, doc: &'static str) -> Row {
    r(name, Sandbox(Shape::List, ""), doc)
}

/// A directive of a sandbox with a text that is empty by default.
const fn unset(name: &'static str, doc: &'static str) -> Row {
    r(name, Sandbox(Shape::TextOrDefault, ""), doc)
}

/// A boolean directive that fills a field of [`crate::config::Protection`].
macro_rules! shielded {
    ($field:ident, $name:literal, $doc:literal) => {
        r($name, Act(|l, a| protection::switch(l, a, |p, v| p.$field = v)), $doc)
    };
}

const USER_NAME: &str = "a user or group by name or number";

fn user(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    set: impl FnOnce(&mut ExecConfig, Option<Box<str>>),
) -> Outcome {
    super::typed::checked_text(loading, assignment, context, (value::user_name_is_valid, USER_NAME), set)
}

/// Adds words that pass a check to a list of the context, or empties it.
fn words(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    (fits, allowed): (fn(&str) -> bool, &str),
    field: fn(&mut ExecConfig) -> &mut Vec<Box<str>>,
) -> Outcome {
    let take = |word: String| match fits(&word) {
        true => Ok(word.into_boxed_str()),
        false => Err(format!("{word:?} is not {allowed}")),
    };
    list(loading, assignment, take, |config, word| {
        if let Some(context) = context(config) {
            extend(field(context), word);
        }
    })
}

/// A folder; one that can't be used is an error unless it may be missing.
fn working_directory(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let before = loading.config.diagnostics.len();
    let outcome = any_working_directory(loading, assignment);
    if !assignment.value.starts_with('-') {
        loading.refuse(before);
    }
    outcome
}

fn any_working_directory(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let (optional, written) = match assignment.value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, &*assignment.value),
    };
    if assignment.value.is_empty() {
        put(loading, context, |c| (c.working_directory, c.working_directory_optional) = (None, false));
        return Outcome::Reset;
    }
    let Some(folder) = loading.expand(assignment, written) else {
        return Outcome::Rejected;
    };
    let folder = if folder == "~" { Some(folder.into_owned()) } else { value::absolute_path(&folder) };
    let Some(folder) = folder else {
        let message = format!("{}= takes {}, or ~ for the home folder", assignment.key, value::ABSOLUTE);
        loading.bad_value(assignment, message, None);
        return Outcome::Rejected;
    };
    put(loading, context, |c| {
        (c.working_directory, c.working_directory_optional) = (Some(folder.into()), optional);
    });
    Outcome::Replaced
}

/// Variables; a later one of the same name replaces the former in its place.
fn environment(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let take = |variable: String| match value::assignment_is_valid(&variable) {
        true => Ok(variable.into_boxed_str()),
        false => Err(format!("{variable:?} is not a valid NAME=VALUE and is left out")),
    };
    list(loading, assignment, take, |config, variable| {
        let Some(context) = context(config) else {
            return;
        };
        let Some(variable) = variable else {
            context.environment.clear();
            return;
        };
        let name = |v: &str| v.split_once('=').map_or(0, |(name, _)| name.len() + 1);
        let own = &variable[..name(&variable)];
        match context.environment.iter_mut().find(|v| v.starts_with(own)) {
            Some(former) => *former = variable,
            None => context.environment.push(variable),
        }
    })
}

/// One path; blanks belong to it.
fn environment_file(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, context, |c| c.environment_files.clear());
        return Outcome::Reset;
    }
    let Some(written) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    let (optional, written) = match written.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, &*written),
    };
    let Some(path) = value::absolute_path(written) else {
        let message = format!("{}= takes {}, not {written:?}", assignment.key, value::ABSOLUTE);
        loading.bad_value(assignment, message, None);
        return Outcome::Rejected;
    };
    put(loading, context, |c| c.environment_files.push(EnvironmentFile { path: path.into(), optional }));
    Outcome::Added
}

fn limit(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let row = value::RLIMITS.into_iter().find(|(name, ..)| *name == &*assignment.key);
    let Some((_, resource, unit)) = row else {
        return Outcome::Rejected;
    };
    let parse = |text: &str| value::limit_range(text, unit);
    parsed(loading, assignment, context, (parse, unit.allowed()), |c, (soft, hard)| {
        c.limits.retain(|l| l.resource != resource);
        c.limits.push(ResourceLimit { resource, soft, hard });
    })
}

/// The default of Linux: class best-effort, priority 4.
const IO_DEFAULT: u16 = 2 << 13 | 4;

fn io_class(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let parser = (value::scheduling_class, "one of none, realtime, best-effort or idle");
    optional(loading, assignment, context, parser, |c, class| {
        let now = c.io_priority.unwrap_or(IO_DEFAULT);
        c.io_priority = class.map(|class| u16::from(class) << 13 | now & 0x1fff);
    })
}

fn io_priority(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let parse = |text: &str| value::unsigned(text).filter(|n| *n <= 7).map(|n| n as u16);
    optional(loading, assignment, context, (parse, "a number from 0 to 7"), |c, priority| {
        let now = c.io_priority.unwrap_or(IO_DEFAULT);
        c.io_priority = priority.map(|priority| now & !0x1fff | priority);
    })
}

const KINDS: &[(&str, DirectoryKind)] = &[
    ("Runtime", DirectoryKind::Runtime),
    ("State", DirectoryKind::State),
    ("Cache", DirectoryKind::Cache),
    ("Logs", DirectoryKind::Logs),
    ("Configuration", DirectoryKind::Configuration),
];

fn directory_kind(assignment: &Assignment) -> Option<DirectoryKind> {
    let prefix = assignment.key.split_once("Directory").map(|(prefix, _)| prefix)?;
    value::word(prefix, KINDS)
}

/// Folders below the root of their kind; what follows a colon would be links to them.
fn directories(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let Some(kind) = directory_kind(assignment) else {
        return Outcome::Rejected;
    };
    if assignment.value.split([':', ' ']).count() > 1 && assignment.value.contains(':') {
        let message = format!("{}= creates no links: what follows a colon is left out", assignment.key);
        loading.note(assignment, message);
    }
    let take = |folder: String| {
        let written = folder.split(':').next().unwrap_or_default();
        match value::relative_path(written).filter(|f| f != "private" && !f.starts_with("private/")) {
            Some(folder) => Ok(folder.into_boxed_str()),
            None => Err(format!("{written:?} is not a relative path without .. and outside of private")),
        }
    };
    list(loading, assignment, take, |config, folder| {
        let Some(context) = context(config) else {
            return;
        };
        match folder {
            None => context.directories.retain(|d| d.kind != kind),
            Some(name) if context.directories.iter().any(|d| d.kind == kind && d.name == name) => {}
            Some(name) => {
                let mode = context.directory_modes[kind as usize].unwrap_or(0o755);
                context.directories.push(ManagedDirectory { kind, name, mode });
            }
        }
    })
}

fn directory_mode(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let Some(kind) = directory_kind(assignment) else {
        return Outcome::Rejected;
    };
    parsed(loading, assignment, context, (value::mode, value::MODE), |c, mode| {
        c.directory_modes[kind as usize] = Some(mode);
        for directory in c.directories.iter_mut().filter(|d| d.kind == kind) {
            directory.mode = mode;
        }
    })
}

fn read_write(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    protection::paths(loading, assignment, |p| &mut p.read_write_paths)
}

fn read_only(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    protection::paths(loading, assignment, |p| &mut p.read_only_paths)
}

fn inaccessible(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    protection::paths(loading, assignment, |p| &mut p.inaccessible_paths)
}

fn exec(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    protection::paths(loading, assignment, |p| &mut p.exec_paths)
}

fn no_exec(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    protection::paths(loading, assignment, |p| &mut p.no_exec_paths)
}

pub(super) fn preserve(text: &str) -> Option<u8> {
    match (text, value::boolean(text)) {
        ("restart", _) => Some(1),
        (_, Some(true)) => Some(2),
        (_, Some(false)) => Some(0),
        _ => None,
    }
}

fn is_variable_or_assignment(text: &str) -> bool {
    value::variable_name_is_valid(text) || value::assignment_is_valid(text)
}

const LABELS: &str = "labels of security modules are not set";
const UTMP: &str = "no records of logins are written";
const MODE: &str = "The mode of these folders.";

pub(super) const ROWS: &[Row] = &[
    r("WorkingDirectory", Act(working_directory), "The folder that commands run in."),
    r(
        "RootDirectory",
        Act(|l, a| path(l, a, context, |c, v| c.root_directory = v)),
        "The folder that is the root for commands.",
    )
    .refuses(),
    r("RootImage", Sandbox(Shape::Path, ""), "The disk image that is the root for commands.")
        .refuses()
        .since(233),
    none("RootImageOptions", "Mount options of RootImage=.").since(247),
    unset("RootHash", "The hash that RootImage= is checked with.").since(246),
    unset("RootHashSignature", "The signature of RootHash=.").since(246),
    r("RootVerity", Sandbox(Shape::Path, ""), "The verity data of RootImage=.").refuses().since(246),
    unset("RootImagePolicy", "Which partitions RootImage= must or may have.").since(254),
    unset("MountImagePolicy", "Which partitions MountImages= must or may have.").since(254),
    unset("ExtensionImagePolicy", "Which partitions ExtensionImages= must or may have.").since(254),
    unset("RootMStack", "The stack of mounts that is the root for commands.").since(260),
    off("RootEphemeral", "Changes to the root are dropped at the end.").since(254),
    r("ExtensionDirectories", Sandbox(Shape::Paths, ""), "Folders that are laid over /usr and /opt.")
        .since(251),
    none("ExtensionImages", "Disk images that are laid over /usr and /opt.").since(248),
    none("MountImages", "Disk images that are mounted for commands.").since(246),
    r("User", Act(|l, a| user(l, a, |c, v| c.user = v)), "The user that commands run as.").refuses(),
    r("Group", Act(|l, a| user(l, a, |c, v| c.group = v)), "The group that commands run as.").refuses(),
    r(
        "SupplementaryGroups",
        Act(|l, a| words(l, a, (value::user_name_is_valid, USER_NAME), |c| &mut c.supplementary_groups)),
        "Further groups that commands run with.",
    )
    .refuses(),
    r("SetLoginEnvironment", Keep(Shape::Boolean), "Whether $HOME, $LOGNAME and $SHELL are set.").since(255),
    r(
        "Nice",
        Act(|l, a| optional(l, a, context, (value::nice, "a number from -20 to 19"), |c, v| c.nice = v)),
        "The niceness of processes.",
    ),
    r(
        "OOMScoreAdjust",
        Act(|l, a| {
            let parser = (value::oom_score_adjust, "a number from -1000 to 1000");
            optional(l, a, context, parser, |c, v| c.oom_score_adjust = v)
        }),
        "How soon the kernel kills processes when memory runs out.",
    ),
    r("CoredumpFilter", Act(attribute::coredump_filter), "What a core dump holds.").since(246),
    off("MemoryKSM", "Equal memory of processes is merged.").since(254),
    r("IOSchedulingClass", Act(io_class), "The class of input and output."),
    r("IOSchedulingPriority", Act(io_priority), "The priority of input and output in its class."),
    r(
        "CPUSchedulingPolicy",
        Act(|l, a| {
            let parser = (value::scheduling_policy, "one of other, batch, idle, fifo or rr");
            optional(l, a, context, parser, |c, v| c.scheduling_policy = v)
        }),
        "The scheduling policy of processes.",
    ),
    r(
        "CPUSchedulingPriority",
        Act(|l, a| {
            let parse = |text: &str| value::unsigned(text).filter(|n| *n <= 99).map(|n| n as u8);
            parsed(l, a, context, (parse, "a number from 0 to 99"), |c, v| c.scheduling_priority = Some(v))
        }),
        "The priority of processes with a real-time policy.",
    ),
    r(
        "CPUSchedulingResetOnFork",
        Act(attribute::reset_on_fork),
        "Children start with the usual scheduling policy.",
    ),
    r("CPUAffinity", Act(capability::affinity), "The processors that processes are bound to."),
    r("NUMAPolicy", Act(attribute::numa_policy), "Where processes take memory from.").since(243),
    r("NUMAMask", Act(attribute::numa_mask), "The memory nodes of NUMAPolicy=.").since(243),
    r(
        "UMask",
        Act(|l, a| parsed(l, a, context, (value::mode, value::MODE), |c, v| c.umask = Some(v))),
        "Mode bits that new files lack.",
    ),
    r("Environment", Act(environment), "Environment variables."),
    r("EnvironmentFile", Act(environment_file), "Files with environment variables."),
    r(
        "PassEnvironment",
        Act(|l, a| {
            let check: (fn(&str) -> bool, &str) = (value::variable_name_is_valid, "the name of a variable");
            words(l, a, check, |c| &mut c.pass_environment)
        }),
        "Variables that are passed on from the service manager.",
    )
    .since(228),
    r(
        "UnsetEnvironment",
        Act(|l, a| {
            let check: (fn(&str) -> bool, &str) =
                (is_variable_or_assignment, "the name of a variable or an assignment");
            words(l, a, check, |c| &mut c.unset_environment)
        }),
        "Variables that are removed last.",
    )
    .since(235),
    shielded!(dynamic_user, "DynamicUser", "A user is made up while the unit runs.").refuses().since(232),
    r(
        "RemoveIPC",
        Act(|l, a| flag(l, a, context, |c, v| c.remove_ipc = v)),
        "Remove IPC objects of the user when the unit stops.",
    )
    .since(212),
    r("StandardInput", Act(stdio::input), "Where standard input comes from."),
    r("StandardOutput", Act(stdio::output), "Where standard output goes."),
    r("StandardError", Act(stdio::error), "Where standard error goes."),
    r("StandardInputText", Act(stdio::input_text), "Text that is passed to standard input, a line each.")
        .since(236),
    r("StandardInputData", Act(stdio::input_data), "Data in Base64 that are passed to standard input.")
        .since(236),
    r(
        "TTYPath",
        Act(|l, a| path(l, a, context, |c, v| c.tty_path = v)),
        "The terminal that standard streams of type tty use.",
    ),
    r(
        "TTYReset",
        Act(|l, a| flag(l, a, context, |c, v| c.tty_reset = v)),
        "Reset the terminal before and after.",
    ),
    r(
        "TTYVHangup",
        Act(|l, a| flag(l, a, context, |c, v| c.tty_vhangup = v)),
        "Disconnect all others from the terminal before and after.",
    ),
    r(
        "TTYVTDisallocate",
        Act(|l, a| flag(l, a, context, |c, v| c.tty_vt_disallocate = v)),
        "Free the virtual terminal before and after.",
    ),
    r("TTYRows", Act(attribute::rows), "The terminal's number of rows.").since(250),
    r("TTYColumns", Act(attribute::columns), "The terminal's number of columns.").since(250),
    r(
        "SyslogIdentifier",
        Act(|l, a| text(l, a, context, |c, v| c.syslog_identifier = v)),
        "The name that captured output is logged under.",
    ),
    r("SyslogFacility", Act(logging::facility), "The facility that captured output is logged with."),
    r("SyslogLevel", Act(logging::level), "The level of captured output without one of its own."),
    r("SyslogLevelPrefix", Act(logging::prefix), "Take a level such as <3> from the start of a line."),
    r("LogLevelMax", Act(logging::level_max), "Levels above this one are dropped.").since(236),
    r(
        "LogRateLimitIntervalSec",
        Act(logging::interval),
        "The time in which LogRateLimitBurst= lines are kept.",
    )
    .since(240),
    r("LogRateLimitBurst", Act(logging::burst), "How many lines are kept in that time.").since(240),
    r("LogExtraFields", Act(logging::extra_fields), "Fields that are added to log records.").since(236),
    r(
        "LogFilterPatterns",
        Act(logging::filter_patterns),
        "A pattern of lines that are kept, or with ~ are not.",
    )
    .since(253),
    r("LogNamespace", Keep(Shape::TextOrDefault), "The namespace of the journal that is logged to.")
        .since(245),
    r("SecureBits", Act(attribute::secure_bits), "Bits that guard capabilities."),
    r("CapabilityBoundingSet", Act(capability::bounding), "Capabilities that processes may have at most."),
    r("AmbientCapabilities", Act(capability::ambient), "Capabilities that processes without privileges get.")
        .since(229),
    r("TimerSlackNSec", Act(attribute::timer_slack), "How late timers of processes may be.").since(185),
    r(
        "NoNewPrivileges",
        Act(|l, a| flag(l, a, context, |c, v| c.no_new_privileges = v)),
        "Processes can not gain privileges by execve.",
    ),
    r("KeyringMode", Act(attribute::keyring), "The kernel keyring of processes.").since(235),
    r("ProtectProc", Act(protection::proc), "Which processes are visible in /proc.").since(247),
    r("ProcSubset", Act(protection::proc_subset), "Which parts of /proc are visible.").since(247),
    off("PrivateBPF", "A BPF file system of its own.").since(258),
    none("BPFDelegateCommands", "BPF commands that are delegated.").since(258),
    none("BPFDelegateMaps", "Kinds of BPF maps that are delegated.").since(258),
    none("BPFDelegatePrograms", "Kinds of BPF programs that are delegated.").since(258),
    none("BPFDelegateAttachments", "Kinds of BPF attachments that are delegated.").since(258),
    r("SystemCallFilter", Act(restrict::filter), "System calls that are allowed or refused."),
    r(
        "SystemCallArchitectures",
        Act(restrict::architectures),
        "Architectures whose system calls are allowed.",
    )
    .since(209),
    r("SystemCallErrorNumber", Act(restrict::error_number), "The error that refused system calls give.")
        .since(209),
    r("SystemCallLog", Act(restrict::log), "System calls that are logged.").since(247),
    r(
        "MemoryDenyWriteExecute",
        Act(restrict::deny_write_execute),
        "Memory can not be writable and executable.",
    )
    .since(231),
    r("RestrictNamespaces", Act(restrict::namespaces), "Which namespaces can be created or entered.")
        .since(233),
    r(
        "DelegateNamespaces",
        Sandbox(Shape::TextOrDefault, "no"),
        "Which namespaces belong to the unit's user namespace.",
    )
    .since(258),
    r("RestrictRealtime", Act(restrict::realtime), "Real-time scheduling is refused.").since(231),
    r(
        "RestrictSUIDSGID",
        Act(restrict::suid_sgid),
        "Files with set-user-ID or set-group-ID can not be made.",
    )
    .since(242),
    r("RestrictAddressFamilies", Act(restrict::families), "Families of sockets that are allowed.").since(211),
    none("RestrictFileSystems", "Types of file systems that are allowed.").since(250),
    r("LockPersonality", Act(restrict::lock_personality), "The personality can not be changed.").since(235),
    r("LimitCPU", Act(limit), "Processor time of a process."),
    r("LimitFSIZE", Act(limit), "Size of files that a process writes."),
    r("LimitDATA", Act(limit), "Size of a process' data."),
    r("LimitSTACK", Act(limit), "Size of a process' stack."),
    r("LimitCORE", Act(limit), "Size of core dumps."),
    r("LimitRSS", Act(limit), "Resident memory of a process; without effect in Linux."),
    r("LimitNOFILE", Act(limit), "Number of open files of a process."),
    r("LimitAS", Act(limit), "Address space of a process."),
    r("LimitNPROC", Act(limit), "Number of processes of the user."),
    r("LimitMEMLOCK", Act(limit), "Memory that a process may lock."),
    r("LimitLOCKS", Act(limit), "Number of file locks; without effect in Linux."),
    r("LimitSIGPENDING", Act(limit), "Number of signals that wait for the user."),
    r("LimitMSGQUEUE", Act(limit), "Bytes in POSIX message queues of the user."),
    r("LimitNICE", Act(limit), "The best niceness that a process may take."),
    r("LimitRTPRIO", Act(limit), "The best real-time priority that a process may take."),
    r("LimitRTTIME", Act(limit), "Time that a real-time process may run without a blocking call."),
    r("ReadWriteDirectories", Act(read_write), "As ReadWritePaths=.").replaced_by("ReadWritePaths"),
    r("ReadOnlyDirectories", Act(read_only), "As ReadOnlyPaths=.").replaced_by("ReadOnlyPaths"),
    r("InaccessibleDirectories", Act(inaccessible), "As InaccessiblePaths=.")
        .replaced_by("InaccessiblePaths"),
    r("ReadWritePaths", Act(read_write), "Paths that stay writable.").since(231),
    r("ReadOnlyPaths", Act(read_only), "Paths that become read-only.").since(231),
    r("InaccessiblePaths", Act(inaccessible), "Paths that can not be reached.").since(231),
    r("ExecSearchPath", Act(attribute::search_path), "Where commands without a path are looked for.")
        .since(250),
    r("ExecPaths", Act(exec), "Paths that files can be executed from.").since(248),
    r("NoExecPaths", Act(no_exec), "Paths that files can not be executed from.").since(248),
    r("BindPaths", Act(protection::bind), "Paths that are mounted elsewhere too.").since(233),
    r("BindReadOnlyPaths", Act(protection::bind), "Paths that are mounted elsewhere too, read-only.")
        .since(233),
    r("TemporaryFileSystem", Act(protection::temporary), "Paths that an empty file system is mounted on.")
        .since(238),
    r("PrivateTmp", Act(protection::private_tmp), "A /tmp and /var/tmp of its own."),
    shielded!(private_devices, "PrivateDevices", "A /dev with nothing but pseudo devices.").since(209),
    shielded!(kernel_tunables, "ProtectKernelTunables", "Kernel variables are read-only.").since(232),
    shielded!(kernel_modules, "ProtectKernelModules", "Kernel modules can not be loaded.").since(232),
    shielded!(kernel_logs, "ProtectKernelLogs", "The kernel's log can not be reached.").since(244),
    shielded!(clock, "ProtectClock", "The clock can not be set.").since(245),
    r("ProtectControlGroups", Act(protection::control_groups), "The tree of control groups is read-only.")
        .since(232),
    r("NetworkNamespacePath", Act(protection::network_path), "The network namespace that is joined.")
        .since(242),
    r("IPCNamespacePath", Act(protection::ipc_path), "The IPC namespace that is joined.").since(248),
    unset("UserNamespacePath", "The user namespace that is joined.").since(259),
    shielded!(private_network, "PrivateNetwork", "A network of its own with nothing but a loopback."),
    r("PrivateUsers", Act(protection::private_users), "A user namespace of its own.").since(232),
    shielded!(private_mounts, "PrivateMounts", "A mount namespace of its own.").since(239),
    shielded!(private_ipc, "PrivateIPC", "An IPC namespace of its own.").since(248),
    off("PrivatePIDs", "A PID namespace of its own.").since(257),
    r("ProtectSystem", Act(protection::system), "Which parts of the system are read-only.").since(214),
    r("ProtectHome", Act(protection::home), "What is visible of the home folders.").since(214),
    r("ProtectHostname", Act(protection::hostname), "The host name can not be changed.").since(242),
    r("MountFlags", Act(protection::propagation), "How mounts spread between namespaces."),
    r("MountAPIVFS", Act(protection::mount_api), "Mount /proc, /sys, /dev and /run into the root.")
        .since(233),
    off("BindLogSockets", "Make the sockets of the journal visible in the root.").since(257),
    r("Personality", Act(attribute::personality), "The architecture that uname reports.").since(209),
    r(
        "RuntimeDirectoryPreserve",
        Act(|l, a| {
            parsed(l, a, context, (preserve, "a boolean or restart"), |c, v| c.runtime_directory_preserve = v)
        }),
        "Whether RuntimeDirectory= stays when the unit stops.",
    )
    .since(235),
    r("RuntimeDirectory", Act(directories), "Folders below /run that exist while the unit runs.").since(211),
    r("RuntimeDirectoryMode", Act(directory_mode), MODE).since(211),
    r("StateDirectory", Act(directories), "Folders below /var/lib.").since(235),
    r("StateDirectoryMode", Act(directory_mode), MODE).since(235),
    r("StateDirectoryAccounting", Keep(Shape::Boolean), "Count the use of StateDirectory=.").since(258),
    r("StateDirectoryQuota", Keep(Shape::TextOrDefault), "The quota of StateDirectory=.").since(258),
    r("CacheDirectory", Act(directories), "Folders below /var/cache.").since(235),
    r("CacheDirectoryMode", Act(directory_mode), MODE).since(235),
    r("CacheDirectoryAccounting", Keep(Shape::Boolean), "Count the use of CacheDirectory=.").since(258),
    r("CacheDirectoryQuota", Keep(Shape::TextOrDefault), "The quota of CacheDirectory=.").since(258),
    r("LogsDirectory", Act(directories), "Folders below /var/log.").since(235),
    r("LogsDirectoryMode", Act(directory_mode), MODE).since(235),
    r("LogsDirectoryAccounting", Keep(Shape::Boolean), "Count the use of LogsDirectory=.").since(258),
    r("LogsDirectoryQuota", Keep(Shape::TextOrDefault), "The quota of LogsDirectory=.").since(258),
    r("ConfigurationDirectory", Act(directories), "Folders below /etc.").since(235),
    r("ConfigurationDirectoryMode", Act(directory_mode), MODE).since(235),
    r("SetCredential", Act(attribute::set_credential), "Credentials that are written here.").since(247),
    none("SetCredentialEncrypted", "Encrypted credentials that are written here.").since(250),
    r("LoadCredential", Act(attribute::load_credential), "Credentials from files or sockets.").since(247),
    none("LoadCredentialEncrypted", "Encrypted credentials from files or sockets.").since(250),
    r("ImportCredential", Act(attribute::import_credential), "Credentials of the system that are passed on.")
        .since(254),
    row(
        "TimeoutCleanSec",
        Section::Socket.only().and(Section::Mount.only()).and(Section::Swap.only()),
        "systemd.exec(5)",
        Keep(Shape::Span),
        "How long `systemctl clean` may take.",
    )
    .since(244),
    r("PAMName", Act(attribute::pam_service), "The PAM service that a session is opened with."),
    r(
        "IgnoreSIGPIPE",
        Act(|l, a| flag(l, a, context, |c, v| c.keep_sigpipe = !v)),
        "SIGPIPE is ignored in processes.",
    ),
    r("UtmpIdentifier", Keep(Shape::TextOrDefault), "The identifier of login records.").accepted(UTMP),
    r("UtmpMode", Keep(Shape::Words(&["init", "login", "user"])), "The kind of login records.")
        .since(225)
        .accepted(UTMP),
    unset("SELinuxContext", "The SELinux context of processes.").since(209).accepted(LABELS),
    unset("AppArmorProfile", "The AppArmor profile of processes.").since(210).accepted(LABELS),
    unset("SmackProcessLabel", "The Smack label of processes.").since(218).accepted(LABELS),
];
