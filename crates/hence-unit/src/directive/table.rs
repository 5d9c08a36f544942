//! The table of all rows, and how a directive is found in it.
//!
//! The rows are written with pointers to their texts. A program that can be loaded anywhere has to have each
//! pointer relocated whenever it is started, and each process then has a copy of its own of the pages that
//! they lie in. So the compiler packs the rows into numbers and one long text, which all processes share.

use super::{Loading, Outcome, Row, Section, Sections, Shape, Support, Take, row};
use crate::syntax::Assignment;

const GROUPS: &[&[Row]] = &[
    super::unit::ROWS,
    super::condition::ROWS,
    super::install::ROWS,
    super::service::ROWS,
    super::socket::ROWS,
    super::exec::ROWS,
    super::kill::ROWS,
    super::resource::ROWS,
    super::slice::ROWS,
    super::scope::ROWS,
    super::timer::ROWS,
    super::path::ROWS,
    super::mount::ROWS,
    super::automount::ROWS,
    super::swap::ROWS,
    super::x_hence::ROWS,
];

const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// The rows as they are written. Not to be used at run time.
#[expect(clippy::large_const_arrays, reason = "a static would be in the program, with all its pointers")]
const ALL: [Row; COUNT] = {
    const NONE: Row = row("", Sections(0), "", Take::Keep(Shape::Text), "");
    let mut rows = [NONE; COUNT];
    let (mut at, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut i = 0;
        while i < GROUPS[group].len() {
            rows[at] = GROUPS[group][i];
            at += 1;
            i += 1;
        }
        group += 1;
    }
    rows
};

type Act = fn(&mut Loading<'_>, &Assignment) -> Outcome;

/// A part of [`TEXTS`]: where it begins, times [`LONGEST`], and how long it is.
#[derive(Clone, Copy)]
struct Span(u32);

/// One more than the longest text of a row may have.
const LONGEST: usize = 1 << 10;

impl Span {
    fn text(self) -> &'static str {
        let (at, length) = (self.0 as usize / LONGEST, self.0 as usize % LONGEST);
        &TEXTS[at..at + length]
    }

    /// The text, where there is one.
    fn given(self) -> Option<&'static str> {
        (self.0 != 0).then(|| self.text())
    }
}

/// A row without a pointer.
#[derive(Clone, Copy)]
struct Packed {
    name: Span,
    page: Span,
    doc: Span,
    /// Why it is accepted.
    why: Span,
    default: Span,
    replaced_by: Span,
    sections: Sections,
    since: u16,
    take: PackedTake,
    support: PackedSupport,
    refuses: bool,
}

/// [`Take`], with an index into [`ACTS`] or [`SHAPES`].
#[derive(Clone, Copy)]
enum PackedTake {
    Act(u16),
    Keep(u16),
    Sandbox(u16),
}

#[derive(Clone, Copy)]
enum PackedSupport {
    Acted,
    Accepted,
    NotYet,
}

/// How many acts, shapes and bytes of text the rows have, each text counted as often as it is there.
const SIZES: (usize, usize, usize) = {
    // Before the first text stands a byte, so that no text begins at 0.
    let (mut acts, mut shapes, mut bytes, mut i) = (0, 0, 1, 0);
    while i < COUNT {
        match ALL[i].take {
            Take::Act(_) => acts += 1,
            Take::Keep(_) | Take::Sandbox(..) => shapes += 1,
        }
        let texts = texts(&ALL[i]);
        let mut text = 0;
        while text < texts.len() {
            bytes += texts[text].len();
            text += 1;
        }
        i += 1;
    }
    (acts, shapes, bytes)
};

/// Name, page, doc, why it is accepted, default, former name's successor.
const fn texts(row: &Row) -> [&'static str; 6] {
    let why = match row.support {
        Support::Accepted(why) => why,
        Support::Acted | Support::NotYet => "",
    };
    let default = match row.take {
        Take::Sandbox(_, default) => default,
        Take::Act(_) | Take::Keep(_) => "",
    };
    let replaced_by = match row.replaced_by {
        Some(now) => now,
        None => "",
    };
    [row.name, row.page, row.doc, why, default, replaced_by]
}

