//! Digests of the files that starts depend on: SHA-256 and the package that owns the path.
//!
//! A file is read in slices with a small buffer, so that everything else goes on meanwhile; its version is
//! checked before and after, so that a digest never names another content than the record did.

use super::package::Packages;
use hence_ledger::{Fact, Invocation, Record, RecordId, Text, Version};
use sha2::{Digest, Sha256};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, Metadata, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// Files that wait at most.
const QUEUE: usize = 4096;
/// Files that are known at most.
const KNOWN: usize = 16 << 10;
/// Contents that are known at most.
const CONTENTS: usize = 512;
/// Files whose packages are asked for in one go.
const PER_QUERY: usize = 64;
const BUFFER: usize = 64 << 10;
/// How much is read in one go.
const SLICE: u64 = 1 << 20;

/// SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha256_of(&[bytes])
}

/// SHA-256 of several pieces as one.
pub(crate) fn sha256_of(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    pieces.iter().for_each(|piece| hasher.update(piece));
    hasher.finalize().into()
}

/// A file is not read beyond this when its digest is wanted at once.
const AT_ONCE: u64 = 512 << 20;

/// SHA-256 of this version of a file, read now; `None` where it is another one by now, or can't be read.
pub fn digest_of(path: &str, wanted: &Version) -> Option<[u8; 32]> {
    let flags = (libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC) as _;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let same = |file: &File| file.metadata().is_ok_and(|m| m.is_file() && version(&m) == *wanted);
    if !same(&file) || wanted.size > AT_ONCE {
        return None;
    }
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    let mut left = wanted.size;
    while left > 0 {
        let read = file.read(&mut buffer).ok().filter(|n| *n > 0)?;
        hasher.update(&buffer[..read]);
        left = left.checked_sub(read as u64)?;
    }
    same(&file).then(|| hasher.finalize().into())
}

/// A file to be digested, then one that is.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub cause: RecordId,
    pub unit: Option<Text>,
    pub invocation: Option<Invocation>,
    pub path: Text,
    pub version: Version,
    pub sha256: Option<[u8; 32]>,
    pub package: Option<Text>,
}

#[derive(Debug)]
struct Hashing {
    job: Job,
    file: File,
    hasher: Sha256,
}

/// All digests in the making.
#[derive(Debug)]
pub(crate) struct Digests {
    queue: VecDeque<Job>,
    known: BTreeSet<u64>,
    contents: BTreeMap<u64, [u8; 32]>,
    hashing: Option<Hashing>,
    hashed: Vec<Job>,
    /// Asks for packages.
    pub packages: Packages,
    dropped: u64,
}

impl Digests {
    pub fn new(packages: Packages) -> Digests {
        Digests {
            queue: VecDeque::new(),
            known: BTreeSet::new(),
            contents: BTreeMap::new(),
            hashing: None,
            hashed: Vec::new(),
            packages,
            dropped: 0,
        }
    }

    /// Takes the files of an [`Fact::Inputs`] that are not known in that version.
    pub fn add(&mut self, record: &Record) {
        let Fact::Inputs { files } = &record.fact else { return };
        for file in files {
            let Some(version) = file.version else { continue };
            let mut hasher = DefaultHasher::new();
            (&*file.path, key(&version)).hash(&mut hasher);
            if self.queue.len() >= QUEUE {
                self.dropped += 1;
                continue;
            }
            if self.known.len() >= KNOWN {
                self.known.clear();
            }
            if self.known.insert(hasher.finish()) {
                self.queue.push_back(Job {
                    cause: record.id,
                    unit: record.unit.clone(),
                    invocation: record.invocation,
                    path: file.path.clone(),
                    version,
                    sha256: None,
                    package: None,
                });
            }
        }
    }

    /// Whether there is work that needs no waiting.
    pub fn has_work(&self) -> bool {
        self.hashing.is_some()
            || !self.queue.is_empty() && self.hashed.len() < 2 * PER_QUERY
            || !self.hashed.is_empty() && !self.packages.is_busy()
    }

    /// Gives back the memory that a burst needed.
    pub fn shrink(&mut self) {
        // Known contents save work within a burst; afterwards the same files seldom come again.
        self.contents.clear();
        self.queue.shrink_to_fit();
        self.hashed.shrink_to_fit();
    }

    /// Whether nothing is left to do or to wait for.
    pub fn is_done(&self) -> bool {
        self.hashing.is_none() && self.queue.is_empty() && self.hashed.is_empty() && !self.packages.is_busy()
    }

    /// Files that were not digested because too many waited, since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Does one slice of work.
    pub fn work(&mut self) {
        if let Some(hashing) = self.hashing.take() {
            self.slice(hashing);
        } else if let Some(job) = self.queue.pop_front() {
            self.begin(job);
        }
        let enough = self.hashed.len() >= PER_QUERY || self.queue.is_empty() && self.hashing.is_none();
        if enough && !self.hashed.is_empty() && !self.packages.is_busy() {
            let rest = self.hashed.split_off(self.hashed.len().min(PER_QUERY));
            self.packages.ask(std::mem::replace(&mut self.hashed, rest));
        }
    }

    fn begin(&mut self, mut job: Job) {
        if let Some(sha256) = self.contents.get(&key(&job.version)) {
            job.sha256 = Some(*sha256);
            self.hashed.push(job);
            return;
        }
        // A pipe or a device must not hold us up; what it is shows below.
        let flags = (libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC) as _;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&*job.path);
        match file {
            Ok(file) if file.metadata().is_ok_and(|m| m.is_file() && version(&m) == job.version) => {
                self.hashing = Some(Hashing { job, file, hasher: Sha256::new() });
            }
            _ => self.hashed.push(job),
        }
    }

    fn slice(&mut self, mut hashing: Hashing) {
        let mut buffer = vec![0; BUFFER];
        let mut done = 0;
        while done < SLICE {
            match hashing.file.read(&mut buffer) {
                Ok(0) => {
                    let Hashing { mut job, file, hasher } = hashing;
                    if file.metadata().is_ok_and(|m| version(&m) == job.version) {
                        let sha256 = hasher.finalize().into();
                        job.sha256 = Some(sha256);
                        if self.contents.len() >= CONTENTS {
                            self.contents.clear();
                        }
                        self.contents.insert(key(&job.version), sha256);
                    }
                    self.hashed.push(job);
                    return;
                }
                Ok(n) => {
                    hashing.hasher.update(&buffer[..n]);
                    done += n as u64;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.hashed.push(hashing.job);
                    return;
                }
            }
        }
        // A file that grows while it is read would be read forever.
        if hashing.file.metadata().is_ok_and(|m| version(&m) == hashing.job.version) {
            self.hashing = Some(hashing);
        } else {
            self.hashed.push(hashing.job);
        }
    }
}

/// Which content a file has.
pub(crate) fn version(metadata: &Metadata) -> Version {
    let ns = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
    Version {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn key(version: &Version) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Version { device, inode, size, modified_ns, changed_ns } = version;
    (device, inode, size, modified_ns, changed_ns).hash(&mut hasher);
    hasher.finish()
}
