//! Filters of system calls: what a unit's settings come to, as lines of a plan, and the programs that the
//! executor makes of them and installs. SystemCallFilter=, RestrictAddressFamilies= and their kin of
//! systemd.exec(5). Nothing is compiled in process 1.

mod abi;
mod program;

use crate::sys::seccomp;
use abi::{Abi, LOCAL};
use hence_unit::{
    ExecConfig,
    attributes::PERSONALITIES,
    calls::{self, CallSet, Refusal},
    restrict::Restrictions,
};
use program::{Arguments, Is, Rules};
use seccompiler::SeccompAction;
use std::{fmt::Write, io};

/// A filter that could not be installed: whether it was that of address families, and why.
pub(crate) struct Failure {
    /// RestrictAddressFamilies= has an exit status of its own.
    pub families: bool,
    /// What it is of.
    pub subject: String,
    /// What the kernel said.
    pub error: io::Error,
}

/// The filters of a unit, in the order in which they are installed: one line each, a word and its arguments.
pub(crate) fn of_unit(context: &ExecConfig) -> Vec<String> {
    let mut lines = Vec::new();
    let none = Restrictions::default();
    let restrictions = context.restrictions.as_deref().unwrap_or(&none);
    let protection = context.protection.as_deref();
    let protects = |set: fn(&hence_unit::config::Protection) -> bool| protection.is_some_and(set);
    if let Some(set) = &restrictions.families {
        let mut line = format!("families {}", if set.allow { "allow" } else { "deny" });
        for family in &set.families {
            let _ = write!(line, " {family}");
        }
        lines.push(line);
    }
    let mut when = |on: bool, line: &str| {
        if on {
            lines.push(line.to_owned());
        }
    };
    when(restrictions.deny_write_execute, "write-execute");
    when(restrictions.realtime, "realtime");
    when(restrictions.suid_sgid || protects(|p| p.dynamic_user), "suid-sgid");
    if let Some(refused) = restrictions.refused_namespaces() {
        when(true, &format!("namespaces {refused}"));
    }
    when(protects(|p| p.kernel_tunables), "refuse _sysctl");
    when(protects(|p| p.kernel_modules), "refuse @module");
    when(protects(|p| p.kernel_logs), "refuse syslog");
    when(protects(|p| p.clock), "refuse @clock");
    when(protects(|p| p.private_devices), "refuse @raw-io");
    when(protects(|p| p.hostname), "refuse sethostname setdomainname");
    if restrictions.lock_personality {
        let own = context.attributes.as_ref().and_then(|a| a.personality.as_deref());
        let own = own.and_then(|word| hence_unit::value::word(word, PERSONALITIES));
        when(true, &format!("personality {}", own.map_or("own".to_owned(), |number| number.to_string())));
    }
    if !restrictions.architectures.is_empty() {
        when(true, &format!("architectures {}", restrictions.architectures.join(" ")));
    }
    if let Some(set) = &restrictions.log {
        when(true, &listed("log", "", set));
    }
    if let Some(set) = &restrictions.calls {
        let usual = restrictions.error_number.map_or("kill ".to_owned(), |number| format!("{number} "));
        when(true, &listed("filter", &usual, set));
    }
    lines
}

fn listed(word: &str, usual: &str, set: &CallSet) -> String {
    let mut line = format!("{word} {usual}{}", if set.allow { "allow" } else { "deny" });
    for (call, refusal) in set.iter() {
        let name = call.name();
        let _ = match refusal {
            Refusal::Usual => write!(line, " {name}"),
            Refusal::Kill => write!(line, " {name}:kill"),
            Refusal::Errno(number) => write!(line, " {name}:{number}"),
        };
    }
    line
}

