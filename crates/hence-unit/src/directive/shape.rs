//! What the text of a directive without a typed field must look like. It changes no configuration but
//! the list of directives that are not applied.

use super::{Loading, Outcome, typed};
use crate::{
    limits::{self, PerDevice},
    syntax::Assignment,
    value::{self, Allowed},
};
use alloc::format;

/// The form of a value that is kept as text.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any text; a later one replaces it.
    Text,
    /// As `Text`; an empty value means the default.
    TextOrDefault,
    /// Any text; each assignment adds, an empty one removes all.
    List,
    /// A boolean.
    Boolean,
    /// A boolean or one of these words.
    BooleanOr(&'static [&'static str]),
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these words, and never empty.
    Word(&'static [&'static str]),
    /// Some of these words; empty removes all.
    WordList(&'static [&'static str]),
    /// A time span, bare numbers are seconds.
    Span,
    /// As `Span`; an empty value means the default.
    SpanOrDefault,
    /// A time span, bare numbers are nanoseconds.
    SpanNs,
    /// A size in bytes.
    Size,
    /// A limit of memory.
    MemoryLimit,
    /// A percentage.
    Share,
    /// A number from 0 up to this.
    Unsigned(u64),
    /// A number from 0 up to this, or the word.
    UnsignedOr(u64, &'static str),
    /// A number from 0 up to this, or one of the words.
    UnsignedOrWords(u64, &'static [&'static str]),
    /// A number within these bounds, both included.
    Between(i64, i64),
    /// A number within these bounds, both included, or the word.
    BetweenOr(u64, u64, &'static str),
    /// A file mode.
    Mode,
    /// A signal.
    Signal,
    /// An absolute path; specifiers are expanded.
    Path,
    /// The name of a network interface, `*` for all; empty means the default.
    Interface,
    /// Numbers and ranges of them; each assignment adds, an empty one removes all.
    Numbers,
    /// A device and what holds for it; each assignment adds, an empty one removes all.
    PerDevice(PerDevice),
    /// Absolute paths, `-` and `+` may stand before them; empty removes all.
    Paths,
}

impl Shape {
    /// Whether assignments add up.
    pub const fn is_list(self) -> bool {
        matches!(self, Shape::List | Shape::WordList(_) | Shape::Paths | Shape::Numbers | Shape::PerDevice(_))
    }

    /// Whether an empty value means "as if not given".
    pub const fn empty_resets(self) -> bool {
        self.is_list()
            || matches!(
                self,
                Shape::TextOrDefault
                    | Shape::Interface
                    | Shape::Path
                    | Shape::MemoryLimit
                    | Shape::Words(_)
                    | Shape::UnsignedOr(..)
                    | Shape::UnsignedOrWords(..)
                    | Shape::Between(..)
                    | Shape::BetweenOr(..)
                    | Shape::SpanOrDefault
            )
    }

    /// Checks a value, with a `bad-value` diagnostic where it does not fit.
    pub(crate) fn check(self, loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
        let text = &*assignment.value;
        if text.is_empty() && self.empty_resets() {
            return Outcome::Reset;
        }
        let fits = match self {
            Shape::Text | Shape::TextOrDefault | Shape::List => return self.taken(),
            Shape::Words(words) | Shape::Word(words) => {
                return self.outcome(typed::one_word(loading, assignment, text, words).is_some());
            }
            Shape::WordList(words) => {
                let (split, error) = crate::words::split(text);
                if let Some(error) = &error {
                    loading.bad_value(assignment, format!("{}=: {error}", assignment.key), None);
                }
                let mut ok = error.is_none();
                for word in &split {
                    ok &= typed::one_word(loading, assignment, word.text.trim_start_matches('~'), words)
                        .is_some();
                }
                return self.outcome(ok);
            }
            Shape::BooleanOr(words) => {
                if value::boolean(text).is_some() {
                    return self.taken();
                }
                return self.outcome(typed::one_word(loading, assignment, text, words).is_some());
            }
            Shape::Path => match loading.expand(assignment, text) {
                Some(path) => value::absolute_path(&path).is_some(),
                None => return Outcome::Rejected,
            },
            Shape::Paths => return self.outcome(paths(loading, assignment)),
            Shape::Interface => text == "*" || is_interface(text),
            Shape::Numbers => limits::numbers(text).is_some(),
            Shape::PerDevice(kind) => match loading.expand(assignment, text) {
                Some(text) => kind.parse(&text).is_some(),
                None => return Outcome::Rejected,
            },
            Shape::Boolean => value::boolean(text).is_some(),
            Shape::Span | Shape::SpanOrDefault => value::span(text, value::SECOND_US).is_some(),
            Shape::SpanNs => value::span_ns(text).is_some(),
            Shape::Size => text == "infinity" || value::size(text).is_some(),
            Shape::MemoryLimit => value::memory_limit(text).is_some(),
            Shape::Share => value::share(text).is_some(),
            Shape::Unsigned(most) => value::unsigned(text).is_some_and(|n| n <= most),
            Shape::UnsignedOr(most, word) => text == word || value::unsigned(text).is_some_and(|n| n <= most),
            Shape::UnsignedOrWords(most, words) => {
                words.contains(&text) || value::unsigned(text).is_some_and(|n| n <= most)
            }
            Shape::Between(least, most) => value::signed(text).is_some_and(|n| (least..=most).contains(&n)),
            Shape::BetweenOr(least, most, word) => {
                text == word || value::unsigned(text).is_some_and(|n| (least..=most).contains(&n))
            }
            Shape::Mode => value::mode(text).is_some(),
            Shape::Signal => value::signal(text).is_some(),
        };
        if !fits {
            let message = format!("{}= takes {}", assignment.key, self.allowed());
            let fix = matches!(self, Shape::Interface).then(|| "`ip link` lists those that are there".into());
            loading.bad_value(assignment, message, fix);
        }
        self.outcome(fits)
    }

