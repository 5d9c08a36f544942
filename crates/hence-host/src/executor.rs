//! The executor: a process that becomes another user, makes folders with owners and enters another root,
//! then executes the program. hence itself runs it from its own binary and hands it a plan in memory.
//!
//! It does what may block or needs names; whether it is needed is `start`'s. What fails is said on stderr,
//! by systemd's exit status, and by five bytes on the pipe next to the plan.

mod session;
mod who;

use crate::{
    attributes, credentials, filter, folders, privileges,
    protection::{self, Failure, Identity, Order, Refused, Shared, Without},
    start::find_program_in,
    sys::{attributes as process, signal, spawn::status},
};
use hence_ledger::SpawnStep;
use hence_unit::exec_line;
use rustix::fs::{MemfdFlags, SeekFrom};
use session::Variables;
use std::{
    borrow::Cow,
    ffi::CString,
    fs,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    process::ExitCode,
};
use who::Who;

/// Largest plan, in bytes: what execve(2) takes and some more.
const PLAN_BYTES: u64 = 4 << 20;

/// What the executor is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// User= and Group=, which own the folders.
    pub owner: Option<String>,
    /// Group=
    pub owner_group: Option<String>,
    /// SupplementaryGroups=
    pub supplementary: Vec<String>,
    /// Become that user.
    pub switch: bool,
    /// `+`: everything but the program itself is left out.
    pub full: bool,
    /// The control group that is handed to the user: Delegate=.
    pub delegated: Option<String>,
    /// Folders: kind, mode, path; behind a NUL the path of the folder that this one is a link to.
    pub directories: Vec<(u8, u32, String)>,
    /// `~` for the user's home.
    pub working_directory: String,
    /// It may be missing.
    pub working_directory_optional: bool,
    /// RootDirectory=
    pub root_directory: Option<String>,
    /// PAMName=, and the terminal where there is one.
    pub session: Vec<String>,
    /// An order of `protection`, as it encodes it.
    pub protection: Vec<String>,
    /// Sockets that follow the plan and the report, by what is kept in them.
    pub passed: Vec<String>,
    /// CPUAffinity=
    pub affinity: Vec<u16>,
    /// CapabilityBoundingSet=
    pub bounding: Option<u64>,
    /// AmbientCapabilities=
    pub ambient: u64,
    /// Lines of `filter`.
    pub filters: Vec<String>,
    /// Lines of `attributes`.
    pub attributes: Vec<String>,
    /// Lines of `credentials`.
    pub credentials: Vec<String>,
    /// IgnoreSIGPIPE=no
    pub default_sigpipe: bool,
    /// Where the program is looked for.
    pub search_path: String,
    /// Variables that must not be set.
    pub unset: Vec<String>,
    /// Whether variables are substituted in the arguments.
    pub substitute: bool,
    /// `[X-Hence] Sandbox=best-effort`: filters and credentials that are refused are done without.
    pub best_effort: bool,
    /// The program.
    pub program: String,
    /// Its arguments, argv[0] first.
    pub arguments: Vec<String>,
}

