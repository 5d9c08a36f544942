//! Scenarios: units, what their processes do, what happens when, and what must come of it, as one text.
//!
//! ```text
//! # what it shows
//! -- a.service --
//! [Service]
//! ExecStart=/bin/a
//! -- behaviours --
//! a.service: exits 1 after 2s; runs
//! a.service ExecStop: exits 0 after 500ms
//! -- steps --
//! seed 0
//! at 0s start a.service
//! at 3s expect a.service active/running success restarts=1 left=0
//! at 5s
//! -- trace --
//! 0.000 3 a.service: job 1 start queued  <- 2
//! ```
//!
//! A behaviour names a unit (or a template), the directive of the command where it isn't `ExecStart`, and a
//! script, see [`super::behaviour`]. Steps are in the order of their times: `start`, `stop`, `restart`,
//! `try-restart`, `reload`, `reload-or-restart`, `reload-or-try-restart`, `verify-active` UNIT [MODE];
//! `kill` and `strike` UNIT `main`|`control`|`all` SIGNAL (by hence, behind its back); `reset-failed` and
//! `cancel` [UNIT]; `traffic`, `touch`, `oom`, `load` UNIT; `conditions` and `sockets` UNIT `hold`|`fail`;
//! `fault` UNIT WHAT [TIMES], what the system refuses next, see [`super::faults::Fault`]; `freeze`, `thaw`
//! and `clean` UNIT; `device` UNIT `comes`|`goes`; `clock jumps`; `zone changes`; `edit` UNIT SECTION LINE,
//! `remove` UNIT (its file), `daemon-reload`, `daemon-reexec`;
//! `exit` STATUS; `expect` UNIT ACTIVE/SUB [RESULT] [restarts=N] [left=N] (left-over processes)
//! [kept=N] (descriptors in keeping). The last
//! time is when it ends. The trace holds every record of the units that have a file, but not that they were
//! loaded; causes are the numbers of records. Without a trace only the expectations count.

use super::behaviour::{Script, span};
use super::faults::Fault;
use super::{Act, BEGIN_US, Whom, World, trace};
use alloc::{
    borrow::ToOwned,
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use hence_ledger::{Fact, Verb};
use hence_unit::{JobMode, UnitName};

/// A scenario, read.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// What it shows.
    pub title: String,
    /// The world's seed.
    pub seed: u64,
    /// (Name, text).
    pub units: Vec<(String, String)>,
    /// (Unit, directive, script).
    pub behaviours: Vec<(String, String, String)>,
    /// When, in microseconds since the world began, and what, as it is written.
    pub steps: Vec<(u64, String)>,
    /// The expected trace.
    pub trace: String,
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// The world at its end.
    pub world: World,
    /// Expectations that weren't met, and what must never be.
    pub failures: Vec<String>,
    /// The trace as it is.
    pub trace: String,
}

