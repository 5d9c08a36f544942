//! What a unit sees of the files of the machine, and what of them it may change: PrivateTmp=,
//! ProtectSystem=, ProtectHome= and lists of paths.

use super::{
    Loading, Outcome, Shape,
    typed::{context, extend, list, put},
};
use crate::{config::Protection, syntax::Assignment, value};
use alloc::{boxed::Box, format, string::String, vec::Vec};

fn boxed(context: &mut crate::ExecConfig) -> &mut Protection {
    context.protection.get_or_insert_default()
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
    put(loading, context, |c| {
        if degree > 0 || c.protection.is_some() {
            set(boxed(c), degree);
        }
    });
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
