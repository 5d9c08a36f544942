//! What is going on now, from records as they come: loops and left-over processes with a verdict each, told
//! once, and the numbers that metrics show. `loops` and `leaks` answer the same questions of a whole
//! ledger; this remembers only what it needs to notice, within bounds that are constants here.
//!
//! Pure: time comes with the records and with [`Live::settle`]. Whom a verdict is told to is decided
//! elsewhere.

mod count;
mod origin;
#[cfg(test)]
mod tests;
mod unit;

use crate::allow::AllowList;
use crate::index::{EventKind, event_kind};
use crate::path::RootKind;
use crate::record::{Fact, Record, Rule, Stamp};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec::Vec,
};
pub use count::{Counts, LeftNow, LoopNow};
use hence_unit::Text;
pub use origin::Origin;
use origin::Origins;
use unit::{Left, UnitLive};

/// Units that are remembered; of more, those that had nothing happen to them for longest are forgotten.
const UNITS: usize = 4096;
/// Left-over processes that are remembered; more are counted by the ledger alone.
const PROCESSES: usize = 16_384;
/// Verdicts that may wait to be fetched.
const ALERTS: usize = 256;
/// So many like turns make a loop that somebody is alarmed for.
const TURNS: u64 = 4;
/// A unit without left-over processes for this long leaves none behind any more.
const CLEAR_US: u64 = 60_000_000;
/// Left-over processes are told again when they are so many times as many as when they were told last.
const GROWTH: u64 = 10;
/// Commands that a verdict names.
const COMMANDS: usize = 4;

/// What a verdict says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    /// A unit goes down and comes up again and again for the same reason.
    Loop,
    /// It no longer does.
    LoopOver,
    /// Processes outlived their unit.
    Leak,
    /// They are many more by now.
    LeakGrown,
    /// None of them is left.
    LeakOver,
}

impl AlertKind {
    /// The word that people and programs see.
    pub const fn as_str(self) -> &'static str {
        match self {
            AlertKind::Loop => "loop",
            AlertKind::LoopOver => "loop-over",
            AlertKind::Leak => "leak",
            AlertKind::LeakGrown => "leak-grown",
            AlertKind::LeakOver => "leak-over",
        }
    }
}

/// A verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Of what kind.
    pub kind: AlertKind,
    /// When it was reached.
    pub at: Stamp,
    /// The unit; of a loop the one at its root.
    pub unit: Text,
    /// Units that go around with it, as far as they are known by then.
    pub followers: Vec<Text>,
    /// Where it begins, of a loop.
    pub root: Option<Arc<Origin>>,
    /// The directive by which it happens, of left-over processes.
    pub rule: Option<Rule>,
    /// How often a loop went around.
    pub times: u64,
    /// The median time of a turn in microseconds, where there is a rhythm.
    pub period_us: Option<u64>,
    /// Since when.
    pub since: Stamp,
    /// Left-over processes of the unit and its followers that nobody intends.
    pub processes: u64,
    /// Their memory, as far as it could be read.
    pub bytes: u64,
    /// Commands of these processes, the most frequent first.
    pub commands: Vec<(Text, u64)>,
    /// CPU time that the turns of a loop took, where it is known.
    pub cpu_us: u64,
    /// StartLimitBurst= can't end this loop: its turns are too far apart.
    pub endless: bool,
}

/// What is remembered.
#[derive(Debug)]
pub struct Live {
    /// What is shorter than this alarms nobody, in microseconds.
    after_us: u64,
    origins: Origins,
    units: BTreeMap<Text, UnitLive>,
    /// Units that are to be looked at, and when on CLOCK_MONOTONIC.
    due: BTreeSet<(u64, Text)>,
    alerts: VecDeque<Alert>,
    allowed: Arc<AllowList>,
    processes: usize,
    counts: Counts,
}

impl Live {
    /// Nothing is known yet. `after_us`: loops and left-over processes that are over sooner alarm nobody.
    pub fn new(after_us: u64, allowed: Arc<AllowList>) -> Live {
        Live {
            after_us,
            origins: Origins::default(),
            units: BTreeMap::new(),
            due: BTreeSet::new(),
            alerts: VecDeque::new(),
            allowed,
            processes: 0,
            counts: Counts::default(),
        }
    }

