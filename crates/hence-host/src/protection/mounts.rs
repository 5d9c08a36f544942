//! A mount namespace whose mounts are as ordered. They are made in a copy of the tree beside the machine's
//! own, so that what is bound is found whatever hides it in the copy; at the end the copy is the root.

use super::{Entry, Order, What, Without, devices};
use crate::{
    mountinfo,
    sys::namespace::{self, Attribute, Kind},
};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    unmount,
};
use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

/// Where the copy is made; any folder but the root will do, since nobody else sees it.
const STAGE: &str = "/run/systemd/unit-root";
/// Where it is made by who may not make that one, and has no folder for such either.
const STAGES: [&str; 3] = ["/mnt", "/srv", "/tmp"];
/// Nodes without any permission that hide others: the same that systemd has.
const INACCESSIBLE: &str = "/run/systemd/inaccessible";
/// Links that are followed on the way to one path, at most.
const LINKS: u32 = 40;

/// On what it failed, and why.
type Failure = (String, io::Error);

/// Makes the namespace and enters it. `false`: the kernel refused one, and nothing is changed.
pub(super) fn enter(order: &Order, root: Option<&str>, without: &mut Without<'_>) -> Result<bool, Failure> {
    let whole = |e: io::Error| ("mount namespace".to_owned(), e);
    let entered = without.allow(0, !order.essential, namespace::unshare(Kind::Mounts));
    if !entered.map_err(whole)? {
        return Ok(false);
    }
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).map_err(|e| whole(e.into()))?;
    let stage = stage().map_err(whole)?;
    let from = root.unwrap_or("/");
    mount_bind_recursive(from, &*stage).map_err(|e| (from.to_owned(), e.into()))?;
    let stage = Stage { folder: stage, root };
    let mut places = stage.places(order)?;
    arrange(&mut places);
    for place in &places {
        stage.make(place).map_err(|e| (place.shown().to_owned(), e))?;
    }
    stage.restrict(&places, order.no_suid)?;
    stage.become_root().map_err(whole)?;
    let propagation = match order.propagation {
        2 => MountPropagationFlags::DOWNSTREAM,
        3 => MountPropagationFlags::PRIVATE,
        _ => MountPropagationFlags::SHARED,
    };
    mount_change("/", propagation | MountPropagationFlags::REC).map_err(|e| whole(e.into()))?;
    Ok(true)
}

/// A folder to mount on.
fn stage() -> io::Result<String> {
    let own = std::env::var("XDG_RUNTIME_DIR").ok().map(|folder| format!("{folder}/systemd/unit-root"));
    let made = |folder: &String| fs::create_dir_all(folder).is_ok();
    let there = STAGES.map(str::to_owned).into_iter().filter(|folder| Path::new(folder).is_dir());
    let mut all = [STAGE.to_owned()].into_iter().chain(own).filter(made).chain(there);
    all.next().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

/// What is to become of a place.
struct Place<'e> {
    /// In the new root, without links.
    at: PathBuf,
    entry: &'e Entry,
    read_only: bool,
    no_exec: bool,
    exec: bool,
}

