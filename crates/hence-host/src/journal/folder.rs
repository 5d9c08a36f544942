//! The folder of journal files: which one is written, when the next begins, and which are removed.

use super::fields::Fields;
use super::file::{JournalFile, Refusal};
use super::layout::{HEADER, Header, State};
use super::{Identity, hex, id_of, random_id};
use hence_ledger::Stamp;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The smallest file, in bytes.
const SMALLEST: u64 = 512 << 10;
/// The size that files have while there is not much to write.
const USUAL: u64 = 16 << 20;
/// A file that is full sooner than this makes the next one larger, in microseconds.
const SOON_US: u64 = 60_000_000;
/// How long nothing is tried after the disk was full, in microseconds.
const RETRY_US: u64 = 1_000_000;
/// systemd-journald's own bounds: SystemMaxUse= and SystemKeepFree= at most 4 GiB, files at most 128 MiB.
const MOST_USE: u64 = 4 << 30;
const MOST_FILE: u64 = 128 << 20;
const MOST_FILES: usize = 100;
/// Our file where another one has the usual name; journalctl takes it for one of the system's as well.
const OTHER_NAME: &str = "system@hence.journal";
/// How often it is looked whether the persistent folder is there by now, in microseconds.
const LOOK_US: u64 = 5_000_000;
/// SyncIntervalSec=
const SYNC_US: u64 = 300_000_000;
/// MaxFileSec=
const MONTH_US: u64 = 2_629_800_000_000;
/// How often archived files are looked at for their age, in microseconds.
const AGE_US: u64 = 60_000_000;

/// Where entries go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of ours: files lie in it as they are, for `journalctl -D`.
    Folder(PathBuf),
    /// As systemd-journald does: below the first of these folders that is there, or else can be made, in a
    /// folder of the machine's name. The first is used only if it is there.
    System {
        /// /var/log/journal
        persistent: PathBuf,
        /// /run/log/journal
        volatile: PathBuf,
    },
}

impl Place {
    /// The machine's own folders.
    pub fn system() -> Place {
        Place::System { persistent: "/var/log/journal".into(), volatile: "/run/log/journal".into() }
    }
}

/// What the files of a folder may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// All files together, in bytes: SystemMaxUse=. `None`: a tenth of the file system, at most 4 GiB.
    pub max_use: Option<u64>,
    /// What is left to others, in bytes: SystemKeepFree=. `None`: 15 percent, at most 4 GiB.
    pub keep_free: Option<u64>,
    /// A file, in bytes: SystemMaxFileSize=. `None`: an eighth of all, at most 128 MiB.
    pub max_file: Option<u64>,
    /// SystemMaxFiles=. `None`: 100.
    pub max_files: Option<usize>,
}

/// How a journal is kept; journald.conf(5).
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Where.
    pub place: Place,
    /// The bounds in a folder of ours and in the persistent one: SystemMaxUse= and its kin.
    pub bounds: Bounds,
    /// The bounds in the volatile one: RuntimeMaxUse= and its kin.
    pub volatile_bounds: Bounds,
    /// How long what was written may be in memory only, in microseconds: SyncIntervalSec=.
    pub sync_us: u64,
    /// How old the first entry of a file may become before another is begun, in microseconds; 0: any age.
    /// MaxFileSec=
    pub max_file_us: u64,
    /// How old archived files may become, by their first entries, in microseconds; 0: any age.
    /// MaxRetentionSec=
    pub max_retention_us: u64,
    /// The layout that systemd reads since 252; otherwise that of 246.
    pub compact: bool,
}

impl JournalOptions {
    /// systemd-journald's defaults at that place; SYSTEMD_JOURNAL_COMPACT=0 in the environment chooses the
    /// older layout, as for journald.
    pub fn new(place: Place) -> JournalOptions {
        let compact = std::env::var_os("SYSTEMD_JOURNAL_COMPACT");
        let compact =
            compact.is_none_or(|v| !["0", "no", "false", "off", "n", "f"].iter().any(|no| v == *no));
        JournalOptions {
            place,
            bounds: Bounds::default(),
            volatile_bounds: Bounds::default(),
            sync_us: SYNC_US,
            max_file_us: MONTH_US,
            max_retention_us: 0,
            compact,
        }
    }
}

