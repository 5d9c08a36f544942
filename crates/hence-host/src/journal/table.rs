//! A hash table of a journal file: where the objects of each place begin and end. Only what changed is
//! written.

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
    /// Links from objects that are in the file to others that aren't.
    links: HashMap<u32, u32>,
}

impl Table {
    pub fn new(places: u32, at: u32) -> Table {
        let places = vec![(0, 0); places.max(1) as usize];
        Table { at, places, urgent: Vec::new(), later: Vec::new(), links: HashMap::new() }
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
        Ok(())
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

    /// Adds an object; returns the one that it follows, or 0.
    pub fn append(&mut self, hash: u64, offset: u32, later: bool) -> u32 {
        let at = self.place(hash);
        let (first, last) = &mut self.places[at];
        let before = *last;
        if before == 0 {
            *first = offset;
        }
        *last = offset;
        if later { &mut self.later } else { &mut self.urgent }.push(at as u32);
        before
    }

    /// Remembers a link that isn't in the file yet.
    pub fn link(&mut self, from: u32, to: u32) {
        self.links.insert(from, to);
    }

    /// Hands over the places that can't wait. Links are in the file when this is.
    pub fn urgent(&mut self, patches: &mut Patches) {
        if self.later.len() < FEW {
            self.urgent.append(&mut self.later);
        }
        self.urgent.sort_unstable();
        self.urgent.dedup();
        for at in self.urgent.drain(..) {
            patches.put(self.at + at * 16, &bytes(self.places[at as usize]));
        }
        self.links.clear();
    }

    /// How many places wait.
    pub fn waiting(&self) -> usize {
        self.later.len()
    }

    /// Writes the places that waited.
    pub fn write(&mut self, file: &File) -> io::Result<()> {
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

fn bytes((first, last): (u32, u32)) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&first.to_le_bytes());
    out[8..12].copy_from_slice(&last.to_le_bytes());
    out
}
