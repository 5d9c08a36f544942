//! What is done to the units while they run, and when: read from the command line, or made up where it
//! names nothing. It knows units by what their files say; it does nothing.

use hence_ledger::speech::{self, duration};
use hence_unit::{Config, DependencyKind, UnitKind, UnitName, config::Restart, value};
use std::path::PathBuf;

/// How long a slow stop is held back and a disk is full, where nobody says.
const HOLD_US: u64 = 2_000_000;
/// A plan of its own does each thing so often at most.
const ROUNDS: u64 = 20;

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends a signal to `main`, `control` or `all` processes.
    Kill { whom: String, signal: u8 },
    /// Restarts.
    Restart,
    /// Restarts, and holds the processes by SIGSTOP meanwhile.
    SlowStop { hold_us: u64 },
    /// Leaves no room on a disk.
    FullDisk { folder: Option<PathBuf>, hold_us: u64 },
    /// Sets the wall clock.
    ClockJump { by_us: i64 },
}

/// Something that is done again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// To these in turn; empty: those that it concerns are looked for.
    pub units: Vec<UnitName>,
    pub every_us: u64,
    /// Not before this much of the run, in microseconds; `None`: as soon as the units are up.
    pub from_us: Option<u64>,
    /// It was not asked for by name.
    pub own: bool,
}

impl Kind {
    /// What it does to this unit, as the predicate of a sentence: it is the command line of the process that
    /// asks for it, and so what `hence why` names.
    pub fn words(&self, unit: &str) -> String {
        match self {
            Kind::Kill { whom, signal } => {
                let whom = match whom.as_str() {
                    "main" => "the main process",
                    "control" => "the control process",
                    _ => "all processes",
                };
                format!("sends {} to {whom} of {unit}", speech::signal(i32::from(*signal)))
            }
            Kind::Restart => format!("restarts {unit}"),
            Kind::SlowStop { hold_us } => {
                format!("restarts {unit} and holds its stop for {}", duration(*hold_us))
            }
            Kind::FullDisk { folder: Some(folder), hold_us } => {
                format!("fills the disk of {} for {}", folder.display(), duration(*hold_us))
            }
            Kind::FullDisk { folder: None, hold_us } => {
                format!("fills the disk of TMPDIR for {}", duration(*hold_us))
            }
            Kind::ClockJump { by_us } if *by_us < 0 => {
                format!("sets the wall clock back by {}", duration(by_us.unsigned_abs()))
            }
            Kind::ClockJump { by_us } => {
                format!("sets the wall clock forward by {}", duration(*by_us as u64))
            }
        }
    }
}

/// Which faults a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Kill,
    Restart,
    SlowStop,
    FullDisk,
    ClockJump,
}

/// Reads `[UNIT...] [main|control|all] [with SIGNAL] [for TIME] every TIME`.
///
/// # Errors
/// The sentence for the user.
pub fn parse(about: About, text: &str) -> Result<Fault, String> {
    let wrong = |what: &str| format!("{text:?}: {what}");
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let every = spoken(&mut words, "every")
        .ok_or_else(|| wrong("how often? End it with: every 30s"))?
        .and_then(|us| if us > 0 { Ok(us) } else { Err("every 0s") })
        .map_err(|t| wrong(&format!("{t}: not a time; write it as 30s or 5min")))?;
    let hold = match spoken(&mut words, "for") {
        Some(us) => us.map_err(|t| wrong(&format!("{t}: not a time; write it as 2s")))?,
        None => HOLD_US,
    };
    let mut signal = 9;
    if let Some(at) = words.iter().position(|w| *w == "with") {
        let name = words.get(at + 1).copied().unwrap_or_default();
        signal = value::signal(name).ok_or_else(|| wrong(&format!("{name}: not a signal's name")))?;
        words.drain(at..=at + 1);
    }
    let mut fault = Fault {
        kind: match about {
            About::Kill => Kind::Kill { whom: "main".into(), signal },
            About::Restart => Kind::Restart,
            About::SlowStop => Kind::SlowStop { hold_us: hold },
            About::FullDisk => Kind::FullDisk { folder: None, hold_us: hold },
            About::ClockJump => Kind::ClockJump { by_us: 0 },
        },
        units: Vec::new(),
        every_us: every,
        from_us: None,
        own: false,
    };
    for word in words {
        match (&mut fault.kind, word) {
            (_, "of" | "the") => {}
            (Kind::Kill { whom, .. }, "main" | "control" | "all") => *whom = word.into(),
            (Kind::FullDisk { folder, .. }, path) if path.starts_with('/') => *folder = Some(path.into()),
            (Kind::FullDisk { .. }, _) => return Err(wrong(&format!("{word}: not an absolute path"))),
            (Kind::ClockJump { by_us }, _) => {
                let (back, span) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
                let us = value::span(span.trim_start_matches('+'), 1_000_000);
                let us = us.and_then(|us| i64::try_from(us).ok()).filter(|us| *us > 0);
                let us = us.ok_or_else(|| wrong(&format!("{word}: not a time; write it as 1h or -5min")))?;
                *by_us = if back { -us } else { us };
            }
            (_, name) => {
                let full = if name.contains('.') { name.to_owned() } else { format!("{name}.service") };
                let unit = UnitName::new(&full).filter(|unit| unit.kind() == UnitKind::Service);
                fault.units.push(unit.ok_or_else(|| wrong(&format!("{name}: not a service's name")))?);
            }
        }
    }
    if fault.kind == (Kind::ClockJump { by_us: 0 }) {
        return Err(wrong("by how much? Write it as: 1h every 5min"));
    }
    Ok(fault)
}

