//! Our side of a connection to a message bus: the handshake, the name that we serve under, who the callers
//! are, and who owns the names that are watched. It does no I/O and does not know what calls mean.
//!
//! A caller is served once the bus has said who it is, which is asked once and without waiting. What callers
//! can make us keep is bounded: how many are remembered, and how much of each waits for that answer. A
//! message that is too long, has too many descriptors or can't be read costs its sender an answer, not us the
//! connection.

mod polkit;

use crate::client::{ClientError, accept, line};
use crate::front::{ErrorName, Refusal};
use crate::peer::{Caller, DESCRIPTORS_MAX, Descriptor, OUTGOING_HIGH, OUTGOING_MAX, READ_MAX};
use crate::stream::{Inbox, Outbox};
use crate::wire::{
    FRAME_MAX, Kind, MESSAGE_MAX, Message, NO_REPLY_EXPECTED, Value, frame_length, is_bus_name,
};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Most callers that are remembered; those that hold nothing are forgotten first.
pub const CLIENTS_MAX: usize = 1024;
/// Most calls of one caller that wait until the bus has said who it is.
const WAITING_MAX: usize = 16;
/// Most bytes of all calls that wait for that.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most descriptors of all calls that wait for that.
const WAITING_DESCRIPTORS_MAX: usize = 8 * DESCRIPTORS_MAX;
/// Most units that one caller holds.
const HELD_MAX: usize = 256;

const HANDSHAKE: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
const DRIVER: &str = "org.freedesktop.DBus";
const DRIVER_PATH: &str = "/org/freedesktop/DBus";
/// The name that we ask for.
pub const OWN_NAME: &str = "org.freedesktop.systemd1";
/// RequestName: fail rather than wait where another owns it.
const DO_NOT_QUEUE: u32 = 4;

/// Why a connection to a bus is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusError {
    /// The handshake failed, or what arrives is not D-Bus.
    Protocol(ClientError),
    /// The bus sent more than was asked for.
    Flood,
    /// The bus does not read.
    Unread,
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BusError::Protocol(error) => error.fmt(f),
            BusError::Flood => f.write_str("more bytes than we were ready for"),
            BusError::Unread => write!(f, "more than {OUTGOING_MAX} bytes unread"),
        }
    }
}

impl std::error::Error for BusError {}

/// What the binary is to know of the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Clients reach us by our name.
    Serving,
    /// They don't; why. The connection stays, for the names that are watched.
    NotServing(String),
    /// Whether somebody owns a name that is watched.
    NameOwner {
        /// The name.
        name: String,
        /// Whether it is owned.
        owned: bool,
    },
    /// Who held these units is gone.
    LetGo(Vec<String>),
}

/// What arrived and has to be served.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A call.
    Call {
        /// The caller's name on the bus.
        sender: String,
        /// Who it is.
        caller: Caller,
        /// The call.
        call: Box<Call>,
    },
    /// A call that polkit lets through.
    Granted {
        /// The caller's name on the bus.
        sender: String,
        /// Who it is.
        caller: Caller,
        /// The call.
        call: Box<Call>,
    },
    /// The bus wants this unit to be started, for somebody who called a name that nobody owns.
    Activate {
        /// The unit.
        unit: String,
        /// The bus itself: it does not say who called.
        caller: Caller,
    },
}

/// A call and what came with it.
#[derive(Debug)]
pub(crate) struct Call {
    /// Its message.
    pub message: Message,
    /// Its descriptors, as many as it names.
    pub descriptors: Vec<Descriptor>,
}

/// How far the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handshake {
    /// The bus has not said yet that it takes us.
    Begun,
    /// It has not said yet whether descriptors may come.
    Accepted,
    /// Messages follow.
    Over,
}

/// Descriptors that came with bytes. One that the kernel hands over comes with the first bytes of its message
/// and ends that read, so the last of the bytes belongs to that message.
#[derive(Debug)]
struct Batch {
    /// Which byte of all that came was the last.
    last: u64,
    descriptors: Vec<Descriptor>,
}

/// What an outstanding call to the bus asked.
#[derive(Debug)]
enum Question {
    /// Our own name.
    OwnName,
    /// Who a caller is.
    Caller(String),
    /// Who the bus is.
    Driver,
    /// Whether a watched name is owned.
    Owner(String),
    /// Whether a caller that is kept in mind is still there.
    Alive(String),
    /// Whether a caller may do what it asks for.
    Polkit,
    /// Nothing that matters.
    Other,
}

