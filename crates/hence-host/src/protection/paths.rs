//! What is to become of which path for a unit's settings; systemd.exec(5), "Paths" and "Sandboxing". It
//! looks at no file: what is missing or a link shows when it is done.

use super::{Entry, Order, Own, What};
use hence_unit::{
    ExecConfig,
    config::{DirectoryKind, Protection},
};
use std::path::PathBuf;

/// What isn't in the unit's files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'g> {
    /// Its own /tmp and /var/tmp, where it has them.
    pub own_tmp: Option<&'g [PathBuf; 2]>,
    /// RuntimeDirectory= and its kin: kind, root of the kind, name.
    pub folders: &'g [(DirectoryKind, String, String)],
    /// Where it says that it is ready.
    pub notify: Option<&'g str>,
    /// The folder of its credentials, where it has any.
    pub credentials: Option<&'g str>,
    /// `+`: nothing is forbidden, though what it sees is the unit's.
    pub full: bool,
}

const fn plain(what: What) -> Entry {
    Entry {
        what,
        path: String::new(),
        source: String::new(),
        options: String::new(),
        optional: false,
        rooted: true,
        read_only: false,
        recursive: true,
        no_suid: false,
    }
}

/// A path that is there on any machine, or may be missing.
fn fixed(what: What, path: &str, optional: bool) -> Entry {
    Entry { path: path.to_owned(), optional, ..plain(what) }
}

