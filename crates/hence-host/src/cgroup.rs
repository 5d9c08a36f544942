//! Control groups: one per unit below a root of our own; cgroups(7). Which processes are killed or
//! reported, and when, is decided elsewhere.
//!
//! Version 2 tracks. Where the machine has a version 1 `pids` hierarchy beside it (hybrid), a unit with
//! TasksMax= has a group of the same path there too, which its processes join before they run.

mod enforce;

use crate::limits::Defaults;
use crate::live::UnitGroup;
use crate::sys::signal;
use hence_unit::{Config, UnitKind, config::ResourceConfig, dependency::DependencyKind};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Most processes that are listed of one group.
pub const MEMBERS: usize = 10_000;
/// Passes over a group before its forks are given up on for this signal.
const KILL_PASSES: usize = 1000;
/// Subgroups of a unit's group that are looked at.
const SUBGROUPS: usize = 1000;
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// A folder of units, by its number in [`Groups`].
pub type SliceId = u16;

struct Slice {
    path: Box<str>,
    fd: OwnedFd,
    /// It has a limit in v1 `pids`, so that the units in it must be there.
    limited: bool,
    /// What memory is left to what lies in it.
    defaults: Defaults,
}

/// The groups of one hence.
pub struct Groups {
    root: PathBuf,
    /// Our root as /proc/PID/cgroup has it.
    prefix: String,
    slices: Vec<Slice>,
    by_name: HashMap<Box<str>, SliceId>,
    /// v1 `pids`: our root there, and whether it has been made.
    pids: Option<(PathBuf, bool)>,
    controllers: Vec<String>,
    /// Settings that some unit has and nothing here can enforce.
    pub unenforced: BTreeSet<&'static str>,
    /// The same of the last units, with what the kernel said; and what was told of which unit.
    lacking: Vec<(&'static str, i32)>,
    told: HashMap<Box<str>, Vec<&'static str>>,
    /// DisableControllers= of slices.
    disabled: Vec<(PathBuf, Vec<&'static str>)>,
    /// The machine starts or stops.
    pub(crate) starting: bool,
}

/// Where cgroup hierarchies are mounted and where in them we are.
#[derive(Debug, Default, PartialEq)]
struct Layout {
    unified: Option<PathBuf>,
    pids: Option<PathBuf>,
    /// Our own path as /proc/PID/cgroup has it, without the first slash.
    own: String,
}

/// From /proc/self/mountinfo and /proc/self/cgroup. A container may have only a part of a hierarchy
/// mounted, and may be named by its path in the whole one.
fn layout(mounts: &str, own: &str) -> Layout {
    let own_path = |wanted: &str| {
        own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let outside = path.split('/').any(|p| p == "..");
            (controllers.split(',').any(|c| c == wanted) && !outside).then_some(path)
        })
    };
    let below = |root: &str, place: &str, path: &str| {
        let rest = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(place).join(rest))
    };
    let mut found = Layout::default();
    for line in mounts.lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let mut mount = mount.split(' ').skip(3);
        let mut system = system.split(' ');
        let (Some(root), Some(place), Some(kind)) = (mount.next(), mount.next(), system.next()) else {
            continue;
        };
        let options = system.nth(1).unwrap_or("");
        if kind == "cgroup2" && found.unified.is_none() {
            found.unified = own_path("").and_then(|path| below(root, place, path));
        } else if kind == "cgroup" && options.split(',').any(|o| o == "pids") && found.pids.is_none() {
            found.pids = own_path("pids").and_then(|path| below(root, place, path));
        }
    }
    found.own = own_path("").unwrap_or("").trim_start_matches('/').to_owned();
    found
}

