//! How typed fields are filled: check the value, say what is wrong with it, set the field.
//!
//! Each function takes the assignment, the part of the configuration that holds the field, and what to do
//! with the value. Kinds that are loaded without a typed part get the check alone. Nothing here knows a
//! directive by name.

use super::{Loading, Outcome, nearest};
use crate::{
    Config, ExecConfig, KillConfig, Kind, Level, ServiceConfig, SocketConfig, SourceRole, UnitName,
    config::{Command, INFINITY, PathConfig, ResourceConfig, ScopeConfig, TimerConfig},
    syntax::Assignment,
    value,
    words::Word,
};
use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};

/// The part of a configuration that a field lies in; `None` where the unit has no such part.
pub(crate) type Part<T> = fn(&mut Config) -> Option<&mut T>;

pub(crate) fn unit(config: &mut Config) -> Option<&mut Config> {
    Some(config)
}

pub(crate) fn service(config: &mut Config) -> Option<&mut ServiceConfig> {
    match &mut config.kind {
        Kind::Service(service) => Some(Arc::make_mut(service)),
        _ => None,
    }
}

pub(crate) fn socket(config: &mut Config) -> Option<&mut SocketConfig> {
    match &mut config.kind {
        Kind::Socket(socket) => Some(socket),
        _ => None,
    }
}

pub(crate) fn timer(config: &mut Config) -> Option<&mut TimerConfig> {
    match &mut config.kind {
        Kind::Timer(timer) => Some(timer),
        _ => None,
    }
}

pub(crate) fn path_unit(config: &mut Config) -> Option<&mut PathConfig> {
    match &mut config.kind {
        Kind::Path(path) => Some(path),
        _ => None,
    }
}

pub(crate) fn scope(config: &mut Config) -> Option<&mut ScopeConfig> {
    match &mut config.kind {
        Kind::Scope(scope) => Some(scope),
        _ => None,
    }
}

pub(crate) fn context(config: &mut Config) -> Option<&mut ExecConfig> {
    match &mut config.kind {
        Kind::Service(service) => Some(&mut Arc::make_mut(service).context),
        Kind::Socket(socket) => Some(&mut socket.context),
        Kind::Mount(mount) => Some(&mut mount.context),
        Kind::Swap(swap) => Some(&mut swap.context),
        _ => None,
    }
}

pub(crate) fn kill(config: &mut Config) -> Option<&mut KillConfig> {
    match &mut config.kind {
        Kind::Service(service) => Some(&mut Arc::make_mut(service).kill),
        Kind::Socket(socket) => Some(&mut socket.kill),
        Kind::Mount(mount) => Some(&mut mount.kill),
        Kind::Swap(swap) => Some(&mut swap.kill),
        Kind::Scope(scope) => Some(&mut scope.kill),
        _ => None,
    }
}

pub(crate) fn resources(config: &mut Config) -> Option<&mut ResourceConfig> {
    match &mut config.kind {
        Kind::Service(service) => Some(&mut Arc::make_mut(service).resources),
        Kind::Socket(socket) => Some(&mut socket.resources),
        Kind::Mount(mount) => Some(&mut mount.resources),
        Kind::Swap(swap) => Some(&mut swap.resources),
        Kind::Slice(resources) => Some(resources),
        Kind::Scope(scope) => Some(&mut scope.resources),
        _ => None,
    }
}

/// Sets the field, where the unit has this part.
pub(crate) fn put<T>(loading: &mut Loading<'_>, part: Part<T>, set: impl FnOnce(&mut T)) {
    if let Some(part) = part(loading.config) {
        set(part);
    }
}

/// A value that one function parses.
pub(crate) fn parsed<T, V>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    (parse, allowed): (impl Fn(&str) -> Option<V>, &str),
    set: impl FnOnce(&mut T, V),
) -> Outcome {
    match parse(&assignment.value) {
        Some(value) => {
            put(loading, part, |p| set(p, value));
            Outcome::Replaced
        }
        None => {
            loading.bad_value(assignment, format!("{}= takes {allowed}", assignment.key), None);
            Outcome::Rejected
        }
    }
}

/// As [`parsed`]; an empty value sets `None`.
pub(crate) fn optional<T, V>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    parser: (impl Fn(&str) -> Option<V>, &str),
    set: impl FnOnce(&mut T, Option<V>),
) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, part, |p| set(p, None));
        return Outcome::Reset;
    }
    parsed(loading, assignment, part, parser, |p, v| set(p, Some(v)))
}

/// A boolean.
pub(crate) fn flag<T>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    set: impl FnOnce(&mut T, bool),
) -> Outcome {
    parsed(loading, assignment, part, (value::boolean, value::BOOLEAN), set)
}

