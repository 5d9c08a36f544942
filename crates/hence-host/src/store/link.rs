//! The owner's side of the recorder process: starts it, wakes it, hands it output pipes, starts it again.
//!
//! Never waits: what the socket doesn't take is queued, within a bound, and drops are counted. Waiting
//! for the process is left to whoever reaps this process's children.

mod carry;

use super::message::{LONGEST, ToOwner, ToRecorder};
use super::{Ring, StoreError};
use crate::sys::store as sys;
use hence_ledger::{GapReason, Invocation, RecordId, Stream, Text};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// How many messages wait for a recorder that is behind.
const QUEUE: usize = 1024;
const FIRST_DELAY_US: u64 = 100_000;
const LONGEST_DELAY_US: u64 = 10_000_000;

/// How the recorder is started. It finds the socket to its owner as its standard input.
#[derive(Clone, Debug, Default)]
pub struct RecorderCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its environment besides PATH.
    pub environment: Vec<(OsString, OsString)>,
}

/// The output pipes of one process.
#[derive(Debug)]
struct Output {
    unit: Text,
    invocation: Invocation,
    pid: u32,
    /// How it is logged.
    logging: Option<Arc<[u8]>>,
    /// Of stdout and of stderr; `None`: at its end, or there was none.
    ends: [Option<OwnedFd>; 2],
}

/// The output pipes that are open. A pipe's token is the place of its process's entry, times two, and one
/// more for stderr; places are used again.
#[derive(Debug, Default)]
struct Outputs {
    places: Vec<Option<Output>>,
    free: Vec<u32>,
    last: usize,
}

impl Outputs {
    fn add(&mut self, fd: OwnedFd, unit: &Text, invocation: Invocation, stream: Stream, pid: u32) -> u64 {
        let side = usize::from(stream == Stream::Stderr);
        // The streams of a process come one after the other.
        let last = self.places.get_mut(self.last).and_then(Option::as_mut);
        let joined = last.filter(|o| o.pid == pid && o.invocation == invocation && o.ends[side].is_none());
        if let Some(output) = joined {
            output.ends[side] = Some(fd);
            return (self.last * 2 + side) as u64;
        }
        let mut output = Output { unit: unit.clone(), invocation, pid, logging: None, ends: [None, None] };
        output.ends[side] = Some(fd);
        self.last = match self.free.pop() {
            Some(place) => place as usize,
            None => {
                if self.places.len() == self.places.capacity() {
                    self.places.reserve_exact(64 + self.places.len() / 4);
                }
                self.places.push(None);
                self.places.len() - 1
            }
        };
        self.places[self.last] = Some(output);
        (self.last * 2 + side) as u64
    }

    /// The pipe of a token, and what the recorder is told of it.
    fn get(&self, token: u64) -> Option<(BorrowedFd<'_>, ToRecorder)> {
        let side = (token % 2) as usize;
        let output = self.places.get(usize::try_from(token / 2).ok()?)?.as_ref()?;
        let fd = output.ends[side].as_ref()?.as_fd();
        let stream = if side == 0 { Stream::Stdout } else { Stream::Stderr };
        let (unit, invocation, pid) = (output.unit.clone(), output.invocation, output.pid);
        let logging = output.logging.clone();
        Some((fd, ToRecorder::Output { token, unit, invocation, stream, pid, logging }))
    }

    fn log_as(&mut self, token: u64, logging: &Arc<[u8]>) {
        let place = usize::try_from(token / 2).ok().and_then(|at| self.places.get_mut(at)?.as_mut());
        if let Some(output) = place {
            output.logging = Some(logging.clone());
        }
    }

    fn remove(&mut self, token: u64) {
        let Ok(place) = usize::try_from(token / 2) else { return };
        let Some(Some(output)) = self.places.get_mut(place) else { return };
        output.ends[(token % 2) as usize] = None;
        if output.ends.iter().all(Option::is_none) {
            self.places[place] = None;
            self.free.push(place as u32);
        }
    }

    fn tokens(&self) -> impl Iterator<Item = u64> {
        (0..self.places.len() as u64 * 2).filter(|token| self.get(*token).is_some())
    }
}

