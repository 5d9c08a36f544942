//! What many units have alike is kept once. It compares; it knows nothing of what it compares.

use alloc::{collections::VecDeque, sync::Arc};
use hence_ledger::{FileIdentity, Version};
use hence_unit::{
    Config, Kind, UnitKind, UnitName,
    config::{ServiceConfig, ServiceSettings, UnitConfig},
};

/// How many different values are remembered. Units that are alike tend to be loaded one after the other.
const REMEMBERED: usize = 32;
/// How many values in a row may be new before fewer are compared.
const NEWS_MAX: u32 = 2 * REMEMBERED as u32;
/// How many are compared then.
const TRIED: usize = 2;

/// The parts of the units that were loaded last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alike {
    units: Recent<UnitConfig>,
    services: Recent<ServiceConfig>,
    settings: Recent<ServiceSettings>,
    /// A unit without any file, of each kind that one was asked for of.
    stubs: [Option<Config>; UnitKind::ALL.len()],
}

impl Alike {
    /// A unit without any file; those of a kind share all but their names.
    pub fn stub(&mut self, name: &UnitName) -> Config {
        let stub = self.stubs[name.kind() as usize].get_or_insert_with(|| Config::stub(name.clone()));
        Config { name: Some(name.clone()), ..stub.clone() }
    }

    /// Lets a unit share what a remembered one has as well.
    pub fn share(&mut self, config: &mut Config) {
        self.units.share(&mut config.unit);
        if let Kind::Service(service) = &mut config.kind {
            self.settings.share(&mut Arc::make_mut(service).settings);
            self.services.share(service);
        }
    }
}

/// A number that tells versions of files apart: FNV-1a over 64 bits. It is compared with the last one of the
/// same unit only, so that a chance likeness needs no guarding against.
pub(crate) fn fingerprint(files: &[FileIdentity]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut take = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for FileIdentity { path, role, version } in files {
        take(path.as_bytes());
        take(&[0, *role as u8, u8::from(version.is_some())]);
        let Version { device, inode, size, modified_ns, changed_ns } = version.unwrap_or_default();
        for number in [device, inode, size, modified_ns as u64, changed_ns as u64] {
            take(&number.to_le_bytes());
        }
    }
    hash
}

/// Different values, the one that was met last in front.
#[derive(Clone, Debug)]
struct Recent<T> {
    values: VecDeque<Arc<T>>,
    /// How many in a row were new.
    news: u32,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Recent { values: VecDeque::new(), news: 0 }
    }
}

impl<T: PartialEq> Recent<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        // Where nothing has been alike for long, little is tried.
        let tried = if self.news > NEWS_MAX { TRIED } else { REMEMBERED };
        let known = match self.values.iter().take(tried).position(|known| **known == **value) {
            Some(at) => self.values.remove(at),
            None => None,
        };
        self.news = if known.is_some() { 0 } else { self.news.saturating_add(1) };
        if let Some(known) = known {
            *value = known;
        } else if self.values.len() >= REMEMBERED {
            self.values.pop_back();
        }
        self.values.push_front(value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{boxed::Box, vec::Vec};
    use hence_ledger::FileRole;

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
    fn fingerprints_tell_versions_apart() {
        let file =
            |path: &str, version| FileIdentity { path: path.into(), role: FileRole::Argument, version };
        let version = Version { device: 1, inode: 2, size: 3, modified_ns: 4, changed_ns: 5 };
        let known = fingerprint(&[file("/a", Some(version))]);
        assert_eq!(known, fingerprint(&[file("/a", Some(version))]));
        let edited = Version { changed_ns: 6, ..version };
        let others = [file("/b", Some(version)), file("/a", Some(edited)), file("/a", None)];
        assert!(others.iter().all(|other| fingerprint(core::slice::from_ref(other)) != known));
        assert_ne!(fingerprint(&[file("/a", None)]), fingerprint(&[file("/a", Some(Version::default()))]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        for n in 0..3 * REMEMBERED {
            recent.share(&mut Arc::new(n));
        }
        assert_eq!(recent.values.len(), REMEMBERED);
        let mut last = Arc::new(3 * REMEMBERED - 1);
        recent.share(&mut last);
        assert_eq!((Arc::strong_count(&last), recent.values.len()), (2, REMEMBERED));
    }
}
