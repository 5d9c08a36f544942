//! The other side of org.freedesktop.systemd1: follows a manager that is another's by its signals, and reads
//! each unit once, and once more after a reload. It does no I/O, asks for nothing to be done, and judges
//! nothing: what follows from what is the engine's observer's.
//!
//! On the private socket the manager tells all its signals without being asked for them, and makes each anew
//! for everybody who listens there. On a bus it makes them once for all, where anybody asked for them.

pub mod calls;
mod properties;

use crate::client::{Client, ClientError, DRIVER, Incoming};
use crate::front::{Object, ROOT, job_path, unit_path};
use crate::wire::{Message, Value};
use hence_engine::Time;
use hence_engine::observe::seen::{Change, Portrait, Seen, What};
use hence_ledger::{JobResult, JobType, Text};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The manager on a bus.
const NAME: &str = "org.freedesktop.systemd1";
/// Who asks a manager for its signals as long as it runs.
const LISTENER: &str = "org.freedesktop.login1";
/// What is listened for on a bus. The bus says who sent a signal, and whose a name is.
const RULES: [&str; 2] = [
    "type='signal',sender='org.freedesktop.systemd1',path_namespace='/org/freedesktop/systemd1'",
    "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.systemd1'",
];
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const JOB: &str = "org.freedesktop.systemd1.Job";
/// Units that are asked for at once: the manager answers one after the other and has other things to do.
const AT_ONCE: usize = 16;
/// Most units that wait to be asked for.
const WAITING_MAX: usize = 65_536;
/// Most halves of changes that wait for their other half.
const HALVES_MAX: usize = 4096;

/// What an outstanding call asked.
#[derive(Debug)]
enum Question {
    Units,
    Jobs,
    Unit(Text),
    JobType(u32),
    /// Whether the manager makes its signals on this bus anyway.
    Listener,
    /// What the bus calls the manager.
    Owner,
}

/// How the manager is reached.
#[derive(Debug, Default, PartialEq, Eq)]
enum Way {
    #[default]
    Private,
    /// On a bus, where it has this name, once that is known.
    Bus(Option<String>),
    /// On a bus where it isn't, or where nobody else listens to it.
    Unfit,
}

/// A connection to a manager.
#[derive(Debug, Default)]
pub struct Observer {
    client: Client,
    questions: BTreeMap<u32, Question>,
    /// Units that are to be read.
    unread: VecDeque<Text>,
    /// How many are being read.
    reading: usize,
    /// Units that were read.
    known: BTreeSet<Text>,
    /// Changes of the unit's own kind, which come before those of all units.
    halves: BTreeMap<String, Change>,
    /// How often units were started again by themselves, of those that were.
    restarts: BTreeMap<Text, u32>,
    /// Units that were just now said to be: their next job is the restart, and needs no question.
    restarting: BTreeSet<Text>,
    seen: VecDeque<What>,
    /// The manager reads its configuration again.
    reloading: bool,
    /// The first reading is over.
    attached: bool,
    way: Way,
}

impl Observer {
    /// A connection that begins; its first questions are queued.
    pub fn new() -> Observer {
        let client = Client::new().only(properties::matters);
        let mut observer = Observer { client, ..Observer::default() };
        observer.begin();
        observer
    }

    /// A connection to a bus, of use where the manager makes its signals there for others too; else it ends
    /// with an error before anything was asked of the manager.
    pub fn on_bus() -> Observer {
        let client = Client::new().only(properties::matters).of_peer(NAME);
        let mut observer = Observer { client, way: Way::Bus(None), ..Observer::default() };
        let listener = observer.client.ask_bus("NameHasOwner", vec![LISTENER.into()]);
        observer.questions.insert(listener, Question::Listener);
        for rule in RULES {
            observer.client.ask_bus("AddMatch", vec![rule.into()]);
        }
        // After the rule that tells when that changes.
        let owner = observer.client.ask_bus("GetNameOwner", vec![NAME.into()]);
        observer.questions.insert(owner, Question::Owner);
        observer
    }

    fn begin(&mut self) {
        self.ask_manager("ListUnits", Question::Units);
        self.ask_manager("ListJobs", Question::Jobs);
    }

