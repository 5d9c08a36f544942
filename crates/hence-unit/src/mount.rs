//! Mount and device units: what they are made of, and what they depend on; systemd.mount(5),
//! systemd.device(5). Mounting is a command, mount(8), as it is under systemd. It knows neither what is
//! mounted nor which devices there are.

use crate::{
    Config, Dependency, DependencyKind, LoadState, Origin, Position, UnitKind, UnitName,
    config::{Command, ExecConfig, INFINITY, KillConfig, Kind, Privilege, ResourceConfig},
    load::text_of,
    specifier, value,
};
use DependencyKind::{After, Before, Conflicts, Requires, Wants};
use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec, vec::Vec};

/// Default of TimeoutSec=, in microseconds.
pub const TIMEOUT_US: u64 = 90_000_000;

/// The part of a mount unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountConfig {
    /// What=
    pub what: Box<str>,
    /// Where=, else by the unit's name.
    pub at: Box<str>,
    /// Type=
    pub fs_type: Box<str>,
    /// Options=
    pub options: Box<str>,
    /// TimeoutSec=, in microseconds.
    pub timeout: u64,
    /// Mounts it; empty where the unit has no file and only shows what is mounted.
    pub mount: Vec<Command>,
    /// Unmounts it.
    pub unmount: Vec<Command>,
    /// DirectoryMode= of the mount point, where mount(8) can't make it itself.
    pub make_folder: Option<u32>,
    /// How both are executed.
    pub context: ExecConfig,
    /// How one that takes too long is ended.
    pub kill: KillConfig,
    /// In which group.
    pub resources: ResourceConfig,
}

impl MountConfig {
    /// Whether an option is set.
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|o| o == option)
    }

    /// Whether it needs the network.
    pub fn is_remote(&self) -> bool {
        const REMOTE: [&str; 12] = [
            "9p",
            "afs",
            "ceph",
            "cifs",
            "davfs",
            "glusterfs",
            "gfs2",
            "ncpfs",
            "nfs",
            "nfs4",
            "ocfs2",
            "smb3",
        ];
        REMOTE.contains(&&*self.fs_type) || self.has("_netdev")
    }
}

/// The name of the mount unit of an absolute path.
pub fn unit_of(path: &str) -> Option<UnitName> {
    UnitName::new(&format!("{}.mount", specifier::escape_path(path)?))
}

/// The name of the device unit of a node in /dev or /sys.
pub fn device_of(path: &str) -> Option<UnitName> {
    let path = path.strip_prefix('/').filter(|p| p.starts_with("dev/") || p.starts_with("sys/"))?;
    UnitName::new(&format!("{}.device", specifier::escape_path(path)?))
}

/// The path that a unit is named after.
pub fn path_of(name: &UnitName) -> Option<String> {
    let stem = name.as_str().strip_suffix(name.kind().suffix())?.strip_suffix('.')?;
    specifier::unescape_path(stem)
}

pub(crate) fn command(path: &str, arguments: &[&str]) -> Vec<Command> {
    let argv = core::iter::once(path).chain(arguments.iter().copied()).map(Box::from).collect();
    vec![Command {
        path: path.into(),
        argv,
        ignore_failure: false,
        no_substitution: true,
        privilege: Privilege::Unit,
        position: Position::default(),
    }]
}

