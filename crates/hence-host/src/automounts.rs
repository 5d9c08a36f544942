//! Automount points: systemd.automount(5). The kernel holds whoever comes by, and tells; when something is
//! mounted, and for how long, is the engine's.
//!
//! Who is in our process group is let through, or /bin/mount would wait for itself: it stays there, every
//! other process of ours leaves.

use crate::carry::{Names, Out, Taking};
use crate::sys::autofs::{self, PACKET_BYTES, Packet};
use crate::{mountinfo, process, wait::Token};
use hence_engine::carry::Unread;
use hence_engine::{Event, UnitId};
use hence_ledger::Text;
use hence_unit::{Config, Kind};
use rustix::{
    event::epoll,
    fs::{AtFlags, CWD, Mode, OFlags, StatxFlags},
    mount::{MountFlags, UnmountFlags, mount, unmount},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    collections::HashMap,
    ffi::CString,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::DirBuilderExt,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
};

/// Packets that one wake takes of one automount point.
const PACKETS: usize = 64;
/// Waits of one automount point that are kept; the kernel has one for everybody who waits for the same.
const TOKENS: usize = 1024;
/// What is mounted over one another at one place, at most, when it is taken away.
const LAYERS: usize = 64;

struct Point {
    at: String,
    /// What the kernel says.
    pipe: OwnedFd,
    /// The root of the autofs.
    root: Arc<OwnedFd>,
    /// Those who wait for something to be mounted, and what waits for it to be unmounted.
    tokens: [Vec<u32>; 2],
    /// The kernel is being asked for what nobody uses.
    expiring: Arc<AtomicBool>,
}

/// All automount points.
#[derive(Default)]
pub(crate) struct Automounts {
    points: HashMap<UnitId, Point>,
    /// /dev/autofs
    device: Option<Arc<OwnedFd>>,
    /// The kernel names processes as another pid namespace does.
    foreign: bool,
}

/// What an automount point has to tell.
pub(crate) enum Told {
    /// A process came by: pid, user.
    Wanted(u32, u32),
    /// Nobody uses what is mounted there.
    Idle,
}

type Failure = (i32, Text);

fn failure(error: &io::Error, subject: &str) -> Failure {
    (error.raw_os_error().unwrap_or(libc::EIO), subject.into())
}

/// The process of this name of an autofs: `systemd-PID`, as everybody who looks at mounts knows it.
fn owner_of(what: &str) -> Option<u32> {
    what.strip_prefix("systemd-")?.parse().ok()
}

