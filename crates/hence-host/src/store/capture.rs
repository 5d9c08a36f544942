//! Output of services: read from pipes, kept as lines in bounded log files, the last of it kept for last
//! words. Where there is a journal (see `entries`), lines are its entries instead, and no log file is made.
//!
//! In a log file a line is `TIME INVOCATION STREAM PID: TEXT`, the text as it was written, byte for byte. A
//! service never waits for a disk: what can't be stored is counted, and a line says so as soon as one can.
//! Memory is bounded over all streams together.

use super::entries::Entries;
use super::{now, open_private};
use crate::sys::store as sys;
use hence_ledger::{Invocation, Stream, Text};
use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// The end of a stream that last words come from.
const TAIL: usize = 2 << 10;
/// All tails together.
const ALL_TAILS: usize = 64 << 10;
/// Longest line; a longer one goes on in the next.
pub(super) const LONGEST_LINE: usize = 48 << 10;
/// All lines together that have no end yet.
const ALL_PARTIAL: usize = 512 << 10;
/// Ended streams whose tails are kept.
const ENDED: usize = 256;
/// How much is read at once: a full pipe, as pipes are.
const CHUNK: usize = 64 << 10;
/// How much of one stream is read before others have their turn.
const TURN: usize = 64 << 10;
/// The room of a pipe whose writer is ahead of us, so that neither waits for the other, and how many may
/// have it at a time.
const WIDE: usize = 512 << 10;
const WIDE_MOST: usize = 16;
/// How much of a stream is read before its last words are taken: a full pipe and what came in meanwhile.
const LAST_READ: usize = 1 << 20;

/// Whose output it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub unit: Text,
    pub invocation: Invocation,
    pub stream: Stream,
    pub pid: u32,
    /// What the unit says about its logs: an encoded [`crate::journal::Logging`].
    pub logging: Option<Arc<[u8]>>,
}

/// A stream that is at its end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// As it came.
    pub token: u64,
    /// The pipe, to be taken from the event loop before it is closed: the owner has it open as well.
    pub fd: OwnedFd,
}

#[derive(Debug)]
pub(super) struct Output {
    fd: OwnedFd,
    token: u64,
    pub(super) origin: Origin,
    /// Of those that have written something: most of a thousand services are silent.
    pub(super) text: Option<Box<Written>>,
    touched: u32,
    lost: u32,
    /// Its pipe has more room than usual.
    wide: bool,
}

/// What is kept of a stream.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// A line without its end.
    partial: Vec<u8>,
    /// The last of all, for last words.
    tail: Vec<u8>,
    /// As the journal has it.
    pub(super) source: Option<Box<crate::journal::Source>>,
}

impl Output {
    fn tail(&self) -> &[u8] {
        self.text.as_ref().map_or(&[], |t| &t.tail)
    }
}

/// All streams that are captured.
#[derive(Debug)]
pub(crate) struct Capture {
    logs: PathBuf,
    log_bytes: u64,
    /// By key; keys are used again, so that thousands of streams lie close together.
    outputs: Vec<Option<Output>>,
    free: Vec<u32>,
    ended: VecDeque<(Origin, Vec<u8>)>,
    tails: usize,
    partials: usize,
    turn: u32,
    /// How many pipes have more room than usual.
    wide: usize,
    /// What was just read.
    buffer: Vec<u8>,
    last_name: Option<Text>,
    /// The journal, where there is one.
    pub(super) entries: Option<Entries>,
}

/// What a read came to.
enum Turn {
    /// Nothing more for now.
    Dry,
    /// There may be more.
    More,
    /// The end.
    End,
}

impl Capture {
    pub fn new(logs: PathBuf, log_bytes: u64, entries: Option<Entries>) -> Capture {
        Capture {
            logs,
            log_bytes: log_bytes.max(LONGEST_LINE as u64 * 2),
            outputs: Vec::new(),
            free: Vec::new(),
            ended: VecDeque::new(),
            tails: 0,
            partials: 0,
            turn: 0,
            wide: 0,
            buffer: Vec::new(),
            last_name: None,
            entries,
        }
    }

