//! Tests of the rows as a whole: their shape, systemd's own list, what assignments do, random values.

use super::*;
use crate::{
    DependencyKind, Kind, Text,
    config::{
        DirectoryKind, ExecPhase, INFINITY, JobMode, KillMode, Limit, ListenKind, Restart, ServiceType, Stdio,
    },
};
use alloc::{collections::BTreeSet, string::ToString, vec::Vec};
use std::{path::Path, process};

/// Loads assignments of one unit from text, without the loader's own defaults.
fn load(name: &str, text: &str) -> Config {
    let unit = UnitName::new(name).unwrap();
    let environs = Environs { runtime_root: "/run".into(), ..Environs::default() };
    let mut config = Config::stub(unit.clone());
    let (assignments, syntax) = crate::syntax::parse(&Text::from("/etc/x"), text);
    assert!(syntax.is_empty(), "{syntax:?}");
    for assignment in &assignments {
        let mut loading = Loading { unit: &unit, environs: &environs, config: &mut config, source: 0 };
        apply(&mut loading, assignment);
    }
    config
}

/// As `load`, and expects not one diagnostic.
fn clean(name: &str, text: &str) -> Config {
    let config = load(name, text);
    assert_eq!(config.diagnostics, [], "{text}");
    config
}

fn said(config: &Config) -> Vec<String> {
    config.diagnostics.iter().map(|d| d.to_string()).collect()
}

#[test]
fn rows_are_sound() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        for section in Section::ALL.into_iter().filter(|s| row.sections.has(*s)) {
            assert!(seen.insert((section, row.name)), "{section} has two rows {}", row.name);
            assert_eq!(find(section.as_str(), row.name).map(|r| r.name), Some(row.name));
        }
        assert_ne!(row.sections.0, 0, "{}", row.name);
        assert!(row.doc.ends_with('.') && row.doc.len() > 10, "{}: {:?}", row.name, row.doc);
        assert!(!row.doc.ends_with("..") && !row.doc.contains(". "), "{}: {:?}", row.name, row.doc);
        assert!(row.page.ends_with("(5)"), "{}", row.name);
        assert!(row.since == 0 || (183..=262).contains(&row.since), "{}", row.name);
        assert!(!matches!(row.support, Support::Accepted("")), "{}", row.name);
        if row.support == Support::Acted {
            // Of sockets the texts are read when all files were applied.
            let as_text = matches!(row.take, Take::Keep(_)) && row.sections.has(Section::Socket);
            assert!(matches!(row.take, Take::Act(_)) || as_text, "{} has no typed field", row.name);
        }
        if let Some(now) = row.replaced_by.filter(|now| !now.contains(' ')) {
            let known = rows().any(|r| r.name == now && r.sections == row.sections);
            assert!(known, "{} is replaced by an unknown {now}", row.name);
        }
    }
    assert!(rows().len() < usize::from(u16::MAX));
    for row in rows() {
        let alike = rows().filter(|other| other.name == row.name).count();
        assert_eq!(table::named(row.name).iter().filter(|found| **found > 0).count(), alike, "{}", row.name);
    }
    assert!(Section::ALL.iter().all(|section| Section::parse(section.as_str()) == Some(*section)));
    assert!(find("Unit", "ExecStart").is_none() && find("Nowhere", "Type").is_none());
    assert_eq!(table().count(), seen.len());
    let mounts = table().filter(|e| e.section == "Mount");
    let acted = mounts.filter(|e| e.support == Support::Acted).count();
    let sockets = table().filter(|e| e.section == "Socket" && e.page.starts_with("systemd.exec("));
    let of_sockets = sockets.filter(|e| e.support == Support::Acted).count();
    assert!(acted > of_sockets, "commands of mounts run as those of sockets do: {acted}");
}

