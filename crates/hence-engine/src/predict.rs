//! What would happen to a set of units, told before anyone deploys them: the engine in virtual time, with
//! modelled processes.
//!
//! [`predict`] brings the units up, supposes what it is told to ([`sentence`]), does what is asked for, and
//! sums up what comes of it: restarts, loops, processes left behind, limits that are reached, units that are
//! taken down. It reads no file and knows no machine: both are given. It predicts what becomes of units, not
//! what programs do; where it guesses at those ([`program`]), the prediction says so.

pub mod blast;
pub mod program;
pub mod sentence;
pub mod tally;
mod trouble;

pub use trouble::limit_text;

use crate::job::{is_down, is_up};
use crate::sim::behaviour::Script;
use crate::sim::caps::{Cap, Rule as Limits};
use crate::sim::{Act, BEGIN_US, Source, World};
use crate::{JobId, Refusal, Time};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    rc::Rc,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use hence_ledger::{
    ActiveState, SubState, UnitResult, Verb, advice, answer::Answer, index::Index, loops, why,
};
use hence_unit::config::ExecPhase;
use hence_unit::{Config, JobMode, LoadState, Text, UnitKind, UnitName};
use program::{Known, Starter};
use sentence::{Fault, Sentence};
use tally::{Line, OfUnit, Tally};

/// The longest that units are given to come up before something is asked for, in microseconds.
const COMING_UP_US: u64 = 600_000_000;
/// What follows so shortly after the end, in microseconds, still belongs to it.
const SEEN_THROUGH_US: u64 = 20_000;
/// Most steps of a prediction.
const STEPS: u64 = 4_000_000;
/// Most processes there may be at one time.
const PROCESSES: usize = 200_000;
/// A loop that has rested for so many of its periods is over.
const PERIODS: u64 = 3;

/// Where unit files and programs are read.
pub trait Ground: core::fmt::Debug {
    /// The unit as its files say it.
    fn read(&self, name: &UnitName) -> Config;
    /// What there is at a program's path.
    fn program(&self, path: &str) -> Known;
}

/// What is asked of the units when they are up.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// `systemctl stop`
    Stop(UnitName),
    /// `systemctl restart`
    Restart(UnitName),
    /// `systemctl isolate`
    Isolate(UnitName),
}

/// What is to be predicted.
#[derive(Clone, Debug)]
pub struct Question {
    /// Units that are started.
    pub start: Vec<UnitName>,
    /// Devices and mounts that are there.
    pub present: Vec<UnitName>,
    /// What is supposed.
    pub sentences: Vec<Sentence>,
    /// What is asked for when they are up.
    pub asks: Vec<Ask>,
    /// For how long, in microseconds.
    pub for_us: u64,
    /// Which limits there are.
    pub limits: Limits,
    /// Restarts and timeouts happen at the end of such a slot, in microseconds; `None`: at once.
    pub slot_us: Option<u64>,
    /// Whether to tell what each unit would take along.
    pub blast: bool,
}

/// What would happen to one unit.
#[derive(Clone, Debug)]
pub struct UnitForecast {
    /// Counts.
    pub counts: OfUnit,
    /// Processes left behind at the end.
    pub left_behind: u64,
    /// All of its processes at the end.
    pub processes: u64,
    /// NRestarts at the end.
    pub n_restarts: u32,
    /// ActiveState, SubState and Result at the end.
    pub final_state: (ActiveState, SubState, UnitResult),
}

/// A unit that goes down because of another one.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Which.
    pub unit: Text,
    /// When first, in microseconds.
    pub at_us: u64,
    /// It is up again at the end.
    pub comes_back: bool,
    /// Why.
    pub why: Option<Answer>,
}

/// Units that go around.
#[derive(Clone, Debug)]
pub struct LoopForecast {
    /// The unit at the root first.
    pub units: Vec<Text>,
    /// The pause between two rounds, where it is about the same each time.
    pub period_us: Option<u64>,
    /// How many rounds.
    pub times: u64,
    /// When the first and the last round began.
    pub since_us: u64,
    /// The last one.
    pub last_us: u64,
    /// It goes on beyond the end.
    pub ongoing: bool,
    /// Why the last of its units, or the only one, goes around.
    pub why: Option<Answer>,
}

/// What is wrong with what would happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// Which kind: `loop`, `leak`, `limit`, `failed`, `down`, `stuck`, `refused`, `load`, `cut`.
    pub kind: &'static str,
    /// Which unit.
    pub unit: Option<Text>,
    /// The sentence.
    pub text: String,
}

