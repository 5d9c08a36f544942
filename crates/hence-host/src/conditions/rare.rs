//! The checks that few units ask for: encrypted disks, firmware, credentials, pressure. Each reads what the
//! kernel or the one who started us shows, and nothing is asked of anybody who could let us wait.

use super::{ordered, read, version_order};
use crate::glob;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How many block devices may lie below each other.
const DEEPEST: u32 = 8;

/// PathIsEncrypted=: the file system lies on dm-crypt, at whatever depth.
pub fn is_encrypted(path: &Path) -> bool {
    let Ok(found) = fs::metadata(path) else { return false };
    let device = found.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    // Without a block device of its own (tmpfs, overlay) there is nothing to be encrypted.
    let folder = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    major != 0 && device_is_encrypted(&folder, DEEPEST)
}

fn device_is_encrypted(folder: &Path, depth: u32) -> bool {
    if fs::read_to_string(folder.join("dm/uuid")).is_ok_and(|uuid| uuid.starts_with("CRYPT-")) {
        return true;
    }
    if depth == 0 {
        return false;
    }
    // A partition has none of its own: they are the disk's.
    let below = [folder.join("slaves"), folder.join("../slaves")]
        .into_iter()
        .find_map(|slaves| fs::read_dir(slaves).ok())
        .map(|entries| entries.flatten().map(|e| e.path()).collect::<Vec<_>>())
        .unwrap_or_default();
    !below.is_empty() && below.iter().all(|slave| device_is_encrypted(slave, depth - 1))
}

/// Firmware=uefi, device-tree, device-tree-compatible(NAME), smbios-field(FIELD OPERATOR VALUE)
pub fn firmware(wanted: &str) -> Option<bool> {
    let inner = |name: &str| wanted.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')').map(str::trim);
    if let Some(name) = inner("device-tree-compatible") {
        let names = fs::read("/proc/device-tree/compatible").unwrap_or_default();
        return Some(names.split(|byte| *byte == 0).any(|n| n == name.as_bytes()));
    }
    if let Some(field) = inner("smbios-field") {
        return smbios_field(field, Path::new("/sys/class/dmi/id"));
    }
    match wanted {
        "uefi" => Some(Path::new("/sys/firmware/efi").exists()),
        "device-tree" => Some(Path::new("/sys/firmware/devicetree").exists()),
        _ => None,
    }
}

fn smbios_field(argument: &str, folder: &Path) -> Option<bool> {
    let at = argument.find(['<', '>', '=', '!', '$'])?;
    let name = argument[..at].trim();
    let rest = &argument[at..];
    let wanted = rest.trim_start_matches(['<', '>', '=', '!', '$']);
    let operator = &rest[..rest.len() - wanted.len()];
    let wanted = wanted.trim().trim_matches(['"', '\'']);
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let Ok(found) = fs::read_to_string(folder.join(name)) else { return Some(false) };
    let found = found.trim_end();
    Some(match operator {
        "=" => found == wanted,
        "!=" => found != wanted,
        "=$" | "$=" => glob::matches(wanted, found),
        "!=$" | "!$=" => !glob::matches(wanted, found),
        other => ordered(other, version_order(found, wanted)),
    })
}

/// Credential=: it was passed in to us.
pub fn credential(name: &str) -> bool {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return false;
    }
    ["CREDENTIALS_DIRECTORY", "ENCRYPTED_CREDENTIALS_DIRECTORY"]
        .into_iter()
        .filter_map(std::env::var_os)
        .any(|folder| Path::new(&folder).join(name).exists())
}