/// Takes `KEYWORD TIME` out of the words; the time may be of several words.
fn spoken<'a>(words: &mut Vec<&'a str>, keyword: &str) -> Option<Result<u64, &'a str>> {
    let at = words.iter().position(|w| *w == keyword)?;
    let mut end = at + 1;
    while words.get(end).is_some_and(|w| w.starts_with(|c: char| c.is_ascii_digit())) {
        end += 1;
    }
    let taken: Vec<&str> = words.drain(at..end).skip(1).collect();
    let named = taken.first().copied().unwrap_or("");
    Some(value::span(&taken.join(" "), 1_000_000).filter(|_| !taken.is_empty()).ok_or(named))
}

/// A service that faults may be done to.
#[derive(Clone, Debug)]
pub struct Target {
    pub unit: UnitName,
    /// Somebody needs it.
    pub needed: bool,
    /// It comes up again after a SIGKILL.
    pub restarts: bool,
    /// A restart can be asked for.
    pub can_restart: bool,
    /// The shortest time between two starts that its start limit bears for ever.
    pub start_gap_us: u64,
    /// TimeoutStopSec=
    pub timeout_stop_us: u64,
}

/// The services among these units that stay up by themselves.
pub fn targets(units: &[Config]) -> Vec<Target> {
    use hence_unit::config::ServiceType::Oneshot;
    let needed = |name: &UnitName| {
        units.iter().flat_map(|u| &u.dependencies).any(|d| {
            let kinds = [DependencyKind::Requires, DependencyKind::BindsTo, DependencyKind::Wants];
            kinds.contains(&d.kind) && d.other == *name
        })
    };
    let target = |config: &Config| {
        let service = config.service().filter(|s| s.service_type != Oneshot)?;
        let burst = u64::from(config.start_limit_burst);
        // The restart that a fault brings about and the first start count as well.
        let gap = config.start_limit_interval.checked_div(burst.saturating_sub(2).max(1)).unwrap_or(0);
        let limited = burst > 0 && config.start_limit_interval > 0;
        Some(Target {
            unit: config.id().clone(),
            needed: needed(config.id()),
            restarts: !matches!(service.restart, Restart::No | Restart::OnSuccess | Restart::OnWatchdog),
            can_restart: !config.flags.refuse_manual_start && !config.flags.refuse_manual_stop,
            start_gap_us: if limited { gap.min(600_000_000) } else { 0 },
            timeout_stop_us: service.timeout_stop,
        })
    };
    units.iter().filter_map(target).collect()
}

/// The units that a fault is done to in turn.
pub fn concerned(fault: &Fault, targets: &[Target]) -> Vec<UnitName> {
    if !fault.units.is_empty() {
        return fault.units.clone();
    }
    let names = |wanted: &dyn Fn(&Target) -> bool| -> Vec<UnitName> {
        targets.iter().filter(|t| wanted(t)).map(|t| t.unit.clone()).collect()
    };
    match fault.kind {
        Kind::Kill { .. } => names(&|_| true),
        Kind::Restart => {
            let needed = names(&|t| t.needed && t.can_restart);
            if needed.is_empty() { names(&|t| t.can_restart) } else { needed }
        }
        Kind::SlowStop { .. } => names(&|t| t.can_restart),
        Kind::FullDisk { .. } | Kind::ClockJump { .. } => Vec::new(),
    }
}

