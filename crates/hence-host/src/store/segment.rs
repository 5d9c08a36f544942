//! Segments: append-only files of frames, each chained to the one before by SHA-256.
//!
//! Here are their bytes, the walk over them that tolerates any damage, and the one writer. When to rotate and
//! what to remove is `retention`'s decision. Nothing here trusts a byte that was read.

use super::ring::layout::MAX_PAYLOAD;
use super::{OWN, Places, StoreError, digest, open_private};
use hence_ledger::{FORMAT_VERSION, decode};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes before the first frame.
pub(crate) const HEADER: usize = 64;
/// Bytes of the chain behind each frame.
pub(crate) const LINK: usize = 16;
const FRAME_HEADER: usize = 8;
const MAGIC: &[u8; 13] = b"hence-ledger\n";
/// How many bytes a walk reads again and again while it looks for an intact frame behind damage.
const SEARCH_BUDGET: usize = 256 << 20;

/// What a file of frames is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A segment.
    Segment = 0,
    /// What is left of removed segments.
    Folded = 1,
}

/// The start of a file of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What it is.
    pub kind: Kind,
    /// The chain's end before it.
    pub chain: [u8; LINK],
    /// The highest id of the owner's records before its first.
    pub last_id: u64,
    /// The highest id of the recorder's own records before its first; 0 for none.
    pub last_own: u64,
    /// A segment's number; for what is folded the number of the last segment in it.
    pub number: u64,
}

/// Why a header can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// It is no header.
    Damaged,
    /// A newer hence wrote it.
    Newer(u16),
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Header {
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut b = [0; HEADER];
        b[..13].copy_from_slice(MAGIC);
        b[13..15].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        b[15] = self.kind as u8;
        b[16..32].copy_from_slice(&self.chain);
        b[32..40].copy_from_slice(&self.last_id.to_le_bytes());
        b[40..48].copy_from_slice(&self.last_own.to_le_bytes());
        b[48..56].copy_from_slice(&self.number.to_le_bytes());
        let crc = crc32c::crc32c(&b[..56]);
        b[56..60].copy_from_slice(&crc.to_le_bytes());
        b
    }

    pub fn parse(b: &[u8]) -> Result<Header, HeaderError> {
        if b.len() < HEADER || !b.starts_with(MAGIC) {
            return Err(HeaderError::Damaged);
        }
        let version = u16::from_le_bytes([b[13], b[14]]);
        if version > FORMAT_VERSION {
            return Err(HeaderError::Newer(version));
        }
        let kind = match b[15] {
            0 => Kind::Segment,
            1 => Kind::Folded,
            _ => return Err(HeaderError::Damaged),
        };
        if u32_at(b, 56) != Some(crc32c::crc32c(&b[..56])) {
            return Err(HeaderError::Damaged);
        }
        let mut chain = [0; LINK];
        chain.copy_from_slice(&b[16..32]);
        Ok(Header { kind, chain, last_id: u64_at(b, 32), last_own: u64_at(b, 40), number: u64_at(b, 48) })
    }
}

/// The chain behind a frame.
pub(crate) fn link(previous: &[u8; LINK], frame: &[u8]) -> [u8; LINK] {
    let mut chain = [0; LINK];
    chain.copy_from_slice(&digest::sha256_of(&[previous, frame])[..LINK]);
    chain
}

/// Appends a frame with its link to `out` and moves the chain on.
pub(crate) fn put_frame(out: &mut Vec<u8>, chain: &mut [u8; LINK], payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    out.extend_from_slice(payload);
    *chain = link(chain, &out[start..]);
    out.extend_from_slice(chain);
}

/// What a walk finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// An intact frame, its bytes without link, and its link.
    Frame { frame: &'a [u8], link: [u8; LINK] },
    /// Bytes from `offset` that are no frame, with intact ones behind them: the checksum that stands there
    /// and the one of what stands there.
    Damaged { offset: usize, expected: u32, found: u32 },
    /// Bytes from here to the end are no frame.
    Torn { offset: usize },
}

impl<'a> Step<'a> {
    /// The payload of a frame.
    pub fn payload(frame: &'a [u8]) -> &'a [u8] {
        frame.get(FRAME_HEADER..).unwrap_or(&[])
    }
}

/// Walks over the frames of a file from a position on.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    budget: usize,
}

