//! Which object, interface and method a call means, and the interfaces that all objects have. It answers
//! questions and leaves what changes something to the binary.

use super::introspect;
use super::{Caller, Command, Descriptor, ErrorName, JobView, ManagerView, Model, Object, Refusal, UnitView};
use crate::interface::access::{self, Access, Rule};
use crate::interface::row::View;
use crate::interface::{Call, Emits, Interface, Method, Turn, job, kinds, manager, unit};
use crate::wire::{Entries, Message, Value};
use hence_unit::{UnitKind, UnitName};

const PEER: &str = "org.freedesktop.DBus.Peer";
const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// How a call goes on.
pub enum Step {
    /// It is answered.
    Reply(Vec<Value>),
    /// The binary answers it, with this signature.
    Ask(Command, &'static str),
    /// The caller is told of everything from now on, or no longer.
    Subscribe(bool),
    /// Only polkit can allow it, as this action of org.freedesktop.systemd1.
    Authorize(&'static str),
}

/// What a caller may do.
pub enum Standing<'a> {
    /// Everything.
    Privileged,
    /// Look.
    Guest {
        /// Units that may still be loaded for guests; each is counted here.
        loads: &'a mut u32,
    },
}

/// Serves a call as far as that is possible without changing anything.
pub fn dispatch(
    message: &Message,
    descriptors: &[Descriptor],
    caller: Caller,
    standing: Standing<'_>,
    model: &mut dyn Model,
) -> Result<Step, Refusal> {
    let path = message.fields.path.as_deref().unwrap_or("/");
    let interface = message.fields.interface.as_deref();
    let member = message.fields.member.as_deref().unwrap_or("");
    let is = |name: &str| interface.is_none_or(|interface| interface == name);
    let object = Object::of(path);

    let guest = matches!(standing, Standing::Guest { .. });
    let mut unlimited = u32::MAX;
    let loads = match standing {
        Standing::Privileged => &mut unlimited,
        Standing::Guest { loads } => loads,
    };
    if is(PEER) && matches!(member, "Ping" | "GetMachineId") {
        check(message, PEER, "")?;
        let id = if member == "Ping" { Vec::new() } else { vec![model.machine_id().into()] };
        return Ok(Step::Reply(id));
    }
    // Clients made for a bus say hello, which the front answers, and subscribe; all signals come anyway.
    if interface == Some(BUS) && path == "/org/freedesktop/DBus" {
        return match member {
            "AddMatch" | "RemoveMatch" => Ok(Step::Reply(Vec::new())),
            _ => Err(unknown_method(member, BUS)),
        };
    }
    let target = Target::of(&object, path, caller, model)?;
    if is(INTROSPECTABLE) && member == "Introspect" {
        check(message, INTROSPECTABLE, "")?;
        return Ok(Step::Reply(vec![introspect::describe(path, &object, &target, model).into()]));
    }
    if is(PROPERTIES) && matches!(member, "Get" | "GetAll" | "Set") {
        let expected = match member {
            "Get" => "ss",
            "GetAll" => "s",
            _ => "ssv",
        };
        if guest {
            let _ = permit(access::standard, PROPERTIES, member)?;
        }
        check(message, PROPERTIES, expected)?;
        return properties(message, member, &target, model, loads).map(Step::Reply);
    }
    let Some(method) = target.method(interface, member) else {
        return Err(unknown_method(member, interface.unwrap_or("")));
    };
    if guest && let Some(action) = permit(target.access(), interface.unwrap_or(""), member)? {
        return Ok(Step::Authorize(action));
    }
    check(message, interface.unwrap_or(""), method.input())?;
    let mut call = Call { caller, object: &object, arguments: &message.body, descriptors, model, loads };
    Ok(match method.act(&mut call)? {
        Turn::Reply(body) => Step::Reply(body),
        Turn::Ask(command) => Step::Ask(command, method.output()),
        Turn::Subscribe(subscribe) => Step::Subscribe(subscribe),
    })
}

/// Lets through what anybody may call, or names the action that polkit is to be asked for.
fn permit(rule: Rule, interface: &str, member: &str) -> Result<Option<&'static str>, Refusal> {
    let text = match rule(member) {
        Access::Open => return Ok(None),
        Access::Action(action) => return Ok(Some(action)),
        Access::Privileged => format!("Access to {interface}.{member}() not permitted."),
    };
    Err(Refusal::new(ErrorName::AccessDenied, text))
}

