//! Both clocks, the timer that ends a wait, and jumps of the wall clock.

use hence_engine::Event;
use hence_ledger::Stamp;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::{io, os::fd::OwnedFd};

/// A jump below this is adjtime's or ours of reading two clocks, in microseconds.
const JUMP_US: i64 = 1000;

fn us(t: Timespec) -> u64 {
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

/// Now, on both clocks.
pub fn now() -> Stamp {
    Stamp {
        realtime_us: us(clock_gettime(ClockId::Realtime)),
        monotonic_us: us(clock_gettime(ClockId::Monotonic)),
    }
}

/// Clock ticks since boot, as /proc/PID/stat counts start times.
pub fn boot_ticks() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    t.tv_sec as u64 * per_second + t.tv_nsec as u64 / (1_000_000_000 / per_second)
}

/// The timer that ends a wait at a deadline. It is set only for an earlier deadline than it has: in a burst
/// the next deadline moves on with every event, and one early wake-up costs less than setting it each time.
pub struct Timer {
    /// Readable when the deadline has been reached.
    pub fd: OwnedFd,
    armed: Option<u64>,
}

impl Timer {
    /// A timer that isn't armed.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Timer { fd: timerfd_create(TimerfdClockId::Monotonic, flags)?, armed: None })
    }

    /// Arms it for this moment of the monotonic clock, in microseconds.
    ///
    /// # Errors
    /// What the system says.
    pub fn arm(&mut self, deadline_us: Option<u64>) -> io::Result<()> {
        if self.armed == deadline_us || deadline_us.is_some_and(|d| self.armed.is_some_and(|a| a <= d)) {
            return Ok(());
        }
        // A timer set to zero is off, and one in the past fires at once.
        let us = deadline_us.map_or(0, |d| d.max(1).min(i64::MAX as u64 / 1000));
        let at = Timespec { tv_sec: (us / 1_000_000) as i64, tv_nsec: (us % 1_000_000 * 1000) as _ };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.armed = deadline_us;
        Ok(())
    }

    /// It has fired.
    pub fn fired(&mut self) {
        let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
        self.armed = None;
    }
}

/// Notices when the wall clock is set (TFD_TIMER_CANCEL_ON_SET), without polling.
pub struct JumpWatch {
    /// Readable when the clock was set.
    pub fd: OwnedFd,
    offset_us: i64,
}

fn offset_us() -> i64 {
    let now = now();
    now.realtime_us as i64 - now.monotonic_us as i64
}

impl JumpWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<JumpWatch> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let watch =
            JumpWatch { fd: timerfd_create(TimerfdClockId::Realtime, flags)?, offset_us: offset_us() };
        watch.arm()?;
        Ok(watch)
    }

    fn arm(&self) -> io::Result<()> {
        let never = Timespec { tv_sec: i64::MAX / 1_000_000_000, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &spec)?;
        Ok(())
    }

    /// The clock was set: by how much, if by more than a slew.
    pub fn fired(&mut self) -> Option<Event> {
        let _ = rustix::io::read(&self.fd, &mut [0u8; 8]);
        let _ = self.arm();
        let now = offset_us();
        let by_us = now - self.offset_us;
        self.offset_us = now;
        (by_us.abs() >= JUMP_US).then_some(Event::ClockJump { by_us })
    }
}
