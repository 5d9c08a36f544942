//! Dependencies that no directive spells out: "Automatic Dependencies" of systemd.service(5),
//! systemd.socket(5), systemd.target(5), systemd.slice(5), systemd.timer(5), systemd.path(5), and of
//! systemd.exec(5) and systemd.resource-control(5), as systemd 252 adds them.
//!
//! Only what one unit says by itself: mount units for paths are left to those who know all units
//! ([`crate::Config::requires_mounts_for`]), and inverses to the engine.

use crate::{
    Config, Dependency, DependencyKind, Origin, UnitKind, UnitName,
    config::{DirectoryKind, Environs, ExecConfig, Kind, ResourceConfig, ServiceType, Stdio},
    load::position_of,
    settle::{ROOT_SLICE, accepts_connections, slice_parent},
    specifier,
};
use DependencyKind::{After, Before, Conflicts, InSlice, Requires, TriggeredBy, Triggers, Wants};
use alloc::{boxed::Box, collections::BTreeSet, format, sync::Arc, vec::Vec};

/// Dependencies that are looked through rather than sorted.
const FEW: usize = 64;

/// Adds the implied and the default dependencies of a unit whose files were all applied.
pub(crate) fn add(config: &mut Config, environs: &Environs) {
    let mut adding = Adding {
        user: environs.user,
        goes_down: !environs.user || environs.user_instance,
        defaults: config.flags.default_dependencies,
        names: &environs.names,
        usable: config.load == crate::LoadState::Loaded,
        // As many as services mostly have.
        added: Vec::with_capacity(12),
    };
    let mut mounts: Vec<Box<str>> = Vec::new();
    match &config.kind {
        Kind::Service(service) => {
            let exec = (&service.context, service.resources.slice.as_ref());
            if service.service_type == ServiceType::Dbus {
                let origin = Origin::implied("BusName", position_of(config, "BusName"));
                adding.named(&[Requires, After], "dbus.socket", &origin);
            }
            let origin = Origin::implied("Sockets", position_of(config, "Sockets"));
            for socket in &service.sockets {
                adding.unit(&[Wants, After, TriggeredBy], socket, &origin);
            }
            adding.exec(config, exec.0, environs, &mut mounts);
            adding.slice(config, Some(&service.resources));
            adding.service_defaults();
        }
        Kind::Socket(socket) => {
            if !socket.accept || !accepts_connections(socket) {
                let service = socket.service.clone();
                adding.triggers(config, service, "Service");
            }
            if socket.exec.iter().any(|commands| !commands.is_empty()) {
                adding.exec(config, &socket.context, environs, &mut mounts);
            }
            for listen in socket.listen.iter().filter(|listen| listen.address.starts_with('/')) {
                mounts.push(listen.address.clone());
            }
            let device = socket.options.as_deref().and_then(|options| options.device.as_deref());
            let device = device.filter(|device| *device != "lo");
            if let Some(device) = device
                && let Some(unit) = crate::mount::device_of(&format!("/sys/subsystem/net/devices/{device}"))
            {
                let origin = Origin::implied("BindToDevice", position_of(config, "BindToDevice"));
                adding.unit(&[DependencyKind::BindsTo, After], &unit, &origin);
            }
            adding.slice(config, Some(&socket.resources));
            adding.trigger_defaults("sockets.target");
        }
        Kind::Timer(timer) => {
            adding.triggers(config, timer.unit.clone(), "Unit");
            adding.trigger_defaults("timers.target");
            if adding.defaults && !adding.user && !timer.calendar.is_empty() {
                adding.named(&[After], "time-sync.target", &Origin::Default);
                adding.named(&[After], "time-set.target", &Origin::Default);
            }
        }
        Kind::Path(path) => {
            adding.triggers(config, path.unit.clone(), "Unit");
            mounts.extend(path.watches.iter().map(|(_, path)| path.clone()));
            adding.trigger_defaults("paths.target");
        }
        Kind::Scope(scope) => {
            adding.slice(config, Some(&scope.resources));
            adding.shutdown();
        }
        Kind::Slice(_) => adding.slice_unit(config),
        Kind::Target => adding.target(config),
        Kind::Mount(mount) => {
            for (kinds, name, origin) in crate::mount::implied(mount, adding.defaults) {
                adding.unit(kinds, &name, &origin);
            }
            adding.exec(config, &mount.context, environs, &mut mounts);
            adding.slice(config, Some(&mount.resources));
            mounts.extend(crate::mount::paths(mount));
        }
        Kind::Automount(automount) => {
            let mount = config.id().with_kind(UnitKind::Mount);
            adding.unit(&[Before, Triggers], &mount, &Origin::implied("Where", position_of(config, "Where")));
            if adding.defaults && !adding.user {
                for (kinds, name, origin) in crate::automount::implied() {
                    adding.unit(kinds, &name, &origin);
                }
            }
            mounts.extend(automount.at.rsplit_once('/').map(|(above, _)| match above {
                "" => "/".into(),
                above => above.into(),
            }));
        }
        Kind::Swap(swap) => {
            for (kinds, name, origin) in crate::swap::implied(swap, adding.defaults) {
                adding.unit(kinds, &name, &origin);
            }
            adding.exec(config, &swap.context, environs, &mut mounts);
            adding.slice(config, Some(&swap.resources));
            mounts.push(swap.what.clone());
        }
        Kind::Other(_) => {}
    }
    let mut added = adding.added;
    let declared = &config.dependencies;
    if declared.len() <= FEW {
        added.retain(|d| !declared.iter().any(|known| known.kind == d.kind && known.other == d.other));
    } else {
        let known: BTreeSet<(DependencyKind, &str)> =
            declared.iter().map(|d| (d.kind, d.other.as_str())).collect();
        added.retain(|d| !known.contains(&(d.kind, d.other.as_str())));
    }
    config.dependencies.append(&mut added);
    for path in mounts {
        if !config.requires_mounts_for.contains(&path) {
            config.requires_mounts_for.push(path);
        }
    }
}