    /// Takes a record; those that it names as causes came before.
    pub fn take(&mut self, record: &Record) {
        self.counts.records += 1;
        if let Fact::Gap { lost, reason } = record.fact {
            self.counts.gap(reason, lost);
        }
        let Some(name) = &record.unit else {
            self.origins.take(record, None);
            return;
        };
        self.make_room(name);
        let unit = self.units.entry(name.clone()).or_default();
        unit.last_us = record.at.monotonic_us;
        let origin = self.origins.take(record, Some(&mut unit.latest));
        match &record.fact {
            Fact::ProcessExited { cpu_us, .. } => unit.cpu_us = unit.cpu_us.saturating_add(*cpu_us),
            Fact::LeftBehind { processes, allowed, .. } => {
                let rule = record.causes.iter().find_map(|cause| cause.rule.clone());
                unit.rule = rule.or(unit.rule.take());
                for process in processes {
                    let key = (process.pid, process.start_ticks);
                    if self.processes >= PROCESSES && !unit.left.contains_key(&key) {
                        continue;
                    }
                    let allowed = *allowed || self.allowed.allows(name, &process.command).is_some();
                    let left = Left {
                        command: process.command.clone(),
                        bytes: process.bytes,
                        since: record.at,
                        allowed,
                        looked_at: false,
                    };
                    self.processes += usize::from(unit.left.insert(key, left).is_none());
                }
                if unit.unexpected() > 0 {
                    unit.clear_us = None;
                    self.due_at(name, record.at.monotonic_us + self.after_us);
                }
            }
            Fact::LeftOverGone { pid, start_ticks, .. } => {
                self.processes -= usize::from(unit.left.remove(&(*pid, *start_ticks)).is_some());
                if unit.told > 0 && unit.unexpected() == 0 && unit.clear_us.is_none() {
                    let at_us = record.at.monotonic_us + CLEAR_US;
                    unit.clear_us = Some(at_us);
                    self.due_at(name, at_us);
                }
            }
            Fact::StateChanged { .. } => {
                if let Some(kind) = event_kind(&record.fact) {
                    self.event(name, record.at, kind, &origin);
                }
            }
            _ => {}
        }
    }

    /// A process that was left over before this began to look.
    pub fn left_before(&mut self, unit: &Text, at: Stamp, process: &crate::LeftOver, allowed: bool) {
        let record = Record {
            id: crate::RecordId(0),
            at,
            unit: Some(unit.clone()),
            invocation: None,
            causes: Vec::new(),
            certainty: crate::Certainty::Observed,
            fact: Fact::LeftBehind { processes: Vec::from([process.clone()]), total: 1, allowed },
        };
        self.take(&record);
        self.counts.records -= 1;
    }

    /// Another list of left-over processes that are intended; those that are known are judged anew.
    pub fn allow(&mut self, allowed: Arc<AllowList>, now: Stamp) {
        let units: Vec<Text> = self.units.keys().cloned().collect();
        for name in units {
            let Some(unit) = self.units.get_mut(&name) else { continue };
            for left in unit.left.values_mut() {
                left.allowed = allowed.allows(&name, &left.command).is_some();
            }
            if !unit.left.is_empty() {
                self.due_at(&name, now.monotonic_us);
            }
        }
        self.allowed = allowed;
    }

    /// Left-over processes that have stayed and should be looked at once more before they are judged: many
    /// are left behind when they have not yet executed their program.
    pub fn stayed(&mut self, now: Stamp) -> Vec<(Text, u32, u64)> {
        let mut found = Vec::new();
        for (_, name) in self.due.iter().take_while(|(at, _)| *at <= now.monotonic_us) {
            let Some(unit) = self.units.get_mut(name) else { continue };
            for (key, left) in &mut unit.left {
                if !left.looked_at && left.since.monotonic_us + self.after_us <= now.monotonic_us {
                    left.looked_at = true;
                    found.push((name.clone(), key.0, key.1));
                }
            }
        }
        found
    }

    /// What a left-over process is by now.
    pub fn is_now(&mut self, unit: &Text, process: &crate::LeftOver) {
        let key = (process.pid, process.start_ticks);
        let left = self.units.get_mut(unit).and_then(|of| of.left.get_mut(&key));
        if let Some(left) = left {
            left.command = process.command.clone();
            left.bytes = process.bytes.or(left.bytes);
            left.allowed |= self.allowed.allows(unit, &process.command).is_some();
        }
    }

