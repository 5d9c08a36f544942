//! Unit names: validity, kind, template and instance. It does not look for files.

use crate::{Text, bytes};
use alloc::{format, string::String};
use core::{borrow::Borrow, fmt, ops::Deref};

/// The kind of a unit, by the suffix of its name; systemd.unit(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitKind {
    /// A process and what belongs to it.
    Service,
    /// Sockets and FIFOs whose traffic starts a service.
    Socket,
    /// A point that groups units.
    Target,
    /// A node of the resource tree.
    Slice,
    /// A clock that starts a unit.
    Timer,
    /// A file system event that starts a unit.
    Path,
    /// A mount point.
    Mount,
    /// A mount point mounted on access.
    Automount,
    /// Swap space.
    Swap,
    /// A kernel device.
    Device,
    /// Processes that others started.
    Scope,
}

impl UnitKind {
    /// Every kind.
    pub const ALL: [UnitKind; 11] = [
        UnitKind::Service,
        UnitKind::Socket,
        UnitKind::Target,
        UnitKind::Slice,
        UnitKind::Timer,
        UnitKind::Path,
        UnitKind::Mount,
        UnitKind::Automount,
        UnitKind::Swap,
        UnitKind::Device,
        UnitKind::Scope,
    ];

    /// The suffix, without its dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            UnitKind::Service => "service",
            UnitKind::Socket => "socket",
            UnitKind::Target => "target",
            UnitKind::Slice => "slice",
            UnitKind::Timer => "timer",
            UnitKind::Path => "path",
            UnitKind::Mount => "mount",
            UnitKind::Automount => "automount",
            UnitKind::Swap => "swap",
            UnitKind::Device => "device",
            UnitKind::Scope => "scope",
        }
    }

    /// The name of the section that belongs to this kind, where it has one.
    pub const fn section(self) -> Option<&'static str> {
        match self {
            UnitKind::Service => Some("Service"),
            UnitKind::Socket => Some("Socket"),
            UnitKind::Target | UnitKind::Device => None,
            UnitKind::Slice => Some("Slice"),
            UnitKind::Timer => Some("Timer"),
            UnitKind::Path => Some("Path"),
            UnitKind::Mount => Some("Mount"),
            UnitKind::Automount => Some("Automount"),
            UnitKind::Swap => Some("Swap"),
            UnitKind::Scope => Some("Scope"),
        }
    }

    fn of_suffix(suffix: &str) -> Option<UnitKind> {
        Some(match suffix {
            "service" => UnitKind::Service,
            "socket" => UnitKind::Socket,
            "target" => UnitKind::Target,
            "slice" => UnitKind::Slice,
            "timer" => UnitKind::Timer,
            "path" => UnitKind::Path,
            "mount" => UnitKind::Mount,
            "automount" => UnitKind::Automount,
            "swap" => UnitKind::Swap,
            "device" => UnitKind::Device,
            "scope" => UnitKind::Scope,
            _ => return None,
        })
    }
}

/// A valid unit name: `foo.service`, `foo@.service` (template), `foo@bar.service` (instance).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Text);

/// Longest name, in bytes, with its suffix (systemd's UNIT_NAME_MAX).
pub const NAME_MAX: usize = 255;

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_' | b'.' | b'\\' | b'@')
}

/// What stands before the last dot, and behind it.
fn split_suffix(name: &str) -> Option<(&str, &str)> {
    let dot = name.bytes().rposition(|byte| byte == b'.')?;
    Some((&name[..dot], &name[dot + 1..]))
}