/// What would happen.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// How long was predicted, in microseconds.
    pub for_us: u64,
    /// It reaches as far as was asked for.
    pub complete: bool,
    /// By name; without those that no file names.
    pub units: BTreeMap<Text, UnitForecast>,
    /// Limits that are reached, the first one first.
    pub limits: Vec<Cap>,
    /// All limits that were watched.
    pub watched: Vec<Cap>,
    /// Units that go down because of others.
    pub takes_down: Vec<Taken>,
    /// Loops, the most frequent first.
    pub loops: Vec<LoopForecast>,
    /// What happens, by its first time.
    pub timeline: Vec<Line>,
    /// The first starts and ends of main processes.
    pub events: Vec<tally::Moment>,
    /// What was taken for granted.
    pub assumptions: Vec<String>,
    /// What is wrong.
    pub troubles: Vec<Trouble>,
    /// What each unit would take along.
    pub blast: Option<Vec<blast::Reach>>,
    /// The most processes there are at one time.
    pub processes: u64,
}

/// The files, the sentences, and what is guessed of programs.
#[derive(Debug)]
struct Supposed {
    ground: Rc<dyn Ground>,
    sentences: Vec<Sentence>,
}

impl Supposed {
    fn starter(&self, config: &Config) -> Starter {
        let starter = match config.service() {
            Some(service) => program::starter(service, |path| self.ground.program(path)),
            None => Starter::No,
        };
        // Who says how many processes it forks has said all.
        let told = |s: &Sentence| matches!(s.fault, Fault::Forks(_)) && program::is_about(s, config);
        match starter {
            Starter::Supposed if self.sentences.iter().any(told) => Starter::No,
            starter => starter,
        }
    }
}

impl Source for Supposed {
    fn read(&self, name: &UnitName) -> Config {
        self.ground.read(name)
    }

    fn script(&self, config: &Config, phase: ExecPhase) -> Option<Script> {
        if phase != ExecPhase::Start {
            return None;
        }
        program::script(config, phase, self.starter(config), &self.sentences)
    }
}

/// Everything that a prediction needs while it runs.
struct Run {
    world: World,
    tally: Tally,
    supposed: Rc<Supposed>,
    /// Clients that come: to whom, how often, when next.
    traffic: Vec<(UnitName, u64, u64)>,
    steps: u64,
    processes: u64,
    refused: Vec<Trouble>,
}

/// Predicts.
///
/// # Errors
/// A unit that a sentence or a request names is unknown.
pub fn predict(question: &Question, ground: Rc<dyn Ground>) -> Result<Prediction, String> {
    let supposed = Rc::new(Supposed { ground, sentences: question.sentences.clone() });
    let mut world = World::of(supposed.clone());
    world.caps.enforce(question.limits.clone());
    world.slot_us = question.slot_us;
    let tally = Tally::from(BEGIN_US);
    let (traffic, refused) = (Vec::new(), Vec::new());
    let mut run = Run { world, tally, supposed, traffic, steps: 0, processes: 0, refused };
    for sentence in &question.sentences {
        if let Fault::Traffic(every_us) = sentence.fault {
            run.traffic.push((sentence.unit.clone(), every_us, BEGIN_US + every_us));
        }
    }
    run.world.place(&question.present);
    for unit in &question.start {
        run.ask(Verb::Start, unit, JobMode::Replace);
    }
    run.know_all(question)?;
    let blast = question.blast.then(|| {
        let mut up = run.fork();
        up.come_up();
        blast::table(&up.world)
    });
    let before = if question.asks.is_empty() { BTreeSet::new() } else { run.come_up() };
    for ask in &question.asks {
        match ask {
            Ask::Stop(unit) => run.ask(Verb::Stop, unit, JobMode::Replace),
            Ask::Restart(unit) => run.ask(Verb::Restart, unit, JobMode::Replace),
            Ask::Isolate(unit) => run.ask(Verb::Isolate, unit, JobMode::Isolate),
        }
    }
    let end_us = run.tally.begin_us.saturating_add(question.for_us);
    // What has begun at the last moment is seen through.
    let complete = run.until(end_us) && run.until(end_us.saturating_add(SEEN_THROUGH_US));
    Ok(run.sum_up(question, &before, complete, blast))
}

impl Run {
    /// The same once more, from here.
    fn fork(&self) -> Run {
        Run {
            world: self.world.clone(),
            tally: self.tally.clone(),
            supposed: self.supposed.clone(),
            traffic: self.traffic.clone(),
            steps: self.steps,
            processes: self.processes,
            refused: Vec::new(),
        }
    }

