//! What a prediction needs of this machine: unit files and programs on disk, how much there may be of
//! processes and memory, and the units that run now. It predicts nothing.

use crate::control::{Control, ControlError, MANAGER, default_socket};
use crate::units::{Sources, Units};
use hence_bus::front::ROOT;
use hence_bus::wire::Value;
use hence_engine::predict::{Ground, program::Known};
use hence_unit::{Config, UnitKind, UnitName};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Of a script no more is read.
const SCRIPT: u64 = 64 * 1024;
/// Where a name without a slash is looked up; systemd.service(5), "Command lines".
const PROGRAMS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Unit files and programs on disk.
pub struct Disk {
    units: Units,
    programs: RefCell<BTreeMap<String, Known>>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

impl Disk {
    pub fn of(units: Units) -> Rc<Disk> {
        Rc::new(Disk { units, programs: RefCell::default() })
    }
}

impl Ground for Disk {
    fn read(&self, name: &UnitName) -> Config {
        self.units.read(name).0
    }

    fn program(&self, path: &str) -> Known {
        self.programs.borrow_mut().entry(path.to_owned()).or_insert_with(|| look(path)).clone()
    }
}

fn look(path: &str) -> Known {
    let found = match path.contains('/') {
        true => Some(PathBuf::from(path)),
        false => PROGRAMS.iter().map(|folder| Path::new(folder).join(path)).find(|p| p.is_file()),
    };
    // Only a file: whatever else stands there may never answer.
    let file = found.filter(|p| p.is_file()).and_then(|p| std::fs::File::open(p).ok());
    let Some(file) = file else { return Known::Nothing };
    let mut bytes = Vec::new();
    if file.take(SCRIPT).read_to_end(&mut bytes).is_err() {
        return Known::Nothing;
    }
    match bytes.starts_with(b"#!") {
        true => Known::Script(String::from_utf8_lossy(&bytes).into_owned()),
        false => Known::Binary,
    }
}

/// What the machine has.
pub struct Machine {
    /// How many processes and threads it can have.
    pub pids: u64,
    /// Bytes of memory.
    pub memory: u64,
}

/// This machine: the least of kernel.pid_max, kernel.threads-max and the root group's pids.max.
pub fn machine() -> Machine {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let paths = [
        "/proc/sys/kernel/pid_max",
        "/proc/sys/kernel/threads-max",
        "/sys/fs/cgroup/pids.max",
        "/sys/fs/cgroup/pids/pids.max",
    ];
    let pids = paths.into_iter().filter_map(number).filter(|n| *n > 0).min().unwrap_or(32_768);
    let info = rustix::system::sysinfo();
    let memory = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit)).max(1);
    Machine { pids, memory }
}

/// The units that run now.
pub struct Live {
    /// Their files.
    pub units: Units,
    /// Those that are up and can be brought up.
    pub start: Vec<UnitName>,
    /// Devices and mounts that are there.
    pub present: Vec<UnitName>,
}

impl Live {
    /// Asks the running hence or systemd.
    ///
    /// # Errors
    /// The sentence for the user: nobody is there, or it doesn't answer.
    pub fn ask(socket: Option<&Path>) -> Result<Live, String> {
        let mut control = connect(socket)?;
        let said = |error: ControlError| format!("the running instance does not tell its units: {error}");
        let listed = control.ask("ListUnits", Vec::new()).map_err(said)?;
        let folders = folders(&mut control).map_err(said)?;
        let mut sources = Sources::default();
        sources.system = true;
        sources.user = !rustix::process::geteuid().is_root();
        sources.search(folders);
        let units = sources.loader();
        let (mut start, mut present) = (Vec::new(), Vec::new());
        for unit in listed.first().map(Value::items).unwrap_or_default() {
            let field = |at: usize| unit.items().get(at).and_then(Value::as_str);
            let up = matches!(field(3), Some("active" | "reloading" | "activating"));
            let Some(name) = field(0).and_then(UnitName::new).filter(|_| up) else { continue };
            match name.kind() {
                UnitKind::Device | UnitKind::Mount | UnitKind::Swap => present.push(name),
                UnitKind::Slice | UnitKind::Scope => {}
                _ => start.push(name),
            }
        }
        if start.is_empty() {
            return Err("nothing runs there that could be predicted".into());
        }
        Ok(Live { units, start, present })
    }
}

fn folders(control: &mut Control) -> Result<Vec<String>, ControlError> {
    let body = vec![Value::from(MANAGER), Value::from("UnitPath")];
    let answer = control.call(ROOT.to_owned(), "org.freedesktop.DBus.Properties", "Get", body)?;
    let list = match answer.first() {
        Some(Value::Variant(list)) => list.items(),
        _ => return Err(ControlError::Unexpected("UnitPath")),
    };
    Ok(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// hence's own socket where one runs, else systemd's.
fn connect(socket: Option<&Path>) -> Result<Control, String> {
    let mut candidates: Vec<PathBuf> = match socket {
        Some(path) => vec![path.to_owned()],
        None => default_socket().into_iter().collect(),
    };
    if socket.is_none() {
        candidates.push(match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(folder) if !rustix::process::geteuid().is_root() => {
                PathBuf::from(folder).join("systemd/private")
            }
            _ => PathBuf::from("/run/systemd/private"),
        });
    }
    let mut told = Vec::new();
    for path in candidates {
        match Control::connect(&path) {
            Ok(control) => return Ok(control),
            Err(error) => told.push(error.to_string()),
        }
    }
    Err(format!("neither hence nor systemd answers here: {}", told.join("; ")))
}
