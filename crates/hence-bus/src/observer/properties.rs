//! Properties of a manager's units, as far as they matter for what became of them.

use crate::wire::Value;
use hence_engine::observe::seen::Change;
use hence_ledger::{ActiveState, Exit, ExitKind, Invocation, Text, UnitResult};
use hence_unit::DependencyKind;
use std::sync::LazyLock;

/// Properties that matter, beside dependencies.
const MATTER: &[&str] = &[
    "ActiveState",
    "SubState",
    "Result",
    "InvocationID",
    "MainPID",
    "ControlPID",
    "NRestarts",
    "NAccepted",
    "ExecMainStartTimestampMonotonic",
    "StateChangeTimestampMonotonic",
    "InactiveExitTimestampMonotonic",
    "LastTriggerUSecMonotonic",
    "ControlGroup",
    "Slice",
    "ExecStart",
    "ExecMainPID",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainExitTimestampMonotonic",
];

/// Whether a property is looked at: a manager tells a hundred of them with each step of a unit.
pub(super) fn matters(name: &[u8]) -> bool {
    // Most names are told from these by a few of their bytes.
    static BY_MARK: LazyLock<Vec<Vec<&str>>> = LazyLock::new(|| {
        let mut table = vec![Vec::new(); 256];
        let dependencies = DependencyKind::ALL.iter().map(|kind| kind.name());
        MATTER.iter().copied().chain(dependencies).for_each(|name| table[mark(name.as_bytes())].push(name));
        table
    });
    BY_MARK[mark(name)].iter().any(|known| known.as_bytes() == name)
}

fn mark(name: &[u8]) -> usize {
    let at = |nth: usize| usize::from(name.get(nth).copied().unwrap_or(0));
    (name.len() * 37 + at(0) * 3 + at(name.len() / 2) * 5 + at(name.len().wrapping_sub(1))) % 256
}

