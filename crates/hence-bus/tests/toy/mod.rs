//! A toy model of a few units for the tests: it starts and stops them at once, and keeps what it was asked.
//! It runs no process.
#![allow(dead_code, reason = "each test binary uses its own part")]

use hence_bus::front::*;
use hence_unit::{UnitKind, UnitName};
use std::collections::BTreeMap;

pub struct Toy {
    pub units: BTreeMap<String, UnitView>,
    pub asked: Vec<(Caller, Command)>,
    pub jobs: Vec<JobView>,
    pub last_job: u32,
    pub state: &'static str,
    /// Whether every unit has a file.
    pub loads: bool,
}

fn unit(name: &str, active: &'static str, sub: &'static str) -> UnitView {
    let kind = UnitName::new(name).expect("valid").kind();
    let mut view = UnitView::new(kind, name);
    view.row.description = format!("The {name} of the toy");
    view.row.load_state = "loaded";
    view.row.active_state = active;
    view.row.sub_state = sub;
    view.fragment_path = format!("/usr/lib/systemd/system/{name}");
    view.unit_file_state = "enabled".into();
    view.unit_file_preset = "enabled".into();
    view.can_start = true;
    view.can_stop = true;
    let at = Timestamp { realtime_us: 1_700_000_000_000_000, monotonic_us: 5_000_000 };
    view.state_change = at;
    view.inactive_exit = at;
    if active == "active" {
        view.active_enter = at;
    }
    view
}

impl Toy {
    pub fn new() -> Toy {
        let mut main = unit("foo.service", "active", "running");
        main.documentation = vec!["man:foo(8)".into()];
        main.dependencies = vec![
            ("Requires", vec!["bar.service".into(), "system.slice".into()]),
            ("TriggeredBy", vec!["foo.socket".into()]),
            ("After", vec!["bar.service".into()]),
        ];
        main.drop_in_paths = vec!["/etc/systemd/system/foo.service.d/10-a.conf".into()];
        main.invocation_id = Some([0x5a; 16]);
        main.service.service_type = "notify";
        main.service.restart = "always";
        main.service.main_pid = 4242;
        main.service.n_restarts = 41;
        main.service.status_text = "Serving 7 requests".into();
        let run = ExecView {
            path: "/usr/bin/food".into(),
            argv: vec!["food".into(), "--port".into(), "80".into()],
            pid: 4242,
            start: main.active_enter,
            ..ExecView::default()
        };
        main.service.exec_main = run.clone();
        main.service.exec = vec![("ExecStart", vec![run])];
        main.cgroup.slice = "system.slice".into();
        main.cgroup.control_group = "/system.slice/foo.service".into();
        main.cgroup.tasks_current = Some(3);
        main.cgroup.tasks_max = Some(512);
        main.cgroup.memory_current = Some(5 << 20);
        main.cgroup.accounting = true;
        let mut broken = unit("broken.service", "failed", "failed");
        broken.result = "exit-code";
        broken.service.exec_main = ExecView { pid: 99, code: 1, status: 7, ..ExecView::default() };
        let mut socket = unit("foo.socket", "active", "listening");
        socket.socket.listen = vec![("Stream", "/run/foo.sock".into()), ("Datagram", "127.0.0.1:99".into())];
        socket.socket.n_accepted = 12;
        socket.dependencies = vec![("Triggers", vec!["foo.service".into()])];
        let mut timer = unit("daily.timer", "active", "waiting");
        timer.timer.unit = "bar.service".into();
        timer.timer.calendar = vec![("*-*-* 00:00:00".into(), 4_000_000_000_000_000)];
        timer.timer.next_realtime_us = 4_000_000_000_000_000;
        timer.dependencies = vec![("Triggers", vec!["bar.service".into()])];
        let all = [
            main,
            broken,
            socket,
            timer,
            unit("bar.service", "inactive", "dead"),
            unit("multi-user.target", "active", "active"),
            unit("system.slice", "active", "active"),
        ];
        let units = all.into_iter().map(|view| (view.row.id.clone(), view)).collect();
        Toy { units, asked: Vec::new(), jobs: Vec::new(), last_job: 70, state: "running", loads: false }
    }

    /// Does what was asked, as far as the toy can, and answers.
    pub fn serve(&mut self, front: &mut Front) {
        while let Some(Request { token, caller, command, holder }) = front.poll_request() {
            self.asked.push((caller, command.clone()));
            match command {
                Command::Enqueue { unit, verb, detailed, .. } => {
                    self.enqueue(front, token, &unit, verb, detailed);
                }
                Command::ResetFailed { unit } => {
                    for view in self.units.values_mut() {
                        let wanted = unit.as_ref().is_none_or(|unit| *unit == view.row.id);
                        if wanted && view.row.active_state == "failed" {
                            (view.row.active_state, view.row.sub_state) = ("inactive", "dead");
                        }
                    }
                    front.reply(token, Ok(Answer::Done));
                }
                Command::Cancel { job } => {
                    let before = self.jobs.len();
                    self.jobs.retain(|known| known.id != job);
                    let found = self.jobs.len() < before;
                    let refusal = Refusal::new(ErrorName::NoSuchJob, format!("Job {job} does not exist."));
                    front.reply(token, if found { Ok(Answer::Done) } else { Err(refusal) });
                }
                Command::UnitFiles { names, .. } => {
                    let changes = names.iter().map(|name| FileChange {
                        kind: "symlink",
                        path: format!("/etc/systemd/system/multi-user.target.wants/{name}"),
                        source: format!("/usr/lib/systemd/system/{name}"),
                    });
                    let answer = Answer::Files { installable: true, changes: changes.collect() };
                    front.reply(token, Ok(answer));
                }
                Command::StartTransient { unit, .. } => {
                    self.last_job += 1;
                    let id = self.last_job;
                    let job = JobView { id, unit: unit.clone(), job_type: "start", state: "waiting" };
                    front.reply(token, Ok(Answer::Job { job, others: Vec::new() }));
                    front.job_removed(id, &unit, "done");
                }
                Command::Hold { unit, hold } => {
                    let held = match holder {
                        Some(Holder::Caller(caller)) => front.hold_on_bus(&caller, &unit, hold),
                        _ => Ok(false),
                    };
                    front.reply(token, held.map(|_| Answer::Done));
                }
                Command::Reload => {
                    front.reloading(true);
                    front.reloading(false);
                    front.reply(token, Ok(Answer::Done));
                }
                _ => front.reply(token, Ok(Answer::Done)),
            }
        }
    }

