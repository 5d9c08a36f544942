//! Sockets, FIFOs and special files of socket units: opening, waiting for traffic, accepting;
//! systemd.socket(5). When to wait and what to start is the engine's.

mod address;
mod carry;
pub mod found;
mod netlink;
mod options;

use crate::{sys::socket as raw, wait::Token};
use address::Address;
use hence_engine::{ConnectionId, Event, UnitId};
use hence_ledger::{Operation, Text};
use hence_unit::{
    Config, SocketConfig,
    config::{Listen, ListenKind},
};
use rustix::{
    event::epoll,
    fs::{CWD, Mode, OFlags},
    net::{AddressFamily, Protocol, SocketFlags, SocketType, sockopt},
};
use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    num::NonZeroU32,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

/// Connections that one wake accepts of one socket.
const ACCEPTS: usize = 64;
/// Connections that wait for their services at the same time.
const WAITING: usize = 4096;

struct Port {
    fd: OwnedFd,
    listen: Text,
    accepts: bool,
    /// It accepts nothing for a while: the system refuses.
    paused: bool,
    family: Option<AddressFamily>,
    node: Option<PathBuf>,
}

struct Unit {
    ports: Vec<Port>,
    name: String,
    symlinks: Vec<PathBuf>,
    flush: bool,
    accepted: u64,
    watched: bool,
}

/// The open sockets of all socket units, and accepted connections that wait for their services.
#[derive(Default)]
pub struct Sockets {
    units: HashMap<UnitId, Unit>,
    connections: HashMap<u32, OwnedFd>,
    next: u32,
    /// Kept open so that a connection can be refused when no descriptor is left.
    reserve: Option<OwnedFd>,
    /// Connections that were closed because no descriptor was left.
    pub refused: u64,
}

fn reserve() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// errno and what it was about.
type Failure = (i32, Text);

fn failure(error: &io::Error, subject: &str) -> Failure {
    (error.raw_os_error().unwrap_or(libc::EINVAL), subject.into())
}

impl Sockets {
    /// Opens all sockets of a unit, or none. Sockets that are open already stay as they are.
    ///
    /// # Errors
    /// errno and the address.
    pub fn open(&mut self, unit: UnitId, config: &Config) -> Result<(), Failure> {
        if self.units.contains_key(&unit) {
            return Ok(());
        }
        let Some(socket) = config.socket() else { return Err((libc::EINVAL, config.id().text().clone())) };
        let mut ports = Vec::with_capacity(socket.listen.len());
        for listen in &socket.listen {
            ports.push(open_port(socket, listen).map_err(|e| failure(&e, &listen.address))?);
        }
        let mut symlinks = Vec::new();
        let first = ports.iter().find_map(|p| p.node.clone());
        if let Some(node) = first {
            for link in &socket.symlinks {
                make_folders(Path::new(&**link), socket.directory_mode);
                let _ = fs::remove_file(&**link);
                std::os::unix::fs::symlink(&node, &**link).map_err(|e| failure(&e, link))?;
                symlinks.push(PathBuf::from(&**link));
            }
        }
        if socket.accept && self.reserve.is_none() {
            self.reserve = reserve();
        }
        let name = socket.fd_name.as_deref().unwrap_or(config.id().as_str()).to_owned();
        let flush = socket.flush_pending;
        self.units.insert(unit, Unit { ports, name, symlinks, flush, accepted: 0, watched: false });
        Ok(())
    }

    /// The descriptors of a unit, to be passed on, with their name.
    pub fn descriptors(&self, unit: UnitId) -> Vec<(RawFd, String)> {
        let Some(unit) = self.units.get(&unit) else { return Vec::new() };
        unit.ports.iter().map(|p| (p.fd.as_raw_fd(), unit.name.clone())).collect()
    }

    /// A waiting connection.
    pub fn connection(&self, id: ConnectionId) -> Option<RawFd> {
        self.connections.get(&id.0).map(AsRawFd::as_raw_fd)
    }

    /// REMOTE_ADDR and REMOTE_PORT of a waiting connection; systemd.socket(5), Accept=.
    pub fn remote(&self, id: ConnectionId) -> Vec<(&'static str, String)> {
        let peer = self.connections.get(&id.0).and_then(|fd| rustix::net::getpeername(fd).ok().flatten());
        match peer.and_then(|p| std::net::SocketAddr::try_from(p).ok()) {
            Some(peer) => {
                vec![("REMOTE_ADDR", peer.ip().to_string()), ("REMOTE_PORT", peer.port().to_string())]
            }
            None => Vec::new(),
        }
    }

