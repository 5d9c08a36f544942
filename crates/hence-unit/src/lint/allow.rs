//! Findings that somebody wants: comments beside the lines, and files of permits. Each says why.
//!
//! `# hence: allow RULE[, RULE]: reason` holds for the directive below it; in front of a section's header for
//! the section; in front of the first section for the file. In a script it may also end the line. A file of
//! permits has sections `[Allow]` and `[Allow PATTERN]`, where PATTERN is that of units' names, with lines
//! `RULE=reason`, and a section `[Lint]`, which whoever reads it looks at.

use super::{Check, Finding, Findings, Level, Rule, UnitFile, World, file_place, rule};
use crate::{
    Place, Text, UnitName,
    directive::nearest,
    lint::FileRole,
    pattern,
    syntax::{self, Assignment},
};
use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeMap, format, string::String, vec::Vec};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "allow-without-reason",
        level: Level::Warning,
        says: "A comment that switches a rule off doesn't say why, or names no rule.",
        why: "Whoever reads the unit next can't tell whether the exception still holds. Such a comment has \
              no \
              effect: write `# hence: allow RULE: reason`.",
        page: "systemd.syntax(7)",
        bad: "[Service]\nExecStart=/usr/bin/foo\n# hence: allow kill-mode\nKillMode=process\n",
        good: "[Service]\nExecStart=/usr/bin/foo\n# hence: allow kill-mode: sessions outlive the daemon\n\
               KillMode=process\nTasksMax=512\n",
        check: Check::Permits,
    },
    Rule {
        id: "allow-unused",
        level: Level::Note,
        says: "A comment switches a rule off that finds nothing there.",
        why: "The reason for the exception is gone, or the comment stands in the wrong place.",
        page: "systemd.syntax(7)",
        bad: "[Service]\nExecStart=/usr/bin/foo\n# hence: allow kill-mode: sessions outlive the daemon\n\
              KillMode=mixed\n",
        good: "[Service]\nExecStart=/usr/bin/foo\n# hence: allow kill-mode: sessions outlive the daemon\n\
               KillMode=process\nTasksMax=512\n",
        check: Check::Permits,
    },
];

/// What files of permits say.
#[derive(Debug, Default)]
pub struct Permits {
    permits: Vec<(Option<Box<str>>, &'static str)>,
    /// Assignments of the section `[Lint]`.
    pub settings: Vec<Assignment<'static>>,
    /// What is wrong with the files; such lines have no effect.
    pub wrong: Vec<(Place, String)>,
}

impl Permits {
    /// Adds what a file says.
    pub fn read(&mut self, path: &Text, text: &str) {
        let (assignments, diagnostics) = syntax::parse(path, text);
        self.wrong.extend(diagnostics.into_iter().map(|d| (d.place, d.message)));
        for assignment in assignments {
            let section = assignment.section.clone();
            let (head, pattern) = section.split_once(' ').unwrap_or((&section, ""));
            match (head, pattern.trim()) {
                ("Allow", pattern) => match (rule(&assignment.key), assignment.value.trim()) {
                    (Some(_), "") => {
                        let message = format!("{}= gives no reason", assignment.key);
                        self.wrong.push((assignment.place, message));
                    }
                    (Some(rule), _) => {
                        let pattern = (!pattern.is_empty()).then(|| pattern.into());
                        self.permits.push((pattern, rule.id));
                    }
                    (None, _) => {
                        let message = unknown(&assignment.key);
                        self.wrong.push((assignment.place, message));
                    }
                },
                ("Lint", "") => self.settings.push(super::world::owned(assignment)),
                _ => {
                    let message =
                        format!("there is no section [{section}]; write [Lint], [Allow] or [Allow UNIT]");
                    self.wrong.push((assignment.place, message));
                }
            }
        }
    }

    fn allows(&self, finding: &Finding) -> bool {
        let names = |pattern: &Option<Box<str>>| match (pattern, &finding.unit) {
            (None, _) => true,
            (Some(pattern), Some(unit)) => {
                let template = unit.template().map(|t| t.as_str().to_owned());
                pattern::matches(pattern, unit) || template.is_some_and(|t| pattern::matches(pattern, &t))
            }
            (Some(_), None) => false,
        };
        self.permits.iter().any(|(pattern, id)| *id == finding.rule.id && names(pattern))
    }

