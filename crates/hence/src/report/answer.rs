//! The one screen of `hence why`: the answer first, its evidence next, what to do last.
//!
//! Lists that could be long are cut here, with what is left out counted; `--json` has all of it.

use super::ledger::Reading;
use super::page::{Page, tight};
use super::style::Style::{Bad, Faint, Good, Plain, Strong};
use super::time::{Clock, period, span};
use hence_ledger::answer::{Answer, Change, Compared, FileState, LastWords, LeftBehind, State};
use hence_ledger::basis::is_ordinary;
use hence_ledger::path::Step;
use hence_ledger::speech::{count, size};
use hence_ledger::{Certainty, FileRole, Rule, UnitResult};

/// Steps of a chain that are shown.
const STEPS: usize = 8;
/// Further roots, changed files and commands that are shown of each.
const FEW: usize = 4;
/// Pieces of advice that are shown.
const ADVICE: usize = 4;
/// Last lines of the last words that are shown.
const LINES: usize = 5;
/// Characters of one line of the last words that are shown.
const LINE: usize = 240;

/// The page. `past`: it was asked of a time in the past.
pub fn page(answer: &Answer, reading: &Reading, clock: &Clock, past: bool) -> String {
    let mut page = Page::here();
    head(&mut page, answer, clock, past);
    causes(&mut page, answer, clock);
    if let Some(words) = &answer.last_words {
        last_words(&mut page, words);
    }
    if let Some(compared) = &answer.compared {
        changes(&mut page, answer, compared, clock);
    }
    if answer.left_behind.processes > 0 {
        left_behind(&mut page, &answer.left_behind, clock);
    }
    caveats(&mut page, answer, clock);
    if !answer.advice.is_empty() {
        match answer.advice.len() {
            0..=ADVICE => page.heading("What to do"),
            all => page.heading(&format!("What to do ({ADVICE} of {all}; --json has all)")),
        }
        for (nth, advice) in answer.advice.iter().take(ADVICE).enumerate() {
            let number = format!("  {}. ", nth + 1);
            page.paragraph("", "     ", &[(Good, &tight(&number)), (Plain, &advice.text)]);
        }
    }
    reading.footer(&mut page);
    page.finish()
}

/// `KillMode=process, /etc/systemd/system/foo.service:9`
pub fn rule(rule: &Rule) -> String {
    match &rule.file {
        Some(file) if rule.line > 0 => format!("{}, {file}:{}", rule.directive, rule.line),
        Some(file) => format!("{}, {file}", rule.directive),
        None => format!("{}, the default", rule.directive),
    }
}

/// An event as the predicate of a sentence: `was stopped`, `failed`.
pub fn verb(event: &str) -> String {
    match event {
        "failed" | "finished" | "exited" => event.into(),
        "running" | "starting" | "stopping" | "waiting" => format!("is {event}"),
        _ => format!("was {event}"),
    }
}

