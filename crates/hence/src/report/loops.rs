//! The page of `hence loops`: a paragraph for each.

use super::ledger::Reading;
use super::page::Page;
use super::style::Style;
use super::time::{Clock, period, span};
use hence_ledger::loops::Loop;
use hence_ledger::speech::count;

/// The page.
pub fn page(loops: &[Loop], reading: &Reading, clock: &Clock) -> String {
    let mut page = Page::here();
    if loops.is_empty() {
        page.paragraph("", "", &[(Style::Plain, "No unit goes down and comes up again and again.")]);
    }
    for found in loops {
        page.gap();
        one(&mut page, found, clock);
    }
    reading.footer(&mut page);
    page.finish()
}

fn one(page: &mut Page, found: &Loop, clock: &Clock) {
    let units: Vec<&str> = found.units.iter().map(|unit| &**unit).collect();
    let (first, followers) = units.split_first().unwrap_or((&"", &[]));
    let lasted = found.last.realtime_us.saturating_sub(found.since.realtime_us);
    let every = found.period_us.map(|us| format!(", every {}", period(us))).unwrap_or_default();
    let times = count(found.times, "time", "times");
    let went = if found.ongoing { "goes down and comes up again" } else { "went down and came up again" };
    let head = format!("{first} {went}{every}: {times} in {}", span(lasted));
    let now = match found.ongoing {
        true => String::from(", and it goes on."),
        false => format!(", the last time at {}.", clock.short(found.last.realtime_us)),
    };
    page.paragraph("", "  ", &[(Style::Strong, &head), (Style::Bad, &now)]);
    if !followers.is_empty() {
        page.paragraph("  ", "    ", &[(Style::Plain, &format!("It takes along {}.", followers.join(", ")))]);
    }
    page.paragraph(
        "  ",
        "    ",
        &[(Style::Plain, &format!("It began at {}.", clock.short(found.since.realtime_us)))],
    );
    let root = &found.root;
    let ended = root.at.map(|at| format!(" ({})", clock.short(at.realtime_us))).unwrap_or_default();
    page.paragraph(
        "  ",
        "    ",
        &[(Style::Plain, &format!("The last time because {}", root.what)), (Style::Faint, &ended)],
    );
    page.paragraph("  ", "    ", &[(Style::Good, &format!("`hence why {first}` tells what to do."))]);
}