impl<'a> Walk<'a> {
    /// From behind the header on.
    pub fn new(bytes: &'a [u8]) -> Walk<'a> {
        Walk::from(bytes, HEADER)
    }

    /// From an offset on.
    pub fn from(bytes: &'a [u8], at: usize) -> Walk<'a> {
        Walk { bytes, at, budget: SEARCH_BUDGET }
    }

    /// Where it stands.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The frame at an offset where it is intact, else both checksums.
    fn frame(&self, at: usize) -> Result<&'a [u8], (u32, u32)> {
        let length = u32_at(self.bytes, at).ok_or((0, 0))? as usize;
        let expected = u32_at(self.bytes, at + 4).ok_or((0, 0))?;
        if length > MAX_PAYLOAD {
            return Err((expected, 0));
        }
        let payload_at = at + FRAME_HEADER;
        let payload = self.bytes.get(payload_at..payload_at + length).ok_or((expected, 0))?;
        if self.bytes.len() < payload_at + length + LINK {
            return Err((expected, 0));
        }
        let found = crc32c::crc32c(payload);
        // A row of zeros has a right checksum but is no record.
        if found != expected || length == 0 {
            return Err((expected, found));
        }
        Ok(&self.bytes[at..payload_at + length])
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let offset = self.at;
        match self.frame(offset) {
            Ok(frame) => {
                let end = offset + frame.len();
                let mut link = [0; LINK];
                link.copy_from_slice(&self.bytes[end..end + LINK]);
                self.at = end + LINK;
                Some(Step::Frame { frame, link })
            }
            Err((expected, found)) => {
                let mut next = offset + 1;
                while next + FRAME_HEADER + LINK <= self.bytes.len() && self.budget > 0 {
                    let length = u32_at(self.bytes, next).map_or(0, |l| l as usize);
                    if length <= MAX_PAYLOAD && length <= self.bytes.len() - next {
                        self.budget = self.budget.saturating_sub(length);
                        if self.frame(next).is_ok_and(|f| decode(Step::payload(f)).is_ok()) {
                            self.at = next;
                            return Some(Step::Damaged { offset, expected, found });
                        }
                    }
                    next += 1;
                }
                self.at = self.bytes.len();
                Some(Step::Torn { offset })
            }
        }
    }
}

/// The numbers and lengths of the segments, in order.
pub(crate) fn list(places: &Places) -> Result<Vec<(u64, u64)>, StoreError> {
    let folder = places.segments();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(StoreError::io("read", &folder, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| StoreError::io("read", &folder, e))?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|n| n.strip_suffix(".hl")).filter(|n| n.len() == 20);
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            match entry.metadata() {
                Ok(metadata) => found.push((number, metadata.len())),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(StoreError::io("read", &entry.path(), e)),
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What a segment holds, as its writer must know it.
#[derive(Clone, Copy, Debug)]
struct Content {
    length: usize,
    chain: [u8; LINK],
    last_id: u64,
    last_own: u64,
}

/// Walks a segment to the end of its last intact frame.
fn content(bytes: &[u8], header: &Header) -> Content {
    let mut end =
        Content { length: HEADER, chain: header.chain, last_id: header.last_id, last_own: header.last_own };
    let mut walk = Walk::new(bytes);
    let mut after_damage = false;
    while let Some(step) = walk.next() {
        match step {
            Step::Frame { frame, link: stored } => {
                // The link is written last: where the file ends with a wrong one, the frame wasn't finished.
                let last = walk.offset() == bytes.len();
                if last && !after_damage && link(&end.chain, frame) != stored {
                    break;
                }
                after_damage = false;
                if let Ok(record) = decode(Step::payload(frame)) {
                    let id = record.id.0;
                    let highest = if id & OWN == 0 { &mut end.last_id } else { &mut end.last_own };
                    *highest = id.max(*highest);
                }
                (end.length, end.chain) = (walk.offset(), stored);
            }
            Step::Damaged { .. } => after_damage = true,
            Step::Torn { .. } => break,
        }
    }
    end
}

/// The highest id of the owner's records in the segments; 0 for none.
pub(crate) fn last_id(places: &Places) -> Result<u64, StoreError> {
    for (number, _) in list(places)?.into_iter().rev() {
        let path = places.segment(number);
        let bytes = std::fs::read(&path).map_err(|e| StoreError::io("read", &path, e))?;
        match Header::parse(&bytes) {
            Ok(header) => return Ok(content(&bytes, &header).last_id),
            Err(HeaderError::Newer(version)) => {
                return Err(StoreError::Newer { path, version: version.into() });
            }
            Err(HeaderError::Damaged) => {}
        }
    }
    Ok(0)
}

/// The one writer of segments.
#[derive(Debug)]
pub(crate) struct Writer {
    places: Places,
    file: File,
    number: u64,
    length: u64,
    chain: [u8; LINK],
    /// The highest id of the owner's records.
    pub last_id: u64,
    /// The highest id of the recorder's own.
    pub last_own: u64,
    sealed: Vec<(u64, u64)>,
    batch: Vec<u8>,
    batch_end: Option<([u8; LINK], u64, u64)>,
    unsynced: bool,
}

impl Writer {
    /// Opens the last segment behind its last intact frame, or makes the first.
    ///
    /// # Errors
    /// A newer format, and what the system refuses.
    pub fn open(places: &Places) -> Result<Writer, StoreError> {
        let mut sealed = list(places)?;
        while let Some((number, _)) = sealed.pop() {
            let path = places.segment(number);
            let bytes = std::fs::read(&path).map_err(|e| StoreError::io("read", &path, e))?;
            let header = match Header::parse(&bytes) {
                Ok(header) => header,
                Err(HeaderError::Newer(version)) => {
                    return Err(StoreError::Newer { path, version: version.into() });
                }
                Err(HeaderError::Damaged) if bytes.len() < HEADER => {
                    // Killed while it was made: it holds nothing.
                    std::fs::remove_file(&path).map_err(|e| StoreError::io("remove", &path, e))?;
                    continue;
                }
                Err(HeaderError::Damaged) => {
                    sealed.push((number, bytes.len() as u64));
                    let last_id = last_id(places)?.max(number);
                    return Writer::create(places, sealed, [0; LINK], last_id, OWN | last_id);
                }
            };
            let end = content(&bytes, &header);
            let file = open_private(&path).map_err(|e| StoreError::io("open", &path, e))?;
            let length = end.length as u64;
            if length < bytes.len() as u64 {
                file.set_len(length).map_err(|e| StoreError::io("cut", &path, e))?;
            }
            return Ok(Writer {
                places: places.clone(),
                file,
                number,
                length,
                chain: end.chain,
                last_id: end.last_id,
                last_own: end.last_own,
                sealed,
                batch: Vec::new(),
                batch_end: None,
                unsynced: true,
            });
        }
        let start = match std::fs::read(places.folded()).ok().map(|b| Header::parse(&b)) {
            Some(Ok(folded)) => folded,
            _ => Header { kind: Kind::Folded, chain: [0; LINK], last_id: 0, last_own: 0, number: 0 },
        };
        Writer::create(places, sealed, start.chain, start.last_id, start.last_own)
    }

    fn create(
        places: &Places,
        sealed: Vec<(u64, u64)>,
        chain: [u8; LINK],
        last_id: u64,
        last_own: u64,
    ) -> Result<Writer, StoreError> {
        let number = sealed.last().map_or(0, |s| s.0 + 1).max(last_id + 1);
        let path = places.segment(number);
        let header = Header { kind: Kind::Segment, chain, last_id, last_own, number };
        let file = open_private(&path).map_err(|e| StoreError::io("create", &path, e))?;
        if let Err(e) = file.write_all_at(&header.bytes(), 0) {
            let _ = std::fs::remove_file(&path);
            return Err(StoreError::io("write", &path, e));
        }
        Ok(Writer {
            places: places.clone(),
            file,
            number,
            length: HEADER as u64,
            chain,
            last_id,
            last_own,
            sealed,
            batch: Vec::new(),
            batch_end: None,
            unsynced: true,
        })
    }

    /// The id that the next own record gets: above all own ones, and not below the owner's last.
    pub fn next_own(&self) -> u64 {
        let (_, last_id, last_own) = self.batch_end.unwrap_or((self.chain, self.last_id, self.last_own));
        (last_own + 1).max(OWN | last_id)
    }

    /// Adds a record to the batch, unless it is there already.
    pub fn push(&mut self, id: u64, payload: &[u8]) {
        let (mut chain, mut last_id, mut last_own) =
            self.batch_end.unwrap_or((self.chain, self.last_id, self.last_own));
        if id & OWN == 0 {
            if id <= last_id {
                return;
            }
            last_id = id;
        } else {
            last_own = last_own.max(id);
        }
        put_frame(&mut self.batch, &mut chain, payload);
        self.batch_end = Some((chain, last_id, last_own));
    }

    /// Bytes in the batch.
    pub fn batch_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Writes the batch. On failure the segment is as before and the batch forgotten.
    ///
    /// # Errors
    /// As pwrite(2).
    pub fn commit(&mut self) -> io::Result<()> {
        let Some((chain, last_id, last_own)) = self.batch_end.take() else { return Ok(()) };
        let result = self.file.write_all_at(&self.batch, self.length);
        match result {
            Ok(()) => {
                self.length += self.batch.len() as u64;
                (self.chain, self.last_id, self.last_own) = (chain, last_id, last_own);
                self.unsynced = true;
            }
            Err(_) => {
                let _ = self.file.set_len(self.length);
            }
        }
        self.batch.clear();
        if self.batch.capacity() > 16 << 10 {
            self.batch = Vec::new();
        }
        result
    }

    /// Puts what was written on the device.
    ///
    /// # Errors
    /// As fdatasync(2).
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            self.file.sync_data()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Seals the current segment and begins the next.
    ///
    /// # Errors
    /// What the system refuses; then the current one goes on.
    pub fn rotate(&mut self) -> Result<(), StoreError> {
        let path = self.places.segment(self.number);
        self.sync().map_err(|e| StoreError::io("store", &path, e))?;
        let mut sealed = self.sealed.clone();
        sealed.push((self.number, self.length));
        *self = Writer::create(&self.places, sealed, self.chain, self.last_id, self.last_own)?;
        sync_folder(&self.places.segments());
        Ok(())
    }

    /// Length of the current segment in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Numbers and lengths of the sealed segments, oldest first.
    pub fn sealed(&self) -> &[(u64, u64)] {
        &self.sealed
    }

    /// A sealed segment is gone.
    pub fn removed(&mut self, number: u64) {
        self.sealed.retain(|s| s.0 != number);
    }
}

/// Makes names in a folder durable. Where the system can't, there is nothing to do about it.
pub(crate) fn sync_folder(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}
