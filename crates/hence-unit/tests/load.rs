//! Units loaded from files in memory, held against what systemd 252 made of the same files.

mod files;

use files::{Map, Node, dependencies, environs, folders, load};
use hence_unit::{
    Config, LoadState, Origin, SourceRole, UnitName,
    config::{ExecPhase, INFINITY, NotifyAccess, Restart, ServiceType},
    exec_line,
    unit_path::UnitPath,
};
use std::borrow::Cow;

fn argvs(config: &Config, phase: ExecPhase) -> Vec<Vec<String>> {
    let service = config.service().expect("a service");
    service.commands(phase).iter().map(|c| c.argv.iter().map(|a| a.to_string()).collect()).collect()
}

/// The arguments behind argv[0] as the command would get them, written as the payload of the rig does.
fn shown(config: &Config) -> Vec<String> {
    let service = config.service().expect("a service");
    let environment = &service.context.environment;
    let look = |name: &str| {
        let found = environment.iter().rev().find_map(|e| e.strip_prefix(name)?.strip_prefix('='));
        found.map(Cow::Borrowed)
    };
    let command = |argv| {
        let words = exec_line::expand(argv, &look).0;
        let shown: String = words[1..].iter().map(|word| format!(" [{word}]")).collect();
        format!("{}:{shown}", words.len() - 1)
    };
    service.commands(ExecPhase::Start).iter().map(|c| command(&c.argv)).collect()
}

fn rules(config: &Config) -> Vec<&'static str> {
    config.diagnostics.iter().map(|d| d.rule).collect()
}

#[test]
fn quoting_and_splitting() {
    let mut map = Map::default();
    map.file("quoting.service", include_str!("scenarios/quoting.service"));
    let config = map.load("quoting.service");
    assert_eq!(config.load, LoadState::Loaded);
    assert_eq!(
        shown(&config),
        [
            "6: [plain] [single quoted] [double quoted] [mixed quoted] [back slash] [tab\tend]",
            "9: [1] [1] [two] [words] [two words] [two] [words] [pretwo wordspost] [pre$TWO]",
            "3: [] [] [end]",
            "6: [$ONE] [${ONE}] [100%] [a \"quoted\" word] [x] [y]",
            "3: [line] [continued] [here]",
            "3: [ABC \"in\" 'quotes'] ['] [a\\b]",
        ]
    );
    let lines: Vec<u32> =
        config.service().unwrap().commands(ExecPhase::Start).iter().map(|c| c.position.line).collect();
    assert_eq!(lines, [5, 6, 7, 8, 9, 13]);
}

#[test]
fn specifiers() {
    let mut map = Map::default();
    map.file(
        "spec@.service",
        "[Service]\nType=oneshot\nEnvironment=IN_ENV=%i-%p\n\
         ExecStart=/opt/args n:%n N:%N p:%p P:%P i:%i I:%I j:%j J:%J f:%f\n\
         ExecStart=/opt/args ${IN_ENV} q%iq %i%i\n",
    );
    let config = map.load(r"spec@var-lib-my\x2ddata.service");
    assert_eq!(
        shown(&config),
        [
            concat!(
                r"9: [n:spec@var-lib-my\x2ddata.service] [N:spec@var-lib-my\x2ddata] [p:spec] [P:spec] ",
                r"[i:var-lib-my\x2ddata] [I:var/lib/my-data] [j:spec] [J:spec] [f:/var/lib/my-data]",
            ),
            r"3: [var-lib-my\x2ddata-spec] [qvar-lib-my\x2ddataq] [var-lib-my\x2ddatavar-lib-my\x2ddata]",
        ]
    );
}

#[test]
fn path_of_the_fragment() {
    let mut map = Map::default();
    map.file("a.service", "[Unit]\nDescription=%y\n[Service]\nExecStart=/bin/a %Y\n")
        .file("a.service.d/x.conf", "[Service]\nEnvironment=FROM=%y\n")
        .file("only.slice.d/x.conf", "[Unit]\nDescription=%y\n");
    let config = map.load("a.service");
    assert_eq!(&*config.description, "/etc/systemd/system/a.service");
    assert_eq!(shown(&config), ["1: [/etc/systemd/system]"]);
    assert_eq!(&*config.service().unwrap().context.environment[0], "FROM=/etc/systemd/system/a.service");
    let slice = map.load("only.slice");
    assert_eq!((&*slice.description, slice.diagnostics.len()), ("Slice /only", 1));
}