    fn taken(self) -> Outcome {
        if self.is_list() { Outcome::Added } else { Outcome::Replaced }
    }

    fn outcome(self, fits: bool) -> Outcome {
        if fits { self.taken() } else { Outcome::Rejected }
    }

    /// What it takes, to complete a sentence.
    pub fn allowed(self) -> alloc::borrow::Cow<'static, str> {
        let fixed: Allowed = match self {
            Shape::Text | Shape::TextOrDefault => "a text",
            Shape::List => "a list",
            Shape::Interface => INTERFACE,
            Shape::Numbers => "numbers and ranges of them, such as 0-3",
            Shape::PerDevice(kind) => kind.allowed(),
            Shape::Boolean => value::BOOLEAN,
            Shape::Span | Shape::SpanOrDefault | Shape::SpanNs => value::SPAN,
            Shape::Size => value::SIZE,
            Shape::MemoryLimit => value::MEMORY_LIMIT,
            Shape::Share => value::SHARE,
            Shape::Mode => value::MODE,
            Shape::Signal => value::SIGNAL,
            Shape::Path | Shape::Paths => value::ABSOLUTE,
            Shape::Words(words) | Shape::Word(words) | Shape::WordList(words) => {
                return value::one_of(words.iter().copied()).into();
            }
            Shape::BooleanOr(words) => {
                return format!("a boolean or {}", value::one_of(words.iter().copied())).into();
            }
            Shape::Unsigned(u64::MAX) => "a number",
            Shape::Unsigned(most) => return format!("a number from 0 to {most}").into(),
            Shape::UnsignedOr(most, word) => return format!("a number up to {most}, or {word}").into(),
            Shape::UnsignedOrWords(most, words) => {
                let words = value::one_of(words.iter().copied());
                return format!("a number up to {most}, or {words}").into();
            }
            Shape::Between(least, most) => return format!("a number from {least} to {most}").into(),
            Shape::BetweenOr(least, most, word) => {
                return format!("a number from {least} to {most}, or {word}").into();
            }
        };
        fixed.into()
    }
}

const INTERFACE: &str =
    "the name of a network interface: 1 to 15 bytes, not digits alone, without blanks and / : %";

/// Whether an interface can have this name.
fn is_interface(name: &str) -> bool {
    const LONGEST: usize = 15;
    let refused = [".", "..", "all", "default"];
    (1..=LONGEST).contains(&name.len())
        && !refused.contains(&name)
        && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'))
        && !name.bytes().all(|b| b.is_ascii_digit())
}

fn paths(loading: &mut Loading<'_>, assignment: &Assignment) -> bool {
    let mut ok = true;
    let (words, _) = crate::words::split(&assignment.value);
    for word in &words {
        let Some(text) = loading.expand(assignment, &word.text) else {
            return false;
        };
        let path = text.trim_start_matches(['-', '+']);
        // Options and targets follow a colon in some of them: BindPaths=, RootImage=.
        let path = path.split(':').next().unwrap_or(path);
        if value::absolute_path(path).is_none() {
            let message = format!("{}= takes {}, not {path:?}", assignment.key, value::ABSOLUTE);
            let column = loading.column_of(assignment, word);
            loading.bad_value_at(assignment, column, message, None);
            ok = false;
        }
    }
    ok
}

/// Keeps the list of directives that should change the process and don't.
pub(crate) fn not_applied(
    loading: &mut Loading<'_>,
    name: &'static str,
    default: &str,
    value: &str,
    outcome: Outcome,
) {
    let Some(context) = typed::context(loading.config) else {
        return;
    };
    let same = |a: &str, b: &str| a == b || value::boolean(a).is_some_and(|x| value::boolean(b) == Some(x));
    match outcome {
        Outcome::Rejected => {}
        Outcome::Reset => context.not_applied.retain(|n| *n != name),
        Outcome::Replaced if same(value, default) => context.not_applied.retain(|n| *n != name),
        Outcome::Replaced | Outcome::Added => {
            if !context.not_applied.contains(&name) {
                context.not_applied.push(name);
            }
        }
    }
}
