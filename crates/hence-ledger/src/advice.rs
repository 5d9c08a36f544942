//! What to do about it: a list of rules, each with the condition under which it speaks.
//!
//! They see the answer only, so that every advice rests on what the answer shows.

use crate::answer::{Advice, Answer, Change};
use crate::path::{RootKind, Step};
use crate::record::{FileRole, Rule};
use crate::speech::{count, duration, size};
use crate::word::DeadlineKind;
use alloc::{format, string::String, vec::Vec};
use hence_unit::Text;

/// Every rule, most useful first.
const RULES: [fn(&Answer) -> Vec<Advice>; 12] = [
    system_call_refused,
    changed_files,
    spawn_failed,
    sandbox_refused,
    dependency_passes_it_on,
    left_behind,
    left_behind_unbounded,
    start_limit_never_fires,
    failed_without_change,
    deadline_reached,
    out_of_memory,
    asked_again_and_again,
];

/// What the rules have to say.
pub fn advise(answer: &Answer) -> Vec<Advice> {
    RULES.iter().flat_map(|rule| rule(answer)).collect()
}

/// ` (foo.service:3)`, or nothing where no place is known.
fn place(rule: &Rule) -> String {
    match &rule.file {
        Some(file) if rule.line > 0 => format!(" ({file}:{})", rule.line),
        Some(file) => format!(" ({file})"),
        None => String::new(),
    }
}

fn root_unit(answer: &Answer) -> Option<&Text> {
    answer.roots.first()?.unit.as_ref()
}

/// Whether it went wrong rather than as somebody wanted it.
fn went_wrong(answer: &Answer) -> bool {
    !matches!(answer.event, "started" | "running")
        && answer.roots.first().is_some_and(|root| {
            matches!(
                root.kind,
                RootKind::Exit | RootKind::Deadline | RootKind::Kernel | RootKind::File | RootKind::Unknown
            )
        })
}

/// `aws-otel-collector 0.43.3-1 became aws-otel-collector 0.45.1-1`, where packages are known.
fn packages(change: &Change) -> String {
    let package = |state: &Option<crate::answer::FileState>| state.as_ref().and_then(|s| s.package.clone());
    match (package(&change.before), package(&change.after)) {
        (Some(old), Some(new)) if old != new => format!(" ({old} became {new})"),
        _ => String::new(),
    }
}

fn changed_files(answer: &Answer) -> Vec<Advice> {
    let Some(compared) = answer.compared.as_ref().filter(|_| went_wrong(answer)) else { return Vec::new() };
    let unit = &compared.unit;
    let program = |c: &&Change| matches!(c.role, FileRole::Executable | FileRole::Interpreter);
    let configuration: Vec<&str> = answer
        .unchanged
        .iter()
        .filter(|f| matches!(f.role, FileRole::Argument | FileRole::Environment))
        .map(|f| &*f.path)
        .collect();
    let mut advice = Vec::new();
    if let Some(change) = answer.changed.iter().find(program) {
        let mend = if configuration.is_empty() {
            String::from("Go back to the version before")
        } else {
            format!(
                "{} did not change with it: go back to the version before, or adapt {} to the new one",
                configuration.join(", "),
                configuration.join(", ")
            )
        };
        advice.push(Advice {
            name: "program-changed",
            unit: unit.clone(),
            rule: None,
            text: format!(
                "{} differs from that of the last good run of {unit}{}. {mend}.",
                change.path,
                packages(change)
            ),
        });
    }
    for change in answer.changed.iter().filter(|c| !program(c)) {
        advice.push(Advice {
            name: "file-changed",
            unit: unit.clone(),
            rule: None,
            text: format!(
                "{} differs from what the last good run of {unit} started with. Look at what changed in it.",
                change.path
            ),
        });
    }
    advice
}

