//! Socket units: systemd.socket(5). Traffic starts the service; with Accept=yes each connection starts an
//! instance of it. Opening, watching and accepting are the host's part; commands and the way down stand in
//! `commands`.

mod commands;

use super::State;
use crate::carry::carry_machine;
use crate::job::{Performed, is_down};
use crate::restart::RateLimit;
use crate::{ConnectionId, Effect, Engine, UnitId};
use alloc::{boxed::Box, vec, vec::Vec};
use commands::Commands;
use hence_ledger::{Cause, DeadlineKind, Fact, JobResult, JobType, RecordId, SubState, Text, UnitResult};
use hence_unit::{Atom, UnitKind, UnitName, config::JobMode, config::SocketConfig};

/// The machine of a socket.
#[derive(Clone, Debug)]
pub struct Socket {
    pub(crate) sub: SubState,
    /// Result=
    pub result: UnitResult,
    /// Accepted connections so far.
    pub accepted: u32,
    /// Instances that serve a connection now.
    pub connections: u32,
    /// Connections turned away.
    pub refused: u32,
    triggers: RateLimit,
    pub(crate) commands: Commands,
}

carry_machine! { Socket { sub, result, accepted, connections, refused, triggers } }

impl Socket {
    /// The control process, if it runs.
    pub fn control_pid(&self) -> Option<u32> {
        self.commands.control_pid()
    }
}

impl Default for Socket {
    fn default() -> Self {
        Socket {
            sub: SubState::Dead,
            result: UnitResult::Success,
            accepted: 0,
            connections: 0,
            refused: 0,
            triggers: RateLimit::default(),
            commands: Commands::default(),
        }
    }
}

impl Engine {
    fn socket(&mut self, unit: UnitId) -> Option<&mut Socket> {
        match &mut self.units[unit.0 as usize].state {
            State::Socket(s) => Some(s),
            _ => None,
        }
    }

    fn socket_config(&self, unit: UnitId) -> SocketLimits {
        self.units[unit.0 as usize].config.socket().map(SocketLimits::of).unwrap_or_default()
    }

    fn socket_state(&mut self, unit: UnitId, to: SubState, cause: Cause) -> RecordId {
        let put = |state: &mut State| {
            if let State::Socket(s) = state {
                s.sub = to;
            }
        };
        let was = self.units[unit.0 as usize].sub_state();
        self.socket_disarm(unit);
        let record = self.set_state(unit, put, vec![cause], false, false);
        let watch = to == SubState::Listening;
        if was != to && (watch || was == SubState::Listening) {
            self.effect(Effect::WatchSockets { unit, watch });
        }
        if is_open(was) && !is_open(to) {
            let remove = self.socket_config(unit).remove;
            self.effect(Effect::CloseSockets { unit, remove });
        }
        record
    }

    pub(crate) fn start_socket(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        let sub = self.units[unit.0 as usize].sub_state();
        if matches!(sub, SubState::StartPre | SubState::StartChown | SubState::StartPost) {
            return Performed::Begun;
        }
        let stopping = !matches!(sub, SubState::Dead | SubState::Failed);
        // As of a service: a start that has to be put off counts, and what is stopping ends in order.
        if let Err(record) = self.test_start_limit(unit, cause) {
            let result = self.limited_result(unit);
            if stopping {
                self.socket_worsen(unit, result);
            } else {
                self.socket_dead(unit, result, Cause { record, rule: None });
            }
            return Performed::End(JobResult::Failed);
        }
        if stopping {
            return Performed::Later;
        }
        // Its service must not run already without these sockets (systemd: "Socket service already active").
        let limits = self.socket_config(unit);
        if !limits.accept {
            if self.refuses_trigger(unit, cause) {
                return Performed::End(JobResult::Failed);
            }
            for (service, _) in self.linked(unit, Atom::Triggers) {
                let state = self.active_state(service);
                if !is_down(state) && !self.units[service.0 as usize].will_restart() {
                    return Performed::End(JobResult::Failed);
                }
            }
        }
        if let Some(socket) = self.socket(unit) {
            socket.result = UnitResult::Success;
            socket.triggers.reset();
        }
        self.units[unit.0 as usize].invocation = Some(self.next_invocation());
        self.forget_commands(unit);
        self.enter_socket_start_pre(unit, cause.clone());
        Performed::Begun
    }

