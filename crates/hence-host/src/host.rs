//! The host's state: units, processes, the event loop's descriptors; and which part does which effect.

use crate::{
    again::{self, Again},
    ancestry::Ancestry,
    automounts::Automounts,
    calendar,
    cgroup::{Groups, SliceId},
    clock::{self, JumpWatch, Timer},
    conditions,
    devices::Devices,
    error::{HostError, HostStep},
    inputs::Inputs,
    keeping::Keeping,
    live::Live,
    paths::Paths,
    sockets::Sockets,
    sys::{signal, spawn::Launcher},
    wait,
    zone::ZoneWatch,
};
use hence_engine::{Effect, Event, UnitId};
use hence_ledger::{FileIdentity, Operation, Stamp, Stream, Text, Tracking, record::Invocation};
use hence_unit::{Config, UnitName, config::DirectoryKind};
use rustix::{
    event::epoll,
    fs::{Mode, OFlags, inotify},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Takes the read ends of captured streams.
pub trait Capture {
    /// A process was started whose stream goes to this pipe.
    fn stream(&mut self, read_end: OwnedFd, unit: &Text, invocation: Invocation, stream: Stream, pid: u32);

    /// As [`Self::stream`], with what the unit says about its logs: an encoded [`crate::journal::Logging`].
    fn logged_stream(
        &mut self,
        read_end: OwnedFd,
        unit: &Text,
        invocation: Invocation,
        (stream, pid): (Stream, u32),
        _logging: &Arc<[u8]>,
    ) {
        self.stream(read_end, unit, invocation, stream, pid);
    }
}

/// Reads the files of a unit: its configuration, and the files as they were then.
pub type Loader = Box<dyn FnMut(&UnitName) -> (Config, Vec<FileIdentity>)>;

/// How a host is set up.
pub struct HostOptions {
    /// Folder of our own for sockets; without one the notify socket is in the abstract namespace.
    pub runtime_directory: Option<PathBuf>,
    /// Roots of RuntimeDirectory=, StateDirectory=, CacheDirectory=, LogsDirectory= and
    /// ConfigurationDirectory=.
    pub directory_roots: [PathBuf; 5],
    /// NAME=VALUE that every process gets.
    pub environment: Vec<Box<str>>,
    /// Takes captured streams; without one they go where hence's own stderr goes.
    pub capture: Option<Box<dyn Capture>>,
    /// Does [`Effect::Load`].
    pub load: Option<Loader>,
    /// Descriptors of an earlier program, to be used instead of new ones.
    pub descriptors: crate::carry::HostDescriptors,
    /// The program that is run for what needs an executor; it must call [`crate::executor_main`] when its
    /// first argument is `executor`.
    pub executor: String,
    /// The folder of an earlier host's groups, to go on with where that can be done: its units' processes are
    /// in there.
    pub groups: Option<PathBuf>,
    /// Where services of an earlier host report to: that leads to this one.
    pub reported_to: Vec<String>,
    /// The level of tracking to use; `None`: the best there is.
    pub tracking: Option<Tracking>,
    /// A user's own hence, in whose group nobody else is: units' groups are made right there, and services
    /// are told by MANAGERPID= whose they are.
    pub user_instance: bool,
    /// Whether this process is hence's alone: signals, working directory, umask and limits are taken over.
    pub take_over: bool,
    /// How many descriptors a process may open at first whose unit doesn't say; `None`: as many as this one
    /// could.
    pub soft_descriptors: Option<u64>,
}

impl Default for HostOptions {
    fn default() -> Self {
        HostOptions {
            runtime_directory: None,
            directory_roots: ["/run", "/var/lib", "/var/cache", "/var/log", "/etc"].map(PathBuf::from),
            environment: vec![format!("PATH={}", crate::start::SEARCH_PATH).into()],
            capture: None,
            load: None,
            descriptors: crate::carry::HostDescriptors::default(),
            executor: "/proc/self/exe".into(),
            groups: None,
            reported_to: Vec::new(),
            tracking: None,
            user_instance: false,
            take_over: true,
            soft_descriptors: None,
        }
    }
}

/// How processes are tracked, and what can't be promised here.
#[derive(Clone, Debug)]
pub struct TrackingReport {
    /// The level.
    pub level: Tracking,
    /// The folder below which units' groups are; empty without groups.
    pub cgroup: String,
    /// What it cannot promise here, in sentences.
    pub limits: Vec<String>,
}

/// What tracks processes.
pub(crate) enum Tracker {
    Groups(Groups),
    Ancestry(Ancestry),
}

/// What is known of a unit that had a process. Small: there is one per running unit.
pub(crate) struct Row {
    pub config: Arc<Config>,
    pub invocation: Invocation,
    /// inotify watches of cgroup.events and memory.events; -1: none.
    pub events_watch: i32,
    pub oom_watch: i32,
    /// OOM kills before this invocation.
    pub oom_base: u32,
    pub slice: SliceId,
    /// Its group has been made.
    pub grouped: bool,
    /// Somebody waits for the group to run empty.
    pub wants_empty: bool,
    /// The group is to be removed as soon as it is empty.
    pub released: bool,
}

/// A process that is a child of ours or watched.
pub(crate) struct Tracked {
    pub start_ticks: u64,
    pub unit: UnitId,
    /// Only for processes that aren't our children.
    pub pidfd: Option<OwnedFd>,
    pub end: End,
}

/// What the end of a tracked process is reported as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// [`Event::Exited`]: a process that was started, or is a main process.
    Exited,
    /// [`Event::Gone`]: one that a census reported.
    Gone,
    /// Nothing: it is watched for its group's sake.
    Silent,
}

