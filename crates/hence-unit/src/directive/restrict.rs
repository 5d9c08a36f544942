//! SystemCallFilter= and the other settings that become filters of system calls.

use super::{
    Loading, Outcome, nearest,
    typed::{bad_word, context, flag, optional, put, split},
};
use crate::{
    calls::{self, Call, CallSet, Refusal},
    restrict::{
        ALL_NAMESPACES, ARCHITECTURES, FAMILIES, FamilySet, NAMESPACES, Restrictions, TIME_NAMESPACE,
    },
    syntax::Assignment,
    value,
};
use alloc::{format, string::String};

const ERROR: &str = "an error such as EPERM, a number from 1 to 4095, or kill";

/// The restrictions of the unit, made where there are none.
fn restrict(loading: &mut Loading<'_>, set: impl FnOnce(&mut Restrictions)) {
    put(loading, context, |c| set(c.restrictions.get_or_insert_default()));
}

/// A switch; what is off by default needs no place.
fn switch(loading: &mut Loading<'_>, assignment: &Assignment, set: fn(&mut Restrictions, bool)) -> Outcome {
    flag(loading, assignment, context, |c, on| {
        if on || c.restrictions.is_some() {
            set(c.restrictions.get_or_insert_default(), on);
        }
    })
}

pub(super) fn deny_write_execute(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    switch(loading, assignment, |r, on| r.deny_write_execute = on)
}

pub(super) fn lock_personality(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    switch(loading, assignment, |r, on| r.lock_personality = on)
}

pub(super) fn realtime(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    switch(loading, assignment, |r, on| r.realtime = on)
}

pub(super) fn suid_sgid(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    switch(loading, assignment, |r, on| r.suid_sgid = on)
}

/// SystemCallFilter=
pub(super) fn filter(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    list(loading, assignment, |r| &mut r.calls, true)
}

/// SystemCallLog=
pub(super) fn log(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    list(loading, assignment, |r| &mut r.log, false)
}

/// Several lines are merged: the first says what the list is, each other adds to it or takes from it.
fn list(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    field: fn(&mut Restrictions) -> &mut Option<CallSet>,
    filters: bool,
) -> Outcome {
    if assignment.value.is_empty() {
        restrict(loading, |r| *field(r) = None);
        return Outcome::Reset;
    }
    let (inverted, assignment) = inverted(assignment);
    let mut set = None;
    restrict(loading, |r| set = field(r).take());
    let mut set = set.unwrap_or_else(|| {
        let mut set = CallSet::new(!inverted);
        // Without these no program could begin.
        if filters && set.allow {
            let default = calls::group("@default").unwrap_or_default();
            default.into_iter().for_each(|call| set.insert(call, Refusal::Usual));
        }
        set
    });
    for word in split(loading, &assignment) {
        let column = loading.column_of(&assignment, &word);
        match entry(&word.text, inverted, filters) {
            Ok((named, refusal)) => {
                for call in named {
                    // In a list of what is allowed, `~` takes out, but for what is to give an own error.
                    if inverted != set.allow || refusal != Refusal::Usual {
                        set.insert(call, refusal);
                    } else {
                        set.remove(call);
                    }
                }
            }
            Err((wrong, fix)) => {
                loading.bad_value_at(&assignment, column, format!("{}=: {wrong}", assignment.key), fix);
            }
        }
    }
    restrict(loading, |r| *field(r) = Some(set));
    Outcome::Added
}

/// The value without its `~`.
fn inverted<'a>(assignment: &'a Assignment<'a>) -> (bool, Assignment<'a>) {
    let rest = assignment.value.strip_prefix('~');
    let moved = u32::from(rest.is_some());
    let value = rest.unwrap_or(&assignment.value).into();
    let value_column = assignment.value_column + moved;
    (moved == 1, Assignment { value, value_column, ..assignment.clone() })
}

type Wrong = (String, Option<String>);