    /// Judges what only time can show.
    pub fn settle(&mut self, now: Stamp) {
        while self.due.first().is_some_and(|(at, _)| *at <= now.monotonic_us) {
            let Some((_, name)) = self.due.pop_first() else { return };
            let Some(unit) = self.units.get_mut(&name) else { continue };
            unit.due_us = None;
            self.look_at(&name, now);
            let next = self.units.get(&name).and_then(|unit| unit.next_us(self.after_us, now));
            if let Some(at_us) = next {
                self.due_at(&name, at_us);
            }
        }
    }

    /// When to settle next, on CLOCK_MONOTONIC in microseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next verdict.
    pub fn poll_alert(&mut self) -> Option<Alert> {
        self.alerts.pop_front()
    }

    /// The numbers.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Left-over processes by unit and whether they are intended; units without any are left out.
    pub fn left_now(&self) -> Vec<LeftNow> {
        let mut found = Vec::new();
        for (name, unit) in self.units.iter().filter(|(_, unit)| !unit.left.is_empty()) {
            for allowed in [false, true] {
                let of = unit.left.values().filter(|left| left.allowed == allowed);
                let sums = of.fold((0, 0), |(n, bytes): (u64, u64), left| {
                    (n + 1, bytes.saturating_add(left.bytes.unwrap_or_default()))
                });
                if sums.0 > 0 {
                    found.push(LeftNow { unit: name.clone(), allowed, processes: sums.0, bytes: sums.1 });
                }
            }
        }
        found
    }

    /// Loops that were told of and go on.
    pub fn loops_now(&self) -> Vec<LoopNow> {
        let of_unit = |(name, unit): (&Text, &UnitLive)| {
            let told = unit.turnings.iter().filter(|t| t.told && t.head.is_none());
            let now = |t: &unit::Turning| LoopNow {
                unit: name.clone(),
                cause: t.origin.kind,
                turns: t.times,
                period_us: t.period_us(),
            };
            told.map(now).collect::<Vec<_>>()
        };
        self.units.iter().flat_map(of_unit).collect()
    }

    /// Looks at the unit by then. Each has one time at most: whatever is later is found when it comes.
    fn due_at(&mut self, name: &Text, at_us: u64) {
        let Some(unit) = self.units.get_mut(name) else { return };
        if unit.due_us.is_some_and(|known| known <= at_us) {
            return;
        }
        if let Some(known) = unit.due_us.replace(at_us) {
            self.due.remove(&(known, name.clone()));
        }
        self.due.insert((at_us, name.clone()));
    }

    fn make_room(&mut self, name: &Text) {
        if self.units.len() < UNITS || self.units.contains_key(name) {
            return;
        }
        // A quarter at once, so that this is seldom.
        let busy = |unit: &UnitLive| !unit.left.is_empty() || unit.turnings.iter().any(|t| t.told);
        let mut known: Vec<(bool, u64, Text)> =
            self.units.iter().map(|(name, unit)| (busy(unit), unit.last_us, name.clone())).collect();
        known.sort_unstable();
        for (_, _, name) in known.into_iter().take(UNITS / 4) {
            let Some(unit) = self.units.remove(&name) else { continue };
            self.processes -= unit.left.len();
            if let Some(at_us) = unit.due_us {
                self.due.remove(&(at_us, name));
            }
        }
    }

    fn event(&mut self, name: &Text, at: Stamp, kind: EventKind, origin: &Arc<Origin>) {
        let Some(unit) = self.units.get_mut(name) else { return };
        match kind {
            EventKind::Up => {
                let Some((down, of)) = unit.down.take() else { return };
                // What took it down brought it up again.
                if of.record == origin.record && of.kind != RootKind::Boot {
                    self.counts.restart(name, origin.kind);
                    if down == EventKind::Down {
                        self.turn(name, at, origin);
                    }
                }
            }
            EventKind::Failed | EventKind::Down => {
                self.counts.stop(kind == EventKind::Failed, origin.kind);
                unit.down = Some((kind, origin.clone()));
                if kind == EventKind::Failed {
                    self.turn(name, at, origin);
                }
            }
            EventKind::NotStarted => self.counts.not_started += 1,
        }
    }