/// What an inotify watch is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Populated(UnitId),
    Memory(UnitId),
    /// A slice that is about to be suspended, or to go on.
    Frozen(UnitId),
    /// A folder in which one or more units' PIDFile= will appear.
    PidFiles,
}

/// Linux, as far as one hence uses it. See the crate's documentation.
pub struct Host {
    pub(crate) options: HostOptions,
    pub(crate) report: TrackingReport,
    pub(crate) tracker: Tracker,
    pub(crate) launcher: Launcher,
    pub(crate) rows: Vec<Option<Row>>,
    pub(crate) names: BTreeMap<Text, UnitId>,
    pub(crate) processes: BTreeMap<u32, Tracked>,
    pub(crate) watches: HashMap<i32, Watch>,
    pub(crate) pid_files: HashMap<UnitId, (Box<str>, i32)>,
    pub(crate) executors: HashMap<u32, OwnedFd>,
    pub(crate) executor_errors: HashMap<u32, (hence_ledger::SpawnStep, i32)>,
    pub(crate) sockets: Sockets,
    pub(crate) keeping: Keeping,
    pub(crate) automounts: Automounts,
    pub(crate) paths: Paths,
    pub(crate) inputs: Inputs,
    pub(crate) live: Live,
    pub(crate) again: Again,
    /// Once a device matters.
    pub(crate) devices: Option<Devices>,
    /// Once a timer follows the time zone.
    pub(crate) zone: Option<ZoneWatch>,
    /// Units whose group may have run empty.
    pub(crate) rechecks: Vec<UnitId>,
    /// Events that came up outside [`Host::wait`].
    pub(crate) pending: VecDeque<Event>,
    pub(crate) loop_state: wait::LoopState,
    pub(crate) epoll: OwnedFd,
    pub(crate) signals: OwnedFd,
    pub(crate) notify: OwnedFd,
    pub(crate) notify_address: String,
    /// For groups and PID files.
    pub(crate) inotify: OwnedFd,
    /// For path units, which may watch the same folders for other events.
    pub(crate) path_inotify: OwnedFd,
    /// Kept open for its changes.
    pub(crate) mountinfo: Option<OwnedFd>,
    /// The same of /proc/swaps.
    pub(crate) swaps: Option<OwnedFd>,
    pub(crate) null: OwnedFd,
    /// Soft and hard limit on descriptors of processes whose unit sets none.
    pub(crate) given_descriptors: Option<[u64; 2]>,
    pub(crate) timer: Timer,
    pub(crate) jumps: JumpWatch,
}

