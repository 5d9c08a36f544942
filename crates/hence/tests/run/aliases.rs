//! Links among unit files that come while hence runs: what was only a name becomes another unit's.

use crate::rig::*;
use std::os::unix::fs::symlink;

const STAYS: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

fn property(site: &Site, unit: &str, name: &str) -> String {
    said(&asked(site, &["show", "-P", name, unit])).trim().to_owned()
}

#[test]
fn a_socket_finds_the_service_that_took_its_name() {
    let site = Site::new("aliases", Level::Best);
    let listen = format!("ListenDatagram={}", site.path("dgram"));
    site.unit("log.socket", &format!("[Socket]\n{listen}\nService=log.service\n"));
    site.unit("first.service", STAYS);
    let hence = site.start(&["--stay", "--quiet", "--unit=first.service"]);
    site.until_serving();
    // It is known from now on, and so is the name of the service that it asks for.
    let refused = asked(&site, &["start", "log.socket"]);
    assert!(!refused.status.success(), "{}", site.said());
    assert_eq!(property(&site, "log.service", "LoadState"), "not-found");

    // As a package does it: a unit with an alias, a reload, a start.
    site.unit(
        "writer.service",
        &format!("[Unit]\nRequires=log.socket\n{STAYS}[Install]\nAlias=log.service\n"),
    );
    symlink(site.units().join("writer.service"), site.units().join("log.service")).unwrap();
    assert!(asked(&site, &["daemon-reload"]).status.success());
    let started = asked(&site, &["start", "writer.service"]);
    assert!(started.status.success(), "{}\n{}", said(&started), site.said());
    assert_eq!(property(&site, "writer.service", "ActiveState"), "active");
    assert_eq!(property(&site, "log.socket", "SubState"), "running");
    assert_eq!(property(&site, "log.socket", "Triggers"), "writer.service");
    assert_eq!(property(&site, "log.service", "Id"), "writer.service");
    hence.interrupt();
}
