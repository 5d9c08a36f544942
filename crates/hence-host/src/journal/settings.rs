//! How the output of a process is logged, as whoever starts it tells the recorder. Where it goes is
//! decided elsewhere.

use super::fields::is_name;
use hence_unit::config::LogConfig;
use std::sync::Arc;

/// Longest encoding, in bytes; patterns and extra fields that don't fit are left out.
pub(crate) const LONGEST: usize = 12 << 10;
/// What of it patterns may take.
const LONGEST_PATTERNS: usize = 8 << 10;
/// Marks the length of a pattern.
const PATTERN: u16 = 1 << 15;

/// What a unit says about its logs; systemd.exec(5), "Logging and Standard Input/Output".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// SYSLOG_IDENTIFIER=
    pub identifier: Box<str>,
    /// The level of lines that don't say theirs.
    pub level: u8,
    /// SYSLOG_FACILITY=
    pub facility: u8,
    /// Whether a line's `<3>` is its level.
    pub level_prefix: bool,
    /// Levels above this are dropped.
    pub level_max: u8,
    /// LogRateLimitIntervalSec=, in microseconds.
    pub interval_us: Option<u64>,
    /// LogRateLimitBurst=
    pub burst: Option<u32>,
    /// LogExtraFields=
    pub extra_fields: Vec<Box<str>>,
    /// LogFilterPatterns=
    pub patterns: Vec<Box<str>>,
    /// Not all of the patterns had room here.
    pub patterns_missing: bool,
    /// Where lines are copied to: of stdout in the lowest two bits, of stderr in the next two.
    pub copies: u8,
}

impl Default for Logging {
    fn default() -> Logging {
        Logging {
            identifier: "".into(),
            level: 6,
            facility: 3,
            level_prefix: true,
            level_max: 7,
            interval_us: None,
            burst: None,
            extra_fields: Vec::new(),
            patterns: Vec::new(),
            patterns_missing: false,
            copies: 0,
        }
    }
}

impl Logging {
    /// What a unit's configuration says; `identifier`: SyslogIdentifier=, or the program's name.
    pub fn of(identifier: &str, config: Option<&LogConfig>) -> Logging {
        let mut logging = Logging { identifier: identifier.into(), ..Logging::default() };
        if let Some(config) = config {
            logging.level = config.level.unwrap_or(logging.level);
            logging.facility = config.facility.unwrap_or(logging.facility);
            logging.level_prefix = !config.no_level_prefix;
            logging.level_max = config.level_max.unwrap_or(logging.level_max);
            (logging.interval_us, logging.burst) = (config.rate_interval_us, config.rate_burst);
            logging.extra_fields.clone_from(&config.extra_fields);
            logging.patterns.clone_from(&config.filter_patterns);
        }
        logging
    }

    /// As bytes for the recorder; short for most.
    pub fn encode(&self) -> Arc<[u8]> {
        let mut out = Vec::with_capacity(32);
        let flags = u8::from(self.level_prefix)
            | u8::from(self.interval_us.is_some()) << 1
            | u8::from(self.burst.is_some()) << 2
            | self.copies << 4;
        out.extend_from_slice(&[self.level, self.facility, self.level_max, flags]);
        out.extend(self.interval_us.into_iter().flat_map(u64::to_le_bytes));
        out.extend(self.burst.into_iter().flat_map(u32::to_le_bytes));
        let identifier = &self.identifier[..self.identifier.floor_char_boundary(255)];
        out.push(identifier.len() as u8);
        out.extend_from_slice(identifier.as_bytes());
        for pattern in &self.patterns {
            if out.len() + 2 + pattern.len() <= LONGEST_PATTERNS {
                out.extend_from_slice(&(pattern.len() as u16 | PATTERN).to_le_bytes());
                out.extend_from_slice(pattern.as_bytes());
            } else {
                out[3] |= 8;
            }
        }
        for field in &self.extra_fields {
            if out.len() + 2 + field.len() <= LONGEST {
                out.extend_from_slice(&(field.len() as u16).to_le_bytes());
                out.extend_from_slice(field.as_bytes());
            }
        }
        out.into()
    }

