//! The PAM session of a process that becomes a user: PAMName= of systemd.exec(5). It says which session that
//! is; what is said to the library is `sys::pam`'s.

use super::{Plan, who::Who};
use crate::{
    protection::Failure,
    sys::{nss, pam, spawn::status},
};
use hence_ledger::SpawnStep;
use std::{ffi::CString, io, os::fd::RawFd};

/// Variables as a program gets them: NAME=VALUE.
pub(super) type Variables = Vec<CString>;

/// Opens the session that the unit asks for, if it does: modules may add groups and variables.
pub(super) fn open(plan: &Plan, who: &mut Who, variables: Variables) -> Result<Variables, Failure> {
    let Some(service) = plan.session.first() else { return Ok(variables) };
    let failed = |(what, error): (String, io::Error)| {
        (SpawnStep::Session, status::PAM, format!("PAMName={service}: {what}"), error)
    };
    let Some(user) = who.user.as_ref().filter(|_| who.switches) else { return Ok(variables) };
    let text = |text: &str| {
        let invalid = |_| failed(("a NUL byte".to_owned(), io::ErrorKind::InvalidInput.into()));
        CString::new(text).map_err(invalid)
    };
    let (named, terminal) = (text(service)?, plan.session.get(1).map(|path| text(path)).transpose()?);
    // Modules add to these.
    nss::take_groups(None, who.groups()).map_err(|e| failed(("groups".to_owned(), e)))?;
    let close = open_descriptors();
    let asked = pam::Asked {
        service: &named,
        user: &user.name,
        uid: user.uid,
        gid: who.gid.unwrap_or(user.gid),
        terminal: terminal.as_deref(),
        environment: &variables,
        close: &close,
    };
    let mut variables = pam::open_session(&asked).map_err(failed)?;
    // UnsetEnvironment= has the last word.
    variables.retain(|variable| {
        let variable = variable.to_bytes();
        let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
        plan.unset.iter().all(|unset| unset.as_bytes() != name && unset.as_bytes() != variable)
    });
    if let Ok(groups) = rustix::process::getgroups() {
        who.join(groups.into_iter().map(|group| group.as_raw()));
    }
    Ok(variables)
}

/// What is open beside the standard streams: whoever ends the session has no use for it.
fn open_descriptors() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<RawFd>().ok();
    entries.filter_map(number).filter(|number| *number > 2).collect()
}
