//! Decoding of values, strict: padding is zero, booleans are 0 or 1, text is UTF-8 without NUL, lengths fit.
//! It allocates only for bytes that are there. Where it is said which properties are wanted, others are
//! passed over without a look at what they are.

use super::signature::{alignment, check, check_single, complete_type, is_basic};
use super::{Array, Value, WireError, names};
use std::borrow::Cow;

/// Deepest nesting of values, variants included.
const DEPTH_MAX: u32 = 64;
/// Longest array, in bytes (the specification's limit).
const ARRAY_MAX: usize = 64 * 1024 * 1024;

/// Says of a property's name whether it is wanted.
pub type Wanted = fn(&[u8]) -> bool;

/// A position in one message. Alignment counts from the start of `bytes`.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
    fds: u32,
    wanted: Option<Wanted>,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], at: usize, big: bool, fds: u32) -> Reader<'a> {
        Reader { bytes, at, big, fds, wanted: None }
    }

    /// The same, for these properties only.
    pub fn only(mut self, wanted: Option<Wanted>) -> Reader<'a> {
        self.wanted = wanted;
        self
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub fn align(&mut self, to: usize) -> Result<(), WireError> {
        let end = self.at.next_multiple_of(to);
        let padding = self.bytes.get(self.at..end).ok_or(WireError("ends within padding"))?;
        if padding.iter().any(|&b| b != 0) {
            return Err(WireError("padding is not zero"));
        }
        self.at = end;
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(length).ok_or(WireError("length overflows"))?;
        let taken = self.bytes.get(self.at..end).ok_or(WireError("ends within a value"))?;
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.align(N)?;
        let mut raw: [u8; N] = self.take(N)?.try_into().map_err(|_| WireError("ends within a value"))?;
        if self.big {
            raw.reverse();
        }
        Ok(raw)
    }

    pub fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?[0])
    }

    pub fn uint32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }

    fn text(&mut self, length: usize) -> Result<&'a str, WireError> {
        let raw = self.take(length)?;
        if self.byte()? != 0 {
            return Err(WireError("text does not end in NUL"));
        }
        if raw.contains(&0) {
            return Err(WireError("NUL within text"));
        }
        std::str::from_utf8(raw).map_err(|_| WireError("text is not UTF-8"))
    }

    pub fn string(&mut self) -> Result<&'a str, WireError> {
        let length = self.uint32()? as usize;
        self.text(length)
    }

    pub fn object_path(&mut self) -> Result<&'a str, WireError> {
        match self.string()? {
            path if names::is_object_path(path) => Ok(path),
            _ => Err(WireError("invalid object path")),
        }
    }

    pub fn signature(&mut self) -> Result<&'a str, WireError> {
        let length = usize::from(self.byte()?);
        let signature = self.text(length)?;
        check(signature.as_bytes())?;
        Ok(signature)
    }

    /// The signature in front of a variant's value.
    pub fn variant_signature(&mut self) -> Result<&'a str, WireError> {
        // One letter, as a rule.
        if let Some([1, code, 0]) = self.bytes.get(self.at..self.at + 3)
            && is_basic(*code)
        {
            let begin = self.at + 1;
            self.at += 3;
            return std::str::from_utf8(&self.bytes[begin..=begin])
                .map_err(|_| WireError("text is not UTF-8"));
        }
        let signature = self.signature()?;
        check_single(signature.as_bytes())?;
        Ok(signature)
    }

    /// Reads one value for each complete type of a checked signature.
    pub fn values(&mut self, signature: &str) -> Result<Vec<Value>, WireError> {
        let signature = signature.as_bytes();
        let mut out = Vec::new();
        let mut at = 0;
        while at < signature.len() {
            out.push(self.value(signature, &mut at, 0)?);
        }
        Ok(out)
    }

    /// Reads a value of the type at `at` in a checked signature and moves `at` behind that type.
    fn value(&mut self, signature: &[u8], at: &mut usize, depth: u32) -> Result<Value, WireError> {
        if depth > DEPTH_MAX {
            return Err(WireError("values nested too deep"));
        }
        let code = *signature.get(*at).ok_or(WireError("signature ends within a type"))?;
        *at += 1;
        Ok(match code {
            b'y' => Value::Byte(self.byte()?),
            b'b' => match self.uint32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(WireError("boolean is neither 0 nor 1")),
            },
            b'n' => Value::Int16(i16::from_le_bytes(self.fixed()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.fixed()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.fixed()?)),
            b'u' => Value::Uint32(self.uint32()?),
            b'x' => Value::Int64(i64::from_le_bytes(self.fixed()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.fixed()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.fixed()?)),
            b's' => Value::Str(Cow::Owned(self.string()?.into())),
            b'o' => Value::Path(Cow::Owned(self.object_path()?.into())),
            b'g' => Value::Signature(Cow::Owned(self.signature()?.into())),
            b'h' => match self.uint32()? {
                index if index < self.fds => Value::Fd(index),
                _ => return Err(WireError("no such file descriptor")),
            },
            b'v' => {
                let inner = self.variant_signature()?;
                Value::variant(self.value(inner.as_bytes(), &mut 0, depth + 1)?)
            }
            b'a' => self.array(signature, at, depth)?,
            b'(' => {
                self.align(8)?;
                let mut items = Vec::new();
                while signature.get(*at) != Some(&b')') {
                    items.push(self.value(signature, at, depth + 1)?);
                }
                *at += 1;
                Value::Struct(items)
            }
            b'{' => {
                self.align(8)?;
                let key = self.value(signature, at, depth + 1)?;
                let value = self.value(signature, at, depth + 1)?;
                *at += 1;
                Value::Entry(Box::new((key, value)))
            }
            _ => return Err(WireError("unknown type code")),
        })
    }

    fn array(&mut self, signature: &[u8], at: &mut usize, depth: u32) -> Result<Value, WireError> {
        let first = *at;
        // `complete_type` starts at the array itself, for only there a dict entry is valid.
        *at = complete_type(signature, first - 1, 0, 0)?;
        let length = self.uint32()? as usize;
        if length > ARRAY_MAX {
            return Err(WireError("array too long"));
        }
        self.align(alignment(signature[first]))?;
        if signature[first] == b'y' {
            return Ok(Value::Bytes(self.take(length)?.to_vec()));
        }
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(WireError("array is longer than its message"))?;
        let mut items = Vec::new();
        let element = &signature[first..*at];
        let wanted = self.wanted.filter(|_| element == b"{sv}");
        while self.at < end {
            if let Some(wanted) = wanted {
                self.align(8)?;
                let begin = self.at;
                let length = self.uint32()? as usize;
                let name = self.take(length)?;
                self.take(1)?;
                if !wanted(name) {
                    let inner = self.variant_signature()?;
                    self.skip(inner.as_bytes(), &mut 0, depth + 1)?;
                    continue;
                }
                self.at = begin;
            }
            items.push(self.value(signature, &mut first.clone(), depth + 1)?);
        }
        if self.at != end {
            return Err(WireError("array ends within an element"));
        }
        let element = match element {
            b"{sv}" => Cow::Borrowed("{sv}"),
            b"s" => Cow::Borrowed("s"),
            other => Cow::Owned(String::from_utf8_lossy(other).into_owned()),
        };
        Ok(Value::Array(Box::new(Array { element, items })))
    }

    /// Passes over a value of the type at `at`.
    fn skip(&mut self, signature: &[u8], at: &mut usize, depth: u32) -> Result<(), WireError> {
        if depth > DEPTH_MAX {
            return Err(WireError("values nested too deep"));
        }
        let code = *signature.get(*at).ok_or(WireError("signature ends within a type"))?;
        *at += 1;
        match code {
            b'y' => drop(self.byte()?),
            b'n' | b'q' => drop(self.fixed::<2>()?),
            b'b' | b'i' | b'u' | b'h' => drop(self.fixed::<4>()?),
            b'x' | b't' | b'd' => drop(self.fixed::<8>()?),
            b's' | b'o' => {
                let length = self.uint32()? as usize;
                self.take(length.saturating_add(1))?;
            }
            b'g' => {
                let length = usize::from(self.byte()?);
                self.take(length + 1)?;
            }
            b'v' => {
                let inner = self.variant_signature()?;
                self.skip(inner.as_bytes(), &mut 0, depth + 1)?;
            }
            b'a' => {
                let first = *at;
                *at = complete_type(signature, first - 1, 0, 0)?;
                let length = self.uint32()? as usize;
                self.align(alignment(signature[first]))?;
                self.take(length)?;
            }
            b'(' | b'{' => {
                self.align(8)?;
                while !matches!(signature.get(*at), None | Some(b')' | b'}')) {
                    self.skip(signature, at, depth + 1)?;
                }
                *at += 1;
            }
            _ => return Err(WireError("unknown type code")),
        }
        Ok(())
    }
}
