//! Values taken apart into words: quotes and C escapes, systemd.syntax(7), "Quoting".
//!
//! It expands neither specifiers nor variables, and knows no directive.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

/// A word of a value, quotes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'v> {
    /// Its text.
    pub text: Cow<'v, str>,
    /// Where it begins in the value: characters, from 1.
    pub column: u32,
}

/// Why a value can't be taken apart any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordErrorKind {
    /// A quotation mark lacks its partner.
    OpenQuote,
    /// A backslash begins no known escape.
    UnknownEscape,
    /// Nothing follows a backslash.
    BackslashAtEnd,
    /// The escapes give bytes that are no UTF-8.
    NotUtf8,
}

/// A word that isn't one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordError {
    /// What is wrong.
    pub kind: WordErrorKind,
    /// Where in the value: characters, from 1.
    pub column: u32,
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            WordErrorKind::OpenQuote => "a quotation mark is not closed",
            WordErrorKind::UnknownEscape => "a backslash begins no known escape sequence",
            WordErrorKind::BackslashAtEnd => "nothing follows the last backslash",
            WordErrorKind::NotUtf8 => "the escape sequences are no valid UTF-8",
        })
    }
}

/// What a backslash means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// A C escape; an unknown one is an error.
    Resolve,
    /// A C escape; an unknown one stays as it is written.
    Relaxed,
    /// Itself: unit names hold `\x2d` as it is written.
    Retain,
    /// The next character is taken as it is.
    Quote,
}

/// The words of a value with its C escapes resolved, as lists and Environment= have them. In front of an
/// error stand the words that precede it.
pub fn split(value: &str) -> (Vec<Word<'_>>, Option<WordError>) {
    split_with(value, Escapes::Resolve)
}

/// The words of a list of unit names, URIs or the like, whose backslashes are a part of them.
pub fn split_names(value: &str) -> (Vec<Word<'_>>, Option<WordError>) {
    split_with(value, Escapes::Retain)
}

/// The words of a value.
pub fn split_with(value: &str, escapes: Escapes) -> (Vec<Word<'_>>, Option<WordError>) {
    let mut words = Vec::new();
    let mut at = 0;
    // Counts forward, so that columns cost one pass over the value.
    let (mut column, mut counted) = (1, 0);
    loop {
        match next(value, &mut at, escapes, false) {
            Ok(Some((start, text))) => {
                column += value[counted..start].chars().count() as u32;
                counted = start;
                words.push(Word { text, column });
            }
            Ok(None) => return (words, None),
            Err((kind, offset)) => {
                let column = value[..offset].chars().count() as u32 + 1;
                return (words, Some(WordError { kind, column }));
            }
        }
    }
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Bytes that end a word or begin something in it: blanks, quotation marks and backslashes.
const MARKS: [bool; 256] = {
    let mut marks = [false; 256];
    let bytes = b" \t\n\r\"'\\";
    let mut i = 0;
    while i < bytes.len() {
        marks[bytes[i] as usize] = true;
        i += 1;
    }
    marks
};

/// Steps over white space.
pub(crate) fn skip_blank(value: &str, at: &mut usize) {
    *at += value.as_bytes()[*at..].iter().take_while(|&&b| is_blank(b)).count();
}

/// A failure and its byte offset.
pub(crate) type Failure = (WordErrorKind, usize);

/// The word at `at` with the offset where it begins, `None` at the end. `at` moves behind it and the white
/// space that follows. With `lenient`, open quotes and a trailing backslash end with the value.
pub(crate) fn next<'v>(
    value: &'v str,
    at: &mut usize,
    escapes: Escapes,
    lenient: bool,
) -> Result<Option<(usize, Cow<'v, str>)>, Failure> {
    skip_blank(value, at);
    let bytes = value.as_bytes();
    let start = *at;
    if start == bytes.len() {
        return Ok(None);
    }
    let plain = bytes[start..].iter().position(|&b| MARKS[usize::from(b)]);
    let plain = plain.map_or(bytes.len(), |n| start + n);
    if plain == bytes.len() || is_blank(bytes[plain]) {
        *at = plain;
        skip_blank(value, at);
        return Ok(Some((start, Cow::Borrowed(&value[start..plain]))));
    }
    let mut word = Vec::from(&bytes[start..plain]);
    let mut i = plain;
    let mut quote = None;
    while let Some(&byte) = bytes.get(i) {
        match (byte, quote) {
            (b'\\', _) if escapes != Escapes::Retain => i += escape(value, i, &mut word, escapes, lenient)?,
            (_, Some((mark, _))) if byte == mark => {
                quote = None;
                i += 1;
            }
            (b'"' | b'\'', None) => {
                quote = Some((byte, i));
                i += 1;
            }
            (_, None) if is_blank(byte) => break,
            _ => {
                word.push(byte);
                i += 1;
            }
        }
    }
    if let Some((_, offset)) = quote
        && !lenient
    {
        return Err((WordErrorKind::OpenQuote, offset));
    }
    *at = i;
    skip_blank(value, at);
    match String::from_utf8(word) {
        Ok(word) => Ok(Some((start, Cow::Owned(word)))),
        Err(_) => Err((WordErrorKind::NotUtf8, start)),
    }
}

