//! Standard streams: StandardInput= and its kin; systemd.exec(5), "Logging and Standard Input/Output".
//! Nothing is opened here.

use super::{
    Loading, Outcome,
    typed::{bad_word, context, put},
};
use crate::{ExecConfig, config::Stdio, syntax::Assignment, value};
use alloc::{boxed::Box, format, vec::Vec};

/// Most bytes of StandardInputText= and StandardInputData=, as in systemd.
const DATA_MAX: usize = 64 << 20;

const INPUT: [&str; 9] =
    ["null", "tty", "tty-force", "tty-fail", "data", "file:PATH", "socket", "fd:NAME", "fd"];
const OUTPUT: [&str; 15] = [
    "inherit",
    "null",
    "tty",
    "journal",
    "kmsg",
    "syslog",
    "journal+console",
    "kmsg+console",
    "syslog+console",
    "file:PATH",
    "append:PATH",
    "truncate:PATH",
    "socket",
    "fd:NAME",
    "fd",
];

/// A stream of its path or name.
type Make = fn(Box<str>) -> Stdio;

/// Streams that have a path or a name behind a colon.
fn with_argument(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    make: Make,
    argument: &str,
    is_path: bool,
) -> Option<Stdio> {
    let expanded = loading.expand(assignment, argument)?;
    let fd_name = |name: &str| {
        (name.len() <= 255 && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b':'))
            .then(|| name.into())
    };
    let (argument, allowed) = match is_path {
        true => (value::absolute_path(&expanded), value::ABSOLUTE),
        false => (fd_name(&expanded), "the name of a file descriptor"),
    };
    match argument {
        Some(argument) => Some(make(argument.into())),
        None => {
            let message = format!("{}=: {expanded:?} is not {allowed}", assignment.key);
            loading.bad_value(assignment, message, None);
            None
        }
    }
}

fn parse(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    words: &'static [&'static str],
    fd: &str,
) -> Option<Stdio> {
    let text = &*assignment.value;
    if let Some((kind, argument)) = text.split_once(':') {
        let make: Option<(Make, bool)> = match kind {
            "file" => Some((Stdio::File, true)),
            "append" => Some((Stdio::Append, true)),
            "truncate" => Some((Stdio::Truncate, true)),
            "fd" => Some((Stdio::Fd, false)),
            _ => None,
        };
        let known = words.iter().any(|w| w.split_once(':').is_some_and(|(k, _)| k == kind));
        if let Some((make, is_path)) = make.filter(|_| known) {
            return with_argument(loading, assignment, make, argument, is_path);
        }
    } else if words.contains(&text) {
        return Some(match text {
            "inherit" => Stdio::Inherit,
            "null" => Stdio::Null,
            "tty" | "tty-force" | "tty-fail" => Stdio::Tty,
            "data" => Stdio::Data,
            "socket" => Stdio::Socket,
            "fd" => Stdio::Fd(fd.into()),
            "journal+console" | "syslog+console" => Stdio::JournalConsole,
            "kmsg" => Stdio::Kmsg,
            "kmsg+console" => Stdio::KmsgConsole,
            _ => Stdio::Journal,
        });
    }
    bad_word(loading, assignment, text, words.iter().copied());
    None
}

fn stream(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    words: &'static [&'static str],
    fd: &str,
    set: fn(&mut ExecConfig, Stdio),
) -> Outcome {
    match parse(loading, assignment, words, fd) {
        Some(stdio) => {
            put(loading, context, |c| set(c, stdio));
            Outcome::Replaced
        }
        None => Outcome::Rejected,
    }
}

pub(super) fn input(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    stream(loading, assignment, &INPUT, "stdin", |c, v| c.stdin = v)
}

pub(super) fn output(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    stream(loading, assignment, &OUTPUT, "stdout", |c, v| c.stdout = v)
}

pub(super) fn error(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    stream(loading, assignment, &OUTPUT, "stderr", |c, v| c.stderr = v)
}

fn append(loading: &mut Loading<'_>, assignment: &Assignment, bytes: &[u8]) -> Outcome {
    let held = context(loading.config).map_or(0, |c| c.stdin_data.len());
    if held + bytes.len() > DATA_MAX {
        let message = format!("{}=: more than {DATA_MAX} bytes for standard input", assignment.key);
        loading.bad_value(assignment, message, None);
        return Outcome::Rejected;
    }
    put(loading, context, |c| c.stdin_data.extend_from_slice(bytes));
    Outcome::Added
}

fn empty(loading: &mut Loading<'_>) -> Outcome {
    put(loading, context, |c| c.stdin_data.clear());
    loading.forget(|name| name == "StandardInputText" || name == "StandardInputData");
    Outcome::Reset
}

/// A line of text; C escapes and specifiers are resolved.
pub(super) fn input_text(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        return empty(loading);
    }
    let Some(text) = unescaped(&assignment.value) else {
        let message = format!("{}=: a backslash begins no known escape sequence", assignment.key);
        loading.bad_value(assignment, message, None);
        return Outcome::Rejected;
    };
    let Some(text) = loading.expand(assignment, &text) else {
        return Outcome::Rejected;
    };
    let mut text = text.into_owned();
    text.push('\n');
    append(loading, assignment, text.as_bytes())
}

/// The text as one word, blanks and quotes kept: they are doubly escaped for the splitter of words.
fn unescaped(text: &str) -> Option<alloc::string::String> {
    let mut word = alloc::string::String::with_capacity(text.len() + 8);
    let mut escaped = false;
    for c in text.chars() {
        // A blank or a quotation mark would end a word or begin a quote; as an escape it does neither.
        match (escaped, c) {
            (false, ' ') => word.push_str("\\s"),
            (false, '\t') => word.push_str("\\t"),
            (false, '\n') => word.push_str("\\n"),
            (false, '\r') => word.push_str("\\r"),
            (false, '"') => word.push_str("\\\""),
            (false, '\'') => word.push_str("\\'"),
            _ => word.push(c),
        }
        escaped = !escaped && c == '\\';
    }
    let (mut words, error) = crate::words::split(&word);
    match (words.pop(), error) {
        (Some(word), None) if words.is_empty() => Some(word.text.into_owned()),
        _ => None,
    }
}

pub(super) fn input_data(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        return empty(loading);
    }
    match base64(&assignment.value) {
        Some(bytes) => append(loading, assignment, &bytes),
        None => {
            loading.bad_value(assignment, format!("{}= takes data in Base64", assignment.key), None);
            Outcome::Rejected
        }
    }
}

/// Base64 with its padding, blanks anywhere; RFC 4648.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0u32, 0, 0);
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                0
            }
            _ => return None,
        };
        if byte != b'=' && padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count % 4 == 0 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    if count % 4 != 0 || padding > 2 {
        return None;
    }
    bytes.truncate(bytes.len() - padding);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_with_padding() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("Zm9v YmFy", b"foobar")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        for bad in ["Z", "Zg=", "Zg", "Zg==Zg==", "====", "Zm9%"] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn text_keeps_blanks_and_quotes() {
        for (text, result) in [
            ("a  b", "a  b"),
            ("it's \"x\"", "it's \"x\""),
            (r"a\tb", "a\tb"),
            (r"a\\ b", "a\\ b"),
            ("é", "é"),
        ] {
            assert_eq!(unescaped(text).as_deref(), Some(result), "{text}");
        }
        assert_eq!(unescaped(r"a\q"), None);
        assert_eq!(unescaped("a\\"), None);
    }
}