#[test]
fn drop_ins() {
    let map = Map::scenario(include_str!("scenarios/drop-ins.txt"));
    let path = UnitPath::scan(&map, &folders());
    let listed = map.listed.get();
    let base = load(&path, &map, "base.service");
    let dashed = load(&path, &map, "dashed-name-here.service");
    assert_eq!(map.listed.get(), listed, "loading lists no folder again");
    let paths = |config: &Config| -> Vec<String> {
        let sources = config.sources.iter().filter(|s| s.role == SourceRole::DropIn);
        sources.map(|s| s.path.to_string()).collect()
    };
    assert_eq!(
        paths(&base),
        [
            "/etc/systemd/system/service.d/05-all.conf",
            "/etc/systemd/system/base.service.d/10-first.conf",
            "/run/systemd/system/base.service.d/15-run.conf",
            "/etc/systemd/system/base.service.d/20-second.conf",
        ]
    );
    assert_eq!(&*base.description, "from first");
    let environment: Vec<&str> = base.service().unwrap().context.environment.iter().map(|e| &**e).collect();
    let last = |name: &str| environment.iter().rev().find(|e| e.starts_with(name)).copied();
    assert_eq!((last("A="), last("B="), last("C=")), (Some("A=all"), Some("B=run"), Some("C=second")));
    assert_eq!(argvs(&base, ExecPhase::Start)[0][2], "echo \"second $A $B $C\" >> /run/trace");
    assert_eq!(argvs(&base, ExecPhase::Start).len(), 1);
    assert_eq!(
        paths(&dashed),
        [
            "/etc/systemd/system/service.d/05-all.conf",
            "/etc/systemd/system/dashed-name-.service.d/prefix.conf",
        ]
    );
}

#[test]
fn drop_ins_that_mask_and_fail() {
    let mut map = Map::default();
    map.file("/usr/lib/systemd/system/a.service", "[Service]\nExecStart=/bin/a\n")
        .file("/usr/lib/systemd/system/a.service.d/10.conf", "[Unit]\nDescription=ten\n")
        .link("a.service.d/10.conf", "/dev/null")
        .file("a.service.d/20.conf", "[Service]\nExecStartPre=bin/relative\n[Unit]\nDescription=after\n")
        .file("a.service.d/30.conf", "[Service\nExecStart=/bin/b\n")
        .file("a.service.d/.hidden.conf", "[Unit]\nDescription=hidden\n")
        .file("only.service.d/10.conf", "[Service]\nExecStart=/bin/only\n");
    map.nodes.insert("/etc/systemd/system/a.service.d/40.conf".into(), Node::Unreadable);
    let config = map.load("a.service");
    assert_eq!(config.load, LoadState::Loaded, "mistakes in drop-ins leave the unit usable");
    assert_eq!(&*config.description, "");
    assert_eq!(rules(&config), ["command-path", "section-header", "unreadable"]);
    assert_eq!(config.sources.len(), 4);
    assert_eq!(map.load("only.service").load, LoadState::NotFound, "drop-ins alone make no unit");
}

#[test]
fn templates() {
    let map = Map::scenario(include_str!("scenarios/templates.txt"));
    let commands = |name: &str| -> Vec<String> {
        argvs(&map.load(name), ExecPhase::Start).into_iter().map(|argv| argv[2].clone()).collect()
    };
    let trace = |text: &str| format!("echo \"{text}\" >> /run/trace");
    assert_eq!(commands("job@one.service"), ["job one", "dropin for all one"].map(trace));
    assert_eq!(commands("job@two.service"), ["job two", "dropin for all two", "dropin for two"].map(trace));
    assert_eq!(commands("job@special.service"), ["special job", "dropin for all special"].map(trace));
    let one = map.load("job@one.service");
    assert_eq!(&*one.sources[0].path, "/etc/systemd/system/job@.service");
    assert_eq!(one.shown_description(), "Job one");
    assert!(dependencies(&one).contains(&"InSlice=system-job.slice".into()));
    assert_eq!(map.load("job@.service").load, LoadState::BadSetting);
}

