//! The rows against themselves and against what the installed systemd says about its own.

use super::*;
use crate::front::{ManagerView, UnitView};
use hence_unit::UnitKind;
use std::collections::BTreeMap;
use std::process::Command as Process;

fn check_rows<V: View>(interface: &Interface<V>, view: &V) {
    let mut seen = std::collections::BTreeSet::new();
    for row in interface.rows() {
        let (name, signature) = (row.name(), row.signature());
        assert_eq!(row.value(view).signature(), signature, "{}.{name}", interface.name);
        assert_eq!(row.default().signature(), signature, "{}.{name}", interface.name);
        assert!(seen.insert(name), "{}.{name} twice", interface.name);
    }
    let mut entries = Entries::default();
    interface.tell(view, &mut entries);
    let (mut one_by_one, mut expected) = (Entries::default(), Entries::default());
    interface.rows().for_each(|row| row.tell(view, view.given(), &mut one_by_one));
    interface.rows().for_each(|row| expected.property(row.name(), &row.value(view)));
    let expected = expected.into_value();
    assert_eq!(entries.into_value(), expected, "{}", interface.name);
    assert_eq!(one_by_one.into_value(), expected, "{}", interface.name);
    for method in interface.methods() {
        assert!(crate::wire::is_signature(method.input()) && crate::wire::is_signature(method.output()));
        assert!(seen.insert(method.name()), "{}.{} twice", interface.name, method.name());
    }
}

#[test]
fn every_value_has_the_signature_of_its_row() {
    for kind in UnitKind::ALL {
        let view = UnitView::new(kind, "a.service");
        check_rows(&unit::INTERFACE, &view);
        check_rows(kinds::interface(kind), &view);
        assert_eq!(
            kinds::interface(kind).name.to_lowercase(),
            format!("org.freedesktop.systemd1.{}", kind.suffix())
        );
    }
    check_rows(&manager::INTERFACE, &ManagerView::default());
    check_rows(&job::INTERFACE, &JobView::default());
}

/// Properties (signature, annotation) and methods (signatures) by name, out of introspection XML.
fn describe(xml: &str, interface: &str) -> BTreeMap<String, String> {
    let attribute = |line: &str, name: &str| {
        let rest = line.split_once(&format!("{name}=\""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let mut found = BTreeMap::new();
    let (mut inside, mut member) = (false, None::<String>);
    for line in xml.lines().map(str::trim) {
        if line.starts_with("<interface") {
            inside = attribute(line, "name").as_deref() == Some(interface);
        }
        if !inside {
            continue;
        }
        let entry = |name: &Option<String>| name.clone().unwrap_or_default();
        if line.starts_with("<property") || line.starts_with("<method") || line.starts_with("<signal") {
            member = attribute(line, "name");
            let what = line.trim_start_matches('<').split(' ').next().unwrap_or_default();
            let access = attribute(line, "access").filter(|access| access != "read").unwrap_or_default();
            let signature = attribute(line, "type").unwrap_or_default();
            found.insert(entry(&member), format!("{what}{access} {signature}"));
        } else if line.starts_with("<arg") {
            let direction = if attribute(line, "direction").as_deref() == Some("out") { ">" } else { "" };
            let text = format!("{direction}{}", attribute(line, "type").unwrap_or_default());
            found.entry(entry(&member)).or_default().push_str(&text);
        } else if line.starts_with("<annotation") && line.contains("EmitsChangedSignal") {
            let text = format!(":{}", attribute(line, "value").unwrap_or_default());
            found.entry(entry(&member)).or_default().push_str(&text);
        }
    }
    found
}

/// What version 252 doesn't have, and the systemctl of later ones calls.
const NEWER: &[&str] = &["DisableUnitFilesWithFlagsAndInstallInfo"];

/// What systemd 252 says of its interfaces: interface, name, what it is and its types.
const GOLDEN: &str = include_str!("../../tests/golden/introspection.txt");
/// Those of these that hence doesn't have.
const MISSING: &str = include_str!("../../tests/golden/introspection-missing.txt");

fn members<V: View>(interface: &Interface<V>) -> Vec<String> {
    let mut xml = String::new();
    crate::front::describe_interface(&mut xml, interface);
    lines(&xml, interface.name)
}

fn lines(xml: &str, interface: &str) -> Vec<String> {
    let short = interface.rsplit('.').next().unwrap_or(interface);
    describe(xml, interface).iter().map(|(name, text)| format!("{short} {name} {text}")).collect()
}

/// Ours, and the names of the interfaces.
fn all() -> (Vec<String>, Vec<&'static str>) {
    let mut ours =
        [members(&manager::INTERFACE), members(&job::INTERFACE), members(&unit::INTERFACE)].concat();
    let mut names = vec![manager::INTERFACE.name, job::INTERFACE.name, unit::INTERFACE.name];
    for kind in UnitKind::ALL {
        ours.extend(members(kinds::interface(kind)));
        names.push(kinds::interface(kind).name);
    }
    (ours, names)
}

#[test]
fn names_and_signatures_are_systemds() {
    let (ours, names) = all();
    let bless = std::env::var_os("HENCE_BLESS").is_some();
    let golden: Vec<&str> = GOLDEN.lines().filter(|line| !line.starts_with('#')).collect();
    for line in ours.iter().filter(|line| !NEWER.iter().any(|newer| line.contains(newer))) {
        // What can be set there can be read only here; the missing list says so.
        let settable = line.replacen(" property ", " propertyreadwrite ", 1);
        let known = golden.contains(&line.as_str()) || golden.contains(&settable.as_str());
        assert!(bless || known, "systemd 252 has no such thing: {line}");
    }
    let missing: Vec<&str> =
        golden.iter().filter(|line| !ours.iter().any(|own| own == *line)).copied().collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let write = |name: &str, head: &str, lines: &[String]| {
        std::fs::write(format!("{folder}/{name}"), format!("{head}{}\n", lines.join("\n"))).expect("a file");
    };
    let listed: Vec<&str> = MISSING.lines().filter(|line| !line.starts_with('#')).collect();
    if bless {
        let lines: Vec<String> = missing.iter().map(|line| (*line).to_owned()).collect();
        let head = "# What of introspection.txt hence does not have. Nothing else may go missing.\n";
        write("introspection-missing.txt", head, &lines);
    } else {
        assert_eq!(missing, listed, "what is missing is not what introspection-missing.txt lists");
    }
    eprintln!("{} of {} rows; {} are missing", golden.len() - missing.len(), golden.len(), missing.len());

    let program = "/usr/lib/systemd/systemd";
    let version = Process::new(program).arg("--version").output();
    if !version.is_ok_and(|output| output.stdout.starts_with(b"systemd 252 ")) {
        eprintln!("skipped: {program} is not there or not of version 252, which the golden list is of");
        return;
    }
    let mut theirs = Vec::new();
    for name in names {
        let output = Process::new(program).arg(format!("--bus-introspect={name}")).output();
        let output = output.expect("it just ran");
        theirs.extend(lines(&String::from_utf8_lossy(&output.stdout), name));
    }
    if bless {
        let head =
            "# The interfaces of systemd 252 as it describes them: interface, name, what it is, types.\n";
        write("introspection.txt", head, &theirs);
    } else {
        assert_eq!(theirs, golden, "the golden list is not what systemd says");
    }
}
