//! How everything that the engine holds is handed to the program that takes hence's place, and taken up
//! there: systemctl(1), daemon-reexec.
//!
//! Configurations are not handed on: all unit files are read anew, as a reload does. It comes in steps:
//! [`Engine::carry`] in the old program, when [`Engine::is_quiet`]; in the new one [`Engine::prepare`], after
//! which all units' files are read, then [`Engine::take_up`]. A unit of which nothing can be read is as if
//! it had never been known; who is in its group is for the caller to look after.

use super::{Engine, Settings, power::Power};
use crate::carry::{Carried, Section, Unread, Writer};
use crate::deadline::{Armed, DeadlineFor};
use crate::job::{Job, is_down};
use crate::unit::{Keep, State, Unit};
use crate::{Effect, JobId, Time, UnitId};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};
use hence_ledger::{ActiveState, Cause, Client, Fact, JobType, RecordId, SubState, Text, Verb};
use hence_unit::{Atom, Config, LoadState, UnitName, config::JobMode};

/// Longest list of what could not be read that a record has.
const UNREAD_MAX: usize = 32;

/// What came of taking up.
#[derive(Clone, Debug)]
pub struct TakenUp {
    /// The record that says so: the cause of what follows from it.
    pub record: RecordId,
    /// Units that are known to have been there and could not be taken up.
    pub lost: Vec<UnitName>,
    /// Nothing was unreadable; else there may be more of them.
    pub whole: bool,
}

impl Settings {
    /// With what has to stay the same as it was in an earlier program.
    #[must_use]
    pub fn carried(mut self, carried: &Carried<'_>) -> Settings {
        let Some(from) = carried.one("engine") else { return self };
        let whole: Result<_, Unread> =
            (|| Ok((from.need::<u64>("next_record")?, from.need("seed")?, from.need("boot_us")?)))();
        if let Ok((next_record, seed, boot_us)) = whole {
            self.first_record = next_record.max(self.first_record);
            (self.seed, self.boot_us) = (seed, boot_us);
        }
        self
    }
}

impl Engine {
    /// A unit by its number, where there is one.
    pub fn known_unit(&self, id: UnitId) -> Option<&Unit> {
        self.units.get(id.0 as usize).filter(|u| u.keep != Keep::Vacant)
    }

    /// A client wants the program to be executed anew.
    pub fn ask_to_reexecute(&mut self, now: Time, client: Client) -> RecordId {
        self.now = now;
        let fact = Fact::Request { verb: Verb::DaemonReexec, mode: JobMode::default(), client };
        let record = self.record(None, Vec::new(), fact);
        self.reexecution = Some(record);
        record
    }

    /// The record that asked for the program to be executed anew, if that is outstanding.
    pub fn reexecution(&self) -> Option<RecordId> {
        self.reexecution
    }

    /// The program could not be executed anew, or is not to be: this one goes on.
    pub fn reexecution_failed(&mut self, now: Time, why: &str) {
        let Some(record) = self.reexecution.take() else { return };
        self.now = now;
        let fact = Fact::Refused { error: "ReexecutionFailed".into(), message: why.into() };
        self.record(None, vec![Cause { record, rule: None }], fact);
    }

    /// Whether nothing is on its way between the engine and its host.
    pub fn is_quiet(&self) -> bool {
        let waits = !self.made.is_empty() || !self.connections.is_empty();
        let looks = !self.unneeded.is_empty() || !self.steady.is_empty() || !self.after_job.is_empty();
        let runs = looks || !self.run_queue.is_empty();
        let asked = !self.records.is_empty() || !self.power.is_quiet() || self.reload.is_some();
        !waits && !runs && !asked && !self.is_at_work()
    }

