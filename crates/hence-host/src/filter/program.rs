//! A filter as rules, and the program that the kernel runs of it. seccompiler makes the comparisons; which
//! set of system calls a program is for is told apart here, since a filter of its own kills all others.

use super::abi::{Abi, LOCAL, X32_BIT};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// What is compared with an argument's lower 32 bits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Is {
    /// It is this.
    Exactly(u32),
    /// It is not this.
    Not(u32),
    /// Under a mask it is this.
    Masked(u32, u32),
}

/// Arguments by their place, all of which must be so.
pub(super) type Arguments<'a> = &'a [(u8, Is)];

/// Rules of one filter: what they name has one action, all else another.
#[derive(Debug)]
pub(super) struct Rules {
    abi: Abi,
    /// By number; without arguments it is for every call of that number.
    calls: BTreeMap<i64, Vec<SeccompRule>>,
}

impl Rules {
    pub(super) fn new(abi: Abi) -> Rules {
        Rules { abi, calls: BTreeMap::new() }
    }

    pub(super) fn abi(&self) -> Abi {
        self.abi
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether a call is named.
    pub(super) fn names(&self, name: &str) -> bool {
        self.abi.number(name).is_some_and(|number| self.calls.contains_key(&i64::from(number)))
    }

    /// Takes a call out.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(number) = self.abi.number(name) {
            self.calls.remove(&i64::from(number));
        }
    }

    /// Names a call whatever its arguments.
    pub(super) fn all(&mut self, name: &str) {
        if let Some(number) = self.abi.number(name) {
            self.calls.insert(i64::from(number), Vec::new());
        }
        if let Some((number, first)) = self.abi.through(name) {
            self.number(number, &[(0, Is::Exactly(first as u32))]);
        }
    }

    /// Names a call with such arguments.
    pub(super) fn some(&mut self, name: &str, arguments: Arguments<'_>) {
        if let Some(number) = self.abi.number(name) {
            self.number(number, arguments);
        }
    }

    fn number(&mut self, number: u32, arguments: Arguments<'_>) {
        let condition = |(at, is): &(u8, Is)| {
            let (operator, value) = match *is {
                Is::Exactly(value) => (SeccompCmpOp::Eq, value),
                Is::Not(value) => (SeccompCmpOp::Ne, value),
                Is::Masked(mask, value) => (SeccompCmpOp::MaskedEq(mask.into()), value),
            };
            SeccompCondition::new(*at, SeccompCmpArgLen::Dword, operator, value.into()).ok()
        };
        let conditions: Option<Vec<SeccompCondition>> = arguments.iter().map(condition).collect();
        let rule = conditions.and_then(|conditions| SeccompRule::new(conditions).ok());
        let Some(rule) = rule else { return };
        match self.calls.get_mut(&i64::from(number)) {
            // It is named whatever its arguments.
            Some(rules) if rules.is_empty() => {}
            Some(rules) => rules.push(rule),
            None => drop(self.calls.insert(i64::from(number), vec![rule])),
        }
    }

    /// The program: calls of other sets pass.
    pub(super) fn program(self, named: SeccompAction, others: SeccompAction) -> Result<BpfProgram, String> {
        let target = if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };
        let filter = SeccompFilter::new(self.calls, others, named, target).map_err(|e| e.to_string())?;
        let compiled = BpfProgram::try_from(filter).map_err(|e| e.to_string())?;
        let mut program = only(self.abi);
        program.extend(without_check(&compiled).ok_or("a program that begins otherwise than expected")?);
        if program.len() > usize::from(u16::MAX).min(MOST) {
            return Err("a program that is too long".to_owned());
        }
        Ok(program)
    }
}

/// What the kernel takes in one program.
const MOST: usize = 4096;
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter { code, jt: then, jf: otherwise, k }
}

/// The beginning of a program that lets pass what isn't of this set.
fn only(abi: Abi) -> Vec<sock_filter> {
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let mut program = vec![statement(LOAD, ARCHITECTURE), jump(JUMP_EQUAL, abi.audit(), 1, 0), allow.clone()];
    let (below, above) = match abi {
        Abi::X86_64 => (1, 0),
        Abi::X32 => (0, 1),
        _ => return program,
    };
    program.push(statement(LOAD, NUMBER));
    program.push(jump(JUMP_NOT_LESS, X32_BIT, above, below));
    program.push(allow);
    program
}

/// The program after its own check of the architecture: the three instructions that it begins with.
fn without_check(program: &[sock_filter]) -> Option<Vec<sock_filter>> {
    let [load, check, kill, rest @ ..] = program else { return None };
    let expected =
        load.code == LOAD && load.k == ARCHITECTURE && check.code == JUMP_EQUAL && kill.code == RETURN;
    (expected && (check.jt, check.jf) == (1, 0)).then(|| rest.to_vec())
}

/// The program that kills who calls by another set than these; the machine's own is always among them.
pub(super) fn architectures(allowed: &[Abi]) -> BpfProgram {
    let has = |abi: Abi| abi == LOCAL[0] || allowed.contains(&abi);
    let kill = statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
    let allow = statement(RETURN, libc::SECCOMP_RET_ALLOW);
    let mut program = vec![statement(LOAD, ARCHITECTURE)];
    for abi in LOCAL.iter().copied().filter(|abi| *abi != Abi::X32 && has(*abi)) {
        if abi == Abi::X86_64 && !has(Abi::X32) {
            program.extend([
                jump(JUMP_EQUAL, abi.audit(), 0, 4),
                statement(LOAD, NUMBER),
                jump(JUMP_NOT_LESS, X32_BIT, 1, 0),
                allow.clone(),
                kill.clone(),
            ]);
        } else {
            program.extend([jump(JUMP_EQUAL, abi.audit(), 0, 1), allow.clone()]);
        }
    }
    program.push(kill);
    program
}
