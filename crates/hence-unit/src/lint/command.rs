//! Rules about command lines: what a shell would do and systemd doesn't, and the other way round.

use super::{
    Check, Findings, Level, LintUnit, Rule, Scope, World,
    script::{inline, is_shell_program},
    shell::{is_name, outline},
};
use crate::{
    config::{Command, ExecConfig, ExecPhase, Kind},
    words,
};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "shell-operator",
        level: Level::Warning,
        says: "The command has an operator of the shell, and no shell.",
        why: "systemd starts the program with `&&`, `|` or `>` as arguments like any other: nothing is \
              chained, \
              piped or redirected. Use several Exec lines, StandardOutput=, or /bin/sh -c '...'.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=oneshot\nExecStart=/usr/bin/foo --all > /run/foo.txt\n",
        good: "[Service]\nType=oneshot\nExecStart=/usr/bin/foo --all\nStandardOutput=truncate:/run/foo.txt\n",
        check: Check::Unit(shell_operator),
    },
    Rule {
        id: "shell-substitution",
        level: Level::Warning,
        says: "The command has a substitution of the shell, and no shell.",
        why: "`$(...)`, backquotes and `${NAME:-default}` reach the program as they are written.",
        page: "systemd.service(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo --name=$(hostname)\n",
        good: "[Service]\nExecStart=/usr/bin/foo --name=%H\n",
        check: Check::Unit(shell_substitution),
    },
    Rule {
        id: "variable-inside-word",
        level: Level::Warning,
        says: "A variable inside of a word is written without braces.",
        why: "systemd replaces $NAME only where it is a word of its own; inside of one it stays as it is \
              written. \
              ${NAME} works anywhere.",
        page: "systemd.service(5)",
        bad: "[Service]\nEnvironment=PORT=80\nExecStart=/usr/bin/foo --port=$PORT\n",
        good: "[Service]\nEnvironment=PORT=80\nExecStart=/usr/bin/foo --port=${PORT}\n",
        check: Check::Unit(variable_inside_word),
    },
    Rule {
        id: "variable-of-script",
        level: Level::Warning,
        says: "systemd replaces a variable that the shell is to set.",
        why: "${NAME} in a unit file is replaced before the shell sees it: by nothing, where the unit's \
              environment \
              has no such variable. Write $NAME, which inside of a longer word is left alone, or $${NAME}.",
        page: "systemd.service(5)",
        bad: "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'for f in /etc/*.conf; do echo ${f}; done'\n",
        good: "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'for f in /etc/*.conf; do echo $f; done'\n",
        check: Check::Unit(variable_of_script),
    },
    Rule {
        id: "undefined-variable",
        level: Level::Warning,
        says: "The command uses a variable that nothing sets.",
        why: "It is replaced by nothing, which is rarely what was meant: the unit has no Environment= of \
              this name \
              and no EnvironmentFile=.",
        page: "systemd.exec(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo $FOO_OPTS\n",
        good: "[Service]\nEnvironmentFile=-/etc/default/foo\nExecStart=/usr/bin/foo $FOO_OPTS\n",
        check: Check::Unit(undefined_variable),
    },
    Rule {
        id: "percent-in-command",
        level: Level::Warning,
        says: "A format of date(1) is taken as specifiers.",
        why: "In a unit file %Y, %m, %H and so on stand for the folder of the unit, the machine's id, the \
              host's \
              name: date prints them instead of the date. Write %%.",
        page: "systemd.unit(5)",
        bad: "[Service]\nType=oneshot\nExecStart=/bin/sh -c '/usr/bin/foo --at $(date +%H)'\n",
        good: "[Service]\nType=oneshot\nExecStart=/bin/sh -c '/usr/bin/foo --at $(date +%%H)'\n",
        check: Check::Unit(percent),
    },
    Rule {
        id: "wrapper-in-command",
        level: Level::Note,
        says: "The command does by a wrapper what systemd does by a directive.",
        why: "sudo and su stay as the main process in front of the program and ask PAM for a session of \
              their own, out \
              of the service; nohup and setsid do what is so anyway. User= needs no process.",
        page: "systemd.exec(5)",
        bad: "[Service]\nExecStart=/usr/bin/sudo -u www /usr/bin/foo\n",
        good: "[Service]\nUser=www\nExecStart=/usr/bin/foo\n",
        check: Check::Unit(wrapper),
    },
    Rule {
        id: "missing-program",
        level: Level::Error,
        says: "The program of a command doesn't exist, or can't be executed.",
        why: "The command fails with status 203/EXEC. It is only looked for in a whole system: --root or \
              --host.",
        page: "systemd.exec(5)",
        bad: "-- image --\n-- foo.service --\n[Service]\nExecStart=/usr/bin/fooo\n-- /usr/bin/foo --\n",
        good: "-- image --\n-- foo.service --\n[Service]\nExecStart=/usr/bin/foo\n-- /usr/bin/foo --\n",
        check: Check::Unit(missing_program),
    },
];