impl Scenario {
    /// Reads a scenario; the error names the line.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let mut scenario = Scenario::default();
        let mut section = String::new();
        for (number, line) in text.lines().enumerate() {
            let error = |what: String| format!("line {}: {what}", number + 1);
            if let Some(name) = line.strip_prefix("-- ").and_then(|l| l.strip_suffix(" --")) {
                section = name.to_owned();
                if !matches!(name, "behaviours" | "steps" | "trace") {
                    scenario.units.push((name.to_owned(), String::new()));
                }
                continue;
            }
            match section.as_str() {
                "" => {
                    scenario.title.push_str(line.strip_prefix("# ").unwrap_or(line));
                    scenario.title.push('\n');
                }
                "trace" => {
                    scenario.trace.push_str(line);
                    scenario.trace.push('\n');
                }
                "behaviours" | "steps" if line.trim().is_empty() || line.starts_with('#') => {}
                "behaviours" => {
                    let (head, script) = line.split_once(':').ok_or_else(|| error("no colon".into()))?;
                    let (unit, directive) = head.split_once(' ').unwrap_or((head, "ExecStart"));
                    Script::parse(script).map_err(error)?;
                    let script = script.trim().to_owned();
                    scenario.behaviours.push((unit.to_owned(), directive.to_owned(), script));
                }
                "steps" => scenario.step(line).map_err(error)?,
                _ => {
                    if let Some((_, text)) = scenario.units.last_mut() {
                        text.push_str(line);
                        text.push('\n');
                    }
                }
            }
        }
        Ok(scenario)
    }

    fn step(&mut self, line: &str) -> Result<(), String> {
        if let Some(seed) = line.strip_prefix("seed ") {
            self.seed = seed.trim().parse().map_err(|_| format!("{seed:?} is no number"))?;
            return Ok(());
        }
        let rest = line.strip_prefix("at ").ok_or_else(|| format!("{line:?} doesn't begin with at"))?;
        let (time, what) = rest.split_once(' ').unwrap_or((rest, ""));
        let at_us = span(time).ok_or_else(|| format!("{time:?} is no time"))?;
        let words: Vec<&str> = what.split_whitespace().collect();
        if !matches!(words.first(), None | Some(&"expect")) && act(&words).is_none() {
            return Err(format!("what does {what:?} mean?"));
        }
        if self.steps.last().is_some_and(|(last, _)| *last > at_us) {
            return Err(format!("{time} is earlier than the step before"));
        }
        self.steps.push((at_us, what.to_owned()));
        Ok(())
    }

    /// Runs it. Of `trace`, nothing is compared here.
    pub fn run(&self) -> Outcome {
        let scripts: Vec<(String, String, Script)> = self
            .behaviours
            .iter()
            .filter_map(|(u, d, s)| Some((u.clone(), d.clone(), Script::parse(s).ok()?)))
            .collect();
        let mut world = World::new(self.seed, &self.units, &scripts);
        let mut failures = Vec::new();
        for (at_us, what) in &self.steps {
            world.run_until(BEGIN_US + at_us);
            let words: Vec<&str> = what.split_whitespace().collect();
            if !world.violations.is_empty() {
                break;
            }
            if let ["expect", unit, wanted @ ..] = words.as_slice() {
                let seen = state_of(&world, unit);
                if !wanted.iter().all(|w| seen.iter().any(|s| s == w)) {
                    failures.push(format!(
                        "at {at_us} us {unit} is {}, not {}",
                        seen.join(" "),
                        wanted.join(" ")
                    ));
                }
            } else if let Some(act) = act(&words) {
                world.act(act);
            }
        }
        world.check_rest();
        if world.violations.is_empty() && self.steps.iter().any(|(_, what)| what.starts_with("exit ")) {
            world.check_end();
        }
        failures.extend(world.violations.iter().cloned());
        let trace = self.trace_of(&world);
        Outcome { world, failures, trace }
    }

    fn trace_of(&self, world: &World) -> String {
        let names: BTreeSet<&str> = self.units.iter().map(|(n, _)| n.as_str()).collect();
        let mut text = String::new();
        for record in &world.records {
            let shown = match &record.unit {
                Some(unit) => {
                    let template = UnitName::new(unit).and_then(|u| u.template());
                    names.contains(&**unit) || template.is_some_and(|t| names.contains(t.as_str()))
                }
                None => !matches!(record.fact, Fact::Started { .. }),
            };
            if shown && !matches!(record.fact, Fact::Loaded { .. }) {
                text.push_str(&trace::line(record));
                text.push('\n');
            }
        }
        text
    }
}

fn state_of(world: &World, unit: &str) -> Vec<String> {
    let Some(id) = world.engine.find(unit) else {
        // Nobody needs it: it is as if it had never been loaded.
        return ["inactive/dead", "success", "restarts=0", "left=0", "kept=0"].map(String::from).into();
    };
    let unit = world.engine.unit(id);
    let (restarts, kept) = unit.service().map_or((0, 0), |s| (s.restarts, s.kept));
    [
        format!("{}/{}", unit.active_state(), unit.sub_state()),
        unit.result().to_string(),
        format!("restarts={restarts}"),
        format!("left={}", unit.left_over.len()),
        format!("kept={kept}"),
    ]
    .into()
}

