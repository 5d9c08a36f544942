//! One journal file as it is read: ours or systemd-journald's, being written, archived or torn. Every offset
//! and length is looked at before it is used, and every walk only goes forward, so a hostile file costs no
//! more than its size. It is read in pieces, never mapped: a file that gets shorter is an end and no signal.

use super::super::layout::{
    self, ARRAY_HEAD, DATA, ENTRY, ENTRY_ARRAY, ENTRY_HEAD, FIELD, HEADER, OBJECT, Shape,
};
use rustix::fs::OFlags;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The header of the oldest files that are read, in bytes.
const OLDEST_HEADER: u64 = 208;
const SIGNATURE: &[u8] = b"LPKSHHRH";
/// Flags of the header without which it can't be read.
const XZ: u32 = 1;
const LZ4: u32 = 1 << 1;
const KEYED: u32 = 1 << 2;
const ZSTD: u32 = 1 << 3;
const COMPACT: u32 = 1 << 4;
/// Bytes that are read at once, and how many such pieces are kept.
const PIECE: usize = 16 << 10;
const PIECES: usize = 32;
/// The longest field that is read whole, in bytes; systemd-journald takes no longer entries than a few MiB.
const LONGEST: u64 = 16 << 20;
/// Fields of an entry.
const FIELDS: usize = 1024;
/// Objects with one hash, one name, or arrays of one chain that are looked at.
const LINKS: usize = 1 << 20;
/// Short fields that are kept, since many entries have them.
const KEPT: usize = 4096;
const SHORT: u64 = 512;

/// A field with its value as it is in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// `NAME=VALUE`
    Plain(Rc<[u8]>),
    /// Compressed in a way that can't be undone here: which, and how many bytes it is.
    Packed(&'static str, u64),
    /// More bytes than are read.
    TooLong(u64),
}

/// What of an entry is in its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub at: u64,
    pub size: u64,
    pub seqnum: u64,
    pub realtime_us: u64,
    pub monotonic_us: u64,
    pub boot: [u8; 16],
    pub xor: u64,
}

/// A list of entries: those of a field, or all.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// The first one of a field's stands alone.
    first: Option<u64>,
    /// Number of the first item, the array, and how many items it has room for.
    arrays: Vec<(u64, u64, u64)>,
    /// How many there are.
    pub total: u64,
}

/// A journal file that is open.
#[derive(Debug)]
pub(super) struct Volume {
    pub path: PathBuf,
    /// Device and inode: a file keeps them when it is archived.
    pub identity: (u64, u64),
    pub seqnum_id: [u8; 16],
    pub archived: bool,
    file: File,
    file_id: [u8; 16],
    shape: Shape,
    keyed: bool,
    length: u64,
    data_table: (u64, u64),
    field_table: (u64, u64),
    all: u64,
    entries: u64,
    pieces: RefCell<Pieces>,
    kept: RefCell<HashMap<u64, Payload>>,
}

#[derive(Debug, Default)]
struct Pieces {
    by: HashMap<u64, (u64, Rc<[u8]>)>,
    turn: u64,
}

fn id_at(bytes: &[u8], at: usize) -> [u8; 16] {
    bytes.get(at..at + 16).and_then(|b| b.try_into().ok()).unwrap_or_default()
}

