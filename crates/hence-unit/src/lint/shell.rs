//! The statements of a shell script, found by a scanner that tolerates everything: what it can't make sense
//! of
//! it passes over. It runs and expands nothing; sh(1p), "Shell Command Language".

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

/// Most statements of one script that are looked at.
const STATEMENTS_MAX: usize = 10_000;
/// Deepest nesting of quotes and substitutions; what is nested deeper is taken as text.
const NESTED_MAX: u32 = 40;

/// How a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A line's end or `;`: the shell waits for it.
    Sequence,
    /// `&`: the shell goes on.
    Background,
    /// `|`
    Pipe,
    /// `&&` or `||`
    Condition,
}

/// A simple command, quotes removed and variables as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its words, assignments in front of it and redirections left out.
    pub words: Vec<String>,
    /// Variables that it assigns.
    pub assigns: Vec<String>,
    /// Its line, from 1.
    pub line: u32,
    /// How it ends.
    pub end: End,
    /// How many compound commands it stands in.
    pub depth: usize,
    /// Whether one of them is a loop.
    pub in_loop: bool,
    /// Whether one of them is a function's body.
    pub in_function: bool,
}

impl Statement {
    /// The name of the command without its folder.
    pub fn command(&self) -> &str {
        self.words.first().map_or("", |w| w.rsplit('/').next().unwrap_or(w))
    }
}

/// What a script consists of.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// Its simple commands, in order.
    pub statements: Vec<Statement>,
    /// Names of the functions that it defines.
    pub functions: Vec<String>,
    /// Whether the last thing at its top level is a compound command.
    pub ends_in_compound: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    If,
    Loop,
    Case,
    Group,
    Function,
}

struct Scanner<'t> {
    bytes: &'t [u8],
    text: &'t str,
    at: usize,
    line: u32,
    frames: Vec<Frame>,
    outline: Outline,
    /// Words of the statement that is being read, and whether each was quoted in part.
    words: Vec<(String, bool)>,
    first_line: u32,
    /// Ends of here-documents that begin on the next line, and whether tabs in front of them count.
    heres: Vec<(String, bool)>,
    /// A function's name was read and its body is next.
    body: bool,
    /// The words are the pattern of a case, up to `)`.
    pattern: bool,
}

