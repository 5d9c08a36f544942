//! Just enough HTTP/1.1 for a receiver and a page of metrics: one request a connection, a body of declared
//! length, one answer. No keep-alive, no chunks (411), no TLS.
//!
//! A body is counted as it passes, never stored; sizes and time are bounded, because anyone on this machine
//! may connect.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LONGEST_HEAD: u64 = 16 * 1024;
const LONGEST_BODY: u64 = 4 * 1024 * 1024;
/// For one read or write, and for a whole request.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Body {
    pub bytes: u64,
    /// An unfinished last line counts too.
    pub lines: u64,
}

#[derive(Debug, PartialEq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: Body,
}

/// Why a request cannot be answered as it is: status and reason phrase.
pub type Refusal = (u16, &'static str);

/// Reads a request from `stream`. The outer error is the connection's, the inner one is for the client.
pub fn read(stream: &TcpStream) -> io::Result<Result<Request, Refusal>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    parse(stream, Instant::now() + PATIENCE)
}

fn parse(source: impl Read, until: Instant) -> io::Result<Result<Request, Refusal>> {
    let mut source = BufReader::new(source.take(LONGEST_HEAD));
    let mut line = String::new();
    let (mut first, mut length) = (None, None);
    loop {
        line.clear();
        match source.read_line(&mut line) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Err((400, "Bad Request"))),
            read => read?,
        };
        if !line.ends_with('\n') {
            let whole = source.get_ref().limit() == 0;
            return Ok(Err(if whole {
                (431, "Request Header Fields Too Large")
            } else {
                (400, "Bad Request")
            }));
        }
        if Instant::now() > until {
            return Ok(Err((408, "Request Timeout")));
        }
        let text = line.trim_end();
        match (&first, text.split_once(':')) {
            (None, _) => {
                let words: Vec<&str> = text.split(' ').collect();
                let [method, path, "HTTP/1.0" | "HTTP/1.1"] = words[..] else {
                    return Ok(Err((400, "Bad Request")));
                };
                first = Some((method.to_owned(), path.to_owned()));
            }
            (Some(_), _) if text.is_empty() => break,
            (Some(_), Some((name, value))) if name.eq_ignore_ascii_case("content-length") => {
                let Ok(bytes) = value.trim().parse::<u64>() else { return Ok(Err((400, "Bad Request"))) };
                length = Some(bytes);
            }
            (Some(_), Some((name, _))) if name.eq_ignore_ascii_case("transfer-encoding") => {
                return Ok(Err((411, "Length Required")));
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) => return Ok(Err((400, "Bad Request"))),
        }
    }
    let Some((method, path)) = first else { return Ok(Err((400, "Bad Request"))) };
    let length = match length {
        None if method == "POST" => return Ok(Err((411, "Length Required"))),
        Some(bytes) if bytes > LONGEST_BODY => return Ok(Err((413, "Content Too Large"))),
        length => length.unwrap_or(0),
    };
    source.get_mut().set_limit(length);
    match count(&mut source, length, until)? {
        Some(body) => Ok(Ok(Request { method, path, body })),
        None => Ok(Err((408, "Request Timeout"))),
    }
}

/// Counts `length` bytes; `None` if they come too slowly.
fn count(source: &mut impl BufRead, length: u64, until: Instant) -> io::Result<Option<Body>> {
    let (mut body, mut last) = (Body::default(), b'\n');
    while body.bytes < length {
        if Instant::now() > until {
            return Ok(None);
        }
        let piece = source.fill_buf()?;
        let wanted = usize::try_from(length - body.bytes).unwrap_or(usize::MAX);
        let piece = &piece[..piece.len().min(wanted)];
        let Some(end) = piece.last() else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the body ends early"));
        };
        last = *end;
        body.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        body.bytes += piece.len() as u64;
        let read = piece.len();
        source.consume(read);
    }
    body.lines += u64::from(last != b'\n');
    Ok(Some(body))
}

/// Sends one answer.
pub fn answer(mut stream: &TcpStream, (status, phrase): Refusal, kind: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    write!(stream, "HTTP/1.1 {status} {phrase}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n")?;
    write!(stream, "Connection: close\r\n\r\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &[u8]) -> Result<Request, Refusal> {
        parse(text, Instant::now() + PATIENCE).expect("connection")
    }

    #[test]
    fn counts_a_body() {
        let request =
            read_all(b"POST /v1/logs HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 7\r\n\r\na\nbb\nc\nmore");
        let body = Body { bytes: 7, lines: 3 };
        assert_eq!(request, Ok(Request { method: "POST".to_owned(), path: "/v1/logs".to_owned(), body }));
        let request = read_all(b"GET /metrics HTTP/1.0\n\n").expect("no body needed");
        assert_eq!(request.body, Body::default());
        // A body larger than what a head may be, and than one buffer.
        let text =
            [&b"POST / HTTP/1.1\r\nContent-Length: 40000\r\n\r\n"[..], &b"123456789\n".repeat(4000)].concat();
        assert_eq!(read_all(&text).expect("large").body, Body { bytes: 40_000, lines: 4000 });
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        for (text, status) in [
            (&b""[..], 400),
            (b"GET / HTTP/1.1\r\n", 400),
            (b"GET /\r\n\r\n", 400),
            (b"GET / HTTP/2\r\n\r\n", 400),
            (b"\xff\xfe / HTTP/1.1\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\n\r\n", 411),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
            (long.as_bytes(), 431),
        ] {
            assert_eq!(read_all(text).expect_err("refused").0, status, "{}", String::from_utf8_lossy(text));
        }
        let early = parse(&b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc"[..], Instant::now() + PATIENCE);
        assert_eq!(early.expect_err("ends early").kind(), io::ErrorKind::UnexpectedEof);
    }
}
