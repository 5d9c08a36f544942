//! What perl and the shell can't play: this program is a service itself, where PAYLOAD says so.

use std::time::Duration;

#[test]
fn payload() {
    let rest = || std::thread::sleep(Duration::from_millis(250));
    let asleep = || {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        })
    };
    match std::env::var("SOAK_PAYLOAD").as_deref() {
        // Ever more threads.
        Ok("threads") => loop {
            asleep();
            rest();
        },
        // Eight of them, and short ones now and then.
        Ok("pool") => {
            let _pool: Vec<_> = (0..8).map(|_| asleep()).collect();
            loop {
                let short = std::thread::spawn(rest);
                assert!(short.join().is_ok());
            }
        }
        _ => {}
    }
}