/// Installs all of them. From then on this process can do only what they allow.
///
/// # Errors
/// Which one, where the kernel refuses it. That it knows no filters, or none for another set of system calls,
/// is only said, as systemd does.
pub(crate) fn install(lines: &[String]) -> Result<(), Failure> {
    let allowed = allowed(lines);
    // What gives the same error for all it names becomes one program for each set of calls.
    let mut refused: Vec<Rules> = allowed.iter().map(|abi| Rules::new(*abi)).collect();
    let mut unknown: Vec<Rules> = allowed.iter().map(|abi| Rules::new(*abi)).collect();
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "families" => {
                for abi in allowed.iter().filter(|abi| **abi != Abi::X86) {
                    load(
                        families(*abi, rest),
                        errno(libc::EAFNOSUPPORT),
                        SeccompAction::Allow,
                        "RestrictAddressFamilies=",
                    )
                    .map_err(|failure| Failure { families: true, ..failure })?;
                }
            }
            "architectures" | "log" | "filter" => {}
            _ => {
                for (rules, unknown) in refused.iter_mut().zip(&mut unknown) {
                    refuse(rules, unknown, word, rest);
                }
            }
        }
    }
    for rules in refused.into_iter().filter(|rules| !rules.is_empty()) {
        load(rules, errno(libc::EPERM), SeccompAction::Allow, "Restrict...= and Protect...=")?;
    }
    for rules in unknown.into_iter().filter(|rules| !rules.is_empty()) {
        load(rules, errno(libc::ENOSYS), SeccompAction::Allow, "RestrictNamespaces= or RestrictSUIDSGID=")?;
    }
    let of =
        |wanted: &str| lines.iter().filter_map(|line| line.split_once(' ')).find(|(word, _)| *word == wanted);
    if of("architectures").is_some() {
        put(&program::architectures(&allowed), "SystemCallArchitectures=")?;
    }
    if let Some((_, rest)) = of("log") {
        let (allow, names) = rest.split_once(' ').unwrap_or((rest, ""));
        let (named, others) = match allow {
            "allow" => (SeccompAction::Log, SeccompAction::Allow),
            _ => (SeccompAction::Allow, SeccompAction::Log),
        };
        for abi in &allowed {
            load(named_all(*abi, names), named.clone(), others.clone(), "SystemCallLog=")?;
        }
    }
    if let Some((_, rest)) = of("filter") {
        for abi in &allowed {
            filter(*abi, rest)?;
        }
    }
    Ok(())
}

/// The sets of calls that stay possible: for others no filter is needed. Our own is the last, as what it
/// allows need not be what installing further ones takes.
fn allowed(lines: &[String]) -> Vec<Abi> {
    let line = lines.iter().find_map(|line| line.strip_prefix("architectures "));
    let named = |word: &str| line.is_none_or(|line| line.split(' ').any(|known| known == word));
    let is = |abi: &Abi| *abi == LOCAL[0] || named(abi.as_str());
    LOCAL.iter().copied().filter(is).rev().collect()
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number as u32)
}

fn load(rules: Rules, named: SeccompAction, others: SeccompAction, subject: &str) -> Result<(), Failure> {
    match rules.program(named, others) {
        Ok(program) => put(&program, subject),
        Err(wrong) => {
            Err(Failure { families: false, subject: subject.to_owned(), error: io::Error::other(wrong) })
        }
    }
}

fn put(program: &[seccompiler::sock_filter], subject: &str) -> Result<(), Failure> {
    match seccomp::install(program) {
        Ok(()) => Ok(()),
        Err(error) if is_fatal(&error) => {
            Err(Failure { families: false, subject: subject.to_owned(), error })
        }
        Err(error) => {
            eprintln!("hence-executor: {subject}: {error}: system calls are not filtered");
            Ok(())
        }
    }
}

/// Whether the kernel has filters and refuses this one.
fn is_fatal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOMEM | libc::EFAULT) | None)
}

fn named_all(abi: Abi, names: &str) -> Rules {
    let mut rules = Rules::new(abi);
    names.split_ascii_whitespace().for_each(|name| rules.all(name));
    rules
}

/// SystemCallFilter=: those that have an error of their own have a program of their own.
fn filter(abi: Abi, line: &str) -> Result<(), Failure> {
    let mut words = line.split_ascii_whitespace();
    let usual = words.next().map_or(SeccompAction::KillProcess, action);
    let allow = words.next() == Some("allow");
    let mut rules = Rules::new(abi);
    let mut own: Vec<(&str, Rules)> = Vec::new();
    for word in words {
        let (name, refusal) = word.split_once(':').unwrap_or((word, ""));
        if refusal.is_empty() || allow {
            rules.all(name);
        }
        if !refusal.is_empty() {
            let at = own.iter().position(|(known, _)| *known == refusal).unwrap_or_else(|| {
                own.push((refusal, Rules::new(abi)));
                own.len() - 1
            });
            own[at].1.all(name);
        }
    }
    let subject = "SystemCallFilter=";
    let refuses_next = allow != rules.names(INSTALLS);
    if refuses_next {
        own.iter_mut().for_each(|(_, rules)| rules.forget(INSTALLS));
    }
    // After it no other could be installed.
    let (last, own): (Vec<_>, Vec<_>) = own.into_iter().partition(|(_, rules)| rules.names(INSTALLS));
    for (refusal, rules) in own.into_iter().filter(|(_, rules)| !rules.is_empty()) {
        load(rules, action(refusal), SeccompAction::Allow, subject)?;
    }
    match allow {
        true => load(rules, SeccompAction::Allow, usual, subject)?,
        false if rules.is_empty() => {}
        false => load(rules, usual, SeccompAction::Allow, subject)?,
    }
    for (refusal, rules) in last {
        load(rules, action(refusal), SeccompAction::Allow, subject)?;
    }
    Ok(())
}

