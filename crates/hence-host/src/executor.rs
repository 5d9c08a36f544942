//! The executor: a process that becomes another user, makes folders with owners and enters another root,
//! then executes the program. hence itself runs it from its own binary and hands it a plan in memory.
//!
//! It does what may block or needs names; whether it is needed is `start`'s. What fails is said on stderr,
//! by systemd's exit status, and by five bytes on the pipe next to the plan.

use crate::{
    privileges, protection,
    start::find_program,
    sys::{nss, spawn::status},
};
use hence_ledger::SpawnStep;
use hence_unit::exec_line;
use rustix::fs::{MemfdFlags, Mode, SeekFrom};
use std::{
    borrow::Cow,
    fs,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, PermissionsExt, chown},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

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
    /// Folders: kind, mode, path.
    pub directories: Vec<(u8, u32, String)>,
    /// `~` for the user's home.
    pub working_directory: String,
    /// It may be missing.
    pub working_directory_optional: bool,
    /// RootDirectory=
    pub root_directory: Option<String>,
    /// Steps of `protection`.
    pub protection: Vec<String>,
    /// CPUAffinity=
    pub affinity: Vec<u16>,
    /// CapabilityBoundingSet=
    pub bounding: Option<u64>,
    /// AmbientCapabilities=
    pub ambient: u64,
    /// Variables that must not be set.
    pub unset: Vec<String>,
    /// Whether variables are substituted in the arguments.
    pub substitute: bool,
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
        let flags = [self.switch, self.full, self.working_directory_optional, self.substitute];
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
            self.affinity.iter().map(u16::to_string).collect(),
            self.bounding.iter().map(u64::to_string).collect(),
            vec![self.ambient.to_string()],
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
        let flags = bytes.split_off(..4)?;
        let mut lists = [const { Vec::new() }; 14];
        for list in &mut lists {
            for _ in 0..number(&mut bytes)? {
                let length = number(&mut bytes)? as usize;
                list.push(String::from_utf8(bytes.split_off(..length)?.to_vec()).ok()?);
            }
        }
        let [owner, owner_group, delegated, supplementary, folders, working, root, unset, rest @ ..] = lists;
        let [protection, affinity, bounding, ambient, program, arguments] = rest;
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
            affinity: affinity.iter().map(|n| n.parse().ok()).collect::<Option<_>>()?,
            bounding: bounding.first().map(|n| n.parse()).transpose().ok()?,
            ambient: ambient.first()?.parse().ok()?,
            unset,
            substitute: flags[3] == 1,
            program: program.into_iter().next()?,
            arguments,
        })
    }
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?))
}

/// What failed: the step, systemd's exit status, on what, why.
type Failure = (SpawnStep, i32, String, io::Error);

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

