//! The sockets that programs log to: /dev/log, the native one and that of streams, and that of `journalctl
//! --sync`; systemd-journald's own names, served where nobody else serves them. What is sent is hostile until
//! proven otherwise: one turn reads so much and no more, and everything that is kept has a bound.

use super::copies::{CONSOLE, KERNEL};
use super::intake::{Credentials, Intake, LONGEST_MESSAGE, Source, UnitOf, lines};
use super::random_id;
use super::settings::Logging;
use super::speaker::Speaker;
use super::varlink::{self, Ask};
use crate::sys::{datagram, socket};
use hence_ledger::{Stamp, Text};
use rustix::fs::{CWD, SealFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Datagrams that are read before others have their turn.
const TURN: usize = 256;
/// How much of a stream is read in one turn, in bytes.
const CHUNK: usize = 32 << 10;
/// What a datagram usually fits into, in bytes.
const USUAL: usize = 64 << 10;
/// What the kernel keeps of datagrams that wait, in bytes.
const WAITING: i32 = 8 << 20;
const LONGEST_LINE: usize = 48 << 10;
/// Streams at a time.
const STREAMS: usize = 4096;
/// All lines together that have no end yet.
const ALL_PARTIAL: usize = 1 << 20;
/// Lines that a stream begins with, and their length together.
const HEADER_LINES: usize = 7;
const HEADER: usize = 4 << 10;

const SYSLOG: u64 = 0;
const NATIVE: u64 = 1;
const LISTENER: u64 = 2;
const VARLINK: u64 = 3;
const FIRST_STREAM: u64 = 4;

/// A stream that a program connected.
#[derive(Debug)]
struct Connection {
    fd: OwnedFd,
    who: Credentials,
    partial: Vec<u8>,
    /// Once its first lines are read.
    source: Option<Source>,
    /// It asks for something, rather than to log.
    asks: bool,
}

/// What came of a turn.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Nothing to be done.
    Done,
    /// A stream to be watched, under this number.
    Connected(u64),
    /// Something is asked for, to be answered under this number.
    Asked(u64, Ask),
    /// A stream that is at its end, to be watched no longer.
    Ended(OwnedFd),
}

/// The sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    datagrams: [Option<OwnedFd>; 2],
    listener: Option<OwnedFd>,
    varlink: Option<OwnedFd>,
    system_log: Option<SystemLog>,
    paths: Vec<PathBuf>,
    /// Device and inode of the native socket's name.
    native: Option<(u64, u64)>,
    connections: Vec<Option<Connection>>,
    partials: usize,
    buffer: Vec<u8>,
}

/// Where a system log listens for what is sent on to it, and the socket that sends.
#[derive(Debug)]
struct SystemLog {
    socket: UnixDatagram,
    path: PathBuf,
}

impl SystemLog {
    fn in_folder(folder: &Path) -> Option<SystemLog> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(SystemLog { socket, path: folder.join("syslog") })
    }

    /// Sends a message on. Nobody listens, or not fast enough: the journal has it all the same.
    fn send(&self, message: &[u8]) {
        let _ = self.socket.send_to(message, &self.path);
    }
}

