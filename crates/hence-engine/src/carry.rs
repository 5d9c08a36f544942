//! The text by which a running hence hands what it holds to the program that takes its place.
//!
//! A first line with the version, then sections of `key=value` lines, each closed by its checksum. A reader
//! passes over sections and keys that it doesn't know, and gives what is missing its default, so that an
//! older and a newer hence can take over from each other. A section that is cut short or damaged is named
//! and left out; the others hold. What is in the sections is their owners' business.
//!
//! A value is a row of words with one space between them: numbers in decimal, `-` for nothing and `+` before
//! something, texts with `'` in front and their spaces, line ends, `=` and `%` as `%XX`.

use crate::{ConnectionId, ExecId, JobId, UnitId};
use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::fmt::Write as _;
use hence_ledger::{
    ActiveState, Cause, Exit, ExitKind, JobResult, JobType, LeftOver, RecordId, Rule, SpawnStep, Stamp,
    Stream, SubState, Text, UnitResult, record::Invocation,
};
use hence_unit::config::ExecPhase;

/// What the first line begins with.
const MAGIC: &str = "hence-state ";
/// Rises only when older readers could not go on.
const VERSION: u32 = 1;
/// Most elements of a list.
const LIST_MAX: usize = 1 << 20;

/// A value that can be handed on.
pub trait Carry: Sized {
    /// Appends its words.
    fn put(&self, out: &mut String);
    /// Takes its words; `None` where they are not such a value.
    fn take(words: &mut Words<'_>) -> Option<Self>;
}

/// What is left of a value's words.
#[derive(Debug)]
pub struct Words<'a> {
    rest: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// The words of a value.
    pub fn new(value: &'a str) -> Words<'a> {
        Words { rest: (!value.is_empty()).then_some(value) }
    }

    /// The next word.
    pub fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest?;
        match rest.split_once(' ') {
            Some((word, rest)) => {
                self.rest = Some(rest);
                Some(word)
            }
            None => self.rest.take(),
        }
    }

    /// A value that these words are, all of them.
    fn whole<T: Carry>(value: &'a str) -> Option<T> {
        let mut words = Words::new(value);
        T::take(&mut words).filter(|_| words.rest.is_none())
    }
}

fn push(out: &mut String, word: &str) {
    if !out.is_empty() && !out.ends_with('=') {
        out.push(' ');
    }
    out.push_str(word);
}

macro_rules! numbers {
    ($($type:ty)*) => { $(impl Carry for $type {
        fn put(&self, out: &mut String) {
            push(out, "");
            let _ = write!(out, "{self}");
        }
        fn take(words: &mut Words<'_>) -> Option<$type> {
            words.word()?.parse().ok()
        }
    })* };
}
numbers! { u8 u16 u32 u64 i32 i64 }

