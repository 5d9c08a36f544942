//! Limits written to the files of groups, and controllers handed on to what lies below them or kept from it.
//! What the lines are isn't decided here.

use super::{Groups, memory_total, tasks_total};
use crate::limits::{self, Defaults, Line, Machine};
use hence_unit::{config::ResourceConfig, limits::MoreLimits};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

impl Groups {
    /// Lets the children of this group use the controllers.
    pub(super) fn hand_on(&self, group: &Path) {
        for controller in &self.controllers {
            // Refused where the group has processes: then the limits below it are reported as not enforced.
            if !self.withheld(group, controller) {
                let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }

    /// Writes limits; `before`: those that it had, of which what isn't set any more goes back to what a new
    /// group has.
    pub(super) fn limits(
        &mut self,
        (folder, v1): (&Path, Option<PathBuf>),
        resources: &ResourceConfig,
        before: Option<&ResourceConfig>,
        defaults: Defaults,
    ) {
        self.hand_on_more(folder, resources);
        let starting = self.starting;
        let machine = Machine { memory: memory_total(), tasks: tasks_total(), starting };
        let (lines, missing) = limits::lines(resources, defaults, machine);
        self.lacking.extend(missing.into_iter().map(|directive| (directive, libc::ENODEV)));
        let write = |line: &Line, value: &str| {
            let tasks = v1.as_deref().filter(|_| line.file == "pids.max");
            let path = tasks.unwrap_or(folder).join(line.file);
            let file = fs::OpenOptions::new().write(true).open(path);
            file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        };
        if let Some(before) = before {
            // As it is while the machine starts it may have been before.
            let old = [true, false]
                .map(|starting| limits::lines(before, defaults, Machine { starting, ..machine }).0);
            let kept = |old: &Line| {
                lines.iter().any(|l| l.file == old.file && l.reset == old.reset && l.value.is_some())
            };
            let mut gone: Vec<&Line> =
                old.iter().flatten().chain(&lines).filter(|line| !kept(line)).collect();
            gone.dedup_by(|a, b| a.file == b.file && a.reset == b.reset);
            for line in gone {
                // Without the controller there is no limit either.
                let _ = write(line, &line.reset);
            }
        }
        for line in &lines {
            let Some(value) = &line.value else { continue };
            if let Err(e) = write(line, value)
                && !line.optional
            {
                self.unenforced.insert(line.directive);
                self.lacking.push((line.directive, e.raw_os_error().unwrap_or(libc::EIO)));
            }
        }
        if let Some(preference) = resources.more.as_deref().and_then(|more| more.oom_preference.as_deref()) {
            let name = format!("user.oomd_{preference}");
            let flags = rustix::fs::XattrFlags::empty();
            if let Err(e) = rustix::fs::setxattr(folder, name.as_str(), b"1", flags) {
                self.lacking.push(("ManagedOOMPreference", e.raw_os_error()));
            }
        }
    }

    /// What of limits the last units have turned out to lack, each once for a unit, with its errno.
    pub(crate) fn take_lacking(&mut self, unit: &str) -> Vec<(&'static str, i32)> {
        let mut lacking = std::mem::take(&mut self.lacking);
        if lacking.is_empty() {
            return lacking;
        }
        let told = self.told.entry(unit.into()).or_default();
        lacking.retain(|(directive, _)| {
            let new = !told.contains(directive);
            if new {
                told.push(directive);
            }
            new
        });
        lacking
    }

    /// Nothing is known of this unit any more.
    pub(crate) fn forget(&mut self, unit: &str) {
        self.told.remove(unit);
    }

    /// These controllers cost every group something: they are handed on where a setting asks for them.
    fn hand_on_more(&self, folder: &Path, resources: &ResourceConfig) {
        let more = resources.more.as_deref();
        let delegates = |name| {
            resources.delegate && (resources.delegated.is_empty() || resources.delegated.contains(&name))
        };
        let io = resources.io_weight.is_some() || more.is_some_and(MoreLimits::has_io);
        let sets = more.is_some_and(MoreLimits::has_sets);
        let wanted = [("io", io || delegates("io")), ("cpuset", sets || delegates("cpuset"))];
        let wanted = wanted.into_iter().filter(|(_, wanted)| *wanted);
        for (controller, _) in wanted {
            let above: Vec<&Path> =
                folder.ancestors().skip(1).take_while(|f| f.starts_with(&self.root)).collect();
            for group in above.into_iter().rev() {
                // Refused where there is no such controller: then what it is for is told as not enforced.
                if !self.withheld(group, controller) {
                    let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
                }
            }
        }
    }

    /// Whether DisableControllers= keeps a controller from what lies in this group.
    fn withheld(&self, group: &Path, controller: &str) -> bool {
        self.disabled.iter().any(|(folder, all)| group.starts_with(folder) && all.contains(&controller))
    }

    /// Takes the controllers of DisableControllers= from what lies below a slice, and gives back the others.
    pub(super) fn withhold(&mut self, folder: &Path, resources: &ResourceConfig) {
        let disabled = resources.more.as_deref().map_or(&[][..], |more| &more.disabled);
        let known = self.disabled.iter().position(|(known, _)| known == folder);
        if let Some(at) = known {
            self.disabled.swap_remove(at);
            self.hand_on(folder);
        }
        if disabled.is_empty() {
            return;
        }
        self.disabled.push((folder.to_path_buf(), disabled.to_vec()));
        let present = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in disabled.iter().filter(|c| present.split_whitespace().any(|p| p == **c)) {
            if let Err(e) = fs::write(folder.join("cgroup.subtree_control"), format!("-{controller}")) {
                self.lacking.push(("DisableControllers", e.raw_os_error().unwrap_or(libc::EIO)));
            }
        }
    }
}