impl Groups {
    /// Makes our root. As pid 1 it is the root of the namespace, otherwise a group below our own: that of an
    /// earlier hence, where there is one at the same place, else a new one. `user`: a user's own hence
    /// has the whole of a group that it was started in by itself.
    ///
    /// # Errors
    /// Why there is no group to be had, as a sentence.
    pub fn new(earlier: Option<&Path>, user: bool) -> Result<Groups, String> {
        let read = |path| fs::read_to_string(path).map_err(|e| format!("{path} can't be read: {e}"));
        let found = layout(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        let mut prefix = found.own;
        let Some(own) = found.unified else {
            return Err("no cgroup version 2 hierarchy is mounted where this process is in one".into());
        };
        let pid = std::process::id();
        let whole = pid == 1 || (user && is_all_ours(&own));
        let own = if whole { without_init(own) } else { own };
        if whole {
            prefix = without_init(PathBuf::from(prefix)).display().to_string();
        }
        let same_place = |folder: &&Path| folder.parent() == Some(&*own) && folder.is_dir();
        let kept = earlier.filter(same_place).and_then(|folder| folder.file_name()?.to_str());
        let name = kept.map_or_else(|| format!("hence-{pid}"), str::to_owned);
        let below = |own: &Path| if whole { own.to_path_buf() } else { own.join(&name) };
        let root = below(&own);
        let refused = |e: io::Error| format!("{} can't be used: {e}", root.display());
        if whole {
            // Only groups without processes may hand controllers on.
            let init = root.join("init.scope");
            make(&init).and_then(|()| fs::write(init.join("cgroup.procs"), "0")).map_err(refused)?;
            for other in children_in(&root).into_iter().filter(|_| user) {
                // It has ended meanwhile.
                let _ = fs::write(init.join("cgroup.procs"), other.to_string());
            }
        } else {
            prefix = Path::new(&prefix).join(&name).display().to_string();
            make(&root).map_err(refused)?;
            // A process may be born below us only where both of these may be written.
            let writable =
                |folder: &Path| fs::OpenOptions::new().write(true).open(folder.join("cgroup.procs"));
            if let Err(e) = writable(&own).and_then(|_| writable(&root)) {
                let _ = fs::remove_dir(&root);
                return Err(refused(e));
            }
        }
        let listed = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let usable = |c: &&&str| listed.split_whitespace().any(|l| l == **c);
        let groups = Groups {
            slices: vec![Slice {
                path: "".into(),
                fd: open_folder(&root).map_err(refused)?,
                limited: false,
                defaults: Defaults::default(),
            }],
            by_name: HashMap::new(),
            pids: found.pids.map(|p| (below(&p), false)),
            controllers: CONTROLLERS.iter().filter(usable).map(|c| (*c).to_owned()).collect(),
            unenforced: BTreeSet::new(),
            lacking: Vec::new(),
            told: HashMap::new(),
            disabled: Vec::new(),
            starting: true,
            prefix,
            root,
        };
        groups.hand_on(&groups.root.clone());
        Ok(groups)
    }

    /// Our root's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a setting of this v2 controller, or of v1 `pids`, is enforced.
    pub fn enforces(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller) || (controller == "pids" && self.pids.is_some())
    }

    /// Whether TasksMax= is enforced by a version 1 hierarchy.
    pub fn hybrid(&self) -> bool {
        self.pids.is_some() && !self.controllers.iter().any(|c| c == "pids")
    }

    /// The slice that a unit lies in, made with those above it.
    ///
    /// # Errors
    /// Where a folder can't be made.
    pub fn slice_of(&mut self, config: &Config) -> io::Result<SliceId> {
        let in_slice = config.dependencies.iter().find(|d| d.kind == DependencyKind::InSlice);
        match in_slice {
            Some(d) => self.slice(d.other.as_str()),
            None if config.id().kind() == UnitKind::Slice => Ok(0),
            None => self.slice("system.slice"),
        }
    }

