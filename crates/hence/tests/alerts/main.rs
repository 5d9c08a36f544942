//! Alerts and metrics of a real run: units that loop and leave processes behind, a command and a web server
//! that are told, and whoever asks for metrics. Any user can run it. `watch.py` beside this file does the
//! same under a real systemd with its journal, where root and systemd are.

#[path = "../shared/roots.rs"]
mod roots;

use roots::cgroup_roots;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const HENCE: &str = env!("CARGO_BIN_EXE_hence");
const COLLECTOR: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\n\
                         ExecStart=/bin/sh -c 'sleep 0.3; exit 1'\n\
                         Restart=always\nRestartSec=0.2\n";
const FOO: &str = "[Unit]\nRequires=collector.service\nStartLimitIntervalSec=0\n[Service]\n\
                   ExecStart=/bin/sh -c 'sleep 77.25 & exec sleep 60'\nRestart=always\nKillMode=process\n\
                   RestartSec=0.2\n";
const MEANT: &str = "[Service]\nType=oneshot\nRemainAfterExit=no\nKillMode=process\n\
                     ExecStart=/bin/sh -c 'sleep 78.25 & exit 0'\n";

/// What units leave behind is ended by its name: one world at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A folder that is gone afterwards, with what runs in it.
struct World {
    folder: PathBuf,
    hence: Child,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    fn new(name: &str, options: &[&str]) -> World {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = std::env::temp_dir().join(format!("hence-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let units = folder.join("units");
        fs::create_dir_all(&units).expect("a folder");
        for (name, text) in [("collector", COLLECTOR), ("foo", FOO), ("meant", MEANT)] {
            fs::write(units.join(format!("{name}.service")), text).expect("a unit");
        }
        fs::write(folder.join("meant.conf"), "meant.service sleep it sleeps on\nbad line\n").expect("rules");
        let at = |name: &str| folder.join(name).display().to_string();
        let hence = Command::new(HENCE)
            .args(["run", "--stay", "--quiet", "--alert-after", "1s", "--metrics", &at("socket")])
            .args(["--left-behind-allowed", &at("meant.conf"), "--ledger", &at("ledger")])
            .args(["--socket", &at("private")])
            .args(options)
            .arg(&units)
            .env("OUT", at("alerts"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("out")).expect("a file"))
            .stderr(fs::File::create(folder.join("err")).expect("a file"))
            .spawn()
            .expect("hence runs");
        World { folder, hence, _alone: alone }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// The alerts that the command was told of.
    fn alerts(&self) -> Vec<serde_json::Value> {
        let text = self.text("alerts");
        let values = serde_json::Deserializer::from_str(&text).into_iter();
        // The last may be half written.
        values.map_while(Result::ok).collect()
    }

    fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < until, "{what}\n{}\n{}", self.text("err"), self.text("alerts"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn metrics(&self) -> String {
        let mut stream = UnixStream::connect(self.folder.join("socket")).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: hence\r\n\r\n").expect("written");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        body.to_owned()
    }

    fn leaks(&self, options: &[&str]) -> (i32, String) {
        let rules = self.folder.join("meant.conf");
        let done = Command::new(HENCE)
            .args(["leaks", "--check", "--ledger"])
            .arg(self.folder.join("ledger"))
            .arg("--left-behind-allowed")
            .arg(rules)
            .args(options)
            .output()
            .expect("it runs");
        (done.status.code().unwrap_or(-1), String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.hence);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.hence.wait();
        for left in ["sleep 77.25", "sleep 78.25"] {
            end_those_called(left);
        }
        cgroup_roots(self.hence.id()).iter().for_each(|root| hence_host::sweep(root));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What the units left behind outlives them, as it is meant to here.
fn end_those_called(command: &str) {
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).replace('\0', " ");
        if words.trim() == command
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn value(page: &str, series: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

#[test]
fn somebody_is_told_once_of_each() {
    let world = World::new("alerts", &["--alert-command", "cat >> $OUT"]);
    let of = |kind: &str| world.alerts().into_iter().filter(|a| a["alert"] == kind).collect::<Vec<_>>();
    let found = world.until("a loop is told", || of("loop").pop());
    assert_eq!(found["unit"], "collector.service", "{found}");
    assert_eq!(found["root"]["kind"], "exit");
    assert_eq!(found["root"]["unit"], "collector.service");
    assert_eq!(found["root"]["certainty"], "observed");
    assert!(found["root"]["what"].as_str().is_some_and(|what| what.contains("exited with status 1")));
    assert!(found["times"].as_u64().is_some_and(|times| times >= 4), "{found}");
    let leak = world.until("a leak is told", || of("leak").pop());
    assert_eq!(leak["unit"], "foo.service");
    assert_eq!(leak["commands"][0]["command"], "sleep 77.25");
    assert!(leak["rule"].as_str().is_some_and(|rule| rule.starts_with("KillMode=process (")), "{leak}");
    let page = world.until("it went around more often", || {
        let page = world.metrics();
        let restarts = r#"hence_unit_restarts_total{unit="collector.service",cause="exit"}"#;
        (value(&page, restarts) >= 12).then_some(page)
    });
    assert!(page.ends_with("# EOF\n"));
    assert!(value(&page, "hence_loops") >= 1, "{page}");
    assert!(value(&page, r#"hence_left_over_processes{unit="foo.service",allowed="no"}"#) >= 5, "{page}");
    let meant = r#"hence_left_over_processes{unit="meant.service",allowed="yes"}"#;
    assert_eq!(value(&page, meant), 1, "{page}");
    assert_eq!(value(&page, "hence_unattributed_stops_total"), 0);
    assert!(value(&page, "hence_ledger_size_bytes") > 0);
    // A dozen turns, and not one more word about it.
    assert_eq!((of("loop").len(), of("leak").len()), (1, 1), "{}", world.text("alerts"));
    assert!(world.text("err").contains("meant.conf:2: "), "{}", world.text("err"));
    let (status, text) = world.leaks(&[]);
    let intended = text.split("Intended:").nth(1).unwrap_or_default();
    assert_eq!(status, 3, "{text}");
    assert!(intended.contains("sleep 78.25") && !intended.contains("sleep 77.25"), "{text}");
    assert!(intended.contains("it sleeps on"), "{text}");
    let (_, text) = world.leaks(&["--json"]);
    let leaks: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    assert!(leaks.iter().all(|leak| leak["allowed"] == (leak["unit"] == "meant.service")), "{text}");
}

#[test]
fn a_web_server_is_told_and_a_failing_command_is_said_once() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", server.local_addr().expect("its address"));
    let options = ["--alert-url", &url, "--alert-command", "echo no >&2; exit 7"];
    let world = World::new("webhook", &options);
    let mut heard = Vec::new();
    server.set_nonblocking(true).expect("set");
    while heard.len() < 2 {
        let mut peer = world.until("the server is told", || server.accept().ok()).0;
        peer.set_nonblocking(false).expect("set");
        peer.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let (mut text, mut buffer) = (Vec::new(), [0u8; 4096]);
        let body = loop {
            let n = peer.read(&mut buffer).expect("a request");
            text.extend_from_slice(&buffer[..n]);
            let whole = String::from_utf8_lossy(&text).into_owned();
            if let Some((head, body)) = whole.split_once("\r\n\r\n") {
                assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
                if let Ok(alert) = serde_json::from_str::<serde_json::Value>(body) {
                    break alert;
                }
            }
        };
        peer.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("an answer");
        heard.push(body["alert"].as_str().unwrap_or_default().to_owned());
    }
    heard.sort();
    assert_eq!(heard, ["leak", "loop"]);
    world.until("both are counted", || {
        let page = world.metrics();
        let counted = value(&page, "hence_alerts_delivered_total") == 2
            && value(&page, "hence_alerts_failed_total") == 2;
        counted.then_some(())
    });
    assert_eq!(world.text("err").matches("exit status: 7").count(), 1, "{}", world.text("err"));
}

#[test]
fn what_cannot_be_done_is_said_before_anything_runs() {
    for (option, value, says) in [
        ("--alert-url", "https://example.net/", "curl"),
        ("--metrics", "somewhere", "ADDRESS:PORT"),
        ("--metrics", "/no/such/folder/socket", "No such file"),
        ("--left-behind-allowed", "/no/such/file", "No such file"),
        ("--alert-after", "soon", "30s"),
    ] {
        let folder = std::env::temp_dir().join(format!("hence-refused-{}", std::process::id()));
        fs::create_dir_all(folder.join("units")).expect("a folder");
        fs::write(folder.join("units/a.service"), "[Service]\nExecStart=/bin/true\n").expect("a unit");
        let done = Command::new(HENCE)
            .args(["run", option, value, "--ledger"])
            .arg(folder.join("ledger"))
            .arg(folder.join("units"))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{option} {value}: {said}");
        assert!(said.contains(says), "{option} {value}: {said}");
        let _ = fs::remove_dir_all(&folder);
    }
}

#[test]
fn the_journal_of_a_real_systemd_has_it() {
    if !rustix::process::geteuid().is_root() || !Path::new("/lib/systemd/systemd-journald").exists() {
        println!("skipped: only root can boot a systemd, and there has to be one");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts/watch.py");
    let done = Command::new("python3").arg(script).args(["--hence", HENCE]).output().expect("python3 runs");
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    println!("{said}");
    match done.status.code() {
        Some(77) => println!("skipped: {said}"),
        status => assert_eq!(status, Some(0), "{said}"),
    }
}
