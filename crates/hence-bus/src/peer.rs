//! One client of ours: authentication, then messages, with a cap on what waits in either direction.
//! It does not know what the messages mean.

use crate::auth::{Auth, AuthError};
use crate::stream::{Inbox, Outbox};
use crate::wire::{MESSAGE_MAX, Message, WireError};
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A client with more unread bytes than this is closed. A list of 20,000 units takes about 8 MiB.
pub const OUTGOING_MAX: usize = 16 * 1024 * 1024;

/// With more unread bytes than this no further requests are taken from a client until it reads.
pub const OUTGOING_HIGH: usize = 256 * 1024;

/// Most bytes to pass to one [`Peer::receive`].
pub const READ_MAX: usize = 64 * 1024;

/// Most file descriptors that travel with one message: standard streams, and some to spare.
pub const DESCRIPTORS_MAX: usize = 8;

/// A file descriptor that a client sent.
#[derive(Clone, Debug)]
pub struct Descriptor(pub Arc<OwnedFd>);

impl PartialEq for Descriptor {
    fn eq(&self, other: &Descriptor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Who is at the other end, as the kernel says (SO_PEERCRED).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
}

/// Why a connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fatal {
    /// Authentication failed.
    Auth(AuthError),
    /// It sent something that is not D-Bus, or is too long.
    Wire(WireError),
    /// It sent more than was asked for.
    Flood,
    /// It does not read.
    Unread,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::Auth(error) => error.fmt(f),
            Fatal::Wire(error) => error.fmt(f),
            Fatal::Flood => f.write_str("more bytes than it was ready for"),
            Fatal::Unread => write!(f, "more than {OUTGOING_MAX} bytes unread"),
        }
    }
}

impl std::error::Error for Fatal {}

/// A connection.
#[derive(Debug)]
pub struct Peer {
    caller: Caller,
    auth: Option<Auth>,
    inbox: Inbox,
    outbox: Outbox,
    /// Sent, and not yet taken with their message.
    descriptors: VecDeque<Descriptor>,
    fatal: Option<Fatal>,
}

impl Peer {
    /// A connection that begins. Root and `owner`, the uid that we run as, are admitted. `guid` names the
    /// server.
    pub fn new(caller: Caller, owner: u32, guid: [u8; 16]) -> Peer {
        let admitted = caller.uid == 0 || caller.uid == owner;
        Peer {
            caller,
            auth: Some(Auth::new(caller.uid, admitted, guid)),
            inbox: Inbox::new(MESSAGE_MAX),
            outbox: Outbox::default(),
            descriptors: VecDeque::new(),
            fatal: None,
        }
    }

    /// Who it is.
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// Why it has to be closed, once it has to.
    pub fn fatal(&self) -> Option<Fatal> {
        self.fatal
    }

    /// Whether authentication is over.
    pub fn is_open(&self) -> bool {
        self.auth.is_none() && self.fatal.is_none()
    }

    /// Whether to read from it: not while its replies pile up, and not once it is to be closed.
    pub fn wants_input(&self) -> bool {
        self.fatal.is_none() && self.outbox.pending().len() < OUTGOING_HIGH
    }

    /// Condemns it because too much waits to be read, by it or by all peers together.
    pub fn close_unread(&mut self) {
        self.condemn(Fatal::Unread);
    }

    fn condemn(&mut self, fatal: Fatal) -> Fatal {
        self.fatal = Some(fatal);
        self.inbox.take(usize::MAX / 2);
        self.outbox.clear();
        self.descriptors = VecDeque::new();
        fatal
    }

    /// Takes descriptors that arrived with the bytes that the next [`Peer::receive`] gets.
    ///
    /// # Errors
    /// Too many wait for their message: the connection has to be closed.
    pub fn attach(&mut self, descriptors: Vec<OwnedFd>) -> Result<(), Fatal> {
        if let Some(fatal) = self.fatal {
            return Err(fatal);
        }
        self.descriptors.extend(descriptors.into_iter().map(|fd| Descriptor(Arc::new(fd))));
        // Messages that are held back may have some, too.
        if self.descriptors.len() > 4 * DESCRIPTORS_MAX { Err(self.condemn(Fatal::Flood)) } else { Ok(()) }
    }

    /// The descriptors of the message that was taken last, which says how many it has.
    ///
    /// # Errors
    /// They did not come: the connection has to be closed.
    pub fn take_descriptors(&mut self, count: u32) -> Result<Vec<Descriptor>, Fatal> {
        let count = count as usize;
        if count > DESCRIPTORS_MAX || count > self.descriptors.len() {
            return Err(self.condemn(Fatal::Wire(WireError("descriptors are missing or too many"))));
        }
        Ok(self.descriptors.drain(..count).collect())
    }

