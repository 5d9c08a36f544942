//! `hence watch --install` and `--uninstall`: the unit of `hence watch` is put in its place, enabled and
//! started, or taken away again. Done twice it changes nothing; a unit of a package is left as it is.

use super::Refused;
use crate::cli::watch::Watch as Args;
use crate::exit;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit as it is delivered.
const UNIT: &str = include_str!("../../../../dist/hence-watch.service");
const NAME: &str = "hence-watch.service";
const FOLDER: &str = "/etc/systemd/system";
/// Where packages have their units.
const PACKAGED: [&str; 3] =
    ["/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Beside a packaged unit: what was asked for on the command line.
const DROP_IN: &str = "50-ledger.conf";
/// Where the unit expects the program, and its ledger.
const PROGRAM: &str = "/usr/bin/hence";
const LEDGER: &str = "/var/lib/hence";
/// By this line a file is known to be ours.
const MARK: &str =
    "# Written by `hence watch --install`, which writes it anew; changes belong into a drop-in.\n";
/// Folders that are empty after the next boot.
const FLEETING: [&str; 4] = ["/tmp/", "/run/", "/var/tmp/", "/dev/shm/"];

fn trouble(text: impl Into<String>) -> Refused {
    (exit::TROUBLE, text.into())
}

/// A word of a command line, or a path in a list, as unit files have it.
fn word(text: &str, command: bool) -> Result<String, Refused> {
    if text.contains(['\n', '\r', '\0']) {
        return Err(trouble(format!("{text:?}: a unit file can't have such a path")));
    }
    let mut out = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    if command {
        out = out.replace('$', "$$");
    }
    let plain = !out.contains(|c: char| c.is_whitespace() || "\"'\\;".contains(c));
    Ok(if plain { out } else { format!("\"{out}\"") })
}

fn exec_start(program: &str, ledger: Option<&str>) -> Result<String, Refused> {
    let mut line = format!("ExecStart={} watch", word(program, true)?);
    if let Some(ledger) = ledger {
        line.push_str(&format!(" --ledger {}", word(ledger, true)?));
    }
    Ok(line)
}

/// The unit with this program and ledger.
fn text(program: &str, ledger: Option<&str>) -> Result<String, Refused> {
    let mut unit = format!("{MARK}{UNIT}");
    if let Some(ledger) = ledger {
        let path = word(ledger, false)?;
        unit = unit.replace(&format!("RequiresMountsFor={LEDGER}"), &format!("RequiresMountsFor={path}"));
        unit =
            unit.replace("ProtectSystem=strict\n", &format!("ProtectSystem=strict\nReadWritePaths={path}\n"));
    }
    Ok(unit.replace(&format!("ExecStart={PROGRAM} watch"), &exec_start(program, ledger)?))
}

/// What is added to a packaged unit for another ledger.
fn drop_in(program: &str, ledger: &str) -> Result<String, Refused> {
    let (start, path) = (exec_start(program, Some(ledger))?, word(ledger, false)?);
    Ok(format!(
        "{MARK}[Unit]\nRequiresMountsFor={path}\n\n[Service]\nReadWritePaths={path}\nExecStart=\n{start}\n"
    ))
}

/// The packaged unit, where there is one.
fn packaged() -> Option<PathBuf> {
    PACKAGED.iter().map(|folder| Path::new(folder).join(NAME)).find(|path| path.exists())
}

/// The program that a unit file starts.
fn program_of(unit: &str) -> Option<&str> {
    let line =
        unit.lines().rfind(|line| line.starts_with("ExecStart=/") || line.starts_with("ExecStart=\""))?;
    line["ExecStart=".len()..].strip_suffix(" watch").map(|program| program.trim_matches('"'))
}

fn same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    id(one).is_some() && id(one) == id(other)
}