    fn open_sockets(&mut self, unit: UnitId, cause: Cause) {
        self.socket_state(unit, SubState::StartChown, cause);
        let config = self.units[unit.0 as usize].config.clone();
        self.effect(Effect::OpenSockets(unit, config));
    }

    pub(crate) fn sockets_opened(&mut self, unit: UnitId, result: Result<(), (i32, Text)>) {
        let record = self.units[unit.0 as usize].record;
        if self.units[unit.0 as usize].sub_state() != SubState::StartChown {
            return;
        }
        match result {
            Ok(()) => {
                self.enter_socket_start_post(unit, Cause { record, rule: None });
            }
            Err((errno, subject)) => {
                let fact = Fact::SpawnFailed {
                    role: hence_ledger::ProcessRole::Other,
                    step: hence_ledger::SpawnStep::Sockets,
                    errno,
                    subject,
                };
                let record = self.record(Some(unit), vec![Cause { record, rule: None }], fact);
                self.socket_down(unit, UnitResult::Resources, Cause { record, rule: None });
            }
        }
    }

    pub(crate) fn stop_socket(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        match self.units[unit.0 as usize].sub_state() {
            SubState::StartPre | SubState::StartChown | SubState::StartPost => {
                self.enter_socket_signal(unit, SubState::StopPreSigterm, UnitResult::Success, cause.clone());
            }
            SubState::Listening | SubState::SocketRunning => {
                self.socket_down(unit, UnitResult::Success, cause.clone());
            }
            // It is on its way down.
            _ => {}
        }
        Performed::Begun
    }

    pub(crate) fn traffic(
        &mut self,
        unit: UnitId,
        listen: Text,
        peer: Option<Text>,
        connection: Option<(ConnectionId, Text)>,
    ) {
        let limits = self.socket_config(unit);
        let now_us = self.now.monotonic_us;
        let ending = self.ending.is_some();
        let stopping = self.is_to_stop(unit);
        let Some(socket) = self.socket(unit) else { return };
        let open = socket.sub == SubState::Listening && !ending && !stopping;
        let allowed = open && socket.triggers.allows(now_us, limits.interval_us, limits.burst);
        let full = connection.is_some() && socket.connections >= limits.max_connections;
        if !open || full {
            if let Some((id, _)) = connection {
                socket.refused = socket.refused.saturating_add(u32::from(full));
                self.effect(Effect::CloseConnection(id));
            }
            return;
        }
        socket.refused = socket.refused.saturating_add(u32::from(!allowed));
        let root = self.record(Some(unit), Vec::new(), Fact::Traffic { listen, peer });
        let cause = Cause { record: root, rule: None };
        if !allowed {
            if let Some((id, _)) = connection {
                self.effect(Effect::CloseConnection(id));
            }
            let fact =
                Fact::DeadlineReached { deadline: DeadlineKind::TriggerLimit, after_us: limits.interval_us };
            let record = self.record(Some(unit), vec![cause], fact);
            self.socket_down(unit, UnitResult::TriggerLimitHit, Cause { record, rule: None });
            return;
        }
        match connection {
            Some((id, instance)) => self.serve_connection(unit, id, &instance, root),
            None => self.serve_listener(unit, cause),
        }
    }

    /// Accept=no: the service gets the listening sockets.
    fn serve_listener(&mut self, unit: UnitId, cause: Cause) {
        let Some((service, rule)) = self.linked(unit, Atom::Triggers).first().cloned() else {
            self.socket_down(unit, UnitResult::Resources, cause);
            return;
        };
        let cause = Cause { rule, ..cause };
        let pending = self.units[service.0 as usize].job.is_some_and(|j| {
            matches!(self.jobs[&j].job_type, JobType::Start | JobType::Restart | JobType::ReloadOrStart)
        });
        if is_down(self.active_state(service)) && !pending || self.units[service.0 as usize].will_restart() {
            let added = self.add_job(JobType::Start, service, JobMode::Replace, vec![cause.clone()]);
            if let Err(refusal) = added {
                let record = self.refused(Some(service), vec![cause], &refusal);
                self.socket_down(unit, UnitResult::Resources, Cause { record, rule: None });
                return;
            }
        }
        self.socket_state(unit, SubState::SocketRunning, cause);
    }

