//! Rows of properties: as they are written, and as the program holds them.
//!
//! The rows are written with texts. A program that can be loaded anywhere has to have each pointer to one
//! relocated whenever it is started, and each process then has a copy of its own of the pages that they lie
//! in. So the compiler encodes the rows as they go over the wire, and a row is a place in these bytes. What
//! has its default value is answered by copying them: an entry of `a{sv}` begins at a multiple of eight, so
//! its bytes are the same wherever it stands.

use super::configured::Field;
use super::shown::Shown;
use crate::wire::{Entries, Value, alignment};

/// What a change of a property sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emits {
    /// Never changes while loaded.
    Const,
    /// The new value.
    Change,
    /// Its name.
    Invalidation,
    /// Nothing.
    Nothing,
}

impl Emits {
    /// As introspection says it; changes are the default there.
    pub fn annotation(self) -> Option<&'static str> {
        match self {
            Emits::Const => Some("const"),
            Emits::Change => None,
            Emits::Invalidation => Some("invalidates"),
            Emits::Nothing => Some("false"),
        }
    }
}

/// A property as it is written. Not to be used at run time.
pub struct Row {
    /// Name.
    name: &'static str,
    /// Signature of its value.
    signature: &'static str,
    /// What its change sends.
    emits: Emits,
    /// Its default value: a number, `yes`, a text; nothing is what has nothing in it.
    default: &'static str,
}

impl Row {
    /// The same row with a default value.
    pub const fn or(self, default: &'static str) -> Row {
        Row { default, ..self }
    }

    /// A row that never changes while loaded.
    pub const fn fixed(name: &'static str, signature: &'static str) -> Row {
        Row { name, signature, emits: Emits::Const, default: "" }
    }

    /// A row whose changes are sent.
    pub const fn live(name: &'static str, signature: &'static str) -> Row {
        Row { name, signature, emits: Emits::Change, default: "" }
    }

    /// A row whose changes invalidate it.
    pub const fn stale(name: &'static str, signature: &'static str) -> Row {
        Row { name, signature, emits: Emits::Invalidation, default: "" }
    }

    /// A row whose changes nobody is told of.
    pub const fn quiet(name: &'static str, signature: &'static str) -> Row {
        Row { name, signature, emits: Emits::Nothing, default: "" }
    }
}

/// A row without a pointer.
#[derive(Clone, Copy)]
pub struct Packed {
    /// Where its entry begins, in units of eight bytes.
    at: u16,
    name: u8,
    signature: u8,
    /// How long its entry is with its default value.
    whole: u8,
    emits: Emits,
    field: Option<Field>,
    mark: u8,
}

/// Entries while they are encoded; with `B` too small only their length is counted.
struct Encoder<const B: usize> {
    bytes: [u8; B],
    at: usize,
}

impl<const B: usize> Encoder<B> {
    const fn byte(&mut self, byte: u8) {
        if self.at < B {
            self.bytes[self.at] = byte;
        }
        self.at += 1;
    }

    const fn align(&mut self, to: usize) {
        while !self.at.is_multiple_of(to) {
            self.byte(0);
        }
    }

    const fn number(&mut self, number: u64, length: usize) {
        self.align(length);
        let mut i = 0;
        while i < length {
            self.byte((number >> (8 * i)) as u8);
            i += 1;
        }
    }

    const fn text(&mut self, text: &str) {
        let mut i = 0;
        while i < text.len() {
            self.byte(text.as_bytes()[i]);
            i += 1;
        }
        self.byte(0);
    }

