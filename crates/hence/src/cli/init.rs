//! `hence init`: its command line, and that of a kernel or container runtime that starts hence as
//! `/sbin/init` and knows nothing of it. What it does is in `crate::init`.

use crate::cli::LedgerOption;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Runs the system's units as process 1 of a container, virtual machine or image.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Init {
    /// Bring this unit up instead of default.target
    #[arg(long, short, value_name = "TARGET")]
    pub unit: Option<String>,
    /// Run the units of this user instead, as any process; `systemctl --user` reaches it
    #[arg(long)]
    pub user: bool,
    /// How to track processes [default: the best that is possible here]
    #[arg(long, value_name = "LEVEL", value_parser = ["cgroup", "ancestry"])]
    pub tracking: Option<String>,
    /// Say only what is wrong
    #[arg(long, short)]
    pub quiet: bool,
    /// Print the policy that the system bus needs, and do nothing else
    #[arg(long)]
    pub print_bus_policy: bool,
    /// What an earlier program hands on; said by hence alone
    #[arg(long, hide = true, value_name = "FD")]
    pub deserialize: Option<i32>,
    #[command(flatten)]
    pub alerts: crate::alerts::Options,
    #[command(flatten)]
    pub ledger: LedgerOption,
}

impl Init {
    /// Runs until the system is asked to end.
    pub fn run(self) -> ExitCode {
        if self.print_bus_policy {
            let policy = hence_bus::front::bus_policy();
            return match std::io::stdout().write_all(policy.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        crate::init::main(&self)
    }

    /// What a boot loader or container runtime says to its init: words that systemd(1) knows are taken, the
    /// rest is for others, as the kernel hands on whatever it doesn't know itself.
    pub fn of_boot(arguments: impl Iterator<Item = OsString>) -> Init {
        let mut init = Init::default();
        let mut arguments = arguments.filter_map(|a| a.into_string().ok());
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (&*argument, None),
            };
            match name {
                "--unit" | "-u" => init.unit = value.or_else(|| arguments.next()),
                "--ledger" => init.ledger.ledger = value.or_else(|| arguments.next()).map(Into::into),
                "--quiet" | "-q" => init.quiet = true,
                "--user" => init.user = true,
                "--deserialize" => init.deserialize = value.and_then(|v| v.parse().ok()),
                _ => init.unit = runlevel(&argument).map(str::to_owned).or(init.unit),
            }
        }
        init
    }
}

/// The target of a word on the kernel's command line; kernel-command-line(7).
pub fn runlevel(word: &str) -> Option<&'static str> {
    Some(match word {
        "emergency" | "-b" => "emergency.target",
        "rescue" | "single" | "-s" | "s" | "S" | "1" => "rescue.target",
        "2" | "3" | "4" => "multi-user.target",
        "5" => "graphical.target",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_boot_loader() {
        let of = |line: &str| Init::of_boot(line.split_whitespace().map(OsString::from));
        assert_eq!(of("splash single").unit.as_deref(), Some("rescue.target"));
        assert_eq!(of("--unit=a.target nonsense=1 -- 7").unit.as_deref(), Some("a.target"));
        assert_eq!(of("--unit a.target").unit.as_deref(), Some("a.target"));
        assert!(of("--quiet --ledger /x").quiet);
        assert_eq!(of("ro quiet").unit, None);
        // As user@.service calls it.
        assert!(of("--user").user && !of("user single").user);
    }
}
