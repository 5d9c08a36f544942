//! The processes of a unit: signalling, counting, waiting for the last one, cleaning up after it.
//!
//! The same for both levels of tracking: with groups the members are the group's, without they are found
//! by ancestry. Children are known by reaping them; others by pidfds, a bounded number of them, or by the
//! group's own event.

use crate::{
    again,
    ancestry::Scan,
    cgroup::{Groups, MEMBERS, signal_all},
    host::{End, Host, Tracked, Tracker, Watch},
    process,
    sys::signal,
    wait::Token,
};
use hence_engine::{Event, Kill, KillScope, Process, UnitId};
use hence_ledger::Operation;
use hence_unit::{
    Kind, UnitKind, UnitName,
    config::{DirectoryKind, ExecPhase},
};
use rustix::{
    fs::inotify,
    process::{Pid, PidfdFlags},
};
use std::{collections::VecDeque, fs, io, path::Path};

/// Processes that aren't our children and are watched one by one.
const PIDFDS: usize = 4096;
/// In this pass over a group that still has new members it is frozen: it forks faster than it is listed.
const FROZEN_PASS: u32 = 3;
/// Longest PIDFile= that is read, in bytes.
const PID_FILE_BYTES: usize = 64;

impl Host {
    /// The living processes of a unit; none where that can't be seen.
    pub(crate) fn members(&self, unit: UnitId) -> Vec<u32> {
        self.try_members(unit).unwrap_or_default()
    }

    /// The same.
    ///
    /// # Errors
    /// Where it can't be seen.
    fn try_members(&self, unit: UnitId) -> io::Result<Vec<u32>> {
        match (&self.tracker, self.row(unit)) {
            (Tracker::Groups(groups), Some(row)) if row.grouped => {
                groups.try_members(row.slice, row.config.id())
            }
            (Tracker::Groups(_), _) => Ok(Vec::new()),
            (Tracker::Ancestry(ancestry), _) => Ok(ancestry.try_scan()?.members(unit)),
        }
    }

    /// Whether nobody is left in a unit's group. Where that can't be seen somebody is, and it is looked at
    /// again.
    pub(crate) fn is_empty(&mut self, unit: UnitId) -> bool {
        let empty = match (&self.tracker, self.row(unit)) {
            (Tracker::Groups(groups), Some(row)) if row.grouped => {
                groups.is_empty(row.slice, row.config.id())
            }
            (Tracker::Groups(_), _) => Ok(true),
            (Tracker::Ancestry(ancestry), _) => ancestry.try_scan().map(|scan| scan.members(unit).is_empty()),
        };
        empty.unwrap_or_else(|_| {
            self.again.group(unit);
            false
        })
    }

    /// Descendants that can't be attributed to any unit; 0 with control groups.
    pub fn unattributed(&self) -> usize {
        match &self.tracker {
            Tracker::Groups(_) => 0,
            Tracker::Ancestry(ancestry) => Scan::unattributed(&ancestry.scan()),
        }
    }

