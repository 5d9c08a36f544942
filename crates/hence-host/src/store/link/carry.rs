//! The link to the recorder is handed to the program that takes hence's place: the recorder stays who it is,
//! and every output pipe stays open.

use super::{FIRST_DELAY_US, Output, Outputs, RecorderCommand, RecorderLink};
use crate::carry::Out;
use crate::store::message::ToRecorder;
use crate::sys::inherited::Inherited;
use hence_engine::carry::{Carried, Section, Unread};
use hence_ledger::{Invocation, RecordId};
use std::collections::VecDeque;
use std::sync::Arc;

type OutputWords = (u32, String, Invocation, u32, [Option<i32>; 2], Option<Vec<u8>>);

impl RecorderLink {
    /// Writes what a successor needs, in sections of its own.
    pub fn carry<'h>(&'h self, out: &mut Out<'h>) {
        out.text.section("recorder", "");
        out.text.field("pid", &self.pid);
        let socket = self.socket.as_ref().map(|fd| out.keep(fd));
        out.text.field("socket", &socket);
        out.text.field("dropped", &self.dropped);
        out.text.field("restart_at_us", &self.restart_at_us);
        out.text.field("delay_us", &self.delay_us);
        out.text.field("started_us", &self.started_us);
        out.text.field("unsent", &self.unsent.iter().copied().collect::<Vec<u64>>());
        for message in &self.queue {
            if let ToRecorder::EndedBadly { unit, invocation, record } = message {
                out.text.field("ended_badly", &(unit.to_string(), *invocation, *record));
            }
        }
        for (place, output) in self.outputs.places.iter().enumerate() {
            let Some(output) = output else { continue };
            let ends = [&output.ends[0], &output.ends[1]].map(|end| end.as_ref().map(|fd| out.keep(fd)));
            let logging = output.logging.as_deref().map(<[u8]>::to_vec);
            let words: OutputWords =
                (place as u32, output.unit.to_string(), output.invocation, output.pid, ends, logging);
            out.text.field("output", &words);
        }
    }

    /// The link as it was. `None`: it was not handed on, or can't be read; what is wrong is said in `unread`.
    pub fn take_up(
        command: &RecorderCommand,
        carried: &Carried<'_>,
        inherited: &mut Inherited,
        unread: &mut Vec<String>,
    ) -> Option<RecorderLink> {
        let from = carried.one("recorder")?;
        match taken(command, from, inherited) {
            Ok(link) => Some(link),
            Err(Unread(key)) => {
                unread.push(format!("recorder: {key}"));
                None
            }
        }
    }
}

fn taken(
    command: &RecorderCommand,
    from: &Section<'_>,
    inherited: &mut Inherited,
) -> Result<RecorderLink, Unread> {
    let outputs: Vec<OutputWords> = from.all("output")?;
    let ended: Vec<(String, Invocation, RecordId)> = from.all("ended_badly")?;
    let pid = from.need("pid")?;
    let socket = from.need::<Option<i32>>("socket")?.and_then(|fd| inherited.take(fd));
    let mut link = RecorderLink {
        command: command.clone(),
        pid,
        // It is woken once too often rather than once too seldom.
        awake: false,
        hurried: false,
        outputs: Outputs::default(),
        unsent: from.get::<Vec<u64>>("unsent")?.unwrap_or_default().into(),
        queue: VecDeque::new(),
        dropped: from.get("dropped")?.unwrap_or_default(),
        blocked: true,
        again_at_us: None,
        stalled: None,
        restart_at_us: from.get("restart_at_us")?.unwrap_or_default(),
        delay_us: from.get("delay_us")?.unwrap_or(FIRST_DELAY_US),
        started_us: from.get("started_us")?.unwrap_or_default(),
        socket,
    };
    if link.socket.is_none() && link.restart_at_us.is_none() {
        return Err(Unread("socket".into()));
    }
    let known = |(place, ..): &OutputWords| (*place as usize) < outputs.len() * 64 + 4096;
    let count = outputs.iter().filter(|o| known(o)).map(|o| o.0 as usize + 1).max().unwrap_or(0);
    link.outputs.places.resize_with(count, || None);
    for (place, unit, invocation, pid, ends, logging) in outputs.iter().filter(|o| known(o)) {
        let ends = ends.map(|end| end.and_then(|fd| inherited.take(fd)));
        let unit = unit.as_str().into();
        let logging = logging.as_deref().map(Arc::from);
        let output = Output { unit, invocation: *invocation, pid: *pid, logging, ends };
        if output.ends.iter().any(Option::is_some) {
            link.outputs.places[*place as usize] = Some(output);
        }
    }
    let free = link.outputs.places.iter().enumerate().filter(|(_, output)| output.is_none());
    link.outputs.free = free.map(|(place, _)| place as u32).collect();
    for (unit, invocation, record) in ended {
        let unit = unit.as_str().into();
        link.queue.push_back(ToRecorder::EndedBadly { unit, invocation, record });
    }
    Ok(link)
}
