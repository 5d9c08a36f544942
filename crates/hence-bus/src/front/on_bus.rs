//! The front on a message bus: one connection that stands for many callers. Whatever the bus says of them
//! and of names is `bus`'s; what their calls mean is the front's.

use super::{Answer, Caller, Command, Front, MANAGER, Model, Object, Origin, Pending, ROOT, Refusal, Verb};
use crate::bus::{Arrival, Bus, BusError, Call, Kept, News};
use crate::interface;
use crate::wire::{Message, NO_REPLY_EXPECTED, Value};
use hence_unit::JobMode;
use std::os::fd::OwnedFd;

/// The error by which those who wait for an activated unit hear that it failed.
const SPAWN_FAILED: &str = "org.freedesktop.DBus.Error.Spawn.Failed";

impl Front {
    /// A connection to a bus was made; an earlier one is forgotten. What it has to say comes by
    /// [`Front::poll_news`].
    pub fn open_bus(&mut self) {
        self.close_bus();
        self.bus = Some(Bus::new());
    }

    /// The connection to the bus is gone. What its callers asked for is still done, but not answered.
    pub fn close_bus(&mut self) {
        self.bus = None;
        self.bus_jobs.clear();
        self.activations.clear();
        self.pending.retain(|_, pending| matches!(pending.origin, Origin::Peer(_)));
    }

    /// Why the connection to the bus has to be closed, once it has to.
    pub fn bus_over(&self) -> Option<&BusError> {
        self.bus.as_ref().and_then(Bus::over)
    }

    /// Whether to read from the bus now.
    pub fn bus_wants_input(&self) -> bool {
        self.bus.as_ref().is_some_and(Bus::wants_input)
    }

    /// Bytes to write to the bus.
    pub fn bus_outgoing(&self) -> &[u8] {
        self.bus.as_ref().map_or(&[], Bus::outgoing)
    }

    /// Descriptors arrived in one read with the bytes that the next [`Front::bus_receive`] gets. Those that
    /// no call takes are closed.
    pub fn bus_attach(&mut self, descriptors: Vec<OwnedFd>) {
        if let Some(bus) = &mut self.bus {
            bus.attach(descriptors);
        }
    }

    /// Bytes arrived from the bus, at most [`crate::peer::READ_MAX`].
    ///
    /// # Errors
    /// The connection has to be closed.
    pub fn bus_receive(&mut self, bytes: &[u8], model: &mut dyn Model) -> Result<(), BusError> {
        let Some(bus) = &mut self.bus else { return Ok(()) };
        bus.receive(bytes)?;
        self.drain_bus(model)
    }

    /// The first `n` bytes of [`Front::bus_outgoing`] were written. Calls that waited for that are served.
    ///
    /// # Errors
    /// The connection has to be closed.
    pub fn bus_sent(&mut self, n: usize, model: &mut dyn Model) -> Result<(), BusError> {
        let Some(bus) = &mut self.bus else { return Ok(()) };
        let held_back = !bus.wants_input();
        bus.sent(n);
        if held_back { self.drain_bus(model) } else { Ok(()) }
    }

    /// What the binary is to know of the bus, in the order it happened.
    pub fn poll_news(&mut self) -> Option<News> {
        self.bus.as_mut().and_then(Bus::poll_news)
    }

    /// Tells by [`News::NameOwner`] whether this name is owned, now and whenever that changes.
    pub fn watch_name(&mut self, name: &str) {
        if let Some(bus) = &mut self.bus {
            bus.watch_name(name);
        }
    }

    /// No longer tells who owns this name.
    pub fn unwatch_name(&mut self, name: &str) {
        if let Some(bus) = &mut self.bus {
            bus.unwatch_name(name);
        }
    }

    /// What is kept for callers on the bus.
    pub fn kept_on_bus(&self) -> Vec<Kept> {
        self.bus.as_ref().map(Bus::kept).unwrap_or_default()
    }

    /// Keeps the same for them on the connection that was just opened; [`News::LetGo`] tells of those that
    /// are gone.
    pub fn keep_on_bus(&mut self, kept: &[Kept]) {
        if let Some(bus) = &mut self.bus {
            bus.keep_again(kept);
        }
    }

    /// Units that callers on the bus hold, so that they stay loaded; each as often as it is held.
    pub fn held_on_bus(&self) -> Vec<String> {
        self.bus.as_ref().map(Bus::held).unwrap_or_default()
    }

    /// A caller on the bus holds a unit once more, or once less; [`News::LetGo`] tells when it is gone. False
    /// where it is gone already.
    ///
    /// # Errors
    /// It holds too many, or does not hold this one.
    pub fn hold_on_bus(&mut self, caller: &str, unit: &str, hold: bool) -> Result<bool, Refusal> {
        self.bus.as_mut().map_or(Ok(false), |bus| bus.hold(caller, unit.to_owned(), hold))
    }

    fn drain_bus(&mut self, model: &mut dyn Model) -> Result<(), BusError> {
        while let Some(bus) = &mut self.bus {
            match bus.arrival()? {
                None => break,
                Some(Arrival::Activate { unit, caller }) => {
                    let command = Command::Enqueue {
                        unit: unit.clone(),
                        verb: Verb::Start,
                        mode: JobMode::Replace,
                        detailed: false,
                    };
                    let origin = Origin::Activation(unit);
                    self.hand_out(Pending { origin, serial: 0, output: "o", silent: true }, caller, command);
                }
                Some(Arrival::Call { sender, caller, call }) => {
                    self.serve_on_bus(sender, caller, *call, false, model);
                }
                Some(Arrival::Granted { sender, caller, call }) => {
                    // It counted as open while polkit was asked.
                    if let Some(open) = bus.open_requests(&sender) {
                        *open = open.saturating_sub(1);
                    }
                    self.serve_on_bus(sender, caller, *call, true, model);
                }
            }
        }
        self.bus_over().cloned().map_or(Ok(()), Err)
    }

