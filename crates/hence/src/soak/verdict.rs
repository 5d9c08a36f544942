//! The verdict: what of a run is not as it should be, each with its evidence and what to do about it.

use super::summary::{Measure, Run, Summary, Window};
use super::trend::{Trend, kendall};
use crate::report::predict::fold::number;
use crate::report::time::{period, span};
use hence_ledger::speech::{count, duration, size};
use hence_ledger::{ActiveState, UnitResult};
use hence_unit::config::{KillMode, Limit, Restart, ServiceType};

/// So long after a fault a failure is put down to it.
const AFTERMATH_US: u64 = 1_500_000;
/// A stop or start of this share of its timeout is near it.
const NEAR: u64 = 2;
const DAY_US: u64 = 86_400_000_000;

/// Something that is not as it should be, or is worth saying.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which check: a word for programs.
    pub kind: &'static str,
    /// Empty: the run as a whole.
    pub unit: String,
    /// The predicate of a sentence about the unit.
    pub says: String,
    pub evidence: Vec<String>,
    pub mend: String,
    /// The run does not pass with it.
    pub fails: bool,
}

/// The checks, in the order in which they are told.
pub const CHECKS: [&str; 16] = [
    "start",
    "failure",
    "fails-with",
    "recovery",
    "left-behind",
    "processes",
    "threads",
    "memory",
    "sockets",
    "descriptors",
    "zombies",
    "stop-time",
    "start-time",
    "log-errors",
    "files",
    "worse",
];

/// Everything that is found in a run.
pub fn judge(run: &Run) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, unit) in &run.units {
        let at = found.len();
        failures(name, unit, run, &mut found);
        recovery(unit, run, &mut found);
        left_behind(unit, run, &mut found);
        growth(unit, &mut found);
        stops(unit, &mut found);
        starts(unit, run, &mut found);
        complaints(unit, run, &mut found);
        found[at..].iter_mut().for_each(|f| f.unit.clone_from(name));
    }
    files(run, &mut found);
    found.sort_by_key(|f| (!f.fails, CHECKS.iter().position(|c| *c == f.kind)));
    found
}

fn finding(kind: &'static str, says: String, evidence: Vec<String>, mend: impl Into<String>) -> Finding {
    Finding { kind, unit: String::new(), says, evidence, mend: mend.into(), fails: true }
}

/// The window in whose aftermath a failure is, of a fault that was not done to this unit.
fn window<'a>(run: &'a Run, name: &str, at_us: u64) -> Option<&'a Window> {
    run.windows.iter().find(|w| {
        w.unit.as_deref() != Some(name) && at_us >= w.from_us && at_us <= w.to_us.saturating_add(AFTERMATH_US)
    })
}

