//! One entry of the machine's journal for each alert, by the native protocol. What a full journald doesn't
//! take is not waited for. The ids are an interface, in `docs/alerts.md` and `dist/hence.catalog`: they never
//! change.

use hence_ledger::live::{Alert, AlertKind};
use hence_ledger::speech::rfc3339;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The longest value of a field, in bytes.
const VALUE: usize = 2048;

/// MESSAGE_ID= of this kind of alert.
pub const fn message_id(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::Loop => "9c973023a77f4220a86be64dc0354608",
        AlertKind::LoopOver => "cfffe6b745264147895e9265edbe924b",
        AlertKind::Leak => "1deddfe6fde44be08a3540c0cdbfc55b",
        AlertKind::LeakGrown => "7505efc41af1410993a08db05745ca37",
        AlertKind::LeakOver => "d9b33d156c34477f8662a88da6f6ba75",
    }
}

/// Where entries go.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// The units are a user's.
    user: bool,
    socket: Option<OwnedFd>,
    /// Entries that nobody took.
    pub lost: u64,
}

impl Journal {
    /// The journal whose native socket this is.
    pub fn new(path: PathBuf, user: bool) -> Journal {
        Journal { path, user, socket: None, lost: 0 }
    }

    /// Writes the entry of an alert.
    pub fn tell(&mut self, alert: &Alert) {
        let bytes = entry(alert, self.user);
        for _ in 0..2 {
            if self.socket.is_none() {
                self.socket = self.connect().ok();
            }
            let Some(socket) = &self.socket else { break };
            match rustix::net::send(socket, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => return,
                Err(rustix::io::Errno::AGAIN) => break,
                // It was started anew, perhaps.
                Err(_) => self.socket = None,
            }
        }
        self.lost += 1;
    }

    fn connect(&self) -> rustix::io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(&self.path)?)?;
        Ok(socket)
    }
}

/// The entry of an alert, as the native protocol has it.
fn entry(alert: &Alert, user: bool) -> Vec<u8> {
    let mut text = Vec::new();
    let mut put = |name: &str, value: &str| {
        let mut end = value.len().min(VALUE);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        let value = &value.as_bytes()[..end];
        text.extend_from_slice(name.as_bytes());
        // With its length, where a line's end in it could be taken for the end of the field.
        if value.contains(&b'\n') {
            text.push(b'\n');
            text.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            text.push(b'=');
        }
        text.extend_from_slice(value);
        text.push(b'\n');
    };
    put("MESSAGE", &alert.sentence());
    put("MESSAGE_ID", message_id(alert.kind));
    put("PRIORITY", &alert.priority().to_string());
    put("SYSLOG_IDENTIFIER", "hence");
    put("HENCE_ALERT", alert.kind.as_str());
    // As systemd names what a message is about: so journalctl -u and systemctl status show it.
    put(if user { "USER_UNIT" } else { "UNIT" }, &alert.unit);
    put(if user { "OBJECT_SYSTEMD_USER_UNIT" } else { "OBJECT_SYSTEMD_UNIT" }, &alert.unit);
    put("HENCE_SINCE", &rfc3339(alert.since.realtime_us));
    if let Some(root) = &alert.root {
        put("HENCE_ROOT", &root.what);
        put("HENCE_ROOT_KIND", root.kind.as_str());
        put("HENCE_ROOT_UNIT", root.unit.as_deref().unwrap_or(""));
        put("HENCE_ROOT_CERTAINTY", if root.certain { "observed" } else { "inferred" });
    }
    if let Some(rule) = alert.rule_text() {
        put("HENCE_RULE", &rule);
    }
    if alert.times > 0 {
        put("HENCE_TIMES", &alert.times.to_string());
        put("HENCE_CPU_USEC", &alert.cpu_us.to_string());
    }
    if let Some(us) = alert.period_us {
        put("HENCE_PERIOD_USEC", &us.to_string());
    }
    if alert.endless {
        put("HENCE_START_LIMIT", "never");
    }
    if !alert.followers.is_empty() {
        put("HENCE_TAKES_ALONG", &alert.followers.join(" "));
    }
    put("HENCE_LEFT_OVER_PROCESSES", &alert.processes.to_string());
    put("HENCE_LEFT_OVER_BYTES", &alert.bytes.to_string());
    for (command, _) in &alert.commands {
        put("HENCE_LEFT_OVER_COMMAND", command);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_ledger::Stamp;

    const KINDS: [AlertKind; 5] =
        [AlertKind::Loop, AlertKind::LoopOver, AlertKind::Leak, AlertKind::LeakGrown, AlertKind::LeakOver];

    #[test]
    fn the_catalog_and_the_page_have_every_id() {
        let catalog = include_str!("../../../../dist/hence.catalog");
        let page = include_str!("../../../../docs/alerts.md");
        for kind in KINDS {
            let id = message_id(kind);
            assert_eq!(id.len(), 32);
            assert!(id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{id}");
            assert!(catalog.contains(&format!("\n-- {id}\nSubject: ")), "{id} is not in the catalog");
            assert!(page.contains(id), "{id} is not on the page");
        }
    }

    /// Reads an entry of the native protocol.
    fn fields(mut text: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        while !text.is_empty() {
            let end = text.iter().position(|b| *b == b'=' || *b == b'\n').expect("a name's end");
            let name = String::from_utf8(text[..end].to_vec()).expect("a name");
            let (from, to) = match text[end] {
                b'=' => (end + 1, text.iter().position(|b| *b == b'\n').expect("a line's end")),
                _ => {
                    let length = text[end + 1..end + 9].try_into().expect("a length");
                    (end + 9, end + 9 + u64::from_le_bytes(length) as usize)
                }
            };
            found.push((name, text[from..to].to_vec()));
            assert_eq!(text[to], b'\n');
            text = &text[to + 1..];
        }
        found
    }

    #[test]
    fn a_value_cannot_end_its_field() {
        let alert = Alert {
            kind: AlertKind::Leak,
            at: Stamp::default(),
            unit: "a.service".into(),
            followers: Vec::new(),
            root: None,
            rule: None,
            times: 0,
            period_us: None,
            since: Stamp::default(),
            processes: 1,
            bytes: 0,
            commands: vec![("evil\nUNIT=forged.service".into(), 1), ("\u{e4}".repeat(3000).into(), 1)],
            cpu_us: 0,
            endless: false,
        };
        let text = entry(&alert, false);
        let fields = fields(&text);
        let units: Vec<_> = fields.iter().filter(|(name, _)| name == "UNIT").collect();
        assert_eq!(units.len(), 1);
        let commands: Vec<&[u8]> =
            fields.iter().filter(|(name, _)| name == "HENCE_LEFT_OVER_COMMAND").map(|(_, v)| &**v).collect();
        assert_eq!(commands[0], b"evil\nUNIT=forged.service");
        assert!(commands[1].len() <= VALUE && std::str::from_utf8(commands[1]).is_ok());
    }
}
