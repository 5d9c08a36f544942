//! Rules about what a unit needs: requirements that drag it down, that order nothing, or that can't be met.

use super::{
    Check, Findings, Level, LintUnit, Rule, Scope, World, restart, span,
    world::{is_systems_own, named},
};
use crate::{
    Config, Dependency, DependencyKind as Kinds, Origin, UnitKind, UnitName,
    config::{Restart, ServiceType},
    directive::nearest,
};
use alloc::{collections::BTreeSet, format, rc::Rc, string::String, vec::Vec};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "requires-drags-down",
        level: Level::Note,
        says: "The unit is taken down whenever a service that restarts itself is restarted.",
        why: "Requires= and BindsTo= pass a stop and a restart on. A dependency that fails and is \
              restarted, for \
              ever if its start limit can't be reached, takes the unit down and up each time: that is how a \
              broken collector of metrics restarts the service that it watches. Wants= starts it as well and \
              leaves the unit alone; keep Requires= for what the unit can't work without.",
        page: "systemd.unit(5)",
        bad: "-- foo.service --\n[Unit]\nRequires=collector.service\nAfter=collector.service\n[Service]\n\
              ExecStart=/usr/bin/foo\n-- collector.service --\n[Service]\nExecStart=/usr/bin/collector\n\
              Restart=always\nRestartSec=5\n",
        good: "-- foo.service --\n[Unit]\nWants=collector.service\nAfter=collector.service\n[Service]\n\
               ExecStart=/usr/bin/foo\n-- collector.service --\n[Service]\nExecStart=/usr/bin/collector\n\
               Restart=always\nRestartSec=5\n",
        check: Check::Unit(drags_down),
    },
    Rule {
        id: "requirement-without-order",
        level: Level::Warning,
        says: "The unit requires another one and is not ordered after it.",
        why: "Requirements say nothing of order: both are started at once. The unit may run before what it \
              requires is there, a failed start of the other one doesn't keep it from starting, and BindsTo= \
              does not hold as strictly. Add After=.",
        page: "systemd.unit(5)",
        bad: "[Unit]\nRequires=db.service\n[Service]\nExecStart=/usr/bin/foo\n",
        good: "[Unit]\nRequires=db.service\nAfter=db.service\n[Service]\nExecStart=/usr/bin/foo\n",
        check: Check::Unit(without_order),
    },
    Rule {
        id: "missing-unit",
        level: Level::Error,
        says: "The unit requires one that doesn't exist.",
        why: "Its start fails at once: \"Unit not found\".",
        page: "systemd.unit(5)",
        bad: "-- image --\n-- foo.service --\n[Unit]\nRequires=dbb.service\nAfter=dbb.service\n[Service]\n\
              ExecStart=/usr/bin/foo\n-- db.service --\n[Service]\nExecStart=/usr/bin/foo\n-- /usr/bin/foo \
              --\n",
        good: "-- image --\n-- foo.service --\n[Unit]\nRequires=db.service\nAfter=db.service\n[Service]\n\
               ExecStart=/usr/bin/foo\n-- db.service --\n[Service]\nExecStart=/usr/bin/foo\n-- \
               /usr/bin/foo --\n",
        check: Check::Unit(missing),
    },
    Rule {
        id: "conflicts-with-requirement",
        level: Level::Error,
        says: "The unit conflicts with one that it requires.",
        why: "It can never start: the transaction would start and stop the other unit at once.",
        page: "systemd.unit(5)",
        bad: "[Unit]\nRequires=db.service\nAfter=db.service\nConflicts=db.service\n[Service]\n\
              ExecStart=/usr/bin/foo\n",
        good: "[Unit]\nRequires=db.service\nAfter=db.service\nConflicts=old-db.service\n[Service]\n\
               ExecStart=/usr/bin/foo\n",
        check: Check::Unit(conflicts),
    },
    Rule {
        id: "network-online-not-wanted",
        level: Level::Warning,
        says: "The unit is ordered after network-online.target and doesn't pull it in.",
        why: "Nothing waits for the network unless something wants the target: After= alone orders after a \
              target \
              that isn't started, which is no order at all. Add Wants=network-online.target.",
        page: "systemd.special(7)",
        bad: "[Unit]\nAfter=network-online.target\n[Service]\nExecStart=/usr/bin/foo\n",
        good: "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\n\
               ExecStart=/usr/bin/foo\n",
        check: Check::Unit(network_online),
    },
    Rule {
        id: "passive-target-pulled",
        level: Level::Note,
        says: "The unit pulls in a target that is there to be ordered after.",
        why: "The target is started by who provides it. Pulled in without one it is reached at once and \
              says that \
              something is up which isn't. Write After= alone.",
        page: "systemd.special(7)",
        bad: "[Unit]\nRequires=network.target\nAfter=network.target\n[Service]\nExecStart=/usr/bin/foo\n",
        good: "[Unit]\nAfter=network.target\n[Service]\nExecStart=/usr/bin/foo\n",
        check: Check::Unit(passive_target),
    },
    Rule {
        id: "part-of-alone",
        level: Level::Note,
        says: "PartOf= names a target that doesn't start the unit.",
        why: "PartOf= passes stops and restarts on, not starts: when the other unit starts again, this one \
              stays \
              down, unless something else pulls it in. Let the other unit want it, with WantedBy= in \
              [Install].",
        page: "systemd.unit(5)",
        bad: "-- foo.service --\n[Unit]\nPartOf=app.target\n[Service]\nExecStart=/usr/bin/foo\n-- \
              app.target --\n\
              [Unit]\nDescription=app\n",
        good: "-- foo.service --\n[Unit]\nPartOf=app.target\n[Service]\nExecStart=/usr/bin/foo\n[Install]\n\
               WantedBy=app.target\n-- app.target --\n[Unit]\nDescription=app\n",
        check: Check::Unit(part_of),
    },
    Rule {
        id: "on-failure-loop",
        level: Level::Warning,
        says: "OnFailure= leads back to the unit.",
        why: "When the unit that reports failures fails itself, it starts itself again, for ever; a \
              drop-in for all \
              services (service.d) makes it so for the reporting service, too. Give that one a drop-in of \
              its own \
              with an empty OnFailure=.",
        page: "systemd.unit(5)",
        bad: "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n-- report@.service --\n[Service]\n\
              Type=oneshot\n\
              ExecStart=/usr/bin/report %i\n-- service.d/report.conf --\n[Unit]\n\
              OnFailure=report@%n.service\n",
        good: "-- foo.service --\n[Unit]\nOnFailure=report@%n.service\n[Service]\nExecStart=/usr/bin/foo\n\
               -- report@.service --\n[Service]\nType=oneshot\nExecStart=/usr/bin/report %i\n",
        check: Check::Unit(on_failure),
    },
];

