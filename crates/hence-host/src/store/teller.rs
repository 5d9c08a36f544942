//! Brings entries about units to the machine's journal: the recorder's own, or to systemd-journald where that
//! serves its socket. In the journal of a ledger there are none: the ledger beside it says more. What a full
//! journald doesn't take is lost to it, and never waited for; the ledger has it.

use super::causes::{Causes, Notice};
use super::entries::Entries;
use crate::sys::datagram;
use hence_ledger::Record;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Who tells, and to whom.
#[derive(Debug)]
pub(crate) struct Teller {
    causes: Causes,
    /// The process that decides about units.
    owner: u32,
    native: Option<PathBuf>,
    socket: Option<OwnedFd>,
}

impl Teller {
    /// `owner`: the socket to the process that decides about units. `native`: another journal's socket.
    pub fn new(owner: BorrowedFd<'_>, native: Option<PathBuf>) -> Teller {
        let owner = datagram::peer(owner).map_or(0, |(pid, ..)| pid);
        let user = !rustix::process::geteuid().is_root();
        Teller { causes: Causes::new(user), owner, native, socket: None }
    }

    /// Gives back the memory that a burst needed.
    pub fn shrink(&mut self) {
        self.causes.shrink();
    }

    /// Tells what a record is to be told as.
    pub fn take(&mut self, record: &Record, entries: Option<&mut Entries>) {
        let entries = entries.filter(|entries| entries.is_of_machine());
        if entries.is_none() && self.native.is_none() {
            return;
        }
        let notices = self.causes.take(record);
        if notices.is_empty() {
            return;
        }
        let others = self.native.as_ref().filter(|path| !entries.as_ref().is_some_and(|e| e.serves(path)));
        if others.is_some() && notices.iter().all(|notice| self.send(notice)) {
            return;
        }
        if let Some(entries) = entries {
            notices.iter().for_each(|notice| entries.tell(self.owner, &notice.fields, notice.realtime_us));
        }
    }

    /// Sends an entry to the other journal, in the owner's name where the kernel allows that. `false`:
    /// nobody takes it.
    fn send(&mut self, notice: &Notice) -> bool {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred, sendmsg};
        let Some(path) = &self.native else { return false };
        let mut text = Vec::new();
        notice.fields.iter().for_each(|field| put(&mut text, field));
        text.extend_from_slice(b"SYSLOG_IDENTIFIER=systemd\nSYSLOG_FACILITY=3\n");
        text.extend_from_slice(format!("TID={}\n", self.owner).as_bytes());
        for attempt in 0..2 {
            if self.socket.is_none() {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
                let connected = socket.and_then(|socket| {
                    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
                    Ok(socket)
                });
                let Ok(connected) = connected else { return false };
                self.socket = Some(connected);
            }
            let Some(socket) = &self.socket else { return false };
            let part = [std::io::IoSlice::new(&text)];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let pid = i32::try_from(self.owner).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
                control.push(SendAncillaryMessage::ScmCredentials(UCred { pid, uid, gid }));
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let mut sent = sendmsg(socket, &part, &mut control, flags);
            if sent == Err(rustix::io::Errno::PERM) {
                sent = sendmsg(socket, &part, &mut SendAncillaryBuffer::default(), flags);
            }
            match sent {
                // It is there, and behind: its files have no second home.
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return true,
                // It was started anew, perhaps.
                Err(_) if attempt == 0 => self.socket = None,
                Err(_) => return false,
            }
        }
        false
    }
}

/// Adds a field as the native protocol has it: with its length where a line's end in it could be taken for
/// the end of the field.
fn put(text: &mut Vec<u8>, field: &str) {
    match field.split_once('=') {
        Some((name, value)) if value.contains('\n') => {
            text.extend_from_slice(name.as_bytes());
            text.push(b'\n');
            text.extend_from_slice(&(value.len() as u64).to_le_bytes());
            text.extend_from_slice(value.as_bytes());
        }
        _ => text.extend_from_slice(field.as_bytes()),
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_end_its_field() {
        let mut text = Vec::new();
        put(&mut text, "HENCE_CAUSE=one\nUNIT=forged.service");
        put(&mut text, "UNIT=true.service");
        let message = &crate::journal::native_fields(&text)[0];
        assert_eq!(message.len(), 2);
        assert_eq!(message[0], b"HENCE_CAUSE=one\nUNIT=forged.service");
        assert_eq!(message[1], b"UNIT=true.service");
    }
}