impl Sockets {
    /// Serves those that nobody serves, in that folder, with a link to one of them. Returns whether all are
    /// ours now, and whether some are since this call. `loud`: says what hinders.
    pub fn serve(&mut self, folder: &Path, dev_log: &Path, loud: bool) -> (bool, bool) {
        if std::fs::create_dir_all(folder).is_err() {
            return (false, false);
        }
        let mut some = false;
        let mut take = |slot: &mut Option<OwnedFd>, name: &str, kind| {
            if slot.is_some() {
                return;
            }
            let path = folder.join(name);
            match bind(&path, kind) {
                Ok(bound) => {
                    self.paths.push(path);
                    *slot = Some(bound);
                    some = true;
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse || !loud => {}
                Err(e) => eprintln!("hence recorder: cannot serve {}: {e}", path.display()),
            }
        };
        let [syslog, native] = &mut self.datagrams;
        take(syslog, "dev-log", SocketType::DGRAM);
        let before = native.is_some();
        take(native, "socket", SocketType::DGRAM);
        if native.is_some() && !before {
            use std::os::unix::fs::MetadataExt;
            let status = std::fs::symlink_metadata(folder.join("socket"));
            self.native = status.map(|status| (status.dev(), status.ino())).ok();
        }
        take(&mut self.listener, "stdout", SocketType::STREAM);
        take(&mut self.varlink, "io.systemd.journal", SocketType::STREAM);
        if self.varlink.is_some() {
            let mode = std::fs::Permissions::from_mode(0o600);
            let _ = std::fs::set_permissions(folder.join("io.systemd.journal"), mode);
        }
        if some && syslog.is_some() {
            self.system_log = SystemLog::in_folder(folder);
            let _ = link_to(&folder.join("dev-log"), dev_log);
        }
        (self.datagrams.iter().all(Option::is_some) && self.listener.is_some(), some)
    }

    /// Whether what is sent to this path comes here.
    pub fn serves(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let place = std::fs::symlink_metadata(path).map(|status| (status.dev(), status.ino())).ok();
        place.is_some() && place == self.native
    }

    /// What is to be watched, by number.
    pub fn all(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        let [syslog, native] = &self.datagrams;
        let (listener, varlink) = (&self.listener, &self.varlink);
        let all = [(SYSLOG, syslog), (NATIVE, native), (LISTENER, listener), (VARLINK, varlink)];
        all.into_iter().filter_map(|(number, fd)| Some((number, fd.as_ref()?.as_fd())))
    }

    /// A stream, by number.
    pub fn stream(&self, number: u64) -> Option<BorrowedFd<'_>> {
        let at = usize::try_from(number.checked_sub(FIRST_STREAM)?).ok()?;
        Some(self.connections.get(at)?.as_ref()?.fd.as_fd())
    }

