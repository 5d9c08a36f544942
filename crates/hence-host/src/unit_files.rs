//! Links to unit files, made and removed as `hence_unit::install` decided; each either whole or not at all.
//! It decides nothing, but refuses paths outside of the folders that it is given.

use hence_unit::install::Step;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Component, Path},
};

/// A step that failed; those before it are done, those behind it are not.
#[derive(Debug)]
pub struct StepError {
    /// The file or link.
    pub path: String,
    /// What the system says.
    pub error: io::Error,
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.error.to_string();
        let text = text.split(" (os error").next().unwrap_or(&text);
        write!(f, "File {}: {text}", self.path)
    }
}

impl std::error::Error for StepError {}

/// Does the steps in their order, all of them below one of the folders.
///
/// # Errors
/// The first step that can't be done.
pub fn change_unit_files(steps: &[Step], folders: &[String]) -> Result<(), StepError> {
    for step in steps {
        let (Step::Link { path, .. } | Step::Unlink { path, .. } | Step::RemoveAll { path }) = step;
        let at = Path::new(path);
        let plain = at.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let below = |folder: &String| at.starts_with(folder) && at != Path::new(folder);
        let done = if plain && folders.iter().any(below) {
            change(step)
        } else {
            Err(io::Error::from(io::ErrorKind::PermissionDenied))
        };
        done.map_err(|error| StepError { path: path.clone(), error })?;
    }
    Ok(())
}

fn change(step: &Step) -> io::Result<()> {
    match step {
        Step::Link { path, target, replace } => {
            let path = Path::new(path);
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
            }
            if *replace { replace_link(target, path) } else { symlink(target, path) }
        }
        Step::Unlink { path, below } => {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let Some(below) = below.as_deref().map(Path::new) else { return Ok(()) };
            let above = Path::new(path).ancestors().skip(1);
            for folder in above.take_while(|folder| folder.starts_with(below) && *folder != below) {
                // One that isn't empty stays, and so do those above it.
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok(())
        }
        Step::RemoveAll { path } => {
            if fs::symlink_metadata(path)?.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
        }
    }
}

/// Puts a link at the place of another one: there is always one of both.
fn replace_link(target: &str, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let own = path.with_file_name(format!(".#{name}{:016x}", std::process::id()));
    match fs::remove_file(&own) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &own)?;
    fs::rename(&own, path).inspect_err(|_| drop(fs::remove_file(&own)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn links_are_made_replaced_and_removed() {
        let root = std::env::temp_dir().join(format!("hence-unit-files-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let config = format!("{}/etc", root.display());
        let link = format!("{config}/a.target.wants/b.service");
        let folders = [config.clone()];
        let make = |target: &str, replace| Step::Link { path: link.clone(), target: target.into(), replace };
        change_unit_files(&[make("/x/b.service", false)], &folders).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/x/b.service"));
        let mode = fs::metadata(Path::new(&link).parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !0o755, 0);
        let refused = change_unit_files(&[make("/y/b.service", false)], &folders).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(refused.to_string(), format!("File {link}: File exists"));
        change_unit_files(&[make("/y/b.service", true)], &folders).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("/y/b.service"));
        assert_eq!(fs::read_dir(Path::new(&link).parent().unwrap()).unwrap().count(), 1);
        let unlink = Step::Unlink { path: link.clone(), below: Some(config.clone()) };
        change_unit_files(&[unlink.clone(), unlink], &folders).unwrap();
        assert_eq!(fs::read_dir(&config).unwrap().count(), 0);
        for path in
            [format!("{config}/../b.service"), "/b.service".into(), config.clone(), "b.service".into()]
        {
            let step = Step::RemoveAll { path };
            let refused = change_unit_files(&[step], &folders).unwrap_err();
            assert_eq!(refused.error.kind(), io::ErrorKind::PermissionDenied);
        }
        fs::create_dir_all(format!("{config}/b.service.d/deep")).unwrap();
        let remove = Step::RemoveAll { path: format!("{config}/b.service.d") };
        change_unit_files(&[remove], &folders).unwrap();
        assert_eq!(fs::read_dir(&config).unwrap().count(), 0);
        fs::remove_dir_all(&root).unwrap();
    }
}
