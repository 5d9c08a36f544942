//! The syntax of unit files: sections, assignments, comments and continuation lines, with their places.
//!
//! Behaviour: systemd.syntax(7). It knows no directive and no section, resolves no quotes and no
//! specifiers, and opens no file.

use crate::{Diagnostic, Level, Place, Text, bytes, words::is_blank};
use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
    vec::Vec,
};

/// Longest line, in bytes, after continuation lines were joined.
pub const LINE_MAX: usize = 1 << 20;

/// A line `Key=value` of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment<'t> {
    /// The section it stands in.
    pub section: Cow<'t, str>,
    /// The directive.
    pub key: Cow<'t, str>,
    /// The value: continuation lines joined, white space around it removed, quotes still in place.
    pub value: Cow<'t, str>,
    /// Place of the key.
    pub place: Place,
    /// Column of the value in the key's line, from 1; that of the end of that line where the value begins
    /// in a continuation line.
    pub value_column: u32,
    /// Whether continuation lines were joined: columns of the value's words are then not those of the file.
    pub continued: bool,
}

impl Assignment<'_> {
    /// Place of the value.
    pub fn value_place(&self) -> Place {
        Place { column: self.value_column, ..self.place.clone() }
    }
}

/// Takes a file apart. What cannot be used becomes a diagnostic. Diagnostics of [`Level::Error`] are those
/// for which systemd gives up the file: nothing after such a line is returned.
pub fn parse<'t>(file: &Text, text: &'t str) -> (Vec<Assignment<'t>>, Vec<Diagnostic>) {
    let mut assignments = Vec::with_capacity(16);
    let diagnostics = each(file, text, &mut |assignment| {
        assignments.push(assignment);
        true
    });
    (assignments, diagnostics)
}

/// As [`parse`]: hands on each assignment when it is found, for as long as `take` wants more. What is wrong
/// behind the last one is told nevertheless.
pub fn each<'t>(file: &Text, text: &'t str, take: &mut dyn FnMut(Assignment<'t>) -> bool) -> Vec<Diagnostic> {
    let mut reader =
        Reader { file, section: None, outside_reported: false, take: Some(take), diagnostics: Vec::new() };
    reader.run(text.strip_prefix('\u{feff}').unwrap_or(text));
    reader.diagnostics
}

/// A line before continuation lines are joined.
struct Raw<'t> {
    text: &'t str,
    line: u32,
    /// Characters of the same line in front of it (after a lone carriage return or a NUL byte).
    indent: u32,
}

/// Splits at line feeds, carriage returns and NUL bytes, as systemd does; only line feeds count.
struct Lines<'t> {
    rest: &'t str,
    line: u32,
    indent: u32,
    returns: Option<u32>,
    zeros: Option<u32>,
    /// Nothing but line feeds ends a line.
    plain: bool,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Lines<'t> {
        // Block by block without a way out: so the compiler compares many bytes at once.
        let is_odd = |byte: u8| u8::from(byte == b'\r') | u8::from(byte == 0);
        let odd = |block: &[u8]| block.iter().fold(0, |odd, &byte| odd | is_odd(byte)) != 0;
        let plain = !text.as_bytes().chunks(256).any(odd);
        Lines { rest: text, line: 1, indent: 0, returns: None, zeros: None, plain }
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = Raw<'t>;

    fn next(&mut self) -> Option<Raw<'t>> {
        if self.rest.is_empty() {
            return None;
        }
        if self.plain {
            let (text, rest) = bytes::split_once(self.rest, b'\n').unwrap_or((self.rest, ""));
            let raw = Raw { text, line: self.line, indent: 0 };
            self.rest = rest;
            self.line += 1;
            return Some(raw);
        }
        let bytes = self.rest.as_bytes();
        let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r' | 0)).unwrap_or(bytes.len());
        let raw = Raw { text: &self.rest[..end], line: self.line, indent: self.indent };
        let mut after = end;
        match bytes.get(end) {
            Some(b'\r') => {
                self.returns.get_or_insert(self.line);
                after += 1;
            }
            Some(0) => {
                self.zeros.get_or_insert(self.line);
                after += 1;
            }
            _ => {}
        }
        if bytes.get(after) == Some(&b'\n') {
            after += 1;
            self.line += 1;
            self.indent = 0;
        } else {
            self.indent += chars(raw.text) + 1;
        }
        self.rest = &self.rest[after..];
        Some(raw)
    }
}