    fn enqueue(&mut self, front: &mut Front, token: Token, name: &str, verb: Verb, detailed: bool) {
        let Some(view) = self.units.get_mut(name) else {
            let refusal = Refusal::new(ErrorName::NoSuchUnit, format!("Unit {name} not found."));
            return front.reply(token, Err(refusal));
        };
        if verb == Verb::Reload && view.kind != UnitKind::Service {
            let text = format!("Job type reload is not applicable for unit {name}.");
            return front.reply(token, Err(Refusal::new(ErrorName::JobTypeNotApplicable, text)));
        }
        self.last_job += 1;
        let (id, job_type) = (self.last_job, verb.as_str());
        let job = JobView { id, unit: name.into(), job_type, state: "waiting" };
        front.job_new(id, name);
        let others = if detailed { vec![JobView { id: id + 1, ..job.clone() }] } else { Vec::new() };
        front.reply(token, Ok(Answer::Job { job, others }));
        let fails = name == "broken.service" && verb != Verb::Stop;
        (view.row.active_state, view.row.sub_state) = match verb {
            _ if fails => ("failed", "failed"),
            Verb::Stop => ("inactive", "dead"),
            _ => ("active", "running"),
        };
        front.unit_changed(view);
        front.job_removed(id, name, if fails { "failed" } else { "done" });
    }
}

impl Model for Toy {
    fn unit(&mut self, name: &str, load: bool) -> Result<Option<UnitView>, Refusal> {
        if load && self.loads && !self.units.contains_key(name) {
            self.units.insert(name.to_owned(), unit(name, "inactive", "dead"));
        }
        let known = self.units.get(name).cloned();
        let unloaded = || UnitName::new(name).map(|valid| UnitView::new(valid.kind(), name));
        Ok(known.or_else(|| if load { unloaded() } else { None }))
    }

    fn units(&mut self) -> Vec<UnitRow> {
        self.units.values().map(|view| view.row.clone()).collect()
    }

    fn jobs(&mut self) -> Vec<JobView> {
        self.jobs.clone()
    }

    fn unit_of_pid(&mut self, pid: u32) -> Option<String> {
        (pid == 4242).then(|| "foo.service".into())
    }

    fn processes(&mut self, unit: &str) -> Vec<ProcessView> {
        if unit != "foo.service" && !unit.is_empty() {
            return Vec::new();
        }
        let cgroup = "/system.slice/foo.service".to_string();
        vec![
            ProcessView { cgroup: cgroup.clone(), pid: 4242, command: "food --port 80".into() },
            ProcessView { cgroup, pid: 4243, command: "worker".into() },
        ]
    }

    fn overview(&mut self) -> ManagerView {
        ManagerView {
            version: "hence 0.1.0".into(),
            system_state: self.state,
            userspace: Timestamp { realtime_us: 1_700_000_000_000_000, monotonic_us: 1 },
            n_failed_units: 1,
            environment: vec!["LANG=C".into(), "PATH=/usr/bin".into()],
            control_group: "/".into(),
            ..ManagerView::default()
        }
    }

    fn machine_id(&mut self) -> String {
        "0123456789abcdef0123456789abcdef".into()
    }

    fn unit_files(&mut self) -> Vec<UnitFileView> {
        let file =
            |view: &UnitView| UnitFileView { path: view.fragment_path.clone(), state: "enabled".into() };
        self.units.values().map(file).collect()
    }

    fn unit_file_state(&mut self, name: &str) -> Result<String, Refusal> {
        let refusal = || Refusal::new(ErrorName::FileNotFound, "No such file or directory");
        self.units.get(name).map(|view| view.unit_file_state.clone()).ok_or_else(refusal)
    }

    fn unit_file_links(&mut self, name: &str, runtime: bool) -> Result<Vec<String>, Refusal> {
        let root = if runtime { "/run" } else { "/etc" };
        Ok(vec![format!("{root}/systemd/system/multi-user.target.wants/{name}")])
    }

    fn default_target(&mut self) -> Result<String, Refusal> {
        Ok("multi-user.target".into())
    }

    fn unit_of_invocation(&mut self, invocation: [u8; 16]) -> Option<String> {
        let found = self.units.values().find(|view| view.invocation_id == Some(invocation));
        found.map(|view| view.row.id.clone())
    }

    fn unit_of_group(&mut self, path: &str) -> Option<String> {
        let found = self.units.values().find(|view| view.cgroup.control_group == path);
        found.map(|view| view.row.id.clone())
    }

    fn related_jobs(&mut self, _job: u32, _after: bool) -> Vec<JobView> {
        Vec::new()
    }
}
