//! Starting a process: its environment, arguments, descriptors, group; then the launch.
//!
//! A plain command is executed directly. What needs names of users, folders with owners or another root is
//! executed by way of the executor (see `executor`), which keeps pid, group and descriptors.

use crate::{
    clock,
    environment::{self, Environment},
    executor::Plan,
    glob,
    host::{End, Host, Row, Tracked, Tracker},
    journal::Logging,
    process, protection,
    stdio::{Ends, Failure, Streams},
    sys::spawn::Image,
};
use hence_engine::{Event, Spawn, UnitId};
use hence_ledger::{ProcessRole, SpawnStep, Text, record::Invocation};
use hence_unit::{
    Config, ExecConfig, Kind,
    config::{Command, DirectoryKind, ExecPhase, Privilege, ResourceConfig, Stdio},
    exec_line,
};
use rustix::fs::{Access, AtFlags, CWD};
use std::{
    borrow::Cow,
    collections::VecDeque,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    path::Path,
    sync::Arc,
};

/// Where programs without a slash in their name are looked for, and the PATH= of every process; systemd's.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Open executor reports are watched up to this many; above it their failure shows as an exit status only.
const EXECUTORS: usize = 1024;

/// The parts of a configuration that a start needs.
struct Recipe<'a> {
    command: &'a Command,
    context: &'a ExecConfig,
    resources: &'a ResourceConfig,
    non_blocking: bool,
}

fn recipe<'a>(spawn: &Spawn, config: &'a Config) -> Option<Recipe<'a>> {
    let index = usize::from(spawn.index);
    match &config.kind {
        Kind::Service(s) => Some(Recipe {
            command: s.commands(spawn.phase).get(index)?,
            context: &s.context,
            resources: &s.resources,
            non_blocking: s.non_blocking,
        }),
        Kind::Socket(s) => Some(Recipe {
            command: s.commands(spawn.phase).get(index)?,
            context: &s.context,
            resources: &s.resources,
            non_blocking: false,
        }),
        Kind::Mount(m) => Some(Recipe {
            command: if spawn.phase == ExecPhase::Start { &m.mount } else { &m.unmount }.get(index)?,
            context: &m.context,
            resources: &m.resources,
            non_blocking: false,
        }),
        Kind::Swap(s) => Some(Recipe {
            command: if spawn.phase == ExecPhase::Start { &s.swapon } else { &s.swapoff }.get(index)?,
            context: &s.context,
            resources: &s.resources,
            non_blocking: false,
        }),
        _ => None,
    }
}

/// What a command is executed with.
struct Prepared {
    program: String,
    arguments: Vec<String>,
    environment: Environment,
    files: Vec<Text>,
}

impl Host {
    /// Does [`Effect::Spawn`].
    pub(crate) fn start(&mut self, spawn: Spawn, answers: &mut VecDeque<Event>) {
        let exec = spawn.exec;
        match self.try_start(&spawn) {
            Ok(spawned) => answers.push_back(spawned),
            Err((step, errno, subject)) => {
                answers.push_back(Event::SpawnFailed { exec, step, errno, subject: subject.into() });
            }
        }
    }

