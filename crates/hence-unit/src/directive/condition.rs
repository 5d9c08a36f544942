//! Rows of Condition...= and Assert...=; systemd.unit(5), "Conditions and Asserts". Nothing is checked
//! against the machine here.

use super::{Loading, Outcome, Row, Section, Take};
use crate::{config::Condition, syntax::Assignment, value};
use alloc::{format, vec::Vec};

/// A check: its name, and whether its argument is a path.
struct Check {
    name: &'static str,
    path: bool,
}

const fn check(name: &'static str, path: bool) -> Check {
    Check { name, path }
}

const CHECKS: &[Check] = &[
    check("PathExists", true),
    check("PathExistsGlob", true),
    check("PathIsDirectory", true),
    check("PathIsSymbolicLink", true),
    check("PathIsMountPoint", true),
    check("PathIsReadWrite", true),
    check("PathIsEncrypted", true),
    check("DirectoryNotEmpty", true),
    check("FileNotEmpty", true),
    check("FileIsExecutable", true),
    check("NeedsUpdate", true),
    check("FirstBoot", false),
    check("Architecture", false),
    check("Firmware", false),
    check("Virtualization", false),
    check("Host", false),
    check("KernelCommandLine", false),
    check("KernelVersion", false),
    check("Version", false),
    check("Credential", false),
    check("Security", false),
    check("Capability", false),
    check("ACPower", false),
    check("Memory", false),
    check("CPUFeature", false),
    check("CPUs", false),
    check("Environment", false),
    check("User", false),
    check("Group", false),
    check("ControlGroupController", false),
    check("OSRelease", false),
    check("MemoryPressure", false),
    check("CPUPressure", false),
    check("IOPressure", false),
    check("KernelModuleLoaded", false),
    check("Fraction", false),
    check("MachineTag", false),
];

const CONDITION: &str = "Condition";
const ASSERT: &str = "Assert";

/// Whether a directive is a condition (or an assert) at all: an empty one removes those of every check.
fn is_of(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|check| CHECKS.iter().any(|c| c.name == check))
}

fn take(loading: &mut Loading<'_>, assignment: &Assignment, prefix: &'static str) -> Outcome {
    let check = assignment.key.strip_prefix(prefix).and_then(|key| CHECKS.iter().find(|c| c.name == key));
    let Some(check) = check else {
        return Outcome::Rejected;
    };
    if assignment.value.is_empty() {
        kept(loading, prefix).clear();
        loading.forget(|name| is_of(prefix, name));
        return Outcome::Reset;
    }
    let rest = &*assignment.value;
    let (trigger, rest) = marked(rest, '|');
    let (negate, rest) = marked(rest, '!');
    let Some(argument) = loading.expand(assignment, rest) else {
        return Outcome::Rejected;
    };
    if !usable(check, &argument) {
        loading.bad_value(assignment, format!("{}= takes {}", assignment.key, value::BOOLEAN), None);
    }
    let argument = if check.path { value::absolute_path(&argument) } else { Some(argument.into_owned()) };
    let Some(argument) = argument else {
        loading.bad_value(assignment, format!("{}= takes {}", assignment.key, value::ABSOLUTE), None);
        return Outcome::Rejected;
    };
    let position = loading.position(&assignment.value_place());
    let condition = Condition { check: check.name, argument: argument.into(), negate, trigger, position };
    kept(loading, prefix).push(condition);
    Outcome::Added
}

fn kept<'c>(loading: &'c mut Loading<'_>, prefix: &str) -> &'c mut Vec<Condition> {
    if prefix == ASSERT { &mut loading.config.asserts } else { &mut loading.config.conditions }
}

fn marked(text: &str, mark: char) -> (bool, &str) {
    match text.strip_prefix(mark) {
        Some(rest) => (true, rest.trim_start_matches(value::is_space)),
        None => (false, text),
    }
}

/// Whether the argument can hold at all; booleans are the only ones that show it without the machine. One
/// that can't is kept: its check fails, and a start that was to depend on it does not go ahead.
fn usable(check: &Check, argument: &str) -> bool {
    !matches!(check.name, "FirstBoot" | "ACPower") || value::boolean(argument).is_some()
}

const fn condition(name: &'static str, doc: &'static str) -> Row {
    let take = Take::Act(|l, a| take(l, a, CONDITION));
    super::row(name, Section::Unit.only(), "systemd.unit(5)", take, doc)
}

const fn assert(name: &'static str, doc: &'static str) -> Row {
    let take = Take::Act(|l, a| take(l, a, ASSERT));
    super::row(name, Section::Unit.only(), "systemd.unit(5)", take, doc)
}

macro_rules! both {
    ($($name:literal $($since:literal $assert_since:literal)? : $doc:literal;)*) => {
        pub(super) const ROWS: &[Row] = &[
            condition("ConditionFirmware", "Skip the start unless the machine has this kind of firmware.")
                .since(249),
            $(condition(concat!("Condition", $name), concat!("Skip the start unless ", $doc, "."))
                $(.since($since))?,)*
            $(assert(concat!("Assert", $name), concat!("Fail the start unless ", $doc, "."))
                $(.since($assert_since))?,)*
        ];
    };
}

both! {
    "PathExists": "this path exists";
    "PathExistsGlob": "a path matches this pattern";
    "PathIsDirectory": "this path is a folder";
    "PathIsSymbolicLink": "this path is a symbolic link";
    "PathIsMountPoint": "this path is a mount point";
    "PathIsReadWrite": "this path is on a file system that can be written to";
    "PathIsEncrypted" 246 246: "this path is on an encrypted block device";
    "DirectoryNotEmpty": "this folder exists and holds something";
    "FileNotEmpty": "this file exists and holds something";
    "FileIsExecutable": "this file exists and is executable";
    "NeedsUpdate": "this folder needs an update after /usr changed";
    "FirstBoot": "this is the first boot, or is not";
    "Architecture": "the machine has this architecture";
    "Virtualization": "the machine is virtualized in this way";
    "Host": "the machine has this name or identity";
    "KernelCommandLine": "the kernel command line has this word";
    "KernelVersion" 237 237: "the kernel's version compares like this";
    "Version" 258 258: "the version of the kernel, systemd or glibc compares like this";
    "Credential" 252 252: "this credential was passed in";
    "Security": "this security technique is on";
    "Capability": "the capability is in the bounding set";
    "ACPower": "the machine is on mains power, or is not";
    "Memory" 244 244: "there is this much memory";
    "CPUFeature" 248 248: "the processor has this feature";
    "CPUs" 242 242: "there are this many processors";
    "Environment" 246 246: "the service manager's environment has this variable or assignment";
    "User" 234 234: "units are loaded for this user";
    "Group" 234 234: "the user who units are loaded for is in this group";
    "ControlGroupController" 237 237: "these controllers of control groups can be used";
    "OSRelease" 249 249: "os-release has this field and value";
    "MemoryPressure" 250 250: "the pressure on memory is below this";
    "CPUPressure" 250 250: "the pressure on processors is below this";
    "IOPressure" 250 250: "the pressure on input and output is below this";
    "KernelModuleLoaded" 258 258: "this kernel module is loaded";
    "MachineTag" 261 261: "the machine has this tag";
    "Fraction" 261 261: "this machine falls into this fraction of all";
}