/// The owner's link to the recorder.
#[derive(Debug)]
pub struct RecorderLink {
    command: RecorderCommand,
    pid: Option<u32>,
    socket: Option<OwnedFd>,
    awake: bool,
    hurried: bool,
    outputs: Outputs,
    unsent: VecDeque<u64>,
    queue: VecDeque<ToRecorder>,
    dropped: u64,
    blocked: bool,
    /// When what the socket refused is sent again.
    again_at_us: Option<u64>,
    stalled: Option<GapReason>,
    restart_at_us: Option<u64>,
    delay_us: u64,
    started_us: u64,
}

impl RecorderLink {
    /// Starts the recorder. `now_us` here and below: CLOCK_MONOTONIC.
    ///
    /// # Errors
    /// Where the system refuses the process or the socket.
    pub fn start(command: RecorderCommand, now_us: u64) -> Result<RecorderLink, StoreError> {
        let mut link = RecorderLink {
            command,
            pid: None,
            socket: None,
            awake: true,
            hurried: false,
            outputs: Outputs::default(),
            unsent: VecDeque::new(),
            queue: VecDeque::new(),
            dropped: 0,
            blocked: false,
            again_at_us: None,
            stalled: None,
            restart_at_us: None,
            delay_us: FIRST_DELAY_US,
            started_us: now_us,
        };
        link.spawn(now_us)?;
        Ok(link)
    }

    fn spawn(&mut self, now_us: u64) -> Result<(), StoreError> {
        let program = &self.command.program;
        let failed = |e| StoreError::io("start the recorder", program, e);
        let (ours, theirs) = sys::socket_pair().map_err(failed)?;
        let child = Command::new(program)
            .args(&self.command.arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.command.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // A group of its own: the terminal's ^C is for the owner, the recorder ends after it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        self.pid = Some(child.id());
        self.socket = Some(ours);
        // It drains when it starts, and then says that it sleeps.
        (self.awake, self.hurried, self.blocked, self.stalled) = (true, false, false, None);
        self.restart_at_us = None;
        self.started_us = now_us;
        self.unsent = self.outputs.tokens().collect();
        self.flush();
        Ok(())
    }

    /// The recorder's process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What to wait on: for reading always, for writing while [`Self::wants_write`]. Another one after
    /// each restart.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(OwnedFd::as_fd)
    }

    /// Whether messages wait for room in the socket.
    pub fn wants_write(&self) -> bool {
        self.blocked
    }

    /// How many messages were dropped because the recorder was behind.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// To be called after each batch: wakes the recorder if it sleeps, hurries it once if the ring fills up.
    pub fn appended(&mut self, ring: &mut Ring) {
        ring.full_means(self.stalled.unwrap_or(GapReason::RingFull));
        let at_once = ring.needs_wake() && !self.hurried;
        if ring.has_news() && (!self.awake || at_once) {
            let wake = ToRecorder::Wake { head: ring.head(), at_once: ring.needs_wake() };
            if self.send(&wake, None).is_ok() {
                self.awake = true;
                self.hurried |= at_once;
            }
        }
    }

    /// Hands over the read end of an output pipe. It is kept here too, for the next recorder, until the
    /// pipe's end.
    pub fn send_stream(
        &mut self,
        fd: OwnedFd,
        unit: &Text,
        invocation: Invocation,
        stream: Stream,
        pid: u32,
    ) {
        let token = self.outputs.add(fd, unit, invocation, stream, pid);
        self.unsent.push_back(token);
        self.flush();
    }

    /// As [`Self::send_stream`], with what the unit says about its logs: an encoded
    /// [`crate::journal::Logging`].
    pub fn send_logged_stream(
        &mut self,
        fd: OwnedFd,
        unit: &Text,
        invocation: Invocation,
        (stream, pid): (Stream, u32),
        logging: &Arc<[u8]>,
    ) {
        let token = self.outputs.add(fd, unit, invocation, stream, pid);
        self.outputs.log_as(token, logging);
        self.unsent.push_back(token);
        self.flush();
    }

    /// Asks for the last words of an invocation that ended badly; `record` says so and becomes their cause.
    pub fn ended_badly(&mut self, unit: &Text, invocation: Invocation, record: RecordId) {
        if self.queue.len() >= QUEUE {
            self.dropped += 1;
            return;
        }
        self.queue.push_back(ToRecorder::EndedBadly { unit: unit.clone(), invocation, record });
        self.flush();
    }

