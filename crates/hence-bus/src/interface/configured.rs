//! Properties that only say how a unit is configured, out of the unit's configuration: a typed field where
//! there is one, else the text of the setting, read as the property's type; else what a unit has that sets
//! nothing. It looks at no machine.

mod field;
mod restricted;
mod rows;
mod typed;

use super::row::{Given, Property};
use super::shown::Shown;
use crate::front::UnitView;
use crate::wire::Value;
pub use field::Field;
use hence_unit::value::{boolean, signed, size, span, span_ns, unsigned};
use hence_unit::{Config, UnitKind, directive, words};
pub use rows::*;
use std::net::IpAddr;

/// The value of a property.
fn shown<'a>(property: Property<UnitView>, view: &'a UnitView, given: Given) -> Shown<'a> {
    let field = property.field();
    let fallback = match field {
        Some(Field::Unit) => return view.dependency("Triggers").first().map_or("", |unit| unit).into(),
        Some(Field::KeyringMode) if view.kind != UnitKind::Service => "shared".into(),
        Some(Field::SameProcessGroup) if view.kind == UnitKind::Mount => true.into(),
        _ => Shown::Default,
    };
    let Some(config) = view.config.as_deref() else { return fallback };
    if let Some(value) = field.and_then(|field| typed::value(config, field))
        && property.takes(&value)
    {
        return value;
    }
    if field == Some(Field::SyslogPriority) {
        let part = |name| match EXECUTION.property(name).map(|part| part.value(view)) {
            Some(Value::Int32(number)) => number,
            _ => 0,
        };
        return (part("SyslogFacility") << 3 | part("SyslogLevel")).into();
    }
    if !property.may_be(given) {
        return fallback;
    }
    let texts = texts(config, property.name());
    parse(property.name(), property.signature(), &texts).map_or(fallback, Shown::Value)
}

/// Which directives a unit has as text.
pub fn given(view: &UnitView) -> Given {
    let mut given = Given::default();
    let settings = view.config.as_deref().map_or(&[][..], |config| &config.settings);
    for setting in settings.iter().filter(|setting| setting.value.is_some()) {
        given.add(directive::name_of(setting.row));
    }
    given
}

/// The value of a resource setting as the bus has it, out of the text of its directive: `None` where there is
/// no such property, `Some(None)` where the text is none of its values.
pub fn setting_value(property: &str, text: &str) -> Option<Option<Value>> {
    let row = RESOURCES.property(property).or_else(|| super::slice::RESOURCES.property(property))?;
    let (name, signature) = (row.name(), row.signature());
    // What is measured can't be set.
    if ["Effective", "Current", "Usage"].iter().any(|part| name.contains(part)) {
        return None;
    }
    if text.is_empty() && (signature.starts_with('a') || signature == "(bas)") {
        return Some(Some(row.default()));
    }
    let value = parse(name, signature, &[text]);
    // A list that nothing could be read of is a mistake.
    let unread = |value: &Value| signature.starts_with("a(") && value.items().is_empty();
    Some(value.filter(|value| !unread(value)))
}

/// Whether a directive is that of a property: D-Bus has times in a smaller unit.
fn is_of(directive: &str, property: &str) -> bool {
    match property.strip_suffix("USec") {
        Some(stem) => directive.strip_suffix("Sec") == Some(stem),
        None => directive == property,
    }
}

/// The texts of the settings of a property that are in effect, in their order.
fn texts<'a>(config: &'a Config, property: &str) -> Vec<&'a str> {
    let of = |setting: &&hence_unit::config::Setting| is_of(directive::name_of(setting.row), property);
    config.settings.iter().filter(of).filter_map(|setting| setting.value.as_deref()).collect()
}

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "",
    "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SECURE_BITS: [&str; 6] =
    ["noroot", "noroot-locked", "no-setuid-fixup", "no-setuid-fixup-locked", "keep-caps", "keep-caps-locked"];

