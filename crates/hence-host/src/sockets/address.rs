//! Addresses as systemd.socket(5) writes them, and the instance names of accepted connections. It opens
//! nothing.

use crate::sys::socket as raw;
use hence_ledger::Text;
use rustix::net::{AddressFamily, SocketAddrUnix, getpeername, getsockname};
use std::{
    ffi::OsStr,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// An address to be bound to.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// A path, or a name in the abstract namespace.
    Unix(SocketAddrUnix),
    /// IPv4 or IPv6, with its port.
    Ip(SocketAddr),
    /// A port alone: IPv6's any address, IPv4's where there is no IPv6.
    Port(u16),
}

impl Address {
    /// Reads one.
    ///
    /// # Errors
    /// EINVAL where it isn't an address, ENAMETOOLONG where a path doesn't fit.
    pub fn parse(text: &str) -> io::Result<Address> {
        if text.starts_with('/') {
            return Ok(Address::Unix(SocketAddrUnix::new(text)?));
        }
        if let Some(name) = text.strip_prefix('@') {
            return Ok(Address::Unix(SocketAddrUnix::new_abstract_name(name.as_bytes())?));
        }
        if let Ok(port @ 1..) = text.parse::<u16>() {
            return Ok(Address::Port(port));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => Ok(Address::Ip(address)),
            _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }

    /// Its family.
    pub fn family(&self) -> AddressFamily {
        match self {
            Address::Unix(_) => AddressFamily::UNIX,
            Address::Ip(SocketAddr::V4(_)) => AddressFamily::INET,
            Address::Ip(SocketAddr::V6(_)) | Address::Port(_) => AddressFamily::INET6,
        }
    }

    /// A bare port as an IPv4 address.
    pub fn without_ipv6(self) -> Option<Address> {
        match self {
            Address::Port(port) => Some(Address::Ip((Ipv4Addr::UNSPECIFIED, port).into())),
            _ => None,
        }
    }

    /// The node in the file system.
    pub fn node(&self) -> Option<&Path> {
        let Address::Unix(address) = self else { return None };
        Some(Path::new(OsStr::from_bytes(address.path_bytes()?)))
    }

    /// Binds a socket to it.
    ///
    /// # Errors
    /// What bind(2) says.
    pub fn bind(&self, socket: &OwnedFd) -> io::Result<()> {
        match self {
            Address::Unix(address) => rustix::net::bind(socket, address)?,
            Address::Ip(address) => rustix::net::bind(socket, address)?,
            Address::Port(port) => {
                rustix::net::bind(socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port)))?;
            }
        }
        Ok(())
    }
}

/// The instance of a connection as systemd names it (`N-PID-UID`, `N-LOCAL:PORT-REMOTE:PORT`), and the
/// peer in words.
pub fn instance(connection: &OwnedFd, family: Option<AddressFamily>, number: u64) -> (String, Option<Text>) {
    if family == Some(AddressFamily::UNIX) {
        let (pid, uid) = raw::peer(connection.as_fd()).unwrap_or((0, 0));
        return (format!("{number}-{pid}-{uid}"), Some(format!("pid {pid} uid {uid}").into()));
    }
    let local = getsockname(connection).ok().and_then(|a| SocketAddr::try_from(a).ok());
    let remote = getpeername(connection).ok().flatten().and_then(|a| SocketAddr::try_from(a).ok());
    match (local.map(plain), remote.map(plain)) {
        (Some(local), Some(remote)) => {
            (format!("{number}-{}-{}", in_a_name(local), in_a_name(remote)), Some(remote.to_string().into()))
        }
        _ => (format!("{number}-unknown"), None),
    }
}

/// An IPv4 address that IPv6 wraps is IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Unit names have no brackets.
fn in_a_name(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("{ip}:{}", address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Address::parse("/run/x").unwrap().node(), Some(Path::new("/run/x")));
        assert_eq!(Address::parse("@x").unwrap().family(), AddressFamily::UNIX);
        assert_eq!(Address::parse("@x").unwrap().node(), None);
        assert_eq!(Address::parse("80").unwrap(), Address::Port(80));
        assert_eq!(Address::parse("127.0.0.1:80").unwrap().family(), AddressFamily::INET);
        assert_eq!(Address::parse("[::1]:80").unwrap().family(), AddressFamily::INET6);
        for bad in ["", "0", "70000", "x", "1.2.3.4", "[::1]", "host:80"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        assert!(Address::parse(&format!("/{}", "x".repeat(200))).is_err());
    }

    #[test]
    fn wrapped_addresses_are_plain() {
        let wrapped: SocketAddr = "[::ffff:10.0.0.1]:5".parse().unwrap();
        assert_eq!(in_a_name(plain(wrapped)), "10.0.0.1:5");
        assert_eq!(in_a_name("[::1]:5".parse().unwrap()), "::1:5");
    }
}
