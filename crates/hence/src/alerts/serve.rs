//! Serves the page of metrics by HTTP/1.1, on a port or a unix socket, from the event loop that is there. It
//! knows one page. Who asks slowly, too much, or not at all is sent away; of too many, the oldest.

use hence_host::watch::{Turn, Turns};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// Clients at once.
const PEERS: usize = 16;
/// Clients that are let in before something else is looked at.
const AT_ONCE: usize = 32;
/// The longest request, in bytes.
const REQUEST: usize = 4096;
/// How long a client may take, all in all.
const PATIENCE_US: u64 = 5_000_000;
/// A page is made at most so often.
const FRESH_US: u64 = 500_000;
/// First token of clients.
const FIRST: u64 = 16;
const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A unix socket.
    Path(PathBuf),
    /// A port.
    Port(SocketAddr),
}

/// What `--metrics` takes.
pub fn listen(text: &str) -> Result<Listen, String> {
    if text.starts_with('/') {
        return Ok(Listen::Path(PathBuf::from(text)));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(Listen::Port(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
    }
    text.parse().map(Listen::Port).map_err(|_| {
        "write it as PORT (for this machine alone), ADDRESS:PORT such as 0.0.0.0:9755, or /path/of.socket"
            .into()
    })
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Listen::Path(path) => write!(f, "{}", path.display()),
            Listen::Port(address) => write!(f, "http://{address}/metrics"),
        }
    }
}

enum Door {
    Port(TcpListener),
    Path(UnixListener, PathBuf),
}

struct Peer {
    stream: File,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
    until_us: u64,
}

