//! The process connector as a source. What a process executes is looked at at once: it may be gone soon.

use crate::sys::connector::{Did, narrow, open, receive};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The connector.
#[derive(Debug)]
pub struct Connector {
    socket: OwnedFd,
}

impl Connector {
    /// Opens it.
    ///
    /// # Errors
    /// Why it can't be had here.
    pub fn open() -> io::Result<Connector> {
        // The kernel tells those of other pid namespaces nothing, and does not say so.
        super::in_first_namespace()?;
        Ok(Connector { socket: open()? })
    }

    /// From now on only executions, where they are wanted, and the ends of these processes are told. A kernel
    /// that can't leave out the others goes on to tell them.
    pub fn narrow(&self, executions: bool, ends_of: &[u32]) {
        let _ = narrow(self.socket.as_fd(), executions, ends_of);
    }

    /// What to wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What processes did since. `Err`: some of it was dropped.
    ///
    /// # Errors
    /// The kernel dropped some.
    pub fn read(&self, found: &mut Vec<Did>) -> io::Result<()> {
        receive(self.socket.as_fd(), found).map(|_| ())
    }
}
