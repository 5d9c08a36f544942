//! A real polkit on a real bus: what its rules allow is done for callers that are not root, what they don't
//! is refused, and polkit that hangs holds nobody up. And the policy that the bus itself needs.

use super::bus::{Daemon, call, site, start, tools, until_served};
use super::rig::{Site, until};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/usr/lib/polkit-1/polkitd";
const NOBODY: u32 = 65534;

/// nobody may start foo.service, and nothing else.
const RULES: &str = r#"polkit.addRule(function(action, subject) {
    if (action.id == "org.freedesktop.systemd1.manage-units" && action.lookup("unit") == "foo.service" &&
        action.lookup("verb") == "start" && subject.user == "nobody") {
        return polkit.Result.YES;
    }
    if (action.id == "org.freedesktop.systemd1.reload-daemon") {
        return polkit.Result.NO;
    }
});
"#;

/// polkitd with rules and actions of its own; it ends with the test.
struct Polkit(Child);

impl Polkit {
    fn start(site: &Site) -> Polkit {
        let rules = site.path("rules.js");
        std::fs::write(&rules, RULES).expect("a file");
        let actions =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/polkit/org.freedesktop.systemd1.policy");
        let script = "mount -t tmpfs -o mode=755 t /etc/polkit-1/rules.d && \
                      mount -t tmpfs -o mode=755 t /usr/share/polkit-1/actions && \
                      cp \"$1\" /etc/polkit-1/rules.d/10-test.rules && \
                      cp \"$2\" /usr/share/polkit-1/actions/ && \
                      exec \"$3\" --no-debug";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh", &rules, actions, PROGRAM]);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", site.path("system_bus")));
        Polkit(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare"))
    }
}

impl Drop for Polkit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn rules_decide_what_others_than_root_may_do() {
    if !tools() {
        return;
    }
    if !Path::new(PROGRAM).exists() {
        return eprintln!("skipped: polkitd is not installed");
    }
    let site = site("polkit");
    site.unit("foo.service", "[Service]\nExecStart=/bin/sleep 300 MARK\n");
    site.unit("bar.service", "[Service]\nExecStart=/bin/sleep 300 MARK\n");
    site.unit("none.target", "[Unit]\n");
    let hence = start(&site);
    let _daemon = Daemon::start(&site);
    until_served(&site);
    let foo = ["ss", "foo.service", "replace"];
    // Without polkit nobody but root changes anything.
    let denied = call(&site, NOBODY, "StopUnit", &foo).expect_err("nobody may");
    assert!(denied.contains("Permission denied") || denied.contains("Access denied"), "{denied}");
    call(&site, 0, "StopUnit", &foo).expect("root may");

    let mut polkit = Polkit::start(&site);
    until("polkit's yes", || call(&site, NOBODY, "StartUnit", &foo).ok());
    let denied = call(&site, NOBODY, "StopUnit", &foo).expect_err("the rule is for starting");
    assert!(denied.to_lowercase().contains("interactive"), "{denied}");
    let denied = call(&site, NOBODY, "StartUnit", &["ss", "bar.service", "replace"]);
    assert!(denied.expect_err("the rule is for foo").to_lowercase().contains("interactive"));
    let denied = call(&site, NOBODY, "Reload", &[]).expect_err("the rule says no");
    assert!(denied.contains("denied"), "{denied}");
    let denied = call(&site, NOBODY, "PowerOff", &[]).expect_err("root's alone");
    assert!(denied.contains("denied"), "{denied}");

