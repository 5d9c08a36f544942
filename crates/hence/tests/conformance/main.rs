//! The page docs/conformance.md: each directive, what is done with it, and the scenarios and tests that set
//! it. It is written from the directives' rows and from the texts of the tests; `HENCE_BLESS=1` writes it
//! anew. What the scenarios prove is their own affair, and that they pass is that of those who run them.

use hence_unit::directive::{Entry, Support, table};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// How many proofs a row names; the others are counted.
const NAMED: usize = 3;
/// Which scenarios are recorded from the real systemd and lie beside the project.
const RIG: &str = "rig ";

/// Where proofs are, by what they are called on the page: a folder, the ends of its files' names.
const SCENARIOS: [(&str, &str, &[&str]); 4] = [
    ("simulated ", "crates/hence-engine/scenarios", &["txt", "scn"]),
    ("found ", "crates/hence/tests/parity/found", &["scn"]),
    ("predicted ", "crates/hence/tests/predict/sets", &["set"]),
    (RIG, "../shared/rig/scenarios", &["scn"]),
];
/// Programs that set directives in units which they run or have simulated.
const PROGRAMS: [(&str, &[&str]); 4] = [
    ("crates/hence/tests", &["rs", "py"]),
    ("crates/hence-host/tests", &["rs"]),
    ("crates/hence-engine/tests", &["rs"]),
    ("crates/hence-bus/tests", &["rs"]),
];

const HEAD: &str = "# Conformance

What hence does with each directive of systemd's unit files, and the scenarios and tests in which a unit sets
it. The page is written by a test from the directives' rows:
`HENCE_BLESS=1 cargo test -p hence --test conformance`.

- **acted on**: it has its effect. **accepted**: it is read and has none, on purpose.
- **not yet**: it is checked, kept and shown, and the unit is told so when it is loaded; nothing acts on it.

| name | what it is | held against |
|---|---|---|
| `simulated NAME` | a file of `crates/hence-engine/scenarios`, run in the simulator | a trace that was read |
| `rig NAME` | units and requests under hence as process 1 | what the real systemd 252 did, recorded |
| `found NAME` | a file of `crates/hence/tests/parity/found`, which chance found | systemd, beside it |
| `predicted NAME` | a file of `crates/hence/tests/predict/sets` | what the real systemd did, recorded |
| `fuzzed` | `crates/hence/tests/parity/sequences.py` sets it in units of chance | systemd, beside it |
| a file | a test of that name, below `crates` | what it says itself |

Where hence differs on purpose is in `ARCHITECTURE.md`.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's folder")
}

