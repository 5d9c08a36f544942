//! Preset files: which units are enabled where nobody said so; systemd.preset(5).

use super::{InstallPaths, tree::Tree};
use crate::{UnitName, pattern, unit_path::Files};
use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, btree_map::Entry},
    string::String,
    vec::Vec,
};

/// What presets say of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Enable it; of a template, these instances, where there are any.
    Enable(Vec<String>),
    /// Disable it.
    Disable,
    /// Leave it as it is.
    Ignore,
}

impl Verdict {
    /// systemd's word, as `UnitFilePreset` has it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Enable(_) => "enabled",
            Verdict::Disable => "disabled",
            Verdict::Ignore => "ignored",
        }
    }
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    verdict: Verdict,
}

/// The lines of all preset files; the first one that fits a unit decides.
#[derive(Clone, Debug, Default)]
pub struct Presets {
    rules: Vec<Rule>,
}

impl Presets {
    /// Those of a search path.
    pub fn of(files: &dyn Files, paths: &InstallPaths) -> Presets {
        Presets::read(&Tree::new(files), paths)
    }

    /// Reads the files in the order of their names; one hides those of the same name in later folders.
    pub(super) fn read(tree: &Tree<'_>, paths: &InstallPaths) -> Presets {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for folder in &paths.presets {
            let Some(listing) = tree.list(folder) else { continue };
            for name in listing.keys().filter(|name| name.ends_with(".preset") && !name.starts_with('.')) {
                if let Entry::Vacant(vacant) = files.entry(name.clone()) {
                    vacant.insert(super::tree::join(folder, name));
                }
            }
        }
        let mut presets = Presets::default();
        for path in files.values() {
            // What can't be read says nothing.
            let bytes = tree.read(path).unwrap_or_default();
            presets.parse(&String::from_utf8_lossy(&bytes));
        }
        presets
    }

    /// Adds the lines of one file; what is no rule is passed over.
    pub fn parse(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            let Some((word, rest)) = line.split_once([' ', '\t']) else { continue };
            let mut words = rest.split_whitespace();
            let Some(first) = words.next() else { continue };
            let (pattern, verdict) = match word {
                "enable" => {
                    let instances: Vec<String> = words.map(str::to_owned).collect();
                    let template = UnitName::new(first).is_some_and(|name| name.is_template());
                    if !instances.is_empty() && !template {
                        continue;
                    }
                    (first, Verdict::Enable(instances))
                }
                "disable" => (rest.trim(), Verdict::Disable),
                "ignore" => (rest.trim(), Verdict::Ignore),
                _ => continue,
            };
            self.rules.push(Rule { pattern: pattern.into(), verdict });
        }
    }

    /// `UnitFilePreset`: what the presets say of a unit. Instances that a rule lists don't count here.
    pub fn state(&self, name: &UnitName) -> &'static str {
        let rule = self.rules.iter().find(|rule| pattern::matches(&rule.pattern, name));
        rule.map_or("enabled", |rule| rule.verdict.as_str())
    }

    /// What holds for a unit; without a rule, it is enabled.
    pub fn verdict(&self, name: &UnitName) -> Verdict {
        for rule in &self.rules {
            match &rule.verdict {
                Verdict::Enable(instances) if !instances.is_empty() => {
                    if name.as_str() == rule.pattern {
                        let named = instances.iter().filter_map(|instance| name.with_instance(instance));
                        return Verdict::Enable(named.map(|name| name.as_str().into()).collect());
                    }
                    let template = name.template().is_some_and(|t| t.as_str() == rule.pattern);
                    let listed = |instance| instances.iter().any(|known| known == instance);
                    if template && name.instance().is_some_and(listed) {
                        return Verdict::Enable(Vec::new());
                    }
                }
                verdict if pattern::matches(&rule.pattern, name) => return verdict.clone(),
                _ => {}
            }
        }
        Verdict::Enable(Vec::new())
    }
}
