//! The page of `hence predict`: the answer first, then why, then what happens when, then what was taken for
//! granted.

pub mod fold;
pub mod html;
pub mod json;
mod picture;

use super::answer::rule;
use super::page::Page;
use super::style::Style::{Bad, Faint, Good, Plain, Strong};
use fold::{SHOWN, folded, headline, later, moment, number};
use hence_engine::predict::{Prediction, Question, UnitForecast, limit_text};
use hence_engine::sim::caps::CapKind;
use hence_ledger::answer::Answer;
use hence_ledger::speech::size;

/// Units of a table.
const UNITS: usize = 60;

/// What was asked.
pub struct Asked<'q> {
    /// The question.
    pub question: &'q Question,
    /// The memory of a process was stated rather than assumed.
    pub stated: bool,
}

/// The page.
pub fn page(prediction: &Prediction, asked: &Asked<'_>) -> String {
    let mut page = Page::here();
    page.paragraph("", "", &[(Strong, &headline(prediction, asked))]);
    why(&mut page, prediction);
    limits(&mut page, prediction);
    timeline(&mut page, prediction);
    growth(&mut page, prediction);
    units(&mut page, prediction);
    if let Some(rows) = &prediction.blast {
        blast(&mut page, rows);
    }
    granted(&mut page, prediction, asked);
    page.finish()
}

/// For each loop, and each unit that is taken down, the causes with their directives.
fn why(page: &mut Page, prediction: &Prediction) {
    let mut advice: Vec<&str> = Vec::new();
    for answer in prediction.loops.iter().filter_map(|l| l.why.as_ref()).take(3) {
        page.heading(&format!("Why {} goes around", answer.unit));
        chain(page, answer);
        advice.extend(answer.advice.iter().map(|a| a.text.as_str()));
    }
    let looping = |name: &str| prediction.loops.iter().any(|l| l.units.iter().any(|u| &**u == name));
    let taken: Vec<_> = prediction.takes_down.iter().filter(|t| !looping(&t.unit)).collect();
    if !taken.is_empty() {
        page.heading("What goes down because of others");
    }
    for one in taken.iter().take(SHOWN) {
        let end = if one.comes_back { "comes up again" } else { "stays down" };
        let text = format!("{} after {}, {end}", one.unit, moment(one.at_us));
        page.paragraph("  ", "    ", &[(Plain, &text)]);
        if let Some(because) = one.why.as_ref().and_then(because) {
            page.paragraph("    ", "      ", &[(Faint, &because)]);
        }
    }
    if taken.len() > SHOWN {
        page.paragraph("  ", "", &[(Faint, &format!("and {} more; --json has all", taken.len() - SHOWN))]);
    }
    advice.dedup();
    if !advice.is_empty() {
        page.heading("What to do");
        for (nth, text) in advice.iter().take(4).enumerate() {
            page.paragraph(&format!("  {}. ", nth + 1), "     ", &[(Good, text)]);
        }
    }
}

/// The rules that led from the root to a unit, effect first.
fn because(answer: &Answer) -> Option<String> {
    let rules: Vec<String> = answer.chain.iter().filter_map(|step| step.rule.as_ref()).map(rule).collect();
    (!rules.is_empty()).then(|| rules.join("; "))
}

fn chain(page: &mut Page, answer: &Answer) {
    for (nth, step) in answer.chain.iter().enumerate() {
        let word = if nth == 0 { "" } else { "because " };
        let unit = step.unit.as_deref().unwrap_or("hence");
        page.paragraph("  ", "    ", &[(Plain, word), (Plain, unit), (Plain, " "), (Plain, &step.kind)]);
        for one in step.rule.iter().chain(&step.other_rules) {
            page.paragraph("    ", "      ", &[(Faint, &rule(one))]);
        }
    }
    if answer.left_behind.processes > 0
        && let Some(one) = &answer.left_behind.rule
    {
        let text = format!("each time {} leaves processes behind", answer.unit);
        page.paragraph("  ", "    ", &[(Plain, &text)]);
        page.paragraph("    ", "      ", &[(Faint, &rule(one))]);
    }
}

fn limits(page: &mut Page, prediction: &Prediction) {
    let later = later(prediction);
    if prediction.limits.is_empty() && later.is_empty() {
        return;
    }
    page.heading("Limits");
    for cap in &prediction.limits {
        let at = moment(cap.reached_us.unwrap_or_default());
        let mut text = format!("after {at}: {}", limit_text(cap));
        if cap.refused > 0 {
            let times = hence_ledger::speech::count(cap.refused, "process", "processes");
            text.push_str(&format!("; {times} can't be made after that"));
        }
        page.paragraph("  ", "    ", &[(Bad, &text)]);
    }
    for (cap, at_us) in later {
        let text = match cap.kind {
            CapKind::Tasks | CapKind::MachinePids | CapKind::Memory | CapKind::MachineMemory => {
                format!("at this rate after {}: {}", moment(at_us), limit_text(cap))
            }
        };
        page.paragraph("  ", "    ", &[(Plain, &text)]);
    }
}

