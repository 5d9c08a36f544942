//! Unit files that clients make while hence runs: transient units, and drop-ins of changed settings; where
//! they lie and when they go. What stands in them is the front's to say. systemd.unit(5), "Unit File Load
//! Path".

use crate::units::Units;
use hence_ledger::FileIdentity;
use hence_unit::{Config, Level, UnitName};
use std::io;
use std::path::{Path, PathBuf};

/// The folders of such files.
#[derive(Clone, Debug)]
pub struct LiveFolders {
    /// Drop-ins that stay.
    pub persistent: PathBuf,
    /// Drop-ins that go with the machine's next start, or with this hence.
    pub runtime: PathBuf,
    /// Transient units.
    pub transient: PathBuf,
}

impl LiveFolders {
    /// For units of the system's own folders.
    pub fn system() -> LiveFolders {
        LiveFolders {
            persistent: "/etc/systemd/system.control".into(),
            runtime: "/run/systemd/system.control".into(),
            transient: "/run/systemd/transient".into(),
        }
    }

    /// For a user's units: below where its configuration and its runtime files lie.
    pub fn user(config: &Path, runtime: &Path) -> LiveFolders {
        LiveFolders {
            persistent: config.join("systemd/user.control"),
            runtime: runtime.join("systemd/user.control"),
            transient: runtime.join("systemd/transient"),
        }
    }

    /// For a folder of units that is run by itself: in its ledger's folder.
    pub fn of_ledger(ledger: &Path) -> LiveFolders {
        let units = ledger.join("units");
        LiveFolders {
            persistent: units.join("control"),
            runtime: units.join("runtime.control"),
            transient: units.join("transient"),
        }
    }

    /// Those that win over all other folders, the first first.
    pub fn search(&self) -> Vec<String> {
        let all = [&self.persistent, &self.runtime, &self.transient];
        all.into_iter().filter_map(|folder| folder.to_str()).map(String::from).collect()
    }

    /// Removes what an earlier hence made for its own time.
    pub fn clear(&self) {
        for folder in [&self.runtime, &self.transient] {
            // What is not there need not go.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// A unit as its files say.
pub type Read = (Box<Config>, Vec<FileIdentity>);

/// Why files could not be made.
#[derive(Debug)]
pub enum Unmade {
    /// What the system said.
    System(io::Error),
    /// A value is of no use: the directive, and what is wrong with it.
    Value(String, String),
}

impl From<io::Error> for Unmade {
    fn from(error: io::Error) -> Unmade {
        Unmade::System(error)
    }
}

/// Makes the file of a transient unit and reads it. A value that the loader can't use is refused, and nothing
/// stays behind.
///
/// # Errors
/// The value, or what the system said.
pub fn make(folders: &LiveFolders, units: &mut Units, name: &UnitName, text: &str) -> Result<Read, Unmade> {
    let path = folders.transient.join(name.as_str());
    put(&path, text)?;
    units.look_at(name, &folders.transient);
    let (config, files) = units.read(name);
    // A drop-in of the machine's owner isn't the client's to mend.
    let own = path.to_str().unwrap_or_default();
    let wrong = config.diagnostics.iter().find(|d| {
        let level = matches!(d.level, Level::Error | Level::Warning);
        level && &*d.place.file == own && d.rule == "bad-value"
    });
    if let Some(wrong) = wrong {
        let line = text.lines().nth(wrong.place.line.saturating_sub(1) as usize).unwrap_or_default();
        let (directive, value) = line.split_once('=').unwrap_or((line, ""));
        let refused = Unmade::Value(directive.to_owned(), value.to_owned());
        remove(folders, units, name);
        return Err(refused);
    }
    Ok((Box::new(config), files))
}

/// A transient unit is gone: its files go, too.
pub fn remove(folders: &LiveFolders, units: &mut Units, name: &UnitName) {
    let path = folders.transient.join(name.as_str());
    if std::fs::remove_file(&path).is_ok() {
        let _ = std::fs::remove_dir_all(folders.transient.join(format!("{name}.d")));
        units.look_at(name, &folders.transient);
    }
}

/// Writes drop-ins of a unit, by their names without `50-` and `.conf`, and reads the unit anew.
///
/// # Errors
/// What the system said.
pub fn drop_ins(
    folders: &LiveFolders,
    units: &mut Units,
    (name, transient): (&UnitName, bool),
    runtime: bool,
    texts: &[(String, String)],
) -> Result<Read, Unmade> {
    let folder = match (transient, runtime) {
        (true, _) => &folders.transient,
        (false, true) => &folders.runtime,
        (false, false) => &folders.persistent,
    };
    for (property, text) in texts {
        put(&folder.join(format!("{name}.d")).join(format!("50-{property}.conf")), text)?;
        // What holds for now only must not win over what was set to stay.
        if !runtime && !transient {
            let other = folders.runtime.join(format!("{name}.d")).join(format!("50-{property}.conf"));
            let _ = std::fs::remove_file(other);
        }
    }
    units.look_at(name, folder);
    let (config, files) = units.read(name);
    Ok((Box::new(config), files))
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new~");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}
