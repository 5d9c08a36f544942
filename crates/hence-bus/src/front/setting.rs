//! Settings of units as clients send them (StartTransientUnit, SetUnitProperties), as lines of a unit file:
//! a name and a typed value become a directive and its text, written so that loading it gives the value
//! back. Whether the value makes sense is for the loader to say. org.freedesktop.systemd1(5).

mod coded;
mod rows;
mod words;

use super::{ErrorName, Refusal};
use crate::wire::{Value, is_bus_name};
use hence_unit::UnitKind;
use hence_unit::directive::{self, Section};
use rows::{How, ROWS};

/// A line of a unit file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The section it stands in.
    pub section: &'static str,
    /// The directive.
    pub directive: String,
    /// Its value as it is to be written.
    pub value: String,
}

/// What a setting comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Lines of the unit's file.
    Lines(Vec<Line>),
    /// `PIDs`: the processes that a scope takes up.
    Processes(Vec<u32>),
    /// `StandardInputFileDescriptor` and its kin: which stream, and which of the message's descriptors.
    Stream(usize, u32),
    /// `AddRef`: the client holds on to the unit.
    Hold(bool),
    /// `Controller`: who is asked to stop a scope.
    Controller(Option<String>),
}

/// What the properties of a unit that is about to be made come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Lines of the unit's file, in the order of the properties.
    pub lines: Vec<Line>,
    /// The processes that a scope takes up.
    pub processes: Vec<u32>,
    /// Standard input, output and error, as indices into the message's descriptors.
    pub streams: [Option<u32>; 3],
    /// Whether the client holds on to the unit.
    pub hold: bool,
    /// Who is asked to stop a scope, by a name on the bus.
    pub controller: Option<String>,
}

/// What all properties of a unit come to.
///
/// # Errors
/// As for [`transient`].
pub fn recipe(kind: UnitKind, properties: &[(String, Value)]) -> Result<Recipe, Refusal> {
    let mut recipe = Recipe::default();
    for (property, value) in properties {
        match transient(kind, property, value)? {
            Setting::Lines(mut lines) => {
                // The soft limit stands before the hard one, which came just before it.
                if let (true, [soft]) = (property.ends_with("Soft"), &mut lines[..]) {
                    let hard = recipe.lines.iter().rev().find(|line| line.directive == soft.directive);
                    soft.value.extend(hard.map(|hard| format!(":{}", hard.value)));
                }
                recipe.lines.append(&mut lines);
            }
            Setting::Processes(mut processes) => recipe.processes.append(&mut processes),
            Setting::Stream(stream, index) => recipe.streams[stream] = Some(index),
            Setting::Hold(hold) => recipe.hold = hold,
            Setting::Controller(controller) => recipe.controller = controller,
        }
    }
    Ok(recipe)
}

fn unknown(property: &str) -> Refusal {
    let text = format!("Cannot set property {property}, or unknown property.");
    Refusal::new(ErrorName::PropertyReadOnly, text)
}

fn invalid(property: &str, value: &str) -> Refusal {
    Refusal::new(ErrorName::InvalidArgs, format!("Invalid {property} setting: {value}"))
}

/// What a property of a unit that is about to be made means.
///
/// # Errors
/// The kind has no such property, or it has another type, or its value can't be written.
pub fn transient(kind: UnitKind, property: &str, value: &Value) -> Result<Setting, Refusal> {
    let stream = ["Input", "Output", "Error"].iter().position(|name| {
        property.strip_prefix("Standard").and_then(|p| p.strip_suffix("FileDescriptor")) == Some(name)
    });
    match (property, value) {
        ("AddRef", Value::Bool(hold)) => return Ok(Setting::Hold(*hold)),
        ("PIDs", Value::Array(_)) if kind == UnitKind::Scope => {
            let pid = |value: &Value| match value {
                Value::Uint32(pid) => Some(*pid),
                _ => None,
            };
            return Ok(Setting::Processes(value.items().iter().filter_map(pid).collect()));
        }
        ("Controller", Value::Str(name)) if kind == UnitKind::Scope => {
            if !name.is_empty() && !is_bus_name(name) {
                let text = format!("Controller '{name}' is not a valid bus name.");
                return Err(Refusal::new(ErrorName::InvalidArgs, text));
            }
            // An empty name: the unit has no controller.
            return Ok(Setting::Controller(Some(name.to_string()).filter(|name| !name.is_empty())));
        }
        (_, Value::Fd(index)) if kind == UnitKind::Service && stream.is_some() => {
            return Ok(Setting::Stream(stream.unwrap_or(0), *index));
        }
        _ => {}
    }
    lines(kind, property, value).map(Setting::Lines)
}

