//! What clients ask of units beside jobs, in the engine's words: transient units, settings of units that run,
//! processes handed over, freezing, cleaning, the environment.

use super::ask::{Translated, Want, loaded, valid};
use crate::live_files::Unmade;
use crate::model::{Runtime, SentStreams};
use hence_bus::front::setting::{self, DROP_IN_HEAD, TRANSIENT_HEAD};
use hence_bus::front::{Caller, Command, Descriptor, ErrorName, Properties, Refusal};
use hence_engine::{LiveRequest, RequestKind, Transient};
use hence_unit::{LoadState, UnitKind, UnitName, config::DirectoryKind};

/// Most processes of one request.
const PROCESSES_MAX: usize = 4096;

fn refuse<T>(name: ErrorName, text: impl Into<std::borrow::Cow<'static, str>>) -> Result<T, Refusal> {
    Err(Refusal::new(name, text))
}

fn want(live: LiveRequest) -> Result<Translated, Refusal> {
    Ok((Want::Request(live.verb(), RequestKind::Live(live)), None, false))
}

/// The command in the engine's words, with who asks and whether by the bus; itself, where it is not one of
/// these.
pub fn translate(
    command: Command,
    (caller, on_bus): (Caller, bool),
    runtime: &mut dyn Runtime,
) -> Result<Result<Translated, Refusal>, Command> {
    Ok(match command {
        Command::StartTransient { unit, mode, properties, others, descriptors } => {
            let asked = Asked { caller, on_bus, properties, others, descriptors };
            start(&unit, mode, &asked, runtime)
        }
        Command::SetProperties { unit, runtime: for_now, properties } => {
            set(&unit, for_now, &properties, runtime)
        }
        Command::Abandon { unit } => loaded(&unit, runtime).and_then(|unit| want(LiveRequest::Abandon(unit))),
        Command::Attach { unit, group, processes } => attach(&unit, &group, processes, caller, runtime),
        Command::Freeze { unit, thaw } => {
            loaded(&unit, runtime).and_then(|unit| want(LiveRequest::Freeze { unit, freeze: !thaw }))
        }
        Command::Clean { unit, what } => clean(&unit, &what, runtime),
        Command::Environment { unset, set } => {
            let boxed = |texts: Vec<String>| texts.into_iter().map(String::into_boxed_str).collect();
            want(LiveRequest::Environment { unset: boxed(unset), set: boxed(set) })
        }
        other => return Err(other),
    })
}

struct Asked {
    caller: Caller,
    /// It has a name on the bus, and so may others.
    on_bus: bool,
    properties: Properties,
    others: Vec<(String, Properties)>,
    descriptors: Vec<Descriptor>,
}

/// Whether a transient unit may have this name: nobody uses it, and there is no file.
fn is_pristine(name: &UnitName, runtime: &mut dyn Runtime) -> bool {
    let empty = |load| matches!(load, LoadState::Stub | LoadState::NotFound);
    if runtime.engine().find(name.as_str()).is_none() {
        runtime.load(name);
    }
    let engine = runtime.engine();
    engine.find(name.as_str()).is_none_or(|id| {
        let unit = engine.unit(id);
        let fileless = empty(unit.config.load) || unit.config.sources.is_empty();
        let down = matches!(unit.active_state().as_str(), "inactive" | "failed");
        fileless && down && unit.job.is_none()
    })
}

fn start(
    unit: &str,
    mode: hence_unit::config::JobMode,
    asked: &Asked,
    runtime: &mut dyn Runtime,
) -> Result<Translated, Refusal> {
    let name = valid(unit)?;
    let all: Vec<(UnitName, &Properties)> = std::iter::once(Ok((name.clone(), &asked.properties)))
        .chain(asked.others.iter().map(|(name, properties)| Ok((valid(name)?, properties))))
        .collect::<Result<_, Refusal>>()?;
    let mut transient =
        Transient { unit: name.clone(), mode, units: Vec::new(), processes: Vec::new(), controller: None };
    let mut streams = SentStreams::default();
    let mut recipes = Vec::new();
    for (name, properties) in &all {
        let kind = name.kind();
        if matches!(kind, UnitKind::Target | UnitKind::Device | UnitKind::Swap | UnitKind::Automount) {
            let text = format!("Unit type {} does not support transient units.", kind.suffix());
            return refuse(ErrorName::InvalidArgs, text);
        }
        if !is_pristine(name, runtime) {
            let text = format!("Unit {name} was already loaded or has a fragment file.");
            return refuse(ErrorName::UnitExists, text);
        }
        recipes.push(setting::recipe(kind, properties)?);
    }
    let hold = recipes[0].hold;
    transient.controller = recipes[0].controller.as_deref().map(Into::into);
    if transient.controller.is_some() && !asked.on_bus {
        // What has no bus knows no names on it.
        return refuse(ErrorName::NotSupported, "Controller= is only supported via the bus.");
    }
    for (at, descriptor) in recipes[0].streams.iter().enumerate() {
        let Some(index) = descriptor else { continue };
        let Some(sent) = asked.descriptors.get(*index as usize) else {
            return refuse(ErrorName::InvalidArgs, "A file descriptor is missing.");
        };
        streams[at] = Some(sent.0.clone());
    }
    if name.kind() == UnitKind::Scope {
        transient.processes = processes(&recipes[0].processes, asked.caller)?;
        if transient.processes.is_empty() {
            let text = format!("Unit {name} has no process to begin with.");
            return refuse(ErrorName::BadUnitSetting, text);
        }
    }
    for ((name, _), recipe) in all.iter().zip(&recipes) {
        let text = setting::file(TRANSIENT_HEAD, &recipe.lines);
        match runtime.make_unit(name, &text) {
            Ok(read) => transient.units.push(read),
            Err(unmade) => {
                for (made, _) in &all {
                    runtime.unmake_unit(made);
                }
                return Err(unmade_refusal(unmade));
            }
        }
    }
    if streams.iter().any(Option::is_some) {
        runtime.send_streams(&name, streams);
    }
    let (request, _, _) = want(LiveRequest::Transient(Box::new(transient)))?;
    let held = hold.then(|| name.clone());
    Ok((request.holding(held), Some((name.as_str().to_owned(), "start")), false))
}

