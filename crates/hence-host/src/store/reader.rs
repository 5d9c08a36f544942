//! Reading a ledger, while hence runs or not: what is folded, the segments, the ring, in order, each
//! record once.
//!
//! It takes no lock, changes nothing, and goes on over damage, which it states. It waits for nothing:
//! what is written after it began may be missing.

mod newest_first;

pub use newest_first::NewestFirst;

use super::ring::layout::{self, Cursor, Next, Source};
use super::segment::{self, HEADER, Kind, LINK, Step, Walk};
use super::{OWN, Places, StoreError};
use hence_ledger::{Certainty, DecodeError, Fact, GapReason, Record, RecordId, Stamp, decode};
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Segments that are held open at most; more are opened when it is their turn.
const HELD: usize = 128;

/// Bytes that are no record, where records should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The checksum that stands there.
    pub expected: u32,
    /// The checksum of what stands there; 0 where it ends too early.
    pub found: u32,
    /// What is wrong with a record whose checksum is right.
    pub undecodable: Option<DecodeError>,
}

impl Damage {
    /// It as a fact in its place among the records.
    pub fn fact(&self) -> Fact {
        Fact::Gap { lost: 0, reason: GapReason::Damaged }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is damaged at byte {}: ", self.path.display(), self.offset)?;
        match self.undecodable {
            Some(error) => write!(f, "{error}"),
            None => write!(f, "checksum {:08x} instead of {:08x}", self.found, self.expected),
        }
    }
}

impl std::error::Error for Damage {}

#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: Option<File>,
    number: u64,
}

/// A ledger that is open for reading, as it is at that moment.
#[derive(Debug)]
pub struct Reader {
    folded: Option<(PathBuf, Vec<u8>)>,
    segments: VecDeque<Part>,
    rings: VecDeque<(PathBuf, Ring)>,
}

#[derive(Debug)]
enum Ring {
    Live(Vec<u8>),
    Aside,
}

/// A break in the chain of records: something was changed, or is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// In which file.
    pub path: PathBuf,
    /// Where in it; 0 where it doesn't continue the file before it.
    pub offset: u64,
}

/// What [`Reader::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records whose chain was checked.
    pub records: u64,
    /// Where the chain breaks; empty where all is as it was written.
    pub breaks: Vec<Break>,
    /// The chain's end: who keeps it elsewhere can tell later that nothing before it was changed.
    pub end: [u8; LINK],
}

fn read_error(path: &Path, e: std::io::Error) -> StoreError {
    StoreError::io("read", path, e)
}

impl Reader {
    /// Opens a ledger.
    ///
    /// # Errors
    /// [`StoreError::NotALedger`], [`StoreError::Newer`], and what the system refuses.
    pub fn open(ledger: &Path) -> Result<Reader, StoreError> {
        let places = Places::new(ledger);
        std::fs::read_dir(ledger).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                StoreError::NotALedger { path: ledger.to_owned() }
            }
            _ => read_error(ledger, e),
        })?;
        // The ring first: what the recorder takes out of it from now on is in the segments by the time
        // they are read.
        let mut rings: VecDeque<_> =
            layout::put_aside(&places).into_iter().map(|path| (path, Ring::Aside)).collect();
        let ring_path = places.ring();
        let ring = snapshot(&ring_path)?;
        let segments_listed = segment::list(&places)?;
        if ring.is_none() && segments_listed.is_empty() && !places.folded().exists() {
            return Err(StoreError::NotALedger { path: ledger.to_owned() });
        }
        rings.extend(ring.map(|bytes| (ring_path, Ring::Live(bytes))));
        // Segments before what is folded: one that is folded in between is then known to be.
        let mut segments = VecDeque::new();
        for (number, _) in segments_listed {
            let path = places.segment(number);
            let file = if segments.len() < HELD {
                match File::open(&path) {
                    Ok(file) => Some(file),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(read_error(&path, e)),
                }
            } else {
                None
            };
            segments.push_back(Part { path, file, number });
        }
        let folded_path = places.folded();
        let folded = match std::fs::read(&folded_path) {
            Ok(bytes) => {
                if let Some(header) = usable(&folded_path, &bytes)? {
                    segments.retain(|part| part.number > header.number);
                }
                Some((folded_path, bytes))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(read_error(&folded_path, e)),
        };
        // A newer format is told before the first record, not in the middle.
        for part in &mut segments {
            if let Some(file) = &part.file {
                let mut start = vec![0; HEADER];
                let got = file.read_into(&mut start, 0).map_err(|e| read_error(&part.path, e))?;
                usable(&part.path, &start[..got])?;
            }
        }
        Ok(Reader { folded, segments, rings })
    }

    /// All records in order, and damage where it is.
    pub fn records(self) -> Records {
        Records { reader: self, current: None, ready: VecDeque::new(), last_id: 0 }
    }

    /// Checks the chain from what is folded to the last segment. Damage breaks it too.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn verify(mut self) -> Result<Verified, StoreError> {
        let mut verified = Verified::default();
        let mut chain = None;
        if let Some((path, bytes)) = self.folded.take() {
            chain = check(&path, &bytes, Kind::Folded, None, false, &mut verified);
        }
        while let Some(part) = self.segments.pop_front() {
            let last = self.segments.is_empty();
            if let Some(bytes) = load(&part)? {
                chain = check(&part.path, &bytes, Kind::Segment, chain, last, &mut verified).or(chain);
            }
        }
        verified.end = chain.unwrap_or_default();
        Ok(verified)
    }
}

