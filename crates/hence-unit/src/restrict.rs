//! What a unit's processes may not do by system calls: SystemCallFilter= and the settings that are made of
//! such filters; systemd.exec(5), "Sandboxing" and "System Call Filtering". What filters, is the host's.

use crate::calls::CallSet;
use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

/// All that restricts the system calls of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// SystemCallFilter=
    pub calls: Option<CallSet>,
    /// SystemCallErrorNumber=; `None`: the process is killed.
    pub error_number: Option<u16>,
    /// SystemCallLog=
    pub log: Option<CallSet>,
    /// SystemCallArchitectures=, ascending; empty where all are allowed.
    pub architectures: Vec<Box<str>>,
    /// RestrictAddressFamilies=
    pub families: Option<FamilySet>,
    /// RestrictNamespaces=: the flags of clone(2) that stay allowed; `None` where it isn't given.
    pub namespaces: Option<u32>,
    /// MemoryDenyWriteExecute=
    pub deny_write_execute: bool,
    /// LockPersonality=
    pub lock_personality: bool,
    /// RestrictRealtime=
    pub realtime: bool,
    /// RestrictSUIDSGID=
    pub suid_sgid: bool,
}

/// RestrictAddressFamilies=
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilySet {
    /// Whether only those in the set are allowed; else all others are.
    pub allow: bool,
    /// Numbers of families, ascending.
    pub families: Vec<u8>,
}

/// Kinds of namespaces by name, with their flag of clone(2), in the order in which they are shown.
pub const NAMESPACES: [(&str, u32); 7] = [
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("net", 0x4000_0000),
    ("mnt", 0x0002_0000),
    ("pid", 0x2000_0000),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
];

/// The kind that came later: it is refused with any other unless it is named, and not shown.
pub const TIME_NAMESPACE: (&str, u32) = ("time", 0x80);

/// The flags of all kinds of namespaces that are shown.
pub const ALL_NAMESPACES: u32 = {
    let (mut all, mut i) = (0, 0);
    while i < NAMESPACES.len() {
        all |= NAMESPACES[i].1;
        i += 1;
    }
    all
};

/// RestrictNamespaces= for kinds that are allowed, as flags of clone(2): their names, or whether any is
/// refused at all.
pub fn namespaces_text(allowed: u64) -> String {
    match allowed & u64::from(ALL_NAMESPACES) {
        0 => "yes".to_owned(),
        allowed if allowed == u64::from(ALL_NAMESPACES) => "no".to_owned(),
        allowed => {
            let named = NAMESPACES.iter().filter(|(_, flag)| allowed & u64::from(*flag) != 0);
            named.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
        }
    }
}

impl Restrictions {
    /// The kinds of namespaces that may not be made or entered, where any is refused.
    pub fn refused_namespaces(&self) -> Option<u32> {
        let allowed = self.namespaces?;
        let any = ALL_NAMESPACES & !allowed != 0;
        any.then_some((ALL_NAMESPACES | TIME_NAMESPACE.1) & !allowed)
    }

    /// Whether nothing is restricted.
    pub fn is_empty(&self) -> bool {
        let Restrictions { calls, error_number: _, log, architectures, families, namespaces: _, .. } = self;
        let lists = calls.is_none() && log.is_none() && architectures.is_empty() && families.is_none();
        let flags = self.deny_write_execute || self.lock_personality || self.realtime || self.suid_sgid;
        lists && !flags && self.refused_namespaces().is_none()
    }
}

/// Address families by number; those of one number that are shown first come first. address_families(7).
pub const FAMILIES: &[(&str, u8)] = &[
    ("AF_UNIX", 1),
    ("AF_LOCAL", 1),
    ("AF_FILE", 1),
    ("AF_INET", 2),
    ("AF_AX25", 3),
    ("AF_IPX", 4),
    ("AF_APPLETALK", 5),
    ("AF_NETROM", 6),
    ("AF_BRIDGE", 7),
    ("AF_ATMPVC", 8),
    ("AF_X25", 9),
    ("AF_INET6", 10),
    ("AF_ROSE", 11),
    ("AF_DECnet", 12),
    ("AF_NETBEUI", 13),
    ("AF_SECURITY", 14),
    ("AF_KEY", 15),
    ("AF_NETLINK", 16),
    ("AF_ROUTE", 16),
    ("AF_PACKET", 17),
    ("AF_ASH", 18),
    ("AF_ECONET", 19),
    ("AF_ATMSVC", 20),
    ("AF_RDS", 21),
    ("AF_SNA", 22),
    ("AF_IRDA", 23),
    ("AF_PPPOX", 24),
    ("AF_WANPIPE", 25),
    ("AF_LLC", 26),
    ("AF_IB", 27),
    ("AF_MPLS", 28),
    ("AF_CAN", 29),
    ("AF_TIPC", 30),
    ("AF_BLUETOOTH", 31),
    ("AF_IUCV", 32),
    ("AF_RXRPC", 33),
    ("AF_ISDN", 34),
    ("AF_PHONET", 35),
    ("AF_IEEE802154", 36),
    ("AF_CAIF", 37),
    ("AF_ALG", 38),
    ("AF_NFC", 39),
    ("AF_VSOCK", 40),
    ("AF_KCM", 41),
    ("AF_QIPCRTR", 42),
    ("AF_SMC", 43),
    ("AF_XDP", 44),
    ("AF_MCTP", 45),
];

/// Names of architectures as SystemCallArchitectures= and Personality= take them; systemd.unit(5),
/// ConditionArchitecture=.
pub const ARCHITECTURES: &[&str] = &[
    "native",
    "x86",
    "x86-64",
    "x32",
    "arm",
    "arm64",
    "loongarch64",
    "mips",
    "mips64",
    "mips64-n32",
    "mips-le",
    "mips64-le",
    "mips64-le-n32",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64-le",
    "riscv64",
    "s390",
    "s390x",
];
