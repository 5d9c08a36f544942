//! What each unit would take along: for every unit that is up, what `systemctl stop` and `restart` of it, and
//! the death of its main process, do to the others.

use crate::job::is_up;
use crate::sim::{Act, Whom, World};
use alloc::{collections::BTreeSet, vec::Vec};
use hence_ledger::{ActiveState, Fact, Verb};
use hence_unit::{JobMode, Text, UnitKind};

/// What comes of a request is looked at so long after it, in microseconds.
const REST_US: u64 = 600_000_000;
/// Most steps for one request.
const STEPS: u32 = 3_000;
const SIGKILL: u8 = 9;

/// What a unit takes along.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// Which unit.
    pub unit: Text,
    /// Others that are down after it was stopped.
    pub stop: Vec<Text>,
    /// Others that go down, and may come up again, when it is restarted.
    pub restart: Vec<Text>,
    /// Others that go down when its main process is killed; `None`: it has none.
    pub failure: Option<Vec<Text>>,
    /// It is up again after that.
    pub recovers: bool,
}

/// The row of every unit that is up, the longest reach first.
pub fn table(up: &World) -> Vec<Reach> {
    let names: Vec<Text> = standing(up)
        .into_iter()
        .filter(|name| {
            let unit = up.engine.find(name).map(|id| up.engine.unit(id));
            unit.is_some_and(|u| {
                !u.is_perpetual()
                    && !u.config.sources.is_empty()
                    && !matches!(u.name().kind(), UnitKind::Slice | UnitKind::Device | UnitKind::Mount)
            })
        })
        .collect();
    let mut rows: Vec<Reach> = names.iter().map(|name| reach(up, name)).collect();
    rows.sort_by(|a, b| {
        let size = |r: &Reach| (r.stop.len(), r.restart.len(), r.failure.as_ref().map_or(0, Vec::len));
        size(b).cmp(&size(a)).then(a.unit.cmp(&b.unit))
    });
    rows
}

fn reach(up: &World, name: &Text) -> Reach {
    let before = standing(up);
    let asked = |verb: Verb| {
        let mut world = up.clone();
        if let Some(unit) = hence_unit::UnitName::new(name) {
            world.act(Act::Job(verb, unit, JobMode::Replace));
        }
        let fell = rest(&mut world);
        (fell, standing(&world))
    };
    let others = |fell: BTreeSet<Text>| -> Vec<Text> {
        fell.into_iter().filter(|n| n != name && before.contains(n)).collect()
    };
    let (_, after) = asked(Verb::Stop);
    let stop = others(before.difference(&after).cloned().collect());
    let (fell, _) = asked(Verb::Restart);
    let restart = others(fell);
    let main = up.engine.find(name).and_then(|id| up.engine.known_processes(id).0);
    let mut recovers = false;
    let failure = main.map(|_| {
        let mut world = up.clone();
        if let Some(unit) = hence_unit::UnitName::new(name) {
            world.act(Act::Strike(unit, Whom::Main, SIGKILL));
        }
        let fell = rest(&mut world);
        recovers = standing(&world).contains(name);
        others(fell)
    });
    Reach { unit: name.clone(), stop, restart, failure, recovers }
}

/// Lets everything happen that follows; the units that went down meanwhile.
fn rest(world: &mut World) -> BTreeSet<Text> {
    let latest = world.now_us + REST_US;
    for _ in 0..STEPS {
        if world.next_us().is_none_or(|next| next > latest) {
            break;
        }
        world.step();
    }
    let mut fell = BTreeSet::new();
    for record in core::mem::take(&mut world.records) {
        let down = |s: ActiveState| !matches!(s, ActiveState::Active | ActiveState::Reloading);
        if let Fact::StateChanged { from_active, to_active, .. } = &record.fact
            && !down(*from_active)
            && down(*to_active)
        {
            fell.extend(record.unit);
        }
    }
    fell
}

fn standing(world: &World) -> BTreeSet<Text> {
    let up = world.engine.units().filter(|u| is_up(u.active_state()));
    up.map(|u| u.name().text().clone()).collect()
}