/// Makes the mount part of a unit whose files were applied.
///
/// # Errors
/// The sentence and the mend: why it can't be used.
pub(crate) fn settle(config: &Config) -> Result<MountConfig, (&'static str, &'static str)> {
    let text = |name: &str| text_of(config, name).unwrap_or("");
    let own = match &config.kind {
        Kind::Mount(mount) => (**mount).clone(),
        _ => MountConfig::default(),
    };
    let named = path_of(config.id()).ok_or(("the unit's name is no path", "name it after Where="))?;
    let at = match text("Where") {
        "" => return Err(("the mount has no Where=", "add Where=")),
        at => at.trim_end_matches('/'),
    };
    if at != named.trim_end_matches('/') {
        return Err((
            "Where= is not what the unit is named after",
            "name the unit by `systemd-escape --path`",
        ));
    }
    let (what, fs_type, options) = (text("What"), text("Type"), text("Options"));
    if what.is_empty() {
        return Err(("the mount has no What=", "add What="));
    }
    let yes = |name: &str| matches!(text(name), "1" | "y" | "yes" | "true" | "on");
    let mode = match text("DirectoryMode") {
        "" => "0755",
        mode => mode,
    };
    // systemd makes the folder itself; mount(8) can, where it runs as root and sees the same root.
    let context = &own.context;
    let itself = context.user.is_none() && context.group.is_none() && context.root_directory.is_none();
    let make = if itself { format!("X-mount.mkdir={mode}") } else { String::new() };
    let all: Vec<&str> = [options, &make].into_iter().filter(|part| !part.is_empty()).collect();
    let all = all.join(",");
    let mut mount: Vec<&str> = vec![what, &named];
    if !fs_type.is_empty() {
        mount.extend(["-t", fs_type]);
    }
    if yes("SloppyOptions") {
        mount.push("-s");
    }
    if yes("ReadWriteOnly") {
        mount.push("-w");
    }
    if !all.is_empty() {
        mount.extend(["-o", &all]);
    }
    let mut unmount: Vec<&str> = vec![&named, "-c"];
    if yes("LazyUnmount") {
        unmount.push("-l");
    }
    if yes("ForceUnmount") {
        unmount.push("-f");
    }
    Ok(MountConfig {
        what: what.into(),
        fs_type: fs_type.into(),
        options: options.into(),
        timeout: timeout(text("TimeoutSec"), own.timeout),
        mount: command("/bin/mount", &mount),
        unmount: command("/bin/umount", &unmount),
        make_folder: value::mode(mode).filter(|_| !itself),
        at: named.as_str().into(),
        ..own
    })
}

/// TimeoutSec=, where 0 is none, else what the unit has by default.
pub(crate) fn timeout(text: &str, default: u64) -> u64 {
    match value::span(text, 1_000_000) {
        Some(0) => INFINITY,
        Some(us) => us,
        None if default == 0 => TIMEOUT_US,
        None => default,
    }
}

/// Kinds of dependencies on a unit of this name.
pub(crate) type Implied = (&'static [DependencyKind], UnitName, Origin);

/// Paths whose mounts a mount unit with a file needs.
pub(crate) fn paths(mount: &MountConfig) -> impl Iterator<Item = Box<str>> {
    let parent = mount.at.trim_end_matches('/').rsplit_once('/').map(|(parent, _)| match parent {
        "" => "/".into(),
        parent => parent.into(),
    });
    let local = mount.what.starts_with('/') && (!mount.is_remote() || mount.has("bind") || mount.has("loop"));
    parent.into_iter().chain(local.then(|| mount.what.clone()))
}

/// What a mount unit with a file depends on; `defaults`: DefaultDependencies=.
pub(crate) fn implied(mount: &MountConfig, defaults: bool) -> Vec<Implied> {
    let mut found: Vec<Implied> = Vec::new();
    let mut add = |kinds: &'static [DependencyKind], name: &str, origin: &Origin| {
        if let Some(name) = UnitName::new(name) {
            found.push((kinds, name, origin.clone()));
        }
    };
    let origin = Origin::implied("What", None);
    // The journal's sockets are on the root.
    if &*mount.at != "/" {
        add(&[After], "systemd-journald.socket", &origin);
    }
    if mount.what.starts_with("/dev/")
        && let Some(device) = device_of(&mount.what)
    {
        add(&[Requires, After], device.as_str(), &origin);
        let stem = device.as_str().strip_suffix(".device").unwrap_or_default();
        add(&[After], &format!("blockdev@{stem}.target"), &origin);
    }
    if !defaults || matches!(&*mount.at, "/" | "/usr") {
        return found;
    }
    let origin = Origin::Default;
    let (before, after): (&str, &str) = match mount.is_remote() {
        true => ("remote-fs.target", "remote-fs-pre.target"),
        false => ("local-fs.target", "local-fs-pre.target"),
    };
    if mount.is_remote() {
        add(&[After], "network.target", &origin);
        add(&[After, Wants], "network-online.target", &origin);
    }
    add(&[After], after, &origin);
    // Its pages may be swapped out: it is gone before the swap space is.
    if &*mount.fs_type == "tmpfs" {
        add(&[After], "swap.target", &origin);
    }
    if !mount.has("nofail") {
        add(&[Before], before, &origin);
    }
    add(&[Before, Conflicts], "umount.target", &origin);
    found
}

