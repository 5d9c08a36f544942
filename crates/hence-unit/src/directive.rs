//! The rows: every directive of the unit kinds, what it does here, and how its value is taken.
//!
//! Loading, "did you mean", the listing of directives and the settings that `why` quotes all come from
//! these rows. A row does not act: it only fills [`Config`]. Sections: systemd.unit(5),
//! systemd.syntax(7), systemd.directives(7).

use crate::{
    Config, Diagnostic, Level, Place, Position, SourceRole, UnitKind, UnitName,
    config::{Environs, Setting},
    specifier,
    syntax::Assignment,
};
use alloc::{borrow::Cow, format, string::String};
use core::fmt;

mod attribute;
mod automount;
mod capability;
mod condition;
mod exec;
mod install;
mod kill;
mod logging;
mod mount;
mod nearest;
mod path;
mod protection;
mod resource;
mod restrict;
mod scope;
mod section;
mod service;
mod shape;
mod slice;
mod socket;
mod stdio;
mod swap;
mod table;
#[cfg(test)]
mod tests;
mod timer;
mod typed;
mod unit;
mod x_hence;

pub use capability::NAMES as CAPABILITIES;
pub use nearest::nearest;
pub use resource::CONTROLLERS;
pub use section::{Section, Sections};
pub use shape::Shape;
pub use table::{find, name_of, row_at, rows};
pub(crate) use table::{named, row_named};
pub(crate) use typed::resources;

/// A unit while its assignments are applied.
pub struct Loading<'a> {
    /// The unit, for its specifiers.
    pub unit: &'a UnitName,
    /// What specifiers stand for on this machine.
    pub environs: &'a Environs,
    /// What the assignments fill.
    pub config: &'a mut Config,
    /// Index into [`Config::sources`] of the file that is being applied.
    pub source: u16,
}

/// What a row does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Engine or host act on it.
    Acted,
    /// Accepted without effect, on purpose; why.
    Accepted(&'static str),
    /// Checked, kept and shown; nothing acts on it so far.
    NotYet,
}

impl Support {
    /// The word of the listing.
    pub const fn as_str(self) -> &'static str {
        match self {
            Support::Acted => "acted on",
            Support::Accepted(_) => "accepted",
            Support::NotYet => "not yet",
        }
    }
}

/// What an assignment did to the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took the place of former assignments of this directive.
    Replaced,
    /// It was added to them.
    Added,
    /// It was empty and removed them.
    Reset,
    /// It had no usable value and changed nothing; a diagnostic says so.
    Rejected,
}

/// How a row takes its value.
#[derive(Clone, Copy)]
pub enum Take {
    /// A typed field is filled.
    Act(fn(&mut Loading<'_>, &Assignment) -> Outcome),
    /// The value is checked and kept as text.
    Keep(Shape),
    /// As `Keep`; another value than this default would change the process, which does not happen, so
    /// that the name goes to `ExecConfig::not_applied`.
    Sandbox(Shape, &'static str),
}

impl fmt::Debug for Take {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Take::Act(_) => f.write_str("Act"),
            Take::Keep(shape) => write!(f, "Keep({shape:?})"),
            Take::Sandbox(shape, default) => write!(f, "Sandbox({shape:?}, {default:?})"),
        }
    }
}

/// One directive.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The sections it may stand in.
    pub sections: Sections,
    /// How its value is taken.
    pub take: Take,
    /// What it does here.
    pub support: Support,
    /// The systemd version that added it; 0 for those as old as the man pages' count.
    pub since: u16,
    /// The man page that describes it: `systemd.service(5)`.
    pub page: &'static str,
    /// What it says, in one sentence.
    pub doc: &'static str,
    /// For a former name, a name or a sentence that says what to write now.
    pub replaced_by: Option<&'static str>,
    /// Whether a value that can't be used makes the unit unusable, as it would otherwise run with other
    /// rights or in another place than asked for.
    pub refuses: bool,
}

impl Row {
    /// What the row does in one of its sections: kinds that are only loaded act on nothing.
    pub const fn support_in(&self, section: Section) -> Support {
        Row::support(self.support, self.sections, section)
    }

    /// What a row of these sections does in one of them.
    const fn support(support: Support, sections: Sections, section: Section) -> Support {
        match (support, section) {
            // They are taken as text, when all files of such a unit were applied.
            (Support::NotYet, Section::Mount) if sections.0 == Section::Mount.only().0 => Support::Acted,
            (Support::NotYet, Section::Swap) if sections.0 == Section::Swap.only().0 => Support::Acted,
            (Support::NotYet, Section::Automount) if sections.0 == Section::Automount.only().0 => {
                Support::Acted
            }
            (support, _) => support,
        }
    }

