//! Tells somebody else of alerts: a command, or a web server. That is done by a process of its own, this
//! program again, which ends by itself; whoever watches units waits for nothing and nobody.
//!
//! HTTPS is `--alert-command`'s and curl's.

use hence_host::watch::Turns;
use hence_ledger::{json, live::Alert};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Alerts that may wait; more are counted as not delivered.
const QUEUE: usize = 64;
/// How long a command, or a web server, may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long whoever delivers is waited for.
const GIVEN_UP_US: u64 = 45_000_000;
/// The longest alert and the longest answer that is read, in bytes.
const LONGEST: u64 = 64 << 10;
const ANSWER: usize = 4096;

/// What a command finds in its environment.
type Environment = [(&'static str, String); 3];

/// Whom to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A shell command, with the alert as JSON at its standard input.
    Command(String),
    /// A web server, which gets it by POST.
    Url(String),
}

impl Target {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Target::Command(text) => ("command", text),
            Target::Url(text) => ("url", text),
        }
    }
}

/// An `http://` address, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    host: &'a str,
    authority: &'a str,
    port: u16,
    path: &'a str,
}

/// What `--alert-url` takes.
pub fn url(text: &str) -> Result<String, String> {
    address(text).map(|_| text.to_owned())
}

fn address(text: &str) -> Result<Address<'_>, String> {
    if text.starts_with("https://") {
        return Err("hence speaks no TLS; let curl do it: --alert-command \
                    'curl -fsS -m 20 -H content-type:application/json --data-binary @- https://...'"
            .into());
    }
    let Some(rest) = text.strip_prefix("http://") else {
        return Err("write it as http://host:port/path".into());
    };
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err("there must be no spaces in it; write them as %20".into());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("hence sends no passwords; let curl do it with --alert-command".into());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, port) = inner.split_once(']').ok_or("the [ is not closed")?;
            (host, port.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => 80,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(format!("{port:?} is no port"))?,
    };
    if host.is_empty() {
        return Err("it names no host; write it as http://host:port/path".into());
    }
    let path = path.split('#').next().unwrap_or("");
    Ok(Address { host, authority, port, path })
}

/// The process that delivers now.
struct Running {
    target: usize,
    pipe: File,
    said: Vec<u8>,
    until_us: u64,
}

/// Whom alerts go to, and what waits.
pub struct Delivery {
    targets: Vec<Target>,
    /// Whether the last one went wrong, which has been said.
    failing: Vec<bool>,
    queue: VecDeque<(usize, String, Environment)>,
    running: Option<Running>,
    /// Alerts that were delivered, and that were not.
    pub delivered: u64,
    /// Alerts that were not.
    pub failed: u64,
}

impl Delivery {
    /// Nothing waits.
    pub fn new(targets: Vec<Target>) -> Delivery {
        let failing = vec![false; targets.len()];
        Delivery { targets, failing, queue: VecDeque::new(), running: None, delivered: 0, failed: 0 }
    }

    /// Whether there is anybody to tell.
    pub fn is_wanted(&self) -> bool {
        !self.targets.is_empty()
    }

    /// Tells everybody, one after the other.
    pub fn tell(&mut self, alert: &Alert, held_back: u64) {
        let text = format!("{}\n", json::alert(alert, held_back));
        for target in 0..self.targets.len() {
            if self.queue.len() >= QUEUE {
                self.failed += 1;
                continue;
            }
            let environment = [
                ("HENCE_ALERT", alert.kind.as_str().to_owned()),
                ("HENCE_UNIT", alert.unit.to_string()),
                ("HENCE_MESSAGE", alert.sentence().replace('\0', " ")),
            ];
            self.queue.push_back((target, text.clone(), environment));
        }
    }

    /// Begins with the next one, where nothing is under way.
    pub fn keep(&mut self, turns: &Turns, token: u64, now_us: u64) {
        if self.running.as_ref().is_some_and(|running| running.until_us <= now_us) {
            self.end(turns, Err("it does not end".into()));
        }
        while self.running.is_none()
            && let Some((target, text, environment)) = self.queue.pop_front()
        {
            match self.begin(target, &text, environment, now_us) {
                Ok(running) => {
                    let waited = turns.add(&running.pipe, token, false);
                    self.running = Some(running);
                    if let Err(error) = waited {
                        self.end(turns, Err(error.to_string()));
                    }
                }
                Err(error) => self.outcome(target, Err(format!("it can't be started: {error}"))),
            }
        }
    }