impl Carry for bool {
    fn put(&self, out: &mut String) {
        push(out, if *self { "yes" } else { "no" });
    }
    fn take(words: &mut Words<'_>) -> Option<bool> {
        match words.word()? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
}

impl Carry for String {
    fn put(&self, out: &mut String) {
        push(out, "'");
        for c in self.chars() {
            match c {
                '%' | ' ' | '=' | '\n' | '\r' => {
                    let _ = write!(out, "%{:02X}", c as u32);
                }
                c => out.push(c),
            }
        }
    }
    fn take(words: &mut Words<'_>) -> Option<String> {
        let mut rest = words.word()?.strip_prefix('\'')?;
        let mut text = String::with_capacity(rest.len());
        while let Some((plain, escaped)) = rest.split_once('%') {
            text.push_str(plain);
            let (digits, after) = escaped.split_at_checked(2)?;
            text.push(char::from(u8::from_str_radix(digits, 16).ok()?));
            rest = after;
        }
        text.push_str(rest);
        Some(text)
    }
}

impl Carry for Text {
    fn put(&self, out: &mut String) {
        String::from(&**self).put(out);
    }
    fn take(words: &mut Words<'_>) -> Option<Text> {
        String::take(words).map(|text| text.as_str().into())
    }
}

impl Carry for Box<str> {
    fn put(&self, out: &mut String) {
        String::from(&**self).put(out);
    }
    fn take(words: &mut Words<'_>) -> Option<Box<str>> {
        String::take(words).map(String::into_boxed_str)
    }
}

impl<T: Carry> Carry for Option<T> {
    fn put(&self, out: &mut String) {
        push(out, if self.is_some() { "+" } else { "-" });
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(words: &mut Words<'_>) -> Option<Option<T>> {
        match words.word()? {
            "-" => Some(None),
            "+" => T::take(words).map(Some),
            _ => None,
        }
    }
}

impl<T: Carry> Carry for Box<T> {
    fn put(&self, out: &mut String) {
        (**self).put(out);
    }
    fn take(words: &mut Words<'_>) -> Option<Box<T>> {
        T::take(words).map(Box::new)
    }
}

impl<T: Carry> Carry for Vec<T> {
    fn put(&self, out: &mut String) {
        (self.len() as u64).put(out);
        self.iter().for_each(|value| value.put(out));
    }
    fn take(words: &mut Words<'_>) -> Option<Vec<T>> {
        let count = usize::try_from(u64::take(words)?).ok().filter(|count| *count <= LIST_MAX)?;
        // Room is made as values come: the count is only what somebody says.
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(T::take(words)?);
        }
        Some(list)
    }
}

impl<T: Carry + Copy + Default, const N: usize> Carry for [T; N] {
    fn put(&self, out: &mut String) {
        self.iter().for_each(|value| value.put(out));
    }
    fn take(words: &mut Words<'_>) -> Option<[T; N]> {
        let mut values = [T::default(); N];
        for value in &mut values {
            *value = T::take(words)?;
        }
        Some(values)
    }
}

macro_rules! tuples {
    ($(($($name:ident $at:tt),*))*) => { $(impl<$($name: Carry),*> Carry for ($($name,)*) {
        fn put(&self, out: &mut String) {
            $(self.$at.put(out);)*
        }
        fn take(words: &mut Words<'_>) -> Option<Self> {
            Some(($($name::take(words)?,)*))
        }
    })* };
}
tuples! { (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4)
(A 0, B 1, C 2, D 3, E 4, F 5) }

macro_rules! wrapped {
    ($($type:ident)*) => { $(impl Carry for $type {
        fn put(&self, out: &mut String) {
            self.0.put(out);
        }
        fn take(words: &mut Words<'_>) -> Option<$type> {
            Carry::take(words).map($type)
        }
    })* };
}
wrapped! { RecordId JobId ExecId ConnectionId UnitId }

impl Carry for Invocation {
    fn put(&self, out: &mut String) {
        push(out, "");
        let _ = write!(out, "{self}");
    }
    fn take(words: &mut Words<'_>) -> Option<Invocation> {
        let word = words.word().filter(|word| word.len() == 32 && word.is_ascii())?;
        u128::from_str_radix(word, 16).ok().map(|number| Invocation(number.to_be_bytes()))
    }
}

// By their numbers in the ledger, which never change; a word need not be its only one.
macro_rules! tagged {
    ($($type:ident)*) => { $(impl Carry for $type {
        fn put(&self, out: &mut String) {
            self.tag().put(out);
        }
        fn take(words: &mut Words<'_>) -> Option<$type> {
            $type::from_tag(u8::take(words)?)
        }
    })* };
}
tagged! { SubState ActiveState JobType JobResult UnitResult ExitKind SpawnStep Stream }

/// Derives [`Carry`] for values whose fields are all public here: their words follow each other.
macro_rules! carry_fields {
    ($($type:ty { $($field:ident),* })*) => { $(impl $crate::carry::Carry for $type {
        fn put(&self, out: &mut alloc::string::String) {
            $(self.$field.put(out);)*
        }
        fn take(words: &mut $crate::carry::Words<'_>) -> Option<Self> {
            Some(Self { $($field: $crate::carry::Carry::take(words)?),* })
        }
    })* };
}

/// Derives [`Carry`] for a plain choice, by these words.
macro_rules! carry_words {
    ($type:ty { $($variant:ident $word:literal),* }) => { impl $crate::carry::Carry for $type {
        fn put(&self, out: &mut alloc::string::String) {
            let word = match self { $(<$type>::$variant => $word,)* };
            $crate::carry::put_word(out, word);
        }
        fn take(words: &mut $crate::carry::Words<'_>) -> Option<Self> {
            match words.word()? { $($word => Some(<$type>::$variant),)* _ => None }
        }
    } };
}

/// Gives a machine the means to hand on these fields, each under its own name.
macro_rules! carry_machine {
    ($type:ty { $($field:ident),* }) => { impl $type {
        /// Writes what a successor needs.
        pub(crate) fn put_fields(&self, out: &mut $crate::carry::Writer) {
            $(out.field(stringify!($field), &self.$field);)*
        }
        /// Takes up what was written; a field that isn't there stays as it is.
        pub(crate) fn take_fields(
            &mut self,
            from: &$crate::carry::Section<'_>,
        ) -> Result<(), $crate::carry::Unread> {
            $(if let Some(value) = from.get(stringify!($field))? { self.$field = value; })*
            Ok(())
        }
    } };
}
pub(crate) use {carry_fields, carry_machine, carry_words};

/// Appends one word as it is.
pub(crate) fn put_word(out: &mut String, word: &str) {
    push(out, word);
}

carry_fields! {
    Stamp { realtime_us, monotonic_us }
    Exit { kind, status }
    Rule { directive, file, line }
    Cause { record, rule }
    LeftOver { pid, start_ticks, command, bytes }
}
carry_words! { ExecPhase {
    Condition "condition", StartPre "start-pre", Start "start", StartPost "start-post", Reload "reload",
    Stop "stop", StopPost "stop-post"
} }

/// Writes the text.
#[derive(Debug)]
pub struct Writer {
    text: String,
    /// Where the section that is open begins.
    from: Option<usize>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer::new()
    }
}