/// systemd's own list of what it takes, where it is installed.
#[test]
fn rows_are_those_of_systemd() {
    let binary = Path::new("/usr/lib/systemd/systemd");
    if !binary.exists() {
        return;
    }
    let run = |option| process::Command::new(binary).arg(option).output().ok();
    let (Some(version), Some(list)) = (run("--version"), run("--dump-configuration-items")) else {
        return;
    };
    let version = String::from_utf8(version.stdout).unwrap();
    let Some(version) = version.split(' ').nth(1).and_then(|v| v.parse::<u16>().ok()) else {
        return;
    };
    let list = String::from_utf8(list.stdout).unwrap();
    let (mut section, mut items) = ("", BTreeSet::new());
    for line in list.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        } else if let Some((name, _)) = line.split_once('=') {
            items.insert((section, name));
        }
    }
    assert!(items.len() > 1000, "the list was read");
    let unknown: Vec<_> = items.iter().filter(|(s, n)| find(s, n).is_none()).collect();
    let newer = version > 262;
    assert!(newer || unknown.is_empty(), "without a row: {unknown:?}");
    let invented = table().filter(|e| e.section != "X-Hence" && e.since <= version);
    let invented: Vec<_> = invented.map(|e| (e.section, e.name)).filter(|i| !items.contains(i)).collect();
    // Later versions drop former names; of 252 nothing may be missing.
    assert!(version != 252 || invented.is_empty(), "not known to systemd {version}: {invented:?}");
}

#[test]
fn a_service() {
    let config = clean(
        "web@7.service",
        "[Unit]\nDescription=Web %i\nDocumentation=man:x(1) https://example.org\n\
         After=a.service \"b.socket\"\n\
         Requires=db@.service\nStartLimitIntervalSec=1min\nStartLimitBurst=3\nOnFailureJobMode=fail\n\
         ConditionPathExists=|!/run/%i\nConditionUser=root\nAssertFirstBoot=no\n\
         [Service]\nType=notify\nExecStart=-/bin/a %i\nExecStart=/bin/b\nRestart=on-failure\n\
         RestartSec=500ms\n\
         TimeoutSec=5min 20s\nTimeoutStopSec=0\nSuccessExitStatus=TEMPFAIL 250 SIGUSR1\nPIDFile=x.pid\n\
         KillMode=mixed\nKillSignal=RTMIN+3\nUser=daemon\nEnvironment=A=1 \"B=x y\" A=2\n\
         EnvironmentFile=-/etc/e\n\
         WorkingDirectory=-~\nLimitNOFILE=1024:4096\nLimitCPU=1min\nStandardOutput=append:/var/log/%i\n\
         RuntimeDirectory=a b/c\nRuntimeDirectoryMode=0700\nIOSchedulingClass=idle\nTasksMax=10%\n\
         MemoryMax=1G\n\
         CPUQuota=150%\nCPUWeight=idle\nDelegate=cpu pids\nSlice=x-y.slice\nSockets=s.socket\n\
         StandardInputText=a  b\nStandardInputData=Zm9v\nUMask=0027\nIgnoreSIGPIPE=no\n\
         [Install]\nWantedBy=multi-user.target\nAlias=w@%i.service\n[X-Hence]\nLeftBehindAllowed=yes\n",
    );
    assert_eq!(&*config.description, "Web 7");
    assert_eq!(config.documentation.len(), 2);
    let deps: Vec<_> = config.dependencies.iter().map(|d| (d.kind, d.other.as_str())).collect();
    use DependencyKind::{After, Requires};
    assert_eq!(deps, [(After, "a.service"), (After, "b.socket"), (Requires, "db@7.service")]);
    assert_eq!((config.start_limit_interval, config.start_limit_burst), (60_000_000, 3));
    assert_eq!(config.on_failure_job_mode, JobMode::Fail);
    let first = &config.conditions[0];
    assert_eq!(
        (first.check, &*first.argument, first.negate, first.trigger),
        ("PathExists", "/run/7", true, true)
    );
    assert_eq!((first.position.line, first.position.column), (9, 21));
    assert_eq!((config.conditions.len(), config.asserts.len()), (2, 1));
    assert!(config.flags.left_behind_allowed);
    assert_eq!(&*config.install.wanted_by[0], "multi-user.target");
    assert_eq!(&*config.install.alias[0], "w@%i.service");

    let service = config.service().unwrap();
    assert_eq!((service.service_type, service.restart), (ServiceType::Notify, Restart::OnFailure));
    assert_eq!(service.commands(ExecPhase::Start).len(), 2);
    assert_eq!((service.restart_delay, service.timeout_start), (500_000, 320_000_000));
    assert_eq!(service.timeout_stop, INFINITY);
    let success = &service.success_exit_status;
    assert_eq!((&success.codes[..], &success.signals[..]), (&[75, 250][..], &[10][..]));
    assert_eq!(service.pid_file.as_deref(), Some("/run/x.pid"));
    assert_eq!((service.kill.mode, service.kill.signal), (KillMode::Mixed, 37));
    assert_eq!(service.sockets[0].as_str(), "s.socket");

    let context = &service.context;
    assert_eq!(context.environment.iter().map(|v| &**v).collect::<Vec<_>>(), ["A=2", "B=x y"]);
    assert!(context.environment_files[0].optional && context.working_directory_optional);
    assert_eq!(context.working_directory.as_deref(), Some("~"));
    let limits: Vec<_> = context.limits.iter().map(|l| (l.resource, l.soft, l.hard)).collect();
    assert_eq!(limits, [(7, 1024, 4096), (0, 60, 60)]);
    assert_eq!(context.stdout, Stdio::Append("/var/log/7".into()));
    let directories: Vec<_> = context.directories.iter().map(|d| (d.kind, &*d.name, d.mode)).collect();
    assert_eq!(directories, [(DirectoryKind::Runtime, "a", 0o700), (DirectoryKind::Runtime, "b/c", 0o700)]);
    assert_eq!(
        (context.io_priority, context.umask, context.keep_sigpipe),
        (Some(3 << 13 | 4), Some(0o27), true)
    );
    assert_eq!(context.stdin_data, b"a  b\nfoo");
    assert_eq!(context.not_applied, [""; 0]);

    let resources = &service.resources;
    assert_eq!(resources.tasks_max, Some(Limit::Share(1000)));
    assert_eq!(resources.memory_max, Some(Limit::Absolute(1 << 30)));
    assert_eq!((resources.cpu_quota, resources.cpu_weight), (Some(15_000), Some(0)));
    assert!(resources.delegate);
    assert_eq!(resources.slice.as_deref(), Some("x-y.slice"));
}

