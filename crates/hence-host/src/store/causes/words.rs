//! systemd's words for what happens to units, by kind of unit, and the ids of its messages: those of
//! `journalctl --list-catalog`. The texts are those that systemd 252 was seen to write.

use hence_ledger::{Exit, ExitKind, JobResult, SpawnStep};
use hence_unit::value;

pub(super) const PROCESS_EXITED: &str = "98e322203f7a4ed290d09fe03c09fe15";
pub(super) const FAILED: &str = "d9b373ed55a64feb8242e02dbe79a49c";
pub(super) const SUCCESS: &str = "7ad2d189f7e94e70a38c781354912448";
pub(super) const SKIPPED: &str = "0e4284a0caca4bfc81c0bb6786972673";
pub(super) const RESTART_SCHEDULED: &str = "5eb03494b6584870a536b337290809b3";
pub(super) const SPAWN_FAILED: &str = "641257651c1b4ec9a8624d7a40a9e1e7";
pub(super) const OOM_KILL: &str = "fe6faa94e7774663a0da52717891d8ef";

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Start,
    Stop,
    Reload,
}

impl Job {
    /// The id of "has begun execution".
    pub fn begin_id(self) -> &'static str {
        match self {
            Job::Start => "7d4958e842da4a758f6c1cdc7b36dcc5",
            Job::Stop => "de5b426a63be47a7b6ac3eaac82e2f6f",
            Job::Reload => "d34d037fff1847e6ae669a370e694725",
        }
    }

    /// The id of "has finished".
    pub fn end_id(self, result: JobResult) -> &'static str {
        match (self, result) {
            (Job::Start, JobResult::Done) => "39f53479d3a045ac8e11786248231fbf",
            (Job::Start, _) => "be02cf6855d2428ba40df7e9d022f03d",
            (Job::Stop, _) => "9d1aaa27d60140bd96365438aad20286",
            (Job::Reload, _) => "7b05ebc668384222baa8881179cfda54",
        }
    }
}

/// What kind of unit, as far as words differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Socket,
    Target,
    Mount,
    Swap,
    Slice,
    Device,
    Automount,
    /// Timers, paths and scopes.
    Other,
}

impl Kind {
    pub fn of(name: &str) -> Kind {
        match name.rsplit('.').next().unwrap_or_default() {
            "service" => Kind::Service,
            "socket" => Kind::Socket,
            "target" => Kind::Target,
            "mount" => Kind::Mount,
            "swap" => Kind::Swap,
            "slice" => Kind::Slice,
            "device" => Kind::Device,
            "automount" => Kind::Automount,
            _ => Kind::Other,
        }
    }

    /// Whether it says how it ended.
    pub fn has_result(self) -> bool {
        !matches!(self, Kind::Target | Kind::Slice | Kind::Device)
    }

    /// What is said when a job begins.
    pub fn begins(self, job: Job, name: &str) -> Option<String> {
        let verb = match (self, job) {
            (Kind::Mount, Job::Start) => "Mounting",
            (Kind::Mount, Job::Stop) => "Unmounting",
            (Kind::Swap, Job::Start) => "Activating swap",
            (Kind::Swap, Job::Stop) => "Deactivating swap",
            (Kind::Target | Kind::Slice | Kind::Device, _) => return None,
            (_, Job::Start) => "Starting",
            (_, Job::Stop) => "Stopping",
            (_, Job::Reload) => "Reloading",
        };
        Some(format!("{verb} {name}..."))
    }

