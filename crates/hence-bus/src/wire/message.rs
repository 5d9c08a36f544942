//! Messages: header, body and framing. It does not know who talks to whom.

use super::reader::{Reader, Wanted};
use super::writer::Writer;
use super::{Value, WireError, names};
use std::borrow::Cow;

/// Flag of a call whose sender waits for no reply.
pub const NO_REPLY_EXPECTED: u8 = 1;
/// Flag of a call whose sender has somebody who can be asked for a password.
pub const ALLOW_INTERACTIVE: u8 = 4;

const FIXED_HEADER: usize = 16;
/// Bytes that are enough for most headers.
const HEADER_ROOM: usize = 256;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A method call.
    Call,
    /// The reply to a call.
    Return,
    /// The refusal of a call.
    Error,
    /// A signal.
    Signal,
}

impl Kind {
    fn of(code: u8) -> Option<Kind> {
        match code {
            1 => Some(Kind::Call),
            2 => Some(Kind::Return),
            3 => Some(Kind::Error),
            4 => Some(Kind::Signal),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Kind::Call => 1,
            Kind::Return => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        }
    }
}

/// Header fields; an absent one is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// Object that is called, or that sends a signal.
    pub path: Option<Cow<'static, str>>,
    /// Interface of the member.
    pub interface: Option<Cow<'static, str>>,
    /// Method or signal.
    pub member: Option<Cow<'static, str>>,
    /// Name of an error.
    pub error_name: Option<Cow<'static, str>>,
    /// Serial of the call that is answered.
    pub reply_serial: Option<u32>,
    /// Bus name it is meant for.
    pub destination: Option<Cow<'static, str>>,
    /// Bus name it comes from.
    pub sender: Option<Cow<'static, str>>,
    /// How many file descriptors travel with it.
    pub fds: u32,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Flags as on the wire, see [`NO_REPLY_EXPECTED`].
    pub flags: u8,
    /// Number of the message within its connection; 0 until it is queued.
    pub serial: u32,
    /// Header fields.
    pub fields: Fields,
    /// Arguments.
    pub body: Vec<Value>,
}

/// Length of the first message of `bytes`, from its fixed header; `None` while that is incomplete.
///
/// # Errors
/// The header is malformed, or declares more than `cap` bytes.
pub fn frame_length(bytes: &[u8], cap: usize) -> Result<Option<usize>, WireError> {
    let big = match bytes.first() {
        None => return Ok(None),
        Some(b'l') => false,
        Some(b'B') => true,
        Some(_) => return Err(WireError("unknown byte order")),
    };
    let Some(header) = bytes.get(..FIXED_HEADER) else { return Ok(None) };
    if header[3] != 1 {
        return Err(WireError("unknown protocol version"));
    }
    let mut reader = Reader::new(header, 4, big, 0);
    let body = reader.uint32()? as usize;
    if reader.uint32()? == 0 {
        return Err(WireError("serial is 0"));
    }
    let fields = reader.uint32()? as usize;
    if body > cap || fields > cap {
        return Err(WireError("message too long"));
    }
    let length = (FIXED_HEADER + fields).next_multiple_of(8) + body;
    if length > cap { Err(WireError("message too long")) } else { Ok(Some(length)) }
}

/// Names that most messages of a manager carry, and that need no memory of their own.
const USUAL: [&str; 6] = [
    "PropertiesChanged",
    "org.freedesktop.DBus.Properties",
    "org.freedesktop.systemd1.Manager",
    "JobNew",
    "JobRemoved",
    "UnitRemoved",
];

fn owned(text: &str) -> Option<Cow<'static, str>> {
    Some(Cow::Owned(text.into()))
}

fn checked(
    text: &str,
    rule: fn(&str) -> bool,
    what: &'static str,
) -> Result<Option<Cow<'static, str>>, WireError> {
    if let Some(usual) = USUAL.iter().find(|usual| **usual == text) {
        return Ok(Some(Cow::Borrowed(usual)));
    }
    if rule(text) { Ok(owned(text)) } else { Err(WireError(what)) }
}

impl Message {
    /// A call without arguments.
    pub fn call(
        path: impl Into<Cow<'static, str>>,
        interface: impl Into<Cow<'static, str>>,
        member: impl Into<Cow<'static, str>>,
    ) -> Message {
        Message::to(Kind::Call, path.into(), interface.into(), member.into())
    }

