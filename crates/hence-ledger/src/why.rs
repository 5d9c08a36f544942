//! The answer to "why": picks the event that is asked about and gathers what explains it.

use crate::advice;
use crate::answer::{Answer, LastWords, LeftBehind, Missing, State};
use crate::basis;
use crate::changes::{self, Comparison};
use crate::index::{At, EventKind, Index, is_down};
use crate::leaks;
use crate::path::{self, Step, Told, path, roots, steps};
use crate::record::{Certainty, Fact, Record, RecordId, Stamp};
use crate::sentence;
use crate::series::{Likes, Series, likes, series};
use crate::speech;
use crate::word::{ActiveState, DeadlineKind, ExitKind, Tracking, Verb};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use hence_unit::Text;

/// How many runs before the last one are searched for last words.
const RUNS_WITH_WORDS: usize = 5;

/// Why the last thing that matters happened to a unit, as seen at `at` (`None`: by all that is on record).
///
/// Where hence itself has ended since and took the unit down with it, that is a note; what is explained is
/// the trouble that the unit had before, if it had any.
///
/// `None` where the ledger knows nothing of the unit up to then.
pub fn why(index: &Index, unit: &str, at: Option<Stamp>, now: Stamp) -> Option<Answer> {
    let until = until(index, at)?;
    if at.is_none()
        && let Some((before, ended)) = before_the_end(index, until)
        && let Some(mut answer) = why_until(index, unit, before, now)
        && matches!(answer.event, "stopped" | "failed" | "restarted" | "not started")
    {
        // What is left and how the unit is are those of now.
        let last = why_until(index, unit, until, now)?;
        (answer.state, answer.left_behind) = (last.state, last.left_behind);
        answer.ended = Some(index.records[ended].at);
        answer.advice = advice::advise(&answer);
        return Some(answer);
    }
    why_until(index, unit, until, now)
}

/// If hence has ended in order by `until`: the place before it was told to, and that of its end.
fn before_the_end(index: &Index, until: At) -> Option<(At, At)> {
    let records = &index.records[..=until];
    let ended = records.iter().rposition(|r| matches!(r.fact, Fact::Ended { .. } | Fact::Started { .. }))?;
    if matches!(records[ended].fact, Fact::Started { .. }) {
        return None;
    }
    let begun = records[..ended].iter().rposition(|r| matches!(r.fact, Fact::Started { .. })).unwrap_or(0);
    let told = |r: &Record| match r.fact {
        Fact::ManagerSignal { .. } | Fact::Request { verb: Verb::Exit, .. } => true,
        Fact::DeadlineReached { deadline, .. } => deadline == DeadlineKind::RunFor,
        _ => false,
    };
    let root = begun + records[begun..ended].iter().position(told)?;
    Some((root.checked_sub(1)?, ended))
}

fn why_until(index: &Index, unit: &str, until: At, now: Stamp) -> Option<Answer> {
    let (name, records) = index.units.get_key_value(unit)?;
    let likes = likes(index, unit, until);
    let mut answer = match pick(index, &likes) {
        _ if let Some((told, counted)) = on_its_way(index, unit, until, &likes) => {
            explain(index, name, &told, counted, until, now)
        }
        Some((nth, told, up_again)) => {
            let like = &likes[nth];
            let counted = series(index, like);
            let mut answer = explain(index, name, &told, counted, until, now);
            answer.up_again = up_again.map(|at| index.records[at].at);
            let found = compare(index, like, &told, until);
            (answer.changed, answer.unchanged, answer.compared) =
                (found.changed, found.unchanged, found.compared);
            answer
        }
        None if records.tallies.iter().any(|&at| at <= until) => from_tally(index, name, until, now)?,
        None => {
            let state_at = records.states.iter().rfind(|&&at| at <= until).copied();
            let at = state_at.or_else(|| waiting(index, name, until))?;
            let path = path(index, at);
            let word = match state(index, name, until) {
                Some(state) if state.active == ActiveState::Active => "running",
                Some(_) => "stopped",
                None => "waiting",
            };
            let steps = steps(index, &path, word);
            let stamp = index.records[at].at;
            let once = Series {
                times: 1,
                times_in_all: 1,
                since: stamp,
                first: stamp,
                last: stamp,
                period_us: None,
            };
            explain(index, name, &Told { at, word, path, steps }, once, until, now)
        }
    };
    answer.advice = advice::advise(&answer);
    Some(answer)
}

