//! `hence logs`: the journal of units, for images without journalctl.

use super::{LedgerOption, Outcome};
use crate::exit::{NO, NO_UNITS, TROUBLE, Trouble, USAGE};
use crate::report::logs::{self as page, Form};
use crate::report::{self, name, style, time::Clock};
use hence_host::journal::reader::{AllOf, Entry, Query, Reader, Watch, of_invocation, of_unit};
use hence_host::journal::{hex, id_of};
use hence_unit::pattern;
use regex_lite::{Regex, RegexBuilder};
use std::path::PathBuf;

/// Lines that `--follow` begins with.
const USUAL: usize = 10;
/// Output is written in pieces of this size.
const PIECE: usize = 64 << 10;
/// Units that a pattern may stand for.
const UNITS: usize = 1024;
/// Bytes in lines that are kept to be turned round.
const KEPT: usize = 16 << 20;

/// Shows what units have logged, and what was logged about them, as journalctl does.
///
/// It reads native journal files: those of the machine, whoever writes them, and those of the ledger.
#[derive(Debug, clap::Args)]
#[command(after_help = report::time::HELP)]
pub struct Logs {
    /// Units (.service may be left out) or patterns of units; without one: everything.
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    /// Goes on with what comes, until it is ended.
    #[arg(long, short = 'f', conflicts_with_all = ["until", "reverse"])]
    follow: bool,
    /// The last so many lines, or `all` [default: all; with --follow 10]
    #[arg(long, short = 'n', value_name = "LINES", num_args = 0..=1, require_equals = false)]
    lines: Option<Option<String>>,
    /// From this time on.
    #[arg(long, short = 'S', value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to this time.
    #[arg(long, short = 'U', value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Of this level or more urgent, or from one level to another: err, 0..4
    #[arg(long, short = 'p', value_name = "LEVEL")]
    priority: Option<String>,
    /// Of this boot, or of the one that is named: an id, or -1 for the one before.
    #[arg(long, short = 'b', value_name = "BOOT", num_args = 0..=1, allow_hyphen_values = true)]
    boot: Option<Option<String>>,
    /// Of this run of a unit.
    #[arg(long, value_name = "ID")]
    invocation: Option<String>,
    /// With a text that fits this pattern; without capital letters in it, capitals make no difference.
    #[arg(long, short = 'g', value_name = "REGEX")]
    grep: Option<String>,
    /// How they are written.
    #[arg(long, short = 'o', value_name = "FORM", default_value = "short", conflicts_with = "json")]
    output: Form,
    /// The same as -o json.
    #[arg(long)]
    json: bool,
    /// The newest first.
    #[arg(long, short = 'r')]
    reverse: bool,
    /// Reads the journal files in this folder.
    #[arg(long, short = 'D', value_name = "DIR")]
    directory: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerOption,
}

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// What is written, and how.
struct Front {
    form: Form,
    clock: Clock,
    colour: bool,
    grep: Option<Regex>,
    boot: Option<[u8; 16]>,
    shown: u64,
}

impl Logs {
    pub fn run(self) -> Outcome {
        let clock = Clock::here();
        let since = self.since.as_deref().map(|text| clock.parse(text)).transpose()?;
        let until = self.until.as_deref().map(|text| clock.parse_end(text)).transpose()?;
        let most = self.most()?;
        let mut front = Front {
            form: if self.json { Form::Json } else { self.output },
            clock,
            colour: style::wanted(),
            grep: self.grep.as_deref().map(regex).transpose()?,
            boot: None,
            shown: 0,
        };
        let folders = match &self.directory {
            Some(folder) => vec![folder.clone()],
            None => page::folders(self.ledger.ledger.as_ref()),
        };
        let watch = match self.follow {
            true => Some(Watch::new(&[]).map_err(|e| trouble(&format!("cannot watch files: {e}")))?),
            false => None,
        };
        let mut reader = Reader::open(&folders);
        if let Some(watch) = &watch {
            // What is written from here on is told, and what was before is read again.
            watch.add(&reader.watched()).map_err(|e| trouble(&format!("cannot watch files: {e}")))?;
            reader = Reader::open(&folders);
        }
        if reader.files() == 0 && !self.follow {
            return Err(self.no_journal(&folders, &reader));
        }
        for (path, error) in reader.troubles() {
            eprintln!("hence: {} is left out: {error}", path.display());
        }
        let query = Query {
            of_each: self.conditions(&reader)?,
            since_us: since.map(|at| at.realtime_us),
            until_us: until.map(|at| at.realtime_us),
        };
        let goes_on = match most {
            Some(most) => front.last(&mut reader, query, most, self.reverse)?,
            None if self.reverse => front.last(&mut reader, query, usize::MAX, true)?,
            None => {
                reader.forwards(query);
                front.rest(&mut reader)?
            }
        };
        match watch {
            Some(watch) if goes_on => front.follow(&mut reader, &watch),
            _ => self.end(&front, &reader, goes_on),
        }
    }