/// A call or group, with the error that it is to give.
fn entry(word: &str, denies: bool, filters: bool) -> Result<(alloc::vec::Vec<Call>, Refusal), Wrong> {
    let (name, refusal) = match word.split_once(':') {
        None => (word, Refusal::Usual),
        Some((name, error)) => {
            let refusal = match (error, calls::errno(error)) {
                ("kill", _) => Refusal::Kill,
                (_, Some(number)) => Refusal::Errno(number),
                _ => return Err((format!("{error:?} is not {ERROR}"), None)),
            };
            (name, refusal)
        }
    };
    if refusal != Refusal::Usual && (!denies || !filters) {
        return Err((format!("{word:?}: only calls that are denied can have an error of their own"), None));
    }
    let found = match name.starts_with('@') {
        true => calls::group(name),
        false => Call::find(name).map(|call| alloc::vec![call]),
    };
    found.map(|calls| (calls, refusal)).ok_or_else(|| {
        let kind = if name.starts_with('@') { "group of system calls" } else { "system call" };
        let fix = nearest(name, calls::names()).map(|near| format!("did you mean {near}?"));
        (format!("{name:?} is no known {kind} and is left out"), fix)
    })
}

/// SystemCallErrorNumber=
pub(super) fn error_number(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let parse = |text: &str| match text {
        "kill" => Some(None),
        text => calls::errno(text).filter(|number| *number > 0).map(Some),
    };
    optional(loading, assignment, context, (parse, ERROR), |c, number| {
        c.restrictions.get_or_insert_default().error_number = number.flatten();
    })
}

/// SystemCallArchitectures=
pub(super) fn architectures(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        restrict(loading, |r| r.architectures.clear());
        return Outcome::Reset;
    }
    let mut taken = false;
    for word in split(loading, assignment) {
        if !ARCHITECTURES.contains(&&*word.text) {
            bad_word(loading, assignment, &word.text, ARCHITECTURES.iter().copied());
            continue;
        }
        taken = true;
        restrict(loading, |r| {
            if let Err(at) = r.architectures.binary_search_by(|known| (**known).cmp(&*word.text)) {
                r.architectures.insert(at, (*word.text).into());
            }
        });
    }
    if taken { Outcome::Added } else { Outcome::Rejected }
}

/// RestrictAddressFamilies=
pub(super) fn families(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        restrict(loading, |r| r.families = None);
        return Outcome::Reset;
    }
    if &*assignment.value == "none" {
        restrict(loading, |r| r.families = Some(FamilySet { allow: true, ..FamilySet::default() }));
        return Outcome::Added;
    }
    let (inverted, assignment) = inverted(assignment);
    let mut set = None;
    restrict(loading, |r| set = r.families.take());
    let mut set = set.unwrap_or(FamilySet { allow: !inverted, ..FamilySet::default() });
    for word in split(loading, &assignment) {
        let Some(family) = value::word(&word.text, FAMILIES) else {
            let fix = nearest(&word.text, FAMILIES.iter().map(|(name, _)| *name));
            let fix = fix.map(|near| format!("did you mean {near}?"));
            let column = loading.column_of(&assignment, &word);
            let wrong = format!("{}=: {:?} is no known address family", assignment.key, word.text);
            loading.bad_value_at(&assignment, column, wrong, fix);
            continue;
        };
        match (set.families.binary_search(&family), inverted != set.allow) {
            (Err(at), true) => set.families.insert(at, family),
            (Ok(at), false) => drop(set.families.remove(at)),
            _ => {}
        }
    }
    restrict(loading, |r| r.families = Some(set));
    Outcome::Added
}

/// RestrictNamespaces=
pub(super) fn namespaces(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        restrict(loading, |r| r.namespaces = None);
        return Outcome::Reset;
    }
    let (inverted, words) = inverted(assignment);
    let whole = value::boolean(&words.value).map(|restricted| if restricted { 0 } else { ALL_NAMESPACES });
    if let Some(allowed) = whole {
        let allowed = if inverted { ALL_NAMESPACES & !allowed } else { allowed };
        restrict(loading, |r| r.namespaces = Some(allowed));
        return Outcome::Replaced;
    }
    let mut flags = 0;
    for word in split(loading, &words) {
        let time = (TIME_NAMESPACE.0 == word.text).then_some(TIME_NAMESPACE.1);
        let Some(flag) = time.or_else(|| value::word(&word.text, &NAMESPACES)) else {
            bad_word(loading, assignment, &word.text, NAMESPACES.iter().map(|(name, _)| *name));
            return Outcome::Rejected;
        };
        flags |= flag;
    }
    restrict(loading, |r| {
        r.namespaces = Some(match (r.namespaces, inverted) {
            (None, false) => flags,
            (None, true) => ALL_NAMESPACES & !flags,
            (Some(now), false) => now | flags,
            (Some(now), true) => now & !flags,
        });
    });
    Outcome::Added
}
