//! What a unit sees of the machine, and what of it it may change: the directives that fill
//! [`Protection`].

use super::{
    Loading, Outcome, Shape,
    typed::{self, context, extend, list, put},
};
use crate::{
    config::{Bind, Protection},
    syntax::Assignment,
    value,
};
use alloc::{boxed::Box, format, string::String, vec::Vec};

fn boxed(context: &mut crate::ExecConfig) -> &mut Protection {
    context.protection.get_or_insert_default()
}

/// Sets a field. What says only what is so anyway costs a unit nothing.
fn set_where(loading: &mut Loading<'_>, differs: bool, set: impl FnOnce(&mut Protection)) {
    put(loading, context, |c| {
        if differs || c.protection.is_some() {
            set(boxed(c));
        }
    });
}

/// A boolean.
pub(super) fn switch(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    set: fn(&mut Protection, bool),
) -> Outcome {
    let outcome = Shape::Boolean.check(loading, assignment);
    if !matches!(outcome, Outcome::Rejected) {
        let on = value::boolean(&assignment.value) == Some(true);
        set_where(loading, on, |p| set(p, on));
    }
    outcome
}

/// 0 for no, 1 for yes, then the words in their order.
fn degree(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    words: &'static [&'static str],
    set: fn(&mut Protection, u8),
) -> Outcome {
    let outcome = Shape::BooleanOr(words).check(loading, assignment);
    if matches!(outcome, Outcome::Rejected) {
        return outcome;
    }
    let text = &*assignment.value;
    let degree = match words.iter().position(|word| *word == text) {
        Some(at) => at as u8 + 2,
        None => u8::from(value::boolean(text) == Some(true)),
    };
    set_where(loading, degree > 0, |p| set(p, degree));
    outcome
}

/// PrivateTmp=
pub(super) fn private_tmp(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    degree(loading, assignment, &["disconnected"], |p, v| p.private_tmp = v > 0)
}

/// ProtectSystem=
pub(super) fn system(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    degree(loading, assignment, &["full", "strict"], |p, v| p.system = v)
}

/// ProtectHome=
pub(super) fn home(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    degree(loading, assignment, &["read-only", "tmpfs"], |p, v| p.home = v)
}

/// ProtectControlGroups=
pub(super) fn control_groups(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    degree(loading, assignment, &["private", "strict"], |p, v| p.control_groups = v > 0)
}

/// PrivateUsers=
pub(super) fn private_users(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let words = &["self", "identity", "full", "managed"];
    degree(loading, assignment, words, |p, v| p.private_users = v > 0)
}

/// ProtectHostname=
pub(super) fn hostname(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    degree(loading, assignment, &["private"], |p, v| p.hostname = v > 0)
}

/// One of these words, by its index. An empty value is one only where the first word is empty.
fn indexed(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    words: &'static [&'static str],
    set: fn(&mut Protection, u8),
) -> Outcome {
    let text = &*assignment.value;
    let Some(index) = words.iter().position(|word| *word == text) else {
        let named = words.iter().copied().filter(|word| !word.is_empty());
        typed::bad_word(loading, assignment, text, named);
        return Outcome::Rejected;
    };
    set_where(loading, index > 0, |p| set(p, index as u8));
    if text.is_empty() { Outcome::Reset } else { Outcome::Replaced }
}

/// ProtectProc=
pub(super) fn proc(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    indexed(loading, assignment, &Protection::PROC, |p, v| p.proc = v)
}

/// ProcSubset=
pub(super) fn proc_subset(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    indexed(loading, assignment, &["all", "pid"], |p, v| p.proc_of_processes = v > 0)
}

/// MountFlags=, also with the prefix `r` of former versions.
pub(super) fn propagation(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let word = assignment.value.strip_prefix('r').unwrap_or(&assignment.value);
    let plain = Assignment { value: word.into(), ..assignment.clone() };
    indexed(loading, &plain, &Protection::PROPAGATION, |p, v| p.propagation = v)
}

/// MountAPIVFS=
pub(super) fn mount_api(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        set_where(loading, false, |p| p.mount_api = None);
        return Outcome::Reset;
    }
    let outcome = Shape::Boolean.check(loading, assignment);
    if !matches!(outcome, Outcome::Rejected) {
        let on = value::boolean(&assignment.value);
        set_where(loading, true, |p| p.mount_api = on);
    }
    outcome
}

