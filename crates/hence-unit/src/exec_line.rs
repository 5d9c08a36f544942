//! Command lines: prefixes, words and `;` when a unit is loaded, `$VAR` when a command is run;
//! systemd.service(5), "Command Lines" and "Special executable prefixes".
//!
//! It neither looks commands up nor runs them, and knows no environment of its own.

use crate::{
    Diagnostic, Level, Place, Position,
    config::{Command, Privilege},
    specifier::SpecifierError,
    words::{self, Escapes, WordErrorKind},
};
use alloc::{borrow::Cow, boxed::Box, format, string::String, vec::Vec};

/// Longest path, in bytes (Linux' PATH_MAX, with its NUL byte).
const PATH_MAX: usize = 4096;
/// Most arguments that room is made for in advance.
const ARGUMENTS_EXPECTED: usize = 16;
/// Longest name of a file, in bytes.
const FILE_NAME_MAX: usize = 255;

/// Expands the specifiers of one word.
pub type Specify<'a> = dyn FnMut(&str) -> Result<String, SpecifierError> + 'a;

/// The commands of a value. A command that can't be used is a diagnostic: an error, or a warning where its
/// `-` makes systemd pass over it; what follows it in the value is given up. `place` is where the value
/// stands, with the index of its file among the unit's; diagnostics and commands carry it.
pub fn parse(
    value: &str,
    (place, source): (&Place, u16),
    specify: &mut Specify<'_>,
) -> (Vec<Command>, Vec<Diagnostic>) {
    let position = Position::new(source, place.line, place.column);
    let mut line = Line { value, at: 0, place, position, specify, ignore: false, diagnostics: Vec::new() };
    let mut commands = Vec::with_capacity(1);
    loop {
        match line.command() {
            Step::Command(command, more) => {
                commands.push(command);
                if !more {
                    break;
                }
            }
            Step::Separator => {}
            Step::End => break,
        }
    }
    (commands, line.diagnostics)
}

enum Step {
    /// A command, and whether a `;` follows.
    Command(Command, bool),
    Separator,
    End,
}

struct Line<'v, 'a, 's> {
    value: &'v str,
    at: usize,
    place: &'a Place,
    position: Position,
    specify: &'a mut Specify<'s>,
    /// The command has the prefix `-`.
    ignore: bool,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Default)]
struct Prefixes {
    ignore_failure: bool,
    separate_argv0: bool,
    no_substitution: bool,
    privilege: Privilege,
}

impl Prefixes {
    /// Takes the prefixes off a word.
    fn strip(word: &str) -> (Prefixes, &str) {
        let mut prefixes = Prefixes::default();
        let mut rest = word;
        while let Some(&byte) = rest.as_bytes().first() {
            match (byte, prefixes.privilege) {
                (b'-', _) if !prefixes.ignore_failure => prefixes.ignore_failure = true,
                (b'@', _) if !prefixes.separate_argv0 => prefixes.separate_argv0 = true,
                (b':', _) if !prefixes.no_substitution => prefixes.no_substitution = true,
                (b'+', Privilege::Unit) => prefixes.privilege = Privilege::Full,
                (b'!', Privilege::Unit) => prefixes.privilege = Privilege::Elevated,
                (b'!', Privilege::Elevated) => prefixes.privilege = Privilege::ElevatedFallback,
                _ => break,
            }
            rest = &rest[1..];
        }
        (prefixes, rest)
    }
}

impl<'v> Line<'v, '_, '_> {
    fn diagnose(&mut self, rule: &'static str, message: String, fix: &str) {
        let level = if self.ignore { Level::Warning } else { Level::Error };
        self.push(rule, level, message, fix);
    }

    fn push(&mut self, rule: &'static str, level: Level, message: String, fix: &str) {
        let fix = (!fix.is_empty()).then(|| fix.into());
        self.diagnostics.push(Diagnostic { rule, level, place: self.place.clone(), message, fix });
    }

