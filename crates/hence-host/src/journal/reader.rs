//! Reads journals: which entries fit, from several files in one order, from the end as fast as from the
//! beginning. It takes no lock and writes nothing; what is torn or damaged is passed over and told.
//!
//! Entries of a field are found by the lists that the files keep of them, so that the last lines of a unit
//! cost as much in a large journal as in a small one.

mod volume;
mod watch;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use volume::Payload;
use volume::{Chain, Head, Volume};
pub use watch::Watch;

/// Files that are read at once.
const FILES: usize = 1024;
/// Values of a field that are listed.
const VALUES: usize = 100_000;

/// Fields (`NAME=VALUE`) that an entry must all have.
pub type AllOf = Vec<Vec<u8>>;

/// Which entries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Of each of these an entry must fit one. Entries are looked for by the first.
    pub of_each: Vec<Vec<AllOf>>,
    /// Not before this time, in microseconds since 1970.
    pub since_us: Option<u64>,
    /// Not after this time.
    pub until_us: Option<u64>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was stored, in microseconds since 1970.
    pub realtime_us: u64,
    /// The same by CLOCK_MONOTONIC.
    pub monotonic_us: u64,
    /// In which boot.
    pub boot: [u8; 16],
    /// Its number, and what it counts in.
    pub seqnum: u64,
    /// What the number counts in.
    pub seqnum_id: [u8; 16],
    /// A hash of its fields.
    pub xor: u64,
    /// Its fields.
    pub fields: Vec<Payload>,
    /// Fields that can't be read.
    pub damaged: usize,
}

impl Entry {
    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find_map(|field| match field {
            Payload::Plain(field) => field.strip_prefix(name.as_bytes())?.strip_prefix(b"="),
            _ => None,
        })
    }

    /// What names it, as sd_journal_get_cursor(3) writes it.
    pub fn cursor(&self) -> String {
        format!(
            "s={};i={:x};b={};m={:x};t={:x};x={:x}",
            super::hex(&self.seqnum_id),
            self.seqnum,
            super::hex(&self.boot),
            self.monotonic_us,
            self.realtime_us,
            self.xor
        )
    }
}

/// One alternative in one file: entries of a list that also have certain other fields.
#[derive(Clone, Debug)]
struct Term {
    chain: Chain,
    also: Vec<u64>,
    /// The next entry when going on, the last one when going back.
    at: u64,
}

/// A file with what is to be found in it.
#[derive(Debug)]
struct Part {
    volume: Volume,
    terms: Vec<Term>,
    /// For each further condition its alternatives.
    filters: Vec<Vec<Vec<u64>>>,
    /// What comes next, where that is known.
    next: Option<Head>,
    /// The last entry that was given.
    given: Option<u64>,
    /// The last one that there was when reading began.
    newest: Option<u64>,
}

/// Reads the journals of some folders.
#[derive(Debug)]
pub struct Reader {
    folders: Vec<PathBuf>,
    query: Query,
    parts: Vec<Part>,
    /// Files that can't be read, and why.
    troubles: Vec<(PathBuf, io::Error)>,
    backwards: bool,
}

impl Reader {
    /// Opens all files of these folders and of the folders in them; nothing is read yet.
    pub fn open(folders: &[PathBuf]) -> Reader {
        let mut reader = Reader {
            folders: folders.to_vec(),
            query: Query::default(),
            parts: Vec::new(),
            troubles: Vec::new(),
            backwards: false,
        };
        reader.look();
        reader
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.parts.len()
    }

    /// Files that can't be read, and why.
    pub fn troubles(&self) -> &[(PathBuf, io::Error)] {
        &self.troubles
    }

