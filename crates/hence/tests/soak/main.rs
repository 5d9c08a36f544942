//! `hence soak` against planted faults and sound units, real processes all of them: it has to find the one,
//! whichever way it shows, and to pass the other, however noisy. Many soaks run at the same time, in
//! compressed time.
//!
//! A few cases run as they are; `HENCE_SOAKS=3` runs all of them, three times each.

mod browser;
#[path = "../shared/browser.rs"]
mod browsing;
mod cases;
mod command;
mod payload;
mod recipes;
mod release;

use cases::Case;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// A folder of its own for one soak, removed at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// One with these unit files, in which FOLDER is the folder and PROGRAM this program.
    pub fn of(name: &str, files: &[(&str, &str)]) -> Folder {
        let root = std::env::var_os("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = root.join(format!("hence-soak-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        for folder in ["units", "tmp"] {
            std::fs::create_dir_all(path.join(folder)).expect("a folder");
        }
        let folder = Folder(path);
        files.iter().for_each(|(name, text)| folder.write(&format!("units/{name}"), text));
        folder
    }

    /// Writes a file of it.
    pub fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let payload = std::env::current_exe().expect("this program");
        let text = text.replace("FOLDER", self.path()).replace("PROGRAM", payload.to_str().expect("UTF-8"));
        let path = self.0.join(name);
        std::fs::write(&path, &text).expect("a file");
        if text.starts_with("#!") {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        }
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }

    /// Where its units are.
    pub fn units(&self) -> String {
        format!("{}/units", self.path())
    }

    /// Soaks its units.
    pub fn soak(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence"));
        command.arg("soak").arg(self.units()).args(arguments).env("TMPDIR", self.0.join("tmp"));
        command.env("COLUMNS", "100").env_remove("XDG_RUNTIME_DIR").stdin(std::process::Stdio::null());
        command.output().expect("hence can be started")
    }

    /// The same, as JSON; its exit status.
    pub fn json(&self, arguments: &[&str]) -> (Value, i32) {
        let output = self.soak(&[arguments, &["--json"]].concat());
        let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}{said}"));
        (value, output.status.code().expect("it ends by itself"))
    }

    /// What is left of a soak that should have left nothing.
    pub fn remains(&self) -> Vec<String> {
        let mut left: Vec<String> = Vec::new();
        for entry in std::fs::read_dir(self.0.join("tmp")).into_iter().flatten().flatten() {
            left.push(entry.path().display().to_string());
        }
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let of = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let own = entry.file_name().to_str() == Some(&std::process::id().to_string());
            let environment = String::from_utf8_lossy(&of("environ")).into_owned();
            // TMPDIR names the folder in all that the soak starts.
            if !own && environment.contains(&format!("TMPDIR={}/", self.path())) {
                let command = String::from_utf8_lossy(&of("cmdline")).replace('\0', " ");
                left.push(format!("process {:?}: {command}", entry.file_name()));
            }
        }
        left
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// How often each case runs; `None`: the few ordinary ones once.
fn times() -> Option<usize> {
    std::env::var("HENCE_SOAKS").ok()?.parse().ok().filter(|n| *n > 0)
}

/// What is wrong with the answer to a case.
fn trouble(case: &Case, nth: usize) -> Option<String> {
    let folder = Folder::of(&format!("{}-{nth}", case.name), case.units);
    case.files.iter().for_each(|(name, text)| folder.write(name, text));
    // Every second time without control groups, as on an ordinary machine.
    let tracking: &[&str] = if nth % 2 == 1 { &["--tracking", "ancestry"] } else { &[] };
    let length: &[&str] = if case.arguments.contains(&"--for") { &[] } else { &["--for", "24s"] };
    let arguments = [length, case.arguments, tracking].concat();
    let (answer, status) = folder.json(&arguments);
    let found: Vec<(String, String)> = answer["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|f| (f["kind"].as_str().unwrap_or("").to_owned(), f["unit"].as_str().unwrap_or("").to_owned()))
        .collect();
    let said = |what: &str| Some(format!("{} ({nth}): {what}: {answer:#}", case.name));
    let remains = folder.remains();
    if !remains.is_empty() {
        return said(&format!("it leaves {remains:?}"));
    }
    match case.finds {
        None if status != 0 || !found.is_empty() => said("it is sound"),
        Some((kind, unit)) if !found.iter().any(|(k, u)| k == kind && u == unit) || status != 1 => {
            said(&format!("{kind} of {unit} is to be found, with status 1, not {status}"))
        }
        // It tells nothing beside what is there.
        Some((kind, unit))
            if found.iter().any(|(k, u)| u != unit || k != kind && !case.also.contains(&&**k)) =>
        {
            said("there is nothing else to be found")
        }
        _ => None,
    }
}

/// Runs these cases, so many of them at the same time.
fn run(cases: Vec<(&'static Case, usize)>, at_once: usize) {
    assert!(Path::new("/usr/bin/perl").exists(), "the units of these tests need perl");
    let (queue, failed) = (Mutex::new(cases.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some((case, nth)) = next else { break };
                    let begun = std::time::Instant::now();
                    let trouble = std::panic::catch_unwind(|| trouble(case, nth));
                    let trouble = trouble.unwrap_or_else(|_| Some(format!("{} ({nth}) panics", case.name)));
                    let word = if trouble.is_some() { "FAILS" } else { "ok" };
                    eprintln!("{word} {} ({nth}), {} s", case.name, begun.elapsed().as_secs());
                    failed.lock().unwrap().extend(trouble);
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of the cases fail\n{}", failed.len(), failed.join("\n\n"));
}

#[test]
fn planted_faults_are_found_and_sound_units_pass() {
    let only = std::env::var("HENCE_SOAK_CASE").unwrap_or_default();
    let wanted = |case: &&Case| (only.is_empty() || case.name == only) && (case.needs)();
    let all = cases::PLANTED.iter().chain(&cases::SOUND).filter(wanted);
    match times() {
        Some(times) => {
            let all: Vec<&Case> = all.collect();
            run((0..times).flat_map(|nth| all.iter().map(move |case| (*case, nth))).collect(), 9);
        }
        None => run(all.filter(|c| c.ordinary || !only.is_empty()).map(|case| (case, 0)).collect(), 12),
    }
}

#[test]
fn there_are_fifteen_of_each() {
    // One more planted fault, the upgrade that breaks, is `release`'s.
    assert!(cases::PLANTED.len() >= 15 && cases::SOUND.len() >= 15);
    for case in cases::PLANTED.iter().chain(&cases::SOUND) {
        let alike = cases::PLANTED.iter().chain(&cases::SOUND).filter(|c| c.name == case.name);
        assert_eq!(alike.count(), 1, "{}", case.name);
    }
}
