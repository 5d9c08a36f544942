//! Rules about sockets, timers and paths, and the units that they start.

use super::{Change, Check, Edit, Findings, Level, LintUnit, Rule, Scope, World};
use crate::{
    Dependency, DependencyKind as Kinds, Origin, UnitKind, UnitName,
    config::{Kind, ServiceType, TimerBase},
};
use alloc::{format, string::String};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "trigger-nowhere",
        level: Level::Error,
        says: "The unit that a socket, timer or path starts doesn't exist.",
        why: "A socket without its service is refused; a timer or path elapses and fails each time. A \
              socket with \
              Accept=yes needs a template, one without needs a plain service.",
        page: "systemd.socket(5)",
        bad: "-- foo.socket --\n[Socket]\nListenStream=/run/foo\nAccept=yes\n-- foo.service --\n[Service]\n\
              ExecStart=/usr/bin/foo\n",
        good: "-- foo.socket --\n[Socket]\nListenStream=/run/foo\n-- foo.service --\n[Service]\n\
               ExecStart=/usr/bin/foo\n",
        check: Check::Unit(nowhere),
    },
    Rule {
        id: "trigger-pulls-unit",
        level: Level::Warning,
        says: "A timer or path pulls in the unit that it is to start later.",
        why: "Requires= or Wants= starts it at once with the timer, at each boot, whatever the timer says.",
        page: "systemd.timer(5)",
        bad: "-- foo.timer --\n[Unit]\nRequires=foo.service\n[Timer]\nOnCalendar=daily\n-- foo.service --\n\
              [Service]\n\
              Type=oneshot\nExecStart=/usr/bin/foo\n",
        good: "-- foo.timer --\n[Timer]\nOnCalendar=daily\n-- foo.service --\n[Service]\nType=oneshot\n\
               ExecStart=/usr/bin/foo\n",
        check: Check::Unit(pulls_unit),
    },
    Rule {
        id: "timer-runs-once",
        level: Level::Warning,
        says: "A timer that is to elapse again and again starts a service that stays active.",
        why: "With RemainAfterExit=yes the service is active after its first run; starting what is active \
              does \
              nothing, so that it never runs again.",
        page: "systemd.timer(5)",
        bad: "-- foo.timer --\n[Timer]\nOnCalendar=daily\n-- foo.service --\n[Service]\nType=oneshot\n\
              ExecStart=/usr/bin/foo\nRemainAfterExit=yes\n",
        good: "-- foo.timer --\n[Timer]\nOnCalendar=daily\n-- foo.service --\n[Service]\nType=oneshot\n\
               ExecStart=/usr/bin/foo\n",
        check: Check::Unit(runs_once),
    },
    Rule {
        id: "timer-never-begins",
        level: Level::Warning,
        says: "The timer only counts from the last time that its unit was up or down.",
        why: "OnUnitActiveSec= and OnUnitInactiveSec= repeat; a unit that was never started has no such \
              time, so \
              that the timer waits for ever. Add OnBootSec= or OnActiveSec=.",
        page: "systemd.timer(5)",
        bad: "-- foo.timer --\n[Timer]\nOnUnitActiveSec=1h\n-- foo.service --\n[Service]\nType=oneshot\n\
              ExecStart=/usr/bin/foo\n",
        good: "-- foo.timer --\n[Timer]\nOnBootSec=5min\nOnUnitActiveSec=1h\n-- foo.service --\n[Service]\n\
               Type=oneshot\nExecStart=/usr/bin/foo\n",
        check: Check::Unit(never_begins),
    },
    Rule {
        id: "persistent-without-calendar",
        level: Level::Note,
        says: "Persistent=yes has no effect on a timer without OnCalendar=.",
        why: "What was missed while the machine was off is made up for with OnCalendar= only.",
        page: "systemd.timer(5)",
        bad: "-- foo.timer --\n[Timer]\nOnBootSec=5min\nPersistent=yes\n-- foo.service --\n[Service]\n\
              Type=oneshot\n\
              ExecStart=/usr/bin/foo\n",
        good: "-- foo.timer --\n[Timer]\nOnCalendar=hourly\nPersistent=yes\n-- foo.service --\n[Service]\n\
               Type=oneshot\n\
               ExecStart=/usr/bin/foo\n",
        check: Check::Unit(persistent),
    },
    Rule {
        id: "path-loop",
        level: Level::Warning,
        says: "A path unit starts a service again as soon as it ends, for as long as what it looks for is \
               there.",
        why: "PathExists= and DirectoryNotEmpty= are looked at again when the service ends: a service that \
              leaves \
              the file where it is runs in a loop until the trigger limit ends it. It has to remove the \
              file, or \
              the path unit watches with PathChanged=.",
        page: "systemd.path(5)",
        bad: "-- foo.path --\n[Path]\nPathExists=/etc/hosts\n-- foo.service --\n[Service]\nType=oneshot\n\
              ExecStart=/usr/bin/foo\n",
        good: "-- foo.path --\n[Path]\nPathChanged=/etc/hosts\n-- foo.service --\n[Service]\nType=oneshot\n\
               ExecStart=/usr/bin/foo\n",
        check: Check::Unit(path_loop),
    },
];

