//! `hence run`: runs a folder of units in the foreground, as any user, or as pid 1.

mod whose;

use crate::alerts::Vigil;
use crate::cli::LedgerOption;
use crate::exit;
use crate::front_link::{FrontLink, session_bus_address, system_bus_address};
use crate::init::Boot;
use crate::narrator::Narrator;
use crate::pump::Pump;
use crate::reexec::{self, Earlier, Program};
use crate::survivors;
use crate::units::Sources;
use hence_engine::{Engine, Objective, Request, RequestKind, Role, Settings};
use hence_host::carry::HostDescriptors;
use hence_host::machine::generators::Scope;
use hence_host::machine::{Place, environment_generators, generators};
use hence_host::store::{RecorderCommand, RecorderLink, Ring, RingOptions};
use hence_host::{Capture, Host, HostOptions};
use hence_ledger::{Client, Fact, RecordId, Stream, Text, Tracking, Verb, record::Invocation};
use hence_unit::{UnitName, config::JobMode};
use std::cell::RefCell;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use whose::{Whose, locale};

/// Runs units in the foreground until they are done, ^C or --for.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Folders of unit files, or unit files; none: the system's own unit folders
    #[arg(value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// End in order after this time: 30s, 5min, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = time_span)]
    pub run_for: Option<u64>,
    /// Start this unit instead of the folder's default
    #[arg(long, short, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// A further folder to find units in, which are not started by themselves
    #[arg(long, value_name = "DIR")]
    pub unit_path: Vec<PathBuf>,
    /// Where clients such as systemctl reach this hence
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// How to track processes [default: the best that is possible here]
    #[arg(long, value_name = "LEVEL", value_parser = ["cgroup", "ancestry"])]
    pub tracking: Option<String>,
    /// Say only what is wrong
    #[arg(long, short)]
    pub quiet: bool,
    /// Which journal the output of services goes to
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    pub journal: crate::journal::Wanted,
    /// Keep running when no unit is left up
    #[arg(long)]
    pub stay: bool,
    /// What an earlier program hands on; said by hence alone
    #[arg(long, hide = true, value_name = "FD")]
    pub deserialize: Option<i32>,
    /// Where services' TMPDIR is; this hence ends with who started it. Said by hence soak alone
    #[arg(long, hide = true, value_name = "DIR")]
    pub soak: Option<PathBuf>,
    /// A folder that gets a bounded disk of its own; said by hence soak alone
    #[arg(long, hide = true, value_name = "DIR")]
    pub bounded: Vec<PathBuf>,
    #[command(flatten)]
    pub alerts: crate::alerts::Options,
    #[command(flatten)]
    pub ledger: LedgerOption,
}

/// A span as unit files have it, in microseconds.
pub fn time_span(text: &str) -> Result<u64, String> {
    match hence_unit::value::span(text, 1_000_000) {
        Some(us) if us > 0 => Ok(us),
        _ => Err("write it as 30s, 5min or 1h 30min".into()),
    }
}

/// Hands captured streams to the recorder.
struct ToRecorder(Rc<RefCell<RecorderLink>>);

impl Capture for ToRecorder {
    fn stream(&mut self, read_end: OwnedFd, unit: &Text, invocation: Invocation, stream: Stream, pid: u32) {
        self.0.borrow_mut().send_stream(read_end, unit, invocation, stream, pid);
    }

    fn logged_stream(
        &mut self,
        read_end: OwnedFd,
        unit: &Text,
        invocation: Invocation,
        of: (Stream, u32),
        logging: &Arc<[u8]>,
    ) {
        self.0.borrow_mut().send_logged_stream(read_end, unit, invocation, of, logging);
    }
}

/// What ends a run before it begins: the sentence and the exit status.
pub struct Refused(pub u8, pub String);

/// How a run ended.
pub struct Ended {
    /// The exit status.
    pub status: u8,
    /// What becomes of the machine.
    pub objective: Objective,
    /// Nothing is to be waited for.
    pub immediate: bool,
    /// The process that still writes the last records.
    pub recorder: Option<u32>,
}

/// Runs; see `exit` for what the exit status says.
pub fn main(args: Args) -> ExitCode {
    let earlier = args.deserialize.map(Earlier::receive);
    match run(&args, None, earlier) {
        Ok(ended) => ExitCode::from(ended.status),
        Err(Refused(status, message)) => {
            eprintln!("hence: {message}");
            ExitCode::from(status)
        }
    }
}