impl Writer {
    /// A text without sections.
    pub fn new() -> Writer {
        Writer { text: format!("{MAGIC}{VERSION}\n"), from: None }
    }

    /// Begins a section: what it is about and, where there are several of the kind, the name of this one.
    pub fn section(&mut self, kind: &str, name: &str) {
        self.close();
        self.from = Some(self.text.len());
        let mut subject = String::new();
        String::from(name).put(&mut subject);
        let _ = writeln!(self.text, "[{kind} {subject}]");
    }

    /// A line of the section that is open. Keys may come more than once.
    pub fn field<T: Carry>(&mut self, key: &str, value: &T) {
        let _ = write!(self.text, "{key}=");
        value.put(&mut self.text);
        self.text.push('\n');
    }

    fn close(&mut self) {
        if let Some(from) = self.from.take() {
            let sum = checksum(&self.text[from..]);
            let _ = writeln!(self.text, "={sum:016x}");
        }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        self.section("end", "");
        self.close();
        self.text
    }
}

/// FNV-1a over 64 bits: it finds accidents, not malice; who may write the text may do anything.
fn checksum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A field whose value is none that this version knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread(pub String);

/// A section that came through whole.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// What it is about.
    pub kind: &'a str,
    /// Which of the kind.
    pub name: String,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Section<'a> {
    /// The value of a key; `None` where there is no such line.
    ///
    /// # Errors
    /// There is one, and it says nothing that this version knows.
    pub fn get<T: Carry>(&self, key: &str) -> Result<Option<T>, Unread> {
        let Some((_, value)) = self.fields.iter().find(|(k, _)| *k == key) else { return Ok(None) };
        Words::whole(value).map(Some).ok_or_else(|| Unread(key.into()))
    }

    /// The same of a line that has to be there.
    ///
    /// # Errors
    /// It isn't, or says nothing that this version knows.
    pub fn need<T: Carry>(&self, key: &str) -> Result<T, Unread> {
        self.get(key)?.ok_or_else(|| Unread(key.into()))
    }

    /// The values of every line of this key.
    ///
    /// # Errors
    /// One of them says nothing that this version knows.
    pub fn all<T: Carry>(&self, key: &str) -> Result<Vec<T>, Unread> {
        let lines = self.fields.iter().filter(|(k, _)| *k == key);
        lines.map(|(_, value)| Words::whole(value).ok_or_else(|| Unread(key.into()))).collect()
    }
}

/// What a text has.
#[derive(Clone, Debug, Default)]
pub struct Carried<'a> {
    /// Sections that came through whole, in their order.
    pub sections: Vec<Section<'a>>,
    /// What did not, in words.
    pub unread: Vec<Text>,
}

