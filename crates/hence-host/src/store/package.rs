//! Which package owns a file: asked of dpkg or rpm, as a child process that may take its time.
//!
//! Nothing waits here: the answer is read when its pipe is readable, and a query that takes too long is
//! ended.

use super::digest::Job;
use crate::sys::store as sys;
use hence_ledger::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const LONGEST_US: u64 = 10_000_000;
const LONGEST_ANSWER: usize = 256 << 10;

/// Where packages are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Database {
    Dpkg,
    Rpm,
    None,
}

/// Asks for the packages of files, a batch at a time.
#[derive(Debug)]
pub(crate) struct Packages {
    database: Database,
    jobs: Vec<Job>,
    query: Option<Query>,
    owners: BTreeMap<String, String>,
    rpm_at: usize,
    answered: Vec<Job>,
}

#[derive(Debug)]
struct Query {
    child: Child,
    answer: Vec<u8>,
    started_us: u64,
    versions: bool,
}

impl Packages {
    /// Looks where packages are recorded on this machine.
    pub fn here() -> Packages {
        let database = if Path::new("/var/lib/dpkg/status").exists() {
            Database::Dpkg
        } else if ["/usr/lib/sysimage/rpm", "/var/lib/rpm"].iter().any(|p| Path::new(p).exists()) {
            Database::Rpm
        } else {
            Database::None
        };
        Packages {
            database,
            jobs: Vec::new(),
            query: None,
            owners: BTreeMap::new(),
            rpm_at: 0,
            answered: Vec::new(),
        }
    }

    /// Whether a batch is on its way.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Begins a batch.
    pub fn ask(&mut self, jobs: Vec<Job>) {
        self.jobs = jobs;
        self.owners.clear();
        self.rpm_at = 0;
        match self.database {
            Database::Dpkg => {
                let asked = self.jobs.iter().filter(|j| may_be_packaged(&j.path));
                let paths: BTreeSet<String> = asked.flat_map(|j| names(&j.path)).collect();
                self.start("dpkg-query", &["-S", "--"], paths, false);
            }
            Database::Rpm => self.next_rpm(),
            Database::None => self.done(),
        }
    }

