//! Rules about lines that other lines undo, that another version of systemd knows, or that are written as
//! they
//! were long ago.

use super::{Change, Check, Edit, Findings, Level, LintUnit, Rule, UnitFile, World};
use crate::{
    directive::{self, Section},
    lint::FileRole,
    syntax::Assignment,
};
use alloc::format;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "repeated-directive",
        level: Level::Warning,
        says: "A later line of the same file undoes this one.",
        why: "The directive holds one value: the last one counts, and this line does nothing. One of both \
              is a \
              mistake.",
        page: "systemd.syntax(7)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nRestart=on-failure\nType=exec\nRestart=no\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nType=exec\nRestart=on-failure\n",
        check: Check::Unit(repeated),
    },
    Rule {
        id: "overridden-drop-in",
        level: Level::Note,
        says: "What a drop-in sets is undone by a drop-in behind it.",
        why: "Drop-ins are applied by their names: the line has no effect, and whoever changes it will \
              wonder.",
        page: "systemd.unit(5)",
        bad: "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n-- foo.service.d/10-a.conf --\n\
              [Service]\n\
              TasksMax=10\n-- foo.service.d/20-b.conf --\n[Service]\nTasksMax=20\n",
        good: "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n-- foo.service.d/20-b.conf --\n\
               [Service]\n\
               TasksMax=20\n",
        check: Check::Unit(overridden),
    },
    Rule {
        id: "repeating-drop-in",
        level: Level::Note,
        says: "A drop-in sets what the unit says already.",
        why: "The line changes nothing, and goes on doing so when the unit changes.",
        page: "systemd.unit(5)",
        bad: "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\nTasksMax=20\n-- foo.service.d/a.conf --\n\
              [Service]\nTasksMax=20\n",
        good: "-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\nTasksMax=20\n-- foo.service.d/a.conf \
               --\n\
               [Service]\nTasksMax=30\n",
        check: Check::Unit(repeating),
    },
    Rule {
        id: "newer-directive",
        level: Level::Warning,
        says: "The systemd that the unit is for doesn't know the directive.",
        why: "It ignores the line with a message in the log: what the line is there for does not happen. The \
              version is told with --systemd.",
        page: "systemd.directives(7)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nRestart=always\nRestartSec=1s\nRestartSteps=5\n\
              RestartMaxDelaySec=1min\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nRestart=always\nRestartSec=1s\n",
        check: Check::File(newer),
    },
    Rule {
        id: "newer-value",
        level: Level::Warning,
        says: "The systemd that the unit is for doesn't know the value.",
        why: "It ignores the line with a message in the log, and the default holds.",
        page: "systemd.directives(7)",
        bad: "[Service]\nType=notify-reload\nExecStart=/usr/bin/foo\n",
        good: "[Service]\nType=notify\nExecStart=/usr/bin/foo\n",
        check: Check::File(newer_value),
    },
    Rule {
        id: "var-run",
        level: Level::Note,
        says: "A path lies below /var/run, which is the former name of /run.",
        why: "systemd writes a warning to the log and takes /run instead. /var may not be mounted yet when \
              the path \
              is needed.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=forking\nPIDFile=/var/run/foo.pid\nExecStart=/usr/sbin/foo\n",
        good: "[Service]\nType=forking\nPIDFile=/run/foo.pid\nExecStart=/usr/sbin/foo\n",
        check: Check::File(var_run),
    },
    Rule {
        id: "output-syslog",
        level: Level::Note,
        says: "StandardOutput=syslog is the former name of journal.",
        why: "systemd writes a warning to the log and takes journal instead; the syslog service gets it \
              from there.",
        page: "systemd.exec(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nStandardOutput=syslog\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nStandardOutput=journal\n",
        check: Check::File(output_syslog),
    },
];

/// Lines of files that no longer hold, each with the line that undoes it.
fn undone(unit: &LintUnit) -> impl Iterator<Item = (usize, &Assignment, usize, &Assignment)> {
    let files = unit.files.iter().enumerate();
    files.flat_map(move |(at, file)| {
        file.assignments.iter().filter_map(move |line| {
            if line.value.is_empty() || Section::parse(&line.section).is_none() {
                return None;
            }
            let holds =
                unit.config.settings.iter().any(|s| usize::from(s.source) == at && s.line == line.place.line);
            let known = directive::find(&line.section, &line.key);
            let said = unit
                .config
                .diagnostics
                .iter()
                .any(|d| d.place.line == line.place.line && d.place.file == file.path);
            if holds || said || known.is_none() {
                return None;
            }
            // What is empty takes a list back on purpose.
            let (by, other) = unit.files.iter().enumerate().skip(at).find_map(|(number, file)| {
                let mut later =
                    file.assignments.iter().filter(|a| number > at || a.place.line > line.place.line);
                let other = later.find(|a| a.key == line.key && a.section == line.section)?;
                Some((number, other))
            })?;
            (!other.value.is_empty()).then_some((at, line, by, other))
        })
    })
}

