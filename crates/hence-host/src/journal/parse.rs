//! What programs send to the journal's sockets: syslog's old format (RFC 3164) and the native protocol
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL). Nothing of it is trusted.

use super::fields::is_name;

/// Fields of a message, at most.
const FIELDS: usize = 128;

/// A message of syslog(3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Syslog<'a> {
    /// Facility times eight, and level.
    pub priority: u16,
    pub timestamp: &'a [u8],
    pub identifier: &'a [u8],
    pub pid: &'a [u8],
    pub message: &'a [u8],
}

/// Takes a message apart: `<30>Nov 22 21:12:02 name[pid]: text`, each part but the text optional.
pub(crate) fn syslog(datagram: &[u8]) -> Syslog<'_> {
    let end = datagram.iter().position(|b| *b == 0).unwrap_or(datagram.len());
    let mut rest = datagram[..end].trim_ascii_end();
    // user.notice, as syslog(3) has it.
    let mut parts = Syslog { priority: 13, ..Syslog::default() };
    if let Some((priority, after)) = number(rest) {
        (parts.priority, rest) = (priority, after);
    }
    if let Some((timestamp, after)) = rest.split_at_checked(16)
        && is_timestamp(timestamp)
    {
        (parts.timestamp, rest) = (timestamp, after);
    }
    let rest = rest.trim_ascii_start();
    parts.message = rest;
    let tag_end = rest.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(rest.len());
    if let Some(tag) = rest[..tag_end].strip_suffix(b":") {
        let message = &rest[tag_end..];
        parts.message = message.strip_prefix(b" ").unwrap_or(message);
        let bracket = tag.strip_suffix(b"]").and_then(|t| Some((t, t.iter().position(|b| *b == b'[')?)));
        (parts.identifier, parts.pid) = match bracket {
            Some((tag, at)) => (&tag[..at], &tag[at + 1..]),
            None => (tag, &[][..]),
        };
    }
    parts
}

/// `<NUMBER>` and what follows.
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let rest = text.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|b| *b == b'>')?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse::<u16>().ok()?;
    (number < 192 * 8 && end > 0).then_some((number, &rest[end + 1..]))
}

/// `Nov 22 21:12:02 `.
fn is_timestamp(text: &[u8]) -> bool {
    let months = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    months.chunks(3).any(|month| text.starts_with(month))
        && text.iter().zip(b"xxx xx xx:xx:xx ").skip(3).all(|(b, form)| match form {
            b'x' => b.is_ascii_digit() || *b == b' ',
            other => b == other,
        })
}

/// The fields of native messages, as `NAME=VALUE`: those that senders may set. One datagram may hold several
/// messages with an empty line between them.
pub(crate) fn native(datagram: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut messages, mut fields, mut rest) = (Vec::new(), Vec::new(), datagram);
    let mut total = 0;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let (line, after) = (&rest[..end], rest.get(end + 1..).unwrap_or(&[]));
        rest = after;
        if line.is_empty() {
            if !fields.is_empty() {
                messages.push(std::mem::take(&mut fields));
            }
            continue;
        }
        let field = match line.iter().position(|b| *b == b'=') {
            Some(at) => is_name(&line[..at], false).then(|| line.to_vec()),
            None => {
                // A name alone: its value comes with its length before it.
                let Some((length, after)) = rest.split_first_chunk::<8>() else { break };
                let Ok(length) = usize::try_from(u64::from_le_bytes(*length)) else { break };
                let Some((value, after)) = after.split_at_checked(length) else { break };
                rest = after.strip_prefix(b"\n").unwrap_or(after);
                is_name(line, false).then(|| [line, b"=", value].concat())
            }
        };
        if let Some(field) = field
            && fields.len() < FIELDS
            && total < 16 * FIELDS
        {
            fields.push(field);
            total += 1;
        }
    }
    if !fields.is_empty() {
        messages.push(fields);
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syslog_messages() {
        let all = syslog(b"<30>Nov  2 21:12:02 cron[12]: it runs\n\0");
        assert_eq!((all.priority, all.identifier, all.pid), (30, &b"cron"[..], &b"12"[..]));
        assert_eq!((all.message, all.timestamp), (&b"it runs"[..], &b"Nov  2 21:12:02 "[..]));
        let plain = syslog(b"just text: here");
        assert_eq!(
            (plain.priority, plain.identifier, plain.message),
            (13, &b""[..], &b"just text: here"[..])
        );
        assert_eq!(syslog(b"<x>y").message, b"<x>y");
        assert_eq!(syslog(b"<9999999>y").message, b"<9999999>y");
        assert_eq!(syslog(b"").message, b"");
        assert_eq!(syslog(b"<13>tag: ").identifier, b"tag");
    }

    #[test]
    fn native_messages() {
        let mut datagram = b"MESSAGE=one\nPRIORITY=3\n_UID=0\nlower=x\n\nMESSAGE\n".to_vec();
        datagram.extend_from_slice(&7u64.to_le_bytes());
        datagram.extend_from_slice(b"two\nmor\nCODE_LINE=1\n");
        let text = |m: &Vec<Vec<u8>>| m.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect();
        let messages: Vec<Vec<String>> = native(&datagram).iter().map(text).collect();
        assert_eq!(messages, [vec!["MESSAGE=one", "PRIORITY=3"], vec!["MESSAGE=two\nmor", "CODE_LINE=1"]]);
        let mut lies = b"MESSAGE\n".to_vec();
        lies.extend_from_slice(&u64::MAX.to_le_bytes());
        lies.extend_from_slice(b"short");
        assert!(native(&lies).is_empty());
    }

    #[test]
    fn any_bytes_are_taken() {
        const ALPHABET: &[u8] = b"\n\n=AZ_09<>[]: \0\x01\x08a";
        let mut state = 7u64;
        for length in 0..3000usize {
            let bytes: Vec<u8> = (0..length % 300)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ALPHABET[(state >> 33) as usize % ALPHABET.len()]
                })
                .collect();
            let fields: usize = native(&bytes).iter().map(Vec::len).sum();
            assert!(fields <= 16 * FIELDS);
            assert!(syslog(&bytes).message.len() <= bytes.len());
        }
    }
}