/// The files below a folder whose names end so, in the order of their paths.
fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if path.extension().is_some_and(|end| ends.iter().any(|e| end == *e)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// Each (section, directive) that unit files in a scenario's text set.
fn set_in_units(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut section = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with("-- ") {
            section.clear();
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((name, _)) = line.split_once('=').filter(|_| !section.is_empty()) {
            found.insert((section.clone(), name.trim().to_owned()));
        }
    }
    found
}

/// Each directive that a program's text sets in some unit: its name with `=`, in a string, not in a comment.
fn set_by_program(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("//") || line.starts_with('#') {
            continue;
        }
        for (at, _) in line.match_indices('=') {
            let before = &line[..at];
            let from = before.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |i| i + 1);
            // In Rust and Python the end of a line stands as \n before a name.
            let name = match before[..from].ends_with('\\') {
                true => before[from..].strip_prefix('n').unwrap_or(&before[from..]),
                false => &before[from..],
            };
            if name.starts_with(|c: char| c.is_ascii_uppercase()) {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

/// What sets directives, in the order in which it is named.
struct Proofs {
    scenarios: Vec<(String, BTreeSet<(String, String)>)>,
    programs: Vec<(String, BTreeSet<String>)>,
}

impl Proofs {
    fn read(root: &Path) -> Proofs {
        let text = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
        let mut scenarios = Vec::new();
        for (word, folder, ends) in SCENARIOS {
            for path in files(&root.join(folder), ends) {
                scenarios.push((format!("{word}{}", stem(&path)), set_in_units(&text(&path))));
            }
        }
        let mut programs = Vec::new();
        for (folder, ends) in PROGRAMS {
            for path in files(&root.join(folder), ends) {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                if name.contains("/tests/conformance/") {
                    continue;
                }
                let mut set = set_by_program(&text(&path));
                let fuzzes = name.ends_with("parity/sequences.py");
                if fuzzes {
                    // Its list of checks has them without what they begin with.
                    let checks =
                        ["Condition", "Assert"].map(|word| set.iter().map(move |s| format!("{word}{s}")));
                    set = checks.into_iter().flatten().chain(set.iter().cloned()).collect();
                }
                let said = format!("`{}`", name.trim_start_matches("crates/"));
                programs.push((if fuzzes { "fuzzed".to_owned() } else { said }, set));
            }
        }
        Proofs { scenarios, programs }
    }

    fn of(&self, row: &Entry) -> Vec<&str> {
        let key = (row.section.to_owned(), row.name.to_owned());
        let scenarios = self.scenarios.iter().filter(|(_, set)| set.contains(&key)).map(|(name, _)| &**name);
        let programs = self.programs.iter().filter(|(_, set)| set.contains(row.name));
        scenarios.chain(programs.map(|(name, _)| &**name)).collect()
    }
}

/// Some of each kind, so that no kind hides the others.
fn named(proofs: &[&str]) -> String {
    let kind = |proof: &str| match proof.starts_with('`') {
        true => "a file".to_owned(),
        false => proof.split(' ').next().unwrap_or("").to_owned(),
    };
    let mut by_kind: BTreeMap<String, usize> = BTreeMap::new();
    let mut said = Vec::new();
    let mut more = 0;
    for proof in proofs {
        let count = by_kind.entry(kind(proof)).or_default();
        *count += 1;
        if *count <= NAMED { said.push((*proof).to_owned()) } else { more += 1 }
    }
    if more > 0 {
        said.push(format!("{more} more"));
    }
    said.join(", ")
}

fn page(proofs: &Proofs) -> String {
    let mut rows: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
    for row in table() {
        rows.entry(row.section).or_default().push(row);
    }
    let mut page = HEAD.to_owned();
    let mut parts = String::new();
    page.push_str(
        "\n| section | acted on | of these set by a test | accepted | not yet |\n|---|---|---|---|---|\n",
    );
    let mut sums = [0; 4];
    for (section, rows) in &mut rows {
        rows.sort_by_key(|row| row.name);
        write!(parts, "\n## [{section}]\n\n| directive | since | | set by |\n|---|---|---|---|\n").unwrap();
        let mut counts = [0; 4];
        for row in rows.iter() {
            let found = proofs.of(row);
            let index = match row.support {
                Support::Acted => 0,
                Support::Accepted(_) => 2,
                Support::NotYet => 3,
            };
            counts[index] += 1;
            counts[1] += usize::from(index == 0 && !found.is_empty());
            let since = if row.since == 0 { String::new() } else { row.since.to_string() };
            let state = row.support.as_str();
            writeln!(parts, "| {}= | {since} | {state} | {} |", row.name, named(&found)).unwrap();
        }
        let [acted, proven, accepted, not_yet] = counts;
        writeln!(page, "| [{section}] | {acted} | {proven} | {accepted} | {not_yet} |").unwrap();
        (0..4).for_each(|i| sums[i] += counts[i]);
    }
    let [acted, proven, accepted, not_yet] = sums;
    writeln!(page, "| all | {acted} | {proven} | {accepted} | {not_yet} |").unwrap();
    page + &parts
}

/// The rows of a page: each with the section that it stands in, and its cells.
fn cells_of(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut section = "";
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = name;
        } else if !section.is_empty() && line.starts_with("| ") && line.contains("= |") {
            rows.push((section, line.split('|').map(str::trim).collect()));
        }
    }
    rows
}

/// What of a page the rows say. Which proofs there are beside it is no reason to write it anew: tests come
/// and go, and the rig is not everywhere.
fn rows_of(page: &str) -> BTreeSet<String> {
    let said =
        |(section, cells): (&str, Vec<&str>)| format!("{section} {} {} {}", cells[1], cells[2], cells[3]);
    cells_of(page).into_iter().map(said).collect()
}

/// The proofs that a page names and that lie in the project: (section and directive, proof).
fn named_by(page: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (section, cells) in cells_of(page) {
        for proof in cells[4].split(", ").filter(|p| !p.is_empty() && !p.ends_with(" more")) {
            if !proof.starts_with(RIG) {
                found.insert((format!("{section} {}", cells[1]), proof.to_owned()));
            }
        }
    }
    found
}

#[test]
fn the_page_says_what_the_rows_and_the_tests_say() {
    let root = root();
    let proofs = Proofs::read(&root);
    let fresh = page(&proofs);
    let path = root.join("docs/conformance.md");
    if std::env::var_os("HENCE_BLESS").is_some() {
        fs::write(&path, &fresh).expect("docs can be written");
        return;
    }
    let again = "HENCE_BLESS=1 cargo test -p hence --test conformance";
    let there = fs::read_to_string(&path).unwrap_or_default();
    let (fresh_rows, rows) = (rows_of(&fresh), rows_of(&there));
    let stale: Vec<_> = fresh_rows.symmetric_difference(&rows).collect();
    assert!(stale.is_empty(), "docs/conformance.md is stale; {again}: {stale:#?}");
    // Whatever it names has to be true still.
    let mut all = BTreeSet::new();
    for row in table() {
        for proof in proofs.of(&row) {
            all.insert((format!("[{}] {}=", row.section, row.name), proof.to_owned()));
        }
    }
    let gone: Vec<_> = named_by(&there).into_iter().filter(|named| !all.contains(named)).collect();
    assert!(gone.is_empty(), "docs/conformance.md names what sets these no longer; {again}: {gone:#?}");
}

#[test]
fn settings_are_found_where_they_are() {
    let scenario = "-- a.service --\n[Unit]\nAfter=b\n[Service]\nExecStart=/x A=b\n-- steps --\nstart X=1\n";
    let expected = [("Service", "ExecStart"), ("Unit", "After")];
    let expected = expected.map(|(section, name)| (section.to_owned(), name.to_owned()));
    assert_eq!(set_in_units(scenario), BTreeSet::from(expected));
    let program =
        "// Type=simple\nlet a = \"[Unit]\\nAfter=b\\nWants=c\"; // User=x\n    x == y; z = \"-Restart=no\"";
    let found = set_by_program(program);
    let expected = ["After", "Wants", "User", "Restart"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}