    fn try_start(&mut self, spawn: &Spawn) -> Result<Event, Failure> {
        let config = Arc::clone(&spawn.config);
        let Some(recipe) = recipe(spawn, &config) else {
            return Err((SpawnStep::Exec, libc::ENOENT, format!("{} has no such command", config.id())));
        };
        self.enter(spawn.unit, &spawn.config, spawn.invocation)?;
        // `!!` is for kernels without ambient capabilities, of which there are none that could run hence.
        let elevated = matches!(recipe.command.privilege, Privilege::Full | Privilege::Elevated);
        let working = self.working_directory(recipe.context);
        let plan = plan(recipe.context, elevated, &working);
        let passed = self.passed(spawn, recipe.context);
        let prepared = self.prepared(spawn, &recipe, plan.is_some(), &passed)?;
        let null = self.null.as_raw_fd();
        let named: Vec<(RawFd, &str)> = passed.iter().map(|(fd, name)| (*fd, name.as_str())).collect();
        let connection = spawn.connection.and_then(|c| self.sockets.connection(c));
        let sent = self.live.streams.get(config.id().text());
        let sent = |at: usize| sent.and_then(|streams| streams[at].as_ref()).map(|fd| fd.as_raw_fd());
        let ends = Ends {
            null,
            connection,
            named: &named,
            capture: self.options.capture.is_some(),
            sent: [sent(0), sent(1), sent(2)],
        };
        crate::terminal::prepare(recipe.context);
        let streams = Streams::open(recipe.context, &ends)?;
        if recipe.non_blocking {
            set_non_blocking(&passed);
        }
        let claim = self.launcher.claim(spawn.confirm);
        let image = self.launcher.image(claim);
        image.fds.extend(streams.numbers);
        // The connection of an inetd-style service is its stdin, not a passed descriptor.
        image.fds.extend(passed.iter().map(|(fd, _)| *fd));
        attributes(image, recipe.context);
        let report = match plan {
            Some(plan) => {
                let mut plan = self.finish_plan(plan, recipe.context, recipe.command, &prepared, elevated);
                self.protect(&mut plan, spawn, recipe.context)?;
                if recipe.resources.delegate && plan.switch {
                    plan.delegated = self.group_to_be(spawn);
                }
                Some(self.through_executor(claim, &plan)?)
            }
            None => {
                directly(self.launcher.image(claim), &working, &prepared);
                None
            }
        };
        let image = self.launcher.image(claim);
        if !passed.is_empty() {
            image.pid_variable("LISTEN_PID");
        }
        image.pid_variable("SYSTEMD_EXEC_PID");
        if prepared.environment.value("WATCHDOG_USEC").is_some() {
            image.pid_variable("WATCHDOG_PID");
        }
        prepared.environment.iter().for_each(|v| image.environment(v));
        let (pid, start_ticks) = self.launch(spawn, claim, recipe.resources, &prepared.program)?;
        let program = recipe.context.syslog_identifier.as_deref();
        let program = program.or(prepared.program.rsplit('/').next()).unwrap_or_default();
        let logging = Logging::of(program, recipe.context.log.as_deref());
        self.started(spawn, pid, start_ticks, streams, report, &logging);
        let inputs = if matches!(spawn.role, ProcessRole::Main | ProcessRole::Start) {
            self.inputs.of_start(&prepared.program, &prepared.arguments, &prepared.files)
        } else {
            Vec::new()
        };
        Ok(Event::Spawned { exec: spawn.exec, pid, start_ticks, inputs })
    }

