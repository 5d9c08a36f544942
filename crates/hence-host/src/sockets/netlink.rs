//! ListenNetlink= of systemd.socket(5): sockets to the kernel, bound to groups of its messages. Families are
//! those of netlink(7), by name or number. What the messages say is the service's business.

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;

/// Families by name; `route` is the one that has no number of its own.
const FAMILIES: [(&str, Option<Protocol>); 17] = [
    ("route", None),
    ("firewall", Some(netlink::FIREWALL)),
    ("connector", Some(netlink::CONNECTOR)),
    ("inet-diag", Some(netlink::INET_DIAG)),
    ("nflog", Some(netlink::NFLOG)),
    ("xfrm", Some(netlink::XFRM)),
    ("selinux", Some(netlink::SELINUX)),
    ("iscsi", Some(netlink::ISCSI)),
    ("audit", Some(netlink::AUDIT)),
    ("fib-lookup", Some(netlink::FIB_LOOKUP)),
    ("netfilter", Some(netlink::NETFILTER)),
    ("ip6-fw", Some(netlink::IP6_FW)),
    ("dnrtmsg", Some(netlink::DNRTMSG)),
    ("kobject-uevent", Some(netlink::KOBJECT_UEVENT)),
    ("generic", Some(netlink::GENERIC)),
    ("scsitransport", Some(netlink::SCSITRANSPORT)),
    ("ecryptfs", Some(netlink::ECRYPTFS)),
];

/// A family and the groups of its messages, a bit each.
fn parse(text: &str) -> Option<(Option<Protocol>, u32)> {
    let mut words = text.split_whitespace();
    let family = words.next()?;
    let named = FAMILIES.iter().find(|(name, _)| *name == family).map(|(_, protocol)| *protocol);
    let protocol = match named {
        Some(protocol) => protocol,
        None => match family.parse::<u32>().ok()? {
            0 => None,
            number => Some(Protocol::from_raw(std::num::NonZeroU32::new(number)?)),
        },
    };
    let groups = words.next().map_or(Some(0), |word| word.parse().ok())?;
    words.next().is_none().then_some((protocol, groups))
}

/// A socket that is not bound yet, and what it is to be bound to.
///
/// # Errors
/// EINVAL where the text is no family and group; what socket(2) says.
pub fn open(text: &str) -> io::Result<(OwnedFd, SocketAddrNetlink)> {
    let (protocol, groups) = parse(text).ok_or(io::Error::from_raw_os_error(libc::EINVAL))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    Ok((socket, SocketAddrNetlink::new(0, groups)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_and_groups() {
        assert_eq!(parse("route 1361"), Some((None, 1361)));
        assert_eq!(parse("kobject-uevent 1"), Some((Some(netlink::KOBJECT_UEVENT), 1)));
        assert_eq!(parse("15"), Some((Some(netlink::KOBJECT_UEVENT), 0)));
        for bad in ["", "nonsense 1", "route x", "route 1 2", "-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let (socket, address) = open("route 1").expect("every kernel has it");
        rustix::net::bind(&socket, &address).expect("for everybody");
    }
}
