//! Shell patterns as in fnmatch(3) with FNM_NOESCAPE: `*`, `?`, `[a-z]`, `[!x]`. It knows no character
//! classes and no locale, and a backslash is itself, as in unit names. Time is at most the product of the
//! lengths.

use alloc::vec::Vec;

/// Whether `text` matches `pattern`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not match: only the last star ever has to be
    // retried.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(length) => {
                p += length;
                t += 1;
            }
            None => match &mut retry {
                Some((after, at)) => {
                    *at += 1;
                    (p, t) = (*after, *at);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// Length of the first element of the pattern if it matches this character.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => match set(pattern, c) {
            Some((length, found)) => found.then_some(length),
            None => (c == '[').then_some(1),
        },
        literal => (literal == c).then_some(1),
    }
}

/// Length of a bracket expression, and whether it holds the character; `None` where it is not closed.
fn set(pattern: &[char], c: char) -> Option<(usize, bool)> {
    let negate = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negate { 2 } else { 1 };
    let (mut at, mut found) = (first, false);
    loop {
        match *pattern.get(at)? {
            ']' if at > first => return Some((at + 1, found != negate)),
            low => match (pattern.get(at + 1), pattern.get(at + 2)) {
                (Some('-'), Some(&high)) if high != ']' => {
                    found |= (low..=high).contains(&c);
                    at += 3;
                }
                _ => {
                    found |= low == c;
                    at += 1;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;
    use alloc::format;

    #[test]
    fn shell_patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("foo.service", "foo.service", true),
            ("foo.service", "foo.services", false),
            ("*.service", "foo.service", true),
            ("*.service", "foo.socket", false),
            ("f*o*.s?rvice", "foo.service", true),
            ("[a-f]oo.*", "foo.service", true),
            ("[!a-f]oo.*", "foo.service", false),
            ("[]x]", "]", true),
            ("[x", "[x", true),
            (r"a\x2d*", r"a\x2db", true),
            (r"\*", "*", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn stays_polynomial() {
        assert!(!matches(&"a*".repeat(300), &"a".repeat(255).replace("a", "ab")));
        assert!(!matches(&format!("{}c", "*a".repeat(100)), &"a".repeat(4000)));
    }
}
