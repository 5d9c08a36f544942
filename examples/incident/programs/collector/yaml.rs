//! The part of YAML that a collector's configuration uses: block mappings and lists, flow lists of
//! scalars, plain and quoted scalars, comments, one optional `---`.
//!
//! What it does not read (anchors, tags, block scalars, flow mappings, several documents) is an error that
//! names the line, never a guess. Scalars stay text: who decodes them knows what type they must have.

use std::fmt;

/// Deeper nesting than any configuration has; keeps the recursion bounded.
const DEEPEST: usize = 32;

/// A value and the line that it begins on, counted from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub line: usize,
    pub node: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A key without a value.
    Empty,
    Scalar(String),
    List(Vec<Value>),
    /// In the order of the file; keys are unique.
    Map(Vec<(String, Value)>),
}

#[derive(Debug, PartialEq)]
pub struct Error {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "yaml: line {}: {}", self.line, self.message)
    }
}

fn fail<T>(line: usize, message: impl Into<String>) -> Result<T, Error> {
    Err(Error { line, message: message.into() })
}

/// A line that says something: no comment, no blank ends.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a whole document. An empty one is `Node::Empty`.
pub fn parse(text: &str) -> Result<Value, Error> {
    let mut lines = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        let body = without_comment(raw).trim_end();
        let text = body.trim_start_matches(' ');
        if text.is_empty() || (text == "---" && lines.is_empty()) {
            continue;
        }
        if text.starts_with('\t') {
            return fail(number, "found a tab where indentation is expected; use spaces");
        }
        if text == "---" || text == "..." {
            return fail(number, "only one document is read");
        }
        lines.push(Line { number, indent: body.len() - text.len(), text });
    }
    let mut reader = Reader { lines, next: 0 };
    let Some(first) = reader.lines.first() else { return Ok(Value { line: 1, node: Node::Empty }) };
    let value = reader.block(first.indent, 0)?;
    match reader.lines.get(reader.next) {
        Some(line) => fail(line.number, "indentation does not match any open block"),
        None => Ok(value),
    }
}

/// Cuts ` # ...`, but not inside quotes.
fn without_comment(raw: &str) -> &str {
    let (mut quote, mut before, mut escaped) = (None, ' ', false);
    for (at, c) in raw.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '#' && before.is_whitespace() => return &raw[..at],
            // A quote opens a scalar only where a scalar can begin: "it's" is plain text.
            None if matches!(c, '"' | '\'') && matches!(before, ' ' | '[' | ',') => quote = Some(c),
            None => {}
        }
        before = c;
    }
    raw
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    next: usize,
}

impl Reader<'_> {
    /// The block whose lines begin at `indent`, from the next line on.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Value, Error> {
        let line = self.lines[self.next].number;
        if depth > DEEPEST {
            return fail(line, format!("nested deeper than {DEEPEST} levels"));
        }
        let list = is_item(self.lines[self.next].text);
        let node = if list { self.list(indent, depth)? } else { self.map(indent, depth)? };
        Ok(Value { line, node })
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Node, Error> {
        let mut items = Vec::new();
        while let Some(line) = self.lines.get_mut(self.next) {
            if line.indent != indent || !is_item(line.text) {
                break;
            }
            let number = line.number;
            let rest = line.text[1..].trim_start_matches(' ');
            if rest.is_empty() {
                self.next += 1;
                items.push(self.nested(number, indent, depth, false)?);
            } else if is_item(rest) || split_key(rest, number)?.is_some() {
                // `- key: value`: the rest of the line is the first line of a block of its own.
                line.indent += line.text.len() - rest.len();
                line.text = rest;
                let inner = line.indent;
                items.push(self.block(inner, depth + 1)?);
            } else {
                items.push(Value { line: number, node: inline(rest, number)? });
                self.next += 1;
            }
        }
        self.closed(indent)?;
        Ok(Node::List(items))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<Node, Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some(line) = self.lines.get(self.next) {
            if line.indent != indent {
                break;
            }
            let number = line.number;
            let Some((key, rest)) = split_key(line.text, number)? else {
                return fail(number, format!("expected `key: value`, found {:?}", line.text));
            };
            if let Some((_, first)) = entries.iter().find(|(known, _)| *known == key) {
                return fail(number, format!("key {key:?} is already set at line {}", first.line));
            }
            let node = if rest.is_empty() { None } else { Some(inline(rest, number)?) };
            self.next += 1;
            let value = match node {
                Some(node) => Value { line: number, node },
                None => Value { line: number, ..self.nested(number, indent, depth, true)? },
            };
            entries.push((key, value));
        }
        self.closed(indent)?;
        Ok(Node::Map(entries))
    }

    /// What stands under a key or a dash that has nothing on its own line.
    fn nested(&mut self, number: usize, indent: usize, depth: usize, key: bool) -> Result<Value, Error> {
        match self.lines.get(self.next) {
            Some(line) if line.indent > indent || (key && line.indent == indent && is_item(line.text)) => {
                let inner = line.indent;
                self.block(inner, depth + 1)
            }
            _ => Ok(Value { line: number, node: Node::Empty }),
        }
    }

    /// After a block at `indent` no line may be deeper: nothing opened a deeper one.
    fn closed(&self, indent: usize) -> Result<(), Error> {
        match self.lines.get(self.next) {
            Some(line) if line.indent > indent => {
                fail(line.number, "mapping values or items are not allowed at this indentation")
            }
            _ => Ok(()),
        }
    }
}

