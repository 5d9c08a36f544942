//! The two buffers of a connection: messages cut out of incoming bytes, and outgoing bytes that wait to be
//! written. It does no I/O and does not know which side it is on.

use crate::wire::{Message, Wanted, WireError, frame_length};

/// Incoming bytes.
#[derive(Debug)]
pub struct Inbox {
    bytes: Vec<u8>,
    head: usize,
    cap: usize,
    wanted: Option<Wanted>,
}

impl Inbox {
    /// An inbox for messages of at most `cap` bytes.
    pub fn new(cap: usize) -> Inbox {
        Inbox { bytes: Vec::new(), head: 0, cap, wanted: None }
    }

    /// The same; of dictionaries of properties messages have those that are wanted.
    pub fn only(mut self, wanted: Wanted) -> Inbox {
        self.wanted = Some(wanted);
        self
    }

    /// Appends what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.head > 0 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// What has not been taken yet.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// Drops the first `n` bytes.
    pub fn take(&mut self, n: usize) {
        self.head = (self.head + n).min(self.bytes.len());
        if self.head == self.bytes.len() {
            self.head = 0;
            self.bytes.clear();
            // What one long message needed is not kept for a connection that idles.
            self.bytes.shrink_to(64 * 1024);
        }
    }

    /// The next complete message. Messages of unknown kinds are skipped.
    pub fn message(&mut self) -> Result<Option<Message>, WireError> {
        loop {
            let Some(length) = frame_length(self.pending(), self.cap)? else { return Ok(None) };
            let Some(frame) = self.pending().get(..length) else { return Ok(None) };
            let message = Message::decode_only(frame, self.wanted)?;
            self.take(length);
            if message.is_some() {
                return Ok(message);
            }
        }
    }
}

/// Outgoing bytes.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    head: usize,
    serial: u32,
}

impl Outbox {
    /// Bytes that wait.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// Where to append bytes that are not messages.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a message and returns the serial that it got.
    pub fn push(&mut self, message: &Message) -> u32 {
        self.serial = self.serial.checked_add(1).unwrap_or(1);
        message.encode(self.serial, &mut self.bytes);
        self.serial
    }

    /// Drops the first `n` bytes: they were written.
    pub fn sent(&mut self, n: usize) {
        self.head = (self.head + n).min(self.bytes.len());
        if self.head == self.bytes.len() {
            self.head = 0;
            self.bytes.clear();
            self.bytes.shrink_to(64 * 1024);
        } else if self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    /// Forgets everything and frees it.
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
        self.head = 0;
    }
}
