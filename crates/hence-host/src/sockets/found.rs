//! Sockets that a service of an earlier hence still has open are taken from it, rather than opened anew:
//! nobody who has connected meanwhile is lost.

use super::{Address, Listen, ListenKind, Port, Sockets, Unit};
use crate::process;
use hence_engine::UnitId;
use hence_unit::{Config, SocketConfig};
use rustix::{
    net::{SocketAddrUnix, SocketType, getsockname, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};
use std::{net::SocketAddr, os::fd::OwnedFd, path::Path};

/// The first descriptor that is passed to a service; sd_listen_fds(3).
const FIRST: i32 = 3;
/// Most that are looked for.
const MOST: i32 = 1024;

/// Copies of the descriptors that this process was started with. None where it was started with none, or the
/// system does not let us.
pub fn of_process(pid: u32, start_ticks: u64) -> Vec<OwnedFd> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let value = |name: &str| {
        let mut all = environment.split(|&b| b == 0).filter_map(|v| std::str::from_utf8(v).ok());
        all.find_map(|v| v.strip_prefix(name)?.strip_prefix('=')?.parse::<i32>().ok())
    };
    let count = value("LISTEN_FDS").unwrap_or(0).clamp(0, MOST);
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = raw.and_then(|raw| pidfd_open(raw, PidfdFlags::empty()).ok());
    let Some(process) = process.filter(|_| count > 0 && process::is_alive(pid, start_ticks)) else {
        return Vec::new();
    };
    let copy = |number| pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok();
    (FIRST..FIRST + count).filter_map(copy).collect()
}

/// Whether this is an open socket of what a line asks for.
fn is(fd: &OwnedFd, listen: &Listen, address: &Address) -> bool {
    let kind = match listen.kind {
        ListenKind::Stream => SocketType::STREAM,
        ListenKind::Datagram => SocketType::DGRAM,
        ListenKind::SequentialPacket => SocketType::SEQPACKET,
        _ => return false,
    };
    let listens = kind == SocketType::DGRAM || sockopt::socket_acceptconn(fd).unwrap_or(false);
    let Some(own) = getsockname(fd).ok().filter(|_| listens) else { return false };
    sockopt::socket_type(fd) == Ok(kind)
        && match address {
            Address::Unix(address) => SocketAddrUnix::try_from(own).is_ok_and(|own| own == *address),
            Address::Ip(address) => SocketAddr::try_from(own).is_ok_and(|own| own == *address),
            Address::Port(port) => {
                SocketAddr::try_from(own).is_ok_and(|own| own.port() == *port && own.ip().is_unspecified())
            }
        }
}

fn port(config: &SocketConfig, listen: &Listen, found: &mut Vec<OwnedFd>) -> Option<Port> {
    let address = Address::parse(&listen.address).ok()?;
    let at = found.iter().position(|fd| is(fd, listen, &address))?;
    let fd = found.swap_remove(at);
    let streams = listen.kind != ListenKind::Datagram;
    let node = address.node().map(Path::to_path_buf);
    let family = Some(address.family());
    Some(Port {
        fd,
        listen: listen.address.as_ref().into(),
        accepts: config.accept && streams,
        paused: false,
        family,
        node,
    })
}

impl Sockets {
    /// Takes the sockets of a unit from those that were found: all of them or none.
    pub fn take_found(&mut self, unit: UnitId, config: &Config, found: &mut Vec<OwnedFd>) -> bool {
        let Some(socket) = config.socket().filter(|s| !s.accept && !s.listen.is_empty()) else {
            return false;
        };
        let mut rest = Vec::new();
        for fd in found.iter() {
            rest.extend(fd.try_clone());
        }
        let ports: Vec<Port> = socket.listen.iter().map_while(|l| port(socket, l, &mut rest)).collect();
        if ports.len() < socket.listen.len() || self.units.contains_key(&unit) {
            return false;
        }
        let name = socket.fd_name.as_deref().unwrap_or(config.id().as_str()).to_owned();
        let symlinks = socket.symlinks.iter().map(|link| (&**link).into()).collect();
        let flush = socket.flush_pending;
        *found = rest;
        self.units.insert(unit, Unit { ports, name, symlinks, flush, accepted: 0, watched: false });
        true
    }
}
