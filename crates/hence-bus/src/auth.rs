//! The server's side of the SASL exchange that opens a D-Bus connection: EXTERNAL only, with the identity
//! that the kernel gave. It does not look up credentials and does not send bytes.

use std::fmt;

/// Longest line of a client, in bytes, without its end.
const LINE_MAX: usize = 512;
/// Most lines that a client may send before `BEGIN`.
const LINES_MAX: u32 = 32;

/// Why the exchange cannot go on. The connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The first byte is not NUL.
    NoNul,
    /// A line is longer than 512 bytes.
    LineTooLong,
    /// More than 32 lines.
    TooManyLines,
    /// `BEGIN` without having been accepted.
    NotAccepted,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthError::NoNul => "authentication does not begin with NUL",
            AuthError::LineTooLong => "authentication line too long",
            AuthError::TooManyLines => "too many authentication lines",
            AuthError::NotAccepted => "authentication not accepted",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nul,
    Idle,
    AwaitIdentity,
    Accepted,
}

/// The exchange with one client.
#[derive(Debug)]
pub struct Auth {
    step: Step,
    uid: u32,
    admitted: bool,
    guid: [u8; 16],
    lines: u32,
}

impl Auth {
    /// An exchange with a client whose uid the kernel says is `uid`; `admitted` tells whether that uid may
    /// connect at all. `guid` names the server.
    pub fn new(uid: u32, admitted: bool, guid: [u8; 16]) -> Auth {
        Auth { step: Step::Nul, uid, admitted, guid, lines: 0 }
    }

    /// Takes what it can from the front of `input` and appends the answers to `output`. Returns the bytes it
    /// took, and whether the exchange is over: the rest of `input` is messages then.
    ///
    /// # Errors
    /// The client broke the protocol or a limit.
    pub fn advance(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(usize, bool), AuthError> {
        let mut at = 0;
        if self.step == Step::Nul {
            match input.first() {
                None => return Ok((0, false)),
                Some(0) => self.step = Step::Idle,
                Some(_) => return Err(AuthError::NoNul),
            }
            at = 1;
        }
        loop {
            let rest = &input[at..];
            let Some(end) = rest.windows(2).take(LINE_MAX + 1).position(|pair| pair == b"\r\n") else {
                return if rest.len() > LINE_MAX + 1 { Err(AuthError::LineTooLong) } else { Ok((at, false)) };
            };
            self.lines += 1;
            if self.lines > LINES_MAX {
                return Err(AuthError::TooManyLines);
            }
            at += end + 2;
            if self.line(&rest[..end], output)? {
                return Ok((at, true));
            }
        }
    }

    fn line(&mut self, line: &[u8], output: &mut Vec<u8>) -> Result<bool, AuthError> {
        let (word, argument) = match line.iter().position(|&b| b == b' ') {
            Some(space) => (&line[..space], Some(&line[space + 1..])),
            None => (line, None),
        };
        match (word, argument) {
            (b"AUTH", Some(b"EXTERNAL")) => {
                self.step = Step::AwaitIdentity;
                output.extend_from_slice(b"DATA\r\n");
            }
            (b"AUTH", Some(argument)) if argument.starts_with(b"EXTERNAL ") => {
                self.identity(&argument[b"EXTERNAL ".len()..], output);
            }
            (b"AUTH", Some(argument)) if argument.starts_with(b"ANONYMOUS") => self.reject(output),
            // A client that names no mechanism, or one we lack, is told which there are.
            (b"AUTH", _) => {
                self.step = Step::Idle;
                output.extend_from_slice(b"REJECTED EXTERNAL\r\n");
            }
            (b"DATA", argument) if self.step == Step::AwaitIdentity => {
                self.identity(argument.unwrap_or_default(), output);
            }
            (b"CANCEL" | b"ERROR", _) => self.reject(output),
            (b"NEGOTIATE_UNIX_FD", None) if self.step == Step::Accepted => {
                output.extend_from_slice(b"AGREE_UNIX_FD\r\n");
            }
            (b"BEGIN", None) if self.step == Step::Accepted => return Ok(true),
            (b"BEGIN", _) => return Err(AuthError::NotAccepted),
            _ => output.extend_from_slice(b"ERROR\r\n"),
        }
        Ok(false)
    }

    fn reject(&mut self, output: &mut Vec<u8>) {
        self.step = Step::Idle;
        output.extend_from_slice(b"REJECTED\r\n");
    }

    /// No identity means the one that the kernel gave; another one is refused.
    fn identity(&mut self, hex: &[u8], output: &mut Vec<u8>) {
        let claimed = if hex.is_empty() { Some(self.uid) } else { decimal_in_hex(hex) };
        if !self.admitted || claimed != Some(self.uid) {
            return self.reject(output);
        }
        self.step = Step::Accepted;
        output.extend_from_slice(b"OK ");
        output.extend(self.guid.iter().flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 15)]));
        output.extend_from_slice(b"\r\n");
    }
}

fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

/// A uid, written in decimal, each digit as the two hexadecimal digits of its ASCII code.
fn decimal_in_hex(hex: &[u8]) -> Option<u32> {
    let (pairs, rest) = hex.as_chunks::<2>();
    if !rest.is_empty() || pairs.is_empty() || pairs.len() > 10 {
        return None;
    }
    let uid = pairs.iter().try_fold(0u64, |uid, pair| match pair {
        [b'3', digit @ b'0'..=b'9'] => Some(uid * 10 + u64::from(digit - b'0')),
        _ => None,
    })?;
    u32::try_from(uid).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(uid: u32, admitted: bool, input: &[u8]) -> (Result<(usize, bool), AuthError>, String) {
        let mut output = Vec::new();
        let mut auth = Auth::new(uid, admitted, [0xab; 16]);
        let result = auth.advance(input, &mut output);
        (result, String::from_utf8(output).expect("answers are ASCII"))
    }

    const OK: &str = "OK abababababababababababababababab\r\n";

    #[test]
    fn systemctls_pipelined_exchange() {
        let input = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl...";
        let (result, output) = run(0, true, input);
        assert_eq!(result, Ok((input.len() - 4, true)));
        assert_eq!(output, format!("DATA\r\n{OK}AGREE_UNIX_FD\r\n"));
    }

    #[test]
    fn byte_by_byte_gives_the_same() {
        let input = b"\0AUTH EXTERNAL 31303030\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
        let (mut auth, mut output, mut pending, mut over) =
            (Auth::new(1000, true, [0xab; 16]), vec![], vec![], false);
        for &byte in input {
            assert!(!over);
            pending.push(byte);
            let (taken, done) = auth.advance(&pending, &mut output).expect("valid");
            pending.drain(..taken);
            over = done;
        }
        assert!(over && pending.is_empty());
        assert_eq!(output, format!("{OK}AGREE_UNIX_FD\r\n").as_bytes());
    }

    #[test]
    fn refuses_other_identities_mechanisms_and_strangers() {
        for (uid, admitted, line, answer) in [
            (0, true, "AUTH EXTERNAL 30", OK),
            (0, true, "AUTH EXTERNAL 31", "REJECTED\r\n"),
            (0, true, "AUTH EXTERNAL 3", "REJECTED\r\n"),
            (0, true, "AUTH EXTERNAL zz", "REJECTED\r\n"),
            (0, true, "AUTH EXTERNAL 3939393939393939393939", "REJECTED\r\n"),
            (7, false, "AUTH EXTERNAL 37", "REJECTED\r\n"),
            (0, true, "AUTH ANONYMOUS", "REJECTED\r\n"),
            (0, true, "AUTH DBUS_COOKIE_SHA1 30", "REJECTED EXTERNAL\r\n"),
            (0, true, "AUTH", "REJECTED EXTERNAL\r\n"),
            (0, true, "DATA", "ERROR\r\n"),
            (0, true, "NEGOTIATE_UNIX_FD", "ERROR\r\n"),
            (0, true, "HELP", "ERROR\r\n"),
        ] {
            let (result, output) = run(uid, admitted, format!("\0{line}\r\n").as_bytes());
            assert_eq!((result.map(|r| r.1), output.as_str()), (Ok(false), answer), "{line}");
        }
    }

    #[test]
    fn closes_on_broken_protocol_and_limits() {
        assert_eq!(run(0, true, b"AUTH EXTERNAL\r\n").0, Err(AuthError::NoNul));
        assert_eq!(run(0, true, b"\0BEGIN\r\n").0, Err(AuthError::NotAccepted));
        let rejected = b"\0AUTH EXTERNAL 30\r\nAUTH EXTERNAL 31\r\nBEGIN\r\n";
        assert_eq!(run(0, true, rejected).0, Err(AuthError::NotAccepted));
        assert_eq!(run(0, true, &[&[0][..], &[b'x'; 600]].concat()).0, Err(AuthError::LineTooLong));
        let longest = [&[0][..], &[b'x'; 512], b"\r\n"].concat();
        assert_eq!(run(0, true, &longest), (Ok((515, false)), "ERROR\r\n".into()));
        assert_eq!(run(0, true, &[&[0][..], &b"X\r\n".repeat(33)].concat()).0, Err(AuthError::TooManyLines));
    }
}
