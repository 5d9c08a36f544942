//! The kernel's tracepoints of signals and of kills for lack of memory, in an instance of our own: what
//! others trace is not touched, and it is removed at the end.

use super::people::ASKING;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where tracefs is.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Signals that matter: those that end processes. Others would only cost.
const FILTER: &str = "sig == 1 || sig == 2 || sig == 3 || sig == 6 || sig == 9 || sig == 11 || sig == 15";
/// What may wait to be read, in bytes.
const PENDING_MAX: usize = 256 << 10;

/// What was traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// A signal.
    Signal {
        /// When, on CLOCK_MONOTONIC in microseconds.
        at_us: u64,
        /// Signal number.
        signal: u8,
        /// To which process, in the first pid namespace.
        to: u32,
        /// From which process; 0: the kernel.
        from: u32,
        /// What that one is called.
        name: String,
    },
    /// The kernel killed a process for lack of memory.
    OomKill {
        /// When.
        at_us: u64,
        /// Which.
        pid: u32,
    },
    /// A program of those that ask a manager for something was executed.
    Executed {
        /// When.
        at_us: u64,
        /// By which process.
        pid: u32,
        /// Which.
        program: String,
    },
    /// Some was lost.
    Lost {
        /// How much.
        events: u64,
    },
}

/// An instance of our own.
#[derive(Debug)]
pub struct Trace {
    folder: PathBuf,
    pipe: File,
    pending: Vec<u8>,
    tells_executions: bool,
}

impl Trace {
    /// Makes it.
    ///
    /// # Errors
    /// There is no tracefs, we may not, or processes have other numbers here than it has for them.
    pub fn open() -> io::Result<Trace> {
        super::in_first_namespace()?;
        let root = ROOTS.iter().map(Path::new).find(|root| root.join("instances").is_dir());
        let root = root.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "tracefs is not mounted"))?;
        let prefix = prefix();
        clear(&root.join("instances"), &prefix);
        let folder = root.join("instances").join(format!("{prefix}{}", std::process::id()));
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let opened = Trace::begin(&folder);
        if opened.is_err() {
            let _ = fs::remove_dir(&folder);
        }
        opened
    }

    fn begin(folder: &Path) -> io::Result<Trace> {
        let write = |file: &str, text: &str| fs::write(folder.join(file), text);
        let mut tells_executions = false;
        write("trace_clock", "mono")?;
        let _ = write("buffer_size_kb", "256");
        write("events/signal/signal_generate/filter", FILTER)?;
        write("events/signal/signal_generate/enable", "1")?;
        let _ = write("events/oom/mark_victim/enable", "1");
        let named: Vec<String> = ASKING.iter().map(|name| format!("filename ~ \"*{name}\"")).collect();
        // Without its filter every execution would be told.
        if write("events/sched/sched_process_exec/filter", &named.join(" || ")).is_ok() {
            write("events/sched/sched_process_exec/enable", "1")?;
            tells_executions = true;
        }
        // Readers are woken by the first event rather than when half of the buffer is full.
        let _ = write("buffer_percent", "0");
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let pipe =
            fs::OpenOptions::new().read(true).custom_flags(nonblock).open(folder.join("trace_pipe"))?;
        Ok(Trace { folder: folder.to_owned(), pipe, pending: Vec::new(), tells_executions })
    }

    /// Whether it tells the execution of programs that ask a manager for something.
    pub fn tells_executions(&self) -> bool {
        self.tells_executions
    }

    /// What to wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// What was traced since.
    pub fn read(&mut self, found: &mut Vec<Traced>) {
        let mut buffer = [0u8; 16 << 10];
        for _ in 0..64 {
            match self.pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
            if self.pending.len() > PENDING_MAX {
                break;
            }
        }
        let end = self.pending.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&self.pending[..end]).into_owned();
        found.extend(text.lines().filter_map(parse));
        self.pending.drain(..end);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::write(self.folder.join("events/enable"), "0");
        // It can't be removed while its pipe is open.
        if let Ok(null) = File::open("/dev/null") {
            self.pipe = null;
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// How the names of our instances begin: by the pid namespace, for all containers have the same tracefs.
fn prefix() -> String {
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |about| about.ino());
    format!("hence-{namespace}-")
}

/// Removes what was left by those of ours that were killed.
fn clear(instances: &Path, prefix: &str) {
    for name in crate::subfolders(instances) {
        let pid = name.strip_prefix(prefix).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| crate::stat(pid).is_none()) {
            // One that is read after all can't be removed, and goes on.
            let _ = fs::remove_dir(instances.join(&name));
        }
    }
}

/// `bash-123     [000] d..1.   123.456789: signal_generate: sig=9 errno=0 code=0 comm=sleep pid=66 ...`
fn parse(line: &str) -> Option<Traced> {
    if let Some((_, rest)) = line.split_once("[LOST ") {
        let events = rest.split(' ').next()?.parse().ok()?;
        return Some(Traced::Lost { events });
    }
    let (head, event, rest) =
        ["signal_generate", "mark_victim", "sched_process_exec"].iter().find_map(|event| {
            let (head, rest) = line.split_once(&format!(": {event}: "))?;
            Some((head, *event, rest))
        })?;
    let (seconds, micros) = head.rsplit(' ').next()?.split_once('.')?;
    let at_us = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let field = |name: &str| rest.split(' ').find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
    if event == "sched_process_exec" {
        // `filename=/usr/bin/systemctl pid=66 old_pid=66`; blanks may be in the name.
        let (program, rest) = rest.strip_prefix("filename=")?.rsplit_once(" pid=")?;
        let pid = rest.split(' ').next()?.parse().ok()?;
        return Some(Traced::Executed { at_us, pid, program: program.into() });
    }
    // The name of the process that is sent the signal may have blanks in it; its pid comes behind.
    let pid = rest.rsplit_once("pid=")?.1.split(' ').next()?.parse().ok()?;
    if event == "mark_victim" {
        return Some(Traced::OomKill { at_us, pid });
    }
    let (who, _) = head.rsplit_once(" [")?;
    let (name, from) = who.trim().rsplit_once('-')?;
    let signal = field("sig")?.parse().ok()?;
    Some(Traced::Signal { at_us, signal, to: pid, from: from.parse().ok()?, name: name.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let line = "     a b-c-1234    [001] d..1.  123.456789: signal_generate: sig=9 errno=0 code=0 \
                    comm=sle ep pid=66 grp=1 res=0";
        let expected =
            Traced::Signal { at_us: 123_456_789, signal: 9, to: 66, from: 1234, name: "a b-c".into() };
        assert_eq!(parse(line), Some(expected));
        let line = "  x-9  [000] ..... 7.000001: mark_victim: pid=5 comm=y total-vm:1kB";
        assert_eq!(parse(line), Some(Traced::OomKill { at_us: 7_000_001, pid: 5 }));
        let line = " systemctl-77 [001] ..... 8.000002: sched_process_exec: filename=/opt/a b/systemctl \
                    pid=77 old_pid=77";
        let program = "/opt/a b/systemctl".to_owned();
        assert_eq!(parse(line), Some(Traced::Executed { at_us: 8_000_002, pid: 77, program }));
        assert_eq!(parse("CPU:0 [LOST 12 EVENTS]"), Some(Traced::Lost { events: 12 }));
        assert_eq!(parse("nothing"), None);
    }
}
