//! Operations on unit files, against what systemctl(1) of version 252 does to the same folders by its
//! `--root=`: random folders, random operations; links, messages and states are compared. Skipped where
//! there is no systemctl.

mod files;

use files::environs;
use hence_unit::{
    UnitName,
    install::{
        Change, ChangeKind, Fault, Install, InstallPaths, Options, Outcome, PresetMode, Presets, Step,
    },
    unit_path::{Entry, EntryKind, FileError, Files},
};
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{self, Command, Output},
    time::{Duration, Instant},
};

/// The files below a folder, as if it were the root. It is only asked for paths that lead through no link.
struct Root(PathBuf);

impl Root {
    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }
}

fn error(error: std::io::Error) -> FileError {
    match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => FileError::NotFound,
        _ => FileError::Unreadable(error.to_string()),
    }
}

impl Files for Root {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.at(folder)).map_err(error)?.flatten() {
            let kind = entry.file_type().unwrap();
            let kind = match kind {
                kind if kind.is_symlink() => EntryKind::Link,
                kind if kind.is_dir() => EntryKind::Folder,
                kind if kind.is_file() => EntryKind::File,
                _ => EntryKind::Other,
            };
            entries.push(Entry { name: entry.file_name().into_string().unwrap(), kind });
        }
        Ok(entries)
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        fs::read(self.at(path)).map_err(error)
    }

    fn link(&self, path: &str) -> Option<String> {
        fs::read_link(self.at(path)).ok()?.into_os_string().into_string().ok()
    }
}

/// xorshift64*
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }
}

const FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/transient",
    "/etc/systemd/system.control",
    "/opt/units",
    "/opt/units",
];

const NAMES: &[&str] = &[
    "a.service",
    "b.service",
    "c.socket",
    "c.service",
    "t@.service",
    "t@x.service",
    "t@y.service",
    "u@.service",
    "u@x.service",
    "g.target",
    "h@.target",
    "h@x.target",
    "multi-user.target",
    "default.target",
    "e.timer",
    "m.mount",
    "s.slice",
    "p.path",
    "gone.service",
];

/// Names whose states are asked for, where they have no file.
const INSTANCES: &[&str] =
    &["t@x.service", "t@y.service", "t@main.service", "u@x.service", "alias@x.service", "h@x.target"];

const LINES: &[&str] = &[
    "WantedBy=multi-user.target",
    "WantedBy=multi-user.target g.target",
    "WantedBy=gone.target",
    "WantedBy=h@.target",
    "WantedBy=h@%i.target",
    "WantedBy=",
    "WantedBy=no-name",
    "WantedBy=\"g.target\" 'multi-user.target'",
    "WantedBy=\"g.target",
    "RequiredBy=g.target",
    "RequiredBy=a.service",
    "RequiredBy=%p.target",
    "RequiredBy=%Z.target",
    "RequiredBy=a%%.service",
    "Alias=alias.service",
    "Alias=alias.service other.service",
    "Alias=alias.socket alias.timer",
    "Alias=alias@.service",
    "Alias=alias@x.service",
    "Alias=alias-%i.service",
    "Alias=alias@%j.service",
    "Alias=a.service",
    "Alias=t@.service",
    "Alias=t@x.service",
    "Alias=g.target",
    "Alias=default.target",
    "Alias=multi-user.target.wants/a.service",
    "Alias=multi-user.target.wants/t@z.service",
    "Alias=h@.target.requires/t@.service",
    "Alias=multi-user.target.d/a.service",
    "Alias=bad/a.service",
    "Alias=m.mount",
    "Alias=x y",
    "Also=a.service",
    "Also=b.service c.socket",
    "Also=t@x.service",
    "Also=t@.service",
    "Also=u@%i.service",
    "Also=gone.service",
    "Also=%N.socket",
    "Also=bad-name",
    "DefaultInstance=x",
    "DefaultInstance=main",
    "DefaultInstance=",
    "DefaultInstance=a/b",
    "DefaultInstance=%p",
    "Unknown=1",
];