    /// Takes a waiting connection out; dropping it closes our end.
    pub fn take(&mut self, id: ConnectionId) -> Option<OwnedFd> {
        self.connections.remove(&id.0)
    }

    /// Begins or ends to wait for traffic.
    ///
    /// # Errors
    /// Where a socket can't be waited for; which one.
    pub fn watch(&mut self, epoll: &OwnedFd, id: UnitId, watch: bool) -> Result<(), (io::Error, Text)> {
        let Some(unit) = self.units.get_mut(&id) else { return Ok(()) };
        let mut result = Ok(());
        if watch && unit.flush {
            unit.ports.iter().for_each(flush);
        }
        for (index, port) in unit.ports.iter_mut().enumerate() {
            port.paused = false;
            if unit.watched {
                let _ = epoll::delete(epoll, &port.fd);
            }
            if watch {
                let data = epoll::EventData::new_u64(Token::Socket(id, index as u16).bits());
                let mut flags = epoll::EventFlags::IN;
                // Told once: what is there stays there for the service to take.
                flags.set(epoll::EventFlags::ONESHOT, !port.accepts);
                if let Err(e) = epoll::add(epoll, &port.fd, data, flags) {
                    result = Err((e.into(), port.listen.clone()));
                }
            }
        }
        unit.watched = watch;
        result
    }

    /// Ports that the system let nothing be accepted of listen again. Whether some still can't.
    pub(crate) fn accept_again(&mut self, epoll: &OwnedFd) -> bool {
        self.reserve = self.reserve.take().or_else(reserve);
        let mut left = false;
        for (id, unit) in &mut self.units {
            for (index, port) in unit.ports.iter_mut().enumerate().filter(|(_, port)| port.paused) {
                let data = epoll::EventData::new_u64(Token::Socket(*id, index as u16).bits());
                port.paused = epoll::modify(epoll, &port.fd, data, epoll::EventFlags::IN).is_err();
                left |= port.paused;
            }
        }
        left
    }

    /// Closes a unit's sockets; `remove` also removes nodes and links.
    pub fn close(&mut self, epoll: &OwnedFd, id: UnitId, remove: bool) {
        let _ = self.watch(epoll, id, false);
        let Some(unit) = self.units.remove(&id) else { return };
        if remove {
            let queues = unit.ports.iter().filter(|p| p.family.is_none() && p.node.is_none());
            queues.for_each(|port| crate::sys::queue::remove(port.fd.as_fd(), &port.listen));
            let nodes = unit.ports.iter().filter_map(|p| p.node.as_ref());
            for path in nodes.chain(&unit.symlinks) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Closes everything; nodes stay.
    pub fn close_all(&mut self, epoll: &OwnedFd) {
        let units: Vec<UnitId> = self.units.keys().copied().collect();
        units.into_iter().for_each(|unit| self.close(epoll, unit, false));
        self.connections.clear();
    }

    /// A watched socket has traffic. Whether it is to be looked at again after a while, for the system
    /// refuses what waits there: left in the loop it would wake us without end.
    pub fn traffic(&mut self, epoll: &OwnedFd, id: UnitId, index: u16, events: &mut VecDeque<Event>) -> bool {
        let Some(unit) = self.units.get_mut(&id).filter(|u| u.watched) else { return false };
        let Some(port) = unit.ports.get_mut(usize::from(index)) else { return false };
        let listen = port.listen.clone();
        if !port.accepts {
            events.push_back(Event::Traffic { unit: id, listen, peer: None, connection: None });
            return false;
        }
        let mut refusal = None;
        for _ in 0..ACCEPTS {
            if self.connections.len() >= WAITING {
                break;
            }
            let flags = SocketFlags::CLOEXEC;
            let accepted = match rustix::net::acceptfrom_with(&port.fd, flags) {
                Ok((accepted, _)) => accepted,
                Err(rustix::io::Errno::AGAIN) => break,
                // The peer has gone already: there may be more.
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                    // Left waiting, the connection would wake us without end: it is taken and closed.
                    self.reserve = None;
                    let taken = rustix::net::acceptfrom_with(&port.fd, flags).map(drop);
                    self.reserve = reserve();
                    match taken {
                        Ok(()) => self.refused += 1,
                        Err(e) if e == rustix::io::Errno::AGAIN => break,
                        Err(e) => {
                            refusal = Some(e);
                            break;
                        }
                    }
                    continue;
                }
                Err(e) => {
                    refusal = Some(e);
                    break;
                }
            };
            unit.accepted += 1;
            let (instance, peer) = address::instance(&accepted, port.family, unit.accepted - 1);
            self.next = self.next.wrapping_add(1);
            self.connections.insert(self.next, accepted);
            events.push_back(Event::Traffic {
                unit: id,
                listen: listen.clone(),
                peer,
                connection: Some((ConnectionId(self.next), instance.into())),
            });
        }
        let Some(refusal) = refusal else { return false };
        let data = epoll::EventData::new_u64(Token::Socket(id, index).bits());
        port.paused = epoll::modify(epoll, &port.fd, data, epoll::EventFlags::empty()).is_ok();
        events.push_back(crate::again::failed(id, Operation::Accept, &refusal.into(), &listen));
        true
    }
}

/// Discards what has come in before the unit was started, or what its service left there; FlushPending=.
fn flush(port: &Port) {
    // Services mostly get sockets that wait, which this must not do.
    let waits = rustix::fs::fcntl_getfl(&port.fd).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK));
    if waits && rustix::io::ioctl_fionbio(&port.fd, true).is_err() {
        return;
    }
    discard(port);
    if waits {
        let _ = rustix::io::ioctl_fionbio(&port.fd, false);
    }
}

