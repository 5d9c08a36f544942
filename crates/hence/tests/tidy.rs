//! The rules that the compiler can't check: arrows between crates, where `unsafe` may stand, lengths, names,
//! what must not be in a file, and that the documents speak of files that exist. It judges no behaviour.

use std::fs;
use std::path::{Path, PathBuf};

/// Each crate, and which others of the workspace it may use.
const ARROWS: [(&str, &[&str]); 6] = [
    ("hence-unit", &[]),
    ("hence-ledger", &["hence-unit"]),
    ("hence-engine", &["hence-unit", "hence-ledger"]),
    ("hence-host", &["hence-unit", "hence-ledger", "hence-engine"]),
    ("hence-bus", &["hence-unit", "hence-ledger", "hence-engine"]),
    ("hence", &["hence-unit", "hence-ledger", "hence-engine", "hence-host", "hence-bus"]),
];
/// No clock, no chance, no I/O, and nobody else's code.
const PURE: [&str; 3] = ["hence-unit", "hence-ledger", "hence-engine"];
/// The only folder with `unsafe`.
const UNSAFE_BELOW: &str = "crates/hence-host/src/sys";
const LINES_MAX: usize = 800;
const COLUMNS_MAX: usize = 110;
const ARCHITECTURE_LINES_MAX: usize = 200;
/// Files that are rows of a table, which read best in one piece: one field for each directive, and one line
/// for each kind of dependency.
const TABLES: [&str; 2] = ["crates/hence-unit/src/config.rs", "crates/hence-unit/src/dependency.rs"];
/// Words that say nothing about what a thing is.
const EMPTY_WORDS: [&str; 9] =
    ["helper", "helpers", "util", "utils", "common", "misc", "context", "handler", "manager"];
/// Here "manager" says something: the interface org.freedesktop.systemd1.Manager.
const SPEAKS_OF_MANAGERS: &str = "crates/hence-bus/src/";

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace's folder")
}

/// Every file of the project: (path from the root, text). Bytes that are no text are left out.
fn files() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let kind = fs::symlink_metadata(&path).expect("an entry that stays").file_type();
            if kind.is_dir() {
                if name != "target" && name != ".git" && name != "__pycache__" {
                    walk(&path, root, found);
                }
            } else if kind.is_file()
                && name != ".git"
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(root).expect("below the root");
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    let (root, mut found) = (root(), Vec::new());
    walk(&root, &root, &mut found);
    assert!(found.len() > 100, "only {} files below {}", found.len(), root.display());
    found
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs"))
}

/// Fails with all that was found at once.
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// The dependencies that a Cargo.toml names in any of its dependency sections.
fn dependencies(manifest: &str) -> Vec<String> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let (head, last) = section.rsplit_once('.').unwrap_or(("", section));
            inside = last.ends_with("dependencies");
            if head.ends_with("dependencies") {
                found.push(last.to_owned());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
            found.push(line[..end].trim_matches('"').to_owned());
        }
    }
    found
}

#[test]
fn arrows_between_crates() {
    let mut wrong = Vec::new();
    for (name, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).expect(name);
        for used in dependencies(&manifest) {
            let ours = used == "hence" || used.starts_with("hence-");
            if ours && !allowed.contains(&used.as_str()) || !ours && PURE.contains(&name) {
                wrong.push(format!("{name} must not use {used}"));
            }
        }
    }
    none("arrows that the architecture doesn't have", &wrong);
    let mut crates: Vec<String> = fs::read_dir(root().join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    crates.sort();
    let mut known = ARROWS.map(|(name, _)| name.to_owned());
    known.sort();
    assert_eq!(crates, known, "a new crate needs a rule of its own");
}

#[test]
fn the_reader_of_manifests_sees_every_form() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb = \"1\"\n# c = 1\n\
                    [dependencies.d]\nversion = \"1\"\n[target.'cfg(unix)'.dev-dependencies]\n\
                    \"e\" = \"2\"\n";
    assert_eq!(dependencies(manifest), ["a", "b", "d", "e"]);
}

#[test]
fn pure_crates_say_so() {
    for name in PURE {
        let path = root().join("crates").join(name).join("src/lib.rs");
        let text = fs::read_to_string(&path).expect(name);
        for line in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(text.lines().any(|l| l == line), "{} lacks {line}", path.display());
        }
    }
}

/// A line up to its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether a line of code begins something unsafe.
fn is_unsafe(line: &str) -> bool {
    let line = code(line);
    let begins = |(at, _): (usize, &str)| {
        let rest = line[at + "unsafe".len()..].trim_start();
        let whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        whole && ["{", "fn ", "impl", "extern", "trait", "("].iter().any(|next| rest.starts_with(next))
    };
    line.match_indices("unsafe").any(begins)
}

#[test]
fn unsafe_only_below_sys() {
    // Taken apart, so that this file passes as well.
    for line in
        [concat!("x = uns", "afe { y };"), concat!("pub uns", "afe fn f()"), concat!("#[uns", "afe(x)]")]
    {
        assert!(is_unsafe(line), "{line}");
    }
    assert!(!is_unsafe("#![forbid(unsafe_code)]") && !is_unsafe("f(); // unsafe { }"));
    let mut wrong = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| !path.starts_with(UNSAFE_BELOW)) {
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| is_unsafe(line)) {
            wrong.push(format!("{path}:{number} {}", line.trim()));
        }
    }
    none("`unsafe` elsewhere than below hence-host's sys", &wrong);
}

