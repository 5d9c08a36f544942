//! A process that the kernel killed for a system call: which setting refuses it. What the call was is known
//! only where the kernel's log could be read.

use crate::Engine;
use crate::UnitId;
use crate::unit::{Rules, State};
use alloc::{format, string::String, vec::Vec};
use hence_ledger::{Cause, Exit, ExitKind, Rule, SpawnStep};
use hence_unit::{Text, calls::Call, restrict::Restrictions};

/// SIGSYS has the same number on all that hence runs on.
const SIGSYS: i32 = 31;

impl Engine {
    /// The settings that a step of a start which failed can be of, as far as the unit has them.
    pub(crate) fn directives_of(&self, unit: UnitId, step: SpawnStep) -> Option<Text> {
        let config = &self.units[unit.0 as usize].config;
        let set = directives(step).iter().filter(|name| config.rule(name).is_some());
        let all: Vec<String> = set.map(|name| format!("{name}=")).collect();
        (!all.is_empty()).then(|| all.join(", ").into())
    }

    /// What the call was that the kernel is about to be said to have killed a process for.
    pub(crate) fn call_refused(&mut self, unit: UnitId, call: Text) {
        if let State::Service(service) = &mut self.units[unit.0 as usize].state {
            service.refused_call = Some(call);
        }
    }

    /// The cause that the end of a process is, with the rule that killed it where one did.
    pub(crate) fn with_refusal(&mut self, unit: UnitId, exit: Exit, cause: Cause) -> Cause {
        let call = self.service_mut(unit).refused_call.take();
        if !matches!(exit.kind, ExitKind::Killed | ExitKind::Dumped) || exit.status != SIGSYS {
            return cause;
        }
        let config = &self.units[unit.0 as usize].config;
        let restrictions = config.service().and_then(|s| s.context.restrictions.as_deref());
        let Some(directive) = restrictions.and_then(|r| refusing(r, call.as_deref())) else { return cause };
        let Some(rule) = config.rule(directive) else { return cause };
        let directive = match call {
            Some(call) => format!("{directive}= refuses {call}").into(),
            None => rule.directive,
        };
        Cause { rule: Some(Rule { directive, ..rule }), ..cause }
    }
}

/// What a step of a start that failed can be of.
fn directives(step: SpawnStep) -> &'static [&'static str] {
    match step {
        SpawnStep::Filter => &[
            "SystemCallFilter",
            "SystemCallArchitectures",
            "SystemCallLog",
            "RestrictAddressFamilies",
            "RestrictNamespaces",
            "MemoryDenyWriteExecute",
            "LockPersonality",
            "RestrictRealtime",
            "RestrictSUIDSGID",
        ],
        SpawnStep::Credentials => &["LoadCredential", "ImportCredential", "SetCredential"],
        SpawnStep::Attributes => {
            &["Personality", "SecureBits", "TimerSlackNSec", "NUMAPolicy", "KeyringMode", "NoNewPrivileges"]
        }
        _ => &[],
    }
}

/// The directive that kills for this call, or for any where it isn't known.
fn refusing(restrictions: &Restrictions, call: Option<&str>) -> Option<&'static str> {
    let filters = restrictions.calls.as_ref().is_some_and(|set| {
        let named = call.and_then(Call::find).map(|call| set.has(call));
        named.is_none_or(|named| named != set.allow)
    });
    let architectures = !restrictions.architectures.is_empty();
    match (filters, architectures) {
        (true, _) => Some("SystemCallFilter"),
        (false, true) => Some("SystemCallArchitectures"),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_unit::calls::{CallSet, Refusal};

    #[test]
    fn which_directive_kills() {
        let mut set = CallSet::new(false);
        set.insert(Call::find("mkdir").expect("a call"), Refusal::Usual);
        let mut restrictions = Restrictions { calls: Some(set), ..Restrictions::default() };
        assert_eq!(refusing(&restrictions, Some("mkdir")), Some("SystemCallFilter"));
        assert_eq!(refusing(&restrictions, None), Some("SystemCallFilter"));
        assert_eq!(refusing(&restrictions, Some("read")), None);
        restrictions.architectures = [String::from("native").into_boxed_str()].into();
        assert_eq!(refusing(&restrictions, Some("read")), Some("SystemCallArchitectures"));
        assert_eq!(refusing(&Restrictions::default(), None), None);
    }
}