/// The mount units that a unit needs for its paths, of those that `known` knows: `Some(true)` where there is
/// a file for it, which makes it required; systemd.unit(5), RequiresMountsFor=.
pub fn add_mounts(config: &mut Config, known: impl Fn(&UnitName) -> Option<bool>) {
    let mut paths: Vec<String> = config.requires_mounts_for.iter().map(|p| String::from(&**p)).collect();
    if config.id().kind() == UnitKind::Mount
        && let Some(own) = path_of(config.id())
        && let Some((parent, _)) = own.rsplit_once('/')
        && own != "/"
    {
        paths.push(if parent.is_empty() { "/".into() } else { parent.to_owned() });
    }
    let mut added: Vec<Dependency> = Vec::new();
    for path in &paths {
        let mut prefix = path.trim_end_matches('/');
        loop {
            let name = unit_of(if prefix.is_empty() { "/" } else { prefix });
            if let Some(name) = name.filter(|n| n != config.id())
                && let Some(has_file) = known(&name)
            {
                let origin = Origin::implied("RequiresMountsFor", None);
                let kinds: &[DependencyKind] = if has_file { &[Requires, After] } else { &[After] };
                for &kind in kinds {
                    let is_new = |d: &Dependency| d.kind == kind && d.other == name;
                    if !config.dependencies.iter().chain(&added).any(is_new) {
                        added.push(Dependency { kind, other: name.clone(), origin: origin.clone() });
                    }
                }
            }
            match prefix.rsplit_once('/') {
                Some((parent, _)) => prefix = parent,
                None => break,
            }
        }
    }
    config.dependencies.append(&mut added);
}

/// A mount unit without a file: it shows what is mounted.
pub fn of_mounted(name: &UnitName, what: &str, fs_type: &str, options: &str) -> Option<Config> {
    let at = path_of(name)?;
    let mut config = Config::stub(name.clone());
    config.load = LoadState::Loaded;
    config.description = at.as_str().into();
    config.flags.default_dependencies = false;
    config.flags.ignore_on_isolate = true;
    config.kind = Kind::Mount(Box::new(MountConfig {
        what: what.into(),
        at: at.as_str().into(),
        fs_type: fs_type.into(),
        options: options.into(),
        timeout: TIMEOUT_US,
        unmount: command("/bin/umount", &[&at, "-c"]),
        ..MountConfig::default()
    }));
    Some(config)
}

/// What every device unit is, before its files are applied. False where its name is no path of a device.
pub(crate) fn begin_device(config: &mut Config) -> bool {
    let path = path_of(config.id());
    let Some(path) = path.filter(|p| device_of(p).is_some_and(|name| name == *config.id())) else {
        return false;
    };
    config.description = path.as_str().into();
    config.flags.default_dependencies = false;
    config.flags.ignore_on_isolate = true;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::new(text).expect("a valid name")
    }

    #[test]
    fn names_and_paths() {
        assert_eq!(
            unit_of("/var/lib/a-b").map(|n| n.as_str().to_owned()).as_deref(),
            Some(r"var-lib-a\x2db.mount")
        );
        assert_eq!(unit_of("/").map(|n| n.as_str().to_owned()).as_deref(), Some("-.mount"));
        assert_eq!(path_of(&name(r"var-lib-a\x2db.mount")).as_deref(), Some("/var/lib/a-b"));
        assert_eq!(path_of(&name("-.mount")).as_deref(), Some("/"));
        assert_eq!(device_of("/dev/vda1").map(|n| n.as_str().to_owned()).as_deref(), Some("dev-vda1.device"));
        assert_eq!(device_of("/etc/passwd"), None);
        let mut device = Config::stub(name("dev-ttyS0.device"));
        assert!(begin_device(&mut device) && &*device.description == "/dev/ttyS0");
        assert!(!begin_device(&mut Config::stub(name("etc-passwd.device"))));
    }

    #[test]
    fn paths_need_the_mounts_above_them() {
        let mut config = Config::stub(name("a.service"));
        config.requires_mounts_for.push("/srv/data/x".into());
        add_mounts(&mut config, |name| match name.as_str() {
            "srv.mount" => Some(true),
            "-.mount" => Some(false),
            _ => None,
        });
        let found: Vec<(DependencyKind, &str)> =
            config.dependencies.iter().map(|d| (d.kind, d.other.as_str())).collect();
        assert_eq!(found, [(Requires, "srv.mount"), (After, "srv.mount"), (After, "-.mount")]);
    }
}