#[test]
fn bad_input() {
    let map = Map::scenario(include_str!("scenarios/bad-input.txt"));
    let unknown = map.load("unknown-setting.service");
    assert_eq!(unknown.load, LoadState::Loaded);
    assert_eq!(unknown.service().unwrap().restart, Restart::No);
    assert!(unknown.diagnostics.len() >= 6, "{:?}", unknown.diagnostics);
    let no_exec = map.load("no-exec.service");
    let said = "/etc/systemd/system/no-exec.service: error: \
                the service has no ExecStart=, ExecStop= or SuccessAction= (add ExecStart=)";
    assert_eq!(no_exec.diagnostics[0].to_string(), said);
    assert_eq!((no_exec.load, rules(&no_exec)), (LoadState::BadSetting, vec!["no-exec-start"]));
    let relative = map.load("relative.service");
    assert_eq!(relative.load, LoadState::BadSetting);
    let place = relative.diagnostics[0].place.to_string();
    assert_eq!(place, "/etc/systemd/system/relative.service:2:11");
    let two = map.load("two-starts.service");
    assert_eq!((two.load, rules(&two)), (LoadState::BadSetting, vec!["several-exec-start"]));
    assert_eq!(two.diagnostics[0].place.line, 3);
    let bad_type = map.load("bad-type.service");
    assert_eq!(bad_type.load, LoadState::Loaded);
    assert_eq!(bad_type.service().unwrap().service_type, ServiceType::Simple);
    let broken = map.load("broken-lines.service");
    assert_eq!(broken.load, LoadState::Loaded);
    let lines: Vec<u32> = broken.diagnostics.iter().map(|d| d.place.line).collect();
    assert_eq!(lines, [3, 4, 5]);
}

#[test]
fn environment_of_a_service() {
    let map = Map::scenario(include_str!("scenarios/environment-files.txt"));
    let config = map.load("env.service");
    let context = &config.service().unwrap().context;
    let environment: Vec<&str> = context.environment.iter().map(|e| &**e).collect();
    assert_eq!(environment, ["FROM_UNIT=unit", "BOTH=unit"]);
    let found: Vec<(&str, bool)> = context.environment_files.iter().map(|f| (&*f.path, f.optional)).collect();
    assert_eq!(
        found,
        [("/etc/default/env-one", false), ("/etc/default/env-absent", true), ("/etc/default/env-two", false)]
    );
}

#[test]
fn precedence_and_masks() {
    let mut map = Map::default();
    map.file("/usr/lib/systemd/system/a.service", "[Unit]\nDescription=lib\n[Service]\nExecStart=/bin/a\n")
        .file("/run/systemd/system/a.service", "[Unit]\nDescription=run\n[Service]\nExecStart=/bin/a\n")
        .file("/usr/lib/systemd/system/b.service", "[Service]\nExecStart=/bin/b\n")
        .link("b.service", "/dev/null")
        .file("/usr/lib/systemd/system/c.service", "[Service]\nExecStart=/bin/c\n")
        .file("c.service", "")
        .link("d.service", "/opt/elsewhere.unit")
        .file("/opt/elsewhere.unit", "[Service]\nExecStart=/bin/d\n")
        .link("e.service", "/opt/missing.unit")
        .file("f.service", "[Service]\nExecStart=/bin/f\n");
    map.nodes.insert("/etc/systemd/system/f.service".into(), Node::Unreadable);
    map.nodes
        .insert("/etc/systemd/system/g.service".into(), Node::File(b"[Unit]\nDescription=\xff\n".into()));
    assert_eq!(&*map.load("a.service").description, "run");
    assert_eq!(map.load("b.service").load, LoadState::Masked);
    assert_eq!(map.load("c.service").load, LoadState::Masked);
    map.file("b.service.d/x.conf", "[Unit]\nDescription=masked\n");
    assert_eq!(&*map.load("b.service").description, "masked");
    let d = map.load("d.service");
    assert_eq!((d.load, &*d.sources[0].path), (LoadState::Loaded, "/etc/systemd/system/d.service"));
    assert_eq!(map.load("e.service").load, LoadState::NotFound);
    let f = map.load("f.service");
    assert_eq!((f.load, rules(&f)), (LoadState::Error, vec!["unreadable"]));
    let g = map.load("g.service");
    assert_eq!((g.load, rules(&g), g.diagnostics[0].place.line), (LoadState::Error, vec!["not-utf8"], 2));
    assert_eq!(map.load("absent.service").load, LoadState::NotFound);
    assert_eq!(map.load("absent@x.service").load, LoadState::NotFound);
}

