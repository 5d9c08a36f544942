//! Where the standard streams of a process come from and go to; systemd.exec(5), "Logging and Standard
//! Input/Output".

use crate::journal::{CONSOLE, KERNEL};
use hence_ledger::{SpawnStep, Stream};
use hence_unit::{ExecConfig, config::Stdio};
use rustix::{
    fs::{MemfdFlags, Mode, OFlags, SeekFrom},
    pipe::PipeFlags,
};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// The streams of a process about to be started. Descriptors are open until this is dropped.
#[derive(Default)]
pub struct Streams {
    /// For each of 0, 1, 2.
    pub numbers: [RawFd; 3],
    open: Vec<OwnedFd>,
    /// Read ends of captured streams.
    pub captured: Vec<(Stream, OwnedFd)>,
}

/// What a stream may be connected to.
pub struct Ends<'a> {
    /// /dev/null.
    pub null: RawFd,
    /// The accepted connection.
    pub connection: Option<RawFd>,
    /// Descriptors that are passed, by name.
    pub named: &'a [(RawFd, &'a str)],
    /// Whether somebody takes captured streams.
    pub capture: bool,
    /// What a client sent for each of 0, 1, 2: nothing else is looked at then.
    pub sent: [Option<RawFd>; 3],
}

/// Why a stream couldn't be had: errno and what it was about.
pub type Failure = (SpawnStep, i32, String);

fn failure(errno: rustix::io::Errno, subject: &str) -> Failure {
    (SpawnStep::Stdio, errno.raw_os_error(), subject.to_owned())
}

impl Streams {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// The step, errno and the path.
    pub fn open(context: &ExecConfig, ends: &Ends<'_>) -> Result<Streams, Failure> {
        let mut streams = Streams::default();
        if ends.sent.iter().any(Option::is_some) {
            for (number, sent) in streams.numbers.iter_mut().zip(ends.sent) {
                *number = sent.unwrap_or(ends.null);
            }
            return Ok(streams);
        }
        streams.numbers[0] = streams.input(context, ends)?;
        // What is read from a connection or a terminal is answered there, unless it is said otherwise.
        let two_way = matches!(context.stdin, Stdio::Socket | Stdio::Tty | Stdio::Fd(_));
        let stdout = match &context.stdout {
            Stdio::Default if two_way => &Stdio::Inherit,
            stdout => stdout,
        };
        streams.numbers[1] = streams.output(context, stdout, Stream::Stdout, ends)?;
        streams.numbers[2] = match (&context.stderr, stdout) {
            // As stdout, but captured apart from it.
            (Stdio::Default | Stdio::Inherit, out) if is_captured(out) => {
                streams.output(context, &Stdio::Journal, Stream::Stderr, ends)?
            }
            (Stdio::Default | Stdio::Inherit, _) => streams.numbers[1],
            (own, out) if own == out && !is_captured(own) => streams.numbers[1],
            (own, _) => streams.output(context, own, Stream::Stderr, ends)?,
        };
        Ok(streams)
    }

    fn keep(&mut self, fd: OwnedFd) -> RawFd {
        let number = fd.as_raw_fd();
        self.open.push(fd);
        number
    }

