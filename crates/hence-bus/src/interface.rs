//! What an interface is: rows of properties, methods and signals. It serves nothing; the front does.

pub mod access;
pub mod configured;
pub mod job;
pub mod kinds;
pub mod manager;
pub mod manager_files;
pub mod manager_settings;
pub mod method;
pub mod row;
pub mod scope;
pub mod service;
pub mod shown;
pub mod slice;
pub mod socket;
pub mod target;
#[cfg(test)]
mod tests;
pub mod timer;
pub mod unit;

use crate::front::{
    Answer, Caller, Command, Descriptor, ErrorName, JobView, ManagerView, Model, Object, Properties, Refusal,
    UnitView,
};
use crate::front::{job_path, unit_path};
use crate::wire::{Entries, Value};
pub use method::{Method, Methods};
pub use row::Emits;
use row::{Given, Group, Property, View};

/// A call on its way to an answer.
pub struct Call<'a> {
    /// Who asks.
    pub caller: Caller,
    /// The object that is called.
    pub object: &'a Object,
    /// Arguments, checked against the method's signature.
    pub arguments: &'a [Value],
    /// Descriptors that came with the call.
    pub descriptors: &'a [Descriptor],
    /// What is asked.
    pub model: &'a mut dyn Model,
    /// Units that may still be loaded for callers like this one.
    pub loads: &'a mut u32,
}

impl Call<'_> {
    /// A unit, loaded where it isn't yet.
    pub fn load(&mut self, name: &str) -> Result<Option<UnitView>, Refusal> {
        load(self.model, self.loads, name)
    }

    /// The string at this position.
    pub fn text(&self, at: usize) -> &str {
        self.arguments.get(at).and_then(Value::as_str).unwrap_or("")
    }

    /// The strings of the array at this position.
    pub fn texts(&self, at: usize) -> Vec<String> {
        let items = self.arguments.get(at).map_or(&[][..], Value::items);
        items.iter().filter_map(Value::as_str).map(String::from).collect()
    }

    /// The number at this position.
    pub fn number(&self, at: usize) -> u32 {
        match self.arguments.get(at) {
            Some(Value::Uint32(number)) => *number,
            _ => 0,
        }
    }

    /// The byte at this position.
    pub fn byte(&self, at: usize) -> u8 {
        match self.arguments.get(at) {
            Some(Value::Byte(byte)) => *byte,
            _ => 0,
        }
    }

    /// The truth at this position.
    pub fn truth(&self, at: usize) -> bool {
        self.arguments.get(at) == Some(&Value::Bool(true))
    }

    /// The pairs of the `a(sv)` at this position.
    pub fn pairs(&self, at: usize) -> Properties {
        self.arguments.get(at).map_or(Vec::new(), properties)
    }

    /// The names and properties of the `a(sa(sv))` at this position.
    pub fn named_pairs(&self, at: usize) -> Vec<(String, Properties)> {
        let items = self.arguments.get(at).map_or(&[][..], Value::items);
        let named = |item: &Value| match item.items() {
            [name, pairs] => Some((name.as_str()?.to_owned(), properties(pairs))),
            _ => None,
        };
        items.iter().filter_map(named).collect()
    }

    /// The numbers of the `au` at this position.
    pub fn numbers(&self, at: usize) -> Vec<u32> {
        let items = self.arguments.get(at).map_or(&[][..], Value::items);
        let number = |item: &Value| match item {
            Value::Uint32(number) => Some(*number),
            _ => None,
        };
        items.iter().filter_map(number).collect()
    }

    /// A valid unit name at this position.
    pub fn unit_name(&self, at: usize) -> Result<String, Refusal> {
        let name = self.text(at);
        if hence_unit::UnitName::new(name).is_some() {
            return Ok(name.to_owned());
        }
        Err(Refusal::new(ErrorName::InvalidArgs, format!("Unit name {name} is not valid.")))
    }

    /// The unit whose object is called.
    pub fn own_unit(&mut self) -> Result<String, Refusal> {
        match self.object {
            Object::Unit(name) => Ok(name.clone()),
            Object::OwnUnit => unit_of_pid(self.model, self.caller.pid),
            _ => Err(Refusal::new(ErrorName::UnknownObject, "Not a unit.")),
        }
    }
}

/// A unit, loaded where it isn't yet, for which `loads` has to have room. It stays loaded, so who may only
/// look must not make us load whatever they like.
pub fn load(model: &mut dyn Model, loads: &mut u32, name: &str) -> Result<Option<UnitView>, Refusal> {
    if let Some(view) = model.unit(name, false)? {
        return Ok(Some(view));
    }
    if *loads == 0 {
        let text = format!("Unit {name} is not loaded, and too many units were loaded for others already.");
        return Err(Refusal::new(ErrorName::LimitsExceeded, text));
    }
    let loaded = model.unit(name, true)?;
    // What was not found is not kept.
    *loads -= u32::from(loaded.as_ref().is_some_and(|view| view.row.load_state != "not-found"));
    Ok(loaded)
}

