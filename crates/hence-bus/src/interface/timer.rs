//! org.freedesktop.systemd1.Timer.

use super::row::{Group, rows};
use super::shown::{Shown, monotonic, realtime, text};
use super::{Interface, configured, owned};
use crate::front::UnitView;
use crate::wire::Value;

/// The interface.
pub static INTERFACE: Interface<UnitView> = Interface {
    name: "org.freedesktop.systemd1.Timer",
    properties: &[&OWN, &configured::TIMER],
    methods: &[],
    signals: &[],
};

static OWN: Group<UnitView> = rows!(
    UnitView,
    [
        fixed("Unit", "s", |v| text(&v.timer.unit)),
        stale("TimersMonotonic", "a(stt)", by_monotonic),
        stale("TimersCalendar", "a(sst)", by_calendar),
        live("NextElapseUSecRealtime", "t", |v| v.timer.next_realtime_us.into()),
        live("NextElapseUSecMonotonic", "t", |v| v.timer.next_monotonic_us.into()),
        live("LastTriggerUSec", "t", |v| realtime(v.timer.last_trigger)),
        live("LastTriggerUSecMonotonic", "t", |v| monotonic(v.timer.last_trigger)),
        live("Result", "s", |v| v.result.into()),
        fixed("AccuracyUSec", "t", |v| v.timer.accuracy_us.into()),
        fixed("RandomizedDelayUSec", "t", |v| v.timer.randomized_delay_us.into()),
        fixed("Persistent", "b", |v| v.timer.persistent.into()),
    ]
);

fn by_monotonic(view: &UnitView) -> Shown<'_> {
    let row = |(base, value, next): &(&'static str, u64, u64)| {
        Value::Struct(vec![(*base).into(), (*value).into(), (*next).into()])
    };
    Value::array("(stt)", view.timer.monotonic.iter().map(row).collect()).into()
}

fn by_calendar(view: &UnitView) -> Shown<'_> {
    let row = |(expression, next): &(String, u64)| {
        Value::Struct(vec!["OnCalendar".into(), owned(expression), (*next).into()])
    };
    Value::array("(sst)", view.timer.calendar.iter().map(row).collect()).into()
}
