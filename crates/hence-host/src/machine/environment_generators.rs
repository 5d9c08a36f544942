//! Environment generators: programs whose output is the environment of what is started;
//! systemd.environment-generator(7). One after the other, each with the output of those before it, all of
//! them together with a limit; one that fails is told and changes nothing.

use super::generators::{MOST, Scope, find};
use crate::environment::{Environment, parse};
use crate::limited::{Limited, readable};
use rustix::event::{PollFd, PollFlags};
use std::{
    io::Read,
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long all of them together may take.
const LIMIT: Duration = Duration::from_secs(90);
/// Most that one may print, in bytes.
const OUTPUT: usize = 1 << 20;

/// Runs all of them, in the order of their names. Returns what they assign, as NAME=VALUE, and what went
/// wrong, in sentences. `given`: the environment that they begin with.
pub fn run(scope: Scope, given: &[Box<str>]) -> (Vec<Box<str>>, Vec<String>) {
    run_of(&scope.folders("environment-generators"), given, LIMIT)
}

fn run_of(
    folders: &[std::path::PathBuf],
    given: &[Box<str>],
    limit: Duration,
) -> (Vec<Box<str>>, Vec<String>) {
    let (mut all, mut own) = (Environment::new(given), Environment::default());
    let mut notes = Vec::new();
    let until = Instant::now() + limit;
    for path in find(folders).into_values().take(MOST) {
        match output(&path, &all, until) {
            Ok(text) => {
                for pair in parse(&text) {
                    all.set(&pair);
                    own.set(&pair);
                }
            }
            Err(why) => notes.push(format!("the environment generator {} {why}", path.display())),
        }
    }
    (own.iter().map(Box::from).collect(), notes)
}

/// What a program prints until it ends well.
fn output(path: &Path, environment: &Environment, until: Instant) -> Result<String, String> {
    let mut command = Command::new(path);
    command.env_clear().envs(environment.iter().filter_map(|v| v.split_once('=')));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).current_dir("/");
    let mut program = Limited::start(&mut command).map_err(|e| format!("can't be run: {e}"))?;
    let read = program.stdout().ok_or("has no output").and_then(|mut pipe| {
        let mut bytes = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let ready = readable(&mut [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)], until);
            match ready {
                Ok(0) => return Err("took too long"),
                Err(rustix::io::Errno::INTR) => continue,
                _ => {}
            }
            match pipe.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(count) if bytes.len() + count <= OUTPUT => bytes.extend_from_slice(&buffer[..count]),
                Ok(_) => return Err("prints too much"),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Err("has an output that can't be read"),
            }
        }
    });
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(why) => {
            program.kill();
            return Err(why.to_owned());
        }
    };
    // Whoever closed its output and goes on has the rest of the time.
    let status = program.end_before(until).map_err(|e| format!("can't be waited for: {e}"))?;
    let status = status.ok_or("took too long")?;
    if !status.success() {
        return Err(format!("failed: {status}"));
    }
    String::from_utf8(bytes).map_err(|_| "prints what is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    #[test]
    fn each_sees_what_those_before_it_said() {
        let base = std::env::temp_dir().join(format!("hence-environment-{}", std::process::id()));
        let folders = [base.join("a"), base.join("b")];
        folders.iter().for_each(|f| fs::create_dir_all(f).unwrap());
        let script = |path: PathBuf, text: &str| {
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        script(
            folders[1].join("10-first"),
            "echo A=1; echo '# note'; echo 'no assignment'; echo \"B='x y'\"",
        );
        script(folders[1].join("20-second"), "echo A=${A}2$GIVEN");
        script(folders[1].join("30-bad"), "echo C=3; exit 3");
        script(folders[1].join("40-masked"), "echo D=4");
        script(folders[1].join("50-slow"), "echo E=5; exec sleep 60");
        std::os::unix::fs::symlink("/dev/null", folders[0].join("40-masked")).unwrap();
        let begun = Instant::now();
        let given = ["PATH=/usr/bin:/bin".into(), "GIVEN=g".into()];
        let (own, notes) = run_of(&folders, &given, Duration::from_millis(1500));
        assert!(begun.elapsed() < Duration::from_secs(20));
        let own: Vec<&str> = own.iter().map(|v| &**v).collect();
        assert_eq!(own, ["A=12g", "B=x y"]);
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("30-bad failed: exit status: 3"), "{notes:?}");
        assert!(notes[1].contains("50-slow took too long"), "{notes:?}");
        fs::remove_dir_all(base).unwrap();
    }
}
