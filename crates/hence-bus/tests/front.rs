//! Our own client against the front, in memory: answers, errors, signals, limits.

mod toy;

use hence_bus::client::{Client, ClientError, Incoming};
use hence_bus::front::*;
use hence_bus::wire::{Message, NO_REPLY_EXPECTED, Value};
use toy::Toy;

const ROOT_CALLER: Caller = Caller { pid: 9, uid: 0 };
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

struct Pair {
    front: Front,
    toy: Toy,
    client: Client,
    id: PeerId,
}

impl Pair {
    fn new() -> Pair {
        let mut front = Front::new([1; 16], 1000);
        let id = front.connect(ROOT_CALLER).expect("room");
        let mut pair = Pair { front, toy: Toy::new(), client: Client::new(), id };
        pair.exchange();
        assert!(pair.front.is_open(id));
        pair
    }

    /// Carries bytes to and fro, a few at a time, until neither side has any.
    fn exchange(&mut self) {
        loop {
            let out = self.client.outgoing();
            let sent = out.len().min(77);
            self.front.receive(self.id, &out[..sent], &mut self.toy).expect("valid");
            self.client.sent(sent);
            let back = self.front.outgoing(self.id).to_vec();
            let received = back.len().min(1001);
            self.client.receive(&back[..received]).expect("accepted");
            self.front.sent(self.id, received, &mut self.toy).expect("valid");
            if sent == 0 && received == 0 {
                return;
            }
        }
    }

    fn incoming(&mut self) -> Vec<Incoming> {
        self.exchange();
        std::iter::from_fn(|| self.client.incoming().expect("valid")).collect()
    }

    fn ask(
        &mut self,
        path: &str,
        interface: &'static str,
        member: &'static str,
        body: Vec<Value>,
    ) -> Result<Vec<Value>, (String, String)> {
        let call = self.client.call(path.to_owned(), interface, member, body);
        match self.incoming().as_slice() {
            [Incoming::Answer { serial, result }] if *serial == call => {
                result.clone().map_err(|error| (error.name, error.text))
            }
            other => panic!("not one answer to {call} but {}", other.len()),
        }
    }
}

fn start(unit: &'static str) -> Vec<Value> {
    vec![unit.into(), "replace".into()]
}

#[test]
fn refusals_have_their_names() {
    let mut pair = Pair::new();
    let unit_object = "/org/freedesktop/systemd1/unit/foo_2eservice";
    let (args, method) =
        ("org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.UnknownMethod");
    let object = "org.freedesktop.DBus.Error.UnknownObject";
    for (path, interface, member, body, error) in [
        (ROOT, MANAGER, "GetUnit", vec!["gone.service".into()], "org.freedesktop.systemd1.NoSuchUnit"),
        (ROOT, MANAGER, "GetUnit", vec!["no suffix".into()], args),
        (ROOT, MANAGER, "StartUnit", vec!["foo.service".into(), "odd".into()], args),
        (ROOT, MANAGER, "StartUnit", vec!["foo.service".into()], args),
        (ROOT, MANAGER, "KillUnit", vec!["foo.service".into(), "all".into(), 65i32.into()], args),
        (ROOT, MANAGER, "KillUnit", vec!["foo.service".into(), "none".into(), 9i32.into()], args),
        (ROOT, MANAGER, "GetUnitByPID", vec![1u32.into()], "org.freedesktop.systemd1.NoUnitForPID"),
        (ROOT, MANAGER, "GetJob", vec![1u32.into()], "org.freedesktop.systemd1.NoSuchJob"),
        (ROOT, MANAGER, "SetEnvironment", vec![Value::strings(["=x"])], args),
        (ROOT, UNIT, "Start", vec!["replace".into()], method),
        (unit_object, "org.freedesktop.systemd1.Socket", "GetProcesses", vec![], method),
        ("/org", MANAGER, "ListUnits", vec![], method),
        ("/nowhere", MANAGER, "ListUnits", vec![], object),
        ("/org/freedesktop/systemd1/unit/nosuffix", UNIT, "Stop", vec!["fail".into()], object),
        ("/org/freedesktop/systemd1/job/1", PROPERTIES, "GetAll", vec!["".into()], object),
        (
            unit_object,
            PROPERTIES,
            "Get",
            vec![UNIT.into(), "X".into()],
            "org.freedesktop.DBus.Error.UnknownProperty",
        ),
        (
            unit_object,
            PROPERTIES,
            "GetAll",
            vec!["a.b".into()],
            "org.freedesktop.DBus.Error.UnknownInterface",
        ),
        (
            unit_object,
            PROPERTIES,
            "Set",
            vec![UNIT.into(), "Id".into(), Value::variant("x".into())],
            "org.freedesktop.DBus.Error.PropertyReadOnly",
        ),
    ] {
        let refused = pair.ask(path, interface, member, body).expect_err(member);
        assert_eq!(refused.0, error, "{member}: {}", refused.1);
    }
    assert!(pair.front.poll_request().is_none(), "nothing of that was asked for");
    let names: std::collections::BTreeSet<_> = ErrorName::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(names.len(), ErrorName::ALL.len());
}