    /// Takes a pipe; returns the key of the stream.
    pub fn add(&mut self, fd: OwnedFd, token: u64, mut origin: Origin) -> io::Result<u64> {
        sys::set_nonblocking(&fd)?;
        // The streams of a unit come one after another and share its name.
        match &self.last_name {
            Some(name) if **name == *origin.unit => origin.unit = name.clone(),
            _ => self.last_name = Some(origin.unit.clone()),
        }
        let output = Some(Output { fd, token, origin, text: None, touched: 0, lost: 0, wide: false });
        Ok(match self.free.pop() {
            Some(key) => {
                self.outputs[key as usize] = output;
                key.into()
            }
            None => {
                if self.outputs.len() == self.outputs.capacity() {
                    self.outputs.reserve_exact(64 + self.outputs.len() / 4);
                }
                self.outputs.push(output);
                self.outputs.len() as u64 - 1
            }
        })
    }

    /// Gives back the memory that a burst needed.
    pub fn shrink(&mut self) {
        self.buffer = Vec::new();
        for output in self.outputs.iter_mut().flatten().filter(|output| output.wide) {
            // Refused while there is more in it.
            if rustix::pipe::fcntl_setpipe_size(&output.fd, CHUNK).is_ok() {
                output.wide = false;
                self.wide -= 1;
            }
        }
        self.outputs.shrink_to_fit();
        self.free.shrink_to_fit();
        if let Some(entries) = &mut self.entries {
            entries.shrink();
        }
    }

    /// Whether no stream is left.
    pub fn is_empty(&self) -> bool {
        self.free.len() == self.outputs.len() && self.entries.as_ref().is_none_or(Entries::is_idle)
    }

    fn output(&mut self, key: u64) -> Option<&mut Output> {
        self.outputs.get_mut(usize::try_from(key).ok()?)?.as_mut()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = (u64, &Output)> {
        self.outputs.iter().enumerate().filter_map(|(key, o)| Some((key as u64, o.as_ref()?)))
    }

    /// Whose the last streams were that ended with something said, the earliest first.
    pub(super) fn ended_origins(&self) -> impl Iterator<Item = &Origin> {
        self.ended.iter().map(|(origin, _)| origin)
    }

    /// The pipe of a stream.
    pub fn fd(&self, key: u64) -> Option<BorrowedFd<'_>> {
        self.outputs.get(usize::try_from(key).ok()?)?.as_ref().map(|o| o.fd.as_fd())
    }

    /// Whether nothing was read of a stream so far.
    pub fn is_silent(&self, key: u64) -> bool {
        let output = usize::try_from(key).ok().and_then(|key| self.outputs.get(key)?.as_ref());
        output.is_some_and(|output| output.text.is_none())
    }

    /// Reads a stream's turn. `Some`: it is at its end.
    pub fn readable(&mut self, key: u64) -> Option<Ended> {
        match self.read(key, TURN) {
            Turn::End => self.end(key),
            Turn::Dry | Turn::More => None,
        }
    }

    /// Reads what waits in all pipes, a turn of each; what is at its end is seen so again.
    pub(super) fn read_all(&mut self) {
        let keys: Vec<u64> = self.live().map(|(key, _)| key).collect();
        for key in keys {
            let _ = self.read(key, TURN);
        }
    }

    fn read(&mut self, key: u64, most: usize) -> Turn {
        let mut buffer = std::mem::take(&mut self.buffer);
        let turn = self.read_with(key, most, &mut buffer);
        self.buffer = buffer;
        turn
    }

