//! Output as entries of the journal, and the journal's sockets: what `capture` does where there is a journal.

use super::capture::{Capture, LONGEST_LINE, Origin, Output};
use super::now;
use crate::journal::{
    Ask, Intake, IntakeOptions, Journal, JournalOptions, Logging, SocketTurn, Sockets, Source, Speaker, hex,
    lines, tail,
};
use hence_ledger::{Invocation, Stream, Text};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How soon sockets that another one serves are tried again, in microseconds, and how late.
const FIRST_TRY_US: u64 = 100_000;
const LAST_TRY_US: u64 = 10_000_000;

/// The journal that the recorder writes.
#[derive(Clone, Debug)]
pub struct JournalSetup {
    /// Where and how.
    pub options: JournalOptions,
    /// What is taken.
    pub intake: IntakeOptions,
    /// The folder of the sockets that programs log to, and the link to one of them, where they are served:
    /// /run/systemd/journal and /dev/log.
    pub sockets: Option<(PathBuf, PathBuf)>,
}

/// The journal, and who sends to it.
#[derive(Debug)]
pub(crate) struct Entries {
    intake: Intake,
    sockets: Sockets,
    /// What is still to be served: where, when the next try is due, and after how long another.
    serve: Option<((PathBuf, PathBuf), u64, u64)>,
    /// Bytes that were taken since [`Self::take_count`].
    taken: u64,
}

impl Entries {
    pub fn new(setup: JournalSetup) -> Entries {
        let serve = setup.sockets.map(|places| (places, 0, FIRST_TRY_US));
        let mut entries = Entries {
            intake: Intake::new(Journal::new(setup.options), setup.intake),
            sockets: Sockets::default(),
            serve,
            taken: 0,
        };
        entries.serve(now().monotonic_us);
        entries
    }

    /// Serves what nobody else does. An earlier recorder may have to end first; whoever serves them longer is
    /// left alone. `true`: there are new ones to be watched.
    pub fn serve(&mut self, now_us: u64) -> bool {
        if self.serve.as_ref().is_none_or(|(_, at, _)| *at > now_us) {
            return false;
        }
        let Some(((folder, link), _, delay)) = self.serve.take() else { return false };
        let (all, some) = self.sockets.serve(&folder, &link, delay == FIRST_TRY_US);
        if !all && delay <= LAST_TRY_US {
            self.serve = Some(((folder, link), now_us + delay, delay * 2));
        }
        some
    }

    /// Takes the lines of what a stream wrote; returns how many bytes they were.
    pub fn take(&mut self, output: &mut Output, text: &[u8], end: bool, crowded: bool) -> usize {
        let Some(written) = &mut output.text else { return text.len() };
        let source = written.source.get_or_insert_with(|| Box::new(source(&output.origin)));
        let last = if end { Some("eof") } else { crowded.then_some("line-max") };
        let at = now();
        self.taken += text.len() as u64;
        lines(text, LONGEST_LINE, last, |line, how| self.intake.line(source, line, how, at))
    }

    /// The last that the journal has of a stream, of which this recorder may have seen nothing.
    pub fn tail(&self, origin: &Origin, most: usize) -> Vec<u8> {
        let folder = self.intake.journal.folder_to_be();
        let field = format!("_STREAM_ID={}", hex(&stream_id(origin)));
        folder.map(|folder| tail(&folder, field.as_bytes(), most)).unwrap_or_default()
    }

    /// How many bytes were taken since this was asked last.
    pub fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.taken)
    }

    /// Takes what the owner says of units, unless another journal hears it.
    pub fn tell(&mut self, owner: u32, told: &[String], realtime_us: u64) {
        self.intake.tell(owner, told, realtime_us, now());
    }

    /// Whether this is the journal of the machine rather than one of a ledger's own.
    pub fn is_of_machine(&self) -> bool {
        self.intake.journal.is_of_machine()
    }

    /// Whether what is sent to this path comes here.
    pub fn serves(&self, path: &Path) -> bool {
        self.sockets.serves(path)
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

    /// When there is something to do though nothing happens, on CLOCK_MONOTONIC in microseconds.
    pub fn due_us(&self) -> Option<u64> {
        let serve = self.serve.as_ref().map(|(_, at, _)| *at);
        [serve, self.intake.journal.sync_at_us()].into_iter().flatten().min()
    }

    /// Brings all to the disk where that is due.
    pub fn sync(&mut self, now_us: u64) {
        if self.intake.journal.sync_at_us().is_some_and(|at| at <= now_us) {
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
        self.serve = None;
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
            SocketTurn::Asked(number, ask) => {
                self.asked(number, ask);
                Ok(None)
            }
            SocketTurn::Done => Ok(None),
            SocketTurn::Connected(number) => Ok(Some(number)),
            SocketTurn::Ended(fd) => Err(fd),
        }
    }

    /// Does what `journalctl` asks for. What was logged before is taken first.
    fn asked(&mut self, number: u64, ask: Ask) {
        self.read_all();
        let Some(mut entries) = self.entries.take() else { return };
        let Entries { sockets, intake, .. } = &mut entries;
        sockets.drain(intake, &|speaker| self.unit_of(speaker), now());
        let done = match ask {
            Ask::Synchronize => intake.journal.sync_and_wait(),
            Ask::Rotate => {
                intake.journal.rotate(now());
                true
            }
            Ask::Flush => {
                intake.journal.look_for_folder(now());
                true
            }
            Ask::Unknown => false,
        };
        entries.sockets.answer(number, done);
        self.entries = Some(entries);
    }

    /// The unit that a process belongs to, of those whose output is captured: by its group, else by the
    /// invocation that its environment names.
    fn unit_of(&self, speaker: &Speaker) -> Option<(Text, Option<Invocation>, Logging)> {
        // What a unit said may be read when its output is closed already.
        let origins = || self.ended_origins().chain(self.live().map(|(_, output)| &output.origin));
        let found = match speaker.unit() {
            Some(unit) => origins().filter(|o| &*o.unit == unit).last(),
            None => {
                let invocation = crate::process::invocation(speaker.pid)?;
                origins().filter(|o| o.invocation == invocation).last()
            }
        };
        found.map(|origin| (origin.unit.clone(), Some(origin.invocation), logging(origin)))
    }
}

fn logging(origin: &Origin) -> Logging {
    origin.logging.as_deref().map(Logging::decode).unwrap_or_default()
}

/// The same for the next recorder, which goes on with the stream.
fn stream_id(origin: &Origin) -> [u8; 16] {
    let what = [&origin.invocation.0[..], &origin.pid.to_le_bytes(), &[origin.stream.tag()]].concat();
    let digest = super::digest::sha256(&what);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

fn source(origin: &Origin) -> Source {
    let (unit, id, mut logging) = (origin.unit.clone(), stream_id(origin), logging(origin));
    if origin.stream == Stream::Stderr {
        logging.copies >>= 2;
    }
    Source::new(unit, Some(origin.invocation), origin.pid, logging, id)
}
