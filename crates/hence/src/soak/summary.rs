//! A run in numbers, unit by unit: what the reports show, the verdict judges and a baseline keeps.

use super::lines::Logs;
use super::measure::{Files, Folder, Measures, Sample};
use super::story::{Input, Span, Story, UnitStory};
use super::trend::{Trend, median, trend};
use hence_unit::Config;
use std::collections::BTreeMap;

/// What is measured of a unit again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    Processes,
    Threads,
    Memory,
    Descriptors,
    Sockets,
}

impl Measure {
    /// Every one, what others follow from first.
    pub const ALL: [Measure; 5] =
        [Measure::Processes, Measure::Threads, Measure::Memory, Measure::Sockets, Measure::Descriptors];

    /// The word that people and programs see.
    pub const fn word(self) -> &'static str {
        match self {
            Measure::Processes => "processes",
            Measure::Threads => "threads",
            Measure::Memory => "memory",
            Measure::Descriptors => "descriptors",
            Measure::Sockets => "sockets",
        }
    }

    /// The measure of this word.
    pub fn parse(word: &str) -> Option<Measure> {
        Measure::ALL.into_iter().find(|m| m.word() == word)
    }

    /// Its value in a sample.
    pub fn of(self, sample: &Sample) -> Option<u64> {
        match self {
            Measure::Processes => Some(sample.processes),
            Measure::Threads => Some(sample.threads),
            Measure::Memory => Some(sample.memory),
            Measure::Descriptors => sample.descriptors,
            Measure::Sockets => sample.sockets,
        }
    }

    /// A rise of less counts as none, where this much is usual.
    pub fn floor(self, level: f64) -> f64 {
        match self {
            Measure::Memory => (level * 0.03).max(512.0 * 1024.0),
            Measure::Descriptors | Measure::Threads => 4.0,
            Measure::Processes | Measure::Sockets => 3.0,
        }
    }
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub count: u64,
    pub median_us: u64,
    pub longest_us: u64,
}

impl Times {
    pub fn of(spans: &[&Span]) -> Times {
        let mut all: Vec<f64> =
            spans.iter().filter_map(|s| Some(s.to_us?.saturating_sub(s.from_us) as f64)).collect();
        all.sort_by(f64::total_cmp);
        Times {
            count: all.len() as u64,
            median_us: median(&all).unwrap_or_default() as u64,
            longest_us: all.last().copied().unwrap_or_default() as u64,
        }
    }
}

/// A measure in a run.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// (time, value) of all samples.
    pub points: Vec<(u64, u64)>,
    /// The usual value.
    pub level: u64,
    /// `None`: no run of the unit was long enough.
    pub trend: Option<Trend>,
}

/// A unit in a run.
#[derive(Debug, Default)]
pub struct Summary {
    pub story: UnitStory,
    pub rows: BTreeMap<Measure, Row>,
    pub starts: Times,
    /// Without those that a fault held.
    pub stops: Times,
    pub held: u64,
    /// Restarts that nobody asked for.
    pub restarts: u64,
    /// Failures that nobody asked for.
    pub failures: u64,
    /// Processes left behind that the unit doesn't intend.
    pub left: u64,
    /// Ended processes that were never reaped, at least so many in the last third.
    pub zombies: u64,
    /// What it complained of, by wording.
    pub wordings: BTreeMap<String, u64>,
    /// When, on the monotonic clock.
    pub complained_us: Vec<u64>,
    pub last_complaint: Option<String>,
    pub config: Option<Config>,
}

/// Files of a folder in a run.
#[derive(Clone, Debug)]
pub struct Grown {
    pub folder: Folder,
    pub bytes: Option<Trend>,
    pub files: Option<Trend>,
}

/// A run.
#[derive(Debug, Default)]
pub struct Run {
    pub units: BTreeMap<String, Summary>,
    pub folders: Vec<Grown>,
    pub story: Story,
    /// When it began and was told to end, on the monotonic clock.
    pub began_us: u64,
    pub ended_us: u64,
    /// What was done, and from when to when: faults that are requests as the ledger has them, the others.
    pub windows: Vec<Window>,
    /// What could not be done or seen.
    pub notes: Vec<String>,
    pub tracking: String,
    /// It was ended early: by whom or why.
    pub cut: Option<String>,
    /// Where the ledger is kept.
    pub ledger: Option<String>,
}

