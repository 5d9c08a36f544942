//! Where the output of services goes: the machine's journal, one of the ledger's own, or plain log files.
//! How it is written is the recorder's business.

use hence_host::journal::{JournalOptions, Place};
use hence_host::machine;
use hence_host::store::JournalSetup;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// systemd-journald's folder of sockets.
const SOCKETS: &str = "/run/systemd/journal";
/// What the recorder is told for the machine's journal.
const SYSTEM: &str = "system";

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
        return Vec::new();
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
    let argument = argument?;
    if argument == SYSTEM {
        let sockets = (PathBuf::from(SOCKETS), PathBuf::from("/dev/log"));
        let options = JournalOptions::new(Place::system());
        return Some(JournalSetup { options, sockets: Some(sockets) });
    }
    let mut options = JournalOptions::new(Place::Folder(argument.into()));
    // As much as the rest of a ledger, and a bit: logs are larger than records.
    options.max_use = Some(256 << 20);
    Some(JournalSetup { options, sockets: None })
}

/// What the recorder's environment keeps of ours.
pub fn environment() -> Vec<(OsString, OsString)> {
    const COMPACT: &str = "SYSTEMD_JOURNAL_COMPACT";
    std::env::var_os(COMPACT).map(|value| (OsString::from(COMPACT), value)).into_iter().collect()
}

fn writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}
