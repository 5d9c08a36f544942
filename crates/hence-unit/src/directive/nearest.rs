//! The known name nearest to a mistyped one. It does not know what the names are for.

/// Names longer than this are not compared: nobody mistypes one from so much text.
const LONGEST: usize = 48;

/// The first of the nearest names, where one is near enough to be meant: equal but for case, or within a
/// third of its length by insertions, deletions, replacements and swaps of neighbours.
pub fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for name in names.filter(|n| n.len() <= LONGEST) {
        let distance = if name.eq_ignore_ascii_case(word) { 0 } else { distance(word, name) };
        let near = distance <= (name.len().max(word.len()) / 3).max(1) && distance < name.len();
        if near && best.is_none_or(|(d, _)| distance < d) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Edit distance with swaps of neighbours (optimal string alignment), letter case ignored.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = [[0usize; LONGEST + 1]; 3];
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        let (now, last, before) = (i % 3, (i + 2) % 3, (i + 1) % 3);
        rows[now][0] = i;
        for j in 1..=b.len() {
            let (x, y) = (a[i - 1].to_ascii_lowercase(), b[j - 1].to_ascii_lowercase());
            let mut cost = (rows[last][j] + 1).min(rows[now][j - 1] + 1);
            cost = cost.min(rows[last][j - 1] + usize::from(x != y));
            let swapped =
                i > 1 && j > 1 && x == b[j - 2].to_ascii_lowercase() && a[i - 2].to_ascii_lowercase() == y;
            if swapped {
                cost = cost.min(rows[before][j - 2] + 1);
            }
            rows[now][j] = cost;
        }
    }
    rows[a.len() % 3][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "ABC", 0),
            ("abc", "acb", 1),
            ("ab", "abc", 1),
            ("kitten", "sitting", 3),
            ("RestartSecs", "RestartSec", 1),
        ] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn near_enough_or_nothing() {
        let names = ["RestartSec", "Restart", "Type", "ExecStart"];
        let near = |w| nearest(w, names.into_iter());
        assert_eq!(near("RestartSecs"), Some("RestartSec"));
        assert_eq!(near("restart"), Some("Restart"));
        assert_eq!(near("Tyep"), Some("Type"));
        assert_eq!(near("ExcStart"), Some("ExecStart"));
        assert_eq!(near("Colour"), None);
        assert_eq!(near("ééé"), None);
        assert_eq!(near(""), None);
    }
}