fn is_item(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

/// `key: rest`, or `None` if the text has no key.
fn split_key(text: &str, number: usize) -> Result<Option<(String, &str)>, Error> {
    if text.starts_with(['"', '\'']) {
        let (key, rest) = quoted(text, number)?;
        return Ok(rest
            .trim_start()
            .strip_prefix(':')
            .and_then(|rest| (rest.is_empty() || rest.starts_with(' ')).then(|| (key, rest.trim_start()))));
    }
    if text.starts_with(['[', '{']) {
        return Ok(None);
    }
    let at = match text.find(": ") {
        Some(at) => at,
        None if text.ends_with(':') => text.len() - 1,
        None => return Ok(None),
    };
    let key = plain(text[..at].trim_end(), number)?;
    Ok(Some((key, text[at + 1..].trim_start())))
}

/// A value that stands on one line: a scalar or a flow list of scalars.
fn inline(text: &str, number: usize) -> Result<Node, Error> {
    let Some(mut rest) = text.strip_prefix('[') else {
        let (scalar, rest) = scalar(text, number, false)?;
        return if rest.trim().is_empty() {
            Ok(Node::Scalar(scalar))
        } else {
            fail(number, format!("unexpected text after a value: {:?}", rest.trim()))
        };
    };
    let mut items = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(']') {
            return if after.trim().is_empty() {
                Ok(Node::List(items))
            } else {
                fail(number, format!("unexpected text after a list: {:?}", after.trim()))
            };
        }
        if rest.is_empty() {
            return fail(number, "did not find expected ',' or ']'");
        }
        let (item, after) = scalar(rest, number, true)?;
        items.push(Value { line: number, node: Node::Scalar(item) });
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with(']') => {}
            None => return fail(number, "did not find expected ',' or ']'"),
        }
    }
}

/// One scalar and what follows it. In a flow list a plain one ends at `,` or `]`.
fn scalar(text: &str, number: usize, flow: bool) -> Result<(String, &str), Error> {
    if text.starts_with(['"', '\'']) {
        return quoted(text, number);
    }
    let end = if flow { text.find([',', ']']).unwrap_or(text.len()) } else { text.len() };
    let word = text[..end].trim_end();
    if word.contains(": ") || word.ends_with(':') {
        return fail(number, "mapping values are not allowed in this context");
    }
    Ok((plain(word, number)?, &text[end..]))
}

fn plain(word: &str, number: usize) -> Result<String, Error> {
    match word.chars().next() {
        None => fail(number, "a value is missing"),
        Some(c) if "&*!|>{}[]%@`,?".contains(c) => {
            fail(number, format!("text that begins with {c:?} must be quoted; this part of YAML is not read"))
        }
        Some(_) => Ok(word.to_owned()),
    }
}