    /// Takes out what is allowed, and adds what is wrong with the comments.
    pub(super) fn apply(&self, world: &World<'_>, found: &mut Vec<Finding>) {
        let mut comments: BTreeMap<Text, Vec<Comment>> = BTreeMap::new();
        let mut more = Vec::new();
        let units = world.given().iter().flat_map(|u| u.files.iter().map(move |f| (f, Some(u))));
        for (file, unit) in units.chain(world.scripts().iter().map(|f| (f, None))) {
            if !file.text.contains("hence:") || comments.contains_key(&file.path) {
                continue;
            }
            let name = unit.map(|u| u.config.id());
            comments.insert(file.path.clone(), read_comments(file, name, &mut more));
        }
        found.retain(|finding| {
            let of_file = comments.get_mut(&finding.place.file);
            let mut hit = false;
            for comment in of_file.into_iter().flatten() {
                if comment.rule == finding.rule.id && comment.covers(finding.place.line) {
                    comment.used = true;
                    hit = true;
                }
            }
            !hit && !self.allows(finding)
        });
        let unused = rule("allow-unused").expect("a row of this file");
        for (file, comments) in &comments {
            for comment in comments.iter().filter(|c| !c.used) {
                let message = format!("{} finds nothing here to allow", comment.rule);
                let place = Place { line: comment.line, column: 1, ..file_place(file) };
                Findings { rule: unused, unit: comment.unit.as_ref(), found: &mut more }.add(
                    place,
                    message,
                    "remove the comment",
                );
            }
        }
        more.retain(|finding| !self.allows(finding));
        found.extend(more);
        found.sort_by(|a, b| (&a.place, a.rule.id).cmp(&(&b.place, b.rule.id)));
    }
}

struct Comment {
    rule: &'static str,
    unit: Option<UnitName>,
    line: u32,
    /// The lines that it holds for; `None`: the file.
    lines: Option<(u32, u32)>,
    used: bool,
}

impl Comment {
    fn covers(&self, line: u32) -> bool {
        self.lines.is_none_or(|(first, last)| (first..=last).contains(&line))
    }
}

fn unknown(id: &str) -> String {
    match nearest(id, super::rules().map(|r| r.id)) {
        Some(near) => format!("there is no rule {id}; did you mean {near}?"),
        None => format!("there is no rule {id}; `hence lint --rules` lists them"),
    }
}

/// What stands behind `hence: allow` in a comment of this line, and whether the line is only a comment.
fn permit_of(line: &str, script: bool) -> Option<(&str, bool)> {
    let trimmed = line.trim_start();
    let whole = trimmed.starts_with('#') || (!script && trimmed.starts_with(';'));
    if !whole && !script {
        return None;
    }
    let at = line.find("hence:")?;
    if !line[..at].trim_end().ends_with(['#', ';']) {
        return None;
    }
    let rest = line[at + "hence:".len()..].trim_start();
    rest.strip_prefix("allow").map(|rest| (rest.trim(), whole))
}

fn read_comments(file: &UnitFile, unit: Option<&UnitName>, wrong: &mut Vec<Finding>) -> Vec<Comment> {
    let script = file.role == FileRole::Script;
    let lines: Vec<&str> = file.text.lines().collect();
    let first_section = lines.iter().position(|l| l.trim_start().starts_with('[')).unwrap_or(lines.len());
    let unreasoned = rule("allow-without-reason").expect("a row of this file");
    let mut comments = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some((rest, whole)) = permit_of(line, script) else { continue };
        let number = index as u32 + 1;
        let mut complain = |message: String, fix: &str| {
            let place = Place { line: number, column: 1, ..file_place(&file.path) };
            Findings { rule: unreasoned, unit, found: wrong }.add(place, message, fix);
        };
        let (ids, reason) = rest.split_once(':').unwrap_or((rest, ""));
        if reason.trim().is_empty() {
            complain(
                format!("the comment that allows {} gives no reason, and has no effect", ids.trim()),
                "write `# hence: allow RULE: reason`",
            );
            continue;
        }
        let range = match whole {
            false => Some((number, number)),
            true if !script && index < first_section => None,
            true => Some(below(&lines, index, script, file)),
        };
        for id in ids.split([',', ' ']).map(str::trim).filter(|id| !id.is_empty()) {
            match rule(id) {
                Some(rule) => {
                    let unit = unit.cloned();
                    comments.push(Comment { rule: rule.id, unit, line: number, lines: range, used: false });
                }
                None => complain(unknown(id), ""),
            }
        }
    }
    comments
}

/// The lines that a comment at this index stands above.
fn below(lines: &[&str], index: usize, script: bool, file: &UnitFile) -> (u32, u32) {
    let skipped = |line: &str| {
        let line = line.trim_start();
        line.is_empty() || line.starts_with('#') || (!script && line.starts_with(';'))
    };
    let header = |line: &str| !script && line.trim_start().starts_with('[');
    let Some(next) = (index + 1..lines.len()).find(|&n| !skipped(lines[n])) else {
        return (index as u32 + 1, lines.len() as u32);
    };
    let last = if header(lines[next]) {
        (next + 1..lines.len()).find(|&n| header(lines[n])).map_or(lines.len() as u32, |n| n as u32)
    } else {
        file.end_of(next as u32 + 1)
    };
    (next as u32 + 1, last)
}
