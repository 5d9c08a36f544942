//! Cycles: of orderings among units that start together, and of requirements.

use super::names::Names;
use super::{Check, Findings, Level, LintUnit, Rule, World, requirement::place_of};
use crate::{Config, DependencyKind as Kinds, Origin, UnitName, implied};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    format,
    rc::Rc,
    string::{String, ToString},
    vec,
    vec::Vec,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "order-cycle",
        level: Level::Warning,
        says: "Units that start together are each to start after the other.",
        why: "systemd breaks the cycle by not starting one of them, which differs from boot to boot; where \
              none can \
              be left out it starts nothing at all. Remove one After= or Before=.",
        page: "systemd.unit(5)",
        bad: "-- a.service --\n[Unit]\nWants=b.service\nAfter=b.service\n[Service]\nExecStart=/usr/bin/a\n\
              -- b.service --\n[Unit]\nAfter=a.service\n[Service]\nExecStart=/usr/bin/b\n",
        good: "-- a.service --\n[Unit]\nWants=b.service\nAfter=b.service\n[Service]\nExecStart=/usr/bin/a\n\
               -- b.service --\n[Service]\nExecStart=/usr/bin/b\n",
        check: Check::World(order_cycles),
    },
    Rule {
        id: "before-and-after",
        level: Level::Error,
        says: "The unit is to start both before and after another one.",
        why: "Both orders can't hold; systemd drops one of the units when they start together.",
        page: "systemd.unit(5)",
        bad: "[Unit]\nAfter=db.service\nBefore=db.service\n[Service]\nExecStart=/usr/bin/foo\n",
        good: "[Unit]\nAfter=db.service\n[Service]\nExecStart=/usr/bin/foo\n",
        check: Check::Unit(before_and_after),
    },
    Rule {
        id: "requirement-cycle",
        level: Level::Note,
        says: "Units require each other in a circle.",
        why: "None of them can be stopped or restarted alone, and the failure of one takes all down. Where \
              that is \
              meant, PartOf= in one direction says it better.",
        page: "systemd.unit(5)",
        bad: "-- a.service --\n[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/usr/bin/a\n\
              -- b.service --\n[Unit]\nRequires=a.service\nBefore=a.service\n[Service]\n\
              ExecStart=/usr/bin/b\n",
        good: "-- a.service --\n[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\n\
               ExecStart=/usr/bin/a\n\
               -- b.service --\n[Unit]\nPartOf=a.service\n[Service]\nExecStart=/usr/bin/b\n",
        check: Check::World(requirement_cycles),
    },
];

/// Most units that are looked at together.
const UNITS_MAX: usize = 200_000;

fn before_and_after(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    let config = &unit.config;
    let declared = |d: &&crate::Dependency| matches!(d.origin, Origin::Directive(_));
    for after in config.dependencies.iter().filter(declared).filter(|d| d.kind == Kinds::After) {
        let both = config
            .dependencies
            .iter()
            .filter(declared)
            .any(|d| d.kind == Kinds::Before && d.other == after.other);
        if both {
            let message = format!("After={0} and Before={0}: both orders can't hold", after.other);
            findings.add(place_of(unit, after), message, "remove one of both");
        }
    }
}

fn pulls(kind: Kinds) -> bool {
    matches!(kind, Kinds::Requires | Kinds::Wants | Kinds::BindsTo | Kinds::Upholds)
}

/// The given units and all that they pull in, by numbers.
struct Graph {
    units: Vec<Rc<Config>>,
    numbers: Names<usize>,
    /// For each unit, those that it starts after.
    after: Vec<Vec<usize>>,
    /// For each unit, those that it pulls in, and whether it can't do without.
    pulled: Vec<Vec<(usize, bool)>>,
    given: usize,
}

impl Graph {
    fn new(world: &World<'_>) -> Graph {
        let units: Vec<Rc<Config>> = world.given().iter().map(|u| u.config.clone()).collect();
        let mut graph = Graph {
            given: units.len(),
            units,
            numbers: Names::default(),
            after: Vec::new(),
            pulled: Vec::new(),
        };
        for number in 0..graph.units.len() {
            graph.number(number);
        }
        let mut at = 0;
        while at < graph.units.len() {
            let config = graph.units[at].clone();
            for d in config.dependencies.iter().filter(|d| pulls(d.kind)) {
                if graph.numbers.get(&d.other).is_none()
                    && graph.units.len() < UNITS_MAX
                    && let Some(other) = world.config(&d.other)
                {
                    match graph.numbers.get(other.id()).copied() {
                        Some(known) => drop(graph.numbers.entry(&d.other, || known)),
                        None => {
                            graph.units.push(other);
                            graph.number(graph.units.len() - 1);
                        }
                    }
                }
            }
            at += 1;
        }
        graph.connect();
        graph
    }