impl Host {
    /// Sets the host up: tracking, signals, the event loop. Unless it is pid 1 this process becomes the
    /// parent of its descendants' orphans.
    ///
    /// # Errors
    /// Where the kernel refuses something without which nothing can be run.
    pub fn new(mut options: HostOptions) -> Result<Host, HostError> {
        let failed = |step, subject: &'static str| move |e| HostError::new(step, subject, e);
        open_standard_streams()?;
        signal::close_on_exec_from(3).map_err(failed(HostStep::Descriptors, ""))?;
        if std::process::id() != 1 {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
                .map_err(|e| HostError::new(HostStep::Subreaper, "", e))?;
        }
        let mut given_descriptors = None;
        if options.take_over {
            given_descriptors = raise_descriptor_limit(options.soft_descriptors);
            rustix::process::umask(Mode::from_raw_mode(0o022));
            let _ = std::env::set_current_dir("/");
        }
        let signals = signal::take_over().map_err(failed(HostStep::Signals, "signalfd"))?;
        let (tracker, report) = tracking(options.tracking, options.groups.as_deref(), options.user_instance);
        let earlier = std::mem::take(&mut options.descriptors);
        let (notify, notify_address) = match earlier.notify {
            Some(notify) => notify,
            None => wait::notify_socket(options.runtime_directory.as_deref())
                .map_err(|e| HostError::new(HostStep::NotifySocket, "", e))?,
        };
        for earlier in &options.reported_to {
            wait::lead_to(earlier, &notify_address);
        }
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|e| HostError::new(HostStep::EventLoop, "epoll", e))?;
        let inotify = || inotify::init(flags).map_err(|e| HostError::new(HostStep::EventLoop, "inotify", e));
        let [inotify, path_inotify] = match earlier.inotify {
            Some(both) => both,
            None => [inotify()?, inotify()?],
        };
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| HostError::new(HostStep::EventLoop, "/dev/null", e))?;
        let host = Host {
            report,
            tracker,
            launcher: Launcher::new(),
            given_descriptors,
            rows: Vec::new(),
            names: BTreeMap::new(),
            processes: BTreeMap::new(),
            watches: HashMap::new(),
            pid_files: HashMap::new(),
            executors: HashMap::new(),
            executor_errors: HashMap::new(),
            sockets: Sockets::default(),
            keeping: Keeping::default(),
            automounts: Automounts::default(),
            paths: Paths::default(),
            inputs: Inputs::default(),
            live: Live::default(),
            again: Again::default(),
            devices: None,
            zone: None,
            rechecks: Vec::new(),
            pending: VecDeque::new(),
            loop_state: wait::LoopState::default(),
            epoll,
            signals,
            notify,
            notify_address,
            inotify,
            path_inotify,
            mountinfo: None,
            swaps: None,
            null,
            timer: Timer::new().map_err(failed(HostStep::EventLoop, "timerfd"))?,
            jumps: JumpWatch::new().map_err(failed(HostStep::EventLoop, "timerfd"))?,
            options,
        };
        host.watch_own_descriptors()?;
        crate::reserve::keep();
        Ok(host)
    }

    /// Gives back the memory that a burst needed: this host's at once, what the heap has free and the pages
    /// of the program at the last moment before the next sleep, so that the way there doesn't map them again.
    pub fn shrink(&mut self) {
        self.launcher.shrink();
        self.rows.shrink_to_fit();
        // Made in one go, a map has no room to spare, and its parts lie together.
        self.processes = std::mem::take(&mut self.processes).into_iter().collect();
        self.names = std::mem::take(&mut self.names).into_iter().collect();
        self.loop_state.trim = true;
    }

    /// How processes are tracked here. Directives that turned out not to be enforceable are added as
    /// units with them are started.
    pub fn tracking(&self) -> TrackingReport {
        let mut report = self.report.clone();
        if let Tracker::Groups(groups) = &self.tracker {
            let sentence =
                |d: &&str| format!("{d}= is set by a unit and can't be enforced: its controller isn't here.");
            report.limits.extend(groups.unenforced.iter().map(sentence));
        }
        report
    }

    /// The address that NOTIFY_SOCKET= names.
    pub fn notify_address(&self) -> &str {
        &self.notify_address
    }

    /// Starts processes as where clone3(2) is refused, for tests of that.
    pub fn without_clone3(&mut self) {
        self.launcher.without_clone3();
    }

    /// Now, on both clocks.
    pub fn now() -> Stamp {
        clock::now()
    }

    /// Does one effect, without blocking. Answers go to `answers` at once. What isn't the host's (jobs and
    /// replies for clients, last words, the end) is handed back.
    pub fn perform(&mut self, effect: Effect, answers: &mut VecDeque<Event>) -> Option<Effect> {
        match effect {
            Effect::Load(name) => {
                let Some(load) = &mut self.options.load else { return Some(Effect::Load(name)) };
                let (config, files) = load(&name);
                answers.push_back(Event::Loaded { config: Box::new(config), files });
            }
            Effect::Check(unit, config) => {
                let outcome = conditions::check(&config, &self.conditions_state());
                answers.push_back(Event::Checked { unit, outcome });
            }
            Effect::Spawn(spawn) => self.start(*spawn, answers),
            Effect::Kill(kill) => self.kill(&kill, answers),
            Effect::Census { unit, expected } => self.census(unit, &expected, answers),
            Effect::Release { unit, keep_directories } => self.release(unit, keep_directories),
            Effect::OpenSockets(unit, config) => {
                let result = self.sockets.open(unit, &config);
                answers.push_back(Event::SocketsOpened { unit, result });
            }
            Effect::WatchSockets { unit, watch } => {
                if let Err((error, listen)) = self.sockets.watch(&self.epoll, unit, watch) {
                    answers.push_back(again::failed(unit, Operation::Traffic, &error, &listen));
                }
            }
            Effect::CloseSockets { unit, remove } => self.sockets.close(&self.epoll, unit, remove),
            Effect::CloseConnection(connection) => drop(self.sockets.take(connection)),
            Effect::WatchTimeZone if self.zone.is_none() => {
                self.zone = ZoneWatch::new().ok().filter(|w| self.watch_descriptor(&w.fd, wait::Token::Zone));
            }
            Effect::WatchTimeZone => {}
            Effect::OpenAutomount(unit, config) => {
                let result = self.automounts.open(&self.epoll, unit, &config);
                answers.push_back(Event::AutomountOpened { unit, result });
            }
            Effect::AnswerAutomount { unit, expired, errno } => {
                self.automounts.answer(unit, expired, errno);
            }
            Effect::ExpireAutomount(unit) => self.automounts.expire(unit),
            Effect::CloseAutomount(unit) => self.automounts.close(&self.epoll, unit),
            Effect::KeepDescriptors { unit, pid, descriptors, name, poll, limit } => {
                let numbers = self.keeping.keep(&self.epoll, unit, descriptors, &name, (poll, limit));
                answers.push_back(Event::DescriptorsKept { unit, pid, name, numbers });
            }
            Effect::DropDescriptors { unit, name } => {
                let only = name.as_ref().map(|(name, _)| &**name);
                let numbers = self.keeping.drop_named(&self.epoll, unit, only);
                let told = |(name, pid)| Event::DescriptorsDropped { unit, pid: Some(pid), name, numbers };
                answers.extend(name.map(told));
            }
            Effect::ReadPidFile { unit, path, wait } => {
                let pid = self.find_pid_file(unit, path, wait);
                answers.push_back(Event::PidFile { unit, pid });
            }
            Effect::GuessMainPid(unit) => {
                let pid = self.guess_main_pid(unit);
                if pid.is_none() && self.is_empty(unit) {
                    // First, so that nobody takes the service for one that runs.
                    answers.push_back(Event::Emptied(unit));
                }
                answers.push_back(Event::PidFile { unit, pid });
            }
            Effect::ReportEmpty(unit) => self.report_empty(unit, answers),
            Effect::WatchProcess { unit, pid } => self.watch_process(unit, pid),
            Effect::WatchPaths { unit, config } => {
                self.paths.watch(&self.path_inotify, unit, config, &mut self.pending);
            }
            Effect::WatchDevice { unit, path } => {
                let there = self.watch_device(unit, &path);
                answers.push_back(Event::Device { unit, there });
            }
            Effect::NextElapse { unit, config, after_us, stamp } => {
                let path = calendar::stamp_path(&self.options.directory_roots[1], config.id().as_str());
                let now_us = Host::now().realtime_us;
                let stamp_us = stamp.then(|| calendar::stamp(&path, now_us)).flatten();
                let next = calendar::next_elapse(&config, stamp_us.unwrap_or(after_us));
                answers.push_back(Event::NextElapse { unit, stamp_us, next });
            }
            Effect::Adopt { unit, config, invocation, token, group, processes } => {
                self.adopt(unit, &config, invocation, (token, &group), &processes, answers);
            }
            Effect::Limits(unit, config) => self.change_limits(unit, &config),
            Effect::Freeze { unit, config, freeze, token } => {
                self.change_freezer(unit, &config, (freeze, token), answers);
            }
            Effect::Clean { unit, config, kinds } => self.clean(unit, &config, kinds, answers),
            Effect::Environment { unset, set } => self.change_environment(&unset, set),
            Effect::Forget { unit, name } => {
                self.forget(unit, &name);
                answers.push_back(Event::Forgotten(unit));
            }
            other => return Some(other),
        }
        None
    }

    /// Where a timer leaves its stamps.
    pub fn stamp_path(&self, timer: &UnitName) -> Text {
        let path = calendar::stamp_path(&self.options.directory_roots[1], timer.as_str());
        path.to_string_lossy().into()
    }

    /// The row of a unit that had a process.
    pub(crate) fn row(&self, unit: UnitId) -> Option<&Row> {
        self.rows.get(unit.0 as usize)?.as_ref()
    }

    /// The same, to be changed.
    pub(crate) fn row_mut(&mut self, unit: UnitId) -> Option<&mut Row> {
        self.rows.get_mut(unit.0 as usize)?.as_mut()
    }

    /// What checks of conditions need to know of this host.
    fn conditions_state(&self) -> conditions::Machine<'_> {
        let enforces = |controller: &str| match &self.tracker {
            Tracker::Groups(groups) => groups.enforces(controller),
            Tracker::Ancestry(_) => false,
        };
        conditions::Machine { environment: &self.options.environment, controllers: Box::new(enforces) }
    }

    /// Ends the host: removes its groups and the notify socket. Processes that are alive stay.
    pub fn close(mut self) {
        self.sockets.close_all(&self.epoll);
        if let Tracker::Groups(groups) = &mut self.tracker {
            groups.close();
        }
        if self.notify_address.starts_with('/') {
            let _ = std::fs::remove_file(&self.notify_address);
        }
    }

    /// The root of a kind of managed directories.
    pub(crate) fn directory_root(&self, kind: DirectoryKind) -> &PathBuf {
        &self.options.directory_roots[kind as usize]
    }
}