    /// Writes everything that a successor needs.
    pub fn carry(&self, out: &mut Writer) {
        out.section("engine", "");
        out.field("next_record", &self.next_record);
        out.field("next_job", &self.next_job);
        out.field("next_exec", &self.next_exec);
        out.field("invocations", &self.invocations);
        out.field("seed", &self.settings.seed);
        out.field("boot_us", &self.settings.boot_us);
        out.field("started", &self.started);
        out.field("reexecution", &self.reexecution);
        out.field("mounts_known", &self.mounts_known);
        out.field("swaps_known", &self.swaps_known);
        out.field("ending", &self.ending);
        out.field("finished", &self.finished);
        self.power.put_fields(out);
        let mut deadlines: BTreeMap<UnitId, Vec<(&str, Armed, u64)>> = BTreeMap::new();
        let mut of_jobs: BTreeMap<JobId, Vec<(&str, Armed, u64)>> = BTreeMap::new();
        for (armed, what, after_us) in self.deadlines.all() {
            match what {
                DeadlineFor::State(unit) => {
                    deadlines.entry(unit).or_default().push(("state_deadline", armed, after_us));
                }
                DeadlineFor::Watchdog(unit) => {
                    deadlines.entry(unit).or_default().push(("watchdog_deadline", armed, after_us));
                }
                DeadlineFor::Job(job) => of_jobs.entry(job).or_default().push(("timeout", armed, after_us)),
                DeadlineFor::RunningJob(job) => {
                    of_jobs.entry(job).or_default().push(("running_timeout", armed, after_us));
                }
            }
        }
        let mut processes: BTreeMap<UnitId, Vec<u32>> = BTreeMap::new();
        for (pid, unit) in &self.processes {
            processes.entry(*unit).or_default().push(*pid);
        }
        for unit in self.units() {
            out.section("unit", unit.name());
            unit.put_fields(out);
            out.field("processes", &processes.remove(&unit.id).unwrap_or_default());
            for (key, armed, after_us) in deadlines.remove(&unit.id).unwrap_or_default() {
                out.field(key, &(armed, after_us));
            }
        }
        for job in self.jobs.values() {
            out.section("job", &format!("{}", job.id.0));
            out.field("unit", &job.unit);
            out.field("job_type", &job.job_type);
            out.field("state", &job.state);
            out.field("record", &job.record);
            out.field("ignore_order", &job.ignore_order);
            out.field("irreversible", &job.irreversible);
            out.field("began_us", &job.began_us);
            for (key, armed, after_us) in of_jobs.remove(&job.id).unwrap_or_default() {
                out.field(key, &(armed, after_us));
            }
        }
    }

    /// Makes the units known that were known before, under their old numbers, and asks for their files.
    pub fn prepare(&mut self, carried: &Carried<'_>) {
        let mut slots: BTreeMap<UnitId, UnitName> = BTreeMap::new();
        // A number that nobody would give would have room made for it.
        let most = carried.sections.len() as u64 * 64 + 1024;
        for section in carried.of("unit") {
            let id = section.need::<UnitId>("id").ok().filter(|id| u64::from(id.0) < most);
            if let (Some(id), Some(name)) = (id, UnitName::new(&section.name)) {
                slots.insert(id, name);
            }
        }
        let count = slots.last_key_value().map_or(0, |(id, _)| id.0 + 1);
        for index in self.units.len() as u32..count {
            self.units.push(Unit::vacant(UnitId(index), self.vacant.clone()));
            self.free.insert(UnitId(index));
        }
        for (id, name) in slots {
            if self.names.contains(&name) || !self.is_vacant(id) {
                continue;
            }
            self.free.remove(&id);
            self.units[id.0 as usize] = self.stub(id, &name);
            self.names.insert(name.clone(), id);
            self.loading.insert(name.clone(), ());
            self.effect(Effect::Load(name));
        }
    }

    /// Takes up everything that could be read; the files of all units have been by now. `unread` are those
    /// parts that could not be. With `paths` false what path units wait for is looked for anew.
    pub fn take_up(&mut self, now: Time, carried: &Carried<'_>, version: &str, paths: bool) -> TakenUp {
        self.now = now;
        self.effects.retain(|effect| !matches!(effect, Effect::UnitNew(_)));
        let mut unread = carried.unread.clone();
        if let Some(from) = carried.one("engine")
            && let Err(Unread(key)) = self.take_counters(from)
        {
            unread.push(format!("engine: {key}").as_str().into());
        }
        match Power::taken(carried) {
            Ok(power) => self.power = power,
            Err(Unread(key)) => unread.push(format!("power: {key}").as_str().into()),
        }
        let mut others = Vec::new();
        let mut lost = Vec::new();
        let mut taken = BTreeSet::new();
        for section in carried.of("unit") {
            match self.take_unit(section) {
                Ok((unit, changed)) => {
                    taken.insert(unit);
                    others.extend(changed.then_some(unit));
                }
                Err(Unread(key)) => {
                    unread.push(format!("unit {}: {key}", section.name).as_str().into());
                    lost.extend(UnitName::new(&section.name));
                }
            }
        }
        self.check_references();
        for section in carried.of("job") {
            if let Err(Unread(key)) = self.take_job(section, &taken) {
                unread.push(format!("job {}: {key}", section.name).as_str().into());
            }
        }
        let damaged = carried.unread.iter().filter_map(|part| part.strip_prefix("unit "));
        lost.extend(damaged.filter_map(UnitName::new));
        self.count_busy();
        let whole = unread.is_empty();
        let record = self.tell_taken_up(version, taken.len() as u32, unread);
        self.go_on_with(record, &others, paths);
        TakenUp { record, lost, whole }
    }

