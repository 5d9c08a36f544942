//! The recorder process: carries records from the ring into segments, digests files, captures output.
//!
//! It sleeps until something comes, and waits a little then, so as to stay out of the way of a burst.
//! What it can't store stays in the ring. When its owner is gone it drains the ring, lets the next
//! recorder write, and lives on only for the output pipes that are still open.

use super::capture::{Capture, Ended, Origin};
use super::digest::{Digests, Job};
use super::entries::{Entries, JournalSetup};
use super::message::{CLOSED_MOST, LONGEST, ToOwner, ToRecorder};
use super::package::Packages;
use super::retention::{self, Bounds};
use super::ring::layout::{self, Cursor, Header, HeaderError, Next, Tail};
use super::segment::Writer;
use super::teller::Teller;
use super::{Fold, OWN, Places, StoreError, lock, now};
use crate::sys::store as sys;
use hence_ledger::{Cause, Certainty, Fact, GapReason, Invocation, Record, RecordId, Text, decode, encode};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

/// How the recorder works.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Length in bytes at which a segment is sealed.
    pub segment_bytes: u64,
    /// Bound of all segments and what is folded, in bytes.
    pub total_bytes: u64,
    /// Bound of what is folded, in bytes.
    pub folded_bytes: u64,
    /// Bound of a unit's log file, in bytes; there is one older one of the same size.
    pub log_bytes: u64,
    /// How long to wait after a wake-up before draining, in microseconds.
    pub delay_us: u64,
    /// The journal that output goes to; without one it goes to log files.
    pub journal: Option<JournalSetup>,
    /// The socket of another journal (systemd-journald's) that hears of units' changes where it is served.
    pub native_socket: Option<PathBuf>,
    /// Sums up removed segments.
    pub fold: Fold,
}

impl RecorderOptions {
    /// The usual bounds: 64 MiB in segments of 1 MiB (what folding one takes in memory), 4 MiB folded,
    /// logs of 1 MiB.
    pub fn new(fold: Fold) -> RecorderOptions {
        RecorderOptions {
            segment_bytes: 1 << 20,
            total_bytes: 64 << 20,
            folded_bytes: 4 << 20,
            log_bytes: 1 << 20,
            delay_us: 100_000,
            journal: None,
            native_socket: None,
            fold,
        }
    }
}

const SOCKET: u64 = 0;
const QUERY: u64 = 1;
/// Streams that have said something, which may wait a moment.
const TALKERS: u64 = 2;
const FIRST_STREAM: u64 = 3;
/// The sockets of the journal begin here.
const FIRST_SOCKET: u64 = 1 << 48;
/// How long what may wait for an idle moment waits for one.
const IDLE_US: u64 = 20_000;
/// Lines that come one by one are written a few together: a look at them costs more than the lines do.
const GATHER_US: u64 = 5_000;
/// Fewer bytes than this at a time are few.
const FEW: u64 = 16 << 10;
/// How long to wait before another try while an older recorder still writes.
const LOCK_US: u64 = 20_000;
const RETRY_US: u64 = 5_000_000;
const SYNC_US: u64 = 30_000_000;
/// How long digests may take after the owner is gone.
const FINISH_US: u64 = 3_000_000;
/// How long nothing must be due for memory to be given back.
const QUIET_US: u64 = 1_000_000;
/// How long an earlier recorder is waited for, which may take that long.
const LOCKED_US: u64 = 2 * FINISH_US;
/// Bytes written at once.
const BATCH: usize = 64 << 10;
/// Own records that wait for room on the disk.
const OWED: usize = 256;
/// Requests for last words that wait for the next draining.
const WANTED: usize = 4096;

