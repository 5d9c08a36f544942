//! The machine's time zone: what /etc/localtime says, and when that changes; localtime(5).

use jiff::tz::TimeZone;
use rustix::fs::inotify;
use std::{
    fs, io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// The file that says it.
const FILE: &str = "/etc/localtime";

/// What says which zone it is: where the link leads, else what the file has. `None`: nothing, which is UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Link(PathBuf),
    File(Vec<u8>),
}

/// Longest file that is taken for one of a zone.
const LONGEST: u64 = 256 * 1024;

fn said() -> Option<Said> {
    if let Ok(to) = fs::read_link(FILE) {
        return Some(Said::Link(to));
    }
    let short = fs::metadata(FILE).is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
    if short { fs::read(FILE).ok().map(Said::File) } else { None }
}

/// The name of the zone that a link leads to.
fn name_of(link: &Path) -> Option<&str> {
    link.to_str()?.split_once("/zoneinfo/").map(|(_, name)| name)
}

/// The zone, as it is now: jiff keeps it for some minutes.
pub fn local() -> TimeZone {
    if std::env::var_os("TZ").is_some() {
        return TimeZone::try_system().unwrap_or(TimeZone::UTC);
    }
    let zone = match said() {
        None => None,
        Some(Said::Link(to)) => match name_of(&to) {
            Some(name) => TimeZone::get(name).ok(),
            None => fs::read(FILE).ok().and_then(|bytes| TimeZone::tzif("Local", &bytes).ok()),
        },
        Some(Said::File(bytes)) => TimeZone::tzif("Local", &bytes).ok(),
    };
    zone.unwrap_or(TimeZone::UTC)
}

/// Sees it change.
pub struct ZoneWatch {
    /// Readable when something in the file's folder changed.
    pub fd: OwnedFd,
    told: Option<Said>,
}

impl ZoneWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// errno of inotify.
    pub fn new() -> io::Result<ZoneWatch> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // A link is replaced by another one, not written to. That it is gone only says that it will be back.
        let flags =
            inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE;
        inotify::add_watch(&fd, "/etc", flags)?;
        Ok(ZoneWatch { fd, told: said() })
    }

    /// The name of the zone, if it is another one than before.
    pub fn changed(&mut self) -> Option<String> {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        while reader.next().is_ok() {}
        let now = said()?;
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        let name = match &now {
            Said::Link(to) => name_of(to).map(str::to_owned),
            Said::File(_) => None,
        };
        self.told = Some(now);
        Some(name.unwrap_or_else(|| FILE.to_owned()))
    }
}