    fn tell_taken_up(&mut self, version: &str, units: u32, mut unread: Vec<Text>) -> RecordId {
        unread.truncate(UNREAD_MAX);
        for part in &mut unread {
            if part.len() > 256 {
                let short: String = part.chars().take(64).collect();
                *part = short.as_str().into();
            }
        }
        let asked = self.reexecution.take().or(self.started);
        let causes = asked.map(|record| Cause { record, rule: None }).into_iter().collect();
        self.record(None, causes, Fact::Reexecuted { version: version.into(), units, unread })
    }

    fn take_counters(&mut self, from: &Section<'_>) -> Result<(), Unread> {
        self.next_job = from.need::<u32>("next_job")?.max(1);
        self.next_exec = from.need("next_exec")?;
        self.invocations = from.need("invocations")?;
        let before = self.next_record;
        let earlier = |record: Option<RecordId>| record.filter(|r| r.0 < before);
        self.started = earlier(from.get("started")?.flatten());
        self.reexecution = earlier(from.get("reexecution")?.flatten());
        self.mounts_known = from.get("mounts_known")?.unwrap_or_default();
        self.swaps_known = from.get("swaps_known")?.unwrap_or_default();
        self.ending = from.get("ending")?.unwrap_or_default();
        self.finished = from.get("finished")?.unwrap_or_default();
        Ok(())
    }

    /// Whether the unit's files are others than they were.
    fn take_unit(&mut self, section: &Section<'_>) -> Result<(UnitId, bool), Unread> {
        let id: UnitId = section.need("id")?;
        let Some(unit) = self.units.get_mut(id.0 as usize).filter(|u| u.name().as_str() == section.name)
        else {
            return Err(Unread("id".into()));
        };
        let changed = unit.take_fields(section)?;
        if unit.config.load == LoadState::Stub && !is_down(unit.active_state()) {
            // Its name is an alias of another unit now, or its files could not be read. What runs under it
            // goes on without a file.
            let mut gone = Config::stub(unit.name().clone());
            gone.load = LoadState::NotFound;
            unit.set_config(Arc::new(gone));
        }
        let name = unit.name().clone();
        self.names.insert_new(&name, id);
        for pid in section.get::<Vec<u32>>("processes")?.unwrap_or_default() {
            self.processes.insert(pid, id);
        }
        for (key, what) in
            [("state_deadline", DeadlineFor::State(id)), ("watchdog_deadline", DeadlineFor::Watchdog(id))]
        {
            for (armed, after_us) in section.all(key)? {
                self.deadlines.rearm(armed, what, after_us);
            }
        }
        Ok((id, changed))
    }

    fn take_job(&mut self, section: &Section<'_>, taken: &BTreeSet<UnitId>) -> Result<(), Unread> {
        let bad = |key: &str| Unread(key.into());
        let id = JobId(section.name.parse().map_err(|_| bad("number"))?);
        let unit: UnitId = section.need("unit")?;
        // What runs for a unit of which nothing is known would never end.
        if !taken.contains(&unit) || self.units[unit.0 as usize].job.is_some() {
            return Err(bad("unit"));
        }
        let mut job = Job {
            id,
            unit,
            job_type: section.need("job_type")?,
            state: section.need("state")?,
            record: section.need("record")?,
            ignore_order: section.get("ignore_order")?.unwrap_or_default(),
            irreversible: section.get("irreversible")?.unwrap_or_default(),
            queued: false,
            watchers: Vec::new(),
            resume_at: 0,
            timeout: None,
            running_timeout: None,
            began_us: section.get("began_us")?.unwrap_or((self.now.monotonic_us, None)),
        };
        for (armed, after_us) in section.all::<(Armed, u64)>("timeout")? {
            self.deadlines.rearm(armed, DeadlineFor::Job(id), after_us);
            job.timeout = Some(armed);
        }
        for (armed, after_us) in section.all::<(Armed, u64)>("running_timeout")? {
            self.deadlines.rearm(armed, DeadlineFor::RunningJob(id), after_us);
            job.running_timeout = Some(armed);
        }
        self.next_job = self.next_job.max(id.0.wrapping_add(1).max(1));
        self.jobs.insert(id, job);
        self.units[unit.0 as usize].job = Some(id);
        Ok(())
    }

