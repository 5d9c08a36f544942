//! `hence verify`: whether the ledger is as it was written.

use super::{LedgerOption, Outcome};
use crate::exit::BROKEN_CHAIN;
use crate::report;
use hence_host::store::Reader;
use hence_ledger::speech::count;

/// Checks that no record of the ledger was changed or removed since it was written.
///
/// Each record is chained to the one before it by a hash. The last hash is printed: kept elsewhere, it tells
/// later that nothing before it was changed. Records in the ring, at most some seconds old, are not yet
/// chained.
#[derive(Debug, clap::Args)]
pub struct Verify {
    #[command(flatten)]
    ledger: LedgerOption,
}

impl Verify {
    pub fn run(self) -> Outcome {
        let verified = Reader::open(&report::ledger::folder(&self.ledger))?.verify()?;
        let hash: String = verified.end.iter().map(|b| format!("{b:02x}")).collect();
        let records = count(verified.records, "record", "records");
        let mut text = String::new();
        if verified.breaks.is_empty() {
            text.push_str(&format!("{records}, as written. The chain ends in {hash}.\n"));
        } else {
            let breaks = count(verified.breaks.len() as u64, "place", "places");
            text.push_str(&format!(
                "The chain of records is broken in {breaks}; {records} are as written.\n"
            ));
            for found in &verified.breaks {
                text.push_str(&format!("  {}, byte {}\n", found.path.display(), found.offset));
            }
            text.push_str("A broken chain means a damaged disk, or that somebody changed the ledger.\n");
        }
        report::print(text.as_bytes())?;
        Ok(if verified.breaks.is_empty() { 0 } else { BROKEN_CHAIN })
    }
}
