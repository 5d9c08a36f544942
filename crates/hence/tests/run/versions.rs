//! What changed between two starts: a program is replaced by another version and fails with the old
//! configuration.

use crate::rig::{Site, levels, until};
use hence_ledger::Fact;

#[test]
fn a_program_that_was_replaced_is_named() {
    for level in levels() {
        let site = Site::new("versions", level);
        std::fs::write(site.folder.join("collector.conf"), "exporters: [old]\n").expect("a file");
        let one = "#!/bin/sh\n# version 1\nexec sleep 1000 MARK\n";
        let two = "#!/bin/sh\n# version 2\necho \"error: exporters: unknown key 'old'\" >&2\nexit 1\n";
        let program = site.script("collector", one);
        site.unit(
            "collector.service",
            &format!("[Service]\nExecStart={program} --config FOLDER/collector.conf\n"),
        );
        let hence = site.start(&[]);
        until("a service", || (site.marked().len() == 1).then_some(()));
        let digests = |at_least: usize| {
            until("digests", || {
                let of = |r: &hence_ledger::Record| match &r.fact {
                    Fact::Digest { path, sha256: Some(_), .. } => **path == program,
                    _ => false,
                };
                (site.records_so_far().iter().filter(|r| of(r)).count() >= at_least).then_some(())
            });
        };
        digests(1);
        assert_eq!(hence.interrupt(), 0, "{level:?} {}", site.said());
        site.script("collector", two);
        assert_eq!(site.run(&[]), 1, "{level:?} {}", site.said());
        digests(2);
        site.recorded("last words", |r| matches!(r.fact, Fact::LastWords { .. }).then_some(()));
        let why = site.json(&["why", "collector.service", "--json"]);
        let changed = why["changed"].as_array().expect("a list");
        let entry = changed.iter().find(|c| c["path"] == program).unwrap_or_else(|| panic!("{why}"));
        let digest = |when: &str| entry[when]["sha256"].as_str().unwrap_or_default().to_owned();
        let (before, after) = (digest("before"), digest("after"));
        assert!(before.len() == 64 && after.len() == 64 && before != after, "{entry}");
        let config = site.path("collector.conf");
        assert!(changed.iter().all(|c| c["path"] != config), "{why}");
        let unchanged = why["unchanged"].as_array().expect("a list");
        assert!(unchanged.iter().any(|u| u["path"] == config || *u == config), "{why}");
        assert!(why.to_string().contains("unknown key"), "{why}");
    }
}
