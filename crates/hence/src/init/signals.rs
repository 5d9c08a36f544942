//! Signals to process 1 that ask for nothing of units: reading unit files anew, telling the state, and
//! whether it is told what happens; systemd(1), "Signals". The engine has recorded the signal and does the
//! others.

use crate::narrator::Narrator;
use crate::pump::Pump;
use hence_ledger::{ActiveState, Client};

const SIGHUP: u8 = 1;
const SIGUSR2: u8 = 12;
const SIGRTMIN: u8 = 34;

/// Does what a signal of the run loop asks for.
pub fn act(pump: &mut Pump, signal: u8, pid: u32, uid: u32) {
    match signal {
        SIGHUP => {
            let command = hence_host::describe(pid).map(|p| p.command).unwrap_or_default();
            pump.reload(Client { pid, uid, command, ..Client::default() });
        }
        SIGUSR2 => tell(pump),
        SIGRTMIN.. => match signal - SIGRTMIN {
            20 if pump.narrator.is_none() => pump.narrator = Narrator::start(false).ok(),
            21 => {
                if let Some(narrator) = pump.narrator.take() {
                    narrator.close();
                }
            }
            _ => {}
        },
        _ => {}
    }
}

/// Units that are not simply up or down, and jobs, on stderr.
fn tell(pump: &Pump) {
    let engine = &pump.engine;
    let mut counts = [0u32; 3];
    for unit in engine.units() {
        match unit.active_state() {
            ActiveState::Active => counts[0] += 1,
            ActiveState::Inactive => counts[1] += 1,
            ActiveState::Failed => counts[2] += 1,
            _ => {}
        }
        if !matches!(unit.active_state(), ActiveState::Active | ActiveState::Inactive) {
            eprintln!("hence: {} is {} ({})", unit.name(), unit.active_state(), unit.sub_state());
        }
    }
    for job in engine.jobs() {
        let unit = engine.unit(job.unit).name();
        eprintln!("hence: job {}: {} of {unit}", job.id.0, job.job_type);
    }
    let [active, inactive, failed] = counts;
    eprintln!("hence: {active} units are active, {inactive} inactive, {failed} failed");
}