    fn ask(&mut self, verb: Verb, unit: &UnitName, mode: JobMode) {
        self.world.act(Act::Job(verb, unit.clone(), mode));
        let answer: Option<Result<Option<JobId>, Refusal>> = self.world.replies.pop_last().map(|(_, a)| a);
        if let Some(Err(refusal)) = answer {
            let text = format!("{verb} of {unit} is refused: {}", refusal.parts().1);
            self.refused.push(Trouble { kind: "refused", unit: Some(unit.text().clone()), text });
        }
        self.take();
    }

    fn take(&mut self) {
        for record in core::mem::take(&mut self.world.records) {
            self.tally.take(record);
        }
        self.world.replies.clear();
        self.processes = self.processes.max(self.world.process_count() as u64);
    }

    /// Every unit that is named has to be one.
    fn know_all(&mut self, question: &Question) -> Result<(), String> {
        let of_asks = question.asks.iter().map(|ask| match ask {
            Ask::Stop(unit) | Ask::Restart(unit) | Ask::Isolate(unit) => unit,
        });
        for name in question.sentences.iter().map(|s| &s.unit).chain(of_asks) {
            let template = name.template();
            if self.world.engine.find(name.as_str()).is_some() && self.config(name).load == LoadState::Loaded
                || self.supposed.read(name).load == LoadState::Loaded
                || template.is_some_and(|t| self.supposed.read(&t).load == LoadState::Loaded)
            {
                continue;
            }
            let known: Vec<String> = self.known().map(|n| n.to_string()).collect();
            let like = hence_unit::directive::nearest(name.as_str(), known.iter().map(String::as_str))
                .map(String::from)
                .or_else(|| known.iter().find(|k| k.contains(name.prefix())).cloned());
            let mend = match like {
                Some(like) => format!("; did you mean {like}?"),
                None if known.is_empty() => String::new(),
                None => {
                    let some: Vec<&str> = known.iter().take(8).map(String::as_str).collect();
                    format!("; there are {}{}", some.join(", "), if known.len() > 8 { ", ..." } else { "" })
                }
            };
            return Err(format!("there is no unit {name}{mend}"));
        }
        Ok(())
    }

    fn config(&self, name: &UnitName) -> Arc<Config> {
        match self.world.engine.find(name.as_str()) {
            Some(id) => self.world.engine.unit(id).config.clone(),
            None => Arc::new(Config::stub(name.clone())),
        }
    }

    /// The units that files or the system make.
    fn known(&self) -> impl Iterator<Item = &UnitName> {
        let units = self.world.engine.units();
        units.filter(|u| u.config.load == LoadState::Loaded && !u.config.sources.is_empty()).map(|u| u.name())
    }

    /// Lets the units come up; counting begins when they have. Those that are up then.
    fn come_up(&mut self) -> BTreeSet<Text> {
        let latest = self.world.now_us + COMING_UP_US;
        while self.world.next_us().is_some_and(|next| next <= latest) && self.steps < STEPS / 4 {
            let moving = |s: ActiveState| matches!(s, ActiveState::Activating | ActiveState::Deactivating);
            let moves = self.world.engine.units().any(|u| moving(u.active_state()));
            if self.world.engine.jobs().next().is_none() && !moves {
                break;
            }
            self.step();
        }
        self.tally.begin(self.world.now_us);
        for (_, every, next) in &mut self.traffic {
            *next = self.world.now_us + *every;
        }
        let units = self.world.engine.units();
        units.filter(|u| is_up(u.active_state())).map(|u| u.name().text().clone()).collect()
    }

    fn step(&mut self) {
        self.steps += 1;
        self.world.step();
        self.take();
    }

    /// Lets everything happen up to a time. False where there is too much of it.
    fn until(&mut self, end_us: u64) -> bool {
        while self.steps < STEPS && self.world.process_count() < PROCESSES {
            let next = self.world.next_us().unwrap_or(u64::MAX);
            let client = self.traffic.iter().enumerate().min_by_key(|(_, t)| t.2).map(|(nth, t)| (nth, t.2));
            match client {
                Some((nth, at)) if at <= next.min(end_us) => self.client_comes(nth),
                _ if next > end_us => {
                    self.world.now_us = self.world.now_us.max(end_us);
                    return true;
                }
                _ => self.step(),
            }
        }
        false
    }

