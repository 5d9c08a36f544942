//! `hence predict` against reality and against its own word: sets of units whose counts and order were
//! recorded from a real systemd (`record.py` beside this records them again), the incident at its full
//! length, the command line, and the page in a browser.

mod browser;
#[path = "../shared/browser.rs"]
mod browsing;
mod command;
mod live;
mod reality;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `hence predict`.
pub fn predict(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hence"));
    command.arg("predict").args(arguments).env("COLUMNS", "100").env_remove("XDG_RUNTIME_DIR");
    command.output().expect("hence can be started")
}

/// The same, as JSON; its exit status.
pub fn json(arguments: &[&str]) -> (serde_json::Value, i32) {
    let output = predict(&[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}{said}"));
    (value, output.status.code().expect("it ends by itself"))
}

/// The units of the incident as they were.
pub fn incident() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/incident/units");
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// A folder of its own for one test, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty one.
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("hence-predict-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder below the temporary one");
        Folder(path)
    }

    /// One with these files, (path, text).
    pub fn of(name: &str, files: &[(&str, &str)]) -> Folder {
        let folder = Folder::new(name);
        for (file, text) in files {
            let path = folder.0.join(file);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        folder
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
