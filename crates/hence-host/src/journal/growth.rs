//! The growing end of a journal file, kept in memory until it is written with one call, and the chains of
//! entry arrays that grow there.

use super::layout::{self, ARRAY_HEAD, ENTRY_ARRAY, OBJECT, Shape};
use super::patches::Patches;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Items of the first array of a chain; each next one has twice as many, up to the most.
const FIRST_ITEMS: u32 = 4;
pub(super) const MOST_ITEMS: u32 = 8 << 10;

/// What is behind the part of the file that is written.
#[derive(Debug)]
pub(super) struct Growth {
    pub shape: Shape,
    /// Where the written part ends.
    pub end: u32,
    pub bytes: Vec<u8>,
    pub tail_object: u32,
    pub objects: u64,
    pub arrays: u64,
}

impl Growth {
    /// Where the next object begins.
    pub fn next(&self) -> u64 {
        layout::aligned(u64::from(self.end) + self.bytes.len() as u64)
    }

    /// Begins an object; what of it isn't filled yet is to be appended to `bytes`.
    pub fn begin(&mut self, kind: u8, size: usize) -> u32 {
        let at = self.next() as u32;
        self.bytes.resize((at - self.end) as usize, 0);
        self.bytes.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend_from_slice(&(size as u64).to_le_bytes());
        self.tail_object = at;
        self.objects += 1;
        at
    }

    /// What is in memory from an offset on.
    pub fn at(&mut self, offset: u32) -> Option<&mut [u8]> {
        self.bytes.get_mut(offset.checked_sub(self.end)? as usize..)
    }

    /// Changes what is there already: at once where it is in memory, else with the patches.
    pub fn change(&mut self, patches: &mut Patches, offset: u32, bytes: &[u8]) {
        match self.at(offset) {
            Some(place) => place[..bytes.len()].copy_from_slice(bytes),
            None => patches.put(offset, bytes),
        }
    }

    /// Reads what is in the file or in memory.
    pub fn read(&self, file: &File, offset: u32, out: &mut [u8]) -> io::Result<()> {
        match offset.checked_sub(self.end) {
            Some(at) => {
                let place = self.bytes.get(at as usize..at as usize + out.len());
                out.copy_from_slice(place.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
            None => file.read_exact_at(out, offset.into()),
        }
    }

    fn array(&mut self, items: u32) -> u32 {
        let size = ARRAY_HEAD + items as usize * self.shape.item();
        let at = self.begin(ENTRY_ARRAY, size);
        let end = self.bytes.len() - OBJECT + size;
        self.bytes.resize(end, 0);
        self.arrays += 1;
        at
    }
}

/// A chain of entry arrays.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub head: u32,
    pub tail: u32,
    pub capacity: u32,
    /// Items in the last array.
    pub used: u32,
    /// Items for an array that is in the file already, and where the first of them goes.
    pending: Vec<u8>,
    pending_at: u32,
}

impl Chain {
    fn next_capacity(&self) -> u32 {
        if self.tail == 0 { FIRST_ITEMS } else { (self.capacity * 2).clamp(FIRST_ITEMS, MOST_ITEMS) }
    }

    /// How much the next item makes the file grow.
    pub fn need(&self, shape: Shape) -> usize {
        if self.used < self.capacity {
            0
        } else {
            ARRAY_HEAD + 8 + self.next_capacity() as usize * shape.item()
        }
    }

    pub fn push(&mut self, growth: &mut Growth, links: &mut Patches, entry: u32) {
        let shape = growth.shape;
        if self.used == self.capacity {
            let capacity = self.next_capacity();
            let array = growth.array(capacity);
            if self.tail == 0 {
                self.head = array;
            } else {
                let next = u64::from(array).to_le_bytes();
                growth.change(links, self.tail + layout::NEXT_ARRAY, &next);
            }
            (self.tail, self.capacity, self.used) = (array, capacity, 0);
        }
        let at = self.tail + ARRAY_HEAD as u32 + self.used * shape.item() as u32;
        match growth.at(at) {
            Some(place) => place[..4].copy_from_slice(&entry.to_le_bytes()),
            None => {
                if self.pending.is_empty() {
                    self.pending_at = at;
                }
                shape.put_item(&mut self.pending, entry);
            }
        }
        self.used += 1;
    }

    /// Hands over what is to be written into an array that is in the file.
    pub fn flush(&mut self, patches: &mut Patches) {
        if !self.pending.is_empty() {
            patches.put(self.pending_at, &self.pending);
            self.pending.clear();
        }
    }

    /// Finds the end of a chain that has so many entries.
    pub fn load(growth: &Growth, file: &File, head: u32, entries: u64) -> io::Result<Chain> {
        let shape = growth.shape;
        let mut chain = Chain { head, ..Chain::default() };
        let (mut at, mut left) = (u64::from(head), entries);
        while at != 0 {
            let damaged = || io::Error::from(io::ErrorKind::InvalidData);
            let mut bytes = [0; ARRAY_HEAD];
            let offset = u32::try_from(at).map_err(|_| damaged())?;
            growth.read(file, offset, &mut bytes)?;
            let size = layout::u64_at(&bytes, 8);
            let items = size.saturating_sub(ARRAY_HEAD as u64) / shape.item() as u64;
            let next = layout::u64_at(&bytes, layout::NEXT_ARRAY as usize);
            if bytes[0] != ENTRY_ARRAY || items == 0 || (next != 0 && next <= at) {
                return Err(damaged());
            }
            let items = u32::try_from(items).map_err(|_| damaged())?;
            let used = left.min(items.into());
            left -= used;
            (chain.tail, chain.capacity, chain.used) = (offset, items, used as u32);
            at = if left == 0 { 0 } else { next };
        }
        if left == 0 { Ok(chain) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
