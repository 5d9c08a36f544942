//! Signatures: validity, the end of a complete type, alignment. It does not read or write values.

use super::WireError;

/// Longest signature, in bytes.
pub const SIGNATURE_MAX: usize = 255;
/// Deepest nesting of arrays, and of structs, within one signature.
const NESTING_MAX: u32 = 32;

/// Whether this is a valid signature: any number of complete types.
pub fn is_signature(signature: &str) -> bool {
    check(signature.as_bytes()).is_ok()
}

/// The complete types of a signature; ends at the first malformed one.
pub fn complete_types(signature: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let end = complete_type(signature.as_bytes(), at, 0, 0).ok()?;
        let found = signature.get(at..end);
        at = end;
        found
    })
}

pub fn check(signature: &[u8]) -> Result<(), WireError> {
    if signature.len() > SIGNATURE_MAX {
        return Err(WireError("signature too long"));
    }
    let mut at = 0;
    while at < signature.len() {
        at = complete_type(signature, at, 0, 0)?;
    }
    Ok(())
}

/// Whether the signature is exactly one complete type.
pub fn check_single(signature: &[u8]) -> Result<(), WireError> {
    if signature.len() > SIGNATURE_MAX {
        return Err(WireError("signature too long"));
    }
    match complete_type(signature, 0, 0, 0)? {
        end if end == signature.len() => Ok(()),
        _ => Err(WireError("a variant holds exactly one complete type")),
    }
}

pub fn is_basic(code: u8) -> bool {
    matches!(code, b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'h')
}

/// The position after the complete type that starts at `at`.
pub fn complete_type(signature: &[u8], at: usize, arrays: u32, structs: u32) -> Result<usize, WireError> {
    let Some(&code) = signature.get(at) else { return Err(WireError("signature ends within a type")) };
    match code {
        b'v' => Ok(at + 1),
        b'a' if arrays == NESTING_MAX => Err(WireError("arrays nested too deep")),
        b'a' if signature.get(at + 1) == Some(&b'{') => dict_entry(signature, at + 1, arrays + 1, structs),
        b'a' => complete_type(signature, at + 1, arrays + 1, structs),
        b'(' if structs == NESTING_MAX => Err(WireError("structs nested too deep")),
        b'(' => {
            let mut at = at + 1;
            if signature.get(at) == Some(&b')') {
                return Err(WireError("empty struct"));
            }
            while signature.get(at) != Some(&b')') {
                at = complete_type(signature, at, arrays, structs + 1)?;
            }
            Ok(at + 1)
        }
        code if is_basic(code) => Ok(at + 1),
        _ => Err(WireError("unknown type code")),
    }
}

fn dict_entry(signature: &[u8], at: usize, arrays: u32, structs: u32) -> Result<usize, WireError> {
    if structs == NESTING_MAX {
        return Err(WireError("structs nested too deep"));
    }
    match signature.get(at + 1) {
        Some(&key) if is_basic(key) => {}
        _ => return Err(WireError("the key of a dict entry is a basic type")),
    }
    let end = complete_type(signature, at + 2, arrays, structs + 1)?;
    match signature.get(end) {
        Some(b'}') => Ok(end + 1),
        _ => Err(WireError("a dict entry has exactly two types")),
    }
}

/// Alignment of the type that begins with this code, in bytes.
pub const fn alignment(code: u8) -> usize {
    match code {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_systemctl_uses_and_refuses_the_malformed() {
        for good in
            ["", "s", "a{sv}", "a(ssssssouso)", "uosos a(uosos)".replace(' ', "").as_str(), "av", "aay"]
        {
            assert!(is_signature(good), "{good}");
        }
        for bad in ["a", "(", "()", "{sv}", "a{vs}", "a{s}", "a{sss}", "z", "(s", "a)", "s)"] {
            assert!(!is_signature(bad), "{bad}");
        }
    }

    #[test]
    fn limits_length_and_depth() {
        assert!(is_signature(&"y".repeat(255)));
        assert!(!is_signature(&"y".repeat(256)));
        assert!(is_signature(&format!("{}y", "a".repeat(32))));
        assert!(!is_signature(&format!("{}y", "a".repeat(33))));
        assert!(is_signature(&format!("{}y{}", "(".repeat(32), ")".repeat(32))));
        assert!(!is_signature(&format!("{}y{}", "(".repeat(33), ")".repeat(33))));
    }
}
