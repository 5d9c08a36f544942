//! The reports of the built binary on ledgers of real folders: golden pages of known stories, JSON, and what
//! is said where there is nothing to report. `HENCE_BLESS=1` writes the golden files anew.

#[path = "../../../hence-ledger/tests/build/mod.rs"]
mod build;
mod refusals;
mod stories;

use build::incident::{FOO, incident};
use build::scene::Scene;
use hence_host::store::{Ring, RingOptions, RingPlace};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A ledger in a folder that goes away.
struct Ledger(PathBuf);

impl Ledger {
    fn empty(name: &str) -> Ledger {
        let path = std::env::temp_dir().join(format!("hence-reports-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Ledger(path)
    }

    fn of(name: &str, scene: &Scene) -> Ledger {
        let ledger = Ledger::empty(name);
        let options = RingOptions { bytes: 16 << 20, place: RingPlace::Ledger };
        let mut ring = Ring::open(&ledger.0, &options).expect("a ring");
        for records in scene.records.chunks(64) {
            assert_eq!(ring.append(records), 0, "records were lost");
        }
        ledger
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence"));
        command.args(arguments).arg("--ledger").arg(&self.0);
        command.env("TZ", "UTC").env("COLUMNS", "80").env_remove("NO_COLOR");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("hence runs")
    }

    /// What it prints where all goes well.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {errors}", output.status);
        assert_eq!(errors, "", "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.says(arguments);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}\n{text}"))
    }

    /// Status and stderr where it doesn't.
    fn refuses(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
        (output.status.code().expect("a status"), String::from_utf8(output.stderr).expect("UTF-8"))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The scene's present, as `--at` takes it.
fn now(scene: &Scene) -> String {
    hence_ledger::speech::rfc3339(scene.now().realtime_us)
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reports").join(name);
    if std::env::var_os("HENCE_BLESS").is_some() {
        std::fs::write(&path, text).expect("a golden file");
        return;
    }
    let old = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}; bless it", path.display()));
    assert_eq!(old, text, "{name} differs; it is now:\n{text}");
}

/// A page fits on one screen, and only what is there to be copied is wider than it.
fn one_screen(name: &str, page: &str) {
    assert!(page.lines().count() <= 43, "{name} has {} lines:\n{page}", page.lines().count());
    for line in page.lines() {
        let wide = line.chars().count() > 80;
        assert!(!wide || line.trim_start().matches(' ').count() <= 1, "{name}: too wide: {line}");
        assert!(!line.chars().any(char::is_control), "{name}: control characters: {line:?}");
    }
}

#[test]
fn every_story_is_told_on_one_screen() {
    for (name, unit, scene) in stories::all() {
        let ledger = Ledger::of(name, &scene);
        let at = now(&scene);
        let page = ledger.says(&["why", unit, "--at", &at]);
        one_screen(name, &page);
        golden(&format!("{name}.txt"), &page);
        let json = ledger.json(&["why", unit, "--at", &at, "--json"]);
        assert!(json["event"].is_string() && json["chain"].is_array(), "{name}: {json}");
        golden(&format!("{name}.history.txt"), &ledger.says(&["history"]));
    }
}

#[test]
fn the_incident_as_it_is_asked_about_live() {
    let mut scene = incident(42);
    // Moved to the present, so that "ago" counts from the real clock.
    let realtime =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
    let by = realtime - scene.now().realtime_us;
    scene.records.iter_mut().for_each(|record| record.at.realtime_us += by);
    let ledger = Ledger::of("live", &scene);
    let page = ledger.says(&["why", "foo"]);
    let start = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(start.starts_with("foo.service was stopped "), "{page}");
    let (_, rest) = start.split_once(" s ago, as 42 times in the last 3 min ").expect("how often");
    assert!(rest.contains(", every 5.0 s, and started again each time."), "{page}");
    assert!(
        page.contains("Requires=aws-otel-collector.service, /etc/systemd/system/foo.service:3"),
        "{page}"
    );
    let loops = ledger.json(&["loops", "--json"]);
    assert_eq!(loops[0]["ongoing"], Value::Bool(true));
    assert_eq!(ledger.run(&["loops", "--check"]).status.code(), Some(3));
}

#[test]
fn leaks_and_loops_of_the_incident() {
    let ledger = Ledger::of("leaks", &incident(42));
    golden("leaks.txt", &ledger.says(&["leaks"]));
    golden("loops.txt", &ledger.says(&["loops"]));
    let leaks = ledger.json(&["leaks", "--json"]);
    assert_eq!(leaks.as_array().map(Vec::len), Some(43));
    for field in ["unit", "pid", "command", "bytes", "since", "invocation"] {
        assert!(!leaks[0][field].is_null(), "{field}");
    }
    let loops = ledger.json(&["loops", "--json"]);
    for field in ["units", "period_s", "times", "since", "root"] {
        assert!(!loops[0][field].is_null(), "{field}");
    }
    // Long over, so it is no loop that goes on; the processes are still there.
    assert_eq!(ledger.run(&["loops", "--check"]).status.code(), Some(0));
    assert_eq!(ledger.run(&["leaks", "--check"]).status.code(), Some(3));
    let quiet = Ledger::of("quiet", &Scene::new());
    assert_eq!(quiet.says(&["leaks", "--check"]), "No process outlived its unit.\n");
    assert_eq!(quiet.says(&["loops", "--check"]), "No unit goes down and comes up again and again.\n");
    assert_eq!(quiet.json(&["leaks", "--json"]), Value::Array(Vec::new()));
}

#[test]
fn a_process_is_explained_by_its_id() {
    let scene = incident(42);
    let ledger = Ledger::of("pid", &scene);
    let page = ledger.says(&["why", "1001", "--at", &now(&scene)]);
    one_screen("pid", &page);
    golden("process.txt", &page);
    assert_eq!(ledger.json(&["why", "1001", "--json"])["pid"], 1001);
}

#[test]
fn times_are_local_and_the_page_is_as_wide_as_the_terminal() {
    let scene = incident(42);
    let ledger = Ledger::of("local", &scene);
    let mut command = ledger.command(&["why", "foo", "--at", "2025-12-10 05:03:31"]);
    let output = command.env("TZ", "XST-2").env("COLUMNS", "120").output().expect("hence runs");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.starts_with("As of 2025-12-10 05:03:31 XST:\nfoo.service was stopped 2 s ago"), "{page}");
    assert!(page.contains("\n05:03:29  because aws-otel-collector.service was restarted"), "{page}");
    assert!(page.lines().any(|line| line.chars().count() > 80), "{page}");
    // Colour is for terminals only.
    assert!(!page.contains('\x1b'), "{page}");
}