    /// From bytes. What isn't understood counts as not said.
    pub fn decode(bytes: &[u8]) -> Logging {
        let mut logging = Logging::default();
        Self::decode_into(&mut logging, bytes);
        logging
    }

    fn decode_into(logging: &mut Logging, bytes: &[u8]) -> Option<()> {
        fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
            let (head, tail) = rest.split_first_chunk::<N>()?;
            *rest = tail;
            Some(*head)
        }
        fn text<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a str> {
            let (head, tail) = rest.split_at_checked(length)?;
            *rest = tail;
            std::str::from_utf8(head).ok()
        }
        let mut rest = bytes;
        let [level, facility, level_max, flags] = take::<4>(&mut rest)?;
        (logging.level, logging.facility, logging.level_max) =
            (level.min(7), facility.min(127), level_max.min(7));
        logging.level_prefix = flags & 1 != 0;
        logging.patterns_missing = flags & 8 != 0;
        logging.copies = flags >> 4;
        if flags & 2 != 0 {
            logging.interval_us = Some(u64::from_le_bytes(take(&mut rest)?));
        }
        if flags & 4 != 0 {
            logging.burst = Some(u32::from_le_bytes(take(&mut rest)?));
        }
        let [length] = take(&mut rest)?;
        logging.identifier = text(&mut rest, length.into())?.into();
        while !rest.is_empty() {
            let length = u16::from_le_bytes(take(&mut rest)?);
            let field = text(&mut rest, (length & !PATTERN).into())?;
            if length & PATTERN != 0 {
                logging.patterns.push(field.into());
                continue;
            }
            let named = field.split_once('=').is_some_and(|(name, _)| is_name(name.as_bytes(), false));
            if named {
                logging.extra_fields.push(field.into());
            }
        }
        Some(())
    }
}

/// The level that a line begins with, as sd-daemon(3) has it, and the rest of the line.
pub(crate) fn level_of(line: &[u8]) -> Option<(u8, &[u8])> {
    match line {
        [b'<', level @ b'0'..=b'7', b'>', rest @ ..] => Some((level - b'0', rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back() {
        let logging = Logging {
            identifier: "web".into(),
            level: 3,
            facility: 16,
            level_prefix: false,
            level_max: 5,
            interval_us: Some(7),
            burst: Some(9),
            extra_fields: vec!["A=1".into(), "B=x y".into()],
            patterns: vec!["~a b".into(), "^c".into()],
            patterns_missing: false,
            copies: 0b0110,
        };
        for logging in [logging, Logging::default(), Logging::of("sh", None)] {
            let bytes = logging.encode();
            assert_eq!(Logging::decode(&bytes), logging);
            (0..bytes.len()).for_each(|n| drop(Logging::decode(&bytes[..n])));
        }
        let forged = Logging { extra_fields: vec!["_UID=0".into(), "OK=1".into()], ..Logging::default() };
        assert_eq!(Logging::decode(&forged.encode()).extra_fields, ["OK=1".into()]);
        let many = Logging { extra_fields: vec!["X=".to_owned().into(); 5000], ..Logging::default() };
        assert!(many.encode().len() <= LONGEST);
        let many = Logging { patterns: vec!["long".repeat(200).into(); 100], ..Logging::default() };
        let came = Logging::decode(&many.encode());
        assert!(came.patterns_missing && many.encode().len() <= LONGEST && came.patterns.len() > 5);
    }

    #[test]
    fn levels_of_lines() {
        assert_eq!(level_of(b"<3>no"), Some((3, &b"no"[..])));
        assert_eq!(level_of(b"<8>no").or(level_of(b"<30>x")).or(level_of(b"3>")), None);
    }
}