/// The lines of a property that may be changed while the unit is up: resources, and its description; and
/// the name of the drop-in that they go to, without `50-` and `.conf`.
///
/// # Errors
/// As for [`transient`]; all other properties can't be set.
pub fn live(kind: UnitKind, property: &str, value: &Value) -> Result<(String, Vec<Line>), Refusal> {
    let lines = lines(kind, property, value)?;
    let resource = |line: &Line| {
        let row = directive::find(line.section, &line.directive);
        line.directive == "Description" || row.is_some_and(|r| r.page == "systemd.resource-control(5)")
    };
    if !lines.iter().all(resource) {
        return Err(unknown(property));
    }
    let name = match lines.first() {
        // As systemd names them: a share of a limit has a file beside that of the amount.
        Some(_) if property.ends_with("Scale") => property.to_owned(),
        Some(line) => line.directive.clone(),
        None => property.to_owned(),
    };
    Ok((name, lines))
}

/// The section of a kind in which a directive stands.
fn section_of(kind: UnitKind, directive: &str) -> Option<&'static str> {
    let own = Section::ALL.into_iter().filter(|s| s.as_str() != "Install" && s.belongs_to(kind));
    own.map(Section::as_str).find(|section| directive::find(section, directive).is_some())
}

fn lines(kind: UnitKind, property: &str, value: &Value) -> Result<Vec<Line>, Refusal> {
    let row = ROWS.iter().find(|row| row.0 == property);
    let (name, how) = match row {
        Some(&(_, name, how)) => (if name.is_empty() { property } else { name }.to_owned(), how),
        None => inferred(kind, property, value).ok_or_else(|| unknown(property))?,
    };
    let carried = match property {
        "TimersMonotonic" | "TimersCalendar" => Some(UnitKind::Timer),
        "Paths" => Some(UnitKind::Path),
        "Listen" => Some(UnitKind::Socket),
        _ => None,
    };
    if carried.is_some_and(|wanted| wanted != kind) {
        return Err(unknown(property));
    }
    // Directives whose names the value itself carries are looked up when they are known.
    if !matches!(how, How::Named | How::NamedSpans | How::Tests) && section_of(kind, &name).is_none() {
        return Err(unknown(property));
    }
    let texts = words::written(how, &name, value)
        .map_err(|wrong| wrong.map_or_else(|| mistyped(property, value), |text| invalid(property, &text)))?;
    let mut out = Vec::new();
    for (directive, value) in texts {
        let section = section_of(kind, &directive).ok_or_else(|| unknown(property))?;
        out.push(Line { section, directive, value });
    }
    Ok(out)
}

fn mistyped(property: &str, value: &Value) -> Refusal {
    let text = format!("Property {property} has another type than '{}'.", value.signature());
    Refusal::new(ErrorName::InvalidArgs, text)
}

