//! What an earlier hence left running: how it ended, and which of its processes are alive.
//!
//! While hence runs, its ledger holds a file `running`, the mark: boot id, what its invocation ids are known
//! by, its cgroup, since when. An orderly end removes it unless processes were left behind. So a start that
//! finds none has nothing to look for. One that does looks at /proc, before any unit is started: a unit must
//! not come up beside processes of its own that nobody knows of. Of the ledger it reads only what it must,
//! from the end on; it keeps none of it.

mod mark;
mod resumable;
mod search;

use hence_engine::{Process, Resumed};
use hence_host::store::{OWN, Reader};
use hence_ledger::{Fact, RecordId, record::Invocation};
use hence_unit::UnitName;
use mark::Mark;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Processes by the unit and the invocation that left them.
pub type Survivors = BTreeMap<(UnitName, Option<Invocation>), Vec<Process>>;

/// How the hence before this one ended, and what is alive of it.
#[derive(Debug, Default)]
pub struct Before {
    mark: Option<Mark>,
    crashed: bool,
    survivors: Survivors,
    resumed: Vec<Resumed>,
}

impl Before {
    /// Looks at the mark of the hence before, and where there is one, for its processes. To be called while
    /// this process holds the ledger, before it starts another.
    pub fn look(ledger: &Path) -> Before {
        let Some(mut mark) = Mark::read(ledger) else { return Before::default() };
        let crashed = !mark.ended && !ended_on_record(ledger);
        let found = search::search(&mark, ledger, false);
        for process in &found.nameless {
            let (pid, command) = (process.pid, &process.command);
            eprintln!(
                "hence: process {pid} ({command}) was started by an earlier hence; the ledger does not say \
                 for which unit"
            );
        }
        let resumed = if crashed { resumable::find(ledger, mark.from, &found.survivors) } else { Vec::new() };
        mark.keep(&found);
        Before { mark: Some(mark), crashed, survivors: found.survivors, resumed }
    }

    /// The same where this program has taken an earlier one's place in this process, and could not read all
    /// that was handed on: its processes are children of this one.
    pub fn look_at_children(ledger: &Path) -> Before {
        let Some(mut mark) = Mark::read(ledger) else { return Before::default() };
        let found = search::search(&mark, ledger, true);
        let resumed = resumable::find(ledger, mark.from, &found.survivors);
        mark.keep(&found);
        Before { mark: Some(mark), crashed: true, survivors: found.survivors, resumed }
    }

    /// Where the groups of the hence before are, for its units that go on.
    pub fn groups(&self) -> Option<PathBuf> {
        self.mark.as_ref().filter(|_| self.crashed).and_then(Mark::newest_group)
    }

    /// Where services of hences before report to.
    pub fn reported_to(&self) -> Vec<String> {
        self.mark.as_ref().map(|mark| mark.reported_to.clone()).unwrap_or_default()
    }

    /// Units that go on. What is left over is what remains of the survivors without them.
    pub fn take_resumed(&mut self) -> Vec<Resumed> {
        std::mem::take(&mut self.resumed)
    }

    /// These processes are their unit's: they are not left over.
    pub fn gone_on(&mut self, unit: &UnitName, invocation: Invocation) {
        self.survivors.remove(&(unit.clone(), Some(invocation)));
    }

    /// Whether it was killed.
    pub fn crashed(&self) -> bool {
        self.crashed
    }

    /// Says that hence runs, before anything else of this run is on record: with its units below this
    /// cgroup, which report there, with invocation ids of this seed, and with `first` the id of its first
    /// record. What earlier runs left stays known as long as there are processes.
    pub fn mark_running(&self, ledger: &Path, places: (&str, &str), seed: &[u8; 16], first: u64) {
        let (cgroup, notify) = places;
        let mut mark = match &self.mark {
            Some(mark) if mark.is_needed() => mark.clone(),
            _ => Mark::new(RecordId(first)),
        };
        mark.report_to(notify);
        mark.add(cgroup, hence_engine::invocation::key(seed));
        if let Err(error) = mark.write(ledger) {
            eprintln!("hence: {}: {error}; if hence is killed, the next one won't notice", ledger.display());
        }
    }

    /// Leaves out what is of units that are known otherwise.
    pub fn without(&mut self, known: impl Fn(&UnitName) -> bool) {
        self.survivors.retain(|(unit, _), _| !known(unit));
        self.resumed.retain(|resumed| !known(&resumed.unit));
    }

    /// What is alive of it.
    pub fn survivors(self) -> Survivors {
        self.survivors
    }
}

/// Whether a hence ran here and did not end in order, or runs.
pub fn is_marked(ledger: &Path) -> bool {
    Mark::read(ledger).is_some_and(|mark| mark.same_boot && !mark.ended)
}

/// Says that hence ended in order; `leaves`: with processes left behind.
pub fn mark_ended(ledger: &Path, leaves: bool) {
    let kept = Mark::read(ledger).map(|mut mark| {
        mark.forget_empty_groups();
        mark.ended = true;
        mark
    });
    match kept {
        // Nothing is lost if this fails: the next start then looks more closely than it needs to.
        Some(mark) if leaves || mark.has_groups() => drop(mark.write(ledger)),
        _ => drop(std::fs::remove_file(ledger.join("running"))),
    }
}

/// Whether the newest record says that hence ended: it was killed after it had said so, before the mark was
/// gone.
fn ended_on_record(ledger: &Path) -> bool {
    let newest = Reader::open(ledger).ok().and_then(|r| r.newest_first().find(|r| r.id.0 & OWN == 0));
    newest.is_some_and(|r| matches!(r.fact, Fact::Ended { .. }))
}
