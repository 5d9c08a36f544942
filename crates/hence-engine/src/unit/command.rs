//! A command as records show it. It runs nothing.

use alloc::{format, string::String};
use hence_ledger::Text;

/// A command line as people write it, cut at 1 KiB.
pub(crate) fn command_text(command: &hence_unit::config::Command) -> Text {
    let mut text = String::from(&*command.path);
    for argument in command.argv.iter().skip(1) {
        if text.len() > 1024 {
            break;
        }
        text.push(' ');
        if argument.is_empty() || argument.contains(|c: char| c.is_whitespace() || c == '"' || c == '\'') {
            text.push_str(&format!("{argument:?}"));
        } else {
            text.push_str(argument);
        }
    }
    if text.len() > 1024 {
        let cut = (0..=1024).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(cut);
    }
    text.into()
}
