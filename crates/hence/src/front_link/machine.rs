//! What the run loop and the machine say of units, for clients that ask: control groups and processes are
//! read when somebody asks and at no other time.

use super::Registry;
use crate::live_files::{self, Read, Unmade};
use crate::model::{Runtime, SentStreams, Usage};
use crate::pump::Pump;
use hence_bus::front::{ErrorName, ManagerView, ProcessView, Refusal, Timestamp};
use hence_engine::{Effect, Engine, Event, UnitId};
use hence_host::{Host, Interest, UnitGroup, subfolders};
use hence_ledger::{Client, Verb};
use hence_unit::config::Environs;
use hence_unit::install::{InstallPaths, Step};
use hence_unit::{LoadState, UnitName};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::mem::take;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most processes of one unit that are named.
const PROCESSES_MAX: usize = 4096;
/// So many tasks of one group may be more than one read of it tells.
const TASKS_READ: u64 = 128;
/// Most groups of a slice whose tasks are counted.
const GROUPS_MAX: usize = 1000;

impl Registry for Host {
    fn register(&mut self, fd: BorrowedFd<'_>, token: u32, interest: Interest) -> io::Result<()> {
        Host::register(self, fd, token, interest).map_err(io::Error::other)
    }

    fn unregister(&mut self, fd: BorrowedFd<'_>) {
        Host::unregister(self, fd);
    }
}

impl Registry for Pump {
    fn register(&mut self, fd: BorrowedFd<'_>, token: u32, interest: Interest) -> io::Result<()> {
        Registry::register(&mut self.host, fd, token, interest)
    }

    fn unregister(&mut self, fd: BorrowedFd<'_>) {
        Registry::unregister(&mut self.host, fd);
    }
}

impl Runtime for Pump {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn now_us(&self) -> u64 {
        Host::now().monotonic_us
    }

    fn load(&mut self, name: &UnitName) -> Option<UnitId> {
        let known = self.engine.find(name.as_str());
        let mut answers = VecDeque::new();
        // Read first, so that the engine hears only of names that mean something.
        self.host.perform(Effect::Load(name.clone()), &mut answers);
        let Some(Event::Loaded { config, files }) = answers.pop_front() else { return known };
        if config.load == LoadState::NotFound {
            return known;
        }
        self.happen(Event::Loaded { config, files });
        self.engine.find(name.as_str())
    }

    fn reload(&mut self, client: Client) -> Result<(), Refusal> {
        if Pump::reload(self, client) {
            return Ok(());
        }
        Err(Refusal::new(ErrorName::NotSupported, "This hence has no unit files to read."))
    }

    fn reexecute(&mut self, client: Client) -> Result<(), Refusal> {
        if Pump::ask_to_reexecute(self, client) {
            return Ok(());
        }
        Err(Refusal::new(ErrorName::NotSupported, "Nothing is known of the program's file."))
    }

    fn usage(&self, unit: UnitId) -> Usage {
        // A group that tells its time is there, which needs no second look then.
        let told = Group::known(self, unit).and_then(|group| Some((group.cpu_us()?, group)));
        let (cpu_us, group) = match told {
            Some((cpu_us, group)) => (Some(cpu_us), group),
            None => match Group::of(self, unit) {
                Some(group) => (group.cpu_us(), group),
                None => return Usage::default(),
            },
        };
        let number = |text: &str| text.trim().parse().ok();
        let (tasks, memory) = group.known.as_ref().map_or((true, true), |known| known.counts);
        let counted = |counts: bool, file: &str| counts.then(|| group.read(file, number)).flatten();
        Usage {
            tasks_current: counted(tasks, "pids.current").or_else(|| group.tasks()),
            memory_current: counted(memory, "memory.current"),
            cpu_usage_ns: cpu_us.map(|us| us.saturating_mul(1000)),
            control_group: group.path,
        }
    }

    fn make_unit(&mut self, name: &UnitName, text: &str) -> Result<Read, Unmade> {
        let missing = || Unmade::System(io::ErrorKind::Unsupported.into());
        let (folders, mut units) = self.live_files().ok_or_else(missing)?;
        live_files::make(folders, &mut units, name, text)
    }

    fn unmake_unit(&mut self, name: &UnitName) {
        if let Some((folders, mut units)) = self.live_files() {
            live_files::remove(folders, &mut units, name);
        }
    }