/// Dependencies that stand in a file.
fn declared(config: &Config) -> impl Iterator<Item = &Dependency> {
    config.dependencies.iter().filter(|d| matches!(d.origin, Origin::Directive(_)))
}

/// The place of a dependency.
pub(super) fn place_of(unit: &LintUnit, dependency: &Dependency) -> crate::Place {
    match &dependency.origin {
        Origin::Directive(position) => unit.at(*position),
        Origin::Implied(implied) => implied.position.map_or_else(|| unit.head(), |p| unit.at(p)),
        Origin::Folder(link) => super::file_place(link),
        Origin::Default => unit.head(),
    }
}

fn requires(kind: Kinds) -> bool {
    matches!(kind, Kinds::Requires | Kinds::BindsTo)
}

/// Given units that are taken down with this one, directly or through others.
fn dragged(world: &World<'_>, from: &UnitName) -> BTreeSet<UnitName> {
    let mut found = BTreeSet::new();
    let mut next = Vec::from([from.clone()]);
    while let Some(name) = next.pop() {
        for (dependent, kind) in world.dependents(&name) {
            let passes = requires(*kind) || *kind == Kinds::PartOf;
            if passes && found.insert(dependent.clone()) {
                next.push(dependent.clone());
            }
        }
    }
    found
}

