//! The forms that `show` has for structures, sets and codes: each as it is written in a unit file.

use super::text::span;
use hence_bus::wire::{Array, Value};
use hence_unit::attributes::NUMA_POLICIES;
use hence_unit::directive::CAPABILITIES;
use hence_unit::restrict::namespaces_text;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The lines of a property with a form of its own; none where there is nothing to show at all. `None` for
/// properties without such a form.
pub fn lines(name: &str, value: &Value) -> Option<Vec<String>> {
    let words = |value: &Value| -> Vec<String> {
        value.items().iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Some(match (name, value) {
        ("CapabilityBoundingSet" | "AmbientCapabilities", Value::Uint64(set)) => vec![capabilities(*set)],
        ("MountFlags", Value::Uint64(flags)) => vec![
            match flags {
                0x10_0000 => "shared",
                0x8_0000 => "slave",
                0x4_0000 => "private",
                _ => "",
            }
            .to_owned(),
        ],
        (_, Value::Int32(-1)) if name.ends_with("ActionExitStatus") => vec!["[not set]".to_owned()],
        ("StandardInputData", Value::Bytes(bytes)) => vec![base64(bytes)],
        (_, Value::Bytes(bytes)) if is_set(name) => vec![ranges(bytes)],
        ("LogExtraFields", Value::Array(array)) => array.items.iter().map(bytes_as_text).collect(),
        (_, Value::Uint16(_)) => vec!["[unprintable]".to_owned()],
        ("SELinuxContext" | "AppArmorProfile" | "SmackProcessLabel", value) => match value.items() {
            [Value::Bool(ignore), label] => {
                vec![format!("{}{}", if *ignore { "-" } else { "" }, label.as_str().unwrap_or_default())]
            }
            _ => return None,
        },
        ("RestrictNamespaces", Value::Uint64(flags)) => vec![namespaces_text(*flags)],
        ("CoredumpFilter", Value::Uint64(bits)) => vec![format!("{bits:#x}")],
        ("NUMAPolicy", Value::Int32(number)) => {
            let policy = NUMA_POLICIES.iter().find(|(_, known)| i32::from(*known) == *number);
            vec![policy.map_or("n/a", |(word, _)| word).to_owned()]
        }
        (
            "RestrictAddressFamilies" | "RestrictNetworkInterfaces" | "SystemCallFilter" | "SystemCallLog",
            value,
        ) => match value.items() {
            [Value::Bool(allow), names] => {
                vec![format!("{}{}", if *allow { "" } else { "~" }, words(names).join(" "))]
            }
            _ => return None,
        },
        (_, Value::Array(array)) => return list(name, array),
        _ => return None,
    })
}

/// Whether what is shown of a property is as good as nothing.
pub fn is_nothing(name: &str, shown: &str) -> bool {
    ["", "~", "[unprintable]"].contains(&shown) || (name.ends_with("ExitStatus") && shown == "[not set]")
}

fn list(name: &str, array: &Array) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let each = |form: &dyn Fn(&[Value]) -> String| -> Vec<String> {
        array.items.iter().map(|item| form(item.items())).collect()
    };
    Some(match &*array.element {
        "(st)" => each(&|item| match item {
            [device, Value::Uint64(us)] if name.ends_with("USec") => {
                format!("{} {}", text(device), span(*us, 1))
            }
            [device, Value::Uint64(number)] => format!("{} {number}", text(device)),
            _ => String::new(),
        }),
        "(sb)" => each(&|item| match item {
            [path, Value::Bool(ignore)] => {
                format!("{} (ignore_errors={})", text(path), if *ignore { "yes" } else { "no" })
            }
            _ => String::new(),
        }),
        "(iayu)" => vec![each(&network).join(" ")],
        "(ssbt)" => vec![
            each(&|item| match item {
                [from, to, Value::Bool(ignore), Value::Uint64(flags)] => format!(
                    "{}{}:{}{}",
                    if *ignore { "-" } else { "" },
                    text(from),
                    text(to),
                    if *flags & 0x4000 == 0 { "" } else { ":rbind" }
                ),
                _ => String::new(),
            })
            .join(" "),
        ],
        "(ss)" if name == "DeviceAllow" => {
            each(&|item| item.iter().map(text).collect::<Vec<_>>().join(" ").trim_end().to_owned())
        }
        "(ss)" if name == "TemporaryFileSystem" => vec![
            each(&|item| match item {
                [path, options] if text(options).is_empty() => text(path),
                [path, options] => format!("{}:{}", text(path), text(options)),
                _ => String::new(),
            })
            .join(" "),
        ],
        "(say)" => vec!["[unprintable]".to_owned()],
        "(ss)" if name.starts_with("LoadCredential") || name == "RootImageOptions" => {
            vec!["[unprintable]".to_owned()]
        }
        _ => return None,
    })
}

