//! Options of sockets that only the kernel acts on; systemd.socket(5). They are kept as text, of which this
//! is made when all files of a unit were applied.

use crate::{Config, load::text_of, value};
use alloc::boxed::Box;

/// What the kernel is told of a unit's sockets; where nothing is given, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// KeepAliveTimeSec=, in seconds; 0: the kernel's.
    pub keep_alive_time: u32,
    /// KeepAliveIntervalSec=, in seconds; 0: the kernel's.
    pub keep_alive_interval: u32,
    /// KeepAliveProbes=; 0: the kernel's.
    pub keep_alive_probes: u32,
    /// DeferAcceptSec=, in seconds.
    pub defer_accept: u32,
    /// Priority=
    pub priority: Option<i32>,
    /// IPTOS=
    pub ip_tos: Option<i32>,
    /// IPTTL=
    pub ip_ttl: Option<i32>,
    /// Mark=
    pub mark: Option<i32>,
    /// BindToDevice=
    pub device: Option<Box<str>>,
    /// Transparent=
    pub transparent: bool,
    /// Broadcast=
    pub broadcast: bool,
    /// PassPacketInfo=
    pub pass_packet_info: bool,
    /// PassPIDFD=
    pub pass_pidfd: bool,
    /// AcceptFileDescriptors=no
    pub refuse_descriptors: bool,
    /// Timestamping=: microseconds, or nanoseconds.
    pub timestamps: Option<Timestamps>,
    /// TCPCongestion=
    pub tcp_congestion: Option<Box<str>>,
    /// SocketProtocol=, by its number.
    pub protocol: Option<u32>,
    /// MessageQueueMaxMessages= and MessageQueueMessageSize=, where both are given.
    pub message_queue: Option<(i64, i64)>,
}

/// How exact the times of packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the units")]
pub enum Timestamps {
    Microseconds,
    Nanoseconds,
}

/// Makes the options of a unit; `None` where it sets none.
pub(crate) fn of(config: &Config) -> Option<Box<SocketOptions>> {
    let text = |name: &str| text_of(config, name).filter(|text| !text.is_empty());
    let yes = |name: &str| text(name).and_then(value::boolean);
    let seconds = |name: &str| {
        let us = text(name).and_then(|text| value::span(text, value::SECOND_US)).unwrap_or(0);
        u32::try_from(us / 1_000_000).unwrap_or(u32::MAX).min(i32::MAX as u32)
    };
    let number = |name: &str| {
        let number = text(name).and_then(value::signed).and_then(|n| i32::try_from(n).ok());
        number.filter(|n| *n >= 0)
    };
    let tos = || match text("IPTOS")? {
        "low-delay" => Some(0x10),
        "throughput" => Some(0x08),
        "reliability" => Some(0x04),
        "low-cost" => Some(0x02),
        _ => number("IPTOS"),
    };
    let queue = |name: &str| text(name).and_then(value::signed).filter(|n| *n > 0);
    let options = SocketOptions {
        keep_alive_time: seconds("KeepAliveTimeSec"),
        keep_alive_interval: seconds("KeepAliveIntervalSec"),
        keep_alive_probes: number("KeepAliveProbes").unwrap_or(0) as u32,
        defer_accept: seconds("DeferAcceptSec"),
        priority: number("Priority"),
        ip_tos: tos(),
        ip_ttl: number("IPTTL"),
        mark: number("Mark"),
        device: text("BindToDevice").filter(|device| *device != "*").map(Box::from),
        transparent: yes("Transparent").unwrap_or(false),
        broadcast: yes("Broadcast").unwrap_or(false),
        pass_packet_info: yes("PassPacketInfo").unwrap_or(false),
        pass_pidfd: yes("PassPIDFD").unwrap_or(false),
        refuse_descriptors: yes("AcceptFileDescriptors") == Some(false),
        timestamps: match text("Timestamping") {
            Some("ns" | "nsec") => Some(Timestamps::Nanoseconds),
            text => text.filter(|text| value::boolean(text) != Some(false)).map(|_| Timestamps::Microseconds),
        },
        tcp_congestion: text("TCPCongestion").map(Box::from),
        protocol: match text("SocketProtocol") {
            Some("udplite") => Some(136),
            Some("sctp") => Some(132),
            Some("mptcp") => Some(262),
            _ => None,
        },
        message_queue: queue("MessageQueueMaxMessages").zip(queue("MessageQueueMessageSize")),
    };
    (options != SocketOptions::default()).then(|| Box::new(options))
}
