//! What the engine and the host act on: the typed configuration of one unit.
//!
//! Built by `load`; every field says which directive sets it. Directives without a field here are kept as
//! text in [`Config::settings`]. Times are microseconds; [`INFINITY`] means "never".

use crate::automount::AutomountConfig;
use crate::calendar::Calendar;
use crate::mount::MountConfig;
pub use crate::protection::{Bind, Protection};
use crate::socket_options::SocketOptions;
use crate::swap::SwapConfig;
use crate::{Dependency, Diagnostic, Place, Position, Text, UnitKind, UnitName};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::ops::{Deref, DerefMut};

/// A time span or a number without limit.
pub const INFINITY: u64 = u64::MAX;

/// Gives a setting of one word its table: what a unit file may say, and what is shown.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// systemd's words, each with its meaning.
            pub const WORDS: &[(&str, $name)] = &[$(($word, $name::$variant)),+];

            /// systemd's word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word),+
                }
            }

            /// What this word means.
            pub fn parse(word: &str) -> Option<$name> {
                $name::WORDS.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
            }
        }
    };
}

/// Whether the unit's configuration could be loaded; systemd's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadState {
    /// Referenced, its files not read yet.
    #[default]
    Stub,
    /// Usable.
    Loaded,
    /// No file.
    NotFound,
    /// The file lacks something without which the unit can't work (ExecStart=).
    BadSetting,
    /// A file exists and can't be read.
    Error,
    /// A link to /dev/null or an empty file.
    Masked,
}

impl LoadState {
    /// systemd's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            LoadState::Stub => "stub",
            LoadState::Loaded => "loaded",
            LoadState::NotFound => "not-found",
            LoadState::BadSetting => "bad-setting",
            LoadState::Error => "error",
            LoadState::Masked => "masked",
        }
    }
}

/// What part a file plays in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRole {
    /// The unit file itself.
    Fragment,
    /// A `*.conf` below a `.d` folder.
    DropIn,
}

/// A file that the unit was loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as it was opened.
    pub path: Text,
    /// Its part.
    pub role: SourceRole,
}

/// An effective assignment: where it stands, and its text where no typed field holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Index of its row in `directive::rows()`.
    pub row: u16,
    /// Index into [`Config::sources`].
    pub source: u16,
    /// Line of the assignment, from 1.
    pub line: u32,
    /// Column of the value, from 1.
    pub column: u32,
    /// The value after continuation lines were joined; `None` where a typed field holds it.
    pub value: Option<Box<str>>,
}

/// One unit, loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Its name. `None` only in a default value.
    pub name: Option<UnitName>,
    /// Other names of the same unit.
    pub aliases: Vec<UnitName>,
    /// Whether it could be loaded.
    pub load: LoadState,
    /// Files, the fragment first, then drop-ins in their order.
    pub sources: Vec<Source>,
    /// What was wrong.
    pub diagnostics: Vec<Diagnostic>,
    /// Description=; empty where none is given.
    pub description: Box<str>,
    /// What units of any kind have, and often have alike. Its fields are reached through the unit.
    pub unit: Arc<UnitConfig>,
    /// The part that belongs to the unit's kind.
    pub kind: Kind,
}

impl Deref for Config {
    type Target = UnitConfig;
    fn deref(&self) -> &UnitConfig {
        &self.unit
    }
}
impl DerefMut for Config {
    fn deref_mut(&mut self) -> &mut UnitConfig {
        Arc::make_mut(&mut self.unit)
    }
}

/// [Unit] and [Install], but for what names the unit. It says nothing of where the unit's files lie, so that
/// units that are configured alike can share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitConfig {
    /// Assignments in effect, in file order.
    pub settings: Vec<Setting>,
    /// Documentation=
    pub documentation: Vec<Box<str>>,
    /// Dependencies, declared, default and implied.
    pub dependencies: Vec<Dependency>,
    /// RequiresMountsFor=
    pub requires_mounts_for: Vec<Box<str>>,
    /// Condition...= in file order.
    pub conditions: Vec<Condition>,
    /// Assert...= in file order.
    pub asserts: Vec<Condition>,
    /// Switches of [Unit].
    pub flags: UnitFlags,
    /// StartLimitIntervalSec=, in microseconds; 0 switches the limit off. systemd's default: 10 s.
    pub start_limit_interval: u64,
    /// StartLimitBurst=; 0 switches the limit off. systemd's default: 5.
    pub start_limit_burst: u32,
    /// StartLimitAction=
    pub start_limit_action: EmergencyAction,
    /// FailureAction=
    pub failure_action: EmergencyAction,
    /// SuccessAction=
    pub success_action: EmergencyAction,
    /// FailureActionExitStatus=, where given.
    pub failure_action_exit_status: Option<u8>,
    /// SuccessActionExitStatus=, where given.
    pub success_action_exit_status: Option<u8>,
    /// JobTimeoutSec=
    pub job_timeout: u64,
    /// JobRunningTimeoutSec=
    pub job_running_timeout: u64,
    /// JobTimeoutAction=
    pub job_timeout_action: EmergencyAction,
    /// OnFailureJobMode=, "replace" unless it is set
    pub on_failure_job_mode: JobMode,
    /// OnSuccessJobMode=, "fail" unless it is set
    pub on_success_job_mode: JobMode,
    /// What [Install] asks for; acted on by enable and disable only.
    pub install: Install,
}

