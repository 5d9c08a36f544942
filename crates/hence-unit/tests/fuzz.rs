//! The parsers on input that nobody writes: they end, do not panic, and name places inside of the file.
//! `HENCE_FUZZ_SECONDS` sets for how long.

mod files;

use files::{Map, environs};
use hence_unit::{
    Config, Level, Place, UnitName, exec_line, specifier, syntax,
    unit_path::UnitPath,
    words::{self, Escapes},
};
use std::borrow::Cow;

/// xorshift64*: the same numbers in every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// The numbers of the rounds: at least so many, and on while HENCE_FUZZ_SECONDS last.
fn rounds(least: u64) -> impl Iterator<Item = u64> {
    let seconds = std::env::var("HENCE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    let (begun, most) = (std::time::Instant::now(), std::time::Duration::from_secs(seconds));
    (0..).take_while(move |round| *round < least || begun.elapsed() < most)
}

const UNITS: &[&str] = &[
    include_str!("scenarios/quoting.service"),
    include_str!("scenarios/bad-input.txt"),
    include_str!("scenarios/drop-ins.txt"),
    include_str!("scenarios/templates.txt"),
    "[Unit]\nAfter=a.service b@%i.service\nRequires=\\\n# c\n  x.socket\\\n\n[Service]\nType=notify\n\
     ExecStart=-@:!!/bin/a %n ; /bin/b $X ${Y} \\; 'q\nLimitNOFILE=1:infinity\nRestartSec=1min 5s\n",
    "[Socket]\r\nListenStream=/run/a\r\nListenDatagram=[::1]:7\r\nAccept=yes\r\n",
    "[Timer]\nOnUnitActiveSec=5min\nOnCalendar=daily\n[Path]\nPathExists=/a\n[Slice]\nMemoryMax=50%\n",
];

const PIECES: &[&str] = &[
    "\\",
    "\"",
    "'",
    "%",
    "%i",
    "$",
    "${",
    "}",
    "$$",
    ";",
    "\\;",
    "#",
    "=",
    "[",
    "]",
    "\n",
    "\\\n",
    "\r",
    "\0",
    " ",
    "\t",
    "\\x",
    "\\x2d",
    "\\u00e9",
    "\\777",
    "é",
    "\u{feff}",
    "😀",
    "-",
    "@",
    "|",
    "!",
    "/",
    "//",
    "/dev/null",
    "\\s",
    "[Service]\n",
    "[Unit]\n",
    "ExecStart=",
    "Environment=",
    "After=",
    "LimitCORE=",
    "TimeoutSec=",
    "infinity",
    "18446744073709551616",
    "-1",
    "99999999999999999999999y",
    "Slice=",
    "a.slice",
    "Sockets=",
    "SuccessExitStatus=",
];

/// A snippet with a few pieces put in, bytes overwritten, ranges removed and doubled.
fn mutated(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = Vec::from(chance.pick(UNITS));
    for _ in 0..1 + chance.below(12) {
        let at = chance.below(bytes.len() + 1);
        let end = (at + chance.below(30)).min(bytes.len());
        match chance.below(5) {
            0 | 1 => {
                bytes.splice(at..at, chance.pick(PIECES).bytes());
            }
            2 if at < bytes.len() => bytes[at] = chance.next() as u8,
            3 => {
                bytes.drain(at..end);
            }
            _ => {
                let doubled = bytes[at..end].to_vec();
                bytes.splice(at..at, doubled);
            }
        }
    }
    bytes
}

fn line_of_pieces(chance: &mut Chance) -> String {
    (0..chance.below(14)).map(|_| chance.pick(PIECES)).collect()
}

/// The text without the byte order mark, which is no character of the first line.
fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn within(place: &Place, text: &str) {
    let lines: Vec<&str> = unmarked(text).split('\n').collect();
    assert!(place.line as usize <= lines.len(), "{place} of {} lines", lines.len());
    if place.line > 0 {
        let line = lines[place.line as usize - 1];
        assert!(place.column as usize <= line.chars().count() + 1, "{place} in {line:?}");
    }
}

#[test]
fn files_of_any_content() {
    let mut chance = Chance(1);
    for _ in rounds(4_000) {
        let bytes = mutated(&mut chance);
        let text = String::from_utf8_lossy(&bytes);
        let (assignments, diagnostics) = syntax::parse(&"f".into(), &text);
        for assignment in &assignments {
            within(&assignment.place, &text);
            within(&assignment.value_place(), &text);
            assert!(assignment.place.line > 0 && !assignment.key.is_empty());
            if !assignment.continued {
                let line = unmarked(&text).split('\n').nth(assignment.place.line as usize - 1).unwrap();
                let skipped = assignment.value_column as usize - 1;
                let rest: String = line.chars().skip(skipped).collect();
                assert!(rest.starts_with(&*assignment.value), "{assignment:?} in {line:?}");
            }
        }
        for diagnostic in diagnostics {
            within(&diagnostic.place, &text);
        }
    }
}

#[test]
fn values_of_any_content() {
    let mut chance = Chance(2);
    let place = Place { file: "f".into(), line: 1, column: 1 };
    let unit = UnitName::new("a-b@c\\x2dd.service").unwrap();
    let environs = environs();
    for _ in rounds(20_000) {
        let line = line_of_pieces(&mut chance);
        for escapes in [Escapes::Resolve, Escapes::Relaxed, Escapes::Retain, Escapes::Quote] {
            let (found, error) = words::split_with(&line, escapes);
            let length = line.chars().count() as u32;
            assert!(found.iter().all(|word| (1..=length).contains(&word.column)), "{line:?}");
            assert!(error.is_none_or(|error| (1..=length).contains(&error.column)), "{line:?} {error:?}");
        }
        let mut specify = |text: &str| specifier::expand(text, &unit, &environs);
        let (commands, diagnostics) = exec_line::parse(&line, (&place, 0), &mut specify);
        assert!(diagnostics.iter().filter(|d| d.level == Level::Error).count() <= 1, "{line:?}");
        for command in commands {
            assert!(!command.path.is_empty() && !command.argv.is_empty());
            exec_line::expand(&command.argv, &|name| Some(Cow::Owned(name.into())));
        }
        let escaped = specifier::escape(&line);
        assert_eq!(specifier::unescape(&escaped), Some(line.clone()), "{escaped}");
        if let Some(path) = specifier::escape_path(&line) {
            let back = specifier::unescape_path(&path).unwrap();
            assert_eq!(specifier::escape_path(&back), Some(path));
        }
        specifier::unescape(&line);
        specifier::unescape_path(&line);
    }
}

fn check(config: &Config, map: &Map) {
    for diagnostic in &config.diagnostics {
        let Some(files::Node::File(bytes)) = map.nodes.get(&*diagnostic.place.file) else {
            assert_eq!(diagnostic.place.line, 0, "{diagnostic}");
            continue;
        };
        within(&diagnostic.place, &String::from_utf8_lossy(bytes));
    }
    for setting in &config.settings {
        assert!(usize::from(setting.source) < config.sources.len());
    }
}

#[test]
fn units_of_any_content() {
    let mut chance = Chance(3);
    for _ in rounds(300) {
        let mut map = Map::default();
        for name in
            ["a.service", "a@.service", "a.socket", "a.timer", "a.path", "a-b.slice", "a.target", "a.mount"]
        {
            let bytes = mutated(&mut chance);
            map.nodes.insert(format!("/etc/systemd/system/{name}"), files::Node::File(bytes));
            let bytes = mutated(&mut chance);
            map.nodes.insert(format!("/etc/systemd/system/{name}.d/1.conf"), files::Node::File(bytes));
        }
        let link = line_of_pieces(&mut chance);
        map.link("b.service", &link).link("c.service", "b.service").link("d@.service", "a@.service");
        map.link("a.target.wants/d@x.service", &link);
        let path = UnitPath::scan(&map, &files::folders());
        for name in [
            "a.service",
            "a@x.service",
            "b.service",
            "c.service",
            "d@y.service",
            "a.socket",
            "a.timer",
            "a.path",
            "a-b.slice",
            "a.target",
            "a.mount",
        ] {
            check(&files::load(&path, &map, name), &map);
        }
    }
}

#[test]
fn long_input_takes_time_in_proportion() {
    // Each of these takes minutes where work grows with the square of its length.
    let begun = std::time::Instant::now();
    let many = "x ".repeat(400_000);
    assert_eq!(words::split(&many).0.len(), 400_000);
    let continued = format!("[Unit]\nAfter={}\n", "a.service \\\n".repeat(80_000));
    assert_eq!(syntax::parse(&"f".into(), &continued).0.len(), 1);
    let mut wants = String::from("[Unit]\n");
    for n in 0..20_000 {
        wants.push_str(&format!("Wants=u{n}.service\nBefore=v{n}.service\n"));
    }
    let mut map = Map::default();
    map.file("a.target", &wants);
    assert!(map.load("a.target").dependencies.len() > 60_000);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
