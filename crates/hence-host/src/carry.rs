//! What the host holds, handed to the program that takes hence's place and taken up there: groups, tracked
//! processes, open sockets, what is watched. systemctl(1), daemon-reexec.
//!
//! Units are named, not numbered. Descriptors go along under their numbers. What can't be read is said, and
//! the rest holds.

use crate::host::{End, Host, Row, Tracked, Tracker, Watch};
use crate::keep::Keep;
use crate::runtime::Runtime;
use crate::sys::inherited::Inherited;
use hence_engine::carry::{Carried, Section, Unread, Writer};
use hence_engine::{Event, UnitId};
use hence_ledger::{SpawnStep, record::Invocation};
use hence_unit::{Config, UnitName};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// The name of a unit.
pub type Names<'n> = &'n dyn Fn(UnitId) -> Option<String>;

/// The number and configuration of a unit of this name.
pub type Find<'f> = &'f dyn Fn(&str) -> Option<(UnitId, Arc<Config>)>;

/// The text that is handed on, and the descriptors that stay open for it.
#[derive(Debug, Default)]
pub struct Out<'h> {
    /// The text.
    pub text: Writer,
    /// The descriptors.
    pub kept: Vec<BorrowedFd<'h>>,
}

impl<'h> Out<'h> {
    /// Keeps a descriptor open; its number.
    pub fn keep(&mut self, fd: &'h impl AsFd) -> i32 {
        let fd = fd.as_fd();
        self.kept.push(fd);
        fd.as_raw_fd()
    }
}

/// What is at hand while a state is taken up.
pub struct Taking<'t, 'c> {
    /// What was handed on.
    pub carried: &'t Carried<'c>,
    /// The descriptors.
    pub inherited: &'t mut Inherited,
    /// Finds units.
    pub find: Find<'t>,
    /// What could not be taken up, in words.
    pub unread: &'t mut Vec<String>,
}

impl Taking<'_, '_> {
    /// Says what came of a part.
    pub(crate) fn note(&mut self, what: &str, taken: Result<(), Unread>) {
        if let Err(Unread(key)) = taken {
            self.unread.push(format!("{what}: {key}"));
        }
    }
}

/// Descriptors that a host is made with instead of new ones.
#[derive(Debug, Default)]
pub struct HostDescriptors {
    /// The socket that services report to, and its address.
    pub(crate) notify: Option<(OwnedFd, String)>,
    /// For groups and PID files; for path units.
    pub(crate) inotify: Option<[OwnedFd; 2]>,
}

impl HostDescriptors {
    /// Whether what is watched goes on.
    pub fn has_watches(&self) -> bool {
        self.inotify.is_some()
    }

    /// Those that were handed on.
    pub fn take_up(carried: &Carried<'_>, inherited: &mut Inherited, unread: &mut Vec<String>) -> Self {
        let mut descriptors = HostDescriptors::default();
        let Some(from) = carried.one("host") else { return descriptors };
        let mut take = |key: &str| -> Result<OwnedFd, Unread> {
            inherited.take(from.need(key)?).ok_or_else(|| Unread(key.into()))
        };
        match (take("notify"), from.need("notify_address")) {
            (Ok(fd), Ok(address)) => descriptors.notify = Some((fd, address)),
            (Err(Unread(key)), _) | (_, Err(Unread(key))) => unread.push(format!("host: {key}")),
        }
        match (take("inotify"), take("path_inotify")) {
            (Ok(groups), Ok(paths)) => descriptors.inotify = Some([groups, paths]),
            (Err(Unread(key)), _) | (_, Err(Unread(key))) => unread.push(format!("host: {key}")),
        }
        descriptors
    }
}

type ProcessWords = (u32, u64, String, u8, bool);
type RowWords = (Invocation, String, i32, i32, u32, [bool; 3]);

fn end_word(end: End) -> u8 {
    match end {
        End::Exited => 0,
        End::Gone => 1,
        End::Silent => 2,
    }
}

fn end_of(word: u8) -> Option<End> {
    Some(match word {
        0 => End::Exited,
        1 => End::Gone,
        2 => End::Silent,
        _ => return None,
    })
}