impl Plan {
    /// Encodes it into memory that can be passed on.
    ///
    /// # Errors
    /// errno of memfd_create(2) or write(2).
    pub fn store(&self) -> Result<OwnedFd, rustix::io::Errno> {
        let memory = rustix::fs::memfd_create("plan", MemfdFlags::CLOEXEC)?;
        let bytes = self.encode();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let written = rustix::io::write(&memory, rest)?;
            rest = &rest[written..];
        }
        rustix::fs::seek(&memory, SeekFrom::Start(0))?;
        Ok(memory)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let flags =
            [self.switch, self.full, self.working_directory_optional, self.substitute, self.best_effort];
        out.extend(flags.map(u8::from));
        let one = |text: &Option<String>| -> Vec<String> { text.iter().cloned().collect() };
        let folders = self.directories.iter().map(|(kind, mode, path)| format!("{kind} {mode} {path}"));
        for list in [
            one(&self.owner),
            one(&self.owner_group),
            one(&self.delegated),
            self.supplementary.clone(),
            folders.collect(),
            vec![self.working_directory.clone()],
            one(&self.root_directory),
            self.unset.clone(),
            self.protection.clone(),
            self.passed.clone(),
            self.affinity.iter().map(u16::to_string).collect(),
            self.bounding.iter().map(u64::to_string).collect(),
            vec![self.ambient.to_string()],
            self.filters.clone(),
            self.attributes.clone(),
            self.credentials.clone(),
            vec![self.default_sigpipe.to_string(), self.search_path.clone()],
            self.session.clone(),
            vec![self.program.clone()],
            self.arguments.clone(),
        ] {
            out.extend((list.len() as u32).to_le_bytes());
            for text in list {
                out.extend((text.len() as u32).to_le_bytes());
                out.extend(text.as_bytes());
            }
        }
        out
    }

    fn decode(mut bytes: &[u8]) -> Option<Plan> {
        let flags = bytes.split_off(..5)?;
        let mut lists = [const { Vec::new() }; 20];
        for list in &mut lists {
            for _ in 0..number(&mut bytes)? {
                let length = number(&mut bytes)? as usize;
                list.push(String::from_utf8(bytes.split_off(..length)?.to_vec()).ok()?);
            }
        }
        let [owner, owner_group, delegated, supplementary, folders, working, root, unset, rest @ ..] = lists;
        let [protection, passed, affinity, bounding, ambient, rest @ ..] = rest;
        let [filters, attributes, credentials, single, session, program, arguments] = rest;
        let folder = |text: &String| {
            let mut parts = text.splitn(3, ' ');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.to_owned()))
        };
        Some(Plan {
            owner: owner.into_iter().next(),
            owner_group: owner_group.into_iter().next(),
            delegated: delegated.into_iter().next(),
            supplementary,
            switch: flags[0] == 1,
            full: flags[1] == 1,
            directories: folders.iter().map(folder).collect::<Option<_>>()?,
            working_directory: working.into_iter().next()?,
            working_directory_optional: flags[2] == 1,
            root_directory: root.into_iter().next(),
            protection,
            passed,
            affinity: affinity.iter().map(|n| n.parse().ok()).collect::<Option<_>>()?,
            bounding: bounding.first().map(|n| n.parse()).transpose().ok()?,
            ambient: ambient.first()?.parse().ok()?,
            filters,
            attributes,
            credentials,
            default_sigpipe: single.first()?.parse().ok()?,
            search_path: single.get(1)?.clone(),
            session,
            unset,
            substitute: flags[3] == 1,
            best_effort: flags[4] == 1,
            program: program.into_iter().next()?,
            arguments,
        })
    }
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?))
}

/// Removes files and folders with all that is in them; what can't be removed is said.
fn remove(paths: impl Iterator<Item = PathBuf>) -> ExitCode {
    let mut status = ExitCode::SUCCESS;
    for path in paths {
        let removed = match fs::symlink_metadata(&path) {
            Ok(about) if about.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(e) = removed {
            eprintln!("hence-executor: {}: {e}", path.display());
            status = ExitCode::FAILURE;
        }
    }
    status
}

/// Removes what a user, by name or number, has left of IPC objects.
fn remove_ipc(user: &str) -> ExitCode {
    let uid = user.parse().ok().or_else(|| crate::sys::nss::user(user).ok().flatten().map(|user| user.uid));
    // Root's are the machine's.
    if let Some(uid) = uid.filter(|uid| *uid != 0) {
        crate::sys::ipc::remove_of(uid);
    }
    ExitCode::SUCCESS
}

/// The executor's main function: `hence-executor executor NUMBER`, or `remove PATH...` in place of the
/// number. Otherwise it returns only where something failed.
pub fn executor_main() -> ExitCode {
    match std::env::args().nth(2).as_deref() {
        Some("remove") => return remove(std::env::args_os().skip(3).map(PathBuf::from)),
        Some("remove-ipc") => return remove_ipc(&std::env::args().nth(3).unwrap_or_default()),
        _ => {}
    }
    let number = std::env::args().nth(2).and_then(|n| n.parse::<u32>().ok());
    let Some(number) = number.filter(|&n| n > 2) else {
        eprintln!("hence-executor: this is run by hence itself");
        return ExitCode::from(2);
    };
    let path = |n: u32| format!("/proc/self/fd/{n}");
    let mut bytes = Vec::new();
    let plan = fs::File::open(path(number))
        .and_then(|f| f.take(PLAN_BYTES).read_to_end(&mut bytes))
        .ok()
        .and_then(|_| Plan::decode(&bytes));
    let report = fs::OpenOptions::new().write(true).open(path(number + 1));
    // The numbers themselves must not reach the program.
    let _ = crate::sys::signal::close_on_exec_from(number);
    let Some(plan) = plan else {
        eprintln!("hence-executor: the plan can't be read");
        return ExitCode::from(status::EXEC as u8);
    };
    let mut report = report.ok();
    let mut say = |message: Report| {
        if let Some(report) = &mut report {
            let _ = report.write_all(&message.encode());
        }
    };
    let (step, status, subject, error) = match execute(&plan, number, &mut say) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    eprintln!("hence-executor: {}: {subject}: {error}", step.as_str());
    say(Report::Failed(step, error.raw_os_error().unwrap_or(libc::EIO)));
    ExitCode::from(status as u8)
}

/// What the executor says on its pipe: five bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It could not become the program: the step and errno.
    Failed(SpawnStep, i32),
    /// The kernel refused a part of the sandbox, and whether a capability is missing for it.
    Refused(Refused, bool),
}