/// A time span; bare numbers are seconds.
pub(crate) fn span<T>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    set: impl FnOnce(&mut T, u64),
) -> Outcome {
    let parse = |text: &str| value::span(text, value::SECOND_US);
    parsed(loading, assignment, part, (parse, value::SPAN), set)
}

/// A time span whose 0 means "never".
pub(crate) fn timeout<T>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    set: impl FnOnce(&mut T, u64),
) -> Outcome {
    span(loading, assignment, part, |p, us| set(p, if us == 0 { INFINITY } else { us }))
}

/// A number of 32 bits.
pub(crate) fn number<T>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    set: impl FnOnce(&mut T, u32),
) -> Outcome {
    let parse = |text: &str| value::unsigned(text).and_then(|n| u32::try_from(n).ok());
    parsed(loading, assignment, part, (parse, "a number from 0 to 4294967295"), set)
}

/// One word of a table.
pub(crate) fn choice<T, V: Copy>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    table: &[(&'static str, V)],
    set: impl FnOnce(&mut T, V),
) -> Outcome {
    let text = &*assignment.value;
    match value::word(text, table) {
        Some(value) => {
            put(loading, part, |p| set(p, value));
            Outcome::Replaced
        }
        None => {
            bad_word(loading, assignment, text, table.iter().map(|(word, _)| *word));
            Outcome::Rejected
        }
    }
}

/// Checks that the text is one of the words.
pub(crate) fn one_word(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    text: &str,
    words: &[&'static str],
) -> Option<&'static str> {
    let found = words.iter().copied().find(|w| *w == text);
    if found.is_none() {
        bad_word(loading, assignment, text, words.iter().copied());
    }
    found
}

/// Says that the text is none of the words, with the nearest one.
pub(crate) fn bad_word(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    text: &str,
    words: impl Iterator<Item = &'static str> + Clone,
) {
    let fix = nearest(text, words.clone()).map(|n| format!("did you mean {n}?"));
    let message = format!("{}= takes {}, not {text:?}", assignment.key, value::one_of(words));
    loading.bad_value(assignment, message, fix);
}

/// A text with specifiers; an empty one sets `None`.
pub(crate) fn text<T>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    set: impl FnOnce(&mut T, Option<Box<str>>),
) -> Outcome {
    checked_text(loading, assignment, part, (|_| true, ""), set)
}

/// As [`text`], with a check of the expanded text.
pub(crate) fn checked_text<T>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    (fits, allowed): (fn(&str) -> bool, &str),
    set: impl FnOnce(&mut T, Option<Box<str>>),
) -> Outcome {
    if assignment.value.is_empty() {
        put(loading, part, |p| set(p, None));
        return Outcome::Reset;
    }
    let Some(expanded) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    if !fits(&expanded) {
        let message = format!("{}= takes {allowed}, not {expanded:?}", assignment.key);
        loading.bad_value(assignment, message, None);
        return Outcome::Rejected;
    }
    put(loading, part, |p| set(p, Some(Box::from(&*expanded))));
    Outcome::Replaced
}

/// An absolute path with specifiers; an empty value sets `None`.
pub(crate) fn path<T>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    part: Part<T>,
    set: impl FnOnce(&mut T, Option<Box<str>>),
) -> Outcome {
    let set = |p: &mut T, path: Option<Box<str>>| set(p, path.map(|path| value::simplify(&path).into()));
    let fits = |text: &str| value::absolute_path(text).is_some();
    checked_text(loading, assignment, part, (fits, value::ABSOLUTE), set)
}

/// The words of the value with their quotes removed; unbalanced quotes give a diagnostic and end them.
pub(crate) fn split<'v>(loading: &mut Loading<'_>, assignment: &'v Assignment) -> Vec<Word<'v>> {
    let (words, error) = crate::words::split(&assignment.value);
    if let Some(error) = error {
        loading.bad_value(assignment, format!("{}=: {error}", assignment.key), None);
    }
    words
}

/// A list of words with specifiers: each that passes `take` is added, an empty value removes all. `take`
/// gives what is wrong with a word.
pub(crate) fn list<V>(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    take: impl Fn(String) -> Result<V, String>,
    mut set: impl FnMut(&mut Config, Option<V>),
) -> Outcome {
    if assignment.value.is_empty() {
        set(loading.config, None);
        return Outcome::Reset;
    }
    let mut taken = false;
    for word in split(loading, assignment) {
        let Some(expanded) = loading.expand(assignment, &word.text) else {
            continue;
        };
        match take(expanded.into_owned()) {
            Ok(value) => {
                set(loading.config, Some(value));
                taken = true;
            }
            Err(wrong) => {
                let column = loading.column_of(assignment, &word);
                loading.bad_value_at(assignment, column, format!("{}=: {wrong}", assignment.key), None);
            }
        }
    }
    if taken { Outcome::Added } else { Outcome::Rejected }
}

