//! What the processes of a unit share with each other, and with those of units that join its namespaces
//! (JoinsNamespaceOf=): folders for PrivateTmp=, sockets in which namespaces are kept, a user that is made up
//! for as long as it is needed. All of it goes when the last unit that has it is down.
//!
//! Nothing is made in a namespace here: the executor does that, and keeps it in the socket.

use crate::{host::Host, keep::Keep, made_up, protection, stdio::Failure};
use hence_engine::{Spawn, UnitId};
use hence_ledger::{SpawnStep, Text};
use hence_unit::{Config, DependencyKind, config::Protection};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What one or several units have.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// The unit that it was made for.
    pub maker: Text,
    /// What becomes its /tmp and its /var/tmp.
    pub tmp: Option<[PathBuf; 2]>,
    /// Where its network namespace is kept.
    pub network: Option<Keep>,
    /// Where its IPC namespace is kept.
    pub ipc: Option<Keep>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for folder in self.tmp.iter().flatten().filter_map(|folder| folder.parent()) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// What units have, by unit; users that were made up, by name, with the units that have them.
#[derive(Default)]
pub(crate) struct Runtimes {
    pub of_units: HashMap<UnitId, Arc<Runtime>>,
    pub users: HashMap<String, (Keep, Vec<UnitId>)>,
}

impl Host {
    /// What a unit's processes share, which is made where the unit has none yet and can't join another's.
    pub(crate) fn runtime(
        &mut self,
        spawn: &Spawn,
        protection: &Protection,
    ) -> Result<Option<Arc<Runtime>>, Failure> {
        if !protection.is_shared() {
            return Ok(None);
        }
        if let Some(there) = self.live.runtimes.of_units.get(&spawn.unit) {
            return Ok(Some(Arc::clone(there)));
        }
        let runtime = match self.joined(&spawn.config) {
            Some(of_another) => of_another,
            None => Arc::new(made(spawn, protection)?),
        };
        self.live.runtimes.of_units.insert(spawn.unit, Arc::clone(&runtime));
        Ok(Some(runtime))
    }

    /// What was made for a unit that this one joins, or that joins this one.
    fn joined(&self, config: &Config) -> Option<Arc<Runtime>> {
        let joins = |one: &Config, other: &str| {
            let of = |d: &&hence_unit::Dependency| d.kind == DependencyKind::JoinsNamespaceOf;
            one.dependencies.iter().filter(of).any(|d| d.other.as_str() == other)
        };
        let either = |runtime: &&Arc<Runtime>| {
            let maker = self.names.get(&*runtime.maker).and_then(|unit| self.row(*unit));
            joins(config, &runtime.maker)
                || maker.is_some_and(|row| {
                    joins(&row.config, config.id().as_str())
                        || config.aliases.iter().any(|alias| joins(&row.config, alias.as_str()))
                })
        };
        self.live.runtimes.of_units.values().find(either).map(Arc::clone)
    }

    /// Where the user that is made up for a unit is kept.
    pub(crate) fn made_up_user(&mut self, unit: UnitId, name: &str) -> Result<[i32; 2], Failure> {
        let users = &mut self.live.runtimes.users;
        if !users.contains_key(name) {
            let new = Keep::new();
            let new = new.map_err(|e| (SpawnStep::User, errno(&e), name.to_owned()))?;
            users.insert(name.to_owned(), (new, Vec::new()));
        }
        let (keep, units) = users.get_mut(name).expect("it was just made sure of");
        if !units.contains(&unit) {
            units.push(unit);
        }
        Ok(keep.numbers())
    }

    /// A unit is down: what it had goes, where nobody else has it.
    pub(crate) fn drop_runtime(&mut self, unit: UnitId) {
        self.live.runtimes.of_units.remove(&unit);
        self.remove_ipc(unit);
        let users = &mut self.live.runtimes.users;
        if users.is_empty() {
            return;
        }
        users.retain(|name, (keep, units)| {
            units.retain(|other| *other != unit);
            if units.is_empty() {
                made_up::release(name, keep);
            }
            !units.is_empty()
        });
    }

    /// RemoveIPC=, where no other unit that is up runs as this user.
    fn remove_ipc(&mut self, unit: UnitId) {
        let Some(row) = self.row(unit) else { return };
        let context = row.config.context().filter(|context| context.remove_ipc);
        let Some(user) = context.and_then(|context| context.user.clone()) else { return };
        let others = self.rows.iter().enumerate().filter(|(index, _)| *index != unit.0 as usize);
        let mut others = others.filter_map(|(_, row)| row.as_ref());
        if others.any(|row| row.grouped && runs_as(&row.config, &user)) {
            return;
        }
        let made_up = self.live.runtimes.users.get(&*user).and_then(|(keep, _)| keep.look());
        let user = made_up.map_or_else(|| user.to_string(), |uid| uid.to_string());
        // Names are looked up, which may take long: not here.
        let mut command = std::process::Command::new(&self.options.executor);
        command.args(["executor", "remove-ipc", &user]).stdin(std::process::Stdio::null());
        let _ = command.spawn();
    }
}

fn errno(e: &std::io::Error) -> i32 {
    e.raw_os_error().unwrap_or(libc::EIO)
}

fn runs_as(config: &Config, user: &str) -> bool {
    config.context().is_some_and(|context| context.user.as_deref() == Some(user))
}

fn made(spawn: &Spawn, protection: &Protection) -> Result<Runtime, Failure> {
    let name = format!("systemd-private-{}-{}", spawn.invocation, spawn.config.id());
    let name = &name[..name.floor_char_boundary(255)];
    let failed = |e: std::io::Error| (SpawnStep::Directories, errno(&e), format!("/tmp/{name}"));
    let socket = |wanted: bool| -> Result<Option<Keep>, Failure> {
        let new = wanted.then(Keep::new).transpose();
        new.map_err(|e| (SpawnStep::Namespace, errno(&e), spawn.config.id().to_string()))
    };
    let mut runtime = Runtime {
        maker: spawn.config.id().text().clone(),
        tmp: None,
        network: socket(protection.private_network && protection.network_path.is_none())?,
        ipc: socket(protection.private_ipc && protection.ipc_path.is_none())?,
    };
    if protection.private_tmp {
        let tmp = protection::make_own_tmp(Path::new("/tmp"), name).map_err(failed)?;
        runtime.tmp = Some([tmp.clone(), tmp]);
        let var_tmp = protection::make_own_tmp(Path::new("/var/tmp"), name).map_err(failed)?;
        if let Some([_, second]) = &mut runtime.tmp {
            *second = var_tmp;
        }
    }
    Ok(runtime)
}
