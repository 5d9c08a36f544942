//! Doing a fault. What hence can be asked for is asked by a process of its own, whose command line is the
//! fault in words: so the ledger's record of the request names it, and `hence why` does. A disk that is full
//! and a clock that is set are no requests; they are done here, and what follows is put down to them by time.

use super::plan::Kind;
use crate::control::Control;
use hence_bus::wire::Value;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The name that the asking process is called by.
pub const NAME: &str = "hence-soak-fault";
/// Where it finds what it is to do: socket, unit, deed and its arguments, a line each.
const DEED: &str = "HENCE_SOAK_FAULT";
/// Between two looks at a process that is held.
const HELD: Duration = Duration::from_millis(10);

/// A process that asks.
#[derive(Debug)]
pub struct Asking {
    child: Child,
    what: String,
}

impl Asking {
    /// Starts it.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(kind: &Kind, unit: &str, socket: &Path) -> Result<Asking, String> {
        let what = kind.words(unit);
        let deed = match kind {
            Kind::Kill { whom, signal } => format!("kill\n{whom}\n{signal}"),
            Kind::Restart => "restart".to_owned(),
            Kind::SlowStop { hold_us } => format!("hold\n{hold_us}"),
            Kind::FullDisk { .. } | Kind::ClockJump { .. } => return Err(format!("{what}: is no request")),
        };
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
        let child = Command::new(program)
            .arg0(NAME)
            .arg(&what)
            .env(DEED, format!("{}\n{unit}\n{deed}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| format!("{what}: {e}"))?;
        Ok(Asking { child, what })
    }

    /// Whether it has ended, and what it could not do.
    pub fn ended(&mut self) -> Option<Result<(), String>> {
        let status = self.child.try_wait().ok().flatten()?;
        let mut said = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            let _ = out.read_to_string(&mut said);
        }
        Some(if status.success() { Ok(()) } else { Err(format!("{}: {}", self.what, said.trim())) })
    }

