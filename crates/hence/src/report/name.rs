//! Unit names as people type them, and what they may have meant. It opens no unit.

use hence_ledger::index::Index;
use hence_unit::{UnitName, directive::nearest};

/// The name with `.service` where it has no suffix, as systemctl does it.
pub fn complete(word: &str) -> String {
    match UnitName::new(word) {
        Some(_) => word.into(),
        None => format!("{word}.service"),
    }
}

/// Says that there is no record of a unit, and which one may be meant.
pub fn unknown(word: &str, index: &Index, when: &str) -> String {
    let wanted = complete(word);
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
    let names = || index.unit_names().map(|name| &**name).filter(|name| *name != wanted);
    let mut meant: Vec<&str> = nearest(&wanted, names()).into_iter().collect();
    let like = names().filter(|name| stem(name) == stem(&wanted) || name.contains(word));
    for name in like.take(3) {
        if !meant.contains(&name) {
            meant.push(name);
        }
    }
    meant.truncate(3);
    match (meant.is_empty(), index.unit_names().count()) {
        (false, _) => format!("no record of {wanted}{when}; did you mean {}?", meant.join(" or ")),
        (true, 0) => format!("no record of {wanted}{when}; the ledger names no unit at all"),
        (true, _) => format!("no record of {wanted}{when}; `hence history` lists what is on record"),
    }
}
