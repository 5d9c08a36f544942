//! The unit of `hence watch` under a real systemd: installed, in its sandbox, taken away again.

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
