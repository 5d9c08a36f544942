//! Unit files change because a client asked for that: recorded first, then done. What changes is decided
//! before; that units are loaded anew is for the client to ask.

use super::Pump;
use hence_host::{Host, StepError, change_unit_files};
use hence_ledger::{Cause, Client, Fact, RecordId, Text, Verb};
use hence_unit::{
    UnitName,
    config::JobMode,
    install::{InstallPaths, Step},
};

impl Pump {
    /// Records changes that were made before there was anybody to ask for them: by the presets of a first
    /// boot. `by`: the record of hence's start.
    pub fn tell_changed(&mut self, steps: &[Step], by: RecordId) {
        for step in steps {
            let (path, target): (&String, Option<Text>) = match step {
                Step::Link { path, target, .. } => (path, Some(target.as_str().into())),
                Step::Unlink { path, .. } | Step::RemoveAll { path } => (path, None),
            };
            let fact = Fact::UnitFileChanged { path: path.as_str().into(), target };
            let causes = vec![Cause { record: by, rule: None }];
            match UnitName::new(path.rsplit('/').next().unwrap_or("")) {
                Some(unit) => self.engine.note_of(Host::now(), &unit, causes, fact),
                None => self.note(causes, fact),
            };
        }
    }

    /// Records the request for each of the units, then each change with the request as its cause, and does
    /// the changes.
    ///
    /// # Errors
    /// A change that can't be made; it is recorded as refused, and what should follow it isn't done.
    pub fn change_files(
        &mut self,
        client: Client,
        verb: Verb,
        units: &[UnitName],
        (paths, steps): (&InstallPaths, &[Step]),
    ) -> Result<(), StepError> {
        let now = Host::now();
        let mode = JobMode::default();
        let request = || Fact::Request { verb, mode, client: client.clone() };
        let mut asked: Vec<(UnitName, RecordId)> = Vec::new();
        for unit in units {
            if !asked.iter().any(|(known, _)| known == unit) {
                asked.push((unit.clone(), self.engine.note_of(now, unit, Vec::new(), request())));
            }
        }
        let mut all: Vec<RecordId> = asked.iter().map(|(_, record)| *record).collect();
        if all.is_empty() {
            all.push(self.engine.note(now, Vec::new(), request()));
        }
        let cause = |record: RecordId| Cause { record, rule: None };
        for step in steps {
            let (path, target): (&String, Option<Text>) = match step {
                Step::Link { path, target, .. } => (path, Some(target.as_str().into())),
                Step::Unlink { path, .. } | Step::RemoveAll { path } => (path, None),
            };
            let name = path.rsplit('/').next().unwrap_or("");
            let name = UnitName::new(name.strip_suffix(".d").unwrap_or(name));
            let template = name.as_ref().and_then(UnitName::template);
            let own =
                asked.iter().find(|(unit, _)| Some(unit) == name.as_ref() || Some(unit) == template.as_ref());
            let causes = match own {
                Some((_, record)) => vec![cause(*record)],
                None => all.iter().copied().map(cause).collect(),
            };
            let fact = Fact::UnitFileChanged { path: path.as_str().into(), target };
            match name {
                Some(name) => self.engine.note_of(now, &name, causes, fact),
                None => self.engine.note(now, causes, fact),
            };
        }
        self.store();
        let folders: Vec<String> = [&paths.persistent, &paths.runtime, &paths.transient]
            .into_iter()
            .flatten()
            .chain(paths.control.iter().chain(&paths.attached))
            .cloned()
            .collect();
        let done = change_unit_files(steps, &folders);
        if let Err(failed) = &done {
            let fact = Fact::Refused { error: "Failed".into(), message: failed.to_string().as_str().into() };
            self.engine.note(Host::now(), all.into_iter().map(cause).collect(), fact);
            self.store();
        }
        done
    }
}
