//! `--live`: the units of a running hence, asked on its socket.

use super::{Folder, json};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running hence, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn units_that_run_now() {
    let folder = Folder::of(
        "live",
        &[
            (
                "units/a.service",
                "[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/bin/sleep 999\n",
            ),
            ("units/b.service", "[Service]\nExecStart=/bin/sleep 999\n"),
            ("units/c.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ],
    );
    let at = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let (units, ledger, socket) = (at("units"), at("ledger"), at("socket"));
    let child = Command::new(env!("CARGO_BIN_EXE_hence"))
        .args(["run", &units, "--ledger", &ledger, "--socket", &socket, "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("hence can be started");
    let running = Running(child);
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let asked = Command::new(env!("CARGO_BIN_EXE_hence"))
            .args(["systemctl", "--socket", &socket, "is-active", "a.service"])
            .output()
            .expect("hence can be started");
        if asked.status.success() {
            break;
        }
        assert!(Instant::now() < until, "the units don't come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (answer, status) = json(&["--live", "--socket", &socket, "--stop", "b.service"]);
    assert_eq!((&answer["takes_down"], status), (&serde_json::json!(["a.service"]), 1));
    let (answer, status) =
        json(&["--live", "--socket", &socket, "--if", "b.service exits 1", "--for", "1min"]);
    assert_eq!((answer["units"]["b.service"]["final_state"].as_str(), status), (Some("failed"), 1));
    assert!(answer["units"]["c.service"].is_null(), "what is down is left alone: {answer}");
    drop(running);
}
