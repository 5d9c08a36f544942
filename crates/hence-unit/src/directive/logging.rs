//! How output is logged: SyslogLevel=, LogLevelMax= and their kin; systemd.exec(5), "Logging and Standard
//! Input/Output". Nothing is logged here.

use super::{
    Loading, Outcome,
    typed::{context, list, one_word, put},
};
use crate::{config::LogConfig, syntax::Assignment, value};
use alloc::{format, string::String};

const LEVELS: &[&str] = &[
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "0", "1", "2", "3", "4", "5", "6",
    "7",
];
const FACILITIES: &[(&str, u8)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
/// Numbers are facilities too, up to this.
const LAST_FACILITY: u64 = 127;
/// Longest name of a field.
const LONGEST_NAME: usize = 64;

fn set(loading: &mut Loading<'_>, change: impl FnOnce(&mut LogConfig)) {
    put(loading, context, |c| change(c.log.get_or_insert_default()));
}

fn a_level(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    change: impl FnOnce(&mut LogConfig, Option<u8>),
) -> Outcome {
    let Some(word) = one_word(loading, assignment, &assignment.value, LEVELS) else {
        return Outcome::Rejected;
    };
    let number = LEVELS.iter().position(|level| *level == word).map(|at| (at % 8) as u8);
    set(loading, |log| change(log, number));
    Outcome::Replaced
}

pub(super) fn level(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    a_level(loading, assignment, |log, level| log.level = level)
}

pub(super) fn level_max(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    a_level(loading, assignment, |log, level| log.level_max = level)
}

pub(super) fn facility(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let number = value::unsigned(&assignment.value).filter(|n| *n <= LAST_FACILITY);
    if let Some(number) = number {
        set(loading, |log| log.facility = Some(number as u8));
        return Outcome::Replaced;
    }
    super::typed::choice(loading, assignment, context, FACILITIES, |c, facility| {
        c.log.get_or_insert_default().facility = Some(facility);
    })
}

pub(super) fn prefix(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    super::typed::flag(loading, assignment, context, |c, wanted| {
        c.log.get_or_insert_default().no_level_prefix = !wanted;
    })
}

pub(super) fn interval(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    super::typed::span(loading, assignment, context, |c, us| {
        c.log.get_or_insert_default().rate_interval_us = Some(us);
    })
}

pub(super) fn burst(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    super::typed::number(loading, assignment, context, |c, lines| {
        c.log.get_or_insert_default().rate_burst = Some(lines);
    })
}

/// Whether it is FIELD=VALUE with a name that a unit may give.
fn is_field(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        name.len() <= LONGEST_NAME
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    })
}

pub(super) fn extra_fields(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let take = |field: String| match is_field(&field) {
        true => Ok(field.into_boxed_str()),
        false => Err(format!("{field:?} is not a valid FIELD=VALUE and is left out")),
    };
    list(loading, assignment, take, |config, field| {
        let Some(context) = context(config) else { return };
        let fields = &mut context.log.get_or_insert_default().extra_fields;
        match field {
            None => fields.clear(),
            Some(field) => fields.push(field),
        }
    })
}

/// A pattern is all of the value, blanks included; whether it is one is seen by who filters.
pub(super) fn filter_patterns(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let pattern = assignment.value.trim();
    if pattern == "~" {
        loading.note(assignment, "there is no pattern behind the ~; it is left out".into());
        return Outcome::Rejected;
    }
    set(loading, |log| match pattern {
        "" => log.filter_patterns.clear(),
        pattern if log.filter_patterns.iter().any(|known| **known == *pattern) => {}
        pattern => log.filter_patterns.push(pattern.into()),
    });
    if pattern.is_empty() { Outcome::Reset } else { Outcome::Added }
}
