//! The event loop: one epoll instance, everything that is ready handled in bounded batches.
//!
//! Messages of services come before the ends of processes, so that what a service said last is known
//! before its end. Nothing polls: without events and deadlines a wait lasts forever.

use crate::{
    devices::Devices,
    error::{HostError, HostStep},
    executor::Report,
    host::{End, Host, Watch},
    notify, process,
    protection::{self, REFUSABLE},
    sys::{datagram, pidfd, signal, spawn::status},
    zone::ZoneWatch,
};
use hence_engine::{Event, Keeping, UnitId, event::Deprivation};
use hence_ledger::{ExitKind, SpawnStep};
use hence_unit::config::ServiceType;
use rustix::{
    event::epoll,
    fs::{Mode, OFlags, inotify},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    collections::VecDeque,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

/// Ready descriptors that one wake takes in.
const READY: usize = 256;
/// Messages, ends and signals that one wake handles of each.
const BATCH: usize = 512;
/// How long a wait lasts whose timer could not be set, in nanoseconds.
const UNTIMED_NS: i64 = 100_000_000;
/// So often in a row a wait may fail, and what lies between: what is transient is over by then.
const FAILURES: u32 = 100;
const FAILURE_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// Wakes in a row that reaping may wait for messages.
const DEFERRALS: u8 = 3;

/// What a foreign descriptor is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

/// A foreign descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As it was given to [`Host::register`].
    pub token: u32,
    /// It can be read, or reading will show the error.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

/// What an epoll event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Signals,
    Notify,
    Groups,
    Paths,
    Mounts,
    Devices,
    Swaps,
    Zone,
    Timer,
    Clock,
    Process(u32),
    Executor(u32),
    Socket(UnitId, u16),
    Kept(u32),
    Automount(UnitId),
    Foreign(u32),
}

impl Token {
    pub(crate) fn bits(self) -> u64 {
        let (kind, value) = match self {
            Token::Signals => (0, 0),
            Token::Notify => (1, 0),
            Token::Groups => (2, 0),
            Token::Paths => (9, 0),
            Token::Mounts => (10, 0),
            Token::Devices => (11, 0),
            Token::Swaps => (12, 0),
            Token::Zone => (15, 0),
            Token::Timer => (3, 0),
            Token::Clock => (4, 0),
            Token::Process(pid) => (5, u64::from(pid)),
            Token::Executor(pid) => (6, u64::from(pid)),
            Token::Socket(unit, index) => (7, u64::from(unit.0) << 16 | u64::from(index)),
            Token::Kept(number) => (13, u64::from(number)),
            Token::Automount(unit) => (14, u64::from(unit.0)),
            Token::Foreign(token) => (8, u64::from(token)),
        };
        kind << 56 | value
    }

    fn of(bits: u64) -> Token {
        let value = bits & ((1 << 56) - 1);
        match bits >> 56 {
            0 => Token::Signals,
            1 => Token::Notify,
            2 => Token::Groups,
            9 => Token::Paths,
            10 => Token::Mounts,
            11 => Token::Devices,
            12 => Token::Swaps,
            15 => Token::Zone,
            13 => Token::Kept(value as u32),
            14 => Token::Automount(UnitId(value as u32)),
            3 => Token::Timer,
            4 => Token::Clock,
            5 => Token::Process(value as u32),
            6 => Token::Executor(value as u32),
            7 => Token::Socket(UnitId((value >> 16) as u32), value as u16),
            _ => Token::Foreign(value as u32),
        }
    }
}

/// What the loop carries from one wake to the next.
#[derive(Default)]
pub(crate) struct LoopState {
    /// Children may be left to reap.
    reap: bool,
    /// Messages may be left to read.
    messages: bool,
    deferred: u8,
    /// Waits in a row that failed.
    failures: u32,
    /// Memory is to be given back before the next sleep.
    pub trim: bool,
    /// Messages that were dropped: too long, or of nobody's process.
    pub dropped_messages: u64,
}