/// The plan where the command line names no fault: the first half of the time is quiet, so that growth can
/// be told from noise; then each service is restarted, killed where it says that it comes back, and held
/// while it stops, one after the other; the last tenth is quiet again. What has no room in the time is said.
pub fn of_its_own(targets: &[Target], for_us: u64, settled_us: u64) -> (Vec<Fault>, Option<String>) {
    let mut deeds: Vec<(Kind, UnitName)> = Vec::new();
    let can_restart = || targets.iter().filter(|t| t.can_restart);
    for target in can_restart() {
        deeds.push((Kind::Restart, target.unit.clone()));
    }
    for target in targets.iter().filter(|t| t.restarts) {
        deeds.push((Kind::Kill { whom: "main".into(), signal: 9 }, target.unit.clone()));
    }
    let hold = |t: &Target| (t.timeout_stop_us / 4).clamp(200_000, HOLD_US).min((for_us / 40).max(200_000));
    for target in can_restart() {
        deeds.push((Kind::SlowStop { hold_us: hold(target) }, target.unit.clone()));
    }
    let begin = settled_us.max(for_us / 2);
    let time = (for_us * 9 / 10).saturating_sub(begin);
    let count = deeds.len() as u64;
    if count == 0 || time == 0 {
        return (Vec::new(), None);
    }
    // Three deeds of a round are starts of the same unit.
    let limit = targets.iter().map(|t| t.start_gap_us * 3 / count).max().unwrap_or(0);
    let gap = (time / (count * ROUNDS)).max(limit).max(time / 40).max(700_000);
    let fit = time / gap + 1;
    let note = (fit < count).then(|| {
        let time = duration(gap * count * 100 / 40);
        format!("only {fit} of the {count} faults of the plan fit; --for {time} has room for all of them")
    });
    let fault = |(nth, (kind, unit)): (usize, (Kind, UnitName))| Fault {
        kind,
        units: vec![unit],
        every_us: gap * count,
        from_us: Some(begin + gap * nth as u64),
        own: true,
    };
    (deeds.into_iter().enumerate().map(fault).collect(), note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let fault = parse(About::Kill, "main every 30s").unwrap();
        assert_eq!(fault.kind, Kind::Kill { whom: "main".into(), signal: 9 });
        assert_eq!((fault.every_us, fault.units.len()), (30_000_000, 0));
        let fault = parse(About::Kill, "all of foo with TERM every 1min 30s").unwrap();
        assert_eq!(fault.kind, Kind::Kill { whom: "all".into(), signal: 15 });
        assert_eq!((fault.every_us, fault.units[0].as_str()), (90_000_000, "foo.service"));
        let fault = parse(About::SlowStop, "a.service b for 500ms every 10s").unwrap();
        assert_eq!((fault.kind, fault.units.len()), (Kind::SlowStop { hold_us: 500_000 }, 2));
        let fault = parse(About::ClockJump, "-1h every 5min").unwrap();
        assert_eq!(fault.kind, Kind::ClockJump { by_us: -3_600_000_000 });
        let fault = parse(About::FullDisk, "/var/lib/foo every 1min for 5s").unwrap();
        let folder = Some(PathBuf::from("/var/lib/foo"));
        assert_eq!(fault.kind, Kind::FullDisk { folder, hold_us: 5_000_000 });
        for (about, text, told) in [
            (About::Kill, "main", "how often? End it with: every 30s"),
            (About::Kill, "main every soon", "not a time"),
            (About::Kill, "main every 0s", "not a time"),
            (About::Kill, "main with NOISE every 1s", "NOISE: not a signal's name"),
            (About::Kill, "foo.socket every 1s", "foo.socket: not a service's name"),
            (About::ClockJump, "every 1s", "by how much?"),
            (About::FullDisk, "here every 1s", "not an absolute path"),
        ] {
            let error = parse(about, text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_plan_of_its_own_bears_the_start_limit() {
        let target = |name: &str| Target {
            unit: UnitName::new(name).unwrap(),
            needed: false,
            restarts: true,
            can_restart: true,
            start_gap_us: 3_333_333,
            timeout_stop_us: 90_000_000,
        };
        let (plan, note) = of_its_own(&[target("a.service"), target("b.service")], 600_000_000, 1_000_000);
        assert_eq!((plan.len(), note), (6, None));
        assert!(plan.iter().all(|f| f.own && f.from_us.unwrap() >= 300_000_000));
        // Each unit three times in a round.
        assert!(plan[0].every_us >= 3 * 3_333_333);
        let (plan, note) = of_its_own(&[target("a.service")], 10_000_000, 0);
        assert_eq!(plan.len(), 3);
        assert!(note.unwrap().starts_with("only 2 of the 3 faults"));
    }
}