/// Why a process was started, ended or left behind; the last that had this pid.
pub fn why_process(index: &Index, pid: u32, at: Option<Stamp>, now: Stamp) -> Option<Answer> {
    let until = until(index, at)?;
    let &at = index.by_pid.get(&pid)?.iter().rfind(|&&at| at <= until)?;
    let record = &index.records[at];
    let name = record.unit.clone()?;
    let word = match &record.fact {
        Fact::LeftBehind { .. } => "left behind",
        Fact::ProcessExited { exit, .. } if exit.kind == ExitKind::Exited => "exited",
        Fact::ProcessExited { .. } => "killed",
        Fact::LeftOverGone { .. } => "exited",
        _ => "started",
    };
    let path = path(index, at);
    let steps = steps(index, &path, word);
    let mut answer = explain(index, &name, &Told { at, word, path, steps }, once(index, at), until, now);
    answer.pid = Some(pid);
    answer.advice = advice::advise(&answer);
    Some(answer)
}

/// The last job that was queued for a unit that never changed its state.
fn waiting(index: &Index, unit: &Text, until: At) -> Option<At> {
    index.records[..=until].iter().rposition(|record| {
        record.unit.as_ref() == Some(unit)
            && matches!(record.fact, Fact::JobQueued { .. } | Fact::JobMerged { .. })
    })
}

fn once(index: &Index, at: At) -> Series {
    let stamp = index.records[at].at;
    Series { times: 1, times_in_all: 1, since: stamp, first: stamp, last: stamp, period_us: None }
}

/// The going up or down of a unit that is on its way, and how often it went so before. A start that belongs
/// to the going down before it is told with that instead.
fn on_its_way(index: &Index, unit: &str, until: At, likes: &[Likes]) -> Option<(Told, Series)> {
    let states = &index.units.get(unit)?.states;
    let states = &states[..states.partition_point(|&at| at <= until)];
    let active = |at: At| match index.records[at].fact {
        Fact::StateChanged { to_active, to, .. } if !is_down(to_active, to) => Some(to_active),
        _ => None,
    };
    let now = active(*states.last()?)?;
    let word = match now {
        ActiveState::Deactivating => "stopping",
        ActiveState::Activating => "starting",
        _ => return None,
    };
    let &at = states.iter().rev().take_while(|&&at| active(at) == Some(now)).last()?;
    let path = path(index, at);
    let steps = steps(index, &path, word);
    let told = Told { at, word, path, steps };
    let last = likes.last();
    if word == "starting" && last.is_some_and(|l| l.kind != EventKind::Up && tied(index, &l.told, &told)) {
        return None;
    }
    let causes = &told.signature()[1..];
    let before = likes.iter().filter(|l| matches!(l.kind, EventKind::Down | EventKind::Failed));
    let before = before.rev().find(|l| word == "stopping" && l.signature.get(1..) == Some(causes));
    let counted = before.map_or_else(
        || once(index, at),
        |like| {
            let counted = series(index, like);
            Series { times: counted.times + 1, times_in_all: counted.times_in_all + 1, ..counted }
        },
    );
    Some((told, counted))
}

/// The last place that had been reached at this time.
fn until(index: &Index, at: Option<Stamp>) -> Option<At> {
    match at {
        None => index.len().checked_sub(1),
        Some(stamp) => index.records.iter().rposition(|r| r.at.realtime_us <= stamp.realtime_us),
    }
}

/// The event to explain: the last one; but where a unit is up again by the very thing that took it down,
/// the going down. With the place where it came up again.
fn pick(index: &Index, likes: &[Likes]) -> Option<(usize, Told, Option<At>)> {
    let last = likes.len().checked_sub(1)?;
    let up = &likes[last];
    if up.kind != EventKind::Up {
        return Some((last, up.told.clone(), None));
    }
    let down = (0..last)
        .filter(|&nth| matches!(likes[nth].kind, EventKind::Down | EventKind::Failed))
        .max_by_key(|&nth| likes[nth].places.last().copied());
    match down {
        Some(nth) if tied(index, &likes[nth].told, &up.told) => {
            Some((nth, likes[nth].told.clone(), Some(up.told.at)))
        }
        _ => Some((last, up.told.clone(), None)),
    }
}