    fn write_drop_ins(
        &mut self,
        unit: (&UnitName, bool),
        for_now: bool,
        texts: &[(String, String)],
    ) -> Result<Read, Unmade> {
        let missing = || Unmade::System(io::ErrorKind::Unsupported.into());
        let (folders, mut units) = self.live_files().ok_or_else(missing)?;
        live_files::drop_ins(folders, &mut units, unit, for_now, texts)
    }

    fn send_streams(&mut self, unit: &UnitName, streams: SentStreams) {
        self.host.send_streams(unit, streams);
    }

    fn hold(&mut self, unit: &UnitName, hold: bool) {
        let name = unit.clone();
        // What follows from it waits until the link has returned.
        self.engine.handle(Host::now(), if hold { Event::Held(name) } else { Event::Released(name) });
    }

    fn unit_of_group(&self, path: &str) -> Option<UnitId> {
        let group = |unit: UnitId| self.host.group_of(unit, self.engine.unit(unit).name());
        let mut path = path.trim_end_matches('/');
        while !path.is_empty() {
            let name = path.rsplit('/').next().unwrap_or_default();
            let found = self.engine.find(name).filter(|&id| group(id).is_some_and(|g| g.path == path));
            if found.is_some() {
                return found;
            }
            path = path.rsplit_once('/').map_or("", |(above, _)| above);
        }
        None
    }

    fn processes(&self, unit: UnitId) -> Vec<ProcessView> {
        let mut found = Vec::new();
        match Group::of(self, unit) {
            Some(group) => group.processes(&mut found),
            None => {
                let view = |pid| ProcessView { cgroup: String::new(), pid, command: command(pid) };
                found.extend(known_processes(&self.engine, unit).into_iter().map(view));
            }
        }
        found
    }

    fn unit_of_pid(&self, pid: u32) -> Option<UnitId> {
        if let Some(unit) = self.host.unit_of(pid) {
            return Some(unit);
        }
        let root = self.host.tracking().cgroup;
        let name = hence_host::unit_in(Path::new(&*root), pid)?;
        self.engine.find(&name)
    }

    fn is_stale(&self, unit: UnitId) -> bool {
        let unit = self.engine.unit(unit);
        self.units().is_some_and(|units| units.borrow().is_stale(&unit.config, unit.files()))
    }

    fn unit_folders(&self) -> Vec<String> {
        self.units().map(|units| units.borrow().folders()).unwrap_or_default()
    }

    fn install(&self) -> (InstallPaths, Environs) {
        self.units().map(|units| units.borrow().install()).unwrap_or_default()
    }

    fn file_state(&mut self, unit: &UnitName) -> (String, String) {
        self.units().map(|units| units.borrow_mut().file_state(unit)).unwrap_or_default()
    }

    fn change_files(
        &mut self,
        client: Client,
        verb: Verb,
        units: &[UnitName],
        steps: (&InstallPaths, &[Step]),
    ) -> Result<(), Refusal> {
        let done = Pump::change_files(self, client, verb, units, steps);
        if let Some(units) = self.units() {
            units.borrow_mut().forget_file_states();
        }
        done.map_err(|failed| {
            let name = match failed.error.kind() {
                io::ErrorKind::PermissionDenied => ErrorName::AccessDenied,
                io::ErrorKind::AlreadyExists => ErrorName::UnitExists,
                _ => ErrorName::Failed,
            };
            Refusal::new(name, failed.to_string())
        })
    }

    fn machine_id(&self) -> String {
        fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned()
    }

    fn describe(&self, view: &mut ManagerView) {
        view.environment = self.host.environment_block().iter().map(|v| v.to_string()).collect();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::"));
        view.control_group = own.unwrap_or_default().to_owned();
        // The folder of a process is as old as its first lookup, which is early in its life.
        let now = Host::now();
        let born = fs::metadata("/proc/self").and_then(|about| about.modified()).ok();
        let age = born.and_then(|born| born.elapsed().ok());
        let age_us = age.and_then(|age| u64::try_from(age.as_micros()).ok()).unwrap_or(0);
        view.userspace = Timestamp {
            realtime_us: now.realtime_us.saturating_sub(age_us),
            monotonic_us: now.monotonic_us.saturating_sub(age_us),
        };
    }
}