fn discard(port: &Port) {
    const AT_MOST: usize = 100_000;
    let mut connections = 0..AT_MOST;
    let refusal =
        connections.find_map(|_| rustix::net::acceptfrom_with(&port.fd, SocketFlags::CLOEXEC).err());
    if refusal == Some(rustix::io::Errno::AGAIN) {
        return;
    }
    // Nothing connects there: messages, or what was written to a FIFO.
    let mut buffer = [0u8; 4096];
    for _ in 0..AT_MOST {
        if !rustix::io::read(&port.fd, &mut buffer).is_ok_and(|n| n > 0) {
            break;
        }
    }
}

fn open_port(config: &SocketConfig, listen: &Listen) -> io::Result<Port> {
    let kind = match listen.kind {
        ListenKind::Stream => SocketType::STREAM,
        ListenKind::Datagram => SocketType::DGRAM,
        ListenKind::SequentialPacket => SocketType::SEQPACKET,
        ListenKind::Fifo => return fifo(config, listen),
        ListenKind::Special => return special(config, listen),
        ListenKind::Netlink => return netlink_port(config, listen),
        ListenKind::MessageQueue => return message_queue(config, listen),
        ListenKind::UsbFunction => {
            return Err(io::Error::from_raw_os_error(libc::EPROTONOSUPPORT));
        }
    };
    let address = Address::parse(&listen.address)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let more = config.options.as_deref();
    let protocol = more.and_then(|o| o.protocol).and_then(NonZeroU32::new);
    let protocol = protocol.map(Protocol::from_raw);
    let (socket, address) = match rustix::net::socket_with(address.family(), kind, flags, protocol) {
        Ok(socket) => (socket, address),
        // A bare port where the kernel has no IPv6.
        Err(e) if e == rustix::io::Errno::AFNOSUPPORT => {
            let address = address.without_ipv6().ok_or(e)?;
            (rustix::net::socket_with(address.family(), kind, flags, protocol)?, address)
        }
        Err(e) => return Err(e.into()),
    };
    let v6 = address.family() == AddressFamily::INET6;
    ip_options(config, &socket, (v6, v6 || address.family() == AddressFamily::INET), kind)?;
    options(config, &socket)?;
    if let Some(more) = more {
        options::before_bind(more, &socket)?;
        options::apply(more, &socket, address.family());
    }
    let node = address.node().map(Path::to_path_buf);
    if let Some(node) = &node {
        make_folders(node, config.directory_mode);
        remove_stale(node);
    }
    address.bind(&socket)?;
    if let Some(node) = &node {
        own(config, node)?;
    }
    let streams = kind != SocketType::DGRAM;
    if streams {
        rustix::net::listen(&socket, i32::try_from(config.backlog).unwrap_or(i32::MAX))?;
    }
    if !(config.accept && streams) {
        // The service gets it as systemd would give it: blocking, unless NonBlocking= is set.
        rustix::io::ioctl_fionbio(&socket, false)?;
    }
    let family = Some(address.family());
    let listen = listen.address.as_ref().into();
    Ok(Port { fd: socket, listen, accepts: config.accept && streams, paused: false, family, node })
}

/// Only a socket is removed; whatever else lies there makes the bind fail.
fn remove_stale(node: &Path) {
    use std::os::unix::fs::FileTypeExt;
    if fs::symlink_metadata(node).is_ok_and(|m| m.file_type().is_socket()) {
        let _ = fs::remove_file(node);
    }
}