impl Default for UnitConfig {
    fn default() -> Self {
        UnitConfig {
            settings: Vec::new(),
            documentation: Vec::new(),
            dependencies: Vec::new(),
            requires_mounts_for: Vec::new(),
            conditions: Vec::new(),
            asserts: Vec::new(),
            flags: UnitFlags::default(),
            start_limit_interval: 10_000_000,
            start_limit_burst: 5,
            start_limit_action: EmergencyAction::None,
            failure_action: EmergencyAction::None,
            success_action: EmergencyAction::None,
            failure_action_exit_status: None,
            success_action_exit_status: None,
            job_timeout: INFINITY,
            job_running_timeout: INFINITY,
            job_timeout_action: EmergencyAction::None,
            on_failure_job_mode: JobMode::default(),
            on_success_job_mode: JobMode::Fail,
            install: Install::default(),
        }
    }
}

impl Config {
    /// A unit without any file, as the engine holds one before loading.
    pub fn stub(name: UnitName) -> Config {
        Config { kind: Kind::default_of(name.kind()), name: Some(name), ..Config::default() }
    }

    /// The name; every loaded unit has one.
    pub fn id(&self) -> &UnitName {
        self.name.as_ref().expect("Config::stub and load set the name")
    }

    /// A position in one of its files, with the file's path.
    pub fn place(&self, position: Position) -> Place {
        let source = self.sources.get(usize::from(position.source));
        let file = source.map_or_else(|| self.id().text().clone(), |s| s.path.clone());
        Place { file, line: position.line, column: u32::from(position.column) }
    }

    /// Gives back the room that loading needed.
    pub fn shrink(&mut self) {
        self.aliases.shrink_to_fit();
        self.sources.shrink_to_fit();
        self.diagnostics.shrink_to_fit();
        let unit = Arc::make_mut(&mut self.unit);
        unit.settings.shrink_to_fit();
        unit.dependencies.shrink_to_fit();
        unit.documentation.shrink_to_fit();
        unit.conditions.shrink_to_fit();
        unit.asserts.shrink_to_fit();
        unit.install.wanted_by.shrink_to_fit();
        if let Kind::Service(service) = &mut self.kind {
            let service = Arc::make_mut(service);
            for commands in &mut service.exec {
                commands.shrink_to_fit();
                commands.iter_mut().for_each(|command| command.argv.shrink_to_fit());
            }
            let context = &mut Arc::make_mut(&mut service.settings).context;
            context.environment.shrink_to_fit();
            context.environment_files.shrink_to_fit();
            context.limits.shrink_to_fit();
        }
    }

    /// Description=, or the name, as systemd shows it.
    pub fn shown_description(&self) -> &str {
        if self.description.is_empty() { self.id().as_str() } else { &self.description }
    }

    /// The directives of systemd.exec(5) that the unit sets and nothing here applies, as people write them.
    pub fn unprotected(&self) -> Option<String> {
        let names = &self.context()?.not_applied;
        let written: Vec<String> = names.iter().map(|n| alloc::format!("{n}=")).collect();
        (!written.is_empty()).then(|| written.join(", "))
    }

    /// Whether a client made it: its file then lies in a folder of that name.
    pub fn is_transient(&self) -> bool {
        let fragment = self.sources.iter().find(|source| source.role == SourceRole::Fragment);
        let folder =
            fragment.and_then(|source| source.path.rsplit_once('/')).map_or("", |(folder, _)| folder);
        folder.rsplit('/').next() == Some("transient")
    }

    /// The service part, where this is one.
    pub fn service(&self) -> Option<&ServiceConfig> {
        match &self.kind {
            Kind::Service(s) => Some(s),
            _ => None,
        }
    }

    /// systemd.exec(5), where the unit's kind has commands.
    pub fn context(&self) -> Option<&ExecConfig> {
        match &self.kind {
            Kind::Service(service) => Some(&service.context),
            Kind::Socket(socket) => Some(&socket.context),
            Kind::Mount(mount) => Some(&mount.context),
            Kind::Swap(swap) => Some(&swap.context),
            _ => None,
        }
    }

    /// systemd.resource-control(5), where the unit's kind has a control group.
    pub fn resources(&self) -> Option<&ResourceConfig> {
        match &self.kind {
            Kind::Service(service) => Some(&service.resources),
            Kind::Socket(socket) => Some(&socket.resources),
            Kind::Slice(resources) => Some(resources),
            Kind::Mount(mount) => Some(&mount.resources),
            Kind::Swap(swap) => Some(&swap.resources),
            Kind::Scope(scope) => Some(&scope.resources),
            Kind::Target | Kind::Timer(_) | Kind::Path(_) | Kind::Automount(_) | Kind::Other(_) => None,
        }
    }

    /// systemd.kill(5) of a unit that has commands; the default for others.
    pub fn kill(&self) -> KillConfig {
        match &self.kind {
            Kind::Service(service) => service.kill,
            Kind::Socket(socket) => socket.kill,
            Kind::Mount(mount) => mount.kill,
            Kind::Swap(swap) => swap.kill,
            _ => KillConfig::default(),
        }
    }

    /// The socket part, where this is one.
    pub fn socket(&self) -> Option<&SocketConfig> {
        match &self.kind {
            Kind::Socket(s) => Some(s),
            _ => None,
        }
    }
}

/// Switches of [Unit]; each is the directive of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitFlags {
    /// DefaultDependencies=
    pub default_dependencies: bool,
    /// StopWhenUnneeded=
    pub stop_when_unneeded: bool,
    /// RefuseManualStart=
    pub refuse_manual_start: bool,
    /// RefuseManualStop=
    pub refuse_manual_stop: bool,
    /// AllowIsolate=
    pub allow_isolate: bool,
    /// IgnoreOnIsolate=
    pub ignore_on_isolate: bool,
    /// SurviveFinalKillSignal=
    pub survive_final_kill_signal: bool,
    /// CollectMode=inactive-or-failed
    pub collect_failed: bool,
    /// `[X-Hence] LeftBehindAllowed=`: left-over processes of this unit are intended.
    pub left_behind_allowed: bool,
    /// `[X-Hence] Sandbox=best-effort`: it starts without what of its sandbox is refused.
    pub sandbox_best_effort: bool,
}