    /// The next word; `Err` where it can't be taken, with a diagnostic.
    fn word(&mut self, first: bool) -> Result<Option<Cow<'v, str>>, ()> {
        let start = self.at;
        let mut taken = words::next(self.value, &mut self.at, Escapes::Resolve, false);
        if let Err((WordErrorKind::UnknownEscape | WordErrorKind::BackslashAtEnd, _)) = taken {
            self.at = start;
            taken = words::next(self.value, &mut self.at, Escapes::Relaxed, false);
            if let Ok(Some((_, word))) = &taken {
                let message = format!("unknown escape sequence in {word:?} stays as it is written");
                self.push("unknown-escape", Level::Warning, message, "double the backslash");
            }
        }
        match taken {
            Ok(word) => Ok(word.map(|(_, word)| word)),
            // systemd passes over a line whose first word is broken, and refuses the unit for a later one.
            Err((kind, _)) => {
                let message = format!("{}", words::WordError { kind, column: 0 });
                let level = if first || self.ignore { Level::Warning } else { Level::Error };
                let fix = if kind == WordErrorKind::OpenQuote { "close the quotation mark" } else { "" };
                self.push("command-quoting", level, message, fix);
                Err(())
            }
        }
    }

    /// A word with its specifiers expanded.
    fn specified(&mut self, word: &str) -> Result<Box<str>, ()> {
        if crate::bytes::find(word.as_bytes(), b'%').is_none() {
            return Ok(word.into());
        }
        (self.specify)(word).map(String::into_boxed_str).map_err(|error| {
            self.diagnose("specifier", format!("{error}, in {word:?}"), "write %% for a percent sign");
        })
    }

    fn command(&mut self) -> Step {
        self.ignore = false;
        let Ok(Some(first)) = self.word(true) else {
            return Step::End;
        };
        if first == ";" {
            return Step::Separator;
        }
        let (prefixes, name) = Prefixes::strip(&first);
        self.ignore = prefixes.ignore_failure;
        if name.starts_with('|') {
            let message = format!("prefix \"|\" of {name:?} is not supported yet");
            self.diagnose("command-prefix", message, "name the shell: /bin/sh -c '...'");
            return Step::End;
        }
        let Ok(path) = self.specified(name) else {
            return Step::End;
        };
        if !self.check_path(&path) {
            return Step::End;
        }
        let blanks = self.value.as_bytes()[self.at..].iter().filter(|&&byte| byte == b' ').count();
        let mut argv: Vec<Box<str>> = Vec::with_capacity(2 + blanks.min(ARGUMENTS_EXPECTED));
        if !prefixes.separate_argv0 {
            argv.push(path.clone());
        }
        let Ok(more) = self.arguments(&mut argv) else {
            return Step::End;
        };
        if argv.first().is_none_or(|name| name.is_empty()) {
            let message = "the command has no name of its own (argv[0]) behind its \"@\" prefix".into();
            self.diagnose("command-name", message, "write the name behind the path");
            return Step::End;
        }
        let command = Command {
            path: simplify(path),
            argv,
            ignore_failure: prefixes.ignore_failure,
            no_substitution: prefixes.no_substitution,
            privilege: prefixes.privilege,
            position: self.position,
        };
        Step::Command(command, more)
    }

    /// Takes the arguments; whether a `;` ended them.
    fn arguments(&mut self, argv: &mut Vec<Box<str>>) -> Result<bool, ()> {
        loop {
            let rest = &self.value.as_bytes()[self.at..];
            let ends = |n: usize| rest.get(n).is_none_or(|&b| words::is_blank(b));
            if rest.starts_with(b";") && ends(1) {
                self.at += 1;
                words::skip_blank(self.value, &mut self.at);
                return Ok(true);
            }
            if rest.starts_with(b"\\;") && ends(2) {
                self.at += 2;
                words::skip_blank(self.value, &mut self.at);
                argv.push(";".into());
                continue;
            }
            let Some(word) = self.word(false)? else {
                return Ok(false);
            };
            argv.push(self.specified(&word)?);
        }
    }

    fn check_path(&mut self, path: &str) -> bool {
        let odd = |b: u8| b.is_ascii_control() || matches!(b, b'"' | b'\'' | b'\\');
        let is_short = |part: &str| part.len() <= FILE_NAME_MAX;
        let message = if path.is_empty() {
            "the command line names no command".into()
        } else if path.bytes().any(odd) {
            format!("the path {path:?} holds a quotation mark, a backslash or a control character")
        } else if path.ends_with('/') {
            format!("the command {path:?} is a folder")
        } else if path.starts_with('/') {
            if is_short(path) || path.len() < PATH_MAX && path.split('/').all(is_short) {
                return true;
            }
            "the path of the command is too long".into()
        } else {
            if !path.contains('/') && is_short(path) && !matches!(path, "." | "..") {
                return true;
            }
            format!("{path:?} is neither the name of a command nor an absolute path")
        };
        self.diagnose("command-path", message, "write an absolute path");
        false
    }
}