#[test]
fn aliases() {
    let mut map = Map::default();
    map.file("/usr/lib/systemd/system/real.service", "[Service]\nExecStart=/bin/real\n")
        .link("one.service", "/lib/systemd/system/real.service")
        .link("two.service", "one.service")
        .file("one.service.d/x.conf", "[Unit]\nDescription=by alias\n")
        .link("one.service.wants/w.service", "../w.service")
        .link("loop.service", "pool.service")
        .link("pool.service", "loop.service")
        .link("wrong.service", "real.socket")
        .link("dangling.service", "nothing.service")
        .file("getty@.service", "[Service]\nExecStart=/bin/getty %I\n")
        .link("autovt@.service", "getty@.service")
        .link("only@one.service", "getty@.service");
    for name in ["real.service", "one.service", "two.service"] {
        let config = map.load(name);
        assert_eq!(config.id().as_str(), "real.service");
        let aliases: Vec<&str> = config.aliases.iter().map(UnitName::as_str).collect();
        assert_eq!(aliases, ["one.service", "two.service"]);
        assert_eq!(&*config.description, "by alias");
        assert_eq!(&*config.sources[0].path, "/usr/lib/systemd/system/real.service");
        let folder = Origin::Folder("/etc/systemd/system/one.service.wants/w.service".into());
        assert!(config.dependencies.iter().any(|d| d.other.as_str() == "w.service" && d.origin == folder));
    }
    for name in ["loop.service", "wrong.service", "dangling.service"] {
        let config = map.load(name);
        assert_eq!((config.load, config.id().as_str()), (LoadState::NotFound, name));
    }
    let path = UnitPath::scan(&map, &folders());
    assert_eq!(path.diagnostics().len(), 1);
    assert!(path.diagnostics()[0].to_string().contains("wrong.service"), "{:?}", path.diagnostics());
    let vt = map.load("autovt@tty1.service");
    assert_eq!(vt.id().as_str(), "getty@tty1.service");
    assert_eq!(vt.aliases[0].as_str(), "autovt@tty1.service");
    assert_eq!(argvs(&vt, ExecPhase::Start), [["/bin/getty", "tty1"]]);
    let only = map.load("only@one.service");
    assert_eq!(only.id().as_str(), "getty@one.service");
    assert!(only.aliases.iter().any(|a| a.as_str() == "only@one.service"));
    assert_eq!(map.load("only@two.service").load, LoadState::NotFound);
}

#[test]
fn folders_of_dependencies() {
    let mut map = Map::default();
    map.file(
        "t.target",
        "[Unit]\nWants=w.service\nPartOf=p.service\nAfter=late.service\nBefore=early.service\n\
         Wants=late.service early.service\n",
    )
    .link("t.target.wants/a.service", "/etc/systemd/system/a.service")
    .link("/usr/lib/systemd/system/t.target.wants/a.service", "../a.service")
    .link("/usr/lib/systemd/system/t.target.wants/masked.service", "../masked.service")
    .link("t.target.wants/masked.service", "/dev/null")
    .link("t.target.requires/r.service", "../r.service")
    .link("t.target.upholds/u.service", "../u.service")
    .file("t.target.wants/file.service", "[Unit]\n")
    .link("t.target.wants/nonsense", "../nonsense");
    let config = map.load("t.target");
    assert_eq!(
        dependencies(&config),
        [
            "After=a.service",
            "After=late.service",
            "After=r.service",
            "After=u.service",
            "After=w.service",
            "Before=early.service",
            "Before=shutdown.target",
            "Conflicts=shutdown.target",
            "PartOf=p.service",
            "Requires=r.service",
            "Upholds=u.service",
            "Wants=a.service",
            "Wants=early.service",
            "Wants=late.service",
            "Wants=w.service",
        ]
    );
    assert_eq!(rules(&config), ["not-a-link", "not-a-unit"]);
}

