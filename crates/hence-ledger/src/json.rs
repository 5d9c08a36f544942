//! The JSON of answers, leaks, loops and history: an interface, fields may come and none may go.
//!
//! Writes only. It is small enough to have no dependency, which process 1 carries too.

use crate::answer::*;
use crate::history::Entry;
use crate::live::{Alert, Origin};
use crate::loops::Loop;
use crate::path::{Root, Step};
use crate::record::{Certainty, FileRole, Parent, Rule, Stamp};
use crate::speech::rfc3339;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// A number of microseconds, written as seconds.
    Seconds(u64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, its fields in this order.
    Object(Vec<(&'static str, Json)>),
    /// An object whose fields are names of something.
    Map(Vec<(String, Json)>),
}

impl core::fmt::Display for Json {
    /// Indented by two spaces; ends without a newline.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.write(f, 0)
    }
}

impl Json {
    fn write(&self, f: &mut core::fmt::Formatter<'_>, depth: usize) -> core::fmt::Result {
        let indent = depth * 2 + 2;
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(value) => write!(f, "{value}"),
            Json::Seconds(us) if us % 1_000_000 == 0 => write!(f, "{}.0", us / 1_000_000),
            Json::Seconds(us) => {
                let fraction = format!("{:06}", us % 1_000_000);
                write!(f, "{}.{}", us / 1_000_000, fraction.trim_end_matches('0'))
            }
            Json::Text(text) => quoted(f, text),
            Json::List(items) if items.is_empty() => f.write_str("[]"),
            Json::List(items) => {
                for (nth, item) in items.iter().enumerate() {
                    write!(f, "{}\n{:indent$}", if nth == 0 { "[" } else { "," }, "")?;
                    item.write(f, depth + 1)?;
                }
                write!(f, "\n{:1$}]", "", depth * 2)
            }
            Json::Map(fields) if fields.is_empty() => f.write_str("{}"),
            Json::Map(fields) => {
                for (nth, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}\n{:indent$}", if nth == 0 { "{" } else { "," }, "")?;
                    quoted(f, name)?;
                    f.write_str(": ")?;
                    value.write(f, depth + 1)?;
                }
                write!(f, "\n{:1$}}}", "", depth * 2)
            }
            Json::Object(fields) if fields.is_empty() => f.write_str("{}"),
            Json::Object(fields) => {
                for (nth, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}\n{:indent$}\"{name}\": ", if nth == 0 { "{" } else { "," }, "")?;
                    value.write(f, depth + 1)?;
                }
                write!(f, "\n{:1$}}}", "", depth * 2)
            }
        }
    }
}

