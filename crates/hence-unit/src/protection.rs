//! What of the machine a unit's processes see, and what of it they may change: the settings of
//! systemd.exec(5) that need namespaces, mounts or fewer capabilities. Nothing is done here.

use crate::{
    Config, ExecConfig, UnitName,
    config::{DirectoryKind, Kind},
};
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};

/// A path that is made visible at another place: BindPaths=, BindReadOnlyPaths=.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// Where it is; on the machine, whatever RootDirectory= is.
    pub source: Box<str>,
    /// Where the unit sees it.
    pub destination: Box<str>,
    /// `-`: the source may be missing.
    pub optional: bool,
    /// With all that is mounted below the source.
    pub recursive: bool,
    /// BindReadOnlyPaths=
    pub read_only: bool,
}

/// The view that a unit's processes have of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// PrivateTmp=
    pub private_tmp: bool,
    /// ProtectSystem=: 0 no, 1 yes, 2 full, 3 strict.
    pub system: u8,
    /// ProtectHome=: 0 no, 1 yes, 2 read-only, 3 tmpfs.
    pub home: u8,
    /// ReadWritePaths=; `-` at the start: may be missing; then `+`: below RootDirectory=.
    pub read_write_paths: Vec<Box<str>>,
    /// ReadOnlyPaths=, alike.
    pub read_only_paths: Vec<Box<str>>,
    /// InaccessiblePaths=, alike.
    pub inaccessible_paths: Vec<Box<str>>,
    /// ExecPaths=, alike.
    pub exec_paths: Vec<Box<str>>,
    /// NoExecPaths=, alike.
    pub no_exec_paths: Vec<Box<str>>,
    /// BindPaths= and BindReadOnlyPaths=
    pub binds: Vec<Bind>,
    /// TemporaryFileSystem=: path and mount options.
    pub temporary: Vec<(Box<str>, Box<str>)>,
    /// PrivateDevices=
    pub private_devices: bool,
    /// ProtectKernelTunables=
    pub kernel_tunables: bool,
    /// ProtectKernelModules=
    pub kernel_modules: bool,
    /// ProtectKernelLogs=
    pub kernel_logs: bool,
    /// ProtectClock=
    pub clock: bool,
    /// ProtectControlGroups=
    pub control_groups: bool,
    /// ProtectHostname=
    pub hostname: bool,
    /// ProtectProc=: an index into [`Protection::PROC`].
    pub proc: u8,
    /// ProcSubset=pid
    pub proc_of_processes: bool,
    /// PrivateMounts=
    pub private_mounts: bool,
    /// MountFlags=: an index into [`Protection::PROPAGATION`].
    pub propagation: u8,
    /// MountAPIVFS=, where given.
    pub mount_api: Option<bool>,
    /// PrivateNetwork=
    pub private_network: bool,
    /// NetworkNamespacePath=
    pub network_path: Option<Box<str>>,
    /// PrivateIPC=
    pub private_ipc: bool,
    /// IPCNamespacePath=
    pub ipc_path: Option<Box<str>>,
    /// PrivateUsers=
    pub private_users: bool,
    /// DynamicUser=
    pub dynamic_user: bool,
    /// `[X-Hence] Sandbox=best-effort`: start without what the kernel refuses.
    pub best_effort: bool,
}

impl Protection {
    /// The words of ProtectProc=.
    pub const PROC: [&str; 4] = ["default", "noaccess", "invisible", "ptraceable"];
    /// The words of MountFlags=; none at first.
    pub const PROPAGATION: [&str; 4] = ["", "shared", "slave", "private"];

    /// The capabilities that nobody may have with these settings, as bits by number.
    pub fn forbidden_capabilities(&self) -> u64 {
        const SYS_MODULE: u64 = 1 << 16;
        const SYS_RAWIO: u64 = 1 << 17;
        const SYS_TIME: u64 = 1 << 25;
        const MKNOD: u64 = 1 << 27;
        const SYSLOG: u64 = 1 << 34;
        const WAKE_ALARM: u64 = 1 << 35;
        [
            (self.private_devices, MKNOD | SYS_RAWIO),
            (self.kernel_modules, SYS_MODULE),
            (self.kernel_logs, SYSLOG),
            (self.clock, SYS_TIME | WAKE_ALARM),
        ]
        .into_iter()
        .filter(|(set, _)| *set)
        .fold(0, |all, (_, bits)| all | bits)
    }