/// A path with its marks: `-` may be missing, then `+` lies below RootDirectory=.
fn marked(what: What, text: &str) -> Entry {
    let (optional, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (rooted, path) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
    Entry { path: path.to_owned(), optional, rooted, ..plain(what) }
}

/// Options of the file systems that stay empty.
const EMPTY: &str = "mode=755,size=4m,nr_inodes=1k";
/// Where the credentials of all units lie.
const CREDENTIALS: &str = "/run/credentials";
const HOMES: [&str; 3] = ["/home", "/run/user", "/root"];

/// What is to be done for a unit; `None` where nothing is.
pub(crate) fn of_unit(context: &ExecConfig, given: Given<'_>) -> Option<Order> {
    let none = Protection::default();
    let protection = context.protection.as_deref().unwrap_or(&none);
    let own = |private: bool, path: &Option<Box<str>>| match path {
        Some(path) => Own::At(path.to_string()),
        None if private => Own::Private,
        None => Own::No,
    };
    let mut order = Order {
        mounts: needs_mounts(context, protection, given),
        essential: is_essential(context, protection),
        no_suid: context.no_new_privileges,
        propagation: protection.propagation,
        network: own(protection.private_network, &protection.network_path),
        ipc: own(protection.private_ipc, &protection.ipc_path),
        users: protection.private_users,
        host_name: protection.hostname,
        best_effort: protection.best_effort,
        ..Order::default()
    };
    if order.mounts {
        order.entries = entries(context, protection, given);
    }
    if given.full {
        let seen = |e: &Entry| match e.what {
            What::Bind | What::Empty | What::Temporary => true,
            What::Hidden => e.path == CREDENTIALS,
            _ => false,
        };
        order.entries.retain(seen);
        (order.no_suid, order.users, order.host_name) = (false, false, false);
        (order.network, order.ipc) = (Own::No, Own::No);
    }
    let idle = order.network == Own::No && order.ipc == Own::No && !order.users && !order.host_name;
    (order.mounts || !idle).then_some(order)
}

/// Whether /proc, /sys, /dev and /run have to be there.
fn has_api(context: &ExecConfig, protection: &Protection) -> bool {
    let asked = protection.mount_api.unwrap_or(context.root_directory.is_some());
    asked
        || protection.control_groups
        || protection.kernel_tunables
        || protection.proc != 0
        || protection.proc_of_processes
}

fn needs_mounts(context: &ExecConfig, p: &Protection, given: Given<'_>) -> bool {
    let lists =
        [&p.read_write_paths, &p.read_only_paths, &p.inaccessible_paths, &p.exec_paths, &p.no_exec_paths];
    let switches = [
        p.private_devices,
        p.private_mounts,
        p.kernel_tunables,
        p.kernel_modules,
        p.kernel_logs,
        p.control_groups,
        p.proc_of_processes,
        p.private_ipc,
        p.ipc_path.is_some(),
    ];
    let kept = |kind: &DirectoryKind| context.is_private(*kind);
    // MountFlags=shared is what everybody has.
    let apart = p.propagation > 1;
    lists.iter().any(|list| !list.is_empty())
        || switches.contains(&true)
        || !p.binds.is_empty()
        || !p.temporary.is_empty()
        || given.own_tmp.is_some()
        || p.system != 0
        || p.home != 0
        || p.proc != 0
        || apart
        || context.root_directory.is_some() && (has_api(context, p) || !given.folders.is_empty())
        || given.folders.iter().any(|(kind, ..)| kept(kind))
}

/// Whether a unit without its mounts would see other files, and not only be less protected.
fn is_essential(context: &ExecConfig, protection: &Protection) -> bool {
    !protection.temporary.is_empty()
        || context.root_directory.as_deref().is_some_and(|root| root != "/")
        || protection.dynamic_user
        || protection.binds.iter().any(|bind| bind.source != bind.destination)
}

fn entries(context: &ExecConfig, p: &Protection, given: Given<'_>) -> Vec<Entry> {
    let mut all = Vec::new();
    for (what, paths) in [
        (What::Writable, &p.read_write_paths),
        (What::ReadOnly, &p.read_only_paths),
        (What::Hidden, &p.inaccessible_paths),
        (What::Exec, &p.exec_paths),
        (What::NoExec, &p.no_exec_paths),
    ] {
        all.extend(paths.iter().map(|path| marked(what, path)));
    }
    for bind in &p.binds {
        all.push(Entry {
            path: bind.destination.to_string(),
            source: bind.source.to_string(),
            optional: bind.optional,
            read_only: bind.read_only,
            recursive: bind.recursive,
            ..plain(What::Bind)
        });
    }
    for (path, options) in &p.temporary {
        let entry = fixed(What::Temporary, path, false);
        all.push(Entry { options: options.to_string(), ..entry });
    }
    if let Some(folders) = given.own_tmp {
        for (path, folder) in ["/tmp", "/var/tmp"].into_iter().zip(folders) {
            let source = folder.display().to_string();
            all.push(Entry { source, ..fixed(What::OwnTmp, path, false) });
        }
    }
    own_folders(context, given, &mut all);
    kernel(p, &mut all);
    system(p, &mut all);
    api(context, p, &mut all);
    if let (Some(socket), true) = (given.notify, context.root_directory.is_some()) {
        all.push(Entry { source: socket.to_owned(), ..fixed(What::Bind, socket, true) });
    }
    match given.credentials {
        // Nobody else's.
        Some(folder) => {
            let options = EMPTY.to_owned();
            all.push(Entry { options, read_only: true, ..fixed(What::Empty, CREDENTIALS, true) });
            let own = Entry { source: folder.to_owned(), read_only: true, ..fixed(What::Bind, folder, true) };
            all.push(own);
        }
        None => all.push(fixed(What::Hidden, CREDENTIALS, true)),
    }
    all
}

/// RuntimeDirectory= and its kin stay writable, and are seen in another root; those of a made-up user are
/// seen in a folder that nobody else's are in.
fn own_folders(context: &ExecConfig, given: Given<'_>, all: &mut Vec<Entry>) {
    let rooted = context.root_directory.is_some();
    for (kind, root, name) in given.folders {
        let shown = format!("{root}/{name}");
        let private = context.is_private(*kind);
        let source = if private { format!("{root}/private/{name}") } else { shown.clone() };
        let destination = if rooted { shown } else { source.clone() };
        if private && !rooted {
            let options = EMPTY.to_owned();
            let above = format!("{root}/private");
            if !all.iter().any(|e| e.what == What::Empty && e.path == above) {
                all.push(Entry { options, read_only: true, ..fixed(What::Empty, &above, true) });
            }
        }
        match rooted || private {
            true => all.push(Entry { source, no_suid: private, ..fixed(What::Bind, &destination, false) }),
            false => all.push(fixed(What::Open, &destination, true)),
        }
    }
}

/// ProtectKernel...=, ProtectControlGroups=, PrivateDevices=, PrivateIPC=.
fn kernel(p: &Protection, all: &mut Vec<Entry>) {
    if p.private_devices {
        all.push(Entry { read_only: true, ..fixed(What::Devices, "/dev", false) });
    }
    if p.kernel_tunables {
        const READ_ONLY: [&str; 12] = [
            "acpi",
            "apm",
            "asound",
            "bus",
            "fs",
            "irq",
            "latency_stats",
            "mtrr",
            "scsi",
            "sys",
            "sysrq-trigger",
            "timer_stats",
        ];
        // With ProcSubset=pid they aren't there.
        all.extend(READ_ONLY.map(|name| fixed(What::ReadOnly, &format!("/proc/{name}"), true)));
        all.extend(["/proc/kallsyms", "/proc/kcore"].map(|path| fixed(What::Hidden, path, true)));
        all.push(fixed(What::ReadOnly, "/sys", false));
        let below = ["/sys/fs/bpf", "/sys/kernel/debug", "/sys/kernel/tracing"];
        all.extend(below.map(|path| fixed(What::ReadOnly, path, true)));
        // It is ProtectControlGroups= that protects them.
        all.push(fixed(What::Open, "/sys/fs/cgroup", false));
        all.push(fixed(What::Open, "/sys/fs/selinux", true));
    }
    if p.kernel_modules {
        all.extend(["/lib/modules", "/usr/lib/modules"].map(|path| fixed(What::Hidden, path, true)));
    }
    if p.kernel_logs {
        all.extend(["/proc/kmsg", "/dev/kmsg"].map(|path| fixed(What::Hidden, path, true)));
    }
    if p.control_groups {
        all.push(fixed(What::ReadOnly, "/sys/fs/cgroup", false));
    }
    if p.private_ipc || p.ipc_path.is_some() {
        all.push(fixed(What::Queues, "/dev/mqueue", true));
    }
    if p.hostname {
        let names = ["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"];
        all.extend(names.map(|path| fixed(What::ReadOnly, path, true)));
    }
}

/// ProtectSystem= and ProtectHome=.
fn system(p: &Protection, all: &mut Vec<Entry>) {
    let of_system: &[&str] = match p.system {
        0 | 3.. => &[],
        1 => &["/usr", "/boot", "/efi"],
        2 => &["/usr", "/boot", "/efi", "/etc"],
    };
    all.extend(of_system.iter().map(|path| fixed(What::ReadOnly, path, true)));
    if p.system > 2 {
        all.push(fixed(What::ReadOnly, "/", false));
        all.extend(["/proc", "/sys", "/dev"].map(|path| fixed(What::Open, path, false)));
        all.extend(HOMES.map(|path| fixed(What::Open, path, true)));
    }
    let homes = match p.home {
        0 => return,
        1 => What::Hidden,
        2 => What::ReadOnly,
        // Not read-only, as the man page says: it is not so under systemd 252.
        _ => What::Scratch,
    };
    all.extend(HOMES.map(|path| fixed(homes, path, true)));
}

/// The file systems of the kernel.
fn api(context: &ExecConfig, p: &Protection, all: &mut Vec<Entry>) {
    if !has_api(context, p) {
        return;
    }
    let mut options = Vec::new();
    if p.proc > 0 {
        options.push(format!("hidepid={}", Protection::PROC[usize::from(p.proc.min(3))]));
    }
    if p.proc_of_processes {
        options.push("subset=pid".to_owned());
    }
    all.push(Entry { options: options.join(","), ..fixed(What::Processes, "/proc", false) });
    all.push(fixed(What::HostDevices, "/dev", false));
    all.push(fixed(What::Kernel, "/sys", false));
    all.push(fixed(What::Run, "/run", false));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Given<'static> =
        Given { own_tmp: None, folders: &[], notify: None, credentials: None, full: false };

    fn of(protection: Protection) -> ExecConfig {
        ExecConfig { protection: Some(Box::new(protection)), ..ExecConfig::default() }
    }

    fn wanted(order: &Order, path: &str) -> Vec<What> {
        order.entries.iter().filter(|e| e.path == path).map(|e| e.what).collect()
    }

    #[test]
    fn nothing_is_done_for_what_asks_for_nothing() {
        assert_eq!(of_unit(&ExecConfig::default(), NOTHING), None);
        assert_eq!(of_unit(&of(Protection { clock: true, ..Protection::default() }), NOTHING), None);
        let api = of(Protection { mount_api: Some(true), ..Protection::default() });
        assert_eq!(of_unit(&api, NOTHING), None);
        let shared = of(Protection { propagation: 1, ..Protection::default() });
        assert_eq!(of_unit(&shared, NOTHING), None);
    }

    #[test]
    fn strict_leaves_what_is_named_writable() {
        let read_write_paths = vec!["-/srv/open".into()];
        let context = of(Protection { system: 3, read_write_paths, ..Protection::default() });
        let folders = [(DirectoryKind::State, "/var/lib".to_owned(), "x".to_owned())];
        let order = of_unit(&context, Given { folders: &folders, ..NOTHING }).unwrap();
        assert_eq!(wanted(&order, "/"), [What::ReadOnly]);
        assert_eq!(wanted(&order, "/proc"), [What::Open]);
        assert_eq!(wanted(&order, "/srv/open"), [What::Writable]);
        assert_eq!(wanted(&order, "/var/lib/x"), [What::Open]);
        assert!(order.mounts && !order.essential);
    }

    #[test]
    fn folders_of_a_made_up_user_are_apart() {
        let context = of(Protection { dynamic_user: true, ..Protection::default() });
        let folders = [
            (DirectoryKind::State, "/var/lib".to_owned(), "x".to_owned()),
            (DirectoryKind::Runtime, "/run".to_owned(), "x".to_owned()),
        ];
        let order = of_unit(&context, Given { folders: &folders, ..NOTHING }).unwrap();
        assert_eq!(wanted(&order, "/var/lib/private"), [What::Empty]);
        assert_eq!(wanted(&order, "/var/lib/private/x"), [What::Bind]);
        assert_eq!(wanted(&order, "/run/x"), [What::Open]);
        assert!(order.essential);
    }

    #[test]
    fn a_unit_sees_its_own_credentials_only() {
        let context = of(Protection { private_mounts: true, ..Protection::default() });
        let own = "/run/credentials/x.service";
        let order = of_unit(&context, Given { credentials: Some(own), ..NOTHING }).unwrap();
        assert_eq!(wanted(&order, CREDENTIALS), [What::Empty]);
        assert_eq!(wanted(&order, own), [What::Bind]);
        assert_eq!(wanted(&of_unit(&context, NOTHING).unwrap(), CREDENTIALS), [What::Hidden]);
    }

    #[test]
    fn another_root_has_the_kernels_file_systems_and_the_units_folders() {
        let context = ExecConfig { root_directory: Some("/srv/root".into()), ..ExecConfig::default() };
        let folders = [(DirectoryKind::Logs, "/var/log".to_owned(), "x".to_owned())];
        let given = Given { folders: &folders, notify: Some("/run/notify"), ..NOTHING };
        let order = of_unit(&context, given).unwrap();
        assert_eq!(wanted(&order, "/proc"), [What::Processes]);
        assert_eq!(wanted(&order, "/run/notify"), [What::Bind]);
        assert_eq!(wanted(&order, "/var/log/x"), [What::Bind]);
    }
}
