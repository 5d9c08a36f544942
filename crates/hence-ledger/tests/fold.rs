//! What is still known after records had to make room.

mod build;

use build::incident::{COLLECTOR, FOO, incident};
use hence_ledger::{Fact, Record, encoding::encode, fold::fold, history, index::Index, leaks, loops, why};

/// Folds all but the last `live` records in segments of `segment` records.
fn folded(records: &[Record], segment: usize, live: usize, limit: usize) -> (Vec<Record>, Vec<Record>) {
    let (old, rest) = records.split_at(records.len() - live);
    let mut kept = Vec::new();
    for part in old.chunks(segment) {
        kept = fold(kept, part.iter().cloned(), limit);
    }
    (kept, rest.to_vec())
}

fn stops(index: &Index) -> u64 {
    let entries = history::history(index, history::Filter { unit: Some(FOO), ..Default::default() });
    entries.iter().filter(|e| e.event == "stopped").map(|e| e.times).sum()
}

#[test]
fn a_loop_is_explained_as_before_when_almost_all_of_it_is_folded() {
    let scene = incident(600);
    let whole = scene.index();
    let expected = why::why(&whole, FOO, None, scene.now()).expect("an answer");
    for (segment, live) in [(1_000, 500), (333, 100), (4_000, 0), (777, 3)] {
        let (kept, rest) = folded(&scene.records, segment, live, 4 << 20);
        let index = Index::new(kept.iter().cloned().chain(rest));
        let answer = why::why(&index, FOO, None, scene.now()).expect("an answer");
        let about = format!("segments of {segment}, {live} live");
        assert_eq!(answer.event, expected.event, "{about}");
        assert_eq!(answer.chain, expected.chain, "{about}");
        assert_eq!(answer.roots, expected.roots, "{about}");
        assert_eq!((answer.times, answer.times_in_all), (600, 600), "{about}");
        assert_eq!(answer.since, expected.since, "{about}");
        let tenths = |us: Option<u64>| us.map(|us| (us + 50_000) / 100_000);
        assert_eq!(tenths(answer.period_us), Some(50), "{about}");
        assert_eq!(answer.left_behind, expected.left_behind, "{about}");
        assert_eq!(answer.changed, expected.changed, "{about}");
        assert_eq!(answer.unchanged, expected.unchanged, "{about}");
        assert_eq!(answer.last_words, expected.last_words, "{about}");
        assert_eq!(answer.state, expected.state, "{about}");
        assert_eq!(
            answer.compared.as_ref().map(|c| (c.good, c.bad, c.good_lasted_us)),
            expected.compared.as_ref().map(|c| (c.good, c.bad, c.good_lasted_us)),
            "{about}"
        );
        assert_eq!(leaks::leaks(&index), leaks::leaks(&whole), "{about}");
        let found = loops::loops(&index, scene.now());
        assert_eq!(found.len(), 1, "{about}: {found:#?}");
        assert_eq!((found[0].times, found[0].ongoing), (600, true), "{about}");
        assert_eq!(found[0].units.iter().map(|u| &**u).collect::<Vec<_>>(), [COLLECTOR, FOO], "{about}");
        assert_eq!(stops(&index), stops(&whole), "{about}");
    }
}

#[test]
fn sums_count_each_event_once_and_those_left_behind() {
    let scene = incident(300);
    let (kept, _) = folded(&scene.records, 250, 0, 4 << 20);
    let tallies = kept.iter().filter_map(|r| match &r.fact {
        Fact::Tally { what, times, left_behind, .. }
            if r.unit.as_deref() == Some(FOO) && &**what == "stopped" =>
        {
            Some((*times, *left_behind))
        }
        _ => None,
    });
    let mut tallies: Vec<(u64, u64)> = tallies.collect();
    tallies.sort_unstable();
    assert_eq!(tallies, [(1, 1), (300, 300)]);
    assert!(kept.len() < 300 + 120, "{} records are kept of {}", kept.len(), scene.records.len());
}

#[test]
fn the_bound_holds() {
    let scene = incident(300);
    for limit in [0, 500, 5_000, 20_000] {
        let (kept, _) = folded(&scene.records, 250, 0, limit);
        let mut bytes = Vec::new();
        kept.iter().for_each(|record| encode(record, &mut bytes));
        assert!(bytes.len() + 24 * kept.len() <= limit, "{} of {limit}", bytes.len());
    }
}
