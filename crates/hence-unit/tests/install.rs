//! Operations on unit files in memory: which links they make and remove, what they refuse, and states.
//! `tests/systemctl.rs` holds random ones against the real systemctl.

mod files;

use files::{Map, environs};
use hence_unit::{
    UnitName,
    install::{
        ChangeKind, Fault, Install, InstallPaths, Options, Outcome, PresetMode, Presets, Step, Verdict,
    },
    unit_path::UserRoots,
};

const PLAIN: Options = Options { runtime: false, force: false, portable: false };
const RUNTIME: Options = Options { runtime: true, ..PLAIN };
const FORCE: Options = Options { force: true, ..PLAIN };

/// Files by their paths; those without a slash came with the system. `-> ` makes a link.
fn map(nodes: &[(&str, &str)]) -> Map {
    let mut map = Map::default();
    for (path, text) in nodes {
        let path =
            if path.contains('/') { (*path).to_owned() } else { format!("/usr/lib/systemd/system/{path}") };
        match text.strip_prefix("-> ") {
            Some(target) => map.link(&path, target),
            None => map.file(&path, text),
        };
    }
    map
}

fn install(section: &str) -> String {
    format!("[Service]\nExecStart=/bin/true\n[Install]\n{section}\n")
}

/// Changes and failures, one a line; folders of links are shortened.
fn told(outcome: &Outcome) -> Vec<String> {
    let short = |path: &str| {
        path.replace("/etc/systemd/system/", "etc:")
            .replace("/run/systemd/system/", "run:")
            .replace("/usr/lib/systemd/system/", "usr:")
    };
    let line = |change: &hence_unit::install::Change| {
        let source = change.source.as_deref().map(short);
        match (change.kind, source) {
            (ChangeKind::Symlink, Some(source)) => format!("+ {} -> {source}", short(&change.path)),
            (ChangeKind::Unlink, _) => format!("- {}", short(&change.path)),
            (ChangeKind::Failed(_), _) => format!("! {}", short(&change.failure().unwrap().text)),
            (kind, _) => format!("{} {}", kind.word().unwrap(), short(&change.path)),
        }
    };
    outcome.changes.iter().map(line).collect()
}