    fn serve_on_bus(
        &mut self,
        sender: String,
        caller: Caller,
        call: Call,
        granted: bool,
        model: &mut dyn Model,
    ) {
        let Some(bus) = &mut self.bus else { return };
        let Call { message, descriptors } = call;
        let open_requests = bus.open_requests(&sender).map_or(0, |open| *open);
        let silent = message.flags & NO_REPLY_EXPECTED != 0;
        let origin = Origin::Bus(sender.clone());
        let answer = self.serve(&origin, caller, open_requests, (&message, &descriptors), granted, model);
        let Some(bus) = &mut self.bus else { return };
        match answer {
            None => {
                if let Some(open) = bus.open_requests(&sender) {
                    *open += 1;
                }
            }
            Some(answer) if !silent => bus.respond(&sender, message.serial, answer),
            Some(_) => {}
        }
    }

    /// Asks the controller of a scope to stop it. False where nobody can be reached.
    pub fn request_stop(&mut self, unit: &str, controller: &str) -> bool {
        let Some(bus) = self.bus.as_mut().filter(|bus| bus.over().is_none()) else { return false };
        let interface = "org.freedesktop.systemd1.Scope";
        let mut signal = Message::signal(super::unit_path(unit), interface, "RequestStop");
        signal.fields.destination = Some(controller.to_owned().into());
        bus.queue(&signal);
        true
    }

    /// Whether polkit owes any answer: then [`Front::polkit_tick`] is to be called every ten seconds.
    pub fn waits_for_polkit(&self) -> bool {
        self.bus.as_ref().is_some_and(Bus::waits_for_polkit)
    }

    /// Refuses all that waits for polkit, since its answers will not be heard.
    pub fn refuse_who_waits_for_polkit(&mut self) {
        if let Some(bus) = &mut self.bus {
            bus.refuse_all_asked();
        }
    }

    /// Ten seconds have passed: callers that polkit keeps waiting for too long are refused.
    pub fn polkit_tick(&mut self) {
        if let Some(bus) = &mut self.bus {
            bus.polkit_tick();
        }
    }

    pub(super) fn reply_on_bus(&mut self, pending: Pending, answer: Result<Answer, Refusal>) {
        let Some(bus) = &mut self.bus else { return };
        let job = match &answer {
            Ok(Answer::Job { job, .. }) => Some(job.id),
            _ => None,
        };
        match pending.origin {
            Origin::Peer(_) => {}
            Origin::Activation(unit) => match answer {
                Err(refusal) => bus.activation_failed(&unit, refusal.name.as_str(), refusal.text.into()),
                Ok(_) => drop(job.map(|job| self.activations.insert(job, unit))),
            },
            Origin::Bus(sender) => {
                if let Some(open) = bus.open_requests(&sender) {
                    *open = open.saturating_sub(1);
                }
                self.bus_jobs.extend(job);
                if !pending.silent {
                    let answer = answer.and_then(|answer| interface::body(&answer, pending.output));
                    bus.respond(&sender, pending.serial, answer);
                }
            }
        }
    }

    /// Who asked for a job on the bus hears of its end without having subscribed.
    pub(super) fn job_removed_on_bus(&mut self, id: u32, result: &str, body: impl FnOnce() -> Vec<Value>) {
        let (asked, activated) = (self.bus_jobs.remove(&id), self.activations.remove(&id));
        let Some(bus) = &mut self.bus else { return };
        if let Some(unit) = activated.filter(|_| result != "done") {
            let text = format!("Unit {unit} could not be started: its job ended as {result}.");
            bus.activation_failed(&unit, SPAWN_FAILED, text);
        }
        if asked && !bus.has_subscribers() {
            bus.queue(&Message::signal(ROOT, MANAGER, "JobRemoved").with(body()));
        }
    }

    /// Peers of ours are told of everything anyway, as systemd's are.
    pub(super) fn subscribe(&mut self, origin: &Origin, subscribe: bool) -> Result<Vec<Value>, Refusal> {
        match (origin, &mut self.bus) {
            (Origin::Bus(sender), Some(bus)) => bus.subscribe(sender, subscribe).map(|()| Vec::new()),
            _ => Ok(Vec::new()),
        }
    }
}

/// What rules of polkit may look at: the unit and the verb, where a call names them.
pub(super) fn details(message: &Message) -> Vec<(&'static str, String)> {
    let member = message.fields.member.as_deref().unwrap_or("");
    let verb = match member.strip_suffix("Unit").unwrap_or(member) {
        "Start" | "StartUnitWithFlags" | "StartUnitReplace" | "StartTransient" => "start",
        "Stop" => "stop",
        "Reload" if message.fields.path.as_deref() != Some(ROOT) || member.ends_with("Unit") => "reload",
        "Restart" => "restart",
        "TryRestart" => "try-restart",
        "ReloadOrRestart" => "reload-or-restart",
        "ReloadOrTryRestart" => "reload-or-try-restart",
        "Kill" => "kill",
        "ResetFailed" => "reset-failed",
        "SetProperties" | "SetUnitProperties" => "set-property",
        "Ref" => "ref",
        "Clean" => "clean",
        "Freeze" => "freeze",
        "Thaw" => "thaw",
        _ => return Vec::new(),
    };
    let unit = match Object::of(message.fields.path.as_deref().unwrap_or("/")) {
        Object::Unit(name) => Some(name),
        Object::Root => message.body.first().and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let unit = unit.filter(|name| hence_unit::UnitName::new(name).is_some());
    unit.map(|unit| ("unit", unit)).into_iter().chain([("verb", verb.to_owned())]).collect()
}
