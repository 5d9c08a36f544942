//! Limits of control groups beyond the common ones, systemd.resource-control(5): processors and memory nodes,
//! devices, what holds only while the machine starts or stops. They are kept as text, of which this is made
//! when all files of a unit were applied. Which file of a group holds what is not known here.

use crate::{
    Config,
    config::{INFINITY, Limit},
    directive::{self, CONTROLLERS},
    load::text_of,
    value,
};
use alloc::{boxed::Box, string::String, vec::Vec};

/// What only few units set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MoreLimits {
    /// AllowedCPUs=, from the lowest; empty: all.
    pub cpus: Vec<u16>,
    /// AllowedMemoryNodes=
    pub nodes: Vec<u16>,
    /// CPUQuotaPeriodSec=, in microseconds.
    pub cpu_quota_period: Option<u64>,
    /// CPUSetPartition=
    pub cpu_partition: Option<Box<str>>,
    /// IODeviceWeight=, by device.
    pub io_weights: Vec<(Box<str>, u64)>,
    /// IOReadBandwidthMax=, IOWriteBandwidthMax=, IOReadIOPSMax= and IOWriteIOPSMax=, by device.
    pub io_max: [Vec<(Box<str>, u64)>; 4],
    /// IODeviceLatencyTargetSec=, in microseconds, by device.
    pub io_latency: Vec<(Box<str>, u64)>,
    /// IOAccounting=
    pub io_accounting: bool,
    /// DefaultMemoryMin= of what lies below it.
    pub default_memory_min: Option<Limit>,
    /// DefaultMemoryLow= of what lies below it.
    pub default_memory_low: Option<Limit>,
    /// MemoryZSwapMax=
    pub zswap_max: Option<Limit>,
    /// MemoryZSwapWriteback=
    pub zswap_writeback: Option<bool>,
    /// DisableControllers=
    pub disabled: Vec<&'static str>,
    /// ManagedOOMPreference=
    pub oom_preference: Option<Box<str>>,
    /// What holds while the machine starts or stops.
    pub startup: StartupLimits,
}

/// The Startup...= directives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartupLimits {
    /// StartupAllowedCPUs=
    pub cpus: Vec<u16>,
    /// StartupAllowedMemoryNodes=
    pub nodes: Vec<u16>,
    /// StartupCPUWeight=; 0 for `idle`.
    pub cpu_weight: Option<u64>,
    /// StartupIOWeight=
    pub io_weight: Option<u64>,
    /// StartupMemoryLow=
    pub memory_low: Option<Limit>,
    /// StartupMemoryHigh=
    pub memory_high: Option<Limit>,
    /// StartupMemoryMax=
    pub memory_max: Option<Limit>,
    /// StartupMemorySwapMax=
    pub swap_max: Option<Limit>,
    /// StartupMemoryZSwapMax=
    pub zswap_max: Option<Limit>,
    /// DefaultStartupMemoryLow= of what lies below it.
    pub default_memory_low: Option<Limit>,
}

impl MoreLimits {
    /// Whether anything differs while the machine starts or stops.
    pub fn has_startup(&self) -> bool {
        self.startup != StartupLimits::default()
    }

    /// Whether any of it is about devices.
    pub fn has_io(&self) -> bool {
        let max = self.io_max.iter().any(|list| !list.is_empty());
        let more = !self.io_weights.is_empty() || !self.io_latency.is_empty();
        max || more || self.io_accounting || self.startup.io_weight.is_some()
    }

    /// Whether any of it is about processors or memory nodes.
    pub fn has_sets(&self) -> bool {
        let normal = [&self.cpus, &self.nodes, &self.startup.cpus, &self.startup.nodes];
        normal.iter().any(|set| !set.is_empty()) || self.cpu_partition.is_some()
    }
}

/// Highest number of a processor or memory node.
const HIGHEST: u64 = 8191;

/// A set of numbers: `0-3 5,7`; `None` where a word is none.
pub fn numbers(text: &str) -> Option<Vec<u16>> {
    let mut set = Vec::new();
    for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let number = |text: &str| value::unsigned(text).filter(|n| *n <= HIGHEST).map(|n| n as u16);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        set.extend(first..=last);
    }
    set.sort_unstable();
    set.dedup();
    Some(set)
}

