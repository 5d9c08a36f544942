//! Rules that find what will go wrong with units before it does.
//!
//! A rule is one row: its id, level, sentence, why it hurts, man page, a bad and a good example, which are
//! its
//! tests, and its check. The rows stand in one file below `lint/` for each group. What the loader finds by
//! itself are rules too ([`loading`]). Nothing is read or written here: [`World`] asks [`Ground`] for files,
//! and mends are [`Edit`]s that [`mend`] applies to text.

use crate::{Level, Place, Text, UnitName};
use alloc::{string::String, vec::Vec};

mod allow;
mod command;
pub mod explain;
mod install;
mod kill;
mod layer;
mod loading;
mod loading_kinds;
pub mod mend;
mod names;
mod order;
mod requirement;
mod restart;
mod rights;
pub mod script;
mod service_type;
pub mod shell;
mod starter;
#[cfg(test)]
mod tests;
mod timeout;
mod trigger;
mod world;

pub use allow::Permits;
pub use mend::{Change, Edit};
pub use world::{FileRole, Ground, LintUnit, Machine, Prepared, Scope, UnitFile, World, prepare};

/// What a rule looks at.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// The loader's diagnostics of the rule's id.
    Loader,
    /// One unit, with all others to look at.
    Unit(fn(&LintUnit, &World<'_>, &mut Findings<'_>)),
    /// All given units at once.
    World(fn(&World<'_>, &mut Findings<'_>)),
    /// One file of a unit, or a script, as text.
    File(fn(&UnitFile, &World<'_>, &mut Findings<'_>)),
    /// The comments that switch rules off; [`Permits`] finds it.
    Permits,
}

/// One rule.
pub struct Rule {
    /// Its stable name, in kebab case.
    pub id: &'static str,
    /// How bad what it finds is, as a rule; a finding may say otherwise.
    pub level: Level,
    /// What is wrong, in one sentence.
    pub says: &'static str,
    /// Why that hurts, and what to do.
    pub why: &'static str,
    /// The man page that describes it: `systemd.kill(5)`.
    pub page: &'static str,
    /// Files in which it finds something: `-- NAME --` in front of each, `foo.service` where there is none.
    pub bad: &'static str,
    /// The same, mended: no rule finds anything above a note.
    pub good: &'static str,
    pub(crate) check: Check,
}

impl core::fmt::Debug for Rule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.id)
    }
}

/// All rules, in the order in which they are listed.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    GROUPS.iter().flat_map(|rows| rows.iter())
}

/// The rule of this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}

const GROUPS: [&[Rule]; 15] = [
    kill::RULES,
    restart::RULES,
    requirement::RULES,
    order::RULES,
    service_type::RULES,
    starter::RULES,
    timeout::RULES,
    trigger::RULES,
    command::RULES,
    rights::RULES,
    install::RULES,
    layer::RULES,
    allow::RULES,
    loading::RULES,
    loading_kinds::RULES,
];

/// Something that a rule found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How bad it is here.
    pub level: Level,
    /// The unit, where it is about one.
    pub unit: Option<UnitName>,
    /// Where.
    pub place: Place,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do, in one sentence, where that is known.
    pub fix: Option<String>,
    /// Changes that mend it without changing what a sound unit does; empty where a person has to decide.
    pub edits: Vec<Edit>,
}

/// Where the checks of a rule put what they find.
pub(crate) struct Findings<'f> {
    rule: &'static Rule,
    unit: Option<&'f UnitName>,
    found: &'f mut Vec<Finding>,
}

impl Findings<'_> {
    /// Adds a finding of the rule's own level.
    pub fn add(&mut self, place: Place, message: String, fix: &str) -> &mut Finding {
        self.add_at(self.rule.level, place, message, fix)
    }

    /// Adds a finding of another level.
    pub fn add_at(&mut self, level: Level, place: Place, message: String, fix: &str) -> &mut Finding {
        let fix = (!fix.is_empty()).then(|| fix.into());
        let unit = self.unit.cloned();
        let at = self.found.len();
        self.found.push(Finding { rule: self.rule, level, unit, place, message, fix, edits: Vec::new() });
        &mut self.found[at]
    }
}

impl Finding {
    /// Says that these edits mend it safely.
    pub(crate) fn mended_by(&mut self, edit: Edit) {
        self.edits.push(edit);
    }
}

/// Looks at everything that was given to the world, with all rules. The findings are in the order of files
/// and
/// lines; those that comments or `permits` allow are left out.
pub fn lint(world: &World<'_>, permits: &Permits) -> Vec<Finding> {
    let mut found = Vec::new();
    for unit in world.given() {
        unit_findings(unit, world, &mut found);
    }
    for file in world.scripts() {
        file_findings(file, None, world, &mut found);
    }
    for rule in rules() {
        if let Check::World(check) = rule.check {
            check(world, &mut Findings { rule, unit: None, found: &mut found });
        }
    }
    // An instance stands for each template; people know the template.
    let instance = alloc::format!("@{}.", world::INSTANCE);
    for finding in &mut found {
        for text in [Some(&mut finding.message), finding.fix.as_mut()].into_iter().flatten() {
            if text.contains(&instance) {
                *text = text.replace(&instance, "@.");
            }
        }
        if let Some(unit) = &finding.unit
            && let Some(template) = unit.template().filter(|_| unit.instance() == Some(world::INSTANCE))
        {
            finding.unit = Some(template);
        }
    }
    // A file may belong to several units, as drop-ins for all services do.
    let key = |f: &Finding| (f.place.clone(), f.rule.id, f.message.clone());
    found.sort_by_cached_key(key);
    found.dedup_by(|a, b| a.rule.id == b.rule.id && a.place == b.place && a.message == b.message);
    permits.apply(world, &mut found);
    found
}

fn unit_findings(unit: &LintUnit, world: &World<'_>, found: &mut Vec<Finding>) {
    let name = unit.config.id();
    let begin = found.len();
    loading::take(unit, found);
    if unit.is_loaded() {
        for rule in rules() {
            if let Check::Unit(check) = rule.check {
                check(unit, world, &mut Findings { rule, unit: Some(name), found });
            }
        }
    }
    for file in &unit.files {
        file_findings(file, Some(name), world, found);
    }
    if !unit.only.is_empty() {
        let mut at = 0;
        found.retain(|finding| {
            at += 1;
            at <= begin || unit.only.contains(&finding.place.file)
        });
    }
}

fn file_findings(file: &UnitFile, unit: Option<&UnitName>, world: &World<'_>, found: &mut Vec<Finding>) {
    for rule in rules() {
        if let Check::File(check) = rule.check {
            check(file, world, &mut Findings { rule, unit, found });
        }
    }
}

/// A span of time as unit files write it: `5s`, `100ms`, `1min 30s`.
pub(crate) fn span(us: u64) -> String {
    use alloc::format;
    const UNITS: [(u64, &str); 5] =
        [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    if us == crate::config::INFINITY {
        return "infinity".into();
    }
    let (mut rest, mut text) = (us, String::new());
    for (unit, name) in UNITS {
        if rest >= unit {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if text.is_empty() { format!("{rest}us") } else { text }
}

/// Place of a whole file.
pub(crate) fn file_place(file: &Text) -> Place {
    Place { file: file.clone(), line: 0, column: 0 }
}