impl Automounts {
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    fn device(&mut self) -> io::Result<Arc<OwnedFd>> {
        if let Some(device) = &self.device {
            return Ok(Arc::clone(device));
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let device = Arc::new(rustix::fs::open("/dev/autofs", flags, Mode::empty())?);
        Ok(Arc::clone(self.device.insert(device)))
    }

    /// Sets an automount point up.
    ///
    /// # Errors
    /// errno and what it was about; EEXIST: something is mounted there; EOPNOTSUPP: the kernel knows none.
    pub fn open(&mut self, epoll: &OwnedFd, unit: UnitId, config: &Config) -> Result<(), Failure> {
        if self.points.contains_key(&unit) {
            return Ok(());
        }
        let Kind::Automount(settings) = &config.kind else {
            return Err((libc::EINVAL, config.id().text().clone()));
        };
        let at = &*settings.at;
        remove_left_over(at);
        if mountinfo::read().iter().any(|mounted| mounted.at == at) {
            return Err((libc::EEXIST, at.into()));
        }
        let device = self.device().map_err(|e| match e.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => (libc::EOPNOTSUPP, "/dev/autofs".into()),
            _ => failure(&e, "/dev/autofs"),
        })?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(settings.directory_mode)
            .create(at)
            .map_err(|e| failure(&e, at))?;
        self.foreign = !autofs::settle_group();
        let (pipe, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK | PipeFlags::DIRECT)
            .or_else(|_| pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK))
            .map_err(|e| failure(&e.into(), "pipe"))?;
        mount_at(at, &settings.extra_options, &theirs).map_err(|e| failure(&e, at))?;
        let point = self.opened(at, pipe, &device, settings.timeout_idle).and_then(|point| {
            let data = epoll::EventData::new_u64(Token::Automount(unit).bits());
            epoll::add(epoll, &point.pipe, data, epoll::EventFlags::IN)?;
            Ok(point)
        });
        match point {
            Ok(point) => {
                self.points.insert(unit, point);
                Ok(())
            }
            Err(error) => {
                let _ = unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
                Err(failure(&error, at))
            }
        }
    }

    fn opened(&self, at: &str, pipe: OwnedFd, device: &OwnedFd, timeout_us: u64) -> io::Result<Point> {
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statx(CWD, at, flags, StatxFlags::BASIC_STATS)?;
        // As the kernel has device numbers inside.
        let number = stat.stx_dev_minor & 0xff | stat.stx_dev_major << 8 | (stat.stx_dev_minor & !0xff) << 12;
        let root = autofs::open_mount(device.as_fd(), at, number)?;
        autofs::set_timeout(device.as_fd(), root.as_fd(), timeout_us.div_ceil(1_000_000))?;
        let (root, expiring) = (Arc::new(root), Arc::default());
        Ok(Point { at: at.to_owned(), pipe, root, tokens: [Vec::new(), Vec::new()], expiring })
    }

    /// What the kernel says of an automount point.
    pub fn read(&mut self, unit: UnitId) -> (Text, Vec<Told>) {
        let mut told = Vec::new();
        let Some(point) = self.points.get_mut(&unit) else { return (Text::from(""), told) };
        let mut bytes = [0; PACKET_BYTES];
        for _ in 0..PACKETS {
            match rustix::io::read(&point.pipe, &mut bytes[..]) {
                Ok(PACKET_BYTES) => {}
                _ => break,
            }
            let (which, token, what) = match Packet::of(&bytes) {
                Some(Packet::Missing { token, pid, uid }) => (0, token, Told::Wanted(pid, uid)),
                Some(Packet::Expire { token }) => (1, token, Told::Idle),
                None => continue,
            };
            if point.tokens[which].len() < TOKENS && !point.tokens[which].contains(&token) {
                point.tokens[which].push(token);
                told.push(what);
            }
        }
        (point.at.as_str().into(), told)
    }

    /// Lets those go on who wait.
    pub fn answer(&mut self, unit: UnitId, expired: bool, errno: i32) {
        let Some(point) = self.points.get_mut(&unit) else { return };
        let tokens = std::mem::take(&mut point.tokens[usize::from(expired)]);
        let Some(device) = &self.device else { return };
        for token in tokens {
            // Who was killed meanwhile waits no more.
            let _ = autofs::answer(device.as_fd(), point.root.as_fd(), token, errno);
        }
    }

    /// Asks the kernel for what nobody uses. It answers by the pipe, and waits for that to be unmounted; so
    /// that is waited for aside.
    pub fn expire(&mut self, unit: UnitId) {
        let Ok(device) = self.device() else { return };
        let Some(point) = self.points.get(&unit) else { return };
        if point.expiring.swap(true, Ordering::SeqCst) {
            return;
        }
        let (root, expiring) = (Arc::clone(&point.root), Arc::clone(&point.expiring));
        let asks = move || {
            while autofs::expire(device.as_fd(), root.as_fd()) {}
            expiring.store(false, Ordering::SeqCst);
        };
        if std::thread::Builder::new().stack_size(64 * 1024).spawn(asks).is_err() {
            point.expiring.store(false, Ordering::SeqCst);
        }
    }

    /// Takes an automount point away, with what is mounted over it.
    pub fn close(&mut self, epoll: &OwnedFd, unit: UnitId) {
        let Some(point) = self.points.remove(&unit) else { return };
        let _ = epoll::delete(epoll, &point.pipe);
        drop(point.pipe);
        for _ in 0..LAYERS {
            if unmount(point.at.as_str(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_err() {
                break;
            }
        }
    }

    pub fn carry<'h>(&'h self, out: &mut Out<'h>, names: Names<'_>) {
        for (unit, point) in &self.points {
            let Some(name) = names(*unit) else { continue };
            out.text.section("automount", &name);
            out.text.field("at", &point.at);
            let (pipe, root) = (out.keep(&point.pipe), out.keep(&*point.root));
            out.text.field("descriptors", &(pipe, root));
            for (which, tokens) in point.tokens.iter().enumerate() {
                out.text.field("tokens", &(which as u8, tokens.clone()));
            }
        }
    }

    pub fn take_up(&mut self, taking: &mut Taking<'_, '_>, epoll: &OwnedFd) {
        let carried = taking.carried;
        for from in carried.of("automount") {
            let mut take = || {
                let missing = |what: &str| Unread(what.into());
                let (unit, _) = (taking.find)(&from.name).ok_or_else(|| missing("unit"))?;
                let (pipe, root) = from.need::<(i32, i32)>("descriptors")?;
                let pipe = taking.inherited.take(pipe).ok_or_else(|| missing("descriptor"))?;
                let root = taking.inherited.take(root).ok_or_else(|| missing("descriptor"))?;
                let mut tokens = [Vec::new(), Vec::new()];
                for (which, of_kind) in from.all::<(u8, Vec<u32>)>("tokens")? {
                    if let Some(place) = tokens.get_mut(usize::from(which)) {
                        *place = of_kind;
                    }
                }
                self.device().map_err(|_| missing("/dev/autofs"))?;
                self.foreign = !autofs::settle_group();
                let data = epoll::EventData::new_u64(Token::Automount(unit).bits());
                epoll::add(epoll, &pipe, data, epoll::EventFlags::IN).map_err(|_| missing("epoll"))?;
                let (at, root) = (from.need("at")?, Arc::new(root));
                self.points.insert(unit, Point { at, pipe, root, tokens, expiring: Arc::default() });
                Ok(())
            };
            let taken = take();
            taking.note(&format!("automount {}", from.name), taken);
        }
    }
}