/// What settings, the last of which wins or which make one list, come to as this type.
fn parse(name: &str, signature: &'static str, texts: &[&str]) -> Option<Value> {
    let last = *texts.last()?;
    let words = || {
        let all = texts.iter().flat_map(|text| words::split(text).0);
        all.map(|word| word.text.to_string()).collect::<Vec<String>>()
    };
    Some(match signature {
        "b" => boolean(last)?.into(),
        "s" => last.to_owned().into(),
        "as" => Value::strings(words()),
        "t" => amount(name, last)?.into(),
        "u" => match last.strip_suffix('%').and_then(|share| share.parse::<u64>().ok()) {
            Some(share) => Value::Uint32(u32::try_from((share << 32) / 100).unwrap_or(u32::MAX)),
            None => u32::try_from(unsigned(last)?).ok()?.into(),
        },
        "q" => u16::try_from(unsigned(last)?).ok()?.into(),
        "x" => signed(last)?.into(),
        "i" => number(name, last)?.into(),
        "ay" => mask(processors(&words())?.into_iter()),
        "aay" => Value::array("ay", words().into_iter().map(|w| Value::Bytes(w.into_bytes())).collect()),
        "(bs)" => {
            let (ignore, label) = last.strip_prefix('-').map_or((false, last), |rest| (true, rest));
            Value::Struct(vec![ignore.into(), label.to_owned().into()])
        }
        "(bas)" => names(last, &words()),
        "a(ss)" => Value::array("(ss)", pairs(name, texts, words())),
        "a(st)" => {
            let row = |text: &&str| {
                let (device, amount) = text.trim().rsplit_once([' ', '\t'])?;
                let number = if name.ends_with("USec") { span(amount, 1_000_000)? } else { decimal(amount)? };
                Some(Value::Struct(vec![device.trim().to_owned().into(), number.into()]))
            };
            Value::array("(st)", texts.iter().filter_map(row).collect())
        }
        "a(iayu)" => Value::array("(iayu)", words().iter().flat_map(|word| networks(word)).collect()),
        "a(ssbt)" => Value::array("(ssbt)", words().iter().map(|word| bind(word)).collect()),
        _ => return None,
    })
}

/// A list that begins with `~` names what is not allowed.
fn names(text: &str, words: &[String]) -> Value {
    let denies = text.starts_with('~');
    let mut names: Vec<String> = words.iter().map(|w| w.trim_start_matches('~').to_owned()).collect();
    names.retain(|name| !name.is_empty() && name != "none");
    names.sort();
    names.dedup();
    Value::Struct(vec![(!denies && !text.is_empty()).into(), Value::strings(names)])
}

/// Two texts each: what stands before and after a blank or the first colon.
fn pairs(name: &str, texts: &[&str], words: Vec<String>) -> Vec<Value> {
    let pair = |first: &str, second: &str| {
        Value::Struct(vec![first.trim().to_owned().into(), second.trim().to_owned().into()])
    };
    if name == "DeviceAllow" {
        let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let row = |text: &str| match text.rsplit_once([' ', '\t']) {
            Some((device, access)) => pair(device, access),
            None => pair(text, "rwm"),
        };
        return texts.map(row).collect();
    }
    words
        .iter()
        .map(|word| word.split_once(':').map_or_else(|| pair(word, ""), |(a, b)| pair(a, b)))
        .collect()
}

/// `SOURCE[:DESTINATION[:OPTIONS]]`, where a minus in front ignores a source that is not there.
fn bind(word: &str) -> Value {
    let (optional, word) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
    let mut parts = word.splitn(3, ':');
    let source = parts.next().unwrap_or("").to_owned();
    let destination = parts.next().map_or_else(|| source.clone(), str::to_owned);
    // MS_REC unless told otherwise; mount(2).
    let flags = if parts.next() == Some("norbind") { 0u64 } else { 0x4000 };
    Value::Struct(vec![source.into(), destination.into(), optional.into(), flags.into()])
}

/// An amount: a time, or bytes, or only a number.
fn amount(name: &str, text: &str) -> Option<u64> {
    match text {
        "infinity" => Some(u64::MAX),
        "" => Some(u64::MAX).filter(|_| name.ends_with("Weight") || name.ends_with("Shares")),
        _ if name.ends_with("NSec") => span_ns(text),
        _ if name.ends_with("USec") => span(text, 1_000_000).or_else(|| unsigned(text)),
        "idle" if name.ends_with("CPUWeight") => Some(0),
        _ if name == "MountFlags" => match text {
            "shared" => Some(1 << 20),
            "slave" => Some(1 << 19),
            "private" => Some(1 << 18),
            _ => unsigned(text),
        },
        _ => size(text),
    }
}

/// A number of bytes or of operations in a second, whose suffixes are powers of 1000.
fn decimal(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match &text[at..] {
        "" => 1,
        "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => return if text == "infinity" { Some(u64::MAX) } else { None },
    };
    text[..at].parse::<u64>().ok()?.checked_mul(factor)
}

