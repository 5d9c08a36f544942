//! The rows against themselves and against what the installed systemd says about its own.

use super::*;
use crate::front::{ManagerView, UnitView};
use hence_unit::UnitKind;
use std::collections::BTreeMap;
use std::process::Command as Process;

fn check_rows<V>(interface: &Interface<V>, view: &V) {
    let mut seen = std::collections::BTreeSet::new();
    for row in interface.rows() {
        let signature = (row.value)(view).signature();
        assert_eq!(signature, row.signature, "{}.{}", interface.name, row.name);
        assert!(seen.insert(row.name), "{}.{} twice", interface.name, row.name);
    }
    for method in interface.methods {
        assert!(crate::wire::is_signature(method.input) && crate::wire::is_signature(method.output));
        assert!(seen.insert(method.name), "{}.{} twice", interface.name, method.name);
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
            found.insert(entry(&member), attribute(line, "type").unwrap_or_default());
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

fn against_systemd<V>(interface: &Interface<V>) -> usize {
    let program = "/usr/lib/systemd/systemd";
    let version = Process::new(program).arg("--version").output();
    if !version.is_ok_and(|output| output.stdout.starts_with(b"systemd 252 ")) {
        eprintln!("skipped: {program} is not there or not of version 252, which the rows follow");
        return 0;
    }
    let argument = format!("--bus-introspect={}", interface.name);
    let output = Process::new(program).arg(argument).output().expect("it just ran");
    let theirs = describe(&String::from_utf8_lossy(&output.stdout), interface.name);
    let mut xml = String::new();
    crate::front::describe_interface(&mut xml, interface);
    let ours = describe(&xml, interface.name);
    assert_eq!(ours.len(), interface.rows().count() + interface.methods.len() + interface.signals.len());
    for (name, text) in ours.iter().filter(|(name, _)| !NEWER.iter().any(|newer| name.contains(newer))) {
        assert_eq!(theirs.get(name), Some(text), "{}.{name}", interface.name);
    }
    ours.len()
}

#[test]
fn names_and_signatures_are_systemds() {
    let mut checked = against_systemd(&unit::INTERFACE);
    for kind in UnitKind::ALL {
        checked += against_systemd(kinds::interface(kind));
    }
    checked += against_systemd(&manager::INTERFACE) + against_systemd(&job::INTERFACE);
    eprintln!("{checked} rows compared");
}
