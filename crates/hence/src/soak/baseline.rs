//! A run that is kept to compare later ones with: the numbers of its units, what they complained of, and the
//! files that they started with. A file of lines, so that a difference between two can be read.

use super::summary::{Measure, Run, Summary, inputs};
use super::verdict::{Finding, amount};
use hence_ledger::speech::{count, duration};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The first line.
const FORMAT: &str = "hence soak baseline 1";
/// A file is not read beyond this.
pub const BYTES: u64 = 16 << 20;
/// In place of a digest: there was no such file.
const NOT_THERE: &str = "-";
/// And: it could not be read, so that nothing is known of its content.
const UNREAD: &str = "?";
/// A time that is shorter by less than this is no news, in microseconds.
const TIME_FLOOR_US: u64 = 250_000;

/// A file that a unit started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub sha256: String,
    pub package: String,
}

/// A unit in a baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub counts: BTreeMap<String, u64>,
    /// The slope of each measure: the upper end of its interval, per hour.
    pub slopes: BTreeMap<String, f64>,
    pub wordings: BTreeSet<String>,
    pub files: BTreeMap<String, Kept>,
}

/// A run that was kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    pub for_us: u64,
    pub units: BTreeMap<String, Known>,
}

impl Baseline {
    /// What is kept of a run.
    pub fn of(run: &Run) -> Baseline {
        let mut units: BTreeMap<String, Known> =
            run.units.iter().map(|(name, unit)| (name.clone(), known(unit))).collect();
        for ((unit, path), input) in inputs(&run.units) {
            let sha256 = match (input.sha256, input.version) {
                (Some(sha), _) => hex(&sha),
                (None, None) => NOT_THERE.to_owned(),
                (None, Some(_)) => UNREAD.to_owned(),
            };
            let kept = Kept { sha256, package: input.package.unwrap_or_default() };
            units.entry(unit).or_default().files.insert(path, kept);
        }
        Baseline { for_us: run.length_us(), units }
    }

    /// Its lines.
    pub fn text(&self) -> String {
        let mut text = format!("{FORMAT}\nfor_us {}\n", self.for_us);
        for (name, unit) in &self.units {
            let _ = writeln!(text, "\nunit {name}");
            for (word, n) in &unit.counts {
                let _ = writeln!(text, "count {word} {n}");
            }
            for (word, n) in &unit.slopes {
                let _ = writeln!(text, "slope {word} {n:.3}");
            }
            for (path, kept) in &unit.files {
                let _ = writeln!(text, "file {} {path}\t{}", kept.sha256, kept.package);
            }
            for wording in &unit.wordings {
                let _ = writeln!(text, "logs {wording}");
            }
        }
        text
    }

    /// Reads what `text` wrote.
    ///
    /// # Errors
    /// The line that can't be read, and why.
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let mut lines = text.lines().enumerate();
        match lines.next() {
            Some((_, FORMAT)) => {}
            Some((_, line)) if line.starts_with("hence soak baseline ") => {
                return Err(format!("{line}: of a newer hence"));
            }
            _ => return Err("not a baseline; hence soak --save writes one".into()),
        }
        let mut baseline = Baseline::default();
        let mut unit: Option<String> = None;
        for (nth, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let wrong = || format!("line {}: {line:?} can't be read", nth + 1);
            let (word, rest) = line.split_once(' ').ok_or_else(wrong)?;
            match (word, &unit) {
                ("for_us", _) => baseline.for_us = rest.parse().map_err(|_| wrong())?,
                ("unit", _) => {
                    baseline.units.entry(rest.to_owned()).or_default();
                    unit = Some(rest.to_owned());
                }
                (_, Some(name)) => {
                    let known = baseline.units.entry(name.clone()).or_default();
                    line_of(known, word, rest).ok_or_else(wrong)?;
                }
                (_, None) => return Err(wrong()),
            }
        }
        Ok(baseline)
    }
}

fn line_of(known: &mut Known, word: &str, rest: &str) -> Option<()> {
    match word {
        "count" => {
            let (what, number) = rest.rsplit_once(' ')?;
            known.counts.insert(what.to_owned(), number.parse().ok()?);
        }
        "slope" => {
            let (what, number) = rest.rsplit_once(' ')?;
            let number = number.parse::<f64>().ok().filter(|n| n.is_finite())?;
            known.slopes.insert(what.to_owned(), number);
        }
        "file" => {
            let (sha256, rest) = rest.split_once(' ')?;
            let (path, package) = rest.split_once('\t')?;
            let kept = Kept { sha256: sha256.to_owned(), package: package.to_owned() };
            known.files.insert(path.to_owned(), kept);
        }
        "logs" => drop(known.wordings.insert(rest.to_owned())),
        // A later hence of this format may keep more.
        _ => {}
    }
    Some(())
}

