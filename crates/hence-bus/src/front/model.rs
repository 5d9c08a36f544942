//! What the front asks about units, and the snapshots it shows. It has no state of its own; the binary
//! answers from the engine. Times are microseconds, 0 means never; a limit or usage that is not known is
//! `None`.

use super::refusal::Refusal;
use crate::wire::Value;
use hence_unit::{Config, UnitKind};
use std::sync::Arc;

/// A point in time on both clocks, in microseconds; 0 means never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Since 1970, CLOCK_REALTIME.
    pub realtime_us: u64,
    /// Since boot, CLOCK_MONOTONIC.
    pub monotonic_us: u64,
}

/// One line of `systemctl list-units`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitRow {
    /// Name.
    pub id: String,
    /// `Description=`, or the name.
    pub description: String,
    /// `loaded`, `not-found`, `bad-setting`, `error`, `masked`, `merged`, `stub`.
    pub load_state: &'static str,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, `maintenance`.
    pub active_state: &'static str,
    /// The kind's own state, such as `running` or `auto-restart`.
    pub sub_state: &'static str,
    /// The unit whose state this one follows; empty for most.
    pub following: String,
    /// Its job: id and type.
    pub job: Option<(u32, &'static str)>,
}

/// A condition or assertion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConditionView {
    /// Directive, such as `ConditionPathExists`.
    pub directive: &'static str,
    /// Written with `|`.
    pub trigger: bool,
    /// Written with `!`.
    pub negate: bool,
    /// Its argument.
    pub parameter: String,
    /// 0 untested, 1 succeeded, -1 failed, -2 could not be tested.
    pub state: i32,
}

/// The outcome of all conditions, or of all assertions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestView {
    /// Whether the last test succeeded.
    pub result: bool,
    /// When that was.
    pub at: Timestamp,
    /// What is tested.
    pub conditions: Vec<ConditionView>,
}

/// A command line and its last run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecView {
    /// Executable.
    pub path: String,
    /// Arguments, the first included.
    pub argv: Vec<String>,
    /// `ignore-failure`, `privileged`, `no-setuid`, `ambient`, `no-env-expand`.
    pub flags: Vec<&'static str>,
    /// When it was last started.
    pub start: Timestamp,
    /// When it last ended.
    pub exit: Timestamp,
    /// Its process.
    pub pid: u32,
    /// How it ended: CLD_EXITED (1), CLD_KILLED (2), CLD_DUMPED (3), or 0.
    pub code: i32,
    /// Exit status or signal.
    pub status: i32,
}

/// The resources of a unit with a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupView {
    /// Slice it lives in.
    pub slice: String,
    /// Path below the root of the hierarchy; empty where there is none.
    pub control_group: String,
    /// Memory in use, bytes.
    pub memory_current: Option<u64>,
    /// `MemoryMin=`, bytes.
    pub memory_min: u64,
    /// `MemoryLow=`, bytes.
    pub memory_low: u64,
    /// `MemoryHigh=`, bytes.
    pub memory_high: Option<u64>,
    /// `MemoryMax=`, bytes.
    pub memory_max: Option<u64>,
    /// `MemorySwapMax=`, bytes.
    pub memory_swap_max: Option<u64>,
    /// CPU time, nanoseconds.
    pub cpu_usage_ns: Option<u64>,
    /// Tasks.
    pub tasks_current: Option<u64>,
    /// `TasksMax=`.
    pub tasks_max: Option<u64>,
    /// `CPUWeight=`.
    pub cpu_weight: Option<u64>,
    /// `CPUQuota=`, microseconds per second.
    pub cpu_quota_us: Option<u64>,
    /// `Delegate=`.
    pub delegate: bool,
    /// `IPAccounting=`.
    pub ip_accounting: bool,
    /// Whether tasks, memory and CPU time are counted.
    pub accounting: bool,
}