impl Default for UnitFlags {
    fn default() -> Self {
        UnitFlags {
            default_dependencies: true,
            stop_when_unneeded: false,
            refuse_manual_start: false,
            refuse_manual_stop: false,
            allow_isolate: false,
            ignore_on_isolate: false,
            survive_final_kill_signal: false,
            collect_failed: false,
            left_behind_allowed: false,
            sandbox_best_effort: false,
        }
    }
}

/// [Install].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Install {
    /// Alias=
    pub alias: Vec<Box<str>>,
    /// WantedBy=
    pub wanted_by: Vec<Box<str>>,
    /// RequiredBy=
    pub required_by: Vec<Box<str>>,
    /// UpheldBy=
    pub upheld_by: Vec<Box<str>>,
    /// Also=
    pub also: Vec<Box<str>>,
    /// DefaultInstance=
    pub default_instance: Option<Box<str>>,
}

/// A Condition...= or Assert...= line; systemd.unit(5), "Conditions and Asserts".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The directive without `Condition` or `Assert`: `PathExists`.
    pub check: &'static str,
    /// The argument, specifiers expanded.
    pub argument: Box<str>,
    /// `!`: holds when the check fails.
    pub negate: bool,
    /// `|`: at least one of those with this mark must hold.
    pub trigger: bool,
    /// Where it stands.
    pub position: Position,
}

/// FailureAction= and its kin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum EmergencyAction {
    #[default]
    None,
    Reboot,
    RebootForce,
    RebootImmediate,
    Poweroff,
    PoweroffForce,
    PoweroffImmediate,
    Exit,
    ExitForce,
}

words!(EmergencyAction {
    None = "none",
    Reboot = "reboot",
    RebootForce = "reboot-force",
    RebootImmediate = "reboot-immediate",
    Poweroff = "poweroff",
    PoweroffForce = "poweroff-force",
    PoweroffImmediate = "poweroff-immediate",
    Exit = "exit",
    ExitForce = "exit-force",
});

/// How a job treats those already queued; systemctl(1), `--job-mode=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum JobMode {
    Fail,
    #[default]
    Replace,
    ReplaceIrreversibly,
    Isolate,
    Flush,
    IgnoreDependencies,
    IgnoreRequirements,
    Triggering,
}

words!(JobMode {
    Fail = "fail",
    Replace = "replace",
    ReplaceIrreversibly = "replace-irreversibly",
    Isolate = "isolate",
    Flush = "flush",
    IgnoreDependencies = "ignore-dependencies",
    IgnoreRequirements = "ignore-requirements",
    Triggering = "triggering",
});

/// The part of a unit that depends on its kind.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the variants are the unit kinds")]
pub enum Kind {
    Service(Arc<ServiceConfig>),
    Socket(Box<SocketConfig>),
    #[default]
    Target,
    Slice(Box<ResourceConfig>),
    Timer(Box<TimerConfig>),
    Path(Box<PathConfig>),
    Mount(Box<MountConfig>),
    Swap(Box<SwapConfig>),
    Automount(Box<AutomountConfig>),
    Scope(Box<ScopeConfig>),
    /// A kind that is loaded and shown, not acted on.
    Other(UnitKind),
}

impl Kind {
    /// The default configuration of a kind.
    pub fn default_of(kind: UnitKind) -> Kind {
        match kind {
            UnitKind::Service => Kind::Service(Arc::default()),
            UnitKind::Socket => Kind::Socket(Box::default()),
            UnitKind::Target => Kind::Target,
            UnitKind::Slice => Kind::Slice(Box::default()),
            UnitKind::Timer => Kind::Timer(Box::default()),
            UnitKind::Path => Kind::Path(Box::default()),
            UnitKind::Mount => Kind::Mount(Box::default()),
            UnitKind::Swap => Kind::Swap(Box::default()),
            UnitKind::Automount => Kind::Automount(Box::default()),
            UnitKind::Scope => Kind::Scope(Box::default()),
            other => Kind::Other(other),
        }
    }
}

/// Type= of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum ServiceType {
    #[default]
    Simple,
    Exec,
    Forking,
    Oneshot,
    Dbus,
    Notify,
    NotifyReload,
    Idle,
}

words!(ServiceType {
    Simple = "simple",
    Exec = "exec",
    Forking = "forking",
    Oneshot = "oneshot",
    Dbus = "dbus",
    Notify = "notify",
    NotifyReload = "notify-reload",
    Idle = "idle",
});

/// Restart=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum Restart {
    #[default]
    No,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnWatchdog,
    OnAbort,
    Always,
}

words!(Restart {
    No = "no",
    OnSuccess = "on-success",
    OnFailure = "on-failure",
    OnAbnormal = "on-abnormal",
    OnWatchdog = "on-watchdog",
    OnAbort = "on-abort",
    Always = "always",
});

/// TimeoutStartFailureMode= and TimeoutStopFailureMode=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum TimeoutFailureMode {
    #[default]
    Terminate,
    Abort,
    Kill,
}

words!(TimeoutFailureMode { Terminate = "terminate", Abort = "abort", Kill = "kill" });

/// NotifyAccess=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum NotifyAccess {
    #[default]
    None,
    Main,
    Exec,
    All,
}

words!(NotifyAccess { None = "none", Main = "main", Exec = "exec", All = "all" });

/// OOMPolicy=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum OomPolicy {
    Continue,
    #[default]
    Stop,
    Kill,
}

words!(OomPolicy { Continue = "continue", Stop = "stop", Kill = "kill" });

/// ExitType=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum ExitType {
    #[default]
    Main,
    Cgroup,
}

