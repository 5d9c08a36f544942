//! The operations of systemctl(1) on unit files, each as one answer.

use super::{
    ChangeKind, Fault, Install, Options, Outcome, PresetMode,
    apply::Making,
    preset::{Presets, Verdict},
    remove::Marks,
    subject::{Search, Subjects},
    tree::{base, join},
};
use crate::{UnitKind, UnitName, unit_path::EntryKind};
use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

impl Install<'_> {
    fn config(&self, options: Options) -> Result<String, Fault> {
        let folder = match (options.portable, options.runtime) {
            (true, runtime) => self.paths.attached.get(usize::from(runtime)),
            (false, true) => self.paths.runtime.as_ref(),
            (false, false) => self.paths.persistent.as_ref(),
        };
        folder.cloned().ok_or(Fault::NoFolder)
    }

    /// Makes the links that `[Install]` asks for. Names, or paths of files that lie elsewhere.
    pub fn enable(&mut self, names: &[String], options: Options) -> Outcome {
        let result = self.enable_all(names, options);
        self.finish(result)
    }

    fn enable_all(&mut self, names: &[String], options: Options) -> Result<u32, Fault> {
        let config = self.config(options)?;
        let mut subjects = Subjects::default();
        for name in names {
            self.discover_file(&mut subjects, name, Search::BOTH)?;
        }
        let making = Making { config: &config, force: options.force, lenient: false };
        self.apply(&mut subjects, making, Search::LOAD)
    }

    /// Removes all links to the units, those of units that are gone among them.
    pub fn disable(&mut self, names: &[String], options: Options) -> Outcome {
        let result = self.disable_all(names, options);
        self.finish(result)
    }

    fn disable_all(&mut self, names: &[String], options: Options) -> Result<u32, Fault> {
        let config = self.config(options)?;
        let mut subjects = Subjects::default();
        for name in names {
            if UnitName::new(name).is_none() {
                return Err(self.fail(Fault::BadName, name, None));
            }
            subjects.add(name, None, false)?;
        }
        let mut marks = Marks::new();
        self.mark(&mut subjects, &mut marks);
        self.remove_marked(&mut marks, &config);
        let installable = subjects.list.iter().any(|s| s.has_rules() || !s.also.is_empty());
        let changed = self.changes.iter().any(|change| change.kind == ChangeKind::Unlink);
        Ok(u32::from(installable || changed))
    }

    /// Removes all links, then makes those that `[Install]` asks for.
    pub fn reenable(&mut self, names: &[String], options: Options) -> Outcome {
        let plain: Vec<String> = names.iter().map(|name| base(name).to_owned()).collect();
        let result = self.disable_all(&plain, options).and_then(|_| self.enable_all(names, options));
        self.finish(result)
    }

    /// The links that [`Install::disable`] would remove.
    pub fn links(&mut self, name: &str, options: Options) -> Result<Vec<String>, Outcome> {
        let outcome = self.disable(&[name.to_owned()], options);
        if outcome.result.is_err() {
            return Err(outcome);
        }
        let removed = outcome.changes.into_iter().filter(|change| change.kind == ChangeKind::Unlink);
        Ok(removed.map(|change| change.path).collect())
    }

    /// Enables or disables the units as the presets say.
    pub fn preset(&mut self, names: &[String], options: Options, mode: PresetMode) -> Outcome {
        let presets = Presets::read(&self.tree, self.paths);
        let (mut enabled, mut disabled) = (Subjects::default(), Subjects::default());
        let mut prepare =
            || names.iter().try_for_each(|name| self.sort(&presets, name, &mut enabled, &mut disabled));
        let result = prepare().and_then(|()| self.carry_out(&mut enabled, &mut disabled, options, mode));
        self.finish(result)
    }

    /// The same for all unit files.
    pub fn preset_all(&mut self, options: Options, mode: PresetMode) -> Outcome {
        let presets = Presets::read(&self.tree, self.paths);
        let (mut enabled, mut disabled) = (Subjects::default(), Subjects::default());
        let result = self
            .sort_all(&presets, &mut enabled, &mut disabled)
            .and_then(|()| self.carry_out(&mut enabled, &mut disabled, options, mode));
        self.finish(result)
    }

    fn sort_all(
        &mut self,
        presets: &Presets,
        enabled: &mut Subjects,
        disabled: &mut Subjects,
    ) -> Result<(), Fault> {
        use Fault::{
            BadAlias, BadName, BadSpecifier, Exists, Generated, Linked, Masked, NotFound, NotTemplate,
        };
        for folder in &self.paths.search {
            let Some(listing) = self.tree.list(folder) else { continue };
            for (name, kind) in listing.iter() {
                if !matches!(kind, EntryKind::File | EntryKind::Link) || UnitName::new(name).is_none() {
                    continue;
                }
                match self.sort(presets, name, enabled, disabled) {
                    Ok(()) => {}
                    // Units that can't be enabled are passed over; why is among the changes.
                    Err(Exists | Masked | Generated | BadSpecifier | NotTemplate) => {}
                    Err(BadName | Linked | NotFound | BadAlias) => {}
                    Err(fault) => return Err(fault),
                }
            }
        }
        Ok(())
    }

    /// Puts a unit to those to be enabled or disabled.
    fn sort(
        &mut self,
        presets: &Presets,
        name: &str,
        enabled: &mut Subjects,
        disabled: &mut Subjects,
    ) -> Result<(), Fault> {
        if enabled.knows(name) || disabled.knows(name) {
            return Ok(());
        }
        let mut found = Subjects::default();
        let at = self.discover(&mut found, name, Search::FOLLOW)?;
        let unit = found.list[at].name.clone();
        if name != unit.as_str() {
            // Another name of a unit; its own name decides.
            return Ok(());
        }
        match presets.verdict(&unit) {
            Verdict::Enable(instances) if instances.is_empty() => {
                self.discover_file(enabled, name, Search::BOTH)?;
            }
            Verdict::Enable(instances) => {
                for instance in &instances {
                    self.discover_file(enabled, instance, Search::BOTH)?;
                }
            }
            Verdict::Disable => drop(self.discover(disabled, name, Search::FOLLOW)?),
            Verdict::Ignore => {}
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        enabled: &mut Subjects,
        disabled: &mut Subjects,
        options: Options,
        mode: PresetMode,
    ) -> Result<u32, Fault> {
        let config = self.config(options)?;
        if mode != PresetMode::EnableOnly {
            let mut marks = Marks::new();
            self.mark(disabled, &mut marks);
            self.remove_marked(&mut marks, &config);
        }
        if mode == PresetMode::DisableOnly {
            return Ok(0);
        }
        let making = Making { config: &config, force: options.force, lenient: true };
        self.apply(enabled, making, Search::LOAD)
    }

    /// Links the names to /dev/null.
    pub fn mask(&mut self, names: &[String], options: Options) -> Outcome {
        let result = self.config(options).and_then(|config| {
            let mut result = Ok(0);
            for name in names {
                let made = match UnitName::new(name) {
                    Some(_) => self.make_link("/dev/null", &join(&config, name), options.force),
                    None => Err(Fault::Invalid),
                };
                result = result.and_then(|_| made.map(|_| 0));
            }
            result
        });
        self.finish(result)
    }

    /// Removes such links.
    pub fn unmask(&mut self, names: &[String], options: Options) -> Outcome {
        let result = self.config(options).and_then(|config| self.unmask_in(names, &config));
        self.finish(result)
    }

    fn unmask_in(&mut self, names: &[String], config: &str) -> Result<u32, Fault> {
        let mut masked: Vec<String> = Vec::new();
        for name in names {
            if UnitName::new(name).is_none() {
                return Err(Fault::Invalid);
            }
            let generated = self.paths.generators.iter().map(|folder| join(folder, name));
            if let Some(path) = generated.into_iter().find(|path| self.tree.is_empty(path) == Ok(true)) {
                self.note(ChangeKind::MaskedByGenerator, name, Some(&path));
            }
            let path = join(config, name);
            match self.tree.is_empty(&path) {
                Ok(true) if !masked.contains(&path) => masked.push(path),
                Ok(_) | Err(Fault::NotFound) => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut marks = Marks::new();
        for path in masked {
            self.tree.remove(&path, None);
            self.note(ChangeKind::Unlink, &path, None);
            marks.insert(path);
        }
        self.remove_marked(&mut marks, config);
        Ok(0)
    }

    /// Makes unit files known that lie outside of the search path.
    pub fn link(&mut self, files: &[String], options: Options) -> Outcome {
        let result = self.config(options).and_then(|config| self.link_in(files, options, &config));
        self.finish(result)
    }

    fn link_in(&mut self, files: &[String], options: Options, config: &str) -> Result<u32, Fault> {
        let mut outside: Vec<&String> = Vec::new();
        for file in files {
            if !file.starts_with('/') || UnitName::new(base(file)).is_none() {
                return Err(Fault::Invalid);
            }
            match self.tree.kind(file) {
                None => return Err(Fault::NotFound),
                Some(EntryKind::File) => {}
                Some(EntryKind::Folder) => return Err(Fault::IsFolder),
                Some(EntryKind::Link) => return Err(Fault::Linked),
                Some(EntryKind::Other) => return Err(Fault::NotRegular),
            }
            if !self.paths.holds(file) && !outside.contains(&file) {
                outside.push(file);
            }
        }
        let mut result = Ok(0);
        for file in outside {
            let made = self.make_link(file, &join(config, base(file)), options.force);
            result = result.and_then(|_| made.map(|_| 0));
        }
        result
    }

    /// Removes drop-ins, and what overrides unit files that came with the system.
    pub fn revert(&mut self, names: &[String]) -> Outcome {
        let result = self.revert_all(names);
        self.finish(result)
    }

    fn revert_all(&mut self, names: &[String]) -> Result<u32, Fault> {
        let mut removed: Vec<String> = Vec::new();
        let mut remove = |path: String| {
            if !removed.contains(&path) {
                removed.push(path);
            }
        };
        for name in names {
            if UnitName::new(name).is_none() {
                return Err(Fault::Invalid);
            }
            let mut has_vendor = false;
            for folder in &self.paths.search {
                let path = join(folder, name);
                let is_file = self.tree.kind(&path) == Some(EntryKind::File);
                has_vendor |= is_file && self.paths.is_vendor(folder);
                let drop_ins = format!("{path}.d");
                let ours = self.paths.is_config(folder)
                    || self.paths.is_transient(folder)
                    || self.paths.control.contains(folder);
                if ours && self.tree.kind(&drop_ins) == Some(EntryKind::Folder) {
                    remove(drop_ins);
                }
            }
            for folder in self.paths.search.iter().filter(|_| has_vendor) {
                let path = join(folder, name);
                let there = matches!(self.tree.kind(&path), Some(EntryKind::File | EntryKind::Link));
                if there && self.paths.is_config(folder) {
                    remove(path);
                }
            }
        }
        let mut marks = Marks::new();
        for path in removed {
            for file in self.tree.list(&path).iter().flat_map(|listing| listing.keys()) {
                self.note(ChangeKind::Unlink, &join(&path, file), None);
            }
            self.tree.remove_all(&path);
            self.note(ChangeKind::Unlink, &path, None);
            marks.insert(path);
        }
        for config in [&self.paths.runtime, &self.paths.persistent].into_iter().flatten() {
            self.remove_marked(&mut marks, config);
        }
        Ok(0)
    }

    /// Makes units dependencies of another unit: wanted, or required.
    pub fn add_dependency(
        &mut self,
        names: &[String],
        target: &str,
        required: bool,
        options: Options,
    ) -> Outcome {
        let result = self.add_dependencies(names, target, required, options);
        self.finish(result)
    }

    fn add_dependencies(
        &mut self,
        names: &[String],
        target: &str,
        required: bool,
        options: Options,
    ) -> Result<u32, Fault> {
        if UnitName::new(target).is_none() {
            return Err(Fault::Invalid);
        }
        let config = self.config(options)?;
        let mut subjects = Subjects::default();
        let at = self.discover_file(&mut subjects, target, Search::FOLLOW)?;
        let target = String::from(subjects.list[at].name.as_str());
        for name in names {
            let at = self.discover_file(&mut subjects, name, Search::FOLLOW)?;
            let subject = &mut subjects.list[at];
            let list = if required { &mut subject.required_by } else { &mut subject.wanted_by };
            *list = vec![target.clone()];
        }
        let making = Making { config: &config, force: options.force, lenient: false };
        self.apply(&mut subjects, making, Search::FOLLOW)
    }

    /// Links default.target to a target.
    pub fn set_default(&mut self, name: &str, options: Options) -> Outcome {
        let result = self.set_default_to(name, options);
        self.finish(result)
    }

    fn set_default_to(&mut self, name: &str, options: Options) -> Result<u32, Fault> {
        let target = UnitName::new(name).filter(|name| name.kind() == UnitKind::Target);
        if target.is_none() || name == "default.target" {
            return Err(Fault::Invalid);
        }
        let config = self.paths.persistent.clone().ok_or(Fault::NoFolder)?;
        let mut subjects = Subjects::default();
        let at = self.discover_file(&mut subjects, name, Search::NEITHER)?;
        let path = subjects.list[at].path().to_owned();
        self.make_link(&path, &join(&config, "default.target"), options.force)
    }

    /// The target that default.target is.
    pub fn default_target(&mut self) -> Result<String, Fault> {
        let mut subjects = Subjects::default();
        let at = subjects.add("default.target", None, false)?;
        let at = self.traverse(&mut subjects, at, Search::FOLLOW)?;
        Ok(subjects.list[at].name.as_str().into())
    }
}
