//! After units are down: what is left over ends, file systems are released, the machine goes the way that
//! was asked for. A container's process 1 ends with the exit status that was asked for instead.

use crate::run::Ended;
use hence_engine::Objective;
use hence_host::machine::{down, notify};
use hence_host::sys::machine::Reboot;
use std::process::ExitCode;
use std::time::Duration;

/// Longest wait for the recorder to write what it has.
const RECORDER: Duration = Duration::from_secs(5);

/// Ends; returns where only the process ends.
pub fn end(is_machine: bool, ended: &Ended) -> ExitCode {
    notify(&format!("STATUS=Ended.\nEXIT_STATUS={}", ended.status));
    if !ended.immediate {
        if let Some(recorder) = ended.recorder
            && !down::wait_for_child(recorder, RECORDER)
        {
            eprintln!("hence: the recorder takes too long; records may be missing from the ledger");
        }
        // Whoever was started meanwhile.
        down::kill_all(&[], Duration::ZERO);
    }
    if !is_machine {
        return ExitCode::from(ended.status);
    }
    let how = match ended.objective {
        Objective::Exit | Objective::PowerOff => Reboot::PowerOff,
        Objective::Reboot => Reboot::Restart,
        Objective::Halt => Reboot::Halt,
        Objective::Kexec => Reboot::Kexec,
    };
    if !ended.immediate {
        for sentence in down::release_file_systems() {
            eprintln!("hence: {sentence}");
        }
    }
    println!("hence: {}", ended.objective.as_str());
    let mut refused = down::end_machine(how);
    if how == Reboot::Kexec {
        eprintln!("hence: no kernel to execute ({refused}); the machine is rebooted");
        refused = down::end_machine(Reboot::Restart);
    }
    eprintln!("hence: the kernel refuses: {refused}; the machine halts");
    halt()
}

/// Stands still for ever: process 1 of a machine must not end.
pub fn halt() -> ! {
    rustix::fs::sync();
    let _ = down::end_machine(Reboot::Halt);
    loop {
        std::thread::park();
    }
}
