//! What the system refused for now and is tried again: once a second while there is something, never else.
//!
//! A refusal that a unit can't live with is told at once, where it happens; here is what only makes hence
//! hear of something later.

use crate::{
    cgroup::{Groups, MEMBERS},
    clock,
    host::{End, Host, Tracked},
    process,
    wait::Token,
};
use hence_engine::{Event, UnitId};
use hence_ledger::{Operation, record::Invocation};
use rustix::process::{Pid, PidfdFlags};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

/// Between two tries, in microseconds.
const PAUSE_US: u64 = 1_000_000;

/// What is to be tried again.
#[derive(Default)]
pub(crate) struct Again {
    at_us: Option<u64>,
    /// Whether the group has run empty can't be seen.
    groups: BTreeSet<UnitId>,
    /// Who is in the group can't be seen; the run whose end asked for it.
    census: BTreeMap<UnitId, Option<Invocation>>,
    /// Processes that are to be watched, and can't be.
    watches: BTreeMap<u32, UnitId>,
    /// Processes that are tracked without a pidfd.
    pidfds: BTreeSet<u32>,
    mounts: bool,
    swaps: bool,
    /// Sockets that accept nothing for a while.
    accepts: bool,
}

impl Again {
    /// When to try, on the monotonic clock.
    pub fn at_us(&self) -> Option<u64> {
        self.at_us
    }

    fn later(&mut self) {
        self.at_us.get_or_insert_with(|| clock::now().monotonic_us.saturating_add(PAUSE_US));
    }

    pub fn group(&mut self, unit: UnitId) {
        self.groups.insert(unit);
        self.later();
    }

    pub fn watch(&mut self, unit: UnitId, pid: u32) {
        self.watches.insert(pid, unit);
        self.later();
    }

    pub fn pidfd(&mut self, pid: u32) {
        self.pidfds.insert(pid);
        self.later();
    }

    pub fn mounts(&mut self) {
        self.mounts = true;
        self.later();
    }

    pub fn swaps(&mut self) {
        self.swaps = true;
        self.later();
    }

    pub fn accepts(&mut self) {
        self.accepts = true;
        self.later();
    }

    /// A unit's number means another one from now on.
    pub fn forget(&mut self, unit: UnitId) {
        self.groups.remove(&unit);
        self.census.remove(&unit);
        self.watches.retain(|_, of| *of != unit);
    }
}

impl Host {
    /// A census that can't be taken: that is told, and it is taken when it can be.
    pub(crate) fn put_off_census(&mut self, unit: UnitId, error: &io::Error, answers: &mut VecDeque<Event>) {
        let invocation = self.row(unit).map(|row| row.invocation);
        let first = self.again.census.insert(unit, invocation).is_none();
        self.again.later();
        if first {
            answers.push_back(failed(unit, Operation::Census, error, "cgroup.procs"));
        }
        answers.push_back(Event::Census { unit, processes: Vec::new(), known: 0, unread: true });
    }

    /// Tries again what the system refused, where that is due.
    pub(crate) fn try_again(&mut self, events: &mut VecDeque<Event>) {
        if self.again.at_us.is_none_or(|at| at > clock::now().monotonic_us) {
            return;
        }
        crate::reserve::keep();
        let again = std::mem::take(&mut self.again);
        self.rechecks.extend(again.groups);
        for (unit, invocation) in again.census {
            if self.row(unit).map(|row| row.invocation) == invocation {
                let before = events.len();
                self.census(unit, &[], events);
                // It is told once that nobody can look.
                let unread = |e: &Event| matches!(e, Event::Census { unread: true, .. });
                if events.back().is_some_and(unread) {
                    events.truncate(before);
                }
            } else {
                // It was started anew: its next end counts those, too.
                let processes = Vec::new();
                events.push_back(Event::Census { unit, processes, known: 0, unread: false });
            }
        }
        for (pid, unit) in again.watches {
            self.watch_process(unit, pid);
        }
        for pid in again.pidfds {
            self.watch_by_pidfd(pid, events);
        }
        if again.mounts {
            self.mounts_changed(events);
        }
        if again.swaps {
            self.swaps_changed(events);
        }
        if again.accepts && self.sockets.accept_again(&self.epoll) {
            self.again.accepts();
        }
    }

    /// A process that no pidfd could be had for gets one now, or has ended.
    fn watch_by_pidfd(&mut self, pid: u32, events: &mut VecDeque<Event>) {
        let Some(start_ticks) = self.processes.get(&pid).filter(|p| p.pidfd.is_none()).map(|p| p.start_ticks)
        else {
            return;
        };
        let stat = process::stat(pid);
        if stat.is_some_and(|s| s.parent == std::process::id()) {
            // It became our child: its end comes by reaping.
            return;
        }
        let other = stat.is_some_and(|s| s.start_ticks != start_ticks || s.zombie);
        if other || process::is_gone(pid) {
            return self.lost_process(pid, events);
        }
        let opened = Pid::from_raw(pid as i32).map(|p| rustix::process::pidfd_open(p, PidfdFlags::empty()));
        match opened {
            Some(Ok(fd)) if self.watch_descriptor(&fd, Token::Process(pid)) => {
                if let Some(tracked) = self.processes.get_mut(&pid) {
                    tracked.pidfd = Some(fd);
                }
            }
            _ => self.again.pidfd(pid),
        }
    }

    /// A process has ended that no pidfd told of.
    fn lost_process(&mut self, pid: u32, events: &mut VecDeque<Event>) {
        let Some(Tracked { unit, start_ticks, end, .. }) = self.processes.remove(&pid) else { return };
        self.found_gone(pid);
        match end {
            End::Gone => events.push_back(Event::Gone { unit, pid, start_ticks, exit: None }),
            End::Exited => {
                let spawn_error = None;
                events.push_back(Event::Exited { pid, exit: None, cpu_us: 0, peak_bytes: 0, spawn_error });
            }
            End::Silent => {}
        }
        self.rechecks.push(unit);
    }
}

/// The system refused something that a unit needs.
pub(crate) fn failed(unit: UnitId, operation: Operation, error: &io::Error, subject: &str) -> Event {
    let errno = error.raw_os_error().unwrap_or(0);
    Event::Failed { unit, operation, errno, subject: subject.into() }
}

impl Groups {
    /// The processes of a unit's group by what /proc says of each; `None`: that can't be read either.
    pub(crate) fn members_by_proc(&self, name: &str) -> Option<Vec<u32>> {
        let mut found = Vec::new();
        for pid in process::try_all(usize::MAX).ok()? {
            let path = format!("/proc/{pid}/cgroup");
            match crate::reserve::with(|| std::fs::read_to_string(&path)) {
                Ok(own) if self.unit_of_lines(&own).as_deref() == Some(name) => found.push(pid),
                Ok(_) => {}
                Err(_) if process::is_gone(pid) => {}
                Err(_) => return None,
            }
        }
        found.truncate(MEMBERS);
        Some(found)
    }
}