impl<'a> Carried<'a> {
    /// Reads a text. Nothing in it can make this fail: what is of no use is said in `unread`.
    pub fn read(text: &'a str) -> Carried<'a> {
        let mut carried = Carried::default();
        let mut lines = text.split_inclusive('\n');
        let first = lines.next().unwrap_or_default().trim_end();
        match first.strip_prefix(MAGIC).map(str::parse::<u32>) {
            Some(Ok(1..=VERSION)) => {}
            Some(Ok(version @ 2..)) => {
                let text = format!("the whole state: it is of version {version}, this hence knows {VERSION}");
                carried.unread.push(text.as_str().into());
                return carried;
            }
            // Sections say for themselves whether they are whole.
            _ => carried.unread.push("the first line".into()),
        }
        let mut at = text.len() - lines.clone().map(str::len).sum::<usize>();
        let mut open: Option<(usize, Section<'a>)> = None;
        for line in lines {
            let here = at;
            at += line.len();
            let Some(plain) = line.strip_suffix('\n') else { continue };
            if let Some((kind, name)) = heading(plain) {
                carried.cut_short(open.take());
                open = Some((here, Section { kind, name, fields: Vec::new() }));
            } else if let Some(sum) = plain.strip_prefix('=') {
                let Some((from, section)) = open.take() else {
                    carried.unread.push("a part without a name".into());
                    continue;
                };
                match u64::from_str_radix(sum, 16) {
                    Ok(sum) if sum == checksum(&text[from..here]) => carried.sections.push(section),
                    _ => carried.cut_short(Some((from, section))),
                }
            } else if let (Some((_, section)), Some(field)) = (&mut open, plain.split_once('=')) {
                section.fields.push(field);
            }
        }
        carried.cut_short(open);
        if carried.sections.last().is_none_or(|last| last.kind != "end") {
            carried.unread.push("the end".into());
        }
        carried
    }

    fn cut_short(&mut self, section: Option<(usize, Section<'a>)>) {
        if let Some((_, Section { kind, name, .. })) = section {
            self.unread.push(format!("{kind} {name}").trim_end().into());
        }
    }

    /// The sections of a kind.
    pub fn of<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s Section<'a>> {
        self.sections.iter().filter(move |section| section.kind == kind)
    }

    /// The section of a kind that there is one of.
    pub fn one(&self, kind: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.kind == kind)
    }
}

fn heading(line: &str) -> Option<(&str, String)> {
    let (kind, name) = line.strip_prefix('[')?.strip_suffix(']')?.split_once(' ')?;
    Words::whole(name).map(|name| (kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn round<T: Carry>(value: &T) -> Option<T> {
        let mut text = String::new();
        value.put(&mut text);
        Words::whole(&text)
    }

    #[test]
    fn values_come_back() {
        for text in ["", "a", " ", "a b\nc%20", "ä%=", "'", "- +"] {
            assert_eq!(round(&String::from(text)).as_deref(), Some(text));
        }
        let value = (Some(7u32), vec![(String::from("x y="), false), (String::new(), true)], -3i32);
        assert_eq!(round(&value), Some(value));
        let rule = Rule { directive: "Requires=a b".into(), file: None, line: 3 };
        let cause = Cause { record: RecordId(u64::MAX), rule: Some(rule) };
        assert_eq!(round(&cause), Some(cause));
        assert_eq!(round(&Invocation([0xab; 16])), Some(Invocation([0xab; 16])));
        assert_eq!(round(&SubState::SocketRunning), Some(SubState::SocketRunning));
        assert_eq!(Words::whole::<u8>("256"), None);
        assert_eq!(Words::whole::<u8>("2 5"), None);
        assert_eq!(Words::whole::<Vec<u8>>("18446744073709551615 1"), None);
        assert_eq!(Words::whole::<String>("'%4"), None);
    }

    fn written() -> String {
        let mut out = Writer::new();
        for name in ["a.service", "b c.service"] {
            out.section("unit", name);
            out.field("main", &Some(4711u32));
            out.field("news", &9u8);
        }
        out.finish()
    }

    #[test]
    fn what_is_damaged_is_named_and_the_rest_holds() {
        let text = written();
        let carried = Carried::read(&text);
        assert_eq!(carried.unread, Vec::<Text>::new());
        let names: Vec<&str> = carried.of("unit").map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["a.service", "b c.service"]);
        assert_eq!(carried.sections[0].need::<Option<u32>>("main"), Ok(Some(4711)));
        assert_eq!(carried.sections[0].get::<u32>("nothing"), Ok(None));
        assert_eq!(carried.sections[0].get::<bool>("main"), Err(Unread("main".into())));
        let other = text.replacen("4711", "4712", 1);
        let carried = Carried::read(&other);
        assert_eq!(carried.unread, [Text::from("unit a.service")]);
        assert_eq!(carried.of("unit").count(), 1);
        assert_eq!(Carried::read("hence-state 99\n").unread.len(), 1);
    }

    #[test]
    fn no_bytes_make_it_fail() {
        let text = written();
        for cut in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let carried = Carried::read(&text[..cut]);
            assert!(!carried.unread.is_empty(), "cut at {cut}");
        }
        for at in 0..text.len() {
            for byte in [b'[', b'\n', b'=', b' ', b'\'', 0] {
                let mut bytes = text.clone().into_bytes();
                if bytes[at] == byte {
                    continue;
                }
                bytes[at] = byte;
                let text = String::from_utf8_lossy(&bytes);
                let carried = Carried::read(&text);
                assert!(!carried.unread.is_empty(), "{byte} at {at}");
            }
        }
    }
}
