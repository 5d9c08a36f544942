//! What `journalctl --sync`, `--rotate` and `--flush` ask for: the methods of io.systemd.Journal that have a
//! meaning here, as varlink.org has them. A call is one object of JSON and a zero byte; of it, only the name
//! of the method is looked at.

/// Longest call, in bytes.
pub(crate) const LONGEST: usize = 4 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// All that was logged before is to be on the disk.
    Synchronize,
    /// Another file is to be begun.
    Rotate,
    /// The persistent folder is to be used, if it is there.
    Flush,
    /// Something else.
    Unknown,
}

/// The answer to a call that was done.
pub(crate) const DONE: &[u8] = b"{\"parameters\":{}}\0";
/// The answer to any other.
pub(crate) const UNKNOWN: &[u8] = b"{\"error\":\"org.varlink.service.MethodNotImplemented\"}\0";

/// The first call in what came, and how many bytes it took. `None`: it isn't all there.
pub(crate) fn call(bytes: &[u8]) -> Option<(Ask, usize)> {
    let end = memchr::memchr(0, bytes)?;
    let ask = match method(&bytes[..end]) {
        Some(b"io.systemd.Journal.Synchronize") => Ask::Synchronize,
        Some(b"io.systemd.Journal.Rotate") => Ask::Rotate,
        Some(b"io.systemd.Journal.FlushToVar") => Ask::Flush,
        _ => Ask::Unknown,
    };
    Some((ask, end + 1))
}

/// The string behind `"method"` and a colon.
fn method(json: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(json, b"\"method\"")?;
    let rest =
        json[at + 8..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    Some(&rest[..memchr::memchr(b'"', rest)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls() {
        let sync = b"{\"method\":\"io.systemd.Journal.Synchronize\",\"parameters\":{}}\0{\"met";
        assert_eq!(call(sync), Some((Ask::Synchronize, sync.len() - 5)));
        assert_eq!(call(&sync[sync.len() - 5..]), None);
        assert_eq!(call(b"{ \"method\" : \"io.systemd.Journal.Rotate\" }\0").unwrap().0, Ask::Rotate);
        for other in [&b"\0"[..], b"{\"method\":7}\0", b"{\"method\":\"\0", b"\"method\"\0", b"{}\0\0"] {
            assert_eq!(call(other).unwrap().0, Ask::Unknown);
        }
    }
}