#[test]
fn other_kinds() {
    let config = clean(
        "x.socket",
        "[Socket]\nListenStream=/run/x\nListenStream=\nListenStream=[::1]:80\nListenStream=127.0.0.1:8080\n\
         ListenStream=443\nListenDatagram=@abc\nListenFIFO=/run/f\nListenStream=vsock::7\nAccept=yes\n\
         SocketMode=0600\n\
         Service=y.service\nBindIPv6Only=both\nTimeoutSec=0\nSymlinks=/run/l\nReceiveBuffer=8M\n",
    );
    let socket = config.socket().unwrap();
    assert_eq!(socket.listen.len(), 6, "an empty ListenStream= removed the first");
    assert_eq!((socket.listen[0].kind, &*socket.listen[0].address), (ListenKind::Stream, "[::1]:80"));
    assert!(
        socket.accept && socket.mode == 0o600 && socket.bind_ipv6_only == 1 && socket.timeout == INFINITY
    );
    assert_eq!(socket.receive_buffer, Some(8 << 20));
    let rows_of_listen = config.settings.iter().filter(|s| name_of(s.row) == "ListenStream");
    assert_eq!(rows_of_listen.count(), 4);

    let config = clean(
        "x.timer",
        "[Timer]\nOnBootSec=5\nOnActiveSec=\nOnBootSec=1h 5\nOnCalendar=daily\nUnit=y.service\n\
         AccuracySec=1us\n",
    );
    let Kind::Timer(timer) = &config.kind else { panic!() };
    assert_eq!((timer.elapse.len(), timer.elapse[0].delay), (1, 3_605_000_000));
    assert_eq!((timer.calendar.len(), timer.accuracy), (1, 1));
    assert_eq!(timer.calendar[0].expression.to_string(), "*-*-* 00:00:00");

    let wrong = load("x.timer", "[Timer]\nOnCalendar=Mon 24:00\nOnCalendar=%%:00\nOnBootSec=1\n");
    let [first, second] = &*wrong.diagnostics else { panic!("{:?}", wrong.diagnostics) };
    assert_eq!((first.place.line, first.place.column), (2, 16));
    assert_eq!(first.message, "OnCalendar=Mon 24:00: hour 24 is not within 0 and 23; the line is ignored");
    assert_eq!((second.place.line, second.place.column), (3, 12));

    let config = clean("x.path", "[Path]\nPathExists=/a//b\nMakeDirectory=on\nUnit=y.target\n");
    let Kind::Path(path) = &config.kind else { panic!() };
    assert_eq!((path.watches[0].0, &*path.watches[0].1), ("PathExists", "/a/b"));

    let config = clean("x.slice", "[Slice]\nMemoryHigh=50%\nConcurrencyHardMax=infinity\n");
    let Kind::Slice(resources) = &config.kind else { panic!() };
    assert_eq!(resources.memory_high, Some(Limit::Share(5000)));

    let config = clean("a.mount", "[Mount]\nWhat=/dev/x\nWhere=/a\nUser=nobody\nKillMode=process\n");
    assert_eq!(config.settings.len(), 4);
    assert_eq!(config.context().and_then(|context| context.user.as_deref()), Some("nobody"));
    assert_eq!(config.kill().mode, KillMode::Process);
    for wrong in ["a-name-that-is-too-long", "a/b", "17", "a b", "..", "all"] {
        let config = load("x.socket", &format!("[Socket]\nListenStream=/run/x\nBindToDevice={wrong}\n"));
        let [diagnostic] = &*config.diagnostics else { panic!("{wrong}: {:?}", config.diagnostics) };
        assert_eq!((diagnostic.rule, diagnostic.place.line), ("bad-value", 3));
        assert!(diagnostic.fix.is_some() && diagnostic.level == Level::Warning, "ignored, as by systemd");
        assert!(config.socket().unwrap().options.is_none());
    }
    for good in ["lo", "*", "enp0s3", "br-1.5"] {
        clean("x.socket", &format!("[Socket]\nListenStream=/run/x\nBindToDevice={good}\n"));
    }
}