fn head(page: &mut Page, answer: &Answer, clock: &Clock, past: bool) {
    if past {
        page.paragraph(
            "",
            "",
            &[(Faint, &format!("As of {} {}:", clock.full(clock.now.realtime_us), clock.zone()))],
        );
    }
    let subject = match answer.pid {
        Some(pid) => format!("Process {pid} of {}", answer.unit),
        None => answer.unit.to_string(),
    };
    let at = clock.short(answer.at.realtime_us);
    let goes_on = verb(answer.event).starts_with("is ");
    let ago = tight(&span(answer.ago_us));
    let mut text = match answer.event {
        "not started" => format!("A start of {subject} came to nothing {ago} ago"),
        event if goes_on => format!("{subject} {}, for {ago} now", verb(event)),
        event => format!("{subject} {} {ago} ago", verb(event)),
    };
    if answer.ago_us >= 3_600_000_000 {
        text.push_str(&format!(" ({at})"));
    }
    if answer.times > 1 {
        let lasted = answer.at.realtime_us.saturating_sub(answer.since.realtime_us);
        // What happened just now is counted up to now; what is long over is not stretched.
        let pause = answer.period_us.unwrap_or(lasted / (answer.times - 1));
        if answer.ago_us <= pause.saturating_mul(3) {
            let whole = answer.now.realtime_us.saturating_sub(answer.since.realtime_us);
            text.push_str(&format!(", as {} times in the last {}", answer.times, tight(&span(whole))));
        } else {
            text.push_str(&format!(", the last of {} times in {}", answer.times, tight(&span(lasted))));
        }
        if let Some(us) = answer.period_us {
            text.push_str(&format!(", every {}", tight(&period(us))));
        }
    }
    if answer.up_again.is_some() {
        let each = if answer.times > 1 { " each time" } else { "" };
        text.push_str(&format!(", and started again{each}"));
    }
    page.paragraph("", "", &[(Strong, &format!("{text}."))]);
    let mut more = String::new();
    if answer.times_in_all > answer.times {
        more.push_str(&format!(
            "On record in all: {} since {}. ",
            count(answer.times_in_all, "time", "times"),
            clock.full(answer.first.realtime_us)
        ));
    }
    if let Some(ended) = answer.ended {
        let at = clock.short(ended.realtime_us);
        more.push_str(&format!("hence itself ended at {at} and stopped everything. "));
    }
    if let Some(state) = answer.state.as_ref().filter(|_| answer.pid.is_none() && answer.event != "running") {
        more.push_str(&now(state, clock, past));
    }
    if !more.is_empty() {
        page.paragraph("", "", &[(Plain, more.trim_end())]);
    }
}

fn now(state: &State, clock: &Clock, past: bool) -> String {
    let mut text = format!("State {}: {}", if past { "then" } else { "now" }, state.active);
    if state.sub.as_str() != state.active.as_str() {
        text.push_str(&format!(" ({})", state.sub));
    }
    text.push_str(&format!(" since {}", clock.short(state.since.realtime_us)));
    if state.result != UnitResult::Success {
        text.push_str(&format!(", result {}", state.result));
    }
    if let Some(pid) = state.main_pid {
        text.push_str(&format!(", main process {pid}"));
    }
    text + "."
}

/// The chain: each cause with its time, and below it the directive that made it lead to the step above.
fn causes(page: &mut Page, answer: &Answer, clock: &Clock) {
    page.gap();
    let Some((event, causes)) = answer.chain.split_first() else {
        page.paragraph("", "", &[(Bad, "No cause is on record.")]);
        return;
    };
    let again = causes.first().is_some_and(|cause| cause.basis == event.basis);
    if !again && !event.basis.as_deref().is_some_and(is_ordinary) {
        inferred(page, event, "");
    }
    // The step above on the page, whose unit "it" and "its" refer to.
    let mut above = event;
    for (nth, (effect, step)) in answer.chain.iter().zip(causes).enumerate() {
        // The root stays in sight however long the chain.
        let hidden = causes.len().saturating_sub(STEPS);
        if hidden > 0 && (STEPS - 1..STEPS - 1 + hidden).contains(&nth) {
            if nth == STEPS - 1 {
                let text = format!("... {}; --json has all", count(hidden as u64, "more step", "more steps"));
                page.paragraph("", "", &[(Faint, &text)]);
            }
        } else {
            cause(page, effect, step, &clause(above, step), clock);
            above = step;
        }
    }
    if causes.is_empty() {
        let text = match answer.notes.is_empty() {
            true => "It happened by itself: no cause before it is on record.",
            false => "No cause before it is on record.",
        };
        page.paragraph("", "", &[(Plain, text)]);
    }
    if answer.roots.len() > 1 {
        page.heading("Further causes of the same event");
        for root in answer.roots.iter().skip(1).take(FEW) {
            let at = root.at.map(|at| format!("{}  ", clock.short(at.realtime_us))).unwrap_or_default();
            page.paragraph("  ", "            ", &[(Faint, &tight(&at)), (Plain, &root.what)]);
        }
        if answer.roots.len() > FEW + 1 {
            page.paragraph("  ", "", &[(Faint, &format!("and {} more", answer.roots.len() - FEW - 1))]);
        }
    }
}