fn unknown_method(member: &str, interface: &str) -> Refusal {
    let text = format!("Unknown method {member} or interface {interface}.");
    Refusal::new(ErrorName::UnknownMethod, text)
}

fn check(message: &Message, interface: &str, expected: &str) -> Result<(), Refusal> {
    let signature = message.signature();
    if signature == expected {
        return Ok(());
    }
    let member = message.fields.member.as_deref().unwrap_or("");
    let text =
        format!("Invalid arguments '{signature}' to call {interface}.{member}(), expecting '{expected}'.");
    Err(Refusal::new(ErrorName::InvalidArgs, text))
}

/// An object that exists, as far as that can be told without loading it.
pub enum Target {
    /// A path that only has others below it.
    Node,
    /// The whole.
    Root,
    /// A unit.
    Unit(String, UnitKind),
    /// A job.
    Job(JobView),
}

impl Target {
    fn of(object: &Object, path: &str, caller: Caller, model: &mut dyn Model) -> Result<Target, Refusal> {
        let unknown = || Refusal::new(ErrorName::UnknownObject, format!("Unknown object '{path}'."));
        let unit = |name: String| match UnitName::new(&name) {
            Some(valid) => Ok(Target::Unit(name, valid.kind())),
            None => Err(unknown()),
        };
        match object {
            Object::Unknown => Err(unknown()),
            Object::Node(_) => Ok(Target::Node),
            Object::Root => Ok(Target::Root),
            Object::Unit(name) => unit(name.clone()),
            Object::OwnUnit => unit(crate::interface::unit_of_pid(model, caller.pid)?),
            Object::Job(id) => {
                let found = model.jobs().into_iter().find(|job| job.id == *id);
                found.map(Target::Job).ok_or_else(unknown)
            }
        }
    }

    fn access(&self) -> Rule {
        match self {
            Target::Node => access::standard,
            Target::Root => access::manager,
            Target::Unit(..) => access::unit,
            Target::Job(_) => access::job,
        }
    }

    fn method(&self, interface: Option<&str>, member: &str) -> Option<Method> {
        fn within<V: View>(rows: &Interface<V>, interface: Option<&str>, member: &str) -> Option<Method> {
            if interface.is_none_or(|name| name == rows.name) { rows.method(member) } else { None }
        }
        match self {
            Target::Node => None,
            Target::Root => within(&manager::INTERFACE, interface, member),
            Target::Unit(_, kind) => within(&unit::INTERFACE, interface, member)
                .or_else(|| within(kinds::interface(*kind), interface, member)),
            Target::Job(_) => within(&job::INTERFACE, interface, member),
        }
    }
}