/// MemoryPressure=, CPUPressure=, IOPressure=: `[SLICE:]SHARE[%][/WINDOW]`. A kernel or a slice without
/// pressure has none.
pub fn pressure(resource: &str, argument: &str) -> Option<bool> {
    let (slice, rest) = match argument.split_once(':') {
        Some((slice, rest)) => (Some(slice.trim()), rest),
        None => (None, argument),
    };
    let (share, window) = rest.split_once('/').unwrap_or((rest, "5min"));
    let share = share.trim().trim_end_matches(['%', '‰', '‱']);
    let most: f64 = share.trim().parse().ok()?;
    let per = if rest.contains('‱') {
        100.0
    } else if rest.contains('‰') {
        10.0
    } else {
        1.0
    };
    let average = match window.trim() {
        "10s" | "10sec" => "avg10=",
        "1min" | "1m" | "60s" => "avg60=",
        "5min" | "5m" | "300s" => "avg300=",
        _ => return None,
    };
    let path = match slice {
        None => format!("/proc/pressure/{resource}"),
        Some(slice) => format!("/sys/fs/cgroup/{}/{resource}.pressure", slice_path(slice)?),
    };
    // Processors have no time in which all of them wait.
    let kind = if resource == "cpu" { "some" } else { "full" };
    let text = read(&path);
    let Some(line) = text.lines().find(|line| line.starts_with(kind)) else { return Some(true) };
    let now: f64 = line.split_whitespace().find_map(|word| word.strip_prefix(average)?.parse().ok())?;
    Some(now <= most / per)
}

/// `a-b.slice` is `a.slice/a-b.slice`.
fn slice_path(slice: &str) -> Option<String> {
    let name = slice.strip_suffix(".slice").filter(|name| !name.contains(['/', '.']))?;
    let mut path = String::new();
    for (at, _) in name.match_indices('-').filter(|(at, _)| *at > 0) {
        path += &format!("{}.slice/", &name[..at]);
    }
    Some(path + slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_memory_are_not_encrypted() {
        assert!(!is_encrypted(Path::new("/nothing")));
        assert!(!is_encrypted(Path::new("/proc")));
    }

    #[test]
    fn disks_below_disks() {
        let top = std::env::temp_dir().join(format!("hence-crypt-{}", std::process::id()));
        let folder = |path: &str| fs::create_dir_all(top.join(path)).unwrap();
        folder("plain/slaves");
        folder("crypt/dm");
        folder("lvm/slaves/below/dm");
        folder("both/slaves/one/dm");
        folder("both/slaves/two/dm");
        fs::write(top.join("crypt/dm/uuid"), "CRYPT-LUKS2-1").unwrap();
        fs::write(top.join("lvm/slaves/below/dm/uuid"), "CRYPT-LUKS2-1").unwrap();
        fs::write(top.join("both/slaves/one/dm/uuid"), "CRYPT-LUKS2-1").unwrap();
        fs::write(top.join("both/slaves/two/dm/uuid"), "LVM-1").unwrap();
        let of = |name: &str| device_is_encrypted(&top.join(name), DEEPEST);
        let found = ["plain", "crypt", "lvm", "both"].map(of);
        fs::remove_dir_all(&top).unwrap();
        assert_eq!(found, [false, true, true, false]);
    }

    #[test]
    fn fields_of_the_board() {
        let folder = std::env::temp_dir().join(format!("hence-smbios-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("board_name"), "X570-P\n").unwrap();
        let of = |said: &str| smbios_field(said, &folder);
        let found = [
            of("board_name = X570-P"),
            of("board_name != X570-P"),
            of("board_name =$ X5*"),
            of("none = x"),
            of("../x = y"),
            of("board_name"),
        ];
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [Some(true), Some(false), Some(true), Some(false), None, None]);
    }

    #[test]
    fn shares_and_windows() {
        assert_eq!(pressure("memory", "100%"), Some(true));
        assert_eq!(pressure("memory", "none.slice:0.1%/1min"), Some(true));
        assert_eq!(pressure("memory", "much"), None);
        assert_eq!(pressure("memory", "5%/2min"), None);
        assert_eq!(slice_path("a-b.slice").as_deref(), Some("a.slice/a-b.slice"));
        assert_eq!(slice_path("../x.slice"), None);
        assert!(!credential("../x") && !credential(""));
        assert_eq!((firmware("bios"), firmware("device-tree-compatible(x)")), (None, Some(false)));
    }
}
