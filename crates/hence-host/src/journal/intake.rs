//! What is logged becomes entries: lines of output, syslog and native messages, with the fields that
//! systemd-journald gives them, within the bounds that their units set. Who may send, and from where it is
//! read, is decided elsewhere.

use super::copies::{self, Copies};
use super::fields::Fields;
use super::filter::{Filter, Filters};
use super::limit::{self, Limits, Verdict};
use super::parse;
use super::settings::{Logging, level_of};
use super::speaker::Speaker;
use super::{Journal, hex};
use hence_ledger::{Invocation, Stamp, Text};
use std::collections::HashMap;
use std::rc::Rc;

/// How long what is known of a process is believed, in microseconds.
const BELIEVED_US: u64 = 5_000_000;
/// Senders that are remembered.
const SENDERS: usize = 512;
/// Longest message that isn't a line, in bytes.
pub(crate) const LONGEST_MESSAGE: usize = 4 << 20;
/// systemd's id of "Suppressed ... messages", see sd-messages.h in its interface.
const SUPPRESSED: &str = "a596d6fe7bfa4994828e72309e95d61e";

/// What is taken where units say nothing; journald.conf(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeOptions {
    /// RateLimitIntervalSec=, in microseconds; 0: no limit.
    pub interval_us: u64,
    /// RateLimitBurst=; 0: no limit.
    pub burst: u32,
    /// MaxLevelStore=
    pub level_max: u8,
}

impl Default for IntakeOptions {
    fn default() -> IntakeOptions {
        IntakeOptions { interval_us: limit::INTERVAL_US, burst: limit::BURST, level_max: 7 }
    }
}

/// A stream of lines.
#[derive(Debug)]
pub(crate) struct Source {
    pub unit: Text,
    pub invocation: Option<Invocation>,
    pub pid: u32,
    pub logging: Logging,
    /// _STREAM_ID=
    pub id: [u8; 16],
    looked_us: u64,
    speaker: Speaker,
    /// The fields by level.
    levels: Vec<(u8, Fields)>,
    filter: Option<Rc<Filter>>,
}

impl Source {
    pub fn new(
        unit: Text,
        invocation: Option<Invocation>,
        pid: u32,
        logging: Logging,
        id: [u8; 16],
    ) -> Source {
        let speaker = Speaker::default();
        Source { unit, invocation, pid, logging, id, looked_us: 0, speaker, levels: Vec::new(), filter: None }
    }
}

/// The unit of a process: its name, its running invocation, what it says about its logs.
pub(crate) type UnitOf<'a> = &'a dyn Fn(&Speaker) -> Option<(Text, Option<Invocation>, Logging)>;

/// Who sent a datagram, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Credentials {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug)]
struct Known {
    unit: Text,
    logging: Logging,
    filter: Option<Rc<Filter>>,
    fields: Fields,
    looked_us: u64,
}

impl Known {
    fn keeps(&self, fields: &[&[u8]]) -> bool {
        let Some(filter) = &self.filter else { return true };
        fields.iter().find_map(|field| field.strip_prefix(b"MESSAGE=")).is_none_or(|text| filter.keeps(text))
    }
}

/// Takes what is logged.
#[derive(Debug)]
pub(crate) struct Intake {
    pub journal: Journal,
    options: IntakeOptions,
    limits: Limits,
    factor: u64,
    factor_at_us: u64,
    senders: HashMap<Credentials, Known>,
    filters: Filters,
    copies: Copies,
    own: Option<Fields>,
    /// The owner's process, its fields, and when it was looked at.
    owner: Option<(u32, Fields, u64)>,
    scratch: Vec<u8>,
    /// Whether something was said that is to be on the disk at once.
    pub urgent: bool,
}

impl Intake {
    pub fn new(journal: Journal, options: IntakeOptions) -> Intake {
        Intake {
            journal,
            options,
            limits: Limits::default(),
            factor: 1,
            factor_at_us: 0,
            senders: HashMap::new(),
            filters: Filters::default(),
            copies: Copies::default(),
            own: None,
            owner: None,
            scratch: Vec::new(),
            urgent: false,
        }
    }

    /// What every entry has.
    fn machine(&self, fields: &mut Fields) {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        fields
            .push("_BOOT_ID", hex(&self.journal.boot_id()))
            .push("_MACHINE_ID", hex(&self.journal.machine_id()))
            .push("_HOSTNAME", host.trim_end())
            .push("_RUNTIME_SCOPE", "system");
    }