fn cause(page: &mut Page, effect: &Step, step: &Step, clause: &str, clock: &Clock) {
    let at = clock.short(step.at.realtime_us);
    let indent = " ".repeat(at.len() + 2);
    let lead = tight(&format!("{at}  because "));
    let (lead, word) = lead.split_at(lead.len() - "because\u{a0}".len());
    page.paragraph("", &indent, &[(Faint, lead), (Plain, word), (Strong, clause)]);
    for rule in effect.rule.iter().chain(&effect.other_rules) {
        page.paragraph(&indent, &format!("{indent}  "), &[(Faint, &self::rule(rule))]);
    }
    inferred(page, step, &indent);
}

/// What a step was concluded from, where it was not seen.
fn inferred(page: &mut Page, step: &Step, indent: &str) {
    if let Some(basis) = step.basis.as_deref().filter(|_| step.certainty == Certainty::Inferred) {
        let text = format!("inferred from {basis}");
        page.paragraph(indent, &format!("{indent}  "), &[(Faint, &text)]);
    }
}

/// A step as a clause with its unit: `foo.service was restarted`, `its main process 7 exited with status 1`.
fn clause(above: &Step, step: &Step) -> String {
    let what = step.what.as_str();
    if let Some(rest) = what.strip_prefix("something that was not seen") {
        return format!("of something that was not seen{rest}");
    }
    let Some(unit) = step.unit.as_deref() else { return what.into() };
    let same = above.unit == step.unit;
    let subject = if same { "it" } else { unit };
    // `30 s after: WatchdogSec= is over`
    if let Some((length, kind)) =
        what.split_once(" after: ").and_then(|(l, k)| Some((l, k.strip_suffix(" is over")?)))
        && kind.ends_with('=')
    {
        return match same {
            true => format!("its {kind} of {length} had passed"),
            false => format!("the {kind} of {unit}, {length}, had passed"),
        };
    }
    // `its start failed`, `its start job was dropped: ...`
    if let (false, Some(rest)) = (same, what.strip_prefix("its ")) {
        let (noun, rest) = match rest.split_once(" job ") {
            Some((kind, rest)) => (format!("{kind} job"), rest),
            None => rest.split_once(' ').map_or((rest.into(), ""), |(noun, rest)| (noun.into(), rest)),
        };
        return format!("the {noun} of {unit} {rest}");
    }
    match what.split([' ', ',']).next().unwrap_or_default() {
        "restarted" | "started" | "stopped" | "reloaded" | "not" => format!("{subject} was {what}"),
        "finished" | "failed" | "became" | "left" | "reached" => format!("{subject} {what}"),
        "process" if same && what.contains(" asked for ") => what.into(),
        "process" if what.contains(" asked for ") => format!("{what} of {unit}"),
        word if same && (word == "main" || word.ends_with('=')) => format!("its {what}"),
        _ if same || what.contains(unit) => what.into(),
        _ => format!("{unit}: {what}"),
    }
}

fn last_words(page: &mut Page, words: &LastWords) {
    page.heading(&format!("What {} wrote last on {}", words.unit, words.stream));
    let lines: Vec<&str> = words.text.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        let mut shown: String = line.trim_end().chars().take(LINE).collect();
        if shown.len() < line.trim_end().len() {
            shown.push_str("...");
        }
        page.paragraph("  | ", "  | ", &[(Plain, &shown)]);
    }
}

fn changes(page: &mut Page, answer: &Answer, compared: &Compared, clock: &Clock) {
    let lasted = compared.good_lasted_us.map(|us| format!(", {}", span(us))).unwrap_or_default();
    let good = clock.short(compared.good.realtime_us);
    page.heading(&format!("Changed since the last good run of {} ({good}{lasted})", compared.unit));
    for change in answer.changed.iter().take(FEW) {
        changed(page, change, clock);
    }
    if answer.changed.len() > FEW {
        page.paragraph("  ", "", &[(Faint, &format!("and {} more", answer.changed.len() - FEW))]);
    }
    if answer.changed.is_empty() {
        page.paragraph("  ", "  ", &[(Plain, "No file that it starts with.")]);
    }
    let same: Vec<String> = answer
        .unchanged
        .iter()
        .take(FEW)
        .map(|file| match file.modified_ns.and_then(|ns| u64::try_from(ns / 1000).ok()) {
            Some(us) => format!("{} (of {})", file.path, clock.date(us)),
            None => format!("{} (not there either time)", file.path),
        })
        .collect();
    if !same.is_empty() {
        let more = match answer.unchanged.len().saturating_sub(FEW) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!("{}{more}", same.join(", "));
        page.paragraph("  ", "             ", &[(Faint, "unchanged: "), (Plain, &text)]);
    }
}