#[test]
fn dependencies_of_services() {
    let mut map = Map::default();
    map.file("plain.service", "[Service]\nExecStart=/bin/a\n")
        .file(
            "bare.service",
            "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/a\nStandardOutput=null\n",
        )
        .file("bus.service", "[Service]\nBusName=org.example\nExecStart=/bin/a\nSlice=big-small.slice\n")
        .file(
            "with.service",
            "[Service]\nExecStart=/bin/a\nSockets=s.socket\nStateDirectory=x\nWorkingDirectory=/srv\n\
             PrivateTmp=yes\n",
        )
        .file("tty.service", "[Service]\nExecStart=/bin/sh\nStandardInput=tty\n")
        .file("self.service", "[Unit]\nAfter=self.service self.target\n[Service]\nExecStart=/bin/a\n");
    let default = [
        "After=basic.target",
        "After=sysinit.target",
        "After=system.slice",
        "After=systemd-journald.socket",
        "Before=shutdown.target",
        "Conflicts=shutdown.target",
        "InSlice=system.slice",
        "Requires=sysinit.target",
        "Requires=system.slice",
    ];
    assert_eq!(dependencies(&map.load("plain.service")), default);
    assert_eq!(
        dependencies(&map.load("bare.service")),
        ["After=system.slice", "InSlice=system.slice", "Requires=system.slice"]
    );
    let bus = map.load("bus.service");
    assert_eq!(bus.service().unwrap().service_type, ServiceType::Dbus);
    for expected in
        ["Requires=dbus.socket", "After=dbus.socket", "InSlice=big-small.slice", "After=big-small.slice"]
    {
        assert!(dependencies(&bus).contains(&expected.into()), "{expected}");
    }
    let slice = bus.dependencies.iter().find(|d| d.other.as_str() == "big-small.slice").unwrap();
    let Origin::Implied(by) = &slice.origin else { panic!("{:?}", slice.origin) };
    assert_eq!(by.directive(), "Slice");
    let position = by.position.unwrap();
    assert_eq!((position.line, position.column), (4, 7));
    let with = map.load("with.service");
    for expected in [
        "After=systemd-tmpfiles-setup.service",
        "Wants=s.socket",
        "After=s.socket",
        "TriggeredBy=s.socket",
        "After=systemd-remount-fs.service",
    ] {
        assert!(dependencies(&with).contains(&expected.into()), "{expected}");
    }
    let mounts: Vec<&str> = with.requires_mounts_for.iter().map(|m| &**m).collect();
    assert_eq!(mounts, ["/srv", "/tmp", "/var/tmp", "/var/lib/x"]);
    assert!(!dependencies(&map.load("tty.service")).contains(&"After=systemd-journald.socket".into()));
    let own = map.load("self.service");
    assert_eq!(rules(&own), ["depends-on-itself"]);
    assert!(!dependencies(&own).contains(&"After=self.service".into()));
    let mut user = environs();
    user.user = true;
    let path = UnitPath::scan(&map, &folders());
    let plain = hence_unit::load(&path, &map, &user, &UnitName::new("plain.service").unwrap());
    assert_eq!(
        dependencies(&plain),
        [
            "After=app.slice",
            "After=basic.target",
            "InSlice=app.slice",
            "Requires=app.slice",
            "Requires=basic.target"
        ]
    );
    // Of a user's own instance they go down with its shutdown.target.
    user.user_instance = true;
    let own = hence_unit::load(&path, &map, &user, &UnitName::new("plain.service").unwrap());
    let more: Vec<String> =
        dependencies(&own).into_iter().filter(|line| !dependencies(&plain).contains(line)).collect();
    assert_eq!(more, ["Before=shutdown.target", "Conflicts=shutdown.target"]);
}

