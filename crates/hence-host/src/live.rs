//! What is done to units beside starting and ending their processes: taking up processes of others, new
//! limits, freezing, removing folders, the environment, and standard streams that a client sent. When and
//! why is decided elsewhere.

use crate::{
    host::{End, Host, Tracked, Tracker, Watch},
    process,
};
use hence_engine::{Adopted, Event, UnitId};
use hence_ledger::{Operation, Text, record::Invocation};
use hence_unit::{Config, Kind, UnitKind, UnitName, config::ResourceConfig, limits::MoreLimits};
use rustix::fs::{AtFlags, Mode, OFlags, inotify, openat, statat};
use std::{
    collections::{HashMap, VecDeque},
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

/// Standard input, output and error, where a client sent them.
pub type SentStreams = [Option<Arc<OwnedFd>>; 3];

/// What the host keeps for this.
#[derive(Default)]
pub(crate) struct Live {
    /// Streams that clients sent, by their unit's name, until it is down.
    pub streams: HashMap<Text, SentStreams>,
    /// What processes of units share, until they are down.
    pub runtimes: crate::runtime::Runtimes,
    /// Units whose processes are about to be suspended (or to go on), and whose request that was.
    pub freezing: HashMap<UnitId, (bool, Option<u64>)>,
    /// The same of slices.
    pub slices: HashMap<UnitId, FreezingSlice>,
    /// Slices with limits, as these were written last.
    pub limited_slices: HashMap<UnitId, Arc<Config>>,
}

/// A slice whose processes are about to be suspended, or to go on.
pub(crate) struct FreezingSlice {
    /// Its cgroup.events.
    file: PathBuf,
    watch: i32,
    freeze: bool,
    token: Option<u64>,
}

/// The control group of a unit.
#[derive(Clone, Debug)]
pub struct UnitGroup<'h> {
    /// Its path as /proc/PID/cgroup has it.
    pub path: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its folder in a version 1 `pids` hierarchy, where it may have one.
    pub pids_folder: Option<PathBuf>,
    /// A folder above it that is open, and the way from there to its files.
    pub(crate) from: (BorrowedFd<'h>, String),
    /// Whether the kernel counts its tasks and its memory there.
    pub counts: (bool, bool),
}

impl UnitGroup<'_> {
    /// How many links the group's folder has: two, and one for each group in it. `None`: it isn't there.
    pub fn links(&self) -> Option<u64> {
        let (above, way) = &self.from;
        let way = if way.is_empty() { "." } else { way };
        Some(statat(above, way, AtFlags::empty()).ok()?.st_nlink)
    }

    /// Opens a file of the group's.
    ///
    /// # Errors
    /// What the system says: there is no such file or group.
    pub fn open(&self, file: &str) -> io::Result<OwnedFd> {
        let (above, way) = &self.from;
        Ok(openat(above, format!("{way}{file}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }
}

impl Host {
    /// Processes of this unit are started with these standard streams, until it is down.
    pub fn send_streams(&mut self, unit: &UnitName, streams: SentStreams) {
        if streams.iter().any(Option::is_some) {
            self.live.streams.insert(unit.text().clone(), streams);
        }
    }

    /// A unit is gone: nobody will be started with what its client sent.
    pub fn drop_streams(&mut self, unit: &UnitName) {
        if !self.live.streams.is_empty() {
            self.live.streams.remove(unit.text());
        }
    }

    /// NAME=VALUE that every process gets.
    pub fn environment_block(&self) -> &[Box<str>] {
        &self.options.environment
    }

    /// Does [`hence_engine::Effect::Environment`].
    pub(crate) fn change_environment(&mut self, unset: &[Box<str>], set: Vec<Box<str>>) {
        let name = |assignment: &str| assignment.split('=').next().unwrap_or("").to_owned();
        let all = &mut self.options.environment;
        let goes = |held: &str, what: &str| held == what || name(held) == what;
        all.retain(|held| !unset.iter().any(|what| goes(held, what)));
        for assignment in set {
            let own = name(&assignment);
            match all.iter_mut().find(|held| name(held) == own) {
                Some(held) => *held = assignment,
                None => all.push(assignment),
            }
        }
    }

    /// Environment generators were run anew: what they said before goes where it is as they said it.
    pub fn regenerate_environment(&mut self, before: &[Box<str>], now: Vec<Box<str>>) {
        self.change_environment(before, now);
        // What they took the place of comes back.
        for own in crate::HostOptions::default().environment {
            let name = own.split('=').next().unwrap_or("");
            if !self.options.environment.iter().any(|held| held.split('=').next() == Some(name)) {
                self.options.environment.push(own);
            }
        }
    }

    /// The control group of a unit that has one now.
    pub fn group_of(&self, unit: UnitId, name: &UnitName) -> Option<UnitGroup<'_>> {
        let Tracker::Groups(groups) = &self.tracker else { return None };
        if name.kind() == UnitKind::Slice {
            return groups.slice_group(name);
        }
        let row = self.row(unit).filter(|row| row.grouped)?;
        Some(groups.unit_group(row.slice, name))
    }

    /// Does [`hence_engine::Effect::Adopt`].
    pub(crate) fn adopt(
        &mut self,
        unit: UnitId,
        config: &Arc<Config>,
        invocation: Invocation,
        (token, group): (Option<u64>, &str),
        processes: &[u32],
        answers: &mut VecDeque<Event>,
    ) {
        let mut adopted = Adopted { processes: Vec::new(), error: None };
        if let Err((_, errno, _)) = self.enter(unit, config, invocation) {
            adopted.error = Some(said(errno));
            return answers.push_back(Event::Adopted { unit, token, adopted });
        }
        for &pid in processes {
            match self.adopt_one(unit, config, group, pid) {
                Ok(()) => {}
                Err(e) => {
                    let why = e.raw_os_error().map_or_else(|| e.to_string().into(), said);
                    adopted.error = Some(format!("Failed to attach process {pid}: {why}").into());
                    continue;
                }
            }
            adopted.processes.extend(process::describe(pid));
        }
        answers.push_back(Event::Adopted { unit, token, adopted });
    }

    fn adopt_one(&mut self, unit: UnitId, config: &Config, group: &str, pid: u32) -> std::io::Result<()> {
        let missing = || std::io::Error::from_raw_os_error(libc::ESRCH);
        let stat = process::stat(pid).filter(|s| !s.zombie).ok_or_else(missing)?;
        if pid == std::process::id() || pid <= 1 {
            return Err(std::io::Error::from_raw_os_error(libc::EINVAL));
        }
        let row = self.rows[unit.0 as usize].as_mut().expect("enter() made the row");
        if let Tracker::Groups(groups) = &mut self.tracker {
            let plain = ResourceConfig::default();
            let resources = config.resources().unwrap_or(&plain);
            groups.attach(row.slice, config.id(), group, pid, resources)?;
            row.grouped = true;
        }
        // By groups, the end of the last one shows by itself; without them each is watched.
        if let Tracker::Ancestry(ancestry) = &mut self.tracker {
            ancestry.handed_over(unit, pid);
            let tracked = Tracked { start_ticks: stat.start_ticks, unit, pidfd: None, end: End::Silent };
            if !self.track(pid, tracked, stat.parent == std::process::id()) {
                return Err(missing());
            }
        }
        Ok(())
    }

    /// Takes in a unit that an earlier hence has started: its group, where it is where this host's groups
    /// are, else its processes. What becomes of the main process is asked for by an effect.
    pub fn take_in(
        &mut self,
        unit: UnitId,
        config: &Arc<Config>,
        invocation: Invocation,
        processes: &[(u32, u64)],
    ) -> bool {
        if self.enter(unit, config, invocation).is_err() {
            return false;
        }
        let Some(row) = self.rows.get_mut(unit.0 as usize).and_then(Option::as_mut) else { return false };
        if let Tracker::Groups(groups) = &self.tracker {
            let members = groups.members(row.slice, config.id());
            let there = |(pid, ticks): &(u32, u64)| members.contains(pid) || !process::is_alive(*pid, *ticks);
            row.grouped = processes.iter().all(there);
            return row.grouped;
        }
        for &(pid, start_ticks) in processes {
            let child = process::stat(pid).is_some_and(|s| s.parent == std::process::id());
            let tracked = Tracked { start_ticks, unit, pidfd: None, end: End::Silent };
            let tracked = process::is_alive(pid, start_ticks) && self.track(pid, tracked, child);
            if let (true, Tracker::Ancestry(ancestry)) = (tracked, &mut self.tracker) {
                ancestry.handed_over(unit, pid);
            }
        }
        true
    }

    /// Takes the sockets of a socket unit from these, which were found in a process of its service: all of
    /// them or none.
    pub fn take_in_sockets(&mut self, unit: UnitId, config: &Config, found: &mut Vec<OwnedFd>) -> bool {
        self.sockets.take_found(unit, config, found)
    }

    /// Does [`hence_engine::Effect::Limits`].
    pub(crate) fn change_limits(&mut self, unit: UnitId, config: &Arc<Config>) {
        let Some(resources) = config.resources() else { return };
        if matches!(config.kind, Kind::Slice(_)) {
            return self.realize_slice(unit, config);
        }
        let Some(row) = self.rows.get_mut(unit.0 as usize).and_then(Option::as_mut) else { return };
        let before = std::mem::replace(&mut row.config, Arc::clone(config));
        if let (true, Tracker::Groups(groups), Some(before)) =
            (row.grouped, &mut self.tracker, before.resources())
        {
            groups.change(row.slice, config.id(), resources, before);
        }
        self.tell_lacking(unit, config.id());
    }

    /// The machine starts or stops, or does so no longer: what Startup...= says holds, or doesn't.
    pub fn set_starting(&mut self, starting: bool) {
        let Tracker::Groups(groups) = &mut self.tracker else { return };
        if std::mem::replace(&mut groups.starting, starting) == starting {
            return;
        }
        let has = |config: &Config| {
            let more = config.resources().and_then(|resources| resources.more.as_deref());
            more.is_some_and(MoreLimits::has_startup)
        };
        let slices = self.live.limited_slices.iter().filter(|(_, config)| has(config));
        let slices: Vec<(UnitId, Arc<Config>)> = slices.map(|(unit, c)| (*unit, Arc::clone(c))).collect();
        for (unit, config) in slices {
            self.realize_slice(unit, &config);
        }
        let rows = self.rows.iter().enumerate().filter_map(|(at, row)| Some((at, row.as_ref()?)));
        let rows = rows.filter(|(_, row)| row.grouped && has(&row.config));
        let rows: Vec<(UnitId, Arc<Config>)> =
            rows.map(|(at, row)| (UnitId(at as u32), Arc::clone(&row.config))).collect();
        for (unit, config) in rows {
            self.change_limits(unit, &config);
        }
    }

    /// Does [`hence_engine::Effect::Freeze`].
    pub(crate) fn change_freezer(
        &mut self,
        unit: UnitId,
        config: &Config,
        (freeze, token): (bool, Option<u64>),
        answers: &mut VecDeque<Event>,
    ) {
        let Some(group) = self.group_of(unit, config.id()) else {
            let frozen = Err("Processes are not tracked by control groups.".into());
            return answers.push_back(Event::Froze { unit, frozen, token });
        };
        if let Err(e) = std::fs::write(group.folder.join("cgroup.freeze"), if freeze { "1" } else { "0" }) {
            let frozen = Err(said(e.raw_os_error().unwrap_or(libc::EIO)));
            return answers.push_back(Event::Froze { unit, frozen, token });
        }
        if config.id().kind() == UnitKind::Slice {
            let file = group.folder.join("cgroup.events");
            let Ok(watch) = inotify::add_watch(&self.inotify, &file, inotify::WatchFlags::MODIFY) else {
                // It can't be told when all below it is suspended, only that it was asked for.
                return answers.push_back(Event::Froze { unit, frozen: Ok(freeze), token });
            };
            self.watches.insert(watch, Watch::Frozen(unit));
            let now = FreezingSlice { file, watch, freeze, token };
            if let Some(before) = self.live.slices.insert(unit, now) {
                // Who asked before is told how it stands: the other way round.
                answers.push_back(Event::Froze { unit, frozen: Ok(!before.freeze), token: before.token });
            }
            return self.slice_freezer_event(unit, answers);
        }
        self.live.freezing.insert(unit, (freeze, token));
        self.watch_populated(unit);
        self.freezer_event(unit, answers);
    }

    /// cgroup.events of a unit changed: its processes may be suspended now.
    pub(crate) fn freezer_event(&mut self, unit: UnitId, events: &mut VecDeque<Event>) {
        let Some(&(freeze, token)) = self.live.freezing.get(&unit) else { return };
        let name = self.row(unit).map(|row| row.config.id().clone());
        let group = name.and_then(|name| self.group_of(unit, &name));
        let text = group.and_then(|group| std::fs::read_to_string(group.folder.join("cgroup.events")).ok());
        // A group that is gone isn't frozen.
        let frozen = text.is_some_and(|text| text.lines().any(|line| line == "frozen 1"));
        if frozen == freeze || self.row(unit).is_none_or(|row| !row.grouped) {
            self.live.freezing.remove(&unit);
            events.push_back(Event::Froze { unit, frozen: Ok(frozen), token });
        }
    }

    /// cgroup.events of a slice changed: all below it may be suspended now, or go on.
    pub(crate) fn slice_freezer_event(&mut self, unit: UnitId, events: &mut VecDeque<Event>) {
        let Some(slice) = self.live.slices.get(&unit) else { return };
        let text = std::fs::read_to_string(&slice.file);
        // A group that is gone isn't frozen, and will not be.
        let frozen = text.as_ref().is_ok_and(|text| text.lines().any(|line| line == "frozen 1"));
        if frozen != slice.freeze && text.is_ok() {
            return;
        }
        let Some(FreezingSlice { watch, token, .. }) = self.live.slices.remove(&unit) else { return };
        self.watches.remove(&watch);
        // A watch of a file that is gone is gone, too.
        let _ = inotify::remove_watch(&self.inotify, watch);
        events.push_back(Event::Froze { unit, frozen: Ok(frozen), token });
    }

    /// Does [`hence_engine::Effect::Clean`]: in a process of its own, for it may take long.
    pub(crate) fn clean(&mut self, unit: UnitId, config: &Config, kinds: u8, answers: &mut VecDeque<Event>) {
        let Some(service) = config.service() else { return };
        let wanted = service.context.directories.iter().filter(|d| kinds >> d.kind as u8 & 1 == 1);
        // Nothing above or beside the root, whatever the name says.
        let inside = wanted.filter(|d| !d.name.split('/').any(|part| part.is_empty() || part == ".."));
        let context = &service.context;
        let mut paths: Vec<PathBuf> = Vec::new();
        for directory in inside {
            let root = self.directory_root(directory.kind);
            paths.push(root.join(&*directory.name));
            if context.is_private(directory.kind) {
                paths.push(root.join("private").join(&*directory.name));
            }
        }
        let mut command = std::process::Command::new(&self.options.executor);
        command.args(["executor", "remove"]).args(paths).stdin(std::process::Stdio::null());
        let cleaner = match command.spawn() {
            Ok(child) => Some(child.id()),
            Err(e) => {
                answers.push_back(crate::again::failed(unit, Operation::Clean, &e, ""));
                None
            }
        };
        if let Some(pid) = cleaner {
            let start_ticks = process::stat(pid).map_or(0, |s| s.start_ticks);
            let tracked = Tracked { start_ticks, unit, pidfd: None, end: End::Exited };
            self.processes.insert(pid, tracked);
        }
        answers.push_back(Event::Cleaning { unit, cleaner });
    }
}

fn said(errno: i32) -> Text {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or(&text).into()
}
