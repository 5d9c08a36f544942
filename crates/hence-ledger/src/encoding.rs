//! The stable bytes of a record. Frames, checksums and files are the host's.
//!
//! A record is: id, both clocks, a byte of flags, the unit and invocation where the flags say so, the
//! causes (ids as signed distance to the record's own), the fact's tag, and the fact's fields up to the
//! end. Numbers are LEB128 varints, signed ones zigzag; text and lists are preceded by their length.
//!
//! Compatibility: a tag, a word's number and the order of fields never change. A fact may grow at its end:
//! older readers ignore what follows the fields they know, newer ones must accept its absence. A fact with
//! an unknown tag or word decodes to [`Fact::Newer`], which keeps its bytes.

use crate::record::*;
use crate::word::*;
use alloc::{string::String, vec::Vec};
use hence_unit::{DependencyKind, JobMode, Text};

/// Version of the format as a whole; rises only when older readers could not go on.
pub const FORMAT_VERSION: u16 = 1;

const HAS_UNIT: u8 = 1;
const HAS_INVOCATION: u8 = 2;
const INFERRED: u8 = 4;

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They end too early.
    Truncated,
    /// A number doesn't fit its type.
    Overflow,
    /// Text is not UTF-8.
    NotUtf8,
    /// A flag or choice has no meaning in this version.
    BadFlag(u8),
    /// A word has a number that this version doesn't know.
    NewerWord(u8),
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            DecodeError::Truncated => f.write_str("the record ends too early"),
            DecodeError::Overflow => f.write_str("a number in the record is too large"),
            DecodeError::NotUtf8 => f.write_str("text in the record is not UTF-8"),
            DecodeError::BadFlag(b) => write!(f, "the record has an unknown flag 0x{b:02x}"),
            DecodeError::NewerWord(n) => {
                write!(f, "the record has a word that only a newer hence knows ({n})")
            }
        }
    }
}

impl core::error::Error for DecodeError {}

/// Appends the bytes of a record to `out`. Allocates nothing but room in `out`.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    record.id.0.put(out);
    record.at.put(out);
    let flags = if record.unit.is_some() { HAS_UNIT } else { 0 }
        | if record.invocation.is_some() { HAS_INVOCATION } else { 0 }
        | if record.certainty == Certainty::Inferred { INFERRED } else { 0 };
    out.push(flags);
    if let Some(unit) = &record.unit {
        unit.put(out);
    }
    if let Some(invocation) = &record.invocation {
        invocation.put(out);
    }
    (record.causes.len() as u64).put(out);
    for cause in &record.causes {
        (record.id.0.wrapping_sub(cause.record.0) as i64).put(out);
        cause.rule.put(out);
    }
    encode_fact(&record.fact, out);
}

/// The record that these bytes are, all of them.
///
/// Allocates at most a small multiple of `bytes.len()`, whatever the bytes claim.
///
/// # Errors
/// Where they are cut short or damaged. What a newer version wrote is no error, see [`Fact::Newer`].
pub fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let mut input = Input { rest: bytes };
    let id = u64::take(&mut input)?;
    let at = Stamp::take(&mut input)?;
    let flags = input.byte()?;
    if flags & !(HAS_UNIT | HAS_INVOCATION | INFERRED) != 0 {
        return Err(DecodeError::BadFlag(flags));
    }
    let unit = if flags & HAS_UNIT != 0 { Some(Text::take(&mut input)?) } else { None };
    let invocation = if flags & HAS_INVOCATION != 0 { Some(Invocation::take(&mut input)?) } else { None };
    let mut causes = Vec::new();
    for _ in 0..u64::take(&mut input)? {
        let distance = i64::take(&mut input)?;
        let record = RecordId(id.wrapping_sub(distance as u64));
        causes.push(Cause { record, rule: Field::take(&mut input)? });
    }
    let certainty = if flags & INFERRED != 0 { Certainty::Inferred } else { Certainty::Observed };
    let tag = u32::take(&mut input)?;
    let fields = input.rest;
    let fact = match decode_fact(tag, &mut input) {
        Ok(Some(fact)) => fact,
        Ok(None) | Err(DecodeError::NewerWord(_)) => Fact::Newer { tag, bytes: fields.to_vec() },
        Err(error) => return Err(error),
    };
    Ok(Record { id: RecordId(id), at, unit, invocation, causes, certainty, fact })
}

