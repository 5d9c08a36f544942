//! What is said where there is nothing to report, and where the ledger is damaged.

use super::{Ledger, incident};
use hence_host::store::{RecorderCommand, RecorderLink, Ring, RingOptions, RingPlace};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_ledger_that_is_not_there() {
    let ledger = Ledger::empty("missing");
    for arguments in
        [&["why", "foo"][..], &["history"], &["history", "--raw"], &["leaks"], &["loops"], &["verify"]]
    {
        let (status, message) = ledger.refuses(arguments);
        assert_eq!(status, 5, "{arguments:?}: {message}");
        assert!(message.starts_with("hence: ") && message.contains("is no ledger"), "{message}");
        assert!(message.contains(ledger.0.to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_ledger_of_a_newer_hence() {
    let ledger = Ledger::of("newer", &incident(3));
    let ring = ledger.0.join("ring");
    let mut bytes = std::fs::read(&ring).unwrap();
    bytes[16..20].copy_from_slice(&99u32.to_le_bytes());
    std::fs::write(&ring, bytes).unwrap();
    let (status, message) = ledger.refuses(&["why", "foo"]);
    assert_eq!(status, 5, "{message}");
    assert!(message.contains("format version 99") && message.contains("newer hence"), "{message}");
}

#[test]
fn a_unit_or_process_that_is_not_on_record() {
    let ledger = Ledger::of("unknown", &incident(3));
    let (status, message) = ledger.refuses(&["why", "fooo"]);
    assert_eq!((status, &*message), (4, "hence: no record of fooo.service; did you mean foo.service?\n"));
    let (status, message) = ledger.refuses(&["why", "foo.socket"]);
    assert_eq!((status, &*message), (4, "hence: no record of foo.socket; did you mean foo.service?\n"));
    let (status, message) = ledger.refuses(&["history", "collector"]);
    assert_eq!(status, 4);
    assert!(message.contains("did you mean aws-otel-collector.service?"), "{message}");
    let (status, message) = ledger.refuses(&["why", "zzz\x1b[2J"]);
    assert_eq!(status, 4);
    assert!(!message.contains('\x1b'), "{message:?}");
    let (status, message) = ledger.refuses(&["why", "77777"]);
    assert_eq!((status, &*message), (4, "hence: no record of process 77777\n"));
    let (status, message) = ledger.refuses(&["why", "foo", "--at", "2001-01-01"]);
    assert_eq!(status, 4);
    assert!(message.contains("the ledger begins at 2025-12-10 00:00:00"), "{message}");
}

#[test]
fn a_command_line_that_makes_no_sense() {
    let ledger = Ledger::of("usage", &incident(3));
    for arguments in [
        &["why", "foo", "--at", "soon"][..],
        &["history", "--since", "25:00"],
        &["why", "foo", "--json", "--graph", "dot"],
        &["why"],
        &["whyy", "foo"],
        &["completions", "tcsh"],
    ] {
        let (status, message) = ledger.refuses(arguments);
        assert_eq!(status, 2, "{arguments:?}: {message}");
    }
    let (_, message) = ledger.refuses(&["why", "foo", "--at", "soon"]);
    assert!(message.contains("`soon` is no time") && message.contains("-5min"), "{message}");
}

#[test]
fn damage_is_stated_and_the_rest_is_told() {
    let scene = incident(42);
    let ledger = Ledger::of("damage", &scene);
    let ring = ledger.0.join("ring");
    let mut bytes = std::fs::read(&ring).unwrap();
    // Into the last words of the collector, in the middle of the story.
    let needle = b"has invalid keys";
    let places: Vec<usize> =
        (0..bytes.len() - needle.len()).filter(|&at| bytes[at..].starts_with(needle)).collect();
    bytes[places[places.len() / 2]] ^= 0xff;
    std::fs::write(&ring, bytes).unwrap();
    let page = ledger.says(&["why", "foo", "--at", &super::now(&scene)]);
    assert!(page.starts_with("As of 2025-12-10 03:03:31 UTC:\nfoo.service was stopped"), "{page}");
    assert!(page.contains("The ledger is damaged in 1 place;"), "{page}");
    assert!(page.contains("ring is damaged at byte "), "{page}");
    assert!(ledger.says(&["history"]).contains("The ledger is damaged in 1 place;"));
    let raw = ledger.says(&["history", "--raw"]);
    assert!(raw.contains("records may be missing here"), "{raw}");
    assert_eq!(raw.lines().count(), scene.records.len());
}

#[test]
fn a_reader_that_goes_away_is_no_trouble() {
    let ledger = Ledger::of("pipe", &incident(42));
    let mut child = ledger
        .command(&["history", "--raw"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("hence runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("an end");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

fn hence(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hence")).args(arguments).output().expect("hence runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Has the recorder store what is in the ring, as `hence run` does.
fn stored(ledger: &Ledger) {
    let options = RingOptions { bytes: 16 << 20, place: RingPlace::Ledger };
    let mut ring = Ring::open(&ledger.0, &options).expect("a ring");
    let program = env!("CARGO_BIN_EXE_hence").into();
    let arguments = vec!["recorder".into(), ledger.0.clone().into()];
    let mut link =
        RecorderLink::start(RecorderCommand { program, arguments, environment: Vec::new() }, 0).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while ring.has_news() {
        assert!(Instant::now() < deadline, "the recorder does not store");
        link.appended(&mut ring);
        std::thread::sleep(Duration::from_millis(5));
        link.ready(&mut ring, 0);
    }
    let pid = link.pid().and_then(|pid| rustix::process::Pid::from_raw(pid as i32));
    drop((link, ring));
    let _ = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty());
}

#[test]
fn verify_tells_a_changed_ledger_from_one_that_is_as_written() {
    let scene = incident(3);
    let ledger = Ledger::of("verify", &scene);
    // Nothing of the ring is chained before the recorder has stored it.
    assert!(ledger.says(&["verify"]).starts_with("0 records, as written."));
    stored(&ledger);
    let text = ledger.says(&["verify"]);
    // The recorder adds what it found the files of the story to be.
    let (number, rest) = text.split_once(' ').expect("a number");
    assert!(number.parse::<usize>().unwrap() >= scene.records.len(), "{text}");
    assert!(rest.starts_with("records, as written. The chain ends in "), "{text}");
    assert!(ledger.says(&["why", "foo"]).starts_with("foo.service was stopped"));
    let segment = std::fs::read_dir(ledger.0.join("segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let output = ledger.run(&["verify"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.starts_with("The chain of records is broken in "), "{text}");
    assert!(text.contains(segment.to_str().unwrap()), "{text}");
}

#[test]
fn completions_and_man_pages_know_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let script = hence(&["completions", shell]);
        for verb in ["why", "history", "leaks", "loops", "directives", "verify", "run"] {
            assert!(script.contains(verb), "{shell}: {verb}");
        }
    }
    let folder = Ledger::empty("man");
    hence(&["man", folder.0.to_str().unwrap()]);
    for page in ["hence.1", "hence-why.1", "hence-history.1", "hence-leaks.1", "hence-loops.1", "hence-run.1"]
    {
        let text = std::fs::read_to_string(folder.0.join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
        assert!(text.contains(".SH NAME"), "{page}: {text}");
    }
    assert!(hence(&["--help"]).contains("Exit status:"));
}

#[test]
fn directives_are_those_of_the_rows() {
    let listed: serde_json::Value = serde_json::from_str(&hence(&["directives", "--json"])).expect("JSON");
    let rows = hence_unit::directive::table().count();
    assert_eq!(listed.as_array().map(Vec::len), Some(rows));
    let text = hence(&["directives"]);
    assert!(text.contains(&format!("\n{rows} directives: ")), "no count of {rows}");
    assert!(text.contains("[Service]    KillMode="), "KillMode= is missing");
    assert_eq!(hence(&["directives", "restartsec"]).lines().filter(|l| l.contains("RestartSec=")).count(), 1);
    assert_eq!(hence(&["directives", "no such thing"]), "No directive is like that.\n");
}
