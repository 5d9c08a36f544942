//! What the loader finds by itself, as rules: syntax, sections, directives and values. Their checks are the
//! loader's; here are only their words, and the mends of a few. Those of kinds of units:
//! [`super::loading_kinds`].

use super::{Change, Check, Edit, Finding, Level, LintUnit, Rule, UnitFile, rule, world::INSTANCE};
use crate::{Diagnostic, directive};
use alloc::{format, vec::Vec};

const fn row(
    id: &'static str,
    level: Level,
    says: &'static str,
    why: &'static str,
    page: &'static str,
    (bad, good): (&'static str, &'static str),
) -> Rule {
    Rule { id, level, says, why, page, bad, good, check: Check::Loader }
}

const SYNTAX: &str = "systemd.syntax(7)";

pub(super) const RULES: &[Rule] = &[
    row(
        "unknown-section",
        Level::Warning,
        "There is no section of this name.",
        "Everything below it is ignored. Sections for other programs begin with X-.",
        "systemd.unit(5)",
        (
            "[Servcie]\nType=exec\n[Service]\nExecStart=/usr/bin/foo\n",
            "[Service]\nType=exec\nExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "misplaced-section",
        Level::Warning,
        "The section belongs to another kind of unit.",
        "Everything below it is ignored.",
        "systemd.unit(5)",
        (
            "[Service]\nExecStart=/usr/bin/foo\n[Socket]\nListenStream=80\n",
            "[Service]\nExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "unknown-directive",
        Level::Warning,
        "There is no directive of this name in its section.",
        "The line is ignored: the default holds, whatever the line says. The nearest name is in the finding.",
        "systemd.directives(7)",
        (
            "[Service]\nExecStart=/usr/bin/foo\nRestrt=always\n",
            "[Service]\nExecStart=/usr/bin/foo\nRestart=on-failure\n",
        ),
    ),
    row(
        "misplaced-directive",
        Level::Warning,
        "The directive stands in the wrong section.",
        "The line is ignored, and the default holds.",
        "systemd.directives(7)",
        (
            "[Unit]\nRestart=on-failure\n[Service]\nExecStart=/usr/bin/foo\n",
            "[Service]\nExecStart=/usr/bin/foo\nRestart=on-failure\n",
        ),
    ),
    row(
        "former-directive",
        Level::Note,
        "The directive is a former name of another one.",
        "It works, but it is no longer described, and newer versions may not know it.",
        "systemd.directives(7)",
        (
            "[Unit]\nBindTo=dev-sda.device\nAfter=dev-sda.device\n[Service]\nExecStart=/usr/bin/foo\n",
            "[Unit]\nBindsTo=dev-sda.device\nAfter=dev-sda.device\n[Service]\nExecStart=/usr/bin/foo\n",
        ),
    ),
    row(
        "bad-value",
        Level::Warning,
        "The directive does not take this value.",
        "The line is ignored and the default holds; for directives that set rights or places the unit is \
         refused.",
        "systemd.directives(7)",
        (
            "[Service]\nExecStart=/usr/bin/foo\nRestartSec=5 bananas\n",
            "[Service]\nExecStart=/usr/bin/foo\nRestartSec=5s\n",
        ),
    ),
    row(
        "no-effect",
        Level::Warning,
        "The directive has no effect beside the others.",
        "What it is there for does not happen.",
        "systemd.service(5)",
        (
            "[Service]\nType=oneshot\nExecStart=/usr/bin/foo\nRuntimeMaxSec=1min\n",
            "[Service]\nType=oneshot\nExecStart=/usr/bin/foo\nTimeoutStartSec=1min\n",
        ),
    ),
    row(
        "specifier",
        Level::Error,
        "A percent sign in a command begins no specifier.",
        "The unit is refused. A percent sign that is meant as such is written %%.",
        "systemd.unit(5)",
        (
            "[Service]\nExecStart=/usr/bin/fetch http://localhost/a%20b\n",
            "[Service]\nExecStart=/usr/bin/fetch http://localhost/a%%20b\n",
        ),
    ),
    row(
        "command-quoting",
        Level::Error,
        "A quotation mark of a command is not closed.",
        "The command can't be taken apart, and the unit is refused or does without the command.",
        "systemd.service(5)",
        ("[Service]\nExecStart=/usr/bin/foo \"a b\n", "[Service]\nExecStart=/usr/bin/foo \"a b\"\n"),
    ),
    row(
        "command-path",
        Level::Error,
        "The command is neither an absolute path nor a plain name.",
        "The unit is refused: commands are not looked for in a working directory.",
        "systemd.service(5)",
        ("[Service]\nExecStart=./bin/foo\n", "[Service]\nExecStart=/opt/foo/bin/foo\n"),
    ),
    row(
        "command-name",
        Level::Error,
        "The command has the prefix @ and no name of its own behind its path.",
        "The unit is refused: the word behind the path is to be the process's argv[0].",
        "systemd.service(5)",
        ("[Service]\nExecStart=@/usr/bin/foo\n", "[Service]\nExecStart=@/usr/bin/foo foo\n"),
    ),
    row(
        "command-prefix",
        Level::Error,
        "The prefix | of a command is new and not known here.",
        "Versions before 258 refuse the unit. A shell that is named works with all of them.",
        "systemd.service(5)",
        (
            "[Service]\nExecStart=|echo hello\n",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo hello'\n",
        ),
    ),
    row(
        "unknown-escape",
        Level::Warning,
        "A backslash in a command begins no escape sequence.",
        "The backslash stays in the argument, and a log message is written whenever the unit is loaded.",
        SYNTAX,
        (
            "[Service]\nExecStart=/usr/bin/foo --match s/\\./x/\n",
            "[Service]\nExecStart=/usr/bin/foo --match s/\\\\./x/\n",
        ),
    ),
    row(
        "section-header",
        Level::Error,
        "A section's header has no closing bracket, or something stands behind it.",
        "The rest of the file is given up, and the unit with it.",
        SYNTAX,
        ("[Service\nExecStart=/usr/bin/foo\n", "[Service]\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "no-assignment",
        Level::Warning,
        "A line is neither an assignment nor a comment.",
        "It is ignored. Often it goes on from the line above, which lacks the backslash at its end.",
        SYNTAX,
        (
            "[Service]\nExecStart=/usr/bin/foo\n--verbose\n",
            "[Service]\nExecStart=/usr/bin/foo \\\n  --verbose\n",
        ),
    ),
    row(
        "outside-section",
        Level::Warning,
        "An assignment stands in front of the first section.",
        "It is ignored.",
        SYNTAX,
        ("Type=exec\n[Service]\nExecStart=/usr/bin/foo\n", "[Service]\nType=exec\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "continuation-at-end",
        Level::Note,
        "The file ends in the middle of a continued line.",
        "The next line that somebody adds becomes a part of it.",
        SYNTAX,
        ("[Service]\nExecStart=/usr/bin/foo \\\n", "[Service]\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "carriage-return",
        Level::Note,
        "Lines end in a carriage return.",
        "systemd takes them, but other programs that read the file see a character at the end of each value.",
        SYNTAX,
        ("[Service]\r\nExecStart=/usr/bin/foo\r\n", "[Service]\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "nul-byte",
        Level::Warning,
        "A NUL byte ends the line.",
        "What stands behind it is a line of its own, and most likely ignored.",
        SYNTAX,
        ("[Service]\nExecStart=/usr/bin/foo\0x\n", "[Service]\nExecStart=/usr/bin/foo x\n"),
    ),
    row(
        "line-too-long",
        Level::Error,
        "A line is longer than 1 MiB.",
        "The rest of the file is given up, and the unit with it.",
        SYNTAX,
        ("", "[Service]\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "not-utf8",
        Level::Error,
        "The file is not UTF-8.",
        "It is given up from that line on, and the unit with it.",
        SYNTAX,
        ("", "[Service]\nExecStart=/usr/bin/foo --name=Grüße\n"),
    ),
    row(
        "unreadable",
        Level::Error,
        "The file can't be read.",
        "The unit can't be loaded, or does without the drop-in.",
        "systemd.unit(5)",
        ("", "[Service]\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "dangling-link",
        Level::Error,
        "The link to the unit file leads nowhere.",
        "The unit is as good as missing.",
        "systemd.unit(5)",
        ("", "[Service]\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "bad-alias",
        Level::Warning,
        "A link between unit files is no valid alias.",
        "It is ignored: an alias has the kind of what it points to, and is a template where that is one.",
        "systemd.unit(5)",
        ("", "[Service]\nExecStart=/usr/bin/foo\n"),
    ),
    row(
        "not-a-unit",
        Level::Warning,
        "An entry of a .wants, .requires or .upholds folder is not named like a unit.",
        "It has no effect.",
        "systemd.unit(5)",
        (
            "-- foo.target --\n[Unit]\nDescription=foo\n-- foo.target.wants/bar --\n",
            "-- foo.target --\n[Unit]\nDescription=foo\nWants=bar.service\n",
        ),
    ),
    row(
        "not-a-link",
        Level::Warning,
        "An entry of a .wants, .requires or .upholds folder is no link.",
        "It has no effect: the folder holds links that are named like the units.",
        "systemd.unit(5)",
        (
            "-- foo.target --\n[Unit]\nDescription=foo\n-- foo.target.wants/bar.service --\n[Service]\n\
             ExecStart=/usr/bin/bar\n",
            "-- foo.target --\n[Unit]\nDescription=foo\nWants=bar.service\n",
        ),
    ),
    row(
        "depends-on-itself",
        Level::Warning,
        "The unit names itself in a dependency.",
        "That has no effect. In OnFailure= and its kin it would be a loop: name another unit.",
        "systemd.unit(5)",
        (
            "[Unit]\nOnFailure=foo.service\n[Service]\nExecStart=/usr/bin/foo\n",
            "[Unit]\nOnFailure=failure-mail@%n.service\n[Service]\nExecStart=/usr/bin/foo\n",
        ),
    ),
];

/// What the loader found in a unit, as findings.
pub(super) fn take(unit: &LintUnit, found: &mut Vec<Finding>) {
    for diagnostic in &unit.config.diagnostics {
        if unit.template && is_of_the_instance(unit, diagnostic) {
            continue;
        }
        // A rule of its own has the mend.
        if diagnostic.rule == "no-effect" && diagnostic.message.contains("the former /var/run") {
            continue;
        }
        let Some(rule) = rule(diagnostic.rule) else { continue };
        let mut finding = Finding {
            rule,
            level: diagnostic.level,
            unit: Some(unit.config.id().clone()),
            place: diagnostic.place.clone(),
            message: diagnostic.message.clone(),
            fix: diagnostic.fix.clone(),
            edits: Vec::new(),
        };
        let file = unit.files.iter().find(|f| f.path == finding.place.file);
        if diagnostic.rule == "former-directive"
            && diagnostic.fix.as_ref().is_some_and(|f| f.starts_with("move"))
        {
            let line = file.and_then(|f| f.assignments.iter().find(|a| a.place.line == finding.place.line));
            if let Some(line) = line {
                finding.message = format!("{}= in [{}] is its former place", line.key, line.section);
            }
        }
        if let Some(file) = file {
            finding.edits.extend(mend(file, diagnostic));
        }
        found.push(finding);
    }
}

/// Whether a value is bad only because another instance stands for the one that will be there.
fn is_of_the_instance(unit: &LintUnit, diagnostic: &Diagnostic) -> bool {
    let file = unit.files.iter().find(|f| f.path == diagnostic.place.file);
    let line = file.and_then(|f| f.assignments.iter().find(|a| a.place.line == diagnostic.place.line));
    let names = ["%i", "%I", "%j", "%J", "%f"];
    line.is_some_and(|a| names.iter().any(|name| a.value.contains(name)))
        || diagnostic.message.contains(INSTANCE)
}

fn mend(file: &UnitFile, diagnostic: &Diagnostic) -> Option<Edit> {
    let change = match diagnostic.rule {
        "carriage-return" => Change::UnixLines,
        "former-directive" => {
            let line = diagnostic.place.line;
            let assignment = file.assignments.iter().find(|a| a.place.line == line)?;
            let row = directive::find(&assignment.section, &assignment.key)?;
            // Those of the old control groups count on another scale.
            let same = matches!(row.support, directive::Support::Acted | directive::Support::NotYet);
            let now = row.replaced_by.filter(|now| same && !now.contains(' '))?;
            directive::find(&assignment.section, now)?;
            let text = file.line(line)?.replacen(row.name, now, 1);
            Change::Replace { first: line, last: line, text: text.trim_end_matches('\r').into() }
        }
        _ => return None,
    };
    Some(Edit { file: file.path.clone(), change })
}
