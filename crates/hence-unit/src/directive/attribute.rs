//! Personality=, SecureBits=, NUMAPolicy= and the other attributes of processes that few units set.

use super::{
    Loading, Outcome, capability,
    typed::{choice, context, extend, flag, list, optional, parsed, put, text},
};
use crate::{
    attributes::{Attributes, COREDUMP_FILTERS, KeyringMode, NUMA_POLICIES, PERSONALITIES, SECURE_BITS},
    syntax::Assignment,
    value,
};
use alloc::{boxed::Box, format, string::String};

/// The attributes of the unit, made where there are none.
pub(super) fn attribute(loading: &mut Loading<'_>, set: impl FnOnce(&mut Attributes)) {
    put(loading, context, |c| set(c.attributes.get_or_insert_default()));
}

/// As [`optional`], of an attribute.
fn one<V>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    parser: (impl Fn(&str) -> Option<V>, &str),
    set: impl FnOnce(&mut Attributes, Option<V>),
) -> Outcome {
    optional(loading, assignment, context, parser, |c, v| {
        if v.is_some() || c.attributes.is_some() {
            set(c.attributes.get_or_insert_default(), v);
        }
    })
}

/// Words of a table, as bits that are added to those so far; empty removes all.
fn bits(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    (parse, what): (fn(&str) -> Option<u64>, &str),
    mut add: impl FnMut(&mut Attributes, Option<u64>),
) -> Outcome {
    let take = |word: String| parse(&word).ok_or_else(|| format!("{word:?} is not {what}"));
    list(loading, assignment, take, |config, bits| {
        if let Some(context) = context(config) {
            add(context.attributes.get_or_insert_default(), bits);
        }
    })
}

/// Personality=
pub(super) fn personality(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        attribute(loading, |a| a.personality = None);
        return Outcome::Reset;
    }
    let text = &*assignment.value;
    choice(loading, assignment, context, PERSONALITIES, |c, _| {
        c.attributes.get_or_insert_default().personality = Some(text.into());
    })
}

/// SecureBits=
pub(super) fn secure_bits(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let bit = |word: &str| SECURE_BITS.iter().position(|known| *known == word).map(|at| 1 << at);
    bits(
        loading,
        assignment,
        (bit, "one of keep-caps, no-setuid-fixup, noroot or one of them locked"),
        |a, b| {
            a.secure_bits = b.map_or(0, |bit| a.secure_bits | bit as u8);
        },
    )
}

/// CoredumpFilter=
pub(super) fn coredump_filter(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let kind = |word: &str| {
        let number = || u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok();
        value::word(word, COREDUMP_FILTERS).or_else(number)
    };
    bits(loading, assignment, (kind, "a kind of mapping or a hexadecimal number"), |a, b| {
        a.coredump_filter = b.map(|bits| a.coredump_filter.unwrap_or(0) | bits);
    })
}

/// TimerSlackNSec=
pub(super) fn timer_slack(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    parsed(loading, assignment, context, (value::span_ns, value::SPAN), |c, v| {
        c.attributes.get_or_insert_default().timer_slack_ns = Some(v);
    })
}

/// CPUSchedulingResetOnFork=
pub(super) fn reset_on_fork(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    flag(loading, assignment, context, |c, on| {
        if on || c.attributes.is_some() {
            c.attributes.get_or_insert_default().reset_on_fork = on;
        }
    })
}

/// NUMAPolicy=
pub(super) fn numa_policy(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        attribute(loading, |a| a.numa_policy = None);
        return Outcome::Reset;
    }
    choice(loading, assignment, context, NUMA_POLICIES, |c, policy| {
        c.attributes.get_or_insert_default().numa_policy = Some(policy);
    })
}

/// NUMAMask=
pub(super) fn numa_mask(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if &*assignment.value == "all" {
        attribute(loading, |a| a.numa_all = true);
        return Outcome::Replaced;
    }
    let spaced = Assignment { value: assignment.value.replace(',', " ").into(), ..assignment.clone() };
    let take = |word: String| {
        capability::range(&word)
            .ok_or_else(|| format!("{word:?} is not a node or a range of them, such as 0-3"))
    };
    list(loading, &spaced, take, |config, range| {
        let Some(context) = context(config) else {
            return;
        };
        let attributes = context.attributes.get_or_insert_default();
        match range {
            None => (attributes.numa_nodes.clear(), attributes.numa_all = false).0,
            Some((first, last)) => attributes.numa_nodes.extend(first..=last),
        }
        attributes.numa_nodes.sort_unstable();
        attributes.numa_nodes.dedup();
    })
}

/// KeyringMode=
pub(super) fn keyring(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    choice(loading, assignment, context, KeyringMode::WORDS, |c, mode| {
        c.attributes.get_or_insert_default().keyring = Some(mode);
    })
}

/// PAMName=
pub(super) fn pam_service(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    text(loading, assignment, context, |c, service| {
        if service.is_some() || c.attributes.is_some() {
            c.attributes.get_or_insert_default().pam_service = service;
        }
    })
}

