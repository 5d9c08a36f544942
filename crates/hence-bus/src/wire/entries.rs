//! The entries of an `a{sv}`, encoded one after the other. They begin at a multiple of eight wherever the
//! array stands, so they are the same bytes in each message.

use super::Value;
use super::reader::Reader;
use super::writer::Writer;

/// Entries, encoded.
#[derive(Debug, Default)]
pub struct Entries {
    bytes: Vec<u8>,
}

impl Entries {
    /// No entries, and room for these bytes.
    pub fn with_room(bytes: usize) -> Entries {
        Entries { bytes: Vec::with_capacity(bytes) }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The array.
    pub fn into_value(self) -> Value {
        Value::Entries(self.bytes)
    }

    fn writer(&mut self) -> Writer<'_> {
        Writer::within(&mut self.bytes)
    }

    /// Appends entries, or the beginning of one up to the end of its value's signature, as they are. Returns
    /// where they begin.
    pub fn copy(&mut self, entries: &[u8]) -> usize {
        if !entries.is_empty() {
            self.writer().align(8);
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(entries);
        at
    }

    /// Overwrites what is there already.
    pub fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&bytes);
    }

    /// Drops what is there from this place on.
    pub fn cut(&mut self, at: usize) {
        self.bytes.truncate(at);
    }

    /// Appends an entry.
    pub fn property(&mut self, name: &str, value: &Value) {
        let mut writer = self.writer();
        writer.align(8);
        writer.string(name);
        writer.variant(value);
    }

    /// Appends the value of an entry that was begun.
    pub fn value(&mut self, value: &Value) {
        self.writer().value(value);
    }

    /// `u`, `i` or `b`.
    pub fn uint32(&mut self, number: u32) {
        self.writer().uint32(number);
    }

    /// Any number of eight bytes.
    pub fn uint64(&mut self, number: u64) {
        self.writer().value(&Value::Uint64(number));
    }

    /// `s`
    pub fn string(&mut self, text: &str) {
        self.writer().string(text);
    }

    /// `ay`
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.writer().bytes(bytes);
    }

    /// `as`
    pub fn strings<'a>(&mut self, texts: impl Iterator<Item = &'a str>) {
        let mut writer = self.writer();
        writer.uint32(0);
        let first = writer.length();
        texts.for_each(|text| writer.string(text));
        writer.patch(first - 4, writer.length() - first);
    }
}

impl Value {
    /// Reads the value of this type that lies here.
    pub(crate) fn read(bytes: &[u8], at: usize, signature: &str) -> Option<Value> {
        Reader::new(bytes, at, false, 0).values(signature).ok()?.pop()
    }
}