    /// Takes bytes that arrived. Call [`Peer::next_message`] until it gives none afterwards.
    ///
    /// # Errors
    /// The connection has to be closed.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Fatal> {
        if let Some(fatal) = self.fatal {
            return Err(fatal);
        }
        if self.inbox.pending().len() + bytes.len() > MESSAGE_MAX + OUTGOING_HIGH + READ_MAX {
            return Err(self.condemn(Fatal::Flood));
        }
        self.inbox.push(bytes);
        let Some(auth) = &mut self.auth else { return Ok(()) };
        match auth.advance(self.inbox.pending(), self.outbox.raw()) {
            Ok((taken, over)) => {
                self.inbox.take(taken);
                if over {
                    self.auth = None;
                }
                Ok(())
            }
            Err(error) => Err(self.condemn(Fatal::Auth(error))),
        }
    }

    /// The next message, `None` when there is none yet or when its replies pile up.
    ///
    /// # Errors
    /// The connection has to be closed.
    pub fn next_message(&mut self) -> Result<Option<Message>, Fatal> {
        if let Some(fatal) = self.fatal {
            return Err(fatal);
        }
        if self.auth.is_some() || !self.wants_input() {
            return Ok(None);
        }
        self.inbox.message().map_err(|error| self.condemn(Fatal::Wire(error)))
    }

    /// Queues a message. It is dropped when the peer is not authenticated or is to be closed; a peer whose
    /// queue grows beyond [`OUTGOING_MAX`] is to be closed.
    pub fn queue(&mut self, message: &Message) {
        if !self.is_open() {
            return;
        }
        self.outbox.push(message);
        if self.outbox.pending().len() > OUTGOING_MAX {
            self.condemn(Fatal::Unread);
        }
    }

    /// Bytes to write.
    pub fn outgoing(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// The first `n` bytes of [`Peer::outgoing`] were written.
    pub fn sent(&mut self, n: usize) {
        self.outbox.sent(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Peer {
        let mut peer = Peer::new(Caller { pid: 1, uid: 0 }, 0, [1; 16]);
        peer.receive(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n").expect("valid");
        peer.sent(peer.outgoing().len());
        assert!(peer.is_open());
        peer
    }

    fn ping() -> Vec<u8> {
        let mut out = Vec::new();
        Message::call("/a", "org.freedesktop.DBus.Peer", "Ping").encode(7, &mut out);
        out
    }

    #[test]
    fn cuts_messages_out_of_any_split() {
        let stream = ping().repeat(3);
        for step in 1..stream.len() {
            let mut peer = open();
            let mut seen = 0;
            for chunk in stream.chunks(step) {
                peer.receive(chunk).expect("valid");
                while let Some(message) = peer.next_message().expect("valid") {
                    assert_eq!(message.serial, 7);
                    seen += 1;
                }
            }
            assert_eq!(seen, 3, "chunks of {step}");
        }
    }

    #[test]
    fn descriptors_go_with_the_messages_that_name_them() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").expect("a file"));
        let mut peer = open();
        peer.attach(vec![null(), null(), null()]).expect("room");
        assert_eq!(peer.take_descriptors(0), Ok(vec![]));
        assert_eq!(peer.take_descriptors(2).expect("two").len(), 2);
        assert!(matches!(peer.take_descriptors(2), Err(Fatal::Wire(_))));
        let mut peer = open();
        let mut taken = 0;
        while peer.attach(vec![null()]).is_ok() {
            taken += 1;
        }
        assert_eq!((taken, peer.fatal()), (4 * DESCRIPTORS_MAX, Some(Fatal::Flood)));
        assert!(peer.descriptors.is_empty(), "closed");
    }

    #[test]
    fn a_declared_length_over_the_cap_closes_before_it_is_stored() {
        let mut peer = open();
        let mut header = ping();
        header[4..8].copy_from_slice(&(120u32 << 20).to_le_bytes());
        peer.receive(&header[..16]).expect("stored");
        assert_eq!(peer.next_message(), Err(Fatal::Wire(WireError("message too long"))));
        assert_eq!(peer.receive(b"x"), Err(Fatal::Wire(WireError("message too long"))));
    }

    #[test]
    fn a_peer_that_does_not_read_is_held_back_then_closed() {
        let mut peer = open();
        let big = Message::signal("/a", "a.b", "C").with(vec![Value::from("x".repeat(100_000))]);
        let mut queued = 0;
        while peer.fatal().is_none() {
            peer.queue(&big);
            queued += 1;
            assert_eq!(peer.wants_input(), queued < 3, "{queued}");
        }
        assert_eq!((peer.fatal(), queued), (Some(Fatal::Unread), OUTGOING_MAX / 100_000 + 1));
        assert!(peer.outgoing().is_empty(), "freed");
    }

    #[test]
    fn a_peer_that_is_held_back_cannot_flood() {
        let mut peer = open();
        peer.queue(&Message::signal("/a", "a.b", "C").with(vec![Value::from("x".repeat(OUTGOING_HIGH))]));
        let chunk = ping().repeat(400);
        let mut sent = 0;
        while peer.receive(&chunk).is_ok() {
            assert_eq!(peer.next_message(), Ok(None));
            sent += chunk.len();
        }
        assert_eq!(peer.fatal(), Some(Fatal::Flood));
        assert!(sent <= MESSAGE_MAX + OUTGOING_HIGH + READ_MAX);
    }

    use crate::wire::Value;
}
