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
        for of_unit in leaks.chunk_by(|a, b| a.unit == b.unit) {
            sum(&mut page, of_unit, reading, clock);
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

/// What the leaks of one unit come to.
fn sum(page: &mut Page, leaks: &[Leak], reading: &Reading, clock: &Clock) {
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
    let intended = leaks.iter().filter(|leak| leak.allowed).count();
    match intended {
        0 => {}
        n if n == leaks.len() => text.push_str("; the unit intends it"),
        n => text.push_str(&format!("; the unit intends {n} of them")),
    }
    let left = why::why_process(&reading.index, last.pid, None, clock.now).map(|answer| answer.left_behind);
    let rule = left.and_then(|left| left.rule).map(|rule| format!("  ({})", super::answer::rule(&rule)));
    let style = if intended == leaks.len() { Style::Plain } else { Style::Bad };
    page.paragraph("", "    ", &[(style, &text), (Style::Faint, &rule.unwrap_or_default())]);
}