fn timeline(page: &mut Page, prediction: &Prediction) {
    let entries = folded(prediction);
    if entries.is_empty() {
        return;
    }
    page.heading("Timeline");
    for entry in entries.iter().take(SHOWN) {
        let lead = format!("{:>12}  ", moment(entry.at_us));
        let style = if entry.is_bad() { Bad } else { Plain };
        let rhythm = entry.rhythm();
        let text = entry.text();
        let mut pieces = vec![(style, text.as_str())];
        let shown = format!(" ({rhythm})");
        if !rhythm.is_empty() {
            pieces.push((Strong, &shown));
        }
        page.paragraph(&lead, "              ", &pieces);
    }
    if entries.len() > SHOWN {
        let more = entries.len() - SHOWN;
        page.paragraph("", "", &[(Faint, &format!("and {more} more entries; --json has all"))]);
    }
}

/// How far what goes around or leaks has come by when.
fn growth(page: &mut Page, prediction: &Prediction) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let grows = |u: &UnitForecast| u.counts.restarts >= 3 || u.left_behind > 0;
    for (name, unit) in prediction.units.iter().filter(|(_, u)| grows(u)).take(8) {
        let end = (prediction.for_us, unit.counts.restarts, unit.left_behind);
        for (nth, (at_us, restarts, left)) in unit.counts.marks.iter().copied().chain([end]).enumerate() {
            let name = if nth == 0 { name.to_string() } else { String::new() };
            rows.push(vec![name, moment(at_us), number(restarts), number(left)]);
        }
    }
    if !rows.is_empty() {
        page.gap();
        page.table(&["UNIT", "BY", "RESTARTS", "LEFT BEHIND"], &[1, 2, 3], &rows);
    }
}

fn units(page: &mut Page, prediction: &Prediction) {
    let busy = |(_, u): &(&hence_ledger::Text, &UnitForecast)| u.counts.starts > 0 || u.left_behind > 0;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, unit) in prediction.units.iter().filter(busy) {
        let (active, sub, _) = unit.final_state;
        let state = match active.as_str() == sub.as_str() {
            true => active.to_string(),
            false => format!("{active} ({sub})"),
        };
        rows.push(vec![
            name.to_string(),
            number(unit.counts.starts),
            number(unit.counts.restarts),
            number(unit.left_behind),
            state,
        ]);
    }
    if rows.is_empty() {
        return;
    }
    page.gap();
    let more = rows.len().saturating_sub(UNITS);
    rows.truncate(UNITS);
    page.table(&["UNIT", "STARTS", "RESTARTS", "LEFT BEHIND", "AT THE END"], &[1, 2, 3], &rows);
    if more > 0 {
        page.paragraph("", "", &[(Faint, &format!("and {more} more; --json has all"))]);
    }
}

fn blast(page: &mut Page, rows: &[hence_engine::predict::blast::Reach]) {
    page.heading("What each unit takes along");
    let list = |names: &[hence_ledger::Text]| match names {
        [] => "-".to_owned(),
        few if few.len() <= 3 => few.iter().map(|n| &**n).collect::<Vec<_>>().join(" "),
        many => format!("{} {} and {} more", many[0], many[1], many.len() - 2),
    };
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let failure = match &row.failure {
                None => String::new(),
                Some(names) if row.recovers => list(names),
                Some(names) => format!("{} (stays down)", list(names)),
            };
            vec![row.unit.to_string(), list(&row.stop), list(&row.restart), failure]
        })
        .collect();
    page.table(&["UNIT", "STOPPED", "RESTARTED", "KILLED"], &[], &rows);
}

/// What was supposed, assumed and limited.
fn granted(page: &mut Page, prediction: &Prediction, asked: &Asked<'_>) {
    page.heading("Taken for granted");
    for line in grants(prediction, asked) {
        page.paragraph("  - ", "    ", &[(Faint, &line)]);
    }
}

/// The same as lines.
fn grants(prediction: &Prediction, asked: &Asked<'_>) -> Vec<String> {
    let question = asked.question;
    let mut lines: Vec<String> = question.sentences.iter().map(|s| format!("supposed: {s}")).collect();
    lines.extend(prediction.assumptions.iter().cloned());
    let limits = &question.limits;
    let stated = if asked.stated { "" } else { " (--memory-per-process says otherwise)" };
    lines.push(format!("each process takes {}{stated}", size(limits.per_process)));
    lines.push(format!(
        "the machine has {} of memory and room for {} processes; what else runs there is not counted. \
         TasksMax= is {} where a unit says nothing",
        size(limits.memory),
        number(limits.pids),
        number(limits.tasks_default)
    ));
    lines
}