fn chars(text: &str) -> u32 {
    if text.is_ascii() { text.len() as u32 } else { text.chars().count() as u32 }
}

/// Whether the last character is a backslash that no other backslash takes away.
fn continues(line: &str) -> bool {
    line.as_bytes().last() == Some(&b'\\') && line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

struct Reader<'t, 'r> {
    file: &'r Text,
    /// The section, and whether there is one.
    section: Option<Cow<'t, str>>,
    outside_reported: bool,
    /// Who takes assignments; `None`: nobody wants more.
    take: Option<&'r mut dyn FnMut(Assignment<'t>) -> bool>,
    diagnostics: Vec<Diagnostic>,
}

impl<'t> Reader<'t, '_> {
    fn diagnose(
        &mut self,
        rule: &'static str,
        level: Level,
        line: u32,
        column: u32,
        message: String,
        fix: &str,
    ) {
        let place = Place { file: self.file.clone(), line, column };
        let fix = (!fix.is_empty()).then(|| fix.into());
        self.diagnostics.push(Diagnostic { rule, level, place, message, fix });
    }

    fn run(&mut self, text: &'t str) {
        let mut lines = Lines::new(text);
        while let Some(first) = lines.next() {
            if is_comment(first.text) {
                continue;
            }
            let mut logical = Cow::Borrowed(first.text);
            if continues(first.text) && !self.join(&mut logical, &mut lines) {
                let line = first.line;
                self.diagnose(
                    "continuation-at-end",
                    Level::Note,
                    line,
                    0,
                    "the file ends in the middle of a continued line".into(),
                    "remove the backslash at the end",
                );
            }
            if logical.len() > LINE_MAX {
                let message = format!("the line is longer than {LINE_MAX} bytes");
                self.diagnose("line-too-long", Level::Error, first.line, 0, message, "");
                break;
            }
            let goes_on = match logical {
                Cow::Borrowed(line) => self.line(&first, line, false, Cow::Borrowed),
                Cow::Owned(line) => self.line(&first, &line, true, |part| Cow::Owned(part.to_owned())),
            };
            if !goes_on {
                break;
            }
        }
        if let Some(line) = lines.returns {
            let message = "lines end in a carriage return".into();
            self.diagnose("carriage-return", Level::Note, line, 0, message, "save with Unix line ends");
        }
        if let Some(line) = lines.zeros {
            let message = "a NUL byte ends the line".into();
            self.diagnose("nul-byte", Level::Warning, line, 0, message, "remove it");
        }
    }

    /// Appends continuation lines; false where the file ends before the line does.
    fn join(&mut self, logical: &mut Cow<'_, str>, lines: &mut Lines<'_>) -> bool {
        let joined = logical.to_mut();
        joined.pop();
        joined.push(' ');
        for next in lines.by_ref() {
            if is_comment(next.text) {
                continue;
            }
            joined.push_str(next.text);
            if joined.len() > LINE_MAX || !continues(next.text) {
                return true;
            }
            joined.pop();
            joined.push(' ');
        }
        false
    }

    /// Takes one joined line; false where the rest of the file is to be given up.
    fn line<'l>(
        &mut self,
        first: &Raw<'_>,
        logical: &'l str,
        continued: bool,
        keep: impl Fn(&'l str) -> Cow<'t, str>,
    ) -> bool {
        let line = trim_start(logical);
        let column = first.indent + chars(&logical[..logical.len() - line.len()]).min(chars(first.text)) + 1;
        let line = trim_end(line);
        if line.is_empty() {
            return true;
        }
        if line.as_bytes()[0] == b'[' {
            let header = &line[1..];
            let Some(name) = header.strip_suffix(']') else {
                let message = format!("section header {} lacks its closing bracket", shown(line));
                let fix = if header.contains(']') { "nothing may follow the \"]\"" } else { "add \"]\"" };
                self.diagnose("section-header", Level::Error, first.line, column, message, fix);
                return false;
            };
            self.section = Some(keep(name));
            return true;
        }
        let Some(section) = &self.section else {
            if !self.outside_reported {
                self.outside_reported = true;
                let message = "assignment outside of a section is ignored".into();
                let fix = "put a section header such as [Unit] in front of it";
                self.diagnose("outside-section", Level::Warning, first.line, column, message, fix);
            }
            return true;
        };
        let Some(equals) = bytes::find(line.as_bytes(), b'=') else {
            let message = format!("{} has no \"=\" and is ignored", shown(line));
            let fix = "write Directive=value, or begin a comment with #";
            self.diagnose("no-assignment", Level::Warning, first.line, column, message, fix);
            return true;
        };
        let key = trim_end(&line[..equals]);
        if key.is_empty() {
            let message = "a line that begins with \"=\" is ignored".into();
            let fix = "write the name of a directive in front of it";
            self.diagnose("no-assignment", Level::Warning, first.line, column, message, fix);
            return true;
        }
        let value = trim_start(&line[equals + 1..]);
        let offset = value.as_ptr() as usize - logical.as_ptr() as usize;
        let value_column = if offset <= first.text.len() {
            first.indent + chars(&logical[..offset]) + 1
        } else {
            first.indent + chars(first.text) + 1
        };
        if let Some(take) = &mut self.take {
            let more = take(Assignment {
                section: section.clone(),
                key: keep(key),
                value: keep(value),
                place: Place { file: self.file.clone(), line: first.line, column },
                value_column,
                continued,
            });
            if !more {
                self.take = None;
            }
        }
        true
    }
}