/// When a fault was there.
#[derive(Clone, Debug)]
pub struct Window {
    pub from_us: u64,
    pub to_us: u64,
    pub words: String,
    /// The unit that it was done to.
    pub unit: Option<String>,
}

impl Run {
    /// How long it was.
    pub fn length_us(&self) -> u64 {
        self.ended_us.saturating_sub(self.began_us)
    }
}

/// Puts a run together.
pub fn summarize(
    story: Story,
    measures: Measures,
    mut logs: Logs,
    configs: &BTreeMap<String, Config>,
    offset_us: i64,
) -> (BTreeMap<String, Summary>, Vec<Grown>, Story) {
    let mut units = BTreeMap::new();
    for (name, told) in &story.units {
        let Some(config) = configs.get(name) else { continue };
        let complaints = logs.units.remove(name).unwrap_or_default();
        let samples = measures.units.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut summary = of_unit(told, samples);
        summary.wordings = complaints.wordings;
        let monotonic = |at: &u64| at.saturating_add_signed(-offset_us);
        summary.complained_us = complaints.times.iter().map(monotonic).collect();
        summary.last_complaint = complaints.last;
        summary.config = Some(config.clone());
        units.insert(name.clone(), summary);
    }
    let grown = |folder: Folder| {
        let row = |value: fn(&Files) -> u64| -> Vec<(u64, f64)> {
            folder.rows.iter().map(|f| (f.at_us, value(f) as f64)).collect()
        };
        Grown { bytes: trend(&row(|f| f.bytes)), files: trend(&row(|f| f.files)), folder }
    };
    (units, measures.folders.into_iter().map(grown).collect(), story)
}

fn of_unit(told: &UnitStory, samples: &[Sample]) -> Summary {
    let stops: Vec<&Span> = told.stops.iter().filter(|s| !s.why.holds_stop()).collect();
    let mut summary = Summary {
        starts: Times::of(&told.starts.iter().collect::<Vec<_>>()),
        stops: Times::of(&stops),
        held: told.stops.iter().filter(|s| s.why.holds_stop()).count() as u64,
        restarts: told.restarts.iter().filter(|r| !r.asked && !r.clean).count() as u64,
        failures: told.failures.iter().filter(|f| f.why.is_unrequested() && !f.stop).count() as u64,
        left: told.left.iter().filter(|l| !l.allowed).count() as u64,
        story: told.clone(),
        ..Summary::default()
    };
    let length = |up: &&(u64, Option<u64>)| up.1.unwrap_or(u64::MAX).saturating_sub(up.0);
    let longest = told.up.iter().max_by_key(length).copied().unwrap_or((0, None));
    let within = |at: u64| at >= longest.0 && longest.1.is_none_or(|to| at <= to);
    for measure in Measure::ALL {
        let points: Vec<(u64, u64)> =
            samples.iter().filter_map(|s| Some((s.at_us, measure.of(s)?))).collect();
        let row: Vec<(u64, f64)> = points.iter().filter(|p| within(p.0)).map(|p| (p.0, p.1 as f64)).collect();
        let mut values: Vec<f64> = row[row.len() / 4..].iter().map(|p| p.1).collect();
        values.sort_by(f64::total_cmp);
        let level = median(&values).unwrap_or_default() as u64;
        summary.rows.insert(measure, Row { points, level, trend: trend(&row) });
    }
    let looks: Vec<u64> = samples.iter().filter(|s| within(s.at_us)).filter_map(|s| s.zombies).collect();
    if looks.len() >= 6 {
        summary.zombies = looks[looks.len() * 2 / 3..].iter().copied().min().unwrap_or_default();
    }
    summary
}

/// The files that units start with, by path.
pub fn inputs(units: &BTreeMap<String, Summary>) -> BTreeMap<(String, String), Input> {
    let all = units.iter().flat_map(|(name, unit)| unit.story.inputs.iter().map(move |i| (name, i)));
    all.map(|(name, input)| ((name.clone(), input.path.clone()), input.clone())).collect()
}
