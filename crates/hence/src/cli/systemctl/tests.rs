//! The verbs against a real engine behind a real socket; the processes are imagined.

use super::*;
use crate::front_link::tests::world::Server;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Exit status, and what was printed or why it failed.
fn run_on(server: &Server, line: &[&str]) -> (u8, String) {
    let socket = server.folder().join("systemd/private");
    let before = ["systemctl", "--socket", socket.to_str().expect("UTF-8")];
    let args = Line::try_parse_from(before.iter().chain(line)).expect("a valid line").args;
    let mut out = Vec::new();
    match run(&args, &mut out) {
        Ok(status) => (status, String::from_utf8(out).expect("UTF-8")),
        Err(Failed(status, text)) => (status, text),
    }
}

#[test]
fn verbs_and_their_exit_statuses() {
    let server = Server::start("verbs");
    let is = |line: &[&str], status: u8, text: &str| {
        let outcome = run_on(&server, line);
        assert!(outcome.0 == status && outcome.1.contains(text), "{line:?}: {outcome:?}");
    };
    is(&["is-active", "foo"], 3, "inactive\n");
    is(&["start", "foo", "bar"], 0, "");
    is(&["is-active", "foo", "broken.service"], 0, "active\ninactive\n");
    is(&["is-active", "-q", "foo"], 0, "");
    is(&["show", "-p", "ActiveState,SubState", "foo"], 0, "ActiveState=active\nSubState=running\n");
    is(&["show", "--value", "-p", "RestartUSec", "foo"], 0, "100ms\n");
    is(&["show", "-p", "ExecStart", "foo"], 0, "argv[]=/usr/bin/food --port 80 ; ignore_errors=yes ; start");
    is(&["show", "-p", "Version"], 0, "Version=252 (hence ");
    is(&["status", "foo"], 0, "● foo.service - Serves foo\n     Loaded: loaded (/u/foo.service; static");
    is(&["status", "foo"], 0, "     Active: active (running) since Tue 2023-11-14 22:13:20 UTC; ");
    is(&["status", "foo"], 0, "Main PID: 1000002");
    is(&["list-units", "-t", "service"], 0, "foo.service loaded active running Serves foo\n\nLOAD ");
    is(&["list-units", "--all", "--no-legend", "b*.service"], 0, "  bar.service    loaded active");
    is(&["restart", "foo"], 0, "");
    is(&["try-restart", "broken"], 0, "");
    is(&["reload", "foo"], 3, "");
    is(&["kill", "-s", "HUP", "--kill-whom", "main", "foo"], 0, "");
    is(&["stop", "foo", "bar"], 0, "");
    is(&["is-active", "foo"], 3, "inactive\n");
    is(&["start", "broken"], 1, "");
    is(&["is-failed", "broken"], 0, "failed\n");
    is(&["status", "broken"], 3, "Active: failed (Result: exit-code) since ");
    is(&["status", "broken"], 3, "(code=exited, status=7/NOTRUNNING)");
    is(&["reset-failed"], 0, "");
    is(&["is-failed", "broken"], 1, "inactive\n");
    is(&["start", "never-heard-of"], 5, "");
    is(&["status", "never-heard-of"], 4, "");
    is(&["start", "--no-block", "slow"], 0, "");
    is(&["list-jobs"], 0, "slow.service start running\n\n1 jobs listed.");
    is(&["cancel"], 0, "");
    is(&["list-jobs"], 0, "No jobs running.");
    is(&["start", "--job-mode", "never", "foo"], 1, "");
    is(&["daemon-reload"], 0, "");
    is(&["kill", "-s", "NONSENSE", "foo"], 1, "Failed to parse signal string \"NONSENSE\".");
    is(&["start"], 1, "Too few arguments.");
    is(&["start", "a/b"], 1, "Invalid unit name");
    is(&["frobnicate", "foo"], 1, "Unknown command verb frobnicate");
}

#[test]
fn nobody_there() {
    let args = ["systemctl", "--socket", "/nonexistent/private", "is-active", "foo"];
    let args = Line::try_parse_from(args).expect("a valid line").args;
    let Err(Failed(status, text)) = run(&args, &mut Vec::new()) else { panic!("nobody listens there") };
    assert_eq!(status, 1);
    assert!(text.contains("/nonexistent/private"), "{text}");
}