    /// No unit may refer to one that could not be read.
    fn check_references(&mut self) {
        let known: BTreeSet<UnitId> = self.units().map(|unit| unit.id).collect();
        for index in 0..self.units.len() {
            let id = self.units[index].id;
            // Its files may say something else by now.
            let starts = |other: &UnitId| {
                let linked = |atom| self.is_linked(*other, atom, id);
                known.contains(other) && (linked(Atom::OnFailure) || linked(Atom::OnSuccess))
            };
            self.units[index].monitored = self.units[index].monitored.filter(starts);
        }
        for unit in &mut self.units {
            if let State::Service(service) = &mut unit.state {
                service.connection = service.connection.take().filter(|c| known.contains(&c.0));
            }
        }
    }

    fn count_busy(&mut self) {
        let busy = |u: &&Unit| !u.is_perpetual() && u.keeps_running() && !is_down(u.active_state());
        self.busy = self.units().filter(busy).count();
    }

    /// Has what was being waited for be waited for again, and follow lines that are others now.
    fn go_on_with(&mut self, record: RecordId, others: &[UnitId], paths: bool) {
        for unit in others {
            let told = self.units[unit.0 as usize].config.load != LoadState::Stub;
            if told && !self.units[unit.0 as usize].untold {
                let record = self.tell_reread(*unit, record);
                self.wait_anew(*unit, record);
            }
        }
        for index in 0..self.units.len() {
            let unit = UnitId(index as u32);
            self.units[index].edges.shrink_to_fit();
            if self.units[index].is_perpetual() && self.units[index].keep != Keep::Vacant {
                self.units[index].state = State::Slice { up: true };
            }
            self.wait_again(unit, paths);
            if self.units[index].uncounted {
                self.effect(Effect::Census { unit, expected: Vec::new() });
            }
            self.may_go(unit);
        }
        self.drop_cycles(record);
        // What is put off until the unit is another one is tried then: each try counts.
        let stopping = |unit: UnitId| self.active_state(unit) == ActiveState::Deactivating;
        let put_off = |j: &&Job| j.job_type == JobType::Start && stopping(j.unit);
        let waiting = self.jobs.values().filter(|j| j.waits() && !put_off(j));
        let waiting: Vec<JobId> = waiting.map(|j| j.id).collect();
        for job in waiting {
            self.enqueue_job(job);
        }
        self.settle();
        self.finish_if_down();
    }

    fn wait_again(&mut self, unit: UnitId, paths: bool) {
        let u = &self.units[unit.0 as usize];
        match (&u.state, u.sub_state()) {
            (State::Timer(_), SubState::Waiting) => self.effect(Effect::WatchTimeZone),
            (State::Path(_), SubState::Waiting) if !paths => {
                let config = Some(u.config.clone());
                self.effect(Effect::WatchPaths { unit, config });
            }
            (State::Scope(scope), _) if scope.controller().is_some() => {
                let name = scope.controller().unwrap_or_default().into();
                self.effect(Effect::WatchName { unit, name });
            }
            (State::Service(service), SubState::Start | SubState::StartPost | SubState::Running)
                if service.main_pid().is_some() =>
            {
                if let Some(name) = u.config.service().and_then(|s| s.bus_name.clone()) {
                    self.effect(Effect::WatchName { unit, name });
                }
            }
            _ => {}
        }
    }
}

impl Job {
    fn waits(&self) -> bool {
        self.state == crate::JobState::Waiting && self.job_type != JobType::Nop
    }
}
