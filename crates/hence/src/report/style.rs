//! Colour, and text that cannot do harm. Colours are the terminal's own sixteen, so that its theme decides.

use std::io::IsTerminal;

/// How a piece of text looks on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// The answer, and headings.
    Strong,
    /// What is only looked up: places, times.
    Faint,
    /// What went wrong.
    Bad,
    /// What to do.
    Good,
}

impl Style {
    /// The escape sequence that begins it.
    pub const fn begin(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Strong => "\x1b[1m",
            Style::Faint => "\x1b[2m",
            Style::Bad => "\x1b[31m",
            Style::Good => "\x1b[32m",
        }
    }
}

/// The escape sequence that ends every style.
pub const END: &str = "\x1b[0m";

/// Whether stdout wants colour: it is a terminal that can show it, and NO_COLOR (<https://no-color.org>) is
/// not set.
pub fn wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// The columns of the page: COLUMNS, the terminal's, or 80; between 40 and 120.
pub fn columns() -> usize {
    let named = std::env::var("COLUMNS").ok().and_then(|value| value.parse().ok());
    let terminal = || {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    };
    named.or_else(terminal).unwrap_or(80).clamp(40, 120)
}

/// The text with every character spelt out that a terminal would obey or hide: control characters, and those
/// that turn the direction of writing.
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => safe.push_str("  "),
            c if u32::from(c) < 0x100 && c.is_control() => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                safe.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_a_terminal_would_obey_is_spelt_out() {
        assert_eq!(plain("a\x1b[2Jb\r\n\u{9b}31m"), "a\\x1b[2Jb\\x0d\\x0a\\x9b31m");
        assert_eq!(plain("x\u{202e}y\tz"), "x\\u{202e}y  z");
        assert_eq!(plain("Grüße 日本"), "Grüße 日本");
    }
}