/// Runs; as process 1 of a system with `boot`.
///
/// # Errors
/// What ends it before it begins.
pub fn run(args: &Args, boot: Option<Boot>, mut earlier: Option<Earlier>) -> Result<Ended, Refused> {
    if args.soak.is_some() {
        crate::soak::ground::prepare(&args.bounded);
    }
    hence_host::sys::heap::share();
    let program = Program::find();
    let whose = Whose::of(boot.as_ref());
    let mut sources = Sources::new(&args.paths, &args.unit_path, whose == Whose::Users)
        .map_err(|m| Refused(exit::NO_UNITS, m))?;
    sources.machine = whose == Whose::Systems;
    let ledger = args.ledger.ledger.clone().unwrap_or_else(|| whose.ledger());
    let ledger = std::path::absolute(&ledger).unwrap_or(ledger);
    // What clients made for units that go on is still in use.
    let live = sources.live_folders(&ledger, earlier.is_some() || survivors::is_marked(&ledger));
    let mut units = sources.loader();
    units.before_scan = boot.as_ref().map(|boot| generators(boot.scope(), boot.place.clone()));
    units.generated = boot.as_ref().map(|boot| boot.environment.clone()).unwrap_or_default();
    for diagnostic in units.diagnostics() {
        eprintln!("hence: {diagnostic}");
    }
    let system = units.system().cloned().unwrap_or_default();
    let start = sources.to_start(&args.unit, &units).map_err(|m| Refused(exit::NO_UNITS, m))?;
    let allowed = args.alerts.allow_list().map_err(|m| Refused(exit::USAGE, m))?;
    // Made before the ring is, which lets nobody else into the folder: services of every user report there.
    let runtime = whose.runtime_directory();
    let bad_ledger = |e: hence_host::store::StoreError| Refused(exit::LEDGER, e.to_string());
    let named = args.ledger.ledger.is_some() || whose == Whose::Users;
    let of_system = whose == Whose::Systems;
    let journal = crate::journal::recorder_arguments(args.journal, &ledger, of_system, named);
    let told = crate::journal::native_socket(journal.first().map(OsString::as_os_str));
    let command = recorder_command(&ledger, journal);
    let mut parts = Parts::of(earlier.as_mut(), &ledger, &command);
    let held = parts.lock.take();
    let ring = Ring::open_again(&ledger, &RingOptions::default(), held).map_err(bad_ledger)?;
    // Those of an earlier program in this process' place are known.
    let before = match (parts.again, parts.whole) {
        (false, _) => survivors::Before::look(&ledger),
        (true, true) => survivors::Before::default(),
        (true, false) => survivors::Before::look_at_children(&ledger),
    };
    let now = Host::now();
    let recorder = match parts.recorder.take() {
        Some(recorder) => recorder,
        None => RecorderLink::start(command, now.monotonic_us).map_err(bad_ledger)?,
    };
    let recorder_pid = recorder.pid();
    let recorder = Rc::new(RefCell::new(recorder));
    let mut environment = whose.environment();
    environment.extend(system.environment.iter().cloned());
    environment.extend(args.soak.iter().map(|folder| format!("TMPDIR={}", folder.display()).into()));
    if whose != Whose::Users {
        environment.extend(locale(whose));
    }
    for pair in &units.generated {
        let name = pair.split('=').next().unwrap_or("");
        environment.retain(|held| held.split('=').next() != Some(name));
        environment.push(pair.clone());
    }
    let units = Rc::new(RefCell::new(units));
    let reader = units.clone();
    let mut options = HostOptions {
        environment,
        runtime_directory: runtime,
        capture: Some(Box::new(ToRecorder(recorder.clone()))),
        load: Some(Box::new(move |name| reader.borrow_mut().load(name))),
        tracking: args.tracking.as_deref().map(|t| match t {
            "ancestry" => Tracking::Ancestry,
            _ => Tracking::Cgroup,
        }),
        descriptors: std::mem::take(&mut parts.descriptors),
        groups: before.groups(),
        reported_to: before.reported_to(),
        user_instance: whose == Whose::Users,
        soft_descriptors: (whose != Whose::Own).then_some(1024),
        ..HostOptions::default()
    };
    if whose == Whose::Users || !rustix::process::geteuid().is_root() {
        let environs_roots = user_roots();
        options.directory_roots = environs_roots;
    }
    // Before there are control groups, which a refusal would leave behind.
    let vigil = match told.is_some() || args.alerts.are_given() {
        false => None,
        true => {
            let user = whose == Whose::Users;
            let vigil = Vigil::open(&args.alerts, allowed.clone(), told, user, now);
            Some(vigil.map_err(|m| Refused(exit::USAGE, m))?)
        }
    };
    let host = Host::new(options).map_err(|e| Refused(exit::HOST, e.to_string()))?;
    let report = host.tracking();
    let seed = seed();
    let first_record = ring.last_id().map_or(0, |RecordId(id)| id + 1).max(now.realtime_us);
    let settings = Settings {
        first_record,
        seed,
        boot_us: now.monotonic_us,
        ctrl_alt_del_burst: system.ctrl_alt_del_burst,
        role: boot.as_ref().map_or(Role::Foreground, |b| b.role),
    };
    let engine = Engine::new(match &mut earlier {
        Some(earlier) => settings.carried(&earlier.parts().0),
        None => settings,
    });
    if !args.quiet && earlier.is_none() {
        announce(&report, &ledger, boot.as_ref());
    }
    // Process 1 tells what happens as long as nobody says that it shall not: ShowStatus=.
    let first = std::process::id() == 1;
    let narrates = match whose {
        Whose::Systems => !args.quiet && system.show_status.unwrap_or(true),
        Whose::Users => !args.quiet && system.show_status.unwrap_or(false),
        Whose::Own => !first,
    };
    let narrator = if narrates { Narrator::start(args.quiet).ok() } else { None };
    let mut pump = Pump::new(engine, host, ring, recorder, narrator, !first && !args.stay);
    pump.engine.allow_left_behind(allowed);
    pump.watches(vigil);
    pump.reads(units, live);
    pump.executes(program, &ledger);
    if !parts.whole {
        let places = (report.cgroup.as_str(), pump.host.notify_address());
        before.mark_running(&ledger, places, &seed, first_record);
    }
    // Who waits for names on the bus asks it, when it is taken up.
    let front = parts.front.take().and_then(|front| open_front(args, whose, Some(front)));
    let served = front.is_some();
    front.into_iter().for_each(|front| pump.serve(front));
    match &mut earlier {
        Some(earlier) => {
            let taken = pump.take_up(earlier, parts.watches);
            match parts.whole {
                false => look_for_lost(&mut pump, before),
                true if taken.whole => {}
                true => look_for_lost(&mut pump, survivors::Before::look_at_children(&ledger)),
            }
        }
        None => begin(&mut pump, before, &report, boot.as_ref().map_or(&[], |boot| &boot.presets)),
    }
    // What of it nobody asked for is closed.
    drop(earlier);
    if !served && let Some(front) = open_front(args, whose, None) {
        pump.serve(front);
    }
    if whose == Whose::Systems {
        let mounted = pump.host.watch_mounts();
        pump.happen(mounted);
    }
    if boot.as_ref().is_some_and(|boot| boot.place.is_machine()) {
        let swaps = pump.host.watch_swaps();
        pump.happen(swaps);
    }
    if !parts.again || !parts.whole {
        ask_for(&mut pump, args.run_for, start);
    }
    let asked = pump.run();
    let trouble = pump.trouble.any() && boot.is_none();
    let status = if asked == 0 && trouble { exit::TROUBLE } else { asked };
    let (objective, immediate) = (pump.engine.objective(), pump.engine.is_immediate());
    if whose == Whose::Systems && !immediate {
        pump.end_others(recorder_pid);
    }
    let leaves = pump.engine.units().any(|u| !u.left_over.is_empty());
    let lost = pump.close(status);
    survivors::mark_ended(&ledger, leaves);
    if lost > 0 {
        eprintln!(
            "hence: {lost} records found no room in the ledger {}; it says where they are missing",
            ledger.display()
        );
    }
    Ok(Ended { status, objective, immediate, recorder: recorder_pid })
}