const PRESETS: &[&str] = &[
    "enable a.service",
    "disable a.service",
    "enable t@.service x y",
    "enable t@.service",
    "enable u@.service main",
    "disable *",
    "enable *.socket",
    "disable t@*.service",
    "enable g.target a",
    "disable [a-c].service",
    "# enable *",
    "what a.service",
    "enable *",
    "disable m.mount s.slice",
];

/// Text of a unit file.
fn unit_text(chance: &mut Chance) -> String {
    if chance.one_in(25) {
        return String::new();
    }
    let mut text = String::from("[Unit]\nDescription=x\n");
    if chance.below(6) > 0 {
        text.push_str("[Install]\n");
        for _ in 0..chance.below(4) {
            text.push_str(chance.pick(LINES));
            text.push('\n');
        }
    }
    if chance.one_in(40) {
        text.push_str("[Broken\n");
    }
    text
}

/// The same files and links below all of the roots.
fn world(roots: &[&Path], chance: &mut Chance) -> String {
    let mut said = String::new();
    let mut place = |path: String, text: Option<String>, link: Option<String>| {
        for root in roots {
            let path = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // What is there already stays.
            match (&text, &link) {
                (Some(text), _) if path.symlink_metadata().is_err() => fs::write(&path, text).unwrap(),
                (_, Some(link)) => drop(symlink(link, &path)),
                _ => {}
            }
        }
        said.push_str(&format!("-- {path} -> {link:?}\n{}", text.unwrap_or_default()));
    };
    place("/etc/systemd/system/.keep".into(), Some(String::new()), None);
    place("/run/systemd/system/.keep".into(), Some(String::new()), None);
    for _ in 0..2 + chance.below(9) {
        let (folder, name) = (chance.pick(FOLDERS), chance.pick(NAMES));
        if name == "gone.service" {
            continue;
        }
        match chance.below(14) {
            0 => place(format!("{folder}/{name}"), None, Some("/dev/null".into())),
            1 => place(format!("{folder}/{name}"), None, Some(format!("/opt/units/{name}"))),
            2 => place(format!("{folder}/{name}"), None, Some(chance.pick(NAMES).into())),
            3 => {
                let target = format!("{}/{}", chance.pick(FOLDERS), chance.pick(NAMES));
                place(format!("{folder}/{name}"), None, Some(target));
            }
            4 => {
                let suffix = chance.pick(&["wants", "requires"]);
                let target = format!("../{name}");
                place(format!("{folder}/multi-user.target.{suffix}/{name}"), None, Some(target));
            }
            5 => {
                let text = format!("[Install]\n{}\n", chance.pick(LINES));
                place(format!("{folder}/{name}.d/10-x.conf"), Some(text), None);
            }
            6 => place(format!("{folder}/alias.service"), None, Some(format!("{folder}/{name}"))),
            _ => place(format!("{folder}/{name}"), Some(unit_text(chance)), None),
        }
    }
    for name in ["10-a.preset", "90-b.preset"] {
        if chance.one_in(2) {
            let folder = chance.pick(&["/etc", "/run", "/usr/lib", "/usr/local/lib"]);
            let lines: Vec<&str> = (0..1 + chance.below(3)).map(|_| chance.pick(PRESETS)).collect();
            place(format!("{folder}/systemd/system-preset/{name}"), Some(lines.join("\n")), None);
        }
    }
    said
}

fn systemctl(root: &Path, arguments: &[String]) -> Output {
    let mut command = Command::new("systemctl");
    command.arg(format!("--root={}", root.display())).args(arguments);
    command
        .env("SYSTEMCTL_SKIP_SYSV", "1")
        .env("LC_ALL", "C.UTF-8")
        .env("SYSTEMD_LOG_LEVEL", "info")
        .output()
        .unwrap()
}

fn is_252() -> bool {
    let output = Command::new("systemctl").arg("--version").output();
    output.is_ok_and(|output| output.stdout.starts_with(b"systemd 252 "))
}

