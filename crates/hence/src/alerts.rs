//! Tells of loops and left-over processes while they go on: in the journal, to a command or web server, and
//! as metrics. What is worth telling is decided in `hence_ledger::live`.
//!
//! It has an epoll of its own, which the run loop waits for as for one descriptor; nothing here blocks.

mod deliver;
mod journal;
mod limit;
mod metrics;
mod serve;

use deliver::{Delivery, Target};
use hence_engine::Time;
use hence_host::watch::Turns;
use hence_ledger::allow::{self, AllowList};
use hence_ledger::live::Live;
use hence_ledger::{Record, Text};
use journal::Journal;
use limit::Limit;
pub use metrics::Outside;
use serve::{Listen, Server};
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use deliver::main as deliver_main;

const DOOR: u64 = 0;
const DELIVERY: u64 = 1;

/// Whom to tell, and of what.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Run this shell command for each alert; it gets the alert as JSON at its standard input
    #[arg(long, value_name = "COMMAND", help_heading = "Alerts")]
    pub alert_command: Option<String>,
    /// POST each alert as JSON to this http:// address
    #[arg(long, value_name = "URL", value_parser = deliver::url, help_heading = "Alerts")]
    pub alert_url: Option<String>,
    /// Loops and left-over processes that are over sooner alarm nobody
    #[arg(long, value_name = "TIME", value_parser = crate::run::time_span, default_value = "10s",
        help_heading = "Alerts")]
    pub alert_after: u64,
    /// Command and URL are told of a unit at most so often; what is held back is counted, and told later
    #[arg(long, value_name = "TIME", value_parser = crate::run::time_span, default_value = "10min",
        help_heading = "Alerts")]
    pub alert_interval: u64,
    /// Serve metrics as OpenMetrics text on this port, or unix socket
    #[arg(long, value_name = "[ADDRESS:]PORT|PATH", value_parser = serve::listen, help_heading = "Alerts")]
    pub metrics: Option<Listen>,
    /// Rules of left-over processes that are intended [default: /etc/hence/left-behind.conf]
    #[arg(long, value_name = "FILE", help_heading = "Alerts")]
    pub left_behind_allowed: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            alert_command: None,
            alert_url: None,
            alert_after: 10_000_000,
            alert_interval: 600_000_000,
            metrics: None,
            left_behind_allowed: None,
        }
    }
}

impl Options {
    /// Whether somebody is to be told, besides the journal.
    pub fn are_given(&self) -> bool {
        self.alert_command.is_some() || self.alert_url.is_some() || self.metrics.is_some()
    }

    /// The rules of left-over processes that are intended; what is wrong with them is said.
    ///
    /// # Errors
    /// A file that was named can't be read.
    pub fn allow_list(&self) -> Result<Arc<AllowList>, String> {
        let (list, said) = allow_list(self.left_behind_allowed.as_deref())?;
        said.iter().for_each(|line| eprintln!("hence: {line}"));
        Ok(Arc::new(list))
    }
}

/// Reads the rules of left-over processes that are intended, and what is wrong with them. There need not be
/// any, unless a file is named.
///
/// # Errors
/// It can't be read.
pub fn allow_list(named: Option<&Path>) -> Result<(AllowList, Vec<String>), String> {
    let path = named.unwrap_or(Path::new(allow::PATH));
    let trouble = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => {
            return Ok((AllowList::default(), Vec::new()));
        }
        Err(e) => return Err(trouble(e)),
    };
    let mut bytes = Vec::new();
    file.take(allow::LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(trouble)?;
    if bytes.len() > allow::LONGEST {
        return Err(format!("{}: it is longer than {} KiB", path.display(), allow::LONGEST >> 10));
    }
    Ok(AllowList::parse(&path.display().to_string(), &String::from_utf8_lossy(&bytes)))
}

/// Looks at records, and tells.
pub struct Vigil {
    live: Live,
    turns: Turns,
    options: Options,
    journal: Option<Journal>,
    limit: Limit,
    delivery: Delivery,
    server: Option<Server>,
    began_s: u64,
}