    /// Has a stamp of this time left in a file, for the disk may be slow.
    pub fn leave_stamp(&mut self, path: Text, realtime_us: u64) {
        if self.queue.len() >= QUEUE {
            self.dropped += 1;
            return;
        }
        self.queue.push_back(ToRecorder::Stamp { realtime_us, path });
        self.flush();
    }

    /// The socket is readable or writable.
    pub fn ready(&mut self, ring: &mut Ring, now_us: u64) {
        let mut buffer = [0; LONGEST];
        while let Some(socket) = &self.socket {
            match sys::receive(socket.as_fd(), &mut buffer) {
                Ok((0, _)) => self.gone(now_us),
                Ok((n, _)) => match ToOwner::decode(&buffer[..n]) {
                    Some(ToOwner::Asleep { tail }) => {
                        ring.stored(tail);
                        (self.awake, self.hurried, self.stalled) = (false, false, None);
                    }
                    Some(ToOwner::Closed { tokens }) => {
                        tokens.into_iter().for_each(|token| self.outputs.remove(token));
                    }
                    Some(ToOwner::Stalled { reason }) => self.stalled = Some(reason),
                    None => {}
                },
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone(now_us),
            }
        }
        self.flush();
        self.appended(ring);
    }

    /// The process was reaped. `false`: it is not the recorder.
    pub fn exited(&mut self, pid: u32, now_us: u64) -> bool {
        let ours = self.pid == Some(pid);
        if ours {
            self.gone(now_us);
        }
        ours
    }

    /// When [`Self::restart`] is due, on CLOCK_MONOTONIC in microseconds.
    pub fn deadline_us(&self) -> Option<u64> {
        self.restart_at_us.or(self.again_at_us)
    }

    /// Starts the recorder again where that is due. `true`: there is a new socket.
    pub fn restart(&mut self, now_us: u64) -> bool {
        if self.again_at_us.take_if(|at| *at <= now_us).is_some() {
            self.flush();
        }
        if self.restart_at_us.is_none_or(|at| at > now_us) {
            return false;
        }
        if self.spawn(now_us).is_err() {
            self.gone(now_us);
            return false;
        }
        true
    }

    fn gone(&mut self, now_us: u64) {
        (self.pid, self.socket, self.blocked) = (None, None, false);
        if self.restart_at_us.is_none() {
            // One that ran well for a while may come back at once; one that dies young is given more time.
            let young = now_us.saturating_sub(self.started_us) < LONGEST_DELAY_US;
            self.delay_us = if young { (self.delay_us * 2).min(LONGEST_DELAY_US) } else { FIRST_DELAY_US };
        }
        self.restart_at_us = Some(now_us + self.delay_us);
        self.again_at_us = None;
    }

    fn send(&mut self, message: &ToRecorder, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let result = self.deliver(message, fd);
        if result.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) {
            self.blocked = true;
        }
        result
    }

    fn deliver(&self, message: &ToRecorder, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        sys::send(socket.as_fd(), &message.encode(), fd)
    }

    /// Gives back the memory that a burst needed.
    pub fn shrink(&mut self) {
        self.outputs.places.shrink_to_fit();
        self.unsent.shrink_to_fit();
        self.queue.shrink_to_fit();
    }

    /// Sends what waits: pipes first, so that last words find them.
    fn flush(&mut self) {
        self.blocked = false;
        while let Some(token) = self.unsent.front().copied() {
            let sent = self.outputs.get(token).map(|(fd, message)| self.deliver(&message, Some(fd)));
            if let Some(Err(error)) = sent {
                self.blocked = error.kind() == io::ErrorKind::WouldBlock;
                self.send_later();
                return;
            }
            self.unsent.pop_front();
        }
        while let Some(message) = self.queue.pop_front() {
            if self.send(&message, None).is_err() {
                self.queue.push_front(message);
                self.send_later();
                return;
            }
        }
    }

    /// The socket refused something though it has room: nobody will say that it may be sent now.
    fn send_later(&mut self) {
        if !self.blocked && self.socket.is_some() {
            let now_us = crate::clock::now().monotonic_us;
            self.again_at_us.get_or_insert(now_us.saturating_add(FIRST_DELAY_US));
        }
    }
}