#[test]
fn files_say_what_they_are_and_stay_short() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        if !text.starts_with("//! ") {
            wrong.push(format!("{path} doesn't open with `//!`"));
        }
        if TABLES.contains(&path.as_str()) {
            continue;
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{path} has {lines} lines, more than {LINES_MAX}"));
        }
        for (line, number) in text.lines().zip(1..) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                wrong.push(format!("{path}:{number} has {columns} columns, more than {COLUMNS_MAX}"));
            }
        }
    }
    none("files that are hard to read", &wrong);
}

/// The name of the type or module that a line declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = code(line).split_whitespace().skip_while(|w| w.starts_with("pub"));
    let keyword = words.next()?;
    if !["mod", "struct", "enum", "trait", "type", "union"].contains(&keyword) {
        return None;
    }
    words.next().map(|w| w.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
}

/// `RunLoop` and `run_loop` as `run`, `loop`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c == '-' || c.is_uppercase() {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("one").extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn names_say_something() {
    assert_eq!(words_of("ExecContext"), ["exec", "context"]);
    assert_eq!(declared("pub(crate) struct ExecContext<'a> {"), Some("ExecContext"));
    let mut wrong = Vec::new();
    for (path, text) in rust_files() {
        let interface = path.starts_with(SPEAKS_OF_MANAGERS);
        let empty = |name: &str| {
            let is_empty = |w: &String| EMPTY_WORDS.contains(&w.as_str()) && !(interface && w == "manager");
            words_of(name).iter().any(is_empty)
        };
        let stem = Path::new(&path).file_stem().expect("a name").to_string_lossy().into_owned();
        if empty(&stem) {
            wrong.push(path.clone());
        }
        for (line, number) in text.lines().zip(1..) {
            if let Some(name) = declared(line).filter(|name| empty(name)) {
                wrong.push(format!("{path}:{number} {name}"));
            }
            if code(line).trim_start().starts_with("pub fn get_") {
                wrong.push(format!("{path}:{number} a prefix `get_` says nothing"));
            }
        }
    }
    none("names that don't say what a thing is", &wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // Taken apart, so that this file passes as well.
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("#[ig", "nore"),
        concat!("dbg", "!("),
    ];
    let mut wrong = Vec::new();
    for (path, text) in files().iter().filter(|(path, _)| path != "Cargo.lock") {
        for (line, number) in text.lines().zip(1..) {
            // Longer rows of the same letter are templates of mktemp(1).
            let line = line.replace(concat!("XX", "XX", "XX"), "");
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                wrong.push(format!("{path}:{number} {mark}"));
            }
        }
    }
    none("work that isn't done", &wrong);
}

#[test]
fn no_file_depends_on_one_machine() {
    let folders = [
        concat!("/wo", "rk/"),
        concat!("/root/.car", "go"),
        concat!("/root/.rust", "up"),
        concat!("/tmp/w", "t/"),
        concat!("/tmp/tar", "get"),
    ];
    let registries =
        [concat!("crates", ".io"), concat!("docs", ".rs/"), concat!("pypi", ".org"), concat!("npmjs", ".")];
    let mut wrong = Vec::new();
    for (path, text) in files().iter().filter(|(path, _)| path != "Cargo.lock") {
        for (line, number) in text.lines().zip(1..) {
            for folder in folders {
                let in_word = |c: char| c.is_alphanumeric() || "._-}".contains(c);
                let whole = |at: usize| !line[..at].ends_with(in_word);
                if line.match_indices(folder).any(|(at, _)| whole(at)) {
                    wrong.push(format!("{path}:{number} names {folder}"));
                }
            }
            for registry in registries.iter().filter(|registry| line.contains(**registry)) {
                wrong.push(format!("{path}:{number} names {registry}"));
            }
        }
    }
    none("paths of one machine, or addresses of registries", &wrong);
}

/// The paths that a document names in backquotes: what begins like a folder of ours or ends like a file.
/// Fenced blocks are left out; `<...>` stands for a name, so its folder is meant.
fn named_paths(text: &str) -> Vec<String> {
    let (mut found, mut fenced) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        for token in line.split('`').skip(1).step_by(2).filter(|_| !fenced) {
            let begins = ["crates/", "hence/", "hence-", "examples/", "bench/", ".ci/"];
            let ends = [".rs", ".md", ".toml", ".sh", ".lock"];
            let begins = token.contains('/') && begins.iter().any(|b| token.starts_with(b));
            if token.contains([' ', '*', ':']) || !(begins || ends.iter().any(|e| token.ends_with(e))) {
                continue;
            }
            let named = token.split('<').next().unwrap_or_default();
            let folder = named.rfind('/').filter(|_| named.len() < token.len()).map(|at| &named[..at]);
            found.push(folder.unwrap_or(token).trim_end_matches('/').to_owned());
        }
    }
    found
}

#[test]
fn documents_name_files_that_exist() {
    let text = "`a.rs` and `crates/x/<name>.rs`, `Foo=`, `cargo test`\n```\n`b.rs`\n```\n";
    assert_eq!(named_paths(text), ["a.rs", "crates/x"]);
    let mut wrong = Vec::new();
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root().join(document)).expect(document);
        let paths = named_paths(&text);
        assert!(paths.len() > 10, "{document} names only {} paths", paths.len());
        for path in paths {
            // Paths of crates may go without `crates/`.
            if !root().join(&path).exists() && !root().join("crates").join(&path).exists() {
                wrong.push(format!("{document}: {path}"));
            }
        }
    }
    none("paths of documents that don't exist", &wrong);
}

#[test]
fn the_architecture_fits_into_a_head() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let lines = text.lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines");
}
