//! Findings of `hence lint` as a page: the answer first, then each finding with its line, as compilers show
//! them.

pub mod forms;

use super::page::Page;
use super::style::{END, Style, columns, plain, wanted};
use hence_ledger::speech::count;
use hence_unit::Level;
use hence_unit::lint::explain::{example, page_address};
use hence_unit::lint::{Finding, Rule};

/// A finding, and how it is shown.
#[derive(Debug)]
pub struct Found {
    pub finding: Finding,
    /// The path as the person wrote it.
    pub path: String,
    /// The line's text.
    pub line: Option<String>,
}

/// All that was found.
#[derive(Debug, Default)]
pub struct Told {
    pub findings: Vec<Found>,
    /// How many units were looked at.
    pub units: usize,
    /// How many scripts.
    pub scripts: usize,
}

/// A file that was mended.
#[derive(Debug)]
pub struct Mended {
    pub path: String,
    /// What changed in it, as diff -u shows it.
    pub difference: String,
    /// Its new text, where that changed.
    pub new: Option<String>,
    /// Its new permissions, where they changed.
    pub mode: Option<u32>,
}

impl Told {
    /// Adds a finding.
    pub fn add(&mut self, finding: Finding, path: String, line: Option<String>) {
        self.findings.push(Found { finding, path, line });
    }

    /// Puts findings into the order of files and lines, each once.
    pub fn sort(&mut self) {
        let key = |f: &Found| {
            let place = &f.finding.place;
            (f.path.clone(), place.line, place.column, f.finding.rule.id, f.finding.message.clone())
        };
        self.findings.sort_by_cached_key(key);
        self.findings.dedup_by(|a, b| key(a) == key(b));
    }

    fn of(&self, level: Level) -> usize {
        self.findings.iter().filter(|f| f.finding.level == level).count()
    }
}

/// The word of a level.
pub fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

fn style(level: Level) -> Style {
    match level {
        Level::Error => Style::Bad,
        Level::Warning => Style::Strong,
        Level::Note => Style::Faint,
    }
}

/// The answer in one sentence.
fn answer(told: &Told) -> String {
    let mut looked = Vec::new();
    if told.units > 0 || told.scripts == 0 {
        looked.push(count(told.units as u64, "unit", "units"));
    }
    if told.scripts > 0 {
        looked.push(count(told.scripts as u64, "script", "scripts"));
    }
    let looked = looked.join(" and ");
    let parts: Vec<String> = [(Level::Error, "errors"), (Level::Warning, "warnings"), (Level::Note, "notes")]
        .into_iter()
        .filter(|(level, _)| told.of(*level) > 0)
        .map(|(level, plural)| count(told.of(level) as u64, word(level), plural))
        .collect();
    match parts.as_slice() {
        [] => format!("Nothing found in {looked}."),
        [one] => format!("{one} in {looked}."),
        [first @ .., last] => format!("{} and {last} in {looked}.", first.join(", ")),
    }
}

/// Text as a person sees it on a terminal, or without colours.
struct Paint(bool);

impl Paint {
    fn put(&self, style: Style, text: &str) -> String {
        match self.0 && style != Style::Plain {
            true => format!("{}{}{END}", style.begin(), plain(text)),
            false => plain(text),
        }
    }
}

/// The page.
pub fn page(told: &Told, mended: &[Mended]) -> String {
    let paint = Paint(wanted());
    let mut out = String::new();
    for file in mended {
        for line in file.difference.lines() {
            let style = match line.as_bytes().first() {
                Some(b'+') => Style::Good,
                Some(b'-') => Style::Bad,
                _ => Style::Plain,
            };
            out += &format!("{}\n", paint.put(style, line));
        }
        if let Some(mode) = file.mode {
            out += &format!("{}\n", paint.put(Style::Good, &format!("chmod {mode:o} {}", file.path)));
        }
    }
    if !mended.is_empty() {
        let sentence = format!("Mended {}.", count(mended.len() as u64, "file", "files"));
        out += &format!("\n{}\n", paint.put(Style::Strong, &sentence));
    }
    out += &format!("{}\n", paint.put(Style::Strong, &answer(told)));
    for found in &told.findings {
        finding(&mut out, found, &paint);
    }
    let mendable = told.findings.iter().filter(|f| !f.finding.edits.is_empty()).count();
    if let Some(first) = told.findings.first() {
        out += &format!("\nhence lint --explain {} tells why, and what to do.\n", first.finding.rule.id);
        if mendable > 0 {
            out += &format!("--fix mends {mendable} of them; --diff shows how.\n");
        }
    }
    out
}

