//! What it costs to load many unit files, and to read all of them anew: `load_cost [UNITS]`, 5,000 unless
//! told, in CPU time of this process. The files are made in a folder of their own, which is removed. It
//! starts nothing.

use hence_engine::{Effect, Engine, Event, Request, RequestKind, Settings};
use hence_host::{DiskFiles, Host};
use hence_ledger::{Client, Verb};
use hence_unit::unit_path::UnitPath;
use hence_unit::{UnitName, config::Environs, config::JobMode};
use std::fs;
use std::time::Duration;

fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5_000);
    let folder = std::env::temp_dir().join(format!("hence-load-cost-{}", std::process::id()));
    make(&folder, count).expect("a folder for unit files");
    let folders = [folder.to_str().expect("a path in UTF-8").to_owned()];
    for round in 0..5 {
        measure(&folders, count, round);
    }
    let _ = fs::remove_dir_all(&folder);
}

fn make(folder: &std::path::Path, count: usize) -> std::io::Result<()> {
    let wants = folder.join("multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    for target in ["basic", "sysinit", "shutdown", "multi-user"] {
        let text = format!("[Unit]\nDescription={target}\nDefaultDependencies=no\n");
        fs::write(folder.join(format!("{target}.target")), text)?;
    }
    for n in 0..count {
        let text = format!(
            "[Unit]\nDescription=Service number {n}\nDocumentation=man:service(8)\nAfter=s{}.service\n\n\
             [Service]\nType=exec\nExecStart=/usr/bin/server --number {n} --port {}\nRestart=on-failure\n\
             RestartSec=2s\nTasksMax=64\n\n[Install]\nWantedBy=multi-user.target\n",
            n / 2,
            1024 + n
        );
        let file = folder.join(format!("s{n}.service"));
        fs::write(&file, text)?;
        std::os::unix::fs::symlink(&file, wants.join(format!("s{n}.service")))?;
    }
    Ok(())
}

fn measure(folders: &[String], count: usize, round: usize) {
    let environs = Environs::default();
    let begin = cpu();
    let path = UnitPath::scan(&DiskFiles, folders);
    let scanned = cpu() - begin;
    let mut engine = Engine::new(Settings::default());
    let mut reading = Duration::ZERO;
    let mut load = |engine: &mut Engine| {
        while let Some(effect) = engine.poll_effect() {
            let Effect::Load(name) = effect else { continue };
            let begin = cpu();
            let (config, files) = hence_host::load(&path, &environs, &name);
            reading += cpu() - begin;
            engine.handle(Host::now(), Event::Loaded { config: Box::new(config), files });
        }
        while engine.poll_record().is_some() {}
    };
    let target = UnitName::new("multi-user.target").expect("a valid name");
    engine.handle(Host::now(), Event::Referenced(target.clone()));
    load(&mut engine);
    let loaded = cpu() - begin;
    let kind = RequestKind::Job { unit: target.clone(), mode: JobMode::Replace };
    let request = Request { token: 0, client: Client::default(), verb: Verb::Start, kind };
    engine.handle(Host::now(), Event::Request(request));
    load(&mut engine);
    assert!(engine.unit_count() > count, "all units are known");
    let again = cpu();
    let path = UnitPath::scan(&DiskFiles, folders);
    engine.handle(Host::now(), Event::ReloadBegun(Client::default()));
    let known: Vec<_> = engine.units().map(|u| (u.id, u.name().clone())).collect();
    for (unit, name) in known {
        let (config, files) = hence_host::load(&path, &environs, &name);
        engine.handle(Host::now(), Event::Reread { unit, config: Box::new(config), files });
    }
    engine.handle(Host::now(), Event::ReloadEnded);
    while engine.poll_record().is_some() {}
    let reloaded = cpu() - again;
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{round}: scan {:.1} ms, load {:.1} ms (of it files {:.1} ms, {:.2} us each), reload {:.1} ms",
        ms(scanned),
        ms(loaded),
        ms(reading),
        ms(reading) * 1e3 / count as f64,
        ms(reloaded)
    );
}
