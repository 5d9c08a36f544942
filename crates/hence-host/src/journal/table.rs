//! A hash table of a journal file: where the objects of each place begin and end. Only what changed is
//! written. What only messages are found by waits: places, and the links that lead from one object of a place
//! to the next, each a small write somewhere in the file.

use super::layout;
use super::patches::Patches;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Places that are written as one piece.
const PAGE: usize = 256;
/// Fewer than this wait for nothing.
const FEW: usize = 64;
/// At least so many may wait, and that part of all places where it is more.
const WAITING: usize = 8 << 10;
const WAITING_PART: usize = 8;
/// Of what is noted of a place: that links of it are held back; the other bits are of hashes that it has.
const HELD: u16 = 1 << 15;

/// The table, as it will be when all is written.
#[derive(Debug)]
pub(super) struct Table {
    /// Offset of its first place in the file.
    at: u32,
    /// First and last object of each place.
    places: Vec<(u32, u32)>,
    /// Places that entries are found by: written with the entries.
    urgent: Vec<u32>,
    /// Places that only messages are found by.
    later: Vec<u32>,
    /// Of each place, a bit for each hash that it may have, and [`HELD`].
    notes: Vec<u16>,
    /// Links from objects that were in the file before those that they lead to.
    links: HashMap<u32, u32>,
    /// Those of them that only messages are found by: the place, from where, to where.
    held: Vec<(u32, u32, u32)>,
}

impl Table {
    pub fn new(places: u32, at: u32) -> Table {
        let count = places.max(1) as usize;
        let (places, notes) = (vec![(0, 0); count], vec![0; count]);
        let (urgent, later) = (Vec::new(), Vec::new());
        Table { at, places, urgent, later, notes, links: HashMap::new(), held: Vec::new() }
    }

    /// Reads it from its file.
    pub fn load(&mut self, file: &File) -> io::Result<()> {
        let mut page = vec![0; PAGE * 16];
        for (number, places) in self.places.chunks_mut(PAGE).enumerate() {
            let page = &mut page[..places.len() * 16];
            file.read_exact_at(page, u64::from(self.at) + (number * PAGE * 16) as u64)?;
            for (place, bytes) in places.iter_mut().zip(page.chunks_exact(16)) {
                let (first, last) = (layout::u64_at(bytes, 0), layout::u64_at(bytes, 8));
                if first > last || (first == 0) != (last == 0) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let damaged = |_| io::Error::from(io::ErrorKind::InvalidData);
                *place = (u32::try_from(first).map_err(damaged)?, u32::try_from(last).map_err(damaged)?);
            }
        }
        // Which hashes they have is in the objects alone.
        for (note, place) in self.notes.iter_mut().zip(&self.places) {
            *note = if place.0 == 0 { 0 } else { !HELD };
        }
        Ok(())
    }

    /// Whether there may be an object of this hash. `false` is certain.
    pub fn may_have(&self, hash: u64) -> bool {
        self.notes[self.place(hash)] & bit(hash) != 0
    }

    pub fn places(&self) -> u64 {
        self.places.len() as u64
    }

    fn place(&self, hash: u64) -> usize {
        (hash % self.places.len() as u64) as usize
    }

    /// The first object of a hash's place; 0: there is none.
    pub fn head(&self, hash: u64) -> u32 {
        self.places[self.place(hash)].0
    }

    /// The first objects of all places.
    pub fn heads(&self) -> Vec<u32> {
        self.places.iter().map(|(first, _)| *first).filter(|first| *first != 0).collect()
    }

    /// The object behind another one, which the file says to be `stored`.
    pub fn next(&self, hash: u64, at: u32, stored: u32) -> u32 {
        if at == self.places[self.place(hash)].1 {
            return 0;
        }
        let next = if stored == 0 { self.links.get(&at).copied().unwrap_or(0) } else { stored };
        // Objects only ever follow older ones: whatever a damaged file says, this ends.
        if next > at { next } else { 0 }
    }

    /// Adds an object; returns the one that it follows, or 0. `stored`: where what is in the file ends.
    /// A link that may wait is kept here; others are the caller's to write, and those that led to it, which
    /// can't wait any longer, are handed over.
    pub fn append(
        &mut self,
        hash: u64,
        offset: u32,
        later: bool,
        stored: u32,
        patches: &mut Patches,
    ) -> Option<u32> {
        let at = self.place(hash);
        self.notes[at] |= bit(hash);
        let (first, last) = &mut self.places[at];
        let before = *last;
        if before == 0 {
            *first = offset;
        }
        *last = offset;
        if later { &mut self.later } else { &mut self.urgent }.push(at as u32);
        if before != 0 && before < stored {
            self.links.insert(before, offset);
            if later {
                self.held.push((at as u32, before, offset));
                self.notes[at] |= HELD;
                return None;
            }
        }
        if !later && self.notes[at] & HELD != 0 {
            self.notes[at] &= !HELD;
            self.held.retain(|(place, from, to)| {
                let other = *place != at as u32;
                if !other {
                    patches.put(from + layout::NEXT_HASH, &u64::from(*to).to_le_bytes());
                }
                other
            });
        }
        (before != 0).then_some(before)
    }

    fn release(&mut self, patches: &mut Patches) {
        for (at, from, to) in self.held.drain(..) {
            self.notes[at as usize] &= !HELD;
            patches.put(from + layout::NEXT_HASH, &u64::from(to).to_le_bytes());
        }
    }

    /// Hands over what can't wait. Other links are in the file when this is.
    pub fn urgent(&mut self, patches: &mut Patches) {
        if self.later.len() < FEW {
            self.urgent.append(&mut self.later);
            self.release(patches);
        }
        self.urgent.sort_unstable();
        self.urgent.dedup();
        for at in self.urgent.drain(..) {
            patches.put(self.at + at * 16, &bytes(self.places[at as usize]));
        }
    }

    /// All that was handed over is in the file.
    pub fn stored(&mut self) {
        if self.held.is_empty() {
            self.links.clear();
        }
    }

    /// Whether more waits than should.
    pub fn is_due(&self) -> bool {
        let most = WAITING.max(self.places.len() / WAITING_PART);
        self.later.len() > most || self.links.len() > most
    }

    /// How many places wait.
    pub fn waiting(&self) -> usize {
        self.later.len()
    }

    /// Writes all that waited.
    pub fn write(&mut self, file: &File) -> io::Result<()> {
        let mut links = Patches::default();
        self.release(&mut links);
        links.write(file)?;
        self.links.clear();
        self.later.iter_mut().for_each(|at| *at /= PAGE as u32);
        self.later.sort_unstable();
        self.later.dedup();
        let mut piece = Vec::new();
        for pages in self.later.chunk_by(|a, b| a + 1 == *b).flat_map(|run| run.chunks(16)) {
            piece.clear();
            let first = pages[0] as usize * PAGE;
            let end = (first + pages.len() * PAGE).min(self.places.len());
            self.places[first..end].iter().for_each(|place| piece.extend_from_slice(&bytes(*place)));
            file.write_all_at(&piece, u64::from(self.at) + first as u64 * 16)?;
        }
        self.later.clear();
        Ok(())
    }
}

/// One of fifteen, from a part of the hash that says little about its place.
fn bit(hash: u64) -> u16 {
    1 << ((hash >> 40) % 15)
}

fn bytes((first, last): (u32, u32)) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&first.to_le_bytes());
    out[8..12].copy_from_slice(&last.to_le_bytes());
    out
}
