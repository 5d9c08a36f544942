//! The I/O of the front's connection to the system bus, or of a user's own to the session bus: it connects
//! when there is a bus, comes back after the bus' end, and tells the engine who owns the names that services
//! wait for. It never waits itself, and it polls nothing: while there is no bus, inotify tells when its
//! socket comes, and a `dbus.service` of ours tells when it is up.

use super::{BUS, BUS_WATCH, FrontLink, READ_BYTES, Registry, is_transient, receive};
use crate::model::{EngineModel, Runtime};
use hence_bus::bus::News;
use hence_engine::{Engine, Event, UnitId};
use hence_host::{Interest, arrival::Arrival};
use hence_ledger::{ActiveState, Fact, Record};
use hence_unit::{Kind, UnitName};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where the bus is unless the environment says otherwise.
const DEFAULT: &str = "/run/dbus/system_bus_socket";
/// The services that are the bus.
const SERVICES: [&str; 2] = ["dbus.service", "dbus-broker.service"];

struct Stream {
    stream: UnixStream,
    interest: Interest,
}

/// The connection to the bus, or the wait for it.
pub struct SystemBus {
    arrival: Arrival,
    stream: Option<Stream>,
    /// Names whose owners matter, and to which units.
    names: BTreeMap<String, BTreeSet<UnitId>>,
    events: Vec<Event>,
}

/// The socket of the system bus: of DBUS_SYSTEM_BUS_ADDRESS, as the D-Bus specification has it, else the
/// usual one. `None` for an address that is no path.
pub fn address() -> Option<PathBuf> {
    match std::env::var("DBUS_SYSTEM_BUS_ADDRESS") {
        Ok(text) if !text.is_empty() => path_of(&text),
        _ => Some(PathBuf::from(DEFAULT)),
    }
}

/// The socket of the user's bus: of DBUS_SESSION_BUS_ADDRESS, else the usual one below the user's runtime
/// folder. `None` for an address that is no path.
pub fn session_address() -> Option<PathBuf> {
    let usual = || Some(PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("bus"));
    match std::env::var("DBUS_SESSION_BUS_ADDRESS") {
        Ok(text) if !text.is_empty() && text != "unix:runtime=yes" => path_of(&text),
        _ => usual().filter(|path| path.is_absolute()),
    }
}

/// The path of the first address that has one: `unix:path=/run/x,guid=...;unix:...`.
fn path_of(addresses: &str) -> Option<PathBuf> {
    let paths = addresses.split(';').filter_map(|address| address.strip_prefix("unix:"));
    let path = paths.flat_map(|keys| keys.split(',')).find_map(|key| key.strip_prefix("path="))?;
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(PathBuf::from(OsString::from_vec(bytes))).filter(|path| path.is_absolute())
}

impl SystemBus {
    /// A bus that listens on this path, now or later.
    pub fn new(path: PathBuf) -> SystemBus {
        SystemBus { arrival: Arrival::new(path), stream: None, names: BTreeMap::new(), events: Vec::new() }
    }

    /// When to try to connect again, in microseconds of the monotonic clock.
    pub fn deadline_us(&self) -> Option<u64> {
        self.arrival.deadline_us()
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(self.arrival.path())?)?;
        Ok(UnixStream::from(socket))
    }

    /// Whether connecting makes sense: a bus of ours that isn't up yet would be started by it.
    fn may_connect(&self, engine: &Engine) -> bool {
        let state = |name: &str| engine.find(name).map(|id| engine.unit(id).active_state());
        let listens = |unit: UnitId| match &engine.unit(unit).config.kind {
            Kind::Socket(socket) => {
                socket.listen.iter().any(|l| Path::new(&*l.address) == self.arrival.path())
            }
            _ => false,
        };
        let up_or_coming = !matches!(state("dbus.socket"), Some(ActiveState::Inactive | ActiveState::Failed));
        let ours = engine.find("dbus.socket").is_some_and(listens) && up_or_coming;
        let up = |name: &str| matches!(state(name), Some(ActiveState::Active | ActiveState::Reloading));
        !ours || SERVICES.iter().any(|name| up(name))
    }

    /// A service that is the bus has come up: connect at the end of this turn.
    pub fn record(&mut self, record: &Record) {
        if let Fact::StateChanged { to_active: ActiveState::Active, .. } = record.fact
            && self.stream.is_none()
            && record.unit.as_deref().is_some_and(|unit| SERVICES.contains(&unit))
        {
            self.arrival.may_be_there();
        }
    }
}