/// Runs the recorder until its owner and all output pipes are gone.
pub fn recorder_main(ledger: &Path, socket: OwnedFd, options: RecorderOptions) -> ExitCode {
    sys::ignore_termination();
    match Recorder::open(ledger, socket, options).and_then(|mut recorder| recorder.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hence recorder: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Wanted {
    unit: Text,
    invocation: Invocation,
    record: RecordId,
}

struct Recorder {
    places: Places,
    options: RecorderOptions,
    epoll: OwnedFd,
    /// What `epoll` has as [`TALKERS`], once each time that it is asked for.
    talkers: OwnedFd,
    asked_for_talkers: bool,
    socket: Option<OwnedFd>,
    /// Held while it may write.
    lock: Option<File>,
    /// It has written its last.
    closed: bool,
    ring: Rc<File>,
    cursor: Cursor<Rc<File>>,
    capacity: u64,
    /// Up to where it is stored.
    tail: u64,
    /// Up to where the owner said that there are records.
    head: u64,
    /// Nobody said, so all of the ring is looked at.
    look_far: bool,
    writer: Option<Writer>,
    capture: Capture,
    digests: Digests,
    teller: Teller,
    wanted: VecDeque<Wanted>,
    owed: VecDeque<Record>,
    owed_lost: u64,
    drain_at_us: Option<u64>,
    stalled: Option<GapReason>,
    synced_us: u64,
    /// Bytes drained since memory was last given back; digests count as a batch.
    worked: u64,
    /// Output that comes before that may wait until then.
    gather_until_us: u64,
    /// Bytes of output at a time, on average.
    usually_taken: u64,
    outbox: VecDeque<ToOwner>,
    /// Streams that ended and of which the owner has not heard.
    closed_streams: Vec<u64>,
}

impl Recorder {
    fn open(ledger: &Path, socket: OwnedFd, options: RecorderOptions) -> Result<Recorder, StoreError> {
        let places = Places::new(ledger);
        let path = places.ring();
        let file = File::options().read(true).write(true).open(&path);
        let file = file.map_err(|e| StoreError::io("open", &path, e))?;
        let header = Header::read(&file).and_then(|h| Ok((h, layout::sound_tail(&file)?)));
        let (header, tail) = header.map_err(|error| match error {
            HeaderError::Newer(version) => StoreError::Newer { path: path.clone(), version },
            HeaderError::Io(e) => StoreError::io("read", &path, e),
            HeaderError::Damaged => {
                let e = io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
                StoreError::io("read", &path, e)
            }
        })?;
        let failed = |e: rustix::io::Errno| StoreError::io("wait for", ledger, e.into());
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
        epoll::add(&epoll, &socket, EventData::new_u64(SOCKET), EventFlags::IN).map_err(failed)?;
        let talkers = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
        let once = EventFlags::IN | EventFlags::ONESHOT;
        epoll::add(&epoll, &talkers, EventData::new_u64(TALKERS), once).map_err(failed)?;
        let ring = Rc::new(file);
        let now_us = now().monotonic_us;
        let entries = options.journal.clone().map(Entries::new);
        for (number, fd) in entries.iter().flat_map(Entries::sockets) {
            epoll::add(&epoll, fd, EventData::new_u64(FIRST_SOCKET + number), EventFlags::IN)
                .map_err(failed)?;
        }
        Ok(Recorder {
            capture: Capture::new(places.logs(), options.log_bytes, entries),
            digests: Digests::new(Packages::here()),
            teller: Teller::new(socket.as_fd(), options.native_socket.clone()),
            cursor: Cursor::new(ring.clone(), header.capacity, tail.position),
            capacity: header.capacity,
            tail: tail.position,
            head: tail.position,
            look_far: true,
            places,
            options,
            epoll,
            talkers,
            asked_for_talkers: true,
            socket: Some(socket),
            lock: None,
            closed: false,
            ring,
            writer: None,
            wanted: VecDeque::new(),
            owed: VecDeque::new(),
            owed_lost: 0,
            drain_at_us: Some(now_us),
            stalled: None,
            synced_us: now_us,
            // Starting up is a burst too.
            worked: BATCH as u64,
            gather_until_us: 0,
            usually_taken: 0,
            outbox: VecDeque::new(),
            closed_streams: Vec::new(),
        })
    }

    fn run(&mut self) -> Result<(), StoreError> {
        let mut finish_at_us = None;
        loop {
            self.wait(finish_at_us)?;
            let now_us = now().monotonic_us;
            self.digests.packages.check_deadline(now_us);
            if self.drain_at_us.is_some_and(|at| at <= now_us) {
                self.drain_or_stall(now_us);
            }
            if self.digests.has_work() {
                self.digests.work();
                self.worked = self.worked.max(BATCH as u64);
                self.watch_query();
            }
            self.write_digests();
            self.say();
            if self.socket.is_some() || self.closed {
                if self.socket.is_none() && self.capture.is_empty() {
                    if let Some(entries) = &mut self.capture.entries {
                        entries.close();
                    }
                    return Ok(());
                }
                continue;
            }
            // The owner is gone.
            let until = *finish_at_us.get_or_insert_with(|| {
                self.look_far = true;
                self.drain_or_stall(now_us);
                now_us + if self.lock.is_some() { FINISH_US } else { LOCKED_US }
            });
            if self.lock.is_none() && until <= now_us {
                // The recorder of an earlier run, which has its own last things to write, takes too long.
                self.owed_lost += self.owed.len() as u64;
                eprintln!("hence recorder: another one still writes; {} records are lost", self.owed_lost);
            }
            // Before it has the right to write it knows neither what is to be digested nor what is owed.
            let idle = self.lock.is_some() && (self.digests.is_done() || self.stalled.is_some());
            if idle || until <= now_us {
                self.close();
                finish_at_us = None;
            }
        }
    }

    /// No more writing to the ledger; the next recorder may begin.
    fn close(&mut self) {
        self.drain_or_stall(now().monotonic_us);
        if let Some(writer) = &mut self.writer {
            let _ = writer.sync();
        }
        (self.writer, self.lock, self.drain_at_us, self.closed) = (None, None, None, true);
        self.digests = Digests::new(Packages::here());
        self.wanted.clear();
    }

    fn wait(&mut self, finish_at_us: Option<u64>) -> Result<(), StoreError> {
        let now_us = now().monotonic_us;
        let mut entries_due = None;
        if let Some(entries) = &mut self.capture.entries {
            entries.commit();
            let taken = entries.take_count();
            self.worked += taken;
            if taken > 0 {
                self.usually_taken = (self.usually_taken * 7 + taken) / 8;
                self.gather_until_us = if self.usually_taken < FEW { now_us + GATHER_US } else { 0 };
            }
            entries.sync(now_us);
            let behind = entries.is_behind().then_some(now_us + IDLE_US);
            if entries.serve(now_us) {
                for (number, fd) in entries.sockets() {
                    let data = EventData::new_u64(FIRST_SOCKET + number);
                    // Those that are there already are no error.
                    let _ = epoll::add(&self.epoll, fd, data, EventFlags::IN);
                }
            }
            entries_due = behind.or(entries.due_us());
        }
        let due = [self.drain_at_us, self.digests.packages.deadline_us(), finish_at_us, entries_due];
        let over = self.closed && self.capture.is_empty();
        let gone = !self.closed && self.socket.is_none() && finish_at_us.is_none();
        let timeout_us = if self.digests.has_work() || over || gone {
            Some(0)
        } else {
            due.into_iter().flatten().min().map(|at| at.saturating_sub(now_us))
        };
        if timeout_us.is_none_or(|us| us >= QUIET_US) && self.worked >= BATCH as u64 {
            self.worked = 0;
            self.digests.shrink();
            self.capture.shrink();
            self.teller.shrink();
            self.wanted.shrink_to_fit();
            self.owed.shrink_to_fit();
            self.outbox.shrink_to_fit();
            self.closed_streams.shrink_to_fit();
            crate::sys::heap::trim();
        }
        // Processes are looked at when they first speak, and may be gone soon: only then nobody waits.
        let early_us = self.gather_until_us.saturating_sub(now_us).min(GATHER_US);
        let gathering = early_us > 0 && self.socket.is_some();
        if !gathering && !self.asked_for_talkers {
            let once = EventFlags::IN | EventFlags::ONESHOT;
            self.asked_for_talkers =
                epoll::modify(&self.epoll, &self.talkers, EventData::new_u64(TALKERS), once).is_ok();
        }
        let timeout_us =
            if gathering { Some(timeout_us.unwrap_or(early_us).min(early_us)) } else { timeout_us };
        let mut events = [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let count = self.look(&self.epoll, &mut events, timeout_us)?;
        let mut keys: Vec<u64> = events[..count].iter().map(|event| event.data.u64()).collect();
        if let Some(at) = keys.iter().position(|key| *key == TALKERS) {
            keys.swap_remove(at);
            self.asked_for_talkers = false;
            let count = self.look(&self.talkers, &mut events, Some(0))?;
            keys.extend(events[..count].iter().map(|event| event.data.u64()));
        }
        if count == 0
            && !gathering
            && let Some(entries) = &mut self.capture.entries
        {
            entries.settle();
        }
        self.take(&keys);
        Ok(())
    }

    fn look(
        &self,
        epoll: &OwnedFd,
        events: &mut [epoll::Event],
        us: Option<u64>,
    ) -> Result<usize, StoreError> {
        let timeout = us.map(|us| rustix::event::Timespec {
            tv_sec: (us / 1_000_000) as _,
            tv_nsec: (us % 1_000_000 * 1000) as _,
        });
        match epoll::wait(epoll, events, timeout.as_ref()) {
            Ok(count) => Ok(count),
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(e) => Err(StoreError::io("wait for", &self.places.folder, e.into())),
        }
    }

    /// Takes what there is.
    fn take(&mut self, keys: &[u64]) {
        // In the journal a service is started before it speaks.
        let first_words = |key: &u64| {
            (FIRST_STREAM..FIRST_SOCKET).contains(key) && self.capture.is_silent(key - FIRST_STREAM)
        };
        let new: Vec<u64> = keys.iter().copied().filter(first_words).collect();
        if !new.is_empty() && self.capture.entries.is_some() && self.stalled.is_none() {
            self.drain_or_stall(now().monotonic_us);
        }
        if keys.iter().any(|key| *key >= FIRST_SOCKET) {
            // What the owner said of a unit before that unit said anything itself.
            self.receive();
        }
        for key in keys {
            match *key {
                SOCKET => self.receive(),
                QUERY => {
                    if self.digests.packages.readable() {
                        self.watch_query();
                    }
                }
                number @ FIRST_SOCKET.. => self.socket_ready(number - FIRST_SOCKET),
                key => match self.capture.readable(key - FIRST_STREAM) {
                    Some(ended) => self.ended(ended),
                    None if new.contains(&key) => self.move_to_talkers(key),
                    None => {}
                },
            }
        }
    }

    fn move_to_talkers(&mut self, key: u64) {
        let Some(fd) = self.capture.fd(key - FIRST_STREAM) else { return };
        // Where that can't be, it stays where it is.
        if epoll::add(&self.talkers, fd, EventData::new_u64(key), EventFlags::IN).is_ok() {
            let _ = epoll::delete(&self.epoll, fd);
        }
    }

    /// A socket of the journal has something.
    fn socket_ready(&mut self, number: u64) {
        match self.capture.socket_ready(number) {
            Ok(None) => {}
            Ok(Some(stream)) => {
                let fd = self.capture.entries.as_ref().and_then(|entries| entries.stream(stream));
                let data = EventData::new_u64(FIRST_SOCKET + stream);
                if let Some(fd) = fd
                    && let Err(error) = epoll::add(&self.epoll, fd, data, EventFlags::IN)
                {
                    eprintln!("hence recorder: cannot read a stream: {error}");
                }
            }
            // It leaves the set when it is closed: nobody else has it.
            Err(ended) => drop(ended),
        }
    }

    /// Waits for the answer of a query that has begun. A closed pipe leaves the set by itself.
    fn watch_query(&self) {
        if let Some(pipe) = self.digests.packages.pipe() {
            // The one that is there already is no error.
            let _ = epoll::add(&self.epoll, pipe, EventData::new_u64(QUERY), EventFlags::IN);
        }
    }

    fn receive(&mut self) {
        let mut buffer = [0; LONGEST];
        while let Some(socket) = &self.socket {
            match sys::receive(socket.as_fd(), &mut buffer) {
                Ok((0, _)) => self.owner_is_gone(),
                Ok((n, fd)) => {
                    if let Some(message) = ToRecorder::decode(&buffer[..n]) {
                        self.message(message, fd);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.say();
                    return;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Told once where the owner ended without having read all; what it said before comes next.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {}
                Err(_) => self.owner_is_gone(),
            }
        }
    }

    /// An output pipe is at its end. Closing it does not end its being watched: the owner has it too. The
    /// owner hears of it with others: each wake-up costs it more than a descriptor that stays for a while.
    fn ended(&mut self, Ended { token, fd }: Ended) {
        let _ = epoll::delete(&self.epoll, &fd);
        let _ = epoll::delete(&self.talkers, &fd);
        self.closed_streams.push(token);
        if self.closed_streams.len() >= CLOSED_MOST {
            self.tell_closed();
        } else {
            let at = now().monotonic_us + self.options.delay_us;
            self.drain_at_us.get_or_insert(at);
        }
    }

    fn tell_closed(&mut self) {
        if !self.closed_streams.is_empty() {
            self.outbox.push_back(ToOwner::Closed { tokens: std::mem::take(&mut self.closed_streams) });
        }
    }

    /// Closing it does not end its being watched: this process has the socket as its standard input too.
    fn owner_is_gone(&mut self) {
        if let Some(socket) = self.socket.take() {
            let _ = epoll::delete(&self.epoll, &socket);
            super::note_end(&self.places.lock().with_file_name(super::WATCHING));
        }
        if let Some(entries) = &mut self.capture.entries {
            entries.stop_serving();
        }
    }

    fn message(&mut self, message: ToRecorder, fd: Option<OwnedFd>) {
        let now_us = now().monotonic_us;
        match message {
            ToRecorder::Wake { head, at_once } => {
                self.head = self.head.max(head);
                let at = if at_once { now_us } else { now_us + self.options.delay_us };
                // While stalled, a wake-up is a reason to try again.
                self.drain_at_us = Some(self.drain_at_us.map_or(at, |planned| planned.min(at)));
            }
            ToRecorder::Output { token, unit, invocation, stream, pid, logging } => {
                let Some(fd) = fd else { return };
                let key = self.capture.add(fd, token, Origin { unit, invocation, stream, pid, logging });
                let watched = key.and_then(|key| {
                    let fd = self.capture.fd(key).ok_or(io::ErrorKind::NotFound)?;
                    let data = EventData::new_u64(FIRST_STREAM + key);
                    Ok(epoll::add(&self.epoll, fd, data, EventFlags::IN)?)
                });
                if let Err(error) = watched {
                    eprintln!("hence recorder: cannot capture an output: {error}");
                }
            }
            ToRecorder::EndedBadly { unit, invocation, record } => {
                if self.wanted.len() < WANTED {
                    self.wanted.push_back(Wanted { unit, invocation, record });
                }
                self.drain_at_us.get_or_insert(now_us + self.options.delay_us);
            }
            ToRecorder::Stamp { realtime_us, path } => {
                if let Err(error) = crate::calendar::leave_stamp(std::path::Path::new(&*path), realtime_us) {
                    eprintln!("hence recorder: cannot leave a stamp in {path}: {error}");
                }
            }
        }
    }

    /// Tells the owner what is to be told; what it doesn't take now is told later.
    fn say(&mut self) {
        let Some(socket) = &self.socket else { return self.outbox.clear() };
        while let Some(message) = self.outbox.pop_front() {
            if let Err(e) = sys::send(socket.as_fd(), &message.encode(), None) {
                if e.kind() == io::ErrorKind::WouldBlock {
                    self.outbox.push_front(message);
                    // The owner is far behind: look again when something happens, or with the next retry.
                    let at = now().monotonic_us + self.options.delay_us.max(1000);
                    self.drain_at_us.get_or_insert(at);
                }
                return;
            }
        }
    }

    fn drain_or_stall(&mut self, now_us: u64) {
        self.drain_at_us = None;
        self.tell_closed();
        if self.closed {
            return;
        }
        let before = self.tail;
        match self.begin().and_then(|begun| if begun { self.drain() } else { Ok(()) }) {
            Ok(()) if self.lock.is_none() => self.drain_at_us = Some(now_us + LOCK_US),
            Ok(()) => {
                if self.stalled.take().is_some() {
                    eprintln!("hence recorder: the ledger goes on");
                }
                self.outbox.retain(|m| !matches!(m, ToOwner::Asleep { .. } | ToOwner::Stalled { .. }));
                self.outbox.push_back(ToOwner::Asleep { tail: self.tail });
                if now_us.saturating_sub(self.synced_us) >= SYNC_US {
                    self.synced_us = now_us;
                    if let Some(Err(error)) = self.writer.as_mut().map(Writer::sync) {
                        eprintln!("hence recorder: cannot store durably: {error}");
                    }
                }
            }
            Err(error) => {
                let full = matches!(&error, StoreError::Io { source, .. } if matches!(
                    source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
                let reason = if full { GapReason::DiskFull } else { GapReason::WriteError };
                if self.stalled != Some(reason) {
                    eprintln!("hence recorder: {error}; records wait in the ring");
                    self.outbox.push_back(ToOwner::Stalled { reason });
                }
                self.stalled = Some(reason);
                self.cursor.seek(self.tail);
                self.drain_at_us = Some(now_us + RETRY_US);
            }
        }
        self.cursor.refresh();
        self.worked += self.tail - before;
        // Last words are taken either way: pipes don't wait for disks.
        while let Some(wanted) = self.wanted.pop_front() {
            self.last_words(wanted);
        }
    }

    /// Takes the right to write. `false`: another recorder has it still.
    fn begin(&mut self) -> Result<bool, StoreError> {
        if self.lock.is_none() {
            self.lock = lock::write(&self.places)?;
            if self.lock.is_some() {
                let tail = layout::read_tail(&*self.ring);
                self.tail = tail.map_err(|e| StoreError::io("read", &self.places.ring(), e))?.position;
                self.cursor.seek(self.tail);
            }
        }
        Ok(self.lock.is_some())
    }

    fn drain(&mut self) -> Result<(), StoreError> {
        if self.writer.is_none() {
            let mut writer = Writer::open(&self.places)?;
            retention::finish(&self.places, &mut writer);
            self.writer = Some(writer);
            self.drain_aside()?;
        }
        self.write_owed()?;
        self.cursor.refresh();
        loop {
            let Some(writer) = &mut self.writer else { return Ok(()) };
            match self.cursor.next().map_err(|e| StoreError::io("read", &self.places.ring(), e))? {
                Next::Frame(payload) => match decode(payload) {
                    Ok(record) => {
                        writer.push(record.id.0, payload);
                        self.digests.add(&record);
                        self.teller.take(&record, self.capture.entries.as_mut());
                    }
                    Err(_) => push_own(writer, damaged()),
                },
                Next::End => {
                    if !self.skip_damage()? {
                        break;
                    }
                }
            }
            if self.writer.as_ref().is_some_and(|w| w.batch_bytes() >= BATCH) {
                self.commit()?;
            }
        }
        self.commit()?;
        self.look_far = false;
        Ok(())
    }

    /// Nothing intact is where the cursor stands: goes on behind it where something must be. `false`: this
    /// is the end.
    fn skip_damage(&mut self) -> Result<bool, StoreError> {
        let failed = |e| StoreError::io("read", &self.places.ring(), e);
        let at = self.cursor.position();
        let limit = if self.look_far { self.tail + self.capacity } else { self.head };
        let next = self.cursor.find_next(limit).map_err(failed)?;
        // Records are written in order: what was not there a moment ago is now, unless it is damaged.
        self.cursor.refresh();
        if matches!(self.cursor.next().map_err(failed)?, Next::Frame(_)) {
            self.cursor.seek(at);
            return Ok(true);
        }
        self.cursor.refresh();
        let next = match next {
            Some(next) => next,
            None if self.cursor.position() < self.head => self.head,
            None => return Ok(false),
        };
        self.cursor.seek(next);
        if let Some(writer) = &mut self.writer {
            push_own(writer, damaged());
        }
        Ok(true)
    }

    /// Writes what was collected, moves the tail after it, and keeps the ledger within its bounds.
    fn commit(&mut self) -> Result<(), StoreError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.commit().map_err(|e| StoreError::io("write", &self.places.segments(), e))?;
        let position = self.cursor.position();
        if position != self.tail {
            let tail = Tail { position, last_id: writer.last_id };
            layout::write_tail(&self.ring, tail)
                .map_err(|e| StoreError::io("write", &self.places.ring(), e))?;
            self.tail = position;
        }
        let bounds = Bounds {
            segment: self.options.segment_bytes,
            total: self.options.total_bytes,
            folded: self.options.folded_bytes,
        };
        retention::keep(&self.places, writer, bounds, self.options.fold)
    }

    /// Takes what can be read of rings that were put aside: of another boot, or damaged.
    fn drain_aside(&mut self) -> Result<(), StoreError> {
        for path in layout::put_aside(&self.places) {
            let Some(writer) = &mut self.writer else { return Ok(()) };
            if let Ok(file) = File::open(&path) {
                let damage = Header::read(&file).is_err() || layout::sound_tail(&file).is_err();
                layout::salvage_records(&file, |record, payload| writer.push(record.id.0, payload))
                    .map_err(|e| StoreError::io("read", &path, e))?;
                if damage {
                    push_own(writer, damaged());
                }
                writer.commit().map_err(|e| StoreError::io("write", &self.places.segments(), e))?;
            }
            layout::remove_aside(&path).map_err(|e| StoreError::io("remove", &path, e))?;
        }
        Ok(())
    }

    fn last_words(&mut self, wanted: Wanted) {
        let (words, closed) = self.capture.last_words(&wanted.unit, wanted.invocation);
        closed.into_iter().for_each(|ended| self.ended(ended));
        for (stream, text) in words {
            self.owe(Record {
                unit: Some(wanted.unit.clone()),
                invocation: Some(wanted.invocation),
                causes: vec![Cause { record: wanted.record, rule: None }],
                ..own(Fact::LastWords { stream, text })
            });
        }
        self.write_owed_or_wait();
    }

    fn write_digests(&mut self) {
        let answered = self.digests.packages.take_answered();
        let dropped = self.digests.take_dropped();
        if dropped > 0 {
            eprintln!("hence recorder: too many files at once, {dropped} were not digested");
        }
        if answered.is_empty() {
            return;
        }
        for Job { cause, unit, invocation, path, version, sha256, package } in answered {
            self.owe(Record {
                unit,
                invocation,
                causes: vec![Cause { record: cause, rule: None }],
                ..own(Fact::Digest { path, version, sha256, package })
            });
        }
        self.write_owed_or_wait();
    }

    fn owe(&mut self, record: Record) {
        if self.stalled.is_some() && self.owed.len() >= OWED {
            self.owed_lost += 1;
        } else {
            self.owed.push_back(record);
        }
    }

    fn write_owed_or_wait(&mut self) {
        if self.stalled.is_none() && self.write_owed().is_err() {
            // The next draining meets the same trouble and tells of it.
            let at = now().monotonic_us + self.options.delay_us;
            self.drain_at_us.get_or_insert(at);
        }
    }

    /// Writes the recorder's own records.
    fn write_owed(&mut self) -> Result<(), StoreError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if self.owed.is_empty() && self.owed_lost == 0 {
            return Ok(());
        }
        if self.owed_lost > 0 {
            push_own(writer, own(Fact::Gap { lost: self.owed_lost, reason: GapReason::DiskFull }));
        }
        self.owed.iter().for_each(|record| push_own(writer, record.clone()));
        writer.commit().map_err(|e| StoreError::io("write", &self.places.segments(), e))?;
        self.owed.clear();
        self.owed.shrink_to(OWED);
        self.owed_lost = 0;
        Ok(())
    }
}

/// A record of the recorder; it gets its id when it is written.
fn own(fact: Fact) -> Record {
    Record {
        id: RecordId(OWN),
        at: now(),
        unit: None,
        invocation: None,
        causes: Vec::new(),
        certainty: Certainty::Observed,
        fact,
    }
}

fn damaged() -> Record {
    own(Fact::Gap { lost: 0, reason: GapReason::Damaged })
}

fn push_own(writer: &mut Writer, mut record: Record) {
    record.id = RecordId(writer.next_own());
    let mut payload = Vec::new();
    encode(&record, &mut payload);
    writer.push(record.id.0, &payload);
}
