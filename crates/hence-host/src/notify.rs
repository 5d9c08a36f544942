//! sd_notify(3): parsing of messages. Whose message it is and what follows from it is decided elsewhere.
//!
//! Messages come from anyone: length and number of lines are bounded, and what isn't known is dropped.
//! Descriptors that are sent are closed: that completes BARRIER=1; there is no descriptor store.

use hence_engine::Notification;

/// Longest message, in bytes. A longer one is dropped.
pub const MESSAGE_BYTES: usize = 8 * 1024;
/// Lines that are looked at.
const LINES: usize = 64;
/// Longest STATUS=, in bytes.
const STATUS_BYTES: usize = 1024;

/// Parses a message.
pub fn parse(message: &[u8]) -> Notification {
    let mut parsed = Notification::default();
    for line in message.split(|&b| b == b'\n').take(LINES) {
        let Some(equals) = line.iter().position(|&b| b == b'=') else { continue };
        let (name, value) = (&line[..equals], &line[equals + 1..]);
        match (name, value) {
            (b"READY", b"1") => parsed.ready = true,
            (b"RELOADING", b"1") => parsed.reloading = true,
            (b"STOPPING", b"1") => parsed.stopping = true,
            (b"WATCHDOG", b"1") => parsed.watchdog = true,
            (b"WATCHDOG", b"trigger") => parsed.watchdog_trigger = true,
            (b"STATUS", value) => parsed.status = Some(clean(value).into()),
            (b"ERRNO", value) => parsed.errno = number(value).or(parsed.errno),
            (b"MAINPID", value) => parsed.main_pid = number(value).filter(|&p| p > 1).or(parsed.main_pid),
            (b"WATCHDOG_USEC", value) => parsed.watchdog_us = number(value).or(parsed.watchdog_us),
            (b"EXTEND_TIMEOUT_USEC", value) => {
                parsed.extend_timeout_us = number(value).or(parsed.extend_timeout_us);
            }
            _ => {}
        }
    }
    parsed
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
        let words: [&[u8]; 14] = [
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