fn failures(name: &str, unit: &Summary, run: &Run, found: &mut Vec<Finding>) {
    let own: Vec<_> = unit.story.failures.iter().filter(|f| f.why.is_unrequested() && !f.stop).collect();
    let Some(first) = own.first() else {
        if let Some(message) = unit.story.refused.as_ref().filter(|_| unit.story.starts.is_empty()) {
            let says = "can't be started".to_owned();
            found.push(finding("start", says, vec![message.clone()], "mend what the message names"));
        } else if let Some(result) = unit.story.not_started.filter(|_| unit.story.starts.is_empty()) {
            let says = "is not started".to_owned();
            let evidence = vec![format!("its start job ended with: {result}")];
            found.push(finding("start", says, evidence, "look at the units that it needs"));
        }
        return goes_around(unit, found);
    };
    let mut evidence = Vec::new();
    if let super::story::Why::Itself(root) = &first.why {
        evidence
            .push(format!("the first time after {}: {root}", span(first.at_us.saturating_sub(run.began_us))));
    }
    if let Some(words) = unit.story.words.as_deref() {
        let last = words.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
        evidence.push(format!("its last words: {}", last.chars().take(200).collect::<String>()));
    }
    let times = own.len() as u64;
    let with: Vec<Option<&Window>> = own.iter().map(|f| window(run, name, f.at_us)).collect();
    if let Some(fault) = with[0].filter(|_| with.iter().all(Option::is_some)) {
        let done = run.windows.iter().filter(|w| w.words == fault.words).count() as u64;
        evidence.push(format!(
            "{times} of its failures came within {} of that fault, which was done {} (concluded from the \
             times, not seen)",
            duration(AFTERMATH_US),
            count(done, "time", "times")
        ));
        if own.iter().all(|f| f.why.is_file_limit()) {
            let says = "is killed by SIGXFSZ, of the limit that plays a full disk here".to_owned();
            let mend = "that says little of a disk that is full; soak where one can be bounded";
            found.push(Finding { fails: false, ..finding("fails-with", says, evidence, mend) });
            return;
        }
        let says = format!("fails when the soak {}", fault.words);
        let mend = "have it bear that: try again for a while, or say by BindsTo= or Requires= that it can't";
        found.push(finding("fails-with", says, evidence, mend));
        return;
    }
    rhythm(unit, own.iter().map(|f| f.at_us).collect(), &mut evidence);
    for one in run.story.loops.iter().filter(|l| l.units.first().is_some_and(|u| &**u == name)) {
        if one.units.len() > 1 {
            let others: Vec<&str> = one.units[1..].iter().map(|u| &**u).collect();
            evidence.push(format!("each time it takes {} along", others.join(", ")));
        }
    }
    let never_up = own.iter().all(|f| f.up_us.is_none()) && unit.story.up.is_empty();
    let early = first.first && first.up_us.is_none_or(|us| us < 10_000_000);
    let how = match first.result {
        UnitResult::Timeout if first.up_us.is_none() => "its start timed out",
        UnitResult::Timeout => "it timed out",
        UnitResult::Watchdog => "its watchdog got no sign of life",
        UnitResult::OomKill => "the kernel killed it for lack of memory",
        UnitResult::Protocol => "it ended without having become ready as its Type= promises",
        UnitResult::Signal | UnitResult::CoreDump => "a signal ended it",
        UnitResult::Resources => "the system refused something that it needs",
        _ => "its main process ended badly",
    };
    let (kind, says) = match (never_up, early) {
        (true, _) => ("start", format!("does not come up: {how}")),
        (false, true) => {
            let up = first.up_us.map_or("its start".into(), span);
            ("start", format!("fails {up} after it came up: {how}"))
        }
        _ => ("failure", format!("fails by itself {}: {how}", count(times, "time", "times"))),
    };
    let mend = match first.result {
        UnitResult::Timeout if first.up_us.is_none() => {
            "have it say READY=1 when it is ready, or choose the Type= that fits what it does"
        }
        _ => "look at its last words and at what changed since it last ran well",
    };
    found.push(finding(kind, says, evidence, mend));
}

/// Periods, and what they come to in a day.
fn rhythm(unit: &Summary, at: Vec<u64>, evidence: &mut Vec<String>) {
    let Some(service) = unit.config.as_ref().and_then(|c| c.service()) else { return };
    let restarts = unit.restarts > 0 || unit.story.restarts.iter().any(|r| !r.asked);
    if !restarts {
        return;
    }
    let mut gaps: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable();
    let up = unit.story.failures.iter().find_map(|f| f.up_us);
    let Some(every) =
        gaps.get(gaps.len() / 2).copied().or_else(|| Some(up?.saturating_add(service.restart_delay)))
    else {
        return;
    };
    let per_day = number(DAY_US / every.max(1));
    let rule =
        format!("Restart={}, RestartSec={}", service.restart.as_str(), duration(service.restart_delay));
    evidence.push(format!("it goes around every {} ({rule}): {per_day} times a day", period(every)));
    let config = unit.config.as_ref().expect("there is a service");
    let (burst, interval) = (u64::from(config.start_limit_burst), config.start_limit_interval);
    if unit.story.limited.is_some() {
        evidence.push(format!("the start limit ended that: {burst} starts within {}", duration(interval)));
    } else if burst == 0 || interval == 0 || every.saturating_mul(burst) > interval {
        evidence.push(match interval {
            0 => "no start limit ends that: StartLimitIntervalSec=0".to_owned(),
            _ => format!(
                "the start limit never ends that: {burst} starts take {}, it counts those of {}",
                period(every.saturating_mul(burst)),
                duration(interval)
            ),
        });
    }
}

/// It ends well and is restarted: by design perhaps.
fn goes_around(unit: &Summary, found: &mut Vec<Finding>) {
    let times = unit.story.restarts.iter().filter(|r| r.clean && !r.asked).count() as u64;
    if times > 0 {
        let mut evidence = Vec::new();
        let at = unit.story.restarts.iter().filter(|r| r.clean).map(|r| r.at_us).collect();
        rhythm(unit, at, &mut evidence);
        let says = format!("ends with status 0 and is started again, {}", count(times, "time", "times"));
        let mend = "a timer says better that something is done now and then";
        found.push(Finding { fails: false, ..finding("failure", says, evidence, mend) });
    }
}