fn number(name: &str, text: &str) -> Option<i32> {
    let position = |words: &[&str]| words.iter().position(|word| *word == text);
    let by_word = match name {
        "SyslogLevel" | "LogLevelMax" => position(&LEVELS),
        "SyslogFacility" => position(&FACILITIES),
        "SecureBits" => {
            let bit =
                |word: &str| SECURE_BITS.iter().position(|known| *known == word).map_or(0, |at| 1 << at);
            Some(text.split_whitespace().map(bit).fold(0, |all, bit| all | bit))
        }
        "IPTOS" => position(&["low-delay", "throughput", "reliability", "low-cost"]).map(|at| 16 >> at),
        "SocketProtocol" => match text {
            "udplite" => Some(136),
            "sctp" => Some(132),
            _ => None,
        },
        _ => None,
    };
    match by_word {
        Some(number) => i32::try_from(number).ok(),
        None => i32::try_from(signed(text)?).ok(),
    }
}

/// Numbers of processors or memory nodes: `0-3,8`.
fn processors(words: &[String]) -> Option<Vec<usize>> {
    /// More than any machine has.
    const MOST: usize = 8192;
    let mut all = Vec::new();
    for range in words.iter().flat_map(|word| word.split(',')).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// A bit for each number, the first byte's lowest for 0.
fn mask(numbers: impl Iterator<Item = usize>) -> Value {
    let mut bytes = Vec::new();
    for number in numbers {
        if bytes.len() <= number / 8 {
            bytes.resize(number / 8 + 1, 0u8);
        }
        bytes[number / 8] |= 1 << (number % 8);
    }
    Value::Bytes(bytes)
}

/// Family, address and length of the prefix; a name stands for several.
fn networks(word: &str) -> Vec<Value> {
    let one = |word: &str| {
        let (address, length) =
            word.split_once('/').map_or((word, None), |(a, l)| (a, l.parse::<u32>().ok()));
        let (family, bytes, most) = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(address) => (2, address.octets().to_vec(), 32),
            IpAddr::V6(address) => (10, address.octets().to_vec(), 128),
        };
        let length = length.unwrap_or(most).min(most);
        Some(Value::Struct(vec![Value::Int32(family), Value::Bytes(bytes), Value::Uint32(length)]))
    };
    let all: &[&str] = match word {
        "any" => &["0.0.0.0/0", "::/0"],
        "localhost" => &["127.0.0.0/8", "::1/128"],
        "link-local" => &["169.254.0.0/16", "fe80::/64"],
        "multicast" => &["224.0.0.0/4", "ff00::/8"],
        word => return one(word).into_iter().collect(),
    };
    all.iter().filter_map(|word| one(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_as_the_types_of_their_properties() {
        let is = |name: &str, signature: &'static str, texts: &[&str], value: Value| {
            assert_eq!(parse(name, signature, texts), Some(value), "{name} {texts:?}");
        };
        is("PrivateDevices", "b", &["no", "yes"], true.into());
        is("TimeoutIdleUSec", "t", &["2min"], 120_000_000u64.into());
        is("StartupCPUWeight", "t", &[""], u64::MAX.into());
        is("MemoryLimit", "t", &["1G"], (1u64 << 30).into());
        is("AllowedCPUs", "ay", &["0-2 9"], Value::Bytes(vec![7, 2]));
        is("SyslogLevel", "i", &["debug"], 7i32.into());
        is("SyslogFacility", "i", &["local1"], 17i32.into());
        let pair = |a: &str, b: &str| Value::Struct(vec![a.to_owned().into(), b.to_owned().into()]);
        is("DeviceAllow", "a(ss)", &["/dev/null rw"], Value::array("(ss)", vec![pair("/dev/null", "rw")]));
        is("LoadCredential", "a(ss)", &["a:/b:c"], Value::array("(ss)", vec![pair("a", "/b:c")]));
        let list = Value::Struct(vec![false.into(), Value::strings(["AF_INET", "AF_UNIX"])]);
        is("RestrictAddressFamilies", "(bas)", &["~AF_UNIX AF_INET"], list);
        let rate = Value::Struct(vec!["/dev/sda".into(), 2_000_000u64.into()]);
        is("IOReadBandwidthMax", "a(st)", &["/dev/sda 2M"], Value::array("(st)", vec![rate]));
        let Some(addresses) = parse("IPAddressAllow", "a(iayu)", &["localhost 10.0.0.0/8"]) else {
            panic!("addresses are read")
        };
        assert_eq!((addresses.items().len(), addresses.signature().as_str()), (3, "a(iayu)"));
        assert_eq!(parse("AllowedCPUs", "ay", &["5-1"]), None);
        assert_eq!(parse("IODeviceWeight", "a(st)", &["nonsense"]), Some(Value::array("(st)", Vec::new())));
    }
}
