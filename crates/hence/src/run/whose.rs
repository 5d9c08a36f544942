//! Whose units a run has, and what follows from that: where its sockets and its ledger are, and what the
//! environment of services begins with; systemd.exec(5), "Environment Variables in Spawned Processes".

use crate::init::Boot;
use hence_engine::Role;
use hence_host::HostOptions;
use hence_host::store::{default_ledger, user_ledger};
use std::path::{Path, PathBuf};

/// Whose units are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The system's, as process 1.
    Systems,
    /// A user's, as that user's own instance.
    Users,
    /// Those that the command line of a foreground run names.
    Own,
}

/// Variables that concern one start of one program. What hence was told by them, its services are not.
const OF_ONE_START: [&str; 34] = [
    "CACHE_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "EXIT_CODE",
    "EXIT_STATUS",
    "FDSTORE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LOGS_DIRECTORY",
    "MAINPID",
    "MANAGERPID",
    "MONITOR_EXIT_CODE",
    "MONITOR_EXIT_STATUS",
    "MONITOR_INVOCATION_ID",
    "MONITOR_SERVICE_RESULT",
    "MONITOR_UNIT",
    "NOTIFY_SOCKET",
    "OLDPWD",
    "PIDFILE",
    "PWD",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "RUNTIME_DIRECTORY",
    "SERVICE_RESULT",
    "SHLVL",
    "STATE_DIRECTORY",
    "SYSTEMD_EXEC_PID",
    "TRIGGER_PATH",
    "TRIGGER_UNIT",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

impl Whose {
    /// What a run with this boot has.
    pub fn of(boot: Option<&Boot>) -> Whose {
        match boot.map(|boot| boot.role) {
            Some(Role::User) => Whose::Users,
            Some(_) => Whose::Systems,
            None => Whose::Own,
        }
    }

    /// The ledger where the command line names none.
    pub fn ledger(self) -> PathBuf {
        if self == Whose::Users { user_ledger() } else { default_ledger() }
    }

    /// The folder of this hence's own sockets. Where it is for hence alone it is tight.
    pub fn runtime_directory(self) -> Option<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let (path, mode) = match self {
            Whose::Systems => return Some(PathBuf::from("/run/systemd")),
            Whose::Users => (runtime_root()?.join("systemd"), 0o755),
            Whose::Own if rustix::process::geteuid().is_root() => (PathBuf::from("/run/hence"), 0o711),
            Whose::Own => (runtime_root()?.join("hence"), 0o711),
        };
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(&path);
        made.is_ok().then_some(path)
    }

    /// NAME=VALUE that all processes get, before what is configured. A user's services get what their
    /// manager has, but for its search path.
    pub fn environment(self) -> Vec<Box<str>> {
        let search_path = HostOptions::default().environment;
        if self != Whose::Users {
            return search_path;
        }
        let own = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            let kept = name != "PATH" && !OF_ONE_START.contains(&name.as_str());
            kept.then(|| format!("{name}={value}").into())
        });
        own.chain(search_path).collect()
    }
}

/// What the environment says of languages; for a system's process 1 what its administrator says, else the one
/// that every C library has; locale.conf(5).
pub fn locale(whose: Whose) -> Vec<Box<str>> {
    let of_language = |name: &str| name == "LANG" || name == "LANGUAGE" || name.starts_with("LC_");
    let mut found: Vec<Box<str>> = Vec::new();
    if whose == Whose::Systems {
        let lines = hence_host::environment::read_file(Path::new("/etc/locale.conf")).unwrap_or_default();
        found.extend(
            lines.into_iter().filter(|l| l.split('=').next().is_some_and(of_language)).map(Into::into),
        );
    }
    if found.is_empty() {
        let own = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            of_language(&name).then(|| format!("{name}={value}").into())
        });
        found.extend(own);
    }
    if found.is_empty() && whose == Whose::Systems {
        found.push("LANG=C.UTF-8".into());
    }
    found
}

/// The user's runtime folder.
pub fn runtime_root() -> Option<PathBuf> {
    std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
}
