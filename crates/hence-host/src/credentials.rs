//! Credentials of a unit: a folder of their own with what SetCredential=, LoadCredential= and
//! ImportCredential= name, which only the unit's user can read, in memory that is not swapped where that can
//! be had; systemd.exec(5), "Credentials". Nothing is decrypted here.

use crate::{
    glob,
    sys::namespace::{self, Attribute},
};
use hence_unit::attributes::Attributes;
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with},
};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt, chown},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

/// All credentials of a unit together, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// Files that a folder can bring.
const MOST_FILES: usize = 1024;
/// How long a socket may take to give one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where credentials lie that are named without a path.
const STORES: [&str; 3] = ["/etc/credstore", "/run/credstore", "/usr/lib/credstore"];

/// The folder of a unit's credentials, below the folder of runtime directories.
pub(crate) fn folder(runtime: &Path, unit: &str) -> PathBuf {
    runtime.join("credentials").join(unit)
}

/// The credentials of a unit as lines of a plan. With `anew`, what is there of a former run is dropped.
pub(crate) fn of_unit(attributes: &Attributes, folder: &Path, unit: &str, anew: bool) -> Vec<String> {
    if !attributes.has_credentials() {
        return Vec::new();
    }
    let mut lines = vec![format!("{} {unit}:{}", if anew { "anew" } else { "keep" }, folder.display())];
    lines.extend(attributes.credentials_loaded.iter().map(|(name, source)| format!("load {name}:{source}")));
    lines.extend(attributes.credentials_imported.iter().map(|pattern| format!("import {pattern}")));
    for (name, value) in &attributes.credentials_set {
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push(format!("set {name}:{hex}"));
    }
    lines
}

/// Removes a unit's credentials.
pub(crate) fn remove(folder: &Path) {
    let _ = unmount(folder, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    let _ = fs::remove_dir_all(folder);
}

/// Fetches the credentials and puts them into their folder, owned by this user.
///
/// # Errors
/// On what, and why.
pub(crate) fn write(lines: &[String], uid: Option<u32>) -> Result<(), (String, io::Error)> {
    let Some((first, rest)) = lines.split_first() else { return Ok(()) };
    let (anew, place) = first.split_once(' ').unwrap_or(("", first));
    let Some((unit, folder)) = place.split_once(':') else { return Ok(()) };
    let folder = Path::new(folder);
    if anew != "anew" && folder.exists() {
        return Ok(());
    }
    remove(folder);
    let found = fetch(rest, unit)?;
    place_all(folder, &found, uid).map_err(|e| {
        // Half of them are worse than none.
        remove(folder);
        (folder.display().to_string(), e)
    })
}

/// Credentials by name.
#[derive(Default)]
struct Found {
    all: Vec<(String, Vec<u8>)>,
    bytes: usize,
}

impl Found {
    fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(known, _)| known == name)
    }

    fn add(&mut self, name: String, value: Vec<u8>) -> io::Result<()> {
        if self.has(&name) {
            return Ok(());
        }
        self.bytes += name.len() + value.len();
        if self.bytes > MOST_BYTES || self.all.len() >= MOST_FILES {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        self.all.push((name, value));
        Ok(())
    }
}

fn fetch(lines: &[String], unit: &str) -> Result<Found, (String, io::Error)> {
    let mut found = Found::default();
    let has_default = |name: &str| {
        let set = lines.iter().filter_map(|line| line.strip_prefix("set ")?.split_once(':'));
        set.into_iter().any(|(known, _)| known == name)
    };
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, source) = rest.split_once(':').unwrap_or((rest, ""));
        let failed = |e| (format!("credential {name}"), e);
        match word {
            "load" => match load(&mut found, name, source, unit) {
                // What was passed on may well not be there, and a default stands in for anything.
                Err(e)
                    if e.kind() == io::ErrorKind::NotFound
                        && (!source.starts_with('/') || has_default(name)) => {}
                result => result.map_err(|e| (format!("credential {name} from {source}"), e))?,
            },
            "import" => import(&mut found, rest).map_err(failed)?,
            _ => found.add(name.to_owned(), bytes_of(source)).map_err(failed)?,
        }
    }
    Ok(found)
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Folders that credentials are looked for in by name: what hence itself was passed, then the stores.
fn stores() -> impl Iterator<Item = PathBuf> {
    let own = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute());
    own.into_iter().chain(STORES.map(PathBuf::from))
}

