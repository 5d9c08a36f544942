//! RuntimeDirectory=, StateDirectory= and their kin, as the executor makes them: systemd.exec(5).
//!
//! Folders of a user that is made up lie below one that nobody else can enter, with a link from where they
//! are named. A folder that was made the other way, before the unit had such a user or since it has none, is
//! moved.

use rustix::fs::Mode;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Component, Path, PathBuf},
};

/// User and group.
type Owner = (Option<u32>, Option<u32>);

/// Makes a folder with those above it; it gets mode and owner, also when it was there. Behind a NUL stands
/// the folder that the first is to be a link to.
pub(crate) fn make(path: &str, mode: u32, owner: Owner, made_up: bool) -> io::Result<()> {
    match path.split_once('\0') {
        None => {
            bring_back(Path::new(path))?;
            make_one(Path::new(path), mode, owner, made_up)
        }
        Some((link, folder)) => {
            let (link, folder) = (Path::new(link), Path::new(folder));
            make_apart(link, folder)?;
            make_one(folder, mode, owner, made_up)?;
            point(link, folder)
        }
    }
}

fn make_one(path: &Path, mode: u32, (uid, gid): Owner, made_up: bool) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    let about = fs::symlink_metadata(path)?;
    if !about.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(Mode::from_raw_mode(mode).bits() & 0o7777))?;
    let differs = uid.is_some_and(|uid| uid != about.uid()) || gid.is_some_and(|gid| gid != about.gid());
    if differs {
        chown(path, uid, gid)?;
        // What gives rights may not go from one made-up user to the next.
        let mode = if made_up { 0o1777 } else { 0o7777 };
        hand_over(path, (uid, gid), mode)?;
    }
    Ok(())
}

/// All that is below becomes the user's, too, with no more than these mode bits.
fn hand_over(folder: &Path, owner: Owner, most: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (about, path) = (entry.metadata()?, entry.path());
        lchown(&path, owner.0, owner.1)?;
        if about.is_dir() {
            hand_over(&path, owner, most)?;
        }
        let mode = about.permissions().mode() & 0o7777;
        // A change of the owner takes them, too.
        if !about.is_symlink() && mode & 0o6000 != 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode & most))?;
        }
    }
    Ok(())
}

/// The folders above one of a user that is made up; what lies where the link is to be becomes that one.
fn make_apart(link: &Path, folder: &Path) -> io::Result<()> {
    let private = folder.ancestors().find(|above| above.ends_with("private"));
    let private = private.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(private) {
        Ok(()) => fs::set_permissions(private, fs::Permissions::from_mode(0o700))?,
        Err(e) => return Err(e),
    }
    for above in [link.parent(), folder.parent()].into_iter().flatten() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    let real = fs::symlink_metadata(link).is_ok_and(|about| about.is_dir());
    if real && fs::symlink_metadata(folder).is_err() {
        fs::rename(link, folder)?;
    }
    Ok(())
}

/// The way from a link to a folder, relative to the link.
fn way(link: &Path, folder: &Path) -> PathBuf {
    let from: Vec<Component<'_>> = link.parent().into_iter().flat_map(Path::components).collect();
    let to: Vec<Component<'_>> = folder.components().collect();
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[same..].iter().map(|_| Component::ParentDir);
    up.chain(to[same..].iter().copied()).collect()
}

fn point(link: &Path, folder: &Path) -> io::Result<()> {
    let target = way(link, folder);
    match fs::read_link(link) {
        Ok(there) if there == target || link.parent().is_some_and(|above| above.join(&there) == folder) => {
            return Ok(());
        }
        Ok(_) => fs::remove_file(link)?,
        Err(_) => {}
    }
    symlink(target, link)
}

/// The unit had a user that was made up, and has none now: its folder comes to where it is named.
fn bring_back(path: &Path) -> io::Result<()> {
    let Ok(target) = fs::read_link(path) else { return Ok(()) };
    let folder = path.parent().unwrap_or(path).join(target);
    let folder = fs::canonicalize(folder)?;
    let name = path.file_name();
    let private = folder.components().any(|part| part.as_os_str() == "private");
    if private && folder.file_name() == name && folder.is_dir() {
        fs::remove_file(path)?;
        fs::rename(folder, path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_folders_apart() {
        let of = |link, folder| way(Path::new(link), Path::new(folder)).display().to_string();
        assert_eq!(of("/var/lib/x", "/var/lib/private/x"), "private/x");
        assert_eq!(of("/var/lib/a/x", "/var/lib/private/a/x"), "../private/a/x");
    }

    #[test]
    fn a_folder_goes_apart_and_comes_back() {
        let root = std::env::temp_dir().join(format!("hence-folders-{}", std::process::id()));
        let (link, folder) = (root.join("a/x"), root.join("private/a/x"));
        fs::create_dir_all(&link).unwrap();
        fs::write(link.join("file"), "kept").unwrap();
        let both = format!("{}\0{}", link.display(), folder.display());
        for _ in 0..2 {
            make(&both, 0o750, (None, None), true).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("../private/a/x"));
            assert_eq!(fs::read_to_string(link.join("file")).unwrap(), "kept");
            assert_eq!(fs::metadata(root.join("private")).unwrap().mode() & 0o777, 0o700);
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o750);
        }
        make(&link.display().to_string(), 0o755, (None, None), false).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_dir() && !folder.exists());
        assert_eq!(fs::read_to_string(link.join("file")).unwrap(), "kept");
        fs::remove_dir_all(root).unwrap();
    }
}
