//! Opens the ledger that is meant and arranges its records. Damage becomes a gap in its place.

use crate::cli::LedgerOption;
use crate::exit::Trouble;
use crate::report::page::Page;
use crate::report::style::Style;
use hence_host::store::{Damage, Reader, default_ledger};
use hence_ledger::index::Index;
use hence_ledger::speech::count;
use hence_ledger::{Certainty, Fact, Record, RecordId, Stamp};
use std::path::PathBuf;

/// So many damaged places are named one by one.
const NAMED: usize = 3;

/// A ledger that was read.
#[derive(Debug)]
pub struct Reading {
    /// Its records.
    pub index: Index,
    /// Where records should be and are not.
    pub damage: Vec<Damage>,
    /// When it begins.
    pub first: Option<Stamp>,
    /// When hence ended, where nothing but the recorder's own records follows.
    pub ended: Option<Stamp>,
}

/// The folder of the ledger that is meant.
pub fn folder(option: &LedgerOption) -> PathBuf {
    option.ledger.clone().unwrap_or_else(default_ledger)
}

impl Reading {
    /// Reads a ledger, while hence writes to it or not.
    pub fn open(option: &LedgerOption) -> Result<Reading, Trouble> {
        let mut records = Reader::open(&folder(option))?.records();
        let (mut damage, mut first, mut last, mut ended) = (Vec::new(), None, Stamp::default(), None);
        let index = Index::new(std::iter::from_fn(|| {
            Some(match records.next()? {
                Ok(record) => {
                    last = record.at;
                    first = first.or(Some(record.at).filter(|at| at.realtime_us > 0));
                    ended = match record.fact {
                        Fact::Ended { .. } => Some(record.at),
                        Fact::Digest { .. } | Fact::LastWords { .. } | Fact::Gap { .. } => ended,
                        _ => None,
                    };
                    record
                }
                Err(found) => {
                    let fact = found.fact();
                    damage.push(found);
                    // No record has these numbers: the recorder's own begin far below them.
                    let id = RecordId(u64::MAX - damage.len() as u64);
                    let certainty = Certainty::Observed;
                    Record { id, at: last, unit: None, invocation: None, causes: Vec::new(), certainty, fact }
                }
            })
        }));
        Ok(Reading { index, damage, first, ended })
    }

    /// Says at the end of a page what could not be read.
    pub fn footer(&self, page: &mut Page) {
        if self.damage.is_empty() {
            return;
        }
        let places = count(self.damage.len() as u64, "place", "places");
        page.gap();
        let text = format!("The ledger is damaged in {places}; records may be missing there:");
        page.paragraph("", "", &[(Style::Bad, &text)]);
        for found in self.damage.iter().take(NAMED) {
            page.paragraph("  ", "    ", &[(Style::Plain, &found.to_string())]);
        }
        if self.damage.len() > NAMED {
            page.paragraph("  ", "  ", &[(Style::Plain, &format!("and {} more", self.damage.len() - NAMED))]);
        }
    }
}
