//! sd_notify(3): parsing of messages. Whose message it is and what follows from it is decided elsewhere.
//!
//! Messages come from anyone: length and number of lines are bounded, and what isn't known is dropped.

use hence_engine::{DescriptorsId, Keeping, Notification};
use hence_ledger::Text;

/// Longest message, in bytes. A longer one is dropped.
pub const MESSAGE_BYTES: usize = 8 * 1024;
/// Lines that are looked at.
const LINES: usize = 64;
/// Longest STATUS=, in bytes.
const STATUS_BYTES: usize = 1024;

/// Longest FDNAME=, in bytes; sd_pid_notify_with_fds(3).
const NAME_BYTES: usize = 255;

/// Parses a message. Which descriptors came with it is for the caller to fill in.
pub fn parse(message: &[u8]) -> Notification {
    let mut parsed = Notification::default();
    let (mut store, mut remove, mut fd_name, mut poll) = (false, false, None, true);
    for line in message.split(|&b| b == b'\n').take(LINES) {
        let Some(equals) = line.iter().position(|&b| b == b'=') else { continue };
        let (name, value) = (&line[..equals], &line[equals + 1..]);
        match (name, value) {
            (b"READY", b"1") => parsed.ready = true,
            (b"RELOADING", b"1") => parsed.reloading = true,
            (b"STOPPING", b"1") => parsed.stopping = true,
            (b"WATCHDOG", b"1") => parsed.watchdog = true,
            (b"WATCHDOG", b"trigger") => parsed.watchdog_trigger = true,
            (b"MONOTONIC_USEC", value) => parsed.monotonic_us = number(value).or(parsed.monotonic_us),
            (b"STATUS", value) => parsed.status = Some(clean(value).into()),
            (b"ERRNO", value) => parsed.errno = number(value).or(parsed.errno),
            (b"MAINPID", value) => parsed.main_pid = number(value).filter(|&p| p > 1).or(parsed.main_pid),
            (b"WATCHDOG_USEC", value) => parsed.watchdog_us = number(value).or(parsed.watchdog_us),
            (b"EXTEND_TIMEOUT_USEC", value) => {
                parsed.extend_timeout_us = number(value).or(parsed.extend_timeout_us);
            }
            (b"FDSTORE", b"1") => store = true,
            (b"FDSTOREREMOVE", b"1") => remove = true,
            (b"FDNAME", value) => fd_name = fd_name.or(Some(value)),
            (b"FDPOLL", b"0") => poll = false,
            _ => {}
        }
    }
    parsed.keeping = match fd_name.and_then(descriptor_name) {
        Some(name) if remove => Some(Keeping::Drop(name)),
        _ if remove || !store => None,
        name => Some(Keeping::Keep { descriptors: DescriptorsId(0), name, poll }),
    };
    parsed
}

/// FDNAME=, where it can be one of LISTEN_FDNAMES=.
fn descriptor_name(value: &[u8]) -> Option<Text> {
    let valid = value.len() <= NAME_BYTES && value.iter().all(|&b| matches!(b, b' '..=b'~') && b != b':');
    std::str::from_utf8(value).ok().filter(|_| valid).map(Text::from)
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Text that may be shown: cut, valid UTF-8, without control characters.
fn clean(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(STATUS_BYTES)]);
    let mut clean = String::with_capacity(text.len());
    for c in text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }) {
        if clean.len() + c.len_utf8() > STATUS_BYTES {
            break;
        }
        clean.push(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message() {
        let m = parse(
            b"READY=1\nSTATUS=all\x1bgood\nMAINPID=42\nWATCHDOG_USEC=5\nX=y\nERRNO=2\nWATCHDOG=trigger",
        );
        assert!(m.ready && m.watchdog_trigger && !m.watchdog && !m.stopping);
        assert_eq!(m.status.as_deref(), Some("all\u{fffd}good"));
        assert_eq!((m.main_pid, m.watchdog_us, m.errno), (Some(42), Some(5), Some(2)));
        assert_eq!(parse(b"MAINPID=1\nMAINPID=x\nMAINPID=-4").main_pid, None);
        assert_eq!(parse(b"READY=1x"), Notification::default());
    }

    #[test]
    fn what_is_to_be_kept() {
        let keep = |name: Option<&str>, poll| {
            Some(Keeping::Keep { descriptors: DescriptorsId(0), name: name.map(Text::from), poll })
        };
        let of = |message: &[u8]| parse(message).keeping;
        assert_eq!(of(b"FDSTORE=1"), keep(None, true));
        assert_eq!(of(b"FDNAME=a b\nFDSTORE=1\nFDPOLL=0\nFDNAME=c"), keep(Some("a b"), false));
        assert_eq!(of(b"FDSTORE=1\nFDNAME="), keep(Some(""), true));
        for bad in [&b"a:b"[..], b"a\tb", "\u{e9}".as_bytes(), &[b'x'; 256]] {
            assert_eq!(of(&[b"FDSTORE=1\nFDNAME=", bad].concat()), keep(None, true));
            assert_eq!(of(&[b"FDSTOREREMOVE=1\nFDNAME=", bad].concat()), None);
        }
        assert_eq!(of(b"FDSTORE=1\nFDSTOREREMOVE=1\nFDNAME=x"), Some(Keeping::Drop("x".into())));
        assert_eq!(of(b"FDSTOREREMOVE=1\nFDSTORE=1"), None);
        assert_eq!(of(b"FDSTORE=0\nFDNAME=x"), None);
    }

    #[test]
    fn lines_are_bounded() {
        let mut long = b"A=1\n".repeat(LINES);
        long.extend_from_slice(b"READY=1");
        assert!(!parse(&long).ready);
    }

    /// The numbers of the rounds: at least so many, and on while HENCE_FUZZ_SECONDS last.
    fn rounds(least: u64) -> impl Iterator<Item = u64> {
        let seconds = std::env::var("HENCE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
        let (begun, most) = (std::time::Instant::now(), std::time::Duration::from_secs(seconds));
        (0..).take_while(move |round| *round < least || begun.elapsed() < most)
    }

    #[test]
    fn any_bytes_are_survived() {
        let words: [&[u8]; 17] = [
            b"FDSTORE=1",
            b"FDSTOREREMOVE=1",
            b"FDNAME=",
            b"READY=",
            b"1",
            b"\n",
            b"STATUS=",
            b"\xff",
            b"\xc3",
            b"=",
            b"MAINPID=",
            b"99999999999999999999",
            b"ERRNO=-",
            b"\0",
            b"\x1b[2J",
            b"WATCHDOG_USEC=",
            "é".as_bytes(),
        ];
        let mut state = 1u64;
        for _ in rounds(20_000) {
            let mut message = Vec::new();
            while message.len() < 2000 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let word = words[(state >> 33) as usize % words.len()];
                message.extend_from_slice(word);
                if (state >> 20).is_multiple_of(64) {
                    break;
                }
            }
            let parsed = parse(&message);
            if let Some(status) = parsed.status {
                assert!(status.len() <= STATUS_BYTES && !status.chars().any(char::is_control));
            }
            assert!(parsed.main_pid.is_none_or(|p| p > 1));
        }
    }
}
