//! `cat`, `edit` and `help`: the files of units and what they say of themselves, by a running instance, else
//! by what lies in the folders.

use super::{Args, Failed, connect, exit_status, expand, offline, properties, property, text};
use crate::control::Control;
use hence_bus::wire::Value;
use hence_unit::UnitName;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of a unit.
struct Pieces {
    fragment: Option<String>,
    drop_ins: Vec<String>,
    outdated: bool,
}

/// Asks who runs; `None` where nobody does, or where nobody is to be asked.
fn server(args: &Args) -> Option<Control> {
    if offline::wanted(args) { None } else { connect(args).ok() }
}

fn pieces(control: &mut Option<Control>, args: &Args, unit: &str) -> Result<Pieces, Failed> {
    let Some(control) = control else {
        let Some(name) = UnitName::new(unit) else {
            return Err(Failed(exit_status::FAILURE, format!("Invalid unit name \"{unit}\".")));
        };
        let found = offline::sources(args, &name);
        return Ok(Pieces { fragment: found.fragment, drop_ins: found.drop_ins, outdated: false });
    };
    let about = properties(control, unit)?;
    let drop_ins = property(&about, "DropInPaths").map_or(&[][..], Value::items);
    Ok(Pieces {
        fragment: Some(text(&about, "FragmentPath").to_owned()).filter(|path| !path.is_empty()),
        drop_ins: drop_ins.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        outdated: property(&about, "NeedDaemonReload") == Some(&Value::Bool(true)),
    })
}

fn units_of(control: &mut Option<Control>, args: &Args, units: &[String]) -> Result<Vec<String>, Failed> {
    match control {
        Some(control) => expand(control, args, units),
        None => Ok(units.to_vec()),
    }
}

/// Prints the files of units, each below its path.
pub fn cat(args: &Args, units: &[String], out: &mut impl Write) -> Result<u8, Failed> {
    let mut control = server(args);
    let units = units_of(&mut control, args, units)?;
    let mut first = true;
    for unit in &units {
        let pieces = pieces(&mut control, args, unit)?;
        let files: Vec<&String> = pieces.fragment.iter().chain(&pieces.drop_ins).collect();
        if files.is_empty() {
            out.flush()?;
            eprintln!("No files found for {unit}.");
            return Ok(exit_status::FAILURE);
        }
        if pieces.outdated {
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
            let read = match control {
                Some(_) => std::fs::read(file).map_err(|error| error.to_string()),
                None => offline::read(args, file),
            };
            writeln!(out, "# {}", offline::real(args, file))?;
            match read {
                Ok(bytes) => out.write_all(&bytes)?,
                Err(error) => eprintln!("Failed to cat {file}: {error}"),
            }
        }
    }
    Ok(0)
}

const ABOVE: &str =
    "### Anything between here and the comment below will become the new contents of the file";
const BELOW: &str = "### Lines below this comment will be discarded";

/// The folder that an edited unit's files go to.
fn folder(control: &mut Option<Control>, args: &Args) -> Result<String, Failed> {
    let default = match (args.user, args.runtime) {
        (false, false) => "/etc/systemd/system".to_owned(),
        (false, true) => "/run/systemd/system".to_owned(),
        (true, runtime) => {
            let paths = crate::units::with_user_roots(hence_unit::install::InstallPaths::user);
            let own = if runtime { paths.runtime } else { paths.persistent };
            own.unwrap_or_else(|| "/etc/systemd/user".to_owned())
        }
    };
    let Some(control) = control else { return Ok(offline::real(args, &default)) };
    let about = control.properties(hence_bus::front::ROOT.to_owned())?;
    let folders = property(&about, "UnitPath").map_or(&[][..], Value::items);
    let known: Vec<&str> = folders.iter().filter_map(Value::as_str).collect();
    // A hence with folders of its own has its units' links and drop-ins in the first that is no control's.
    let own = known.iter().find(|folder| !folder.contains("control") && !folder.ends_with("/transient"));
    Ok(match own {
        Some(own) if !known.contains(&default.as_str()) => (*own).to_owned(),
        _ => default,
    })
}