impl LoopState {
    /// Looks for everything that may have come while nobody looked.
    pub fn take_all_in(&mut self) {
        (self.reap, self.messages) = (true, true);
    }
}

/// Removes the sockets of those that were killed.
fn remove_stale_sockets(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix("notify-")).and_then(|n| n.parse::<u32>().ok());
        // One that leads to the socket of a later hence is in use.
        let leads_on = entry.file_type().is_ok_and(|t| t.is_symlink()) && entry.path().exists();
        if owner.is_some_and(|pid| crate::process::stat(pid).is_none()) && !leads_on {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Lets services of an earlier hence, which was killed, report to this one: by a link in the place of the
/// socket that they know. In the abstract namespace there are no links.
pub(crate) fn lead_to(earlier: &str, address: &str) {
    let both = earlier.starts_with('/') && address.starts_with('/') && earlier != address;
    if both && Path::new(earlier).parent() == Path::new(address).parent() {
        let _ = std::fs::remove_file(earlier);
        // Without it their messages are lost, and nothing else.
        let _ = std::os::unix::fs::symlink(address, earlier);
    }
}

/// Opens the socket that services report to: in our folder, or without one in the abstract namespace.
pub(crate) fn notify_socket(folder: Option<&Path>) -> io::Result<(OwnedFd, String)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::sockopt::set_socket_passcred(&socket, true)?;
    // A burst of messages of many services must fit; refused above the system's limit without privilege.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20);
    let (address, text) = match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            let own = std::process::id();
            // Of several, each has a socket of its own.
            let path = folder.join(if own == 1 { "notify".to_owned() } else { format!("notify-{own}") });
            let _ = std::fs::remove_file(&path);
            remove_stale_sockets(folder);
            let text = path.display().to_string();
            (SocketAddrUnix::new(&path)?, text)
        }
        None => {
            let name = format!("hence/{}/notify", std::process::id());
            (SocketAddrUnix::new_abstract_name(name.as_bytes())?, format!("@{name}"))
        }
    };
    rustix::net::bind(&socket, &address)?;
    if text.starts_with('/') {
        // Services of every user report here; who sent what is told by the kernel.
        rustix::fs::chmod(&text, Mode::from_raw_mode(0o777))?;
    }
    Ok((socket, text))
}

impl Host {
    pub(crate) fn watch_own_descriptors(&self) -> Result<(), HostError> {
        let own: [(&OwnedFd, Token); 6] = [
            (&self.signals, Token::Signals),
            (&self.notify, Token::Notify),
            (&self.inotify, Token::Groups),
            (&self.path_inotify, Token::Paths),
            (&self.timer.fd, Token::Timer),
            (&self.jumps.fd, Token::Clock),
        ];
        for (fd, token) in own {
            let data = epoll::EventData::new_u64(token.bits());
            epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
                .map_err(|e| HostError::new(HostStep::EventLoop, "epoll", e))?;
        }
        Ok(())
    }

