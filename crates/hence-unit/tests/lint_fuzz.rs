//! Random units, drop-ins and scripts through every rule: nothing panics, hangs or loses its place. It
//! judges no
//! finding.

use hence_unit::lint::explain::example;
use hence_unit::lint::{Ground, Permits, Scope, World, lint, rules, shell};
use hence_unit::unit_path::{Entry, EntryKind, FileError, Files, UnitPath};
use hence_unit::{UnitName, config::Environs, directive};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A small generator of numbers: the same seed gives the same units.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn of<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        let at = self.below(list.len());
        &list[at]
    }
}

struct Memory(BTreeMap<String, String>);

impl Files for Memory {
    fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let mut entries: BTreeMap<String, EntryKind> = BTreeMap::new();
        for path in self.0.keys() {
            let Some(rest) = path.strip_prefix(folder).and_then(|r| r.strip_prefix('/')) else { continue };
            match rest.split_once('/') {
                Some((name, _)) => entries.insert(name.to_owned(), EntryKind::Folder),
                None => entries.insert(rest.to_owned(), EntryKind::File),
            };
        }
        Ok(entries.into_iter().map(|(name, kind)| Entry { name, kind }).collect())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or(FileError::NotFound)
    }

    fn link(&self, _: &str) -> Option<String> {
        None
    }
}

impl Ground for Memory {
    fn mode(&self, path: &str) -> Option<u32> {
        self.0.get(path).map(|text| 0o100_000 | (text.len() as u32 & 0o777))
    }

    fn script(&self, path: &str) -> Option<String> {
        self.0.get(path).filter(|text| text.starts_with("#!")).cloned()
    }
}

const NAMES: [&str; 12] = [
    "a.service",
    "b.service",
    "c@.service",
    "d.socket",
    "e.timer",
    "f.path",
    "g.target",
    "c@x.service",
    "-.slice",
    "h.mount",
    "service.d",
    "a-b.service",
];
const VALUES: [&str; 30] = [
    "",
    "yes",
    "no",
    "0",
    "infinity",
    "5",
    "a.service",
    "b.service c@x.service",
    "g.target",
    "process",
    "always",
    "notify",
    "/bin/sh -c 'x & wait'",
    "/bin/x $A ${B} $(c) `d` > e && f",
    "%i",
    "%",
    "oneshot",
    "forking",
    "5min 20s",
    "network-online.target",
    "/var/run/x",
    "syslog",
    "A=b PASSWORD=hunter22",
    "c@%n.service",
    "-/bin/x",
    "@/bin/x y",
    "\"",
    "\\",
    "é",
    "/bin/kill -9 $MAINPID",
];

fn unit(chance: &mut Chance, directives: &[(&'static str, &'static str)]) -> String {
    let mut text = String::new();
    for _ in 0..chance.below(24) {
        let (section, name) = chance.of(directives);
        match chance.below(12) {
            0 => text += "# hence: allow kill-mode: x\n",
            1 => text += "; hence: allow\n",
            2 => text += &format!("{name}\n"),
            3 => text += &format!("{name}=a \\\n  b\n"),
            _ => text += &format!("[{section}]\n{name}={}\n", chance.of(&VALUES)),
        }
    }
    text
}

/// Changes some bytes of a text, and keeps it one.
fn bent(chance: &mut Chance, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..1 + chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(3) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 => bytes.insert(at, *chance.of(b"=[]#%$\\\"'\n;&|(){} a")),
            _ if at < bytes.len() => bytes[at] = *chance.of(b"=[]#%$\\\"'\n;&|(){} 0"),
            _ => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn look(memory: Memory, chance: &mut Chance) {
    let path = UnitPath::scan(&memory, &["/u".into()]);
    let mut world = World::new(&path, &memory, Environs::default());
    world.scope = *chance.of(&[Scope::Units, Scope::Tree, Scope::System]);
    world.systemd = *chance.of(&[0, 230, 252]);
    for name in path.names() {
        world.give(name, None);
    }
    for (file, text) in &memory.0 {
        if let Some(unit) = file.strip_prefix("/u/").and_then(|f| f.split_once(".d/")).map(|(unit, _)| unit) {
            let unit = UnitName::new(unit).or_else(|| UnitName::new("all.service"));
            world.give_drop_in(&unit.expect("a valid name"), file.as_str().into());
        }
        if text.starts_with("#!") {
            world.give_script(file.as_str().into(), text.clone());
        }
    }
    for finding in lint(&world, &Permits::default()) {
        let text = memory.0.get(&*finding.place.file);
        let lines = text.map_or(u32::MAX, |t| t.lines().count() as u32);
        assert!(finding.place.line <= lines.max(1), "{finding:?}");
        assert!(!finding.message.is_empty());
    }
}

#[test]
fn nothing_breaks_it() {
    let seconds: u64 = std::env::var("HENCE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let directives: Vec<(&str, &str)> = directive::table().map(|row| (row.section, row.name)).collect();
    let examples: Vec<&str> = rules().flat_map(|r| [r.bad, r.good]).filter(|t| !t.is_empty()).collect();
    let (begun, mut chance, mut rounds) = (Instant::now(), Chance(0x9e37_79b9_7f4a_7c15), 0);
    while begun.elapsed() < Duration::from_secs(seconds) || rounds < 200 {
        let mut files = BTreeMap::new();
        if rounds % 2 == 0 {
            for _ in 0..1 + chance.below(6) {
                let name = *chance.of(&NAMES);
                let name = if name.ends_with(".d") { format!("{name}/x.conf") } else { name.to_owned() };
                files.insert(format!("/u/{name}"), unit(&mut chance, &directives));
            }
        } else {
            let text = *chance.of(&examples);
            for file in example(text).0 {
                let path = if file.name.starts_with('/') { file.name } else { format!("/u/{}", file.name) };
                files.insert(path, bent(&mut chance, &file.text));
            }
        }
        for text in files.values() {
            let outline = shell::outline(text);
            assert!(outline.statements.iter().all(|s| s.line <= text.lines().count().max(1) as u32));
        }
        look(Memory(files), &mut chance);
        rounds += 1;
    }
    println!("{rounds} rounds");
}