    /// The folders that hold the files: those to watch for new ones.
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut all = self.folders.clone();
        all.extend(self.folders.iter().flat_map(|folder| children(folder)).filter(|path| path.is_dir()));
        all
    }

    /// Opens what is new. `true`: something is.
    fn look(&mut self) -> bool {
        let mut new = false;
        self.troubles.clear();
        let mut paths: Vec<PathBuf> = Vec::new();
        for folder in self.watched() {
            paths.extend(children(&folder).filter(|path| is_journal(path)));
        }
        paths.sort();
        for path in paths {
            use std::os::unix::fs::MetadataExt;
            let known = std::fs::metadata(&path).map(|status| (status.dev(), status.ino()));
            if known.is_ok_and(|id| self.parts.iter().any(|part| part.volume.identity == id)) {
                continue;
            }
            if self.parts.len() >= FILES {
                let error = io::Error::other("there are too many files");
                self.troubles.push((path, error));
                continue;
            }
            match Volume::open(&path) {
                Ok(volume) => {
                    new = true;
                    let (terms, filters) = (Vec::new(), Vec::new());
                    self.parts.push(Part { volume, terms, filters, next: None, given: None, newest: None });
                }
                // It was renamed or removed just now.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => self.troubles.push((path, e)),
            }
        }
        new
    }

    /// The values of a field in all files, without its name.
    pub fn values(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.parts.iter().for_each(|part| part.volume.values(name.as_bytes(), VALUES, &mut found));
        let value = |field: &Vec<u8>| String::from_utf8(field.get(name.len() + 1..)?.to_vec()).ok();
        found.iter().filter_map(value).collect()
    }

    /// When the first entry with this field was stored.
    pub fn first_of(&self, field: &str) -> Option<u64> {
        let of = |part: &Part| {
            let volume = &part.volume;
            let chain = volume.chain_of(volume.data(field.as_bytes())?)?;
            Some(volume.head(volume.entry_at(&chain, 0)?)?.realtime_us)
        };
        self.parts.iter().filter_map(of).min()
    }

    /// Begins at the first entry that fits.
    pub fn forwards(&mut self, query: Query) {
        self.begin(query, false);
    }

    /// Begins at the last entry that fits.
    pub fn backwards(&mut self, query: Query) {
        self.begin(query, true);
    }

    fn begin(&mut self, query: Query, backwards: bool) {
        (self.query, self.backwards) = (query, backwards);
        for part in &mut self.parts {
            part.begin(&self.query, backwards);
        }
    }

    /// Goes on, forwards, behind what was there up to now: everything that comes from now on, and what a
    /// reading forwards has not reached yet.
    pub fn follow(&mut self) {
        if self.backwards {
            self.backwards = false;
            for part in &mut self.parts {
                part.given = part.newest;
                part.grow(&self.query);
            }
        }
    }

    /// Looks at what writers have added. Files that are over are closed.
    pub fn refresh(&mut self) {
        for part in &mut self.parts {
            if part.volume.refresh().is_ok() {
                part.grow(&self.query);
            }
        }
        let known = self.parts.len();
        self.look();
        for part in &mut self.parts[known..] {
            part.begin(&self.query, false);
        }
        self.parts.retain(|part| {
            let over = part.volume.archived && part.next.is_none() && part.is_read();
            !over || part.volume.path.exists()
        });
    }

    /// The next entry, or the one before when going backwards.
    pub fn next_entry(&mut self) -> Option<Entry> {
        let backwards = self.backwards;
        let mut best: Option<usize> = None;
        for at in 0..self.parts.len() {
            let part = &mut self.parts[at];
            if part.next.is_none() {
                part.next = part.find(&self.query, backwards);
            }
            if part.next.is_none() {
                continue;
            }
            best = match best {
                Some(other) if is_before(&self.parts[other], &self.parts[at]) != backwards => Some(other),
                _ => Some(at),
            };
        }
        self.parts[best?].take()
    }
}

