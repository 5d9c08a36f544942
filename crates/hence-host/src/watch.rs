//! Sources of what another manager and its processes do, for `hence watch`: each by itself, each optional,
//! each told by events; nothing is polled, and nothing that is watched is changed.

pub mod connector;
pub mod groups;
pub mod lines;
pub mod people;
pub mod trace;

use rustix::event::epoll;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The number that it was registered with.
    pub token: u64,
    /// It can be read, or its other end is gone.
    pub readable: bool,
    /// It can be written.
    pub writable: bool,
}

/// Waits for many descriptors at once.
pub struct Turns {
    epoll: OwnedFd,
    /// Those alone that are looked at without delay, also where there is much to do.
    urgent: OwnedFd,
    events: Vec<epoll::Event>,
    /// Turns since a moment, to tell whether there is much to do.
    counted: u32,
    since: Instant,
    busy: bool,
}

/// Turns in so much time that are much.
const MANY: u32 = 30;
const MANY_IN: Duration = Duration::from_millis(100);
/// How long what is not urgent is gathered then. What belongs together may be further apart than this:
/// sources are compared with more patience.
const GATHER: Duration = Duration::from_millis(20);
/// Turns in the same time that are still much where things are gathered.
const STILL_MANY: u32 = 5;

/// The kernel has processes by their numbers in the first pid namespace, where it tells of all of them.
fn in_first_namespace() -> io::Result<()> {
    // It has the same number on every kernel.
    const FIRST: &str = "pid:[4026531836]";
    if std::fs::read_link("/proc/self/ns/pid").is_ok_and(|link| link.to_str() == Some(FIRST)) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel tells only the first pid namespace"))
}

impl Turns {
    /// Nothing is waited for yet.
    ///
    /// # Errors
    /// What epoll_create(2) says.
    pub fn new() -> io::Result<Turns> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let urgent = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (events, since) = (Vec::with_capacity(64), Instant::now());
        Ok(Turns { epoll, urgent, events, counted: 0, since, busy: false })
    }

    /// Waits for this one too: always for reading, for writing where that is wanted.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn add(&self, fd: impl AsFd, token: u64, write: bool) -> io::Result<()> {
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, write);
        let data = epoll::EventData::new_u64(token);
        match epoll::add(&self.epoll, fd.as_fd(), data, flags) {
            Err(Errno::EXIST) => Ok(epoll::modify(&self.epoll, fd.as_fd(), data, flags)?),
            other => Ok(other?),
        }
    }

    /// What another one can wait for in place of all of these.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Waits for this one for reading, and looks at it at once also where there is much to do.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn add_urgent(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        self.add(&fd, token, false)?;
        Ok(epoll::add(&self.urgent, fd.as_fd(), epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
    }

    /// Waits no longer for this one.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd.as_fd());
    }

    /// Waits, at most that long where a time is given. Where there is much to do, what comes within a few
    /// milliseconds is taken together: to be woken costs more than what there is to be done then.
    ///
    /// # Errors
    /// What epoll_wait(2) says.
    pub fn wait(&mut self, most: Option<Duration>) -> io::Result<Vec<Turn>> {
        if self.since.elapsed() >= MANY_IN {
            self.busy = self.counted >= if self.busy { STILL_MANY } else { MANY };
            (self.counted, self.since) = (0, Instant::now());
        }
        let mut most = most;
        if self.busy && most != Some(Duration::ZERO) {
            let urgent = [rustix::event::PollFd::new(&self.urgent, rustix::event::PollFlags::IN)];
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: GATHER.subsec_nanos() as _ };
            let _ = rustix::event::poll(&mut { urgent }, Some(&timeout));
            most = most.map(|most| most.saturating_sub(GATHER));
        }
        self.counted += 1;
        let timeout = most
            .map(|d| rustix::event::Timespec { tv_sec: d.as_secs() as _, tv_nsec: d.subsec_nanos() as _ });
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let turn = |event: &epoll::Event| {
            let flags = event.flags;
            Turn {
                token: event.data.u64(),
                readable: flags
                    .intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR),
                writable: flags.contains(epoll::EventFlags::OUT),
            }
        };
        Ok(self.events.iter().map(turn).collect())
    }
}

/// The machine that is watched: this one, or a container of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where its files are.
    pub root: PathBuf,
    /// Where its manager's control groups are; `None`: they can't be read.
    pub groups: Option<PathBuf>,
    /// How many pid namespaces lie between ours and its.
    pub depth: usize,
    /// Its pid namespace, where that is not ours.
    space: Option<PathBuf>,
}

impl Place {
    /// This machine.
    pub fn here() -> Place {
        Place { root: PathBuf::from("/"), groups: hierarchy(), depth: 0, space: None }
    }