fn system_call_refused(answer: &Answer) -> Vec<Advice> {
    let rules = answer.chain.iter().flat_map(|step| step.rule.iter().map(move |rule| (step, rule)));
    let names = ["SystemCallFilter", "SystemCallArchitectures"];
    let refusal = rules
        .filter_map(|(step, rule)| {
            Some((step, rule, names.iter().find(|n| rule.directive.starts_with(**n))?))
        })
        .next();
    let Some((step, rule, name)) = refusal else { return Vec::new() };
    let unit = step.unit.clone().unwrap_or_else(|| answer.unit.clone());
    let at = place(rule);
    let call = rule.directive.split_once(" refuses ").map(|(_, call)| call);
    let text = match (*name, call) {
        ("SystemCallFilter", Some(call)) => format!(
            "The kernel killed it for the system call {call}, which SystemCallFilter={at} refuses. If {unit} \
             may make it, allow {call} there; with SystemCallErrorNumber=EPERM it gets an error instead."
        ),
        ("SystemCallFilter", None) => format!(
            "The kernel killed it with SIGSYS, as it does for a system call that SystemCallFilter={at} \
             refuses. SystemCallLog= of the calls, or SystemCallErrorNumber=EPERM, shows which one."
        ),
        _ => format!(
            "The kernel killed it with SIGSYS, as it does for system calls of another architecture than \
             SystemCallArchitectures={at} allows."
        ),
    };
    Vec::from([Advice { name: "system-call-refused", unit, rule: Some(rule.clone()), text }])
}

fn spawn_failed(answer: &Answer) -> Vec<Advice> {
    let Some(root) = answer.roots.first().filter(|r| r.what.contains("could not be started")) else {
        return Vec::new();
    };
    let Some(unit) = root.unit.clone() else { return Vec::new() };
    let said = root.what.strip_prefix(&*unit).unwrap_or(&root.what).trim_start_matches(": ");
    let text = format!("{unit} did not get as far as running: {said}. Mend that first.");
    Vec::from([Advice { name: "spawn-failed", unit, rule: None, text }])
}

fn sandbox_refused(answer: &Answer) -> Vec<Advice> {
    let refused = |r: &&crate::path::Root| r.kind == RootKind::Kernel && r.what.contains(" was refused (");
    let Some(root) = answer.roots.first().filter(refused) else { return Vec::new() };
    let Some(unit) = root.unit.clone() else { return Vec::new() };
    let text = format!(
        "Run {unit} where hence may do that, or, if it may be less protected, write Sandbox=best-effort in \
         its section [X-Hence]."
    );
    Vec::from([Advice { name: "sandbox-refused", unit, rule: None, text }])
}

/// `(effect, rule, cause)` where a dependency made a unit follow another one.
fn passed_on(answer: &Answer) -> impl Iterator<Item = (&Step, &Rule, &Step)> {
    answer.chain.windows(2).filter_map(|pair| {
        let rule = pair[0].rule.as_ref()?;
        (pair[0].unit != pair[1].unit).then_some((&pair[0], rule, &pair[1]))
    })
}

fn dependency_passes_it_on(answer: &Answer) -> Vec<Advice> {
    if !went_wrong(answer) {
        return Vec::new();
    }
    let mut advice = Vec::new();
    for (effect, rule, cause) in passed_on(answer) {
        let (Some(unit), Some(other)) = (&effect.unit, &cause.unit) else { continue };
        let name = rule.directive.split('=').next().unwrap_or_default();
        let at = place(rule);
        let text = match name {
            "Requires" | "BindsTo" | "Requisite" => format!(
                "If {unit} can do without {other}, write Wants={other} instead of {name}={other}{at}: then \
                 {unit} is not taken down with it."
            ),
            "PartOf" => format!("If {unit} need not follow {other}, take PartOf={other} out{at}."),
            _ => continue,
        };
        let name = if name == "PartOf" { "without-part-of" } else { "wants-instead-of-requires" };
        advice.push(Advice { name, unit: unit.clone(), rule: Some(rule.clone()), text });
    }
    advice
}

fn left_behind(answer: &Answer) -> Vec<Advice> {
    let (left, unit) = (&answer.left_behind, &answer.unit);
    let number = left.processes - left.allowed;
    let Some(rule) = left.rule.as_ref().filter(|_| number > 0) else { return Vec::new() };
    let bytes = if left.bytes > 0 { format!(", {}", size(left.bytes)) } else { String::new() };
    let (directive, at) = (&rule.directive, place(rule));
    let number = count(number, "process", "processes");
    let text = if directive.starts_with("KillMode=") {
        format!(
            "{directive}{at}: a stop of {unit} reaches its main process only and has left {number} \
             behind{bytes}. Write KillMode=control-group, or have the main process exec its program instead \
             of starting it as a child."
        )
    } else {
        format!("{directive}{at} has left {number} of {unit} behind{bytes}: take it out.")
    };
    Vec::from([Advice { name: "kill-mode", unit: unit.clone(), rule: Some(rule.clone()), text }])
}

