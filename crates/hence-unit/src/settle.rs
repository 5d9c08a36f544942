//! What a unit's directives mean together: defaults that depend on other directives, and combinations that
//! systemd 252 refuses; systemd.service(5), systemd.socket(5), systemd.timer(5), systemd.path(5).
//!
//! It adds no dependency; those are in [`crate::implied`].

use crate::{
    Config, DependencyKind, Diagnostic, Level, LoadState, Place, ServiceConfig, SocketConfig, UnitName,
    automount,
    config::{
        EmergencyAction, ExecPhase, ExitType, INFINITY, JobMode, Kind, ListenKind, NotifyAccess, Privilege,
        Restart, ServiceType, Stdio,
    },
    directive::resources,
    limits,
    load::{is_set, place_of},
    mount, socket_options, swap,
};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
};

/// A refusal or a hint: its rule, level, message, fix, and the directive at whose place it is shown.
struct Finding {
    rule: &'static str,
    level: Level,
    message: String,
    fix: Option<&'static str>,
    place: Option<Place>,
}

impl Finding {
    fn error(rule: &'static str, message: &str, fix: &'static str) -> Finding {
        Finding { rule, level: Level::Error, message: message.to_string(), fix: Some(fix), place: None }
    }

    fn warning(rule: &'static str, message: &str, fix: &'static str) -> Finding {
        Finding { level: Level::Warning, ..Finding::error(rule, message, fix) }
    }

    fn at(mut self, config: &Config, directive: &str) -> Finding {
        self.place = place_of(config, directive);
        self
    }
}

/// Sets what depends on other directives, and refuses the unit where it can't work.
pub(crate) fn settle(config: &mut Config) {
    // The defaults come first: what is refused depends on them.
    let start_timeout_given = is_set(config, &["TimeoutStartSec", "TimeoutSec"]);
    let type_given = is_set(config, &["Type"]);
    if let Kind::Service(service) = &mut config.kind {
        service_defaults(Arc::make_mut(service), type_given, start_timeout_given);
    }
    let is_socket = matches!(config.kind, Kind::Socket(_));
    let options = if is_socket { socket_options::of(config) } else { None };
    if let Kind::Socket(socket) = &mut config.kind {
        socket.options = options;
    }
    crate::protection::settle(config);
    let more = limits::of(config);
    if let Some(resources) = resources(config) {
        resources.more = more;
    }
    let mount = matches!(config.kind, Kind::Mount(_)).then(|| mount::settle(config));
    let swap = matches!(config.kind, Kind::Swap(_)).then(|| swap::settle(config));
    let automount = matches!(config.kind, Kind::Automount(_)).then(|| automount::settle(config));
    let unusable_automount = match automount {
        Some(Ok(automount)) => {
            config.kind = Kind::Automount(Box::new(automount));
            None
        }
        Some(Err((message, fix))) => Some(Finding::error("automount", message, fix)),
        None => None,
    };
    let unusable_swap = match swap {
        Some(Ok(swap)) => {
            config.kind = Kind::Swap(Box::new(swap));
            None
        }
        Some(Err((message, fix))) => Some(Finding::error("swap", message, fix)),
        None => None,
    };
    let unusable = match mount {
        Some(Ok(mount)) => {
            if config.description.is_empty() {
                config.description = mount.at.clone();
            }
            config.kind = Kind::Mount(Box::new(mount));
            None
        }
        Some(Err((message, fix))) => Some(Finding::error("mount", message, fix)),
        None => None,
    };
    if config.description.is_empty() && matches!(config.kind, Kind::Slice(_)) {
        config.description = slice_description(config.id()).into();
    }
    let finding = match &config.kind {
        Kind::Mount(_) => unusable,
        Kind::Swap(_) => unusable_swap,
        Kind::Automount(_) => unusable_automount,
        Kind::Service(service) => refuse_service(config, service),
        Kind::Socket(socket) => refuse_socket(config, socket),
        Kind::Timer(timer) => {
            let change = timer.on_clock_change || timer.on_timezone_change;
            let empty = timer.elapse.is_empty() && timer.calendar.is_empty() && !change;
            empty.then(|| {
                Finding::error("no-timer", "the timer never elapses", "give OnCalendar= or On...Sec=")
            })
        }
        Kind::Path(path) => path.watches.is_empty().then(|| {
            Finding::error("no-path", "the path unit watches nothing", "give PathExists= or PathChanged=")
        }),
        Kind::Slice(_) => refuse_slice(config.id()),
        Kind::Target | Kind::Scope(_) | Kind::Other(_) => None,
    };
    let isolates = || {
        let handlers = config.dependencies.iter().filter(|d| d.kind == DependencyKind::OnFailure).count();
        (config.on_failure_job_mode == JobMode::Isolate && handlers > 1).then(|| {
            let message = "OnFailureJobMode=isolate allows one unit in OnFailure= only";
            Finding::error("isolate-on-failure", message, "name one unit").at(config, "OnFailureJobMode")
        })
    };
    if let Some(finding) = finding.or_else(isolates) {
        push(config, finding);
        config.load = LoadState::BadSetting;
    }
    let hints = match &config.kind {
        Kind::Service(_) => service_hints(config),
        _ => [None, None],
    };
    for hint in hints.into_iter().flatten() {
        push(config, hint);
    }
}

