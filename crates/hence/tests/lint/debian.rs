//! The linter and the unit files of some 400 of Debian's packages: nothing breaks, no directive is called
//! unknown
//! that systemd 252 knows, and where systemd-analyze(1) complains of a line, so does the linter. The packages
//! are fetched with apt-get into the folder that `HENCE_DEBIAN_CACHE` names; without it the test says so.

use super::{Folder, found, run};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: &str = include_str!("packages.txt");
/// How many have to be there for the test to say anything.
const PACKAGES_MIN: usize = 300;

fn debs(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten().map(|e| e.path());
    entries.filter(|p| p.extension().is_some_and(|e| e == "deb")).collect()
}

/// Fetches what the cache lacks; why not, where that can't be done.
fn fetch(cache: &Path) -> Result<Vec<PathBuf>, String> {
    fs::create_dir_all(cache).map_err(|e| e.to_string())?;
    let there = debs(cache);
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.split('_').next()?.to_owned());
    let there: BTreeSet<String> = there.iter().filter_map(name).collect();
    let missing: Vec<&str> = PACKAGES.lines().filter(|p| !there.contains(*p)).collect();
    if there.len() < PACKAGES_MIN {
        for some in missing.chunks(20) {
            let fetched =
                Command::new("apt-get").args(["-q", "download"]).args(some).current_dir(cache).output();
            let output = fetched.map_err(|e| format!("apt-get: {e}"))?;
            if !output.status.success() && debs(cache).is_empty() {
                let said = String::from_utf8_lossy(&output.stderr);
                return Err(said.lines().last().unwrap_or("apt-get failed").to_owned());
            }
        }
    }
    let all = debs(cache);
    match all.len() < PACKAGES_MIN {
        true => Err(format!("only {} packages can be had", all.len())),
        false => Ok(all),
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

/// Lines of files that systemd-analyze complains about, and units that it refuses.
fn complaints(units: &[PathBuf]) -> BTreeSet<(String, u64)> {
    let mut lines = BTreeSet::new();
    for some in units.chunks(200) {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--generators=no", "--recursive-errors=no"]).args(some);
        let Ok(output) = command.env("SYSTEMD_LOG_LEVEL", "debug").output() else { continue };
        // Of system calls in its own sets that the machine's seccomp library doesn't know no file can do
        // anything.
        let own = |line: &&str| !line.contains("Failed to parse system call");
        for line in String::from_utf8_lossy(&output.stderr).lines().filter(own) {
            let Some((path, rest)) = line.split_once(": ").and_then(|(head, _)| head.rsplit_once(':')) else {
                continue;
            };
            if let Ok(number) = rest.parse() {
                lines.insert((path.to_owned(), number));
            }
        }
    }
    lines
}

#[test]
fn debians_packages() {
    let Some(cache) = std::env::var_os("HENCE_DEBIAN_CACHE").map(PathBuf::from) else {
        eprintln!("skipped: HENCE_DEBIAN_CACHE names no folder for packages");
        return;
    };
    let debs = match fetch(&cache) {
        Ok(debs) => debs,
        Err(why) => {
            eprintln!("skipped: Debian's packages can't be fetched: {why}");
            return;
        }
    };
    let folder = Folder::new("debian");
    for deb in &debs {
        let done = Command::new("dpkg-deb").arg("-x").arg(deb).arg(&folder.0).status();
        assert!(done.is_ok_and(|s| s.success()), "{}", deb.display());
    }
    let root = folder.0.to_str().unwrap();
    let (status, page, err) = run(&folder.0, &[root]);
    assert!(status < 2, "{err}");
    eprintln!("{} packages: {}", debs.len(), page.lines().next().unwrap_or_default());
    let findings = found(&folder.0, &[root]);
    assert!(findings.len() > 100, "{}", findings.len());

    let mut all = Vec::new();
    files(&folder.0, &mut all);
    let is_unit = |path: &&PathBuf| {
        let kinds = ["service", "socket", "timer", "path", "target", "mount", "slice", "automount"];
        let kind = path.extension().is_some_and(|e| kinds.iter().any(|k| e == *k));
        let parent =
            path.parent().is_some_and(|p| p.ends_with("systemd/system") || p.ends_with("systemd/user"));
        kind && parent
    };
    let units: Vec<PathBuf> = all.iter().filter(is_unit).cloned().collect();
    assert!(units.len() > 400, "{}", units.len());
    // A directive that systemd knows is in the man page that lists them all.
    let index = Command::new("systemd-analyze").arg("--version").output();
    let is_252 = index.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).starts_with("systemd 252"));
    if !is_252 {
        eprintln!("skipped: systemd-analyze of version 252 is not there to compare with");
        return;
    }
    let plain = |path: &&PathBuf| !path.to_str().is_some_and(|p| p.contains("@."));
    let plain: Vec<PathBuf> = units.iter().filter(plain).cloned().collect();
    let theirs = complaints(&plain);
    assert!(theirs.len() >= 10, "{theirs:?}");
    let ours: BTreeSet<(String, u64)> =
        findings.iter().map(|(_, file, line)| (file.clone(), *line)).collect();
    let missed: Vec<_> = theirs.difference(&ours).collect();
    assert!(missed.is_empty(), "systemd-analyze complains of lines that the linter passes over: {missed:#?}");
    // What we call unknown or unusable, systemd complains of as well.
    let shared =
        ["unknown-directive", "unknown-section", "misplaced-directive", "misplaced-section", "specifier"];
    let claimed = findings.iter().filter(|(rule, file, _)| {
        shared.contains(&rule.as_str()) && plain.iter().any(|p| p.to_str() == Some(file))
    });
    for (rule, file, line) in claimed {
        assert!(theirs.contains(&(file.clone(), *line)), "{rule} at {file}:{line}, and systemd says nothing");
    }
    eprintln!("{} units; systemd-analyze complains of {} lines, all found", units.len(), theirs.len());
}
