//! The front on a message bus, in memory: a bus that says who callers are, what each kind of caller may call,
//! subscriptions and references, watched names, activation, and messages that mean harm.

mod toy;

use hence_bus::bus::News;
use hence_bus::front::*;
use hence_bus::wire::{FRAME_MAX, Kind, MESSAGE_MAX, Message, REPLY_MAX, Value, frame_length};
use std::collections::BTreeMap;
use toy::Toy;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const DRIVER: &str = "org.freedesktop.DBus";
const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
/// The uid that the front runs as.
const OWNER: u32 = 1000;

const POLKIT: &str = "org.freedesktop.PolicyKit1";

/// What polkit answers.
#[derive(Clone, Copy, PartialEq)]
enum Polkit {
    Absent,
    /// `is_authorized`, `is_challenge`
    Says(bool, bool),
    Silent,
}

/// A bus with callers.
struct Bus {
    front: Front,
    toy: Toy,
    input: Vec<u8>,
    begun: bool,
    callers: BTreeMap<String, Caller>,
    owned: Vec<&'static str>,
    /// Whether it says who callers are.
    talks: bool,
    /// What polkit says, where it is there.
    polkit: Polkit,
    /// What it was asked, and what it was sent for others.
    asked: Vec<String>,
    sent: Vec<Message>,
    last_serial: u32,
}

impl Bus {
    fn new() -> Bus {
        let callers = [(":1.10", 0), (":1.20", OWNER), (":1.30", 65534), (":1.31", 65534)];
        let caller = |(name, uid): (&str, u32)| (name.to_owned(), Caller { pid: 4242, uid });
        let mut bus = Bus {
            front: Front::new([1; 16], OWNER),
            toy: Toy::new(),
            input: Vec::new(),
            begun: false,
            callers: callers.map(caller).into(),
            owned: Vec::new(),
            talks: true,
            polkit: Polkit::Absent,
            asked: Vec::new(),
            sent: Vec::new(),
            last_serial: 0,
        };
        bus.front.open_bus();
        bus.run();
        assert_eq!(bus.front.poll_news(), Some(News::Serving));
        bus
    }

    fn feed(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        self.last_serial += 1;
        message.encode(self.last_serial, &mut bytes);
        self.feed_bytes(&bytes);
    }