fn push(config: &mut Config, finding: Finding) {
    let fragment = || {
        let file = config.sources.first().map_or_else(|| config.id().text().clone(), |s| s.path.clone());
        Place { file, line: 0, column: 0 }
    };
    let place = finding.place.unwrap_or_else(fragment);
    let Finding { rule, level, message, fix, .. } = finding;
    config.diagnostics.push(Diagnostic { rule, level, place, message, fix: fix.map(String::from) });
}

fn service_defaults(service: &mut ServiceConfig, type_given: bool, start_timeout_given: bool) {
    if !type_given {
        service.service_type = if service.bus_name.is_some() {
            ServiceType::Dbus
        } else if service.commands(ExecPhase::Start).is_empty() {
            ServiceType::Oneshot
        } else {
            ServiceType::Simple
        };
    }
    if service.service_type == ServiceType::Oneshot && !start_timeout_given {
        service.timeout_start = INFINITY;
    }
    let notifies = matches!(service.service_type, ServiceType::Notify | ServiceType::NotifyReload);
    if service.notify_access == NotifyAccess::None
        && (notifies || service.watchdog > 0 || service.fd_store_max > 0)
    {
        service.notify_access = NotifyAccess::Main;
    }
    if service.permissions_start_only {
        let others = |phase: &usize| *phase != ExecPhase::Start as usize;
        for phase in (0..service.exec.len()).filter(others) {
            service.exec[phase].iter_mut().for_each(|command| command.privilege = Privilege::Full);
        }
    }
    if !service.context.stdin_data.is_empty() && matches!(service.context.stdin, Stdio::Default | Stdio::Null)
    {
        service.context.stdin = Stdio::Data;
    }
}

fn refuse_service(config: &Config, service: &ServiceConfig) -> Option<Finding> {
    let oneshot = service.service_type == ServiceType::Oneshot;
    let start = service.commands(ExecPhase::Start);
    let acts = config.success_action != EmergencyAction::None;
    if start.is_empty() {
        if service.commands(ExecPhase::Stop).is_empty() && !acts {
            let message = "the service has no ExecStart=, ExecStop= or SuccessAction=";
            return Some(Finding::error("no-exec-start", message, "add ExecStart="));
        }
        if !oneshot {
            let message = "the service has no ExecStart=, which only Type=oneshot may lack";
            return Some(Finding::error("no-exec-start", message, "add ExecStart=").at(config, "Type"));
        }
        if !service.remain_after_exit && !acts {
            let message = "a service without ExecStart= needs RemainAfterExit=yes or SuccessAction=";
            return Some(Finding::error("no-exec-start", message, "add ExecStart= or RemainAfterExit=yes"));
        }
    }
    if !oneshot && let Some(second) = start.get(1) {
        let message = "more than one command in ExecStart=, which only Type=oneshot may have";
        let fix =
            "set Type=oneshot, or put an empty ExecStart= in front of the one that is to replace the others";
        let place = Some(config.place(second.position));
        return Some(Finding { place, ..Finding::error("several-exec-start", message, fix) });
    }
    if oneshot && matches!(service.restart, Restart::Always | Restart::OnSuccess) {
        let message = "Type=oneshot allows neither Restart=always nor Restart=on-success";
        return Some(
            Finding::error("oneshot-restart", message, "use Restart=on-failure").at(config, "Restart"),
        );
    }
    let forced = &service.restart_force_exit_status;
    if oneshot && !(forced.codes.is_empty() && forced.signals.is_empty()) {
        let message = "Type=oneshot does not allow RestartForceExitStatus=";
        return Some(
            Finding::error("oneshot-restart", message, "remove it").at(config, "RestartForceExitStatus"),
        );
    }
    if service.exit_type == ExitType::Cgroup && (oneshot || service.service_type == ServiceType::Forking) {
        let message = "ExitType=cgroup is not allowed with Type=oneshot or Type=forking";
        return Some(Finding::error("exit-type", message, "remove it").at(config, "ExitType"));
    }
    if service.service_type == ServiceType::Dbus && service.bus_name.is_none() {
        let message = "Type=dbus needs BusName=";
        return Some(Finding::error("no-bus-name", message, "add BusName=").at(config, "Type"));
    }
    None
}