/// Whether the next entry of a file comes before that of another one: by their numbers where these count
/// alike, else by the clock.
fn is_before(a: &Part, b: &Part) -> bool {
    let (Some(one), Some(other)) = (&a.next, &b.next) else { return a.next.is_some() };
    if a.volume.seqnum_id == b.volume.seqnum_id && one.seqnum != other.seqnum {
        return one.seqnum < other.seqnum;
    }
    (one.realtime_us, one.seqnum) <= (other.realtime_us, other.seqnum)
}

impl Part {
    /// Finds out what the query means in this file.
    fn resolve(&mut self, query: &Query) {
        let volume = &self.volume;
        let places = |all: &AllOf| all.iter().map(|field| volume.data(field)).collect::<Option<Vec<u64>>>();
        self.terms = match query.of_each.first() {
            None => vec![Term { chain: volume.chain_of_all(), also: Vec::new(), at: 0 }],
            Some(any) => {
                let known = any.iter().filter_map(places);
                let terms = known.filter_map(|mut places| {
                    let first = (!places.is_empty()).then(|| places.remove(0))?;
                    Some(Term { chain: volume.chain_of(first)?, also: places, at: 0 })
                });
                terms.collect()
            }
        };
        let filter = |any: &Vec<AllOf>| any.iter().filter_map(places).collect();
        self.filters = query.of_each.iter().skip(1).map(filter).collect();
    }

    fn begin(&mut self, query: &Query, backwards: bool) {
        self.resolve(query);
        (self.next, self.given) = (None, None);
        let last = |term: &Term| self.volume.entry_at(&term.chain, term.chain.total.checked_sub(1)?);
        self.newest = self.terms.iter().filter_map(last).max();
        for term in &mut self.terms {
            term.at = match (backwards, query.since_us, query.until_us) {
                (false, Some(since), _) => self.volume.since(&term.chain, since),
                (false, None, _) => 0,
                (true, _, Some(until)) => self.volume.since(&term.chain, until.saturating_add(1)),
                (true, ..) => term.chain.total,
            };
        }
    }

