//! Reading a ledger from its end: for who looks for what happened last and can stop there.
//!
//! Damage is passed over, not told; what a file holds is read when its turn comes, and one file at a time.

use super::{Reader, Ring, layout, live, load};
use crate::store::OWN;
use crate::store::segment::{Step, Walk};
use hence_ledger::{Record, decode};
use std::fs::File;

/// The records of a ledger from the newest to the oldest. See [`Reader::newest_first`].
#[derive(Debug)]
pub struct NewestFirst {
    reader: Reader,
    /// Of the file whose turn it is: its bytes, and where in them there are frames that wait.
    bytes: Vec<u8>,
    frames: Vec<(usize, usize)>,
    /// Of a ring: what waits.
    records: Vec<Record>,
    /// The lowest id of the owner's records so far; what both ring and segments hold comes once.
    lowest: u64,
    /// It has come to what is folded.
    folded: bool,
}

impl Reader {
    /// All records that are intact, the newest first. The recorder's own (see [`OWN`]) come where they were
    /// written, which is later than what they tell of.
    pub fn newest_first(self) -> NewestFirst {
        let (bytes, frames, records) = (Vec::new(), Vec::new(), Vec::new());
        NewestFirst { reader: self, bytes, frames, records, lowest: OWN, folded: false }
    }
}

impl NewestFirst {
    /// Goes on with the next file. `false`: none is left.
    fn open_next(&mut self) -> bool {
        if let Some((path, ring)) = self.reader.rings.pop_back() {
            match ring {
                Ring::Live(bytes) => {
                    let mut found = Vec::new();
                    live(&path, &bytes, &mut found);
                    self.records = found.into_iter().flatten().collect();
                }
                Ring::Aside => {
                    if let Ok(file) = File::open(&path) {
                        let keep = |record, _: &[u8]| self.records.push(record);
                        // What can't be read is passed over.
                        let _ = layout::salvage_records(&file, keep);
                    }
                }
            }
            return true;
        }
        let bytes = match self.reader.segments.pop_back() {
            Some(part) => load(&part).ok().flatten().unwrap_or_default(),
            None => match self.reader.folded.take() {
                Some((_, bytes)) => {
                    self.folded = true;
                    bytes
                }
                None => return false,
            },
        };
        let mut walk = Walk::new(&bytes);
        while let Some(step) = walk.next() {
            if let Step::Frame { frame, .. } = step {
                // Where it begins follows from where the walk stands behind it.
                let end = walk.offset() - super::LINK;
                self.frames.push((end - frame.len(), end));
            }
        }
        self.bytes = bytes;
        true
    }

    fn pop(&mut self) -> Option<Record> {
        if let Some(record) = self.records.pop() {
            return Some(record);
        }
        loop {
            let (start, end) = self.frames.pop()?;
            if let Ok(record) = decode(Step::payload(&self.bytes[start..end])) {
                return Some(record);
            }
        }
    }
}

impl Iterator for NewestFirst {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let Some(record) = self.pop() else {
                if self.open_next() {
                    continue;
                }
                return None;
            };
            // Sums stand in an order of their own.
            if record.id.0 & OWN != 0 || self.folded {
                return Some(record);
            }
            if record.id.0 < self.lowest {
                self.lowest = record.id.0;
                return Some(record);
            }
        }
    }
}
