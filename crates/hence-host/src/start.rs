//! Starting a process: its environment, arguments, descriptors, group; then the launch.
//!
//! A plain command is executed directly. What needs names of users, folders with owners or another root is
//! executed by way of the executor (see `executor`), which keeps pid, group and descriptors.

use crate::{
    attributes, clock, credentials,
    environment::{self, Environment},
    executor::Plan,
    filter, glob,
    host::{End, Host, Row, Tracked, Tracker},
    journal::Logging,
    process, protection,
    stdio::{Ends, Failure, Streams},
    sys::spawn::Image,
};
use hence_engine::{Event, Spawn, UnitId, event::Deprivation};
use hence_ledger::{ProcessRole, SpawnStep, Text, record::Invocation};
use hence_unit::{
    Config, ExecConfig, Kind, UnitKind,
    config::{
        Command, DirectoryKind, ExecPhase, ManagedDirectory, OpenFile, Privilege, Protection, ResourceConfig,
        Stdio,
    },
    exec_line,
};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use std::{
    borrow::Cow,
    collections::VecDeque,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    os::unix::fs::{DirBuilderExt, FileTypeExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where programs without a slash in their name are looked for, and the PATH= of every process; systemd's.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Open executor reports are watched up to this many; above it their failure shows as an exit status only.
const EXECUTORS: usize = 1024;

/// The parts of a configuration that a start needs.
struct Recipe<'a> {
    command: &'a Command,
    context: Cow<'a, ExecConfig>,
    resources: &'a ResourceConfig,
    non_blocking: bool,
}

fn recipe<'a>(spawn: &Spawn, config: &'a Config) -> Option<Recipe<'a>> {
    let index = usize::from(spawn.index);
    match &config.kind {
        Kind::Service(s) => Some(Recipe {
            command: s.commands(spawn.phase).get(index)?,
            context: match s.root_directory_start_only && spawn.phase != ExecPhase::Start {
                true => Cow::Owned(outside(&s.context)),
                false => Cow::Borrowed(&s.context),
            },
            resources: &s.resources,
            non_blocking: s.non_blocking,
        }),
        Kind::Socket(s) => Some(Recipe {
            command: s.commands(spawn.phase).get(index)?,
            context: Cow::Borrowed(&s.context),
            resources: &s.resources,
            non_blocking: false,
        }),
        Kind::Mount(m) => Some(Recipe {
            command: if spawn.phase == ExecPhase::Start { &m.mount } else { &m.unmount }.get(index)?,
            context: Cow::Borrowed(&m.context),
            resources: &m.resources,
            non_blocking: false,
        }),
        Kind::Swap(s) => Some(Recipe {
            command: if spawn.phase == ExecPhase::Start { &s.swapon } else { &s.swapoff }.get(index)?,
            context: Cow::Borrowed(&s.context),
            resources: &s.resources,
            non_blocking: false,
        }),
        _ => None,
    }
}

