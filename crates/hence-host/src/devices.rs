//! Whether nodes of devices are there: in /dev by inotify and the kernel's and udev's events, in /sys by
//! these events alone, which come as often as something changes and are never asked for. What they say is not
//! believed: each only makes us look. Which devices matter is the engine's.

use hence_engine::{Event, UnitId};
use rustix::{
    fs::{FileType, inotify},
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType,
        netlink::{KOBJECT_UEVENT, SocketAddrNetlink},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Messages that one wake takes in before it looks.
const BATCH: usize = 256;
/// Events of the kernel, and those that udev sends on when it is done with them.
const GROUPS: u32 = 1 | 2;

struct Watched {
    path: Box<str>,
    told: Option<bool>,
}

/// The nodes that matter.
pub(crate) struct Devices {
    watched: BTreeMap<UnitId, Watched>,
    /// Folders in which one of them, or a folder above it, may come or go.
    folders: BTreeSet<i32>,
    inotify: OwnedFd,
    /// Where the kernel lets us hear them.
    uevents: Option<OwnedFd>,
    /// Whether a device may come at all: in a container that may only look, none does.
    hears: bool,
}

impl Devices {
    /// Begins to listen.
    ///
    /// # Errors
    /// errno of inotify_init1(2).
    pub fn new() -> io::Result<Devices> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let read_only = rustix::fs::statvfs("/sys")
            .is_ok_and(|s| s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        Ok(Devices {
            watched: BTreeMap::new(),
            folders: BTreeSet::new(),
            inotify: inotify::init(flags)?,
            uevents: listen().ok(),
            hears: !read_only,
        })
    }

    /// What is to be waited for.
    pub fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.inotify].into_iter().chain(&self.uevents)
    }

    /// The node matters from now on. Whether it is there; `None`: it isn't, and nobody would tell.
    pub fn watch(&mut self, unit: UnitId, path: &str) -> Option<bool> {
        if path.starts_with("/dev/") {
            self.folders.extend(watch_folder(&self.inotify, path));
        }
        let told = self.look(path);
        self.watched.insert(unit, Watched { path: path.into(), told });
        told
    }

    /// The node matters no longer.
    pub fn forget(&mut self, unit: UnitId) {
        if self.watched.remove(&unit).is_some() {
            self.watch_folders();
        }
    }

    fn look(&self, path: &str) -> Option<bool> {
        match is_there(path) {
            true => Some(true),
            false => self.hears.then_some(false),
        }
    }

    /// Something happened: what has changed is told.
    pub fn changed(&mut self, events: &mut std::collections::VecDeque<Event>) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut moved = false;
        for _ in 0..BATCH {
            match reader.next() {
                Ok(_) => moved = true,
                Err(_) => break,
            }
        }
        let mut message = [0u8; 64];
        for _ in 0..BATCH {
            let Some(socket) = &self.uevents else { break };
            // Messages were lost where there is no room: looking finds what they would have said.
            match rustix::net::recv(socket, &mut message[..], RecvFlags::DONTWAIT) {
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => {}
                Err(_) => break,
            }
        }
        if moved {
            self.watch_folders();
        }
        let news: Vec<(UnitId, Option<bool>)> = self
            .watched
            .iter()
            .map(|(unit, watched)| (*unit, self.look(&watched.path)))
            .filter(|(unit, now)| self.watched[unit].told != *now)
            .collect();
        for (unit, there) in news {
            if let Some(watched) = self.watched.get_mut(&unit) {
                watched.told = there;
            }
            events.push_back(Event::Device { unit, there });
        }
    }

    /// Watches the folders that matter now, and no others.
    fn watch_folders(&mut self) {
        let paths = self.watched.values().map(|w| &*w.path).filter(|p| p.starts_with("/dev/"));
        let now: BTreeSet<i32> = paths.filter_map(|path| watch_folder(&self.inotify, path)).collect();
        for old in self.folders.difference(&now) {
            // One that is gone has no watch any more.
            let _ = inotify::remove_watch(&self.inotify, *old);
        }
        self.folders = now;
    }
}

