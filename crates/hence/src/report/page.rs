//! A page of text: paragraphs broken at the width of the terminal, tables. It knows nothing of what it shows.

use super::style::{self, END, Style, plain};

/// A page in the making.
#[derive(Debug)]
pub struct Page {
    width: usize,
    colour: bool,
    text: String,
}

impl Page {
    /// A page for stdout.
    pub fn here() -> Page {
        Page::new(style::columns(), style::wanted())
    }

    /// A page of this width.
    pub fn new(width: usize, colour: bool) -> Page {
        Page { width, colour, text: String::new() }
    }

    /// An empty line, unless the page is still empty.
    pub fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// A heading after an empty line.
    pub fn heading(&mut self, text: &str) {
        self.gap();
        self.paragraph("", "", &[(Style::Strong, text)]);
    }

    /// Pieces of text as one paragraph; its first line begins with `first`, further ones with `rest`. Words
    /// that are longer than a line, paths mostly, stay whole: they are there to be copied.
    pub fn paragraph(&mut self, first: &str, rest: &str, pieces: &[(Style, &str)]) {
        let mut letters: Vec<(char, Style)> = Vec::new();
        for (style, text) in pieces {
            letters.extend(plain(text).chars().map(|c| (c, *style)));
        }
        let mut indent = first;
        let mut line: Vec<(char, Style)> = Vec::new();
        for word in letters.split(|(c, _)| *c == ' ') {
            let used = indent.chars().count() + line.len();
            if !line.is_empty() && used + 1 + word.len() > self.width {
                self.line(indent, &line);
                line.clear();
                indent = rest;
            }
            if !line.is_empty() {
                line.push((' ', word.first().map_or(Style::Plain, |(_, style)| *style)));
            }
            line.extend_from_slice(word);
        }
        self.line(indent, &line);
    }

    fn line(&mut self, indent: &str, letters: &[(char, Style)]) {
        self.text.push_str(indent);
        let mut now = Style::Plain;
        for &(c, style) in letters {
            if self.colour && style != now {
                if now != Style::Plain {
                    self.text.push_str(END);
                }
                self.text.push_str(style.begin());
                now = style;
            }
            self.text.push(c);
        }
        if now != Style::Plain {
            self.text.push_str(END);
        }
        let end = self.text.trim_end_matches(' ').len();
        self.text.truncate(end);
        self.text.push('\n');
    }

    /// Rows under their heads; columns as wide as they need, the last one as long as it is. `right` names the
    /// columns that are flush right.
    pub fn table(&mut self, heads: &[&str], right: &[usize], rows: &[Vec<String>]) {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        let length = |text: &str| text.chars().count();
        let widths: Vec<usize> = heads
            .iter()
            .enumerate()
            .map(|(nth, head)| {
                rows.iter()
                    .filter_map(|row| row.get(nth))
                    .map(|cell| length(cell))
                    .max()
                    .unwrap_or(0)
                    .max(length(head))
            })
            .collect();
        let put = |cells: Vec<&str>| {
            let mut line = String::new();
            for (nth, cell) in cells.iter().enumerate() {
                let space = " ".repeat(widths[nth].saturating_sub(length(cell)));
                match right.contains(&nth) {
                    true => line.push_str(&format!("{space}{cell}  ")),
                    false => line.push_str(&format!("{cell}{space}  ")),
                }
            }
            line
        };
        let styled = |line: String, style| line.chars().map(|c| (c, style)).collect::<Vec<_>>();
        self.line("", &styled(put(heads.to_vec()), Style::Strong));
        for row in &rows {
            self.line("", &styled(put(row.iter().map(String::as_str).collect()), Style::Plain));
        }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text.replace(TIGHT, " ")
    }
}

/// A space where no line may break, until the page is finished.
const TIGHT: char = '\u{a0}';

/// The text as one word, which no line breaks: a number with its unit.
pub fn tight(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_break_at_the_width_and_keep_long_words() {
        let mut page = Page::new(20, false);
        page.paragraph("- ", "  ", &[(Style::Strong, "one two three four"), (Style::Plain, " five")]);
        page.paragraph("", "  ", &[(Style::Plain, "see /a/very/long/path/that/stays")]);
        assert_eq!(page.finish(), "- one two three four\n  five\nsee\n  /a/very/long/path/that/stays\n");
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        let mut page = Page::new(80, true);
        page.paragraph("", "", &[(Style::Strong, "a b"), (Style::Plain, " c")]);
        assert_eq!(page.finish(), "\x1b[1ma b\x1b[0m c\n");
    }
}