#[test]
fn empty_values_reset() {
    let config = load(
        "x.service",
        "[Unit]\nConditionUser=a\nConditionPathExists=/x\nAssertUser=b\nConditionHost=\n\
         After=a.service\nAfter=\n\
         [Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b\nEnvironment=A=1\nEnvironment=\n\
         Nice=5\nNice=\n\
         SuccessExitStatus=1 HUP\nSuccessExitStatus=\nKillMode=mixed\nKillMode=\nTasksMax=5\nTasksMax=\n\
         StateDirectory=a\nStateDirectory=\nPrivateBPF=yes\nProtectSystem=full\nProtectSystem=no\n\
         InaccessiblePaths=/a\nInaccessiblePaths=\n",
    );
    let said = said(&config);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("After= can not be emptied"), "{said:?}");
    assert_eq!((config.conditions.len(), config.asserts.len(), config.dependencies.len()), (0, 1, 1));
    let service = config.service().unwrap();
    assert_eq!(service.commands(ExecPhase::Start).len(), 1);
    assert_eq!(&*service.commands(ExecPhase::Start)[0].path, "/bin/b");
    assert!(service.context.environment.is_empty() && service.kill.mode == KillMode::ControlGroup);
    assert_eq!((service.context.nice, service.resources.tasks_max), (None, None));
    assert_eq!(service.success_exit_status, Default::default());
    assert!(service.context.directories.is_empty());
    assert_eq!(service.context.not_applied, ["PrivateBPF"]);
    let kept: Vec<_> = config.settings.iter().map(|s| name_of(s.row)).collect();
    assert_eq!(kept, ["AssertUser", "After", "ExecStart", "PrivateBPF", "ProtectSystem"]);
}

#[test]
fn a_later_value_replaces_and_a_bad_one_does_not() {
    let config =
        load("x.service", "[Service]\nRestartSec=5\nRestartSec=7\nRestartSec=soon\nType=forkin\nNice=30\n");
    let service = config.service().unwrap();
    assert_eq!((service.restart_delay, service.service_type), (7_000_000, ServiceType::Simple));
    assert_eq!(config.settings.len(), 1);
    assert_eq!(config.settings[0].line, 3);
    let said = said(&config);
    assert!(said[0].starts_with("/etc/x:4:12: warning: RestartSec= takes a time span"), "{said:?}");
    assert!(said[1].contains("not \"forkin\" (did you mean forking?)"), "{said:?}");
    assert!(said[2].contains("a number from -20 to 19"), "{said:?}");
    assert!(config.diagnostics.iter().all(|d| d.rule == "bad-value" && d.level == Level::Warning));
}

#[test]
fn unknown_names_are_reported_with_the_nearest() {
    let config = load(
        "x.service",
        "[Unit]\nReqires=a.service\nExecStart=/bin/a\nListenStream=1\nX-Other=1\nZzzzzzzz=1\n\
         [Service]\nRestartSecs=1\nStartLimitInterval=5\nexecstart=/bin/a\n[Instal]\nWantedBy=a.target\n\
         Also=b.service\n\
         [X-Thing]\nA=b\n[Socket]\nAccept=yes\n[Qwertyuiop]\nA=b\n",
    );
    let rules: Vec<_> = config.diagnostics.iter().map(|d| (d.rule, d.place.line, d.fix.as_deref())).collect();
    assert_eq!(
        rules,
        [
            ("unknown-directive", 2, Some("did you mean Requires=?")),
            ("misplaced-directive", 3, Some("move it to [Service]")),
            ("misplaced-directive", 4, Some("it belongs in [Socket] of another kind of unit")),
            ("unknown-directive", 6, None),
            ("unknown-directive", 8, Some("did you mean RestartSec=?")),
            ("former-directive", 9, Some("move it to [Unit] as StartLimitIntervalSec=")),
            ("unknown-directive", 10, Some("did you mean ExecStart=?")),
            ("unknown-section", 12, Some("did you mean [Install]?")),
            ("misplaced-section", 17, None),
            ("unknown-section", 19, None),
        ]
    );
    assert_eq!(config.start_limit_interval, 5_000_000);
}