/// The call that installs filters.
const INSTALLS: &str = "seccomp";

fn action(word: &str) -> SeccompAction {
    match word.parse() {
        Ok(number) => SeccompAction::Errno(number),
        Err(_) => SeccompAction::KillProcess,
    }
}

/// RestrictAddressFamilies=: the first argument of socket(2).
fn families(abi: Abi, line: &str) -> Rules {
    let mut rules = Rules::new(abi);
    let mut words = line.split_ascii_whitespace();
    let allow = words.next() == Some("allow");
    let named: Vec<u32> = words.filter_map(|word| word.parse().ok()).collect();
    if allow {
        let others: Vec<(u8, Is)> = named.iter().map(|family| (0, Is::Not(*family))).collect();
        match others.is_empty() {
            true => rules.all("socket"),
            false => rules.some("socket", &others),
        }
    } else {
        named.iter().for_each(|family| rules.some("socket", &[(0, Is::Exactly(*family))]));
    }
    rules
}

/// What gives EPERM; what takes its arguments in memory, where no filter can look, goes to `unknown` and
/// gives ENOSYS, so that programs take the older call.
fn refuse(rules: &mut Rules, unknown: &mut Rules, word: &str, rest: &str) {
    const EXECUTE: u32 = libc::PROT_EXEC as u32;
    const WRITE_EXECUTE: u32 = EXECUTE | libc::PROT_WRITE as u32;
    let number = || rest.parse::<u32>().unwrap_or(0);
    match word {
        "write-execute" => {
            let executable: Arguments<'_> = &[(2, Is::Masked(EXECUTE, EXECUTE))];
            let both: Arguments<'_> = &[(2, Is::Masked(WRITE_EXECUTE, WRITE_EXECUTE))];
            // The old call of 32 bits has its arguments in memory.
            match rules.abi() {
                Abi::X86 => rules.all("mmap"),
                _ => rules.some("mmap", both),
            }
            rules.some("mmap2", both);
            rules.some("mprotect", executable);
            rules.some("pkey_mprotect", executable);
            rules.some("shmat", &[(2, Is::Masked(libc::SHM_EXEC as u32, libc::SHM_EXEC as u32))]);
        }
        "realtime" => {
            let policies = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
            let others = policies.map(|policy| (1, Is::Not(policy as u32)));
            rules.some("sched_setscheduler", &others);
        }
        "suid-sgid" => suid_sgid(rules, unknown),
        "namespaces" => {
            let refused = number();
            for flag in (0..32).map(|bit| 1u32 << bit).filter(|flag| refused & flag != 0) {
                rules.some("unshare", &[(0, Is::Masked(flag, flag))]);
                rules.some("setns", &[(1, Is::Masked(flag, flag))]);
                // There it is a part of the signal at the end.
                if flag > 0xff {
                    rules.some("clone", &[(0, Is::Masked(flag, flag))]);
                }
            }
            // Whichever the descriptor is of.
            rules.some("setns", &[(1, Is::Exactly(0))]);
            unknown.all("clone3");
        }
        "personality" => {
            // Where the unit names none, this process has what the machine has.
            let own = rest.parse().unwrap_or_else(|_| crate::sys::attributes::personality());
            rules.some("personality", &[(0, Is::Not(own))]);
        }
        _ => {
            for name in rest.split_ascii_whitespace() {
                match calls::group(name) {
                    Some(group) => group.into_iter().for_each(|call| rules.all(call.name())),
                    None => rules.all(name),
                }
            }
        }
    }
}

/// RestrictSUIDSGID=: every call that sets a mode.
fn suid_sgid(rules: &mut Rules, unknown: &mut Rules) {
    const CREATE: u32 = libc::O_CREAT as u32;
    for bit in [libc::S_ISUID, libc::S_ISGID] {
        let set = |at: u8| (at, Is::Masked(bit, bit));
        for (name, at) in [
            ("chmod", 1),
            ("fchmod", 1),
            ("fchmodat", 2),
            ("fchmodat2", 2),
            ("mkdir", 1),
            ("mkdirat", 2),
            ("mknod", 1),
            ("mknodat", 2),
            ("creat", 1),
        ] {
            rules.some(name, &[set(at)]);
        }
        rules.some("open", &[(1, Is::Masked(CREATE, CREATE)), set(2)]);
        rules.some("openat", &[(2, Is::Masked(CREATE, CREATE)), set(3)]);
    }
    unknown.all("openat2");
}

/// The name of a call, by what the kernel says of it.
pub(crate) fn call_name(audit: u32, number: u32) -> Option<&'static str> {
    Abi::name(audit, number)
}
