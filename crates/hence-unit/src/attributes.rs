//! What a unit's processes get beyond what every process has: personality, keyring, memory policy, search
//! path, credentials; systemd.exec(5). Few units set any of it, so it has a place of its own.

use alloc::{boxed::Box, vec::Vec};

/// Attributes of processes, each by the directive of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Personality=: a word of [`PERSONALITIES`].
    pub personality: Option<Box<str>>,
    /// SecureBits= as prctl(2) has them.
    pub secure_bits: u8,
    /// TimerSlackNSec=
    pub timer_slack_ns: Option<u64>,
    /// CoredumpFilter= as core(5) has it.
    pub coredump_filter: Option<u64>,
    /// CPUSchedulingResetOnFork=
    pub reset_on_fork: bool,
    /// NUMAPolicy= as set_mempolicy(2) numbers it.
    pub numa_policy: Option<u8>,
    /// NUMAMask=, ascending.
    pub numa_nodes: Vec<u16>,
    /// NUMAMask=all
    pub numa_all: bool,
    /// KeyringMode=
    pub keyring: Option<KeyringMode>,
    /// ExecSearchPath=
    pub search_path: Vec<Box<str>>,
    /// TTYRows=
    pub tty_rows: Option<u16>,
    /// TTYColumns=
    pub tty_columns: Option<u16>,
    /// PAMName=
    pub pam_service: Option<Box<str>>,
    /// SetCredential=: name and content.
    pub credentials_set: Vec<(Box<str>, Vec<u8>)>,
    /// LoadCredential=: name and source.
    pub credentials_loaded: Vec<(Box<str>, Box<str>)>,
    /// ImportCredential=: patterns of names.
    pub credentials_imported: Vec<Box<str>>,
}

impl Attributes {
    /// Whether the unit is passed credentials.
    pub fn has_credentials(&self) -> bool {
        !self.credentials_set.is_empty()
            || !self.credentials_loaded.is_empty()
            || !self.credentials_imported.is_empty()
    }

    /// Whether the processes need anything that a plain start does not do. ExecSearchPath= and the size of a
    /// terminal are no such thing.
    pub fn of_processes(&self) -> bool {
        self.personality.is_some()
            || self.secure_bits != 0
            || self.timer_slack_ns.is_some()
            || self.coredump_filter.is_some()
            || self.numa_policy.is_some()
            || self.keyring.is_some_and(|mode| mode != KeyringMode::Inherit)
            || self.has_credentials()
    }
}

/// KeyringMode=
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum KeyringMode {
    Inherit,
    Private,
    Shared,
}

impl KeyringMode {
    /// systemd's words.
    pub const WORDS: &[(&str, KeyringMode)] = &[
        ("inherit", KeyringMode::Inherit),
        ("private", KeyringMode::Private),
        ("shared", KeyringMode::Shared),
    ];

    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        KeyringMode::WORDS[self as usize].0
    }
}

/// Architectures that Personality= knows, with the number of each for personality(2): those that report 32
/// bits have PER_LINUX32.
pub const PERSONALITIES: &[(&str, u32)] = &[
    ("x86", 8),
    ("x86-64", 0),
    ("ppc", 8),
    ("ppc-le", 8),
    ("ppc64", 0),
    ("ppc64-le", 0),
    ("s390", 8),
    ("s390x", 0),
    ("arm", 8),
    ("arm64", 0),
];

/// SecureBits= by name, in the order of their bits; capabilities(7).
pub const SECURE_BITS: [&str; 6] =
    ["noroot", "noroot-locked", "no-setuid-fixup", "no-setuid-fixup-locked", "keep-caps", "keep-caps-locked"];

/// CoredumpFilter= by name, with its bits; core(5).
pub const COREDUMP_FILTERS: &[(&str, u64)] = &[
    ("private-anonymous", 1),
    ("shared-anonymous", 1 << 1),
    ("private-file-backed", 1 << 2),
    ("shared-file-backed", 1 << 3),
    ("elf-headers", 1 << 4),
    ("private-huge", 1 << 5),
    ("shared-huge", 1 << 6),
    ("private-dax", 1 << 7),
    ("shared-dax", 1 << 8),
    ("all", u64::MAX),
    ("default", 0x33),
];

/// NUMAPolicy= by name.
pub const NUMA_POLICIES: &[(&str, u8)] =
    &[("default", 0), ("preferred", 1), ("bind", 2), ("interleave", 3), ("local", 4)];
