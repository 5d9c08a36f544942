//! A listening socket in the file system: made for its owner only, accepted from without waiting, removed
//! with us.

use hence_bus::front::Caller;
use hence_engine::carry::{Section, Unread};
use hence_host::carry::Out;
use hence_host::sys::inherited::Inherited;
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
    sockopt,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Clients that may wait to be accepted; the kernel bounds it further.
const BACKLOG: i32 = 4096;

pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode: a socket that somebody else put there later is not ours to remove.
    node: (u64, u64),
}

fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    let taken = |why: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {why}", path.display()));
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(about) if !about.file_type().is_socket() => {
            return Err(taken("there is a file that is no socket"));
        }
        Ok(_) => {}
    }
    match connect(stream_socket()?, address) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => std::fs::remove_file(path),
        // With its queue full, somebody listens there all the same.
        Ok(()) | Err(Errno::AGAIN) => Err(taken("somebody listens there already")),
        Err(error) => Err(error.into()),
    }
}

impl Listener {
    /// Writes what a successor needs, in the section that is open.
    pub fn carry<'h>(&'h self, out: &mut Out<'h>) {
        let socket = out.keep(&self.socket);
        out.text.field("socket", &socket);
        out.text.field("path", &self.path.to_string_lossy().into_owned());
        out.text.field("node", &self.node);
    }

    /// The listener as it was: who has connected since waits in its queue.
    pub fn take_up(from: &Section<'_>, inherited: &mut Inherited) -> Result<Listener, Unread> {
        let socket = inherited.take(from.need("socket")?).ok_or_else(|| Unread("socket".into()))?;
        let path: String = from.need("path")?;
        Ok(Listener { socket, path: PathBuf::from(path), node: from.need("node")? })
    }

    pub fn open(path: &Path) -> io::Result<Listener> {
        let address = SocketAddrUnix::new(path)?;
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        remove_stale(path, &address)?;
        let socket = stream_socket()?;
        bind(&socket, &address)?;
        let about = path.symlink_metadata()?;
        let listener = Listener { socket, path: path.to_owned(), node: (about.dev(), about.ino()) };
        // Before it listens nobody can connect.
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR)?;
        listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next client, `None` when there is none. An error: the system has no room for it now.
    pub fn accept(&self) -> io::Result<Option<(UnixStream, Caller)>> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = match accept_with(&self.socket, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            // Whoever can't be named isn't served.
            let Ok(credentials) = sockopt::socket_peercred(&socket) else { continue };
            let pid = u32::try_from(credentials.pid.as_raw_nonzero().get()).unwrap_or(0);
            let caller = Caller { pid, uid: credentials.uid.as_raw() };
            return Ok(Some((UnixStream::from(socket), caller)));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let same = |about: std::fs::Metadata| (about.dev(), about.ino()) == self.node;
        if self.path.symlink_metadata().is_ok_and(same) {
            // Nothing can be done about a node that stays; the next start removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
