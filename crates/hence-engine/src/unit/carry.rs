//! What of a unit is handed to the program that takes hence's place, and how it is taken up there: the state
//! of its machine, its times and counters. Its configuration is not: files are read anew.

use super::{Path, State, Tested, Times, Unit};
use crate::carry::{Section, Unread, Writer, carry_fields, carry_words};
use crate::unit::attached::{Attached, MOUNT, SWAP};
use crate::unit::{Automount, Device, Scope, Service, Socket, Timer};
use crate::{Freezer, UnitId};
use alloc::{boxed::Box, vec::Vec};
use hence_ledger::{LeftOver, SubState};

carry_fields! { Times { state_change, inactive_exit, active_enter, active_exit, inactive_enter } }
carry_fields! { Tested { condition, assert, condition_at, assert_at } }
carry_words! { Freezer { Running "running", Freezing "freezing", Frozen "frozen", Thawing "thawing" } }

impl State {
    fn put_fields(&self, out: &mut Writer) {
        match self {
            State::Service(service) => service.put_fields(out),
            State::Socket(socket) => {
                socket.put_fields(out);
                socket.commands.put_fields(out);
            }
            State::Timer(timer) => timer.put_fields(out),
            State::Path(path) => path.put_fields(out),
            State::Mount(mount) => mount.put(&MOUNT, out),
            State::Scope(scope) => scope.put_fields(out),
            State::Automount(automount) => automount.put_fields(out),
            State::Swap(swap) => swap.put(&SWAP, out),
            State::Device(device) => out.field("up", &device.up),
            State::Target { up } | State::Slice { up } => out.field("up", up),
            State::Other => {}
        }
    }

    /// The state of a machine of the same kind, as it was written.
    fn taken(&self, from: &Section<'_>) -> Result<State, Unread> {
        Ok(match self {
            State::Service(_) => {
                let mut service = Box::<Service>::default();
                service.take_fields(from)?;
                State::Service(service)
            }
            State::Socket(_) => {
                let mut socket = Box::<Socket>::default();
                socket.take_fields(from)?;
                socket.commands.take_fields(from)?;
                State::Socket(socket)
            }
            State::Timer(_) => {
                let mut timer = Box::<Timer>::default();
                timer.take_fields(from)?;
                State::Timer(timer)
            }
            State::Path(_) => {
                let mut path = Box::<Path>::default();
                path.take_fields(from)?;
                State::Path(path)
            }
            State::Mount(_) => State::Mount(Attached::taken(&MOUNT, from)?),
            State::Scope(_) => {
                let mut scope = Box::<Scope>::default();
                scope.take_fields(from)?;
                State::Scope(scope)
            }
            State::Automount(_) => {
                let mut automount = Box::<Automount>::default();
                automount.take_fields(from)?;
                State::Automount(automount)
            }
            State::Target { .. } => State::Target { up: from.need("up")? },
            State::Slice { .. } => State::Slice { up: from.need("up")? },
            State::Device(_) => State::Device(Device { up: from.need("up")?, ..Device::default() }),
            State::Swap(_) => State::Swap(Attached::taken(&SWAP, from)?),
            State::Other => State::Other,
        })
    }

    /// Whether a machine of its kind can be in this state at all.
    fn has(&self, sub: SubState) -> bool {
        use SubState::*;
        match self {
            State::Service(_) => matches!(
                sub,
                Dead | Failed
                    | Condition
                    | StartPre
                    | Start
                    | StartPost
                    | Running
                    | Exited
                    | Reload
                    | Stop
                    | StopWatchdog
                    | StopSigterm
                    | StopSigkill
                    | StopPost
                    | FinalWatchdog
                    | FinalSigterm
                    | FinalSigkill
                    | AutoRestart
                    | Cleaning
            ),
            State::Socket(_) => matches!(
                sub,
                Dead | Failed
                    | StartPre
                    | StartChown
                    | StartPost
                    | Listening
                    | SocketRunning
                    | StopPre
                    | StopPreSigterm
                    | StopPreSigkill
                    | StopPost
                    | FinalSigterm
                    | FinalSigkill
            ),
            State::Timer(_) | State::Path(_) => {
                matches!(sub, Dead | Failed | Waiting | Elapsed | TriggerRunning)
            }
            State::Automount(_) => matches!(sub, Dead | Failed | Waiting | TriggerRunning),
            State::Mount(_) => MOUNT.has(sub),
            State::Scope(_) => {
                matches!(sub, Dead | Failed | Running | Abandoned | StopSigterm | StopSigkill)
            }
            State::Swap(_) => SWAP.has(sub),
            State::Target { .. } | State::Slice { .. } | State::Device(_) | State::Other => true,
        }
    }
}

impl Unit {
    /// Writes what a successor needs. Deadlines are the engine's.
    pub(crate) fn put_fields(&self, out: &mut Writer) {
        out.field("id", &self.id);
        out.field("record", &self.record);
        out.field("invocation", &self.invocation);
        out.field("times", &*self.times);
        out.field("tested", &self.tested);
        out.field("left_over", &self.left_over.values().cloned().collect::<Vec<_>>());
        out.field("start_limit", &self.start_limit);
        out.field("limits", &self.limits);
        out.field("monitored", &self.monitored);
        out.field("files", &crate::alike::fingerprint(&self.files));
        out.field("inputs", &self.inputs);
        out.field("files_changed", &self.files_changed);
        out.field("freezer", &self.freezer);
        out.field("adopting", &self.adopting);
        out.field("uncounted", &self.uncounted);
        out.field("untold", &self.untold);
        self.state.put_fields(out);
    }

    /// Takes up what was written, all of it or nothing. Whether the files are others than they were then.
    pub(crate) fn take_fields(&mut self, from: &Section<'_>) -> Result<bool, Unread> {
        let state = self.state.taken(from)?;
        if !state.has(state.sub()) {
            return Err(Unread("sub".into()));
        }
        let record = from.need("record")?;
        let invocation = from.need("invocation")?;
        let times = from.need("times")?;
        let tested = from.get("tested")?.unwrap_or_default();
        let left_over: Vec<LeftOver> = from.get("left_over")?.unwrap_or_default();
        let left_over = left_over.into_iter().map(|p| ((p.pid, p.start_ticks), p)).collect();
        let start_limit = from.get("start_limit")?.unwrap_or_default();
        let limits = from.get("limits")?.unwrap_or_default();
        let monitored: Option<UnitId> = from.get("monitored")?.unwrap_or_default();
        let files: u64 = from.get("files")?.unwrap_or_default();
        let inputs = from.get("inputs")?.unwrap_or_default();
        let files_changed: bool = from.get("files_changed")?.unwrap_or(true);
        let freezer = from.get("freezer")?.unwrap_or_default();
        let adopting = from.get("adopting")?.unwrap_or_default();
        let uncounted = from.get("uncounted")?.unwrap_or_default();
        let untold = from.get("untold")?.unwrap_or(true);
        let others = files != crate::alike::fingerprint(&self.files);
        (self.state, self.record, self.invocation, self.times) = (state, record, invocation, times);
        self.tested = tested;
        (self.left_over, self.start_limit, self.limits) = (left_over, start_limit, limits);
        (self.monitored, self.inputs, self.freezer) = (monitored, inputs, freezer);
        (self.files_changed, self.adopting, self.untold) = (files_changed || others, adopting, untold);
        self.uncounted = uncounted;
        Ok(others)
    }
}