/// What it writes to a terminal.
fn on_a_terminal(mut command: Command) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("its other side");
    let name = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("UTF-8");
    let side = std::fs::OpenOptions::new().read(true).write(true).open(name).expect("its other side");
    let mut child = command.stdout(side).spawn().expect("hence runs");
    drop(command);
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    // The last writer's end is an error here.
    while let Ok(got @ 1..) = rustix::io::read(&terminal, &mut chunk) {
        text.extend_from_slice(&chunk[..got]);
    }
    assert!(child.wait().expect("an end").success());
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn colour_is_for_terminals_and_for_those_who_want_it() {
    let scene = incident(3);
    let ledger = Ledger::of("colour", &scene);
    let at = now(&scene);
    let command = |name: &str, value: &str| {
        let mut command = ledger.command(&["why", "foo", "--at", &at]);
        command.env("TERM", "xterm").env(name, value);
        on_a_terminal(command)
    };
    let coloured = command("TERM", "xterm");
    assert!(coloured.contains("\x1b[1mfoo.service was stopped"), "{coloured:?}");
    let plain = ledger.says(&["why", "foo", "--at", &at]).replace('\n', "\r\n");
    assert_eq!(command("NO_COLOR", "1"), plain);
    assert_eq!(command("TERM", "dumb"), plain);
}

#[test]
fn graphs() {
    let ledger = Ledger::of("graphs", &incident(42));
    assert!(ledger.says(&["why", FOO, "--graph", "mermaid"]).starts_with("flowchart TD\n"));
    assert!(ledger.says(&["why", FOO, "--graph", "dot"]).starts_with("digraph why {\n"));
}

#[test]
fn an_earlier_time_has_its_own_answer() {
    let ledger = Ledger::of("earlier", &incident(42));
    // The update at 03:00:00 was an operator's restart; before it foo had only been started.
    let before = ledger.json(&["why", "foo", "--at", "2025-12-10 02:00", "--json"]);
    assert_eq!((&before["event"], &before["left_behind"]["processes"]), (&"started".into(), &0.into()));
    let during = ledger.json(&["why", "foo", "--at", "2025-12-10T03:01:00Z", "--json"]);
    assert_eq!((&during["event"], &during["times"]), (&"stopped".into(), &12.into()));
}

#[test]
fn history_is_cut_folded_and_raw() {
    let scene = incident(42);
    let ledger = Ledger::of("history", &scene);
    golden("history.txt", &ledger.says(&["history", "foo"]));
    let whole = ledger.says(&["history"]);
    let last = ledger.says(&["history", "-n", "2"]);
    assert_eq!(last.lines().count(), 2);
    assert!(whole.ends_with(&last));
    let later = ledger.says(&["history", "foo", "--since", "2025-12-10 03:00:01"]);
    assert!(later.lines().count() < ledger.says(&["history", "foo"]).lines().count(), "{later}");
    assert_eq!(ledger.says(&["history", "--until", "2000-01-01"]), "Nothing is on record for that.\n");
    assert!(ledger.json(&["history", "--json"])[0]["event"].is_string());

    let raw = ledger.says(&["history", "--raw"]);
    assert_eq!(raw.lines().count(), scene.records.len());
    assert!(raw.contains("<- "), "{raw}");
    golden("raw.txt", &ledger.says(&["history", "foo", "--raw", "-n", "12"]));
    let objects = ledger.says(&["history", "--raw", "--json"]);
    assert_eq!(objects.lines().count(), scene.records.len());
    for (line, record) in objects.lines().zip(&scene.records) {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(object["record"], record.id.0);
        assert_eq!(object["causes"].as_array().map(Vec::len), Some(record.causes.len()));
    }
}