    /// Encodes the value of the type at `from`; where the next type begins.
    const fn value(&mut self, signature: &[u8], from: usize, text: &str) -> usize {
        match signature[from] {
            b'y' => self.number(parsed(text), 1),
            b'n' | b'q' => self.number(parsed(text), 2),
            b'b' | b'i' | b'u' => self.number(parsed(text), 4),
            b'x' | b't' | b'd' => self.number(parsed(text), 8),
            b's' => {
                self.number(text.len() as u64, 4);
                self.text(text);
            }
            b'o' => {
                self.number(1, 4);
                self.text("/");
            }
            b'a' => {
                self.number(0, 4);
                self.align(alignment(signature[from + 1]));
                return type_end(signature, from);
            }
            b'(' => {
                self.align(8);
                let mut at = from + 1;
                while signature[at] != b')' {
                    at = self.value(signature, at, "");
                }
                return at + 1;
            }
            _ => panic!("no property is of this type"),
        }
        from + 1
    }

    const fn row(&mut self, row: &Row) -> Packed {
        self.align(8);
        let at = self.at;
        assert!(row.name.len() < 64 && row.signature.len() < 64 && at / 8 < u16::MAX as usize);
        self.number(row.name.len() as u64, 4);
        self.text(row.name);
        self.byte(row.signature.len() as u8);
        self.text(row.signature);
        let end = self.value(row.signature.as_bytes(), 0, row.default);
        assert!(end == row.signature.len() && self.at - at < 256);
        Packed {
            at: (at / 8) as u16,
            name: row.name.len() as u8,
            signature: row.signature.len() as u8,
            whole: (self.at - at) as u8,
            emits: row.emits,
            field: Field::of(row.name),
            mark: mark(stem(row.name.as_bytes())),
        }
    }
}

/// A number, or a truth as one.
const fn parsed(text: &str) -> u64 {
    let text = text.as_bytes();
    match text {
        b"infinity" => return u64::MAX,
        b"yes" => return 1,
        b"no" => return 0,
        _ => {}
    }
    let negative = !text.is_empty() && text[0] == b'-';
    let (mut number, mut i) = (0u64, negative as usize);
    while i < text.len() {
        assert!(text[i].is_ascii_digit(), "a default that is no number");
        number = number * 10 + (text[i] - b'0') as u64;
        i += 1;
    }
    if negative { number.wrapping_neg() } else { number }
}

/// Where the type that begins at `from` ends.
const fn type_end(signature: &[u8], from: usize) -> usize {
    let mut at = from;
    while signature[at] == b'a' {
        at += 1;
    }
    let mut depth = 0;
    loop {
        match signature[at] {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
}

/// A property's name without its unit of time, and its directive's without another: what both begin with.
const fn stem(name: &[u8]) -> &[u8] {
    match name {
        [stem @ .., b'U', b'S', b'e', b'c'] => stem,
        name => directive_stem(name),
    }
}

/// The same of a directive.
pub const fn directive_stem(name: &[u8]) -> &[u8] {
    match name {
        [stem @ .., b'S', b'e', b'c'] => stem,
        name => name,
    }
}

/// Some bit out of 64 for a name.
pub const fn mark(name: &[u8]) -> u8 {
    let (mut hash, mut i) = (name.len() as u32, 0);
    while i < name.len() {
        hash = (hash.rotate_left(5) ^ name[i] as u32).wrapping_mul(0x9E37_79B1);
        i += 1;
    }
    (hash >> 26) as u8
}

/// How many bytes these rows take.
pub const fn length(rows: &[Row]) -> usize {
    pack::<0, 0>(rows).2
}

/// The rows, their bytes, and how many these are; as many as there is room for.
pub const fn pack<const N: usize, const B: usize>(rows: &[Row]) -> ([Packed; N], [u8; B], usize) {
    const NONE: Packed =
        Packed { at: 0, name: 0, signature: 0, whole: 0, emits: Emits::Const, field: None, mark: 0 };
    let mut encoder = Encoder { bytes: [0; B], at: 0 };
    let mut packed = [NONE; N];
    let mut i = 0;
    while i < rows.len() {
        let row = encoder.row(&rows[i]);
        if i < N {
            packed[i] = row;
        }
        i += 1;
    }
    (packed, encoder.bytes, encoder.at)
}

/// Which directives a unit may have as text: at least those that it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given(u64);

impl Given {
    /// One more.
    pub fn add(&mut self, directive: &str) {
        self.0 |= 1 << mark(directive_stem(directive.as_bytes()));
    }
}

/// What has properties.
pub trait View {
    /// Which directives it may have as text.
    fn given(&self) -> Given {
        Given::default()
    }
}

/// So many bytes of defaults are appended at once: what is cut off again is no more than that.
const PIECE: usize = 1024;

/// Rows that belong together.
pub struct Group<V: 'static> {
    rows: &'static [Packed],
    bytes: &'static [u8],
    value: for<'a> fn(Property<V>, &'a V, Given) -> Shown<'a>,
}

