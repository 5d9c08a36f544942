//! Invocation ids: distinct in a run and from run to run, not secret.
//!
//! Half of an id follows from the other half and the run's seed, so that whoever knows the seed tells the
//! ids of that run from all others without a list of them. Which unit an id belongs to it does not say.

use hence_ledger::record::Invocation;

/// The finaliser of SplitMix64: a bijection, so a rising number never repeats.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// The id with this number in the run that was seeded so.
pub fn nth(seed: &[u8; 16], number: u64) -> Invocation {
    let a = mix(word(&seed[..8]) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let b = mix(key(seed) ^ a);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&a.to_be_bytes());
    id[8..].copy_from_slice(&b.to_be_bytes());
    Invocation(id)
}

/// What [`is_of`] knows the ids of a run by.
pub fn key(seed: &[u8; 16]) -> u64 {
    word(&seed[8..])
}

/// Whether the run with this key made the id. By chance one of 2^64 others looks so.
pub fn is_of(key: u64, Invocation(id): &Invocation) -> bool {
    word(&id[8..]) == mix(key ^ word(&id[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_own() {
        let (ours, other) = ([7; 16], *b"another run's ..");
        for number in 1..1000 {
            let id = nth(&ours, number);
            assert!(is_of(key(&ours), &id) && !is_of(key(&other), &id));
            assert_ne!(id, nth(&ours, number + 1));
        }
        assert!(!is_of(key(&ours), &Invocation([0; 16])));
    }
}
