//! LogFilterPatterns=: which messages of a unit are kept; systemd.exec(5). Patterns are regular expressions
//! without what takes more than linear time: no back references, nothing that looks around.

use regex_lite::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::rc::Rc;

/// Sets of patterns that are remembered; above it all are forgotten and made again.
const SETS: usize = 256;
/// What the program of one pattern may take, in bytes.
const PROGRAM: usize = 256 << 10;

/// The patterns of a unit.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    denied: Vec<Regex>,
    allowed: Vec<Regex>,
    /// What was no pattern, and why. Without it, nothing is allowed or denied.
    wrong: Vec<String>,
}

impl Filter {
    fn new(patterns: &[Box<str>]) -> Filter {
        let mut filter = Filter::default();
        for pattern in patterns {
            let (text, to) = match pattern.strip_prefix('~') {
                Some(denied) => (denied, &mut filter.denied),
                None => (&**pattern, &mut filter.allowed),
            };
            match RegexBuilder::new(text).size_limit(PROGRAM).build() {
                Ok(regex) => to.push(regex),
                Err(error) => {
                    filter.wrong.push(format!("LogFilterPatterns={pattern}: {error}; it is left out"))
                }
            }
        }
        filter
    }

    /// Whether a message is kept.
    pub fn keeps(&self, message: &[u8]) -> bool {
        let text = String::from_utf8_lossy(message);
        !self.denied.iter().any(|pattern| pattern.is_match(&text))
            && (self.allowed.is_empty() || self.allowed.iter().any(|pattern| pattern.is_match(&text)))
    }
}

/// The filters of all units, each set of patterns once.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    sets: HashMap<Vec<Box<str>>, Rc<Filter>>,
}

impl Filters {
    /// The filter of these patterns, and what is to be said of them when they are seen for the first time.
    pub fn of(&mut self, patterns: &[Box<str>]) -> (Rc<Filter>, Vec<String>) {
        if let Some(filter) = self.sets.get(patterns) {
            return (filter.clone(), Vec::new());
        }
        if self.sets.len() >= SETS {
            self.sets.clear();
        }
        let mut filter = Filter::new(patterns);
        let wrong = std::mem::take(&mut filter.wrong);
        let filter = Rc::new(filter);
        self.sets.insert(patterns.to_vec(), filter.clone());
        (filter, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(patterns: &[&str], message: &str) -> bool {
        let patterns: Vec<Box<str>> = patterns.iter().map(|p| (*p).into()).collect();
        Filters::default().of(&patterns).0.keeps(message.as_bytes())
    }

    #[test]
    fn denied_comes_before_allowed() {
        assert!(keeps(&[], "anything"));
        assert!(keeps(&["ERR"], "an ERR here") && !keeps(&["ERR"], "an err here"));
        assert!(!keeps(&["~ERR"], "an ERR here") && keeps(&["~ERR"], "else"));
        let both = ["^job [0-9]+", "~secret"];
        assert!(keeps(&both, "job 7 done") && !keeps(&both, "job 7 secret") && !keeps(&both, "other"));
        assert!(keeps(&[r"\x7eA"], "~A") && !keeps(&[r"\x7eA"], "A"));
    }

    #[test]
    fn what_is_no_pattern_filters_nothing() {
        let patterns: Vec<Box<str>> = vec!["(".into(), "~(?=x)".into(), "a{9999}{9999}".into()];
        let mut filters = Filters::default();
        let (filter, wrong) = filters.of(&patterns);
        assert!(filter.keeps(b"x") && wrong.len() == 3, "{wrong:?}");
        assert!(filters.of(&patterns).1.is_empty(), "it is said once");
        for n in 0..1000 {
            filters.of(&[format!("p{n}").into()]);
        }
        assert!(filters.sets.len() <= SETS);
    }
}
