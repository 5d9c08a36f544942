//! What a manager says in the journal: its own lines, those of its children on their way into a
//! program, and the kernel's about killing for lack of memory.

use super::Place;
use crate::journal::id_of;
use crate::journal::reader::{Entry, Query, Reader, Watch, last_entries, of_invocation};
use hence_engine::Time;
use hence_engine::observe::seen::{Message, Seen, What};
use hence_ledger::{Exit, ExitKind, Invocation, JobResult, JobType, Stream, Text, UnitResult};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// Entries that are taken before others have their turn.
const BATCH: usize = 512;
/// Last lines of a run, and most bytes of them.
const LAST: usize = 20;
const LAST_BYTES: usize = 2048;
/// A program could not be executed.
const SPAWN_FAILED: &str = "641257651c1b4ec9a8624d7a40a9e1e7";

/// A journal that is followed.
#[derive(Debug)]
pub struct Lines {
    folders: Vec<PathBuf>,
    reader: Reader,
    watch: Watch,
}

impl Lines {
    /// Follows the journals of a machine from this time on, by CLOCK_REALTIME.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn follow(place: &Place, since_us: u64) -> io::Result<Lines> {
        let folders = vec![place.path("/var/log/journal"), place.path("/run/log/journal")];
        let watch = Watch::new(&[])?;
        let mut reader = Reader::open(&folders);
        watch.add(&reader.watched())?;
        reader.refresh();
        if reader.files() == 0 {
            let error = reader.troubles().first().map(|(path, e)| format!("{}: {e}", path.display()));
            let text = error.unwrap_or_else(|| "there is no journal".into());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        let fixed = |text: &str| text.as_bytes().to_vec();
        let mut lines = Lines { folders, reader, watch };
        lines.reader.forwards(Query {
            of_each: vec![vec![
                vec![fixed("_PID=1"), fixed("_UID=0")],
                vec![fixed("_TRANSPORT=kernel")],
                vec![format!("MESSAGE_ID={SPAWN_FAILED}").into_bytes(), fixed("_UID=0")],
            ]],
            since_us: Some(since_us),
            until_us: None,
        });
        Ok(lines)
    }

    /// What to wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }

    /// What was said since. `true`: there is more.
    pub fn read(&mut self, seen: &mut Vec<Seen>) -> bool {
        // Files may have come; a watch that can't be added now is tried again with the next change.
        let _ = self.watch.take();
        let _ = self.watch.add(&self.reader.watched());
        self.reader.refresh();
        for _ in 0..BATCH {
            let Some(entry) = self.reader.next_entry() else { return false };
            seen.extend(told(&entry));
        }
        true
    }

    /// The last lines that a run wrote itself.
    pub fn last_words(&self, invocation: &Invocation) -> Option<(Stream, String)> {
        let own = of_invocation(&invocation.0).into_iter().take(1).collect();
        let query = Query { of_each: vec![own], since_us: None, until_us: None };
        let mut lines: Vec<String> = Vec::new();
        let mut bytes = 0;
        let mut stream = Stream::Stdout;
        for entry in last_entries(&self.folders, query, LAST) {
            let text = String::from_utf8_lossy(entry.get("MESSAGE").unwrap_or_default()).into_owned();
            let urgent = entry.get("PRIORITY").is_some_and(|p| p <= b"4".as_slice());
            stream = if urgent { Stream::Stderr } else { stream };
            bytes += text.len() + 1;
            lines.push(text);
        }
        while bytes > LAST_BYTES && lines.len() > 1 {
            bytes -= lines.remove(0).len() + 1;
        }
        let mut text = lines.join("\n");
        let cut = (0..=LAST_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(cut.unwrap_or(0));
        (!text.is_empty()).then_some((stream, text))
    }
}

fn text<'a>(entry: &'a Entry, name: &str) -> Option<&'a str> {
    std::str::from_utf8(entry.get(name)?).ok()
}

/// What an entry tells.
fn told(entry: &Entry) -> Option<Seen> {
    let source = text(entry, "_SOURCE_REALTIME_TIMESTAMP").and_then(|t| t.parse::<u64>().ok());
    let lag = entry.realtime_us.saturating_sub(source.unwrap_or(entry.realtime_us)).min(10_000_000);
    let at = Time {
        realtime_us: entry.realtime_us.saturating_sub(lag),
        monotonic_us: entry.monotonic_us.saturating_sub(lag),
    };
    let message = text(entry, "MESSAGE").unwrap_or("");
    if text(entry, "_TRANSPORT") == Some("kernel") {
        return oom(message).map(|what| Seen { at, what });
    }
    let exit = || {
        let kind = ExitKind::parse(text(entry, "EXIT_CODE")?)?;
        Some(Exit { kind, status: text(entry, "EXIT_STATUS")?.parse().ok()? })
    };
    let said = Message {
        unit: text(entry, "UNIT").map(Text::from),
        invocation: text(entry, "INVOCATION_ID").and_then(id_of).map(Invocation),
        text: message.chars().take(512).collect(),
        job: text(entry, "JOB_ID").and_then(|t| t.parse().ok()),
        job_type: text(entry, "JOB_TYPE").and_then(JobType::parse),
        job_result: text(entry, "JOB_RESULT").and_then(JobResult::parse),
        command: text(entry, "COMMAND").map(str::to_owned),
        exit: exit(),
        restarts: text(entry, "N_RESTARTS").and_then(|t| t.parse().ok()),
        result: text(entry, "UNIT_RESULT").and_then(UnitResult::parse),
        transaction: text(entry, "TRANSACTION_ID").and_then(|t| t.parse().ok()),
    };
    Some(Seen { at, what: What::Said(Box::new(said)) })
}

/// The kernel's line about a kill: it names the control group.
fn oom(message: &str) -> Option<What> {
    let rest = message.strip_prefix("oom-kill:")?;
    let field = |name: &str| rest.split(',').find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
    let is_unit = |part: &&str| {
        [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|suffix| part.ends_with(suffix))
    };
    let unit = field("task_memcg")?.split('/').find(is_unit).map(Text::from);
    // The pid is that of the outermost namespace, which may not be the machine's.
    Some(What::OomKill { pid: None, unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_names_the_group_of_what_it_kills() {
        let line = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,\
                    oom_memcg=/system.slice/a.service,task_memcg=/system.slice/a.service,task=x,pid=7,uid=0";
        let unit = match oom(line) {
            Some(What::OomKill { unit, .. }) => unit,
            _ => None,
        };
        assert_eq!(unit.as_deref(), Some("a.service"));
        assert!(oom("Out of memory: Killed process 1 (x)").is_none());
    }
}
