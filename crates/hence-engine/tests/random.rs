//! Random units, processes, faults and requests: whatever happens, what must never be isn't.
//!
//! `HENCE_SEEDS=a..b` chooses the seeds. A seed that fails is made smaller as far as it still fails, and
//! printed as a scenario. `HENCE_LOUD=1` prints each before it runs.

use hence_engine::sim::{chance::Chance, faults::Fault, scenario::Scenario};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn random_worlds() {
    let seeds = std::env::var("HENCE_SEEDS").unwrap_or_else(|_| "1..10001".into());
    let (from, to) = seeds.split_once("..").expect("HENCE_SEEDS=a..b");
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = 0;
    for seed in from..to {
        let scenario = generate(seed);
        if std::env::var_os("HENCE_LOUD").is_some() {
            println!("seed {seed}\n{scenario}");
        }
        let Some(failure) = failure_of(&scenario) else { continue };
        failed += 1;
        let small = shrink(scenario, &failure);
        let failure = failure_of(&small).unwrap();
        println!("seed {seed} fails: {failure}\n{small}");
        if failed >= 3 {
            break;
        }
    }
    drop(std::panic::take_hook());
    assert_eq!(failed, 0, "worlds failed, see above");
}

#[test]
fn a_seed_gives_the_same_records_again() {
    for seed in [7, 45, 184, 1041] {
        let (first, second) = (generate(seed).run().world, generate(seed).run().world);
        assert!(first.records == second.records && first.effects == second.effects, "seed {seed}");
        assert!(!first.records.is_empty());
    }
}

/// The first thing that must never be.
fn failure_of(scenario: &Scenario) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| scenario.run())) {
        Ok(outcome) => outcome.failures.into_iter().next(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            Some(format!("0: panic: {}", text.unwrap_or_default()))
        }
    }
}

/// What kind of failure it is: without numbers and names.
fn kind_of(failure: &str) -> String {
    let words =
        failure.split_whitespace().skip(1).filter(|w| !w.contains('.') && !w.contains(char::is_numeric));
    words.take(5).collect::<Vec<_>>().join(" ")
}

fn shrink(mut scenario: Scenario, failure: &str) -> Scenario {
    let kind = kind_of(failure);
    let still = |s: &Scenario| failure_of(s).is_some_and(|f| kind_of(&f) == kind);
    for _ in 0..3 {
        let before = scenario.to_string().len();
        let mut at = scenario.steps.len();
        while at > 0 {
            at -= 1;
            let mut smaller = scenario.clone();
            smaller.steps.remove(at);
            if still(&smaller) {
                scenario = smaller;
            }
        }
        at = scenario.units.len();
        while at > 0 {
            at -= 1;
            let mut smaller = scenario.clone();
            smaller.units.remove(at);
            if still(&smaller) {
                scenario = smaller;
                continue;
            }
            let lines: Vec<String> = scenario.units[at].1.lines().map(String::from).collect();
            let mut kept = lines.clone();
            for n in (0..lines.len()).rev() {
                let mut fewer = kept.clone();
                fewer.remove(n);
                let mut smaller = scenario.clone();
                smaller.units[at].1 = fewer.join("\n") + "\n";
                if still(&smaller) {
                    kept = fewer;
                    scenario = smaller;
                }
            }
        }
        at = scenario.behaviours.len();
        while at > 0 {
            at -= 1;
            let mut smaller = scenario.clone();
            smaller.behaviours.remove(at);
            if still(&smaller) {
                scenario = smaller;
            }
        }
        if scenario.to_string().len() == before {
            break;
        }
    }
    scenario
}

const DEPENDENCIES: [&str; 14] = [
    "Requires",
    "Requires",
    "Wants",
    "After",
    "After",
    "Before",
    "BindsTo",
    "PartOf",
    "Upholds",
    "Conflicts",
    "Requisite",
    "OnFailure",
    "PropagatesStopTo",
    "OnSuccess",
];
const RESTARTS: [&str; 7] =
    ["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"];
