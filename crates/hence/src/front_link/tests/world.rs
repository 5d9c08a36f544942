//! A server in a thread of its own: an engine, a link, and processes that exist in numbers only.

use super::super::*;
use hence_bus::front::{ManagerView, ProcessView};
use hence_bus::wire::Message;
use hence_engine::engine::load_all;
use hence_engine::{Checked, Event, KillScope, Settings, Spawn, Time};
use hence_ledger::{Client, Exit, ExitKind, ProcessRole};
use hence_unit::config::Environs;
use hence_unit::install::{InstallPaths, Step};
use hence_unit::unit_path::{Entry, EntryKind, FileError, Files, UnitPath};
use hence_unit::{Config, UnitName};
use rustix::event::epoll;
use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const UNITS: &[(&str, &str)] = &[
    (
        "foo.service",
        "[Unit]\nDescription=Serves foo\nRequires=bar.service\nAfter=bar.service\n\
        [Service]\nExecStart=-/usr/bin/food --port 80\n",
    ),
    ("bar.service", "[Service]\nExecStart=/usr/bin/bard\n"),
    ("broken.service", "[Service]\nType=oneshot\nExecStart=/usr/bin/broken\n"),
    ("basic.target", "[Unit]\nDefaultDependencies=no\n"),
    ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
    ("slow.service", "[Service]\nType=notify\nExecStart=/usr/bin/slow\n"),
];

struct Disk;

impl Files for Disk {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        if folder != "/u" {
            return Err(FileError::NotFound);
        }
        let entry = |(name, _): &(&str, &str)| Entry { name: (*name).into(), kind: EntryKind::File };
        Ok(UNITS.iter().map(entry).collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let name = path.strip_prefix("/u/").ok_or(FileError::NotFound)?;
        let found = UNITS.iter().find(|(unit, _)| *unit == name).ok_or(FileError::NotFound)?;
        Ok(found.1.as_bytes().to_vec())
    }

    fn link(&self, _: &str) -> Option<String> {
        None
    }
}

fn read(name: &UnitName) -> Config {
    let path = UnitPath::scan(&Disk, &["/u".to_owned()]);
    let environs = Environs { user: true, ..Environs::default() };
    hence_unit::load(&path, &Disk, &environs, name)
}

/// A unit and all that it needs, each once.
fn with_dependencies(name: &str) -> Vec<Config> {
    let mut known = vec![read(&UnitName::new(name).expect("valid"))];
    let mut at = 0;
    while at < known.len() {
        let others: Vec<UnitName> = known[at].dependencies.iter().map(|d| d.other.clone()).collect();
        for other in others {
            if !known.iter().any(|config| *config.id() == other) {
                known.push(read(&other));
            }
        }
        at += 1;
    }
    known
}

pub fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").expect("/proc").uid()
}

struct World {
    engine: Engine,
    start: Instant,
    ahead_us: u64,
    last_pid: u32,
    later: VecDeque<Effect>,
    epoll: OwnedFd,
}

impl World {
    fn now(&self) -> Time {
        let monotonic_us = self.start.elapsed().as_micros() as u64 + self.ahead_us + 1;
        Time { realtime_us: 1_700_000_000_000_000 + monotonic_us, monotonic_us }
    }

    fn loaded(&mut self, name: &UnitName) {
        let config = Box::new(read(name));
        let now = self.now();
        self.engine.handle(now, Event::Loaded { config, files: Vec::new() });
    }

    fn handle(&mut self, event: Event, link: &mut FrontLink) {
        let now = self.now();
        self.engine.handle(now, event);
        self.drain(link);
    }

    fn drain(&mut self, link: &mut FrontLink) {
        loop {
            while let Some(record) = self.engine.poll_record() {
                link.record(&record, &self.engine);
            }
            let now = self.now();
            let Some(effect) = self.later.pop_front().or_else(|| self.engine.poll_effect()) else {
                if self.engine.go_on(now) {
                    continue;
                }
                return;
            };
            link.effect(&effect, self);
            let now = self.now();
            match effect {
                Effect::Load(name) => self.loaded(&name),
                Effect::Check(unit, _) => {
                    self.engine.handle(now, Event::Checked { unit, outcome: Checked::Holds });
                }
                Effect::Spawn(spawn) => self.spawn(&spawn),
                Effect::Kill(kill) => {
                    let unit = kill.unit;
                    self.engine.handle(now, Event::Killed { unit, others: 0, empty: false });
                    let known = [kill.main, kill.control];
                    for pid in known.into_iter().flatten().filter(|_| kill.scope != KillScope::Others) {
                        self.exit(pid, Exit { kind: ExitKind::Killed, status: i32::from(kill.signal) });
                    }
                    if kill.report_empty {
                        self.engine.handle(now, Event::Emptied(unit));
                    }
                }
                Effect::Census { unit, .. } => {
                    self.engine
                        .handle(now, Event::Census { unit, processes: Vec::new(), known: 0, unread: false });
                }
                Effect::ReportEmpty(unit) => self.engine.handle(now, Event::Emptied(unit)),
                _ => {}
            }
        }
    }

