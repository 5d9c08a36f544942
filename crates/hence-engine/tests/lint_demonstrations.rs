//! What the linter warns of does happen: the bad example of a rule is run in the simulator and loops, leaks
//! or
//! hangs; the good one, under the same circumstances, does not.

use hence_engine::sim::scenario::Scenario;
use hence_unit::lint::explain::example;
use hence_unit::lint::{Permits, rule};
use std::ops::RangeInclusive;

/// What is done with the units of one example, and what comes of it.
struct Play {
    /// What the programs do, as lines of a scenario.
    behaviours: &'static str,
    /// Steps of a scenario, apart by `;`.
    steps: &'static str,
    /// How often a unit's main process is started, all in all.
    starts: (&'static str, RangeInclusive<usize>),
}

struct Demonstration {
    rule: &'static str,
    /// Units that the examples speak of and don't have, as they have files.
    more: &'static str,
    /// What is replaced in both examples.
    replace: (&'static str, &'static str),
    bad: Play,
    good: Play,
}

const SAME: (&str, &str) = ("", "");

fn play(
    behaviours: &'static str,
    steps: &'static str,
    starts: (&'static str, RangeInclusive<usize>),
) -> Play {
    Play { behaviours, steps, starts }
}

fn demonstration(rule: &'static str, more: &'static str, bad: Play, good: Play) -> Demonstration {
    Demonstration { rule, more, replace: SAME, bad, good }
}

/// A service that the examples depend on; it is up 3 s after its start.
const DB: &str =
    "-- db.service --\n[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nExecStart=/usr/bin/db\n";

fn leaks() -> Vec<Demonstration> {
    vec![
        demonstration(
            "kill-mode",
            "",
            play(
                "foo.service: forks 1, exits 1 after 1s",
                "at 0s start foo.service; at 18s expect foo.service left=5",
                ("foo.service", 5..=5),
            ),
            play(
                "foo.service: forks 1, exits 1 after 1s",
                "at 0s start foo.service; at 18s expect foo.service left=0",
                ("foo.service", 5..=5),
            ),
        ),
        demonstration(
            "starter-waits",
            "",
            play(
                "foo.service: forks 1",
                "at 0s start foo.service; at 1s stop foo.service; at 5s expect foo.service inactive/dead \
                 left=1",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 1s stop foo.service; at 5s expect foo.service inactive/dead \
                 left=0",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "kill-without-end",
            "",
            play(
                "foo.service: ignores TERM",
                "at 0s start foo.service; at 1s stop foo.service; at 400s expect foo.service failed/failed \
                 timeout left=1",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: ignores TERM",
                "at 0s start foo.service; at 1s stop foo.service; at 400s expect foo.service failed/failed \
                 timeout left=0",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "starter-abandons",
            "",
            play(
                "foo.service: forks 1, exits 0 after 10ms",
                "at 0s start foo.service; at 1s expect foo.service inactive/dead left=0",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 1s expect foo.service active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "stop-returns-early",
            "",
            play(
                "foo.service: on QUIT exits 0 after 2s, on TERM exits 3 after 1ms",
                "at 0s start foo.service; at 1s stop foo.service; at 1.5s expect foo.service failed/failed \
                 exit-code",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: on QUIT exits 0 after 2s, on TERM exits 3 after 1ms",
                "at 0s start foo.service; at 1s stop foo.service; at 5s expect foo.service inactive/dead \
                 success",
                ("foo.service", 1..=1),
            ),
        ),
    ]
}

fn loops() -> Vec<Demonstration> {
    vec![
        demonstration(
            "restart-without-end",
            "",
            play(
                "foo.service: exits 1 after 1ms",
                "at 0s start foo.service; at 302s expect foo.service activating/auto-restart",
                ("foo.service", 60..=61),
            ),
            play(
                "foo.service: exits 1 after 1ms",
                "at 0s start foo.service; at 302s expect foo.service failed/failed",
                ("foo.service", 5..=5),
            ),
        ),
        demonstration(
            "restart-shorter-than-dependency",
            "",
            play(
                "foo.service: exits 1 after 1s; exits 1; exits 1; exits 1; exits 1; runs\ndb.service: \
                 exits 1 after 1s; runs",
                "at 0s start foo.service; at 40s expect foo.service failed/failed; at 40s expect \
                 db.service failed/failed",
                ("foo.service", 5..=5),
            ),
            play(
                "foo.service: exits 1 after 1s; runs\ndb.service: exits 1 after 1s; runs",
                "at 0s start foo.service; at 40s expect foo.service active/running; at 40s expect \
                 db.service active/running",
                ("foo.service", 2..=2),
            ),
        ),
        demonstration(
            "restart-prevented",
            "",
            play(
                "foo.service: exits 0 after 1s; runs",
                "at 0s start foo.service; at 60s expect foo.service active/exited restarts=0",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: exits 0 after 1s; runs",
                "at 0s start foo.service; at 60s expect foo.service active/running restarts=1",
                ("foo.service", 2..=2),
            ),
        ),
        demonstration(
            "requires-drags-down",
            "",
            play(
                "collector.service: exits 1 after 1s",
                "at 0s start foo.service; at 30s",
                ("foo.service", 4..=6),
            ),
            play(
                "collector.service: exits 1 after 1s",
                "at 0s start foo.service; at 30s expect foo.service active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "on-failure-loop",
            "",
            play(
                "foo.service: exits 1 after 1s\nreport@.service: exits 1",
                "at 0s start foo.service; at 10s",
                ("report@", 2..=99),
            ),
            play(
                "foo.service: exits 1 after 1s\nreport@.service: exits 1",
                "at 0s start foo.service; at 10s",
                ("report@", 1..=1),
            ),
        ),
        demonstration(
            "oneshot-with-many-restarts",
            "",
            play(
                "foo.service: exits 1 after 1ms",
                "at 0s start foo.service; at 60s",
                ("foo.service", 300..=700),
            ),
            play(
                "foo.service: exits 1 after 1ms",
                "at 0s start foo.service; at 60s expect foo.service failed/failed",
                ("foo.service", 5..=5),
            ),
        ),
        demonstration(
            "watchdog-without-restart",
            "",
            play(
                "foo.service: says READY=1, pings every 10s for 20s",
                "at 0s start foo.service; at 120s expect foo.service failed/failed watchdog",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: says READY=1, pings every 10s for 20s; says READY=1, pings every 10s for 1000s",
                "at 0s start foo.service; at 120s expect foo.service active/running restarts=1",
                ("foo.service", 2..=2),
            ),
        ),
    ]
}

fn hangs() -> Vec<Demonstration> {
    vec![
        demonstration(
            "forking-in-foreground",
            "",
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 80s expect foo.service activating/start; at 100s expect \
                 foo.service failed/failed timeout",
                ("foo.service", 0..=0),
            ),
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 100s expect foo.service active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "daemonizing-in-simple",
            "",
            play(
                "foo.service: forks 1, exits 0 after 10ms",
                "at 0s start foo.service; at 1s expect foo.service inactive/dead left=0",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 1s expect foo.service active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "notify-from-script",
            "",
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 80s expect foo.service activating/start; at 100s expect \
                 foo.service failed/failed timeout",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: says READY=1",
                "at 0s start foo.service; at 100s expect foo.service active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "start-without-timeout",
            "",
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 1000min expect foo.service activating/start",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 11min expect foo.service failed/failed timeout",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "stop-without-timeout",
            "",
            play(
                "foo.service: ignores TERM",
                "at 0s start foo.service; at 1s stop foo.service; at 1000min expect foo.service \
                 deactivating/stop-sigterm",
                ("foo.service", 1..=1),
            ),
            play(
                "foo.service: ignores TERM",
                "at 0s start foo.service; at 1s stop foo.service; at 12s expect foo.service failed/failed \
                 timeout",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "timer-never-begins",
            "",
            play("foo.service: exits 0", "at 0s start foo.timer; at 600min", ("foo.service", 0..=0)),
            play("foo.service: exits 0", "at 0s start foo.timer; at 600min", ("foo.service", 9..=11)),
        ),
        Demonstration {
            replace: ("OnCalendar=daily", "OnActiveSec=1s\nOnUnitActiveSec=1h\nAccuracySec=1s"),
            ..demonstration(
                "timer-runs-once",
                "",
                play(
                    "foo.service: exits 0",
                    "at 0s start foo.timer; at 600min expect foo.service active/exited",
                    ("foo.service", 1..=1),
                ),
                play(
                    "foo.service: exits 0",
                    "at 0s start foo.timer; at 600min expect foo.service inactive/dead",
                    ("foo.service", 9..=11),
                ),
            )
        },
    ]
}

fn orders() -> Vec<Demonstration> {
    vec![
        demonstration(
            "requirement-without-order",
            DB,
            play(
                "db.service: says READY=1 after 3s",
                "at 0s start foo.service; at 1s expect foo.service active/running; at 1s expect db.service \
                 activating/start",
                ("foo.service", 1..=1),
            ),
            play(
                "db.service: says READY=1 after 3s",
                "at 0s start foo.service; at 1s expect foo.service inactive/dead; at 4s expect foo.service \
                 active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "conflicts-with-requirement",
            DB,
            play(
                "db.service: says READY=1",
                "at 0s start foo.service; at 5s expect foo.service inactive/dead",
                ("foo.service", 0..=0),
            ),
            play(
                "db.service: says READY=1",
                "at 0s start foo.service; at 5s expect foo.service active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "missing-unit",
            "",
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 5s expect foo.service inactive/dead",
                ("foo.service", 0..=0),
            ),
            play(
                "foo.service: runs",
                "at 0s start foo.service; at 5s expect foo.service active/running",
                ("foo.service", 1..=1),
            ),
        ),
        demonstration(
            "order-cycle",
            "",
            play(
                "a.service: runs",
                "at 0s start a.service; at 5s expect b.service inactive/dead",
                ("b.service", 0..=0),
            ),
            play(
                "a.service: runs",
                "at 0s start a.service; at 5s expect b.service active/running",
                ("b.service", 1..=1),
            ),
        ),
        demonstration(
            "network-online-not-wanted",
            "-- network-online.target --\n[Unit]\nDefaultDependencies=no\nRequires=wait.service\n\
             After=wait.service\n\
             -- wait.service --\n[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart=/usr/bin/wait\n",
            play(
                "wait.service: exits 0 after 5s",
                "at 0s start foo.service; at 1s expect foo.service active/running",
                ("wait.service", 0..=0),
            ),
            play(
                "wait.service: exits 0 after 5s",
                "at 0s start foo.service; at 1s expect foo.service inactive/dead; at 6s expect foo.service \
                 active/running",
                ("wait.service", 1..=1),
            ),
        ),
        demonstration(
            "job-timeout-shorter",
            "-- b.service --\n[Unit]\nRequires=foo.service\nAfter=foo.service\n[Service]\n\
             ExecStart=/usr/bin/b\n",
            play(
                "foo.service: says READY=1 after 20s",
                "at 0s start b.service; at 60s expect b.service inactive/dead",
                ("b.service", 0..=0),
            ),
            play(
                "foo.service: says READY=1 after 20s",
                "at 0s start b.service; at 60s expect b.service active/running",
                ("b.service", 1..=1),
            ),
        ),
        demonstration(
            "trigger-pulls-unit",
            "",
            play("foo.service: exits 0", "at 0s start foo.timer; at 1s", ("foo.service", 1..=1)),
            play("foo.service: exits 0", "at 0s start foo.timer; at 1s", ("foo.service", 0..=0)),
        ),
    ]
}

/// What is not as it is said to be.
fn run(name: &str, units: &str, d: &Demonstration, play: &Play) -> Vec<String> {
    let mut text = String::from("# demonstration\n");
    for file in example(units).0.iter().filter(|f| !f.name.starts_with('/')) {
        text += &format!("-- {} --\n{}", file.name, file.text);
    }
    if !d.replace.0.is_empty() {
        text = text.replace(d.replace.0, d.replace.1);
    }
    let steps = play.steps.replace("; ", "\n");
    text += &format!("{}-- behaviours --\n{}\n-- steps --\nseed 0\n{steps}\n", d.more, play.behaviours);
    let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
    let outcome = scenario.run();
    let mut wrong = outcome.failures;
    let (unit, wanted) = &play.starts;
    let started = outcome.trace.lines().filter(|l| {
        l.contains(": starting main process") && l.split(' ').nth(2).is_some_and(|u| u.starts_with(unit))
    });
    let count = started.count();
    if !wanted.contains(&count) {
        wrong.push(format!("{unit} is started {count} times, not {wanted:?}"));
    }
    if wrong.is_empty() {
        return wrong;
    }
    wrong.push(outcome.trace.lines().take(60).collect::<Vec<_>>().join("\n"));
    wrong.iter().map(|w| format!("{name}: {w}")).collect()
}

#[test]
fn bad_examples_go_wrong_and_good_ones_do_not() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for d in [leaks(), loops(), hangs(), orders()].into_iter().flatten() {
        let rule = rule(d.rule).unwrap_or_else(|| panic!("there is no rule {}", d.rule));
        wrong.extend(run(&format!("{} (bad)", d.rule), rule.bad, &d, &d.bad));
        wrong.extend(run(&format!("{} (good)", d.rule), rule.good, &d, &d.good));
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 24, "{count}");
}

/// Whether the rule restart-without-end finds something in this unit.
fn said(unit: &str) -> bool {
    use hence_unit::lint::{Ground, World, lint};
    use hence_unit::unit_path::{Entry, EntryKind, FileError, Files, UnitPath};
    use hence_unit::{UnitName, config::Environs};
    struct One(String);
    impl Files for One {
        fn list(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
            let one = Entry { name: "foo.service".into(), kind: EntryKind::File };
            if folder == "/units" { Ok(vec![one]) } else { Err(FileError::NotFound) }
        }
        fn read(&self, _: &str) -> Result<Vec<u8>, FileError> {
            Ok(self.0.clone().into_bytes())
        }
        fn link(&self, _: &str) -> Option<String> {
            None
        }
    }
    impl Ground for One {
        fn mode(&self, _: &str) -> Option<u32> {
            None
        }
        fn script(&self, _: &str) -> Option<String> {
            None
        }
    }
    let one = One(unit.into());
    let path = UnitPath::scan(&one, &["/units".into()]);
    let mut world = World::new(&path, &one, Environs::default());
    world.give(&UnitName::new("foo.service").expect("a valid name"), None);
    lint(&world, &Permits::default()).iter().any(|f| f.rule.id == "restart-without-end")
}

/// The sum that the finding shows is the engine's: a limit that is said to be out of reach is never
/// reached, and
/// any other one is.
#[test]
fn the_arithmetic_of_start_limits() {
    let mut both = [0, 0];
    for delay_ms in [0u64, 100, 1_000, 2_000, 2_500, 4_900, 30_000] {
        for interval_s in [0u64, 1, 10, 60] {
            for burst in [1u64, 3, 5, 20] {
                let unit = format!(
                    "[Unit]\nStartLimitIntervalSec={interval_s}\nStartLimitBurst={burst}\n[Service]\n\
                     ExecStart=/usr/bin/foo\nRestart=always\nRestartSec={delay_ms}ms\n"
                );
                let text = format!(
                    "# limits\n-- foo.service --\n{unit}-- behaviours --\nfoo.service: exits 1 after 1us\n\
                     -- steps --\nseed 0\nat 0s start foo.service\nat 30s\n"
                );
                let never = said(&unit);
                // Without any pause and without a limit time would not pass.
                if delay_ms == 0 && never {
                    continue;
                }
                let mut scenario = Scenario::parse(&text).expect("a scenario");
                // Long enough for a limit that can be reached at all.
                let enough = (burst + 2) * (delay_ms + 1) * 1_000 + 2 * interval_s * 1_000_000;
                scenario.steps[1].0 = enough;
                let outcome = scenario.run();
                assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
                let hit = outcome.trace.contains("start limit hit");
                assert_eq!(hit, !never, "every {delay_ms} ms, {burst} in {interval_s} s\n{}", outcome.trace);
                both[usize::from(hit)] += 1;
            }
        }
    }
    assert!(both[0] > 20 && both[1] > 20, "{both:?}");
}