    fn input(&mut self, context: &ExecConfig, ends: &Ends<'_>) -> Result<RawFd, Failure> {
        match &context.stdin {
            Stdio::Default | Stdio::Null => Ok(ends.null),
            Stdio::Journal | Stdio::JournalConsole | Stdio::Kmsg | Stdio::KmsgConsole => Ok(ends.null),
            Stdio::Append(path) | Stdio::Truncate(path) | Stdio::File(path) => {
                self.file(path, OFlags::RDONLY | OFlags::NONBLOCK)
            }
            Stdio::Inherit => Ok(0),
            Stdio::Socket => connection(ends),
            Stdio::Fd(name) => named(ends, name, "stdin"),
            Stdio::Tty => self.terminal(context),
            Stdio::Data => {
                let memory = rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC)
                    .and_then(|fd| {
                        let mut rest = &context.stdin_data[..];
                        while !rest.is_empty() {
                            let written = rustix::io::write(&fd, rest)?;
                            rest = &rest[written..];
                        }
                        rustix::fs::seek(&fd, SeekFrom::Start(0))?;
                        Ok(fd)
                    })
                    .map_err(|e| failure(e, "StandardInputText="))?;
                Ok(self.keep(memory))
            }
        }
    }

    fn output(
        &mut self,
        context: &ExecConfig,
        to: &Stdio,
        stream: Stream,
        ends: &Ends<'_>,
    ) -> Result<RawFd, Failure> {
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK;
        match to {
            Stdio::Null => Ok(ends.null),
            to if is_captured(to) && !ends.capture => Ok(2),
            Stdio::Default
            | Stdio::Journal
            | Stdio::JournalConsole
            | Stdio::Kmsg
            | Stdio::KmsgConsole
            | Stdio::Data => {
                let (read, write) =
                    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| failure(e, "pipe"))?;
                self.captured.push((stream, read));
                Ok(self.keep(write))
            }
            // What stdin is connected to, but /dev/null where that is all it is.
            Stdio::Inherit => Ok(self.numbers[0]),
            Stdio::File(path) => self.file(path, write),
            Stdio::Append(path) => self.file(path, write | OFlags::APPEND),
            Stdio::Truncate(path) => self.file(path, write | OFlags::TRUNC),
            Stdio::Socket => connection(ends),
            Stdio::Fd(name) => named(ends, name, stream.as_str()),
            Stdio::Tty => self.terminal(context),
        }
    }

    /// Never waits for the other end of a FIFO.
    fn file(&mut self, path: &str, flags: OFlags) -> Result<RawFd, Failure> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).and_then(|fd| {
            let now = rustix::fs::fcntl_getfl(&fd)?;
            rustix::fs::fcntl_setfl(&fd, now - OFlags::NONBLOCK)?;
            Ok(fd)
        });
        let fd = opened.map_err(|e| failure(e, path))?;
        Ok(self.keep(fd))
    }

    fn terminal(&mut self, context: &ExecConfig) -> Result<RawFd, Failure> {
        let path = context.tty_path.as_deref().unwrap_or("/dev/console");
        self.file(path, OFlags::RDWR | OFlags::NONBLOCK)
    }
}

fn is_captured(to: &Stdio) -> bool {
    matches!(to, Stdio::Default) || to.is_logged()
}

/// Where lines are copied to besides the journal: what [`crate::journal::Logging`] has of both streams.
pub fn copies(context: &ExecConfig) -> u8 {
    let bits = |to: &Stdio| match to {
        Stdio::JournalConsole => CONSOLE,
        Stdio::Kmsg => KERNEL,
        Stdio::KmsgConsole => CONSOLE | KERNEL,
        _ => 0,
    };
    let stderr = match &context.stderr {
        Stdio::Default | Stdio::Inherit => &context.stdout,
        own => own,
    };
    bits(&context.stdout) | bits(stderr) << 2
}

fn connection(ends: &Ends<'_>) -> Result<RawFd, Failure> {
    ends.connection.ok_or_else(|| failure(rustix::io::Errno::NOTSOCK, "no connection was passed"))
}

fn named(ends: &Ends<'_>, name: &str, default: &str) -> Result<RawFd, Failure> {
    let wanted = if name.is_empty() { default } else { name };
    let found = ends.named.iter().find(|(_, n)| *n == wanted);
    found.map(|(fd, _)| *fd).ok_or_else(|| failure(rustix::io::Errno::BADF, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_by_configuration() {
        let folder = std::env::temp_dir().join(format!("hence-stdio-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path: Box<str> = folder.join("out").to_str().unwrap().into();
        let ends = Ends { null: 99, connection: None, named: &[(7, "web")], capture: true, sent: [None; 3] };
        let default = Streams::open(&ExecConfig::default(), &ends).unwrap();
        assert_eq!((default.numbers[0], default.captured.len()), (99, 2));
        let sent = Ends { sent: [Some(5), None, Some(6)], ..ends };
        assert_eq!(Streams::open(&ExecConfig::default(), &sent).unwrap().numbers, [5, 99, 6]);
        let ends = Ends { sent: [None; 3], ..sent };
        let same = ExecConfig { stdout: Stdio::File(path.clone()), ..Default::default() };
        let streams = Streams::open(&same, &ends).unwrap();
        assert_eq!(streams.numbers[1], streams.numbers[2]);
        let fd = ExecConfig { stdin: Stdio::Fd("web".into()), stdout: Stdio::Null, ..Default::default() };
        assert_eq!(Streams::open(&fd, &ends).unwrap().numbers, [7, 99, 99]);
        let data = ExecConfig { stdin: Stdio::Data, stdin_data: vec![b'x'; 70_000], ..Default::default() };
        assert!(Streams::open(&data, &ends).is_ok());
        let fifo = folder.join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
        let blocked = Stdio::File(fifo.to_str().unwrap().into());
        let fifo = ExecConfig { stdout: blocked, ..Default::default() };
        assert_eq!(Streams::open(&fifo, &ends).err().unwrap().1, libc::ENXIO);
        let socket = ExecConfig { stdin: Stdio::Socket, ..Default::default() };
        assert_eq!(Streams::open(&socket, &ends).err().unwrap().0, SpawnStep::Stdio);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
