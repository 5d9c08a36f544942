//! Incidents under a real systemd that hence watches: `watch.py` beside this file boots it as process 1 of
//! its own namespaces. As root, where systemd, journald and Python are; else it says that it is skipped.
//!
//! A few incidents by default; all of them, and again without each source, with `HENCE_INCIDENTS=all`; then
//! under the systemd of another Debian too, whose root `HENCE_INCIDENTS_ROOT` names (debootstrap makes one).

mod churn;

mod install;

use std::path::Path;
use std::process::Command;

const HENCE: &str = env!("CARGO_BIN_EXE_hence");
const FEW: &str = "seed: foo,stop, private,stop, bus,crash,Requires=, stop";

fn missing() -> Option<&'static str> {
    let there = |path: &str| Path::new(path).exists();
    if !rustix::process::geteuid().is_root() {
        return Some("only root can boot a machine");
    }
    if !there("/lib/systemd/systemd") || !there("/lib/systemd/systemd-journald") {
        return Some("there is no systemd here");
    }
    let python = Command::new("python3").arg("--version").output();
    let tools = ["unshare", "nsenter", "systemctl", "busctl"];
    let found = |tool: &&str| {
        ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|folder| Path::new(folder).join(tool).exists())
    };
    if python.is_err() || !tools.iter().all(found) {
        return Some("python3, unshare, nsenter, systemctl or busctl is missing");
    }
    None
}

/// The last line of the table, which counts, and all of it.
fn table(options: &[String]) -> (String, String) {
    let (_, text) = script("watch.py", options);
    let last = text.lines().rfind(|line| line.contains(" of them stated as certain"));
    (last.unwrap_or("").to_owned(), text)
}

/// What a script beside this file says, and whether it ended well.
fn script(name: &str, options: &[String]) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/watch").join(name);
    let done = Command::new("python3").arg(script).args(["--hence", HENCE]).args(options).output();
    let done = done.expect("python3 runs");
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.success(), format!("{text}{errors}"))
}

fn number(line: &str, word: &str) -> u32 {
    let before = line.split(word).next().unwrap_or("");
    before.split_whitespace().next_back().and_then(|n| n.parse().ok()).unwrap_or(u32::MAX)
}

#[test]
fn nothing_wrong_is_stated_as_certain() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let all = std::env::var("HENCE_INCIDENTS").is_ok_and(|which| which == "all");
    let each = ["bus", "journal", "cgroups", "processes", "trace"];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut runs = vec![words(&["--only", FEW])];
    if all {
        runs = vec![words(&["--outside"]), words(&[])];
        runs.extend(each.map(|source| words(&["--outside", "--without", source])));
        runs.push(each.iter().flat_map(|source| words(&["--without", source])).collect());
        if let Ok(root) = std::env::var("HENCE_INCIDENTS_ROOT") {
            runs.push(words(&["--outside", "--root", &root]));
        }
    }
    for options in &runs {
        let (last, text) = table(options);
        println!("{text}");
        assert_eq!(number(&last, " of them stated as certain"), 0, "{options:?}\n{text}");
        let lacks = options.iter().any(|word| word == "--without");
        if all && (lacks || options.is_empty()) {
            continue;
        }
        // With all that can be had there.
        let seed = text.lines().find(|line| line.contains("seed: foo follows")).unwrap_or("");
        assert!(seed.starts_with("right"), "{options:?}: {seed}\n{text}");
        let (right, of) = (number(&last, " right"), number(&last, " incidents"));
        assert!(right * 100 >= of * if all { 95 } else { 60 }, "{options:?}\n{text}");
    }
}
