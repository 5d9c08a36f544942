//! `hence lint` as people and CI run it: what it looks at, its forms, exit statuses and mends, and what it
//! says of
//! Debian's packages.

mod debian;

use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("hence-lint-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lint(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hence"));
    command.arg("lint").args(args).current_dir(folder).env("NO_COLOR", "1").env("COLUMNS", "100");
    command.output().unwrap()
}

/// Exit status, stdout, stderr.
fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = lint(folder, args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Rule, file and line of each finding.
fn found(folder: &Path, args: &[&str]) -> Vec<(String, String, u64)> {
    let mut all = args.to_vec();
    all.push("--json");
    let (status, out, err) = run(folder, &all);
    assert!(status < 2, "{err}");
    let list: Value = serde_json::from_str(&out).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let findings = list.as_array().unwrap().iter();
    findings.map(|f| (text(&f["rule"]), text(&f["file"]), f["line"].as_u64().unwrap_or(0))).collect()
}

const CLEAN: &str = "[Service]\nExecStart=/usr/bin/foo\n";

/// The units of the incident that hence began with, and the starter.
fn incident(folder: &Folder) {
    folder.file(
        "foo.service",
        "[Unit]\nDescription=Setup foo\nRequires=aws-otel-collector.service\n\n[Service]\nType=simple\n\
         ExecStart=/usr/bin/start-foo\nRestart=always\nKillMode=process\nRestartSec=3\n\
         StandardError=journal\n",
    );
    folder.file(
        "aws-otel-collector.service",
        "[Service]\nExecStart=/usr/bin/aws-otel-collector\nRestart=always\nRestartSec=5\n",
    );
    folder.file("start-foo", "#!/bin/sh\n/usr/bin/foo &\nwait\n");
}

#[test]
fn the_incident_would_have_been_found() {
    let folder = Folder::new("incident");
    incident(&folder);
    let found = found(&folder.0, &["."]);
    let has = |rule: &str, file: &str, line| found.contains(&(rule.into(), file.into(), line));
    assert!(has("kill-mode", "foo.service", 9), "{found:?}");
    assert!(has("tasks-unbounded", "foo.service", 9), "{found:?}");
    assert!(has("requires-drags-down", "foo.service", 3), "{found:?}");
    assert!(has("requirement-without-order", "foo.service", 3), "{found:?}");
    assert!(has("restart-without-end", "foo.service", 8), "{found:?}");
    assert!(has("starter-waits", "start-foo", 2), "{found:?}");
    let (status, page, _) = run(&folder.0, &["."]);
    assert_eq!(status, 1);
    // The answer comes first; each finding has its line and a mark below it, and no colours.
    assert!(page.starts_with("6 warnings and 1 note in 2 units and 1 script.\n"), "{page}");
    assert!(page.contains("\n  9 | KillMode=process\n    | ^^^^^^^^^^^^^^^^\n"), "{page}");
    assert!(page.contains("each restart of it (Restart=always, every 5s for as long as it fails)"), "{page}");
    assert!(page.contains("5 restarts 3s apart take 15s"), "{page}");
    assert!(!page.contains('\x1b'));
}

#[test]
fn exit_statuses_and_thresholds() {
    let folder = Folder::new("status");
    folder.file("clean.service", CLEAN);
    folder.file("note.service", "[Service]\nType=forking\nExecStart=/usr/bin/foo\n");
    folder.file("warning.service", "[Service]\nExecStart=/usr/bin/foo\nRestrt=no\n");
    folder.file("error.service", "[Service]\nType=exec\n");
    let status = |args: &[&str]| run(&folder.0, args).0;
    assert_eq!(status(&["clean.service"]), 0);
    assert_eq!(status(&["note.service"]), 0);
    assert_eq!(status(&["note.service", "--fail-on", "note"]), 1);
    assert_eq!(status(&["warning.service"]), 1);
    assert_eq!(status(&["warning.service", "--fail-on", "error"]), 0);
    assert_eq!(status(&["error.service", "--fail-on", "error"]), 1);
    for (args, said) in [
        (&["none.service"][..], "none.service: no such file or folder"),
        (&[][..], "name unit files or folders"),
        (&["clean.service", "--only", "kill-mod"], "did you mean kill-mode?"),
        (&["--explain", "nonsense-of-mine"], "there is no rule"),
        (&["--root", "none"], "no such folder"),
        (&["clean.service", "--config", "none"], "cannot read none"),
    ] {
        let (status, out, err) = run(&folder.0, args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
    assert_eq!(status(&["clean.service", "--format", "nonsense"]), 2);
    folder.file("plain.txt", "x");
    assert_eq!(status(&["plain.txt"]), 2);
    let shown = found(&folder.0, &["note.service", "--show", "warning"]);
    assert!(shown.is_empty(), "{shown:?}");
}

#[test]
fn only_what_is_given_is_reported() {
    let folder = Folder::new("given");
    folder
        .file("a.service", "[Unit]\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/usr/bin/a\n");
    folder.file("b.service", "[Service]\nExecStart=/usr/bin/b\nRestart=always\nRestartSec=9\nNonsense=1\n");
    let found = found(&folder.0, &["a.service"]);
    // b.service is read, as its Restart= is what a.service suffers from, and not told of.
    assert_eq!(found, [("requires-drags-down".into(), "a.service".into(), 2)]);
}

#[test]
fn drop_ins_folders_and_links() {
    let folder = Folder::new("shapes");
    folder.file("units/foo.service", CLEAN);
    folder.file("units/foo.service.d/a.conf", "[Service]\nKillMode=none\nNonsense=1\n");
    folder.file("units/deep/bar.service", "[Service]\nNonsense=1\nExecStart=/usr/bin/bar\n");
    folder.file("alone/gone.service.d/b.conf", "[Service]\nNonsense=1\n");
    folder.file("alone/service.d/c.conf", "[Service]\nNonsense=1\n");
    symlink("foo.service", folder.0.join("units/alias.service")).unwrap();
    let unknown = |args: &[&str]| -> Vec<String> {
        let all = found(&folder.0, args).into_iter().filter(|(rule, ..)| rule == "unknown-directive");
        all.map(|(_, file, line)| format!("{file}:{line}")).collect()
    };
    assert_eq!(unknown(&["units"]), ["units/deep/bar.service:2", "units/foo.service.d/a.conf:3"]);
    assert_eq!(unknown(&["units/foo.service.d/a.conf"]), ["units/foo.service.d/a.conf:3"]);
    assert_eq!(unknown(&["units/foo.service.d"]), ["units/foo.service.d/a.conf:3"]);
    assert_eq!(unknown(&["alone"]), ["alone/gone.service.d/b.conf:2", "alone/service.d/c.conf:2"]);
    assert_eq!(unknown(&["units/alias.service"]), ["units/foo.service.d/a.conf:3"]);
    let absolute = folder.0.join("units/deep").to_str().unwrap().to_owned();
    assert_eq!(unknown(&[&absolute]), [format!("{absolute}/bar.service:2")]);
}

#[test]
fn images() {
    let folder = Folder::new("image");
    let unit = "[Unit]\nRequires=gone.service\nAfter=gone.service\n[Service]\nExecStart=/bin/foo\n\
    ExecStop=/bin/gone\n";
    folder.file("image/usr/lib/systemd/system/foo.service", unit);
    folder.file("image/usr/bin/foo", "#!/bin/sh\nexec /usr/lib/foo\n");
    folder.file("image/etc/systemd/system/foo.service.d/x.conf", "[Service]\nKillMode=process\n");
    folder.file("image/etc/systemd/system.conf", "[Manager]\nDefaultTasksMax=77\n");
    symlink("usr/bin", folder.0.join("image/bin")).unwrap();
    symlink("usr/lib", folder.0.join("image/lib")).unwrap();
    let rules = |args: &[&str]| -> Vec<(String, String)> {
        found(&folder.0, args)
            .into_iter()
            .map(|(rule, file, line)| (rule, format!("{file}:{line}")))
            .collect()
    };
    let at = |line| format!("image/usr/lib/systemd/system/foo.service:{line}");
    let all = rules(&["--root", "image"]);
    assert!(all.contains(&("missing-unit".into(), at(2))), "{all:?}");
    assert!(all.contains(&("missing-program".into(), at(6))), "{all:?}");
    assert!(!all.contains(&("missing-program".into(), at(5))), "{all:?}");
    // 77 tasks are no leak that takes the machine.
    assert!(all.iter().all(|(rule, _)| rule != "tasks-unbounded") || all.len() > 3, "{all:?}");
    assert_eq!(rules(&["--root", "image", "/usr/lib/systemd/system/foo.service"]), all);
    // Of the files of a package nobody says that they are all that there is.
    let tree = rules(&["image"]);
    assert!(tree.iter().all(|(rule, _)| !rule.starts_with("missing-")), "{tree:?}");
    assert!(
        tree.iter().any(|(rule, file)| rule == "kill-mode" && file.starts_with("image/etc/")),
        "{tree:?}"
    );
}

#[test]
fn forms() {
    let folder = Folder::new("forms");
    folder.file("a b.service", "x");
    folder.file("foo.service", "[Service]\nExecStart=/usr/bin/foo\nStandardOutput=syslog\nRestrt=a,b:c%\n");
    let (_, json, _) = run(&folder.0, &["foo.service", "--format", "json"]);
    let list: Value = serde_json::from_str(&json).unwrap();
    let one = &list[1];
    for field in ["rule", "level", "file", "line", "column", "message", "fix"] {
        assert!(!one[field].is_null(), "{field}: {one}");
    }
    assert_eq!((&one["rule"], &one["level"]), (&"unknown-directive".into(), &"warning".into()));
    assert_eq!((one["line"].as_u64(), one["column"].as_u64()), (Some(4), Some(1)));
    assert_eq!((&list[0]["unit"], &list[0]["fixable"]), (&"foo.service".into(), &true.into()));

    let (status, sarif, _) = run(&folder.0, &["foo.service", "--format", "sarif"]);
    assert_eq!(status, 1);
    let log: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(rules.len() >= 40);
    for result in log["runs"][0]["results"].as_array().unwrap() {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        let physical = &result["locations"][0]["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "foo.service");
        assert!(physical["region"]["startLine"].as_u64().unwrap() > 0);
    }
    let fix = &log["runs"][0]["results"][0]["fixes"][0]["artifactChanges"][0]["replacements"][0];
    assert_eq!(fix["insertedContent"]["text"], "StandardOutput=journal\n");
    assert_eq!(
        (fix["deletedRegion"]["startLine"].as_u64(), fix["deletedRegion"]["endLine"].as_u64()),
        (Some(3), Some(4))
    );

    let (_, github, _) = run(&folder.0, &["foo.service", "--format", "github"]);
    assert!(github.starts_with("::notice file=foo.service,line=3,col=1,title=output-syslog::"), "{github}");
    assert!(
        github.contains(
            "\n::warning file=foo.service,line=4,col=1,title=unknown-directive::there is no Restrt="
        )
    );

    let (status, rules, _) = run(&folder.0, &["--rules"]);
    assert!(status == 0 && rules.contains("kill-mode") && rules.contains("WHAT IT FINDS"));
    let (_, rules, _) = run(&folder.0, &["--rules", "--json"]);
    assert!(serde_json::from_str::<Value>(&rules).unwrap().as_array().unwrap().len() >= 40);
    let (status, whole, _) = run(&folder.0, &["--explain", "kill-mode"]);
    assert_eq!(status, 0);
    for part in
        ["kill-mode (warning)", "systemd.kill(5), https://", "Bad:", "Good:", "# hence: allow kill-mode"]
    {
        assert!(whole.contains(part), "{part}: {whole}");
    }
}

#[test]
fn mends_are_shown_and_written() {
    let folder = Folder::new("mends");
    let text = "[Unit]\r\nBindTo=dev-sda.device\r\nAfter=dev-sda.device\r\n[Service]\r\n\
    ExecStart=/usr/bin/foo\r\n\
                StandardOutput=syslog\r\nKillMode=none\r\n";
    let path = folder.file("foo.service", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o757)).unwrap();
    symlink("foo.service", folder.0.join("link.service")).unwrap();
    let (status, shown, _) = run(&folder.0, &["foo.service", "--diff"]);
    assert_eq!(status, 0);
    for line in
        ["--- foo.service", "-StandardOutput=syslog", "+StandardOutput=journal", "+BindsTo=dev-sda.device"]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(shown.contains("chmod 644 foo.service"), "{shown}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let (status, told, _) = run(&folder.0, &["link.service", "--fix"]);
    assert!(told.contains("Mended 1 file.") && told.contains("+StandardOutput=journal"), "{told}");
    assert_eq!(status, 1, "KillMode=none is for a person to decide");
    let now = "[Unit]\nBindsTo=dev-sda.device\nAfter=dev-sda.device\n[Service]\nExecStart=/usr/bin/foo\n\
               StandardOutput=journal\nKillMode=none\n";
    assert_eq!(fs::read_to_string(&path).unwrap(), now);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    assert!(fs::symlink_metadata(folder.0.join("link.service")).unwrap().is_symlink());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "nothing is left beside the file");
    let (_, again, _) = run(&folder.0, &["foo.service", "--fix"]);
    assert!(!again.contains("Mended"), "{again}");
}

#[test]
fn permits() {
    let folder = Folder::new("permits");
    folder.file(
        "foo.service",
        "[Service]\nExecStart=/usr/bin/foo\nTasksMax=50\nKillMode=none\nRestartSteps=3\n",
    );
    let rules = |args: &[&str]| -> Vec<String> { found(&folder.0, args).into_iter().map(|f| f.0).collect() };
    assert_eq!(rules(&["foo.service"]), ["kill-mode"]);
    folder
        .file(".hence-lint", "[Lint]\nSystemd=252\nFailOn=error\n[Allow foo*]\nkill-mode=they are to stay\n");
    assert_eq!(rules(&["foo.service"]), ["newer-directive"]);
    assert_eq!(run(&folder.0, &["foo.service"]).0, 0, "FailOn=error");
    assert_eq!(rules(&["foo.service", "--systemd", "255"]), [""; 0]);
    folder.file("other", "[Allow bar*]\nkill-mode=they are to stay\n");
    assert_eq!(rules(&["foo.service", "--config", "other"]), ["kill-mode"]);
    folder.file(".hence-lint", "[Allow]\nkill-mode=\nkil-mode=x\n");
    let (status, _, err) = run(&folder.0, &["foo.service"]);
    assert_eq!(status, 2);
    assert!(err.contains(".hence-lint:2:1: kill-mode= gives no reason"), "{err}");
    assert!(err.contains("did you mean kill-mode?"), "{err}");
}

#[test]
fn shells_and_man_pages_know_the_verb() {
    let bash = Command::new(env!("CARGO_BIN_EXE_hence")).args(["completions", "bash"]).output().unwrap();
    let bash = String::from_utf8(bash.stdout).unwrap();
    assert!(bash.contains("--fail-on") && bash.contains("lint)"), "no completions for lint");
    let folder = Folder::new("man");
    let status = Command::new(env!("CARGO_BIN_EXE_hence")).arg("man").arg(&folder.0).status().unwrap();
    let page = fs::read_to_string(folder.0.join("hence-lint.1")).unwrap();
    assert!(status.success() && page.contains("hence: allow RULE: reason"));
}

#[test]
fn hostile_files_are_told_and_nothing_else() {
    let folder = Folder::new("hostile");
    folder.file("esc.service", "[Service]\nExecStart=/usr/bin/foo\n\x1b[2J=1\n");
    fs::write(folder.0.join("bytes.service"), b"[Service]\nExecStart=/usr/bin/foo\n\xff\xfe=1\n").unwrap();
    fs::write(folder.0.join("long.service"), format!("[Service]\nExecStart=/x {}\n", "y".repeat(1 << 20)))
        .unwrap();
    fs::create_dir(folder.0.join("folder.service")).unwrap();
    symlink("loop.service", folder.0.join("loop.service")).unwrap();
    symlink("gone/x.service", folder.0.join("dangling.service")).unwrap();
    let (status, page, err) = run(&folder.0, &["."]);
    assert_eq!(status, 1, "{err}");
    assert!(!page.contains('\x1b'), "{page:?}");
    for rule in ["not-utf8", "line-too-long", "unknown-directive", "dangling-link"] {
        assert!(page.contains(&format!("[{rule}]")), "{rule}: {page}");
    }
}

#[test]
fn a_folder_of_many_units_is_as_good_as_its_files_one_by_one() {
    let folder = Folder::new("many");
    let mut files = Vec::new();
    for n in 0..300 {
        let text = match n % 3 {
            0 => format!("[Unit]\nDescription={n}\nAfter=u{}.service\n{CLEAN}", n + 1),
            1 => format!("{CLEAN}Restrat=no\n"),
            _ => "[Service]\nKillMode=process\nType=forking\nExecStart=foo &\n".to_owned(),
        };
        files.push(folder.file(&format!("u{n}.service"), &text));
    }
    files.push(folder.file("t@.service", "[Service]\nTypo=%i\n"));
    files.push(folder.file("u5.service.d/x.conf", "[Service]\nTypo=1\n"));
    symlink("u4.service", folder.0.join("a.service")).unwrap();
    files.push(folder.0.join("a.service"));
    let of_folder = found(&folder.0, &["."]);
    let args: Vec<&str> =
        files.iter().map(|f| f.strip_prefix(&folder.0).unwrap().to_str().unwrap()).collect();
    assert!(of_folder.len() > 400, "{}", of_folder.len());
    assert_eq!(of_folder, found(&folder.0, &args));
}
