//! One journal file that is being written. It grows in memory; [`JournalFile::commit`] writes it.
//!
//! The order of a commit lets a kill at any instant leave every published entry readable, also by its
//! fields: first what is new, behind everything that anybody reads; then items of entry arrays, which count
//! only when a counter says so; then counters and links of fields; then the header. Places of the hash table
//! that lead only to messages may come later, for nobody finds entries by them: [`JournalFile::settle`].

use super::Identity;
use super::fields::Fields;
use super::growth::{Chain, Growth, MOST_ITEMS};
use super::layout::{
    self, DATA, DATA_TABLE, ENTRY, ENTRY_HEAD, FIELD, FIELD_HEAD, FIELD_TABLE, HEADER, Header,
};
use super::layout::{ARRAY_HEAD, OBJECT, Shape, State};
use super::patches::Patches;
use super::table::Table;
use hence_ledger::Stamp;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::unix::fs::FileExt;

const FIELD_BUCKETS: u32 = 1021;
/// A file that is larger is left to others; its table would take too much memory.
const LARGEST: u64 = 512 << 20;
/// What the file is to hold per place of its hash table, in bytes.
const BYTES_PER_BUCKET: u64 = 320;
/// Fields whose place and counters are kept in memory; above it all are forgotten and looked up again.
const HOT: usize = 8 << 10;
/// A chain of equal places that long means that somebody makes them on purpose.
const DEEPEST: u64 = 100;
/// Memory after which a commit is due, in bytes.
const BATCH: usize = 512 << 10;

/// Why an entry wasn't taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another file is to be begun.
    Full,
    /// The entry is larger than a file.
    TooLarge,
    /// What is known of the file doesn't fit to what is in it, or the disk refuses.
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Io(error)
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = layout::u64_at(bytes, 0);
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A field with its value that several entries have.
#[derive(Debug)]
struct Data {
    offset: u32,
    length: u32,
    hash: u64,
    lookup3: u64,
    first: u32,
    entries: u64,
    chain: Chain,
    changed: bool,
}

/// The name of a field.
#[derive(Debug)]
struct Name {
    offset: u32,
    head: u32,
    changed: bool,
}

/// A file being written.
#[derive(Debug)]
pub(super) struct JournalFile {
    pub file: File,
    header: Header,
    growth: Growth,
    table: Table,
    names_table: Table,
    names: Vec<Name>,
    names_by: HashMap<Box<[u8]>, u32>,
    hot: Vec<Data>,
    hot_by: HashMap<u64, u32, BuildHasherDefault<Same>>,
    changed: Vec<u32>,
    /// Says whether what [`Fields`] know of this file is still so.
    serial: u64,
    all: Chain,
    /// Items of arrays, and links between them.
    items: Patches,
    /// Counters and links of fields, places of the tables.
    links: Patches,
    reserved: u64,
    most: u64,
    varying: Vec<Place>,
}

/// A field of the entry that is being made.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u32,
    hash: u64,
    lookup3: u64,
    hot: Option<u32>,
}

impl JournalFile {
    /// Begins a file of at most `most` bytes.
    pub fn begin(
        file: File,
        identity: &Identity,
        seqnum_id: [u8; 16],
        most: u64,
        serial: u64,
    ) -> io::Result<JournalFile> {
        let shape = Shape { compact: identity.compact };
        let most = most.clamp(256 << 10, u32::MAX.into());
        let buckets = (most / BYTES_PER_BUCKET).max(1000) as u32;
        let field_table = layout::aligned(HEADER as u64) + OBJECT as u64;
        let data_table = field_table + u64::from(FIELD_BUCKETS) * 16 + OBJECT as u64;
        let end = data_table + u64::from(buckets) * 16;
        let header = Header {
            shape,
            state: State::Online,
            file_id: super::random_id(),
            machine_id: identity.machine,
            boot_id: identity.boot,
            seqnum_id,
            arena_size: end - HEADER as u64,
            data_table: (data_table, u64::from(buckets) * 16),
            field_table: (field_table, u64::from(FIELD_BUCKETS) * 16),
            tail_object: data_table - OBJECT as u64,
            objects: 2,
            entries: 0,
            tail_seqnum: 0,
            head_seqnum: 0,
            array: 0,
            head_realtime: 0,
            tail_realtime: 0,
            tail_monotonic: 0,
            data: 0,
            fields: 0,
            arrays: 0,
            data_depth: 0,
            field_depth: 0,
            tail_array: 0,
            tail_array_used: 0,
        };
        let mut journal = JournalFile::new(file, header, most, serial);
        journal.reserve(end)?;
        for (table, kind) in
            [(journal.header.field_table, FIELD_TABLE), (journal.header.data_table, DATA_TABLE)]
        {
            let mut object = [0; OBJECT];
            object[0] = kind;
            object[8..].copy_from_slice(&(table.1 + OBJECT as u64).to_le_bytes());
            journal.file.write_all_at(&object, table.0 - OBJECT as u64)?;
        }
        journal.write_header()?;
        Ok(journal)
    }