    /// A signal without arguments.
    pub fn signal(
        path: impl Into<Cow<'static, str>>,
        interface: &'static str,
        member: &'static str,
    ) -> Message {
        Message::to(Kind::Signal, path.into(), interface.into(), member.into())
    }

    fn to(
        kind: Kind,
        path: Cow<'static, str>,
        interface: Cow<'static, str>,
        member: Cow<'static, str>,
    ) -> Message {
        let fields = Fields {
            path: Some(path),
            interface: Some(interface),
            member: Some(member),
            ..Fields::default()
        };
        let flags = if kind == Kind::Signal { NO_REPLY_EXPECTED } else { 0 };
        Message { kind, flags, serial: 0, fields, body: Vec::new() }
    }

    /// The reply to the call with this serial.
    pub fn reply(to: u32, body: Vec<Value>) -> Message {
        let fields = Fields { reply_serial: Some(to), ..Fields::default() };
        Message { kind: Kind::Return, flags: NO_REPLY_EXPECTED, serial: 0, fields, body }
    }

    /// The refusal of the call with this serial.
    pub fn error(to: u32, name: &'static str, text: impl Into<Cow<'static, str>>) -> Message {
        let mut message = Message::reply(to, vec![Value::Str(text.into())]);
        message.kind = Kind::Error;
        message.fields.error_name = Some(Cow::Borrowed(name));
        message
    }

    /// The same message with these arguments.
    pub fn with(mut self, body: Vec<Value>) -> Message {
        self.body = body;
        self
    }

    /// The signature of the arguments.
    pub fn signature(&self) -> String {
        let mut out = String::new();
        self.body.iter().for_each(|value| value.sign(&mut out));
        out
    }

    /// Appends the message to `out` with this serial, and returns its length.
    pub fn encode(&self, serial: u32, out: &mut Vec<u8>) -> usize {
        // Of all properties of an object the length is known.
        let entries = self.body.iter().map(|value| if let Value::Entries(v) = value { v.len() } else { 0 });
        out.reserve(HEADER_ROOM + entries.sum::<usize>());
        let mut writer = Writer::new(out);
        for byte in [b'l', self.kind.code(), self.flags, 1] {
            writer.byte(byte);
        }
        writer.uint32(0);
        writer.uint32(serial);
        writer.uint32(0);
        let fields = &self.fields;
        let texts = [
            (1, "o", &fields.path),
            (2, "s", &fields.interface),
            (3, "s", &fields.member),
            (4, "s", &fields.error_name),
            (6, "s", &fields.destination),
            (7, "s", &fields.sender),
        ];
        for (code, signature, text) in texts {
            if let Some(text) = text {
                writer.align(8);
                writer.byte(code);
                writer.signature(signature);
                writer.string(text);
            }
        }
        for (code, number) in [(5, fields.reply_serial.unwrap_or(0)), (9, fields.fds)] {
            if number != 0 {
                writer.align(8);
                writer.byte(code);
                writer.signature("u");
                writer.uint32(number);
            }
        }
        if !self.body.is_empty() {
            writer.align(8);
            writer.byte(8);
            writer.signature("g");
            writer.signature(&self.signature());
        }
        writer.patch(12, writer.length() - FIXED_HEADER);
        writer.align(8);
        let header = writer.length();
        self.body.iter().for_each(|value| writer.value(value));
        writer.patch(4, writer.length() - header);
        writer.length()
    }

    /// Length of the header of the message that `bytes` begins with, padding included; `None` while that is
    /// unknown.
    pub fn header_length(bytes: &[u8]) -> Option<usize> {
        let header = bytes.get(..FIXED_HEADER)?;
        let fields = Reader::new(header, 12, header[0] == b'B', 0).uint32().ok()? as usize;
        Some((FIXED_HEADER + fields).next_multiple_of(8))
    }

    /// Decodes the header alone of the message that `bytes` begins with; its body is empty.
    ///
    /// # Errors
    /// The bytes do not begin with a valid header.
    pub fn decode_header(bytes: &[u8]) -> Result<Message, WireError> {
        let header = bytes.get(..FIXED_HEADER).ok_or(WireError("ends within the header"))?;
        let big = header[0] == b'B';
        let (fields, _) = header_fields(bytes, big)?;
        let kind = Kind::of(header[1]).ok_or(WireError("message of no known kind"))?;
        let serial = Reader::new(header, 8, big, 0).uint32()?;
        Ok(Message { kind, flags: header[2], serial, fields, body: Vec::new() })
    }

