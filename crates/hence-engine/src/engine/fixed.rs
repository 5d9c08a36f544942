//! A fixed set of units instead of files. Nothing else is answered here.

use super::Engine;
use crate::{Effect, Event, Time};
use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use hence_unit::{Config, LoadState, UnitName};

/// Loads a fixed set of units into an engine, for tests and the simulator.
pub fn load_all(engine: &mut Engine, now: Time, units: Vec<Config>) {
    let mut units: BTreeMap<UnitName, Config> = units.into_iter().map(|c| (c.id().clone(), c)).collect();
    let names: Vec<UnitName> = units.keys().cloned().collect();
    for name in names {
        engine.handle(now, Event::Referenced(name));
        while let Some(effect) = engine.effects.pop_front() {
            let Effect::Load(name) = effect else { continue };
            let config = units.remove(&name).unwrap_or_else(|| {
                let mut missing = Config::stub(name);
                missing.load = LoadState::NotFound;
                missing
            });
            engine.handle(now, Event::Loaded { config: Box::new(config), files: Vec::new() });
        }
    }
}