    fn slice(&mut self, name: &str) -> io::Result<SliceId> {
        if name == "-.slice" {
            return Ok(0);
        }
        if let Some(&id) = self.by_name.get(name) {
            return Ok(id);
        }
        let stem = name.trim_end_matches(".slice");
        let parent = match stem.rsplit_once('-') {
            Some((above, _)) => self.slice(&format!("{above}.slice"))?,
            None => 0,
        };
        let above = &self.slices[usize::from(parent)];
        let path = format!("{}{}{name}", above.path, if above.path.is_empty() { "" } else { "/" });
        let (limited, defaults) = (above.limited, above.defaults);
        let folder = self.root.join(&path);
        make(&folder)?;
        self.hand_on(&folder);
        let id = SliceId::try_from(self.slices.len()).map_err(|_| io::ErrorKind::QuotaExceeded)?;
        self.slices.push(Slice { path: path.into(), fd: open_folder(&folder)?, limited, defaults });
        self.by_name.insert(name.into(), id);
        Ok(id)
    }

    /// The name of a slice by its number.
    pub fn slice_name(&self, id: SliceId) -> &str {
        let path = self.slices.get(usize::from(id)).map_or("", |slice| &slice.path);
        path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("-.slice")
    }

    /// The slice of this name, made where it isn't there.
    ///
    /// # Errors
    /// Where a folder can't be made.
    pub fn slice_named(&mut self, name: &str) -> io::Result<SliceId> {
        self.slice(name)
    }

