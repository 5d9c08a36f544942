//! The view that a unit's processes have of the file system: a mount namespace in which folders are
//! read-only, hidden or its own. `of_unit` says what is to be done, `apply` does it in the executor.

use crate::{mountinfo, sys::namespace};
use hence_unit::config::Protection;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

const READ_ONLY: char = 'r';
const WRITABLE: char = 'w';
const HIDDEN: char = 'h';
const EMPTY: char = 'e';
const OWN_TMP: char = 't';

/// Nodes without any permission that hide others: the same that systemd has.
const INACCESSIBLE: &str = "/run/systemd/inaccessible";

/// The steps for a unit: what is to become of a path, and the path with its marks `-` and `+`.
pub(crate) fn of_unit(protection: &Protection, own_tmp: Option<&Path>, folders: &[String]) -> Vec<String> {
    let mut steps = Vec::new();
    let mut add = |what: char, paths: &[&str]| steps.extend(paths.iter().map(|path| format!("{what}{path}")));
    if let Some(folder) = own_tmp {
        add(OWN_TMP, &[&folder.display().to_string()]);
        add(WRITABLE, &["-/tmp", "-/var/tmp"]);
    }
    match protection.system {
        0 => {}
        1 => add(READ_ONLY, &["-+/usr", "-+/boot", "-+/efi"]),
        2 => add(READ_ONLY, &["-+/usr", "-+/boot", "-+/efi", "-+/etc"]),
        _ => {
            add(READ_ONLY, &["+/"]);
            add(WRITABLE, &["-+/proc", "-+/sys", "-+/dev", "-+/home", "-+/root", "-+/run/user"]);
        }
    }
    let homes = &["-+/home", "-+/root", "-+/run/user"];
    match protection.home {
        0 => {}
        1 => add(HIDDEN, homes),
        2 => add(READ_ONLY, homes),
        _ => add(EMPTY, homes),
    }
    for folder in folders {
        add(WRITABLE, &[&format!("-{folder}")]);
    }
    for (what, paths) in [
        (WRITABLE, &protection.read_write_paths),
        (READ_ONLY, &protection.read_only_paths),
        (HIDDEN, &protection.inaccessible_paths),
    ] {
        paths.iter().for_each(|path| add(what, &[path]));
    }
    steps
}

/// Makes the folders that become /tmp and /var/tmp of one unit. Their name can't be foreseen.
pub(crate) fn make_own_tmp(name: &str) -> io::Result<PathBuf> {
    let folder = Path::new("/tmp").join(name);
    // Fails where somebody has it already.
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    for part in ["tmp", "var-tmp"] {
        fs::create_dir(folder.join(part))?;
        fs::set_permissions(folder.join(part), fs::Permissions::from_mode(0o1777))?;
    }
    Ok(folder)
}

/// Gives this process its own view. Without the right to that, it says so and goes on, as systemd does in
/// containers.
///
/// # Errors
/// On what, and why.
pub(crate) fn apply(steps: &[String], root: Option<&str>) -> Result<(), (String, io::Error)> {
    let whole = |e: io::Error| ("mount namespace".to_owned(), e);
    match namespace::unshare_mounts() {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("hence-executor: mount namespace: {e}: paths are protected by nothing");
            return Ok(());
        }
        result => result.map_err(whole)?,
    }
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(|e| whole(e.into()))?;
    let mut found: Vec<(String, char)> = Vec::new();
    for step in steps {
        let what = step.chars().next().unwrap_or(WRITABLE);
        let marked = &step[what.len_utf8()..];
        if what == OWN_TMP {
            own_tmp(marked).map_err(|e| (marked.to_owned(), e))?;
            continue;
        }
        let (optional, path) = marked.strip_prefix('-').map_or((false, marked), |rest| (true, rest));
        let path = match (path.strip_prefix('+'), root) {
            (Some(path), Some(root)) => format!("{root}{path}"),
            (Some(path), None) => path.to_owned(),
            (None, _) => path.to_owned(),
        };
        match fs::canonicalize(&path) {
            Ok(real) => found.push((real.display().to_string(), what)),
            Err(e) if optional && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err((path, e)),
        }
    }
    // Those above before those below; of several for one path the last counts.
    found.reverse();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.dedup_by(|later, first| later.0 == first.0);
    for (path, what) in &found {
        place(path, *what).map_err(|e| (path.clone(), e))?;
    }
    for mounted in mountinfo::read() {
        let inside = |path: &str| Path::new(&mounted.at).starts_with(path);
        let nearest = found.iter().filter(|(path, _)| inside(path)).max_by_key(|(path, _)| path.len());
        if nearest.is_some_and(|(_, what)| matches!(*what, READ_ONLY | EMPTY)) {
            match namespace::make_read_only(&mounted.at) {
                // Hidden below another mount, where nobody gets to.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(|e| (mounted.at.clone(), e))?,
            }
        }
    }
    Ok(())
}

fn own_tmp(folder: &str) -> io::Result<()> {
    mount_bind(format!("{folder}/var-tmp"), "/var/tmp")?;
    Ok(mount_bind(format!("{folder}/tmp"), "/tmp")?)
}

/// Makes the path a mount that can be treated by itself.
fn place(path: &str, what: char) -> io::Result<()> {
    match what {
        // Hidden by one of the former.
        _ if fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) => Ok(()),
        HIDDEN => Ok(mount_bind(inaccessible(Path::new(path).is_dir())?, path)?),
        EMPTY => Ok(mount("tmpfs", path, "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, c"mode=755")?),
        _ if path == "/" => Ok(()),
        _ => Ok(mount_bind_recursive(path, path)?),
    }
}

/// What hides a folder, or a file.
fn inaccessible(is_folder: bool) -> io::Result<PathBuf> {
    let node = Path::new(INACCESSIBLE).join(if is_folder { "dir" } else { "reg" });
    if !node.exists() {
        fs::create_dir_all(INACCESSIBLE)?;
        if is_folder {
            fs::DirBuilder::new().mode(0o000).recursive(true).create(&node)?;
        } else {
            fs::OpenOptions::new().create(true).append(true).open(&node)?;
            fs::set_permissions(&node, fs::Permissions::from_mode(0o000))?;
        }
    }
    Ok(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_leaves_what_is_named_writable() {
        let protection =
            Protection { system: 3, read_write_paths: vec!["/srv/open".into()], ..Protection::default() };
        let steps = of_unit(&protection, None, &["/var/lib/x".to_owned()]);
        assert_eq!(steps[0], "r+/");
        assert_eq!(steps[steps.len() - 2..], ["w-/var/lib/x", "w/srv/open"]);
        assert!(of_unit(&Protection::default(), None, &[]).is_empty());
    }
}