fn recovery(unit: &Summary, run: &Run, found: &mut Vec<Finding>) {
    let config = unit.config.as_ref();
    let Some(service) = config.and_then(|c| c.service()) else { return };
    if let Some((burst, interval)) = unit.story.limited.filter(|_| unit.failures == 0) {
        let says = "is given up: it was started too often".to_owned();
        let evidence = vec![format!("start limit: {burst} starts within {}", duration(interval))];
        let mend = "raise StartLimitBurst=, or space the faults by more if they alone led to it";
        found.push(finding("recovery", says, evidence, mend));
        return;
    }
    let up = unit.story.up.iter().any(|(from, to)| {
        *from <= run.ended_us && to.is_none_or(|to| to.saturating_add(50_000) >= run.ended_us)
    });
    let rests = unit.failures > 0 || service.service_type == ServiceType::Oneshot;
    let Some(last) = unit.story.up.last().filter(|_| !up && !rests) else { return };
    let Some(down) = last.1 else { return };
    let patience = service.restart_delay.saturating_add(unit.starts.longest_us).saturating_add(2_000_000);
    let fault = unit.story.failures.last().map(|f| &f.why);
    let Some(super::story::Why::Fault(words)) = fault else { return };
    if run.ended_us.saturating_sub(down) > patience {
        let says = format!("stays down after the soak {words}");
        let policy = service.restart.as_str();
        let evidence =
            vec![format!("down for {} when the run ended; Restart={policy}", span(run.ended_us - down))];
        let mend = match service.restart {
            Restart::No | Restart::OnSuccess => "Restart=on-failure brings it back",
            _ => "look with hence why at what keeps it down",
        };
        found.push(finding("recovery", says, evidence, mend));
    }
}

fn left_behind(unit: &Summary, run: &Run, found: &mut Vec<Finding>) {
    let left: Vec<_> = unit.story.left.iter().filter(|l| !l.allowed).collect();
    let Some(first) = left.first() else { return };
    let times = left.len() as u64;
    let ends = unit.story.up.iter().filter(|(_, to)| to.is_some()).count().max(1) as u64;
    let mut evidence = vec![format!("{} x {}", times, first.command.chars().take(120).collect::<String>())];
    if let Some(rule) = &first.rule {
        evidence.push(crate::report::answer::rule(rule));
    }
    let gone = left.iter().filter(|l| l.gone).count() as u64;
    if gone > 0 {
        evidence.push(format!("{gone} of them ended by themselves later"));
    }
    let each = if times >= ends { "each time it stops" } else { "at some of its stops" };
    evidence.push(format!("{} in {}", count(ends, "stop", "stops"), span(run.length_us())));
    let says = format!("leaves {} behind, {each}", count(times, "process", "processes"));
    let mode = unit.config.as_ref().map(|c| c.kill().mode);
    let mend = match mode {
        Some(KillMode::Process | KillMode::None | KillMode::Mixed) => {
            "drop KillMode=, so that a stop ends all of its processes; or have the program end its children"
        }
        _ => "have the program end its children before it ends",
    };
    found.push(finding("left-behind", says, evidence, mend));
}

/// `3.0 MiB`, `12`.
pub fn amount(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Memory => size(value.max(0.0) as u64),
        _ if value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
        _ => number(value.max(0.0).round() as u64),
    }
}

/// `+3.0 MiB/h (2.8 MiB to 3.2 MiB)`
pub fn slope(measure: Measure, trend: &Trend) -> String {
    let hour = |v: f64| {
        let sign = if v < 0.0 { "-" } else { "" };
        format!("{sign}{}", amount(measure, (v * 3600.0).abs()))
    };
    format!("{} an hour, between {} and {} with 99 %", hour(trend.slope), hour(trend.low), hour(trend.high))
}

