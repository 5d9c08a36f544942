//! The ring's bytes, for those who write them and those who read them.
//!
//! A header page with magic, version, capacity and boot; in it the tail, which only the recorder writes. Then
//! frames at multiples of 16: length, CRC-32C, absolute position, payload. A frame never goes around the end;
//! a pad does the rest of the lap. The position tells a fresh frame from one of an earlier lap. Nothing here
//! trusts a byte that was read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes before the frames.
pub const HEADER: u64 = 4096;
/// Frames start at multiples of this.
pub const ALIGN: u64 = 16;
/// Longest payload.
pub const MAX_PAYLOAD: usize = 256 << 10;
const FRAME_HEADER: usize = 16;
const PAD: u32 = u32::MAX;
const MAGIC: &[u8; 16] = b"hence-ring\n\0\0\0\0\0";
const VERSION: u32 = hence_ledger::FORMAT_VERSION as u32;
const TAIL_AT: u64 = 128;
const CHUNK: usize = 64 << 10;

/// What the header page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes for frames.
    pub capacity: u64,
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// When the ring was made.
    pub made_us: u64,
}

/// Why a header can't be used.
#[derive(Debug)]
pub enum HeaderError {
    /// It is no header.
    Damaged,
    /// A newer hence made it.
    Newer(u32),
    /// It could not be read.
    Io(io::Error),
}

/// What the recorder has stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Up to which position.
    pub position: u64,
    /// The highest record id of the owner's among that; 0 for none.
    pub last_id: u64,
}

/// Something that bytes are read from: a file, or a copy of one.
pub trait Source {
    /// Reads what is there at `offset`, up to the end.
    ///
    /// # Errors
    /// As pread(2).
    fn read_into(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Its length.
    ///
    /// # Errors
    /// As fstat(2).
    fn length(&self) -> io::Result<u64>;
}

impl Source for File {
    fn read_into(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for Vec<u8> {
    fn read_into(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|o| self.get(o..)).unwrap_or(&[]);
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

impl Header {
    fn bytes(&self) -> [u8; 64] {
        let mut b = [0; 64];
        b[..16].copy_from_slice(MAGIC);
        b[16..20].copy_from_slice(&VERSION.to_le_bytes());
        b[24..32].copy_from_slice(&self.capacity.to_le_bytes());
        b[32..48].copy_from_slice(&self.boot);
        b[48..56].copy_from_slice(&self.made_us.to_le_bytes());
        let crc = crc32c::crc32c(&b);
        b[20..24].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// Writes it.
    ///
    /// # Errors
    /// As pwrite(2).
    pub fn write(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.bytes(), 0)
    }

    /// Reads and checks it.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn read(source: &impl Source) -> Result<Header, HeaderError> {
        let mut b = [0; 64];
        let got = source.read_into(&mut b, 0).map_err(HeaderError::Io)?;
        if got < b.len() || &b[..16] != MAGIC {
            return Err(HeaderError::Damaged);
        }
        let version = u32_at(&b, 16);
        if version > VERSION {
            return Err(HeaderError::Newer(version));
        }
        let crc = u32_at(&b, 20);
        b[20..24].fill(0);
        let capacity = u64_at(&b, 24);
        let length = source.length().map_err(HeaderError::Io)?;
        let sound = crc32c::crc32c(&b) == crc
            && capacity >= HEADER
            && capacity.is_multiple_of(HEADER)
            && capacity.checked_add(HEADER).is_some_and(|need| need <= length);
        if !sound {
            return Err(HeaderError::Damaged);
        }
        let mut boot = [0; 16];
        boot.copy_from_slice(&b[32..48]);
        Ok(Header { capacity, boot, made_us: u64_at(&b, 48) })
    }
}

/// Writes the tail. The recorder's alone.
///
/// # Errors
/// As pwrite(2).
pub fn write_tail(file: &File, tail: Tail) -> io::Result<()> {
    let mut b = [0; 20];
    b[..8].copy_from_slice(&tail.position.to_le_bytes());
    b[8..16].copy_from_slice(&tail.last_id.to_le_bytes());
    let crc = crc32c::crc32c(&b[..16]);
    b[16..].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&b, TAIL_AT)
}

/// Reads the tail.
///
/// # Errors
/// `InvalidData` where it is damaged, else as pread(2).
pub fn read_tail(source: &impl Source) -> io::Result<Tail> {
    // A reader may see a write of the recorder half done: then the next look finds it whole.
    for _ in 0..16 {
        let mut b = [0; 20];
        source.read_into(&mut b, TAIL_AT)?;
        let position = u64_at(&b, 0);
        // Positions near the end of their range only come from damage; sums must not overflow.
        if crc32c::crc32c(&b[..16]) == u32_at(&b, 16) && position.is_multiple_of(ALIGN) && position < 1 << 62
        {
            return Ok(Tail { position, last_id: u64_at(&b, 8) });
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the ring's tail is damaged"))
}

/// Reads the tail of a ring that is being opened.
///
/// # Errors
/// See [`HeaderError`].
pub fn sound_tail(source: &impl Source) -> Result<Tail, HeaderError> {
    read_tail(source).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => HeaderError::Damaged,
        _ => HeaderError::Io(e),
    })
}

/// The kernel's boot id; zeros where it can't be read.
pub fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter_map(|b| (b as char).to_digit(16)).map(|d| d as u8).collect();
    let mut id = [0; 16];
    id.iter_mut().zip(digits.chunks_exact(2)).for_each(|(byte, pair)| *byte = pair[0] << 4 | pair[1]);
    id
}

/// Bytes of a frame with a payload of this length.
pub fn frame_bytes(payload: usize) -> u64 {
    (FRAME_HEADER + payload).next_multiple_of(ALIGN as usize) as u64
}

/// Appends a frame.
pub fn put_frame(out: &mut Vec<u8>, position: u64, payload: &[u8]) {
    let start = out.len();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), payload);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(start + frame_bytes(payload.len()) as usize, 0);
}