    /// Accept=yes: an instance gets the connection. Its files are read first, see `connection_loaded`.
    fn serve_connection(&mut self, unit: UnitId, id: ConnectionId, instance: &str, root: RecordId) {
        let config = self.units[unit.0 as usize].config.clone();
        let explicit = config.socket().and_then(|s| s.service.clone());
        let template = explicit.filter(UnitName::is_template).or_else(|| {
            let mut name = alloc::string::String::from(config.id().prefix());
            name.push_str("@.service");
            UnitName::new(&name)
        });
        let name = template.and_then(|t| t.with_instance(instance));
        let Some(name) = name.filter(|n| n.kind() == UnitKind::Service) else {
            self.effect(Effect::CloseConnection(id));
            return;
        };
        if let Some(socket) = self.socket(unit) {
            socket.accepted = socket.accepted.saturating_add(1);
            socket.connections += 1;
        }
        let service = self.reference(&name);
        self.connections.push((service, unit, id, root));
        if self.loading.is_empty() {
            self.connection_loaded(service);
        }
    }

    /// The files of an instance that a connection waits for were read.
    pub(crate) fn connection_loaded(&mut self, service: UnitId) {
        let Some(at) = self.connections.iter().position(|(s, ..)| *s == service) else { return };
        let (_, socket, connection, record) = self.connections.remove(at);
        let cause = Cause { record, rule: None };
        if let State::Service(s) = &mut self.units[service.0 as usize].state {
            s.connection = Some(Box::new((socket, connection)));
        }
        if let Err(refusal) = self.add_job(JobType::Start, service, JobMode::Replace, vec![cause.clone()]) {
            let record = self.refused(Some(service), vec![cause], &refusal);
            self.drop_connection(service);
            self.socket_down(socket, UnitResult::Resources, Cause { record, rule: None });
        }
    }

    fn drop_connection(&mut self, service: UnitId) {
        let State::Service(s) = &mut self.units[service.0 as usize].state else { return };
        let Some((socket, connection)) = s.connection.take().map(|c| *c) else { return };
        if let Some(socket) = self.socket(socket) {
            socket.connections = socket.connections.saturating_sub(1);
        }
        self.may_go(socket);
        self.may_go(service);
        self.effect(Effect::CloseConnection(connection));
    }

    /// An Accept=yes instance that is down has done with its connection.
    pub(crate) fn connection_service_changed(&mut self, service: UnitId, _record: RecordId) {
        let u = &self.units[service.0 as usize];
        if u.service().is_some_and(|s| s.connection.is_some())
            && is_down(u.active_state())
            && u.job.is_none()
            && !u.will_restart()
        {
            self.drop_connection(service);
        }
    }

    /// The service of an Accept=no socket changed its state.
    pub(crate) fn socket_sees_service(&mut self, unit: UnitId, service: UnitId, record: RecordId) {
        let Some(sub) = self.socket(unit).map(|s| s.sub) else { return };
        if !matches!(sub, SubState::SocketRunning | SubState::Listening) || self.socket_config(unit).accept {
            return;
        }
        let cause = Cause { record, rule: None };
        let Some(s) = self.units[service.0 as usize].service() else { return };
        if s.sub == SubState::Failed && s.start_limit_hit {
            self.socket_down(unit, UnitResult::ServiceStartLimitHit, cause);
            return;
        }
        let service_sub = s.sub;
        if self.units[service.0 as usize].job.is_some() {
            return;
        }
        match service_sub {
            SubState::Dead
            | SubState::Failed
            | SubState::FinalSigterm
            | SubState::FinalSigkill
            | SubState::AutoRestart => {
                self.socket_state(unit, SubState::Listening, cause);
            }
            SubState::Running => {
                self.socket_state(unit, SubState::SocketRunning, cause);
            }
            _ => {}
        }
    }
}

/// Whether the sockets are open in this state, or being opened.
fn is_open(sub: SubState) -> bool {
    matches!(
        sub,
        SubState::StartChown
            | SubState::StartPost
            | SubState::Listening
            | SubState::SocketRunning
            | SubState::StopPre
            | SubState::StopPreSigterm
            | SubState::StopPreSigkill
    )
}

/// What of a socket's configuration its machine needs.
#[derive(Default)]
struct SocketLimits {
    accept: bool,
    remove: bool,
    max_connections: u32,
    interval_us: u64,
    burst: u32,
}

impl SocketLimits {
    fn of(config: &SocketConfig) -> SocketLimits {
        SocketLimits {
            accept: config.accept,
            remove: config.remove_on_stop,
            max_connections: config.max_connections,
            interval_us: config.trigger_limit_interval,
            burst: config.trigger_limit_burst.unwrap_or(if config.accept { 200 } else { 20 }),
        }
    }
}
