//! `list-dependencies`, and the tree of a unit's processes.

use super::{Args, Failed, field, properties, property, text};
use crate::control::Control;
use hence_bus::wire::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// The mark of a unit's state.
pub fn mark(active: &str) -> &'static str {
    match active {
        "reloading" => "↻",
        "inactive" | "maintenance" => "○",
        "failed" => "×",
        _ => "●",
    }
}

/// Which properties are followed.
fn followed(args: &Args) -> &'static [&'static str] {
    if args.after {
        &["After"]
    } else if args.before {
        &["Before"]
    } else if args.reverse {
        &["RequiredBy", "RequisiteOf", "WantedBy", "PartOf", "BoundBy", "UpheldBy"]
    } else {
        &["Requires", "Requisite", "Wants", "ConsistsOf", "BindsTo", "Upholds"]
    }
}

struct Walk<'a> {
    args: &'a Args,
    /// The units above, which are not entered again; in a plain list, all that were printed.
    seen: Vec<String>,
    /// Whether there is more below each of the units above.
    more: Vec<bool>,
    known: BTreeMap<String, (Vec<String>, String)>,
}

impl Walk<'_> {
    fn about(&mut self, control: &mut Control, unit: &str) -> Result<(Vec<String>, String), Failed> {
        if let Some(known) = self.known.get(unit) {
            return Ok(known.clone());
        }
        let about = properties(control, unit)?;
        let mut names = BTreeSet::new();
        for name in followed(self.args) {
            let items = property(&about, name).map_or(&[][..], Value::items);
            names.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort_by_key(|name| name.to_lowercase());
        let found = (names, text(&about, "ActiveState").to_owned());
        self.known.insert(unit.to_owned(), found.clone());
        Ok(found)
    }

    fn print(
        &self,
        active: Option<&str>,
        last: bool,
        name: &str,
        out: &mut impl Write,
    ) -> Result<(), Failed> {
        if self.args.plain {
            writeln!(out, "{}{name}", "  ".repeat(self.more.len() + 1))?;
            return Ok(());
        }
        let bars: String = self.more.iter().map(|more| if *more { "│ " } else { "  " }).collect();
        let (dot, branch) = (active.map_or(" ", mark), if last { "└─" } else { "├─" });
        writeln!(out, "{dot} {bars}{branch}{name}")?;
        Ok(())
    }

    fn below(&mut self, control: &mut Control, unit: &str, out: &mut impl Write) -> Result<(), Failed> {
        let (names, _) = self.about(control, unit)?;
        self.seen.push(unit.to_owned());
        for (at, name) in names.iter().enumerate() {
            let last = at + 1 == names.len();
            if self.seen.contains(name) {
                if !self.args.plain {
                    self.print(None, last, "...", out)?;
                }
                continue;
            }
            let (_, active) = self.about(control, name)?;
            let kind = name.rsplit('.').next().unwrap_or_default();
            let shown = self.args.kinds.is_empty() || self.args.kinds.iter().any(|known| known == kind);
            if shown {
                self.print(Some(&active), last, name, out)?;
            }
            if self.args.all || kind == "target" {
                self.more.push(!last);
                self.below(control, name, out)?;
                self.more.pop();
            }
        }
        if !self.args.plain {
            self.seen.pop();
        }
        Ok(())
    }
}

/// Prints what units need, or what needs them.
pub fn dependencies(
    control: &mut Control,
    args: &Args,
    units: &[String],
    out: &mut impl Write,
) -> Result<u8, Failed> {
    let default = ["default.target".to_owned()];
    let units = if units.is_empty() { &default[..] } else { units };
    for (number, unit) in units.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{unit}")?;
        let mut walk = Walk { args, seen: Vec::new(), more: Vec::new(), known: BTreeMap::new() };
        walk.below(control, unit, out)?;
    }
    Ok(0)
}

#[derive(Default)]
struct Group {
    processes: Vec<(u32, String)>,
    below: BTreeMap<String, Group>,
}

impl Group {
    fn print(&self, before: &str, out: &mut impl Write) -> Result<(), Failed> {
        let width = self.processes.iter().map(|(pid, _)| pid.to_string().len()).max().unwrap_or(0);
        for (at, (pid, command)) in self.processes.iter().enumerate() {
            let more = at + 1 < self.processes.len() || !self.below.is_empty();
            writeln!(out, "{before}{}{pid:>width$} {command}", if more { "├─" } else { "└─" })?;
        }
        for (at, (name, group)) in self.below.iter().enumerate() {
            let more = at + 1 < self.below.len();
            writeln!(out, "{before}{}{name}", if more { "├─" } else { "└─" })?;
            group.print(&format!("{before}{}", if more { "│ " } else { "  " }), out)?;
        }
        Ok(())
    }
}

/// Prints the processes of a unit, by their groups below the unit's own.
pub fn processes(rows: &[Value], top: &str, before: &str, out: &mut impl Write) -> Result<(), Failed> {
    let mut all = Group::default();
    for row in rows {
        let Some(Value::Uint32(pid)) = row.items().get(1) else { continue };
        let group = field(row, 0);
        let below =
            group.strip_prefix(top).filter(|rest| rest.is_empty() || rest.starts_with('/') || top == "/");
        let mut at = &mut all;
        for name in below.unwrap_or(group).split('/').filter(|name| !name.is_empty()) {
            at = at.below.entry(name.to_owned()).or_default();
        }
        at.processes.push((*pid, field(row, 2).to_owned()));
        at.processes.sort();
        // A server may name a process for each group that it is below.
        at.processes.dedup();
    }
    all.print(before, out)
}
