//! Shell patterns over file names, as glob(7) has them: `*`, `?`, `[...]`. No braces, no tilde.

use std::{fs, path::PathBuf};

/// Most paths that a pattern may stand for.
const LIMIT: usize = 1000;

/// Whether a name matches a pattern. A leading dot must be written.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    if name.first() == Some(&'.') && pattern.first() != Some(&'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star doesn't match.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => class(&pattern, p, name[n]),
            Some('\\') if p + 1 < pattern.len() => (pattern[p + 1] == name[n]).then_some(p + 2),
            Some(&c) => (c == name[n]).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// The index after a bracket expression that holds `c`.
fn class(pattern: &[char], at: usize, c: char) -> Option<usize> {
    let mut i = at + 1;
    let negate = matches!(pattern.get(i), Some('!' | '^'));
    i += usize::from(negate);
    let first = i;
    let mut found = false;
    loop {
        match *pattern.get(i)? {
            ']' if i > first => break,
            low => {
                let range = pattern.get(i + 1) == Some(&'-') && pattern.get(i + 2).is_some_and(|&h| h != ']');
                let high = if range { pattern[i + 2] } else { low };
                found |= (low..=high).contains(&c);
                i += if range { 3 } else { 1 };
            }
        }
    }
    (found != negate).then_some(i + 1)
}

/// Whether a path has anything that stands for more than itself.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The existing paths that an absolute pattern stands for, in order.
pub fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|p| !p.is_empty()) {
        let mut next = Vec::new();
        for folder in &found {
            if !is_pattern(part) {
                next.push(folder.join(part));
                continue;
            }
            let Ok(entries) = fs::read_dir(folder) else { continue };
            let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
            next.extend(names.filter(|n| matches(part, n)).map(|n| folder.join(n)));
            next.truncate(LIMIT);
        }
        found = next;
    }
    found.retain(|p| p.symlink_metadata().is_ok());
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, is) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?x", "ax", true),
            ("[a-c]1", "b1", true),
            ("[!a-c]1", "b1", false),
            ("[]x]", "]", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
        let long = "a".repeat(2000);
        assert!(!matches(&format!("{}b", "a*".repeat(500)), &long));
        assert!(expand("/proc/sel[f]/stat*").iter().any(|p| p.ends_with("status")));
    }
}
