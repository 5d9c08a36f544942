//! What is swapped to: /proc/swaps, proc(5). It only reads.

use hence_unit::{UnitName, swap};
use std::{collections::BTreeMap, fs, io, path::PathBuf};

/// Most names that are looked at of each kind of link in /dev/disk.
const LINKS: usize = 4096;

/// The names of the units of what is swapped to, and those by further names of the same devices.
pub fn read() -> (Vec<UnitName>, Vec<UnitName>) {
    try_read().unwrap_or_default()
}

/// The same.
///
/// # Errors
/// Where the kernel doesn't tell. Where it has no swaps at all, nothing is swapped to.
pub fn try_read() -> io::Result<(Vec<UnitName>, Vec<UnitName>)> {
    let text = match crate::reserve::with(|| fs::read_to_string("/proc/swaps")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let paths = parse(&text);
    let on: Vec<UnitName> = paths.iter().filter_map(|path| swap::unit_of(path)).collect();
    if on.is_empty() {
        return Ok((on, Vec::new()));
    }
    let real: BTreeMap<PathBuf, ()> =
        paths.iter().filter_map(|p| Some((fs::canonicalize(p).ok()?, ()))).collect();
    let mut aliases = Vec::new();
    for kind in fs::read_dir("/dev/disk").into_iter().flatten().flatten() {
        for link in fs::read_dir(kind.path()).into_iter().flatten().flatten().take(LINKS) {
            let path = link.path();
            if fs::canonicalize(&path).is_ok_and(|to| real.contains_key(&to)) {
                aliases.extend(path.to_str().and_then(swap::unit_of));
            }
        }
    }
    Ok((on, aliases))
}

fn parse(text: &str) -> Vec<String> {
    let lines = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    // A file that was removed while it is used goes by this mark.
    lines
        .filter(|path| path.starts_with('/') && !path.ends_with("\\040(deleted)"))
        .map(crate::mountinfo::unescape)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_swaps() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
                    /dev/vda2                               partition\t1048572\t\t0\t\t-2\n\
                    /swap\\040file                           file\t\t1024\t\t0\t\t5\n\
                    /gone\\040(deleted)                      file\t\t1024\t\t0\t\t5\n";
        assert_eq!(parse(text), ["/dev/vda2", "/swap file"]);
        assert!(parse("").is_empty());
    }
}