    fn feed_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(16 * 1024) {
            self.front.bus_receive(chunk, &mut self.toy).expect("the connection goes on");
        }
    }

    /// Carries bytes until there are none.
    fn run(&mut self) {
        loop {
            self.toy.serve(&mut self.front);
            let bytes = self.front.bus_outgoing().to_vec();
            if bytes.is_empty() {
                return;
            }
            self.front.bus_sent(bytes.len(), &mut self.toy).expect("the connection goes on");
            self.input.extend(bytes);
            if !self.begun {
                let end =
                    self.input.windows(7).position(|window| window == b"BEGIN\r\n").expect("a handshake");
                self.input.drain(..end + 7);
                self.begun = true;
                self.feed_bytes(b"DATA\r\nOK 00112233445566778899aabbccddeeff\r\nAGREE_UNIX_FD\r\n");
            }
            while let Some(length) = frame_length(&self.input, REPLY_MAX).expect("D-Bus") {
                let frame: Vec<u8> = self.input.drain(..length).collect();
                self.take(Message::decode(&frame).expect("D-Bus").expect("a known kind"));
            }
        }
    }

    fn take(&mut self, message: Message) {
        let text = |at: usize| message.body.get(at).and_then(Value::as_str).unwrap_or("").to_owned();
        if message.kind == Kind::Call && message.fields.destination.as_deref() == Some(POLKIT) {
            return self.take_polkit(message);
        }
        if message.kind != Kind::Call || message.fields.destination.as_deref() != Some(DRIVER) {
            return self.sent.push(message);
        }
        let member = message.fields.member.as_deref().unwrap_or("").to_owned();
        self.asked.push(format!("{member} {}", text(0)));
        let body = match member.as_str() {
            "Hello" => Some(vec![":1.0".into()]),
            "RequestName" => Some(vec![1u32.into()]),
            "GetConnectionCredentials" if !self.talks => return,
            "GetConnectionCredentials" if text(0) == DRIVER => {
                Some(credentials(Caller { pid: 77, uid: 101 }))
            }
            "GetConnectionCredentials" => self.callers.get(&text(0)).map(|caller| credentials(*caller)),
            "GetNameOwner" => {
                let there = self.callers.contains_key(&text(0)) || self.owned.contains(&&*text(0));
                there.then(|| vec![":1.99".into()])
            }
            _ => Some(Vec::new()),
        };
        let mut reply = match body {
            Some(body) => Message::reply(message.serial, body),
            None => Message::error(message.serial, "org.freedesktop.DBus.Error.NameHasNoOwner", "no"),
        };
        reply.fields.sender = Some(DRIVER.into());
        self.feed(&reply);
    }

    fn take_polkit(&mut self, message: Message) {
        assert_eq!(message.signature(), "(sa{sv})sa{ss}us");
        let mut reply = match self.polkit {
            Polkit::Silent => return self.sent.push(message),
            Polkit::Absent => {
                let mut error =
                    Message::error(message.serial, "org.freedesktop.DBus.Error.ServiceUnknown", "no");
                error.fields.sender = Some(DRIVER.into());
                error
            }
            Polkit::Says(authorized, challenge) => {
                let details = Value::array("{ss}", Vec::new());
                let answer = Value::Struct(vec![authorized.into(), challenge.into(), details]);
                let mut reply = Message::reply(message.serial, vec![answer]);
                reply.fields.sender = Some(":1.99".into());
                reply
            }
        };
        reply.fields.destination = Some(":1.0".into());
        self.sent.push(message);
        self.feed(&reply);
    }

    fn call(&mut self, sender: &str, path: &str, interface: &str, member: &str, body: Vec<Value>) -> u32 {
        let mut call = Message::call(path.to_owned(), interface.to_owned(), member.to_owned()).with(body);
        call.fields.sender = Some(sender.to_owned().into());
        self.feed(&call);
        self.last_serial
    }

    /// A call and the one answer to it: its arguments or the error's name.
    fn ask(&mut self, sender: &str, path: &str, interface: &str, member: &str, body: Vec<Value>) -> Answered {
        let serial = self.call(sender, path, interface, member, body);
        self.run();
        let mut answers = Vec::new();
        self.sent.retain(|message| {
            let own = message.fields.reply_serial == Some(serial);
            if own {
                assert_eq!(message.fields.destination.as_deref(), Some(sender));
                answers.push(message.clone());
            }
            !own
        });
        assert_eq!(answers.len(), 1, "{member}");
        match answers.remove(0) {
            Message { kind: Kind::Return, body, .. } => Ok(body),
            error => Err(error.fields.error_name.unwrap_or_default().into_owned()),
        }
    }

    fn signal(&mut self, interface: &'static str, member: &'static str, body: Vec<Value>) {
        let mut signal = Message::signal("/org/freedesktop/DBus", interface, member).with(body);
        signal.fields.sender = Some(DRIVER.into());
        self.feed(&signal);
        self.run();
    }

    fn signals(&mut self, member: &str) -> Vec<Message> {
        self.run();
        let all = std::mem::take(&mut self.sent).into_iter();
        all.filter(|message| message.fields.member.as_deref() == Some(member)).collect()
    }
}

type Answered = Result<Vec<Value>, String>;

fn credentials(caller: Caller) -> Vec<Value> {
    let entries = vec![
        Value::property("UnixUserID", caller.uid.into()),
        Value::property("ProcessID", caller.pid.into()),
        Value::property("LinuxSecurityLabel", Value::Bytes(b"unconfined\0".to_vec())),
    ];
    vec![Value::array("{sv}", entries)]
}

/// What callers without privilege may call. Every method of every interface has to be in one of these lists.
const OPEN: &str = "Ping GetMachineId Introspect Get GetAll GetUnit GetUnitByPID GetUnitByInvocationID \
    GetUnitByControlGroup LoadUnit UnrefUnit GetUnitProcesses GetJob GetJobAfter GetJobBefore ListUnits \
    ListUnitsFiltered ListUnitsByPatterns ListUnitsByNames ListJobs Subscribe Unsubscribe Dump \
    DumpUnitsMatchingPatterns DumpByFileDescriptor DumpUnitsMatchingPatternsByFileDescriptor ListUnitFiles \
    ListUnitFilesByPatterns GetUnitFileState GetUnitFileLinks GetDefaultTarget LookupDynamicUserByName \
    LookupDynamicUserByUID GetDynamicUsers Unref GetProcesses GetAfter GetBefore";