    fn number(&mut self, number: usize) {
        let config = self.units[number].clone();
        for name in core::iter::once(config.id()).chain(&config.aliases) {
            self.numbers.entry(name, || number);
        }
    }

    fn connect(&mut self) {
        self.after = vec![Vec::new(); self.units.len()];
        self.pulled = vec![Vec::new(); self.units.len()];
        for (number, config) in self.units.iter().enumerate() {
            for d in &config.dependencies {
                let orders = matches!(d.kind, Kinds::After | Kinds::Before);
                if !orders && !pulls(d.kind) {
                    continue;
                }
                let Some(&other) = self.numbers.get(&d.other).filter(|n| **n != number) else { continue };
                if implied::is_void(config, d, &self.units[other]) {
                    continue;
                }
                match d.kind {
                    Kinds::After => self.after[number].push(other),
                    Kinds::Before => self.after[other].push(number),
                    kind if pulls(kind) => {
                        let hard = matches!(kind, Kinds::Requires | Kinds::BindsTo);
                        self.pulled[number].push((other, hard));
                    }
                    _ => {}
                }
            }
        }
    }

    /// All that starts with these units.
    fn started(&self, with: impl Iterator<Item = usize>, hard: bool) -> BTreeSet<usize> {
        let mut found: BTreeSet<usize> = with.collect();
        let mut next: Vec<usize> = found.iter().copied().collect();
        while let Some(unit) = next.pop() {
            for &(other, is_hard) in &self.pulled[unit] {
                if (is_hard || !hard) && found.insert(other) {
                    next.push(other);
                }
            }
        }
        found
    }