impl Host {
    /// Whether nothing that happened waits to be told, and no child is on its way into its program.
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.rechecks.is_empty() && !self.launcher.is_at_work()
    }

    /// Writes what a successor needs, in sections of its own.
    pub fn carry<'h>(&'h self, out: &mut Out<'h>, names: Names<'_>) {
        out.text.section("host", "");
        let numbers = [("notify", &self.notify), ("inotify", &self.inotify)];
        for (key, fd) in numbers.into_iter().chain([("path_inotify", &self.path_inotify)]) {
            let fd = out.keep(fd);
            out.text.field(key, &fd);
        }
        out.text.field("notify_address", &self.notify_address);
        out.text.field("environment", &self.options.environment);
        out.text.field("dropped_messages", &self.loop_state.dropped_messages);
        for (pid, step, errno) in self.launcher.failures() {
            out.text.field("failure", &(pid, step, errno));
        }
        for (pid, (step, errno)) in &self.executor_errors {
            out.text.field("failure", &(*pid, *step, *errno));
        }
        for (pid, fd) in &self.executors {
            let fd = out.keep(fd);
            out.text.field("executor", &(*pid, fd));
        }
        for (watch, what) in &self.watches {
            if *what == Watch::PidFiles {
                out.text.field("pid_file_folder", watch);
            }
        }
        self.carry_runtimes(out, names);
        self.carry_processes(out, names);
        for (index, row) in self.rows.iter().enumerate() {
            if let (Some(row), Some(name)) = (row, names(UnitId(index as u32))) {
                self.carry_row(out, UnitId(index as u32), &name, row);
            }
        }
        if let Tracker::Ancestry(ancestry) = &self.tracker {
            ancestry.carry(out, names);
        }
        self.sockets.carry(out, names);
        self.paths.carry(out, names);
        self.keeping.carry(out, names);
        self.automounts.carry(out, names);
        self.carry_streams(out);
    }

    fn carry_processes(&self, out: &mut Out<'_>, names: Names<'_>) {
        out.text.section("processes", "");
        for (pid, tracked) in &self.processes {
            if let Some(name) = names(tracked.unit) {
                let watched = tracked.pidfd.is_some();
                let words: ProcessWords = (*pid, tracked.start_ticks, name, end_word(tracked.end), watched);
                out.text.field("process", &words);
            }
        }
    }

    fn carry_row(&self, out: &mut Out<'_>, unit: UnitId, name: &str, row: &Row) {
        out.text.section("group", name);
        let slice = match &self.tracker {
            Tracker::Groups(groups) => groups.slice_name(row.slice).to_owned(),
            Tracker::Ancestry(_) => String::new(),
        };
        let flags = [row.grouped, row.wants_empty, row.released];
        let words: RowWords = (row.invocation, slice, row.events_watch, row.oom_watch, row.oom_base, flags);
        out.text.field("row", &words);
        if let Some(pid_file) = self.pid_files.get(&unit) {
            out.text.field("pid_file", pid_file);
        }
        if let Some(freezing) = self.live.freezing.get(&unit) {
            out.text.field("freezing", freezing);
        }
        if let Some(runtime) = self.live.runtimes.of_units.get(&unit) {
            out.text.field("runtime", &runtime.maker.to_string());
        }
    }

    fn carry_runtimes<'h>(&'h self, out: &mut Out<'h>, names: Names<'_>) {
        let mut known: Vec<&str> = Vec::new();
        for runtime in self.live.runtimes.of_units.values() {
            if known.contains(&&*runtime.maker) {
                continue;
            }
            known.push(&runtime.maker);
            out.text.section("runtime", &runtime.maker);
            for folder in runtime.tmp.iter().flatten() {
                out.text.field("tmp", &folder.to_string_lossy().into_owned());
            }
            for (key, ends) in [("network", &runtime.network), ("ipc", &runtime.ipc)] {
                for end in ends.iter().flat_map(|keep| &keep.0) {
                    let end = out.keep(end);
                    out.text.field(key, &end);
                }
            }
        }
        for (user, (keep, units)) in &self.live.runtimes.users {
            out.text.section("made_up", user);
            for end in &keep.0 {
                let end = out.keep(end);
                out.text.field("end", &end);
            }
            for name in units.iter().filter_map(|unit| names(*unit)) {
                out.text.field("unit", &name);
            }
        }
    }

    fn carry_streams<'h>(&'h self, out: &mut Out<'h>) {
        for (name, streams) in &self.live.streams {
            out.text.section("streams", name);
            for (at, stream) in streams.iter().enumerate() {
                if let Some(fd) = stream {
                    let fd = out.keep(&**fd);
                    out.text.field("stream", &(at as u32, fd));
                }
            }
        }
    }

    /// Takes up what was handed on. Whether what path units wait for could be, too.
    pub fn take_up(&mut self, taking: &mut Taking<'_, '_>, watches: bool) -> bool {
        self.loop_state.take_all_in();
        let carried = taking.carried;
        if let Some(from) = carried.one("host") {
            let taken = self.take_host(from, taking, watches);
            taking.note("host", taken);
        }
        for from in carried.of("group") {
            let taken = self.take_row(from, taking, watches);
            taking.note(&format!("group {}", from.name), taken);
        }
        if let Tracker::Ancestry(ancestry) = &mut self.tracker {
            ancestry.take_up(taking);
        }
        if let Some(from) = carried.one("processes") {
            let taken = self.take_processes(from, taking);
            taking.note("processes", taken);
        }
        for from in carried.of("made_up") {
            let taken = self.take_made_up(from, taking);
            taking.note(&format!("made_up {}", from.name), taken);
        }
        for from in carried.of("streams") {
            let taken = self.take_streams(from, taking);
            taking.note(&format!("streams {}", from.name), taken);
        }
        self.sockets.take_up(taking, &self.epoll);
        self.keeping.take_up(taking, &self.epoll, &mut self.pending);
        self.automounts.take_up(taking, &self.epoll);
        watches && self.paths.take_up(taking)
    }

    fn take_host(
        &mut self,
        from: &Section<'_>,
        taking: &mut Taking<'_, '_>,
        watches: bool,
    ) -> Result<(), Unread> {
        if let Some(environment) = from.get("environment")? {
            self.options.environment = environment;
        }
        self.loop_state.dropped_messages = from.get("dropped_messages")?.unwrap_or_default();
        for (pid, step, errno) in from.all::<(u32, SpawnStep, i32)>("failure")? {
            self.executor_errors.insert(pid, (step, errno));
        }
        for (pid, fd) in from.all::<(u32, i32)>("executor")? {
            if let Some(fd) = taking.inherited.take(fd) {
                self.watch_executor(pid, fd);
            }
        }
        for watch in from.all::<i32>("pid_file_folder")?.into_iter().filter(|_| watches) {
            self.watches.insert(watch, Watch::PidFiles);
        }
        Ok(())
    }

    /// What units share: the first one that is taken up brings it.
    fn take_runtime(&mut self, unit: UnitId, maker: &str, taking: &mut Taking<'_, '_>) -> Result<(), Unread> {
        let runtimes = &mut self.live.runtimes.of_units;
        let there = runtimes.values().find(|runtime| *runtime.maker == *maker).map(Arc::clone);
        let runtime = match there {
            Some(runtime) => runtime,
            None => {
                let from = taking.carried.of("runtime").find(|s| *s.name == *maker);
                let from = from.ok_or_else(|| Unread("runtime".into()))?;
                let tmp: Vec<PathBuf> = from.all::<String>("tmp")?.into_iter().map(PathBuf::from).collect();
                let mut ends = |key: &str| -> Result<Option<Keep>, Unread> {
                    let fds = from.all::<i32>(key)?.into_iter();
                    let fds: Vec<OwnedFd> = fds.filter_map(|fd| taking.inherited.take(fd)).collect();
                    Ok(fds.try_into().ok().map(Keep))
                };
                let (network, ipc) = (ends("network")?, ends("ipc")?);
                Arc::new(Runtime { maker: maker.into(), tmp: tmp.try_into().ok(), network, ipc })
            }
        };
        self.live.runtimes.of_units.insert(unit, runtime);
        Ok(())
    }

    /// A user that was made up, for the units that have it.
    fn take_made_up(&mut self, from: &Section<'_>, taking: &mut Taking<'_, '_>) -> Result<(), Unread> {
        let fds = from.all::<i32>("end")?.into_iter();
        let ends: Vec<OwnedFd> = fds.filter_map(|fd| taking.inherited.take(fd)).collect();
        let ends = ends.try_into().map_err(|_| Unread("end".into()))?;
        let names = from.all::<String>("unit")?;
        let units: Vec<UnitId> =
            names.iter().filter_map(|n| (taking.find)(n).map(|(unit, _)| unit)).collect();
        self.live.runtimes.users.insert(from.name.to_string(), (Keep(ends), units));
        Ok(())
    }

    fn take_row(
        &mut self,
        from: &Section<'_>,
        taking: &mut Taking<'_, '_>,
        watches: bool,
    ) -> Result<(), Unread> {
        let (unit, config) = (taking.find)(&from.name).ok_or_else(|| Unread("unit".into()))?;
        let words: RowWords = from.need("row")?;
        let (invocation, slice, events_watch, oom_watch, oom_base, flags) = words;
        let [grouped, wants_empty, released] = flags;
        let slice = match &mut self.tracker {
            Tracker::Groups(groups) => groups.slice_named(&slice).map_err(|_| Unread("slice".into()))?,
            Tracker::Ancestry(_) => 0,
        };
        let kept = |watch: i32| if watches { watch } else { -1 };
        let index = unit.0 as usize;
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, || None);
        }
        self.names.insert(config.id().text().clone(), unit);
        for (watch, what) in [(events_watch, Watch::Populated(unit)), (oom_watch, Watch::Memory(unit))] {
            if kept(watch) >= 0 {
                self.watches.insert(watch, what);
            }
        }
        self.rows[index] = Some(Row {
            config,
            invocation,
            events_watch: kept(events_watch),
            oom_watch: kept(oom_watch),
            oom_base,
            slice,
            grouped,
            wants_empty,
            released,
        });
        if wants_empty || released {
            self.rechecks.push(unit);
        }
        if let Some(maker) = from.get::<String>("runtime")? {
            self.take_runtime(unit, &maker, taking)?;
        }
        // As former versions wrote it.
        if let Some(folder) = from.get::<String>("own_tmp")? {
            let folder = PathBuf::from(folder);
            let maker = hence_ledger::Text::from(&*from.name);
            let tmp = Some([folder.join("tmp"), folder.join("var-tmp")]);
            let runtime = Runtime { maker, tmp, network: None, ipc: None };
            self.live.runtimes.of_units.insert(unit, Arc::new(runtime));
        }
        if let Some(freezing) = from.get("freezing")? {
            self.live.freezing.insert(unit, freezing);
            self.watch_populated(unit);
        }
        if let Some((path, watch)) = from.get::<(Box<str>, i32)>("pid_file")? {
            if watches {
                self.pid_files.insert(unit, (path, watch));
            } else if let Some(pid) = self.find_pid_file(unit, path, true) {
                self.pending.push_back(Event::PidFile { unit, pid: Some(pid) });
            }
        }
        Ok(())
    }

    fn take_processes(&mut self, from: &Section<'_>, taking: &Taking<'_, '_>) -> Result<(), Unread> {
        for (pid, start_ticks, name, end, watched) in from.all::<ProcessWords>("process")? {
            let Some((unit, _)) = (taking.find)(&name) else { continue };
            let end = end_of(end).ok_or_else(|| Unread("process".into()))?;
            let tracked = Tracked { start_ticks, unit, pidfd: None, end };
            if !watched {
                // A child of ours waits to be reaped, whatever became of it meanwhile.
                self.processes.insert(pid, tracked);
            } else if !self.track(pid, tracked, false) {
                match end {
                    End::Exited => self.pending.push_back(Event::Exited {
                        pid,
                        exit: None,
                        cpu_us: 0,
                        peak_bytes: 0,
                        spawn_error: None,
                    }),
                    End::Gone => self.pending.push_back(Event::Gone { unit, pid, start_ticks, exit: None }),
                    End::Silent => {}
                }
                self.rechecks.push(unit);
            }
        }
        Ok(())
    }

    fn take_streams(&mut self, from: &Section<'_>, taking: &mut Taking<'_, '_>) -> Result<(), Unread> {
        let name = UnitName::new(&from.name).ok_or_else(|| Unread("unit".into()))?;
        let mut streams = crate::SentStreams::default();
        for (at, fd) in from.all::<(u32, i32)>("stream")? {
            if let (Some(place), Some(fd)) = (streams.get_mut(at as usize), taking.inherited.take(fd)) {
                *place = Some(Arc::new(fd));
            }
        }
        self.send_streams(&name, streams);
        Ok(())
    }
}