    /// The lists may be longer, and there may be some that weren't there.
    fn grow(&mut self, query: &Query) {
        let given = self.given;
        self.resolve(query);
        self.next = None;
        for term in &mut self.terms {
            // Entries of a list lie one behind the other.
            let (mut low, mut high) = (0, term.chain.total);
            while low < high {
                let middle = low + (high - low) / 2;
                let at = self.volume.entry_at(&term.chain, middle);
                if at.is_some_and(|at| given.is_some_and(|given| at <= given)) {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            let since = query.since_us.filter(|_| given.is_none());
            term.at = since.map_or(low, |since| self.volume.since(&term.chain, since).max(low));
        }
    }

    fn is_read(&self) -> bool {
        self.terms.iter().all(|term| term.at >= term.chain.total)
    }

    /// The next entry that fits.
    fn find(&mut self, query: &Query, backwards: bool) -> Option<Head> {
        loop {
            let mut best: Option<(u64, usize)> = None;
            for (number, term) in self.terms.iter_mut().enumerate() {
                let Some(at) = term.peek(&self.volume, backwards) else { continue };
                // An entry that two lists have comes once; so does what a damaged list has twice.
                let better = best.is_none_or(|(other, _)| if backwards { at > other } else { at < other });
                if better {
                    best = Some((at, number));
                }
            }
            let (at, number) = best?;
            self.terms[number].step(backwards);
            let seen = self.given.is_some_and(|given| if backwards { at >= given } else { at <= given });
            if seen {
                continue;
            }
            let Some(head) = self.volume.head(at) else { continue };
            let in_time = |us: u64| {
                query.since_us.is_none_or(|since| us >= since)
                    && query.until_us.is_none_or(|until| us <= until)
            };
            if backwards && query.since_us.is_some_and(|since| head.realtime_us < since) {
                // All that is left in this list is older, but for set clocks.
                self.terms[number].at = 0;
                continue;
            }
            if !backwards && query.until_us.is_some_and(|until| head.realtime_us > until) {
                self.terms[number].at = self.terms[number].chain.total;
                continue;
            }
            if in_time(head.realtime_us) && self.fits(number, &head) {
                self.given = Some(at);
                return Some(head);
            }
        }
    }

    fn fits(&self, term: usize, head: &Head) -> bool {
        let also = &self.terms[term].also;
        if also.is_empty() && self.filters.is_empty() {
            return true;
        }
        let items = self.volume.items(head);
        let has = |places: &Vec<u64>| places.iter().all(|place| items.contains(place));
        has(also) && self.filters.iter().all(|any| any.iter().any(has))
    }

    fn take(&mut self) -> Option<Entry> {
        let head = self.next.take()?;
        let items = self.volume.items(&head);
        let fields: Vec<Payload> = items.iter().filter_map(|at| self.volume.payload(*at)).collect();
        Some(Entry {
            realtime_us: head.realtime_us,
            monotonic_us: head.monotonic_us,
            boot: head.boot,
            seqnum: head.seqnum,
            seqnum_id: self.volume.seqnum_id,
            xor: head.xor,
            damaged: items.len() - fields.len(),
            fields,
        })
    }
}

impl Term {
    fn peek(&mut self, volume: &Volume, backwards: bool) -> Option<u64> {
        loop {
            let number = if backwards { self.at.checked_sub(1)? } else { self.at };
            if number >= self.chain.total {
                return None;
            }
            if let Some(at) = volume.entry_at(&self.chain, number) {
                return Some(at);
            }
            self.step(backwards);
        }
    }

    fn step(&mut self, backwards: bool) {
        self.at = if backwards { self.at.saturating_sub(1) } else { self.at + 1 };
    }
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.take(16 * FILES).map(|entry| entry.path())
}

/// Whether it is called like a journal: `x.journal`, and `x.journal~` where a writer didn't end in order.
fn is_journal(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.ends_with(b".journal") || name.ends_with(b".journal~")
}

/// What lines of a unit are: what it wrote, and what pid 1, the core dumper and others said about it; as
/// `journalctl -u` has it, and for the user manager's units `--user-unit`.
pub fn of_unit(unit: &str) -> Vec<AllOf> {
    let with = |name: &str| format!("{name}={unit}").into_bytes();
    let fixed = |text: &str| text.as_bytes().to_vec();
    vec![
        vec![with("_SYSTEMD_UNIT")],
        vec![with("UNIT"), fixed("_PID=1")],
        vec![with("COREDUMP_UNIT"), fixed("_UID=0"), fixed("MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1")],
        vec![with("OBJECT_SYSTEMD_UNIT"), fixed("_UID=0")],
        vec![with("_SYSTEMD_USER_UNIT"), own_user()],
        vec![with("USER_UNIT"), own_user()],
    ]
}

/// What lines of one run of a unit are.
pub fn of_invocation(invocation: &[u8; 16]) -> Vec<AllOf> {
    let with = |name: &str| vec![format!("{name}={}", super::hex(invocation)).into_bytes()];
    vec![
        with("_SYSTEMD_INVOCATION_ID"),
        [with("INVOCATION_ID"), vec![b"_UID=0".to_vec()]].concat(),
        [with("USER_INVOCATION_ID"), vec![own_user()]].concat(),
    ]
}

/// What others say about units of this user doesn't count.
fn own_user() -> Vec<u8> {
    format!("_UID={}", rustix::process::geteuid().as_raw()).into_bytes()
}

/// The last entries of these folders that fit, oldest first; at most so many.
pub fn last_entries(folders: &[PathBuf], query: Query, most: usize) -> Vec<Rc<Entry>> {
    let mut reader = Reader::open(folders);
    reader.backwards(query);
    let mut found: Vec<Rc<Entry>> = Vec::new();
    while found.len() < most
        && let Some(entry) = reader.next_entry()
    {
        found.push(Rc::new(entry));
    }
    found.reverse();
    found
}