/// What only services have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// `Type=`.
    pub service_type: &'static str,
    /// `Restart=`.
    pub restart: &'static str,
    /// `RestartSec=`.
    pub restart_us: u64,
    /// `PIDFile=`.
    pub pid_file: String,
    /// `NotifyAccess=`.
    pub notify_access: &'static str,
    /// `TimeoutStartSec=`; `u64::MAX` is infinity.
    pub timeout_start_us: u64,
    /// `TimeoutStopSec=`; `u64::MAX` is infinity.
    pub timeout_stop_us: u64,
    /// `WatchdogSec=`.
    pub watchdog_us: u64,
    /// `RemainAfterExit=`.
    pub remain_after_exit: bool,
    /// Main process, 0 where there is none.
    pub main_pid: u32,
    /// Control process, 0 where there is none.
    pub control_pid: u32,
    /// `STATUS=` of sd_notify(3).
    pub status_text: String,
    /// `ERRNO=` of sd_notify(3).
    pub status_errno: i32,
    /// `BusName=`.
    pub bus_name: String,
    /// Automatic restarts since the last reset.
    pub n_restarts: u32,
    /// How many file descriptors it has left in keeping.
    pub n_file_descriptor_store: u32,
    /// The last main process.
    pub exec_main: ExecView,
    /// Command lines by directive, such as `ExecStart`.
    pub exec: Vec<(&'static str, Vec<ExecView>)>,
    /// `KillMode=`.
    pub kill_mode: &'static str,
    /// `KillSignal=`.
    pub kill_signal: i32,
    /// `SendSIGKILL=`.
    pub send_sigkill: bool,
    /// `User=`.
    pub user: String,
    /// `RuntimeMaxSec=`; `u64::MAX` is infinity.
    pub runtime_max_us: u64,
    /// `SuccessExitStatus=`: exit codes.
    pub success_codes: Vec<u8>,
    /// `SuccessExitStatus=`: signals.
    pub success_signals: Vec<u8>,
    /// `UMask=`.
    pub umask: u32,
    /// `Nice=`.
    pub nice: i32,
    /// `OOMScoreAdjust=`.
    pub oom_score_adjust: i32,
    /// `Limit...=` by Linux' number: soft, hard; `u64::MAX` is infinity.
    pub limits: [[u64; 2]; 16],
    /// `Environment=`.
    pub environment: Vec<String>,
    /// `WorkingDirectory=`.
    pub working_directory: String,
}

/// What only sockets have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketView {
    /// Kind (`Stream`, `Datagram`, ...) and address.
    pub listen: Vec<(&'static str, String)>,
    /// `Accept=`.
    pub accept: bool,
    /// Open connections.
    pub n_connections: u32,
    /// Accepted connections.
    pub n_accepted: u32,
    /// Refused connections.
    pub n_refused: u32,
    /// Control process, 0 where there is none.
    pub control_pid: u32,
    /// `FileDescriptorName=`.
    pub descriptor_name: String,
}

/// What only scopes have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeView {
    /// `TimeoutStopSec=`; `u64::MAX` is infinity.
    pub timeout_stop_us: u64,
    /// `RuntimeMaxSec=`; `u64::MAX` is infinity.
    pub runtime_max_us: u64,
    /// `KillMode=`.
    pub kill_mode: &'static str,
    /// `KillSignal=`.
    pub kill_signal: i32,
    /// `SendSIGKILL=`.
    pub send_sigkill: bool,
    /// `SendSIGHUP=`.
    pub send_sighup: bool,
    /// Who is asked to stop it, by a name on the bus; else empty.
    pub controller: String,
}

/// What only timers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimerView {
    /// Unit it starts.
    pub unit: String,
    /// `OnBootSec=` and so on: directive with `USec`, its value, the next elapse (CLOCK_MONOTONIC).
    pub monotonic: Vec<(&'static str, u64, u64)>,
    /// `OnCalendar=`: expression and next elapse (CLOCK_REALTIME).
    pub calendar: Vec<(String, u64)>,
    /// Next elapse by the calendar.
    pub next_realtime_us: u64,
    /// Next elapse by a monotonic timer.
    pub next_monotonic_us: u64,
    /// When it last elapsed.
    pub last_trigger: Timestamp,
    /// `AccuracySec=`.
    pub accuracy_us: u64,
    /// `RandomizedDelaySec=`.
    pub randomized_delay_us: u64,
    /// `Persistent=`.
    pub persistent: bool,
}

/// A property beyond those that the views have fields for.
#[derive(Clone, Debug, PartialEq)]
pub struct MoreProperty {
    /// Whether it belongs to `org.freedesktop.systemd1.Unit`; otherwise to the interface of the unit's kind.
    pub common: bool,
    /// Name.
    pub name: &'static str,
    /// Value.
    pub value: Value,
}