/// Adds to a list of texts, or empties it.
pub(crate) fn extend<V>(to: &mut Vec<V>, value: Option<V>) {
    match value {
        Some(value) => to.push(value),
        None => to.clear(),
    }
}

/// Names of units in a list; those that are none give a diagnostic.
pub(crate) fn unit_names(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    mut add: impl FnMut(&mut Loading<'_>, UnitName),
) -> Outcome {
    let mut taken = false;
    let (words, error) = crate::words::split_names(&assignment.value);
    if let Some(error) = error {
        loading.bad_value(assignment, format!("{}=: {error}", assignment.key), None);
    }
    for word in words {
        let Some(name) = loading.expand(assignment, &word.text) else {
            continue;
        };
        let column = loading.column_of(assignment, &word);
        if let Some(name) = unit_name(loading, assignment, column, &name) {
            add(loading, name);
            taken = true;
        }
    }
    if taken { Outcome::Added } else { Outcome::Rejected }
}

/// The name of a unit; a template stands for its instance of this unit's instance, or else prefix.
pub(crate) fn unit_name(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    column: u32,
    name: &str,
) -> Option<UnitName> {
    let wrong = match UnitName::new(name) {
        Some(unit) if unit.is_template() => {
            let instance = loading.unit.instance().unwrap_or(loading.unit.prefix());
            match unit.with_instance(instance) {
                Some(unit) => return Some(unit),
                None => "is a template without an instance",
            }
        }
        Some(unit) => return Some(unit),
        None if name.contains('.') => "is not the name of a unit",
        None => "is not the name of a unit; it lacks a suffix such as .service",
    };
    loading.bad_value_at(assignment, column, format!("{}=: {name:?} {wrong}", assignment.key), None);
    None
}

/// A single unit of certain kinds, with specifiers.
pub(crate) fn single_unit(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    fits: fn(&UnitName) -> bool,
    allowed: &str,
) -> Option<UnitName> {
    let name = loading.expand(assignment, &assignment.value)?;
    let unit = unit_name(loading, assignment, assignment.value_column, &name)?;
    if !fits(&unit) {
        let message = format!("{}= takes {allowed}, not {name:?}", assignment.key);
        loading.bad_value(assignment, message, None);
        return None;
    }
    Some(unit)
}

/// Command lines; an empty value removes all of the list.
pub(crate) fn commands(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    list: impl Fn(&mut Config) -> Option<&mut Vec<Command>>,
) -> Outcome {
    if assignment.value.is_empty() {
        if let Some(list) = list(loading.config) {
            list.clear();
        }
        return Outcome::Reset;
    }
    let place = assignment.value_place();
    let (unit, environs, source) = (loading.unit, loading.environs, loading.source);
    let fragment = loading.config.sources.iter().find(|s| s.role == SourceRole::Fragment);
    let fragment = fragment.map(|s| &*s.path);
    let mut specify = |text: &str| crate::specifier::expand_in(text, unit, environs, fragment);
    let (commands, diagnostics) = crate::exec_line::parse(&assignment.value, (&place, source), &mut specify);
    loading.config.diagnostics.extend(diagnostics);
    if commands.is_empty() {
        return Outcome::Rejected;
    }
    if let Some(list) = list(loading.config) {
        if list.is_empty() {
            list.reserve_exact(commands.len());
        }
        list.extend(commands);
    }
    Outcome::Added
}

impl Loading<'_> {
    /// Forgets the settings of the directives of these names: some lists are emptied by any of several.
    pub(crate) fn forget(&mut self, of: impl Fn(&str) -> bool) {
        self.config.settings.retain(|s| !of(super::name_of(s.row)));
    }

    /// The column of a word of the value, in the file; of the whole value where it spans lines.
    pub(crate) fn column_of(&self, assignment: &Assignment, word: &Word<'_>) -> u32 {
        match assignment.continued {
            true => assignment.value_column,
            false => assignment.value_column.saturating_add(word.column.saturating_sub(1)),
        }
    }

    /// Notes that a value is taken and has no effect here.
    pub(crate) fn note(&mut self, assignment: &Assignment, message: String) {
        let place = assignment.value_place();
        self.diagnose("no-effect", Level::Note, place, message, None);
    }
}
