//! A socket of hence's in which a number and a file are kept for several processes: each takes them and puts
//! them back, one at a time. The file stays open as long as it lies there.

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

/// Both ends of one.
#[derive(Debug)]
pub(crate) struct Keep(pub [OwnedFd; 2]);

impl Keep {
    /// An empty one.
    pub fn new() -> io::Result<Keep> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
        let (one, other) = socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
        Ok(Keep([one, other]))
    }

    /// The numbers of its ends.
    pub fn numbers(&self) -> [RawFd; 2] {
        [self.0[0].as_raw_fd(), self.0[1].as_raw_fd()]
    }

    /// Does something that no other process does with this one meanwhile. A process that ends lets go of it.
    pub fn alone<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        fcntl_lock(&self.0[0], FlockOperation::LockExclusive)?;
        let done = act();
        let _ = fcntl_lock(&self.0[0], FlockOperation::Unlock);
        done
    }

    /// Takes what lies there.
    pub fn take(&self) -> io::Result<Option<(u32, Option<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut number = [0u8; 4];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match recvmsg(&self.0[0], &mut [IoSliceMut::new(&mut number)], &mut control, flags) {
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            result => result?,
        };
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let file = files.flatten().next();
        Ok(Some((u32::from_le_bytes(number), file)))
    }

    /// Puts this there.
    pub fn put(&self, number: u32, file: Option<&OwnedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = file.map(|file| [file.as_fd()]);
        if let Some(files) = &files {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        sendmsg(&self.0[1], &[IoSlice::new(&number.to_le_bytes())], &mut control, flags)?;
        Ok(())
    }

    /// The number that lies there, which stays there.
    pub fn look(&self) -> Option<u32> {
        let (number, file) = self.take().ok()??;
        let _ = self.put(number, file.as_ref());
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_until_it_is_taken() {
        let keep = Keep::new().unwrap();
        assert_eq!(keep.look(), None);
        let null: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        keep.put(61200, Some(&null)).unwrap();
        assert_eq!((keep.look(), keep.look()), (Some(61200), Some(61200)));
        assert!(keep.alone(|| keep.take()).unwrap().is_some_and(|(n, file)| n == 61200 && file.is_some()));
        assert!(keep.take().unwrap().is_none());
    }
}