/// The path without doubled slashes and `.` parts.
fn simplify(path: Box<str>) -> Box<str> {
    if !path.as_bytes().windows(2).any(|two| matches!(two, b"//" | b"/.")) {
        return path;
    }
    let mut simple = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        simple.push('/');
        simple.push_str(part);
    }
    simple.into()
}

/// Substitutes variables when a command is run: `$NAME` as a word becomes the words of its value,
/// `${NAME}` anywhere its value unchanged, `$$` a dollar sign. A variable that `env` doesn't know is empty;
/// its name is in the second list, once. As in systemd the path of the command is not its argv[0] and
/// stays as it is, while argv[0] is substituted like every other word. A command with the prefix `:` is
/// not to be given here.
pub fn expand<'e>(
    argv: &[Box<str>],
    env: &dyn Fn(&str) -> Option<Cow<'e, str>>,
) -> (Vec<String>, Vec<String>) {
    let mut out = Vec::with_capacity(argv.len());
    let mut missing: Vec<String> = Vec::new();
    let mut look = |name: &str| {
        let value = env(name);
        if value.is_none() && !missing.iter().any(|known| known == name) {
            missing.push(name.into());
        }
        value
    };
    for word in argv {
        if let Some(name) = word.strip_prefix('$')
            && !name.starts_with(['{', '$'])
        {
            let value = look(name).unwrap_or_default();
            let mut at = 0;
            while let Ok(Some((_, part))) = words::next(&value, &mut at, Escapes::Quote, true) {
                out.push(part.into_owned());
            }
            continue;
        }
        out.push(substitute(word, &mut look));
    }
    (out, missing)
}

