//! The host's part: every effect is done on the modelled processes, and answered where it asks.

use super::{Happening, World};
use crate::{Adopted, Effect, Event, Kill, KillScope, UnitId};
use alloc::vec::Vec;
use hence_ledger::Text;
use hence_unit::{Config, Kind, calendar::Utc, config::TimerCalendar};

impl World {
    /// Does what the engine wants; the answer, where it asks.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Load(name) => Some(self.load(&name)),
            Effect::Check(unit, _) => Some(Event::Checked { unit, outcome: self.condition(unit) }),
            Effect::Spawn(spawn) => Some(self.spawn(&spawn)),
            Effect::Kill(kill) => Some(self.kill(&kill)),
            Effect::Census { unit, expected } => Some(self.count(unit, &expected)),
            Effect::OpenSockets(unit, _) => {
                let fails = self.sockets_fail.contains(self.engine.unit(unit).name());
                let result = if fails { Err((98, Text::from("address"))) } else { Ok(()) };
                Some(Event::SocketsOpened { unit, result })
            }
            Effect::WatchSockets { unit, watch } => {
                if watch {
                    self.watched.insert(unit);
                    self.happen(self.now_us + 1_000, Happening::Readable(unit));
                } else {
                    self.watched.remove(&unit);
                }
                None
            }
            Effect::CloseSockets { unit, .. } => {
                self.watched.remove(&unit);
                self.waiting_traffic.remove(&unit);
                None
            }
            Effect::OpenAutomount(unit, _) => {
                let fails = self.sockets_fail.contains(self.engine.unit(unit).name());
                let result = if fails { Err((self.automount_errno, Text::from("/there"))) } else { Ok(()) };
                if !fails {
                    self.paths_watched.insert(unit);
                }
                Some(Event::AutomountOpened { unit, result })
            }
            // Nobody uses what is mounted in here.
            Effect::ExpireAutomount(unit) => Some(Event::AutomountIdle(unit)),
            Effect::AnswerAutomount { .. } => None,
            Effect::CloseAutomount(unit) => {
                self.paths_watched.remove(&unit);
                None
            }
            Effect::KeepDescriptors { unit, pid, name, limit, .. } => {
                let kept = self.kept.entry(unit).or_default();
                let room = (kept.len() as u32) < limit;
                if room {
                    kept.push(name.clone());
                }
                let numbers = [u32::from(room), u32::from(!room), kept.len() as u32];
                Some(Event::DescriptorsKept { unit, pid, name, numbers })
            }
            Effect::DropDescriptors { unit, name } => {
                let kept = self.kept.entry(unit).or_default();
                let before = kept.len();
                kept.retain(|n| name.as_ref().is_some_and(|(name, _)| n != name));
                let numbers = [(before - kept.len()) as u32, kept.len() as u32];
                let answer = |(name, pid)| Event::DescriptorsDropped { unit, pid: Some(pid), name, numbers };
                name.map(answer)
            }
            Effect::ReadPidFile { unit, wait, .. } => {
                let pid = self.pid_files.get(&unit).copied();
                let pid = pid.filter(|p| self.processes.get(p).is_some_and(|p| p.unit == unit));
                if pid.is_none() && wait {
                    self.pid_files_awaited.insert(unit);
                }
                Some(Event::PidFile { unit, pid })
            }
            Effect::GuessMainPid(unit) => {
                let group = self.group(unit);
                let pid = group.first().copied().filter(|_| group.len() == 1);
                Some(Event::PidFile { unit, pid })
            }
            Effect::ReportEmpty(unit) => {
                self.reports.insert(unit);
                self.happen(self.now_us, Happening::Empty(unit));
                None
            }
            // The simulator has no bus.
            Effect::WatchName { unit, name } => Some(Event::BusName { unit, name, owned: None }),
            Effect::RequestStop { unit, controller } => {
                Some(Event::BusName { unit, name: controller, owned: None })
            }
            Effect::Finished(status) => {
                let again = self.finished.replace(status).is_some();
                if again {
                    self.violations.push("Finished came twice".into());
                }
                None
            }
            Effect::WatchPaths { unit, config } => {
                if config.is_some() {
                    self.paths_watched.insert(unit);
                } else {
                    self.paths_watched.remove(&unit);
                }
                None
            }
            // The simulator's clocks show UTC, and nobody left stamps.
            Effect::NextElapse { unit, config, after_us, .. } => {
                let lines = match &config.kind {
                    Kind::Timer(timer) => &timer.calendar[..],
                    _ => &[],
                };
                let next = |line: &TimerCalendar| line.expression.next(after_us, &Utc);
                let due = lines.iter().enumerate().filter_map(|(nth, line)| Some((next(line)?, nth as u16)));
                Some(Event::NextElapse { unit, stamp_us: None, next: due.min() })
            }
            Effect::Stamp { .. } | Effect::WatchTimeZone => None,
            Effect::WatchDevice { unit, .. } => {
                let there = self.devices.contains(self.engine.unit(unit).name());
                Some(Event::Device { unit, there: Some(there) })
            }
            Effect::Forget { unit, .. } => {
                self.caps.forget(unit);
                self.groups.remove(&unit);
                self.reports.remove(&unit);
                self.watched.remove(&unit);
                self.waiting_traffic.remove(&unit);
                self.pid_files.remove(&unit);
                self.kept.remove(&unit);
                self.pid_files_awaited.remove(&unit);
                self.paths_watched.remove(&unit);
                Some(Event::Forgotten(unit))
            }
            Effect::Reply { token, result } => {
                self.replies.insert(token, result);
                None
            }
            // The modelled processes all have their unit already.
            Effect::Adopt { unit, token, .. } => {
                let adopted = Adopted { processes: Vec::new(), error: Some(Text::from("No such process")) };
                Some(Event::Adopted { unit, token, adopted })
            }
            Effect::Freeze { unit, freeze, token, .. } => {
                Some(Event::Froze { unit, frozen: Ok(freeze), token })
            }
            Effect::Clean { unit, .. } => Some(Event::Cleaning { unit, cleaner: None }),
            // Whose main process a process is makes no difference to how its end is heard of here.
            Effect::WatchProcess { .. }
            | Effect::CloseConnection(_)
            | Effect::Release { .. }
            | Effect::LastWords { .. }
            | Effect::Limits(..)
            | Effect::Environment { .. }
            | Effect::UnitNew(_)
            | Effect::JobNew { .. }
            | Effect::JobRemoved { .. } => None,
        }
    }

    /// Who is in a group that nobody was told of.
    pub(super) fn count(&self, unit: UnitId, expected: &[u32]) -> Event {
        let group = self.groups.get(&unit);
        let fresh = group.into_iter().flat_map(|g| &g.fresh).filter(|pid| !expected.contains(pid));
        let known = group.map_or(0, |g| g.left_over.len() as u32);
        let of_pid = |pid: &u32| self.processes.get(pid).map(|p| p.left_over(*pid));
        let processes = fresh.filter_map(of_pid).collect();
        Event::Census { unit, processes, known, unread: false }
    }

    fn kill(&mut self, kill: &Kill) -> Event {
        let known = [kill.main, kill.control];
        let is_known = |pid: &u32| known.contains(&Some(*pid));
        // Only those that it is for are looked at: a unit may have left thousands behind.
        let group = match kill.scope {
            KillScope::Known => known.into_iter().flatten().filter(|p| self.is_of(*p, kill.unit)).collect(),
            KillScope::Group | KillScope::Others => self.group(kill.unit),
        };
        let mut others = 0;
        for pid in group {
            let (wanted, counted) = match kill.scope {
                KillScope::Known => (is_known(&pid), false),
                KillScope::Group => (true, !is_known(&pid)),
                KillScope::Others => (!is_known(&pid), true),
            };
            if wanted {
                others += u32::from(counted);
                self.hit(pid, kill.signal);
                if kill.hangup {
                    self.hit(pid, 1);
                }
            }
        }
        if kill.report_empty {
            self.reports.insert(kill.unit);
            self.happen(self.now_us, Happening::Empty(kill.unit));
        }
        let empty = kill.scope != KillScope::Known && self.is_group_empty(kill.unit);
        Event::Killed { unit: kill.unit, others, empty }
    }

    /// A socket that is watched has traffic: hence hears of it, as often as it doesn't take it.
    pub(super) fn readable(&mut self, unit: UnitId) {
        let waiting = self.waiting_traffic.get(&unit).copied().unwrap_or(0);
        if waiting == 0 || !self.watched.contains(&unit) {
            return;
        }
        let accept = self.engine.unit(unit).config.socket().is_some_and(|s| s.accept);
        let listen = Text::from(listen_of(&self.engine.unit(unit).config));
        let connection = if accept {
            self.waiting_traffic.insert(unit, waiting - 1);
            let (id, instance) = self.connection();
            Some((id, Text::from(instance.as_str())))
        } else {
            None
        };
        self.happen(self.now_us + 1_000, Happening::Readable(unit));
        self.handle(Event::Traffic { unit, listen, peer: None, connection });
    }
}

fn listen_of(config: &Config) -> &str {
    config.socket().and_then(|s| s.listen.first()).map_or("", |l| &l.address)
}
