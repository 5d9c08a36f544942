//! A client of a private socket, or of a peer on a message bus: handshake, calls, their replies and signals.
//! It does no I/O, and it trusts the server no further than to cap its messages.

use crate::stream::{Inbox, Outbox};
use crate::wire::{Message, REPLY_MAX, Value, Wanted, WireError};
use std::borrow::Cow;
use std::fmt;

/// Why a connection to a server cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The server did not accept us; its line.
    Rejected(String),
    /// The server sent something that is not D-Bus.
    Wire(WireError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Rejected(line) => write!(f, "the server refused authentication: {line}"),
            ClientError::Wire(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}

/// A refusal by the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// Name of the error, such as `org.freedesktop.systemd1.NoSuchUnit`.
    pub name: String,
    /// The text for people, which may be empty.
    pub text: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { &self.name } else { &self.text })
    }
}

impl std::error::Error for CallError {}

/// What arrived.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// The answer to the call with this serial.
    Answer {
        /// Serial, as [`Client::call`] returned it.
        serial: u32,
        /// Arguments of the reply, or the refusal.
        result: Result<Vec<Value>, CallError>,
    },
    /// A signal.
    Signal(Message),
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    inbox: Inbox,
    outbox: Outbox,
    accepted: bool,
    /// So much of the handshake isn't sent yet.
    handshake: usize,
    /// Whom calls are for, on a bus.
    destination: Option<&'static str>,
}

/// The bus itself, as a peer on it.
pub(crate) const DRIVER: &str = "org.freedesktop.DBus";
pub(crate) const DRIVER_PATH: &str = "/org/freedesktop/DBus";
pub(crate) const HANDSHAKE: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
/// More than any line of a server's handshake.
const LINE_MAX: usize = 512;

/// Takes what a server answers to [`HANDSHAKE`]; whether it has accepted us.
pub(crate) fn accept(inbox: &mut Inbox) -> Result<bool, ClientError> {
    while let Some(line) = line(inbox)? {
        if line.starts_with("OK ") {
            return Ok(true);
        }
        if line != "DATA" {
            return Err(ClientError::Rejected(line));
        }
    }
    Ok(false)
}

/// The next line of a server's handshake, once all of it is there.
pub(crate) fn line(inbox: &mut Inbox) -> Result<Option<String>, ClientError> {
    let pending = inbox.pending();
    let Some(end) = pending.windows(2).position(|pair| pair == b"\r\n") else {
        if pending.len() > LINE_MAX {
            return Err(ClientError::Rejected("line too long".into()));
        }
        return Ok(None);
    };
    let line = String::from_utf8_lossy(&pending[..end.min(LINE_MAX)]).into_owned();
    inbox.take(end + 2);
    Ok(Some(line))
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl Client {
    /// A connection that begins; its handshake is queued, and calls may be queued behind it at once.
    pub fn new() -> Client {
        let mut outbox = Outbox::default();
        outbox.raw().extend_from_slice(HANDSHAKE);
        Client {
            inbox: Inbox::new(REPLY_MAX),
            outbox,
            accepted: false,
            handshake: HANDSHAKE.len(),
            destination: None,
        }
    }

    /// The same; of dictionaries of properties only those are read that are wanted.
    pub fn only(mut self, wanted: Wanted) -> Client {
        self.inbox = self.inbox.only(wanted);
        self
    }

    /// The same, of the peer that has this name on a bus.
    pub fn of_peer(mut self, name: &'static str) -> Client {
        self.destination = Some(name);
        self.ask_bus("Hello", Vec::new());
        self
    }

    /// Queues a call of the bus itself and returns its serial.
    pub fn ask_bus(&mut self, member: &'static str, body: Vec<Value>) -> u32 {
        let mut call = Message::call(DRIVER_PATH, DRIVER, member).with(body);
        call.fields.destination = Some(Cow::Borrowed(DRIVER));
        self.outbox.push(&call)
    }

    /// Queues a call and returns its serial.
    pub fn call(
        &mut self,
        path: impl Into<Cow<'static, str>>,
        interface: &'static str,
        member: &'static str,
        body: Vec<Value>,
    ) -> u32 {
        let mut call = Message::call(path, interface, member).with(body);
        call.fields.destination = self.destination.map(Cow::Borrowed);
        self.outbox.push(&call)
    }

    /// Takes bytes that arrived. Call [`Client::incoming`] until it gives nothing afterwards.
    ///
    /// # Errors
    /// The server refused us.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.inbox.push(bytes);
        if !self.accepted {
            self.accepted = accept(&mut self.inbox)?;
        }
        Ok(())
    }

    /// The next reply or signal; `None` when there is none yet. Calls by the server are skipped.
    ///
    /// # Errors
    /// The server sent something that is not D-Bus.
    pub fn incoming(&mut self) -> Result<Option<Incoming>, ClientError> {
        if !self.accepted {
            return Ok(None);
        }
        while let Some(message) = self.inbox.message().map_err(ClientError::Wire)? {
            use crate::wire::Kind;
            let serial = message.fields.reply_serial.unwrap_or(0);
            match message.kind {
                Kind::Call => {}
                Kind::Signal => return Ok(Some(Incoming::Signal(message))),
                Kind::Return => return Ok(Some(Incoming::Answer { serial, result: Ok(message.body) })),
                Kind::Error => {
                    let text = message.body.first().and_then(Value::as_str).unwrap_or("").to_owned();
                    let name = message.fields.error_name.unwrap_or_default().into_owned();
                    return Ok(Some(Incoming::Answer { serial, result: Err(CallError { name, text }) }));
                }
            }
        }
        Ok(None)
    }

    /// Bytes to write. Calls go out when the server has accepted us: systemd doesn't look at what comes
    /// together with the handshake before more comes.
    pub fn outgoing(&self) -> &[u8] {
        let pending = self.outbox.pending();
        if self.accepted { pending } else { &pending[..self.handshake.min(pending.len())] }
    }

    /// The first `n` bytes of [`Client::outgoing`] were written.
    pub fn sent(&mut self, n: usize) {
        self.handshake = self.handshake.saturating_sub(n);
        self.outbox.sent(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_wait_until_the_server_has_accepted_us() {
        let mut client = Client::new();
        client.call("/", "a.b", "C", Vec::new());
        assert_eq!(client.outgoing(), HANDSHAKE);
        client.sent(10);
        assert_eq!(client.outgoing(), &HANDSHAKE[10..]);
        client.sent(HANDSHAKE.len() - 10);
        assert_eq!(client.outgoing(), b"");
        client.receive(b"DATA\r\nOK 0123\r\n").expect("it accepts");
        assert_eq!(client.outgoing().first(), Some(&b'l'));
    }
}