/// A snapshot of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitView {
    /// Kind.
    pub kind: UnitKind,
    /// State.
    pub row: UnitRow,
    /// All names, its own included.
    pub names: Vec<String>,
    /// `Documentation=`.
    pub documentation: Vec<String>,
    /// Units by property, such as `Requires`, `TriggeredBy`, `After`; those without units may be absent.
    pub dependencies: Vec<(&'static str, Vec<String>)>,
    /// Unit file.
    pub fragment_path: String,
    /// File that a generator made it from.
    pub source_path: String,
    /// Drop-ins in the order they apply.
    pub drop_in_paths: Vec<String>,
    /// `enabled`, `static`, ...
    pub unit_file_state: String,
    /// `enabled` or `disabled` by preset.
    pub unit_file_preset: String,
    /// Why it could not be loaded: error name and text.
    pub load_error: Option<(String, String)>,
    /// Last change of state.
    pub state_change: Timestamp,
    /// When it last left inactive.
    pub inactive_exit: Timestamp,
    /// When it last became active.
    pub active_enter: Timestamp,
    /// When it last left active.
    pub active_exit: Timestamp,
    /// When it last became inactive.
    pub inactive_enter: Timestamp,
    /// Whether `systemctl start` is possible.
    pub can_start: bool,
    /// Whether `systemctl stop` is possible.
    pub can_stop: bool,
    /// Whether `systemctl reload` is possible.
    pub can_reload: bool,
    /// Whether `systemctl isolate` is possible.
    pub can_isolate: bool,
    /// Whether its files changed since they were loaded.
    pub need_daemon_reload: bool,
    /// Made by a client, not from a file.
    pub transient: bool,
    /// `running`, `freezing`, `frozen` or `thawing`.
    pub freezer_state: &'static str,
    /// Conditions.
    pub conditions: TestView,
    /// Assertions.
    pub asserts: TestView,
    /// Invocation, where it ever started.
    pub invocation_id: Option<[u8; 16]>,
    /// `StartLimitIntervalSec=`.
    pub start_limit_interval_us: u64,
    /// `StartLimitBurst=`.
    pub start_limit_burst: u32,
    /// `success`, `exit-code`, `signal`, `timeout`, ...
    pub result: &'static str,
    /// Resources.
    pub cgroup: CgroupView,
    /// For services.
    pub service: ServiceView,
    /// For sockets.
    pub socket: SocketView,
    /// For timers.
    pub timer: TimerView,
    /// For scopes.
    pub scope: ScopeView,
    /// Its configuration, for what only it says.
    pub config: Option<Arc<Config>>,
    /// Properties without a field here. One with a field wins over one of the same name.
    pub more: Vec<MoreProperty>,
}

impl UnitView {
    /// An unloaded, inactive unit of this kind and name, for the binary to fill.
    pub fn new(kind: UnitKind, id: &str) -> UnitView {
        let row = UnitRow {
            id: id.into(),
            description: id.into(),
            load_state: "not-found",
            active_state: "inactive",
            sub_state: "dead",
            ..UnitRow::default()
        };
        UnitView {
            kind,
            row,
            names: vec![id.into()],
            documentation: Vec::new(),
            dependencies: Vec::new(),
            fragment_path: String::new(),
            source_path: String::new(),
            drop_in_paths: Vec::new(),
            unit_file_state: String::new(),
            unit_file_preset: String::new(),
            load_error: None,
            state_change: Timestamp::default(),
            inactive_exit: Timestamp::default(),
            active_enter: Timestamp::default(),
            active_exit: Timestamp::default(),
            inactive_enter: Timestamp::default(),
            can_start: false,
            can_stop: false,
            can_reload: false,
            can_isolate: false,
            need_daemon_reload: false,
            transient: false,
            freezer_state: "running",
            conditions: TestView::default(),
            asserts: TestView::default(),
            invocation_id: None,
            start_limit_interval_us: 0,
            start_limit_burst: 0,
            result: "success",
            cgroup: CgroupView::default(),
            service: ServiceView::default(),
            socket: SocketView::default(),
            timer: TimerView::default(),
            scope: ScopeView::default(),
            config: None,
            more: Vec::new(),
        }
    }

    /// The units of a dependency property.
    pub fn dependency(&self, property: &str) -> &[String] {
        let found = self.dependencies.iter().find(|(name, _)| *name == property);
        found.map_or(&[], |(_, units)| units)
    }
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobView {
    /// Id.
    pub id: u32,
    /// Unit.
    pub unit: String,
    /// `start`, `stop`, `restart`, ...
    pub job_type: &'static str,
    /// `waiting` or `running`.
    pub state: &'static str,
}

/// A process of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// Its cgroup.
    pub cgroup: String,
    /// Its id.
    pub pid: u32,
    /// Its command line, for people.
    pub command: String,
}

