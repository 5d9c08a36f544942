//! Measures what a `Properties.Get` and a `GetAll("")` cost, from the bytes of the call to the bytes of the
//! reply, with a model of one unit. It measures no socket and no engine. Run it with `--release`.

use hence_bus::front::*;
use hence_bus::wire::{Message, Value};
use hence_unit::UnitKind;
use std::time::Instant;

struct One(UnitView);

impl Model for One {
    fn unit(&mut self, name: &str, _load: bool) -> Result<Option<UnitView>, Refusal> {
        Ok((name == self.0.row.id).then(|| self.0.clone()))
    }
    fn units(&mut self) -> Vec<UnitRow> {
        vec![self.0.row.clone(); 1000]
    }
    fn jobs(&mut self) -> Vec<JobView> {
        Vec::new()
    }
    fn unit_of_pid(&mut self, _pid: u32) -> Option<String> {
        None
    }
    fn processes(&mut self, _unit: &str) -> Vec<ProcessView> {
        Vec::new()
    }
    fn overview(&mut self) -> ManagerView {
        ManagerView::default()
    }
    fn machine_id(&mut self) -> String {
        String::new()
    }
    fn unit_files(&mut self) -> Vec<UnitFileView> {
        Vec::new()
    }
    fn unit_file_state(&mut self, _name: &str) -> Result<String, Refusal> {
        Ok(String::new())
    }
    fn unit_file_links(&mut self, _: &str, _: bool) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    fn default_target(&mut self) -> Result<String, Refusal> {
        Ok(String::new())
    }
    fn unit_of_invocation(&mut self, _invocation: [u8; 16]) -> Option<String> {
        None
    }
    fn unit_of_group(&mut self, _path: &str) -> Option<String> {
        None
    }
    fn related_jobs(&mut self, _job: u32, _after: bool) -> Vec<JobView> {
        Vec::new()
    }
}

fn measure(what: &str, rounds: u32, call: Message) {
    let mut model = One(UnitView::new(UnitKind::Service, "foo.service"));
    let mut front = Front::new([1; 16], 0);
    let id = front.connect(Caller { pid: 1, uid: 0 }).expect("room for one");
    front.receive(id, b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n", &mut model).expect("valid");
    let mut bytes = Vec::new();
    call.encode(1, &mut bytes);
    let mut length = 0;
    let begin = Instant::now();
    for _ in 0..rounds {
        front.receive(id, &bytes, &mut model).expect("valid");
        length = front.outgoing(id).len();
        front.sent(id, length, &mut model).expect("valid");
    }
    let each = begin.elapsed() / rounds;
    println!("{what}: {each:?} each, {length} bytes of reply");
}

fn main() {
    let properties = "org.freedesktop.DBus.Properties";
    let path = unit_path("foo.service");
    let get: Vec<Value> = vec!["org.freedesktop.systemd1.Unit".into(), "ActiveState".into()];
    measure("Get", 200_000, Message::call(path.clone(), properties, "Get").with(get));
    measure("GetAll", 20_000, Message::call(path, properties, "GetAll").with(vec!["".into()]));
    let list = Message::call(ROOT, "org.freedesktop.systemd1.Manager", "ListUnits");
    measure("ListUnits of 1000", 500, list);
}
