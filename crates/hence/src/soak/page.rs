//! The verdict as a page: one file that loads nothing and runs no script, with a picture of what was measured
//! of each unit. Every figure in a picture is also in its text, and no colour tells anything.

use super::answer::{Told, changed, json, limits, tally};
use super::summary::{Measure, Row, Run, Summary, Window};
use super::verdict::{Finding, amount, slope};
use crate::report::html::{self, WIDTH, escaped};
use crate::report::time::span;
use hence_ledger::speech::duration;

/// Points of a curve at most: more can't be seen.
const POINTS: usize = 240;
/// Units that have pictures.
const PICTURED: usize = 24;
const LEFT: u64 = 62;
const RIGHT: u64 = 348;

/// The page.
pub fn of(told: &Told<'_>) -> String {
    let run = told.run;
    let mut page = html::head("hence soak", &told.headline(), told.fails());
    if let Some(cut) = &run.cut {
        page.push_str(&format!("<p>This is what there was to see: {}.</p>\n", escaped(cut)));
    }
    let bad: Vec<&Finding> = told.findings.iter().filter(|f| f.fails).collect();
    section(&mut page, "Why", &bad, "ol");
    units(&mut page, run);
    for (name, unit) in run.units.iter().take(PICTURED) {
        pictures(&mut page, name, unit, run);
    }
    let notes: Vec<&Finding> = told.findings.iter().filter(|f| !f.fails).collect();
    section(&mut page, "Worth knowing, and no failure", &notes, "ul");
    let done: Vec<String> = tally(run).iter().map(|(words, times)| format!("{times} x {words}")).collect();
    lines(&mut page, "Done to them", &done);
    lines(&mut page, "Changed since the baseline", &changed(told));
    lines(&mut page, "What could not be done or seen", &limits(run));
    let mut mends: Vec<String> = bad.iter().map(|f| format!("{}: {}", f.unit, f.mend)).collect();
    mends.dedup();
    lines(&mut page, "What to do", &mends);
    page.push_str(&html::foot("soak", &json(told).to_string()));
    page
}

fn section(page: &mut String, title: &str, findings: &[&Finding], list: &str) {
    if findings.is_empty() {
        return;
    }
    page.push_str(&format!("<h2>{title}</h2>\n<{list}>\n"));
    for finding in findings {
        page.push_str(&format!(
            "<li data-kind=\"{}\" data-unit=\"{1}\"><strong>{1} {2}</strong>\n",
            finding.kind,
            escaped(&finding.unit),
            escaped(&finding.says)
        ));
        for line in &finding.evidence {
            page.push_str(&format!("<br>{}\n", escaped(line)));
        }
        page.push_str("</li>\n");
    }
    page.push_str(&format!("</{list}>\n"));
}

fn lines(page: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    page.push_str(&format!("<h2>{title}</h2>\n<ul>\n"));
    lines.iter().take(60).for_each(|line| page.push_str(&format!("<li>{}</li>\n", escaped(line))));
    if lines.len() > 60 {
        page.push_str(&format!("<li>and {} more</li>\n", lines.len() - 60));
    }
    page.push_str("</ul>\n");
}

fn units(page: &mut String, run: &Run) {
    page.push_str(
        "<h2>Services</h2>\n<div class=\"wide\"><table id=\"units\">\n<tr><th>unit<th class=\"n\">starts\
         <th class=\"n\">failed<th class=\"n\">restarts<th class=\"n\">left behind<th class=\"n\">stops\
         <th class=\"n\">longest stop\n",
    );
    for (name, unit) in &run.units {
        page.push_str(&format!(
            "<tr data-unit=\"{0}\"><td>{0}<td class=\"n\">{1}<td class=\"n\">{2}<td class=\"n\">{3}\
             <td class=\"n\">{4}<td class=\"n\">{5}<td class=\"n\">{6}\n",
            escaped(name),
            unit.starts.count,
            unit.failures,
            unit.restarts,
            unit.left,
            unit.stops.count,
            duration(unit.stops.longest_us)
        ));
    }
    page.push_str("</table></div>\n");
}

fn pictures(page: &mut String, name: &str, unit: &Summary, run: &Run) {
    let measured: Vec<(&Measure, &Row)> = unit.rows.iter().filter(|(_, r)| r.points.len() > 1).collect();
    if measured.is_empty() && unit.stops.count == 0 {
        return;
    }
    page.push_str(&format!("<h2>{}</h2>\n", escaped(name)));
    for (measure, row) in measured {
        let grows = row.trend.is_some_and(|t| t.grows);
        // What never moves needs no picture.
        let steady = row.points.iter().all(|p| p.1 == row.points[0].1);
        if *measure == Measure::Memory || grows || !steady {
            page.push_str(&curve(name, *measure, row, run));
        } else {
            let value = amount(*measure, row.level as f64);
            page.push_str(&format!("<p>{}: {value} all the time</p>\n", measure.word()));
        }
    }
    if unit.stops.count > 1 {
        page.push_str(&stops(name, unit));
    }
}

