//! A table by units' names that is asked far more often than it grows: a hash table, as the standard one is
//! not to be had here. It forgets nothing, and keeps the order of insertion.

use crate::UnitName;
use alloc::{vec, vec::Vec};

/// What belongs to names.
#[derive(Debug)]
pub(crate) struct Names<T> {
    entries: Vec<(UnitName, T)>,
    /// Indices of entries, plus one; 0 is free. As many as a power of two.
    slots: Vec<u32>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Names { entries: Vec::new(), slots: vec![0; 16] }
    }
}

/// FNV-1a. Names come from files that somebody chose to look at: there is nobody to be protected from.
fn hash(name: &str) -> usize {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    (hash ^ (hash >> 29)) as usize
}

impl<T> Names<T> {
    /// The slot of a name: its own, or the free one where it goes.
    fn slot(&self, name: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash(name) & mask;
        while let Some(index) = self.slots[at].checked_sub(1) {
            if self.entries[index as usize].0.as_str() == name {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    /// What belongs to a name.
    pub fn get(&self, name: &str) -> Option<&T> {
        let index = self.slots[self.slot(name)].checked_sub(1)?;
        Some(&self.entries[index as usize].1)
    }

    /// What belongs to a name, or what is made for it now.
    pub fn entry(&mut self, name: &UnitName, make: impl FnOnce() -> T) -> &mut T {
        if (self.entries.len() + 1) * 2 > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 4];
            for index in 0..self.entries.len() {
                let slot = self.slot(&self.entries[index].0);
                self.slots[slot] = index as u32 + 1;
            }
        }
        let slot = self.slot(name);
        if self.slots[slot] == 0 {
            self.entries.push((name.clone(), make()));
            self.slots[slot] = self.entries.len() as u32;
        }
        &mut self.entries[self.slots[slot] as usize - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn names_are_found_again() {
        let mut names: Names<usize> = Names::default();
        let name = |n: usize| UnitName::new(&format!("unit-{n}.service")).unwrap();
        for n in 0..5_000 {
            assert_eq!(names.get(&name(n)), None);
            assert_eq!(*names.entry(&name(n), || n), n);
            assert_eq!(*names.entry(&name(n), || 0), n);
        }
        assert!((0..5_000).all(|n| names.get(&name(n)) == Some(&n)));
        assert_eq!(names.get("unit-5000.service"), None);
    }
}