    /// Whether the unit's processes are given namespaces that others may join: JoinsNamespaceOf=.
    pub fn is_shared(&self) -> bool {
        self.private_tmp
            || self.private_network
            || self.private_ipc
            || self.network_path.is_some()
            || self.ipc_path.is_some()
    }
}

/// What DynamicUser= and its kin say without words, as systemd.exec(5) has it.
pub(crate) fn settle(config: &mut Config) {
    let best_effort = config.flags.sandbox_best_effort;
    let name = config.name.clone();
    let context = match &mut config.kind {
        Kind::Service(service) if service.context.protection.is_some() => {
            &mut Arc::make_mut(&mut Arc::make_mut(service).settings).context
        }
        Kind::Socket(socket) => &mut socket.context,
        Kind::Mount(mount) => &mut mount.context,
        Kind::Swap(swap) => &mut swap.context,
        _ => return,
    };
    let Some(protection) = context.protection.as_deref_mut() else { return };
    protection.best_effort = best_effort;
    let forbidden = protection.forbidden_capabilities();
    if protection.dynamic_user {
        protection.private_tmp = true;
        if protection.system == 0 {
            protection.system = STRICT;
        }
        if protection.home == 0 {
            protection.home = READ_ONLY;
        }
        dynamic_user(context, name.as_ref());
    }
    if forbidden != 0 {
        context.capability_bounding_set =
            Some(context.capability_bounding_set.unwrap_or(u64::MAX) & !forbidden);
    }
}

const STRICT: u8 = 3;
const READ_ONLY: u8 = 2;

fn dynamic_user(context: &mut ExecConfig, unit: Option<&UnitName>) {
    (context.remove_ipc, context.no_new_privileges) = (true, true);
    if context.user.is_none() {
        context.user = unit.map(|unit| user_name(unit.prefix()).into());
    }
    if context.group.is_none() {
        context.group = context.user.clone();
    }
}

/// The name of the user that is made up for a unit: its own, where that can be a user's.
fn user_name(prefix: &str) -> alloc::string::String {
    const LONGEST: usize = 31;
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let rest = |c: char| first(c) || c.is_ascii_digit() || c == '-';
    if prefix.len() <= LONGEST && prefix.starts_with(first) && prefix.chars().all(rest) {
        return prefix.into();
    }
    // FNV-1a: any hash that stays the same will do.
    let hash = prefix.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("_du{hash:016x}")
}

impl ExecConfig {
    /// Whether folders of this kind lie in a folder that nobody else can enter, with a link from where they
    /// are named: those of a user that is made up anew each time.
    pub fn is_private(&self, kind: DirectoryKind) -> bool {
        let dynamic = self.protection.as_ref().is_some_and(|p| p.dynamic_user);
        dynamic
            && match kind {
                DirectoryKind::State | DirectoryKind::Cache | DirectoryKind::Logs => true,
                DirectoryKind::Runtime => self.runtime_directory_preserve != 0,
                DirectoryKind::Configuration => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_made_up_users() {
        assert_eq!(user_name("chrony"), "chrony");
        assert_eq!(user_name("a_b-1"), "a_b-1");
        for odd in ["1a", "", "a.b", "dbus-org.freedesktop", "a-name-that-is-too-long-for-a-user"] {
            let name = user_name(odd);
            assert!(name.len() == 19 && name.starts_with("_du"), "{odd}: {name}");
        }
    }

    #[test]
    fn capabilities_that_nobody_keeps() {
        let none = Protection::default();
        assert_eq!(none.forbidden_capabilities(), 0);
        let clock = Protection { clock: true, private_devices: true, ..none };
        assert_eq!(clock.forbidden_capabilities(), 1 << 25 | 1 << 35 | 1 << 27 | 1 << 17);
    }
}