    /// Ends it, if need be.
    pub fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that asks.
pub fn main() -> ExitCode {
    let deed = std::env::var(DEED).unwrap_or_default();
    let words: Vec<&str> = deed.lines().collect();
    match ask(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn ask(words: &[&str]) -> Result<(), String> {
    let [socket, unit, deed, arguments @ ..] = words else { return Err("nothing to do".into()) };
    let mut control = Control::connect(Path::new(socket)).map_err(|e| e.to_string())?;
    let number = |nth: usize| arguments.get(nth).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    match *deed {
        "kill" => {
            let whom = arguments.first().copied().unwrap_or("main");
            signal(&mut control, unit, whom, number(1) as i32)
        }
        "restart" => restart(&mut control, unit),
        "hold" => {
            let held = processes(&mut control, unit)?;
            signal(&mut control, unit, "all", 19)?;
            restart(&mut control, unit)?;
            hold(&held, Duration::from_micros(number(0)));
            Ok(())
        }
        _ => Err(format!("{deed}: no such fault")),
    }
}

fn signal(control: &mut Control, unit: &str, whom: &str, number: i32) -> Result<(), String> {
    let body = vec![unit.to_owned().into(), whom.to_owned().into(), Value::Int32(number)];
    control.ask("KillUnit", body).map(drop).map_err(|e| e.to_string())
}

fn restart(control: &mut Control, unit: &str) -> Result<(), String> {
    let body = vec![unit.to_owned().into(), "replace".into()];
    control.ask("RestartUnit", body).map(drop).map_err(|e| e.to_string())
}

/// The processes of a unit: pid and start time.
pub fn processes(control: &mut Control, unit: &str) -> Result<Vec<(u32, u64)>, String> {
    let answer = control.ask("GetUnitProcesses", vec![unit.to_owned().into()]).map_err(|e| e.to_string())?;
    let rows = answer.first().map_or(&[][..], Value::items);
    let pid = |row: &Value| match row.items().get(1) {
        Some(Value::Uint32(pid)) => Some(*pid),
        _ => None,
    };
    let started = |pid: u32| hence_host::stat(pid).map(|stat| (pid, stat.start_ticks));
    Ok(rows.iter().filter_map(pid).filter_map(started).collect())
}

/// Keeps processes stopped: whoever sends them a SIGTERM has them go on by SIGCONT at once.
fn hold(processes: &[(u32, u64)], time: Duration) {
    let until = Instant::now() + time;
    let each = |signal: Signal| {
        for &(pid, started) in processes {
            let same = hence_host::is_alive(pid, started);
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| same) {
                let _ = kill_process(pid, signal);
            }
        }
    };
    while Instant::now() < until && processes.iter().any(|&(pid, at)| hence_host::is_alive(pid, at)) {
        each(Signal::STOP);
        std::thread::sleep(HELD);
    }
    each(Signal::CONT);
}

/// A disk without room, until it is dropped.
#[derive(Debug)]
pub enum Full {
    /// A file takes all that is left of a bounded one.
    Filled(PathBuf),
    /// Files of these processes can't grow: (pid, start time, limit before).
    Limited(Vec<(u32, u64, Rlimit)>),
}

/// Fills the disk of a folder that is bounded for this run.
///
/// # Errors
/// The sentence for the user.
pub fn fill(folder: &Path) -> Result<Full, String> {
    let path = folder.join(".hence-soak-full");
    let mut full = Full::Filled(path.clone());
    File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    full.top_up()?;
    Ok(full)
}

impl Full {
    /// Takes what room has come up since.
    ///
    /// # Errors
    /// The sentence for the user.
    pub fn top_up(&mut self) -> Result<(), String> {
        let Full::Filled(path) = self else { return Ok(()) };
        let said = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut file = std::fs::OpenOptions::new().append(true).open(&*path).map_err(said)?;
        let block = vec![0u8; 256 << 10];
        let mut size = block.len();
        // Ever less, until not a single byte has room.
        loop {
            match file.write(&block[..size]) {
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::StorageFull && size == 1 => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::StorageFull => size /= 2,
                Err(e) => return Err(said(e)),
            }
        }
    }
}

/// Forbids files of these processes to grow, where no disk can be bounded.
///
/// # Errors
/// None of them can be limited.
pub fn limit(processes: &[(u32, u64)]) -> Result<Full, String> {
    let mut limited = Vec::new();
    for &(pid, started) in processes {
        let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
        let own = rustix::process::getrlimit(Resource::Fsize);
        let none = Rlimit { current: Some(0), maximum: own.maximum };
        if let Ok(before) = prlimit(Some(id), Resource::Fsize, none) {
            limited.push((pid, started, before));
        }
    }
    match limited.is_empty() {
        true => Err("the size of files can't be limited for any process".into()),
        false => Ok(Full::Limited(limited)),
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        match self {
            Full::Filled(path) => drop(std::fs::remove_file(path)),
            Full::Limited(processes) => {
                for (pid, started, before) in processes.drain(..) {
                    let same = hence_host::is_alive(pid, started);
                    if let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| same) {
                        let _ = prlimit(Some(id), Resource::Fsize, before);
                    }
                }
            }
        }
    }
}

/// Sets the machine's wall clock by so much.
///
/// # Errors
/// It may not be set.
pub fn jump(by_us: i64) -> Result<(), String> {
    use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
    let now = clock_gettime(ClockId::Realtime);
    let at_ns = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec) + i128::from(by_us) * 1000;
    let (Ok(tv_sec), Ok(tv_nsec)) =
        (i64::try_from(at_ns.div_euclid(1_000_000_000)), i64::try_from(at_ns.rem_euclid(1_000_000_000)))
    else {
        return Err("the wall clock has no such time".into());
    };
    clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec })
        .map_err(|e| format!("the wall clock can't be set here ({e}); only the whole machine's can be"))
}
