//! Options of sockets that only the kernel acts on; systemd.socket(5). As in systemd one that the kernel
//! refuses is no failure, but for the device that a socket is bound to.

use crate::sys::socket::set_option;
use hence_unit::socket_options::{SocketOptions, Timestamps};
use rustix::net::{AddressFamily, sockopt};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// SO_PASSPIDFD
const PASS_PIDFD: i32 = 76;
/// SO_PASSRIGHTS
const PASS_RIGHTS: i32 = 83;

/// What has to be set before a socket is bound.
///
/// # Errors
/// errno: it can't be bound to the device.
pub fn before_bind(options: &SocketOptions, socket: &OwnedFd) -> io::Result<()> {
    if let Some(device) = &options.device {
        crate::sys::socket::bind_to_device(socket.as_fd(), device)?;
    }
    Ok(())
}

/// All others.
pub fn apply(options: &SocketOptions, socket: &OwnedFd, family: AddressFamily) {
    let set = |level, name, value| drop(set_option(socket.as_fd(), level, name, value));
    let of_socket = |name, value| set(libc::SOL_SOCKET, name, value);
    let (v4, v6) = (family == AddressFamily::INET, family == AddressFamily::INET6);
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    if options.transparent {
        set(libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1);
        if v6 {
            set(libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1);
        }
    }
    if options.keep_alive_time > 0 {
        let _ = sockopt::set_tcp_keepidle(socket, seconds(options.keep_alive_time));
    }
    if options.keep_alive_interval > 0 {
        let _ = sockopt::set_tcp_keepintvl(socket, seconds(options.keep_alive_interval));
    }
    if options.keep_alive_probes > 0 {
        let _ = sockopt::set_tcp_keepcnt(socket, options.keep_alive_probes);
    }
    if options.defer_accept > 0 {
        set(libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, options.defer_accept as i32);
    }
    if options.broadcast {
        of_socket(libc::SO_BROADCAST, 1);
    }
    if options.pass_packet_info {
        match family {
            AddressFamily::NETLINK => set(libc::SOL_NETLINK, libc::NETLINK_PKTINFO, 1),
            _ if v4 => set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            _ if v6 => set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
            _ => {}
        }
    }
    if options.pass_pidfd {
        of_socket(PASS_PIDFD, 1);
    }
    if options.refuse_descriptors {
        of_socket(PASS_RIGHTS, 0);
    }
    match options.timestamps {
        Some(Timestamps::Microseconds) => of_socket(libc::SO_TIMESTAMP, 1),
        Some(Timestamps::Nanoseconds) => of_socket(libc::SO_TIMESTAMPNS, 1),
        None => {}
    }
    if let Some(priority) = options.priority {
        of_socket(libc::SO_PRIORITY, priority);
    }
    if let Some(mark) = options.mark {
        of_socket(libc::SO_MARK, mark);
    }
    if let Some(tos) = options.ip_tos {
        set(libc::IPPROTO_IP, libc::IP_TOS, tos);
    }
    if let Some(ttl) = options.ip_ttl {
        match v6 {
            true => set(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, ttl),
            false => set(libc::IPPROTO_IP, libc::IP_TTL, ttl),
        }
    }
    if let Some(algorithm) = &options.tcp_congestion {
        let _ = sockopt::set_tcp_congestion(socket, algorithm);
    }
}
