//! The program is executed anew in hence's place, as its file is now, and goes on with what is handed to it:
//! systemctl(1), daemon-reexec. Here is how the one program finds the other; what is handed on is its
//! owners'. A program that can't be executed changes nothing: the old one goes on.

use hence_engine::carry::Carried;
use hence_host::carry::Out;
use hence_host::limited::Limited;
use hence_host::sys::inherited::{Inherited, execute};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The word by which a program is told where its predecessor's state is; systemd's.
const WORD: &str = "--deserialize";
/// Longest state that is read, in bytes.
const STATE_MAX: u64 = 1 << 30;

/// How long a program may take to say its version.
const CHECK: Duration = Duration::from_secs(5);

/// How this program is executed anew.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    /// Where it was started: what its arguments name may be relative to that.
    folder: Option<PathBuf>,
}

impl Program {
    /// This program, as it was called. To be asked for before the working directory changes.
    pub fn find() -> Option<Program> {
        // A file that has been replaced since then is shown with a word behind its name.
        let path = std::env::current_exe().ok()?;
        Some(Program { path, arguments: arguments(), folder: std::env::current_dir().ok() })
    }

    /// Whether the file can be run at all, before everything depends on it: a library may be missing that the
    /// new version needs, and process 1 must not end for that.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self) -> Result<(), String> {
        let quiet = Stdio::null;
        let mut command = Command::new(&self.path);
        command.arg0("hence").arg("--version").stdin(quiet()).stdout(quiet()).stderr(quiet());
        let program = Limited::start(&mut command).map_err(|error| error.to_string())?;
        match program.end_before(Instant::now() + CHECK).map_err(|error| error.to_string())? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("it can't say its version: {status}")),
            None => Err("it takes too long to say its version".to_owned()),
        }
    }

    /// Executes it and hands this on. Returns only where that can't be done.
    pub fn execute(&self, out: Out<'_>) -> io::Error {
        let Out { text, mut kept } = out;
        let state = match written(&text.finish()) {
            Ok(state) => state,
            Err(error) => return error,
        };
        kept.push(state.as_fd());
        let mut arguments = self.arguments.clone();
        let called_init = |name: &OsString| {
            Path::new(name).file_name().is_some_and(|name| name == "init" || name == "systemd")
        };
        let place = if arguments.first().is_some_and(called_init) { 1 } else { 2 };
        let word = OsString::from(format!("{WORD}={}", state.as_raw_fd()));
        arguments.insert(place.min(arguments.len()), word);
        let back = std::env::current_dir();
        if let Some(folder) = &self.folder {
            // What the arguments name was found from there; where it is gone, nothing relative is found.
            let _ = std::env::set_current_dir(folder);
        }
        let error = execute(&self.path, &arguments, &kept);
        let _ = back.and_then(std::env::set_current_dir);
        error
    }
}

/// How this program was called, without the word that only a predecessor says.
pub fn arguments() -> Vec<OsString> {
    let own = |argument: &OsString| !argument.to_str().is_some_and(|a| a.starts_with(WORD));
    std::env::args_os().filter(own).collect()
}

fn written(text: &str) -> io::Result<File> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("hence-state", flags)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// What an earlier program handed on.
#[derive(Debug)]
pub struct Earlier {
    text: String,
    /// The descriptors that came with it.
    pub inherited: Inherited,
    /// What of it could not be read, in words.
    pub unread: Vec<String>,
}

impl Earlier {
    /// Takes what was handed on by the descriptor of this number. To be called before anything else is
    /// opened. Where nothing can be read, that is said, and nothing was handed on.
    pub fn receive(number: i32) -> Earlier {
        let mut inherited = Inherited::collect();
        let mut unread = Vec::new();
        let mut bytes = Vec::new();
        match inherited.take(number).map(File::from) {
            Some(file) => {
                if let Err(error) = file.take(STATE_MAX).read_to_end(&mut bytes) {
                    unread.push(format!("the state: {error}"));
                }
            }
            None => unread.push("the state: it was not handed on".into()),
        }
        // Damaged bytes show in the sums of what they belong to.
        let text = String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into());
        Earlier { text, inherited, unread }
    }

    /// What is in it; the descriptors; what could not be read.
    pub fn parts(&mut self) -> (Carried<'_>, &mut Inherited, &mut Vec<String>) {
        (Carried::read(&self.text), &mut self.inherited, &mut self.unread)
    }

    /// The ledger's folder of the earlier program.
    pub fn ledger(&self) -> Option<PathBuf> {
        Carried::read(&self.text).one("run")?.need::<String>("ledger").ok().map(PathBuf::from)
    }
}
