//! Every rule's examples are its tests: the bad one is found by the rule, the good one by none.

use super::{
    Finding, Level, Permits, Scope, World,
    explain::{ExampleFile, example},
    lint, rules,
};
use crate::{
    UnitName,
    config::Environs,
    lint::{Ground, mend, world},
    unit_path::{Entry, EntryKind, FileError, Files, UnitPath},
};
use std::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format, println,
    string::String,
    vec::Vec,
};

const FOLDER: &str = "/etc/systemd/system";

struct Memory(BTreeMap<String, ExampleFile>);

impl Files for Memory {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let mut entries: BTreeMap<&str, EntryKind> = BTreeMap::new();
        for path in self.0.keys() {
            let Some(rest) = path.strip_prefix(folder).and_then(|r| r.strip_prefix('/')) else { continue };
            match rest.split_once('/') {
                Some((name, _)) => entries.insert(name, EntryKind::Folder),
                None => entries.insert(rest, EntryKind::File),
            };
        }
        match entries.is_empty() {
            true => Err(FileError::NotFound),
            false => Ok(entries.into_iter().map(|(n, kind)| Entry { name: n.to_owned(), kind }).collect()),
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.get(path).map(|f| f.text.clone().into_bytes()).ok_or(FileError::NotFound)
    }

    fn link(&self, _: &str) -> Option<String> {
        None
    }
}

impl Ground for Memory {
    fn mode(&self, path: &str) -> Option<u32> {
        self.0.get(path).map(|f| f.mode | 0o100_000)
    }

    fn script(&self, path: &str) -> Option<String> {
        self.0.get(path).map(|f| f.text.clone()).filter(|t| t.starts_with("#!"))
    }
}

fn environs() -> Environs {
    Environs { runtime_root: "/run".into(), state_root: "/var/lib".into(), ..Environs::default() }
}

fn found_in(text: &str, systemd: u16) -> Vec<Finding> {
    let (files, image) = example(text);
    let path_of = |file: &ExampleFile| match file.name.starts_with('/') {
        true => file.name.clone(),
        false => format!("{FOLDER}/{}", file.name),
    };
    let memory = Memory(files.iter().map(|f| (path_of(f), f.clone())).collect());
    let path = UnitPath::scan(&memory, &[FOLDER.to_owned()]);
    let mut world = World::new(&path, &memory, environs());
    world.scope = if image { Scope::System } else { Scope::Units };
    world.systemd = systemd;
    for name in path.names() {
        assert!(world.give(name, None), "{name}");
    }
    for file in files.iter().filter(|f| f.name.starts_with('/') && f.text.starts_with("#!")) {
        if !image {
            world.give_script(file.name.as_str().into(), file.text.clone());
        }
    }
    lint(&world, &Permits::default())
}

/// What no example in text can hold; each has a test of its own.
const WITHOUT_BAD: [&str; 5] = ["line-too-long", "not-utf8", "unreadable", "dangling-link", "bad-alias"];

