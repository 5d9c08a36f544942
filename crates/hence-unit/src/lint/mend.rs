//! Changes that mend a finding, as edits of lines, and how they are applied to a text. It writes no file.

use crate::Text;
use alloc::{collections::BTreeMap, string::String, vec::Vec};

/// What happens to lines of a file, or to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Lines from the first to the last, counted from 1, become this text (without a line end).
    Replace {
        /// The first line.
        first: u32,
        /// The last line.
        last: u32,
        /// What takes their place.
        text: String,
    },
    /// Lines from the first to the last are removed.
    Remove {
        /// The first line.
        first: u32,
        /// The last line.
        last: u32,
    },
    /// Lines end in a line feed alone.
    UnixLines,
    /// The file's permissions become these.
    Mode(u32),
}

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file.
    pub file: Text,
    /// The change.
    pub change: Change,
}

/// The text with all changes that don't touch the same lines, and how many were left out because they do.
pub fn apply(text: &str, edits: &[&Edit]) -> (String, usize) {
    let mut unix = false;
    // By their first line: the last line, and the text.
    let mut changed: BTreeMap<u32, (u32, Option<&str>)> = BTreeMap::new();
    let mut left_out = 0;
    for edit in edits {
        let (first, last, new) = match &edit.change {
            Change::Replace { first, last, text } => (*first, *last, Some(text.as_str())),
            Change::Remove { first, last } => (*first, *last, None),
            Change::UnixLines => {
                unix = true;
                continue;
            }
            Change::Mode(_) => continue,
        };
        let before = changed.range(..=last).next_back();
        if changed.get(&first) == Some(&(last, new)) {
            continue;
        }
        if before.is_some_and(|(_, (end, _))| *end >= first) {
            left_out += 1;
            continue;
        }
        changed.insert(first, (last, new));
    }
    let mut out = String::with_capacity(text.len());
    let mut skip_to = 0;
    for (line, number) in text.split_inclusive('\n').zip(1u32..) {
        if number <= skip_to {
            continue;
        }
        let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
        match changed.get(&number) {
            Some((last, new)) => {
                skip_to = *last;
                if let Some(new) = new {
                    out.push_str(new);
                    out.push_str(if unix { "\n" } else { end });
                }
            }
            None if unix => {
                out.push_str(&line[..line.len() - end.len()]);
                out.push_str(&end.replace('\r', ""));
            }
            None => out.push_str(line),
        }
    }
    (out, left_out)
}

/// The difference between two texts as `diff -u` shows it, for texts that were edited line by line.
pub fn difference(file: &str, old: &str, new: &str) -> String {
    use alloc::format;
    const AROUND: usize = 3;
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // Pairs of lines that stay, found greedily: edits keep the order, and few lines change.
    let mut script: Vec<(char, usize, usize)> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            script.push((' ', i, j));
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // The nearest pair of equal lines ahead.
        let ahead = (1..(a.len() - i) + (b.len() - j)).find_map(|sum| {
            (0..=sum).map(|d| (i + sum - d, j + d)).find(|&(x, y)| x < a.len() && y < b.len() && a[x] == b[y])
        });
        let (x, y) = ahead.unwrap_or((a.len(), b.len()));
        script.extend((i..x).map(|n| ('-', n, j)));
        script.extend((j..y).map(|n| ('+', x, n)));
        (i, j) = (x, y);
    }
    let mut out = format!("--- {file}\n+++ {file}\n");
    let mut at = 0;
    while let Some(next) = script[at..].iter().position(|(c, ..)| *c != ' ').map(|n| at + n) {
        let begin = next.saturating_sub(AROUND).max(at);
        let mut end = next;
        while let Some(more) = script[end..].iter().take(2 * AROUND + 1).position(|(c, ..)| *c != ' ') {
            end += more + 1;
        }
        let stop = (end + AROUND).min(script.len());
        let hunk = &script[begin..stop];
        let count = |without: char| hunk.iter().filter(|(c, ..)| *c != without).count();
        let (_, from, to) = hunk[0];
        out += &format!("@@ -{},{} +{},{} @@\n", from + 1, count('+'), to + 1, count('-'));
        for (c, x, y) in hunk {
            out += &format!("{c}{}\n", if *c == '+' { b[*y] } else { a[*x] });
        }
        at = stop;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn edit(change: Change) -> Edit {
        Edit { file: "f".into(), change }
    }

    #[test]
    fn edits_that_touch_each_other_are_left_out() {
        let edits = [
            edit(Change::Replace { first: 2, last: 3, text: "B".into() }),
            edit(Change::Remove { first: 3, last: 3 }),
            edit(Change::Remove { first: 5, last: 9 }),
            edit(Change::Replace { first: 2, last: 3, text: "B".into() }),
        ];
        let edits: Vec<&Edit> = edits.iter().collect();
        assert_eq!(apply("a\nb\nc\nd\ne\nf", &edits), ("a\nB\nd\n".into(), 1));
        let unix = edit(Change::UnixLines);
        assert_eq!(apply("a\r\nb\r\n", &[&unix]).0, "a\nb\n");
        assert_eq!(apply("a\r\nb\r\n", &[]).0, "a\r\nb\r\n");
    }

    #[test]
    fn differences_are_those_of_diff() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n";
        let expected = "--- f\n+++ f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(difference("f", old, new), expected);
        let gone = difference("f", "a\nb\n", "b\n");
        assert_eq!(gone, "--- f\n+++ f\n@@ -1,2 +1,1 @@\n-a\n b\n");
        assert_eq!(vec!["--- f", "+++ f"], difference("f", "a\n", "a\n").lines().collect::<Vec<_>>());
    }
}