    /// Decodes exactly one message, as cut out by [`frame_length`]. `None` for a kind of message that this
    /// version of the protocol does not know and that has to be ignored.
    ///
    /// # Errors
    /// The bytes are not a valid message.
    pub fn decode(bytes: &[u8]) -> Result<Option<Message>, WireError> {
        Message::decode_only(bytes, None)
    }

    /// The same; of dictionaries of properties it has those that are wanted.
    ///
    /// # Errors
    /// As of [`Message::decode`], for what is wanted.
    pub fn decode_only(bytes: &[u8], wanted: Option<Wanted>) -> Result<Option<Message>, WireError> {
        let Some(length) = frame_length(bytes, bytes.len())? else {
            return Err(WireError("ends within the header"));
        };
        if length != bytes.len() {
            return Err(WireError("length does not match"));
        }
        let big = bytes[0] == b'B';
        let mut reader = Reader::new(bytes, 4, big, 0);
        let body_length = reader.uint32()? as usize;
        let serial = reader.uint32()?;
        let (fields, signature) = header_fields(bytes, big)?;
        if bytes[1] == 0 {
            return Err(WireError("message of no kind"));
        }
        let Some(kind) = Kind::of(bytes[1]) else { return Ok(None) };
        require(kind, &fields)?;
        if signature.is_empty() && body_length != 0 {
            return Err(WireError("body without a signature"));
        }
        let mut reader = Reader::new(bytes, length - body_length, big, fields.fds).only(wanted);
        let body = reader.values(signature)?;
        if !reader.is_at_end() {
            return Err(WireError("body is longer than its signature"));
        }
        Ok(Some(Message { kind, flags: bytes[2], serial, fields, body }))
    }
}

/// Reads the array of header fields, and checks the padding behind it.
fn header_fields(bytes: &[u8], big: bool) -> Result<(Fields, &str), WireError> {
    let mut reader = Reader::new(bytes, 12, big, 0);
    let end = FIXED_HEADER + reader.uint32()? as usize;
    let mut fields = Fields::default();
    let mut body = "";
    let mut seen = 0u16;
    while reader.position() < end {
        reader.align(8)?;
        let code = reader.byte()?;
        let signature = reader.variant_signature()?;
        if code <= 9 {
            if seen & (1 << code) != 0 {
                return Err(WireError("header field given twice"));
            }
            seen |= 1 << code;
        }
        match (code, signature) {
            (0, _) => return Err(WireError("header field 0")),
            (1, "o") => fields.path = owned(reader.object_path()?),
            (2, "s") => {
                fields.interface = checked(reader.string()?, names::is_interface, "invalid interface")?;
            }
            (3, "s") => fields.member = checked(reader.string()?, names::is_member, "invalid member")?,
            (4, "s") => {
                fields.error_name = checked(reader.string()?, names::is_error_name, "invalid error name")?;
            }
            (5, "u") => match reader.uint32()? {
                0 => return Err(WireError("reply to serial 0")),
                serial => fields.reply_serial = Some(serial),
            },
            (6, "s") => {
                fields.destination = checked(reader.string()?, names::is_bus_name, "invalid destination")?;
            }
            (7, "s") => fields.sender = checked(reader.string()?, names::is_bus_name, "invalid sender")?,
            (8, "g") => body = reader.signature()?,
            (9, "u") => fields.fds = reader.uint32()?,
            (1..=9, _) => return Err(WireError("header field of the wrong type")),
            (_, unknown) => {
                reader.values(unknown)?;
            }
        }
    }
    if reader.position() != end {
        return Err(WireError("header ends within a field"));
    }
    reader.align(8)?;
    Ok((fields, body))
}

fn require(kind: Kind, fields: &Fields) -> Result<(), WireError> {
    let complete = match kind {
        Kind::Call => fields.path.is_some() && fields.member.is_some(),
        Kind::Signal => fields.path.is_some() && fields.member.is_some() && fields.interface.is_some(),
        Kind::Return => fields.reply_serial.is_some(),
        Kind::Error => fields.reply_serial.is_some() && fields.error_name.is_some(),
    };
    if complete { Ok(()) } else { Err(WireError("a required header field is missing")) }
}