    /// The shortest cycle through this unit among these.
    fn cycle(&self, from: usize, among: &BTreeSet<usize>, edges: &[Vec<usize>]) -> Option<Vec<usize>> {
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let mut next = VecDeque::from([from]);
        while let Some(unit) = next.pop_front() {
            for &other in edges[unit].iter().filter(|o| among.contains(o)) {
                if other == from {
                    let mut cycle = vec![unit];
                    let mut at = unit;
                    while at != from {
                        at = before[&at];
                        cycle.push(at);
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if let Entry::Vacant(slot) = before.entry(other) {
                    slot.insert(unit);
                    next.push_back(other);
                }
            }
        }
        None
    }

    fn conflict(&self, cycle: &[usize]) -> bool {
        cycle.iter().any(|&unit| {
            let conflicts = self.units[unit].dependencies.iter().filter(|d| d.kind == Kinds::Conflicts);
            conflicts.filter_map(|d| self.numbers.get(&d.other)).any(|other| cycle.contains(other))
        })
    }
}

/// Sets of nodes that reach each other, each of more than one; Tarjan's algorithm without recursion, as a
/// chain
/// of units may be long.
fn components(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const NONE: usize = usize::MAX;
    let count = edges.len();
    let (mut index, mut low, mut open) = (vec![NONE; count], vec![0; count], vec![false; count]);
    let (mut stack, mut found, mut clock) = (Vec::new(), Vec::new(), 0);
    for root in 0..count {
        if index[root] != NONE {
            continue;
        }
        let mut calls = vec![(root, 0)];
        while let Some(&mut (node, ref mut edge)) = calls.last_mut() {
            if *edge == 0 && index[node] == NONE {
                (index[node], low[node], open[node]) = (clock, clock, true);
                clock += 1;
                stack.push(node);
            }
            if let Some(&other) = edges[node].get(*edge) {
                *edge += 1;
                if index[other] == NONE {
                    calls.push((other, 0));
                } else if open[other] {
                    low[node] = low[node].min(index[other]);
                }
                continue;
            }
            calls.pop();
            if let Some(&(caller, _)) = calls.last() {
                low[caller] = low[caller].min(low[node]);
            }
            if low[node] == index[node] {
                let at = stack.iter().rposition(|&n| n == node).unwrap_or(0);
                let component = stack.split_off(at);
                component.iter().for_each(|&n| open[n] = false);
                if component.len() > 1 {
                    found.push(component);
                }
            }
        }
    }
    found
}

fn order_cycles(world: &World<'_>, findings: &mut Findings<'_>) {
    let graph = Graph::new(world);
    let components = components(&graph.after);
    if components.is_empty() {
        return;
    }
    let wanted = |unit: &usize| {
        let install = &graph.units[*unit].install;
        install.wanted_by.iter().chain(&install.required_by).next().is_some()
    };
    let boot = graph.started((0..graph.given).filter(wanted), false);
    for component in components {
        let members: BTreeSet<usize> = component.into_iter().collect();
        const TRIED_MAX: usize = 64;
        let of_unit = |unit: usize| {
            let among = &graph.started([unit].into_iter(), false) & &members;
            graph.cycle(unit, &among, &graph.after).map(|cycle| (unit, cycle))
        };
        let own = members.iter().copied().filter(|u| *u < graph.given).take(TRIED_MAX).find_map(of_unit);
        let together = || {
            let among = &boot & &members;
            let begin = |unit: &usize| Some((*unit, graph.cycle(*unit, &among, &graph.after)?));
            among.iter().filter(|u| **u < graph.given).take(TRIED_MAX).find_map(begin)
        };
        let Some((unit, cycle)) = own.or_else(together).filter(|(_, cycle)| !graph.conflict(cycle)) else {
            continue;
        };
        tell(&graph, world, unit, &cycle, findings);
    }
}

/// The dependency that orders a unit after another one, as words and whose it is.
fn edge(graph: &Graph, unit: usize, after: usize) -> (usize, String) {
    let is = |of: usize, kind: Kinds, to: usize| {
        graph.units[of]
            .dependencies
            .iter()
            .find(|d| d.kind == kind && graph.numbers.get(&d.other) == Some(&to))
    };
    let words = |d: &crate::Dependency| match d.origin {
        Origin::Directive(_) => format!("{}={}", d.kind.name(), d.other),
        Origin::Implied(ref i) => format!("{}= implies {}={}", i.directive(), d.kind.name(), d.other),
        _ => format!("default {}={}", d.kind.name(), d.other),
    };
    match (is(unit, Kinds::After, after), is(after, Kinds::Before, unit)) {
        (Some(d), _) => (unit, words(d)),
        (None, Some(d)) => (after, words(d)),
        (None, None) => (unit, String::new()),
    }
}

fn tell(graph: &Graph, world: &World<'_>, unit: usize, cycle: &[usize], findings: &mut Findings<'_>) {
    let name = |number: usize| graph.units[number].id().to_string();
    let mut steps = Vec::new();
    let mut place = None;
    for (nth, &at) in cycle.iter().enumerate() {
        let next = cycle[(nth + 1) % cycle.len()];
        let (of, words) = edge(graph, at, next);
        steps.push(format!("{} after {} ({} has {words})", name(at), name(next), name(of)));
        let declared = world.given().get(of).filter(|_| of < graph.given).and_then(|u| {
            let kind = if of == at { Kinds::After } else { Kinds::Before };
            let to = if of == at { next } else { at };
            let mut all = u.config.dependencies.iter();
            let d = all.find(|d| d.kind == kind && graph.numbers.get(&d.other) == Some(&to))?;
            matches!(d.origin, Origin::Directive(_)).then(|| place_of(u, d))
        });
        place = place.or(declared);
    }
    let hard = graph.started([unit].into_iter(), true);
    let unbreakable = cycle.iter().all(|member| hard.contains(member));
    let level = if unbreakable { Level::Error } else { Level::Warning };
    let end = match unbreakable {
        true => "; as each is required, none of them can start",
        false => "; systemd leaves one of them out",
    };
    let place = place.or_else(|| world.given().get(unit).map(LintUnit::head));
    if let Some(place) = place {
        let message = format!("ordering cycle: {}{end}", steps.join(", "));
        findings.add_at(level, place, message, "remove one of these orderings");
    }
}

fn requirement_cycles(world: &World<'_>, findings: &mut Findings<'_>) {
    let units = world.given();
    let numbers: BTreeMap<&UnitName, usize> =
        units.iter().enumerate().map(|(n, u)| (u.config.id(), n)).collect();
    let required = |u: &LintUnit| {
        let hard = u.config.dependencies.iter().filter(|d| {
            matches!(d.kind, Kinds::Requires | Kinds::BindsTo) && matches!(d.origin, Origin::Directive(_))
        });
        // A service and its socket, timer or path belong together.
        let other = hard.filter(|d| d.other.stem() != u.config.id().stem());
        other.filter_map(|d| numbers.get(&d.other).copied()).collect::<Vec<_>>()
    };
    let edges: Vec<Vec<usize>> = units.iter().map(required).collect();
    for component in components(&edges) {
        let mut names: Vec<&str> = component.iter().map(|n| units[*n].config.id().as_str()).collect();
        names.sort_unstable();
        let first = &units[*component.iter().min().unwrap_or(&0)];
        let named = |d: &&crate::Dependency| {
            matches!(d.kind, Kinds::Requires | Kinds::BindsTo)
                && matches!(d.origin, Origin::Directive(_))
                && names.contains(&d.other.as_str())
        };
        let place = first.config.dependencies.iter().find(named).map(|d| place_of(first, d));
        let list = super::world::named(names.iter().copied());
        let message = format!("{list} require each other: none of them can be stopped or restarted alone");
        findings.add(
            place.unwrap_or_else(|| first.head()),
            message,
            "write PartOf= or Wants= in one direction",
        );
    }
}
