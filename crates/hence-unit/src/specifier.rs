//! `%` specifiers, and the escaping of strings and paths in unit names: systemd.unit(5), "Specifiers" and
//! "String Escaping for Inclusion in Unit Names".
//!
//! What the machine says (host name, ids, roots) comes in as [`Environs`]; nothing is looked up here.

use crate::{UnitName, config::Environs};
use alloc::{format, string::String, vec::Vec};
use core::fmt;

/// Why a specifier has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecifierError {
    /// No such specifier.
    Unknown(char),
    /// A name that is to be unescaped isn't a valid escape: the specifier and the name.
    NotEscaped(char, String),
    /// There is no value here: `%y` in a unit without a file.
    NoValue(char),
}

impl fmt::Display for SpecifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpecifierError::Unknown(c) => write!(f, "there is no specifier %{c}"),
            SpecifierError::NotEscaped(c, name) => write!(f, "%{c} cannot unescape \"{name}\""),
            SpecifierError::NoValue(c) => write!(f, "%{c} has no value here"),
        }
    }
}

/// Replaces the specifiers of a text. A letter or digit that is none is an error; any other character
/// behind a `%`, and a `%` at the end, stay as they are written.
pub fn expand(text: &str, unit: &UnitName, environs: &Environs) -> Result<String, SpecifierError> {
    expand_in(text, unit, environs, None)
}

/// As [`expand`], with the path of the unit's fragment for `%y` and `%Y`.
pub fn expand_in(
    text: &str,
    unit: &UnitName,
    environs: &Environs,
    fragment: Option<&str>,
) -> Result<String, SpecifierError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        let Some(c) = rest.chars().next() else {
            out.push('%');
            break;
        };
        rest = &rest[c.len_utf8()..];
        append(&mut out, c, unit, environs, fragment)?;
    }
    out.push_str(rest);
    Ok(out)
}

fn append(
    out: &mut String,
    c: char,
    unit: &UnitName,
    environs: &Environs,
    fragment: Option<&str>,
) -> Result<(), SpecifierError> {
    let last = || unit.prefix().rsplit_once('-').map_or(unit.prefix(), |(_, last)| last);
    let unescaped = |name: &str| unescape(name).ok_or_else(|| SpecifierError::NotEscaped(c, name.into()));
    let fragment = || fragment.ok_or(SpecifierError::NoValue(c));
    let [os_id, os_version, os_build, os_variant, image_id, image_version] = &environs.os_release;
    let value: &str = match c {
        '%' => "%",
        'a' => &environs.architecture,
        'A' => image_version,
        'b' => &environs.boot_id,
        'B' => os_build,
        'C' => &environs.cache_root,
        'd' => {
            out.push_str(&format!("{}/credentials/{unit}", environs.runtime_root));
            return Ok(());
        }
        'E' => &environs.configuration_root,
        'f' => {
            let name = unit.instance().unwrap_or_else(|| unit.prefix());
            let path = unescape_path(name).ok_or_else(|| SpecifierError::NotEscaped(c, name.into()))?;
            out.push_str(&path);
            return Ok(());
        }
        'g' => &environs.group_name,
        'G' => {
            out.push_str(&format!("{}", environs.gid));
            return Ok(());
        }
        'h' => &environs.home,
        'H' => &environs.host_name,
        'i' => unit.instance().unwrap_or(""),
        'I' => {
            out.push_str(&unescaped(unit.instance().unwrap_or(""))?);
            return Ok(());
        }
        'j' => last(),
        'J' => {
            out.push_str(&unescaped(last())?);
            return Ok(());
        }
        'l' => short_host(environs),
        'L' => &environs.logs_root,
        'm' => &environs.machine_id,
        'M' => image_id,
        'n' => unit.as_str(),
        'N' => unit.stem(),
        'o' => os_id,
        'p' => unit.prefix(),
        'P' => {
            out.push_str(&unescaped(unit.prefix())?);
            return Ok(());
        }
        'q' if environs.pretty_host_name.is_empty() => short_host(environs),
        'q' => &environs.pretty_host_name,
        's' => &environs.shell,
        'S' => &environs.state_root,
        't' => &environs.runtime_root,
        'T' => &environs.tmp,
        'u' => &environs.user_name,
        'U' => {
            out.push_str(&format!("{}", environs.uid));
            return Ok(());
        }
        'v' => &environs.kernel_release,
        'V' => &environs.var_tmp,
        'w' => os_version,
        'W' => os_variant,
        'y' => fragment()?,
        'Y' => fragment()?.rsplit_once('/').map_or("", |(folder, _)| folder),
        _ if c.is_ascii_alphanumeric() => return Err(SpecifierError::Unknown(c)),
        _ => {
            out.push('%');
            out.push(c);
            return Ok(());
        }
    };
    out.push_str(value);
    Ok(())
}

fn short_host(environs: &Environs) -> &str {
    environs.host_name.split('.').next().unwrap_or("")
}

/// A string as it may stand in a unit name; systemd-escape(1).
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if i == 0 => out.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