fn act(words: &[&str]) -> Option<Act> {
    let name = |text: &str| UnitName::new(text);
    let whom = |word: &str| match word {
        "main" => Some(Whom::Main),
        "control" => Some(Whom::Control),
        "all" => Some(Whom::All),
        _ => None,
    };
    let holds = |word: &str| match word {
        "hold" => Some(true),
        "fail" => Some(false),
        _ => None,
    };
    Some(match words {
        ["kill", unit, who, signal] => Act::Kill(name(unit)?, whom(who)?, Act::signal(signal)?),
        ["strike", unit, who, signal] => Act::Strike(name(unit)?, whom(who)?, Act::signal(signal)?),
        ["reset-failed"] => Act::ResetFailed(None),
        ["reset-failed", unit] => Act::ResetFailed(Some(name(unit)?)),
        ["cancel"] => Act::Cancel(None),
        ["cancel", unit] => Act::Cancel(Some(name(unit)?)),
        ["traffic", unit] => Act::Traffic(name(unit)?),
        ["touch", unit] => Act::Touch(name(unit)?),
        ["clock", "jumps"] => Act::ClockJump,
        ["zone", "changes"] => Act::TimeZone,
        ["device", unit, "comes"] => Act::Device(name(unit)?, true),
        ["device", unit, "goes"] => Act::Device(name(unit)?, false),
        ["oom", unit] => Act::Oom(name(unit)?),
        ["fault", unit, what] => Act::Fault(name(unit)?, Fault::parse(what)?, 1),
        ["fault", unit, what, times] => Act::Fault(name(unit)?, Fault::parse(what)?, times.parse().ok()?),
        ["freeze", unit] => Act::Freeze(name(unit)?, true),
        ["thaw", unit] => Act::Freeze(name(unit)?, false),
        ["clean", unit] => Act::Clean(name(unit)?),
        ["load", unit] => Act::Reload(name(unit)?),
        ["conditions", unit, how] => Act::Conditions(name(unit)?, holds(how)?),
        ["sockets", unit, how] => Act::Sockets(name(unit)?, holds(how)?),
        ["edit", unit, section, line] => Act::Edit(name(unit)?, (*section).into(), (*line).into()),
        ["remove", unit] => Act::Remove(name(unit)?),
        ["daemon-reload"] => Act::DaemonReload,
        ["daemon-reexec"] => Act::DaemonReexec,
        ["exit", status] => Act::Exit(status.parse().ok()?),
        [verb, unit] => Act::Job(job_verb(verb)?, name(unit)?, JobMode::Replace),
        [verb, unit, mode] => Act::Job(job_verb(verb)?, name(unit)?, JobMode::parse(mode)?),
        _ => return None,
    })
}

fn job_verb(word: &str) -> Option<Verb> {
    let verb = Verb::parse(word)?;
    matches!(
        verb,
        Verb::Start
            | Verb::Stop
            | Verb::Restart
            | Verb::TryRestart
            | Verb::Reload
            | Verb::ReloadOrRestart
            | Verb::ReloadOrTryRestart
            | Verb::Verify
            | Verb::Isolate
    )
    .then_some(verb)
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.title.lines() {
            writeln!(f, "{}{line}", if line.is_empty() || line.starts_with('#') { "" } else { "# " })?;
        }
        for (name, text) in &self.units {
            write!(f, "-- {name} --\n{text}")?;
        }
        f.write_str("-- behaviours --\n")?;
        for (unit, directive, script) in &self.behaviours {
            match directive.as_str() {
                "ExecStart" => writeln!(f, "{unit}: {script}")?,
                _ => writeln!(f, "{unit} {directive}: {script}")?,
            }
        }
        write!(f, "-- steps --\nseed {}\n", self.seed)?;
        for (at_us, what) in &self.steps {
            writeln!(f, "at {} {what}", crate::unit::span_text(*at_us))?;
        }
        if self.trace.is_empty() {
            return Ok(());
        }
        write!(f, "-- trace --\n{}", self.trace)
    }
}