fn drags_down(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    if config.service().is_some_and(|s| s.service_type == ServiceType::Oneshot && !s.remain_after_exit) {
        return;
    }
    for dependency in declared(config).filter(|d| requires(d.kind) && d.other.kind() == UnitKind::Service) {
        let Some(other) = world.config(&dependency.other) else { continue };
        let Some(service) = other.service().filter(|s| s.restart != Restart::No) else { continue };
        // What belongs together is stopped together on purpose.
        let family = |name: &UnitName| name.prefix().split(['-', '.']).next().map(String::from);
        let twice = declared(config)
            .take_while(|d| *d != dependency)
            .any(|d| requires(d.kind) && d.other == dependency.other);
        let own = twice
            || family(&dependency.other) == family(config.id())
            || declared(config).any(|d| d.kind == Kinds::PartOf && d.other == dependency.other);
        if own {
            continue;
        }
        let endless = !restart::limit_fires(&other, service);
        let level = if endless && dependency.kind == Kinds::Requires { Level::Warning } else { Level::Note };
        let dragged = dragged(world, &dependency.other);
        let others = named(dragged.iter().filter(|n| **n != dependency.other).map(|n| n.as_str()));
        let every = if endless {
            format!(", every {} for as long as it fails", span(service.restart_delay))
        } else {
            "".into()
        };
        let message = format!(
            "{}={}: each restart of it (Restart={}{every}) takes down {others}",
            dependency.kind.name(),
            dependency.other,
            service.restart.as_str()
        );
        let fix = format!("write Wants={} if the unit can do without it for a while", dependency.other);
        findings.add_at(level, place_of(unit, dependency), message, &fix);
    }
}

/// Whether the unit is started before the others of the system by default: sockets, mounts and the like.
fn is_early(name: &UnitName, other: Option<&Rc<Config>>) -> bool {
    match other {
        Some(config) => !config.flags.default_dependencies,
        None => is_systems_own(name),
    }
}

fn without_order(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    if !matches!(config.id().kind(), UnitKind::Service) {
        return;
    }
    for dependency in declared(config) {
        let strict = requires(dependency.kind) || dependency.kind == Kinds::Requisite;
        let other = &dependency.other;
        let kinds = matches!(other.kind(), UnitKind::Service | UnitKind::Device);
        if !strict || !kinds || (other.kind() == UnitKind::Device && dependency.kind != Kinds::BindsTo) {
            continue;
        }
        let theirs = world.config(other);
        if is_early(other, theirs.as_ref()) {
            continue;
        }
        let names = |config: &Config, name: &UnitName| {
            let ordered = |d: &Dependency| matches!(d.kind, Kinds::After | Kinds::Before) && d.other == *name;
            config.dependencies.iter().any(ordered)
        };
        let ordered = names(config, other)
            || theirs.as_ref().is_some_and(|c| {
                names(c, config.id()) || names(config, c.id()) || c.aliases.iter().any(|a| names(config, a))
            })
            || ordered_through(config, other, world);
        if ordered {
            continue;
        }
        // One that isn't here may be ordered before this one by its own file.
        let (level, end) = match theirs {
            Some(_) => (Level::Warning, "both start at once".into()),
            None => (Level::Note, format!("both start at once, unless {other} has Before={}", unit.shown())),
        };
        let message = format!("{}={other} without After={other}: {end}", dependency.kind.name());
        findings.add_at(level, place_of(unit, dependency), message, &format!("add After={other}"));
    }
}

/// Whether the unit starts after one that starts after the other.
fn ordered_through(config: &Config, other: &UnitName, world: &World<'_>) -> bool {
    let after = |c: &Config, name: &UnitName| {
        c.dependencies.iter().any(|d| d.kind == Kinds::After && d.other == *name)
    };
    let through = config.dependencies.iter().filter(|d| d.kind == Kinds::After);
    let mut through = through.filter_map(|d| world.config(&d.other));
    through.any(|c| after(&c, other) || world.config(other).is_some_and(|o| before(&o, c.id())))
}

