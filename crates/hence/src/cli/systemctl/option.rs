//! Options that are checked before a verb runs, and those that only print a list.

use super::{Args, Failed, KINDS, exit_status};
use hence_unit::value::boolean;
use std::io::Write;

const ACTIVE: &[&str] =
    &["active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance"];
const LOAD: &[&str] = &["stub", "loaded", "not-found", "bad-setting", "error", "merged", "masked"];
const FILE: &[&str] = &[
    "enabled",
    "enabled-runtime",
    "linked",
    "linked-runtime",
    "alias",
    "masked",
    "masked-runtime",
    "static",
    "disabled",
    "indirect",
    "generated",
    "transient",
    "bad",
];

/// The sub-states of each kind, in the order of their names.
const SUB: [(&str, &str); 11] = [
    ("automount", "dead waiting running failed"),
    ("device", "dead tentative plugged"),
    (
        "mount",
        "dead mounting mounting-done mounted remounting unmounting remounting-sigterm remounting-sigkill \
         unmounting-sigterm unmounting-sigkill failed cleaning",
    ),
    ("path", "dead waiting running failed"),
    ("scope", "dead start-chown running abandoned stop-sigterm stop-sigkill failed"),
    (
        "service",
        "dead condition start-pre start start-post running exited reload stop stop-watchdog stop-sigterm \
         stop-sigkill stop-post final-watchdog final-sigterm final-sigkill failed auto-restart cleaning",
    ),
    ("slice", "dead active"),
    (
        "socket",
        "dead start-pre start-chown start-post listening running stop-pre stop-pre-sigterm stop-pre-sigkill \
         stop-post final-sigterm final-sigkill failed cleaning",
    ),
    (
        "swap",
        "dead activating activating-done active deactivating deactivating-sigterm deactivating-sigkill \
         failed cleaning",
    ),
    ("target", "dead active"),
    ("timer", "dead waiting running elapsed failed"),
];

const OUTPUTS: &[&str] = &[
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-unix",
    "short-delta",
    "verbose",
    "export",
    "json",
    "json-pretty",
    "json-sse",
    "json-seq",
    "cat",
    "with-unit",
];

fn failed(text: String) -> Failed {
    Failed(exit_status::FAILURE, text)
}

/// Checks the options of a line and settles what they mean together. `None` where an option asked for a list
/// of what it may be, which was printed.
pub fn settled(args: &Args, out: &mut impl Write) -> Result<Option<Args>, Failed> {
    let mut args = args.clone();
    if let Some(uid) = args.machine.as_deref().and_then(user_of) {
        // The instance of another user, as maintainer scripts ask for it.
        let folder = std::path::Path::new("/run/user").join(uid);
        let private = ["hence/private", "systemd/private"].map(|name| folder.join(name));
        args.socket = args.socket.or_else(|| private.iter().find(|p| p.exists()).or(private.last()).cloned());
        args.user = true;
        args.machine = None;
    }
    let local = |machine: &&String| machine.as_str() != ".host";
    let machine = args.machine.as_ref().filter(local);
    let elsewhere = [("host", args.host.as_ref()), ("machine", machine), ("image", args.image.as_ref())];
    for (option, value) in elsewhere {
        if value.is_some() {
            return Err(failed(format!("--{option}= is not supported: hence drives this machine only.")));
        }
    }
    if let Some(legend) = &args.legend {
        let Some(legend) = boolean(legend) else {
            return Err(failed(format!("Failed to parse boolean argument to --legend: {legend}.")));
        };
        args.no_legend = !legend;
    }
    if args.kinds.iter().any(|kind| kind == "help") {
        writeln!(out, "Available unit types:\n{}", KINDS.join("\n"))?;
        return Ok(None);
    }
    if args.state.iter().any(|state| state == "help") {
        states(out)?;
        return Ok(None);
    }
    if args.signal == "help" {
        signals(out)?;
        return Ok(None);
    }
    if args.what.iter().any(|what| what == "help") {
        writeln!(out, "runtime\nstate\ncache\nlogs\nconfiguration")?;
        return Ok(None);
    }
    for kind in std::mem::take(&mut args.kinds) {
        match kind.as_str() {
            known if KINDS.contains(&known) => args.kinds.push(kind),
            known if LOAD.contains(&known) => args.state.push(kind),
            _ => {
                return Err(failed(format!(
                    "Unknown unit type or load state '{kind}'.\nUse -t help to see a list of allowed values."
                )));
            }
        }
    }
    if !OUTPUTS.contains(&args.output.as_str()) {
        return Err(failed(format!("Unknown output '{}'.", args.output)));
    }
    if let Some(lines) = &args.lines
        && lines != "all"
        && lines.parse::<u32>().is_err()
    {
        return Err(failed(format!("Failed to parse lines '{lines}'")));
    }
    if !["pretty", "unix", "us", "µs", "utc", "us+utc", "µs+utc"].contains(&args.timestamp.as_str()) {
        return Err(failed(format!("Invalid value: {}.", args.timestamp)));
    }
    if let Some(check) = args.check_inhibitors.as_deref()
        && check != "auto"
        && boolean(check).is_none()
    {
        return Err(failed(format!("Failed to parse --check-inhibitors= argument: {check}")));
    }
    if args.marked && args.verb != "reload-or-restart" {
        return Err(failed("--marked may only be used with 'reload-or-restart'.".into()));
    }
    if !["full", "enable-only", "disable-only"].contains(&args.preset_mode.as_str()) {
        return Err(failed(format!("Failed to parse preset mode: {}.", args.preset_mode)));
    }
    Ok(Some(args))
}

/// The uid of `UID@` and `UID@.host`.
fn user_of(machine: &str) -> Option<&str> {
    let (user, host) = machine.split_once('@')?;
    let valid = ["", ".host"].contains(&host) && !user.is_empty() && user.bytes().all(|b| b.is_ascii_digit());
    valid.then_some(user)
}

fn states(out: &mut impl Write) -> Result<(), Failed> {
    writeln!(out, "Available unit load states:\n{}\n", LOAD.join("\n"))?;
    writeln!(out, "Available unit active states:\n{}\n", ACTIVE.join("\n"))?;
    writeln!(out, "Available unit file states:\n{}", FILE.join("\n"))?;
    for (kind, states) in SUB {
        writeln!(out, "\nAvailable {kind} unit substates:\n{}", states.replace(' ', "\n"))?;
    }
    Ok(())
}

fn signals(out: &mut impl Write) -> Result<(), Failed> {
    writeln!(out, "0")?;
    for (name, _) in hence_unit::value::SIGNALS {
        writeln!(out, "{name}")?;
    }
    writeln!(out, "32\n33")?;
    for number in 0..=30 {
        writeln!(out, "RTMIN+{number}")?;
    }
    Ok(())
}