/// All entries below a folder: path, and where links point.
fn snapshot(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            found.push(format!("{path} -> {}", fs::read_link(entry.path()).unwrap().display()));
        } else if kind.is_dir() {
            found.push(format!("{path}/"));
            snapshot(&entry.path(), &path, found);
        } else {
            found.push(path);
        }
    }
}

/// Does the steps below a root.
fn perform(root: &Root, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Link { path, target, replace } => {
                let at = root.at(path);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                if *replace {
                    fs::remove_file(&at).unwrap();
                }
                symlink(target, &at).unwrap();
            }
            Step::Unlink { path, below } => {
                let at = root.at(path);
                fs::remove_file(&at).unwrap();
                let below = below.as_ref().map(|below| root.at(below));
                let above = at.ancestors().skip(1).take_while(|a| Some(*a) != below.as_deref());
                for folder in above.filter(|_| below.is_some()) {
                    if fs::remove_dir(folder).is_err() {
                        break;
                    }
                }
            }
            Step::RemoveAll { path } => {
                let at = root.at(path);
                let folder = at.symlink_metadata().unwrap().is_dir();
                if folder { fs::remove_dir_all(&at).unwrap() } else { fs::remove_file(&at).unwrap() }
            }
        }
    }
}

/// What systemctl says of a change, where it is clear from the change alone; paths without the root.
fn message(verb: &str, change: &Change) -> Option<String> {
    let source = change.source.clone().unwrap_or_default();
    let path = &change.path;
    let place = path;
    Some(match (change.kind, &change.source) {
        (ChangeKind::Symlink, _) => format!("Created symlink {place} → {source}."),
        (ChangeKind::Unlink, _) => format!("Removed \"{place}\"."),
        (ChangeKind::Masked, _) => format!("Unit {place} is masked, ignoring."),
        (ChangeKind::Dangling, _) => {
            format!("Unit {place} is an alias to a unit that is not present, ignoring.")
        }
        (ChangeKind::DestinationNotPresent, _) => {
            format!("Unit {source} is added as a dependency to a non-existent unit {path}.")
        }
        (ChangeKind::AuxiliaryFailed, _) => format!("Failed to enable auxiliary unit {path}, ignoring."),
        (ChangeKind::MaskedByGenerator, _) => return None,
        (ChangeKind::Failed(Fault::Exists), Some(_)) => format!(
            "Failed to {verb} unit, file \"{place}\" already exists and is a symlink to \"{source}\"."
        ),
        (ChangeKind::Failed(Fault::Exists), None) => {
            format!("Failed to {verb} unit, file \"{place}\" already exists.")
        }
        (ChangeKind::Failed(Fault::Masked), _) => format!("Failed to {verb} unit, unit {place} is masked."),
        (ChangeKind::Failed(Fault::Generated), _) => {
            format!("Failed to {verb} unit, unit {place} is transient or generated.")
        }
        (ChangeKind::Failed(Fault::BadName), _) => {
            format!("Failed to {verb} unit, \"{path}\" is not a valid unit name.")
        }
        (ChangeKind::Failed(Fault::NotTemplate), _) => {
            format!("Failed to {verb} {source}, destination unit {path} is a non-template unit.")
        }
        (ChangeKind::Failed(Fault::BadAlias), Some(_)) => {
            format!("Failed to {verb} unit, cannot alias {source} as {path}.")
        }
        (ChangeKind::Failed(Fault::NotFound), _) => {
            format!("Failed to {verb} unit, unit {place} does not exist.")
        }
        (ChangeKind::Failed(Fault::Linked), _) => {
            format!("Failed to {verb} unit, refusing to operate on linked unit file {place}.")
        }
        (ChangeKind::Failed(_), _) => return None,
    })
}

/// An operation: systemctl's arguments and ours.
struct Asked {
    arguments: Vec<String>,
    verb: &'static str,
    names: Vec<String>,
    options: Options,
    mode: PresetMode,
}