/// What an earlier program handed on, as far as it is needed before there is a run loop.
#[derive(Default)]
struct Parts {
    /// There was an earlier program.
    again: bool,
    /// Its state can be read as a whole, but perhaps for parts of it.
    whole: bool,
    lock: Option<OwnedFd>,
    recorder: Option<RecorderLink>,
    descriptors: HostDescriptors,
    /// What is watched by inotify goes on.
    watches: bool,
    front: Option<FrontLink>,
}

impl Parts {
    fn of(earlier: Option<&mut Earlier>, ledger: &Path, command: &RecorderCommand) -> Parts {
        let Some(earlier) = earlier else { return Parts::default() };
        let (carried, inherited, unread) = earlier.parts();
        let lock = carried.one("run").and_then(|run| run.need("lock").ok());
        let lock = lock.and_then(|lock| inherited.take(lock));
        // It is held, whatever the state says: without it this process would wait for itself.
        let lock = lock.or_else(|| inherited.take_file(&ledger.join("lock")));
        let descriptors = HostDescriptors::take_up(&carried, inherited, unread);
        let uid = rustix::process::geteuid().as_raw();
        Parts {
            again: true,
            whole: carried.one("engine").is_some(),
            lock,
            recorder: RecorderLink::take_up(command, &carried, inherited, unread),
            watches: descriptors.has_watches(),
            descriptors,
            front: FrontLink::take_up(&carried, inherited, unread, uid),
        }
    }
}

