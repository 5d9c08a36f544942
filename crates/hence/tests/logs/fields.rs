//! The fields of entries, compared with those that systemd and systemd-journald gave them for the same
//! services (`golden/journal-fields.txt`), and what a unit's own settings do to its lines.

use crate::machine::Machine;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const GOLDEN: &str = include_str!("../golden/journal-fields.txt");
/// What systemd's entries don't have.
const OURS: [&str; 2] = ["HENCE_CAUSE", "HENCE_RECORD"];

/// As the golden one was recorded, but that senders stay a while, so that they can be looked at.
const FOO: &str = r#"[Unit]
Description=The Foo
[Service]
LogExtraFields=COLOR=red
SyslogIdentifier=foo
ExecStart=/bin/sh -c '\
    echo by stdout; sleep 0.2; echo "<3>by stderr" >&2; \
    { echo by syslog; sleep 2; } | logger -t tagged -p local3.warning & \
    { echo by cat; sleep 2; } | systemd-cat -t cat -p notice & \
    HENCE_LOGS_CHILD=native SELF --exact fields::child_native >/dev/null 2>&1 & sleep 1000; :'
ExecStop=/bin/sh -c 'echo stopping; sleep 0.2'
"#;
const FAST: &str = "[Unit]\nDescription=The Fast\n[Service]\nRestart=on-failure\nRestartSec=50ms\n\
    StartLimitBurst=2\nExecStart=/bin/sh -c 'echo it fails; sleep 0.2; exit 3'\n";

/// Sends a message, and stays; by itself it does nothing.
#[test]
fn child_native() {
    let text: &[u8] = match std::env::var("HENCE_LOGS_CHILD").as_deref() {
        Ok("native") => {
            b"MESSAGE=by native\nPRIORITY=4\nCODE_LINE=7\nOWN_FIELD=x\nSYSLOG_IDENTIFIER=logger\n"
        }
        Ok("forger") => {
            b"MESSAGE=forged\n_PID=1\n_SYSTEMD_UNIT=good.service\n_UID=4711\n__CURSOR=x\n_TRANSPORT=kernel\n\
              lower=x\nWITH SPACE=x\nSYSLOG_IDENTIFIER\n\x17\0\0\0\0\0\0\0one\nMESSAGE=two\n_PID=666\n\n"
        }
        _ => return,
    };
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket.send_to(text, "/run/systemd/journal/socket").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
}

fn fields(entry: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let all = entry.as_object().unwrap().iter();
    all.filter(|(name, _)| !name.starts_with("__")).map(|(name, value)| (name.clone(), text(value))).collect()
}

#[test]
fn entries_have_the_fields_of_systemd() {
    let units = [("foo.service", FOO), ("fast.service", FAST)];
    let Some(machine) = Machine::boot("fields", &units, "") else { return };
    machine.text("systemctl start foo.service");
    let all = |text: &str| ["by stderr", "by syslog", "by native", "by cat"].iter().all(|m| text.contains(m));
    machine.journal("-u foo.service -o cat", all);
    machine.text("systemctl restart foo.service; systemctl kill -s KILL foo.service");
    machine.journal("-u foo.service -o cat", |text| text.contains("Failed with result 'signal'"));
    machine.text("systemctl reset-failed foo.service; systemctl start fast.service");
    machine.journal("-u fast.service -o cat", |text| text.contains("Failed to start"));
    let json = machine.text("journalctl -q -u foo.service -o json; journalctl -q -u fast.service -o json");
    let mut golden = BTreeMap::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let mut parts = line.splitn(3, " | ");
        let mut part = || parts.next().unwrap();
        golden.insert((part(), part()), part().split(' ').collect::<BTreeSet<&str>>());
    }
    let mut seen = BTreeSet::new();
    for line in json.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let mut ours = fields(&entry);
        let (transport, message) = (ours.remove("_TRANSPORT").unwrap(), ours.remove("MESSAGE").unwrap());
        let said = format!("{transport} | {message}");
        let same = |key: &&(&str, &str)| *key.0 == *transport && *key.1 == *message;
        let key = *golden.keys().find(same).unwrap_or_else(|| panic!("systemd does not say: {said}"));
        if transport == "journal" && ours.contains_key("INVOCATION_ID") {
            let cause = OURS.map(|name| ours.remove(name));
            assert!(cause.iter().all(Option::is_some), "{said}: why, is not said: {line}");
        }
        for expected in &golden[&key] {
            let (name, value) = expected.split_once('=').map_or((*expected, None), |(n, v)| (n, Some(v)));
            let own = ours.remove(name.trim_end_matches('?'));
            assert!(own.is_some() || name.ends_with('?'), "{said}: {name} is missing in {line}");
            if value.is_some() {
                assert_eq!(own.as_deref(), value, "{said}: {name}");
            }
        }
        assert!(ours.is_empty(), "{said}: systemd has no {ours:?}");
        seen.insert(key);
    }
    let missing: Vec<_> = golden.keys().filter(|key| !seen.contains(*key)).collect();
    assert!(missing.is_empty(), "only systemd says {missing:?}");
    let status = machine.text("systemctl status -n 3 fast.service");
    assert!(status.trim_end().ends_with("Failed to start fast.service - The Fast."), "{status}");
}