/// Whether the default ordering of a target after a unit that it pulls in is void, because of what that
/// unit says: it has DefaultDependencies=no, isn't loaded, or is itself ordered after the target. Known
/// only once both are loaded; whoever holds all units drops such dependencies, as systemd does.
pub fn is_void(target: &Config, dependency: &Dependency, other: &Config) -> bool {
    dependency.kind == After
        && dependency.origin == Origin::Default
        && target.id().kind() == UnitKind::Target
        && (!other.flags.default_dependencies
            || other.load != crate::LoadState::Loaded
            || other
                .dependencies
                .iter()
                .any(|d| d.kind == After && (d.other == *target.id() || target.aliases.contains(&d.other))))
}

struct Adding<'a> {
    user: bool,
    /// There is a shutdown.target that stops it.
    goes_down: bool,
    defaults: bool,
    names: &'a SharedNames,
    /// No line of its own refuses it.
    usable: bool,
    added: Vec<Dependency>,
}

impl Adding<'_> {
    fn unit(&mut self, kinds: &[DependencyKind], other: &UnitName, origin: &Origin) {
        for &kind in kinds {
            self.added.push(Dependency { kind, other: other.clone(), origin: origin.clone() });
        }
    }

    fn named(&mut self, kinds: &[DependencyKind], other: &str, origin: &Origin) {
        if let Some(other) = self.names.get(other) {
            self.unit(kinds, &other, origin);
        }
    }

    fn shutdown(&mut self) {
        if self.defaults && self.goes_down {
            self.named(&[Before, Conflicts], "shutdown.target", &Origin::Default);
        }
    }

    fn service_defaults(&mut self) {
        if !self.defaults {
            return;
        }
        if self.user {
            self.named(&[Requires], "basic.target", &Origin::Default);
        } else {
            self.named(&[After, Requires], "sysinit.target", &Origin::Default);
        }
        self.named(&[After], "basic.target", &Origin::Default);
        self.shutdown();
    }

    /// Of sockets, timers and paths.
    fn trigger_defaults(&mut self, group: &str) {
        if !self.defaults {
            return;
        }
        self.named(&[Before], group, &Origin::Default);
        if !self.user {
            self.named(&[After, Requires], "sysinit.target", &Origin::Default);
        }
        self.shutdown();
    }

    /// The unit that this one starts.
    fn triggers(&mut self, config: &Config, unit: Option<UnitName>, directive: &'static str) {
        let position = unit.as_ref().and_then(|_| position_of(config, directive));
        let unit = unit.unwrap_or_else(|| config.id().with_kind(UnitKind::Service));
        self.unit(&[Before, Triggers], &unit, &Origin::implied(directive, position));
    }

    /// What systemd.exec(5) implies.
    fn exec(
        &mut self,
        config: &Config,
        context: &ExecConfig,
        environs: &Environs,
        mounts: &mut Vec<Box<str>>,
    ) {
        if let Some(folder) = &context.working_directory
            && !context.working_directory_optional
            && folder.starts_with('/')
        {
            mounts.push(folder.clone());
        }
        mounts.extend(context.root_directory.clone());
        let private_tmp = context.protection.as_ref().is_some_and(|p| p.private_tmp);
        if private_tmp && !self.user {
            mounts.extend(["/tmp", "/var/tmp"].map(Box::from));
            let origin = Origin::implied("PrivateTmp", position_of(config, "PrivateTmp"));
            self.named(&[After], "systemd-tmpfiles-setup.service", &origin);
        }
        let mut writes = None;
        for directory in &context.directories {
            let (root, directive) = match directory.kind {
                DirectoryKind::Runtime => (&environs.runtime_root, None),
                DirectoryKind::State => (&environs.state_root, Some("StateDirectory")),
                DirectoryKind::Cache => (&environs.cache_root, Some("CacheDirectory")),
                DirectoryKind::Logs => (&environs.logs_root, Some("LogsDirectory")),
                DirectoryKind::Configuration => (&environs.configuration_root, None),
            };
            mounts.push(format!("{root}/{}", directory.name).into());
            writes = writes.or(directive);
        }
        if self.user {
            return;
        }
        if let Some(directive) = writes {
            let origin = Origin::implied(directive, position_of(config, directive));
            self.named(&[After], "systemd-remount-fs.service", &origin);
        }
        let journal = Stdio::is_logged;
        // Without StandardOutput= the output goes where the input comes from, unless that can't take any.
        let inherits = matches!(context.stdin, Stdio::Tty | Stdio::Socket | Stdio::Fd(_));
        let by_default = matches!(context.stdout, Stdio::Default) && !inherits;
        if journal(&context.stdout) || journal(&context.stderr) || by_default {
            let origin = Origin::implied("StandardOutput", position_of(config, "StandardOutput"));
            self.named(&[After], "systemd-journald.socket", &origin);
        }
    }

    /// The slice of a unit with processes: the given one, one for the instances of a template, or that of
    /// all services.
    fn slice(&mut self, config: &Config, resources: Option<&ResourceConfig>) {
        let name = config.id();
        let (slice, position) = match resources.and_then(|resources| resources.slice.clone()) {
            Some(slice) => (Some(slice), position_of(config, "Slice")),
            None if name.instance().is_none() => (self.names.get(plain_slice(self.user)), None),
            None => (default_slice(name, self.user), None),
        };
        if let Some(slice) = slice {
            // What is refused for how its lines go together has a slice, but doesn't need it.
            let kinds: &[DependencyKind] = if self.usable { &[InSlice, After, Requires] } else { &[InSlice] };
            self.unit(kinds, &slice, &Origin::implied("Slice", position));
        }
    }

    fn slice_unit(&mut self, config: &Config) {
        let name = config.id();
        if let Some(parent) = slice_parent(name) {
            self.unit(&[InSlice, After, Requires], &parent, &Origin::implied("Slice", None));
        }
        // These two are always there: systemd makes them itself, and they outlive a shutdown.
        if ![ROOT_SLICE, "system.slice"].contains(&name.as_str()) {
            self.shutdown();
        }
    }

    fn target(&mut self, config: &Config) {
        if !self.defaults {
            return;
        }
        let ordered = config.dependencies.iter().filter(|d| matches!(d.kind, Before | After));
        let mut ordered: BTreeSet<&UnitName> = ordered.map(|d| &d.other).collect();
        for dependency in &config.dependencies {
            let pulls = matches!(
                dependency.kind,
                DependencyKind::Requires
                    | DependencyKind::Requisite
                    | DependencyKind::Wants
                    | DependencyKind::BindsTo
                    | DependencyKind::Upholds
            );
            if pulls && ordered.insert(&dependency.other) {
                self.unit(&[After], &dependency.other, &Origin::Default);
            }
        }
        if config.id().as_str() != "shutdown.target" {
            self.shutdown();
        }
    }
}

/// The slice of a unit without Slice=.
pub fn default_slice(name: &UnitName, user: bool) -> Option<UnitName> {
    let root = if user { "app" } else { "system" };
    match name.instance() {
        Some(_) => UnitName::new(&format!("{root}-{}.slice", specifier::escape(name.prefix()))),
        None => UnitName::new(plain_slice(user)),
    }
}

/// The slice of units that are no instances.
fn plain_slice(user: bool) -> &'static str {
    if user { "app.slice" } else { "system.slice" }
}

/// Names of units that most others are given dependencies on: they share the text.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedNames(Arc<[UnitName]>);

impl Default for SharedNames {
    fn default() -> Self {
        let names = [
            "sysinit.target",
            "basic.target",
            "shutdown.target",
            "system.slice",
            "app.slice",
            "systemd-journald.socket",
            "systemd-tmpfiles-setup.service",
        ];
        SharedNames(names.into_iter().filter_map(UnitName::new).collect())
    }
}

impl SharedNames {
    /// The name of this text; `None` where that is no name.
    fn get(&self, name: &str) -> Option<UnitName> {
        self.0.iter().find(|known| known.as_str() == name).cloned().or_else(|| UnitName::new(name))
    }
}