/// The journal that is written. There may be several writers, each with a file of its own.
#[derive(Debug)]
pub struct Journal {
    options: JournalOptions,
    identity: Identity,
    folder: PathBuf,
    /// The file that is written.
    path: PathBuf,
    file: Option<JournalFile>,
    /// The file while nothing is to be written for long: closed in order, and still ours.
    parked: Option<File>,
    /// Numbers of entries, and what they count in.
    seqnum_id: [u8; 16],
    seqnum: u64,
    in_memory: bool,
    begun_us: u64,
    look_at_us: u64,
    age_at_us: u64,
    size: u64,
    /// Entries that had no room, and why.
    lost: u64,
    why_lost: String,
    blocked_until_us: u64,
    /// When what was written is to be brought to the disk.
    sync_at_us: Option<u64>,
    /// A thread does so.
    syncing: Arc<AtomicBool>,
}

impl Journal {
    /// A journal; its file is opened with the first entry.
    pub fn new(options: JournalOptions) -> Journal {
        let read = |path: &str| fs::read_to_string(path).ok().and_then(|text| id_of(&text));
        // Where there is none, this hence is a machine of its own.
        let machine = read("/etc/machine-id").unwrap_or_else(random_id);
        let boot = read("/proc/sys/kernel/random/boot_id").unwrap_or_else(random_id);
        let identity = Identity { machine, boot, compact: options.compact };
        Journal {
            options,
            identity,
            folder: PathBuf::new(),
            path: PathBuf::new(),
            file: None,
            parked: None,
            seqnum_id: random_id(),
            seqnum: 0,
            in_memory: false,
            begun_us: 0,
            look_at_us: 0,
            age_at_us: 0,
            size: 0,
            lost: 0,
            why_lost: String::new(),
            blocked_until_us: 0,
            sync_at_us: None,
            syncing: Arc::default(),
        }
    }

    /// The id of this machine.
    pub fn machine_id(&self) -> [u8; 16] {
        self.identity.machine
    }

    /// The id of this boot.
    pub fn boot_id(&self) -> [u8; 16] {
        self.identity.boot
    }

    /// Whether it is the machine's rather than a ledger's own.
    pub(crate) fn is_of_machine(&self) -> bool {
        matches!(self.options.place, Place::System { .. })
    }

    /// Where the files are, also before the first entry.
    pub(crate) fn folder_to_be(&self) -> Option<PathBuf> {
        if self.folder.as_os_str().is_empty() { self.find_folder().ok() } else { Some(self.folder.clone()) }
    }

    /// Where the files are; empty before the first entry.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the bounds leave for entries to come, in bytes.
    pub(crate) fn room(&self) -> u64 {
        if self.folder.as_os_str().is_empty() {
            return u64::MAX;
        }
        let bounds = self.bounds();
        bounds.free.saturating_sub(bounds.keep_free).min(bounds.max_use)
    }

    /// How many entries were lost since it was last said, and why.
    pub fn take_lost(&mut self) -> Option<(u64, String)> {
        // Only when there is room again.
        if self.lost == 0 || self.file.is_none() {
            return None;
        }
        Some((std::mem::take(&mut self.lost), std::mem::take(&mut self.why_lost)))
    }

    /// Takes an entry: what its stream has in common, and what only it has, as `NAME=VALUE`. It is in
    /// memory until [`Self::commit`]. What can't be stored is counted.
    pub fn append(&mut self, fields: &mut Fields, varying: &[&[u8]], at: Stamp) {
        if let Err(error) = self.try_append(fields, varying, at) {
            self.lost += 1;
            self.refused(error, at);
        }
    }

    fn refused(&mut self, error: io::Error, at: Stamp) {
        let why = format!("{}: {error}", self.folder.display());
        if self.why_lost != why {
            eprintln!("hence recorder: cannot write the journal in {why}");
        }
        self.why_lost = why;
        self.blocked_until_us = at.monotonic_us + RETRY_US;
    }

