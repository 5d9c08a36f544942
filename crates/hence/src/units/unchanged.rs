//! Which units a reload need not read again: their files are the same ones, and unchanged since they were
//! read. It looks at metadata only, and where that could hide a change, the files are read.

use hence_host::version;
use hence_ledger::{FileIdentity, Version};
use hence_unit::unit_path::UnitPath;
use hence_unit::{Config, UnitName, load};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A file system's time stamps move on in steps of at most this many nanoseconds.
const STEP_NS: i64 = 100_000_000;
/// As [`STEP_NS`], of file systems that count whole seconds, or every second one.
const COARSE_STEP_NS: i64 = 3_000_000_000;

/// What is known of the moments in which units were read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Units with files that were changed so shortly before they were read that a later change may bear the
    /// same time.
    recent: RefCell<BTreeSet<UnitName>>,
    /// The same of the time before the reload that is going on.
    doubtful: BTreeSet<UnitName>,
    /// What specifiers stand for, or the defaults of the whole, became something else since all were read.
    pub others: bool,
    /// The same of the time before the reload that is going on.
    all: bool,
}

impl Reading {
    /// Now, as times of files are.
    pub fn now_ns() -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
    }

    /// A unit was read from these files, not before `since_ns`.
    pub fn was_read(&self, name: &UnitName, files: &[FileIdentity], since_ns: i64) {
        if files.iter().filter_map(|file| file.version).any(|version| is_recent(version, since_ns)) {
            self.recent.borrow_mut().insert(name.clone());
        }
    }

    /// All units are about to be read anew, but for those that are unchanged.
    pub fn begins(&mut self) {
        self.doubtful = std::mem::take(self.recent.get_mut());
        self.all = std::mem::take(&mut self.others);
    }

    /// Whether reading a unit again would show what it showed, as far as its files go.
    pub fn is_unchanged(&self, path: &UnitPath, config: &Config, files: &[FileIdentity]) -> bool {
        let same =
            |file: &FileIdentity| file.version.is_some() && file.version == version(Path::new(&*file.path));
        !self.all
            && files.len() == config.sources.len()
            && !self.doubtful.contains(config.id())
            && load::has_same_files(path, config)
            && files.iter().all(same)
    }
}

/// Whether a file may be changed after this moment and still be of this version.
fn is_recent(version: Version, at_ns: i64) -> bool {
    let whole = version.changed_ns % 1_000_000_000 == 0;
    version.changed_ns.saturating_add(if whole { COARSE_STEP_NS } else { STEP_NS }) >= at_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_host::DiskFiles;
    use hence_unit::config::Environs;
    use std::fs;

    #[test]
    fn what_may_have_changed_unseen() {
        let version = |changed_ns| Version { changed_ns, ..Version::default() };
        assert!(is_recent(version(5_000_000_001), 5_000_000_001));
        assert!(is_recent(version(5_000_000_001), 5_100_000_001));
        assert!(!is_recent(version(5_000_000_001), 5_100_000_002));
        assert!(is_recent(version(5_000_000_000), 8_000_000_000));
        assert!(!is_recent(version(5_000_000_000), 8_000_000_001));
        // The clock was set back, or the file is another machine's.
        assert!(is_recent(version(9_000_000_001), 5_000_000_001));
    }

    #[test]
    fn only_what_is_sure_to_be_the_same_is_passed_over() {
        let folder = std::env::temp_dir().join(format!("hence-unchanged-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.service");
        fs::write(&file, "[Service]\nExecStart=/bin/true\n").unwrap();
        let folders = [folder.to_str().unwrap().to_owned()];
        let name = UnitName::new("a.service").unwrap();
        let scan = || UnitPath::scan(&DiskFiles, &folders);
        let path = scan();
        let (config, files) = hence_host::load(&path, &Environs::default(), &name);
        let mut reading = Reading::default();
        let unchanged = |reading: &Reading| reading.is_unchanged(&scan(), &config, &files);

        // Long after the file was written; then at once.
        reading.was_read(&name, &files, i64::MAX);
        reading.begins();
        assert!(unchanged(&reading));
        reading.was_read(&name, &files, 0);
        reading.begins();
        assert!(!unchanged(&reading));
        reading.begins();
        assert!(unchanged(&reading));

        reading.others = true;
        assert!(unchanged(&reading));
        reading.begins();
        assert!(!unchanged(&reading));
        reading.begins();

        // A drop-in, a dependency by a link, another name, another content, another file.
        let drop_ins = folder.join("a.service.d");
        fs::create_dir_all(&drop_ins).unwrap();
        assert!(unchanged(&reading));
        fs::write(drop_ins.join("x.conf"), "[Unit]\n").unwrap();
        assert!(!unchanged(&reading));
        fs::remove_dir_all(&drop_ins).unwrap();
        let wants = folder.join("a.service.wants");
        fs::create_dir_all(&wants).unwrap();
        std::os::unix::fs::symlink("../b.service", wants.join("b.service")).unwrap();
        assert!(!unchanged(&reading));
        fs::remove_dir_all(&wants).unwrap();
        let alias = folder.join("c.service");
        std::os::unix::fs::symlink("a.service", &alias).unwrap();
        assert!(!unchanged(&reading));
        fs::remove_file(&alias).unwrap();
        assert!(unchanged(&reading));
        fs::write(&file, "[Service]\nExecStart=/bin/false\n").unwrap();
        assert!(!unchanged(&reading));
        let (config, files) = hence_host::load(&path, &Environs::default(), &name);
        assert!(reading.is_unchanged(&scan(), &config, &files));
        fs::remove_file(&file).unwrap();
        assert!(!reading.is_unchanged(&scan(), &config, &files));
        std::os::unix::fs::symlink("/dev/null", &file).unwrap();
        assert!(!reading.is_unchanged(&scan(), &config, &files));
        fs::remove_dir_all(&folder).unwrap();
    }
}