/// The unit that this one starts, by its kind.
fn triggered(unit: &LintUnit) -> Option<UnitName> {
    let default = || unit.config.id().with_kind(UnitKind::Service);
    match &unit.config.kind {
        Kind::Socket(socket) if socket.accept => {
            UnitName::new(&format!("{}@.service", unit.config.id().prefix()))
        }
        Kind::Socket(socket) => Some(socket.service.clone().unwrap_or_else(default)),
        Kind::Timer(timer) => Some(timer.unit.clone().unwrap_or_else(default)),
        Kind::Path(path) => Some(path.unit.clone().unwrap_or_else(default)),
        _ => None,
    }
}

fn exists(world: &World<'_>, name: &UnitName) -> bool {
    match name.is_template() {
        true => name.with_instance(super::world::INSTANCE).is_some_and(|n| world.exists(&n)),
        false => world.exists(name),
    }
}

fn nowhere(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Some(name) = triggered(unit) else { return };
    let config = &unit.config;
    let named = matches!(&config.kind, Kind::Socket(s) if s.service.is_some())
        || matches!(&config.kind, Kind::Timer(t) if t.unit.is_some())
        || matches!(&config.kind, Kind::Path(p) if p.unit.is_some());
    if exists(world, &name) || (named && world.scope != Scope::System) {
        return;
    }
    let shown = match unit.template {
        true => name.template().map_or_else(|| String::from(name.as_str()), |t| t.as_str().into()),
        false => name.as_str().into(),
    };
    // Whoever keeps the system log gives its service this name; systemd.special(7).
    if name.as_str() == "syslog.service" {
        return;
    }
    // What listens for a protocol of the kernel alone, or only keeps a FIFO, still needs its service.
    let other = match &config.kind {
        Kind::Socket(socket) if socket.accept => config.id().with_kind(UnitKind::Service),
        Kind::Socket(_) => UnitName::new(&format!("{}@.service", config.id().prefix())).unwrap_or(name),
        _ => name,
    };
    // Several sockets may belong to one service, which then names them; aliases are other names of it.
    let by_sockets = world.dependents(config.id()).iter().any(|(_, kind)| *kind == Kinds::TriggeredBy);
    if by_sockets {
        return;
    }
    let is_there = exists(world, &other);
    let fix = match &config.kind {
        Kind::Socket(s) if s.accept && is_there => format!("write Accept=no, or rename {other} to {shown}"),
        Kind::Socket(_) if is_there => "write Accept=yes: there is a template for connections".into(),
        _ => format!("add {shown}, or name the unit that is meant"),
    };
    let directive = match &config.kind {
        Kind::Socket(_) if named => "Service",
        Kind::Socket(_) => "Accept",
        _ => "Unit",
    };
    // Without the rest of the system it may be that another package has it.
    let level = if world.scope == Scope::System || is_there { Level::Error } else { Level::Warning };
    let message = format!("it starts {shown}, and there is no such unit");
    findings.add_at(level, unit.place(directive), message, &fix);
}

