//! A client of a running hence or systemd on its private socket: one connection, one question at a time,
//! nothing that waits forever. It prints nothing and knows no command line.

use hence_bus::client::{CallError, Client, ClientError, Incoming};
use hence_bus::front::ROOT;
use hence_bus::wire::{Message, Value};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// org.freedesktop.systemd1.Manager.
pub const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(25);
/// How long to wait for news before looking again: what was told before the question is not told twice.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Most ends of jobs that are kept for when somebody waits for them.
const ENDED_MAX: usize = 65_536;

/// Why a question has no answer.
#[derive(Debug)]
pub enum ControlError {
    /// Nobody is there.
    Connect(PathBuf, io::Error),
    /// The connection broke.
    Broken(io::Error),
    /// The other end is no server of ours.
    Protocol(ClientError),
    /// It was understood and refused.
    Refused(CallError),
    /// No answer in time.
    TimedOut,
    /// The answer is not what the question has.
    Unexpected(&'static str),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Connect(path, error) => write!(f, "{}: {error}", path.display()),
            ControlError::Broken(error) => write!(f, "the connection broke: {error}"),
            ControlError::Protocol(error) => error.fmt(f),
            ControlError::Refused(error) => error.fmt(f),
            ControlError::TimedOut => f.write_str("no answer in time"),
            ControlError::Unexpected(what) => write!(f, "{what} was answered with something else"),
        }
    }
}

impl std::error::Error for ControlError {}

/// The socket of the running instance: root's, or the user's own; where hence is process 1, the system's.
/// `None` where there is no runtime folder.
pub fn default_socket() -> Option<PathBuf> {
    let first_is_hence =
        || std::fs::read_to_string("/proc/1/comm").is_ok_and(|name| matches!(name.trim(), "hence" | "init"));
    if !rustix::process::geteuid().is_root() {
        return user_socket();
    }
    let own = PathBuf::from("/run/hence/private");
    Some(if !own.exists() && first_is_hence() { PathBuf::from("/run/systemd/private") } else { own })
}

/// The socket of the user's running instance, hence's own or where systemd's is.
pub fn user_socket() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?;
    let folder = PathBuf::from(folder);
    let (own, systemd) = (folder.join("hence/private"), folder.join("systemd/private"));
    Some(if !own.exists() && systemd.exists() { systemd } else { own })
}

/// A connection.
pub struct Control {
    stream: UnixStream,
    client: Client,
    /// Jobs that are over: path and result.
    ended: VecDeque<(String, String)>,
}

impl Control {
    /// Connects; authentication goes along with the first question.
    ///
    /// # Errors
    /// Nobody listens there, or we may not.
    pub fn connect(path: &Path) -> Result<Control, ControlError> {
        let stream = UnixStream::connect(path).map_err(|e| ControlError::Connect(path.to_owned(), e))?;
        stream.set_write_timeout(Some(ANSWER)).map_err(ControlError::Broken)?;
        Ok(Control { stream, client: Client::new(), ended: VecDeque::new() })
    }

    /// Asks the whole and waits for the answer.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn ask(&mut self, member: &'static str, body: Vec<Value>) -> Result<Vec<Value>, ControlError> {
        self.call(ROOT.to_owned(), MANAGER, member, body)
    }

    /// Asks an object and waits for the answer. Ends of jobs that come meanwhile are kept.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn call(
        &mut self,
        path: String,
        interface: &'static str,
        member: &'static str,
        body: Vec<Value>,
    ) -> Result<Vec<Value>, ControlError> {
        let asked = self.client.call(path, interface, member, body);
        while !self.client.outgoing().is_empty() {
            let length = self.stream.write(self.client.outgoing()).map_err(ControlError::Broken)?;
            self.client.sent(length);
        }
        let until = Instant::now() + ANSWER;
        loop {
            match self.next(Some(until))? {
                Incoming::Answer { serial, result } if serial == asked => {
                    return result.map_err(ControlError::Refused);
                }
                Incoming::Answer { .. } => {}
                Incoming::Signal(signal) => self.note(&signal),
            }
        }
    }

    /// All properties of an object, of all its interfaces.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn properties(&mut self, path: String) -> Result<Vec<(String, Value)>, ControlError> {
        let interface = "org.freedesktop.DBus.Properties";
        let answer = self.call(path, interface, "GetAll", vec![Value::from("")])?;
        let list = answer.first().ok_or(ControlError::Unexpected("GetAll"))?;
        let pair = |entry: &Value| match entry {
            Value::Entry(pair) => match &**pair {
                (name, Value::Variant(value)) => Some((name.as_str()?.to_owned(), (**value).clone())),
                _ => None,
            },
            _ => None,
        };
        Ok(list.items().iter().filter_map(pair).collect())
    }

    /// Waits until a job is over and says how: `done`, `failed`, ... It takes as long as the job does.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn wait_for_job(&mut self, path: &str) -> Result<String, ControlError> {
        loop {
            if let Some(at) = self.ended.iter().position(|(ended, _)| ended == path) {
                return Ok(self.ended.remove(at).map(|(_, result)| result).unwrap_or_default());
            }
            if let Incoming::Signal(signal) = self.next(None)? {
                self.note(&signal);
            }
        }
    }

    /// Waits until a unit is neither up nor coming up nor going down; whether it did not fail.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn wait_for_end(&mut self, unit: &str) -> Result<bool, ControlError> {
        loop {
            let about = self.properties(hence_bus::front::unit_path(unit))?;
            let state = about.iter().find(|(name, _)| name == "ActiveState");
            match state.and_then(|(_, value)| value.as_str()).unwrap_or_default() {
                "inactive" => return Ok(true),
                "failed" => return Ok(false),
                _ => {}
            }
            self.wait_for_news()?;
        }
    }

    /// Waits until something is told, or for a second.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn wait_for_news(&mut self) -> Result<(), ControlError> {
        match self.next(Some(Instant::now() + LOOK_AGAIN)) {
            Ok(Incoming::Signal(signal)) => self.note(&signal),
            Ok(Incoming::Answer { .. }) | Err(ControlError::TimedOut) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn note(&mut self, signal: &Message) {
        if signal.fields.member.as_deref() != Some("JobRemoved") {
            return;
        }
        let text = |at: usize| signal.body.get(at).and_then(Value::as_str).map(str::to_owned);
        if let (Some(path), Some(result)) = (text(1), text(3)) {
            if self.ended.len() >= ENDED_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back((path, result));
        }
    }

    fn next(&mut self, until: Option<Instant>) -> Result<Incoming, ControlError> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(incoming) = self.client.incoming().map_err(ControlError::Protocol)? {
                return Ok(incoming);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ControlError::TimedOut);
            }
            self.stream.set_read_timeout(left).map_err(ControlError::Broken)?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ControlError::Broken(io::ErrorKind::ConnectionReset.into())),
                Ok(length) => self.client.receive(&buffer[..length]).map_err(ControlError::Protocol)?,
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(e) => return Err(ControlError::Broken(e)),
            }
        }
    }
}
