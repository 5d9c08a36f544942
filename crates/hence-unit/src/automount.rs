//! Automount units: what they are made of, and what they depend on; systemd.automount(5). It doesn't know
//! what is mounted.

use crate::{
    Config, DependencyKind, Origin, UnitName,
    load::text_of,
    mount::{Implied, path_of},
    value,
};
use DependencyKind::{After, Before, Conflicts};
use alloc::{boxed::Box, vec::Vec};

/// The part of an automount unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutomountConfig {
    /// Where=, else by the unit's name.
    pub at: Box<str>,
    /// ExtraOptions=
    pub extra_options: Box<str>,
    /// DirectoryMode=
    pub directory_mode: u32,
    /// TimeoutIdleSec=, in microseconds; 0: it stays mounted.
    pub timeout_idle: u64,
}

/// Makes the automount part of a unit whose files were applied.
///
/// # Errors
/// The sentence and the mend: why it can't be used.
pub(crate) fn settle(config: &Config) -> Result<AutomountConfig, (&'static str, &'static str)> {
    let text = |name: &str| text_of(config, name).unwrap_or("");
    let named = path_of(config.id()).ok_or(("the unit's name is no path", "name it after Where="))?;
    if named == "/" {
        return Err(("the root directory can't be an automount point", "mount it by a mount unit alone"));
    }
    let at = text("Where").trim_end_matches('/');
    if !at.is_empty() && at != named.trim_end_matches('/') {
        let mend = "name the unit by `systemd-escape --path`";
        return Err(("Where= is not what the unit is named after", mend));
    }
    let never = |us: &u64| *us < crate::config::INFINITY;
    Ok(AutomountConfig {
        at: named.as_str().into(),
        extra_options: text("ExtraOptions").into(),
        directory_mode: u32::from_str_radix(text("DirectoryMode"), 8).unwrap_or(0o755),
        timeout_idle: value::span(text("TimeoutIdleSec"), 1_000_000).filter(never).unwrap_or(0),
    })
}

/// What it depends on by default, beside the mount unit that it starts.
pub(crate) fn implied() -> Vec<Implied> {
    let named = |kinds: &'static [DependencyKind], name| {
        UnitName::new(name).map(|name| (kinds, name, Origin::Default))
    };
    let all = [
        named(&[Before], "local-fs.target"),
        named(&[After], "local-fs-pre.target"),
        named(&[Before, Conflicts], "umount.target"),
    ];
    all.into_iter().flatten().collect()
}