const TYPES: [&str; 6] = ["simple", "simple", "exec", "forking", "oneshot", "notify"];
const MODES: [&str; 7] = [
    "replace",
    "fail",
    "replace-irreversibly",
    "isolate",
    "ignore-dependencies",
    "ignore-requirements",
    "flush",
];
const VERBS: [&str; 11] = [
    "start",
    "start",
    "start",
    "stop",
    "stop",
    "restart",
    "try-restart",
    "reload",
    "reload-or-restart",
    "reload-or-try-restart",
    "verify-active",
];
const SIGNALS: [&str; 5] = ["TERM", "KILL", "HUP", "SEGV", "USR1"];

fn generate(seed: u64) -> Scenario {
    let mut c = Chance::new(seed);
    let mut scenario = Scenario { title: format!("Random world {seed}.\n"), seed, ..Scenario::default() };
    let count = 2 + c.below(11);
    let names: Vec<String> = (0..count).map(|n| name(&mut c, n)).collect();
    for (n, name) in names.iter().enumerate() {
        let mut text = String::from("[Unit]\nDefaultDependencies=no\n");
        for _ in 0..c.below(4) {
            // Mostly towards later units, so that most orders have no cycle.
            let other = if c.percent(85) && n + 1 < names.len() {
                n + 1 + c.below((names.len() - n - 1) as u64) as usize
            } else {
                c.below(names.len() as u64) as usize
            };
            let kind = *c.pick(&DEPENDENCIES);
            text.push_str(&format!("{kind}={}\n", names[other]));
            if matches!(kind, "Requires" | "BindsTo" | "Requisite" | "Wants" | "PartOf") && c.percent(60) {
                text.push_str(&format!("After={}\n", names[other]));
            }
        }
        unit_options(&mut c, &mut text);
        if name.ends_with(".service") {
            service(&mut c, name, &mut text, &mut scenario.behaviours);
        } else if name.ends_with(".socket") {
            socket(&mut c, name, &mut text, &mut scenario.behaviours);
            let services: Vec<&String> = names.iter().filter(|n| n.ends_with(".service")).collect();
            if !services.is_empty() && c.percent(85) {
                text.push_str(&format!("Service={}\n", c.pick(&services)));
            }
        } else if name.ends_with(".timer") {
            text.push_str(&format!("[Timer]\nOnActiveSec={}s\n", 1 + c.below(20)));
            if c.percent(30) {
                text.push_str(&format!("Unit={}\n", c.pick(&names)));
            }
            if c.percent(50) {
                text.push_str(&format!("OnUnitInactiveSec={}s\n", 5 + c.below(30)));
            }
        } else if name.ends_with(".path") {
            text.push_str(&format!("[Path]\nPathChanged=/x\nUnit={}\n", c.pick(&names)));
        }
        scenario.units.push((name.clone(), text));
    }
    let mut at_us = 0;
    for _ in 0..3 + c.below(18) {
        at_us += if c.percent(40) { c.below(5_000) } else { c.below(12_000_000) };
        scenario.steps.push((at_us, step(&mut c, &names)));
    }
    at_us += c.below(60_000_000);
    scenario.steps.push((at_us, String::new()));
    if c.percent(60) {
        scenario.steps.push((at_us, "exit 0".into()));
    }
    scenario
}

fn name(c: &mut Chance, n: u64) -> String {
    let kind = match c.below(21) {
        20 => "path",
        0..13 => "service",
        13..16 => "target",
        16 | 17 => "socket",
        18 => "timer",
        _ => "slice",
    };
    // A socket or timer has the service of the unit before, if that is one.
    let letter = (b'a' + n as u8) as char;
    format!("{letter}.{kind}")
}