fn load(found: &mut Found, name: &str, source: &str, unit: &str) -> io::Result<()> {
    if !source.starts_with('/') {
        let place = stores().map(|store| store.join(source)).find(|path| path.exists());
        let path = place.ok_or(io::ErrorKind::NotFound)?;
        return found.add(name.to_owned(), read(&path)?);
    }
    let path = Path::new(source);
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return load_folder(found, name, path);
    }
    let value = if kind.is_socket() { ask(path, unit, name)? } else { read(path)? };
    found.add(name.to_owned(), value)
}

/// Every file below a folder, named by its path; links are left out.
fn load_folder(found: &mut Found, name: &str, folder: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let file = entry.file_name();
        let Some(file) = file.to_str() else { continue };
        let name = format!("{name}_{file}");
        match entry.file_type()? {
            kind if kind.is_dir() && name.len() < 255 => load_folder(found, &name, &entry.path())?,
            kind if kind.is_file() && name.len() <= 255 => found.add(name, read(&entry.path())?)?,
            _ => {}
        }
    }
    Ok(())
}

fn import(found: &mut Found, pattern: &str) -> io::Result<()> {
    for store in stores() {
        for path in glob::expand(&store.join(pattern).display().to_string()) {
            let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            if let Some(name) = name.filter(|name| !found.has(name))
                && path.is_file()
            {
                found.add(name, read(&path)?)?;
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    // A pipe that nobody writes to isn't waited for.
    let file =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    file.take(MOST_BYTES as u64 + 1).read_to_end(&mut value)?;
    Ok(value)
}

/// What a socket gives; it can tell by our own address who asks for what.
fn ask(path: &Path, unit: &str, name: &str) -> io::Result<Vec<u8>> {
    let mut random = [0u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let own = format!("{:016x}/unit/{unit}/{name}", u64::from_ne_bytes(random));
    let own = SocketAddrUnix::new_abstract_name(own.as_bytes())?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &own)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut stream = UnixStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut value = Vec::new();
    (&mut stream).take(MOST_BYTES as u64 + 1).read_to_end(&mut value)?;
    Ok(value)
}

fn place_all(folder: &Path, found: &Found, uid: Option<u32>) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let mounted = mount_memory(folder);
    for (name, value) in &found.all {
        let path = folder.join(name);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
        file.write_all(value)?;
        owned(&path, uid)?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o500))?;
    owned(folder, uid)?;
    if mounted {
        let text = folder.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        namespace::change_mount(text, Attribute::READ_ONLY, Attribute::NONE)?;
    }
    Ok(())
}

/// Gives a file to the unit's user; nobody but root can, and has nothing to give.
fn owned(path: &Path, uid: Option<u32>) -> io::Result<()> {
    match uid {
        Some(uid) if rustix::process::geteuid().is_root() => chown(path, Some(uid), None),
        _ => Ok(()),
    }
}

/// Mounts memory at the folder that isn't swapped, or else some that is. Without the right to that a plain
/// folder has to do.
fn mount_memory(folder: &Path) -> bool {
    let flags = MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOSUID;
    mount("ramfs", folder, "ramfs", flags, c"mode=0700").is_ok()
        || mount("tmpfs", folder, "tmpfs", flags, c"mode=0700,nr_inodes=2048,size=2M").is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_and_loaded() {
        let folder = std::env::temp_dir().join(format!("hence-credentials-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("in/sub")).unwrap();
        fs::write(folder.join("in/one"), b"1\0").unwrap();
        fs::write(folder.join("in/sub/two"), b"2").unwrap();
        std::os::unix::fs::symlink("one", folder.join("in/link")).unwrap();
        let source = folder.join("in").display().to_string();
        let attributes = Attributes {
            credentials_set: vec![("a".into(), vec![0, 255]), ("d_one".into(), b"no".to_vec())],
            credentials_loaded: vec![
                ("d".into(), source.as_str().into()),
                ("absent".into(), "no-such-credential".into()),
                ("a".into(), "/no/such/file".into()),
            ],
            ..Attributes::default()
        };
        let lines = of_unit(&attributes, &folder.join("out"), "x.service", true);
        let found = fetch(&lines[1..], "x.service").unwrap();
        let all: Vec<(&str, &[u8])> = found.all.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        assert_eq!(all, [("d_one", &b"1\0"[..]), ("d_sub_two", b"2"), ("a", &[0, 255])]);
        let missing = ["load x:/no/such/file".to_owned()];
        let (subject, error) = fetch(&missing, "x.service").err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(subject.contains("/no/such/file"), "{subject}");
        let much = [format!("set big:{}", "00".repeat(MOST_BYTES))];
        assert_eq!(fetch(&much, "x.service").err().unwrap().1.raw_os_error(), Some(libc::E2BIG));
        fs::remove_dir_all(&folder).unwrap();
    }
}