    /// Serves no longer; whoever comes next may. Streams stay.
    pub fn close(&mut self) {
        (self.datagrams, self.listener, self.varlink) = ([None, None], None, None);
        for path in self.paths.drain(..) {
            // Not one that another one has made its own meanwhile.
            if answers(&path, SocketType::DGRAM).is_err() && answers(&path, SocketType::STREAM).is_err() {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Whether no stream is left.
    pub fn is_idle(&self) -> bool {
        self.connections.iter().all(Option::is_none)
    }

    /// One of them has something.
    pub fn ready(&mut self, number: u64, intake: &mut Intake, unit_of: UnitOf<'_>, at: Stamp) -> Turn {
        match number {
            SYSLOG | NATIVE => self.datagrams(number as usize, intake, unit_of, at),
            LISTENER | VARLINK => return self.accept(number == VARLINK),
            stream => return self.read((stream - FIRST_STREAM) as usize, intake, unit_of, at),
        }
        Turn::Done
    }

    fn datagrams(&mut self, which: usize, intake: &mut Intake, unit_of: UnitOf<'_>, at: Stamp) {
        for _ in 0..TURN {
            let Some(fd) = &self.datagrams[which] else { return };
            let waiting = rustix::io::ioctl_fionread(fd).unwrap_or(0) as usize;
            let size = waiting.clamp(USUAL, LONGEST_MESSAGE);
            if self.buffer.len() < size {
                self.buffer.resize(size, 0);
            }
            let Ok(got) = datagram::receive(fd.as_fd(), &mut self.buffer) else { return };
            let Some((pid, uid, gid)) = got.sender.filter(|_| !got.cut) else { continue };
            let who = Credentials { pid, uid, gid };
            let bytes = &self.buffer[..got.length];
            match (which as u64, got.passed.into_iter().next()) {
                (NATIVE, Some(memory)) if bytes.is_empty() => {
                    if let Some(bytes) = sealed(&memory) {
                        intake.native(&bytes, who, got.sent_us, unit_of, at);
                    }
                }
                (NATIVE, _) => intake.native(bytes, who, got.sent_us, unit_of, at),
                _ => {
                    if let Some(system_log) = &self.system_log {
                        system_log.send(bytes);
                    }
                    intake.syslog(bytes, who, got.sent_us, unit_of, at);
                }
            }
        }
    }

    fn accept(&mut self, asks: bool) -> Turn {
        let listener = if asks { &self.varlink } else { &self.listener };
        let Some(listener) = listener else { return Turn::Done };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(fd) = rustix::net::accept_with(listener, flags) else { return Turn::Done };
        let Some((pid, uid, gid)) = datagram::peer(fd.as_fd()) else { return Turn::Done };
        let free = self.connections.iter().position(Option::is_none);
        if free.is_none() && self.connections.len() >= STREAMS {
            return Turn::Done;
        }
        if asks && uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return Turn::Done;
        }
        let who = Credentials { pid, uid, gid };
        let connection = Some(Connection { fd, who, partial: Vec::new(), source: None, asks });
        let at = match free {
            Some(at) => {
                self.connections[at] = connection;
                at
            }
            None => {
                self.connections.push(connection);
                self.connections.len() - 1
            }
        };
        Turn::Connected(FIRST_STREAM + at as u64)
    }

    fn read(&mut self, at: usize, intake: &mut Intake, unit_of: UnitOf<'_>, now: Stamp) -> Turn {
        let Some(Some(connection)) = self.connections.get_mut(at) else { return Turn::Done };
        let before = connection.partial.len();
        connection.partial.resize(before + CHUNK, 0);
        let got = rustix::io::read(&connection.fd, &mut connection.partial[before..]);
        connection.partial.truncate(before + got.unwrap_or(0));
        let ended = match got {
            Ok(length) => length == 0,
            Err(e) => e != rustix::io::Errno::AGAIN && e != rustix::io::Errno::INTR,
        };
        if connection.asks {
            let call = varlink::call(&connection.partial);
            connection.partial.drain(..call.map_or(0, |(_, length)| length));
            let length = connection.partial.len();
            self.partials = self.partials + length - before;
            if let Some((ask, _)) = call.filter(|_| !ended) {
                return Turn::Asked(FIRST_STREAM + at as u64, ask);
            }
            if !ended && length <= varlink::LONGEST {
                return Turn::Done;
            }
            self.partials -= length;
            return self.connections[at].take().map_or(Turn::Done, |connection| Turn::Ended(connection.fd));
        }
        if connection.source.is_none() {
            connection.source = begin(connection, unit_of);
        }
        let crowded = self.partials + connection.partial.len() - before > ALL_PARTIAL;
        let mut ended = ended || (connection.source.is_none() && connection.partial.len() > HEADER);
        if let Some(source) = &mut connection.source {
            let last = if ended { Some("eof") } else { crowded.then_some("line-max") };
            let done = lines(&connection.partial, LONGEST_LINE, last, |line, how| {
                intake.line(source, line, how, now);
            });
            connection.partial.drain(..done);
        } else {
            ended |= crowded;
        }
        connection.partial.shrink_to(0);
        self.partials = self.partials + connection.partial.len() - before;
        if !ended {
            return Turn::Done;
        }
        self.partials -= connection.partial.len();
        self.connections[at].take().map_or(Turn::Done, |connection| Turn::Ended(connection.fd))
    }

    /// Answers who asked for something.
    pub fn answer(&mut self, number: u64, done: bool) {
        if let Some(fd) = self.stream(number) {
            let text = if done { varlink::DONE } else { varlink::UNKNOWN };
            // Who doesn't take a short answer at once asks for nothing.
            let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
            let _ = rustix::net::send(fd, text, flags);
        }
    }

    /// What waits in the sockets for datagrams.
    pub fn drain(&mut self, intake: &mut Intake, unit_of: UnitOf<'_>, at: Stamp) {
        self.datagrams(SYSLOG as usize, intake, unit_of, at);
        self.datagrams(NATIVE as usize, intake, unit_of, at);
    }

    /// Gives back the memory that a burst needed.
    pub fn shrink(&mut self) {
        self.buffer = Vec::new();
        while self.connections.last().is_some_and(Option::is_none) {
            self.connections.pop();
        }
        self.connections.shrink_to_fit();
    }
}

/// Takes the lines that a stream begins with: identifier, unit, level, whether levels are prefixed, and three
/// that say where else it goes. `None`: they aren't all there.
fn begin(connection: &mut Connection, unit_of: UnitOf<'_>) -> Option<Source> {
    let header: Vec<&[u8]> = connection.partial.splitn(HEADER_LINES + 1, |b| *b == b'\n').collect();
    let [identifier, unit, level, prefix, _, kernel, console, rest] = header[..] else { return None };
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(255)]).into_owned();
    let speaker = Speaker::of(connection.who.pid);
    let found = unit_of(&speaker);
    // Only root may speak for a unit that it isn't in.
    let named = (connection.who.uid == 0 && !unit.is_empty()).then(|| text(unit));
    let own = || speaker.unit().map(str::to_owned).unwrap_or_default();
    let (unit, invocation, logging) = match (named, found) {
        (Some(named), Some((unit, invocation, logging))) if named == *unit => (unit, invocation, logging),
        (Some(named), _) => (Text::from(named), None, Logging::default()),
        (None, Some(found)) => found,
        (None, None) => (Text::from(own()), None, Logging::default()),
    };
    let priority = text(level).trim().parse::<u16>().unwrap_or(6);
    let (level, facility) = ((priority & 7) as u8, (priority >> 3).min(127) as u8);
    let identifier = text(identifier).into();
    // Nor does anybody else write to the console or the kernel's log by way of us.
    let asked = |word: &[u8], bit: u8| if connection.who.uid == 0 && word == b"1" { bit } else { 0 };
    let copies = asked(console, CONSOLE) | asked(kernel, KERNEL);
    let level_prefix = prefix == b"1";
    let logging = Logging { identifier, level, facility, level_prefix, copies, ..logging };
    let source = Source::new(unit, invocation, connection.who.pid, logging, random_id());
    connection.partial = rest.to_vec();
    Some(source)
}