    /// A unit went around once more.
    fn turn(&mut self, name: &Text, at: Stamp, origin: &Arc<Origin>) {
        if !origin.can_loop {
            return;
        }
        let Some(unit) = self.units.get_mut(name) else { return };
        let cpu_us = core::mem::take(&mut unit.cpu_us);
        let turning = unit.turn(at, origin, cpu_us);
        let lasted_us = at.monotonic_us.saturating_sub(turning.since.monotonic_us);
        let (over_us, is_told) = (turning.over_us(), turning.told);
        if !is_told && (turning.times < TURNS || lasted_us < self.after_us) {
            return;
        }
        self.due_at(name, over_us);
        if is_told {
            return;
        }
        let head = origin.unit.clone().filter(|head| head != name);
        let head = head.filter(|head| {
            let of = self.units.get(head);
            of.is_some_and(|unit| unit.turnings.iter().any(|t| t.told && t.origin.kind == origin.kind))
        });
        if let Some(head) = head.as_ref().and_then(|head| self.units.get_mut(head)) {
            head.followers.insert(name.clone());
        }
        let Some(unit) = self.units.get_mut(name) else { return };
        let Some(turning) = unit.turnings.iter_mut().find(|t| t.origin.key == origin.key) else { return };
        turning.told = true;
        turning.head.clone_from(&head);
        if head.is_some() {
            return;
        }
        self.counts.loops += 1;
        self.tell_loop(name, AlertKind::Loop, at, &origin.key);
    }

    fn tell_loop(&mut self, name: &Text, kind: AlertKind, at: Stamp, key: &str) {
        let Some(unit) = self.units.get(name) else { return };
        let Some(turning) = unit.turnings.iter().find(|t| &*t.origin.key == key) else { return };
        let mut alert = Alert {
            kind,
            at,
            unit: name.clone(),
            followers: unit.followers.iter().cloned().collect(),
            root: Some(turning.origin.clone()),
            rule: None,
            times: turning.times,
            period_us: turning.period_us(),
            since: turning.since,
            processes: 0,
            bytes: 0,
            commands: Vec::new(),
            cpu_us: turning.cpu_us,
            endless: false,
        };
        self.cost(&mut alert);
        self.tell(alert);
    }

    /// What the units of a verdict have left behind.
    fn cost(&self, alert: &mut Alert) {
        let mut commands: BTreeMap<Text, u64> = BTreeMap::new();
        for name in core::iter::once(&alert.unit).chain(&alert.followers) {
            let left = self.units.get(name).into_iter().flat_map(|unit| unit.left.values());
            // Who is there for a moment only is no cost.
            let stays = |left: &&Left| left.since.monotonic_us + self.after_us <= alert.at.monotonic_us;
            for left in left.filter(|left| !left.allowed).filter(stays) {
                alert.processes += 1;
                alert.bytes = alert.bytes.saturating_add(left.bytes.unwrap_or_default());
                *commands.entry(left.command.clone()).or_default() += 1;
            }
        }
        alert.commands = commands.into_iter().collect();
        alert.commands.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        alert.commands.truncate(COMMANDS);
    }

    fn tell(&mut self, alert: Alert) {
        if self.alerts.len() >= ALERTS {
            self.counts.unheard += 1;
            return;
        }
        self.alerts.push_back(alert);
    }

    fn look_at(&mut self, name: &Text, now: Stamp) {
        self.look_at_loops(name, now);
        let Some(unit) = self.units.get_mut(name) else { return };
        if unit.clear_us.is_some_and(|at| at <= now.monotonic_us) {
            unit.clear_us = None;
            if unit.unexpected() == 0 && unit.told > 0 {
                unit.told = 0;
                let since = now;
                return self.tell_leak(name, AlertKind::LeakOver, now, since);
            }
        }
        let ripe =
            |left: &&Left| !left.allowed && left.since.monotonic_us + self.after_us <= now.monotonic_us;
        let number = unit.left.values().filter(ripe).count() as u64;
        let since = unit.left.values().filter(ripe).map(|left| left.since).min();
        let told = unit.told;
        if number > 0 && (told == 0 || number >= told.saturating_mul(GROWTH)) {
            unit.told = number;
            let kind = if told == 0 { AlertKind::Leak } else { AlertKind::LeakGrown };
            self.counts.leaks += u64::from(told == 0);
            self.tell_leak(name, kind, now, since.unwrap_or(now));
        } else if told > 0 && unit.unexpected() == 0 && unit.clear_us.is_none() {
            let at_us = now.monotonic_us + CLEAR_US;
            unit.clear_us = Some(at_us);
        }
    }