/// Watches the folder in which the next part of this path will come, or the last part will go.
fn watch_folder(inotify: &OwnedFd, path: &str) -> Option<i32> {
    use inotify::WatchFlags as F;
    let flags = F::CREATE | F::MOVED_TO | F::DELETE | F::MOVED_FROM | F::DELETE_SELF | F::ONLYDIR;
    let nearest = || -> PathBuf {
        let above = Path::new(path).ancestors().skip(1);
        above.filter(|folder| folder.is_dir()).map(Path::to_path_buf).next().unwrap_or_else(|| "/".into())
    };
    // It may be made between the look and the watch.
    for _ in 0..8 {
        let folder = nearest();
        let watch = inotify::add_watch(inotify, &folder, flags).ok();
        if nearest() == folder {
            return watch;
        }
    }
    None
}

fn listen() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(KOBJECT_UEVENT))?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    // When udev sorts all devices at boot there are many; refused without privilege.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 1 << 20);
    Ok(socket)
}

/// Whether there is a device there that may be used.
fn is_there(path: &str) -> bool {
    if let Some(rest) = path.strip_prefix("/sys/subsystem/") {
        // A name that udev's rules give to devices of a class; there is no such path.
        let parts: Vec<&str> = rest.split('/').collect();
        if let [subsystem, "devices", name] = parts[..] {
            let of = |kind: &str| fs::exists(format!("/sys/{kind}/{subsystem}/{name}")).unwrap_or(false);
            return of("class") || of("bus") || fs::exists(path).unwrap_or(false);
        }
    }
    if path.starts_with("/sys/") {
        return fs::exists(path).unwrap_or(false);
    }
    let Ok(node) = fs::metadata(path) else { return false };
    let kind = match FileType::from_raw_mode(node.mode()) {
        FileType::BlockDevice => 'b',
        FileType::CharacterDevice => 'c',
        _ => return false,
    };
    !is_held_back(kind, node.rdev())
}

/// Whether udev says that it isn't to be used so far: SYSTEMD_READY=0, systemd.device(5).
fn is_held_back(kind: char, number: u64) -> bool {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let known = fs::read_to_string(format!("/run/udev/data/{kind}{major}:{minor}")).unwrap_or_default();
    let word = known.lines().find_map(|line| line.strip_prefix("E:SYSTEMD_READY="));
    word.is_some_and(|word| hence_unit::value::boolean(word) == Some(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn nodes_are_looked_at() {
        assert!(is_there("/dev/null") && !is_there("/dev/nonsense") && !is_there("/dev"));
        assert!(is_there("/sys/subsystem/net/devices/lo") && !is_there("/sys/subsystem/net/devices/no"));
        assert!(is_there("/sys/kernel") && !is_there("/sys/nonsense"));
    }

    #[test]
    fn links_to_devices_come_and_go_without_polling() {
        let folder = format!("/dev/shm/hence-devices-{}", std::process::id());
        if fs::create_dir_all("/dev/shm").is_err() || fs::create_dir(&folder).is_err() {
            println!("skipped: /dev/shm can't be written");
            return;
        }
        let path = format!("{folder}/deep/deeper/node");
        let mut devices = Devices::new().unwrap();
        let unit = UnitId(7);
        devices.hears = true;
        assert_eq!(devices.watch(unit, &path), Some(false));
        let ready = |devices: &Devices| {
            let mut fds = [rustix::event::PollFd::new(&devices.inotify, rustix::event::PollFlags::IN)];
            let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
            rustix::event::poll(&mut fds, Some(&limit)).unwrap() > 0
        };
        let told = |devices: &mut Devices| {
            let mut events = VecDeque::new();
            devices.changed(&mut events);
            events.into_iter().find_map(|event| match event {
                Event::Device { there, .. } => there,
                _ => None,
            })
        };
        fs::create_dir(format!("{folder}/deep")).unwrap();
        assert!(ready(&devices));
        assert_eq!(told(&mut devices), None);
        fs::create_dir(format!("{folder}/deep/deeper")).unwrap();
        assert!(ready(&devices));
        assert_eq!(told(&mut devices), None);
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(ready(&devices));
        assert_eq!(told(&mut devices), Some(true));
        fs::remove_file(&path).unwrap();
        assert!(ready(&devices));
        assert_eq!(told(&mut devices), Some(false));
        devices.forget(unit);
        assert!(devices.folders.is_empty());
        fs::remove_dir_all(&folder).unwrap();
    }
}
