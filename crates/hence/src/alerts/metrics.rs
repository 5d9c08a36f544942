//! The numbers as OpenMetrics text, <https://prometheus.io/docs/specs/om/open_metrics_spec/>. How many series
//! there are is bounded, whatever units come and go: restarts by the ledger's bound, left-over processes and
//! loops by those here; what is beyond is summed up as unit `_others`.

use hence_ledger::live::{LeftNow, Live, LoopNow};
use hence_ledger::{GapReason, Text};
use std::fmt::Write;

/// Units whose left-over processes are shown one by one, those with the most of them.
const UNITS: usize = 256;
/// Loops that are shown.
const LOOPS: usize = 64;
/// Stands for all units beyond a bound.
const OTHERS: &str = "_others";

/// A number of what a unit left behind.
type Number = fn(&LeftNow) -> u64;

/// What is known elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// Records that found no room.
    pub dropped: u64,
    /// What the ledger takes on the disk.
    pub ledger_bytes: u64,
    /// Sources of `hence watch`, and whether they are there.
    pub sources: Vec<(&'static str, bool)>,
}

/// What became of alerts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Alerts that were delivered by command or URL.
    pub delivered: u64,
    /// Alerts that could not be.
    pub failed: u64,
    /// Alerts that the limit held back.
    pub held_back: u64,
    /// Entries that the journal did not take.
    pub unwritten: u64,
    /// When this began, in seconds since 1970.
    pub began_s: u64,
}

/// Writes families, one after the other.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, unit: &str, what: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP {name} {what}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escaped(v))).collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn counter(&mut self, name: &str, what: &str, value: u64) {
        self.family(name, "counter", "", what);
        self.sample(&format!("{name}_total"), &[], value);
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text
}

/// All of it.
pub fn text(live: &Live, outside: &Outside, told: &Told) -> String {
    let mut page = Page(String::new());
    page.family("hence_build", "info", "", "The version of hence.");
    page.sample("hence_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("hence_start_time_seconds", "gauge", "seconds", "When these numbers began to be counted.");
    page.sample("hence_start_time_seconds", &[], told.began_s);
    units(&mut page, live);
    loops(&mut page, live.loops_now());
    left_over(&mut page, live.left_now());
    let counts = live.counts();
    page.counter("hence_loops_found", "Loops that were told of.", counts.loops);
    page.counter("hence_leaks_found", "Units whose left-over processes were told of.", counts.leaks);
    page.counter("hence_alerts_delivered", "Alerts that a command or web server took.", told.delivered);
    let failed = told.failed + told.unwritten + counts.unheard;
    page.counter("hence_alerts_failed", "Alerts that somebody who was to be told did not get.", failed);
    page.counter("hence_alerts_held_back", "Alerts that the limit held back.", told.held_back);
    page.counter("hence_ledger_records", "Records that were made.", counts.records);
    page.counter("hence_ledger_dropped_records", "Records that found no room.", outside.dropped);
    page.family("hence_ledger_size_bytes", "gauge", "bytes", "What the ledger takes on the disk.");
    page.sample("hence_ledger_size_bytes", &[], outside.ledger_bytes);
    page.family("hence_gaps", "counter", "", "Gaps in the records, by reason.");
    for reason in [
        GapReason::RingFull,
        GapReason::DiskFull,
        GapReason::WriteError,
        GapReason::Damaged,
        GapReason::Retention,
    ] {
        let gaps = counts.gaps.get(&(reason as u8)).copied().unwrap_or_default();
        page.sample("hence_gaps_total", &[("reason", &reason.to_string())], gaps);
    }
    page.counter("hence_lost_events", "Events and records that are known to be missing.", counts.lost);
    if !outside.sources.is_empty() {
        page.family("hence_source_available", "gauge", "", "Whether a source of events is there.");
        for (source, there) in &outside.sources {
            page.sample("hence_source_available", &[("source", source)], u8::from(*there));
        }
    }
    page.0.push_str("# EOF\n");
    page.0
}

fn units(page: &mut Page, live: &Live) {
    let counts = live.counts();
    let what = "Times that what took a unit down brought it up again, by unit and root cause.";
    page.family("hence_unit_restarts", "counter", "", what);
    for ((unit, cause), times) in &counts.restarts {
        let labels = [("unit", unit.as_deref().unwrap_or(OTHERS)), ("cause", cause.as_str())];
        page.sample("hence_unit_restarts_total", &labels, times);
    }
    let by_cause = [
        ("hence_stops", "Times that a unit went down without a failure, by root cause.", &counts.stops),
        ("hence_failures", "Times that a unit failed, by root cause.", &counts.failures),
    ];
    for (name, what, numbers) in by_cause {
        page.family(name, "counter", "", what);
        for (cause, times) in numbers {
            page.sample(&format!("{name}_total"), &[("cause", cause.as_str())], times);
        }
    }
    let what = "Times that a unit went down and the cause is not known.";
    page.counter("hence_unattributed_stops", what, counts.unattributed);
    page.counter("hence_starts_refused", "Starts that came to nothing.", counts.not_started);
}

fn loops(page: &mut Page, mut loops: Vec<LoopNow>) {
    page.family("hence_loops", "gauge", "", "Units that go down and come up again and again now.");
    page.sample("hence_loops", &[], loops.len());
    loops.sort_by(|a, b| b.turns.cmp(&a.turns).then(a.unit.cmp(&b.unit)));
    loops.truncate(LOOPS);
    page.family("hence_loop_turns", "gauge", "", "How often a loop that goes on went around so far.");
    for found in &loops {
        let labels = [("unit", &*found.unit), ("cause", found.cause.as_str())];
        page.sample("hence_loop_turns", &labels, found.turns);
    }
    page.family("hence_loop_period_seconds", "gauge", "seconds", "The median time of a turn.");
    for found in &loops {
        let Some(us) = found.period_us else { continue };
        let labels = [("unit", &*found.unit), ("cause", found.cause.as_str())];
        let seconds = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
        page.sample("hence_loop_period_seconds", &labels, seconds);
    }
}

fn left_over(page: &mut Page, mut left: Vec<LeftNow>) {
    left.sort_by(|a, b| (a.allowed, b.processes, &a.unit).cmp(&(b.allowed, a.processes, &b.unit)));
    for allowed in [false, true] {
        let of = |l: &LeftNow| l.allowed == allowed;
        let beyond: Vec<LeftNow> = left.iter().filter(|l| of(l)).skip(UNITS).cloned().collect();
        if beyond.is_empty() {
            continue;
        }
        let mut kept = 0;
        left.retain(|l| {
            kept += usize::from(of(l));
            !of(l) || kept <= UNITS
        });
        left.push(LeftNow {
            unit: Text::from(OTHERS),
            allowed,
            processes: beyond.iter().map(|l| l.processes).sum(),
            bytes: beyond.iter().map(|l| l.bytes).sum(),
        });
    }
    let rows: [(&str, &str, &str, Number); 2] = [
        ("hence_left_over_processes", "", "Processes that outlived their unit.", |l| l.processes),
        (
            "hence_left_over_bytes",
            "bytes",
            "Memory of these processes, as it was when they were left.",
            |l| l.bytes,
        ),
    ];
    for (name, unit, what, value) in rows {
        page.family(name, "gauge", unit, what);
        for of in &left {
            let labels = [("unit", &*of.unit), ("allowed", if of.allowed { "yes" } else { "no" })];
            page.sample(name, &labels, value(of));
        }
    }
}

#[cfg(test)]
mod tests;
