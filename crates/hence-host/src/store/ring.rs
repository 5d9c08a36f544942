//! The owner's side of the ring: a preallocated file that records are written to before their effects.
//!
//! One write per batch, never a wait, an fsync or a mapping. What is written survives the end of any process;
//! carrying it further is the recorder's work. The bytes are [`layout`](self::layout)'s.

pub(crate) mod layout;

use super::{Places, StoreError, lock, now, open_private};
use crate::sys::store as sys;
use hence_ledger::{Certainty, Fact, GapReason, Record, RecordId, Stamp, decode, encode};
use layout::{ALIGN, Cursor, HEADER, Header, HeaderError, Next, frame_bytes};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where the ring's file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RingPlace {
    /// In `/run/hence` for root where that is in memory and the ledger is not, else in the ledger's folder.
    #[default]
    Auto,
    /// In the ledger's folder.
    Ledger,
    /// In this folder.
    Folder(PathBuf),
}

/// How a ring is made, where there is none yet.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// Its room in bytes; rounded up to whole pages, 64 KiB at least.
    pub bytes: u64,
    /// Where.
    pub place: RingPlace,
}

impl Default for RingOptions {
    fn default() -> Self {
        RingOptions { bytes: 2 << 20, place: RingPlace::Auto }
    }
}

/// The ring, held by the one process that owns the ledger.
#[derive(Debug)]
pub struct Ring {
    file: File,
    lock: File,
    capacity: u64,
    head: u64,
    tail: u64,
    last_id: Option<RecordId>,
    batch: Vec<u8>,
    payload: Vec<u8>,
    lost: u64,
    unsaid: Option<Unsaid>,
    full_means: GapReason,
}

/// Records that were lost and that no gap tells of yet.
#[derive(Clone, Copy, Debug)]
struct Unsaid {
    count: u64,
    last: RecordId,
    at: Stamp,
    reason: GapReason,
}

/// Where a batch goes while it is put together.
struct Batch {
    start: u64,
    head: u64,
    wrap: Option<usize>,
    refreshed: bool,
    written: u64,
}

impl Ring {
    /// Takes the ledger for this process and opens its ring behind the last record that is intact.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another process owns it, [`StoreError::Newer`] for a newer ring (nothing
    /// is changed then), and what the system refuses.
    pub fn open(ledger: &Path, options: &RingOptions) -> Result<Ring, StoreError> {
        Ring::open_again(ledger, options, None)
    }

    /// The same, where this process may hold the ledger already, by this file: see [`Ring::lock`].
    ///
    /// # Errors
    /// As [`Ring::open`].
    pub fn open_again(
        ledger: &Path,
        options: &RingOptions,
        held: Option<OwnedFd>,
    ) -> Result<Ring, StoreError> {
        let places = Places::new(ledger);
        places.create()?;
        let lock = match held {
            Some(held) => File::from(held),
            None => lock::own(&places)?,
        };
        newest_is_known(&places)?;
        let path = place(&places, &options.place)?;
        let boot = layout::boot_id();
        let existing = match open_existing(&path)? {
            Some(file) => match Header::read(&file).and_then(|h| Ok((h, layout::sound_tail(&file)?))) {
                Ok((header, _)) if header.boot == boot => Some((file, header)),
                Ok(_) | Err(HeaderError::Damaged) => {
                    put_aside(&places, &path)?;
                    None
                }
                Err(HeaderError::Newer(version)) => return Err(StoreError::Newer { path, version }),
                Err(HeaderError::Io(e)) => return Err(StoreError::io("read", &path, e)),
            },
            None => None,
        };
        let (file, header) = match existing {
            Some(found) => found,
            None => create(&path, options.bytes, boot, last_id(&places)?)?,
        };
        let tail = layout::read_tail(&file).map_err(|e| StoreError::io("read", &path, e))?;
        let mut ring = Ring {
            file,
            lock,
            capacity: header.capacity,
            head: tail.position,
            tail: tail.position,
            last_id: (tail.last_id != 0).then_some(RecordId(tail.last_id)),
            batch: Vec::new(),
            payload: Vec::new(),
            lost: 0,
            unsaid: None,
            full_means: GapReason::RingFull,
        };
        ring.find_head().map_err(|e| StoreError::io("read", &path, e))?;
        Ok(ring)
    }

