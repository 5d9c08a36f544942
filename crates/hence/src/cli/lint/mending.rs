//! Safe mends: what they would change, and changing it. A file is written anew beside the old one and takes
//! its
//! place at once, with its owner and permissions.

use crate::exit::{TROUBLE, Trouble};
use crate::report::lint::{Mended, Told};
use hence_unit::lint::{Change, Edit, mend};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// The edits of each file, by its path.
fn edits(told: &Told) -> BTreeMap<&str, Vec<&Edit>> {
    let mut files: BTreeMap<&str, Vec<&Edit>> = BTreeMap::new();
    for found in &told.findings {
        for edit in &found.finding.edits {
            files.entry(&found.path).or_default().push(edit);
        }
    }
    files
}

fn trouble(path: &str, error: &io::Error) -> Trouble {
    Trouble::new(TROUBLE, format!("{path}: {error}"))
}

fn changed(path: &str, edits: &[&Edit]) -> Result<Mended, Trouble> {
    let old = fs::read_to_string(path).map_err(|e| trouble(path, &e))?;
    let (new, _) = mend::apply(&old, edits);
    let mode = edits.iter().filter_map(|e| match e.change {
        Change::Mode(mode) => Some(mode),
        _ => None,
    });
    // Several rules may each take something away.
    let mode = mode.reduce(|a, b| a & b);
    let difference = if old == new { String::new() } else { mend::difference(path, &old, &new) };
    Ok(Mended { path: path.into(), difference, new: (old != new).then_some(new), mode })
}

/// What --fix would change, as diff -u shows it.
///
/// # Errors
/// A file that can't be read.
pub fn differences(told: &Told) -> Result<String, Trouble> {
    let mut out = String::new();
    for (path, edits) in edits(told) {
        let mended = changed(path, &edits)?;
        out += &mended.difference;
        if let Some(mode) = mended.mode {
            out += &format!("chmod {mode:o} {path}\n");
        }
    }
    Ok(out)
}

/// Mends what can be mended, file by file.
///
/// # Errors
/// The first file that can't be read or written; those before it are mended.
pub fn mend(told: &Told) -> Result<Vec<Mended>, Trouble> {
    let mut done = Vec::new();
    for (path, edits) in edits(told) {
        let mended = changed(path, &edits)?;
        write(&mended).map_err(|e| trouble(path, &e))?;
        done.push(mended);
    }
    Ok(done)
}

fn write(mended: &Mended) -> io::Result<()> {
    // A link stays one: what it leads to is written.
    let path = fs::canonicalize(&mended.path)?;
    let metadata = fs::metadata(&path)?;
    let mode = mended.mode.unwrap_or(metadata.mode() & 0o7777);
    let Some(new) = &mended.new else {
        return fs::set_permissions(&path, Permissions::from_mode(mode));
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".#{name}.{:x}", std::process::id()));
    let written = write_beside(&beside, new, mode, &metadata).and_then(|()| fs::rename(&beside, &path));
    written.inspect_err(|_| drop(fs::remove_file(&beside)))
}

fn write_beside(path: &Path, text: &str, mode: u32, old: &fs::Metadata) -> io::Result<()> {
    let mut file: File = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    let now = file.metadata()?;
    if (now.uid(), now.gid()) != (old.uid(), old.gid()) {
        chown(path, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}