/// What is in a file that we may write; an error where somebody else did.
fn ours(path: &Path) -> Result<Option<String>, Refused> {
    if std::fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null")) {
        return Err(trouble(format!("{NAME} is masked; `systemctl unmask {NAME}` allows it again")));
    }
    match std::fs::read_to_string(path) {
        Ok(text) if text.starts_with(MARK) => Ok(Some(text)),
        Ok(_) => Err(trouble(format!(
            "{} was not written by hence and is left as it is; move it away first",
            path.display()
        ))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(trouble(format!("{}: {e}", path.display()))),
    }
}

/// Writes a file as a whole or not at all. `false`: it was so already.
fn put(path: &Path, text: &str) -> Result<bool, Refused> {
    if ours(path)?.as_deref() == Some(text) {
        return Ok(false);
    }
    let fresh = path.with_extension("hence-new");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|e| {
        let _ = std::fs::remove_file(&fresh);
        trouble(format!("{}: {e}", path.display()))
    })?;
    println!("wrote {}", path.display());
    Ok(true)
}

fn systemctl(arguments: &[&str]) -> Result<(), Refused> {
    let line = arguments.join(" ");
    match Command::new("systemctl").args(arguments).status() {
        Ok(status) if status.success() => {
            println!("systemctl {line}");
            Ok(())
        }
        Ok(status) => {
            let more = match arguments.contains(&"restart") {
                true => format!("; `journalctl -b -u {NAME}` has what it said"),
                false => String::new(),
            };
            Err(trouble(format!("systemctl {line}: {status}{more}")))
        }
        Err(error) => Err(trouble(format!("systemctl {line}: {error}"))),
    }
}

fn shown(property: &str) -> String {
    let done = Command::new("systemctl").args(["show", "-P", property, NAME]).output();
    done.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned()).unwrap_or_default()
}

/// Whether the unit is up and runs this very program.
fn runs(program: &Path) -> bool {
    let pid = shown("MainPID");
    shown("ActiveState") == "active"
        && pid != "0"
        && same_file(&PathBuf::from(format!("/proc/{pid}/exe")), program)
}

fn may_change() -> Result<(), Refused> {
    if !rustix::process::geteuid().is_root() {
        return Err(trouble("only root may change which units there are"));
    }
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(trouble("process 1 of this machine is not systemd: there is nothing to watch"));
    }
    Ok(())
}

/// Installs.
///
/// # Errors
/// What could not be done.
pub fn install(args: &Args) -> Result<(), Refused> {
    may_change()?;
    let program = std::env::current_exe().map_err(|e| trouble(format!("this program: {e}")))?;
    let name = program.to_str().ok_or_else(|| trouble(format!("{}: not UTF-8", program.display())))?;
    let ledger = args.ledger.ledger.as_deref().map(std::path::absolute).transpose();
    let ledger = ledger.map_err(|e| trouble(format!("--ledger: {e}")))?.filter(|l| l != Path::new(LEDGER));
    let ledger_name = match &ledger {
        Some(path) => Some(path.to_str().ok_or_else(|| trouble("--ledger: not UTF-8"))?),
        None => None,
    };
    let own = Path::new(FOLDER).join(NAME);
    let extra = Path::new(FOLDER).join(format!("{NAME}.d")).join(DROP_IN);
    // A masked unit, or one that somebody wrote, is no less theirs where a package has one too.
    let before = ours(&own)?;
    let mut changed = false;
    match packaged().filter(|_| before.is_none()) {
        Some(path) => {
            let unit = std::fs::read_to_string(&path).unwrap_or_default();
            let theirs = program_of(&unit).unwrap_or(PROGRAM);
            if !same_file(Path::new(theirs), &program) {
                return Err(trouble(format!(
                    "{} belongs to a package and runs {theirs}, and this is {name}:\n\
                     `{theirs} watch --install` enables it, or remove the package first",
                    path.display()
                )));
            }
            println!("{} belongs to a package and is left as it is", path.display());
            match ledger_name {
                Some(ledger) => changed |= put(&extra, &drop_in(theirs, ledger)?)?,
                None => changed |= take_away(&extra)?,
            }
        }
        None => changed |= put(&own, &text(name, ledger_name)?)?,
    }
    if let Some(ledger) = &ledger {
        std::fs::create_dir_all(ledger).map_err(|e| trouble(format!("{}: {e}", ledger.display())))?;
    }
    if FLEETING.iter().any(|folder| name.starts_with(folder)) {
        println!("note: {name} will not outlive the next boot; install it from elsewhere to keep it");
    }
    if changed || shown("NeedDaemonReload") == "yes" || shown("LoadState") != "loaded" {
        systemctl(&["daemon-reload"])?;
        changed = true;
    }
    if shown("UnitFileState") != "enabled" {
        systemctl(&["enable", NAME])?;
    }
    match !changed && runs(&program) {
        true => println!("{NAME} is enabled and runs already"),
        false => systemctl(&["restart", NAME])?,
    }
    let ledger = ledger_name.unwrap_or(LEDGER);
    println!("{}\nledger {ledger}; ask `hence why UNIT`", shown("StatusText"));
    Ok(())
}