fn before(config: &Config, name: &UnitName) -> bool {
    config.dependencies.iter().any(|d| d.kind == Kinds::Before && d.other == *name)
}

fn missing(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    for dependency in declared(&unit.config) {
        let strict = requires(dependency.kind) || dependency.kind == Kinds::Requisite;
        let other = &dependency.other;
        let by_itself =
            matches!(other.kind(), UnitKind::Device | UnitKind::Slice | UnitKind::Scope | UnitKind::Mount);
        let absent =
            !(by_itself || unit.template && other.contains(super::world::INSTANCE) || world.exists(other));
        if !strict || !absent {
            continue;
        }
        let given = world.given().iter().map(|u| u.config.id());
        let alike = given.filter(|n| n.kind() == other.kind() && *n != unit.config.id());
        let near = nearest(other.stem(), alike.map(|n| n.stem()));
        // In a part of a system it may be elsewhere, unless it is all but named like one that is there.
        let near = near.filter(|near| near.len().abs_diff(other.stem().len()) <= 1 && other.stem().len() > 3);
        if world.scope != Scope::System {
            continue;
        }
        let kind = dependency.kind.name();
        let message = format!("{kind}={other}: there is no such unit, and the start of this one fails");
        let fix = near.map_or_else(
            || format!("install it, or write Wants={other}"),
            |near| format!("did you mean {near}.{}?", other.kind().suffix()),
        );
        findings.add(place_of(unit, dependency), message, &fix);
    }
}

fn conflicts(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    for conflict in declared(config).filter(|d| d.kind == Kinds::Conflicts) {
        let required = config
            .dependencies
            .iter()
            .find(|d| d.other == conflict.other && (requires(d.kind) || d.kind == Kinds::Requisite));
        if let Some(required) = required {
            let message = format!(
                "Conflicts={} and {}={0}: the unit can never start",
                conflict.other,
                required.kind.name()
            );
            findings.add(place_of(unit, conflict), message, "remove one of both");
        }
    }
}

fn network_online(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    const TARGET: &str = "network-online.target";
    let config = &unit.config;
    let named = |d: &&Dependency| d.other.as_str() == TARGET;
    let Some(after) = declared(config).filter(|d| d.kind == Kinds::After).find(named) else { return };
    let pulled = config
        .dependencies
        .iter()
        .filter(named)
        .any(|d| requires(d.kind) || matches!(d.kind, Kinds::Wants | Kinds::Requisite | Kinds::Upholds));
    // A unit that is started by another one which wants it has it.
    let through = |d: &Dependency| {
        let pulls =
            |d: &Dependency| d.other.as_str() == TARGET && (requires(d.kind) || d.kind == Kinds::Wants);
        (requires(d.kind) || matches!(d.kind, Kinds::Wants | Kinds::PartOf | Kinds::TriggeredBy))
            && world.config(&d.other).is_some_and(|c| c.dependencies.iter().any(pulls))
    };
    let pulled = pulled || config.dependencies.iter().any(through);
    let by = |(name, kind): &(UnitName, Kinds)| {
        let starts = requires(*kind) || matches!(kind, Kinds::Wants | Kinds::Triggers);
        let pulls =
            |d: &Dependency| d.other.as_str() == TARGET && (requires(d.kind) || d.kind == Kinds::Wants);
        starts && world.config(name).is_some_and(|c| c.dependencies.iter().any(pulls))
    };
    let wanted = config.install.wanted_by.iter().chain(&config.install.required_by);
    let target = wanted.into_iter().any(|by| &**by == TARGET);
    if !pulled && !target && !world.dependents(config.id()).iter().any(by) {
        let message =
            "After=network-online.target without Wants=: it only waits if another unit pulls the target in"
                .into();
        findings.add(place_of(unit, after), message, "add Wants=network-online.target");
    }
}