/// Properties that have no row of their own: named as their directive, or with the unit of measure that
/// D-Bus has.
fn inferred(kind: UnitKind, property: &str, value: &Value) -> Option<(String, How)> {
    if let Some(stem) = property.strip_suffix("USec") {
        return Some((format!("{stem}Sec"), How::Span));
    }
    if let Some(stem) = property.strip_suffix("Scale") {
        return Some((stem.to_owned(), How::Share));
    }
    if property.starts_with("Limit") {
        return Some((property.trim_end_matches("Soft").to_owned(), How::Limit));
    }
    section_of(kind, property)?;
    let how = match value {
        Value::Bool(_) => How::Flag,
        Value::Str(_) => How::Text,
        Value::Byte(_) | Value::Int16(_) | Value::Uint16(_) | Value::Int32(_) => How::Number,
        Value::Uint32(_) | Value::Int64(_) | Value::Uint64(_) => How::Number,
        Value::Array(array) if array.element == "s" => How::Words,
        _ => return None,
    };
    Some((property.to_owned(), how))
}

/// The text of a unit file with these lines: sections are named where they change, as systemd does.
pub fn file(head: &str, lines: &[Line]) -> String {
    let mut text = String::from(head);
    let mut section = "";
    for line in lines {
        if line.section != section {
            if !section.is_empty() {
                text.push('\n');
            }
            section = line.section;
            text.push_str(&format!("[{section}]\n"));
        }
        text.push_str(&format!("{}={}\n", line.directive, line.value));
    }
    text
}

/// What a transient unit's file begins with.
pub const TRANSIENT_HEAD: &str =
    "# This is a transient unit file, created programmatically via the systemd API. Do not edit.\n";