/// The statements of a script.
pub fn outline(text: &str) -> Outline {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        text,
        at: 0,
        line: 1,
        frames: Vec::new(),
        outline: Outline::default(),
        words: Vec::new(),
        first_line: 1,
        heres: Vec::new(),
        body: false,
        pattern: false,
    };
    scanner.run();
    scanner.outline
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn run(&mut self) {
        while self.at < self.bytes.len() && self.outline.statements.len() < STATEMENTS_MAX {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => {
                    self.at += 2;
                    self.line += 1;
                }
                b'\n' => {
                    self.finish(End::Sequence);
                    self.at += 1;
                    self.line += 1;
                    self.skip_heres();
                }
                b'#' => self.skip_line(),
                b';' => {
                    let case_end = self.peek(1) == b';' || self.peek(1) == b'&';
                    self.finish(End::Sequence);
                    self.at += if case_end { 2 } else { 1 };
                    self.pattern = case_end && self.frames.last() == Some(&Frame::Case);
                }
                b'&' if self.peek(1) == b'&' => self.operator(2, End::Condition),
                b'&' if self.peek(1) == b'>' => self.redirection(),
                b'&' => self.operator(1, End::Background),
                b'|' if self.peek(1) == b'|' => self.operator(2, End::Condition),
                b'|' if self.pattern => self.at += 1,
                b'|' => self.operator(if self.peek(1) == b'&' { 2 } else { 1 }, End::Pipe),
                b'<' | b'>' => self.redirection(),
                b'(' => self.open(),
                b')' => self.close(),
                _ => self.take_word(),
            }
        }
        self.finish(End::Sequence);
    }

    fn operator(&mut self, length: usize, end: End) {
        self.finish(end);
        self.at += length;
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.peek(0) != b'\n' {
            self.at += 1;
        }
    }

    fn open(&mut self) {
        let rest = self.text[self.at + 1..].trim_start_matches([' ', '\t']);
        if self.words.len() == 1 && rest.starts_with(')') {
            // name() { ... }
            let (name, _) = self.words.remove(0);
            self.outline.functions.push(name);
            self.at = self.bytes.len() - rest.len() + 1;
            self.body = true;
            return;
        }
        self.at += 1;
        if self.pattern {
            return;
        }
        self.finish(End::Sequence);
        self.frames.push(if core::mem::take(&mut self.body) { Frame::Function } else { Frame::Group });
    }

    fn close(&mut self) {
        self.at += 1;
        if self.pattern {
            self.words.clear();
            self.pattern = false;
            return;
        }
        self.finish(End::Sequence);
        if self.frames.last().is_some_and(|f| matches!(f, Frame::Group | Frame::Function)) {
            self.frames.pop();
            self.outline.ends_in_compound = self.frames.is_empty();
        }
    }

    /// A redirection with its target, which is no word of the command.
    fn redirection(&mut self) {
        let begin = self.at;
        while matches!(self.peek(0), b'<' | b'>' | b'&' | b'|' | b'-') && self.at < begin + 4 {
            self.at += 1;
        }
        let operator = &self.text[begin..self.at];
        let here = operator == "<<" || operator == "<<-";
        // `2>`: the number in front is a part of it.
        let glued = begin > 0 && self.bytes[begin - 1].is_ascii_digit();
        if glued && self.words.last().is_some_and(|(w, q)| !q && w.bytes().all(|b| b.is_ascii_digit())) {
            self.words.pop();
        }
        if operator.ends_with('-') && !here || operator.ends_with('&') && self.peek(0) == b'-' {
            return;
        }
        while matches!(self.peek(0), b' ' | b'\t') {
            self.at += 1;
        }
        let before = self.words.len();
        if !matches!(self.peek(0), 0 | b'\n' | b';' | b'&' | b'|' | b')') {
            if self.peek(0) == b'(' {
                // <(...): a process substitution.
                self.at += 1;
                self.substitution(b')', 0);
                return;
            }
            self.read_word();
        }
        if let Some((target, _)) = self.words.get(before).cloned() {
            self.words.truncate(before);
            if here {
                self.heres.push((target, operator == "<<-"));
            }
        }
    }

    fn skip_heres(&mut self) {
        for (end, tabs) in core::mem::take(&mut self.heres) {
            while self.at < self.bytes.len() {
                let line_end = self.text[self.at..].find('\n').map_or(self.bytes.len(), |n| self.at + n);
                let line = &self.text[self.at..line_end];
                self.at = (line_end + 1).min(self.bytes.len());
                self.line += 1;
                let line = if tabs { line.trim_start_matches('\t') } else { line };
                if line == end {
                    break;
                }
            }
        }
    }

    fn take_word(&mut self) {
        if self.words.is_empty() {
            self.first_line = self.line;
        }
        self.read_word();
        self.keyword();
    }

    /// Reads a word; at least one byte is taken.
    fn read_word(&mut self) {
        let (mut word, mut quoted) = (String::new(), false);
        let begin = self.at;
        while self.at < self.bytes.len() {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
                b'\'' => {
                    quoted = true;
                    let end = self.text[self.at + 1..].find('\'').map(|n| self.at + 1 + n);
                    let end = end.unwrap_or(self.bytes.len());
                    self.push(&mut word, self.at + 1, end);
                    self.at = (end + 1).min(self.bytes.len());
                }
                b'"' => {
                    quoted = true;
                    let from = self.at + 1;
                    self.at += 1;
                    self.substitution(b'"', 0);
                    let end = if self.text[..self.at].ends_with('"') { self.at - 1 } else { self.at };
                    word.push_str(&self.text[from..end.max(from)]);
                }
                b'`' => {
                    let from = self.at;
                    self.at += 1;
                    self.substitution(b'`', 0);
                    word.push_str(&self.text[from..self.at]);
                }
                b'$' if matches!(self.peek(1), b'(' | b'{') => {
                    let from = self.at;
                    let close = if self.peek(1) == b'(' { b')' } else { b'}' };
                    self.at += 2;
                    self.substitution(close, 0);
                    word.push_str(&self.text[from..self.at]);
                }
                b'\\' if self.peek(1) == b'\n' => {
                    self.at += 2;
                    self.line += 1;
                }
                b'\\' => {
                    self.at += 1;
                    quoted = true;
                    self.character(&mut word);
                }
                _ => self.character(&mut word),
            }
        }
        if self.at == begin {
            self.at += 1;
        }
        if !word.is_empty() || quoted {
            self.words.push((word, quoted));
        }
    }

    fn character(&mut self, word: &mut String) {
        if let Some(c) = self.text[self.at..].chars().next() {
            word.push(c);
            self.at += c.len_utf8();
        }
    }

    fn push(&mut self, word: &mut String, from: usize, to: usize) {
        let part = &self.text[from..to];
        self.line += part.matches('\n').count() as u32;
        word.push_str(part);
    }

    /// Goes behind the character that closes what has just been opened.
    fn substitution(&mut self, close: u8, nested: u32) {
        while self.at < self.bytes.len() {
            let byte = self.peek(0);
            self.at += 1;
            match byte {
                b'\n' => self.line += 1,
                b'\\' => {
                    self.line += u32::from(self.peek(0) == b'\n');
                    self.at += 1;
                    while !self.text.is_char_boundary(self.at.min(self.bytes.len())) {
                        self.at += 1;
                    }
                }
                byte if byte == close => break,
                _ if nested >= NESTED_MAX => {}
                b'\'' if close != b'"' => {
                    let end = self.text[self.at..].find('\'').map_or(self.bytes.len(), |n| self.at + n);
                    self.line += self.text[self.at..end].matches('\n').count() as u32;
                    self.at = (end + 1).min(self.bytes.len());
                }
                b'"' if close != b'"' => self.substitution(b'"', nested + 1),
                b'(' if close == b')' => self.substitution(b')', nested + 1),
                b'$' if self.peek(0) == b'(' => {
                    self.at += 1;
                    self.substitution(b')', nested + 1);
                }
                b'$' if self.peek(0) == b'{' => {
                    self.at += 1;
                    self.substitution(b'}', nested + 1);
                }
                _ => {}
            }
        }
        self.at = self.at.min(self.bytes.len());
    }

    /// Takes reserved words that stand where a command may begin.
    fn keyword(&mut self) {
        let [(word, false)] = self.words.as_slice() else {
            // `case x in`, `for x in`: the words in front of it are no command.
            if let [(first, false), .., (last, false)] = self.words.as_slice()
                && first == "case"
                && last == "in"
            {
                self.words.clear();
                self.frames.push(Frame::Case);
                self.pattern = true;
            }
            return;
        };
        if self.pattern && word != "esac" {
            return;
        }
        let frame = match word.as_str() {
            "if" => Some(Frame::If),
            "while" | "until" => Some(Frame::Loop),
            "{" if self.body => {
                self.body = false;
                Some(Frame::Function)
            }
            "{" => Some(Frame::Group),
            "then" | "else" | "elif" | "do" | "!" | "time" => {
                self.words.clear();
                return;
            }
            "fi" | "done" | "esac" | "}" => {
                self.words.clear();
                self.pattern = false;
                self.frames.pop();
                self.outline.ends_in_compound = self.frames.is_empty();
                return;
            }
            _ => return,
        };
        self.words.clear();
        self.frames.extend(frame);
    }

    fn finish(&mut self, end: End) {
        if self.pattern {
            return;
        }
        let words = core::mem::take(&mut self.words);
        let Some((first, _)) = words.first() else { return };
        match first.as_str() {
            "for" | "select" => {
                let assigns: Vec<String> = words.get(1).map(|(w, _)| w.to_string()).into_iter().collect();
                self.statement(Vec::new(), assigns, end);
                self.frames.push(Frame::Loop);
                return;
            }
            "function" => {
                self.outline.functions.extend(words.get(1).map(|(w, _)| w.to_string()));
                if words.get(2).is_some_and(|(w, _)| w == "{") {
                    self.frames.push(Frame::Function);
                } else {
                    self.body = true;
                }
                return;
            }
            _ => {}
        }
        let (mut assigns, mut rest) = (Vec::new(), Vec::new());
        for (word, _) in words {
            match word.split_once('=').filter(|(name, _)| rest.is_empty() && is_name(name)) {
                Some((name, _)) => assigns.push(name.to_string()),
                None => rest.push(word),
            }
        }
        if matches!(rest.first().map(String::as_str), Some("read" | "export" | "local" | "declare")) {
            let names = rest.iter().skip(1).map(|w| w.split('=').next().unwrap_or(w));
            assigns.extend(names.filter(|n| is_name(n)).map(str::to_string));
        }
        self.statement(rest, assigns, end);
    }

    fn statement(&mut self, words: Vec<String>, assigns: Vec<String>, end: End) {
        if self.frames.is_empty() {
            self.outline.ends_in_compound = false;
        }
        self.outline.statements.push(Statement {
            words,
            assigns,
            line: self.first_line,
            end,
            depth: self.frames.len(),
            in_loop: self.frames.contains(&Frame::Loop),
            in_function: self.frames.contains(&Frame::Function),
        });
    }
}