fn quoted(f: &mut core::fmt::Formatter<'_>, text: &str) -> core::fmt::Result {
    use core::fmt::Write;
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

fn text(value: impl ToString) -> Json {
    Json::Text(value.to_string())
}

fn or_null<T>(value: Option<T>, json: impl FnOnce(T) -> Json) -> Json {
    value.map_or(Json::Null, json)
}

fn list<T>(items: &[T], json: impl Fn(&T) -> Json) -> Json {
    Json::List(items.iter().map(json).collect())
}

fn time(stamp: Stamp) -> Json {
    Json::Text(rfc3339(stamp.realtime_us))
}

fn modified(ns: i64) -> Json {
    u64::try_from(ns).map_or(Json::Null, |ns| Json::Text(rfc3339(ns / 1000)))
}

/// A period to a tenth of a second where it is longer than one: more would pretend.
fn period(us: u64) -> Json {
    Json::Seconds(if us >= 1_000_000 { (us + 50_000) / 100_000 * 100_000 } else { us })
}

fn rule(rule: &Rule) -> Json {
    Json::Object(Vec::from([
        ("directive", text(&rule.directive)),
        ("file", or_null(rule.file.as_ref(), text)),
        ("line", if rule.line == 0 { Json::Null } else { Json::Number(rule.line.into()) }),
    ]))
}

fn step(step: &Step) -> Json {
    let certainty = match step.certainty {
        Certainty::Observed => "observed",
        Certainty::Inferred => "inferred",
    };
    Json::Object(Vec::from([
        ("unit", or_null(step.unit.as_ref(), text)),
        ("what", text(&step.what)),
        ("at", time(step.at)),
        ("certainty", text(certainty)),
        ("inferred_from", or_null(step.basis.as_deref(), text)),
        ("rule", or_null(step.rule.as_ref(), rule)),
        ("other_rules", list(&step.other_rules, rule)),
        ("record", Json::Number(step.record.0)),
    ]))
}

fn root(root: &Root) -> Json {
    let number = |value: Option<u32>| or_null(value, |n| Json::Number(n.into()));
    Json::Object(Vec::from([
        ("kind", text(root.kind.as_str())),
        ("unit", or_null(root.unit.as_ref(), text)),
        ("pid", number(root.pid)),
        ("uid", number(root.uid)),
        ("command", or_null(root.command.as_ref(), text)),
        ("client_unit", or_null(root.client_unit.as_ref(), text)),
        ("parent", or_null(root.parent.as_ref(), parent)),
        ("login_uid", number(root.login_uid)),
        ("what", text(&root.what)),
        ("at", or_null(root.at, time)),
    ]))
}

fn parent(parent: &Parent) -> Json {
    Json::Object(Vec::from([("pid", Json::Number(parent.pid.into())), ("command", text(&parent.command))]))
}

fn role(role: FileRole) -> Json {
    text(match role {
        FileRole::UnitFile => "unit file",
        FileRole::Executable => "executable",
        FileRole::Interpreter => "interpreter",
        FileRole::Environment => "environment file",
        FileRole::Argument => "argument",
    })
}

fn file(state: &FileState) -> Json {
    let hex = |sha: [u8; 32]| text(sha.iter().map(|b| format!("{b:02x}")).collect::<String>());
    Json::Object(Vec::from([
        ("size", Json::Number(state.version.size)),
        ("modified", modified(state.version.modified_ns)),
        ("sha256", or_null(state.sha256, hex)),
        ("package", or_null(state.package.as_ref(), text)),
    ]))
}

fn change(change: &Change) -> Json {
    let package = |state: &Option<FileState>| state.as_ref().and_then(|s| s.package.clone());
    Json::Object(Vec::from([
        ("unit", text(&change.unit)),
        ("path", text(&change.path)),
        ("role", role(change.role)),
        ("before", or_null(change.before.as_ref(), file)),
        ("after", or_null(change.after.as_ref(), file)),
        ("package", or_null(package(&change.after).or_else(|| package(&change.before)), text)),
    ]))
}

fn unchanged(file: &Unchanged) -> Json {
    Json::Object(Vec::from([
        ("unit", text(&file.unit)),
        ("path", text(&file.path)),
        ("role", role(file.role)),
        ("modified", or_null(file.modified_ns, modified)),
    ]))
}

fn compared(runs: &Compared) -> Json {
    Json::Object(Vec::from([
        ("unit", text(&runs.unit)),
        ("good", time(runs.good)),
        ("good_lasted_s", or_null(runs.good_lasted_us, Json::Seconds)),
        ("bad", time(runs.bad)),
        ("bad_lasts_s", Json::Seconds(runs.bad_lasts_us)),
    ]))
}

fn left_behind(left: &LeftBehind) -> Json {
    let command = |(command, times): &(hence_unit::Text, u64)| {
        Json::Object(Vec::from([("command", text(command)), ("processes", Json::Number(*times))]))
    };
    Json::Object(Vec::from([
        ("processes", Json::Number(left.processes)),
        ("bytes", Json::Number(left.bytes)),
        ("unmeasured", Json::Number(left.unmeasured)),
        ("allowed", Json::Number(left.allowed)),
        ("commands", list(&left.commands, command)),
        ("since", or_null(left.since, time)),
        ("rule", or_null(left.rule.as_ref(), rule)),
    ]))
}

fn state(state: &State) -> Json {
    Json::Object(Vec::from([
        ("active", text(state.active)),
        ("sub", text(state.sub)),
        ("result", text(state.result)),
        ("since", time(state.since)),
        ("main_pid", or_null(state.main_pid, |pid| Json::Number(pid.into()))),
    ]))
}

fn words(words: &LastWords) -> Json {
    Json::Object(Vec::from([
        ("unit", text(&words.unit)),
        ("stream", text(words.stream)),
        ("text", text(&words.text)),
        ("at", time(words.at)),
    ]))
}

fn missing(gap: &Missing) -> Json {
    Json::Object(Vec::from([
        ("at", time(gap.at)),
        ("lost", if gap.lost == 0 { Json::Null } else { Json::Number(gap.lost) }),
        ("reason", text(gap.reason)),
    ]))
}

/// The JSON of an answer.
pub fn answer(answer: &Answer) -> Json {
    Json::Object(Vec::from([
        ("unit", text(&answer.unit)),
        ("pid", or_null(answer.pid, |pid| Json::Number(pid.into()))),
        ("event", text(answer.event)),
        ("at", time(answer.at)),
        ("ago_s", Json::Seconds(answer.ago_us)),
        ("times", Json::Number(answer.times)),
        ("since", time(answer.since)),
        ("times_in_all", Json::Number(answer.times_in_all)),
        ("first", time(answer.first)),
        ("period_s", or_null(answer.period_us, period)),
        ("state", or_null(answer.state.as_ref(), state)),
        ("up_again", or_null(answer.up_again, time)),
        ("ended", or_null(answer.ended, time)),
        ("chain", list(&answer.chain, step)),
        ("roots", list(&answer.roots, root)),
        ("last_words", or_null(answer.last_words.as_ref(), words)),
        ("left_behind", left_behind(&answer.left_behind)),
        ("changed", list(&answer.changed, change)),
        ("unchanged", list(&answer.unchanged, unchanged)),
        ("compared", or_null(answer.compared.as_ref(), compared)),
        ("gaps", list(&answer.gaps, missing)),
        ("tracking", or_null(answer.tracking, text)),
        ("notes", list(&answer.notes, |note| text(note))),
        ("advice", list(&answer.advice, |a| text(&a.text))),
    ]))
}

/// The JSON of `leaks`.
pub fn leaks(leaks: &[Leak]) -> Json {
    list(leaks, |leak| {
        Json::Object(Vec::from([
            ("unit", text(&leak.unit)),
            ("pid", Json::Number(leak.pid.into())),
            ("command", text(&leak.command)),
            ("bytes", or_null(leak.bytes, Json::Number)),
            ("since", time(leak.since)),
            ("invocation", or_null(leak.invocation, text)),
            ("allowed", Json::Bool(leak.allowed)),
            ("reason", or_null(leak.reason.as_ref(), text)),
        ]))
    })
}

/// The JSON of `loops`.
pub fn loops(loops: &[Loop]) -> Json {
    list(loops, |found| {
        Json::Object(Vec::from([
            ("units", list(&found.units, |unit| text(unit))),
            ("period_s", or_null(found.period_us, period)),
            ("times", Json::Number(found.times)),
            ("since", time(found.since)),
            ("last", time(found.last)),
            ("ongoing", Json::Bool(found.ongoing)),
            ("root", root(&found.root)),
        ]))
    })
}

/// The JSON of an alert; `held_back`: of so many alike only this one is told.
pub fn alert(alert: &Alert, held_back: u64) -> Json {
    let command = |(command, processes): &(hence_unit::Text, u64)| {
        Json::Object(Vec::from([("command", text(command)), ("processes", Json::Number(*processes))]))
    };
    let origin = |origin: &Origin| {
        Json::Object(Vec::from([
            ("kind", text(origin.kind.as_str())),
            ("unit", or_null(origin.unit.as_ref(), text)),
            ("what", text(&origin.what)),
            ("at", time(origin.at)),
            ("certainty", text(if origin.certain { "observed" } else { "inferred" })),
        ]))
    };
    Json::Object(Vec::from([
        ("alert", text(alert.kind.as_str())),
        ("unit", text(&alert.unit)),
        ("message", text(alert.sentence())),
        ("at", time(alert.at)),
        ("since", time(alert.since)),
        ("priority", Json::Number(alert.priority().into())),
        ("root", or_null(alert.root.as_deref(), origin)),
        ("rule", or_null(alert.rule_text(), text)),
        ("takes_along", list(&alert.followers, |unit| text(unit))),
        ("times", Json::Number(alert.times)),
        ("period_s", or_null(alert.period_us, period)),
        ("cpu_s", Json::Seconds(alert.cpu_us)),
        ("start_limit_never_fires", Json::Bool(alert.endless)),
        ("left_over_processes", Json::Number(alert.processes)),
        ("left_over_bytes", Json::Number(alert.bytes)),
        ("commands", list(&alert.commands, command)),
        ("held_back", Json::Number(held_back)),
    ]))
}

/// The JSON of `history`.
pub fn history(entries: &[Entry]) -> Json {
    list(entries, |entry| {
        Json::Object(Vec::from([
            ("unit", or_null(entry.unit.as_ref(), text)),
            ("event", text(entry.event)),
            ("at", time(entry.at)),
            ("last", time(entry.last)),
            ("times", Json::Number(entry.times)),
            ("period_s", or_null(entry.period_us, period)),
            ("because", text(&entry.because)),
        ]))
    })
}