/// Says that hence runs, and what an earlier one left.
fn begin(
    pump: &mut Pump,
    before: survivors::Before,
    report: &hence_host::TrackingReport,
    presets: &[hence_unit::install::Step],
) {
    let started = Fact::Started {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        boot: boot_id(),
        tracking: report.level,
        cgroup: report.cgroup.as_str().into(),
        command: command(),
        after_crash: before.crashed(),
    };
    let began = pump.note(Vec::new(), started);
    pump.tell_changed(presets, began);
    go_on(pump, before);
}

/// Units whose processes run as they should go on; what else there is of an earlier hence is left over.
fn go_on(pump: &mut Pump, mut before: survivors::Before) {
    let resumed = before.take_resumed();
    let all: Vec<(UnitName, Invocation)> = resumed.iter().map(|r| (r.unit.clone(), r.invocation)).collect();
    let refused = pump.resume(resumed);
    for (unit, invocation) in all {
        if !refused.iter().any(|r| r.unit == unit) {
            before.gone_on(&unit, invocation);
        }
    }
    for ((unit, invocation), processes) in before.survivors() {
        pump.survivors(unit, invocation, processes);
    }
}

/// Of some units nothing was handed on that can be read: they are found by their processes, as those of a
/// hence that was killed are.
fn look_for_lost(pump: &mut Pump, mut before: survivors::Before) {
    before.without(|unit| pump.engine.find(unit).is_some_and(|unit| !pump.engine.may_resume(unit)));
    go_on(pump, before);
}

/// Asks for what the command line names.
fn ask_for(pump: &mut Pump, run_for: Option<u64>, start: Vec<UnitName>) {
    if let Some(us) = run_for {
        pump.run_for(us);
    }
    for unit in start {
        pump.load(&unit);
        pump.request(Request {
            token: 0,
            client: Client {
                pid: std::process::id(),
                uid: rustix::process::geteuid().as_raw(),
                command: command(),
                ..Client::default()
            },
            verb: Verb::Run,
            kind: RequestKind::Job { unit, mode: JobMode::Replace },
        });
    }
}

/// How hence was called.
pub fn command() -> Text {
    let words: Vec<String> = reexec::arguments().iter().map(|a| a.to_string_lossy().into_owned()).collect();
    words.join(" ").into()
}

/// What a reload does before it looks for unit files: generators write theirs anew; systemd.generator(7).
fn generators(scope: Scope, place: Place) -> Box<dyn FnMut() -> Vec<Box<str>>> {
    Box::new(move || {
        let (environment, notes) = generate(scope, &place, false);
        for note in notes {
            eprintln!("hence: {note}");
        }
        environment
    })
}

/// Runs the generators of environments, then those of units. Returns what the former said.
pub fn generate(scope: Scope, place: &Place, first_boot: bool) -> (Vec<Box<str>>, Vec<String>) {
    let (mut given, runtime) = match scope {
        Scope::System => (Whose::Systems.environment(), Some(PathBuf::from("/run"))),
        Scope::User => (Whose::Users.environment(), whose::runtime_root()),
    };
    let (environment, mut notes) = environment_generators::run(scope, &given);
    given.extend(environment.iter().cloned());
    if let Some(runtime) = runtime {
        notes.extend(generators::run(scope, &runtime, place, first_boot, &given));
    }
    (environment, notes)
}