    fn new(file: File, header: Header, most: u64, serial: u64) -> JournalFile {
        JournalFile {
            growth: Growth {
                shape: header.shape,
                end: (header.data_table.0 + header.data_table.1) as u32,
                bytes: Vec::new(),
                tail_object: header.tail_object as u32,
                objects: header.objects,
                arrays: header.arrays,
            },
            table: Table::new((header.data_table.1 / 16) as u32, header.data_table.0 as u32),
            names_table: Table::new((header.field_table.1 / 16) as u32, header.field_table.0 as u32),
            file,
            header,
            names: Vec::new(),
            names_by: HashMap::new(),
            hot: Vec::new(),
            hot_by: HashMap::default(),
            changed: Vec::new(),
            serial,
            all: Chain::default(),
            items: Patches::default(),
            links: Patches::default(),
            reserved: 0,
            most,
            varying: Vec::new(),
        }
    }

    /// Goes on with a file that was closed in order. `None`: not with this one.
    pub fn resume(
        file: File,
        identity: &Identity,
        most: u64,
        serial: u64,
    ) -> io::Result<Option<JournalFile>> {
        let mut bytes = [0; HEADER];
        if file.read_exact_at(&mut bytes, 0).is_err() {
            return Ok(None);
        }
        let Some(header) = Header::decode(&bytes) else { return Ok(None) };
        let length = file.metadata()?.len();
        let fits = |(at, size): (u64, u64)| at >= HEADER as u64 && size >= 16 && at + size <= length;
        let same = header.machine_id == identity.machine && header.shape.compact == identity.compact;
        let tables = fits(header.data_table) && fits(header.field_table);
        let sound = header.tail_object >= HEADER as u64
            && header.tail_object + 16 <= length
            && length < u32::MAX.into();
        let sound = sound && HEADER as u64 + header.arena_size <= length && length <= LARGEST;
        if header.state != State::Offline || !same || !tables || !sound {
            return Ok(None);
        }
        let mut journal = JournalFile::new(file, header, most.min(u32::MAX.into()).max(length), serial);
        match journal.load() {
            Ok(()) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        journal.reserved = length;
        journal.header.state = State::Online;
        journal.write_header()?;
        Ok(Some(journal))
    }

    fn load(&mut self) -> io::Result<()> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let mut object = [0; OBJECT];
        self.file.read_exact_at(&mut object, self.header.tail_object)?;
        let end = layout::aligned(self.header.tail_object + layout::u64_at(&object, 8));
        if end > HEADER as u64 + self.header.arena_size {
            return Err(damaged());
        }
        self.growth.end = u32::try_from(end).map_err(|_| damaged())?;
        self.table.load(&self.file)?;
        self.names_table.load(&self.file)?;
        let head = u32::try_from(self.header.array).map_err(|_| damaged())?;
        self.all = Chain::load(&self.growth, &self.file, head, self.header.entries)?;
        for mut at in self.names_table.heads() {
            while at != 0 {
                let mut head = [0; FIELD_HEAD];
                self.file.read_exact_at(&mut head, at.into())?;
                let size = layout::u64_at(&head, 8) as usize;
                let next = layout::u64_at(&head, layout::NEXT_HASH as usize);
                if head[0] != FIELD
                    || !(FIELD_HEAD..FIELD_HEAD + 256).contains(&size)
                    || (next != 0 && next <= at.into())
                {
                    return Err(damaged());
                }
                let mut name = vec![0; size - FIELD_HEAD];
                self.file.read_exact_at(&mut name, u64::from(at) + FIELD_HEAD as u64)?;
                let head = layout::u64_at(&head, layout::HEAD_DATA as usize) as u32;
                self.names_by.insert(name.into(), self.names.len() as u32);
                self.names.push(Name { offset: at, head, changed: false });
                at = next as u32;
            }
        }
        Ok(())
    }