/// The pairs of an `a(sv)`.
fn properties(value: &Value) -> Properties {
    let pair = |item: &Value| match item.items() {
        [name, Value::Variant(value)] => Some((name.as_str()?.to_owned(), (**value).clone())),
        _ => None,
    };
    value.items().iter().filter_map(pair).collect()
}

/// The unit of a process, or the refusal of who has none.
pub fn unit_of_pid(model: &mut dyn Model, pid: u32) -> Result<String, Refusal> {
    model.unit_of_pid(pid).ok_or_else(|| {
        Refusal::new(ErrorName::NoUnitForPid, format!("PID {pid} does not belong to any loaded unit."))
    })
}

/// How a call goes on.
pub enum Turn {
    /// It is answered.
    Reply(Vec<Value>),
    /// The binary will answer it.
    Ask(Command),
    /// From now on the caller is told of everything, or no longer.
    Subscribe(bool),
}

/// What a method does.
pub type Act = fn(&mut Call<'_>) -> method::Acted;

/// A signal: name and signature.
pub type Signal = (&'static str, &'static str);

/// An interface over a snapshot.
pub struct Interface<V: 'static> {
    /// Full name.
    pub name: &'static str,
    /// Groups of properties.
    pub properties: &'static [&'static Group<V>],
    /// Methods.
    pub methods: &'static [&'static Methods],
    /// Signals.
    pub signals: &'static [Signal],
}

impl<V: View> Interface<V> {
    /// All properties.
    pub fn rows(&self) -> impl Iterator<Item = Property<V>> {
        self.properties.iter().flat_map(|group| group.rows())
    }

    /// The property of this name.
    pub fn property(&self, name: &str) -> Option<Property<V>> {
        self.rows().find(|row| row.is(name))
    }

    /// Appends the entries of all properties.
    pub fn tell(&self, view: &V, to: &mut Entries) {
        let given = view.given();
        self.properties.iter().for_each(|group| group.tell(view, given, to));
    }

    /// Appends the entries of the properties whose changes are sent.
    pub fn tell_live(&self, view: &V, to: &mut Entries) {
        let given = view.given();
        let live = self.rows().filter(|row| row.emits() == Emits::Change);
        live.for_each(|row| row.tell(view, given, to));
    }

    /// The method of this name.
    pub fn method(&self, name: &str) -> Option<Method> {
        self.methods().find(|method| method.name() == name)
    }

    /// All methods.
    pub fn methods(&self) -> impl Iterator<Item = Method> {
        self.methods.iter().flat_map(|group| group.rows())
    }
}

impl View for JobView {}
impl View for ManagerView {}
impl View for UnitView {
    fn given(&self) -> Given {
        configured::given(self)
    }
}

/// `s` of a text that may change.
pub(crate) fn owned(text: &str) -> Value {
    Value::from(text.to_owned())
}

/// `(usssoo)` of the lists of jobs.
pub(crate) fn job_row(job: &JobView) -> Value {
    Value::Struct(vec![
        Value::Uint32(job.id),
        owned(&job.unit),
        Value::from(job.job_type),
        Value::from(job.state),
        Value::path(job_path(job.id)),
        Value::path(unit_path(&job.unit)),
    ])
}

/// The body of an answer for a method with this output.
pub(crate) fn body(answer: &Answer, output: &str) -> Result<Vec<Value>, Refusal> {
    let detailed = |job: &JobView| {
        vec![
            Value::Uint32(job.id),
            Value::path(job_path(job.id)),
            owned(&job.unit),
            Value::path(unit_path(&job.unit)),
            Value::from(job.job_type),
        ]
    };
    match (answer, output) {
        (_, "") => Ok(Vec::new()),
        (Answer::Job { job, .. }, "o") => Ok(vec![Value::path(job_path(job.id))]),
        (Answer::Job { job, others }, "uososa(uosos)") => {
            let mut body = detailed(job);
            let others = others.iter().map(|other| Value::Struct(detailed(other))).collect();
            body.push(Value::array("(uosos)", others));
            Ok(body)
        }
        (Answer::Files { installable, changes }, "ba(sss)" | "a(sss)") => {
            let change = |change: &crate::front::FileChange| {
                Value::Struct(vec![Value::from(change.kind), owned(&change.path), owned(&change.source)])
            };
            let changes = Value::array("(sss)", changes.iter().map(change).collect());
            Ok(if output == "a(sss)" { vec![changes] } else { vec![Value::Bool(*installable), changes] })
        }
        _ => Err(Refusal::new(ErrorName::Failed, "The answer does not fit the question.")),
    }
}
