//! The groups of system calls, held against those of the systemd of this machine: what `systemd-analyze
//! syscall-filter` prints. Skipped where there is none, or one of another version.

use hence_unit::calls;
use std::{collections::BTreeMap, collections::BTreeSet, process::Command};

/// The version that the groups were taken from.
const VERSION: &str = "systemd 252 ";

fn analyze(argument: &str) -> Option<String> {
    let output = Command::new("systemd-analyze").args(argument.split(' ')).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn groups_are_those_of_systemd() {
    if analyze("--version").is_none_or(|text| !text.starts_with(VERSION)) {
        eprintln!("skipped: the groups of {VERSION}: systemd-analyze of that version isn't here");
        return;
    }
    let text = analyze("--no-pager syscall-filter").expect("groups");
    let mut theirs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut group = None;
    for line in text.lines() {
        match line.trim() {
            name if line.starts_with('@') => {
                theirs.entry(name).or_default();
                group = Some(name);
            }
            // What is in no group comes last, as comments.
            _ if line.starts_with('#') => group = None,
            member if !member.is_empty() && !member.starts_with('#') => {
                let of = group.and_then(|name| theirs.get_mut(name)).expect("a group");
                of.insert(member);
            }
            _ => {}
        }
    }
    assert!(theirs.len() > 25, "{}", theirs.len());
    let ours: BTreeMap<&str, BTreeSet<&str>> =
        calls::groups().map(|(name, members)| (name, members.into_iter().collect())).collect();
    let names =
        |all: &BTreeMap<&'static str, BTreeSet<&'static str>>| all.keys().copied().collect::<Vec<_>>();
    assert_eq!(names(&ours), theirs.keys().copied().collect::<Vec<_>>());
    for (name, members) in &theirs {
        let missing: Vec<_> = members.difference(&ours[name]).collect();
        let more: Vec<_> = ours[name].difference(members).collect();
        assert!(missing.is_empty() && more.is_empty(), "{name}: we lack {missing:?}, they lack {more:?}");
    }
}