    /// The folder of a slice unit's own group with its limits written.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn realize_slice(
        &mut self,
        config: &Config,
        resources: &ResourceConfig,
        before: Option<&ResourceConfig>,
    ) -> io::Result<()> {
        let id = self.slice(config.id())?;
        let folder = self.root.join(&*self.slices[usize::from(id)].path);
        if resources.tasks_max.is_some() && self.hybrid() {
            self.slices[usize::from(id)].limited = true;
            if let Some(v1) = self.v1_folder(id, "") {
                make_all(&v1)?;
            }
        }
        self.withhold(&folder, resources);
        let above = match hence_unit::slice_parent(config.id()) {
            Some(parent) => {
                let parent = self.slice(parent.as_str())?;
                self.slices[usize::from(parent)].defaults
            }
            None => Defaults::default(),
        };
        self.slices[usize::from(id)].defaults = above.below(resources);
        let v1 = self.v1_folder(id, "");
        self.limits((&folder, v1), resources, before, above);
        Ok(())
    }

    /// Opens a unit's group to be born into, making it where it isn't there.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn open(&self, slice: SliceId, name: &str, exists: bool) -> io::Result<OwnedFd> {
        let above = &self.slices[usize::from(slice)].fd;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if exists {
            match rustix::fs::openat(above, name, flags, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) => {}
                other => return Ok(other?),
            }
        }
        match rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(rustix::fs::openat(above, name, flags, Mode::empty())?)
    }

    /// Writes a unit's limits, and opens the file by which its processes join a v1 group, if they must.
    ///
    /// # Errors
    /// Where the v1 group can't be made.
    pub fn prepare(
        &mut self,
        slice: SliceId,
        name: &str,
        resources: &ResourceConfig,
    ) -> io::Result<Option<OwnedFd>> {
        let plain = ResourceConfig { slice: resources.slice.clone(), ..Default::default() };
        let Slice { limited, defaults, .. } = self.slices[usize::from(slice)];
        if *resources == plain && !limited && defaults == Defaults::default() {
            return Ok(None);
        }
        let wanted = resources.tasks_max.is_some() || limited;
        let v1 = if wanted && self.hybrid() { self.v1_folder(slice, name) } else { None };
        if let Some(folder) = &v1 {
            make_all(folder)?;
            if let Some((_, made)) = &mut self.pids {
                *made = true;
            }
        }
        self.limits((&self.folder(slice, name), v1.clone()), resources, None, defaults);
        let Some(folder) = v1 else { return Ok(None) };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        Ok(Some(rustix::fs::open(folder.join("cgroup.procs"), flags, Mode::empty())?))
    }

    /// Writes the changed limits of a unit's group that has processes.
    pub fn change(
        &mut self,
        slice: SliceId,
        name: &str,
        resources: &ResourceConfig,
        before: &ResourceConfig,
    ) {
        let v1 = if self.hybrid() { self.v1_folder(slice, name) } else { None };
        if let Some(folder) = &v1
            && resources.tasks_max.is_some()
            && !folder.exists()
            && make_all(folder).is_ok()
        {
            if let Some((_, made)) = &mut self.pids {
                *made = true;
            }
            for pid in self.members(slice, name) {
                // Who ended meanwhile needs no limit.
                let _ = fs::write(folder.join("cgroup.procs"), pid.to_string());
            }
        }
        let defaults = self.slices[usize::from(slice)].defaults;
        let place = (&*self.folder(slice, name), v1.filter(|v1| v1.exists()));
        self.limits(place, resources, Some(before), defaults);
    }

    /// Moves a process into a unit's group, or into one below it; both are made where they aren't there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn attach(
        &mut self,
        slice: SliceId,
        name: &str,
        group: &str,
        pid: u32,
        resources: &ResourceConfig,
    ) -> io::Result<()> {
        drop(self.open(slice, name, true)?);
        let joins = self.prepare(slice, name, resources)?;
        let mut folder = self.folder(slice, name);
        for part in group.split('/').filter(|part| !part.is_empty()) {
            folder.push(part);
            make(&folder)?;
        }
        fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        if let Some(file) = joins {
            rustix::io::write(&file, pid.to_string().as_bytes())?;
        }
        Ok(())
    }

    fn group_at(&self, path: &str, slice: SliceId, name: &str) -> UnitGroup<'_> {
        // Names of groups have no slash at either end.
        let prefix = self.prefix.trim_matches('/');
        let own = format!("/{prefix}{}{path}", if prefix.is_empty() || path.is_empty() { "" } else { "/" });
        let way = if name.is_empty() { String::new() } else { format!("{name}/") };
        // Before our root there is made, nothing is in it.
        let made = self.pids.as_ref().is_some_and(|(_, made)| *made);
        let counts = |controller: &str| self.controllers.iter().any(|c| c == controller);
        UnitGroup {
            path: own,
            folder: self.root.join(path),
            pids_folder: self.v1_folder(slice, name).filter(|_| made),
            from: (self.slices[usize::from(slice)].fd.as_fd(), way),
            counts: (counts("pids"), counts("memory")),
        }
    }

    /// A unit's group.
    pub fn unit_group(&self, slice: SliceId, name: &str) -> UnitGroup<'_> {
        let above = &self.slices[usize::from(slice)].path;
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
        self.group_at(&path, slice, name)
    }

    /// The group of a slice that has been made.
    pub fn slice_group(&self, name: &str) -> Option<UnitGroup<'_>> {
        let id = if name == "-.slice" { 0 } else { *self.by_name.get(name)? };
        let path = &self.slices[usize::from(id)].path;
        Some(self.group_at(path, id, ""))
    }

    /// A unit's folder.
    pub fn folder(&self, slice: SliceId, name: &str) -> PathBuf {
        self.root.join(&*self.slices[usize::from(slice)].path).join(name)
    }

    fn v1_folder(&self, slice: SliceId, name: &str) -> Option<PathBuf> {
        let (root, _) = self.pids.as_ref()?;
        Some(root.join(&*self.slices[usize::from(slice)].path).join(name))
    }

    /// Whether the kernel says that no process is in the group or below it. A group that is gone is empty.
    ///
    /// # Errors
    /// Where that can't be read: then nobody knows.
    pub fn is_empty(&self, slice: SliceId, name: &str) -> io::Result<bool> {
        let above = &self.slices[usize::from(slice)].fd;
        match read_at(above, &format!("{name}/cgroup.events")) {
            Ok(text) => Ok(text.lines().any(|l| l == "populated 0")),
            Err(e) if is_missing(&e) => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// The processes of the group and its subgroups, at most [`MEMBERS`]; none where it can't be read.
    pub fn members(&self, slice: SliceId, name: &str) -> Vec<u32> {
        self.try_members(slice, name).unwrap_or_default()
    }

    /// The same. Where the group's own list can't be read, /proc is asked who is in it.
    ///
    /// # Errors
    /// Where neither can be read.
    pub fn try_members(&self, slice: SliceId, name: &str) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        let mut folders = vec![name.to_owned()];
        let above = &self.slices[usize::from(slice)].fd;
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            // A threaded subgroup can't be read; its processes are listed by the group above it.
            let text = match read_at(above, &format!("{folder}/cgroup.procs")) {
                Err(e) if folder == name && !is_missing(&e) => return self.members_by_proc(name).ok_or(e),
                text => text.unwrap_or_default(),
            };
            let listed = text.lines().filter_map(|l| l.parse::<u32>().ok()).filter(|&pid| pid != 0);
            pids.extend(listed.take(MEMBERS - pids.len()));
            seen += 1;
            let links = rustix::fs::statat(above, &folder, AtFlags::empty()).map_or(2, |s| s.st_nlink);
            if links > 2 && seen < SUBGROUPS {
                folders.extend(subfolders(&self.folder(slice, &folder)).map(|sub| format!("{folder}/{sub}")));
            }
        }
        Ok(pids)
    }

    /// Stops everything in the group, or lets it go on. What is frozen still dies of SIGKILL.
    pub fn freeze(&self, slice: SliceId, name: &str, frozen: bool) {
        let above = &self.slices[usize::from(slice)].fd;
        let path = format!("{name}/cgroup.freeze");
        let file = rustix::fs::openat(above, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        if let Ok(file) = file {
            // A group that is gone needs neither.
            let _ = rustix::io::write(&file, if frozen { b"1" } else { b"0" });
        }
    }

    /// Removes a unit's group with its subgroups. False where processes are in it.
    pub fn remove(&self, slice: SliceId, name: &str) -> bool {
        self.remove_leaf(slice, name)
            || self.is_empty(slice, name).unwrap_or(false) && {
                let folder = self.folder(slice, name);
                remove_tree(&folder);
                let removed = !folder.exists();
                if removed {
                    self.remove_v1(slice, name);
                }
                removed
            }
    }

    /// Removes a unit's group where it has neither processes nor subgroups; the kernel looks and removes in
    /// one. False where it has.
    pub fn remove_leaf(&self, slice: SliceId, name: &str) -> bool {
        let above = &self.slices[usize::from(slice)].fd;
        let result = rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR);
        let removed = matches!(result, Ok(()) | Err(rustix::io::Errno::NOENT));
        if removed {
            self.remove_v1(slice, name);
        }
        removed
    }

    fn remove_v1(&self, slice: SliceId, name: &str) {
        if let Some((_, true)) = self.pids
            && let Some(v1) = self.v1_folder(slice, name)
        {
            remove_tree(&v1);
        }
    }

    /// Which unit's group a process is in, by its name; subgroups count.
    pub fn unit_of(&self, pid: u32) -> Option<String> {
        let path = format!("/proc/{pid}/cgroup");
        self.unit_of_lines(&crate::reserve::with(|| fs::read_to_string(&path)).ok()?)
    }

    pub(crate) fn unit_of_lines(&self, own: &str) -> Option<String> {
        let path = own.lines().find_map(|l| l.strip_prefix("0::/"))?;
        unit_in(path, &self.prefix)
    }

    /// Removes every group of ours that has no processes in it.
    pub fn close(&mut self) {
        if std::process::id() != 1 {
            remove_tree(&self.root);
        }
        if let Some((root, true)) = &self.pids {
            remove_tree(root);
        }
    }
}