/// Replaces `${NAME}` and `$$` inside a word; a brace that is never closed stays as it is written.
fn substitute<'e>(word: &str, look: &mut dyn FnMut(&str) -> Option<Cow<'e, str>>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((_, after)) = rest
            .strip_prefix("${")
            .and_then(|inner| inner.split_once(['}', ':']))
            .filter(|(name, _)| rest[2 + name.len()..].starts_with(':'))
        {
            // `${NAME:-else}` is the shell's: as in systemd it stays as it is written.
            out.push_str(&rest[..rest.len() - after.len()]);
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
            out.push_str(&look(name).unwrap_or_default());
            rest = after;
        } else if rest.starts_with("${") {
            break;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn place() -> Place {
        Place { file: "f".into(), line: 3, column: 11 }
    }

    fn read(value: &str) -> (Vec<Command>, Vec<Diagnostic>) {
        parse(value, (&place(), 2), &mut |word| match word.find("%Z") {
            Some(_) => Err(SpecifierError::Unknown('Z')),
            None => Ok(word.replace("%i", "in st").replace("%%", "%")),
        })
    }

    fn argvs(value: &str) -> Vec<Vec<String>> {
        let (commands, diagnostics) = read(value);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        commands.into_iter().map(|c| c.argv.into_iter().map(String::from).collect()).collect()
    }

    #[test]
    fn words_of_a_command_line() {
        assert_eq!(
            argvs("/opt/args plain 'single quoted' x\\ty"),
            [["/opt/args", "plain", "single quoted", "x\ty"]]
        );
        assert_eq!(argvs("/opt/args q%iq 100%% '%i'"), [["/opt/args", "qin stq", "100%", "in st"]]);
        assert_eq!(argvs("echo one ; echo \"two two\""), [["echo", "one"], ["echo", "two two"]]);
        assert_eq!(argvs("echo / >/dev/null & \\;   ls"), [["echo", "/", ">/dev/null", "&", ";", "ls"]]);
        assert_eq!(argvs("; /a;b ';' x; ;"), [["/a;b", ";", "x;"]]);
        assert_eq!(argvs(""), Vec::<Vec<String>>::new());
        assert_eq!(argvs("'/opt/my prog' a"), [["/opt/my prog", "a"]]);
    }

    #[test]
    fn prefixes() {
        let of = |value: &str| read(value).0.remove(0);
        let c = of("-@:!!/bin//./sh name arg");
        assert_eq!(
            (&*c.path, c.argv.iter().map(|a| &**a).collect::<Vec<_>>()),
            ("/bin/sh", vec!["name", "arg"])
        );
        assert!(c.ignore_failure && c.no_substitution);
        assert_eq!(c.privilege, Privilege::ElevatedFallback);
        assert_eq!(of("+/bin/a").privilege, Privilege::Full);
        assert_eq!(of("!/bin/a").privilege, Privilege::Elevated);
        assert_eq!(of("/bin//a").argv[0].as_ref(), "/bin//a");
        assert_eq!(of("true").path.as_ref(), "true");
        assert_eq!(of("true").position, Position { source: 2, line: 3, column: 11 });
    }

    #[test]
    fn unusable_commands() {
        for (value, rule) in [
            ("bin/sleep 1", "command-path"),
            ("+!/bin/a", "command-path"),
            ("/bin/", "command-path"),
            ("''", "command-path"),
            ("..", "command-path"),
            ("\"/a\\nb\"", "command-path"),
            ("@/bin/a", "command-name"),
            ("@/bin/a '' x", "command-name"),
            ("|/bin/a", "command-prefix"),
            ("/bin/a %Z", "specifier"),
            ("/bin/%Z", "specifier"),
            ("/bin/a 'b", "command-quoting"),
            ("/bin/a \\xff", "command-quoting"),
        ] {
            let (commands, diagnostics) = read(value);
            assert!(commands.is_empty(), "{value}");
            assert_eq!((diagnostics[0].rule, diagnostics[0].level), (rule, Level::Error), "{value}");
            let (_, diagnostics) = read(&format!("-{value}"));
            assert_eq!(diagnostics[0].level, Level::Warning, "-{value}");
        }
        let (commands, diagnostics) = read("/bin/a ; b/c");
        assert_eq!((commands.len(), diagnostics.len()), (1, 1));
        let (commands, diagnostics) = read(r"/bin/sed s/\./x/");
        assert_eq!((commands[0].argv[1].as_ref(), diagnostics[0].rule), (r"s/\./x/", "unknown-escape"));
    }

    fn run(words: &[&str]) -> (Vec<String>, Vec<String>) {
        let argv: Vec<Box<str>> = words.iter().map(|&w| w.into()).collect();
        expand(&argv, &|name| {
            Some(Cow::Borrowed(match name {
                "ONE" => "1",
                "TWO" => "two words",
                "THREE" => "a \"quoted word\" \\\"x 'open",
                "EMPTY" => "",
                _ => return None,
            }))
        })
    }

    #[test]
    fn variables() {
        // Rig scenario quoting-and-splitting.
        let (out, missing) = run(&[
            "$ONE",
            "${ONE}",
            "$TWO",
            "${TWO}",
            "$TWO",
            "pre${TWO}post",
            "pre$TWO",
            "$$ONE",
            "$${ONE}",
        ]);
        let expected = [
            "1",
            "1",
            "two",
            "words",
            "two words",
            "two",
            "words",
            "pretwo wordspost",
            "pre$TWO",
            "$ONE",
            "${ONE}",
        ];
        assert_eq!(out, expected);
        assert!(missing.is_empty());
        assert_eq!(run(&["$EMPTY", "${EMPTY}", "$UNSET", "${UNSET}", "end"]).0, ["", "", "end"]);
        assert_eq!(run(&["$UNSET", "${UNSET}", "$ONE-x"]).1, ["UNSET", "ONE-x"]);
        assert_eq!(run(&["$THREE"]).0, ["a", "quoted word", "\"x", "open"]);
        assert_eq!(run(&["a${ONE", "$", "a$", "${}"]).0, ["a${ONE", "a$", ""]);
        // Rig scenario exec-phases.
        assert_eq!(
            run(&["${ONE:-none}${TWO}", "${UNSET:+$${ONE}"]).0,
            ["${ONE:-none}two words", "${UNSET:+${ONE}"]
        );
    }
}
