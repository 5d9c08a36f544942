//! Rows of [Socket]; systemd.socket(5). No socket is opened here.

use super::{
    Loading, Outcome, Row, Section, Shape, Take,
    Take::{Act, Keep},
    row,
    typed::{
        checked_text, choice, commands, extend, flag, list, number, parsed, put, single_unit, socket, span,
        timeout,
    },
};
use crate::{
    SocketConfig, UnitKind,
    config::{Listen, ListenKind},
    syntax::Assignment,
    value,
};
use alloc::{format, string::String};
use core::net::{Ipv4Addr, Ipv6Addr};

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Socket.only(), "systemd.socket(5)", take, doc)
}

const LISTENS: &[(&str, ListenKind)] = &[
    ("ListenStream", ListenKind::Stream),
    ("ListenDatagram", ListenKind::Datagram),
    ("ListenSequentialPacket", ListenKind::SequentialPacket),
    ("ListenFIFO", ListenKind::Fifo),
    ("ListenSpecial", ListenKind::Special),
    ("ListenNetlink", ListenKind::Netlink),
    ("ListenMessageQueue", ListenKind::MessageQueue),
    ("ListenUSBFunction", ListenKind::UsbFunction),
];

/// Something to listen on; an empty value of any of them removes those of all.
fn listen(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, socket, |s| s.listen.clear());
        loading.forget(|name| value::word(name, LISTENS).is_some());
        return Outcome::Reset;
    }
    let Some(kind) = value::word(&assignment.key, LISTENS) else {
        return Outcome::Rejected;
    };
    let Some(address) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    let (address, allowed) = match kind {
        ListenKind::SequentialPacket if !address.starts_with(['/', '@']) => (None, "a path or @name"),
        ListenKind::Stream | ListenKind::Datagram | ListenKind::SequentialPacket => {
            (socket_address(&address), "a path, @name, port, address:port, [address]:port or vsock:id:port")
        }
        ListenKind::Fifo | ListenKind::Special | ListenKind::UsbFunction => {
            (value::absolute_path(&address), value::ABSOLUTE)
        }
        ListenKind::MessageQueue => {
            (message_queue(address.into_owned()), "a name that begins with its only slash")
        }
        ListenKind::Netlink => (netlink(address.into_owned()), "a netlink family, and a group after a space"),
    };
    let Some(address) = address else {
        let message = format!("{}= takes {allowed}, not {:?}", assignment.key, assignment.value);
        loading.bad_value(assignment, message, None);
        return Outcome::Rejected;
    };
    let listen = Listen { kind, address: address.into(), place: assignment.value_place() };
    put(loading, socket, |s| s.listen.push(listen));
    Outcome::Added
}

/// The address of a stream, datagram or packet socket; systemd.socket(5), ListenStream=.
fn socket_address(text: &str) -> Option<String> {
    /// Longest path of a Unix socket, without its end.
    const UNIX_PATH_MAX: usize = 107;
    if text.starts_with('/') {
        return value::absolute_path(text).filter(|path| path.len() > 1 && path.len() <= UNIX_PATH_MAX);
    }
    let valid = match (text.strip_prefix('@'), text.strip_prefix("vsock:")) {
        (Some(name), _) => !name.is_empty() && name.len() <= UNIX_PATH_MAX,
        (None, Some(vsock)) => vsock.rsplit_once(':').is_some_and(|(id, port)| {
            let number = |text: &str| value::unsigned(text).is_some_and(|n| u32::try_from(n).is_ok());
            (id.is_empty() || number(id)) && number(port)
        }),
        (None, None) if text.starts_with('[') => text[1..].split_once("]:").is_some_and(|(address, rest)| {
            let (port, scope) = rest.split_once('%').unwrap_or((rest, "-"));
            address.parse::<Ipv6Addr>().is_ok() && is_port(port) && !scope.is_empty()
        }),
        (None, None) => match text.rsplit_once(':') {
            Some((address, port)) => address.parse::<Ipv4Addr>().is_ok() && is_port(port),
            None => is_port(text),
        },
    };
    valid.then(|| text.into())
}

fn is_port(text: &str) -> bool {
    value::unsigned(text).is_some_and(|port| (1..=65535).contains(&port))
}

fn message_queue(name: String) -> Option<String> {
    let valid = name.strip_prefix('/').is_some_and(|n| !n.is_empty() && !n.contains('/') && n.len() < 255);
    valid.then_some(name)
}