#[test]
fn get_all_of_no_interface_gives_the_kinds_properties_first() {
    let mut pair = Pair::new();
    let view = pair.toy.units.get_mut("foo.service").expect("known");
    view.more = vec![
        MoreProperty { common: true, name: "Refs", value: true.into() },
        MoreProperty { common: false, name: "UMask", value: 18u32.into() },
        MoreProperty { common: false, name: "MainPID", value: 1u32.into() },
    ];
    let path = unit_path("foo.service");
    let names = |values: &[Value]| -> Vec<String> {
        let name = |entry: &Value| match entry {
            Value::Entry(entry) => entry.0.as_str().expect("a name").to_owned(),
            other => panic!("not an entry: {other:?}"),
        };
        values[0].items().iter().map(name).collect()
    };
    let all = names(&pair.ask(&path, PROPERTIES, "GetAll", vec!["".into()]).expect("served"));
    let place =
        |name: &str| all.iter().position(|other| other == name).unwrap_or_else(|| panic!("no {name}"));
    assert!(place("Type") < place("UMask") && place("UMask") < place("Id") && place("Id") < place("Refs"));
    assert_eq!(all.iter().filter(|name| *name == "MainPID").count(), 1);
    let unit = names(&pair.ask(&path, PROPERTIES, "GetAll", vec![UNIT.into()]).expect("served"));
    assert!(unit.contains(&"Refs".into()) && !unit.contains(&"Type".into()));
    let pid =
        pair.ask(&path, PROPERTIES, "Get", vec!["org.freedesktop.systemd1.Service".into(), "MainPID".into()]);
    assert_eq!(pid, Ok(vec![Value::variant(4242u32.into())]));
    let more = pair.ask(&path, PROPERTIES, "Get", vec![UNIT.into(), "Refs".into()]);
    assert_eq!(more, Ok(vec![Value::variant(true.into())]));
}

