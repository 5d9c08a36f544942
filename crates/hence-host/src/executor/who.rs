//! Who a process is to be: its user, which may have to be made up first, and its groups. All is looked up
//! before the process is in another root, where others may have these names.

use super::{Plan, behind};
use crate::{
    keep::Keep,
    made_up,
    protection::Failure,
    sys::{nss, spawn::status},
};
use hence_ledger::SpawnStep;
use std::io;

/// Who a process is to be.
pub(super) struct Who {
    pub user: Option<nss::User>,
    pub gid: Option<u32>,
    /// The user was made up: DynamicUser=.
    pub made_up: bool,
    /// Whether it becomes that user. With `+` and `!` it stays who it is, in the user's groups.
    pub switches: bool,
    groups: Option<Vec<u32>>,
    /// What a failure is said to be about.
    name: String,
}

fn unknown() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

fn group_of(name: &str) -> Result<u32, Failure> {
    let found = nss::group(name).and_then(|g| g.ok_or_else(unknown));
    found.map_err(|e| (SpawnStep::User, status::GROUP, name.to_owned(), e))
}

fn user_failed(name: &str) -> impl Fn(io::Error) -> Failure + use<> {
    let name = name.to_owned();
    move |e| (SpawnStep::User, status::USER, name.clone(), e)
}

impl Who {
    /// Who the plan says. A user that is to be made up is kept here.
    pub fn of(plan: &Plan, kept: Option<Keep>) -> Result<Who, Failure> {
        let owner = plan.owner.as_deref();
        let made_up = match (kept, owner) {
            (Some(kept), Some(name)) => {
                let folders = plan.directories.iter().map(|(.., path)| behind(path).to_owned());
                let owned: Vec<String> = folders.collect();
                made_up::realize(name, &kept, &owned).map_err(user_failed(name))?
            }
            _ => None,
        };
        let user = match (owner, made_up) {
            (Some(name), Some(uid)) => Some(made_up::entry(name, uid)),
            (Some(name), None) => {
                let found = nss::user(name).map_err(user_failed(name))?;
                Some(found.ok_or_else(unknown).map_err(user_failed(name))?)
            }
            (None, _) => None,
        };
        let gid = match plan.owner_group.as_deref() {
            Some(name) if made_up.is_some() && owner == Some(name) => made_up,
            Some(name) => Some(group_of(name)?),
            None => user.as_ref().map(|u| u.gid),
        };
        let switches = plan.switch && !plan.full;
        let mut groups = user.as_ref().map(|user| {
            let primary = gid.unwrap_or(user.gid);
            match made_up {
                Some(_) => vec![primary],
                // Root has no need of any.
                None if user.uid == 0 && primary == 0 => Vec::new(),
                None => nss::groups_of(&user.name, primary),
            }
        });
        if switches {
            let groups = groups.get_or_insert_with(Vec::new);
            for name in &plan.supplementary {
                groups.push(group_of(name)?);
            }
        }
        let name = plan.owner.clone().or_else(|| plan.owner_group.clone()).unwrap_or_default();
        Ok(Who { user, gid, made_up: made_up.is_some(), switches, groups, name })
    }

    /// The user's number.
    pub fn uid(&self) -> Option<u32> {
        self.user.as_ref().map(|user| user.uid)
    }

    /// The groups that it is in beside its own.
    pub fn groups(&self) -> &[u32] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// Puts it into further groups.
    pub fn join(&mut self, groups: impl Iterator<Item = u32>) {
        let own = self.groups.get_or_insert_default();
        for group in groups {
            if !own.contains(&group) {
                own.push(group);
            }
        }
    }

    pub fn take_groups(&self) -> Result<(), Failure> {
        let Some(groups) = &self.groups else { return Ok(()) };
        nss::take_groups(self.gid.filter(|_| self.switches), groups).map_err(user_failed(&self.name))
    }

    pub fn become_user(&self) -> Result<(), Failure> {
        match self.uid() {
            Some(uid) if self.switches => nss::become_user(uid).map_err(user_failed(&self.name)),
            _ => Ok(()),
        }
    }
}