    /// The number of the last entry, and the id of the row of numbers.
    pub fn seqnum(&self) -> ([u8; 16], u64) {
        (self.header.seqnum_id, self.header.tail_seqnum)
    }

    /// The number and the time of the first entry; `None`: there is none.
    pub fn head(&self) -> Option<(u64, u64)> {
        (self.header.entries > 0).then_some((self.header.head_seqnum, self.header.head_realtime))
    }

    /// Whether enough waits in memory to be written.
    pub fn is_due(&self) -> bool {
        self.growth.bytes.len() >= BATCH
    }

    /// Whether anything waits to be written.
    pub fn waits(&self) -> bool {
        !self.growth.bytes.is_empty() || self.table.waiting() > 0
    }

    /// Whether the hash table is behind what is published.
    pub fn is_behind(&self) -> bool {
        self.table.waiting() > 0
    }

    /// Has the disk keep room up to there, in steps.
    fn reserve(&mut self, end: u64) -> io::Result<()> {
        if end <= self.reserved {
            return Ok(());
        }
        let step = (end / 4).clamp(64 << 10, 4 << 20);
        let comfortable = (end + step).next_multiple_of(4096).min(self.most.max(end));
        let reserve = |bytes| match crate::sys::store::reserve(&self.file, bytes) {
            Ok(true) => Ok(()),
            Ok(false) => self.file.set_len(bytes),
            Err(e) => Err(e),
        };
        self.reserved = match reserve(comfortable) {
            Ok(()) => comfortable,
            Err(_) => {
                reserve(end)?;
                end
            }
        };
        self.header.arena_size = self.reserved - HEADER as u64;
        Ok(())
    }

    /// Makes sure that the entry has room, before anything of it is begun.
    fn room(&mut self, fields: &Fields, varying: &[&[u8]]) -> Result<(), Refusal> {
        let shape = self.growth.shape;
        let resolved = fields.place.serial == self.serial;
        let known = if resolved { fields.place.hot.len() } else { 0 };
        let others = varying.len() + if resolved { 0 } else { fields.len() };
        let size = |payload: &[u8]| layout::DATA_MOST + 2 * payload.len().min(64) + payload.len();
        let new: usize = varying.iter().map(|v| size(v)).sum::<usize>()
            + if resolved { 0 } else { fields.iter().map(size).sum() };
        let count = known + others;
        // No array has room for more than twice what there is.
        let array = ARRAY_HEAD + 8 + 8 * (2 * self.header.entries as usize + 4).min(MOST_ITEMS as usize);
        let entry = ENTRY_HEAD + 16 + count * shape.entry_item();
        let next = self.growth.next();
        let rough = next + (new + entry + (count + 1) * array) as u64;
        if self.header.data + count as u64 > self.table.places() / 4 * 3
            || self.names.len() + count > FIELD_BUCKETS as usize * 3 / 4
            || self.header.data_depth > DEEPEST
        {
            return Err(if self.header.entries == 0 { Refusal::TooLarge } else { Refusal::Full });
        }
        if rough <= self.reserved {
            return Ok(());
        }
        let hot = if resolved { fields.place.hot.as_slice() } else { &[] };
        let arrays: usize = hot.iter().map(|slot| self.hot[*slot as usize].chain.need(shape)).sum();
        // What is found in the file already may have a chain of any length.
        let found = others * array;
        let exact = next + (new + entry + arrays + self.all.need(shape) + found) as u64;
        if exact > self.most {
            return Err(if self.header.entries == 0 { Refusal::TooLarge } else { Refusal::Full });
        }
        Ok(self.reserve(exact)?)
    }