impl Report {
    /// Bytes of one.
    pub const BYTES: usize = 5;
    /// In the first byte, beside what was refused.
    const REFUSED: u8 = 128;

    fn encode(self) -> [u8; Report::BYTES] {
        match self {
            Report::Failed(step, errno) => {
                let [a, b, c, d] = errno.to_le_bytes();
                [step.tag(), a, b, c, d]
            }
            Report::Refused(refused, lacks) => {
                let [low, high] = (refused.errno as u16).to_le_bytes();
                [Report::REFUSED | refused.what, low, high, u8::from(refused.without), u8::from(lacks)]
            }
        }
    }

    /// One back; `None` where it is none.
    pub fn decode(bytes: [u8; Report::BYTES]) -> Option<Report> {
        let [first, a, b, c, d] = bytes;
        if first & Report::REFUSED == 0 {
            return Some(Report::Failed(SpawnStep::from_tag(first)?, i32::from_le_bytes([a, b, c, d])));
        }
        let what = first & !Report::REFUSED;
        let errno = i32::from(u16::from_le_bytes([a, b]));
        let known = usize::from(what) < protection::REFUSABLE.len();
        known.then_some(Report::Refused(Refused { what, errno, without: c == 1 }, d == 1))
    }
}

fn execute(
    plan: &Plan,
    number: u32,
    say: &mut dyn FnMut(Report),
) -> Result<std::convert::Infallible, Failure> {
    let mut shared = Shared::inherited(number + 2, &plan.passed);
    let mut who = Who::of(plan, shared.user.take())?;
    let gid = who.gid;
    if let (Some(group), Some(user)) = (&plan.delegated, &who.user) {
        let failed = |e| (SpawnStep::Cgroup, status::CGROUP, group.clone(), e);
        delegate(Path::new(group), user.uid, gid).map_err(failed)?;
    }
    for (kind, mode, path) in &plan.directories {
        let failed = |e| (SpawnStep::Directories, directory_status(*kind), path.clone(), e);
        folders::make(path, *mode, (who.uid(), gid), who.made_up).map_err(failed)?;
    }
    let lacks = !privileges::may_administer();
    let mut tell = |refused: Refused| say(Report::Refused(refused, lacks));
    write_credentials(plan, &who, &mut tell)?;
    attributes::apply(&plan.attributes)?;
    let variables = variables(plan, &who)?;
    let variables = session::open(plan, &mut who, variables)?;
    let (order, identity) = sandbox(plan, who.uid().filter(|_| who.switches), gid)?;
    let inside = protection::enter(&order, plan.root_directory.as_deref(), identity, &shared, &mut tell)?;
    if let Some(root) = plan.root_directory.as_ref().filter(|_| !inside) {
        let failed = |e| (SpawnStep::Chdir, status::CHROOT, root.clone(), e);
        std::os::unix::fs::chroot(root).and_then(|()| std::env::set_current_dir("/")).map_err(failed)?;
    }
    if !plan.affinity.is_empty() {
        let processors = plan.affinity.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let failed = |e| (SpawnStep::Scheduling, status::CPU_AFFINITY, processors, e);
        privileges::bind_to(&plan.affinity).map_err(failed)?;
    }
    who.take_groups()?;
    protection::enter_users(&order, identity, &mut tell)?;
    let capabilities = |e| (SpawnStep::User, status::CAPABILITIES, "capabilities".to_owned(), e);
    let limited = (plan.bounding.is_some() || plan.ambient != 0) && !plan.full;
    if limited {
        privileges::bound(plan.bounding.unwrap_or(u64::MAX), plan.ambient != 0).map_err(capabilities)?;
    }
    let secure_bits = attributes::secure_bits(&plan.attributes).filter(|_| !plan.full);
    if secure_bits.is_some() {
        privileges::bound(u64::MAX, true).map_err(capabilities)?;
    }
    who.become_user()?;
    attributes::apply_as_user(&plan.attributes)?;
    if let Some(bits) = secure_bits {
        let failed = |e| (SpawnStep::Attributes, status::SECURE_BITS, "SecureBits=".to_owned(), e);
        privileges::set_secure_bits(bits).map_err(failed)?;
    }
    if limited {
        let bounding = plan.bounding.unwrap_or(u64::MAX);
        let ordinary = !rustix::process::geteuid().is_root();
        privileges::settle(bounding, plan.ambient, ordinary).map_err(capabilities)?;
    }
    let home = who.user.as_ref().map(|u| u.home.clone()).or_else(|| std::env::var("HOME").ok());
    let working = match plan.working_directory.as_str() {
        "~" => home.unwrap_or_else(|| "/".into()),
        path => path.to_owned(),
    };
    match std::env::set_current_dir(&working) {
        Err(e) if !(plan.working_directory_optional && e.kind() == io::ErrorKind::NotFound) => {
            return Err((SpawnStep::Chdir, status::CHDIR, working, e));
        }
        _ => {}
    }
    become_program(plan, &variables, &mut tell)
}

