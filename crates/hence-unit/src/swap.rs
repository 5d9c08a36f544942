//! Swap units: what they are made of, and what they depend on; systemd.swap(5). Switching is a command,
//! swapon(8), as it is under systemd. It doesn't know what is swapped to.

use crate::{
    Config, DependencyKind, LoadState, Origin, UnitName,
    config::{Command, ExecConfig, KillConfig, Kind, ResourceConfig},
    load::text_of,
    mount::{Implied, TIMEOUT_US, command, device_of, path_of, timeout},
    specifier,
};
use DependencyKind::{After, Before, Conflicts, Requires};
use alloc::{boxed::Box, format, string::String, vec::Vec};

/// The part of a swap unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwapConfig {
    /// What=
    pub what: Box<str>,
    /// TimeoutSec=, in microseconds.
    pub timeout: u64,
    /// Switches it on; empty where the unit has no file and only shows what is swapped to.
    pub swapon: Vec<Command>,
    /// Switches it off.
    pub swapoff: Vec<Command>,
    /// How both are executed.
    pub context: ExecConfig,
    /// How one that takes too long is ended.
    pub kill: KillConfig,
    /// In which group.
    pub resources: ResourceConfig,
}

/// The name of the swap unit of an absolute path.
pub fn unit_of(path: &str) -> Option<UnitName> {
    UnitName::new(&format!("{}.swap", specifier::escape_path(path)?))
}

/// Makes the swap part of a unit whose files were applied.
///
/// # Errors
/// The sentence and the mend: why it can't be used.
pub(crate) fn settle(config: &Config) -> Result<SwapConfig, (&'static str, &'static str)> {
    let text = |name: &str| text_of(config, name).unwrap_or("");
    let own = match &config.kind {
        Kind::Swap(swap) => (**swap).clone(),
        _ => SwapConfig::default(),
    };
    let named = path_of(config.id()).ok_or(("the unit's name is no path", "name it after What="))?;
    let what = match text("What") {
        "" => return Err(("the swap unit has no What=", "add What=")),
        what => what,
    };
    if what != named {
        let mend = "name the unit by `systemd-escape --path`";
        return Err(("What= is not what the unit is named after", mend));
    }
    let mut options = String::new();
    if let Ok(priority) = text("Priority").parse::<i32>()
        && priority >= 0
    {
        options = format!("pri={priority}");
    }
    if !text("Options").is_empty() {
        let comma = if options.is_empty() { "" } else { "," };
        options = format!("{options}{comma}{}", text("Options"));
    }
    let mut on = Vec::from(["--fixpgsz"]);
    if !options.is_empty() {
        on.extend(["-o", &options]);
    }
    on.push(what);
    Ok(SwapConfig {
        what: what.into(),
        timeout: timeout(text("TimeoutSec"), own.timeout),
        swapon: command("/sbin/swapon", &on),
        swapoff: command("/sbin/swapoff", &[what]),
        ..own
    })
}

/// What a swap unit with a file depends on; `defaults`: DefaultDependencies=. A file's mounts are the unit's
/// own paths.
pub(crate) fn implied(swap: &SwapConfig, defaults: bool) -> Vec<Implied> {
    let mut found: Vec<Implied> = Vec::new();
    let mut add = |kinds: &'static [DependencyKind], name: Option<UnitName>, origin: Origin| {
        found.extend(name.map(|name| (kinds, name, origin)));
    };
    let origin = || Origin::implied("What", None);
    add(&[After], UnitName::new("systemd-journald.socket"), origin());
    match device_of(&swap.what) {
        Some(device) => {
            add(&[After], specifier::escape_path(&swap.what).and_then(|p| blockdev(&p)), origin());
            add(&[Requires, After], Some(device), origin());
        }
        None => add(&[After], UnitName::new("systemd-remount-fs.service"), origin()),
    }
    if defaults {
        add(&[Before, Conflicts], UnitName::new("umount.target"), Origin::Default);
        add(&[Before], UnitName::new("swap.target"), Origin::Default);
    }
    found
}

/// The target that whatever makes this device ready is ordered before.
fn blockdev(path: &str) -> Option<UnitName> {
    UnitName::new(&format!("blockdev@{path}.target"))
}

/// A swap unit without a file: it shows what is swapped to.
pub fn of_active(name: &UnitName) -> Option<Config> {
    let what = path_of(name)?;
    let mut config = Config::stub(name.clone());
    config.load = LoadState::Loaded;
    config.description = what.as_str().into();
    config.flags.default_dependencies = false;
    config.flags.ignore_on_isolate = true;
    config.kind = Kind::Swap(Box::new(SwapConfig {
        what: what.as_str().into(),
        timeout: TIMEOUT_US,
        swapoff: command("/sbin/swapoff", &[&what]),
        ..SwapConfig::default()
    }));
    Some(config)
}
