//! A program that is run and waited for with a limit of time: generators, ours before it is executed anew.
//! Services are started elsewhere.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::time::Instant;

/// Such a program, in a process group of its own.
pub struct Limited {
    child: Child,
    fd: OwnedFd,
}

impl Limited {
    /// Starts it.
    ///
    /// # Errors
    /// As [`Command::spawn`]'s, or no descriptor tells of its end.
    pub fn start(command: &mut Command) -> io::Result<Limited> {
        let mut child = command.process_group(0).spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(fd) => Ok(Limited { child, fd }),
            Err(e) => {
                // Without a descriptor its end can't be waited for with a limit.
                let _ = child.kill();
                let _ = child.wait();
                Err(e.into())
            }
        }
    }

    /// What it prints, once, if that is a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// It can't be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it with its process group.
    pub fn kill(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }

    /// Waits until then, and kills it if it hasn't ended by itself, which is `None`.
    ///
    /// # Errors
    /// It can't be waited for.
    pub fn end_before(mut self, until: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= until {
                self.kill();
                return Ok(None);
            }
            let _ = readable(&mut [PollFd::new(&self.fd, PollFlags::IN)], until);
        }
    }
}

impl AsFd for Limited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Waits for one of the descriptors until then. An interruption ends the wait like any other.
///
/// # Errors
/// As poll(2)'s.
pub fn readable(fds: &mut [PollFd<'_>], until: Instant) -> rustix::io::Result<usize> {
    let left = until.saturating_duration_since(Instant::now());
    poll(fds, Timespec::try_from(left).ok().as_ref())
}
