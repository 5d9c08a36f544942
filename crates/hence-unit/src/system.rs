//! system.conf and user.conf: settings of the whole, and the defaults of directives that units leave out;
//! systemd-system.conf(5). Defaults are taken by the rows of the directives that they are defaults of. It
//! reads no files and knows not where they are.

use crate::Source;
use crate::{
    Config, Diagnostic, Level, Text, UnitName,
    config::{EmergencyAction, Environs, Kind, SourceRole},
    directive::{self, Loading, nearest},
    syntax::{self, Assignment},
};
use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};

/// Defaults that a directive of a service has the row of.
const SERVICE: [&str; 12] = [
    "TimeoutStartSec",
    "TimeoutStopSec",
    "TimeoutAbortSec",
    "RestartSec",
    "StandardOutput",
    "StandardError",
    "TasksMax",
    "OOMPolicy",
    "OOMScoreAdjust",
    "MemoryAccounting",
    "TasksAccounting",
    "CPUAccounting",
];
/// Defaults that a directive of any unit has the row of.
const UNIT: [&str; 2] = ["StartLimitIntervalSec", "StartLimitBurst"];
/// Settings of the whole.
const OWN: [&str; 4] =
    ["DefaultDeviceTimeoutSec", "DefaultEnvironment", "CtrlAltDelBurstAction", "ShowStatus"];
/// What is taken and changes nothing here.
const ACCEPTED: [&str; 36] = [
    "CPUAffinity",
    "CapabilityBoundingSet",
    "CrashAction",
    "CrashChangeVT",
    "CrashReboot",
    "CrashShell",
    "DefaultBlockIOAccounting",
    "DefaultIOAccounting",
    "DefaultIPAccounting",
    "DefaultMemoryPressureThresholdSec",
    "DefaultMemoryPressureWatch",
    "DefaultSmackProcessLabel",
    "DefaultTimerAccuracySec",
    "DumpCore",
    "KExecWatchdogSec",
    "LogColor",
    "LogLevel",
    "LogLocation",
    "LogTarget",
    "LogTime",
    "ManagerEnvironment",
    "NUMAMask",
    "NUMAPolicy",
    "NoNewPrivileges",
    "ProtectSystem",
    "RebootWatchdogSec",
    "ReloadLimitBurst",
    "ReloadLimitIntervalSec",
    "RuntimeWatchdogPreGovernor",
    "RuntimeWatchdogPreSec",
    "RuntimeWatchdogSec",
    "ShutdownWatchdogSec",
    "StatusUnitFormat",
    "SystemCallArchitectures",
    "TimerSlackNSec",
    "WatchdogDevice",
];

/// Settings of the whole.
#[derive(Clone, Debug, PartialEq)]
pub struct SystemConfig {
    /// A service that leaves out everything.
    defaults: Config,
    /// Whether [`SystemConfig::give`] changes anything.
    gives: bool,
    /// DefaultEnvironment=, assignments.
    pub environment: Vec<Box<str>>,
    /// ShowStatus=; `None` where it isn't given.
    pub show_status: Option<bool>,
    /// DefaultDeviceTimeoutSec=, in microseconds.
    pub device_timeout: u64,
    /// CtrlAltDelBurstAction=
    pub ctrl_alt_del_burst: EmergencyAction,
    /// What was wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl Default for SystemConfig {
    fn default() -> Self {
        SystemConfig {
            defaults: Config::stub(name()),
            gives: false,
            environment: Vec::new(),
            show_status: None,
            device_timeout: crate::mount::TIMEOUT_US,
            ctrl_alt_del_burst: EmergencyAction::RebootForce,
            diagnostics: Vec::new(),
        }
    }
}

fn name() -> UnitName {
    UnitName::new("default.service").expect("a valid name")
}

/// Takes the files in their order, each with its path: later ones win.
pub fn parse(files: &[(Text, String)], environs: &Environs) -> SystemConfig {
    let mut system = SystemConfig::default();
    for (path, text) in files {
        let (assignments, diagnostics) = syntax::parse(path, text);
        system.diagnostics.extend(diagnostics);
        let source = system.defaults.sources.len() as u16;
        system.defaults.sources.push(Source { path: path.clone(), role: SourceRole::Fragment });
        for assignment in &assignments {
            system.take(assignment, source, environs);
        }
    }
    system
}