#[test]
fn dependencies_of_other_kinds() {
    let mut map = Map::default();
    map.file("s.socket", "[Socket]\nListenStream=/run/s\n")
        .file("acc.socket", "[Socket]\nListenStream=7\nAccept=yes\n")
        .file("t.timer", "[Timer]\nOnCalendar=daily\nUnit=other.target\n")
        .file("p.path", "[Path]\nPathExists=/x/y\n")
        .file("a-b.slice", "[Unit]\nDescription=x\n");
    let socket = map.load("s.socket");
    assert_eq!(
        dependencies(&socket),
        [
            "After=sysinit.target",
            "After=system.slice",
            "Before=s.service",
            "Before=shutdown.target",
            "Before=sockets.target",
            "Conflicts=shutdown.target",
            "InSlice=system.slice",
            "Requires=sysinit.target",
            "Requires=system.slice",
            "Triggers=s.service",
        ]
    );
    assert_eq!(&*socket.requires_mounts_for[0], "/run/s");
    assert!(!dependencies(&map.load("acc.socket")).iter().any(|d| d.starts_with("Triggers")));
    assert_eq!(
        dependencies(&map.load("t.timer")),
        [
            "After=sysinit.target",
            "After=time-set.target",
            "After=time-sync.target",
            "Before=other.target",
            "Before=shutdown.target",
            "Before=timers.target",
            "Conflicts=shutdown.target",
            "Requires=sysinit.target",
            "Triggers=other.target",
        ]
    );
    assert!(dependencies(&map.load("p.path")).contains(&"Triggers=p.service".into()));
    let slice = [
        "After=a.slice",
        "Before=shutdown.target",
        "Conflicts=shutdown.target",
        "InSlice=a.slice",
        "Requires=a.slice",
    ];
    assert_eq!(dependencies(&map.load("a-b.slice")), slice);
    let implicit = map.load("a-c.slice");
    assert_eq!((implicit.load, dependencies(&implicit)), (LoadState::Loaded, slice.map(String::from).into()));
    assert_eq!(dependencies(&map.load("-.slice")), Vec::<String>::new());
    assert_eq!(map.load("a--b.slice").load, LoadState::BadSetting);
}

#[test]
fn defaults_that_depend_on_others() {
    let mut map = Map::default();
    map.file("one.service", "[Service]\nType=oneshot\nExecStart=/bin/a\nExecStart=/bin/b\n")
        .file("timed.service", "[Service]\nType=oneshot\nTimeoutStartSec=7\nExecStart=/bin/a\n")
        .file("implicit.service", "[Service]\nRemainAfterExit=yes\nExecStop=/bin/a\n")
        .file("notify.service", "[Service]\nType=notify\nExecStart=/bin/a\n")
        .file("dog.service", "[Service]\nWatchdogSec=1\nExecStart=/bin/a\n")
        .file("timeout.service", "[Service]\nTimeoutSec=5\nExecStart=/bin/a\n");
    let one = map.load("one.service");
    assert_eq!((one.load, one.service().unwrap().timeout_start), (LoadState::Loaded, INFINITY));
    assert_eq!(map.load("timed.service").service().unwrap().timeout_start, 7_000_000);
    let implicit = map.load("implicit.service");
    assert_eq!(
        (implicit.load, implicit.service().unwrap().service_type),
        (LoadState::Loaded, ServiceType::Oneshot)
    );
    for name in ["notify.service", "dog.service"] {
        assert_eq!(map.load(name).service().unwrap().notify_access, NotifyAccess::Main, "{name}");
    }
    let both = map.load("timeout.service");
    let both = both.service().unwrap();
    assert_eq!((both.timeout_start, both.timeout_stop), (5_000_000, 5_000_000));
}

#[test]
fn refused_combinations() {
    let mut map = Map::default();
    let start = "ExecStart=/bin/a\n";
    let cases = [
        ("a.service", format!("[Service]\nType=oneshot\nRestart=always\n{start}"), "oneshot-restart"),
        ("b.service", format!("[Service]\nType=oneshot\nRestart=on-success\n{start}"), "oneshot-restart"),
        (
            "c.service",
            format!("[Service]\nType=oneshot\nRestartForceExitStatus=3\n{start}"),
            "oneshot-restart",
        ),
        ("d.service", format!("[Service]\nType=forking\nExitType=cgroup\n{start}"), "exit-type"),
        ("e.service", format!("[Service]\nType=dbus\n{start}"), "no-bus-name"),
        ("f.service", "[Service]\nExecStop=/bin/a\n".into(), "no-exec-start"),
        (
            "g.service",
            "[Service]\nType=simple\nRemainAfterExit=yes\nExecStop=/bin/a\n".into(),
            "no-exec-start",
        ),
        ("h.socket", "[Socket]\nAccept=no\n".into(), "no-listen"),
        ("i.socket", "[Socket]\nListenDatagram=7\nAccept=yes\n".into(), "accept"),
        ("j.socket", "[Socket]\nListenStream=7\nAccept=yes\nService=a.service\n".into(), "accept"),
        ("k.timer", "[Timer]\nPersistent=yes\n".into(), "no-timer"),
        ("l.path", "[Path]\nMakeDirectory=yes\n".into(), "no-path"),
        ("m.socket", "[Socket]\nListenStream=7\nSymlinks=/run/x\n".into(), "symlinks"),
    ];
    for (name, text, _) in &cases {
        map.file(name, text);
    }
    for (name, _, rule) in &cases {
        let config = map.load(name);
        assert_eq!(
            (config.load, config.diagnostics.last().unwrap().rule),
            (LoadState::BadSetting, *rule),
            "{name}"
        );
    }
    map.file("ok.service", &format!("[Service]\nType=oneshot\nRestart=on-failure\n{start}"));
    assert_eq!(map.load("ok.service").load, LoadState::Loaded);
}