    /// Writes records; on return they outlive this process. What has no room is dropped and counted, and a
    /// [`Fact::Gap`] says so in its place before the next record that has. Returns how many were lost.
    pub fn append(&mut self, records: &[Record]) -> u64 {
        let lost_before = self.lost;
        let unsaid_before = self.unsaid;
        let last_before = self.last_id;
        self.batch.clear();
        let mut batch = Batch { start: self.head, head: self.head, wrap: None, refreshed: false, written: 0 };
        for record in records {
            if let Some(unsaid) = self.unsaid {
                // Once full, it waits for some room: else gaps and records would take turns at the brim.
                if !self.put(&mut batch, &gap(unsaid), self.capacity / 16) {
                    self.lose(record);
                    continue;
                }
                self.unsaid = None;
            }
            if self.put(&mut batch, record, 0) {
                batch.written += 1;
                self.last_id = self.last_id.max(Some(record.id));
            } else {
                self.lose(record);
            }
        }
        if self.write(&batch).is_ok() {
            self.head = batch.head;
        } else {
            self.lost = lost_before;
            self.unsaid = unsaid_before;
            self.last_id = last_before;
            self.full_means = GapReason::WriteError;
            records.iter().for_each(|record| self.lose(record));
            self.full_means = GapReason::RingFull;
        }
        if self.batch.capacity() > 32 << 10 {
            self.batch = Vec::new();
        }
        self.lost - lost_before
    }

    /// The file by which this process holds the ledger.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// How many records were lost since this ring was opened.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The highest record id in the ledger, the recorder's own left out: the next one must be higher.
    pub fn last_id(&self) -> Option<RecordId> {
        self.last_id
    }

    /// Whether it holds records that the recorder, as far as is known, has not stored.
    pub fn has_news(&self) -> bool {
        self.head > self.tail
    }

    /// Whether a quarter of it is in use: the recorder should not take its time.
    pub fn needs_wake(&self) -> bool {
        self.head - self.tail > self.capacity / 4
    }

    /// The position behind the last record.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// The recorder said how far it is.
    pub(crate) fn stored(&mut self, tail: u64) {
        self.tail = self.tail.max(tail.min(self.head));
    }

    /// What it means when the ring is full: that the recorder is slow, or what the recorder said.
    pub(crate) fn full_means(&mut self, reason: GapReason) {
        self.full_means = reason;
    }

    fn lose(&mut self, record: &Record) {
        self.lost += 1;
        self.last_id = self.last_id.max(Some(record.id));
        let count = self.unsaid.map_or(0, |u| u.count) + 1;
        self.unsaid = Some(Unsaid { count, last: record.id, at: record.at, reason: self.full_means });
    }

    /// Adds a frame to the batch. `false`: there is no room for it and what is to be spared.
    fn put(&mut self, batch: &mut Batch, record: &Record, spare: u64) -> bool {
        self.payload.clear();
        encode(record, &mut self.payload);
        let need = frame_bytes(self.payload.len());
        if self.payload.len() > layout::MAX_PAYLOAD || need > self.capacity / 4 {
            self.payload = Vec::new();
            return false;
        }
        let rest = self.capacity - batch.head % self.capacity;
        let pad = if need > rest { rest } else { 0 };
        if batch.head + pad + need + spare - self.tail > self.capacity {
            if !batch.refreshed {
                batch.refreshed = true;
                if let Ok(tail) = layout::read_tail(&self.file) {
                    self.stored(tail.position);
                }
            }
            if batch.head + pad + need + spare - self.tail > self.capacity {
                return false;
            }
        }
        if pad > 0 {
            layout::put_pad(&mut self.batch, batch.head);
            batch.head += pad;
        }
        if batch.head.is_multiple_of(self.capacity) && batch.head > batch.start {
            batch.wrap = Some(self.batch.len());
        }
        layout::put_frame(&mut self.batch, batch.head, &self.payload);
        batch.head += need;
        true
    }

    /// One write; two where the batch goes around the end of the ring.
    fn write(&self, batch: &Batch) -> std::io::Result<()> {
        let (first, second) = self.batch.split_at(batch.wrap.unwrap_or(self.batch.len()));
        if !first.is_empty() {
            self.file.write_all_at(first, HEADER + batch.start % self.capacity)?;
        }
        if !second.is_empty() {
            self.file.write_all_at(second, HEADER)?;
        }
        Ok(())
    }

    /// Goes on behind the last intact record, over damage where intact ones follow.
    fn find_head(&mut self) -> std::io::Result<()> {
        let mut cursor = Cursor::new(&self.file, self.capacity, self.tail);
        loop {
            match cursor.next()? {
                Next::Frame(payload) => {
                    if let Ok(record) = decode(payload) {
                        self.last_id = self.last_id.max(Some(record.id));
                    }
                }
                Next::End => match cursor.find_next(self.tail + self.capacity)? {
                    Some(position) => cursor.seek(position),
                    None => break,
                },
            }
        }
        self.head = cursor.position();
        debug_assert!(self.head.is_multiple_of(ALIGN));
        Ok(())
    }
}

/// The owner's highest record id in segments and rings that were put aside; 0 for none.
fn last_id(places: &Places) -> Result<u64, StoreError> {
    let mut last = super::segment::last_id(places)?;
    for path in layout::put_aside(places) {
        let see = |record: Record, _: &[u8]| last = last.max(record.id.0);
        // What can't be read holds no ids that anyone will see.
        let _ = File::open(&path).and_then(|file| layout::salvage_records(&file, see));
    }
    Ok(last)
}

