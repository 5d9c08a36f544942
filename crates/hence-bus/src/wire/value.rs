//! A D-Bus value of any type. It does not know how values look on the wire.

use std::borrow::Cow;

/// A value. Text that never changes (states, results) is borrowed, so that it costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    Int16(i16),
    /// `q`
    Uint16(u16),
    /// `i`
    Int32(i32),
    /// `u`
    Uint32(u32),
    /// `x`
    Int64(i64),
    /// `t`
    Uint64(u64),
    /// `d`
    Double(f64),
    /// `s`
    Str(Cow<'static, str>),
    /// `o`
    Path(Cow<'static, str>),
    /// `g`
    Signature(Cow<'static, str>),
    /// `h`: an index into the descriptors that travel with the message.
    Fd(u32),
    /// `ay`, the one array that is not a list of values.
    Bytes(Vec<u8>),
    /// `a{sv}`, its entries encoded already; only to be written.
    Entries(Vec<u8>),
    /// `a…` of anything but bytes.
    Array(Box<Array>),
    /// `(…)`
    Struct(Vec<Value>),
    /// `{…}`, only within an array.
    Entry(Box<(Value, Value)>),
    /// `v`
    Variant(Box<Value>),
}

/// An array and the signature of its elements, which an empty array needs too.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Signature of one element: one complete type.
    pub element: Cow<'static, str>,
    /// The elements, each of that signature.
    pub items: Vec<Value>,
}

impl Value {
    /// An array whose elements have this signature.
    pub fn array(element: &'static str, items: Vec<Value>) -> Value {
        Value::Array(Box::new(Array { element: Cow::Borrowed(element), items }))
    }

    /// `as`
    pub fn strings<I: IntoIterator<Item = S>, S: Into<Cow<'static, str>>>(items: I) -> Value {
        Value::array("s", items.into_iter().map(|item| Value::Str(item.into())).collect())
    }

    /// `o`
    pub fn path(path: impl Into<Cow<'static, str>>) -> Value {
        Value::Path(path.into())
    }

    /// `v`
    pub fn variant(value: Value) -> Value {
        Value::Variant(Box::new(value))
    }

    /// An entry of `a{sv}`.
    pub fn property(name: &'static str, value: Value) -> Value {
        Value::Entry(Box::new((Value::Str(Cow::Borrowed(name)), Value::variant(value))))
    }

    /// The text of a string, object path or signature.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) | Value::Path(text) | Value::Signature(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array or the fields of a struct; none for anything else.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(array) => &array.items,
            Value::Struct(items) => items,
            _ => &[],
        }
    }

    /// Appends the signature of this value.
    pub fn sign(&self, out: &mut String) {
        if let Some(simple) = self.simple_signature() {
            return out.push_str(simple);
        }
        match self {
            Value::Array(array) => {
                out.push('a');
                out.push_str(&array.element);
            }
            Value::Struct(items) => {
                out.push('(');
                items.iter().for_each(|item| item.sign(out));
                out.push(')');
            }
            Value::Entry(entry) => {
                out.push('{');
                entry.0.sign(out);
                entry.1.sign(out);
                out.push('}');
            }
            _ => {}
        }
    }

    /// The signature of a value whose type says it.
    pub fn simple_signature(&self) -> Option<&'static str> {
        Some(match self {
            Value::Byte(_) => "y",
            Value::Bool(_) => "b",
            Value::Int16(_) => "n",
            Value::Uint16(_) => "q",
            Value::Int32(_) => "i",
            Value::Uint32(_) => "u",
            Value::Int64(_) => "x",
            Value::Uint64(_) => "t",
            Value::Double(_) => "d",
            Value::Str(_) => "s",
            Value::Path(_) => "o",
            Value::Signature(_) => "g",
            Value::Fd(_) => "h",
            Value::Bytes(_) => "ay",
            Value::Variant(_) => "v",
            Value::Entries(_) => "a{sv}",
            Value::Array(_) | Value::Struct(_) | Value::Entry(_) => return None,
        })
    }

    /// The signature of this value.
    pub fn signature(&self) -> String {
        let mut out = String::new();
        self.sign(&mut out);
        out
    }
}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value.into())
            }
        })*
    };
}

from! {
    u8 => Byte, bool => Bool, i16 => Int16, u16 => Uint16, i32 => Int32, u32 => Uint32, i64 => Int64,
    u64 => Uint64, f64 => Double, String => Str, &'static str => Str, Cow<'static, str> => Str,
}