fn left_behind_unbounded(answer: &Answer) -> Vec<Advice> {
    let number = answer.left_behind.processes - answer.left_behind.allowed;
    let Some(period) = answer.period_us.filter(|_| number >= 10) else { return Vec::new() };
    let text = format!(
        "Until then {} grows by about one left-over process every {}: TasksMax= bounds their number.",
        answer.unit,
        duration(period)
    );
    Vec::from([Advice { name: "tasks-max", unit: answer.unit.clone(), rule: None, text }])
}

fn start_limit_never_fires(answer: &Answer) -> Vec<Advice> {
    let restart = answer.chain.iter().find_map(|step| {
        let mut rules = step.rule.iter().chain(&step.other_rules);
        rules.find(|r| r.directive.starts_with("Restart=")).map(|rule| (step, rule))
    });
    let (Some((step, rule)), Some(period)) = (restart, answer.period_us) else { return Vec::new() };
    if answer.times < 6 || !went_wrong(answer) {
        return Vec::new();
    }
    let Some(unit) = step.unit.clone() else { return Vec::new() };
    let text = format!(
        "The start limit of {unit} does not end this loop: with a start every {} it can only where \
         StartLimitIntervalSec= is longer than StartLimitBurst= times {}.",
        duration(period),
        duration(period)
    );
    Vec::from([Advice { name: "start-limit", unit, rule: Some(rule.clone()), text }])
}

fn failed_without_change(answer: &Answer) -> Vec<Advice> {
    let (Some(unit), Some(words)) = (root_unit(answer), &answer.last_words) else { return Vec::new() };
    if !went_wrong(answer) || !answer.changed.is_empty() || words.text.trim().is_empty() {
        return Vec::new();
    }
    let text =
        format!("Begin with what {unit} wrote last: no file that it starts with is known to have changed.");
    Vec::from([Advice { name: "last-words", unit: unit.clone(), rule: None, text }])
}

fn deadline_reached(answer: &Answer) -> Vec<Advice> {
    let Some(root) = answer.roots.first().filter(|r| r.kind == RootKind::Deadline) else { return Vec::new() };
    let Some(unit) = root.unit.clone() else { return Vec::new() };
    let says = |kind: DeadlineKind| root.what.contains(&format!("{kind}="));
    let text = if says(DeadlineKind::Watchdog) {
        "gave no sign of life (WATCHDOG=1) in time: see where it hung, or raise WatchdogSec="
    } else if says(DeadlineKind::TimeoutStart) {
        "was not ready in time: see what it waited for, or raise TimeoutStartSec="
    } else if says(DeadlineKind::TimeoutStop) || says(DeadlineKind::TimeoutAbort) {
        "did not end in time after it was told to: see what it waited for, or raise TimeoutStopSec="
    } else if says(DeadlineKind::RuntimeMax) {
        "ran as long as it may: raise RuntimeMaxSec= if it should run longer"
    } else {
        return Vec::new();
    };
    let rule = answer.chain.iter().rev().find_map(|s| s.rule.clone());
    Vec::from([Advice { name: "deadline", text: format!("{unit} {text}."), unit, rule }])
}

fn out_of_memory(answer: &Answer) -> Vec<Advice> {
    if !answer.roots.iter().any(|r| r.kind == RootKind::Kernel && r.what.contains("out of memory")) {
        return Vec::new();
    }
    let unit = root_unit(answer).unwrap_or(&answer.unit).clone();
    let left = &answer.left_behind;
    let text = if left.bytes > 0 {
        format!(
            "Left-over processes of {} hold {} of the memory: end them first.",
            answer.unit,
            size(left.bytes)
        )
    } else {
        format!("{unit} needs more memory than it may have: raise MemoryMax=, or see what makes it grow.")
    };
    Vec::from([Advice { name: "memory", unit, rule: None, text }])
}

fn asked_again_and_again(answer: &Answer) -> Vec<Advice> {
    let request = answer.roots.iter().find(|r| r.kind == RootKind::Request);
    let (Some(root), Some(period)) = (request, answer.period_us) else { return Vec::new() };
    let command = root.command.as_deref().unwrap_or_default();
    let text = format!("`{command}` asks for this every {}: look at who runs it.", duration(period));
    Vec::from([Advice { name: "asked-again", unit: answer.unit.clone(), rule: None, text }])
}