impl SystemConfig {
    fn take(&mut self, assignment: &Assignment, source: u16, environs: &Environs) {
        if &*assignment.section != "Manager" {
            if !assignment.section.starts_with("X-") {
                let message = format!("section [{}] has no meaning here", assignment.section);
                self.diagnose("unknown-section", assignment, message, Some("write [Manager]".into()));
            }
            return;
        }
        let key = &*assignment.key;
        let directive = key.strip_prefix("Default").unwrap_or("");
        let limit = directive.starts_with("Limit") && directive::find("Service", directive).is_some();
        if SERVICE.contains(&directive) || limit {
            self.apply("Service", directive, assignment, source, environs);
        } else if UNIT.contains(&directive) {
            self.apply("Unit", directive, assignment, source, environs);
        } else if key == "DefaultStartLimitInterval" {
            self.apply("Unit", "StartLimitIntervalSec", assignment, source, environs);
        } else if key == "DefaultEnvironment" {
            let mut all = core::mem::take(&mut self.environment);
            let defaults = self.defaults.clone();
            self.apply("Service", "Environment", assignment, source, environs);
            let applied = core::mem::replace(&mut self.defaults, defaults);
            if assignment.value.is_empty() {
                all.clear();
            }
            if let Kind::Service(service) = &applied.kind {
                all.extend(service.context.environment.iter().cloned());
            }
            self.environment = all;
        } else if key == "CtrlAltDelBurstAction" {
            let defaults = self.defaults.clone();
            self.apply("Unit", "FailureAction", assignment, source, environs);
            self.ctrl_alt_del_burst = self.defaults.failure_action;
            self.defaults = defaults;
        } else if key == "DefaultDeviceTimeoutSec" {
            let defaults = self.defaults.clone();
            self.apply("Unit", "JobRunningTimeoutSec", assignment, source, environs);
            self.device_timeout = self.defaults.job_running_timeout;
            self.defaults = defaults;
        } else if key == "ShowStatus" {
            match &*assignment.value {
                "1" | "y" | "yes" | "true" | "on" | "auto" | "error" => self.show_status = Some(true),
                "0" | "n" | "no" | "false" | "off" => self.show_status = Some(false),
                _ => {
                    let message = format!("ShowStatus= has no use for {:?}", assignment.value);
                    self.diagnose("bad-value", assignment, message, Some("write yes or no".into()));
                }
            }
        } else if !ACCEPTED.contains(&key) {
            let of_services = SERVICE.iter().chain(&UNIT).map(|d| format!("Default{d}"));
            let mut known: Vec<String> = of_services.collect();
            known.extend(ACCEPTED.iter().map(|a| String::from(*a)));
            known.extend(OWN.map(String::from));
            let fix = nearest(key, known.iter().map(String::as_str)).map(|n| format!("did you mean {n}=?"));
            self.diagnose("unknown-directive", assignment, format!("{key}= is no setting of [Manager]"), fix);
        }
    }

    fn apply(
        &mut self,
        section: &str,
        directive: &str,
        assignment: &Assignment,
        source: u16,
        environs: &Environs,
    ) {
        let unit = name();
        let as_unit = Assignment { section: section.into(), key: directive.into(), ..assignment.clone() };
        let mut loading = Loading { unit: &unit, environs, config: &mut self.defaults, source };
        directive::apply(&mut loading, &as_unit);
        self.diagnostics.append(&mut self.defaults.diagnostics);
        self.gives = true;
    }

    fn diagnose(
        &mut self,
        rule: &'static str,
        assignment: &Assignment,
        message: String,
        fix: Option<String>,
    ) {
        let place = assignment.place.clone();
        self.diagnostics.push(Diagnostic { rule, level: Level::Warning, place, message, fix });
    }

    /// Gives a unit the defaults, before its files are applied.
    pub(crate) fn give(&self, config: &mut Config) {
        if !self.gives {
            return;
        }
        let Kind::Service(from) = &self.defaults.kind else { return };
        config.start_limit_interval = self.defaults.start_limit_interval;
        config.start_limit_burst = self.defaults.start_limit_burst;
        match &mut config.kind {
            Kind::Service(service) => {
                let service = Arc::make_mut(service);
                service.timeout_start = from.timeout_start;
                service.timeout_stop = from.timeout_stop;
                service.timeout_abort = from.timeout_abort;
                service.restart_delay = from.restart_delay;
                service.oom_policy = from.oom_policy;
                service.context = from.context.clone();
                service.resources = from.resources.clone();
            }
            Kind::Socket(socket) => {
                socket.context = from.context.clone();
                socket.resources = from.resources.clone();
            }
            Kind::Mount(mount) => {
                mount.timeout = from.timeout_start;
                mount.context = from.context.clone();
                mount.resources = from.resources.clone();
            }
            Kind::Swap(swap) => {
                swap.timeout = from.timeout_start;
                swap.context = from.context.clone();
                swap.resources = from.resources.clone();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limit;
    use alloc::vec;

    fn of(text: &str) -> SystemConfig {
        parse(&[("/etc/systemd/system.conf".into(), text.into())], &Environs::default())
    }

    #[test]
    fn defaults_reach_units() {
        let system =
            of("[Manager]\nDefaultTimeoutStopSec=7s\nDefaultTasksMax=33\nDefaultLimitNOFILE=100:200\n\
             DefaultStartLimitBurst=9\nDefaultRestartSec=2s\nDefaultEnvironment=\"A=b c\" D=e\n\
             CtrlAltDelBurstAction=poweroff-force\nDefaultDeviceTimeoutSec=7\n\
             RuntimeWatchdogSec=off\nShowStatus=no\n");
        assert_eq!(system.diagnostics, vec![]);
        assert_eq!(system.environment.iter().map(|e| &**e).collect::<Vec<_>>(), ["A=b c", "D=e"]);
        assert_eq!(system.ctrl_alt_del_burst, EmergencyAction::PoweroffForce);
        assert_eq!(system.show_status, Some(false));
        assert_eq!(system.device_timeout, 7_000_000);
        let mut config = Config::stub(UnitName::new("a.service").expect("a valid name"));
        system.give(&mut config);
        let service = config.service().expect("a service");
        assert_eq!((service.timeout_stop, service.restart_delay), (7_000_000, 2_000_000));
        assert_eq!(service.resources.tasks_max, Some(Limit::Absolute(33)));
        assert_eq!(service.context.limits.len(), 1);
        assert!(service.context.environment.is_empty() && config.settings.is_empty());
        assert_eq!(config.start_limit_burst, 9);
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        let system = of("[Manager]\nDefaultTimeoutStopSec=soon\nDefaultTaskMax=1\n[Unit]\nDescription=x\n");
        let told: Vec<(u32, &str)> = system.diagnostics.iter().map(|d| (d.place.line, d.rule)).collect();
        assert_eq!(told, [(2, "bad-value"), (3, "unknown-directive"), (5, "unknown-section")]);
        let mended = system.diagnostics[1].fix.as_deref();
        assert_eq!(mended, Some("did you mean DefaultTasksMax=?"));
    }
}