/// ExecSearchPath=
pub(super) fn search_path(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        attribute(loading, |a| a.search_path.clear());
        return Outcome::Reset;
    }
    let Some(expanded) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    let mut taken = false;
    if expanded.split(':').all(str::is_empty) {
        let wrong = format!("{}= takes absolute paths with colons between them", assignment.key);
        loading.bad_value(assignment, wrong, None);
    }
    for folder in expanded.split(':').filter(|folder| !folder.is_empty()) {
        let Some(path) = value::absolute_path(folder) else {
            let wrong = format!("{}= takes {}, not {folder:?}", assignment.key, value::ABSOLUTE);
            loading.bad_value(assignment, wrong, None);
            continue;
        };
        taken = true;
        attribute(loading, |a| {
            if !a.search_path.iter().any(|known| **known == *path) {
                a.search_path.push(Box::from(&*path));
            }
        });
    }
    if taken { Outcome::Added } else { Outcome::Rejected }
}

/// More than a terminal can have is the most that it can have.
fn size(text: &str) -> Option<u16> {
    let number = value::unsigned(text).and_then(|number| u32::try_from(number).ok())?;
    Some(u16::try_from(number).unwrap_or(u16::MAX))
}

/// TTYRows=
pub(super) fn rows(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    one(loading, assignment, (size, "a number up to 65535"), |a, v| a.tty_rows = v)
}

/// TTYColumns=
pub(super) fn columns(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    one(loading, assignment, (size, "a number up to 65535"), |a, v| a.tty_columns = v)
}

/// What a credential may be called: a file name that can also name a descriptor.
fn name_is_valid(name: &str) -> bool {
    let plain = |b: u8| (b' '..0x7f).contains(&b) && b != b':' && b != b'/';
    !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && name.bytes().all(plain)
}

const NAME: &str = "the name of a credential, which is a file name in ASCII without a colon";

/// The name before the first colon, and what follows it.
fn credential<'a>(
    loading: &mut Loading<'_>,
    assignment: &'a Assignment<'a>,
) -> Option<(Box<str>, Option<&'a str>)> {
    let (name, rest) = match assignment.value.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None => (&*assignment.value, None),
    };
    let name = loading.expand(assignment, name)?.into_owned();
    if !name_is_valid(&name) {
        loading.bad_value(assignment, format!("{}=: {name:?} is not {NAME}", assignment.key), None);
        return None;
    }
    Some((name.into(), rest))
}

fn put_in<V>(list: &mut alloc::vec::Vec<(Box<str>, V)>, name: Box<str>, value: V) {
    match list.iter_mut().find(|(known, _)| *known == name) {
        Some((_, former)) => *former = value,
        None => list.push((name, value)),
    }
}

/// SetCredential=
pub(super) fn set_credential(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        attribute(loading, |a| a.credentials_set.clear());
        return Outcome::Reset;
    }
    let Some((name, value)) = credential(loading, assignment) else {
        return Outcome::Rejected;
    };
    let Some(bytes) = value.and_then(unescaped) else {
        let wrong = format!("{}= takes NAME:VALUE with C escapes", assignment.key);
        loading.bad_value(assignment, wrong, None);
        return Outcome::Rejected;
    };
    attribute(loading, |a| put_in(&mut a.credentials_set, name, bytes));
    Outcome::Added
}

/// LoadCredential=
pub(super) fn load_credential(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        attribute(loading, |a| a.credentials_loaded.clear());
        return Outcome::Reset;
    }
    let Some((name, source)) = credential(loading, assignment) else {
        return Outcome::Rejected;
    };
    let source: Box<str> = match source {
        None => name.clone(),
        Some(written) => match loading.expand(assignment, written) {
            Some(source) => source.into(),
            None => return Outcome::Rejected,
        },
    };
    if !name_is_valid(&source) && value::absolute_path(&source).is_none() {
        let wrong = format!("{}=: {source:?} is neither {} nor {NAME}", assignment.key, value::ABSOLUTE);
        loading.bad_value(assignment, wrong, None);
        return Outcome::Rejected;
    }
    attribute(loading, |a| put_in(&mut a.credentials_loaded, name, source));
    Outcome::Added
}

/// ImportCredential=
pub(super) fn import_credential(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        attribute(loading, |a| a.credentials_imported.clear());
        return Outcome::Reset;
    }
    let Some(pattern) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    // Another name for what is found may follow a colon; that is left to the sources themselves.
    if !name_is_valid(&pattern) {
        let wrong = format!("{}= takes a pattern of names of credentials, not {pattern:?}", assignment.key);
        loading.bad_value(assignment, wrong, None);
        return Outcome::Rejected;
    }
    let pattern: Box<str> = pattern.into();
    attribute(loading, |a| extend(&mut a.credentials_imported, Some(pattern)));
    Outcome::Added
}

/// Bytes of a text with C escapes, zero among them.
fn unescaped(text: &str) -> Option<alloc::vec::Vec<u8>> {
    let mut bytes = alloc::vec::Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + 1..];
        // Words can't hold a zero, so it is resolved here.
        let zero = ["x00", "000", "u0000", "U00000000"].into_iter().find(|zero| after.starts_with(zero));
        let taken = match zero {
            Some(zero) => {
                bytes.push(0);
                zero.len()
            }
            None if after.is_empty() => return None,
            None => crate::words::resolve(after, &mut bytes)?,
        };
        rest = &after[taken..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_credentials() {
        assert_eq!(unescaped(r"a\x00b\n\\ c").as_deref(), Some(&b"a\0b\n\\ c"[..]));
        assert_eq!(unescaped(""), Some(alloc::vec![]));
        for bad in ["\\", r"a\q", r"\x4"] {
            assert_eq!(unescaped(bad), None, "{bad}");
        }
        assert!(
            name_is_valid("a.b-c") && !name_is_valid("a/b") && !name_is_valid("") && !name_is_valid("..")
        );
    }
}