/// The first lines: how processes are tracked, and what can't be promised.
fn announce(report: &hence_host::TrackingReport, ledger: &Path, boot: Option<&Boot>) {
    let container = boot.filter(|b| b.role != Role::User).map(|b| &b.place.container);
    let place = match container {
        _ if boot.is_some_and(|b| b.role == Role::User) => {
            format!("the units of user {}; ", rustix::process::geteuid().as_raw())
        }
        Some(Some(container)) => format!("process 1 of a container ({container}); "),
        Some(None) => "process 1 of this machine; ".to_owned(),
        None => String::new(),
    };
    println!(
        "hence {}: {place}processes are tracked by {}; ledger {}",
        env!("CARGO_PKG_VERSION"),
        report.level,
        ledger.display()
    );
    if report.level == Tracking::Ancestry || boot.is_some() {
        for limit in &report.limits {
            println!("  {limit}");
        }
    }
    for note in boot.iter().flat_map(|b| &b.notes) {
        println!("  {note}");
    }
}

/// How often an earlier program's socket is tried to be opened anew.
const TRIES: u32 = 50;

fn pause<T>() -> Option<T> {
    std::thread::sleep(Duration::from_millis(20));
    None
}

fn open_front(args: &Args, whose: Whose, earlier: Option<FrontLink>) -> Option<FrontLink> {
    let uid = rustix::process::geteuid().as_raw();
    let first = std::process::id() == 1;
    let path = match (&args.socket, first) {
        (Some(path), _) => path.clone(),
        (None, _) if whose == Whose::Users => whose.runtime_directory()?.join("private"),
        // The stock systemctl looks here, and for this folder.
        (None, true) if uid == 0 => {
            let made = std::fs::create_dir_all("/run/systemd/system");
            if let Err(error) = made {
                eprintln!("hence: /run/systemd/system: {error}; systemctl won't find this hence");
            }
            PathBuf::from("/run/systemd/private")
        }
        (None, _) => whose.runtime_directory()?.join("private"),
    };
    // Who runs a few units in the foreground doesn't want the name of the whole system.
    let bus = match whose {
        Whose::Users => session_bus_address(),
        _ if uid == 0 && (first || args.stay) => system_bus_address(),
        _ => None,
    };
    // A process that was just started may hold an earlier program's socket until it has executed its own.
    let open = || {
        let tries = if args.deserialize.is_some() { TRIES } else { 1 };
        (1..tries)
            .find_map(|_| FrontLink::open(&path, uid).ok().or_else(pause))
            .map_or_else(|| FrontLink::open(&path, uid), Ok)
    };
    match earlier.map_or_else(open, Ok) {
        Ok(front) => Some(match bus {
            Some(bus) if whose == Whose::Users => front.for_owner_only().on_bus(bus),
            Some(bus) => front.on_bus(bus),
            None => front,
        }),
        Err(error) => {
            eprintln!("hence: {}: {error}; clients can't reach this hence", path.display());
            None
        }
    }
}

/// The recorder is this program, called anew.
pub fn recorder_command(ledger: &Path, journal: Vec<OsString>) -> RecorderCommand {
    let mut arguments = vec![OsString::from("recorder"), ledger.as_os_str().to_owned()];
    arguments.extend(journal);
    RecorderCommand {
        program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
        arguments,
        environment: crate::journal::environment(),
    }
}

pub fn user_roots() -> [PathBuf; 5] {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    let var =
        |name: &str, below: &str| std::env::var_os(name).map_or_else(|| home.join(below), PathBuf::from);
    let state = var("XDG_STATE_HOME", ".local/state");
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let logs = state.join("log");
    [runtime, state, var("XDG_CACHE_HOME", ".cache"), logs, var("XDG_CONFIG_HOME", ".config")]
}

/// The kernel's id of this boot.
pub fn boot_id() -> Invocation {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or("0");
        *byte = u8::from_str_radix(pair, 16).unwrap_or(0);
    }
    Invocation(id)
}

/// Makes invocation ids differ from run to run.
fn seed() -> [u8; 16] {
    let mut seed = [0; 16];
    if rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::NONBLOCK).is_err() {
        let now = Host::now();
        seed[..8].copy_from_slice(&now.realtime_us.to_le_bytes());
        seed[8..].copy_from_slice(&now.monotonic_us.to_le_bytes());
    }
    seed
}
