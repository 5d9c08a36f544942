//! What owner and recorder say to each other: short messages over a socket that keeps their boundaries.
//!
//! Both ends are the same program, yet nothing here trusts a byte that came in.
use crate::journal::LONGEST_LOGGING;
use hence_ledger::{GapReason, Invocation, RecordId, Stream, Text};
use std::sync::Arc;

/// Longest message.
pub(crate) const LONGEST: usize = 512 + LONGEST_LOGGING;
/// Most streams that one message names.
pub(crate) const CLOSED_MOST: usize = 63;
/// Longest unit name in a message; systemd's names end at 255 bytes.
const LONGEST_NAME: usize = 400;

/// To the recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToRecorder {
    /// There are records up to this position; at once, or when it suits.
    Wake { head: u64, at_once: bool },
    /// The read end of an output pipe comes with this; `logging` is an encoded [`crate::journal::Logging`].
    Output {
        token: u64,
        unit: Text,
        invocation: Invocation,
        stream: Stream,
        pid: u32,
        logging: Option<Arc<[u8]>>,
    },
    /// The invocation ended badly, as this record says: its last words are wanted.
    EndedBadly { unit: Text, invocation: Invocation, record: RecordId },
    /// A stamp of this time is to be left in this file.
    Stamp { realtime_us: u64, path: Text },
}

/// To the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToOwner {
    /// All up to this position is stored; it sleeps until it is woken.
    Asleep { tail: u64 },
    /// These output pipes are at their ends.
    Closed { tokens: Vec<u64> },
    /// It can't store for this reason.
    Stalled { reason: GapReason },
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    let mut end = name.len().min(LONGEST_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&name.as_bytes()[..end]);
}

fn u64_of(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn invocation_of(bytes: &[u8], at: usize) -> Option<Invocation> {
    Some(Invocation(bytes.get(at..at + 16)?.try_into().ok()?))
}

impl ToRecorder {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        match self {
            ToRecorder::Wake { head, at_once } => {
                out.push(1);
                out.extend_from_slice(&head.to_le_bytes());
                out.push(u8::from(*at_once));
            }
            ToRecorder::Output { token, unit, invocation, stream, pid, logging } => {
                out.push(2);
                out.extend_from_slice(&token.to_le_bytes());
                out.extend_from_slice(&invocation.0);
                out.push(stream.tag());
                out.extend_from_slice(&pid.to_le_bytes());
                let logging = logging.as_deref().unwrap_or(&[]);
                out.extend_from_slice(&(logging.len() as u16).to_le_bytes());
                out.extend_from_slice(logging);
                put_name(&mut out, unit);
            }
            ToRecorder::EndedBadly { unit, invocation, record } => {
                out.push(3);
                out.extend_from_slice(&record.0.to_le_bytes());
                out.extend_from_slice(&invocation.0);
                put_name(&mut out, unit);
            }
            ToRecorder::Stamp { realtime_us, path } => {
                out.push(4);
                out.extend_from_slice(&realtime_us.to_le_bytes());
                out.extend_from_slice(path.as_bytes());
            }
        }
        out
    }

    /// `None`: this is no message that this version knows.
    pub fn decode(bytes: &[u8]) -> Option<ToRecorder> {
        let name = |at| Some(Text::from(std::str::from_utf8(bytes.get(at..)?).ok()?));
        Some(match bytes.first()? {
            1 => ToRecorder::Wake { head: u64_of(bytes, 1)?, at_once: *bytes.get(9)? != 0 },
            2 => {
                let length = usize::from(u16::from_le_bytes(bytes.get(30..32)?.try_into().ok()?));
                let logging = bytes.get(32..32 + length)?;
                ToRecorder::Output {
                    token: u64_of(bytes, 1)?,
                    invocation: invocation_of(bytes, 9)?,
                    stream: Stream::from_tag(*bytes.get(25)?)?,
                    pid: u32::from_le_bytes(bytes.get(26..30)?.try_into().ok()?),
                    unit: name(32 + length)?,
                    logging: (length > 0).then(|| logging.into()),
                }
            }
            3 => ToRecorder::EndedBadly {
                record: RecordId(u64_of(bytes, 1)?),
                invocation: invocation_of(bytes, 9)?,
                unit: name(25)?,
            },
            4 => ToRecorder::Stamp { realtime_us: u64_of(bytes, 1)?, path: name(9)? },
            _ => return None,
        })
    }
}

impl ToOwner {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        match self {
            ToOwner::Asleep { tail } => {
                out.push(1);
                out.extend_from_slice(&tail.to_le_bytes());
            }
            ToOwner::Closed { tokens } => {
                out.push(2);
                tokens.iter().for_each(|token| out.extend_from_slice(&token.to_le_bytes()));
            }
            ToOwner::Stalled { reason } => {
                out.push(3);
                out.extend_from_slice(&u64::from(reason.tag()).to_le_bytes());
            }
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Option<ToOwner> {
        let value = u64_of(bytes, 1)?;
        Some(match bytes.first()? {
            1 => ToOwner::Asleep { tail: value },
            2 => ToOwner::Closed {
                tokens: bytes[1..].as_chunks().0.iter().map(|c| u64::from_le_bytes(*c)).collect(),
            },
            3 => ToOwner::Stalled { reason: GapReason::from_tag(u8::try_from(value).ok()?)? },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let unit = Text::from("a@b.service");
        let invocation = Invocation([7; 16]);
        for message in [
            ToRecorder::Wake { head: 1 << 40, at_once: true },
            ToRecorder::Output {
                token: 9,
                unit: unit.clone(),
                invocation,
                stream: Stream::Stderr,
                pid: 77,
                logging: Some(crate::journal::Logging::of("a", None).encode()),
            },
            ToRecorder::EndedBadly { unit, invocation, record: RecordId(5) },
            ToRecorder::Stamp { realtime_us: 1 << 50, path: "/var/lib/systemd/timers/stamp-a.timer".into() },
        ] {
            let bytes = message.encode();
            assert!(bytes.len() <= LONGEST);
            assert_eq!(ToRecorder::decode(&bytes), Some(message));
            // Cut short it is another message or none, never a panic.
            (0..bytes.len()).for_each(|n| drop(ToRecorder::decode(&bytes[..n])));
        }
        for message in [
            ToOwner::Asleep { tail: 3 },
            ToOwner::Closed { tokens: (1..=CLOSED_MOST as u64).collect() },
            ToOwner::Stalled { reason: GapReason::DiskFull },
        ] {
            let bytes = message.encode();
            assert!(bytes.len() <= LONGEST);
            assert_eq!(ToOwner::decode(&bytes), Some(message));
        }
    }
}