/// The unit in a cgroup path: the first component below our root that isn't a slice.
fn unit_in(path: &str, prefix: &str) -> Option<String> {
    let below = Path::new(path).strip_prefix(prefix).ok()?;
    let mut parts = below.iter().filter_map(|part| part.to_str());
    parts.find(|part| !part.ends_with(".slice")).map(str::to_owned)
}

/// Signals every process that `members` lists until a pass finds no new one. Returns how many.
pub fn signal_all(
    members: &mut dyn FnMut() -> Vec<u32>,
    skip: &[u32],
    send: &mut dyn FnMut(u32),
) -> BTreeSet<u32> {
    let mut done = BTreeSet::new();
    for _ in 0..KILL_PASSES {
        let fresh: Vec<u32> =
            members().into_iter().filter(|p| !skip.contains(p) && !done.contains(p)).collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            send(pid);
            done.insert(pid);
        }
    }
    done
}

/// Ends every process below `folder` and removes it; for the groups of a hence that was killed. Waits for
/// the ends, a second at most: not for a running hence's own loop.
pub fn sweep(folder: &Path) {
    for _ in 0..200 {
        if !folder.exists() {
            return;
        }
        let _ = fs::write(folder.join("cgroup.kill"), "1");
        kill_below(folder);
        remove_tree(folder);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// For version 1, and kernels without `cgroup.kill` (before 5.14).
fn kill_below(folder: &Path) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|l| l.parse().ok()) {
        let _ = signal::send(pid, libc::SIGKILL as u8);
    }
    subfolders(folder).for_each(|sub| kill_below(&folder.join(sub)));
}

