//! Waits for somebody else's socket to come: by inotify on the nearest folder above it, so that nothing is
//! polled. It connects to nothing.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::io;
use std::iter::repeat;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How long to wait before each further try where the socket is there and nobody accepts: it may have been
/// made an instant ago. After the last one only a new event leads to another.
const TRIES_US: [u64; 5] = [20_000, 100_000, 500_000, 2_000_000, 10_000_000];

/// How long what others say may take.
const LATE_US: u64 = 3_000_000;

/// The wait for a socket.
#[derive(Debug)]
pub struct Arrival {
    path: PathBuf,
    watch: Option<OwnedFd>,
    try_at_us: Option<u64>,
    tries: usize,
}

impl Arrival {
    /// It is tried at once.
    pub fn new(path: PathBuf) -> Arrival {
        Arrival { path, watch: None, try_at_us: Some(0), tries: 0 }
    }

    /// Where it is to be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When to try next, in microseconds of the monotonic clock.
    pub fn deadline_us(&self) -> Option<u64> {
        self.try_at_us
    }

    /// Whether it is time to try. What happens in its folder from now on leads to another try: `wait_for` is
    /// told what is to be read then. That it is closed later ends the wait for it (epoll(7)).
    pub fn is_due(&mut self, now_us: u64, wait_for: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> bool {
        if self.try_at_us.is_none_or(|at| at > now_us) {
            return false;
        }
        (self.try_at_us, self.watch) = (None, None);
        let watched = self.open().and_then(|watch| wait_for(watch.as_fd()).map(|()| watch));
        match watched {
            Ok(watch) => self.watch = Some(watch),
            Err(_) => self.try_at_us = Some(now_us + TRIES_US[TRIES_US.len() - 1]),
        }
        true
    }

    fn open(&self) -> io::Result<OwnedFd> {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        // A server opens its socket to all once it listens.
        let nearest = events | WatchFlags::ATTRIB;
        let mut folders = self.path.ancestors().skip(1).zip([nearest].into_iter().chain(repeat(events)));
        if !folders.any(|(folder, events)| inotify::add_watch(&watch, folder, events).is_ok()) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(watch)
    }

    /// Something happened in its folder, where one nearer to it may have come, or elsewhere that may mean
    /// that it is there.
    pub fn may_be_there(&mut self) {
        if let Some(watch) = &self.watch {
            let mut buffer = [0; 4096];
            // What exactly happened doesn't matter: it is looked anew.
            while rustix::io::read(watch, &mut buffer).is_ok_and(|n| n > 0) {}
        }
        (self.try_at_us, self.tries) = (Some(0), 0);
    }

    /// A try came to nothing.
    pub fn failed(&mut self, error: io::ErrorKind, now_us: u64) {
        // Where it isn't there its folder is watched.
        if error != io::ErrorKind::NotFound {
            self.again(now_us);
        }
    }

    /// What was there is gone: it may be there again at once.
    pub fn again(&mut self, now_us: u64) {
        let next = TRIES_US.get(self.tries).map(|after| now_us + after);
        self.try_at_us = match (self.try_at_us, next) {
            (Some(known), Some(next)) => Some(known.min(next)),
            (known, next) => known.or(next),
        };
        self.tries += 1;
    }

    /// The same, where somebody else will say when it is there, or that it is not: only what nobody says is
    /// tried.
    pub fn again_late(&mut self, now_us: u64) {
        self.tries = TRIES_US.len();
        self.try_at_us = Some(now_us + LATE_US);
    }

    /// It is there, and somebody answers.
    pub fn arrived(&mut self) {
        self.watch = None;
        (self.try_at_us, self.tries) = (None, 0);
    }
}
