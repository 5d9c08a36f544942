//! Small changes to what a file has already, written in as few system calls as may be.
//!
//! Changes that lie close together are written as one piece: what is between them is read first. There is
//! only one writer, so what was read can't have changed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Changes closer together than this become one write.
const PIECE: u32 = 8 << 10;
/// So many changes are worth a read.
const WORTH: usize = 3;

/// Changes that wait.
#[derive(Debug, Default)]
pub(super) struct Patches {
    /// Where in the file, where in `bytes`, and how many.
    list: Vec<(u32, u32, u32)>,
    bytes: Vec<u8>,
    piece: Vec<u8>,
}

impl Patches {
    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.list.push((at, self.bytes.len() as u32, bytes.len() as u32));
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes all of it, in no particular order. What is put twice is written as it was put last.
    pub fn write(&mut self, file: &File) -> io::Result<()> {
        // Stable: a later change of the same place stays behind the earlier one.
        self.list.sort_by_key(|(at, ..)| *at);
        let mut rest = self.list.as_slice();
        while let Some((first, ..)) = rest.first() {
            let near = rest.iter().take_while(|(at, _, length)| at + length - first <= PIECE).count();
            let (group, after) = rest.split_at(near.max(1));
            let bytes = |c: &(u32, u32, u32)| &self.bytes[c.1 as usize..(c.1 + c.2) as usize];
            if group.len() < WORTH {
                for change in group {
                    file.write_all_at(bytes(change), change.0.into())?;
                }
            } else {
                let end = group.iter().map(|(at, _, length)| at + length).max().unwrap_or(*first);
                self.piece.resize((end - first) as usize, 0);
                file.read_exact_at(&mut self.piece, (*first).into())?;
                for change in group {
                    let at = (change.0 - first) as usize;
                    self.piece[at..at + change.2 as usize].copy_from_slice(bytes(change));
                }
                file.write_all_at(&self.piece, (*first).into())?;
            }
            rest = after;
        }
        self.clear();
        Ok(())
    }

    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_land_where_they_belong() {
        let path = std::env::temp_dir().join(format!("hence-patches-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let mut expected: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        file.write_all_at(&expected, 0).unwrap();
        let mut patches = Patches::default();
        let mut turn = 1u32;
        for _ in 0..500 {
            turn = turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (at, length) = ((turn >> 8) % 99_000, (turn >> 3) % 40 + 1);
            let new = vec![(turn >> 24) as u8; length as usize];
            patches.put(at & !63, &new);
            expected[(at & !63) as usize..][..new.len()].copy_from_slice(&new);
        }
        patches.write(&file).unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
        std::fs::remove_file(&path).unwrap();
    }
}