fn unit_options(c: &mut Chance, text: &mut String) {
    if c.percent(15) {
        text.push_str(&format!(
            "StartLimitBurst={}\nStartLimitIntervalSec={}\n",
            1 + c.below(4),
            5 + c.below(30)
        ));
    }
    if c.percent(30) {
        text.push_str("StartLimitIntervalSec=0\n");
    }
    if c.percent(10) {
        text.push_str("StopWhenUnneeded=yes\n");
    }
    if c.percent(8) {
        text.push_str("AllowIsolate=yes\n");
    }
    if c.percent(8) {
        text.push_str("IgnoreOnIsolate=yes\n");
    }
    if c.percent(8) {
        text.push_str(&format!("JobTimeoutSec={}s\n", 1 + c.below(20)));
    }
    if c.percent(8) {
        text.push_str(&format!("JobRunningTimeoutSec={}s\n", 1 + c.below(20)));
    }
    if c.percent(10) {
        text.push_str("ConditionPathExists=/x\n");
    }
    if c.percent(5) {
        text.push_str("AssertPathExists=/x\n");
    }
}

fn socket(c: &mut Chance, name: &str, text: &mut String, behaviours: &mut Vec<(String, String, String)>) {
    text.push_str("[Socket]\nListenStream=/run/s\nTimeoutSec=4\n");
    if c.percent(40) {
        return;
    }
    text.push_str(&format!("KillMode={}\n", c.pick(&["control-group", "mixed", "process", "none"])));
    for phase in ["ExecStartPre", "ExecStartPost", "ExecStopPre", "ExecStopPost"] {
        for _ in 0..c.below(3) {
            text.push_str(&format!("{phase}=/bin/{}\n", phase.to_lowercase()));
        }
        if c.percent(40) {
            behaviours.push((name.into(), phase.into(), script(c, false)));
        }
    }
}

