//! Values of what restricts system calls, and of attributes that few units set. What the kernel makes of them
//! is not known here.

use super::Field;
use crate::interface::shown::Shown;
use crate::wire::Value;
use hence_unit::{
    ExecConfig,
    attributes::{Attributes, PERSONALITIES, SECURE_BITS},
    calls::{self, CallSet, Refusal},
    restrict::{FAMILIES, FamilySet, Restrictions},
};

/// `None` where it is no such property, or the unit sets nothing of the kind.
pub fn value(context: &ExecConfig, field: Field) -> Option<Shown<'_>> {
    let restrictions = context.restrictions.as_deref().and_then(|r| of_restrictions(r, field));
    let attributes = || context.attributes.as_deref().and_then(|a| of_attributes(a, field));
    restrictions.or_else(attributes)
}

fn of_restrictions(restrictions: &Restrictions, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::SystemCallFilter => calls(restrictions.calls.as_ref()?),
        Field::SystemCallLog => calls(restrictions.log.as_ref()?),
        Field::SystemCallErrorNumber => i32::from(restrictions.error_number?).into(),
        Field::SystemCallArchitectures => Shown::Boxes(&restrictions.architectures),
        Field::RestrictAddressFamilies => families(restrictions.families.as_ref()?),
        Field::RestrictNamespaces => u64::from(restrictions.namespaces?).into(),
        Field::MemoryDenyWriteExecute => restrictions.deny_write_execute.into(),
        Field::LockPersonality => restrictions.lock_personality.into(),
        Field::RestrictRealtime => restrictions.realtime.into(),
        Field::RestrictSUIDSGID => restrictions.suid_sgid.into(),
        _ => return None,
    })
}

fn listed(allow: bool, names: Vec<String>) -> Shown<'static> {
    Value::Struct(vec![allow.into(), Value::strings(names)]).into()
}

/// Names in their order, with the errors that some give; a list of what is allowed leaves those out.
fn calls(set: &CallSet) -> Shown<'static> {
    let name = |(call, refusal): (calls::Call, Refusal)| match refusal {
        Refusal::Usual => Some(call.name().to_owned()),
        _ if set.allow => None,
        Refusal::Kill => Some(format!("{}:kill", call.name())),
        Refusal::Errno(number) => Some(match calls::errno_name(number) {
            Some(error) => format!("{}:{error}", call.name()),
            None => format!("{}:{number}", call.name()),
        }),
    };
    listed(set.allow, set.iter().filter_map(name).collect())
}

fn families(set: &FamilySet) -> Shown<'static> {
    let name = |family: &u8| FAMILIES.iter().find(|(_, number)| number == family);
    let mut names: Vec<String> =
        set.families.iter().filter_map(name).map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    listed(set.allow, names)
}

fn of_attributes(attributes: &Attributes, field: Field) -> Option<Shown<'_>> {
    Some(match field {
        Field::Personality => {
            let known = |word: &str| PERSONALITIES.iter().any(|(name, _)| *name == word);
            attributes.personality.as_deref().filter(|word| known(word))?.into()
        }
        Field::SecureBits => (i32::from(attributes.secure_bits) & ((1 << SECURE_BITS.len()) - 1)).into(),
        Field::TimerSlackNSec => attributes.timer_slack_ns?.into(),
        Field::CoredumpFilter => attributes.coredump_filter?.into(),
        Field::CPUSchedulingResetOnFork => attributes.reset_on_fork.into(),
        Field::NUMAPolicy => i32::from(attributes.numa_policy?).into(),
        Field::NUMAMask => super::mask(attributes.numa_nodes.iter().map(|node| usize::from(*node))).into(),
        Field::KeyringMode => attributes.keyring?.as_str().into(),
        Field::PAMName => attributes.pam_service.as_deref()?.into(),
        Field::ExecSearchPath => Shown::Boxes(&attributes.search_path),
        Field::TTYRows => Value::Uint16(attributes.tty_rows?).into(),
        Field::TTYColumns => Value::Uint16(attributes.tty_columns?).into(),
        Field::SetCredential => {
            let row = |(name, value): &(Box<str>, Vec<u8>)| {
                Value::Struct(vec![name.to_string().into(), Value::Bytes(value.clone())])
            };
            Value::array("(say)", attributes.credentials_set.iter().map(row).collect()).into()
        }
        Field::LoadCredential => {
            let row = |(name, source): &(Box<str>, Box<str>)| {
                Value::Struct(vec![name.to_string().into(), source.to_string().into()])
            };
            Value::array("(ss)", attributes.credentials_loaded.iter().map(row).collect()).into()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_unit::calls::Call;

    #[test]
    fn calls_and_their_errors() {
        let set = |allow: bool| {
            let mut set = CallSet::new(allow);
            for (name, refusal) in
                [("mkdir", Refusal::Errno(13)), ("read", Refusal::Usual), ("chmod", Refusal::Kill)]
            {
                set.insert(Call::find(name).expect("a call"), refusal);
            }
            calls(&set).value().expect("a value")
        };
        let list = |allow: bool, names: &[&'static str]| {
            Value::Struct(vec![allow.into(), Value::strings(names.iter().copied())])
        };
        assert_eq!(set(false), list(false, &["chmod:kill", "mkdir:EACCES", "read"]));
        assert_eq!(set(true), list(true, &["read"]));
    }
}