    /// Marks the version that added it.
    pub(crate) const fn since(mut self, version: u16) -> Row {
        self.since = version;
        self
    }

    /// Marks it as accepted without effect.
    pub(crate) const fn accepted(mut self, why: &'static str) -> Row {
        self.support = Support::Accepted(why);
        self
    }

    /// Marks a row whose text is acted on, when all files of a unit were applied.
    pub(crate) const fn acted(mut self) -> Row {
        self.support = Support::Acted;
        self
    }

    /// Marks a row that fills a field nothing acts on yet.
    pub(crate) const fn not_yet(mut self) -> Row {
        self.support = Support::NotYet;
        self
    }

    /// Marks a row whose unusable values make the unit unusable.
    pub(crate) const fn refuses(mut self) -> Row {
        self.refuses = true;
        self
    }

    /// Marks a former name.
    pub(crate) const fn replaced_by(mut self, now: &'static str) -> Row {
        self.replaced_by = Some(now);
        self
    }
}

/// A row; acted on where it fills a typed field, and not yet otherwise.
pub(crate) const fn row(
    name: &'static str,
    sections: Sections,
    page: &'static str,
    take: Take,
    doc: &'static str,
) -> Row {
    let support = match take {
        Take::Act(_) => Support::Acted,
        Take::Keep(_) | Take::Sandbox(..) => Support::NotYet,
    };
    Row { name, sections, take, support, since: 0, page, doc, replaced_by: None, refuses: false }
}

/// One line of the listing of directives: a row in one section.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The section.
    pub section: &'static str,
    /// The directive.
    pub name: &'static str,
    /// What it does here.
    pub support: Support,
    /// The systemd version that added it, 0 for the oldest.
    pub since: u16,
    /// The man page.
    pub page: &'static str,
    /// What it says.
    pub doc: &'static str,
    /// What to write instead, for a former name.
    pub replaced_by: Option<&'static str>,
}

/// The listing of all directives, one entry for each section of a row.
pub fn table() -> impl Iterator<Item = Entry> {
    Section::ALL.iter().flat_map(|&section| {
        rows().filter(move |row| row.sections.has(section)).map(move |row| Entry {
            section: section.as_str(),
            name: row.name,
            support: row.support_in(section),
            since: row.since,
            page: row.page,
            doc: row.doc,
            replaced_by: row.replaced_by,
        })
    })
}

/// Takes one assignment: finds its row, fills the configuration, and records the setting.
///
/// What can't be used becomes a diagnostic: `unknown-section`, `misplaced-section`, `unknown-directive`,
/// `misplaced-directive`, `former-directive`, `bad-value`, `no-effect`. A `bad-value` is an error, which
/// makes the unit unusable, where the row says so. Sections that start with `X-` are for others.
pub fn apply(loading: &mut Loading<'_>, assignment: &Assignment) {
    let Some(section) = Section::parse(&assignment.section) else {
        if !assignment.section.starts_with("X-") {
            unknown_section(loading, assignment);
        }
        return;
    };
    if !section.belongs_to(loading.unit.kind()) {
        let message =
            format!("section [{section}] has no meaning in a {} unit", loading.unit.kind().suffix());
        loading.diagnose_section("misplaced-section", assignment, message, None);
        return;
    }
    let index = table::position(section, &assignment.key);
    let Some((index, row)) = index.and_then(|index| Some((index, table::brief_at(index, section)?))) else {
        unknown_directive(loading, section, assignment);
        return;
    };
    if let Some(now) = row.replaced_by {
        let fix = if now.contains(' ') { now.into() } else { format!("write {now}=") };
        let message = format!("{}= is a former name", assignment.key);
        loading.diagnose("former-directive", Level::Note, assignment.place.clone(), message, Some(fix));
    }
    let before = loading.config.diagnostics.len();
    let outcome = match row.take {
        Take::Act(take) => take(loading, assignment),
        Take::Keep(shape) => shape.check(loading, assignment),
        Take::Sandbox(shape, default) => {
            let outcome = shape.check(loading, assignment);
            shape::not_applied(loading, name_of(index), default, &assignment.value, outcome);
            outcome
        }
    };
    if row.refuses {
        loading.refuse(before);
    }
    record(loading, index, assignment, outcome, row.held);
}

fn record(loading: &mut Loading<'_>, row: u16, assignment: &Assignment, outcome: Outcome, held: bool) {
    let settings = &mut loading.config.settings;
    if matches!(outcome, Outcome::Replaced | Outcome::Reset) && settings.iter().any(|s| s.row == row) {
        settings.retain(|s| s.row != row);
    }
    if matches!(outcome, Outcome::Replaced | Outcome::Added) {
        settings.push(Setting {
            row,
            source: loading.source,
            line: assignment.place.line,
            column: assignment.value_column,
            value: if held { None } else { Some((&*assignment.value).into()) },
        });
    }
}

