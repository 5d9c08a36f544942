//! Path units: watching for what they wait for, by inotify; systemd.path(5). What is started then is the
//! engine's.
//!
//! Of a path that isn't there yet the nearest folder above it is watched, and the watch follows as folders
//! appear.

mod carry;

use crate::glob;
use hence_engine::{Event, UnitId};
use hence_ledger::Operation;
use hence_unit::{Config, Kind};
use rustix::{
    fs::inotify::{self, ReadFlags, WatchFlags},
    io::Errno,
};
use std::{
    collections::{HashMap, VecDeque},
    fs,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
    sync::Arc,
};

struct Watched {
    unit: UnitId,
    check: &'static str,
    path: Box<str>,
    /// inotify watches on the path and the folders above it.
    watches: Vec<i32>,
}

/// What all path units wait for.
#[derive(Default)]
pub struct Paths {
    watched: Vec<Watched>,
    users: HashMap<i32, u32>,
}

/// Whether the state that a directive waits for holds now; those that wait for changes have none.
fn holds(check: &str, path: &str) -> bool {
    match check {
        "PathExists" => Path::new(path).exists(),
        "PathExistsGlob" => !glob::expand(path).is_empty(),
        "DirectoryNotEmpty" => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()),
        _ => false,
    }
}

/// The events at the path itself that concern a directive.
fn flags(check: &str) -> WatchFlags {
    use WatchFlags as W;
    let moved = W::MOVE_SELF | W::DELETE_SELF | W::ATTRIB;
    let entries = W::CREATE | W::DELETE | W::MOVED_TO | W::MOVED_FROM;
    match check {
        "PathChanged" => moved | entries | W::CLOSE_WRITE,
        "PathModified" => moved | entries | W::CLOSE_WRITE | W::MODIFY,
        _ => moved | W::CREATE | W::MOVED_TO,
    }
}

impl Paths {
    /// Begins to wait for what a unit's configuration names, or ends to; what holds already is told at once.
    pub fn watch(
        &mut self,
        inotify: &OwnedFd,
        unit: UnitId,
        config: Option<Arc<Config>>,
        events: &mut VecDeque<Event>,
    ) {
        let (old, kept) = std::mem::take(&mut self.watched).into_iter().partition(|w| w.unit == unit);
        self.watched = kept;
        let old: Vec<Watched> = old;
        for watched in old {
            self.drop_watches(inotify, &watched.watches);
        }
        let Some(config) = config else { return };
        let Kind::Path(paths) = &config.kind else { return };
        for (check, path) in &paths.watches {
            if paths.make_directory && *check != "PathExists" && *check != "PathExistsGlob" {
                let _ = fs::DirBuilder::new().recursive(true).mode(paths.directory_mode).create(&**path);
            }
            let mut watched = Watched { unit, check, path: path.clone(), watches: Vec::new() };
            if let Err(error) = self.add_watches(inotify, &mut watched) {
                events.push_back(crate::again::failed(unit, Operation::Paths, &error.into(), path));
            }
            if holds(check, path) {
                events.push_back(Event::PathChanged { unit, path: (&**path).into() });
            }
            self.watched.push(watched);
        }
    }

    fn drop_watches(&mut self, inotify: &OwnedFd, watches: &[i32]) {
        for watch in watches {
            let Some(users) = self.users.get_mut(watch) else { continue };
            *users -= 1;
            if *users == 0 {
                self.users.remove(watch);
                let _ = inotify::remove_watch(inotify, *watch);
            }
        }
    }

    /// Watches the path, or the nearest folder above it that is there. What may not be looked at is as if it
    /// weren't there.
    fn add_watches(&mut self, inotify: &OwnedFd, watched: &mut Watched) -> Result<(), Errno> {
        let fixed: PathBuf =
            Path::new(&*watched.path).components().take_while(|c| !pattern(c.as_os_str())).collect();
        for (depth, folder) in fixed.ancestors().enumerate() {
            let wanted = match depth {
                0 => flags(watched.check),
                _ => {
                    WatchFlags::CREATE
                        | WatchFlags::MOVED_TO
                        | WatchFlags::MOVE_SELF
                        | WatchFlags::DELETE_SELF
                }
            };
            // Several units may watch one folder: their events add up.
            match inotify::add_watch(inotify, folder, wanted | WatchFlags::MASK_ADD) {
                Ok(watch) => {
                    watched.watches.push(watch);
                    *self.users.entry(watch).or_insert(0) += 1;
                    if depth > 0 {
                        break;
                    }
                }
                Err(e @ (Errno::NOSPC | Errno::NOMEM | Errno::INTR)) => return Err(e),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Something happened at a watch of ours.
    pub fn changed(&mut self, inotify: &OwnedFd, watch: i32, seen: ReadFlags, events: &mut VecDeque<Event>) {
        let mut all = std::mem::take(&mut self.watched);
        // Where changes were lost every path is looked at.
        for watched in all.iter_mut().filter(|w| watch < 0 || w.watches.contains(&watch)) {
            let was_there = watched.watches.first() == Some(&watch) && watched.watches.len() > 1;
            let before = std::mem::take(&mut watched.watches);
            if let Err(error) = self.add_watches(inotify, watched) {
                let (unit, path) = (watched.unit, &watched.path);
                events.push_back(crate::again::failed(unit, Operation::Paths, &error.into(), path));
            }
            self.drop_watches(inotify, &before);
            let changes = matches!(watched.check, "PathChanged" | "PathModified");
            let appeared = !before.is_empty() && !was_there && Path::new(&*watched.path).exists();
            let own = was_there && seen.bits() & flags(watched.check).bits() != 0;
            let at_last = own || appeared && watched.watches != before;
            if holds(watched.check, &watched.path) || changes && at_last {
                let path = (&*watched.path).into();
                events.push_back(Event::PathChanged { unit: watched.unit, path });
            }
        }
        self.watched = all;
    }
}

fn pattern(part: &std::ffi::OsStr) -> bool {
    part.to_str().is_some_and(glob::is_pattern)
}