/// Removes a file of ours. `false`: there was none.
fn take_away(path: &Path) -> Result<bool, Refused> {
    if ours(path)?.is_none() {
        return Ok(false);
    }
    std::fs::remove_file(path).map_err(|e| trouble(format!("{}: {e}", path.display())))?;
    println!("removed {}", path.display());
    if path.ends_with(DROP_IN)
        && let Some(folder) = path.parent()
    {
        // Drop-ins of others may be there.
        let _ = std::fs::remove_dir(folder);
    }
    Ok(true)
}

/// Takes away what [`install`] did; the ledger stays.
///
/// # Errors
/// What could not be done.
pub fn uninstall(args: &Args) -> Result<(), Refused> {
    may_change()?;
    let own = Path::new(FOLDER).join(NAME);
    let extra = Path::new(FOLDER).join(format!("{NAME}.d")).join(DROP_IN);
    let written = ours(&own)?.is_some();
    let package = packaged();
    if !written && package.is_none() {
        println!("{NAME} is not installed");
        return Ok(());
    }
    systemctl(&["disable", "--now", NAME])?;
    let changed = take_away(&own)? | take_away(&extra)?;
    if changed {
        systemctl(&["daemon-reload"])?;
    }
    if let Some(path) = package {
        println!("{} belongs to a package and is left as it is", path.display());
    }
    let ledger = args.ledger.ledger.clone().unwrap_or_else(|| LEDGER.into());
    println!("the ledger is kept: {}", ledger.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_program_and_the_ledger() {
        let plain = text("/opt/hence", None).unwrap();
        assert!(plain.contains("\nExecStart=/opt/hence watch\n"), "{plain}");
        assert_eq!(program_of(&plain), Some("/opt/hence"));
        let elsewhere = text("/opt/hence", Some("/srv/ledger")).unwrap();
        assert!(elsewhere.contains("\nExecStart=/opt/hence watch --ledger /srv/ledger\n"), "{elsewhere}");
        assert!(elsewhere.contains("\nReadWritePaths=/srv/ledger\n"), "{elsewhere}");
        assert!(elsewhere.contains("\nRequiresMountsFor=/srv/ledger\n"), "{elsewhere}");
        assert_eq!(program_of(UNIT), Some(PROGRAM));
    }

    #[test]
    fn paths_are_quoted_as_unit_files_want_it() {
        let odd = text("/opt/a b/50%$x", None).unwrap();
        assert!(odd.contains("\nExecStart=\"/opt/a b/50%%$$x\" watch\n"), "{odd}");
        assert!(text("/opt/a\nExecStartPre=/bin/x", None).is_err());
        let more = drop_in("/usr/bin/hence", "/srv/my ledger").unwrap();
        assert!(
            more.contains("\nExecStart=\nExecStart=/usr/bin/hence watch --ledger \"/srv/my ledger\"\n"),
            "{more}"
        );
        assert!(more.contains("\nReadWritePaths=\"/srv/my ledger\"\n"), "{more}");
    }
}
