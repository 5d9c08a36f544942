//! Attributes of processes that few units set, as lines of a plan, and what the executor does for each:
//! Personality=, SecureBits=, TimerSlackNSec=, CoredumpFilter=, NUMAPolicy=, KeyringMode=; systemd.exec(5).

use crate::sys::{attributes, spawn::status};
use hence_ledger::SpawnStep;
use hence_unit::{
    ExecConfig,
    attributes::{Attributes, KeyringMode, PERSONALITIES},
    value,
};
use std::{fs, io};

/// What failed: the step, systemd's exit status, on what, why.
type Failure = (SpawnStep, i32, String, io::Error);

/// Whether a unit's processes need the executor for its filters or attributes.
pub(crate) fn are_needed(context: &ExecConfig) -> bool {
    context.restrictions.as_deref().is_some_and(|r| !r.is_empty())
        || context.attributes.as_deref().is_some_and(Attributes::of_processes)
}

/// The attributes of a unit, one line each: a word and its argument.
pub(crate) fn of_unit(attributes: &Attributes, invocation: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(bits) = attributes.coredump_filter {
        // The kernel takes 32 bits.
        lines.push(format!("coredump {:#x}", bits as u32));
    }
    if let Some(policy) = attributes.numa_policy {
        let all = if attributes.numa_all { memory_nodes() } else { Vec::new() };
        let nodes = if attributes.numa_all { &all } else { &attributes.numa_nodes };
        lines.push(nodes.iter().fold(format!("numa {policy}"), |line, node| format!("{line} {node}")));
    }
    if let Some(ns) = attributes.timer_slack_ns {
        lines.push(format!("slack {ns}"));
    }
    if let Some(word) = &attributes.personality {
        lines.push(format!("personality {word}"));
    }
    if let Some(mode) = attributes.keyring.filter(|mode| *mode != KeyringMode::Inherit) {
        lines.push(format!("keyring {} {invocation}", mode.as_str()));
    }
    if attributes.secure_bits != 0 {
        lines.push(format!("securebits {}", attributes.secure_bits));
    }
    lines
}

/// The memory nodes of this machine: NUMAMask=all.
fn memory_nodes() -> Vec<u16> {
    let text = fs::read_to_string("/sys/devices/system/node/possible").unwrap_or_else(|_| "0".into());
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok().filter(|last| *last < 1024)?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn argument<'a>(lines: &'a [String], word: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
}

/// Whether the kernel refuses it for want of a right, or has no such thing, as in containers.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// What can be done before the user is changed.
///
/// # Errors
/// What failed.
pub(crate) fn apply(lines: &[String]) -> Result<(), Failure> {
    let failed = |status, directive: &str, value: &str| {
        let subject = format!("{directive}={value}");
        move |e| (SpawnStep::Attributes, status, subject, e)
    };
    if let Some(bits) = argument(lines, "coredump") {
        match fs::write("/proc/self/coredump_filter", bits) {
            Err(e) if !is_refused(&e) => {
                return Err(failed(status::LIMITS, "CoredumpFilter", bits)(e));
            }
            _ => {}
        }
    }
    if let Some(line) = argument(lines, "numa") {
        let mut numbers = line.split(' ');
        let policy = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let nodes: Vec<u16> = numbers.filter_map(|n| n.parse().ok()).collect();
        match attributes::set_memory_policy(policy, &nodes) {
            // A kernel without memory nodes, and that is said.
            Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {
                eprintln!("hence-executor: NUMAPolicy=: {e}");
            }
            result => {
                result.map_err(failed(status::NUMA_POLICY, "NUMAPolicy", ""))?;
            }
        }
    }
    if let Some(ns) = argument(lines, "slack") {
        let result = attributes::set_timer_slack(ns.parse().unwrap_or(0));
        result.map_err(failed(status::TIMER_SLACK, "TimerSlackNSec", ns))?;
    }
    if let Some(word) = argument(lines, "personality") {
        let number = value::word(word, PERSONALITIES).unwrap_or(0);
        let result = attributes::set_personality(number);
        result.map_err(failed(status::PERSONALITY, "Personality", word))?;
    }
    if let Some(line) = argument(lines, "keyring") {
        let (mode, invocation) = line.split_once(' ').unwrap_or((line, ""));
        match attributes::new_session_keyring() {
            Err(e) if is_refused(&e) => eprintln!("hence-executor: KeyringMode={mode}: {e}"),
            result => {
                result.map_err(failed(status::KEYRING, "KeyringMode", mode))?;
                let id = crate::process::parse_invocation(invocation.as_bytes());
                // Those who look for it do without.
                let _ = id.map(|id| attributes::add_protected_key("invocation_id", &id.0));
            }
        }
    }
    Ok(())
}

/// SecureBits=, where given.
pub(crate) fn secure_bits(lines: &[String]) -> Option<u8> {
    argument(lines, "securebits")?.parse().ok()
}

/// What needs the user to be changed.
///
/// # Errors
/// What failed.
pub(crate) fn apply_as_user(lines: &[String]) -> Result<(), Failure> {
    if argument(lines, "keyring").is_some_and(|line| line.starts_with("shared")) {
        match attributes::link_user_keyring() {
            Err(e) if is_refused(&e) => {}
            result => result
                .map_err(|e| (SpawnStep::Attributes, status::KEYRING, "KeyringMode=shared".to_owned(), e))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_unit() {
        let attributes = Attributes {
            personality: Some("x86".into()),
            secure_bits: 17,
            numa_policy: Some(2),
            numa_nodes: vec![0, 3],
            keyring: Some(KeyringMode::Shared),
            ..Attributes::default()
        };
        let lines = of_unit(&attributes, "0123");
        assert_eq!(lines, ["numa 2 0 3", "personality x86", "keyring shared 0123", "securebits 17"]);
        assert_eq!((argument(&lines, "numa"), secure_bits(&lines)), (Some("2 0 3"), Some(17)));
        assert!(of_unit(&Attributes::default(), "").is_empty());
        assert!(memory_nodes().contains(&0));
    }
}