/// Whether what took a unit down also brought it up again.
pub(crate) fn tied(index: &Index, down: &Told, up: &Told) -> bool {
    if up.path.places.contains(&down.at) {
        return true;
    }
    match (down.path.places.last(), up.path.places.last()) {
        (Some(a), Some(b)) => a == b && !matches!(index.records[*a].fact, Fact::Started { .. }),
        _ => false,
    }
}

fn explain(index: &Index, unit: &Text, told: &Told, counted: Series, until: At, now: Stamp) -> Answer {
    let at = index.records[told.at].at;
    let began = told.path.places.last().copied().unwrap_or(told.at);
    let tracking = index.starts.iter().rev().find_map(|(start, _)| match index.records[*start].fact {
        Fact::Started { tracking, .. } => Some(tracking),
        _ => None,
    });
    Answer {
        unit: unit.clone(),
        pid: None,
        event: told.word,
        at,
        now,
        ago_us: now.realtime_us.saturating_sub(at.realtime_us),
        times: counted.times,
        since: counted.since,
        times_in_all: counted.times_in_all,
        first: counted.first,
        period_us: counted.period_us,
        state: state(index, unit, until),
        up_again: None,
        chain: told.steps.clone(),
        roots: roots(index, told.at),
        last_words: last_words(index, told),
        left_behind: leaks::of_unit(index, unit, until),
        changed: Vec::new(),
        unchanged: Vec::new(),
        compared: None,
        gaps: gaps(index, began, until),
        tracking,
        ended: None,
        notes: notes(index, told, began, tracking),
        advice: Vec::new(),
    }
}

fn state(index: &Index, unit: &str, until: At) -> Option<State> {
    let records = index.units.get(unit)?;
    let &at = records.states.iter().rfind(|&&at| at <= until)?;
    let Fact::StateChanged { to_active, to, result, .. } = index.records[at].fact else { return None };
    let running = records.runs.iter().rev().find(|r| r.first <= until);
    let main_pid = running.filter(|_| !is_down(to_active, to)).and_then(|run| run.main).filter(|pid| {
        let last = index.by_pid.get(pid).and_then(|places| places.iter().rfind(|&&at| at <= until));
        last.is_some_and(|&at| matches!(index.records[at].fact, Fact::ProcessStarted { .. }))
    });
    Some(State { active: to_active, sub: to, result, since: index.records[at].at, main_pid })
}

/// What differs since the last good run of the unit where the chain begins.
fn compare(index: &Index, like: &Likes, told: &Told, until: At) -> Comparison {
    let Some(&end) = told.path.places.last() else { return Comparison::default() };
    let ended_badly = matches!(
        index.records[end].fact,
        Fact::ProcessExited { .. }
            | Fact::DeadlineReached { .. }
            | Fact::OomKill { .. }
            | Fact::Unknown { .. }
    );
    let Some(unit) = index.records[end].unit.clone().filter(|_| ended_badly) else {
        return Comparison::default();
    };
    if index.records[told.at].unit.as_ref() == Some(&unit) && like.kind != EventKind::NotStarted {
        return changes::compare(index, &unit, like);
    }
    // The event of that unit that begins with the same root: its last going down at or before this one.
    let of_root = likes(index, &unit, until);
    let bad = of_root
        .iter()
        .filter(|l| matches!(l.kind, EventKind::Down | EventKind::Failed))
        .find(|l| l.places.iter().rev().any(|&at| at >= end && path(index, at).places.contains(&end)));
    bad.map(|bad| changes::compare(index, &unit, bad)).unwrap_or_default()
}

fn last_words(index: &Index, told: &Told) -> Option<LastWords> {
    // From the root on: its unit's words explain, those of a unit that only followed don't.
    let root =
        told.path.places.iter().rev().map(|&at| &index.records[at]).find(|r| r.invocation.is_some())?;
    let ended_by_itself = told.path.places.iter().any(|&at| {
        let record = &index.records[at];
        let own = matches!(record.fact, Fact::ProcessExited { .. } | Fact::SpawnFailed { .. });
        own && record.unit == root.unit
    });
    if !ended_by_itself {
        return None;
    }
    let unit = root.unit.clone()?;
    let records = index.units.get(&unit)?;
    let nth = records.run(root.invocation)?;
    let first = nth.saturating_sub(RUNS_WITH_WORDS);
    let place = records.runs[first..=nth].iter().rev().find_map(|run| run.last_words)?;
    match &index.records[place].fact {
        Fact::LastWords { stream, text } => {
            Some(LastWords { unit, stream: *stream, text: text.clone(), at: index.records[place].at })
        }
        _ => None,
    }
}

