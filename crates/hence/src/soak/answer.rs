//! The verdict as text and JSON: the answer first, its evidence, what to do last.

use super::baseline::Changed;
use super::story::Why;
use super::summary::{Measure, Run, Summary};
use super::verdict::{Finding, amount, slope};
use crate::report::page::Page;
use crate::report::style::Style;
use crate::report::time::span;
use hence_ledger::json::Json;
use hence_ledger::speech::{count, duration};

/// All that is told of a run.
pub struct Told<'a> {
    pub run: &'a Run,
    pub findings: &'a [Finding],
    /// Since the baseline, where there is one.
    pub changed: Option<&'a [Changed]>,
}

/// So much is shown of a list.
const SHOWN: usize = 12;

impl Told<'_> {
    /// Whether the run does not pass.
    pub fn fails(&self) -> bool {
        self.findings.iter().any(|f| f.fails)
    }

    /// The answer in one sentence.
    pub fn headline(&self) -> String {
        let bad: Vec<&Finding> = self.findings.iter().filter(|f| f.fails).collect();
        let run = self.run;
        if let Some(first) = bad.first() {
            let more = match bad.len() - 1 {
                0 => String::new(),
                1 => ", and 1 more finding".into(),
                n => format!(", and {n} more findings"),
            };
            return format!("Not sound: {}{more}.", subject(first));
        }
        let faults = match run.windows.len() as u64 {
            0 => "nothing was done to them".to_owned(),
            n => format!("{} borne", count(n, "fault was", "faults were")),
        };
        let units = count(run.units.len() as u64, "service ran", "services ran");
        format!(
            "Sound: {units} for {}, {faults}, nothing grew and nothing was left behind.",
            span(run.length_us())
        )
    }
}

/// `foo.service leaves 3 processes behind`
fn subject(finding: &Finding) -> String {
    if finding.unit.is_empty() || finding.kind == "files" {
        return finding.says.clone();
    }
    format!("{} {}", finding.unit, finding.says)
}

/// The page for a terminal.
pub fn page(told: &Told<'_>) -> String {
    let mut page = Page::here();
    let style = if told.fails() { Style::Bad } else { Style::Good };
    page.paragraph("", "", &[(style, &told.headline())]);
    if let Some(cut) = &told.run.cut {
        page.paragraph("", "", &[(Style::Plain, &format!("This is what there was to see: {cut}."))]);
    }
    for (nth, finding) in told.findings.iter().filter(|f| f.fails).enumerate() {
        page.gap();
        let text = format!("{}. {} ({})", nth + 1, subject(finding), finding.kind);
        page.paragraph("", "   ", &[(Style::Strong, &text)]);
        for line in &finding.evidence {
            page.paragraph("   ", "     ", &[(Style::Plain, line)]);
        }
    }
    let notes: Vec<&Finding> = told.findings.iter().filter(|f| !f.fails).collect();
    if !notes.is_empty() {
        page.heading("Worth knowing, and no failure");
        for finding in notes.iter().take(SHOWN) {
            let first = finding.evidence.first().map(|e| format!(": {e}")).unwrap_or_default();
            page.paragraph("  ", "    ", &[(Style::Plain, &format!("{}{first}", subject(finding)))]);
        }
    }
    units(&mut page, told.run);
    faults(&mut page, told.run);
    for (title, lines) in
        [("Changed since the baseline", changed(told)), ("What could not be done or seen", limits(told.run))]
    {
        if !lines.is_empty() {
            page.heading(title);
            lines.iter().take(SHOWN).for_each(|line| page.paragraph("  ", "    ", &[(Style::Plain, line)]));
        }
    }
    let mut mends: Vec<String> = Vec::new();
    for finding in told.findings.iter().filter(|f| f.fails && !f.mend.is_empty()) {
        let unit = if finding.unit.is_empty() { "The run" } else { &finding.unit };
        let line = format!("{unit}: {}", finding.mend);
        if !mends.contains(&line) {
            mends.push(line);
        }
    }
    if !mends.is_empty() {
        page.heading("What to do");
        mends.iter().take(SHOWN).for_each(|line| page.paragraph("  ", "    ", &[(Style::Good, line)]));
        if let (Some(ledger), Some(unit)) =
            (&told.run.ledger, told.findings.iter().find(|f| !f.unit.is_empty()))
        {
            let line = format!("hence why {} --ledger {ledger} tells the whole path", unit.unit);
            page.paragraph("  ", "    ", &[(Style::Faint, &line)]);
        }
    }
    page.finish()
}

