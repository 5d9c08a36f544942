//! The unit of `hence watch` under a real systemd: installed, in its sandbox, taken away again; and what it
//! says of times in which it, the manager or the message bus was away.

use super::{missing, script};

#[test]
fn it_installs_and_its_sandbox_takes_nothing_away() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let (well, text) = script("install.py", &[]);
    println!("{text}");
    assert!(well, "{text}");
}

#[test]
fn gaps_are_records_and_what_happened_meanwhile_is_concluded() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let (well, text) = script("gaps.py", &[]);
    println!("{text}");
    assert!(well, "{text}");
}