fn gaps(index: &Index, began: At, until: At) -> Vec<Missing> {
    let inside = index.gaps.iter().filter(|&&at| at >= began && at <= until);
    inside
        .filter_map(|&at| match index.records[at].fact {
            Fact::Gap { lost, reason } => Some(Missing { at: index.records[at].at, lost, reason }),
            _ => None,
        })
        .collect()
}

/// What of the sandbox of the run that is asked about was refused, and is done without.
fn deprivations(index: &Index, told: &Told) -> Vec<String> {
    let asked = &index.records[told.at];
    let mut said: Vec<String> = Vec::new();
    for record in index.deprived.iter().map(|&at| &index.records[at]) {
        let own = record.unit == asked.unit && record.invocation == asked.invocation;
        if let Fact::Deprived { what, missing, errno, without: true } = &record.fact
            && own
        {
            let sentence = format!("{}.", sentence::deprived(what, missing, *errno, true));
            if !said.contains(&sentence) {
                said.push(sentence);
            }
        }
    }
    said
}

fn notes(index: &Index, told: &Told, began: At, tracking: Option<Tracking>) -> Vec<String> {
    let mut notes = deprivations(index, told);
    if let Some(broken) = told.path.broken {
        notes.push(format!("The chain of causes ends here: {broken}."));
    }
    if told.steps.iter().any(is_worth_saying) {
        notes.push("What is marked as inferred was concluded, not seen.".into());
    }
    for (start, _) in index.starts.iter().filter(|(start, _)| *start > began && *start <= told.at) {
        if let Fact::Started { after_crash: true, .. } = index.records[*start].fact {
            let at = speech::rfc3339(index.records[*start].at.realtime_us);
            notes.push(format!(
                "hence itself did not end in order before {at}: what happened just before is not on record."
            ));
        }
    }
    let (first, last) = (index.records[began].at.realtime_us, index.records[told.at].at.realtime_us);
    for &at in &index.aways {
        if let Fact::Away { what, from, to, how } = &index.records[at].fact
            && from != to
            && from.realtime_us <= last
            && to.realtime_us >= first
            && !told.path.places.contains(&at)
        {
            notes.push(format!("In that time {}.", sentence::away(*what, *from, *to, how)));
        }
    }
    if tracking == Some(Tracking::Ancestry) {
        notes.push(
            "Processes were tracked by ancestry, without control groups: one that hides may be missing."
                .into(),
        );
    }
    notes
}

/// Whether a step was concluded, and from something else than with every stop and start.
fn is_worth_saying(step: &Step) -> bool {
    let ordinary = step.basis.as_deref().is_some_and(basis::is_ordinary);
    step.certainty == Certainty::Inferred && !ordinary
}

/// All that is left of a unit's events is their sum.
fn from_tally(index: &Index, unit: &Text, until: At, now: Stamp) -> Option<Answer> {
    let tallies = index.units.get(unit)?.tallies.iter().filter(|&&at| at <= until);
    let latest = tallies.max_by_key(|&&at| match index.records[at].fact {
        Fact::Tally { last, .. } => last,
        _ => Stamp::default(),
    })?;
    let record = &index.records[*latest];
    let Fact::Tally { what, times, first, last, rule, chain, .. } = &record.fact else { return None };
    let word = path::known_word(what);
    let counted = Series {
        times: *times,
        since: *first,
        last: *last,
        times_in_all: *times,
        first: *first,
        period_us: None,
    };
    let steps = chain.iter().enumerate().map(|(nth, line)| {
        let (unit, kind) = line.split_once(": ").unwrap_or((unit, line));
        Step {
            record: RecordId(record.id.0),
            unit: Some(unit.into()),
            what: kind.to_string(),
            kind: kind.to_string(),
            at: *last,
            certainty: record.certainty,
            basis: None,
            rule: rule.clone().filter(|_| nth == 0),
            other_rules: Vec::new(),
        }
    });
    let told = Told { at: *latest, word, path: path(index, *latest), steps: steps.collect() };
    let mut answer = explain(index, unit, &told, counted, until, now);
    answer.at = *last;
    answer.ago_us = now.realtime_us.saturating_sub(last.realtime_us);
    answer.left_behind = LeftBehind { ..leaks::of_unit(index, unit, until) };
    answer.notes = Vec::from(["The single records had to make room; this is their sum.".into()]);
    Some(answer)
}
