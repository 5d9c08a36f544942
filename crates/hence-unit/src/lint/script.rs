//! What the starter of a service does: the script, or the text behind `sh -c`, that its command runs.

use super::{
    UnitFile, World,
    shell::{self, End, Outline, Statement},
};
use crate::config::Command;
use alloc::{
    rc::Rc,
    string::{String, ToString},
};

/// Programs that take a script.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "mksh"];

/// Commands of the shell itself, and programs that end soon: none of them is a service's program.
const SHORT: [&str; 66] = [
    ".",
    ":",
    "[",
    "[[",
    "awk",
    "basename",
    "break",
    "cat",
    "cd",
    "chgrp",
    "chmod",
    "chown",
    "command",
    "continue",
    "cp",
    "cut",
    "date",
    "declare",
    "dirname",
    "disown",
    "echo",
    "eval",
    "exit",
    "export",
    "false",
    "find",
    "getopts",
    "grep",
    "head",
    "hostname",
    "id",
    "install",
    "ip",
    "kill",
    "let",
    "ln",
    "local",
    "logger",
    "ls",
    "mkdir",
    "mkfifo",
    "mktemp",
    "modprobe",
    "mount",
    "mv",
    "pkill",
    "printf",
    "read",
    "return",
    "rm",
    "rmdir",
    "sed",
    "set",
    "shift",
    "sleep",
    "source",
    "sync",
    "sysctl",
    "systemctl",
    "systemd-notify",
    "test",
    "touch",
    "trap",
    "true",
    "wait",
    "xargs",
];

/// Whether a text is a script for a shell.
pub fn is_shell(text: &str) -> bool {
    let Some(line) = text.strip_prefix("#!").and_then(|rest| rest.lines().next()) else {
        return false;
    };
    let mut words = line.split_whitespace().map(|w| w.rsplit('/').next().unwrap_or(w));
    let first = words.next().unwrap_or("");
    let name = if first == "env" || first == "busybox" { words.next().unwrap_or("") } else { first };
    SHELLS.contains(&name)
}

/// Whether a command's program is a shell.
pub(crate) fn is_shell_program(path: &str) -> bool {
    SHELLS.contains(&path.rsplit('/').next().unwrap_or(path))
}

/// The text that a command gives to a shell: `sh -c TEXT`.
pub(crate) fn inline(command: &Command) -> Option<&str> {
    if !is_shell_program(&command.path) {
        return None;
    }
    let mut words = command.argv.iter().skip(1).map(|w| &**w);
    loop {
        let word = words.next()?;
        let option = word.strip_prefix('-')?;
        if !option.starts_with('-') && option.ends_with('c') {
            return words.next();
        }
    }
}

/// The starter of a command.
pub(crate) enum Starter {
    /// A script in a file.
    Script(Rc<UnitFile>, Outline),
    /// The text behind `-c`.
    Inline(Outline),
}

impl Starter {
    /// The starter that a command runs, where it is a script that can be read.
    pub fn of(command: &Command, world: &World<'_>) -> Option<Starter> {
        if let Some(text) = inline(command) {
            return Some(Starter::Inline(shell::outline(text)));
        }
        let path = match is_shell_program(&command.path) {
            true => command.argv.get(1).filter(|w| w.starts_with('/'))?,
            false => &command.path,
        };
        let script = world.script(path)?;
        let outline = shell::outline(&script.text);
        Some(Starter::Script(script, outline))
    }

    pub fn outline(&self) -> &Outline {
        match self {
            Starter::Script(_, outline) | Starter::Inline(outline) => outline,
        }
    }

    /// The text, for words that no statement has.
    pub fn mentions(&self, word: &str) -> bool {
        match self {
            Starter::Script(script, _) => script.text.contains(word),
            Starter::Inline(outline) => {
                outline.statements.iter().any(|s| s.words.iter().any(|w| w.contains(word)))
            }
        }
    }
}

/// What becomes of the program that a starter starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The shell ends, the program goes on in the background: line and name.
    Abandoned(u32, String),
    /// The shell stays and waits for it: line and name.
    Waited(u32, String),
    /// It takes the shell's place, or it can't be told.
    Unknown,
}

/// What an outline does with the program that it is there for.
pub(crate) fn fate(outline: &Outline) -> Fate {
    let all = &outline.statements;
    let execs = all.iter().any(|s| s.command() == "exec" && s.words.len() > 1);
    if execs {
        return Fate::Unknown;
    }
    let program = |s: &Statement| {
        let name = s.command();
        let known = SHORT.contains(&name) || outline.functions.iter().any(|f| f == name);
        (!name.is_empty() && !known && !name.contains(['$', '`', '(', ')'])).then(|| name.to_string())
    };
    let sent = all.iter().filter(|s| s.end == End::Background && !s.in_loop && !s.in_function);
    let behind = sent.filter_map(|s| Some((s, program(s)?))).next_back();
    if let Some((statement, name)) = &behind {
        let line = statement.line;
        if all.iter().any(|s| s.command() == "wait" && s.line >= line) {
            return Fate::Waited(line, name.clone());
        }
    }
    let Some(last) = all.last() else { return Fate::Unknown };
    if outline.ends_in_compound || last.depth > 0 {
        return Fate::Unknown;
    }
    if last.end == End::Background
        && let Some(name) = program(last)
    {
        return Fate::Abandoned(last.line, name);
    }
    match program(last) {
        Some(name) if behind.is_none() => Fate::Waited(last.line, name),
        _ => Fate::Unknown,
    }
}