impl Vigil {
    /// `journal`: the native socket of the journal that is told; `user`: the units are a user's.
    ///
    /// # Errors
    /// Metrics can't be served there.
    pub fn open(
        options: &Options,
        allowed: Arc<AllowList>,
        journal: Option<PathBuf>,
        user: bool,
        now: Time,
    ) -> Result<Vigil, String> {
        let turns = Turns::new().map_err(|e| format!("epoll: {e}"))?;
        let server = match &options.metrics {
            None => None,
            Some(at) => {
                let trouble = |e: std::io::Error| format!("--metrics {at}: {e}");
                let server = Server::open(at).map_err(trouble)?;
                turns.add(server.descriptor(), DOOR, false).map_err(trouble)?;
                Some(server)
            }
        };
        let command = options.alert_command.clone().map(Target::Command);
        let url = options.alert_url.clone().map(Target::Url);
        Ok(Vigil {
            live: Live::new(options.alert_after, allowed),
            turns,
            journal: journal.map(|path| Journal::new(path, user)),
            limit: Limit::new(options.alert_interval),
            delivery: Delivery::new(command.into_iter().chain(url).collect()),
            server,
            began_s: now.realtime_us / 1_000_000,
            options: options.clone(),
        })
    }

    /// What to wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.turns.descriptor()
    }

    /// Takes a record.
    pub fn record(&mut self, record: &Record) {
        self.live.take(record);
    }

    /// Takes a process that was left over before.
    pub fn left_before(&mut self, unit: &Text, now: Time, process: &hence_ledger::LeftOver, allowed: bool) {
        self.live.left_before(unit, now, process, allowed);
    }

    /// Reads the rules of left-over processes that are intended anew; where that fails, the ones from before
    /// stay.
    pub fn allow_again(&mut self, now: Time) -> Option<Arc<AllowList>> {
        match self.options.allow_list() {
            Ok(list) => {
                self.live.allow(list.clone(), now);
                Some(list)
            }
            Err(what) => {
                eprintln!("hence: {what}; the rules from before stay");
                None
            }
        }
    }

    /// Tells what is to be told by now. `limit`: a unit's start limit.
    pub fn keep(&mut self, now: Time, limit: impl Fn(&str) -> Option<(u32, u64)>) {
        let now_us = now.monotonic_us;
        for (unit, pid, start_ticks) in self.live.stayed(now) {
            if let Some(process) = hence_host::describe(pid).filter(|p| p.start_ticks == start_ticks) {
                self.live.is_now(&unit, &process);
            }
        }
        self.live.settle(now);
        while let Some(mut alert) = self.live.poll_alert() {
            if let Some((burst, interval_us)) = limit(&alert.unit) {
                alert.limited(burst, interval_us);
            }
            if let Some(journal) = &mut self.journal {
                journal.tell(&alert);
            }
            if self.delivery.is_wanted()
                && let Some(alert) = self.limit.take(alert, now_us)
            {
                self.delivery.tell(&alert, 0);
            }
        }
        while let Some((alert, others)) = self.limit.due(now_us) {
            self.delivery.tell(&alert, others);
        }
        self.delivery.keep(&self.turns, DELIVERY, now_us);
        if let Some(server) = &mut self.server {
            server.keep(&self.turns, now_us);
        }
    }

    /// When there is something to tell although nothing happens, on CLOCK_MONOTONIC.
    pub fn deadline_us(&self) -> Option<u64> {
        let server = self.server.as_ref().and_then(Server::deadline_us);
        let due = [self.live.deadline(), self.limit.deadline_us(), self.delivery.deadline_us(), server];
        due.into_iter().flatten().min()
    }

    /// Its descriptor can be read. `outside`: the numbers that are known elsewhere.
    pub fn ready(&mut self, now: Time, outside: impl Fn() -> Outside) {
        let now_us = now.monotonic_us;
        let Ok(turns) = self.turns.wait(Some(Duration::ZERO)) else { return };
        for turn in turns {
            match (turn.token, &mut self.server) {
                (DELIVERY, _) => self.delivery.ready(&self.turns),
                (DOOR, Some(server)) => server.accept(&self.turns, now_us),
                (_, Some(server)) => {
                    let told = metrics::Told {
                        delivered: self.delivery.delivered,
                        failed: self.delivery.failed,
                        held_back: self.limit.held_back,
                        unwritten: self.journal.as_ref().map_or(0, |journal| journal.lost),
                        began_s: self.began_s,
                    };
                    let live = &self.live;
                    server.turn(&self.turns, turn, now_us, || metrics::text(live, &outside(), &told));
                }
                (_, None) => {}
            }
        }
    }
}

/// What a ledger takes on the disk, in bytes.
pub fn ledger_bytes(ledger: &Path) -> u64 {
    let of = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|e| e.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum::<u64>()
    };
    of(ledger.to_owned()) + of(ledger.join("segments"))
}
