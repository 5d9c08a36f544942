//! How often somebody is told: at most one alert of a kind for a unit within a time, and a number in all.
//! What is held back is counted, and told with its count as soon as that may be.

use hence_ledger::Text;
use hence_ledger::live::{Alert, AlertKind};
use std::collections::BTreeMap;

/// So many may be told at once, and so often another one.
const BURST: u64 = 20;
const ANOTHER_US: u64 = 60_000_000;
/// Units and kinds that are remembered; of more, those that may be told again soonest are forgotten.
const REMEMBERED: usize = 512;

/// What was told of a unit, and what waits.
#[derive(Debug)]
struct Told {
    /// When the next one may be told, on CLOCK_MONOTONIC.
    next_us: u64,
    /// The latest that was held back, and how many.
    held: Option<(Box<Alert>, u64)>,
}

/// Lets alerts through.
#[derive(Debug)]
pub struct Limit {
    interval_us: u64,
    told: BTreeMap<(Text, AlertKind), Told>,
    tokens: u64,
    token_us: u64,
    /// Alerts that were held back so far.
    pub held_back: u64,
}

impl Limit {
    /// `interval_us`: between two of a kind for a unit.
    pub fn new(interval_us: u64) -> Limit {
        Limit { interval_us, told: BTreeMap::new(), tokens: BURST, token_us: 0, held_back: 0 }
    }

    /// Takes an alert; it is given back where it may be told now.
    pub fn take(&mut self, alert: Alert, now_us: u64) -> Option<Alert> {
        self.refill(now_us);
        let key = (alert.unit.clone(), alert.kind);
        if self.told.len() >= REMEMBERED && !self.told.contains_key(&key) {
            let forgotten = self.told.iter().min_by_key(|(_, told)| (told.held.is_some(), told.next_us));
            let forgotten = forgotten.map(|(key, _)| key.clone());
            forgotten.and_then(|key| self.told.remove(&key));
        }
        let told = self.told.entry(key).or_insert(Told { next_us: 0, held: None });
        if told.next_us <= now_us && self.tokens > 0 && told.held.is_none() {
            self.tokens -= 1;
            told.next_us = now_us + self.interval_us;
            return Some(alert);
        }
        self.held_back += 1;
        let before = told.held.take().map_or(0, |(_, count)| count);
        told.held = Some((Box::new(alert), before + 1));
        None
    }

    /// The next one that was held back and may be told now, and how many like it are not.
    pub fn due(&mut self, now_us: u64) -> Option<(Alert, u64)> {
        self.refill(now_us);
        if self.tokens == 0 {
            return None;
        }
        let told = self.told.values_mut().find(|told| told.held.is_some() && told.next_us <= now_us)?;
        let (alert, count) = told.held.take()?;
        told.next_us = now_us + self.interval_us;
        self.tokens -= 1;
        Some((*alert, count - 1))
    }

    /// When something may be due, on CLOCK_MONOTONIC.
    pub fn deadline_us(&self) -> Option<u64> {
        let next = self.told.values().filter(|told| told.held.is_some()).map(|told| told.next_us).min()?;
        Some(if self.tokens > 0 { next } else { next.max(self.token_us + ANOTHER_US) })
    }

    fn refill(&mut self, now_us: u64) {
        if self.tokens >= BURST {
            self.token_us = now_us;
            return;
        }
        let more = now_us.saturating_sub(self.token_us) / ANOTHER_US;
        self.token_us += more * ANOTHER_US;
        self.tokens = (self.tokens + more).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_ledger::Stamp;

    fn alert(unit: &str, times: u64) -> Alert {
        Alert {
            kind: AlertKind::Loop,
            at: Stamp::default(),
            unit: unit.into(),
            followers: Vec::new(),
            root: None,
            rule: None,
            times,
            period_us: None,
            since: Stamp::default(),
            processes: 0,
            bytes: 0,
            commands: Vec::new(),
            cpu_us: 0,
            endless: false,
        }
    }

    #[test]
    fn what_is_held_back_is_told_later_with_its_count() {
        let mut limit = Limit::new(600_000_000);
        assert!(limit.take(alert("a", 1), 0).is_some());
        for nth in 2..7 {
            assert!(limit.take(alert("a", nth), nth).is_none());
        }
        assert!(limit.take(alert("b", 1), 10).is_some(), "another unit is another matter");
        assert_eq!(limit.due(599_999_999), None);
        assert_eq!(limit.deadline_us(), Some(600_000_000));
        let (latest, others) = limit.due(600_000_000).expect("it is due");
        assert_eq!((latest.times, others, limit.held_back), (6, 4, 5));
        assert_eq!((limit.due(u64::MAX / 2), limit.deadline_us()), (None, None));
    }

    #[test]
    fn there_is_a_limit_for_all_together() {
        let mut limit = Limit::new(1);
        let told = (0..1000).filter(|n| limit.take(alert(&format!("u{n}"), 1), 1).is_some()).count();
        assert_eq!(told as u64, BURST);
        assert!(limit.told.len() <= REMEMBERED);
        assert_eq!(limit.due(1), None);
        let at_us = limit.deadline_us().expect("something waits");
        assert!(limit.due(at_us).is_some() && limit.due(at_us).is_none());
    }
}