/// RestartMode=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum RestartMode {
    #[default]
    Normal,
    Direct,
    Debug,
}

words!(RestartMode { Normal = "normal", Direct = "direct", Debug = "debug" });
words!(ExitType { Main = "main", Cgroup = "cgroup" });

/// A set of exit codes and signals, as SuccessExitStatus= has it.
#[derive(Clone, Debug, Default, Eq)]
pub struct ExitStatusSet {
    /// Exit codes.
    pub codes: Vec<u8>,
    /// Signal numbers.
    pub signals: Vec<u8>,
}

impl PartialEq for ExitStatusSet {
    fn eq(&self, other: &ExitStatusSet) -> bool {
        // Most are empty; to compare the bytes of nothing is slow on some processors, as there is no address.
        let same = |a: &[u8], b: &[u8]| a.len() == b.len() && (a.is_empty() || a == b);
        same(&self.codes, &other.codes) && same(&self.signals, &other.signals)
    }
}

/// [Service]: the commands, which differ from service to service, and the settings, which many have alike
/// and then share. Those are reached through it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Commands, by [`ExecPhase`] order.
    pub exec: [Vec<Command>; 7],
    /// Everything else.
    pub settings: Arc<ServiceSettings>,
}

impl Deref for ServiceConfig {
    type Target = ServiceSettings;
    fn deref(&self) -> &ServiceSettings {
        &self.settings
    }
}
impl DerefMut for ServiceConfig {
    fn deref_mut(&mut self) -> &mut ServiceSettings {
        Arc::make_mut(&mut self.settings)
    }
}

/// A file that is opened for a service and passed to it; systemd.service(5), OpenFile=.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenFile {
    /// Its path: a file, or a socket that is connected to.
    pub path: Box<str>,
    /// The name of its descriptor; the file's own where none is given.
    pub name: Box<str>,
    /// `read-only`
    pub read_only: bool,
    /// `append`
    pub append: bool,
    /// `truncate`
    pub truncate: bool,
    /// `graceful`: what can't be opened isn't passed.
    pub graceful: bool,
}

impl OpenFile {
    /// `PATH[:NAME[:OPTION,...]]`; why it is none.
    ///
    /// # Errors
    /// What is wrong, as an end of a sentence.
    pub fn parse(text: &str) -> Result<OpenFile, String> {
        let mut parts = text.splitn(3, ':');
        let path = parts.next().unwrap_or("");
        let path = crate::value::absolute_path(path)
            .ok_or_else(|| alloc::format!("{path:?} is not {}", crate::value::ABSOLUTE))?;
        let own = path.rsplit('/').next().unwrap_or("");
        let name = parts.next().filter(|name| !name.is_empty()).unwrap_or(own);
        let printable = |b: u8| (0x20..0x7f).contains(&b) && b != b':';
        if name.len() > 255 || !name.bytes().all(printable) {
            return Err(alloc::format!("{name:?} can't name a descriptor"));
        }
        let mut file = OpenFile { name: name.into(), ..OpenFile::default() };
        for option in parts.next().unwrap_or("").split(',').filter(|option| !option.is_empty()) {
            match option {
                "read-only" => file.read_only = true,
                "append" => file.append = true,
                "truncate" => file.truncate = true,
                "graceful" => file.graceful = true,
                _ => {
                    return Err(alloc::format!(
                        "{option:?} is none of read-only, append, truncate, graceful"
                    ));
                }
            }
        }
        if u8::from(file.read_only) + u8::from(file.append) + u8::from(file.truncate) > 1 {
            return Err("read-only, append and truncate exclude each other".into());
        }
        file.path = path.into();
        Ok(file)
    }
}

