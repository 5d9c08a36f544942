//! The codec against known bytes, against itself, and against malformed input.

use super::writer::Writer;
use super::*;

fn all_types() -> Vec<Value> {
    vec![
        Value::Byte(7),
        Value::Bool(true),
        Value::Int16(-2),
        Value::Uint16(65_535),
        Value::Int32(-3),
        Value::Uint32(1 << 31),
        Value::Int64(i64::MIN),
        Value::Uint64(u64::MAX),
        Value::Double(0.25),
        Value::from("grüße"),
        Value::path("/org/a_2e"),
        Value::Signature("a{sv}".into()),
        Value::Fd(1),
        Value::Bytes(vec![0, 1, 255]),
        Value::strings(["", "b"]),
        Value::array("(sv)", Vec::new()),
        Value::array("{sv}", vec![Value::property("A", Value::Uint64(1)), Value::property("B", true.into())]),
        Value::array("ay", vec![Value::Bytes(vec![]), Value::Bytes(vec![9])]),
        Value::Struct(vec![Value::Byte(1), Value::Struct(vec![Value::from("x"), Value::Byte(2)])]),
        Value::variant(Value::variant(Value::strings(["deep"]))),
    ]
}

fn message() -> Message {
    let mut message = Message::call("/a/b", "a.b.C", "Do").with(all_types());
    message.fields.destination = Some("org.x-y.Z".into());
    message.fields.sender = Some(":1.7".into());
    message.fields.fds = 2;
    message
}

#[test]
fn what_is_written_reads_the_same() {
    for start in [0, 1, 8] {
        let mut out = vec![0xee; start];
        let length = message().encode(9, &mut out);
        let frame = &out[start..];
        assert_eq!(length, frame.len());
        assert_eq!(frame_length(frame, MESSAGE_MAX), Ok(Some(length)));
        let decoded = Message::decode(frame).expect("valid").expect("a known kind");
        assert_eq!(decoded, Message { serial: 9, ..message() });
        assert_eq!(decoded.signature(), "ybnqiuxtdsoghayasa(sv)a{sv}aay(y(sy))v");
    }
    for other in [
        Message::reply(3, vec![]),
        Message::error(4, "a.b", "text"),
        Message::signal("/", "a.b", "C").with(vec![Value::Byte(1)]),
    ] {
        let mut out = Vec::new();
        other.encode(1, &mut out);
        assert_eq!(Message::decode(&out), Ok(Some(Message { serial: 1, ..other })));
    }
}

#[test]
fn known_bytes_of_both_byte_orders() {
    // A call of M on /a with 258, put together by hand from the specification.
    let little = b"l\x01\x00\x01\x04\x00\x00\x00\x01\x00\x00\x00'\x00\x00\x00\
        \x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00\
        \x03\x01s\x00\x01\x00\x00\x00M\x00\x00\x00\x00\x00\x00\x00\
        \x08\x01g\x00\x01u\x00\x00\x02\x01\x00\x00";
    let big = b"B\x01\x00\x01\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00'\
        \x01\x01o\x00\x00\x00\x00\x02/a\x00\x00\x00\x00\x00\x00\
        \x03\x01s\x00\x00\x00\x00\x01M\x00\x00\x00\x00\x00\x00\x00\
        \x08\x01g\x00\x01u\x00\x00\x00\x00\x01\x02";
    let mut expected = Message::call("/a", "a.b", "M").with(vec![Value::Uint32(258)]);
    expected.fields.interface = None;
    expected.serial = 1;
    assert_eq!(Message::decode(little), Ok(Some(expected.clone())));
    assert_eq!(Message::decode(big), Ok(Some(expected.clone())));
    let mut out = Vec::new();
    expected.encode(1, &mut out);
    assert_eq!(out, little);
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let mut out = Vec::new();
    message().encode(9, &mut out);
    for length in 0..out.len() {
        assert!(Message::decode(&out[..length]).is_err(), "{length}");
    }
    out.push(0);
    assert!(Message::decode(&out).is_err());
}

