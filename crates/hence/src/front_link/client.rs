//! Who asks, as the ledger keeps it: what the kernel or the bus said of the connection and what /proc says of
//! the process and of those that called it.

use crate::model::{Runtime, unit_of_pid};
use hence_bus::front::Caller;
use hence_host::client::{CommandLine, login_uid, parent};
use hence_ledger::Client;

/// Who this caller is.
pub fn of(caller: Caller, runtime: &dyn Runtime) -> Client {
    let own = std::process::id();
    let unit = unit_of_pid(runtime, caller.pid);
    Client {
        pid: caller.pid,
        uid: caller.uid,
        command: CommandLine::of(caller.pid).shown(),
        unit: unit.map(|id| runtime.engine().unit(id).name().text().clone()),
        parent: parent(caller.pid, |pid| (pid != own).then_some(pid)),
        login_uid: login_uid(caller.pid, caller.uid),
    }
}