impl<'e> Place<'e> {
    fn new(at: PathBuf, entry: &'e Entry) -> Place<'e> {
        let read_only = entry.read_only || matches!(entry.what, What::ReadOnly | What::Hidden);
        let no_exec = matches!(entry.what, What::NoExec | What::Hidden | What::Kernel | What::Processes);
        let read_only = read_only || entry.what == What::Temporary && Options::of(&entry.options).read_only;
        Place { at, entry, read_only, no_exec, exec: entry.what == What::Exec }
    }

    /// What a failure is said to be about.
    fn shown(&self) -> &str {
        if self.entry.what == What::Bind { &self.entry.source } else { &self.entry.path }
    }

    /// Whether it is one file system of ours, whose own mounts are treated by themselves.
    fn is_alone(&self) -> bool {
        matches!(self.entry.what, What::Temporary | What::Scratch | What::Empty | What::Devices)
    }
}

/// Those above before those below; of several for one path the first counts, and what the others forbid is
/// forbidden. What nobody gets to, or is as what is around it, is left out.
fn arrange(places: &mut Vec<Place<'_>>) {
    places.sort_by(|a, b| a.at.cmp(&b.at).then(a.entry.what.cmp(&b.entry.what)));
    places.dedup_by(|later, first| {
        let same = later.at == first.at;
        if same {
            first.read_only |= later.read_only;
            first.no_exec |= later.no_exec;
            first.exec |= later.exec;
        }
        same
    });
    let hidden: Vec<PathBuf> =
        places.iter().filter(|p| p.entry.what == What::Hidden).map(|p| p.at.clone()).collect();
    places.retain(|p| !hidden.iter().any(|above| p.at != *above && p.at.starts_with(above)));
    let mut above: Vec<(PathBuf, What)> = Vec::new();
    places.retain(|p| {
        above.retain(|(path, _)| p.at.starts_with(path));
        let what = p.entry.what;
        let same = above.last().is_some_and(|(_, around)| *around == what);
        above.push((p.at.clone(), what));
        !(same && matches!(what, What::ReadOnly | What::Writable | What::Open | What::Exec | What::NoExec))
    });
}

/// The copy of the tree.
struct Stage<'r> {
    folder: String,
    root: Option<&'r str>,
}

