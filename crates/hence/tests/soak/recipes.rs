//! The recipes of `ci/`: the file that all of them call runs for real, with each way that it can end; what
//! services read is YAML with what they look for in it; the hook of git runs in a repository of its own.

use super::Folder;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn check(folder: &Folder, path: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let mut command = Command::new("sh");
    command.arg(root().join("ci/hence-check")).arg(path).current_dir(&folder.0);
    command
        .env("HENCE", env!("CARGO_BIN_EXE_hence"))
        .env("TMPDIR", folder.0.join("tmp"))
        .env_remove("GITHUB_ACTIONS");
    command.envs(variables.iter().copied());
    let output = command.output().expect("a shell");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output, text)
}

const SOUND: &str = "[Unit]\nDescription=Sleeps\n[Service]\nExecStart=/bin/sleep 900\nRestart=on-failure\n\
                     RestartSec=1s\nTasksMax=20\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn the_check_runs_all_three_and_tells_what_was_found() {
    let folder = Folder::of("check", &[("x.service", SOUND)]);
    let base = format!("{}/base", folder.path());
    let soaked = [("HENCE_SOAK_FOR", "4s"), ("HENCE_BASELINE", base.as_str())];
    // Written, then compared with.
    for _ in 0..2 {
        let (output, text) = check(&folder, "units", &soaked);
        assert_eq!(output.status.code(), Some(0), "{text}");
        for part in [
            "hence lint: nothing found",
            "hence predict: nothing found",
            "hence soak: nothing found",
            "Sound: ",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
    let reports = folder.0.join("hence-reports");
    for file in ["lint.sarif", "predict.html", "soak.html", "soak.junit.xml", "soak.json"] {
        assert!(std::fs::metadata(reports.join(file)).is_ok_and(|f| f.len() > 100), "{file}");
    }
    let sarif: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(reports.join("lint.sarif")).unwrap()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");

    folder.write("units/x.service", "[Service]\nExecStart=/bin/false\nRestart=always\nExecStrat=typo\n");
    let (output, text) = check(&folder, "units", &[("HENCE_SOAK_FOR", "20s"), ("GITHUB_ACTIONS", "true")]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in
        ["hence lint: something was found", "hence soak: something was found", "::", "Not sound: x.service"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let (output, text) = check(&folder, "none", &[("HENCE_STEPS", "lint soak")]);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let (output, text) = check(&folder, "units", &[("HENCE_STEPS", "polish")]);
    assert!(output.status.code() == Some(2) && text.contains("none of lint, predict, soak"), "{text}");
    let (output, text) = check(&folder, "units", &[("HENCE", "/there/is/none")]);
    assert!(output.status.code() == Some(2) && text.contains("no such program"), "{text}");
}

/// A YAML file as JSON, by python3's yaml.
fn yaml(path: &str) -> Option<serde_json::Value> {
    let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = Command::new("python3").args(["-c", program]).arg(root().join(path)).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("No module named 'yaml'") {
        return None;
    }
    assert!(output.status.success(), "{path}: {said}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn what_services_read_is_what_they_expect() {
    let all = ["ci/github/action.yml", "ci/gitlab/hence.yml", ".pre-commit-hooks.yaml"];
    let Some(parsed) = all.into_iter().map(yaml).collect::<Option<Vec<_>>>() else {
        return eprintln!("skipped: python3 or its yaml is missing");
    };
    let (action, gitlab, hooks) = (&parsed[0], &parsed[1], &parsed[2]);
    assert_eq!(action["runs"]["using"], "composite");
    let steps = action["runs"]["steps"].as_array().unwrap();
    for step in steps {
        assert!(step["uses"].is_string() || step["run"].is_string() && step["shell"] == "bash", "{step}");
    }
    // Each input is used, and what is used is an input.
    let text = std::fs::read_to_string(root().join("ci/github/action.yml")).unwrap();
    let inputs: Vec<&String> = action["inputs"].as_object().unwrap().keys().collect();
    for name in &inputs {
        assert!(text.contains(&format!("inputs.{name}")), "{name} is not used");
    }
    for used in text.split("inputs.").skip(1) {
        let name: String = used.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        assert!(inputs.contains(&&name), "{name} is no input");
    }
    // Every variable that the recipes set is one that the check reads.
    let check = std::fs::read_to_string(root().join("ci/hence-check")).unwrap();
    let set = steps.iter().filter_map(|s| s["env"].as_object()).flatten().map(|(name, _)| name.clone());
    let set = set.chain(gitlab[".hence"]["variables"].as_object().unwrap().keys().cloned());
    for name in set.filter(|name| name != "HENCE_PATHS") {
        assert!(check.contains(&format!("${{{name}:-")), "{name} is not read");
    }
    assert_eq!(gitlab[".hence"]["artifacts"]["reports"]["junit"], "$HENCE_REPORTS/soak.junit.xml");
    for hook in hooks.as_array().unwrap() {
        for field in ["id", "name", "entry", "language", "files"] {
            assert!(hook[field].is_string(), "{field} of {hook}");
        }
    }
}

/// The command lines in the recipe of the image name what is there.
#[test]
fn the_image_holds_what_its_recipe_copies() {
    let text = std::fs::read_to_string(root().join("ci/Containerfile")).unwrap();
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let rust = workspace.split("rust-version = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert!(
        text.contains(&format!("rust:{rust}-")),
        "the image builds with the Rust that the workspace names"
    );
    for line in text.lines().filter(|l| l.starts_with("COPY ") && !l.contains("--from=")) {
        let from = line.split(' ').nth(1).unwrap();
        assert!(root().join(from).exists(), "{line}");
    }
}

#[test]
fn the_hook_of_git_lints_what_is_staged() {
    let folder = Folder::of("hook", &[]);
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args([
            "-c",
            "user.name=x",
            "-c",
            "user.email=x@example.org",
            "-c",
            "init.defaultBranch=main",
        ]);
        command.args(arguments).current_dir(folder.0.join("repository"));
        command.env("HENCE", env!("CARGO_BIN_EXE_hence")).env("GIT_CONFIG_GLOBAL", "/dev/null").output()
    };
    std::fs::create_dir(folder.0.join("repository")).unwrap();
    if git(&["init", "-q"]).is_err() {
        return eprintln!("skipped: git is missing");
    }
    let hook = folder.0.join("repository/.git/hooks/pre-commit");
    let _ = std::fs::create_dir_all(hook.parent().unwrap());
    std::fs::copy(root().join("ci/pre-commit/pre-commit"), &hook).unwrap();
    let commit = |text: &str| {
        folder.write("repository/my-unit.service", text);
        git(&["add", "-A"]).unwrap();
        // What lies there afterwards is not what is committed.
        folder.write("repository/my-unit.service", "[Service]\nnonsense\n");
        let output = git(&["commit", "-q", "-m", "x"]).unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    let (done, said) = commit("[Service]\nExecStart=/bin/sleep 900\nExecStrat=/bin/true\n");
    assert!(!done && said.contains("ExecStrat"), "{said}");
    let (done, said) = commit(SOUND);
    assert!(done, "{said}");
    folder.write("repository/other.txt", "nothing for hence\n");
    git(&["add", "other.txt"]).unwrap();
    assert!(git(&["commit", "-q", "-m", "y"]).unwrap().status.success());
}

/// pre-commit itself, where it is installed.
#[test]
fn pre_commit_takes_the_hooks() {
    let folder = Folder::of("framework", &[]);
    let program = std::env::var("HENCE_PRE_COMMIT").unwrap_or_else(|_| "pre-commit".into());
    if Command::new(&program).arg("--version").output().is_err() {
        return eprintln!("skipped: pre-commit is not installed");
    }
    let repository = folder.0.join("repository");
    std::fs::create_dir(&repository).unwrap();
    folder.write("repository/x.service", "[Service]\nExecStart=/bin/sleep 900\nExecStrat=/bin/true\n");
    let bin = Path::new(env!("CARGO_BIN_EXE_hence")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(bin.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&repository).env("PATH", &path).env("HOME", &folder.0);
        let output = command.output().expect("it can be started");
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    run("git", &["init", "-q"]);
    run("git", &["add", "-A"]);
    let hooks = root().join(".pre-commit-hooks.yaml");
    let (status, said) = run(&program, &["validate-manifest", hooks.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    // The hooks as they are, as a local repository.
    let text = std::fs::read_to_string(hooks).unwrap();
    let indented: String =
        text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("      {l}\n")).collect();
    folder.write(
        "repository/.pre-commit-config.yaml",
        &format!("repos:\n  - repo: local\n    hooks:\n{indented}"),
    );
    let (status, said) = run(&program, &["run", "hence-lint", "--all-files"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("ExecStrat"), "{said}");
    folder.write("repository/x.service", SOUND);
    run("git", &["add", "-A"]);
    let (status, said) = run(&program, &["run", "hence-lint", "--all-files"]);
    assert_eq!(status, Some(0), "{said}");
}