/// NetworkNamespacePath=
pub(super) fn network_path(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    typed::path(loading, assignment, context, |c, v| {
        if v.is_some() || c.protection.is_some() {
            boxed(c).network_path = v;
        }
    })
}

/// IPCNamespacePath=
pub(super) fn ipc_path(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    typed::path(loading, assignment, context, |c, v| {
        if v.is_some() || c.protection.is_some() {
            boxed(c).ipc_path = v;
        }
    })
}

/// Splits at colons; a backslash before one makes it part of the text.
fn parts(text: &str, most: usize) -> Vec<String> {
    let mut parts = Vec::from([String::new()]);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' if characters.peek() == Some(&':') => {
                parts.last_mut().expect("one").extend(characters.next())
            }
            ':' if parts.len() < most => parts.push(String::new()),
            _ => parts.last_mut().expect("one").push(c),
        }
    }
    parts
}

/// BindPaths= and BindReadOnlyPaths=; an empty value of either empties both.
pub(super) fn bind(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let read_only = &*assignment.key == "BindReadOnlyPaths";
    let take = |word: String| {
        let (optional, rest) = word.strip_prefix('-').map_or((false, &*word), |rest| (true, rest));
        let fields = parts(rest, 3);
        let path = |text: &str| {
            let checked = value::absolute_path(text);
            checked.ok_or_else(|| format!("{text:?} is not {}", value::ABSOLUTE))
        };
        let source = path(&fields[0])?;
        let destination = match fields.get(1) {
            Some(text) => path(text)?,
            None => source.clone(),
        };
        let recursive = match fields.get(2).map(String::as_str) {
            None | Some("" | "rbind") => true,
            Some("norbind") => false,
            Some(other) => return Err(format!("{other:?} is neither rbind nor norbind")),
        };
        Ok(Bind { source: source.into(), destination: destination.into(), optional, recursive, read_only })
    };
    if assignment.value.is_empty() {
        loading.forget(|name| matches!(name, "BindPaths" | "BindReadOnlyPaths"));
    }
    list(loading, assignment, take, |config, bind| {
        if let Some(context) = context(config).filter(|c| bind.is_some() || c.protection.is_some()) {
            extend(&mut boxed(context).binds, bind);
        }
    })
}

/// TemporaryFileSystem=
pub(super) fn temporary(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let take = |word: String| {
        let fields = parts(&word, 2);
        match value::absolute_path(&fields[0]) {
            Some(path) => Ok((path.into(), fields.get(1).map_or("", |o| o).into())),
            None => Err(format!("{:?} is not {}", fields[0], value::ABSOLUTE)),
        }
    };
    list(loading, assignment, take, |config, place: Option<(Box<str>, Box<str>)>| {
        if let Some(context) = context(config).filter(|c| place.is_some() || c.protection.is_some()) {
            extend(&mut boxed(context).temporary, place);
        }
    })
}

/// A list of paths, with their marks: `-` may be missing, `+` lies below RootDirectory=.
pub(super) fn paths(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    field: fn(&mut Protection) -> &mut Vec<Box<str>>,
) -> Outcome {
    let take = |word: String| {
        let unmarked = word.strip_prefix('-').unwrap_or(&word);
        let unmarked = unmarked.strip_prefix('+').unwrap_or(unmarked);
        let marks = &word[..word.len() - unmarked.len()];
        match value::absolute_path(unmarked) {
            Some(path) => Ok(format!("{marks}{path}").into_boxed_str()),
            None => Err(format!("{word:?} is not {}", value::ABSOLUTE)),
        }
    };
    list(loading, assignment, take, |config, path| {
        if let Some(context) = context(config).filter(|c| path.is_some() || c.protection.is_some()) {
            extend(field(boxed(context)), path);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colons_part_and_can_be_escaped() {
        assert_eq!(parts("/a:/b:norbind", 3), ["/a", "/b", "norbind"]);
        assert_eq!(parts("/a\\:b:/c", 3), ["/a:b", "/c"]);
        assert_eq!(parts("/var:size=1M,mode=1:2", 2), ["/var", "size=1M,mode=1:2"]);
        assert_eq!(parts("", 2), [""]);
    }
}
