//! The page of `hence leaks`: a table, then what it comes to and by which rule.

use super::ledger::Reading;
use super::page::Page;
use super::style::Style;
use super::time::Clock;
use hence_ledger::answer::Leak;
use hence_ledger::speech::{count, size};
use hence_ledger::why;

/// The page.
pub fn page(leaks: &[Leak], reading: &Reading, clock: &Clock) -> String {
    let mut page = Page::here();
    if leaks.is_empty() {
        page.paragraph("", "", &[(Style::Plain, "No process outlived its unit.")]);
    } else {
        let (meant, not): (Vec<&Leak>, Vec<&Leak>) = leaks.iter().partition(|leak| leak.allowed);
        if !not.is_empty() {
            table(&mut page, &not, clock);
        }
        for of_unit in not.chunk_by(|a, b| a.unit == b.unit) {
            sum(&mut page, of_unit, reading, clock);
        }
        if !meant.is_empty() {
            if not.is_empty() {
                page.paragraph("", "", &[(Style::Plain, "No process outlived its unit but those meant to.")]);
            }
            page.gap();
            page.paragraph("", "", &[(Style::Strong, "Intended:")]);
            table(&mut page, &meant, clock);
        }
        for of_reason in meant.chunk_by(|a, b| a.unit == b.unit && a.reason == b.reason) {
            intended(&mut page, of_reason);
        }
    }
    if let Some(ended) = reading.ended.filter(|_| !leaks.is_empty() && !reading.checked) {
        let text = format!(
            "hence ended at {}; what became of these processes since then is not on record.",
            clock.full(ended.realtime_us)
        );
        page.paragraph("", "", &[(Style::Faint, &text)]);
    }
    reading.footer(&mut page);
    page.finish()
}

fn table(page: &mut Page, leaks: &[&Leak], clock: &Clock) {
    let rows: Vec<Vec<String>> = leaks
        .iter()
        .map(|leak| {
            vec![
                leak.unit.to_string(),
                leak.pid.to_string(),
                leak.bytes.map_or("?".into(), size),
                clock.short(leak.since.realtime_us),
                leak.command.to_string(),
            ]
        })
        .collect();
    page.table(&["UNIT", "PID", "MEMORY", "SINCE", "COMMAND"], &[1, 2], &rows);
    page.gap();
}

/// What the intended ones of a unit come to, and why they are.
fn intended(page: &mut Page, leaks: &[&Leak]) {
    let Some(last) = leaks.last() else { return };
    let bytes: u64 = leaks.iter().filter_map(|leak| leak.bytes).fold(0, u64::saturating_add);
    let mut text = format!("{}: {}", last.unit, count(leaks.len() as u64, "process", "processes"));
    if bytes > 0 {
        text.push_str(&format!(", {}", size(bytes)));
    }
    let reason = format!("; {}", last.reason.as_deref().unwrap_or("the unit intends it"));
    page.paragraph("", "    ", &[(Style::Plain, &text), (Style::Faint, &reason)]);
}

/// What the leaks of one unit come to.
fn sum(page: &mut Page, leaks: &[&Leak], reading: &Reading, clock: &Clock) {
    let Some(last) = leaks.last() else { return };
    let bytes: u64 = leaks.iter().filter_map(|leak| leak.bytes).fold(0, u64::saturating_add);
    let unmeasured = leaks.iter().filter(|leak| leak.bytes.is_none()).count() as u64;
    let mut text =
        format!("{}: {} left behind", last.unit, count(leaks.len() as u64, "process", "processes"));
    if bytes > 0 {
        text.push_str(&format!(", {}", size(bytes)));
    }
    if unmeasured > 0 {
        text.push_str(&format!(", {unmeasured} of unknown size"));
    }
    let left = why::why_process(&reading.index, last.pid, None, clock.now).map(|answer| answer.left_behind);
    let rule = left.and_then(|left| left.rule).map(|rule| format!("  ({})", super::answer::rule(&rule)));
    page.paragraph("", "    ", &[(Style::Bad, &text), (Style::Faint, &rule.unwrap_or_default())]);
}
