//! One descriptor that is kept free for looking at processes: where this process or the machine has none
//! left, who is alive must still be seen. It is for what is opened, read and closed at once.

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

static RESERVE: Mutex<Option<OwnedFd>> = Mutex::new(None);

fn take_one() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Keeps one from now on.
pub fn keep() {
    let mut reserve = RESERVE.lock().unwrap_or_else(PoisonError::into_inner);
    if reserve.is_none() {
        *reserve = take_one();
    }
}

/// Does what needs a descriptor for a moment, by the one that is kept where there is no other. What was
/// interrupted, or found no memory, is tried once more.
///
/// # Errors
/// Those of `act`.
pub fn with<T>(act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let error = match act() {
        Err(error) => error,
        done => return done,
    };
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => {
            let mut reserve = RESERVE.lock().unwrap_or_else(PoisonError::into_inner);
            drop(reserve.take());
            let done = act();
            *reserve = take_one();
            done
        }
        Some(Errno::INTR | Errno::AGAIN | Errno::NOMEM | Errno::IO) => act(),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_is_transient_is_tried_once_more() {
        keep();
        for (errno, times) in [(24, 2), (23, 2), (12, 2), (4, 2), (2, 1), (13, 1)] {
            let tried = Cell::new(0);
            let result: io::Result<()> = with(|| {
                tried.set(tried.get() + 1);
                Err(io::Error::from_raw_os_error(errno))
            });
            assert_eq!((result.unwrap_err().raw_os_error(), tried.get()), (Some(errno), times));
        }
        assert!(RESERVE.lock().unwrap().is_some());
    }
}