const CLOSED: &str = "Set StartUnit StartUnitWithFlags StartUnitReplace StopUnit ReloadUnit RestartUnit \
    TryRestartUnit ReloadOrRestartUnit ReloadOrTryRestartUnit EnqueueUnitJob EnqueueMarkedJobs KillUnit \
    CleanUnit FreezeUnit ThawUnit ResetFailedUnit SetUnitProperties BindMountUnit MountImageUnit RefUnit \
    StartTransientUnit AttachProcessesToUnit AbandonScope CancelJob ClearJobs ResetFailed SetShowStatus \
    Reload Reexecute Exit Reboot PowerOff Halt KExec SwitchRoot SetEnvironment UnsetEnvironment \
    UnsetAndSetEnvironment EnableUnitFiles EnableUnitFilesWithFlags DisableUnitFiles \
    DisableUnitFilesWithFlags DisableUnitFilesWithFlagsAndInstallInfo \
    ReenableUnitFiles LinkUnitFiles PresetUnitFiles PresetUnitFilesWithMode \
    PresetAllUnitFiles MaskUnitFiles UnmaskUnitFiles RevertUnitFiles SetDefaultTarget AddDependencyUnitFiles \
    SetExitCode Start Stop Restart TryRestart ReloadOrRestart ReloadOrTryRestart EnqueueJob Kill \
    SetProperties Ref Clean Freeze Thaw AttachProcesses BindMount MountImage Abandon Cancel";

/// Interface and method of all that introspection lists.
fn methods(xml: &str) -> Vec<(String, String)> {
    let (mut interface, mut found) = (String::new(), Vec::new());
    for line in xml.lines().map(str::trim) {
        let name = line.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"'));
        match name {
            Some((name, _)) if line.starts_with("<interface") => interface = name.to_owned(),
            Some((name, _)) if line.starts_with("<method") => {
                found.push((interface.clone(), name.to_owned()))
            }
            _ => {}
        }
    }
    found
}

fn objects(bus: &mut Bus) -> Vec<(String, Vec<(String, String)>)> {
    bus.toy.jobs.push(JobView { id: 5, unit: "foo.service".into(), job_type: "start", state: "waiting" });
    let kinds = hence_unit::UnitKind::ALL.iter();
    let mut paths: Vec<String> = kinds.map(|kind| unit_path(&format!("a.{}", kind.suffix()))).collect();
    paths.extend([ROOT.to_owned(), job_path(5)]);
    let describe = |path: String| {
        let introspectable = "org.freedesktop.DBus.Introspectable";
        let xml = bus.ask(":1.30", &path, introspectable, "Introspect", Vec::new()).expect("everybody may");
        let xml = xml[0].as_str().expect("a text").to_owned();
        (path, methods(&xml))
    };
    paths.into_iter().map(describe).collect()
}

