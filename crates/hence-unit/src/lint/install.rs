//! Rules about [Install]: what enabling a unit does, or fails to do.

use super::{Check, Findings, Level, LintUnit, Rule, Scope, World};
use crate::{Place, UnitKind, UnitName, directive::nearest};
use alloc::{format, vec::Vec};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "empty-install",
        level: Level::Warning,
        says: "[Install] says nothing.",
        why: "systemctl enable has nothing to do and says so; the unit doesn't come up at boot. Add \
              WantedBy=.",
        page: "systemd.unit(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\n[Install]\n",
        good: "[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\n",
        check: Check::Unit(empty),
    },
    Rule {
        id: "wanted-by-unknown-target",
        level: Level::Warning,
        says: "[Install] names a target that there isn't.",
        why: "Enabling makes a link that nothing ever follows: the unit doesn't come up.",
        page: "systemd.special(7)",
        bad: "[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multiuser.target\n",
        good: "[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\n",
        check: Check::Unit(unknown_target),
    },
    Rule {
        id: "template-without-instance",
        level: Level::Note,
        says: "A template is to be enabled as such, and has no DefaultInstance=.",
        why: "systemctl enable foo@.service is refused: an instance has to be named, as in \
              foo@bar.service, and a \
              template that never uses its instance's name has no need to be one.",
        page: "systemd.unit(5)",
        bad: "-- foo@.service --\n[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\n",
        good: "-- foo@.service --\n[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\n\
               DefaultInstance=main\n",
        check: Check::Unit(template),
    },
    Rule {
        id: "also-without-install",
        level: Level::Note,
        says: "Also= names a unit that is not there, or has nothing to enable.",
        why: "Enabling this unit is to enable the other one, which has no [Install] or doesn't exist.",
        page: "systemd.unit(5)",
        bad: "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\n\
              Also=foo.socket\n-- foo.socket --\n[Socket]\nListenStream=/run/foo\n",
        good: "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\n\
               Also=foo.socket\n-- foo.socket --\n[Socket]\nListenStream=/run/foo\n[Install]\n\
               WantedBy=sockets.target\n",
        check: Check::Unit(also),
    },
    Rule {
        id: "also-of-itself",
        level: Level::Note,
        says: "Also= leads back to the unit.",
        why: "It has no effect: a unit that is enabled needs no second time.",
        page: "systemd.unit(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\nAlso=foo.service\n",
        good: "[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\n",
        check: Check::Unit(also_of_itself),
    },
    Rule {
        id: "alias-of-another-kind",
        level: Level::Error,
        says: "Alias= is of another kind than the unit.",
        why: "systemctl enable refuses the whole unit.",
        page: "systemd.unit(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\nAlias=bar.socket\n",
        good: "[Service]\nExecStart=/usr/bin/foo\n[Install]\nWantedBy=multi-user.target\nAlias=bar.service\n",
        check: Check::Unit(alias_kind),
    },
];

/// Targets of systemd.special(7) that units are installed into.
const TARGETS: [&str; 44] = [
    "basic.target",
    "bluetooth.target",
    "cryptsetup.target",
    "ctrl-alt-del.target",
    "default.target",
    "emergency.target",
    "exit.target",
    "final.target",
    "first-boot-complete.target",
    "getty.target",
    "graphical-session.target",
    "graphical.target",
    "halt.target",
    "hibernate.target",
    "hybrid-sleep.target",
    "initrd.target",
    "initrd-fs.target",
    "initrd-root-fs.target",
    "initrd-switch-root.target",
    "integritysetup.target",
    "kbrequest.target",
    "kexec.target",
    "local-fs.target",
    "local-fs-pre.target",
    "machines.target",
    "multi-user.target",
    "network.target",
    "network-online.target",
    "network-pre.target",
    "paths.target",
    "poweroff.target",
    "printer.target",
    "reboot.target",
    "remote-fs.target",
    "rescue.target",
    "shutdown.target",
    "sleep.target",
    "smartcard.target",
    "sockets.target",
    "sound.target",
    "suspend.target",
    "sysinit.target",
    "timers.target",
    "veritysetup.target",
];

/// Place of the section's header in the last file that has one.
fn section(unit: &LintUnit) -> Option<Place> {
    unit.files.iter().rev().find_map(|file| {
        let line = file.section_line("Install")?;
        Some(Place { file: file.path.clone(), line, column: 1 })
    })
}

fn empty(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(place) = section(unit) else { return };
    let any = unit.files.iter().flat_map(|f| &f.assignments).any(|a| &*a.section == "Install");
    if !any {
        let message = "[Install] says nothing: enabling the unit does nothing".into();
        findings.add(place, message, "add WantedBy=, or remove the section");
    }
}