/// What is kept for a caller: its name on the bus, whether it is told of changes, the units that it holds.
pub type Kept = (String, bool, Vec<String>);

#[derive(Debug, Default)]
struct Client {
    caller: Option<Caller>,
    waiting: Vec<Call>,
    waiting_bytes: usize,
    open_requests: u32,
    subscribed: bool,
    /// The same unit as often as it was asked for.
    held: Vec<String>,
    used: u64,
}

impl Client {
    fn is_kept(&self) -> bool {
        self.subscribed || !self.held.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.caller.is_some() && self.open_requests == 0 && !self.is_kept()
    }
}

/// A connection to a bus.
#[derive(Debug)]
pub struct Bus {
    inbox: Inbox,
    outbox: Outbox,
    handshake: Handshake,
    /// How many bytes came.
    received: u64,
    /// Descriptors of bytes that are still in the inbox.
    batches: VecDeque<Batch>,
    /// Those that come with the next bytes.
    attached: Vec<Descriptor>,
    over: Option<BusError>,
    questions: BTreeMap<u32, Question>,
    driver: Caller,
    clients: BTreeMap<String, Client>,
    ready: VecDeque<(String, Call)>,
    activations: VecDeque<String>,
    /// Calls that wait for polkit, by our question's number.
    asked: BTreeMap<u32, polkit::Asked>,
    /// Calls that polkit lets through.
    granted: VecDeque<(String, Caller, Call)>,
    waiting_bytes: usize,
    waiting_descriptors: usize,
    names: BTreeSet<String>,
    news: VecDeque<News>,
    /// Bytes of a message that is too long which are still to come.
    skip: usize,
    turn: u64,
}

impl Default for Bus {
    fn default() -> Bus {
        Bus::new()
    }
}

impl Bus {
    /// A connection that begins; its first questions are queued.
    pub fn new() -> Bus {
        let mut outbox = Outbox::default();
        outbox.raw().extend_from_slice(HANDSHAKE);
        let mut bus = Bus {
            inbox: Inbox::new(MESSAGE_MAX),
            outbox,
            handshake: Handshake::Begun,
            received: 0,
            batches: VecDeque::new(),
            attached: Vec::new(),
            over: None,
            questions: BTreeMap::new(),
            driver: Caller { pid: 0, uid: 0 },
            clients: BTreeMap::new(),
            ready: VecDeque::new(),
            activations: VecDeque::new(),
            asked: BTreeMap::new(),
            granted: VecDeque::new(),
            waiting_bytes: 0,
            waiting_descriptors: 0,
            names: BTreeSet::new(),
            news: VecDeque::new(),
            skip: 0,
            turn: 0,
        };
        bus.ask("Hello", Vec::new(), Question::Other);
        bus.ask("GetConnectionCredentials", vec![DRIVER.into()], Question::Driver);
        bus.ask("RequestName", vec![OWN_NAME.into(), DO_NOT_QUEUE.into()], Question::OwnName);
        bus
    }

    fn ask(&mut self, member: &'static str, body: Vec<Value>, question: Question) {
        let mut call = Message::call(DRIVER_PATH, DRIVER, member).with(body);
        call.fields.destination = Some(Cow::Borrowed(DRIVER));
        let serial = self.outbox.push(&call);
        self.questions.insert(serial, question);
    }

    fn end(&mut self, error: BusError) -> BusError {
        self.over = Some(error.clone());
        self.outbox.clear();
        self.ready.clear();
        self.asked.clear();
        self.granted.clear();
        self.batches.clear();
        self.attached.clear();
        error
    }

    /// Why it is over, once it is.
    pub fn over(&self) -> Option<&BusError> {
        self.over.as_ref()
    }

    /// Whether to read now: not while our answers pile up.
    pub fn wants_input(&self) -> bool {
        self.over.is_none() && self.outbox.pending().len() < OUTGOING_HIGH
    }

