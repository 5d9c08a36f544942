//! What can keep a host from being set up or from waiting. Effects never fail this way: they are answered
//! by events.

use std::{error::Error, fmt, io};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// Making the epoll instance or one of the descriptors that it waits for.
    EventLoop,
    /// Taking over signals.
    Signals,
    /// Becoming the parent of orphans.
    Subreaper,
    /// Opening the notify socket.
    NotifySocket,
    /// Marking inherited file descriptors.
    Descriptors,
    /// Waiting for events.
    Wait,
    /// Adding a file descriptor to the loop.
    Register,
}

/// A failure of the host itself.
#[derive(Debug)]
pub struct HostError {
    /// What was being done.
    pub step: HostStep,
    /// On what; empty where the step says it all.
    pub subject: String,
    /// Why it failed.
    pub source: io::Error,
}

impl HostError {
    pub(crate) fn new(step: HostStep, subject: &str, source: impl Into<io::Error>) -> HostError {
        HostError { step, subject: subject.to_owned(), source: source.into() }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doing = match self.step {
            HostStep::EventLoop => "the event loop could not be set up",
            HostStep::Signals => "signals could not be taken over",
            HostStep::Subreaper => "orphaned processes could not be adopted",
            HostStep::NotifySocket => "the notify socket could not be opened",
            HostStep::Descriptors => "inherited file descriptors could not be marked close-on-exec",
            HostStep::Wait => "waiting for events failed",
            HostStep::Register => "a file descriptor could not be added to the event loop",
        };
        f.write_str(doing)?;
        if !self.subject.is_empty() {
            write!(f, " ({})", self.subject)?;
        }
        write!(f, ": {}", self.source)
    }
}

impl Error for HostError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
