//! Rows of [Timer]; systemd.timer(5).

use super::{
    Loading, Outcome, Row, Section, Shape, Take,
    Take::{Act, Keep},
    row,
    typed::{flag, put, single_unit, span, timer},
};
use crate::{
    UnitKind,
    calendar::Calendar,
    config::{TimerBase, TimerCalendar, TimerElapse},
    syntax::Assignment,
    value,
};
use alloc::format;

const fn r(name: &'static str, take: Take, doc: &'static str) -> Row {
    row(name, Section::Timer.only(), "systemd.timer(5)", take, doc)
}

const BASES: &[(&str, TimerBase)] = &[
    ("OnActiveSec", TimerBase::Active),
    ("OnBootSec", TimerBase::Boot),
    ("OnStartupSec", TimerBase::Startup),
    ("OnUnitActiveSec", TimerBase::UnitActive),
    ("OnUnitInactiveSec", TimerBase::UnitInactive),
];
const CALENDAR: &str = "OnCalendar";

/// An empty value of any of them removes those of all.
fn empty(loading: &mut Loading<'_>) -> Outcome {
    put(loading, timer, |t| {
        t.elapse.clear();
        t.calendar.clear();
    });
    loading.forget(|name| name == CALENDAR || value::word(name, BASES).is_some());
    Outcome::Reset
}

fn elapse(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        return empty(loading);
    }
    let Some(text) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    let (Some(delay), Some(base)) =
        (value::span(&text, value::SECOND_US), value::word(&assignment.key, BASES))
    else {
        loading.bad_value(assignment, format!("{}= takes {}", assignment.key, value::SPAN), None);
        return Outcome::Rejected;
    };
    let place = assignment.value_place();
    put(loading, timer, |t| t.elapse.push(TimerElapse { base, delay, place }));
    Outcome::Added
}

fn calendar(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    if assignment.value.is_empty() {
        return empty(loading);
    }
    let Some(text) = loading.expand(assignment, &assignment.value) else {
        return Outcome::Rejected;
    };
    let expression = match Calendar::parse(&text) {
        Ok(expression) => expression,
        Err(error) => {
            // What came of specifiers isn't where it stands.
            let within = if text == *assignment.value { error.at } else { 0 };
            let column = assignment.value_place().column.saturating_add(u32::try_from(within).unwrap_or(0));
            let message = format!("OnCalendar={text}: {error}; the line is ignored");
            loading.bad_value_at(assignment, column, message, None);
            return Outcome::Rejected;
        }
    };
    let place = assignment.value_place();
    put(loading, timer, |t| t.calendar.push(TimerCalendar { expression, place }));
    Outcome::Added
}

/// What is random about it is made of the machine and the unit alone.
fn fixed_random_delay(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    // FNV-1a.
    let text = loading.environs.machine_id.bytes().chain([0]).chain(loading.config.id().as_str().bytes());
    let hash = text
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    flag(loading, assignment, timer, |t, v| t.fixed_random_delay = v.then_some(hash ^ hash >> 32))
}

fn unit(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let fits = |name: &crate::UnitName| name.kind() != UnitKind::Timer;
    let Some(name) = single_unit(loading, assignment, fits, "a unit that is no timer") else {
        return Outcome::Rejected;
    };
    put(loading, timer, |t| t.unit = Some(name));
    Outcome::Replaced
}

pub(super) const ROWS: &[Row] = &[
    r("OnCalendar", Act(calendar), "When by the wall clock the timer elapses."),
    r("OnActiveSec", Act(elapse), "How long after the timer's own start it elapses."),
    r("OnBootSec", Act(elapse), "How long after the machine's boot it elapses."),
    r("OnStartupSec", Act(elapse), "How long after the service manager's start it elapses."),
    r("OnUnitActiveSec", Act(elapse), "How long after the last start of its unit it elapses."),
    r("OnUnitInactiveSec", Act(elapse), "How long after the last end of its unit it elapses."),
    r(
        "OnClockChange",
        Act(|l, a| flag(l, a, timer, |t, v| t.on_clock_change = v)),
        "Elapse when the wall clock jumps.",
    )
    .since(242),
    r(
        "OnTimezoneChange",
        Act(|l, a| flag(l, a, timer, |t, v| t.on_timezone_change = v)),
        "Elapse when the time zone changes.",
    )
    .since(242),
    r(
        "Persistent",
        Act(|l, a| flag(l, a, timer, |t, v| t.persistent = v)),
        "Make up for a calendar time that was missed while the timer was down.",
    )
    .since(212),
    r("WakeSystem", Keep(Shape::Boolean), "Wake the machine from suspend to elapse.")
        .since(212)
        .accepted("no alarm of the hardware clock is set: the timer elapses when the machine is awake again"),
    r(
        "RemainAfterElapse",
        Act(|l, a| flag(l, a, timer, |t, v| t.remain_after_elapse = v)),
        "Stay loaded after the last elapse.",
    )
    .since(228),
    r("FixedRandomDelay", Act(fixed_random_delay), "Keep the random delay the same on this machine.")
        .since(247),
    r(
        "AccuracySec",
        Act(|l, a| span(l, a, timer, |t, us| t.accuracy = us)),
        "How much later than asked for it may elapse.",
    )
    .since(209),
    r(
        "RandomizedDelaySec",
        Act(|l, a| span(l, a, timer, |t, us| t.randomized_delay = us)),
        "A random time up to this is added to each elapse.",
    )
    .since(229),
    r("RandomizedOffsetSec", Keep(Shape::Span), "A fixed offset, random for each machine, up to this.")
        .since(258),
    r("DeferReactivation", Keep(Shape::Boolean), "Do not elapse again the moment a long run ends.")
        .since(257),
    r("Unit", Act(unit), "The unit that is started."),
];
