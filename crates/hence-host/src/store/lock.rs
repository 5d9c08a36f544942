//! Who may write: one owner per ledger, one recorder at a time. The kernel drops a lock with its process, so
//! a killed process leaves none behind.
use super::{Places, StoreError, open_private};
use crate::sys::store as sys;
use std::fs::File;
use std::io::{Read, Write};

/// Takes the owner's lock and leaves this process's pid in it.
pub(crate) fn own(places: &Places) -> Result<File, StoreError> {
    let path = places.lock();
    let mut file = open_private(&path).map_err(|e| StoreError::io("open", &path, e))?;
    if !sys::try_lock(&file).map_err(|e| StoreError::io("lock", &path, e))? {
        let mut text = String::new();
        let pid = (&file).take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
        return Err(StoreError::InUse { path: places.folder.clone(), pid });
    }
    let note = format!("{}\n", std::process::id());
    // The pid is for people; a full disk must not keep the owner from starting.
    let _ = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
    Ok(file)
}

/// Takes the recorder's lock. `None`: another recorder still finishes for an owner that is gone.
pub(crate) fn write(places: &Places) -> Result<Option<File>, StoreError> {
    let path = places.writer_lock();
    let file = open_private(&path).map_err(|e| StoreError::io("open", &path, e))?;
    let taken = sys::try_lock(&file).map_err(|e| StoreError::io("lock", &path, e))?;
    Ok(taken.then_some(file))
}