fn unmade_refusal(unmade: Unmade) -> Refusal {
    match unmade {
        Unmade::Value(directive, value) => {
            Refusal::new(ErrorName::InvalidArgs, format!("Invalid {directive} setting: {value}"))
        }
        Unmade::System(error) => {
            Refusal::new(ErrorName::Failed, format!("The unit's file can't be written: {error}"))
        }
    }
}

fn set(
    unit: &str,
    for_now: bool,
    properties: &Properties,
    runtime: &mut dyn Runtime,
) -> Result<Translated, Refusal> {
    let name = valid(unit)?;
    let engine = runtime.engine();
    let unread = |id| matches!(engine.unit(id).config.load, LoadState::Stub | LoadState::NotFound);
    let known = engine.find(name.as_str()).filter(|&id| !unread(id)).or_else(|| runtime.load(&name));
    let Some(id) = known else {
        return refuse(ErrorName::NoSuchUnit, format!("Unit {name} not found."));
    };
    let unit = runtime.engine().unit(id);
    match unit.config.load {
        LoadState::Loaded => {}
        LoadState::Stub | LoadState::NotFound => {
            return refuse(ErrorName::NoSuchUnit, format!("Unit {name} not found."));
        }
        LoadState::Masked => return refuse(ErrorName::UnitMasked, format!("Unit {name} is masked.")),
        LoadState::BadSetting => {
            let text = format!("Unit {name} has a bad unit file setting.");
            return refuse(ErrorName::BadUnitSetting, text);
        }
        LoadState::Error => {
            let text = format!("Unit {name} failed to load properly, its file can't be read.");
            return refuse(ErrorName::LoadFailed, text);
        }
    }
    let (name, transient) = (unit.name().clone(), unit.config.is_transient());
    let mut texts: Vec<(String, String)> = Vec::new();
    for (property, value) in properties {
        let (file, lines) = setting::live(name.kind(), property, value)?;
        let text = setting::file(DROP_IN_HEAD, &lines);
        texts.retain(|(known, _)| *known != file);
        texts.push((file, text));
    }
    let read = runtime.write_drop_ins((&name, transient), for_now, &texts);
    let (config, files) = read.map_err(unmade_refusal)?;
    want(LiveRequest::Reconfigure { config, files })
}

/// Processes by their numbers, 0 being the caller's own.
fn processes(listed: &[u32], caller: Caller) -> Result<Vec<u32>, Refusal> {
    if listed.len() > PROCESSES_MAX {
        return refuse(ErrorName::LimitsExceeded, format!("More than {PROCESSES_MAX} processes."));
    }
    let mut found: Vec<u32> = Vec::with_capacity(listed.len());
    for &pid in listed {
        let pid = if pid == 0 { caller.pid } else { pid };
        let about = rustix::process::Pid::from_raw(pid as i32);
        let Some(stat) = about.and_then(|_| hence_host::stat(pid)) else {
            return refuse(ErrorName::InvalidArgs, format!("Process {pid} does not exist."));
        };
        if stat.parent == 2 || pid <= 1 || pid == std::process::id() {
            return refuse(ErrorName::InvalidArgs, format!("Process {pid} can't be moved."));
        }
        if !found.contains(&pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn attach(
    unit: &str,
    group: &str,
    listed: Vec<u32>,
    caller: Caller,
    runtime: &dyn Runtime,
) -> Result<Translated, Refusal> {
    let unit = loaded(unit, runtime)?;
    let processes = processes(&listed, caller)?;
    want(LiveRequest::Attach { unit, group: group.into(), processes })
}

fn clean(unit: &str, what: &[String], runtime: &mut dyn Runtime) -> Result<Translated, Refusal> {
    const KINDS: [(&str, DirectoryKind); 5] = [
        ("runtime", DirectoryKind::Runtime),
        ("state", DirectoryKind::State),
        ("cache", DirectoryKind::Cache),
        ("logs", DirectoryKind::Logs),
        ("configuration", DirectoryKind::Configuration),
    ];
    let mut kinds = 0;
    for word in what {
        match KINDS.iter().find(|(name, _)| name == word) {
            Some((_, kind)) => kinds |= 1 << *kind as u8,
            None if word == "all" => kinds |= 0b1_1111,
            None if word == "fdstore" => {}
            None => return refuse(ErrorName::InvalidArgs, format!("Invalid resource type: {word}")),
        }
    }
    if what.is_empty() {
        kinds = 1 << DirectoryKind::Runtime as u8 | 1 << DirectoryKind::Cache as u8;
    }
    let name = valid(unit)?;
    if !super::ask::is_known(&name, runtime) {
        return refuse(ErrorName::NoSuchUnit, format!("Unit {name} not found."));
    }
    want(LiveRequest::Clean { unit: name, kinds })
}