fn quoted(text: &str, number: usize) -> Result<(String, &str), Error> {
    let single = text.starts_with('\'');
    let (mut word, mut chars) = (String::new(), text.char_indices().skip(1).peekable());
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if single && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                word.push('\'');
            }
            '\'' if single => return Ok((word, &text[at + 1..])),
            '"' if !single => return Ok((word, &text[at + 1..])),
            '\\' if !single => match chars.next() {
                Some((_, c @ ('"' | '\\' | '/'))) => word.push(c),
                Some((_, 'n')) => word.push('\n'),
                Some((_, 't')) => word.push('\t'),
                Some((_, c)) => return fail(number, format!("unknown escape \\{c}")),
                None => break,
            },
            c => word.push(c),
        }
    }
    fail(number, "found the end of the line inside a quoted value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(value: &Value) -> String {
        match &value.node {
            Node::Empty => "~".to_owned(),
            Node::Scalar(text) => format!("{text:?}"),
            Node::List(items) => format!("[{}]", items.iter().map(compact).collect::<Vec<_>>().join(",")),
            Node::Map(entries) => {
                let inner: Vec<_> = entries.iter().map(|(key, v)| format!("{key}:{}", compact(v))).collect();
                format!("{{{}}}", inner.join(","))
            }
        }
    }

    #[test]
    fn reads_what_configurations_are_made_of() {
        for (text, expected) in [
            ("", "~"),
            ("# nothing\n---\n", "~"),
            ("a: 1\nb:\n  c: x y # note\n  d:\ne: 'it''s'", r#"{a:"1",b:{c:"x y",d:~},e:"it's"}"#),
            (r##"a: "#1 \"q\" \\ \n""##, r##"{a:"#1 \"q\" \\ \n"}"##),
            ("a: [x, \"y, z\" , 'w']\nb: []", r#"{a:["x","y, z","w"],b:[]}"#),
            ("a:\n- x\n- y\nb:\n  - z", r#"{a:["x","y"],b:["z"]}"#),
            (
                "- pull:\n    port: 1\n  other: 2\n-\n  x: 3\n- - in\n  - out",
                r#"[{pull:{port:"1"},other:"2"},{x:"3"},["in","out"]]"#,
            ),
            ("batch/traces:\nurl: http://h:1/x", r#"{batch/traces:~,url:"http://h:1/x"}"#),
            (
                "endpoint: 127.0.0.1:4318\naddress: \":51681\"",
                r#"{endpoint:"127.0.0.1:4318",address:":51681"}"#,
            ),
            ("\"quoted key\" : v\nplain: it's", r#"{quoted key:"v",plain:"it's"}"#),
            ("a: x#y", r#"{a:"x#y"}"#),
        ] {
            let value = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(compact(&value), expected, "{text:?}");
        }
    }

    #[test]
    fn names_the_line_of_each_mistake() {
        for (text, line, part) in [
            ("a: 1\n\tb: 2", 2, "tab"),
            ("a: 1\n  b: 2", 2, "not allowed at this indentation"),
            ("a:\n    b: 1\n  c: 2", 3, "indentation"),
            ("  a: 1\nb: 2", 2, "does not match"),
            ("a: 1\n# c\na: 2", 3, "already set at line 1"),
            ("just words", 1, "expected `key: value`"),
            ("a: b: c", 1, "mapping values are not allowed"),
            ("a: [x, y", 1, "',' or ']'"),
            ("a: [x y] z", 1, "after a list"),
            ("a: [x, [y]]", 1, "must be quoted"),
            ("a: \"open", 1, "inside a quoted value"),
            ("a: 'x' y", 1, "after a value"),
            ("a: \"\\q\"", 1, "unknown escape"),
            ("a: &anchor x", 1, "must be quoted"),
            ("a: |\n  text", 1, "must be quoted"),
            ("a: {b: 1}", 1, ""),
            ("a: 1\n---\nb: 2", 2, "only one document"),
            ("- x\ny: 1", 2, "does not match"),
            ("a: 1\n- x", 2, "expected `key: value`"),
            (": x", 1, "missing"),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.message.contains(part), "{text:?}: {error}");
        }
        let deep: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(parse(&deep).expect_err("too deep").message.contains("nested deeper"));
        assert!(parse(&"- ".repeat(5000)).expect_err("too deep").message.contains("nested deeper"));
    }

    #[test]
    fn no_cut_or_changed_text_panics() {
        let text = include_str!("../../otel.yaml");
        for end in 0..text.len() {
            let _ = parse(&text[..end]);
            for c in ["\"", "'", "[", ":", "-", "\t", "é", " "] {
                let _ = parse(&format!("{}{c}{}", &text[..end], &text[end + 1..]));
            }
        }
    }
}