    /// A client comes to a socket; where the service has the socket, it is the service's.
    fn client_comes(&mut self, nth: usize) {
        self.steps += 1;
        let (unit, every, at) = self.traffic[nth].clone();
        self.traffic[nth].2 = at + every;
        self.world.now_us = self.world.now_us.max(at);
        let listens = self.world.engine.find(unit.as_str()).is_some_and(|id| {
            let unit = self.world.engine.unit(id);
            unit.sub_state() == SubState::Listening
        });
        if listens {
            self.world.act(Act::Traffic(unit));
            self.take();
        }
    }

    fn sum_up(
        mut self,
        question: &Question,
        before: &BTreeSet<Text>,
        complete: bool,
        blast: Option<Vec<blast::Reach>>,
    ) -> Prediction {
        let begin_us = self.tally.begin_us;
        let for_us = self.world.now_us.saturating_sub(begin_us).min(question.for_us);
        self.tally.mark(for_us);
        let units = self.units();
        let mut watched = self.world.caps.all.clone();
        for cap in &mut watched {
            cap.reached_us = cap.reached_us.map(|at| at.saturating_sub(begin_us));
        }
        let mut limits: Vec<Cap> = watched.iter().filter(|c| c.reached_us.is_some()).cloned().collect();
        limits.sort_by_key(|c| c.reached_us);
        let last = self.tally.kept.last().map_or_else(Time::default, |r| r.at);
        let index = Index::new(core::mem::take(&mut self.tally.kept));
        let why_of = |unit: &str, at_us: Option<u64>| {
            let stamp = |us: u64| Time { realtime_us: us + EPOCH_US, monotonic_us: us };
            let at = at_us.map(|us| stamp(begin_us + us));
            let mut answer = why::why(&index, unit, at, stamp(self.world.now_us))?;
            // The records that are kept show how it begins; how much it came to is counted.
            if let Some(all) = units.get(unit).filter(|u| u.left_behind > answer.left_behind.processes) {
                answer.left_behind.processes = all.left_behind;
                answer.advice = advice::advise(&answer);
            }
            Some(answer)
        };
        let loops = self.loops((&index, last), &units, for_us, &why_of);
        let takes_down = self.taken(question, before, &units, &why_of);
        let mut timeline: Vec<Line> = self.tally.lines.values().cloned().collect();
        timeline.sort_by_key(|l| (l.first_us, l.order));
        timeline.retain(|l| l.unit.is_empty() || units.contains_key(&l.unit));
        let mut prediction = Prediction {
            for_us,
            complete,
            units,
            limits,
            watched,
            takes_down,
            loops,
            timeline,
            events: core::mem::take(&mut self.tally.events),
            assumptions: self.assumptions(question),
            troubles: core::mem::take(&mut self.refused),
            blast,
            processes: self.processes,
        };
        let troubles = trouble::troubles(&prediction, question, &self.world.engine);
        prediction.troubles.extend(troubles);
        prediction
    }

    /// Units that files make, with what became of them.
    fn units(&self) -> BTreeMap<Text, UnitForecast> {
        let mut units: BTreeMap<Text, UnitForecast> = BTreeMap::new();
        for unit in self.world.engine.units().filter(|u| !u.config.sources.is_empty()) {
            let counted =
                |name: &UnitName| self.tally.units.get(name.text()).map(|c| (name.clone(), c.clone()));
            let template = || unit.name().template().and_then(|template| counted(&template));
            let (name, counts) = counted(unit.name()).or_else(template).unwrap_or_else(|| {
                let nothing_happened = OfUnit::default();
                (unit.name().clone(), nothing_happened)
            });
            let (left_behind, processes) =
                (unit.left_over.len() as u64, self.world.group_size(unit.id) as u64);
            let forecast = units.entry(name.text().clone()).or_insert_with(|| UnitForecast {
                counts,
                left_behind: 0,
                processes: 0,
                n_restarts: unit.service().map_or(0, |s| s.restarts),
                final_state: (unit.active_state(), unit.sub_state(), unit.result()),
            });
            forecast.left_behind += left_behind;
            forecast.processes += processes;
        }
        // Instances and the like that are gone again.
        let gone = |name: &str| {
            let named = UnitName::new(name).filter(|_| self.world.engine.find(name).is_none());
            named.is_some_and(|n| !self.supposed.read(&n).sources.is_empty())
        };
        for (name, counts) in self.tally.units.iter().filter(|(name, u)| u.starts > 0 && gone(name)) {
            units.entry(name.clone()).or_insert_with(|| UnitForecast {
                counts: counts.clone(),
                left_behind: 0,
                processes: 0,
                n_restarts: 0,
                final_state: (ActiveState::Inactive, SubState::Dead, UnitResult::Success),
            });
        }
        units.retain(|name, _| {
            UnitName::new(name).is_some_and(|n| !matches!(n.kind(), UnitKind::Slice | UnitKind::Device))
        });
        units
    }

