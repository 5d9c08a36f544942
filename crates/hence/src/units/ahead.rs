//! Reads the files of many units in a second thread while the first one takes them in, in the order in which
//! they are asked for: what comes of it is what comes of reading them one by one.
//!
//! The thread lives as long as what it was begun for: nothing else is done meanwhile, above all no process is
//! started. It takes no lock of ours, and the signals that the first one waits for are blocked in it, too.

use super::unchanged::Reading;
use hence_host::sys::heap;
use hence_ledger::FileIdentity;
use hence_unit::{Config, UnitName, config::Environs, unit_path::UnitPath};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Reads that may wait to be asked for. Few: what a unit's files say takes a good deal of memory until the
/// engine has compared it with what others say, and leaves a hole in the heap afterwards.
const WAITING: usize = 16;
/// Stack of the thread, in bytes.
pub(super) const STACK: usize = 1 << 20;
/// What a unit takes of the heap while many are read, in bytes.
const UNIT: usize = 3 << 10;

/// What reading a unit gave.
pub(super) struct Read {
    pub config: Config,
    pub files: Vec<FileIdentity>,
    /// A moment before the files were read, as times of files are.
    pub since_ns: i64,
}

/// Reads a unit's files.
pub(super) fn read(path: &UnitPath, environs: &Environs, name: &UnitName) -> Read {
    let since_ns = Reading::now_ns();
    let (config, files) = hence_host::load(path, environs, name);
    Read { config, files, since_ns }
}

/// The units to be read, for both threads.
struct Batch {
    path: Arc<UnitPath>,
    environs: Environs,
    names: Vec<UnitName>,
    /// How many of the names were taken by one thread or the other, the first ones first.
    taken: AtomicUsize,
    /// Nobody asks any more.
    over: AtomicBool,
}

impl Batch {
    /// Reads the first unit that nobody has taken.
    fn read_next(&self) -> Option<(usize, Read)> {
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        let name = self.names.get(index)?;
        Some((index, read(&self.path, &self.environs, name)))
    }
}

/// Units that are being read before they are asked for.
pub(super) struct Ahead {
    batch: Arc<Batch>,
    /// What the thread read; `None` when nobody waits for that any more.
    from_thread: Option<Receiver<(usize, Read)>>,
    thread: Option<JoinHandle<()>>,
    /// Reads that are before their turn, the first one for the unit that is next; `None`: not there yet.
    early: VecDeque<Option<Read>>,
    /// How many were asked for.
    asked: usize,
}

impl Ahead {
    /// Begins to read these units, which will be asked for in this order, with this much stack.
    ///
    /// # Errors
    /// There is no second thread: then they are to be read one by one.
    pub fn begin(
        path: Arc<UnitPath>,
        environs: Environs,
        names: Vec<UnitName>,
        stack: usize,
    ) -> io::Result<Ahead> {
        let (taken, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let batch = Arc::new(Batch { path, environs, names, taken, over });
        let (to_first, from_thread) = sync_channel(WAITING);
        let of_thread = batch.clone();
        heap::part();
        let thread = Builder::new().name("read-ahead".into()).stack_size(stack);
        let thread = thread.spawn(move || run(&of_thread, &to_first))?;
        let (from_thread, thread) = (Some(from_thread), Some(thread));
        Ok(Ahead { batch, from_thread, thread, early: VecDeque::with_capacity(2 * WAITING), asked: 0 })
    }

    /// Whether this unit is the next one, in its turn.
    pub fn is_next(&self, name: &UnitName) -> bool {
        self.batch.names.get(self.asked) == Some(name)
    }

    /// Whether all were asked for.
    pub fn is_over(&self) -> bool {
        self.asked >= self.batch.names.len()
    }

    /// What the files of the next unit say. Where the other thread has nothing to hand over, this one reads
    /// one itself, so that neither is idle.
    pub fn take_next(&mut self) -> Option<Read> {
        let wanted = self.asked;
        let name = self.batch.names.get(wanted)?;
        self.asked += 1;
        let mut found = self.early.pop_front().flatten();
        while found.is_none() {
            let received =
                self.from_thread.as_ref().map_or(Err(TryRecvError::Disconnected), Receiver::try_recv);
            let received = match received {
                // The thread is at work at this very unit, and this one has gone far enough ahead.
                Err(TryRecvError::Empty) if self.early.len() >= WAITING => {
                    self.from_thread.as_ref().and_then(|thread| thread.recv().ok())
                }
                Err(TryRecvError::Empty) => match self.batch.read_next() {
                    Some(read) => Some(read),
                    // All are taken: the thread has this one.
                    None => self.from_thread.as_ref().and_then(|thread| thread.recv().ok()),
                },
                received => received.ok(),
            };
            match received {
                Some((index, read)) if index == wanted => found = Some(read),
                Some((index, read)) => {
                    let at = index.saturating_sub(self.asked);
                    while self.early.len() <= at {
                        self.early.push_back(None);
                    }
                    self.early[at] = Some(read);
                }
                // The thread ended in a defect, and took this one with it.
                None => found = Some(read(&self.batch.path, &self.batch.environs, name)),
            }
        }
        found
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.batch.over.store(true, Ordering::Relaxed);
        // Who waits for room to put a read is told that nobody takes it.
        self.from_thread = None;
        if let Some(thread) = self.thread.take() {
            // A panic was said where it happened.
            let _ = thread.join();
        }
    }
}

/// The thread.
fn run(batch: &Batch, to_first: &SyncSender<(usize, Read)>) {
    heap::expect(batch.names.len().saturating_mul(UNIT));
    while !batch.over.load(Ordering::Relaxed)
        && let Some(read) = batch.read_next()
        && to_first.send(read).is_ok()
    {}
}

#[cfg(test)]
mod tests {
    use super::super::{Sources, Units};
    use super::*;
    use hence_engine::{Effect, Engine, Event, Request, RequestKind, Settings, Time};
    use hence_ledger::{Client, Record, Verb};
    use hence_unit::{LoadState, config::JobMode};
    use std::fs;
    use std::path::{Path, PathBuf};