#[test]
fn bad_words_of_a_list_are_left_out() {
    let config = load(
        "x.service",
        "[Unit]\nWants=a.service bad a/b.service b.target\nAfter=%Q.service\n\
         [Service]\nEnvironment=A=1 1B=2 C=3\nSuccessExitStatus=300 SIGTERM TEMPFIAL\n",
    );
    assert_eq!(config.dependencies.len(), 2);
    let service = config.service().unwrap();
    assert_eq!(service.context.environment.len(), 2);
    assert_eq!(service.success_exit_status.signals, [15]);
    let places: Vec<_> = config.diagnostics.iter().map(|d| (d.place.line, d.place.column)).collect();
    assert_eq!(places, [(2, 17), (2, 21), (3, 7), (5, 17), (6, 19), (6, 31)]);
    assert_eq!(config.diagnostics[5].fix.as_deref(), Some("did you mean TEMPFAIL?"));
}

/// A generator of numbers that needs no clock: every run is the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn random_values_never_panic() {
    const PARTS: [&str; 40] = [
        "",
        " ",
        "%",
        "%i",
        "%%",
        "\"",
        "'",
        "\\",
        "\\x",
        ":",
        "-",
        "+",
        "!",
        "|",
        "@",
        "/",
        "//",
        "..",
        ".",
        "~",
        "=",
        "0",
        "1",
        "18446744073709551615",
        "9999999999999999999999",
        "infinity",
        "K",
        "s",
        "min",
        "1.5G",
        "100%",
        "é",
        "µs",
        "\u{1}",
        "yes",
        "a.service",
        "/bin/true",
        "TEMPFAIL",
        "SIGKILL",
        "[::1]:80",
    ];
    let names = UnitKind::ALL.map(|kind| alloc::format!("a@b.{}", kind.suffix()));
    let (environs, file) = (Environs::default(), Text::from("/x"));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for (entry, name) in table().flat_map(|e| names.iter().map(move |n| (e, n))) {
        let unit = UnitName::new(name).unwrap();
        if !Section::parse(entry.section).unwrap().belongs_to(unit.kind()) {
            continue;
        }
        let mut config = Config::stub(unit.clone());
        for _ in 0..24 {
            let mut value = String::new();
            for _ in 0..numbers.next(5) {
                value.push_str(PARTS[numbers.next(PARTS.len())]);
            }
            let assignment = Assignment {
                section: entry.section.into(),
                key: entry.name.into(),
                value: value.into(),
                place: Place { file: file.clone(), line: 1, column: 1 },
                value_column: u32::MAX - 1,
                continued: false,
            };
            let said = config.diagnostics.len();
            let kept = config.settings.len();
            let mut loading = Loading { unit: &unit, environs: &environs, config: &mut config, source: 0 };
            apply(&mut loading, &assignment);
            let changed = config.settings.len() != kept || config.settings.last().is_some();
            let silent = config.diagnostics.len() == said;
            assert!(!silent || changed || assignment.value.trim().is_empty(), "{assignment:?} vanished");
        }
    }
}

#[test]
fn values_that_would_loosen_a_unit_refuse_it() {
    for bad in [
        "User=a:b",
        "Group=-1",
        "SupplementaryGroups=ok a/b",
        "RootDirectory=x",
        "WorkingDirectory=x/y",
        "User=%Q",
    ] {
        let config = load("x.service", &alloc::format!("[Service]\n{bad}\n"));
        let levels: Vec<_> = config.diagnostics.iter().map(|d| d.level).collect();
        assert_eq!(levels, [Level::Error], "{bad}");
    }
    let config = load("x.service", "[Service]\nWorkingDirectory=-x/y\nNice=99\n");
    assert!(config.diagnostics.iter().all(|d| d.level == Level::Warning));
    assert_eq!(config.diagnostics.len(), 2);
}