/// Whoever asks, and the page.
pub struct Server {
    door: Door,
    peers: BTreeMap<u64, Peer>,
    next: u64,
    page: (u64, String),
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// The place is taken, or not for us.
    pub fn open(at: &Listen) -> io::Result<Server> {
        let door = match at {
            Listen::Port(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Door::Port(listener)
            }
            Listen::Path(path) => {
                let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
                if is_socket && UnixStream::connect(path).is_err() {
                    std::fs::remove_file(path)?;
                }
                let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o117));
                let listener = UnixListener::bind(path);
                rustix::process::umask(before);
                let listener = listener?;
                listener.set_nonblocking(true)?;
                Door::Path(listener, path.clone())
            }
        };
        Ok(Server { door, peers: BTreeMap::new(), next: FIRST, page: (0, String::new()) })
    }

    /// What is waited for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.door {
            Door::Port(listener) => listener.as_fd(),
            Door::Path(listener, _) => listener.as_fd(),
        }
    }

    /// Lets clients in.
    pub fn accept(&mut self, turns: &Turns, now_us: u64) {
        for _ in 0..AT_ONCE {
            let accepted = match &self.door {
                Door::Port(listener) => {
                    listener.accept().map(|(s, _)| (s.set_nonblocking(true), OwnedFd::from(s)))
                }
                Door::Path(listener, _) => {
                    listener.accept().map(|(s, _)| (s.set_nonblocking(true), OwnedFd::from(s)))
                }
            };
            let stream = match accepted {
                Ok((Ok(()), stream)) => File::from(stream),
                Ok(_) => continue,
                Err(e) if e.kind() == ErrorKind::Interrupted || e.kind() == ErrorKind::ConnectionAborted => {
                    continue;
                }
                Err(_) => return,
            };
            if self.peers.len() >= PEERS
                && let Some((_, oldest)) = self.peers.pop_first()
            {
                turns.remove(&oldest.stream);
            }
            let token = self.next;
            self.next += 1;
            if turns.add(&stream, token, false).is_ok() {
                let until_us = now_us + PATIENCE_US;
                let (request, answer) = (Vec::new(), Vec::new());
                self.peers.insert(token, Peer { stream, request, answer, sent: 0, until_us });
            }
        }
    }

    /// A client can be heard or told.
    pub fn turn(&mut self, turns: &Turns, turn: Turn, now_us: u64, page: impl FnOnce() -> String) {
        let Some(peer) = self.peers.get_mut(&turn.token) else { return };
        let more = !turn.readable || peer.hear();
        if peer.answer.is_empty()
            && let Some(status) = peer.judged()
        {
            if status.is_ok() && (self.page.1.is_empty() || self.page.0 + FRESH_US <= now_us) {
                self.page = (now_us, page());
            }
            peer.answer = answer(status, &self.page.1);
        }
        // Who says no more may still listen, but is not waited for.
        let keep = (peer.answer.is_empty() || peer.tell()) && more;
        if !keep {
            self.remove(turns, turn.token);
        } else if let Some(peer) = self.peers.get(&turn.token) {
            let more = peer.sent < peer.answer.len();
            if turns.add(&peer.stream, turn.token, more).is_err() {
                self.remove(turns, turn.token);
            }
        }
    }

    /// Sends those away who took too long.
    pub fn keep(&mut self, turns: &Turns, now_us: u64) {
        // They came in this order, and all have the same time.
        while let Some((&token, peer)) = self.peers.first_key_value() {
            if peer.until_us > now_us {
                return;
            }
            self.remove(turns, token);
        }
    }

    /// When somebody's time is over, on CLOCK_MONOTONIC.
    pub fn deadline_us(&self) -> Option<u64> {
        self.peers.values().next().map(|peer| peer.until_us)
    }

    fn remove(&mut self, turns: &Turns, token: u64) {
        if let Some(peer) = self.peers.remove(&token) {
            turns.remove(&peer.stream);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Door::Path(_, path) = &self.door {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Peer {
    /// Takes what came. `false`: it is over.
    fn hear(&mut self) -> bool {
        let mut buffer = [0u8; 2048];
        // Not for ever, for who sends without end.
        for _ in 0..4 {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    let room = (REQUEST + 1).saturating_sub(self.request.len());
                    self.request.extend_from_slice(&buffer[..n.min(room)]);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// What the request is worth: the page, or a status. `None`: it is not whole yet.
    fn judged(&self) -> Option<Result<bool, &'static str>> {
        let text = &self.request;
        let whole = text.windows(4).any(|w| w == b"\r\n\r\n") || text.windows(2).any(|w| w == b"\n\n");
        if !whole {
            // A line that is none of HTTP's is not waited for to end.
            let begins = [&b"GET "[..], b"HEAD "]
                .iter()
                .any(|m| m.starts_with(&text[..text.len().min(m.len())]) || text.starts_with(m));
            let method = text.iter().take(16).all(|b| b.is_ascii_uppercase() || b" /".contains(b));
            return match (text.len() > REQUEST, begins || method) {
                (true, _) => Some(Err("431 Request Header Fields Too Large")),
                (false, false) => Some(Err("400 Bad Request")),
                (false, true) => None,
            };
        }
        let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        Some(match words[..] {
            [method, path, version] if version.starts_with("HTTP/1.") => {
                let path = path.split('?').next().unwrap_or("");
                match (method, path) {
                    ("GET" | "HEAD", "/metrics" | "/") => Ok(method == "HEAD"),
                    ("GET" | "HEAD", _) => Err("404 Not Found"),
                    _ => Err("405 Method Not Allowed"),
                }
            }
            _ => Err("400 Bad Request"),
        })
    }

    /// Sends what it will take. `false`: it is over.
    fn tell(&mut self) -> bool {
        while self.sent < self.answer.len() {
            match self.stream.write(&self.answer[self.sent..]) {
                Ok(0) => return false,
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
            if self.sent >= self.answer.len() {
                // It ends when the client has read all, or its time is over: what it sends meanwhile must not
                // cut the answer short.
                let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Write);
            }
        }
        true
    }
}

fn answer(status: Result<bool, &'static str>, page: &str) -> Vec<u8> {
    let (status, kind, body, bare) = match status {
        Ok(bare) => ("200 OK", TYPE, page.to_owned(), bare),
        Err(status) => (status, "text/plain; charset=utf-8", format!("{status}; see /metrics\n"), false),
    };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    if !bare {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn serve(server: &mut Server, turns: &mut Turns, now_us: u64) {
        for turn in turns.wait(Some(Duration::from_millis(20))).expect("turns") {
            match turn.token {
                0 => server.accept(turns, now_us),
                _ => server.turn(turns, turn, now_us, || "page".repeat(100_000)),
            }
        }
        server.keep(turns, now_us);
    }

    #[test]
    fn addresses() {
        assert_eq!(listen("9755"), Ok(Listen::Port("127.0.0.1:9755".parse().expect("one"))));
        assert_eq!(listen("[::]:1"), Ok(Listen::Port("[::]:1".parse().expect("one"))));
        assert_eq!(listen("/run/x"), Ok(Listen::Path("/run/x".into())));
        for wrong in ["", "x", "localhost:1", "99999", "1.2.3.4"] {
            assert!(listen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn good_clients_are_served_among_bad_ones() {
        let mut server = Server::open(&listen("127.0.0.1:0").expect("an address")).expect("a port");
        let mut turns = Turns::new().expect("epoll");
        turns.add(server.descriptor(), 0, false).expect("registered");
        let Door::Port(listener) = &server.door else { panic!("a port") };
        let address = listener.local_addr().expect("its address");
        let connect = || std::net::TcpStream::connect(address).expect("it listens");
        // Those who say nothing, endless lines, garbage, and who doesn't read.
        let silent: Vec<_> = (0..100).map(|_| connect()).collect();
        let mut now_us = 1_000_000;
        for _ in 0..20 {
            serve(&mut server, &mut turns, now_us);
        }
        assert!(server.peers.len() <= PEERS);
        let mut endless = connect();
        let long = [b'A'; 10_000];
        endless.write_all(&long).expect("the kernel takes it");
        let mut garbage = connect();
        garbage.write_all(b"\x16\x03\x01\x00\xff\xff").expect("written");
        let mut wrong = connect();
        wrong.write_all(b"POST /metrics HTTP/1.1\r\n\r\n").expect("written");
        let mut slow = connect();
        slow.write_all(b"GET /met").expect("written");
        let mut good = connect();
        good.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("written");
        let reads = std::thread::spawn(move || {
            let mut text = String::new();
            good.read_to_string(&mut text).expect("an answer");
            text
        });
        for _ in 0..40 {
            serve(&mut server, &mut turns, now_us);
        }
        let text = reads.join().expect("it ends");
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text;"),
            "{text:.200}"
        );
        assert!(text.ends_with("page") && text.len() > 400_000);
        for (peer, status) in [(&mut endless, "431"), (&mut garbage, "400"), (&mut wrong, "405")] {
            peer.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
            let mut head = [0u8; 12];
            peer.read_exact(&mut head).expect("an answer");
            assert_eq!(String::from_utf8_lossy(&head[9..]), status);
        }
        now_us += PATIENCE_US;
        serve(&mut server, &mut turns, now_us);
        assert!(server.peers.is_empty(), "their time is over");
        drop((silent, slow));
    }

    #[test]
    fn a_socket_is_for_its_group_and_goes_with_its_server() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("hence-metrics-{}", std::process::id()));
        let at = Listen::Path(path.clone());
        let server = Server::open(&at).expect("it listens");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        assert!(Server::open(&at).is_err(), "somebody listens there");
        drop(server);
        assert!(!path.exists());
        drop(UnixListener::bind(&path).expect("a socket that nobody serves"));
        assert!(Server::open(&at).is_ok(), "one that is left over is replaced");
        std::fs::write(&path, "a file").expect("written");
        assert!(Server::open(&at).is_err() && path.exists(), "a file is not");
        std::fs::remove_file(&path).expect("removed");
    }
}