/// What a directive says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerDevice {
    /// A weight from 1 to 10000.
    Weight,
    /// An amount in a second, with suffixes to the base 1000; none where it is `infinity`.
    Rate,
    /// A time span.
    Span,
}

impl PerDevice {
    /// What it takes, to complete a sentence.
    pub const fn allowed(self) -> &'static str {
        match self {
            PerDevice::Weight => "a path and a weight from 1 to 10000",
            PerDevice::Rate => "a path and an amount such as 5M",
            PerDevice::Span => "a path and a time span",
        }
    }

    /// The path and the number.
    pub fn parse(self, text: &str) -> Option<(Box<str>, u64)> {
        let text = text.trim();
        let (path, amount) = match text.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => text.split_once([' ', '\t'])?,
        };
        let amount = amount.trim();
        let amount = match self {
            PerDevice::Weight => value::unsigned(amount).filter(|weight| (1..=10_000).contains(weight)),
            PerDevice::Rate if amount == "infinity" => Some(INFINITY),
            PerDevice::Rate => rate(amount),
            PerDevice::Span => value::span(amount, value::SECOND_US),
        };
        // systemd takes any text for a path; one that leads nowhere is told when the limit is set.
        Some((value::absolute_path(path).unwrap_or_else(|| path.into()).into(), amount?))
    }
}

/// `5M`, `1.5K`, `100`: to the base 1000, above 0.
fn rate(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let power = ["", "K", "M", "G", "T", "P", "E"].iter().position(|s| *s == suffix.trim_end_matches('B'))?;
    let scale = 1000u128.pow(power as u32);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut amount = u128::from(value::unsigned(whole)?) * scale;
    let mut share = scale;
    for digit in part.chars() {
        share /= 10;
        amount += u128::from(digit.to_digit(10)?) * share;
    }
    u64::try_from(amount).ok().filter(|amount| *amount > 0 && *amount != INFINITY)
}

/// The values in effect of a directive that adds up.
fn all<'c>(config: &'c Config, name: &'static str) -> impl Iterator<Item = &'c str> {
    let row = directive::row_named(name);
    let own = config.settings.iter().filter(move |setting| Some(setting.row) == row);
    own.filter_map(|setting| setting.value.as_deref())
}

/// Makes the limits of a unit; `None` where it sets none.
pub(crate) fn of(config: &Config) -> Option<Box<MoreLimits>> {
    // Rows of a page lie together, and most units have none of these that is kept as text.
    let rows = directive::row_named("Slice")?..=directive::row_named("CoredumpReceive")?;
    if !config.settings.iter().any(|setting| setting.value.is_some() && rows.contains(&setting.row)) {
        return None;
    }
    let text = |name: &str| text_of(config, name).filter(|text| !text.is_empty());
    let set = |name| {
        let mut set: Vec<u16> = all(config, name).filter_map(numbers).flatten().collect();
        set.sort_unstable();
        set.dedup();
        set
    };
    // Of several for one device the last counts.
    let devices = |name, kind: PerDevice| {
        let mut found: Vec<(Box<str>, u64)> = Vec::new();
        for (path, amount) in all(config, name).filter_map(|text| kind.parse(text)) {
            found.retain(|(known, _)| *known != path);
            found.push((path, amount));
        }
        found
    };
    let amount = |name: &str| text(name).and_then(value::memory_limit);
    let limit = |name: &str| amount(name).filter(|l| !matches!(l, Limit::Absolute(0) | Limit::Share(0)));
    let weight = |name: &str| match text(name) {
        Some("idle") => Some(0),
        text => text.and_then(value::unsigned).filter(|weight| (1..=10_000).contains(weight)),
    };
    let controllers = |name| {
        let words = all(config, name).flat_map(|text| text.split_ascii_whitespace());
        let mut known: Vec<&'static str> =
            words.filter_map(|word| CONTROLLERS.into_iter().find(|known| *known == word)).collect();
        known.sort_unstable();
        known.dedup();
        known
    };
    let period = text("CPUQuotaPeriodSec").and_then(|text| value::span(text, value::SECOND_US));
    let more = MoreLimits {
        cpus: set("AllowedCPUs"),
        nodes: set("AllowedMemoryNodes"),
        cpu_quota_period: period.filter(|us| *us != INFINITY && *us > 0),
        cpu_partition: text("CPUSetPartition").map(Box::from),
        io_weights: devices("IODeviceWeight", PerDevice::Weight),
        io_max: ["IOReadBandwidthMax", "IOWriteBandwidthMax", "IOReadIOPSMax", "IOWriteIOPSMax"]
            .map(|name| devices(name, PerDevice::Rate)),
        io_latency: devices("IODeviceLatencyTargetSec", PerDevice::Span),
        io_accounting: text("IOAccounting").and_then(value::boolean).unwrap_or(false),
        default_memory_min: amount("DefaultMemoryMin"),
        default_memory_low: amount("DefaultMemoryLow"),
        zswap_max: amount("MemoryZSwapMax"),
        zswap_writeback: text("MemoryZSwapWriteback").and_then(value::boolean),
        disabled: controllers("DisableControllers"),
        oom_preference: text("ManagedOOMPreference").filter(|word| *word != "none").map(Box::from),
        startup: StartupLimits {
            cpus: set("StartupAllowedCPUs"),
            nodes: set("StartupAllowedMemoryNodes"),
            cpu_weight: weight("StartupCPUWeight"),
            io_weight: weight("StartupIOWeight").filter(|weight| *weight > 0),
            memory_low: amount("StartupMemoryLow"),
            memory_high: limit("StartupMemoryHigh"),
            memory_max: limit("StartupMemoryMax"),
            swap_max: amount("StartupMemorySwapMax"),
            zswap_max: amount("StartupMemoryZSwapMax"),
            default_memory_low: amount("DefaultStartupMemoryLow"),
        },
    };
    (more != MoreLimits::default()).then(|| Box::new(more))
}