    fn exit(&mut self, pid: u32, exit: Exit) {
        let now = self.now();
        let (exit, spawn_error) = (Some(exit), None);
        self.engine.handle(now, Event::Exited { pid, exit, cpu_us: 0, peak_bytes: 0, spawn_error });
    }

    fn spawn(&mut self, spawn: &Spawn) {
        self.last_pid += 1;
        let (pid, now) = (self.last_pid, self.now());
        let (exec, inputs) = (spawn.exec, Vec::new());
        let event = Event::Spawned { exec, pid, start_ticks: 1, inputs, executed: true };
        self.engine.handle(now, event);
        let broken = self.engine.unit(spawn.unit).name().as_str() == "broken.service";
        if broken || spawn.role != ProcessRole::Main {
            self.exit(pid, Exit { kind: ExitKind::Exited, status: if broken { 7 } else { 0 } });
        }
    }
}

impl Runtime for World {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn now_us(&self) -> u64 {
        self.now().monotonic_us
    }

    fn load(&mut self, name: &UnitName) -> Option<UnitId> {
        if !UNITS.iter().any(|(unit, _)| *unit == name.as_str()) {
            return self.engine.find(name.as_str());
        }
        let now = self.now();
        self.engine.handle(now, Event::Referenced(name.clone()));
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Load(name) => self.loaded(&name),
                other => self.later.push_back(other),
            }
        }
        self.engine.find(name.as_str())
    }

    fn reload(&mut self, _: Client) -> Result<(), Refusal> {
        for (unit, _) in UNITS {
            if self.engine.find(unit).is_some() {
                self.loaded(&UnitName::new(unit).expect("valid"));
            }
        }
        Ok(())
    }

    fn usage(&self, unit: UnitId) -> crate::model::Usage {
        let unit = self.engine.unit(unit);
        let running = unit.service().and_then(|service| service.main_pid()).is_some();
        crate::model::Usage {
            control_group: format!("/hence/{}", unit.name()),
            tasks_current: Some(u64::from(running)),
            ..Default::default()
        }
    }

    fn processes(&self, unit: UnitId) -> Vec<ProcessView> {
        let unit = self.engine.unit(unit);
        let main = unit.service().and_then(|service| service.main_pid());
        let view =
            |pid| ProcessView { cgroup: format!("/hence/{}", unit.name()), pid, command: "food".into() };
        main.map(view).into_iter().collect()
    }

    fn unit_of_pid(&self, _: u32) -> Option<UnitId> {
        None
    }

    fn is_stale(&self, _: UnitId) -> bool {
        false
    }

    fn unit_folders(&self) -> Vec<String> {
        vec!["/u".into()]
    }

    fn install(&self) -> (InstallPaths, Environs) {
        (InstallPaths::folders(self.unit_folders()), Environs::default())
    }

    fn file_state(&mut self, _: &UnitName) -> (String, String) {
        ("static".into(), "enabled".into())
    }

    fn change_files(
        &mut self,
        _: Client,
        _: hence_ledger::Verb,
        _: &[UnitName],
        _: (&InstallPaths, &[Step]),
    ) -> Result<(), Refusal> {
        Err(Refusal::new(ErrorName::AccessDenied, "These files stay as they are."))
    }

    fn machine_id(&self) -> String {
        "0".repeat(32)
    }

    fn describe(&self, view: &mut ManagerView) {
        view.environment = vec!["LANG=C".into()];
    }
}

impl Registry for World {
    fn register(&mut self, fd: BorrowedFd<'_>, token: u32, interest: Interest) -> io::Result<()> {
        let (number, flags) = (epoll::EventData::new_u64(u64::from(token)), flags(interest));
        match epoll::add(&self.epoll, fd, number, flags) {
            Err(rustix::io::Errno::EXIST) => Ok(epoll::modify(&self.epoll, fd, number, flags)?),
            added => Ok(added?),
        }
    }

    fn unregister(&mut self, fd: BorrowedFd<'_>) {
        epoll::delete(&self.epoll, fd).expect("registered");
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, interest.read);
    flags.set(epoll::EventFlags::OUT, interest.write);
    flags
}

