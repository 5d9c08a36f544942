//! What clients of a message bus ask of its machine's manager: a connection that listens, and one that asks
//! the bus who they are. Neither is a party to anything.
//!
//! A listener is for the bus' administrator; a bus that does not let us listen says so.

use crate::client::{ClientError, DRIVER, DRIVER_PATH, HANDSHAKE, accept};
use crate::front::Object;
use crate::stream::{Inbox, Outbox};
use crate::wire::{FRAME_MAX, Kind, MESSAGE_MAX, Message, Value, frame_length};
use hence_ledger::Verb;
use hence_unit::JobMode;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

const MONITORING: &str = "org.freedesktop.DBus.Monitoring";
/// What is listened for.
const RULES: [&str; 4] = [
    "type='method_call',interface='org.freedesktop.systemd1.Manager'",
    "type='method_call',interface='org.freedesktop.systemd1.Unit'",
    "type='signal',interface='org.freedesktop.systemd1.Activator'",
    "type='method_call',interface='org.freedesktop.login1.Manager'",
];

/// A call that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The caller's name on the bus.
    pub sender: String,
    /// What it asks for.
    pub verb: Verb,
    /// In which mode.
    pub mode: JobMode,
    /// Of which units; none: of the whole.
    pub units: Vec<String>,
}

/// A connection to a bus, of which it sends what others say, or which is asked who they are.
#[derive(Debug)]
pub struct Ear {
    inbox: Inbox,
    outbox: Outbox,
    accepted: bool,
    /// Bytes of a message that is too long which are still to come.
    skip: usize,
    questions: BTreeMap<u32, String>,
    calls: VecDeque<Call>,
    known: VecDeque<(String, Option<(u32, u32)>)>,
    /// Why the bus does not let us listen.
    refused: Option<String>,
    listens: bool,
    listen_serial: u32,
}

impl Ear {
    fn begin() -> Ear {
        let mut outbox = Outbox::default();
        outbox.raw().extend_from_slice(HANDSHAKE);
        let mut ear = Ear {
            inbox: Inbox::new(MESSAGE_MAX),
            outbox,
            accepted: false,
            skip: 0,
            questions: BTreeMap::new(),
            calls: VecDeque::new(),
            known: VecDeque::new(),
            refused: None,
            listens: false,
            listen_serial: 0,
        };
        ear.ask(DRIVER, "Hello", Vec::new());
        ear
    }

    /// One that listens.
    pub fn listening() -> Ear {
        let mut ear = Ear::begin();
        let body = vec![Value::strings(RULES), 0u32.into()];
        ear.listen_serial = ear.ask(MONITORING, "BecomeMonitor", body);
        ear
    }

    /// One that asks who somebody is.
    pub fn asking() -> Ear {
        Ear::begin()
    }

    fn ask(&mut self, interface: &'static str, member: &'static str, body: Vec<Value>) -> u32 {
        let mut call = Message::call(DRIVER_PATH, interface, member).with(body);
        call.fields.destination = Some(Cow::Borrowed(DRIVER));
        self.outbox.push(&call)
    }

    /// Asks the bus who has this name.
    pub fn who_is(&mut self, name: &str) {
        let serial = self.ask(DRIVER, "GetConnectionCredentials", vec![name.to_owned().into()]);
        self.questions.insert(serial, name.to_owned());
    }

    /// Takes bytes that arrived.
    ///
    /// # Errors
    /// The bus did not accept us, or sent something that is not D-Bus.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.inbox.push(&bytes[skipped..]);
        if !self.accepted {
            self.accepted = accept(&mut self.inbox)?;
        }
        while self.accepted && self.skip == 0 {
            let pending = self.inbox.pending();
            // What others say to each other may be longer than anything that matters here.
            match frame_length(pending, FRAME_MAX).map_err(ClientError::Wire)? {
                Some(length) if length > MESSAGE_MAX => {
                    let there = pending.len().min(length);
                    self.inbox.take(there);
                    self.skip = length - there;
                    continue;
                }
                Some(_) => {}
                None => break,
            }
            let Some(message) = self.inbox.message().map_err(ClientError::Wire)? else { break };
            self.message(message);
        }
        Ok(())
    }

    fn message(&mut self, message: Message) {
        let reply = message.fields.reply_serial.unwrap_or(0);
        match message.kind {
            Kind::Return if reply == self.listen_serial && reply != 0 => self.listens = true,
            Kind::Error if reply == self.listen_serial && reply != 0 => {
                let text = message.body.first().and_then(Value::as_str).unwrap_or("refused");
                self.refused = Some(text.to_owned());
            }
            Kind::Return | Kind::Error => {
                if let Some(name) = self.questions.remove(&reply) {
                    self.known.push_back((name, credentials(&message)));
                }
            }
            Kind::Call | Kind::Signal => self.calls.extend(call_of(&message)),
        }
    }

    /// The next call that was seen.
    pub fn next_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// The next answer: a name, and the process and user that have it.
    pub fn next_known(&mut self) -> Option<(String, Option<(u32, u32)>)> {
        self.known.pop_front()
    }

    /// Whether the bus lets us listen; `Err`: why not.
    ///
    /// # Errors
    /// What the bus said.
    pub fn listens(&self) -> Result<bool, String> {
        match &self.refused {
            Some(text) => Err(text.clone()),
            None => Ok(self.listens),
        }
    }

    /// Bytes to write.
    pub fn outgoing(&self) -> &[u8] {
        self.outbox.pending()
    }

    /// The first `n` bytes of [`Ear::outgoing`] were written.
    pub fn sent(&mut self, n: usize) {
        self.outbox.sent(n);
    }
}