    /// Makes or renews the unit's row.
    pub(crate) fn enter(
        &mut self,
        unit: UnitId,
        config: &Arc<Config>,
        invocation: Invocation,
    ) -> Result<(), Failure> {
        let slice = match &mut self.tracker {
            Tracker::Groups(groups) => groups.slice_of(config).map_err(|e| {
                (SpawnStep::Cgroup, e.raw_os_error().unwrap_or(libc::EIO), config.id().to_string())
            })?,
            Tracker::Ancestry(_) => 0,
        };
        let index = unit.0 as usize;
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, || None);
        }
        match &mut self.rows[index] {
            Some(row) => {
                if row.slice != slice {
                    // Processes in the old group stay where they are; the new one is made.
                    (row.slice, row.grouped) = (slice, false);
                }
                row.config = Arc::clone(config);
                row.invocation = invocation;
                (row.wants_empty, row.released) = (false, false);
            }
            empty => {
                self.names.insert(config.id().text().clone(), unit);
                *empty = Some(Row {
                    config: Arc::clone(config),
                    invocation,
                    events_watch: -1,
                    oom_watch: -1,
                    oom_base: 0,
                    slice,
                    grouped: false,
                    wants_empty: false,
                    released: false,
                });
            }
        }
        Ok(())
    }

    /// The descriptors that are passed from number 3 up, with their names; sd_listen_fds(3).
    /// A connection that is a standard stream isn't passed a second time.
    fn passed(&self, spawn: &Spawn, context: &ExecConfig) -> Vec<(RawFd, String)> {
        let stream =
            [&context.stdin, &context.stdout, &context.stderr].contains(&&hence_unit::config::Stdio::Socket);
        match spawn.connection.and_then(|c| self.sockets.connection(c)) {
            Some(_) if stream => Vec::new(),
            Some(fd) => vec![(fd, "connection".to_owned())],
            None => spawn.sockets.iter().flat_map(|&unit| self.sockets.descriptors(unit)).collect(),
        }
    }

    fn prepared(
        &self,
        spawn: &Spawn,
        recipe: &Recipe<'_>,
        by_executor: bool,
        passed: &[(RawFd, String)],
    ) -> Result<Prepared, Failure> {
        let (environment, files) = self.environment(spawn, recipe.context, passed)?;
        let command = recipe.command;
        // The executor substitutes: it knows HOME and USER.
        let arguments = if command.no_substitution || by_executor {
            command.argv.iter().map(|a| String::from(&**a)).collect()
        } else {
            exec_line::expand(&command.argv, &|name| environment.value(name)).0
        };
        let program = if by_executor && recipe.context.root_directory.is_some() {
            command.path.to_string()
        } else {
            find_program(&command.path)
                .ok_or_else(|| (SpawnStep::Exec, libc::ENOENT, command.path.to_string()))?
        };
        Ok(Prepared { program, arguments, environment, files })
    }

    /// In systemd's order: the manager's, what belongs to this start, PassEnvironment=, Environment=,
    /// EnvironmentFile=, less UnsetEnvironment=.
    fn environment(
        &self,
        spawn: &Spawn,
        context: &ExecConfig,
        passed: &[(RawFd, String)],
    ) -> Result<(Environment, Vec<Text>), Failure> {
        let mut environment = Environment::new(&self.options.environment);
        environment.set(&format!("INVOCATION_ID={}", spawn.invocation));
        if self.options.user_instance {
            environment.set(&format!("MANAGERPID={}", std::process::id()));
        }
        if spawn.notify {
            environment.set(&format!("NOTIFY_SOCKET={}", self.notify_address));
        }
        if [&context.stdin, &context.stdout, &context.stderr].contains(&&Stdio::Tty) {
            environment.set(&format!("TERM={}", terminal_type(context.tty_path.as_deref())));
        }
        if !passed.is_empty() {
            let names: Vec<&str> = passed.iter().map(|(_, name)| name.as_str()).collect();
            environment.set(&format!("LISTEN_FDS={}", passed.len()));
            environment.set(&format!("LISTEN_FDNAMES={}", names.join(":")));
        }
        for (name, value) in spawn.connection.into_iter().flat_map(|c| self.sockets.remote(c)) {
            environment.set(&format!("{name}={value}"));
        }
        for (name, kind) in DIRECTORY_VARIABLES {
            let of_kind = context.directories.iter().filter(|d| d.kind == kind);
            let root = self.directory_root(kind);
            let paths: Vec<String> = of_kind.map(|d| root.join(&*d.name).display().to_string()).collect();
            if !paths.is_empty() {
                environment.set(&format!("{name}={}", paths.join(":")));
            }
        }
        for (name, value) in &spawn.environment {
            environment.set(&format!("{name}={value}"));
        }
        for name in &context.pass_environment {
            if let Ok(value) = std::env::var(&**name) {
                environment.set(&format!("{name}={value}"));
            }
        }
        context.environment.iter().for_each(|v| environment.set(v));
        let mut files = Vec::new();
        for file in &context.environment_files {
            let paths = match glob::is_pattern(&file.path) {
                true => glob::expand(&file.path),
                false => vec![Path::new(&*file.path).to_path_buf()],
            };
            if paths.is_empty() && !file.optional {
                return Err((SpawnStep::Environment, libc::ENOENT, file.path.to_string()));
            }
            for path in paths {
                match environment::read_file(&path) {
                    Ok(pairs) => pairs.iter().for_each(|v| environment.set(v)),
                    Err(_) if file.optional => {}
                    Err(e) => {
                        let errno = e.raw_os_error().unwrap_or(libc::EIO);
                        return Err((SpawnStep::Environment, errno, path.display().to_string()));
                    }
                }
                files.extend(path.to_str().map(Text::from));
            }
        }
        context.unset_environment.iter().for_each(|what| environment.unset(what));
        Ok((environment, files))
    }

    fn finish_plan(
        &self,
        mut plan: Plan,
        context: &ExecConfig,
        command: &Command,
        prepared: &Prepared,
        elevated: bool,
    ) -> Plan {
        plan.program = prepared.program.clone();
        plan.arguments = prepared.arguments.clone();
        plan.substitute = !command.no_substitution;
        plan.unset = context.unset_environment.iter().map(|u| u.to_string()).collect();
        for directory in &context.directories {
            let path = self.directory_root(directory.kind).join(&*directory.name);
            plan.directories.push((directory.kind as u8, directory.mode, path.display().to_string()));
        }
        plan.full = elevated && command.privilege == Privilege::Full;
        plan
    }

    /// What is to be protected, with folders for PrivateTmp= where the unit has none so far.
    fn protect(&mut self, plan: &mut Plan, spawn: &Spawn, context: &ExecConfig) -> Result<(), Failure> {
        let Some(protection) = context.protection.as_deref() else { return Ok(()) };
        if protection.private_tmp && !self.live.own_tmp.contains_key(&spawn.unit) {
            let name = format!("systemd-private-{}-{}", spawn.invocation, spawn.config.id());
            let name = &name[..name.floor_char_boundary(255)];
            let folder = protection::make_own_tmp(name).map_err(|e| {
                (SpawnStep::Directories, e.raw_os_error().unwrap_or(libc::EIO), format!("/tmp/{name}"))
            })?;
            self.live.own_tmp.insert(spawn.unit, folder);
        }
        let own_tmp = self.live.own_tmp.get(&spawn.unit).map(std::path::PathBuf::as_path);
        let folders: Vec<String> = plan.directories.iter().map(|(_, _, path)| path.clone()).collect();
        plan.protection = protection::of_unit(protection, own_tmp, &folders);
        Ok(())
    }

    /// Where a process begins, and whether that may be missing: WorkingDirectory=, else the root, or of a
    /// user's own instance that user's home; systemd.exec(5).
    fn working_directory<'c>(&self, context: &'c ExecConfig) -> (Cow<'c, str>, bool) {
        match &context.working_directory {
            Some(folder) => (Cow::Borrowed(folder), context.working_directory_optional),
            None if self.options.user_instance => {
                let home = std::env::var("HOME").ok().filter(|home| home.starts_with('/'));
                (home.map_or(Cow::Borrowed("/"), Cow::Owned), true)
            }
            None => (Cow::Borrowed("/"), false),
        }
    }

    /// The control group that a process will be in.
    fn group_to_be(&self, spawn: &Spawn) -> Option<String> {
        let Tracker::Groups(groups) = &self.tracker else { return None };
        let slice = self.row(spawn.unit)?.slice;
        Some(groups.folder(slice, spawn.config.id().as_str()).display().to_string())
    }

    /// Hands the plan over in memory; the executor says by a pipe what failed, and nothing when it ran.
    fn through_executor(
        &mut self,
        claim: crate::sys::spawn::Claim,
        plan: &Plan,
    ) -> Result<(OwnedFd, [OwnedFd; 2]), Failure> {
        let failed = |e: rustix::io::Errno| (SpawnStep::Executor, e.raw_os_error(), "plan".to_owned());
        let memory = plan.store().map_err(failed)?;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
        let image = self.launcher.image(claim);
        let number = image.fds.len();
        image.fds.push(memory.as_raw_fd());
        image.fds.push(write.as_raw_fd());
        image.path(&self.options.executor);
        image.argument("hence-executor");
        image.argument("executor");
        image.argument(&number.to_string());
        Ok((read, [memory, write]))
    }

    fn launch(
        &mut self,
        spawn: &Spawn,
        claim: crate::sys::spawn::Claim,
        resources: &ResourceConfig,
        program: &str,
    ) -> Result<(u32, u64), Failure> {
        let name = spawn.config.id().clone();
        let refused =
            |e: std::io::Error| (SpawnStep::Cgroup, e.raw_os_error().unwrap_or(libc::EIO), name.to_string());
        let row = self.rows[spawn.unit.0 as usize].as_mut().expect("enter() made the row");
        let mut joins = None;
        let group = match &mut self.tracker {
            Tracker::Groups(groups) => {
                let group = groups.open(row.slice, &name, row.grouped).map_err(refused)?;
                if !row.grouped || spawn.first_of_invocation {
                    row.grouped = true;
                }
                joins = groups.prepare(row.slice, &name, resources).map_err(refused)?;
                Some(group)
            }
            Tracker::Ancestry(_) => None,
        };
        let image = self.launcher.image(claim);
        image.join.extend(joins.as_ref().map(AsRawFd::as_raw_fd));
        let before = clock::boot_ticks();
        let pid = self.launcher.launch(claim, group.as_ref().map(AsFd::as_fd)).map_err(|(step, errno)| {
            let subject = match step {
                SpawnStep::Cgroup => name.to_string(),
                _ => program.to_owned(),
            };
            (step, errno, subject)
        })?;
        // Born in one and the same tick: no need to ask /proc.
        let after = clock::boot_ticks();
        let ticks =
            if before == after { before } else { process::stat(pid).map_or(after, |s| s.start_ticks) };
        Ok((pid, ticks))
    }

    fn started(
        &mut self,
        spawn: &Spawn,
        pid: u32,
        start_ticks: u64,
        streams: Streams,
        report: Option<(OwnedFd, [OwnedFd; 2])>,
        logging: &Logging,
    ) {
        let tracked = Tracked { start_ticks, unit: spawn.unit, pidfd: None, end: End::Exited };
        self.processes.insert(pid, tracked);
        if let Tracker::Ancestry(ancestry) = &mut self.tracker {
            ancestry.started(spawn.unit, pid, spawn.invocation);
        }
        if let Some((read, _)) = report
            && self.executors.len() < EXECUTORS
        {
            self.watch_executor(pid, read);
        }
        let name = spawn.config.id().text();
        if let Some(capture) = &mut self.options.capture
            && !streams.captured.is_empty()
        {
            let logging = logging.encode();
            for (stream, read_end) in streams.captured {
                capture.logged_stream(read_end, name, spawn.invocation, (stream, pid), &logging);
            }
        }
        if let Some(connection) = spawn.connection {
            // The process has its own copy now.
            drop(self.sockets.take(connection));
        }
        self.watch_memory(spawn.unit, spawn.first_of_invocation);
    }

    /// A slice that is started: its limits are written.
    pub(crate) fn realize_slice(&mut self, config: &Config) {
        if let (Kind::Slice(resources), Tracker::Groups(groups)) = (&config.kind, &mut self.tracker) {
            // Where it can't be made, the start of a unit in it says so.
            let _ = groups.realize_slice(config, resources, false);
        }
    }
}