/// What the test and the server's thread share.
#[derive(Default)]
struct Shared {
    stop: bool,
    ahead_us: u64,
    wakes: u64,
    connections: usize,
    outgoing: usize,
    deadline_us: Option<u64>,
    names: Vec<String>,
    requests: Vec<Client>,
}

pub struct Server {
    folder: PathBuf,
    shared: Arc<Mutex<Shared>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(name: &str) -> Server {
        let folder = std::env::temp_dir().join(format!("hence-link-{}-{name}", std::process::id()));
        let path = folder.join("systemd/private");
        let mut link = FrontLink::open(&path, own_uid()).expect("listens");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&mut link, &theirs));
        Server { folder, shared, thread: Some(thread) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.join("systemd/private")).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        stream
    }

    fn shared<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        look(&mut self.shared.lock().expect("the server did not panic"))
    }

    /// Waits until the server has gone round twice and says what it then sees.
    fn after_a_turn<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        let seen = self.shared(|shared| shared.wakes);
        while self.shared(|shared| shared.wakes) < seen + 2 {
            assert!(!self.thread.as_ref().expect("runs").is_finished(), "the server ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.shared(look)
    }

    pub fn advance(&self, by_us: u64) {
        self.shared(|shared| shared.ahead_us += by_us);
    }

    pub fn deadline_us(&self) -> Option<u64> {
        self.after_a_turn(|shared| shared.deadline_us)
    }

    pub fn outgoing(&self) -> usize {
        self.after_a_turn(|shared| shared.outgoing)
    }

    pub fn names(&self) -> Vec<String> {
        self.after_a_turn(|shared| shared.names.clone())
    }

    pub fn requests(&self) -> Vec<Client> {
        self.shared(|shared| shared.requests.clone())
    }

    pub fn settles_to_no_connections(&self) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.after_a_turn(|shared| shared.connections) > 0 {
            assert!(Instant::now() < until, "connections stay");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared(|shared| shared.stop = true);
        let ended = self.thread.take().expect("runs").join();
        let _ = std::fs::remove_dir_all(&self.folder);
        if !std::thread::panicking() {
            ended.expect("the server did not panic");
        }
    }
}

fn serve(link: &mut FrontLink, shared: &Mutex<Shared>) {
    let mut world = World {
        engine: Engine::new(Settings { first_record: 1, ..Settings::default() }),
        start: Instant::now(),
        ahead_us: 0,
        last_pid: 1_000_000,
        later: VecDeque::new(),
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll"),
    };
    let now = world.now();
    load_all(&mut world.engine, now, with_dependencies("bar.service"));
    link.register(&mut world);
    loop {
        let mut events = Vec::with_capacity(64);
        let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        epoll::wait(&world.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)).expect("waits");
        for event in events {
            use epoll::EventFlags as F;
            let token = event.data.u64() as u32;
            let flags = event.flags;
            let read = flags.intersects(F::IN | F::HUP | F::ERR);
            let ready = Ready { token, read, write: flags.intersects(F::OUT | F::HUP | F::ERR) };
            for request in link.ready(ready, &mut world) {
                shared.lock().expect("no test panicked with it").requests.push(request.client.clone());
                world.handle(Event::Request(request), link);
            }
        }
        world.handle(Event::Deadline, link);
        link.overdue(world.now_us(), &mut world);
        link.flush(&mut world);
        let mut shared = shared.lock().expect("no test panicked with it");
        shared.wakes += 1;
        world.ahead_us = shared.ahead_us;
        shared.connections = link.connections.len();
        shared.outgoing = link.connections.values().map(|c| link.front.outgoing(c.peer).len()).sum();
        shared.deadline_us = link.deadline_us();
        shared.names = world.engine.units().map(|unit| unit.name().to_string()).collect();
        if shared.stop {
            return;
        }
    }
}

/// A call of Ping.
pub fn ping() -> Vec<u8> {
    let mut out = Vec::new();
    Message::call("/", "org.freedesktop.DBus.Peer", "Ping").encode(7, &mut out);
    out
}

/// What a client sends to authenticate and be answered.
pub fn dialogue() -> Vec<u8> {
    [b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_vec(), ping()].concat()
}

/// Calls for the list of units, as bytes.
pub fn list_calls(times: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let manager = "org.freedesktop.systemd1.Manager";
    Message::call(hence_bus::front::ROOT, manager, "ListUnits").encode(7, &mut out);
    out.repeat(times)
}

/// Reads until the answer to a Ping is there.
#[track_caller]
pub fn expect_pong(stream: &mut UnixStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    // The answer is the first message after the handshake: little-endian, of type 2.
    while !seen.windows(2).any(|pair| pair == [b'l', 2]) {
        let length = stream.read(&mut buffer).expect("an answer in time");
        assert!(length > 0, "closed: {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..length]);
    }
}