fn mount_at(at: &str, extra: &str, pipe: &OwnedFd) -> io::Result<()> {
    let comma = if extra.is_empty() { "" } else { "," };
    let fd = std::os::fd::AsRawFd::as_raw_fd(pipe);
    let options = CString::new(format!("fd={fd},minproto=5,maxproto=5,direct{comma}{extra}"))?;
    let name = format!("systemd-{}", std::process::id());
    Ok(mount(name.as_str(), at, "autofs", MountFlags::empty(), options.as_c_str())?)
}

/// Takes away what was left by one that was killed: nobody answers there any more.
fn remove_left_over(at: &str) {
    let all = mountinfo::read();
    let Some(top) = all.iter().rev().find(|mounted| mounted.at == at) else { return };
    let owner = owner_of(&top.what).filter(|_| top.is_automount());
    if owner.is_some_and(|pid| pid == std::process::id() || process::stat(pid).is_none()) {
        let _ = unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

impl crate::Host {
    /// An automount point has something to tell.
    pub(crate) fn automount_tells(&mut self, unit: UnitId, events: &mut std::collections::VecDeque<Event>) {
        let (path, told) = self.automounts.read(unit);
        for told in told {
            events.push_back(match told {
                Told::Idle => Event::AutomountIdle(unit),
                Told::Wanted(_, uid) if self.automounts.foreign => {
                    let who = format!("a process of user {uid}, from another pid namespace").into();
                    Event::AutomountWanted { unit, path: path.clone(), who }
                }
                Told::Wanted(pid, uid) => {
                    let command = crate::client::CommandLine::of(pid).shown();
                    let place = self.unit_of(pid).and_then(|id| self.row(id));
                    let place = place.map(|row| format!(" in {}", row.config.id())).unwrap_or_default();
                    let command = if command.is_empty() { String::new() } else { format!(" ({command})") };
                    let who = format!("process {pid} of user {uid}{command}{place}").into();
                    Event::AutomountWanted { unit, path: path.clone(), who }
                }
            });
        }
    }
}