/// Appends a pad: nothing more up to the end of the lap.
pub fn put_pad(out: &mut Vec<u8>, position: u64) {
    out.extend_from_slice(&PAD.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&position.to_le_bytes()).to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
}

/// What a cursor finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// An intact payload; the cursor stands behind it.
    Frame(&'a [u8]),
    /// Nothing intact here; the cursor stays.
    End,
}

enum Parsed {
    Frame(usize),
    Pad,
    Nothing,
}

/// Reads frames one after another with a small buffer.
#[derive(Debug)]
pub struct Cursor<S> {
    source: S,
    capacity: u64,
    position: u64,
    buffer: Vec<u8>,
    filled: usize,
    start: u64,
}

impl<S: std::ops::Deref<Target: Source>> Cursor<S> {
    /// Starts at a position.
    pub fn new(source: S, capacity: u64, position: u64) -> Self {
        Cursor { source, capacity, position, buffer: Vec::new(), filled: 0, start: 0 }
    }

    /// Where it stands.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes elsewhere.
    pub fn seek(&mut self, position: u64) {
        self.position = position;
        self.filled = 0;
    }

    /// Forgets what it has read: the next look is at the file as it is then.
    pub fn refresh(&mut self) {
        self.filled = 0;
        self.buffer = Vec::new();
    }

    /// The bytes at a position, at least `need` of them where the lap has so many.
    fn window(&mut self, position: u64, need: usize) -> io::Result<&[u8]> {
        let held = self.start..self.start + self.filled as u64;
        let lap_rest = self.capacity - position % self.capacity;
        let need = need.min(usize::try_from(lap_rest).unwrap_or(need));
        if !(held.contains(&position) && position + need as u64 <= held.end) {
            let want = CHUNK.max(need).min(usize::try_from(lap_rest).unwrap_or(CHUNK));
            if self.buffer.len() < want {
                self.buffer.resize(want, 0);
            }
            self.filled =
                self.source.read_into(&mut self.buffer[..want], HEADER + position % self.capacity)?;
            self.start = position;
        }
        let from = usize::try_from(position - self.start).unwrap_or(0);
        Ok(self.buffer.get(from..self.filled).unwrap_or(&[]))
    }

