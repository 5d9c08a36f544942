//! Output as entries of the journal, and the journal's sockets: what `capture` does where there is a journal.

use super::capture::{Capture, LONGEST_LINE, Origin, Output};
use super::now;
use crate::journal::{Intake, Journal, JournalOptions, Logging, SocketTurn, Sockets, Source, Speaker, lines};
use hence_ledger::{Invocation, Text};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The journal that the recorder writes.
#[derive(Clone, Debug)]
pub struct JournalSetup {
    /// Where and how.
    pub options: JournalOptions,
    /// The folder of the sockets that programs log to, and the link to one of them, where they are served:
    /// /run/systemd/journal and /dev/log.
    pub sockets: Option<(PathBuf, PathBuf)>,
}

/// The journal, and who sends to it.
#[derive(Debug)]
pub(crate) struct Entries {
    intake: Intake,
    sockets: Sockets,
}

impl Entries {
    pub fn new(setup: JournalSetup) -> Entries {
        let sockets = setup.sockets.map(|(folder, link)| Sockets::open(&folder, Some(&link)));
        Entries { intake: Intake::new(Journal::new(setup.options)), sockets: sockets.unwrap_or_default() }
    }

    /// Takes the lines of what a stream wrote; returns how many bytes they were.
    pub fn take(&mut self, output: &mut Output, text: &[u8], end: bool, crowded: bool) -> usize {
        let Some(written) = &mut output.text else { return text.len() };
        let source = written.source.get_or_insert_with(|| Box::new(source(&output.origin)));
        let last = if end { Some("eof") } else { crowded.then_some("line-max") };
        let at = now();
        lines(text, LONGEST_LINE, last, |line, how| self.intake.line(source, line, how, at))
    }

    /// Publishes what was taken; brings it to the disk where that can't wait.
    pub fn commit(&mut self) {
        self.intake.own_up(now());
        self.intake.journal.commit();
        if std::mem::take(&mut self.intake.urgent) {
            self.intake.journal.sync();
        }
    }

    /// Whether there is something to do as soon as there is nothing else.
    pub fn is_behind(&self) -> bool {
        self.intake.journal.is_behind()
    }

    /// There is nothing else to do.
    pub fn settle(&mut self) {
        self.intake.journal.settle();
    }

    /// When all is to be brought to the disk, on CLOCK_MONOTONIC in microseconds.
    pub fn sync_at_us(&self) -> Option<u64> {
        self.intake.journal.sync_at_us()
    }

    /// Brings all to the disk where that is due.
    pub fn sync(&mut self, now_us: u64) {
        if self.sync_at_us().is_some_and(|at| at <= now_us) {
            self.intake.journal.sync();
        }
    }

    /// The sockets to be watched, by number.
    pub fn sockets(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.sockets.all()
    }

    /// A stream that was connected, by number.
    pub fn stream(&self, number: u64) -> Option<BorrowedFd<'_>> {
        self.sockets.stream(number)
    }

    /// Serves no longer, so that the next recorder can.
    pub fn stop_serving(&mut self) {
        self.sockets.close();
    }

    /// Ends the journal in order.
    pub fn close(&mut self) {
        self.intake.own_up(now());
        self.intake.journal.close();
    }

    pub fn is_idle(&self) -> bool {
        self.sockets.is_idle()
    }

    pub fn shrink(&mut self) {
        self.intake.shrink();
        self.sockets.shrink();
    }
}

impl Capture {
    /// A socket of the journal has something. `Ok(Some)`: a stream to be watched too; `Err`: one that ended.
    pub fn socket_ready(&mut self, number: u64) -> Result<Option<u64>, OwnedFd> {
        let Some(mut entries) = self.entries.take() else { return Ok(None) };
        let turn =
            entries.sockets.ready(number, &mut entries.intake, &|speaker| self.unit_of(speaker), now());
        self.entries = Some(entries);
        match turn {
            SocketTurn::Done => Ok(None),
            SocketTurn::Connected(number) => Ok(Some(number)),
            SocketTurn::Ended(fd) => Err(fd),
        }
    }

    /// The unit that a process belongs to, of those whose output is captured: by its group, else by the
    /// invocation that its environment names.
    fn unit_of(&self, speaker: &Speaker) -> Option<(Text, Option<Invocation>, Logging)> {
        let found = match speaker.unit() {
            Some(unit) => self.live().map(|(_, output)| &output.origin).filter(|o| &*o.unit == unit).last(),
            None => {
                let invocation = crate::process::invocation(speaker.pid)?;
                self.live().map(|(_, output)| &output.origin).find(|o| o.invocation == invocation)
            }
        };
        found.map(|origin| (origin.unit.clone(), Some(origin.invocation), logging(origin)))
    }
}

fn logging(origin: &Origin) -> Logging {
    origin.logging.as_deref().map(Logging::decode).unwrap_or_default()
}

fn source(origin: &Origin) -> Source {
    // The same for the next recorder, which goes on with the stream.
    let what = [&origin.invocation.0[..], &origin.pid.to_le_bytes(), &[origin.stream.tag()]].concat();
    let digest = super::digest::sha256(&what);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    Source::new(origin.unit.clone(), Some(origin.invocation), origin.pid, logging(origin), id)
}