impl Asked {
    fn random(chance: &mut Chance) -> Asked {
        const VERBS: &[&str] = &[
            "enable",
            "enable",
            "enable",
            "disable",
            "disable",
            "reenable",
            "preset",
            "preset-all",
            "mask",
            "unmask",
            "link",
            "revert",
            "add-wants",
            "add-requires",
            "set-default",
        ];
        let verb = chance.pick(VERBS);
        let count = 1 + if chance.one_in(3) { chance.below(3) } else { 0 };
        let mut names: Vec<String> = (0..count).map(|_| chance.pick(NAMES).into()).collect();
        let by_path = verb == "link" || (matches!(verb, "enable" | "reenable") && chance.one_in(8));
        if by_path {
            for name in &mut names {
                *name =
                    format!("{}/{name}", chance.pick(&["/opt/units", "/opt/units", "/etc/systemd/system"]));
            }
        }
        let mut options = Options { runtime: chance.one_in(6), force: chance.one_in(5), portable: false };
        let mut mode = PresetMode::Full;
        let mut arguments = vec![verb.to_owned()];
        match verb {
            "preset-all" => names.clear(),
            "set-default" => {
                names =
                    vec![chance.pick(&["g.target", "multi-user.target", "a.service", "h@x.target"]).into()];
                options.runtime = false;
            }
            "add-wants" | "add-requires" => names.insert(0, chance.pick(NAMES).into()),
            "revert" => options.runtime = false,
            _ => {}
        }
        if verb.starts_with("preset") {
            mode = [PresetMode::Full, PresetMode::EnableOnly, PresetMode::DisableOnly][chance.below(3)];
            arguments.push(match mode {
                PresetMode::Full => "--preset-mode=full".into(),
                PresetMode::EnableOnly => "--preset-mode=enable-only".into(),
                PresetMode::DisableOnly => "--preset-mode=disable-only".into(),
            });
        }
        arguments.extend(options.runtime.then(|| "--runtime".into()));
        arguments.extend(options.force.then(|| "--force".into()));
        arguments.extend(names.iter().cloned());
        Asked { arguments, verb, names, options, mode }
    }

    fn decide(&self, install: &mut Install<'_>) -> Outcome {
        let (names, options) = (&self.names[..], self.options);
        match self.verb {
            "enable" => install.enable(names, options),
            "disable" => install.disable(names, options),
            "reenable" => install.reenable(names, options),
            "preset" => install.preset(names, options, self.mode),
            "preset-all" => install.preset_all(options, self.mode),
            "mask" => install.mask(names, options),
            "unmask" => install.unmask(names, options),
            "link" => install.link(names, options),
            "revert" => install.revert(names),
            "set-default" => install.set_default(&names[0], Options { force: true, ..options }),
            verb => install.add_dependency(&names[1..], &names[0], verb == "add-requires", options),
        }
    }
}

