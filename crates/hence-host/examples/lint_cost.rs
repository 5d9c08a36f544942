//! What it costs to look at many unit files with all rules: `lint_cost [UNITS]`, 5,000 unless told, in CPU
//! time of
//! this process. The files are made in a folder of their own, which is removed.

use hence_host::RootFiles;
use hence_unit::lint::{Permits, World, lint, rules};
use hence_unit::unit_path::UnitPath;
use hence_unit::{UnitName, config::Environs};
use std::fs;
use std::time::Duration;

fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5_000);
    let folder = std::env::temp_dir().join(format!("hence-lint-cost-{}", std::process::id()));
    make(&folder, count).expect("a folder for unit files");
    for round in 0..5 {
        measure(folder.to_str().expect("a path in UTF-8"), count, round);
    }
    let _ = fs::remove_dir_all(&folder);
}

/// Services as packages have them: some depend on others, some say what a rule finds.
fn make(folder: &std::path::Path, count: usize) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for n in 0..count {
        let more = match n % 10 {
            0 => format!("Requires=s{}.service\n", n / 3),
            1 => "Wants=network-online.target\n".into(),
            _ => String::new(),
        };
        let kill = if n % 25 == 0 { "KillMode=process\n" } else { "" };
        let text = format!(
            "[Unit]\nDescription=Service number {n}\nDocumentation=man:service(8)\nAfter=s{}.service\n\
            {more}\n\
             [Service]\nType=exec\nUser=daemon\nExecStart=/usr/bin/server --number {n} --port {}\n\
             ExecReload=/bin/kill -HUP $MAINPID\nRestart=on-failure\nRestartSec=2s\nTasksMax=64\n{kill}\
             ProtectSystem=full\nPrivateTmp=yes\n\n[Install]\nWantedBy=multi-user.target\n",
            n / 2,
            1024 + n
        );
        fs::write(folder.join(format!("s{n}.service")), text)?;
    }
    Ok(())
}

fn measure(folder: &str, count: usize, round: usize) {
    let ground = RootFiles::new("");
    let begin = cpu();
    let path = UnitPath::scan(&ground, &[folder.to_owned()]);
    let names: Vec<UnitName> = path.names().cloned().collect();
    let mut world = World::new(&path, &ground, Environs::default());
    for name in &names {
        world.give(name, None);
    }
    let read = cpu() - begin;
    let found = lint(&world, &Permits::default());
    let all = cpu() - begin;
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{round}: {count} units, {} rules, {} findings: {:.1} ms (of it reading {:.1} ms), {:.1} us each",
        rules().count(),
        found.len(),
        ms(all),
        ms(read),
        ms(all) * 1e3 / count as f64
    );
}
