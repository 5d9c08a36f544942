//! `cat` and `edit`: the files of units.

use super::{Args, Failed, connect, exit_status, expand, properties, property, text};
use hence_bus::wire::Value;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;

/// Prints the files of units, each below its path.
pub fn cat(args: &Args, units: &[String], out: &mut impl Write) -> Result<u8, Failed> {
    let mut control = connect(args)?;
    let units = expand(&mut control, args, units)?;
    let mut first = true;
    for unit in &units {
        let about = properties(&mut control, unit)?;
        let drop_ins = property(&about, "DropInPaths").map_or(&[][..], Value::items);
        let fragment = Some(text(&about, "FragmentPath")).filter(|path| !path.is_empty());
        let files: Vec<&str> =
            fragment.into_iter().chain(drop_ins.iter().filter_map(Value::as_str)).collect();
        if files.is_empty() {
            eprintln!("No files found for {unit}.");
            return Ok(exit_status::FAILURE);
        }
        if property(&about, "NeedDaemonReload") == Some(&Value::Bool(true)) {
            eprintln!(
                "Warning: {unit} changed on disk, the version systemd has loaded is outdated.\n\
                 This output shows the current version of the unit's original fragment and drop-in files.\n\
                 If fragments or drop-ins were added or removed, they are not properly reflected in this \
                 output.\nRun 'systemctl daemon-reload' to reload units."
            );
        }
        for file in files {
            if !first {
                writeln!(out)?;
            }
            first = false;
            writeln!(out, "# {file}")?;
            match std::fs::read(file) {
                Ok(bytes) => out.write_all(&bytes)?,
                Err(error) => eprintln!("Failed to cat {file}: {error}"),
            }
        }
    }
    Ok(0)
}

/// Lets an editor change a drop-in, or with `--full` the unit file, then reads the files anew.
pub fn edit(args: &Args, units: &[String]) -> Result<u8, Failed> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failed(exit_status::FAILURE, "Cannot edit units if not on a tty.".into()));
    }
    let mut control = connect(args)?;
    let about = control.properties(hence_bus::front::ROOT.to_owned())?;
    let system = ["/etc/systemd/system", "/run/systemd/system"][usize::from(args.runtime)];
    let folders = property(&about, "UnitPath").map_or(&[][..], Value::items);
    let known: Vec<&str> = folders.iter().filter_map(Value::as_str).collect();
    // A hence with folders of its own has its units' links and drop-ins in the first that is no control's.
    let own = known.iter().find(|folder| !folder.contains("control") && !folder.ends_with("/transient"));
    let folder = if known.contains(&system) { system } else { own.copied().unwrap_or(system) };
    for unit in units {
        let about = properties(&mut control, unit)?;
        if text(&about, "LoadState") == "not-found" && args.force == 0 {
            let text = format!(
                "No files found for {unit}.\nRun 'systemctl edit --force --full {unit}' to create a new unit."
            );
            return Err(Failed(exit_status::FAILURE, text));
        }
        let (path, before) = if args.full {
            (
                PathBuf::from(folder).join(unit),
                std::fs::read(text(&about, "FragmentPath")).unwrap_or_default(),
            )
        } else {
            let path = PathBuf::from(folder).join(format!("{unit}.d/override.conf"));
            let before = std::fs::read(&path).unwrap_or_default();
            (path, before)
        };
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above)?;
        }
        let new = path.with_extension("edit~");
        std::fs::write(&new, &before)?;
        let outcome = run_editor(&new);
        let after = std::fs::read(&new).unwrap_or_default();
        if outcome.is_err() || after.iter().all(u8::is_ascii_whitespace) {
            let _ = std::fs::remove_file(&new);
            outcome?;
            eprintln!("Editing \"{}\" canceled: temporary file is empty.", path.display());
            continue;
        }
        std::fs::rename(&new, &path)?;
    }
    control.ask("Reload", Vec::new())?;
    Ok(0)
}

fn run_editor(path: &std::path::Path) -> Result<(), Failed> {
    let named = ["SYSTEMD_EDITOR", "EDITOR", "VISUAL"].iter().find_map(|name| std::env::var(name).ok());
    let named = named.filter(|editor| !editor.trim().is_empty());
    let editors =
        named.map_or_else(|| ["editor", "nano", "vim", "vi"].map(String::from).to_vec(), |e| vec![e]);
    for editor in &editors {
        let mut words = editor.split_whitespace();
        let Some(program) = words.next() else { continue };
        match Command::new(program).args(words).arg(path).status() {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => {
                return Err(Failed(exit_status::FAILURE, format!("{editor} failed: {status}.")));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failed(exit_status::FAILURE, format!("{editor}: {error}"))),
        }
    }
    let text =
        "Cannot edit units, no editor available. Please set either $SYSTEMD_EDITOR, $EDITOR or $VISUAL.";
    Err(Failed(exit_status::FAILURE, text.into()))
}