fn units(page: &mut Page, run: &Run) {
    if run.units.is_empty() {
        return;
    }
    page.gap();
    let heads =
        ["UNIT", "STARTS", "FAILED", "RESTARTS", "LEFT", "MEMORY", "FDS", "PROCS", "STOPS", "STOP (MAX)"];
    let row = |(name, unit): (&String, &Summary)| {
        let level = |measure: Measure| {
            let row = unit.rows.get(&measure).filter(|r| !r.points.is_empty());
            row.map_or("-".into(), |r| amount(measure, r.level as f64))
        };
        vec![
            name.clone(),
            unit.starts.count.to_string(),
            unit.failures.to_string(),
            unit.restarts.to_string(),
            unit.left.to_string(),
            level(Measure::Memory),
            level(Measure::Descriptors),
            level(Measure::Processes),
            unit.stops.count.to_string(),
            format!("{} ({})", duration(unit.stops.median_us), duration(unit.stops.longest_us)),
        ]
    };
    let rows: Vec<Vec<String>> = run.units.iter().map(row).collect();
    page.table(&heads, &[1, 2, 3, 4, 5, 6, 7, 8], &rows);
}

fn faults(page: &mut Page, run: &Run) {
    let done = tally(run);
    if done.is_empty() {
        return;
    }
    page.heading("Done to them");
    for (words, times) in done.iter().take(SHOWN) {
        page.paragraph("  ", "    ", &[(Style::Plain, &format!("{times} x {words}"))]);
    }
    if done.len() > SHOWN {
        page.paragraph("  ", "", &[(Style::Faint, &format!("and {} more", done.len() - SHOWN))]);
    }
}

/// The faults and how often each was done.
pub fn tally(run: &Run) -> Vec<(&str, u64)> {
    let mut done: Vec<(&str, u64)> = Vec::new();
    for window in &run.windows {
        match done.iter_mut().find(|(words, _)| *words == window.words) {
            Some((_, times)) => *times += 1,
            None => done.push((&window.words, 1)),
        }
    }
    done
}

/// What changed, in lines.
pub fn changed(told: &Told<'_>) -> Vec<String> {
    let all = told.changed.unwrap_or_default();
    all.iter().map(|change| format!("{}: {}", change.unit, change.words())).collect()
}

/// What a run like this can't show.
pub fn limits(run: &Run) -> Vec<String> {
    let mut lines = run.notes.clone();
    for (name, unit) in &run.units {
        let short = |m: &Measure| unit.rows.get(m).is_none_or(|r| r.trend.is_none());
        if Measure::ALL.iter().all(short) {
            lines.push(format!("{name}: no run of it was long enough to tell growth from noise"));
        } else if let Some(trend) = unit.rows.get(&Measure::Memory).and_then(|r| r.trend) {
            let level = unit.rows.get(&Measure::Memory).map_or(0.0, |r| r.level as f64);
            let least = Measure::Memory.floor(level) / (trend.span_us as f64 / 3.6e9);
            lines.push(format!("{name}: a leak of less than {} an hour", amount(Measure::Memory, least)));
        }
        // Of n stops without one, 3/n is what a share can be with 95 %.
        if unit.stops.count >= 3 {
            let share = 300 / unit.stops.count;
            let stops = unit.stops.count;
            lines.push(format!(
                "{name}: a stop that hangs less often than {share} % of the time, in {stops} stops"
            ));
        }
    }
    lines
}

fn text(value: impl ToString) -> Json {
    Json::Text(value.to_string())
}

fn list(lines: &[String]) -> Json {
    Json::List(lines.iter().map(text).collect())
}

