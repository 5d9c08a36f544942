//! A folder of a test's own, which goes with it.

use std::path::{Path, PathBuf};

pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty one; `name` tells it from those of other tests.
    pub fn new(name: &str) -> Folder {
        let name = format!("journal-{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
