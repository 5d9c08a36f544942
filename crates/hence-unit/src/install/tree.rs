//! The folders of unit files as they are, and as they will be after what was decided so far. It changes
//! nothing on disk: each change becomes a step for the host.

use super::{Fault, Step};
use crate::unit_path::{Entry, EntryKind, FileError, Files};
use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, VecDeque},
    format,
    rc::Rc,
    string::String,
    vec::Vec,
};
use core::cell::RefCell;

/// How many links a path may lead through.
const HOPS_MAX: usize = 40;

/// The entries of a folder by name.
pub(super) type Listing = BTreeMap<String, EntryKind>;

pub(super) struct Tree<'f> {
    files: &'f dyn Files,
    /// What was read of links, and what was decided about them.
    links: RefCell<BTreeMap<String, Option<String>>>,
    /// The same of folders; `None`: there is none.
    folders: RefCell<BTreeMap<String, Option<Rc<Listing>>>>,
    steps: Vec<Step>,
}

/// The folder of a path, and the last part of it.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => ("", path),
    }
}

pub(super) fn base(path: &str) -> &str {
    split(path).1
}

pub(super) fn join(folder: &str, name: &str) -> String {
    if folder == "/" { format!("/{name}") } else { format!("{folder}/{name}") }
}

impl<'f> Tree<'f> {
    pub(super) fn new(files: &'f dyn Files) -> Tree<'f> {
        Tree { files, links: RefCell::default(), folders: RefCell::default(), steps: Vec::new() }
    }

    pub(super) fn take_steps(&mut self) -> Vec<Step> {
        core::mem::take(&mut self.steps)
    }

    /// Where a link points, as it is written; the folder's own path leads through no link.
    fn link_at(&self, path: &str) -> Option<String> {
        if let Some(known) = self.links.borrow().get(path) {
            return known.clone();
        }
        let target = self.files.link(path);
        self.links.borrow_mut().insert(path.to_owned(), target.clone());
        target
    }

    /// The path without links, `.` and `..`; of the last part, a link is followed only where that is wanted.
    /// What doesn't exist stays as it is written. `None`: links lead in a circle.
    pub(super) fn resolve(&self, path: &str, follow_last: bool) -> Option<String> {
        let mut left: VecDeque<String> = path.split('/').map(str::to_owned).collect();
        let mut done = String::new();
        let mut hops = 0;
        while let Some(part) = left.pop_front() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.truncate(done.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = format!("{done}/{part}");
            let last = left.iter().all(|part| part.is_empty());
            let target = if last && !follow_last { None } else { self.link_at(&next) };
            let Some(target) = target else {
                done = next;
                continue;
            };
            hops += 1;
            if hops > HOPS_MAX {
                return None;
            }
            if target.starts_with('/') {
                done.clear();
            }
            for part in target.split('/').rev() {
                left.push_front(part.to_owned());
            }
        }
        Some(if done.is_empty() { "/".into() } else { done })
    }

    /// Where a link points, as it is written.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        self.link_at(&self.resolve(path, false)?)
    }

    /// The entries of a folder; `None` where there is none.
    pub(super) fn list(&self, folder: &str) -> Option<Rc<Listing>> {
        self.list_at(&self.resolve(folder, true)?)
    }

    fn list_at(&self, folder: &str) -> Option<Rc<Listing>> {
        if let Some(known) = self.folders.borrow().get(folder) {
            return known.clone();
        }
        let listed = self.files.list(folder).ok();
        let listing = |l: Vec<Entry>| Rc::new(l.into_iter().map(|e| (e.name, e.kind)).collect());
        let listed: Option<Rc<Listing>> = listed.map(listing);
        self.folders.borrow_mut().insert(folder.to_owned(), listed.clone());
        listed
    }

    /// What a path is, its last part not followed.
    pub(super) fn kind(&self, path: &str) -> Option<EntryKind> {
        let path = self.resolve(path, false)?;
        if path == "/" {
            return Some(EntryKind::Folder);
        }
        let (folder, name) = split(&path);
        self.list_at(folder)?.get(name).copied()
    }

    /// The content of a file, links followed.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, Fault> {
        let path = self.resolve(path, true).ok_or(Fault::Linked)?;
        if path == "/dev/null" {
            return Ok(Vec::new());
        }
        match self.kind(&path) {
            None => return Err(Fault::NotFound),
            Some(EntryKind::Folder) => return Err(Fault::IsFolder),
            Some(EntryKind::Link | EntryKind::Other) => return Err(Fault::NotRegular),
            Some(EntryKind::File) => {}
        }
        self.files.read(&path).map_err(|error| match error {
            FileError::NotFound => Fault::NotFound,
            FileError::Unreadable(_) => Fault::Unreadable,
        })
    }

    /// Whether a path leads to an empty file or to /dev/null.
    pub(super) fn is_empty(&self, path: &str) -> Result<bool, Fault> {
        match self.read(path) {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(Fault::IsFolder | Fault::NotRegular) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    fn enter(&self, path: &str, kind: EntryKind) {
        let (folder, name) = split(path);
        if self.list_at(folder).is_none() {
            if folder != "/" {
                self.enter(folder, EntryKind::Folder);
            }
            self.folders.borrow_mut().insert(folder.to_owned(), Some(Rc::default()));
        }
        if let Some(Some(listing)) = self.folders.borrow_mut().get_mut(folder) {
            Rc::make_mut(listing).insert(name.to_owned(), kind);
        }
    }

    fn leave(&self, path: &str) {
        let (folder, name) = split(path);
        self.list_at(folder);
        if let Some(Some(listing)) = self.folders.borrow_mut().get_mut(folder) {
            Rc::make_mut(listing).remove(name);
        }
        self.links.borrow_mut().insert(path.to_owned(), None);
    }

    /// Makes a link, with the folders above it.
    pub(super) fn make(&mut self, path: &str, target: &str) {
        let replace = self.kind(path).is_some();
        if let Some(real) = self.resolve(path, false) {
            self.enter(&real, EntryKind::Link);
            self.links.borrow_mut().insert(real, Some(target.to_owned()));
        }
        self.steps.push(Step::Link { path: path.to_owned(), target: target.to_owned(), replace });
    }

    /// Removes a file or link, and the folders that become empty by that below this one.
    pub(super) fn remove(&mut self, path: &str, below: Option<&str>) {
        if let Some(real) = self.resolve(path, false) {
            self.leave(&real);
        }
        let mut folder = split(path).0;
        while let Some(below) = below
            && folder.len() > below.len()
            && folder.starts_with(below)
            && self.list(folder).is_some_and(|listing| listing.is_empty())
        {
            if let Some(real) = self.resolve(folder, true) {
                self.leave(&real);
                self.folders.borrow_mut().insert(real, None);
            }
            folder = split(folder).0;
        }
        self.steps.push(Step::Unlink { path: path.to_owned(), below: below.map(str::to_owned) });
    }

    /// Removes a file, or a folder with all that is in it.
    pub(super) fn remove_all(&mut self, path: &str) {
        if let Some(real) = self.resolve(path, false) {
            self.leave(&real);
            self.folders.borrow_mut().insert(real, None);
        }
        self.steps.push(Step::RemoveAll { path: path.to_owned() });
    }
}