    fn read_with(&mut self, key: u64, most: usize, buffer: &mut Vec<u8>) -> Turn {
        let mut done = 0;
        while done < most {
            let Some(output) = self.output(key) else { return Turn::Dry };
            buffer.clear();
            buffer.reserve_exact(CHUNK);
            match rustix::io::read(&output.fd, rustix::buffer::spare_capacity(buffer)) {
                Ok(0) => return Turn::End,
                Ok(length) => {
                    done += length;
                    let short = length < CHUNK / 16;
                    self.take(key, buffer);
                    if short {
                        return Turn::Dry;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Turn::Dry,
                Err(_) => return Turn::End,
            }
        }
        if self.wide < WIDE_MOST
            && let Some(output) = self.output(key)
            && !output.wide
        {
            // One that can't have it stays as it is.
            output.wide = true;
            let _ = rustix::pipe::fcntl_setpipe_size(&output.fd, WIDE);
            self.wide += 1;
        }
        Turn::More
    }

    fn take(&mut self, key: u64, bytes: &[u8]) {
        // Once around, the oldest look new for a while: then other tails are forgotten first.
        self.turn = self.turn.wrapping_add(1);
        let turn = self.turn;
        let Some(output) = self.output(key) else { return };
        output.touched = turn;
        let tail = &mut output.text.get_or_insert_default().tail;
        let before = tail.len();
        let new = &bytes[bytes.len().saturating_sub(TAIL)..];
        let drop_front = (before + new.len()).saturating_sub(TAIL);
        tail.drain(..drop_front);
        tail.reserve_exact(new.len());
        tail.extend_from_slice(new);
        let after = tail.len();
        self.tails = self.tails + after - before;
        self.log(key, bytes, false);
        self.shed();
    }

    /// Forgets the tails that were written to least recently; the log files still have them.
    fn shed(&mut self) {
        while self.tails > ALL_TAILS {
            if let Some((_, tail)) = self.ended.pop_front() {
                self.tails -= tail.len();
                continue;
            }
            let tails = self.outputs.iter_mut().flatten().filter(|o| !o.tail().is_empty());
            let oldest = tails.min_by_key(|o| o.touched).and_then(|o| o.text.as_mut());
            let Some(text) = oldest else { return };
            self.tails -= std::mem::take(&mut text.tail).len();
        }
    }

    /// Splits into lines and appends them to the unit's log.
    fn log(&mut self, key: u64, bytes: &[u8], end: bool) {
        let slot = usize::try_from(key).ok().and_then(|key| self.outputs.get_mut(key));
        let Some(output) = slot.and_then(Option::as_mut) else { return };
        let Some(written) = &mut output.text else { return };
        let mut text = std::mem::take(&mut written.partial);
        self.partials -= text.len();
        // What came stays where it is unless it goes on with what was there.
        let whole = if text.is_empty() {
            bytes
        } else {
            text.extend_from_slice(bytes);
            &text
        };
        let crowded = self.partials + whole.len() > ALL_PARTIAL;
        if let Some(entries) = &mut self.entries {
            let done = entries.take(output, whole, end, crowded);
            let rest = whole[done..].to_vec();
            self.partials += rest.len();
            if let Some(written) = &mut output.text {
                written.partial = rest;
            }
            return;
        }
        let mut lines = Lines::new(&output.origin);
        let mut rest = whole;
        loop {
            let newline = rest.iter().take(LONGEST_LINE).position(|b| *b == b'\n');
            let (line, skip) = match newline {
                Some(at) => (at, at + 1),
                None if rest.len() >= LONGEST_LINE => (LONGEST_LINE, LONGEST_LINE),
                None if !rest.is_empty() && (end || crowded) => (rest.len(), rest.len()),
                None => break,
            };
            lines.put(&rest[..line]);
            rest = &rest[skip..];
            if lines.out.len() > TURN {
                store(&self.logs, self.log_bytes, output, &mut lines);
            }
        }
        store(&self.logs, self.log_bytes, output, &mut lines);
        self.partials += rest.len();
        if let Some(written) = &mut output.text {
            written.partial = rest.to_vec();
        }
    }

    fn end(&mut self, key: u64) -> Option<Ended> {
        self.log(key, &[], true);
        let output = self.outputs.get_mut(usize::try_from(key).ok()?)?.take()?;
        self.free.extend(u32::try_from(key));
        self.wide -= usize::from(output.wide);
        let ended = Some(Ended { token: output.token, fd: output.fd });
        let Written { partial, tail, .. } = output.text.map(|t| *t).unwrap_or_default();
        self.partials -= partial.len();
        if tail.is_empty() {
            return ended;
        }
        if self.ended.len() >= ENDED
            && let Some((_, oldest)) = self.ended.pop_front()
        {
            self.tails -= oldest.len();
        }
        self.ended.push_back((output.origin, tail));
        ended
    }

    /// The last words of an invocation, per stream, and the streams that came to their end while they were
    /// read up to it. A child may hold a pipe open: a dry pipe counts as read.
    pub fn last_words(&mut self, unit: &str, invocation: Invocation) -> (Vec<(Stream, String)>, Vec<Ended>) {
        let of_it = |o: &Origin| &*o.unit == unit && o.invocation == invocation;
        let keys: Vec<u64> = self.live().filter(|(_, o)| of_it(&o.origin)).map(|(key, _)| key).collect();
        let mut closed = Vec::new();
        for key in keys {
            if matches!(self.read(key, LAST_READ), Turn::End) {
                closed.extend(self.end(key));
            }
        }
        let mut words = Vec::new();
        for stream in [Stream::Stderr, Stream::Stdout] {
            let live = self.live().map(|(_, o)| (&o.origin, o.tail()));
            let ended = self.ended.iter().map(|(origin, tail)| (origin, tail.as_slice()));
            let mut tail: Vec<u8> = ended
                .chain(live)
                .filter(|(origin, _)| of_it(origin) && origin.stream == stream)
                .flat_map(|(_, tail)| tail.iter().copied())
                .collect();
            if tail.is_empty() {
                tail = self.tail_of_log(unit, invocation, stream);
            }
            if let Some(text) = last_lines(&tail) {
                words.push((stream, text));
            }
        }
        (words, closed)
    }

    /// The end of a stream as the unit's log has it.
    fn tail_of_log(&self, unit: &str, invocation: Invocation, stream: Stream) -> Vec<u8> {
        if let Some(entries) = &self.entries {
            let of_it = |o: &&Origin| &*o.unit == unit && o.invocation == invocation && o.stream == stream;
            let origin = self.live().map(|(_, output)| &output.origin).find(of_it);
            return origin.map(|origin| entries.tail(origin, TAIL)).unwrap_or_default();
        }
        let mut end = Vec::new();
        let read = |end: &mut Vec<u8>| {
            let mut file = std::fs::File::open(self.logs.join(file_name(unit)))?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(16 << 10)))?;
            file.take(16 << 10).read_to_end(end)
        };
        if read(&mut end).is_err() {
            return Vec::new();
        }
        let mark = format!(" {} {stream} ", short(invocation)).into_bytes();
        let mut text = Vec::new();
        for line in end.split(|b| *b == b'\n') {
            let head = &line[..line.len().min(80)];
            let Some(at) = head.windows(mark.len()).position(|w| w == mark) else { continue };
            let after = &line[at + mark.len()..];
            if let Some(colon) = after.iter().position(|b| *b == b':') {
                text.extend_from_slice(after.get(colon + 2..).unwrap_or(&[]));
                text.push(b'\n');
            }
        }
        text
    }
}