const DIRECTORY_VARIABLES: [(&str, DirectoryKind); 5] = [
    ("RUNTIME_DIRECTORY", DirectoryKind::Runtime),
    ("STATE_DIRECTORY", DirectoryKind::State),
    ("CACHE_DIRECTORY", DirectoryKind::Cache),
    ("LOGS_DIRECTORY", DirectoryKind::Logs),
    ("CONFIGURATION_DIRECTORY", DirectoryKind::Configuration),
];

/// A plan, where the executor is needed.
fn plan(context: &ExecConfig, elevated: bool, (working, optional): &(Cow<'_, str>, bool)) -> Option<Plan> {
    let home = working == "~";
    let user = !elevated
        && (context.user.is_some() || context.group.is_some() || !context.supplementary_groups.is_empty());
    let limited = context.protection.is_some()
        || !context.cpu_affinity.is_empty()
        || context.capability_bounding_set.is_some()
        || context.ambient_capabilities != 0;
    if !user && !limited && context.directories.is_empty() && !home && context.root_directory.is_none() {
        return None;
    }
    let owned = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let mut plan = Plan {
        owner: owned(&context.user),
        owner_group: owned(&context.group),
        working_directory: working.to_string(),
        working_directory_optional: *optional,
        root_directory: owned(&context.root_directory),
        affinity: context.cpu_affinity.clone(),
        bounding: context.capability_bounding_set,
        ambient: context.ambient_capabilities,
        ..Plan::default()
    };
    if user {
        plan.switch = true;
        plan.supplementary = context.supplementary_groups.iter().map(|g| g.to_string()).collect();
    }
    Some(plan)
}

/// What the child sets for itself.
/// TERM= of a terminal: what the kernel's own terminals are, else what everything understands.
fn terminal_type(path: Option<&str>) -> String {
    let path = path.unwrap_or("/dev/console");
    if path == "/dev/console"
        && let Ok(own) = std::env::var("TERM")
    {
        return own;
    }
    let number = path.strip_prefix("/dev/tty").unwrap_or("");
    let kernels = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if kernels { "linux".into() } else { "vt220".into() }
}

fn attributes(image: &mut Image, context: &ExecConfig) {
    image.umask = context.umask;
    image.nice = context.nice;
    image.io_priority = context.io_priority;
    image.no_new_privileges = context.no_new_privileges;
    image.default_sigpipe = context.keep_sigpipe;
    image.controlling_terminal = context.stdin == Stdio::Tty;
    let priority = context.scheduling_priority.unwrap_or(0);
    image.scheduling = context.scheduling_policy.map(|policy| (policy, priority));
    if let Some(value) = context.oom_score_adjust {
        image.oom_score(value);
    }
    for limit in &context.limits {
        image.limit(limit.resource, limit.soft, limit.hard);
    }
}

fn directly(image: &mut Image, (working, optional): &(Cow<'_, str>, bool), prepared: &Prepared) {
    image.path(&prepared.program);
    prepared.arguments.iter().for_each(|a| image.argument(a));
    image.chdir(working);
    image.chdir_optional = *optional;
}

fn set_non_blocking(passed: &[(RawFd, String)]) {
    for (fd, _) in passed {
        crate::sys::socket::set_non_blocking(*fd);
    }
}

/// The path of a program: as it is where it has a slash, else the first in the search path.
pub fn find_program(name: &str) -> Option<String> {
    if name.contains('/') {
        return Some(name.to_owned());
    }
    let runs = |path: &String| {
        let file = std::fs::metadata(path).is_ok_and(|m| m.is_file());
        file && rustix::fs::accessat(CWD, path.as_str(), Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    };
    SEARCH_PATH.split(':').map(|folder| format!("{folder}/{name}")).find(runs)
}
