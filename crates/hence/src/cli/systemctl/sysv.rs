//! Services that have a script in /etc/init.d: enable, disable and is-enabled reach these too, as Debian's
//! systemd-sysv-install does it, by that program where it is there and else by update-rc.d itself.

use super::{Args, Failed, exit_status};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether a unit has a file of its own.
pub type Native<'a> = &'a mut dyn FnMut(&str) -> bool;

const PROGRAM: &str = "/lib/systemd/systemd-sysv-install";

fn root(args: &Args) -> PathBuf {
    args.root.clone().unwrap_or_else(|| PathBuf::from("/"))
}

/// The script's name, where a unit of this name may have one and does.
fn script(args: &Args, unit: &str) -> Option<String> {
    let name = unit.strip_suffix(".service").filter(|name| !name.contains(['/', '@']))?;
    root(args).join("etc/init.d").join(name).exists().then(|| name.to_owned())
}

/// Carries the verb out for the scripts among these, and leaves over the units that have files. For
/// `is-enabled`, whether any script is enabled.
pub fn sync(
    args: &Args,
    names: &mut Vec<String>,
    native: Native<'_>,
    out: &mut impl Write,
) -> Result<bool, Failed> {
    let verb = args.verb.as_str();
    if args.user || args.global || !["enable", "disable", "is-enabled"].contains(&verb) {
        return Ok(false);
    }
    let mut enabled = false;
    let mut left = Vec::new();
    for unit in std::mem::take(names) {
        let Some(name) = script(args, &unit) else {
            left.push(unit);
            continue;
        };
        let has_file = native(&unit);
        if has_file && verb == "is-enabled" {
            left.push(unit);
            continue;
        }
        let option = args.root.as_ref().map(|root| format!("--root={}", root.display()));
        let line: Vec<&str> =
            [PROGRAM].into_iter().chain(option.as_deref()).chain([verb, name.as_str()]).collect();
        if !args.quiet {
            if has_file {
                eprintln!("Synchronizing state of {unit} with SysV service script with {PROGRAM}.");
            } else {
                let program = PROGRAM.rsplit('/').next().unwrap_or(PROGRAM);
                eprintln!("{unit} is not a native service, redirecting to {program}.");
            }
            eprintln!("Executing: {}", line.join(" "));
        }
        let done = run(args, verb, &name, &line)?;
        match (verb, done) {
            ("is-enabled", done) => {
                enabled |= done;
                if !args.quiet {
                    writeln!(out, "{}", if done { "enabled" } else { "disabled" })?;
                }
            }
            (_, true) => {}
            (_, false) => {
                return Err(Failed(exit_status::FAILURE, format!("Failed to {verb} {unit} by its script.")));
            }
        }
        if has_file {
            left.push(unit);
        }
    }
    *names = left;
    Ok(enabled)
}

fn run(args: &Args, verb: &str, name: &str, line: &[&str]) -> Result<bool, Failed> {
    let failed = |program: &str, error: io::Error| {
        Failed(exit_status::FAILURE, format!("Failed to execute {program}: {error}"))
    };
    if Path::new(PROGRAM).exists() {
        let status = Command::new(PROGRAM).args(&line[1..]).status();
        return status.map(|status| status.success()).map_err(|error| failed(PROGRAM, error));
    }
    if verb == "is-enabled" {
        let level = |level: &str| has_start_link(&root(args).join(format!("etc/rc{level}.d")), name);
        return Ok(level("S") || level("5"));
    }
    // The links have to be there before they can be turned off or on.
    for action in ["defaults", verb] {
        let words = ["update-rc.d", name, action];
        let mut command = match &args.root {
            Some(root) => {
                let mut command = Command::new("chroot");
                command.arg(root).args(words);
                command
            }
            None => {
                let mut command = Command::new(words[0]);
                command.args(&words[1..]);
                command
            }
        };
        // It would ask us otherwise.
        command.env("_SKIP_SYSTEMD_NATIVE", "1");
        if !command.status().map_err(|error| failed(words[0], error))?.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a folder of a run level has a link that starts the script.
fn has_start_link(folder: &Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let starts = |file: &str| file.strip_prefix('S').and_then(|rest| rest.get(2..)) == Some(name);
    entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(starts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_without_a_unit_file_is_found_and_asked() {
        let folder = std::env::temp_dir().join(format!("hence-sysv-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("etc/init.d")).expect("a folder");
        std::fs::create_dir_all(folder.join("etc/rc3.d")).expect("a folder");
        std::fs::write(folder.join("etc/init.d/old"), "#!/bin/sh\n").expect("a file");
        let args = Args { root: Some(folder.clone()), ..Args::default() };
        assert_eq!(script(&args, "old.service").as_deref(), Some("old"));
        assert_eq!(script(&args, "old.socket"), None);
        assert_eq!(script(&args, "other.service"), None);
        assert!(!has_start_link(&folder.join("etc/rc3.d"), "old"));
        std::os::unix::fs::symlink("../init.d/old", folder.join("etc/rc3.d/S01old")).expect("a link");
        assert!(has_start_link(&folder.join("etc/rc3.d"), "old"));
        assert!(!has_start_link(&folder.join("etc/rc3.d"), "ol"));
        std::fs::remove_dir_all(&folder).expect("it is removed");
    }
}