struct Table {
    rows: [Packed; COUNT],
    bytes: [u8; SIZES.2],
    acts: [Act; SIZES.0],
    shapes: [Shape; SIZES.1],
}

const TABLE: Table = {
    const fn no_act(_: &mut Loading<'_>, _: &Assignment) -> Outcome {
        Outcome::Rejected
    }
    const NONE: Packed = Packed {
        name: Span(0),
        page: Span(0),
        doc: Span(0),
        why: Span(0),
        default: Span(0),
        replaced_by: Span(0),
        sections: Sections(0),
        since: 0,
        take: PackedTake::Keep(0),
        support: PackedSupport::NotYet,
        refuses: false,
    };
    let mut bytes = [b' '; SIZES.2];
    let mut spans = [[Span(0); 6]; COUNT];
    let mut end = 1;
    // Text by text and not row by row: the names are looked at often, and lie together.
    let mut text = 0;
    while text < 6 {
        let mut i = 0;
        while i < COUNT {
            let bytes_of = texts(&ALL[i])[text].as_bytes();
            assert!(bytes_of.len() < LONGEST, "the text of a row is too long");
            if i > 0 && same(bytes_of, texts(&ALL[i - 1])[text].as_bytes()) {
                spans[i][text] = spans[i - 1][text];
            } else if !bytes_of.is_empty() {
                spans[i][text] = Span((end * LONGEST + bytes_of.len()) as u32);
                let mut at = 0;
                while at < bytes_of.len() {
                    bytes[end] = bytes_of[at];
                    (end, at) = (end + 1, at + 1);
                }
            }
            i += 1;
        }
        text += 1;
    }
    let mut rows = [NONE; COUNT];
    let mut acts: [Act; SIZES.0] = [no_act; SIZES.0];
    let mut shapes = [Shape::Text; SIZES.1];
    let (mut i, mut act, mut shape) = (0, 0, 0);
    while i < COUNT {
        let row = &ALL[i];
        let take = match row.take {
            Take::Act(take) => {
                acts[act] = take;
                act += 1;
                PackedTake::Act(act as u16 - 1)
            }
            Take::Keep(kept) => {
                shapes[shape] = kept;
                shape += 1;
                PackedTake::Keep(shape as u16 - 1)
            }
            Take::Sandbox(kept, _) => {
                shapes[shape] = kept;
                shape += 1;
                PackedTake::Sandbox(shape as u16 - 1)
            }
        };
        let support = match row.support {
            Support::Acted => PackedSupport::Acted,
            Support::Accepted(_) => PackedSupport::Accepted,
            Support::NotYet => PackedSupport::NotYet,
        };
        let [name, page, doc, why, default, replaced_by] = spans[i];
        let (sections, since, refuses) = (row.sections, row.since, row.refuses);
        rows[i] =
            Packed { name, page, doc, why, default, replaced_by, sections, since, take, support, refuses };
        i += 1;
    }
    Table { rows, bytes, acts, shapes }
};

static PACKED: [Packed; COUNT] = TABLE.rows;
static ACTS: [Act; SIZES.0] = TABLE.acts;
static SHAPES: [Shape; SIZES.1] = TABLE.shapes;
static BYTES: [u8; SIZES.2] = TABLE.bytes;
static TEXTS: &str = match core::str::from_utf8(&BYTES) {
    Ok(texts) => texts,
    Err(_) => panic!("texts are cut between characters only"),
};

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

impl Packed {
    fn take(&self) -> Take {
        match self.take {
            PackedTake::Act(i) => Take::Act(ACTS[usize::from(i)]),
            PackedTake::Keep(i) => Take::Keep(SHAPES[usize::from(i)]),
            PackedTake::Sandbox(i) => Take::Sandbox(SHAPES[usize::from(i)], self.default.text()),
        }
    }

