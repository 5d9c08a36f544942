//! Releases compared: an upgrade that breaks ends the soak in its first seconds and is named; one that is
//! only worse fails by the baseline; the same again passes.

use super::Folder;
use std::time::Instant;

/// Refuses a configuration with a key that it doesn't know.
const COLLECTOR: &str = "#!/bin/sh
# release RELEASE
if grep -q \"$2\" \"$1\"; then echo \"error: unknown key: $2\" >&2; exit 1; fi
echo collecting
exec sleep 900
";

const UNITS: [(&str, &str); 2] = [
    (
        "collector.service",
        "[Service]\nExecStart=FOLDER/collector FOLDER/config telemetry\nRestart=always\nRestartSec=500ms\n",
    ),
    (
        "foo.service",
        "[Unit]\nRequires=collector.service\nAfter=collector.service\n[Service]\nExecStart=/bin/sleep 900\n",
    ),
];

#[test]
fn an_upgrade_that_breaks_ends_in_its_first_seconds_and_is_named() {
    let folder = Folder::of("upgrade", &UNITS);
    folder.write("config", "address: here\ntelemetry: on\n");
    folder.write("collector", &COLLECTOR.replace("$2", "metrics").replace("RELEASE", "1"));
    let base = format!("{}/base", folder.path());
    let (good, status) = folder.json(&["--for", "6s", "--no-faults", "--save", &base]);
    assert_eq!((good["verdict"].as_str(), status), (Some("pass"), 0), "{good:#}");
    let kept = std::fs::read_to_string(&base).unwrap();
    assert!(
        kept.starts_with("hence soak baseline 1\n") && kept.contains("unit collector.service\n"),
        "{kept}"
    );

    folder.write("collector", &COLLECTOR.replace("RELEASE", "2"));
    let begun = Instant::now();
    let (bad, status) = folder.json(&["--for", "10min", "--baseline", &base]);
    assert_eq!((bad["verdict"].as_str(), status), (Some("fail"), 1), "{bad:#}");
    assert!(begun.elapsed().as_secs() < 30, "it is over in its first seconds");
    assert!(bad["ended_early"].as_str().unwrap().contains("collector.service failed"), "{bad:#}");
    let first = &bad["findings"][0];
    assert_eq!((first["kind"].as_str(), first["unit"].as_str()), (Some("start"), Some("collector.service")));
    assert!(first["evidence"].to_string().contains("unknown key: telemetry"), "{first:#}");
    let changed = bad["changed"].as_array().unwrap();
    let paths: Vec<&str> = changed.iter().filter_map(|c| c["path"].as_str()).collect();
    assert_eq!(paths, [format!("{}/collector", folder.path())]);
    assert_ne!(changed[0]["before"], changed[0]["after"]);
    // For people too, and on without an end where that is asked for.
    let arguments = ["--for", "5s", "--baseline", &base, "--keep-going", "--no-faults"];
    let output = folder.soak(&arguments);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "Not sound: collector.service",
        "unknown key: telemetry",
        "Changed since the baseline",
        "goes around every",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("This is what there was to see"), "{text}");
    assert_eq!(folder.remains(), Vec::<String>::new());
}

const SERVICE: &str = "#!/usr/bin/perl
$| = 1;
my $held = 'x' x (GROWTH * 1000000 + 1);
WORDS
sleep 1 while 1;
";

#[test]
fn what_is_only_worse_fails_by_the_baseline() {
    let units = [("x.service", "[Service]\nExecStart=FOLDER/service\n")];
    let folder = Folder::of("worse", &units);
    let release = |growth: &str, words: &str| {
        folder.write("service", &SERVICE.replace("GROWTH", growth).replace("WORDS", words));
    };
    release("1", "print \"error 7 of peer\\n\";");
    let base = format!("{}/base", folder.path());
    let (_, status) = folder.json(&["--for", "5s", "--no-faults", "--save", &base]);
    assert_eq!(status, 0);
    let arguments = ["--for", "5s", "--no-faults", "--baseline", &base];
    let (same, status) = folder.json(&arguments);
    assert_eq!((status, same["changed"].as_array().map(Vec::len)), (0, Some(0)), "{same:#}");
    release("60", "print \"error 8 of peer\\nerror: no route\\n\";");
    let (worse, status) = folder.json(&arguments);
    assert_eq!(status, 1);
    let texts: Vec<&str> =
        worse["findings"].as_array().unwrap().iter().filter_map(|f| f["text"].as_str()).collect();
    for text in ["x.service logs 1 error that it did not", "x.service takes more memory than it did"] {
        assert!(texts.contains(&text), "{text}: {worse:#}");
    }
    assert_eq!(texts.len(), 2);
    for finding in worse["findings"].as_array().unwrap() {
        let evidence = finding["evidence"].to_string();
        assert!(evidence.contains("changed: ") && evidence.contains("/service: "), "{finding:#}");
    }
}