/// [Service] without its commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Type=
    pub service_type: ServiceType,
    /// ExitType=
    pub exit_type: ExitType,
    /// Restart=
    pub restart: Restart,
    /// RestartSec=
    pub restart_delay: u64,
    /// RestartSteps=
    pub restart_steps: u32,
    /// RestartMaxDelaySec=
    pub restart_max_delay: u64,
    /// RestartRandomizedDelaySec=
    pub restart_randomized_delay: u64,
    /// RestartMode=
    pub restart_mode: RestartMode,
    /// ReloadSignal=
    pub reload_signal: u8,
    /// TimeoutCleanSec=
    pub timeout_clean: u64,
    /// TimeoutStartSec= (INFINITY by default for oneshot)
    pub timeout_start: u64,
    /// TimeoutStopSec=
    pub timeout_stop: u64,
    /// TimeoutAbortSec=, where given.
    pub timeout_abort: Option<u64>,
    /// TimeoutStartFailureMode=
    pub timeout_start_failure_mode: TimeoutFailureMode,
    /// TimeoutStopFailureMode=
    pub timeout_stop_failure_mode: TimeoutFailureMode,
    /// RuntimeMaxSec=
    pub runtime_max: u64,
    /// RuntimeRandomizedExtraSec=
    pub runtime_randomized_extra: u64,
    /// WatchdogSec=; 0 switches it off.
    pub watchdog: u64,
    /// RemainAfterExit=
    pub remain_after_exit: bool,
    /// GuessMainPID=
    pub guess_main_pid: bool,
    /// RootDirectoryStartOnly=
    pub root_directory_start_only: bool,
    /// PermissionsStartOnly=
    pub permissions_start_only: bool,
    /// PIDFile=, absolute.
    pub pid_file: Option<Box<str>>,
    /// BusName=
    pub bus_name: Option<Box<str>>,
    /// SuccessExitStatus=
    pub success_exit_status: ExitStatusSet,
    /// RestartPreventExitStatus=
    pub restart_prevent_exit_status: ExitStatusSet,
    /// RestartForceExitStatus=
    pub restart_force_exit_status: ExitStatusSet,
    /// NotifyAccess=; already with the default that Type=notify, WatchdogSec= and the fd store imply.
    pub notify_access: NotifyAccess,
    /// Sockets=
    pub sockets: Vec<UnitName>,
    /// OpenFile=
    pub open_files: Vec<OpenFile>,
    /// FileDescriptorStoreMax=
    pub fd_store_max: u32,
    /// FileDescriptorStorePreserve=: 0 no, 1 restart, 2 yes.
    pub fd_store_preserve: u8,
    /// OOMPolicy=; `None`: the default (stop, or continue with Delegate=).
    pub oom_policy: Option<OomPolicy>,
    /// NonBlocking=
    pub non_blocking: bool,
    /// systemd.exec(5)
    pub context: ExecConfig,
    /// systemd.kill(5)
    pub kill: KillConfig,
    /// systemd.resource-control(5)
    pub resources: ResourceConfig,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        ServiceSettings {
            service_type: ServiceType::Simple,
            exit_type: ExitType::Main,
            restart: Restart::No,
            restart_delay: 100_000,
            restart_steps: 0,
            restart_max_delay: INFINITY,
            restart_randomized_delay: 0,
            restart_mode: RestartMode::Normal,
            reload_signal: 1,
            timeout_clean: INFINITY,
            timeout_start: 90_000_000,
            timeout_stop: 90_000_000,
            timeout_abort: None,
            timeout_start_failure_mode: TimeoutFailureMode::Terminate,
            timeout_stop_failure_mode: TimeoutFailureMode::Terminate,
            runtime_max: INFINITY,
            runtime_randomized_extra: 0,
            watchdog: 0,
            remain_after_exit: false,
            guess_main_pid: true,
            root_directory_start_only: false,
            permissions_start_only: false,
            pid_file: None,
            bus_name: None,
            success_exit_status: ExitStatusSet::default(),
            restart_prevent_exit_status: ExitStatusSet::default(),
            restart_force_exit_status: ExitStatusSet::default(),
            notify_access: NotifyAccess::None,
            sockets: Vec::new(),
            open_files: Vec::new(),
            fd_store_max: 0,
            fd_store_preserve: 1,
            oom_policy: None,
            non_blocking: false,
            context: ExecConfig::default(),
            kill: KillConfig::default(),
            resources: ResourceConfig::default(),
        }
    }
}

impl ServiceConfig {
    /// The commands of a phase.
    pub fn commands(&self, phase: ExecPhase) -> &[Command] {
        &self.exec[phase as usize]
    }
}

/// Configuration of a scope; systemd.scope(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeConfig {
    /// RuntimeMaxSec=, in microseconds.
    pub runtime_max: u64,
    /// TimeoutStopSec=, in microseconds.
    pub timeout_stop: u64,
    /// systemd.kill(5)
    pub kill: KillConfig,
    /// systemd.resource-control(5)
    pub resources: ResourceConfig,
}

impl Default for ScopeConfig {
    fn default() -> Self {
        ScopeConfig {
            runtime_max: INFINITY,
            timeout_stop: 90_000_000,
            kill: KillConfig::default(),
            resources: ResourceConfig::default(),
        }
    }
}

/// Which Exec...= list a command belongs to; the index into [`ServiceConfig::exec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are the directives")]
pub enum ExecPhase {
    Condition,
    StartPre,
    Start,
    StartPost,
    Reload,
    Stop,
    StopPost,
}

impl ExecPhase {
    /// Every phase, in index order.
    pub const ALL: [ExecPhase; 7] = [
        ExecPhase::Condition,
        ExecPhase::StartPre,
        ExecPhase::Start,
        ExecPhase::StartPost,
        ExecPhase::Reload,
        ExecPhase::Stop,
        ExecPhase::StopPost,
    ];

    /// The directive.
    pub const fn directive(self) -> &'static str {
        match self {
            ExecPhase::Condition => "ExecCondition",
            ExecPhase::StartPre => "ExecStartPre",
            ExecPhase::Start => "ExecStart",
            ExecPhase::StartPost => "ExecStartPost",
            ExecPhase::Reload => "ExecReload",
            ExecPhase::Stop => "ExecStop",
            ExecPhase::StopPost => "ExecStopPost",
        }
    }
}

/// One command line; systemd.service(5), "Command Lines".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Path or, without a slash, a name to be looked up in the fixed search path.
    pub path: Box<str>,
    /// Arguments with argv[0] first; specifiers are expanded, `$VAR` are not (see `exec_line::expand`).
    pub argv: Vec<Box<str>>,
    /// `-`: failure counts as success.
    pub ignore_failure: bool,
    /// `:`: no environment variables are substituted.
    pub no_substitution: bool,
    /// `+`, `!` or `!!`.
    pub privilege: Privilege,
    /// Where it stands.
    pub position: Position,
}

/// With which privileges a command runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privilege {
    /// As the unit says.
    #[default]
    Unit,
    /// `+`: with full privileges.
    Full,
    /// `!`: without User=, Group= and capabilities.
    Elevated,
    /// `!!`: as `!` where ambient capabilities are lacking.
    ElevatedFallback,
}

/// Where a standard stream goes or comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stdio {
    /// The directive isn't given: StandardInput=null, StandardOutput=journal, StandardError=inherit.
    #[default]
    Default,
    /// inherit
    Inherit,
    /// null
    Null,
    /// journal, syslog: captured.
    Journal,
    /// journal+console, syslog+console: captured, and copied to the console.
    JournalConsole,
    /// kmsg: captured, and copied to the kernel's log.
    Kmsg,
    /// kmsg+console: captured, and copied to both.
    KmsgConsole,
    /// tty, tty-force, tty-fail
    Tty,
    /// socket: the connection of an Accept=yes socket.
    Socket,
    /// file:PATH
    File(Box<str>),
    /// append:PATH
    Append(Box<str>),
    /// truncate:PATH
    Truncate(Box<str>),
    /// fd:NAME
    Fd(Box<str>),
    /// data, for StandardInput= with StandardInputText= or StandardInputData=
    Data,
}

