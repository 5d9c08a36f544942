//! The last messages that have a certain field: what a recorder asks that hasn't seen them itself. Everything
//! else is for `journalctl`.

use super::layout::{self, DATA, ENTRY, ENTRY_ARRAY, ENTRY_HEAD, HEADER, Header};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Files that are looked at, the newest first.
const FILES: usize = 4;
/// Messages that are looked at.
const MESSAGES: usize = 64;
/// Fields of an entry that are looked at.
const FIELDS: usize = 128;

/// The last messages with that field (`NAME=VALUE`), a line each, of at most so many bytes and a line.
pub(crate) fn tail(folder: &Path, field: &[u8], most: usize) -> Vec<u8> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().contains(".journal")
            && let Ok(changed) = entry.metadata().and_then(|status| status.modified())
        {
            files.push((changed, entry.path()));
        }
    }
    files.sort();
    let newest = files.iter().rev().take(FILES);
    newest
        .map(|(_, path)| in_file(path, field, most).unwrap_or_default())
        .find(|t| !t.is_empty())
        .unwrap_or_default()
}

fn in_file(path: &Path, field: &[u8], most: usize) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let header = Header::decode(&read::<HEADER>(&file, 0)?)?;
    let head = header.shape.data_head();
    let hash = layout::hash(&header.file_id, field);
    let places = header.data_table.1 / 16;
    let place = read::<16>(&file, header.data_table.0.checked_add(hash.checked_rem(places)? * 16)?)?;
    let mut at = layout::u64_at(&place, 0);
    let data = loop {
        if at == 0 {
            return None;
        }
        let data = read::<64>(&file, at)?;
        let size = (head + field.len()) as u64;
        if data[0] == DATA && layout::u64_at(&data, 16) == hash && layout::u64_at(&data, 8) == size {
            break data;
        }
        let next = layout::u64_at(&data, layout::NEXT_HASH as usize);
        at = if next > at { next } else { 0 };
    };
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for entry in last_entries(&file, &header, &data)?.into_iter().rev() {
        let message = message(&file, &header, entry, most).unwrap_or_default();
        bytes += message.len() + 1;
        lines.push(message);
        if bytes > most {
            break;
        }
    }
    lines.reverse();
    Some(
        lines
            .into_iter()
            .flat_map(|mut line| {
                line.push(b'\n');
                line
            })
            .collect(),
    )
}

/// The offsets of the last entries that have the field.
fn last_entries(file: &File, header: &Header, data: &[u8]) -> Option<Vec<u64>> {
    let item = header.shape.item();
    let mut found = vec![layout::u64_at(data, 40)];
    let (mut at, mut left) = (layout::u64_at(data, 48), layout::u64_at(data, 56).saturating_sub(1));
    while at != 0 && left > 0 {
        let array = read::<24>(file, at)?;
        let items = layout::u64_at(&array, 8).saturating_sub(24) / item as u64;
        if array[0] != ENTRY_ARRAY || items == 0 {
            return None;
        }
        let used = left.min(items);
        let wanted = used.min(MESSAGES as u64);
        let mut bytes = vec![0; wanted as usize * item];
        file.read_exact_at(&mut bytes, at + 24 + (used - wanted) * item as u64).ok()?;
        found.extend(
            bytes
                .chunks_exact(item)
                .map(|b| if item == 4 { layout::u32_at(b, 0).into() } else { layout::u64_at(b, 0) }),
        );
        let surplus = found.len().saturating_sub(MESSAGES);
        found.drain(..surplus);
        left -= used;
        let next = layout::u64_at(&array, layout::NEXT_ARRAY as usize);
        at = if next > at { next } else { 0 };
    }
    Some(found)
}

fn message(file: &File, header: &Header, entry: u64, most: usize) -> Option<Vec<u8>> {
    let item = header.shape.entry_item();
    let object = read::<16>(file, entry)?;
    let items = (layout::u64_at(&object, 8) as usize).checked_sub(ENTRY_HEAD)? / item;
    if object[0] != ENTRY {
        return None;
    }
    let mut bytes = vec![0; items.min(FIELDS) * item];
    file.read_exact_at(&mut bytes, entry.checked_add(ENTRY_HEAD as u64)?).ok()?;
    // The message is new with its entry, or at least newer than what all entries of a stream have.
    for at in bytes.chunks_exact(item).rev() {
        let at = if item == 4 { layout::u32_at(at, 0).into() } else { layout::u64_at(at, 0) };
        let head = header.shape.data_head() as u64;
        let length = layout::u64_at(&read::<16>(file, at)?, 8).checked_sub(head)?;
        let mut payload = vec![0; usize::try_from(length).ok()?.min(most + 8)];
        file.read_exact_at(&mut payload, at + head).ok()?;
        if let Some(message) = payload.strip_prefix(b"MESSAGE=") {
            return Some(message.to_vec());
        }
    }
    None
}

fn read<const N: usize>(file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}
