//! `hence watch --install`: puts the unit of `hence watch` in its place, enables it and starts it.

use super::Refused;
use crate::cli::watch::Watch as Args;
use crate::exit;
use std::path::Path;
use std::process::Command;

/// The unit as it is delivered.
const UNIT: &str = include_str!("../../../../dist/hence-watch.service");
const NAME: &str = "hence-watch.service";
const FOLDER: &str = "/etc/systemd/system";
/// Where the unit expects the program.
const PROGRAM: &str = "/usr/bin/hence";

/// The unit with this program and ledger.
fn text(program: &str, ledger: Option<&Path>) -> String {
    let mut command = format!("{program} watch");
    let mut unit = UNIT.to_owned();
    if let Some(ledger) = ledger {
        command.push_str(&format!(" --ledger {}", ledger.display()));
        unit = unit.replace("/var/lib/hence", &ledger.display().to_string());
        unit = unit.replace(
            "ProtectSystem=strict\n",
            &format!("ProtectSystem=strict\nReadWritePaths={}\n", ledger.display()),
        );
    }
    unit.replace(&format!("{PROGRAM} watch"), &command)
}

/// Installs.
///
/// # Errors
/// What could not be done.
pub fn install(args: &Args) -> Result<(), Refused> {
    let trouble = |text: String| (exit::TROUBLE, text);
    let program = std::env::current_exe().map_err(|e| trouble(format!("this program: {e}")))?;
    let program = program.display().to_string();
    let ledger = args.ledger.ledger.as_deref().map(std::path::absolute).transpose();
    let ledger = ledger.map_err(|e| trouble(format!("--ledger: {e}")))?;
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(trouble("process 1 of this machine is not systemd: there is nothing to watch".into()));
    }
    if let Some(ledger) = &ledger {
        std::fs::create_dir_all(ledger).map_err(|e| trouble(format!("{}: {e}", ledger.display())))?;
    }
    let path = Path::new(FOLDER).join(NAME);
    let unit = text(&program, ledger.as_deref());
    std::fs::write(&path, unit).map_err(|e| trouble(format!("{}: {e}", path.display())))?;
    println!("wrote {}", path.display());
    for arguments in [&["daemon-reload"][..], &["enable", NAME], &["restart", NAME]] {
        let ended = Command::new("systemctl").args(arguments).status();
        match ended {
            Ok(status) if status.success() => println!("systemctl {}", arguments.join(" ")),
            Ok(status) => return Err(trouble(format!("systemctl {}: {status}", arguments.join(" ")))),
            Err(error) => return Err(trouble(format!("systemctl: {error}"))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_names_the_program_and_the_ledger() {
        let plain = text("/opt/hence", None);
        assert!(plain.contains("\nExecStart=/opt/hence watch\n"), "{plain}");
        let elsewhere = text("/opt/hence", Some(Path::new("/srv/ledger")));
        assert!(elsewhere.contains("\nExecStart=/opt/hence watch --ledger /srv/ledger\n"), "{elsewhere}");
        assert!(elsewhere.contains("\nReadWritePaths=/srv/ledger\n"), "{elsewhere}");
    }
}