/// The JSON: an interface; fields may come and none may go.
pub fn json(told: &Told<'_>) -> Json {
    let run = told.run;
    let finding = |f: &Finding| {
        Json::Object(vec![
            ("kind", text(f.kind)),
            ("unit", if f.unit.is_empty() { Json::Null } else { text(&f.unit) }),
            ("text", text(subject(f))),
            ("evidence", list(&f.evidence)),
            ("advice", text(&f.mend)),
        ])
    };
    let of =
        |fails: bool| Json::List(told.findings.iter().filter(|f| f.fails == fails).map(finding).collect());
    let fault = |(words, times): &(&str, u64)| {
        Json::Object(vec![("fault", text(words)), ("times", Json::Number(*times))])
    };
    let change = |c: &Changed| {
        let sha =
            |kept: &Option<super::baseline::Kept>| kept.as_ref().map_or(Json::Null, |k| text(&k.sha256));
        Json::Object(vec![
            ("unit", text(&c.unit)),
            ("path", text(&c.path)),
            ("before", sha(&c.before)),
            ("after", sha(&c.after)),
        ])
    };
    Json::Object(vec![
        ("verdict", text(if told.fails() { "fail" } else { "pass" })),
        ("answer", text(told.headline())),
        ("for_s", Json::Seconds(run.length_us())),
        ("ended_early", run.cut.as_ref().map_or(Json::Null, text)),
        ("tracking", text(&run.tracking)),
        ("ledger", run.ledger.as_ref().map_or(Json::Null, text)),
        ("findings", of(true)),
        ("notes", of(false)),
        ("units", Json::Map(run.units.iter().map(|(name, u)| (name.clone(), unit(u, run))).collect())),
        ("faults", Json::List(tally(run).iter().map(fault).collect())),
        ("changed", told.changed.map_or(Json::Null, |all| Json::List(all.iter().map(change).collect()))),
        ("limits", list(&limits(run))),
    ])
}

fn unit(unit: &Summary, run: &Run) -> Json {
    let times = |t: super::summary::Times| {
        Json::Object(vec![
            ("count", Json::Number(t.count)),
            ("median_s", Json::Seconds(t.median_us)),
            ("longest_s", Json::Seconds(t.longest_us)),
        ])
    };
    let measure = |measure: &Measure| {
        let row = unit.rows.get(measure);
        let trend = row.and_then(|r| r.trend);
        let body = Json::Object(vec![
            ("level", Json::Number(row.map_or(0, |r| r.level))),
            ("last", row.and_then(|r| r.points.last()).map_or(Json::Null, |p| Json::Number(p.1))),
            ("samples", Json::Number(row.map_or(0, |r| r.points.len() as u64))),
            ("grows", trend.map_or(Json::Null, |t| Json::Bool(t.grows))),
            ("slope", trend.map_or(Json::Null, |t| text(slope(*measure, &t)))),
        ]);
        (measure.word().to_owned(), body)
    };
    let failure = |f: &super::story::Failure| {
        let (by, what) = match &f.why {
            Why::Fault(words) => ("fault", words.clone()),
            Why::Run => ("run", "the run began or ended".to_owned()),
            Why::Client(what) => ("client", what.clone()),
            Why::Itself(what) => ("itself", what.clone()),
        };
        Json::Object(vec![
            ("at_s", Json::Seconds(f.at_us.saturating_sub(run.began_us))),
            ("result", text(f.result)),
            ("by", text(by)),
            ("root", text(what)),
        ])
    };
    Json::Object(vec![
        ("failures", Json::Number(unit.failures)),
        ("restarts", Json::Number(unit.restarts)),
        ("left_behind", Json::Number(unit.left)),
        ("starts", times(unit.starts)),
        ("stops", times(unit.stops)),
        ("held_stops", Json::Number(unit.held)),
        ("errors_logged", Json::Number(unit.complained_us.len() as u64)),
        ("failed", Json::List(unit.story.failures.iter().take(100).map(failure).collect())),
        ("measures", Json::Map(Measure::ALL.iter().map(measure).collect())),
    ])
}