/// A word of a command as it is written, quotes removed, specifiers and variables in place.
fn raw_words<'u>(unit: &'u LintUnit, command: &Command) -> Vec<words::Word<'u>> {
    unit.line_of(command).map_or_else(Vec::new, |a| words::split_with(&a.value, words::Escapes::Relaxed).0)
}

fn is_wrapped_shell(command: &Command) -> bool {
    // `env sh -c ...`, `nice bash -c ...`: what stands behind it is a shell's.
    command.argv.iter().take(8).any(|w| is_shell_program(w)) || is_shell_program(&command.path)
}

fn shell_operator(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    const OPERATORS: [&str; 11] = ["&&", "||", "|", ">", ">>", "<", "2>", "2>>", "2>&1", "&>", "&"];
    /// Programs for which these are arguments: comparisons, and what takes a command for others.
    const TAKES: [&str; 6] = ["expr", "test", "[", "jq", "awk", "find"];
    for (_, command) in unit.commands() {
        let name = command.path.rsplit('/').next().unwrap_or_default();
        if is_wrapped_shell(command) || TAKES.contains(&name) {
            continue;
        }
        let Some(assignment) = unit.line_of(command) else { continue };
        let operator = command.argv.iter().skip(1).find(|w| {
            let redirection = |w: &str| {
                let rest = w.trim_start_matches(|c: char| c.is_ascii_digit());
                (rest.starts_with(">/") || rest.starts_with(">>/")) && !w.contains("://")
            };
            OPERATORS.contains(&&***w) || redirection(w)
        });
        // Somebody who quotes it wants it as an argument.
        let Some(operator) = operator.filter(|op| !is_quoted(&assignment.value, op)) else { continue };
        let what = match &**operator {
            "&" => "nothing is put into the background".into(),
            "&&" | "||" => "nothing is chained".into(),
            "|" => "nothing is piped".into(),
            _ => String::from("nothing is redirected"),
        };
        let message = format!("{operator:?} is an argument of {name}: there is no shell, {what}");
        findings.add(unit.at(command.position), message, "write /bin/sh -c '...', or use directives instead");
    }
}

fn is_quoted(value: &str, word: &str) -> bool {
    [format!("'{word}'"), format!("\"{word}\"")].iter().any(|quoted| value.contains(quoted.as_str()))
}

fn shell_substitution(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    for (_, command) in unit.commands().filter(|(_, c)| !is_wrapped_shell(c) && !c.no_substitution) {
        let substitution = |w: &str| {
            let default = w.split("${").skip(1).find(|rest| {
                let inner = rest.split('}').next().unwrap_or("");
                inner
                    .split_once(':')
                    .is_some_and(|(name, rest)| is_name(name) && rest.starts_with(['-', '+', '=', '?']))
            });
            let command =
                w.find("$(").filter(|&at| !w[..at].ends_with('$')).is_some_and(|at| w[at..].contains(')'));
            let back = w.matches('`').count() >= 2;
            if command {
                Some("$(...)")
            } else if back {
                Some("`...`")
            } else {
                default.map(|_| "${NAME:-...}")
            }
        };
        // In argv[] words may have been taken apart at blanks inside of the substitution.
        let line = unit.line_of(command).map_or("", |a| &a.value);
        if let Some(found) = substitution(line) {
            let name = command.path.rsplit('/').next().unwrap_or_default();
            let message = format!("{found} reaches {name} as it is written: there is no shell");
            findings.add(unit.at(command.position), message, "write /bin/sh -c '...', or Environment=");
        }
    }
}