fn growth(unit: &Summary, found: &mut Vec<Finding>) {
    let mut above: Vec<Measure> = Vec::new();
    for measure in Measure::ALL {
        let Some((row, trend)) = unit.rows.get(&measure).and_then(|r| Some((r, r.trend?))) else { continue };
        if !trend.grows || trend.rose < measure.floor(row.level as f64) {
            continue;
        }
        // What takes the others along is told alone.
        let follows = above.contains(&Measure::Processes)
            || measure == Measure::Descriptors && above.contains(&Measure::Sockets)
            || measure == Measure::Memory && above.contains(&Measure::Threads);
        above.push(measure);
        if follows {
            continue;
        }
        let word = measure.word();
        let mut evidence = vec![
            slope(measure, &trend),
            format!(
                "from {} to {} within {} of one run, its first quarter left out",
                amount(measure, trend.from),
                amount(measure, trend.to),
                span(trend.span_us)
            ),
        ];
        if let Some((limit, name)) = limit_of(unit, measure) {
            let left = (limit as f64 - trend.to).max(0.0) / trend.slope.max(f64::MIN_POSITIVE);
            if left < 10.0 * 365.0 * 86_400.0 {
                evidence.push(format!("{name} is reached {} from there", span((left * 1e6) as u64)));
            }
        }
        let says = match measure {
            Measure::Processes => "has ever more processes".to_owned(),
            Measure::Threads => "has ever more threads".to_owned(),
            _ => format!("takes ever more {word}"),
        };
        let mend = match measure {
            Measure::Processes => "have it end what it starts; TasksMax= bounds the harm",
            Measure::Threads => "have it join or reuse its threads; TasksMax= bounds the harm",
            Measure::Memory => "look for what it keeps; MemoryMax= bounds the harm",
            Measure::Descriptors | Measure::Sockets => {
                "have it close what it opens; LimitNOFILE= bounds the harm"
            }
        };
        found.push(finding(word, says, evidence, mend));
    }
    if unit.zombies >= 3 {
        let says = format!("doesn't reap its children: {} have ended and wait for it", unit.zombies);
        let evidence = vec!["they were there whenever one looked in the last third of its run".to_owned()];
        found.push(finding("zombies", says, evidence, "have it wait for its children"));
    }
}

fn limit_of(unit: &Summary, measure: Measure) -> Option<(u64, &'static str)> {
    let service = unit.config.as_ref()?.service()?;
    const NOFILE: u8 = 7;
    match measure {
        Measure::Descriptors | Measure::Sockets => {
            let own = service.context.limits.iter().find(|l| l.resource == NOFILE).map(|l| l.soft);
            Some((own.unwrap_or(1024), "LimitNOFILE="))
        }
        Measure::Processes | Measure::Threads => bytes_or_count(service.resources.tasks_max, "TasksMax="),
        Measure::Memory => bytes_or_count(service.resources.memory_max, "MemoryMax="),
    }
}

/// What a limit is in numbers; shares of the machine are left out.
fn bytes_or_count(limit: Option<Limit>, name: &'static str) -> Option<(u64, &'static str)> {
    match limit {
        Some(Limit::Absolute(most)) => Some((most, name)),
        _ => None,
    }
}

fn stops(unit: &Summary, found: &mut Vec<Finding>) {
    let Some(service) = unit.config.as_ref().and_then(|c| c.service()) else { return };
    let times = unit.stops;
    let hung = unit.story.stops.iter().filter(|s| s.timed_out && !s.why.holds_stop()).count() as u64;
    let timeout = service.timeout_stop;
    let mut evidence = vec![format!(
        "{}: {} in the middle, {} at most",
        count(times.count, "stop", "stops"),
        duration(times.median_us),
        duration(times.longest_us)
    )];
    let says = if hung > 0 {
        evidence.push(format!("TimeoutStopSec= is {}", duration(timeout)));
        format!("hangs at {hung} of {}, until a SIGKILL ends it", count(times.count, "stop", "stops"))
    } else if times.count >= 5
        && times.longest_us > 1_000_000
        && times.longest_us > 20 * times.median_us.max(1)
    {
        "takes much longer to stop now and then".to_owned()
    } else if timeout != u64::MAX && times.longest_us > 1_000_000 && times.longest_us >= timeout / NEAR {
        evidence.push(format!("TimeoutStopSec= is {}", duration(timeout)));
        "needs more than half of its timeout to stop".to_owned()
    } else {
        return;
    };
    let mend = "look at what it does on SIGTERM; whoever waits for it waits as long";
    found.push(finding("stop-time", says, evidence, mend));
}