fn known(unit: &Summary) -> Known {
    let mut known = Known::default();
    let mut add = |word: &str, n: u64| {
        known.counts.insert(word.to_owned(), n);
    };
    add("restarts", unit.restarts);
    add("failures", unit.failures);
    add("left-behind", unit.left);
    add("starts", unit.starts.count);
    add("start-median-us", unit.starts.median_us);
    add("stops", unit.stops.count);
    add("stop-median-us", unit.stops.median_us);
    add("stop-longest-us", unit.stops.longest_us);
    for (measure, row) in unit.rows.iter().filter(|(_, row)| !row.points.is_empty()) {
        add(&format!("level-{}", measure.word()), row.level);
    }
    for (measure, trend) in unit.rows.iter().filter_map(|(m, row)| Some((m, row.trend?))) {
        known.slopes.insert(measure.word().to_owned(), trend.high * 3600.0);
    }
    known.wordings = unit.wordings.keys().cloned().collect();
    known
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that is another one than in the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    pub unit: String,
    pub path: String,
    pub before: Option<Kept>,
    pub after: Option<Kept>,
}

impl Changed {
    /// `/usr/bin/x: foo 1.2-1, sha256:0011 -> foo 1.3-1, sha256:2233`
    pub fn words(&self) -> String {
        let side = |kept: &Option<Kept>| match kept {
            None => "not among its files".to_owned(),
            Some(kept) if kept.sha256 == NOT_THERE => "not there".to_owned(),
            Some(kept) => {
                let package = if kept.package.is_empty() { "" } else { ", " };
                let short = kept.sha256.get(..12).unwrap_or(&kept.sha256);
                format!("{}{package}sha256:{short}", kept.package)
            }
        };
        format!("{}: {} -> {}", self.path, side(&self.before), side(&self.after))
    }
}

/// The files that changed since.
pub fn changes(now: &Baseline, before: &Baseline) -> Vec<Changed> {
    let mut all = Vec::new();
    for (name, unit) in &now.units {
        let Some(known) = before.units.get(name) else { continue };
        let paths: BTreeSet<&String> = unit.files.keys().chain(known.files.keys()).collect();
        for path in paths {
            let (old, new) = (known.files.get(path), unit.files.get(path));
            // Whether a file has a package may be learnt late; its content tells.
            let unread = [old, new].into_iter().flatten().any(|kept| kept.sha256 == UNREAD);
            if !unread && old.map(|k| &k.sha256) != new.map(|k| &k.sha256) {
                all.push(Changed {
                    unit: name.clone(),
                    path: path.clone(),
                    before: old.cloned(),
                    after: new.cloned(),
                });
            }
        }
    }
    all
}

/// What got worse since; what changed is its evidence.
pub fn compare(run: &Run, before: &Baseline, changed: &[Changed]) -> Vec<Finding> {
    let now = Baseline::of(run);
    let mut found = Vec::new();
    for (name, unit) in &now.units {
        let Some(known) = before.units.get(name) else { continue };
        let at = found.len();
        let mut worse = |says: String, evidence: String| {
            found.push(Finding {
                kind: "worse",
                unit: name.clone(),
                says,
                evidence: vec![evidence],
                mend: "compare the two releases; what changed between them is above".into(),
                fails: true,
            });
        };
        counts(unit, known, (now.for_us, before.for_us), &mut worse);
        levels(unit, known, run.units.get(name), &mut worse);
        let new: Vec<&String> = unit.wordings.difference(&known.wordings).collect();
        if let Some(first) = new.first() {
            let says = format!("logs {} that it did not", count(new.len() as u64, "error", "errors"));
            worse(says, (*first).clone());
        }
        let of_unit: Vec<String> =
            changed.iter().filter(|c| c.unit == *name).map(|c| format!("changed: {}", c.words())).collect();
        for finding in &mut found[at..] {
            match of_unit.is_empty() {
                true => finding.evidence.push("no file that it starts with has changed".into()),
                false => finding.evidence.extend(of_unit.iter().cloned()),
            }
        }
    }
    for name in before.units.keys().filter(|name| !now.units.contains_key(*name)) {
        found.push(Finding {
            kind: "worse",
            unit: name.clone(),
            says: "was there and is no longer".into(),
            evidence: Vec::new(),
            mend: "bring it back, or save a new baseline if it is to be gone".into(),
            fails: false,
        });
    }
    found
}