impl Stdio {
    /// Whether it is captured because the unit says so.
    pub fn is_logged(&self) -> bool {
        matches!(self, Stdio::Journal | Stdio::JournalConsole | Stdio::Kmsg | Stdio::KmsgConsole)
    }
}

/// A resource limit (LimitNOFILE= and the like).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    /// Linux' RLIMIT_ number.
    pub resource: u8,
    /// Soft limit; [`INFINITY`] for none.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// An EnvironmentFile=
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Absolute path or glob.
    pub path: Box<str>,
    /// `-`: may be missing.
    pub optional: bool,
}

/// RuntimeDirectory= and its kin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedDirectory {
    /// Which one.
    pub kind: DirectoryKind,
    /// Path below the kind's root.
    pub name: Box<str>,
    /// Mode.
    pub mode: u32,
}

/// Which folder a [`ManagedDirectory`] lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the directives' prefixes")]
pub enum DirectoryKind {
    Runtime,
    State,
    Cache,
    Logs,
    Configuration,
}

/// systemd.exec(5), as far as it is acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// User=
    pub user: Option<Box<str>>,
    /// Group=
    pub group: Option<Box<str>>,
    /// SupplementaryGroups=
    pub supplementary_groups: Vec<Box<str>>,
    /// WorkingDirectory=; `~` is the user's home.
    pub working_directory: Option<Box<str>>,
    /// WorkingDirectory=-...: may be missing.
    pub working_directory_optional: bool,
    /// RootDirectory=
    pub root_directory: Option<Box<str>>,
    /// Environment=, in order, as NAME=VALUE.
    pub environment: Vec<Box<str>>,
    /// EnvironmentFile=
    pub environment_files: Vec<EnvironmentFile>,
    /// PassEnvironment=
    pub pass_environment: Vec<Box<str>>,
    /// UnsetEnvironment=
    pub unset_environment: Vec<Box<str>>,
    /// UMask=
    pub umask: Option<u32>,
    /// Limit...=
    pub limits: Vec<ResourceLimit>,
    /// Nice=
    pub nice: Option<i8>,
    /// OOMScoreAdjust=
    pub oom_score_adjust: Option<i16>,
    /// CPUSchedulingPolicy= (Linux number) where given.
    pub scheduling_policy: Option<u8>,
    /// CPUSchedulingPriority=
    pub scheduling_priority: Option<u8>,
    /// IOSchedulingClass=, IOSchedulingPriority= as Linux' ioprio value.
    pub io_priority: Option<u16>,
    /// RemoveIPC=
    pub remove_ipc: bool,
    /// What of the machine is its own, read-only or hidden.
    pub protection: Option<Box<Protection>>,
    /// SystemCallFilter= and its kin, where any is given.
    pub restrictions: Option<Box<crate::restrict::Restrictions>>,
    /// Personality=, KeyringMode=, LoadCredential= and others that few units set, where any is given.
    pub attributes: Option<Box<crate::attributes::Attributes>>,
    /// CPUAffinity=, ascending; empty where none is given.
    pub cpu_affinity: Vec<u16>,
    /// CapabilityBoundingSet= as bits by number; `None`: all.
    pub capability_bounding_set: Option<u64>,
    /// AmbientCapabilities= as bits by number.
    pub ambient_capabilities: u64,
    /// NoNewPrivileges=
    pub no_new_privileges: bool,
    /// IgnoreSIGPIPE= (default yes)
    pub keep_sigpipe: bool,
    /// StandardInput=
    pub stdin: Stdio,
    /// StandardOutput=
    pub stdout: Stdio,
    /// StandardError=
    pub stderr: Stdio,
    /// StandardInputText= and StandardInputData=, joined.
    pub stdin_data: Vec<u8>,
    /// TTYPath=
    pub tty_path: Option<Box<str>>,
    /// TTYReset=
    pub tty_reset: bool,
    /// TTYVHangup=
    pub tty_vhangup: bool,
    /// TTYVTDisallocate=
    pub tty_vt_disallocate: bool,
    /// SyslogIdentifier=
    pub syslog_identifier: Option<Box<str>>,
    /// SyslogLevel=, LogLevelMax= and their kin, where any is given.
    pub log: Option<Box<LogConfig>>,
    /// RuntimeDirectory=, StateDirectory=, ...
    pub directories: Vec<ManagedDirectory>,
    /// RuntimeDirectoryMode= and its kin where given, by [`DirectoryKind`]; `directories` has them applied.
    pub directory_modes: [Option<u32>; 5],
    /// RuntimeDirectoryPreserve=: 0 no, 1 restart, 2 yes.
    pub runtime_directory_preserve: u8,
    /// Directives of systemd.exec(5) that change the process and aren't acted on, by name: `why` and the
    /// spawn record name them, so that nobody believes in a sandbox that isn't there.
    pub not_applied: Vec<&'static str>,
}

/// What of a unit's output is logged, and how; systemd.exec(5), "Logging and Standard Input/Output".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// SyslogLevel=, 0 to 7; `None`: 6, info.
    pub level: Option<u8>,
    /// SyslogFacility= as syslog(3) numbers them; `None`: 3, daemon.
    pub facility: Option<u8>,
    /// SyslogLevelPrefix=no
    pub no_level_prefix: bool,
    /// LogLevelMax=
    pub level_max: Option<u8>,
    /// LogRateLimitIntervalSec= in microseconds.
    pub rate_interval_us: Option<u64>,
    /// LogRateLimitBurst=
    pub rate_burst: Option<u32>,
    /// LogExtraFields=, each as FIELD=VALUE.
    pub extra_fields: Vec<Box<str>>,
    /// LogFilterPatterns=, those that deny with their `~`.
    pub filter_patterns: Vec<Box<str>>,
}