/// Numbers 0 to 2 must be taken, so that no descriptor of ours ever is one of them.
fn open_standard_streams() -> Result<(), HostError> {
    loop {
        let fd = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| HostError::new(HostStep::Descriptors, "/dev/null", e))?;
        if std::os::fd::AsRawFd::as_raw_fd(&fd) > 2 {
            return Ok(());
        }
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty())
            .map_err(|e| HostError::new(HostStep::Descriptors, "/dev/null", e))?;
        std::mem::forget(fd);
    }
}

/// Raises our own limit, which clients and units need. The limit for others, where theirs is to be another.
fn raise_descriptor_limit(soft: Option<u64>) -> Option<[u64; 2]> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: now.maximum, maximum: now.maximum };
    let _ = setrlimit(Resource::Nofile, wanted);
    let hard = now.maximum.unwrap_or(u64::MAX);
    let soft = soft.or(now.current).unwrap_or(u64::MAX).min(hard);
    (soft != hard).then_some([soft, hard])
}

fn tracking(wanted: Option<Tracking>, earlier: Option<&Path>, user: bool) -> (Tracker, TrackingReport) {
    let why = if wanted == Some(Tracking::Ancestry) {
        "Control groups are not used because tracking by ancestry was asked for.".to_owned()
    } else {
        match Groups::new(earlier, user) {
            Ok(groups) => {
                let mut limits = Vec::new();
                for (controller, what) in [
                    ("pids", "TasksMax= is not enforced: no pids controller is here."),
                    (
                        "memory",
                        "MemoryMax= and MemoryHigh= are not enforced and OOM kills are not seen: no \
                      memory controller is here.",
                    ),
                    ("cpu", "CPUWeight= and CPUQuota= are not enforced: no cpu controller is here."),
                ] {
                    if !groups.enforces(controller) {
                        limits.push(what.to_owned());
                    }
                }
                let cgroup = groups.root().display().to_string();
                let report = TrackingReport { level: Tracking::Cgroup, cgroup, limits };
                return (Tracker::Groups(groups), report);
            }
            Err(why) => format!("Control groups are not used: {why}."),
        }
    };
    let limits = vec![
        why,
        "A process that clears its environment, makes a session of its own and is left by its parent can't \
         be attributed to a unit: it is counted, not signalled."
            .to_owned(),
        "A process may fork faster than it is found; kills are repeated until none is left.".to_owned(),
        "No limit on tasks, memory or CPU time of a unit is enforced.".to_owned(),
    ];
    let report = TrackingReport { level: Tracking::Ancestry, cgroup: String::new(), limits };
    (Tracker::Ancestry(Ancestry::default()), report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_running_unit_is_small() {
        let name = size_of::<(Text, UnitId)>();
        let process = size_of::<(u32, Tracked)>();
        let row = size_of::<Option<Row>>();
        assert!(name + process + row <= 150, "{name} + {process} + {row}");
    }
}