/// Takes the escape at `i` and tells its length.
fn escape(
    value: &str,
    i: usize,
    word: &mut Vec<u8>,
    escapes: Escapes,
    lenient: bool,
) -> Result<usize, Failure> {
    let after = &value[i + 1..];
    let Some(first) = after.chars().next() else {
        return match (escapes, lenient) {
            (Escapes::Relaxed, _) => {
                word.push(b'\\');
                Ok(1)
            }
            (_, true) => Ok(1),
            (_, false) => Err((WordErrorKind::BackslashAtEnd, i)),
        };
    };
    let literal = first.len_utf8();
    if escapes != Escapes::Quote {
        if let Some(length) = resolve(after, word) {
            return Ok(1 + length);
        }
        if escapes == Escapes::Resolve {
            return Err((WordErrorKind::UnknownEscape, i));
        }
        word.push(b'\\');
    }
    word.extend_from_slice(&after.as_bytes()[..literal]);
    Ok(1 + literal)
}

/// Resolves what follows a backslash; the number of bytes taken, `None` where it is no escape. Escapes for
/// a NUL byte are none.
pub(crate) fn resolve(after: &str, word: &mut Vec<u8>) -> Option<usize> {
    let bytes = after.as_bytes();
    let single = match bytes[0] {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b's' => b' ',
        mark @ (b'\\' | b'"' | b'\'') => mark,
        b'x' => {
            let byte = number(after, 1, 2, 16)?;
            word.push(u8::try_from(byte).ok()?);
            return Some(3);
        }
        b'0'..=b'7' => {
            let byte = number(after, 0, 3, 8)?;
            word.push(u8::try_from(byte).ok()?);
            return Some(3);
        }
        length @ (b'u' | b'U') => {
            let digits = if length == b'u' { 4 } else { 8 };
            let c = char::from_u32(number(after, 1, digits, 16)?)?;
            word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(1 + digits);
        }
        _ => return None,
    };
    word.push(single);
    Some(1)
}

/// The number of exactly these digits, where it isn't 0.
fn number(text: &str, from: usize, digits: usize, radix: u32) -> Option<u32> {
    let digits = text.get(from..from + digits)?;
    if !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok().filter(|&n| n != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(value: &str, escapes: Escapes) -> (Vec<String>, Option<(WordErrorKind, u32)>) {
        let (words, error) = split_with(value, escapes);
        (words.into_iter().map(|w| w.text.into_owned()).collect(), error.map(|e| (e.kind, e.column)))
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|&s| s.into()).collect()
    }

    #[test]
    fn quotes_and_escapes() {
        // Command lines and the words the real systemd made of them (rig scenario quoting-and-splitting).
        let cases: &[(&str, &[&str])] = &[
            (
                r#"plain 'single quoted' "double quoted" mixed" quo"ted back\x20slash tab\tend"#,
                &["plain", "single quoted", "double quoted", "mixed quoted", "back slash", "tab\tend"],
            ),
            (r#""\101\x42\u0043 \"in\" 'quotes'" '\'' a\\b"#, &["ABC \"in\" 'quotes'", "'", "a\\b"]),
            (
                r#"ONE=1 "TWO=two words" 'THREE=a "quoted" word' EMPTY= NOT-VALID=x"#,
                &["ONE=1", "TWO=two words", "THREE=a \"quoted\" word", "EMPTY=", "NOT-VALID=x"],
            ),
            (r#"  "" ''	x"" "#, &["", "", "x"]),
            (r"\a\b\f\n\r\t\v\s\U0001F600", &["\x07\x08\x0c\n\r\t\x0b 😀"]),
            (r"\xc3\xa9", &["é"]),
            ("", &[]),
            ("   ", &[]),
        ];
        for (value, expected) in cases {
            assert_eq!(texts(value, Escapes::Resolve), (strings(expected), None), "{value}");
        }
    }

    #[test]
    fn errors_keep_what_precedes() {
        use WordErrorKind::*;
        let cases: &[(&str, &[&str], WordErrorKind, u32)] = &[
            ("é 'open", &["é"], OpenQuote, 3),
            (r"a b\q", &["a"], UnknownEscape, 4),
            (r"a \x4", &["a"], UnknownEscape, 3),
            (r"\x00", &[], UnknownEscape, 1),
            (r"\400", &[], UnknownEscape, 1),
            (r"\ud800", &[], UnknownEscape, 1),
            (r"\x4é", &[], UnknownEscape, 1),
            (r"a\", &[], BackslashAtEnd, 2),
            (r"x \xff", &["x"], NotUtf8, 3),
        ];
        for (value, words, kind, column) in cases {
            assert_eq!(texts(value, Escapes::Resolve), (strings(words), Some((*kind, *column))), "{value}");
        }
    }

    #[test]
    fn other_meanings_of_a_backslash() {
        assert_eq!(texts(r"dev-a\x2db.device 'q x'", Escapes::Retain).0, [r"dev-a\x2db.device", "q x"]);
        assert_eq!(texts(r"\q\t\é a\", Escapes::Relaxed).0, ["\\q\t\\é", "a\\"]);
        assert_eq!(texts(r"a\ b \'c", Escapes::Quote).0, ["a b", "'c"]);
    }

    #[test]
    fn columns_count_characters() {
        let (words, _) = split("é  'ü b' c");
        let columns: Vec<u32> = words.iter().map(|w| w.column).collect();
        assert_eq!(columns, [1, 4, 10]);
    }
}