/// Lines that are copied to the console and to the kernel's log, which are plain files here.
#[test]
fn copies_of_lines() {
    let both = "[Service]\nStandardOutput=journal+console\nStandardError=kmsg\nSyslogIdentifier=me\n\
        ExecStart=/bin/sh -c 'echo to the console; echo \"<4>to the kernel\" >&2; sleep 1000'\n";
    let inherited = "[Service]\nStandardOutput=syslog+console\n\
        ExecStart=/bin/sh -c 'echo inherited >&2; sleep 1000'\n";
    let units = [("both.service", both), ("inherited.service", inherited)];
    let devices = "touch \"$base/dev/console\" \"$base/dev/kmsg\"";
    let Some(machine) = Machine::boot("copies", &units, devices) else { return };
    machine.text("systemctl start both.service inherited.service");
    machine
        .journal("-o cat -u both", |text| text.contains("to the console") && text.contains("to the kernel"));
    machine.journal("-o cat -u inherited", |text| text.contains("inherited"));
    let pid = machine.text("systemctl show -P MainPID both.service").trim().to_owned();
    let console = machine.text("cat /dev/console");
    assert!(console.contains(&format!("me[{pid}]: to the console\r\n")), "{console}");
    assert!(console.contains("]: inherited\r\n") && !console.contains("to the kernel"), "{console}");
    assert_eq!(machine.text("cat /dev/kmsg"), format!("<28>me[{pid}]: to the kernel\n"));
    let shown = machine.text("systemctl show -P StandardOutput -P StandardError both.service");
    assert_eq!(shown, "journal+console\nkmsg\n");
}

/// LogFilterPatterns=, LogLevelMax=, SyslogIdentifier= and level prefixes; and `hence why` quotes what a
/// failed run said last, by the run.
#[test]
fn settings_of_units_and_the_last_words() {
    let filtered = "[Service]\nLogFilterPatterns=~secret [0-9]+\nLogFilterPatterns=^keep\n\
        LogFilterPatterns=~broken(\nLogLevelMax=notice\nSyslogLevel=notice\n\
        ExecStart=/bin/sh -c 'echo keep one; echo keep secret 12; echo other; echo \"<7>keep quiet\"; \
        echo \"<3>keep loud\"; { echo keep syslog; echo drop syslog; sleep 1; } | logger -p user.notice; \
        sleep 1'\n";
    let failing = "[Service]\n\
        ExecStart=/bin/sh -c 'echo connecting; echo \"cannot open /srv/db: denied\" >&2; \
        sleep 0.2; exit 3'\n";
    let units = [("filtered.service", filtered), ("failing.service", failing)];
    let Some(machine) = Machine::boot("settings", &units, "") else { return };
    machine.text("systemctl start filtered.service failing.service");
    machine.journal("-u filtered -o cat", |text| text.contains("keep syslog"));
    let lines = machine.text("journalctl -q -u filtered -o cat _SYSTEMD_UNIT=filtered.service");
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["keep loud", "keep one", "keep syslog"]);
    let loud = machine.text("journalctl -q -u filtered -p err -o cat _SYSTEMD_UNIT=filtered.service");
    assert_eq!(loud, "keep loud\n");
    let wrong = machine.text("journalctl -q -o cat OBJECT_SYSTEMD_UNIT=filtered.service");
    assert!(wrong.contains("LogFilterPatterns=~broken(: "), "{wrong}");

    machine.journal("-u failing -o cat", |text| text.contains("Failed with result 'exit-code'"));
    let base = machine.folder.display();
    let why = crate::machine::until("the last words", || {
        let why = machine.text(&format!("{base}/hence why failing.service --ledger /run/ledger"));
        why.contains("cannot open /srv/db: denied").then_some(why)
    });
    assert!(!why.contains("connecting\n"), "stderr decides: {why}");
    let run = machine.text("systemctl show -P InvocationID failing.service");
    let ours = format!("{base}/hence logs --invocation {} -o cat", run.trim());
    assert!(machine.text(&ours).contains("connecting\ncannot open /srv/db: denied\n"), "{run}");
}
