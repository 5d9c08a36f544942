//! Callers without privilege, and polkit where it is on the bus: it is asked without waiting, and the call is
//! served or refused when it has answered. It decides; this only carries the question.
//!
//! What is outstanding is bounded, over all and for each caller, and by time: who keeps us waiting too long,
//! and polkit that never answers, end as a refusal. Where there is no polkit the bus says so at once.

use super::{Bus, Call, Question};
use crate::front::{ErrorName, Refusal};
use crate::peer::Caller;
use crate::wire::{ALLOW_INTERACTIVE, Message, NO_REPLY_EXPECTED, Value};
use std::borrow::Cow;

/// Most questions that are outstanding.
pub const OUTSTANDING_MAX: usize = 64;
/// Most questions of one caller that are outstanding.
pub const OF_ONE_MAX: usize = 8;
/// How many ticks an answer may take that asks nobody.
const TICKS: u8 = 3;
/// How many ticks an answer may take where a person is asked for a password.
const TICKS_INTERACTIVE: u8 = 12;

/// A call that waits for polkit.
#[derive(Debug)]
pub(crate) struct Asked {
    sender: String,
    caller: Caller,
    call: Call,
    interactive: bool,
    ticks: u8,
}

/// What a refused caller is told, as systemd tells it.
pub(crate) fn refusal() -> Refusal {
    Refusal::new(ErrorName::AccessDenied, "Permission denied")
}

impl Bus {
    /// Asks polkit whether a caller may do this: an action of org.freedesktop.systemd1, and what of it rules
    /// may look at.
    pub(crate) fn ask_polkit(
        &mut self,
        sender: &str,
        caller: Caller,
        call: Call,
        action: &str,
        details: &[(&'static str, String)],
    ) -> Result<(), Refusal> {
        let of_one = self.asked.values().filter(|asked| asked.sender == sender).count();
        if self.asked.len() >= OUTSTANDING_MAX || of_one >= OF_ONE_MAX {
            let text = "Too many requests wait for polkit.";
            return Err(Refusal::new(ErrorName::LimitsExceeded, text));
        }
        let interactive = call.message.flags & ALLOW_INTERACTIVE != 0;
        let subject = Value::Struct(vec![
            "system-bus-name".into(),
            Value::array("{sv}", vec![Value::property("name", sender.to_owned().into())]),
        ]);
        let detail = |(name, text): &(&'static str, String)| {
            Value::Entry(Box::new(((*name).into(), text.clone().into())))
        };
        let mut question = Message::call(
            "/org/freedesktop/PolicyKit1/Authority",
            "org.freedesktop.PolicyKit1.Authority",
            "CheckAuthorization",
        )
        .with(vec![
            subject,
            format!("org.freedesktop.systemd1.{action}").into(),
            Value::array("{ss}", details.iter().map(detail).collect()),
            u32::from(interactive).into(),
            "".into(),
        ]);
        question.fields.destination = Some(Cow::Borrowed("org.freedesktop.PolicyKit1"));
        let serial = self.outbox.push(&question);
        self.questions.insert(serial, Question::Polkit);
        self.asked.insert(serial, Asked { sender: sender.to_owned(), caller, call, interactive, ticks: 0 });
        Ok(())
    }

    /// Polkit answered `(bba{ss})`: authorized, or could be if somebody were asked. An error is a no: there
    /// is no polkit, or it knows no such action.
    pub(super) fn polkit_answered(&mut self, serial: u32, answer: Result<Vec<Value>, Message>) {
        let Some(asked) = self.asked.remove(&serial) else { return };
        let (authorized, challenge) =
            match answer.as_deref().ok().and_then(<[Value]>::first).map(Value::items) {
                Some([Value::Bool(authorized), Value::Bool(challenge), ..]) => (*authorized, *challenge),
                _ => (false, false),
            };
        if authorized {
            self.granted.push_back((asked.sender, asked.caller, asked.call));
            return;
        }
        let refusal = if challenge {
            let text = "Interactive authentication required.";
            Refusal::new(ErrorName::InteractiveAuthorizationRequired, text)
        } else {
            refusal()
        };
        self.refuse_asked(asked, refusal);
    }

    fn refuse_asked(&mut self, asked: Asked, refusal: Refusal) {
        if let Some(open) = self.open_requests(&asked.sender) {
            *open = open.saturating_sub(1);
        }
        if asked.call.message.flags & NO_REPLY_EXPECTED == 0 {
            self.respond(&asked.sender, asked.call.message.serial, Err(refusal));
        }
    }

    /// Whether polkit owes any answer.
    pub(crate) fn waits_for_polkit(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Some time has passed: what took too long is refused.
    pub(crate) fn polkit_tick(&mut self) {
        let late = |asked: &mut Asked| {
            asked.ticks += 1;
            asked.ticks >= if asked.interactive { TICKS_INTERACTIVE } else { TICKS }
        };
        let late: Vec<u32> =
            self.asked.iter_mut().filter_map(|(serial, asked)| late(asked).then_some(*serial)).collect();
        for serial in late {
            // What it says later means nothing.
            self.questions.remove(&serial);
            if let Some(asked) = self.asked.remove(&serial) {
                self.refuse_asked(asked, refusal());
            }
        }
    }

    /// Polkit's answers will not be heard any more.
    pub(crate) fn refuse_all_asked(&mut self) {
        for (serial, asked) in std::mem::take(&mut self.asked) {
            self.questions.remove(&serial);
            let text = "The service manager is executed anew and could not wait for polkit; ask again.";
            self.refuse_asked(asked, Refusal::new(ErrorName::Failed, text));
        }
    }

    /// A caller is gone: what it waited for is done for nobody.
    pub(super) fn forget_asked(&mut self, sender: &str) {
        let of: Vec<u32> =
            self.asked.iter().filter(|(_, a)| a.sender == sender).map(|(serial, _)| *serial).collect();
        for serial in of {
            self.asked.remove(&serial);
            self.questions.remove(&serial);
        }
        self.granted.retain(|(of, ..)| of != sender);
    }
}