fn pulls_unit(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    if !matches!(unit.config.id().kind(), UnitKind::Timer | UnitKind::Path) {
        return;
    }
    let Some(name) = triggered(unit) else { return };
    let pulls = |d: &&Dependency| {
        matches!(d.kind, Kinds::Requires | Kinds::Wants | Kinds::BindsTo | Kinds::Upholds)
            && d.other == name
            && matches!(d.origin, Origin::Directive(_))
    };
    let what = if unit.config.id().kind() == UnitKind::Timer { "timer" } else { "path unit" };
    if let Some(dependency) = unit.config.dependencies.iter().find(pulls) {
        let kind = dependency.kind.name();
        let message = format!("{kind}={name} starts it together with the {what}, which is to start it later");
        findings.add(super::requirement::place_of(unit, dependency), message, "remove it");
    }
}

fn runs_once(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Kind::Timer(timer) = &unit.config.kind else { return };
    let again = !timer.calendar.is_empty() || timer.elapse.iter().any(|e| e.base == TimerBase::UnitActive);
    let Some(other) = triggered(unit).filter(|_| again).and_then(|name| world.config(&name)) else { return };
    let Some(service) = other.service().filter(|s| s.remain_after_exit) else { return };
    if service.service_type == ServiceType::Oneshot {
        let message =
            format!("{} stays active after its first run: the timer never runs it again", other.id());
        let directive = if timer.calendar.is_empty() { "OnUnitActiveSec" } else { "OnCalendar" };
        let fix = format!("remove RemainAfterExit=yes from {}", other.id());
        findings.add(unit.place(directive), message, &fix);
    }
}

fn never_begins(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Kind::Timer(timer) = &unit.config.kind else { return };
    let repeats = |base| matches!(base, TimerBase::UnitActive | TimerBase::UnitInactive);
    let only = !timer.elapse.is_empty() && timer.elapse.iter().all(|e| repeats(e.base));
    let events = unit.last("OnClockChange").is_some() || unit.last("OnTimezoneChange").is_some();
    if !only || !timer.calendar.is_empty() || events {
        return;
    }
    // Others may start the unit for the first time.
    let name = triggered(unit);
    let pulls =
        |(_, kind): &(UnitName, Kinds)| matches!(kind, Kinds::Wants | Kinds::Requires | Kinds::BindsTo);
    let begun = name.as_ref().is_some_and(|name| {
        let installs =
            |c: &crate::Config| c.install.wanted_by.iter().chain(&c.install.required_by).count() > 0;
        world.dependents(name).iter().any(pulls) || world.config(name).is_some_and(|c| installs(&c))
    });
    if begun {
        return;
    }
    let first = &timer.elapse[0];
    let message = "the timer counts from runs of its unit only: nothing begins the first one".into();
    findings.add(first.place.clone(), message, "add OnBootSec= or OnActiveSec=");
}

fn persistent(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Kind::Timer(timer) = &unit.config.kind else { return };
    let Some(line) = unit.last("Persistent").filter(|_| timer.persistent && timer.calendar.is_empty()) else {
        return;
    };
    let message = "Persistent=yes has no effect without OnCalendar=".into();
    let finding = findings.add(line.place.clone(), message, "remove it");
    let (first, last) = (line.place.line, line.place.line);
    finding.mended_by(Edit { file: line.place.file.clone(), change: Change::Remove { first, last } });
}

fn path_loop(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    /// Files and folders of the system that no service removes.
    const STAYS: [&str; 5] = ["/etc/", "/usr/", "/bin/", "/lib/", "/boot/"];
    let Kind::Path(path) = &unit.config.kind else { return };
    let there = |(directive, path): &&(&'static str, alloc::boxed::Box<str>)| {
        matches!(*directive, "PathExists" | "DirectoryNotEmpty") && STAYS.iter().any(|s| path.starts_with(s))
    };
    let Some((directive, watched)) = path.watches.iter().find(there) else { return };
    let Some(other) = triggered(unit).and_then(|name| world.config(&name)) else { return };
    let ends =
        other.service().is_some_and(|s| s.service_type == ServiceType::Oneshot && !s.remain_after_exit);
    let removes = other.conditions.iter().any(|c| c.check.starts_with("Path"));
    if ends && !removes {
        let message = format!("{directive}={watched} starts {} again whenever it ends", other.id());
        findings.add(unit.place(directive), message, "write PathChanged=, or have the service remove it");
    }
}