/// What a drop-in begins with that SetUnitProperties wrote.
pub const DROP_IN_HEAD: &str = "\
     # This is a drop-in unit file extension, created via \"systemctl set-property\"\n\
     # or an equivalent operation. Do not edit.\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: UnitKind, properties: &[(&str, Value)]) -> String {
        let properties: Vec<(String, Value)> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        file("", &recipe(kind, &properties).expect("known properties").lines)
    }

    fn exec(path: &str, argv: &[&str], flags: Value) -> Value {
        let argv = Value::strings(argv.iter().map(|a| a.to_string()));
        Value::array("(sasb)", vec![Value::Struct(vec![path.to_owned().into(), argv, flags])])
    }

    #[test]
    fn files_read_as_systemd_writes_them() {
        let command = exec("/usr/bin/sh", &["sh", "-c", "echo \"hi %n $FOO $$\"; true"], false.into());
        let environment = || Value::strings(["X=1", "Y=a b", "FOO=a b%c\"d$e"]);
        let written = text(
            UnitKind::Service,
            &[
                ("Description", "100% true".into()),
                ("CollectMode", "inactive-or-failed".into()),
                ("TasksMax", 10u64.into()),
                ("MemoryMaxScale", (858_993_459u32).into()),
                ("CPUQuotaPerSecUSec", 500_000u64.into()),
                ("LimitNOFILE", 200u64.into()),
                ("LimitNOFILESoft", 100u64.into()),
                ("TimeoutStopUSec", 3_000_000u64.into()),
                ("RuntimeMaxUSec", 5_400_000_000u64.into()),
                ("KillSignal", 2i32.into()),
                ("Environment", environment()),
                ("After", Value::strings(["foo.service", "b.target"])),
                ("UMask", 0o27u32.into()),
                ("ExecStart", command),
            ],
        );
        let expected = "[Unit]\nDescription=100%% true\nCollectMode=inactive-or-failed\n\n\
            [Service]\nTasksMax=10\nMemoryMax=20.00%\nCPUQuota=50%\nLimitNOFILE=200\nLimitNOFILE=100:200\n\
            TimeoutStopSec=3s\nRuntimeMaxSec=1h 30min\nKillSignal=INT\n\
            Environment=\"X=1\" \"Y=a b\" \"FOO=a b%%c\\\"d$e\"\n\n\
            [Unit]\nAfter=foo.service\nAfter=b.target\n\n\
            [Service]\nUMask=0027\nExecStart=\n\
            ExecStart=@\"/usr/bin/sh\" \"sh\" \"-c\" \"echo \\\"hi %%n $FOO $$\\\"; true\"\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn other_kinds() {
        let timers = Value::Struct(vec!["OnActiveSec".into(), 2_000_000u64.into()]);
        let written = text(
            UnitKind::Timer,
            &[
                ("TimersMonotonic", Value::array("(st)", vec![timers])),
                ("AccuracyUSec", 1000u64.into()),
                ("RemainAfterElapse", false.into()),
            ],
        );
        assert_eq!(written, "[Timer]\nOnActiveSec=2s\nAccuracySec=1ms\nRemainAfterElapse=no\n");
        let listen = Value::Struct(vec!["Stream".into(), "/tmp/s".into()]);
        let written = text(UnitKind::Socket, &[("Listen", Value::array("(ss)", vec![listen]))]);
        assert_eq!(written, "[Socket]\nListenStream=/tmp/s\n");
        let watch = Value::Struct(vec!["PathExists".into(), "/tmp/z".into()]);
        let written = text(UnitKind::Path, &[("Paths", Value::array("(ss)", vec![watch]))]);
        assert_eq!(written, "[Path]\nPathExists=/tmp/z\n");
        assert_eq!(
            text(UnitKind::Slice, &[("MemoryHigh", u64::MAX.into())]),
            "[Slice]\nMemoryHigh=infinity\n"
        );
        let pids = Value::array("u", vec![7u32.into(), 9u32.into()]);
        assert_eq!(transient(UnitKind::Scope, "PIDs", &pids), Ok(Setting::Processes(vec![7, 9])));
        let fd = transient(UnitKind::Service, "StandardErrorFileDescriptor", &Value::Fd(2));
        assert_eq!(fd, Ok(Setting::Stream(2, 2)));
    }

    #[test]
    fn what_is_unknown_or_unwritable_is_refused() {
        let name = |kind, property, value| transient(kind, property, &value).expect_err("refused").name;
        assert_eq!(name(UnitKind::Service, "Foo", "x".into()), ErrorName::PropertyReadOnly);
        assert_eq!(name(UnitKind::Timer, "User", "x".into()), ErrorName::PropertyReadOnly);
        assert_eq!(name(UnitKind::Service, "PIDs", Value::array("u", vec![])), ErrorName::PropertyReadOnly);
        assert_eq!(name(UnitKind::Service, "TimeoutStopUSec", "x".into()), ErrorName::InvalidArgs);
        for text in ["a\n[Service]\nUser=root", "a\\", "a\r", " a", "a "] {
            assert_eq!(name(UnitKind::Service, "User", text.into()), ErrorName::InvalidArgs, "{text:?}");
        }
        let named = Value::Struct(vec!["User".into(), "root".into()]);
        let named = Value::array("(ss)", vec![named]);
        assert_eq!(name(UnitKind::Service, "Paths", named), ErrorName::PropertyReadOnly);
        let live = |property, value: Value| live(UnitKind::Service, property, &value).map(|(name, _)| name);
        assert_eq!(live("MemoryHighScale", 1u32.into()), Ok("MemoryHighScale".into()));
        assert_eq!(live("CPUQuotaPerSecUSec", 200_000u64.into()), Ok("CPUQuota".into()));
        assert_eq!(live("KillMode", "none".into()), Err(unknown("KillMode")));
    }

    #[test]
    fn words_come_back_from_the_loader() {
        let awkward = "a\n\t\"'\\x $y %z ü\u{1}";
        let value = Value::strings([format!("A={awkward}")]);
        let written = text(UnitKind::Service, &[("Environment", value)]);
        assert_eq!(written.lines().count(), 2, "{written}");
        let line = written.lines().nth(1).and_then(|l| l.strip_prefix("Environment=")).expect("a line");
        let unescaped = line.replace("%%", "%");
        let inner = unescaped.trim_matches('"');
        let plain = inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"");
        let plain = plain.replace("\\x01", "\u{1}").replace("\\\\", "\\");
        assert_eq!(plain, format!("A={awkward}"));
    }
}