/// Removes the groups of an earlier hence at and below `folder` that have no processes, and those of the
/// same name that held the limits. Whether none is left.
pub fn remove_empty_groups(folder: &Path) -> bool {
    if folder.join("cgroup.procs").exists() {
        remove_tree(folder);
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let limits = layout(&read("/proc/self/mounts"), &read("/proc/self/cgroup")).pids;
    if let (Some(limits), Some(name)) = (limits, folder.file_name())
        && name.to_string_lossy().starts_with("hence-")
    {
        remove_tree(&limits.join(name));
    }
    !folder.exists()
}

/// Without the group that process 1 has made for itself: it is in there when it is executed anew.
fn without_init(path: PathBuf) -> PathBuf {
    if path.ends_with("init.scope") { path.parent().map(Path::to_path_buf).unwrap_or_default() } else { path }
}

/// Whether a group, or the one above an `init.scope` of ours, may be written and has no processes but us and
/// our children.
fn is_all_ours(own: &Path) -> bool {
    let above = without_init(own.to_owned());
    let file = above.join("cgroup.procs");
    let ours = std::process::id();
    let is_ours = |pid: u32| pid == ours || crate::process::stat(pid).is_none_or(|s| s.parent == ours);
    let all = |folder: &Path| members_of(folder).is_some_and(|all| all.into_iter().all(is_ours));
    fs::OpenOptions::new().write(true).open(file).is_ok()
        && rustix::fs::access(&above, rustix::fs::Access::WRITE_OK).is_ok()
        && all(own)
        && all(&above)
}

/// Processes in a group itself. `None`: it can't be read.
fn members_of(folder: &Path) -> Option<Vec<u32>> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
    text.lines().map(|line| line.parse().ok()).collect()
}

