//! The ledger on disk: a folder with a ring, segments, what is left of removed segments, and logs.
//!
//! The [`Ring`] takes records from the process that owns the ledger with one write and no wait. The recorder
//! ([`recorder_main`]), a process of its own, carries them into hash-chained segments, keeps those within a
//! bound, digests files and captures output. A [`Reader`] opens all of it at any time, without a lock.
//! What records mean is `hence-ledger`'s business.

mod capture;
mod causes;
mod digest;
mod entries;
mod link;
mod lock;
mod message;
mod package;
mod reader;
mod recorder;
mod retention;
mod ring;
mod segment;
mod teller;

pub use digest::digest_of;
pub use entries::JournalSetup;
pub use link::{RecorderCommand, RecorderLink};
pub use reader::{Break, Damage, NewestFirst, Reader, Records, Verified};
pub use recorder::{RecorderOptions, recorder_main};
pub use ring::{Ring, RingOptions, RingPlace};

use hence_ledger::{Record, Stamp};
use std::io;
use std::path::{Path, PathBuf};

/// Sums up a removed segment: what was carried before, the segment's records, and the bound in bytes of the
/// encoded answer.
pub type Fold = fn(Vec<Record>, Vec<Record>, usize) -> Vec<Record>;

/// Record ids with this bit are the recorder's own: digests, last words, gaps.
pub const OWN: u64 = 1 << 63;

/// The file of a ledger by which one that watches knows what an earlier one knew.
pub const WATCHING: &str = "watching";

/// Adds the time to that file, where it is: what watched is gone, and may have had no time to say so.
fn note_end(path: &Path) {
    use std::io::Write;
    if let Ok(mut file) = std::fs::File::options().append(true).open(path) {
        let at = now();
        let _ = file.write_all(format!("gone {} {}\n", at.realtime_us, at.monotonic_us).as_bytes());
    }
}

/// Why a ledger cannot be used. The text names the path and the likely mend.
#[derive(Debug)]
pub enum StoreError {
    /// The system refused a step.
    Io {
        /// Which: "create", "read".
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process owns the ledger.
    InUse {
        /// The ledger's folder.
        path: PathBuf,
        /// The owner, where its pid could be read.
        pid: Option<u32>,
    },
    /// A newer hence wrote this.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        version: u32,
    },
    /// There is no ledger.
    NotALedger {
        /// The folder.
        path: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(step: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::Io { step, path: path.to_owned(), source }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Io { step, path, source } => {
                write!(f, "cannot {step} {}: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        f.write_str("; free some room there or name another folder with --ledger")
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        f.write_str("; do it as its owner or name another folder with --ledger")
                    }
                    _ => Ok(()),
                }
            }
            StoreError::InUse { path, pid } => {
                write!(f, "the ledger {} is in use by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; end that one or name another folder with --ledger")
            }
            StoreError::Newer { path, version } => write!(
                f,
                "{} has format version {version}, this hence knows up to {}; use the newer hence that \
                 wrote it",
                path.display(),
                hence_ledger::FORMAT_VERSION
            ),
            StoreError::NotALedger { path } => {
                write!(f, "{} is no ledger: it has neither records nor a ring", path.display())?;
                f.write_str("; name the folder that hence writes to with --ledger")
            }
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Where the ledger is unless the command line names another: `/var/lib/hence` for root, else
/// `$XDG_STATE_HOME/hence` or `~/.local/state/hence`.
pub fn default_ledger() -> PathBuf {
    if rustix::process::geteuid().is_root() { PathBuf::from("/var/lib/hence") } else { user_ledger() }
}

/// Where a user's own ledger is, whoever that user is: `$XDG_STATE_HOME/hence` or `~/.local/state/hence`.
pub fn user_ledger() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    match (absolute("XDG_STATE_HOME"), absolute("HOME")) {
        (Some(state), _) => state.join("hence"),
        (None, Some(home)) => home.join(".local/state/hence"),
        (None, None) => std::env::temp_dir().join(format!("hence-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Whether nobody writes to a ledger any more: the recorder of a run that has ended goes on until the last
/// records are there, last words for one.
pub fn is_complete(ledger: &Path) -> bool {
    // Whoever asks gives the lock back at once.
    !matches!(lock::write(&Places::new(ledger)), Ok(None))
}

/// The paths inside of a ledger.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub folder: PathBuf,
}

impl Places {
    pub fn new(ledger: &Path) -> Places {
        Places { folder: ledger.to_owned() }
    }
    pub fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }
    pub fn writer_lock(&self) -> PathBuf {
        self.folder.join("writer.lock")
    }
    pub fn ring(&self) -> PathBuf {
        self.folder.join("ring")
    }
    pub fn segments(&self) -> PathBuf {
        self.folder.join("segments")
    }
    pub fn segment(&self, number: u64) -> PathBuf {
        self.segments().join(format!("{number:020}.hl"))
    }
    pub fn folded(&self) -> PathBuf {
        self.folder.join("folded.hl")
    }
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Makes the folders, private to their owner.
    pub fn create(&self) -> Result<(), StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        if let Some(parent) = self.folder.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|e| StoreError::io("create", parent, e))?;
        }
        for folder in [self.folder.clone(), self.segments(), self.logs()] {
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                other => other.map_err(|e| StoreError::io("create", &folder, e))?,
            }
        }
        Ok(())
    }
}

/// Opens a file of the ledger for reading and writing, private to its owner, made where it is missing.
pub(crate) fn open_private(path: &Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The time on both clocks.
pub(crate) fn now() -> Stamp {
    use rustix::time::{ClockId, clock_gettime};
    let us = |id| {
        let t = clock_gettime(id);
        u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0) / 1000
    };
    Stamp { realtime_us: us(ClockId::Realtime), monotonic_us: us(ClockId::Monotonic) }
}

/// The file that the output of a unit is kept in, below a ledger's folder.
pub fn log_of(ledger: &Path, unit: &str) -> PathBuf {
    Places { folder: ledger.to_owned() }.logs().join(capture::file_name(unit))
}
