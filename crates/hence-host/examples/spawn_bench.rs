//! Starts N services, each in a group of its own, kills and removes them again; prints microseconds each.
//! For comparison with a bare loop of the same system calls: `spawn_bench N PROGRAM [ARGUMENTS]`, as root.

use hence_engine::{Effect, Event, ExecId, Kill, KillScope, Spawn, UnitId};
use hence_host::{Host, HostOptions};
use hence_ledger::{ProcessRole, SignalReason, record::Invocation};
use hence_unit::{
    Config, Kind, Position, ServiceConfig, UnitName,
    config::{Command, ExecPhase, Privilege, Stdio},
};
use std::{collections::VecDeque, sync::Arc};

fn config(name: &str, argv: &[String]) -> Option<Config> {
    let mut service = ServiceConfig::default();
    service.context.stdout = Stdio::Null;
    service.exec[ExecPhase::Start as usize].push(Command {
        path: argv[0].as_str().into(),
        argv: argv.iter().map(|a| a.as_str().into()).collect(),
        ignore_failure: false,
        no_substitution: false,
        privilege: Privilege::Unit,
        position: Position { source: 0, line: 1, column: 1 },
    });
    let mut config = Config::stub(UnitName::new(name)?);
    config.kind = Kind::Service(std::sync::Arc::new(service));
    Some(config)
}

fn spawn(unit: u32, config: &Arc<Config>) -> Effect {
    let mut invocation = [0; 16];
    invocation[..4].copy_from_slice(&unit.to_le_bytes());
    Effect::Spawn(Box::new(Spawn {
        exec: ExecId(unit),
        unit: UnitId(unit),
        config: config.clone(),
        role: ProcessRole::Main,
        phase: ExecPhase::Start,
        index: 0,
        invocation: Invocation(invocation),
        environment: Vec::new(),
        confirm: false,
        notify: false,
        sockets: Vec::new(),
        connection: None,
        first_of_invocation: true,
    }))
}

fn kill(unit: u32, main: u32) -> Effect {
    Effect::Kill(Kill {
        unit: UnitId(unit),
        scope: KillScope::Group,
        main: Some(main),
        control: None,
        signal: 15,
        then_continue: true,
        hangup: false,
        reason: SignalReason::Stop,
        report_empty: true,
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(count), Some(_)) = (arguments.first().and_then(|n| n.parse::<u32>().ok()), arguments.get(1))
    else {
        return Err("spawn_bench N PROGRAM [ARGUMENTS]".into());
    };
    let name = |i| format!("svc{i:04}.service");
    let configs: Option<Vec<_>> =
        (0..count).map(|i| config(&name(i), &arguments[1..]).map(Arc::new)).collect();
    let configs = configs.ok_or("too many units")?;
    let mut host = Host::new(HostOptions::default())?;
    let mut events = VecDeque::new();
    let mut pids = Vec::with_capacity(configs.len());
    let begin = Host::now().monotonic_us;
    for (unit, config) in configs.iter().enumerate() {
        host.perform(spawn(unit as u32, config), &mut events);
        match events.pop_front() {
            Some(Event::Spawned { pid, .. }) => pids.push(pid),
            other => return Err(format!("{other:?}").into()),
        }
    }
    let started = Host::now().monotonic_us - begin;
    // The starts are the parent's part; the programs must have come up before they are ended.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let begin = Host::now().monotonic_us;
    for (unit, pid) in pids.iter().enumerate() {
        host.perform(kill(unit as u32, *pid), &mut events);
    }
    let (mut emptied, mut foreign) = (0, Vec::new());
    while emptied < count {
        while let Some(event) = events.pop_front() {
            if let Event::Emptied(unit) = event {
                emptied += 1;
                host.perform(Effect::Release { unit, keep_directories: false }, &mut events);
            }
        }
        if emptied < count {
            host.wait(None, &mut events, &mut foreign)?;
        }
    }
    let stopped = Host::now().monotonic_us - begin;
    let each = |us: u64| us as f64 / f64::from(count);
    println!(
        "start {:.1} us each, stop {:.1} us each, {}",
        each(started),
        each(stopped),
        host.tracking().cgroup
    );
    host.close();
    Ok(())
}