/// Checks one file; its end of the chain, for what is folded the end of the removed segments.
fn check(
    path: &Path,
    bytes: &[u8],
    kind: Kind,
    before: Option<[u8; LINK]>,
    last: bool,
    verified: &mut Verified,
) -> Option<[u8; LINK]> {
    let mut broken = |offset: usize| {
        verified.breaks.push(Break { path: path.to_owned(), offset: offset as u64 });
    };
    let Ok(header) = segment::Header::parse(bytes) else {
        if !(last && bytes.len() < HEADER) {
            broken(0);
        }
        return None;
    };
    if header.kind != kind || before.is_some_and(|before| before != header.chain) {
        broken(0);
    }
    let mut chain = header.chain;
    let mut walk = Walk::new(bytes);
    let mut at = walk.offset();
    while let Some(step) = walk.next() {
        match step {
            Step::Frame { frame, link } => {
                if segment::link(&chain, frame) == link {
                    verified.records += 1;
                } else {
                    broken(at);
                }
                chain = link;
            }
            Step::Damaged { offset, .. } => broken(offset),
            // The end of the last one may be in the writing.
            Step::Torn { offset } if !last => broken(offset),
            Step::Torn { .. } => {}
        }
        at = walk.offset();
    }
    Some(if kind == Kind::Folded { header.chain } else { chain })
}

/// The header where there is a sound one.
pub(super) fn usable(path: &Path, bytes: &[u8]) -> Result<Option<segment::Header>, StoreError> {
    match segment::Header::parse(bytes) {
        Ok(header) => Ok(Some(header)),
        Err(segment::HeaderError::Damaged) => Ok(None),
        Err(segment::HeaderError::Newer(version)) => {
            Err(StoreError::Newer { path: path.to_owned(), version: version.into() })
        }
    }
}

fn load(part: &Part) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bytes = Vec::new();
    let read = match &part.file {
        Some(file) => (&*file).read_to_end(&mut bytes),
        None => File::open(&part.path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(read_error(&part.path, e)),
    }
}

/// A copy of the ring from its tail on, consistent while owner and recorder go on. `None`: there is none.
fn snapshot(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(read_error(path, e)),
    };
    let length = file.metadata().map_err(|e| read_error(path, e))?.len().min(2 << 30);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    match layout::Header::read(&file) {
        Err(layout::HeaderError::Newer(version)) => {
            return Err(StoreError::Newer { path: path.to_owned(), version });
        }
        Err(layout::HeaderError::Io(e)) => return Err(read_error(path, e)),
        Ok(_) | Err(layout::HeaderError::Damaged) => {}
    }
    let mut seen = None;
    for _ in 0..8 {
        bytes.resize(usize::try_from(length).unwrap_or(0), 0);
        let got = file.read_into(&mut bytes, 0).map_err(|e| read_error(path, e))?;
        bytes.truncate(got);
        // The tail as it is after the copy: no byte behind it was overwritten before it.
        let head = bytes.len().min(HEADER_PAGE);
        file.read_into(&mut bytes[..head], 0).map_err(|e| read_error(path, e))?;
        // A record may be written behind the place that was just copied, and one more before that which
        // comes: a hole that another look fills. One that stays is damage.
        let hole = hole(&bytes);
        if hole.is_none() || hole == seen {
            break;
        }
        seen = hole;
    }
    Ok(Some(bytes))
}

const HEADER_PAGE: usize = layout::HEADER as usize;

#[derive(Debug)]
struct Current {
    path: PathBuf,
    bytes: Vec<u8>,
    at: usize,
    last: bool,
    begun: bool,
}

/// The records of a ledger, one after another.
#[derive(Debug)]
pub struct Records {
    reader: Reader,
    current: Option<Current>,
    ready: VecDeque<Result<Record, Damage>>,
    last_id: u64,
}

