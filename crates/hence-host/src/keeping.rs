//! Descriptors that services leave in keeping for their next start; systemd.service(5),
//! FileDescriptorStoreMax=. Whose are kept, how many, and when they are let go is the engine's.

use crate::carry::{Names, Out, Taking};
use crate::sys::same_file::is_same_file;
use crate::wait::Token;
use hence_engine::carry::Unread;
use hence_engine::{DescriptorsId, Event, UnitId};
use hence_ledger::Text;
use rustix::event::epoll;
use std::{
    collections::{HashMap, VecDeque},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

struct Kept {
    fd: OwnedFd,
    name: Text,
    /// Names it in the event loop, where it is waited for to hang up.
    number: Option<u32>,
}

/// What is kept of all units, and what came with messages that nobody has decided about.
#[derive(Default)]
pub(crate) struct Keeping {
    /// The newest first.
    units: HashMap<UnitId, Vec<Kept>>,
    watched: HashMap<u32, UnitId>,
    offers: HashMap<DescriptorsId, Vec<OwnedFd>>,
    next: u32,
}

impl Keeping {
    fn next(&mut self) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// Takes in what came with a message.
    pub fn offer(&mut self, descriptors: Vec<OwnedFd>) -> DescriptorsId {
        let id = DescriptorsId(self.next());
        self.offers.insert(id, descriptors);
        id
    }

    /// Closes what came with messages and nobody wanted.
    pub fn close_offers(&mut self) {
        self.offers.clear();
    }

    /// Keeps what came with a message, at most `limit` of the unit in all: how many are kept that were not
    /// before, how many were closed for want of room, and how many there are now.
    pub fn keep(
        &mut self,
        epoll: &OwnedFd,
        unit: UnitId,
        offer: DescriptorsId,
        name: &Text,
        (poll, limit): (bool, u32),
    ) -> [u32; 3] {
        let (mut kept, mut refused) = (0, 0);
        for fd in self.offers.remove(&offer).unwrap_or_default() {
            let all = self.units.entry(unit).or_default();
            if all.len() as u64 >= u64::from(limit) {
                refused += 1;
            } else if !all.iter().any(|other| is_same_file(other.fd.as_fd(), fd.as_fd())) {
                let number = poll.then(|| self.watch(epoll, unit, &fd)).flatten();
                let kept_one = Kept { fd, name: name.clone(), number };
                self.units.entry(unit).or_default().insert(0, kept_one);
                kept += 1;
            }
        }
        [kept, refused, self.count(unit)]
    }

    /// Waits for a descriptor to hang up; `None` for a kind of file that never does.
    fn watch(&mut self, epoll: &OwnedFd, unit: UnitId, fd: &OwnedFd) -> Option<u32> {
        let number = self.next();
        let data = epoll::EventData::new_u64(Token::Kept(number).bits());
        epoll::add(epoll, fd, data, epoll::EventFlags::empty()).ok()?;
        self.watched.insert(number, unit);
        Some(number)
    }

    fn count(&mut self, unit: UnitId) -> u32 {
        let count = self.units.get(&unit).map_or(0, Vec::len);
        if count == 0 {
            self.units.remove(&unit);
        }
        count as u32
    }

    fn remove(&mut self, epoll: &OwnedFd, unit: UnitId, which: impl Fn(&Kept) -> bool) -> u32 {
        let Some(all) = self.units.get_mut(&unit) else { return 0 };
        let before = all.len();
        let watched = &mut self.watched;
        all.retain(|kept| {
            let goes = which(kept);
            if let Some(number) = kept.number.filter(|_| goes) {
                // The file may stay open elsewhere, and then the event loop would go on hearing of it.
                let _ = epoll::delete(epoll, &kept.fd);
                watched.remove(&number);
            }
            !goes
        });
        (before - all.len()) as u32
    }

    /// Closes those of a name, or all: how many, and how many there are now.
    pub fn drop_named(&mut self, epoll: &OwnedFd, unit: UnitId, name: Option<&str>) -> [u32; 2] {
        let dropped = self.remove(epoll, unit, |kept| name.is_none_or(|name| name == &*kept.name));
        [dropped, self.count(unit)]
    }

    /// One of them hung up.
    pub fn hung_up(&mut self, epoll: &OwnedFd, number: u32, events: &mut VecDeque<Event>) {
        let Some(&unit) = self.watched.get(&number) else { return };
        let is = |kept: &&Kept| kept.number == Some(number);
        let Some(name) = self.units.get(&unit).and_then(|all| all.iter().find(is)).map(|k| k.name.clone())
        else {
            return;
        };
        let dropped = self.remove(epoll, unit, |kept| kept.number == Some(number));
        let numbers = [dropped, self.count(unit)];
        events.push_back(Event::DescriptorsDropped { unit, pid: None, name, numbers });
    }

    /// What is passed to the next start, with its names.
    pub fn of(&self, unit: UnitId) -> impl Iterator<Item = (RawFd, String)> {
        let all = self.units.get(&unit).map_or(&[][..], Vec::as_slice);
        all.iter().map(|kept| (kept.fd.as_raw_fd(), kept.name.to_string()))
    }

    pub fn carry<'h>(&'h self, out: &mut Out<'h>, names: Names<'_>) {
        for (unit, all) in &self.units {
            let Some(name) = names(*unit) else { continue };
            out.text.section("kept", &name);
            for kept in all {
                let fd = out.keep(&kept.fd);
                out.text.field("descriptor", &(fd, kept.name.to_string(), kept.number.is_some()));
            }
        }
    }

    /// Takes up what was handed on; the engine is told how many that are.
    pub fn take_up(&mut self, taking: &mut Taking<'_, '_>, epoll: &OwnedFd, events: &mut VecDeque<Event>) {
        let carried = taking.carried;
        for from in carried.of("kept") {
            let mut take = || {
                let (unit, _) = (taking.find)(&from.name).ok_or_else(|| Unread("unit".into()))?;
                for (fd, name, poll) in from.all::<(i32, String, bool)>("descriptor")? {
                    let fd = taking.inherited.take(fd).ok_or_else(|| Unread("descriptor".into()))?;
                    let number = poll.then(|| self.watch(epoll, unit, &fd)).flatten();
                    let kept = Kept { fd, name: name.as_str().into(), number };
                    self.units.entry(unit).or_default().push(kept);
                }
                let numbers = [0, 0, self.count(unit)];
                events.push_back(Event::DescriptorsKept { unit, pid: 0, name: Text::from(""), numbers });
                Ok(())
            };
            let taken = take();
            taking.note(&format!("kept {}", from.name), taken);
        }
    }
}