/// The last lines of a tail, whole ones where it was cut, 2 KiB at most.
fn last_lines(tail: &[u8]) -> Option<String> {
    let mut tail = tail.strip_suffix(b"\n").unwrap_or(tail);
    if tail.len() >= TAIL - 1 {
        tail = &tail[tail.len() - (TAIL - 1)..];
        let line = tail.iter().position(|b| *b == b'\n').map_or(tail, |at| &tail[at + 1..]);
        tail = if line.is_empty() { tail } else { line };
    }
    let mut text = String::from_utf8_lossy(tail).into_owned();
    // A replacement character is longer than the byte that it stands for.
    if text.len() > TAIL {
        let cut = (text.len() - TAIL..text.len()).find(|at| text.is_char_boundary(*at))?;
        text.drain(..cut);
    }
    (!text.trim().is_empty()).then_some(text)
}

/// The first digits of an invocation id, as the logs name it.
fn short(invocation: Invocation) -> String {
    invocation.0[..4].iter().map(|b| format!("{b:02x}")).collect()
}

/// Lines in the making, all of one moment.
struct Lines {
    prefix: String,
    out: Vec<u8>,
    bytes: u32,
}

impl Lines {
    fn new(origin: &Origin) -> Lines {
        let at = timestamp(now().realtime_us);
        let prefix = format!("{at} {} {} {}: ", short(origin.invocation), origin.stream, origin.pid);
        Lines { prefix, out: Vec::new(), bytes: 0 }
    }

