//! The view that a unit's processes have of the machine. `of_unit` says what is to be done, from what the
//! unit's files say; `enter` does it in the executor, which then has namespaces of its own.
//!
//! What has to become of which path is `paths`'s, mounting is `mounts`'s, the other namespaces are
//! `namespaces`'s. Nothing here decides whether a unit needs any of it: that is `start`'s.

mod devices;
mod mounts;
mod namespaces;
mod paths;

pub(crate) use namespaces::Shared;
pub(crate) use paths::{Given, of_unit};

use crate::sys::spawn::status;
use hence_ledger::SpawnStep;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What is to become of a path. Of several for one path the first in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// Out of reach.
    Hidden,
    /// The source, as it is on the machine.
    Bind,
    /// A /tmp of its own.
    OwnTmp,
    /// A /dev with pseudo devices only.
    Devices,
    /// The machine's /dev, where there is none.
    HostDevices,
    /// Nothing, and nothing can be put there.
    Empty,
    /// /sys
    Kernel,
    /// /proc
    Processes,
    /// Nothing may be written.
    ReadOnly,
    /// As it is, also below what is read-only.
    Writable,
    /// Nothing may be executed.
    NoExec,
    /// What is there may be executed, also below what may not.
    Exec,
    /// An empty file system.
    Temporary,
    /// The same that anybody may write to.
    Scratch,
    /// A /run, where there is none.
    Run,
    /// The message queues of the IPC namespace.
    Queues,
    /// As `Writable`, where nothing else is said.
    Open,
}

impl What {
    const ALL: [What; 17] = [
        What::Hidden,
        What::Bind,
        What::OwnTmp,
        What::Devices,
        What::HostDevices,
        What::Empty,
        What::Kernel,
        What::Processes,
        What::ReadOnly,
        What::Writable,
        What::NoExec,
        What::Exec,
        What::Temporary,
        What::Scratch,
        What::Run,
        What::Queues,
        What::Open,
    ];
}

/// A path, and what is to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub what: What,
    pub path: String,
    /// What a bind shows there, on the machine.
    pub source: String,
    /// Mount options.
    pub options: String,
    /// It may be missing: then nothing is done.
    pub optional: bool,
    /// The path is one below RootDirectory=, else one of the machine.
    pub rooted: bool,
    pub read_only: bool,
    pub recursive: bool,
    /// Nothing there gives another user's rights.
    pub no_suid: bool,
}

impl Entry {
    fn encode(&self) -> String {
        let flags = [self.optional, self.rooted, self.read_only, self.recursive, self.no_suid];
        let flags: String = flags.into_iter().map(|f| if f { '1' } else { '0' }).collect();
        format!("{}\0{flags}\0{}\0{}\0{}", self.what as u8, self.path, self.source, self.options)
    }

    fn decode(text: &str) -> Option<Entry> {
        let parts: Vec<&str> = text.split('\0').collect();
        let [what, flags, path, source, options] = parts[..] else { return None };
        let flags: Vec<bool> = flags.chars().map(|c| c == '1').collect();
        let [optional, rooted, read_only, recursive, no_suid] = flags[..] else { return None };
        let what = *What::ALL.get(what.parse::<usize>().ok()?)?;
        let [path, source, options] = [path, source, options].map(str::to_owned);
        Some(Entry { what, path, source, options, optional, rooted, read_only, recursive, no_suid })
    }
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Own {
    /// That of everybody.
    #[default]
    No,
    /// One of the unit's.
    Private,
    /// The one of this path.
    At(String),
}

/// What is to be done for a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// It has mounts of its own.
    pub mounts: bool,
    /// What becomes of them.
    pub entries: Vec<Entry>,
    /// Without them the unit would run in another world than asked for: then it doesn't run.
    pub essential: bool,
    /// Nothing mounted gives another user's rights.
    pub no_suid: bool,
    /// An index into the words of MountFlags=.
    pub propagation: u8,
    pub network: Own,
    pub ipc: Own,
    pub users: bool,
    pub host_name: bool,
    /// What is refused is done without.
    pub best_effort: bool,
}

impl Order {
    /// As texts.
    pub fn encode(&self) -> Vec<String> {
        let flags = [self.mounts, self.essential, self.no_suid, self.users, self.host_name, self.best_effort];
        let flags: String = flags.into_iter().map(|f| if f { '1' } else { '0' }).collect();
        let own = |own: &Own| match own {
            Own::No => "n".to_owned(),
            Own::Private => "p".to_owned(),
            Own::At(path) => format!("@{path}"),
        };
        let first = format!("{flags}\0{}\0{}\0{}", self.propagation, own(&self.network), own(&self.ipc));
        std::iter::once(first).chain(self.entries.iter().map(Entry::encode)).collect()
    }

    /// The same back; `None` where it is none. Nothing: nothing is to be done.
    pub fn decode(texts: &[String]) -> Option<Order> {
        let Some((first, entries)) = texts.split_first() else { return Some(Order::default()) };
        let parts: Vec<&str> = first.split('\0').collect();
        let [flags, propagation, network, ipc] = parts[..] else { return None };
        let flags: Vec<bool> = flags.chars().map(|c| c == '1').collect();
        let [mounts, essential, no_suid, users, host_name, best_effort] = flags[..] else { return None };
        let own = |text: &str| match text {
            "n" => Some(Own::No),
            "p" => Some(Own::Private),
            path => path.strip_prefix('@').map(|path| Own::At(path.to_owned())),
        };
        Some(Order {
            mounts,
            entries: entries.iter().map(|text| Entry::decode(text)).collect::<Option<_>>()?,
            essential,
            no_suid,
            propagation: propagation.parse().ok()?,
            network: own(network)?,
            ipc: own(ipc)?,
            users,
            host_name,
            best_effort,
        })
    }
}