#[test]
fn the_examples_of_every_rule() {
    let mut wrong = Vec::new();
    for rule in rules() {
        let systemd = if rule.id.starts_with("newer-") { 252 } else { 0 };
        if !WITHOUT_BAD.contains(&rule.id) {
            let found = found_in(rule.bad, systemd);
            if !found.iter().any(|f| f.rule.id == rule.id) {
                wrong.push(format!("{}: nothing is found in its bad example, but {found:#?}", rule.id));
            }
        }
        let good = found_in(rule.good, systemd);
        for finding in good.iter().filter(|f| f.level > Level::Note || f.rule.id == rule.id) {
            wrong.push(format!("{}: {finding:#?} in its good example", rule.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rows_say_what_they_have_to() {
    let mut ids = BTreeSet::new();
    for rule in rules() {
        assert!(ids.insert(rule.id), "{} twice", rule.id);
        let kebab = |c: char| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit();
        assert!(rule.id.chars().all(kebab), "{}", rule.id);
        for text in [rule.says, rule.why] {
            assert!(text.ends_with('.') && !text.contains("  "), "{}: {text}", rule.id);
        }
        assert!(rule.page.ends_with(')') && rule.page.contains('('), "{}", rule.id);
        assert!(!rule.good.is_empty(), "{}", rule.id);
    }
    println!("{} rules", ids.len());
    assert!(ids.len() >= 40);
    for id in WITHOUT_BAD {
        assert!(ids.contains(id), "{id}");
    }
}

/// What the loader can say is a rule: nothing of it is lost.
#[test]
fn the_loaders_diagnostics_are_rules() {
    let sources = [
        include_str!("../load.rs"),
        include_str!("../settle.rs"),
        include_str!("../syntax.rs"),
        include_str!("../exec_line.rs"),
        include_str!("../directive.rs"),
        include_str!("../unit_path.rs"),
    ];
    let calls = [
        "diagnose(\"",
        "diagnose(\n",
        "Finding::error(",
        "Finding::warning(",
        "rule: \"",
        "diagnose_section(",
    ];
    let mut seen = 0;
    for text in sources {
        let text = text.split("#[cfg(test)]").next().unwrap();
        for call in calls {
            for (at, _) in text.match_indices(call) {
                let rest = &text[at..];
                let Some(id) = rest.split('"').nth(1).filter(|_| rest.find('"').unwrap() < call.len() + 60)
                else {
                    continue;
                };
                if id.contains(' ') || id.is_empty() || id == "template" {
                    continue;
                }
                seen += 1;
                assert!(super::rule(id).is_some(), "the loader says {id}, and there is no such rule");
            }
        }
    }
    assert!(seen > 30, "{seen}");
}

fn shown(text: &str) -> Vec<String> {
    let line = |f: &Finding| format!("{}:{}", f.rule.id, f.place.line);
    found_in(text, 0)
        .iter()
        .filter(|f| f.level > Level::Note || f.rule.id.starts_with("allow"))
        .map(line)
        .collect()
}

#[test]
fn comments_switch_rules_off() {
    let unit = "[Service]\nExecStart=/usr/bin/foo\nTasksMax=64\n";
    let with = |comment: &str| shown(&format!("{unit}{comment}KillMode=none\n"));
    assert_eq!(with(""), ["kill-mode:4"]);
    assert!(with("# hence: allow kill-mode: they are to stay\n").is_empty());
    assert!(
        with("; hence: allow kill-mode, restart-without-end: they stay\n\n# more\n")
            .iter()
            .all(|f| f.starts_with("allow-unused"))
    );
    assert_eq!(with("# hence: allow kill-mode\n"), ["allow-without-reason:4", "kill-mode:5"]);
    assert_eq!(with("# hence: allow kil-mode: x\n"), ["allow-without-reason:4", "kill-mode:5"]);
    // For the file, for a section, and not for another line.
    assert!(shown(&format!("# hence: allow kill-mode: x\n{unit}KillMode=none\n")).is_empty());
    assert!(shown(&format!("[Unit]\n# hence: allow kill-mode: x\n{unit}KillMode=none\n")).is_empty());
    let other = shown(&format!("[Unit]\n# hence: allow kill-mode: x\nDescription=x\n{unit}KillMode=none\n"));
    assert_eq!(other, ["allow-unused:2", "kill-mode:7"]);
}

#[test]
fn files_of_permits() {
    let mut permits = Permits::default();
    let text = "[Allow]\nkill-mode=as ever\nmissing\n[Allow foo*]\nnonsense=x\nvar-run=\n[Lint]\n\
    Systemd=252\n[X]\na=b\n";
    permits.read(&"p".into(), text);
    let wrong: Vec<String> = permits.wrong.iter().map(|(p, m)| format!("{}: {m}", p.line)).collect();
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    assert_eq!(permits.settings[0].value, "252");
    let memory = Memory(BTreeMap::from([(
        format!("{FOLDER}/foo.service"),
        ExampleFile {
            name: "foo.service".into(),
            mode: 0o644,
            text: "[Service]\nExecStart=/x\nKillMode=none\n".into(),
        },
    )]));
    let path = UnitPath::scan(&memory, &[FOLDER.to_owned()]);
    let mut world = World::new(&path, &memory, environs());
    world.give(&UnitName::new("foo.service").unwrap(), None);
    let count = |permits: &Permits| lint(&world, permits).iter().filter(|f| f.rule.id == "kill-mode").count();
    assert_eq!((count(&Permits::default()), count(&permits)), (1, 0));
}

/// Safe mends make the finding go away, and nothing else changes for the worse.
#[test]
fn mends_mend() {
    let mut mended = 0;
    for rule in rules().filter(|r| !WITHOUT_BAD.contains(&r.id) && !r.bad.starts_with("-- ")) {
        let found = found_in(rule.bad, 0);
        let edits: Vec<_> = found.iter().filter(|f| f.rule.id == rule.id).flat_map(|f| &f.edits).collect();
        if edits.is_empty() {
            continue;
        }
        mended += 1;
        let (text, left_out) = mend::apply(rule.bad, &edits);
        assert_eq!(left_out, 0, "{}", rule.id);
        let after = found_in(&text, 0);
        assert!(after.iter().all(|f| f.rule.id != rule.id), "{}: {text}", rule.id);
        assert!(after.len() < found.len(), "{}: {after:#?}", rule.id);
    }
    assert!(mended >= 4, "{mended}");
}

#[test]
fn drop_ins_alone_and_with_their_unit() {
    let file = |text: &str| ExampleFile { name: String::new(), mode: 0o644, text: text.into() };
    let drop_in = format!("{FOLDER}/foo.service.d/a.conf");
    let mut files = BTreeMap::from([(drop_in.clone(), file("[Service]\nKilMode=none\nKillMode=none\n"))]);
    let run = |files: &BTreeMap<String, ExampleFile>| {
        let memory = Memory(files.clone());
        let path = UnitPath::scan(&memory, &[FOLDER.to_owned()]);
        let mut world = World::new(&path, &memory, environs());
        world.give_drop_in(&UnitName::new("foo.service").unwrap(), drop_in.as_str().into());
        let found = lint(&world, &Permits::default());
        found.iter().map(|f| format!("{} {}", f.rule.id, f.place)).collect::<Vec<_>>()
    };
    assert_eq!(run(&files), [format!("unknown-directive {drop_in}:2:1")]);
    files.insert(
        format!("{FOLDER}/foo.service"),
        file("[Service]\nExecStart=/x\nTasksMax=infinity\nNonsense=1\n"),
    );
    let with = run(&files);
    assert!(with.contains(&format!("kill-mode {drop_in}:3:1")), "{with:?}");
    assert!(with.iter().all(|f| f.contains("a.conf")), "{with:?}");
}

#[test]
fn names_are_listed() {
    assert_eq!(world::named(["a"].into_iter()), "a");
    assert_eq!(world::named(["a", "b", "c"].into_iter()), "a, b and c");
    assert_eq!(world::named(["a", "b", "c", "d", "e", "f"].into_iter()), "a, b, c, d and 2 others");
    assert_eq!(super::span(90_500_000), "1min 30s 500ms");
}