    /// Takes an entry.
    pub fn append(
        &mut self,
        fields: &mut Fields,
        varying: &[&[u8]],
        at: Stamp,
        seqnum: u64,
        boot: [u8; 16],
    ) -> Result<(), Refusal> {
        self.room(fields, varying)?;
        if fields.place.serial != self.serial {
            self.resolve(fields)?;
        }
        let mut places = std::mem::take(&mut self.varying);
        places.clear();
        for payload in varying {
            match self.place(payload, true) {
                Ok(place) => places.push(place),
                Err(e) => {
                    self.varying = places;
                    return Err(e.into());
                }
            }
        }
        self.entry(fields, &mut places, at, seqnum, boot);
        self.varying = places;
        Ok(())
    }

    fn entry(&mut self, fields: &Fields, places: &mut Vec<Place>, at: Stamp, seqnum: u64, boot: [u8; 16]) {
        let shape = self.growth.shape;
        let known = &fields.place;
        // Given twice, it was found the second time: then that is the one whose counters are kept.
        places.sort_unstable_by_key(|p| (p.offset, p.hot.is_none()));
        places.dedup_by_key(|p| p.offset);
        if !places.is_empty() && places[0].offset <= known.last {
            places.retain(|p| known.offsets.binary_search(&p.offset).is_err());
        }
        let count = known.offsets.len() + places.len();
        let xor = places.iter().fold(known.xor, |xor, p| xor ^ p.lookup3);
        let entry = self.growth.begin(ENTRY, ENTRY_HEAD + count * shape.entry_item());
        let out = &mut self.growth.bytes;
        for number in [seqnum, at.realtime_us, at.monotonic_us] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&boot);
        out.extend_from_slice(&xor.to_le_bytes());
        let behind = places.first().is_none_or(|p| p.offset > known.last);
        let mut rest = known.items.chunks_exact(shape.entry_item()).zip(&known.offsets).peekable();
        if behind {
            out.extend_from_slice(&known.items);
        }
        for place in places.iter() {
            while !behind && let Some((item, _)) = rest.next_if(|(_, offset)| **offset < place.offset) {
                out.extend_from_slice(item);
            }
            shape.put_entry_item(out, place.offset, place.hash);
        }
        if !behind {
            rest.for_each(|(item, _)| out.extend_from_slice(item));
        }
        for slot in known.hot.iter().copied().chain(places.iter().filter_map(|p| p.hot)) {
            let data = &mut self.hot[slot as usize];
            if data.entries == 0 {
                data.first = entry;
            } else {
                data.chain.push(&mut self.growth, &mut self.items, entry);
            }
            data.entries += 1;
            if !data.changed {
                data.changed = true;
                self.changed.push(slot);
            }
        }
        for place in places.iter().filter(|p| p.hot.is_none()) {
            // New with this entry, so it is in memory.
            if let Some(bytes) = self.growth.at(place.offset + layout::DATA_ENTRY) {
                bytes[..4].copy_from_slice(&entry.to_le_bytes());
                bytes[16] = 1;
            }
        }
        self.all.push(&mut self.growth, &mut self.items, entry);
        let header = &mut self.header;
        if header.entries == 0 {
            (header.head_seqnum, header.head_realtime) = (seqnum, at.realtime_us);
        }
        header.entries += 1;
        (header.tail_seqnum, header.tail_realtime, header.tail_monotonic) =
            (seqnum, at.realtime_us, at.monotonic_us);
        header.boot_id = boot;
    }

    /// Looks up what all entries of a stream have.
    fn resolve(&mut self, fields: &mut Fields) -> io::Result<()> {
        let mut places = Vec::with_capacity(fields.len());
        for payload in fields.iter() {
            places.push(self.place(payload, false)?);
        }
        places.sort_unstable_by_key(|p| p.offset);
        places.dedup_by_key(|p| p.offset);
        let place = &mut fields.place;
        place.serial = self.serial;
        place.offsets = places.iter().map(|p| p.offset).collect();
        place.hot = places.iter().filter_map(|p| p.hot).collect();
        place.xor = places.iter().fold(0, |xor, p| xor ^ p.lookup3);
        place.last = places.last().map_or(0, |p| p.offset);
        place.items.clear();
        for p in &places {
            self.growth.shape.put_entry_item(&mut place.items, p.offset, p.hash);
        }
        Ok(())
    }

    /// Where a field with its value is; it is added where it isn't there. One that is new and varies isn't
    /// expected to come again.
    fn place(&mut self, payload: &[u8], varies: bool) -> io::Result<Place> {
        let hash = layout::hash(&self.header.file_id, payload);
        let length = payload.len() as u32;
        if let Some(slot) = self.hot_by.get(&hash).copied()
            && let data = &self.hot[slot as usize]
            && data.length == length
        {
            return Ok(Place { offset: data.offset, hash, lookup3: data.lookup3, hot: Some(slot) });
        }
        let lookup3 = layout::lookup3(payload);
        if let Some(offset) = self.find(payload, hash)? {
            let data = self.load_data(offset, length, hash, lookup3)?;
            return Ok(Place { offset, hash, lookup3, hot: Some(self.warm(data)) });
        }
        let offset = self.add(payload, hash);
        if varies {
            return Ok(Place { offset, hash, lookup3, hot: None });
        }
        let data = Data {
            offset,
            length,
            hash,
            lookup3,
            first: 0,
            entries: 0,
            chain: Chain::default(),
            changed: false,
        };
        Ok(Place { offset, hash, lookup3, hot: Some(self.warm(data)) })
    }

    fn warm(&mut self, data: Data) -> u32 {
        let slot = self.hot.len() as u32;
        self.hot_by.insert(data.hash, slot);
        self.hot.push(data);
        slot
    }

    fn load_data(&self, offset: u32, length: u32, hash: u64, lookup3: u64) -> io::Result<Data> {
        let mut head = [0; 24];
        self.growth.read(&self.file, offset + layout::DATA_ENTRY, &mut head)?;
        let number = |at| layout::u64_at(&head, at);
        let (first, array, entries) = (number(0) as u32, number(8) as u32, number(16));
        let chain = Chain::load(&self.growth, &self.file, array, entries.saturating_sub(1))?;
        Ok(Data { offset, length, hash, lookup3, first, entries, chain, changed: false })
    }

    fn find(&mut self, payload: &[u8], hash: u64) -> io::Result<Option<u32>> {
        let head = self.growth.shape.data_head();
        if !self.table.may_have(hash) {
            return Ok(None);
        }
        let (mut at, mut depth) = (self.table.head(hash), 0);
        while at != 0 {
            let mut bytes = [0; 32];
            self.growth.read(&self.file, at, &mut bytes)?;
            let size = layout::u64_at(&bytes, 8);
            if layout::u64_at(&bytes, 16) == hash && size == (head + payload.len()) as u64 {
                let mut there = vec![0; payload.len()];
                self.growth.read(&self.file, at + head as u32, &mut there)?;
                if there == payload {
                    return Ok(Some(at));
                }
            }
            if bytes[0] != DATA {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let next = layout::u64_at(&bytes, layout::NEXT_HASH as usize) as u32;
            at = self.table.next(hash, at, next);
            depth += 1;
            self.header.data_depth = self.header.data_depth.max(depth);
        }
        Ok(None)
    }

    /// Adds a field with its value.
    fn add(&mut self, payload: &[u8], hash: u64) -> u32 {
        let name = payload.iter().position(|b| *b == b'=').unwrap_or(payload.len());
        let name = self.name(&payload[..name]);
        let head = self.growth.shape.data_head();
        let offset = self.growth.begin(DATA, head + payload.len());
        let out = &mut self.growth.bytes;
        out.extend_from_slice(&hash.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        let name = &mut self.names[name as usize];
        out.extend_from_slice(&u64::from(name.head).to_le_bytes());
        out.resize(out.len() + head - 40, 0);
        out.extend_from_slice(payload);
        (name.head, name.changed) = (offset, true);
        self.header.data += 1;
        let (later, stored) = (payload.starts_with(b"MESSAGE="), self.growth.end);
        let before = self.table.append(hash, offset, later, stored, &mut self.links);
        self.follow(before, offset);
        offset
    }

    /// Has an object be followed by another one of the same place.
    fn follow(&mut self, before: Option<u32>, offset: u32) {
        if let Some(before) = before {
            let next = u64::from(offset).to_le_bytes();
            self.growth.change(&mut self.links, before + layout::NEXT_HASH, &next);
        }
    }

    fn name(&mut self, name: &[u8]) -> u32 {
        if let Some(at) = self.names_by.get(name) {
            return *at;
        }
        let hash = layout::hash(&self.header.file_id, name);
        let offset = self.growth.begin(FIELD, FIELD_HEAD + name.len());
        self.growth.bytes.extend_from_slice(&hash.to_le_bytes());
        self.growth.bytes.extend_from_slice(&[0; 16]);
        self.growth.bytes.extend_from_slice(name);
        let before = self.names_table.append(hash, offset, false, self.growth.end, &mut self.links);
        self.follow(before, offset);
        self.header.fields += 1;
        self.names.push(Name { offset, head: 0, changed: true });
        self.names_by.insert(name.into(), self.names.len() as u32 - 1);
        self.names.len() as u32 - 1
    }

    /// Writes and publishes what waits. After an error the file is not to be written any more.
    pub fn commit(&mut self) -> io::Result<()> {
        if self.growth.bytes.is_empty() {
            return Ok(());
        }
        self.all.flush(&mut self.items);
        for slot in self.changed.drain(..) {
            let data = &mut self.hot[slot as usize];
            data.changed = false;
            data.chain.flush(&mut self.items);
            let mut counters = [0; 32];
            counters[..4].copy_from_slice(&data.first.to_le_bytes());
            counters[8..12].copy_from_slice(&data.chain.head.to_le_bytes());
            counters[16..24].copy_from_slice(&data.entries.to_le_bytes());
            counters[24..28].copy_from_slice(&data.chain.tail.to_le_bytes());
            counters[28..].copy_from_slice(&data.chain.used.to_le_bytes());
            let length = if self.growth.shape.compact { 32 } else { 24 };
            let at = data.offset + layout::DATA_ENTRY;
            self.growth.change(&mut self.links, at, &counters[..length]);
        }
        for name in self.names.iter_mut().filter(|n| n.changed) {
            name.changed = false;
            let head = u64::from(name.head).to_le_bytes();
            self.growth.change(&mut self.links, name.offset + layout::HEAD_DATA, &head);
        }
        self.growth.bytes.resize(layout::aligned(self.growth.bytes.len() as u64) as usize, 0);
        self.file.write_all_at(&self.growth.bytes, self.growth.end.into())?;
        self.items.write(&self.file)?;
        self.table.urgent(&mut self.links);
        self.names_table.urgent(&mut self.links);
        self.links.write(&self.file)?;
        self.growth.end += self.growth.bytes.len() as u32;
        self.growth.bytes.clear();
        self.write_header()?;
        self.table.stored();
        self.names_table.stored();
        if self.table.is_due() {
            self.table.write(&self.file)?;
        }
        if self.hot.len() > HOT {
            self.hot = Vec::new();
            self.hot_by = HashMap::default();
            self.serial = super::next_serial();
        }
        Ok(())
    }

    /// Writes also what may wait while there is much to do.
    pub fn settle(&mut self) -> io::Result<()> {
        self.commit()?;
        self.table.write(&self.file)
    }

    fn write_header(&mut self) -> io::Result<()> {
        let header = &mut self.header;
        header.tail_object = self.growth.tail_object.into();
        (header.objects, header.arrays) = (self.growth.objects, self.growth.arrays);
        header.array = self.all.head.into();
        (header.tail_array, header.tail_array_used) = (self.all.tail, self.all.used);
        self.file.write_all_at(&header.encode(), 0)
    }

    /// Ends the file: nothing more is written. Gives back the room that it doesn't need.
    pub fn end(mut self, state: State) -> io::Result<File> {
        self.settle()?;
        let end = u64::from(self.growth.end);
        self.header.arena_size = end - HEADER as u64;
        self.header.state = state;
        self.write_header()?;
        let _ = self.file.set_len(end);
        Ok(self.file)
    }
}