    fn begin(
        &self,
        target: usize,
        text: &str,
        environment: Environment,
        now_us: u64,
    ) -> std::io::Result<Running> {
        let (kind, argument) = self.targets[target].words();
        let mut command = Command::new("/proc/self/exe");
        command.arg0("hence").args(["deliver", kind, argument]).envs(environment);
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A pipe holds more than this; who doesn't read it doesn't get it.
            let flags = rustix::fs::fcntl_getfl(&stdin)? | rustix::fs::OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&stdin, flags)?;
            stdin.write_all(text.as_bytes())?;
        }
        let pipe = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let pipe = File::from(OwnedFd::from(pipe));
        rustix::fs::fcntl_setfl(&pipe, rustix::fs::fcntl_getfl(&pipe)? | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Running { target, pipe, said: Vec::new(), until_us: now_us + GIVEN_UP_US })
    }

    /// Whoever delivers said something, or has ended.
    pub fn ready(&mut self, turns: &Turns) {
        let Some(running) = &mut self.running else { return };
        let mut buffer = [0u8; 1024];
        loop {
            match running.pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let room = ANSWER.saturating_sub(running.said.len());
                    running.said.extend_from_slice(&buffer[..n.min(room)]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        let said = String::from_utf8_lossy(&running.said).trim().to_owned();
        let outcome = match said.as_str() {
            "done" => Ok(()),
            "" => Err("it ended without a word".into()),
            _ => Err(said),
        };
        self.end(turns, outcome);
    }

    fn end(&mut self, turns: &Turns, outcome: Result<(), String>) {
        let Some(running) = self.running.take() else { return };
        turns.remove(&running.pipe);
        self.outcome(running.target, outcome);
    }

    fn outcome(&mut self, target: usize, outcome: Result<(), String>) {
        let (kind, argument) = self.targets[target].words();
        let was = self.failing[target];
        self.failing[target] = outcome.is_err();
        match outcome {
            Ok(()) => self.delivered += 1,
            Err(_) if was => self.failed += 1,
            Err(what) => {
                self.failed += 1;
                let plain: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                eprintln!(
                    "hence: --alert-{kind} {argument}: {plain}; said once until it works again, the alerts \
                     are in the journal"
                );
            }
        }
    }

    /// When to look after whoever delivers, on CLOCK_MONOTONIC.
    pub fn deadline_us(&self) -> Option<u64> {
        match &self.running {
            Some(running) => Some(running.until_us),
            None => (!self.queue.is_empty()).then_some(0),
        }
    }
}

/// The process that delivers one alert, which is at its standard input: `deliver command|url WHAT`.
pub fn main(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let (kind, what) = (arguments.next(), arguments.next());
    let what = what.and_then(|what| what.into_string().ok());
    let (Some(kind), Some(what)) = (kind, what) else { return ExitCode::from(crate::exit::USAGE) };
    let mut alert = Vec::new();
    let read = std::io::stdin().take(LONGEST).read_to_end(&mut alert);
    let done = match (read, kind.to_str()) {
        (Err(error), _) => Err(format!("the alert can't be read: {error}")),
        (Ok(_), Some("command")) => run(&what, &alert, LIMIT),
        (Ok(_), Some("url")) => post(&what, &alert, LIMIT),
        _ => return ExitCode::from(crate::exit::USAGE),
    };
    match done {
        Ok(()) => println!("done"),
        Err(what) => println!("{what}"),
    }
    ExitCode::SUCCESS
}

/// Runs a shell command with this at its standard input.
fn run(command: &str, alert: &[u8], limit: Duration) -> Result<(), String> {
    let mut shell = Command::new("/bin/sh");
    // What it says goes where hence's own words go; our standard output is not for it.
    let said = std::io::stderr();
    let out = std::os::fd::AsFd::as_fd(&said).try_clone_to_owned().map_err(|e| e.to_string())?;
    shell.args(["-c", command]).stdin(Stdio::piped()).stdout(out).process_group(0);
    let mut child = shell.spawn().map_err(|e| format!("/bin/sh: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let alert = alert.to_vec();
        // Not every command reads it.
        std::thread::spawn(move || drop(stdin.write_all(&alert)));
    }
    let until = Instant::now() + limit;
    loop {
        match child.try_wait().map_err(|e| e.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{status}")),
            None if Instant::now() >= until => break,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    end(&mut child);
    Err(format!("it was ended because it took longer than {} s", limit.as_secs()))
}

/// Ends a command and what it has started.
fn end(child: &mut Child) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        let _ = kill_process_group(group, signal);
        for _ in 0..50 {
            if child.try_wait().is_ok_and(|status| status.is_some()) && signal == Signal::KILL {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Sends this to a web server.
fn post(url: &str, body: &[u8], limit: Duration) -> Result<(), String> {
    let address = address(url)?;
    let until = Instant::now() + limit;
    let mut refused = String::from("it has no address");
    let mut stream = None;
    let found = (address.host, address.port).to_socket_addrs().map_err(|e| e.to_string())?;
    for to in found.take(8) {
        match TcpStream::connect_timeout(&to, left(until)?) {
            Ok(open) => {
                stream = Some(open);
                break;
            }
            Err(error) => refused = format!("{to}: {error}"),
        }
    }
    let mut stream = stream.ok_or(refused)?;
    let path = if address.path.starts_with('/') { address.path.into() } else { format!("/{}", address.path) };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hence/{}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        address.authority,
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    let trouble = |e: std::io::Error| e.to_string();
    stream.set_write_timeout(Some(left(until)?)).map_err(trouble)?;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(trouble)?;
    let mut answer = Vec::new();
    let mut buffer = [0u8; 512];
    while answer.len() < ANSWER && !answer.contains(&b'\n') {
        stream.set_read_timeout(Some(left(until)?)).map_err(trouble)?;
        match stream.read(&mut buffer).map_err(trouble)? {
            0 => break,
            n => answer.extend_from_slice(&buffer[..n]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or("");
    let status = line.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)).unwrap_or("");
    match status.len() == 3 && status.starts_with('2') {
        true => Ok(()),
        false => Err(format!("the server answers {:?}", line.chars().take(80).collect::<String>())),
    }
}

fn left(until: Instant) -> Result<Duration, String> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(format!("it took longer than {} s", LIMIT.as_secs())) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let of = |text| address(text).map(|a| (a.host.to_owned(), a.port, a.path.to_owned()));
        assert_eq!(of("http://a/b?c#d"), Ok(("a".into(), 80, "/b?c".into())));
        assert_eq!(of("http://[::1]:9000"), Ok(("::1".into(), 9000, String::new())));
        assert!(of("https://a/").unwrap_err().contains("curl"));
        for wrong in [
            "a",
            "http://",
            "http://:8/",
            "http://a:x/",
            "http://a/ b",
            "http://a\r\nX: y/",
            "http://u:p@a/",
            "http://[::1/",
            "http://a:0/",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn commands_end_in_time() {
        assert_eq!(run("grep -q unit", b"{\"unit\": 1}", LIMIT), Ok(()));
        assert_eq!(run("exit 3", b"", LIMIT), Err("exit status: 3".into()));
        let begun = Instant::now();
        let slow = run("trap '' TERM; sleep 60 & sleep 60", b"", Duration::from_millis(100));
        assert!(slow.is_err() && begun.elapsed() < Duration::from_secs(20), "{slow:?}");
    }

    #[test]
    fn web_servers_are_told_and_not_believed() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/alerts", server.local_addr().expect("its address"));
        let answers: [&[u8]; 4] =
            [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.0 500 No\r\n\r\n", b"\xff\n", b""];
        let serves = std::thread::spawn(move || {
            answers.map(|answer| {
                let (mut peer, _) = server.accept().expect("a client");
                let (mut text, mut buffer) = (Vec::new(), [0u8; 1024]);
                while !text.ends_with(b"{}") {
                    let n = peer.read(&mut buffer).expect("a request");
                    text.extend_from_slice(&buffer[..n]);
                }
                peer.write_all(answer).expect("an answer");
                String::from_utf8(text).expect("text")
            })
        });
        let outcomes = [(); 4].map(|()| post(&url, b"{}", LIMIT).is_ok());
        assert_eq!(outcomes, [true, false, false, false]);
        let texts = serves.join().expect("the server ends");
        assert!(texts[0].starts_with("POST /alerts HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", texts[0]);
        assert!(post(&url, b"{}", LIMIT).is_err(), "nobody is there any more");
    }
}
