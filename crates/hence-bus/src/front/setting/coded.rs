//! Numbers that stand for words of a unit file, and contents that need escapes there.

use crate::wire::Value;
use hence_unit::{
    attributes::{NUMA_POLICIES, SECURE_BITS},
    restrict::namespaces_text,
};
use std::fmt::Write;

/// How the bus says that a refused call kills the process.
const KILL: i32 = i32::MAX - 1;

/// The words of a number, as the directive takes them; `None`: it has another type, or means nothing.
pub fn words(directive: &str, value: &Value) -> Option<String> {
    Some(match (directive, value) {
        ("SystemCallErrorNumber", Value::Int32(KILL)) => "kill".to_owned(),
        ("SystemCallErrorNumber", Value::Int32(number)) => number.to_string(),
        ("SecureBits", Value::Int32(bits)) => {
            let set = SECURE_BITS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            set.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
        }
        ("NUMAPolicy", Value::Int32(number)) => {
            let word = NUMA_POLICIES.iter().find(|(_, known)| i32::from(*known) == *number);
            word.map(|(word, _)| (*word).to_owned())?
        }
        ("CoredumpFilter", Value::Uint64(bits)) => format!("{bits:#x}"),
        ("RestrictNamespaces", Value::Uint64(allowed)) => namespaces_text(*allowed),
        _ => return None,
    })
}

/// A credential: name, colon, and its bytes with C escapes.
pub fn credential(value: &Value) -> Option<String> {
    let [Value::Str(name), Value::Bytes(bytes)] = value.items() else { return None };
    let mut text = format!("{}:", name.replace('%', "%%"));
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            // A blank at the end of a line would be lost.
            b'!'..=b'~' => text.push(char::from(*byte)),
            _ => drop(write!(text, "\\x{byte:02x}").ok()),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_words_again() {
        let is = |directive: &str, value: Value, text: &str| {
            assert_eq!(words(directive, &value).as_deref(), Some(text), "{directive}");
        };
        is("SystemCallErrorNumber", Value::Int32(KILL), "kill");
        is("SystemCallErrorNumber", Value::Int32(1), "1");
        is("SecureBits", Value::Int32(17), "noroot keep-caps");
        is("NUMAPolicy", Value::Int32(2), "bind");
        is("CoredumpFilter", Value::Uint64(17), "0x11");
        is("RestrictNamespaces", Value::Uint64(0x4000_0000), "net");
        is("RestrictNamespaces", Value::Uint64(0), "yes");
        is("RestrictNamespaces", Value::Uint64(u64::MAX), "no");
        assert_eq!(words("NUMAPolicy", &Value::Int32(9)), None);
        let value = Value::Struct(vec!["a%".into(), Value::Bytes(b"b\0c \\".to_vec())]);
        assert_eq!(credential(&value).as_deref(), Some("a%%:b\\x00c\\x20\\\\"));
    }
}
