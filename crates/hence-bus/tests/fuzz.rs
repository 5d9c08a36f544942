//! Mutated sessions into authentication, codec and front: whatever arrives, nothing panics or hangs, and what
//! is kept stays within the caps. The mutations follow from a fixed seed; `HENCE_FUZZ_SECONDS` sets for
//! how long.

mod toy;

use hence_bus::client::Client;
use hence_bus::front::{Caller, Front, PeerId};
use hence_bus::peer::{OUTGOING_MAX, READ_MAX};
use hence_bus::wire::{MESSAGE_MAX, Message, Value};
use toy::Toy;

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// The numbers of the rounds: at least so many, and on while HENCE_FUZZ_SECONDS last.
fn rounds(least: u64) -> impl Iterator<Item = u64> {
    let seconds = std::env::var("HENCE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let (begun, most) = (std::time::Instant::now(), std::time::Duration::from_secs(seconds));
    (0..).take_while(move |round| *round < least || begun.elapsed() < most)
}

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A session with something of everything.
fn session() -> Vec<u8> {
    let mut bytes = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n".to_vec();
    let root = "/org/freedesktop/systemd1";
    let object = "/org/freedesktop/systemd1/unit/foo_2eservice";
    let pair = Value::Struct(vec!["TasksMax".into(), Value::variant(100u64.into())]);
    let calls = [
        (object, PROPERTIES, "GetAll", vec!["".into()]),
        (root, PROPERTIES, "Get", vec![MANAGER.into(), "SystemState".into()]),
        (
            root,
            MANAGER,
            "ListUnitsByPatterns",
            vec![Value::strings(["active"]), Value::strings(["*[a-f]*.s?*"])],
        ),
        (root, MANAGER, "StartUnit", vec!["bar.service".into(), "replace".into()]),
        (root, MANAGER, "EnqueueUnitJob", vec!["bar.service".into(), "stop".into(), "fail".into()]),
        (root, MANAGER, "KillUnit", vec!["foo.service".into(), "all".into(), 9i32.into()]),
        (
            root,
            MANAGER,
            "SetUnitProperties",
            vec!["foo.service".into(), true.into(), Value::array("(sv)", vec![pair])],
        ),
        (object, "org.freedesktop.DBus.Introspectable", "Introspect", vec![]),
        (root, MANAGER, "ResetFailed", vec![]),
    ];
    for (serial, (path, interface, member, body)) in calls.into_iter().enumerate() {
        Message::call(path, interface, member).with(body).encode(serial as u32 + 1, &mut bytes);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    // Most rounds leave the handshake alone, for else little gets behind it.
    let first = if chance.below(8) == 0 { 0 } else { 52 };
    for _ in 0..=chance.below(6) {
        let at = first + chance.below(bytes.len().saturating_sub(first));
        if at >= bytes.len() {
            continue;
        }
        match chance.below(7) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, b"a(){}svo\0\xff"[chance.below(10)]),
            4 => drop(bytes.remove(at)),
            5 => {
                let end = (at + chance.below(64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let end = (at + 4).min(bytes.len());
                let number = [0, 1, 255, 65_536, u32::MAX, 1 << 26, MESSAGE_MAX as u32][chance.below(7)];
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
        }
    }
}

fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[test]
fn mutated_sessions() {
    let (mut chance, whole) = (Chance(0x9e37_79b9_7f4a_7c15), session());
    let mut front = Front::new([3; 16], 0);
    let mut toy = Toy::new();
    let (mut served, mut closed, mut asked) = (0, 0, 0);
    let mut rounds_done = 0;
    for round in rounds(6_000) {
        rounds_done = round as usize;
        let mut bytes = whole.clone();
        if round > 0 {
            mutate(&mut bytes, &mut chance);
        }
        let id = front.connect(Caller { pid: 1, uid: 0 }).expect("room");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let step = (1 + chance.below(600)).min(rest.len());
            let result = front.receive(id, &rest[..step], &mut toy);
            rest = &rest[step..];
            toy.serve(&mut front);
            asked += std::mem::take(&mut toy.asked).len();
            assert!(front.outgoing(id).len() <= OUTGOING_MAX);
            if result.is_err() {
                closed += 1;
                break;
            }
            let read = chance.below(20_000).min(front.outgoing(id).len());
            served += read;
            if front.sent(id, read, &mut toy).is_err() {
                closed += 1;
                break;
            }
        }
        if round == 0 {
            assert_eq!(asked, 5, "the session as it is works");
        }
        front.disconnect(id);
    }
    // Mutations have to reach beyond the first checks, and to be noticed.
    assert!(
        closed > rounds_done / 20 && asked > rounds_done / 4 && served > rounds_done * 100,
        "{closed} {asked} {served}"
    );
    assert_eq!(front.peers().count(), 0);
}

#[test]
fn mutated_answers_to_our_client() {
    let mut out = b"DATA\r\nOK 00\r\n".to_vec();
    for serial in 1..20 {
        Message::reply(serial, vec![Value::strings(["a", "b"])]).encode(serial, &mut out);
        Message::error(serial, "a.b", "text").encode(serial, &mut out);
        Message::signal("/a", "a.b", "C").with(vec![Value::variant(1u32.into())]).encode(serial, &mut out);
    }
    let mut chance = Chance(0x1234_5678_9abc_def1);
    let (mut answers, mut errors) = (0, 0);
    for _ in rounds(3_000) {
        let mut bytes = out.clone();
        mutate(&mut bytes, &mut chance);
        let mut client = Client::new();
        for chunk in bytes.chunks(1 + chance.below(500)) {
            if client.receive(chunk).is_err() {
                errors += 1;
                break;
            }
            loop {
                match client.incoming() {
                    Ok(Some(_)) => answers += 1,
                    Ok(None) => break,
                    Err(_) => {
                        errors += 1;
                        break;
                    }
                }
            }
        }
    }
    assert!(answers > 3_000 && errors > 300, "{answers} {errors}");
}

/// What costs most per byte when decoded: small values, each with storage of its own.
#[test]
fn the_dearest_messages_stay_cheap() {
    let mut front = Front::new([3; 16], 0);
    let mut toy = Toy::new();
    let id: PeerId = front.connect(Caller { pid: 1, uid: 0 }).expect("room");
    front.receive(id, b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n", &mut toy).expect("valid");
    let empty = |element: &'static str| Value::array(element, Vec::new());
    let long = "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss";
    let nested: &'static str = format!("({long}{long}{long})").leak();
    let outer: &'static str = format!("a{nested}").leak();
    let bodies = [
        Value::array("g", vec![Value::Signature("".into()); 60_000]),
        Value::array("n", vec![Value::Int16(0); 60_000]),
        Value::array("v", vec![Value::variant(0u8.into()); 30_000]),
        Value::array("(y)", vec![Value::Struct(vec![0u8.into()]); 15_000]),
        Value::array(outer, vec![empty(nested); 15_000]),
    ];
    // The bodies are kept, for what they free could be used again unseen.
    let messages = bodies.each_ref().map(|body| {
        let mut bytes = Vec::new();
        Message::call("/", "a.b", "C").with(vec![body.clone()]).encode(1, &mut bytes);
        bytes
    });
    // Makes the peak that the kernel keeps start anew.
    std::fs::write("/proc/self/clear_refs", "5").expect("our own");
    let before = peak_kib();
    let begin = std::time::Instant::now();
    for bytes in messages {
        assert!((100_000..MESSAGE_MAX).contains(&bytes.len()), "{}", bytes.len());
        for chunk in bytes.chunks(READ_MAX) {
            front.receive(id, chunk, &mut toy).expect("valid");
        }
    }
    assert!(!front.outgoing(id).is_empty(), "each was answered");
    let grown = peak_kib() - before;
    assert!(grown < 32 * 1024, "{grown} KiB for messages of at most 128 KiB");
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
    eprintln!("{grown} KiB, {:?}", begin.elapsed());
}
