//! Values of properties on their way out of a snapshot: borrowed from it, so that telling them copies each
//! once, into the answer.

use crate::front::Timestamp;
use crate::wire::{Entries, Value};

/// A value.
#[derive(Debug)]
pub enum Shown<'a> {
    /// The default of the property's row.
    Default,
    /// `b`
    Bool(bool),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Text(&'a str),
    /// `ay`
    Bytes(&'a [u8]),
    /// `as`
    Texts(&'a [String]),
    /// `as`
    Boxes(&'a [Box<str>]),
    /// Anything else.
    Value(Value),
}

impl Shown<'_> {
    /// The same by itself; `None` for the default.
    pub fn value(self) -> Option<Value> {
        Some(match self {
            Shown::Default => return None,
            Shown::Bool(v) => v.into(),
            Shown::Int32(v) => v.into(),
            Shown::Uint32(v) => v.into(),
            Shown::Uint64(v) => v.into(),
            Shown::Double(v) => v.into(),
            Shown::Text(v) => v.to_owned().into(),
            Shown::Bytes(v) => Value::Bytes(v.to_vec()),
            Shown::Texts(v) => Value::strings(v.iter().cloned()),
            Shown::Boxes(v) => Value::strings(v.iter().map(|text| text.to_string())),
            Shown::Value(v) => v,
        })
    }

    /// Whether it is of this type, which the default always is.
    pub fn has(&self, signature: &[u8]) -> bool {
        let own = match self {
            Shown::Default => return true,
            Shown::Bool(_) => "b",
            Shown::Int32(_) => "i",
            Shown::Uint32(_) => "u",
            Shown::Uint64(_) => "t",
            Shown::Double(_) => "d",
            Shown::Text(_) => "s",
            Shown::Bytes(_) => "ay",
            Shown::Texts(_) | Shown::Boxes(_) => "as",
            Shown::Value(value) => return value.signature().as_bytes() == signature,
        };
        own.as_bytes() == signature
    }

    /// Appends it to the entry that was begun.
    pub fn write(&self, to: &mut Entries) {
        match self {
            Shown::Default => {}
            Shown::Bool(v) => to.uint32(u32::from(*v)),
            Shown::Int32(v) => to.uint32(v.cast_unsigned()),
            Shown::Uint32(v) => to.uint32(*v),
            Shown::Uint64(v) => to.uint64(*v),
            Shown::Double(v) => to.uint64(v.to_bits()),
            Shown::Text(v) => to.string(v),
            Shown::Bytes(v) => to.bytes(v),
            Shown::Texts(v) => to.strings(v.iter().map(String::as_str)),
            Shown::Boxes(v) => to.strings(v.iter().map(|text| &**text)),
            Shown::Value(v) => to.value(v),
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl<'a> From<$type> for Shown<'a> {
            fn from(value: $type) -> Shown<'a> {
                Shown::$variant(value)
            }
        })*
    };
}

from! {
    bool => Bool, i32 => Int32, u32 => Uint32, u64 => Uint64, f64 => Double, &'a str => Text,
    &'a [String] => Texts, &'a [Box<str>] => Boxes, Value => Value,
}

impl From<String> for Shown<'_> {
    fn from(text: String) -> Self {
        Shown::Value(text.into())
    }
}

/// `s`
pub fn text(text: &str) -> Shown<'_> {
    Shown::Text(text)
}

/// `as`
pub fn texts(texts: &[String]) -> Shown<'_> {
    Shown::Texts(texts)
}

/// `t` where unknown and unlimited are the largest number.
pub fn or_max(number: Option<u64>) -> Shown<'static> {
    Shown::Uint64(number.unwrap_or(u64::MAX))
}

/// `t`
pub fn realtime(at: Timestamp) -> Shown<'static> {
    Shown::Uint64(at.realtime_us)
}

/// `t`
pub fn monotonic(at: Timestamp) -> Shown<'static> {
    Shown::Uint64(at.monotonic_us)
}