    fn try_append(&mut self, fields: &mut Fields, varying: &[&[u8]], at: Stamp) -> io::Result<()> {
        if at.monotonic_us < self.blocked_until_us {
            return Err(io::Error::other(self.why_lost.rsplit(": ").next().unwrap_or_default().to_owned()));
        }
        if self.file.is_some() && at.monotonic_us >= self.look_at_us {
            self.look_at_us = at.monotonic_us + LOOK_US;
            self.look_for_folder(at);
            let limit = at.realtime_us.saturating_sub(self.options.max_file_us);
            let head = self.file.as_ref().and_then(JournalFile::head);
            if self.options.max_file_us > 0 && head.is_some_and(|(_, first_us)| first_us < limit) {
                self.rotate(at);
            }
            self.forget_old(at);
        }
        for _ in 0..3 {
            if self.file.is_none() {
                self.open(at)?;
            }
            let Some(file) = &mut self.file else { continue };
            let (seqnum, boot) = (self.seqnum + 1, self.identity.boot);
            match file.append(fields, varying, at, seqnum, boot) {
                Ok(()) => {
                    self.seqnum = seqnum;
                    if file.is_due() {
                        self.commit();
                    }
                    return Ok(());
                }
                Err(Refusal::Full) => self.rotate(at),
                Err(Refusal::TooLarge) => return Err(io::ErrorKind::FileTooLarge.into()),
                Err(Refusal::Io(e)) if is_full(&e) => {
                    // What older entries take may be given up for new ones.
                    self.commit();
                    if !self.remove_oldest() {
                        return Err(e);
                    }
                }
                Err(Refusal::Io(e)) => {
                    self.put_aside();
                    return Err(e);
                }
            }
        }
        Err(io::ErrorKind::StorageFull.into())
    }

    /// Writes and publishes what was taken.
    pub fn commit(&mut self) {
        self.with_file(JournalFile::commit);
    }

    /// To be called when there is nothing else to do: writes also what [`Self::commit`] leaves for later.
    pub fn settle(&mut self) {
        self.with_file(JournalFile::settle);
    }

    /// Whether [`Self::settle`] has something to do.
    pub fn is_behind(&self) -> bool {
        self.file.as_ref().is_some_and(JournalFile::is_behind)
    }

    /// When [`Self::sync`] is due, on CLOCK_MONOTONIC in microseconds.
    pub fn sync_at_us(&self) -> Option<u64> {
        self.sync_at_us
    }

    /// Has a thread bring to the disk what was written, so that nobody waits for the disk.
    pub fn sync(&mut self) {
        self.commit();
        self.sync_at_us = None;
        let file = self.file.as_ref().map(|file| &file.file).or(self.parked.as_ref());
        match file.map(File::try_clone) {
            Some(Ok(copy)) => bring_to_disk(copy, &self.syncing),
            Some(Err(_)) => self.sync_at_us = Some(crate::store::now().monotonic_us + self.options.sync_us),
            None => {}
        }
    }

    fn with_file(&mut self, action: fn(&mut JournalFile) -> io::Result<()>) {
        let Some(file) = &mut self.file else { return };
        if !file.waits() {
            return;
        }
        if self.sync_at_us.is_none() && !self.in_memory {
            self.sync_at_us = Some(crate::store::now().monotonic_us + self.options.sync_us);
        }
        if let Err(error) = action(file) {
            // Half of it may be written; nobody writes to it any more.
            self.put_aside();
            self.refused(error, crate::store::now());
        }
    }

    /// Gives back the memory that a burst needed. What is known of the file, a place for each of its hashes
    /// above all, is read again with the next entry.
    pub fn shrink(&mut self) {
        if let Some(file) = self.file.take() {
            self.parked = self.ended(file, State::Offline, crate::store::now());
        }
    }

    /// Closes a file in order. `None`: that can't be done; it is put aside as it is.
    fn ended(&mut self, file: JournalFile, state: State, at: Stamp) -> Option<File> {
        let ours = is_at(&file.file, &self.path);
        file.end(state)
            .map_err(|error| {
                self.refused(error, at);
                if ours {
                    let _ = archive(&self.path, true);
                }
            })
            .ok()
    }