fn gap(unsaid: Unsaid) -> Record {
    Record {
        id: unsaid.last,
        at: unsaid.at,
        unit: None,
        invocation: None,
        causes: Vec::new(),
        certainty: Certainty::Observed,
        fact: Fact::Gap { lost: unsaid.count, reason: unsaid.reason },
    }
}

/// The path of the ring's file; makes the link to it where it is elsewhere.
/// Refuses a ledger that a newer hence has written to: its recorder could not go on with it.
fn newest_is_known(places: &Places) -> Result<(), StoreError> {
    let newest = super::segment::list(places)?.last().map(|(number, _)| places.segment(*number));
    for path in newest.into_iter().chain([places.folded()]) {
        let mut start = [0; super::segment::HEADER];
        let read = File::open(&path).and_then(|file| file.read_at(&mut start, 0));
        if let Ok(count) = read {
            super::reader::usable(&path, &start[..count])?;
        }
    }
    Ok(())
}

fn place(places: &Places, wanted: &RingPlace) -> Result<PathBuf, StoreError> {
    let in_ledger = places.ring();
    match std::fs::symlink_metadata(&in_ledger) {
        Ok(found) if found.is_symlink() => {
            let target = std::fs::read_link(&in_ledger).map_err(|e| StoreError::io("read", &in_ledger, e))?;
            let folder = target.parent().unwrap_or(Path::new("/"));
            if make_folder(folder).is_ok() {
                return Ok(target);
            }
            // The link's place is gone for good: what it held is lost with it.
            std::fs::remove_file(&in_ledger).map_err(|e| StoreError::io("replace", &in_ledger, e))?;
            return place(places, wanted);
        }
        Ok(_) => return Ok(in_ledger),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(StoreError::io("read", &in_ledger, e)),
    }
    let folder = match wanted {
        RingPlace::Ledger => return Ok(in_ledger),
        RingPlace::Folder(folder) => folder.clone(),
        RingPlace::Auto => {
            let fits = rustix::process::geteuid().is_root()
                && sys::in_memory(Path::new("/run"))
                && !sys::in_memory(&places.folder);
            if !fits {
                return Ok(in_ledger);
            }
            PathBuf::from("/run/hence")
        }
    };
    make_folder(&folder).map_err(|e| StoreError::io("create", &folder, e))?;
    let absolute = std::fs::canonicalize(&places.folder).unwrap_or_else(|_| places.folder.clone());
    use std::os::unix::ffi::OsStrExt;
    let hash = super::digest::sha256(absolute.as_os_str().as_bytes());
    let name: String = hash[..8].iter().map(|b| format!("{b:02x}")).collect();
    let target = folder.join(format!("ring-{name}"));
    std::os::unix::fs::symlink(&target, &in_ledger).map_err(|e| StoreError::io("link", &in_ledger, e))?;
    Ok(target)
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn open_existing(path: &Path) -> Result<Option<File>, StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    match std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("open", path, e)),
    }
}

/// How many rings that could not be drained are kept.
const PUT_ASIDE: usize = 4;

/// Keeps a ring of another boot, or a damaged one, for the recorder to read what it can.
fn put_aside(places: &Places, path: &Path) -> Result<(), StoreError> {
    let mut old = layout::put_aside(places);
    while old.len() >= PUT_ASIDE {
        let oldest = old.remove(0);
        layout::remove_aside(&oldest).map_err(|e| StoreError::io("remove", &oldest, e))?;
    }
    let name = format!("ring-old-{:020}", now().realtime_us);
    let aside = places.folder.join(&name);
    match std::fs::rename(path, &aside) {
        Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
            let link_target = path.with_file_name(&name);
            std::fs::rename(path, &link_target).map_err(|e| StoreError::io("rename", path, e))?;
            std::os::unix::fs::symlink(&link_target, &aside).map_err(|e| StoreError::io("link", &aside, e))
        }
        other => other.map_err(|e| StoreError::io("rename", path, e)),
    }
}

/// Makes a ring under another name and puts it in place whole: a ring is never half made.
fn create(path: &Path, bytes: u64, boot: [u8; 16], last: u64) -> Result<(File, Header), StoreError> {
    let capacity = bytes.clamp(64 << 10, 1 << 30).next_multiple_of(HEADER);
    let header = Header { capacity, boot, made_us: now().realtime_us };
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let make = || {
        let file = open_private(&fresh)?;
        if !sys::reserve(&file, HEADER + capacity)? {
            let zeros = vec![0; 64 << 10];
            let mut at = 0;
            while at < HEADER + capacity {
                let part = zeros.len().min(usize::try_from(HEADER + capacity - at).unwrap_or(zeros.len()));
                file.write_all_at(&zeros[..part], at)?;
                at += part as u64;
            }
        }
        header.write(&file)?;
        layout::write_tail(&file, layout::Tail { position: 0, last_id: last })?;
        std::fs::rename(&fresh, path)?;
        Ok(file)
    };
    match make() {
        Ok(file) => Ok((file, header)),
        Err(e) => {
            let _ = std::fs::remove_file(&fresh);
            Err(StoreError::io("reserve room for the ring", path, e))
        }
    }
}