/// `v6`, `ip`: what kind of address it has.
fn ip_options(
    config: &SocketConfig,
    socket: &OwnedFd,
    (v6, ip): (bool, bool),
    kind: SocketType,
) -> io::Result<()> {
    if ip {
        sockopt::set_socket_reuseaddr(socket, true)?;
        match config.bind_ipv6_only {
            1 if v6 => sockopt::set_ipv6_v6only(socket, false)?,
            2 if v6 => sockopt::set_ipv6_v6only(socket, true)?,
            _ => {}
        }
        if config.free_bind {
            sockopt::set_ip_freebind(socket, true)?;
        }
        if config.no_delay && kind == SocketType::STREAM {
            sockopt::set_tcp_nodelay(socket, true)?;
        }
    }
    Ok(())
}

fn options(config: &SocketConfig, socket: &OwnedFd) -> io::Result<()> {
    if config.reuse_port {
        sockopt::set_socket_reuseport(socket, true)?;
    }
    if config.keep_alive {
        sockopt::set_socket_keepalive(socket, true)?;
    }
    if config.pass_credentials {
        sockopt::set_socket_passcred(socket, true)?;
    }
    if config.pass_security {
        let (level, name) = raw::PASS_SECURITY;
        raw::set_option(socket.as_fd(), level, name, 1)?;
    }
    // As in systemd a size that is refused is no failure.
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(i32::MAX as usize);
    if let Some(bytes) = config.receive_buffer {
        let _ = sockopt::set_socket_recv_buffer_size_force(socket, size(bytes))
            .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, size(bytes)));
    }
    if let Some(bytes) = config.send_buffer {
        let _ = sockopt::set_socket_send_buffer_size_force(socket, size(bytes))
            .or_else(|_| sockopt::set_socket_send_buffer_size(socket, size(bytes)));
    }
    Ok(())
}

fn netlink_port(config: &SocketConfig, listen: &Listen) -> io::Result<Port> {
    let (fd, address) = netlink::open(&listen.address)?;
    options(config, &fd)?;
    if let Some(more) = config.options.as_deref() {
        options::apply(more, &fd, AddressFamily::NETLINK);
    }
    rustix::net::bind(&fd, &address)?;
    rustix::io::ioctl_fionbio(&fd, false)?;
    let family = Some(AddressFamily::NETLINK);
    Ok(Port { fd, listen: listen.address.as_ref().into(), accepts: false, paused: false, family, node: None })
}

fn fifo(config: &SocketConfig, listen: &Listen) -> io::Result<Port> {
    let node = Path::new(&*listen.address);
    make_folders(node, config.directory_mode);
    match rustix::fs::mkfifoat(CWD, node, Mode::from_raw_mode(config.mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(node, flags, Mode::empty())?;
    if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) != rustix::fs::FileType::Fifo {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    own(config, node)?;
    if let Some(bytes) = config.pipe_size {
        raw::pipe_size(fd.as_fd(), bytes);
    }
    let node = Some(node.to_path_buf());
    Ok(Port { fd, listen: listen.address.as_ref().into(), accepts: false, paused: false, family: None, node })
}

fn message_queue(config: &SocketConfig, listen: &Listen) -> io::Result<Port> {
    let limits = config.options.as_deref().and_then(|options| options.message_queue);
    let fd = crate::sys::queue::open(&listen.address, config.mode, limits)?;
    let listen = listen.address.as_ref().into();
    Ok(Port { fd, listen, accepts: false, paused: false, family: None, node: None })
}

fn special(config: &SocketConfig, listen: &Listen) -> io::Result<Port> {
    let access = if config.writable { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let fd = rustix::fs::open(&*listen.address, flags, Mode::empty())?;
    Ok(Port {
        fd,
        listen: listen.address.as_ref().into(),
        accepts: false,
        paused: false,
        family: None,
        node: None,
    })
}

fn make_folders(path: &Path, mode: u32) {
    if let Some(folder) = path.parent() {
        // What can't be made shows when the socket is bound.
        let _ = fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
    }
}

/// SocketMode=, SocketUser=, SocketGroup=. Names are looked up in the local files only: the name service
/// may wait for the network, and this process must not.
fn own(config: &SocketConfig, node: &Path) -> io::Result<()> {
    rustix::fs::chmod(node, Mode::from_raw_mode(config.mode & 0o7777))?;
    let user = config.user.as_deref().map(|n| local_id("/etc/passwd", n)).transpose()?;
    let group = config.group.as_deref().map(|n| local_id("/etc/group", n)).transpose()?;
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(node, user, group)?;
    }
    Ok(())
}

/// The number in the third field of the line of this name; passwd(5), group(5).
fn local_id(file: &str, name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let text = fs::read_to_string(file)?;
    let of_name = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok()).flatten()
    };
    text.lines().find_map(of_name).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}
