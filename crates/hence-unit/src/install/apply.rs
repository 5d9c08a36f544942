//! Which links enabling makes: further names, dependencies, and the unit file itself where it lies elsewhere.

use super::{
    ChangeKind, Fault, Install,
    subject::{Mode, Search, Subject, Subjects, is_plain, may_alias, may_template},
    tree::{base, join, split},
};
use crate::UnitName;
use alloc::{borrow::ToOwned, format, string::String};

/// How links are made.
#[derive(Clone, Copy)]
pub(super) struct Making<'p> {
    /// Where.
    pub config: &'p str,
    /// Whether links that are in the way are replaced.
    pub force: bool,
    /// Whether dependencies that can't be are passed over, as presets do.
    pub lenient: bool,
}

/// The first failure; else the newer answer.
fn either(old: Result<u32, Fault>, new: Result<u32, Fault>) -> Result<u32, Fault> {
    if old.is_err() { old } else { new }
}

/// The first failure; else the first answer that isn't nothing.
fn first(old: Result<u32, Fault>, new: Result<u32, Fault>) -> Result<u32, Fault> {
    match (old, new) {
        (Ok(0), new) => new,
        (Ok(_), Err(fault)) => Err(fault),
        (old, _) => old,
    }
}

impl Install<'_> {
    /// Deals with all subjects and those of their `Also=`; how many links there should be.
    pub(super) fn apply(
        &mut self,
        subjects: &mut Subjects,
        making: Making<'_>,
        search: Search,
    ) -> Result<u32, Fault> {
        let mut result: Result<u32, Fault> = Ok(0);
        let mut at = 0;
        while at < subjects.list.len() {
            let found = self.traverse(subjects, at, search);
            let subject = subjects.list[at].clone();
            at += 1;
            if let Err(fault) = found {
                if subject.auxiliary {
                    self.note(ChangeKind::AuxiliaryFailed, &subject.name, None);
                    continue;
                }
                return Err(self.fail(fault, &subject.name, None));
            }
            match subject.mode {
                Mode::Masked => {
                    self.note(ChangeKind::Masked, subject.path(), None);
                    result = result.map(|count| count + 1);
                }
                Mode::Regular => {
                    let applied = self.apply_one(&subject, making);
                    result = result.and_then(|count| applied.map(|more| count + more));
                }
                Mode::Unread | Mode::Linked | Mode::Alias => {}
            }
        }
        result
    }

    fn apply_one(&mut self, subject: &Subject, making: Making<'_>) -> Result<u32, Fault> {
        let mut result = self.link_aliases(subject, making);
        for (list, suffix) in [
            (&subject.wanted_by, ".wants"),
            (&subject.required_by, ".requires"),
            (&subject.upheld_by, ".upholds"),
        ] {
            result = first(result, self.link_dependencies(subject, list, suffix, making));
        }
        let path = subject.path();
        if !self.paths.holds(path) {
            let link = join(making.config, &subject.name);
            // That is no sign that the file says how it is enabled.
            let linked = self.make_link(path, &link, making.force);
            result = result.and_then(|count| linked.map(|_| count));
        }
        result
    }

    fn link_aliases(&mut self, subject: &Subject, making: Making<'_>) -> Result<u32, Fault> {
        let mut result = Ok(0);
        for alias in &subject.aliases {
            let alias = match self.expand(subject, alias) {
                Ok(alias) => alias,
                Err(fault) => {
                    result = either(result, Err(self.fail(fault, alias, None)));
                    continue;
                }
            };
            let link = match self.verify_alias(subject, &alias) {
                Ok(link) => link,
                // The unit's own name.
                Err(Fault::Linked) => continue,
                Err(fault) => {
                    result = either(result, Err(fault));
                    continue;
                }
            };
            let link = join(making.config, &link);
            let made = self.make_link(subject.path(), &link, making.force);
            result = either(result, made);
        }
        result
    }

    /// The name that a link for this alias has to have. [`Fault::Linked`]: it is the unit's own.
    fn verify_alias(&mut self, subject: &Subject, alias: &str) -> Result<String, Fault> {
        if alias.contains('/') {
            // The old way to write WantedBy= and RequiredBy=.
            let (folder, link) = split(alias);
            let stem = folder.strip_suffix(".wants").or_else(|| folder.strip_suffix(".requires"));
            let Some(unit) = stem.and_then(UnitName::new) else {
                return Err(self.fail(Fault::BadAlias, alias, None));
            };
            if !compatible(link, &subject.name, unit.is_template()) {
                return Err(self.fail(Fault::BadAlias, alias, None));
            }
            return Ok(alias.to_owned());
        }
        let template = UnitName::new(alias).filter(UnitName::is_template);
        let instance = template.zip(subject.name.instance());
        let instantiated = instance.and_then(|(template, instance)| template.with_instance(instance));
        let link = instantiated.map_or_else(|| alias.to_owned(), |name| String::from(name.as_str()));
        match validate_alias(&link, &subject.name) {
            Ok(()) => Ok(link),
            Err(Fault::Linked) => Err(Fault::Linked),
            Err(Fault::Invalid) => Err(self.fail(Fault::BadAlias, &link, Some(&subject.name))),
            Err(fault) => Err(self.fail(fault, &link, Some(&subject.name))),
        }
    }

    fn link_dependencies(
        &mut self,
        subject: &Subject,
        list: &[String],
        suffix: &str,
        making: Making<'_>,
    ) -> Result<u32, Fault> {
        let mut name = subject.name.clone();
        // A template without an instance can only be wanted by templates and instances.
        let mut templates_only = false;
        if name.is_template() {
            match subject.default_instance.as_deref() {
                Some(instance) => name = name.with_instance(instance).ok_or(Fault::Invalid)?,
                None => templates_only = true,
            }
        }
        let mut result = Ok(0);
        for unit in list {
            let unit = match self.expand(subject, unit) {
                Ok(unit) => unit,
                Err(fault) => return Err(self.fail(fault, unit, None)),
            };
            let valid = UnitName::new(&unit);
            if !valid.as_ref().is_some_and(|valid| !templates_only || !is_plain(valid)) {
                if making.lenient {
                    continue;
                }
                let fault = match valid {
                    Some(_) => self.fail(Fault::NotTemplate, &unit, Some(&name)),
                    None => self.fail(Fault::BadName, &unit, None),
                };
                result = first(result, Err(fault));
                continue;
            }
            let link = format!("{}/{unit}{suffix}/{name}", making.config);
            result = first(result, self.make_link(subject.path(), &link, true));
            if self.exists(&unit) == Some(false) {
                self.note(ChangeKind::DestinationNotPresent, &unit, Some(subject.path()));
            }
        }
        result
    }

    /// Whether there is a unit file of this name; `None` where that can't be said.
    fn exists(&self, name: &str) -> Option<bool> {
        let mut subjects = Subjects::default();
        let at = subjects.add(name, None, false).ok()?;
        match self.traverse(&mut subjects, at, Search::NEITHER) {
            Ok(_) => Some(true),
            Err(Fault::NotFound) => Some(false),
            Err(_) => None,
        }
    }

    /// Makes a link, unless there is one that is as good.
    pub(super) fn make_link(&mut self, target: &str, link: &str, force: bool) -> Result<u32, Fault> {
        if self.tree.kind(link).is_some() {
            let Some(there) = self.tree.link(link) else {
                return Err(self.fail(Fault::Exists, link, None));
            };
            if self.equivalent(link, &there, target) {
                return Ok(1);
            }
            if !force {
                return Err(self.fail(Fault::Exists, link, Some(&there)));
            }
            self.note(ChangeKind::Unlink, link, None);
        }
        self.tree.make(link, target);
        self.note(ChangeKind::Symlink, link, Some(target));
        Ok(1)
    }

    /// Whether two targets of a link lead to the same unit.
    fn equivalent(&self, link: &str, a: &str, b: &str) -> bool {
        let absolute = |target: &str| match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("{}/{target}", split(link).0),
        };
        let (a, b) = (absolute(a), absolute(b));
        let (real_a, real_b) = (self.tree.resolve(&a, true), self.tree.resolve(&b, true));
        if a == b || (real_a.is_some() && real_a == real_b) {
            return true;
        }
        base(&a) == base(&b) && self.paths.holds(&a) && self.paths.holds(&b)
    }
}

/// Whether a link of this name may stand in a folder of dependencies for that unit.
fn compatible(link: &str, unit: &UnitName, propagates: bool) -> bool {
    let Some(link) = UnitName::new(link) else { return false };
    if link == *unit && (!link.is_template() || propagates) {
        return true;
    }
    unit.is_template() && link.template().is_some_and(|template| template == *unit)
}

/// Whether a link of this name to that unit makes it another name of the unit; systemd.unit(5).
/// [`Fault::Linked`]: it is the unit's own name.
pub(super) fn validate_alias(link: &str, unit: &UnitName) -> Result<(), Fault> {
    let link = UnitName::new(link).ok_or(Fault::Invalid)?;
    if !may_alias(link.kind()) || (!is_plain(&link) && !may_template(link.kind())) {
        return Err(Fault::Invalid);
    }
    if link == *unit {
        return Err(Fault::Linked);
    }
    let fits = match (link.instance(), unit.instance()) {
        (Some(a), Some(b)) => a == b,
        (Some(_), None) => unit.is_template(),
        (None, Some(_)) => false,
        (None, None) => link.is_template() == unit.is_template(),
    };
    if fits && link.kind() == unit.kind() { Ok(()) } else { Err(Fault::BadAlias) }
}