fn unknown_target(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let install = &unit.config.install;
    for (directive, list) in [("WantedBy", &install.wanted_by), ("RequiredBy", &install.required_by)] {
        for name in list.iter().filter(|name| name.ends_with(".target") && !name.contains('%')) {
            if TARGETS.contains(&&**name) || UnitName::new(name).is_none_or(|name| world.exists(&name)) {
                continue;
            }
            let stem = |name: &'static str| name.strip_suffix(".target").unwrap_or(name);
            let own = name.strip_suffix(".target").unwrap_or(name);
            let near = nearest(own, TARGETS.iter().map(|t| stem(t)));
            // Elsewhere there may be targets that nobody gave us; only one that is all but known is a
            // mistake.
            let mistyped = near.is_some_and(|near| {
                let plain = |s: &str| s.replace(['-', '_'], "").to_ascii_lowercase();
                plain(near) == plain(own)
                    || plain(near).strip_suffix('s') == Some(&plain(own))
                    || plain(own).strip_suffix('s') == Some(&plain(near))
            });
            if !mistyped && world.scope != Scope::System {
                continue;
            }
            let line = unit.effective(directive).find(|a| a.value.contains(&**name));
            let place = line.map_or_else(|| unit.head(), |a| a.place.clone());
            let fix = near
                .map_or_else(|| "name one that exists".into(), |near| format!("did you mean {near}.target?"));
            findings.add(place, format!("{directive}={name}: there is no such target"), &fix);
        }
    }
}

fn template(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    if !unit.template {
        return;
    }
    let install = &unit.config.install;
    let installs = install.wanted_by.iter().chain(&install.required_by).next().is_some();
    if !installs || install.default_instance.is_some() {
        return;
    }
    let shown = unit.shown();
    let names = ["%i", "%I", "%j", "%J", "%f", "%n", "%N", "%p"];
    let uses =
        unit.files.iter().flat_map(|f| &f.assignments).any(|a| names.iter().any(|n| a.value.contains(n)));
    let also = world.given().iter().any(|u| u.config.install.also.iter().any(|name| **name == *shown));
    if uses && !also {
        return;
    }
    let message = match also {
        true => format!("Also= of another unit enables {shown}, which has no DefaultInstance="),
        false => format!("{shown} never uses its instance's name, and can't be enabled without one"),
    };
    let place = section(unit).unwrap_or_else(|| unit.head());
    findings.add(place, message, "add DefaultInstance=, or make it a plain unit");
}

fn also(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let own = unit.shown();
    for name in unit.config.install.also.iter().filter(|name| ***name != *own && !name.contains('%')) {
        let Some(parsed) = UnitName::new(name) else { continue };
        let instance = parsed.with_instance(super::world::INSTANCE).filter(|_| parsed.is_template());
        let other = world.config(instance.as_ref().unwrap_or(&parsed));
        let line = unit.effective("Also").find(|a| a.value.contains(&**name));
        let place = || line.map_or_else(|| unit.head(), |a| a.place.clone());
        match other {
            None if world.scope == Scope::System => {
                let message = format!("Also={name}: there is no such unit");
                findings.add_at(Level::Warning, place(), message, "remove it");
            }
            Some(other) => {
                let install = &other.install;
                let lists = [
                    &install.wanted_by,
                    &install.required_by,
                    &install.upheld_by,
                    &install.alias,
                    &install.also,
                ];
                if lists.iter().all(|list| list.is_empty()) {
                    let message = format!("Also={name}: {name} has nothing to enable");
                    findings.add(place(), message, "give it an [Install], or remove it here");
                }
            }
            None => {}
        }
    }
}

fn also_of_itself(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let own = unit.shown();
    if unit.config.install.also.iter().any(|name| **name == *own) {
        let message = format!("Also={own} names the unit itself");
        findings.add(unit.place("Also"), message, "remove it");
    }
}

fn alias_kind(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let kind = unit.config.id().kind();
    let aliases: Vec<UnitName> = unit.config.install.alias.iter().filter_map(|a| UnitName::new(a)).collect();
    let allowed = !matches!(kind, UnitKind::Mount | UnitKind::Slice | UnitKind::Swap | UnitKind::Automount);
    if let Some(alias) = aliases.iter().find(|a| a.kind() != kind || !allowed) {
        let message = format!("Alias={alias} can't be another name of {}", unit.shown());
        let fix = format!("write a name that ends in .{}", kind.suffix());
        findings.add(unit.place("Alias"), message, &fix);
    }
}
