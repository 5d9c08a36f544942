//! Where recent records come from: each record's root, inherited from its causes as records arrive, as
//! `path` would find it afterwards. Records that are too long ago are forgotten, and then said to be.

use crate::path::{RootKind, root};
use crate::record::{Certainty, Fact, Record, RecordId, Stamp};
use crate::speech;
use crate::word::{DeadlineKind, Exit, ExitKind, ProcessRole};
use alloc::{
    collections::{BTreeMap, VecDeque},
    format,
    string::{String, ToString},
    sync::Arc,
};
use hence_unit::Text;

/// Records that are remembered, whatever unit they are about.
const RECORDS: usize = 8192;
/// And of each unit at least so many.
const OF_UNIT: usize = 8;
const SIGKILL: i32 = 9;
const FORGOTTEN: &str = "the record of its cause is no longer remembered";
const NO_CAUSE: &str = "no cause was recorded";

/// Where a chain of causes begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The record of it.
    pub record: RecordId,
    /// What it is.
    pub kind: RootKind,
    /// The unit that it happened to.
    pub unit: Option<Text>,
    /// As a sentence.
    pub what: String,
    /// The same for all that are alike: without pids and times.
    pub key: Text,
    /// When.
    pub at: Stamp,
    /// Whether it was seen.
    pub certain: bool,
    /// Whether what comes from it, again and again, is a loop: clients and timers may do so.
    pub can_loop: bool,
}

/// What leads where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// An exit may be explained by it.
    ExplainsExit,
    State,
    Other,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    link: Link,
    origin: Arc<Origin>,
}

/// The latest records of a unit.
#[derive(Debug, Default)]
pub(super) struct Latest {
    nodes: VecDeque<(RecordId, Node)>,
    oom: Option<(Option<crate::Invocation>, Arc<Origin>)>,
}

/// The origins of recent records.
#[derive(Debug, Default)]
pub(super) struct Origins {
    nodes: BTreeMap<RecordId, Node>,
    order: VecDeque<RecordId>,
}

impl Origins {
    /// Takes a record; its origin. `latest`: those of its unit.
    pub fn take(&mut self, record: &Record, mut latest: Option<&mut Latest>) -> Arc<Origin> {
        let origin = self.origin(record, latest.as_deref());
        let link = match record.fact {
            Fact::SignalSent { .. }
            | Fact::Signalled { .. }
            | Fact::OomKill { .. }
            | Fact::SpawnFailed { .. } => Link::ExplainsExit,
            Fact::StateChanged { .. } => Link::State,
            _ => Link::Other,
        };
        let node = Node { link, origin: origin.clone() };
        if let Some(latest) = &mut latest {
            if matches!(record.fact, Fact::OomKill { .. }) {
                latest.oom = Some((record.invocation, origin.clone()));
            }
            if latest.nodes.len() >= OF_UNIT {
                latest.nodes.pop_front();
            }
            latest.nodes.push_back((record.id, node.clone()));
        }
        if self.nodes.insert(record.id, node).is_none() {
            self.order.push_back(record.id);
        }
        if self.order.len() > RECORDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.nodes.remove(&oldest);
        }
        origin
    }

    fn origin(&self, record: &Record, latest: Option<&Latest>) -> Arc<Origin> {
        let find = |id: RecordId| {
            let of_unit = || latest?.nodes.iter().find(|(known, _)| *known == id).map(|(_, node)| node);
            self.nodes.get(&id).or_else(of_unit)
        };
        let step = is_step(record);
        let (mut best, mut missing): (Option<(RecordId, &Node)>, bool) = (None, false);
        for cause in &record.causes {
            let Some(node) = find(cause.record) else {
                missing = true;
                continue;
            };
            let followed = match &record.fact {
                Fact::ProcessExited { .. } => {
                    node.link == Link::ExplainsExit || step && node.link == Link::State
                }
                Fact::DeadlineReached { deadline, .. } => {
                    matches!(deadline, DeadlineKind::RestartDelay | DeadlineKind::TriggerLimit)
                }
                fact => !fact.is_root() && !matches!(fact, Fact::SpawnFailed { .. }),
            };
            if followed && best.is_none_or(|(id, _)| cause.record > id) {
                best = Some((cause.record, node));
            }
        }
        if let Some((_, node)) = best {
            if record.certainty == Certainty::Inferred && node.origin.certain {
                return Arc::new(Origin { certain: false, ..(*node.origin).clone() });
            }
            return node.origin.clone();
        }
        if let Fact::ProcessExited { exit: Exit { kind: ExitKind::Killed, status: SIGKILL }, .. } =
            record.fact
            && let Some((_, origin)) =
                latest.and_then(|l| l.oom.as_ref()).filter(|(of, _)| *of == record.invocation)
        {
            return origin.clone();
        }
        Arc::new(match record.fact.is_root() || matches!(record.fact, Fact::SpawnFailed { .. }) {
            true => begins(record),
            false => unknown(record, if missing { FORGOTTEN } else { NO_CAUSE }),
        })
    }
}

/// Whether this is a control process that ended well: a step between two others.
fn is_step(record: &Record) -> bool {
    const GOOD: Exit = Exit { kind: ExitKind::Exited, status: 0 };
    matches!(record.fact, Fact::ProcessExited { role, exit: GOOD, .. } if role != ProcessRole::Main)
}

fn unknown(record: &Record, what: &str) -> Origin {
    Origin {
        record: record.id,
        kind: RootKind::Unknown,
        unit: record.unit.clone(),
        what: what.to_string(),
        key: format!("unknown:{}:{what}", record.unit.as_deref().unwrap_or("")).into(),
        at: record.at,
        certain: record.certainty == Certainty::Observed,
        can_loop: true,
    }
}

fn begins(record: &Record) -> Origin {
    let root = root(record);
    let alike = match &record.fact {
        Fact::ProcessExited { role, exit, .. } => format!("{role} {}", speech::exit(*exit)),
        Fact::Request { verb, client, .. } => {
            format!("{verb} {} {}", client.unit.as_deref().unwrap_or(""), client.command)
        }
        Fact::DeadlineReached { deadline, .. } => format!("{deadline}"),
        Fact::Traffic { listen, .. } => listen.to_string(),
        Fact::SpawnFailed { step, subject, .. } => format!("{step} {subject}"),
        Fact::Signalled { signal, sender, .. } => format!("{signal} {}", sender.command),
        Fact::Device { path, .. } => path.to_string(),
        Fact::Unknown { .. } => "unknown".into(),
        _ => String::new(),
    };
    let can_loop = match &record.fact {
        Fact::Request { .. } | Fact::Started { .. } | Fact::ManagerSignal { .. } => false,
        Fact::DeadlineReached { deadline, .. } => *deadline != DeadlineKind::Timer,
        _ => true,
    };
    Origin {
        record: record.id,
        kind: root.kind,
        key: format!("{}:{}:{alike}", root.kind.as_str(), record.unit.as_deref().unwrap_or("")).into(),
        unit: root.unit,
        what: root.what,
        at: record.at,
        certain: record.certainty == Certainty::Observed,
        can_loop,
    }
}