    /// Whether the manager is reached on a bus.
    pub fn is_on_bus(&self) -> bool {
        self.way != Way::Private
    }

    /// Whether the manager has said what there is.
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    fn ask_manager(&mut self, member: &'static str, question: Question) {
        let serial = self.client.call(ROOT, MANAGER, member, Vec::new());
        self.questions.insert(serial, question);
    }

    /// Takes bytes that arrived at this time; what they tell is in [`Observer::next_seen`] afterwards.
    ///
    /// # Errors
    /// The manager did not accept us, or sent something that is not D-Bus.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.client.receive(bytes)?;
        while let Some(incoming) = self.client.incoming()? {
            match incoming {
                Incoming::Signal(signal) if self.is_told_by_manager(&signal) => self.signal(&signal),
                Incoming::Signal(signal) => self.told_by_other(&signal),
                Incoming::Answer { serial, result } => {
                    if let Some(question) = self.questions.remove(&serial) {
                        self.answer(question, result.unwrap_or_default());
                    }
                }
            }
        }
        if self.way == Way::Unfit {
            return Err(ClientError::Rejected("the manager is not heard on this bus".into()));
        }
        self.read_on();
        Ok(())
    }

    /// Whoever is on a bus may send signals to whom they like: the bus says whose each is.
    fn is_told_by_manager(&self, signal: &Message) -> bool {
        match &self.way {
            Way::Private => true,
            Way::Bus(name) => name.is_some() && signal.fields.sender.as_deref() == name.as_deref(),
            Way::Unfit => false,
        }
    }

    /// The bus says that the manager has another name now, or none: it executed itself anew, or left.
    fn told_by_other(&mut self, signal: &Message) {
        let by_bus = signal.fields.sender.as_deref() == Some(DRIVER);
        let of = signal.body.first().and_then(Value::as_str);
        if by_bus && signal.fields.member.as_deref() == Some("NameOwnerChanged") && of == Some(NAME) {
            self.way = Way::Unfit;
        }
    }

    /// The next thing that was seen.
    pub fn next_seen(&mut self, at: Time) -> Option<Seen> {
        self.seen.pop_front().map(|what| Seen { at, what })
    }

    /// Bytes to write.
    pub fn outgoing(&self) -> &[u8] {
        self.client.outgoing()
    }

    /// The first `n` bytes of [`Observer::outgoing`] were written.
    pub fn sent(&mut self, n: usize) {
        self.client.sent(n);
    }

    fn want(&mut self, unit: &str) {
        if self.unread.len() < WAITING_MAX && !self.unread.iter().any(|known| &**known == unit) {
            self.unread.push_back(unit.into());
        }
    }

    /// A unit that nothing was known of does something. That there is one is no reason to ask for it: to ask
    /// for one that is being forgotten would have it loaded again.
    fn want_new(&mut self, unit: &str) {
        if !self.known.contains(unit) {
            self.want(unit);
        }
    }

    fn read_on(&mut self) {
        while self.reading < AT_ONCE
            && let Some(unit) = self.unread.pop_front()
        {
            let body = vec![Value::Str("".into())];
            let serial = self.client.call(unit_path(&unit), PROPERTIES, "GetAll", body);
            self.questions.insert(serial, Question::Unit(unit));
            self.reading += 1;
        }
        let asked = |q: &Question| !matches!(q, Question::JobType(_));
        if !self.attached && !self.questions.values().any(asked) && self.unread.is_empty() {
            self.attached = true;
            self.seen.push_back(What::Attached);
        }
    }

    fn signal(&mut self, signal: &Message) {
        let member = signal.fields.member.as_deref().unwrap_or("");
        let path = signal.fields.path.as_deref().unwrap_or("");
        let text = |at: usize| signal.body.get(at).and_then(Value::as_str).unwrap_or("");
        match member {
            "PropertiesChanged" => self.properties_changed(path, signal),
            "JobNew" => {
                let Some(Value::Uint32(id)) = signal.body.first() else { return };
                let unit: Text = text(2).into();
                self.want_new(&unit);
                let restarts = self.restarting.remove(&unit);
                self.seen.push_back(What::JobNew(*id, unit));
                if restarts {
                    return self.seen.push_back(What::JobIs(*id, JobType::Restart));
                }
                let body = vec![JOB.into(), "JobType".into()];
                let serial = self.client.call(job_path(*id), PROPERTIES, "Get", body);
                self.questions.insert(serial, Question::JobType(*id));
            }
            "JobRemoved" => {
                let Some(Value::Uint32(id)) = signal.body.first() else { return };
                let result = JobResult::parse(text(3)).unwrap_or(JobResult::Failed);
                self.seen.push_back(What::JobRemoved(*id, text(2).into(), result));
            }
            // A reload forgets all units and makes them anew: what is left of them is read afterwards.
            "UnitRemoved" if self.reloading => {}
            "UnitRemoved" => {
                let name: Text = text(0).into();
                self.halves.remove(&unit_path(&name));
                self.known.remove(&name);
                self.unread.retain(|known| *known != name);
                self.restarts.remove(&name);
                self.restarting.remove(&name);
                self.seen.push_back(What::Forgotten(name));
            }
            "Reloading" => {
                let begins = matches!(signal.body.first(), Some(Value::Bool(true)));
                self.seen.push_back(What::Reloading(begins));
                self.reloading = begins;
                if !begins {
                    self.ask_manager("ListUnits", Question::Units);
                }
            }
            _ => {}
        }
    }

    fn properties_changed(&mut self, path: &str, signal: &Message) {
        let Object::Unit(name) = Object::of(path) else { return };
        let interface = signal.body.first().and_then(Value::as_str).unwrap_or("");
        let Some(properties) = signal.body.get(1) else { return };
        let known = self.halves.remove(path).unwrap_or_default();
        let change = properties::change(known, properties);
        // Those of the kind come first, those that all units have follow at once.
        if interface == UNIT {
            self.want_new(&name);
            let name: Text = name.as_str().into();
            self.count_restarts(&name, &change);
            self.seen.push_back(What::Changed(name, Box::new(change)));
        } else {
            if self.halves.len() >= HALVES_MAX {
                self.halves.pop_first();
            }
            self.halves.insert(path.to_owned(), change);
        }
    }

    /// The manager counts a restart when it queues the job for it, and tells the count first.
    fn count_restarts(&mut self, name: &Text, change: &Change) {
        let Some(count) = change.restarts else { return };
        if self.restarts.len() >= WAITING_MAX {
            self.restarts.clear();
        }
        let before = self.restarts.insert(name.clone(), count);
        let waits = change.sub.as_deref().is_some_and(|sub| sub.starts_with("auto-restart"));
        if before.is_some_and(|before| count == before + 1) && waits {
            self.restarting.insert(name.clone());
        } else {
            self.restarting.remove(name);
        }
    }

    fn answer(&mut self, question: Question, body: Vec<Value>) {
        match question {
            Question::Units => {
                let before = std::mem::take(&mut self.known);
                let listed = |name: &Text| {
                    let rows = body.first().map(Value::items).unwrap_or_default();
                    rows.iter().any(|row| row.items().first().and_then(Value::as_str) == Some(name))
                };
                let gone = before.into_iter().filter(|name| !listed(name));
                self.seen.extend(gone.map(What::Forgotten));
                for row in body.first().map(Value::items).unwrap_or_default() {
                    if let Some(name) = row.items().first().and_then(Value::as_str) {
                        self.want(name);
                    }
                }
            }
            Question::Jobs => {
                for row in body.first().map(Value::items).unwrap_or_default() {
                    let row = row.items();
                    let Some(Value::Uint32(id)) = row.first() else { continue };
                    let text = |at: usize| row.get(at).and_then(Value::as_str).unwrap_or("");
                    if let Some(job_type) = JobType::parse(text(2)) {
                        self.seen.push_back(What::JobIs(*id, job_type));
                    }
                    self.seen.push_back(What::JobNew(*id, text(1).into()));
                }
            }
            Question::Unit(name) => {
                self.reading = self.reading.saturating_sub(1);
                if let Some(all) = body.first() {
                    self.known.insert(name.clone());
                    let mut state = properties::change(Change::default(), all);
                    if state.cgroup.as_deref().is_none_or(str::is_empty) {
                        state.cgroup = properties::likely_group(&name, all);
                    }
                    let edges = properties::edges(all);
                    let portrait = Portrait { name, edges, state, config: None, files: Vec::new() };
                    self.seen.push_back(What::Known(Box::new(portrait)));
                }
            }
            Question::Listener => {
                if body.first() != Some(&Value::Bool(true)) {
                    self.way = Way::Unfit;
                }
            }
            Question::Owner => match body.first().and_then(Value::as_str) {
                Some(name) if self.way == Way::Bus(None) => {
                    self.way = Way::Bus(Some(name.to_owned()));
                    self.client.call(ROOT, MANAGER, "Subscribe", Vec::new());
                    self.begin();
                }
                _ => self.way = Way::Unfit,
            },
            Question::JobType(id) => {
                let word = match body.first() {
                    Some(Value::Variant(word)) => word.as_str(),
                    _ => None,
                };
                if let Some(job_type) = word.and_then(JobType::parse) {
                    self.seen.push_back(What::JobIs(id, job_type));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    /// A bus that answers what was asked of it up to now.
    struct Side {
        observer: Observer,
        serial: u32,
    }

    impl Side {
        fn begin() -> Side {
            let mut side = Side { observer: Observer::on_bus(), serial: 100 };
            side.observer.receive(b"DATA\r\nOK 0123\r\n").expect("accepted");
            side
        }

        fn serial_of(&self, question: fn(&Question) -> bool) -> u32 {
            let all = self.observer.questions.iter();
            *all.clone().find(|(_, q)| question(q)).expect("it was asked").0
        }

        fn send(&mut self, mut message: Message, sender: &str) -> Result<(), ClientError> {
            message.fields.sender = Some(Cow::Owned(sender.to_owned()));
            let mut bytes = Vec::new();
            self.serial += 1;
            message.encode(self.serial, &mut bytes);
            self.observer.receive(&bytes)
        }

        /// The bus says whether somebody listens, and what the manager is called.
        fn answer(&mut self, listens: bool, owner: &str) -> Result<(), ClientError> {
            let listener = self.serial_of(|q| matches!(q, Question::Listener));
            let named = self.serial_of(|q| matches!(q, Question::Owner));
            self.send(Message::reply(listener, vec![Value::Bool(listens)]), DRIVER)?;
            self.send(Message::reply(named, vec![owner.to_owned().into()]), DRIVER)
        }

        fn reloading(&mut self, sender: &str) -> bool {
            let signal = Message::signal(ROOT, MANAGER, "Reloading").with(vec![Value::Bool(true)]);
            self.send(signal, sender).expect("it goes on");
            let seen = std::mem::take(&mut self.observer.seen);
            seen.iter().any(|what| matches!(what, What::Reloading(true)))
        }
    }

    #[test]
    fn on_a_bus_only_the_manager_is_heard() {
        let mut side = Side::begin();
        assert!(!side.reloading(":1.7"), "before it is known who the manager is");
        side.answer(true, ":1.7").expect("it goes on");
        assert!(side.observer.questions.values().any(|q| matches!(q, Question::Units)));
        assert!(!side.reloading(":1.8"), "anybody may send a signal");
        assert!(side.reloading(":1.7"));
        let gone = vec![NAME.into(), ":1.7".into(), "".into()];
        let owner = Message::signal("/org/freedesktop/DBus", DRIVER, "NameOwnerChanged").with(gone);
        side.send(owner.clone(), ":1.8").expect("who says so is not the bus");
        assert!(side.send(owner, DRIVER).is_err(), "the manager left the bus");
        assert!(side.observer.is_on_bus());
    }

    #[test]
    fn a_bus_where_nobody_listens_is_not_used() {
        let mut side = Side::begin();
        assert!(side.answer(false, ":1.7").is_err());
        assert!(!side.observer.is_attached());
        let asked = String::from_utf8_lossy(side.observer.outgoing()).into_owned();
        assert!(!asked.contains("Subscribe") && !asked.contains("ListUnits"), "{asked}");
    }
}
