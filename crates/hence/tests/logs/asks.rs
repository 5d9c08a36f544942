//! What `journalctl` asks the journal's writer for: `--sync`, `--rotate` and `--flush`.

use crate::machine::Machine;

#[test]
fn journalctl_asks_the_writer() {
    let talker = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo word one; logger word two'\n";
    // At first there is only the folder in memory.
    let Some(machine) = Machine::boot("asks", &[("talker.service", talker)], "rmdir /var/log/journal") else {
        return;
    };
    for turn in 1..=5 {
        machine.text("systemctl start talker.service");
        let read = "journalctl -q -o cat _TRANSPORT=stdout _TRANSPORT=syslog";
        let asked = machine.call(&format!("journalctl --sync && {read}"));
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        assert_eq!(text.matches("word one").count(), turn, "what was said before is there after: {text}");
        assert_eq!(text.matches("word two").count(), turn, "{text}");
    }
    let files = |folder: &str| {
        machine.text(&format!("ls {folder}/log/journal/*/*.journal | wc -l")).trim().to_owned()
    };
    assert_eq!((files("/run").as_str(), files("/var").as_str()), ("1", "0"));
    let rotated = machine.call("journalctl --rotate");
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    machine.text("systemctl start talker.service; journalctl --sync");
    assert_eq!(files("/run"), "2");
    let flushed = machine.call("mkdir /var/log/journal; journalctl --flush");
    assert!(flushed.status.success(), "{}", String::from_utf8_lossy(&flushed.stderr));
    machine.text("systemctl start talker.service; journalctl --sync");
    assert_eq!((files("/run").as_str(), files("/var").as_str()), ("2", "1"));
    assert_eq!(machine.text("journalctl -q -o cat | grep -c 'word one'").trim(), "7");
    // Nobody else may ask, and nonsense is answered.
    let other = machine.call("setpriv --reuid 65534 --clear-groups journalctl --rotate");
    assert!(!other.status.success());
    let relinquish = machine.call("journalctl --relinquish-var");
    assert!(!relinquish.status.success());
    let verified = machine.call("journalctl --verify");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert_eq!(machine.text("systemctl is-active rig.target").trim(), "active");
}