    fn most(&self) -> Result<Option<usize>, Trouble> {
        match &self.lines {
            None => Ok(self.follow.then_some(USUAL)),
            Some(None) => Ok(Some(USUAL)),
            Some(Some(text)) if text == "all" => Ok(None),
            Some(Some(text)) => match text.parse() {
                Ok(lines) => Ok(Some(lines)),
                Err(_) => Err(Trouble::new(USAGE, format!("`{text}` is no number of lines"))),
            },
        }
    }

    fn conditions(&self, reader: &Reader) -> Result<Vec<Vec<AllOf>>, Trouble> {
        let mut all = Vec::new();
        if let Some(text) = &self.invocation {
            let id = id_of(text).ok_or_else(|| {
                Trouble::new(USAGE, format!("`{text}` is no invocation id: 32 hexadecimal digits"))
            })?;
            all.push(of_invocation(&id));
        }
        if !self.units.is_empty() {
            let mut names: Vec<String> = Vec::new();
            for word in &self.units {
                match word.contains(['*', '?', '[']) {
                    true => names.extend(meant(word, reader)),
                    false => names.push(name::complete(word)),
                }
            }
            if names.is_empty() {
                let text = format!("no unit in the journal fits {}", self.units.join(" or "));
                return Err(Trouble::new(NO_UNITS, text));
            }
            names.sort();
            names.dedup();
            names.truncate(UNITS);
            all.push(names.iter().flat_map(|name| of_unit(name)).collect());
        }
        if let Some(boot) = &self.boot {
            let id = boot_of(boot.as_deref().unwrap_or("0"), reader)?;
            all.push(vec![vec![format!("_BOOT_ID={}", hex(&id)).into_bytes()]]);
        }
        if let Some(text) = &self.priority {
            let (from, to) = levels(text).ok_or_else(|| {
                let known = LEVELS.join(", ");
                Trouble::new(USAGE, format!("`{text}` is no level: {known}, a number from 0 to 7, A..B"))
            })?;
            all.push((from..=to).map(|level| vec![format!("PRIORITY={level}").into_bytes()]).collect());
        }
        Ok(all)
    }

    fn end(&self, front: &Front, reader: &Reader, goes_on: bool) -> Outcome {
        if front.shown > 0 || !goes_on {
            return Ok(0);
        }
        if self.grep.is_some() {
            return Ok(NO);
        }
        let known = |word: &String| {
            let unit = name::complete(word);
            let names = ["_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT", "USER_UNIT"];
            word.contains(['*', '?', '[']) || names.iter().any(|name| reader.values(name).contains(&unit))
        };
        if let Some(word) = self.units.iter().find(|word| !known(word)) {
            let all = reader.values("_SYSTEMD_UNIT");
            let near = hence_unit::directive::nearest(&name::complete(word), all.iter().map(String::as_str));
            let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let text = format!("the journal has no line of {}{meant}", name::complete(word));
            return Err(Trouble::new(NO_UNITS, text));
        }
        match front.form {
            Form::Json => Ok(0),
            _ => report::print(b"-- No entries --\n"),
        }
    }

    /// Says why there is nothing to be read, and what to do.
    fn no_journal(&self, folders: &[PathBuf], reader: &Reader) -> Trouble {
        if let Some((path, error)) = reader.troubles().first() {
            let text = format!("{} cannot be read: {error}", path.display());
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let mend = "\nthe journal is for root and the groups adm and systemd-journal";
            return trouble(&format!("{text}{}", if denied { mend } else { "" }));
        }
        let places: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let mut text = format!("there is no journal in {}", places.join(", "));
        let ledger = report::ledger::folder(&self.ledger);
        let plain = ledger.join("logs");
        if self.directory.is_none() && plain.is_dir() {
            text.push_str(&format!("\nplain files are in {}: a line each", plain.display()));
        }
        text.push_str(
            "\nhence writes one unless it runs with --journal=none; --ledger or -D name another folder",
        );
        trouble(&text)
    }
}

impl Front {
    fn fits(&self, entry: &Entry) -> bool {
        let text = || String::from_utf8_lossy(entry.get("MESSAGE").unwrap_or_default()).into_owned();
        self.grep.as_ref().is_none_or(|grep| grep.is_match(&text()))
    }

    fn put(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        let separate = matches!(self.form, Form::Short | Form::ShortIso);
        if separate && self.boot.is_some_and(|boot| boot != entry.boot) {
            let line = format!("-- Boot {} --", hex(&entry.boot));
            let (begin, end) =
                if self.colour { (style::Style::Strong.begin(), style::END) } else { ("", "") };
            out.extend_from_slice(format!("{begin}{line}{end}\n").as_bytes());
        }
        self.boot = Some(entry.boot);
        self.shown += 1;
        page::write(out, entry, self.form, &self.clock, self.colour);
    }