/// Puts the credentials where the program finds them.
fn write_credentials(plan: &Plan, who: &Who, tell: &mut dyn FnMut(Refused)) -> Result<(), Failure> {
    let mut without = Without { best_effort: plan.best_effort, tell };
    let (subject, done) = match credentials::write(&plan.credentials, who.uid()) {
        Ok(()) => return Ok(()),
        Err((subject, e)) => (subject, Err(e)),
    };
    let failed = |e| (SpawnStep::Credentials, status::CREDENTIALS, subject, e);
    without.allow(protection::CREDENTIALS, false, done).map(|_| ()).map_err(failed)
}

/// The variables that the program gets: those of this process, and what is known of the user.
fn variables(plan: &Plan, who: &Who) -> Result<Variables, Failure> {
    let mut added: Vec<(&str, String)> = Vec::new();
    if let Some(u) = &who.user {
        let name = u.name.to_string_lossy().into_owned();
        added.extend([("LOGNAME", name.clone()), ("USER", name)]);
        // What says that there is none is nobody's home or shell.
        let (home, shell) = (u.home != "/", !refuses_logins(&u.shell));
        added.extend((home && !who.made_up).then(|| ("HOME", u.home.clone())));
        added.extend((shell && !who.made_up).then(|| ("SHELL", u.shell.clone())));
        added.retain(|(n, _)| std::env::var_os(n).is_none() && plan.unset.iter().all(|u| u != n));
    }
    let kept = std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let added = added.iter().map(|(name, value)| format!("{name}={value}").into_bytes());
    let invalid =
        |_| (SpawnStep::Exec, status::EXEC, plan.program.clone(), io::ErrorKind::InvalidInput.into());
    kept.chain(added).map(|variable| CString::new(variable).map_err(invalid)).collect()
}

/// Executes the program. Filters come last, so that what happens here needs none of what they refuse.
fn become_program(
    plan: &Plan,
    variables: &[CString],
    tell: &mut dyn FnMut(Refused),
) -> Result<std::convert::Infallible, Failure> {
    let failed = |e| (SpawnStep::Exec, status::EXEC, plan.program.clone(), e);
    let program = find_program_in(&plan.program, &plan.search_path);
    let program = program.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let value = |name: &str| {
        let of = |variable: &CString| {
            let value = variable.to_str().ok()?.strip_prefix(name)?.strip_prefix('=')?;
            Some(Cow::<'static, str>::Owned(value.to_owned()))
        };
        variables.iter().find_map(of)
    };
    let words: Vec<Box<str>> = plan.arguments.iter().map(|a| a.as_str().into()).collect();
    let arguments =
        if plan.substitute { exec_line::expand(&words, &value).0 } else { plan.arguments.clone() };
    let text = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| failed(io::ErrorKind::InvalidInput.into()));
    let arguments = arguments.into_iter().map(|a| text(a.into_bytes())).collect::<Result<Vec<_>, _>>()?;
    signal::set_sigpipe(plan.default_sigpipe);
    if !plan.filters.is_empty() && !plan.full {
        confine(plan, tell)?;
    }
    Err(failed(process::execute(&program, &arguments, variables)))
}

