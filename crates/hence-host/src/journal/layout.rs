//! The bytes of a journal file: systemd.io/JOURNAL_FILE_FORMAT, as of systemd 252. Offsets and hashes; no
//! files.

use siphasher::sip::SipHasher24;

/// Length of the header, as of systemd 252.
pub(super) const HEADER: usize = 264;
const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
const KEYED_HASH: u32 = 1 << 2;
const COMPACT: u32 = 1 << 4;

/// Kinds of objects.
pub(super) const DATA: u8 = 1;
pub(super) const FIELD: u8 = 2;
pub(super) const ENTRY: u8 = 3;
pub(super) const DATA_TABLE: u8 = 4;
pub(super) const FIELD_TABLE: u8 = 5;
pub(super) const ENTRY_ARRAY: u8 = 6;

/// What every object begins with: kind and size.
pub(super) const OBJECT: usize = 16;
/// A field object before its name.
pub(super) const FIELD_HEAD: usize = 40;
/// An entry before its items.
pub(super) const ENTRY_HEAD: usize = 64;
/// An entry array before its items.
pub(super) const ARRAY_HEAD: usize = 24;

/// What a new field may take besides its payload and its name: two objects and their alignment.
pub(super) const DATA_MOST: usize = 72 + FIELD_HEAD + 16;
/// Places inside of objects.
pub(super) const NEXT_HASH: u32 = 24;
pub(super) const HEAD_DATA: u32 = 32;
pub(super) const DATA_ENTRY: u32 = 40;
pub(super) const NEXT_ARRAY: u32 = 16;

/// Whether a file is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Offline = 0,
    Online = 1,
    Archived = 2,
}

/// Which of the two layouts objects have: the compact one, which systemd reads since 252, takes about half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub compact: bool,
}

impl Shape {
    /// A data object before its payload.
    pub fn data_head(self) -> usize {
        if self.compact { 72 } else { 64 }
    }

    /// An item of an entry array.
    pub fn item(self) -> usize {
        if self.compact { 4 } else { 8 }
    }

    /// An item of an entry.
    pub fn entry_item(self) -> usize {
        if self.compact { 4 } else { 16 }
    }

    pub fn put_item(self, out: &mut Vec<u8>, offset: u32) {
        if self.compact {
            out.extend_from_slice(&offset.to_le_bytes());
        } else {
            out.extend_from_slice(&u64::from(offset).to_le_bytes());
        }
    }

    pub fn put_entry_item(self, out: &mut Vec<u8>, offset: u32, hash: u64) {
        self.put_item(out, offset);
        if !self.compact {
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }
}

/// The next multiple of eight: where the next object may begin.
pub(super) fn aligned(at: u64) -> u64 {
    at.next_multiple_of(8)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn id_at(bytes: &[u8], at: usize) -> [u8; 16] {
    bytes.get(at..at + 16).and_then(|b| b.try_into().ok()).unwrap_or_default()
}

/// A file's header. Sizes of tables are in bytes, as in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub shape: Shape,
    pub state: State,
    pub file_id: [u8; 16],
    pub machine_id: [u8; 16],
    pub boot_id: [u8; 16],
    pub seqnum_id: [u8; 16],
    pub arena_size: u64,
    pub data_table: (u64, u64),
    pub field_table: (u64, u64),
    pub tail_object: u64,
    pub objects: u64,
    pub entries: u64,
    pub tail_seqnum: u64,
    pub head_seqnum: u64,
    pub array: u64,
    pub head_realtime: u64,
    pub tail_realtime: u64,
    pub tail_monotonic: u64,
    pub data: u64,
    pub fields: u64,
    pub arrays: u64,
    pub data_depth: u64,
    pub field_depth: u64,
    pub tail_array: u32,
    pub tail_array_used: u32,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&[0; 4]);
        let flags = KEYED_HASH | if self.shape.compact { COMPACT } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[self.state as u8, 0, 0, 0, 0, 0, 0, 0]);
        for id in [self.file_id, self.machine_id, self.boot_id, self.seqnum_id] {
            out.extend_from_slice(&id);
        }
        let tags = 0;
        for number in [
            HEADER as u64,
            self.arena_size,
            self.data_table.0,
            self.data_table.1,
            self.field_table.0,
            self.field_table.1,
            self.tail_object,
            self.objects,
            self.entries,
            self.tail_seqnum,
            self.head_seqnum,
            self.array,
            self.head_realtime,
            self.tail_realtime,
            self.tail_monotonic,
            self.data,
            self.fields,
            tags,
            self.arrays,
            self.data_depth,
            self.field_depth,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.tail_array.to_le_bytes());
        out.extend_from_slice(&self.tail_array_used.to_le_bytes());
        out.try_into().unwrap_or([0; HEADER])
    }

    /// `None`: this is not a file that this writer could go on with.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        if bytes.len() < HEADER || bytes[..8] != *SIGNATURE || u64_at(bytes, 88) != HEADER as u64 {
            return None;
        }
        let compact = match u32_at(bytes, 12) {
            KEYED_HASH => false,
            flags if flags == KEYED_HASH | COMPACT => true,
            _ => return None,
        };
        let number = |index: usize| u64_at(bytes, 88 + index * 8);
        if u32_at(bytes, 8) != 0 || number(17) != 0 {
            return None;
        }
        Some(Header {
            shape: Shape { compact },
            state: match bytes[16] {
                0 => State::Offline,
                1 => State::Online,
                2 => State::Archived,
                _ => return None,
            },
            file_id: id_at(bytes, 24),
            machine_id: id_at(bytes, 40),
            boot_id: id_at(bytes, 56),
            seqnum_id: id_at(bytes, 72),
            arena_size: number(1),
            data_table: (number(2), number(3)),
            field_table: (number(4), number(5)),
            tail_object: number(6),
            objects: number(7),
            entries: number(8),
            tail_seqnum: number(9),
            head_seqnum: number(10),
            array: number(11),
            head_realtime: number(12),
            tail_realtime: number(13),
            tail_monotonic: number(14),
            data: number(15),
            fields: number(16),
            arrays: number(18),
            data_depth: number(19),
            field_depth: number(20),
            tail_array: u32_at(bytes, 256),
            tail_array_used: u32_at(bytes, 260),
        })
    }
}

