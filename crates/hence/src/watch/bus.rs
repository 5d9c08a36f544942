//! Our two connections to the message bus: one that hears what others ask the manager for, one that asks who
//! they are. Where there is no bus they are tried now and then, at growing distances.

use hence_bus::observer::calls::{Call, Ear};
use hence_engine::Time;
use hence_engine::observe::seen::{Asked, Evidence, Seen, What};
use hence_host::watch::Turns;
use hence_ledger::Client;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The first and the longest distance between two tries, in microseconds.
const FIRST_US: u64 = 200_000;
const LONGEST_US: u64 = 10_000_000;
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
    path: PathBuf,
    sides: Option<(Side, Side)>,
    waiting: Vec<(Time, Call)>,
    retry_us: Option<u64>,
    delay_us: u64,
    /// The bus does not let us listen: it is not asked again.
    refused: bool,
}

impl Bus {
    /// Not connected yet.
    pub fn new(path: PathBuf) -> Bus {
        Bus { path, sides: None, waiting: Vec::new(), retry_us: Some(0), delay_us: FIRST_US, refused: false }
    }

    fn connect(&self, ear: Ear) -> Option<Side> {
        let stream = UnixStream::connect(&self.path).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Side { stream, ear, known: None })
    }

    /// When to try again.
    pub fn deadline_us(&self) -> Option<u64> {
        self.retry_us
    }

    /// Writes what waits, and connects again where that is due.
    pub fn keep(&mut self, turns: &Turns, tokens: (u64, u64), now_us: u64) {
        if self.refused {
            return;
        }
        if self.retry_us.is_some_and(|at| at <= now_us) {
            self.sides = self.connect(Ear::listening()).zip(self.connect(Ear::asking()));
            self.retry_us = self.sides.is_none().then_some(now_us + self.delay_us);
            self.delay_us = if self.sides.is_some() { FIRST_US } else { (self.delay_us * 2).min(LONGEST_US) };
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
        let refused = ear.ear.listens().err();
        if let Some(text) = &refused {
            println!("  no calls on the system bus: {text}");
            self.refused = true;
        }
        if !lives || refused.is_some() {
            self.sides = None;
            self.waiting.clear();
            self.retry_us = refused.is_none().then_some(now.monotonic_us + self.delay_us);
        }
        found
    }
}
