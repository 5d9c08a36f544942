//! Sequences as sources see them, and what is concluded.

use super::seen::{Asked, Change, Evidence, Member, Message, Portrait, Seen, What};
use super::{Observer, Settings, Sources, Wanted};
use crate::Time;
use alloc::{boxed::Box, format, string::String, vec, vec::Vec};
use hence_ledger::{
    ActiveState, Client, Exit, ExitKind, Fact, Invocation, JobResult, JobType, LeftOver, Record, Stamp, Text,
    UnitResult, Verb, index::Index, why,
};
use hence_unit::{DependencyKind as K, JobMode};

const SECOND: u64 = 1_000_000;
const BASE: u64 = 1_765_324_800 * SECOND;

fn at(us: u64) -> Time {
    Stamp { realtime_us: BASE + us, monotonic_us: us }
}

/// A machine in which things are seen.
struct Scene {
    observer: Observer,
    now: u64,
    records: Vec<Record>,
}

impl Scene {
    fn new() -> Scene {
        let sources = Sources { manager: true, journal: true, cgroups: true, ..Sources::default() };
        Scene::with(sources)
    }

    fn with(sources: Sources) -> Scene {
        let settings = Settings {
            first_record: BASE,
            version: "1".into(),
            pid: 7,
            boot: Invocation([1; 16]),
            cgroup: "/".into(),
            command: "hence watch".into(),
            after_crash: false,
            sources,
        };
        Scene { observer: Observer::new(settings, at(SECOND)), now: SECOND, records: Vec::new() }
    }

    /// So much later.
    fn wait(&mut self, ms: u64) -> &mut Scene {
        self.now += ms * 1000;
        self
    }

    fn see(&mut self, what: What) -> &mut Scene {
        self.now += 100;
        self.observer.see(Seen { at: at(self.now), what });
        self.observer.settle(at(self.now));
        self
    }

    fn known(&mut self, name: &str, edges: &[(K, &str)], active: bool) -> &mut Scene {
        let (state, sub) =
            if active { (ActiveState::Active, "running") } else { (ActiveState::Inactive, "dead") };
        let state = Change { active: Some(state), sub: Some(sub.into()), ..Change::default() };
        let edges = edges.iter().map(|(kind, other)| (*kind, Text::from(*other))).collect();
        let portrait = Portrait { name: name.into(), edges, state, config: None, files: Vec::new() };
        self.see(What::Known(Box::new(portrait)))
    }

    fn state(&mut self, name: &str, active: ActiveState, sub: &str) -> &mut Scene {
        self.change(name, Change { active: Some(active), sub: Some(sub.into()), ..Change::default() })
    }

    fn change(&mut self, name: &str, change: Change) -> &mut Scene {
        self.see(What::Changed(name.into(), Box::new(change)))
    }

    fn job(&mut self, id: u32, unit: &str, job_type: JobType) -> &mut Scene {
        self.see(What::JobNew(id, unit.into())).see(What::JobIs(id, job_type))
    }

    fn done(&mut self, id: u32, unit: &str, result: JobResult) -> &mut Scene {
        self.see(What::JobRemoved(id, unit.into(), result))
    }

    /// The main process ends by itself, and the manager waits to start the unit again.
    fn fails(&mut self, name: &str, pid: u32, status: i32) -> &mut Scene {
        let exit = Exit { kind: ExitKind::Exited, status };
        let change = Change {
            active: Some(ActiveState::Failed),
            sub: Some("failed".into()),
            result: Some(UnitResult::ExitCode),
            main_pid: Some(0),
            main_exit: Some((pid, self.now, exit)),
            ..Change::default()
        };
        self.change(name, change).state(name, ActiveState::Activating, "auto-restart")
    }

    fn asked(&mut self, verb: Verb, unit: &str, pid: u32, evidence: Evidence) -> &mut Scene {
        let client = Client { pid, command: format!("systemctl {verb} {unit}").into(), ..Client::default() };
        let asked = Asked { verb, mode: JobMode::Replace, units: vec![unit.into()], client, evidence };
        self.see(What::Asked(Box::new(asked)))
    }

    fn said(&mut self, unit: &str, text: &str, restarts: Option<u32>) -> &mut Scene {
        let message = Message { unit: Some(unit.into()), text: text.into(), restarts, ..Message::default() };
        self.see(What::Said(Box::new(message)))
    }

    fn answer(&mut self, unit: &str) -> String {
        self.wait(2_000);
        self.observer.settle(at(self.now));
        while let Some(record) = self.observer.poll_record() {
            self.records.push(record);
        }
        let index = Index::new(self.records.iter().cloned());
        let Some(answer) = why::why(&index, unit, None, at(self.now)) else { return "nothing".into() };
        let roots: Vec<String> = answer
            .roots
            .iter()
            .map(|r| format!("{} {}", r.kind.as_str(), r.unit.as_deref().unwrap_or("-")))
            .collect();
        let steps: Vec<String> = answer
            .chain
            .iter()
            .map(|step| {
                let rule = step.rule.as_ref().map(|r| format!(" [{}]", r.directive)).unwrap_or_default();
                let mark = match step.certainty {
                    hence_ledger::Certainty::Observed => "",
                    hence_ledger::Certainty::Inferred => "?",
                };
                format!("{}{mark}{rule}", step.what)
            })
            .collect();
        format!("{} <- {}: {}", answer.event, roots.join(", "), steps.join(" < "))
    }
}

#[test]
fn the_incident() {
    let mut scene = Scene::new();
    scene.known("col.service", &[(K::RequiredBy, "foo.service")], true);
    scene.known("foo.service", &[(K::Requires, "col.service")], true).see(What::Attached);
    for turn in 0..4 {
        scene.wait(2_000).fails("col.service", 100 + turn, 1);
        scene.wait(3_000).said("col.service", "Scheduled restart job", Some(turn));
        scene.job(20 + 3 * turn, "foo.service", JobType::Restart);
        scene.job(19 + 3 * turn, "col.service", JobType::Restart);
        scene.state("foo.service", ActiveState::Deactivating, "stop-sigterm");
        scene.state("foo.service", ActiveState::Inactive, "dead");
        scene.state("col.service", ActiveState::Inactive, "dead");
        scene.state("col.service", ActiveState::Active, "running");
        scene.state("foo.service", ActiveState::Active, "running");
        scene.done(19 + 3 * turn, "col.service", JobResult::Done);
        scene.done(20 + 3 * turn, "foo.service", JobResult::Done);
    }
    let told = scene.answer("foo.service");
    assert_eq!(
        told,
        "stopped <- exit col.service: stopped? [Requires=col.service] < restarted, 100 ms after \
         it ended < main process 103 exited with status 1"
    );
}