/// Whether it can be a variable's name.
pub fn is_name(word: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    word.starts_with(first) && word.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, vec};

    fn shown(text: &str) -> Vec<String> {
        let show = |s: &Statement| {
            let end = match s.end {
                End::Sequence => "",
                End::Background => " &",
                End::Pipe => " |",
                End::Condition => " &&",
            };
            format!("{}:{} {}{end}", s.line, s.depth, s.words.join("_"))
        };
        outline(text).statements.iter().map(show).collect()
    }

    #[test]
    fn statements_of_a_starter() {
        let text = "#!/bin/sh\n# starts foo\nset -e\nA=1 B='x y' /usr/bin/foo --port \"$P; echo\" >/tmp/x \
        2>&1 &\n\
                    PID=$!\nwait $PID\n";
        assert_eq!(
            shown(text),
            ["3:0 set_-e", "4:0 /usr/bin/foo_--port_$P; echo &", "5:0 ", "6:0 wait_$PID"]
        );
    }

    #[test]
    fn compounds_functions_and_cases() {
        let text = "f() {\n  a\n}\nif b; then c && d\nelse e | g; fi\ncase \"$1\" in\n start|go) h ;;\n *) \
        i;;\nesac\n\
                    while true; do\n j\ndone\nfor x in 1 2; do k; done\n( l )\nm";
        let outline = outline(text);
        assert_eq!(outline.functions, ["f"]);
        assert!(!outline.ends_in_compound);
        assert_eq!(
            shown(text),
            vec![
                "2:1 a",
                "4:1 b",
                "4:1 c &&",
                "4:1 d",
                "5:1 e |",
                "5:1 g",
                "7:1 h",
                "8:1 i",
                "10:1 true",
                "11:1 j",
                "13:0 ",
                "13:1 k",
                "14:1 l",
                "15:0 m"
            ]
        );
        assert!(super::outline("while :; do x; done\n").ends_in_compound);
    }

    #[test]
    fn what_no_shell_would_take_is_passed_over() {
        for text in [
            "",
            "'",
            "\"$(",
            "`",
            ")))",
            "}}}",
            "<<",
            "a <<E\nb",
            ";;",
            "&&&",
            "case x in",
            "\\",
            "${",
            "$((",
            "é\\é>é&-",
        ] {
            let _ = outline(text);
        }
        assert_eq!(shown("cat <<E\n foo &\nE\nb"), ["1:0 cat", "4:0 b"]);
        assert_eq!(shown("a 2>/dev/null b 3>&- c\n"), ["1:0 a_b_c"]);
        assert_eq!(shown("x=$(a & b) y `c &` ${d}\n"), ["1:0 y_`c &`_${d}"]);
        let deep = format!("{}a{}", "$(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(outline(&deep).statements.len(), 1);
        assert!(outline(&"a;".repeat(30_000)).statements.len() <= STATEMENTS_MAX);
    }
}