fn repeated(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    for (at, line, by, other) in undone(unit).filter(|(at, _, by, _)| at == by) {
        let same = line.value == other.value;
        let level = if same { Level::Note } else { Level::Warning };
        let what = if same { "says the same again" } else { "undoes it" };
        let message = format!("{}= has no effect: line {} {what}", line.key, other.place.line);
        let finding = findings.add_at(level, line.place.clone(), message, "remove one of both");
        let file = &unit.files[by.max(at)];
        if same {
            let (first, last) = (line.place.line, file.end_of(line.place.line));
            finding.mended_by(Edit { file: file.path.clone(), change: Change::Remove { first, last } });
        }
    }
}

fn overridden(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    for (_, line, _, other) in
        undone(unit).filter(|(at, _, by, _)| at != by && unit.files[*at].role == FileRole::DropIn)
    {
        let message = format!("{}= has no effect: {} sets it again", line.key, other.place);
        findings.add(line.place.clone(), message, "remove one of both");
    }
}

fn repeating(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    for (at, line, by, other) in undone(unit) {
        if at != by && unit.files[at].role == FileRole::Fragment && line.value == other.value {
            let message = format!("{}={} repeats {}", other.key, other.value, line.place);
            findings.add(other.place.clone(), message, "remove the line");
        }
    }
}

fn newer(file: &UnitFile, world: &World<'_>, findings: &mut Findings<'_>) {
    if world.systemd == 0 {
        return;
    }
    for line in &file.assignments {
        let Some(row) = directive::find(&line.section, &line.key).filter(|row| row.since > world.systemd)
        else {
            continue;
        };
        let message = format!("{}= came with systemd {}: {} ignores it", row.name, row.since, world.systemd);
        findings.add(line.place.clone(), message, "");
    }
}

/// Values that came later than their directives: directive, value or its beginning, version.
const VALUES: [(&str, &str, u16); 14] = [
    ("Type", "notify-reload", 253),
    ("Type", "exec", 240),
    ("ProtectSystem", "strict", 232),
    ("ProtectHome", "tmpfs", 239),
    ("PrivateTmp", "disconnected", 257),
    ("PrivateUsers", "identity", 257),
    ("PrivateUsers", "full", 258),
    ("ProtectControlGroups", "private", 257),
    ("ProtectControlGroups", "strict", 257),
    ("StandardOutput", "append:", 240),
    ("StandardOutput", "truncate:", 248),
    ("StandardError", "append:", 240),
    ("StandardError", "truncate:", 248),
    ("RestartMode", "debug", 257),
];

fn newer_value(file: &UnitFile, world: &World<'_>, findings: &mut Findings<'_>) {
    if world.systemd == 0 {
        return;
    }
    for line in &file.assignments {
        let value = |(name, value, since): &&(&str, &str, u16)| {
            let begins = value.ends_with(':') && line.value.starts_with(value);
            *line.key == **name && (line.value == *value || begins) && *since > world.systemd
        };
        if let Some((name, value, since)) = VALUES.iter().find(value) {
            let message = format!("{name}={value} came with systemd {since}: {} ignores it", world.systemd);
            findings.add(line.place.clone(), message, "");
        }
    }
}

/// The line of an assignment with a part of it replaced, where it is one line.
fn replaced(file: &UnitFile, line: &Assignment, old: &str, new: &str) -> Option<Edit> {
    let number = line.place.line;
    let text = file.line(number).filter(|t| !line.continued && t.contains(old))?;
    let (head, value) = text.split_once('=')?;
    let text = format!("{head}={}", value.replacen(old, new, 1));
    let change = Change::Replace { first: number, last: number, text: text.trim_end_matches('\r').into() };
    Some(Edit { file: file.path.clone(), change })
}

fn var_run(file: &UnitFile, _: &World<'_>, findings: &mut Findings<'_>) {
    for line in &file.assignments {
        let listens = line.key.starts_with("Listen") && &*line.section == "Socket";
        if (&*line.key != "PIDFile" && !listens) || !line.value.starts_with("/var/run/") {
            continue;
        }
        let message = format!("{}= lies below /var/run, the former name of /run", line.key);
        let fix = format!("write {}", line.value.replacen("/var/run/", "/run/", 1));
        let finding = findings.add(line.place.clone(), message, &fix);
        if let Some(edit) = replaced(file, line, "/var/run/", "/run/") {
            finding.mended_by(edit);
        }
    }
}

fn output_syslog(file: &UnitFile, _: &World<'_>, findings: &mut Findings<'_>) {
    for line in &file.assignments {
        let output = matches!(&*line.key, "StandardOutput" | "StandardError");
        let syslog = matches!(&*line.value, "syslog" | "syslog+console");
        if !output || !syslog || line.section.starts_with("X-") {
            continue;
        }
        let now = line.value.replace("syslog", "journal");
        let message = format!("{}={} is the former name of {now}", line.key, line.value);
        let finding = findings.add(line.place.clone(), message, &format!("write {}={now}", line.key));
        if let Some(edit) = replaced(file, line, "syslog", "journal") {
            finding.mended_by(edit);
        }
    }
}