    // It hangs: whoever asked waits, and nobody else does.
    let pid = polkit.0.id().to_string();
    let signal = |name: &str| Command::new("kill").args([name, &pid]).status().expect("kill");
    assert!(signal("-STOP").success());
    let address = format!("--address=unix:path={}", site.path("system_bus"));
    let line = ["busctl", &address, "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"];
    let mut waiting = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .args(line)
        .args(["org.freedesktop.systemd1.Manager", "StopUnit"])
        .args(foo)
        .stderr(Stdio::null())
        .spawn()
        .expect("setpriv");
    let begun = Instant::now();
    for _ in 0..10 {
        call(&site, NOBODY, "ListJobs", &[]).expect("everybody may look");
        call(&site, 0, "ResetFailed", &[]).expect("root may");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(waiting.try_wait().expect("its state").is_none(), "it waits for polkit");
    assert!(signal("-CONT").success());
    assert!(!waiting.wait().expect("it ends").success(), "still no");

    // The program is executed anew while polkit is asked: its answer is waited for, but not for ever.
    let asks = |method: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).args(line);
        command.args(["org.freedesktop.systemd1.Manager", method]).args(foo);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("setpriv")
    };
    for (answers, programs) in [(true, 1), (false, 2)] {
        assert!(signal("-STOP").success());
        let asked = asks("StartUnit");
        std::thread::sleep(Duration::from_millis(300));
        let address = format!("unix:path={}", site.path("system_bus"));
        let mut anew = Command::new("busctl");
        anew.args([&format!("--address={address}"), "call", "org.freedesktop.systemd1"]);
        anew.args(["/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "Reexecute"]);
        let mut anew = anew.stderr(Stdio::null()).spawn().expect("busctl");
        std::thread::sleep(Duration::from_millis(300));
        if answers {
            assert!(signal("-CONT").success());
        }
        let output = asked.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.success(), said.contains("ask again")), (answers, !answers), "{said}");
        until("the new program", || {
            let anew = |r: &&hence_ledger::Record| matches!(r.fact, hence_ledger::Fact::Reexecuted { .. });
            (site.records_so_far().iter().filter(anew).count() == programs).then_some(())
        });
        let _ = anew.wait();
        assert!(signal("-CONT").success());
        until_served(&site);
    }
    let _ = polkit.0.kill();
    drop(polkit);
    drop(hence);
}

/// A bus with nothing but our policy: the name is ours, root may all, others may look.
#[test]
fn the_bus_policy_is_enough() {
    if !tools() {
        return;
    }
    let site = site("bus-policy");
    site.unit("foo.service", "[Service]\nExecStart=/bin/sleep 300 MARK\n");
    let printed = Command::new(env!("CARGO_BIN_EXE_hence")).args(["init", "--print-bus-policy"]).output();
    let policy = String::from_utf8(printed.expect("hence runs").stdout).expect("UTF-8");
    std::fs::write(site.path("policy.conf"), &policy).expect("a file");
    // As a stock bus has it: nobody may own a name or call anything.
    let config = format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>system</type>\
         <listen>unix:path={0}</listen><auth>EXTERNAL</auth>\
         <policy context=\"default\"><allow user=\"*\"/><deny own=\"*\"/><deny send_type=\"method_call\"/>\
         <allow send_type=\"signal\"/>\
         <allow send_requested_reply=\"true\" send_type=\"method_return\"/>\
         <allow send_requested_reply=\"true\" send_type=\"error\"/>\
         <allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/>\
         <allow receive_type=\"error\"/><allow receive_type=\"signal\"/>\
         <allow send_destination=\"org.freedesktop.DBus\" send_interface=\"org.freedesktop.DBus\"/>\
         <allow send_destination=\"org.freedesktop.DBus\" \
         send_interface=\"org.freedesktop.DBus.Properties\"/></policy>\
         <include>{1}</include></busconfig>\n",
        site.path("system_bus"),
        site.path("policy.conf"),
    );
    std::fs::write(site.path("bus.conf"), config).expect("a file");
    let _hence = start(&site);
    let _daemon = Daemon::start(&site);
    until_served(&site);
    let foo = ["ss", "foo.service", "replace"];
    call(&site, 0, "RestartUnit", &foo).expect("root may");
    call(&site, NOBODY, "GetUnit", &["s", "foo.service"]).expect("everybody may look");
    let denied = call(&site, NOBODY, "StopUnit", &foo).expect_err("hence refuses");
    assert!(denied.contains("denied"), "{denied}");
    let denied = call(&site, NOBODY, "PowerOff", &[]).expect_err("the bus refuses");
    assert!(denied.to_lowercase().contains("denied"), "{denied}");
}
