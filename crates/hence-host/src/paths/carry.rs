//! What path units wait for is handed to the program that takes hence's place, with the inotify instance and
//! the numbers of its watches: so no change is missed.

use super::{Paths, Watched};
use crate::carry::{Names, Out, Taking};
use hence_engine::carry::{Section, Unread};

/// Every directive that waits.
const CHECKS: [&str; 5] =
    ["PathExists", "PathExistsGlob", "PathChanged", "PathModified", "DirectoryNotEmpty"];

impl Paths {
    pub(crate) fn carry(&self, out: &mut Out<'_>, names: Names<'_>) {
        for watched in &self.watched {
            let Some(name) = names(watched.unit) else { continue };
            out.text.section("path", &name);
            out.text.field("check", &String::from(watched.check));
            out.text.field("path", &watched.path);
            out.text.field("watches", &watched.watches);
        }
    }

    /// Whether all of them could be taken up.
    pub(crate) fn take_up(&mut self, taking: &mut Taking<'_, '_>) -> bool {
        let carried = taking.carried;
        let mut whole = true;
        for from in carried.of("path") {
            let taken = self.take_one(from, taking);
            whole &= taken.is_ok();
            taking.note(&format!("path {}", from.name), taken);
        }
        whole
    }

    fn take_one(&mut self, from: &Section<'_>, taking: &Taking<'_, '_>) -> Result<(), Unread> {
        let (unit, _) = (taking.find)(&from.name).ok_or_else(|| Unread("unit".into()))?;
        let named: String = from.need("check")?;
        let check = CHECKS.into_iter().find(|check| *check == named);
        let check = check.ok_or_else(|| Unread("check".into()))?;
        let watches: Vec<i32> = from.need("watches")?;
        for watch in &watches {
            *self.users.entry(*watch).or_insert(0) += 1;
        }
        self.watched.push(Watched { unit, check, path: from.need("path")?, watches });
        Ok(())
    }
}