/// What is in memory that nobody can change any more. Other files are not read: that could take any time.
fn sealed(memory: &OwnedFd) -> Option<Vec<u8>> {
    let seals = rustix::fs::fcntl_get_seals(memory).ok()?;
    if !seals.contains(SealFlags::SHRINK | SealFlags::WRITE) {
        return None;
    }
    let length = usize::try_from(rustix::fs::fstat(memory).ok()?.st_size).ok()?;
    if length > LONGEST_MESSAGE {
        return None;
    }
    let mut bytes = vec![0; length];
    let file = std::fs::File::from(memory.try_clone().ok()?);
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

/// Whether somebody serves it.
fn answers(path: &Path, kind: SocketType) -> rustix::io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

fn bind(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    use rustix::io::Errno;
    match answers(path, kind) {
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
    // Everybody may log.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&fd, 128)?;
    } else {
        for (level, name) in datagram::OPTIONS {
            socket::set_option(fd.as_fd(), level, name, 1)?;
        }
        let (level, name) = socket::RECEIVE_BUFFER;
        let _ = socket::set_option(fd.as_fd(), level, name, WAITING);
    }
    Ok(fd)
}

/// Makes the link, in place of one that leads to a socket that nobody serves, but of nothing else.
fn link_to(target: &Path, link: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(link) {
        Ok(_) if std::fs::read_link(link).is_ok_and(|now| now == target) => return Ok(()),
        Ok(_) if answers(link, SocketType::DGRAM).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(status) if status.is_symlink() || status.file_type().is_socket() => std::fs::remove_file(link)?,
        Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => {}
    }
    Ok(rustix::fs::symlinkat(target, CWD, link)?)
}