#[test]
fn a_look_at_one_unit_finds_what_a_scan_finds() {
    let mut map = Map::default();
    map.file("a.service", "[Service]\nExecStart=/bin/a\n").file("b.service", "[Service]\nExecStart=/bin/b\n");
    let mut path = UnitPath::scan(&map, &folders());
    map.file("c.service", "[Service]\nExecStart=/bin/c\n")
        .file("c.service.d/50-x.conf", "[Service]\nNice=3\n")
        .file("a.service.d/50-y.conf", "[Service]\nNice=4\n");
    let name = |text: &str| UnitName::new(text).expect("a name");
    path.look_at(&map, &name("c.service"));
    let scanned = UnitPath::scan(&map, &folders());
    let load = |path: &UnitPath, unit: &str| load(path, &map, unit);
    assert_eq!(load(&path, "c.service"), load(&scanned, "c.service"));
    assert!(load(&path, "a.service").sources.len() == 1, "it was not looked at");
    path.look_at(&map, &name("a.service"));
    for unit in ["a.service", "b.service", "c.service"] {
        assert_eq!(load(&path, unit), load(&scanned, unit), "{unit}");
    }
    path.look_at(&Map::default(), &name("c.service"));
    assert!(path.resolve(&name("c.service")).is_none() && path.resolve(&name("b.service")).is_some());
}

#[test]
fn files_that_are_opened_for_a_service() {
    let mut map = Map::default();
    map.file(
        "a.service",
        "[Service]\nExecStart=/bin/a\nOpenFile=/x\nOpenFile=\nOpenFile=/a/b\n\
         OpenFile=/c:name:read-only,graceful\n\
         OpenFile=/d::append,truncate\nOpenFile=rel\nOpenFile=/e::quick\n",
    );
    let config = map.load("a.service");
    let files = &config.service().unwrap().open_files;
    let shown: Vec<(&str, &str, bool, bool)> =
        files.iter().map(|f| (&*f.path, &*f.name, f.read_only, f.graceful)).collect();
    assert_eq!(shown, [("/a/b", "b", false, false), ("/c", "name", true, true)]);
    let lines: Vec<u32> = config.diagnostics.iter().map(|d| d.place.line).collect();
    assert_eq!(lines, [7, 8, 9], "{:?}", config.diagnostics);
}

#[test]
fn mount_points_of_mounts_that_run_as_a_user() {
    let mut map = Map::default();
    map.file("a.mount", "[Mount]\nWhat=x\nWhere=/a\nUser=nobody\nTimeoutSec=0\nDirectoryMode=0700\n")
        .file("b.mount", "[Mount]\nWhat=x\nWhere=/b\nSlice=c.slice\nOptions=ro\n");
    let mount = |name| match map.load(name).kind {
        hence_unit::Kind::Mount(mount) => mount,
        other => panic!("{other:?}"),
    };
    let (user, own) = (mount("a.mount"), mount("b.mount"));
    let has = |m: &hence_unit::mount::MountConfig, word| m.mount[0].argv.iter().any(|w| w.contains(word));
    assert_eq!((user.make_folder, has(&user, "X-mount.mkdir"), user.timeout), (Some(0o700), false, INFINITY));
    assert_eq!((own.make_folder, has(&own, "ro,X-mount.mkdir=0755")), (None, true));
    assert!(dependencies(&map.load("b.mount")).iter().any(|d| d.contains("c.slice")));
}