    /// Goes on with the file that was parked. `false`: there is none, or somebody else went on with it.
    fn unpark(&mut self) -> io::Result<bool> {
        let Some(parked) = self.parked.take() else { return Ok(false) };
        if !is_at(&parked, &self.path) {
            return Ok(false);
        }
        self.file = JournalFile::resume(parked, &self.identity, self.size, super::next_serial())?;
        Ok(self.file.is_some())
    }

    fn open(&mut self, at: Stamp) -> io::Result<()> {
        if self.unpark()? {
            return Ok(());
        }
        let folder = self.find_folder()?;
        let first = self.folder != folder;
        self.in_memory = crate::sys::store::in_memory(&folder);
        self.folder = folder;
        let mut path = self.folder.join("system.journal");
        let most = self.file_size(at);
        let serial = super::next_serial();
        if first && let Some(file) = self.resume(&path, most, serial)? {
            (self.seqnum_id, self.seqnum) = file.seqnum();
            self.begun_us = at.monotonic_us;
            (self.path, self.file) = (path, Some(file));
            return Ok(());
        }
        self.make_room(most);
        if !first && path.exists() {
            // Somebody began a file of theirs under that name, while we had one: a journald. It is theirs.
            path = self.folder.join(OTHER_NAME);
        }
        let options = File::options().read(true).write(true).create_new(true).mode(0o640).clone();
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                // Another writer's, or one that can't be gone on with.
                archive(&path, false)?;
                options.open(&path)?
            }
            Err(e) => return Err(e),
        };
        // The umask may have taken what the group is to have.
        let _ = file.set_permissions(fs::Permissions::from_mode(0o640));
        crate::sys::store::try_lock(&file)?;
        let begun = JournalFile::begin(file, &self.identity, self.seqnum_id, most, serial);
        let file = begun.inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        self.begun_us = at.monotonic_us;
        (self.path, self.file) = (path, Some(file));
        Ok(())
    }

    /// Goes on with the file of an earlier run that was closed in order; puts any other aside.
    fn resume(&mut self, path: &Path, most: u64, serial: u64) -> io::Result<Option<JournalFile>> {
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let regular = file.metadata()?.is_file();
        // A writer that is about to end, or a process that is just being started, has it for a moment.
        let mut free = false;
        for attempt in 0..4 {
            if attempt > 0 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            free = regular && crate::sys::store::try_lock(&file)?;
            if free {
                break;
            }
        }
        if free {
            let copy = file.try_clone()?;
            if let Some(file) = JournalFile::resume(file, &self.identity, most, serial)? {
                return Ok(Some(file));
            }
            mend_length(&copy);
        }
        archive(path, free)?;
        Ok(None)
    }

    /// The folder to write to, made where it isn't there.
    fn find_folder(&self) -> io::Result<PathBuf> {
        match &self.options.place {
            Place::Folder(folder) => {
                make(folder, 0o700)?;
                Ok(folder.clone())
            }
            Place::System { persistent, volatile } => {
                let name = hex(&self.identity.machine);
                let below = persistent.join(&name);
                if persistent.is_dir() && make(&below, 0o2755).is_ok() && writable(&below) {
                    return Ok(below);
                }
                make(volatile, 0o2755)?;
                let below = volatile.join(&name);
                make(&below, 0o2755)?;
                Ok(below)
            }
        }
    }

    fn bounds(&self) -> Measured {
        let volatile = match &self.options.place {
            Place::System { volatile, .. } => self.folder.starts_with(volatile),
            Place::Folder(_) => false,
        };
        let asked = if volatile { self.options.volatile_bounds } else { self.options.bounds };
        let system = rustix::fs::statvfs(&self.folder);
        let (all, free) =
            system.map_or((u64::MAX, u64::MAX), |s| (s.f_blocks * s.f_frsize, s.f_bavail * s.f_frsize));
        let max_use = asked.max_use.unwrap_or((all / 10).clamp(SMALLEST * 2, MOST_USE));
        let keep_free = asked.keep_free.unwrap_or((all / 20 * 3).min(MOST_USE));
        let max_file = asked.max_file.unwrap_or((max_use / 8).min(MOST_FILE)).max(SMALLEST);
        let max_files = asked.max_files.unwrap_or(MOST_FILES);
        Measured { max_use, keep_free, free, max_file, max_files }
    }

    /// How large the next file may become: larger where the last one was full soon.
    fn file_size(&mut self, at: Stamp) -> u64 {
        let soon = self.begun_us != 0 && at.monotonic_us < self.begun_us + SOON_US;
        self.size = if soon { self.size * 2 } else { USUAL };
        self.size = self.size.clamp(SMALLEST, self.bounds().max_file);
        self.size
    }

    /// Goes on in the persistent folder where that came later, when its file system was mounted.
    pub(crate) fn look_for_folder(&mut self, at: Stamp) {
        if self.is_of_machine() && self.find_folder().is_ok_and(|folder| folder != self.folder) {
            self.rotate(at);
        }
    }

    /// Removes archived files that are too old.
    fn forget_old(&mut self, at: Stamp) {
        if self.options.max_retention_us == 0 || at.monotonic_us < self.age_at_us {
            return;
        }
        self.age_at_us = at.monotonic_us + AGE_US;
        let limit = at.realtime_us.saturating_sub(self.options.max_retention_us);
        for old in archived(&self.folder).iter().take_while(|file| file.realtime_us < limit) {
            let _ = fs::remove_file(&old.path);
        }
    }

    /// Brings to the disk what was taken, and waits for it. `false`: the disk refuses.
    pub(crate) fn sync_and_wait(&mut self) -> bool {
        self.settle();
        let file = self.file.as_ref().map(|file| &file.file).or(self.parked.as_ref());
        let synced = file.is_none_or(|file| file.sync_data().is_ok());
        self.sync_at_us = if synced { None } else { self.sync_at_us };
        synced
    }

    /// Ends the file and begins another with the next entry.
    pub fn rotate(&mut self, at: Stamp) {
        self.commit();
        if self.file.is_none() {
            let _ = self.unpark();
        }
        let Some(file) = self.file.take() else { return };
        let (head, (seqnum_id, _)) = (file.head(), file.seqnum());
        let Some(file) = self.ended(file, State::Archived, at) else { return };
        let (seqnum, realtime_us) = head.unwrap_or((self.seqnum + 1, at.realtime_us));
        let name = format!("system@{}-{seqnum:016x}-{realtime_us:016x}.journal", hex(&seqnum_id));
        if is_at(&file, &self.path) {
            let _ = fs::rename(&self.path, self.folder.join(name));
        }
        if !self.in_memory {
            bring_to_disk(file, &self.syncing);
        }
    }

    /// The file is not what it should be: it stays as it is, and the next entry begins another.
    fn put_aside(&mut self) {
        if let Some(file) = self.file.take()
            && is_at(&file.file, &self.path)
        {
            let _ = archive(&self.path, true);
        }
        // Numbers that may have been given already are not given again.
        self.seqnum_id = random_id();
    }

    /// Removes the oldest files until a new one of that size is within the bounds.
    fn make_room(&mut self, size: u64) {
        let bounds = self.bounds();
        let mut files = archived(&self.folder);
        let mut used: u64 = files.iter().map(|f| f.bytes).sum();
        let mut free = bounds.free;
        let first = SMALLEST.max(size / 16);
        while !files.is_empty()
            && (used + size > bounds.max_use
                || free < bounds.keep_free.saturating_add(first)
                || files.len() + 1 > bounds.max_files)
        {
            let oldest = files.remove(0);
            if fs::remove_file(&oldest.path).is_ok() {
                used -= oldest.bytes;
                free += oldest.bytes;
            }
        }
    }

    fn remove_oldest(&self) -> bool {
        let oldest = archived(&self.folder).into_iter().next();
        oldest.is_some_and(|oldest| fs::remove_file(oldest.path).is_ok())
    }

    /// Ends the journal in order; the next writer goes on with the file.
    pub fn close(&mut self) {
        if let Some(file) = self.file.take()
            && let Err(error) = file.end(State::Offline)
        {
            eprintln!("hence recorder: cannot close the journal: {error}");
        }
    }
}