fn finding(out: &mut String, found: &Found, paint: &Paint) {
    let Found { finding, path, line } = found;
    let mut place = path.clone();
    for number in [finding.place.line, finding.place.column] {
        if number > 0 {
            place += &format!(":{number}");
        } else {
            break;
        }
    }
    let level = format!("{}:", word(finding.level));
    *out += &format!(
        "\n{} {} {} {}\n",
        paint.put(Style::Faint, &format!("{place}:")),
        paint.put(style(finding.level), &level),
        paint.put(Style::Plain, &finding.message),
        paint.put(Style::Faint, &format!("[{}]", finding.rule.id)),
    );
    if let Some(text) = line.as_ref().filter(|text| !text.trim().is_empty()) {
        let number = finding.place.line.to_string();
        let gap = " ".repeat(number.len());
        let width = columns().saturating_sub(number.len() + 5);
        let shown: String = plain(text).chars().take(width).collect();
        *out += &format!("  {} | {shown}\n", paint.put(Style::Faint, &number));
        let (from, length) = span(text, finding.place.column);
        let length = length.min(width.saturating_sub(from));
        if length > 0 {
            let mark =
                format!("{}{}", " ".repeat(from), paint.put(style(finding.level), &"^".repeat(length)));
            *out += &format!("  {gap} | {mark}\n");
        }
    }
    if let Some(fix) = &finding.fix {
        *out += &format!("  {} {}\n", paint.put(Style::Good, "fix:"), plain(fix));
    }
}

/// Which characters of a line are meant: from the column to the end of the assignment, or of the word.
fn span(text: &str, column: u32) -> (usize, usize) {
    let from = (column.max(1) as usize - 1).min(text.chars().count());
    // Tabulators are shown as two characters.
    let tabs = |text: &str| text.chars().map(|c| if c == '\t' { 2 } else { 1 }).sum::<usize>();
    let begin: String = text.chars().take(from).collect();
    let rest: String = text.chars().skip(from).collect();
    (tabs(&begin), tabs(rest.trim_end().trim_end_matches('\\').trim_end()))
}

/// The list of rules.
pub fn rules(rules: impl Iterator<Item = &'static Rule>) -> String {
    let mut page = Page::here();
    let rows: Vec<Vec<String>> = rules
        .map(|rule| vec![rule.id.into(), word(rule.level).into(), rule.page.into(), rule.says.into()])
        .collect();
    page.table(&["RULE", "LEVEL", "MAN PAGE", "WHAT IT FINDS"], &[], &rows);
    page.gap();
    page.paragraph("", "", &[(Style::Strong, &format!("{} rules.", rows.len()))]);
    page.finish()
}

/// A rule, whole.
pub fn explain(rule: &Rule) -> String {
    let mut page = Page::here();
    page.paragraph("", "", &[(Style::Strong, rule.id), (Style::Plain, &format!(" ({})", word(rule.level)))]);
    page.paragraph("", "", &[(Style::Plain, rule.says)]);
    page.gap();
    page.paragraph("", "", &[(Style::Plain, rule.why)]);
    page.gap();
    let address = page_address(rule.page).map_or(String::new(), |address| format!(", {address}"));
    page.paragraph("", "  ", &[(Style::Faint, &format!("See {}{address}", rule.page))]);
    let mut out = page.finish();
    for (title, text) in [("Bad", rule.bad), ("Good", rule.good)] {
        if text.is_empty() {
            continue;
        }
        out += &format!("\n{title}:\n");
        for file in example(text).0 {
            out += &format!("    # {}\n", file.name);
            for line in file.text.lines() {
                out += &format!("    {}\n", plain(line));
            }
        }
    }
    out += &format!("\nTo switch it off: # hence: allow {}: the reason\n", rule.id);
    out
}