fn trim_start(text: &str) -> &str {
    let blank = text.bytes().take_while(|&byte| is_blank(byte)).count();
    &text[blank..]
}

fn trim_end(text: &str) -> &str {
    let blank = text.bytes().rev().take_while(|&byte| is_blank(byte)).count();
    &text[..text.len() - blank]
}

fn is_comment(line: &str) -> bool {
    matches!(line.bytes().find(|&byte| !is_blank(byte)), Some(b'#' | b';'))
}

/// A piece of a file as messages quote it: short, on one line.
fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// Section, key, value, line, column, column of the value.
    type Found = (String, String, String, u32, u32, u32);

    fn read(text: &str) -> (Vec<Found>, Vec<String>) {
        let (assignments, diagnostics) = parse(&"f".into(), text);
        let assignments = assignments
            .into_iter()
            .map(|a| {
                let (line, column) = (a.place.line, a.place.column);
                (a.section.to_string(), a.key.to_string(), a.value.into_owned(), line, column, a.value_column)
            })
            .collect();
        (assignments, diagnostics.iter().map(ToString::to_string).collect())
    }

    fn one(text: &str) -> Found {
        let (mut assignments, diagnostics) = read(text);
        assert_eq!(diagnostics, Vec::<String>::new());
        assert_eq!(assignments.len(), 1, "{assignments:?}");
        assignments.remove(0)
    }

    #[test]
    fn the_example_of_the_man_page() {
        let text = "[Section C]\nKeyThree=value 3\\\n# this line is ignored\n\
                    ; this line is ignored too\n\x20      \
                    value 3 continued\n";
        let (_, key, value, line, column, value_column) = one(text);
        assert_eq!((key.as_str(), value.as_str()), ("KeyThree", "value 3        value 3 continued"));
        assert_eq!((line, column, value_column), (2, 1, 10));
    }

    #[test]
    fn continued_values_are_marked() {
        let (assignments, _) = parse(&"f".into(), "[A]\na=1\nb=2\\\n3\n");
        assert_eq!([assignments[0].continued, assignments[1].continued], [false, true]);
    }

    #[test]
    fn white_space_and_places() {
        let (section, key, value, line, column, value_column) =
            one("\n  [A b] \n\t Kéy \t=  v=1 \t\n# c\n ; d\n");
        assert_eq!((section.as_str(), key.as_str(), value.as_str()), ("A b", "Kéy", "v=1"));
        assert_eq!((line, column, value_column), (3, 3, 11));
    }

    #[test]
    fn continuation_ends_at_blank_line_and_at_even_backslashes() {
        assert_eq!(read("[A]\nk=a\\\n\nj=b\n").0.len(), 2);
        assert_eq!(one("[A]\nk=a\\\\\n").2, "a\\\\");
        assert_eq!(one("[A]\nk=\\\n  late\n"), ("A".into(), "k".into(), "late".into(), 2, 1, 4));
        let (assignments, diagnostics) = read("[A]\nk=a \\");
        assert_eq!(assignments[0].2, "a");
        assert!(diagnostics[0].contains("f:2: note: the file ends in the middle"), "{diagnostics:?}");
    }

    #[test]
    fn carriage_returns_marks_and_zeros() {
        let (assignments, diagnostics) = read("\u{feff}[A]\r\nk=a\r\nj=b\\\r\nc\r\n");
        assert_eq!(assignments.len(), 2);
        assert_eq!((assignments[0].2.as_str(), assignments[0].3), ("a", 2));
        assert_eq!((assignments[1].2.as_str(), assignments[1].3), ("b c", 3));
        assert_eq!(diagnostics, ["f:1: note: lines end in a carriage return (save with Unix line ends)"]);
        let (assignments, diagnostics) = read("[A]\nk=a\0j=b\n");
        assert_eq!((assignments[0].2.as_str(), assignments[1].2.as_str()), ("a", "b"));
        assert_eq!((assignments[1].3, assignments[1].4, assignments[1].5), (2, 5, 7));
        assert!(diagnostics[0].starts_with("f:2: warning: a NUL byte"));
    }

    #[test]
    fn broken_lines() {
        let (assignments, diagnostics) =
            read("a=b\nc=d\n[S]\nthis line is nothing\nEnvironment\n =value\nk=v\n");
        assert_eq!(assignments.len(), 1);
        assert_eq!(diagnostics.len(), 4, "{diagnostics:?}");
        assert!(diagnostics[0].starts_with("f:1:1: warning: assignment outside"));
        assert!(diagnostics[3].starts_with("f:6:2: warning: a line that begins with"));
        for (header, fix) in [("[Unit", "add \"]\""), ("[Unit] # x", "nothing may follow")] {
            let (assignments, diagnostics) = read(&format!("[A]\nk=1\n{header}\nk=2\n"));
            assert_eq!(assignments.len(), 1);
            assert!(diagnostics[0].starts_with("f:3:1: error: section header"), "{diagnostics:?}");
            assert!(diagnostics[0].contains(fix), "{diagnostics:?}");
        }
    }

    #[test]
    fn a_line_has_an_end() {
        let long = format!("[A]\nk={}\nj=1\n", "x".repeat(LINE_MAX));
        let (assignments, diagnostics) = read(&long);
        assert!(assignments.is_empty());
        assert_eq!(diagnostics, ["f:2: error: the line is longer than 1048576 bytes"]);
        let joined = format!("[A]\nk={}", "0123456\\\n".repeat(200_000));
        assert!(read(&joined).1[0].contains("longer than"));
    }
}
