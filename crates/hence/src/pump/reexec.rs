//! The run loop hands everything on to the program that takes its place, and takes up what an earlier one
//! handed on.

use super::{Pump, Said, Trouble};
use crate::front_link::FrontLink;
use crate::reexec::{Earlier, Program};
use hence_engine::carry::{Section, Unread};
use hence_engine::{Event, TakenUp, UnitId};
use hence_host::Host;
use hence_host::carry::{Out, Taking};
use hence_ledger::{Client, Text};
use std::path::Path;
use std::time::{Duration, Instant};

/// Turns of the loop after which a host that never comes to rest is given up on.
const TURNS: usize = 500;
/// Between two of them, where nothing was ready.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest wait for what polkit says of callers.
const POLKIT: Duration = Duration::from_secs(2);
/// Longest wait for a terminal that is held back.
const TELLING: Duration = Duration::from_millis(500);

impl Pump {
    /// How this program is executed anew, when it is asked to be; and which ledger it has.
    pub fn executes(&mut self, program: Option<Program>, ledger: &Path) {
        self.program = program;
        self.ledger = ledger.to_owned();
    }

    /// A client wants the program to be executed anew; `false` where nobody knows how.
    pub fn ask_to_reexecute(&mut self, client: Client) -> bool {
        if self.program.is_none() {
            return false;
        }
        self.engine.ask_to_reexecute(Host::now(), client);
        true
    }

    /// Executes the program anew. Returns only where that can't be done; then this one goes on.
    pub(super) fn reexecute(&mut self) {
        let why = match self.program.as_ref().map_or(Ok(()), Program::check) {
            Err(why) => why,
            Ok(()) if self.come_to_rest() => self.hand_over(),
            Ok(()) => "hence does not come to rest".to_owned(),
        };
        eprintln!("hence: the program can't be executed anew: {why}; this one goes on");
        self.engine.reexecution_failed(Host::now(), &why);
        if let Some(front) = &mut self.front {
            front.reexecution_failed(&why);
        }
        self.settle();
        self.tell_clients();
    }

    /// Handles what is on its way until nothing is.
    fn come_to_rest(&mut self) -> bool {
        let (mut foreign, mut turns) = (Vec::new(), 0);
        let begun = Instant::now();
        while turns < TURNS {
            self.settle();
            self.tell_clients();
            let quiet = self.engine.is_quiet() && self.host.is_quiet() && self.events.is_empty();
            match &mut self.front {
                _ if !quiet => turns += 1,
                Some(front) if front.has_news_to_tell() => turns += 1,
                // What it answers comes by this connection to the bus, which ends with this program.
                Some(front) if front.waits_for_polkit() => {
                    if begun.elapsed() >= POLKIT {
                        front.refuse_who_waits_for_polkit();
                    }
                }
                _ => return true,
            }
            let now_us = Host::now().monotonic_us;
            if self.host.wait(Some(now_us), &mut self.events, &mut foreign).is_err() {
                return false;
            }
            if self.events.is_empty() && foreign.is_empty() {
                std::thread::sleep(PAUSE);
            }
            self.guarded();
            for ready in foreign.drain(..) {
                self.foreign(ready);
            }
        }
        false
    }

    fn hand_over(&mut self) -> String {
        let Some(program) = self.program.clone() else { return "its file is not known".to_owned() };
        if let Some(narrator) = &mut self.narrator {
            narrator.told_within(TELLING);
        }
        let mut out = Out::default();
        self.engine.carry(&mut out.text);
        let names = |unit: UnitId| self.engine.known_unit(unit).map(|u| u.name().to_string());
        self.host.carry(&mut out, &names);
        let recorder = self.recorder.borrow();
        recorder.carry(&mut out);
        if let Some(front) = &self.front {
            front.carry(&mut out);
        }
        let lock = self.ring.lock();
        out.text.section("run", "");
        let lock = out.keep(&lock);
        out.text.field("lock", &lock);
        out.text.field("ledger", &self.ledger.to_string_lossy().into_owned());
        out.text.field("run_until_us", &self.run_until_us);
        out.text.field("said", &(self.said as u8));
        out.text.field("failed", &self.trouble.failed.iter().cloned().collect::<Vec<Text>>());
        let Trouble { restarts, left_behind, refused, .. } = &self.trouble;
        out.text.field("trouble", &(*restarts, *left_behind, *refused));
        out.text.field("narrated", &self.narrator.is_some());
        let error = program.execute(out);
        error.to_string()
    }

    /// Takes up what an earlier program handed on: all units' files are read, then everything goes on.
    pub fn take_up(&mut self, earlier: &mut Earlier, watches: bool) -> TakenUp {
        let (carried, inherited, unread) = earlier.parts();
        let mut carried = carried;
        self.engine.prepare(&carried);
        self.settle();
        let find = |name: &str| {
            let unit = self.engine.unit(self.engine.find(name)?);
            Some((unit.id, unit.config.clone()))
        };
        let mut taking = Taking { carried: &carried, inherited, find: &find, unread };
        let paths = self.host.take_up(&mut taking, watches);
        if let Some(from) = carried.one("run")
            && let Err(Unread(key)) = self.take_run(from)
        {
            unread.push(format!("run: {key}"));
        }
        carried.unread.extend(unread.drain(..).map(|part| Text::from(part.as_str())));
        for unit in self.front.iter().flat_map(FrontLink::still_held).collect::<Vec<_>>() {
            self.engine.handle(Host::now(), Event::Held(unit));
        }
        let version = env!("CARGO_PKG_VERSION");
        let taken = self.engine.take_up(Host::now(), &carried, version, paths);
        self.settle();
        // All of it was held twice.
        self.told = super::BURST;
        taken
    }

    fn take_run(&mut self, from: &Section<'_>) -> Result<(), Unread> {
        self.run_until_us = from.get("run_until_us")?.unwrap_or_default();
        self.said = match from.get::<u8>("said")? {
            Some(1) => Said::Ready,
            Some(2) => Said::Stopping,
            _ => Said::Nothing,
        };
        let failed: Vec<Text> = from.get("failed")?.unwrap_or_default();
        let (restarts, left_behind, refused) = from.get("trouble")?.unwrap_or_default();
        self.trouble = Trouble { failed: failed.into_iter().collect(), restarts, left_behind, refused };
        if from.get("narrated")? == Some(false)
            && let Some(narrator) = self.narrator.take()
        {
            narrator.close();
        }
        Ok(())
    }
}
