//! A unit's snapshot from the engine's state and the unit's configuration. It asks the machine nothing:
//! usage is added by who needs it.

use super::Usage;
use hence_bus::front::{
    CgroupView, ConditionView, ExecView, ScopeView, ServiceView, TestView, TimerView, Timestamp, UnitRow,
    UnitView,
};
use hence_engine::{
    Engine, State, Time, Unit, UnitId,
    unit::{Service, Timer},
};
use hence_unit::config::{
    Command, Condition, ExecPhase, INFINITY, Limit, ListenKind, Privilege, ResourceLimit, ServiceConfig,
    ServiceType, TimerBase, TimerConfig,
};
use hence_unit::{Atom, DependencyKind, Kind, LoadState, SourceRole, directive};

fn at(time: Time) -> Timestamp {
    Timestamp { realtime_us: time.realtime_us, monotonic_us: time.monotonic_us }
}

fn owned(texts: &[Box<str>]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

fn optional(text: Option<&str>) -> String {
    text.unwrap_or_default().to_owned()
}

/// A line of the list of units.
pub fn row(engine: &Engine, unit: &Unit) -> UnitRow {
    let job = unit.job.and_then(|id| engine.job(id));
    UnitRow {
        id: unit.name().as_str().to_owned(),
        description: unit.config.shown_description().to_owned(),
        load_state: unit.config.load.as_str(),
        active_state: unit.active_state().as_str(),
        sub_state: unit.sub_state().as_str(),
        following: String::new(),
        job: job.map(|job| (job.id.0, job.job_type.as_str())),
    }
}

/// A unit as clients see it, without what the host knows of it.
pub fn unit_view(engine: &Engine, id: UnitId) -> UnitView {
    let mut view = changing_view(engine, id);
    let unit = engine.unit(id);
    let config = &*unit.config;
    let name = unit.name().as_str();
    view.names.extend(config.aliases.iter().map(|alias| alias.as_str().to_owned()));
    view.documentation = owned(&config.documentation);
    view.conditions.conditions = conditions("Condition", &config.conditions, view.conditions.result);
    view.asserts.conditions = conditions("Assert", &config.asserts, view.asserts.result);
    view.dependencies = dependencies(engine, unit);
    if !config.requires_mounts_for.is_empty() {
        view.dependencies.push(("RequiresMountsFor", owned(&config.requires_mounts_for)));
    }
    for source in &config.sources {
        match source.role {
            SourceRole::Fragment => view.fragment_path = source.path.to_string(),
            SourceRole::DropIn => view.drop_in_paths.push(source.path.to_string()),
        }
    }
    view.load_error = load_error(config.load, name);
    let flags = config.flags;
    let acted_on = config.load == LoadState::Loaded && !matches!(unit.state, State::Other);
    view.transient = config.is_transient();
    view.can_start = acted_on && !matches!(unit.state, State::Scope(_)) && !flags.refuse_manual_start;
    view.can_stop = acted_on && !flags.refuse_manual_stop;
    view.can_reload = engine.can_reload(id);
    view.can_isolate = view.can_start && flags.allow_isolate;
    view.start_limit_interval_us = config.start_limit_interval;
    view.start_limit_burst = config.start_limit_burst;
    view.cgroup = resources(engine, unit);
    view.service.limits = limits(config.context().map_or(&[], |context| &context.limits));
    match (&config.kind, &unit.state) {
        (Kind::Service(config), _) => configure_service(config, &mut view.service),
        (Kind::Socket(config), _) => {
            let listen = config.listen.iter().map(|l| (listen_word(l.kind), l.address.to_string()));
            view.socket.listen = listen.collect();
            view.socket.accept = config.accept;
            view.socket.descriptor_name = config.fd_name.as_deref().unwrap_or(name).to_owned();
        }
        (Kind::Scope(config), state) => {
            let controller = match state {
                State::Scope(scope) => scope.controller().unwrap_or_default().to_owned(),
                _ => String::new(),
            };
            view.scope = ScopeView {
                controller,
                timeout_stop_us: config.timeout_stop,
                runtime_max_us: config.runtime_max,
                kill_mode: config.kill.mode.as_str(),
                kill_signal: i32::from(config.kill.signal),
                send_sigkill: config.kill.send_sigkill,
                send_sighup: config.kill.send_sighup,
            };
        }
        (Kind::Timer(_), State::Timer(_)) => {
            view.timer.unit = view.dependency("Triggers").first().cloned().unwrap_or_default();
        }
        _ => {}
    }
    view
}

/// What of a unit changes with its state: all that clients are told unasked, and no more, for they are told
/// at every change.
pub fn changing_view(engine: &Engine, id: UnitId) -> UnitView {
    let unit = engine.unit(id);
    let config = &*unit.config;
    let mut view = UnitView::new(unit.name().kind(), unit.name().as_str());
    view.row = row(engine, unit);
    view.config = Some(unit.config.clone());
    view.state_change = at(unit.times.state_change);
    view.inactive_exit = at(unit.times.inactive_exit);
    view.active_enter = at(unit.times.active_enter);
    view.active_exit = at(unit.times.active_exit);
    view.inactive_enter = at(unit.times.inactive_enter);
    view.conditions = tests(unit.tested.condition, unit.tested.condition_at);
    view.asserts = tests(unit.tested.assert, unit.tested.assert_at);
    view.invocation_id = unit.invocation.map(|invocation| invocation.0);
    view.freezer_state = unit.freezer.as_str();
    view.result = unit.result().as_str();
    match (&config.kind, &unit.state) {
        (Kind::Service(_), State::Service(state)) => {
            view.service.main_pid = state.main_pid().unwrap_or(0);
            view.service.control_pid = state.control_pid().unwrap_or(0);
            view.service.status_text = optional(state.status_text.as_deref());
            view.service.status_errno = state.status_errno;
            view.service.n_restarts = state.restarts;
            view.service.n_file_descriptor_store = state.kept;
            view.service.exec_main = main_run(state);
        }
        (Kind::Socket(_), State::Socket(state)) => {
            view.socket.n_connections = state.connections;
            view.socket.n_accepted = state.accepted;
            view.socket.n_refused = state.refused;
            view.socket.control_pid = state.control_pid().unwrap_or(0);
        }
        (Kind::Timer(config), State::Timer(state)) => {
            view.timer = timer(config, String::new(), state);
        }
        _ => {}
    }
    view
}

/// Adds what a unit uses now.
pub fn add_usage(view: &mut UnitView, usage: Usage) {
    let cgroup = &mut view.cgroup;
    cgroup.accounting = !usage.control_group.is_empty();
    cgroup.control_group = usage.control_group;
    cgroup.tasks_current = usage.tasks_current;
    cgroup.memory_current = usage.memory_current;
    cgroup.cpu_usage_ns = usage.cpu_usage_ns;
}

/// Why a unit can't be used: error name and text.
pub fn load_error(load: LoadState, name: &str) -> Option<(String, String)> {
    let (error, text) = match load {
        LoadState::Loaded | LoadState::Stub => return None,
        LoadState::NotFound => ("NoSuchUnit", format!("Unit {name} not found.")),
        LoadState::BadSetting => ("BadUnitSetting", format!("Unit {name} has a bad unit file setting.")),
        LoadState::Error => ("LoadFailed", format!("Unit {name} failed to load properly.")),
        LoadState::Masked => ("UnitMasked", format!("Unit {name} is masked.")),
    };
    Some((format!("org.freedesktop.systemd1.{error}"), text))
}

/// Units by the properties that list them.
fn dependencies(engine: &Engine, unit: &Unit) -> Vec<(&'static str, Vec<String>)> {
    let mut lists = Vec::new();
    for &kind in DependencyKind::ALL {
        // A unit's slice has a property of its own.
        if kind == DependencyKind::InSlice {
            continue;
        }
        let mut others: Vec<UnitId> = unit.edges.iter().filter(|e| e.kind == kind).map(|e| e.other).collect();
        if !others.is_empty() {
            others.sort_unstable();
            others.dedup();
            let names = others.iter().map(|&other| engine.unit(other).name().as_str().to_owned());
            lists.push((kind.name(), names.collect()));
        }
    }
    lists
}

/// Whether the conditions or asserts held, and when that was looked at.
fn tests(result: bool, when: Time) -> TestView {
    TestView { result, at: at(when), conditions: Vec::new() }
}

/// Each condition, or each assert, with what came of all.
fn conditions(prefix: &str, conditions: &[Condition], passed: bool) -> Vec<ConditionView> {
    let directive =
        |check: &str| directive::find("Unit", &format!("{prefix}{check}")).map_or("", |row| row.name);
    let view = |c: &Condition| ConditionView {
        directive: directive(c.check),
        trigger: c.trigger,
        negate: c.negate,
        parameter: c.argument.to_string(),
        state: i32::from(passed),
    };
    conditions.iter().map(view).collect()
}

fn resources(engine: &Engine, unit: &Unit) -> CgroupView {
    let Some(config) = unit.config.resources() else { return CgroupView::default() };
    let slice = unit.edges.iter().find(|e| e.kind.has(Atom::InSlice));
    let absolute = |limit: Option<Limit>| match limit {
        Some(Limit::Absolute(INFINITY) | Limit::Share(_)) | None => None,
        Some(Limit::Absolute(number)) => Some(number),
    };
    CgroupView {
        slice: slice.map_or(String::new(), |e| engine.unit(e.other).name().as_str().to_owned()),
        tasks_max: absolute(config.tasks_max),
        memory_max: absolute(config.memory_max),
        memory_high: absolute(config.memory_high),
        memory_min: absolute(config.memory_min).unwrap_or(0),
        memory_low: absolute(config.memory_low).unwrap_or(0),
        memory_swap_max: absolute(config.memory_swap_max),
        cpu_weight: config.cpu_weight,
        // Hundredths of a percent of one CPU: 10,000 is a second per second.
        cpu_quota_us: config.cpu_quota.map(|quota| u64::from(quota) * 100),
        delegate: config.delegate,
        ..CgroupView::default()
    }
}

/// What a service's configuration says.
fn configure_service(config: &ServiceConfig, view: &mut ServiceView) {
    let main = &view.exec_main;
    let exec = ExecPhase::ALL.into_iter().filter(|&phase| !config.commands(phase).is_empty()).map(|phase| {
        let commands = config.commands(phase);
        let run = |command: &Command| {
            let view = exec_view(command);
            // The engine keeps the last run of the main process only.
            match phase {
                ExecPhase::Start if commands.len() == 1 && config.service_type != ServiceType::Forking => {
                    ExecView { path: view.path, argv: view.argv, flags: view.flags, ..main.clone() }
                }
                _ => view,
            }
        };
        (phase.directive(), commands.iter().map(run).collect())
    });
    let exec: Vec<_> = exec.collect();
    view.service_type = config.service_type.as_str();
    view.restart = config.restart.as_str();
    view.restart_us = config.restart_delay;
    view.pid_file = optional(config.pid_file.as_deref());
    view.notify_access = config.notify_access.as_str();
    view.timeout_start_us = config.timeout_start;
    view.timeout_stop_us = config.timeout_stop;
    view.watchdog_us = config.watchdog;
    view.remain_after_exit = config.remain_after_exit;
    view.bus_name = optional(config.bus_name.as_deref());
    view.exec = exec;
    view.kill_mode = config.kill.mode.as_str();
    view.kill_signal = i32::from(config.kill.signal);
    view.send_sigkill = config.kill.send_sigkill;
    view.user = optional(config.context.user.as_deref());
    view.environment = owned(&config.context.environment);
    view.runtime_max_us = config.runtime_max;
    view.success_codes = config.success_exit_status.codes.clone();
    view.success_signals = config.success_exit_status.signals.clone();
    view.umask = config.context.umask.unwrap_or(0o022);
    view.nice = config.context.nice.map_or(0, i32::from);
    view.oom_score_adjust = config.context.oom_score_adjust.map_or(0, i32::from);
    view.working_directory = optional(config.context.working_directory.as_deref());
}

/// Limit...= by Linux' number; what isn't set is ours, which processes have then.
pub fn limits(set: &[ResourceLimit]) -> [[u64; 2]; 16] {
    static OWN: std::sync::OnceLock<[[u64; 2]; 16]> = std::sync::OnceLock::new();
    let mut limits = *OWN.get_or_init(hence_host::own_limits);
    for limit in set {
        if let Some(own) = limits.get_mut(usize::from(limit.resource)) {
            *own = [limit.soft, limit.hard];
        }
    }
    limits
}

/// The last main process; while it runs it has not ended.
fn main_run(state: &Service) -> ExecView {
    let ended = if state.main_pid().is_some() { None } else { state.main_exit };
    ExecView {
        start: at(state.main_started),
        exit: if state.main_pid().is_some() { Timestamp::default() } else { at(state.main_ended) },
        pid: state.last_main_pid,
        // The ledger's numbers are those of waitid(2).
        code: ended.map_or(0, |exit| i32::from(exit.kind.tag())),
        status: ended.map_or(0, |exit| exit.status),
        ..ExecView::default()
    }
}

fn exec_view(command: &Command) -> ExecView {
    let mut flags = Vec::new();
    if command.ignore_failure {
        flags.push("ignore-failure");
    }
    match command.privilege {
        Privilege::Unit => {}
        Privilege::Full => flags.push("privileged"),
        Privilege::Elevated => flags.push("no-setuid"),
        Privilege::ElevatedFallback => flags.push("ambient"),
    }
    if command.no_substitution {
        flags.push("no-env-expand");
    }
    let (path, argv) = (command.path.to_string(), owned(&command.argv));
    ExecView { path, argv, flags, ..ExecView::default() }
}

fn timer(config: &TimerConfig, unit: String, state: &Timer) -> TimerView {
    // The engine arms the line that is due first; with a single line it is that one.
    let next_realtime_us = state.next_realtime_us();
    let next_us = state.next_us().filter(|_| next_realtime_us.is_none());
    let single = if config.elapse.len() == 1 { next_us } else { None };
    let day = if config.calendar.len() == 1 { next_realtime_us } else { None };
    // The last line comes first, as systemd has it.
    let line = |(base, delay): (TimerBase, u64)| (base_word(base), delay, single.unwrap_or(0));
    TimerView {
        unit,
        monotonic: config.elapse.iter().rev().map(|e| line((e.base, e.delay))).collect(),
        calendar: config
            .calendar
            .iter()
            .rev()
            .map(|line| (line.expression.to_string(), day.unwrap_or(0)))
            .collect(),
        next_realtime_us: next_realtime_us.unwrap_or(0),
        next_monotonic_us: next_us.unwrap_or(0),
        last_trigger: state.last_trigger.map(at).unwrap_or_default(),
        accuracy_us: config.accuracy,
        randomized_delay_us: config.randomized_delay,
        persistent: config.persistent,
    }
}

fn listen_word(kind: ListenKind) -> &'static str {
    match kind {
        ListenKind::Stream => "Stream",
        ListenKind::Datagram => "Datagram",
        ListenKind::SequentialPacket => "SequentialPacket",
        ListenKind::Fifo => "FIFO",
        ListenKind::Special => "Special",
        ListenKind::Netlink => "Netlink",
        ListenKind::MessageQueue => "MessageQueue",
        ListenKind::UsbFunction => "USBFunction",
    }
}

fn base_word(base: TimerBase) -> &'static str {
    match base {
        TimerBase::Active => "OnActiveUSec",
        TimerBase::Boot => "OnBootUSec",
        TimerBase::Startup => "OnStartupUSec",
        TimerBase::UnitActive => "OnUnitActiveUSec",
        TimerBase::UnitInactive => "OnUnitInactiveUSec",
    }
}