    /// Bytes to write.
    pub fn outgoing(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// The first `n` bytes of [`Bus::outgoing`] were written.
    pub fn sent(&mut self, n: usize) {
        self.outbox.sent(n);
    }

    /// Takes descriptors that arrived in one read with the bytes that the next [`Bus::receive`] gets. More
    /// than one message may have are closed, and their message is refused.
    pub fn attach(&mut self, descriptors: Vec<OwnedFd>) {
        if self.over.is_none() && descriptors.len() <= DESCRIPTORS_MAX {
            self.attached = descriptors.into_iter().map(|fd| Descriptor(Arc::new(fd))).collect();
        }
    }

    /// Takes bytes that arrived, at most [`READ_MAX`].
    ///
    /// # Errors
    /// The connection is over.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), BusError> {
        if let Some(error) = &self.over {
            return Err(error.clone());
        }
        if self.inbox.pending().len() + bytes.len() > MESSAGE_MAX + OUTGOING_HIGH + READ_MAX {
            return Err(self.end(BusError::Flood));
        }
        self.inbox.push(bytes);
        self.received += bytes.len() as u64;
        let descriptors = std::mem::take(&mut self.attached);
        if !descriptors.is_empty() && !bytes.is_empty() {
            self.batches.push_back(Batch { last: self.received - 1, descriptors });
        }
        self.shake_hands().map_err(|error| self.end(BusError::Protocol(error)))
    }

    fn shake_hands(&mut self) -> Result<(), ClientError> {
        if self.handshake == Handshake::Begun && accept(&mut self.inbox)? {
            self.handshake = Handshake::Accepted;
        }
        // Where descriptors are refused (`ERROR`), everything else works.
        if self.handshake == Handshake::Accepted && line(&mut self.inbox)?.is_some() {
            self.handshake = Handshake::Over;
        }
        Ok(())
    }

