//! `hence lint`: what will go wrong with unit files. The rules are hence-unit's, and the pages of
//! [`crate::report::lint`]; here it is only decided which files are looked at, and what follows.

mod group;
mod mending;

use super::Outcome;
use crate::exit::{TROUBLE, Trouble, USAGE};
use crate::report::lint::{self as pages, Told};
use crate::report::{self};
use clap::ValueEnum;
use group::{Group, Paths};
use hence_unit::Level;
use hence_unit::lint::{Permits, lint, rule, rules};
use std::path::{Path, PathBuf};

/// Finds what will go wrong with unit files: loops, leaks, hangs, lines without effect.
///
/// PATH is a unit file, a drop-in, a starter script, a folder of these, or the files of a package or an image
/// (a folder with usr/lib/systemd/system or the like in it). Nothing is started or asked over the network,
/// and
/// only what was given is reported; other units are read where a rule has to know them.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Lint {
    /// Unit files, drop-ins, starter scripts, folders.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// An image: all its units, or those of PATH, with what else is in it; programs that it lacks are found.
    #[arg(long, value_name = "DIR", conflicts_with = "host")]
    root: Option<PathBuf>,
    /// This machine as the image.
    #[arg(long)]
    host: bool,
    /// They are units of users, not of the system [default: where a path says systemd/user].
    #[arg(long)]
    user: bool,
    /// The version of systemd that they are for: newer directives are found.
    #[arg(long, value_name = "VERSION")]
    systemd: Option<u16>,
    /// The form of the report.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// As JSON; the same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Report nothing below this.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Threshold::Note)]
    show: Threshold,
    /// The exit status is 1 where anything is found of this level or worse [default: warning].
    #[arg(long, value_enum, value_name = "LEVEL")]
    fail_on: Option<Threshold>,
    /// Only these rules.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    only: Vec<String>,
    /// A file of permits [default: .hence-lint of the current folder, where there is one].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Mend what can be mended safely, and report the rest.
    #[arg(long)]
    fix: bool,
    /// Show what --fix would change, and change nothing.
    #[arg(long, conflicts_with = "fix")]
    diff: bool,
    /// List the rules.
    #[arg(long)]
    rules: bool,
    /// Tell all about a rule: why it hurts, its man page, examples.
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
}

const HELP: &str = "\
A comment `# hence: allow RULE: reason` above a line, a section or the whole file switches a rule off there.
A file of permits has sections [Allow] or [Allow UNIT-PATTERN] with lines `RULE=reason`, and may have a
section [Lint] with Systemd= and FailOn=.

Exit status:
  0  nothing was found at or above the level of --fail-on
  1  something was found, or a file could not be written
  2  the command line can't be understood, a path doesn't exist, or a file of permits is wrong";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// A list of findings.
    Json,
    /// SARIF 2.1.0, as code scanners write it.
    Sarif,
    /// Annotations of GitHub's workflows.
    Github,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Threshold {
    Error,
    Warning,
    Note,
}

impl Threshold {
    fn level(self) -> Level {
        match self {
            Threshold::Error => Level::Error,
            Threshold::Warning => Level::Warning,
            Threshold::Note => Level::Note,
        }
    }
}

/// A file of permits that is taken where none is named.
const PERMITS: &str = ".hence-lint";