    fn look_at_loops(&mut self, name: &Text, now: Stamp) {
        let Some(unit) = self.units.get(name) else { return };
        let over: Vec<(Text, bool)> = unit
            .turnings
            .iter()
            .filter(|t| t.told && t.over_us() <= now.monotonic_us)
            .map(|t| (t.origin.key.clone(), t.head.is_none()))
            .collect();
        for (key, is_head) in over {
            if is_head {
                self.tell_loop(name, AlertKind::LoopOver, now, &key);
            }
            if let Some(unit) = self.units.get_mut(name) {
                unit.turnings.retain(|t| t.origin.key != key);
                if unit.turnings.is_empty() {
                    unit.followers.clear();
                }
            }
        }
    }

    fn tell_leak(&mut self, name: &Text, kind: AlertKind, at: Stamp, since: Stamp) {
        let rule = self.units.get(name).and_then(|unit| unit.rule.clone());
        let mut alert = Alert {
            kind,
            at,
            unit: name.clone(),
            followers: Vec::new(),
            root: None,
            rule,
            times: 0,
            period_us: None,
            since,
            processes: 0,
            bytes: 0,
            commands: Vec::new(),
            cpu_us: 0,
            endless: false,
        };
        self.cost(&mut alert);
        self.tell(alert);
    }
}

impl Alert {
    /// Takes the start limit of its unit into account: so many starts within so many microseconds.
    pub fn limited(&mut self, burst: u32, interval_us: u64) {
        let Some(period) = self.period_us.filter(|_| self.kind == AlertKind::Loop) else { return };
        self.endless =
            burst == 0 || interval_us == 0 || period.saturating_mul(u64::from(burst)) > interval_us;
    }

    /// The rule as people read it: the directive, and where it stands.
    pub fn rule_text(&self) -> Option<String> {
        let rule = self.rule.as_ref()?;
        Some(match (&rule.file, rule.line) {
            (Some(file), line) if line > 0 => alloc::format!("{} ({file}:{line})", rule.directive),
            _ => String::from(&*rule.directive),
        })
    }

    /// Its priority in the journal, as syslog(3) counts.
    pub const fn priority(&self) -> u8 {
        match self.kind {
            AlertKind::LeakGrown => 3,
            AlertKind::Loop | AlertKind::Leak => 4,
            AlertKind::LoopOver | AlertKind::LeakOver => 6,
        }
    }

    /// The whole of it in a sentence or two.
    pub fn sentence(&self) -> String {
        use crate::speech::{count, duration, size};
        use alloc::format;
        let unit = &self.unit;
        let left = match self.processes {
            0 => String::new(),
            n if self.bytes > 0 => format!("{}, {}", count(n, "process", "processes"), size(self.bytes)),
            n => count(n, "process", "processes"),
        };
        let lasted = duration(self.at.realtime_us.saturating_sub(self.since.realtime_us));
        let every = self.period_us.map(|us| format!(", every {}", duration(us))).unwrap_or_default();
        match self.kind {
            AlertKind::Loop => {
                let mut text = format!(
                    "{unit} goes down and comes up again and again{every}: {} in {lasted}, because {}.",
                    count(self.times, "time", "times"),
                    self.root.as_ref().map_or("of something unknown", |root| &root.what)
                );
                if !self.followers.is_empty() {
                    text.push_str(&format!(" It takes along {}.", self.followers.join(", ")));
                }
                if !left.is_empty() {
                    text.push_str(&format!(" Left behind so far: {left}."));
                }
                if self.endless {
                    text.push_str(" Its start limit can't end this: its starts are too far apart.");
                }
                text
            }
            AlertKind::LoopOver => format!(
                "{unit} no longer goes down and comes up again: it did so {} since {}.",
                count(self.times, "time", "times"),
                crate::speech::rfc3339(self.since.realtime_us)
            ),
            AlertKind::Leak | AlertKind::LeakGrown => {
                let rule = self.rule_text().map(|rule| format!(" by {rule}")).unwrap_or_default();
                let more = if self.kind == AlertKind::LeakGrown { "more and more: " } else { "" };
                format!("{unit} left processes behind{rule}: {more}{left}, the oldest {lasted} ago.")
            }
            AlertKind::LeakOver => {
                format!("None of the processes that {unit} left behind is there any more.")
            }
        }
    }
}
