//! What is known by the name of a unit. A table of hashes: with thousands of units, an ordered map would
//! compare a dozen names for each that is looked for. It has no order, and nothing can be listed from it.

use alloc::vec::Vec;
use hence_unit::UnitName;

/// Values by names.
#[derive(Clone, Debug)]
pub(crate) struct Names<V> {
    entries: Vec<Entry<V>>,
    /// Where an entry is, from 1: at its hash, or behind that with nothing empty (0) in between. Their number
    /// is a power of two, and at most two of three are used.
    slots: Vec<u32>,
    /// Lets nobody foresee which names fall on the same slot.
    seed: u64,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    name: UnitName,
    hash: u32,
    value: V,
}

impl<V: Copy> Names<V> {
    /// Without a name so far.
    pub fn new(seed: u64) -> Names<V> {
        Names { entries: Vec::new(), slots: Vec::new(), seed }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.find(name, hash(self.seed, name)).is_some()
    }

    pub fn get(&self, name: &str) -> Option<V> {
        self.kept(name).map(|(_, value)| value)
    }

    /// With the name as it is kept, whose text can be shared.
    pub fn kept(&self, name: &str) -> Option<(&UnitName, V)> {
        let slot = self.find(name, hash(self.seed, name))?;
        let entry = &self.entries[self.slots[slot] as usize - 1];
        Some((&entry.name, entry.value))
    }

    /// Keeps a value, in place of the former one of this name.
    pub fn insert(&mut self, name: UnitName, value: V) {
        let hash = hash(self.seed, &name);
        if let Some(slot) = self.find(&name, hash) {
            self.entries[self.slots[slot] as usize - 1].value = value;
            return;
        }
        if (self.entries.len() + 1) * 3 > self.slots.len() * 2 {
            self.spread((self.slots.len() * 2).max(16));
        }
        self.entries.push(Entry { name, hash, value });
        self.put(hash, self.entries.len() as u32);
    }

    /// Keeps a value where the name has none.
    pub fn insert_new(&mut self, name: &UnitName, value: V) {
        if !self.contains(name) {
            self.insert(name.clone(), value);
        }
    }

    pub fn remove(&mut self, name: &str) {
        let Some(slot) = self.find(name, hash(self.seed, name)) else { return };
        let at = self.slots[slot] as usize - 1;
        self.empty(slot);
        self.entries.swap_remove(at);
        // The last one is where the removed one was.
        if let Some(moved) = self.entries.get(at) {
            let former = self.entries.len() as u32 + 1;
            let mut slot = self.home(moved.hash);
            while self.slots[slot] != former {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = at as u32 + 1;
        }
    }

    /// Gives back the room that a burst needed.
    pub fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        let fitting = (self.entries.len() * 3 / 2 + 1).next_power_of_two();
        if fitting < self.slots.len() {
            self.spread(fitting);
        }
    }

    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    fn find(&self, name: &str, hash: u32) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut slot = self.home(hash);
        loop {
            let at = self.slots[slot].checked_sub(1)?;
            let entry = &self.entries[at as usize];
            if entry.hash == hash && entry.name.as_str() == name {
                return Some(slot);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn put(&mut self, hash: u32, entry: u32) {
        let mut slot = self.home(hash);
        while self.slots[slot] != 0 {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = entry;
    }

    /// Empties a slot; what follows moves up where the gap would stand between it and its hash.
    fn empty(&mut self, mut gap: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = gap;
        loop {
            slot = (slot + 1) & mask;
            let entry = self.slots[slot];
            if entry == 0 {
                break;
            }
            let home = self.home(self.entries[entry as usize - 1].hash);
            if slot.wrapping_sub(home) & mask >= slot.wrapping_sub(gap) & mask {
                self.slots[gap] = entry;
                gap = slot;
            }
        }
        self.slots[gap] = 0;
    }

    fn spread(&mut self, count: usize) {
        self.slots = alloc::vec![0; count];
        for at in 0..self.entries.len() {
            self.put(self.entries[at].hash, at as u32 + 1);
        }
    }
}

fn hash(seed: u64, name: &str) -> u32 {
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut hash = seed ^ name.len() as u64;
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), 0x9e37_79b9_7f4a_7c15);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash = fold(hash ^ u64::from_le_bytes(last), 0xd6e8_feb8_6659_fd93 ^ seed);
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeMap, format};

    #[test]
    fn it_knows_what_an_ordered_map_knows() {
        let mut names = Names::new(7);
        let mut known: BTreeMap<UnitName, u32> = BTreeMap::new();
        let mut chance = 1u64;
        for step in 0..40_000u32 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let name = UnitName::new(&format!("unit-{}.service", (chance >> 40) % 300)).unwrap();
            match chance >> 33 & 7 {
                0..3 => {
                    names.insert(name.clone(), step);
                    known.insert(name, step);
                }
                3 => {
                    names.insert_new(&name, step);
                    known.entry(name).or_insert(step);
                }
                4..7 => {
                    names.remove(&name);
                    known.remove(&name);
                }
                _ => {
                    assert_eq!(names.get(&name), known.get(&name).copied());
                    assert_eq!(names.contains(&name), known.contains_key(&name));
                }
            }
            if step % 5_000 == 0 {
                names.shrink();
                assert_eq!(names.is_empty(), known.is_empty());
                assert!(known.iter().all(|(name, value)| names.kept(name) == Some((name, *value))));
                assert_eq!(names.entries.len(), known.len());
            }
        }
    }

    #[test]
    fn names_are_spread() {
        // All in a row, and each with a seed of its own: no slot is far from its hash.
        for seed in 0..8 {
            let mut names = Names::new(seed);
            for n in 0..5_000 {
                names.insert(UnitName::new(&format!("big{n:04}.service")).unwrap(), n);
            }
            let mask = names.slots.len() - 1;
            let far = |(slot, at): (usize, &u32)| {
                let entry = names.entries.get((*at as usize).checked_sub(1)?)?;
                Some(slot.wrapping_sub(names.home(entry.hash)) & mask)
            };
            let steps: usize = names.slots.iter().enumerate().filter_map(far).sum();
            assert!(steps < 3 * 5_000, "{steps} steps with the seed {seed}");
        }
    }
}