impl<V> Group<V> {
    /// Rows as [`pack`] has them, and what tells their values.
    pub const fn new<const N: usize, const B: usize>(
        packed: &'static ([Packed; N], [u8; B], usize),
        value: for<'a> fn(Property<V>, &'a V, Given) -> Shown<'a>,
    ) -> Group<V> {
        Group { rows: &packed.0, bytes: &packed.1, value }
    }

    /// All properties.
    pub fn rows(&'static self) -> impl Iterator<Item = Property<V>> {
        (0..self.rows.len()).map(move |index| Property { group: self, index })
    }

    /// The property of this name.
    pub fn property(&'static self, name: &str) -> Option<Property<V>> {
        self.rows().find(|row| row.is(name))
    }

    /// Appends all entries: first those of the defaults, a piece at a time, in which then the other values
    /// are put. Only where a value may be of another length, what follows is appended anew.
    pub fn tell(&'static self, view: &V, given: Given, to: &mut Entries) {
        // How many of the rows' bytes are appended, and how far an entry lies behind its place in them.
        let (mut told, mut shift) = (0, 0);
        for row in self.rows() {
            let begin = usize::from(row.packed().at) * 8;
            let end = begin + usize::from(row.packed().whole);
            if end > told {
                let until = (end + PIECE).next_multiple_of(8).min(self.bytes.len());
                shift = to.copy(&self.bytes[told..until]).wrapping_sub(told);
                told = until;
            }
            let shown = row.shown(view, given);
            let place = begin + row.head();
            let four = place.next_multiple_of(4).wrapping_add(shift);
            let eight = place.next_multiple_of(8).wrapping_add(shift);
            match shown {
                Shown::Bool(v) => to.put(four, u32::from(v).to_le_bytes()),
                Shown::Int32(v) => to.put(four, v.to_le_bytes()),
                Shown::Uint32(v) => to.put(four, v.to_le_bytes()),
                Shown::Uint64(v) => to.put(eight, v.to_le_bytes()),
                Shown::Double(v) => to.put(eight, v.to_le_bytes()),
                shown if row.is_default(&shown) => {}
                shown => {
                    to.cut(place.wrapping_add(shift));
                    shown.write(to);
                    told = self
                        .rows
                        .get(row.index + 1)
                        .map_or(self.bytes.len(), |next| usize::from(next.at) * 8);
                }
            }
        }
    }
}

/// A property of a snapshot.
pub struct Property<V: 'static> {
    group: &'static Group<V>,
    index: usize,
}

impl<V> Clone for Property<V> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<V> Copy for Property<V> {}

