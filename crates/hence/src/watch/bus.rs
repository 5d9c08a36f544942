//! Our two connections to the message bus: one that hears what others ask the manager for, one that asks who
//! they are. When it is there (again) is told by inotify and by the manager, and nothing is polled. A bus
//! that the manager says is down is left alone, for to connect to its socket would have it started.

use hence_bus::observer::calls::{Call, Ear};
use hence_engine::Time;
use hence_engine::observe::seen::{Asked, Evidence, Seen, What};
use hence_host::arrival::Arrival;
use hence_host::watch::Turns;
use hence_ledger::Client;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The services that are the bus.
pub const SERVICES: [&str; 2] = ["dbus.service", "dbus-broker.service"];
/// Calls that wait until the bus has said who called.
const WAITING: usize = 1024;

struct Side {
    stream: UnixStream,
    ear: Ear,
    known: Option<bool>,
}

impl Side {
    fn keep(&mut self, turns: &Turns, token: u64) {
        while !self.ear.outgoing().is_empty() {
            match self.stream.write(self.ear.outgoing()) {
                Ok(n) => self.ear.sent(n),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let wants = !self.ear.outgoing().is_empty();
        if self.known != Some(wants) && turns.add(&self.stream, token, wants).is_ok() {
            self.known = Some(wants);
        }
    }

    /// Takes what arrived. `false`: it is over.
    fn receive(&mut self) -> bool {
        let mut buffer = [0u8; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) if self.ear.receive(&buffer[..n]).is_err() => return false,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

/// The bus.
pub struct Bus {
    arrival: Arrival,
    /// For what happens in the folder of its socket.
    token: u64,
    /// Which of its services the manager says to be up, where it says.
    services: [Option<bool>; 2],
    /// It was heard, and is no more.
    lost: bool,
    sides: Option<(Side, Side)>,
    waiting: Vec<(Time, Call)>,
    /// The bus does not let us listen: it is not asked again.
    refused: bool,
}

impl Bus {
    /// Not connected yet.
    pub fn new(path: PathBuf, token: u64) -> Bus {
        let (services, waiting) = Default::default();
        Bus {
            arrival: Arrival::new(path),
            token,
            services,
            lost: false,
            sides: None,
            waiting,
            refused: false,
        }
    }

    fn connect(&self, ear: Ear) -> std::io::Result<Side> {
        let stream = UnixStream::connect(self.arrival.path())?;
        stream.set_nonblocking(true)?;
        Ok(Side { stream, ear, known: None })
    }

    /// When to try again.
    pub fn deadline_us(&self) -> Option<u64> {
        self.arrival.deadline_us().filter(|_| self.sides.is_none() && !self.refused)
    }

    /// Something happened in the socket's folder.
    pub fn may_be_there(&mut self) {
        self.arrival.may_be_there();
    }

    /// The manager says whether a service is up.
    pub fn told(&mut self, unit: &str, up: bool) {
        if let Some(nth) = SERVICES.iter().position(|name| *name == unit) {
            if up && self.services[nth] != Some(true) {
                self.arrival.may_be_there();
            }
            self.services[nth] = Some(up);
        }
    }

    /// Whether to connect would have it started.
    fn is_down(&self) -> bool {
        self.services.contains(&Some(false)) && !self.services.contains(&Some(true))
    }

    /// Writes what waits, and connects again where that is due.
    pub fn keep(&mut self, turns: &Turns, tokens: (u64, u64), now_us: u64) {
        if self.refused {
            return;
        }
        let wait_for = |watch: BorrowedFd<'_>| turns.add(watch, self.token, false);
        if self.sides.is_none() && self.arrival.is_due(now_us, wait_for) && !self.is_down() {
            let connect = |bus: &Bus| Ok((bus.connect(Ear::listening())?, bus.connect(Ear::asking())?));
            match connect(self) {
                Ok(sides) => self.sides = Some(sides),
                Err(error) => {
                    let error: std::io::Error = error;
                    self.arrival.failed(error.kind(), now_us);
                }
            }
        }
        if let Some((ear, mouth)) = &mut self.sides {
            ear.keep(turns, tokens.0);
            mouth.keep(turns, tokens.1);
        }
    }

    /// Takes what arrived. `client` says who a process is.
    pub fn turn(&mut self, now: Time, client: impl Fn(u32) -> Option<Client>) -> Vec<Seen> {
        let Some((ear, mouth)) = &mut self.sides else { return Vec::new() };
        let mut found = Vec::new();
        let lives = ear.receive() & mouth.receive();
        while let Some(call) = ear.ear.next_call() {
            if self.waiting.len() < WAITING {
                mouth.ear.who_is(&call.sender);
                self.waiting.push((now, call));
            }
        }
        while let Some((name, who)) = mouth.ear.next_known() {
            let answered = self.waiting.extract_if(.., |(_, call)| call.sender == name);
            for (at, call) in answered.collect::<Vec<_>>() {
                // Who left the bus before it could be asked is not known; that somebody called is.
                let who =
                    who.map(|(pid, uid)| client(pid).unwrap_or(Client { pid, uid, ..Client::default() }));
                let gone =
                    || Client { command: format!("{name}, gone from the bus").into(), ..Client::default() };
                let who = who.unwrap_or_else(gone);
                let units = call.units.iter().map(|unit| unit.as_str().into()).collect();
                let evidence = Evidence::Call;
                let asked = Asked { verb: call.verb, mode: call.mode, units, client: who, evidence };
                found.push(Seen { at, what: What::Asked(Box::new(asked)) });
            }
        }
        if ear.ear.listens() == Ok(true) {
            self.arrival.arrived();
            if std::mem::take(&mut self.lost) {
                found.push(Seen { at: now, what: What::Bus(true) });
            }
        }
        let refused = ear.ear.listens().err();
        if let Some(text) = &refused {
            println!("  no calls on the system bus: {text}");
            self.refused = true;
        }
        if !lives || refused.is_some() {
            self.sides = None;
            self.waiting.clear();
            if !std::mem::replace(&mut self.lost, true) {
                found.push(Seen { at: now, what: What::Bus(false) });
            }
            // Its manager says that its service went down, but later than its end is seen here.
            match self.services.iter().any(Option::is_some) {
                true => self.arrival.again_late(now.monotonic_us),
                false => self.arrival.again(now.monotonic_us),
            }
        }
        found
    }
}