    /// The descriptors of the next `length` bytes of the inbox, which are to be taken out of it now.
    fn descriptors(&mut self, length: usize) -> Vec<Descriptor> {
        let end = self.received - self.inbox.pending().len() as u64 + length as u64;
        let mut descriptors = Vec::new();
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.last < end) {
            descriptors.extend(batch.descriptors);
        }
        descriptors
    }

    /// The next news.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// No longer tells who owns this name.
    pub fn unwatch_name(&mut self, name: &str) {
        if self.names.remove(name) {
            self.ask("RemoveMatch", vec![owner_rule(name)], Question::Other);
        }
    }

    /// Tells by [`News::NameOwner`] whether this name is owned, now and whenever that changes.
    pub fn watch_name(&mut self, name: &str) {
        if !is_bus_name(name) {
            return;
        }
        if self.names.insert(name.to_owned()) {
            self.ask("AddMatch", vec![owner_rule(name)], Question::Other);
        }
        self.ask("GetNameOwner", vec![name.to_owned().into()], Question::Owner(name.to_owned()));
    }

    /// What is to be served next, `None` when there is nothing yet or when answers pile up.
    pub(crate) fn arrival(&mut self) -> Result<Option<Arrival>, BusError> {
        loop {
            if self.handshake != Handshake::Over || !self.wants_input() {
                return Ok(None);
            }
            if let Some(unit) = self.activations.pop_front() {
                return Ok(Some(Arrival::Activate { unit, caller: self.driver }));
            }
            if let Some((sender, caller, call)) = self.granted.pop_front() {
                return Ok(Some(Arrival::Granted { sender, caller, call: Box::new(call) }));
            }
            if let Some((sender, call)) = self.ready.pop_front() {
                if let Some(caller) = self.clients.get(&sender).and_then(|client| client.caller) {
                    return Ok(Some(Arrival::Call { sender, caller, call: Box::new(call) }));
                }
                continue;
            }
            match self.message()? {
                Some((call, length)) => self.arrived(call, length),
                None => return Ok(None),
            }
        }
    }

    /// The next message and its length. What is too long or can't be read is passed over.
    fn message(&mut self) -> Result<Option<(Call, usize)>, BusError> {
        loop {
            let passed = self.skip.min(self.inbox.pending().len());
            self.descriptors(passed);
            self.inbox.take(passed);
            self.skip -= passed;
            if self.skip > 0 {
                return Ok(None);
            }
            let length = match frame_length(self.inbox.pending(), FRAME_MAX) {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.end(BusError::Protocol(ClientError::Wire(error)))),
            };
            if length > MESSAGE_MAX {
                let Some(header) = Message::header_length(self.inbox.pending()) else { return Ok(None) };
                if header <= MESSAGE_MAX && self.inbox.pending().len() < header {
                    return Ok(None);
                }
                self.pass_over(ErrorName::LimitsExceeded, "The message is too long.");
                self.skip = length;
                continue;
            }
            let Some(frame) = self.inbox.pending().get(..length) else { return Ok(None) };
            match Message::decode(frame) {
                Ok(message) => {
                    let descriptors = self.descriptors(length);
                    let fits = message.as_ref().is_none_or(|m| m.fields.fds as usize == descriptors.len());
                    if !fits {
                        self.pass_over(ErrorName::LimitsExceeded, "Descriptors are missing or too many.");
                    }
                    self.inbox.take(length);
                    if let Some(message) = message.filter(|_| fits) {
                        return Ok(Some((Call { message, descriptors }, length)));
                    }
                }
                Err(error) => {
                    self.pass_over(ErrorName::InvalidArgs, error.0);
                    self.descriptors(length);
                    self.inbox.take(length);
                }
            }
        }
    }

    /// Answers the message in front, if it is a call whose header can be read.
    fn pass_over(&mut self, name: ErrorName, text: &'static str) {
        let Ok(header) = Message::decode_header(self.inbox.pending()) else { return };
        let silent = header.flags & NO_REPLY_EXPECTED != 0;
        if let (Kind::Call, false, Some(sender)) = (header.kind, silent, header.fields.sender) {
            self.respond(&sender, header.serial, Err(Refusal::new(name, text)));
        }
    }

    fn arrived(&mut self, call: Call, length: usize) {
        let message = &call.message;
        let Some(sender) = message.fields.sender.clone() else { return };
        match message.kind {
            Kind::Call => self.called(sender.into_owned(), call, length),
            Kind::Signal if sender == DRIVER => self.signalled(message),
            Kind::Signal => {}
            Kind::Return | Kind::Error => {
                let serial = message.fields.reply_serial.unwrap_or(0);
                let of_polkit = matches!(self.questions.get(&serial), Some(Question::Polkit));
                // The bus lets through answers to what was asked only, and from whom it was asked.
                if of_polkit {
                    self.questions.remove(&serial);
                    let failed = message.kind == Kind::Error;
                    let message = call.message;
                    self.polkit_answered(serial, if failed { Err(message) } else { Ok(message.body) });
                    return;
                }
                if sender != DRIVER {
                    return;
                }
                if let Some(question) = self.questions.remove(&serial) {
                    let failed = message.kind == Kind::Error;
                    let message = call.message;
                    self.answered(question, if failed { Err(message) } else { Ok(message.body) });
                }
            }
        }
    }

    fn called(&mut self, sender: String, call: Call, length: usize) {
        let silent = call.message.flags & NO_REPLY_EXPECTED != 0;
        let (serial, descriptors) = (call.message.serial, call.descriptors.len());
        let refuse = |bus: &mut Bus, text: &'static str| {
            if !silent {
                bus.respond(&sender, serial, Err(Refusal::new(ErrorName::LimitsExceeded, text)));
            }
        };
        self.turn += 1;
        let turn = self.turn;
        if !self.clients.contains_key(&sender) {
            if self.clients.len() >= CLIENTS_MAX && !self.forget_one() {
                return refuse(self, "Too many clients at once.");
            }
            let question = Question::Caller(sender.clone());
            self.ask("GetConnectionCredentials", vec![sender.clone().into()], question);
        }
        let client = self.clients.entry(sender.clone()).or_default();
        client.used = turn;
        if client.caller.is_some() {
            self.ready.push_back((sender, call));
        } else if client.waiting.len() >= WAITING_MAX
            || self.waiting_bytes + length > WAITING_BYTES_MAX
            || self.waiting_descriptors + descriptors > WAITING_DESCRIPTORS_MAX
        {
            refuse(self, "Too many calls at once.");
        } else {
            client.waiting.push(call);
            client.waiting_bytes += length;
            self.waiting_bytes += length;
            self.waiting_descriptors += descriptors;
        }
    }

    /// Makes room for another caller; false where all that are remembered have something outstanding.
    fn forget_one(&mut self) -> bool {
        let idle = self.clients.iter().filter(|(_, client)| client.is_idle());
        let oldest = idle.min_by_key(|(_, client)| client.used).map(|(name, _)| name.clone());
        oldest.is_some_and(|name| self.clients.remove(&name).is_some())
    }

    fn answered(&mut self, question: Question, answer: Result<Vec<Value>, Message>) {
        match question {
            Question::Other | Question::Polkit => {}
            Question::OwnName => self.news.push_back(match answer {
                Ok(body) if matches!(body.first(), Some(Value::Uint32(1 | 4))) => News::Serving,
                Ok(_) => News::NotServing("another process has that name".into()),
                Err(error) => {
                    let text = error.body.first().and_then(Value::as_str);
                    News::NotServing(text.unwrap_or("the bus refuses it").to_owned())
                }
            }),
            Question::Driver => {
                if let Ok(body) = answer {
                    self.driver = credentials(&body).unwrap_or(self.driver);
                }
            }
            Question::Caller(sender) => match answer.ok().and_then(|body| credentials(&body)) {
                Some(caller) => self.known(sender, caller),
                None => self.gone(&sender),
            },
            Question::Alive(sender) if answer.is_err() => self.gone(&sender),
            Question::Alive(_) => {}
            Question::Owner(name) => {
                let owned = answer.is_ok();
                self.news.push_back(News::NameOwner { name, owned });
            }
        }
    }

    fn known(&mut self, sender: String, caller: Caller) {
        let Some(client) = self.clients.get_mut(&sender) else { return };
        client.caller = Some(caller);
        self.waiting_bytes -= std::mem::take(&mut client.waiting_bytes);
        let waiting = std::mem::take(&mut client.waiting);
        self.waiting_descriptors -= waiting.iter().map(|call| call.descriptors.len()).sum::<usize>();
        self.ready.extend(waiting.into_iter().map(|call| (sender.clone(), call)));
    }

    fn gone(&mut self, sender: &str) {
        self.forget_asked(sender);
        let Some(client) = self.clients.remove(sender) else { return };
        self.waiting_bytes -= client.waiting_bytes;
        self.waiting_descriptors -= client.waiting.iter().map(|call| call.descriptors.len()).sum::<usize>();
        if client.is_kept() {
            self.ask("RemoveMatch", vec![owner_rule(sender)], Question::Other);
        }
        if !client.held.is_empty() {
            self.news.push_back(News::LetGo(client.held));
        }
    }

    fn signalled(&mut self, message: &Message) {
        let interface = message.fields.interface.as_deref().unwrap_or("");
        let member = message.fields.member.as_deref().unwrap_or("");
        let text = |at: usize| message.body.get(at).and_then(Value::as_str).unwrap_or("").to_owned();
        match (interface, member) {
            (DRIVER, "NameOwnerChanged") => {
                let (name, owned) = (text(0), !text(2).is_empty());
                if !owned {
                    self.gone(&name);
                }
                if self.names.contains(&name) {
                    self.news.push_back(News::NameOwner { name, owned });
                }
            }
            (DRIVER, "NameLost") if text(0) == OWN_NAME => {
                self.news.push_back(News::NotServing("another process took that name".into()));
            }
            ("org.freedesktop.systemd1.Activator", "ActivationRequest")
                if self.activations.len() < CLIENTS_MAX =>
            {
                self.activations.push_back(text(0));
            }
            _ => {}
        }
    }

    /// Answers a caller.
    pub(crate) fn respond(&mut self, to: &str, serial: u32, answer: Result<Vec<Value>, Refusal>) {
        let mut message = match answer {
            Ok(body) => Message::reply(serial, body),
            Err(refusal) => Message::error(serial, refusal.name.as_str(), refusal.text),
        };
        message.fields.destination = Some(Cow::Owned(to.to_owned()));
        self.queue(&message);
    }

    /// Sends a message.
    pub(crate) fn queue(&mut self, message: &Message) {
        if self.over.is_some() {
            return;
        }
        self.outbox.push(message);
        if self.outbox.pending().len() > OUTGOING_MAX {
            self.end(BusError::Unread);
        }
    }

    /// Tells the bus that a unit that it asked for does not come up.
    pub(crate) fn activation_failed(&mut self, unit: &str, error: &'static str, text: String) {
        let interface = "org.freedesktop.systemd1.Activator";
        let body = vec![unit.to_owned().into(), error.into(), text.into()];
        let path = "/org/freedesktop/systemd1";
        let mut signal = Message::signal(path, interface, "ActivationFailure").with(body);
        signal.fields.destination = Some(Cow::Borrowed(DRIVER));
        self.queue(&signal);
    }

    /// Whether any caller wants to be told of everything.
    pub(crate) fn has_subscribers(&self) -> bool {
        self.clients.values().any(|client| client.subscribed)
    }

    /// Whether any caller wants to be told of this unit: whoever holds it is, as if it had subscribed.
    pub(crate) fn follows(&self, unit: &str) -> bool {
        self.clients.values().any(|client| client.subscribed || client.held.iter().any(|held| held == unit))
    }

    /// Whether any caller wants to be told of anything.
    pub(crate) fn has_followers(&self) -> bool {
        self.clients.values().any(Client::is_kept)
    }

    /// What callers hold.
    pub(crate) fn held(&self) -> Vec<String> {
        self.clients.values().flat_map(|client| client.held.iter().cloned()).collect()
    }

    /// How many requests of a caller are outstanding.
    pub(crate) fn open_requests(&mut self, sender: &str) -> Option<&mut u32> {
        self.clients.get_mut(sender).map(|client| &mut client.open_requests)
    }

    /// A caller wants to be told of everything, or no longer.
    pub(crate) fn subscribe(&mut self, sender: &str, subscribe: bool) -> Result<(), Refusal> {
        let Some(client) = self.clients.get_mut(sender) else { return Ok(()) };
        match (client.subscribed, subscribe) {
            (true, true) => Err(Refusal::new(ErrorName::AlreadySubscribed, "Client is already subscribed.")),
            (false, false) => Err(Refusal::new(ErrorName::NotSubscribed, "Client is not subscribed.")),
            _ => {
                self.keep(sender, |client| client.subscribed = subscribe);
                Ok(())
            }
        }
    }

    /// A caller holds a unit once more, or once less. Whether that is news.
    pub(crate) fn hold(&mut self, sender: &str, unit: String, hold: bool) -> Result<bool, Refusal> {
        let Some(client) = self.clients.get_mut(sender) else { return Ok(false) };
        let known = client.held.iter().position(|held| *held == unit);
        if !hold && known.is_none() {
            return Err(Refusal::new(ErrorName::NotReferenced, "Unit has not been referenced yet."));
        }
        if hold && client.held.len() >= HELD_MAX {
            return Err(Refusal::new(ErrorName::LimitsExceeded, "Too many units are referenced."));
        }
        self.keep(sender, |client| match known {
            Some(at) if !hold => drop(client.held.swap_remove(at)),
            _ => client.held.push(unit),
        });
        Ok(true)
    }

    /// Callers that something is kept for: who, whether it is told of changes, what it holds.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let kept = self.clients.iter().filter(|(_, client)| client.is_kept());
        kept.map(|(sender, client)| (sender.clone(), client.subscribed, client.held.clone())).collect()
    }

    /// The same callers on another connection, as far as they are still there: their names stay.
    pub(crate) fn keep_again(&mut self, kept: &[Kept]) {
        for (sender, subscribed, held) in kept {
            let question = Question::Caller(sender.clone());
            self.ask("GetConnectionCredentials", vec![sender.clone().into()], question);
            self.clients.entry(sender.clone()).or_default();
            self.keep(sender, |client| {
                client.subscribed |= subscribed;
                client.held.extend(held.iter().take(HELD_MAX).cloned());
            });
        }
    }

    /// Changes what is kept for a caller, whose end is watched for as long as there is anything.
    fn keep(&mut self, sender: &str, change: impl FnOnce(&mut Client)) {
        let Some(client) = self.clients.get_mut(sender) else { return };
        let before = client.is_kept();
        change(client);
        match (before, client.is_kept()) {
            (false, true) => {
                self.ask("AddMatch", vec![owner_rule(sender)], Question::Other);
                let question = Question::Alive(sender.to_owned());
                self.ask("GetNameOwner", vec![sender.to_owned().into()], question);
            }
            (true, false) => self.ask("RemoveMatch", vec![owner_rule(sender)], Question::Other),
            _ => {}
        }
    }
}

/// What to match to hear when the owner of this name changes.
fn owner_rule(name: &str) -> Value {
    let rule = format!(
        "type='signal',sender='{DRIVER}',path='{DRIVER_PATH}',interface='{DRIVER}',\
         member='NameOwnerChanged',arg0='{name}'"
    );
    rule.into()
}

/// Process and user of an `a{sv}` as GetConnectionCredentials gives it. A process that the bus doesn't know
/// is 0; without a user there is nobody.
fn credentials(body: &[Value]) -> Option<Caller> {
    let number = |wanted: &str| {
        let entries = body.first().map_or(&[][..], Value::items);
        entries.iter().find_map(|entry| match entry {
            Value::Entry(pair) if pair.0.as_str() == Some(wanted) => match &pair.1 {
                Value::Variant(inner) => match **inner {
                    Value::Uint32(number) => Some(number),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
    };
    Some(Caller { uid: number("UnixUserID")?, pid: number("ProcessID").unwrap_or(0) })
}