/// Whether that is still the file's path: another writer may have put it aside and begun its own.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |status: io::Result<fs::Metadata>| status.map(|s| (s.dev(), s.ino())).ok();
    let ours = id(file.metadata());
    ours.is_some() && ours == id(fs::symlink_metadata(path))
}

/// journalctl refuses a file that is shorter than its header says, as a power cut can leave it: what is
/// missing reads as nothing then, and the rest can be read.
fn mend_length(file: &File) {
    let mut bytes = [0; HEADER];
    let header = file.read_exact_at(&mut bytes, 0).ok().and_then(|()| Header::decode(&bytes));
    let (Some(header), Ok(status)) = (header, file.metadata()) else { return };
    let wanted = header.arena_size.saturating_add(HEADER as u64);
    if wanted > status.len() && wanted <= u32::MAX.into() {
        let _ = file.set_len(wanted);
    }
}

/// In a thread of its own, one at a time: a disk may take any time.
fn bring_to_disk(file: File, busy: &Arc<AtomicBool>) {
    if busy.swap(true, Ordering::AcqRel) {
        return;
    }
    let done = busy.clone();
    let thread = std::thread::Builder::new().name("journal-sync".into()).stack_size(64 << 10);
    let begun = thread.spawn(move || {
        let _ = file.sync_data();
        done.store(false, Ordering::Release);
    });
    if begun.is_err() {
        busy.store(false, Ordering::Release);
    }
}