fn service_hints(config: &Config) -> [Option<Finding>; 2] {
    let Kind::Service(service) = &config.kind else {
        return [None, None];
    };
    let oneshot = service.service_type == ServiceType::Oneshot;
    let runtime = (oneshot && service.runtime_max != INFINITY).then(|| {
        Finding::warning(
            "no-effect",
            "RuntimeMaxSec= has no effect with Type=oneshot",
            "use TimeoutStartSec=",
        )
        .at(config, "RuntimeMaxSec")
    });
    let extra = (service.runtime_max == INFINITY && service.runtime_randomized_extra != 0).then(|| {
        let message = "RuntimeRandomizedExtraSec= has no effect without RuntimeMaxSec=";
        Finding::warning("no-effect", message, "set RuntimeMaxSec=").at(config, "RuntimeRandomizedExtraSec")
    });
    [runtime, extra]
}

/// Whether the socket takes connections: only those can have Accept=yes.
pub(crate) fn accepts_connections(socket: &SocketConfig) -> bool {
    let connects = |kind| matches!(kind, ListenKind::Stream | ListenKind::SequentialPacket);
    socket.listen.iter().all(|listen| connects(listen.kind))
}

fn refuse_socket(config: &Config, socket: &SocketConfig) -> Option<Finding> {
    if socket.listen.is_empty() {
        let message = "the socket unit listens on nothing";
        return Some(Finding::error("no-listen", message, "add ListenStream= or another Listen...="));
    }
    if socket.accept && !accepts_connections(socket) {
        let message =
            "Accept=yes needs sockets that take connections: ListenStream= or ListenSequentialPacket=";
        return Some(Finding::error("accept", message, "set Accept=no").at(config, "Accept"));
    }
    if socket.accept && socket.max_connections == 0 {
        let message = "Accept=yes needs MaxConnections= above 0";
        return Some(Finding::error("accept", message, "raise it").at(config, "MaxConnections"));
    }
    if socket.accept && socket.service.is_some() {
        let message = "Accept=yes does not allow Service=: each connection gets an instance of the template";
        return Some(Finding::error("accept", message, "remove Service=").at(config, "Service"));
    }
    let in_files = socket.listen.iter().filter(|l| {
        let socket =
            matches!(l.kind, ListenKind::Stream | ListenKind::Datagram | ListenKind::SequentialPacket);
        l.kind == ListenKind::Fifo || (socket && l.address.starts_with('/'))
    });
    if !socket.symlinks.is_empty() && in_files.count() != 1 {
        let message = "Symlinks= needs exactly one socket or FIFO in the file system";
        return Some(Finding::error("symlinks", message, "remove it").at(config, "Symlinks"));
    }
    None
}

fn refuse_slice(name: &UnitName) -> Option<Finding> {
    if slice_parent(name).is_some() || name.as_str() == ROOT_SLICE {
        return None;
    }
    let message = format!("{name} is no valid name of a slice: its parts are joined by single dashes");
    Some(Finding { rule: "slice-name", level: Level::Error, message, fix: None, place: None })
}

/// The root of the tree of slices.
pub(crate) const ROOT_SLICE: &str = "-.slice";

/// The slice that a slice lies in, by its name; `None` for the root and for names that aren't valid.
pub fn slice_parent(name: &UnitName) -> Option<UnitName> {
    let stem = name.stem();
    if stem.contains('@') || stem.split('-').any(str::is_empty) {
        return None;
    }
    match stem.rsplit_once('-') {
        Some((parent, _)) => UnitName::new(&format!("{parent}.slice")),
        None => UnitName::new(ROOT_SLICE),
    }
}

/// Puts instances for templates and drops what a unit says about itself.
pub(crate) fn dependencies(config: &mut Config) {
    let name = config.id().clone();
    let instance = name.instance().unwrap_or_else(|| name.prefix());
    let mut own = None;
    let aliases = core::mem::take(&mut config.aliases);
    config.dependencies.retain_mut(|dependency| {
        if dependency.other.as_bytes().contains(&b'@')
            && let Some(other) = dependency.other.with_instance(instance)
        {
            dependency.other = other;
        }
        let itself = dependency.other == name || aliases.contains(&dependency.other);
        if itself && own.is_none() {
            own = Some(dependency.clone());
        }
        !itself
    });
    config.aliases = aliases;
    if let Some(crate::Dependency { kind, origin: crate::Origin::Directive(position), .. }) = own {
        let place = config.place(position);
        let message = format!("{}= of the unit itself has no effect", kind.name());
        let fix = Some("remove it".into());
        let level = Level::Warning;
        config.diagnostics.push(Diagnostic { rule: "depends-on-itself", level, place, message, fix });
    }
}
/// How a slice without Description= is called.
fn slice_description(name: &UnitName) -> String {
    match name.as_str() {
        ROOT_SLICE => "Root Slice".into(),
        "system.slice" => "System Slice".into(),
        _ => format!("Slice {}", mount::path_of(name).unwrap_or_else(|| name.as_str().into())),
    }
}
