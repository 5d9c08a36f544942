//! Where the output of services goes: the machine's journal, one of the ledger's own, or plain log files.
//! How it is written is the recorder's business.

use crate::units::conf_files;
use hence_host::journal::{IntakeOptions, JournalOptions, Place};
use hence_host::machine;
use hence_host::store::JournalSetup;
use hence_ledger::Text;
use hence_unit::value;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// systemd-journald's folder of sockets.
const SOCKETS: &str = "/run/systemd/journal";
/// What the recorder is told for the machine's journal.
const SYSTEM: &str = "system";
/// And where that is another one's.
const OTHER: &str = "journald";

/// The journal that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Wanted {
    /// The machine's as process 1, and for root without a ledger of its own; else the ledger's
    #[default]
    Auto,
    /// The machine's: /var/log/journal, or /run/log/journal; programs can log to it
    System,
    /// A folder `journal` of the ledger's, for journalctl -D
    Ledger,
    /// None: log files, a line each, in the ledger's folder `logs`
    None,
}

/// What the recorder is started with, besides the ledger. `machine`: this is process 1; `named`: the command
/// line names a ledger.
pub fn recorder_arguments(wanted: Wanted, ledger: &Path, machine: bool, named: bool) -> Vec<OsString> {
    let root = rustix::process::geteuid().is_root();
    let own = || vec![ledger.join("journal").into_os_string()];
    let system = match wanted {
        Wanted::None => return Vec::new(),
        Wanted::Ledger => return own(),
        Wanted::System => true,
        Wanted::Auto => machine || (root && !named && writable(Path::new("/run"))),
    };
    if !system {
        return own();
    }
    // There is a journald already: two would fight over the same files.
    let socket = format!("{SOCKETS}/stdout");
    if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
        return vec![OsString::from(OTHER)];
    }
    if !machine && root {
        // journalctl asks for it.
        let (_, said) = machine::machine_id(&machine::Place::find());
        said.iter().for_each(|note| eprintln!("hence: {note}"));
    }
    vec![OsString::from(SYSTEM)]
}

/// What these arguments mean, in the recorder.
pub fn setup(argument: Option<OsString>) -> Option<JournalSetup> {
    let argument = argument.filter(|argument| argument != OTHER)?;
    if argument == SYSTEM {
        let sockets = (PathBuf::from(SOCKETS), PathBuf::from("/dev/log"));
        let mut options = JournalOptions::new(Place::system());
        let mut intake = IntakeOptions::default();
        let files = conf_files("systemd/journald.conf", "systemd/journald.conf.d");
        let stored = configure(&mut options, &mut intake, &files);
        return stored.then_some(JournalSetup { options, intake, sockets: Some(sockets) });
    }
    let mut options = JournalOptions::new(Place::Folder(argument.into()));
    // As much as the rest of a ledger, and a bit: logs are larger than records.
    options.bounds.max_use = Some(256 << 20);
    Some(JournalSetup { options, intake: IntakeOptions::default(), sockets: None })
}

/// Where the recorder tells another journal of the changes of units.
pub fn native_socket(argument: Option<&OsStr>) -> Option<PathBuf> {
    let machine = argument.is_some_and(|argument| argument == SYSTEM || argument == OTHER);
    machine.then(|| Path::new(SOCKETS).join("socket"))
}

/// What the recorder's environment keeps of ours.
pub fn environment() -> Vec<(OsString, OsString)> {
    const COMPACT: &str = "SYSTEMD_JOURNAL_COMPACT";
    std::env::var_os(COMPACT).map(|value| (OsString::from(COMPACT), value)).into_iter().collect()
}

fn writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Takes over what journald.conf(5) says, of what has a meaning here. `false`: nothing is to be stored.
fn configure(options: &mut JournalOptions, intake: &mut IntakeOptions, files: &[(Text, String)]) -> bool {
    let mut stored = true;
    for (path, text) in files {
        let (assignments, _) = hence_unit::syntax::parse(path, text);
        for line in assignments.iter().filter(|a| &*a.section == "Journal" && !a.value.is_empty()) {
            let (key, value) = (&*line.key, &*line.value);
            if (key, value) == ("Storage", "none") {
                stored = false;
            } else if setting(options, intake, key, value).is_none() {
                eprintln!("hence recorder: {path}: {key}={value} is not understood, and left out");
            }
        }
    }
    stored
}

/// Takes over one line. `None`: the value can't be understood.
fn setting(options: &mut JournalOptions, intake: &mut IntakeOptions, key: &str, value: &str) -> Option<()> {
    let (system, runtime) = (key.strip_prefix("System"), key.strip_prefix("Runtime"));
    if let Some(which) = system.or(runtime) {
        let bounds = if system.is_some() { &mut options.bounds } else { &mut options.volatile_bounds };
        let size = value::size(value)?;
        match which {
            "MaxUse" => bounds.max_use = Some(size),
            "KeepFree" => bounds.keep_free = Some(size),
            "MaxFileSize" => bounds.max_file = Some(size),
            "MaxFiles" => bounds.max_files = Some(usize::try_from(size).ok()?.max(1)),
            _ => {}
        }
        return Some(());
    }
    match (key, &mut options.place) {
        ("Storage", Place::System { persistent, volatile }) => match value {
            "volatile" => persistent.clone_from(volatile),
            // Where it can't be made there is the volatile one.
            "persistent" => drop(std::fs::create_dir_all(persistent)),
            "auto" => {}
            _ => return None,
        },
        ("RateLimitIntervalSec", _) => intake.interval_us = value::span(value, value::SECOND_US)?,
        ("RateLimitBurst", _) => intake.burst = u32::try_from(value::unsigned(value)?).ok()?,
        ("MaxFileSec", _) => options.max_file_us = value::span(value, value::SECOND_US)?,
        ("MaxRetentionSec", _) => options.max_retention_us = value::span(value, value::SECOND_US)?,
        ("SyncIntervalSec", _) => options.sync_us = value::span(value, value::SECOND_US)?,
        ("MaxLevelStore", _) => {
            let level = LEVELS.iter().position(|level| *level == value)?;
            intake.level_max = (level % 8) as u8;
        }
        // What else there is concerns what isn't done here: seals, compression, forwarding, the kernel's log.
        _ => {}
    }
    Some(())
}

const LEVELS: [&str; 16] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "0", "1", "2", "3", "4", "5", "6",
    "7",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journald_conf() {
        let text = "[Journal]\nSystemMaxUse=50M\nRuntimeMaxFiles=7\nRateLimitBurst=0\nMaxLevelStore=err\n\
                    SystemKeepFree=nonsense\nStorage=volatile\n\
                    MaxFileSec=1day\nMaxRetentionSec=2week\nSeal=yes\n[Other]\nSystemMaxUse=1\n";
        let mut options = JournalOptions::new(Place::system());
        let mut intake = IntakeOptions::default();
        assert!(configure(&mut options, &mut intake, &[("journald.conf".into(), text.into())]));
        assert_eq!((options.bounds.max_use, options.bounds.keep_free), (Some(50 << 20), None));
        assert_eq!(options.volatile_bounds.max_files, Some(7));
        assert_eq!((intake.burst, intake.level_max), (0, 3));
        assert_eq!((options.max_file_us, options.max_retention_us), (86_400_000_000, 14 * 86_400_000_000));
        let Place::System { persistent, volatile } = &options.place else { panic!("{options:?}") };
        assert_eq!(persistent, volatile);
        let none = [("journald.conf".into(), "[Journal]\nStorage=none\n".into())];
        assert!(!configure(&mut options, &mut intake, &none));
    }
}