fn unknown_section(loading: &mut Loading<'_>, assignment: &Assignment) {
    let name: &str = &assignment.section;
    let known = Section::ALL.iter().filter(|s| s.belongs_to(loading.unit.kind())).map(|s| s.as_str());
    let fix = nearest(name, known).map(|n| format!("did you mean [{n}]?"));
    loading.diagnose_section("unknown-section", assignment, format!("there is no section [{name}]"), fix);
}

fn unknown_directive(loading: &mut Loading<'_>, section: Section, assignment: &Assignment) {
    let key: &str = &assignment.key;
    if key.starts_with("X-") {
        return;
    }
    let kind = loading.unit.kind();
    let elsewhere = |fits: &dyn Fn(Section) -> bool| {
        Section::ALL.iter().copied().find(|&s| s != section && fits(s) && table::position(s, key).is_some())
    };
    let own = elsewhere(&|s| s.belongs_to(kind));
    if let Some(other) = own.or_else(|| elsewhere(&|_| true)) {
        let message = format!("{key}= does not belong in [{section}]");
        let fix = match own {
            Some(_) => format!("move it to [{other}]"),
            None => format!("it belongs in [{other}] of another kind of unit"),
        };
        let place = assignment.place.clone();
        return loading.diagnose("misplaced-directive", Level::Warning, place, message, Some(fix));
    }
    let known = rows().filter(|r| r.sections.has(section) && r.replaced_by.is_none()).map(|r| r.name);
    let fix = nearest(key, known).map(|n| format!("did you mean {n}=?"));
    let message = format!("there is no {key}= in [{section}]");
    loading.diagnose("unknown-directive", Level::Warning, assignment.place.clone(), message, fix);
}

impl Loading<'_> {
    /// A place in the file that is being loaded, without its path.
    pub(crate) fn position(&self, place: &Place) -> Position {
        Position::new(self.source, place.line, place.column)
    }

    /// Adds a diagnostic.
    pub fn diagnose(
        &mut self,
        rule: &'static str,
        level: Level,
        place: Place,
        message: String,
        fix: Option<String>,
    ) {
        self.config.diagnostics.push(Diagnostic { rule, level, place, message, fix });
    }

    /// Adds a diagnostic about a section unless its last one said the same of this file: once is enough.
    fn diagnose_section(
        &mut self,
        rule: &'static str,
        assignment: &Assignment,
        message: String,
        fix: Option<String>,
    ) {
        let said = self.config.diagnostics.iter().rev().take(16);
        let mut said = said.filter(|d| d.rule == rule && d.place.file == assignment.place.file);
        if said.any(|d| d.message == message) {
            return;
        }
        let place = Place { column: 0, ..assignment.place.clone() };
        self.diagnose(rule, Level::Warning, place, message, fix);
    }

    /// Makes errors of the `bad-value` diagnostics from the given one on: the unit can't be used.
    pub(crate) fn refuse(&mut self, from: usize) {
        for diagnostic in self.config.diagnostics.iter_mut().skip(from) {
            if diagnostic.rule == "bad-value" {
                diagnostic.level = Level::Error;
            }
        }
    }

    /// Adds a `bad-value` diagnostic at the value of this assignment.
    pub fn bad_value(&mut self, assignment: &Assignment, message: String, fix: Option<String>) {
        self.bad_value_at(assignment, assignment.value_column, message, fix);
    }

    /// Adds a `bad-value` diagnostic at a column of the assignment's first line.
    pub fn bad_value_at(
        &mut self,
        assignment: &Assignment,
        column: u32,
        message: String,
        fix: Option<String>,
    ) {
        let place = Place { column, ..assignment.place.clone() };
        self.diagnose("bad-value", Level::Warning, place, message, fix);
    }

    /// A text with its specifiers expanded; `None`, with a diagnostic, where that fails.
    pub fn expand<'t>(&mut self, assignment: &Assignment, text: &'t str) -> Option<Cow<'t, str>> {
        if crate::bytes::find(text.as_bytes(), b'%').is_none() {
            return Some(Cow::Borrowed(text));
        }
        let fragment = self.config.sources.iter().find(|s| s.role == SourceRole::Fragment);
        let fragment = fragment.map(|s| &*s.path);
        match specifier::expand_in(text, self.unit, self.environs, fragment) {
            Ok(expanded) => Some(Cow::Owned(expanded)),
            Err(error) => {
                self.bad_value(assignment, format!("{}=: {error}", assignment.key), None);
                None
            }
        }
    }

    /// The kind of the unit.
    pub fn kind(&self) -> UnitKind {
        self.unit.kind()
    }
}