/// Lets an editor change a drop-in, or with `--full` the unit file, then has the files read anew.
pub fn edit(args: &Args, units: &[String]) -> Result<u8, Failed> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failed(exit_status::FAILURE, "Cannot edit units if not on a tty.".into()));
    }
    let mut control = server(args);
    let folder = PathBuf::from(folder(&mut control, args)?);
    let mut changed = false;
    for unit in units {
        let pieces = pieces(&mut control, args, unit)?;
        if pieces.fragment.is_none() && args.force == 0 {
            let text = format!(
                "No files found for {unit}.\nRun 'systemctl edit --force --full {unit}' to create a new unit."
            );
            return Err(Failed(exit_status::FAILURE, text));
        }
        let read = |path: &str| match control {
            Some(_) => std::fs::read(path).map_err(|error| error.to_string()),
            None => offline::read(args, path),
        };
        let (path, text) = if args.full {
            (
                folder.join(unit),
                pieces.fragment.as_deref().map_or_else(Vec::new, |p| read(p).unwrap_or_default()),
            )
        } else {
            let path = folder.join(format!("{unit}.d/override.conf"));
            let own = std::fs::read(&path).unwrap_or_default();
            let mut text = format!("### Editing {}\n{ABOVE}\n\n", path.display()).into_bytes();
            text.extend_from_slice(&own);
            text.extend_from_slice(format!("\n\n{BELOW}\n").as_bytes());
            for file in pieces.fragment.iter().chain(&pieces.drop_ins) {
                if Path::new(&offline::real(args, file)) == path {
                    continue;
                }
                text.extend_from_slice(format!("\n### {file}\n").as_bytes());
                let lines = read(file).unwrap_or_default();
                for line in String::from_utf8_lossy(&lines).lines() {
                    text.extend_from_slice(format!("# {line}\n").as_bytes());
                }
            }
            (path, text)
        };
        changed |= edit_one(&path, &text)?;
    }
    if let (true, Some(control)) = (changed, &mut control) {
        control.ask("Reload", Vec::new())?;
    }
    Ok(0)
}

/// Has an editor change a text, and makes the file of it; false where nothing came of it.
fn edit_one(path: &Path, before: &[u8]) -> Result<bool, Failed> {
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".#{name}{:08x}", std::process::id()));
    std::fs::write(&new, before)?;
    let outcome = run_editor(&new);
    let after = std::fs::read(&new).unwrap_or_default();
    let kept = kept(&after);
    if outcome.is_err() || kept.iter().all(u8::is_ascii_whitespace) {
        let _ = std::fs::remove_file(&new);
        // A folder that was made for this is empty, and goes again.
        let _ = path
            .parent()
            .filter(|above| above.extension().is_some_and(|e| e == "d"))
            .map(std::fs::remove_dir);
        outcome?;
        eprintln!("Editing \"{}\" canceled: temporary file is empty.", path.display());
        return Ok(false);
    }
    std::fs::write(&new, kept)?;
    std::fs::rename(&new, path)?;
    Ok(true)
}

/// What stands between the two comments, or everything where they are not there.
fn kept(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let from = text.find(ABOVE).map_or(0, |at| at + ABOVE.len());
    let to = text.find(BELOW).filter(|to| *to >= from).unwrap_or(text.len());
    if from == 0 && to == text.len() {
        return text.into_owned().into_bytes();
    }
    let kept = text[from..to].trim();
    if kept.is_empty() { Vec::new() } else { format!("{kept}\n").into_bytes() }
}

fn run_editor(path: &Path) -> Result<(), Failed> {
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

/// Shows the manual pages that units name; other documents are only named.
pub fn help(control: &mut Control, units: &[String], out: &mut impl Write) -> Result<u8, Failed> {
    for unit in &super::all_names(units)? {
        let about = properties(control, unit)?;
        let documents = property(&about, "Documentation").map_or(&[][..], Value::items);
        if documents.is_empty() {
            eprintln!("Documentation for {unit} not known.");
        }
        for document in documents.iter().filter_map(Value::as_str) {
            let Some(page) = document.strip_prefix("man:") else {
                writeln!(out, "Can't show: {document}")?;
                continue;
            };
            let words = match page.strip_suffix(')').and_then(|page| page.split_once('(')) {
                Some((name, section)) => vec![section, name],
                None => vec![page],
            };
            out.flush()?;
            let status = Command::new("man").args(words).status();
            status
                .map_err(|error| Failed(exit_status::FAILURE, format!("Failed to execute man: {error}")))?;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_leaves_is_cut_out_of_the_comments() {
        let text = format!("### Editing /x\n{ABOVE}\n\n[Service]\nNice=3\n\n{BELOW}\n\n### /y\n# [Unit]\n");
        assert_eq!(kept(text.as_bytes()), b"[Service]\nNice=3\n");
        assert!(kept(format!("{ABOVE}\n\n\n\n{BELOW}\n# x\n").as_bytes()).is_empty());
        assert_eq!(kept(b"[Unit]\n\n"), b"[Unit]\n\n");
    }
}