    /// Jobs whose answers are in.
    pub fn take_answered(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.answered)
    }

    /// The pipe to read answers from.
    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.query.as_ref().and_then(|q| q.child.stdout.as_ref()).map(AsFd::as_fd)
    }

    /// When the query has taken too long, on CLOCK_MONOTONIC.
    pub fn deadline_us(&self) -> Option<u64> {
        self.query.as_ref().map(|q| q.started_us + LONGEST_US)
    }

    /// Ends a query that took too long.
    pub fn check_deadline(&mut self, now_us: u64) {
        if self.deadline_us().is_some_and(|at| at <= now_us) {
            self.answer_ends();
        }
    }

    fn start(&mut self, program: &str, arguments: &[&str], rest: BTreeSet<String>, versions: bool) {
        if rest.is_empty() {
            return self.done();
        }
        let child = Command::new(program)
            .args(arguments)
            .args(rest)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => {
                let started_us = super::now().monotonic_us;
                let ready = child.stdout.as_ref().is_some_and(|pipe| sys::set_nonblocking(pipe).is_ok());
                self.query = Some(Query { child, answer: Vec::new(), started_us, versions });
                if !ready {
                    self.answer_ends();
                }
            }
            Err(_) => self.done(),
        }
    }

    /// The pipe is readable. `true`: the query is over and its pipe closed.
    pub fn readable(&mut self) -> bool {
        let Some(query) = &mut self.query else { return false };
        let Some(pipe) = &mut query.child.stdout else { return false };
        let mut buffer = [0; 8192];
        loop {
            match pipe.read(&mut buffer) {
                Ok(n) if n > 0 && query.answer.len() + n <= LONGEST_ANSWER => {
                    query.answer.extend_from_slice(&buffer[..n]);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return false,
                Ok(_) | Err(_) => break,
            }
        }
        self.answer_ends();
        true
    }

    fn answer_ends(&mut self) {
        let Some(mut query) = self.query.take() else { return };
        // It closed its output or took too long: either way nothing more is wanted of it.
        let _ = query.child.kill();
        let _ = query.child.wait();
        let text = String::from_utf8_lossy(&query.answer).into_owned();
        match (self.database, query.versions) {
            (Database::Dpkg, false) => {
                self.owners = dpkg_owners(&text);
                let packages = self.owners.values().cloned().collect();
                self.start("dpkg-query", &["-W", "-f", "${Package} ${Version}\n", "--"], packages, true);
            }
            (Database::Dpkg, true) => {
                let versions: BTreeMap<&str, &str> =
                    text.lines().filter_map(|line| Some((line.split_once(' ')?.0, line))).collect();
                for job in &mut self.jobs {
                    let owner = names(&job.path).iter().find_map(|name| self.owners.get(name));
                    let plain = owner.map(|o| o.split_once(':').map_or(o.as_str(), |(name, _)| name));
                    job.package = plain.and_then(|name| versions.get(name)).map(|line| Text::from(*line));
                }
                self.done();
            }
            (Database::Rpm, _) => {
                let line =
                    text.lines().find(|line| !line.contains(" is not owned ") && !line.contains("error"));
                if let Some(job) = self.jobs.get_mut(self.rpm_at) {
                    job.package = line.map(Text::from);
                }
                self.rpm_at += 1;
                self.next_rpm();
            }
            (Database::None, _) => self.done(),
        }
    }

    fn next_rpm(&mut self) {
        while let Some(job) = self.jobs.get(self.rpm_at) {
            // The path as it really is comes last: rpm knows no other.
            if let Some(name) = names(&job.path).pop() {
                let arguments = ["-qf", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\n", "--"];
                return self.start("rpm", &arguments, BTreeSet::from([name]), true);
            }
            self.rpm_at += 1;
        }
        self.done();
    }

    fn done(&mut self) {
        self.answered.append(&mut self.jobs);
    }
}

/// The names under which a package may own a file: as given, with and without /usr, and with links followed.
/// None where it can't belong to one, or where dpkg would take it for a pattern.
fn names(path: &str) -> Vec<String> {
    const NOT_PACKAGED: [&str; 8] =
        ["/home/", "/root/", "/tmp/", "/var/tmp/", "/run/", "/proc/", "/dev/", "/usr/local/"];
    const MERGED: [&str; 4] = ["/bin/", "/sbin/", "/lib", "/lib64/"];
    let unfit = |p: &str| {
        !p.starts_with('/')
            || p.contains(['*', '?', '[', '\\', '\n'])
            || NOT_PACKAGED.iter().any(|prefix| p.starts_with(prefix))
    };
    let mut names = Vec::new();
    let real = std::fs::canonicalize(path).ok().and_then(|p| p.into_os_string().into_string().ok());
    for name in [Some(path.to_owned()), real].into_iter().flatten().filter(|name| !unfit(name)) {
        let other = match name.strip_prefix("/usr") {
            Some(rest) if MERGED.iter().any(|m| rest.starts_with(m)) => Some(rest.to_owned()),
            None if MERGED.iter().any(|m| name.starts_with(m)) => Some(format!("/usr{name}")),
            _ => None,
        };
        names.extend(other);
        names.push(name);
    }
    names
}

/// `package[:arch][, other]: /path` per line.
fn dpkg_owners(text: &str) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with("diversion by") && !l.starts_with("local diversion")) {
        if let Some((packages, path)) = line.split_once(": /") {
            let first = packages.split(", ").next().unwrap_or(packages);
            owners.entry(format!("/{path}")).or_insert_with(|| first.to_owned());
        }
    }
    owners
}

/// Whether a path is one that packages put files at. dpkg-query goes through every file of every package for
/// each path, so that the many that can't be are not asked for.
fn may_be_packaged(path: &str) -> bool {
    const PACKAGED: [&str; 8] = ["/usr/", "/etc/", "/bin/", "/sbin/", "/lib", "/opt/", "/var/lib/", "/boot/"];
    const LOCAL: [&str; 3] = ["/usr/local/", "/etc/systemd/system/", "/etc/systemd/user/"];
    let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
    below(&PACKAGED) && !below(&LOCAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_as_dpkg_prints_them() {
        let owners = dpkg_owners(
            "diversion by dash from: /bin/sh\nlocal diversion from: /a\n\
             libc6:amd64: /lib/x\na, b:i386: /etc/d\n",
        );
        assert_eq!(owners.get("/lib/x").map(String::as_str), Some("libc6:amd64"));
        assert_eq!(owners.get("/etc/d").map(String::as_str), Some("a"));
        assert_eq!(owners.len(), 2);
    }

    #[test]
    fn names_of_a_file() {
        assert!(names("/home/x/y").is_empty() && names("/opt/a*").is_empty());
        assert!(names("/nowhere/bin/x").contains(&"/nowhere/bin/x".to_owned()));
        assert!(names("/bin/nothing-of-this-name").contains(&"/usr/bin/nothing-of-this-name".to_owned()));
        assert!(names("/usr/bin/nothing-of-this-name").contains(&"/bin/nothing-of-this-name".to_owned()));
    }
}
