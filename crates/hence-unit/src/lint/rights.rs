//! Rules about rights: secrets, users, and who may change a unit file.

use super::{Change, Check, Edit, Findings, Level, LintUnit, Rule, UnitFile, World, file_place};
use crate::{
    config::{ExecPhase, Kind},
    lint::FileRole,
    words,
};
use alloc::format;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "secret-in-environment",
        level: Level::Warning,
        says: "Environment= holds a secret.",
        why: "Unit files are readable to everybody, and so are the values, through systemctl show and D-Bus; \
              children inherit them. Use LoadCredential=, or an EnvironmentFile= that only root can read.",
        page: "systemd.exec(5)",
        bad: "[Service]\nExecStart=/usr/bin/foo\nEnvironment=DB_PASSWORD=hunter2\n",
        good: "[Service]\nExecStart=/usr/bin/foo\nLoadCredential=db-password:/etc/foo/password\n",
        check: Check::Unit(secret),
    },
    Rule {
        id: "user-nobody",
        level: Level::Note,
        says: "The service runs as the user nobody.",
        why: "nobody owns what others may not own: files of network file systems, processes of other \
              services. Each \
              of them can change and end the others'. DynamicUser=yes gives the service a user of its own.",
        page: "systemd.exec(5)",
        bad: "[Service]\nUser=nobody\nExecStart=/usr/bin/foo\n",
        good: "[Service]\nDynamicUser=yes\nExecStart=/usr/bin/foo\n",
        check: Check::Unit(nobody),
    },
    Rule {
        id: "root-on-the-network",
        level: Level::Note,
        says: "An interpreter that serves the network runs as root.",
        why: "Programs in these languages don't change their user by themselves: a flaw in one is root's. \
              Add \
              User= or DynamicUser=yes; ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE.",
        page: "systemd.exec(5)",
        bad: "[Unit]\nAfter=network.target\n[Service]\nExecStart=/usr/bin/node /srv/app/server.js --port \
              8080\n",
        good: "[Unit]\nAfter=network.target\n[Service]\nUser=app\nExecStart=/usr/bin/node \
               /srv/app/server.js --port 8080\n",
        check: Check::Unit(root_on_the_network),
    },
    Rule {
        id: "executable-unit-file",
        level: Level::Note,
        says: "The unit file is marked as executable.",
        why: "It is no program; systemd writes a warning to the log whenever it loads it.",
        page: "systemd.unit(5)",
        bad: "-- foo.service mode=755 --\n[Service]\nExecStart=/usr/bin/foo\n",
        good: "-- foo.service mode=644 --\n[Service]\nExecStart=/usr/bin/foo\n",
        check: Check::File(executable),
    },
    Rule {
        id: "writable-unit-file",
        level: Level::Error,
        says: "Everybody can write the unit file.",
        why: "Whoever does is root the next time that the unit starts.",
        page: "systemd.unit(5)",
        bad: "-- foo.service mode=666 --\n[Service]\nExecStart=/usr/bin/foo\n",
        good: "-- foo.service mode=644 --\n[Service]\nExecStart=/usr/bin/foo\n",
        check: Check::File(writable),
    },
];

fn secret(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    /// What such names have in them, as words between underscores.
    const NAMES: [&str; 9] =
        ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY", "SECRETKEY", "PASS", "CREDENTIALS"];
    const PAIRS: [(&str, &str); 4] =
        [("API", "KEY"), ("PRIVATE", "KEY"), ("ACCESS", "KEY"), ("SECRET", "KEY")];
    /// What such names end in where the value is no secret.
    const OTHER: [&str; 14] = [
        "FILE", "PATH", "DIR", "URL", "URI", "NAME", "TYPE", "TTL", "TIMEOUT", "LENGTH", "STORE", "COMMAND",
        "ID", "HELPER",
    ];
    for line in unit.effective("Environment") {
        for word in words::split(&line.value).0 {
            let Some((name, value)) = word.text.split_once('=') else { continue };
            let upper = name.to_ascii_uppercase();
            let parts = || upper.split('_');
            let pair = |(a, b): &(&str, &str)| parts().zip(parts().skip(1)).any(|(x, y)| (x, y) == (*a, *b));
            let named = parts().any(|p| NAMES.contains(&p)) || PAIRS.iter().any(pair);
            let other = parts().next_back().is_some_and(|last| OTHER.contains(&last));
            let is_secret = value.len() >= 4
                && !value.starts_with(['/', '%', '$', '<', '@'])
                && !value.bytes().all(|b| b.is_ascii_digit())
                && crate::value::boolean(value).is_none();
            if named && !other && is_secret {
                let message =
                    format!("Environment= shows the value of {name} to everybody who can read the unit");
                let fix = "use LoadCredential=, or EnvironmentFile= with mode 600";
                findings.add(line.place.clone(), message, fix);
            }
        }
    }
}

fn nobody(unit: &LintUnit, _: &World<'_>, findings: &mut Findings<'_>) {
    if let Some(line) = unit.last("User").filter(|a| a.value == "nobody") {
        let message = "User=nobody is shared with other services and network file systems".into();
        findings.add(line.place.clone(), message, "write DynamicUser=yes, or a user of its own");
    }
}

fn root_on_the_network(unit: &LintUnit, world: &World<'_>, findings: &mut Findings<'_>) {
    const INTERPRETERS: [&str; 10] =
        ["node", "nodejs", "java", "ruby", "php", "gunicorn", "uvicorn", "puma", "uwsgi", "deno"];
    let Kind::Service(service) = &unit.config.kind else { return };
    let own = service.context.user.is_some() || unit.last("DynamicUser").is_some() || world.environs.user;
    let Some(command) = service.commands(ExecPhase::Start).first().filter(|_| !own) else { return };
    let name = command.path.rsplit('/').next().unwrap_or_default();
    let network = unit.config.dependencies.iter().any(|d| d.other.as_str().starts_with("network"));
    let drops = command.argv.iter().any(|w| w.contains("user") || w.contains("uid") || w.contains("setuid"));
    let emperor = command.argv.iter().any(|w| w.contains("emperor"));
    if network && !drops && !emperor && INTERPRETERS.contains(&name) {
        let message = format!("{name} serves the network as root: there is no User=");
        findings.add(unit.at(command.position), message, "add User=, or DynamicUser=yes");
    }
}

/// Permissions, where the file is a unit's.
fn mode_of(file: &UnitFile) -> Option<u32> {
    let regular = |mode: &u32| mode & 0o170_000 == 0o100_000;
    file.mode.filter(regular).filter(|_| file.role != FileRole::Script)
}

fn executable(file: &UnitFile, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(mode) = mode_of(file).filter(|mode| mode & 0o111 != 0) else { return };
    let now = mode & 0o7777;
    let message = format!("the unit file is marked as executable: its mode is {now:o}");
    let finding = findings.add(file_place(&file.path), message, &format!("chmod {:o}", now & !0o7111));
    finding.mended_by(Edit { file: file.path.clone(), change: Change::Mode(now & !0o7111) });
}

fn writable(file: &UnitFile, _: &World<'_>, findings: &mut Findings<'_>) {
    let Some(mode) = mode_of(file).filter(|mode| mode & 0o002 != 0) else { return };
    let now = mode & 0o7777;
    let message = format!("everybody can write the unit file: its mode is {now:o}");
    let finding = findings.add(file_place(&file.path), message, &format!("chmod {:o}", now & !0o7113));
    finding.mended_by(Edit { file: file.path.clone(), change: Change::Mode(now & !0o7113) });
}
