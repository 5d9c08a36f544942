//! System calls by name, the groups that they come in, and lists of them as SystemCallFilter= has them.
//! Numbers are the kernel's for each architecture, and not known here.

mod errno;
mod table;

use alloc::vec::Vec;
pub use errno::{errno, errno_name};

/// A system call, by its place among all names in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(u16);

impl Call {
    /// The call of this name, where an architecture has it that Linux runs on today.
    pub fn find(name: &str) -> Option<Call> {
        let at = table::NAMES.binary_search(&name).ok().filter(|_| !name.starts_with('@'))?;
        (!table::NOWHERE.split_ascii_whitespace().any(|nowhere| nowhere == name)).then_some(Call(at as u16))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        table::NAMES[usize::from(self.0)]
    }
}

/// All names that can be listed, groups among them.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    let groups = table::GROUPS.iter().map(|(name, ..)| *name);
    groups.chain(["@known"]).chain(table::NAMES.iter().copied())
}

/// Every group as it is written: its name, and its members, which may be groups.
pub fn groups() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let written = table::GROUPS.iter().map(|(name, _, members)| (*name, words(members).collect()));
    written.chain([("@known", known().collect())])
}

fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split_ascii_whitespace()
}

fn known() -> impl Iterator<Item = &'static str> {
    let listed = |name: &&str| !words(table::UNLISTED).any(|unlisted| unlisted == *name);
    table::NAMES.iter().copied().filter(listed)
}

/// The calls of a group, with those of the groups in it; `None` where there is no such group.
pub fn group(name: &str) -> Option<Vec<Call>> {
    let mut calls = Vec::new();
    if name == "@known" {
        for member in known() {
            if member.starts_with('@') {
                collect(member, &mut calls);
            }
            calls.extend(Call::find(member));
        }
        return Some(calls);
    }
    collect(name, &mut calls).then_some(calls)
}

fn collect(name: &str, calls: &mut Vec<Call>) -> bool {
    let Some((_, _, members)) = table::GROUPS.iter().find(|(known, ..)| *known == name) else {
        return false;
    };
    for member in words(members) {
        if member.starts_with('@') {
            collect(member, calls);
        } else {
            calls.extend(Call::find(member));
        }
    }
    true
}

/// What becomes of a call that is made though it may not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// What SystemCallErrorNumber= says.
    #[default]
    Usual,
    /// The process is killed by SIGSYS.
    Kill,
    /// It gets this error.
    Errno(u16),
}

/// SystemCallFilter= or SystemCallLog=: calls, and what being among them means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallSet {
    /// Whether those in the set are allowed (or logged), and all others aren't; else the reverse.
    pub allow: bool,
    calls: Vec<(Call, Refusal)>,
}

impl CallSet {
    /// An empty one of a kind.
    pub fn new(allow: bool) -> CallSet {
        CallSet { allow, calls: Vec::new() }
    }

    /// Calls and their refusals, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Call, Refusal)> + '_ {
        self.calls.iter().copied()
    }

    /// Adds a call; one that is there gets the new refusal.
    pub fn insert(&mut self, call: Call, refusal: Refusal) {
        match self.calls.binary_search_by_key(&call, |(call, _)| *call) {
            Ok(at) => self.calls[at].1 = refusal,
            Err(at) => self.calls.insert(at, (call, refusal)),
        }
    }

    /// Takes a call out.
    pub fn remove(&mut self, call: Call) {
        if let Ok(at) = self.calls.binary_search_by_key(&call, |(call, _)| *call) {
            self.calls.remove(at);
        }
    }

    /// Whether a call is in it.
    pub fn has(&self, call: Call) -> bool {
        self.calls.binary_search_by_key(&call, |(call, _)| *call).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_groups_hold_names() {
        assert!(table::NAMES.is_sorted());
        for (name, members) in groups() {
            for member in members {
                let there = Call::find(member).is_some()
                    || group(member).is_some()
                    || words(table::NOWHERE).any(|nowhere| nowhere == member);
                assert!(there, "{member} of {name}");
            }
            assert!(group(name).is_some_and(|calls| !calls.is_empty()), "{name}");
        }
        assert_eq!(Call::find("read").map(Call::name), Some("read"));
        for none in ["", "osf_stat", "nonsense", "@aio"] {
            assert_eq!(Call::find(none), None, "{none}");
        }
        assert!(group("@no-such").is_none() && group("aio").is_none());
    }

    #[test]
    fn groups_in_groups() {
        let service = group("@system-service").expect("a group");
        let has = |name: &str| service.contains(&Call::find(name).expect("a call"));
        assert!(has("read") && has("socket") && has("chown"));
        assert!(!has("mount") && !has("reboot") && !has("swapon"));
    }

    #[test]
    fn the_last_refusal_counts() {
        let call = Call::find("mkdir").expect("a call");
        let mut set = CallSet::new(false);
        set.insert(call, Refusal::Usual);
        set.insert(call, Refusal::Errno(13));
        assert_eq!(set.iter().collect::<Vec<_>>(), [(call, Refusal::Errno(13))]);
        set.remove(call);
        assert!(!set.has(call));
    }
}