impl Stage<'_> {
    /// A path of the new root as it is now.
    fn outside(&self, at: &Path) -> PathBuf {
        Path::new(&self.folder).join(at.strip_prefix("/").unwrap_or(at))
    }

    /// Where the entries come to lie. What may be missing and is missing is left out.
    fn places<'e>(&self, order: &'e Order) -> Result<Vec<Place<'e>>, Failure> {
        let mut places = Vec::new();
        for entry in &order.entries {
            let path = match (entry.rooted, self.root) {
                (false, Some(root)) => match Path::new(&entry.path).strip_prefix(root) {
                    Ok(below) => Path::new("/").join(below),
                    // It isn't in the new root.
                    Err(_) => continue,
                },
                _ => PathBuf::from(&entry.path),
            };
            let failed = |e| (entry.path.clone(), e);
            let (at, exists) = self.chase(&path).map_err(failed)?;
            let made = matches!(
                entry.what,
                What::Bind
                    | What::OwnTmp
                    | What::Devices
                    | What::HostDevices
                    | What::Empty
                    | What::Kernel
                    | What::Processes
                    | What::Temporary
                    | What::Run
            );
            if exists || made && !(entry.optional && entry.what != What::Bind) {
                places.push(Place::new(at, entry));
            } else if !entry.optional {
                return Err(failed(io::Error::from_raw_os_error(libc::ENOENT)));
            }
        }
        Ok(places)
    }

    /// A path of the new root without links, and whether it exists.
    fn chase(&self, path: &Path) -> io::Result<(PathBuf, bool)> {
        let mut at = PathBuf::from("/");
        let mut rest: Vec<std::ffi::OsString> =
            path.components().rev().map(|c| c.as_os_str().to_owned()).collect();
        let (mut links, mut exists) = (0, true);
        while let Some(part) = rest.pop() {
            match Path::new(&part).components().next() {
                Some(Component::RootDir) => at = PathBuf::from("/"),
                Some(Component::ParentDir) => {
                    at.pop();
                }
                Some(Component::Normal(name)) => {
                    at.push(name);
                    let Ok(found) = fs::symlink_metadata(self.outside(&at)) else {
                        exists = false;
                        continue;
                    };
                    if found.is_symlink() {
                        links += 1;
                        if links > LINKS {
                            return Err(io::Error::from_raw_os_error(libc::ELOOP));
                        }
                        let target = fs::read_link(self.outside(&at))?;
                        at.pop();
                        rest.extend(target.components().rev().map(|c| c.as_os_str().to_owned()));
                    }
                }
                _ => {}
            }
        }
        Ok((at, exists))
    }

    /// Does what belongs there, as far as it needs a mount.
    fn make(&self, place: &Place<'_>) -> io::Result<()> {
        let entry = place.entry;
        // Something above may be another file system since it was looked for.
        let (at, exists) = self.chase(&place.at)?;
        let at = &self.outside(&at);
        match entry.what {
            What::Hidden => hide(at, exists),
            What::Bind | What::OwnTmp => bind(entry, at, exists),
            What::Devices => {
                made_folder(at)?;
                bare(at);
                devices::make(at)
            }
            What::Processes => {
                made_folder(at)?;
                processes(at, &entry.options)
            }
            What::HostDevices => self.of_machine("/dev", at),
            What::Kernel => self.of_machine("/sys", at),
            What::Run => {
                made_folder(at)?;
                if is_mount(at)? {
                    return Ok(());
                }
                Ok(mount("tmpfs", at, "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>)?)
            }
            What::Temporary => {
                made_folder(at)?;
                bare(at);
                let options = Options::of(&entry.options);
                let all = format!("mode=0755,size=10%,nr_inodes=400k{}", options.of_system);
                Ok(mount("tmpfs", at, "tmpfs", options.flags, CString::new(all)?.as_c_str())?)
            }
            What::Scratch => {
                bare(at);
                Ok(mount("tmpfs", at, "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>)?)
            }
            What::Empty => {
                made_folder(at)?;
                bare(at);
                let flags =
                    MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::STRICTATIME;
                Ok(mount("tmpfs", at, "tmpfs", flags, CString::new(&*entry.options)?.as_c_str())?)
            }
            What::Queues => {
                let flags =
                    MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::RELATIME;
                Ok(mount("mqueue", at, "mqueue", flags, None::<&std::ffi::CStr>)?)
            }
            What::ReadOnly | What::Writable | What::NoExec | What::Exec | What::Open => {
                if !exists || is_mount(at)? {
                    return Ok(());
                }
                Ok(mount_bind_recursive(at, at)?)
            }
        }
    }

    /// A file system of the machine's, where the new root has none there.
    fn of_machine(&self, from: &str, at: &Path) -> io::Result<()> {
        made_folder(at)?;
        if is_mount(at)? {
            return Ok(());
        }
        Ok(mount_bind_recursive(from, at)?)
    }

    /// Takes what is forbidden from each mount: the nearest place above it says what that is.
    fn restrict(&self, places: &[Place<'_>], no_suid: bool) -> Result<(), Failure> {
        for mounted in mountinfo::read() {
            let Ok(at) = Path::new(&mounted.at).strip_prefix(&self.folder) else { continue };
            let at = &Path::new("/").join(at);
            let nearest =
                places.iter().filter(|p| at.starts_with(&p.at)).max_by_key(|p| p.at.components().count());
            let (mut set, mut clear) = (Attribute::NONE, Attribute::NONE);
            if let Some(place) = nearest.filter(|p| !p.is_alone() || p.at == *at) {
                if place.read_only {
                    set |= Attribute::READ_ONLY;
                }
                if place.exec {
                    clear |= Attribute::NO_EXEC;
                } else if place.no_exec {
                    set |= Attribute::NO_EXEC;
                }
            }
            if nearest.is_some_and(|p| no_suid || p.entry.no_suid) {
                set |= Attribute::NO_SUID;
            }
            if set | clear == Attribute::NONE {
                continue;
            }
            match namespace::change_mount(&mounted.at, set, clear) {
                // Below another mount, where nobody gets to.
                Err(e) if [Some(libc::ENOENT), Some(libc::EINVAL)].contains(&e.raw_os_error()) => {}
                result => result.map_err(|e| (at.display().to_string(), e))?,
            }
        }
        Ok(())
    }

    /// The copy becomes this process' root; the machine's is let go of.
    fn become_root(&self) -> io::Result<()> {
        std::env::set_current_dir(&self.folder)?;
        match rustix::process::pivot_root(".", ".") {
            Ok(()) => unmount(".", UnmountFlags::DETACH)?,
            // The first root, in memory, stays where it is.
            Err(_) => {
                rustix::mount::mount_move(".", "/")?;
                rustix::process::chroot(".")?;
            }
        }
        std::env::set_current_dir("/")
    }
}

/// Whether something is mounted there.
fn is_mount(at: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, at, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty())?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn made_folder(at: &Path) -> io::Result<()> {
    if at.is_dir() { Ok(()) } else { fs::DirBuilder::new().recursive(true).mode(0o755).create(at) }
}

/// Takes away what is mounted there and below, so that nothing of it is left beneath what comes. What can't
/// be taken away is only hidden.
fn bare(at: &Path) {
    let mounted = mountinfo::read();
    let there = mounted.iter().rev().filter(|m| Path::new(&m.at).starts_with(at));
    for mounted in there {
        let _ = unmount(&*mounted.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

fn bind(entry: &Entry, at: &Path, exists: bool) -> io::Result<()> {
    let source = match fs::metadata(&entry.source) {
        Err(e) if entry.optional && e.kind() == io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    if !exists {
        if source.is_dir() {
            made_folder(at)?;
        } else {
            at.parent().map_or(Ok(()), made_folder)?;
            fs::OpenOptions::new().create(true).append(true).mode(0o444).open(at)?;
        }
    }
    match entry.recursive {
        true => mount_bind_recursive(&*entry.source, at)?,
        false => mount_bind(&*entry.source, at)?,
    }
    Ok(())
}

/// A /proc of its own; where that is refused, the one that is there.
fn processes(at: &Path, options: &str) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    bare(at);
    let options = CString::new(options)?;
    match mount("proc", at, "proc", flags, options.as_c_str()) {
        // A kernel that can't show a part of it.
        Err(rustix::io::Errno::INVAL) if !options.is_empty() => {
            Ok(mount("proc", at, "proc", flags, None::<&std::ffi::CStr>)?)
        }
        Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) if is_mount(at)? => Ok(()),
        Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => Ok(mount_bind_recursive("/proc", at)?),
        result => Ok(result?),
    }
}

fn hide(at: &Path, exists: bool) -> io::Result<()> {
    if !exists {
        return Ok(());
    }
    let node = inaccessible(fs::symlink_metadata(at)?.file_type())?;
    bare(at);
    // It was a mount that is gone now.
    match fs::symlink_metadata(at) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Ok(mount_bind(node, at)?),
    }
}

/// What hides something of this type.
fn inaccessible(of: fs::FileType) -> io::Result<PathBuf> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let (name, kind) = match of {
        of if of.is_dir() => ("dir", FileType::Directory),
        of if of.is_char_device() => ("chr", FileType::CharacterDevice),
        of if of.is_block_device() => ("blk", FileType::BlockDevice),
        of if of.is_fifo() => ("fifo", FileType::Fifo),
        of if of.is_socket() => ("sock", FileType::Socket),
        _ => ("reg", FileType::RegularFile),
    };
    let own = std::env::var("XDG_RUNTIME_DIR").ok().filter(|_| !rustix::process::geteuid().is_root());
    let folder =
        own.map_or_else(|| PathBuf::from(INACCESSIBLE), |f| Path::new(&f).join("systemd/inaccessible"));
    let node = folder.join(name);
    if fs::symlink_metadata(&node).is_ok() {
        return Ok(node);
    }
    fs::create_dir_all(&folder)?;
    let none = fs::Permissions::from_mode(0o000);
    match kind {
        FileType::Directory => fs::DirBuilder::new().mode(0o000).recursive(true).create(&node)?,
        FileType::CharacterDevice | FileType::BlockDevice => {
            // Not all may make one: a file without permissions does as well.
            if mknodat(CWD, &node, kind, Mode::empty(), 0).is_err() {
                return inaccessible_file(&folder);
            }
        }
        FileType::RegularFile => return inaccessible_file(&folder),
        kind => match mknodat(CWD, &node, kind, Mode::empty(), 0) {
            Err(rustix::io::Errno::EXIST) => {}
            result => result?,
        },
    }
    let _ = fs::set_permissions(&node, none);
    Ok(node)
}

fn inaccessible_file(folder: &Path) -> io::Result<PathBuf> {
    let node = folder.join("reg");
    fs::OpenOptions::new().create(true).append(true).mode(0o000).open(&node)?;
    fs::set_permissions(&node, fs::Permissions::from_mode(0o000))?;
    Ok(node)
}

/// Mount options as TemporaryFileSystem= has them.
struct Options {
    flags: MountFlags,
    read_only: bool,
    /// Those of the file system itself, each behind a comma.
    of_system: String,
}

impl Options {
    fn of(text: &str) -> Options {
        let flags = MountFlags::NODEV | MountFlags::STRICTATIME;
        let mut options = Options { flags, read_only: false, of_system: String::new() };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (on, flag) = match word {
                "ro" | "rw" => {
                    // Only when all is in place.
                    options.read_only = word == "ro";
                    continue;
                }
                "defaults" => continue,
                "nodev" => (true, MountFlags::NODEV),
                "dev" => (false, MountFlags::NODEV),
                "nosuid" => (true, MountFlags::NOSUID),
                "suid" => (false, MountFlags::NOSUID),
                "noexec" => (true, MountFlags::NOEXEC),
                "exec" => (false, MountFlags::NOEXEC),
                "strictatime" => (true, MountFlags::STRICTATIME),
                "nostrictatime" => (false, MountFlags::STRICTATIME),
                "relatime" => (true, MountFlags::RELATIME),
                "norelatime" => (false, MountFlags::RELATIME),
                "noatime" => (true, MountFlags::NOATIME),
                "atime" => (false, MountFlags::NOATIME),
                "nodiratime" => (true, MountFlags::NODIRATIME),
                "diratime" => (false, MountFlags::NODIRATIME),
                "sync" => (true, MountFlags::SYNCHRONOUS),
                "async" => (false, MountFlags::SYNCHRONOUS),
                other => {
                    options.of_system.push(',');
                    options.of_system.push_str(other);
                    continue;
                }
            };
            options.flags.set(flag, on);
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protection::paths;
    use hence_unit::{ExecConfig, config::Protection};

    fn arranged(protection: Protection) -> Vec<(String, What, bool)> {
        let context = ExecConfig { protection: Some(Box::new(protection)), ..ExecConfig::default() };
        let given =
            paths::Given { own_tmp: None, folders: &[], notify: None, credentials: None, full: false };
        let order = paths::of_unit(&context, given).unwrap();
        let mut places: Vec<Place<'_>> =
            order.entries.iter().map(|e| Place::new(PathBuf::from(&e.path), e)).collect();
        arrange(&mut places);
        places.iter().map(|p| (p.at.display().to_string(), p.entry.what, p.read_only)).collect()
    }

    #[test]
    fn of_several_for_one_path_the_strictest_counts() {
        let paths = |list: &[&str]| list.iter().map(|p| Box::from(*p)).collect::<Vec<Box<str>>>();
        let found = arranged(Protection {
            system: 2,
            read_write_paths: paths(&["/usr", "/usr/local", "/srv"]),
            read_only_paths: paths(&["/srv", "/srv/a", "/usr/local/lib"]),
            inaccessible_paths: paths(&["/opt"]),
            exec_paths: paths(&["/opt/x"]),
            ..Protection::default()
        });
        let of = |path: &str| found.iter().find(|(at, ..)| at == path).map(|(_, what, ro)| (*what, *ro));
        assert_eq!(of("/usr"), Some((What::ReadOnly, true)));
        assert_eq!(of("/usr/local"), Some((What::Writable, false)));
        assert_eq!(of("/usr/local/lib"), Some((What::ReadOnly, true)));
        assert_eq!(of("/srv"), Some((What::ReadOnly, true)));
        assert_eq!(of("/srv/a"), None, "as what is around it");
        assert_eq!((of("/opt"), of("/opt/x")), (Some((What::Hidden, true)), None));
    }

    #[test]
    fn what_is_forbidden_stays_forbidden() {
        let found = arranged(Protection { kernel_tunables: true, system: 3, ..Protection::default() });
        let of = |path: &str| found.iter().find(|(at, ..)| at == path).map(|(_, what, ro)| (*what, *ro));
        assert_eq!(of("/sys"), Some((What::Kernel, true)));
        assert_eq!(of("/proc"), Some((What::Processes, false)));
        assert_eq!(of("/sys/fs/cgroup"), Some((What::Open, false)));
    }

    #[test]
    fn options_of_temporary_file_systems() {
        let none = Options::of("");
        assert_eq!(none.flags, MountFlags::NODEV | MountFlags::STRICTATIME);
        let some = Options::of("ro,size=1M,dev,noexec,nostrictatime,mode=0700");
        assert_eq!((some.flags, some.read_only), (MountFlags::NOEXEC, true));
        assert_eq!(some.of_system, ",size=1M,mode=0700");
    }
}