fn service(c: &mut Chance, name: &str, text: &mut String, behaviours: &mut Vec<(String, String, String)>) {
    let kind = *c.pick(&TYPES);
    text.push_str(&format!("[Service]\nType={kind}\nExecStart=/bin/{}\n", name.trim_end_matches(".service")));
    if kind == "oneshot" && c.percent(40) {
        text.push_str("ExecStart=/bin/second\n");
    }
    if kind == "forking" && c.percent(50) {
        text.push_str("PIDFile=/run/pid\n");
    }
    if kind == "forking" && c.percent(20) {
        text.push_str("GuessMainPID=no\n");
    }
    if kind != "oneshot" || c.percent(50) {
        let restarts = if kind == "oneshot" { &RESTARTS[2..6] } else { &RESTARTS[..] };
        text.push_str(&format!("Restart={}\n", c.pick(restarts)));
    }
    if c.percent(50) {
        text.push_str(&format!("RestartSec={}ms\n", c.below(8_000)));
    }
    for phase in ["ExecCondition", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"]
    {
        if c.percent(if phase == "ExecReload" { 40 } else { 15 }) {
            text.push_str(&format!("{phase}=/bin/{}\n", phase.to_lowercase()));
            if c.percent(60) {
                behaviours.push((name.into(), phase.into(), script(c, false)));
            }
        }
    }
    for (percent, line) in [
        (20, "KillMode=process"),
        (10, "KillMode=mixed"),
        (8, "KillMode=none"),
        (8, "SendSIGKILL=no"),
        (5, "SendSIGHUP=yes"),
        (20, "RemainAfterExit=yes"),
        (15, "TimeoutStopFailureMode=abort"),
        (5, "RestartKillSignal=HUP"),
        (6, "ExitType=cgroup"),
        (6, "SuccessExitStatus=1 SIGKILL"),
        (6, "RestartPreventExitStatus=1"),
        (6, "RestartForceExitStatus=3"),
        (6, "OOMPolicy=kill"),
        (6, "OOMPolicy=continue"),
    ] {
        if c.percent(percent) && !(line == "ExitType=cgroup" && matches!(kind, "oneshot" | "forking")) {
            text.push_str(line);
            text.push('\n');
        }
    }
    for limit in ["TimeoutStartSec", "TimeoutStopSec", "RuntimeMaxSec", "WatchdogSec", "TimeoutAbortSec"] {
        let percent = if limit.starts_with("TimeoutS") { 60 } else { 12 };
        if c.percent(percent) && !(limit == "RuntimeMaxSec" && kind == "oneshot") {
            text.push_str(&format!("{limit}={}s\n", 1 + c.below(8)));
        }
    }
    if c.percent(85) {
        behaviours.push((name.into(), "ExecStart".into(), script(c, kind == "notify")));
    }
}

fn script(c: &mut Chance, notify: bool) -> String {
    let starts: Vec<String> = (0..1 + c.below(3)).map(|_| behaviour(c, notify)).collect();
    starts.join("; ")
}

fn behaviour(c: &mut Chance, notify: bool) -> String {
    let mut clauses = Vec::new();
    let after = |c: &mut Chance| match c.below(3) {
        0 => format!("{}us", c.below(3_000)),
        1 => format!("{}ms", c.below(1_000)),
        _ => format!("{}ms", c.below(20_000)),
    };
    match c.below(10) {
        0..3 => clauses.push("runs".into()),
        3..5 => clauses.push(format!("exits 0 after {}", after(c))),
        5..8 => clauses.push(format!("exits {} after {}", 1 + c.below(4), after(c))),
        8 => clauses.push(format!("dies of {} after {}", c.pick(&SIGNALS), after(c))),
        _ => clauses.push(format!("dumps SEGV after {}", after(c))),
    }
    if notify && c.percent(80) {
        clauses.push(format!("says READY=1 after {}", after(c)));
    }
    for (percent, clause) in [
        (12, "ignores TERM"),
        (20, "forks 1"),
        (8, "forks 1 stubborn"),
        (8, "forks 2 for 3s"),
        (10, "on TERM exits 3 after 2s"),
        (10, "on TERM exits 0 after 50ms"),
        (8, "says STOPPING=1 after 3s"),
        (8, "says RELOADING=1 after 2s"),
        (6, "says WATCHDOG=trigger after 4s"),
        (6, "says MAINPID=child after 1s"),
        (6, "says EXTEND_TIMEOUT_USEC=5000000 after 500ms"),
        (15, "pings every 1s for 10s"),
        (40, "writes pid after 5ms"),
        (3, "fails fork 11"),
        (4, "fails exec 2"),
        (10, "deaf"),
    ] {
        if c.percent(percent) {
            clauses.push(clause.into());
        }
    }
    clauses.join(", ")
}

fn step(c: &mut Chance, names: &[String]) -> String {
    let unit = c.pick(names).clone();
    let whom = *c.pick(&["main", "control", "all"]);
    match c.below(42) {
        36..41 => {
            const OF_PROCESSES: [Fault; 7] = [
                Fault::Fork,
                Fault::Cgroup,
                Fault::PidFile,
                Fault::Guess,
                Fault::Kill,
                Fault::Census,
                Fault::Empty,
            ];
            let fault = match unit.rsplit('.').next() {
                Some("path") => Fault::Paths,
                Some("socket") if c.percent(60) => *c.pick(&[Fault::Open, Fault::Listen]),
                _ => *c.pick(&OF_PROCESSES),
            };
            let fault = fault.as_str();
            let times = if c.percent(70) { 1 } else { 1 + c.below(8) };
            format!("fault {unit} {fault} {times}")
        }
        41 => format!("touch {unit}"),
        30 | 31 => "daemon-reload".into(),
        34 | 35 => "daemon-reexec".into(),
        32 => {
            let line = format!("{}={}", c.pick(&DEPENDENCIES), c.pick(names));
            format!("edit {unit} Unit {line}")
        }
        33 => format!("remove {unit}"),
        0..17 => {
            let mode = if c.percent(80) { "replace" } else { c.pick(&MODES) };
            format!("{} {unit} {mode}", c.pick(&VERBS))
        }
        17 | 18 => format!("kill {unit} {whom} {}", c.pick(&SIGNALS)),
        19..22 => format!("strike {unit} {whom} {}", c.pick(&SIGNALS)),
        22 => format!("reset-failed {unit}"),
        23 => format!("cancel {unit}"),
        24 => "cancel".into(),
        25 | 26 => format!("traffic {unit}"),
        27 => format!("conditions {unit} {}", c.pick(&["hold", "fail"])),
        28 => format!("oom {unit}"),
        _ => format!("sockets {unit} {}", c.pick(&["hold", "fail"])),
    }
}