impl FrontLink {
    /// Serves on this bus as well, as soon as it is there.
    pub fn on_bus(mut self, path: PathBuf) -> FrontLink {
        self.bus = Some(SystemBus::new(path));
        self
    }

    /// Serves root and the own user, whoever else the bus lets in.
    pub fn for_owner_only(mut self) -> FrontLink {
        self.front.serve_owner_only();
        self.owner_only = true;
        self
    }

    /// What the bus told that the engine is to know.
    pub fn take_events(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.bus.as_mut().map_or_else(Vec::new, |bus| std::mem::take(&mut bus.events)));
        events
    }

    /// Whether there is a connection to the bus.
    pub(super) fn is_on_bus(&self) -> bool {
        self.bus.as_ref().is_some_and(|bus| bus.stream.is_some())
    }

    /// Tries to connect, if it is time for that.
    pub(super) fn try_bus(&mut self, now_us: u64, runtime: &mut dyn Runtime) {
        let Some(bus) = &mut self.bus else { return };
        let reading = Interest { read: true, write: false };
        if !bus.arrival.is_due(now_us, |watch| runtime.register(watch, BUS_WATCH, reading)) {
            return;
        }
        if !bus.may_connect(runtime.engine()) {
            return;
        }
        let interest = Interest { read: true, write: true };
        let connected = bus.connect().and_then(|stream| {
            runtime.register(stream.as_fd(), BUS, interest)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => {
                bus.arrival.arrived();
                bus.stream = Some(Stream { stream, interest });
                self.front.open_bus();
                self.front.keep_on_bus(&std::mem::take(&mut self.kept));
                bus.names.keys().for_each(|name| self.front.watch_name(name));
            }
            Err(error) => bus.arrival.failed(error.kind(), now_us),
        }
    }

    /// Something happened in the folder of the bus' socket.
    pub(super) fn bus_may_be_there(&mut self) {
        if let Some(bus) = &mut self.bus {
            bus.arrival.may_be_there();
        }
    }

    pub(super) fn read_bus(&mut self, runtime: &mut dyn Runtime) {
        let Some(bus) = self.bus.as_mut().and_then(|bus| bus.stream.as_mut()) else { return };
        if !self.front.bus_wants_input() {
            return;
        }
        let mut buffer = [0; READ_BYTES];
        let fine = match receive(&bus.stream, &mut buffer) {
            Ok((0, _)) => false,
            Ok((length, descriptors)) => {
                self.front.bus_attach(descriptors);
                let mut model = EngineModel { runtime: &mut *runtime };
                self.front.bus_receive(&buffer[..length], &mut model).is_ok()
            }
            Err(error) => is_transient(&error),
        };
        if !fine {
            return self.lose_bus(runtime);
        }
        self.hear_news();
    }

    fn hear_news(&mut self) {
        while let Some(news) = self.front.poll_news() {
            match news {
                News::Serving => {}
                News::LetGo(units) => self.let_go.extend(units.iter().filter_map(|unit| UnitName::new(unit))),
                News::NotServing(why) => {
                    if std::process::id() == 1 || self.owner_only {
                        eprintln!("hence: clients can't reach this hence on the bus: {why}");
                    }
                }
                News::NameOwner { name, owned } => {
                    if let Some(bus) = &mut self.bus {
                        let units = bus.names.get(&name).into_iter().flatten();
                        let text = || name.as_str().into();
                        let told = units.map(|unit| Event::BusName {
                            unit: *unit,
                            name: text(),
                            owned: Some(owned),
                        });
                        bus.events.extend(told);
                    }
                }
            }
        }
    }

    /// Writes what the bus takes now and waits for what is needed next.
    pub(super) fn settle_bus(&mut self, runtime: &mut dyn Runtime) {
        let Some(bus) = self.bus.as_mut().and_then(|bus| bus.stream.as_mut()) else { return };
        let mut fine = self.front.bus_over().is_none();
        while fine && !self.front.bus_outgoing().is_empty() {
            match bus.stream.write(self.front.bus_outgoing()) {
                Ok(length) => {
                    let mut model = EngineModel { runtime: &mut *runtime };
                    fine = self.front.bus_sent(length, &mut model).is_ok();
                }
                Err(error) if is_transient(&error) => break,
                Err(_) => fine = false,
            }
        }
        // Calls that were held back may have told something.
        self.hear_news();
        let Some(bus) = self.bus.as_mut().and_then(|bus| bus.stream.as_mut()) else { return };
        let read = self.front.bus_wants_input();
        let interest = Interest { read, write: !self.front.bus_outgoing().is_empty() };
        if fine && interest != bus.interest {
            bus.interest = interest;
            fine = runtime.register(bus.stream.as_fd(), BUS, interest).is_ok();
        }
        if !fine {
            self.lose_bus(runtime);
        }
    }

    /// The bus is gone; there may be another one at once.
    fn lose_bus(&mut self, registry: &mut dyn Registry) {
        // Who was gone before it.
        self.hear_news();
        let Some(bus) = &mut self.bus else { return };
        if let Some(stream) = bus.stream.take() {
            registry.unregister(stream.stream.as_fd());
        }
        bus.arrival.may_be_there();
        let held = self.front.held_on_bus();
        self.let_go.extend(held.iter().filter_map(|unit| UnitName::new(unit)));
        self.front.close_bus();
    }

    /// A unit wants to know whether this name is owned, now and whenever that changes. The answer if there
    /// is no bus.
    pub fn watch_name(&mut self, unit: UnitId, name: &str) -> Option<Event> {
        let none = Event::BusName { unit, name: name.into(), owned: None };
        let Some(bus) = self.bus.as_mut().filter(|bus| bus.stream.is_some() || is_socket(bus.arrival.path()))
        else {
            return Some(none);
        };
        bus.names.entry(name.to_owned()).or_default().insert(unit);
        // Without a connection yet, all names are asked for when there is one.
        self.front.watch_name(name);
        None
    }
}

impl FrontLink {
    /// A unit is gone: the names that only it waited for no longer matter.
    pub(super) fn forget_names(&mut self, unit: UnitId) {
        let of_others = |event: &Event| !matches!(event, Event::BusName { unit: told, .. } if *told == unit);
        self.events.retain(of_others);
        let Some(bus) = &mut self.bus else { return };
        bus.events.retain(of_others);
        let front = &mut self.front;
        bus.names.retain(|name, units| {
            units.remove(&unit);
            if units.is_empty() {
                front.unwatch_name(name);
            }
            !units.is_empty()
        });
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|about| about.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_paths() {
        let path = |text| path_of(text).map(|path| path.to_str().expect("UTF-8").to_owned());
        assert_eq!(path("unix:path=/run/a"), Some("/run/a".into()));
        assert_eq!(path("unix:abstract=x;unix:guid=12,path=/a%20b%2fc"), Some("/a b/c".into()));
        for none in ["tcp:host=a", "unix:path=", "unix:path=a", "unix:path=/a%2", "unix:path=/%zz", ""] {
            assert_eq!(path(none), None, "{none}");
        }
    }
}