fn starts(unit: &Summary, run: &Run, found: &mut Vec<Finding>) {
    let Some(service) = unit.config.as_ref().and_then(|c| c.service()) else { return };
    if unit.failures > 0 {
        return;
    }
    let timeout = service.timeout_start;
    let open = unit.story.starts.last().filter(|s| s.to_us.is_none_or(|to| to >= run.ended_us));
    let waited = open.map_or(0, |s| run.ended_us.saturating_sub(s.from_us));
    if waited > 3_000_000.max(run.length_us() / 3) && unit.story.up.is_empty() {
        let says = format!("is not up after {}", span(waited));
        let evidence = vec![match service.service_type {
            ServiceType::Notify => "READY=1 has not come".to_owned(),
            other => format!("Type={other:?}").to_lowercase(),
        }];
        let mend = "have it say READY=1 when it is ready, or choose the Type= that fits what it does";
        found.push(finding("start", says, evidence, mend));
    } else if service.service_type != ServiceType::Oneshot
        && timeout != u64::MAX
        && unit.starts.longest_us > 500_000
        && unit.starts.longest_us >= timeout / NEAR
    {
        let says = "needs more than half of its timeout to start".to_owned();
        let evidence = vec![format!(
            "{}: {} in the middle, {} at most; TimeoutStartSec= is {}",
            count(unit.starts.count, "start", "starts"),
            duration(unit.starts.median_us),
            duration(unit.starts.longest_us),
            duration(timeout)
        )];
        let mend = "on a busier machine it fails: start faster, or raise TimeoutStartSec=";
        found.push(finding("start-time", says, evidence, mend));
    }
}

fn complaints(unit: &Summary, run: &Run, found: &mut Vec<Finding>) {
    const BLOCKS: usize = 12;
    // Faults make programs complain.
    let quiet = |at: &&u64| !run.windows.iter().any(|w| **at >= w.from_us && **at <= w.to_us + 2_000_000);
    let all: Vec<u64> = unit.complained_us.iter().filter(quiet).copied().collect();
    let length = run.length_us().max(1);
    let mut blocks = [(0.0, 0.0); BLOCKS];
    blocks.iter_mut().enumerate().for_each(|(nth, block)| block.0 = nth as f64);
    for at in &all {
        let nth = at.saturating_sub(run.began_us).saturating_mul(BLOCKS as u64) / length;
        blocks[(nth as usize).min(BLOCKS - 1)].1 += 1.0;
    }
    let sum = |range: &[(f64, f64)]| range.iter().map(|b| b.1).sum::<f64>();
    let (early, late) = (sum(&blocks[..4]), sum(&blocks[8..]));
    let mut evidence: Vec<String> = Vec::new();
    let mut most: Vec<(&String, &u64)> = unit.wordings.iter().collect();
    most.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    evidence.extend(most.iter().take(3).map(|(wording, times)| format!("{times} x {wording}")));
    // At the end everything is stopped, which isn't a rate.
    if kendall(&blocks) > 2.6 && late >= 2.0 * early + 10.0 {
        evidence.push(format!("{early:.0} in the first third of the time, {late:.0} in the last"));
        let says = "logs ever more errors".to_owned();
        found.push(finding("log-errors", says, evidence, "see what they say; hence logs has all of them"));
    } else if !all.is_empty() {
        let says = format!("logs {}", count(all.len() as u64, "error", "errors"));
        let mend = "with a baseline, wordings that are new fail the run";
        found.push(Finding { fails: false, ..finding("log-errors", says, evidence, mend) });
    }
}

fn files(run: &Run, found: &mut Vec<Finding>) {
    const BYTES: f64 = 256.0 * 1024.0;
    const FILES: f64 = 8.0;
    for grown in &run.folders {
        let bytes = grown.bytes.filter(|t| t.grows && t.rose >= BYTES);
        let files = grown.files.filter(|t| t.grows && t.rose >= FILES);
        if bytes.is_none() && files.is_none() {
            continue;
        }
        let mut evidence = Vec::new();
        evidence.extend(bytes.map(|t| slope(Measure::Memory, &t)));
        evidence.extend(files.map(|t| format!("files: {}", slope(Measure::Processes, &t))));
        let says = format!("{} {} takes ever more room", grown.folder.what, grown.folder.path.display());
        let mend = "have it remove its files; see who writes there";
        let unit = grown.folder.unit.clone().unwrap_or_default();
        found.push(Finding { unit, ..finding("files", says, evidence, mend) });
    }
}

/// The unit that failed as soon as it was started, where there is one: nothing more is to be learnt then.
pub fn hopeless(story: &super::story::Story, known: impl Fn(&str) -> bool) -> Option<String> {
    let doomed = |f: &super::story::Failure| {
        f.first && !f.stop && f.why.is_unrequested() && f.up_us.is_none_or(|us| us < 10_000_000)
    };
    let of = |(name, unit): (&String, &super::story::UnitStory)| {
        let failed = unit.failures.first().is_some_and(doomed);
        let down = !matches!(unit.state, Some((ActiveState::Active | ActiveState::Reloading, _)));
        (known(name) && failed && (down || !unit.restarts.is_empty())).then(|| name.clone())
    };
    story.units.iter().find_map(of)
}