macro_rules! facts {
    ($($tag:literal $name:ident { $($field:ident),* })*) => {
        fn encode_fact(fact: &Fact, out: &mut Vec<u8>) {
            match fact {
                $(Fact::$name { $($field),* } => {
                    u32::put(&$tag, out);
                    $($field.put(out);)*
                })*
                Fact::Newer { tag, bytes } => {
                    tag.put(out);
                    out.extend_from_slice(bytes);
                }
            }
        }

        fn decode_fact(tag: u32, input: &mut Input<'_>) -> Result<Option<Fact>, DecodeError> {
            Ok(Some(match tag {
                $($tag => Fact::$name { $($field: Field::take(input)?),* },)*
                _ => return Ok(None),
            }))
        }

        impl Fact {
            /// The number of its kind in the encoding.
            pub fn tag(&self) -> u32 {
                match self {
                    $(Fact::$name { .. } => $tag,)*
                    Fact::Newer { tag, .. } => *tag,
                }
            }

            /// The name of its kind: `StateChanged`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Fact::$name { .. } => stringify!($name),)*
                    Fact::Newer { .. } => "Newer",
                }
            }
        }
    };
}

// Tag, name, fields in the order of their bytes. Append only.
facts! {
    1 Started { version, pid, boot, tracking, cgroup, command, after_crash }
    2 Ended { status }
    3 Request { verb, mode, client }
    4 Refused { error, message }
    5 ProcessExited { pid, role, exit, cpu_us, peak_bytes }
    6 DeadlineReached { deadline, after_us }
    7 Traffic { listen, peer }
    8 OomKill { kills }
    9 ManagerSignal { signal, pid, uid }
    10 ClockJump { by_us }
    11 Unknown { ruled_out }
    12 Loaded { load, files, diagnostics }
    13 JobQueued { job, job_type }
    14 JobMerged { job, job_type }
    15 JobFinished { job, job_type, result }
    16 JobDropped { job_type, reason }
    17 StateChanged { from_active, from, to_active, to, result }
    18 Starting { role, command }
    19 ProcessStarted { pid, start_ticks, role }
    20 SpawnFailed { role, step, errno, subject }
    21 Inputs { files }
    22 Digest { path, version, sha256, package }
    23 SignalSent { signal, reason, main, control, others }
    24 RestartScheduled { reason, delay_us, restarts }
    25 RestartRefused { reason }
    26 StartLimitHit { burst, interval_us }
    27 ConditionFailed { condition, assert }
    28 Notified { message, pid }
    29 LastWords { stream, text }
    30 LeftBehind { processes, total, allowed }
    31 LeftOverGone { pid, start_ticks, exit }
    32 Retroactive { kind, other }
    33 Gap { lost, reason }
    34 Tally { what, times, first, last, rule, chain, left_behind }
    35 UnitFileChanged { path, target }
    36 BusName { name, owned }
    37 Reexecuted { version, units, unread }
    38 TakenUp { main, processes, evidence }
    39 Device { path, there }
    40 StopAsked { controller }
    41 Signalled { signal, pid, sender }
    42 Away { what, from, to, how }
    43 Basis { text }
    44 DescriptorsKept { name, kept, refused, total, pid }
    45 DescriptorsDropped { name, dropped, total, pid, hung_up }
    46 Deprived { what, missing, errno, without }
    47 TimeZoneChanged { zone }
    48 Failed { operation, errno, subject }
}

/// What is left to decode.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    fn bytes(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn str(&mut self) -> Result<&'a str, DecodeError> {
        let len = u64::take(self)?;
        core::str::from_utf8(self.bytes(len)?).map_err(|_| DecodeError::NotUtf8)
    }
}

/// A value with stable bytes.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError>;
}

impl Field for u64 {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        let mut value = *self;
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn take(input: &mut Input<'_>) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = input.byte()?;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Overflow);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Overflow)
    }
}

macro_rules! unsigned {
    ($($type:ty)*) => { $(impl Field for $type {
        #[inline]
        fn put(&self, out: &mut Vec<u8>) {
            u64::from(*self).put(out);
        }
        fn take(input: &mut Input<'_>) -> Result<$type, DecodeError> {
            u64::take(input)?.try_into().map_err(|_| DecodeError::Overflow)
        }
    })* };
}
unsigned! { u8 u32 }

impl Field for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        (((*self << 1) ^ (*self >> 63)) as u64).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<i64, DecodeError> {
        let value = u64::take(input)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

impl Field for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<i32, DecodeError> {
        i64::take(input)?.try_into().map_err(|_| DecodeError::Overflow)
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(input: &mut Input<'_>) -> Result<bool, DecodeError> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DecodeError::BadFlag(other)),
        }
    }
}