/// How commands are executed that are not in the unit's root, RootDirectoryStartOnly=: where they begin is
/// the same folder, as the machine has it.
fn outside(context: &ExecConfig) -> ExecConfig {
    let mut context = context.clone();
    if let Some(root) = context.root_directory.take() {
        let working = context.working_directory.as_deref().unwrap_or("/");
        if working != "~" {
            let folder = format!("{}/{}", root.trim_end_matches('/'), working.trim_start_matches('/'));
            context.working_directory = Some(folder.into());
        }
    }
    context
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
        if let Kind::Mount(mount) = &config.kind
            && let Some(mode) = mount.make_folder.filter(|_| spawn.phase == ExecPhase::Start)
        {
            // Where it can't be made, mount(8) says so.
            let _ = std::fs::DirBuilder::new().recursive(true).mode(mode).create(&*mount.at);
        }
        // `!!` is for kernels without ambient capabilities, of which there are none that could run hence.
        let elevated = matches!(recipe.command.privilege, Privilege::Full | Privilege::Elevated);
        let working = self.working_directory(&recipe.context);
        // Whoever is held at an automount point of ours may not hold us: an executor is waited for until it
        // runs, and not until its program does.
        self.launcher.bounded = !self.automounts.is_empty();
        let by_executor = self.launcher.bounded && !self.launcher.has_room();
        let plan = plan(&recipe.context, (elevated, by_executor), &working);
        let mut passed = self.passed(spawn, &recipe.context);
        if recipe.non_blocking {
            set_non_blocking(&passed);
        }
        let opened = open_files(spawn)?;
        passed.extend(opened.iter().map(|(fd, name)| (fd.as_raw_fd(), name.clone())));
        if matches!(spawn.role, ProcessRole::Main | ProcessRole::Start) {
            passed.extend(self.keeping.of(spawn.unit));
        }
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
        crate::terminal::prepare(&recipe.context);
        let streams = Streams::open(&recipe.context, &ends)?;
        let claim = self.launcher.claim(spawn.confirm);
        let image = self.launcher.image(claim);
        image.fds.extend(streams.numbers);
        // The connection of an inetd-style service is its stdin, not a passed descriptor.
        image.fds.extend(passed.iter().map(|(fd, _)| *fd));
        attributes(image, &recipe.context, self.given_descriptors);
        image.same_group = config.id().kind() == UnitKind::Mount;
        image.no_new_privileges &= recipe.command.privilege != Privilege::Full;
        let report = match plan {
            Some(plan) => {
                let mut plan = self.finish_plan(plan, &recipe.context, recipe.command, &prepared, elevated);
                let mut kept = Vec::new();
                self.protect(&mut plan, spawn, &recipe.context, &mut kept)?;
                self.equip(&mut plan, spawn, &recipe.context);
                if recipe.resources.delegate && plan.switch {
                    plan.delegated = self.group_to_be(spawn);
                }
                Some(self.through_executor(claim, &plan, &kept)?)
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
        let mut logging = Logging::of(program, recipe.context.log.as_deref());
        logging.copies = crate::stdio::copies(&recipe.context);
        let told = self.started(spawn, pid, start_ticks, streams, report, &logging);
        let inputs = if matches!(spawn.role, ProcessRole::Main | ProcessRole::Start) {
            self.inputs.of_start(&prepared.program, &prepared.arguments, &prepared.files)
        } else {
            Vec::new()
        };
        Ok(Event::Spawned { exec: spawn.exec, pid, start_ticks, inputs, executed: !told })
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
        let (environment, files) = self.environment(spawn, &recipe.context, passed)?;
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
            find_program_in(&command.path, &search_path(&recipe.context))
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
        if let Some(path) = spawn.config.service().and_then(|s| s.pid_file.as_ref()) {
            environment.set(&format!("PIDFILE={path}"));
        }
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
        if let Cow::Owned(folders) = search_path(context) {
            environment.set(&format!("PATH={folders}"));
        }
        if let Some(folder) = self.credentials(spawn.config.id().as_str(), context) {
            environment.set(&format!("CREDENTIALS_DIRECTORY={}", folder.display()));
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
            let root = self.directory_root(directory.kind);
            let mut path = root.join(&*directory.name).display().to_string();
            if context.is_private(directory.kind) {
                let behind = root.join("private").join(&*directory.name);
                path = format!("{path}\0{}", behind.display());
            }
            plan.directories.push((directory.kind as u8, directory.mode, path));
        }
        plan.full = elevated && command.privilege == Privilege::Full;
        plan
    }

    /// What is to be protected, with folders for PrivateTmp= where the unit has none so far.
    fn protect(
        &mut self,
        plan: &mut Plan,
        spawn: &Spawn,
        context: &ExecConfig,
        passed: &mut Vec<RawFd>,
    ) -> Result<(), Failure> {
        let none = Protection::default();
        let protection = match context.protection.as_deref() {
            None if context.root_directory.is_none() => return Ok(()),
            protection => protection.unwrap_or(&none),
        };
        let runtime = self.runtime(spawn, protection)?;
        let own_tmp = runtime.as_ref().and_then(|r| r.tmp.as_ref()).filter(|_| protection.private_tmp);
        let mut keep = |kind: &str, ends: [RawFd; 2]| {
            plan.passed.push(kind.to_owned());
            passed.extend(ends);
        };
        if let Some(ends) = runtime.as_ref().and_then(|r| r.network.as_ref()) {
            keep("network", ends.numbers());
        }
        if let Some(ends) = runtime.as_ref().and_then(|r| r.ipc.as_ref()) {
            keep("ipc", ends.numbers());
        }
        if let (true, Some(user)) = (protection.dynamic_user, &context.user) {
            keep("user", self.made_up_user(spawn.unit, user)?);
        }
        let folder = |folder: &ManagedDirectory| {
            let root = self.directory_root(folder.kind).display().to_string();
            (folder.kind, root, folder.name.to_string())
        };
        let folders: Vec<_> = context.directories.iter().map(folder).collect();
        let notify = Some(&*self.notify_address).filter(|address| spawn.notify && address.starts_with('/'));
        let credentials = self.credentials(spawn.config.id().as_str(), context);
        let credentials = credentials.as_deref().and_then(Path::to_str);
        let given = protection::Given { own_tmp, folders: &folders, notify, credentials, full: plan.full };
        plan.protection = protection::of_unit(context, given).map_or_else(Vec::new, |order| order.encode());
        Ok(())
    }

    /// The folder of a unit's credentials, where it has any.
    pub(crate) fn credentials(&self, unit: &str, context: &ExecConfig) -> Option<PathBuf> {
        context.attributes.as_deref().filter(|a| a.has_credentials())?;
        Some(credentials::folder(self.directory_root(DirectoryKind::Runtime), unit))
    }

    /// What a process is given or refused by filters, attributes and credentials.
    fn equip(&self, plan: &mut Plan, spawn: &Spawn, context: &ExecConfig) {
        plan.default_sigpipe = context.keep_sigpipe;
        plan.best_effort = spawn.config.flags.sandbox_best_effort;
        plan.search_path = search_path(context).into_owned();
        plan.filters = filter::of_unit(context);
        let Some(attributes) = context.attributes.as_deref() else { return };
        plan.attributes = attributes::of_unit(attributes, &spawn.invocation.to_string());
        let unit = spawn.config.id().as_str();
        if let Some(folder) = self.credentials(unit, context)
            && matches!(spawn.phase, ExecPhase::Condition | ExecPhase::StartPre | ExecPhase::Start)
        {
            plan.credentials = credentials::of_unit(attributes, &folder, unit, spawn.first_of_invocation);
        }
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
        kept: &[RawFd],
    ) -> Result<(OwnedFd, [OwnedFd; 2]), Failure> {
        let failed = |e: rustix::io::Errno| (SpawnStep::Executor, e.raw_os_error(), "plan".to_owned());
        let memory = plan.store().map_err(failed)?;
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
        let image = self.launcher.image(claim);
        let number = image.fds.len();
        image.fds.push(memory.as_raw_fd());
        image.fds.push(write.as_raw_fd());
        image.fds.extend(kept);
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
        self.tell_lacking(spawn.unit, &name);
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

    /// Keeps what is known of it. Returns whether an executor tells when it has become its program.
    fn started(
        &mut self,
        spawn: &Spawn,
        pid: u32,
        start_ticks: u64,
        streams: Streams,
        report: Option<(OwnedFd, [OwnedFd; 2])>,
        logging: &Logging,
    ) -> bool {
        let tracked = Tracked { start_ticks, unit: spawn.unit, pidfd: None, end: End::Exited };
        self.processes.insert(pid, tracked);
        if let Tracker::Ancestry(ancestry) = &mut self.tracker {
            ancestry.started(spawn.unit, pid, spawn.invocation);
        }
        let told = match report {
            Some((read, _)) if self.executors.len() < EXECUTORS => self.watch_executor(pid, read),
            _ => false,
        };
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
        told
    }

    /// A slice that is started: its limits are written.
    pub(crate) fn realize_slice(&mut self, unit: UnitId, config: &Arc<Config>) {
        let (Kind::Slice(resources), Tracker::Groups(groups)) = (&config.kind, &mut self.tracker) else {
            return;
        };
        let before = self.live.limited_slices.remove(&unit);
        let before = before.as_ref().and_then(|config| config.resources());
        // Where it can't be made, the start of a unit in it says so.
        let _ = groups.realize_slice(config, resources, before);
        if **resources != ResourceConfig::default() {
            self.live.limited_slices.insert(unit, Arc::clone(config));
        }
        self.tell_lacking(unit, config.id());
    }

    /// Tells which limits of a unit its group could not be given.
    pub(crate) fn tell_lacking(&mut self, unit: UnitId, name: &str) {
        let Tracker::Groups(groups) = &mut self.tracker else { return };
        for (directive, errno) in groups.take_lacking(name) {
            let what = format!("{directive}=").into();
            let lost = Deprivation { what, missing: "".into(), errno, without: true };
            self.pending.push_back(Event::Unenforced { unit, lost });
        }
    }
}

/// Opens the files of OpenFile= for a main process: it is passed what it could not open itself.
fn open_files(spawn: &Spawn) -> Result<Vec<(OwnedFd, String)>, Failure> {
    let Some(service) = spawn.config.service().filter(|_| spawn.phase == ExecPhase::Start) else {
        return Ok(Vec::new());
    };
    let mut opened = Vec::new();
    for file in &service.open_files {
        match open_file(file) {
            Ok(fd) => opened.push((fd, file.name.to_string())),
            Err(_) if file.graceful => {}
            Err(e) => {
                let errno = e.raw_os_error().unwrap_or(libc::EIO);
                return Err((SpawnStep::Sockets, errno, file.path.to_string()));
            }
        }
    }
    Ok(opened)
}

/// Opens a file, or connects to a socket, without waiting for anybody.
fn open_file(file: &OpenFile) -> std::io::Result<OwnedFd> {
    if std::fs::metadata(&*file.path)?.file_type().is_socket() {
        return Ok(std::os::unix::net::UnixStream::connect(&*file.path)?.into());
    }
    let access = if file.read_only { OFlags::RDONLY } else { OFlags::RDWR };
    let more = [(file.append, OFlags::APPEND), (file.truncate, OFlags::TRUNC)];
    let more = more.into_iter().filter(|(set, _)| *set).fold(OFlags::empty(), |all, (_, flag)| all | flag);
    let flags = access | more | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = rustix::fs::open(&*file.path, flags, Mode::empty())?;
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags & !OFlags::NONBLOCK)?;
    Ok(fd)
}

const DIRECTORY_VARIABLES: [(&str, DirectoryKind); 5] = [
    ("RUNTIME_DIRECTORY", DirectoryKind::Runtime),
    ("STATE_DIRECTORY", DirectoryKind::State),
    ("CACHE_DIRECTORY", DirectoryKind::Cache),
    ("LOGS_DIRECTORY", DirectoryKind::Logs),
    ("CONFIGURATION_DIRECTORY", DirectoryKind::Configuration),
];

/// A plan, where the executor is needed.
fn plan(
    context: &ExecConfig,
    (elevated, forced): (bool, bool),
    (working, optional): &(Cow<'_, str>, bool),
) -> Option<Plan> {
    let home = working == "~";
    let user = !elevated
        && (context.user.is_some() || context.group.is_some() || !context.supplementary_groups.is_empty());
    let limited = context.protection.is_some()
        || !context.cpu_affinity.is_empty()
        || context.capability_bounding_set.is_some()
        || context.ambient_capabilities != 0
        || attributes::are_needed(context);
    // What runs as root all the same is told of the user.
    let named = user || context.user.is_some();
    let plain = !named && !limited && context.directories.is_empty();
    if !forced && plain && !home && context.root_directory.is_none() {
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
        let service = context.attributes.as_ref().and_then(|a| a.pam_service.as_deref());
        let terminal = context.tty_path.as_deref();
        plan.session = service.map_or_else(Vec::new, |service| {
            [Some(service), terminal].into_iter().flatten().map(str::to_owned).collect()
        });
    }
    Some(plan)
}

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

/// What the child sets for itself. Many a program can't do with more descriptors than select(2) can, so that
/// there are more only for those that ask.
fn attributes(image: &mut Image, context: &ExecConfig, descriptors: Option<[u64; 2]>) {
    const NOFILE: u8 = 7;
    if let Some([soft, hard]) = descriptors.filter(|_| context.limits.iter().all(|l| l.resource != NOFILE)) {
        image.limit(NOFILE, soft, hard);
    }
    image.umask = context.umask;
    image.nice = context.nice;
    image.io_priority = context.io_priority;
    image.no_new_privileges = context.no_new_privileges;
    image.default_sigpipe = context.keep_sigpipe;
    image.controlling_terminal = context.stdin == Stdio::Tty;
    let priority = context.scheduling_priority.unwrap_or(0);
    let reset = context.attributes.as_ref().is_some_and(|a| a.reset_on_fork);
    let reset = if reset { libc::SCHED_RESET_ON_FORK as u32 } else { 0 };
    image.scheduling = context.scheduling_policy.map(|policy| (u32::from(policy) | reset, priority));
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

/// Where programs without a slash in their name are looked for: ExecSearchPath=, else the usual folders.
fn search_path(context: &ExecConfig) -> Cow<'static, str> {
    match context.attributes.as_deref().filter(|a| !a.search_path.is_empty()) {
        Some(attributes) => Cow::Owned(attributes.search_path.join(":")),
        None => Cow::Borrowed(SEARCH_PATH),
    }
}

/// The path of a program: as it is where it has a slash, else the first in the search path.
pub fn find_program_in(name: &str, folders: &str) -> Option<String> {
    if name.contains('/') {
        return Some(name.to_owned());
    }
    let runs = |path: &String| {
        let file = std::fs::metadata(path).is_ok_and(|m| m.is_file());
        file && rustix::fs::accessat(CWD, path.as_str(), Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    };
    folders.split(':').map(|folder| format!("{folder}/{name}")).find(runs)
}