/// KillMode=
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are systemd's words")]
pub enum KillMode {
    #[default]
    ControlGroup,
    Process,
    Mixed,
    None,
}

words!(KillMode { ControlGroup = "control-group", Process = "process", Mixed = "mixed", None = "none" });

/// systemd.kill(5)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillConfig {
    /// KillMode=
    pub mode: KillMode,
    /// KillSignal=
    pub signal: u8,
    /// RestartKillSignal=, where given.
    pub restart_signal: Option<u8>,
    /// FinalKillSignal=
    pub final_signal: u8,
    /// WatchdogSignal=
    pub watchdog_signal: u8,
    /// SendSIGKILL=
    pub send_sigkill: bool,
    /// SendSIGHUP=
    pub send_sighup: bool,
}

impl Default for KillConfig {
    fn default() -> Self {
        KillConfig {
            mode: KillMode::ControlGroup,
            signal: 15,
            restart_signal: None,
            final_signal: 9,
            watchdog_signal: 6,
            send_sigkill: true,
            send_sighup: false,
        }
    }
}

/// A limit that may be relative to what the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A number; [`INFINITY`] for none.
    Absolute(u64),
    /// Hundredths of a percent.
    Share(u32),
}

/// systemd.resource-control(5), as far as it is acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceConfig {
    /// Slice=, where given.
    pub slice: Option<UnitName>,
    /// TasksMax=; `None`: DefaultTasksMax=.
    pub tasks_max: Option<Limit>,
    /// MemoryMax=
    pub memory_max: Option<Limit>,
    /// MemoryHigh=
    pub memory_high: Option<Limit>,
    /// MemoryMin=
    pub memory_min: Option<Limit>,
    /// MemoryLow=
    pub memory_low: Option<Limit>,
    /// MemorySwapMax=
    pub memory_swap_max: Option<Limit>,
    /// IOWeight=
    pub io_weight: Option<u64>,
    /// CPUWeight=; 0 for `idle`.
    pub cpu_weight: Option<u64>,
    /// CPUQuota=, in hundredths of a percent.
    pub cpu_quota: Option<u32>,
    /// Delegate=
    pub delegate: bool,
    /// Delegate= by names of controllers; empty: all, where it delegates.
    pub delegated: Vec<&'static str>,
    /// What only few units set.
    pub more: Option<Box<crate::limits::MoreLimits>>,
}

/// What a socket unit listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Which directive.
    pub kind: ListenKind,
    /// Address or path as written, specifiers expanded.
    pub address: Box<str>,
    /// Where it stands.
    pub place: Place,
}

/// Which Listen...= directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the directives")]
pub enum ListenKind {
    Stream,
    Datagram,
    SequentialPacket,
    Fifo,
    Special,
    Netlink,
    MessageQueue,
    UsbFunction,
}

/// [Socket].
#[derive(Clone, Debug, PartialEq)]
pub struct SocketConfig {
    /// Listen...=
    pub listen: Vec<Listen>,
    /// Accept=
    pub accept: bool,
    /// Service=, where given.
    pub service: Option<UnitName>,
    /// MaxConnections=
    pub max_connections: u32,
    /// MaxConnectionsPerSource=
    pub max_connections_per_source: u32,
    /// Backlog=
    pub backlog: u32,
    /// SocketMode=
    pub mode: u32,
    /// DirectoryMode=
    pub directory_mode: u32,
    /// SocketUser=
    pub user: Option<Box<str>>,
    /// SocketGroup=
    pub group: Option<Box<str>>,
    /// FileDescriptorName=
    pub fd_name: Option<Box<str>>,
    /// RemoveOnStop=
    pub remove_on_stop: bool,
    /// Symlinks=
    pub symlinks: Vec<Box<str>>,
    /// FlushPending=
    pub flush_pending: bool,
    /// Writable= of ListenSpecial=
    pub writable: bool,
    /// BindIPv6Only=: 0 default, 1 both, 2 ipv6-only
    pub bind_ipv6_only: u8,
    /// FreeBind=
    pub free_bind: bool,
    /// ReusePort=
    pub reuse_port: bool,
    /// PassCredentials=
    pub pass_credentials: bool,
    /// PassSecurity=
    pub pass_security: bool,
    /// KeepAlive=
    pub keep_alive: bool,
    /// NoDelay=
    pub no_delay: bool,
    /// ReceiveBuffer=
    pub receive_buffer: Option<u64>,
    /// SendBuffer=
    pub send_buffer: Option<u64>,
    /// PipeSize=
    pub pipe_size: Option<u64>,
    /// Options that only the kernel acts on, where any is given.
    pub options: Option<Box<SocketOptions>>,
    /// TriggerLimitIntervalSec= (default 2 s)
    pub trigger_limit_interval: u64,
    /// TriggerLimitBurst= (default: 200 for Accept=yes, 20 otherwise); `None`: the default.
    pub trigger_limit_burst: Option<u32>,
    /// TimeoutSec=
    pub timeout: u64,
    /// ExecStartPre=, ExecStartPost=, ExecStopPre=, ExecStopPost=
    pub exec: [Vec<Command>; 4],
    /// systemd.exec(5)
    pub context: ExecConfig,
    /// systemd.kill(5)
    pub kill: KillConfig,
    /// systemd.resource-control(5)
    pub resources: ResourceConfig,
}

