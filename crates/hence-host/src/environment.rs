//! A process's environment, and the files that it is read from; systemd.exec(5), "Environment". Which
//! variables a start gets is `start`'s.

use std::{borrow::Cow, fs::File, io, io::Read, path::Path};

/// Largest EnvironmentFile= that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// Variables as NAME=VALUE, each name once; later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: Vec<Box<str>>,
}

impl Environment {
    /// From NAME=VALUE texts; what isn't one is left out.
    pub fn new(variables: &[Box<str>]) -> Environment {
        let mut environment = Environment::default();
        variables.iter().for_each(|v| environment.set(v));
        environment
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.variables.iter().position(|v| v.strip_prefix(name).is_some_and(|rest| rest.starts_with('=')))
    }

    /// Sets NAME=VALUE.
    pub fn set(&mut self, pair: &str) {
        let Some((name, _)) = pair.split_once('=') else { return };
        match self.position(name) {
            Some(at) => self.variables[at] = pair.into(),
            None => self.variables.push(pair.into()),
        }
    }

    /// Removes a name, or NAME=VALUE where it has that value; UnsetEnvironment=.
    pub fn unset(&mut self, what: &str) {
        self.variables.retain(|v| &**v != what && v.split_once('=').is_none_or(|(name, _)| name != what));
    }

    /// A variable's value.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let at = self.position(name)?;
        Some(Cow::Borrowed(&self.variables[at][name.len() + 1..]))
    }

    /// All of them, as NAME=VALUE.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|v| &**v)
    }
}

/// Reads a file of assignments.
///
/// # Errors
/// What the system says, or that the file is too large or not UTF-8.
pub fn read_file(path: &Path) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let text = String::from_utf8(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EILSEQ))?;
    Ok(parse(&text))
}

#[derive(Clone, Copy, PartialEq)]
enum Reading {
    BeforeName,
    Name,
    Comment,
    BeforeValue,
    Plain,
    Single,
    Double,
}

/// The assignments of a file, as NAME=VALUE: shell-like quotes, `#` and `;` comments, `\` at the end of a
/// line. Lines that aren't assignments are left out.
pub fn parse(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut name, mut value) = (String::new(), String::new());
    // Length of the value up to its last character that isn't trailing white space.
    let mut kept = 0;
    let mut reading = Reading::BeforeName;
    let mut chars = text.chars().map(|c| if c == '\r' { '\n' } else { c });
    let mut finish = |name: &mut String, value: &mut String, kept: usize| {
        value.truncate(kept);
        if is_name(name.trim_end()) && !value.contains('\0') {
            found.push(format!("{}={value}", name.trim_end()));
        }
        name.clear();
        value.clear();
    };
    while let Some(c) = chars.next() {
        match (reading, c) {
            (Reading::BeforeName, '#' | ';') => reading = Reading::Comment,
            (Reading::BeforeName, c) if c.is_whitespace() => {}
            (Reading::BeforeName, c) => {
                name.push(c);
                reading = Reading::Name;
            }
            (Reading::Comment, '\\') => {
                chars.next();
            }
            (Reading::Comment, '\n') => reading = Reading::BeforeName,
            (Reading::Comment, _) => {}
            (Reading::Name, '=') => (reading, kept) = (Reading::BeforeValue, 0),
            (Reading::Name, '\n') => {
                name.clear();
                reading = Reading::BeforeName;
            }
            (Reading::Name, c) => name.push(c),
            (Reading::BeforeValue | Reading::Plain, '\n') => {
                finish(&mut name, &mut value, kept);
                reading = Reading::BeforeName;
            }
            (Reading::BeforeValue, '\'') => reading = Reading::Single,
            (Reading::BeforeValue, '"') => reading = Reading::Double,
            (Reading::BeforeValue, c) if c.is_whitespace() => {}
            (Reading::BeforeValue | Reading::Plain, '\\') => {
                reading = Reading::Plain;
                if let Some(c) = chars.next().filter(|&c| c != '\n') {
                    value.push(c);
                    kept = value.len();
                }
            }
            (Reading::BeforeValue | Reading::Plain, c) => {
                value.push(c);
                reading = Reading::Plain;
                if !c.is_whitespace() {
                    kept = value.len();
                }
            }
            (Reading::Single, '\'') | (Reading::Double, '"') => {
                reading = Reading::BeforeValue;
                kept = value.len();
            }
            (Reading::Double, '\\') => match chars.next() {
                None | Some('\n') => {}
                Some(c @ ('"' | '\\' | '`' | '$')) => value.push(c),
                Some(c) => value.extend(['\\', c]),
            },
            (Reading::Single | Reading::Double, c) => value.push(c),
        }
    }
    if matches!(reading, Reading::BeforeValue | Reading::Plain | Reading::Single | Reading::Double) {
        let kept = if matches!(reading, Reading::Single | Reading::Double) { value.len() } else { kept };
        finish(&mut name, &mut value, kept);
    }
    found
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_continuation() {
        let text = "# c\n; c\\\nstill comment\nA=1\n B = two words  \nC='a # b' \"c\\\"d\"\nD=a\\\nb\n\
                    bad line\nE=\"x\ny\"\n1X=no\nF=\nG='open";
        let expected = ["A=1", "B=two words", "C=a # bc\"d", "D=ab", "E=x\ny", "F=", "G=open"];
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn later_ones_win() {
        let mut e = Environment::new(&["A=1".into(), "AB=2".into(), "A=3".into(), "nothing".into()]);
        assert_eq!(e.value("A").as_deref(), Some("3"));
        e.unset("AB=9");
        assert_eq!(e.value("AB").as_deref(), Some("2"));
        e.unset("AB=2");
        e.unset("A");
        assert_eq!(e.iter().count(), 0);
    }

    #[test]
    fn any_bytes_are_survived() {
        let alphabet = ['A', '=', '\\', '\'', '"', '\n', '#', ' ', '$', '\0', 'é'];
        let mut state = 7u64;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    alphabet[(state >> 33) as usize % alphabet.len()]
                })
                .collect();
            for pair in parse(&text) {
                let (name, _) = pair.split_once('=').unwrap();
                assert!(is_name(name) && !pair.contains('\0'), "{text:?} gave {pair:?}");
            }
        }
    }
}
