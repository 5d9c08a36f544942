//! Namespaces other than that of mounts: network, IPC, users, host name. Those that several processes share
//! are kept by hence in a socket: who comes first makes one and puts it there, and each takes it and puts it
//! back.

use super::{Identity, Own, REFUSABLE, Without};
use crate::{
    keep::Keep,
    sys::{
        inherited,
        namespace::{self, Kind},
    },
};
use rustix::fs::{Mode, OFlags, open};
use std::{fs::File, io, os::fd::AsFd};

/// Where the namespaces of a unit are kept, for those that it shares.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub network: Option<Keep>,
    pub ipc: Option<Keep>,
    /// Where a user that is made up is kept.
    pub user: Option<Keep>,
}

impl Shared {
    /// Those that the executor got, from this number on, by what is kept in each.
    pub fn inherited(first: u32, kinds: &[String]) -> Shared {
        let mut shared = Shared::default();
        for (at, kind) in kinds.iter().enumerate() {
            let number = first + 2 * at as u32;
            let ends = inherited::again(number).zip(inherited::again(number + 1));
            let ends = ends.map(|(one, other)| Keep([one, other]));
            match &**kind {
                "network" => shared.network = ends,
                "ipc" => shared.ipc = ends,
                "user" => shared.user = ends,
                _ => {}
            }
        }
        shared
    }
}

/// On what it failed, and why.
type Failure = (String, io::Error);

/// PrivateNetwork= and NetworkNamespacePath=.
pub(super) fn network(own: &Own, shared: &Shared, without: &mut Without<'_>) -> Result<(), Failure> {
    let made = || {
        namespace::unshare(Kind::Network)?;
        // Programs expect 127.0.0.1. Without it the network is still the unit's own.
        let _ = namespace::loopback_up();
        Ok(())
    };
    enter(own, (Kind::Network, 1), shared.network.as_ref(), made, without)
}

/// PrivateIPC= and IPCNamespacePath=.
pub(super) fn ipc(own: &Own, shared: &Shared, without: &mut Without<'_>) -> Result<(), Failure> {
    let made = || namespace::unshare(Kind::Ipc);
    enter(own, (Kind::Ipc, 2), shared.ipc.as_ref(), made, without)
}

fn enter(
    own: &Own,
    (kind, refusable): (Kind, u8),
    kept: Option<&Keep>,
    make: impl Fn() -> io::Result<()>,
    without: &mut Without<'_>,
) -> Result<(), Failure> {
    let (what, result, silently) = match own {
        Own::No => return Ok(()),
        Own::Private => {
            let result = match kept {
                Some(kept) => join_or_make(kept, kind, make),
                None => make(),
            };
            (REFUSABLE[usize::from(refusable)].to_owned(), result, true)
        }
        // The network is insisted on; so it is under systemd.
        Own::At(path) => (path.clone(), join(path, kind), kind == Kind::Ipc),
    };
    without.allow(refusable, silently, result).map(|_| ()).map_err(|e| (what, e))
}

fn join(path: &str, kind: Kind) -> io::Result<()> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    namespace::join(file.as_fd(), kind)
}

/// Joins the namespace that is kept, or makes one and keeps it.
fn join_or_make(kept: &Keep, kind: Kind, make: impl Fn() -> io::Result<()>) -> io::Result<()> {
    // Others of the unit may be starting, too.
    kept.alone(|| {
        let there = match kept.take()? {
            Some((_, Some(there))) => namespace::join(there.as_fd(), kind).map(|()| there)?,
            _ => make().and_then(|()| Ok(File::open(kind.file())?.into()))?,
        };
        kept.put(0, Some(&there))
    })
}

/// ProtectHostname=: names that nobody else sees.
pub(super) fn unshare_host_name() -> io::Result<()> {
    namespace::unshare(Kind::HostName)
}

/// PrivateUsers=: root, and who the process is to be, are who they are; all others are nobody.
pub(super) fn private_users(identity: Identity) -> io::Result<()> {
    let Identity { uid, gid, privileged } = identity;
    if !privileged {
        return namespace::unshare_users_as_they_are();
    }
    let map = |own: u32| match own {
        0 => "0 0 1\n".to_owned(),
        own => format!("0 0 1\n{own} {own} 1\n"),
    };
    namespace::unshare_users(&map(uid), &map(gid))
}
