//! What clients ask for, in the engine's words, and the refusals of what hence does not do.

use crate::model::Runtime;
use hence_bus::front::{self, Command, ErrorName, Power, Refusal, Whom};
use hence_engine::{Objective, RequestKind, Role};
use hence_ledger::Verb;
use hence_unit::{LoadState, UnitName, config::JobMode};

/// What a client wants done.
pub enum Want {
    /// Something for the engine.
    Request(Verb, RequestKind),
    /// The same; the client holds on to this unit when it is granted.
    HeldRequest(Verb, RequestKind, UnitName),
    /// All unit files read anew.
    Reload,
    /// The program executed anew.
    Reexecute,
    /// Unit files changed.
    Files(Command),
}

impl Want {
    /// The same, with the unit that the client holds on to.
    pub fn holding(self, unit: Option<UnitName>) -> Want {
        match (self, unit) {
            (Want::Request(verb, kind), Some(unit)) => Want::HeldRequest(verb, kind, unit),
            (want, _) => want,
        }
    }
}

/// What is wanted; for a job, its unit and type; whether the answer names the whole transaction.
pub type Translated = (Want, Option<(String, &'static str)>, bool);

fn refuse<T>(name: ErrorName, text: impl Into<std::borrow::Cow<'static, str>>) -> Result<T, Refusal> {
    Err(Refusal::new(name, text))
}

fn unsupported<T>(what: &str) -> Result<T, Refusal> {
    refuse(ErrorName::NotSupported, format!("hence does not {what}."))
}

/// A command in the engine's words. Units that are not known yet have their files read for it.
pub fn translate(command: Command, runtime: &mut dyn Runtime) -> Result<Translated, Refusal> {
    let plain = |verb, kind| Ok((Want::Request(verb, kind), None, false));
    match command {
        Command::Enqueue { unit, verb, mode, detailed } => {
            let word = job_word(verb);
            let (name, verb) = (valid(&unit)?, job_verb(verb, mode)?);
            if !is_known(&name, runtime) {
                let what = if verb == Verb::Stop { "loaded" } else { "found" };
                return refuse(ErrorName::NoSuchUnit, format!("Unit {name} not {what}."));
            }
            let kind = RequestKind::Job { unit: name, mode };
            Ok((Want::Request(verb, kind), Some((unit, word)), detailed))
        }
        Command::Kill { unit, whom, signal } => {
            let unit = loaded(&unit, runtime)?;
            let (main, control, others) = match whom {
                Whom::Main | Whom::MainFail => (true, false, false),
                Whom::Control | Whom::ControlFail => (false, true, false),
                Whom::All | Whom::AllFail => (true, true, true),
            };
            if whom == Whom::AllFail && has_no_process(&unit, runtime) {
                return refuse(ErrorName::NoSuchProcess, "No matching processes to kill");
            }
            let Ok(signal) = u8::try_from(signal) else {
                return refuse(ErrorName::InvalidArgs, "Signal number out of range.");
            };
            plain(Verb::Kill, RequestKind::Kill { unit, main, control, others, signal })
        }
        Command::ResetFailed { unit: None } => plain(Verb::ResetFailed, RequestKind::ResetFailed(None)),
        Command::ResetFailed { unit: Some(unit) } => {
            let unit = loaded(&unit, runtime)?;
            plain(Verb::ResetFailed, RequestKind::ResetFailed(Some(unit)))
        }
        Command::Cancel { job } => plain(Verb::Cancel, RequestKind::Cancel(Some(job))),
        Command::ClearJobs => plain(Verb::Cancel, RequestKind::Cancel(None)),
        Command::Exit if runtime.engine().role() == Role::Container => {
            plain(Verb::Exit, RequestKind::Power(Objective::Exit))
        }
        Command::Exit if runtime.engine().role() == Role::Machine => {
            unsupported("end while the machine runs; power it off or reboot it")
        }
        Command::Exit => plain(Verb::Exit, RequestKind::Exit(0)),
        Command::SetExitCode { status } => plain(Verb::SetExitStatus, RequestKind::ExitStatus(status)),
        Command::Power(power) => {
            let (verb, objective) = match power {
                Power::Reboot => (Verb::Reboot, Objective::Reboot),
                Power::PowerOff => (Verb::PowerOff, Objective::PowerOff),
                Power::Halt => (Verb::Halt, Objective::Halt),
                Power::Kexec => (Verb::Kexec, Objective::Kexec),
            };
            plain(verb, RequestKind::Power(objective))
        }
        Command::Reload => Ok((Want::Reload, None, false)),
        Command::Reexecute => Ok((Want::Reexecute, None, false)),
        files @ (Command::UnitFiles { .. }
        | Command::AddDependency { .. }
        | Command::SetDefaultTarget { .. }) => Ok((Want::Files(files), None, false)),
        other => refused(&other),
    }
}

/// What is understood and not done, each with its sentence.
fn refused(command: &Command) -> Result<Translated, Refusal> {
    match command {
        Command::Enqueue { .. }
        | Command::Kill { .. }
        | Command::ResetFailed { .. }
        | Command::Cancel { .. }
        | Command::ClearJobs
        | Command::Exit
        | Command::Environment { .. }
        | Command::SetProperties { .. }
        | Command::StartTransient { .. }
        | Command::Hold { .. }
        | Command::Abandon { .. }
        | Command::Attach { .. }
        | Command::Clean { .. }
        | Command::Freeze { .. }
        | Command::UnitFiles { .. }
        | Command::AddDependency { .. }
        | Command::SetDefaultTarget { .. }
        | Command::SetExitCode { .. }
        | Command::Power(_)
        | Command::Reexecute
        | Command::Reload => unsupported("do that"),
    }
}

pub fn valid(name: &str) -> Result<UnitName, Refusal> {
    match UnitName::new(name) {
        Some(name) if name.is_template() => {
            refuse(ErrorName::InvalidArgs, format!("Unit name {name} is missing the instance name."))
        }
        Some(name) => Ok(name),
        None => refuse(ErrorName::InvalidArgs, format!("Unit name {name} is not valid.")),
    }
}

/// Whether there is such a unit, its files read where they were not.
pub fn is_known(name: &UnitName, runtime: &mut dyn Runtime) -> bool {
    let engine = runtime.engine();
    let unread = |id| matches!(engine.unit(id).config.load, LoadState::Stub | LoadState::NotFound);
    let found = engine.find(name.as_str());
    found.is_some_and(|id| !unread(id)) || runtime.load(name).or(found).is_some()
}

pub fn loaded(name: &str, runtime: &dyn Runtime) -> Result<UnitName, Refusal> {
    let name = valid(name)?;
    if runtime.engine().find(name.as_str()).is_none() {
        return refuse(ErrorName::NoSuchUnit, format!("Unit {name} not loaded."));
    }
    Ok(name)
}

fn has_no_process(name: &UnitName, runtime: &dyn Runtime) -> bool {
    runtime.engine().find(name.as_str()).is_none_or(|id| runtime.processes(id).is_empty())
}

fn job_verb(verb: front::Verb, mode: JobMode) -> Result<Verb, Refusal> {
    Ok(match verb {
        front::Verb::Start if mode == JobMode::Isolate => Verb::Isolate,
        front::Verb::Start => Verb::Start,
        front::Verb::VerifyActive => Verb::Verify,
        front::Verb::Stop => Verb::Stop,
        front::Verb::Reload => Verb::Reload,
        front::Verb::Restart => Verb::Restart,
        front::Verb::TryRestart => Verb::TryRestart,
        front::Verb::ReloadOrRestart => Verb::ReloadOrRestart,
        front::Verb::ReloadOrTryRestart => Verb::ReloadOrTryRestart,
        front::Verb::ReloadOrStart | front::Verb::TryReload => {
            let text = format!("hence takes no job of type {} from clients.", verb.as_str());
            return refuse(ErrorName::NotSupported, text);
        }
    })
}

/// The type of the job that this asks for, for when it is over before it can be looked at.
fn job_word(verb: front::Verb) -> &'static str {
    match verb {
        front::Verb::ReloadOrRestart => "restart",
        front::Verb::ReloadOrTryRestart => "try-restart",
        other => other.as_str(),
    }
}
