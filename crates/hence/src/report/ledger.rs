//! Opens the ledger that is meant and arranges its records. Damage becomes a gap in its place.

use crate::cli::LedgerOption;
use crate::exit::Trouble;
use crate::report::page::Page;
use crate::report::style::Style;
use crate::run::boot_id;
use hence_host::Host;
use hence_host::store::{Damage, Reader, default_ledger};
use hence_ledger::answer::Leak;
use hence_ledger::index::Index;
use hence_ledger::leaks::leaks;
use hence_ledger::record::Invocation;
use hence_ledger::speech::count;
use hence_ledger::{Certainty, Fact, Record, RecordId, Stamp};
use std::path::{Path, PathBuf};

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
    /// Left-over processes were looked for just now.
    pub checked: bool,
    boot: Option<Invocation>,
}

/// The folder of the ledger that is meant.
pub fn folder(option: &LedgerOption) -> PathBuf {
    option.ledger.clone().unwrap_or_else(default_ledger)
}

impl Reading {
    /// Reads a ledger, while hence writes to it or not.
    ///
    /// While hence runs it records when a left-over process is gone. Where it doesn't, that is looked up
    /// here, and said as inferred: those that are no longer there have ended since.
    pub fn open(option: &LedgerOption) -> Result<Reading, Trouble> {
        let reading = Reading::with(option, Vec::new())?;
        if !reading.is_of_this_boot() || is_running(&folder(option)) {
            return Ok(reading);
        }
        let gone = gone(&reading.index);
        let checked = if gone.is_empty() { reading } else { Reading::with(option, gone)? };
        Ok(Reading { checked: true, ..checked })
    }

    /// Whether its last records are of the time since this machine was booted.
    pub fn is_of_this_boot(&self) -> bool {
        self.boot == Some(boot_id())
    }

    fn with(option: &LedgerOption, more: Vec<Record>) -> Result<Reading, Trouble> {
        let mut more = more.into_iter();
        let mut records = Reader::open(&folder(option))?.records();
        let (mut damage, mut first, mut last, mut ended) = (Vec::new(), None, Stamp::default(), None);
        let mut boot = None;
        let index = Index::new(std::iter::from_fn(|| {
            let Some(next) = records.next() else { return more.next() };
            Some(match next {
                Ok(record) => {
                    last = record.at;
                    first = first.or(Some(record.at).filter(|at| at.realtime_us > 0));
                    if let Fact::Started { boot: of, .. } = record.fact {
                        boot = Some(of);
                    }
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
        Ok(Reading { index, damage, first, ended, boot, checked: false })
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

/// Whether the process that last owned the ledger runs.
fn is_running(ledger: &Path) -> bool {
    let owner = std::fs::read_to_string(ledger.join("lock")).unwrap_or_default();
    owner.trim().parse().is_ok_and(|pid| hence_host::describe(pid).is_some())
}

/// The left-over processes of this boot that are no longer there.
fn gone(index: &Index) -> Vec<Record> {
    let now = Host::now();
    let ended = leaks(index).into_iter().filter(|leak| !hence_host::is_alive(leak.pid, leak.start_ticks));
    let record = |(nth, leak): (usize, Leak)| Record {
        // No record has these numbers, nor has damage.
        id: RecordId(u64::MAX - (1 << 32) - nth as u64),
        at: now,
        unit: Some(leak.unit),
        invocation: leak.invocation,
        causes: Vec::new(),
        certainty: Certainty::Inferred,
        fact: Fact::LeftOverGone { pid: leak.pid, start_ticks: leak.start_ticks, exit: None },
    };
    ended.enumerate().map(record).collect()
}