/// Children of ours in a group itself.
fn children_in(folder: &Path) -> Vec<u32> {
    let ours = std::process::id();
    let mut all = members_of(folder).unwrap_or_default();
    all.retain(|pid| crate::process::stat(*pid).is_some_and(|s| s.parent == ours));
    all
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn make_all(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The names of the groups right below one. Most have none, which the number of links tells without a look
/// into the folder.
pub fn subfolders(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let any = rustix::fs::stat(folder).is_ok_and(|s| s.st_nlink > 2);
    let entries = any.then(|| fs::read_dir(folder)).into_iter().flatten().flatten().flatten();
    entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .filter_map(|e| e.file_name().into_string().ok())
}

fn remove_tree(folder: &Path) {
    for sub in subfolders(folder) {
        remove_tree(&folder.join(sub));
    }
    let _ = fs::remove_dir(folder);
}

/// Longest line of a control group's file, in bytes, that a short read may have stopped at.
const LONGEST_LINE: usize = 64;

/// Whether this says that a group isn't there any more.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

fn read_at(folder: &OwnedFd, path: &str) -> io::Result<String> {
    crate::reserve::with(|| read_once(folder, path))
}

fn read_once(folder: &OwnedFd, path: &str) -> io::Result<String> {
    let file = rustix::fs::openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = vec![0u8; 4096];
    let mut length = 0;
    loop {
        // The kernel fills the buffer line by line: where another line had room, there was none.
        match rustix::io::read(&file, &mut bytes[length..])? {
            n if length + n + LONGEST_LINE < bytes.len() => {
                length += n;
                break;
            }
            0 => break,
            n => length += n,
        }
        if length == bytes.len() {
            bytes.resize(length * 2, 0);
        }
        if length > MEMBERS * 16 {
            break;
        }
    }
    bytes.truncate(length);
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn memory_total() -> u64 {
    let i = rustix::system::sysinfo();
    i.totalram as u64 * u64::from(i.mem_unit)
}

fn tasks_total() -> u64 {
    let read = |path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let of = |path| read(path).unwrap_or(u64::MAX);
    of("/proc/sys/kernel/pid_max").min(of("/proc/sys/kernel/threads-max")).min(4_194_304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let hybrid = "1 0 0:1 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            2 1 0:2 / /sys/fs/cgroup/pids rw,relatime shared:3 - cgroup cgroup rw,pids\n\
            3 1 0:3 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let found = layout(hybrid, "8:pids:/x\n1:name=systemd:/\n0::/a/b\n");
        assert_eq!(found.unified.unwrap(), Path::new("/sys/fs/cgroup/unified/a/b"));
        assert_eq!(found.pids.unwrap(), Path::new("/sys/fs/cgroup/pids/x"));
        assert_eq!(found.own, "a/b");
        let part = "3 1 0:3 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let inside = layout(part, "0::/docker/abc/sub\n").unified.unwrap();
        assert_eq!(inside, Path::new("/sys/fs/cgroup/sub"));
        assert_eq!(layout(part, "0::/elsewhere\n").unified, None);
        assert_eq!(layout(hybrid, "0::/../out\n"), Layout::default());
        assert_eq!(layout("", "0::/\n"), Layout::default());
    }

    #[test]
    fn units_in_paths() {
        let unit = |path, prefix| unit_in(path, prefix);
        assert_eq!(unit("x/hence-7/a.slice/b.service/sub", "x/hence-7").as_deref(), Some("b.service"));
        assert_eq!(unit("x/other/b.service", "x/hence-7"), None);
        assert_eq!(unit("system.slice/b.service", "").as_deref(), Some("b.service"));
        assert_eq!(unit("docker/abc/system.slice/b.service", "docker/abc").as_deref(), Some("b.service"));
        assert_eq!(unit("hence-7/a.slice", "hence-7"), None);
        assert_eq!(unit("hence-70/b.service", "hence-7"), None);
    }

    #[test]
    fn storms_are_followed_until_a_pass_is_quiet() {
        let mut pass = 0;
        let mut members = || {
            pass += 1;
            (1..=(pass * 2).min(5)).collect()
        };
        let mut sent = Vec::new();
        let done = signal_all(&mut members, &[2], &mut |p| sent.push(p));
        assert_eq!(sent, [1, 3, 4, 5]);
        assert_eq!(done.len(), 4);
    }
}
