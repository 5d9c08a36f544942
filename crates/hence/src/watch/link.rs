//! The connection to the manager: on its private socket; or, where that is wanted and others listen to it
//! there, on the system bus, where it has nothing more to do for us. It is lost when the manager executes
//! itself anew; that the socket is there again is told by inotify, and nothing is polled.

use hence_bus::observer::Observer;
use hence_engine::Time;
use hence_engine::observe::seen::{Seen, What};
use hence_host::arrival::Arrival;
use hence_host::watch::{Place, Turns};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Where a manager is reached by root, whether or not there is a bus.
const SOCKET: &str = "/run/systemd/private";
/// What logind leaves where it runs; it listens to the manager on the bus.
const LISTENER: &str = "/run/systemd/seats";

/// The manager's end of what is watched.
pub struct Link {
    place: Place,
    /// The socket of the bus; `None`: it is not to be used.
    bus: Option<PathBuf>,
    /// The manager was not heard there, or not any longer.
    unheard: bool,
    open: Option<(UnixStream, Observer)>,
    /// For what it is waited for; `None`: not yet.
    known: Option<bool>,
    arrival: Arrival,
    /// For what happens in the folder of its socket.
    token: u64,
    /// What was told before the connection was lost, and is still to be taken.
    rest: Option<Observer>,
    lost: bool,
    reconnected: bool,
}

impl Link {
    /// Connects, if there is somebody. `token` is for what happens in the folder of the private socket.
    pub fn open(place: &Place, bus: Option<PathBuf>, token: u64) -> Link {
        let mut link = Link {
            place: place.clone(),
            bus,
            unheard: false,
            open: None,
            known: None,
            arrival: Arrival::new(place.path(SOCKET)),
            token,
            rest: None,
            lost: false,
            reconnected: false,
        };
        let _ = link.connect();
        link
    }

    fn connect(&mut self) -> std::io::Result<()> {
        let on_bus = self.connect_to_bus();
        let (stream, observer) = match on_bus {
            Some(stream) => (stream, Observer::on_bus()),
            None => (self.place.connect(SOCKET)?, Observer::new()),
        };
        stream.set_nonblocking(true)?;
        self.unheard = false;
        self.open = Some((stream, observer));
        self.known = None;
        Ok(())
    }

    fn connect_to_bus(&self) -> Option<UnixStream> {
        let bus = self.bus.as_ref().filter(|_| !self.unheard)?;
        self.place.path(LISTENER).exists().then(|| UnixStream::connect(bus).ok()).flatten()
    }

    /// Whether there is a connection.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// When to try again.
    pub fn deadline_us(&self) -> Option<u64> {
        self.arrival.deadline_us().filter(|_| self.open.is_none())
    }

    /// Something happened in the socket's folder.
    pub fn may_be_there(&mut self) {
        self.arrival.may_be_there();
    }

    /// Writes what waits, and connects again where that is due.
    pub fn keep(&mut self, turns: &Turns, token: u64, now_us: u64) {
        let wait_for = |watch: BorrowedFd<'_>| turns.add(watch, self.token, false);
        if self.open.is_none() && self.arrival.is_due(now_us, wait_for) {
            match self.connect() {
                Ok(()) => self.reconnected = true,
                Err(error) => self.arrival.failed(error.kind(), now_us),
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
    pub fn receive(&mut self, now_us: u64) {
        let Some((stream, observer)) = &mut self.open else { return };
        let mut buffer = [0u8; 32 << 10];
        let mut some = false;
        let over = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(n) if observer.receive(&buffer[..n]).is_err() => break true,
                Ok(_) => some = true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => break e.kind() != ErrorKind::WouldBlock,
            }
        };
        if some {
            self.arrival.arrived();
        }
        if over && let Some((_, observer)) = self.open.take() {
            self.unheard = observer.is_on_bus();
            // What was never heard can't be lost.
            if !observer.is_attached() && self.unheard && self.connect().is_ok() {
                return;
            }
            self.rest = Some(observer);
            self.lost = true;
            self.arrival.again(now_us);
        }
    }

    /// The next thing that was seen.
    pub fn next_seen(&mut self, now: Time) -> Option<Seen> {
        if let Some(seen) = self.rest.as_mut().and_then(|rest| rest.next_seen(now)) {
            return Some(seen);
        }
        self.rest = None;
        if std::mem::take(&mut self.lost) {
            return Some(Seen { at: now, what: What::Disconnected });
        }
        if std::mem::take(&mut self.reconnected) {
            return Some(Seen { at: now, what: What::Reconnected });
        }
        self.open.as_mut()?.1.next_seen(now)
    }
}