    /// The last entries. `false`: nobody reads any further.
    fn last(
        &mut self,
        reader: &mut Reader,
        query: Query,
        most: usize,
        reverse: bool,
    ) -> Result<bool, Trouble> {
        let mut count = 0;
        let mut out = Vec::new();
        let (mut kept, mut bytes, mut first) = (Vec::new(), 0, None);
        reader.backwards(query.clone());
        while count < most
            && let Some(entry) = reader.next_entry()
        {
            if !self.fits(&entry) {
                continue;
            }
            count += 1;
            if reverse {
                self.put(&mut out, &entry);
                if out.len() >= PIECE && !report::write(&std::mem::take(&mut out))? {
                    return Ok(false);
                }
                continue;
            }
            first = Some(entry.cursor());
            bytes += entry.get("MESSAGE").map_or(0, <[u8]>::len) + 512;
            if bytes <= KEPT {
                kept.push(entry);
            }
        }
        if bytes <= KEPT {
            kept.iter().rev().for_each(|entry| self.put(&mut out, entry));
            return report::write(&out);
        }
        // Too many to be kept: they are read once more, from the first of them.
        reader.forwards(query);
        while let Some(entry) = reader.next_entry() {
            if first.as_ref().is_some_and(|first| entry.cursor() != *first) {
                continue;
            }
            first = None;
            if self.fits(&entry) {
                self.put(&mut out, &entry);
            }
            if out.len() >= PIECE && !report::write(&std::mem::take(&mut out))? {
                return Ok(false);
            }
        }
        report::write(&out)
    }

    /// All that follows. `false`: nobody reads any further.
    fn rest(&mut self, reader: &mut Reader) -> Result<bool, Trouble> {
        let mut out = Vec::new();
        while let Some(entry) = reader.next_entry() {
            if self.fits(&entry) {
                self.put(&mut out, &entry);
            }
            if out.len() >= PIECE && !report::write(&std::mem::take(&mut out))? {
                return Ok(false);
            }
        }
        report::write(&out)
    }

    fn follow(&mut self, reader: &mut Reader, watch: &Watch) -> Outcome {
        let failed = |e: std::io::Error| trouble(&format!("cannot watch files: {e}"));
        reader.follow();
        loop {
            // Folders may have come; so may files in them before they were watched.
            watch.add(&reader.watched()).map_err(failed)?;
            reader.refresh();
            if !self.rest(reader)? {
                return Ok(0);
            }
            watch.wait(None).map_err(failed)?;
        }
    }
}

fn trouble(text: &str) -> Trouble {
    Trouble::new(TROUBLE, text)
}

fn regex(text: &str) -> Result<Regex, Trouble> {
    let small = !text.chars().any(char::is_uppercase);
    let regex = RegexBuilder::new(text).case_insensitive(small).build();
    regex.map_err(|e| Trouble::new(USAGE, format!("`{text}` is no regular expression: {e}")))
}

/// The units of the journal that a pattern means.
fn meant(word: &str, reader: &Reader) -> Vec<String> {
    let suffixed = name::complete(word);
    let names = ["_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT", "USER_UNIT"];
    let all = names.iter().flat_map(|name| reader.values(name));
    all.filter(|unit| pattern::matches(&suffixed, unit)).collect()
}

/// `err`: that and all that is more urgent; `A..B`: from one to the other.
fn levels(text: &str) -> Option<(usize, usize)> {
    let level = |word: &str| {
        let known = LEVELS.iter().position(|level| *level == word);
        known.or_else(|| word.parse().ok().filter(|level| *level < 8))
    };
    match text.split_once("..") {
        Some((a, b)) => {
            let (a, b) = (level(a)?, level(b)?);
            Some((a.min(b), a.max(b)))
        }
        None => Some((0, level(text)?)),
    }
}

/// The boot that is meant: an id, 0 for the running one, -1 for the last one before it.
fn boot_of(word: &str, reader: &Reader) -> Result<[u8; 16], Trouble> {
    if let Some(id) = id_of(word) {
        return Ok(id);
    }
    let offset: i64 = word.parse().map_err(|_| {
        Trouble::new(USAGE, format!("`{word}` is no boot: an id of 32 hexadecimal digits, 0, -1, ..."))
    })?;
    let own = crate::run::boot_id().0;
    if offset == 0 {
        return Ok(own);
    }
    let mut boots: Vec<(u64, [u8; 16])> = Vec::new();
    for id in reader.values("_BOOT_ID").iter().filter_map(|id| id_of(id)) {
        let at = reader.first_of(&format!("_BOOT_ID={}", hex(&id)));
        boots.extend(at.map(|at| (at, id)));
    }
    boots.sort_unstable();
    // 1 is the first one that the journal has.
    let last = boots.iter().position(|(_, id)| *id == own).unwrap_or(boots.len());
    let place = if offset > 0 { offset - 1 } else { last as i64 + offset };
    let found = usize::try_from(place).ok().and_then(|place| boots.get(place));
    found.map(|(_, id)| *id).ok_or_else(|| {
        Trouble::new(TROUBLE, format!("the journal has no boot {word}: it has {} in all", boots.len()))
    })
}