/// The bounds of a folder as it is just now.
struct Measured {
    max_use: u64,
    keep_free: u64,
    free: u64,
    max_file: u64,
    max_files: usize,
}

/// A file that nobody writes to.
struct Archived {
    path: PathBuf,
    bytes: u64,
    realtime_us: u64,
}

/// The files that may be removed, the oldest first.
fn archived(folder: &Path) -> Vec<Archived> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let Some((stem, _)) = name.split_once(".journal").filter(|_| name != OTHER_NAME) else { continue };
        let Some((_, rest)) = stem.split_once('@') else { continue };
        let Ok(status) = entry.metadata() else { continue };
        // What was put aside has its time in front, an archived file has it last.
        let parts: Vec<&str> = rest.split('-').collect();
        let time = if name.ends_with('~') { parts.first() } else { parts.last() };
        let named = time.and_then(|t| u64::from_str_radix(t, 16).ok());
        let realtime_us = named.unwrap_or(status.mtime().max(0) as u64 * 1_000_000);
        found.push(Archived { path: entry.path(), bytes: status.blocks() * 512, realtime_us });
    }
    found.sort_by_key(|file| file.realtime_us);
    found
}

/// Puts a file out of the way, named as journald names those that weren't closed in order. `ours`: nobody
/// else writes to it; another writer's goes on under a name that keeps it from being taken for damaged.
fn archive(path: &Path, ours: bool) -> io::Result<()> {
    let now = crate::store::now().realtime_us;
    let chance = hex(&random_id()[8..]);
    let name = if ours {
        format!("system@{now:016x}-{chance}.journal~")
    } else {
        format!("system@{}-{:016x}-{now:016x}.journal", hex(&random_id()), 1)
    };
    fs::rename(path, path.with_file_name(name))
}

fn make(folder: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(mode & 0o777).create(folder) {
        Ok(()) => {
            if let Some(group) = journal_group().filter(|_| mode & 0o2000 != 0) {
                let _ = std::os::unix::fs::chown(folder, None, Some(group));
                let _ = fs::set_permissions(folder, fs::Permissions::from_mode(mode));
            }
            Ok(())
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(e) => Err(e),
    }
}

/// The group whose members may read all logs, where the machine has one.
fn journal_group() -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next()? == "systemd-journal").then(|| parts.nth(1)?.parse().ok())?
    })
}

fn writable(folder: &Path) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, folder, rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS)
        .is_ok()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