/// Targets that those start who provide what they stand for.
const PASSIVE: [&str; 8] = [
    "network.target",
    "network-pre.target",
    "nss-lookup.target",
    "nss-user-lookup.target",
    "rpcbind.target",
    "time-set.target",
    "time-sync.target",
    "remote-fs-pre.target",
];

fn passive_target(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    if config.id().kind() == UnitKind::Target {
        return;
    }
    for dependency in declared(config) {
        let pulls = requires(dependency.kind) || dependency.kind == Kinds::Wants;
        let target = dependency.other.as_str();
        // Who is ordered before it provides it, and has to pull it in.
        let provides =
            config.dependencies.iter().any(|d| d.kind == Kinds::Before && d.other == dependency.other);
        if pulls && PASSIVE.contains(&target) && !provides && target != "network-pre.target" {
            let message =
                format!("{}={target} pulls in a target that others provide", dependency.kind.name());
            findings.add(place_of(unit, dependency), message, &format!("write After={target} alone"));
        }
    }
}

fn part_of(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    let install = &config.install;
    // Units that only pass stops on to others are services by habit; a target is there to start what is in
    // it.
    let targets = |d: &&Dependency| d.kind == Kinds::PartOf && d.other.kind() == UnitKind::Target;
    for dependency in declared(config).filter(targets) {
        let other = &dependency.other;
        let Some(theirs) = world.config(other) else { continue };
        let starts = |d: &Dependency| {
            let kinds = matches!(
                d.kind,
                Kinds::Requires
                    | Kinds::Wants
                    | Kinds::BindsTo
                    | Kinds::Upholds
                    | Kinds::Triggers
                    | Kinds::OnSuccess
            );
            kinds && (d.other == *config.id() || config.aliases.contains(&d.other))
        };
        let installs =
            install.wanted_by.iter().chain(&install.required_by).chain(&install.upheld_by).count() > 0;
        // What another unit pulls in, or what is only ever triggered, comes up by that.
        let pulled = !world.dependents(config.id()).is_empty();
        let needs = config.dependencies.iter().any(|d| {
            d.other == *other && matches!(d.kind, Kinds::Requires | Kinds::BindsTo | Kinds::Requisite)
        });
        let template = unit.template || config.id().instance().is_some();
        // The bus starts it when it is needed.
        let by_bus = config.service().is_some_and(|s| s.bus_name.is_some());
        if installs || pulled || needs || template || by_bus || theirs.dependencies.iter().any(starts) {
            continue;
        }
        let message =
            format!("PartOf={other} passes its stops on, and nothing here starts the unit with it again");
        findings.add(place_of(unit, dependency), message, &format!("add WantedBy={other} to [Install]"));
    }
}

fn on_failure(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    const HOPS_MAX: usize = 6;
    let kind = |d: &&Dependency| matches!(d.kind, Kinds::OnFailure);
    for first in unit.config.dependencies.iter().filter(kind) {
        let mut seen = Vec::from([unit.config.id().clone()]);
        let mut next = Some(first.other.clone());
        while let Some(name) = next.take().filter(|_| seen.len() <= HOPS_MAX) {
            let same =
                |a: &UnitName| *a == name || (a.template().is_some() && a.template() == name.template());
            if same(unit.config.id()) {
                let message = if name == *unit.config.id() {
                    format!("OnFailure= leads from {} back to it: each failure starts it again", first.other)
                } else {
                    format!(
                        "OnFailure={} starts another instance of the same unit when it fails",
                        first.other
                    )
                };
                findings.add(place_of(unit, first), message, "give the last of them an empty OnFailure=");
                break;
            }
            if seen.iter().any(same) {
                break;
            }
            seen.push(name.clone());
            let config = world.config(&name);
            next = config.and_then(|c| c.dependencies.iter().find(kind).map(|d| d.other.clone()));
        }
    }
}