/// A set as the kernel reads it: `0-3,5`.
pub fn ranges(set: &[u16]) -> String {
    let mut text = String::new();
    let mut rest = set;
    while let Some(&first) = rest.first() {
        let run = (0..rest.len()).take_while(|&n| usize::from(rest[n]) == usize::from(first) + n).count();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&alloc::format!("{first}"));
        if run > 1 {
            text.push_str(&alloc::format!("-{}", rest[run - 1]));
        }
        rest = &rest[run..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_page_lie_together() {
        let page = "systemd.resource-control(5)";
        let of_page: Vec<usize> =
            directive::rows().enumerate().filter(|(_, row)| row.page == page).map(|(at, _)| at).collect();
        let ends = [of_page[0] as u16, of_page[of_page.len() - 1] as u16];
        assert_eq!(usize::from(ends[1] - ends[0]) + 1, of_page.len());
        assert_eq!(["Slice", "CoredumpReceive"].map(directive::row_named), ends.map(Some));
    }

    #[test]
    fn sets_and_devices() {
        assert_eq!(numbers("0-2, 7 5"), Some(alloc::vec![0, 1, 2, 5, 7]));
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(ranges(&[]), "");
        for bad in ["5-2", "a", "9999", "1-"] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
        let of = |kind: PerDevice, text: &str| kind.parse(text).map(|(path, n)| (String::from(path), n));
        assert_eq!(of(PerDevice::Rate, "/dev/sda 5M"), Some(("/dev/sda".into(), 5_000_000)));
        assert_eq!(of(PerDevice::Rate, "/dev/sda 1.5K"), Some(("/dev/sda".into(), 1500)));
        assert_eq!(of(PerDevice::Rate, "/dev/sda infinity"), Some(("/dev/sda".into(), INFINITY)));
        assert_eq!(of(PerDevice::Weight, "/ 100"), Some(("/".into(), 100)));
        assert_eq!(of(PerDevice::Span, "/var 25ms"), Some(("/var".into(), 25_000)));
        assert_eq!(of(PerDevice::Rate, "\"/dev/a b\" 5"), Some(("/dev/a b".into(), 5)));
        assert_eq!(of(PerDevice::Rate, "sda 5"), Some(("sda".into(), 5)));
        for bad in ["/dev/sda", "/dev/sda 0", "/dev/sda x", "/dev/sda 99999999999E"] {
            assert_eq!(of(PerDevice::Rate, bad), None, "{bad}");
        }
        assert_eq!(of(PerDevice::Weight, "/dev/sda 10001"), None);
    }
}