fn capabilities(set: u64) -> String {
    let name =
        |(at, name): (usize, &&str)| (set >> at & 1 == 1).then(|| format!("cap_{}", name.to_lowercase()));
    CAPABILITIES.iter().enumerate().filter_map(name).collect::<Vec<_>>().join(" ")
}

fn is_set(name: &str) -> bool {
    ["CPUs", "MemoryNodes", "CPUAffinity", "NUMAMask"].iter().any(|end| name.ends_with(end))
}

/// `0-3 8` of bits.
fn ranges(bytes: &[u8]) -> String {
    let has = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    let mut parts = Vec::new();
    let mut at = 0;
    while at < bytes.len() * 8 {
        let first = at;
        while has(at) {
            at += 1;
        }
        match at - first {
            0 => at += 1,
            1 => parts.push(first.to_string()),
            _ => parts.push(format!("{first}-{}", at - 1)),
        }
    }
    parts.join(" ")
}

fn network(item: &[Value]) -> String {
    let [_, Value::Bytes(address), Value::Uint32(prefix)] = item else { return String::new() };
    if let Ok(octets) = <[u8; 4]>::try_from(address.as_slice()) {
        return format!("{}/{prefix}", Ipv4Addr::from(octets));
    }
    match <[u8; 16]>::try_from(address.as_slice()) {
        Ok(octets) => format!("{}/{prefix}", Ipv6Addr::from(octets)),
        Err(_) => String::new(),
    }
}

fn bytes_as_text(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let all = group.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let six = all >> (18 - 6 * digit) & 63;
            text.push(if digit > group.len() { '=' } else { char::from(DIGITS[six as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_codes_look_as_in_a_unit_file() {
        let one = |name: &str, value: Value| lines(name, &value).map(|lines| lines.join("|"));
        assert_eq!(one("AllowedCPUs", Value::Bytes(vec![0b1010_0111])).as_deref(), Some("0-2 5 7"));
        assert_eq!(one("AmbientCapabilities", Value::Uint64(33)).as_deref(), Some("cap_chown cap_kill"));
        assert_eq!(one("StandardInputData", Value::Bytes(b"hi\n".to_vec())).as_deref(), Some("aGkK"));
        assert_eq!(one("StandardInputData", Value::Bytes(b"hi".to_vec())).as_deref(), Some("aGk="));
        assert_eq!(one("FailureActionExitStatus", Value::Int32(-1)).as_deref(), Some("[not set]"));
        let address = Value::Struct(vec![2i32.into(), Value::Bytes(vec![10, 0, 0, 0]), 8u32.into()]);
        let networks = Value::array("(iayu)", vec![address]);
        assert_eq!(one("IPAddressAllow", networks).as_deref(), Some("10.0.0.0/8"));
        assert_eq!(lines("IODeviceWeight", &Value::array("(st)", Vec::new())), Some(Vec::new()));
        assert_eq!(lines("Nice", &Value::Int32(3)), None);
    }
}
