//! Keeping the ledger within its bound: the oldest segment is summed up and removed.
//!
//! What is worth keeping is the caller's [`Fold`]'s decision. A kill at any instant loses nothing: what
//! is folded is put in place whole, under a name that tells which segments it covers, before a segment
//! goes.

use super::segment::{Header, HeaderError, Kind, Step, Walk, Writer, put_frame, sync_folder};
use super::{Fold, Places, StoreError, open_private};
use hence_ledger::{Record, decode, encode};
use std::io::Write;

/// The bounds, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub segment: u64,
    pub total: u64,
    pub folded: u64,
}

/// Removes segments that are folded already: the recorder was killed in between.
pub(crate) fn finish(places: &Places, writer: &mut Writer) {
    let Some(header) = folded_header(places) else { return };
    let done: Vec<u64> = writer.sealed().iter().map(|s| s.0).filter(|n| *n <= header.number).collect();
    for number in done {
        if std::fs::remove_file(places.segment(number)).is_ok() {
            writer.removed(number);
        }
    }
}

fn folded_header(places: &Places) -> Option<Header> {
    use std::io::Read;
    let mut bytes = [0; super::segment::HEADER];
    std::fs::File::open(places.folded()).ok()?.read_exact(&mut bytes).ok()?;
    Header::parse(&bytes).ok().filter(|h| h.kind == Kind::Folded)
}

/// Begins a new segment where the current one is full, and folds old ones until there is room for it.
pub(crate) fn keep(
    places: &Places,
    writer: &mut Writer,
    bounds: Bounds,
    fold: Fold,
) -> Result<(), StoreError> {
    if writer.length() >= bounds.segment {
        writer.rotate()?;
    }
    let mut folded = false;
    while let Some(&(number, _)) = writer.sealed().first() {
        let kept: u64 = writer.sealed().iter().map(|s| s.1).sum();
        let current = bounds.segment.max(writer.length());
        if kept + current + bounds.folded <= bounds.total {
            break;
        }
        fold_one(places, number, bounds, fold)?;
        let path = places.segment(number);
        std::fs::remove_file(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        writer.removed(number);
        folded = true;
    }
    if folded {
        crate::sys::heap::trim();
    }
    Ok(())
}

/// The records of a file of frames, as far as they are intact.
fn records(bytes: &[u8]) -> (Vec<Record>, Option<[u8; super::segment::LINK]>) {
    let mut records = Vec::new();
    let mut chain = None;
    for step in Walk::new(bytes) {
        if let Step::Frame { frame, link } = step {
            chain = Some(link);
            records.extend(decode(Step::payload(frame)));
        }
    }
    (records, chain)
}

fn fold_one(places: &Places, number: u64, bounds: Bounds, fold: Fold) -> Result<(), StoreError> {
    let path = places.segment(number);
    let bytes = std::fs::read(&path).map_err(|e| StoreError::io("read", &path, e))?;
    let header = match Header::parse(&bytes) {
        Ok(header) => header,
        Err(HeaderError::Newer(version)) => return Err(StoreError::Newer { path, version: version.into() }),
        Err(HeaderError::Damaged) => {
            Header { kind: Kind::Segment, chain: [0; 16], last_id: 0, last_own: 0, number }
        }
    };
    let (new, chain) = records(&bytes);
    drop(bytes);
    let old_path = places.folded();
    let old = match std::fs::read(&old_path) {
        Ok(bytes) => match Header::parse(&bytes) {
            Ok(h) if h.kind == Kind::Folded => records(&bytes).0,
            Ok(_) | Err(HeaderError::Damaged) => Vec::new(),
            Err(HeaderError::Newer(version)) => {
                return Err(StoreError::Newer { path: old_path, version: version.into() });
            }
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(StoreError::io("read", &old_path, e)),
    };
    let last_of = |own: bool, base: u64| {
        let ids = new.iter().map(|r| r.id.0).filter(|id| (id & super::OWN != 0) == own);
        ids.max().unwrap_or(0).max(base)
    };
    let header = Header {
        kind: Kind::Folded,
        chain: chain.unwrap_or(header.chain),
        last_id: last_of(false, header.last_id),
        last_own: last_of(true, header.last_own),
        number,
    };
    let limit = usize::try_from(bounds.folded).unwrap_or(usize::MAX);
    let kept = fold(old, new, limit);
    write_folded(places, &header, &kept, limit)
}

fn write_folded(places: &Places, header: &Header, kept: &[Record], limit: usize) -> Result<(), StoreError> {
    let fresh = places.folded().with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let write = || {
        let mut file = open_private(&fresh)?;
        let mut out = header.bytes().to_vec();
        let (mut chain, mut payload, mut written) = (header.chain, Vec::new(), 0);
        for record in kept {
            payload.clear();
            encode(record, &mut payload);
            if payload.len() > super::ring::layout::MAX_PAYLOAD || written + out.len() + payload.len() > limit
            {
                continue;
            }
            put_frame(&mut out, &mut chain, &payload);
            if out.len() > 64 << 10 {
                file.write_all(&out)?;
                written += out.len();
                out.clear();
            }
        }
        file.write_all(&out)?;
        file.sync_data()?;
        std::fs::rename(&fresh, places.folded())
    };
    let result: std::io::Result<()> = write();
    if let Err(e) = result {
        let _ = std::fs::remove_file(&fresh);
        return Err(StoreError::io("write", &places.folded(), e));
    }
    sync_folder(&places.folder);
    Ok(())
}