    /// Does [`hence_engine::Effect::Kill`]. Signal 0 signals nobody: it only asks for
    /// [`Event::Emptied`].
    pub(crate) fn kill(&mut self, kill: &Kill, answers: &mut VecDeque<Event>) {
        let known: Vec<u32> = kill.main.into_iter().chain(kill.control).collect();
        let is_kill = i32::from(kill.signal) == libc::SIGKILL;
        let mut refused = None;
        let mut send = |pid: u32| -> bool {
            let sent = signal::send(pid, kill.signal);
            let sent = sent.or_else(|e| match e.raw_os_error() {
                Some(libc::ESRCH) => Err(e),
                _ => signal::send(pid, kill.signal),
            });
            let sent = match sent {
                Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                    refused = Some(e);
                    // It is there, though nobody can reach it.
                    return true;
                }
                sent => sent.is_ok(),
            };
            if sent && kill.then_continue && !is_kill && i32::from(kill.signal) != libc::SIGCONT {
                let _ = signal::send(pid, libc::SIGCONT as u8);
            }
            if sent && kill.hangup {
                let _ = signal::send(pid, libc::SIGHUP as u8);
            }
            sent
        };
        let mut alive = false;
        if kill.scope != KillScope::Others {
            for &pid in &known {
                alive |= send(pid);
            }
        }
        let mut others = 0;
        let mut unread = None;
        if kill.scope != KillScope::Known {
            let mut passes = 0;
            let mut members = || {
                passes += 1;
                if passes == FROZEN_PASS && is_kill {
                    self.freeze(kill.unit, true);
                }
                self.try_members(kill.unit).unwrap_or_else(|e| {
                    unread = Some(e);
                    Vec::new()
                })
            };
            let done = signal_all(&mut members, &known, &mut |pid| {
                send(pid);
            });
            others = done.len() as u32;
            if passes >= FROZEN_PASS && is_kill {
                self.freeze(kill.unit, false);
            }
        }
        if let Some(error) = unread.or(refused) {
            answers.push_back(again::failed(kill.unit, Operation::Kill, &error, ""));
        }
        let empty = !alive && others == 0 && self.is_empty(kill.unit);
        answers.push_back(Event::Killed { unit: kill.unit, others, empty });
        if kill.report_empty && !empty {
            let ours = |pid: &u32| self.processes.get(pid).is_some_and(|p| p.unit == kill.unit);
            let only_ours = kill.scope == KillScope::Group && others == 0 && known.iter().all(ours);
            // Where nothing but children of ours is in the group, their ends come back to this.
            match self.row_mut(kill.unit) {
                Some(row) if alive && only_ours => row.wants_empty = true,
                _ => self.report_empty(kill.unit, answers),
            }
        }
    }

    /// Has the end of a unit's last process reported, at once if nobody is left now.
    pub(crate) fn report_empty(&mut self, unit: UnitId, answers: &mut VecDeque<Event>) {
        if let Some(row) = self.row_mut(unit) {
            row.wants_empty = true;
        }
        self.recheck(unit, answers);
    }

    /// Stops or continues a whole group. `cgroup.kill` would be one call, but the kernel then kills whatever
    /// is born into that group by clone3(2) later as well, ExecStopPost= for one.
    fn freeze(&self, unit: UnitId, frozen: bool) {
        if let (Some(row), Tracker::Groups(groups)) = (self.row(unit), &self.tracker) {
            groups.freeze(row.slice, row.config.id(), frozen);
        }
    }

    /// Looks whether a unit that somebody waits for has run empty, and makes sure to be told when it does.
    pub(crate) fn recheck(&mut self, unit: UnitId, events: &mut VecDeque<Event>) {
        if !self.row(unit).is_some_and(|r| r.wants_empty || r.released) {
            return;
        }
        if !self.remove_if_last(unit) && !self.is_empty(unit) {
            let members = self.members(unit);
            let ours = |pid: &u32| self.processes.get(pid).is_some_and(|p| p.unit == unit);
            if !members.is_empty() && members.iter().all(ours) {
                // Each of their ends comes back here.
                return;
            }
            match &self.tracker {
                Tracker::Groups(_) => self.watch_populated(unit),
                Tracker::Ancestry(_) => members.iter().for_each(|&pid| self.watch_end(unit, pid)),
            }
            // It may have run empty before the watch was there.
            if !self.is_empty(unit) {
                return;
            }
        }
        self.unwatch_populated(unit);
        let Some(row) = self.row_mut(unit) else { return };
        if std::mem::take(&mut row.wants_empty) {
            events.push_back(Event::Emptied(unit));
        }
        if row.released {
            self.remove_group(unit, false);
        }
    }

    /// Removes the group of a service that nothing follows in once it is empty: to try is one system call,
    /// to look first are three more. Where something is started in it after all, it is made anew.
    fn remove_if_last(&mut self, unit: UnitId) -> bool {
        let (Some(row), Tracker::Groups(groups)) = (self.row(unit), &self.tracker) else { return false };
        let Kind::Service(service) = &row.config.kind else { return false };
        let last = row.grouped && row.oom_watch < 0 && service.commands(ExecPhase::StopPost).is_empty();
        let removed = last && groups.remove_leaf(row.slice, row.config.id());
        if removed && let Some(row) = self.row_mut(unit) {
            row.grouped = false;
        }
        removed
    }

    pub(crate) fn watch_populated(&mut self, unit: UnitId) {
        let (Some(row), Tracker::Groups(groups)) = (self.row(unit), &self.tracker) else { return };
        if row.events_watch >= 0 {
            return;
        }
        let file = groups.folder(row.slice, row.config.id()).join("cgroup.events");
        let added = inotify::add_watch(&self.inotify, file, inotify::WatchFlags::MODIFY);
        match (added, self.row_mut(unit)) {
            (Ok(watch), Some(row)) => {
                row.events_watch = watch;
                self.watches.insert(watch, Watch::Populated(unit));
            }
            // It is gone, and with it whoever was in it.
            (Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV), _) | (_, None) => {}
            (Err(_), _) => self.again.group(unit),
        }
    }

    fn unwatch_populated(&mut self, unit: UnitId) {
        let Some(row) = self.row_mut(unit) else { return };
        let watch = std::mem::replace(&mut row.events_watch, -1);
        if watch >= 0 {
            self.watches.remove(&watch);
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// Watches a process that isn't tracked yet until it ends, where a pidfd can be had.
    fn watch_end(&mut self, unit: UnitId, pid: u32) {
        if self.processes.contains_key(&pid) {
            return;
        }
        let Some(stat) = process::stat(pid).filter(|s| !s.zombie) else { return };
        let tracked = Tracked { start_ticks: stat.start_ticks, unit, pidfd: None, end: End::Silent };
        self.track(pid, tracked, stat.parent == std::process::id());
    }

    /// Adds a process to those that are watched. False where it ended meanwhile.
    pub(crate) fn track(&mut self, pid: u32, mut tracked: Tracked, child: bool) -> bool {
        if !child && self.processes.len() < PIDFDS {
            let raw = Pid::from_raw(pid as i32);
            let opened = raw.map(|p| rustix::process::pidfd_open(p, PidfdFlags::empty()));
            match opened {
                Some(Ok(fd)) => {
                    let stat = process::stat(pid);
                    let other = stat.is_some_and(|s| s.start_ticks != tracked.start_ticks);
                    if other || stat.is_none() && process::is_gone(pid) {
                        return false;
                    }
                    if self.watch_descriptor(&fd, Token::Process(pid)) {
                        tracked.pidfd = Some(fd);
                    } else {
                        self.again.pidfd(pid);
                    }
                }
                Some(Err(rustix::io::Errno::SRCH)) | None => return false,
                // Its end shows when the group runs empty or it becomes our child, if not before.
                Some(Err(_)) => self.again.pidfd(pid),
            }
        }
        if let Tracker::Ancestry(ancestry) = &mut self.tracker {
            ancestry.found(tracked.unit, pid);
        }
        self.processes.insert(pid, tracked);
        true
    }

    /// Does [`hence_engine::Effect::Census`].
    pub(crate) fn census(&mut self, unit: UnitId, expected: &[u32], answers: &mut VecDeque<Event>) {
        let mut processes = Vec::new();
        let members = if self.is_empty(unit) { Ok(Vec::new()) } else { self.try_members(unit) };
        let members = match members {
            Ok(members) => members,
            Err(error) => return self.put_off_census(unit, &error, answers),
        };
        for pid in members.into_iter().filter(|p| !expected.contains(p)).take(MEMBERS) {
            let Some(process) = process::describe(pid) else {
                if process::stat(pid).is_none() && !process::is_gone(pid) {
                    // Whoever was told so far is told again then.
                    let error = io::Error::from_raw_os_error(libc::EMFILE);
                    return self.put_off_census(unit, &error, answers);
                }
                continue;
            };
            let invocation = process::invocation(pid);
            let known = self.processes.get_mut(&pid).filter(|p| p.start_ticks == process.start_ticks);
            match known {
                Some(tracked) => tracked.end = End::Gone,
                None => {
                    let start_ticks = process.start_ticks;
                    let tracked = Tracked { start_ticks, unit, pidfd: None, end: End::Gone };
                    let child = process::stat(pid).is_some_and(|s| s.parent == std::process::id());
                    if !self.track(pid, tracked, child) {
                        continue;
                    }
                }
            }
            processes.push(Process { process, invocation });
        }
        if !processes.is_empty()
            && self.processes.len() >= PIDFDS
            && matches!(self.tracker, Tracker::Groups(_))
        {
            self.watch_populated(unit);
        }
        answers.push_back(Event::Census { unit, processes, known: 0, unread: false });
    }

    /// A group has run empty: what was left of it and has no watch of its own is gone.
    pub(crate) fn emptied(&mut self, unit: UnitId, events: &mut VecDeque<Event>) {
        if !self.is_empty(unit) {
            return;
        }
        let unwatched = |p: &Tracked| p.unit == unit && p.end != End::Exited && p.pidfd.is_none();
        let gone: Vec<u32> =
            self.processes.iter().filter(|(_, p)| unwatched(p)).map(|(&pid, _)| pid).collect();
        for pid in gone {
            // A child of ours is reported when it is reaped, with its status.
            if process::stat(pid).is_some_and(|s| s.zombie && s.parent == std::process::id()) {
                continue;
            }
            if let Some(p) = self.processes.remove(&pid).filter(|p| p.end == End::Gone) {
                events.push_back(Event::Gone { unit, pid, start_ticks: p.start_ticks, exit: None });
            }
        }
        self.recheck(unit, events);
        if self.row(unit).is_some_and(|r| !r.wants_empty) {
            self.unwatch_populated(unit);
        }
    }

    /// Does [`hence_engine::Effect::Release`]. A group with processes in it stays until they are gone.
    pub(crate) fn release(&mut self, unit: UnitId, keep_directories: bool) {
        if !keep_directories {
            self.remove_runtime_directories(unit);
        }
        self.remove_credentials(unit);
        self.drop_runtime(unit);
        self.unwatch_pid_file(unit);
        if let Some(name) = self.row(unit).map(|row| row.config.id().text().clone()) {
            self.live.streams.remove(&name);
        }
        self.live.freezing.remove(&unit);
        if let Some(service) = self.row(unit).and_then(|row| row.config.service()) {
            crate::terminal::prepare(&service.context);
        }
        self.remove_group(unit, !keep_directories);
    }

    /// Drops all that is kept of a unit under its number, which another unit may get. Its sockets and paths
    /// went when it went down; here that is made sure.
    pub(crate) fn forget(&mut self, unit: UnitId, name: &UnitName) {
        match name.kind() {
            UnitKind::Socket => self.sockets.close(&self.epoll, unit, false),
            UnitKind::Path => {
                self.paths.watch(&self.path_inotify, unit, None, &mut self.pending);
                let of_unit = |e: &Event| matches!(e, Event::PathChanged { unit: of, .. } if *of == unit);
                self.pending.retain(|event| !of_unit(event));
            }
            UnitKind::Device => self.forget_device(unit),
            UnitKind::Automount => self.automounts.close(&self.epoll, unit),
            UnitKind::Service => drop(self.keeping.drop_named(&self.epoll, unit, None)),
            _ => {}
        }
        self.unwatch_pid_file(unit);
        self.drop_runtime(unit);
        self.live.limited_slices.remove(&unit);
        if let Tracker::Groups(groups) = &mut self.tracker {
            groups.forget(name.as_str());
        }
        self.remove_group(unit, true);
        self.unwatch_populated(unit);
        if self.rows.get_mut(unit.0 as usize).and_then(Option::take).is_some() {
            // Somebody is in the group whom no census has found.
            self.names.remove(name.as_str());
            self.processes.retain(|_, process| process.unit != unit || process.end == End::Exited);
        }
        if let Tracker::Ancestry(ancestry) = &mut self.tracker {
            ancestry.forget(unit);
        }
        self.rechecks.retain(|&known| known != unit);
        self.again.forget(unit);
        while let Some(None) = self.rows.last() {
            self.rows.pop();
        }
    }

    /// Removes a unit's group now, or when it is empty; `forget`: and what is known of the unit.
    fn remove_group(&mut self, unit: UnitId, forget: bool) {
        self.unwatch_populated(unit);
        let Some(row) = self.rows.get_mut(unit.0 as usize).and_then(Option::as_mut) else { return };
        let memory_watch = std::mem::replace(&mut row.oom_watch, -1);
        if memory_watch >= 0 {
            self.watches.remove(&memory_watch);
            let _ = inotify::remove_watch(&self.inotify, memory_watch);
        }
        let Some(row) = self.rows.get_mut(unit.0 as usize).and_then(Option::as_mut) else { return };
        let removed = match &self.tracker {
            Tracker::Groups(groups) if row.grouped => groups.remove(row.slice, row.config.id()),
            _ => true,
        };
        row.released = !removed;
        if removed && !forget {
            row.grouped = false;
        } else if removed {
            // Instances come and go by the thousand: nothing is kept of a unit without processes.
            self.names.remove(row.config.id().as_str());
            self.rows[unit.0 as usize] = None;
        } else if !self.processes.values().any(|p| p.unit == unit) {
            self.watch_populated(unit);
        }
    }

    /// Credentials are there only while the unit is.
    fn remove_credentials(&self, unit: UnitId) {
        let Some(row) = self.row(unit) else { return };
        let Some(context) = row.config.context() else { return };
        if let Some(folder) = self.credentials(row.config.id().as_str(), context) {
            crate::credentials::remove(&folder);
        }
    }

    fn remove_runtime_directories(&mut self, unit: UnitId) {
        let Some(row) = self.row(unit) else { return };
        let Some(context) = row.config.context() else { return };
        let root = self.directory_root(DirectoryKind::Runtime);
        for directory in context.directories.iter().filter(|d| d.kind == DirectoryKind::Runtime) {
            // Nothing above or beside the root, whatever the name says.
            let outside = directory.name.split('/').any(|part| part.is_empty() || part == "..");
            if !outside {
                if context.is_private(DirectoryKind::Runtime) {
                    let _ = fs::remove_dir_all(root.join("private").join(&*directory.name));
                    let _ = fs::remove_file(root.join(&*directory.name));
                }
                let _ = fs::remove_dir_all(root.join(&*directory.name));
            }
        }
    }

    /// Watches for OOM kills where the memory controller tracks them.
    pub(crate) fn watch_memory(&mut self, unit: UnitId, first: bool) {
        let (Some(row), Tracker::Groups(groups)) = (self.row(unit), &self.tracker) else { return };
        if row.oom_watch >= 0 && !first || !groups.enforces("memory") {
            return;
        }
        let (kills, watched) = (self.oom_kills(unit), row.oom_watch >= 0);
        let file = groups.folder(row.slice, row.config.id()).join("memory.events");
        let added = if watched {
            None
        } else {
            inotify::add_watch(&self.inotify, file, inotify::WatchFlags::MODIFY).ok()
        };
        if let Some(row) = self.row_mut(unit) {
            row.oom_base = kills;
            if let Some(watch) = added {
                row.oom_watch = watch;
                self.watches.insert(watch, Watch::Memory(unit));
            }
        }
    }

    fn oom_kills(&self, unit: UnitId) -> u32 {
        let (Some(row), Tracker::Groups(groups)) = (self.row(unit), &self.tracker) else { return 0 };
        let file = groups.folder(row.slice, row.config.id()).join("memory.events");
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }

    /// memory.events changed.
    pub(crate) fn memory_event(&mut self, unit: UnitId, events: &mut VecDeque<Event>) {
        let total = self.oom_kills(unit);
        let Some(row) = self.row_mut(unit) else { return };
        let kills = u64::from(total.saturating_sub(row.oom_base));
        if kills > 0 {
            events.push_back(Event::OomKill { unit, kills });
        }
    }

    /// The unit of a process: by what is tracked, then by its group or ancestry.
    pub fn unit_of(&self, pid: u32) -> Option<UnitId> {
        if let Some(tracked) = self.processes.get(&pid) {
            return Some(tracked.unit);
        }
        match &self.tracker {
            Tracker::Groups(groups) => self.names.get(groups.unit_of(pid)?.as_str()).copied(),
            Tracker::Ancestry(ancestry) => ancestry.scan().owner(pid),
        }
    }

    /// Whether a process may be a unit's main process: alive, not us, one of the unit's.
    pub(crate) fn may_be_main(&self, unit: UnitId, pid: u32) -> bool {
        pid > 1
            && pid != std::process::id()
            && process::stat(pid).is_some_and(|s| !s.zombie)
            && self.unit_of(pid) == Some(unit)
    }

    /// PIDFile=, where it names a process that may be the main one; one that root wrote may name any.
    pub(crate) fn read_pid_file(&self, unit: UnitId, path: &str) -> Option<u32> {
        let mut buffer = [0u8; PID_FILE_BYTES];
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()?;
        let length = rustix::io::read(&file, &mut buffer).ok()?;
        let pid = std::str::from_utf8(&buffer[..length]).ok()?.trim().parse::<u32>().ok()?;
        if self.may_be_main(unit, pid) {
            return Some(pid);
        }
        let by_root = rustix::fs::fstat(&file).is_ok_and(|s| s.st_uid == 0);
        let alive = pid > 1 && pid != std::process::id() && process::stat(pid).is_some_and(|s| !s.zombie);
        let trusted = by_root && alive && rustix::process::geteuid().is_root();
        (trusted || self.is_own_orphan(pid, &file)).then_some(pid)
    }

    /// Without control groups, and where environments of other users can't be read, nothing tells whose
    /// daemon an orphan is. It is taken from a file of its own user: nobody can name another's process so.
    fn is_own_orphan(&self, pid: u32, file: &std::os::fd::OwnedFd) -> bool {
        let ours = process::stat(pid).is_some_and(|s| !s.zombie && s.parent == std::process::id());
        let owner = |m: std::fs::Metadata| std::os::unix::fs::MetadataExt::uid(&m);
        let user = std::fs::metadata(format!("/proc/{pid}")).map(owner);
        let unclaimed = self.unit_of(pid).is_none();
        let by_ancestry = unclaimed && matches!(self.tracking().level, hence_ledger::Tracking::Ancestry);
        by_ancestry && ours && rustix::fs::fstat(file).is_ok_and(|s| user.is_ok_and(|u| u == s.st_uid))
    }

    /// PIDFile= as it is now; where it names nobody yet and `wait` is set, it is watched for.
    pub(crate) fn find_pid_file(&mut self, unit: UnitId, path: Box<str>, wait: bool) -> Option<u32> {
        self.unwatch_pid_file(unit);
        let mut found = self.read_pid_file(unit, &path);
        // A folder that is made while we look brings the watch nearer, so look again until it is in place.
        while found.is_none() && wait {
            let nearest = Path::new(&*path).ancestors().skip(1).find(|f| f.is_dir()).map(Path::to_path_buf);
            self.watch_pid_file(unit, path.clone(), nearest.as_deref());
            found = self.read_pid_file(unit, &path);
            let now = Path::new(&*path).ancestors().skip(1).find(|f| f.is_dir());
            if found.is_none() && now == nearest.as_deref() {
                return None;
            }
            self.unwatch_pid_file(unit);
        }
        found
    }

    fn watch_pid_file(&mut self, unit: UnitId, path: Box<str>, folder: Option<&Path>) {
        use inotify::WatchFlags as W;
        let flags = W::CLOSE_WRITE | W::MOVED_TO | W::CREATE | W::ATTRIB;
        let Some(folder) = folder else { return };
        match inotify::add_watch(&self.inotify, folder, flags) {
            Ok(added) => {
                self.watches.insert(added, Watch::PidFiles);
                self.pid_files.insert(unit, (path, added));
            }
            Err(e) => self.pending.push_back(again::failed(unit, Operation::PidFile, &e.into(), &path)),
        }
    }

    fn unwatch_pid_file(&mut self, unit: UnitId) {
        let Some((_, watch)) = self.pid_files.remove(&unit) else { return };
        if self.pid_files.values().all(|(_, other)| *other != watch) {
            self.watches.remove(&watch);
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// Something changed in a folder where a PIDFile= may appear.
    pub(crate) fn pid_file_event(&mut self, watch: i32, events: &mut VecDeque<Event>) {
        let concerned = self.pid_files.iter().filter(|(_, (_, w))| *w == watch);
        let units: Vec<(UnitId, Box<str>)> = concerned.map(|(&u, (path, _))| (u, path.clone())).collect();
        for (unit, path) in units {
            if let Some(pid) = self.find_pid_file(unit, path, true) {
                events.push_back(Event::PidFile { unit, pid: Some(pid) });
            }
        }
    }

    /// The only process of the unit that has become our child; GuessMainPID=.
    pub(crate) fn guess_main_pid(&self, unit: UnitId) -> Option<u32> {
        let me = std::process::id();
        let adopted = |pid: &u32| process::stat(*pid).is_some_and(|s| s.parent == me && !s.zombie);
        let mut candidates = self.members(unit).into_iter().filter(adopted);
        let first = candidates.next()?;
        candidates.next().is_none().then_some(first)
    }

    /// Does [`hence_engine::Effect::WatchProcess`].
    pub(crate) fn watch_process(&mut self, unit: UnitId, pid: u32) {
        if let Some(tracked) = self.processes.get_mut(&pid) {
            tracked.end = End::Exited;
            return;
        }
        let stat = process::stat(pid);
        if stat.is_none() && !process::is_gone(pid) {
            return self.again.watch(unit, pid);
        }
        let child = stat.is_some_and(|s| s.parent == std::process::id());
        let watched = stat.is_some_and(|s| {
            let tracked = Tracked { start_ticks: s.start_ticks, unit, pidfd: None, end: End::Exited };
            (child || !s.zombie) && self.track(pid, tracked, child)
        });
        if !watched {
            let event = Event::Exited { pid, exit: None, cpu_us: 0, peak_bytes: 0, spawn_error: None };
            self.pending.push_back(event);
        }
    }

    /// Watches for the ends of processes, by pid and start time, that an earlier hence left behind.
    pub fn watch_left_over(&mut self, unit: UnitId, processes: &[(u32, u64)]) {
        for &(pid, start_ticks) in processes {
            let tracked = Tracked { start_ticks, unit, pidfd: None, end: End::Gone };
            if !process::is_alive(pid, start_ticks) || !self.track(pid, tracked, false) {
                self.pending.push_back(Event::Gone { unit, pid, start_ticks, exit: None });
            }
        }
    }

    /// A process that was found, not started, has ended.
    pub(crate) fn found_gone(&mut self, pid: u32) {
        if let Tracker::Ancestry(ancestry) = &mut self.tracker {
            ancestry.gone(pid);
        }
    }

    /// The groups, where they are what tracks.
    pub(crate) fn has_groups(&self) -> Option<&Groups> {
        match &self.tracker {
            Tracker::Groups(groups) => Some(groups),
            Tracker::Ancestry(_) => None,
        }
    }
}