    const COUNT: usize = 300;

    /// A folder of units that name each other, some of which aren't there, have drop-ins or mistakes.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("hence-ahead-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("u7.service.d")).unwrap();
        fs::write(folder.join("u7.service.d/x.conf"), "[Unit]\nWants=late.target\n").unwrap();
        std::os::unix::fs::symlink("u9.service", folder.join("alias.service")).unwrap();
        std::os::unix::fs::symlink("/dev/null", folder.join("u11.service")).unwrap();
        let mut wants = String::new();
        for n in 0..COUNT {
            wants += &format!("Wants=u{n}.service\n");
            let text = match n {
                11 => continue,
                13 => "[Service]\nTypo=1\nNot an assignment\n".to_owned(),
                17 => String::new(),
                _ => format!(
                    "[Unit]\nDescription={n}\nAfter=u{}.service\nWants=missing{}.service alias.service\n\
                     [Service]\nExecStart=/bin/true {n}\nEnvironment=A={n}\n",
                    n * 7 % COUNT,
                    n % 3
                ),
            };
            // One of them is not there.
            if n != 19 {
                fs::write(folder.join(format!("u{n}.service")), text).unwrap();
            }
        }
        fs::write(folder.join("all.target"), format!("[Unit]\n{wants}")).unwrap();
        folder
    }

    fn units(folder: &Path) -> Units {
        Sources::new(&[folder.to_owned()], &[], false).unwrap().loader()
    }

    fn names(numbers: impl Iterator<Item = usize>) -> Vec<UnitName> {
        numbers.map(|n| UnitName::new(&format!("u{n}.service")).unwrap()).collect()
    }

    /// The records of a start of all, with so many queued reads enough for a second thread of this stack, and
    /// how often there was one.
    fn start(folder: &Path, many: usize, stack: usize) -> (Vec<Record>, usize) {
        let mut units = units(folder);
        let mut engine = Engine::new(Settings { first_record: 1, ..Settings::default() });
        let now = Time::default();
        let (mut records, mut threads) = (Vec::new(), 0);
        let target = UnitName::new("all.target").unwrap();
        let kind = RequestKind::Job { unit: target.clone(), mode: JobMode::Replace };
        let request = Request { token: 0, client: Client::default(), verb: Verb::Start, kind };
        for event in [Event::Referenced(target), Event::Request(request)] {
            engine.handle(now, event);
            loop {
                records.extend(std::iter::from_fn(|| engine.poll_record()));
                let next = engine.next_loads();
                if next.len() >= many && !units.is_reading_ahead() {
                    units.read_ahead(next, stack);
                    threads += usize::from(units.is_reading_ahead());
                }
                match engine.poll_effect() {
                    Some(Effect::Load(name)) => {
                        let (config, files) = units.load(&name);
                        engine.handle(now, Event::Loaded { config: Box::new(config), files });
                    }
                    Some(_) => {}
                    None if engine.go_on(now) => {}
                    None => break,
                }
            }
        }
        assert!(!units.is_reading_ahead());
        (records, threads)
    }

    #[test]
    fn records_are_those_of_reading_one_by_one() {
        let folder = folder("records");
        let (one_by_one, none) = start(&folder, usize::MAX, STACK);
        assert!(none == 0 && one_by_one.len() > 2 * COUNT, "{} records", one_by_one.len());
        // The target's own; then what those name: with the least count also in short runs.
        for many in [COUNT, 1] {
            let (records, threads) = start(&folder, many, STACK);
            assert!(threads > 0);
            assert_eq!(records, one_by_one, "from {many} on");
        }
        // There is no room for such a stack.
        let (records, threads) = start(&folder, 1, usize::MAX / 4);
        assert_eq!((threads, records == one_by_one), (0, true));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_nobody_waits_for_is_left() {
        let folder = folder("left");
        let mut units = units(&folder);
        let read = |units: &mut Units, name: &UnitName| {
            let (config, _) = units.load(name);
            assert_eq!(config.id(), name);
            config.load
        };
        let all = names(0..COUNT);
        units.read_ahead(all.clone(), STACK);
        assert_eq!(read(&mut units, &all[0]), LoadState::Loaded);
        assert!(units.is_reading_ahead());
        // Another one than the next.
        assert_eq!(read(&mut units, &all[5]), LoadState::Loaded);
        assert!(!units.is_reading_ahead());
        // A look at the folders anew, as one that isn't there may cause.
        units.read_ahead(all.clone(), STACK);
        assert_eq!(read(&mut units, &all[0]), LoadState::Loaded);
        units.rescan();
        assert!(!units.is_reading_ahead());
        // A new file is found, and what was read before that isn't used.
        units.read_ahead(all.clone(), STACK);
        for name in &all[..19] {
            read(&mut units, name);
        }
        fs::write(folder.join("u19.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
        assert_eq!(read(&mut units, &all[19]), LoadState::Loaded);
        assert!(!units.is_reading_ahead());
        // Whoever asks for nothing more waits for nothing.
        units.read_ahead(all, STACK);
        drop(units);
        fs::remove_dir_all(&folder).unwrap();
    }
}
