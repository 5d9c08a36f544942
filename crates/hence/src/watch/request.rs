//! What a command line asks a manager for. It knows programs by their names and judges nothing else.

use hence_ledger::{Text, Verb};
use hence_unit::JobMode;

/// A request: for what, in which mode, of which units.
pub type Request = (Verb, JobMode, Vec<Text>);

/// Options of systemctl that have a value behind them.
const WITH_VALUE: [&str; 9] = ["-t", "-p", "-P", "-s", "-H", "-M", "-n", "-o", "-C"];
const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".target",
    ".timer",
    ".path",
    ".mount",
    ".automount",
    ".swap",
    ".slice",
    ".scope",
    ".device",
];

/// What this command line asks for, where it asks for anything.
pub fn of(arguments: &[String]) -> Option<Request> {
    let program = arguments.first()?.rsplit('/').next()?;
    let rest = &arguments[1..];
    match program {
        "systemctl" => systemctl(rest),
        "systemd-run" => systemd_run(rest),
        "shutdown" if rest.iter().any(|a| a == "-r" || a == "--reboot") => whole(Verb::Reboot),
        "shutdown" if rest.iter().any(|a| a == "-c") => None,
        "shutdown" | "poweroff" => whole(Verb::PowerOff),
        "reboot" => whole(Verb::Reboot),
        "halt" => whole(Verb::Halt),
        "busctl" | "dbus-send" | "gdbus" => call(rest),
        _ => None,
    }
}

fn whole(verb: Verb) -> Option<Request> {
    Some((verb, JobMode::default(), Vec::new()))
}

fn systemctl(arguments: &[String]) -> Option<Request> {
    let mut words: Vec<&str> = Vec::new();
    let (mut now, mut mode, mut skip) = (false, JobMode::default(), false);
    for argument in arguments {
        if std::mem::take(&mut skip) {
            continue;
        }
        match argument.as_str() {
            "--user" => return None,
            "--now" => now = true,
            "--fail" => mode = JobMode::Fail,
            text if WITH_VALUE.contains(&text) => skip = true,
            text if text.starts_with("--job-mode=") => {
                mode = JobMode::parse(&text["--job-mode=".len()..]).unwrap_or_default();
            }
            text if text.starts_with('-') => {}
            text => words.push(text),
        }
    }
    let (verb, units) = words.split_first()?;
    let units: Vec<Text> = units.iter().map(|unit| Text::from(*unit)).collect();
    let isolate = |unit: &str| Some((Verb::Isolate, JobMode::Isolate, vec![unit.into()]));
    let verb = match *verb {
        "poweroff" => return whole(Verb::PowerOff),
        "reboot" => return whole(Verb::Reboot),
        "halt" => return whole(Verb::Halt),
        "kexec" => return whole(Verb::Kexec),
        "exit" => return whole(Verb::Exit),
        "rescue" => return isolate("rescue.target"),
        "emergency" => return isolate("emergency.target"),
        "default" => return isolate("default.target"),
        "daemon-reload" => return whole(Verb::DaemonReload),
        "daemon-reexec" => return whole(Verb::DaemonReexec),
        "enable" | "reenable" if now => Verb::Start,
        "disable" | "mask" if now => Verb::Stop,
        "start" if mode == JobMode::Isolate => Verb::Isolate,
        "condrestart" => Verb::TryRestart,
        "force-reload" => Verb::ReloadOrRestart,
        "try-reload-or-restart" => Verb::ReloadOrTryRestart,
        other => Verb::parse(other)?,
    };
    Some((verb, if verb == Verb::Isolate { JobMode::Isolate } else { mode }, units))
}

fn systemd_run(arguments: &[String]) -> Option<Request> {
    let mut words = arguments.iter();
    let mut unit = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--user" => return None,
            "-u" | "--unit" => unit = words.next().cloned(),
            text if text.starts_with("--unit=") => unit = Some(text["--unit=".len()..].to_owned()),
            text if text.starts_with("-p") && text.len() == 2 => {
                words.next();
            }
            text if !text.starts_with('-') => break,
            _ => {}
        }
    }
    let unit = unit.unwrap_or_else(|| "run-*".into());
    Some((Verb::StartTransient, JobMode::default(), vec![unit.as_str().into()]))
}

/// A call that names its method and a unit as plain words.
fn call(arguments: &[String]) -> Option<Request> {
    let method = |word: &str| match word.rsplit('.').next().unwrap_or("") {
        "StartUnit" | "StartUnitReplace" => Some(Verb::Start),
        "StopUnit" => Some(Verb::Stop),
        "RestartUnit" => Some(Verb::Restart),
        "TryRestartUnit" => Some(Verb::TryRestart),
        "ReloadUnit" => Some(Verb::Reload),
        "ReloadOrRestartUnit" => Some(Verb::ReloadOrRestart),
        "KillUnit" => Some(Verb::Kill),
        _ => None,
    };
    let verb = arguments.iter().find_map(|word| method(word))?;
    let unit = arguments
        .iter()
        .map(|word| word.strip_prefix("string:").unwrap_or(word))
        .find(|word| SUFFIXES.iter().any(|suffix| word.ends_with(suffix)) && !word.contains('/'))?;
    Some((verb, JobMode::default(), vec![unit.into()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        of(&words).map(|(verb, mode, units)| format!("{verb} {} {}", mode.as_str(), units.join(",")))
    }

    #[test]
    fn what_command_lines_ask_for() {
        for (line, asked) in [
            ("/usr/bin/systemctl --no-block restart a b.socket", "restart replace a,b.socket"),
            ("systemctl -H x stop foo", "stop replace foo"),
            ("systemctl --job-mode=isolate start x.target", "isolate isolate x.target"),
            ("systemctl enable --now foo", "start replace foo"),
            ("systemctl daemon-reload", "daemon-reload replace "),
            ("systemctl rescue", "isolate isolate rescue.target"),
            ("shutdown -r now", "reboot replace "),
            ("systemd-run --unit=x.service sleep 1", "start-transient replace x.service"),
            ("systemd-run -p Type=oneshot sleep 1", "start-transient replace run-*"),
            (
                "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
                 org.freedesktop.systemd1.Manager StopUnit ss foo.service replace",
                "stop replace foo.service",
            ),
            (
                "dbus-send --system org.freedesktop.systemd1.Manager.StartUnit string:a.service string:fail",
                "start replace a.service",
            ),
        ] {
            assert_eq!(request(line).as_deref(), Some(asked), "{line}");
        }
        for line in
            ["systemctl status foo", "systemctl --user stop foo", "systemctl", "sleep 1", "shutdown -c"]
        {
            assert_eq!(request(line), None, "{line}");
        }
    }
}