/// Netlink families of Linux by the names that systemd has for them; numbers are taken too.
const NETLINK: [&str; 17] = [
    "route",
    "firewall",
    "inet-diag",
    "nflog",
    "xfrm",
    "selinux",
    "iscsi",
    "audit",
    "fib-lookup",
    "connector",
    "netfilter",
    "ip6-fw",
    "dnrtmsg",
    "kobject-uevent",
    "generic",
    "scsitransport",
    "ecryptfs",
];

fn netlink(text: String) -> Option<String> {
    let mut words = text.split_ascii_whitespace();
    let number = |w: &str| value::unsigned(w).is_some_and(|n| u32::try_from(n).is_ok());
    let family = words.next().is_some_and(|w| NETLINK.contains(&w) || number(w));
    let group = words.next().is_none_or(number);
    (family && group && words.next().is_none()).then_some(text)
}

fn exec(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let phases = [("ExecStartPre", 0), ("ExecStartPost", 1), ("ExecStopPre", 2), ("ExecStopPost", 3)];
    let Some(phase) = value::word(&assignment.key, &phases) else {
        return Outcome::Rejected;
    };
    commands(loading, assignment, |config| socket(config).map(|s| &mut s.exec[phase]))
}

fn service(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let fits = |name: &crate::UnitName| name.kind() == UnitKind::Service;
    let Some(name) = single_unit(loading, assignment, fits, "a service") else {
        return Outcome::Rejected;
    };
    put(loading, socket, |s| s.service = Some(name));
    Outcome::Replaced
}

fn symlinks(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let take = |path: String| match value::absolute_path(&path) {
        Some(path) => Ok(path.into_boxed_str()),
        None => Err(format!("{path:?} is not {}", value::ABSOLUTE)),
    };
    list(loading, assignment, take, |config, path| {
        if let Some(socket) = socket(config) {
            extend(&mut socket.symlinks, path);
        }
    })
}

/// A word, or a boolean for its last two.
fn bind_ipv6_only(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if let Some(only) = value::boolean(&assignment.value) {
        put(loading, socket, |s| s.bind_ipv6_only = if only { 2 } else { 1 });
        return Outcome::Replaced;
    }
    let words = [("default", 0), ("both", 1), ("ipv6-only", 2)];
    choice(loading, assignment, socket, &words, |s, v| s.bind_ipv6_only = v)
}

fn is_fd_name(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b':')
}

fn size(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    set: impl FnOnce(&mut SocketConfig, u64),
) -> Outcome {
    parsed(loading, assignment, socket, (value::size, value::SIZE), set)
}

fn mode(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    set: impl FnOnce(&mut SocketConfig, u32),
) -> Outcome {
    parsed(loading, assignment, socket, (value::mode, value::MODE), set)
}

const NAME: (fn(&str) -> bool, &str) = (value::user_name_is_valid, "a user or group by name or number");