impl Field for Text {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(input: &mut Input<'_>) -> Result<Text, DecodeError> {
        input.str().map(Text::from)
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(input: &mut Input<'_>) -> Result<String, DecodeError> {
        input.str().map(String::from)
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn take(input: &mut Input<'_>) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(input.bytes(N as u64)?);
        Ok(array)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Option<T>, DecodeError> {
        if bool::take(input)? { T::take(input).map(Some) } else { Ok(None) }
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        for item in self {
            item.put(out);
        }
    }

    // Grows as items arrive, each of at least one byte: a false count cannot make it reserve anything.
    fn take(input: &mut Input<'_>) -> Result<Vec<T>, DecodeError> {
        let mut items = Vec::new();
        for _ in 0..u64::take(input)? {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}

macro_rules! by_tag {
    ($($word:ty)*) => { $(impl Field for $word {
        #[inline]
        fn put(&self, out: &mut Vec<u8>) {
            out.push(self.tag());
        }
        fn take(input: &mut Input<'_>) -> Result<$word, DecodeError> {
            let tag = input.byte()?;
            <$word>::from_tag(tag).ok_or(DecodeError::NewerWord(tag))
        }
    })* };
}
by_tag! {
    ActiveState SubState JobType JobResult UnitResult ProcessRole ExitKind RestartReason DeadlineKind Tracking
    Verb SpawnStep Operation GapReason Absence Stream SignalReason
}

macro_rules! numbered {
    ($type:ty { $($variant:ident = $tag:literal),* $(,)? }) => {
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                out.push(match self { $(<$type>::$variant => $tag,)* });
            }
            fn take(input: &mut Input<'_>) -> Result<$type, DecodeError> {
                match input.byte()? {
                    $($tag => Ok(<$type>::$variant),)*
                    other => Err(DecodeError::NewerWord(other)),
                }
            }
        }
    };
}

numbered! { JobMode {
    Fail = 0, Replace = 1, ReplaceIrreversibly = 2, Isolate = 3, Flush = 4, IgnoreDependencies = 5,
    IgnoreRequirements = 6, Triggering = 7,
} }

numbered! { FileRole { UnitFile = 0, Executable = 1, Interpreter = 2, Environment = 3, Argument = 4 } }

numbered! { DependencyKind {
    Requires = 0, Requisite = 1, Wants = 2, BindsTo = 3, PartOf = 4, Upholds = 5, RequiredBy = 6,
    RequisiteOf = 7, WantedBy = 8, BoundBy = 9, ConsistsOf = 10, UpheldBy = 11, Conflicts = 12,
    ConflictedBy = 13, Before = 14, After = 15, OnFailure = 16, OnFailureOf = 17, OnSuccess = 18,
    OnSuccessOf = 19, Triggers = 20, TriggeredBy = 21, PropagatesReloadTo = 22, ReloadPropagatedFrom = 23,
    PropagatesStopTo = 24, StopPropagatedFrom = 25, JoinsNamespaceOf = 26, InSlice = 27, SliceOf = 28,
} }

macro_rules! composed {
    ($($type:ident { $($field:tt),* })*) => { $(impl Field for $type {
        fn put(&self, out: &mut Vec<u8>) {
            $(self.$field.put(out);)*
        }
        fn take(input: &mut Input<'_>) -> Result<$type, DecodeError> {
            Ok($type { $($field: Field::take(input)?),* })
        }
    })* };
}
composed! {
    Stamp { realtime_us, monotonic_us }
    Invocation { 0 }
    Rule { directive, file, line }
    Parent { pid, command }
    Version { device, inode, size, modified_ns, changed_ns }
    FileIdentity { path, role, version }
    LeftOver { pid, start_ticks, command, bytes }
    Exit { kind, status }
}

/// A client is the last of its fact's fields, so it can grow: what it was called by is put only where it is
/// known, and bytes that end before it have none.
impl Field for Client {
    fn put(&self, out: &mut Vec<u8>) {
        self.pid.put(out);
        self.uid.put(out);
        self.command.put(out);
        self.unit.put(out);
        if self.parent.is_some() || self.login_uid.is_some() {
            self.parent.put(out);
            self.login_uid.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Client, DecodeError> {
        let mut client = Client {
            pid: Field::take(input)?,
            uid: Field::take(input)?,
            command: Field::take(input)?,
            unit: Field::take(input)?,
            ..Client::default()
        };
        if !input.rest.is_empty() {
            client.parent = Field::take(input)?;
            client.login_uid = Field::take(input)?;
        }
        Ok(client)
    }
}