/// A file of the kernel's, which fits into one read; for these are read often.
fn small(path: &Path) -> Option<String> {
    let mut buffer = [0; 8192];
    let length = fs::File::open(path).ok()?.read(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Main and control process, then what earlier runs left.
fn known_processes(engine: &Engine, unit: UnitId) -> Vec<u32> {
    let (main, control) = engine.known_processes(unit);
    let left_over = engine.unit(unit).left_over.keys().map(|(pid, _)| *pid);
    main.into_iter().chain(control).chain(left_over).collect()
}

fn command(pid: u32) -> String {
    hence_host::describe(pid).map_or(String::new(), |process| process.command.to_string())
}

/// A unit's control group.
struct Group<'h> {
    /// Below the root of the hierarchy.
    path: String,
    folder: PathBuf,
    /// As the host knows it, where it does.
    known: Option<UnitGroup<'h>>,
}

impl<'h> Group<'h> {
    /// Where the host has the unit's processes, whether that is there or not.
    fn known(pump: &'h Pump, unit: UnitId) -> Option<Group<'h>> {
        let mut known = pump.host.group_of(unit, pump.engine.unit(unit).name())?;
        let (path, folder) = (take(&mut known.path), take(&mut known.folder));
        Some(Group { path, folder, known: Some(known) })
    }

    /// Where the unit's processes are; `None` where it has none, or no group of its own.
    fn of(pump: &'h Pump, unit: UnitId) -> Option<Group<'h>> {
        if let Some(group) = Group::known(pump, unit).filter(|group| group.links().is_some()) {
            return Some(group);
        }
        let root = pump.host.tracking().cgroup;
        let root = Path::new(&*root);
        let name = pump.engine.unit(unit).name().as_str();
        known_processes(&pump.engine, unit).into_iter().find_map(|pid| Group::of_process(root, pid, name))
    }

    fn of_process(root: &Path, pid: u32, unit: &str) -> Option<Group<'h>> {
        let text = small(Path::new(&format!("/proc/{pid}/cgroup")))?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        // A process may have gone into a group below its unit's.
        let end = own
            .match_indices('/')
            .map(|(at, _)| at + 1)
            .find(|&at| own[at..].split('/').next() == Some(unit))?;
        let path = own[..end + unit.len()].to_owned();
        let folder = root.ancestors().map(|mount| mount.join(path.trim_start_matches('/')));
        let folder = folder.into_iter().find(|folder| folder.join("cgroup.procs").exists())?;
        Some(Group { path, folder, known: None })
    }

    /// Of the folder; above two it has others in it. `None`: it isn't there.
    fn links(&self) -> Option<u64> {
        match &self.known {
            Some(known) => known.links(),
            None => Some(fs::metadata(&self.folder).ok()?.nlink()),
        }
    }

    /// The time that its processes have used.
    fn cpu_us(&self) -> Option<u64> {
        self.read("cpu.stat", |cpu| {
            cpu.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok())
        })
    }

    /// What a small file of the kernel's in the folder says; these are read often.
    fn read<T>(&self, file: &str, take: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let file = match &self.known {
            Some(known) => known.open(file).ok()?,
            None => fs::File::open(self.folder.join(file)).ok()?.into(),
        };
        let mut buffer = [0; 2048];
        let length = rustix::io::read(&file, &mut buffer).ok()?;
        take(std::str::from_utf8(&buffer[..length]).ok()?)
    }

    /// Tasks, where version 2 doesn't count them.
    fn tasks(&self) -> Option<u64> {
        let version_1 = self.known.as_ref().and_then(|known| known.pids_folder.as_ref());
        if let Some(text) = version_1.and_then(|folder| small(&folder.join("pids.current"))) {
            return text.trim().parse().ok();
        }
        let lines = |text: &str| Some(text.lines().count() as u64);
        if self.links().is_some_and(|links| links <= 2)
            && let Some(tasks) = self.read("cgroup.threads", lines).filter(|tasks| *tasks < TASKS_READ)
        {
            return Some(tasks);
        }
        let mut tasks = 0;
        let mut groups = vec![self.folder.clone()];
        for _ in 0..GROUPS_MAX {
            let Some(folder) = groups.pop() else { break };
            let listed = fs::read_to_string(folder.join("cgroup.threads")).unwrap_or_default();
            tasks += listed.lines().count() as u64;
            groups.extend(subfolders(&folder).map(|name| folder.join(name)));
        }
        Some(tasks)
    }

    fn processes(&self, found: &mut Vec<ProcessView>) {
        let mut groups = vec![(self.path.clone(), self.folder.clone())];
        while let Some((path, folder)) = groups.pop() {
            let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            for pid in listed.lines().filter_map(|line| line.parse().ok()) {
                if found.len() >= PROCESSES_MAX {
                    return;
                }
                found.push(ProcessView { cgroup: path.clone(), pid, command: command(pid) });
            }
            let below = subfolders(&folder);
            groups.extend(below.map(|name| (format!("{path}/{name}"), folder.join(&name))));
        }
    }
}
