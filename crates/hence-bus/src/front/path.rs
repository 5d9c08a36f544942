//! Object paths and the names within them. It does not look whether the objects exist.

/// The object of the whole.
pub const ROOT: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "/org/freedesktop/systemd1/unit";
const JOB: &str = "/org/freedesktop/systemd1/job";

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Nothing.
    Unknown,
    /// A path that only has others below it; the name of the next one.
    Node(&'static str),
    /// The whole.
    Root,
    /// A unit by name.
    Unit(String),
    /// The unit of the caller.
    OwnUnit,
    /// A job by id.
    Job(u32),
}

impl Object {
    /// What this path names.
    pub fn of(path: &str) -> Object {
        match path {
            ROOT => Object::Root,
            "/" => Object::Node("org"),
            "/org" => Object::Node("freedesktop"),
            "/org/freedesktop" => Object::Node("systemd1"),
            UNIT | JOB => Object::Node(""),
            "/org/freedesktop/systemd1/unit/self" => Object::OwnUnit,
            _ => {
                if let Some(label) = path.strip_prefix(UNIT).and_then(|rest| rest.strip_prefix('/')) {
                    unescape(label).map_or(Object::Unknown, Object::Unit)
                } else if let Some(id) = path.strip_prefix(JOB).and_then(|rest| rest.strip_prefix('/')) {
                    let plain = !id.starts_with(['+', '0']);
                    id.parse().ok().filter(|_| plain).map_or(Object::Unknown, Object::Job)
                } else {
                    Object::Unknown
                }
            }
        }
    }
}

/// The path of a unit.
pub fn unit_path(name: &str) -> String {
    let mut path = String::with_capacity(UNIT.len() + name.len() + 8);
    path.push_str(UNIT);
    path.push('/');
    escape(name, &mut path);
    path
}

/// The path of a job.
pub fn job_path(id: u32) -> String {
    format!("{JOB}/{id}")
}

/// Appends a name as one element of a path: bytes other than letters and digits, and a leading digit, as
/// `_xx`.
fn escape(name: &str, out: &mut String) {
    use std::fmt::Write;
    if name.is_empty() {
        return out.push('_');
    }
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "_{byte:02x}");
        }
    }
}

fn unescape(label: &str) -> Option<String> {
    if label == "_" {
        return Some(String::new());
    }
    let mut out = Vec::with_capacity(label.len());
    let mut bytes = label.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'_' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            byte if byte.is_ascii_alphanumeric() => byte,
            _ => return None,
        });
    }
    if out.is_empty() { None } else { String::from_utf8(out).ok() }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_systemd_does() {
        for (name, label) in [
            ("foo.service", "foo_2eservice"),
            ("1a.service", "_31a_2eservice"),
            ("a1.service", "a1_2eservice"),
            ("foo@bar-1.service", "foo_40bar_2d1_2eservice"),
            ("-.slice", "_2d_2eslice"),
            ("a\\x2d_b.mount", "a_5cx2d_5fb_2emount"),
        ] {
            assert_eq!(unit_path(name), format!("{UNIT}/{label}"));
            assert_eq!(Object::of(&unit_path(name)), Object::Unit(name.into()));
        }
    }

    #[test]
    fn other_paths() {
        assert_eq!(Object::of("/org/freedesktop/systemd1/job/12"), Object::Job(12));
        for unknown in ["/a", "/org/freedesktop/systemd1/job/012", "/org/freedesktop/systemd1/job/4294967296"]
        {
            assert_eq!(Object::of(unknown), Object::Unknown);
        }
        for bad in ["a_", "a_2", "a_zz", "_ff", "a/b"] {
            assert_eq!(Object::of(&format!("{UNIT}/{bad}")), Object::Unknown, "{bad}");
        }
        assert_eq!(Object::of(UNIT), Object::Node(""));
    }
}
