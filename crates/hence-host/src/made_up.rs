//! DynamicUser=: a user and group that exist while a unit runs. The executor picks a number that nobody has,
//! locks it in a file, and keeps number and lock in a socket of hence's; when the last unit is down hence
//! removes the file.
//!
//! The numbers, the files and the number that a name gets are systemd's, so that folders keep their owner
//! whoever is in charge. Programs learn of the user by a record that nss-systemd(8) reads.

use crate::{keep::Keep, sys::nss};
use rustix::fs::{FlockOperation, flock};
use siphasher::sip::SipHasher24;
use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    hash::Hasher,
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::Path,
};

/// The numbers; systemd.exec(5).
const FIRST: u32 = 61184;
const LAST: u32 = 65519;
/// Where numbers are locked, and their names kept.
const LOCKS: &str = "/run/systemd/dynamic-uid";
/// Records of users and groups that programs get to see; nss-systemd(8).
const RECORDS: &str = "/run/userdb";
/// Numbers that are tried at most.
const TRIES: u32 = 100;
/// What the hash of a name begins with; systemd's.
const KEY: [u8; 16] =
    [0x37, 0x53, 0x7e, 0x31, 0xcf, 0xce, 0x48, 0xf5, 0x8a, 0xbb, 0x39, 0x57, 0x8d, 0xd9, 0xec, 0x59];

/// The user of this name: the one that lies in the socket, or one of the machine's, or a new one. `owned` are
/// folders that may be its from another time. `None` in place of a number: it is one of the machine's.
pub(crate) fn realize(name: &str, keep: &Keep, owned: &[String]) -> io::Result<Option<u32>> {
    // Others of the unit may be starting, too.
    keep.alone(|| match keep.take()? {
        Some((uid, lock)) => keep.put(uid, lock.as_ref()).map(|()| Some(uid)),
        None if nss::user(name)?.is_some() => Ok(None),
        None => {
            let (uid, lock) = pick(name, owned)?;
            publish(name, uid);
            keep.put(uid, Some(&lock)).map(|()| Some(uid))
        }
    })
}

/// The entry of a user that was made up.
pub(crate) fn entry(name: &str, uid: u32) -> nss::User {
    let shell = "/usr/sbin/nologin".to_owned();
    nss::User { name: CString::new(name).unwrap_or_default(), uid, gid: uid, home: "/".to_owned(), shell }
}

fn hashed(name: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&KEY);
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn in_range(number: u64) -> u32 {
    // The lower half is what systemd takes.
    FIRST + number as u32 % (LAST - FIRST + 1)
}

/// A number that nobody has, and its lock.
fn pick(name: &str, owned: &[String]) -> io::Result<(u32, OwnedFd)> {
    fs::create_dir_all(LOCKS)?;
    let owners = owned.iter().filter_map(|path| {
        let about = fs::symlink_metadata(path).ok()?;
        (about.uid() == about.gid()).then_some(about.uid())
    });
    let owners = owners.filter(|uid| (FIRST..=LAST).contains(uid));
    let more = (0..TRIES).map(|_| {
        let mut bytes = [0u8; 8];
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        in_range(u64::from_le_bytes(bytes))
    });
    for uid in owners.chain([in_range(hashed(name))]).chain(more) {
        if let Some(lock) = locked(name, uid)? {
            return Ok((uid, lock));
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

/// Locks a number; `None` where somebody has it.
fn locked(name: &str, uid: u32) -> io::Result<Option<OwnedFd>> {
    let number = uid.to_string();
    if nss::user(&number)?.is_some() {
        return Ok(None);
    }
    let path = Path::new(LOCKS).join(number);
    loop {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            result => result?,
        }
        // Its holder may have removed it in between.
        if file.metadata()?.nlink() > 0 {
            file.set_len(0)?;
            file.write_all(format!("{name}\n").as_bytes())?;
            return Ok(Some(file.into()));
        }
    }
}

fn links(name: &str, uid: u32) -> [(String, String); 2] {
    [(format!("{LOCKS}/direct:{uid}"), name.to_owned()), (format!("{LOCKS}/direct:{name}"), uid.to_string())]
}

fn records(name: &str, uid: u32) -> [(String, String); 2] {
    ["user", "group"].map(|kind| (format!("{RECORDS}/{name}.{kind}"), format!("{RECORDS}/{uid}.{kind}")))
}

/// Lets others learn the name. Without that the unit runs all the same.
fn publish(name: &str, uid: u32) {
    for (link, target) in links(name, uid) {
        let _ = fs::remove_file(&link);
        let _ = symlink(target, link);
    }
    let user = format!(
        "{{\"userName\":\"{name}\",\"uid\":{uid},\"gid\":{uid},\"realName\":\"Dynamic User\",\
         \"homeDirectory\":\"/\",\"shell\":\"/usr/sbin/nologin\",\"locked\":true,\
         \"disposition\":\"dynamic\",\"service\":\"io.systemd.DynamicUser\"}}\n"
    );
    let group = format!(
        "{{\"groupName\":\"{name}\",\"gid\":{uid},\"description\":\"Dynamic Group\",\
         \"disposition\":\"dynamic\",\"service\":\"io.systemd.DynamicUser\"}}\n"
    );
    let _ = fs::create_dir_all(RECORDS);
    for ((path, number), text) in records(name, uid).into_iter().zip([user, group]) {
        let _ = fs::remove_file(&path);
        let written = File::create(&path).and_then(|mut file| {
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.write_all(text.as_bytes())
        });
        let _ = fs::remove_file(&number);
        if let (Ok(()), Some(target)) = (written, Path::new(&path).file_name()) {
            let _ = symlink(target, number);
        }
    }
}

/// Nobody has this user any more.
pub(crate) fn release(name: &str, keep: &Keep) {
    let Ok(Some((uid, Some(_lock)))) = keep.take() else { return };
    for (link, _) in links(name, uid) {
        let _ = fs::remove_file(link);
    }
    for (path, number) in records(name, uid) {
        let _ = fs::remove_file(path);
        let _ = fs::remove_file(number);
    }
    // Last, while the lock is held: then the number is free.
    let _ = fs::remove_file(Path::new(LOCKS).join(uid.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_number_that_systemd_gives_it() {
        assert_eq!(in_range(hashed("dyn")), 62264);
        assert_eq!(in_range(hashed("foobar")), 62355);
    }
}
