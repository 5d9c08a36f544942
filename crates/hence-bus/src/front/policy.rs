//! What a bus has to allow so that clients reach us: a policy for dbus-daemon(1), made of the table of who
//! may call what. What only root may call doesn't get through; what polkit may allow does, and it is asked
//! then.

use crate::interface::access::{self, Access, Rule};
use crate::interface::row::View;
use crate::interface::{Interface, job, kinds, manager, unit};
use hence_unit::UnitKind;
use std::fmt::Write;

const HEAD: &str = r#"<?xml version="1.0"?>
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<!-- Lets hence serve org.freedesktop.systemd1 on a bus; "hence init" prints it. -->
<busconfig>
  <policy user="root">
    <allow own="org.freedesktop.systemd1"/>
    <!-- The bus has units started, and root may call everything. -->
    <allow send_destination="org.freedesktop.systemd1"/>
    <allow receive_sender="org.freedesktop.systemd1"/>
  </policy>
  <policy context="default">
    <deny send_destination="org.freedesktop.systemd1"/>
"#;

const STANDARD: [(&str, &[&str]); 3] = [
    ("org.freedesktop.DBus.Introspectable", &["Introspect"]),
    ("org.freedesktop.DBus.Peer", &["Ping", "GetMachineId"]),
    ("org.freedesktop.DBus.Properties", &["Get", "GetAll"]),
];

/// The policy.
pub fn bus_policy() -> String {
    let mut out = String::from(HEAD);
    for (interface, members) in STANDARD {
        members.iter().for_each(|member| allow(&mut out, interface, member));
    }
    methods(&mut out, &manager::INTERFACE, access::manager);
    methods(&mut out, &unit::INTERFACE, access::unit);
    for kind in UnitKind::ALL {
        methods(&mut out, kinds::interface(kind), access::unit);
    }
    methods(&mut out, &job::INTERFACE, access::job);
    out.push_str("    <allow receive_sender=\"org.freedesktop.systemd1\"/>\n  </policy>\n</busconfig>\n");
    out
}

fn allow(out: &mut String, interface: &str, member: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "    <allow send_destination=\"org.freedesktop.systemd1\"\n           \
         send_interface=\"{interface}\" send_member=\"{member}\"/>"
    );
}

fn methods<V: View>(out: &mut String, interface: &Interface<V>, rule: Rule) {
    let open = |name: &str| rule(name) != Access::Privileged;
    for method in interface.methods().filter(|method| open(method.name())) {
        allow(out, interface.name, method.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/dbus/org.freedesktop.systemd1.conf");
        if std::env::var_os("HENCE_BLESS").is_some() {
            std::fs::write(path, bus_policy()).expect("a file");
        }
        let shipped = std::fs::read_to_string(path).expect("the policy is shipped");
        assert!(shipped == bus_policy(), "write dist/dbus anew, with HENCE_BLESS=1");
        assert!(shipped.contains("send_member=\"StartUnit\"") && !shipped.contains("\"PowerOff\""));
    }
}
