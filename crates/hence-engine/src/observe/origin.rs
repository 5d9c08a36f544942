//! Where a transaction comes from: who asked, what elapsed or was touched, which unit's fate led to it.
//!
//! Everything that fits is given. Where nothing does, the cause is unknown, with what was ruled out.

use super::evidence::certainty;
use super::seen::Evidence;
use super::{Observer, Unit};
use crate::Time;
use crate::job::{is_down, is_up};
use alloc::{format, string::String, vec, vec::Vec};
use hence_ledger::{
    ActiveState, Cause, Certainty, DeadlineKind, Fact, JobType, RecordId, Rule, SubState, Text,
};
use hence_unit::DependencyKind as K;

/// What followed from a change of state came within this time, in microseconds.
const FOLLOWS_US: u64 = 1_500_000;
/// Clients that passed unseen and are named.
const PASSED: usize = 4;
/// Directives that say what a unit of these kinds waits for.
const LISTENS: [&str; 9] = [
    "ListenStream",
    "ListenDatagram",
    "ListenSequentialPacket",
    "ListenFIFO",
    "PathExists",
    "PathExistsGlob",
    "PathChanged",
    "PathModified",
    "DirectoryNotEmpty",
];
const ELAPSES: [&str; 6] =
    ["OnCalendar", "OnUnitActiveSec", "OnUnitInactiveSec", "OnBootSec", "OnStartupSec", "OnActiveSec"];

type Origin = Option<(Vec<Cause>, Certainty)>;

fn recent(moment: Option<(u64, RecordId)>, at_us: u64) -> Option<RecordId> {
    moment.filter(|(then, _)| then + FOLLOWS_US >= at_us).map(|(_, record)| record)
}

impl Observer {
    /// What asked for a job of this unit by itself: the end of a restart's delay, a client, a trigger.
    pub(super) fn own_origin(&mut self, unit: &Text, job_type: JobType, at: Time) -> Origin {
        let at_us = at.monotonic_us;
        let waits = self.units.get(unit).is_some_and(|u| u.sub == SubState::AutoRestart);
        let said = self.store.scheduled(unit, at_us);
        let starts = matches!(job_type, JobType::Start | JobType::Restart | JobType::TryRestart);
        if starts && said {
            return Some((vec![self.restart_delay(unit, at, said)], Certainty::Observed));
        }
        let mut causes = Vec::new();
        let mut sure = true;
        for (asked_us, asked) in self.store.requests(unit, job_type, at_us) {
            let call = asked.evidence == Evidence::Call;
            sure &= call;
            let then = earlier(at, at_us.saturating_sub(asked_us));
            let fact = Fact::Request { verb: asked.verb, mode: asked.mode, client: asked.client };
            let record = self.record(then, Some(unit), Vec::new(), certainty(asked.evidence), fact);
            causes.push(Cause { record, rule: None });
        }
        if !causes.is_empty() && sure {
            return Some((causes, Certainty::Observed));
        }
        if job_type == JobType::Start {
            causes.extend(self.triggers(unit, at, true));
        }
        // Nobody else having asked, the delay before the restart is over.
        if causes.is_empty() && waits && starts {
            causes.push(self.restart_delay(unit, at, false));
        }
        (!causes.is_empty()).then_some((causes, Certainty::Inferred))
    }

    fn by(&self, seen: bool) -> Certainty {
        if seen { Certainty::Observed } else { Certainty::Inferred }
    }