fn ask(map: &Map, decide: impl FnOnce(&mut Install<'_>) -> Outcome) -> Outcome {
    let (paths, environs) = (InstallPaths::system(), environs());
    decide(&mut Install::new(map, &paths, &environs))
}

fn names(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

fn enable(nodes: &[(&str, &str)], units: &str) -> Vec<String> {
    told(&ask(&map(nodes), |install| install.enable(&names(units), PLAIN)))
}

fn state(nodes: &[(&str, &str)], unit: &str) -> &'static str {
    let (paths, environs, map) = (InstallPaths::system(), environs(), map(nodes));
    Install::new(&map, &paths, &environs)
        .state(unit)
        .map_or_else(|fault| fault.errno(), |state| state.as_str())
}

#[test]
fn enabling_makes_the_links_of_the_section() {
    let targets = [("m.target", "[Unit]"), ("n.target", "[Unit]")];
    for (section, links) in [
        ("WantedBy=m.target", &["+ etc:m.target.wants/a.service -> usr:a.service"][..]),
        ("RequiredBy=m.target", &["+ etc:m.target.requires/a.service -> usr:a.service"]),
        ("UpheldBy=m.target", &["+ etc:m.target.upholds/a.service -> usr:a.service"]),
        ("Alias=b.service", &["+ etc:b.service -> usr:a.service"]),
        ("Alias=a.service", &[]),
        ("Alias=m.target.wants/a.service", &["+ etc:m.target.wants/a.service -> usr:a.service"]),
        (
            "WantedBy=m.target\nWantedBy=\nWantedBy=n.target",
            &["+ etc:n.target.wants/a.service -> usr:a.service"],
        ),
        ("WantedBy=\"m.target", &[]),
        (
            "WantedBy=%p%i-%n.target",
            &[
                "+ etc:a-a.service.target.wants/a.service -> usr:a.service",
                "destination not present a-a.service.target",
            ],
        ),
        ("WantedBy=%Z.target", &["! File %Z.target: Invalid slot"]),
        ("WantedBy=x/y", &["! \"x/y\" is not a valid unit name."]),
        ("Alias=b.socket", &["! Cannot alias a.service as b.socket."]),
        ("Alias=b@.service", &["! Cannot alias a.service as b@.service."]),
        ("Alias=x/b.service", &["! Invalid unit reference x/b.service."]),
        ("Also=gone.service", &["auxiliary unit failed gone.service"]),
    ] {
        let text = install(section);
        let mut nodes = vec![("a.service", text.as_str())];
        nodes.extend(targets);
        assert_eq!(enable(&nodes, "a.service"), links, "{section}");
    }
}

#[test]
fn templates_and_instances() {
    let targets = [("m.target", "[Unit]"), ("m@.target", "[Unit]")];
    for (section, unit, links) in [
        ("WantedBy=m.target", "t@x.service", &["+ etc:m.target.wants/t@x.service -> usr:t@.service"][..]),
        ("WantedBy=m.target", "t@.service", &["! Destination unit m.target is a non-template unit."]),
        ("WantedBy=m@.target", "t@.service", &["+ etc:m@.target.wants/t@.service -> usr:t@.service"]),
        ("WantedBy=m@%i.target", "t@x.service", &["+ etc:m@x.target.wants/t@x.service -> usr:t@.service"]),
        (
            "WantedBy=m.target\nDefaultInstance=d",
            "t@.service",
            &["+ etc:m.target.wants/t@d.service -> usr:t@.service"],
        ),
        (
            "WantedBy=m.target\nDefaultInstance=d",
            "t@x.service",
            &["+ etc:m.target.wants/t@x.service -> usr:t@.service"],
        ),
        ("Alias=s@.service", "t@x.service", &["+ etc:s@x.service -> usr:t@.service"]),
        ("Alias=s@y.service", "t@x.service", &["! Cannot alias t@x.service as s@y.service."]),
        ("DefaultInstance=a/b", "t@.service", &["! File t@.service: Invalid argument"]),
    ] {
        let text = install(section);
        let mut nodes = vec![("t@.service", text.as_str())];
        nodes.extend(targets);
        assert_eq!(enable(&nodes, unit), links, "{section}");
    }
}

#[test]
fn what_is_in_the_way() {
    let (text, other) = (install("Alias=b.service"), install("Alias=c.service"));
    let nodes =
        [("a.service", text.as_str()), ("o.service", &other), ("/etc/systemd/system/b.service", "-> /x")];
    let refused = "! File etc:b.service already exists and is a symlink to /x.";
    assert_eq!(enable(&nodes, "a.service o.service"), [refused, "+ etc:c.service -> usr:o.service"]);
    let outcome = ask(&map(&nodes), |install| install.enable(&names("a.service o.service"), PLAIN));
    assert_eq!(outcome.result, Err(Fault::Exists));
    let failure = outcome.failure().unwrap();
    assert_eq!((failure.fault, failure.name), (Fault::Exists, Some("UnitExists")));
    let outcome = ask(&map(&nodes), |install| install.enable(&names("a.service"), FORCE));
    assert_eq!(told(&outcome), ["- etc:b.service", "+ etc:b.service -> usr:a.service"]);
    let (path, target) = ("/etc/systemd/system/b.service".into(), "/usr/lib/systemd/system/a.service".into());
    assert_eq!(outcome.steps, [Step::Link { path, target, replace: true }]);
    // What one unit takes the next one can't have.
    let both = [("a.service", text.as_str()), ("d.service", &text)];
    assert_eq!(
        enable(&both, "a.service d.service"),
        [
            "+ etc:b.service -> usr:a.service",
            "! File etc:b.service already exists and is a symlink to usr:a.service.",
        ]
    );
    // The same link, written otherwise.
    let same = [
        ("a.service", text.as_str()),
        ("/etc/systemd/system/b.service", "-> ../../../usr/lib/systemd/system/a.service"),
    ];
    assert_eq!(enable(&same, "a.service"), [""; 0]);
    let file = [("a.service", text.as_str()), ("/etc/systemd/system/b.service", "[Unit]")];
    assert_eq!(enable(&file, "a.service"), ["! File etc:b.service already exists."]);
}

#[test]
fn what_cannot_be_enabled() {
    let text = install("WantedBy=m.target");
    for (nodes, unit, said) in [
        (vec![], "a.service", "! Unit file a.service does not exist."),
        (vec![("a.service", "-> /dev/null")], "a.service", "! Unit file usr:a.service is masked."),
        (vec![("a.service", "")], "a.service", "! Unit file usr:a.service is masked."),
        (
            vec![("/run/systemd/generator/a.service", text.as_str())],
            "a.service",
            "! Unit /run/systemd/generator/a.service is transient or generated.",
        ),
        (vec![("a.service", "[Install\nWantedBy=x")], "a.service", "! File a.service: Bad message"),
        (vec![], "a", "! File a: Invalid argument"),
        (
            vec![("/etc/systemd/system/a.service", "-> a.service")],
            "a.service",
            "! Refusing to operate on alias name or linked unit file: a.service",
        ),
    ] {
        assert_eq!(enable(&nodes, unit), [said], "{nodes:?}");
    }
    let nothing =
        ask(&map(&[("a.service", "[Unit]\n")]), |install| install.enable(&names("a.service"), PLAIN));
    assert_eq!((nothing.result, nothing.failure()), (Ok(false), None));
}

#[test]
fn files_elsewhere() {
    let text = install("WantedBy=m.target");
    let nodes = [("/opt/a.service", text.as_str()), ("m.target", "[Unit]")];
    let links = ["+ etc:m.target.wants/a.service -> /opt/a.service", "+ etc:a.service -> /opt/a.service"];
    assert_eq!(enable(&nodes, "/opt/a.service"), links);
    let link = |file: &str| ask(&map(&nodes), |install| install.link(&names(file), RUNTIME));
    assert_eq!(told(&link("/opt/a.service")), ["+ run:a.service -> /opt/a.service"]);
    assert_eq!(link("/opt/b.service").result, Err(Fault::NotFound));
    assert_eq!(link("a.service").result, Err(Fault::Invalid));
    assert!(link("/usr/lib/systemd/system/m.target").changes.is_empty());
    let linked = [nodes[0], ("/etc/systemd/system/a.service", "-> /opt/a.service")];
    assert_eq!(state(&linked, "a.service"), "linked");
    assert_eq!(
        state(&[nodes[0], ("/run/systemd/system/a.service", "-> /opt/a.service")], "a.service"),
        "linked-runtime"
    );
}

#[test]
fn disabling_removes_every_link() {
    let text = install("WantedBy=m.target\nAlias=b.service\nAlso=c.socket");
    let mut nodes = vec![
        ("a.service", text.as_str()),
        ("c.socket", "[Install]\nWantedBy=s.target"),
        ("/etc/systemd/system/m.target.wants/a.service", "-> /usr/lib/systemd/system/a.service"),
        ("/etc/systemd/system/b.service", "-> /usr/lib/systemd/system/a.service"),
        ("/etc/systemd/system/x.target.wants/b.service", "-> ../b.service"),
        ("/etc/systemd/system/s.target.wants/c.socket", "-> /usr/lib/systemd/system/c.socket"),
        ("/etc/systemd/system/s.target.wants/d.socket", "-> /usr/lib/systemd/system/d.socket"),
    ];
    let disable = |nodes: &[(&str, &str)], unit: &str, options| {
        ask(&map(nodes), |install| install.disable(&names(unit), options))
    };
    let outcome = disable(&nodes, "a.service", PLAIN);
    assert_eq!(
        told(&outcome),
        [
            "- etc:b.service",
            "- etc:m.target.wants/a.service",
            "- etc:s.target.wants/c.socket",
            "- etc:x.target.wants/b.service",
        ]
    );
    let below = Some("/etc/systemd/system".into());
    let path = "/etc/systemd/system/m.target.wants/a.service".into();
    assert!(outcome.steps.contains(&Step::Unlink { path, below }));
    assert!(disable(&nodes, "a.service", RUNTIME).changes.is_empty());
    // The unit is gone, its links aren't.
    nodes.remove(0);
    let outcome = disable(&nodes, "a.service", PLAIN);
    assert_eq!(told(&outcome)[0], "! Unit file a.service does not exist.");
    assert!(outcome.changes.len() > 1 && outcome.failure().is_none(), "{outcome:?}");
    let instances = [
        ("t@.service", text.as_str()),
        ("/etc/systemd/system/m.target.wants/t@x.service", "-> /usr/lib/systemd/system/t@.service"),
        ("/etc/systemd/system/m.target.wants/t@y.service", "-> /usr/lib/systemd/system/t@.service"),
    ];
    assert_eq!(told(&disable(&instances, "t@x.service", PLAIN)), ["- etc:m.target.wants/t@x.service"]);
    assert_eq!(disable(&instances, "t@.service", PLAIN).changes.len(), 2);
    assert_eq!(told(&disable(&instances, "x/y", PLAIN)), ["! \"x/y\" is not a valid unit name."]);
    let (paths, environs, map) = (InstallPaths::system(), environs(), map(&instances));
    let links = Install::new(&map, &paths, &environs).links("t@x.service", PLAIN);
    assert_eq!(links.unwrap(), ["/etc/systemd/system/m.target.wants/t@x.service"]);
}

#[test]
fn reenabling_follows_the_section() {
    let text = install("WantedBy=n.target");
    let nodes = [
        ("a.service", text.as_str()),
        ("n.target", "[Unit]"),
        ("/etc/systemd/system/m.target.wants/a.service", "-> /usr/lib/systemd/system/a.service"),
    ];
    let outcome = ask(&map(&nodes), |install| install.reenable(&names("a.service"), PLAIN));
    assert_eq!(
        told(&outcome),
        ["- etc:m.target.wants/a.service", "+ etc:n.target.wants/a.service -> usr:a.service",]
    );
}

#[test]
fn masks() {
    let nodes = [("a.service", "[Unit]"), ("/etc/systemd/system/b.service", "[Unit]")];
    let mask = |unit: &str, options| ask(&map(&nodes), |install| install.mask(&names(unit), options));
    assert_eq!(told(&mask("a.service", PLAIN)), ["+ etc:a.service -> /dev/null"]);
    assert_eq!(told(&mask("a.service", RUNTIME)), ["+ run:a.service -> /dev/null"]);
    assert_eq!(told(&mask("unknown.service", PLAIN)), ["+ etc:unknown.service -> /dev/null"]);
    assert_eq!(told(&mask("b.service", FORCE)), ["! File etc:b.service already exists."]);
    assert_eq!(mask("x/y", PLAIN).failure().unwrap().text, "Invalid argument");
    let masked = [
        nodes[0],
        ("/etc/systemd/system/a.service", "-> /dev/null"),
        ("/run/systemd/generator/g.service", "-> /dev/null"),
        ("/etc/systemd/system/m.target.wants/a.service", "-> ../a.service"),
    ];
    let unmask = |unit: &str, options| ask(&map(&masked), |install| install.unmask(&names(unit), options));
    assert_eq!(told(&unmask("a.service a.service", PLAIN))[0], "- etc:a.service");
    assert!(unmask("a.service", RUNTIME).changes.is_empty());
    assert!(unmask("unknown.service", PLAIN).changes.is_empty());
    assert_eq!(told(&unmask("g.service", PLAIN)), ["masked by generator g.service"]);
}

#[test]
fn reverting_leaves_what_came_with_the_system() {
    let nodes = [
        ("a.service", "[Unit]"),
        ("/etc/systemd/system/a.service", "[Unit]"),
        ("/etc/systemd/system/a.service.d/1.conf", "[Unit]"),
        ("/run/systemd/system.control/a.service.d/2.conf", "[Unit]"),
        ("/usr/lib/systemd/system/a.service.d/3.conf", "[Unit]"),
        ("/etc/systemd/system/own.service", "[Unit]"),
    ];
    let revert = |unit: &str| ask(&map(&nodes), |install| install.revert(&names(unit)));
    assert_eq!(
        told(&revert("a.service")),
        [
            "- /run/systemd/system.control/a.service.d/2.conf",
            "- /run/systemd/system.control/a.service.d",
            "- etc:a.service.d/1.conf",
            "- etc:a.service.d",
            "- etc:a.service",
        ]
    );
    assert!(revert("own.service").changes.is_empty());
}

#[test]
fn dependencies_and_the_default_target() {
    let nodes = [
        ("a.service", "[Unit]"),
        ("m.target", "[Unit]"),
        ("default.target", "-> m.target"),
        ("/etc/systemd/system/alias.target", "-> /usr/lib/systemd/system/m.target"),
    ];
    let add = |units: &str, target: &str, required| {
        ask(&map(&nodes), |install| install.add_dependency(&names(units), target, required, PLAIN))
    };
    assert_eq!(
        told(&add("a.service", "m.target", false)),
        ["+ etc:m.target.wants/a.service -> usr:a.service"]
    );
    assert_eq!(
        told(&add("a.service", "m.target", true)),
        ["+ etc:m.target.requires/a.service -> usr:a.service"]
    );
    assert_eq!(add("a.service", "gone.target", true).result, Err(Fault::NotFound));
    let set = |unit: &str, options| ask(&map(&nodes), |install| install.set_default(unit, options));
    assert_eq!(told(&set("m.target", PLAIN)), ["+ etc:default.target -> usr:m.target"]);
    assert_eq!(set("a.service", PLAIN).result, Err(Fault::Invalid));
    assert_eq!(set("default.target", PLAIN).result, Err(Fault::Invalid));
    assert_eq!(set("alias.target", PLAIN).result, Err(Fault::Linked));
    let (paths, environs, map) = (InstallPaths::system(), environs(), map(&nodes));
    assert_eq!(Install::new(&map, &paths, &environs).default_target().unwrap(), "m.target");
}

#[test]
fn presets() {
    let mut presets = Presets::default();
    presets.parse(
        "# no\nenable a.service\nenable t@.service x y\nignore i.*\nenable b.service z\nwhat\ndisable *\n",
    );
    let verdict = |name: &str| presets.verdict(&UnitName::new(name).unwrap());
    assert_eq!(verdict("a.service"), Verdict::Enable(vec![]));
    assert_eq!(verdict("t@.service"), Verdict::Enable(names("t@x.service t@y.service")));
    assert_eq!(verdict("t@y.service"), Verdict::Enable(vec![]));
    assert_eq!(verdict("t@z.service"), Verdict::Disable);
    assert_eq!(verdict("i.service"), Verdict::Ignore);
    assert_eq!(verdict("b.service"), Verdict::Disable);
    assert_eq!(Presets::default().state(&UnitName::new("a.service").unwrap()), "enabled");

    let text = install("WantedBy=m.target");
    let nodes = [
        ("a.service", text.as_str()),
        ("b.service", &text),
        ("m.target", "[Unit]"),
        ("/etc/systemd/system/m.target.wants/b.service", "-> /usr/lib/systemd/system/b.service"),
        ("/usr/lib/systemd/system-preset/90-x.preset", "disable *"),
        ("/etc/systemd/system-preset/10-x.preset", "enable a.service"),
    ];
    let (on, off) = ("+ etc:m.target.wants/a.service -> usr:a.service", "- etc:m.target.wants/b.service");
    for (mode, links) in [
        (PresetMode::Full, &[off, on][..]),
        (PresetMode::EnableOnly, &[on]),
        (PresetMode::DisableOnly, &[off]),
    ] {
        let map = map(&nodes);
        assert_eq!(told(&ask(&map, |install| install.preset_all(PLAIN, mode))), links);
        let units = names("a.service b.service m.target");
        assert_eq!(told(&ask(&map, |install| install.preset(&units, PLAIN, mode))), links);
    }
    // A file of the same name in an earlier folder hides the other.
    let mut hidden = nodes.to_vec();
    hidden.push(("/etc/systemd/system-preset/90-x.preset", "-> /dev/null"));
    assert_eq!(told(&ask(&map(&hidden), |install| install.preset_all(PLAIN, PresetMode::Full))), [on]);
}

#[test]
fn states() {
    let wanted = install("WantedBy=m.target\nAlias=b.service");
    let unit = ("a.service", wanted.as_str());
    let at = |path: &'static str| (path, "-> /usr/lib/systemd/system/a.service");
    for (nodes, name, word) in [
        (vec![unit], "a.service", "disabled"),
        (vec![("a.service", "[Unit]\n")], "a.service", "static"),
        (vec![("a.service", "[Install]\nAlso=b.service\n")], "a.service", "indirect"),
        (vec![unit, at("/etc/systemd/system/m.target.wants/a.service")], "a.service", "enabled"),
        (vec![unit, at("/etc/systemd/system/any.target.requires/a.service")], "a.service", "enabled"),
        (vec![unit, at("/run/systemd/system/m.target.wants/a.service")], "a.service", "enabled-runtime"),
        (vec![unit, at("/etc/systemd/system/b.service")], "a.service", "enabled"),
        (vec![unit, at("/etc/systemd/system/b.service")], "b.service", "alias"),
        (vec![unit, at("/etc/systemd/system/other.service")], "a.service", "indirect"),
        (vec![("a.service", "")], "a.service", "masked"),
        (vec![unit, ("/etc/systemd/system/a.service", "-> /dev/null")], "a.service", "masked"),
        (vec![unit, ("/run/systemd/system/a.service", "-> /dev/null")], "a.service", "masked-runtime"),
        (vec![("/run/systemd/generator.late/a.service", "[Unit]")], "a.service", "generated"),
        (vec![("/run/systemd/transient/a.service", "[Unit]")], "a.service", "transient"),
        (vec![], "a.service", "ENOENT"),
        (vec![], "a", "EINVAL"),
        (vec![("a.service", "[Install")], "a.service", "EBADMSG"),
        (vec![("a.service", "-> b.service")], "a.service", "ENOLINK"),
    ] {
        assert_eq!(state(&nodes, name), word, "{nodes:?}");
    }
    let map = map(&[("bad.service", "[Install"), unit, at("/etc/systemd/system/b.service")]);
    let (paths, environs) = (InstallPaths::system(), environs());
    let listed = Install::new(&map, &paths, &environs).list();
    let listed: Vec<(&str, &str)> =
        listed.iter().map(|(path, state)| (path.as_str(), state.as_str())).collect();
    assert_eq!(
        listed,
        [
            ("/usr/lib/systemd/system/a.service", "enabled"),
            ("/etc/systemd/system/b.service", "alias"),
            ("/usr/lib/systemd/system/bad.service", "bad"),
        ]
    );
}

#[test]
fn folders_of_users_and_of_runs() {
    let roots = UserRoots { home: "/home/a", runtime: Some("/run/user/7"), ..UserRoots::default() };
    let user = InstallPaths::user(&roots);
    assert_eq!(user.persistent.as_deref(), Some("/home/a/.config/systemd/user"));
    assert_eq!(user.runtime.as_deref(), Some("/run/user/7/systemd/user"));
    let text = install("WantedBy=m.target");
    let mut files = map(&[("/home/a/units/a.service", text.as_str())]);
    let (environs, run) = (environs(), InstallPaths::folders(vec!["/home/a/units".into()]));
    let outcome = Install::new(&files, &run, &environs).enable(&names("a.service"), PLAIN);
    let path = "/home/a/units/m.target.wants/a.service";
    let target = "/home/a/units/a.service".into();
    assert_eq!(outcome.steps, [Step::Link { path: path.into(), target, replace: false }]);
    files.link(path, "/home/a/units/a.service");
    assert_eq!(Install::new(&files, &run, &environs).state("a.service").unwrap().as_str(), "enabled");
    let outcome = Install::new(&files, &run, &environs).mask(&names("a.service"), RUNTIME);
    assert_eq!(outcome.result, Err(Fault::NoFolder));
    files.link("/etc/systemd/user/m.target.wants/g.service", "../g.service");
    files.file("/usr/lib/systemd/user/g.service", &text);
    assert_eq!(Install::new(&files, &user, &environs).state("g.service").unwrap().as_str(), "enabled");
    let portable = Options { portable: true, ..PLAIN };
    let file = map(&[("a.service", text.as_str())]);
    let outcome = ask(&file, |install| install.enable(&names("a.service"), portable));
    assert_eq!(outcome.changes[0].path, "/etc/systemd/system.attached/m.target.wants/a.service");
}
