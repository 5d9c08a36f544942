//! Which links disabling removes: those that lead to the units, under whatever name, and those that have
//! the units' names.

use super::{
    ChangeKind, Fault, Install,
    subject::{Mode, Search, Subjects},
    tree::base,
};
use crate::{UnitName, unit_path::EntryKind};
use alloc::{collections::BTreeSet, format, string::String};

/// How deep folders are searched for links.
const DEPTH_MAX: usize = 16;

/// Names and paths whose links are to go.
pub(super) type Marks = BTreeSet<String>;

impl Install<'_> {
    /// Marks the names of all subjects and of their `Also=`.
    pub(super) fn mark(&mut self, subjects: &mut Subjects, marks: &mut Marks) {
        let mut at = 0;
        while at < subjects.list.len() {
            let found = self.traverse(subjects, at, Search::BOTH);
            let subject = subjects.list[at].clone();
            at += 1;
            match found {
                Err(Fault::Dangling) => self.note(ChangeKind::Dangling, subject.path(), None),
                Err(Fault::NotFound) if subject.auxiliary => {}
                // What was left of a unit that is gone or broken is removed none the less.
                Err(fault) => drop(self.fail(fault, subject.path(), None)),
                Ok(_) if subject.mode == Mode::Masked => {
                    self.note(ChangeKind::Masked, subject.path(), None);
                    continue;
                }
                Ok(_) if subject.mode != Mode::Regular => continue,
                Ok(_) => {}
            }
            marks.insert(subject.name.as_str().into());
        }
    }

    /// Removes the links below a folder that lead to what is marked, and those that lead to those links.
    pub(super) fn remove_marked(&mut self, marks: &mut Marks, config: &str) {
        if marks.is_empty() {
            return;
        }
        while self.remove_in(marks, config, config, DEPTH_MAX) {}
    }

    /// Whether something was marked that may have been passed by already.
    fn remove_in(&mut self, marks: &mut Marks, folder: &str, config: &str, depth: usize) -> bool {
        let Some(listing) = self.tree.list(folder) else { return false };
        let mut again = false;
        for (name, kind) in listing.iter() {
            let path = format!("{folder}/{name}");
            match kind {
                EntryKind::Folder if depth > 0 => again |= self.remove_in(marks, &path, config, depth - 1),
                EntryKind::Link if self.is_marked(marks, name, &path) => {
                    self.tree.remove(&path, Some(config));
                    self.note(ChangeKind::Unlink, &path, None);
                    again |= marks.insert(path);
                }
                _ => {}
            }
        }
        again
    }

    fn is_marked(&self, marks: &Marks, name: &str, path: &str) -> bool {
        let Some(name) = UnitName::new(name) else { return false };
        if marks.contains(name.as_str()) || name.template().is_some_and(|t| marks.contains(t.as_str())) {
            return true;
        }
        let target = self.tree.resolve(path, true);
        target.is_some_and(|target| marks.contains(&target) || marks.contains(base(&target)))
    }
}
