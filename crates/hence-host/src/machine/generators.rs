//! Generators: programs that write unit files before units are loaded; systemd.generator(7). They run at the
//! same time, with a limit; one that fails is told and the boot goes on.
//!
//! hence's own comes last: units that others need and that only systemd's package has.

use super::Place;
use crate::limited::{Limited, readable};
use rustix::event::{PollFd, PollFlags};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long all of them together may take.
const LIMIT: Duration = Duration::from_secs(90);
/// Most generators of one folder that are run.
pub(super) const MOST: usize = 1024;

/// Whose generators run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The system's.
    System,
    /// Those of each user.
    User,
}

impl Scope {
    /// Where programs of this kind are, first the folders that win.
    pub(super) fn folders(self, kind: &str) -> Vec<PathBuf> {
        let whose = match self {
            Scope::System => "system",
            Scope::User => "user",
        };
        let roots = ["/run", "/etc", "/usr/local/lib", "/usr/lib", "/lib"];
        roots.map(|root| PathBuf::from(format!("{root}/systemd/{whose}-{kind}"))).into()
    }
}

/// Runs all generators and waits for them. `runtime`: the folder below which they write, /run or a user's.
/// Returns what went wrong, in sentences.
pub fn run(scope: Scope, runtime: &Path, place: &Place, first_boot: bool, given: &[Box<str>]) -> Vec<String> {
    let mut notes = Vec::new();
    let generators = find(&scope.folders("generators"));
    // In the order of their arguments.
    let output = ["generator", "generator.early", "generator.late"].map(|n| runtime.join("systemd").join(n));
    for folder in &output {
        // What an earlier run wrote is void.
        let _ = fs::remove_dir_all(folder);
        if let Err(e) = fs::create_dir_all(folder) {
            return vec![format!("{} can't be made, no generator is run: {e}", folder.display())];
        }
    }
    let environment = environment(scope, place, first_boot, given);
    notes.extend(run_these(&generators, &output, &environment, LIMIT));
    if scope == Scope::System {
        notes.extend(own_units(&output[2]));
    }
    for folder in &output {
        // Not empty: then it stays.
        let _ = fs::remove_dir(folder);
    }
    notes
}

/// Units that services of other packages require though systemd's package alone has them. Files of the same
/// names in any other folder win. What comes to /dev/log is sent on there.
const OWN_UNITS: [(&str, &str); 1] = [(
    "syslog.socket",
    "[Unit]\nDescription=Socket of the System Log\nDefaultDependencies=no\nBefore=sockets.target\n\n\
     [Socket]\nListenDatagram=/run/systemd/journal/syslog\n\
     SocketMode=0666\nPassCredentials=yes\nReceiveBuffer=8M\n",
)];

fn own_units(folder: &Path) -> Option<String> {
    for (name, text) in OWN_UNITS {
        // Where systemd's is, a second one would only puzzle.
        if ["/usr/lib/systemd/system", "/lib/systemd/system"].iter().any(|f| Path::new(f).join(name).exists())
        {
            continue;
        }
        if let Err(e) = fs::write(folder.join(name), text) {
            return Some(format!("{}: {e}; units that need {name} can't be started", folder.display()));
        }
    }
    None
}

fn environment(scope: Scope, place: &Place, first_boot: bool, given: &[Box<str>]) -> Vec<(String, String)> {
    let flag = |set: bool| if set { "1" } else { "0" }.to_owned();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    };
    let given = given.iter().filter_map(|v| v.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned()));
    let mut environment: Vec<(String, String)> = given.collect();
    let own = [
        ("SYSTEMD_SCOPE", if scope == Scope::User { "user" } else { "system" }.to_owned()),
        ("SYSTEMD_IN_INITRD", flag(Path::new("/etc/initrd-release").exists())),
        ("SYSTEMD_FIRST_BOOT", flag(first_boot)),
        ("SYSTEMD_ARCHITECTURE", architecture.to_owned()),
    ];
    environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
    if let Some(container) = &place.container {
        environment.push(("SYSTEMD_VIRTUALIZATION".to_owned(), format!("container:{container}")));
    }
    environment
}