    fn put(&mut self, line: &[u8]) {
        self.out.extend_from_slice(self.prefix.as_bytes());
        self.out.extend_from_slice(line);
        self.out.push(b'\n');
        self.bytes = self.bytes.saturating_add(line.len() as u32 + 1);
    }
}

/// Appends lines to the log of their unit; counts what has no room.
fn store(logs: &std::path::Path, log_bytes: u64, output: &mut Output, lines: &mut Lines) {
    if lines.out.is_empty() {
        return;
    }
    let path = logs.join(file_name(&output.origin.unit));
    let mut text = Vec::new();
    if output.lost > 0 {
        text = format!("{}[hence: {} bytes are missing here]\n", lines.prefix, output.lost).into_bytes();
    }
    text.append(&mut lines.out);
    let append = || {
        let mut file = open_private(&path)?;
        let mut length = file.metadata()?.len();
        if length > 0 && length + text.len() as u64 > log_bytes {
            let mut old = path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&path, old)?;
            file = open_private(&path)?;
            length = file.metadata()?.len();
        }
        file.seek(SeekFrom::Start(length))?;
        file.write_all(&text).inspect_err(|_| {
            let _ = file.set_len(length);
        })
    };
    let result: io::Result<()> = append();
    match result {
        Ok(()) => output.lost = 0,
        Err(_) => output.lost = output.lost.saturating_add(lines.bytes),
    }
    lines.bytes = 0;
}

/// The name of a unit's log file: what a file name can't hold is escaped, what is too long is cut and marked.
pub(crate) fn file_name(unit: &str) -> String {
    let mut name = String::new();
    for (at, c) in unit.chars().enumerate() {
        if c == '/' || c == '%' || c.is_control() || (at == 0 && c == '.') {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|b| name.push_str(&format!("%{b:02x}")));
        } else {
            name.push(c);
        }
    }
    if name.len() > 230 {
        let hash = super::digest::sha256(unit.as_bytes());
        let mut cut = 200;
        while !name.is_char_boundary(cut) {
            cut -= 1;
        }
        name.truncate(cut);
        name.push('%');
        hash[..8].iter().for_each(|b| name.push_str(&format!("{b:02x}")));
    }
    name.push_str(".log");
    name
}

/// A moment as ISO 8601, UTC, in microseconds.
fn timestamp(us: u64) -> String {
    let (days, day_us) = ((us / 86_400_000_000) as i64, us % 86_400_000_000);
    // Days to a date: Howard Hinnant's published algorithm, years beginning in March.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let s = day_us / 1_000_000;
    let (h, m, s, us) = (s / 3600, s / 60 % 60, s % 60, day_us % 1_000_000);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{us:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(timestamp(951_782_400_000_001), "2000-02-29T00:00:00.000001Z");
        assert_eq!(timestamp(1_763_826_408_123_456), "2025-11-22T15:46:48.123456Z");
    }

    #[test]
    fn names_of_logs() {
        assert_eq!(file_name("a@b\\x2dc.service"), "a@b\\x2dc.service.log");
        assert_eq!(file_name("../x"), "%2e.%2fx.log");
        let long = "x".repeat(255);
        assert!(file_name(&long).len() + 2 <= 255);
        assert_ne!(file_name(&long), file_name(&"x".repeat(254)));
    }

    #[test]
    fn last_lines_are_whole_and_bounded() {
        assert_eq!(last_lines(b"\n"), None);
        assert_eq!(last_lines(b"one\ntwo\n").as_deref(), Some("one\ntwo"));
        let long: Vec<u8> = (0..500).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let text = last_lines(&long).unwrap();
        assert!(text.len() <= TAIL && text.starts_with("line ") && text.ends_with("line 499"));
        assert!(last_lines(&[0xff; 5000]).unwrap().len() <= TAIL);
    }
}
