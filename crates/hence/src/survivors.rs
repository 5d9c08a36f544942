//! What an earlier hence left running: how it ended, and which of its processes are alive.
//!
//! While hence runs, its ledger holds a file `running`, the mark: boot id, what its invocation ids are known
//! by, its cgroup, since when. An orderly end removes it unless processes were left behind. So a start that
//! finds none has nothing to look for. One that does looks at /proc, before any unit is started: a unit must
//! not come up beside processes of its own that nobody knows of. Of the ledger it reads only what it must,
//! from the end on; it keeps none of it.

mod mark;
mod search;

use hence_engine::Process;
use hence_host::store::{OWN, Reader};
use hence_ledger::{Fact, RecordId, record::Invocation};
use hence_unit::UnitName;
use mark::Mark;
use std::collections::BTreeMap;
use std::path::Path;

/// Processes by the unit and the invocation that left them.
pub type Survivors = BTreeMap<(UnitName, Option<Invocation>), Vec<Process>>;

/// How the hence before this one ended, and what is alive of it.
#[derive(Debug, Default)]
pub struct Before {
    mark: Option<Mark>,
    crashed: bool,
    survivors: Survivors,
}

impl Before {
    /// Looks at the mark of the hence before, and where there is one, for its processes. To be called while
    /// this process holds the ledger, before it starts another.
    pub fn look(ledger: &Path) -> Before {
        let Some(mut mark) = Mark::read(ledger) else { return Before::default() };
        let crashed = !mark.ended && !ended_on_record(ledger);
        let found = search::search(&mark, ledger);
        for process in &found.nameless {
            let (pid, command) = (process.pid, &process.command);
            eprintln!(
                "hence: process {pid} ({command}) was started by an earlier hence; the ledger does not say \
                 for which unit"
            );
        }
        mark.keep(&found);
        Before { mark: Some(mark), crashed, survivors: found.survivors }
    }

    /// Whether it was killed.
    pub fn crashed(&self) -> bool {
        self.crashed
    }

    /// Says that hence runs, before anything else of this run is on record: with its units below this cgroup,
    /// with invocation ids of this seed, and with `first` the id of its first record. What earlier runs
    /// left stays known as long as there are processes.
    pub fn mark_running(&self, ledger: &Path, cgroup: &str, seed: &[u8; 16], first: u64) {
        let mut mark = match &self.mark {
            Some(mark) if mark.is_needed() => mark.clone(),
            _ => Mark::new(RecordId(first)),
        };
        mark.add(cgroup, hence_engine::invocation::key(seed));
        if let Err(error) = mark.write(ledger) {
            eprintln!("hence: {}: {error}; if hence is killed, the next one won't notice", ledger.display());
        }
    }

    /// What is alive of it.
    pub fn survivors(self) -> Survivors {
        self.survivors
    }
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