/// A snapshot of the whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManagerView {
    /// Version.
    pub version: String,
    /// Soft and hard limits that processes have without settings, by Linux' number.
    pub limits: [[u64; 2]; 16],
    /// `x86-64`, ...
    pub architecture: String,
    /// Virtualization or container, empty on hardware.
    pub virtualization: String,
    /// What departs from a supported setup, separated by colons.
    pub tainted: String,
    /// When the kernel started.
    pub kernel: Timestamp,
    /// When we started.
    pub userspace: Timestamp,
    /// When the first transaction was over.
    pub finish: Timestamp,
    /// When loading of units began.
    pub units_load_start: Timestamp,
    /// When loading of units was over.
    pub units_load_finish: Timestamp,
    /// Names of units.
    pub n_names: u32,
    /// Failed units.
    pub n_failed_units: u32,
    /// Jobs that are queued.
    pub n_jobs: u32,
    /// Jobs ever installed.
    pub n_installed_jobs: u32,
    /// Jobs ever failed.
    pub n_failed_jobs: u32,
    /// From 0 to 1.
    pub progress: f64,
    /// Environment of what we start.
    pub environment: Vec<String>,
    /// Folders of unit files.
    pub unit_path: Vec<String>,
    /// Our cgroup.
    pub control_group: String,
    /// `initializing`, `starting`, `running`, `degraded`, `maintenance`, `stopping`.
    pub system_state: &'static str,
    /// `debug`, `info`, ...
    pub log_level: &'static str,
    /// `journal`, `console`, ...
    pub log_target: &'static str,
    /// `DefaultTimeoutStartSec=`.
    pub default_timeout_start_us: u64,
    /// `DefaultTimeoutStopSec=`.
    pub default_timeout_stop_us: u64,
    /// `DefaultRestartSec=`.
    pub default_restart_us: u64,
    /// `DefaultStartLimitIntervalSec=`.
    pub default_start_limit_interval_us: u64,
    /// `DefaultStartLimitBurst=`.
    pub default_start_limit_burst: u32,
    /// `DefaultTasksMax=`.
    pub default_tasks_max: Option<u64>,
    /// Properties without a field here.
    pub more: Vec<(&'static str, Value)>,
}

/// A unit file and whether it is enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFileView {
    /// Path.
    pub path: String,
    /// `enabled`, `disabled`, `static`, `masked`, ...
    pub state: String,
}

/// The questions of the front. None of them changes anything, but asking for a unit may load it.
pub trait Model {
    /// A unit as far as that is known without looking; `None` where no such unit is loaded and `load` is
    /// false, or no unit may have this name.
    ///
    /// # Errors
    /// It could not even be looked for. A unit whose file is missing or bad is a view with that load state.
    fn unit(&mut self, name: &str, load: bool) -> Result<Option<UnitView>, Refusal>;
    /// A loaded unit as far as it changes by itself: the properties whose changes are sent. `None` where that
    /// is not known apart from the rest, which it isn't unless this is overridden.
    fn glance(&mut self, name: &str) -> Option<UnitView> {
        let _ = name;
        None
    }
    /// Adds to a unit what has to be read from the machine: what it uses, and what its files say by now.
    /// Asked only where an answer needs it. Adds nothing unless it is overridden.
    fn measure(&mut self, view: &mut UnitView) {
        let _ = view;
    }
    /// All loaded units.
    fn units(&mut self) -> Vec<UnitRow>;
    /// All jobs.
    fn jobs(&mut self) -> Vec<JobView>;
    /// The unit that a process belongs to.
    fn unit_of_pid(&mut self, pid: u32) -> Option<String>;
    /// The unit of this invocation.
    fn unit_of_invocation(&mut self, invocation: [u8; 16]) -> Option<String>;
    /// The unit whose control group this is or lies above it, by its path below the root of the hierarchy.
    fn unit_of_group(&mut self, path: &str) -> Option<String>;
    /// The processes of a unit; of all units where `unit` is empty.
    fn processes(&mut self, unit: &str) -> Vec<ProcessView>;
    /// The whole.
    fn overview(&mut self) -> ManagerView;
    /// The machine id, 32 hexadecimal digits.
    fn machine_id(&mut self) -> String;
    /// All unit files.
    fn unit_files(&mut self) -> Vec<UnitFileView>;
    /// Whether a unit file is enabled.
    ///
    /// # Errors
    /// There is no such file.
    fn unit_file_state(&mut self, name: &str) -> Result<String, Refusal>;
    /// The links that disabling a unit would remove, those that the next boot forgets or the others.
    ///
    /// # Errors
    /// There is no folder of such links.
    fn unit_file_links(&mut self, name: &str, runtime: bool) -> Result<Vec<String>, Refusal>;
    /// The unit that is started at boot.
    ///
    /// # Errors
    /// There is none.
    fn default_target(&mut self) -> Result<String, Refusal>;
    /// Jobs that a job waits for (`after`), or that wait for it.
    fn related_jobs(&mut self, job: u32, after: bool) -> Vec<JobView>;
}
