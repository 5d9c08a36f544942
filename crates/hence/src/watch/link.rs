//! The connection to the manager's private socket. It is there again soon after the manager has executed
//! itself anew; until then it is tried now and then, at growing distances.

use hence_bus::observer::Observer;
use hence_engine::Time;
use hence_engine::observe::seen::{Seen, What};
use hence_host::watch::{Place, Turns};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

/// The first and the longest distance between two tries, in microseconds.
const FIRST_US: u64 = 50_000;
const LONGEST_US: u64 = 5_000_000;
/// Where a manager is reached by root, whether or not there is a bus.
const SOCKET: &str = "/run/systemd/private";

/// The manager's end of what is watched.
pub struct Link {
    place: Place,
    open: Option<(UnixStream, Observer)>,
    /// For what it is waited for; `None`: not yet.
    known: Option<bool>,
    retry_us: Option<u64>,
    delay_us: u64,
    reconnected: bool,
}

impl Link {
    /// Connects, if there is somebody.
    pub fn open(place: &Place) -> Link {
        let mut link = Link {
            place: place.clone(),
            open: None,
            known: None,
            retry_us: None,
            delay_us: FIRST_US,
            reconnected: false,
        };
        link.connect();
        link
    }

    fn connect(&mut self) {
        let stream = self.place.connect(SOCKET).ok();
        let stream = stream.filter(|s| s.set_nonblocking(true).is_ok());
        self.open = stream.map(|stream| (stream, Observer::new()));
        self.known = None;
    }

    /// Whether there is a connection.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When to try again.
    pub fn deadline_us(&self) -> Option<u64> {
        self.retry_us
    }

    /// Writes what waits, and connects again where that is due.
    pub fn keep(&mut self, turns: &Turns, token: u64, now_us: u64) {
        if self.open.is_none() {
            match self.retry_us {
                None => self.retry_us = Some(now_us + self.delay_us),
                Some(at) if at > now_us => {}
                Some(_) => {
                    self.connect();
                    self.delay_us = (self.delay_us * 2).min(LONGEST_US);
                    self.retry_us = self.open.is_none().then_some(now_us + self.delay_us);
                    self.reconnected |= self.open.is_some();
                }
            }
        }
        let Some((stream, observer)) = &mut self.open else { return };
        while !observer.outgoing().is_empty() {
            match stream.write(observer.outgoing()) {
                Ok(n) => observer.sent(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let wants = !observer.outgoing().is_empty();
        if self.known != Some(wants) && turns.add(&*stream, token, wants).is_ok() {
            self.known = Some(wants);
        }
    }

    /// Takes what arrived.
    pub fn receive(&mut self) {
        let Some((stream, observer)) = &mut self.open else { return };
        let mut buffer = [0u8; 32 << 10];
        let over = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(n) if observer.receive(&buffer[..n]).is_err() => break true,
                Ok(_) => self.delay_us = FIRST_US,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break e.kind() != ErrorKind::WouldBlock,
            }
        };
        if over {
            self.open = None;
            self.retry_us = None;
        }
    }

    /// The next thing that was seen.
    pub fn next_seen(&mut self, now: Time) -> Option<Seen> {
        if std::mem::take(&mut self.reconnected) {
            return Some(Seen { at: now, what: What::Reconnected });
        }
        self.open.as_mut()?.1.next_seen(now)
    }
}
