//! What many units have alike is kept once. It compares; it knows nothing of what it compares.

use alloc::{collections::VecDeque, sync::Arc};
use hence_unit::{
    Config, Kind,
    config::{ServiceConfig, ServiceSettings, UnitConfig},
};

/// How many different values are remembered. Units that are alike tend to be loaded one after the other.
const REMEMBERED: usize = 32;

/// The parts of the units that were loaded last.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    units: Recent<UnitConfig>,
    services: Recent<ServiceConfig>,
    settings: Recent<ServiceSettings>,
}

impl Alike {
    /// Lets a unit share what a remembered one has as well.
    pub fn share(&mut self, config: &mut Config) {
        self.units.share(&mut config.unit);
        if let Kind::Service(service) = &mut config.kind {
            self.settings.share(&mut Arc::make_mut(service).settings);
            self.services.share(service);
        }
    }
}

/// Different values, the one that was met last in front.
#[derive(Debug)]
struct Recent<T>(VecDeque<Arc<T>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Recent(VecDeque::new())
    }
}

impl<T: PartialEq> Recent<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        let known = match self.0.iter().position(|known| **known == **value) {
            Some(at) => self.0.remove(at),
            None => None,
        };
        if let Some(known) = known {
            *value = known;
        } else if self.0.len() >= REMEMBERED {
            self.0.pop_back();
        }
        self.0.push_front(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec::Vec};
    use hence_unit::UnitName;

    fn unit(name: &str, documentation: &str) -> Config {
        let mut config = Config::stub(UnitName::new(name).unwrap());
        config.documentation = Vec::from([Box::from(documentation)]);
        config
    }

    #[test]
    fn equal_parts_become_one_and_stay_apart_when_changed() {
        let mut alike = Alike::default();
        let (mut a, mut b, mut c) = (unit("a.service", "x"), unit("b.service", "x"), unit("c.service", "y"));
        for config in [&mut a, &mut b, &mut c] {
            alike.share(config);
        }
        assert!(Arc::ptr_eq(&a.unit, &b.unit) && !Arc::ptr_eq(&a.unit, &c.unit));
        let (Kind::Service(of_a), Kind::Service(of_c)) = (&a.kind, &c.kind) else { panic!() };
        assert!(Arc::ptr_eq(of_a, of_c));
        b.documentation.clear();
        assert_eq!((a.documentation.len(), b.documentation.len()), (1, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for n in 0..3 * REMEMBERED {
            recent.share(&mut Arc::new(n));
        }
        assert_eq!(recent.0.len(), REMEMBERED);
        let mut last = Arc::new(3 * REMEMBERED - 1);
        recent.share(&mut last);
        assert_eq!((Arc::strong_count(&last), recent.0.len()), (2, REMEMBERED));
    }
}