    fn refresh(&self, source: &mut Source, now_us: u64) {
        let mut speaker = Speaker::of(source.pid);
        let old = source.looked_us != 0;
        source.looked_us = now_us;
        if old && (speaker.ids.is_none() || speaker == source.speaker) {
            // The same as before, or gone: then what it was is what counts.
            return;
        }
        if speaker.unit().is_some_and(|unit| unit != &*source.unit) {
            // Somebody else has its number by now.
            speaker = Speaker { pid: source.pid, ..Speaker::default() };
        }
        source.speaker = speaker;
        source.levels.clear();
    }

    fn level<'a>(&self, source: &'a mut Source, level: u8) -> Option<&'a mut Fields> {
        if let Some(at) = source.levels.iter().position(|(l, _)| *l == level) {
            return Some(&mut source.levels[at].1);
        }
        let mut fields = Fields::new();
        fields.push("_TRANSPORT", "stdout").push("_STREAM_ID", hex(&source.id));
        fields.push("PRIORITY", level.to_string());
        if source.logging.facility != 0 {
            fields.push("SYSLOG_FACILITY", source.logging.facility.to_string());
        }
        if !source.logging.identifier.is_empty() {
            fields.push("SYSLOG_IDENTIFIER", &*source.logging.identifier);
        }
        source.speaker.describe(&mut fields);
        describe_unit(&mut fields, &source.unit, source.invocation, &source.speaker, &source.logging);
        self.machine(&mut fields);
        source.levels.push((level, fields));
        source.levels.last_mut().map(|(_, fields)| fields)
    }

    /// Takes a line of output. `ended_by`: what it ended with, where that wasn't a newline.
    pub fn line(&mut self, source: &mut Source, line: &[u8], ended_by: Option<&str>, at: Stamp) {
        let prefixed = if source.logging.level_prefix { level_of(line) } else { None };
        let (level, text) = prefixed.unwrap_or((source.logging.level, line));
        let text = text.trim_ascii_end();
        if level > source.logging.level_max.min(self.options.level_max) || text.is_empty() {
            return;
        }
        if !source.logging.patterns.is_empty() {
            let filter =
                source.filter.take().unwrap_or_else(|| self.filter(&source.unit, &source.logging, at));
            let kept = filter.keeps(text);
            source.filter = Some(filter);
            if !kept {
                return;
            }
        }
        if !self.admits(&source.unit, &source.logging, level, at) {
            return;
        }
        if source.looked_us == 0 || at.monotonic_us > source.looked_us + BELIEVED_US {
            self.refresh(source, at.monotonic_us);
        }
        let bits = source.logging.copies & (copies::CONSOLE | copies::KERNEL);
        if bits != 0 {
            self.copies.put(bits, level, (&source.logging.identifier, source.pid), text, at.monotonic_us);
        }
        let mut message = std::mem::take(&mut self.scratch);
        message.clear();
        message.extend_from_slice(b"MESSAGE=");
        message.extend_from_slice(text);
        if let Some(fields) = self.level(source, level) {
            match ended_by {
                None => self.journal.append(fields, &[&message], at),
                Some(how) => {
                    let ended = format!("_LINE_BREAK={how}");
                    self.journal.append(fields, &[&message, ended.as_bytes()], at);
                }
            }
        }
        self.scratch = message;
        self.urgent |= level <= 2;
    }

    /// What a unit's patterns keep; says what is wrong with them.
    fn filter(&mut self, unit: &str, logging: &Logging, at: Stamp) -> Rc<Filter> {
        let (filter, mut wrong) = self.filters.of(&logging.patterns);
        if logging.patterns_missing {
            wrong.push("LogFilterPatterns=: there are too many; not all are looked at".to_owned());
        }
        for text in wrong {
            let (text, whose) = (format!("MESSAGE={unit}: {text}"), format!("OBJECT_SYSTEMD_UNIT={unit}"));
            self.say(&[&text, "PRIORITY=4", &whose], at);
        }
        filter
    }

    /// Whether the unit may log now; says so where it had been too much.
    fn admits(&mut self, unit: &str, logging: &Logging, level: u8, at: Stamp) -> bool {
        let interval_us = logging.interval_us.unwrap_or(self.options.interval_us);
        let burst = logging.burst.unwrap_or(self.options.burst);
        if interval_us == 0 || burst == 0 {
            return true;
        }
        if self.factor_at_us == 0 || at.monotonic_us > self.factor_at_us + BELIEVED_US {
            self.factor_at_us = at.monotonic_us;
            self.factor = limit::factor(self.journal.room());
        }
        let burst = u64::from(burst) * self.factor;
        match self.limits.count(unit, level, interval_us, burst, at.monotonic_us) {
            Verdict::Drop => false,
            Verdict::Take { dropped: 0 } => true,
            Verdict::Take { dropped } => {
                let text = format!("MESSAGE=Suppressed {dropped} messages from {unit}");
                let id = format!("MESSAGE_ID={SUPPRESSED}");
                let (count, whose) = (format!("N_DROPPED={dropped}"), format!("OBJECT_SYSTEMD_UNIT={unit}"));
                self.say(&[&text, "PRIORITY=6", &id, &count, &whose], at);
                true
            }
        }
    }

    /// An entry of our own: what happened to entries.
    fn say(&mut self, varying: &[&str], at: Stamp) {
        let mut own = self.own.take().unwrap_or_else(|| {
            let mut fields = Fields::new();
            fields.push("_TRANSPORT", "driver").push("SYSLOG_IDENTIFIER", "hence-recorder");
            fields.push("SYSLOG_FACILITY", "3");
            Speaker::of(std::process::id()).describe(&mut fields);
            self.machine(&mut fields);
            fields
        });
        let varying: Vec<&[u8]> = varying.iter().map(|v| v.as_bytes()).collect();
        self.journal.append(&mut own, &varying, at);
        self.own = Some(own);
    }

    /// Takes what the owner, a process, says of units. It has no bound of its own: nobody else sends it.
    pub fn tell(&mut self, owner: u32, told: &[String], realtime_us: u64, at: Stamp) {
        let mut fields = match self.owner.take() {
            Some((pid, fields, looked_us)) if pid == owner && at.monotonic_us <= looked_us + BELIEVED_US => {
                (fields, looked_us)
            }
            _ => {
                let speaker = Speaker::of(owner);
                let mut fields = Fields::new();
                fields.push("_TRANSPORT", "journal").push("SYSLOG_IDENTIFIER", "systemd");
                fields.push("SYSLOG_FACILITY", "3").push("TID", owner.to_string());
                speaker.describe(&mut fields);
                describe_unit(
                    &mut fields,
                    speaker.unit().unwrap_or_default(),
                    None,
                    &speaker,
                    &Logging::default(),
                );
                self.machine(&mut fields);
                (fields, at.monotonic_us)
            }
        };
        let sent = format!("_SOURCE_REALTIME_TIMESTAMP={realtime_us}");
        let mut varying: Vec<&[u8]> = told.iter().map(String::as_bytes).collect();
        varying.push(sent.as_bytes());
        self.journal.append(&mut fields.0, &varying, at);
        self.owner = Some((owner, fields.0, fields.1));
    }

    /// Tells the journal what of it is missing, as soon as there is room.
    pub fn own_up(&mut self, at: Stamp) {
        if let Some((lost, why)) = self.journal.take_lost() {
            let text = format!("MESSAGE={lost} messages could not be stored: {why}");
            self.say(&[&text, "PRIORITY=3", &format!("N_DROPPED={lost}")], at);
        }
    }

    fn known(&mut self, who: Credentials, unit_of: UnitOf<'_>, at: Stamp) -> Known {
        match self.senders.remove(&who) {
            Some(known) if at.monotonic_us <= known.looked_us + BELIEVED_US => known,
            old => {
                let speaker = Speaker::of(who.pid);
                if let Some(old) = old.filter(|_| speaker.ids.is_none()) {
                    return old;
                }
                let (unit, invocation, logging) = unit_of(&speaker).unwrap_or_else(|| {
                    let unit = speaker.unit().map_or_else(|| Text::from(""), Text::from);
                    (unit, None, Logging::default())
                });
                let mut fields = Fields::new();
                // What the kernel said with the message counts, not what /proc says a moment later.
                let speaker = Speaker { ids: Some((who.uid, who.gid)), ..speaker };
                speaker.describe(&mut fields);
                describe_unit(&mut fields, &unit, invocation, &speaker, &logging);
                self.machine(&mut fields);
                let filters = !logging.patterns.is_empty();
                let filter = filters.then(|| self.filter(&unit, &logging, at));
                Known { unit, logging, filter, fields, looked_us: at.monotonic_us }
            }
        }
    }

    fn send(&mut self, who: Credentials, mut known: Known, level: u8, varying: &[&[u8]], at: Stamp) {
        let limited: Text =
            if known.unit.is_empty() { format!("uid {}", who.uid).into() } else { known.unit.clone() };
        let total: usize = varying.iter().map(|v| v.len()).sum();
        if level <= known.logging.level_max.min(self.options.level_max)
            && total <= LONGEST_MESSAGE
            && known.keeps(varying)
            && self.admits(&limited, &known.logging, level, at)
        {
            self.journal.append(&mut known.fields, varying, at);
            self.urgent |= level <= 2;
        }
        if self.senders.len() >= SENDERS {
            self.senders.clear();
        }
        self.senders.insert(who, known);
    }

    /// Takes a message of syslog(3). `sent_us`: when it was, where the kernel said so.
    pub fn syslog(
        &mut self,
        datagram: &[u8],
        who: Credentials,
        sent_us: u64,
        unit_of: UnitOf<'_>,
        at: Stamp,
    ) {
        let parts = parse::syslog(datagram);
        let known = self.known(who, unit_of, at);
        let level = (parts.priority & 7) as u8;
        let mut varying: Vec<Vec<u8>> = vec![
            b"_TRANSPORT=syslog".to_vec(),
            format!("PRIORITY={level}").into_bytes(),
            format!("SYSLOG_FACILITY={}", parts.priority >> 3).into_bytes(),
        ];
        if sent_us > 0 {
            varying.push(format!("_SOURCE_REALTIME_TIMESTAMP={sent_us}").into_bytes());
        }
        for (name, value) in [
            (&b"SYSLOG_IDENTIFIER="[..], parts.identifier),
            (b"SYSLOG_PID=", parts.pid),
            (b"SYSLOG_TIMESTAMP=", parts.timestamp),
        ] {
            if !value.is_empty() {
                varying.push([name, value].concat());
            }
        }
        varying.push([b"MESSAGE=", parts.message].concat());
        let varying: Vec<&[u8]> = varying.iter().map(Vec::as_slice).collect();
        self.send(who, known, level, &varying, at);
    }

    /// Takes a datagram of the native protocol.
    pub fn native(
        &mut self,
        datagram: &[u8],
        who: Credentials,
        sent_us: u64,
        unit_of: UnitOf<'_>,
        at: Stamp,
    ) {
        for message in parse::native(datagram) {
            let known = self.known(who, unit_of, at);
            let level = message.iter().find_map(|f| f.strip_prefix(b"PRIORITY="));
            let level =
                level.and_then(|l| std::str::from_utf8(l).ok()?.parse::<u8>().ok()).unwrap_or(6).min(7);
            let sent = format!("_SOURCE_REALTIME_TIMESTAMP={sent_us}");
            let mut varying: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
            varying.push(b"_TRANSPORT=journal");
            if sent_us > 0 {
                varying.push(sent.as_bytes());
            }
            self.send(who, known, level, &varying, at);
        }
    }

    /// Gives back the memory that a burst needed.
    pub fn shrink(&mut self) {
        self.journal.shrink();
        self.copies.shrink();
        self.senders = HashMap::new();
        self.scratch.shrink_to(4 << 10);
    }
}

