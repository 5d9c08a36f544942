//! Waits until journals may have something new, by the kernel's word: nothing is polled.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Changes of files in some folders.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    /// Begins. Folders that aren't there are left out.
    pub fn new(folders: &[PathBuf]) -> io::Result<Watch> {
        let watch = Watch { inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? };
        watch.add(folders)?;
        Ok(watch)
    }

    /// Watches these too; those that are watched already stay so.
    pub fn add(&self, folders: &[PathBuf]) -> io::Result<()> {
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        for folder in folders {
            match inotify::add_watch(&self.inotify, folder, what) {
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Waits for a change, at most that long where a time is given; takes all that have come. `false`: the
    /// time is over.
    pub fn wait(&self, most_us: Option<u64>) -> io::Result<bool> {
        let timeout = most_us
            .map(|us| Timespec { tv_sec: (us / 1_000_000) as _, tv_nsec: (us % 1_000_000 * 1000) as _ });
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        self.take().map(|()| true)
    }

    /// Takes all changes that have come, without waiting.
    pub fn take(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match events.next() {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
