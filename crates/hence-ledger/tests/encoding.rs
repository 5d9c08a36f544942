//! The stable bytes: golden ones of every kind of fact, round trips, and bytes that are damaged.

mod build;

use build::{chance::Chance, every};
use hence_ledger::encoding::{DecodeError, decode, encode};
use hence_ledger::*;

/// The numbers of the rounds: at least so many, and on while HENCE_FUZZ_SECONDS last.
fn rounds(least: u64) -> impl Iterator<Item = u64> {
    let seconds = std::env::var("HENCE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let (begun, most) = (std::time::Instant::now(), std::time::Duration::from_secs(seconds));
    (0..).take_while(move |round| *round < least || begun.elapsed() < most)
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

/// Lines `Name hex`, one for each kind. A line that no longer matches means that ledgers of machines in use
/// could no longer be read: then the encoding is wrong, not the line.
#[test]
fn golden_bytes_of_every_fact() {
    let golden = include_str!("golden/facts.txt");
    let mut now = String::new();
    for tag in every::TAGS {
        let record = every::record(tag, &mut Chance(0x9e37_79b9 + u64::from(tag)));
        let hex: String = bytes_of(&record).iter().map(|b| format!("{b:02x}")).collect();
        now.push_str(&format!("{} {hex}\n", record.fact.name()));
    }
    for (line, (old, new)) in golden.lines().zip(now.lines()).enumerate() {
        assert_eq!(old, new, "line {}", line + 1);
    }
    assert_eq!(golden.lines().count(), now.lines().count(), "kinds are missing:\n{now}");
    for (line, tag) in golden.lines().zip(every::TAGS) {
        let (name, hex) = line.split_once(' ').expect("a name and hex");
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect();
        let record = decode(&bytes).expect("golden bytes decode");
        assert_eq!((record.fact.name(), record.fact.tag()), (name, tag));
    }
}

#[test]
fn every_record_comes_back_as_it_was() {
    let mut chance = Chance(7);
    for round in 0..100 {
        for tag in every::TAGS {
            let record = every::record(tag, &mut chance);
            let bytes = bytes_of(&record);
            assert_eq!(decode(&bytes).as_ref(), Ok(&record), "round {round}");
            for end in 0..bytes.len() {
                // A shorter one is an error, or at most one whose last list or text is missing its tag.
                assert_ne!(decode(&bytes[..end]).as_ref(), Ok(&record));
            }
        }
    }
}

#[test]
fn words_have_the_same_value_back() {
    for kind in hence_unit::DependencyKind::ALL {
        let mut record = every::record(32, &mut Chance(3));
        record.fact = Fact::Retroactive { kind: *kind, other: "b.service".into() };
        assert_eq!(decode(&bytes_of(&record)).as_ref(), Ok(&record));
    }
    for &verb in Verb::ALL {
        let mut record = every::record(3, &mut Chance(3));
        record.fact = Fact::Request { verb, mode: hence_unit::JobMode::Fail, client: Client::default() };
        assert_eq!(decode(&bytes_of(&record)).as_ref(), Ok(&record));
    }
    for (&role, &sub) in ProcessRole::ALL.iter().cycle().zip(SubState::ALL) {
        let (from_active, result) = (ActiveState::Active, UnitResult::Success);
        let mut record = every::record(17, &mut Chance(3));
        record.fact =
            Fact::StateChanged { from_active, from: sub, to_active: ActiveState::Failed, to: sub, result };
        assert_eq!(decode(&bytes_of(&record)).as_ref(), Ok(&record));
        record.fact = Fact::ProcessStarted { pid: 1, start_ticks: 2, role };
        assert_eq!(decode(&bytes_of(&record)).as_ref(), Ok(&record));
    }
    for &(_, mode) in hence_unit::JobMode::WORDS {
        let mut record = every::record(3, &mut Chance(3));
        record.fact = Fact::Request { verb: Verb::Stop, mode, client: Client::default() };
        assert_eq!(decode(&bytes_of(&record)).as_ref(), Ok(&record));
    }
}

#[test]
fn what_a_newer_version_wrote_is_kept() {
    let mut record = every::record(2, &mut Chance(5));
    record.fact = Fact::Newer { tag: 4711, bytes: vec![1, 2, 3] };
    let bytes = bytes_of(&record);
    assert_eq!(decode(&bytes).as_ref(), Ok(&record));

    // A verb with a number that is not given out yet.
    record.fact = Fact::RestartRefused { reason: RestartReason::Policy };
    let mut bytes = bytes_of(&record);
    *bytes.last_mut().expect("not empty") = 250;
    let newer = decode(&bytes).expect("readable");
    assert_eq!(newer.fact, Fact::Newer { tag: 25, bytes: vec![250] });
    assert_eq!(bytes_of(&newer), bytes);

    // A field at the end that is not known yet.
    let mut bytes = bytes_of(&record);
    bytes.extend([9, 9]);
    assert_eq!(decode(&bytes).as_ref(), Ok(&record));
}

#[test]
fn who_had_a_client_ask_comes_after_what_older_records_end_with() {
    let mut record = every::record(3, &mut Chance(3));
    let client = Client { pid: 7, uid: 0, command: "systemctl stop a".into(), ..Client::default() };
    let of = |client: &Client| Fact::Request {
        verb: Verb::Stop,
        mode: hence_unit::JobMode::Replace,
        client: client.clone(),
    };
    record.fact = of(&client);
    let before = bytes_of(&record);
    let parent = Some(Parent { pid: 6, command: "cron".into() });
    for (parent, login_uid, tail) in [
        (parent.clone(), None, &b"\x01\x06\x04cron\x00"[..]),
        (None, Some(1000), b"\x00\x01\xe8\x07"),
        (parent, Some(0), b"\x01\x06\x04cron\x01\x00"),
    ] {
        record.fact = of(&Client { parent, login_uid, ..client.clone() });
        let bytes = bytes_of(&record);
        assert_eq!((&bytes[..before.len()], &bytes[before.len()..]), (&before[..], tail));
        assert_eq!(decode(&bytes).as_ref(), Ok(&record));
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let mut chance = Chance(11);
    let mut intact = 0;
    for _ in rounds(60) {
        for tag in every::TAGS {
            let bytes = bytes_of(&every::record(tag, &mut chance));
            for _ in 0..30 {
                let mut bytes = bytes.clone();
                for _ in 0..=chance.below(4) {
                    match chance.below(3) {
                        0 => bytes.truncate(chance.below(bytes.len() + 1)),
                        1 if !bytes.is_empty() => {
                            let at = chance.below(bytes.len());
                            bytes[at] = chance.next() as u8;
                        }
                        _ => bytes.insert(chance.below(bytes.len() + 1), chance.next() as u8),
                    }
                }
                intact += u32::from(decode(&bytes).is_ok());
            }
        }
    }
    assert!(intact > 0);
    for _ in rounds(20_000) {
        let noise: Vec<u8> = (0..chance.below(200)).map(|_| chance.next() as u8).collect();
        let _ = decode(&noise);
    }
}

#[test]
fn claims_of_length_are_checked_against_what_is_there() {
    // id, both clocks, flags "has a unit", then a length of 2^60.
    let mut bytes = vec![1, 1, 1, 1];
    bytes.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
    assert_eq!(decode(&bytes), Err(DecodeError::Truncated));
    // No flags, 2^63 causes.
    let mut bytes = vec![1, 1, 1, 0];
    bytes.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]);
    assert_eq!(decode(&bytes), Err(DecodeError::Truncated));
    // A number of 65 bits.
    assert_eq!(
        decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3]),
        Err(DecodeError::Overflow)
    );
    assert_eq!(decode(&[1, 1, 1, 8]), Err(DecodeError::BadFlag(8)));
    assert_eq!(decode(&[]), Err(DecodeError::Truncated));
}
