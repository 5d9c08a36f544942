//! The XML that describes an object, from the rows. Properties that only a snapshot has are not in it.

use super::dispatch::Target;
use super::path::ROOT;
use super::{Model, Object, job_path, unit_path};
use crate::interface::row::View;
use crate::interface::{Interface, job, kinds, manager, unit};
use std::fmt::Write;

const HEAD: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n\
\"https://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n";

const STANDARD: &str = r#" <interface name="org.freedesktop.DBus.Peer">
  <method name="Ping"/>
  <method name="GetMachineId">
   <arg type="s" direction="out"/>
  </method>
 </interface>
 <interface name="org.freedesktop.DBus.Introspectable">
  <method name="Introspect">
   <arg type="s" direction="out"/>
  </method>
 </interface>
 <interface name="org.freedesktop.DBus.Properties">
  <method name="Get">
   <arg type="s" direction="in"/>
   <arg type="s" direction="in"/>
   <arg type="v" direction="out"/>
  </method>
  <method name="GetAll">
   <arg type="s" direction="in"/>
   <arg type="a{sv}" direction="out"/>
  </method>
  <method name="Set">
   <arg type="s" direction="in"/>
   <arg type="s" direction="in"/>
   <arg type="v" direction="in"/>
  </method>
  <signal name="PropertiesChanged">
   <arg type="s"/>
   <arg type="a{sv}"/>
   <arg type="as"/>
  </signal>
 </interface>
"#;

/// The description of the object at this path.
pub fn describe(path: &str, object: &Object, target: &Target, model: &mut dyn Model) -> String {
    let mut out = String::from(HEAD);
    out.push_str(STANDARD);
    let mut children = Vec::new();
    match target {
        Target::Node => match object {
            Object::Node("") if path.ends_with("/job") => {
                children.extend(model.jobs().iter().map(|job| job_path(job.id)));
            }
            Object::Node("") => children.extend(model.units().iter().map(|row| unit_path(&row.id))),
            Object::Node(next) => children.push((*next).to_owned()),
            _ => {}
        },
        Target::Root => {
            interface(&mut out, &manager::INTERFACE);
            children.extend(["unit".to_owned(), "job".to_owned()]);
        }
        Target::Unit(_, kind) => {
            interface(&mut out, &unit::INTERFACE);
            interface(&mut out, kinds::interface(*kind));
        }
        Target::Job(_) => interface(&mut out, &job::INTERFACE),
    }
    for child in children {
        let name = child.strip_prefix(ROOT).and_then(|rest| rest.rsplit('/').next()).unwrap_or(&child);
        line(&mut out, format_args!(" <node name=\"{name}\"/>"));
    }
    out.push_str("</node>\n");
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Appends the description of an interface.
pub fn interface<V: View>(out: &mut String, interface: &Interface<V>) {
    const EMITS: &str = "org.freedesktop.DBus.Property.EmitsChangedSignal";
    line(out, format_args!(" <interface name=\"{}\">", interface.name));
    for method in interface.methods() {
        line(out, format_args!("  <method name=\"{}\">", method.name()));
        arguments(out, method.input(), " direction=\"in\"");
        arguments(out, method.output(), " direction=\"out\"");
        line(out, format_args!("  </method>"));
    }
    for row in interface.rows() {
        let (name, signature) = (row.name(), row.signature());
        line(out, format_args!("  <property name=\"{name}\" type=\"{signature}\" access=\"read\">"));
        if let Some(value) = row.emits().annotation() {
            line(out, format_args!("   <annotation name=\"{EMITS}\" value=\"{value}\"/>"));
        }
        line(out, format_args!("  </property>"));
    }
    for (name, signature) in interface.signals {
        line(out, format_args!("  <signal name=\"{name}\">"));
        arguments(out, signature, "");
        line(out, format_args!("  </signal>"));
    }
    line(out, format_args!(" </interface>"));
}

fn arguments(out: &mut String, signature: &str, direction: &str) {
    for argument in crate::wire::complete_types(signature) {
        line(out, format_args!("   <arg type=\"{argument}\"{direction}/>"));
    }
}