impl Volume {
    /// Opens a file. Errors: it can't be read, or is none that this reader knows.
    pub fn open(path: &Path) -> io::Result<Volume> {
        // Something else under such a name is to be refused, not waited for.
        let flags = OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path)?;
        let status = file.metadata()?;
        if !status.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
        }
        let mut volume = Volume {
            path: path.into(),
            identity: (status.dev(), status.ino()),
            seqnum_id: [0; 16],
            archived: false,
            file,
            file_id: [0; 16],
            shape: Shape { compact: false },
            keyed: false,
            length: 0,
            data_table: (0, 0),
            field_table: (0, 0),
            all: 0,
            entries: 0,
            pieces: RefCell::default(),
            kept: RefCell::default(),
        };
        volume.refresh()?;
        Ok(volume)
    }

    /// Looks again at what a writer may have added.
    pub fn refresh(&mut self) -> io::Result<()> {
        let damaged = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
        self.length = self.file.metadata()?.len();
        self.pieces = RefCell::default();
        let mut header = [0; HEADER];
        let got = read_some(&self.file, &mut header, 0)?;
        if got < OLDEST_HEADER as usize || !header.starts_with(SIGNATURE) {
            return Err(damaged("it is no journal file"));
        }
        let flags = layout::u32_at(&header, 12);
        if flags & !(XZ | LZ4 | KEYED | ZSTD | COMPACT) != 0 {
            return Err(damaged("it is of a newer form than this version of hence reads"));
        }
        let number = |at: usize| layout::u64_at(&header, at);
        if number(88) < OLDEST_HEADER || number(88) > self.length {
            return Err(damaged("its header is damaged"));
        }
        self.shape = Shape { compact: flags & COMPACT != 0 };
        self.keyed = flags & KEYED != 0;
        self.archived = header[16] == 2;
        (self.file_id, self.seqnum_id) = (id_at(&header, 24), id_at(&header, 72));
        (self.data_table, self.field_table) = ((number(104), number(112)), (number(120), number(128)));
        (self.entries, self.all) = (number(152), number(176));
        Ok(())
    }

    /// `N` bytes at that place, if the file has them.
    fn read<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut out = [0; N];
        self.fill(&mut out, at)?;
        Some(out)
    }

    fn fill(&self, out: &mut [u8], at: u64) -> Option<()> {
        let mut done = 0;
        while done < out.len() {
            let from = at.checked_add(done as u64)?;
            let piece = self.piece(from / PIECE as u64)?;
            let rest = piece.get((from % PIECE as u64) as usize..).filter(|rest| !rest.is_empty())?;
            let n = rest.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&rest[..n]);
            done += n;
        }
        Some(())
    }

    fn piece(&self, number: u64) -> Option<Rc<[u8]>> {
        let mut pieces = self.pieces.borrow_mut();
        pieces.turn += 1;
        let turn = pieces.turn;
        if let Some((used, piece)) = pieces.by.get_mut(&number) {
            *used = turn;
            return Some(piece.clone());
        }
        if pieces.by.len() >= PIECES {
            let oldest = pieces.by.iter().min_by_key(|(_, (used, _))| *used).map(|(n, _)| *n)?;
            pieces.by.remove(&oldest);
        }
        let mut bytes = vec![0; PIECE];
        let got = read_some(&self.file, &mut bytes, number.checked_mul(PIECE as u64)?).ok()?;
        bytes.truncate(got);
        let piece: Rc<[u8]> = bytes.into();
        pieces.by.insert(number, (turn, piece.clone()));
        Some(piece)
    }

    fn bytes(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        if at.checked_add(length as u64)? > self.length {
            return None;
        }
        let mut out = vec![0; length];
        if length <= PIECE {
            self.fill(&mut out, at)?;
        } else {
            self.file.read_exact_at(&mut out, at).ok()?;
        }
        Some(out)
    }

    /// The size of an object of that kind which is whole.
    fn object(&self, at: u64, kind: u8) -> Option<(u8, u64)> {
        let head = self.read::<OBJECT>(at)?;
        let size = layout::u64_at(&head, 8);
        let whole =
            at != 0 && at.is_multiple_of(8) && size >= OBJECT as u64 && at.checked_add(size)? <= self.length;
        (whole && head[0] == kind).then_some((head[1], size))
    }

    fn number(&self, at: u64) -> Option<u64> {
        Some(u64::from_le_bytes(self.read::<8>(at)?))
    }

    fn hash(&self, payload: &[u8]) -> u64 {
        if self.keyed {
            return layout::hash(&self.file_id, payload);
        }
        layout::lookup3(payload)
    }

    /// Where a field with its value is.
    pub fn data(&self, field: &[u8]) -> Option<u64> {
        let head = self.shape.data_head() as u64;
        self.find(self.data_table, field, DATA, head)
    }

    fn find(&self, table: (u64, u64), payload: &[u8], kind: u8, head: u64) -> Option<u64> {
        let hash = self.hash(payload);
        let place = hash.checked_rem(table.1 / 16)?;
        let mut at = self.number(table.0.checked_add(place * 16)?)?;
        for _ in 0..LINKS {
            if at == 0 {
                return None;
            }
            let (flags, size) = self.object(at, kind)?;
            let same = flags == 0 && size == head + payload.len() as u64 && self.number(at + 16)? == hash;
            if same && self.bytes(at + head, payload.len())? == payload {
                return Some(at);
            }
            let next = self.number(at + u64::from(layout::NEXT_HASH))?;
            at = if next > at { next } else { 0 };
        }
        None
    }

    /// The values that a field has in this file, each with its name; at most so many are added.
    pub fn values(&self, name: &[u8], most: usize, found: &mut std::collections::BTreeSet<Vec<u8>>) {
        let Some(field) = self.find(self.field_table, name, FIELD, layout::FIELD_HEAD as u64) else { return };
        let mut at = self.number(field + u64::from(layout::HEAD_DATA)).unwrap_or(0);
        // Later ones come first.
        let mut seen = std::collections::HashSet::new();
        while at != 0 && found.len() < most && seen.len() < LINKS && seen.insert(at) {
            if self.object(at, DATA).is_none() {
                return;
            }
            if let Some(Payload::Plain(payload)) = self.payload(at) {
                found.insert(payload.to_vec());
            }
            at = self.number(at + 32).unwrap_or(0);
        }
    }

    /// The entries of a field with its value.
    pub fn chain_of(&self, data: u64) -> Option<Chain> {
        self.object(data, DATA)?;
        let total = self.number(data + 56)?;
        let first = self.number(data + u64::from(layout::DATA_ENTRY))?;
        if total == 0 || first == 0 {
            return Some(Chain::default());
        }
        Some(self.chain(Some(first), self.number(data + 48)?, total))
    }

    /// All entries.
    pub fn chain_of_all(&self) -> Chain {
        self.chain(None, self.all, self.entries)
    }

    fn chain(&self, first: Option<u64>, mut at: u64, total: u64) -> Chain {
        let mut chain = Chain { first, arrays: Vec::new(), total };
        let mut number = u64::from(first.is_some());
        while at != 0 && number < total && chain.arrays.len() < LINKS {
            let Some((_, size)) = self.object(at, ENTRY_ARRAY) else { break };
            let room = size.saturating_sub(ARRAY_HEAD as u64) / self.shape.item() as u64;
            if room == 0 {
                break;
            }
            chain.arrays.push((number, at, room));
            number = number.saturating_add(room);
            let next = self.number(at + u64::from(layout::NEXT_ARRAY)).unwrap_or(0);
            // Arrays that lie in each other would make many entries out of few bytes.
            at = if next >= at + size { next } else { 0 };
        }
        // What a torn file says to be there may be missing.
        chain.total = total.min(number);
        chain
    }

    /// Where an entry of a chain is. `None`: it isn't there.
    pub fn entry_at(&self, chain: &Chain, number: u64) -> Option<u64> {
        if number >= chain.total {
            return None;
        }
        if number == 0 && chain.first.is_some() {
            return chain.first;
        }
        let array = chain.arrays.partition_point(|(first, ..)| *first <= number).checked_sub(1)?;
        let (first, at, _) = chain.arrays[array];
        let place = at + ARRAY_HEAD as u64 + (number - first) * self.shape.item() as u64;
        let offset = match self.shape.compact {
            true => u32::from_le_bytes(self.read::<4>(place)?).into(),
            false => self.number(place)?,
        };
        (offset != 0).then_some(offset)
    }

    /// The head of an entry. `None`: there is no whole one.
    pub fn head(&self, at: u64) -> Option<Head> {
        let (_, size) = self.object(at, ENTRY)?;
        if size < ENTRY_HEAD as u64 {
            return None;
        }
        let head = self.read::<ENTRY_HEAD>(at)?;
        Some(Head {
            at,
            size,
            seqnum: layout::u64_at(&head, 16),
            realtime_us: layout::u64_at(&head, 24),
            monotonic_us: layout::u64_at(&head, 32),
            boot: id_at(&head, 40),
            xor: layout::u64_at(&head, 56),
        })
    }

    /// Where the fields of an entry are.
    pub fn items(&self, head: &Head) -> Vec<u64> {
        let item = self.shape.entry_item();
        let count = ((head.size as usize).saturating_sub(ENTRY_HEAD) / item).min(FIELDS);
        let bytes = self.bytes(head.at + ENTRY_HEAD as u64, count * item).unwrap_or_default();
        let offset = |b: &[u8]| if item == 4 { layout::u32_at(b, 0).into() } else { layout::u64_at(b, 0) };
        bytes.chunks_exact(item).map(offset).collect()
    }

    /// A field of an entry. `None`: it is damaged.
    pub fn payload(&self, at: u64) -> Option<Payload> {
        if let Some(known) = self.kept.borrow().get(&at) {
            return Some(known.clone());
        }
        let (flags, size) = self.object(at, DATA)?;
        let head = self.shape.data_head() as u64;
        let length = size.checked_sub(head)?;
        if length > LONGEST {
            return Some(Payload::TooLong(length));
        }
        let bytes = self.bytes(at + head, length as usize)?;
        let payload = match flags & 7 {
            0 => Payload::Plain(bytes.into()),
            4 => match unpack(&bytes) {
                Some(bytes) => Payload::Plain(bytes.into()),
                None => Payload::Packed("zstd", length),
            },
            2 => Payload::Packed("lz4", length),
            _ => Payload::Packed("xz", length),
        };
        if length <= SHORT {
            let mut kept = self.kept.borrow_mut();
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(at, payload.clone());
        }
        Some(payload)
    }

    /// The first entry of a chain that isn't before that time; entries are in order but for set clocks.
    pub fn since(&self, chain: &Chain, realtime_us: u64) -> u64 {
        let (mut low, mut high) = (0, chain.total);
        while low < high {
            let middle = low + (high - low) / 2;
            let head = self.entry_at(chain, middle).and_then(|at| self.head(at));
            // Behind what is torn there is nothing.
            if head.is_some_and(|head| head.realtime_us < realtime_us) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// What zstd made small. `None`: it is damaged, or would become too large.
fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut out = Vec::new();
    let decoder = ruzstd::decoding::StreamingDecoder::new(bytes).ok()?;
    decoder.take(LONGEST + 1).read_to_end(&mut out).ok()?;
    (out.len() as u64 <= LONGEST).then_some(out)
}

fn read_some(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