/// Names of the variables that a word has in front of which no `$` stands, by their form.
fn variables(word: &str, braces: bool) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(dollar) = word[at..].find('$').map(|n| at + n) {
        let rest = &word[dollar + 1..];
        if rest.starts_with('$') {
            at = dollar + 2;
            continue;
        }
        let inner = rest.strip_prefix('{');
        let name = inner.unwrap_or(rest);
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
        let closed = inner.is_none() || name[end..].starts_with('}');
        if inner.is_some() == braces && closed && is_name(&name[..end]) {
            found.push((dollar, &name[..end]));
        }
        at = dollar + 1;
    }
    found
}

fn variable_inside_word(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    for (_, command) in unit.commands().filter(|(_, c)| !is_wrapped_shell(c) && !c.no_substitution) {
        for word in command.argv.iter().skip(1) {
            // A regular expression ends in a dollar sign, a script has variables of its own.
            let alone = |(at, name): &(usize, &str)| {
                let rest = &word[at + 1 + name.len()..];
                let upper = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
                upper && name.len() > 1 && (*at > 0 || !rest.is_empty())
            };
            if word.contains([' ', '\n', '(', '|', '"']) {
                continue;
            }
            if let Some((_, name)) = variables(word, false).into_iter().find(alone) {
                let message =
                    format!("${name} stays as it is written in {word:?}: it is not a word of its own");
                findings.add(unit.at(command.position), message, &format!("write ${{{name}}}"));
            }
        }
    }
}

fn exec(unit: &LintUnit) -> Option<&ExecConfig> {
    unit.config.context()
}

/// Whether the unit's environment has the variable, or may have it.
fn is_set(unit: &LintUnit, name: &str) -> bool {
    let Some(context) = exec(unit) else { return true };
    let assigned = |a: &str| a.split('=').next() == Some(name);
    context.environment.iter().any(|a| assigned(a)) || context.pass_environment.iter().any(|n| &**n == name)
}

fn variable_of_script(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    for (_, command) in unit.commands().filter(|(_, c)| !c.no_substitution) {
        let Some(text) = inline(command).filter(|text| text.contains("${")) else { continue };
        let outline = outline(text);
        let sets: BTreeSet<&str> =
            outline.statements.iter().flat_map(|s| s.assigns.iter().map(String::as_str)).collect();
        let own =
            variables(text, true).into_iter().find(|(_, name)| sets.contains(name) && !is_set(unit, name));
        if let Some((_, name)) = own {
            let message =
                format!("${{{name}}} is replaced before the shell runs, which is to set {name}: it is empty");
            let fix = format!("write $${{{name}}} or ${name}");
            findings.add(unit.at(command.position), message, &fix);
        }
    }
}

/// Variables that systemd sets by itself; those that end in an underscore stand for all that begin so.
const KNOWN: [&str; 42] = [
    "PATH",
    "LANG",
    "LC_",
    "USER",
    "LOGNAME",
    "HOME",
    "SHELL",
    "INVOCATION_ID",
    "XDG_",
    "MAINPID",
    "MANAGERPID",
    "LISTEN_",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "SYSTEMD_",
    "TERM",
    "LOG_NAMESPACE",
    "JOURNAL_STREAM",
    "SERVICE_RESULT",
    "EXIT_CODE",
    "EXIT_STATUS",
    "MONITOR_",
    "PIDFILE",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "TRIGGER_",
    "MEMORY_PRESSURE_",
    "FDSTORE",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "TZ",
    "DBUS_",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "HOSTNAME",
    "CONTAINER",
];

