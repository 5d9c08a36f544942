//! Open sockets are handed to the program that takes hence's place, with connections that still wait.

use super::{Port, Sockets, Unit, reserve};
use crate::carry::{Names, Out, Taking};
use crate::wait::Token;
use hence_engine::ConnectionId;
use hence_engine::carry::{Section, Unread};
use rustix::{event::epoll, net::AddressFamily};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

type PortWords = (i32, String, bool, Option<u16>, Option<String>);

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Sockets {
    pub(crate) fn carry<'h>(&'h self, out: &mut Out<'h>, names: Names<'_>) {
        for (id, unit) in &self.units {
            let Some(name) = names(*id) else { continue };
            out.text.section("socket", &name);
            for port in &unit.ports {
                let fd = out.keep(&port.fd);
                let family = port.family.map(AddressFamily::as_raw);
                let node = port.node.as_deref().map(text);
                let words: PortWords = (fd, port.listen.to_string(), port.accepts, family, node);
                out.text.field("port", &words);
            }
            out.text.field("name", &unit.name);
            out.text.field("symlinks", &unit.symlinks.iter().map(|l| text(l)).collect::<Vec<_>>());
            out.text.field("flush", &unit.flush);
            out.text.field("accepted", &unit.accepted);
            out.text.field("watched", &unit.watched);
        }
        out.text.section("connections", "");
        out.text.field("next", &self.next);
        out.text.field("refused", &self.refused);
        for (id, fd) in &self.connections {
            let fd = out.keep(fd);
            out.text.field("connection", &(ConnectionId(*id), fd));
        }
    }

    pub(crate) fn take_up(&mut self, taking: &mut Taking<'_, '_>, epoll: &OwnedFd) {
        let carried = taking.carried;
        if let Some(from) = carried.one("connections") {
            let taken = self.take_connections(from, taking);
            taking.note("connections", taken);
        }
        for from in carried.of("socket") {
            let taken = self.take_unit(from, taking, epoll);
            taking.note(&format!("socket {}", from.name), taken);
        }
    }

    fn take_connections(&mut self, from: &Section<'_>, taking: &mut Taking<'_, '_>) -> Result<(), Unread> {
        self.next = from.need("next")?;
        self.refused = from.get("refused")?.unwrap_or_default();
        for (ConnectionId(id), fd) in from.all::<(ConnectionId, i32)>("connection")? {
            if let Some(fd) = taking.inherited.take(fd) {
                self.connections.insert(id, fd);
            }
        }
        Ok(())
    }

    fn take_unit(
        &mut self,
        from: &Section<'_>,
        taking: &mut Taking<'_, '_>,
        epoll: &OwnedFd,
    ) -> Result<(), Unread> {
        let missing = |what: &str| Unread(what.into());
        let (id, _) = (taking.find)(&from.name).ok_or_else(|| missing("unit"))?;
        let watched: bool = from.need("watched")?;
        let mut ports = Vec::new();
        for (fd, listen, accepts, family, node) in from.all::<PortWords>("port")? {
            let fd = taking.inherited.take(fd).ok_or_else(|| missing("descriptor"))?;
            debug_assert!(fd.as_raw_fd() > 2);
            let family = family.map(AddressFamily::from_raw);
            let (listen, node) = (listen.as_str().into(), node.map(PathBuf::from));
            ports.push(Port { fd, listen, accepts, paused: false, family, node });
        }
        if self.reserve.is_none() && ports.iter().any(|port| port.accepts) {
            self.reserve = reserve();
        }
        let links: Vec<String> = from.get("symlinks")?.unwrap_or_default();
        let unit = Unit {
            ports,
            name: from.need("name")?,
            symlinks: links.into_iter().map(PathBuf::from).collect(),
            flush: from.need("flush")?,
            accepted: from.need("accepted")?,
            watched,
        };
        if watched {
            // Not by `watch`: what came in meanwhile is not to be flushed.
            for (index, port) in unit.ports.iter().enumerate() {
                let data = epoll::EventData::new_u64(Token::Socket(id, index as u16).bits());
                let mut flags = epoll::EventFlags::IN;
                flags.set(epoll::EventFlags::ONESHOT, !port.accepts);
                let _ = epoll::add(epoll, &port.fd, data, flags);
            }
        }
        self.units.insert(id, unit);
        Ok(())
    }
}