/// Of those with one name the first; what is no program or a link to /dev/null is masked.
pub(super) fn find(folders: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(MOST) {
            if let Ok(name) = entry.file_name().into_string() {
                found.entry(name).or_insert_with(|| entry.path());
            }
        }
    }
    let runs = |path: &Path| {
        fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() > 0 && m.permissions().mode() & 0o111 != 0)
    };
    found.retain(|_, path| runs(path));
    found
}

fn start(path: &Path, output: &[PathBuf; 3], environment: &[(String, String)]) -> io::Result<Limited> {
    let mut command = Command::new(path);
    command.args(output).env_clear().stdin(Stdio::null()).current_dir("/");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Limited::start(&mut command)
}

fn run_these(
    generators: &BTreeMap<String, PathBuf>,
    output: &[PathBuf; 3],
    environment: &[(String, String)],
    limit: Duration,
) -> Vec<String> {
    let mut notes = Vec::new();
    let mut running: Vec<(&PathBuf, Limited)> = Vec::new();
    for path in generators.values() {
        match start(path, output, environment) {
            Ok(program) => running.push((path, program)),
            Err(e) => notes.push(format!("the generator {} can't be run: {e}", path.display())),
        }
    }
    let until = Instant::now() + limit;
    while !running.is_empty() {
        let mut fds: Vec<PollFd<'_>> =
            running.iter().map(|(_, program)| PollFd::new(program, PollFlags::IN)).collect();
        // Interrupted or refused: whoever has ended is found below all the same.
        let _ = readable(&mut fds, until);
        running.retain_mut(|(path, program)| match program.ended() {
            Ok(Some(status)) => {
                if !status.success() {
                    notes.push(format!("the generator {} failed: {status}", path.display()));
                }
                false
            }
            Ok(None) if Instant::now() >= until => {
                program.kill();
                let seconds = limit.as_secs();
                notes.push(format!("the generator {} took more than {seconds} s", path.display()));
                false
            }
            Ok(None) => true,
            Err(_) => false,
        });
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_run_fail_hang_and_are_masked() {
        let base = std::env::temp_dir().join(format!("hence-generators-{}", std::process::id()));
        let folders = [base.join("a"), base.join("b")];
        let output = ["normal", "early", "late"].map(|n| base.join(n));
        for folder in folders.iter().chain(&output) {
            fs::create_dir_all(folder).unwrap();
        }
        let script = |path: PathBuf, text: &str| {
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        script(folders[1].join("good"), "echo $SYSTEMD_SCOPE > $1/x; echo e > $2/x; echo l > $3/x");
        script(folders[1].join("bad"), "exit 3");
        script(folders[1].join("slow"), "sleep 60");
        script(folders[1].join("masked"), "touch $1/masked");
        std::os::unix::fs::symlink("/dev/null", folders[0].join("masked")).unwrap();
        let found = find(&folders);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["bad", "good", "slow"]);
        let place = Place { container: Some("test".into()) };
        let begun = Instant::now();
        let limit = Duration::from_millis(1500);
        let environment = environment(Scope::System, &place, true, &["PATH=/usr/bin:/bin".into()]);
        let notes = run_these(&found, &output, &environment, limit);
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(fs::read_to_string(output[0].join("x")).unwrap(), "system\n");
        assert!(output[1].join("x").exists() && output[2].join("x").exists());
        assert!(!output[0].join("masked").exists());
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes.iter().any(|n| n.contains("exit status: 3")), "{notes:?}");
        assert!(notes.iter().any(|n| n.contains("took more than")), "{notes:?}");
        fs::remove_dir_all(base).unwrap();
    }
}