/// What failed: the step, systemd's exit status, on what, why.
pub(crate) type Failure = (SpawnStep, i32, String, io::Error);

/// What can be refused, as people write it.
pub(crate) const REFUSABLE: [&str; 8] = [
    "a mount namespace",
    "PrivateNetwork=",
    "PrivateIPC=",
    "ProtectHostname=",
    "PrivateUsers=",
    "RestrictAddressFamilies=",
    "a filter of system calls",
    "LoadCredential= or SetCredential=",
];

/// Of [`REFUSABLE`], what filters and credentials do.
pub(crate) const FAMILIES: u8 = 5;
pub(crate) const CALLS: u8 = 6;
pub(crate) const CREDENTIALS: u8 = 7;

/// The capability that some of [`REFUSABLE`] needs.
pub(crate) fn needs(what: u8) -> &'static str {
    match what {
        CREDENTIALS => "CAP_DAC_OVERRIDE",
        _ => "CAP_SYS_ADMIN",
    }
}

/// What the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// An index into [`REFUSABLE`].
    pub what: u8,
    pub errno: i32,
    /// Whether the unit starts without it.
    pub without: bool,
}

/// Whether the kernel says that the right to it, or the thing itself, is missing here.
fn is_refused(e: &io::Error) -> bool {
    let errno = e.raw_os_error().unwrap_or(0);
    [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EOPNOTSUPP].contains(&errno)
}

/// Whose processes these will be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The executor may do what root may.
    pub privileged: bool,
}

/// What was done without so far, and where that is told.
pub(crate) struct Without<'t> {
    pub best_effort: bool,
    pub tell: &'t mut dyn FnMut(Refused),
}

impl Without<'_> {
    /// Goes on where it was refused and that is allowed: by systemd, or by the unit. It is told in any case.
    pub fn allow(&mut self, what: u8, silently: bool, result: io::Result<()>) -> io::Result<bool> {
        match result {
            Ok(()) => Ok(true),
            Err(e) if is_refused(&e) => {
                let without = silently || self.best_effort;
                (self.tell)(Refused { what, errno: e.raw_os_error().unwrap_or(0), without });
                if without { Ok(false) } else { Err(e) }
            }
            Err(e) => Err(e),
        }
    }
}

/// Gives this process what is ordered, but for a user namespace, which comes when its groups are set.
/// Whether it is in the root that was asked for then.
///
/// # Errors
/// The first thing that can't be done.
pub(crate) fn enter(
    order: &Order,
    root: Option<&str>,
    identity: Identity,
    shared: &Shared,
    tell: &mut dyn FnMut(Refused),
) -> Result<bool, Failure> {
    let mut without = Without { best_effort: order.best_effort, tell };
    if order.users && !identity.privileged {
        users(identity, &mut without)?;
    }
    namespaces::network(&order.network, shared, &mut without)
        .map_err(|(on, e)| (SpawnStep::Network, status::NETWORK, on, e))?;
    let namespace = |(on, e)| (SpawnStep::Namespace, status::NAMESPACE, on, e);
    namespaces::ipc(&order.ipc, shared, &mut without).map_err(namespace)?;
    let mut inside = false;
    if order.mounts {
        inside = mounts::enter(order, root, &mut without).map_err(namespace)?;
    }
    if order.host_name {
        let own = without.allow(3, true, namespaces::unshare_host_name());
        own.map_err(|e| namespace(("ProtectHostname=".to_owned(), e)))?;
    }
    Ok(inside)
}

/// Gives this process a user namespace of its own, in which it is who it is to be and root is root.
///
/// # Errors
/// It can't be made.
pub(crate) fn enter_users(
    order: &Order,
    identity: Identity,
    tell: &mut dyn FnMut(Refused),
) -> Result<(), Failure> {
    if !order.users || !identity.privileged {
        return Ok(());
    }
    users(identity, &mut Without { best_effort: order.best_effort, tell })
}

fn users(identity: Identity, without: &mut Without<'_>) -> Result<(), Failure> {
    let done = without.allow(4, false, namespaces::private_users(identity));
    done.map(|_| ()).map_err(|e| (SpawnStep::User, status::USER, "PrivateUsers=".to_owned(), e))
}

/// Makes the folder in this one that takes its place for one unit. The name can't be foreseen.
pub(crate) fn make_own_tmp(above: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = above.join(name);
    // Fails where somebody has it already.
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let inner = folder.join("tmp");
    fs::create_dir(&inner)?;
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777))?;
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_its_encoding() {
        let entry = Entry {
            what: What::Temporary,
            path: "/srv/a b".into(),
            source: String::new(),
            options: "size=1M,mode=700".into(),
            optional: true,
            rooted: false,
            read_only: true,
            recursive: false,
            no_suid: true,
        };
        for (at, what) in What::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, at);
        }
        let order = Order {
            mounts: true,
            entries: vec![entry.clone(), Entry { what: What::Hidden, source: "/x".into(), ..entry }],
            propagation: 2,
            network: Own::At("/run/netns/a".into()),
            ipc: Own::Private,
            users: true,
            ..Order::default()
        };
        assert_eq!(Order::decode(&order.encode()), Some(order));
        assert_eq!(Order::decode(&[]), Some(Order::default()));
        assert_eq!(Order::decode(&["1".to_owned()]), None);
    }
}