fn credentials(message: &Message) -> Option<(u32, u32)> {
    let entries = message.body.first()?.items();
    let of = |name: &str| {
        entries.iter().find_map(|entry| match entry {
            Value::Entry(pair) if pair.0.as_str() == Some(name) => match &pair.1 {
                Value::Variant(value) => match **value {
                    Value::Uint32(n) => Some(n),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
    };
    Some((of("ProcessID")?, of("UnixUserID")?))
}

/// What a message asks of the manager, where it asks for anything that matters.
fn call_of(message: &Message) -> Option<Call> {
    let member = message.fields.member.as_deref()?;
    let interface = message.fields.interface.as_deref()?;
    let text = |at: usize| message.body.get(at).and_then(Value::as_str);
    let mode = |at: usize| text(at).and_then(JobMode::parse).unwrap_or_default();
    let sender = message.fields.sender.as_deref()?.to_owned();
    let job = |verb, unit: Option<String>, mode: JobMode| {
        let verb = if mode == JobMode::Isolate { Verb::Isolate } else { verb };
        Some(Call { sender: sender.clone(), verb, mode, units: unit.into_iter().collect() })
    };
    if interface.ends_with(".Activator") {
        return (member == "ActivationRequest")
            .then(|| job(Verb::Start, text(0).map(str::to_owned), JobMode::default()))?;
    }
    if interface.ends_with(".login1.Manager") {
        let verb = match member {
            "PowerOff" | "PowerOffWithFlags" => Verb::PowerOff,
            "Reboot" | "RebootWithFlags" => Verb::Reboot,
            "Halt" | "HaltWithFlags" => Verb::Halt,
            _ => return None,
        };
        return job(verb, None, JobMode::default());
    }
    let word = member.strip_suffix("Unit").unwrap_or(member);
    let verb = match word {
        "Start" | "StartUnitReplace" => Verb::Start,
        "Stop" => Verb::Stop,
        "Restart" => Verb::Restart,
        "TryRestart" => Verb::TryRestart,
        "Reload" if member == "ReloadUnit" || interface.ends_with(".Unit") => Verb::Reload,
        "ReloadOrRestart" => Verb::ReloadOrRestart,
        "ReloadOrTryRestart" => Verb::ReloadOrTryRestart,
        "StartTransient" => Verb::StartTransient,
        "Kill" | "KillAll" => Verb::Kill,
        "Reload" => return job(Verb::DaemonReload, None, JobMode::default()),
        "Reexecute" => return job(Verb::DaemonReexec, None, JobMode::default()),
        "EnqueueUnitJob" | "Enqueue" | "EnqueueJob" => {
            let own = interface.ends_with(".Unit");
            let at = usize::from(!own);
            let verb = text(at).and_then(Verb::parse)?;
            let unit = if own { own_unit(message) } else { text(0).map(str::to_owned) };
            return job(verb, unit, mode(at + 1));
        }
        _ => return None,
    };
    if interface.ends_with(".Unit") {
        return job(verb, own_unit(message), mode(0));
    }
    let at = if member == "StartUnitReplace" { 2 } else { 1 };
    let mode = if verb == Verb::Kill { JobMode::default() } else { mode(at) };
    job(verb, text(0).map(str::to_owned), mode)
}

fn own_unit(message: &Message) -> Option<String> {
    match Object::of(message.fields.path.as_deref()?) {
        Object::Unit(name) => Some(name),
        _ => None,
    }
}