impl Records {
    /// The next file of frames. `None`: none is left.
    fn open_next(&mut self) -> Option<Current> {
        if let Some((path, bytes)) = self.reader.folded.take() {
            return Some(Current { path, bytes, at: 0, last: false, begun: false });
        }
        let part = self.reader.segments.pop_front()?;
        let last = self.reader.segments.is_empty();
        let bytes = match load(&part) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                // Folded since it was listed; its turn came too late.
                let gap = Fact::Gap { lost: 0, reason: GapReason::Retention };
                self.ready.push_back(Ok(note(part.number, gap)));
                Vec::new()
            }
            Err(_) => {
                self.ready.push_back(Err(damage(&part.path, 0, 0, 0)));
                Vec::new()
            }
        };
        Some(Current { path: part.path, bytes, at: 0, last, begun: false })
    }

    /// The next of the current file. `None`: it is at its end.
    fn step(&mut self) -> Option<Result<Record, Damage>> {
        let current = self.current.as_mut()?;
        if !current.begun {
            current.begun = true;
            current.at = HEADER;
            match segment::Header::parse(&current.bytes) {
                Ok(header) if header.kind == Kind::Segment => {
                    self.last_id = self.last_id.max(header.last_id);
                }
                Ok(_) => {}
                Err(_) if current.bytes.is_empty() || current.last && current.bytes.len() < HEADER => {
                    return None;
                }
                Err(_) => return Some(Err(damage(&current.path, 0, 0, 0))),
            }
        }
        let mut walk = Walk::from(&current.bytes, current.at);
        let offset = current.at as u64;
        let step = walk.next()?;
        current.at = walk.offset();
        match step {
            Step::Frame { frame, .. } => Some(match decode(Step::payload(frame)) {
                Ok(record) => {
                    if record.id.0 & OWN == 0 {
                        self.last_id = self.last_id.max(record.id.0);
                    }
                    Ok(record)
                }
                Err(error) => Err(Damage { undecodable: Some(error), ..damage(&current.path, offset, 0, 0) }),
            }),
            Step::Damaged { offset, expected, found } => {
                Some(Err(damage(&current.path, offset as u64, expected, found)))
            }
            Step::Torn { offset } if !current.last => Some(Err(damage(&current.path, offset as u64, 0, 0))),
            Step::Torn { .. } => None,
        }
    }

    /// What the rings have beyond the segments. `false`: there are no more.
    fn open_ring(&mut self) -> bool {
        let Some((path, ring)) = self.reader.rings.pop_front() else { return false };
        let mut found = Vec::new();
        match ring {
            Ring::Live(bytes) => live(&path, &bytes, &mut found),
            Ring::Aside => {
                if let Ok(file) = File::open(&path) {
                    let _ = layout::salvage_records(&file, |record, _| found.push(Ok(record)));
                }
            }
        }
        for item in found {
            match &item {
                Ok(record) if record.id.0 <= self.last_id => continue,
                Ok(record) => self.last_id = record.id.0,
                Err(_) => {}
            }
            self.ready.push_back(item);
        }
        true
    }
}

impl Iterator for Records {
    type Item = Result<Record, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if let Some(item) = self.step() {
                return Some(item);
            }
            self.current = self.open_next();
            if self.current.is_none() && self.ready.is_empty() && !self.open_ring() {
                return None;
            }
        }
    }
}

/// The records of a copied ring, and damage between them.
fn live(path: &Path, bytes: &Vec<u8>, found: &mut Vec<Result<Record, Damage>>) {
    let sound = layout::Header::read(bytes).and_then(|h| Ok((h, layout::sound_tail(bytes)?)));
    let Ok((header, tail)) = sound else {
        let _ = layout::salvage_records(bytes, |record, _| found.push(Ok(record)));
        found.push(Err(damage(path, 0, 0, 0)));
        return;
    };
    let limit = tail.position + header.capacity;
    let mut cursor = Cursor::new(bytes, header.capacity, tail.position);
    loop {
        let offset = layout::HEADER + cursor.position() % header.capacity;
        match cursor.next() {
            Ok(Next::Frame(payload)) => found.push(match decode(payload) {
                Ok(record) => Ok(record),
                Err(error) => Err(Damage { undecodable: Some(error), ..damage(path, offset, 0, 0) }),
            }),
            Ok(Next::End) => match cursor.find_next(limit) {
                Ok(Some(position)) => {
                    found.push(Err(damage(path, offset, 0, 0)));
                    cursor.seek(position);
                }
                Ok(None) | Err(_) => return,
            },
            Err(_) => return,
        }
    }
}

/// The first place in a copied ring where no record is but one follows.
fn hole(bytes: &Vec<u8>) -> Option<u64> {
    let header = layout::Header::read(bytes).ok()?;
    let tail = layout::read_tail(bytes).ok()?;
    let mut cursor = Cursor::new(bytes, header.capacity, tail.position);
    while matches!(cursor.next(), Ok(Next::Frame(_))) {}
    cursor.find_next(tail.position + header.capacity).ok()?.map(|_| cursor.position())
}

fn damage(path: &Path, offset: u64, expected: u32, found: u32) -> Damage {
    Damage { path: path.to_owned(), offset, expected, found, undecodable: None }
}

/// A record of the reader's own, for what is missing.
fn note(number: u64, fact: Fact) -> Record {
    Record {
        id: RecordId(number | OWN),
        at: Stamp::default(),
        unit: None,
        invocation: None,
        causes: Vec::new(),
        certainty: Certainty::Observed,
        fact,
    }
}
