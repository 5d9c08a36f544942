//! Left-over processes that are intended, of units whose files one can't edit: the rules of
//! `/etc/hence/left-behind.conf`. Reading the file is somebody else's business.
//!
//! One rule a line: a pattern of units, a pattern of programs, and the reason. A line that is not understood
//! is said with its number and the likely mend, and left out; the others count.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use hence_unit::{Text, pattern};

/// Where the rules are, unless the command line names another file.
pub const PATH: &str = "/etc/hence/left-behind.conf";
/// The longest file, in bytes.
pub const LONGEST: usize = 256 << 10;
/// Most rules; each costs a comparison for each left-over process.
const RULES: usize = 1000;
/// Most lines that are said to be wrong.
const SAID: usize = 20;
/// What units' names end with.
const SUFFIXES: [&str; 5] = [".service", ".socket", ".scope", ".mount", ".swap"];

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Pattern of the unit's name.
    pub unit: Text,
    /// Pattern of the program: of its path where it has a slash, else of its name.
    pub program: Text,
    /// Why that is intended.
    pub reason: Text,
    /// The line it stands in.
    pub line: u32,
}

/// The rules, the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// The file they are from.
    pub path: Text,
    /// In the order of the file.
    pub rules: Vec<Allowed>,
}

impl AllowList {
    /// Reads rules; and what is wrong with lines, as `file:line: ...`.
    pub fn parse(path: &str, text: &str) -> (AllowList, Vec<String>) {
        let mut list = AllowList { path: path.into(), rules: Vec::new() };
        let (mut said, mut more) = (Vec::new(), 0);
        for (line, number) in text.lines().zip(1u32..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let problem = match rule(line, number) {
                Ok(_) if list.rules.len() >= RULES => {
                    format!("more than {RULES} rules; patterns such as worker@*.service make few of many")
                }
                Ok(rule) => {
                    list.rules.push(rule);
                    continue;
                }
                Err(problem) => problem,
            };
            match said.len() < SAID {
                true => said.push(format!("{path}:{number}: {problem}")),
                false => more += 1,
            }
        }
        if more > 0 {
            said.push(format!("{path}: and {more} further lines that are not understood"));
        }
        (list, said)
    }

    /// The rule that allows the process with this command line to outlive this unit.
    pub fn allows(&self, unit: &str, command: &str) -> Option<&Allowed> {
        if self.rules.is_empty() {
            return None;
        }
        let program = program(command);
        let name = program.rsplit('/').next().unwrap_or(program);
        self.rules.iter().find(|rule| {
            let against = if rule.program.contains('/') { program } else { name };
            pattern::matches(&rule.unit, unit) && pattern::matches(&rule.program, against)
        })
    }
}

/// The program of a command line: `sshd: user` is sshd's.
fn program(command: &str) -> &str {
    let word = command.split_whitespace().next().unwrap_or("");
    // A login shell's begins with a dash.
    word.strip_suffix(':').unwrap_or(word).trim_start_matches('-')
}

fn rule(line: &str, number: u32) -> Result<Allowed, String> {
    let mut words = line.splitn(2, char::is_whitespace);
    let unit = words.next().unwrap_or("");
    let rest = words.next().unwrap_or("").trim_start();
    let mut words = rest.splitn(2, char::is_whitespace);
    let (program, reason) = (words.next().unwrap_or(""), words.next().unwrap_or("").trim());
    if unit.contains('=') || unit.starts_with('[') {
        return Err(format!(
            "{unit} looks like a unit file's; a line is: UNIT PROGRAM REASON. In a unit or drop-in it is \
             [X-Hence] LeftBehindAllowed=yes"
        ));
    }
    if program.is_empty() {
        return Err(format!(
            "which program of {unit}? A line is: UNIT PROGRAM REASON, and * is every program"
        ));
    }
    if reason.is_empty() {
        return Err(format!("why may {program} outlive {unit}? Write the reason behind the program"));
    }
    for pattern in [unit, program] {
        if let Some(problem) = wrong(pattern) {
            return Err(problem);
        }
    }
    let open = unit.ends_with(['*', '?', ']']);
    if !open && !SUFFIXES.iter().any(|suffix| unit.ends_with(suffix)) {
        return Err(match unit.rsplit_once('.') {
            Some((_, "target" | "timer" | "path" | "device" | "slice" | "automount")) => {
                format!("{unit} has no processes of its own")
            }
            _ => format!("{unit} is no unit's name; did you mean {unit}.service?"),
        });
    }
    if unit.contains('/') {
        return Err(format!("{unit} is a path; a unit is named by its name alone"));
    }
    Ok(Allowed {
        unit: unit.into(),
        program: program.into(),
        reason: reason.to_string().into(),
        line: number,
    })
}

/// What is wrong with a pattern.
fn wrong(pattern: &str) -> Option<String> {
    let mut rest = pattern;
    while let Some((_, after)) = rest.split_once('[') {
        match after.get(1..).and_then(|inner| inner.find(']')) {
            Some(at) => rest = &after[at + 2..],
            None => return Some(format!("the [ in {pattern} is not closed; write [ab] or [a-z]")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_what_is_wrong_with_lines() {
        let text = "# why\n\npostgresql@*.service  postgres  a backup goes on\n\
                    foo /usr/bin/foo because\ncron.service\ntmux-*.scope tmux\n\
                    a[b.service x y\n[X-Hence]\nLeftBehindAllowed=yes\nx.target y z\n*.scope * sessions\n";
        let (list, said) = AllowList::parse("f", text);
        assert_eq!(list.rules.len(), 2, "{list:?}");
        let expected = [
            "f:4: foo is no unit's name; did you mean foo.service?",
            "f:5: which program of cron.service? A line is: UNIT PROGRAM REASON, and * is every program",
            "f:6: why may tmux outlive tmux-*.scope? Write the reason behind the program",
            "f:7: the [ in a[b.service is not closed; write [ab] or [a-z]",
        ];
        assert_eq!(said[..4], expected);
        assert!(said[4].contains("[X-Hence] LeftBehindAllowed=yes"), "{said:?}");
        assert_eq!(said[6], "f:10: x.target has no processes of its own");
        assert_eq!(said.len(), 7);
    }

    #[test]
    fn which_processes_are_allowed() {
        let text = "a@*.service worker one\na@*.service /opt/*/x two\nssh.service sshd sessions\n";
        let (list, said) = AllowList::parse("f", text);
        assert!(said.is_empty());
        let line = |unit: &str, command: &str| list.allows(unit, command).map(|rule| rule.line);
        assert_eq!(line("a@1.service", "/usr/bin/worker --all"), Some(1));
        assert_eq!(line("a@1.service", "/opt/q/x"), Some(2));
        assert_eq!(line("a@1.service", "/usr/x"), None);
        assert_eq!(line("b.service", "worker"), None);
        assert_eq!(line("ssh.service", "sshd: root [priv]"), Some(3));
        assert_eq!(line("ssh.service", ""), None);
    }

    #[test]
    fn nothing_that_is_written_there_breaks_it() {
        let mut seed = 1u32;
        let alphabet = b"ab*?[]-./ \t\n#=@!\\x";
        for _ in 0..3000 {
            let text: String = (0..60)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    char::from(alphabet[(seed >> 16) as usize % alphabet.len()])
                })
                .collect();
            let (list, said) = AllowList::parse("f", &text);
            assert!(said.len() <= SAID + 1);
            list.allows("a.service", &text);
        }
    }
}