fn rows(properties: &Value) -> impl Iterator<Item = (&str, &Value)> {
    properties.items().iter().filter_map(|entry| match entry {
        Value::Entry(pair) => match &pair.1 {
            Value::Variant(value) => Some((pair.0.as_str()?, &**value)),
            _ => None,
        },
        _ => None,
    })
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Uint64(n) => Some(*n),
        Value::Uint32(n) => Some(u64::from(*n)),
        Value::Int32(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn short(value: &Value) -> Option<u32> {
    number(value).and_then(|n| u32::try_from(n).ok())
}

/// The dependencies that can lead from one unit to another; orderings are left out.
pub(super) fn edges(properties: &Value) -> Vec<(DependencyKind, Text)> {
    use DependencyKind as K;
    let mut found = Vec::new();
    for (name, value) in rows(properties) {
        let kind = K::ALL.iter().copied().find(|kind| kind.name() == name);
        let Some(kind) = kind
            .filter(|k| !matches!(k, K::Before | K::After | K::InSlice | K::SliceOf | K::JoinsNamespaceOf))
        else {
            continue;
        };
        found.extend(value.items().iter().filter_map(Value::as_str).map(|other| (kind, other.into())));
    }
    found
}

/// What a dictionary of properties says, beside what is known already.
pub(super) fn change(mut change: Change, properties: &Value) -> Change {
    let (mut pid, mut code, mut status, mut at_us) = (None, None, None, None);
    for (name, value) in rows(properties) {
        let text = || value.as_str();
        match name {
            "ActiveState" => change.active = text().and_then(ActiveState::parse),
            "SubState" => change.sub = text().map(Text::from),
            "Result" => change.result = text().and_then(UnitResult::parse),
            "InvocationID" => {
                change.invocation = match value {
                    Value::Bytes(bytes) => <[u8; 16]>::try_from(&bytes[..]).ok().map(Invocation),
                    _ => None,
                };
            }
            "MainPID" => change.main_pid = short(value),
            "ControlPID" => change.control_pid = short(value),
            "NRestarts" => change.restarts = short(value),
            "NAccepted" => change.accepted = short(value),
            "ExecMainStartTimestampMonotonic" => change.main_began_us = number(value),
            "StateChangeTimestampMonotonic" => change.state_at_us = number(value),
            "InactiveExitTimestampMonotonic" => change.began_us = number(value),
            "LastTriggerUSecMonotonic" => change.triggered_us = number(value),
            "ControlGroup" => change.cgroup = text().map(Text::from),
            "ExecStart" => change.command = command(value),
            "ExecMainPID" => pid = short(value),
            "ExecMainCode" => code = number(value),
            "ExecMainStatus" => status = number(value),
            "ExecMainExitTimestampMonotonic" => at_us = number(value).filter(|at| *at != 0),
            _ => {}
        }
    }
    if let (Some(pid), Some(code), Some(status), Some(at_us)) = (pid, code, status, at_us) {
        // The codes of waitid(2).
        let kind = match code {
            1 => Some(ExitKind::Exited),
            2 => Some(ExitKind::Killed),
            3 => Some(ExitKind::Dumped),
            _ => None,
        };
        let exit = kind.map(|kind| Exit { kind, status: i32::try_from(status).unwrap_or(0) });
        change.main_exit = exit.filter(|_| pid != 0).map(|exit| (pid, at_us, exit));
    }
    change
}

/// Program and arguments of the last command of `a(sasbttttuii)`.
fn command(value: &Value) -> Option<Vec<String>> {
    let fields = value.items().last()?.items();
    let path = fields.first()?.as_str()?.to_owned();
    let rest = fields.get(1)?.items().iter().skip(1).filter_map(Value::as_str).map(str::to_owned);
    Some(std::iter::once(path).chain(rest).collect())
}

/// Where the control group of a unit will be that has none yet: in that of its slice.
pub(super) fn likely_group(name: &str, properties: &Value) -> Option<Text> {
    let slice = rows(properties).find(|(name, _)| *name == "Slice")?.1.as_str()?;
    let parts = slice.strip_suffix(".slice").filter(|stem| !stem.is_empty())?;
    let mut group = String::new();
    if parts != "-" {
        for (at, _) in parts.match_indices('-').chain([(parts.len(), "")]) {
            group.push_str(&format!("/{}.slice", &parts[..at]));
        }
    }
    Some(format!("{group}/{name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;

    #[test]
    fn groups_lie_in_those_of_slices() {
        let group = |slice: &'static str| {
            let all = Value::array("{sv}", vec![Value::property("Slice", slice.into())]);
            likely_group("x.service", &all)
        };
        assert_eq!(group("system.slice").as_deref(), Some("/system.slice/x.service"));
        assert_eq!(group("a-b.slice").as_deref(), Some("/a.slice/a-b.slice/x.service"));
        assert_eq!(group("-.slice").as_deref(), Some("/x.service"));
        assert_eq!(group(""), None);
    }

    #[test]
    fn what_matters_is_read_and_the_rest_passed_over() {
        let inner = vec![Value::Struct(vec!["a".into(), Value::Bool(true)])];
        let all = Value::array(
            "{sv}",
            vec![
                Value::property("Before", Value::array("s", vec!["a.service".into()])),
                Value::property("Conditions", Value::array("(sb)", inner)),
                Value::property("Delegate", Value::Bool(true)),
                Value::property("Odd", Value::variant(Value::Bytes(vec![1, 2, 3]))),
                Value::property("SubState", "running".into()),
                Value::property("Umask", Value::Uint64(7)),
                Value::property("NRestarts", Value::Uint32(3)),
            ],
        );
        let mut bytes = Vec::new();
        Message::reply(1, vec![all]).encode(1, &mut bytes);
        let read = Message::decode_only(&bytes, Some(matters)).expect("sound").expect("known");
        let names: Vec<&str> = rows(&read.body[0]).map(|(name, _)| name).collect();
        assert_eq!(names, ["Before", "SubState", "NRestarts"]);
        let change = change(Change::default(), &read.body[0]);
        assert_eq!((change.sub.as_deref(), change.restarts), (Some("running"), Some(3)));
    }
}