impl<V> Property<V> {
    fn packed(self) -> &'static Packed {
        &self.group.rows[self.index]
    }

    /// Its entry with its default value.
    fn entry(self) -> &'static [u8] {
        let packed = self.packed();
        &self.group.bytes[usize::from(packed.at) * 8..][..usize::from(packed.whole)]
    }

    fn name_bytes(self) -> &'static [u8] {
        &self.entry()[4..][..usize::from(self.packed().name)]
    }

    fn signature_bytes(self) -> &'static [u8] {
        let packed = self.packed();
        &self.entry()[usize::from(packed.name) + 6..][..usize::from(packed.signature)]
    }

    /// Where its value begins in its entry, but for padding.
    fn head(self) -> usize {
        let packed = self.packed();
        usize::from(packed.name) + usize::from(packed.signature) + 7
    }

    /// Its position in its group.
    pub fn index(self) -> usize {
        self.index
    }

    /// Whether this is its name.
    pub fn is(self, name: &str) -> bool {
        usize::from(self.packed().name) == name.len() && self.name_bytes() == name.as_bytes()
    }

    /// Name.
    pub fn name(self) -> &'static str {
        std::str::from_utf8(self.name_bytes()).unwrap_or_default()
    }

    /// Signature of its value.
    pub fn signature(self) -> &'static str {
        std::str::from_utf8(self.signature_bytes()).unwrap_or_default()
    }

    /// What its change sends.
    pub fn emits(self) -> Emits {
        self.packed().emits
    }

    /// The field of a configuration that holds it.
    pub fn field(self) -> Option<Field> {
        self.packed().field
    }

    /// Whether a value is known to be its default.
    fn is_default(self, value: &Shown<'_>) -> bool {
        match value {
            Shown::Default => true,
            // No array has anything in it by default.
            Shown::Bytes(v) => v.is_empty(),
            Shown::Texts(v) => v.is_empty(),
            Shown::Boxes(v) => v.is_empty(),
            Shown::Text(v) => {
                let default = self.entry().get(self.head().next_multiple_of(4) + 4..);
                default.and_then(|text| text.strip_suffix(b"\0")) == Some(v.as_bytes())
            }
            _ => false,
        }
    }

    /// Whether a value is of its type.
    pub fn takes(self, value: &Shown<'_>) -> bool {
        value.has(self.signature_bytes())
    }

    /// Whether a unit may have the text of this property's directive.
    pub fn may_be(self, given: Given) -> bool {
        given.0 >> self.packed().mark & 1 != 0
    }

    /// Its value in a snapshot.
    pub fn shown(self, view: &V, given: Given) -> Shown<'_> {
        (self.group.value)(self, view, given)
    }

    /// Its value in a snapshot, by itself.
    pub fn value(self, view: &V) -> Value
    where
        V: View,
    {
        self.shown(view, view.given()).value().unwrap_or_else(|| self.default())
    }

    /// Its default value.
    pub fn default(self) -> Value {
        let read = Value::read(self.entry(), self.head(), self.signature());
        debug_assert!(read.is_some(), "{}", self.name());
        read.unwrap_or(Value::Bool(false))
    }

    /// Appends its entry.
    pub fn tell(self, view: &V, given: Given, to: &mut Entries) {
        let entry = self.entry();
        match self.shown(view, given) {
            Shown::Default => {
                to.copy(entry);
            }
            shown => {
                to.copy(&entry[..self.head()]);
                shown.write(to);
            }
        }
    }
}

/// Rows with the function that gives each one's value:
/// `rows!(View, [fixed("Name", "s", |view| text(&view.name)), ...])`.
macro_rules! rows {
    ($view:ty, [$($emits:ident($name:literal, $signature:literal, $value:expr)),* $(,)?]) => {{
        use $crate::interface::row::{Given, Group, Packed, Property, Row, length, pack};
        use $crate::interface::shown::Shown;
        const ROWS: &[Row] = &[$(Row::$emits($name, $signature)),*];
        static PACKED: ([Packed; ROWS.len()], [u8; length(ROWS)], usize) = pack(ROWS);
        // The compiler makes a table of jumps of it.
        fn value<'a>(property: Property<$view>, view: &'a $view, _: Given) -> Shown<'a> {
            let mut at = property.index();
            $(
                if at == 0 {
                    let value: for<'x> fn(&'x $view) -> Shown<'x> = $value;
                    return value(view);
                }
                at = at.wrapping_sub(1);
            )*
            let _ = at;
            Shown::Default
        }
        Group::new(&PACKED, value)
    }};
}

pub(crate) use rows;