/// The hash that tables are keyed with.
pub(super) fn hash(file_id: &[u8; 16], payload: &[u8]) -> u64 {
    SipHasher24::new_with_key(file_id).hash(payload)
}

/// Jenkins' lookup3 of a payload, his two 32-bit results as one number: what `xor_hash` of an entry is made
/// of. After the description that he published with his function, which is in the public domain.
pub(super) fn lookup3(payload: &[u8]) -> u64 {
    let start = 0xdead_beef_u32.wrapping_add(payload.len() as u32);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = payload;
    while rest.len() > 12 {
        a = a.wrapping_add(u32_at(rest, 0));
        b = b.wrapping_add(u32_at(rest, 4));
        c = c.wrapping_add(u32_at(rest, 8));
        rest = &rest[12..];
        for (turn, step) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
            // Each step takes one number from the next, and hands its sum on.
            match turn % 3 {
                0 => {
                    a = a.wrapping_sub(c) ^ c.rotate_left(step);
                    c = c.wrapping_add(b);
                }
                1 => {
                    b = b.wrapping_sub(a) ^ a.rotate_left(step);
                    a = a.wrapping_add(c);
                }
                _ => {
                    c = c.wrapping_sub(b) ^ b.rotate_left(step);
                    b = b.wrapping_add(a);
                }
            }
        }
    }
    if !rest.is_empty() {
        let mut last = [0; 12];
        last[..rest.len()].copy_from_slice(rest);
        a = a.wrapping_add(u32_at(&last, 0));
        b = b.wrapping_add(u32_at(&last, 4));
        c = c.wrapping_add(u32_at(&last, 8));
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
    }
    u64::from(c) << 32 | u64::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup3_gives_the_published_values() {
        assert_eq!(lookup3(b""), 0xdead_beef_dead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551_ce72_26e6);
    }

    #[test]
    fn headers_come_back() {
        let header = Header {
            shape: Shape { compact: true },
            state: State::Online,
            file_id: [1; 16],
            machine_id: [2; 16],
            boot_id: [3; 16],
            seqnum_id: [4; 16],
            arena_size: 5,
            data_table: (6, 7),
            field_table: (8, 9),
            tail_object: 10,
            objects: 11,
            entries: 12,
            tail_seqnum: 13,
            head_seqnum: 14,
            array: 15,
            head_realtime: 16,
            tail_realtime: 17,
            tail_monotonic: 18,
            data: 19,
            fields: 20,
            arrays: 21,
            data_depth: 22,
            field_depth: 23,
            tail_array: 24,
            tail_array_used: 25,
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        (0..HEADER).for_each(|n| assert_eq!(Header::decode(&bytes[..n]), None));
        let mut unknown = bytes;
        unknown[12] |= 1 << 3;
        assert_eq!(Header::decode(&unknown), None);
    }
}