    /// The machine whose process 1 is our process `leader`.
    ///
    /// # Errors
    /// There is no such process, or it is not process 1 of anything.
    pub fn of(leader: u32) -> io::Result<Place> {
        let status = std::fs::read_to_string(format!("/proc/{leader}/status"))?;
        let pids = namespaced(&status);
        if pids.last() != Some(&1) {
            let text = format!("process {leader} is not process 1 of a machine or container");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let groups = std::fs::read_to_string(format!("/proc/{leader}/cgroup"))?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let above = own.strip_suffix("/init.scope").unwrap_or(own).trim_start_matches('/');
        Ok(Place {
            root: PathBuf::from(format!("/proc/{leader}/root")),
            groups: hierarchy().map(|root| root.join(above)),
            depth: pids.len() - 1,
            space: (pids.len() > 1).then(|| space_of(leader)).flatten(),
        })
    }

    /// A path of that machine as we reach it.
    pub fn path(&self, path: &str) -> PathBuf {
        if self.depth == 0 { PathBuf::from(path) } else { self.root.join(path.trim_start_matches('/')) }
    }

    /// Connects to a socket of that machine. A manager takes nobody whose process it can't see: into
    /// another pid namespace the connection is made by a process of ours there, which hands on what is said.
    ///
    /// # Errors
    /// Nobody listens there, or we may not.
    pub fn connect(&self, path: &str) -> io::Result<UnixStream> {
        let path = self.path(path);
        if self.depth == 0 {
            return UnixStream::connect(path);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let own = File::open("/proc/self/ns/pid")?;
        let their_own = File::open(self.root.with_file_name("ns/pid"))?;
        let kind = Some(rustix::thread::LinkNameSpaceType::ProcessID);
        rustix::thread::move_into_link_name_space(their_own.as_fd(), kind)?;
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
        let mut command = Command::new(program);
        command.arg("relay").arg(path).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let spawned = command.spawn();
        rustix::thread::move_into_link_name_space(own.as_fd(), kind)?;
        spawned.map(|_| ours)
    }

    /// What that machine calls a process that we call so; `None`: it isn't there, or not in that machine.
    pub fn pid_there(&self, pid: u32) -> Option<u32> {
        if self.depth == 0 {
            return Some(pid);
        }
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let there = namespaced(&status).get(self.depth).copied()?;
        // Containers beside it have processes as deep as its own. What is not to be read of one has ended.
        let same = space_of(pid).is_none_or(|space| self.space.as_ref() == Some(&space));
        same.then_some(there)
    }

    /// What we call a process that the machine calls so.
    pub fn pid_here(&self, there: u32) -> Option<u32> {
        if self.depth == 0 {
            return Some(there);
        }
        crate::process::processes().into_iter().find(|pid| self.pid_there(*pid) == Some(there))
    }

    /// The folder of a unit's control group.
    pub fn group(&self, cgroup: &str) -> Option<PathBuf> {
        Some(self.groups.as_ref()?.join(cgroup.trim_start_matches('/')))
    }
}

/// The process that hands on what is said between its standard input, a socket, and the socket at `path`.
pub fn relay(path: &Path) -> io::Result<()> {
    use std::net::Shutdown;
    let near = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let far = UnixStream::connect(path)?;
    let (mut from_far, mut to_near) = (far.try_clone()?, near.try_clone()?);
    let back = std::thread::spawn(move || {
        let _ = io::copy(&mut from_far, &mut to_near);
        let _ = to_near.shutdown(Shutdown::Both);
    });
    let (mut from_near, mut to_far) = (near, far);
    let _ = io::copy(&mut from_near, &mut to_far);
    let _ = to_far.shutdown(Shutdown::Both);
    let _ = back.join();
    Ok(())
}

/// Opens a process, so that its end can be waited for; `None`: it is gone, or another one has its pid.
pub fn open_process(pid: u32, start_ticks: u64) -> Option<OwnedFd> {
    let pid_of = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    let fd = rustix::process::pidfd_open(pid_of, rustix::process::PidfdFlags::empty()).ok()?;
    crate::process::is_alive(pid, start_ticks).then_some(fd)
}

fn hierarchy() -> Option<PathBuf> {
    let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    unified.iter().map(Path::new).find(|root| root.join("cgroup.procs").exists()).map(Path::to_owned)
}

fn space_of(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// What a process is called in each namespace, the outermost first.
fn namespaced(status: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or("");
    line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_have_a_name_in_each_namespace() {
        assert_eq!(namespaced("Name:\tx\nNSpid:\t4711\t12\t1\nNSpgid:\t1\n"), [4711, 12, 1]);
        assert_eq!(namespaced("Name:\tx\n"), [0u32; 0]);
        let own = std::process::id();
        assert_eq!(Place::here().pid_there(own), Some(own));
        assert!(Place::of(own).is_err());
    }
}