type Worse<'a> = &'a mut dyn FnMut(String, String);

fn counts(unit: &Known, known: &Known, (now_us, before_us): (u64, u64), worse: Worse<'_>) {
    let of = |side: &Known, word: &str| side.counts.get(word).copied().unwrap_or_default();
    for (word, says) in [
        ("failures", "fails by itself more often than it did"),
        ("restarts", "is restarted more often than it was"),
        ("left-behind", "leaves more processes behind than it did"),
    ] {
        let (new, old) = (of(unit, word), of(known, word));
        // As many as a run of this length had then.
        let expected = u128::from(old) * u128::from(now_us) / u128::from(before_us.max(1));
        if u128::from(new) > expected + expected / 2 && new > 0 {
            worse(
                says.into(),
                format!("{old} before in {}, {new} now in {}", duration(before_us), duration(now_us)),
            );
        }
    }
    for (word, times, says) in [
        ("start-median-us", "starts", "takes longer to start than it did"),
        ("stop-median-us", "stops", "takes longer to stop than it did"),
    ] {
        let (new, old) = (of(unit, word), of(known, word));
        if of(known, times) > 0 && new > 2 * old + TIME_FLOOR_US {
            worse(says.into(), format!("{} before, {} now, in the middle", duration(old), duration(new)));
        }
    }
}

fn levels(unit: &Known, known: &Known, summary: Option<&Summary>, worse: Worse<'_>) {
    for measure in Measure::ALL {
        let word = format!("level-{}", measure.word());
        let floor = match measure {
            Measure::Memory => 8 << 20,
            Measure::Processes => 2,
            _ => 16,
        };
        if let (Some(new), Some(old)) = (unit.counts.get(&word), known.counts.get(&word))
            && *new > old + old / 2 + floor
        {
            let says = match measure {
                Measure::Memory => "takes more memory than it did".to_owned(),
                _ => format!("has more {} than it had", measure.word()),
            };
            let side = |n: u64| amount(measure, n as f64);
            worse(says, format!("{} before, {} now", side(*old), side(*new)));
        }
        // A slope that grows is a finding by itself; here it is one that is surely above the one before.
        let row = summary.and_then(|s| s.rows.get(&measure));
        let Some(trend) = row.and_then(|r| r.trend).filter(|t| t.grows) else { continue };
        let Some(old) = known.slopes.get(measure.word()) else { continue };
        let level = row.map_or(0.0, |r| r.level as f64);
        if trend.low * 3600.0 > old.max(0.0) && trend.rose >= measure.floor(level) {
            let says = format!("grows faster in {} than it did", measure.word());
            let per_hour = |n: f64| amount(measure, n.max(0.0));
            let low = per_hour(trend.low * 3600.0);
            worse(says, format!("at most {} an hour before, at least {low} now", per_hour(*old)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut known = Known::default();
        known.counts.insert("restarts".into(), 3);
        known.slopes.insert("memory".into(), -1.5);
        known.wordings.insert("error: port # at #".into());
        let kept = Kept { sha256: "00ff".into(), package: "foo 1-2".into() };
        known.files.insert("/usr/bin/a b".into(), kept);
        let units = BTreeMap::from([("a.service".to_owned(), known)]);
        let baseline = Baseline { for_us: 7, units };
        assert_eq!(Baseline::parse(&baseline.text()), Ok(baseline));
    }

    #[test]
    fn what_is_no_baseline_is_refused() {
        for (text, told) in [
            ("", "not a baseline"),
            ("hence soak baseline 2\n", "of a newer hence"),
            ("hence soak baseline 1\ncount x 1\n", "line 2"),
            ("hence soak baseline 1\nunit a\ncount x y\n", "line 3"),
            ("hence soak baseline 1\nunit a\nslope x NaN\n", "line 3"),
            ("hence soak baseline 1\nunit a\nfile x\n", "line 3"),
        ] {
            let error = Baseline::parse(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
    }
}