/// The executor's main function: `hence-executor executor NUMBER`, or `remove PATH...` in place of the
/// number. Otherwise it returns only where something failed.
pub fn executor_main() -> ExitCode {
    if std::env::args().nth(2).as_deref() == Some("remove") {
        return remove(std::env::args_os().skip(3).map(PathBuf::from));
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
    let (step, status, subject, error) = match execute(&plan) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    eprintln!("hence-executor: {}: {subject}: {error}", step.as_str());
    if let Ok(mut report) = report {
        let mut message = [step.tag(); 5];
        message[1..].copy_from_slice(&error.raw_os_error().unwrap_or(libc::EIO).to_le_bytes());
        let _ = report.write_all(&message);
    }
    ExitCode::from(status as u8)
}

fn unknown() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

fn execute(plan: &Plan) -> Result<std::convert::Infallible, Failure> {
    let user_failed = |name: &str| {
        let name = name.to_owned();
        move |e| (SpawnStep::User, status::USER, name, e)
    };
    let user = match plan.owner.as_deref() {
        Some(name) => {
            let found = nss::user(name).map_err(user_failed(name))?;
            Some(found.ok_or_else(unknown).map_err(user_failed(name))?)
        }
        None => None,
    };
    let group_of = |name: &str| {
        let found = nss::group(name).and_then(|g| g.ok_or_else(unknown));
        found.map_err(|e| (SpawnStep::User, status::GROUP, name.to_owned(), e))
    };
    let gid = match plan.owner_group.as_deref() {
        Some(name) => Some(group_of(name)?),
        None => user.as_ref().map(|u| u.gid),
    };
    if let (Some(group), Some(user)) = (&plan.delegated, &user) {
        let failed = |e| (SpawnStep::Cgroup, status::CGROUP, group.clone(), e);
        delegate(Path::new(group), user.uid, gid).map_err(failed)?;
    }
    for (kind, mode, path) in &plan.directories {
        let failed = |e| (SpawnStep::Directories, directory_status(*kind), path.clone(), e);
        make_directory(Path::new(path), *mode, user.as_ref().map(|u| u.uid), gid).map_err(failed)?;
    }
    if !plan.protection.is_empty() && !plan.full {
        protection::apply(&plan.protection, plan.root_directory.as_deref())
            .map_err(|(subject, e)| (SpawnStep::Directories, status::NAMESPACE, subject, e))?;
    }
    if let Some(root) = &plan.root_directory {
        let failed = |e| (SpawnStep::Chdir, status::NAMESPACE, root.clone(), e);
        std::os::unix::fs::chroot(root).and_then(|()| std::env::set_current_dir("/")).map_err(failed)?;
    }
    if !plan.affinity.is_empty() {
        let processors = plan.affinity.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let failed = |e| (SpawnStep::Scheduling, status::CPU_AFFINITY, processors, e);
        privileges::bind_to(&plan.affinity).map_err(failed)?;
    }
    let capabilities = |e| (SpawnStep::User, status::CAPABILITIES, "capabilities".to_owned(), e);
    let limited = (plan.bounding.is_some() || plan.ambient != 0) && !plan.full;
    if limited {
        privileges::bound(plan.bounding.unwrap_or(u64::MAX), plan.ambient != 0).map_err(capabilities)?;
    }
    if plan.switch && !plan.full {
        let mut groups = match &user {
            Some(u) => nss::groups_of(&u.name, gid.unwrap_or(u.gid)),
            None => gid.into_iter().collect(),
        };
        for name in &plan.supplementary {
            groups.push(group_of(name)?);
        }
        let name = plan.owner.clone().or_else(|| plan.owner_group.clone()).unwrap_or_default();
        nss::become_user(user.as_ref().map(|u| u.uid), gid, &groups).map_err(user_failed(&name))?;
    }
    if limited {
        let bounding = plan.bounding.unwrap_or(u64::MAX);
        let ordinary = !rustix::process::geteuid().is_root();
        privileges::settle(bounding, plan.ambient, ordinary).map_err(capabilities)?;
    }
    let home = user.as_ref().map(|u| u.home.clone()).or_else(|| std::env::var("HOME").ok());
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
    let failed = |e| (SpawnStep::Exec, status::EXEC, plan.program.clone(), e);
    let program = find_program(&plan.program).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let mut added: Vec<(&str, String)> = Vec::new();
    if let Some(u) = user.as_ref().filter(|_| plan.switch) {
        let name = u.name.to_string_lossy().into_owned();
        added.extend([("HOME", u.home.clone()), ("LOGNAME", name.clone()), ("USER", name)]);
        added.push(("SHELL", u.shell.clone()));
        added.retain(|(n, _)| std::env::var_os(n).is_none() && plan.unset.iter().all(|u| u != n));
    }
    let value = |name: &str| {
        let own = added.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
        own.or_else(|| std::env::var(name).ok()).map(Cow::<'static, str>::Owned)
    };
    let words: Vec<Box<str>> = plan.arguments.iter().map(|a| a.as_str().into()).collect();
    let arguments =
        if plan.substitute { exec_line::expand(&words, &value).0 } else { plan.arguments.clone() };
    let mut command = Command::new(program);
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    command.envs(added);
    Err(failed(command.exec()))
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

/// Makes a folder with those above it; the last one gets mode and owner, also when it was there.
fn make_directory(path: &Path, mode: u32, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(Mode::from_raw_mode(mode).bits() & 0o7777))?;
    if uid.is_some() || gid.is_some() {
        chown(path, uid, gid)?;
    }
    Ok(())
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
            affinity: vec![0, 7],
            bounding: Some(1 << 40),
            ambient: 3,
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
    fn users_of_this_machine() {
        assert_eq!(nss::user("root").unwrap().unwrap().uid, 0);
        assert_eq!(nss::user("0").unwrap().unwrap().name.to_bytes(), b"root");
        assert_eq!(nss::user("no-such-user-here").unwrap(), None);
        assert_eq!(nss::group("no-such-group-here").unwrap(), None);
        assert!(nss::groups_of(c"root", 0).contains(&0));
    }
}