#[test]
fn every_method_is_for_the_callers_that_it_is_for() {
    let mut bus = Bus::new();
    let mut checked = 0;
    for (path, methods) in objects(&mut bus) {
        for (interface, method) in methods {
            let listed = |list: &str| list.split_whitespace().any(|name| name == method);
            let open = listed(OPEN);
            assert!(open != listed(CLOSED), "{interface}.{method}: say who may call it");
            for (sender, may) in [(":1.10", true), (":1.20", true), (":1.30", open)] {
                if bus.toy.jobs.is_empty() {
                    bus.toy.jobs.push(JobView { id: 5, unit: "foo.service".into(), ..JobView::default() });
                }
                // Who holds nothing is told so by whoever keeps count.
                let counts = |bus: &Bus| {
                    let lets_go = |command: &Command| matches!(command, Command::Hold { hold: false, .. });
                    bus.toy.asked.iter().filter(|(_, command)| !lets_go(command)).count()
                };
                let asked = counts(&bus);
                let denied = bus.ask(sender, &path, &interface, &method, Vec::new()) == Err(DENIED.into());
                assert_eq!(denied, !may, "{interface}.{method} by {sender}");
                if sender == ":1.30" {
                    assert_eq!(counts(&bus), asked, "{interface}.{method} changes nothing");
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 300, "{checked}");
}

/// A user's own front: the same methods, of which others than that user and root may call none.
#[test]
fn a_users_own_front_serves_nobody_else() {
    let mut bus = Bus::new();
    let objects = objects(&mut bus);
    bus.front.serve_owner_only();
    bus.polkit = Polkit::Says(true, false);
    let mut checked = 0;
    for (path, methods) in objects {
        for (interface, method) in methods {
            for (sender, may) in [(":1.10", true), (":1.20", true), (":1.30", false)] {
                if bus.toy.jobs.is_empty() {
                    bus.toy.jobs.push(JobView { id: 5, unit: "foo.service".into(), ..JobView::default() });
                }
                let asked = bus.toy.asked.len();
                let denied = bus.ask(sender, &path, &interface, &method, Vec::new()) == Err(DENIED.into());
                assert_eq!(denied, !may, "{interface}.{method} by {sender}");
                assert!(may || bus.toy.asked.len() == asked, "{interface}.{method} changes nothing");
                checked += 1;
            }
        }
    }
    assert!(checked > 300, "{checked}");
    assert!(!bus.front.waits_for_polkit());
    assert!(!bus.sent.iter().any(|message| message.fields.destination.as_deref() == Some(POLKIT)));
    bus.front.job_new(1, "foo.service");
    assert!(bus.signals("JobNew").iter().all(|told| told.fields.destination.as_deref() != Some(":1.30")));
}

/// What is open here has to be open on a machine whose bus has systemd's policy, and none of it may be what
/// systemd itself keeps for the privileged.
#[test]
fn what_is_open_is_open_with_systemd() {
    let policy = std::fs::read_to_string("/usr/share/dbus-1/system.d/org.freedesktop.systemd1.conf");
    let Ok(policy) = policy else { return eprintln!("skipped: systemd's policy for the bus is not here") };
    let policy: String = policy.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut bus = Bus::new();
    for (_, methods) in objects(&mut bus) {
        for (interface, method) in methods {
            let open = OPEN.split_whitespace().any(|name| name == method);
            if open && interface.starts_with("org.freedesktop.systemd1.") {
                let allowed = format!("send_interface=\"{interface}\" send_member=\"{method}\"");
                assert!(policy.contains(&allowed), "{interface}.{method}");
            }
        }
    }
}

#[test]
fn callers_wait_until_the_bus_says_who_they_are() {
    let mut bus = Bus::new();
    bus.talks = false;
    let stop = || vec!["foo.service".into(), "replace".into()];
    let first = bus.call(":1.10", ROOT, MANAGER, "StopUnit", stop());
    let second = bus.call(":1.10", ROOT, MANAGER, "GetDefaultTarget", Vec::new());
    bus.run();
    assert!(bus.sent.is_empty() && bus.toy.asked.is_empty());
    let asked =
        |bus: &Bus| bus.asked.iter().filter(|asked| *asked == "GetConnectionCredentials :1.10").count();
    assert_eq!(asked(&bus), 1);
    let question = bus.asked.iter().position(|asked| asked.ends_with(" :1.10")).expect("asked");
    // The serial of our own calls counts from 1.
    let mut reply = Message::reply(question as u32 + 1, credentials(Caller { pid: 9, uid: 0 }));
    // Somebody else can't answer for the bus.
    reply.fields.sender = Some(":1.30".into());
    bus.feed(&reply);
    bus.run();
    assert!(bus.sent.is_empty() && bus.toy.asked.is_empty());
    reply.fields.sender = Some(DRIVER.into());
    bus.feed(&reply);
    bus.run();
    assert_eq!(bus.toy.asked[0].0, Caller { pid: 9, uid: 0 });
    let answered: Vec<_> = bus.sent.iter().filter_map(|message| message.fields.reply_serial).collect();
    assert_eq!(answered, [second, first], "questions are answered at once, requests when they are done");
    bus.talks = true;
    assert!(bus.ask(":1.10", ROOT, MANAGER, "GetDefaultTarget", Vec::new()).is_ok());
    assert_eq!(asked(&bus), 1, "it is remembered");
    bus.sent.clear();
    // Who is gone before the bus has answered gets none.
    bus.call(":1.50", ROOT, MANAGER, "GetDefaultTarget", Vec::new());
    bus.run();
    assert!(bus.sent.is_empty());
}

#[test]
fn many_callers_and_calls_are_bounded() {
    let mut bus = Bus::new();
    bus.talks = false;
    let limits = "org.freedesktop.DBus.Error.LimitsExceeded";
    let mut refused = 0;
    for call in 0..40 {
        bus.call(":1.30", ROOT, MANAGER, "ListUnits", Vec::new());
        bus.run();
        let now = bus.sent.iter().filter(|m| m.fields.error_name.as_deref() == Some(limits)).count();
        assert!(now == refused || call >= 16);
        refused = now;
    }
    assert_eq!(refused, 24);
    for client in 0..2000 {
        bus.call(&format!(":2.{client}"), ROOT, MANAGER, "ListUnits", Vec::new());
    }
    bus.run();
    let now = bus.sent.iter().filter(|m| m.fields.error_name.as_deref() == Some(limits)).count();
    assert_eq!(now - refused, 2001 - hence_bus::bus::CLIENTS_MAX);
    // Those that the bus names can come one after the other for ever.
    let mut bus = Bus::new();
    for client in 0..3000 {
        let sender = format!(":2.{client}");
        bus.callers.insert(sender.clone(), Caller { pid: 1, uid: 65534 });
        assert!(bus.ask(&sender, ROOT, MANAGER, "GetDefaultTarget", Vec::new()).is_ok());
    }
}

#[test]
fn who_may_only_look_makes_us_load_no_more_than_so_many_units() {
    let mut bus = Bus::new();
    bus.toy.loads = true;
    let mut loaded = 0;
    let load = |bus: &mut Bus, sender: &str, name: String| {
        bus.ask(sender, ROOT, MANAGER, "LoadUnit", vec![name.into()]).map(drop)
    };
    while load(&mut bus, ":1.30", format!("a{loaded}.service")).is_ok() {
        loaded += 1;
    }
    assert_eq!(loaded, GUEST_LOADS_MAX);
    assert!(load(&mut bus, ":1.30", "foo.service".into()).is_ok(), "it is loaded already");
    assert!(load(&mut bus, ":1.10", "b.service".into()).is_ok(), "root may");
}

#[test]
fn who_subscribes_hears_of_everything_and_who_holds_holds() {
    let mut bus = Bus::new();
    let subscribe = |bus: &mut Bus, member| bus.ask(":1.30", ROOT, MANAGER, member, Vec::new()).map(drop);
    let error = |name: &str| Err(format!("org.freedesktop.systemd1.{name}"));
    assert_eq!(subscribe(&mut bus, "Unsubscribe"), error("NotSubscribed"));
    bus.front.job_new(1, "foo.service");
    assert!(bus.signals("JobNew").is_empty() && !bus.front.has_listeners());
    assert_eq!(subscribe(&mut bus, "Subscribe"), Ok(()));
    assert_eq!(subscribe(&mut bus, "Subscribe"), error("AlreadySubscribed"));
    bus.front.job_new(1, "foo.service");
    let told = bus.signals("JobNew");
    assert!(told.len() == 1 && told[0].fields.destination.is_none() && told[0].fields.sender.is_none());
    bus.signal(DRIVER, "NameOwnerChanged", vec![":1.30".into(), ":1.30".into(), "".into()]);
    assert!(!bus.front.has_listeners(), "it is gone");

    // Who asked for a job hears of its end, subscribed or not.
    bus.ask(":1.10", ROOT, MANAGER, "StopUnit", vec!["foo.service".into(), "fail".into()]).expect("a job");
    assert_eq!(bus.signals("JobRemoved").len(), 1);

    let foo = unit_path("foo.service");
    assert_eq!(bus.ask(":1.10", &foo, UNIT, "Unref", Vec::new()).map(drop), error("NotReferenced"));
    assert_eq!(bus.ask(":1.10", &foo, UNIT, "Ref", Vec::new()), Ok(Vec::new()));
    assert_eq!(bus.front.held_on_bus(), ["foo.service"]);
    for (member, unit, held) in [
        ("RefUnit", "bar.service", &["foo.service", "bar.service"][..]),
        ("RefUnit", "bar.service", &["foo.service", "bar.service", "bar.service"]),
        ("UnrefUnit", "foo.service", &["bar.service", "bar.service"]),
    ] {
        assert_eq!(bus.ask(":1.10", ROOT, MANAGER, member, vec![unit.into()]), Ok(Vec::new()));
        let mut now = bus.front.held_on_bus();
        now.sort_by(|a, b| b.cmp(a));
        assert_eq!(now, held);
    }
    let gone = |sender: &'static str| vec![sender.into(), sender.into(), "".into()];
    assert_eq!(bus.ask(":1.20", ROOT, MANAGER, "RefUnit", vec!["foo.service".into()]), Ok(Vec::new()));
    bus.signal(DRIVER, "NameOwnerChanged", gone(":1.10"));
    let told = std::iter::from_fn(|| bus.front.poll_news()).collect::<Vec<_>>();
    assert_eq!(told, [News::LetGo(vec!["bar.service".into(); 2])]);
    assert_eq!(bus.front.held_on_bus(), ["foo.service"], "others hold on");
    // Who holds a unit hears of it, and of nothing else.
    for (unit, told) in [("foo.service", 2), ("bar.service", 0)] {
        bus.front.unit_changed(&UnitView::new(hence_unit::UnitKind::Service, unit));
        bus.front.unit_new(unit);
        bus.run();
        let sent = std::mem::take(&mut bus.sent);
        let members: Vec<_> = sent.iter().filter_map(|m| m.fields.member.as_deref()).collect();
        assert_eq!(members, vec!["PropertiesChanged"; told], "{unit}");
    }
    bus.signal(DRIVER, "NameOwnerChanged", gone(":1.20"));
    let matches = |what: &str| bus.asked.iter().filter(|asked| asked.starts_with(what)).count();
    assert_eq!((matches("AddMatch"), matches("RemoveMatch")), (3, 3), "each is watched while it matters");
}

#[test]
fn watched_names_are_told() {
    let mut bus = Bus::new();
    let news = |bus: &mut Bus| {
        bus.run();
        std::iter::from_fn(|| bus.front.poll_news()).collect::<Vec<_>>()
    };
    let owner = |name: &str, owned| News::NameOwner { name: name.into(), owned };
    bus.front.watch_name("org.example.Foo");
    assert_eq!(news(&mut bus), [owner("org.example.Foo", false)]);
    let changed =
        |old: &'static str, new: &'static str| vec!["org.example.Foo".into(), old.into(), new.into()];
    bus.signal(DRIVER, "NameOwnerChanged", changed("", ":1.7"));
    bus.signal(DRIVER, "NameOwnerChanged", changed(":1.7", ""));
    bus.signal(DRIVER, "NameOwnerChanged", vec!["org.example.Bar".into(), "".into(), ":1.7".into()]);
    assert_eq!(news(&mut bus), [owner("org.example.Foo", true), owner("org.example.Foo", false)]);
    bus.owned.push("org.example.Foo");
    bus.front.watch_name("org.example.Foo");
    bus.front.watch_name("no name's");
    assert_eq!(news(&mut bus), [owner("org.example.Foo", true)]);
    // Only the bus knows.
    let mut lie =
        Message::signal("/org/freedesktop/DBus", DRIVER, "NameOwnerChanged").with(changed(":1.7", ""));
    lie.fields.sender = Some(":1.30".into());
    bus.feed(&lie);
    assert_eq!(news(&mut bus), []);
    bus.signal(DRIVER, "NameLost", vec!["org.freedesktop.systemd1".into()]);
    assert!(matches!(news(&mut bus)[..], [News::NotServing(_)]));
}

#[test]
fn the_bus_has_units_started_and_hears_of_failures() {
    let mut bus = Bus::new();
    let activator = "org.freedesktop.systemd1.Activator";
    bus.signal(activator, "ActivationRequest", vec!["bar.service".into()]);
    let (caller, command) = bus.toy.asked.pop().expect("asked");
    assert_eq!(caller, Caller { pid: 77, uid: 101 }, "the bus itself");
    assert!(matches!(command, Command::Enqueue { unit, verb: Verb::Start, .. } if unit == "bar.service"));
    assert!(bus.signals("ActivationFailure").is_empty());
    for (unit, error) in [
        ("gone.service", "org.freedesktop.systemd1.NoSuchUnit"),
        ("broken.service", "org.freedesktop.DBus.Error.Spawn.Failed"),
    ] {
        bus.signal(activator, "ActivationRequest", vec![unit.into()]);
        let failures = bus.signals("ActivationFailure");
        assert_eq!(failures.len(), 1, "{unit}");
        assert_eq!(failures[0].fields.destination.as_deref(), Some(DRIVER));
        let texts: Vec<_> = failures[0].body.iter().filter_map(Value::as_str).collect();
        assert_eq!(texts[..2], [unit, error]);
    }
    let mut lie = Message::signal("/", activator, "ActivationRequest").with(vec!["bar.service".into()]);
    lie.fields.sender = Some(":1.30".into());
    bus.toy.asked.clear();
    bus.feed(&lie);
    bus.run();
    assert!(bus.toy.asked.is_empty(), "only the bus may");
}

#[test]
fn messages_that_mean_harm_cost_their_sender_an_answer_and_us_nothing() {
    let mut bus = Bus::new();
    let error = |bus: &mut Bus, serial: u32| {
        bus.run();
        let own = bus.sent.iter().find(|message| message.fields.reply_serial == Some(serial));
        own.and_then(|message| message.fields.error_name.clone()).expect("an error").into_owned()
    };
    // Longer than we take, but not than a bus takes.
    let long = "x".repeat(3 * MESSAGE_MAX);
    let serial = bus.call(":1.30", ROOT, MANAGER, "GetUnit", vec![long.into()]);
    assert_eq!(error(&mut bus, serial), "org.freedesktop.DBus.Error.LimitsExceeded");
    // Nested deeper than we read.
    let mut deep = Value::from(1u32);
    for _ in 0..80 {
        deep = Value::variant(deep);
    }
    let serial = bus.call(":1.30", ROOT, MANAGER, "GetUnit", vec![deep]);
    assert_eq!(error(&mut bus, serial), "org.freedesktop.DBus.Error.InvalidArgs");
    // A header that is as long as a message may be.
    let mut header = b"l\x01\x00\x01".to_vec();
    header.extend(0u32.to_le_bytes());
    header.extend(7u32.to_le_bytes());
    header.extend((8 * MESSAGE_MAX as u32).to_le_bytes());
    header.extend(vec![0; 8 * MESSAGE_MAX]);
    bus.feed_bytes(&header);
    // Answers to what was never asked, and calls without a sender.
    let mut reply = Message::reply(4711, Vec::new());
    reply.fields.sender = Some(DRIVER.into());
    bus.feed(&reply);
    bus.feed(&Message::call(ROOT, MANAGER, "PowerOff"));
    bus.run();
    assert!(bus.toy.asked.is_empty());
    assert!(bus.ask(":1.30", ROOT, MANAGER, "GetDefaultTarget", Vec::new()).is_ok(), "it goes on");
    // What isn't D-Bus at all ends the connection.
    let mut bytes = b"l\x01\x00\x01".to_vec();
    bytes.extend((FRAME_MAX as u32 + 1).to_le_bytes());
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(bus.front.bus_receive(&bytes, &mut bus.toy).is_err());
    assert!(bus.front.bus_over().is_some() && !bus.front.bus_wants_input());
    bus.front.close_bus();
    assert!(bus.front.bus_over().is_none() && bus.front.bus_outgoing().is_empty());
}

/// Descriptors go with the call that names them, whatever was in front of it; too many of them, or too few,
/// cost that call an answer; none stay open.
#[test]
fn descriptors_go_with_their_calls() {
    use std::os::fd::OwnedFd;
    let pipe = || {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("a socket");
        (ours, OwnedFd::from(theirs))
    };
    let closed = |ours: &std::os::unix::net::UnixStream| {
        let mut ours = ours;
        matches!(std::io::Read::read(&mut ours, &mut [0]), Ok(0))
    };
    let mut bus = Bus::new();
    bus.talks = false;
    let start = |bus: &mut Bus, count: usize, named: u32| {
        let stream = |index| {
            let name = Value::from("StandardInputFileDescriptor");
            Value::Struct(vec![name, Value::variant(Value::Fd(index))])
        };
        let body = vec![
            "made.service".into(),
            "fail".into(),
            Value::array("(sv)", named.checked_sub(1).map(stream).into_iter().collect()),
            Value::array("(sa(sv))", Vec::new()),
        ];
        let mut call = Message::call(ROOT, MANAGER, "StartTransientUnit").with(body);
        call.fields.sender = Some(":1.10".into());
        call.fields.fds = named;
        bus.last_serial += 1;
        let mut bytes = Vec::new();
        call.encode(bus.last_serial, &mut bytes);
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..count).map(|_| pipe()).unzip();
        bus.front.bus_attach(theirs);
        // The kernel hands them over with the first byte that it gives of the message.
        let (first, rest) = bytes.split_at(5);
        bus.feed_bytes(first);
        bus.feed_bytes(rest);
        (bus.last_serial, ours)
    };
    let long = Message::call(ROOT, MANAGER, "GetUnit").with(vec!["x".repeat(2 * MESSAGE_MAX).into()]);
    bus.feed(&long);
    let (plain, _) = start(&mut bus, 0, 0);
    let (fine, fine_ends) = start(&mut bus, 2, 2);
    let (many, many_ends) = start(&mut bus, DESCRIPTORS_MAX + 1, DESCRIPTORS_MAX as u32 + 1);
    let (lacks, lacking_ends) = start(&mut bus, 1, 2);
    let (after, after_ends) = start(&mut bus, 1, 1);
    assert!(many_ends.iter().chain(&lacking_ends).all(closed));
    assert!(!fine_ends.iter().chain(&after_ends).any(closed), "they wait");
    bus.talks = true;
    bus.run();
    let error = |serial| {
        let answer = bus.sent.iter().find(|m| m.fields.reply_serial == Some(serial)).expect("an answer");
        answer.fields.error_name.as_deref().map(str::to_owned)
    };
    let limits = Some("org.freedesktop.DBus.Error.LimitsExceeded".to_owned());
    assert_eq!([plain, fine, after].map(error), [None, None, None]);
    assert_eq!([many, lacks].map(error), [limits.clone(), limits]);
    let given = bus.toy.asked.drain(..).filter_map(|(_, command)| match command {
        Command::StartTransient { descriptors, .. } => Some(descriptors.len()),
        _ => None,
    });
    assert_eq!(given.collect::<Vec<_>>(), [0, 2, 1]);
    assert!(fine_ends.iter().chain(&after_ends).all(closed));

    // Who never becomes known leaves none open either, and those that wait are bounded.
    let mut bus = Bus::new();
    bus.talks = false;
    let mut ends = Vec::new();
    (0..12).for_each(|_| ends.extend(start(&mut bus, DESCRIPTORS_MAX, 1).1));
    (0..12).for_each(|_| ends.extend(start(&mut bus, DESCRIPTORS_MAX, DESCRIPTORS_MAX as u32).1));
    assert_eq!(ends.iter().filter(|end| !closed(end)).count(), 8 * DESCRIPTORS_MAX);
    bus.front.close_bus();
    assert!(ends.iter().all(closed));
}

#[test]
fn a_bus_that_does_not_read_holds_callers_back() {
    let mut bus = Bus::new();
    assert!(bus.ask(":1.30", ROOT, MANAGER, "GetDefaultTarget", Vec::new()).is_ok());
    for n in 0..20_000 {
        let name = format!("filler-{n:05}.service");
        let view = UnitView::new(hence_unit::UnitKind::Service, &name);
        bus.toy.units.insert(name, view);
    }
    let mut calls = 0;
    while bus.front.bus_wants_input() {
        bus.call(":1.30", ROOT, MANAGER, "ListUnits", Vec::new());
        calls += 1;
    }
    assert!(calls == 1 && bus.front.bus_outgoing().len() < 16 << 20, "{calls}");
    bus.run();
    assert!(bus.front.bus_wants_input());
}

#[test]
fn polkit_lets_callers_through_or_not() {
    let mut bus = Bus::new();
    let unit = |bus: &mut Bus| {
        let body = vec!["foo.service".into(), "replace".into()];
        bus.ask(":1.30", ROOT, MANAGER, "StartUnit", body)
    };
    bus.polkit = Polkit::Says(true, false);
    assert!(unit(&mut bus).is_ok_and(|body| matches!(body[0], Value::Path(_))));
    let question =
        bus.sent.iter().find(|m| m.fields.destination.as_deref() == Some(POLKIT)).expect("it was asked");
    let [subject, action, details, Value::Uint32(0), _] = question.body.as_slice() else {
        panic!("{:?}", question.body)
    };
    assert_eq!(subject.items()[0].as_str(), Some("system-bus-name"));
    assert_eq!(action.as_str(), Some("org.freedesktop.systemd1.manage-units"));
    assert_eq!(details.items().len(), 2, "{details:?}");

    let interactive = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
    bus.polkit = Polkit::Says(false, true);
    assert_eq!(unit(&mut bus), Err(interactive.into()));
    bus.polkit = Polkit::Says(false, false);
    assert_eq!(unit(&mut bus), Err(DENIED.into()));
    bus.polkit = Polkit::Absent;
    assert_eq!(unit(&mut bus), Err(DENIED.into()));
    // What is for the privileged is asked of nobody.
    bus.polkit = Polkit::Says(true, false);
    assert_eq!(bus.ask(":1.30", ROOT, MANAGER, "PowerOff", Vec::new()), Err(DENIED.into()));
    for (member, action) in [("Reload", "reload-daemon"), ("ResetFailed", "manage-units")] {
        bus.sent.clear();
        assert!(bus.ask(":1.30", ROOT, MANAGER, member, Vec::new()).is_ok(), "{member}");
        let asked = bus.sent.iter().filter_map(|m| m.body.get(1)?.as_str()).collect::<Vec<_>>();
        assert_eq!(asked, [format!("org.freedesktop.systemd1.{action}")]);
    }
    assert!(!bus.front.waits_for_polkit());
}

#[test]
fn polkit_that_says_nothing_holds_nobody_up() {
    let mut bus = Bus::new();
    bus.polkit = Polkit::Silent;
    let mut serials = Vec::new();
    for _ in 0..20 {
        serials.push(bus.call(":1.30", ROOT, MANAGER, "ResetFailed", Vec::new()));
    }
    bus.run();
    let refused = |bus: &mut Bus, name: &str| {
        let of = |m: &&Message| m.kind == Kind::Error && m.fields.error_name.as_deref() == Some(name);
        bus.sent.iter().filter(of).count()
    };
    assert_eq!(refused(&mut bus, "org.freedesktop.DBus.Error.LimitsExceeded"), 12);
    // Others are served meanwhile.
    assert!(bus.ask(":1.31", ROOT, MANAGER, "ListJobs", Vec::new()).is_ok());
    assert!(bus.ask(":1.10", ROOT, MANAGER, "ResetFailed", Vec::new()).is_ok());
    assert_eq!(refused(&mut bus, DENIED), 0);
    (0..3).for_each(|_| bus.front.polkit_tick());
    bus.run();
    assert_eq!(refused(&mut bus, DENIED), 8);
    assert!(!bus.front.waits_for_polkit());
    // An answer that comes too late changes nothing, nor does one for who is gone.
    let late = bus.sent.iter().find(|m| m.fields.destination.as_deref() == Some(POLKIT)).cloned();
    let late = late.expect("it was asked");
    bus.polkit = Polkit::Says(true, false);
    let before = bus.toy.asked.len();
    bus.take_polkit(late);
    bus.run();
    assert_eq!(bus.toy.asked.len(), before);
    bus.polkit = Polkit::Silent;
    bus.call(":1.31", ROOT, MANAGER, "ResetFailed", Vec::new());
    bus.run();
    assert!(bus.front.waits_for_polkit());
    bus.signal(DRIVER, "NameOwnerChanged", vec![":1.31".into(), ":1.31".into(), "".into()]);
    assert!(!bus.front.waits_for_polkit());
}