    fn done(self, job: Job, oneshot: bool) -> Option<&'static str> {
        Some(match (self, job) {
            (Kind::Service, Job::Start) if oneshot => "Finished",
            (Kind::Socket, Job::Start) => "Listening on",
            (Kind::Socket, Job::Stop) => "Closed",
            (Kind::Target, Job::Start) => "Reached target",
            (Kind::Target, Job::Stop) => "Stopped target",
            (Kind::Mount, Job::Start) => "Mounted",
            (Kind::Mount, Job::Stop) => "Unmounted",
            (Kind::Swap, Job::Start) => "Activated swap",
            (Kind::Swap, Job::Stop) => "Deactivated swap",
            (Kind::Slice, Job::Start) => "Created slice",
            (Kind::Slice, Job::Stop) => "Removed slice",
            (Kind::Device, Job::Start) => "Found device",
            (Kind::Device, Job::Stop) => return None,
            (Kind::Automount, Job::Start) => "Set up automount",
            (Kind::Automount, Job::Stop) => "Unset automount",
            (_, Job::Start) => "Started",
            (_, Job::Stop) => "Stopped",
            (_, Job::Reload) => "Reloaded",
        })
    }

    /// What is said when a job ends, and how urgent it is.
    pub fn ended(self, job: Job, result: JobResult, name: &str, oneshot: bool) -> Option<(u8, String)> {
        let (level, text) = match (job, result) {
            (_, JobResult::Done) => (6, format!("{} {name}.", self.done(job, oneshot)?)),
            (Job::Start, JobResult::Failed) if self == Kind::Mount => (3, format!("Failed to mount {name}.")),
            (Job::Start, JobResult::Failed) => (3, format!("Failed to start {name}.")),
            (Job::Start, JobResult::Timeout) => (3, format!("Timed out starting {name}.")),
            (Job::Start, JobResult::Dependency) => (4, format!("Dependency failed for {name}.")),
            (Job::Start, JobResult::Assert) => (4, format!("Assertion failed for {name}.")),
            (Job::Start, JobResult::Unsupported) => (4, format!("Starting of {name} unsupported.")),
            (Job::Start, JobResult::Collected) => (6, format!("Unnecessary job was removed for {name}.")),
            (Job::Start, JobResult::Once) => {
                (3, format!("Unit {name} has been started before and cannot be started again."))
            }
            (Job::Stop, JobResult::Failed) => (6, format!("Stopped (with error) {name}.")),
            (Job::Stop, JobResult::Timeout) => (3, format!("Timed out stopping {name}.")),
            (Job::Reload, JobResult::Failed) => (3, format!("Reload failed for {name}.")),
            (Job::Reload, JobResult::Timeout) => (3, format!("Timed out reloading {name}.")),
            _ => return None,
        };
        Some((level, text))
    }
}

/// `7/NOTRUNNING`, `9/KILL`.
pub(super) fn status(exit: Exit) -> String {
    let code = u8::try_from(exit.status).ok();
    let name = match exit.kind {
        ExitKind::Exited => code.and_then(value::exit_status_name).map(str::to_owned),
        ExitKind::Killed | ExitKind::Dumped => code.and_then(value::signal_name).map(|name| name.to_string()),
    };
    match name {
        Some(name) => format!("{}/{name}", exit.status),
        None => format!("{}/n/a", exit.status),
    }
}

/// The word for a step of starting a process.
pub(super) fn step(step: SpawnStep) -> &'static str {
    match step {
        SpawnStep::Fork => "FORK",
        SpawnStep::Cgroup => "CGROUP",
        SpawnStep::Exec | SpawnStep::Executor | SpawnStep::Environment => "EXEC",
        SpawnStep::Chdir => "CHDIR",
        SpawnStep::Stdio => "STDIN",
        SpawnStep::User => "USER",
        SpawnStep::Limits => "LIMITS",
        SpawnStep::Directories => "RUNTIME_DIRECTORY",
        SpawnStep::Sockets => "FDS",
        SpawnStep::Scheduling => "SETSCHEDULER",
        SpawnStep::Filter => "SECCOMP",
        SpawnStep::Credentials => "CREDENTIALS",
        SpawnStep::Attributes => "PERSONALITY",
        SpawnStep::Namespace => "NAMESPACE",
        SpawnStep::Network => "NETWORK",
        SpawnStep::Session => "PAM",
    }
}

/// What an errno says, as strerror(3) has it.
pub(super) fn errno(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    text.rsplit_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// `1min 30s`, as systemd writes a length of time.
pub(super) fn span(us: u64) -> String {
    const PARTS: [(&str, u64); 6] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("min", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1000),
        ("us", 1),
    ];
    let mut rest = us;
    let mut words: Vec<String> = Vec::new();
    for (unit, length) in PARTS {
        if rest >= length {
            words.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if words.is_empty() { "0".into() } else { words.join(" ") }
}