/// What [`escape`] was given. `None` where a backslash begins no `\xHH`, or the bytes are no UTF-8.
pub fn unescape(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        i += 1;
        match byte {
            b'-' => out.push(b'/'),
            b'\\' => {
                let digits = name.get(i..i + 3)?.strip_prefix('x')?;
                if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                out.push(u8::from_str_radix(digits, 16).ok()?);
                i += 3;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// A path as it may stand in a unit name; systemd-escape(1), `--path`. `None` where it holds `.` or `..`.
pub fn escape_path(path: &str) -> Option<String> {
    let mut simple = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return None;
        }
        if !simple.is_empty() {
            simple.push('/');
        }
        simple.push_str(part);
    }
    Some(if simple.is_empty() { "-".into() } else { escape(&simple) })
}

/// What [`escape_path`] was given, as an absolute path. `None` where the name isn't its work.
pub fn unescape_path(name: &str) -> Option<String> {
    if name == "-" {
        return Some("/".into());
    }
    let path = unescape(name).filter(|path| !path.is_empty())?;
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    Some(format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environs() -> Environs {
        Environs {
            host_name: "rig.example.org".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            user_name: "root".into(),
            group_name: "root".into(),
            home: "/root".into(),
            shell: "/bin/bash".into(),
            runtime_root: "/run".into(),
            state_root: "/var/lib".into(),
            cache_root: "/var/cache".into(),
            logs_root: "/var/log".into(),
            configuration_root: "/etc".into(),
            tmp: "/tmp".into(),
            var_tmp: "/var/tmp".into(),
            os_release: ["id", "12", "build", "server", "image", "7"].map(String::from),
            ..Environs::default()
        }
    }

    fn of(text: &str, unit: &str) -> String {
        expand(text, &UnitName::new(unit).unwrap(), &environs()).unwrap()
    }

    #[test]
    fn as_the_real_systemd_expands_them() {
        // Rig scenario "specifiers".
        let text = "n:%n N:%N p:%p P:%P i:%i I:%I j:%j J:%J f:%f";
        assert_eq!(
            of(text, r"spec@var-lib-my\x2ddata.service"),
            concat!(
                r"n:spec@var-lib-my\x2ddata.service N:spec@var-lib-my\x2ddata p:spec P:spec ",
                r"i:var-lib-my\x2ddata I:var/lib/my-data j:spec J:spec f:/var/lib/my-data",
            )
        );
        assert_eq!(
            of(text, "plain-name.service"),
            "n:plain-name.service N:plain-name p:plain-name P:plain/name i: I: j:name J:name f:/plain/name"
        );
        assert_eq!(
            of("t:%t S:%S C:%C L:%L E:%E T:%T V:%V", "a.service"),
            "t:/run S:/var/lib C:/var/cache L:/var/log E:/etc T:/tmp V:/var/tmp"
        );
        assert_eq!(
            of("u:%u U:%U g:%g G:%G h:%h s:%s m:%m %%i", "a.service"),
            "u:root U:0 g:root G:0 h:/root s:/bin/bash m:0123456789abcdef0123456789abcdef %i"
        );
        assert_eq!(of("%H %l %q %o%w%B%W%M%A", "a.service"), "rig.example.org rig rig id12buildserverimage7");
        assert_eq!(of("%d", "a@b.service"), "/run/credentials/a@b.service");
    }

    #[test]
    fn what_is_no_specifier() {
        let unit = UnitName::new("a@-x.service").unwrap();
        let fail = |text| expand(text, &unit, &environs()).unwrap_err();
        assert_eq!(fail("100%Z"), SpecifierError::Unknown('Z'));
        assert_eq!(fail("%1"), SpecifierError::Unknown('1'));
        assert_eq!(fail("%y"), SpecifierError::NoValue('y'));
        assert_eq!(fail("%f"), SpecifierError::NotEscaped('f', "-x".into()));
        assert_eq!(of("100% %- %é %", "a.service"), "100% %- %é %");
        let file = Some("/etc/systemd/system/a@.service");
        assert_eq!(
            expand_in("%y %Y", &unit, &environs(), file).unwrap(),
            "/etc/systemd/system/a@.service /etc/systemd/system"
        );
        assert_eq!(unescape(r"a\y"), None);
        assert_eq!(unescape(r"a\x4"), None);
        assert_eq!(unescape(r"a\xff"), None);
        assert_eq!(unescape(r"\x+1"), None);
    }

    #[test]
    fn escaping_is_systemd_escapes() {
        // Answers of systemd-escape 252.
        for (text, name) in [
            ("foo/bar", "foo-bar"),
            (".hid.den", r"\x2ehid.den"),
            ("a-b@c d\\é", r"a\x2db\x40c\x20d\x5c\xc3\xa9"),
        ] {
            assert_eq!(escape(text), name);
            assert_eq!(unescape(name).unwrap(), text);
        }
        for (path, name) in [("/", "-"), ("/foo//bar/baz/", "foo-bar-baz"), ("/.a/b-c", r"\x2ea-b\x2dc")] {
            assert_eq!(escape_path(path).unwrap(), name);
        }
        assert_eq!(unescape_path("foo-bar").unwrap(), "/foo/bar");
        assert_eq!(unescape_path("-").unwrap(), "/");
        assert_eq!(escape_path("/a/../b"), None);
        for bad in ["", "a--b", "a-", "-a"] {
            assert_eq!(unescape_path(bad), None, "{bad}");
        }
    }
}