impl UnitName {
    /// Checks a name. `None` where it isn't a valid unit name: wrong suffix, character or length.
    pub fn new(name: &str) -> Option<UnitName> {
        if name.is_empty() || name.len() > NAME_MAX {
            return None;
        }
        let (stem, suffix) = split_suffix(name)?;
        UnitKind::of_suffix(suffix)?;
        if stem.is_empty() || stem.starts_with('@') || !stem.bytes().all(is_name_byte) {
            return None;
        }
        Some(UnitName(name.into()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole name, shared.
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// The kind, by the suffix.
    pub fn kind(&self) -> UnitKind {
        // Asked for often, and the suffix was checked: its last bytes tell it from the others.
        match self.0.as_bytes() {
            [.., b'r', b'v', b'i', b'c', b'e'] => UnitKind::Service,
            [.., b'l', b'i', b'c', b'e'] => UnitKind::Slice,
            [.., b'v', b'i', b'c', b'e'] => UnitKind::Device,
            [.., b'k', b'e', b't'] => UnitKind::Socket,
            [.., b'g', b'e', b't'] => UnitKind::Target,
            [.., b'm', b'e', b'r'] => UnitKind::Timer,
            [.., b'a', b't', b'h'] => UnitKind::Path,
            [.., b'w', b'a', b'p'] => UnitKind::Swap,
            [.., b'o', b'p', b'e'] => UnitKind::Scope,
            [.., b'.', b'm', b'o', b'u', b'n', b't'] => UnitKind::Mount,
            _ => UnitKind::Automount,
        }
    }

    /// The name without its suffix: `foo@bar`.
    pub fn stem(&self) -> &str {
        split_suffix(&self.0).map_or("", |(s, _)| s)
    }

    /// What stands before the first `@`, or the stem: `foo`.
    pub fn prefix(&self) -> &str {
        let stem = self.stem();
        bytes::split_once(stem, b'@').map_or(stem, |(p, _)| p)
    }

    /// The instance (`%i`, escaped), `None` for plain units and templates.
    pub fn instance(&self) -> Option<&str> {
        bytes::split_once(self.stem(), b'@').map(|(_, i)| i).filter(|i| !i.is_empty())
    }

    /// Whether this is `foo@.service`.
    pub fn is_template(&self) -> bool {
        bytes::split_once(self.stem(), b'@').is_some_and(|(_, i)| i.is_empty())
    }

    /// The template of an instance: `foo@.service` for `foo@bar.service`.
    pub fn template(&self) -> Option<UnitName> {
        self.instance()?;
        Some(UnitName(format!("{}@.{}", self.prefix(), self.kind().suffix()).into()))
    }

    /// This template with an instance put in; `None` where this isn't a template or the result isn't valid.
    pub fn with_instance(&self, instance: &str) -> Option<UnitName> {
        if !self.is_template() || instance.is_empty() {
            return None;
        }
        UnitName::new(&format!("{}@{instance}.{}", self.prefix(), self.kind().suffix()))
    }

    /// The same stem with another kind: `foo.socket` for `foo.service`.
    pub fn with_kind(&self, kind: UnitKind) -> UnitName {
        let mut name = String::from(self.stem());
        name.push('.');
        name.push_str(kind.suffix());
        UnitName(name.into())
    }
}

impl Deref for UnitName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_suffixes() {
        assert!(UnitKind::ALL.into_iter().all(|kind| UnitKind::of_suffix(kind.suffix()) == Some(kind)));
        let of_name = |kind: UnitKind| UnitName::new(&format!("x.{}", kind.suffix())).unwrap().kind();
        assert!(UnitKind::ALL.into_iter().all(|kind| of_name(kind) == kind));
        assert!(UnitName::new("ä.service").is_none() && UnitKind::of_suffix("conf").is_none());
    }

    #[test]
    fn parts_of_a_name() {
        let n = UnitName::new("foo@a-b.service").unwrap();
        assert_eq!((n.stem(), n.prefix(), n.instance()), ("foo@a-b", "foo", Some("a-b")));
        assert_eq!(n.template().unwrap().as_str(), "foo@.service");
        assert_eq!(
            UnitName::new("foo@.service").unwrap().with_instance("x").unwrap().as_str(),
            "foo@x.service"
        );
        assert_eq!(UnitName::new("a.b.socket").unwrap().with_kind(UnitKind::Service).as_str(), "a.b.service");
        for bad in ["", "foo", ".service", "@.service", "a b.service", "a/b.service", "x.conf"] {
            assert!(UnitName::new(bad).is_none(), "{bad}");
        }
    }
}
