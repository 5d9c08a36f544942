//! The words around a rule: its man page's address, and the files of its examples.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// Where the man page of a name such as `systemd.kill(5)` is on the network; `None` for others' pages.
pub fn page_address(page: &str) -> Option<String> {
    let (name, _) = page.split_once('(')?;
    let ours = name.starts_with("systemd");
    ours.then(|| format!("https://www.freedesktop.org/software/systemd/man/latest/{name}.html"))
}

/// A file of an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleFile {
    /// The name of a unit, `NAME.d/x.conf`, or an absolute path.
    pub name: String,
    /// Its permissions.
    pub mode: u32,
    /// Its content.
    pub text: String,
}

/// An example's files, and whether they are all that there is: its first line is then `-- image --`.
pub fn example(text: &str) -> (Vec<ExampleFile>, bool) {
    let mut files: Vec<ExampleFile> = Vec::new();
    let mut image = false;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches('\n');
        let header = line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"));
        match header {
            Some("image") => image = true,
            Some(header) => {
                let (name, mode) = header.split_once(" mode=").unwrap_or((header, ""));
                let default = if name.starts_with('/') { 0o755 } else { 0o644 };
                let mode = u32::from_str_radix(mode, 8).unwrap_or(default);
                files.push(ExampleFile { name: name.to_string(), mode, text: String::new() });
            }
            None => {
                if files.is_empty() {
                    let name = "foo.service".to_string();
                    files.push(ExampleFile { name, mode: 0o644, text: String::new() });
                }
                if let Some(file) = files.last_mut() {
                    file.text.push_str(whole);
                }
            }
        }
    }
    (files, image)
}
