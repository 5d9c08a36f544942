//! What is wrong with what would happen, as sentences.

use super::tally::Line;
use super::{Prediction, Question, Trouble, tally};
use crate::Engine;
use crate::sim::caps::{Cap, CapKind};
use alloc::{format, string::String, vec::Vec};
use hence_ledger::{ActiveState, JobResult, SubState};
use hence_unit::{LoadState, Text};

pub(super) fn troubles(prediction: &Prediction, question: &Question, engine: &Engine) -> Vec<Trouble> {
    use hence_ledger::speech::{count, duration};
    let mut found = Vec::new();
    let mut add = |kind, unit: Option<&Text>, text: String| {
        found.push(Trouble { kind, unit: unit.cloned(), text });
    };
    for one in prediction.loops.iter().filter(|l| l.ongoing) {
        let every = one.period_us.map(|p| format!(", every {}", duration(p))).unwrap_or_default();
        let with = match one.units.len() {
            1 => String::new(),
            _ => format!(", and with it {}", join(&one.units[1..])),
        };
        let text = format!(
            "{} restarts {} and goes on{every}{with}",
            one.units[0],
            count(one.times, "time", "times")
        );
        add("loop", one.units.first(), text);
    }
    for (name, unit) in &prediction.units {
        if unit.left_behind > 0 && !unit.counts.allowed {
            let text = format!("{name} leaves {} behind", count(unit.left_behind, "process", "processes"));
            add("leak", Some(name), text);
        }
        match unit.final_state {
            (ActiveState::Failed, _, result) => add("failed", Some(name), format!("{name} fails ({result})")),
            (state @ (ActiveState::Activating | ActiveState::Deactivating), sub, _)
                if sub != SubState::AutoRestart
                    && !prediction.loops.iter().any(|l| l.units.contains(name)) =>
            {
                add("stuck", Some(name), format!("{name} is still {state} ({sub}) at the end"));
            }
            _ => {}
        }
    }
    for limit in &prediction.limits {
        let at = limit.reached_us.unwrap_or_default();
        add("limit", limit.unit.as_ref(), format!("{} after {}", limit_text(limit), duration(at)));
    }
    for taken in prediction.takes_down.iter().filter(|t| !t.comes_back) {
        add("down", Some(&taken.unit), format!("{} goes down and stays down", taken.unit));
    }
    for unit in engine.units().filter(|u| !u.config.sources.is_empty()) {
        if matches!(unit.config.load, LoadState::BadSetting | LoadState::Error) {
            let name = unit.name();
            let text = format!("{name} does not load ({})", unit.config.load.as_str());
            add("load", Some(name.text()), text);
        }
    }
    let bad_job = |l: &&Line| match l.what {
        tally::What::Job(_, result) => result != JobResult::Unsupported,
        tally::What::Dropped(_) => true,
        _ => false,
    };
    for line in prediction.timeline.iter().filter(bad_job) {
        let known = prediction.units.get(&line.unit).is_some_and(|u| u.final_state.0 == ActiveState::Failed);
        if !known {
            add("failed", Some(&line.unit), format!("{}: {}", line.unit, line.what.sentence(line)));
        }
    }
    if !prediction.complete {
        let text = format!(
            "more happens than can be followed: the prediction ends after {} instead of {}",
            duration(prediction.for_us),
            duration(question.for_us)
        );
        add("cut", None, text);
    }
    found
}

/// `TasksMax= of foo.service (18702 processes) is reached`
pub fn limit_text(cap: &Cap) -> String {
    use CapKind::*;
    let of = cap.unit.as_deref().unwrap_or("the machine");
    match cap.kind {
        Tasks => format!("TasksMax= of {of} ({} tasks) is reached", cap.most),
        Memory => format!("MemoryMax= of {of} is reached with {} processes", cap.most),
        MachinePids => format!("the machine has no process ids left ({})", cap.most),
        MachineMemory => format!("the memory of the machine is used up by {} processes", cap.most),
    }
}

fn join(names: &[Text]) -> String {
    names.iter().map(|n| &**n).collect::<Vec<_>>().join(", ")
}