    fn parse(&mut self, position: u64) -> io::Result<Parsed> {
        let lap_rest = self.capacity - position % self.capacity;
        let window = self.window(position, FRAME_HEADER)?;
        if window.len() < FRAME_HEADER || u64_at(window, 8) != position {
            return Ok(Parsed::Nothing);
        }
        let (length, crc) = (u32_at(window, 0), u32_at(window, 4));
        if length == PAD {
            let sound = crc32c::crc32c(&position.to_le_bytes()) == crc;
            return Ok(if sound { Parsed::Pad } else { Parsed::Nothing });
        }
        let length = length as usize;
        if length > MAX_PAYLOAD || frame_bytes(length) > lap_rest {
            return Ok(Parsed::Nothing);
        }
        let window = self.window(position, FRAME_HEADER + length)?;
        let Some(payload) = window.get(FRAME_HEADER..FRAME_HEADER + length) else {
            return Ok(Parsed::Nothing);
        };
        let found = crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), payload);
        Ok(if found == crc { Parsed::Frame(length) } else { Parsed::Nothing })
    }

    /// The next intact frame.
    ///
    /// # Errors
    /// As pread(2).
    pub fn next(&mut self) -> io::Result<Next<'_>> {
        loop {
            let at = self.position;
            match self.parse(at)? {
                Parsed::Nothing => return Ok(Next::End),
                Parsed::Pad => self.position += self.capacity - at % self.capacity,
                Parsed::Frame(length) => {
                    self.position += frame_bytes(length);
                    let window = self.window(at, FRAME_HEADER + length)?;
                    return Ok(Next::Frame(window.get(FRAME_HEADER..FRAME_HEADER + length).unwrap_or(&[])));
                }
            }
        }
    }

    /// The next intact frame behind the one where it stands, before `limit`. The cursor stays.
    ///
    /// # Errors
    /// As pread(2).
    pub fn find_next(&mut self, limit: u64) -> io::Result<Option<u64>> {
        let mut position = self.position + ALIGN;
        while position < limit {
            if matches!(self.parse(position)?, Parsed::Frame(_)) {
                return Ok(Some(position));
            }
            position += ALIGN;
        }
        Ok(None)
    }
}

/// The positions of all intact frames of a ring whose header or tail is damaged, in order.
///
/// # Errors
/// As pread(2).
pub fn salvage(source: &impl Source) -> io::Result<(u64, Vec<u64>)> {
    let capacity = match Header::read(source) {
        Ok(header) => header.capacity,
        Err(_) => source.length()?.saturating_sub(HEADER) / HEADER * HEADER,
    };
    let mut found = Vec::new();
    if capacity > 0 {
        let mut cursor = Cursor::new(source, capacity, 0);
        for offset in (0..capacity).step_by(ALIGN as usize) {
            let head = cursor.window(offset, FRAME_HEADER)?;
            let position = u64_at(head, 8);
            if position % capacity != offset || position >= 1 << 62 {
                continue;
            }
            let mut at = Cursor::new(source, capacity, position);
            if matches!(at.parse(position)?, Parsed::Frame(_)) {
                found.push(position);
            }
        }
    }
    found.sort_unstable();
    Ok((capacity, found))
}

/// The rings that were put aside, oldest first.
pub fn put_aside(places: &crate::store::Places) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(&places.folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("ring-old-"))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Removes a ring that was put aside, and what it links to.
///
/// # Errors
/// As unlink(2).
pub fn remove_aside(path: &std::path::Path) -> io::Result<()> {
    if let Ok(target) = std::fs::read_link(path) {
        let _ = std::fs::remove_file(target);
    }
    std::fs::remove_file(path)
}

/// All records that can be read of a ring that nobody writes to: from its tail on where it has one, else
/// whatever is intact.
///
/// # Errors
/// As pread(2).
pub fn salvage_records(
    source: &impl Source,
    mut each: impl FnMut(hence_ledger::Record, &[u8]),
) -> io::Result<()> {
    let sound = Header::read(source).and_then(|h| Ok((h, sound_tail(source)?)));
    let from = sound.map_or(0, |(_, tail)| tail.position);
    let (capacity, positions) = salvage(source)?;
    let mut cursor = Cursor::new(source, capacity.max(HEADER), 0);
    for position in positions.into_iter().filter(|p| *p >= from) {
        cursor.seek(position);
        if let Next::Frame(payload) = cursor.next()?
            && let Ok(record) = hence_ledger::decode(payload)
        {
            each(record, payload);
        }
    }
    Ok(())
}