impl SocketConfig {
    /// The commands of a phase; those of [`ExecPhase::Stop`] are ExecStopPre=. A socket has no others.
    pub fn commands(&self, phase: ExecPhase) -> &[Command] {
        match phase {
            ExecPhase::StartPre => &self.exec[0],
            ExecPhase::StartPost => &self.exec[1],
            ExecPhase::Stop => &self.exec[2],
            ExecPhase::StopPost => &self.exec[3],
            ExecPhase::Condition | ExecPhase::Start | ExecPhase::Reload => &[],
        }
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        SocketConfig {
            listen: Vec::new(),
            accept: false,
            service: None,
            max_connections: 64,
            max_connections_per_source: 0,
            backlog: 4096,
            mode: 0o666,
            directory_mode: 0o755,
            user: None,
            group: None,
            fd_name: None,
            remove_on_stop: false,
            symlinks: Vec::new(),
            flush_pending: false,
            writable: false,
            bind_ipv6_only: 0,
            free_bind: false,
            reuse_port: false,
            pass_credentials: false,
            pass_security: false,
            keep_alive: false,
            no_delay: false,
            receive_buffer: None,
            send_buffer: None,
            pipe_size: None,
            options: None,
            trigger_limit_interval: 2_000_000,
            trigger_limit_burst: None,
            timeout: 90_000_000,
            exec: Default::default(),
            context: ExecConfig::default(),
            kill: KillConfig::default(),
            resources: ResourceConfig::default(),
        }
    }
}

/// [Timer].
#[derive(Clone, Debug, PartialEq)]
pub struct TimerConfig {
    /// On...Sec= lines.
    pub elapse: Vec<TimerElapse>,
    /// OnCalendar= lines.
    pub calendar: Vec<TimerCalendar>,
    /// Unit=, where given.
    pub unit: Option<UnitName>,
    /// AccuracySec=
    pub accuracy: u64,
    /// RandomizedDelaySec=
    pub randomized_delay: u64,
    /// Persistent=
    pub persistent: bool,
    /// RemainAfterElapse=
    pub remain_after_elapse: bool,
    /// OnClockChange=
    pub on_clock_change: bool,
    /// OnTimezoneChange=
    pub on_timezone_change: bool,
    /// FixedRandomDelay=: what the delay is made of, the same whenever this unit is on this machine.
    pub fixed_random_delay: Option<u64>,
}

impl Default for TimerConfig {
    fn default() -> Self {
        TimerConfig {
            elapse: Vec::new(),
            calendar: Vec::new(),
            unit: None,
            accuracy: 60_000_000,
            randomized_delay: 0,
            persistent: false,
            remain_after_elapse: true,
            on_clock_change: false,
            on_timezone_change: false,
            fixed_random_delay: None,
        }
    }
}

/// One On...Sec= line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerElapse {
    /// Counted from what.
    pub base: TimerBase,
    /// Microseconds.
    pub delay: u64,
    /// Where it stands.
    pub place: Place,
}

/// One OnCalendar= line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerCalendar {
    /// When it elapses.
    pub expression: Calendar,
    /// Where it stands.
    pub place: Place,
}

/// What an On...Sec= counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the directives")]
pub enum TimerBase {
    Active,
    Boot,
    Startup,
    UnitActive,
    UnitInactive,
}

/// [Path].
#[derive(Clone, Debug, PartialEq)]
pub struct PathConfig {
    /// Path...= and DirectoryNotEmpty= lines: the directive and the path.
    pub watches: Vec<(&'static str, Box<str>)>,
    /// Unit=, where given.
    pub unit: Option<UnitName>,
    /// MakeDirectory=
    pub make_directory: bool,
    /// DirectoryMode=
    pub directory_mode: u32,
    /// TriggerLimitIntervalSec=
    pub trigger_limit_interval: u64,
    /// TriggerLimitBurst=
    pub trigger_limit_burst: u32,
}

impl Default for PathConfig {
    fn default() -> Self {
        PathConfig {
            watches: Vec::new(),
            unit: None,
            make_directory: false,
            directory_mode: 0o755,
            trigger_limit_interval: 2_000_000,
            trigger_limit_burst: 200,
        }
    }
}

/// What is known of the machine and the manager when units are loaded; the loader's host fills it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environs {
    /// Whether units are loaded for a user instance or a foreground run: other roots, no default shutdown.
    pub user: bool,
    /// Whether that is a user's own instance, whose units go down with shutdown.target.
    pub user_instance: bool,
    /// Defaults of the whole, where there are any.
    pub system: Option<Arc<crate::system::SystemConfig>>,
    /// `%H`
    pub host_name: String,
    /// `%q`; empty where none is set, then the short host name stands in.
    pub pretty_host_name: String,
    /// `%m`
    pub machine_id: String,
    /// `%b`
    pub boot_id: String,
    /// `%v`
    pub kernel_release: String,
    /// `%a`
    pub architecture: String,
    /// `%u`, `%U`, `%g`, `%G`, `%h`, `%s` of the manager's user
    pub user_name: String,
    /// `%U`
    pub uid: u32,
    /// `%g`
    pub group_name: String,
    /// `%G`
    pub gid: u32,
    /// `%h`
    pub home: String,
    /// `%s`
    pub shell: String,
    /// `%t`
    pub runtime_root: String,
    /// `%S`
    pub state_root: String,
    /// `%C`
    pub cache_root: String,
    /// `%L`
    pub logs_root: String,
    /// `%E`
    pub configuration_root: String,
    /// `%T`
    pub tmp: String,
    /// `%V`
    pub var_tmp: String,
    /// Names of units that many others depend on.
    pub names: crate::implied::SharedNames,
    /// `/etc/os-release` fields for `%o`, `%w`, `%B`, `%W`, `%M`, `%A`, in that order of specifiers.
    pub os_release: [String; 6],
}