fn describe_unit(
    fields: &mut Fields,
    unit: &str,
    invocation: Option<Invocation>,
    speaker: &Speaker,
    logging: &Logging,
) {
    if !unit.is_empty() {
        fields.push("_SYSTEMD_UNIT", unit);
        if let Some(slice) = speaker.slice() {
            fields.push("_SYSTEMD_SLICE", slice);
        }
    }
    if let Some(invocation) = invocation {
        fields.push("_SYSTEMD_INVOCATION_ID", hex(&invocation.0));
    }
    for field in &logging.extra_fields {
        if let Some((name, value)) = field.split_once('=') {
            fields.push(name, value);
        }
    }
}

/// Cuts lines out of what was read; returns how much of it they were. `last`: what is left is a line too,
/// because of that.
pub(crate) fn lines<'a>(
    bytes: &'a [u8],
    longest: usize,
    last: Option<&'static str>,
    mut put: impl FnMut(&'a [u8], Option<&'static str>),
) -> usize {
    let mut done = 0;
    loop {
        let rest = &bytes[done..];
        let end = memchr::memchr2(b'\n', 0, &rest[..rest.len().min(longest)]);
        match end {
            Some(end) => {
                put(&rest[..end], (rest[end] == 0).then_some("nul"));
                done += end + 1;
            }
            None if rest.len() >= longest => {
                put(&rest[..longest], Some("line-max"));
                done += longest;
            }
            None => {
                if let Some(why) = last.filter(|_| !rest.is_empty()) {
                    put(rest, Some(why));
                    done += rest.len();
                }
                return done;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut() {
        let mut got = Vec::new();
        let text = b"one\n\0two\0three....and";
        let done =
            lines(text, 9, None, |line, how| got.push((String::from_utf8_lossy(line).into_owned(), how)));
        assert_eq!(&text[done..], b"and");
        let expected =
            [("one", None), ("", Some("nul")), ("two", Some("nul")), ("three....", Some("line-max"))];
        assert_eq!(got, expected.map(|(text, how)| (text.to_owned(), how)));
        let mut last = Vec::new();
        assert_eq!(lines(b"end", 9, Some("eof"), |line, how| last.push((line, how))), 3);
        assert_eq!(last, [(&b"end"[..], Some("eof"))]);
    }
}