    /// Waits for a descriptor to become readable. False where the system refuses.
    pub(crate) fn watch_descriptor(&self, fd: &OwnedFd, token: Token) -> bool {
        let data = epoll::EventData::new_u64(token.bits());
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN).is_ok()
    }

    /// Waits for a descriptor of the caller's too; again with another interest to change it.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn register(&mut self, fd: impl AsFd, token: u32, interest: Interest) -> Result<(), HostError> {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, interest.read);
        flags.set(epoll::EventFlags::OUT, interest.write);
        let data = epoll::EventData::new_u64(Token::Foreign(token).bits());
        let added = match epoll::add(&self.epoll, fd.as_fd(), data, flags) {
            Err(rustix::io::Errno::EXIST) => epoll::modify(&self.epoll, fd.as_fd(), data, flags),
            other => other,
        };
        added.map_err(|e| HostError::new(HostStep::Register, "", e))
    }

    /// No longer waits for a descriptor of the caller's. To be called before it is closed.
    pub fn unregister(&mut self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd.as_fd());
    }

    /// What is mounted now; from now on changes are events. Where the kernel refuses, there are none.
    pub fn watch_mounts(&mut self) -> Event {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open("/proc/self/mountinfo", flags, Mode::empty()) {
            self.watch_mountinfo(file);
        }
        let mut events = VecDeque::new();
        self.mounts_changed(&mut events);
        events.pop_front().unwrap_or_else(|| Event::Mounts(Vec::new()))
    }

    /// Tells what is mounted; where that can't be read, later.
    pub(crate) fn mounts_changed(&mut self, events: &mut VecDeque<Event>) {
        match crate::mountinfo::units() {
            Ok(mounted) => events.push_back(Event::Mounts(mounted)),
            Err(_) => self.again.mounts(),
        }
    }

    /// Tells what is swapped to; where that can't be read, later.
    pub(crate) fn swaps_changed(&mut self, events: &mut VecDeque<Event>) {
        match crate::swaps::try_read() {
            Ok((on, aliases)) => events.push_back(Event::Swaps { on, aliases }),
            Err(_) => self.again.swaps(),
        }
    }

    fn watch_mountinfo(&mut self, file: OwnedFd) {
        self.mountinfo = self.watch_file(file, Token::Mounts);
    }

    /// A file of the kernel's that tells its changes.
    fn watch_file(&mut self, file: OwnedFd, token: Token) -> Option<OwnedFd> {
        let data = epoll::EventData::new_u64(token.bits());
        // The kernel raises it once for each change; without "edge" it would be raised for ever, as the file
        // isn't read by this descriptor.
        let flags = epoll::EventFlags::PRI | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &file, data, flags).is_ok().then_some(file)
    }

    /// What is swapped to now; from now on changes are events.
    pub fn watch_swaps(&mut self) -> Event {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open("/proc/swaps", flags, Mode::empty()) {
            self.swaps = self.watch_file(file, Token::Swaps);
        }
        let mut events = VecDeque::new();
        self.swaps_changed(&mut events);
        events.pop_front().unwrap_or_else(|| Event::Swaps { on: Vec::new(), aliases: Vec::new() })
    }

    /// Does [`hence_engine::Effect::WatchDevice`].
    pub(crate) fn watch_device(&mut self, unit: UnitId, path: &str) -> Option<bool> {
        if self.devices.is_none() {
            let devices = Devices::new().ok()?;
            for fd in devices.descriptors() {
                self.watch_descriptor(fd, Token::Devices);
            }
            self.devices = Some(devices);
        }
        self.devices.as_mut()?.watch(unit, path)
    }

    pub(crate) fn forget_device(&mut self, unit: UnitId) {
        if let Some(devices) = &mut self.devices {
            devices.forget(unit);
        }
    }

    /// Messages to the notify socket that were dropped so far.
    pub fn dropped_messages(&self) -> u64 {
        self.loop_state.dropped_messages
    }

    /// Connections that were closed because this process had no descriptor left for them.
    pub fn refused_connections(&self) -> u64 {
        self.sockets.refused
    }

    /// Waits until something happens or the deadline is reached, and brings what happened: the host's own
    /// as events, in order; descriptors of the caller's in `foreign`. [`Event::Deadline`] comes last.
    ///
    /// # Errors
    /// Where epoll itself fails; that doesn't happen in order.
    pub fn wait(
        &mut self,
        deadline_monotonic_us: Option<u64>,
        events: &mut VecDeque<Event>,
        foreign: &mut Vec<Ready>,
    ) -> Result<(), HostError> {
        let failed = |e: io::Error| HostError::new(HostStep::Wait, "", e);
        let deadline_us = [deadline_monotonic_us, self.again.at_us()].into_iter().flatten().min();
        // Without its timer the wait itself has an end: a little late, but none is missed.
        let untimed = self.timer.arm(deadline_us).is_err();
        self.keeping.close_offers();
        let busy = !self.pending.is_empty()
            || self.loop_state.reap
            || self.loop_state.messages
            || !self.rechecks.is_empty();
        events.append(&mut self.pending);
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); READY];
        let zero = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        if !busy && std::mem::take(&mut self.loop_state.trim) {
            crate::sys::heap::trim();
        }
        let short = rustix::time::Timespec { tv_sec: 0, tv_nsec: UNTIMED_NS };
        let end = if busy { Some(&zero) } else { untimed.then_some(&short) };
        let ready = match epoll::wait(&self.epoll, &mut buffer[..], end) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(e) => {
                self.loop_state.failures += 1;
                if self.loop_state.failures > FAILURES {
                    return Err(failed(e.into()));
                }
                std::thread::sleep(FAILURE_PAUSE);
                self.loop_state.take_all_in();
                return Ok(());
            }
        };
        self.loop_state.failures = 0;
        let mut deadline = untimed;
        let mut signalled = false;
        for event in &*ready {
            match Token::of(event.data.u64()) {
                Token::Notify => self.loop_state.messages = true,
                Token::Signals => signalled = true,
                Token::Timer => {
                    self.timer.fired();
                    deadline = true;
                }
                Token::Clock => events.extend(self.jumps.fired()),
                _ => {}
            }
        }
        if self.loop_state.messages {
            self.read_messages(events);
        }
        if signalled {
            self.read_signals(events);
        }
        if self.loop_state.reap && (!self.loop_state.messages || self.loop_state.deferred >= DEFERRALS) {
            self.loop_state.deferred = 0;
            self.reap(events);
        } else if self.loop_state.reap {
            self.loop_state.deferred += 1;
        }
        for event in ready {
            self.dispatch(Token::of(event.data.u64()), event.flags, events, foreign);
        }
        self.try_again(events);
        let mut units = std::mem::take(&mut self.rechecks);
        units.sort_unstable();
        units.dedup();
        for unit in units {
            self.recheck(unit, events);
        }
        events.append(&mut self.pending);
        if deadline {
            events.push_back(Event::Deadline);
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        token: Token,
        flags: epoll::EventFlags,
        events: &mut VecDeque<Event>,
        foreign: &mut Vec<Ready>,
    ) {
        match token {
            Token::Groups => self.read_group_events(events),
            Token::Paths => self.read_path_events(events),
            Token::Mounts => self.mounts_changed(events),
            Token::Swaps => self.swaps_changed(events),
            Token::Devices => {
                if let Some(devices) = &mut self.devices {
                    devices.changed(events);
                }
            }
            Token::Process(pid) => {
                self.watched_ended(pid, flags.contains(epoll::EventFlags::HUP), events);
            }
            Token::Executor(pid) => {
                let unit = self.processes.get(&pid).map(|tracked| tracked.unit);
                unit.into_iter().for_each(|unit| self.executor_reported(pid, unit, events));
            }
            Token::Socket(unit, index) => {
                if self.sockets.traffic(&self.epoll, unit, index, events) {
                    self.again.accepts();
                }
            }
            Token::Zone => {
                let zone = self.zone.as_mut().and_then(ZoneWatch::changed);
                events.extend(zone.map(|zone| Event::TimeZoneChanged { zone: zone.as_str().into() }));
            }
            Token::Automount(unit) => self.automount_tells(unit, events),
            Token::Kept(number) => self.keeping.hung_up(&self.epoll, number, events),
            Token::Foreign(token) => {
                use epoll::EventFlags as F;
                let read = flags.intersects(F::IN | F::HUP | F::ERR | F::RDHUP);
                let write = flags.intersects(F::OUT | F::HUP | F::ERR);
                foreign.push(Ready { token, read, write });
            }
            Token::Signals | Token::Notify | Token::Timer | Token::Clock => {}
        }
    }

    fn read_messages(&mut self, events: &mut VecDeque<Event>) {
        let mut buffer = [0u8; notify::MESSAGE_BYTES];
        for _ in 0..BATCH {
            let received = match datagram::receive(self.notify.as_fd(), &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.loop_state.messages = false;
                    return;
                }
                // It wasn't taken: the next wake tries again, after all else that is ready.
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.loop_state.messages = false;
                    return;
                }
                Err(_) => continue,
                received => received.ok().filter(|datagram| !datagram.cut),
            };
            let sender = received.and_then(|datagram| Some((datagram.sender?, datagram)));
            let known = sender.filter(|((pid, ..), _)| *pid > 0);
            let known = known.and_then(|(sender, got)| Some((got, sender, self.unit_of(sender.0)?)));
            let Some((received, (pid, uid, _), unit)) = known else {
                self.loop_state.dropped_messages += 1;
                continue;
            };
            let mut message = notify::parse(&buffer[..received.length]);
            match &mut message.keeping {
                Some(Keeping::Keep { .. }) if received.passed.is_empty() => message.keeping = None,
                Some(Keeping::Keep { descriptors, .. }) => {
                    *descriptors = self.keeping.offer(received.passed);
                }
                // What else was sent along is closed here, which is what BARRIER=1 waits for.
                Some(Keeping::Drop(_)) | None => {}
            }
            let may_be_main =
                |main: &u32| self.may_be_main(unit, *main) || uid == 0 && process::stat(*main).is_some();
            message.main_pid = message.main_pid.filter(may_be_main);
            events.push_back(Event::Notify { unit, pid, uid, message });
        }
    }

    fn read_signals(&mut self, events: &mut VecDeque<Event>) {
        for _ in 0..BATCH {
            let received = signal::receive(self.signals.as_fd());
            let all = received.len() < signal::READ_MAX;
            for signal::Received { signal, pid, uid } in received {
                if i32::from(signal) == libc::SIGCHLD {
                    self.loop_state.reap = true;
                } else {
                    events.push_back(Event::Signal { signal, pid, uid });
                }
            }
            if all {
                return;
            }
        }
    }

    /// Reaps what has ended, ours and adopted, a bounded number at a time.
    fn reap(&mut self, events: &mut VecDeque<Event>) {
        for _ in 0..BATCH {
            let Some(reaped) = signal::reap() else {
                self.loop_state.reap = false;
                return;
            };
            let Some(tracked) = self.processes.remove(&reaped.pid) else {
                if self.has_groups().is_none() {
                    self.recheck_all();
                }
                continue;
            };
            let unit = tracked.unit;
            let awaited = self.row(unit).is_some_and(|r| r.wants_empty || r.released);
            // Without groups that is a look at every process: once for all that ended together.
            let at_once = awaited && self.has_groups().is_some();
            if awaited && !at_once {
                self.rechecks.push(unit);
            }
            if tracked.end != End::Exited {
                self.found_gone(reaped.pid);
                let (pid, start_ticks) = (reaped.pid, tracked.start_ticks);
                if tracked.end == End::Gone {
                    events.push_back(Event::Gone { unit, pid, start_ticks, exit: Some(reaped.exit) });
                }
                if at_once {
                    self.recheck(unit, events);
                }
                continue;
            }
            if self.executors.contains_key(&reaped.pid) {
                self.executor_reported(reaped.pid, unit, events);
            }
            let early = reaped.exit.kind == ExitKind::Exited && reaped.exit.status >= status::CHDIR;
            let spawn_error = if early { self.spawn_error(reaped.pid) } else { None };
            self.executor_errors.remove(&reaped.pid);
            if let Some(fd) = self.executors.remove(&reaped.pid) {
                let _ = epoll::delete(&self.epoll, &fd);
            }
            let killed = matches!(reaped.exit.kind, ExitKind::Killed | ExitKind::Dumped);
            if killed
                && reaped.exit.status == libc::SIGSYS
                && let Some(call) = crate::refused::call_of(reaped.pid)
            {
                events.push_back(Event::CallRefused { unit, call: call.into() });
            }
            if self.row(unit).is_some_and(|row| row.config.id().kind() == hence_unit::UnitKind::Mount) {
                // What the command did is known before its end is.
                self.mounts_changed(events);
            }
            events.push_back(Event::Exited {
                pid: reaped.pid,
                exit: Some(reaped.exit),
                cpu_us: reaped.cpu_us,
                peak_bytes: reaped.peak_bytes,
                spawn_error,
            });
            if at_once {
                self.recheck(unit, events);
            }
        }
    }

    fn spawn_error(&mut self, pid: u32) -> Option<(SpawnStep, i32)> {
        self.launcher.failure(pid).or_else(|| self.executor_errors.remove(&pid))
    }

    /// An orphan ended, of which the unit isn't known.
    fn recheck_all(&mut self) {
        let wants = |row: &Option<crate::host::Row>| row.as_ref().is_some_and(|r| r.wants_empty);
        let units = self.rows.iter().enumerate().filter(|(_, r)| wants(r));
        self.rechecks.extend(units.map(|(i, _)| UnitId(i as u32)));
    }

    /// A watched process that wasn't our child has ended. If it became one, its status comes by reaping.
    fn watched_ended(&mut self, pid: u32, hung_up: bool, events: &mut VecDeque<Event>) {
        let Some(fd) = self.processes.get_mut(&pid).and_then(|p| p.pidfd.take()) else { return };
        let stat = process::stat(pid);
        let exit = match pidfd::ended(&fd) {
            pidfd::Ended::So(exit) => Some(exit),
            // The pidfd hangs up when its parent has reaped it: then the kernel tells how it ended.
            pidfd::Ended::NotReaped
                if !hung_up && stat.is_some_and(|s| s.zombie && s.parent != std::process::id()) =>
            {
                let data = epoll::EventData::new_u64(Token::Process(pid).bits());
                if epoll::modify(&self.epoll, &fd, data, epoll::EventFlags::empty()).is_ok()
                    && let Some(tracked) = self.processes.get_mut(&pid)
                {
                    tracked.pidfd = Some(fd);
                    // Its parent may not reap it for long; a zombie does not keep a unit from being empty.
                    let unit = tracked.unit;
                    self.recheck_later(unit);
                    return;
                }
                None
            }
            pidfd::Ended::NotReaped | pidfd::Ended::Untold => None,
        };
        let _ = epoll::delete(&self.epoll, &fd);
        if process::stat(pid).is_some_and(|s| s.zombie && s.parent == std::process::id()) {
            self.loop_state.reap = true;
            return;
        }
        let Some(tracked) = self.processes.remove(&pid) else { return };
        let unit = tracked.unit;
        let start_ticks = tracked.start_ticks;
        self.found_gone(pid);
        match tracked.end {
            End::Gone => events.push_back(Event::Gone { unit, pid, start_ticks, exit }),
            End::Exited => {
                let spawn_error = None;
                events.push_back(Event::Exited { pid, exit, cpu_us: 0, peak_bytes: 0, spawn_error });
            }
            End::Silent => {}
        }
        self.recheck_later(unit);
    }

    /// One of a unit's processes has ended: somebody may wait for it to have been the last.
    fn recheck_later(&mut self, unit: UnitId) {
        if self.row(unit).is_some_and(|r| r.wants_empty || r.released) {
            self.rechecks.push(unit);
        }
    }

    /// Waits for an executor's word: an error, or the end of the pipe when the program was executed.
    /// Whether it will be heard.
    pub(crate) fn watch_executor(&mut self, pid: u32, read: OwnedFd) -> bool {
        let watched = self.watch_descriptor(&read, Token::Executor(pid));
        if watched {
            self.executors.insert(pid, read);
        }
        watched
    }

    fn executor_reported(&mut self, pid: u32, unit: UnitId, events: &mut VecDeque<Event>) {
        let Some(fd) = self.executors.remove(&pid) else { return };
        let mut report = [0u8; Report::BYTES];
        let _ = rustix::io::ioctl_fionbio(&fd, true);
        loop {
            match rustix::io::read(&fd, &mut report) {
                Ok(Report::BYTES) => match Report::decode(report) {
                    Some(Report::Failed(step, errno)) => {
                        self.executor_errors.insert(pid, (step, errno));
                    }
                    Some(Report::Refused(refused, lacks)) => {
                        let what = REFUSABLE.get(usize::from(refused.what)).copied().unwrap_or_default();
                        let lost = Deprivation {
                            what: what.into(),
                            missing: if lacks { protection::needs(refused.what) } else { "" }.into(),
                            errno: refused.errno,
                            without: refused.without,
                        };
                        events.push_back(Event::Deprived { pid, lost });
                    }
                    None => {}
                },
                // It is still at work.
                Err(rustix::io::Errno::AGAIN) => {
                    self.executors.insert(pid, fd);
                    return;
                }
                _ => break,
            }
        }
        let _ = epoll::delete(&self.epoll, &fd);
        if !self.executor_errors.contains_key(&pid) && self.waits_for_program(unit) {
            events.push_back(Event::Executed { pid });
        }
    }

    /// Whether the unit is up only when its process has become its program.
    fn waits_for_program(&self, unit: UnitId) -> bool {
        let service = self.row(unit).and_then(|row| row.config.service());
        service.is_some_and(|service| service.service_type == ServiceType::Exec)
    }

    fn read_group_events(&mut self, events: &mut VecDeque<Event>) {
        let mut changed: Vec<i32> = changes(&self.inotify).into_iter().map(|(watch, _)| watch).collect();
        if changed.contains(&-1) {
            // Which were lost isn't known, so all are looked at.
            changed = self.watches.keys().copied().collect();
        }
        changed.dedup();
        for watch in changed {
            match self.watches.get(&watch).copied() {
                Some(Watch::Populated(unit)) => {
                    self.freezer_event(unit, events);
                    self.emptied(unit, events);
                }
                Some(Watch::Memory(unit)) => self.memory_event(unit, events),
                Some(Watch::Frozen(unit)) => self.slice_freezer_event(unit, events),
                Some(Watch::PidFiles) => self.pid_file_event(watch, events),
                None => {}
            }
        }
    }

    fn read_path_events(&mut self, events: &mut VecDeque<Event>) {
        for (watch, flags) in changes(&self.path_inotify) {
            self.paths.changed(&self.path_inotify, watch, flags, events);
        }
    }

    /// The number of the epoll instance, for callers that nest it in their own.
    pub fn epoll_descriptor(&self) -> i32 {
        self.epoll.as_raw_fd()
    }
}

/// What an inotify instance has to tell: one buffer of it, the rest at the next wake. Watch -1: some were
/// lost.
fn changes(inotify: &OwnedFd) -> Vec<(i32, inotify::ReadFlags)> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 8192];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut found = Vec::new();
    while let Ok(event) = reader.next() {
        found.push((event.wd(), event.events()));
        if reader.is_buffer_empty() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_their_bits() {
        for token in [
            Token::Signals,
            Token::Notify,
            Token::Groups,
            Token::Paths,
            Token::Timer,
            Token::Clock,
            Token::Process(4_194_304),
            Token::Executor(7),
            Token::Kept(u32::MAX),
            Token::Automount(UnitId(u32::MAX)),
            Token::Socket(UnitId(u32::MAX), u16::MAX),
            Token::Foreign(u32::MAX),
        ] {
            assert_eq!(Token::of(token.bits()), token);
        }
    }
}