    fn loops(
        &self,
        (index, last): (&Index, Time),
        units: &BTreeMap<Text, UnitForecast>,
        for_us: u64,
        why_of: &dyn Fn(&str, Option<u64>) -> Option<Answer>,
    ) -> Vec<LoopForecast> {
        let again = |name: &Text| units.get(name).map(|u| &u.counts).filter(|c| c.restarts >= 3);
        let mut found: Vec<LoopForecast> = Vec::new();
        let mut seen: BTreeSet<Text> = BTreeSet::new();
        let mut groups: Vec<Vec<Text>> = loops::loops(index, last).into_iter().map(|l| l.units).collect();
        // What goes around too slowly for the records that are kept is a loop of its own.
        groups.extend(units.keys().map(|name| Vec::from([name.clone()])));
        for group in groups {
            let members: Vec<Text> =
                group.into_iter().filter(|n| again(n).is_some() && !seen.contains(n)).collect();
            let Some(counts) = members.first().and_then(again) else { continue };
            seen.extend(members.iter().cloned());
            let (since_us, last_us) = counts.restarted_us.unwrap_or_default();
            let period_us = counts.period_us();
            let mean = (last_us - since_us) / (counts.restarts - 1).max(1);
            let rest = mean.saturating_mul(PERIODS).max(2_000_000);
            let told = members.last().and_then(|unit| why_of(unit, None));
            found.push(LoopForecast {
                units: members,
                period_us,
                times: counts.restarts,
                since_us,
                last_us,
                ongoing: for_us.saturating_sub(last_us) <= rest,
                why: told,
            });
        }
        found.sort_by(|a, b| b.times.cmp(&a.times).then(a.units.cmp(&b.units)));
        found
    }

    fn taken(
        &self,
        question: &Question,
        before: &BTreeSet<Text>,
        units: &BTreeMap<Text, UnitForecast>,
        why_of: &dyn Fn(&str, Option<u64>) -> Option<Answer>,
    ) -> Vec<Taken> {
        let asked = |name: &Text| {
            question.asks.iter().any(|ask| match ask {
                Ask::Stop(unit) | Ask::Restart(unit) | Ask::Isolate(unit) => unit.text() == name,
            })
        };
        let down: Vec<(&Text, u64)> = match question.asks.is_empty() {
            true => self
                .tally
                .taken_down
                .iter()
                .filter_map(|name| Some((name, self.tally.units.get(name)?.taken_down_us?)))
                .collect(),
            false => {
                before.iter().filter_map(|name| Some((name, self.tally.units.get(name)?.down_us?))).collect()
            }
        };
        let mut taken: Vec<Taken> = down
            .into_iter()
            .filter(|(name, _)| units.contains_key(*name) && !asked(name))
            .map(|(name, at_us)| Taken {
                unit: name.clone(),
                at_us,
                comes_back: units.get(name).is_some_and(|u| !is_down(u.final_state.0)),
                why: why_of(name, Some(at_us + 1)),
            })
            .collect();
        taken.sort_by(|a, b| (a.at_us, &a.unit).cmp(&(b.at_us, &b.unit)));
        taken
    }

    fn assumptions(&self, question: &Question) -> Vec<String> {
        let mut told = Vec::new();
        let timer = |u: &&crate::Unit| u.name().kind() == UnitKind::Timer && is_up(u.active_state());
        if self.world.engine.units().any(|u| timer(&u)) {
            told.push("timers elapse as soon as they may: AccuracySec= puts nothing off".to_string());
        }
        for unit in self.world.engine.units().filter(|u| !u.config.sources.is_empty()) {
            let started = self.tally.units.get(unit.name().text()).is_some_and(|u| u.starts > 0);
            if started {
                let starter = self.supposed.starter(&unit.config);
                told.extend(program::assumptions(&unit.config, starter, &question.sentences));
            }
        }
        told
    }
}

/// The wall clock when the monotonic clock is at 0, as the simulator has it.
const EPOCH_US: u64 = crate::sim::EPOCH_US;