/// A measure over time, and the faults as marks below it.
fn curve(name: &str, measure: Measure, row: &Row, run: &Run) -> String {
    const TOP: u64 = 26;
    const BOTTOM: u64 = 132;
    let most = row.points.iter().map(|p| p.1).max().unwrap_or(0).max(1);
    let length = run.ended_us.saturating_sub(run.began_us).max(1);
    let x = |us: u64| {
        let at = us.saturating_sub(run.began_us).min(length);
        LEFT + (u128::from(at) * u128::from(RIGHT - LEFT) / u128::from(length)) as u64
    };
    let y = |value: u64| {
        BOTTOM - (u128::from(value.min(most)) * u128::from(BOTTOM - TOP) / u128::from(most)) as u64
    };
    let step = row.points.len().div_ceil(POINTS);
    let last = row.points.last().copied().unwrap_or_default();
    let shown = row.points.iter().step_by(step).copied().chain([last]);
    let points: Vec<String> = shown.map(|(at, value)| format!("{},{}", x(at), y(value))).collect();
    let told = match row.trend {
        Some(trend) if trend.grows => format!("grows by {}", slope(measure, &trend)),
        Some(_) => "does not grow".to_owned(),
        None => "too short to tell whether it grows".to_owned(),
    };
    let mut svg = format!(
        "<svg class=\"curve\" viewBox=\"0 0 {WIDTH} 172\" role=\"img\" data-unit=\"{0}\" \
         data-measure=\"{1}\" data-last=\"{2}\"><title>{0}: {1} {3}</title>\n\
         <text x=\"4\" y=\"14\" class=\"head\">{1} {4}</text>\n\
         <path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" class=\"axis\"/>\n",
        escaped(name),
        measure.word(),
        last.1,
        escaped(&told),
        if row.trend.is_some_and(|t| t.grows) { "grows" } else { "" },
    );
    for value in [0, most] {
        svg.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" class=\"end\">{}</text>\n",
            LEFT - 5,
            y(value) + 4,
            amount(measure, value as f64)
        ));
    }
    svg.push_str(&marks(&run.windows, name, &x, BOTTOM));
    svg.push_str(&format!(
        "<text x=\"{LEFT}\" y=\"152\">0</text><text x=\"{RIGHT}\" y=\"152\" class=\"end\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"167\" class=\"rule\">{}</text>\n\
         <polyline points=\"{}\" class=\"line\"/>\n</svg>\n",
        escaped(&span(length)),
        escaped(&cut(&told, 52)),
        points.join(" ")
    ));
    svg
}

/// A short line below the axis for each fault that was done to the unit.
fn marks(windows: &[Window], name: &str, x: &dyn Fn(u64) -> u64, bottom: u64) -> String {
    let own = windows.iter().filter(|w| w.unit.as_deref().is_none_or(|unit| unit == name));
    let mut at: Vec<u64> = own.map(|w| x(w.from_us)).collect();
    at.dedup();
    let path: String = at.iter().map(|x| format!("M{x} {}V{}", bottom + 1, bottom + 8)).collect();
    if path.is_empty() {
        path
    } else {
        format!("<path d=\"{path}\" class=\"axis\"><title>faults</title></path>\n")
    }
}

/// Every stop as a point, by how long it took.
fn stops(name: &str, unit: &Summary) -> String {
    const AT: u64 = 56;
    let most = unit.stops.longest_us.max(1);
    let x = |us: u64| LEFT + (u128::from(us.min(most)) * u128::from(RIGHT - LEFT) / u128::from(most)) as u64;
    let mut svg = format!(
        "<svg class=\"stops\" viewBox=\"0 0 {WIDTH} 92\" role=\"img\" data-unit=\"{0}\" data-stops=\"{1}\">\
         <title>{0}: {1} stops, {2} in the middle, {3} at most</title>\n\
         <text x=\"4\" y=\"14\" class=\"head\">how long {1} stops took</text>\n\
         <path d=\"M{LEFT} {AT}H{RIGHT}\" class=\"axis\"/>\n",
        escaped(name),
        unit.stops.count,
        duration(unit.stops.median_us),
        duration(unit.stops.longest_us)
    );
    let mut stacked = std::collections::BTreeMap::<u64, u64>::new();
    for stop in &unit.story.stops {
        let Some(to) = stop.to_us else { continue };
        if stop.why.holds_stop() {
            continue;
        }
        let at = x(to.saturating_sub(stop.from_us)) / 4 * 4;
        let height = stacked.entry(at).or_default();
        *height = (*height + 1).min(6);
        svg.push_str(&format!("<circle cx=\"{at}\" cy=\"{}\" r=\"2.5\"/>\n", AT - 5 * *height));
    }
    svg.push_str(&format!(
        "<text x=\"{LEFT}\" y=\"74\">0</text><text x=\"{RIGHT}\" y=\"74\" class=\"end\">{}</text>\n\
         <text x=\"{LEFT}\" y=\"88\" class=\"rule\">{} in the middle</text>\n</svg>\n",
        duration(unit.stops.longest_us),
        duration(unit.stops.median_us)
    ));
    svg
}

fn cut(text: &str, letters: usize) -> String {
    match text.chars().count() > letters {
        true => text.chars().take(letters - 3).chain("...".chars()).collect(),
        false => text.to_owned(),
    }
}