pub(super) const ROWS: &[Row] = &[
    r("ListenStream", Act(listen), "Addresses of stream sockets (TCP, Unix, vsock)."),
    r("ListenDatagram", Act(listen), "Addresses of datagram sockets (UDP, Unix)."),
    r("ListenSequentialPacket", Act(listen), "Addresses of sequential packet sockets (Unix)."),
    r("ListenFIFO", Act(listen), "Paths of FIFOs."),
    r("ListenSpecial", Act(listen), "Paths of special files."),
    r("ListenNetlink", Act(listen), "Netlink families and groups."),
    r("ListenMessageQueue", Act(listen), "Names of POSIX message queues."),
    r("ListenUSBFunction", Act(listen), "Paths of FunctionFS endpoints.").not_yet(),
    r(
        "SocketProtocol",
        Keep(Shape::Words(&["udplite", "sctp", "mptcp"])),
        "The protocol, where it is no default.",
    )
    .acted(),
    r("BindIPv6Only", Act(bind_ipv6_only), "Whether IPv6 sockets take IPv4 traffic too."),
    r("Backlog", Act(|l, a| number(l, a, socket, |s, n| s.backlog = n)), "How many connections may wait."),
    r("BindToDevice", Keep(Shape::Interface), "The network interface that sockets are bound to.").acted(),
    r(
        "SocketUser",
        Act(|l, a| checked_text(l, a, socket, NAME, |s, v| s.user = v)),
        "The owner of Unix sockets and FIFOs.",
    )
    .refuses()
    .since(214),
    r(
        "SocketGroup",
        Act(|l, a| checked_text(l, a, socket, NAME, |s, v| s.group = v)),
        "The group of Unix sockets and FIFOs.",
    )
    .refuses()
    .since(214),
    r("SocketMode", Act(|l, a| mode(l, a, |s, v| s.mode = v)), "The mode of Unix sockets and FIFOs."),
    r(
        "DirectoryMode",
        Act(|l, a| mode(l, a, |s, v| s.directory_mode = v)),
        "The mode of folders that are created for them.",
    ),
    r(
        "Accept",
        Act(|l, a| flag(l, a, socket, |s, v| s.accept = v)),
        "Start one instance of the service for each connection.",
    ),
    r(
        "Writable",
        Act(|l, a| flag(l, a, socket, |s, v| s.writable = v)),
        "Open special files for writing too.",
    )
    .since(227),
    r(
        "FlushPending",
        Act(|l, a| flag(l, a, socket, |s, v| s.flush_pending = v)),
        "Drop what waits in the sockets before listening again.",
    )
    .since(247),
    r(
        "MaxConnections",
        Act(|l, a| number(l, a, socket, |s, n| s.max_connections = n)),
        "How many connections there may be with Accept=yes.",
    ),
    r(
        "MaxConnectionsPerSource",
        Act(|l, a| number(l, a, socket, |s, n| s.max_connections_per_source = n)),
        "How many connections one address or user may have.",
    )
    .since(232),
    r("KeepAlive", Act(|l, a| flag(l, a, socket, |s, v| s.keep_alive = v)), "Probe silent TCP connections."),
    r("KeepAliveTimeSec", Keep(Shape::Span), "After what silence TCP connections are probed.")
        .since(216)
        .acted(),
    r("KeepAliveIntervalSec", Keep(Shape::Span), "The time between probes.").since(216).acted(),
    r(
        "KeepAliveProbes",
        Keep(Shape::Unsigned(u32::MAX as u64)),
        "After how many probes a connection is given up.",
    )
    .since(216)
    .acted(),
    r("NoDelay", Act(|l, a| flag(l, a, socket, |s, v| s.no_delay = v)), "Send small TCP packets at once.")
        .since(216),
    r(
        "Priority",
        Keep(Shape::Between(i32::MIN as i64, i32::MAX as i64)),
        "The priority of outgoing packets.",
    )
    .acted(),
    r("DeferAcceptSec", Keep(Shape::Span), "Wake only for TCP connections that send something in this time.")
        .since(216)
        .acted(),
    r(
        "ReceiveBuffer",
        Act(|l, a| size(l, a, |s, n| s.receive_buffer = Some(n))),
        "The size of the receive buffer.",
    ),
    r("SendBuffer", Act(|l, a| size(l, a, |s, n| s.send_buffer = Some(n))), "The size of the send buffer."),
    r(
        "IPTOS",
        Keep(Shape::UnsignedOrWords(255, &["low-delay", "throughput", "reliability", "low-cost"])),
        "The type of service of packets.",
    )
    .acted(),
    r("IPTTL", Keep(Shape::Between(i32::MIN as i64, i32::MAX as i64)), "The time to live of packets.")
        .acted(),
    r("Mark", Keep(Shape::Between(i32::MIN as i64, i32::MAX as i64)), "The firewall mark of packets.")
        .acted(),
    r(
        "ReusePort",
        Act(|l, a| flag(l, a, socket, |s, v| s.reuse_port = v)),
        "Several sockets may be bound to the port.",
    ),
    r("SmackLabel", Keep(Shape::TextOrDefault), "The Smack label of FIFOs and sockets.").accepted(LABELS),
    r("SmackLabelIPIn", Keep(Shape::TextOrDefault), "The Smack label of incoming packets.").accepted(LABELS),
    r("SmackLabelIPOut", Keep(Shape::TextOrDefault), "The Smack label of outgoing packets.").accepted(LABELS),
    r("SELinuxContextFromNet", Keep(Shape::Boolean), "Take the SELinux level from the peer.")
        .since(217)
        .accepted(LABELS),
    r("PipeSize", Act(|l, a| size(l, a, |s, n| s.pipe_size = Some(n))), "The size of FIFO buffers."),
    r(
        "MessageQueueMaxMessages",
        Keep(Shape::Between(i64::MIN, i64::MAX)),
        "How many messages a message queue may hold.",
    )
    .acted(),
    r("MessageQueueMessageSize", Keep(Shape::Between(i64::MIN, i64::MAX)), "How long messages may be.")
        .acted(),
    r(
        "FreeBind",
        Act(|l, a| flag(l, a, socket, |s, v| s.free_bind = v)),
        "Bind to addresses that the machine does not have yet.",
    ),
    r("Transparent", Keep(Shape::Boolean), "Take traffic for addresses of others (transparent proxy).")
        .acted(),
    r("Broadcast", Keep(Shape::Boolean), "Allow datagrams to broadcast addresses.").acted(),
    r(
        "PassCredentials",
        Act(|l, a| flag(l, a, socket, |s, v| s.pass_credentials = v)),
        "Messages carry the sender's credentials.",
    ),
    r("PassPIDFD", Keep(Shape::Boolean), "Messages carry a PID file descriptor of the sender.")
        .since(258)
        .acted(),
    r(
        "PassSecurity",
        Act(|l, a| flag(l, a, socket, |s, v| s.pass_security = v)),
        "Messages carry the sender's security context.",
    ),
    r("PassPacketInfo", Keep(Shape::Boolean), "Packets carry their destination.").since(246).acted(),
    r("AcceptFileDescriptors", Keep(Shape::Boolean), "Messages may carry file descriptors.")
        .since(258)
        .acted(),
    r(
        "Timestamping",
        Keep(Shape::BooleanOr(&["us", "usec", "µs", "μs", "ns", "nsec"])),
        "Packets carry the time of their arrival.",
    )
    .since(247)
    .acted(),
    r("TCPCongestion", Keep(Shape::TextOrDefault), "The algorithm of TCP congestion control.").acted(),
    r("ExecStartPre", Act(exec), "Commands before the sockets are opened."),
    r("ExecStartPost", Act(exec), "Commands after the sockets are opened."),
    r("ExecStopPre", Act(exec), "Commands before the sockets are closed."),
    r("ExecStopPost", Act(exec), "Commands after the sockets are closed."),
    r(
        "TimeoutSec",
        Act(|l, a| timeout(l, a, socket, |s, us| s.timeout = us)),
        "How long each of its commands may take.",
    ),
    r("Service", Act(service), "The service that is started on traffic."),
    r(
        "RemoveOnStop",
        Act(|l, a| flag(l, a, socket, |s, v| s.remove_on_stop = v)),
        "Remove the files of sockets and FIFOs when the unit stops.",
    )
    .since(214),
    r("Symlinks", Act(symlinks), "Links to the file of its only socket or FIFO.").since(214),
    r(
        "FileDescriptorName",
        Act(|l, a| {
            let fits: fn(&str) -> bool = is_fd_name;
            checked_text(l, a, socket, (fits, "up to 255 printable characters without colons"), |s, v| {
                s.fd_name = v
            })
        }),
        "The name of its file descriptors in $LISTEN_FDNAMES.",
    )
    .since(227),
    r("PassFileDescriptorsToExec", Keep(Shape::Boolean), "Its commands get the sockets too.").since(256),
    r(
        "TriggerLimitIntervalSec",
        Act(|l, a| span(l, a, socket, |s, us| s.trigger_limit_interval = us)),
        "The time in which the service may be started TriggerLimitBurst= times.",
    )
    .since(230),
    r(
        "TriggerLimitBurst",
        Act(|l, a| number(l, a, socket, |s, n| s.trigger_limit_burst = Some(n))),
        "How often the service may be started in TriggerLimitIntervalSec=.",
    )
    .since(230),
    r(
        "PollLimitIntervalSec",
        Keep(Shape::Span),
        "The time in which a socket may wake PollLimitBurst= times.",
    )
    .since(255),
    r("PollLimitBurst", Keep(Shape::Unsigned(u32::MAX as u64)), "How often a socket may wake in that time.")
        .since(255),
    r(
        "DeferTrigger",
        Keep(Shape::BooleanOr(&["patient"])),
        "Wait with the trigger until conflicting jobs are done.",
    )
    .since(258),
    r("DeferTriggerMaxSec", Keep(Shape::Span), "How long DeferTrigger= waits at most.").since(258),
];

const LABELS: &str = "labels of security modules are not set";
