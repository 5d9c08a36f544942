//! Paths as values: absolute, free of `..`, in their shortest spelling. It does not look at the disk.

use super::Allowed;
use alloc::string::String;

/// What [`absolute_path`] takes.
pub const ABSOLUTE: Allowed = "an absolute path without ..";

/// The longest path and the longest part of one, in bytes (Linux).
const LONGEST: (usize, usize) = (4095, 255);

/// The shortest spelling: no doubled slashes, no `.`, no slash at the end.
pub fn simplify(path: &str) -> String {
    let plain = !path.ends_with('/') && !path.as_bytes().windows(2).any(|two| matches!(two, b"//" | b"/."));
    if plain && path.starts_with('/') {
        return path.into();
    }
    let mut simple = String::with_capacity(path.len());
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if !simple.is_empty() || path.starts_with('/') {
            simple.push('/');
        }
        simple.push_str(part);
    }
    if simple.is_empty() && path.starts_with('/') {
        simple.push('/');
    }
    simple
}

fn fits(path: &str) -> bool {
    path.len() <= LONGEST.0
        && !path.contains('\0')
        && path.split('/').all(|part| part != ".." && part.len() <= LONGEST.1)
}

/// An absolute path in its shortest spelling.
pub fn absolute_path(text: &str) -> Option<String> {
    (text.starts_with('/') && fits(text)).then(|| simplify(text))
}

/// A path below a folder that is known elsewhere: relative, not empty; RuntimeDirectory= and its kin.
pub fn relative_path(text: &str) -> Option<String> {
    if text.starts_with('/') || !fits(text) {
        return None;
    }
    let simple = simplify(text);
    (!simple.is_empty()).then_some(simple)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_and_relative() {
        for (text, path) in [("/", "/"), ("//a//b/", "/a/b"), ("/a/./b", "/a/b"), ("/a b", "/a b")] {
            assert_eq!(absolute_path(text).as_deref(), Some(path), "{text}");
        }
        for bad in ["", "a", "./a", "/a/../b", "/..", "~"] {
            assert_eq!(absolute_path(bad), None, "{bad}");
        }
        assert_eq!(relative_path("a/b/").as_deref(), Some("a/b"));
        for bad in ["", "/a", "..", "a/../b", "."] {
            assert_eq!(relative_path(bad), None, "{bad}");
        }
    }
}