impl Lint {
    pub fn run(self) -> Outcome {
        let json = self.json || self.format == Format::Json;
        if self.rules {
            return match json {
                true => report::print(format!("{}\n", pages::forms::rules(rules())).as_bytes()),
                false => report::print(pages::rules(rules()).as_bytes()),
            };
        }
        if let Some(id) = &self.explain {
            let found = rule(id).ok_or_else(|| unknown_rule(id))?;
            return report::print(pages::explain(found).as_bytes());
        }
        for id in &self.only {
            rule(id).ok_or_else(|| unknown_rule(id))?;
        }
        let permits = self.permits()?;
        let systemd = self.systemd.or(number(&permits, "Systemd")?).unwrap_or(0);
        let fail_on = match self.fail_on {
            Some(given) => given.level(),
            None => fail_on(&permits)?.unwrap_or(Level::Warning),
        };
        let paths =
            Paths { given: &self.paths, root: self.root.as_deref(), host: self.host, user: self.user };
        let groups = paths.groups()?;
        let mut told = self.look(&groups, &permits, systemd);
        if self.diff {
            return report::print(mending::differences(&told)?.as_bytes());
        }
        let mut mended = Vec::new();
        if self.fix {
            mended = mending::mend(&told)?;
            told = self.look(&groups, &permits, systemd);
        }
        told.findings.retain(|f| f.finding.level >= self.show.level());
        let text = match self.format {
            _ if json => format!("{}\n", pages::forms::json(&told)),
            Format::Sarif => format!("{}\n", pages::forms::sarif(&told, rules())),
            Format::Github => pages::forms::github(&told),
            Format::Text | Format::Json => pages::page(&told, &mended),
        };
        report::print(text.as_bytes())?;
        let failed = told.findings.iter().any(|f| f.finding.level >= fail_on);
        Ok(if failed { TROUBLE } else { 0 })
    }

    /// All that is found in all groups.
    fn look(&self, groups: &[Group], permits: &Permits, systemd: u16) -> Told {
        let mut told = Told::default();
        for group in groups {
            group.with_world(systemd, |world, shown| {
                told.units += world.given().len();
                told.scripts += world.scripts().len();
                for finding in lint(world, permits) {
                    if self.only.is_empty() || self.only.iter().any(|id| id == finding.rule.id) {
                        let (path, line) = shown(&finding.place);
                        told.add(finding, path, line);
                    }
                }
            });
        }
        told.sort();
        told
    }

    fn permits(&self) -> Result<Permits, Trouble> {
        let mut permits = Permits::default();
        let path = match &self.config {
            Some(path) => path.clone(),
            None if Path::new(PERMITS).is_file() => PathBuf::from(PERMITS),
            None => return Ok(permits),
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Trouble::new(USAGE, format!("cannot read {}: {e}", path.display())))?;
        permits.read(&path.to_string_lossy().as_ref().into(), &text);
        if !permits.wrong.is_empty() {
            let lines: Vec<String> =
                permits.wrong.iter().map(|(p, message)| format!("{p}: {message}")).collect();
            return Err(Trouble::new(USAGE, lines.join("\n")));
        }
        Ok(permits)
    }
}

fn unknown_rule(id: &str) -> Trouble {
    let near = hence_unit::directive::nearest(id, rules().map(|r| r.id));
    let end = near.map_or("`hence lint --rules` lists them".into(), |near| format!("did you mean {near}?"));
    Trouble::new(USAGE, format!("there is no rule {id}; {end}"))
}

/// A setting of the section `[Lint]` of the file of permits.
fn setting<'p>(permits: &'p Permits, name: &str) -> Result<Option<&'p str>, Trouble> {
    const NAMES: [&str; 2] = ["Systemd", "FailOn"];
    if let Some(other) = permits.settings.iter().find(|s| !NAMES.contains(&&*s.key)) {
        let message = format!("{}: there is no {}= in [Lint]", other.place, other.key);
        return Err(Trouble::new(USAGE, message));
    }
    Ok(permits.settings.iter().rev().find(|s| &*s.key == name).map(|s| &*s.value))
}

fn number(permits: &Permits, name: &str) -> Result<Option<u16>, Trouble> {
    let Some(value) = setting(permits, name)? else { return Ok(None) };
    let wrong = || Trouble::new(USAGE, format!("{name}={value} of [Lint] is no version of systemd"));
    value.parse().map(Some).map_err(|_| wrong())
}

fn fail_on(permits: &Permits) -> Result<Option<Level>, Trouble> {
    match setting(permits, "FailOn")? {
        None => Ok(None),
        Some("error") => Ok(Some(Level::Error)),
        Some("warning") => Ok(Some(Level::Warning)),
        Some("note") => Ok(Some(Level::Note)),
        Some(other) => {
            Err(Trouble::new(USAGE, format!("FailOn={other} of [Lint] is none of error, warning and note")))
        }
    }
}