/// Installs the filters.
fn confine(plan: &Plan, tell: &mut dyn FnMut(Refused)) -> Result<(), Failure> {
    let mut without = Without { best_effort: plan.best_effort, tell };
    if !privileges::may_filter() {
        let failed = |e: rustix::io::Errno| {
            (SpawnStep::Attributes, status::NO_NEW_PRIVILEGES, "NoNewPrivileges=".to_owned(), e.into())
        };
        rustix::thread::set_no_new_privs(true).map_err(failed)?;
    }
    let Err(failure) = filter::install(&plan.filters) else { return Ok(()) };
    let (what, status) = match failure.families {
        true => (protection::FAMILIES, status::ADDRESS_FAMILIES),
        false => (protection::CALLS, status::SECCOMP),
    };
    let failed = |e| (SpawnStep::Filter, status, failure.subject, e);
    without.allow(what, false, Err(failure.error)).map(|_| ()).map_err(failed)
}

/// Whether a login shell is there to be none.
fn refuses_logins(shell: &str) -> bool {
    let (folder, name) = shell.rsplit_once('/').unwrap_or(("", shell));
    let folder = folder.trim_start_matches("/usr");
    matches!((folder, name), ("/bin" | "/sbin", "nologin") | ("/bin", "false" | "true"))
}

/// What the plan says of the sandbox, and whose processes these will be.
fn sandbox(plan: &Plan, uid: Option<u32>, gid: Option<u32>) -> Result<(Order, Identity), Failure> {
    let unreadable = || {
        let error = io::Error::from(io::ErrorKind::InvalidData);
        (SpawnStep::Executor, status::EXEC, "plan".to_owned(), error)
    };
    let order = Order::decode(&plan.protection).ok_or_else(unreadable)?;
    let identity = Identity {
        uid: uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        gid: gid.unwrap_or_else(|| rustix::process::getegid().as_raw()),
        privileged: rustix::process::geteuid().is_root(),
    };
    Ok((order, identity))
}

fn directory_status(kind: u8) -> i32 {
    match kind {
        0 => status::RUNTIME_DIRECTORY,
        1 => status::STATE_DIRECTORY,
        2 => status::CACHE_DIRECTORY,
        3 => status::LOGS_DIRECTORY,
        _ => status::CONFIGURATION_DIRECTORY,
    }
}

/// The folder itself, where a path is that of a link to it.
fn behind(path: &str) -> &str {
    path.split_once('\0').map_or(path, |(_, behind)| behind)
}

/// Lets a user make groups below this one and move its processes there; cgroups(7), "Cgroups delegation".
fn delegate(group: &Path, uid: u32, gid: Option<u32>) -> io::Result<()> {
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        match std::os::unix::fs::chown(group.join(file), Some(uid), gid) {
            // Not every kernel has all of them.
            Err(e) if !file.is_empty() && e.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::nss;

    #[test]
    fn a_plan_survives_its_encoding() {
        let plan = Plan {
            owner: Some("nobody".into()),
            delegated: Some("/sys/fs/cgroup/a".into()),
            supplementary: vec!["a".into(), "b".into()],
            switch: true,
            directories: vec![(0, 0o700, "/run/with a space".into())],
            working_directory: "~".into(),
            substitute: true,
            protection: vec!["r-/usr".into()],
            passed: vec!["network".into()],
            affinity: vec![0, 7],
            bounding: Some(1 << 40),
            ambient: 3,
            filters: vec!["refuse @clock".into()],
            attributes: vec!["slack 5".into()],
            credentials: vec!["set a:00".into()],
            default_sigpipe: true,
            search_path: "/bin".into(),
            session: vec!["login".into(), "/dev/tty1".into()],
            program: "/bin/true".into(),
            arguments: vec!["true".into(), "".into(), "ä".into()],
            ..Plan::default()
        };
        let bytes = plan.encode();
        assert_eq!(Plan::decode(&bytes).as_ref(), Some(&plan));
        for length in 0..bytes.len() {
            assert_eq!(Plan::decode(&bytes[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn reports_survive_their_encoding() {
        let refused = Refused { what: 4, errno: libc::EPERM, without: true };
        for report in [
            Report::Failed(SpawnStep::Namespace, libc::EOPNOTSUPP),
            Report::Refused(refused, false),
            Report::Refused(Refused { what: 0, errno: 133, without: false }, true),
        ] {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        assert_eq!(Report::decode([255, 0, 0, 0, 0]), None);
        assert_eq!(Report::decode([100, 0, 0, 0, 0]), None);
    }

    #[test]
    fn users_of_this_machine() {
        assert_eq!(nss::user("root").unwrap().unwrap().uid, 0);
        assert_eq!(nss::user("0").unwrap().unwrap().name.to_bytes(), b"root");
        assert_eq!(nss::user("no-such-user-here").unwrap(), None);
        assert_eq!(nss::group("no-such-group-here").unwrap(), None);
        assert!(nss::groups_of(c"root", 0).contains(&0));
    }
}