    fn restart_delay(&mut self, name: &Text, at: Time, said: bool) -> Cause {
        let Some(unit) = self.units.get(name) else { return self.caused_by_start() };
        let rule = unit.rule("RestartSec");
        let delay = unit.config.as_ref().and_then(|c| c.service()).map_or(100_000, |s| s.restart_delay);
        let scheduled = unit.scheduled.or(unit.record);
        let causes = scheduled.map(|record| Cause { record, rule }).into_iter().collect();
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us: delay };
        let certainty = self.by(said);
        Cause { record: self.record(at, Some(name), causes, certainty, fact), rule: None }
    }

    /// Units that trigger this one and did something just now.
    fn triggers(&mut self, name: &Text, at: Time, sure: bool) -> Vec<Cause> {
        let Some(unit) = self.units.get(name) else { return Vec::new() };
        let by: Vec<Text> = unit.linked(&[K::TriggeredBy]).cloned().collect();
        let mut causes = Vec::new();
        for trigger in by {
            if self.store.triggered(&trigger, at.monotonic_us) != Some(sure) {
                continue;
            }
            let line = |rows: &[&str]| {
                let unit = self.units.get(&trigger);
                rows.iter().find_map(|directive| unit?.rule(directive))
            };
            let (fact, own) = match trigger.rsplit('.').next() {
                Some("timer") => {
                    let own = line(&ELAPSES);
                    (Fact::DeadlineReached { deadline: DeadlineKind::Timer, after_us: 0 }, own)
                }
                _ => {
                    let listen = line(&LISTENS).map_or_else(
                        || trigger.clone(),
                        |rule| match rule.directive.split_once('=') {
                            Some((_, value)) if !value.is_empty() => value.into(),
                            _ => trigger.clone(),
                        },
                    );
                    (Fact::Traffic { listen, peer: None }, None)
                }
            };
            // What armed a timer is not followed; the line that did is told.
            let causes_of_it = own.map(|rule| Cause { record: self.started, rule: Some(rule) });
            let certainty = self.by(sure);
            let causes_of_it = causes_of_it.into_iter().collect();
            let record = self.record(at, Some(&trigger), causes_of_it, certainty, fact);
            let rule = self.rule_of_edge(&trigger, K::Triggers, name);
            causes.push(Cause { record, rule });
        }
        causes
    }

    /// What led to a job that nobody asked for: another unit's fate, the boot; else nobody knows.
    pub(super) fn far_origin(&mut self, name: &Text, job_type: JobType, at: Time) -> (Vec<Cause>, Certainty) {
        let mut causes = self.followed(name, job_type, at.monotonic_us);
        if causes.is_empty() && job_type == JobType::Start {
            causes = self.triggers(name, at, false);
        }
        if causes.is_empty() && self.booting {
            causes.push(self.caused_by_start());
        }
        if causes.is_empty() {
            let what = format!("a {job_type} job of {name} was queued");
            let fact = Fact::Unknown { ruled_out: self.ruled_out(&what, at.monotonic_us).into() };
            let record = self.record(at, Some(name), Vec::new(), Certainty::Observed, fact);
            return (vec![Cause { record, rule: None }], Certainty::Observed);
        }
        (causes, Certainty::Inferred)
    }

    /// What was ruled out, and what could not be looked at.
    pub(super) fn ruled_out(&self, what: &str, at_us: u64) -> String {
        let mut text =
            format!("a timer, a socket, a path, another unit or a client that was seen when {what}");
        for (pid, program) in self.store.passed(at_us).take(PASSED) {
            text.push_str(&format!(
                "; {program} (pid {pid}) ran just then, and was gone before it was looked at"
            ));
        }
        for limit in self.sources.limits() {
            text.push_str("; ");
            text.push_str(limit);
        }
        if self.bus_lost.is_some() {
            text.push_str("; the message bus was away, so that who asked there was not seen");
        }
        text
    }

    fn followed(&self, name: &Text, job_type: JobType, at_us: u64) -> Vec<Cause> {
        let Some(unit) = self.units.get(name) else { return Vec::new() };
        let mut causes: Vec<Cause> = Vec::new();
        let mut add = |record: Option<RecordId>, rule: Option<Rule>| {
            if let Some(record) = record
                && !causes.iter().any(|c| c.record == record)
            {
                causes.push(Cause { record, rule });
            }
        };
        for (kind, other) in &unit.edges {
            let Some(o) = self.units.get(other) else { continue };
            let rule = || self.rule_of_edge(name, *kind, other);
            match (job_type, kind) {
                (JobType::Start, K::OnFailureOf) => {
                    let failed = o.active == ActiveState::Failed || o.sub == SubState::AutoRestart;
                    let refused = || recent(o.refused, at_us);
                    let record = if failed { recent(o.down, at_us) } else { None };
                    add(record.or_else(refused), rule());
                }
                (JobType::Start, K::OnSuccessOf) if o.active == ActiveState::Inactive => {
                    add(recent(o.down, at_us), rule());
                }
                (JobType::Stop, K::BindsTo | K::StopPropagatedFrom) if is_down(o.active) || is_waiting(o) => {
                    add(recent(o.down, at_us), rule());
                }
                (JobType::Stop, K::Conflicts | K::ConflictedBy) if is_up(o.active) => {
                    add(recent(o.up, at_us), rule());
                }
                (JobType::Start, K::UpheldBy) if is_up(o.active) => {
                    add(recent(unit.down, at_us).or_else(|| recent(o.up, at_us)), rule());
                }
                (JobType::Start, K::RequiredBy | K::WantedBy | K::BoundBy) if is_up(o.active) => {
                    add(recent(o.up, at_us), rule());
                }
                _ => {}
            }
        }
        let unneeded = unit.config.as_ref().is_some_and(|c| c.flags.stop_when_unneeded);
        if job_type == JobType::Stop && unneeded {
            for other in unit.linked(&[K::RequiredBy, K::RequisiteOf, K::WantedBy, K::BoundBy, K::UpheldBy]) {
                let down = self.units.get(other).filter(|o| is_down(o.active)).and_then(|o| o.down);
                add(recent(down, at_us), unit.rule("StopWhenUnneeded"));
            }
        }
        if job_type == JobType::Start && name.ends_with(".target") {
            for other in self.units.values() {
                if let Some(rule) = action(other) {
                    add(recent(other.down, at_us), Some(rule));
                }
            }
        }
        causes
    }
}

fn is_waiting(unit: &Unit) -> bool {
    unit.sub == SubState::AutoRestart
}

/// The line that makes the end of a unit an end of the machine.
fn action(unit: &Unit) -> Option<Rule> {
    match unit.active {
        ActiveState::Failed => unit.rule("FailureAction").or_else(|| unit.rule("StartLimitAction")),
        ActiveState::Inactive => unit.rule("SuccessAction"),
        _ => None,
    }
}

fn earlier(at: Time, by_us: u64) -> Time {
    Time {
        realtime_us: at.realtime_us.saturating_sub(by_us),
        monotonic_us: at.monotonic_us.saturating_sub(by_us),
    }
}