/// `Get`, `GetAll` and `Set`. systemctl asks for all interfaces at once by the empty name.
fn properties(
    message: &Message,
    member: &str,
    target: &Target,
    model: &mut dyn Model,
    loads: &mut u32,
) -> Result<Vec<Value>, Refusal> {
    let interface = message.body.first().and_then(Value::as_str).unwrap_or("");
    let name = message.body.get(1).and_then(Value::as_str);
    let served = match target {
        Target::Node => false,
        Target::Root => serves(&[manager::INTERFACE.name], interface),
        Target::Unit(_, kind) => serves(&[unit::INTERFACE.name, kinds::interface(*kind).name], interface),
        Target::Job(_) => serves(&[job::INTERFACE.name], interface),
    };
    if !served {
        // The interfaces of D-Bus itself have no properties.
        if member == "GetAll" && serves(&[PEER, INTROSPECTABLE, PROPERTIES], interface) {
            return Ok(vec![Value::array("{sv}", Vec::new())]);
        }
        let text = format!("Unknown interface '{interface}'.");
        return Err(Refusal::new(ErrorName::UnknownInterface, text));
    }
    // A service's are about 13 KiB.
    let room = if name.is_none() { 16 * 1024 } else { 0 };
    let mut answer = Properties { interface, name, entries: Entries::with_room(room), found: None };
    match target {
        Target::Node => {}
        Target::Root => answer.root(&model.overview()),
        Target::Unit(id, kind) => {
            let live = name.is_some_and(|name| is_live(*kind, name));
            let view = match live.then(|| model.glance(id)).flatten() {
                Some(view) => view,
                None => loaded(id, name, model, loads)?,
            };
            answer.unit(&view);
        }
        Target::Job(view) => answer.rows(&job::INTERFACE, view),
    }
    let Some(name) = name else { return Ok(vec![answer.entries.into_value()]) };
    match answer.found {
        None => {
            let text = format!("Unknown interface {interface} or property {name}.");
            Err(Refusal::new(ErrorName::UnknownProperty, text))
        }
        Some(_) if member == "Set" => {
            let text = format!("Property '{name}' is not writable.");
            Err(Refusal::new(ErrorName::PropertyReadOnly, text))
        }
        Some(value) => Ok(vec![Value::variant(value)]),
    }
}

/// A unit with all that is asked for.
fn loaded(id: &str, name: Option<&str>, model: &mut dyn Model, loads: &mut u32) -> Result<UnitView, Refusal> {
    let none = || Refusal::new(ErrorName::NoSuchUnit, format!("Unit {id} not found."));
    let mut view = crate::interface::load(model, loads, id)?.ok_or_else(none)?;
    if name.is_none_or(|name| !unit::KNOWN.contains(&name)) {
        model.measure(&mut view);
    }
    Ok(view)
}

/// Whether a unit's property changes by itself, and tells so.
fn is_live(kind: UnitKind, name: &str) -> bool {
    let own = [&unit::INTERFACE, kinds::interface(kind)];
    let found = own.into_iter().find_map(|interface| interface.property(name));
    found.is_some_and(|row| row.emits() == Emits::Change)
}

fn serves(interfaces: &[&str], wanted: &str) -> bool {
    wanted.is_empty() || interfaces.contains(&wanted)
}

/// The properties of an object that are asked for.
struct Properties<'a> {
    /// Of this interface; empty means all.
    interface: &'a str,
    /// The one of this name; `None` means all.
    name: Option<&'a str>,
    /// All that are asked for.
    entries: Entries,
    /// The first of the name that is asked for.
    found: Option<Value>,
}

impl Properties<'_> {
    fn rows<V: View>(&mut self, interface: &Interface<V>, view: &V) {
        if !serves(&[interface.name], self.interface) {
            return;
        }
        match self.name {
            None => interface.tell(view, &mut self.entries),
            Some(name) if self.found.is_none() => {
                self.found = interface.property(name).map(|row| row.value(view));
            }
            Some(_) => {}
        }
    }

    /// What no row is of.
    fn more<V: View>(&mut self, interface: &Interface<V>, name: &str, value: &Value) {
        if !serves(&[interface.name], self.interface) || interface.property(name).is_some() {
            return;
        }
        match self.name {
            None => self.entries.property(name, value),
            Some(wanted) if wanted == name && self.found.is_none() => self.found = Some(value.clone()),
            Some(_) => {}
        }
    }

    fn root(&mut self, view: &ManagerView) {
        self.rows(&manager::INTERFACE, view);
        for (name, value) in &view.more {
            self.more(&manager::INTERFACE, name, value);
        }
    }

    /// The kind's properties come first, as systemd orders them.
    fn unit(&mut self, view: &UnitView) {
        for (interface, common) in [(kinds::interface(view.kind), false), (&unit::INTERFACE, true)] {
            self.rows(interface, view);
            for more in view.more.iter().filter(|more| more.common == common) {
                self.more(interface, more.name, &more.value);
            }
        }
    }
}
