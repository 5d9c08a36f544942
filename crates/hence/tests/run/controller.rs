//! Scopes whose maker wants to be asked before they are stopped, over a real bus: Controller= and RequestStop
//! of org.freedesktop.systemd1(5).

use super::bus::{Daemon, call, site, start, tools, until_served};
use super::rig::{Site, send, until};
use hence_bus::wire::{Kind, Message, REPLY_MAX, Value, frame_length};
use hence_ledger::{Fact, SubState};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A client of the bus that reads what it is sent.
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    serial: u32,
    name: String,
}

impl Client {
    fn connect(site: &Site) -> Client {
        let mut stream = UnixStream::connect(site.path("system_bus")).expect("a bus");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n").expect("the bus reads");
        let mut client = Client { stream, input: Vec::new(), serial: 0, name: String::new() };
        // What the bus says before messages follow: two lines.
        while client.input.iter().filter(|byte| **byte == b'\n').count() < 2 {
            client.fill();
        }
        let end = client.input.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).expect("two").0;
        client.input.drain(..=end);
        let hello = Message::call("/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello");
        let body = client.ask(hello, "org.freedesktop.DBus").expect("a name");
        client.name = body[0].as_str().expect("a text").to_owned();
        client
    }

    fn fill(&mut self) {
        let mut buffer = [0; 4096];
        let length = self.stream.read(&mut buffer).expect("the bus says something");
        assert_ne!(length, 0, "the bus closed the connection");
        self.input.extend(&buffer[..length]);
    }

    fn next(&mut self) -> Message {
        loop {
            if let Some(length) = frame_length(&self.input, REPLY_MAX).expect("D-Bus")
                && self.input.len() >= length
            {
                let frame: Vec<u8> = self.input.drain(..length).collect();
                return Message::decode(&frame).expect("D-Bus").expect("a known kind");
            }
            self.fill();
        }
    }

    fn ask(&mut self, mut call: Message, to: &'static str) -> Result<Vec<Value>, String> {
        self.serial += 1;
        call.fields.destination = Some(to.into());
        let mut bytes = Vec::new();
        call.encode(self.serial, &mut bytes);
        self.stream.write_all(&bytes).expect("the bus reads");
        loop {
            let message = self.next();
            if message.fields.reply_serial == Some(self.serial) {
                let text = message.body.first().and_then(Value::as_str).unwrap_or_default().to_owned();
                return if message.kind == Kind::Error { Err(text) } else { Ok(message.body) };
            }
        }
    }

    /// Makes a scope of this process.
    fn scope(&mut self, unit: &str, pid: u32, controller: &str) -> Result<Vec<Value>, String> {
        let property =
            |name: &str, value: Value| Value::Struct(vec![name.to_owned().into(), Value::variant(value)]);
        let properties = vec![
            property("PIDs", Value::array("u", vec![pid.into()])),
            property("Controller", controller.to_owned().into()),
        ];
        let call = Message::call("/org/freedesktop/systemd1", MANAGER, "StartTransientUnit").with(vec![
            unit.to_owned().into(),
            "fail".into(),
            Value::array("(sv)", properties),
            Value::array("(sa(sv))", Vec::new()),
        ]);
        self.ask(call, "org.freedesktop.systemd1")
    }

    /// Waits for the signal.
    fn asked_to_stop(&mut self) -> String {
        loop {
            let message = self.next();
            if message.kind == Kind::Signal && message.fields.member.as_deref() == Some("RequestStop") {
                assert_eq!(message.fields.interface.as_deref(), Some("org.freedesktop.systemd1.Scope"));
                assert_eq!(message.fields.destination.as_deref(), Some(self.name.as_str()));
                return message.fields.path.unwrap_or_default().into_owned();
            }
        }
    }
}

fn sleeper(site: &Site) -> Child {
    Command::new("sleep").args(["1000", &site.mark]).spawn().expect("sleep")
}

fn reached(site: &Site, unit: &str, state: SubState) {
    site.recorded(&format!("{unit} {state}"), |record| match record.fact {
        Fact::StateChanged { to, .. } if to == state && record.unit.as_deref() == Some(unit) => Some(()),
        _ => None,
    });
}

#[test]
fn who_made_a_scope_is_asked_to_stop_it() {
    if !tools() {
        return;
    }
    let site = site("controller");
    site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    let hence = start(&site);
    let _daemon = Daemon::start(&site);
    until_served(&site);
    let mut client = Client::connect(&site);
    let (mut first, mut second) = (sleeper(&site), sleeper(&site));
    let own = client.name.clone();
    assert!(client.scope("x.scope", first.id(), "no bus name").unwrap_err().contains("not a valid bus name"));
    client.scope("asked.scope", first.id(), &own).expect("a job");
    reached(&site, "asked.scope", SubState::Running);
    let stop = |unit: &str| call(&site, 0, "StopUnit", &["ss", unit, "replace"]).expect("a job");
    // A program that takes this one's place knows it as well.
    let _ = call(&site, 0, "Reexecute", &[]);
    site.recorded("the new program", |r| matches!(r.fact, Fact::Reexecuted { .. }).then_some(()));
    until_served(&site);
    stop("asked.scope");
    assert_eq!(client.asked_to_stop(), "/org/freedesktop/systemd1/unit/asked_2escope");
    std::thread::sleep(Duration::from_millis(200));
    assert!(first.try_wait().expect("a wait").is_none(), "nobody else has touched it");
    send(first.id(), rustix::process::Signal::TERM);
    first.wait().expect("a wait");
    reached(&site, "asked.scope", SubState::Dead);
    let page = String::from_utf8_lossy(&site.ask(&["why", "asked.scope"]).stdout).into_owned();
    assert!(page.contains("was asked to stop it"), "{page}");

    // Once it has left, there is nobody to ask.
    client.scope("left.scope", second.id(), &own).expect("a job");
    reached(&site, "left.scope", SubState::Running);
    drop(client);
    let shown = || call(&site, 0, "GetUnit", &["s", "left.scope"]);
    shown().expect("a unit");
    until("the controller to be gone", || {
        let path = "/org/freedesktop/systemd1/unit/left_2escope";
        let address = format!("--address=unix:path={}", site.path("system_bus"));
        let line = [&address, "get-property", "org.freedesktop.systemd1", path];
        let asked = Command::new("busctl")
            .args(line)
            .args(["org.freedesktop.systemd1.Scope", "Controller"])
            .output()
            .expect("busctl");
        (asked.stdout == b"s \"\"\n").then_some(())
    });
    stop("left.scope");
    until("its end", || second.try_wait().expect("a wait"));
    reached(&site, "left.scope", SubState::Dead);
    let _ = hence.interrupt();
}