/// A message whose body is these bytes, taken as one value of this signature.
fn body(signature: &str, bytes: &[u8]) -> Result<Option<Message>, WireError> {
    let placeholder = Message::signal("/", "a.b", "C").with(vec![Value::Signature("".into())]);
    let mut header = Vec::new();
    placeholder.encode(1, &mut header);
    // The signature field is the header's last, so it can be replaced together with the body.
    let at = header.windows(6).position(|w| w == b"\x08\x01g\0\x01g").expect("signature field");
    header.truncate(at);
    let mut writer = Writer::new(&mut header);
    writer.byte(8);
    writer.signature("g");
    writer.signature(signature);
    let fields = u32::try_from(header.len() - 16).expect("short");
    header[12..16].copy_from_slice(&fields.to_le_bytes());
    header.resize(header.len().next_multiple_of(8), 0);
    header[4..8].copy_from_slice(&u32::try_from(bytes.len()).expect("short").to_le_bytes());
    header.extend_from_slice(bytes);
    Message::decode(&header)
}

#[test]
fn strict_about_values() {
    assert!(body("s", b"\x01\0\0\0x\0").is_ok());
    for (signature, bytes, error) in [
        ("b", &b"\x02\0\0\0"[..], "boolean is neither 0 nor 1"),
        ("s", b"\x01\0\0\0x\x01", "text does not end in NUL"),
        ("s", b"\x02\0\0\0x\0\0", "NUL within text"),
        ("s", b"\x01\0\0\0\xff\0", "text is not UTF-8"),
        ("s", b"\xff\xff\xff\xff", "ends within a value"),
        ("o", b"\x02\0\0\0a/\0", "invalid object path"),
        ("yu", b"\x01\0\x01\0\x02\0\0\0", "padding is not zero"),
        ("h", b"\0\0\0\0", "no such file descriptor"),
        ("v", b"\x02ss\0\0\0\0\0", "a variant holds exactly one complete type"),
        ("g", b"\x01z\0", "unknown type code"),
        ("as", b"\x08\0\0\0\x01\0\0\0x\0", "array is longer than its message"),
        ("aq", b"\x03\0\0\0\x01\0\x02\0", "array ends within an element"),
        ("as", b"\xff\xff\xff\x7f", "array too long"),
        ("y", b"\x01\x02", "body is longer than its signature"),
        ("z", b"\x01", "unknown type code"),
        ("{sv}", b"\x01", "unknown type code"),
    ] {
        assert_eq!(body(signature, bytes), Err(WireError(error)), "{signature} {bytes:?}");
    }
}

#[test]
fn variants_do_not_recurse_without_end() {
    let nested = b"\x01v\0".repeat(60_000);
    assert_eq!(body("v", &nested), Err(WireError("values nested too deep")));
    let mut value = Value::Byte(1);
    for _ in 0..60 {
        value = Value::variant(value);
    }
    let mut out = Vec::new();
    Message::signal("/", "a.b", "C").with(vec![value]).encode(1, &mut out);
    assert!(Message::decode(&out).is_ok());
}

#[test]
fn unknown_kinds_are_ignored_and_unknown_fields_skipped() {
    let mut out = Vec::new();
    Message::reply(1, vec![]).encode(1, &mut out);
    out[1] = 9;
    assert_eq!(Message::decode(&out), Ok(None));
    out[1] = 0;
    assert_eq!(Message::decode(&out), Err(WireError("message of no kind")));
    out[1] = 2;
    let field = out.iter().skip(16).position(|&b| b == 5).expect("reply serial") + 16;
    out[field] = 200;
    assert_eq!(Message::decode(&out), Err(WireError("a required header field is missing")));
}

#[test]
fn names() {
    for (good, bad) in [("/a/b_1", "/a/"), ("/", ""), ("/a", "a"), ("/a", "//a"), ("/a", "/a-b")] {
        assert!(is_object_path(good) && !is_object_path(bad), "{good} {bad}");
    }
    for bad in ["a", "a.", ".a", "a..b", "a.1b", "a.b-c"] {
        assert!(is_interface("a.b_1") && !is_interface(bad), "{bad}");
    }
    assert!(is_member("Get_1") && !is_member("1Get") && !is_member("") && !is_member("a.b"));
    assert!(is_error_name("a.b") && !is_error_name("a"));
    assert!(names::is_bus_name(":1.7") && names::is_bus_name("a-b.c") && !names::is_bus_name("a.1"));
}