fn undefined_variable(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    let Some(context) = exec(unit) else { return };
    // A user's manager has the environment of the session; files and PAM may set anything.
    if world.environs.user || !context.environment_files.is_empty() || unit.last("PAMName").is_some() {
        return;
    }
    let known = |name: &str| {
        let known = |k: &&str| if k.ends_with('_') { name.starts_with(*k) } else { name == *k };
        KNOWN.iter().any(known) || is_set(unit, name)
    };
    let mut said: BTreeSet<&str> = BTreeSet::new();
    for (_, command) in unit.commands().filter(|(_, c)| !c.no_substitution) {
        let script = inline(command);
        let sets = script.map(outline).unwrap_or_default();
        let sets: BTreeSet<&str> =
            sets.statements.iter().flat_map(|s| s.assigns.iter().map(String::as_str)).collect();
        for word in command.argv.iter().skip(1) {
            let whole = word.strip_prefix('$').filter(|name| is_name(name));
            let inside = variables(word, true).into_iter().map(|(_, name)| name);
            for name in whole.into_iter().chain(inside) {
                if !known(name) && !sets.contains(name) && said.insert(name) {
                    let message = format!("${name} is set by nothing, and replaced by nothing");
                    let fix = "set it in Environment= or EnvironmentFile=, or write $$ for a dollar sign";
                    findings.add(unit.at(command.position), message, fix);
                }
            }
        }
    }
}

fn percent(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    for (_, command) in unit.commands() {
        let words = raw_words(unit, command);
        let dates = words.iter().any(|w| {
            w.text.ends_with("/date")
                || w.text == "date"
                || w.text.contains("date +")
                || w.text.contains("date '+")
                || w.text.contains("date \"+")
        });
        let format = words.iter().find(|w| {
            let from = w.text.find("+%").or_else(|| w.text.find("+'%"));
            from.is_some_and(|at| {
                let rest = w.text[at + 1..].trim_start_matches('\'');
                rest.starts_with('%') && !rest.starts_with("%%")
            })
        });
        if let Some(word) = format.filter(|_| dates) {
            let at = word.text.find("+%").or_else(|| word.text.find("+'%")).unwrap_or(0);
            let shown: String = word.text[at..].chars().take(12).collect();
            let message = format!("{shown:?} is no format for date: systemd replaces its specifiers first");
            findings.add(unit.at(command.position), message, "write %% for each percent sign");
        }
    }
}

fn wrapper(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    const WRAPPERS: [(&str, &str); 5] = [
        ("sudo", "User="),
        ("su", "User="),
        ("runuser", "User="),
        ("nohup", "nothing: there is no terminal to hang up"),
        ("setsid", "nothing: each service has a session of its own"),
    ];
    let Kind::Service(service) = &unit.config.kind else { return };
    for command in service.commands(ExecPhase::Start) {
        let name = command.path.rsplit('/').next().unwrap_or_default();
        let Some((_, directive)) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name) else { continue };
        let message = format!("{name} stands between systemd and the service's program");
        findings.add(unit.at(command.position), message, &format!("use {directive}"));
    }
}

/// Where commands without a folder are looked for.
const SEARCHED: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

fn missing_program(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    const EXECUTABLE: u32 = 0o111;
    let elsewhere = exec(unit).is_none_or(|c| c.root_directory.is_some()) || unit.last("RootImage").is_some();
    if world.scope != Scope::System || elsewhere {
        return;
    }
    // The unit is for a system that has it.
    let guarded =
        unit.config.conditions.iter().any(|c| c.check.starts_with("Path") || c.check.starts_with("File"));
    for (_, command) in unit.commands() {
        let instance = unit.template && command.path.contains(super::world::INSTANCE);
        if instance
            || command.ignore_failure
            || guarded
            || command.path.starts_with("/run/")
            || command.path.starts_with("/proc/")
        {
            continue;
        }
        let mode = match command.path.starts_with('/') {
            true => world.files.mode(&command.path),
            false => {
                SEARCHED.iter().find_map(|folder| world.files.mode(&format!("{folder}/{}", command.path)))
            }
        };
        let message = match mode {
            None => format!("{} doesn't exist", command.path),
            Some(mode) if mode & 0o170_000 == 0o040_000 => format!("{} is a folder", command.path),
            Some(mode) if mode & EXECUTABLE == 0 => {
                format!("{} can't be executed: its mode is {:o}", command.path, mode & 0o7777)
            }
            Some(_) => continue,
        };
        findings.add(unit.at(command.position), message, "");
    }
}
