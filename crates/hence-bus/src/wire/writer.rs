//! Encoding of values, little-endian. It trusts that an array's elements have the array's signature.

use super::Value;
use super::signature::alignment;

/// Appends to a buffer. Alignment counts from `start`, where the message begins.
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        let start = out.len();
        Writer { out, start }
    }

    /// Goes on with what the buffer holds from its beginning.
    pub fn within(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out, start: 0 }
    }

    pub fn align(&mut self, to: usize) {
        // Alignments are powers of two.
        let padding = self.length().wrapping_neg() & (to - 1);
        self.out.extend_from_slice(&[0; 8][..padding]);
    }

    /// Bytes written so far.
    pub fn length(&self) -> usize {
        self.out.len() - self.start
    }

    pub fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    pub fn uint32(&mut self, number: u32) {
        self.fixed(number.to_le_bytes());
    }

    /// Overwrites four bytes at an offset from the start of the message.
    pub fn patch(&mut self, offset: usize, number: usize) {
        let at = self.start + offset;
        // A message this long is refused by its receiver's and our own cap long before 2^32.
        self.out[at..at + 4].copy_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn fixed<const N: usize>(&mut self, raw: [u8; N]) {
        self.align(N);
        self.out.extend_from_slice(&raw);
    }

    /// Text cannot carry a NUL: it is cut there.
    pub fn string(&mut self, text: &str) {
        let mut text = text.as_bytes();
        if text.contains(&0) {
            text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        }
        self.uint32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.out.extend_from_slice(text);
        self.byte(0);
    }

    pub fn signature(&mut self, signature: &str) {
        let length = signature.len().min(255);
        self.byte(length as u8);
        self.out.extend_from_slice(&signature.as_bytes()[..length]);
        self.byte(0);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.uint32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.out.extend_from_slice(bytes);
    }

    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(v) => self.byte(*v),
            Value::Bool(v) => self.uint32(u32::from(*v)),
            Value::Int16(v) => self.fixed(v.to_le_bytes()),
            Value::Uint16(v) => self.fixed(v.to_le_bytes()),
            Value::Int32(v) => self.fixed(v.to_le_bytes()),
            Value::Uint32(v) | Value::Fd(v) => self.uint32(*v),
            Value::Int64(v) => self.fixed(v.to_le_bytes()),
            Value::Uint64(v) => self.fixed(v.to_le_bytes()),
            Value::Double(v) => self.fixed(v.to_le_bytes()),
            Value::Str(v) | Value::Path(v) => self.string(v),
            Value::Signature(v) => self.signature(v),
            Value::Bytes(v) => self.bytes(v),
            Value::Entries(v) => {
                self.uint32(u32::try_from(v.len()).unwrap_or(u32::MAX));
                self.align(8);
                self.out.extend_from_slice(v);
            }
            Value::Array(array) => {
                self.uint32(0);
                let offset = self.length() - 4;
                self.align(alignment(array.element.bytes().next().unwrap_or(b'y')));
                let first = self.length();
                array.items.iter().for_each(|item| self.value(item));
                self.patch(offset, self.length() - first);
            }
            Value::Struct(items) => {
                self.align(8);
                items.iter().for_each(|item| self.value(item));
            }
            Value::Entry(entry) => {
                self.align(8);
                self.value(&entry.0);
                self.value(&entry.1);
            }
            Value::Variant(inner) => self.variant(inner),
        }
    }

    /// A value behind its signature.
    pub fn variant(&mut self, inner: &Value) {
        match inner.simple_signature() {
            Some(simple) => self.signature(simple),
            None => self.signature(&inner.signature()),
        }
        self.value(inner);
    }
}