fn changed(page: &mut Page, change: &Change, clock: &Clock) {
    let role = match change.role {
        FileRole::UnitFile => "unit file",
        FileRole::Executable => "program",
        FileRole::Interpreter => "interpreter",
        FileRole::Environment => "environment file",
        FileRole::Argument => "file named on its command line",
    };
    let state = |file: &Option<FileState>| match file {
        None => String::from("not there"),
        Some(file) => {
            let mut text = String::new();
            if let Some(package) = &file.package {
                text.push_str(&format!("{package}, "));
            }
            text.push_str(&size(file.version.size));
            if let Ok(us) = u64::try_from(file.version.modified_ns / 1000) {
                text.push_str(&format!(", {}", clock.date(us)));
            }
            if let Some(sha) = file.sha256 {
                let start: String = sha[..4].iter().map(|byte| format!("{byte:02x}")).collect();
                text.push_str(&format!(", sha256:{start}"));
            }
            text
        }
    };
    page.paragraph("  ", "    ", &[(Bad, &change.path), (Faint, &format!(" ({role})"))]);
    page.paragraph("    ", "            ", &[(Faint, "before:\u{a0}"), (Plain, &state(&change.before))]);
    page.paragraph("    ", "            ", &[(Faint, "after:\u{a0}\u{a0}"), (Plain, &state(&change.after))]);
}

fn left_behind(page: &mut Page, left: &LeftBehind, clock: &Clock) {
    page.heading("Left behind and still there");
    let one_command = left.commands.first().filter(|_| left.commands.len() == 1);
    let mut text = match one_command {
        Some((command, times)) => format!("{times} x {command}"),
        None => count(left.processes, "process", "processes"),
    };
    if left.bytes > 0 {
        text.push_str(&format!(", {}", size(left.bytes)));
    }
    if left.unmeasured > 0 {
        text.push_str(&format!(", {} of unknown size", left.unmeasured));
    }
    match left.allowed {
        0 => {}
        n if n == left.processes => text.push_str(", as the unit intends"),
        n => text.push_str(&format!(", {n} of them as the unit intends")),
    }
    if let Some(since) = left.since {
        text.push_str(&format!(", the first at {}", clock.short(since.realtime_us)));
    }
    let style = if left.allowed == left.processes { Plain } else { Bad };
    page.paragraph("  ", "  ", &[(style, &text)]);
    for (command, times) in left.commands.iter().take(FEW).filter(|_| one_command.is_none()) {
        page.paragraph("  ", "    ", &[(Plain, &format!("{times} x {command}"))]);
    }
    if left.commands.len() > FEW {
        let more = format!("and {} other command lines; hence leaks has all", left.commands.len() - FEW);
        page.paragraph("  ", "    ", &[(Faint, &more)]);
    }
    if let Some(rule) = &left.rule {
        page.paragraph("  ", "    ", &[(Faint, &self::rule(rule))]);
    }
}

/// What must be known of the evidence itself.
fn caveats(page: &mut Page, answer: &Answer, clock: &Clock) {
    if answer.gaps.is_empty() && answer.notes.is_empty() {
        return;
    }
    page.heading("What the evidence lacks");
    for gap in answer.gaps.iter().take(FEW) {
        let at = clock.short(gap.at.realtime_us);
        let text = match gap.lost {
            0 => format!("Records are missing at {at}: {}.", gap.reason),
            1 => format!("1 record is missing at {at}: {}.", gap.reason),
            lost => format!("{lost} records are missing at {at}: {}.", gap.reason),
        };
        page.paragraph("  ", "    ", &[(Plain, &text)]);
    }
    if answer.gaps.len() > FEW {
        page.paragraph("  ", "", &[(Faint, &format!("and {} more gaps", answer.gaps.len() - FEW))]);
    }
    for note in &answer.notes {
        page.paragraph("  ", "    ", &[(Plain, note)]);
    }
}
