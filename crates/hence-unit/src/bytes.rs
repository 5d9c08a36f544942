//! Bytes in short texts: eight at a time, without what it costs to begin a search of a long one.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Where the byte stands first.
pub(crate) fn find(text: &[u8], byte: u8) -> Option<usize> {
    let sought = LOW * u64::from(byte);
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        // The lowest byte that is zero now is the one; others above it may seem to be.
        let differs = u64::from_le_bytes(*word) ^ sought;
        let found = differs.wrapping_sub(LOW) & !differs & HIGH;
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&b| b == byte).map(|at| words.len() * 8 + at)
}

/// The text in front of the first such byte, and behind it. The byte is no part of a longer character.
pub(crate) fn split_once(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = find(text.as_bytes(), byte)?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec::Vec};

    #[test]
    fn the_first_one_is_found() {
        for length in 0..40 {
            for at in 0..length {
                for other in [b'=' - 1, b'=' + 1, 0, 0x7f, b'=' | 0x80] {
                    let mut text: Vec<u8> = (0..length).map(|_| other).collect();
                    assert_eq!(find(&text, b'='), None);
                    text[at] = b'=';
                    assert_eq!(find(&text, b'='), Some(at));
                    text[length - 1] = b'=';
                    assert_eq!(find(&text, b'='), Some(at));
                }
            }
        }
        let text = String::from("Käse=täglich=x");
        assert_eq!(split_once(&text, b'='), Some(("Käse", "täglich=x")));
        assert_eq!(split_once("", b'='), None);
    }
}