fn lines_of(root: &Path, output: &Output) -> Vec<String> {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = text.replace(root.to_str().unwrap(), "");
    let known = ["Created symlink", "Removed", "Unit ", "Failed to "];
    let own = |line: &&str| {
        known.iter().any(|known| line.starts_with(known)) && !line.ends_with(": Invalid argument")
    };
    let mut lines: Vec<String> = text.lines().filter(own).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The states of all unit files with their presets, and of the names that have none.
fn compare_states(theirs: &Path, ours: &Root, paths: &InstallPaths, asked: &str, story: &str) {
    let environs = environs();
    let install = Install::new(ours, paths, &environs);
    let presets = Presets::of(ours, paths);
    let listed = systemctl(theirs, &["list-unit-files".into(), "--no-legend".into(), "--no-pager".into()]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut listed: Vec<Vec<String>> = listed.lines().map(words).collect();
    let mut own: Vec<Vec<String>> = Vec::new();
    for (path, state) in install.list() {
        let name = UnitName::new(path.rsplit('/').next().unwrap()).unwrap();
        // For states without a choice systemctl shows no preset.
        let shown = |line: &Vec<String>| line[0] == name.as_str() && line.get(2).is_some_and(|p| p == "-");
        let preset = if listed.iter().any(shown) { "-" } else { presets.state(&name) };
        own.push(vec![name.to_string(), state.as_str().into(), preset.into()]);
    }
    listed.sort();
    own.sort();
    assert_eq!(own, listed, "states\n{story}");
    if !listed.iter().any(|line| line[0] == asked) {
        let output = systemctl(theirs, &["is-enabled".into(), asked.into()]);
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let state = install.state(asked).map_or("", |state| state.as_str());
        assert_eq!(state, said, "is-enabled {asked}\n{story}");
    }
    let output = systemctl(theirs, &["get-default".into()]);
    let default = default_target(ours, paths);
    assert_eq!(default, String::from_utf8_lossy(&output.stdout).trim(), "get-default\n{story}");
}

fn default_target(root: &Root, paths: &InstallPaths) -> String {
    let environs = environs();
    Install::new(root, paths, &environs).default_target().unwrap_or_default()
}

fn one(seed: u64, scratch: &Path) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        chance.below(2);
    }
    let (theirs, ours) = (scratch.join("theirs"), Root(scratch.join("ours")));
    let _ = fs::remove_dir_all(scratch);
    let mut story = format!("seed {seed}\n{}", world(&[&theirs, &ours.0], &mut chance));
    let paths = InstallPaths::system();
    let environs = environs();
    compare_states(&theirs, &ours, &paths, chance.pick(INSTANCES), &story);
    for _ in 0..1 + chance.below(4) {
        let asked = Asked::random(&mut chance);
        story.push_str(&format!("== systemctl {}\n", asked.arguments.join(" ")));
        let output = systemctl(&theirs, &asked.arguments);
        let outcome = asked.decide(&mut Install::new(&ours, &paths, &environs));
        perform(&ours, &outcome.steps);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        story.push_str(&format!("{stdout}{stderr}{outcome:#?}\n"));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        snapshot(&ours.0, "", &mut a);
        snapshot(&theirs, "", &mut b);
        assert_eq!(a, b, "links\n{story}");
        // systemctl looks at what it set.
        let told = asked.verb != "set-default" || !default_target(&ours, &paths).is_empty();
        assert_eq!(outcome.result.is_ok() && told, output.status.success(), "result\n{story}");
        let verb = asked.verb;
        let word = match verb {
            "add-wants" | "add-requires" => "add dependency on",
            "preset-all" => "preset",
            "set-default" => "set default",
            verb => verb,
        };
        let mut messages: Vec<String> =
            outcome.changes.iter().filter_map(|change| message(word, change)).collect();
        messages.sort();
        let said = lines_of(&theirs, &output);
        let unsaid: Vec<&String> = messages.iter().filter(|line| !said.contains(line)).collect();
        // Folders are gone through in another order, and the first failure ends that.
        let ended = verb == "preset-all" && outcome.result.is_err();
        assert!(ended || unsaid.is_empty(), "not said by systemctl: {unsaid:#?}\n{story}");
        let count = |lines: &[String], begin: &str| lines.iter().filter(|l| l.starts_with(begin)).count();
        for begin in ["Created", "Removed"] {
            assert_eq!(count(&messages, begin), count(&said, begin), "{begin}\n{story}");
        }
        if matches!(verb, "enable" | "reenable") && outcome.result.is_ok() {
            let without = stderr.contains("no installation config");
            assert_eq!(outcome.result == Ok(false), without, "installable\n{story}");
        }
        compare_states(&theirs, &ours, &paths, chance.pick(INSTANCES), &story);
    }
}

/// A folder that goes with the test, also where it fails.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn as_systemctl_does_it() {
    if !is_252() {
        eprintln!("skipped: there is no systemctl of version 252");
        return;
    }
    let seconds = env::var("HENCE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let end = Instant::now() + Duration::from_secs(seconds);
    let first: u64 = env::var("HENCE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let scratch = Scratch(env::temp_dir().join(format!("hence-systemctl-{}", process::id())));
    let mut seed = first;
    while Instant::now() < end {
        one(seed, &scratch.0);
        seed += 1;
    }
    eprintln!("{} worlds", seed - first);
}