    fn row(&self) -> Row {
        Row {
            name: self.name.text(),
            sections: self.sections,
            take: self.take(),
            support: match self.support {
                PackedSupport::Acted => Support::Acted,
                PackedSupport::Accepted => Support::Accepted(self.why.text()),
                PackedSupport::NotYet => Support::NotYet,
            },
            since: self.since,
            page: self.page.text(),
            doc: self.doc.text(),
            replaced_by: self.replaced_by.given(),
            refuses: self.refuses,
        }
    }
}

/// Every directive, by section and man page.
pub fn rows() -> impl ExactSizeIterator<Item = Row> {
    PACKED.iter().map(Packed::row)
}

/// The row of this index among all of them.
pub fn row_at(index: u16) -> Option<Row> {
    PACKED.get(usize::from(index)).map(Packed::row)
}

/// The name of the row of this index; empty where there is none.
pub fn name_of(index: u16) -> &'static str {
    PACKED.get(usize::from(index)).map_or("", |packed| packed.name.text())
}

/// Where the rows are by [`place`] of their names, or else behind that place; 0 where none is, for the row of
/// index 0 stands as 1. Names that differ in their meanings from section to section have several rows.
static PLACES: [u16; PLACES_COUNT] = {
    let mut places = [0u16; PLACES_COUNT];
    let mut i = 0;
    while i < COUNT {
        let mut at = place(ALL[i].name.as_bytes());
        while places[at] != 0 {
            at = (at + 1) % PLACES_COUNT;
        }
        places[at] = i as u16 + 1;
        i += 1;
    }
    places
};

/// Enough for most rows to be where their name says.
const PLACES_COUNT: usize = (COUNT * 2).next_power_of_two();

/// A number that tells most names apart, from their first and last bytes.
const fn place(name: &[u8]) -> usize {
    let (first, last) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => {
            let (mut number, mut i) = (0, 0);
            while i < name.len() {
                number = number << 8 | name[i] as u64;
                i += 1;
            }
            (number, 0)
        }
    };
    let number = first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ last.wrapping_mul(0xd6e8_feb8_6659_fd93);
    let number = (number ^ number >> 32).wrapping_add(name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (number >> 32) as usize % PLACES_COUNT
}

pub(super) fn position(section: Section, name: &str) -> Option<u16> {
    let mut at = place(name.as_bytes());
    loop {
        let row = PLACES[at].checked_sub(1)?;
        if PACKED[usize::from(row)].sections.has(section) && name_of(row) == name {
            return Some(row);
        }
        at = (at + 1) % PLACES_COUNT;
    }
}

/// The first row of this name.
pub(crate) fn row_named(name: &str) -> Option<u16> {
    named(name)[0].checked_sub(1)
}

/// The rows of this name, one for each meaning, each one more than its index; 0 where there is none.
pub(crate) fn named(name: &str) -> [u16; NAMED_MAX] {
    let mut found = [0; NAMED_MAX];
    let (mut at, mut count) = (place(name.as_bytes()), 0);
    while let Some(row) = PLACES[at].checked_sub(1) {
        if name_of(row) == name && count < NAMED_MAX {
            found[count] = row + 1;
            count += 1;
        }
        at = (at + 1) % PLACES_COUNT;
    }
    found
}

/// Most rows that have the same name.
const NAMED_MAX: usize = 6;

/// What of a row an assignment needs.
pub(super) struct Brief {
    pub take: Take,
    pub replaced_by: Option<&'static str>,
    pub refuses: bool,
    /// A typed field holds the value, and is acted on.
    pub held: bool,
}

/// What an assignment in this section needs of the row of this index.
pub(super) fn brief_at(index: u16, section: Section) -> Option<Brief> {
    let packed = PACKED.get(usize::from(index))?;
    let acts = matches!((packed.take, packed.support), (PackedTake::Act(_), PackedSupport::Acted));
    Some(Brief {
        take: packed.take(),
        replaced_by: packed.replaced_by.given(),
        refuses: packed.refuses,
        held: acts && Row::support(Support::Acted, packed.sections, section) == Support::Acted,
    })
}

/// The row of a directive in a section, names as they are written.
pub fn find(section: &str, name: &str) -> Option<Row> {
    position(Section::parse(section)?, name).and_then(row_at)
}