#[test]
fn a_job_is_answered_then_announced_to_everybody() {
    let mut pair = Pair::new();
    let other = pair.front.connect(Caller { pid: 10, uid: 1000 }).expect("room");
    pair.front.receive(other, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n", &mut pair.toy).expect("valid");
    let greeted = pair.front.outgoing(other).len();
    pair.front.sent(other, greeted, &mut pair.toy).expect("valid");
    let stranger = pair.front.connect(Caller { pid: 11, uid: 1000 }).expect("room");

    let call = pair.client.call(ROOT, MANAGER, "StartUnit", start("bar.service"));
    assert_eq!(pair.incoming(), [], "only the binary can answer");
    let Pair { front, toy, .. } = &mut pair;
    toy.serve(front);
    assert_eq!(toy.asked[0].0, ROOT_CALLER);
    let incoming = pair.incoming();
    let members: Vec<_> = incoming
        .iter()
        .map(|item| match item {
            Incoming::Answer { serial, result } => {
                assert_eq!((*serial, result), (call, &Ok(vec![Value::path(job_path(71))])));
                "answer"
            }
            Incoming::Signal(signal) => match signal.fields.member.as_deref() {
                Some("JobNew") => "new",
                Some("PropertiesChanged") => signal.body[0]
                    .as_str()
                    .and_then(|n| n.rsplit('.').next())
                    .map_or("none", |name| if name == "Unit" { "unit" } else { "kind" }),
                Some("JobRemoved") => {
                    let body = [71u32.into(), Value::path(job_path(71)), "bar.service".into(), "done".into()];
                    assert_eq!(signal.body, body);
                    "removed"
                }
                other => panic!("{other:?}"),
            },
        })
        .collect();
    assert_eq!(members, ["new", "answer", "kind", "unit", "removed"]);
    let heard = String::from_utf8_lossy(pair.front.outgoing(other)).into_owned();
    assert!(heard.contains("JobNew") && heard.contains("JobRemoved"));
    assert_eq!(pair.front.outgoing(stranger), b"", "no signal before authentication");
}

#[test]
fn no_answer_where_none_is_wanted_or_nobody_is_left() {
    let mut pair = Pair::new();
    for (member, body) in [("StartUnit", start("bar.service")), ("ListUnits", vec![]), ("Nonsense", vec![])] {
        let mut message = Message::call(ROOT, MANAGER, member).with(body);
        message.flags = NO_REPLY_EXPECTED;
        let mut bytes = Vec::new();
        message.encode(50, &mut bytes);
        pair.front.receive(pair.id, &bytes, &mut pair.toy).expect("valid");
    }
    let Pair { front, toy, .. } = &mut pair;
    toy.serve(front);
    assert!(!pair.incoming().iter().any(|item| matches!(item, Incoming::Answer { .. })));
    assert_eq!(pair.toy.asked.len(), 1);

    pair.client.call(ROOT, MANAGER, "Reload", vec![]);
    pair.exchange();
    pair.front.disconnect(pair.id);
    let request = pair.front.poll_request().expect("still done");
    pair.front.reply(request.token, Ok(Answer::Done));
    pair.front.reply(request.token, Ok(Answer::Done));
    assert_eq!(pair.front.outgoing(pair.id), b"");
    assert_eq!(pair.front.peers().count(), 0);
}

#[test]
fn limits() {
    let mut pair = Pair::new();
    for _ in 0..OPEN_REQUESTS_MAX + 3 {
        pair.client.call(ROOT, MANAGER, "ResetFailed", vec![]);
    }
    let refused = pair.incoming();
    assert_eq!(refused.len(), 3);
    let name = |item: &Incoming| match item {
        Incoming::Answer { result: Err(error), .. } => error.name.clone(),
        other => panic!("{other:?}"),
    };
    assert!(refused.iter().all(|item| name(item) == "org.freedesktop.DBus.Error.LimitsExceeded"));
    let Pair { front, toy, .. } = &mut pair;
    toy.serve(front);
    assert_eq!(pair.incoming().len(), OPEN_REQUESTS_MAX as usize);
    pair.client.call(ROOT, MANAGER, "ResetFailed", vec![]);
    pair.exchange();
    assert!(pair.front.poll_request().is_some(), "there is room again");

    let mut peers = 1;
    while pair.front.connect(ROOT_CALLER).is_some() {
        peers += 1;
    }
    assert_eq!(peers, PEERS_MAX);
}

#[test]
fn those_who_do_not_read_are_closed_and_the_others_served() {
    let mut pair = Pair::new();
    let lazy: Vec<PeerId> = (0..8)
        .map(|_| {
            let id = pair.front.connect(ROOT_CALLER).expect("room");
            let hello = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
            pair.front.receive(id, hello, &mut pair.toy).expect("valid");
            id
        })
        .collect();
    let name = format!("{}.service", "a".repeat(240));
    let mut signals = 0;
    while pair.front.condemned().count() < lazy.len() {
        pair.front.unit_new(&name);
        signals += 1;
        if signals % 100 == 0 {
            assert_eq!(pair.incoming().len(), 100);
        }
        let waiting: usize = lazy.iter().map(|id| pair.front.outgoing(*id).len()).sum();
        assert!(waiting <= OUTGOING_TOTAL_MAX);
        assert!(signals < 200_000);
    }
    assert!(pair.front.condemned().all(|(id, fatal)| lazy.contains(&id) && fatal == Fatal::Unread));
    pair.incoming();
    assert!(pair.ask(ROOT, MANAGER, "ListJobs", vec![]).is_ok());
}

#[test]
fn a_refused_client_knows_it() {
    let mut front = Front::new([1; 16], 1000);
    let id = front.connect(Caller { pid: 1, uid: 1001 }).expect("room");
    let mut client = Client::new();
    let result = front.receive(id, client.outgoing(), &mut Toy::new());
    assert!(result.is_err(), "BEGIN without having been accepted");
    assert_eq!(front.condemned().count(), 1);
    assert_eq!(client.receive(b"DATA\r\nREJECTED\r\n"), Err(ClientError::Rejected("REJECTED".into())));
}
